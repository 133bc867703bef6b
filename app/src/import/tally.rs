//! Where each row of a file has gone: sold, refunded, or left out for a reason. The three together
//! are what the file says, to the last minor unit.

use std::{
    collections::{BTreeMap, HashSet},
    fs::OpenOptions,
    io::BufWriter,
    path::Path,
};

use anyhow::Context;
use domain::{Currency, Money};
use serde::{Deserialize, Serialize};

use crate::config::usage;

/// Why a row was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    BadRow,
    OrderHasBadRow,
    ZeroPrice,
    NotBooked,
    ClosedPeriod,
    NoDiner,
    NoSale,
    SoldLater,
    OtherPrice,
    MoreThanSold,
    SaleNotBooked,
    RefundNotBooked,
}

impl Reason {
    /// By what programs know it.
    pub fn code(self) -> &'static str {
        match self {
            Reason::BadRow => "BAD_ROW",
            Reason::OrderHasBadRow => "ORDER_HAS_BAD_ROW",
            Reason::ZeroPrice => "ZERO_PRICE",
            Reason::NotBooked => "NOT_BOOKED",
            Reason::ClosedPeriod => "CLOSED_PERIOD",
            Reason::NoDiner => "NO_DINER",
            Reason::NoSale => "NO_SALE",
            Reason::SoldLater => "SOLD_LATER",
            Reason::OtherPrice => "OTHER_PRICE",
            Reason::MoreThanSold => "MORE_THAN_SOLD",
            Reason::SaleNotBooked => "SALE_NOT_BOOKED",
            Reason::RefundNotBooked => "REFUND_NOT_BOOKED",
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Reason::BadRow => "the row cannot be taken",
            Reason::OrderHasBadRow => "another row of its order cannot be taken",
            Reason::ZeroPrice => "its price is zero",
            Reason::NotBooked => "its order was not booked",
            Reason::ClosedPeriod => "it is dated into a period that is closed",
            Reason::NoDiner => "a cancellation that names no diner",
            Reason::NoSale => "the file has no sale of the dish to the diner",
            Reason::SoldLater => "the file has its sale only after the cancellation",
            Reason::OtherPrice => "the dish was sold to the diner at other prices only",
            Reason::MoreThanSold => "more than was sold, or still is",
            Reason::SaleNotBooked => "the sale that it takes back was not booked",
            Reason::RefundNotBooked => "the refund was not booked",
        }
    }

    /// Whether the mapping asked for it, so that nobody has to look into it.
    pub fn was_asked_for(self) -> bool {
        self == Reason::ZeroPrice
    }
}

/// A row, or some portions of it, that is in no order and no refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Of the file; the header is line 1.
    pub line: u64,
    /// The number of its order, if the row says one.
    pub order: Option<String>,
    /// Below zero for a cancellation; none if it cannot be read.
    pub amount_minor: Option<i64>,
    pub reason: Reason,
    /// What there is to say beyond the reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// So many rows, and what they come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    pub rows: u64,
    pub minor: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutSum {
    pub reason: Reason,
    /// Those whose amount cannot be read are among them.
    pub rows: u64,
    pub unreadable: u64,
    pub minor: i64,
}

/// The rows of a file against what became of them. A row that was refunded in part counts twice as
/// a row, and once as money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    pub file: Sum,
    /// Booked by this import or by an earlier one.
    pub sold: Sum,
    /// As the books have it: above zero.
    pub refunded: Sum,
    pub left_out: Vec<LeftOutSum>,
    /// The file less what was sold, plus what was refunded, less what was left out: zero.
    pub difference_minor: i64,
}

/// Filled while a file is read and booked.
#[derive(Debug, Default)]
pub struct Tally {
    file: Sum,
    sold: Rows,
    refunded: Rows,
    left_out: Vec<LeftOut>,
}

/// Rows that may come in several pieces.
#[derive(Debug, Default)]
struct Rows {
    lines: HashSet<u64>,
    minor: i64,
}

impl Rows {
    fn add(&mut self, line: u64, minor: i64) {
        self.lines.insert(line);
        self.minor += minor;
    }

    fn sum(&self) -> Sum {
        Sum { rows: self.lines.len() as u64, minor: self.minor }
    }
}

impl Tally {
    /// A row of the file, and what it adds to the file's sum if that can be read.
    pub fn read(&mut self, minor: Option<i64>) {
        self.file.rows += 1;
        self.file.minor += minor.unwrap_or_default();
    }

    pub fn sold(&mut self, line: u64, minor: i64) {
        self.sold.add(line, minor);
    }

    /// Portions worth so much, above zero.
    pub fn refunded(&mut self, line: u64, minor: i64) {
        self.refunded.add(line, minor);
    }

    pub fn leave_out(&mut self, row: LeftOut) {
        self.left_out.push(row);
    }

    pub fn reconciled(&self) -> Reconciliation {
        let mut sums: BTreeMap<Reason, LeftOutSum> = BTreeMap::new();
        for row in &self.left_out {
            let reason = row.reason;
            let sum = sums.entry(reason).or_insert(LeftOutSum { reason, rows: 0, unreadable: 0, minor: 0 });
            sum.rows += 1;
            sum.unreadable += u64::from(row.amount_minor.is_none());
            sum.minor += row.amount_minor.unwrap_or_default();
        }
        let (file, sold, refunded) = (self.file, self.sold.sum(), self.refunded.sum());
        let left_out: Vec<_> = sums.into_values().collect();
        let without: i64 = left_out.iter().map(|sum| sum.minor).sum();
        let difference_minor = file.minor - sold.minor + refunded.minor - without;
        Reconciliation { file, sold, refunded, left_out, difference_minor }
    }

    /// What was left out, in the order of the file.
    pub fn into_left_out(mut self) -> Vec<LeftOut> {
        self.left_out.sort_by_key(|row| (row.line, row.reason));
        self.left_out
    }
}

/// Whether a list of what is left out can be written there; it is empty until the import has ended.
pub fn check_writable(file: &Path) -> anyhow::Result<()> {
    let opened = OpenOptions::new().append(true).create(true).open(file);
    opened.map(|_| ()).map_err(|error| usage(format!("--left-out {}: {error}", file.display())))
}

/// Writes every row that was left out, as CSV.
pub fn write(file: &Path, rows: &[LeftOut], currency: Currency) -> anyhow::Result<()> {
    let failed = || format!("what was left out could not be written to {}", file.display());
    let opened = OpenOptions::new().write(true).create(true).truncate(true).open(file).with_context(failed)?;
    let mut csv = csv::Writer::from_writer(BufWriter::new(opened));
    csv.write_record(["line", "order", "amount", "reason", "detail"]).with_context(failed)?;
    for row in rows {
        let amount = row.amount_minor.map(|minor| Money::new(minor, currency).to_decimal().to_string());
        csv.write_record([
            row.line.to_string().as_str(),
            row.order.as_deref().unwrap_or_default(),
            amount.as_deref().unwrap_or_default(),
            row.reason.code(),
            if row.detail.is_empty() { row.reason.text() } else { &row.detail },
        ])
        .with_context(failed)?;
    }
    csv.flush().with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_shows_as_a_difference() {
        let mut tally = Tally::default();
        for minor in [Some(500), Some(-200), None, Some(30)] {
            tally.read(minor);
        }
        tally.sold(2, 300);
        tally.sold(2, 200);
        tally.refunded(3, 150);
        let left =
            |line, amount_minor, reason| LeftOut { line, order: None, amount_minor, reason, detail: String::new() };
        tally.leave_out(left(4, None, Reason::BadRow));
        tally.leave_out(left(3, Some(-50), Reason::MoreThanSold));
        let short = tally.reconciled();
        assert_eq!((short.file, short.sold), (Sum { rows: 4, minor: 330 }, Sum { rows: 1, minor: 500 }));
        assert_eq!(short.difference_minor, 30, "the row on line 5 went nowhere");
        tally.leave_out(left(5, Some(30), Reason::ZeroPrice));
        assert_eq!(tally.reconciled().difference_minor, 0);
        let sums = tally.reconciled().left_out;
        assert_eq!((sums[0].reason, sums[0].rows, sums[0].unreadable, sums[0].minor), (Reason::BadRow, 1, 1, 0));
        assert_eq!(tally.into_left_out().iter().map(|row| row.line).collect::<Vec<_>>(), [3, 4, 5]);
    }

    #[test]
    fn the_code_in_json_is_the_code() {
        for reason in [Reason::BadRow, Reason::OrderHasBadRow, Reason::MoreThanSold, Reason::RefundNotBooked] {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.code());
        }
    }
}
