//! Answered means durable; a repeat is not an error; everything is bounded.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use domain::account::{self, Account, Command};

use super::{
    TENANT, a_moment, commands_over, commands_with, fen, flaky::FlakyLog, folded, hold, request, rows, step, wallet,
};
use crate::{Clock, Commands, Failure, Interrupted, Limits, QueueLimits, RandomIds};

async fn deposit(commands: &Commands, key: u128, minor: i64) -> Result<(), Failure<account::Error>> {
    commands.deposit(request(key, fen(minor)), wallet(1), fen(minor)).await.map(|_| ())
}

#[tokio::test]
async fn a_success_is_answered_only_when_it_is_durable() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    log.shut();
    let answer = tokio::spawn({
        let commands = commands.clone();
        async move { commands.deposit(request(1, fen(500)), wallet(1), fen(500)).await }
    });
    a_moment().await;
    assert!(!answer.is_finished(), "nothing is durable yet");
    log.open();
    let outcome = answer.await.unwrap().unwrap();
    assert_eq!((outcome.events.len(), outcome.position, outcome.repeated), (2, 2, false));
    assert_eq!(rows(&log).await.len(), 2);
}

#[tokio::test]
async fn a_refusal_waits_for_what_it_rests_on() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    log.shut();
    let first = tokio::spawn({
        let commands = commands.clone();
        async move { deposit(&commands, 1, 500).await }
    });
    a_moment().await;
    let refused = tokio::spawn({
        let commands = commands.clone();
        async move {
            let command = Command::Hold { hold: hold(1), amount: fen(600), from: None };
            commands.execute::<Account>(TENANT, wallet(1), command, step(1, "hold")).await
        }
    });
    a_moment().await;
    assert!(!refused.is_finished(), "the balance that it was refused for may still be lost");
    log.open();
    first.await.unwrap().unwrap();
    let refusal = refused.await.unwrap().unwrap_err();
    assert_eq!(refusal, Failure::Refused(account::Error::Insufficient { short: fen(100) }));
    assert_eq!(rows(&log).await.len(), 2, "a refusal appends nothing");
}

#[tokio::test]
async fn a_refusal_leaves_its_key_free() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    let refused = deposit(&commands, 1, -5).await.unwrap_err();
    assert_eq!(refused, Failure::Refused(account::Error::NotPositive));
    deposit(&commands, 1, 5).await.unwrap();
}

#[tokio::test]
async fn a_look_outside_a_chain_shows_only_what_is_durable() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    deposit(&commands, 1, 500).await.unwrap();
    log.shut();
    let second = tokio::spawn({
        let commands = commands.clone();
        async move { deposit(&commands, 2, 70).await }
    });
    a_moment().await;
    let look = tokio::spawn({
        let commands = commands.clone();
        async move { commands.look(TENANT, wallet(1), |account: &Account| account.book().unwrap().posted).await }
    });
    a_moment().await;
    assert!(!look.is_finished());
    log.open();
    second.await.unwrap().unwrap();
    assert_eq!(look.await.unwrap(), Ok(570));
}

#[tokio::test]
async fn a_repeat_joins_the_first_and_appends_nothing() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    log.shut();
    let tries: Vec<_> = (0..10)
        .map(|_| {
            let commands = commands.clone();
            tokio::spawn(async move { commands.deposit(request(1, fen(500)), wallet(1), fen(500)).await })
        })
        .collect();
    a_moment().await;
    log.open();
    let mut firsts = 0;
    for one in tries {
        let outcome = one.await.unwrap().unwrap();
        assert_eq!(outcome.events.len(), 2, "every one has the first outcome");
        firsts += usize::from(!outcome.repeated);
    }
    assert_eq!((firsts, rows(&log).await.len()), (1, 2));
}

#[tokio::test]
async fn a_repeat_is_known_after_a_restart_and_another_content_is_a_conflict() {
    let log = Arc::new(FlakyLog::new());
    deposit(&commands_over(&log), 1, 500).await.unwrap();
    let restarted = commands_over(&log);
    let again = restarted.deposit(request(1, fen(500)), wallet(1), fen(500)).await.unwrap();
    assert!(again.repeated);
    assert_eq!(again.events.len(), 2);
    assert_eq!(deposit(&restarted, 1, 600).await, Err(Failure::KeyReused));
    assert_eq!(rows(&log).await.len(), 2);
}

#[tokio::test]
async fn a_full_queue_answers_overloaded_and_appends_nothing() {
    let log = Arc::new(FlakyLog::new());
    let queue = QueueLimits { events: 16, patience: Duration::from_millis(40) };
    let commands = commands_with(&log, Limits { queue, ..Limits::default() });
    log.shut();
    let waiting: Vec<_> = (1..=2)
        .map(|key| {
            let commands = commands.clone();
            tokio::spawn(async move { commands.deposit(request(key, fen(5)), wallet(key), fen(5)).await })
        })
        .collect();
    a_moment().await;
    let refused = deposit(&commands, 9, 5).await.unwrap_err();
    assert_eq!(refused, Failure::Interrupted(Interrupted::Overloaded));
    log.open();
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    deposit(&commands, 9, 5).await.unwrap();
    assert_eq!(rows(&log).await.len(), 5, "two opened accounts, and a deposit more in the first");
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_written_together() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    log.shut();
    let waiting: Vec<_> = (1..=200)
        .map(|key| {
            let commands = commands.clone();
            tokio::spawn(async move { commands.deposit(request(key, fen(5)), wallet(key), fen(5)).await })
        })
        .collect();
    a_moment().await;
    log.open();
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    assert!(log.appends.load(Ordering::SeqCst) <= 3, "{:?} transactions", log.appends);
}

#[tokio::test]
async fn a_small_cache_forgets_and_loads_again() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_with(&log, Limits { accounts: 32, ..Limits::default() });
    for round in 0..3 {
        for number in 0..200 {
            let key = round * 1_000 + number;
            commands.deposit(request(key, fen(5)), wallet(number), fen(5)).await.unwrap();
        }
    }
    for number in [0, 77, 199] {
        let posted = commands.look(TENANT, wallet(number), |account: &Account| account.book().unwrap().posted).await;
        assert_eq!(posted, Ok(15));
    }
    assert!(log.rows_read.load(Ordering::SeqCst) > 400, "the cache is too small for all of them");
}

#[tokio::test]
async fn a_long_stream_is_loaded_from_a_snapshot_and_still_knows_its_repeats() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    for key in 0..700 {
        deposit(&commands, key, 3).await.unwrap();
    }
    let before = folded(&log, wallet(1)).await;
    let restarted = commands_over(&log);
    log.rows_read.store(0, Ordering::SeqCst);
    let seen = restarted.look(TENANT, wallet(1), Account::clone).await.unwrap();
    assert_eq!(seen, before);
    assert!(log.rows_read.load(Ordering::SeqCst) < 350, "{:?} of 701 rows were read", log.rows_read);
    let again = restarted.deposit(request(0, fen(3)), wallet(1), fen(3)).await.unwrap();
    assert!(again.repeated, "the first of the commands is known from the snapshot");
    assert_eq!(rows(&log).await.len(), 701);
}

#[tokio::test]
async fn a_shutdown_finishes_what_is_under_way_and_refuses_the_rest() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    log.shut();
    let under_way = tokio::spawn({
        let commands = commands.clone();
        async move { deposit(&commands, 1, 5).await }
    });
    a_moment().await;
    let down = tokio::spawn({
        let commands = commands.clone();
        async move { commands.shut_down(Duration::from_secs(5)).await }
    });
    a_moment().await;
    let late = deposit(&commands, 2, 5).await.unwrap_err();
    assert!(matches!(late, Failure::Interrupted(Interrupted::Unavailable(_))), "{late:?}");
    log.open();
    under_way.await.unwrap().unwrap();
    assert!(down.await.unwrap());
    assert_eq!(rows(&log).await.len(), 2);
}

/// A clock whose machine was set elsewhere.
struct Departed;

impl Clock for Departed {
    fn now(&self) -> domain::Timestamp {
        super::NOON
    }
    fn departure_ms(&self) -> i64 {
        -5_000
    }
}

#[tokio::test]
async fn a_node_whose_clock_was_set_takes_no_commands() {
    let log = Arc::new(FlakyLog::new());
    let commands = Commands::start(Arc::clone(&log) as _, Arc::new(Departed), Arc::new(RandomIds), Limits::default());
    let refused = deposit(&commands, 1, 5).await.unwrap_err();
    assert!(refused.to_string().contains("-5000 ms"), "{refused}");
    assert_eq!(rows(&log).await.len(), 0);
}
