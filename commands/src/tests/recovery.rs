//! Chains under failed writes, panics, and clients that go away.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use domain::account::{Account, Command};
use proptest::prelude::*;

use super::{
    TENANT, a_moment, commands_over, fen,
    flaky::{Fate, FlakyLog},
    folded, hold, request, rows, step, wallet,
};
use crate::{Commands, Finished, Interrupted};

/// Deposit, hold and capture on one account, then a deposit on a shared one: four links.
async fn links(commands: &Commands, number: u128) -> Result<u32, Interrupted> {
    let mine = wallet(number);
    let steps = [
        (
            mine,
            Command::Deposit {
                deposit: uuid::Uuid::from_u128(number),
                amount: fen(100),
                source: domain::top_up::Source::Bank,
            },
            "deposit",
        ),
        (mine, Command::Hold { hold: hold(number), amount: fen(60), from: None }, "hold"),
        (mine, Command::Capture { hold: hold(number) }, "capture"),
        (
            wallet(0),
            Command::Deposit {
                deposit: uuid::Uuid::from_u128(number),
                amount: fen(1),
                source: domain::top_up::Source::Bank,
            },
            "shared",
        ),
    ];
    let mut carried_out = 0;
    for (account, command, name) in steps {
        match commands.execute::<Account>(TENANT, account, command, step(number, name)).await {
            Ok(outcome) => carried_out += u32::from(!outcome.events.is_empty()),
            Err(crate::Failure::Interrupted(interrupted)) => return Err(interrupted),
            Err(other) => panic!("{other}"),
        }
    }
    Ok(carried_out)
}

async fn chain(commands: &Commands, number: u128) -> Result<Finished<u32>, Interrupted> {
    let inner = commands.clone();
    commands
        .pipelined(16, move || {
            let commands = inner.clone();
            async move { links(&commands, number).await }
        })
        .await
}

async fn assert_whole(log: &FlakyLog, chains: u128) {
    for number in 1..=chains {
        let Account::Open(book) = folded(log, wallet(number)).await else { panic!("{number} was not opened") };
        assert_eq!((book.posted, book.held), (40, 0), "chain {number}");
    }
    let Account::Open(shared) = folded(log, wallet(0)).await else { panic!("the shared one was not opened") };
    assert_eq!(shared.posted, chains as i64, "each chain counts once on the shared account");
}

#[tokio::test]
async fn a_chain_waits_once() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    let finished = chain(&commands, 1).await.unwrap();
    assert_eq!(finished.value, 4);
    assert_eq!(finished.position, rows(&log).await.len() as u64);
    assert!(log.appends.load(Ordering::SeqCst) <= 2, "{:?} transactions for four links", log.appends);
}

#[tokio::test]
async fn a_failed_batch_in_the_middle_of_chains_leaves_each_whole() {
    let fates = [Fate::Refused, Fate::WrittenUnknown, Fate::LostUnknown];
    for (fate, shared) in fates.into_iter().flat_map(|fate| [(fate, false), (fate, true)]) {
        let log = Arc::new(if shared { FlakyLog::shared() } else { FlakyLog::new() });
        let commands = commands_over(&log);
        log.doom(&[Fate::Written, fate, Fate::Written, Fate::Written, fate, fate]);
        let chains: Vec<_> = (1..=60)
            .map(|number| {
                let commands = commands.clone();
                tokio::spawn(async move { chain(&commands, number).await })
            })
            .collect();
        for one in chains {
            one.await.unwrap().unwrap_or_else(|error| panic!("{fate:?}: {error}"));
        }
        assert_whole(&log, 60).await;
    }
}

#[tokio::test]
async fn a_log_that_never_takes_anything_is_said_to_be_unavailable() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    log.doom(&[Fate::Refused; 50]);
    let failed = chain(&commands, 1).await.unwrap_err();
    assert!(matches!(failed, Interrupted::Unavailable(_)), "{failed:?}");
    assert_eq!(rows(&log).await.len(), 0);
    log.doom(&[]);
    chain(&commands, 1).await.unwrap();
    assert_whole(&log, 1).await;
}

#[tokio::test]
async fn nothing_is_answered_while_the_log_does_not_say_what_it_took() {
    for (log, fate) in [
        (FlakyLog::new(), Fate::LostUnknown),
        (FlakyLog::shared(), Fate::LostUnknown),
        (FlakyLog::shared(), Fate::WrittenUnknown),
    ] {
        let log = Arc::new(log);
        let commands = commands_over(&log);
        for number in [1, 2, 3] {
            commands.deposit(request(number, fen(1)), wallet(number), fen(1)).await.unwrap();
        }
        log.shut();
        log.doom(&[fate]);
        let deposit = |number: u128| {
            let commands = commands.clone();
            async move { commands.deposit(request(10 + number, fen(5)), wallet(number), fen(5)).await }
        };
        let in_doubt = tokio::spawn(deposit(1));
        a_moment().await;
        let behind = tokio::spawn(deposit(2));
        a_moment().await;
        log.be_silent(true);
        log.open();
        let unavailable = |failure: &_| matches!(failure, crate::Failure::Interrupted(Interrupted::Unavailable(_)));
        assert!(unavailable(&behind.await.unwrap().unwrap_err()), "what waits behind is told to come again");
        assert!(unavailable(&deposit(3).await.unwrap_err()), "a newcomer is told to come again");
        assert!(!in_doubt.is_finished(), "nobody knows yet");
        log.be_silent(false);
        in_doubt.await.unwrap().unwrap();
        deposit(3).await.unwrap();
        let posted = [posted(&log, 1).await, posted(&log, 2).await, posted(&log, 3).await];
        assert_eq!(posted, [6, 1, 6]);
    }
}

#[tokio::test]
async fn a_panic_in_a_chain_leaves_a_prefix_that_a_repeat_continues() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    let inner = commands.clone();
    let broken = commands
        .pipelined(16, move || {
            let commands = inner.clone();
            async move {
                let command = Command::Deposit {
                    deposit: uuid::Uuid::from_u128(1),
                    amount: fen(100),
                    source: domain::top_up::Source::Bank,
                };
                commands.execute::<Account>(TENANT, wallet(1), command, step(1, "deposit")).await.unwrap();
                if commands.fullness() >= 0.0 {
                    panic!("on purpose");
                }
                Ok(())
            }
        })
        .await;
    assert!(matches!(broken, Err(Interrupted::Unavailable(_))), "{broken:?}");
    a_moment().await;
    assert_eq!(rows(&log).await.len(), 2, "what was queued before the panic is a prefix of the chain");
    chain(&commands, 1).await.unwrap();
    assert_whole(&log, 1).await;
}

/// Polls a chain `times` and then lets go of it, as a task that is aborted there would.
async fn abandon_after(commands: &Commands, number: u128, times: u32) {
    let mut running = Box::pin(commands.pipelined_here(16, || links(commands, number)));
    for _ in 0..times {
        let done = poll_fn(|context| Poll::Ready(running.as_mut().poll(context).is_ready())).await;
        if done {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_chain_dropped_at_any_await_leaves_a_prefix_and_usable_state() {
    for log in [FlakyLog::new(), FlakyLog::shared()] {
        let log = Arc::new(log);
        let commands = commands_over(&log);
        for times in 0..40 {
            let number = u128::from(times) + 1;
            abandon_after(&commands, number, times).await;
            a_moment().await;
            chain(&commands, number).await.unwrap();
        }
        assert_whole(&log, 40).await;
    }
}

#[tokio::test]
async fn a_client_who_goes_away_does_not_end_its_command() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    log.shut();
    let client = tokio::spawn({
        let commands = commands.clone();
        async move { commands.deposit(request(1, fen(5)), wallet(1), fen(5)).await }
    });
    a_moment().await;
    client.abort();
    log.open();
    a_moment().await;
    assert_eq!(rows(&log).await.len(), 2);
}

#[tokio::test]
async fn a_chain_runs_on_from_the_same_inputs() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    let runs = Arc::new(AtomicU32::new(0));
    log.doom(&[Fate::Refused, Fate::Refused]);
    let (inner, counted) = (commands.clone(), Arc::clone(&runs));
    let finished = commands
        .pipelined(16, move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let commands = inner.clone();
            async move { links(&commands, 1).await }
        })
        .await
        .unwrap();
    assert_eq!(finished.position, rows(&log).await.len() as u64);
    assert!(runs.load(Ordering::SeqCst) >= 2, "the first run fell");
    assert_whole(&log, 1).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever fate befalls which append: every chain that was answered stands once, whole.
    #[test]
    fn chains_stand_once_whatever_befalls_the_appends(
        fates in proptest::collection::vec(
            prop_oneof![Just(Fate::Written), Just(Fate::Refused), Just(Fate::WrittenUnknown), Just(Fate::LostUnknown)],
            0..12,
        ),
        chains in 1_u128..20,
        shared in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let log = Arc::new(if shared { FlakyLog::shared() } else { FlakyLog::new() });
            let commands = commands_over(&log);
            log.doom(&fates);
            let running: Vec<_> = (1..=chains)
                .map(|number| {
                    let commands = commands.clone();
                    tokio::spawn(async move { chain(&commands, number).await })
                })
                .collect();
            for (number, one) in running.into_iter().enumerate() {
                if one.await.unwrap().is_err() {
                    // Told to try again: the same ids come to the same end.
                    chain(&commands, number as u128 + 1).await.unwrap();
                }
            }
            assert_whole(&log, chains).await;
        });
    }
}

/// Deposits into two accounts, with a pause between in which the first may fall.
async fn two_accounts(commands: &Commands, pause: &AtomicU32) -> Result<Finished<()>, Interrupted> {
    let inner = commands.clone();
    let pauses = pause.load(Ordering::SeqCst);
    let left = Arc::new(AtomicU32::new(pauses));
    commands
        .pipelined(16, move || {
            let (commands, left) = (inner.clone(), Arc::clone(&left));
            async move {
                for number in [1, 2] {
                    let command = Command::Deposit {
                        deposit: uuid::Uuid::from_u128(77),
                        amount: fen(30),
                        source: domain::top_up::Source::Bank,
                    };
                    let cause = step(77, &format!("deposit/{number}"));
                    match commands.execute::<Account>(TENANT, wallet(number), command, cause).await {
                        Err(crate::Failure::Interrupted(interrupted)) => return Err(interrupted),
                        other => drop(other.unwrap()),
                    }
                    if left.load(Ordering::SeqCst) > 0 {
                        left.fetch_sub(1, Ordering::SeqCst);
                        a_moment().await;
                    }
                }
                Ok(())
            }
        })
        .await
}

async fn posted(log: &FlakyLog, number: u128) -> i64 {
    folded(log, wallet(number)).await.book().map(|book| book.posted).unwrap_or(0)
}

#[tokio::test]
async fn a_link_behind_a_fallen_one_is_not_queued_and_leaves_its_aggregate_as_it_was() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    for number in [1, 2] {
        commands.deposit(request(number, fen(5)), wallet(number), fen(5)).await.unwrap();
    }
    // The first link is written, and fails, while the chain pauses before the second.
    log.doom(&[Fate::Refused]);
    two_accounts(&commands, &AtomicU32::new(1)).await.unwrap();
    assert_eq!((posted(&log, 1).await, posted(&log, 2).await), (35, 35));
    let seen = commands.look(TENANT, wallet(2), Account::clone).await.unwrap();
    assert_eq!(seen, folded(&log, wallet(2)).await);
}

#[tokio::test]
async fn a_chain_that_fell_stays_fallen_whatever_it_rests_on_later() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    for number in [1, 2] {
        commands.deposit(request(number, fen(5)), wallet(number), fen(5)).await.unwrap();
    }
    log.doom(&[Fate::Refused]);
    let chain = tokio::spawn({
        let commands = commands.clone();
        async move { two_accounts(&commands, &AtomicU32::new(1)).await }
    });
    // The first link has fallen, and the second has not begun, when somebody else moves what it goes on with.
    tokio::time::sleep(Duration::from_millis(10)).await;
    commands.deposit(request(9, fen(5)), wallet(2), fen(5)).await.unwrap();
    chain.await.unwrap().unwrap();
    assert_eq!((posted(&log, 1).await, posted(&log, 2).await), (35, 40));
}

#[tokio::test]
async fn what_is_queued_behind_a_failed_batch_falls_with_it() {
    let log = Arc::new(FlakyLog::new());
    let commands = commands_over(&log);
    for number in [1, 2] {
        commands.deposit(request(number, fen(5)), wallet(number), fen(5)).await.unwrap();
    }
    log.shut();
    log.doom(&[Fate::Refused]);
    let chain = tokio::spawn({
        let commands = commands.clone();
        async move { two_accounts(&commands, &AtomicU32::new(1)).await }
    });
    // By now the first link is being written and the second waits behind it.
    a_moment().await;
    a_moment().await;
    log.open();
    chain.await.unwrap().unwrap();
    assert_eq!((posted(&log, 1).await, posted(&log, 2).await), (35, 35));
}

#[tokio::test]
async fn a_writer_that_panics_is_a_failure_of_the_log_and_one_that_is_stopped_is_none() {
    for (fates, fails) in [(&[Fate::Panics][..], true), (&[], false)] {
        let log = Arc::new(FlakyLog::new());
        let commands = commands_over(&log);
        log.doom(fates);
        let deposit = tokio::spawn({
            let commands = commands.clone();
            async move { commands.deposit(request(1, fen(5)), wallet(1), fen(5)).await.is_ok() }
        });
        if fails {
            tokio::time::timeout(Duration::from_secs(5), commands.failed().cancelled()).await.expect("it is said");
            assert!(commands.readiness().await.is_err());
            deposit.abort();
        } else {
            assert!(deposit.await.unwrap());
            assert!(commands.shut_down(Duration::from_secs(5)).await);
            super::a_moment().await;
            assert!(!commands.failed().is_cancelled());
        }
    }
}
