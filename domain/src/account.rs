//! Money that Tiffin guards with a limit: a company's funds, a diner's wallet or subsidy.
//! Available is posted less held, and never falls below the floor.

mod book;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    AccountId, Aggregate, Currency, GrantRunId, HoldId, InvoiceId, LotId, Money, MoneyError, PayoutId, RefundId,
    StreamKind, Timestamp,
    lot::{self, MAX_LOTS},
    order::RefundFrom,
    settlements::{Settled, Settlements, refund_key},
    top_up::Source,
};

pub use self::book::Book;
use self::book::positive;

/// Most payouts of one account that are held at a time.
pub const MAX_PAYOUTS: usize = 16;

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

/// What a company sees of its diners' meals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disclosure {
    /// How many orders its subsidies paid for and how much; not what was eaten.
    #[default]
    Amounts,
    /// The names of the dishes too.
    Dishes,
}

impl AdjustReason {
    pub const ALL: [AdjustReason; 3] = [AdjustReason::Correction, AdjustReason::Reconciliation, AdjustReason::Goodwill];

    pub fn name(self) -> &'static str {
        match self {
            AdjustReason::Correction => "correction",
            AdjustReason::Reconciliation => "reconciliation",
            AdjustReason::Goodwill => "goodwill",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Money of a top-up. The first one opens the account, with a floor of zero.
    Deposit {
        deposit: Uuid,
        amount: Money,
        source: Source,
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
    /// Ends these lots before their time, as an expiry does. Those that it does not have, or have ended, are no matter.
    Clear {
        lots: Vec<LotId>,
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
    /// Sets aside what the owner wants to take out. Money in lots cannot be.
    HoldPayout {
        payout: PayoutId,
        amount: Money,
    },
    /// What was set aside has left by the bank. Never refused for a freeze.
    PayOut {
        payout: PayoutId,
    },
    /// Gives up what was set aside. One that comes first refuses the late one.
    ReleasePayout {
        payout: PayoutId,
    },
    /// A correction; it alone may take the balance below the floor.
    Adjust {
        adjustment: Uuid,
        by: Money,
        reason: AdjustReason,
    },
    /// The lowest available balance, zero or negative: an overdraft, which is a company's credit limit. A
    /// negative one opens the account.
    SetFloor {
        floor: Money,
    },
    /// Asks a company for all that it owes. What is asked for and not paid uses up its credit all the same.
    Invoice {
        invoice: InvoiceId,
        /// The last day whose meals it is for.
        through: Date,
        /// The last day to pay it in time.
        due_on: Date,
    },
    /// A payment of an invoice is in the bank: so much credit is free again.
    TakePayment {
        invoice: InvoiceId,
        payment: Uuid,
        amount: Money,
    },
    /// An invoice is void: its amount is owed as before it.
    TakeBackInvoice {
        invoice: InvoiceId,
        amount: Money,
    },
    /// What a company sees of its diners' meals.
    SetDisclosure {
        disclosure: Disclosure,
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
        /// The bank, if it is not said.
        #[serde(default, skip_serializing_if = "Source::is_bank")]
        source: Source,
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
        /// That it should have gone back to; one recorded before it was noted says none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lot: Option<LotId>,
    },
    /// A lot has expired or was cleared, or what was held of such a one came free: the money goes to `breakage`.
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
    PayoutHeld {
        payout: PayoutId,
        amount: Money,
    },
    PaidOut {
        payout: PayoutId,
        amount: Money,
    },
    /// Nothing, when it came before what it gives up.
    PayoutReleased {
        payout: PayoutId,
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
    /// All that the company owed is asked for: it is a receivable now.
    Invoiced {
        invoice: InvoiceId,
        number: u32,
        amount: Money,
        #[schemars(with = "String")]
        through: Date,
        #[schemars(with = "String")]
        due_on: Date,
    },
    /// The money is booked with the invoice's own event.
    InvoicePaid {
        invoice: InvoiceId,
        payment: Uuid,
        amount: Money,
    },
    InvoiceVoided {
        invoice: InvoiceId,
        amount: Money,
    },
    DisclosureSet {
        disclosure: Disclosure,
    },
    Frozen,
    Unfrozen,
    Closed,
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[
        ("Opened", 1),
        ("Deposited", 2),
        ("Granted", 1),
        ("Held", 2),
        ("Captured", 1),
        ("Released", 1),
        ("Refunded", 2),
        ("RefundLapsed", 1),
        ("Lapsed", 1),
        ("Allocated", 1),
        ("TakenBack", 1),
        ("RefundDiverted", 2),
        ("PayoutHeld", 1),
        ("PaidOut", 1),
        ("PayoutReleased", 1),
        ("Adjusted", 1),
        ("FloorSet", 1),
        ("Invoiced", 1),
        ("InvoicePaid", 1),
        ("InvoiceVoided", 1),
        ("DisclosureSet", 1),
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
            Event::PayoutHeld { .. } => "PayoutHeld",
            Event::PaidOut { .. } => "PaidOut",
            Event::PayoutReleased { .. } => "PayoutReleased",
            Event::Adjusted { .. } => "Adjusted",
            Event::FloorSet { .. } => "FloorSet",
            Event::Invoiced { .. } => "Invoiced",
            Event::InvoicePaid { .. } => "InvoicePaid",
            Event::InvoiceVoided { .. } => "InvoiceVoided",
            Event::DisclosureSet { .. } => "DisclosureSet",
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
    #[error("an account has at most {MAX_PAYOUTS} payouts under way at a time")]
    TooManyPayouts,
    #[error("an overdraft is a floor of zero or less")]
    BadFloor,
    #[error("the company owes nothing that could be invoiced")]
    NothingOwed,
    #[error("{asked} is more than the {open} that invoices have open")]
    NotReceivable { asked: Money, open: Money },
    #[error(
        "an account closes only with nothing posted, nothing held and no invoice open; this one has {posted} posted \
         and {held} held, so its balance is to be paid out first"
    )]
    NotEmpty { posted: Money, held: Money },
    #[error(transparent)]
    Money(#[from] MoneyError),
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

fn decide_closed(settled: &Settlements, command: Command) -> Result<Vec<Event>, Error> {
    if let Command::Refund { amount, .. } = command {
        positive(amount)?;
    }
    if let Some(answer) = settled.answer(&command) {
        return answer.map(|()| vec![]);
    }
    match command {
        Command::Refund { refund, hold, amount, from, lot } => {
            Ok(vec![Event::RefundDiverted { refund, hold, amount, from, lot }])
        }
        // Nothing is held any more, and a late hold is refused by the closing.
        Command::Release { .. }
        | Command::ReleasePayout { .. }
        | Command::Expire { .. }
        | Command::Clear { .. }
        | Command::Close => Ok(vec![]),
        Command::Deposit { .. }
        | Command::Grant { .. }
        | Command::Hold { .. }
        | Command::Allocate { .. }
        | Command::TakeBack { .. }
        | Command::Capture { .. }
        | Command::HoldPayout { .. }
        | Command::PayOut { .. }
        | Command::Adjust { .. }
        | Command::SetFloor { .. }
        | Command::Invoice { .. }
        | Command::TakePayment { .. }
        | Command::TakeBackInvoice { .. }
        | Command::SetDisclosure { .. }
        | Command::Freeze
        | Command::Unfreeze => Err(Error::Closed),
    }
}

impl Aggregate for Account {
    const NAME: &'static str = "account";
    const STATE_VERSION: u32 = 3;
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
            (Account::Unopened, Command::Deposit { deposit, amount, source }) => {
                positive(amount)?;
                Ok(vec![Event::Opened { currency: amount.currency }, Event::Deposited { deposit, amount, source }])
            }
            (Account::Unopened, Command::Grant { lot, terms, amount, at }) => {
                positive(amount)?;
                let granted = Book::new(amount.currency).grant(lot, terms, amount, at)?;
                Ok([Event::Opened { currency: amount.currency }].into_iter().chain(granted).collect())
            }
            (Account::Unopened, Command::SetFloor { floor }) if floor.minor < 0 => {
                let set = Book::new(floor.currency).decide(Command::SetFloor { floor })?;
                Ok([Event::Opened { currency: floor.currency }].into_iter().chain(set).collect())
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
