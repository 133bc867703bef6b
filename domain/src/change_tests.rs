use super::*;
use crate::{
    given,
    order::{Command, LineCount, RefundFrom},
    testing::{at, cny, id, line, placement, refund, usd},
};

/// Two of dish 1 at 1000, one of dish 2 at 500.
fn confirmed() -> Vec<Event> {
    vec![Event::Placed(placement(vec![line(1, 2, 1000), line(2, 1, 500)])), Event::Confirmed]
}

fn to(number: u8, lines: Vec<Line>) -> Change {
    let total = Money::sum(crate::Currency::CNY, lines.iter().map(|line| line.total().unwrap())).unwrap();
    Change { change: ChangeId(id(number)), lines, total }
}

fn dearer() -> Change {
    to(80, vec![line(1, 2, 1000), line(3, 1, 900)])
}

fn cheaper() -> Change {
    to(81, vec![line(1, 1, 1000)])
}

fn ask(change: Change, seconds: i64) -> Command {
    Command::Change { change, at: at(seconds) }
}

fn began(change: Change) -> Event {
    Event::ChangeBegun { serving: crate::ServingId(id(201)), change }
}

fn and(first: Vec<Event>, then: impl IntoIterator<Item = Event>) -> Vec<Event> {
    first.into_iter().chain(then).collect()
}

fn settled(change: Change) -> [Event; 3] {
    let id = change.change;
    [began(change.clone()), Event::Changed(change), Event::ChangeSettled { change: id }]
}

fn refunding(number: u8, line: u16, quantity: u32) -> Command {
    let lines = vec![LineCount { line, quantity }];
    Command::Refund { refund: refund(number), lines, reason: Some(RefundReason::Complaint) }
}

fn begun(refund: RefundId, lines: Vec<LineCount>, minor: i64, reason: RefundReason) -> Event {
    let (amounts, first, from, unearned) = (vec![], vec![], RefundFrom::Prepaid, None);
    Event::RefundBegun { refund, lines, amounts, first, amount: cny(minor), from, unearned, reason }
}

fn order_refund(amounts: Vec<crate::order::LineAmount>) -> Event {
    let (lines, first, from, unearned, reason) = (vec![], vec![], RefundFrom::Prepaid, None, RefundReason::Complaint);
    Event::RefundBegun { refund: refund(9), lines, amounts, first, amount: cny(500), from, unearned, reason }
}

#[test]
fn a_dearer_order_is_changed_and_nothing_goes_back() {
    let change = dearer();
    given::<Order>(confirmed())
        .when(ask(change.clone(), 299))
        .then([began(change.clone())])
        .when(ask(change.clone(), 400))
        .then([])
        .when(Command::MakeChange { change: change.change })
        .then([Event::Changed(change.clone())])
        .when(Command::MakeChange { change: change.change })
        .then([])
        .when(Command::SettleChange { change: change.change })
        .then([Event::ChangeSettled { change: change.change }])
        .when(Command::SettleChange { change: change.change })
        .then([])
        .when(ask(change, 299))
        .then([]);
    let state = given::<Order>(and(confirmed(), settled(dearer()))).state();
    let ticket = state.ticket().unwrap();
    assert_eq!((ticket.net(), ticket.placed.total), (cny(2_900), cny(2_900)));
    assert_eq!(state.made_of(dearer().change), Some(&Made::Changed));
}

#[test]
fn what_it_costs_less_goes_back_and_takes_nothing_of_the_new_lines() {
    let change = cheaper();
    let back = begun(RefundId(change.change.0), vec![], 1_500, RefundReason::Changed);
    let state = given::<Order>(and(confirmed(), [began(change.clone())]))
        .when(Command::MakeChange { change: change.change })
        .then([back, Event::Changed(change.clone())])
        .when(Command::SettleChange { change: change.change })
        .then([Event::ChangeSettled { change: change.change }])
        .state();
    let ticket = state.ticket().unwrap();
    assert_eq!((ticket.net(), ticket.left(0), ticket.refunds.len()), (cny(1_000), 1, 1));
    assert_eq!(
        ticket.picked_up(),
        Event::PickedUp { canteen: ticket.placed.canteen, recognised: cny(1_000), tax: vec![] }
    );
}

#[test]
fn a_refund_from_before_is_not_paid_for_twice() {
    let complaint = begun(refund(9), vec![LineCount { line: 0, quantity: 1 }], 1_000, RefundReason::Complaint);
    // 15 yuan are left of it.
    let change = to(82, vec![line(1, 1, 1000)]);
    let state = given::<Order>(and(confirmed(), [complaint, began(change.clone())]))
        .when(Command::MakeChange { change: change.change })
        .then([begun(RefundId(change.change.0), vec![], 500, RefundReason::Changed), Event::Changed(change.clone())])
        .when(Command::SettleChange { change: change.change })
        .then([Event::ChangeSettled { change: change.change }])
        .when(refunding(10, 0, 1))
        .then([begun(refund(10), vec![LineCount { line: 0, quantity: 1 }], 1_000, RefundReason::Complaint)])
        .state();
    assert_eq!(state.ticket().unwrap().net(), cny(0));
}

#[test]
fn a_refused_change_leaves_the_order_as_it_was() {
    let (change, refusal) = (dearer(), Refusal::InsufficientFunds { short: cny(400) });
    let refused = Event::ChangeRefused { change: change.change, refusal: refusal.clone() };
    let state = given::<Order>(and(confirmed(), [began(change.clone())]))
        .when(Command::SettleChange { change: change.change })
        .refused(Error::OutOfTurn { is: "CONFIRMED", wanted: "CHANGED" })
        .when(Command::RefuseChange { change: change.change, refusal: refusal.clone() })
        .then([refused])
        .when(Command::RefuseChange { change: change.change, refusal: Refusal::TooLate })
        .then([])
        .when(Command::MakeChange { change: change.change })
        .refused(Error::OutOfTurn { is: "CONFIRMED", wanted: "CHANGED" })
        .when(Command::SettleChange { change: change.change })
        .then([Event::ChangeSettled { change: change.change }])
        .state();
    assert_eq!(state.made_of(change.change), Some(&Made::Refused(refusal)));
    assert_eq!(state.ticket().unwrap().net(), cny(2_500));
}

#[test]
fn nothing_else_happens_to_it_before_its_change_is_settled() {
    let waits = and(confirmed(), [began(dearer())]);
    for command in [
        Command::Prepare,
        Command::MarkReady { code: "A7".into() },
        Command::MarkNoShow { refund: refund(1) },
        Command::Cancel { refund: refund(1), by: RefundReason::CancelledByDiner, at: at(1) },
        refunding(1, 0, 1),
        Command::Withdraw { refund: refund(1), dish: None },
        ask(cheaper(), 1),
    ] {
        given::<Order>(waits.clone()).when(command).refused(Error::Changing);
    }
    let made = and(waits, [Event::Changed(dearer())]);
    given::<Order>(made).when(Command::Prepare).refused(Error::Changing);
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let unknown = Error::Unknown;
    given::<Order>([]).when(ask(dearer(), 1)).refused(unknown);
    let preparing = and(confirmed(), [Event::Preparing]);
    given::<Order>(preparing).when(ask(dearer(), 1)).refused(Error::OutOfTurn { is: "PREPARING", wanted: "CHANGED" });
    // Goodwill is not charged back by a change.
    let some = order_refund(vec![crate::order::LineAmount { line: 0, amount: cny(500) }]);
    given::<Order>(and(confirmed(), [some])).when(ask(dearer(), 1)).refused(Error::PartlyRefunded);
    for channel in [Channel::Import, Channel::WalkUp] {
        let placed = Box::new(crate::order::Placement { channel, ..*placement(vec![line(1, 1, 1000)]) });
        given::<Order>([Event::Placed(placed), Event::Confirmed])
            .when(ask(dearer(), 1))
            .refused(Error::OutOfTurn { is: "CONFIRMED", wanted: "CHANGED" });
    }
    given::<Order>(confirmed()).when(ask(dearer(), 300)).refused(Error::KitchenLocked { at: at(300) });
    given::<Order>(confirmed()).when(ask(to(1, vec![]), 1)).refused(Error::BadLineCount);
    given::<Order>(confirmed()).when(ask(to(1, vec![line(1, 0, 5)]), 1)).refused(Error::BadQuantity { quantity: 0 });
    let wrong = Change { total: cny(1), ..dearer() };
    given::<Order>(confirmed()).when(ask(wrong, 1)).refused(Error::BadTotal { sum: cny(2_900), total: cny(1) });
    let foreign = Change { total: usd(2_900), ..dearer() };
    let mixed = crate::MoneyError::Mixed { left: crate::Currency::CNY, right: crate::Currency::USD };
    given::<Order>(confirmed()).when(ask(foreign, 1)).refused(Error::Money(mixed));
    let other = Change { change: cheaper().change, ..dearer() };
    given::<Order>(confirmed())
        .when(Command::MakeChange { change: other.change })
        .refused(Error::OutOfTurn { is: "CONFIRMED", wanted: "CHANGED" });
}

#[test]
fn an_order_changes_only_so_often() {
    let often = (0..MAX_CHANGES as u8).flat_map(|number| settled(to(100 + number, vec![line(1, 1, 1000)])));
    given::<Order>(and(confirmed(), often)).when(ask(dearer(), 1)).refused(Error::TooManyChanges);
}
