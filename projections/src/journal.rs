//! The books' journal: every posting of every event that moved money, their sums by day, and the
//! periods that were closed.

use domain::{
    Currency, Fact, Money, TenantId, Timestamp,
    account::{self, AdjustReason},
    postings::{LedgerAccount, postings},
};
use jiff::civil::Date;
use store::{Position, Recorded};
use uuid::Uuid;

use crate::{
    PageSize, Poison, Projection, Row, Rows, TableSpec, ViewError, Views, args,
    as_of::books::{self, LedgerDay, LedgerTotal, UsedAccount},
    periods::{self, OpenBooks, Period},
    row,
};

row! {
    /// One side of a booking.
    pub struct Entry in "journal" {
        key {
            tenant: TenantId,
            position: Position,
            /// Counts the postings of one event, from 0.
            line: u8,
        }
        /// The business time.
        occurred_at: Timestamp,
        /// What the books are kept by: the local date of that time, or the first day that was open
        /// when the entry came.
        booking_date: Date,
        /// Whether it came after its own date was closed.
        late: bool,
        recorded_at: Timestamp,
        account: LedgerAccount,
        /// A credit is positive, a debit negative.
        amount_minor: i64,
        currency: Currency,
        /// The event's type, `account.Captured` for example.
        event: String,
        /// What the whole chain of commands was about: the order's id, for example.
        correlation: Uuid,
        /// What a correction of a balance is for.
        reason: Option<AdjustReason>,
    }
    index "account" on "(tenant, account, position, line)";
    index "time" on "(tenant, occurred_at, position, line)";
}

impl Entry {
    pub fn amount(&self) -> Money {
        Money::new(self.amount_minor, self.currency)
    }

    pub fn cursor(&self) -> Cursor {
        Cursor { occurred_at: self.occurred_at, position: self.position, line: self.line }
    }
}

/// The projection. It keeps the sums of [`books`] and the [`periods`] too, so that they always stand at
/// the same event.
pub struct Journal;

impl Projection for Journal {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn version(&self) -> u32 {
        4
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Entry::TABLE, LedgerDay::TABLE, LedgerTotal::TABLE, UsedAccount::TABLE, OpenBooks::TABLE, Period::TABLE]
    }

    /// Which events move money, and how, the one postings file says; it names every event.
    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        if let Fact::Books(_, event) = &it.fact {
            return periods::apply(it, event, rows);
        }
        let postings = postings(&it.fact);
        if postings.is_empty() {
            return Ok(());
        }
        let (booking_date, late) = periods::booking_date(it, rows);
        books::book(it, &postings, booking_date, rows)?;
        let reason = match &it.fact {
            Fact::Account(_, account::Event::Adjusted { reason, .. }) => Some(*reason),
            _ => None,
        };
        for (line, posting) in postings.into_iter().enumerate() {
            rows.append(Entry {
                tenant: it.tenant,
                position: it.position,
                line: u8::try_from(line).map_err(|_| Poison("more than 256 postings in one event".into()))?,
                occurred_at: it.occurred_at,
                booking_date,
                late,
                recorded_at: it.recorded_at,
                account: posting.account,
                amount_minor: posting.amount.minor,
                currency: posting.amount.currency,
                event: [aggregate(&it.fact), it.fact.name()].join("."),
                correlation: it.metadata.correlation,
                reason,
            });
        }
        Ok(())
    }
}

fn aggregate(fact: &Fact) -> &'static str {
    match fact {
        Fact::Menu(..) => "menu",
        Fact::Serving(..) => "serving",
        Fact::Order(..) => "order",
        Fact::Payment(..) => "payment",
        Fact::Account(..) => "account",
        Fact::Policy(..) => "policy",
        Fact::Grant(..) => "grant",
        Fact::Diner(..) => "diner",
        Fact::Books(..) => "books",
        Fact::Invoice(..) => "invoice",
        Fact::Correction(..) => "correction",
        Fact::TopUp(..) => "top_up",
        Fact::Payout(..) => "payout",
    }
}

/// Where a page of the journal goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub occurred_at: Timestamp,
    pub position: Position,
    pub line: u8,
}

/// An account's entries, newest first, from before `before`.
pub async fn of_account(
    views: &Views,
    tenant: TenantId,
    account: LedgerAccount,
    before: Option<Cursor>,
    page: PageSize,
) -> Result<Vec<Entry>, ViewError> {
    let (position, line) = before.map_or((i64::MAX as u64, 0), |cursor| (cursor.position, cursor.line));
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND account = ?2 AND (position, line) < (?3, ?4)
                 ORDER BY position DESC, line DESC LIMIT ?5",
                args![tenant, account, position, line, page],
            )
        })
        .await
}

/// All entries with a business time from `from` up to, not including, `to`, in the order of that
/// time, from after `after`.
pub async fn between(
    views: &Views,
    tenant: TenantId,
    from: Timestamp,
    to: Timestamp,
    after: Option<Cursor>,
    page: PageSize,
) -> Result<Vec<Entry>, ViewError> {
    let after = after.filter(|cursor| cursor.occurred_at >= from);
    let (time, position, line) =
        after.map_or((from, 0, 0), |cursor| (cursor.occurred_at, cursor.position, cursor.line));
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND occurred_at < ?2 AND (occurred_at, position, line) > (?3, ?4, ?5)
                 ORDER BY occurred_at, position, line LIMIT ?6",
                args![tenant, to, time, position, line, page],
            )
        })
        .await
}

/// The latest entries, newest first in the order of the log, from before `before`.
pub async fn latest(
    views: &Views,
    tenant: TenantId,
    before: Option<Cursor>,
    page: PageSize,
) -> Result<Vec<Entry>, ViewError> {
    let (position, line) = before.map_or((i64::MAX as u64, 0), |cursor| (cursor.position, cursor.line));
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND (position, line) < (?2, ?3) ORDER BY position DESC, line DESC LIMIT ?4",
                args![tenant, position, line, page],
            )
        })
        .await
}
