//! Opens the demo's canteens, publishes their lunch and fills the diners' wallets.

use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Context, bail};
use commands::{Failure, IdSource, Interrupted, NewOffer, NewServing, SeededIds};
use domain::{
    AccountId, CanteenId, Currency, DishId, Money, ServingId, TenantId, Timestamp, derived_id, first_instant,
    serving::Meal, top_up::Source,
};
use jiff::{civil, tz::TimeZone};
use sagas::NewTopUp;
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    clock::{DemoClock, Pace},
    lunch::{AT_ONCE, Lunch, OpenCanteen, PATIENCE, diner, pause, seconds, taken},
    script::{Arrival, CUT_OFF, DINER_LIMIT, OPENS, SUBSIDY, Script},
    tally::Tally,
};
use crate::wiring::House;

/// Where the demo's canteens are.
pub const ZONE: &str = "Asia/Shanghai";

/// Yesterday: a day that is over, so that its times lie in the past.
fn last_lunch(now: Timestamp) -> anyhow::Result<(civil::Date, Timestamp)> {
    let zone = TimeZone::get(ZONE)?;
    let date = now.date_in(&zone).yesterday()?;
    Ok((date, first_instant(date.at(0, 0, 0, 0), &zone)?))
}

fn local(date: civil::Date, second: u64) -> civil::DateTime {
    // A second of the day always makes a time of the day.
    let part = |number: u64| i8::try_from(number).unwrap_or(0);
    date.at(part(second / 3_600), part(second / 60 % 60), part(second % 60), 0)
}

impl Lunch {
    /// Opens the canteens, publishes their lunch and fills the diners' accounts.
    pub async fn open(house: &House, clock: Arc<DemoClock>, seed: u64, script: Script) -> anyhow::Result<Lunch> {
        let tenant = TenantId(derived_id(Uuid::nil(), &[b"demo", &seed.to_le_bytes()]));
        let (date, midnight) = last_lunch(house.commands.now())?;
        let opens = midnight.plus_seconds(seconds(OPENS));
        // An hour before, so that a slow setup is no slow lunch.
        let pace = Pace::new(Arc::clone(&clock), opens.plus_seconds(-3_600));
        let ids = SeededIds::new(seed);
        let at = |arrival: &Arrival| midnight.plus_seconds(seconds(arrival.at));
        let mut lunch = Lunch {
            tenant,
            date,
            canteens: vec![],
            companies: vec![],
            complained: OnceLock::new(),
            tally: Tally::new(script.canteens.len()),
            keys: script.arrivals.iter().map(|arrival| ids.next(at(arrival))).collect(),
            ended: script.arrivals.iter().map(|_| CancellationToken::new()).collect(),
            ordering: house.ordering.clone(),
            phone: house.stand_in.clone().context("the demo needs somebody to play WeChat Pay")?,
            finance: house.finance.clone(),
            clock,
            pace,
            midnight,
            script,
            withdrawn: CancellationToken::new(),
            kitchen: Semaphore::new(AT_ONCE),
            cooking: Mutex::new(vec![]),
        };
        let books = lunch.request("finance", "openBooks", &ZONE);
        lunch.commands().open_books(books, ZONE.to_owned()).await?;
        for index in 0..lunch.script.canteens.len() {
            let canteen = lunch.open_canteen(index).await?;
            lunch.canteens.push(canteen);
        }
        lunch.deposit().await?;
        lunch.grant(house).await?;
        Ok(lunch)
    }

    async fn open_canteen(&self, index: usize) -> anyhow::Result<OpenCanteen> {
        let plan = &self.script.canteens[index];
        let request = self.request("staff", "openCanteen", &plan.name);
        let id = CanteenId(request.id);
        self.commands().open_canteen(request, plan.name.to_owned(), ZONE.to_owned(), Currency::CNY).await?;
        let mut dishes = Vec::new();
        for (dish, portions) in &plan.dishes {
            let request = self.request("staff", "putDish", &(id, dish));
            let put = DishId(request.id);
            self.commands().put_dish(request, id, put, dish.clone()).await?;
            dishes.push((put, dish.clone(), *portions));
        }
        let offers = dishes.iter().map(|(dish, _, portions)| (*dish, *portions));
        let serving = self.publish(id, self.date, (local(self.date, OPENS), local(self.date, CUT_OFF)), offers).await?;
        Ok(OpenCanteen { name: plan.name, id, serving, dishes })
    }

    async fn publish(
        &self,
        canteen: CanteenId,
        date: civil::Date,
        (opens, cut_off): (civil::DateTime, civil::DateTime),
        offers: impl Iterator<Item = (DishId, u32)>,
    ) -> anyhow::Result<ServingId> {
        let new = NewServing {
            canteen,
            date,
            meal: Meal::Lunch,
            opens,
            cut_off,
            lock: None,
            diner_limit: DINER_LIMIT,
            no_show_percent: 100,
            offers: offers.map(|(dish, portions)| NewOffer { dish, portions, price: None }).collect(),
        };
        let request = self.request("staff", "publishServing", &new);
        self.commands().publish_serving(request, new).await?;
        Ok(ServingId(request.id))
    }

    /// Opens the next lunch to orders from now on, in every canteen.
    pub async fn open_next(&self) -> anyhow::Result<(civil::Date, Vec<ServingId>)> {
        let zone = TimeZone::get(ZONE)?;
        let now = self.commands().now();
        let mut date = now.date_in(&zone);
        // Whoever tries it should have some hours.
        if first_instant(local(date, CUT_OFF), &zone)? < now.plus_seconds(2 * 3_600) {
            date = date.tomorrow()?;
        }
        let opens = zone.to_datetime(now.plus_seconds(-60).to_jiff());
        let mut servings = Vec::new();
        for canteen in &self.canteens {
            let offers = canteen.dishes.iter().map(|(dish, ..)| (*dish, 100));
            servings.push(self.publish(canteen.id, date, (opens, local(date, CUT_OFF)), offers).await?);
        }
        Ok((date, servings))
    }

    async fn deposit(&self) -> anyhow::Result<()> {
        let mut paying = JoinSet::new();
        for (index, plan) in self.script.diners.iter().enumerate() {
            let diner = diner(self.tenant, index);
            // The poor have a gift that does not expire; the others' subsidies are granted.
            let gift = if plan.subsidy == SUBSIDY { 0 } else { plan.subsidy };
            for (account, fen) in [(AccountId::Subsidy(diner), gift), (AccountId::Wallet(diner), plan.wallet)] {
                if fen == 0 {
                    continue;
                }
                if paying.len() >= AT_ONCE {
                    taken(paying.join_next().await)?;
                }
                let new = NewTopUp { account, amount: Money::new(fen, Currency::CNY), source: Source::Bank };
                let (request, finance) = (self.request("finance", "deposit", &new), self.finance.clone());
                paying.spawn(async move {
                    for attempt in 0..PATIENCE {
                        match finance.top_up(request, new).await {
                            Err(Failure::Interrupted(Interrupted::Overloaded)) => pause(attempt).await,
                            done => return done.map(|_| ()).context("a deposit"),
                        }
                    }
                    bail!("the service stayed overloaded while accounts were filled")
                });
            }
        }
        while !paying.is_empty() {
            taken(paying.join_next().await)?;
        }
        Ok(())
    }
}
