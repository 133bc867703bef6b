//! Several nodes on one log: nothing is oversold, nobody gets a stale answer, and only what is in
//! another's way falls. Where time stands still, a pass ends when nobody can get further.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use domain::account::{Account, Command};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    NOON, TENANT, a_moment, fen,
    flaky::{Fate, FlakyLog},
    folded, request, rows,
    selling::{node, publish, sell, sold},
    step, wallet,
};
use crate::{Commands, Contention, Failure, Finished, Interrupted, Limits, ManualClock, QueueLimits, RandomIds};

pub(super) fn two_nodes() -> (Arc<FlakyLog>, Commands, Commands) {
    let log = Arc::new(FlakyLog::shared());
    let (left, right) = (node(&log), node(&log));
    (log, left, right)
}

pub(super) async fn deposit(node: &Commands, account: u128, key: u128) -> Result<(), Interrupted> {
    match node.deposit(request(key, fen(5)), wallet(account), fen(5)).await {
        Ok(_) => Ok(()),
        Err(Failure::Interrupted(interrupted)) => Err(interrupted),
        Err(other) => panic!("{other}"),
    }
}

pub(super) async fn balance(node: &Commands, account: u128) -> i64 {
    let posted = |account: &Account| account.book().map_or(0, |book| book.posted);
    node.look(TENANT, wallet(account), posted).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_sell_exactly_what_there_is() {
    let (log, left, right) = two_nodes();
    publish(&left, 500).await;
    let sales = sell(&[left.clone(), right.clone()], 1_000, 32).await;
    assert!(sales.iter().all(|sales| sales.interrupted.is_empty()), "{:?}", sales[0].interrupted);
    assert_eq!((sold(&*log).await, sales[0].sold + sales[1].sold), (500, 500));
    assert_eq!(sales[0].sold_out + sales[1].sold_out, 1_500);
    assert!(sales.iter().all(|sales| sales.sold >= 25), "{} and {}", sales[0].sold, sales[1].sold);
    let contended = [left.contention(), right.contention()];
    assert!(contended.iter().any(|contention| contention.conflicts > 0), "{contended:?}");
}

/// Deposits into each of `accounts` in one chain, counting its runs.
async fn chain(
    node: &Commands,
    number: u128,
    accounts: Vec<u128>,
    runs: Arc<AtomicU32>,
) -> Result<Finished<()>, Interrupted> {
    let inner = node.clone();
    node.pipelined(16, move || {
        runs.fetch_add(1, Ordering::SeqCst);
        let (node, accounts) = (inner.clone(), accounts.clone());
        async move {
            for (link, account) in accounts.into_iter().enumerate() {
                let command = Command::Deposit {
                    deposit: Uuid::from_u128(number << 8 | link as u128),
                    amount: fen(1),
                    source: domain::top_up::Source::Bank,
                };
                let cause = step(number, &format!("link/{link}"));
                match node.execute::<Account>(TENANT, wallet(account), command, cause).await {
                    Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
                    other => drop(other.unwrap()),
                }
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    })
    .await
}

/// Shuts the log with one append of `node` under way, so that others come together behind it.
async fn behind_a_shut_log(log: &FlakyLog, node: &Commands) -> tokio::task::JoinHandle<Result<(), Interrupted>> {
    log.shut();
    let node = node.clone();
    let first = tokio::spawn(async move { deposit(&node, 99, 99).await });
    a_moment().await;
    first
}

#[tokio::test(start_paused = true)]
async fn a_conflict_leaves_the_rest_of_the_batch_untouched() {
    let (log, left, right) = two_nodes();
    log.deafen();
    for account in 1..=20 {
        deposit(&left, account, account).await.unwrap();
    }
    deposit(&right, 1, 100).await.unwrap();
    let first = behind_a_shut_log(&log, &left).await;
    let chains: Vec<_> = (1..=20)
        .map(|number: u128| {
            // The first rests on what is moved; the others rest on nothing of it.
            let accounts = if number == 1 { vec![1, 2] } else { vec![number + 1] };
            let (left, runs) = (left.clone(), Arc::new(AtomicU32::new(0)));
            let counted = Arc::clone(&runs);
            (runs, tokio::spawn(async move { chain(&left, number, accounts, counted).await }))
        })
        .collect();
    a_moment().await;
    let before = log.appends.load(Ordering::SeqCst);
    log.open();
    first.await.unwrap().unwrap();
    let mut runs = vec![];
    for (number, (counted, one)) in chains.into_iter().enumerate() {
        let position = one.await.unwrap().unwrap().position;
        let last = if number == 0 { "link/1" } else { "link/0" };
        let command = step(number as u128 + 1, last).metadata.command;
        let written = rows(&log).await.into_iter().rfind(|row| row.metadata.command == command);
        assert_eq!(written.unwrap().position, position, "what fell has no position");
        runs.push(counted.load(Ordering::SeqCst));
    }
    assert_eq!(runs[0], 2, "what was moved is decided again");
    assert!(runs[1..].iter().all(|runs| *runs == 1), "{runs:?}");
    let Contention { conflicts, passes, cut_passes, .. } = left.contention();
    assert_eq!((conflicts, passes, cut_passes), (1, 1, 0));
    assert_eq!(log.appends.load(Ordering::SeqCst) - before, 2, "one that conflicts, and one with all of it");
    assert_eq!(balance(&left, 1).await, 11);
}

#[tokio::test(start_paused = true)]
async fn what_is_moved_falls_with_all_that_rests_on_it_and_is_decided_again_at_once() {
    let (log, left, right) = two_nodes();
    log.deafen();
    for account in 1..=4 {
        deposit(&left, account, account).await.unwrap();
    }
    deposit(&right, 2, 100).await.unwrap();
    let first = behind_a_shut_log(&log, &left).await;
    let mut chains = vec![];
    // In this order: 1 → 2 (moved), then 1 again (behind the first), then 3 and 4 alone.
    for (number, accounts) in [(11, vec![1, 2, 3]), (12, vec![1]), (13, vec![4])] {
        let (left, runs) = (left.clone(), Arc::new(AtomicU32::new(0)));
        let counted = Arc::clone(&runs);
        chains.push((runs, tokio::spawn(async move { chain(&left, number, accounts, counted).await })));
        a_moment().await;
    }
    log.open();
    first.await.unwrap().unwrap();
    let mut runs = vec![];
    for (counted, one) in chains {
        one.await.unwrap().unwrap();
        runs.push(counted.load(Ordering::SeqCst));
    }
    assert_eq!(runs, [2, 2, 1]);
    assert_eq!(left.contention().dropped_appends, 4, "three links of the first, one behind it");
    for account in 1..=4 {
        let Account::Open(book) = folded(&log, wallet(account)).await else { panic!("{account}") };
        let expected = [7, 11, 6, 6][account as usize - 1];
        assert_eq!((balance(&left, account).await, book.posted), (expected, expected), "account {account}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_which_something_still_stands_is_read_only_when_that_is_written() {
    let (log, left, right) = two_nodes();
    log.deafen();
    for account in [1, 2] {
        deposit(&left, account, account).await.unwrap();
    }
    deposit(&right, 1, 100).await.unwrap();
    let first = behind_a_shut_log(&log, &left).await;
    let mut chains = vec![];
    // The first stands, and the second, which falls, comes behind it on the same stream.
    for (number, accounts) in [(11, vec![2]), (12, vec![1, 2])] {
        let left = left.clone();
        chains.push(tokio::spawn(async move { chain(&left, number, accounts, Arc::default()).await }));
        a_moment().await;
    }
    log.open();
    for one in chains {
        one.await.unwrap().unwrap();
    }
    first.await.unwrap().unwrap();
    assert_eq!((left.contention().conflicts, left.contention().dropped_appends), (1, 2));
    assert_eq!((balance(&left, 1).await, balance(&left, 2).await), (11, 7));
}

/// Looks at account 1, and pays into account 2 as much as it saw.
async fn copy_what_is_seen(node: &Commands) -> Result<Finished<()>, Interrupted> {
    let inner = node.clone();
    node.pipelined(16, move || {
        let node = inner.clone();
        async move {
            let seen = node.look(TENANT, wallet(1), |account: &Account| account.book().unwrap().posted).await?;
            let command = Command::Deposit {
                deposit: Uuid::from_u128(70),
                amount: fen(seen),
                source: domain::top_up::Source::Bank,
            };
            match node.execute::<Account>(TENANT, wallet(2), command, step(70, "copy")).await {
                Err(Failure::Interrupted(interrupted)) => Err(interrupted),
                other => other.map(|_| ()).map_err(|error| panic!("{error}")),
            }
        }
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_looked_at_what_falls_falls_too() {
    let (log, left, right) = two_nodes();
    log.deafen();
    deposit(&left, 1, 1).await.unwrap();
    deposit(&right, 1, 100).await.unwrap();
    let first = behind_a_shut_log(&log, &left).await;
    let paid = tokio::spawn({
        let left = left.clone();
        async move { deposit(&left, 1, 2).await }
    });
    a_moment().await;
    let copied = tokio::spawn({
        let left = left.clone();
        async move { copy_what_is_seen(&left).await }
    });
    a_moment().await;
    log.open();
    copied.await.unwrap().unwrap();
    paid.await.unwrap().unwrap();
    first.await.unwrap().unwrap();
    let copy = balance(&left, 2).await;
    assert!(copy == 10 || copy == 15, "{copy}: what it saw first, ten, was never true of the log with its order");
    let rows = rows(&log).await;
    let at = |account: u128| {
        let stream = <Account as domain::Aggregate>::stream(TENANT, wallet(account));
        rows.iter().rev().find(|row| row.stream == stream).unwrap().position
    };
    assert_eq!(copy == 15, at(2) > at(1), "it saw the second deposit, or came before it");
    assert_eq!(left.contention().dropped_appends, 2, "the deposit, and what was decided after a look at it");
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_falls_keeps_its_room() {
    let log = Arc::new(FlakyLog::shared());
    let queue = QueueLimits { events: 16, patience: Duration::from_millis(400) };
    let clock = Arc::new(ManualClock::at(NOON));
    let limits = Limits { queue, ..Limits::default() };
    let left = Commands::start(Arc::clone(&log) as _, clock, Arc::new(RandomIds), limits);
    let right = node(&log);
    log.deafen();
    deposit(&left, 1, 1).await.unwrap();
    deposit(&right, 1, 100).await.unwrap();
    log.shut();
    let falling = tokio::spawn({
        let left = left.clone();
        async move { chain(&left, 1, vec![1, 2], Arc::default()).await }
    });
    a_moment().await;
    // It waits for the room that the chain has, and would get it first if that were given back.
    let next = tokio::spawn({
        let left = left.clone();
        async move { chain(&left, 2, vec![3], Arc::default()).await }
    });
    a_moment().await;
    log.open();
    falling.await.unwrap().unwrap();
    next.await.unwrap().unwrap();
    assert_eq!(left.contention().cut_passes, 0, "nobody waited for room in the pass");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_in_tight_loops_on_one_aggregate_both_come_to_their_end() {
    let (log, left, right) = two_nodes();
    let loops: Vec<_> = [left, right]
        .into_iter()
        .enumerate()
        .flat_map(|(at, node)| (0..4).map(move |task| (at, task, node.clone())))
        .map(|(at, task, node)| {
            tokio::spawn(async move {
                for round in 0..100 {
                    deposit(&node, 1, (at * 10_000 + task * 1_000 + round) as u128).await.unwrap();
                }
            })
        })
        .collect();
    for one in loops {
        tokio::time::timeout(Duration::from_secs(30), one).await.expect("no live-lock").unwrap();
    }
    let Account::Open(book) = folded(&log, wallet(1)).await else { panic!("it was not opened") };
    assert_eq!(book.posted, 800 * 5);
}

#[tokio::test]
async fn the_same_command_of_another_node_is_not_taken_for_the_own_lost_append() {
    let (log, left, right) = two_nodes();
    for account in [1, 2] {
        deposit(&left, account, account).await.unwrap();
    }
    let first = behind_a_shut_log(&log, &left).await;
    let both: Vec<_> = [1, 2]
        .map(|account| {
            let left = left.clone();
            tokio::spawn(async move { deposit(&left, account, 100 + account).await })
        })
        .into_iter()
        .collect();
    let same = tokio::spawn(async move { deposit(&right, 1, 101).await });
    a_moment().await;
    // The other node's turn is next; then this node's append is lost, and nobody knows.
    log.doom(&[Fate::Written, Fate::Written, Fate::LostUnknown]);
    log.open();
    for one in both.into_iter().chain([first, same]) {
        one.await.unwrap().unwrap();
    }
    for account in [1, 2] {
        let Account::Open(book) = folded(&log, wallet(account)).await else { panic!("{account}") };
        assert_eq!(book.posted, 10, "account {account}: what was answered is there, once");
    }
}

#[tokio::test]
async fn a_shutdown_ends_the_tail() {
    let log = Arc::new(FlakyLog::shared());
    let node = node(&log);
    deposit(&node, 1, 1).await.unwrap();
    assert!(node.shut_down(Duration::from_secs(5)).await);
    drop(node);
    a_moment().await;
    assert_eq!(Arc::strong_count(&log), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever chains two nodes run on whichever accounts, and whatever befalls their appends: each
    /// chain stands once, its links in their order.
    #[test]
    fn chains_of_two_nodes_stand_once_and_in_order(
        chains in proptest::collection::vec((any::<bool>(), proptest::collection::vec(0_u128..6, 1..5)), 1..24),
        fates in proptest::collection::vec(
            prop_oneof![6 => Just(Fate::Written), 1 => Just(Fate::Refused), 1 => Just(Fate::WrittenUnknown), 1 => Just(Fate::LostUnknown)],
            0..8,
        ),
        deaf in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (log, left, right) = two_nodes();
            if deaf && fates.iter().all(|fate| *fate == Fate::Written) {
                log.deafen();
            }
            log.doom(&fates);
            let running: Vec<_> = chains
                .iter()
                .enumerate()
                .map(|(number, (on_left, accounts))| {
                    let node = if *on_left { left.clone() } else { right.clone() };
                    let accounts = accounts.clone();
                    tokio::spawn(async move {
                        let runs = Arc::default();
                        while chain(&node, number as u128, accounts.clone(), Arc::clone(&runs)).await.is_err() {}
                    })
                })
                .collect();
            for one in running {
                tokio::time::timeout(Duration::from_secs(20), one).await.expect("it comes to an end").unwrap();
            }
            assert_in_order(&log, &chains, [&left, &right]).await;
        });
    }
}

async fn assert_in_order(log: &FlakyLog, chains: &[(bool, Vec<u128>)], nodes: [&Commands; 2]) {
    let rows = rows(log).await;
    for (number, (_, accounts)) in chains.iter().enumerate() {
        let position = |link: usize| {
            let command = step(number as u128, &format!("link/{link}")).metadata.command;
            let found: Vec<_> = rows.iter().filter(|row| row.metadata.command == command).collect();
            let deposits = found.iter().filter(|row| &*row.event_type == "account.Deposited").count();
            assert_eq!(deposits, 1, "link {link} of chain {number} stands once");
            found[0].position
        };
        let positions: Vec<_> = (0..accounts.len()).map(position).collect();
        assert!(positions.is_sorted(), "chain {number}: {positions:?}");
    }
    for account in 0..6 {
        let expected = chains.iter().flat_map(|(_, accounts)| accounts).filter(|other| **other == account).count();
        for node in nodes {
            assert_eq!(balance(node, account).await, expected as i64, "account {account}");
        }
    }
}
