use proptest::prelude::*;

use super::*;
use crate::{
    Currency, Event as _, given,
    testing::{at, canteen, cases, chosen, cny, dish, line, placement, refund, step, usd},
};

/// Two of dish 1 at 1000, one of dish 2 at 500.
fn placed() -> Event {
    Event::Placed(placement(vec![line(1, 2, 1000), line(2, 1, 500)]))
}

fn confirmed() -> Vec<Event> {
    vec![placed(), Event::Confirmed]
}

fn ready() -> Vec<Event> {
    and(confirmed(), [Event::Preparing, Event::Readied { code: "A7".into() }])
}

fn picked_up() -> Vec<Event> {
    and(ready(), [Event::PickedUp { canteen: canteen(), recognised: cny(2500) }])
}

fn and(first: Vec<Event>, then: impl IntoIterator<Item = Event>) -> Vec<Event> {
    first.into_iter().chain(then).collect()
}

fn counts(of: &[(u16, u32)]) -> Vec<LineCount> {
    of.iter().map(|(line, quantity)| LineCount { line: *line, quantity: *quantity }).collect()
}

fn refunding(number: u8, lines: &[(u16, u32)]) -> Command {
    Command::Refund { refund: refund(number), lines: counts(lines), reason: RefundReason::Complaint }
}

fn begun(number: u8, lines: &[(u16, u32)], minor: i64, from: RefundFrom, reason: RefundReason) -> Event {
    Event::RefundBegun { refund: refund(number), lines: counts(lines), amount: cny(minor), from, reason }
}

fn complaint(number: u8, lines: &[(u16, u32)], minor: i64, from: RefundFrom) -> Event {
    begun(number, lines, minor, from, RefundReason::Complaint)
}

fn cancel(by: RefundReason, seconds: i64) -> Command {
    Command::Cancel { refund: refund(9), by, at: at(seconds) }
}

fn mark_ready() -> Command {
    Command::MarkReady { code: "A7".into() }
}

fn collect(code: &str) -> Command {
    Command::Collect { code: code.into() }
}

fn cannot(is: &'static str, wanted: &'static str) -> Error {
    Error::OutOfTurn { is, wanted }
}

const ALL: [(u16, u32); 2] = [(0, 2), (1, 1)];

#[test]
fn an_order_is_placed_once() {
    let lines = || vec![line(1, 2, 1000), line(2, 1, 500)];
    given::<Order>([])
        .when(Command::Place(placement(lines())))
        .then([placed()])
        .when(Command::Place(placement(lines())))
        .then([])
        .when(Command::Place(placement(vec![line(1, 1, 1000)])))
        .refused(Error::AlreadyPlaced);
    given::<Order>(picked_up()).when(Command::Place(placement(lines()))).then([]);
}

#[test]
fn impossible_orders_change_nothing() {
    let when = |placement| given::<Order>([]).when(Command::Place(placement));
    when(placement(vec![])).refused(Error::BadLineCount);
    when(placement(vec![line(1, 1, 1); MAX_LINES + 1])).refused(Error::BadLineCount);
    for quantity in [0, MAX_QUANTITY + 1, u32::MAX] {
        when(placement(vec![line(1, 1, 1), line(2, quantity, 1)])).refused(Error::BadQuantity { quantity });
    }
    let bad = |why| Error::BadLine { dish: dish(1), why };
    when(placement(vec![line(1, 1, -1), line(2, 1, 5)])).refused(bad("a price is never negative"));
    let long = "x".repeat(MAX_NAME + 1);
    when(placement(vec![Line { name: long.clone(), ..line(1, 1, 1) }])).refused(bad("a name is too long"));
    let options = vec![chosen("Size", &long)];
    when(placement(vec![Line { options, ..line(1, 1, 1) }])).refused(bad("a name is too long"));
    let options = vec![chosen("Size", "large"); 401];
    when(placement(vec![Line { options, ..line(1, 1, 1) }])).refused(bad("it has too many options"));
}

#[test]
fn a_total_is_the_sum_of_its_lines_in_one_currency() {
    let with_total =
        |total| Command::Place(Box::new(Placement { total, ..*placement(vec![line(1, 2, 1000), line(2, 1, 500)]) }));
    for total in [cny(2499), cny(0), cny(-2500), cny(i64::MIN)] {
        given::<Order>([]).when(with_total(total)).refused(Error::BadTotal { sum: cny(2500), total });
    }
    let mixed = MoneyError::Mixed { left: Currency::USD, right: Currency::CNY };
    given::<Order>([]).when(with_total(usd(2500))).refused(Error::Money(mixed));
    for price in [i64::MAX, Money::MAX_MINOR / 1000 + 1] {
        let huge = Placement { lines: vec![line(1, 1000, price)], ..*placement(vec![line(1, 1, 1)]) };
        given::<Order>([]).when(Command::Place(Box::new(huge))).refused(Error::Money(MoneyError::TooLarge));
    }
}

#[test]
fn it_is_confirmed_cooked_and_picked_up() {
    given::<Order>([placed()])
        .when(Command::Confirm)
        .then([Event::Confirmed])
        .when(Command::Confirm)
        .then([])
        .when(Command::Prepare)
        .then([Event::Preparing])
        .when(Command::Prepare)
        .then([])
        .when(mark_ready())
        .then([Event::Readied { code: "A7".into() }])
        .when(Command::MarkReady { code: "B8".into() })
        .then([])
        .when(collect("B8"))
        .refused(Error::WrongCode)
        .when(collect("A7"))
        .then([Event::PickedUp { canteen: canteen(), recognised: cny(2500) }])
        .when(collect("A7"))
        .then([])
        .when(Command::Confirm)
        .then([]);
}

#[test]
fn a_counter_sale_may_skip_the_kitchen() {
    given::<Order>(confirmed()).when(mark_ready()).then([Event::Readied { code: "A7".into() }]);
}

#[test]
fn who_does_not_come_still_pays() {
    for events in [confirmed(), and(confirmed(), [Event::Preparing]), ready()] {
        given::<Order>(events)
            .when(Command::MarkNoShow)
            .then([Event::NoShow { canteen: canteen(), recognised: cny(2500) }])
            .when(Command::MarkNoShow)
            .then([])
            // The checkout may repeat its step late.
            .when(Command::Confirm)
            .then([])
            .when(collect("A7"))
            .refused(cannot("NO_SHOW", "PICKED_UP"));
    }
}

#[test]
fn an_order_that_nobody_placed_is_unknown() {
    for command in [
        Command::Confirm,
        Command::Refuse(Refusal::Withdrawn),
        Command::Expire { at: at(999) },
        Command::Prepare,
        mark_ready(),
        collect("A7"),
        Command::MarkNoShow,
        cancel(RefundReason::CancelledByDiner, 1),
        refunding(1, &[(0, 1)]),
        Command::SettleRefund { refund: refund(1) },
    ] {
        given::<Order>([]).when(command).refused(Error::Unknown);
    }
    given::<Order>([]).when(Command::Withdraw { refund: refund(1), dish: None }).then([]);
}

#[test]
fn nothing_is_cooked_before_it_is_confirmed() {
    for (command, wanted) in [
        (Command::Prepare, "PREPARING"),
        (mark_ready(), "READY"),
        (collect("A7"), "PICKED_UP"),
        (Command::MarkNoShow, "NO_SHOW"),
        (refunding(1, &[(0, 1)]), "REFUNDED"),
    ] {
        given::<Order>([placed()]).when(command).refused(cannot("PLACED", wanted));
    }
    given::<Order>(picked_up()).when(Command::Prepare).refused(cannot("PICKED_UP", "PREPARING"));
    given::<Order>(picked_up()).when(mark_ready()).refused(cannot("PICKED_UP", "READY"));
}

#[test]
fn a_refusal_ends_the_order_once() {
    let short = Refusal::InsufficientFunds { short: cny(5) };
    given::<Order>([placed()])
        .when(Command::Refuse(short.clone()))
        .then([Event::Refused(short)])
        .when(Command::Refuse(Refusal::AccountFrozen))
        .then([])
        .when(Command::Confirm)
        .refused(cannot("REFUSED", "CONFIRMED"))
        .when(Command::Expire { at: at(999) })
        .refused(cannot("REFUSED", "EXPIRED"));
    given::<Order>(confirmed()).when(Command::Refuse(Refusal::TooLate)).refused(cannot("CONFIRMED", "REFUSED"));
}

#[test]
fn an_unpaid_order_expires_when_it_is_due() {
    given::<Order>([placed()])
        .when(Command::Expire { at: at(249) })
        .refused(Error::NotDue { at: at(250) })
        .when(Command::Expire { at: at(250) })
        .then([Event::Expired])
        .when(Command::Expire { at: at(250) })
        .then([])
        .when(Command::Confirm)
        .refused(cannot("EXPIRED", "CONFIRMED"));
    given::<Order>(confirmed()).when(Command::Expire { at: at(999) }).refused(cannot("CONFIRMED", "EXPIRED"));
}

#[test]
fn a_diner_cancels_until_the_kitchen_locks() {
    let by = RefundReason::CancelledByDiner;
    given::<Order>(confirmed()).when(cancel(by, 300)).refused(Error::KitchenLocked { at: at(300) });
    // A kitchen that has begun has locked this order, whatever the time.
    for events in [and(confirmed(), [Event::Preparing]), ready()] {
        given::<Order>(events).when(cancel(by, 1)).refused(Error::KitchenLocked { at: at(300) });
    }
    given::<Order>(confirmed())
        .when(cancel(by, 299))
        .then([Event::Cancelled { reason: by }, begun(9, &ALL, 2500, RefundFrom::Prepaid, by)])
        .when(cancel(by, 299))
        .then([])
        .when(Command::Cancel { refund: refund(8), by: RefundReason::CancelledByCanteen, at: at(299) })
        .then([])
        .when(Command::Confirm)
        .refused(cannot("CANCELLED", "CONFIRMED"));
}

#[test]
fn a_canteen_cancels_until_pickup() {
    let by = RefundReason::CancelledByCanteen;
    for events in [confirmed(), and(confirmed(), [Event::Preparing]), ready()] {
        given::<Order>(events)
            .when(cancel(by, 999))
            .then([Event::Cancelled { reason: by }, begun(9, &ALL, 2500, RefundFrom::Prepaid, by)]);
    }
    given::<Order>(picked_up()).when(cancel(by, 999)).refused(cannot("PICKED_UP", "CANCELLED"));
}

#[test]
fn cancelling_before_it_is_paid_refunds_nothing() {
    let by = RefundReason::CancelledByDiner;
    given::<Order>([placed()])
        .when(cancel(by, 999))
        .then([Event::Cancelled { reason: by }])
        .when(cancel(by, 999))
        .then([]);
}

#[test]
fn a_refund_by_line_leaves_the_rest() {
    let from = RefundFrom::Prepaid;
    given::<Order>(confirmed())
        .when(refunding(1, &[(0, 1)]))
        .then([complaint(1, &[(0, 1)], 1000, from)])
        .when(refunding(1, &[(0, 1)]))
        .then([])
        .when(refunding(1, &[(0, 2)]))
        .refused(Error::OtherRefund)
        .when(refunding(2, &[(0, 2)]))
        .refused(Error::NothingToRefund { line: 0, left: 1, asked: 2 })
        .when(refunding(2, &[(1, 1), (0, 1)]))
        .then([complaint(2, &[(1, 1), (0, 1)], 1500, from)])
        .when(refunding(3, &[(1, 1)]))
        .refused(Error::NothingToRefund { line: 1, left: 0, asked: 1 });
}

#[test]
fn impossible_refunds_change_nothing() {
    let none = |line, left, asked| Error::NothingToRefund { line, left, asked };
    let when = |lines: &[(u16, u32)]| given::<Order>(confirmed()).when(refunding(1, lines));
    when(&[]).refused(Error::BadLineCount);
    when(&[(0, 0)]).refused(none(0, 2, 0));
    when(&[(2, 1)]).refused(none(2, 0, 1));
    when(&[(u16::MAX, u32::MAX)]).refused(none(u16::MAX, 0, u32::MAX));
    when(&[(0, 1), (0, 2)]).refused(none(0, 2, 3));
    // These add up to one in 32 bits.
    when(&[(0, 1 << 31), (0, (1 << 31) + 1)]).refused(none(0, 2, u32::MAX));
    when(&[(0, 1); MAX_LINES + 1]).refused(Error::BadLineCount);
}

#[test]
fn a_refund_comes_from_prepaid_before_the_meal_and_from_the_canteen_after_it() {
    given::<Order>(ready())
        .when(refunding(1, &[(1, 1)]))
        .then([complaint(1, &[(1, 1)], 500, RefundFrom::Prepaid)])
        .when(collect("A7"))
        // What the canteen has earned is net of the refund that is under way.
        .then([Event::PickedUp { canteen: canteen(), recognised: cny(2000) }])
        .when(refunding(2, &[(0, 1)]))
        .then([complaint(2, &[(0, 1)], 1000, RefundFrom::Canteen(canteen()))])
        .when(refunding(3, &[(0, 2)]))
        .refused(Error::NothingToRefund { line: 0, left: 1, asked: 2 });
}

#[test]
fn a_cancel_after_a_refund_gives_back_only_the_rest() {
    let by = RefundReason::CancelledByCanteen;
    given::<Order>(and(confirmed(), [complaint(1, &[(0, 1)], 1000, RefundFrom::Prepaid)]))
        .when(cancel(by, 1))
        .then([Event::Cancelled { reason: by }, begun(9, &[(0, 1), (1, 1)], 1500, RefundFrom::Prepaid, by)])
        .when(refunding(1, &[(0, 1)]))
        .then([])
        .when(refunding(2, &[(0, 1)]))
        .refused(cannot("CANCELLED", "REFUNDED"));
}

#[test]
fn a_withdrawn_dish_is_refunded_and_the_rest_is_served() {
    let withdraw = |number, of| Command::Withdraw { refund: refund(number), dish: of };
    let of =
        |number, lines: &[(u16, u32)], minor| begun(number, lines, minor, RefundFrom::Prepaid, RefundReason::Withdrawn);
    let cancelled = Event::Cancelled { reason: RefundReason::Withdrawn };
    given::<Order>(confirmed())
        .when(withdraw(1, Some(dish(7))))
        .then([])
        .when(withdraw(1, Some(dish(1))))
        .then([of(1, &[(0, 2)], 2000)])
        .when(withdraw(1, Some(dish(1))))
        .then([])
        .when(withdraw(2, Some(dish(2))))
        .then([cancelled.clone(), of(2, &[(1, 1)], 500)])
        .when(withdraw(2, Some(dish(2))))
        .then([]);
    given::<Order>(ready()).when(withdraw(1, None)).then([cancelled, of(1, &ALL, 2500)]);
    given::<Order>(picked_up()).when(withdraw(1, None)).then([]);
    given::<Order>([placed()])
        .when(withdraw(1, Some(dish(1))))
        .then([Event::Refused(Refusal::Withdrawn)])
        .when(withdraw(1, Some(dish(1))))
        .then([]);
}

#[test]
fn a_refund_settles_once() {
    let settle = |number| Command::SettleRefund { refund: refund(number) };
    given::<Order>(and(confirmed(), [complaint(1, &[(0, 1)], 1000, RefundFrom::Prepaid)]))
        .when(settle(2))
        .refused(cannot("CONFIRMED", "REFUNDED"))
        .when(settle(1))
        .then([Event::RefundSettled { refund: refund(1) }])
        .when(settle(1))
        .then([]);
}

#[test]
fn a_ticket_remembers_when_it_was_placed() {
    let mut order = Order::default();
    order.evolve(&placed(), at(42));
    order.evolve(&Event::Confirmed, at(43));
    assert_eq!((order.status(), order.ticket().unwrap().placed_at), ("CONFIRMED", at(42)));
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let reason = || prop::sample::select(vec![RefundReason::CancelledByDiner, RefundReason::CancelledByCanteen]);
    let quantity = || prop_oneof![8 => 0..4_u32, 1 => any::<u32>()];
    let lines = prop::collection::vec((0..4_u16, quantity()), 0..4);
    let some_dish = prop::option::of((1..=3_u8).prop_map(dish));
    let code = prop::sample::select(vec!["A7", "B8"]);
    let command = prop_oneof![
        4 => Just(Command::Confirm),
        1 => Just(Command::Refuse(Refusal::AccountFrozen)),
        1 => (200..300_i64).prop_map(|seconds| Command::Expire { at: at(seconds) }),
        2 => Just(Command::Prepare),
        2 => Just(mark_ready()),
        4 => code.prop_map(collect),
        1 => Just(Command::MarkNoShow),
        1 => (11..15_u8, reason(), 250..350_i64).prop_map(|(number, by, seconds)| Command::Cancel {
            refund: refund(number), by, at: at(seconds)
        }),
        8 => (1..8_u8, lines).prop_map(|(number, lines)| refunding(number, &lines)),
        1 => (21..25_u8, some_dish).prop_map(|(number, dish)| Command::Withdraw { refund: refund(number), dish }),
        3 => (1..25_u8).prop_map(|number| Command::SettleRefund { refund: refund(number) }),
    ];
    prop::collection::vec(command, 1..40)
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn what_is_recognised_and_refunded_is_never_more_than_was_paid(commands in commands()) {
        let lines = vec![line(1, 3, 1000), line(2, 1, 500), line(1, 2, 1100)];
        let (mut order, mut recognised, mut before_meal, mut after_meal) = (Order::default(), 0, 0, 0);
        let mut left = [3_u32, 1, 2];
        step(&mut order, Command::Place(placement(lines.clone())));
        for command in commands {
            for event in step(&mut order, command).1 {
                match event {
                    Event::RefundBegun { lines: counts, amount, from, .. } => {
                        let mut worth = 0;
                        for count in counts {
                            let index = usize::from(count.line);
                            left[index] = left[index].checked_sub(count.quantity).expect("more than was ordered");
                            worth += lines[index].unit_price.minor * i64::from(count.quantity);
                        }
                        prop_assert_eq!(amount, cny(worth));
                        if from == RefundFrom::Prepaid { before_meal += worth } else { after_meal += worth }
                    }
                    Event::PickedUp { recognised: earned, .. } | Event::NoShow { recognised: earned, .. } => {
                        prop_assert_eq!(recognised, 0, "earned twice");
                        recognised = earned.minor;
                        prop_assert_eq!(recognised + before_meal, 5700);
                    }
                    _ => {}
                }
            }
            prop_assert!(recognised + before_meal <= 5700);
            prop_assert!(after_meal <= recognised);
            prop_assert_eq!(order.ticket().unwrap().net().minor, 5700 - before_meal - after_meal);
            if order.status() == "CANCELLED" && before_meal > 0 {
                prop_assert_eq!(before_meal, 5700, "a cancelled order that was paid is given back whole");
            }
        }
    }
}

#[test]
fn refusals_have_the_codes_that_frontends_know() {
    assert_eq!(Refusal::SoldOut(vec![]).code(), "SOLD_OUT");
    assert_eq!(Refusal::Closed { at: at(1) }.code(), "CLOSED");
    assert_eq!(Refusal::PriceChanged(vec![]).code(), "PRICE_CHANGED");
    assert_eq!(Event::Refused(Refusal::Withdrawn).name(), "Refused");
}
