//! What one row of a till's file says.

use domain::{
    Currency, Money, Timestamp,
    menu::{Dish, MAX_NAME, MAX_PRICE_MINOR},
    order::MAX_QUANTITY,
    tax::{NotATaxRate, TaxRate},
};
use jiff::{civil, tz::TimeZone};
use rust_decimal::Decimal;

use super::{
    mapping::{Mapping, MissingDiner, ZeroPrice},
    table::{Fault, Row, Table},
};

/// What dishes without a category are filed under.
const NO_CATEGORY: &str = "other";
/// Most portions in one row.
pub const MAX_ROW_QUANTITY: u32 = 100_000;
/// The most that one row may be worth, in minor units: the sum of [`super::table::MAX_ROWS`] rows
/// then fits an `i64`.
const MAX_ROW_MINOR: i64 = MAX_PRICE_MINOR * MAX_QUANTITY as i64;

/// For whom a row was rung up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// The file has no column for it: all guests of the canteen, as one.
    Guests,
    /// By the till's number.
    Diner(String),
    /// Somebody whom the row does not name.
    Visitor,
}

/// A row that can be booked.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: Timestamp,
    /// In the canteen's zone.
    pub date: civil::Date,
    pub dish: Dish,
    /// Sold, or taken back.
    pub quantity: u32,
    pub who: Who,
}

/// What a row comes to.
#[derive(Clone, Debug)]
pub enum Said {
    Line(Box<Line>),
    /// The mapping leaves out what costs nothing.
    NoPrice,
}

/// The tax that a price includes, in percent.
pub fn tax_rate(what: &'static str, text: &str) -> Result<TaxRate, Fault> {
    text.parse().map_err(|error: NotATaxRate| Fault::new(what, error.to_string()))
}

/// Where the mapped columns are.
struct Places {
    order: usize,
    time: Vec<usize>,
    dish: Vec<usize>,
    category: Option<usize>,
    quantity: Option<usize>,
    unit_price: usize,
    currency: Option<usize>,
    diner: Option<usize>,
}

impl Places {
    fn find(table: &Table, mapping: &Mapping) -> Result<Places, String> {
        let columns = &mapping.columns;
        let one = |name: &String| table.column(name);
        let maybe = |name: &Option<String>| name.as_ref().map(one).transpose();
        Ok(Places {
            order: one(&columns.order)?,
            time: columns.time.columns.iter().map(one).collect::<Result<_, _>>()?,
            dish: columns.dish.names().iter().map(one).collect::<Result<_, _>>()?,
            category: maybe(&columns.category)?,
            quantity: maybe(&columns.quantity)?,
            unit_price: one(&columns.unit_price)?,
            currency: maybe(&columns.currency)?,
            diner: maybe(&columns.diner)?,
        })
    }
}

/// Reads rows as a mapping says.
pub struct Reader<'a> {
    mapping: &'a Mapping,
    places: Places,
    zone: TimeZone,
    now: Timestamp,
}

impl<'a> Reader<'a> {
    /// An error when the file has not the mapping's columns.
    pub fn new(table: &Table, mapping: &'a Mapping, now: Timestamp) -> Result<Self, String> {
        Ok(Reader { mapping, places: Places::find(table, mapping)?, zone: mapping.zone()?, now })
    }

    pub fn number<'r>(&self, row: &'r Row<'_>) -> Result<&'r str, Fault> {
        let number = row.text("order", self.places.order)?;
        if number.chars().count() > MAX_NAME || number.chars().any(char::is_control) {
            return Err(Fault::new("order", format!("a number has at most {MAX_NAME} printable characters")));
        }
        Ok(number)
    }

    /// The row of an order that `cancels` earlier ones, or sells.
    pub fn said(&self, row: &Row<'_>, cancels: bool) -> Result<Said, Fault> {
        row.check()?;
        let (places, currency) = (&self.places, self.mapping.currency);
        if let Some(column) = places.currency {
            let text = row.text("currency", column)?;
            let found: Currency = text.parse().map_err(|error| Fault::new("currency", format!("{error}")))?;
            if found != currency {
                return Err(Fault::new("currency", format!("{found}, but the canteen sells in {currency}")));
            }
        }
        let time = row.joined("time", &places.time)?;
        let (at, date) = self.mapping.columns.time.instant(&time, &self.zone)?;
        if at < Timestamp::EPOCH || at > self.now {
            return Err(Fault::new("time", format!("{time} does not lie between 1970 and now")));
        }
        let dish = Dish {
            name: row.joined("dish", &places.dish)?,
            category: places.category.map_or(Ok(NO_CATEGORY), |column| row.text("category", column))?.to_owned(),
            price: price("unit_price", row.text("unit_price", places.unit_price)?, currency)?,
            options: vec![],
            tax: TaxRate::ZERO,
        };
        dish.check(currency).map_err(|error| Fault::new("dish", error.to_string()))?;
        if dish.price.is_zero() && self.mapping.zero_price == ZeroPrice::LeaveOut {
            // Of either sign, whatever the order: the stock was counted.
            places.quantity.map(|column| whole(row.text("quantity", column)?)).transpose()?;
            return Ok(Said::NoPrice);
        }
        let quantity = places.quantity.map_or(Ok(1), |column| quantity(row.text("quantity", column)?, cancels))?;
        if worth(dish.price.minor, quantity.into()).is_none() {
            let most = Money::new(MAX_ROW_MINOR, currency).to_decimal();
            return Err(Fault::new("quantity", format!("{quantity} portions are worth more than {most}")));
        }
        let who = self.who(row)?;
        Ok(Said::Line(Box::new(Line { at, date, dish, quantity, who })))
    }

    fn who(&self, row: &Row<'_>) -> Result<Who, Fault> {
        let Some(column) = self.places.diner else { return Ok(Who::Guests) };
        match (row.maybe("diner", column)?, self.mapping.missing_diner) {
            (None, MissingDiner::Visitor) => Ok(Who::Visitor),
            _ => Ok(Who::Diner(row.text("diner", column)?.to_owned())),
        }
    }

    /// What the row adds to the sum of the file, in minor units, whatever else is wrong with it;
    /// nothing if that cannot be read.
    pub fn worth(&self, row: &Row<'_>, cancels: bool) -> Option<i64> {
        row.check().ok()?;
        let price = amount("unit_price", row.text("unit_price", self.places.unit_price).ok()?, self.mapping.currency);
        let quantity = match self.places.quantity {
            Some(column) => whole(row.text("quantity", column).ok()?).ok()?,
            None if cancels => -1,
            None => 1,
        };
        worth(price.ok()?.minor, quantity)
    }
}

fn worth(price: i64, quantity: i64) -> Option<i64> {
    let worth = price.checked_mul(quantity)?;
    (-MAX_ROW_MINOR..=MAX_ROW_MINOR).contains(&worth).then_some(worth)
}

/// An amount in major units: digits, with a point if need be.
fn amount(what: &'static str, text: &str, currency: Currency) -> Result<Money, Fault> {
    let bad = || Fault::new(what, format!("{text:?} is not a number such as 12.50"));
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(bad());
    }
    let amount: Decimal = text.parse().map_err(|_| bad())?;
    Money::from_decimal(amount, currency).map_err(|error| Fault::new(what, error.to_string()))
}

/// An amount that a dish can cost.
pub fn price(what: &'static str, text: &str, currency: Currency) -> Result<Money, Fault> {
    let money = amount(what, text, currency)?;
    if (0..=MAX_PRICE_MINOR).contains(&money.minor) {
        Ok(money)
    } else {
        let most = Money::new(MAX_PRICE_MINOR, currency).to_decimal();
        Err(Fault::new(what, format!("{text} does not lie between 0 and {most}")))
    }
}

fn whole(text: &str) -> Result<i64, Fault> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let bad = || Fault::new("quantity", format!("{text:?} is not a whole number"));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    text.parse().map_err(|_| bad())
}

/// Portions sold; or taken back, which a till writes with a minus.
fn quantity(text: &str, cancels: bool) -> Result<u32, Fault> {
    let signed = whole(text).map(|quantity| if cancels { -quantity } else { quantity });
    match signed.map(u32::try_from) {
        Ok(Ok(quantity)) if (1..=MAX_ROW_QUANTITY).contains(&quantity) => Ok(quantity),
        _ if cancels => Err(Fault::new(
            "quantity",
            format!("{text:?} is not a whole number from -{MAX_ROW_QUANTITY} to -1, as a cancellation's is"),
        )),
        _ => Err(Fault::new("quantity", format!("{text:?} is not a whole number from 1 to {MAX_ROW_QUANTITY}"))),
    }
}
