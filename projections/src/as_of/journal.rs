//! The journal's entries as they were.

use domain::{TenantId, Timestamp, postings::LedgerAccount};
use store::Position;

use super::{AsOf, AsOfError, Moment};
use crate::{
    Snapshot, args,
    journal::{Cursor, Entry, Journal},
};

/// Sums whose spans are read at once.
const SPANS: u32 = 100;

/// Positions, the last included.
struct Span {
    first: Position,
    last: Position,
}

/// At most `limit` entries, newest first in the order of the log, from before `before`; of one
/// account, or of all.
///
/// # Errors
/// When the journal has not come so far.
pub fn latest(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    account: Option<LedgerAccount>,
    before: Option<Cursor>,
    limit: usize,
    moment: Moment,
) -> Result<Vec<Entry>, AsOfError> {
    moment.check(snapshot, &Journal)?;
    let mut found = Vec::new();
    let mut before = before.map_or((i64::MAX as u64, 0), |cursor| (cursor.position, cursor.line));
    if let AsOf::Position(last) = moment.0 {
        return entries(snapshot, tenant, account, &Span { first: 0, last }, before, limit, moment);
    }
    // What is booked by a time may stand anywhere in the log; the sums know where.
    loop {
        let end = if before.1 == 0 { before.0 } else { before.0 + 1 };
        let spans = spans(snapshot, tenant, account, end, moment)?;
        let more = spans.len() == SPANS as usize;
        for span in spans {
            // Those of sums that overlap were taken already.
            if span.first > before.0 {
                continue;
            }
            let missing = limit - found.len();
            found.extend(entries(snapshot, tenant, account, &span, before, missing, moment)?);
            if found.len() >= limit {
                return Ok(found);
            }
            before = before.min((span.first, 0));
        }
        if !more {
            return Ok(found);
        }
    }
}

/// Where entries from before the moment stand, below the position `end`; the latest first.
fn spans(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    account: Option<LedgerAccount>,
    end: Position,
    moment: Moment,
) -> Result<Vec<Span>, AsOfError> {
    let (table, condition) = match account {
        Some(_) => ("{ledger_days}", "AND account = ?6"),
        None => ("{ledger_totals}", ""),
    };
    let sql = format!(
        "SELECT first_position, last_position FROM {table}
         WHERE tenant = ?1 AND first_at <= ?2 AND first_position < ?3 AND booked_on <= ?5 {condition}
         ORDER BY last_position DESC, first_position DESC LIMIT ?4"
    );
    let (time, date) = (moment.time(), moment.date());
    let params = args![tenant, time, end, SPANS, date, account];
    let params = &params[..if account.is_some() { 6 } else { 5 }];
    Ok(snapshot.query(&sql, params, |row| Ok(Span { first: row.get(0)?, last: row.get(1)? }))?)
}

fn entries(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    account: Option<LedgerAccount>,
    span: &Span,
    before: (Position, u8),
    limit: usize,
    moment: Moment,
) -> Result<Vec<Entry>, AsOfError> {
    // Only the lower of two bounds is said, so that the index has the right one.
    let (position, line) = if span.last < before.0 { (span.last + 1, 0) } else { before };
    let (time, date) = (moment.time(), moment.date());
    let params = args![tenant, span.first, position, line, time, date, limit, account];
    let params = &params[..if account.is_some() { 8 } else { 7 }];
    Ok(snapshot.fetch(of(account), params)?)
}

/// Entries from the position `?2` on, before the position `?3` and its line `?4`, until the time `?5` and
/// the booking date `?6`.
pub(super) fn of(account: Option<LedgerAccount>) -> &'static str {
    match account {
        // Compared together, since SQLite would else go through the positions of all accounts.
        Some(_) => {
            "WHERE tenant = ?1 AND (account, position) >= (?8, ?2) AND (account, position, line) < (?8, ?3, ?4)
               AND occurred_at <= ?5 AND booking_date <= ?6
             ORDER BY account DESC, position DESC, line DESC LIMIT ?7"
        }
        None => {
            "WHERE tenant = ?1 AND position >= ?2 AND (position, line) < (?3, ?4) AND occurred_at <= ?5
               AND booking_date <= ?6 ORDER BY position DESC, line DESC LIMIT ?7"
        }
    }
}

/// At most `limit` entries with a business time from `from` up to, not including, `to`, in the order
/// of that time, from after `after`.
///
/// # Errors
/// When the journal has not come so far.
pub fn between(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    (from, to): (Timestamp, Timestamp),
    after: Option<Cursor>,
    limit: usize,
    moment: Moment,
) -> Result<Vec<Entry>, AsOfError> {
    moment.check(snapshot, &Journal)?;
    let (position, date) = (moment.position(), moment.date());
    // Behind the latest time that was known then there is nothing to find.
    let latest = match moment.0 {
        AsOf::Time(time) => Some(time),
        AsOf::Position(_) | AsOf::Date(_) => snapshot
            .query(
                "SELECT max(last_at) FROM {ledger_totals}
                 WHERE tenant = ?1 AND first_position <= ?2 AND booked_on <= ?3",
                args![tenant, position, date],
                |row| row.get::<Option<Timestamp>>(0),
            )?
            .into_iter()
            .flatten()
            .next(),
    };
    let Some(latest) = latest else { return Ok(vec![]) };
    let to = to.min(Timestamp::from_micros(latest.micros.saturating_add(1)));
    let after = after.filter(|cursor| cursor.occurred_at >= from);
    let (time, past, line) = after.map_or((from, 0, 0), |cursor| (cursor.occurred_at, cursor.position, cursor.line));
    Ok(snapshot.fetch(
        "WHERE tenant = ?1 AND occurred_at < ?2 AND (occurred_at, position, line) > (?3, ?4, ?5) AND position <= ?6
           AND booking_date <= ?7 ORDER BY occurred_at, position, line LIMIT ?8",
        args![tenant, to, time, past, line, position, date, limit],
    )?)
}
