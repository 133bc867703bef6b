//! The orders of a day as they were: found through the views, each folded from its own events up to
//! the moment.

use domain::{Aggregate, CanteenId, OrderId, StreamId, TenantId, order, payment};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::civil::Date;
use store::{EventRow, EventStore, Position, Recorded};

use super::{AsOf, AsOfError, Moment};
use crate::{
    PageSize, Projection, Rows, Views, args,
    diner_orders::{DinerOrders, Order},
    menu::Menus,
    periods,
};

/// Orders that are folded at once.
const TOGETHER: usize = 8;
/// Events of an order that are read at once.
const BATCH: usize = 256;

/// The orders of all servings of a day, of one canteen or of all, that had been placed, in the order
/// of placing, from after the one placed at `after`. Each is as it was then.
///
/// # Errors
/// When the views have not come so far, or the log cannot be read.
pub async fn of_day(
    store: &dyn EventStore,
    views: &Views,
    tenant: TenantId,
    (canteen, date): (Option<CanteenId>, Date),
    after: Option<Position>,
    page: PageSize,
    moment: Moment,
) -> Result<Vec<Order>, AsOfError> {
    let moment = by_time(views, tenant, moment).await?;
    let (after, position, time) = (after.unwrap_or(0), moment.position(), moment.time());
    let found: Result<Vec<Order>, AsOfError> = views
        .read(move |snapshot| {
            for view in [&Menus as &dyn Projection, &DinerOrders] {
                if let Err(error) = moment.check(snapshot, view) {
                    return Ok(Err(error));
                }
            }
            let orders = snapshot.fetch(
                "WHERE tenant = ?1 AND placed > ?4 AND placed <= ?5 AND placed_at <= ?6
                   AND serving IN
                   (SELECT serving FROM {servings} WHERE tenant = ?1 AND date = ?3 AND (?2 IS NULL OR canteen = ?2))
                 ORDER BY placed LIMIT ?7",
                args![tenant, canteen, date, after, position, time, page],
            )?;
            Ok(Ok(orders))
        })
        .await?;
    let folded = stream::iter(found?).map(|now| order(store, tenant, now, moment));
    // One that is known to the views has been placed.
    let missing = |order, found: Option<Order>| {
        found.ok_or_else(|| AsOfError::Unfoldable { order, reason: "the log has no such order".into() })
    };
    folded.buffered(TOGETHER).map(|one| one.and_then(|(id, found)| missing(id, found))).try_collect().await
}

/// Orders are not booked, so a date is told in the zone of the books.
async fn by_time(views: &Views, tenant: TenantId, moment: Moment) -> Result<Moment, AsOfError> {
    if !matches!(moment.0, AsOf::Date(_)) {
        return Ok(moment);
    }
    Ok(moment.by_time(&views.read(move |snapshot| periods::zone(snapshot, tenant)).await?))
}

/// An order as it was; none when it had not been placed. `now` is what it is.
async fn order(
    store: &dyn EventStore,
    tenant: TenantId,
    now: Order,
    moment: Moment,
) -> Result<(OrderId, Option<Order>), AsOfError> {
    let id = now.order_id;
    let mut events = before(store, order::Order::stream(tenant, id), moment).await?;
    if events.is_empty() {
        return Ok((id, None));
    }
    events.extend(before(store, payment::Payment::stream(tenant, id.payment()), moment).await?);
    events.sort_unstable_by_key(|event| event.position);
    let unfoldable = |reason: String| AsOfError::Unfoldable { order: id, reason };
    let mut rows = Rows::empty();
    for event in &events {
        let recorded = Recorded::decode(event).map_err(|error| unfoldable(error.to_string()))?;
        DinerOrders.apply(&recorded, &mut rows).map_err(|poison| unfoldable(poison.0))?;
    }
    let mut then = rows.get::<Order>(&(tenant, id)).cloned();
    if let Some(then) = &mut then {
        parts_then(then, &now, moment);
    }
    Ok((id, then))
}

/// What accounts have made of refunds stands in their streams, which are long. It is said once, so what the order
/// is now tells which of it had been said by then.
fn parts_then(then: &mut Order, now: &Order, moment: Moment) {
    for refund in then.refunds.iter_mut() {
        let Some(known) = now.refunds.iter().find(|known| known.refund == refund.refund) else { continue };
        for part in &mut refund.parts {
            let known = known.parts.iter().find(|known| known.tender == part.tender);
            let had_come = |(at, position)| position <= moment.position() && at <= moment.time();
            if let Some(known) = known.filter(|known| known.came.is_some_and(had_come)) {
                part.clone_from(known);
            }
        }
    }
}

/// The events of a stream before the first that the moment leaves out.
async fn before(store: &dyn EventStore, stream: StreamId, moment: Moment) -> Result<Vec<EventRow>, AsOfError> {
    let mut events: Vec<EventRow> = Vec::new();
    loop {
        let read = store.read_stream(stream, events.last().map_or(1, |event| event.version + 1), BATCH).await?;
        let (all, count) = (read.len(), events.len());
        let counts = |event: &EventRow| event.position <= moment.position() && event.occurred_at <= moment.time();
        events.extend(read.into_iter().take_while(counts));
        if all < BATCH || events.len() - count < all {
            return Ok(events);
        }
    }
}
