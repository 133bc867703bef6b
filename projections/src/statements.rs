//! The books by booking date: an account's statement with its running balance, and what every account
//! had before some days, what they brought, and what it had after them.
//!
//! Sums come from the journal's sums by day ([`LedgerDay`]); entries are found at the positions that those
//! name, so that no entry of another day is read but those recorded in between.

use domain::{Currency, GrantRunId, Money, OrderId, TenantId, postings::LedgerAccount};
use jiff::civil::Date;
use store::Position;

use crate::{
    Snapshot, ViewError, args,
    as_of::books::{Accounts, LedgerDay},
    journal::Entry,
    periods::FIRST_BOOKED,
};

/// Sums whose entries are read one after the other.
const SPANS: usize = 100;

/// Some days of the books, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    pub from: Date,
    pub to: Date,
}

impl Days {
    /// From the first entry to the last where an end is not said. Days before the first that is ever booked
    /// count as that.
    pub fn new(from: Option<Date>, to: Option<Date>) -> Days {
        let first = from.unwrap_or(FIRST_BOOKED).max(FIRST_BOOKED);
        Days { from: first, to: to.unwrap_or(Date::MAX).max(FIRST_BOOKED) }
    }
}

/// An account over some days, in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodBalance {
    pub tenant: TenantId,
    pub account: LedgerAccount,
    pub currency: Currency,
    /// Its balance before the first day: credits less debits.
    pub opening_minor: i64,
    /// The sum of the days' debits, positive.
    pub debits_minor: i64,
    pub credits_minor: i64,
}

impl PeriodBalance {
    pub fn opening(&self) -> Money {
        Money::new(self.opening_minor, self.currency)
    }

    pub fn debits(&self) -> Money {
        Money::new(self.debits_minor, self.currency)
    }

    pub fn credits(&self) -> Money {
        Money::new(self.credits_minor, self.currency)
    }

    /// Its balance after the last day. Sums that the books hold fit, so their difference does.
    pub fn closing(&self) -> Money {
        let moved = self.credits_minor.saturating_sub(self.debits_minor);
        Money::new(self.opening_minor.saturating_add(moved), self.currency)
    }
}

/// Where entries in the order of their booking go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub booking_date: Date,
    pub position: Position,
    pub line: u8,
}

impl From<&Entry> for Cursor {
    fn from(entry: &Entry) -> Self {
        Cursor { booking_date: entry.booking_date, position: entry.position, line: entry.line }
    }
}

/// An entry of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub entry: Entry,
    /// Of the account, after the entry.
    pub balance: Money,
}

impl Line {
    /// What the entry is to whoever owns the account, in plain words; an event that has none of its own goes by
    /// its type.
    pub fn title(&self) -> &str {
        let event = self.entry.event.as_str();
        TITLES.iter().find(|(known, _)| *known == event).map_or(event, |(_, title)| title)
    }

    /// The order that the entry is of: what moves the money of orders is all about them.
    pub fn order(&self) -> Option<OrderId> {
        let is_of_order = match self.entry.event.split_once('.') {
            Some(("order" | "payment", _)) => true,
            Some(("account", event)) => matches!(event, "Captured" | "Refunded" | "RefundLapsed" | "RefundDiverted"),
            _ => false,
        };
        is_of_order.then_some(OrderId(self.entry.correlation))
    }

    /// The run of grants that the entry is of.
    pub fn run(&self) -> Option<GrantRunId> {
        let is_of_run =
            matches!(self.entry.event.as_str(), "account.Granted" | "account.Allocated" | "account.TakenBack");
        is_of_run.then_some(GrantRunId(self.entry.correlation))
    }
}

/// What the events that move money are to whoever owns the account.
pub const TITLES: &[(&str, &str)] = &[
    ("account.Deposited", "Top-up"),
    ("account.PaidOut", "Paid out to the bank"),
    ("account.Adjusted", "Correction"),
    ("correction.Moved", "Correction"),
    ("account.Granted", "Subsidy granted"),
    ("account.Lapsed", "Subsidy expired"),
    ("account.Captured", "Meal"),
    ("account.Refunded", "Refund of a meal"),
    ("account.RefundLapsed", "Refund to an expired subsidy"),
    ("account.RefundDiverted", "Refund to a closed account"),
    ("account.Allocated", "Set aside for subsidies"),
    ("account.TakenBack", "Subsidies that were not needed"),
    ("payment.Paid", "Paid elsewhere"),
    ("payment.PaidBack", "Paid back elsewhere"),
    ("order.PickedUp", "Meal served"),
    ("order.NoShow", "Meal that was not collected"),
    ("order.RefundBegun", "Refund after the meal"),
    ("payment.Mispaid", "Another amount than was asked"),
    ("payment.PayBackDiverted", "Could not be paid back"),
    ("account.Invoiced", "Invoice"),
    ("account.InvoiceVoided", "Invoice taken back"),
    ("invoice.Paid", "Payment of an invoice"),
];

/// The accounts on which something had been booked by the last of the days, at most `limit`, in the order
/// of their names.
pub fn balances(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    days: Days,
    asked: &Accounts,
    limit: usize,
) -> Result<Vec<PeriodBalance>, ViewError> {
    let (from, to) = asked.names();
    let (after, after_currency) = asked.after.unzip();
    let params = args![tenant, days.from, days.to, from, to, after, after_currency, limit];
    snapshot.query(BALANCES, params, |row| {
        Ok(PeriodBalance {
            tenant,
            account: row.get(0)?,
            currency: row.get(1)?,
            opening_minor: row.get(2)?,
            debits_minor: row.get(3)?,
            credits_minor: row.get(4)?,
        })
    })
}

/// Which accounts is said first: a page has few of them, and each has sums of many days.
const BALANCES: &str = "WITH u AS (
      SELECT account, currency FROM {ledger_accounts}
      WHERE tenant = ?1 AND first_on <= ?3 AND account >= ?4 AND account < ?5
        AND (?6 IS NULL OR (account, currency) > (?6, ?7))
      ORDER BY account, currency LIMIT ?8)
    SELECT u.account, u.currency,
      sum(CASE WHEN d.booked_on < ?2 THEN d.credits_minor - d.debits_minor ELSE 0 END),
      sum(CASE WHEN d.booked_on < ?2 THEN 0 ELSE d.debits_minor END),
      sum(CASE WHEN d.booked_on < ?2 THEN 0 ELSE d.credits_minor END)
    FROM u CROSS JOIN {ledger_days} d
    WHERE d.tenant = ?1 AND d.account = u.account AND d.currency = u.currency AND d.booked_on <= ?3
    GROUP BY u.account, u.currency ORDER BY u.account, u.currency";

/// One account over some days, in every currency that it had by then.
pub fn of_account(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    account: LedgerAccount,
    days: Days,
) -> Result<Vec<PeriodBalance>, ViewError> {
    // A name that begins like the account's is another one's.
    let asked = Accounts { prefix: Some(account.to_string()), after: None };
    let found = balances(snapshot, tenant, days, &asked, SPANS)?;
    Ok(found.into_iter().filter(|one| one.account == account).collect())
}

/// An account's entries of some days, with its balance after each, in the order in which they are booked,
/// from after `after`: at most `limit`.
pub fn lines(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    (account, currency): (LedgerAccount, Currency),
    days: Days,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Vec<Line>, ViewError> {
    let account = Of { tenant, account };
    let after = after.filter(|cursor| cursor.booking_date >= days.from);
    let mut balance = balance_at(snapshot, account, currency, days.from, after)?;
    let entries = entries(snapshot, tenant, Some((account.account, currency)), days, after, limit)?;
    let line = |entry: Entry| {
        balance = balance.saturating_add(entry.amount_minor);
        Line { balance: Money::new(balance, currency), entry }
    };
    Ok(entries.into_iter().map(line).collect())
}

#[derive(Clone, Copy)]
struct Of {
    tenant: TenantId,
    account: LedgerAccount,
}

/// What the account had before the days, or after the entry `after` of one of them.
fn balance_at(
    snapshot: &Snapshot<'_>,
    Of { tenant, account }: Of,
    currency: Currency,
    from: Date,
    after: Option<Cursor>,
) -> Result<i64, ViewError> {
    let whole = "SELECT sum(credits_minor) - sum(debits_minor) FROM {ledger_days}
                 WHERE tenant = ?1 AND account = ?2 AND currency = ?3 AND booked_on < ?4";
    let until = after.map_or(from, |cursor| cursor.booking_date);
    let sums = snapshot.query(whole, args![tenant, account, currency, until], |row| row.get::<Option<i64>>(0))?;
    // A sum of nothing is null.
    let mut balance = sums.into_iter().flatten().sum();
    let Some(Cursor { booking_date, position, line }) = after else { return Ok(balance) };
    let of_day: Vec<LedgerDay> = snapshot.fetch(
        "WHERE tenant = ?1 AND account = ?2 AND currency = ?3 AND booked_on = ?4 AND first_position <= ?5",
        args![tenant, account, currency, booking_date, position],
    )?;
    // Of the day itself only what is booked up to that entry counts.
    let part = "SELECT sum(amount_minor) FROM {journal}
                WHERE tenant = ?1 AND (account, position) >= (?2, ?3) AND (account, position, line) <= (?2, ?4, ?5)
                  AND booking_date = ?6 AND currency = ?7";
    for day in of_day {
        if day.last_position < position {
            balance += day.credits_minor - day.debits_minor;
            continue;
        }
        let params = args![tenant, account, day.first_position, position, line, booking_date, currency];
        let sums = snapshot.query(part, params, |row| row.get::<Option<i64>>(0))?;
        balance += sums.into_iter().flatten().sum::<i64>();
    }
    Ok(balance)
}

/// Positions at which entries of one day stand, the last included; recorded on one day.
struct Span {
    booked_on: Date,
    recorded_on: Date,
    first: Position,
    last: Position,
}

/// The entries of some days in the order in which they are booked, from after `after`: at most `limit`. Of
/// one account in one currency, or of all.
pub fn entries(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    of: Option<(LedgerAccount, Currency)>,
    days: Days,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Vec<Entry>, ViewError> {
    let mut found: Vec<Entry> = Vec::new();
    let mut after = after.filter(|cursor| cursor.booking_date >= days.from);
    let mut behind = (after.map_or(days.from, |cursor| cursor.booking_date), None);
    loop {
        let spans = spans(snapshot, tenant, of, behind, days.to)?;
        for span in &spans {
            let past = after.filter(|cursor| cursor.booking_date == span.booked_on);
            // The positions of one day's sums follow each other.
            if past.is_some_and(|cursor| span.last < cursor.position) {
                continue;
            }
            found.extend(within(snapshot, tenant, of, span, past, limit - found.len())?);
            if found.len() >= limit {
                return Ok(found);
            }
            after = found.last().map(Cursor::from).or(after);
        }
        let Some(last) = spans.last().filter(|_| spans.len() == SPANS) else { return Ok(found) };
        behind = (last.booked_on, Some(last.recorded_on));
    }
}

/// Where the days' entries stand, in the order of their booking, from `from` on, or behind the sum of that
/// day that was recorded on `behind`.
fn spans(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    of: Option<(LedgerAccount, Currency)>,
    (from, behind): (Date, Option<Date>),
    to: Date,
) -> Result<Vec<Span>, ViewError> {
    let (account, currency) = of.unzip();
    let params = args![tenant, from, behind, to, SPANS, account, currency];
    let (sql, params) = match of {
        Some(_) => (SPANS_OF_ACCOUNT, &params[..]),
        None => (SPANS_OF_ALL, &params[..5]),
    };
    snapshot.query(sql, params, |row| {
        Ok(Span { booked_on: row.get(0)?, recorded_on: row.get(1)?, first: row.get(2)?, last: row.get(3)? })
    })
}

const SPANS_OF_ACCOUNT: &str = "SELECT booked_on, recorded_on, first_position, last_position FROM {ledger_days}
    WHERE tenant = ?1 AND account = ?6 AND currency = ?7 AND booked_on >= ?2 AND booked_on <= ?4
      AND (booked_on > ?2 OR ?3 IS NULL OR recorded_on > ?3)
    ORDER BY booked_on, recorded_on LIMIT ?5";

/// In every currency together.
const SPANS_OF_ALL: &str = "SELECT booked_on, recorded_on, min(first_position), max(last_position)
    FROM {ledger_totals} WHERE tenant = ?1 AND booked_on >= ?2 AND booked_on <= ?4
      AND (booked_on > ?2 OR ?3 IS NULL OR recorded_on > ?3)
    GROUP BY booked_on, recorded_on ORDER BY booked_on, recorded_on LIMIT ?5";

const WITHIN_ACCOUNT: &str = "WHERE tenant = ?1 AND (account, position, line) > (?7, ?2, ?3)
    AND (account, position) <= (?7, ?4) AND booking_date = ?5 AND currency = ?8
    ORDER BY account, position, line LIMIT ?6";

const WITHIN_ALL: &str = "WHERE tenant = ?1 AND (position, line) > (?2, ?3) AND position <= ?4 AND booking_date = ?5
    ORDER BY position, line LIMIT ?6";

/// The entries of a span, from after `past`.
fn within(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    of: Option<(LedgerAccount, Currency)>,
    span: &Span,
    past: Option<Cursor>,
    limit: usize,
) -> Result<Vec<Entry>, ViewError> {
    let (account, currency) = of.unzip();
    // Behind the last line of the position before it.
    let begin = (span.first - 1, u8::MAX);
    let (position, line) = past.map_or(begin, |cursor| begin.max((cursor.position, cursor.line)));
    let params = args![tenant, position, line, span.last, span.booked_on, limit, account, currency];
    match of {
        Some(_) => snapshot.fetch(WITHIN_ACCOUNT, params),
        None => snapshot.fetch(WITHIN_ALL, &params[..6]),
    }
}

#[cfg(test)]
#[path = "statements_tests.rs"]
mod tests;
