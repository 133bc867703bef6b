//! A top-up: money that comes into an account from outside. Requested → Credited, or Failed when the
//! account cannot take it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AccountId, ActorId, Aggregate, Money, StreamKind, Timestamp, TopUpId, account};

/// Where the money comes from.
///
/// A provider that is asked over the network gets a variant of its own here, a ledger account in the
/// postings, and a state between Requested and Credited in which its answer is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It is on the operator's bank account.
    #[default]
    Bank,
    /// It is in a canteen's till.
    Counter,
}

impl Source {
    pub const ALL: [Source; 2] = [Source::Bank, Source::Counter];

    pub fn name(self) -> &'static str {
        match self {
            Source::Bank => "bank",
            Source::Counter => "counter",
        }
    }

    pub(crate) fn is_bank(&self) -> bool {
        *self == Source::Bank
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Slip {
    pub account: AccountId,
    pub amount: Money,
    pub source: Source,
    /// Who asked for it.
    pub by: ActorId,
}

/// Why the account could not take the money: it has to go back to whom it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The account was closed.
    Closed,
    /// The account is in another currency, or would have more than an account can.
    Amount,
}

impl Reason {
    /// What an account's refusal of a deposit means for its top-up.
    pub fn of(error: &account::Error) -> Reason {
        match error {
            account::Error::Closed => Reason::Closed,
            _ => Reason::Amount,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Reason::Closed => "closed",
            Reason::Amount => "amount",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Request(Slip),
    /// The account has the money.
    RecordCredited,
    /// The account refused it.
    RecordFailed(Reason),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Requested(Slip),
    Credited,
    Failed { reason: Reason },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[("Requested", 1), ("Credited", 1), ("Failed", 1)];

    fn name(&self) -> &'static str {
        match self {
            Event::Requested(_) => "Requested",
            Event::Credited => "Credited",
            Event::Failed { .. } => "Failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no such top-up")]
    Unknown,
    #[error("this top-up was requested already, for something else")]
    OtherContent,
    #[error("the amount must be more than zero, and within what an account can have")]
    BadAmount,
    #[error("the top-up is {is}; that cannot be done now")]
    OutOfTurn { is: &'static str },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum TopUp {
    #[default]
    New,
    Requested(Slip),
    Credited(Slip),
    Failed(Slip, Reason),
}

impl TopUp {
    pub fn slip(&self) -> Result<&Slip, Error> {
        match self {
            TopUp::New => Err(Error::Unknown),
            TopUp::Requested(slip) | TopUp::Credited(slip) | TopUp::Failed(slip, _) => Ok(slip),
        }
    }

    pub fn status(&self) -> &'static str {
        match self {
            TopUp::New => "NEW",
            TopUp::Requested(_) => "REQUESTED",
            TopUp::Credited(_) => "CREDITED",
            TopUp::Failed(..) => "FAILED",
        }
    }
}

impl Aggregate for TopUp {
    const NAME: &'static str = "top_up";
    const STATE_VERSION: u32 = 1;
    type Id = TopUpId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: TopUpId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::TopUp, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (TopUp::New, Command::Request(slip)) => {
                if !slip.amount.is_positive() || slip.amount.checked().is_err() {
                    return Err(Error::BadAmount);
                }
                Ok(vec![Event::Requested(slip)])
            }
            (TopUp::New, Command::RecordCredited | Command::RecordFailed(_)) => Err(Error::Unknown),
            (top_up, Command::Request(slip)) => {
                if *top_up.slip()? == slip {
                    Ok(vec![])
                } else {
                    Err(Error::OtherContent)
                }
            }
            (TopUp::Requested(_), Command::RecordCredited) => Ok(vec![Event::Credited]),
            (TopUp::Requested(_), Command::RecordFailed(reason)) => Ok(vec![Event::Failed { reason }]),
            (TopUp::Credited(_), Command::RecordCredited) => Ok(vec![]),
            (TopUp::Failed(_, known), Command::RecordFailed(reason)) if *known == reason => Ok(vec![]),
            (top_up @ (TopUp::Credited(_) | TopUp::Failed(..)), _) => Err(Error::OutOfTurn { is: top_up.status() }),
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        *self = match (*self, event) {
            (_, Event::Requested(slip)) => TopUp::Requested(*slip),
            (TopUp::Requested(slip), Event::Credited) => TopUp::Credited(slip),
            (TopUp::Requested(slip), Event::Failed { reason }) => TopUp::Failed(slip, *reason),
            (unmoved, Event::Credited | Event::Failed { .. }) => unmoved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        given,
        testing::{actor, cny, diner},
    };

    fn slip(minor: i64) -> Slip {
        Slip { account: AccountId::Wallet(diner(1)), amount: cny(minor), source: Source::Counter, by: actor(1) }
    }

    fn requested() -> Vec<Event> {
        vec![Event::Requested(slip(100))]
    }

    #[test]
    fn money_is_requested_and_then_credited_once() {
        given::<TopUp>([])
            .when(Command::Request(slip(100)))
            .then(requested())
            .when(Command::Request(slip(100)))
            .then([])
            .when(Command::RecordCredited)
            .then([Event::Credited])
            .when(Command::RecordCredited)
            .then([])
            .when(Command::Request(slip(100)))
            .then([])
            .when(Command::RecordFailed(Reason::Closed))
            .refused(Error::OutOfTurn { is: "CREDITED" });
    }

    #[test]
    fn what_an_account_cannot_take_has_failed() {
        let failed = Event::Failed { reason: Reason::Closed };
        given::<TopUp>(requested())
            .when(Command::RecordFailed(Reason::of(&account::Error::Closed)))
            .then([failed])
            .when(Command::RecordFailed(Reason::Closed))
            .then([])
            .when(Command::RecordFailed(Reason::Amount))
            .refused(Error::OutOfTurn { is: "FAILED" })
            .when(Command::RecordCredited)
            .refused(Error::OutOfTurn { is: "FAILED" });
        assert_eq!(Reason::of(&account::Error::NotPositive), Reason::Amount);
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        for minor in [0, -1, Money::MAX_MINOR + 1] {
            given::<TopUp>([]).when(Command::Request(slip(minor))).refused(Error::BadAmount);
        }
        given::<TopUp>([]).when(Command::RecordCredited).refused(Error::Unknown);
        given::<TopUp>(requested()).when(Command::Request(slip(101))).refused(Error::OtherContent);
        let other = Slip { source: Source::Bank, ..slip(100) };
        given::<TopUp>(requested()).when(Command::Request(other)).refused(Error::OtherContent);
    }
}
