//! Money that Tiffin guards with a limit: a company's funds, a diner's wallet or subsidy.
//! Available is posted less held, and never falls below the floor.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    AccountId, Aggregate, Currency, HoldId, Money, MoneyError, RefundId, StreamKind, Timestamp, order::RefundFrom,
};

/// How long an account remembers an id that it has dealt with, in seconds: 30 days.
pub const REMEMBERED_SECONDS: i64 = 30 * 24 * 60 * 60;

/// What a correction of a balance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdjustReason {
    /// A mistake in an earlier booking.
    Correction,
    /// Found when the books were reconciled.
    Reconciliation,
    /// A kindness of the operator.
    Goodwill,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Money from the bank. The first one opens the account, with a floor of zero.
    Deposit {
        deposit: Uuid,
        amount: Money,
    },
    Hold {
        hold: HoldId,
        amount: Money,
    },
    /// Takes what is held. Never refused for a freeze.
    Capture {
        hold: HoldId,
    },
    /// Gives up a hold. One that comes first refuses the late hold.
    Release {
        hold: HoldId,
    },
    /// A credit that is owed: never refused.
    Refund {
        refund: RefundId,
        hold: HoldId,
        amount: Money,
        from: RefundFrom,
    },
    /// A correction; it alone may take the balance below the floor.
    Adjust {
        adjustment: Uuid,
        by: Money,
        reason: AdjustReason,
    },
    /// The lowest available balance, zero or negative: an overdraft.
    SetFloor {
        floor: Money,
    },
    Freeze,
    Unfreeze,
    /// Ends the account, with nothing posted or held.
    Close,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Opened {
        currency: Currency,
    },
    Deposited {
        deposit: Uuid,
        amount: Money,
    },
    Held {
        hold: HoldId,
        amount: Money,
    },
    Captured {
        hold: HoldId,
        amount: Money,
    },
    Released {
        hold: HoldId,
    },
    Refunded {
        refund: RefundId,
        hold: HoldId,
        amount: Money,
        from: RefundFrom,
    },
    /// A refund to an account that is closed: the money waits in `suspense`.
    RefundDiverted {
        refund: RefundId,
        hold: HoldId,
        amount: Money,
        from: RefundFrom,
    },
    Adjusted {
        adjustment: Uuid,
        by: Money,
        reason: AdjustReason,
    },
    FloorSet {
        floor: Money,
    },
    Frozen,
    Unfrozen,
    Closed,
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[
        ("Opened", 1),
        ("Deposited", 1),
        ("Held", 1),
        ("Captured", 1),
        ("Released", 1),
        ("Refunded", 1),
        ("RefundDiverted", 1),
        ("Adjusted", 1),
        ("FloorSet", 1),
        ("Frozen", 1),
        ("Unfrozen", 1),
        ("Closed", 1),
    ];

    fn name(&self) -> &'static str {
        match self {
            Event::Opened { .. } => "Opened",
            Event::Deposited { .. } => "Deposited",
            Event::Held { .. } => "Held",
            Event::Captured { .. } => "Captured",
            Event::Released { .. } => "Released",
            Event::Refunded { .. } => "Refunded",
            Event::RefundDiverted { .. } => "RefundDiverted",
            Event::Adjusted { .. } => "Adjusted",
            Event::FloorSet { .. } => "FloorSet",
            Event::Frozen => "Frozen",
            Event::Unfrozen => "Unfrozen",
            Event::Closed => "Closed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no such account")]
    NotOpen,
    #[error("the account is closed")]
    Closed,
    #[error("the account is frozen")]
    Frozen,
    #[error("the amount must be more than zero")]
    NotPositive,
    #[error("{short} is missing")]
    Insufficient { short: Money },
    #[error("the hold was given up before it was made")]
    ReleasedAlready,
    #[error("the hold was captured already")]
    CapturedAlready,
    #[error("nothing is held for that")]
    UnknownHold,
    #[error("that id was used for another amount")]
    OtherContent,
    #[error("an overdraft is a floor of zero or less")]
    BadFloor,
    #[error("an account closes only with nothing posted and nothing held")]
    NotEmpty,
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// How something that the account was asked once has ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Settled {
    Deposited(i64),
    Captured(i64),
    Released,
    Refunded(i64),
    Adjusted(i64),
}

/// An open account. Amounts are minor units of its currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub currency: Currency,
    pub posted: i64,
    pub held: i64,
    pub floor: i64,
    pub frozen: bool,
    holds: BTreeMap<HoldId, i64>,
    /// What was dealt with in the last 30 days, and when.
    settled: BTreeMap<String, (Settled, Timestamp)>,
}

impl Book {
    fn new(currency: Currency) -> Self {
        Book { currency, posted: 0, held: 0, floor: 0, frozen: false, holds: BTreeMap::new(), settled: BTreeMap::new() }
    }

    /// What can be held: posted less held, above the floor. Negative after a debt.
    pub fn available(&self) -> Money {
        Money::new(self.posted - self.held - self.floor, self.currency)
    }

    pub fn posted(&self) -> Money {
        Money::new(self.posted, self.currency)
    }

    pub fn held(&self) -> Money {
        Money::new(self.held, self.currency)
    }

    fn expect(&self, amount: Money) -> Result<(), Error> {
        Money::zero(self.currency).plus(amount)?;
        Ok(())
    }

    fn settled(&self, id: &impl ToString) -> Option<Settled> {
        self.settled.get(&id.to_string()).map(|(settled, _)| *settled)
    }

    fn settle(&mut self, id: &impl ToString, how: Settled, at: Timestamp) {
        self.settled.insert(id.to_string(), (how, at));
        // Cheap while everything is young: the oldest are looked for only as the list grows.
        if self.settled.len().is_multiple_of(64) {
            let forgotten = at.plus_seconds(-REMEMBERED_SECONDS);
            self.settled.retain(|_, (_, settled_at)| *settled_at >= forgotten);
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Account {
    #[default]
    Unopened,
    Open(Book),
    Closed,
}

impl Account {
    pub fn book(&self) -> Result<&Book, Error> {
        match self {
            Account::Unopened => Err(Error::NotOpen),
            Account::Open(book) => Ok(book),
            Account::Closed => Err(Error::Closed),
        }
    }
}

fn positive(amount: Money) -> Result<(), Error> {
    // Adding nothing checks the bound.
    amount.plus(Money::zero(amount.currency))?;
    if amount.is_positive() { Ok(()) } else { Err(Error::NotPositive) }
}

/// Nothing, when `known` is exactly what is asked again; else it is a conflict.
fn repeated(known: Settled, asked: Settled) -> Result<Vec<Event>, Error> {
    if known == asked { Ok(vec![]) } else { Err(Error::OtherContent) }
}

impl Book {
    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match command {
            Command::Deposit { deposit, amount } => {
                positive(amount)?;
                self.expect(amount)?;
                if let Some(known) = self.settled(&deposit) {
                    return repeated(known, Settled::Deposited(amount.minor));
                }
                self.posted().plus(amount)?;
                Ok(vec![Event::Deposited { deposit, amount }])
            }
            Command::Hold { hold, amount } => {
                positive(amount)?;
                self.expect(amount)?;
                if let Some(held) = self.holds.get(&hold) {
                    return if *held == amount.minor { Ok(vec![]) } else { Err(Error::OtherContent) };
                }
                match self.settled(&hold) {
                    Some(Settled::Released) => return Err(Error::ReleasedAlready),
                    Some(known) => return repeated(known, Settled::Captured(amount.minor)),
                    None => {}
                }
                if self.frozen {
                    return Err(Error::Frozen);
                }
                let left = self.available().minus(amount)?;
                if left.minor < 0 {
                    return Err(Error::Insufficient { short: left.negated() });
                }
                Ok(vec![Event::Held { hold, amount }])
            }
            Command::Capture { hold } => match (self.holds.get(&hold), self.settled(&hold)) {
                (Some(held), _) => Ok(vec![Event::Captured { hold, amount: Money::new(*held, self.currency) }]),
                (None, Some(Settled::Captured(_))) => Ok(vec![]),
                (None, Some(_)) => Err(Error::ReleasedAlready),
                (None, None) => Err(Error::UnknownHold),
            },
            Command::Release { hold } => match self.settled(&hold) {
                Some(Settled::Released) => Ok(vec![]),
                Some(_) => Err(Error::CapturedAlready),
                None => Ok(vec![Event::Released { hold }]),
            },
            Command::Refund { refund, hold, amount, from } => {
                positive(amount)?;
                self.expect(amount)?;
                match self.settled(&refund_key(refund, hold)) {
                    Some(known) => repeated(known, Settled::Refunded(amount.minor)),
                    None => Ok(vec![Event::Refunded { refund, hold, amount, from }]),
                }
            }
            Command::Adjust { adjustment, by, reason } => {
                self.expect(by)?;
                if by.is_zero() {
                    return Err(Error::NotPositive);
                }
                if let Some(known) = self.settled(&adjustment) {
                    return repeated(known, Settled::Adjusted(by.minor));
                }
                self.posted().plus(by)?;
                Ok(vec![Event::Adjusted { adjustment, by, reason }])
            }
            Command::SetFloor { floor } => {
                self.expect(floor)?;
                match floor.minor {
                    1.. => Err(Error::BadFloor),
                    same if same == self.floor => Ok(vec![]),
                    _ => Ok(vec![Event::FloorSet { floor }]),
                }
            }
            Command::Freeze if self.frozen => Ok(vec![]),
            Command::Freeze => Ok(vec![Event::Frozen]),
            Command::Unfreeze if self.frozen => Ok(vec![Event::Unfrozen]),
            Command::Unfreeze => Ok(vec![]),
            Command::Close if self.posted == 0 && self.held == 0 => Ok(vec![Event::Closed]),
            Command::Close => Err(Error::NotEmpty),
        }
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Opened { .. } | Event::Closed | Event::RefundDiverted { .. } => {}
            Event::Deposited { deposit, amount } => {
                self.posted += amount.minor;
                self.settle(deposit, Settled::Deposited(amount.minor), at);
            }
            Event::Held { hold, amount } => {
                self.held += amount.minor;
                self.holds.insert(*hold, amount.minor);
            }
            Event::Captured { hold, amount } => {
                self.held -= self.holds.remove(hold).unwrap_or(0);
                self.posted -= amount.minor;
                self.settle(hold, Settled::Captured(amount.minor), at);
            }
            Event::Released { hold } => {
                self.held -= self.holds.remove(hold).unwrap_or(0);
                self.settle(hold, Settled::Released, at);
            }
            Event::Refunded { refund, hold, amount, .. } => {
                self.posted += amount.minor;
                self.settle(&refund_key(*refund, *hold), Settled::Refunded(amount.minor), at);
            }
            Event::Adjusted { adjustment, by, .. } => {
                self.posted += by.minor;
                self.settle(adjustment, Settled::Adjusted(by.minor), at);
            }
            Event::FloorSet { floor } => self.floor = floor.minor,
            Event::Frozen => self.frozen = true,
            Event::Unfrozen => self.frozen = false,
        }
    }
}

/// A refund may give back two tenders of one account, so its id alone does not name the credit.
fn refund_key(refund: RefundId, hold: HoldId) -> String {
    format!("{refund}/{}", hold.tender)
}

impl Aggregate for Account {
    const NAME: &'static str = "account";
    const STATE_VERSION: u32 = 1;
    type Id = AccountId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: AccountId) -> (StreamKind, Uuid) {
        crate::fact::account_stream(id)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Account::Open(book), command) => book.decide(command),
            (Account::Unopened, Command::Deposit { deposit, amount }) => {
                positive(amount)?;
                Ok(vec![Event::Opened { currency: amount.currency }, Event::Deposited { deposit, amount }])
            }
            (Account::Unopened, _) => Err(Error::NotOpen),
            (Account::Closed, Command::Refund { refund, hold, amount, from }) => {
                positive(amount)?;
                Ok(vec![Event::RefundDiverted { refund, hold, amount, from }])
            }
            (Account::Closed, Command::Close) => Ok(vec![]),
            (Account::Closed, _) => Err(Error::Closed),
        }
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        match (&mut *self, event) {
            (_, Event::Opened { currency }) => *self = Account::Open(Book::new(*currency)),
            (_, Event::Closed) => *self = Account::Closed,
            (Account::Open(book), event) => book.evolve(event, at),
            (Account::Unopened | Account::Closed, _) => {}
        }
    }
}
