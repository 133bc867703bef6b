//! What an import did, and what it could not take.

use std::path::Path;

use domain::{Currency, TenantId, books};
use serde::{Deserialize, Serialize};

use super::{
    table::Fault,
    tally::{LeftOut, Reconciliation},
};

/// Most bad rows, left out orders and other problems that a report lists; the totals count all.
const MAX_LISTED: usize = 1_000;

/// A row that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Of the file; the header is line 1.
    pub line: u64,
    /// The number of its order, if the row says one.
    pub order: Option<String>,
    /// `BAD_FIELD`, or `FIELD_COUNT` where the row has too few or too many.
    pub code: String,
    /// As the mapping calls it.
    pub field: Option<String>,
    pub reason: String,
}

/// What was wrong with a file's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRows {
    pub bad_rows: u64,
    /// The first thousand.
    #[serde(rename = "problems")]
    pub rows: Vec<BadRow>,
    pub orders_left_out: u64,
    /// The numbers of orders that were left out whole; the first thousand.
    pub left_out: Vec<String>,
}

impl BadRows {
    pub fn add(&mut self, line: u64, order: Option<String>, fault: &Fault) {
        self.bad_rows += 1;
        if self.rows.len() < MAX_LISTED {
            let (code, field) = (fault.code().to_owned(), fault.field.map(str::to_owned));
            self.rows.push(BadRow { line, order, code, field, reason: fault.to_string() });
        }
    }

    pub fn leave_out(&mut self, number: String) {
        self.orders_left_out += 1;
        if self.left_out.len() < MAX_LISTED {
            self.left_out.push(number);
        }
    }
}

/// An order that was whole but could not be booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotBooked {
    pub order: String,
    pub line: u64,
    /// What refused it, for programs, where that has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub reason: String,
}

/// What the sales view now holds of the canteen over the days of the file, whoever booked it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sales {
    pub orders: u64,
    pub units: u64,
    /// Less refunds, in minor units of the report's currency.
    pub takings_minor: i64,
}

/// What came of an import. It is an object in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportReport {
    pub tenant: TenantId,
    pub file: String,
    pub canteen: String,
    pub currency: Currency,
    /// Of the file, without the header.
    pub rows: u64,
    /// Whether a bad row kept everything out.
    pub refused: bool,
    /// Dishes that were put on the menu, or changed.
    pub dishes_put: u64,
    pub dishes_unchanged: u64,
    pub servings_published: u64,
    pub orders_imported: u64,
    /// Orders that an earlier import had booked.
    pub orders_unchanged: u64,
    /// Portions and takings of the orders imported now.
    pub units_imported: u64,
    pub imported_minor: i64,
    /// Numbers of the file that became several orders.
    pub orders_split: u64,
    /// One for each order that a cancelled line takes something back from.
    pub refunds_imported: u64,
    pub refunds_unchanged: u64,
    /// Portions and money of the refunds imported now.
    pub units_refunded: u64,
    pub refunded_minor: i64,
    #[serde(flatten)]
    pub bad: BadRows,
    pub orders_not_booked: u64,
    /// The first thousand.
    pub not_booked: Vec<NotBooked>,
    /// Of a till's history that was booked.
    pub reconciliation: Option<Reconciliation>,
    /// Every row that is in no order and no refund: the first thousand.
    pub rows_left_out: Vec<LeftOut>,
    pub sales: Option<Sales>,
    pub seconds: f64,
    pub orders_per_second: f64,
}

impl ImportReport {
    pub fn new(tenant: TenantId, file: &Path, canteen: &str, currency: Currency) -> Self {
        ImportReport {
            tenant,
            file: file.display().to_string(),
            canteen: canteen.to_owned(),
            currency,
            rows: 0,
            refused: false,
            dishes_put: 0,
            dishes_unchanged: 0,
            servings_published: 0,
            orders_imported: 0,
            orders_unchanged: 0,
            units_imported: 0,
            imported_minor: 0,
            orders_split: 0,
            refunds_imported: 0,
            refunds_unchanged: 0,
            units_refunded: 0,
            refunded_minor: 0,
            bad: BadRows::default(),
            orders_not_booked: 0,
            not_booked: vec![],
            reconciliation: None,
            rows_left_out: vec![],
            sales: None,
            seconds: 0.0,
            orders_per_second: 0.0,
        }
    }

    pub fn not_booked(&mut self, order: String, line: u64, reason: String) {
        self.add_not_booked(NotBooked { order, line, code: None, reason });
    }

    /// An order that the books refuse.
    pub fn refused_order(&mut self, order: String, line: u64, why: &books::Error) {
        self.add_not_booked(NotBooked { order, line, code: Some(why.code().to_owned()), reason: why.to_string() });
    }

    fn add_not_booked(&mut self, order: NotBooked) {
        self.orders_not_booked += 1;
        if self.not_booked.len() < MAX_LISTED {
            self.not_booked.push(order);
        }
    }

    /// A refund of so many portions at this price, booked now or known from before.
    pub fn refunded(&mut self, known: bool, portions: u32, unit_price: i64) {
        if known {
            self.refunds_unchanged += 1;
            return;
        }
        self.refunds_imported += 1;
        self.units_refunded += u64::from(portions);
        self.refunded_minor += unit_price * i64::from(portions);
    }

    pub fn left_out(&mut self, rows: &[LeftOut]) {
        self.rows_left_out = rows.iter().take(MAX_LISTED).cloned().collect();
    }

    /// Whether everything in the file is booked, but for what its mapping leaves out.
    pub fn is_clean(&self) -> bool {
        let left_out = self.reconciliation.iter().flat_map(|reconciled| &reconciled.left_out);
        self.bad.bad_rows == 0
            && self.orders_not_booked == 0
            && left_out.into_iter().all(|sum| sum.reason.was_asked_for())
    }

    /// Whether anything was appended.
    pub fn changed(&self) -> bool {
        self.dishes_put + self.servings_published + self.orders_imported + self.refunds_imported > 0
    }
}
