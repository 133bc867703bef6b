//! What each money-moving event does to the ledger, in one place.
//!
//! Postings of one event sum to zero and touch at most one account that has a limit.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    AccountId, CanteenId, Fact, Money, account, ids::as_text, menu, order, order::RefundFrom, payment,
    payment::Provider, serving,
};

/// An account of the double-entry books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LedgerAccount {
    /// The operator's money in the bank.
    Bank,
    /// What a provider owes the operator.
    Clearing(Provider),
    /// An account with a limit: `wallet:…`, `subsidy:…`, `company:…`.
    Limited(AccountId),
    /// Paid, not yet served.
    Prepaid,
    /// What the operator owes a canteen.
    Canteen(CanteenId),
    /// Money whose owner has to be found, and the other side of corrections.
    Suspense,
}

impl fmt::Display for LedgerAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LedgerAccount::Bank => f.write_str("bank"),
            LedgerAccount::Clearing(provider) => write!(f, "clearing:{}", provider.name()),
            LedgerAccount::Limited(account) => account.fmt(f),
            LedgerAccount::Prepaid => f.write_str("prepaid"),
            LedgerAccount::Canteen(canteen) => write!(f, "canteen:{canteen}"),
            LedgerAccount::Suspense => f.write_str("suspense"),
        }
    }
}

/// A text that does not name a ledger account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a ledger account; examples: bank, prepaid, wallet:ID, canteen:ID, clearing:counter")]
pub struct NotALedgerAccount(pub String);

impl FromStr for LedgerAccount {
    type Err = NotALedgerAccount;

    fn from_str(text: &str) -> Result<Self, NotALedgerAccount> {
        let unknown = || NotALedgerAccount(text.chars().take(80).collect());
        match text.split_once(':') {
            None => match text {
                "bank" => Ok(LedgerAccount::Bank),
                "prepaid" => Ok(LedgerAccount::Prepaid),
                "suspense" => Ok(LedgerAccount::Suspense),
                _ => Err(unknown()),
            },
            Some(("clearing", "counter")) => Ok(LedgerAccount::Clearing(Provider::Counter)),
            Some(("clearing", "elsewhere")) => Ok(LedgerAccount::Clearing(Provider::Elsewhere)),
            Some(("canteen", id)) => id.parse().map(LedgerAccount::Canteen).map_err(|_| unknown()),
            Some(_) => text.parse().map(LedgerAccount::Limited).map_err(|_| unknown()),
        }
    }
}

as_text! { LedgerAccount }

/// One side of a booking: a positive amount is a credit, a negative one a debit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posting {
    pub account: LedgerAccount,
    pub amount: Money,
}

/// The two sides of a movement of `amount`.
fn moved(from: LedgerAccount, to: LedgerAccount, amount: Money) -> Vec<Posting> {
    if amount.is_zero() {
        return vec![];
    }
    vec![Posting { account: from, amount: amount.negated() }, Posting { account: to, amount }]
}

impl From<RefundFrom> for LedgerAccount {
    fn from(from: RefundFrom) -> Self {
        match from {
            RefundFrom::Prepaid => LedgerAccount::Prepaid,
            RefundFrom::Canteen(canteen) => LedgerAccount::Canteen(canteen),
        }
    }
}

/// What `fact` does to the books; nothing, for most.
pub fn postings(fact: &Fact) -> Vec<Posting> {
    match fact {
        Fact::Account(id, event) => of_account(LedgerAccount::Limited(*id), event),
        Fact::Payment(_, event) => of_payment(event),
        Fact::Order(_, event) => of_order(event),
        Fact::Menu(_, menu::Event::Opened { .. } | menu::Event::DishPut { .. } | menu::Event::DishRetired { .. }) => {
            vec![]
        }
        Fact::Serving(
            _,
            serving::Event::Published(_)
            | serving::Event::Reserved { .. }
            | serving::Event::Released { .. }
            | serving::Event::PortionsSet { .. }
            | serving::Event::PriceSet { .. }
            | serving::Event::DishWithdrawn { .. }
            | serving::Event::Withdrawn { .. }
            | serving::Event::WithdrawalSettled { .. },
        ) => vec![],
    }
}

fn of_account(account: LedgerAccount, event: &account::Event) -> Vec<Posting> {
    use account::Event;
    match event {
        Event::Deposited { amount, .. } => moved(LedgerAccount::Bank, account, *amount),
        Event::Captured { amount, .. } => moved(account, LedgerAccount::Prepaid, *amount),
        Event::Refunded { amount, from, .. } => moved((*from).into(), account, *amount),
        Event::RefundDiverted { amount, from, .. } => moved((*from).into(), LedgerAccount::Suspense, *amount),
        Event::Adjusted { by, .. } => moved(LedgerAccount::Suspense, account, *by),
        Event::Opened { .. }
        | Event::Held { .. }
        | Event::Released { .. }
        | Event::FloorSet { .. }
        | Event::Frozen
        | Event::Unfrozen
        | Event::Closed => vec![],
    }
}

fn of_payment(event: &payment::Event) -> Vec<Posting> {
    use payment::Event;
    match event {
        Event::Paid { provider, amount, .. } => {
            moved(LedgerAccount::Clearing(*provider), LedgerAccount::Prepaid, *amount)
        }
        Event::PaidBack { provider, amount, from, .. } => {
            moved((*from).into(), LedgerAccount::Clearing(*provider), *amount)
        }
        Event::Started { .. }
        | Event::Held
        | Event::Captured
        | Event::Released
        | Event::RefundBegun { .. }
        | Event::RefundSettled { .. } => vec![],
    }
}

fn of_order(event: &order::Event) -> Vec<Posting> {
    use order::Event;
    match event {
        Event::PickedUp { canteen, recognised } | Event::NoShow { canteen, recognised } => {
            moved(LedgerAccount::Prepaid, LedgerAccount::Canteen(*canteen), *recognised)
        }
        Event::Placed(_)
        | Event::Confirmed
        | Event::Refused(_)
        | Event::Expired
        | Event::Preparing
        | Event::Readied { .. }
        | Event::Cancelled { .. }
        | Event::RefundBegun { .. }
        | Event::RefundSettled { .. } => vec![],
    }
}
