//! Every event of every aggregate, under the stream that it belongs to.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::{
    AccountId, CanteenId, CompanyId, CorrectionId, DinerId, Event, GrantRunId, InvoiceId, OrderId, PaymentId, PayoutId,
    PolicyId, ServingId, TenantId, TopUpId, account, books, correction, diner, grant_run, invoice, menu, order,
    payment, payout, policy, serving, top_up,
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
    Policy = 8,
    Grant = 9,
    Diner = 10,
    Books = 11,
    Correction = 12,
    TopUp = 13,
    Payout = 14,
    Invoice = 15,
}

/// A kind of stream, or an event type, that this program does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a kind of stream that this program knows")]
pub struct UnknownKind(pub String);

impl StreamKind {
    pub const ALL: [StreamKind; 15] = [
        StreamKind::Menu,
        StreamKind::Serving,
        StreamKind::Order,
        StreamKind::Payment,
        StreamKind::Wallet,
        StreamKind::Subsidy,
        StreamKind::Company,
        StreamKind::Policy,
        StreamKind::Grant,
        StreamKind::Diner,
        StreamKind::Books,
        StreamKind::Correction,
        StreamKind::TopUp,
        StreamKind::Payout,
        StreamKind::Invoice,
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
            StreamKind::Policy => "policy",
            StreamKind::Grant => "grant",
            StreamKind::Diner => "diner",
            StreamKind::Books => "books",
            StreamKind::Invoice => "invoice",
            StreamKind::Correction => "correction",
            StreamKind::TopUp => "top_up",
            StreamKind::Payout => "payout",
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
    Policy(PolicyId, policy::Event),
    Grant(GrantRunId, grant_run::Event),
    Diner(DinerId, diner::Event),
    Books(TenantId, books::Event),
    Invoice(InvoiceId, invoice::Event),
    Correction(CorrectionId, correction::Event),
    TopUp(TopUpId, top_up::Event),
    Payout(PayoutId, payout::Event),
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
            StreamKind::Policy => Fact::Policy(PolicyId(key), from_slice(payload)?),
            StreamKind::Grant => Fact::Grant(GrantRunId(key), from_slice(payload)?),
            StreamKind::Diner => Fact::Diner(DinerId(key), from_slice(payload)?),
            StreamKind::Books => Fact::Books(TenantId(key), from_slice(payload)?),
            StreamKind::Invoice => Fact::Invoice(InvoiceId(key), from_slice(payload)?),
            StreamKind::Correction => Fact::Correction(CorrectionId(key), from_slice(payload)?),
            StreamKind::TopUp => Fact::TopUp(TopUpId(key), from_slice(payload)?),
            StreamKind::Payout => Fact::Payout(PayoutId(key), from_slice(payload)?),
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
            Fact::Policy(_, event) => event.name(),
            Fact::Grant(_, event) => event.name(),
            Fact::Diner(_, event) => event.name(),
            Fact::Books(_, event) => event.name(),
            Fact::Invoice(_, event) => event.name(),
            Fact::Correction(_, event) => event.name(),
            Fact::TopUp(_, event) => event.name(),
            Fact::Payout(_, event) => event.name(),
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
            StreamKind::Policy => policy::Event::SCHEMAS,
            StreamKind::Grant => grant_run::Event::SCHEMAS,
            StreamKind::Diner => diner::Event::SCHEMAS,
            StreamKind::Books => books::Event::SCHEMAS,
            StreamKind::Invoice => invoice::Event::SCHEMAS,
            StreamKind::Correction => correction::Event::SCHEMAS,
            StreamKind::TopUp => top_up::Event::SCHEMAS,
            StreamKind::Payout => payout::Event::SCHEMAS,
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::testing::{diner, every_fact, id};

    fn stream(fact: &Fact) -> (StreamKind, Uuid) {
        match fact {
            Fact::Menu(of, _) => (StreamKind::Menu, of.0),
            Fact::Serving(of, _) => (StreamKind::Serving, of.0),
            Fact::Order(of, _) => (StreamKind::Order, of.0),
            Fact::Payment(of, _) => (StreamKind::Payment, of.0),
            Fact::Account(of, _) => account_stream(*of),
            Fact::Policy(of, _) => (StreamKind::Policy, of.0),
            Fact::Grant(of, _) => (StreamKind::Grant, of.0),
            Fact::Diner(of, _) => (StreamKind::Diner, of.0),
            Fact::Books(of, _) => (StreamKind::Books, of.0),
            Fact::Invoice(of, _) => (StreamKind::Invoice, of.0),
            Fact::Correction(of, _) => (StreamKind::Correction, of.0),
            Fact::TopUp(of, _) => (StreamKind::TopUp, of.0),
            Fact::Payout(of, _) => (StreamKind::Payout, of.0),
        }
    }

    fn payload(fact: &Fact) -> serde_json::Value {
        let json = match fact {
            Fact::Menu(_, event) => serde_json::to_value(event),
            Fact::Serving(_, event) => serde_json::to_value(event),
            Fact::Order(_, event) => serde_json::to_value(event),
            Fact::Payment(_, event) => serde_json::to_value(event),
            Fact::Account(_, event) => serde_json::to_value(event),
            Fact::Policy(_, event) => serde_json::to_value(event),
            Fact::Grant(_, event) => serde_json::to_value(event),
            Fact::Diner(_, event) => serde_json::to_value(event),
            Fact::Books(_, event) => serde_json::to_value(event),
            Fact::Invoice(_, event) => serde_json::to_value(event),
            Fact::Correction(_, event) => serde_json::to_value(event),
            Fact::TopUp(_, event) => serde_json::to_value(event),
            Fact::Payout(_, event) => serde_json::to_value(event),
        };
        json.unwrap()
    }

    #[test]
    fn every_event_comes_back_from_the_log() {
        for fact in every_fact() {
            let ((kind, key), json) = (stream(&fact), payload(&fact));
            let read = Fact::decode(kind, key, json.to_string().as_bytes()).unwrap();
            assert_eq!(read, fact);
            // The payload is tagged with the event's name, which is how it is upcast.
            let tag = json.as_str().or_else(|| json.as_object()?.keys().next().map(String::as_str));
            assert_eq!(tag, Some(fact.name()));
        }
    }

    #[test]
    fn every_event_has_a_schema_version_and_every_schema_an_event() {
        let mut names: BTreeMap<StreamKind, BTreeSet<&str>> = BTreeMap::new();
        for fact in every_fact() {
            names.entry(stream(&fact).0).or_default().insert(fact.name());
        }
        let like_a_wallet = |kind: &StreamKind| matches!(kind, StreamKind::Subsidy | StreamKind::Company);
        for kind in StreamKind::ALL.into_iter().filter(|kind| !like_a_wallet(kind)) {
            let schemas = Fact::schemas(kind);
            let declared: BTreeSet<&str> = schemas.iter().map(|(name, _)| *name).collect();
            assert_eq!(names[&kind], declared, "{kind:?}");
            assert_eq!(declared.len(), schemas.len(), "{kind:?} names one twice");
            assert!(schemas.iter().all(|(_, version)| *version > 0));
        }
        assert_eq!(Fact::schemas(StreamKind::Subsidy), Fact::schemas(StreamKind::Company));
    }

    #[test]
    fn an_unreadable_payload_is_an_error() {
        for payload in ["", "{}", "null", "\"Melted\"", "{\"Melted\":{}}", "{\"Readied\":{}}", "\"Confirmed\" x"] {
            assert!(Fact::decode(StreamKind::Order, id(1), payload.as_bytes()).is_err(), "{payload}");
        }
    }

    #[test]
    fn each_owner_has_three_accounts_in_streams_of_their_own() {
        let (wallet, subsidy) = (AccountId::Wallet(diner(1)), AccountId::Subsidy(diner(1)));
        let company = AccountId::Company(CompanyId(id(1)));
        let streams: BTreeSet<_> = [wallet, subsidy, company].map(account_stream).into();
        assert_eq!(streams.len(), 3);
        for of in [wallet, subsidy, company] {
            let (kind, key) = account_stream(of);
            let read = Fact::decode(kind, key, b"\"Frozen\"").unwrap();
            assert_eq!(read, Fact::Account(of, account::Event::Frozen));
        }
    }

    #[test]
    fn kinds_keep_their_numbers() {
        let numbers = StreamKind::ALL.map(|kind| (kind.name(), kind as u8, kind.aggregate()));
        assert_eq!(
            numbers,
            [
                ("menu", 1, "menu"),
                ("serving", 2, "serving"),
                ("order", 3, "order"),
                ("payment", 4, "payment"),
                ("wallet", 5, "account"),
                ("subsidy", 6, "account"),
                ("company", 7, "account"),
                ("policy", 8, "policy"),
                ("grant", 9, "grant"),
                ("diner", 10, "diner"),
                ("books", 11, "books"),
                ("correction", 12, "correction"),
                ("top_up", 13, "top_up"),
                ("payout", 14, "payout"),
                ("invoice", 15, "invoice"),
            ]
        );
        for kind in StreamKind::ALL {
            assert_eq!(StreamKind::try_from(kind as u8), Ok(kind));
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!(StreamKind::try_from(0), Err(UnknownKind("0".into())));
        assert_eq!(StreamKind::try_from(200), Err(UnknownKind("200".into())));
        assert_eq!("Menu".parse::<StreamKind>(), Err(UnknownKind("Menu".into())));
        let stream = StreamId { tenant: TenantId(id(9)), kind: StreamKind::Order, key: id(1) };
        assert_eq!(stream.to_string(), "order:00000000-0000-0000-0000-000000000001");
    }
}
