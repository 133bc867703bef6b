use proptest::prelude::*;

use super::*;
use crate::{
    Currency, Event as _, given,
    menu::MAX_NAME,
    tax,
    testing::{at, canteen, cases, chosen, cny, dish, line, placement, refund, six_percent, step, usd},
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
    and(ready(), [Event::PickedUp { canteen: canteen(), recognised: cny(2500), tax: vec![] }])
}

fn and(first: Vec<Event>, then: impl IntoIterator<Item = Event>) -> Vec<Event> {
    first.into_iter().chain(then).collect()
}

fn counts(of: &[(u16, u32)]) -> Vec<LineCount> {
    of.iter().map(|(line, quantity)| LineCount { line: *line, quantity: *quantity }).collect()
}

fn refunding(number: u8, lines: &[(u16, u32)]) -> Command {
    Command::Refund { refund: refund(number), lines: counts(lines), reason: Some(RefundReason::Complaint) }
}

/// Before the meal.
fn begun(number: u8, lines: &[(u16, u32)], minor: i64, reason: RefundReason) -> Event {
    let (from, unearned) = (RefundFrom::Prepaid, None);
    Event::RefundBegun {
        refund: refund(number),
        lines: counts(lines),
        amounts: vec![],
        first: vec![],
        amount: cny(minor),
        from,
        unearned,
        reason,
    }
}

fn complaint(number: u8, lines: &[(u16, u32)], minor: i64) -> Event {
    begun(number, lines, minor, RefundReason::Complaint)
}

/// After the meal, of which some was tax at 6 %.
fn unearned(number: u8, lines: &[(u16, u32)], minor: i64, tax: i64) -> Event {
    let tax = six_percent_of(tax).into_iter().filter(|part| !part.amount.is_zero()).collect();
    let (from, unearned) = (RefundFrom::Prepaid, Some(Unearned { canteen: canteen(), tax }));
    let reason = RefundReason::Complaint;
    Event::RefundBegun {
        refund: refund(number),
        lines: counts(lines),
        amounts: vec![],
        first: vec![],
        amount: cny(minor),
        from,
        unearned,
        reason,
    }
}

fn six_percent_of(minor: i64) -> Vec<TaxPart> {
    vec![TaxPart { rate: six_percent(), amount: cny(minor) }]
}

fn no_show() -> Command {
    Command::MarkNoShow { refund: refund(30) }
}

fn by_amount(number: u8, minor: i64, first: &[u8]) -> Command {
    let (first, reason) = (first.to_vec(), Some(RefundReason::Complaint));
    Command::RefundAmount { refund: refund(number), amount: cny(minor), first, reason }
}

fn of_lines(parts: &[(u16, i64)]) -> Vec<LineAmount> {
    parts.iter().map(|(line, minor)| LineAmount { line: *line, amount: cny(*minor) }).collect()
}

/// An amount, before the meal.
fn amount_begun(number: u8, parts: &[(u16, i64)], first: &[u8], reason: RefundReason) -> Event {
    let minor: i64 = parts.iter().map(|(_, minor)| minor).sum();
    Event::RefundBegun {
        refund: refund(number),
        lines: vec![],
        amounts: of_lines(parts),
        first: first.to_vec(),
        amount: cny(minor),
        from: RefundFrom::Prepaid,
        unearned: None,
        reason,
    }
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
    for (group, choice) in [("Size\0", "large"), ("Size", "\0")] {
        let options = vec![chosen(group, choice)];
        let line = Line { options, ..line(1, 1, 1) };
        when(placement(vec![line])).refused(bad("a name has the character NUL"));
    }
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
        .then([Event::PickedUp { canteen: canteen(), recognised: cny(2500), tax: vec![] }])
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
            .when(no_show())
            .then([Event::NoShow { canteen: canteen(), recognised: cny(2500), tax: vec![] }])
            .when(no_show())
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
        no_show(),
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
        (no_show(), "NO_SHOW"),
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
        .then([Event::Cancelled { reason: by }, begun(9, &ALL, 2500, by)])
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
        given::<Order>(events).when(cancel(by, 999)).then([Event::Cancelled { reason: by }, begun(9, &ALL, 2500, by)]);
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
    given::<Order>(confirmed())
        .when(refunding(1, &[(0, 1)]))
        .then([complaint(1, &[(0, 1)], 1000)])
        .when(refunding(1, &[(0, 1)]))
        .then([])
        .when(refunding(1, &[(0, 2)]))
        .refused(Error::OtherRefund)
        .when(refunding(2, &[(0, 2)]))
        .refused(Error::NothingToRefund { line: 0, left: 1, asked: 2 })
        .when(refunding(2, &[(1, 1), (0, 1)]))
        .then([complaint(2, &[(1, 1), (0, 1)], 1500)])
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
fn a_refund_before_the_meal_was_never_earned_and_one_after_it_is_given_up_by_the_canteen() {
    given::<Order>(ready())
        .when(refunding(1, &[(1, 1)]))
        .then([complaint(1, &[(1, 1)], 500)])
        .when(collect("A7"))
        // What the canteen has earned is net of the refund that is under way.
        .then([Event::PickedUp { canteen: canteen(), recognised: cny(2000), tax: vec![] }])
        .when(refunding(2, &[(0, 1)]))
        .then([unearned(2, &[(0, 1)], 1000, 0)])
        .when(refunding(3, &[(0, 2)]))
        .refused(Error::NothingToRefund { line: 0, left: 1, asked: 2 });
}

fn taxed(line: Line) -> Line {
    Line { tax: six_percent(), ..line }
}

#[test]
fn tax_is_recognised_by_rate_with_the_meal_and_goes_back_with_its_refunds() {
    // Three at 0.55 and one without tax: 1.65 · 6 / 106 = 0.0934, and 0.0311 for each alone.
    let placed = Event::Placed(placement(vec![taxed(line(1, 3, 55)), line(2, 1, 500)]));
    let ready = [placed, Event::Confirmed, Event::Readied { code: "A7".into() }];
    given::<Order>(ready.clone()).when(no_show()).then([Event::NoShow {
        canteen: canteen(),
        recognised: cny(665),
        tax: six_percent_of(9),
    }]);
    given::<Order>(ready)
        .when(collect("A7"))
        .then([Event::PickedUp { canteen: canteen(), recognised: cny(665), tax: six_percent_of(9) }])
        // 1.10 has 0.0623 of it: so three fen of nine go back, three again, and three.
        .when(refunding(1, &[(0, 1)]))
        .then([unearned(1, &[(0, 1)], 55, 3)])
        .when(refunding(2, &[(1, 1)]))
        .then([unearned(2, &[(1, 1)], 500, 0)])
        .when(refunding(3, &[(0, 2)]))
        .then([unearned(3, &[(0, 2)], 110, 6)])
        .when(refunding(3, &[(0, 2)]))
        .then([]);
}

#[test]
fn what_was_refunded_before_the_meal_is_not_taxed() {
    let placed = Event::Placed(placement(vec![taxed(line(1, 2, 1060))]));
    given::<Order>([placed, Event::Confirmed])
        .when(refunding(1, &[(0, 1)]))
        .then([complaint(1, &[(0, 1)], 1060)])
        .when(no_show())
        .then([Event::NoShow { canteen: canteen(), recognised: cny(1060), tax: six_percent_of(60) }]);
}

#[test]
fn a_cancel_after_a_refund_gives_back_only_the_rest() {
    let by = RefundReason::CancelledByCanteen;
    given::<Order>(and(confirmed(), [complaint(1, &[(0, 1)], 1000)]))
        .when(cancel(by, 1))
        .then([Event::Cancelled { reason: by }, begun(9, &[(0, 1), (1, 1)], 1500, by)])
        .when(refunding(1, &[(0, 1)]))
        .then([])
        .when(refunding(2, &[(0, 1)]))
        .refused(cannot("CANCELLED", "REFUNDED"));
}

#[test]
fn a_withdrawn_dish_is_refunded_and_the_rest_is_served() {
    let withdraw = |number, of| Command::Withdraw { refund: refund(number), dish: of };
    let of = |number, lines: &[(u16, u32)], minor| begun(number, lines, minor, RefundReason::Withdrawn);
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
    given::<Order>(and(confirmed(), [complaint(1, &[(0, 1)], 1000)]))
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
        1 => Just(no_show()),
        1 => (11..15_u8, reason(), 250..350_i64).prop_map(|(number, by, seconds)| Command::Cancel {
            refund: refund(number), by, at: at(seconds)
        }),
        8 => (1..8_u8, lines).prop_map(|(number, lines)| refunding(number, &lines)),
        3 => (8..11_u8, -1..6_000_i64).prop_map(|(number, minor)| by_amount(number, minor, &[])),
        1 => (21..25_u8, some_dish).prop_map(|(number, dish)| Command::Withdraw { refund: refund(number), dish }),
        3 => (1..25_u8).prop_map(|number| Command::SettleRefund { refund: refund(number) }),
    ];
    prop::collection::vec(command, 1..40)
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn what_is_recognised_and_refunded_is_never_more_than_was_paid(commands in commands(), charged in 0..=100_u8) {
        let lines = vec![taxed(line(1, 3, 1000)), line(2, 1, 500), taxed(line(1, 2, 1100))];
        let (mut order, mut recognised, mut before_meal, mut after_meal) = (Order::default(), 0, 0, 0);
        let (mut tax_owed, mut tax_back) = (0, 0);
        let mut left = [3_u32, 1, 2];
        let mut worth_left = [3_000, 500, 2_200];
        let mut placed = placement(lines.clone());
        placed.no_show_percent = charged;
        step(&mut order, Command::Place(placed));
        for command in commands {
            for event in step(&mut order, command).1 {
                match event {
                    Event::RefundBegun { lines: counts, amounts, amount, unearned, .. } => {
                        let mut worth = 0;
                        for count in counts {
                            let index = usize::from(count.line);
                            left[index] = left[index].checked_sub(count.quantity).expect("more than was ordered");
                            if amounts.is_empty() {
                                let price = lines[index].unit_price.minor * i64::from(count.quantity);
                                worth += price;
                                worth_left[index] -= price;
                            }
                        }
                        for one in amounts {
                            worth += one.amount.minor;
                            worth_left[usize::from(one.line)] -= one.amount.minor;
                        }
                        prop_assert!(worth_left.iter().all(|left| *left >= 0), "{:?}", worth_left);
                        for (left, worth) in left.iter().zip(worth_left) {
                            prop_assert!(*left > 0 || worth == 0, "the last portion takes what is left of its line");
                        }
                        prop_assert_eq!(amount, cny(worth));
                        match unearned {
                            None => before_meal += worth,
                            Some(unearned) => {
                                after_meal += worth;
                                tax_back += tax::total(&unearned.tax);
                            }
                        }
                    }
                    Event::PickedUp { recognised: earned, tax, .. } | Event::NoShow { recognised: earned, tax, .. } => {
                        prop_assert_eq!(recognised, 0, "earned twice");
                        recognised = earned.minor;
                        tax_owed = tax::total(&tax);
                        prop_assert_eq!(recognised + before_meal, 5700);
                    }
                    _ => {}
                }
            }
            prop_assert!(recognised + before_meal <= 5700);
            prop_assert!(after_meal <= recognised);
            prop_assert!(tax_back <= tax_owed && tax_owed - tax_back <= recognised - after_meal);
            if after_meal == recognised {
                prop_assert_eq!(tax_back, tax_owed, "the tax of what is given back whole");
            } else if recognised > 0 {
                prop_assert_eq!(tax_owed - tax_back, tax::total(&order.ticket().unwrap().tax()), "the receipt's");
            }
            prop_assert_eq!(order.ticket().unwrap().net().minor, 5700 - before_meal - after_meal);
            if order.status() == "CANCELLED" && before_meal > 0 {
                prop_assert_eq!(before_meal, 5700, "a cancelled order that was paid is given back whole");
            }
        }
    }
}

#[test]
fn after_the_meal_a_refund_needs_a_reason_and_before_it_there_is_one_for_it() {
    let unsaid =
        |number, lines: &[(u16, u32)]| Command::Refund { refund: refund(number), lines: counts(lines), reason: None };
    let amount = Command::RefundAmount { refund: refund(9), amount: cny(1), first: vec![], reason: None };
    given::<Order>(ready())
        .when(unsaid(1, &[(0, 1)]))
        .then([complaint(1, &[(0, 1)], 1_000)])
        .when(amount.clone())
        .then([amount_begun(9, &[(0, 1)], &[], RefundReason::Complaint)]);
    given::<Order>(picked_up())
        .when(unsaid(1, &[(0, 1)]))
        .refused(Error::NoReason)
        .when(amount.clone())
        .refused(Error::NoReason)
        .when(refunding(1, &[(0, 1)]))
        .then([unearned(1, &[(0, 1)], 1_000, 0)])
        // A repeat is none, whatever it says.
        .when(unsaid(1, &[(0, 1)]))
        .then([]);
    let nobody_came = Event::NoShow { canteen: canteen(), recognised: cny(2_500), tax: vec![] };
    given::<Order>(and(ready(), [nobody_came])).when(amount).refused(Error::NoReason);
}

#[test]
fn an_amount_is_spread_over_what_is_left_of_the_lines() {
    let (placed, reason) = (placement(vec![line(1, 2, 1_000), line(2, 1, 500)]), RefundReason::Complaint);
    let confirmed = [Event::Placed(placed), Event::Confirmed];
    let too_much = |asked, left| Error::TooMuch { asked: cny(asked), left: cny(left) };
    given::<Order>(confirmed)
        .when(by_amount(1, 2_501, &[]))
        .refused(too_much(2_501, 2_500))
        .when(by_amount(1, 0, &[]))
        .refused(too_much(0, 2_500))
        .when(Command::RefundAmount { refund: refund(1), amount: usd(1), first: vec![], reason: Some(reason) })
        .refused(Error::TooMuch { asked: usd(1), left: cny(2_500) })
        .when(by_amount(1, 101, &[1]))
        .then([amount_begun(1, &[(0, 81), (1, 20)], &[1], reason)])
        .when(by_amount(1, 101, &[1]))
        .then([])
        .when(by_amount(1, 101, &[]))
        .refused(Error::OtherRefund)
        // A portion is worth its share of what is left, and the last one all of it.
        .when(refunding(2, &[(0, 1)]))
        .then([Event::RefundBegun {
            refund: refund(2),
            lines: counts(&[(0, 1)]),
            amounts: of_lines(&[(0, 959)]),
            first: vec![],
            amount: cny(959),
            from: RefundFrom::Prepaid,
            unearned: None,
            reason,
        }])
        .when(by_amount(3, 1_440, &[]))
        .then([amount_begun(3, &[(0, 960), (1, 480)], &[], reason)])
        .when(by_amount(4, 1, &[]))
        .refused(too_much(1, 0));
}

#[test]
fn a_no_show_is_charged_what_its_serving_says() {
    let no_show_of = |percent, lines| {
        let mut placed = placement(lines);
        placed.no_show_percent = percent;
        given::<Order>([Event::Placed(placed), Event::Confirmed])
    };
    let earned = |minor| Event::NoShow { canteen: canteen(), recognised: cny(minor), tax: vec![] };
    let lines = || vec![line(1, 2, 1_000), line(2, 1, 501)];
    no_show_of(100, lines()).when(no_show()).then([earned(2_501)]).when(no_show()).then([]);
    let waived = |parts: &[(u16, i64)]| amount_begun(30, parts, &[], RefundReason::NoShow);
    // Half of 25.01 is charged, rounded down.
    no_show_of(50, lines())
        .when(no_show())
        .then([waived(&[(0, 1_000), (1, 251)]), earned(1_250)])
        .when(no_show())
        .then([]);
    no_show_of(0, lines()).when(no_show()).then([waived(&[(0, 2_000), (1, 501)]), earned(0)]);
}

#[test]
fn only_what_is_sold_over_the_counter_is_handed_over_at_once() {
    let mut walk_up = placement(vec![line(1, 1, 1_000)]);
    walk_up.channel = Channel::WalkUp;
    let out_of_turn = |is| Error::OutOfTurn { is, wanted: "PICKED_UP" };
    let picked_up = Event::PickedUp { canteen: canteen(), recognised: cny(1_000), tax: vec![] };
    given::<Order>([Event::Placed(walk_up)])
        .when(Command::HandOver)
        .refused(out_of_turn("PLACED"))
        .when(Command::Confirm)
        .then([Event::Confirmed])
        .when(Command::HandOver)
        .then([picked_up])
        .when(Command::HandOver)
        .then([]);
    let online = placement(vec![line(1, 1, 1_000)]);
    given::<Order>([Event::Placed(online), Event::Confirmed]).when(Command::HandOver).refused(out_of_turn("CONFIRMED"));
}

#[test]
fn refusals_have_the_codes_that_frontends_know() {
    assert_eq!(Refusal::SoldOut(vec![]).code(), "SOLD_OUT");
    assert_eq!(Refusal::Closed { at: at(1) }.code(), "CLOSED");
    assert_eq!(Refusal::PriceChanged(vec![]).code(), "PRICE_CHANGED");
    assert_eq!(Event::Refused(Refusal::Withdrawn).name(), "Refused");
}
