//! Canteens with one serving each, for orders to be placed at.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use commands::{NewOffer, NewServing};
use domain::{CanteenId, Currency, DishId, Money, ServingId, menu::Dish, serving::Meal, tax::TaxRate};
use jiff::{ToSpan, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::load::Load;

/// Of every dish, in minor units.
pub(crate) const DISH_PRICE: i64 = 1_800;
/// Nobody is to be refused.
const PORTIONS: u32 = domain::serving::MAX_PORTIONS;
const NAMES: [&str; 10] = [
    "Braised pork with rice",
    "Mapo tofu",
    "Steamed sea bass",
    "Tomato and egg",
    "Beef noodle soup",
    "Kung pao chicken",
    "Fried green beans",
    "Vegetable dumplings",
    "Sweet and sour ribs",
    "Mushroom congee",
];

/// A serving, and the dishes that it offers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    pub canteen: CanteenId,
    pub serving: ServingId,
    pub dishes: Vec<DishId>,
}

/// The servings.
#[derive(Clone)]
pub(crate) struct Lunch(Arc<[Published]>);

impl Lunch {
    /// Opens as many canteens and publishes the serving of each, open now and for hours.
    pub(crate) async fn publish(load: &Load, servings: u32) -> Result<Lunch> {
        let mut published = Vec::new();
        for number in 1..=servings {
            published.push(serving(load, number).await.with_context(|| format!("serving {number}"))?);
        }
        Ok(Lunch(published.into()))
    }

    /// One of the servings.
    pub(crate) fn serving(&self, random: u64) -> (ServingId, &[DishId]) {
        let Published { serving, dishes, .. } = &self.0[random as usize % self.0.len()];
        (*serving, dishes)
    }

    pub(crate) fn all(&self) -> &[Published] {
        &self.0
    }
}

async fn serving(load: &Load, number: u32) -> Result<Published> {
    let name = format!("Canteen {number}");
    let request = load.request("openCanteen", &name);
    let canteen = CanteenId(request.id);
    let zone = "UTC".to_owned();
    load.commands.open_canteen(request, name, zone, Currency::CNY).await.map_err(|failure| anyhow!("{failure}"))?;
    let mut dishes = Vec::new();
    for name in NAMES {
        let price = Money::new(DISH_PRICE, Currency::CNY);
        let spec =
            Dish { name: name.to_owned(), category: "Lunch".to_owned(), price, options: vec![], tax: TaxRate::ZERO };
        let dish = DishId(load.id());
        let request = load.request("putDish", &(canteen, dish, &spec));
        load.commands.put_dish(request, canteen, dish, spec).await.map_err(|failure| anyhow!("{failure}"))?;
        dishes.push(dish);
    }
    let now = TimeZone::UTC.to_datetime(load.commands.now().to_jiff());
    let new = NewServing {
        canteen,
        date: now.date(),
        meal: Meal::Lunch,
        opens: now.checked_sub(1.hour())?,
        cut_off: now.checked_add(12.hours())?,
        lock: None,
        diner_limit: u32::MAX,
        no_show_percent: 100,
        offers: dishes.iter().map(|dish| NewOffer { dish: *dish, portions: PORTIONS, price: None }).collect(),
    };
    let request = load.request("publishServing", &new);
    load.commands.publish_serving(request, new).await.map_err(|failure| anyhow!("{failure}"))?;
    Ok(Published { canteen, serving: ServingId(request.id), dishes })
}
