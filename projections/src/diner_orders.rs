//! Orders as their diners and the staff see them: what, how paid, how they ended.

use domain::{
    CanteenId, Currency, DinerId, Fact, Money, OrderId, RefundId, ServingId, TenantId, Timestamp, account,
    order::{self, Channel, Line, LineAmount, LineCount, Placement, RefundReason, Refusal, Terms},
    payment::{self, Part, Source, Tender, TenderState, Why},
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use store::{Position, Recorded};

use crate::{Json, PageSize, Poison, Projection, Row, Rows, TableSpec, ViewError, Views, args, column::words, row};

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Placed,
    Confirmed,
    Preparing,
    Ready,
    PickedUp,
    NoShow,
    Cancelled,
    Refused,
    Expired,
}

words! {
    Status {
        Placed = "PLACED", Confirmed = "CONFIRMED", Preparing = "PREPARING", Ready = "READY",
        PickedUp = "PICKED_UP", NoShow = "NO_SHOW", Cancelled = "CANCELLED", Refused = "REFUSED", Expired = "EXPIRED",
    }
}

impl Status {
    /// Whether more is to come of the order.
    pub fn is_open(self) -> bool {
        match self {
            Status::Placed | Status::Confirmed | Status::Preparing | Status::Ready => true,
            Status::PickedUp | Status::NoShow | Status::Cancelled | Status::Refused | Status::Expired => false,
        }
    }
}

/// A source of the order's money, and what of it went back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaidFrom {
    pub source: Source,
    /// Minor units of the order's currency.
    pub amount: i64,
    pub why: Why,
    #[serde(default)]
    pub state: TenderState,
    /// What of it is refunded or about to be.
    #[serde(default)]
    pub refunded: i64,
}

impl PaidFrom {
    /// Whether its provider has the last word already.
    fn is_over(&self) -> bool {
        matches!(self.state, TenderState::Failed | TenderState::Closed | TenderState::Unknown)
    }
}

/// Where a part of a refund is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Whereabouts {
    /// On its way: its account, till or provider has not said that it has it.
    #[default]
    UnderWay,
    /// Where it came from: in its lot, its account, or with the provider for the payer.
    Returned,
    /// In `breakage`, since its lot had expired.
    Lapsed,
    /// In `suspense`, since its account was closed or its provider could not give it back.
    Diverted,
}

/// What of a refund goes back to one of the order's tenders.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefundPart {
    /// The tender's index.
    pub tender: u8,
    /// Minor units of the order's currency.
    pub amount: i64,
    pub is: Whereabouts,
    /// When it came there, and with which event; none under way.
    pub came: Option<(Timestamp, Position)>,
}

/// Money going back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refunded {
    pub refund: RefundId,
    /// Minor units of the order's currency.
    pub amount: i64,
    pub lines: Vec<LineCount>,
    /// Of each line, where it is not the price of `lines`.
    #[serde(default)]
    pub amounts: Vec<LineAmount>,
    pub reason: RefundReason,
    pub begun_at: Timestamp,
    /// When every tender had its part.
    pub settled_at: Option<Timestamp>,
    /// Whether it is of lines that the order is not for any more, since it was changed.
    #[serde(default)]
    pub before_change: bool,
    /// By tender; empty until the payment has said how it is split.
    #[serde(default)]
    pub parts: Vec<RefundPart>,
}

row! {
    /// An order.
    pub struct Order in "orders" {
        key { tenant: TenantId, order_id: OrderId }
        diner: DinerId,
        canteen: CanteenId,
        serving: ServingId,
        channel: Channel,
        terms: Terms,
        status: Status,
        /// As ordered, or changed since; what was refunded of them is in `refunds`.
        lines: Json<Vec<Line>>,
        total_minor: i64,
        /// The sum of all refunds begun of these lines.
        refunded_minor: i64,
        currency: Currency,
        refusal: Option<Json<Refusal>>,
        cancelled: Option<RefundReason>,
        tenders: Json<Vec<PaidFrom>>,
        refunds: Json<Vec<Refunded>>,
        /// How many of them have not reached every tender, those of before a change too.
        refunds_open: u32,
        code: Option<String>,
        /// Of the event with which it was placed: the order of lists.
        placed: Position,
        placed_at: Timestamp,
        lock_at: Timestamp,
        pay_by: Timestamp,
        confirmed_at: Option<Timestamp>,
        ready_at: Option<Timestamp>,
        /// When it was picked up, or ended otherwise.
        ended_at: Option<Timestamp>,
    }
    index "diner" on "(tenant, diner, placed)";
    index "serving" on "(tenant, serving, placed)";
}

impl Order {
    pub fn total(&self) -> Money {
        Money::new(self.total_minor, self.currency)
    }

    pub fn refunded(&self) -> Money {
        Money::new(self.refunded_minor, self.currency)
    }
}

/// The projection.
pub struct DinerOrders;

impl Projection for DinerOrders {
    fn name(&self) -> &'static str {
        "diner_orders"
    }

    fn version(&self) -> u32 {
        3
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Order::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        match &it.fact {
            Fact::Order(order_id, order::Event::Placed(placement)) => {
                rows.create(placed(it, *order_id, placement));
                Ok(())
            }
            Fact::Order(order_id, event) => of_order(it, event, order_mut(it.tenant, *order_id, rows)?),
            Fact::Payment(payment, event) => of_payment(it, payment.order(), event, rows),
            Fact::Account(_, event) => {
                of_account(it, event, rows);
                Ok(())
            }
            Fact::Menu(..)
            | Fact::Serving(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Diner(..)
            | Fact::Books(..)
            | Fact::Invoice(..)
            | Fact::Correction(..)
            | Fact::TopUp(..)
            | Fact::Payout(..) => Ok(()),
        }
    }
}

fn order_mut(tenant: TenantId, order_id: OrderId, rows: &mut Rows) -> Result<&mut Order, Poison> {
    let order = rows.get_mut::<Order>(&(tenant, order_id));
    order.ok_or_else(|| Poison(format!("order {order_id} goes on before it was placed")))
}

fn placed(it: &Recorded, order_id: OrderId, placement: &Placement) -> Order {
    Order {
        tenant: it.tenant,
        order_id,
        diner: placement.diner,
        canteen: placement.canteen,
        serving: placement.serving,
        channel: placement.channel,
        terms: placement.terms,
        status: Status::Placed,
        lines: Json(placement.lines.clone()),
        total_minor: placement.total.minor,
        refunded_minor: 0,
        currency: placement.total.currency,
        refusal: None,
        cancelled: None,
        tenders: Json(vec![]),
        refunds: Json(vec![]),
        refunds_open: 0,
        code: None,
        placed: it.position,
        placed_at: it.occurred_at,
        lock_at: placement.lock_at,
        pay_by: placement.pay_by,
        confirmed_at: None,
        ready_at: None,
        ended_at: None,
    }
}

fn of_order(it: &Recorded, event: &order::Event, order: &mut Order) -> Result<(), Poison> {
    use order::Event;
    let at = it.occurred_at;
    let end = |order: &mut Order, status: Status| {
        order.status = status;
        order.ended_at = Some(at);
    };
    match event {
        Event::Placed(_) => return Err(Poison(format!("order {} is placed twice", order.order_id))),
        Event::Confirmed => {
            order.status = Status::Confirmed;
            order.confirmed_at = Some(at);
        }
        Event::Refused(refusal) => {
            end(order, Status::Refused);
            order.refusal = Some(Json(refusal.clone()));
        }
        Event::Expired => end(order, Status::Expired),
        Event::Preparing => order.status = Status::Preparing,
        Event::Readied { code } => {
            order.status = Status::Ready;
            order.code = Some(code.clone());
            order.ready_at = Some(at);
        }
        Event::PickedUp { .. } => end(order, Status::PickedUp),
        Event::NoShow { .. } => end(order, Status::NoShow),
        Event::Cancelled { reason } => {
            end(order, Status::Cancelled);
            order.cancelled = Some(*reason);
        }
        Event::RefundBegun { refund, lines, amounts, amount, reason, .. } => {
            order.refunded_minor = order.refunded().plus(*amount)?.minor;
            order.refunds_open += 1;
            order.refunds.push(Refunded {
                refund: *refund,
                amount: amount.minor,
                lines: lines.clone(),
                amounts: amounts.clone(),
                reason: *reason,
                begun_at: at,
                settled_at: None,
                before_change: false,
                parts: vec![],
            });
        }
        Event::RefundSettled { refund } => {
            let begun = order.refunds.iter_mut().find(|begun| begun.refund == *refund);
            let begun = begun.ok_or_else(|| Poison(format!("refund {refund} is settled before it was begun")))?;
            if begun.settled_at.replace(at).is_none() {
                order.refunds_open = order.refunds_open.saturating_sub(1);
            }
        }
        Event::Changed(change) => {
            (order.lines, order.total_minor, order.refunded_minor) =
                (Json(change.lines.clone()), change.total.minor, 0);
            order.refunds.iter_mut().for_each(|refund| refund.before_change = true);
        }
        Event::ChangeBegun { .. } | Event::ChangeRefused { .. } | Event::ChangeSettled { .. } => {}
    }
    Ok(())
}

fn of_payment(it: &Recorded, order_id: OrderId, event: &payment::Event, rows: &mut Rows) -> Result<(), Poison> {
    use payment::Event;
    let tenant = it.tenant;
    match event {
        Event::Started { tenders, .. } => {
            order_mut(tenant, order_id, rows)?.tenders = Json(tenders.iter().map(planned).collect());
        }
        Event::Extended { tenders, .. } => {
            order_mut(tenant, order_id, rows)?.tenders.extend(tenders.iter().map(planned));
        }
        Event::ExtensionCaptured { .. } => planned_are(order_mut(tenant, order_id, rows)?, TenderState::Captured),
        Event::ExtensionGivenUp { .. } => planned_are(order_mut(tenant, order_id, rows)?, TenderState::Released),
        Event::RefundBegun { refund, parts, .. } => {
            let order = order_mut(tenant, order_id, rows)?;
            if let Some(begun) = order.refunds.iter_mut().find(|begun| begun.refund == *refund) {
                begun.parts = parts.iter().map(going_back).collect();
            }
            for part in parts {
                let tender = order.tenders.get_mut(usize::from(part.tender));
                let tender =
                    tender.ok_or_else(|| Poison(format!("payment {order_id} has no tender {}", part.tender)))?;
                tender.refunded = tender.refunded.saturating_add(part.amount.minor);
            }
        }
        Event::Held => all_are(order_mut(tenant, order_id, rows)?, TenderState::Held),
        Event::Captured => all_are(order_mut(tenant, order_id, rows)?, TenderState::Captured),
        Event::Released => {
            // One that was given up before it was planned has no order's tenders.
            if let Some(order) = rows.get_mut::<Order>(&(tenant, order_id)) {
                order.tenders.iter_mut().filter(|tender| !tender.is_over()).for_each(|tender| {
                    tender.state = TenderState::Released;
                });
            }
        }
        Event::Asked { tender, .. } => becomes(order_mut(tenant, order_id, rows)?, *tender, TenderState::Asked),
        Event::OutcomeUnknown { tender } => {
            becomes(order_mut(tenant, order_id, rows)?, *tender, TenderState::Unknown);
        }
        Event::Failed { tender, .. } | Event::Mispaid { tender, .. } => {
            becomes(order_mut(tenant, order_id, rows)?, *tender, TenderState::Failed)
        }
        Event::TradeClosed { tender } => becomes(order_mut(tenant, order_id, rows)?, *tender, TenderState::Closed),
        Event::Paid { tender, .. } => becomes(order_mut(tenant, order_id, rows)?, *tender, TenderState::Held),
        Event::PayBackAsked { refund, tender, .. } if refund.0 == order_id.0 => {
            // It came for a dead order.
            becomes(order_mut(tenant, order_id, rows)?, *tender, TenderState::Released);
        }
        Event::PaidBack { refund, tender, .. } => {
            came(it, order_id, (*refund, *tender), Whereabouts::Returned, rows);
        }
        Event::PayBackDiverted { refund, tender, .. } => {
            came(it, order_id, (*refund, *tender), Whereabouts::Diverted, rows);
        }
        Event::PayBackAsked { .. } | Event::PayBackUnknown { .. } | Event::RefundSettled { .. } => {}
    }
    Ok(())
}

/// What accounts make of their parts of refunds.
fn of_account(it: &Recorded, event: &account::Event, rows: &mut Rows) {
    use account::Event;
    let (refund, hold, is) = match event {
        Event::Refunded { refund, hold, .. } => (*refund, *hold, Whereabouts::Returned),
        Event::RefundLapsed { refund, hold, .. } => (*refund, *hold, Whereabouts::Lapsed),
        Event::RefundDiverted { refund, hold, .. } => (*refund, *hold, Whereabouts::Diverted),
        Event::Opened { .. }
        | Event::Deposited { .. }
        | Event::Granted { .. }
        | Event::Held { .. }
        | Event::Captured { .. }
        | Event::Released { .. }
        | Event::Lapsed { .. }
        | Event::Allocated { .. }
        | Event::TakenBack { .. }
        | Event::PayoutHeld { .. }
        | Event::PaidOut { .. }
        | Event::PayoutReleased { .. }
        | Event::Adjusted { .. }
        | Event::FloorSet { .. }
        | Event::Invoiced { .. }
        | Event::InvoicePaid { .. }
        | Event::InvoiceVoided { .. }
        | Event::DisclosureSet { .. }
        | Event::Frozen
        | Event::Unfrozen
        | Event::Closed => return,
    };
    came(it, hold.payment.order(), (refund, hold.tender), is, rows);
}

fn going_back(part: &Part) -> RefundPart {
    RefundPart { tender: part.tender, amount: part.amount.minor, is: Whereabouts::UnderWay, came: None }
}

/// A part of a refund has come to its end. What came late for a dead order goes back without a refund of it.
fn came(it: &Recorded, order_id: OrderId, (refund, tender): (RefundId, u8), is: Whereabouts, rows: &mut Rows) {
    let Some(order) = rows.get_mut::<Order>(&(it.tenant, order_id)) else { return };
    let refund = order.refunds.iter_mut().find(|begun| begun.refund == refund);
    let part = refund.and_then(|begun| begun.parts.iter_mut().find(|part| part.tender == tender));
    if let Some(part) = part {
        (part.is, part.came) = (is, Some((it.occurred_at, it.position)));
    }
}

fn planned(tender: &Tender) -> PaidFrom {
    let Tender { source, amount, why } = *tender;
    PaidFrom { source, amount: amount.minor, why, state: TenderState::Planned, refunded: 0 }
}

/// Those that a change has added, when the others have been captured long since.
fn planned_are(order: &mut Order, state: TenderState) {
    let planned = order.tenders.iter_mut().filter(|tender| tender.state == TenderState::Planned);
    planned.for_each(|tender| tender.state = state);
}

fn all_are(order: &mut Order, state: TenderState) {
    order.tenders.iter_mut().for_each(|tender| tender.state = state);
}

fn becomes(order: &mut Order, tender: u8, state: TenderState) {
    if let Some(tender) = order.tenders.get_mut(usize::from(tender)) {
        tender.state = state;
    }
}

/// One order of the tenant.
pub async fn order(views: &Views, tenant: TenantId, order_id: OrderId) -> Result<Option<Order>, ViewError> {
    views.read(move |snapshot| snapshot.fetch_one("WHERE tenant = ?1 AND order_id = ?2", args![tenant, order_id])).await
}

/// Several orders, in no order; unknown ones are left out. At most 100 are looked up.
pub async fn orders(views: &Views, tenant: TenantId, order_ids: Vec<OrderId>) -> Result<Vec<Order>, ViewError> {
    views
        .read(move |snapshot| {
            let known = &order_ids[..order_ids.len().min(PageSize::MAX.get())];
            snapshot.fetch_among(tenant, ("order_id", known), "")
        })
        .await
}

/// What a diner still waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Orders that have not come to their end.
    pub orders: u64,
    /// Refunds that have not reached every source.
    pub refunds: u64,
}

/// What a diner still waits for, over all orders.
pub async fn unfinished(views: &Views, tenant: TenantId, diner: DinerId) -> Result<Unfinished, ViewError> {
    views
        .read(move |snapshot| {
            let (mut found, mut before) = (Unfinished::default(), i64::MAX as u64);
            loop {
                let rows: Vec<Order> = snapshot.fetch(
                    "WHERE tenant = ?1 AND diner = ?2 AND placed < ?3 AND (ended_at IS NULL OR refunds_open > 0)
                     ORDER BY placed DESC LIMIT ?4",
                    args![tenant, diner, before, PageSize::MAX],
                )?;
                for row in &rows {
                    found.orders += u64::from(row.status.is_open());
                    found.refunds += row.refunds.iter().filter(|refund| refund.settled_at.is_none()).count() as u64;
                    before = row.placed;
                }
                if rows.len() < PageSize::MAX.get() {
                    return Ok(found);
                }
            }
        })
        .await
}

/// A diner's orders, newest first, from before the one placed at `before`.
pub async fn of_diner(
    views: &Views,
    tenant: TenantId,
    diner: DinerId,
    before: Option<Position>,
    page: PageSize,
) -> Result<Vec<Order>, ViewError> {
    let before = before.unwrap_or(i64::MAX as u64);
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND diner = ?2 AND placed < ?3 ORDER BY placed DESC LIMIT ?4",
                args![tenant, diner, before, page],
            )
        })
        .await
}

/// A serving's orders in the order of placing, from after the one placed at `after`.
pub async fn of_serving(
    views: &Views,
    tenant: TenantId,
    serving: ServingId,
    after: Option<Position>,
    page: PageSize,
) -> Result<Vec<Order>, ViewError> {
    let after = after.unwrap_or(0);
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND serving = ?2 AND placed > ?3 ORDER BY placed LIMIT ?4",
                args![tenant, serving, after, page],
            )
        })
        .await
}

/// The orders of all servings of a day, of one canteen or of all, in the order of placing, from after
/// the one placed at `after`.
pub async fn of_day(
    views: &Views,
    tenant: TenantId,
    canteen: Option<CanteenId>,
    date: Date,
    after: Option<Position>,
    page: PageSize,
) -> Result<Vec<Order>, ViewError> {
    let after = after.unwrap_or(0);
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND placed > ?4 AND serving IN
                   (SELECT serving FROM {servings} WHERE tenant = ?1 AND date = ?3 AND (?2 IS NULL OR canteen = ?2))
                 ORDER BY placed LIMIT ?5",
                args![tenant, canteen, date, after, page],
            )
        })
        .await
}

#[cfg(test)]
#[path = "diner_orders_tests.rs"]
mod tests;
