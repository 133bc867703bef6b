//! How the domain's words stand in a column.

use std::ops::{Deref, DerefMut};

use domain::{
    AccountId, ActorId, CanteenId, CommandId, CompanyId, Currency, DinerId, DishId, OrderId, PaymentId, RefundId,
    ServingId, TenantId, Timestamp, order::Channel, order::RefundReason, order::Terms, postings::LedgerAccount,
    serving::Meal,
};
use rusqlite::{
    ToSql,
    types::{FromSqlError, FromSqlResult, ToSqlOutput, Value, ValueRef},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

/// A value that fits one column.
pub trait Column: Sized {
    /// Its SQL type with `NOT NULL`, unless it may be null.
    const SQL: &'static str;

    fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>>;
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self>;
}

/// Binds a [`Column`] as a parameter.
#[derive(Debug)]
pub struct Arg<'a, C>(pub &'a C);

impl<C: Column> ToSql for Arg<'_, C> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_column()
    }
}

/// The parameters of a query, each a [`Column`]: `args![tenant, canteen, date]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        &[$(&$crate::Arg(&$value) as &dyn $crate::ToSql),*]
    };
}

macro_rules! ids {
    ($($name:ident)*) => {$(
        /// As 16 bytes.
        impl Column for $name {
            const SQL: &'static str = "BLOB NOT NULL";
            fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
            }
            fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Uuid::from_column(value).map($name)
            }
        }
    )*};
}

ids! { TenantId CompanyId CanteenId DinerId DishId ServingId OrderId PaymentId RefundId ActorId CommandId }

impl Column for Uuid {
    const SQL: &'static str = "BLOB NOT NULL";
    fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.as_bytes())))
    }
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Uuid::from_slice(value.as_blob()?).map_err(FromSqlError::other)
    }
}

/// As microseconds since 1970.
impl Column for Timestamp {
    const SQL: &'static str = "INTEGER NOT NULL";
    fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.micros.into())
    }
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Timestamp::from_micros)
    }
}

macro_rules! integers {
    ($($name:ident)*) => {$(
        impl Column for $name {
            const SQL: &'static str = "INTEGER NOT NULL";
            fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                let fits = i64::try_from(*self);
                fits.map(ToSqlOutput::from).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
            }
            fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let number = value.as_i64()?;
                number.try_into().map_err(|_| FromSqlError::OutOfRange(number))
            }
        }
    )*};
}

integers! { i64 u64 u32 u16 u8 usize }

impl Column for bool {
    const SQL: &'static str = "INTEGER NOT NULL";
    fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok((*self).into())
    }
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(|number| number != 0)
    }
}

impl Column for String {
    const SQL: &'static str = "TEXT NOT NULL";
    fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Column for Currency {
    const SQL: &'static str = "TEXT NOT NULL";
    fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.code().into())
    }
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map_err(FromSqlError::other)
    }
}

macro_rules! displayed {
    ($($name:ty),*) => {$(
        /// As its text.
        impl Column for $name {
            const SQL: &'static str = "TEXT NOT NULL";
            fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.to_string().into())
            }
            fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map_err(FromSqlError::other)
            }
        }
    )*};
}

displayed! { AccountId, LedgerAccount, jiff::civil::Date }

/// A text that stands for no value of its column.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a value of this column")]
pub(crate) struct UnknownWord(pub String);

macro_rules! words {
    ($($name:ident { $($variant:ident = $word:literal),* $(,)? })*) => {$(
        /// As a word.
        impl $crate::Column for $name {
            const SQL: &'static str = "TEXT NOT NULL";
            fn to_column(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
                Ok(match self { $($name::$variant => $word),* }.into())
            }
            fn from_column(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
                match value.as_str()? {
                    $($word => Ok($name::$variant),)*
                    other => Err(rusqlite::types::FromSqlError::other($crate::column::UnknownWord(other.chars().take(40).collect()))),
                }
            }
        }
    )*};
}
pub(crate) use words;

words! {
    Meal { Breakfast = "breakfast", Lunch = "lunch", Dinner = "dinner", Snack = "snack" }
    Channel { Online = "online", Counter = "counter", Import = "import" }
    Terms { Balances = "balances", AtCounter = "at_counter", Elsewhere = "elsewhere" }
    RefundReason {
        CancelledByDiner = "cancelled_by_diner", CancelledByCanteen = "cancelled_by_canteen",
        Withdrawn = "withdrawn", Complaint = "complaint",
    }
}

/// Null when there is none.
impl<C: Column> Column for Option<C> {
    const SQL: &'static str = nullable(C::SQL);
    fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Some(value) => value.to_column(),
            None => Ok(ToSqlOutput::Owned(Value::Null)),
        }
    }
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Null => Ok(None),
            value => C::from_column(value).map(Some),
        }
    }
}

/// The type without its `NOT NULL`.
const fn nullable(sql: &'static str) -> &'static str {
    match sql.as_bytes() {
        [b'B', ..] => "BLOB",
        [b'I', ..] => "INTEGER",
        _ => "TEXT",
    }
}

/// A nested value, as JSON text.
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
    const SQL: &'static str = "TEXT NOT NULL";
    fn to_column(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(&self.0);
        text.map(ToSqlOutput::from).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
    fn from_column(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Json).map_err(FromSqlError::other)
    }
}
