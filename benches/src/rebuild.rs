//! How fast the views come out of the log: each alone and all together, beside the bare loops that
//! bound them from above, the log only read and the rows only inserted.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use commands::Limits;
use domain::{AccountId, Currency, DinerId, Money};
use projections::{Registry, Runner, Views, fold_only};
use sagas::Ordering;
use serde::Serialize;

use crate::{
    Log, Report,
    bulk::{self, Inserted},
    latency::Latencies,
    load::{Load, scrambled},
    lunch::{DISH_PRICE, Lunch},
    orders::{SUBSIDY, order_of, place, registry},
    report::{self, grouped, rounded},
};

/// Events read at once by the bare loop, as a rebuild reads them.
const PAGE: usize = 5_000;
/// Servings that the orders are spread over.
const SERVINGS: u32 = 100;
const IN_FLIGHT: u32 = 512;
/// Of a whole paid order.
const EVENTS_OF_ORDER: u64 = 10;
/// Longest time that the making of the log may take.
const PATIENCE: Duration = Duration::from_secs(3_600);

#[derive(Args, Clone, Debug)]
pub struct RebuildArgs {
    /// Events that the log has at least: orders are placed until it does
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000))]
    pub events: u64,
    /// Diners who order in turn
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub diners: u32,
    /// Only makes the log. A run that measures has another process do this, whose memory is not counted
    #[arg(long)]
    pub only_fill: bool,
}

/// What came of it. Rates are a second.
#[derive(Clone, Debug, Serialize)]
pub struct RebuildReport {
    pub events: u64,
    /// The log's rows only read, in batches of the rebuild's size.
    pub bare_read_per_second: f64,
    /// Events read, decoded and folded by all views, and nothing written.
    pub fold_per_second: f64,
    /// Each view folded from the first event into tables of its own, until it is switched.
    pub views: Vec<OfView>,
    /// All views in one pass over the log, until they are switched.
    pub events_per_second: f64,
    pub seconds: f64,
    /// Rows that all views end with.
    pub rows: u64,
    /// Those rows only inserted, by a prepared statement or a bulk copy, into the same tables with the
    /// same indexes, in the order of their keys.
    pub bare_bulk_insert_per_second: f64,
    pub bare_bulk_insert_seconds: f64,
    /// The bare insert's time over the rebuild's, which also reads, decodes, folds, and changes rows
    /// that do not end as they began.
    pub ratio: f64,
    /// The most memory that the process had resident while it rebuilt. A log in memory is part of it.
    pub peak_resident_mb: Option<f64>,
}

/// One view alone.
#[derive(Clone, Debug, Serialize)]
pub struct OfView {
    pub view: &'static str,
    pub events_per_second: f64,
    pub rows: u64,
}

/// Measures rebuilds of a log's views. Call within a multi-threaded tokio runtime.
pub async fn run(args: &RebuildArgs, log: &Log) -> Result<RebuildReport> {
    fill(args, log).await?;
    let events = log.store.head().await?;
    let rate = |took: Duration| rounded(events as f64 / took.as_secs_f64());
    forget_peak();
    (log.tell)("only reading");
    let bare_read = rate(bare_read(log, events).await?);
    let all = registry();
    let mut views = Vec::new();
    for projection in all.iter() {
        (log.tell)(&format!("rebuilding {}", projection.name()));
        let one: Registry = Arc::new([Arc::clone(projection)]);
        let place = bulk::Place::make(log).await?;
        let (took, built) = rebuild(log, &place, one).await?;
        let rows = place.count(&built).await?;
        views.push(OfView { view: projection.name(), events_per_second: rate(took), rows });
        place.remove(built).await?;
    }
    (log.tell)("rebuilding all views");
    let place = bulk::Place::make(log).await?;
    let (took, built) = rebuild(log, &place, all.clone()).await?;
    let peak = peak_resident_mb();
    (log.tell)("only inserting");
    let Inserted { rows, took: bare } = place.insert_again(&built).await?;
    place.remove(built).await?;
    (log.tell)("only folding");
    let began = Instant::now();
    fold_only(Arc::clone(&log.store), all).await?;
    let fold = rate(began.elapsed());
    Ok(RebuildReport {
        events,
        bare_read_per_second: bare_read,
        fold_per_second: fold,
        views,
        events_per_second: rate(took),
        seconds: rounded(took.as_secs_f64()),
        rows,
        bare_bulk_insert_per_second: rounded(rows as f64 / bare.as_secs_f64()),
        bare_bulk_insert_seconds: rounded(bare.as_secs_f64()),
        ratio: rounded(bare.as_secs_f64() / took.as_secs_f64()),
        peak_resident_mb: peak,
    })
}

/// Places orders until the log has as many events as are asked for. No views are kept up meanwhile.
pub async fn fill(args: &RebuildArgs, log: &Log) -> Result<()> {
    if log.store.head().await? >= args.events {
        return Ok(());
    }
    let load = Load::start(log, Limits::default().accounts);
    let ordering = Ordering::new(load.commands.clone());
    let lunch = Lunch::publish(&load, SERVINGS).await?;
    let mut diners: Vec<DinerId> = (0..args.diners).map(|_| DinerId(load.id())).collect();
    // They do not come to lunch in the order in which they were hired.
    diners.sort_unstable_by_key(|diner| scrambled(diner.0.as_u64_pair().1));
    let diners: Arc<[DinerId]> = diners.into();
    while let left @ 1.. = args.events.saturating_sub(log.store.head().await?) {
        let orders = left.div_ceil(EVENTS_OF_ORDER).min(diners.len() as u64);
        (log.tell)(&format!("{left} events are missing; placing {orders} orders"));
        let some = &diners[..usize::try_from(orders)?];
        for (account, amount) in
            [(AccountId::Wallet as fn(DinerId) -> AccountId, 2 * DISH_PRICE), (AccountId::Subsidy, SUBSIDY)]
        {
            let accounts: Vec<AccountId> = some.iter().copied().map(account).collect();
            load.fill(&accounts, Money::new(amount, Currency::CNY)).await?;
        }
        let work = {
            let (load, ordering, lunch, diners) = (load.clone(), ordering.clone(), lunch.clone(), Arc::clone(&diners));
            move |number: u64| {
                let diner = *diners.get(usize::try_from(number).ok()?).filter(|_| number < orders)?;
                let (load, ordering) = (load.clone(), ordering.clone());
                let new = order_of(&lunch, diner, scrambled(number));
                Some(Box::pin(async move { place(&load, &ordering, diner, new).await }) as crate::load::Work)
            }
        };
        load.closed_loop(log, (IN_FLIGHT, PATIENCE), &Arc::new(Latencies::new()?), work).await?;
    }
    load.end().await
}

async fn bare_read(log: &Log, events: u64) -> Result<Duration> {
    let began = Instant::now();
    let mut next = 1;
    while next <= events {
        let page = log.store.read_all(next, PAGE).await?;
        anyhow::ensure!(!page.is_empty(), "the log gave back fewer events than it took");
        next += page.len() as u64;
    }
    Ok(began.elapsed())
}

/// Folds views anew until they are switched.
async fn rebuild(log: &Log, place: &bulk::Place, registry: Registry) -> Result<(Duration, Views)> {
    let views = place.views(log, registry).await?;
    let mut runner = Runner::open(Arc::clone(&log.store), views.clone()).await?;
    let began = Instant::now();
    runner.catch_up().await?;
    let took = began.elapsed();
    let builds = views.builds().await?;
    let wrong = builds.iter().find(|build| !build.live || build.parked > 0);
    anyhow::ensure!(wrong.is_none(), "a view did not come to its end: {wrong:?}");
    Ok((took, views))
}

/// Begins to count the process's peak memory anew, where the system can.
fn forget_peak() {
    // Without it the peak is that of the whole run, which the figure then honestly is.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn peak_resident_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(rounded(kilobytes / 1_024.0))
}

impl Report for RebuildReport {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let a_second = |rate: f64| format!("{}/s", grouped(rate));
        let mut lines = vec![
            ("events", grouped(self.events as f64)),
            ("only read", a_second(self.bare_read_per_second)),
            ("only folded", a_second(self.fold_per_second)),
        ];
        let of_view = |view: &OfView| {
            (view.view, format!("{}, {} rows", a_second(view.events_per_second), grouped(view.rows as f64)))
        };
        lines.extend(self.views.iter().map(of_view));
        let (rows, bare) = (grouped(self.rows as f64), a_second(self.bare_bulk_insert_per_second));
        lines.extend([
            ("all views", format!("{} in {:.1} s", a_second(self.events_per_second), self.seconds)),
            ("only inserted", format!("{rows} rows, {bare} in {:.1} s", self.bare_bulk_insert_seconds)),
            ("insert over rebuild", format!("{:.2}", self.ratio)),
        ]);
        if let Some(peak) = self.peak_resident_mb {
            lines.push(("peak memory", format!("{} MB", grouped(peak))));
        }
        lines
    }
}

impl fmt::Display for RebuildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        report::write(self, f)
    }
}
