//! What an import did, and what it could not take.

use std::path::Path;

use domain::{Currency, TenantId, books};
use serde::{Deserialize, Serialize};

/// Most bad rows, left out orders and other problems that a report lists; the totals count all.
const MAX_LISTED: usize = 1_000;

/// A row that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Of the file; the header is line 1.
    pub line: u64,
    /// The number of its order, if the row says one.
    pub order: Option<String>,
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
    pub fn add(&mut self, line: u64, order: Option<String>, reason: String) {
        self.bad_rows += 1;
        if self.rows.len() < MAX_LISTED {
            self.rows.push(BadRow { line, order, reason });
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
    #[serde(flatten)]
    pub bad: BadRows,
    pub orders_not_booked: u64,
    /// The first thousand.
    pub not_booked: Vec<NotBooked>,
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
            bad: BadRows::default(),
            orders_not_booked: 0,
            not_booked: vec![],
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

    /// Whether everything in the file is booked.
    pub fn is_clean(&self) -> bool {
        self.bad.bad_rows == 0 && self.orders_not_booked == 0
    }

    /// Whether anything was appended.
    pub fn changed(&self) -> bool {
        self.dishes_put + self.servings_published + self.orders_imported > 0
    }
}
