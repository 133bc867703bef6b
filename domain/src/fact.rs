//! Every event of every aggregate, under the stream that it belongs to.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::{
    AccountId, CanteenId, CompanyId, DinerId, Event, OrderId, PaymentId, ServingId, TenantId, account, menu, order,
    payment, serving,
};

/// The kinds of stream. The number is what a log stores and is never given to another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum StreamKind {
    Menu = 1,
    Serving = 2,
    Order = 3,
    Payment = 4,
    Wallet = 5,
    Subsidy = 6,
    Company = 7,
}

/// A kind of stream, or an event type, that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of stream that this program knows")]
pub struct UnknownKind(pub String);

impl StreamKind {
    pub const ALL: [StreamKind; 7] = [
        StreamKind::Menu,
        StreamKind::Serving,
        StreamKind::Order,
        StreamKind::Payment,
        StreamKind::Wallet,
        StreamKind::Subsidy,
        StreamKind::Company,
    ];

    pub fn name(self) -> &'static str {
        match self {
            StreamKind::Menu => "menu",
            StreamKind::Serving => "serving",
            StreamKind::Order => "order",
            StreamKind::Payment => "payment",
            StreamKind::Wallet => "wallet",
            StreamKind::Subsidy => "subsidy",
            StreamKind::Company => "company",
        }
    }

    /// The aggregate whose events such a stream holds: the first half of its event types.
    pub fn aggregate(self) -> &'static str {
        match self {
            StreamKind::Wallet | StreamKind::Subsidy | StreamKind::Company => "account",
            other => other.name(),
        }
    }
}

impl TryFrom<u8> for StreamKind {
    type Error = UnknownKind;

    fn try_from(number: u8) -> Result<Self, UnknownKind> {
        let found = StreamKind::ALL.into_iter().find(|kind| *kind as u8 == number);
        found.ok_or_else(|| UnknownKind(number.to_string()))
    }
}

/// A stream's name: whose it is, of which kind, and its key. As text `{kind}:{key}`, since a text
/// is only ever read within one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    pub tenant: TenantId,
    pub kind: StreamKind,
    pub key: Uuid,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.key)
    }
}

impl FromStr for StreamKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = StreamKind::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| UnknownKind(text.chars().take(40).collect()))
    }
}

/// One event and what it happened to.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Menu(CanteenId, menu::Event),
    Serving(ServingId, serving::Event),
    Order(OrderId, order::Event),
    Payment(PaymentId, payment::Event),
    Account(AccountId, account::Event),
}

impl Fact {
    /// Reads the payload of an event in a stream of `kind` with `key`, in its current schema.
    pub fn decode(kind: StreamKind, key: Uuid, payload: &[u8]) -> Result<Fact, serde_json::Error> {
        use serde_json::from_slice;
        Ok(match kind {
            StreamKind::Menu => Fact::Menu(CanteenId(key), from_slice(payload)?),
            StreamKind::Serving => Fact::Serving(ServingId(key), from_slice(payload)?),
            StreamKind::Order => Fact::Order(OrderId(key), from_slice(payload)?),
            StreamKind::Payment => Fact::Payment(PaymentId(key), from_slice(payload)?),
            StreamKind::Wallet => Fact::Account(AccountId::Wallet(DinerId(key)), from_slice(payload)?),
            StreamKind::Subsidy => Fact::Account(AccountId::Subsidy(DinerId(key)), from_slice(payload)?),
            StreamKind::Company => Fact::Account(AccountId::Company(CompanyId(key)), from_slice(payload)?),
        })
    }

    /// The event's name within its aggregate.
    pub fn name(&self) -> &'static str {
        match self {
            Fact::Menu(_, event) => event.name(),
            Fact::Serving(_, event) => event.name(),
            Fact::Order(_, event) => event.name(),
            Fact::Payment(_, event) => event.name(),
            Fact::Account(_, event) => event.name(),
        }
    }

    /// The schema versions that this program writes and reads for an aggregate's events.
    pub fn schemas(kind: StreamKind) -> &'static [(&'static str, u16)] {
        match kind {
            StreamKind::Menu => menu::Event::SCHEMAS,
            StreamKind::Serving => serving::Event::SCHEMAS,
            StreamKind::Order => order::Event::SCHEMAS,
            StreamKind::Payment => payment::Event::SCHEMAS,
            StreamKind::Wallet | StreamKind::Subsidy | StreamKind::Company => account::Event::SCHEMAS,
        }
    }
}

/// Which stream an account's events are in.
pub(crate) fn account_stream(id: AccountId) -> (StreamKind, Uuid) {
    match id {
        AccountId::Wallet(diner) => (StreamKind::Wallet, diner.0),
        AccountId::Subsidy(diner) => (StreamKind::Subsidy, diner.0),
        AccountId::Company(company) => (StreamKind::Company, company.0),
    }
}
