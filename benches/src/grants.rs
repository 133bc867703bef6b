//! How long it takes to grant every diner a lot, to find that it has been done, and to end all lots at
//! midnight while orders flow.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use domain::{
    AccountId, Currency, DinerId, Money, first_instant,
    policy::{Clearing, Per},
};
use jiff::{ToSpan, civil::Date, tz::TimeZone};
use sagas::{Granted, Ordering};
use serde::Serialize;

use crate::{
    Log, Report,
    company::{Company, terms, today},
    latency::Latencies,
    load::{Load, Work, scrambled},
    lunch::{DISH_PRICE, Lunch},
    orders::{Kitchen, order_of, place},
    report::{self, grouped, rounded},
};

/// What a lot has, in minor units.
const LOT: i64 = 2_000;
/// Most diners who order while lots expire, from their wallets.
const HUNGRY: u32 = 20_000;

#[derive(Args, Clone, Debug)]
pub struct GrantsArgs {
    /// Diners of the company
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub diners: u32,
    /// Orders under way at once while lots expire
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub in_flight: u32,
}

/// What came of it. Each time ends when every view stands at the head.
#[derive(Clone, Debug, Serialize)]
pub struct GrantsReport {
    pub diners: u32,
    pub grant_seconds: f64,
    pub lots_per_second: f64,
    /// Another request for the same day at once; it appended nothing.
    pub repeat_seconds: f64,
    pub expiry_seconds: f64,
    pub orders_while_expiring: u64,
    pub orders_per_second: f64,
    pub order_p99_ms: f64,
}

/// Measures grants on `log`. Call within a multi-threaded tokio runtime.
pub async fn run(args: &GrantsArgs, log: &Log) -> Result<GrantsReport> {
    // Both of a diner's accounts stay in memory, as on a node that serves so many.
    let load = Load::start(log, (args.diners + HUNGRY) as usize * 2);
    let ordering = Ordering::new(load.commands.clone());
    let kitchen = Kitchen::open(log, &ordering).await?;
    let bench = Bench { log, load: &load, kitchen: &kitchen };
    (log.tell)(&format!("hiring {} diners", args.diners));
    let company = Company::open(&load, args.diners, terms(LOT, (Per::Day, Clearing::Daily))).await?;
    kitchen.caught_up(log).await?;
    let today = today(&load);
    (log.tell)("granting");
    let (granted, grant) = bench.grant(&company, today).await?;
    ensure!(granted.diners == u64::from(args.diners), "{} diners were granted, not all", granted.diners);
    (log.tell)("granting again");
    let head = log.store.head().await?;
    let (again, repeat) = bench.grant(&company, today).await?;
    ensure!(again.diners == 0 && log.store.head().await? == head, "a repeat has granted something");
    (log.tell)("expiring while orders flow");
    let (expiry, orders, latencies) = bench.expire(args, &ordering, today).await?;
    load.end().await?;
    kitchen.close().await?;
    Ok(GrantsReport {
        diners: args.diners,
        grant_seconds: rounded(grant.as_secs_f64()),
        lots_per_second: rounded(f64::from(args.diners) / grant.as_secs_f64()),
        repeat_seconds: rounded(repeat.as_secs_f64()),
        expiry_seconds: rounded(expiry.as_secs_f64()),
        orders_while_expiring: orders,
        orders_per_second: rounded(orders as f64 / expiry.as_secs_f64()),
        order_p99_ms: latencies.quantile_ms(0.99),
    })
}

/// What the parts of a run have in common.
struct Bench<'a> {
    log: &'a Log,
    load: &'a Load,
    kitchen: &'a Kitchen,
}

impl Bench<'_> {
    async fn grant(&self, company: &Company, day: Date) -> Result<(Granted, Duration)> {
        let started = Instant::now();
        let granted = company.grant((self.load, self.kitchen), self.log, day).await?;
        Ok((granted, started.elapsed()))
    }

    /// Ends all lots as of tomorrow's first instant. Orders are placed until that is done.
    async fn expire(
        &self,
        args: &GrantsArgs,
        ordering: &Ordering,
        today: Date,
    ) -> Result<(Duration, u64, Arc<Latencies>)> {
        let lunch = Lunch::publish(self.load, 20).await?;
        let hungry: Arc<[DinerId]> = (0..args.diners.min(HUNGRY)).map(|_| DinerId(self.load.id())).collect();
        let wallets: Vec<AccountId> = hungry.iter().copied().map(AccountId::Wallet).collect();
        self.load.fill(&wallets, Money::new(100 * DISH_PRICE, Currency::CNY)).await?;
        self.kitchen.caught_up(self.log).await?;
        let midnight = first_instant(today.checked_add(1.day())?.at(0, 0, 0, 0), &TimeZone::UTC)?;
        let (latencies, done) = (Arc::new(Latencies::new()?), Arc::new(AtomicU64::new(0)));
        let orders = {
            let (load, ordering, done) = (self.load.clone(), ordering.clone(), Arc::clone(&done));
            move |number: u64| {
                if done.load(Relaxed) > 0 {
                    return None;
                }
                let diner = hungry[number as usize % hungry.len()];
                let (load, ordering, new) =
                    (load.clone(), ordering.clone(), order_of(&lunch, diner, scrambled(number)));
                Some(Box::pin(async move { place(&load, &ordering, diner, new).await }) as Work)
            }
        };
        let length = Duration::from_secs(600);
        let flowing = self.load.closed_loop(self.log, (args.in_flight, length), &latencies, orders);
        let expiring = async {
            let started = Instant::now();
            let ended = self.kitchen.subsidies.expire_all(midnight).await.context("lots could not be ended")?;
            self.kitchen.caught_up_to_now(self.log).await?;
            let took = started.elapsed();
            done.store(1, Relaxed);
            ensure!(ended == u64::from(args.diners), "lots of {ended} diners ended, not of all");
            anyhow::Ok(took)
        };
        let (slice, took) = tokio::join!(flowing, expiring);
        Ok((took?, slice?.done, latencies))
    }
}

impl Report for GrantsReport {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let meanwhile = format!(
            "{} orders, {}/s, p99 {:.2} ms",
            grouped(self.orders_while_expiring as f64),
            grouped(self.orders_per_second),
            self.order_p99_ms
        );
        vec![
            (
                "granted",
                format!("{} diners in {:.2} s, {}/s", self.diners, self.grant_seconds, grouped(self.lots_per_second)),
            ),
            ("the same again", format!("{:.2} s, nothing added", self.repeat_seconds)),
            ("expired", format!("{} lots in {:.2} s", self.diners, self.expiry_seconds)),
            ("meanwhile", meanwhile),
        ]
    }
}

impl fmt::Display for GrantsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        report::write(self, f)
    }
}
