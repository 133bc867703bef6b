//! Reading how servings go, and what was sold.

use std::collections::BTreeMap;

use domain::{CanteenId, Currency, DishId, Money, ServingId, TenantId};
use jiff::civil::Date;
use rustc_hash::FxHashMap;

use super::{Counts, DishSales, Minute, Refused, Withdrawal};
use crate::{PageSize, Snapshot, ViewError, Views, args};

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
    pub withdrawals: Vec<Withdrawal>,
}

impl ServingDashboard {
    fn new(counts: Counts) -> Self {
        let (takings, refusals, minutes) = (vec![], vec![], vec![]);
        ServingDashboard { counts, takings, refusals, minutes, dishes: vec![], withdrawals: vec![] }
    }
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
    views.read(move |snapshot| in_snapshot(snapshot, tenant, serving)).await
}

pub(crate) fn in_snapshot(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    serving: ServingId,
) -> Result<Option<ServingDashboard>, ViewError> {
    Ok(of_many(snapshot, tenant, &[serving])?.pop())
}

/// The dashboards of these servings, in the order asked; those without any order are left out. At most 100
/// are looked up.
pub async fn of_servings(
    views: &Views,
    tenant: TenantId,
    servings: Vec<ServingId>,
) -> Result<Vec<ServingDashboard>, ViewError> {
    let most = PageSize::MAX.get();
    views.read(move |snapshot| of_many(snapshot, tenant, &servings[..servings.len().min(most)])).await
}

fn of_many(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    servings: &[ServingId],
) -> Result<Vec<ServingDashboard>, ViewError> {
    let among = ("serving", servings);
    let counts: Vec<Counts> = snapshot.fetch_among(tenant, among, "")?;
    let counted: Vec<ServingId> = counts.iter().map(|counts| counts.serving).collect();
    let among = ("serving", &counted[..]);
    let refusals: Vec<Refused> = snapshot.fetch_among(tenant, among, "ORDER BY orders DESC, reason")?;
    let minutes: Vec<Minute> = snapshot.fetch_first(tenant, among, "ORDER BY minute", MAX_MINUTES)?;
    let dishes: Vec<DishSales> = snapshot.fetch_among(tenant, among, "ORDER BY portions DESC, dish")?;
    let withdrawals: Vec<Withdrawal> = snapshot.fetch_among(tenant, among, "ORDER BY what")?;
    let mut found: FxHashMap<ServingId, ServingDashboard> =
        counts.into_iter().map(|counts| (counts.serving, ServingDashboard::new(counts))).collect();
    macro_rules! add {
        ($($rows:ident),*) => {$(
            for row in $rows {
                if let Some(of) = found.get_mut(&row.serving) {
                    of.$rows.push(row);
                }
            }
        )*};
    }
    add!(refusals, minutes, dishes, withdrawals);
    let whole = |mut of: ServingDashboard| {
        of.takings = taken(&of.dishes);
        of
    };
    Ok(servings.iter().filter_map(|serving| found.remove(serving).map(whole)).collect())
}

/// What dishes brought together, by currency.
fn taken(dishes: &[DishSales]) -> Vec<Takings> {
    let mut takings: BTreeMap<Currency, Takings> = BTreeMap::new();
    for dish in dishes {
        let currency = dish.currency;
        let zero = || Takings {
            currency,
            portions: 0,
            refunded_portions: 0,
            paid: Money::zero(currency),
            refunded: Money::zero(currency),
        };
        let of = takings.entry(currency).or_insert_with(zero);
        of.portions += dish.portions;
        of.refunded_portions += dish.refunded_portions;
        of.paid.minor += dish.paid_minor;
        of.refunded.minor += dish.refunded_minor;
    }
    takings.into_values().collect()
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
                takings: takings(snapshot, tenant)?,
            })
        })
        .await
}

fn takings(snapshot: &Snapshot<'_>, tenant: TenantId) -> Result<Vec<Takings>, ViewError> {
    let sql = "SELECT currency, sum(portions), sum(refunded_portions), sum(paid_minor), sum(refunded_minor)
               FROM {dashboard_dishes} WHERE tenant = ?1 GROUP BY currency ORDER BY currency";
    snapshot.query(sql, args![tenant], |row| {
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
