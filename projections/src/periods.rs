//! The periods of the books, and the day on which each event is booked.
//!
//! They are tables of the journal's projection, since an entry's booking date rests on what was closed
//! when the entry came: whoever reads both finds them at the same event.

use domain::{
    ActorId, TenantId, Timestamp,
    books::{DeductionOrder, Event, ReopenReason, booked_on},
    bundled_zone,
};
use jiff::{
    civil::{self, Date},
    tz::TimeZone,
};
use store::{Position, Recorded};

use crate::{
    Column, ColumnType, Misfit, PageSize, Poison, Rows, Snapshot, Value, ViewError, Views, args, column::words, row,
};

/// A time zone, by its name in a column; in memory it is ready for use.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone(pub TimeZone);

impl Column for Zone {
    const TYPE: ColumnType = String::TYPE;
    fn to_value(&self) -> Result<Value<'_>, Misfit> {
        let name = self.0.iana_name().ok_or_else(|| Misfit("a time zone has no name".into()))?;
        Ok(Value::Text(name.into()))
    }
    fn from_value(value: Value<'_>) -> Result<Self, Misfit> {
        let name = String::from_value(value)?;
        bundled_zone(&name).map(Zone).ok_or_else(|| Misfit(format!("{name:?} is not a time zone")))
    }
}

words! {
    ReopenReason { Correction = "correction", LateInvoice = "late_invoice", Audit = "audit" }
}

words! {
    DeductionOrder { SubsidyFirst = "subsidy_first", WalletFirst = "wallet_first" }
}

row! {
    /// The books of a tenant that were opened.
    pub struct OpenBooks in "books" {
        key { tenant: TenantId }
        /// IANA time zone that tells the dates.
        zone: Zone,
        /// The last day that is closed.
        closed_through: Option<Date>,
        /// How many periods were ever closed.
        closes: u32,
        /// The number of the period that ends with that day; 0 when every day is open.
        closed: u32,
        /// Which balance of a diner pays first.
        deduction_order: DeductionOrder,
    }
}

row! {
    /// A period that was closed, and perhaps opened again.
    pub struct Period in "periods" {
        key {
            tenant: TenantId,
            /// Counts the closes, from 1.
            number: u32,
        }
        /// Its first day; none for the first period, which begins with the first entry.
        first_day: Option<Date>,
        last_day: Date,
        closed_at: Timestamp,
        closed_by: ActorId,
        /// Of the event that closed it: what comes behind is late.
        position: Position,
        /// The number of the period before it; 0 when there is none.
        before: u32,
        reopened_at: Option<Timestamp>,
        reopened_by: Option<ActorId>,
        reason: Option<ReopenReason>,
    }
}

impl Period {
    /// Whether it takes postings.
    pub fn is_open(&self) -> bool {
        self.reopened_at.is_some()
    }
}

/// The earliest booking date: no database holds earlier ones.
pub(crate) const FIRST_BOOKED: Date = civil::date(1, 1, 1);

/// The day in UTC. Days that no database could hold count as the nearest that all can.
pub(crate) fn day(at: Timestamp) -> Date {
    day_in(at, &TimeZone::UTC)
}

fn day_in(at: Timestamp, zone: &TimeZone) -> Date {
    at.date_in(zone).clamp(FIRST_BOOKED, Date::MAX)
}

/// The day on which an event is booked, and whether that is late: its local date, or the first open day
/// when its own was closed before. Dates are told in UTC until the books are opened.
pub(crate) fn booking_date(it: &Recorded, rows: &mut Rows) -> (Date, bool) {
    match rows.get::<OpenBooks>(&(it.tenant,)) {
        Some(books) => booked_on(day_in(it.occurred_at, &books.zone.0), books.closed_through),
        None => (day(it.occurred_at), false),
    }
}

/// Folds an event of the books.
pub(crate) fn apply(it: &Recorded, event: &Event, rows: &mut Rows) -> Result<(), Poison> {
    match event {
        Event::Opened { zone } => {
            let zone = bundled_zone(zone).ok_or_else(|| Poison(format!("{zone:?} is not a time zone known here")))?;
            let zone = Zone(zone);
            let deduction_order = DeductionOrder::default();
            rows.put(OpenBooks {
                tenant: it.tenant,
                zone,
                closed_through: None,
                closes: 0,
                closed: 0,
                deduction_order,
            });
        }
        Event::PeriodClosed { from, through } => {
            let books = books(it.tenant, rows)?;
            let before = books.closed;
            books.closes += 1;
            books.closed = books.closes;
            books.closed_through = Some(*through);
            let number = books.closed;
            rows.create(Period {
                tenant: it.tenant,
                number,
                first_day: *from,
                last_day: *through,
                closed_at: it.occurred_at,
                closed_by: it.metadata.actor,
                position: it.position,
                before,
                reopened_at: None,
                reopened_by: None,
                reason: None,
            });
        }
        Event::PeriodReopened { closed_through, reason } => {
            let mut number = books(it.tenant, rows)?.closed;
            while number > 0 {
                let period = rows.get::<Period>(&(it.tenant, number)).map(|period| (period.last_day, period.before));
                let (last_day, before) = period.ok_or_else(|| Poison(format!("there is no period {number}")))?;
                if Some(last_day) <= *closed_through {
                    break;
                }
                if let Some(period) = rows.get_mut::<Period>(&(it.tenant, number)) {
                    period.reopened_at = Some(it.occurred_at);
                    period.reopened_by = Some(it.metadata.actor);
                    period.reason = Some(*reason);
                }
                number = before;
            }
            let books = books(it.tenant, rows)?;
            books.closed = number;
            books.closed_through = *closed_through;
        }
        Event::DeductionOrderSet { order } => books(it.tenant, rows)?.deduction_order = *order,
        // It is asked of the books themselves.
        Event::ApprovalLimitSet { .. } => {}
    }
    Ok(())
}

fn books(tenant: TenantId, rows: &mut Rows) -> Result<&mut OpenBooks, Poison> {
    rows.get_mut::<OpenBooks>(&(tenant,)).ok_or_else(|| Poison("something is set in books that were not opened".into()))
}

/// A tenant's books; none before they are opened.
pub fn of_tenant(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Option<OpenBooks>, ViewError> {
    snapshot.fetch_one("WHERE tenant = ?1", args![tenant])
}

/// The zone that tells the dates of a tenant's books: UTC until they are opened.
pub fn zone(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<TimeZone, ViewError> {
    Ok(of_tenant(snapshot, tenant)?.map_or(TimeZone::UTC, |books| books.zone.0))
}

/// A tenant's books and the periods that were closed, the last first, from before the number `before`.
pub async fn list(
    views: &Views,
    tenant: TenantId,
    before: Option<u32>,
    page: PageSize,
) -> Result<(Option<OpenBooks>, Vec<Period>), ViewError> {
    views
        .read(move |snapshot| {
            let query = "WHERE tenant = ?1 AND (?2 IS NULL OR number < ?2) ORDER BY number DESC LIMIT ?3";
            let periods = snapshot.fetch(query, args![tenant, before, page])?;
            Ok((of_tenant(snapshot, tenant)?, periods))
        })
        .await
}

#[cfg(test)]
#[path = "periods_tests.rs"]
mod tests;
