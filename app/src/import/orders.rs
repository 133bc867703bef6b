//! A till's file of order lines, read and checked as a whole before anything is booked.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    path::Path,
};

use domain::{
    Currency, Money, Timestamp,
    menu::{Dish, MAX_NAME, MAX_PRICE_MINOR},
    order::{MAX_LINES, MAX_QUANTITY},
};
use jiff::{civil, tz::TimeZone};
use rust_decimal::Decimal;

use super::{
    mapping::Mapping,
    report::BadRows,
    table::{Row, Table},
};
use crate::config::usage;

/// What dishes without a category are filed under.
const NO_CATEGORY: &str = "other";

/// Everything that a file asks for.
#[derive(Debug, Default)]
pub struct History {
    pub rows: u64,
    /// Whole orders only, by their time and then their number.
    pub orders: Vec<PastOrder>,
    /// In the order in which the file first names them.
    pub dishes: Vec<Dish>,
    pub bad: BadRows,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PastOrder {
    /// As the till numbered it.
    pub number: String,
    /// Where the file first names it.
    pub line: u64,
    /// The earliest of its rows.
    pub at: Timestamp,
    /// In the canteen's zone.
    pub date: civil::Date,
    pub diner: Option<String>,
    pub lines: Vec<PastLine>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PastLine {
    /// Of [`History::dishes`].
    pub dish: usize,
    /// Of one portion, in minor units.
    pub unit_price: i64,
    pub quantity: u32,
}

impl PastOrder {
    /// Equal rows are one line, as a till prints them.
    fn add(&mut self, line: PastLine) -> Result<(), String> {
        let known = self.lines.iter_mut().find(|known| (known.dish, known.unit_price) == (line.dish, line.unit_price));
        if let Some(known) = known {
            known.quantity += line.quantity;
            if known.quantity > MAX_QUANTITY {
                return Err(format!("quantity: one line of an order has at most {MAX_QUANTITY} portions"));
            }
            return Ok(());
        }
        if self.lines.len() >= MAX_LINES {
            return Err(format!("an order has at most {MAX_LINES} different lines"));
        }
        self.lines.push(line);
        Ok(())
    }
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

/// Reads the whole file. A header without a mapped column, or a file that cannot be read to its
/// end, is an error; what is wrong with single rows is in [`History::bad`], without their orders.
pub fn read(file: &Path, mapping: &Mapping, now: Timestamp) -> anyhow::Result<History> {
    let broken = |why: String| usage(format!("{}: {why}", file.display()));
    let mut table = Table::open(file, mapping.delimiter)?;
    let places = Places::find(&table, mapping).map_err(broken)?;
    let zone = mapping.zone().map_err(broken)?;
    let mut reading = Reading {
        mapping,
        places,
        zone,
        now,
        history: History::default(),
        orders: HashMap::new(),
        dishes: HashMap::new(),
    };
    while let Some(row) = table.next().map_err(broken)? {
        reading.take(&row);
    }
    Ok(reading.finish())
}

/// An order whose rows are still coming.
struct Growing {
    order: PastOrder,
    bad: bool,
}

/// What one row says.
struct Said<'a> {
    at: Timestamp,
    date: civil::Date,
    dish: Dish,
    quantity: u32,
    diner: Option<&'a str>,
}

struct Reading<'a> {
    mapping: &'a Mapping,
    places: Places,
    zone: TimeZone,
    now: Timestamp,
    history: History,
    /// Rows of one order need not follow each other.
    orders: HashMap<String, Growing>,
    dishes: HashMap<String, usize>,
}

impl Reading<'_> {
    fn take(&mut self, row: &Row<'_>) {
        self.history.rows += 1;
        let number = match self.number(row) {
            Ok(number) => number.to_owned(),
            Err(why) => return self.history.bad.add(row.line, None, why),
        };
        let outcome = self.said(row).and_then(|said| self.add(row.line, &number, said));
        if let Err(why) = outcome {
            self.history.bad.add(row.line, Some(number.clone()), why);
            let growing = self.orders.entry(number.clone()).or_insert_with(|| empty(number, row.line));
            growing.bad = true;
        }
    }

    fn number<'r>(&self, row: &'r Row<'_>) -> Result<&'r str, String> {
        let number = row.text("order", self.places.order)?;
        if number.chars().count() > MAX_NAME || number.chars().any(char::is_control) {
            return Err(format!("order: a number has at most {MAX_NAME} printable characters"));
        }
        Ok(number)
    }

    fn said<'r>(&self, row: &'r Row<'_>) -> Result<Said<'r>, String> {
        row.check()?;
        let (places, currency) = (&self.places, self.mapping.currency);
        if let Some(column) = places.currency {
            let text = row.text("currency", column)?;
            let found: Currency = text.parse().map_err(|error| format!("currency: {error}"))?;
            if found != currency {
                return Err(format!("currency: {found}, but the canteen sells in {currency}"));
            }
        }
        let time = row.joined("time", &places.time)?;
        let (at, date) = self.mapping.columns.time.instant(&time, &self.zone)?;
        if at < Timestamp::EPOCH || at > self.now {
            return Err(format!("time: {time} does not lie between 1970 and now"));
        }
        let dish = Dish {
            name: row.joined("dish", &places.dish)?,
            category: places.category.map_or(Ok(NO_CATEGORY), |column| row.text("category", column))?.to_owned(),
            price: price(row.text("unit_price", places.unit_price)?, currency)?,
            options: vec![],
        };
        dish.check(currency).map_err(|error| format!("dish: {error}"))?;
        let quantity = places.quantity.map_or(Ok(1), |column| quantity(row.text("quantity", column)?))?;
        let diner = places.diner.map(|column| row.text("diner", column)).transpose()?;
        Ok(Said { at, date, dish, quantity, diner })
    }

    fn add(&mut self, line: u64, number: &str, said: Said<'_>) -> Result<(), String> {
        let growing = match self.orders.entry(number.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let mut new = empty(number.to_owned(), line);
                new.order =
                    PastOrder { at: said.at, date: said.date, diner: said.diner.map(str::to_owned), ..new.order };
                free.insert(new)
            }
        };
        if growing.bad {
            // It is left out already.
            return Ok(());
        }
        let order = &mut growing.order;
        if order.diner.as_deref() != said.diner {
            return Err(format!("diner: the order's first row, on line {}, names another one", order.line));
        }
        if said.at < order.at {
            (order.at, order.date) = (said.at, said.date);
        }
        let unit_price = said.dish.price.minor;
        let dishes = &mut self.history.dishes;
        let dish = *self.dishes.entry(said.dish.name.clone()).or_insert_with(|| {
            dishes.push(said.dish);
            dishes.len() - 1
        });
        order.add(PastLine { dish, unit_price, quantity: said.quantity })
    }

    fn finish(mut self) -> History {
        let mut left_out: Vec<(u64, String)> = Vec::new();
        for Growing { mut order, bad } in self.orders.into_values() {
            if bad {
                left_out.push((order.line, order.number));
                continue;
            }
            // Another export may have its rows in another order: that makes no other order.
            let dishes = &self.history.dishes;
            order.lines.sort_by(|a, b| (&dishes[a.dish].name, a.unit_price).cmp(&(&dishes[b.dish].name, b.unit_price)));
            self.history.orders.push(order);
        }
        left_out.sort();
        for (_, number) in left_out {
            self.history.bad.leave_out(number);
        }
        self.history.orders.sort_by(|a, b| (a.at, &a.number).cmp(&(b.at, &b.number)));
        self.history
    }
}

fn empty(number: String, line: u64) -> Growing {
    let (at, date) = (Timestamp::EPOCH, civil::Date::ZERO);
    Growing { order: PastOrder { number, line, at, date, diner: None, lines: vec![] }, bad: false }
}

/// An amount in major units: digits, with a point if need be.
pub fn price(text: &str, currency: Currency) -> Result<Money, String> {
    let bad = || format!("unit_price: {text:?} is not a number such as 12.50");
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(bad());
    }
    let amount: Decimal = text.parse().map_err(|_| bad())?;
    let money = Money::from_decimal(amount, currency).map_err(|error| format!("unit_price: {error}"))?;
    if (0..=MAX_PRICE_MINOR).contains(&money.minor) {
        Ok(money)
    } else {
        let most = Money::new(MAX_PRICE_MINOR, currency).to_decimal();
        Err(format!("unit_price: {text} does not lie between 0 and {most}"))
    }
}

fn quantity(text: &str) -> Result<u32, String> {
    let whole = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(quantity) if whole && (1..=MAX_QUANTITY).contains(&quantity) => Ok(quantity),
        _ => Err(format!("quantity: {text:?} is not a whole number from 1 to {MAX_QUANTITY}")),
    }
}

impl History {
    /// The orders of each day, by index, in the order of the days.
    pub fn days(&self) -> BTreeMap<civil::Date, Vec<usize>> {
        let mut days: BTreeMap<civil::Date, Vec<usize>> = BTreeMap::new();
        for (index, order) in self.orders.iter().enumerate() {
            days.entry(order.date).or_default().push(index);
        }
        days
    }
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
