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
    /// One change of an order's lines. The refund of what it makes cheaper bears its UUID.
    ChangeId
    /// What a company grants its diners, and on what terms.
    PolicyId
    /// Diners of one company who are treated alike.
    GroupId
    /// One granting of subsidies, to many diners.
    GrantRunId
    /// A part of a diner's subsidy that expires as one.
    LotId
    /// What a company owes, asked of it.
    InvoiceId
    /// Money that comes into an account from outside.
    TopUpId
    /// Money that an account's owner takes out of it.
    PayoutId
    /// What finance proposes to put right in the books.
    CorrectionId
    /// Whoever gave a command: a diner, a member of staff, a saga.
    ActorId
    /// What caused an event. A repeat of the same command has the same id.
    CommandId
}

impl RefundId {
    /// Of what a serving withdrew from an order: a dish, or everything.
    pub fn of_withdrawal(order: OrderId, serving: ServingId, dish: Option<DishId>) -> RefundId {
        let what = dish.map_or_else(|| "all".to_owned(), |dish| dish.to_string());
        RefundId(derived_id(order.0, &[b"withdrawal", serving.0.as_bytes(), what.as_bytes()]))
    }
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

impl CorrectionId {
    /// The id under which the account of an entry is adjusted.
    pub fn adjustment(self, entry: u32) -> Uuid {
        derived_id(self.0, &[b"adjustment", &entry.to_le_bytes()])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{diner, hold, id};

    const KEY: Uuid = Uuid::from_u128(0x0193_5a3e_9c00_7abc_8def_0123_4567_89ab);

    #[test]
    fn a_derived_id_is_the_same_in_every_process() {
        let made = derived_id(KEY, &[b"a", b"bc"]);
        assert_eq!(made.get_version_num(), 8);
        // Recorded once; ids in existing logs depend on it.
        assert_eq!(made.to_string(), "01935a3e-9c00-8985-aed5-83bbf5b3c315");
        assert_ne!(made, derived_id(KEY, &[b"ab", b"c"]));
        assert_ne!(made, derived_id(KEY, &[b"a", b"bc", b""]));
        assert_ne!(made, derived_id(id(1), &[b"a", b"bc"]));
    }

    #[test]
    fn it_keeps_the_time_of_what_it_follows_from() {
        let first = derived_id(KEY, &[b"first"]);
        let second = derived_id(first, &[b"second"]);
        assert_eq!(first.as_bytes()[..6], KEY.as_bytes()[..6]);
        assert_eq!(second.as_bytes()[..6], KEY.as_bytes()[..6]);
        // A random UUID has no time to keep.
        let random = Uuid::from_u128(0x1111_2222_3333_4444_8555_6666_7777_8888);
        assert_ne!(derived_id(random, &[b"first"]).as_bytes()[..6], random.as_bytes()[..6]);
    }

    #[test]
    fn a_request_is_named_by_all_that_it_belongs_to() {
        let (tenant, actor) = (TenantId(id(1)), ActorId(id(2)));
        let made = request_id(tenant, actor, "placeOrder", KEY);
        assert_eq!(made, request_id(tenant, actor, "placeOrder", KEY));
        for other in [
            request_id(TenantId(id(9)), actor, "placeOrder", KEY),
            request_id(tenant, ActorId(id(9)), "placeOrder", KEY),
            request_id(tenant, actor, "cancelOrder", KEY),
            request_id(tenant, actor, "placeOrder", id(9)),
            request_id(TenantId(id(2)), ActorId(id(1)), "placeOrder", KEY),
        ] {
            assert_ne!(made, other);
        }
        let step = step_id("checkout", made, "reserve");
        assert_eq!(step, step_id("checkout", made, "reserve"));
        assert_ne!(step, step_id("checkout", made, "confirm"));
        assert_ne!(step, step_id("refund", made, "reserve"));
    }

    #[test]
    fn names_come_back_from_their_text() {
        for account in [AccountId::Wallet(diner(1)), AccountId::Subsidy(diner(1)), AccountId::Company(CompanyId(id(3)))]
        {
            assert_eq!(account.to_string().parse(), Ok(account));
            let json = serde_json::to_string(&account).unwrap();
            assert_eq!(serde_json::from_str::<AccountId>(&json).unwrap(), account);
        }
        let second = HoldId { tender: 255, ..hold(1) };
        assert_eq!(second.to_string(), "00000000-0000-0000-0000-000000000001/255");
        assert_eq!(second.to_string().parse(), Ok(second));
    }

    #[test]
    fn other_texts_are_no_names() {
        let uuid = id(1);
        for text in ["", "wallet", "wallet:", "wallet:1", "purse:", &format!("purse:{uuid}"), &format!("Wallet:{uuid}")]
        {
            assert_eq!(text.parse::<AccountId>(), Err(NotAnAccount(text.into())));
        }
        for text in
            ["", "/", "1/1", &format!("{uuid}"), &format!("{uuid}/"), &format!("{uuid}/256"), &format!("{uuid}/-1")]
        {
            assert_eq!(text.parse::<HoldId>(), Err(NotAHold(text.into())));
        }
        // What is refused is repeated only so far.
        assert_eq!("é".repeat(500).parse::<AccountId>(), Err(NotAnAccount("é".repeat(80))));
    }
}
