//! Whole paid orders a second: placed, reserved, held on a lot of the subsidy and on the wallet,
//! confirmed, captured, with every view folded beside it. The clock of a slice stops when all views
//! stand at the head.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use commands::{Limits, Request};
use domain::{
    AccountId, ActorId, Currency, DinerId, Money, OrderId,
    order::{self, Channel, Order},
    payment::{Payment, Source},
    policy::{Clearing, Per, Terms},
};
use projections::{Registry, Runner, Views};
use sagas::{Finance, Follower, NewLine, NewOrder, Ordering, Subsidies};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    BareLog, Log, Report,
    company::{Company, terms},
    disk::bytes_on_disk,
    latency::Latencies,
    load::{Load, ROUNDS, Slice, Work, bare_turn, scrambled},
    lunch::{DISH_PRICE, Lunch},
    report::{self, grouped, rounded},
    time_of_one_sync,
};

/// The most that a lot pays of one order, in minor units: less than an order costs, so that the wallet
/// pays the rest.
pub(crate) const SUBSIDY: i64 = 1_500;
/// What each diner's lot has: enough for an order of every slice.
const LOT: i64 = SUBSIDY * ROUNDS as i64;
/// What each wallet is filled with: enough for an order of every slice.
const WALLET: i64 = 2 * DISH_PRICE * ROUNDS as i64;
/// Views that take longer to catch up are broken.
const CATCH_UP: Duration = Duration::from_secs(120);

#[derive(Args, Clone, Debug)]
pub struct OrdersArgs {
    /// Orders under way at once
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub in_flight: u32,
    /// Servings, each of a canteen of its own, that the orders are spread over
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub servings: u32,
    /// How long to measure; the bare loop takes as long again
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub seconds: u32,
    /// Diners with a lot of a subsidy and a wallet; each orders once in each of the three slices
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub diners: u32,
    /// Accounts kept in memory
    #[arg(long, default_value_t = Limits::default().accounts)]
    pub cached: usize,
}

/// What came of it. Rates are a second, times in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct OrdersReport {
    /// Confirmed orders, until every view stood at the head.
    pub orders_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub events_per_order: f64,
    /// By which the log's files and the views' grew; none for a log in memory.
    pub bytes_per_order: Option<f64>,
    pub fsyncs: u64,
    pub sync_ms: f64,
    /// From the last answer to all views at the head, the longest of the slices.
    pub catch_up_ms: f64,
    /// Events a transaction.
    pub mean_batch: f64,
    pub bare_rows_per_second: f64,
    /// Events a second over bare rows.
    pub ratio: f64,
    pub orders: u64,
    pub seconds: f64,
    pub in_flight: u32,
    pub servings: u32,
    pub diners: u32,
    /// Whether a slice ended before its time because every diner had ordered.
    pub ran_out_of_diners: bool,
    /// In the log before the run.
    pub events_before: u64,
    pub rounds: Vec<Round>,
}

/// One turn of each.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    pub orders_per_second: f64,
    pub catch_up_ms: f64,
    pub mean_batch: f64,
    pub bare_rows_per_second: f64,
}

/// A slice, and how it was with views and disk.
struct Turn {
    slice: Slice,
    catch_up: Duration,
    bytes: Option<u64>,
    bare: f64,
}

impl Turn {
    fn took(&self) -> Duration {
        self.slice.took + self.catch_up
    }
}

/// Everything that a server keeps, in one list.
pub(crate) fn registry() -> Registry {
    projections::all().iter().cloned().chain(sagas::projections()).collect()
}

/// The product as a server runs it: the views' runner and the sagas' follower beside the commands.
pub(crate) struct Kitchen {
    views: Views,
    stop: CancellationToken,
    pub(crate) subsidies: Subsidies,
    runner: JoinHandle<Result<(), projections::ViewError>>,
    follower: JoinHandle<()>,
}

impl Kitchen {
    pub(crate) async fn open(log: &Log, ordering: &Ordering) -> Result<Kitchen> {
        let identity = log.store.identity();
        let views = match &log.folder {
            Some(folder) => Views::open(folder, identity, registry())?,
            None => Views::in_memory(identity, registry())?,
        };
        let stop = CancellationToken::new();
        let runner = Runner::open(Arc::clone(&log.store), views.clone()).await?;
        let runner = tokio::spawn(runner.run(stop.clone()));
        let subsidies = Subsidies::new(ordering.commands().clone(), views.clone());
        let finance = Finance::new(ordering.commands().clone(), views.clone());
        let follower = tokio::spawn(Follower::new(ordering.clone(), subsidies.clone(), finance).run(stop.clone()));
        Ok(Kitchen { views, stop, subsidies, runner, follower })
    }

    /// Waits until the views show what is in the log now, while more is being written.
    pub(crate) async fn caught_up_to_now(&self, log: &Log) -> Result<()> {
        let head = log.store.head().await?;
        self.views.wait_for(head, CATCH_UP).await.context("the views did not catch up")?;
        Ok(())
    }

    /// Waits until every view stands at the head.
    pub(crate) async fn caught_up(&self, log: &Log) -> Result<()> {
        let head = log.store.head().await?;
        self.views.wait_for(head, CATCH_UP).await.context("the views did not catch up")?;
        let behind = self.views.builds().await?.into_iter().find(|build| build.live && build.position < head);
        match behind {
            Some(build) => bail!("the view {} stopped at event {}", build.projection, build.position),
            None => Ok(()),
        }
    }

    pub(crate) async fn close(self) -> Result<()> {
        self.stop.cancel();
        self.follower.await?;
        Ok(self.runner.await??)
    }
}

/// Measures orders on `log`. Call within a multi-threaded tokio runtime.
pub async fn run(args: &OrdersArgs, log: &Log) -> Result<OrdersReport> {
    let scratch = log.scratch();
    let events_before = log.store.head().await?;
    let folder = scratch.clone();
    let sync = tokio::task::spawn_blocking(move || time_of_one_sync(&folder)).await??;
    let load = Load::start(log, args.cached);
    let ordering = Ordering::new(load.commands.clone());
    let kitchen = Kitchen::open(log, &ordering).await?;
    (log.tell)(&format!("publishing {} servings, granting lots and filling wallets of {}", args.servings, args.diners));
    let lunch = Lunch::publish(&load, args.servings).await?;
    // A lot that outlives its month is not cut off by a midnight within the run.
    let terms = terms(LOT, (Per::Month, Clearing::Rollover { months: 1 }));
    let terms = Terms { order_limit: Some(Money::new(SUBSIDY, Currency::CNY)), ..terms };
    let company = Company::open(&load, args.diners, terms).await?;
    kitchen.caught_up(log).await?;
    company.grant_all((&load, &kitchen), log).await?;
    let mut diners = company.diners;
    let wallets: Vec<AccountId> = diners.iter().copied().map(AccountId::Wallet).collect();
    load.fill(&wallets, Money::new(WALLET, Currency::CNY)).await?;
    // They do not come to lunch in the order in which they were hired.
    diners.sort_unstable_by_key(|diner| scrambled(diner.0.as_u64_pair().1));
    let diners = Arc::from(diners);
    let latencies = Arc::new(Latencies::new()?);
    let bench =
        Bench { log, args, load: &load, ordering: &ordering, lunch: &lunch, diners: &diners, kitchen: &kitchen };
    let mut bare = BareLog::new(&scratch)?;
    let (mut turns, mut orders) = (Vec::new(), 0);
    for round in 1..=ROUNDS {
        let turn;
        (bare, turn) = bench.turn((round, orders), &latencies, bare).await?;
        orders += turn.slice.done;
        turns.push(turn);
    }
    load.end().await?;
    kitchen.close().await?;
    Ok(summed(args, events_before, sync, &latencies, &turns))
}

/// What the turns of a run have in common.
struct Bench<'a> {
    log: &'a Log,
    args: &'a OrdersArgs,
    load: &'a Load,
    ordering: &'a Ordering,
    lunch: &'a Lunch,
    diners: &'a Arc<[DinerId]>,
    kitchen: &'a Kitchen,
}

impl Bench<'_> {
    /// One slice of orders, from the order with the number `first` on, then one of the bare loop.
    async fn turn(
        &self,
        (round, first): (u32, u64),
        latencies: &Arc<Latencies>,
        bare: BareLog,
    ) -> Result<(BareLog, Turn)> {
        let Bench { log, args, .. } = *self;
        self.kitchen.caught_up(log).await?;
        let bytes_before = self.bytes().await?;
        (log.tell)(&format!("measuring, {round} of {ROUNDS}"));
        let length = Duration::from_secs(u64::from(args.seconds)) / ROUNDS;
        let slice = self.load.closed_loop(log, (args.in_flight, length), latencies, self.orders(first)).await?;
        let answered = Instant::now();
        self.kitchen.caught_up(log).await?;
        let catch_up = answered.elapsed();
        let bytes = self.bytes().await?.zip(bytes_before).map(|(after, before)| after.saturating_sub(before));
        if round == 1 {
            self.check_tenders().await?;
        }
        (log.tell)(&format!("measuring the bare loop, {round} of {ROUNDS}"));
        let (bare, rate) = bare_turn(log, bare, &slice, length).await?;
        Ok((bare, Turn { slice, catch_up, bytes, bare: rate }))
    }

    async fn bytes(&self) -> Result<Option<u64>> {
        let Some(folder) = self.log.folder.clone() else { return Ok(None) };
        tokio::task::spawn_blocking(move || bytes_on_disk(&folder)).await?.map(Some)
    }

    /// Orders of two lines at servings without order, each of the next diner, from the order with
    /// the number `first` on until every diner has ordered.
    fn orders(&self, first: u64) -> impl Fn(u64) -> Option<Work> + Send + Sync + use<> {
        let (load, ordering, lunch) = (self.load.clone(), self.ordering.clone(), self.lunch.clone());
        let diners = Arc::clone(self.diners);
        move |number| {
            if number >= diners.len() as u64 {
                return None;
            }
            let diner = diner_of(&diners, first + number);
            let (load, ordering) = (load.clone(), ordering.clone());
            let new = order_of(&lunch, diner, scrambled(first + number));
            Some(Box::pin(async move { place(&load, &ordering, diner, new).await }))
        }
    }

    /// That the run measures what it says: the first diner's first order is paid by a lot and the wallet.
    async fn check_tenders(&self) -> Result<()> {
        let diner = self.diners[0];
        let (_, key) = <domain::account::Account as domain::Aggregate>::stream_key(AccountId::Wallet(diner));
        let stream = domain::StreamId { tenant: self.load.tenant, kind: domain::StreamKind::Wallet, key };
        let rows = self.log.store.read_stream(stream, 1, 100).await?;
        let order = rows.iter().rev().find(|row| &*row.event_type == "account.Captured");
        let order = order.context("the first diner's wallet paid nothing")?.metadata.correlation;
        let tenders = |payment: &Payment| payment.sheet().map(|sheet| sheet.tenders.clone()).unwrap_or_default();
        let tenders = self.load.commands.look(self.load.tenant, OrderId(order).payment(), tenders).await?;
        let sources: Vec<Source> = tenders.iter().map(|tender| tender.source).collect();
        let by_both = matches!(sources[..], [Source::Lot(of, _), Source::Account(AccountId::Wallet(_))] if of == diner);
        ensure!(by_both, "an order was paid from {sources:?}, not from a lot and the wallet");
        Ok(())
    }
}

/// Diners order in turn.
fn diner_of(diners: &[DinerId], order: u64) -> DinerId {
    diners[order as usize % diners.len()]
}

pub(crate) fn order_of(lunch: &Lunch, diner: DinerId, random: u64) -> NewOrder {
    let (serving, dishes) = lunch.serving(random);
    let first = (random >> 24) as usize % dishes.len();
    let second = (first + 1 + (random >> 40) as usize % (dishes.len() - 1)) % dishes.len();
    let price = Some(Money::new(DISH_PRICE, Currency::CNY));
    let line = |dish| NewLine { dish, quantity: 1, options: vec![], unit_price: price };
    let lines = vec![line(dishes[first]), line(dishes[second])];
    NewOrder { diner, serving, lines, channel: Channel::Online, terms: order::Terms::Balances }
}

pub(crate) async fn place(load: &Load, ordering: &Ordering, diner: DinerId, new: NewOrder) -> Result<()> {
    let who = (load.tenant, ActorId(diner.0));
    let request = Request::new(who, "placeOrder", load.id(), &new, load.commands.now());
    let placed = ordering.place_order(request, new).await.map_err(|failure| anyhow!("an order failed: {failure}"))?;
    ensure!(matches!(placed.value, Order::Confirmed(_)), "an order is {}, not confirmed", placed.value.status());
    Ok(())
}

fn summed(
    args: &OrdersArgs,
    events_before: u64,
    sync: Duration,
    latencies: &Latencies,
    turns: &[Turn],
) -> OrdersReport {
    let sum = |figure: fn(&Turn) -> u64| turns.iter().map(figure).sum::<u64>();
    let (orders, events, fsyncs) = (sum(|t| t.slice.done), sum(|t| t.slice.events), sum(|t| t.slice.syncs));
    let bytes: Option<u64> = turns.iter().map(|turn| turn.bytes).sum();
    let seconds = turns.iter().map(Turn::took).sum::<Duration>().as_secs_f64();
    let best = turns.iter().map(|turn| turn.bare).fold(0.0, f64::max);
    let catch_up = turns.iter().map(|turn| turn.catch_up).max().unwrap_or_default();
    let an_order = |figure: u64| rounded(figure as f64 / orders.max(1) as f64);
    let rounds = turns.iter().map(|turn| Round {
        orders_per_second: rounded(turn.slice.done as f64 / turn.took().as_secs_f64()),
        catch_up_ms: rounded(turn.catch_up.as_secs_f64() * 1e3),
        mean_batch: rounded(turn.slice.mean_batch()),
        bare_rows_per_second: rounded(turn.bare),
    });
    OrdersReport {
        orders_per_second: rounded(orders as f64 / seconds),
        p50_ms: latencies.quantile_ms(0.5),
        p99_ms: latencies.quantile_ms(0.99),
        events_per_order: an_order(events),
        bytes_per_order: bytes.map(an_order),
        fsyncs,
        sync_ms: rounded(sync.as_secs_f64() * 1e3),
        catch_up_ms: rounded(catch_up.as_secs_f64() * 1e3),
        mean_batch: rounded(events as f64 / fsyncs.max(1) as f64),
        bare_rows_per_second: rounded(best),
        ratio: rounded(events as f64 / seconds / best),
        orders,
        seconds: rounded(seconds),
        in_flight: args.in_flight,
        servings: args.servings,
        diners: args.diners,
        ran_out_of_diners: turns.iter().any(|turn| turn.slice.ran_out),
        events_before,
        rounds: rounds.collect(),
    }
}

impl Report for OrdersReport {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let bytes =
            self.bytes_per_order.map_or_else(|| "not known".to_owned(), |bytes| format!("{} bytes", grouped(bytes)));
        let mut measured = format!("{} orders in {:.1} s", grouped(self.orders as f64), self.seconds);
        if self.ran_out_of_diners {
            measured.push_str("; ended early, since every diner had ordered (--diners)");
        }
        vec![
            ("orders", format!("{}/s over {} servings", grouped(self.orders_per_second), self.servings)),
            ("p50, p99", format!("{:.2} ms, {:.2} ms", self.p50_ms, self.p99_ms)),
            ("views caught up", format!("{:.0} ms after the last answer", self.catch_up_ms)),
            ("an order", format!("{:.1} events, {bytes} on disk", self.events_per_order)),
            ("mean batch", format!("{:.0} events, {} syncs", self.mean_batch, grouped(self.fsyncs as f64))),
            ("one sync", format!("{:.3} ms", self.sync_ms)),
            ("bare rows", format!("{}/s (best of {})", grouped(self.bare_rows_per_second), self.rounds.len())),
            ("events over bare rows", format!("{:.2}", self.ratio)),
            ("measured", measured),
        ]
    }
}

impl fmt::Display for OrdersReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        report::write(self, f)
    }
}
