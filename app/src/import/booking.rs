//! Books a till's history: its days' servings, then every order with its payment and pickup, then
//! what was taken back.

use std::{collections::HashSet, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use commands::{Failure, Interrupted, Request};
use domain::{
    ActorId, CanteenId, DinerId, DishId, Money, OrderId, ServingId, TenantId, derived_id,
    order::{self, Channel, Order, Terms},
};
use jiff::tz::TimeZone;
use projections::{Snapshot, ViewError, args};
use sagas::{NewLine, NewOrder, Ordering};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    IMPORTER,
    canteen::Canteen,
    days::open_days,
    mapping::Mapping,
    orders::{History, PastLine, PastOrder},
    refunds::book_refunds,
    report::{ImportReport, Sales},
    rows::Who,
    tally::{LeftOut, Reason, Tally},
};
use crate::{
    progress::{OnProgress, Progress},
    wiring::House,
};

/// Orders booked at once.
pub const IN_FLIGHT: usize = 256;
/// How often an order or a refund waits for room before the import stops.
const PATIENCE: u32 = 60;
/// How long the views may take to show what was booked.
const CATCH_UP: Duration = Duration::from_secs(600);
/// Room that pickup asks for, in events.
const PICKUP_ROOM: u32 = 4;

/// An order's key follows from the canteen and the order's number and part alone, whatever the file.
fn order_key(canteen: CanteenId, order: &PastOrder) -> Uuid {
    let part = order.part.to_le_bytes();
    let whole: [&[u8]; 4] = [b"import", b"order", order.number.as_bytes(), &part];
    // The first part is the order that the number alone names: most have no other.
    derived_id(canteen.0, if order.part == 1 { &whole[..3] } else { &whole })
}

pub fn order_id(tenant: TenantId, canteen: CanteenId, order: &PastOrder) -> OrderId {
    OrderId(domain::request_id(tenant, IMPORTER, "importOrder", order_key(canteen, order)))
}

/// What all orders of an import have in common.
pub struct Book {
    pub ordering: Ordering,
    pub tenant: TenantId,
    pub canteen: CanteenId,
    pub mapping: Mapping,
    pub zone: TimeZone,
    pub history: History,
    /// Of the history's dishes, by their index.
    pub dishes: Vec<DishId>,
}

pub async fn book(
    house: &House,
    tenant: TenantId,
    mapping: &Mapping,
    history: History,
    tally: &mut Tally,
    report: &mut ImportReport,
    progress: OnProgress<'_>,
) -> anyhow::Result<()> {
    let zone = mapping.zone().map_err(crate::config::usage)?;
    let mut canteen = Canteen::find_or_open(house, tenant, &mapping.canteen, mapping.currency, &mapping.zone).await?;
    let dishes = put_new_dishes(house, tenant, &mut canteen, &history, report).await?;
    let book = Arc::new(Book {
        ordering: house.ordering.clone(),
        tenant,
        canteen: canteen.id,
        mapping: mapping.clone(),
        zone,
        history,
        dishes,
    });
    let servings = open_days(&book, report, progress).await?;
    // What stopped it is said at once: on a full disk the views may not be able to catch up either.
    let standing = book_orders(&book, &servings, tally, report, progress).await?;
    book_refunds(&book, &standing, tally, report, progress).await?;
    house.catch_up(CATCH_UP).await.context("what was booked does not show in the views yet")?;
    report.sales = Some(sales(house, &book).await?);
    Ok(())
}

/// Puts the dishes on the menu that it has not; those that it has keep today's price.
async fn put_new_dishes(
    house: &House,
    tenant: TenantId,
    canteen: &mut Canteen,
    history: &History,
    report: &mut ImportReport,
) -> anyhow::Result<Vec<DishId>> {
    let sold: HashSet<usize> = history.orders.iter().flat_map(|order| &order.lines).map(|line| line.dish).collect();
    let mut ids = Vec::with_capacity(history.dishes.len());
    let mut new = Vec::new();
    for (index, dish) in history.dishes.iter().enumerate() {
        match canteen.dish(&dish.name)? {
            Some((id, _)) => {
                report.dishes_unchanged += 1;
                ids.push(id);
            }
            None => {
                let id = canteen.dish_id(&dish.name);
                ids.push(id);
                // A dish that only orders left out name is not put on the menu.
                if sold.contains(&index) {
                    new.push((id, dish.clone()));
                }
            }
        }
    }
    report.dishes_put = new.len() as u64;
    canteen.put(house, tenant, new).await?;
    Ok(ids)
}

impl Book {
    pub fn order(&self, index: usize) -> &PastOrder {
        &self.history.orders[index]
    }

    pub fn dishes_of(&self, index: usize) -> impl Iterator<Item = DishId> + '_ {
        self.order(index).lines.iter().map(|line| self.dishes[line.dish])
    }

    fn key(&self, order: &PastOrder) -> Uuid {
        order_key(self.canteen, order)
    }

    pub fn request(&self, mutation: &str, key: Uuid, input: &impl serde::Serialize, at: domain::Timestamp) -> Request {
        let by: (TenantId, ActorId) = (self.tenant, IMPORTER);
        Request::new(by, mutation, key, input, at)
    }

    pub fn order_id(&self, order: &PastOrder) -> OrderId {
        order_id(self.tenant, self.canteen, order)
    }

    fn diner(&self, order: &PastOrder) -> DinerId {
        let parts: &[&[u8]] = match &order.who {
            Who::Guests => &[b"import", b"guest"],
            Who::Diner(number) => &[b"import", b"diner", number.as_bytes()],
            // The parts of one order are one visitor's.
            Who::Visitor => &[b"import", b"visitor", order.number.as_bytes()],
        };
        DinerId(derived_id(self.canteen.0, parts))
    }

    fn new_order(&self, order: &PastOrder, serving: ServingId) -> NewOrder {
        let currency = self.mapping.currency;
        let line = |line: &PastLine| NewLine {
            dish: self.dishes[line.dish],
            quantity: line.quantity,
            options: vec![],
            unit_price: Some(Money::new(line.unit_price, currency)),
        };
        NewOrder {
            diner: self.diner(order),
            serving,
            lines: order.lines.iter().map(line).collect(),
            channel: Channel::Import,
            terms: Terms::Elsewhere,
        }
    }

    async fn book_order(&self, index: usize, serving: ServingId) -> anyhow::Result<Booked> {
        let order = self.order(index);
        let new = self.new_order(order, serving);
        let request = self.request("importOrder", self.key(order), &new, order.at);
        let placed = patiently(|| async { answered(self.ordering.place_order(request, new.clone()).await) });
        let state = match placed.await? {
            Ok(finished) => finished.value,
            Err(Failure::KeyReused) => {
                return Ok(Booked::Not("an earlier import booked this number with other content".to_owned()));
            }
            Err(Failure::Refused(why)) => return Ok(Booked::Not(why.to_string())),
            Err(Failure::Interrupted(why)) => return Err(why.into()),
        };
        match state {
            Order::Confirmed(_) | Order::Preparing(_) | Order::Ready(..) => self.hand_over(order).await,
            Order::New | Order::Placed(_) => Ok(Booked::Not("it was placed but not confirmed".to_owned())),
            Order::Refused(_, refusal) => Ok(Booked::Not(format!("it was refused: {}", refusal.code()))),
            Order::Cancelled(_) | Order::Expired(_) => Ok(Booked::Not(format!("it is {}", state.status()))),
            Order::PickedUp(_) | Order::NoShow(_) => Ok(Booked::Before),
        }
    }

    /// The meal was eaten long ago: ready and collected at the order's own time, so that the
    /// canteen has earned it.
    async fn hand_over(&self, order: &PastOrder) -> anyhow::Result<Booked> {
        let (id, key, tenant) = (self.order_id(order), self.key(order), self.tenant);
        let ready = self.request("importReady", key, &id, order.at);
        let collect = self.request("importCollect", key, &id, order.at);
        let commands = self.ordering.commands().clone();
        let chain = move || {
            let commands = commands.clone();
            async move {
                if let Err(failure) = answered(commands.mark_ready(ready, id).await)? {
                    return Ok(Err(failure));
                }
                let code = |order: &Order| match order {
                    Order::Ready(_, code) => code.clone(),
                    _ => String::new(),
                };
                let code = commands.look(tenant, id, code).await?;
                answered(commands.on_order(collect, id, order::Command::Collect { code }).await)
                    .map(|done| done.map(|_| ()))
            }
        };
        let commands = self.ordering.commands();
        let finished = patiently(|| commands.pipelined(PICKUP_ROOM, chain.clone())).await?;
        Ok(match finished.value {
            Ok(()) => Booked::Now,
            Err(failure) => Booked::Not(format!("it could not be collected: {failure}")),
        })
    }
}

/// Tries until there is room for it, a bounded number of times.
pub async fn patiently<T, F, Fut>(attempt: F) -> anyhow::Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, Interrupted>>,
{
    for waited in 1..=PATIENCE {
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(Interrupted::Overloaded) => tokio::time::sleep(Duration::from_millis(50 * u64::from(waited))).await,
            Err(why) => return Err(why.into()),
        }
    }
    bail!("the service stayed overloaded; run the import again later, and it goes on where it stopped")
}

/// An interruption ends the chain, and perhaps begins it anew; anything else is its answer.
pub fn answered<T, E: std::error::Error>(result: Result<T, Failure<E>>) -> Result<Result<T, Failure<E>>, Interrupted> {
    match result {
        Err(Failure::Interrupted(interrupted)) => Err(interrupted),
        answer => Ok(answer),
    }
}

/// What became of one order.
enum Booked {
    Now,
    /// By an earlier import.
    Before,
    Not(String),
}

/// Whether an order stands in the log after the import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    No,
    Now,
    /// By an earlier import, which may have refunded some of it.
    Before,
}

/// Answers with what became of each order, by index.
async fn book_orders(
    book: &Arc<Book>,
    servings: &[ServingId],
    tally: &mut Tally,
    report: &mut ImportReport,
    progress: OnProgress<'_>,
) -> anyhow::Result<Vec<Standing>> {
    let total = servings.len() as u64;
    let mut standing = vec![Standing::No; servings.len()];
    let mut under_way: JoinSet<(usize, anyhow::Result<Booked>)> = JoinSet::new();
    let mut waiting = servings.iter().copied().enumerate();
    let (mut done, mut stopped) = (0, None);
    loop {
        while under_way.len() < IN_FLIGHT && stopped.is_none() {
            let Some((index, serving)) = waiting.next() else { break };
            let book = Arc::clone(book);
            under_way.spawn(async move { (index, book.book_order(index, serving).await) });
        }
        let Some(ended) = under_way.join_next().await else { break };
        let (index, outcome) = ended.context("booking an order broke off")?;
        let order = book.order(index);
        match outcome {
            Ok(Booked::Not(why)) => not_booked(order, why, tally, report),
            Ok(booked) => standing[index] = sold(order, &booked, tally, report),
            // Those under way come to their end; no new one begins.
            Err(why) => stopped = stopped.or(Some(why.context(format!("order {}", order.name())))),
        }
        done += 1;
        progress(Progress::new("importing orders", done, Some(total)));
    }
    match stopped {
        None => Ok(standing),
        Some(why) => Err(why.context(format!(
            "the import stopped after {} of {total} orders; run it again, and it goes on from there",
            report.orders_imported + report.orders_unchanged
        ))),
    }
}

fn sold(order: &PastOrder, booked: &Booked, tally: &mut Tally, report: &mut ImportReport) -> Standing {
    for (row, minor) in order.worth() {
        tally.sold(row, minor);
    }
    if matches!(booked, Booked::Before) {
        report.orders_unchanged += 1;
        return Standing::Before;
    }
    report.orders_imported += 1;
    for line in &order.lines {
        report.units_imported += u64::from(line.quantity);
        report.imported_minor += line.unit_price * i64::from(line.quantity);
    }
    Standing::Now
}

/// Tells the tally that nothing of an order is booked.
pub fn leave_out_rows(order: &PastOrder, reason: Reason, why: &str, tally: &mut Tally) {
    for (line, minor) in order.worth() {
        let (order, amount_minor) = (Some(order.number.clone()), Some(minor));
        tally.leave_out(LeftOut { line, order, amount_minor, reason, detail: why.to_owned() });
    }
}

fn not_booked(order: &PastOrder, why: String, tally: &mut Tally, report: &mut ImportReport) {
    leave_out_rows(order, Reason::NotBooked, &why, tally);
    report.not_booked(order.name(), order.line, why);
}

/// What the sales view holds of the canteen over the file's days.
async fn sales(house: &House, book: &Book) -> anyhow::Result<Sales> {
    let (Some(from), Some(to)) = (
        book.history.orders.iter().map(|order| order.date).min(),
        book.history.orders.iter().map(|order| order.date).max(),
    ) else {
        return Ok(Sales::default());
    };
    let (tenant, canteen) = (book.tenant, book.canteen);
    let orders = move |snapshot: &Snapshot<'_>| -> Result<Vec<u64>, ViewError> {
        let sql = "SELECT coalesce(sum(d.confirmed), 0) FROM {servings} AS s
                   JOIN {dashboard} AS d ON d.tenant = s.tenant AND d.serving = s.serving
                   WHERE s.tenant = ?1 AND s.canteen = ?2 AND s.date BETWEEN ?3 AND ?4";
        snapshot.query(sql, args![tenant, canteen, from, to], |row| row.get(0))
    };
    let orders = house.views.read(orders).await?.into_iter().sum();
    let totals = projections::dashboard::sales_total(&house.views, tenant, Some(canteen), from, to).await?;
    let own = totals.into_iter().find(|(_, takings)| takings.currency == book.mapping.currency);
    let (units, takings_minor) = own.map_or((0, 0), |(units, takings)| (units, takings.minor));
    Ok(Sales { orders, units, takings_minor })
}
