//! Tax that prices include, by rate.
//!
//! A gross amount `g` at rate `r` contains the tax `g·r/(1+r)`. It is rounded once for all of an order
//! at one rate, half up to the minor unit, as on a receipt that names each rate once: rounding each line
//! would add half a minor unit of error a line. The canteen gets the rest, so the parts are the whole.
//!
//! What a refund takes back is the tax of what was left less the tax of what is then left. So refunds in
//! any order and of any size take back exactly what was recognised, once everything is refunded.

use std::{collections::BTreeMap, fmt, str::FromStr};

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Money, ids::as_text};

/// A percentage from 0 to 100 with at most two decimal places, exactly; zero is no tax. As text
/// without trailing zeros: `6`, `6.5`, `13`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaxRate {
    /// Hundredths of a percent.
    basis_points: u16,
}

/// A text that is no tax rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a tax rate is a percentage from 0 to 100 with at most two decimal places, such as 6 or 6.5, not {0:?}")]
pub struct NotATaxRate(pub String);

/// Basis points of the whole.
const WHOLE: u16 = 10_000;

impl TaxRate {
    pub const ZERO: TaxRate = TaxRate { basis_points: 0 };

    /// From percent; none if it is out of bounds or has more than two decimal places.
    pub fn from_percent(percent: Decimal) -> Option<TaxRate> {
        let points = percent.checked_mul(Decimal::ONE_HUNDRED)?;
        let points = points.fract().is_zero().then(|| u16::try_from(points).ok())??;
        (points <= WHOLE).then_some(TaxRate { basis_points: points })
    }

    pub fn percent(self) -> Decimal {
        Decimal::new(self.basis_points.into(), 2).normalize()
    }

    pub fn is_zero(&self) -> bool {
        self.basis_points == 0
    }

    /// The tax within `gross` (zero or more), rounded half up to the minor unit.
    pub fn within(self, gross: Money) -> Money {
        let (rate, with_tax) = (i128::from(self.basis_points), i128::from(WHOLE) + i128::from(self.basis_points));
        let tax = (2 * i128::from(gross.minor) * rate + with_tax) / (2 * with_tax);
        // Tax is at most half of what includes it, so it fits.
        Money { minor: tax as i64, ..gross }
    }
}

impl fmt::Display for TaxRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.percent().fmt(f)
    }
}

impl FromStr for TaxRate {
    type Err = NotATaxRate;

    fn from_str(text: &str) -> Result<Self, NotATaxRate> {
        let unreadable = || NotATaxRate(text.chars().take(40).collect());
        let percent = Decimal::from_str_exact(text).map_err(|_| unreadable())?;
        TaxRate::from_percent(percent).ok_or_else(unreadable)
    }
}

as_text! { TaxRate }

/// The tax at one rate within an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaxPart {
    pub rate: TaxRate,
    pub amount: Money,
}

/// What an amount contains at each rate before tax is taken out: rate → gross minor units.
pub type Gross = BTreeMap<TaxRate, i64>;

/// The tax within each rate's gross amount, by rising rate; rates without any are left out.
pub fn parts(gross: &Gross, currency: crate::Currency) -> Vec<TaxPart> {
    let all =
        gross.iter().map(|(rate, minor)| TaxPart { rate: *rate, amount: rate.within(Money::new(*minor, currency)) });
    all.filter(|part| !part.amount.is_zero()).collect()
}

/// The tax that leaves with `gone` out of `of`: at each rate that of the whole less that of the rest.
pub fn parts_gone(of: &Gross, gone: &Gross, currency: crate::Currency) -> Vec<TaxPart> {
    let all = gone.iter().map(|(rate, minor)| {
        let whole = of.get(rate).copied().unwrap_or(0);
        let tax = |minor| rate.within(Money::new(minor, currency)).minor;
        TaxPart { rate: *rate, amount: Money::new(tax(whole) - tax(whole - minor), currency) }
    });
    all.filter(|part| !part.amount.is_zero()).collect()
}

/// The sum of `parts`, in minor units.
pub fn total(parts: &[TaxPart]) -> i64 {
    parts.iter().map(|part| part.amount.minor).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Currency,
        testing::{cases, cny},
    };

    fn rate(percent: &str) -> TaxRate {
        percent.parse().unwrap()
    }

    #[test]
    fn a_rate_is_exact_and_has_one_text() {
        for (text, shown) in [("6", "6"), ("6.00", "6"), ("6.5", "6.5"), ("0.01", "0.01"), ("100", "100"), ("0", "0")] {
            assert_eq!(rate(text).to_string(), shown);
            assert_eq!(rate(shown), rate(text));
            assert_eq!(serde_json::from_value::<TaxRate>(serde_json::json!(text)).unwrap(), rate(text));
        }
        for text in ["", "-1", "6%", "6.005", "100.01", "1e2", "six", " 6", "999999999999999999999999999999"] {
            assert_eq!(text.parse::<TaxRate>(), Err(NotATaxRate(text.into())), "{text}");
        }
        assert_eq!("9".repeat(500).parse::<TaxRate>(), Err(NotATaxRate("9".repeat(40))));
    }

    #[test]
    fn prices_include_tax() {
        // 10.60 at 6 % is 10.00 and 0.60.
        assert_eq!(rate("6").within(cny(1060)), cny(60));
        assert_eq!(rate("13").within(cny(11_300)), cny(1_300));
        assert_eq!(rate("0").within(cny(1060)), cny(0));
        assert_eq!(rate("100").within(cny(1)), cny(1), "half of it, and half is rounded up");
        // 1800 · 6 / 106 = 101.89; 8 · 6 / 106 = 0.45; 9 · 6 / 106 = 0.51.
        assert_eq!([1800, 8, 9].map(|gross| rate("6").within(cny(gross)).minor), [102, 0, 1]);
        let most = Money::new(Money::MAX_MINOR, Currency::CNY);
        assert_eq!(rate("100").within(most).minor, Money::MAX_MINOR / 2);
    }

    #[test]
    fn tax_is_rounded_once_a_rate() {
        // Three lines of 0.08 have 0.0045 each, which alone would be nothing.
        assert_eq!(parts(&[(rate("6"), 24)].into(), Currency::CNY), [TaxPart { rate: rate("6"), amount: cny(1) }]);
        let two = parts(&[(rate("13"), 1_130), (rate("6"), 1_060), (rate("0"), 500)].into(), Currency::CNY);
        let shown: Vec<_> = two.iter().map(|part| (part.rate.to_string(), part.amount.minor)).collect();
        assert_eq!(shown, [("6".to_owned(), 60), ("13".to_owned(), 130)]);
        assert_eq!(total(&two), 190);
    }

    proptest! {
        #![proptest_config(cases(512))]

        /// Whatever is refunded in whatever order: no part is negative or more than what it is of, and
        /// all together give back what was recognised.
        #[test]
        fn refunds_give_back_exactly_the_tax_recognised(
            points in 0..=WHOLE, pieces in prop::collection::vec(0..100_000_i64, 1..30),
        ) {
            let rate = TaxRate { basis_points: points };
            let mut left: i64 = pieces.iter().sum();
            let recognised = rate.within(cny(left)).minor;
            prop_assert!((0..=left).contains(&recognised));
            // Exactly: twice the error is at most the divisor.
            let (bp, with_tax) = (i128::from(points), i128::from(WHOLE) + i128::from(points));
            let error = i128::from(recognised) * with_tax - i128::from(left) * bp;
            prop_assert!(2 * error <= with_tax && 2 * error > -with_tax);
            let mut back = 0;
            for piece in pieces {
                let gone = total(&parts_gone(&[(rate, left)].into(), &[(rate, piece)].into(), Currency::CNY));
                prop_assert!((0..=piece).contains(&gone), "{} of {}", gone, piece);
                left -= piece;
                back += gone;
            }
            prop_assert_eq!(back, recognised);
        }
    }
}
