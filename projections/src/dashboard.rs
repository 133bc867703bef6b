//! How a serving goes: orders, portions, takings, refusals by reason, by minute and by dish; and
//! what was sold, by day and dish.

mod reads;

use std::collections::BTreeSet;

use domain::{
    CanteenId, Currency, DishId, Fact, Money, OrderId, RefundId, ServingId, TenantId, Timestamp,
    order::{self, Change, Line, LineAmount, LineCount, Placement, Refusal},
    serving,
};
use serde::{Deserialize, Serialize};
use store::Recorded;

use crate::{Json, Poison, Projection, Row, Rows, TableSpec, row};

pub(crate) use self::reads::in_snapshot;
pub use self::reads::{
    DaySales, MAX_MINUTES, SalesCursor, ServingDashboard, Takings, Totals, of_serving, of_servings, sales_by_day,
    sales_total, totals,
};

const MINUTE_MICROS: i64 = 60_000_000;

row! {
    /// How many of a serving's orders came to what.
    pub struct Counts in "dashboard" {
        key { tenant: TenantId, serving: ServingId }
        canteen: CanteenId,
        placed: u64,
        confirmed: u64,
        refused: u64,
        cancelled: u64,
        expired: u64,
        picked_up: u64,
        no_show: u64,
    }
}

row! {
    /// How many orders were refused for one reason.
    pub struct Refused in "dashboard_refusals" {
        key {
            tenant: TenantId,
            serving: ServingId,
            /// The refusal's code.
            reason: String,
        }
        orders: u64,
    }
}

row! {
    /// The orders that were placed within one minute, and what became of them.
    pub struct Minute in "dashboard_minutes" {
        key { tenant: TenantId, serving: ServingId, minute: Timestamp }
        placed: u64,
        confirmed: u64,
        refused: u64,
    }
}

row! {
    /// What one dish brought. An order counts from its confirmation, a refund from its beginning.
    pub struct DishSales in "dashboard_dishes" {
        key { tenant: TenantId, serving: ServingId, dish: DishId, currency: Currency }
        /// As it was called when it was first sold here.
        name: String,
        portions: u64,
        refunded_portions: u64,
        paid_minor: i64,
        refunded_minor: i64,
    }
}

impl DishSales {
    pub fn paid(&self) -> Money {
        Money::new(self.paid_minor, self.currency)
    }

    /// What was paid less what was refunded.
    pub fn takings(&self) -> Money {
        Money::new(self.paid_minor - self.refunded_minor, self.currency)
    }
}

row! {
    /// What a serving withdrew (a dish, or `all`), and how many of its orders have been told, and are refunded.
    pub struct Withdrawal in "dashboard_withdrawals" {
        key { tenant: TenantId, serving: ServingId, what: String }
        /// None if it was everything.
        dish: Option<DishId>,
        orders: u64,
        told: u64,
        settled: bool,
    }
}

/// What is still to be known of a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sold {
    dish: DishId,
    name: String,
    left: u32,
    unit_minor: i64,
    /// Minor units that no refund has begun for.
    worth_minor: i64,
}

row! {
    /// An order whose end, or refund, is still to be counted.
    pub struct OpenOrder in "dashboard_orders" {
        key { tenant: TenantId, order_id: OrderId }
        serving: ServingId,
        minute: Timestamp,
        currency: Currency,
        confirmed: bool,
        /// Picked up, not fetched or cancelled: only refunds can still come.
        ended: bool,
        /// What was withdrawn of it and it has not been told: a dish, or everything.
        untold: Json<BTreeSet<Option<DishId>>>,
        lines: Json<Vec<Sold>>,
    }
}

/// The projection.
pub struct Dashboard;

impl Projection for Dashboard {
    fn name(&self) -> &'static str {
        "dashboard"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Counts::TABLE, Refused::TABLE, Minute::TABLE, DishSales::TABLE, Withdrawal::TABLE, OpenOrder::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        use order::Event;
        let (order_id, event) = match &it.fact {
            Fact::Order(order_id, event) => (*order_id, event),
            Fact::Serving(serving, event) => {
                withdraw(it.tenant, *serving, event, rows);
                return Ok(());
            }
            Fact::Menu(..)
            | Fact::Payment(..)
            | Fact::Account(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Diner(..)
            | Fact::Books(..)
            | Fact::Invoice(..)
            | Fact::Correction(..)
            | Fact::TopUp(..)
            | Fact::Payout(..) => return Ok(()),
        };
        if let Event::Placed(placement) = event {
            place(it, order_id, placement, rows);
            return Ok(());
        }
        let key = (it.tenant, order_id);
        let order = rows.get::<OpenOrder>(&key).cloned();
        // The last refund has been counted: only its settlement can still come.
        let Some(mut order) = order else {
            return match event {
                Event::RefundSettled { .. } => Ok(()),
                _ => Err(Poison(format!("order {order_id} goes on before it was placed"))),
            };
        };
        match event {
            Event::Placed(_) => {}
            Event::Confirmed => confirm(order, rows)?,
            Event::Refused(refusal) => {
                count(&order, rows)?.refused += 1;
                minute(&order, rows)?.refused += 1;
                let reason = refusal.code().to_owned();
                let row = (order.tenant, order.serving, reason.clone());
                let new = || Refused { tenant: order.tenant, serving: order.serving, reason, orders: 0 };
                rows.get_or_insert_with::<Refused>(&row, new).orders += 1;
                if matches!(refusal, Refusal::Withdrawn) {
                    tell(&mut order, |_| true, rows);
                }
                rows.delete::<OpenOrder>(&key);
            }
            Event::Expired => {
                count(&order, rows)?.expired += 1;
                rows.delete::<OpenOrder>(&key);
            }
            Event::Cancelled { .. } => {
                count(&order, rows)?.cancelled += 1;
                // A confirmed one is kept for the refund that follows.
                if order.confirmed {
                    rows.put(OpenOrder { ended: true, ..order });
                } else {
                    rows.delete::<OpenOrder>(&key);
                }
            }
            Event::PickedUp { .. } => {
                count(&order, rows)?.picked_up += 1;
                rows.put(OpenOrder { ended: true, ..order });
            }
            Event::NoShow { .. } => {
                count(&order, rows)?.no_show += 1;
                rows.put(OpenOrder { ended: true, ..order });
            }
            Event::RefundBegun { refund: id, lines, amounts, .. } => {
                let serving = order.serving;
                tell(&mut order, |dish| RefundId::of_withdrawal(order_id, serving, dish) == *id, rows);
                refund(order, lines, amounts, rows)?;
            }
            Event::Changed(to) => change(order, to, rows)?,
            Event::Preparing
            | Event::Readied { .. }
            | Event::RefundSettled { .. }
            | Event::ChangeBegun { .. }
            | Event::ChangeRefused { .. }
            | Event::ChangeSettled { .. } => {}
        }
        Ok(())
    }
}

fn what(dish: Option<DishId>) -> String {
    dish.map_or_else(|| "all".to_owned(), |dish| dish.to_string())
}

fn withdraw(tenant: TenantId, serving: ServingId, event: &serving::Event, rows: &mut Rows) {
    use serving::Event;
    let mut begin = |dish: Option<DishId>, of: &[OrderId]| {
        let orders = of.len() as u64;
        rows.put(Withdrawal { tenant, serving, what: what(dish), dish, orders, told: 0, settled: false });
        for order in of {
            if let Some(row) = rows.get_mut::<OpenOrder>(&(tenant, *order)) {
                row.untold.insert(dish);
            }
        }
    };
    match event {
        Event::DishWithdrawn { dish, orders } => begin(Some(*dish), orders),
        Event::Withdrawn { orders } => begin(None, orders),
        Event::WithdrawalSettled { dish } => {
            if let Some(row) = rows.get_mut::<Withdrawal>(&(tenant, serving, what(*dish))) {
                // Orders that had ended needed nothing.
                (row.told, row.settled) = (row.orders, true);
            }
        }
        Event::Published(_)
        | Event::Reserved { .. }
        | Event::Released { .. }
        | Event::Widened { .. }
        | Event::Narrowed { .. }
        | Event::PortionsSet { .. }
        | Event::PriceSet { .. } => {}
    }
}

/// An order has been told of those withdrawals that `is_it` says.
fn tell(order: &mut OpenOrder, is_it: impl Fn(Option<DishId>) -> bool, rows: &mut Rows) {
    let (told, untold): (BTreeSet<_>, BTreeSet<_>) = order.untold.iter().partition(|dish| is_it(**dish));
    for dish in told {
        if let Some(row) = rows.get_mut::<Withdrawal>(&(order.tenant, order.serving, what(dish))) {
            row.told += 1;
        }
    }
    order.untold = Json(untold);
}

fn place(it: &Recorded, order_id: OrderId, placement: &Placement, rows: &mut Rows) {
    let (tenant, serving) = (it.tenant, placement.serving);
    let micros = it.occurred_at.micros;
    let minute = Timestamp::from_micros(micros - micros.rem_euclid(MINUTE_MICROS));
    let counts = rows.get_or_insert_with::<Counts>(&(tenant, serving), || Counts {
        tenant,
        serving,
        canteen: placement.canteen,
        placed: 0,
        confirmed: 0,
        refused: 0,
        cancelled: 0,
        expired: 0,
        picked_up: 0,
        no_show: 0,
    });
    counts.placed += 1;
    let new = || Minute { tenant, serving, minute, placed: 0, confirmed: 0, refused: 0 };
    rows.get_or_insert_with::<Minute>(&(tenant, serving, minute), new).placed += 1;
    rows.create(OpenOrder {
        tenant,
        order_id,
        serving,
        minute,
        currency: placement.total.currency,
        confirmed: false,
        ended: false,
        untold: Json::default(),
        lines: Json(sold(&placement.lines)),
    });
}

fn sold(lines: &[Line]) -> Vec<Sold> {
    let sold = |line: &Line| Sold {
        dish: line.dish,
        name: line.name.clone(),
        left: line.quantity,
        unit_minor: line.unit_price.minor,
        // Within the bound of money, as the order's total is.
        worth_minor: line.unit_price.minor * i64::from(line.quantity),
    };
    lines.iter().map(sold).collect()
}

fn confirm(mut order: OpenOrder, rows: &mut Rows) -> Result<(), Poison> {
    count(&order, rows)?.confirmed += 1;
    minute(&order, rows)?.confirmed += 1;
    order.confirmed = true;
    sell(&order, rows)?;
    rows.put(order);
    Ok(())
}

fn sell(order: &OpenOrder, rows: &mut Rows) -> Result<(), Poison> {
    for line in order.lines.iter() {
        let sales = sales(order, line, rows);
        sales.portions += u64::from(line.left);
        sales.paid_minor = sales.paid().plus(Money::new(line.worth_minor, order.currency))?.minor;
    }
    Ok(())
}

/// What is left of the old lines was not sold after all; the new ones are.
fn change(mut order: OpenOrder, to: &Change, rows: &mut Rows) -> Result<(), Poison> {
    for line in order.lines.iter() {
        let sales = sales(&order, line, rows);
        sales.portions = sales.portions.saturating_sub(u64::from(line.left));
        sales.paid_minor = sales.paid().minus(Money::new(line.worth_minor, order.currency))?.minor;
    }
    order.lines = Json(sold(&to.lines));
    sell(&order, rows)?;
    rows.put(order);
    Ok(())
}

fn refund(mut order: OpenOrder, lines: &[LineCount], amounts: &[LineAmount], rows: &mut Rows) -> Result<(), Poison> {
    for count in lines {
        let known = order.lines.get(usize::from(count.line)).cloned();
        let Some(line) = known.filter(|line| line.left >= count.quantity) else {
            return Err(Poison(format!("order {} has too few portions in line {}", order.order_id, count.line)));
        };
        let sales = sales(&order, &line, rows);
        let price = Money::new(line.unit_minor, order.currency).times(count.quantity)?;
        // Where the refund says what it takes of each line, that is what counts.
        let worth = if amounts.is_empty() { price } else { Money::zero(order.currency) };
        sales.refunded_portions += u64::from(count.quantity);
        sales.refunded_minor = Money::new(sales.refunded_minor, order.currency).plus(worth)?.minor;
        let left = &mut order.lines[usize::from(count.line)];
        left.left -= count.quantity;
        left.worth_minor -= worth.minor;
    }
    for one in amounts {
        let known = order.lines.get(usize::from(one.line)).cloned();
        let line = known.ok_or_else(|| Poison(format!("order {} has no line {}", order.order_id, one.line)))?;
        let sales = sales(&order, &line, rows);
        sales.refunded_minor = Money::new(sales.refunded_minor, order.currency).plus(one.amount)?.minor;
        order.lines[usize::from(one.line)].worth_minor -= one.amount.minor;
    }
    if order.ended && order.lines.iter().all(|line| line.left == 0) {
        rows.delete::<OpenOrder>(&order.key());
    } else {
        rows.put(order);
    }
    Ok(())
}

fn count<'a>(order: &OpenOrder, rows: &'a mut Rows) -> Result<&'a mut Counts, Poison> {
    let counts = rows.get_mut::<Counts>(&(order.tenant, order.serving));
    counts.ok_or_else(|| Poison(format!("serving {} has no orders yet", order.serving)))
}

fn minute<'a>(order: &OpenOrder, rows: &'a mut Rows) -> Result<&'a mut Minute, Poison> {
    let minute = rows.get_mut::<Minute>(&(order.tenant, order.serving, order.minute));
    minute.ok_or_else(|| Poison(format!("serving {} has no orders in that minute", order.serving)))
}

fn sales<'a>(order: &OpenOrder, line: &Sold, rows: &'a mut Rows) -> &'a mut DishSales {
    rows.get_or_insert_with::<DishSales>(&(order.tenant, order.serving, line.dish, order.currency), || DishSales {
        tenant: order.tenant,
        serving: order.serving,
        dish: line.dish,
        currency: order.currency,
        name: line.name.clone(),
        portions: 0,
        refunded_portions: 0,
        paid_minor: 0,
        refunded_minor: 0,
    })
}
