//! Payment providers: what Tiffin asks of them, and what it may hear.
//!
//! A provider keeps trades by numbers that we choose. Any call may be lost, or its answer; it is then
//! asked again under the same number, and never under another. What it says by itself may come before
//! the answer to our call, twice, late, or not at all. The intent of every call is in the log before
//! the call is made.

mod stand_in;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use domain::{
    Money, PaymentId, TenantId, Timestamp,
    payment::Provider,
    trade::{PayBackNumber, TradeNumber},
};

pub use stand_in::{StandIn, Weather};

/// Money to be collected for one tender. A repeat is the same in everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Trade {
    /// Chooses the merchant.
    pub tenant: TenantId,
    pub number: TradeNumber,
    pub amount: Money,
    /// After this nobody is to be able to pay it.
    pub expires_at: Timestamp,
}

/// Money to be given back of a trade. A repeat is the same in everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Return {
    pub tenant: TenantId,
    pub trade: TradeNumber,
    pub number: PayBackNumber,
    pub amount: Money,
    /// What the trade collected; some providers want to hear it again.
    pub of: Money,
}

/// What the diner's device needs to pay: the text of a QR code, or a prepayment's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle(pub String);

/// How a trade stands with its provider.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Nobody has paid yet. A query may not know the handle.
    Waiting(Option<Handle>),
    Paid {
        amount: Money,
        /// The provider's number.
        transaction: String,
    },
    /// It cannot be paid any more.
    Closed,
    /// The provider does not know the number. One that only makes trades when a diner scans the code
    /// says so while the code can still be paid.
    NoTrade,
}

/// How money that goes back stands with its provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returning {
    /// Accepted, not done.
    Processing,
    Done,
    /// It cannot be given back by this way: an account that is gone, for instance.
    Impossible,
    /// The provider does not know the number.
    NoReturn,
}

/// Why a call brought no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was refused, and nothing happened. The code is the provider's.
    #[error("the provider refused: {code}")]
    Refused { code: String },
    /// No answer came, or none that was signed: it may have happened or not.
    #[error("the outcome is unknown: {why}")]
    Unknown { why: String },
}

/// What a provider says by itself, once its signature is verified. The merchant that it is for names
/// the tenant.
#[derive(Clone, Debug, PartialEq)]
pub enum Notification {
    Trade { tenant: TenantId, number: TradeNumber, standing: Standing },
    Return { tenant: TenantId, payment: PaymentId, number: PayBackNumber, returning: Returning },
}

/// One provider. Every call is made under a number of ours and may be repeated.
#[async_trait]
pub trait PaymentProvider: Send + Sync {
    /// Asks for money, or for how it stands if it was asked before.
    async fn collect(&self, trade: &Trade) -> Result<Standing, CallError>;

    async fn query(&self, trade: &Trade) -> Result<Standing, CallError>;

    /// Makes it impossible to pay. Answers [`Standing::Paid`] if somebody has.
    async fn close(&self, trade: &Trade) -> Result<Standing, CallError>;

    /// Gives money back, once for a number.
    async fn pay_back(&self, back: &Return) -> Result<Returning, CallError>;

    async fn query_pay_back(&self, back: &Return) -> Result<Returning, CallError>;
}

/// The providers of this house; one that is not there takes no payments.
#[derive(Clone, Default)]
pub struct Providers(BTreeMap<Provider, Arc<dyn PaymentProvider>>);

impl Providers {
    pub fn with(mut self, provider: Provider, port: Arc<dyn PaymentProvider>) -> Self {
        self.0.insert(provider, port);
        self
    }

    pub fn get(&self, provider: Provider) -> Option<&Arc<dyn PaymentProvider>> {
        self.0.get(&provider)
    }
}
