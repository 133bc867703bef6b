//! How servings go, and what was sold.

use async_graphql::{Context, ID, Object, Result, SimpleObject, connection::Connection};
use domain::{CanteenId, ServingId};
use projections::{PageSize, dashboard as views, menu};

use crate::{
    caller::{Caller, caller},
    errors::{Code, Failed, coded, not_found},
    menu::{Canteen, Serving, load_canteen, load_serving},
    menu_changes::serving_of,
    node::{self, NodeId},
    paging,
    scalars::{BigInt, Date, DateTime, Money},
};

/// How a serving goes.
pub(crate) struct Dashboard {
    serving: ServingId,
    view: views::ServingDashboard,
}

impl Dashboard {
    pub(crate) fn new(serving: ServingId, view: views::ServingDashboard) -> Self {
        Dashboard { serving, view }
    }
}

/// So many of something.
fn count(number: u64) -> BigInt {
    BigInt(i64::try_from(number).unwrap_or(i64::MAX))
}

/// How many of a serving's orders came to what.
#[derive(SimpleObject)]
pub(crate) struct OrderCounts {
    /// All that were recorded, refused ones too.
    placed: BigInt,
    /// Those that were confirmed, whatever became of them since.
    confirmed: BigInt,
    /// Those that were refused after they were recorded.
    refused: BigInt,
    /// Those that were cancelled.
    cancelled: BigInt,
    /// Those that were not paid in time.
    expired: BigInt,
    /// Those that were collected.
    picked_up: BigInt,
    /// Those that nobody came for.
    no_show: BigInt,
}

/// How many orders were refused for one reason.
#[derive(SimpleObject)]
pub(crate) struct RefusalCount {
    /// The reason's code, such as SOLD_OUT.
    reason: String,
    /// How many.
    orders: BigInt,
}

/// The orders that were placed within one minute.
#[derive(SimpleObject)]
pub(crate) struct MinuteCounts {
    /// When the minute began.
    minute: DateTime,
    /// How many were placed.
    placed: BigInt,
    /// How many of these were confirmed.
    confirmed: BigInt,
    /// How many of these were refused.
    refused: BigInt,
}

/// What one dish brought.
#[derive(SimpleObject)]
pub(crate) struct DishSales {
    /// The dish's name when it was first sold here.
    name: String,
    /// Confirmed portions.
    portions: BigInt,
    /// How many of these were refunded.
    refunded_portions: BigInt,
    /// What was paid less what was refunded.
    takings: Money,
}

/// Portions and money in one currency.
#[derive(SimpleObject)]
pub(crate) struct Takings {
    /// Confirmed portions.
    portions: BigInt,
    /// How many of these were refunded.
    refunded_portions: BigInt,
    /// What was paid.
    paid: Money,
    /// What of it was refunded.
    refunded: Money,
    /// What was paid less what was refunded.
    net: Money,
}

/// How a serving goes: orders, portions, takings and refusals.
#[Object]
impl Dashboard {
    /// Of which serving.
    async fn serving(&self, ctx: &Context<'_>) -> Result<Serving> {
        Ok(load_serving(ctx, self.serving, 0).await?)
    }

    /// How many orders came to what.
    async fn orders(&self) -> OrderCounts {
        let counts = &self.view.counts;
        OrderCounts {
            placed: count(counts.placed),
            confirmed: count(counts.confirmed),
            refused: count(counts.refused),
            cancelled: count(counts.cancelled),
            expired: count(counts.expired),
            picked_up: count(counts.picked_up),
            no_show: count(counts.no_show),
        }
    }

    /// Portions and money, by currency; usually there is one.
    async fn takings(&self) -> Vec<Takings> {
        let takings = |one: &views::Takings| Takings {
            portions: count(one.portions),
            refunded_portions: count(one.refunded_portions),
            paid: one.paid.into(),
            refunded: one.refunded.into(),
            net: one.net().into(),
        };
        self.view.takings.iter().map(takings).collect()
    }

    /// Refused orders by reason, most frequent first.
    async fn refusals(&self) -> Vec<RefusalCount> {
        let refusal = |one: &views::Refused| RefusalCount { reason: one.reason.clone(), orders: count(one.orders) };
        self.view.refusals.iter().map(refusal).collect()
    }

    /// Orders by the minute, in the order of time; minutes without any are left out.
    async fn minutes(&self) -> Vec<MinuteCounts> {
        let minute = |one: &views::Minute| MinuteCounts {
            minute: one.minute.into(),
            placed: count(one.placed),
            confirmed: count(one.confirmed),
            refused: count(one.refused),
        };
        self.view.minutes.iter().map(minute).collect()
    }

    /// What each dish brought, most portions first.
    async fn dishes(&self) -> Vec<DishSales> {
        let sales = |one: &views::DishSales| DishSales {
            name: one.name.clone(),
            portions: count(one.portions),
            refunded_portions: count(one.refunded_portions),
            takings: one.takings().into(),
        };
        self.view.dishes.iter().map(sales).collect()
    }

    /// What it withdrew, and how far that is.
    async fn withdrawals(&self) -> Vec<Withdrawal> {
        let withdrawal = |one: &views::Withdrawal| Withdrawal {
            dish: one.dish.map(|dish| NodeId::Dish(self.view.counts.canteen, dish).encode()),
            orders: count(one.orders),
            told: count(one.told),
            settled: one.settled,
        };
        self.view.withdrawals.iter().map(withdrawal).collect()
    }
}

/// A dish, or everything, that a serving withdrew.
#[derive(SimpleObject)]
struct Withdrawal {
    /// The dish's global id; null if it was everything.
    dish: Option<ID>,
    /// Orders that had it.
    orders: BigInt,
    /// How many of them have been refused, or have their refunds begun.
    told: BigInt,
    /// Whether all of them have been dealt with.
    settled: bool,
}

/// What a canteen sold of one dish on one day.
pub(crate) struct DaySales(views::DaySales);

/// What a canteen sold of one dish on one day, over all its servings.
#[Object]
impl DaySales {
    /// The canteen's local date.
    async fn date(&self) -> Date {
        self.0.date.into()
    }

    /// Which canteen.
    async fn canteen(&self, ctx: &Context<'_>) -> Result<Canteen> {
        Ok(load_canteen(ctx, self.0.canteen, 0).await?)
    }

    /// The dish's global id.
    async fn dish(&self) -> ID {
        NodeId::Dish(self.0.canteen, self.0.dish).encode()
    }

    /// The dish's name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Portions, less refunded ones.
    async fn units(&self) -> BigInt {
        count(self.0.units)
    }

    /// Money, less refunds.
    async fn takings(&self) -> Money {
        self.0.takings.into()
    }
}

/// A cursor as text: `date/canteen/dish/currency`.
fn write_cursor(row: &views::DaySales) -> String {
    let (date, canteen, dish, currency) = row.cursor();
    format!("{date}/{canteen}/{dish}/{currency}")
}

fn read_cursor(text: &str) -> Option<views::SalesCursor> {
    let mut parts = text.splitn(4, '/');
    let mut part = || parts.next();
    Some((part()?.parse().ok()?, part()?.parse().ok()?, part()?.parse().ok()?, part()?.parse().ok()?))
}

fn canteen_of(id: &ID) -> Result<CanteenId, Failed> {
    node::canteen(id).ok_or_else(|| not_found("canteen").at("canteen"))
}

async fn read(caller: &Caller<'_>, serving: ServingId) -> Result<Option<Dashboard>, Failed> {
    let view = views::of_serving(caller.views(), caller.tenant(), serving).await?;
    Ok(view.map(|view| Dashboard { serving, view }))
}

#[derive(Default)]
pub(crate) struct DashboardQuery;

#[Object]
impl DashboardQuery {
    /// How a serving goes; null before its first order. For its canteen, finance and auditors.
    async fn dashboard(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
    ) -> Result<Option<Dashboard>> {
        let caller = caller(ctx)?;
        let serving = serving_of(&serving)?;
        caller.reader_of_serving(serving).await?;
        Ok(read(&caller, serving).await?)
    }

    /// How a canteen's servings of one day go, those that have orders; at most 100. For its canteen,
    /// finance and auditors.
    async fn dashboards(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The canteen's global id.")] canteen: ID,
        #[graphql(desc = "The canteen's local date.")] date: Date,
    ) -> Result<Vec<Dashboard>> {
        let caller = caller(ctx)?;
        let canteen = canteen_of(&canteen)?;
        caller.reader_of(canteen)?;
        let (views, tenant) = (caller.views(), caller.tenant());
        let servings = menu::servings_on(views, tenant, Some(canteen), date.0, None, PageSize::MAX).await;
        let servings = servings.map_err(Failed::from)?.iter().map(|row| row.serving).collect();
        let found = views::of_servings(views, tenant, servings).await.map_err(Failed::from)?;
        Ok(found.into_iter().map(|view| Dashboard { serving: view.counts.serving, view }).collect())
    }

    /// What was sold, by day, canteen and dish. For the canteen, finance and auditors.
    async fn sales(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only of this canteen; staff must say which.")] canteen: Option<ID>,
        #[graphql(desc = "The first local date.")] from: Date,
        #[graphql(desc = "The last local date; that day included.")] to: Date,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, DaySales>> {
        let caller = caller(ctx)?;
        let canteen = canteen.as_ref().map(canteen_of).transpose()?;
        match canteen {
            Some(canteen) => caller.reader_of(canteen)?,
            None if caller.identity.reads_books() => {}
            None => return Err(coded(Code::BadInput, "say of which canteen").at("canteen").into()),
        }
        let (views, tenant) = (caller.views(), caller.tenant());
        let after = paging::cursor(after.as_deref(), read_cursor)?;
        let fetch = |after, size| views::sales_by_day(views, tenant, canteen, from.0, to.0, after, size);
        let page = paging::page(first, after, fetch).await?;
        Ok(paging::connection(page, write_cursor, DaySales))
    }
}
