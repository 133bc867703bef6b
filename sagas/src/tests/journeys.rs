//! Orders, refusals, cancellations, refunds, timers and withdrawals.

use commands::Failure;
use domain::{
    AccountId, Fact, OrderId, account,
    order::{self, Channel, LineCount, Order, RefundReason, Refusal, Terms},
    serving::{self, PriceChange, Shortage},
};
use store::EventStore;
use uuid::Uuid;

use super::{House, RICE, RICE_PRICE, SOUP, SOUP_PRICE, TENANT, count, fen, staff};
use crate::PlaceError;

const MEAL: [(domain::DishId, u32); 2] = [(RICE, 1), (SOUP, 2)];
const MEAL_PRICE: i64 = RICE_PRICE + 2 * SOUP_PRICE;

#[tokio::test]
async fn a_lunch_from_order_to_pickup() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let before = house.log.head().await.unwrap();
    let (id, order) = house.place(1, 1, &MEAL).await;
    assert_eq!(order.status(), "CONFIRMED");
    assert_eq!(
        house.names().await[before as usize..],
        ["Placed", "Reserved", "Started", "Held", "Held", "Held", "Confirmed", "Captured", "Captured", "Captured"]
    );
    assert_eq!(house.money(1).await, (7_000 - MEAL_PRICE, 0));
    assert_eq!((house.left(RICE).await, house.left(SOUP).await), (9, 8));
    assert_eq!(house.ledger("prepaid").await, MEAL_PRICE);
    let commands = house.ordering.commands();
    commands.mark_ready(staff("ready", 1, &()), id).await.unwrap();
    let Order::Ready(_, code) = house.state(id).await else { panic!("not ready") };
    let wrong = commands.on_order(staff("collect", 1, &()), id, order::Command::Collect { code: "x".into() }).await;
    assert_eq!(wrong.unwrap_err(), Failure::Refused(order::Error::WrongCode));
    commands.on_order(staff("collect", 2, &()), id, order::Command::Collect { code }).await.unwrap();
    assert_eq!(house.ledger("prepaid").await, 0);
    assert_eq!(house.ledger(&format!("canteen:{}", house.canteen)).await, MEAL_PRICE);
    assert_eq!(house.settle().await, 0);
}

#[tokio::test]
async fn a_repeated_tap_is_one_order() {
    let house = House::open(10, 10).await;
    house.fund(1, 0, 9_000).await;
    let taps = (0..8).map(|_| house.place(1, 1, &MEAL));
    let orders = futures::future::join_all(taps).await;
    assert!(orders.iter().all(|(id, order)| *id == orders[0].0 && order.status() == "CONFIRMED"));
    assert_eq!(house.money(1).await, (9_000 - MEAL_PRICE, 0));
    let new = house.order(1, &[(RICE, 3)]);
    let other = house.ordering.place_order(house.request(1, 1, &new), new).await;
    assert_eq!(other.unwrap_err(), Failure::KeyReused);
    let (clock, restarted) = super::start(&house.log, super::MORNING, &house.wechat);
    let again = house.order(1, &MEAL);
    let head = house.log.head().await.unwrap();
    let placed = restarted.place_order(house.request(1, 1, &again), again).await.unwrap();
    assert_eq!((placed.value.status(), house.log.head().await.unwrap()), ("CONFIRMED", head));
    drop(clock);
}

#[tokio::test]
async fn ten_portions_and_sixty_four_buyers() {
    for round in 0..20 {
        let house = House::open(10, 0).await;
        for number in 0..64 {
            house.fund(number, 0, 5_000).await;
        }
        let buyers = (0..64).map(|number| {
            let new = house.order(number, &[(RICE, 1)]);
            house.ordering.place_order(house.request(number, number, &new), new)
        });
        let answers = futures::future::join_all(buyers).await;
        let confirmed = |order: &Order| matches!(order, Order::Confirmed(_));
        let sold = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|placed| confirmed(&placed.value))).count();
        assert_eq!((sold, house.left(RICE).await), (10, 0), "round {round}");
        assert_eq!(house.ledger("prepaid").await, 10 * RICE_PRICE);
    }
}

#[tokio::test]
async fn the_door_refuses_before_anything_is_appended() {
    let house = House::open(1, 10).await;
    house.fund(1, 0, 90_000).await;
    let head = house.log.head().await.unwrap();
    let refused = |answer: Result<commands::Finished<Order>, Failure<PlaceError>>| match answer.unwrap_err() {
        Failure::Refused(PlaceError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let new = house.order(1, &[(RICE, 2)]);
    let sold_out = house.ordering.place_order(house.request(1, 1, &new), new).await;
    assert_eq!(refused(sold_out), Refusal::SoldOut(vec![Shortage { dish: RICE, asked: 2, left: 1 }]));
    let mut stale = house.order(1, &[(SOUP, 1)]);
    stale.lines[0].unit_price = Some(fen(500));
    let changed = house.ordering.place_order(house.request(1, 2, &stale), stale).await;
    let change = PriceChange { dish: SOUP, was: fen(500), now: fen(SOUP_PRICE) };
    assert_eq!(refused(changed), Refusal::PriceChanged(vec![change]));
    let greedy = house.order(1, &[(SOUP, 5)]);
    let limited = house.ordering.place_order(house.request(1, 3, &greedy), greedy).await;
    assert_eq!(refused(limited), Refusal::DinerLimit { limit: 4, held: 0, asked: 5 });
    house.clock.set(super::MORNING.plus_seconds(3_600));
    let late = house.order(1, &[(SOUP, 1)]);
    let closed = house.ordering.place_order(house.request(1, 4, &late), late).await;
    assert_eq!(refused(closed), Refusal::Closed { at: super::MORNING.plus_seconds(3_600) });
    assert_eq!(house.log.head().await.unwrap(), head);
}

#[tokio::test]
async fn who_cannot_pay_is_refused_on_record_and_holds_nothing() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 1_000, 500).await;
    let (_, order) = house.place(1, 1, &MEAL).await;
    let Order::Refused(_, refusal) = order else { panic!("{order:?}") };
    assert_eq!(refusal, Refusal::InsufficientFunds { short: fen(MEAL_PRICE - 1_500) });
    assert_eq!(house.money(1).await, (1_500, 0));
    assert_eq!((house.left(RICE).await, house.left(SOUP).await), (10, 10));
    assert_eq!(house.settle().await, 0);
    house.fund(2, 0, 9_000).await;
    let frozen = staff("freeze", 1, &());
    let wallet = AccountId::Wallet(super::diner(2));
    house.ordering.commands().on_account(frozen, wallet, account::Command::Freeze).await.unwrap();
    let (_, order) = house.place(2, 2, &MEAL).await;
    assert!(matches!(order, Order::Refused(_, Refusal::InsufficientFunds { .. })), "{order:?}");
}

#[tokio::test]
async fn a_cancelled_order_gives_everything_back_once() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let (id, _) = house.place(1, 1, &MEAL).await;
    let cancel = staff("cancel", 1, &());
    for _ in 0..3 {
        let cancelled = house.ordering.cancel_order(cancel, id, RefundReason::CancelledByDiner).await.unwrap();
        assert_eq!(cancelled.value.status(), "CANCELLED");
    }
    assert_eq!(house.money(1).await, (7_000, 0));
    assert_eq!((house.left(RICE).await, house.left(SOUP).await), (10, 10));
    assert_eq!(house.ledger("prepaid").await, 0);
    assert_eq!(house.settle().await, 0);
    let (late, _) = house.place(1, 2, &MEAL).await;
    let too_late = commands::Request { at: super::MORNING.plus_seconds(5_400), ..staff("cancel", 2, &()) };
    let refused = house.ordering.cancel_order(too_late, late, RefundReason::CancelledByDiner).await.unwrap_err();
    assert!(matches!(refused, Failure::Refused(order::Error::KitchenLocked { .. })), "{refused:?}");
}

#[tokio::test]
async fn lines_are_refunded_from_the_last_tender_first_and_never_twice() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 2_000, 5_000).await;
    let (id, _) = house.place(1, 1, &MEAL).await;
    let soup = vec![LineCount { line: 1, quantity: 1 }];
    for key in [1, 1, 2] {
        house
            .ordering
            .refund_lines(staff("refund", key, &()), id, soup.clone(), RefundReason::Complaint)
            .await
            .unwrap();
    }
    assert_eq!(house.money(1).await, (7_000 - MEAL_PRICE + 2 * SOUP_PRICE, 0));
    let third = house.ordering.refund_lines(staff("refund", 3, &()), id, soup, RefundReason::Complaint).await;
    let expected = order::Error::NothingToRefund { line: 1, left: 0, asked: 1 };
    assert_eq!(third.unwrap_err(), Failure::Refused(expected));
    let refunds = house.events().await.into_iter().filter_map(|it| match it.fact {
        Fact::Account(account, account::Event::Refunded { amount, .. }) => Some((account, amount.minor)),
        _ => None,
    });
    let (wallet, subsidy) = (AccountId::Wallet(super::diner(1)), AccountId::Subsidy(super::diner(1)));
    // The wallet paid 10.00 and the subsidy the first 20.00.
    assert_eq!(refunds.collect::<Vec<_>>(), [(wallet, 600), (wallet, 400), (subsidy, 200)]);
    assert_eq!(house.settle().await, 0);
}

#[tokio::test]
async fn an_order_at_the_counter_is_paid_or_expires() {
    let mut house = House::open(10, 10).await;
    let mut keys = Vec::new();
    for key in [1, 2] {
        let mut new = house.order(key, &MEAL);
        new.terms = Terms::AtCounter;
        let request = house.request(key, key, &new);
        let placed = house.ordering.place_order(request, new).await.unwrap();
        assert_eq!(placed.value.status(), "PLACED");
        keys.push(OrderId(request.id));
    }
    assert_eq!(house.settle().await, 2, "both wait to be paid");
    assert_eq!(house.left(RICE).await, 8);
    for _ in 0..2 {
        let paid = house.ordering.record_payment(staff("till", 1, &()), keys[0]).await.unwrap();
        assert_eq!(paid.value.status(), "CONFIRMED");
    }
    assert_eq!(house.ledger("clearing:counter").await, -MEAL_PRICE);
    house.clock.set(super::MORNING.plus_seconds(16 * 60));
    assert_eq!(house.settle().await, 0);
    assert_eq!(house.state(keys[1]).await.status(), "EXPIRED");
    assert_eq!(house.left(RICE).await, 9);
    let too_late = house.ordering.record_payment(staff("till", 2, &()), keys[1]).await;
    assert!(too_late.is_err(), "a dead order takes no money");
    assert_eq!(house.ledger("prepaid").await, MEAL_PRICE);
}

#[tokio::test]
async fn a_withdrawn_dish_is_refunded_in_every_order() {
    let mut house = House::open(20, 20).await;
    for number in 0..6 {
        house.fund(number, 0, 9_000).await;
    }
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(house.place(number, number, &MEAL).await.0);
    }
    ids.push(house.place(5, 5, &[(SOUP, 1)]).await.0);
    let withdraw = serving::Command::WithdrawDish { dish: SOUP };
    house.ordering.commands().on_serving(staff("withdraw", 1, &()), house.serving, withdraw).await.unwrap();
    assert_eq!(house.settle().await, 0);
    for number in 0..5 {
        assert_eq!(house.money(number).await, (9_000 - RICE_PRICE, 0));
        assert_eq!(house.state(ids[number as usize]).await.status(), "CONFIRMED");
    }
    assert_eq!(house.money(5).await, (9_000, 0));
    assert_eq!(house.state(ids[5]).await.status(), "CANCELLED", "nothing of it was left");
    let settled = |fact: &Fact| matches!(fact, Fact::Serving(_, serving::Event::WithdrawalSettled { .. }));
    assert_eq!(count(&house.events().await, settled), 1);
    assert_eq!(house.ledger("prepaid").await, 5 * RICE_PRICE);
}

#[tokio::test]
async fn history_is_imported_at_its_own_time_and_price() {
    let mut house = House::open(0, 0).await;
    let commands = house.ordering.commands();
    commands
        .on_serving(staff("more", 1, &()), house.serving, serving::Command::SetPortions { dish: RICE, portions: 9 })
        .await
        .unwrap();
    let mut new = house.order(1, &[(RICE, 7)]);
    (new.channel, new.terms) = (Channel::Import, Terms::Elsewhere);
    new.lines[0].unit_price = Some(fen(1_234));
    let at = super::MORNING.plus_seconds(-86_400);
    let request = commands::Request::new((TENANT, super::STAFF), "import", Uuid::from_u128(1), &new, at);
    let placed = house.ordering.place_order(request, new).await.unwrap();
    assert_eq!(placed.value.status(), "CONFIRMED");
    assert_eq!(house.ledger("clearing:elsewhere").await, -7 * 1_234);
    assert!(house.events().await.iter().rev().take(7).all(|it| it.occurred_at == at));
    assert_eq!(house.settle().await, 0);
}
