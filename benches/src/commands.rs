//! Commands a second on single aggregates: deposits into wallets, in a closed loop.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use commands::{Limits, Request};
use domain::{AccountId, Currency, DinerId, Money};
use serde::Serialize;

use crate::{
    BareLog, Log, Report,
    latency::Latencies,
    load::{Load, ROUNDS, Work, bare_turn, scrambled},
    report::{self, grouped, rounded},
    time_of_one_sync,
};

/// A deposit, in minor units.
const AMOUNT: i64 = 100;

#[derive(Args, Clone, Debug)]
pub struct CommandsArgs {
    /// Commands under way at once
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub in_flight: u32,
    /// How long to measure; the bare loop takes as long again
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
    /// Wallets that the deposits go to
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub wallets: u32,
    /// Accounts kept in memory
    #[arg(long, default_value_t = Limits::default().accounts)]
    pub cached: usize,
}

/// What came of it. Rates are a second, times in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct CommandsReport {
    /// Of all slices together.
    pub commands_per_second: f64,
    /// The best of the bare turns.
    pub bare_rows_per_second: f64,
    /// Commands over bare rows; a command writes one row.
    pub ratio: f64,
    /// Events a transaction.
    pub mean_batch: f64,
    /// The median time of one sync on this disk.
    pub sync_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub commands: u64,
    pub seconds: f64,
    pub fsyncs: u64,
    pub in_flight: u32,
    pub wallets: u32,
    /// In the log before the run.
    pub events_before: u64,
    pub rounds: Vec<Round>,
}

/// One turn of each.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    pub commands_per_second: f64,
    pub mean_batch: f64,
    pub bare_rows_per_second: f64,
}

/// Measures commands on `log`. Call within a multi-threaded tokio runtime.
pub async fn run(args: &CommandsArgs, log: &Log) -> Result<CommandsReport> {
    let folder = log.scratch();
    let events_before = log.store.head().await?;
    let sync = tokio::task::spawn_blocking({
        let folder = folder.clone();
        move || time_of_one_sync(&folder)
    });
    let sync = sync.await??;
    let load = Load::start(log, args.cached);
    (log.tell)(&format!("opening {} wallets", args.wallets));
    let wallets: Arc<[AccountId]> = (0..args.wallets).map(|_| AccountId::Wallet(DinerId(load.id()))).collect();
    load.fill(&wallets, Money::new(AMOUNT, Currency::CNY)).await?;
    let latencies = Arc::new(Latencies::new()?);
    let mut bare = BareLog::new(&folder)?;
    let length = Duration::from_secs(u64::from(args.seconds)) / ROUNDS;
    let (mut slices, mut rates) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        (log.tell)(&format!("measuring, {round} of {ROUNDS}"));
        let work = deposits(&load, &wallets, u64::from(round));
        let slice = load.closed_loop(log, (args.in_flight, length), &latencies, work).await?;
        ensure!(slice.events == slice.done, "{} deposits wrote {} events", slice.done, slice.events);
        (log.tell)(&format!("measuring the bare loop, {round} of {ROUNDS}"));
        let rate;
        (bare, rate) = bare_turn(log, bare, &slice, length).await?;
        slices.push(slice);
        rates.push(rate);
    }
    load.end().await?;
    let done: u64 = slices.iter().map(|slice| slice.done).sum();
    let syncs: u64 = slices.iter().map(|slice| slice.syncs).sum();
    let seconds = slices.iter().map(|slice| slice.took).sum::<Duration>().as_secs_f64();
    let best = rates.iter().copied().fold(0.0, f64::max);
    let rounds = slices.iter().zip(&rates).map(|(slice, rate)| Round {
        commands_per_second: rounded(slice.done as f64 / slice.took.as_secs_f64()),
        mean_batch: rounded(slice.mean_batch()),
        bare_rows_per_second: rounded(*rate),
    });
    Ok(CommandsReport {
        commands_per_second: rounded(done as f64 / seconds),
        bare_rows_per_second: rounded(best),
        ratio: rounded(done as f64 / seconds / best),
        mean_batch: rounded(done as f64 / syncs.max(1) as f64),
        sync_ms: rounded(sync.as_secs_f64() * 1e3),
        p50_ms: latencies.quantile_ms(0.5),
        p99_ms: latencies.quantile_ms(0.99),
        commands: done,
        seconds: rounded(seconds),
        fsyncs: syncs,
        in_flight: args.in_flight,
        wallets: args.wallets,
        events_before,
        rounds: rounds.collect(),
    })
}

/// Deposits into wallets without order, each under a key of its own.
fn deposits(
    load: &Load,
    wallets: &Arc<[AccountId]>,
    round: u64,
) -> impl Fn(u64) -> Option<Work> + Send + Sync + 'static {
    let (load, wallets) = (load.clone(), Arc::clone(wallets));
    let amount = Money::new(AMOUNT, Currency::CNY);
    move |number| {
        let load = load.clone();
        let account = wallets[scrambled(number ^ (round << 48)) as usize % wallets.len()];
        Some(Box::pin(async move {
            let at = load.commands.now();
            let request = Request::new((load.tenant, load.staff), "deposit", load.id(), &(account, amount), at);
            let deposited = load.commands.deposit(request, account, amount).await;
            deposited.map(|_| ()).map_err(|failure| anyhow!("a deposit failed: {failure}"))
        }))
    }
}

impl Report for CommandsReport {
    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![
            ("commands", format!("{}/s", grouped(self.commands_per_second))),
            ("bare rows", format!("{}/s (best of {})", grouped(self.bare_rows_per_second), self.rounds.len())),
            ("ratio", format!("{:.2}", self.ratio)),
            ("mean batch", format!("{:.0} events", self.mean_batch)),
            ("one sync", format!("{:.3} ms", self.sync_ms)),
            ("p50, p99", format!("{:.2} ms, {:.2} ms", self.p50_ms, self.p99_ms)),
            ("measured", format!("{} commands in {:.1} s", grouped(self.commands as f64), self.seconds)),
        ]
    }
}

impl fmt::Display for CommandsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        report::write(self, f)
    }
}
