//! Changing an order's lines: what it costs more is paid, what it costs less goes back, and a crash anywhere
//! comes to the same end.

use commands::{Failure, Finished, Request};
use domain::{
    AccountId, ChangeId, DishId, Money, OrderId,
    account::{self, AdjustReason},
    order::{self, LineCount, Made, Order, RefundReason, Refusal},
    serving::{self, PriceChange, Shortage},
};
use store::EventStore;
use uuid::Uuid;

use super::{House, RICE, RICE_PRICE, SOUP, SOUP_PRICE, crash::crashed_after, diner, fen, staff};
use crate::{NewLine, PlaceError};

fn lines(of: &[(DishId, u32)]) -> Vec<NewLine> {
    let line = |(dish, quantity): &(DishId, u32)| NewLine {
        dish: *dish,
        quantity: *quantity,
        options: vec![],
        unit_price: None,
    };
    of.iter().map(line).collect()
}

impl House {
    async fn change(
        &self,
        key: u128,
        order: OrderId,
        to: &[(DishId, u32)],
    ) -> Result<Finished<Order>, Failure<PlaceError>> {
        let request = Request { at: self.ordering.commands().now(), ..staff("changeOrder", key, &to) };
        self.ordering.change_order(request, order, lines(to)).await
    }

    /// What came of it.
    async fn made(&self, key: u128, order: OrderId, to: &[(DishId, u32)]) -> Option<Made> {
        let request = staff("changeOrder", key, &to);
        let changed = self.change(key, order, to).await.unwrap();
        changed.value.made_of(ChangeId(request.about(order.0).id)).cloned()
    }

    async fn costs(&self, order: OrderId) -> i64 {
        self.state(order).await.ticket().unwrap().net().minor
    }

    async fn count(&self) -> usize {
        self.log.head().await.unwrap() as usize
    }
}

fn turned_away(answer: Result<Finished<Order>, Failure<PlaceError>>) -> PlaceError {
    match answer.unwrap_err() {
        Failure::Refused(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_it_costs_more_is_paid_and_what_is_not_wanted_is_free_again() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 1_000, 5_000).await;
    let (id, _) = house.place(1, 1, &[(SOUP, 1)]).await;
    let before = house.count().await;
    assert_eq!(house.made(1, id, &[(RICE, 1)]).await, Some(Made::Changed));
    let expected =
        ["ChangeBegun", "Widened", "Extended", "Held", "Held", "Changed", "Narrowed", "Captured", "Captured"];
    let expected = [&expected[..], &["ExtensionCaptured", "ChangeSettled"]].concat();
    assert_eq!(house.names().await[before..], expected);
    assert_eq!((house.costs(id).await, house.ledger("prepaid").await), (RICE_PRICE, RICE_PRICE));
    // The subsidy first, then the wallet.
    assert_eq!(house.money(1).await, (6_000 - RICE_PRICE, 0));
    assert_eq!((house.left(RICE).await, house.left(SOUP).await), (9, 10));
    assert_eq!(house.settle().await, 0);
    // All of it goes back, to where each part came from.
    house.ordering.cancel_order(staff("cancel", 1, &()), id, RefundReason::CancelledByDiner).await.unwrap();
    assert_eq!((house.money(1).await, house.ledger("prepaid").await), ((6_000, 0), 0));
    let subsidy = house.ledger(&format!("subsidy:{}", diner(1))).await;
    assert_eq!((subsidy, house.left(RICE).await, house.settle().await), (1_000, 10, 0));
}

#[tokio::test]
async fn what_it_costs_less_goes_back() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let (id, _) = house.place(1, 1, &[(RICE, 1), (SOUP, 2)]).await;
    assert_eq!(house.made(1, id, &[(SOUP, 1)]).await, Some(Made::Changed));
    assert_eq!((house.money(1).await, house.costs(id).await), ((7_000 - SOUP_PRICE, 0), SOUP_PRICE));
    assert_eq!((house.left(RICE).await, house.left(SOUP).await), (10, 9));
    let commands = house.ordering.commands();
    commands.mark_ready(staff("ready", 1, &()), id).await.unwrap();
    let Order::Ready(_, code) = house.state(id).await else { panic!("not ready") };
    commands.on_order(staff("collect", 2, &()), id, order::Command::Collect { code }).await.unwrap();
    assert_eq!(house.ledger(&format!("canteen:{}", house.canteen)).await, SOUP_PRICE);
    assert_eq!((house.ledger("prepaid").await, house.settle().await), (0, 0));
}

#[tokio::test]
async fn the_same_request_changes_it_once_and_the_same_lines_change_nothing() {
    let house = House::open(10, 10).await;
    house.fund(1, 0, 9_000).await;
    let (id, _) = house.place(1, 1, &[(RICE, 1)]).await;
    let both = futures::future::join_all((0..4).map(|_| house.made(1, id, &[(RICE, 2)]))).await;
    assert!(both.iter().all(|made| *made == Some(Made::Changed)), "{both:?}");
    let head = house.count().await;
    assert_eq!(house.made(1, id, &[(RICE, 2)]).await, Some(Made::Changed));
    assert_eq!(house.change(1, id, &[(RICE, 1)]).await.unwrap_err(), Failure::KeyReused);
    let nothing = turned_away(house.change(2, id, &[(RICE, 2)]).await);
    assert_eq!(nothing, PlaceError::Invalid(order::Error::NothingToChange));
    assert_eq!(house.count().await, head);
    assert_eq!(house.money(1).await, (9_000 - 2 * RICE_PRICE, 0));
    // Once more than an order may.
    for key in 3..7 {
        let to = [(RICE, 1 + (key as u32 + 1) % 2)];
        assert_eq!(house.made(key, id, &to).await, Some(Made::Changed), "{key}");
    }
    let often = turned_away(house.change(7, id, &[(RICE, 1)]).await);
    assert_eq!(often, PlaceError::Invalid(order::Error::TooManyChanges));
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_and_appends_nothing() {
    let house = House::open(2, 10).await;
    house.fund(1, 0, 90_000).await;
    let (id, _) = house.place(1, 1, &[(RICE, 1)]).await;
    let head = house.count().await;
    let sold_out = Refusal::SoldOut(vec![Shortage { dish: RICE, asked: 2, left: 1 }]);
    assert_eq!(turned_away(house.change(1, id, &[(RICE, 3)]).await), PlaceError::Refused(sold_out));
    let limit = Refusal::DinerLimit { limit: 4, held: 1, asked: 4 };
    assert_eq!(turned_away(house.change(2, id, &[(SOUP, 5)]).await), PlaceError::Refused(limit));
    let nothing = PlaceError::Invalid(order::Error::BadLineCount);
    assert_eq!(turned_away(house.change(3, id, &[]).await), nothing);
    let unknown = DishId(Uuid::from_u128(999));
    assert_eq!(turned_away(house.change(4, id, &[(unknown, 1)]).await), PlaceError::UnknownDish(unknown));
    let nobodys = OrderId(Uuid::from_u128(999));
    assert_eq!(turned_away(house.change(5, nobodys, &[(RICE, 1)]).await), PlaceError::Invalid(order::Error::Unknown));
    let mut stale = lines(&[(RICE, 1), (SOUP, 1)]);
    stale[1].unit_price = Some(fen(1));
    // What it has already is not asked about.
    stale[0].unit_price = Some(fen(1));
    let stale = house.ordering.change_order(staff("changeOrder", 6, &()), id, stale).await;
    let change = PriceChange { dish: SOUP, was: fen(1), now: fen(SOUP_PRICE) };
    assert_eq!(turned_away(stale), PlaceError::Refused(Refusal::PriceChanged(vec![change])));
    house.clock.set(super::MORNING.plus_seconds(3_600));
    let closed = Refusal::Closed { at: super::MORNING.plus_seconds(3_600) };
    assert_eq!(turned_away(house.change(7, id, &[(RICE, 2)]).await), PlaceError::Refused(closed));
    assert_eq!(house.count().await, head);
    house.clock.set(super::MORNING.plus_seconds(2 * 3_600));
    let locked = turned_away(house.change(8, id, &[(SOUP, 1)]).await);
    assert!(matches!(locked, PlaceError::Refused(Refusal::Closed { .. })), "more of something: {locked:?}");
    assert_eq!((house.count().await, house.costs(id).await), (head, RICE_PRICE));
}

#[tokio::test]
async fn who_cannot_pay_the_difference_is_told_at_the_door() {
    let house = House::open(10, 10).await;
    house.fund(1, 0, RICE_PRICE + 100).await;
    let (id, _) = house.place(1, 1, &[(RICE, 1)]).await;
    let head = house.count().await;
    // As often as it is tried.
    for key in 1..10 {
        let short = turned_away(house.change(key, id, &[(RICE, 1), (SOUP, 1)]).await);
        let refusal = Refusal::InsufficientFunds { short: fen(SOUP_PRICE - 100) };
        assert_eq!((short, house.count().await), (PlaceError::Refused(refusal), head));
    }
    assert_eq!((house.money(1).await, house.costs(id).await, house.left(SOUP).await), ((100, 0), RICE_PRICE, 10));
}

#[tokio::test]
async fn every_prefix_of_a_change_comes_to_the_same_end() {
    for to in [vec![(SOUP, 3), (RICE, 1)], vec![(SOUP, 1)]] {
        let house = House::open(10, 10).await;
        house.fund(1, 2_500, 5_000).await;
        let (id, _) = house.place(1, 1, &[(RICE, 1), (SOUP, 1)]).await;
        let before = house.count().await;
        let made = house.made(1, id, &to).await.unwrap();
        for events in before + 1..=house.count().await {
            // What is decided in one go stands or falls together.
            let last = house.names().await[events - 1];
            if last == "RefundBegun" && house.names().await[events] == "Changed" {
                continue;
            }
            let mut crashed = crashed_after(&house, events).await;
            assert_eq!(crashed.settle().await, 0, "after {} events of the chain", events - before);
            assert_eq!(crashed.state(id).await.status(), house.state(id).await.status());
            assert_eq!(crashed.costs(id).await, house.costs(id).await, "after {} events", events - before);
            assert_eq!(crashed.money(1).await, house.money(1).await);
            assert_eq!(crashed.names().await, house.names().await, "each step was taken once");
            assert_eq!(crashed.made(1, id, &to).await, Some(made.clone()), "asked again under the same key");
            assert_eq!(crashed.names().await.len(), house.count().await);
        }
    }
}

/// A crash left the order with its change taken down and so far that `last` had come.
async fn left_at(last: &str) -> (House, OrderId) {
    let house = House::open(10, 10).await;
    house.fund(1, 0, 5_000).await;
    let (id, _) = house.place(1, 1, &[(RICE, 1)]).await;
    let before = house.count().await;
    house.made(1, id, &[(RICE, 1), (SOUP, 2)]).await.unwrap();
    let names = house.names().await;
    let events = before + names[before..].iter().position(|name| *name == last).unwrap() + 1;
    (crashed_after(&house, events).await, id)
}

#[tokio::test]
async fn money_that_is_gone_meanwhile_gives_the_change_up() {
    let (mut house, id) = left_at("Extended").await;
    let by = Money { minor: -house.money(1).await.0, ..fen(0) };
    let command = account::Command::Adjust { adjustment: Uuid::from_u128(1), by, reason: AdjustReason::Correction };
    let wallet = AccountId::Wallet(diner(1));
    house.ordering.commands().on_account(staff("adjust", 1, &()), wallet, command).await.unwrap();
    assert_eq!(house.settle().await, 0);
    let made = house.made(1, id, &[(RICE, 1), (SOUP, 2)]).await;
    assert!(matches!(made, Some(Made::Refused(Refusal::InsufficientFunds { .. }))), "{made:?}");
    assert!(house.names().await.contains(&"ExtensionGivenUp"));
    assert_eq!((house.money(1).await, house.left(SOUP).await, house.costs(id).await), ((0, 0), 10, RICE_PRICE));
    // All that was paid goes back, and nothing of what was given up.
    house.ordering.cancel_order(staff("cancel", 1, &()), id, RefundReason::CancelledByCanteen).await.unwrap();
    assert_eq!((house.money(1).await, house.ledger("prepaid").await), ((RICE_PRICE, 0), 0));
}

#[tokio::test]
async fn a_dish_that_is_withdrawn_while_an_order_changes_to_it_is_refunded() {
    let (mut house, id) = left_at("Held").await;
    let withdraw = serving::Command::WithdrawDish { dish: SOUP };
    house.ordering.commands().on_serving(staff("withdraw", 1, &()), house.serving, withdraw).await.unwrap();
    assert_eq!(house.settle().await, 0);
    let state = house.state(id).await;
    assert_eq!((state.status(), house.costs(id).await), ("CONFIRMED", RICE_PRICE));
    assert_eq!(house.money(1).await, (5_000 - RICE_PRICE, 0));
    assert_eq!(house.ledger("prepaid").await, RICE_PRICE);
}

#[tokio::test]
async fn a_kitchen_that_begins_in_that_moment_asks_again_and_a_cancellation_goes_on_first() {
    let (mut house, id) = left_at("Held").await;
    let commands = house.ordering.commands();
    let too_early = commands.on_order(staff("prepare", 1, &()), id, order::Command::Prepare).await;
    assert_eq!(too_early.unwrap_err(), Failure::Refused(order::Error::Changing));
    let one = vec![LineCount { line: 1, quantity: 1 }];
    let refund = house.ordering.refund_lines(staff("refund", 1, &()), id, one, RefundReason::Complaint).await.unwrap();
    assert!(!refund.value.is_changing());
    assert_eq!(house.costs(id).await, RICE_PRICE + SOUP_PRICE);
    let commands = house.ordering.commands();
    commands.on_order(staff("prepare", 2, &()), id, order::Command::Prepare).await.unwrap();
    let late = turned_away(house.change(9, id, &[(RICE, 1)]).await);
    let is = order::Error::OutOfTurn { is: "PREPARING", wanted: "CHANGED" };
    assert_eq!(late, PlaceError::Invalid(is));
    assert_eq!(house.settle().await, 0);
}

#[tokio::test]
async fn what_stays_keeps_its_price() {
    let house = House::open(10, 10).await;
    house.fund(1, 0, 9_000).await;
    let (id, _) = house.place(1, 1, &[(RICE, 2)]).await;
    let dearer = serving::Command::SetPrice { dish: RICE, price: fen(RICE_PRICE + 300) };
    house.ordering.commands().on_serving(staff("price", 1, &()), house.serving, dearer).await.unwrap();
    assert_eq!(house.made(1, id, &[(RICE, 3)]).await, Some(Made::Changed));
    assert_eq!(house.costs(id).await, 3 * RICE_PRICE + 300);
    let state = house.state(id).await;
    let prices = state.ticket().unwrap().placed.lines.iter().map(|line| (line.quantity, line.unit_price.minor));
    assert_eq!(prices.collect::<Vec<_>>(), [(2, RICE_PRICE), (1, RICE_PRICE + 300)]);
}

#[tokio::test]
async fn every_prefix_of_a_change_that_is_given_up_comes_to_the_same_end() {
    for last in ["ChangeBegun", "Widened", "Extended"] {
        let (mut house, id) = left_at(last).await;
        let gone = Money { minor: -house.money(1).await.0, ..fen(0) };
        let reason = AdjustReason::Correction;
        let command = account::Command::Adjust { adjustment: Uuid::from_u128(1), by: gone, reason };
        let wallet = AccountId::Wallet(diner(1));
        house.ordering.commands().on_account(staff("adjust", 1, &()), wallet, command).await.unwrap();
        let before = house.count().await;
        assert_eq!(house.settle().await, 0);
        for events in before..=house.count().await {
            let mut crashed = crashed_after(&house, events).await;
            assert_eq!(crashed.settle().await, 0, "{last}, then {} events", events - before);
            assert_eq!(crashed.names().await, house.names().await, "each step was taken once");
            assert_eq!((crashed.money(1).await, crashed.left(SOUP).await), ((0, 0), 10));
            assert_eq!((crashed.costs(id).await, crashed.ledger("prepaid").await), (RICE_PRICE, RICE_PRICE));
        }
    }
}

#[tokio::test]
async fn the_cut_off_is_held_against_when_it_was_asked() {
    let (mut house, id) = left_at("ChangeBegun").await;
    house.clock.set(super::MORNING.plus_seconds(3_600));
    assert_eq!(house.settle().await, 0);
    assert_eq!(house.costs(id).await, RICE_PRICE + 2 * SOUP_PRICE);
}

#[tokio::test]
async fn a_checkout_that_broke_off_is_finished_before_its_order_changes() {
    let house = House::open(10, 10).await;
    house.fund(1, 0, 5_000).await;
    let (id, _) = house.place(1, 1, &[(RICE, 1)]).await;
    let names = house.names().await;
    let confirmed = names.iter().position(|name| *name == "Confirmed").unwrap() + 1;
    for events in confirmed..=names.len() {
        let mut crashed = crashed_after(&house, events).await;
        assert_eq!(crashed.made(1, id, &[(SOUP, 4)]).await, Some(Made::Changed));
        let names = crashed.names().await;
        let at = |wanted: &str| names.iter().position(|name| *name == wanted).unwrap();
        assert!(at("Captured") < at("ChangeBegun"), "{names:?}");
        assert_eq!((crashed.money(1).await, crashed.settle().await), ((5_000 - 4 * SOUP_PRICE, 0), 0));
    }
}

#[tokio::test]
async fn goodwill_is_not_charged_back() {
    let house = House::open(10, 10).await;
    house.fund(1, 0, 5_000).await;
    let (id, _) = house.place(1, 1, &[(RICE, 1)]).await;
    let (request, why) = (staff("refundAmount", 1, &()), RefundReason::Complaint);
    house.ordering.refund_amount(request, id, fen(500), vec![], why).await.unwrap();
    let head = house.count().await;
    let refused = turned_away(house.change(1, id, &[(RICE, 1), (SOUP, 1)]).await);
    assert_eq!(refused, PlaceError::Invalid(order::Error::PartlyRefunded));
    assert_eq!((house.count().await, house.money(1).await), (head, (5_000 - RICE_PRICE + 500, 0)));
}
