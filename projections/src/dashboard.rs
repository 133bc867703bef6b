//! How a serving goes: orders, portions, takings, refusals by reason, by minute and by dish; and
//! what was sold, by day and dish.

use domain::{
    CanteenId, Currency, DishId, Fact, Money, OrderId, ServingId, TenantId, Timestamp,
    order::{self, LineCount, Placement},
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use store::Recorded;

use crate::{Json, PageSize, Poison, Projection, Row, Rows, Snapshot, TableSpec, ViewError, Views, args, row};

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

/// What is still to be known of a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sold {
    dish: DishId,
    name: String,
    left: u32,
    unit_minor: i64,
}

row! {
    /// An order whose end, or refund, is still to be counted.
    pub struct OpenOrder in "dashboard_orders" {
        key { tenant: TenantId, order_id: OrderId }
        serving: ServingId,
        minute: Timestamp,
        currency: Currency,
        confirmed: bool,
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
        1
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Counts::TABLE, Refused::TABLE, Minute::TABLE, DishSales::TABLE, OpenOrder::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        use order::Event;
        let (order_id, event) = match &it.fact {
            Fact::Order(order_id, event) => (*order_id, event),
            Fact::Menu(..)
            | Fact::Serving(..)
            | Fact::Payment(..)
            | Fact::Account(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Diner(..)
            | Fact::Books(..) => return Ok(()),
        };
        if let Event::Placed(placement) = event {
            place(it, order_id, placement, rows);
            return Ok(());
        }
        let key = (it.tenant, order_id);
        let order = rows.get::<OpenOrder>(&key).cloned();
        // The last refund has been counted: only its settlement can still come.
        let Some(order) = order else {
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
                rows.delete::<OpenOrder>(&key);
            }
            Event::Expired => {
                count(&order, rows)?.expired += 1;
                rows.delete::<OpenOrder>(&key);
            }
            Event::Cancelled { .. } => {
                count(&order, rows)?.cancelled += 1;
                // A confirmed one is kept for the refund that follows.
                if !order.confirmed {
                    rows.delete::<OpenOrder>(&key);
                }
            }
            Event::PickedUp { .. } => count(&order, rows)?.picked_up += 1,
            Event::NoShow { .. } => count(&order, rows)?.no_show += 1,
            Event::RefundBegun { lines, .. } => refund(order, lines, rows)?,
            Event::Preparing | Event::Readied { .. } | Event::RefundSettled { .. } => {}
        }
        Ok(())
    }
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
    let lines = placement.lines.iter().map(|line| Sold {
        dish: line.dish,
        name: line.name.clone(),
        left: line.quantity,
        unit_minor: line.unit_price.minor,
    });
    rows.create(OpenOrder {
        tenant,
        order_id,
        serving,
        minute,
        currency: placement.total.currency,
        confirmed: false,
        lines: Json(lines.collect()),
    });
}

fn confirm(mut order: OpenOrder, rows: &mut Rows) -> Result<(), Poison> {
    count(&order, rows)?.confirmed += 1;
    minute(&order, rows)?.confirmed += 1;
    for line in order.lines.iter() {
        let sales = sales(&order, line, rows);
        let worth = Money::new(line.unit_minor, order.currency).times(line.left)?;
        sales.portions += u64::from(line.left);
        sales.paid_minor = sales.paid().plus(worth)?.minor;
    }
    order.confirmed = true;
    rows.put(order);
    Ok(())
}

fn refund(mut order: OpenOrder, lines: &[LineCount], rows: &mut Rows) -> Result<(), Poison> {
    for count in lines {
        let known = order.lines.get(usize::from(count.line)).cloned();
        let Some(line) = known.filter(|line| line.left >= count.quantity) else {
            return Err(Poison(format!("order {} has too few portions in line {}", order.order_id, count.line)));
        };
        let sales = sales(&order, &line, rows);
        let worth = Money::new(line.unit_minor, order.currency).times(count.quantity)?;
        sales.refunded_portions += u64::from(count.quantity);
        sales.refunded_minor = Money::new(sales.refunded_minor, order.currency).plus(worth)?.minor;
        order.lines[usize::from(count.line)].left -= count.quantity;
    }
    if order.lines.iter().all(|line| line.left == 0) {
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

/// Everything about one serving.
#[derive(Clone, Debug, PartialEq)]
pub struct ServingDashboard {
    pub counts: Counts,
    /// By currency; usually one.
    pub takings: Vec<Takings>,
    /// Most frequent first.
    pub refusals: Vec<Refused>,
    /// In the order of time, at most the first [`MAX_MINUTES`].
    pub minutes: Vec<Minute>,
    /// Most portions first.
    pub dishes: Vec<DishSales>,
}

/// Most minutes that one dashboard shows: a week of ordering ahead.
pub const MAX_MINUTES: u32 = 7 * 24 * 60;

/// Portions and money in one currency.
#[derive(Clone, Debug, PartialEq)]
pub struct Takings {
    pub currency: Currency,
    /// Confirmed, and of these refunded.
    pub portions: u64,
    pub refunded_portions: u64,
    pub paid: Money,
    pub refunded: Money,
}

impl Takings {
    /// What was paid less what was refunded.
    pub fn net(&self) -> Money {
        Money::new(self.paid.minor - self.refunded.minor, self.currency)
    }
}

/// A serving's dashboard; none before its first order.
pub async fn of_serving(
    views: &Views,
    tenant: TenantId,
    serving: ServingId,
) -> Result<Option<ServingDashboard>, ViewError> {
    views
        .read(move |snapshot| {
            let one = "WHERE tenant = ?1 AND serving = ?2";
            let Some(counts) = snapshot.fetch_one::<Counts>(one, args![tenant, serving])? else { return Ok(None) };
            let reasons = format!("{one} ORDER BY orders DESC, reason");
            let minutes = format!("{one} ORDER BY minute LIMIT {MAX_MINUTES}");
            let dishes = format!("{one} ORDER BY portions DESC, dish");
            Ok(Some(ServingDashboard {
                counts,
                takings: takings(snapshot, one, args![tenant, serving])?,
                refusals: snapshot.fetch(&reasons, args![tenant, serving])?,
                minutes: snapshot.fetch(&minutes, args![tenant, serving])?,
                dishes: snapshot.fetch(&dishes, args![tenant, serving])?,
            }))
        })
        .await
}

/// What all servings of a tenant came to together.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals {
    pub placed: u64,
    pub confirmed: u64,
    pub refused: u64,
    pub cancelled: u64,
    pub expired: u64,
    pub picked_up: u64,
    pub no_show: u64,
    /// Reason and number of orders, most frequent first.
    pub refusals: Vec<(String, u64)>,
    pub takings: Vec<Takings>,
}

/// The sum over all servings of one tenant.
pub async fn totals(views: &Views, tenant: TenantId) -> Result<Totals, ViewError> {
    views
        .read(move |snapshot| {
            let sums = snapshot.query(
                "SELECT coalesce(sum(placed), 0), coalesce(sum(confirmed), 0), coalesce(sum(refused), 0),
                        coalesce(sum(cancelled), 0), coalesce(sum(expired), 0), coalesce(sum(picked_up), 0),
                        coalesce(sum(no_show), 0) FROM {dashboard} WHERE tenant = ?1",
                args![tenant],
                |row| (0..7).map(|index| row.get::<u64>(index)).collect::<Result<Vec<_>, _>>(),
            )?;
            let sum = |index: usize| sums.first().and_then(|sums| sums.get(index)).copied().unwrap_or(0);
            let refusals = snapshot.query(
                "SELECT reason, sum(orders) FROM {dashboard_refusals} WHERE tenant = ?1
                 GROUP BY reason ORDER BY 2 DESC, 1",
                args![tenant],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            Ok(Totals {
                placed: sum(0),
                confirmed: sum(1),
                refused: sum(2),
                cancelled: sum(3),
                expired: sum(4),
                picked_up: sum(5),
                no_show: sum(6),
                refusals,
                takings: takings(snapshot, "WHERE tenant = ?1", args![tenant])?,
            })
        })
        .await
}

fn takings(snapshot: &Snapshot<'_>, rest: &str, args: &[crate::Param<'_>]) -> Result<Vec<Takings>, ViewError> {
    let sql = format!(
        "SELECT currency, sum(portions), sum(refunded_portions), sum(paid_minor), sum(refunded_minor)
         FROM {{dashboard_dishes}} {rest} GROUP BY currency ORDER BY currency"
    );
    snapshot.query(&sql, args, |row| {
        let currency = row.get(0)?;
        Ok(Takings {
            currency,
            portions: row.get(1)?,
            refunded_portions: row.get(2)?,
            paid: Money::new(row.get(3)?, currency),
            refunded: Money::new(row.get(4)?, currency),
        })
    })
}

/// What a canteen sold of one dish on one day, over all its servings.
#[derive(Clone, Debug, PartialEq)]
pub struct DaySales {
    pub date: Date,
    pub canteen: CanteenId,
    pub dish: DishId,
    pub name: String,
    /// Less refunded ones.
    pub units: u64,
    /// Less refunds.
    pub takings: Money,
}

/// Where a page of [`sales`] goes on: after this day, canteen, dish and currency.
pub type SalesCursor = (Date, CanteenId, DishId, Currency);

impl DaySales {
    pub fn cursor(&self) -> SalesCursor {
        (self.date, self.canteen, self.dish, self.takings.currency)
    }
}

/// Sales by day and dish from `from` to `to` (both included), of one canteen or of all, in the
/// order of day, canteen, dish and currency.
pub async fn sales_by_day(
    views: &Views,
    tenant: TenantId,
    canteen: Option<CanteenId>,
    from: Date,
    to: Date,
    after: Option<SalesCursor>,
    page: PageSize,
) -> Result<Vec<DaySales>, ViewError> {
    let start = after.map_or(from, |(date, ..)| date.max(from));
    let (canteen_after, dish_after, currency_after) =
        after.map_or((None, None, None), |(_, canteen, dish, currency)| (Some(canteen), Some(dish), Some(currency)));
    let date_after = after.map(|(date, ..)| date);
    views
        .read(move |snapshot| {
            let sql = "SELECT s.date, s.canteen, d.dish, max(d.name), sum(d.portions - d.refunded_portions),
                        sum(d.paid_minor - d.refunded_minor), d.currency
                 FROM {servings} AS s JOIN {dashboard_dishes} AS d ON d.tenant = s.tenant AND d.serving = s.serving
                 WHERE s.tenant = ?1 AND s.date BETWEEN ?2 AND ?3 AND (?4 IS NULL OR s.canteen = ?4)
                   AND (?5 IS NULL OR (s.date, s.canteen, d.dish, d.currency) > (?5, ?6, ?7, ?8))
                 GROUP BY s.date, s.canteen, d.dish, d.currency ORDER BY 1, 2, 3, 7 LIMIT ?9";
            let args = args![tenant, start, to, canteen, date_after, canteen_after, dish_after, currency_after, page];
            snapshot.query(sql, args, |row| {
                Ok(DaySales {
                    date: row.get(0)?,
                    canteen: row.get(1)?,
                    dish: row.get(2)?,
                    name: row.get(3)?,
                    units: row.get(4)?,
                    takings: Money::new(row.get(5)?, row.get(6)?),
                })
            })
        })
        .await
}

/// Units and takings of all sales from `from` to `to` (both included), by currency.
pub async fn sales_total(
    views: &Views,
    tenant: TenantId,
    canteen: Option<CanteenId>,
    from: Date,
    to: Date,
) -> Result<Vec<(u64, Money)>, ViewError> {
    views
        .read(move |snapshot| {
            let sql = "SELECT sum(d.portions - d.refunded_portions), sum(d.paid_minor - d.refunded_minor), d.currency
                 FROM {servings} AS s JOIN {dashboard_dishes} AS d ON d.tenant = s.tenant AND d.serving = s.serving
                 WHERE s.tenant = ?1 AND s.date BETWEEN ?2 AND ?3 AND (?4 IS NULL OR s.canteen = ?4)
                 GROUP BY d.currency ORDER BY d.currency";
            snapshot.query(sql, args![tenant, from, to, canteen], |row| {
                Ok((row.get(0)?, Money::new(row.get(1)?, row.get(2)?)))
            })
        })
        .await
}
