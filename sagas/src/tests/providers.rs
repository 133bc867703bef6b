//! Orders that a provider pays, in fair weather and foul.

use ::providers::{Notification, Standing};
use domain::{
    OrderId,
    order::{LineCount, RefundReason, Refusal, Terms},
    payment::{Payment, Provider, TenderState},
    trade::TradeNumber,
};

use super::*;
use crate::PlaceError;

const CLEARING: &str = "clearing:wechat_pay";

/// Rice at 18.00, of which the wallet has 5.00.
const ON_WECHAT: i64 = RICE_PRICE - 500;

fn number(order: OrderId) -> TradeNumber {
    TradeNumber { payment: order.payment(), tender: 1 }
}

impl House {
    async fn place_on_wechat(&self, person: u128, key: u128) -> (OrderId, Order) {
        let new = NewOrder { terms: Terms::BalancesThen(Provider::WechatPay), ..self.order(person, &[(RICE, 1)]) };
        let request = self.request(person, key, &new);
        let placed = self.ordering.place_order(request, new).await.unwrap();
        (OrderId(request.id), placed.value)
    }

    /// The diner pays on the phone, and the provider says so.
    async fn pays(&self, order: OrderId) -> Notification {
        let said = self.wechat.pay(TENANT, number(order)).expect("there is something to pay");
        self.ordering.provider_notified(said.clone()).await.unwrap();
        said
    }

    async fn states(&self, order: OrderId) -> Vec<TenderState> {
        let states = |payment: &Payment| {
            let sheet = payment.sheet().unwrap();
            (0..sheet.tenders.len() as u8).map(|tender| sheet.state_of(tender)).collect()
        };
        self.ordering.commands().look(TENANT, order.payment(), states).await.unwrap()
    }

    /// Our books and the provider's say the same.
    async fn agrees_with_wechat(&self) {
        assert_eq!(self.ledger(CLEARING).await, -self.wechat.owes(TENANT), "{:?}", self.names().await);
    }
}

#[tokio::test]
async fn what_balances_lack_is_asked_of_the_provider_and_confirms_the_order() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 0, 500).await;
    let (id, order) = house.place_on_wechat(1, 1).await;
    assert_eq!((order.status(), house.money(1).await), ("PLACED", (500, 500)), "the wallet's part is held");
    assert_eq!(house.states(id).await, [TenderState::Planned, TenderState::Asked]);
    let handle = house.ordering.handle(TENANT, id).await.unwrap();
    assert!(handle.is_some() && handle == house.ordering.handle(TENANT, id).await.unwrap());
    let said = house.pays(id).await;
    assert_eq!(house.state(id).await.status(), "CONFIRMED");
    assert_eq!(house.states(id).await, [TenderState::Captured; 2]);
    assert_eq!(house.money(1).await, (0, 0));
    assert_eq!((house.ledger(CLEARING).await, house.ledger("prepaid").await), (-ON_WECHAT, RICE_PRICE));
    house.agrees_with_wechat().await;
    // It says so again, and nobody is shown a code any more.
    let before = house.names().await;
    house.ordering.provider_notified(said).await.unwrap();
    assert_eq!((house.ordering.handle(TENANT, id).await.unwrap(), house.settle().await), (None, 0));
    assert_eq!(house.names().await, before);
}

#[tokio::test]
async fn a_provider_that_is_not_there_takes_no_order() {
    let house = House::open(10, 10).await;
    let new = NewOrder { terms: Terms::BalancesThen(Provider::Alipay), ..house.order(1, &[(RICE, 1)]) };
    let before = house.names().await;
    let refused = house.ordering.place_order(house.request(1, 1, &new), new).await;
    let none = commands::Failure::Refused(PlaceError::NoProvider(Provider::Alipay));
    assert_eq!((refused.unwrap_err(), house.names().await), (none, before));
}

#[tokio::test]
async fn a_refused_payment_refuses_the_order_and_frees_everything() {
    let mut house = House::open_with(10, 10, StandIn::new(1, Weather { refusals: 1_000, ..Weather::default() })).await;
    house.fund(1, 0, 500).await;
    let (id, order) = house.place_on_wechat(1, 1).await;
    // Not known to be refused while its query is refused too.
    assert!(matches!(order, Order::Placed(_)), "{order:?}");
    assert_eq!(house.states(id).await[1], TenderState::Unknown);
    house.wechat.set_weather(Weather::default());
    assert_eq!(house.settle().await, 2, "a checkout and a trade that wait for the diner");
    assert_eq!(house.state(id).await.status(), "PLACED");

    let sunny_but_no = StandIn::new(1, Weather { no_merchant: true, ..Weather::default() });
    let mut house = House::open_with(10, 10, sunny_but_no).await;
    house.fund(1, 0, 500).await;
    let (_, order) = house.place_on_wechat(1, 1).await;
    assert!(matches!(order, Order::Refused(_, Refusal::PaymentFailed)), "{order:?}");
    assert_eq!((house.settle().await, house.money(1).await, house.left(RICE).await), (0, (500, 0), 10));
}

#[tokio::test]
async fn an_unknown_outcome_is_queried_under_its_number() {
    let mut house =
        House::open_with(10, 10, StandIn::new(1, Weather { lost_answers: 1_000, ..Weather::default() })).await;
    house.fund(1, 0, 500).await;
    let (id, order) = house.place_on_wechat(1, 1).await;
    assert_eq!(order.status(), "PLACED");
    assert_eq!(house.states(id).await[1], TenderState::Unknown);
    // It had happened; the diner pays, and the notification is lost as well.
    assert!(house.wechat.pay(TENANT, number(id)).is_some());
    house.wechat.set_weather(Weather::default());
    assert_eq!((house.settle().await, house.state(id).await.status()), (0, "CONFIRMED"));
    let asked = count(&house.events().await, |fact| fact.name() == "Asked");
    assert_eq!(asked, 1, "it was never asked under another number");
    house.agrees_with_wechat().await;
}

#[tokio::test]
async fn a_payment_that_nobody_makes_expires_and_is_closed() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 0, 500).await;
    let (id, _) = house.place_on_wechat(1, 1).await;
    house.clock.set(MORNING.plus_seconds(15 * 60));
    assert_eq!((house.settle().await, house.state(id).await.status()), (0, "EXPIRED"));
    assert_eq!(house.states(id).await, [TenderState::Released, TenderState::Closed]);
    assert_eq!((house.money(1).await, house.left(RICE).await), ((500, 0), 10));
    assert_eq!(house.wechat.pay(TENANT, number(id)), None, "nobody can pay it any more");
}

#[tokio::test]
async fn money_that_comes_for_a_dead_order_goes_back_by_itself() {
    for told in [true, false] {
        let mut house = House::open(10, 10).await;
        house.fund(1, 0, 500).await;
        let (id, _) = house.place_on_wechat(1, 1).await;
        // The phone is quicker than our closing, and the cancellation quicker than its word.
        let said = house.wechat.pay(TENANT, number(id)).unwrap();
        house.ordering.cancel_order(staff("cancel", 1, &()), id, RefundReason::CancelledByDiner).await.unwrap();
        if told {
            house.ordering.provider_notified(said).await.unwrap();
        }
        assert_eq!((house.settle().await, house.state(id).await.status()), (0, "CANCELLED"));
        assert_eq!((house.wechat.owes(TENANT), house.money(1).await), (0, (500, 0)), "told: {told}");
        assert_eq!(house.ledger("prepaid").await, 0);
        house.agrees_with_wechat().await;
        assert_eq!(count(&house.events().await, |fact| fact.name() == "PaidBack"), 1);
    }
}

#[tokio::test]
async fn a_refund_goes_to_the_provider_first_and_is_settled_when_it_is_done() {
    let weather = Weather { slow_returns: 1_000, ..Weather::default() };
    let mut house = House::open_with(10, 10, StandIn::new(1, weather)).await;
    house.fund(1, 0, 500).await;
    let (id, _) = house.place_on_wechat(1, 1).await;
    house.pays(id).await;
    let one = vec![LineCount { line: 0, quantity: 1 }];
    house.ordering.refund_lines(staff("refund", 1, &()), id, one, RefundReason::Complaint).await.unwrap();
    assert_eq!(house.money(1).await, (500, 0), "the wallet's part need not wait");
    assert_eq!(house.settle().await, 0);
    assert_eq!((house.wechat.owes(TENANT), house.ledger("prepaid").await), (0, 0));
    house.agrees_with_wechat().await;
    let settled = |fact: &Fact| matches!(fact, Fact::Order(_, domain::order::Event::RefundSettled { .. }));
    assert_eq!(count(&house.events().await, settled), 1);
}

#[tokio::test]
async fn a_refund_whose_provider_answers_after_a_month_credits_the_wallet_once() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 0, 500).await;
    let (id, _) = house.place_on_wechat(1, 1).await;
    house.pays(id).await;
    house.wechat.set_weather(Weather { lost_calls: 1_000, ..Weather::default() });
    let one = vec![LineCount { line: 0, quantity: 1 }];
    house.ordering.refund_lines(staff("refund", 1, &()), id, one, RefundReason::Complaint).await.unwrap();
    assert_eq!(house.money(1).await, (500, 0), "the wallet's part need not wait");
    // So much happens to the wallet since that it forgets what it dealt with.
    let late = MORNING.plus_seconds(31 * 86_400);
    house.clock.set(late);
    for key in 0..64 {
        let request = Request { at: late, ..staff("more", key, &()) };
        house.ordering.commands().deposit(request, AccountId::Wallet(diner(1)), fen(1)).await.unwrap();
    }
    house.wechat.set_weather(Weather::default());
    assert_eq!(house.settle().await, 0);
    assert_eq!(house.money(1).await, (564, 0));
    assert_eq!((house.wechat.owes(TENANT), house.ledger("prepaid").await), (0, 0));
    house.agrees_with_wechat().await;
}

#[tokio::test]
async fn what_a_provider_cannot_give_back_waits_in_suspense() {
    let weather = Weather { impossible_returns: 1_000, ..Weather::default() };
    let mut house = House::open_with(10, 10, StandIn::new(1, weather)).await;
    house.fund(1, 0, 500).await;
    let (id, _) = house.place_on_wechat(1, 1).await;
    house.pays(id).await;
    let cancel = staff("cancel", 1, &());
    house.ordering.cancel_order(cancel, id, RefundReason::CancelledByDiner).await.unwrap();
    assert_eq!(house.settle().await, 0);
    assert_eq!((house.ledger("suspense").await, house.money(1).await), (ON_WECHAT, (500, 0)));
    house.agrees_with_wechat().await;
}

#[tokio::test]
async fn another_amount_than_was_asked_waits_for_finance_and_feeds_nobody() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 0, 500).await;
    let (id, _) = house.place_on_wechat(1, 1).await;
    let standing = Standing::Paid { amount: fen(1), transaction: "42".into() };
    let said = Notification::Trade { tenant: TENANT, number: number(id), standing };
    for _ in 0..2 {
        house.ordering.provider_notified(said.clone()).await.unwrap();
    }
    let state = house.state(id).await;
    assert!(matches!(state, Order::Refused(_, Refusal::PaymentFailed)), "{state:?}");
    assert_eq!((house.settle().await, house.money(1).await, house.left(RICE).await), (0, (500, 0), 10));
    assert_eq!((house.ledger("suspense").await, house.ledger(CLEARING).await), (1, -1));
}

#[tokio::test]
async fn a_repeat_is_answered_although_its_provider_is_gone() {
    let house = House::open(10, 10).await;
    house.fund(1, 0, 500).await;
    let (id, _) = house.place_on_wechat(1, 1).await;
    house.pays(id).await;
    let alone = Ordering::new(house.ordering.commands().clone());
    let new = NewOrder { terms: Terms::BalancesThen(Provider::WechatPay), ..house.order(1, &[(RICE, 1)]) };
    let again = alone.place_order(house.request(1, 1, &new), new).await.unwrap();
    assert_eq!(again.value, house.state(id).await);
}

#[tokio::test]
async fn every_prefix_of_a_paid_and_refunded_order_comes_to_the_same_end() {
    let mut house = House::open(10, 10).await;
    house.fund(1, 0, 500).await;
    let before = house.log.head().await.unwrap() as usize;
    let (id, _) = house.place_on_wechat(1, 1).await;
    house.pays(id).await;
    let paid = house.log.head().await.unwrap() as usize;
    let one = vec![LineCount { line: 0, quantity: 1 }];
    house.ordering.refund_lines(staff("refund", 1, &()), id, one, RefundReason::Complaint).await.unwrap();
    assert_eq!(house.settle().await, 0);
    let whole = house.log.head().await.unwrap() as usize;
    for events in before + 1..=whole {
        let mut crashed = super::crash::crashed_after(&house, events).await;
        assert_eq!(crashed.settle().await, 0, "after {} events", events - before);
        // The provider's world is the one of after the refund, whatever our log remembers: before the
        // order's refund was begun there is none to be heard of.
        let refunded = events > paid;
        let status = crashed.state(id).await.status();
        assert_eq!((status, crashed.ledger("prepaid").await), ("CONFIRMED", if refunded { 0 } else { RICE_PRICE }));
        if refunded {
            assert_eq!((crashed.names().await.len(), crashed.money(1).await), (whole, (500, 0)));
            crashed.agrees_with_wechat().await;
        }
    }
}

/// A small generator, so that a failure names its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Lost calls and answers, refusals, slow returns, notifications that come late, twice or never, in any
/// order, cancellations and time that runs out: in the end each order has an end, and both books agree.
#[tokio::test]
async fn in_foul_weather_both_books_agree_in_the_end() {
    for seed in 0..40 {
        let weather =
            Weather { lost_calls: 150, lost_answers: 150, refusals: 60, slow_returns: 300, ..Weather::default() };
        let mut house = House::open_with(10, 10, StandIn::new(seed, weather)).await;
        let (mut dice, mut orders, mut unsaid) = (Dice(seed), Vec::new(), Vec::new());
        for person in 1..=4 {
            house.fund(person, 0, 500).await;
        }
        for step in 0..40_u128 {
            match dice.roll(8) {
                0 | 1 if orders.len() < 4 => orders.push(house.place_on_wechat(orders.len() as u128 + 1, step).await.0),
                2 | 3 => {
                    let waiting = house.wechat.waiting();
                    let paid = waiting.first().and_then(|(tenant, number)| house.wechat.pay(*tenant, *number));
                    unsaid.extend(paid);
                }
                4 | 5 if !unsaid.is_empty() => {
                    // In any order, and perhaps again.
                    let which = dice.roll(unsaid.len() as u64) as usize;
                    house.ordering.provider_notified(unsaid[which].clone()).await.unwrap();
                    if dice.roll(3) > 0 {
                        unsaid.remove(which);
                    }
                }
                6 if !orders.is_empty() => {
                    let order = orders[dice.roll(orders.len() as u64) as usize];
                    let cancel = staff("cancel", step, &());
                    // One that has ended already refuses.
                    let _ = house.ordering.cancel_order(cancel, order, RefundReason::CancelledByDiner).await;
                }
                7 => {
                    let now = house.ordering.commands().now();
                    house.clock.set(now.plus_seconds(60 * dice.roll(4) as i64));
                }
                _ => {}
            }
        }
        house.clock.set(MORNING.plus_seconds(3_600));
        for again in [Weather { slow_returns: 500, ..Weather::default() }, Weather::default()] {
            house.settle().await;
            house.wechat.set_weather(again);
        }
        assert_eq!(house.settle().await, 0, "seed {seed}: nothing stays open");
        house.agrees_with_wechat().await;
        for order in orders {
            let status = house.state(order).await.status();
            assert!(["CONFIRMED", "REFUSED", "EXPIRED", "CANCELLED"].contains(&status), "seed {seed}: {status}");
            let kept = house.wechat.kept_of(TENANT, number(order)).map_or(0, |kept| kept.minor);
            assert_eq!(kept, if status == "CONFIRMED" { ON_WECHAT } else { 0 }, "seed {seed}: {status}");
        }
    }
}
