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

    /// The same, if it is within the bound of what money can be.
    pub fn checked(self) -> Result<Money, MoneyError> {
        self.with(Some(self.minor))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{cases, cny, usd};

    const MAX: i64 = Money::MAX_MINOR;

    #[test]
    fn every_currency_is_found_by_its_code() {
        for (code, decimals) in CURRENCIES {
            let currency: Currency = code.parse().unwrap();
            assert_eq!((currency.code(), currency.decimals()), (*code, *decimals));
            assert_eq!(serde_json::to_string(&currency).unwrap(), format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Currency>(&format!("\"{code}\"")).unwrap(), currency);
        }
        assert_eq!((Currency::JPY.decimals(), Currency::CNY.decimals(), Currency::KWD.decimals()), (0, 2, 3));
        for unknown in ["", "cny", "CN", "CNYX", "XXX", "BTC"] {
            assert_eq!(unknown.parse::<Currency>(), Err(MoneyError::UnknownCurrency(unknown.into())));
            assert!(serde_json::from_str::<Currency>(&format!("\"{unknown}\"")).is_err());
        }
    }

    #[test]
    fn an_amount_is_a_whole_number_in_json() {
        let json = r#"{"minor":-1050,"currency":"CNY"}"#;
        assert_eq!(serde_json::to_string(&cny(-1050)).unwrap(), json);
        assert_eq!(serde_json::from_str::<Money>(json).unwrap(), cny(-1050));
        for bad in ["10.5", "1e2", "\"5\"", "9223372036854775808"] {
            let json = format!(r#"{{"minor":{bad},"currency":"CNY"}}"#);
            assert!(serde_json::from_str::<Money>(&json).is_err(), "{json}");
        }
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        let shown = |minor, currency| Money::new(minor, currency).to_string();
        assert_eq!(shown(1050, Currency::CNY), "10.50 CNY");
        assert_eq!(shown(-5, Currency::CNY), "-0.05 CNY");
        assert_eq!(shown(1050, Currency::JPY), "1050 JPY");
        assert_eq!(shown(1050, Currency::KWD), "1.050 KWD");
    }

    #[test]
    fn nothing_passes_the_bound_and_nothing_wraps() {
        let extremes = [i64::MIN, i64::MIN + 1, -MAX - 1, -MAX, -1, 0, 1, MAX, MAX + 1, i64::MAX];
        let bounded = |exact: i128| match i64::try_from(exact) {
            Ok(minor) if minor.unsigned_abs() <= MAX.unsigned_abs() => Ok(cny(minor)),
            _ => Err(MoneyError::TooLarge),
        };
        for left in extremes {
            for right in extremes {
                assert_eq!(cny(left).plus(cny(right)), bounded(i128::from(left) + i128::from(right)));
                assert_eq!(cny(left).minus(cny(right)), bounded(i128::from(left) - i128::from(right)));
            }
            for count in [0, 1, 2, u32::MAX] {
                assert_eq!(cny(left).times(count), bounded(i128::from(left) * i128::from(count)));
            }
            assert_eq!(cny(left).negated().minor, left.saturating_neg());
            assert_eq!(cny(left).to_decimal() * Decimal::from(100), Decimal::from(left));
        }
        assert_eq!(Money::sum(Currency::CNY, vec![cny(MAX), cny(1), cny(-1)]), Err(MoneyError::TooLarge));
    }

    #[test]
    fn currencies_do_not_mix() {
        let mixed = Err(MoneyError::Mixed { left: Currency::CNY, right: Currency::USD });
        assert_eq!(cny(1).plus(usd(1)), mixed);
        assert_eq!(cny(1).minus(usd(1)), mixed);
        assert_eq!(Money::sum(Currency::CNY, [cny(1), usd(0)]), mixed);
    }

    #[test]
    fn too_many_places_are_an_error_and_never_rounded() {
        let read = |text: &str, currency| Money::from_decimal(text.parse().unwrap(), currency);
        assert_eq!(read("10.5", Currency::CNY), Ok(cny(1050)));
        assert_eq!(read("10.500000", Currency::CNY), Ok(cny(1050)));
        assert_eq!(read("-0.01", Currency::CNY), Ok(cny(-1)));
        assert_eq!(read("1000000000000000.00", Currency::CNY), Ok(cny(MAX)));
        assert_eq!(read("1000000000000000.01", Currency::CNY), Err(MoneyError::TooLarge));
        assert_eq!(read("79228162514264337593543950335", Currency::CNY), Err(MoneyError::TooLarge));
        for (text, currency) in [
            ("10.505", Currency::CNY),
            ("0.5", Currency::JPY),
            ("0.0001", Currency::KWD),
            ("0.0100000000000000000000000001", Currency::CNY),
            ("7.9228162514264337593543950335", Currency::CNY),
        ] {
            let amount = text.parse().unwrap();
            assert_eq!(read(text, currency), Err(MoneyError::TooPrecise { amount, currency }));
        }
    }

    #[test]
    fn a_split_gives_the_odd_units_to_the_largest_remainders() {
        let split = |minor, weights: &[u64]| -> Vec<i64> {
            cny(minor).allocate(weights).into_iter().map(|part| part.minor).collect()
        };
        assert_eq!(split(100, &[1, 1, 1]), [34, 33, 33]);
        assert_eq!(split(-100, &[1, 1, 1]), [-34, -33, -33]);
        assert_eq!(split(101, &[1, 1, 1]), [34, 34, 33]);
        assert_eq!(split(10, &[1, 2]), [3, 7]);
        assert_eq!(split(1, &[1, 2]), [0, 1]);
        assert_eq!(split(5, &[0, 0]), [5, 0]);
        assert_eq!(split(5, &[0, 3]), [0, 5]);
        assert_eq!(split(5, &[]), [0_i64; 0]);
        assert_eq!(split(i64::MIN, &[7]), [i64::MIN]);
        assert_eq!(split(i64::MAX, &[u64::MAX, 0]), [i64::MAX, 0]);
    }

    fn any_currency() -> impl Strategy<Value = Currency> {
        (0..CURRENCIES.len()).prop_map(|index| CURRENCIES[index].0.parse().unwrap())
    }

    proptest! {
        #![proptest_config(cases(512))]

        #[test]
        fn a_split_sums_back_and_is_fair(
            minor in prop_oneof![-MAX..=MAX, -1000..1000_i64, any::<i64>()],
            weights in prop::collection::vec(prop_oneof![0..20_u64, any::<u64>()], 1..20),
        ) {
            let parts = cny(minor).allocate(&weights);
            let sum: i128 = parts.iter().map(|part| i128::from(part.minor)).sum();
            prop_assert_eq!(sum, i128::from(minor));
            let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            if total == 0 {
                return Ok(());
            }
            for (part, weight) in parts.iter().zip(&weights) {
                // |part − whole · weight / total| < 1, without a division.
                let share = u128::from(minor.unsigned_abs()) * u128::from(*weight);
                let part = u128::from(part.minor.unsigned_abs());
                let (floor, exact) = (share / total, share % total == 0);
                prop_assert!(part == floor || (part == floor + 1 && !exact), "{part} of {share}/{total}");
            }
            prop_assert!(parts.iter().all(|part| part.minor.signum() * minor.signum() >= 0));
            for (index, weight) in weights.iter().enumerate() {
                for other in index + 1..weights.len() {
                    if weights[other] == *weight {
                        let more = (parts[index].minor - parts[other].minor) * minor.signum();
                        prop_assert!((0..=1).contains(&more), "equal weights, earlier first");
                    }
                }
            }
        }

        #[test]
        fn decimals_come_back_exactly(minor in -MAX..=MAX, currency in any_currency()) {
            let amount = Money::new(minor, currency);
            prop_assert_eq!(amount.to_decimal().scale(), currency.decimals());
            prop_assert_eq!(Money::from_decimal(amount.to_decimal(), currency), Ok(amount));
            let json = serde_json::to_string(&amount).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), amount);
            // What people are shown can be read again.
            let text = amount.to_string();
            let (number, code) = text.split_once(' ').unwrap();
            prop_assert_eq!(Money::from_decimal(number.parse().unwrap(), code.parse().unwrap()), Ok(amount));
        }

        #[test]
        fn a_decimal_is_read_exactly_or_not_at_all(mantissa in any::<i64>(), scale in 0..=28_u32) {
            let amount = Decimal::new(mantissa, scale);
            if let Ok(read) = Money::from_decimal(amount, Currency::CNY) {
                prop_assert_eq!(read.to_decimal(), amount);
            } else {
                let places = amount.normalize().scale();
                prop_assert!(places > 2 || amount.abs() > cny(MAX).to_decimal(), "{amount}");
            }
        }

        #[test]
        fn sums_and_differences_undo_each_other(left in -MAX / 2..=MAX / 2, right in -MAX / 2..=MAX / 2) {
            let sum = cny(left).plus(cny(right)).unwrap();
            prop_assert_eq!(sum.minus(cny(right)), Ok(cny(left)));
            prop_assert_eq!(Money::sum(Currency::CNY, [cny(left), cny(right)]), Ok(sum));
            prop_assert_eq!(cny(left).minus(cny(right)), cny(left).plus(cny(right).negated()));
        }
    }
}
