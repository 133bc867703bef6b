//! Money that Tiffin guards with a limit: a company's funds, a diner's wallet or subsidy.
//! Available is posted less held, and never falls below the floor.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    AccountId, Aggregate, Currency, GrantRunId, HoldId, LotId, Money, MoneyError, RefundId, StreamKind, Timestamp,
    lot::{self, Lots, MAX_LOTS},
    order::RefundFrom,
    settlements::{Settled, Settlements, batch_key, refund_key, run_key},
};

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
    /// Money of a run of grants, spent as its terms say. The first one opens the account.
    Grant {
        lot: LotId,
        terms: lot::Terms,
        amount: Money,
        at: Timestamp,
    },
    /// From a lot, if it names one; else from what is in none.
    Hold {
        hold: HoldId,
        amount: Money,
        from: Option<(LotId, lot::Use)>,
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
        /// That its tender came from: it goes back there, or lapses if that has expired.
        lot: Option<LotId>,
    },
    /// Ends every lot whose time has come. What is held of one stays held.
    Expire {
        at: Timestamp,
    },
    /// Sets company money aside for a batch of a run of grants.
    Allocate {
        run: GrantRunId,
        batch: u32,
        amount: Money,
    },
    /// What a run of grants did not need.
    TakeBack {
        run: GrantRunId,
        amount: Money,
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
    Granted {
        lot: LotId,
        terms: lot::Terms,
        amount: Money,
    },
    Held {
        hold: HoldId,
        amount: Money,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lot: Option<LotId>,
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lot: Option<LotId>,
    },
    /// A refund to a lot that has expired: the money goes to `breakage`.
    RefundLapsed {
        refund: RefundId,
        hold: HoldId,
        amount: Money,
        from: RefundFrom,
        lot: LotId,
    },
    /// A refund to an account that is closed: the money waits in `suspense`.
    RefundDiverted {
        refund: RefundId,
        hold: HoldId,
        amount: Money,
        from: RefundFrom,
    },
    /// A lot has expired, or what was held of an expired one came free: the money goes to `breakage`.
    Lapsed {
        lot: LotId,
        amount: Money,
    },
    /// Company money on its way to diners.
    Allocated {
        run: GrantRunId,
        batch: u32,
        amount: Money,
    },
    TakenBack {
        run: GrantRunId,
        amount: Money,
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
        ("Granted", 1),
        ("Held", 2),
        ("Captured", 1),
        ("Released", 1),
        ("Refunded", 2),
        ("RefundLapsed", 1),
        ("Lapsed", 1),
        ("Allocated", 1),
        ("TakenBack", 1),
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
            Event::Granted { .. } => "Granted",
            Event::Held { .. } => "Held",
            Event::Captured { .. } => "Captured",
            Event::Released { .. } => "Released",
            Event::Refunded { .. } => "Refunded",
            Event::RefundLapsed { .. } => "RefundLapsed",
            Event::RefundDiverted { .. } => "RefundDiverted",
            Event::Lapsed { .. } => "Lapsed",
            Event::Allocated { .. } => "Allocated",
            Event::TakenBack { .. } => "TakenBack",
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
    #[error("that lot of the subsidy does not pay for this serving")]
    LotNotForThis,
    #[error("a lot that has expired cannot be granted")]
    LotOver,
    #[error("an account keeps at most {MAX_LOTS} lots at a time")]
    TooManyLots,
    #[error("an overdraft is a floor of zero or less")]
    BadFloor,
    #[error("an account closes only with nothing posted and nothing held")]
    NotEmpty,
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// An open account. Amounts are minor units of its currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub currency: Currency,
    pub posted: i64,
    pub held: i64,
    pub floor: i64,
    pub frozen: bool,
    /// Money in no lot pays for anything and does not expire.
    pub lots: Lots,
    holds: BTreeMap<HoldId, Hold>,
    settled: Settlements,
}

/// What is held, and of which lot.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Hold {
    minor: i64,
    lot: Option<LotId>,
}

impl Book {
    fn new(currency: Currency) -> Self {
        let (lots, holds, settled) = (Lots::default(), BTreeMap::new(), Settlements::default());
        Book { currency, posted: 0, held: 0, floor: 0, frozen: false, lots, holds, settled }
    }

    /// What can be held that is in no lot.
    pub fn loose(&self) -> Money {
        Money::new(self.available().minor - self.lots.free(), self.currency)
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
            Command::Grant { lot, terms, amount, at } => self.grant(lot, terms, amount, at),
            Command::Hold { hold, amount, from } => self.hold(hold, amount, from),
            Command::Capture { hold } => match self.holds.get(&hold) {
                Some(held) => Ok(vec![Event::Captured { hold, amount: Money::new(held.minor, self.currency) }]),
                None => Err(Error::UnknownHold),
            },
            Command::Release { hold } => Ok(self.release(hold)),
            Command::Refund { refund, hold, amount, from, lot } => {
                // Only an amount that nobody can be owed would pass the bound.
                self.posted().plus(amount)?;
                Ok(vec![match lot {
                    Some(lot) if self.lots.get(lot).is_none_or(|lot| lot.expired) => {
                        Event::RefundLapsed { refund, hold, amount, from, lot }
                    }
                    lot => Event::Refunded { refund, hold, amount, from, lot },
                }])
            }
            Command::Expire { at } => Ok(self.expire(at)),
            Command::Allocate { run, batch, amount } => {
                self.spendable(amount)?;
                Ok(vec![Event::Allocated { run, batch, amount }])
            }
            Command::TakeBack { run, amount } => {
                self.posted().plus(amount)?;
                Ok(vec![Event::TakenBack { run, amount }])
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
            Command::Deposit { amount, .. }
            | Command::Grant { amount, .. }
            | Command::Hold { amount, .. }
            | Command::Refund { amount, .. }
            | Command::Allocate { amount, .. }
            | Command::TakeBack { amount, .. } => {
                positive(*amount)?;
                self.expect(*amount)
            }
            Command::Adjust { by, .. } if by.is_zero() => Err(Error::NotPositive),
            Command::Adjust { by: amount, .. } | Command::SetFloor { floor: amount } => self.expect(*amount),
            Command::Capture { .. }
            | Command::Release { .. }
            | Command::Expire { .. }
            | Command::Freeze
            | Command::Unfreeze
            | Command::Close => Ok(()),
        }
    }

    fn grant(&self, lot: LotId, terms: lot::Terms, amount: Money, at: Timestamp) -> Result<Vec<Event>, Error> {
        if let Some(known) = self.lots.get(lot) {
            // A later run for the same time finds it granted.
            return if known.terms.policy == terms.policy { Ok(vec![]) } else { Err(Error::OtherContent) };
        }
        // One that expired and was forgotten cannot come again.
        if at >= terms.expires_at {
            return Err(Error::LotOver);
        }
        if self.lots.len() >= MAX_LOTS {
            return Err(Error::TooManyLots);
        }
        self.posted().plus(amount)?;
        Ok(vec![Event::Granted { lot, terms, amount }])
    }

    fn hold(&self, hold: HoldId, amount: Money, from: Option<(LotId, lot::Use)>) -> Result<Vec<Event>, Error> {
        let lot = from.map(|(lot, _)| lot);
        if let Some(held) = self.holds.get(&hold) {
            return if *held == (Hold { minor: amount.minor, lot }) { Ok(vec![]) } else { Err(Error::OtherContent) };
        }
        self.spendable(amount)?;
        let free = match from {
            None => self.loose().minor,
            Some((lot, of)) => match self.lots.get(lot) {
                Some(lot) if of.at >= lot.terms.expires_at => 0,
                Some(lot) if !lot.terms.pays_for(of) => return Err(Error::LotNotForThis),
                Some(lot) => lot.free(),
                None => 0,
            },
        };
        if free < amount.minor {
            return Err(Error::Insufficient { short: Money { minor: amount.minor - free, ..amount } });
        }
        Ok(vec![Event::Held { hold, amount, lot }])
    }

    /// Whether so much can go out, of whatever it is.
    fn spendable(&self, amount: Money) -> Result<(), Error> {
        if self.frozen {
            return Err(Error::Frozen);
        }
        let left = self.available().minus(amount)?;
        if left.minor < 0 {
            return Err(Error::Insufficient { short: left.negated() });
        }
        Ok(())
    }

    /// Gives up a hold. What it held of a lot that has expired meanwhile lapses.
    fn release(&self, hold: HoldId) -> Vec<Event> {
        let held = self.holds.get(&hold);
        let expired = held.and_then(|held| {
            let lot = held.lot?;
            let free = held.minor.min((self.posted - self.held + held.minor).max(0));
            self.lots.get(lot)?.expired.then_some(Event::Lapsed { lot, amount: Money::new(free, self.currency) })
        });
        [Event::Released { hold }].into_iter().chain(expired).collect()
    }

    /// What lapses is never more than is posted and not held: expiry makes no debt.
    fn expire(&self, at: Timestamp) -> Vec<Event> {
        let mut free = (self.posted - self.held).max(0);
        let lapsed = self.lots.due(at).map(|(lot, minor)| {
            let minor = minor.min(free);
            free -= minor;
            Event::Lapsed { lot, amount: Money::new(minor, self.currency) }
        });
        lapsed.collect()
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
            Event::Granted { lot, terms, amount } => {
                self.posted += amount.minor;
                self.lots.grant(*lot, *terms, amount.minor);
            }
            Event::Held { hold, amount, lot } => {
                self.held += amount.minor;
                self.holds.insert(*hold, Hold { minor: amount.minor, lot: *lot });
                if let Some(lot) = lot {
                    self.lots.hold(*lot, amount.minor);
                }
            }
            Event::Captured { hold, amount } => {
                self.unhold(*hold, amount.minor);
                self.posted -= amount.minor;
                self.settled.add(hold, Settled::Captured(amount.minor), at);
            }
            Event::Released { hold } => {
                self.unhold(*hold, 0);
                self.settled.add(hold, Settled::Released, at);
            }
            Event::Refunded { refund, hold, amount, lot, .. } => {
                self.posted += amount.minor;
                if let Some(lot) = lot {
                    self.lots.refund(*lot, amount.minor);
                }
                self.settled.add(&refund_key(*refund, *hold), Settled::Refunded(amount.minor), at);
            }
            Event::RefundLapsed { refund, hold, amount, .. } => {
                self.settled.add(&refund_key(*refund, *hold), Settled::Refunded(amount.minor), at);
            }
            Event::Lapsed { lot, amount } => {
                self.posted -= amount.minor;
                self.lots.lapse(*lot);
            }
            Event::Allocated { run, batch, amount } => {
                self.posted -= amount.minor;
                self.settled.add(&batch_key(*run, *batch), Settled::Allocated(amount.minor), at);
            }
            Event::TakenBack { run, amount } => {
                self.posted += amount.minor;
                self.settled.add(&run_key(*run), Settled::TakenBack(amount.minor), at);
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

    fn unhold(&mut self, hold: HoldId, spent: i64) {
        let Some(Hold { minor, lot }) = self.holds.remove(&hold) else { return };
        self.held -= minor;
        if let Some(lot) = lot {
            self.lots.unhold(lot, minor, spent);
        }
    }
}

fn decide_closed(settled: &Settlements, command: Command) -> Result<Vec<Event>, Error> {
    if let Command::Refund { amount, .. } = command {
        positive(amount)?;
    }
    if let Some(answer) = settled.answer(&command) {
        return answer.map(|()| vec![]);
    }
    match command {
        Command::Refund { refund, hold, amount, from, .. } => {
            Ok(vec![Event::RefundDiverted { refund, hold, amount, from }])
        }
        // Nothing is held any more, and a late hold is refused by the closing.
        Command::Release { .. } | Command::Expire { .. } | Command::Close => Ok(vec![]),
        Command::Deposit { .. }
        | Command::Grant { .. }
        | Command::Hold { .. }
        | Command::Allocate { .. }
        | Command::TakeBack { .. }
        | Command::Capture { .. }
        | Command::Adjust { .. }
        | Command::SetFloor { .. }
        | Command::Freeze
        | Command::Unfreeze => Err(Error::Closed),
    }
}

impl Aggregate for Account {
    const NAME: &'static str = "account";
    const STATE_VERSION: u32 = 2;
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
            (Account::Unopened, Command::Grant { lot, terms, amount, at }) => {
                positive(amount)?;
                let granted = Book::new(amount.currency).grant(lot, terms, amount, at)?;
                Ok([Event::Opened { currency: amount.currency }].into_iter().chain(granted).collect())
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
