//! What the tests of the aggregates share: small ids, amounts, and one step of a state machine.

use std::fmt::Debug;

use proptest::test_runner::Config;
use uuid::Uuid;

use crate::{
    Aggregate, CanteenId, Currency, DinerId, DishId, Event, HoldId, Money, OrderId, PaymentId, RefundId, ServingId,
    Timestamp,
    order::{Channel, Line, Placement, Selection, Terms},
};

pub(crate) fn id(number: u8) -> Uuid {
    Uuid::from_u128(number.into())
}

pub(crate) fn dish(number: u8) -> DishId {
    DishId(id(number))
}

pub(crate) fn diner(number: u8) -> DinerId {
    DinerId(id(number))
}

pub(crate) fn order(number: u8) -> OrderId {
    OrderId(id(number))
}

pub(crate) fn refund(number: u8) -> RefundId {
    RefundId(id(number))
}

pub(crate) fn hold(number: u8) -> HoldId {
    HoldId { payment: PaymentId(id(number)), tender: 0 }
}

pub(crate) fn canteen() -> CanteenId {
    CanteenId(id(200))
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub(crate) fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

pub(crate) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

pub(crate) fn line(number: u8, quantity: u32, unit_price: i64) -> Line {
    Line { dish: dish(number), name: format!("Dish {number}"), quantity, unit_price: cny(unit_price), options: vec![] }
}

pub(crate) fn chosen(group: &str, choice: &str) -> Selection {
    Selection { group: group.into(), choice: choice.into() }
}

/// An order that locks at second 300 and is to be paid by second 250.
pub(crate) fn placement(lines: Vec<Line>) -> Box<Placement> {
    let total = Money::sum(Currency::CNY, lines.iter().map(|line| line.total().unwrap())).unwrap();
    Box::new(Placement {
        diner: diner(1),
        canteen: canteen(),
        serving: ServingId(id(201)),
        lines,
        total,
        channel: Channel::Online,
        terms: Terms::Balances,
        lock_at: at(300),
        pay_by: at(250),
    })
}

/// So many cases, and no files left behind.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// The name of an enum's variant.
pub(crate) fn kind(of: &impl Debug) -> String {
    let text = format!("{of:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// Decides one command, folds what follows, and names the outcome: `done`, `repeat` or the error.
///
/// What holds for every aggregate is checked on the way: events survive the log and have a schema,
/// the state survives a snapshot, and the same command again gives no events.
#[track_caller]
pub(crate) fn step<A>(state: &mut A, command: A::Command) -> (String, Vec<A::Event>)
where
    A: Aggregate,
{
    let events = match state.decide(command.clone()) {
        Ok(events) => events,
        Err(error) => return (kind(&error), vec![]),
    };
    for event in &events {
        assert_eq!(A::Event::SCHEMAS.iter().filter(|(name, _)| *name == event.name()).count(), 1, "{event:?}");
        let json = serde_json::to_vec(event).unwrap();
        assert_eq!(serde_json::from_slice::<A::Event>(&json).unwrap(), *event);
        state.evolve(event, Timestamp::EPOCH);
    }
    let snapshot = serde_json::to_vec(state).unwrap();
    assert_eq!(serde_json::from_slice::<A>(&snapshot).unwrap(), *state);
    assert_eq!(state.decide(command), Ok(vec![]), "the same again, after {events:?}");
    (if events.is_empty() { "repeat".into() } else { "done".into() }, events)
}
