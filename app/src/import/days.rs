//! The days of a till's history: a serving for each, or several where the dishes are too many.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use anyhow::{Context, bail};
use commands::{Failure, NewOffer, NewServing, PublishError};
use domain::{
    DishId, ServingId, derived_id, first_instant,
    order::Order,
    serving::{self, MAX_OFFERS, MAX_PORTIONS, Serving},
};
use jiff::civil;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{
    IMPORTER,
    booking::{Book, IN_FLIGHT},
    report::ImportReport,
};
use crate::progress::{OnProgress, Progress};

/// Most servings of one day: each has up to [`MAX_OFFERS`] dishes, and a later file may bring more.
const MAX_SERVINGS_A_DAY: u32 = 64;

/// Publishes what servings are missing and sees that each has portions enough. Answers with the
/// serving of each order, by index.
pub async fn open_days(
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
            no_show_percent: 100,
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
}
