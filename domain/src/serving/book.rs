//! A published serving: what it offers, who has reserved what of it, and what it has still to give.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::{ALL_OF_IT, Error, MAX_OFFERS, MAX_PORTIONS, Meal, Offer, Plan, Portions, PriceChange, Shortage};
use crate::{
    CanteenId, ChangeId, Currency, DinerId, DishId, Money, OrderId, Timestamp,
    menu::{self, Dish, OptionGroup},
    order::{self, Line, Selection},
};

/// An offer and what is taken of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sale {
    pub spec: Dish,
    pub portions: u32,
    pub reserved: u32,
    pub withdrawn: bool,
}

impl Sale {
    pub fn left(&self) -> u32 {
        if self.withdrawn { 0 } else { self.portions.saturating_sub(self.reserved) }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reservation {
    pub(super) diner: DinerId,
    pub(super) portions: Vec<Portions>,
}

/// What an order has of a serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    Nothing,
    Holds,
    GaveBack,
}

/// A published serving.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Book {
    pub canteen: CanteenId,
    pub date: jiff::civil::Date,
    pub meal: Meal,
    pub currency: Currency,
    pub opens_at: Timestamp,
    pub cut_off: Timestamp,
    pub lock_at: Timestamp,
    pub diner_limit: u32,
    pub no_show_percent: u8,
    pub offers: BTreeMap<DishId, Sale>,
    pub withdrawn: bool,
    /// Withdrawals whose orders are still being dealt with; none is that of everything.
    pub(super) unsettled: BTreeSet<Option<DishId>>,
    /// Of the plan as it was published, to know a repeat by when prices and portions have moved.
    pub(super) plan_digest: String,
    pub(super) reservations: FxHashMap<OrderId, Reservation>,
    pub(super) released: FxHashSet<OrderId>,
    /// The changes of each order, and whether it was narrowed after them: at most as many as an order has.
    pub(super) changed: FxHashMap<OrderId, BTreeMap<ChangeId, bool>>,
    held_by_diner: FxHashMap<DinerId, u32>,
}

impl Book {
    /// What a diner's choice is called and costs here and now.
    pub fn line(&self, dish: DishId, quantity: u32, options: Vec<Selection>) -> Result<Line, Error> {
        let sale = self.offers.get(&dish).ok_or(Error::UnknownDish { dish })?;
        let unit_price = price_with(dish, &sale.spec, &options)?;
        Ok(Line { dish, name: sale.spec.name.clone(), quantity, unit_price, options, tax: sale.spec.tax })
    }

    /// Whether these lines could be reserved now: the decision itself, and the door's look ahead.
    pub fn check(
        &self,
        diner: DinerId,
        lines: &[Line],
        placed_at: Timestamp,
        channel: order::Channel,
    ) -> Result<Vec<Portions>, Error> {
        self.is_open(placed_at, channel)?;
        self.prices_hold(lines, channel)?;
        let portions = portions_of(lines);
        self.has_left(&portions)?;
        let asked = sum(&portions);
        let held = self.held_by_diner.get(&diner).copied().unwrap_or(0);
        if channel.keeps_limits() && held.saturating_add(asked) > self.diner_limit {
            return Err(Error::DinerLimit { limit: self.diner_limit, held, asked });
        }
        Ok(portions)
    }

    /// Whether these lines have the offers' prices, where the channel keeps them.
    pub(super) fn prices_hold(&self, lines: &[Line], channel: order::Channel) -> Result<(), Error> {
        let mut changes = Vec::new();
        for line in lines {
            let sale = self.offers.get(&line.dish).ok_or(Error::UnknownDish { dish: line.dish })?;
            let now = price_with(line.dish, &sale.spec, &line.options)?;
            if now != line.unit_price && channel.keeps_prices() {
                changes.push(PriceChange { dish: line.dish, was: line.unit_price, now });
            }
            let (expected, found) = (now.currency, line.unit_price.currency);
            if expected != found && !channel.keeps_prices() {
                return Err(menu::Error::WrongCurrency { name: sale.spec.name.clone(), expected, found }.into());
            }
        }
        if !changes.is_empty() {
            return Err(Error::PriceChanged(changes));
        }
        Ok(())
    }

    /// Whether `order` was narrowed after that change; none if the change is not known here.
    pub(super) fn narrowed(&self, order: OrderId, change: ChangeId) -> Option<bool> {
        self.changed.get(&order)?.get(&change).copied()
    }

    fn is_open(&self, at: Timestamp, channel: order::Channel) -> Result<(), Error> {
        if self.withdrawn {
            return Err(Error::Withdrawn);
        }
        if channel.keeps_window() {
            if at < self.opens_at {
                return Err(Error::NotYetOpen { at: self.opens_at });
            }
            if at >= self.cut_off {
                return Err(Error::Closed { at: self.cut_off });
            }
        }
        Ok(())
    }

    fn has_left(&self, portions: &[Portions]) -> Result<(), Error> {
        let short: Vec<Shortage> = portions
            .iter()
            .filter_map(|asked| {
                let left = self.offers.get(&asked.dish).map_or(0, Sale::left);
                (asked.quantity > left).then_some(Shortage { dish: asked.dish, asked: asked.quantity, left })
            })
            .collect();
        if short.is_empty() { Ok(()) } else { Err(Error::SoldOut(short)) }
    }

    /// What `lines` need beyond what `order` holds. To hold less is possible after the cut-off too.
    pub fn widening(
        &self,
        order: OrderId,
        lines: &[Line],
        at: Timestamp,
        channel: order::Channel,
    ) -> Result<Vec<Portions>, Error> {
        let held = self.reservations.get(&order).ok_or(Error::Withdrawn)?;
        let wanted = portions_of(lines);
        let more = beyond(&wanted, &held.portions);
        if more.is_empty() {
            return Ok(more);
        }
        self.is_open(at, channel)?;
        self.has_left(&more)?;
        let (before, after) = (sum(&held.portions), sum(&wanted));
        let others = self.held_by_diner.get(&held.diner).copied().unwrap_or(0).saturating_sub(before);
        if channel.keeps_limits() && after > before && others.saturating_add(after) > self.diner_limit {
            let (limit, held, asked) = (self.diner_limit, others.saturating_add(before), after - before);
            return Err(Error::DinerLimit { limit, held, asked });
        }
        Ok(more)
    }

    pub(super) fn narrowing(&self, order: OrderId, lines: &[Line]) -> Vec<Portions> {
        self.reservations.get(&order).map(|held| beyond(&held.portions, &portions_of(lines))).unwrap_or_default()
    }

    pub fn has_reserved(&self, order: OrderId) -> bool {
        self.reservation_of(order) == Reserved::Holds
    }

    /// What became of an order here.
    pub fn reservation_of(&self, order: OrderId) -> Reserved {
        match (self.reservations.contains_key(&order), self.released.contains(&order)) {
            (true, _) => Reserved::Holds,
            (false, true) => Reserved::GaveBack,
            (false, false) => Reserved::Nothing,
        }
    }

    /// Orders whose reservation includes `dish`, or all, in the order of their ids.
    pub(super) fn orders_with(&self, dish: Option<DishId>) -> Vec<OrderId> {
        let holds = |reservation: &Reservation| {
            dish.is_none_or(|dish| reservation.portions.iter().any(|portion| portion.dish == dish))
        };
        let mut orders: Vec<OrderId> =
            self.reservations.iter().filter(|(_, reservation)| holds(reservation)).map(|(order, _)| *order).collect();
        orders.sort_unstable();
        orders
    }

    pub(super) fn take(&mut self, portions: &[Portions], diner: DinerId) {
        for portion in portions {
            if let Some(sale) = self.offers.get_mut(&portion.dish) {
                sale.reserved = sale.reserved.saturating_add(portion.quantity);
            }
            let held = self.held_by_diner.entry(diner).or_default();
            *held = held.saturating_add(portion.quantity);
        }
    }

    pub(super) fn give_back(&mut self, portions: &[Portions], diner: DinerId) {
        for portion in portions {
            if let Some(sale) = self.offers.get_mut(&portion.dish) {
                sale.reserved = sale.reserved.saturating_sub(portion.quantity);
            }
            if let Some(held) = self.held_by_diner.get_mut(&diner) {
                *held = held.saturating_sub(portion.quantity);
                if *held == 0 {
                    self.held_by_diner.remove(&diner);
                }
            }
        }
    }

    pub(super) fn widen(&mut self, order: OrderId, more: &[Portions]) {
        let Some(held) = self.reservations.get_mut(&order) else { return };
        for portion in more {
            match held.portions.iter_mut().find(|known| known.dish == portion.dish) {
                Some(known) => known.quantity = known.quantity.saturating_add(portion.quantity),
                None => held.portions.push(*portion),
            }
        }
        held.portions.sort_unstable_by_key(|portion| portion.dish);
        let diner = held.diner;
        self.take(more, diner);
    }

    pub(super) fn narrow(&mut self, order: OrderId, less: &[Portions]) {
        let Some(held) = self.reservations.get_mut(&order) else { return };
        held.portions = beyond(&held.portions, less);
        let diner = held.diner;
        self.give_back(less, diner);
    }

    pub(super) fn give_up_dish(&mut self, dish: DishId, orders: &[OrderId]) {
        for order in orders {
            let Some(mut reservation) = self.reservations.remove(order) else { continue };
            let (gone, kept): (Vec<_>, Vec<_>) = reservation.portions.iter().partition(|portion| portion.dish == dish);
            self.give_back(&gone, reservation.diner);
            if !kept.is_empty() {
                reservation.portions = kept;
                self.reservations.insert(*order, reservation);
            }
        }
    }
}

/// How many portions of each dish `lines` ask for together, in the order of the dishes' ids.
pub fn portions_of(lines: &[Line]) -> Vec<Portions> {
    let mut by_dish: BTreeMap<DishId, u32> = BTreeMap::new();
    for line in lines {
        let sum = by_dish.entry(line.dish).or_default();
        *sum = sum.saturating_add(line.quantity);
    }
    by_dish.into_iter().map(|(dish, quantity)| Portions { dish, quantity }).collect()
}

fn sum(portions: &[Portions]) -> u32 {
    portions.iter().fold(0_u32, |sum, portion| sum.saturating_add(portion.quantity))
}

/// What `some` has of each dish beyond `others`.
fn beyond(some: &[Portions], others: &[Portions]) -> Vec<Portions> {
    let of = |dish| others.iter().find(|other| other.dish == dish).map_or(0, |other| other.quantity);
    let more = some.iter().map(|one| Portions { quantity: one.quantity.saturating_sub(of(one.dish)), ..*one });
    more.filter(|one| one.quantity > 0).collect()
}

fn price_with(dish: DishId, spec: &Dish, chosen: &[Selection]) -> Result<Money, Error> {
    let bad = |why: String| Error::BadOptions { dish, why };
    let mut price = spec.price;
    for selection in chosen {
        let group =
            find_group(&spec.options, selection).ok_or_else(|| bad(format!("no group {:?}", selection.group)))?;
        let choice = group.choices.iter().find(|choice| choice.name == selection.choice);
        let choice = choice.ok_or_else(|| bad(format!("{:?} has no choice {:?}", group.name, selection.choice)))?;
        price = price.plus(choice.price).map_err(|error| bad(error.to_string()))?;
    }
    for group in &spec.options {
        let made = chosen.iter().filter(|selection| selection.group == group.name);
        let count = made.clone().count();
        if count < usize::from(group.min) || count > usize::from(group.max) {
            return Err(bad(format!("{:?} takes {} to {} choices, not {count}", group.name, group.min, group.max)));
        }
        let twice = made.clone().enumerate().any(|(index, one)| made.clone().take(index).any(|other| other == one));
        if twice {
            return Err(bad(format!("{:?} has the same choice twice", group.name)));
        }
    }
    Ok(price)
}

fn find_group<'a>(groups: &'a [OptionGroup], selection: &Selection) -> Option<&'a OptionGroup> {
    groups.iter().find(|group| group.name == selection.group)
}

pub(super) fn digest(plan: &Plan) -> String {
    // A plan is plain data, so it always has a JSON text.
    blake3::hash(&serde_json::to_vec(plan).unwrap_or_default()).to_hex().to_string()
}

pub(super) fn check_plan(plan: &Plan) -> Result<(), Error> {
    let bad = |why: &str| Err(Error::BadPlan(why.to_owned()));
    if plan.offers.is_empty() || plan.offers.len() > MAX_OFFERS {
        return Err(Error::BadPlan(format!("a serving has 1 to {MAX_OFFERS} offers")));
    }
    if plan.opens_at >= plan.cut_off {
        return bad("ordering must open before the cut-off");
    }
    if plan.lock_at < plan.cut_off {
        return bad("the kitchen cannot lock before the cut-off");
    }
    if plan.no_show_percent > ALL_OF_IT {
        return bad("a no-show is charged 0 to 100 percent");
    }
    if plan.diner_limit == 0 {
        return bad("a diner must be allowed at least one portion");
    }
    for (index, offer) in plan.offers.iter().enumerate() {
        offer.spec.check(plan.currency)?;
        if offer.portions > MAX_PORTIONS {
            return Err(Error::BadPlan(format!("an offer has at most {MAX_PORTIONS} portions")));
        }
        if plan.offers[..index].iter().any(|other| other.dish == offer.dish) {
            return bad("a dish is offered once in a serving");
        }
    }
    Ok(())
}

impl From<&Plan> for Book {
    fn from(plan: &Plan) -> Self {
        let sale = |offer: &Offer| {
            let sale = Sale { spec: offer.spec.clone(), portions: offer.portions, reserved: 0, withdrawn: false };
            (offer.dish, sale)
        };
        Book {
            canteen: plan.canteen,
            date: plan.date,
            meal: plan.meal,
            currency: plan.currency,
            opens_at: plan.opens_at,
            cut_off: plan.cut_off,
            lock_at: plan.lock_at,
            diner_limit: plan.diner_limit,
            no_show_percent: plan.no_show_percent,
            offers: plan.offers.iter().map(sale).collect(),
            withdrawn: false,
            unsettled: BTreeSet::new(),
            plan_digest: digest(plan),
            reservations: FxHashMap::default(),
            released: FxHashSet::default(),
            changed: FxHashMap::default(),
            held_by_diner: FxHashMap::default(),
        }
    }
}
