//! How the domain's words stand in a column, whatever the database.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut},
};

use domain::{
    AccountId, ActorId, CanteenId, CommandId, CompanyId, CorrectionId, Currency, DinerId, DishId, GrantRunId, GroupId,
    InvoiceId, LotId, OrderId, PaymentId, PayoutId, PolicyId, RefundId, ServingId, StreamKind, TenantId, Timestamp,
    TopUpId, order::Channel, order::RefundReason, order::Terms, payment::Provider, postings::LedgerAccount,
    serving::Meal, tax::TaxRate,
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// What a column holds. Each database has its own type for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Boolean,
    Text,
    Json,
    Uuid,
    /// Microseconds since 1970.
    Time,
    /// A calendar day, as `2026-11-23`.
    Date,
}

/// A column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnType {
    pub kind: Kind,
    pub nullable: bool,
}

impl ColumnType {
    const fn of(kind: Kind) -> ColumnType {
        ColumnType { kind, nullable: false }
    }
}

/// What stands in a column of one row. Booleans are 0 and 1; days and JSON are text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
    Uuid(Uuid),
}

/// A value that does not fit its column, or a column that does not fit what is read from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Misfit(pub String);

impl Misfit {
    fn of(value: &Value<'_>, wanted: &str) -> Misfit {
        let shown: String = format!("{value:?}").chars().take(60).collect();
        Misfit(format!("{shown} is not {wanted}"))
    }
}

impl<'a> Value<'a> {
    fn integer(&self) -> Result<i64, Misfit> {
        match self {
            Value::Integer(number) => Ok(*number),
            other => Err(Misfit::of(other, "a number")),
        }
    }

    fn text(self) -> Result<Cow<'a, str>, Misfit> {
        match self {
            Value::Text(text) => Ok(text),
            other => Err(Misfit::of(&other, "a text")),
        }
    }

    /// The value with nothing borrowed.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Null => Value::Null,
            Value::Integer(number) => Value::Integer(number),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Uuid(id) => Value::Uuid(id),
        }
    }
}

/// A value that fits one column.
pub trait Column: Sized {
    const TYPE: ColumnType;

    fn to_value(&self) -> Result<Value<'_>, Misfit>;
    fn from_value(value: Value<'_>) -> Result<Self, Misfit>;
}

/// A parameter of a query.
#[derive(Clone, Debug)]
pub struct Param<'a> {
    pub(crate) kind: Kind,
    pub(crate) value: Result<Value<'a>, Misfit>,
}

impl<'a> Param<'a> {
    pub fn of<C: Column>(value: &'a C) -> Param<'a> {
        Param { kind: C::TYPE.kind, value: value.to_value() }
    }
}

/// The parameters of a query, each a [`Column`]: `args![tenant, canteen, date]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        &[$($crate::Param::of(&$value)),*]
    };
}

macro_rules! ids {
    ($($name:ident)*) => {$(
        impl Column for $name {
            const TYPE: ColumnType = Uuid::TYPE;
            fn to_value(&self) -> Result<Value<'_>, Misfit> {
                Ok(Value::Uuid(self.0))
            }
            fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
                Uuid::from_value(value).map($name)
            }
        }
    )*};
}

ids! {
    TenantId CompanyId CanteenId DinerId DishId ServingId OrderId PaymentId RefundId ActorId CommandId PolicyId LotId
    GroupId GrantRunId InvoiceId TopUpId PayoutId CorrectionId
}

impl Column for Uuid {
    const TYPE: ColumnType = ColumnType::of(Kind::Uuid);
    fn to_value(&self) -> Result<Value<'_>, Misfit> {
        Ok(Value::Uuid(*self))
    }
    fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
        match value {
            Value::Uuid(id) => Ok(id),
            other => Err(Misfit::of(&other, "an id")),
        }
    }
}

impl Column for Timestamp {
    const TYPE: ColumnType = ColumnType::of(Kind::Time);
    fn to_value(&self) -> Result<Value<'_>, Misfit> {
        Ok(Value::Integer(self.micros))
    }
    fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
        value.integer().map(Timestamp::from_micros)
    }
}

macro_rules! integers {
    ($($name:ident)*) => {$(
        impl Column for $name {
            const TYPE: ColumnType = ColumnType::of(Kind::Integer);
            fn to_value(&self) -> Result<Value<'_>, Misfit> {
                i64::try_from(*self).map(Value::Integer).map_err(|_| Misfit(format!("{self} is too large for a column")))
            }
            fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
                let number = value.integer()?;
                number.try_into().map_err(|_| Misfit::of(&value, concat!("a number of type ", stringify!($name))))
            }
        }
    )*};
}

integers! { i64 u64 u32 u16 u8 usize }

impl Column for bool {
    const TYPE: ColumnType = ColumnType::of(Kind::Boolean);
    fn to_value(&self) -> Result<Value<'_>, Misfit> {
        Ok(Value::Integer(i64::from(*self)))
    }
    fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
        value.integer().map(|number| number != 0)
    }
}

impl Column for String {
    const TYPE: ColumnType = ColumnType::of(Kind::Text);
    fn to_value(&self) -> Result<Value<'_>, Misfit> {
        Ok(Value::Text(Cow::Borrowed(self)))
    }
    fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
        value.text().map(Cow::into_owned)
    }
}

impl Column for Currency {
    const TYPE: ColumnType = ColumnType::of(Kind::Text);
    fn to_value(&self) -> Result<Value<'_>, Misfit> {
        Ok(Value::Text(Cow::Borrowed(self.code())))
    }
    fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
        parsed(value)
    }
}

fn parsed<T: std::str::FromStr>(value: Value<'_>) -> Result<T, Misfit>
where
    T::Err: std::fmt::Display,
{
    let text = value.text()?;
    text.parse().map_err(|error| Misfit(format!("{text:?} cannot be read: {error}")))
}

macro_rules! displayed {
    ($($name:ty: $kind:ident),*) => {$(
        /// As its text.
        impl Column for $name {
            const TYPE: ColumnType = ColumnType::of(Kind::$kind);
            fn to_value(&self) -> Result<Value<'_>, Misfit> {
                Ok(Value::Text(Cow::Owned(self.to_string())))
            }
            fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
                parsed(value)
            }
        }
    )*};
}

displayed! { AccountId: Text, LedgerAccount: Text, TaxRate: Text, jiff::civil::Date: Date }

macro_rules! words {
    ($($name:ident { $($variant:ident = $word:literal),* $(,)? })*) => {$(
        /// As a word.
        impl $crate::Column for $name {
            const TYPE: $crate::ColumnType = <String as $crate::Column>::TYPE;
            fn to_value(&self) -> Result<$crate::Value<'_>, $crate::Misfit> {
                let word = match self { $($name::$variant => $word),* };
                Ok($crate::Value::Text(std::borrow::Cow::Borrowed(word)))
            }
            fn from_value(value: $crate::Value<'_>) -> Result<Self, $crate::Misfit> {
                match &value {
                    $($crate::Value::Text(word) if word == $word => Ok($name::$variant),)*
                    other => Err($crate::Misfit(format!("{other:?} is not a word for {}", stringify!($name)))),
                }
            }
        }
    )*};
}
pub(crate) use words;

words! {
    Meal { Breakfast = "breakfast", Lunch = "lunch", Dinner = "dinner", Snack = "snack" }
    StreamKind {
        Menu = "menu", Serving = "serving", Order = "order", Payment = "payment", Wallet = "wallet",
        Subsidy = "subsidy", Company = "company", Policy = "policy", Grant = "grant", Diner = "diner",
        Books = "books", Correction = "correction", TopUp = "top_up", Payout = "payout",
        Invoice = "invoice",
    }
    Channel { Online = "online", Counter = "counter", WalkUp = "walk_up", Import = "import" }
    RefundReason {
        CancelledByDiner = "cancelled_by_diner", CancelledByCanteen = "cancelled_by_canteen",
        Withdrawn = "withdrawn", Complaint = "complaint", NoShow = "no_show", Changed = "changed",
    }
}

/// As a word; with a provider, as `balances_then_wechat_pay`.
impl Column for Terms {
    const TYPE: ColumnType = <String as Column>::TYPE;
    fn to_value(&self) -> Result<Value<'_>, Misfit> {
        Ok(Value::Text(match self {
            Terms::Balances => Cow::Borrowed("balances"),
            Terms::AtCounter => Cow::Borrowed("at_counter"),
            Terms::Elsewhere => Cow::Borrowed("elsewhere"),
            Terms::BalancesThen(provider) => Cow::Owned(format!("{BALANCES_THEN}{}", provider.name())),
        }))
    }
    fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
        let text = value.text()?;
        match &*text {
            "balances" => Ok(Terms::Balances),
            "at_counter" => Ok(Terms::AtCounter),
            "elsewhere" => Ok(Terms::Elsewhere),
            other => {
                let provider = other.strip_prefix(BALANCES_THEN).and_then(Provider::named);
                provider.map(Terms::BalancesThen).ok_or_else(|| Misfit(format!("{other:?} is not a word for Terms")))
            }
        }
    }
}

const BALANCES_THEN: &str = "balances_then_";

/// Null when there is none.
impl<C: Column> Column for Option<C> {
    const TYPE: ColumnType = ColumnType { nullable: true, ..C::TYPE };
    fn to_value(&self) -> Result<Value<'_>, Misfit> {
        self.as_ref().map_or(Ok(Value::Null), C::to_value)
    }
    fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
        match value {
            Value::Null => Ok(None),
            value => C::from_value(value).map(Some),
        }
    }
}

/// A nested value, as JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Json<T>(pub T);

impl<T> Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize + DeserializeOwned> Column for Json<T> {
    const TYPE: ColumnType = ColumnType::of(Kind::Json);
    fn to_value(&self) -> Result<Value<'_>, Misfit> {
        let text = serde_json::to_string(&self.0).map_err(|error| Misfit(error.to_string()))?;
        Ok(Value::Text(Cow::Owned(text)))
    }
    fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
        let text = value.text()?;
        serde_json::from_str(&text).map(Json).map_err(|error| Misfit(error.to_string()))
    }
}
