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

/// What an account dealt with in the last 30 days, by id, and when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settlements(BTreeMap<String, (Settled, Timestamp)>);

/// An open account. Amounts are minor units of its currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub currency: Currency,
    pub posted: i64,
    pub held: i64,
    pub floor: i64,
    pub frozen: bool,
    holds: BTreeMap<HoldId, i64>,
    settled: Settlements,
}

impl Book {
    fn new(currency: Currency) -> Self {
        let (holds, settled) = (BTreeMap::new(), Settlements::default());
        Book { currency, posted: 0, held: 0, floor: 0, frozen: false, holds, settled }
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
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Account {
    #[default]
    Unopened,
    Open(Book),
    /// It still knows a repeat of what it dealt with.
    Closed(Settlements),
}

impl Account {
    pub fn book(&self) -> Result<&Book, Error> {
        match self {
            Account::Unopened => Err(Error::NotOpen),
            Account::Open(book) => Ok(book),
            Account::Closed(_) => Err(Error::Closed),
        }
    }
}

fn positive(amount: Money) -> Result<(), Error> {
    // Adding nothing checks the bound.
    amount.plus(Money::zero(amount.currency))?;
    if amount.is_positive() { Ok(()) } else { Err(Error::NotPositive) }
}

impl Settlements {
    fn of(&self, id: &impl ToString) -> Option<Settled> {
        self.0.get(&id.to_string()).map(|(settled, _)| *settled)
    }

    fn add(&mut self, id: &impl ToString, how: Settled, at: Timestamp) {
        self.0.insert(id.to_string(), (how, at));
        // Cheap while everything is young: the oldest are looked for only as the list grows.
        if self.0.len().is_multiple_of(64) {
            let forgotten = at.plus_seconds(-REMEMBERED_SECONDS);
            self.0.retain(|_, (_, settled_at)| *settled_at >= forgotten);
        }
    }

    /// The answer to a command whose matter is settled: nothing more for a repeat, an error for a
    /// conflict, and none for what is new.
    fn answer(&self, command: &Command) -> Option<Result<(), Error>> {
        let repeat = |known: Settled, asked: Settled| if known == asked { Ok(()) } else { Err(Error::OtherContent) };
        match command {
            Command::Deposit { deposit, amount } => {
                self.of(deposit).map(|known| repeat(known, Settled::Deposited(amount.minor)))
            }
            Command::Adjust { adjustment, by, .. } => {
                self.of(adjustment).map(|known| repeat(known, Settled::Adjusted(by.minor)))
            }
            Command::Refund { refund, hold, amount, .. } => {
                self.of(&refund_key(*refund, *hold)).map(|known| repeat(known, Settled::Refunded(amount.minor)))
            }
            Command::Hold { hold, amount } => self.of(hold).map(|known| match known {
                Settled::Released => Err(Error::ReleasedAlready),
                known => repeat(known, Settled::Captured(amount.minor)),
            }),
            Command::Capture { hold } => self.of(hold).map(|known| match known {
                Settled::Captured(_) => Ok(()),
                _ => Err(Error::ReleasedAlready),
            }),
            Command::Release { hold } => self.of(hold).map(|known| match known {
                Settled::Released => Ok(()),
                _ => Err(Error::CapturedAlready),
            }),
            Command::SetFloor { .. } | Command::Freeze | Command::Unfreeze | Command::Close => None,
        }
    }
}

impl Book {
    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        self.check_amount(&command)?;
        if let Some(answer) = self.settled.answer(&command) {
            return answer.map(|()| vec![]);
        }
        match command {
            Command::Deposit { deposit, amount } => {
                self.posted().plus(amount)?;
                Ok(vec![Event::Deposited { deposit, amount }])
            }
            Command::Hold { hold, amount } => self.hold(hold, amount),
            Command::Capture { hold } => match self.holds.get(&hold) {
                Some(held) => Ok(vec![Event::Captured { hold, amount: Money::new(*held, self.currency) }]),
                None => Err(Error::UnknownHold),
            },
            Command::Release { hold } => Ok(vec![Event::Released { hold }]),
            Command::Refund { refund, hold, amount, from } => {
                // Only an amount that nobody can be owed would pass the bound.
                self.posted().plus(amount)?;
                Ok(vec![Event::Refunded { refund, hold, amount, from }])
            }
            Command::Adjust { adjustment, by, reason } => {
                self.posted().plus(by)?;
                Ok(vec![Event::Adjusted { adjustment, by, reason }])
            }
            Command::SetFloor { floor } => self.set_floor(floor),
            Command::Freeze if self.frozen => Ok(vec![]),
            Command::Freeze => Ok(vec![Event::Frozen]),
            Command::Unfreeze if self.frozen => Ok(vec![Event::Unfrozen]),
            Command::Unfreeze => Ok(vec![]),
            Command::Close if self.posted == 0 && self.held == 0 => Ok(vec![Event::Closed]),
            Command::Close => Err(Error::NotEmpty),
        }
    }

    /// Currency, sign and bound of the amount that a command brings.
    fn check_amount(&self, command: &Command) -> Result<(), Error> {
        match command {
            Command::Deposit { amount, .. } | Command::Hold { amount, .. } | Command::Refund { amount, .. } => {
                positive(*amount)?;
                self.expect(*amount)
            }
            Command::Adjust { by, .. } if by.is_zero() => Err(Error::NotPositive),
            Command::Adjust { by: amount, .. } | Command::SetFloor { floor: amount } => self.expect(*amount),
            Command::Capture { .. }
            | Command::Release { .. }
            | Command::Freeze
            | Command::Unfreeze
            | Command::Close => Ok(()),
        }
    }

    fn hold(&self, hold: HoldId, amount: Money) -> Result<Vec<Event>, Error> {
        if let Some(held) = self.holds.get(&hold) {
            return if *held == amount.minor { Ok(vec![]) } else { Err(Error::OtherContent) };
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

    fn set_floor(&self, floor: Money) -> Result<Vec<Event>, Error> {
        if floor.is_positive() {
            return Err(Error::BadFloor);
        }
        if floor.minor == self.floor {
            return Ok(vec![]);
        }
        // An overdraft that is in use cannot be taken away: only a correction makes a debt.
        let left = self.posted - self.held - floor.minor;
        if floor.minor > self.floor && left < 0 {
            return Err(Error::Insufficient { short: Money::new(-left, self.currency) });
        }
        Ok(vec![Event::FloorSet { floor }])
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Opened { .. } | Event::Closed | Event::RefundDiverted { .. } => {}
            Event::Deposited { deposit, amount } => {
                self.posted += amount.minor;
                self.settled.add(deposit, Settled::Deposited(amount.minor), at);
            }
            Event::Held { hold, amount } => {
                self.held += amount.minor;
                self.holds.insert(*hold, amount.minor);
            }
            Event::Captured { hold, amount } => {
                self.held -= self.holds.remove(hold).unwrap_or(0);
                self.posted -= amount.minor;
                self.settled.add(hold, Settled::Captured(amount.minor), at);
            }
            Event::Released { hold } => {
                self.held -= self.holds.remove(hold).unwrap_or(0);
                self.settled.add(hold, Settled::Released, at);
            }
            Event::Refunded { refund, hold, amount, .. } => {
                self.posted += amount.minor;
                self.settled.add(&refund_key(*refund, *hold), Settled::Refunded(amount.minor), at);
            }
            Event::Adjusted { adjustment, by, .. } => {
                self.posted += by.minor;
                self.settled.add(adjustment, Settled::Adjusted(by.minor), at);
            }
            Event::FloorSet { floor } => self.floor = floor.minor,
            Event::Frozen => self.frozen = true,
            Event::Unfrozen => self.frozen = false,
        }
    }
}

/// A refund may give back two tenders of one account, so its id alone does not name the credit.
/// The word keeps it apart from the holds of a payment that bears the same UUID.
fn refund_key(refund: RefundId, hold: HoldId) -> String {
    format!("refund:{refund}/{}", hold.tender)
}

fn decide_closed(settled: &Settlements, command: Command) -> Result<Vec<Event>, Error> {
    if let Command::Refund { amount, .. } = command {
        positive(amount)?;
    }
    if let Some(answer) = settled.answer(&command) {
        return answer.map(|()| vec![]);
    }
    match command {
        Command::Refund { refund, hold, amount, from } => {
            Ok(vec![Event::RefundDiverted { refund, hold, amount, from }])
        }
        // Nothing is held any more, and a late hold is refused by the closing.
        Command::Release { .. } | Command::Close => Ok(vec![]),
        Command::Deposit { .. }
        | Command::Hold { .. }
        | Command::Capture { .. }
        | Command::Adjust { .. }
        | Command::SetFloor { .. }
        | Command::Freeze
        | Command::Unfreeze => Err(Error::Closed),
    }
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
            (Account::Closed(settled), command) => decide_closed(settled, command),
        }
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        match (&mut *self, event) {
            (_, Event::Opened { currency }) => *self = Account::Open(Book::new(*currency)),
            (Account::Open(book), Event::Closed) => *self = Account::Closed(std::mem::take(&mut book.settled)),
            (Account::Open(book), event) => book.evolve(event, at),
            (Account::Closed(settled), Event::RefundDiverted { refund, hold, amount, .. }) => {
                settled.add(&refund_key(*refund, *hold), Settled::Refunded(amount.minor), at);
            }
            (Account::Unopened | Account::Closed(_), _) => {}
        }
    }
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
