//! Exact money: a whole number of a currency's minor units.

use std::{fmt, str::FromStr};

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::as_text;

/// An ISO 4217 code whose minor units Tiffin knows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

/// Code and number of decimal places, from ISO 4217 (list one).
const CURRENCIES: &[(&str, u32)] = &[
    ("AED", 2),
    ("AUD", 2),
    ("BRL", 2),
    ("CAD", 2),
    ("CHF", 2),
    ("CNY", 2),
    ("CZK", 2),
    ("DKK", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("HKD", 2),
    ("HUF", 2),
    ("IDR", 2),
    ("ILS", 2),
    ("INR", 2),
    ("JPY", 0),
    ("KRW", 0),
    ("KWD", 3),
    ("MOP", 2),
    ("MXN", 2),
    ("MYR", 2),
    ("NOK", 2),
    ("NZD", 2),
    ("PHP", 2),
    ("PLN", 2),
    ("SAR", 2),
    ("SEK", 2),
    ("SGD", 2),
    ("THB", 2),
    ("TND", 3),
    ("TRY", 2),
    ("TWD", 2),
    ("USD", 2),
    ("VND", 0),
    ("ZAR", 2),
];

impl Currency {
    pub const CNY: Currency = Currency(*b"CNY");
    pub const USD: Currency = Currency(*b"USD");
    pub const JPY: Currency = Currency(*b"JPY");
    pub const KWD: Currency = Currency(*b"KWD");

    pub fn code(&self) -> &'static str {
        self.entry().0
    }

    /// Decimal places of the major unit: 2 for CNY, 0 for JPY.
    pub fn decimals(&self) -> u32 {
        self.entry().1
    }

    fn entry(&self) -> (&'static str, u32) {
        let found = CURRENCIES.binary_search_by(|(code, _)| code.as_bytes().cmp(&self.0[..]));
        // A currency is only ever made from the table, so the other arm is never taken.
        found.map_or(("XXX", 0), |index| CURRENCIES[index])
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        CURRENCIES
            .binary_search_by(|(code, _)| (*code).cmp(text))
            .map(|index| {
                let code = CURRENCIES[index].0.as_bytes();
                Currency([code[0], code[1], code[2]])
            })
            .map_err(|_| MoneyError::UnknownCurrency(text.chars().take(16).collect()))
    }
}

as_text! { Currency }

/// What can be wrong with an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("{0:?} is not a currency that Tiffin knows; use an ISO 4217 code such as CNY")]
    UnknownCurrency(String),
    #[error("amounts in {left} and {right} do not add up; convert them first")]
    Mixed { left: Currency, right: Currency },
    #[error("an amount is at most {} minor units either way", Money::MAX_MINOR)]
    TooLarge,
    #[error("{currency} has {} decimal places, {amount} has more", currency.decimals())]
    TooPrecise { amount: Decimal, currency: Currency },
}

/// An amount of money, possibly negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Money {
    /// Whole minor units (fen, cents), within ±[`Money::MAX_MINOR`] wherever it was checked.
    pub minor: i64,
    pub currency: Currency,
}

impl Money {
    /// 10¹⁷ minor units: far above any canteen's books, and a sum of ninety still fits an `i64`.
    pub const MAX_MINOR: i64 = 100_000_000_000_000_000;

    pub const fn new(minor: i64, currency: Currency) -> Self {
        Money { minor, currency }
    }

    pub const fn zero(currency: Currency) -> Self {
        Money { minor: 0, currency }
    }

    pub fn is_zero(self) -> bool {
        self.minor == 0
    }

    pub fn is_positive(self) -> bool {
        self.minor > 0
    }

    pub fn plus(self, other: Money) -> Result<Money, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed { left: self.currency, right: other.currency });
        }
        self.with(self.minor.checked_add(other.minor))
    }

    pub fn minus(self, other: Money) -> Result<Money, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed { left: self.currency, right: other.currency });
        }
        self.with(self.minor.checked_sub(other.minor))
    }

    pub fn times(self, count: u32) -> Result<Money, MoneyError> {
        self.with(self.minor.checked_mul(i64::from(count)))
    }

    /// The other sign. The one amount without an opposite, `i64::MIN`, lies far outside every bound.
    pub fn negated(self) -> Money {
        Money { minor: self.minor.saturating_neg(), ..self }
    }

    fn with(self, minor: Option<i64>) -> Result<Money, MoneyError> {
        match minor {
            Some(minor) if minor.unsigned_abs() <= Self::MAX_MINOR.unsigned_abs() => Ok(Money { minor, ..self }),
            _ => Err(MoneyError::TooLarge),
        }
    }

    /// The sum of `amounts`, all of which must be in `currency`.
    pub fn sum(currency: Currency, amounts: impl IntoIterator<Item = Money>) -> Result<Money, MoneyError> {
        amounts.into_iter().try_fold(Money::zero(currency), Money::plus)
    }

    /// In major units, with exactly the currency's decimal places.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.minor, self.currency.decimals())
    }

    /// From major units. More decimal places than the currency has are an error, never rounded.
    pub fn from_decimal(amount: Decimal, currency: Currency) -> Result<Money, MoneyError> {
        let scale = Decimal::from(10_i64.pow(currency.decimals()));
        let minor = amount.checked_mul(scale).ok_or(MoneyError::TooLarge)?;
        if !minor.fract().is_zero() {
            return Err(MoneyError::TooPrecise { amount, currency });
        }
        let minor = i64::try_from(minor).map_err(|_| MoneyError::TooLarge)?;
        Money::zero(currency).with(Some(minor))
    }

    /// Splits the amount in proportion to `weights` by largest remainder: the parts sum back to
    /// the whole exactly, and equal weights differ by at most one minor unit (earlier parts first).
    /// All weights zero gives everything to the first part; no weights give no parts.
    pub fn allocate(self, weights: &[u64]) -> Vec<Money> {
        let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        if total == 0 {
            let mut parts = vec![Money::zero(self.currency); weights.len()];
            if let Some(first) = parts.first_mut() {
                *first = self;
            }
            return parts;
        }
        let whole = u128::from(self.minor.unsigned_abs());
        let mut parts: Vec<(u128, u128)> = weights
            .iter()
            .map(|weight| {
                let share = whole * u128::from(*weight);
                (share / total, share % total)
            })
            .collect();
        let given: u128 = parts.iter().map(|(floor, _)| floor).sum();
        let mut by_remainder: Vec<usize> = (0..parts.len()).collect();
        by_remainder.sort_by_key(|index| std::cmp::Reverse(parts[*index].1));
        let left_over = usize::try_from(whole - given).unwrap_or(usize::MAX);
        for index in by_remainder.into_iter().take(left_over) {
            parts[index].0 += 1;
        }
        // A part is at most the whole, so it fits.
        let negative = self.minor < 0;
        let signed = |part: u128| if negative { 0_i64.saturating_sub_unsigned(part as u64) } else { part as i64 };
        parts.into_iter().map(|(part, _)| Money::new(signed(part), self.currency)).collect()
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal(), self.currency)
    }
}
