//! Whether every process is at rest, or waits for something that is still to come.

use std::time::Duration;

use commands::{Clock, SystemClock};
use domain::{InvoiceId, OrderId, ServingId, TenantId, Timestamp};
use projections::{Difference, Snapshot, SqlRow, ViewError, Views, args};
use store::{EventStore, Position};
use uuid::Uuid;

/// How long a process that could go on may stand: while nothing else is recorded, and beside other work.
const AT_REST: Duration = Duration::from_secs(10);
const BESIDE_WORK: Duration = Duration::from_secs(60);
/// Most processes of one kind that are looked at, those that have stood longest.
const LOOKED_AT: u32 = 100;
/// Most that are named.
const NAMED: usize = 20;

/// A process that could go on, and the event that moved it last.
struct Ready {
    what: String,
    moved: Position,
}

/// The processes that could go on and that nobody goes on with.
pub(super) async fn standing_still(store: &dyn EventStore, views: &Views) -> anyhow::Result<Vec<Difference>> {
    let now = SystemClock::start().now();
    let recorded_at = async |position: Position| {
        let row = store.read_all(position, 1).await?;
        anyhow::Ok(row.first().map_or(now, |row| row.recorded_at))
    };
    let head = store.head().await?;
    let quiet = head == 0 || before(now, AT_REST) >= recorded_at(head).await?;
    let since = before(now, if quiet { AT_REST } else { BESIDE_WORK });
    let ready = views.read(move |snapshot| ready(snapshot, since)).await?;
    let mut differences = Vec::new();
    for process in ready {
        let moved_at = recorded_at(process.moved).await?;
        if moved_at <= since && differences.len() < NAMED {
            differences.push(Difference {
                subject: process.what,
                found: format!("it stands since event {}, recorded at {moved_at}", process.moved),
                expected: "it is at rest, or a server (`tiffin serve`) goes on with it".into(),
            });
        }
    }
    Ok(differences)
}

fn before(now: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_micros(now.micros - i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
}

/// What could have taken a step at `since`.
fn ready(snapshot: &Snapshot<'_>, since: Timestamp) -> Result<Vec<Ready>, ViewError> {
    let order = |what: &'static str| {
        move |row: &SqlRow<'_>| {
            let (tenant, order): (TenantId, OrderId) = (row.get(0)?, row.get(1)?);
            Ok(Ready { what: format!("process {what} of order {order}, tenant {tenant}"), moved: row.get(2)? })
        }
    };
    let serving = |row: &SqlRow<'_>| {
        let (tenant, serving): (TenantId, ServingId) = (row.get(0)?, row.get(1)?);
        Ok(Ready { what: format!("process withdrawal of serving {serving}, tenant {tenant}"), moved: row.get(2)? })
    };
    let invoice = |row: &SqlRow<'_>| {
        let (tenant, invoice): (TenantId, InvoiceId) = (row.get(0)?, row.get(1)?);
        Ok(Ready { what: format!("process invoice {invoice}, tenant {tenant}"), moved: row.get(2)? })
    };
    let checkouts = "SELECT tenant, order_id, moved FROM {checkouts} WHERE due_at IS NULL OR due_at <= ?1 \
                     ORDER BY moved LIMIT ?2";
    let refunds = "SELECT tenant, order_id, moved FROM {refunds} WHERE NOT waits ORDER BY moved LIMIT ?1";
    let invoices = "SELECT tenant, invoice, moved FROM {invoices} WHERE pending ORDER BY moved LIMIT ?1";
    let thing = |what: &'static str| {
        move |row: &SqlRow<'_>| {
            let (tenant, thing): (TenantId, Uuid) = (row.get(0)?, row.get(1)?);
            Ok(Ready { what: format!("process {what} of {thing}, tenant {tenant}"), moved: row.get(2)? })
        }
    };
    let top_ups = "SELECT tenant, top_up, moved FROM {top_ups} WHERE status = 'requested' ORDER BY moved LIMIT ?1";
    let payouts = "SELECT tenant, payout, moved FROM {payouts} WHERE under_way ORDER BY moved LIMIT ?1";
    let corrections =
        "SELECT tenant, correction, moved FROM {corrections} WHERE status = 'applied' ORDER BY moved LIMIT ?1";
    let withdrawals = "SELECT tenant, serving, moved FROM {withdrawals} ORDER BY moved LIMIT ?1";
    let mut ready = snapshot.query(checkouts, args![since, LOOKED_AT], order("checkout"))?;
    ready.extend(snapshot.query(refunds, args![LOOKED_AT], order("refund"))?);
    ready.extend(snapshot.query(withdrawals, args![LOOKED_AT], serving)?);
    ready.extend(snapshot.query(invoices, args![LOOKED_AT], invoice)?);
    ready.extend(snapshot.query(top_ups, args![LOOKED_AT], thing("top-up"))?);
    ready.extend(snapshot.query(payouts, args![LOOKED_AT], thing("payout"))?);
    ready.extend(snapshot.query(corrections, args![LOOKED_AT], thing("correction"))?);
    Ok(ready)
}
