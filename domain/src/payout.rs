//! A payout: money that an account's owner takes out, by the bank. Requested → Held on the account →
//! PaidOut or Cancelled; or Refused, when the account does not have it. Then Settled, once the account has
//! followed.
//!
//! (A *withdrawal* in this house is a dish that a canteen takes off a serving.)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AccountId, ActorId, Aggregate, Money, PayoutId, StreamKind, Timestamp, account};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Slip {
    pub account: AccountId,
    pub amount: Money,
    /// Who asked for it.
    pub by: ActorId,
}

/// Why the account did not let the money go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There was less to be had than was asked for.
    Insufficient,
    Frozen,
    Closed,
    /// The account is in another currency.
    Amount,
    /// The account has as many payouts under way as it may have.
    TooMany,
}

impl Reason {
    /// What an account's refusal of the hold means for its payout.
    pub fn of(error: &account::Error) -> Reason {
        match error {
            account::Error::Insufficient { .. } => Reason::Insufficient,
            account::Error::Frozen => Reason::Frozen,
            account::Error::Closed | account::Error::NotOpen => Reason::Closed,
            account::Error::TooManyPayouts => Reason::TooMany,
            _ => Reason::Amount,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Reason::Insufficient => "insufficient",
            Reason::Frozen => "frozen",
            Reason::Closed => "closed",
            Reason::Amount => "amount",
            Reason::TooMany => "too_many",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Request(Slip),
    /// The account has set the money aside.
    RecordHeld,
    /// The account refused to.
    RecordRefused(Reason),
    /// The bank has paid it.
    RecordPaid {
        by: ActorId,
    },
    /// It is not wanted any more, or the bank could not pay it.
    Cancel {
        by: ActorId,
    },
    /// The account has followed.
    Settle,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Requested(Slip),
    Held,
    Refused { reason: Reason },
    PaidOut { by: ActorId },
    Cancelled { by: ActorId },
    Settled,
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] =
        &[("Requested", 1), ("Held", 1), ("Refused", 2), ("PaidOut", 1), ("Cancelled", 1), ("Settled", 1)];

    fn name(&self) -> &'static str {
        match self {
            Event::Requested(_) => "Requested",
            Event::Held => "Held",
            Event::Refused { .. } => "Refused",
            Event::PaidOut { .. } => "PaidOut",
            Event::Cancelled { .. } => "Cancelled",
            Event::Settled => "Settled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no such payout")]
    Unknown,
    #[error("this payout was requested already, for something else")]
    OtherContent,
    #[error("the amount must be more than zero, and within what an account can have")]
    BadAmount,
    #[error("a subsidy is not paid out: it is the company's, to eat for")]
    Subsidy,
    #[error("the payout is {is}; that cannot be done now")]
    OutOfTurn { is: &'static str },
}

/// How a held payout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    PaidOut,
    Cancelled,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Payout {
    #[default]
    New,
    Requested(Slip),
    Held(Slip),
    /// The account refused it, and has still to refuse whoever else holds it late.
    Refusing(Slip, Reason),
    Refused(Slip, Reason),
    /// Decided; the account has still to follow.
    Ending(Slip, Outcome),
    Ended(Slip, Outcome),
}

impl Payout {
    pub fn slip(&self) -> Result<&Slip, Error> {
        match self {
            Payout::New => Err(Error::Unknown),
            Payout::Requested(slip)
            | Payout::Held(slip)
            | Payout::Refusing(slip, _)
            | Payout::Refused(slip, _)
            | Payout::Ending(slip, _)
            | Payout::Ended(slip, _) => Ok(slip),
        }
    }

    pub fn status(&self) -> &'static str {
        match self {
            Payout::New => "NEW",
            Payout::Requested(_) => "REQUESTED",
            Payout::Held(_) => "HELD",
            Payout::Refusing(..) | Payout::Refused(..) => "REFUSED",
            Payout::Ending(_, Outcome::PaidOut) | Payout::Ended(_, Outcome::PaidOut) => "PAID_OUT",
            Payout::Ending(_, Outcome::Cancelled) | Payout::Ended(_, Outcome::Cancelled) => "CANCELLED",
        }
    }

    fn request(&self, slip: Slip) -> Result<Vec<Event>, Error> {
        if *self != Payout::New {
            return if *self.slip()? == slip { Ok(vec![]) } else { Err(Error::OtherContent) };
        }
        if !slip.amount.is_positive() || slip.amount.checked().is_err() {
            return Err(Error::BadAmount);
        }
        match slip.account {
            AccountId::Subsidy(_) => Err(Error::Subsidy),
            AccountId::Wallet(_) | AccountId::Company(_) => Ok(vec![Event::Requested(slip)]),
        }
    }

    /// What was decided of a held payout; the same again is a repeat.
    fn end(&self, outcome: Outcome, event: Event) -> Result<Vec<Event>, Error> {
        match self {
            Payout::Held(_) => Ok(vec![event]),
            Payout::Ending(_, known) | Payout::Ended(_, known) if *known == outcome => Ok(vec![]),
            payout => {
                payout.slip()?;
                Err(Error::OutOfTurn { is: payout.status() })
            }
        }
    }
}

impl Aggregate for Payout {
    const NAME: &'static str = "payout";
    const STATE_VERSION: u32 = 2;
    type Id = PayoutId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: PayoutId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Payout, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        let out_of_turn = || Err(Error::OutOfTurn { is: self.status() });
        match command {
            Command::Request(slip) => return self.request(slip),
            Command::RecordPaid { by } => return self.end(Outcome::PaidOut, Event::PaidOut { by }),
            Command::Cancel { by } => return self.end(Outcome::Cancelled, Event::Cancelled { by }),
            Command::RecordHeld | Command::RecordRefused(_) | Command::Settle => {}
        }
        self.slip()?;
        match (command, self) {
            (Command::RecordHeld, Payout::Requested(_)) => Ok(vec![Event::Held]),
            (Command::RecordHeld, Payout::Held(_) | Payout::Ending(..) | Payout::Ended(..)) => Ok(vec![]),
            (Command::RecordRefused(reason), Payout::Requested(_)) => Ok(vec![Event::Refused { reason }]),
            (Command::RecordRefused(reason), Payout::Refusing(_, known) | Payout::Refused(_, known))
                if *known == reason =>
            {
                Ok(vec![])
            }
            (Command::Settle, Payout::Ending(..) | Payout::Refusing(..)) => Ok(vec![Event::Settled]),
            (Command::Settle, Payout::Ended(..) | Payout::Refused(..)) => Ok(vec![]),
            (_, _) => out_of_turn(),
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        *self = match (*self, event) {
            (_, Event::Requested(slip)) => Payout::Requested(*slip),
            (Payout::Requested(slip), Event::Held) => Payout::Held(slip),
            (Payout::Requested(slip), Event::Refused { reason }) => Payout::Refusing(slip, *reason),
            (Payout::Held(slip), Event::PaidOut { .. }) => Payout::Ending(slip, Outcome::PaidOut),
            (Payout::Held(slip), Event::Cancelled { .. }) => Payout::Ending(slip, Outcome::Cancelled),
            (Payout::Ending(slip, outcome), Event::Settled) => Payout::Ended(slip, outcome),
            (Payout::Refusing(slip, reason), Event::Settled) => Payout::Refused(slip, reason),
            (
                unmoved,
                Event::Held | Event::Refused { .. } | Event::PaidOut { .. } | Event::Cancelled { .. } | Event::Settled,
            ) => unmoved,
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
        Slip { account: AccountId::Wallet(diner(1)), amount: cny(minor), by: actor(1) }
    }

    fn held() -> Vec<Event> {
        vec![Event::Requested(slip(100)), Event::Held]
    }

    const PAID: Command = Command::RecordPaid { by: actor(2) };
    const CANCEL: Command = Command::Cancel { by: actor(2) };

    #[test]
    fn money_is_held_then_paid_out_and_settled_once() {
        given::<Payout>([])
            .when(Command::Request(slip(100)))
            .then([Event::Requested(slip(100))])
            .when(Command::Request(slip(100)))
            .then([])
            .when(Command::RecordHeld)
            .then([Event::Held])
            .when(Command::RecordHeld)
            .then([])
            .when(PAID)
            .then([Event::PaidOut { by: actor(2) }])
            .when(PAID)
            .then([])
            .when(CANCEL)
            .refused(Error::OutOfTurn { is: "PAID_OUT" })
            .when(Command::Settle)
            .then([Event::Settled])
            .when(Command::Settle)
            .then([])
            .when(PAID)
            .then([])
            .when(Command::RecordHeld)
            .then([]);
    }

    #[test]
    fn what_is_cancelled_is_not_paid() {
        given::<Payout>(held())
            .when(CANCEL)
            .then([Event::Cancelled { by: actor(2) }])
            .when(CANCEL)
            .then([])
            .when(PAID)
            .refused(Error::OutOfTurn { is: "CANCELLED" })
            .when(Command::Settle)
            .then([Event::Settled])
            .when(PAID)
            .refused(Error::OutOfTurn { is: "CANCELLED" });
    }

    #[test]
    fn what_the_account_refuses_is_refused() {
        let reason = Reason::of(&account::Error::Frozen);
        given::<Payout>([Event::Requested(slip(100))])
            .when(Command::RecordRefused(reason))
            .then([Event::Refused { reason: Reason::Frozen }])
            .when(Command::RecordRefused(reason))
            .then([])
            .when(Command::RecordRefused(Reason::Closed))
            .refused(Error::OutOfTurn { is: "REFUSED" })
            // A driver that held it all the same is too late.
            .when(Command::RecordHeld)
            .refused(Error::OutOfTurn { is: "REFUSED" })
            .when(PAID)
            .refused(Error::OutOfTurn { is: "REFUSED" })
            .when(Command::Settle)
            .then([Event::Settled])
            .when(Command::Settle)
            .then([])
            .when(Command::RecordRefused(reason))
            .then([]);
    }

    #[test]
    fn steps_out_of_their_turn_are_refused() {
        for command in [PAID, CANCEL, Command::Settle, Command::RecordHeld, Command::RecordRefused(Reason::Closed)] {
            given::<Payout>([]).when(command).refused(Error::Unknown);
        }
        for command in [PAID, CANCEL, Command::Settle] {
            let requested = given::<Payout>([Event::Requested(slip(100))]);
            requested.when(command).refused(Error::OutOfTurn { is: "REQUESTED" });
        }
        given::<Payout>(held()).when(Command::Settle).refused(Error::OutOfTurn { is: "HELD" });
        given::<Payout>(held()).when(Command::RecordRefused(Reason::Closed)).refused(Error::OutOfTurn { is: "HELD" });
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        for minor in [0, -1, Money::MAX_MINOR + 1] {
            given::<Payout>([]).when(Command::Request(slip(minor))).refused(Error::BadAmount);
        }
        let subsidy = Slip { account: AccountId::Subsidy(diner(1)), ..slip(100) };
        given::<Payout>([]).when(Command::Request(subsidy)).refused(Error::Subsidy);
        given::<Payout>(held()).when(Command::Request(slip(101))).refused(Error::OtherContent);
    }
}
