//! What a crash leaves is a prefix of the log; the follower brings every prefix to its end.

use std::{sync::Arc, time::Duration};

use domain::{
    Aggregate, Fact, OrderId, StreamKind, Timestamp,
    order::{Channel, LineCount, Order, RefundReason, Terms},
};
use store::{Append, EventRow, EventStore, MemoryLog, NewEvent};
use tokio_util::sync::CancellationToken;

use super::{House, RICE, SOUP, staff, start};
use crate::{Finance, Follower, Subsidies};

/// The same event, to be written into another log.
fn again(row: &EventRow) -> Append {
    let name = row.event_type.split('.').nth(1).unwrap();
    let (name, _) = Fact::schemas(row.stream.kind).iter().find(|(known, _)| *known == name).unwrap();
    let event = NewEvent { name, schema_version: row.schema_version, payload: row.payload.clone() };
    Append {
        stream: row.stream,
        expected: row.version - 1,
        events: vec![event],
        metadata: row.metadata,
        occurred_at: row.occurred_at,
        snapshot: None,
    }
}

/// The house as a crash after its first `events` events left it, started anew.
pub(super) async fn crashed_after(house: &House, events: usize) -> House {
    let log = Arc::new(MemoryLog::new());
    for row in house.log.read_all(1, events).await.unwrap() {
        log.append(vec![again(&row)], row.recorded_at).await.unwrap();
    }
    restarted(house, log, super::MORNING.plus_seconds(60)).await
}

/// Another process on `log`, begun at `at` or when its last event was recorded.
async fn restarted(house: &House, log: Arc<MemoryLog>, at: Timestamp) -> House {
    let last = log.read_all(log.head().await.unwrap(), 1).await.unwrap();
    let (clock, ordering) = start(&log, last.last().map_or(at, |row| at.max(row.recorded_at)), &house.wechat);
    let wechat = Arc::clone(&house.wechat);
    let (canteen, serving) = (house.canteen, house.serving);
    House { log, clock, ordering, wechat, canteen, serving, views: None, stop: CancellationToken::new() }
}

fn orders_events(rows: &[EventRow]) -> usize {
    rows.iter().filter(|row| row.stream.kind == StreamKind::Order).count()
}

#[tokio::test]
async fn every_prefix_of_a_checkout_comes_to_the_same_end() {
    let house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let before = house.log.head().await.unwrap() as usize;
    let (id, _) = house.place(1, 1, &[(RICE, 1), (SOUP, 2)]).await;
    let whole = house.log.head().await.unwrap() as usize;
    for events in before + 1..=whole {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0, "after {} events of the chain", events - before);
        assert_eq!(crashed.state(id).await, house.state(id).await, "after {} events", events - before);
        assert_eq!(crashed.money(1).await, house.money(1).await);
        assert_eq!(crashed.names().await, house.names().await, "each step was taken once");
    }
}

#[tokio::test]
async fn every_prefix_of_a_refused_checkout_gives_everything_back() {
    let house = House::open(10, 10).await;
    house.fund(1, 1_000, 500).await;
    let before = house.log.head().await.unwrap() as usize;
    let (id, _) = house.place(1, 1, &[(RICE, 1), (SOUP, 2)]).await;
    for events in before + 1..=house.log.head().await.unwrap() as usize {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0);
        assert_eq!(crashed.state(id).await.status(), "REFUSED");
        assert_eq!((crashed.money(1).await, crashed.left(RICE).await), ((1_500, 0), 10));
    }
}

#[tokio::test]
async fn every_prefix_of_a_cancellation_refunds_once() {
    let house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let (id, _) = house.place(1, 1, &[(RICE, 1), (SOUP, 2)]).await;
    let before = house.log.head().await.unwrap() as usize;
    let cancel = staff("cancel", 1, &());
    house.ordering.cancel_order(cancel, id, RefundReason::CancelledByDiner).await.unwrap();
    let whole = house.log.head().await.unwrap() as usize;
    // The cancellation and its refund are one decision, so they stand or fall together.
    for events in before + 2..=whole {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0, "after {} events of the chain", events - before);
        assert_eq!((crashed.money(1).await, crashed.left(SOUP).await), ((7_000, 0), 10));
        assert_eq!(crashed.names().await.len(), whole, "each step was taken once");
        let rows = crashed.log.read_all(1, 1_000).await.unwrap();
        assert_eq!(orders_events(&rows), orders_events(&house.log.read_all(1, 1_000).await.unwrap()));
    }
}

#[tokio::test]
async fn an_order_that_is_cancelled_before_its_checkout_went_on_is_paid_back_whole() {
    let house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let before = house.log.head().await.unwrap() as usize;
    let (id, _) = house.place(1, 1, &[(RICE, 1), (SOUP, 2)]).await;
    let whole = house.log.head().await.unwrap() as usize;
    let confirmed = house.names().await.iter().position(|name| *name == "Confirmed").unwrap() + 1;
    assert!(confirmed > before && confirmed + 2 < whole, "two captures and more come after it");
    for events in confirmed..=whole {
        let mut crashed = crashed_after(&house, events).await;
        // The diner is quicker than the follower.
        let cancel = staff("cancel", 1, &());
        crashed.ordering.cancel_order(cancel, id, RefundReason::CancelledByDiner).await.unwrap();
        assert_eq!(crashed.settle().await, 0, "after {} events of the chain", events - before);
        assert_eq!((crashed.money(1).await, crashed.left(SOUP).await), ((7_000, 0), 10), "after {events} events");
        assert_eq!(crashed.ledger("prepaid").await, 0);
        let state = crashed.state(id).await;
        assert!(state.ticket().unwrap().refunds.values().all(|refund| refund.settled), "{state:?}");
    }
}

#[tokio::test]
async fn one_key_for_two_orders_pays_both_back() {
    let house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let (one, _) = house.place(1, 1, &[(RICE, 1)]).await;
    let (other, _) = house.place(1, 2, &[(RICE, 1)]).await;
    for order in [one, other, one] {
        let cancel = staff("cancel", 1, &order);
        house.ordering.cancel_order(cancel, order, RefundReason::CancelledByDiner).await.unwrap();
    }
    assert_eq!((house.money(1).await, house.left(RICE).await), ((7_000, 0), 10));
    assert_eq!(house.ledger("prepaid").await, 0);
    let changed = staff("cancel", 1, &"something else");
    let refused = house.ordering.cancel_order(changed, one, RefundReason::CancelledByDiner).await;
    assert!(matches!(refused, Err(commands::Failure::KeyReused)), "{refused:?}");
}

#[tokio::test]
async fn every_prefix_of_a_refund_of_history_ends_at_the_time_of_its_beginning() {
    let house = House::open(10, 10).await;
    let mut new = house.order(1, &[(RICE, 3)]);
    (new.channel, new.terms) = (Channel::Import, Terms::Elsewhere);
    let sold = super::MORNING.plus_seconds(-86_400);
    let request = commands::Request { at: sold, ..house.request(1, 1, &new) };
    house.ordering.place_order(request, new).await.unwrap();
    let before = house.log.head().await.unwrap() as usize;
    let taken_back = sold.plus_seconds(3_600);
    let refund = commands::Request { at: taken_back, ..staff("refund", 1, &()) };
    let two = vec![LineCount { line: 0, quantity: 2 }];
    house.ordering.refund_lines(refund, OrderId(request.id), two, RefundReason::CancelledByCanteen).await.unwrap();
    let whole = house.log.head().await.unwrap() as usize;
    assert!(whole >= before + 5, "begun, begun, paid back, settled, settled");
    for events in before + 1..=whole {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0, "after {} events of the chain", events - before);
        assert_eq!(crashed.names().await, house.names().await, "each step was taken once");
        assert!(crashed.events().await[before..].iter().all(|it| it.occurred_at == taken_back), "{events}");
        assert_eq!(crashed.ledger("clearing:elsewhere").await, -super::RICE_PRICE);
    }
}

#[tokio::test]
async fn an_order_that_found_no_reservation_before_the_kitchen_locked_is_refused() {
    let house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let before = house.log.head().await.unwrap() as usize;
    let (id, _) = house.place(1, 1, &[(RICE, 1)]).await;
    let mut crashed = crashed_after(&house, before + 1).await;
    crashed.clock.set(super::MORNING.plus_seconds(2 * 3_600));
    assert_eq!(crashed.settle().await, 0);
    let state = crashed.state(id).await;
    assert!(matches!(state, domain::order::Order::Refused(_, domain::order::Refusal::TooLate)), "{state:?}");
}

impl House {
    async fn follower(&mut self) -> Follower {
        let subsidies = Subsidies::new(self.ordering.commands().clone(), self.views().await);
        let finance = Finance::new(self.ordering.commands().clone(), self.views().await);
        Follower::new(self.ordering.clone(), subsidies, finance)
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_read_keeps_no_other_from_its_end() {
    let mut house = House::open(10, 10).await;
    let mut ids = vec![];
    for key in [1, 2] {
        let mut new = house.order(key, &[(RICE, 1)]);
        new.terms = Terms::AtCounter;
        let request = house.request(key, key, &new);
        house.ordering.place_order(request, new).await.unwrap();
        ids.push(OrderId(request.id));
    }
    let views = house.views().await;
    let stream = Order::stream(super::TENANT, ids[0]);
    let rows = house.log.read_stream(stream, 1, 100).await.unwrap();
    let mut broken = again(rows.last().unwrap());
    broken.expected += 1;
    broken.events[0].payload = b"{\"Gibberish\":1}".to_vec();
    house.log.append(vec![broken], super::MORNING).await.unwrap();
    views.wait_for(house.log.head().await.unwrap(), Duration::from_secs(10)).await.unwrap();
    let late = super::MORNING.plus_seconds(16 * 60);
    let mut next = restarted(&house, Arc::clone(&house.log), late).await;
    next.views = Some(views.clone());
    let mut follower = next.follower().await;
    follower.follow(Duration::ZERO).await.unwrap();
    assert_eq!(next.state(ids[1]).await.status(), "EXPIRED");
    assert!(follower.is_failing(super::TENANT, ids[0].0), "it was tried, and waits for its next turn");
    follower.follow(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_follower_that_waits_for_the_views_ends_when_it_is_told_to() {
    let mut house = House::open(10, 10).await;
    let registry = projections::all().iter().cloned().chain(crate::projections()).collect();
    // Nobody runs it, so the views never come to where the log ends.
    let _runner = house.runner_of(registry).await;
    let (follower, stop) = (house.follower().await, CancellationToken::new());
    let following = tokio::spawn(follower.run(stop.clone()));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!following.is_finished());
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), following).await.expect("it ends").unwrap();
}
