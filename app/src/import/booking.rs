//! Books a till's orders: a serving for each day, then every order with its payment and pickup.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use commands::{Failure, Interrupted, NewOffer, NewServing, PublishError, Request};
use domain::{
    ActorId, CanteenId, DinerId, DishId, Money, OrderId, ServingId, TenantId, derived_id, first_instant,
    order::{self, Channel, Order, Terms},
    serving::{self, MAX_OFFERS, MAX_PORTIONS, Serving},
};
use jiff::{civil, tz::TimeZone};
use projections::{Snapshot, ViewError, args};
use sagas::{NewLine, NewOrder, Ordering};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    IMPORTER,
    canteen::Canteen,
    mapping::Mapping,
    orders::{History, PastOrder},
    report::{ImportReport, Sales},
};
use crate::{
    progress::{OnProgress, Progress},
    wiring::House,
};

/// Orders booked at once.
const IN_FLIGHT: usize = 256;
/// Most servings of one day: each has up to [`MAX_OFFERS`] dishes, and a later file may bring more.
const MAX_SERVINGS_A_DAY: u32 = 64;
/// How often an order waits for room before the import stops.
const PATIENCE: u32 = 60;
/// How long the views may take to show what was booked.
const CATCH_UP: Duration = Duration::from_secs(600);
/// Room that pickup asks for, in events.
const PICKUP_ROOM: u32 = 4;

/// An order's key follows from the canteen and the order's number alone, whatever the file.
fn order_key(canteen: CanteenId, number: &str) -> Uuid {
    derived_id(canteen.0, &[b"import", b"order", number.as_bytes()])
}

pub fn order_id(tenant: TenantId, canteen: CanteenId, number: &str) -> OrderId {
    OrderId(domain::request_id(tenant, IMPORTER, "importOrder", order_key(canteen, number)))
}

/// What all orders of an import have in common.
struct Book {
    ordering: Ordering,
    tenant: TenantId,
    canteen: CanteenId,
    mapping: Mapping,
    zone: TimeZone,
    history: History,
    /// Of the history's dishes, by their index.
    dishes: Vec<DishId>,
}

pub async fn book(
    house: &House,
    tenant: TenantId,
    mapping: &Mapping,
    history: History,
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
    book_orders(&book, &servings, report, progress).await?;
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

/// Publishes what servings are missing and sees that each has portions enough. Answers with the
/// serving of each order, by index.
async fn open_days(
    book: &Arc<Book>,
    report: &mut ImportReport,
    progress: OnProgress<'_>,
) -> anyhow::Result<Vec<ServingId>> {
    let days = book.history.days();
    let mut servings = vec![ServingId(Uuid::nil()); book.history.orders.len()];
    let total = days.len() as u64;
    let mut opening = JoinSet::new();
    let mut done = 0;
    for (date, orders) in days {
        while opening.len() >= IN_FLIGHT {
            take_day(&mut opening, &mut servings, report).await?;
            done += 1;
        }
        let book = Arc::clone(book);
        opening.spawn(async move { book.open_day(date, orders).await });
        progress(Progress::new("opening the days' servings", done, Some(total)));
    }
    while !opening.is_empty() {
        take_day(&mut opening, &mut servings, report).await?;
    }
    Ok(servings)
}

/// The servings of a day's orders, by index, and how many of them are new.
type Day = (Vec<(usize, ServingId)>, u64);

async fn take_day(
    opening: &mut JoinSet<anyhow::Result<Day>>,
    servings: &mut [ServingId],
    report: &mut ImportReport,
) -> anyhow::Result<()> {
    if let Some(opened) = opening.join_next().await {
        let (orders, published) = opened.context("opening a day broke off")??;
        for (order, serving) in orders {
            servings[order] = serving;
        }
        report.servings_published += published;
    }
    Ok(())
}

/// What a serving that is already published offers.
struct Offered {
    dishes: BTreeSet<DishId>,
    /// Of these orders it holds portions.
    reserved: HashSet<usize>,
}

impl Book {
    fn order(&self, index: usize) -> &PastOrder {
        &self.history.orders[index]
    }

    fn dishes_of(&self, index: usize) -> impl Iterator<Item = DishId> + '_ {
        self.order(index).lines.iter().map(|line| self.dishes[line.dish])
    }

    fn key(&self, number: &str) -> Uuid {
        order_key(self.canteen, number)
    }

    fn request(&self, mutation: &str, key: Uuid, input: &impl serde::Serialize, at: domain::Timestamp) -> Request {
        let by: (TenantId, ActorId) = (self.tenant, IMPORTER);
        Request::new(by, mutation, key, input, at)
    }

    fn order_id(&self, order: &PastOrder) -> OrderId {
        order_id(self.tenant, self.canteen, &order.number)
    }

    /// An order goes to the first serving of its day that offers all of its dishes. What a serving
    /// offers is fixed when it is published, so every later import finds it there again; dishes
    /// that a day did not have yet get a further serving.
    async fn open_day(&self, date: civil::Date, mut orders: Vec<usize>) -> anyhow::Result<Day> {
        let (mut placed, mut published) = (Vec::with_capacity(orders.len()), 0);
        for number in 0..MAX_SERVINGS_A_DAY {
            let key = derived_id(self.canteen.0, &[b"import", date.to_string().as_bytes(), &number.to_le_bytes()]);
            let serving = ServingId(domain::request_id(self.tenant, IMPORTER, "importServing", key));
            let (here, rest) = match self.offered(serving, &orders).await? {
                Some(offered) => {
                    let fits = |order: &usize| self.dishes_of(*order).all(|dish| offered.dishes.contains(&dish));
                    let (here, rest): (Vec<_>, Vec<_>) = orders.into_iter().partition(fits);
                    self.make_room(serving, &here, &offered).await?;
                    (here, rest)
                }
                None => {
                    let (here, rest) = self.fill(orders);
                    self.publish(date, key, &here).await?;
                    published += 1;
                    (here, rest)
                }
            };
            placed.extend(here.into_iter().map(|order| (order, serving)));
            orders = rest;
            if orders.is_empty() {
                return Ok((placed, published));
            }
        }
        bail!("{date} has more dishes than {MAX_SERVINGS_A_DAY} servings can offer")
    }

    async fn offered(&self, serving: ServingId, orders: &[usize]) -> anyhow::Result<Option<Offered>> {
        let looked = self.ordering.commands().look(self.tenant, serving, |serving: &Serving| {
            let known = serving.book().ok()?;
            let reserved = orders.iter().copied().filter(|order| known.has_reserved(self.order_id(self.order(*order))));
            Some(Offered { dishes: known.offers.keys().copied().collect(), reserved: reserved.collect() })
        });
        Ok(looked.await?)
    }

    /// As many of the orders as one serving can offer the dishes of.
    fn fill(&self, orders: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let mut dishes: BTreeSet<DishId> = BTreeSet::new();
        orders.into_iter().partition(|order| {
            let new = self.dishes_of(*order).filter(|dish| !dishes.contains(dish)).collect::<BTreeSet<_>>();
            let fits = dishes.len() + new.len() <= MAX_OFFERS;
            if fits {
                dishes.extend(new);
            }
            fits
        })
    }

    /// Portions that these orders take, by dish.
    fn portions(&self, orders: impl Iterator<Item = usize>) -> BTreeMap<DishId, u32> {
        let mut portions: BTreeMap<DishId, u32> = BTreeMap::new();
        for order in orders {
            for line in &self.order(order).lines {
                let sum = portions.entry(self.dishes[line.dish]).or_default();
                *sum = sum.saturating_add(line.quantity).min(MAX_PORTIONS);
            }
        }
        portions
    }

    /// The whole day, midnight to midnight, with exactly the portions that were sold.
    async fn publish(&self, date: civil::Date, key: Uuid, orders: &[usize]) -> anyhow::Result<()> {
        let (opens, cut_off) = (date.at(0, 0, 0, 0), date.tomorrow()?.at(0, 0, 0, 0));
        let portions = self.portions(orders.iter().copied());
        let offer = |(dish, portions)| NewOffer { dish, portions, price: None };
        let new = NewServing {
            canteen: self.canteen,
            date,
            meal: self.mapping.meal,
            opens,
            cut_off,
            lock: None,
            diner_limit: MAX_PORTIONS,
            offers: portions.into_iter().map(offer).collect(),
        };
        let at = first_instant(opens, &self.zone)?;
        let request = self.request("importServing", key, &new, at);
        match self.ordering.commands().publish_serving(request, new).await {
            // Another import was faster: then its offers count, and the caller runs again.
            Err(Failure::KeyReused | Failure::Refused(PublishError::Serving(serving::Error::AlreadyPublished))) => {
                bail!("another import publishes {date} too; run this one again when it has ended")
            }
            published => published.map(|_| ()).with_context(|| format!("the serving of {date}")),
        }
    }

    /// Raises the portions of a serving so that the orders that it does not know yet fit.
    async fn make_room(&self, serving: ServingId, orders: &[usize], offered: &Offered) -> anyhow::Result<()> {
        let mut new = Vec::new();
        for index in orders.iter().filter(|index| !offered.reserved.contains(index)) {
            let order = self.order_id(self.order(*index));
            let known = |order: &Order| !matches!(order, Order::New | Order::Placed(_));
            if !self.ordering.commands().look(self.tenant, order, known).await? {
                new.push(*index);
            }
        }
        for (dish, needed) in self.portions(new.into_iter()) {
            let sale = |serving: &Serving| serving.book().ok().and_then(|book| book.offers.get(&dish).cloned());
            let Some(sale) = self.ordering.commands().look(self.tenant, serving, sale).await? else { continue };
            let portions = sale.reserved.saturating_add(needed).min(MAX_PORTIONS);
            if portions <= sale.portions {
                continue;
            }
            let (commands, key) = (self.ordering.commands(), self.ordering.commands().new_id());
            let request = self.request("setPortions", key, &(serving, dish, portions), commands.now());
            commands.on_serving(request, serving, serving::Command::SetPortions { dish, portions }).await?;
        }
        Ok(())
    }

    fn diner(&self, order: &PastOrder) -> DinerId {
        // A till that names nobody sold to guests, who are one diner of the canteen.
        let named = order.diner.as_deref().map_or(vec![&b"guest"[..]], |diner| vec![&b"diner"[..], diner.as_bytes()]);
        let parts: Vec<&[u8]> = [&b"import"[..]].into_iter().chain(named).collect();
        DinerId(derived_id(self.canteen.0, &parts))
    }

    fn new_order(&self, order: &PastOrder, serving: ServingId) -> NewOrder {
        let currency = self.mapping.currency;
        let line = |line: &super::orders::PastLine| NewLine {
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
        let request = self.request("importOrder", self.key(&order.number), &new, order.at);
        for attempt in 0..PATIENCE {
            let placed = self.ordering.place_order(request, new.clone()).await;
            let state = match placed {
                Ok(finished) => finished.value,
                Err(Failure::KeyReused) => {
                    return Ok(Booked::Not("an earlier import booked this number with other content".to_owned()));
                }
                Err(Failure::Refused(why)) => return Ok(Booked::Not(why.to_string())),
                Err(Failure::Interrupted(Interrupted::Overloaded)) => {
                    tokio::time::sleep(Duration::from_millis(50 * u64::from(attempt + 1))).await;
                    continue;
                }
                Err(Failure::Interrupted(why)) => return Err(why.into()),
            };
            return match state {
                Order::Confirmed(_) | Order::Preparing(_) | Order::Ready(..) => self.hand_over(order).await,
                Order::New | Order::Placed(_) => Ok(Booked::Not("it was placed but not confirmed".to_owned())),
                Order::Refused(_, refusal) => Ok(Booked::Not(format!("it was refused: {}", refusal.code()))),
                Order::PickedUp(_) | Order::NoShow(_) | Order::Cancelled(_) | Order::Expired(_) => Ok(Booked::Before),
            };
        }
        bail!("the service stayed overloaded; run the import again later, and it goes on where it stopped")
    }

    /// The meal was eaten long ago: ready and collected at the order's own time, so that the
    /// canteen has earned it.
    async fn hand_over(&self, order: &PastOrder) -> anyhow::Result<Booked> {
        let (id, key, tenant) = (self.order_id(order), self.key(&order.number), self.tenant);
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
        for attempt in 0..PATIENCE {
            match self.ordering.commands().pipelined(PICKUP_ROOM, chain.clone()).await {
                Ok(finished) => {
                    return Ok(match finished.value {
                        Ok(()) => Booked::Now,
                        Err(failure) => Booked::Not(format!("it could not be collected: {failure}")),
                    });
                }
                Err(Interrupted::Overloaded) => {
                    tokio::time::sleep(Duration::from_millis(50 * u64::from(attempt + 1))).await;
                }
                Err(why) => return Err(why.into()),
            }
        }
        bail!("the service stayed overloaded; run the import again later, and it goes on where it stopped")
    }
}

/// An interruption ends the chain, and perhaps begins it anew; anything else is its answer.
fn answered<T, E: std::error::Error>(result: Result<T, Failure<E>>) -> Result<Result<T, Failure<E>>, Interrupted> {
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

async fn book_orders(
    book: &Arc<Book>,
    servings: &[ServingId],
    report: &mut ImportReport,
    progress: OnProgress<'_>,
) -> anyhow::Result<()> {
    let total = servings.len() as u64;
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
            Ok(Booked::Now) => {
                report.orders_imported += 1;
                for line in &order.lines {
                    report.units_imported += u64::from(line.quantity);
                    report.imported_minor += line.unit_price * i64::from(line.quantity);
                }
            }
            Ok(Booked::Before) => report.orders_unchanged += 1,
            Ok(Booked::Not(why)) => report.not_booked(order.number.clone(), order.line, why),
            // Those under way come to their end; no new one begins.
            Err(why) => stopped = stopped.or(Some(why.context(format!("order {}", order.number)))),
        }
        done += 1;
        progress(Progress::new("importing orders", done, Some(total)));
    }
    match stopped {
        None => Ok(()),
        Some(why) => Err(why.context(format!(
            "the import stopped after {} of {total} orders; run it again, and it goes on from there",
            report.orders_imported + report.orders_unchanged
        ))),
    }
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
