//! A node whose clock is off the log's does not serve.

use std::sync::Arc;

use store::{EventStore, SqliteLog, SqliteMode};

use super::{NOON, a_moment, fen, flaky::FlakyLog, request, rows, selling::node, wallet};
use crate::{Commands, Failure, Interrupted, Limits, ManualClock, RandomIds};

async fn deposit(node: &Commands, key: u128) -> Result<(), String> {
    match node.deposit(request(key, fen(5)), wallet(1), fen(5)).await {
        Ok(_) => Ok(()),
        Err(Failure::Interrupted(Interrupted::Unavailable(why))) => Err(why),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_clock_off_the_logs_takes_no_commands_until_it_is_set() {
    let log = Arc::new(FlakyLog::shared());
    let node = node(&log);
    for departure in [1_500, -1_500] {
        node.set_log_departure(departure);
        let refused = deposit(&node, 1).await.unwrap_err();
        assert!(refused.contains(&format!("{departure} ms")), "{refused}");
    }
    assert_eq!(rows(&log).await, []);
    node.set_log_departure(-900);
    deposit(&node, 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_clock_behind_the_logs_last_event_takes_no_commands_until_it_agrees() {
    let log = Arc::new(FlakyLog::shared());
    let clock = |seconds| Arc::new(ManualClock::at(NOON.plus_seconds(seconds)));
    let start = |clock: &Arc<ManualClock>| {
        Commands::start(Arc::clone(&log) as _, Arc::clone(clock) as _, Arc::new(RandomIds), Limits::default())
    };
    let (behind, ahead) = (clock(0), clock(5));
    let (left, right) = (start(&behind), start(&ahead));
    deposit(&left, 1).await.unwrap();
    deposit(&right, 2).await.unwrap();
    a_moment().await;
    let refused = deposit(&left, 3).await.unwrap_err();
    assert!(refused.contains("5000 ms"), "{refused}");
    log.shut();
    let late = start(&behind);
    let answer = tokio::spawn({
        let late = late.clone();
        async move { deposit(&late, 3).await }
    });
    a_moment().await;
    log.open();
    let refused = answer.await.unwrap().unwrap_err();
    assert!(refused.contains("5000 ms"), "one that starts waits for the log's last event: {refused}");
    assert_eq!(rows(&log).await.len(), 3);
    behind.set(NOON.plus_seconds(5));
    deposit(&left, 3).await.unwrap();
    deposit(&late, 4).await.unwrap();
}

/// Over a real file, which no other node can have written.
#[tokio::test]
async fn a_clock_that_went_back_between_two_runs_takes_no_commands_until_it_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Arc::new(SqliteLog::open(dir.path(), SqliteMode::ReadWrite).unwrap());
    let start = |log: &Arc<SqliteLog>, clock: &Arc<ManualClock>| {
        Commands::start(Arc::clone(log) as _, Arc::clone(clock) as _, Arc::new(RandomIds), Limits::default())
    };
    let clock = Arc::new(ManualClock::at(NOON));
    let log = open();
    let first = start(&log, &clock);
    deposit(&first, 1).await.unwrap();
    clock.set(NOON.plus_seconds(-5));
    deposit(&first, 2).await.unwrap();
    let head = log.head().await.unwrap();
    assert!(first.shut_down(std::time::Duration::from_secs(5)).await);
    drop(first);
    // What runs in the background lets go of it a moment later.
    for _ in 0..200 {
        if Arc::strong_count(&log) == 1 {
            break;
        }
        a_moment().await;
    }
    drop(log);
    let log = open();
    let second = start(&log, &clock);
    let refused = deposit(&second, 3).await.unwrap_err();
    assert!(refused.contains("5000 ms"), "{refused}");
    assert!(second.readiness().await.is_err());
    assert_eq!(log.head().await.unwrap(), head);
    clock.set(NOON);
    deposit(&second, 3).await.unwrap();
}
