//! Scalars, and money as people read it.

use std::str::FromStr;

use async_graphql::{
    InputObject, InputType, InputValueError, InputValueResult, Scalar, ScalarType, SimpleObject, Value,
};
use domain::Currency;

use crate::errors::{self, Code, Failed};

/// Longest text of any scalar here, in bytes.
const MAX_TEXT: usize = 64;

fn text<T: ScalarType + InputType>(value: &Value) -> Result<&str, InputValueError<T>> {
    match value {
        Value::String(text) if text.len() <= MAX_TEXT => Ok(text),
        Value::String(_) => Err(InputValueError::custom(format!("it is longer than {MAX_TEXT} characters"))),
        _ => Err(InputValueError::custom("it must be a string")),
    }
}

macro_rules! text_scalar {
    ($($(#[$doc:meta])* $name:ident($inner:ty) as $graphql:literal, $expected:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) struct $name(pub(crate) $inner);

        $(#[$doc])*
        #[Scalar(name = $graphql)]
        impl ScalarType for $name {
            fn parse(value: Value) -> InputValueResult<Self> {
                let text = text::<Self>(&value)?;
                <$inner>::from_str(text).map($name).map_err(|_| InputValueError::custom($expected))
            }
            fn to_value(&self) -> Value {
                Value::String(self.0.to_string())
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                $name(value)
            }
        }
    )*};
}

text_scalar! {
    /// An exact decimal number, written as a string such as "12.50". Never a float.
    Decimal(Exact) as "Decimal", "expected a decimal number as a string, such as \"12.50\"";
    /// A whole number that may pass 2³¹, written as a string.
    BigInt(i64) as "BigInt", "expected a whole number as a string";
    /// An instant in RFC 3339, such as "2026-11-23T03:30:00Z".
    DateTime(domain::Timestamp) as "DateTime", "expected an instant such as \"2026-11-23T03:30:00Z\"";
    /// A calendar date, such as "2026-11-23".
    Date(jiff::civil::Date) as "Date", "expected a date such as \"2026-11-23\"";
    /// A local date and time without a zone, such as "2026-11-23T11:30". The zone is the canteen's.
    LocalDateTime(jiff::civil::DateTime) as "LocalDateTime", "expected a local time such as \"2026-11-23T11:30\"";
    /// A UUID, such as "018f4d0e-7c1a-7b3e-9a52-0242ac120002".
    Uuid(uuid::Uuid) as "UUID", "expected a UUID";
}

/// A decimal read without rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exact(pub(crate) rust_decimal::Decimal);

impl FromStr for Exact {
    type Err = rust_decimal::Error;

    fn from_str(text: &str) -> Result<Self, rust_decimal::Error> {
        rust_decimal::Decimal::from_str_exact(text).map(Exact)
    }
}

impl std::fmt::Display for Exact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// In percent.
impl From<domain::tax::TaxRate> for Decimal {
    fn from(rate: domain::tax::TaxRate) -> Self {
        Decimal(Exact(rate.percent()))
    }
}

/// A whole number from 1 to 2147483647.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PositiveInt(pub(crate) u32);

/// A whole number from 1 to 2147483647.
#[Scalar]
impl ScalarType for PositiveInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        let number = match &value {
            Value::Number(number) => number.as_i64(),
            _ => None,
        };
        let positive = number.and_then(|number| i32::try_from(number).ok()).filter(|number| *number > 0);
        let positive = positive.ok_or_else(|| InputValueError::custom("expected a whole number from 1 to 2147483647"));
        positive.map(|number| PositiveInt(number.unsigned_abs()))
    }

    fn to_value(&self) -> Value {
        Value::from(self.0)
    }
}

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq, SimpleObject)]
pub(crate) struct Money {
    /// In major units (yuan, dollars), with all the currency's decimal places.
    amount: Decimal,
    /// The ISO 4217 code.
    currency: &'static str,
}

impl From<domain::Money> for Money {
    fn from(money: domain::Money) -> Self {
        Money { amount: Decimal(Exact(money.to_decimal())), currency: money.currency.code() }
    }
}

/// An amount of money.
#[derive(Clone, Debug, InputObject)]
pub(crate) struct MoneyInput {
    /// In major units (yuan, dollars); no more decimal places than the currency has.
    amount: Decimal,
    /// An ISO 4217 code, such as CNY.
    currency: String,
}

impl MoneyInput {
    /// `field` is what an error names.
    pub(crate) fn read(&self, field: &'static str) -> Result<domain::Money, Failed> {
        let currency: Currency =
            self.currency.parse().map_err(|error: domain::MoneyError| errors::of(Code::BadInput, &error).at(field))?;
        let money = domain::Money::from_decimal(self.amount.0.0, currency);
        money.map_err(|error| errors::of(Code::BadInput, &error).at(field))
    }
}
