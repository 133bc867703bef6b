//! What is asked of a payment provider: money for a tender, and money back. How each stands, and the
//! numbers under which the provider knows it.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::{
    Money, PaymentId, RefundId, Timestamp,
    ids::as_text,
    order::RefundFrom,
    payment::{Error, Event, Part, Provider, Refund, Sheet, Stage, check_text},
};

/// Longest code of a provider's, and longest number of a transaction, in bytes.
pub const MAX_PROVIDER_TEXT: usize = 64;

/// A money request to a provider, by what it is for. Our number for it follows from this alone, so that
/// every repeat of a call bears the same one; and it names its payment, so that a notification finds it.
///
/// In text 26 digits and small letters, 25 of them the payment's UUID in base 36, which both WeChat Pay
/// (`out_trade_no`, 6 to 32) and Alipay (`out_trade_no`, to 64) take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TradeNumber {
    pub payment: PaymentId,
    pub tender: u8,
}

/// A request to give money back, likewise (`out_refund_no`, `out_request_no`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PayBackNumber {
    pub refund: RefundId,
    pub tender: u8,
}

/// A text that is none of our numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a number of ours: it has 26 digits and small letters")]
pub struct NotOurNumber(pub String);

const DIGITS: usize = 25;

fn write(f: &mut fmt::Formatter<'_>, id: Uuid, tender: u8) -> fmt::Result {
    let mut digits = [b'0'; DIGITS + 1];
    let mut rest = id.as_u128();
    for digit in digits[..DIGITS].iter_mut().rev() {
        *digit = base36((rest % 36) as u8);
        rest /= 36;
    }
    digits[DIGITS] = base36(tender % 36);
    f.write_str(str::from_utf8(&digits).unwrap_or_default())
}

fn base36(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

fn read(text: &str) -> Option<(Uuid, u8)> {
    let small = text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    let (id, tender) = text.split_at_checked(DIGITS).filter(|(_, tender)| tender.len() == 1 && small)?;
    Some((Uuid::from_u128(u128::from_str_radix(id, 36).ok()?), u8::from_str_radix(tender, 36).ok()?))
}

impl fmt::Display for TradeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.payment.0, self.tender)
    }
}

impl FromStr for TradeNumber {
    type Err = NotOurNumber;

    fn from_str(text: &str) -> Result<Self, NotOurNumber> {
        let of = |(id, tender)| TradeNumber { payment: PaymentId(id), tender };
        read(text).map(of).ok_or_else(|| NotOurNumber(text.chars().take(80).collect()))
    }
}

impl fmt::Display for PayBackNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.refund.0, self.tender)
    }
}

impl FromStr for PayBackNumber {
    type Err = NotOurNumber;

    fn from_str(text: &str) -> Result<Self, NotOurNumber> {
        let of = |(id, tender)| PayBackNumber { refund: RefundId(id), tender };
        read(text).map(of).ok_or_else(|| NotOurNumber(text.chars().take(80).collect()))
    }
}

as_text! { TradeNumber PayBackNumber }

/// How what was asked of a provider for one tender stands. Money that has come outranks whatever else
/// was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trade {
    /// Asked, or about to be.
    Asked,
    /// Asked, and nobody knows what came of it: it is queried, never asked under another number.
    Unknown,
    Paid,
    /// Something else was paid than was asked for: it waits in `suspense` for finance.
    Mispaid,
    /// The provider refused. Nothing will come of it.
    Failed,
    /// Given up with the provider: nobody can pay it any more.
    Closed,
}

impl Trade {
    /// Whether money may still come.
    pub fn is_open(self) -> bool {
        matches!(self, Trade::Asked | Trade::Unknown)
    }
}

/// Money that a provider is asked to give back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PayBack {
    pub number: PayBackNumber,
    pub amount: Money,
    pub from: RefundFrom,
    pub state: PayBackState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PayBackState {
    Asked,
    Unknown,
    Done,
    /// The provider cannot give it back: the money waits in `suspense`.
    Diverted,
}

impl PayBackState {
    pub fn is_open(self) -> bool {
        matches!(self, PayBackState::Asked | PayBackState::Unknown)
    }
}

type Decided = Result<Vec<Event>, Error>;

/// What a payment has to do with providers.
impl Sheet {
    /// What has still to be heard from providers.
    pub fn calls(&self) -> Vec<Call> {
        let wanted = self.stage == Stage::Planned;
        let trades = self.trades.iter().filter(|(_, trade)| trade.is_open()).map(|(tender, _)| {
            let tender = *tender;
            if wanted { Call::Collect { tender } } else { Call::GiveUp { tender } }
        });
        let back =
            self.pay_backs.iter().filter(|back| back.state.is_open()).map(|back| Call::PayBack { number: back.number });
        trades.chain(back).collect()
    }

    pub fn trade(&self, tender: u8) -> Result<Trade, Error> {
        self.external(tender)?;
        self.trades.get(&tender).copied().ok_or(Error::NotAsked { tender })
    }

    pub fn pay_back(&self, number: PayBackNumber) -> Option<&PayBack> {
        self.pay_backs.iter().find(|back| back.number == number)
    }

    pub(crate) fn ask(&self, tender: u8, expires_at: Timestamp) -> Decided {
        let (provider, amount) = self.external(tender)?;
        if !provider.is_remote() {
            return Err(Error::NotExternal { tender });
        }
        if self.trades.contains_key(&tender) {
            return Ok(vec![]);
        }
        let number = TradeNumber { payment: self.order.payment(), tender };
        Ok(vec![Event::Asked { tender, provider, amount, number, expires_at }])
    }

    pub(crate) fn received(&self, tender: u8, paid: Money, transaction: String) -> Decided {
        check_text(&transaction)?;
        let (provider, amount) = self.external(tender)?;
        if matches!(self.trade(tender)?, Trade::Paid | Trade::Mispaid) {
            return Ok(vec![]);
        }
        if paid != amount {
            if !paid.is_positive() || paid.checked().is_err() {
                return Err(Error::NoMoney { paid });
            }
            return Ok(vec![Event::Mispaid { tender, provider, amount: paid, transaction }]);
        }
        let paid = Event::Paid { tender, provider, amount, transaction: Some(transaction) };
        // It came too late: nobody is served for it.
        let back = (self.stage == Stage::Released).then(|| self.give_back(tender)).transpose()?;
        Ok([paid].into_iter().chain(back).collect())
    }

    pub(crate) fn ask_pay_back(&self, refund: RefundId, tender: u8) -> Decided {
        let number = PayBackNumber { refund, tender };
        if self.pay_back(number).is_some() {
            return Ok(vec![]);
        }
        let (begun, part) = self.part(refund, tender)?;
        let (provider, _) = self.external(tender)?;
        if !provider.is_remote() {
            return Err(Error::NotExternal { tender });
        }
        let (amount, from) = (part.amount, begun.from);
        Ok(vec![Event::PayBackAsked { refund, tender, provider, amount, from, number }])
    }

    /// What is to go back of `tender`, if it has not yet: of a till's part of a refund, or of what its
    /// provider was asked for.
    fn going_back(&self, refund: RefundId, tender: u8) -> Result<(Provider, Money, RefundFrom, bool), Error> {
        if let Some(back) = self.pay_back(PayBackNumber { refund, tender }) {
            return Ok((self.external(tender)?.0, back.amount, back.from, back.state.is_open()));
        }
        let (begun, part) = self.part(refund, tender)?;
        match self.external(tender)? {
            (provider, _) if provider.is_remote() => Err(Error::UnknownRefund),
            (provider, _) => Ok((provider, part.amount, begun.from, !begun.paid_back.contains(&tender))),
        }
    }

    fn part(&self, refund: RefundId, tender: u8) -> Result<(&Refund, &Part), Error> {
        let begun = self.refunds.get(&refund).ok_or(Error::UnknownRefund)?;
        let part = begun.parts.iter().find(|part| part.tender == tender).ok_or(Error::UnknownRefund)?;
        Ok((begun, part))
    }

    pub(crate) fn paid_back(&self, refund: RefundId, tender: u8) -> Decided {
        let (provider, amount, from, owed) = self.going_back(refund, tender)?;
        Ok(owed.then_some(Event::PaidBack { refund, tender, provider, amount, from }).into_iter().collect())
    }

    pub(crate) fn divert(&self, refund: RefundId, tender: u8) -> Decided {
        let (provider, amount, from, owed) = self.going_back(refund, tender)?;
        if !provider.is_remote() {
            return Err(Error::NotExternal { tender });
        }
        Ok(owed.then_some(Event::PayBackDiverted { refund, tender, provider, amount, from }).into_iter().collect())
    }

    pub(crate) fn hear(&mut self, tender: u8, trade: Trade) {
        self.trades.insert(tender, trade);
    }

    pub(crate) fn hear_back(&mut self, number: PayBackNumber, state: PayBackState) {
        if let Some(back) = self.pay_backs.iter_mut().find(|back| back.number == number) {
            back.state = state;
        }
        let given = !state.is_open();
        if let Some(begun) = self.refunds.get_mut(&number.refund).filter(|_| given) {
            begun.paid_back.push(number.tender);
        }
    }
}

/// What has still to be heard from a provider, as a payment stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call {
    /// Money for a living order.
    Collect {
        tender: u8,
    },
    /// The order is dead: nobody is to pay this any more, and who has paid gets it back.
    GiveUp {
        tender: u8,
    },
    PayBack {
        number: PayBackNumber,
    },
}

#[cfg(test)]
#[path = "trade_tests.rs"]
mod tests;
