//! Each measurement once, small and short: that it measures what it says.
#![expect(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::{path::Path, sync::Arc};

use domain::StreamKind;
use store::{MemoryLog, PostgresLog, SqliteLog, SqliteMode};
use tiffin_benches::{
    Log, Report,
    commands::{self, CommandsArgs},
    grants::{self, GrantsArgs},
    orders::{self, OrdersArgs},
    rebuild::{self, RebuildArgs},
};

/// Seconds in which every diner has ordered long before; then a measurement ends by itself.
const AMPLE: u32 = 180;

fn sqlite(folder: &Path) -> Log {
    let store = Arc::new(SqliteLog::open(folder, SqliteMode::ReadWrite).expect("a log"));
    let counted = Arc::clone(&store);
    let syncs = Arc::new(move || counted.syncs());
    Log { store, syncs, folder: Some(folder.to_owned()), database: None, tell: Arc::new(|_| {}) }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_counted_as_the_log_has_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = sqlite(folder.path());
    let args = CommandsArgs { in_flight: 16, seconds: 1, wallets: 50, cached: 1_000 };
    let report = commands::run(&args, &log).await.expect("a report");
    assert_eq!(log.store.head().await.expect("a head"), 100 + report.commands, "opening a wallet is two events");
    assert!(report.mean_batch >= 1.0 && report.mean_batch <= 16.0, "{report}");
    assert!(report.p50_ms > 0.0 && report.p50_ms <= report.p99_ms, "{report}");
    let ratio = report.commands_per_second / report.bare_rows_per_second;
    assert!((report.ratio - ratio).abs() < 0.001, "{report}");
    let best = report.rounds.iter().map(|round| round.bare_rows_per_second).fold(0.0, f64::max);
    assert_eq!((report.rounds.len(), report.bare_rows_per_second), (3, best));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_whole_and_every_view_has_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = sqlite(folder.path());
    let args = OrdersArgs { in_flight: 16, servings: 2, seconds: AMPLE, diners: 40, cached: 1_000 };
    let report = orders::run(&args, &log).await.expect("a report");
    assert_eq!(report.orders, 120, "every diner orders once in each slice, and then it ends");
    assert!(report.ran_out_of_diners);
    // Placed, opened, reserved, two holds, paid, confirmed, two captures, captured.
    assert_eq!(report.events_per_order, 10.0);
    assert!(report.bytes_per_order.is_some_and(|bytes| bytes > 1_000.0), "{report}");
    assert!(report.fsyncs > 0 && report.fsyncs <= 1_200, "{report}");
    // Nobody's subsidy has money that is in no lot, so a lot and the wallet pay each order.
    let rows = log.store.read_all(1, 1_000_000).await.expect("the log");
    let count =
        |kind, name: &str| rows.iter().filter(|row| row.stream.kind == kind && &*row.event_type == name).count();
    assert_eq!(
        (count(StreamKind::Subsidy, "account.Granted"), count(StreamKind::Subsidy, "account.Deposited")),
        (40, 0)
    );
    assert_eq!(count(StreamKind::Subsidy, "account.Captured"), count(StreamKind::Wallet, "account.Captured"));
    let figures = report.lines();
    assert!(figures.iter().any(|(name, figure)| *name == "measured" && figure.contains("every diner had ordered")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_diner_is_granted_once_and_every_lot_expires() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = sqlite(folder.path());
    let report = grants::run(&GrantsArgs { diners: 620, in_flight: 2 }, &log).await.expect("a report");
    assert!(report.grant_seconds > 0.0 && report.repeat_seconds > 0.0, "{report}");
    let rows = log.store.read_all(1, 1_000_000).await.expect("the log");
    let count = |name: &str| rows.iter().filter(|row| &*row.event_type == name).count();
    assert_eq!((count("account.Granted"), count("account.Lapsed"), count("grant.BatchSettled")), (620, 620, 2));
    assert!(report.orders_while_expiring > 0 && count("order.Confirmed") as u64 == report.orders_while_expiring);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_memory_is_measured_too() {
    let log = Log {
        store: Arc::new(MemoryLog::new()),
        syncs: Arc::new(|| 0),
        folder: None,
        database: None,
        tell: Arc::new(|_| {}),
    };
    let args = OrdersArgs { in_flight: 4, servings: 1, seconds: AMPLE, diners: 10, cached: 1_000 };
    let report = orders::run(&args, &log).await.expect("a report");
    assert_eq!((report.orders, report.bytes_per_order), (30, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_ends_with_the_rows_that_are_then_only_inserted() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = testing::Postgres::shared().database();
    let there = Arc::new(PostgresLog::connect(&database).await.expect("a log"));
    let there =
        Log { store: there, syncs: Arc::new(|| 0), folder: None, database: Some(database), tell: Arc::new(|_| {}) };
    for log in [sqlite(folder.path()), there] {
        let args = RebuildArgs { events: 3_000, diners: 40, only_fill: false };
        let report = rebuild::run(&args, &log).await.expect("a report");
        let events = log.store.head().await.expect("a head");
        assert!(events >= 3_000 && report.events == events, "{report}");
        assert_eq!(report.views.len(), projections::all().len() + sagas::projections().len());
        // Each view alone and all together end with the same rows.
        assert_eq!(report.rows, report.views.iter().map(|view| view.rows).sum::<u64>(), "{report}");
        assert!(report.rows > 1_000 && report.ratio > 0.0 && report.fold_per_second > 0.0, "{report}");
        // A log that is long enough is left as it is.
        rebuild::run(&args, &log).await.expect("another report");
        assert_eq!(log.store.head().await.expect("a head"), events);
    }
}
