//! Identities. All are UUIDs; those that follow from something else say from what.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::parse_str(text).map($name)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                $name(id)
            }
        }
    )*};
}

ids! {
    /// The legal entity whose data is isolated.
    TenantId
    /// An employer that funds meals.
    CompanyId
    /// A kitchen that cooks and serves.
    CanteenId
    /// Somebody who orders.
    DinerId
    /// Something a canteen can cook.
    DishId
    /// One meal of one day at one canteen.
    ServingId
    /// What one diner asks of one serving.
    OrderId
    /// How one order is paid. An order has one payment, and it bears the order's UUID.
    PaymentId
    /// One giving back of money.
    RefundId
    /// Whoever gave a command: a diner, a member of staff, a saga.
    ActorId
    /// What caused an event. A repeat of the same command has the same id.
    CommandId
}

impl OrderId {
    pub fn payment(self) -> PaymentId {
        PaymentId(self.0)
    }
}

impl PaymentId {
    pub fn order(self) -> OrderId {
        OrderId(self.0)
    }
}

/// An id that follows from `parts`, in whatever process it is computed.
///
/// A UUIDv8. When `time_of` is a UUIDv7 its 48-bit time stands in front, so that ids made one
/// after the other also sort so and new streams go to the right-hand end of an index.
pub fn derived_id(time_of: Uuid, parts: &[&[u8]]) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.update(time_of.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    if matches!(time_of.get_version_num(), 7 | 8) {
        bytes[..6].copy_from_slice(&time_of.as_bytes()[..6]);
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The id of the command that `actor` gives with an idempotency key, and of what it creates.
pub fn request_id(tenant: TenantId, actor: ActorId, mutation: &str, key: Uuid) -> Uuid {
    derived_id(key, &[b"request", tenant.0.as_bytes(), actor.0.as_bytes(), mutation.as_bytes()])
}

/// The id of the command with which a saga takes `step` for `subject`.
pub fn step_id(saga: &str, subject: Uuid, step: &str) -> CommandId {
    CommandId(derived_id(subject, &[b"step", saga.as_bytes(), step.as_bytes()]))
}

/// Money that Tiffin guards with a limit, by its owner: `wallet:{diner}`, `subsidy:{diner}` or
/// `company:{company}`. The id is also the name of its ledger account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountId {
    Wallet(DinerId),
    Subsidy(DinerId),
    Company(CompanyId),
}

impl AccountId {
    /// The diner whose money it is, unless it is a company's.
    pub fn diner(self) -> Option<DinerId> {
        match self {
            AccountId::Wallet(diner) | AccountId::Subsidy(diner) => Some(diner),
            AccountId::Company(_) => None,
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AccountId::Wallet(diner) => write!(f, "wallet:{diner}"),
            AccountId::Subsidy(diner) => write!(f, "subsidy:{diner}"),
            AccountId::Company(company) => write!(f, "company:{company}"),
        }
    }
}

/// A text that is not an account's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an account is wallet:ID, subsidy:ID or company:ID with a UUID, not {0:?}")]
pub struct NotAnAccount(pub String);

impl FromStr for AccountId {
    type Err = NotAnAccount;

    fn from_str(text: &str) -> Result<Self, NotAnAccount> {
        let parsed = text.split_once(':').and_then(|(kind, id)| {
            let id = Uuid::parse_str(id).ok()?;
            match kind {
                "wallet" => Some(AccountId::Wallet(DinerId(id))),
                "subsidy" => Some(AccountId::Subsidy(DinerId(id))),
                "company" => Some(AccountId::Company(CompanyId(id))),
                _ => None,
            }
        });
        parsed.ok_or_else(|| NotAnAccount(text.chars().take(80).collect()))
    }
}

/// Serde and JSON schema by `Display` and `FromStr`.
macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string" })
            }
        }
    )*};
}
pub(crate) use as_text;

as_text! { AccountId }

/// A claim on an account's money: the tender of a payment that is to be paid from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldId {
    pub payment: PaymentId,
    pub tender: u8,
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.payment, self.tender)
    }
}

/// A text that is not a hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a hold is PAYMENT/TENDER, not {0:?}")]
pub struct NotAHold(pub String);

impl FromStr for HoldId {
    type Err = NotAHold;

    fn from_str(text: &str) -> Result<Self, NotAHold> {
        text.split_once('/')
            .and_then(|(payment, tender)| Some(HoldId { payment: payment.parse().ok()?, tender: tender.parse().ok()? }))
            .ok_or_else(|| NotAHold(text.chars().take(80).collect()))
    }
}

as_text! { HoldId }
