//! How one order is paid: tenders in the order of deduction, each Planned → Held → Captured →
//! partly or wholly Refunded; or Released.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Aggregate, DinerId, LotId, Money, OrderId, PaymentId, PolicyId, RefundId, StreamKind, Timestamp,
    order::RefundFrom,
};

/// Most tenders of one payment.
pub const MAX_TENDERS: usize = 8;

/// Who takes money that Tiffin does not guard itself. Its ledger account is `clearing:{provider}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The canteen's own till.
    Counter,
    /// Another till, before its history was imported.
    Elsewhere,
}

impl Provider {
    pub fn name(self) -> &'static str {
        match self {
            Provider::Counter => "counter",
            Provider::Elsewhere => "elsewhere",
        }
    }
}

/// Where a tender's money comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// What is in no lot of it.
    Account(AccountId),
    /// One lot of a diner's subsidy. The payment remembers it for as long as money may go back.
    Lot(DinerId, LotId),
    External(Provider),
}

impl Source {
    /// The account that Tiffin guards, unless somebody else has the money.
    pub fn account(self) -> Option<AccountId> {
        match self {
            Source::Account(account) => Some(account),
            Source::Lot(diner, _) => Some(AccountId::Subsidy(diner)),
            Source::External(_) => None,
        }
    }

    pub fn lot(self) -> Option<LotId> {
        match self {
            Source::Lot(_, lot) => Some(lot),
            Source::Account(_) | Source::External(_) => None,
        }
    }
}

/// Why a tender has the amount that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Everything that was still to be paid.
    Rest,
    /// All that this source had; the next source pays the rest.
    Available,
    /// The most that its policy gives towards one order.
    OrderLimit,
    /// The share of an order that its policy bears.
    Share,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tender {
    pub source: Source,
    pub amount: Money,
    pub why: Why,
}

/// What is given back of one tender. Tenders are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    pub tender: u8,
    pub amount: Money,
}

/// A source that may pay, as it stands when a payment is planned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Purse {
    pub source: Source,
    pub has: Money,
    /// Whose limit it shares with the other purses of the same policy.
    pub policy: Option<PolicyId>,
}

/// The most that purses of one policy pay together for an order, and which rule says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    pub minor: i64,
    pub why: Why,
}

/// Deducts `total` from the purses in their order, each as far as it and the limit of its policy go.
/// `Err` has what is short. At most [`MAX_TENDERS`] pay.
pub fn plan(total: Money, purses: &[Purse], limits: &BTreeMap<PolicyId, Limit>) -> Result<Vec<Tender>, Money> {
    let mut limits = limits.clone();
    let mut tenders = Vec::new();
    let mut rest = total.minor;
    for purse in purses {
        let limit = purse.policy.and_then(|policy| limits.get_mut(&policy));
        let most = limit.as_ref().map_or(i64::MAX, |limit| limit.minor);
        let minor = rest.min(purse.has.minor).min(most);
        if minor <= 0 || purse.has.currency != total.currency || tenders.len() == MAX_TENDERS {
            continue;
        }
        let why = match &limit {
            _ if minor == rest => Why::Rest,
            Some(limit) if minor == limit.minor => limit.why,
            _ => Why::Available,
        };
        if let Some(limit) = limit {
            limit.minor -= minor;
        }
        tenders.push(Tender { source: purse.source, amount: Money { minor, ..total }, why });
        rest -= minor;
    }
    if rest == 0 { Ok(tenders) } else { Err(Money { minor: rest, ..total }) }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Fixes the plan. A free meal has no tenders.
    Start {
        order: OrderId,
        diner: DinerId,
        total: Money,
        tenders: Vec<Tender>,
    },
    /// All that comes from accounts is held there.
    RecordHeld,
    /// The provider, or the till, has the money of `tender`.
    RecordPaid {
        tender: u8,
    },
    /// All that was held has been taken.
    RecordCaptured,
    /// Gives up what is not captured.
    Release,
    /// Fixes from which tenders `amount` goes back: the last deducted first.
    BeginRefund {
        refund: RefundId,
        amount: Money,
        from: RefundFrom,
    },
    /// The provider, or the till, has given the part of `tender` back.
    RecordPaidBack {
        refund: RefundId,
        tender: u8,
    },
    SettleRefund {
        refund: RefundId,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Started { order: OrderId, diner: DinerId, total: Money, tenders: Vec<Tender> },
    Held,
    Paid { tender: u8, provider: Provider, amount: Money },
    Captured,
    Released,
    RefundBegun { refund: RefundId, amount: Money, from: RefundFrom, parts: Vec<Part> },
    PaidBack { refund: RefundId, tender: u8, provider: Provider, amount: Money, from: RefundFrom },
    RefundSettled { refund: RefundId },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[
        ("Started", 2),
        ("Held", 1),
        ("Paid", 1),
        ("Captured", 1),
        ("Released", 1),
        ("RefundBegun", 1),
        ("PaidBack", 1),
        ("RefundSettled", 1),
    ];

    fn name(&self) -> &'static str {
        match self {
            Event::Started { .. } => "Started",
            Event::Held => "Held",
            Event::Paid { .. } => "Paid",
            Event::Captured => "Captured",
            Event::Released => "Released",
            Event::RefundBegun { .. } => "RefundBegun",
            Event::PaidBack { .. } => "PaidBack",
            Event::RefundSettled { .. } => "RefundSettled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("this payment has not been started")]
    NotStarted,
    #[error("this payment was started already, with another plan")]
    AlreadyStarted,
    #[error("the tenders must be 0 to {MAX_TENDERS}, positive, in one currency, and add up to {total}")]
    BadPlan { total: Money },
    #[error("the payment is {is}; that cannot be done now")]
    OutOfTurn { is: &'static str },
    #[error("tender {tender} is not one that a provider pays")]
    NotExternal { tender: u8 },
    #[error("tender {tender} is not paid yet")]
    Unpaid { tender: u8 },
    #[error("{asked} cannot be refunded: {left} is left of what was captured")]
    TooMuch { asked: Money, left: Money },
    #[error("there is no such refund")]
    UnknownRefund,
    #[error("that refund was begun already, with another amount")]
    OtherRefund,
    #[error("tender {tender} is not paid back yet")]
    NotPaidBack { tender: u8 },
}

/// How far a payment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    Planned,
    Held,
    Captured,
    Released,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Planned => "PLANNED",
            Stage::Held => "HELD",
            Stage::Captured => "CAPTURED",
            Stage::Released => "RELEASED",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    pub amount: Money,
    pub from: RefundFrom,
    pub parts: Vec<Part>,
    pub paid_back: Vec<u8>,
    pub settled: bool,
}

/// A started payment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    pub order: OrderId,
    pub diner: DinerId,
    pub total: Money,
    pub tenders: Vec<Tender>,
    pub stage: Stage,
    /// External tenders that have been paid, by index.
    pub paid: Vec<u8>,
    pub refunds: BTreeMap<RefundId, Refund>,
}

impl Sheet {
    /// What is refunded or about to be, of one tender.
    pub fn refunded(&self, tender: u8) -> i64 {
        let parts = self.refunds.values().flat_map(|refund| &refund.parts);
        parts.filter(|part| part.tender == tender).map(|part| part.amount.minor).sum()
    }

    /// Takes `amount` back from the last tender first.
    fn parts(&self, amount: Money) -> Result<Vec<Part>, Error> {
        let mut rest = amount.minor;
        let mut parts = Vec::new();
        for (index, tender) in self.tenders.iter().enumerate().rev() {
            let number = index as u8; // A payment has at most MAX_TENDERS tenders.
            let take = rest.min(tender.amount.minor - self.refunded(number));
            if take > 0 {
                parts.push(Part { tender: number, amount: Money { minor: take, ..amount } });
                rest -= take;
            }
        }
        if rest == 0 && amount.currency == self.total.currency && amount.minor >= 0 {
            return Ok(parts);
        }
        let refunded: i64 = self.refunds.values().map(|refund| refund.amount.minor).sum();
        Err(Error::TooMuch { asked: amount, left: Money { minor: self.total.minor - refunded, ..self.total } })
    }

    /// Gives up the payment. What a till has taken meanwhile goes back, under the payment's own id.
    fn release(&self) -> Vec<Event> {
        let paid_back = self.paid.iter().filter_map(|tender| {
            let (provider, amount) = self.external(*tender).ok()?;
            let (refund, from) = (RefundId(self.order.0), RefundFrom::Prepaid);
            Some(Event::PaidBack { refund, tender: *tender, provider, amount, from })
        });
        [Event::Released].into_iter().chain(paid_back).collect()
    }

    fn external(&self, tender: u8) -> Result<(Provider, Money), Error> {
        match self.tenders.get(usize::from(tender)) {
            Some(Tender { source: Source::External(provider), amount, .. }) => Ok((*provider, *amount)),
            _ => Err(Error::NotExternal { tender }),
        }
    }

    /// The first external part of a refund that its provider has not given back.
    fn not_paid_back(&self, refund: &Refund) -> Option<u8> {
        let mut tenders = refund.parts.iter().map(|part| part.tender);
        tenders.find(|tender| self.external(*tender).is_ok() && !refund.paid_back.contains(tender))
    }

    /// The first external tender that nobody has paid.
    pub fn unpaid(&self) -> Option<u8> {
        let external = |tender: &Tender| matches!(tender.source, Source::External(_));
        (0..self.tenders.len() as u8)
            .find(|index| external(&self.tenders[usize::from(*index)]) && !self.paid.contains(index))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Payment {
    #[default]
    New,
    /// Released before it was started; that refuses a late start.
    GivenUp,
    Started(Box<Sheet>),
}

impl Payment {
    pub fn sheet(&self) -> Result<&Sheet, Error> {
        match self {
            Payment::New => Err(Error::NotStarted),
            Payment::GivenUp => Err(Error::OutOfTurn { is: Stage::Released.name() }),
            Payment::Started(sheet) => Ok(sheet),
        }
    }
}

fn check_plan(total: Money, tenders: &[Tender]) -> Result<(), Error> {
    let bad = Error::BadPlan { total };
    let sum = Money::sum(total.currency, tenders.iter().map(|tender| tender.amount));
    let positive = tenders.iter().all(|tender| tender.amount.is_positive());
    if tenders.len() <= MAX_TENDERS && positive && sum == Ok(total) { Ok(()) } else { Err(bad) }
}

impl Aggregate for Payment {
    const NAME: &'static str = "payment";
    const STATE_VERSION: u32 = 1;
    type Id = PaymentId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: PaymentId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Payment, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        use Stage::{Captured, Held, Planned, Released};
        let sheet = match (self, command) {
            (Payment::New, Command::Start { order, diner, total, tenders }) => {
                check_plan(total, &tenders)?;
                return Ok(vec![Event::Started { order, diner, total, tenders }]);
            }
            (Payment::Started(sheet), Command::Start { order, diner, total, .. }) => {
                // The plan that counts is the recorded one, whatever the balances say now.
                let same = (sheet.order, sheet.diner, sheet.total) == (order, diner, total);
                return if same { Ok(vec![]) } else { Err(Error::AlreadyStarted) };
            }
            (Payment::New, Command::Release) => return Ok(vec![Event::Released]),
            (Payment::GivenUp, Command::Release) => return Ok(vec![]),
            (payment, command) => (payment.sheet()?, command),
        };
        let (sheet, command) = sheet;
        let out_of_turn = Err(Error::OutOfTurn { is: sheet.stage.name() });
        match (sheet.stage, command) {
            (Planned, Command::RecordHeld) => match sheet.unpaid() {
                Some(tender) => Err(Error::Unpaid { tender }),
                None => Ok(vec![Event::Held]),
            },
            (Held | Captured, Command::RecordHeld) => Ok(vec![]),
            (Planned, Command::RecordPaid { tender }) => {
                let (provider, amount) = sheet.external(tender)?;
                if sheet.paid.contains(&tender) {
                    Ok(vec![])
                } else {
                    Ok(vec![Event::Paid { tender, provider, amount }])
                }
            }
            (Held | Captured | Released, Command::RecordPaid { tender }) if sheet.paid.contains(&tender) => Ok(vec![]),
            (Held, Command::RecordCaptured) => Ok(vec![Event::Captured]),
            (Captured, Command::RecordCaptured) => Ok(vec![]),
            (Planned | Held, Command::Release) => Ok(sheet.release()),
            (Released, Command::Release) => Ok(vec![]),
            (Captured, Command::BeginRefund { refund, amount, from }) => {
                if let Some(known) = sheet.refunds.get(&refund) {
                    let same = (known.amount, known.from) == (amount, from);
                    return if same { Ok(vec![]) } else { Err(Error::OtherRefund) };
                }
                let parts = sheet.parts(amount)?;
                Ok(vec![Event::RefundBegun { refund, amount, from, parts }])
            }
            (_, Command::RecordPaidBack { refund, tender }) => {
                let begun = sheet.refunds.get(&refund).ok_or(Error::UnknownRefund)?;
                let part = begun.parts.iter().find(|part| part.tender == tender).ok_or(Error::UnknownRefund)?;
                let (provider, _) = sheet.external(tender)?;
                if begun.paid_back.contains(&tender) {
                    return Ok(vec![]);
                }
                Ok(vec![Event::PaidBack { refund, tender, provider, amount: part.amount, from: begun.from }])
            }
            (_, Command::SettleRefund { refund }) => match sheet.refunds.get(&refund) {
                Some(begun) if begun.settled => Ok(vec![]),
                Some(begun) => match sheet.not_paid_back(begun) {
                    Some(tender) => Err(Error::NotPaidBack { tender }),
                    None => Ok(vec![Event::RefundSettled { refund }]),
                },
                None => Err(Error::UnknownRefund),
            },
            _ => out_of_turn,
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        let sheet = match (self, event) {
            (payment, Event::Started { order, diner, total, tenders }) => {
                *payment = Payment::Started(Box::new(Sheet {
                    order: *order,
                    diner: *diner,
                    total: *total,
                    tenders: tenders.clone(),
                    stage: Stage::Planned,
                    paid: Vec::new(),
                    refunds: BTreeMap::new(),
                }));
                return;
            }
            (payment @ Payment::New, Event::Released) => {
                *payment = Payment::GivenUp;
                return;
            }
            (Payment::New | Payment::GivenUp, _) => return,
            (Payment::Started(sheet), _) => sheet,
        };
        match event {
            Event::Started { .. } => {}
            Event::Held => sheet.stage = Stage::Held,
            Event::Paid { tender, .. } => sheet.paid.push(*tender),
            Event::Captured => sheet.stage = Stage::Captured,
            Event::Released => sheet.stage = Stage::Released,
            Event::RefundBegun { refund, amount, from, parts } => {
                let begun =
                    Refund { amount: *amount, from: *from, parts: parts.clone(), paid_back: vec![], settled: false };
                sheet.refunds.insert(*refund, begun);
            }
            Event::PaidBack { refund, tender, .. } => {
                if let Some(begun) = sheet.refunds.get_mut(refund) {
                    begun.paid_back.push(*tender);
                }
            }
            Event::RefundSettled { refund } => {
                if let Some(begun) = sheet.refunds.get_mut(refund) {
                    begun.settled = true;
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "payment_tests.rs"]
mod tests;
