//! Requests over real HTTP to a server in another process: `placeOrder` or the menu, at a rate that does not
//! wait for answers, or as fast as answers come.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use domain::{AccountId, Currency, DinerId, Money, TenantId};
use serde::{Deserialize, Serialize};

pub use crate::asking::{Asked, Rate, Target};
use crate::{
    Log, Report,
    asking::{Asking, Tally},
    load::Load,
    lunch::{Lunch, Published},
    orders::Kitchen,
    report::{self, grouped, rounded},
};

/// What each wallet is filled with, in minor units: enough for a day of lunches.
const WALLET: i64 = 100_000_000;
/// Before what is measured: connections are made, tokens are known, views are warm.
pub(crate) const WARM_UP: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
pub struct HttpArgs {
    /// Requests a second, whether the ones before are answered or not; or `max`, as fast as answers come
    #[arg(long, default_value = "200", value_name = "N|max")]
    pub rate: Rate,
    /// How long to measure
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,
    /// What is asked
    #[arg(long, value_enum, default_value_t = Asked::PlaceOrder)]
    pub ask: Asked,
    /// Diners, each with a token and a wallet, who ask in turn
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=16_000))]
    pub diners: u32,
    /// Servings, each of a canteen of its own
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub servings: u32,
    /// Only fill the log, and say with what
    #[arg(long, hide = true)]
    pub only_fill: bool,
}

/// What the log was filled with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Filled {
    pub tenant: TenantId,
    pub servings: Vec<Published>,
    pub diners: Vec<DinerId>,
}

/// Opens canteens and fills wallets. Call in a process that ends before the server begins.
pub async fn fill(servings: u32, diners: u32, log: &Log) -> Result<Filled> {
    let load = Load::start(log, diners as usize + 1_024);
    let kitchen = Kitchen::open(log, &sagas::Ordering::new(load.commands.clone())).await?;
    let lunch = Lunch::publish(&load, servings).await?;
    let diners: Vec<DinerId> = (0..diners).map(|_| DinerId(load.id())).collect();
    let wallets: Vec<AccountId> = diners.iter().copied().map(AccountId::Wallet).collect();
    load.fill(&wallets, Money::new(WALLET, Currency::CNY)).await?;
    kitchen.caught_up(log).await?;
    let filled = Filled { tenant: load.tenant, servings: lunch.all().to_vec(), diners };
    load.end().await?;
    kitchen.close().await?;
    Ok(filled)
}

/// What came of it. Times are in milliseconds, from when a request was due to its whole answer.
#[derive(Clone, Debug, Serialize)]
pub struct HttpReport {
    pub ask: Asked,
    /// None: as fast as answers came.
    pub rate: Option<u32>,
    /// Whole answers a second that were what was asked for.
    pub reached_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub errors: u64,
    /// What the first of them said.
    pub first_error: Option<String>,
    pub sync_ms: f64,
    /// The median over the time of a sync.
    pub p50_syncs: f64,
    pub p99_syncs: f64,
    pub requests: u64,
    pub seconds: f64,
    pub diners: u32,
}

/// Asks `target` as `args` say.
pub async fn run(args: &HttpArgs, target: Target) -> Result<HttpReport> {
    let tell = Arc::clone(&target.tell);
    let sync = target.sync.as_secs_f64() * 1e3;
    let asking = Asking::new(args.ask, target);
    tell("warming up");
    asking.for_a_while(args.rate, WARM_UP, &Arc::new(Tally::new()?)).await?;
    tell("measuring");
    let tally = Arc::new(Tally::new()?);
    let length = Duration::from_secs(u64::from(args.seconds));
    let took = asking.for_a_while(args.rate, length, &tally).await?;
    let (answers, failed) = (tally.answers.load(Relaxed), tally.failed());
    let (p50, p99) = (tally.answered.quantile_ms(0.5), tally.answered.quantile_ms(0.99));
    Ok(HttpReport {
        ask: args.ask,
        rate: match args.rate {
            Rate::Each(rate) => Some(rate),
            Rate::Max => None,
        },
        reached_per_second: rounded(answers as f64 / took.as_secs_f64()),
        p50_ms: rounded(p50),
        p99_ms: rounded(p99),
        errors: failed.count,
        first_error: failed.first,
        sync_ms: rounded(sync),
        p50_syncs: rounded(p50 / sync),
        p99_syncs: rounded(p99 / sync),
        requests: answers + failed.count,
        seconds: rounded(took.as_secs_f64()),
        diners: args.diners,
    })
}

impl Report for HttpReport {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let of_syncs = |ms: f64, syncs: f64| format!("{ms:.1} ms ({syncs:.1} syncs)");
        let mut lines = vec![
            ("asked", format!("{:?}", self.ask)),
            ("rate", self.rate.map_or_else(|| "as fast as answers come".to_owned(), |rate| format!("{rate}/s"))),
            ("reached", format!("{}/s", grouped(self.reached_per_second))),
            ("median", of_syncs(self.p50_ms, self.p50_syncs)),
            ("99th percentile", of_syncs(self.p99_ms, self.p99_syncs)),
            ("errors", self.errors.to_string()),
            ("one sync", format!("{:.2} ms", self.sync_ms)),
            ("requests", grouped(self.requests as f64)),
        ];
        lines.extend(self.first_error.clone().map(|error| ("first error", error)));
        lines
    }
}

impl fmt::Display for HttpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        report::write(self, f)
    }
}
