//! A till's file of order lines, read and checked as a whole before anything is booked.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    path::Path,
};

use domain::{
    Timestamp,
    menu::Dish,
    order::{MAX_LINES, MAX_QUANTITY},
    serving::MAX_PORTIONS,
};
use jiff::civil;

use super::{
    mapping::Mapping,
    report::BadRows,
    rows::{Line, Reader, Said, Who},
    table::{Fault, Row, Table},
    tally::{LeftOut, Reason, Tally},
};
use crate::config::usage;

/// Everything that a file asks for.
#[derive(Debug, Default)]
pub struct History {
    pub rows: u64,
    /// Whole orders only, by their time, their number and their part.
    pub orders: Vec<PastOrder>,
    /// Numbers that became several orders.
    pub split: u64,
    /// By their time and then their number.
    pub cancellations: Vec<Cancellation>,
    /// In the order in which the file first names them.
    pub dishes: Vec<Dish>,
    pub bad: BadRows,
    pub tally: Tally,
}

/// An order, or a part of one that is larger than an order can be.
#[derive(Clone, Debug, PartialEq)]
pub struct PastOrder {
    /// As the till numbered it.
    pub number: String,
    /// From 1.
    pub part: u32,
    /// Where the file first names it.
    pub line: u64,
    /// The earliest of its rows.
    pub at: Timestamp,
    /// In the canteen's zone.
    pub date: civil::Date,
    pub who: Who,
    pub lines: Vec<PastLine>,
    /// What each line is made of.
    pub shares: Vec<Share>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PastLine {
    /// Of [`History::dishes`].
    pub dish: usize,
    /// Of one portion, in minor units.
    pub unit_price: i64,
    pub quantity: u32,
}

/// Portions of an order's line that come from one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The row's line in the file.
    pub row: u64,
    /// Of [`PastOrder::lines`].
    pub line: u16,
    pub quantity: u32,
}

/// What the till took back at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancellation {
    pub number: String,
    pub at: Timestamp,
    pub who: Who,
    /// One a dish and price.
    pub lines: Vec<CancelledLine>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelledLine {
    pub dish: usize,
    pub unit_price: i64,
    pub quantity: u32,
    /// Each row's line in the file, and its portions.
    pub rows: Vec<(u64, u32)>,
}

impl PastOrder {
    /// The till's number, and which part of it.
    pub fn name(&self) -> String {
        if self.part == 1 { self.number.clone() } else { format!("{}/{}", self.number, self.part) }
    }

    /// Each row that the order has something of, and what that is worth.
    pub fn worth(&self) -> impl Iterator<Item = (u64, i64)> + '_ {
        let price = |share: &Share| self.lines[usize::from(share.line)].unit_price;
        self.shares.iter().map(move |share| (share.row, price(share) * i64::from(share.quantity)))
    }
}

/// Reads the whole file. A header without a mapped column, or a file that cannot be read to its
/// end, is an error; what is wrong with single rows is in [`History::bad`], without their orders.
pub fn read(file: &Path, mapping: &Mapping, now: Timestamp) -> anyhow::Result<History> {
    let broken = |why: String| usage(format!("{}: {why}", file.display()));
    let mut table = Table::open(file, mapping.delimiter)?;
    let reader = Reader::new(&table, mapping, now).map_err(broken)?;
    let mut reading =
        Reading { mapping, reader, history: History::default(), orders: HashMap::new(), dishes: HashMap::new() };
    while let Some(row) = table.next().map_err(broken)? {
        reading.take(&row);
    }
    Ok(reading.finish())
}

/// An order or cancellation whose rows are still coming.
struct Growing {
    number: String,
    line: u64,
    at: Timestamp,
    date: civil::Date,
    who: Who,
    cancels: bool,
    portions: u32,
    rows: Vec<Counted>,
    bad: bool,
}

/// A good row.
#[derive(Clone, Copy)]
struct Counted {
    line: u64,
    dish: usize,
    unit_price: i64,
    quantity: u32,
}

/// A dish that rows have named.
struct Named {
    index: usize,
    /// Only cancellations named it until now, which say nothing of what it costs today.
    cancelled: bool,
}

struct Reading<'a> {
    mapping: &'a Mapping,
    reader: Reader<'a>,
    history: History,
    /// Rows of one order need not follow each other.
    orders: HashMap<String, Growing>,
    dishes: HashMap<String, Named>,
}

impl Reading<'_> {
    fn take(&mut self, row: &Row<'_>) {
        self.history.rows += 1;
        let number = self.reader.number(row).map(str::to_owned);
        let cancels = number.as_ref().is_ok_and(|number| self.mapping.cancels(number));
        let worth = self.reader.worth(row, cancels);
        self.history.tally.read(worth);
        let left_out = |reason, detail| LeftOut {
            line: row.line,
            order: number.as_ref().ok().cloned(),
            amount_minor: worth,
            reason,
            detail,
        };
        let said = match &number {
            Ok(number) => self.reader.said(row, cancels).and_then(|said| match said {
                Said::NoPrice => Ok(true),
                Said::Line(line) => self.add(row.line, number, cancels, *line).map(|()| false),
            }),
            Err(fault) => Err(fault.clone()),
        };
        match said {
            Ok(false) => {}
            Ok(true) => self.history.tally.leave_out(left_out(Reason::ZeroPrice, String::new())),
            Err(fault) => {
                self.history.tally.leave_out(left_out(Reason::BadRow, fault.to_string()));
                self.history.bad.add(row.line, number.as_ref().ok().cloned(), &fault);
                if let Ok(number) = number {
                    let growing = self.orders.entry(number.clone()).or_insert_with(|| empty(number, row.line));
                    growing.bad = true;
                }
            }
        }
    }

    fn add(&mut self, row: u64, number: &str, cancels: bool, said: Line) -> Result<(), Fault> {
        let growing = match self.orders.entry(number.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(Growing {
                at: said.at,
                date: said.date,
                who: said.who.clone(),
                cancels,
                ..empty(number.to_owned(), row)
            }),
        };
        // One that is left out already is only counted.
        if !growing.bad {
            if growing.who != said.who {
                let why = format!("the order's first row, on line {}, names another one", growing.line);
                return Err(Fault::new("diner", why));
            }
            growing.portions = growing.portions.saturating_add(said.quantity);
            if growing.portions > MAX_PORTIONS {
                return Err(Fault::new("quantity", format!("an order has at most {MAX_PORTIONS} portions")));
            }
        }
        if said.at < growing.at {
            (growing.at, growing.date) = (said.at, said.date);
        }
        growing.cancels = cancels;
        let (unit_price, quantity) = (said.dish.price.minor, said.quantity);
        let dish = named(&mut self.dishes, &mut self.history.dishes, said.dish, cancels);
        growing.rows.push(Counted { line: row, dish, unit_price, quantity });
        Ok(())
    }

    fn finish(mut self) -> History {
        let mut left_out: Vec<(u64, String)> = Vec::new();
        for mut growing in self.orders.into_values() {
            if growing.bad {
                growing.leave_out(&mut self.history.tally);
                left_out.push((growing.line, growing.number));
                continue;
            }
            // Another export may have its rows in another order: that makes no other order.
            let dishes = &self.history.dishes;
            let by = |row: &Counted| (dishes[row.dish].name.as_str(), row.unit_price);
            growing.rows.sort_by(|a, b| (by(a), a.line).cmp(&(by(b), b.line)));
            if growing.cancels {
                self.history.cancellations.push(growing.into_cancellation());
            } else {
                let parts = growing.into_parts();
                self.history.split += u64::from(parts.len() > 1);
                self.history.orders.extend(parts);
            }
        }
        left_out.sort();
        for (_, number) in left_out {
            self.history.bad.leave_out(number);
        }
        self.history.orders.sort_by(|a, b| (a.at, &a.number, a.part).cmp(&(b.at, &b.number, b.part)));
        self.history.cancellations.sort_by(|a, b| (a.at, &a.number).cmp(&(b.at, &b.number)));
        self.history
    }
}

fn named(known: &mut HashMap<String, Named>, dishes: &mut Vec<Dish>, dish: Dish, cancels: bool) -> usize {
    match known.get_mut(&dish.name) {
        Some(named) => {
            if named.cancelled && !cancels {
                named.cancelled = false;
                dishes[named.index] = dish;
            }
            named.index
        }
        None => {
            let index = dishes.len();
            known.insert(dish.name.clone(), Named { index, cancelled: cancels });
            dishes.push(dish);
            index
        }
    }
}

fn empty(number: String, line: u64) -> Growing {
    Growing {
        number,
        line,
        at: Timestamp::EPOCH,
        date: civil::Date::ZERO,
        who: Who::Guests,
        cancels: false,
        portions: 0,
        rows: vec![],
        bad: false,
    }
}

impl Growing {
    fn leave_out(&self, tally: &mut Tally) {
        for row in &self.rows {
            let worth = row.unit_price * i64::from(row.quantity);
            tally.leave_out(LeftOut {
                line: row.line,
                order: Some(self.number.clone()),
                amount_minor: Some(if self.cancels { -worth } else { worth }),
                reason: Reason::OrderHasBadRow,
                detail: String::new(),
            });
        }
    }

    fn into_cancellation(self) -> Cancellation {
        let mut lines: Vec<CancelledLine> = Vec::new();
        for Counted { line, dish, unit_price, quantity } in self.rows {
            match lines.last_mut() {
                Some(last) if (last.dish, last.unit_price) == (dish, unit_price) => {
                    last.quantity += quantity;
                    last.rows.push((line, quantity));
                }
                _ => lines.push(CancelledLine { dish, unit_price, quantity, rows: vec![(line, quantity)] }),
            }
        }
        Cancellation { number: self.number, at: self.at, who: self.who, lines }
    }

    /// Equal rows are one line, as a till prints them, unless that has more portions than a line can
    /// have; more lines than an order can have make several orders.
    fn into_parts(self) -> Vec<PastOrder> {
        let mut parts: Vec<PastOrder> = Vec::new();
        for row in &self.rows {
            let mut left = row.quantity;
            while left > 0 {
                let same = parts.last().and_then(|order| order.lines.last()).is_some_and(|last| {
                    (last.dish, last.unit_price) == (row.dish, row.unit_price) && last.quantity < MAX_QUANTITY
                });
                if !same && parts.last().is_none_or(|order| order.lines.len() >= MAX_LINES) {
                    // A file has too few rows for more parts than can be counted.
                    parts.push(self.part(parts.len() as u32 + 1));
                }
                let Some(order) = parts.last_mut() else { break };
                if !same {
                    order.lines.push(PastLine { dish: row.dish, unit_price: row.unit_price, quantity: 0 });
                }
                let line = order.lines.len() - 1;
                let quantity = left.min(MAX_QUANTITY - order.lines[line].quantity);
                order.lines[line].quantity += quantity;
                order.shares.push(Share { row: row.line, line: line as u16, quantity });
                left -= quantity;
            }
        }
        parts
    }

    fn part(&self, part: u32) -> PastOrder {
        PastOrder {
            number: self.number.clone(),
            part,
            line: self.line,
            at: self.at,
            date: self.date,
            who: self.who.clone(),
            lines: vec![],
            shares: vec![],
        }
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
