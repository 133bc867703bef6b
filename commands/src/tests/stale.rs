//! What other nodes wrote is seen before anything is answered.

use std::sync::{Arc, atomic::Ordering};

use domain::{
    Aggregate,
    account::{Account, Command},
    serving,
};
use store::EventStore;
use uuid::Uuid;

use super::{
    NOON, TENANT, a_moment, fen,
    flaky::FlakyLog,
    folded, hold,
    nodes::{balance, deposit, two_nodes},
    request,
    selling::{DISH, buy, give, node, publish, sold},
    step, wallet,
};
use crate::{
    Commands, Contention, Failure, Interrupted, ManualClock, QueueLimits,
    cache::check,
    ticket::{Dropped, Fallen},
    writer::{Waiting, Writer},
};

#[tokio::test]
async fn a_stale_refusal_is_decided_again() {
    let (log, left, right) = two_nodes();
    log.deafen();
    publish(&left, 1).await;
    buy(&left, 1).await.unwrap();
    assert!(matches!(buy(&left, 2).await, Err(Failure::Refused(serving::Error::SoldOut(_)))));
    give(&right, serving::Command::SetPortions { dish: DISH, portions: 2 }, 2, "more").await.unwrap();
    buy(&left, 2).await.unwrap();
    assert_eq!(sold(&*log).await, 2);
    assert_eq!(left.contention().retried_chains, 1);
}

#[tokio::test]
async fn a_stale_answer_without_events_is_decided_again() {
    let (log, left, right) = two_nodes();
    log.deafen();
    let portions = |portions| serving::Command::SetPortions { dish: DISH, portions };
    publish(&left, 5).await;
    assert!(give(&left, portions(5), 1, "same").await.unwrap().events.is_empty());
    give(&right, portions(7), 2, "more").await.unwrap();
    let outcome = give(&left, portions(5), 3, "fewer").await.unwrap();
    assert_eq!(outcome.events.len(), 1, "there were seven, by the other node");
}

#[tokio::test]
async fn a_stale_look_is_refreshed() {
    let (log, left, right) = two_nodes();
    log.deafen();
    deposit(&left, 1, 1).await.unwrap();
    assert_eq!((balance(&left, 1).await, balance(&right, 1).await), (5, 5));
    deposit(&right, 1, 2).await.unwrap();
    assert_eq!(balance(&left, 1).await, 10);
    deposit(&left, 1, 3).await.unwrap();
    let inner = right.clone();
    let seen = right
        .pipelined(8, move || {
            let node = inner.clone();
            async move { node.look(TENANT, wallet(1), |account: &Account| account.book().unwrap().posted).await }
        })
        .await;
    assert_eq!(seen.unwrap().value, 15, "a chain that only looks");
}

/// The log has done what `left` asked before `right` raises the portions, and answers only after somebody
/// else has come to `left`, who knows of that.
async fn what_was_asked_before_proves_nothing(portions: u32) {
    let (log, left, right) = two_nodes();
    log.deafen();
    publish(&left, portions).await;
    buy(&left, 1).await.unwrap();
    log.hold_next_answer();
    let node = left.clone();
    let early = tokio::spawn(async move { buy(&node, 2).await.map(drop) });
    a_moment().await;
    assert!(log.holds_an_answer());
    give(&right, serving::Command::SetPortions { dish: DISH, portions: portions + 1 }, 3, "more").await.unwrap();
    let node = left.clone();
    let late = tokio::spawn(async move { buy(&node, 4).await.map(drop) });
    a_moment().await;
    log.answer();
    assert_eq!(early.await.unwrap().is_ok(), portions > 1, "asked before there were more");
    late.await.unwrap().unwrap();
    assert_eq!(sold(&*log).await, portions + 1);
}

#[tokio::test]
async fn a_check_proves_nothing_to_those_who_came_after_it() {
    what_was_asked_before_proves_nothing(1).await;
}

#[tokio::test]
async fn an_append_proves_nothing_to_those_who_came_after_it() {
    what_was_asked_before_proves_nothing(2).await;
}

#[tokio::test]
async fn a_check_does_not_outlive_what_it_stands_on() {
    let log: Arc<dyn EventStore> = Arc::new(FlakyLog::shared());
    let clock = Arc::new(ManualClock::at(NOON));
    let ask = || check(Account::stream(TENANT, wallet(1)), 1);
    let fates: [fn(&Waiting); 2] = [
        |taken| taken.batch.drop_alone(vec![(0, Dropped { events: 0, clear: true })]),
        |taken| taken.batch.fall(&Fallen::NotTaken("doomed".to_owned())),
    ];
    for fall in fates {
        let writer = Writer::new(Arc::clone(&log), Arc::clone(&clock) as _, QueueLimits::default());
        let first = writer.enqueue_check(ask(), None).unwrap();
        let taken = writer.lock().take_next().unwrap();
        assert!(!writer.enqueue_check(ask(), Some(&first)).unwrap().has_fallen(), "it may stand");
        fall(&taken);
        assert!(writer.enqueue_check(ask(), Some(&first)).unwrap().has_fallen(), "the log would say yes by chance");
    }
}

#[tokio::test]
async fn a_repeat_of_what_another_node_wrote_is_as_new_as_that() {
    let (log, left, right) = two_nodes();
    log.deafen();
    deposit(&left, 2, 1).await.unwrap();
    let written = right.deposit(request(2, fen(5)), wallet(1), fen(5)).await.unwrap().position;
    assert_eq!((balance(&left, 1).await, balance(&left, 1).await), (5, 5), "loaded, and compared with the log");
    let repeat = left.deposit(request(2, fen(5)), wallet(1), fen(5)).await.unwrap();
    assert_eq!((repeat.repeated, repeat.position), (true, written));
}

/// A chain that holds money of one account, and writes into another when it may not.
async fn hold_or_say_so(node: &Commands) -> Result<bool, Interrupted> {
    let command = Command::Hold { hold: hold(1), amount: fen(8), from: None };
    match node.execute::<Account>(TENANT, wallet(1), command, step(1, "hold")).await {
        Ok(_) => Ok(true),
        Err(Failure::Interrupted(interrupted)) => Err(interrupted),
        Err(Failure::Refused(_) | Failure::KeyReused) => {
            let command =
                Command::Deposit { deposit: Uuid::from_u128(50), amount: fen(1), source: domain::top_up::Source::Bank };
            let said = node.execute::<Account>(TENANT, wallet(2), command, step(1, "refused")).await;
            said.map(|_| false).map_err(|_| Interrupted::Fell)
        }
    }
}

#[tokio::test]
async fn a_stale_refusal_within_a_chain_is_not_recorded() {
    let (log, left, right) = two_nodes();
    log.deafen();
    deposit(&left, 1, 1).await.unwrap();
    deposit(&right, 1, 2).await.unwrap();
    let inner = left.clone();
    let held = left.pipelined(16, move || {
        let node = inner.clone();
        async move { hold_or_say_so(&node).await }
    });
    assert!(held.await.unwrap().value, "ten are there, eight were asked");
    assert_eq!(folded(&log, wallet(2)).await, Account::default());
}

#[tokio::test]
async fn own_writes_do_not_evict() {
    let log = Arc::new(FlakyLog::shared());
    let node = node(&log);
    deposit(&node, 1, 1).await.unwrap();
    log.rows_read.store(0, Ordering::SeqCst);
    for key in 2..=60 {
        deposit(&node, 1, key).await.unwrap();
        if key % 10 == 0 {
            a_moment().await;
        }
    }
    assert_eq!(balance(&node, 1).await, 300);
    assert_eq!(log.rows_read.load(Ordering::SeqCst), 0, "nothing was loaded anew");
    assert_eq!(log.rows_followed.load(Ordering::SeqCst), 0, "the tail passes over it");
}

#[tokio::test]
async fn what_others_wrote_is_loaded_once() {
    let (log, left, right) = two_nodes();
    deposit(&left, 1, 1).await.unwrap();
    deposit(&right, 1, 2).await.unwrap();
    a_moment().await;
    assert_eq!(balance(&left, 1).await, 10);
    log.rows_read.store(0, Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(balance(&left, 1).await, 10);
    }
    assert_eq!(log.rows_read.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn what_others_write_is_loaded_before_it_is_in_the_way() {
    let (_log, left, right) = two_nodes();
    deposit(&left, 1, 1).await.unwrap();
    deposit(&right, 1, 2).await.unwrap();
    a_moment().await;
    deposit(&left, 1, 3).await.unwrap();
    assert_eq!(left.contention(), Contention::default(), "the tail had seen it");
    assert_eq!(balance(&left, 1).await, 15);
}
