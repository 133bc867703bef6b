//! How one order is paid: tenders in the order of deduction, each Planned → Held → Captured →
//! partly or wholly Refunded; or Released. What a provider pays is asked of it in between.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::extension::{Extension, ExtensionStage, MAX_TENDERS_EXTENDED};
pub use crate::tender::{Limit, MAX_TENDERS, Part, Provider, Purse, Source, Tender, TenderState, Why, plan};
use crate::{
    Aggregate, ChangeId, DinerId, Money, OrderId, PaymentId, RefundId, StreamKind, Timestamp,
    order::RefundFrom,
    trade::{MAX_PROVIDER_TEXT, PayBack, PayBackNumber, PayBackState, Trade, TradeNumber},
};

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
    /// The till has the money of `tender`.
    RecordPaid {
        tender: u8,
    },
    /// States the intent to ask the provider of `tender` for its money, before it is asked.
    Ask {
        tender: u8,
        expires_at: Timestamp,
    },
    /// The provider has the money of `tender`, however late it comes.
    RecordReceived {
        tender: u8,
        amount: Money,
        /// The provider's number.
        transaction: String,
    },
    /// The provider was asked, and did not answer.
    RecordUnknown {
        tender: u8,
    },
    /// The provider refused, with a code of its own.
    RecordFailed {
        tender: u8,
        code: String,
    },
    /// Nobody can pay `tender` at its provider any more.
    RecordClosed {
        tender: u8,
    },
    /// All that was held has been taken.
    RecordCaptured,
    /// Gives up what is not captured.
    Release,
    /// Fixes from which tenders `amount` goes back: those that are named, then the last deducted first.
    BeginRefund {
        refund: RefundId,
        amount: Money,
        from: RefundFrom,
        first: Vec<u8>,
    },
    /// States the intent to have the provider of `tender` give its part back.
    AskPayBack {
        refund: RefundId,
        tender: u8,
    },
    /// The provider, or the till, has given the part of `tender` back.
    RecordPaidBack {
        refund: RefundId,
        tender: u8,
    },
    RecordPayBackUnknown {
        refund: RefundId,
        tender: u8,
    },
    /// The provider cannot give it back: finance has to find its owner.
    DivertPayBack {
        refund: RefundId,
        tender: u8,
    },
    SettleRefund {
        refund: RefundId,
    },
    /// Adds tenders for what a change made dearer. A repeat keeps the recorded ones.
    Extend {
        extension: ChangeId,
        amount: Money,
        tenders: Vec<Tender>,
    },
    /// All that the extension held has been taken.
    RecordExtensionCaptured {
        extension: ChangeId,
    },
    GiveUpExtension {
        extension: ChangeId,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Started {
        order: OrderId,
        diner: DinerId,
        total: Money,
        tenders: Vec<Tender>,
    },
    Held,
    Asked {
        tender: u8,
        provider: Provider,
        amount: Money,
        number: TradeNumber,
        expires_at: Timestamp,
    },
    OutcomeUnknown {
        tender: u8,
    },
    Failed {
        tender: u8,
        code: String,
    },
    TradeClosed {
        tender: u8,
    },
    Paid {
        tender: u8,
        provider: Provider,
        amount: Money,
        /// The provider's number; a till has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transaction: Option<String>,
    },
    /// The provider has another amount than it was asked for: it waits in `suspense` for finance.
    Mispaid {
        tender: u8,
        provider: Provider,
        amount: Money,
        transaction: String,
    },
    Captured,
    Released,
    RefundBegun {
        refund: RefundId,
        amount: Money,
        from: RefundFrom,
        parts: Vec<Part>,
    },
    PayBackAsked {
        refund: RefundId,
        tender: u8,
        provider: Provider,
        amount: Money,
        from: RefundFrom,
        number: PayBackNumber,
    },
    PayBackUnknown {
        refund: RefundId,
        tender: u8,
    },
    PaidBack {
        refund: RefundId,
        tender: u8,
        provider: Provider,
        amount: Money,
        from: RefundFrom,
    },
    /// The provider cannot give it back: the money waits in `suspense`.
    PayBackDiverted {
        refund: RefundId,
        tender: u8,
        provider: Provider,
        amount: Money,
        from: RefundFrom,
    },
    RefundSettled {
        refund: RefundId,
    },
    /// `first` is the index of the first of `tenders`.
    Extended {
        extension: ChangeId,
        amount: Money,
        first: u8,
        tenders: Vec<Tender>,
    },
    ExtensionCaptured {
        extension: ChangeId,
        amount: Money,
    },
    ExtensionGivenUp {
        extension: ChangeId,
    },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[
        ("Started", 3),
        ("Held", 1),
        ("Asked", 1),
        ("OutcomeUnknown", 1),
        ("Failed", 1),
        ("TradeClosed", 1),
        ("Paid", 2),
        ("Mispaid", 1),
        ("Captured", 1),
        ("Released", 1),
        ("RefundBegun", 1),
        ("PayBackAsked", 1),
        ("PayBackUnknown", 1),
        ("PaidBack", 2),
        ("PayBackDiverted", 1),
        ("RefundSettled", 1),
        ("Extended", 1),
        ("ExtensionCaptured", 1),
        ("ExtensionGivenUp", 1),
    ];

    fn name(&self) -> &'static str {
        match self {
            Event::Started { .. } => "Started",
            Event::Held => "Held",
            Event::Asked { .. } => "Asked",
            Event::OutcomeUnknown { .. } => "OutcomeUnknown",
            Event::Failed { .. } => "Failed",
            Event::TradeClosed { .. } => "TradeClosed",
            Event::Paid { .. } => "Paid",
            Event::Mispaid { .. } => "Mispaid",
            Event::Captured => "Captured",
            Event::Released => "Released",
            Event::RefundBegun { .. } => "RefundBegun",
            Event::PayBackAsked { .. } => "PayBackAsked",
            Event::PayBackUnknown { .. } => "PayBackUnknown",
            Event::PaidBack { .. } => "PaidBack",
            Event::PayBackDiverted { .. } => "PayBackDiverted",
            Event::RefundSettled { .. } => "RefundSettled",
            Event::Extended { .. } => "Extended",
            Event::ExtensionCaptured { .. } => "ExtensionCaptured",
            Event::ExtensionGivenUp { .. } => "ExtensionGivenUp",
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
    #[error("tender {tender} was never asked of a provider")]
    NotAsked { tender: u8 },
    #[error("a provider reports a payment of {paid}, which is none")]
    NoMoney { paid: Money },
    #[error("a provider's code or number has 1 to {MAX_PROVIDER_TEXT} letters, digits and signs")]
    BadProviderText,
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
    #[error("the payment was not extended by that change")]
    UnknownExtension,
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
    /// External tenders that have been paid or asked for, by index.
    pub trades: BTreeMap<u8, Trade>,
    pub refunds: BTreeMap<RefundId, Refund>,
    /// Until when providers were asked to take the diner's money.
    pub asked_until: Option<Timestamp>,
    /// What providers were asked to give back, of refunds and of what came too late.
    pub pay_backs: Vec<PayBack>,
    /// What changes of the order added.
    pub extensions: BTreeMap<ChangeId, Extension>,
}

impl Sheet {
    /// What is refunded or about to be, of one tender.
    pub fn refunded(&self, tender: u8) -> i64 {
        let parts = self.refunds.values().flat_map(|refund| &refund.parts);
        parts.filter(|part| part.tender == tender).map(|part| part.amount.minor).sum()
    }

    /// Takes `amount` back from the tenders `first`, then from the last first.
    fn parts(&self, amount: Money, first: &[u8]) -> Result<Vec<Part>, Error> {
        let mut rest = amount.minor;
        let mut parts: Vec<Part> = Vec::new();
        // A payment has at most MAX_TENDERS_EXTENDED tenders.
        let last_first = (0..self.tenders.len() as u8).rev();
        for number in first.iter().copied().chain(last_first) {
            let Some(tender) = self.tenders.get(usize::from(number)) else { continue };
            if parts.iter().any(|part| part.tender == number) || !self.is_captured(number) {
                continue;
            }
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

    /// Gives up the payment. What a till or provider has taken meanwhile goes back.
    fn release(&self) -> Vec<Event> {
        let back = self.paid().filter_map(|tender| self.give_back(tender).ok());
        [Event::Released].into_iter().chain(back).collect()
    }

    /// Gives back the money of a dead order, under the payment's own id.
    pub(crate) fn give_back(&self, tender: u8) -> Result<Event, Error> {
        let (provider, amount) = self.external(tender)?;
        let (refund, from) = (RefundId(self.order.0), RefundFrom::Prepaid);
        Ok(if provider.is_remote() {
            let number = PayBackNumber { refund, tender };
            Event::PayBackAsked { refund, tender, provider, amount, from, number }
        } else {
            Event::PaidBack { refund, tender, provider, amount, from }
        })
    }

    pub fn state_of(&self, tender: u8) -> TenderState {
        if let Some(state) = self.extended_state(tender) {
            return state;
        }
        match (self.stage, self.trades.get(&tender)) {
            (_, Some(Trade::Unknown)) => TenderState::Unknown,
            (_, Some(Trade::Failed | Trade::Mispaid)) => TenderState::Failed,
            (_, Some(Trade::Closed)) => TenderState::Closed,
            (Stage::Planned, Some(Trade::Asked)) => TenderState::Asked,
            (Stage::Planned, Some(Trade::Paid)) | (Stage::Held, _) => TenderState::Held,
            (Stage::Planned, None) => TenderState::Planned,
            (Stage::Captured, _) => TenderState::Captured,
            (Stage::Released, None | Some(Trade::Asked | Trade::Paid)) => TenderState::Released,
        }
    }

    /// External tenders that have been paid.
    pub fn paid(&self) -> impl Iterator<Item = u8> {
        self.trades.iter().filter(|(_, trade)| **trade == Trade::Paid).map(|(tender, _)| *tender)
    }

    pub(crate) fn external(&self, tender: u8) -> Result<(Provider, Money), Error> {
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
            .find(|index| external(&self.tenders[usize::from(*index)]) && self.trades.get(index) != Some(&Trade::Paid))
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

/// Refuses what a provider would not send, before it is recorded.
pub(crate) fn check_text(text: &str) -> Result<(), Error> {
    let fits = (1..=MAX_PROVIDER_TEXT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(()) } else { Err(Error::BadProviderText) }
}

pub(crate) fn check_plan(total: Money, tenders: &[Tender]) -> Result<(), Error> {
    let bad = Error::BadPlan { total };
    let sum = Money::sum(total.currency, tenders.iter().map(|tender| tender.amount));
    let positive = tenders.iter().all(|tender| tender.amount.is_positive());
    if tenders.len() <= MAX_TENDERS && positive && sum == Ok(total) { Ok(()) } else { Err(bad) }
}

impl Aggregate for Payment {
    const NAME: &'static str = "payment";
    const STATE_VERSION: u32 = 5;
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
            (_, Command::RecordPaid { tender }) if sheet.paid().any(|paid| paid == tender) => Ok(vec![]),
            (Planned, Command::RecordPaid { tender }) => match sheet.external(tender)? {
                (provider, amount) if !provider.is_remote() => {
                    Ok(vec![Event::Paid { tender, provider, amount, transaction: None }])
                }
                _ => Err(Error::Unpaid { tender }),
            },
            (Planned, Command::Ask { tender, expires_at }) => sheet.ask(tender, expires_at),
            (_, Command::Ask { tender, .. }) if sheet.trades.contains_key(&tender) => Ok(vec![]),
            (_, Command::RecordReceived { tender, amount, transaction }) => sheet.received(tender, amount, transaction),
            (_, Command::RecordUnknown { tender }) => {
                let known = sheet.trade(tender)?;
                Ok((known == Trade::Asked).then_some(Event::OutcomeUnknown { tender }).into_iter().collect())
            }
            (_, Command::RecordFailed { tender, code }) => {
                check_text(&code)?;
                Ok(sheet.trade(tender)?.is_open().then_some(Event::Failed { tender, code }).into_iter().collect())
            }
            (_, Command::RecordClosed { tender }) => {
                Ok(sheet.trade(tender)?.is_open().then_some(Event::TradeClosed { tender }).into_iter().collect())
            }
            (Held, Command::RecordCaptured) => Ok(vec![Event::Captured]),
            (Captured, Command::RecordCaptured) => Ok(vec![]),
            (Planned | Held, Command::Release) => Ok(sheet.release()),
            (Released, Command::Release) => Ok(vec![]),
            (Captured, Command::BeginRefund { refund, amount, from, first }) => {
                if let Some(known) = sheet.refunds.get(&refund) {
                    let same = (known.amount, known.from) == (amount, from);
                    return if same { Ok(vec![]) } else { Err(Error::OtherRefund) };
                }
                let parts = sheet.parts(amount, &first)?;
                Ok(vec![Event::RefundBegun { refund, amount, from, parts }])
            }
            (_, Command::AskPayBack { refund, tender }) => sheet.ask_pay_back(refund, tender),
            (_, Command::RecordPaidBack { refund, tender }) => sheet.paid_back(refund, tender),
            (_, Command::RecordPayBackUnknown { refund, tender }) => {
                let known = sheet.pay_back(PayBackNumber { refund, tender }).ok_or(Error::UnknownRefund)?;
                let asked = known.state == PayBackState::Asked;
                Ok(asked.then_some(Event::PayBackUnknown { refund, tender }).into_iter().collect())
            }
            (_, Command::DivertPayBack { refund, tender }) => sheet.divert(refund, tender),
            (_, Command::Extend { extension, amount, tenders }) => sheet.extend(extension, amount, tenders),
            (_, Command::RecordExtensionCaptured { extension }) => {
                sheet.end_extension(extension, ExtensionStage::Captured)
            }
            (_, Command::GiveUpExtension { extension }) => sheet.end_extension(extension, ExtensionStage::GivenUp),
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
                    trades: BTreeMap::new(),
                    asked_until: None,
                    refunds: BTreeMap::new(),
                    pay_backs: Vec::new(),
                    extensions: BTreeMap::new(),
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
            Event::Asked { tender, expires_at, .. } => {
                sheet.asked_until = Some(*expires_at);
                sheet.hear(*tender, Trade::Asked);
            }
            Event::OutcomeUnknown { tender } => sheet.hear(*tender, Trade::Unknown),
            Event::Failed { tender, .. } => sheet.hear(*tender, Trade::Failed),
            Event::TradeClosed { tender } => sheet.hear(*tender, Trade::Closed),
            Event::Paid { tender, .. } => sheet.hear(*tender, Trade::Paid),
            Event::Mispaid { tender, .. } => sheet.hear(*tender, Trade::Mispaid),
            Event::Captured => sheet.stage = Stage::Captured,
            Event::Released => sheet.stage = Stage::Released,
            Event::RefundBegun { refund, amount, from, parts } => {
                let begun =
                    Refund { amount: *amount, from: *from, parts: parts.clone(), paid_back: vec![], settled: false };
                sheet.refunds.insert(*refund, begun);
            }
            Event::PayBackAsked { refund, tender, amount, from, .. } => {
                let number = PayBackNumber { refund: *refund, tender: *tender };
                let state = PayBackState::Asked;
                sheet.pay_backs.push(PayBack { number, amount: *amount, from: *from, state });
            }
            Event::PayBackUnknown { refund, tender } => {
                sheet.hear_back(PayBackNumber { refund: *refund, tender: *tender }, PayBackState::Unknown);
            }
            Event::PaidBack { refund, tender, .. } => {
                sheet.hear_back(PayBackNumber { refund: *refund, tender: *tender }, PayBackState::Done);
            }
            Event::PayBackDiverted { refund, tender, .. } => {
                sheet.hear_back(PayBackNumber { refund: *refund, tender: *tender }, PayBackState::Diverted);
            }
            Event::RefundSettled { refund } => {
                if let Some(begun) = sheet.refunds.get_mut(refund) {
                    begun.settled = true;
                }
            }
            Event::Extended { .. } | Event::ExtensionCaptured { .. } | Event::ExtensionGivenUp { .. } => {
                sheet.hear_of_extension(event);
            }
        }
    }
}

#[cfg(test)]
#[path = "payment_tests.rs"]
mod tests;
