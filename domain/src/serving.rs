//! One meal of one day at one canteen: offers with portions, a window and a cut-off.
//! It reserves all of an order's lines or none, and never more portions than there are.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::{FxHashMap, FxHashSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Aggregate, CanteenId, Currency, DinerId, DishId, Money, OrderId, ServingId, StreamKind, Timestamp,
    menu::{self, Dish, OptionGroup},
    order::{self, Line, Selection},
};

/// Most offers of one serving.
pub const MAX_OFFERS: usize = 500;
/// Most portions of one offer.
pub const MAX_PORTIONS: u32 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Meal {
    Breakfast,
    Lunch,
    Dinner,
    Snack,
}

impl Meal {
    pub const ALL: [Meal; 4] = [Meal::Breakfast, Meal::Lunch, Meal::Dinner, Meal::Snack];

    pub fn name(self) -> &'static str {
        match self {
            Meal::Breakfast => "breakfast",
            Meal::Lunch => "lunch",
            Meal::Dinner => "dinner",
            Meal::Snack => "snack",
        }
    }
}

/// A dish as this serving sells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    pub dish: DishId,
    #[serde(flatten)]
    pub spec: Dish,
    pub portions: u32,
}

/// What a serving is published with. Times are instants: the canteen's local times were resolved
/// when it was published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    pub canteen: CanteenId,
    #[schemars(with = "String")]
    pub date: jiff::civil::Date,
    pub meal: Meal,
    pub currency: Currency,
    /// Orders are taken from `opens_at` up to, not including, `cut_off`.
    pub opens_at: Timestamp,
    pub cut_off: Timestamp,
    /// When the kitchen starts and nothing can be cancelled by a diner; at or after the cut-off.
    pub lock_at: Timestamp,
    /// Most portions that one diner may hold of this serving.
    pub diner_limit: u32,
    pub offers: Vec<Offer>,
}

/// So many portions of a dish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Portions {
    pub dish: DishId,
    pub quantity: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Publish(Plan),
    /// Reserves every line or none, at the time when the order was placed.
    Reserve {
        order: OrderId,
        diner: DinerId,
        lines: Vec<Line>,
        placed_at: Timestamp,
        channel: order::Channel,
    },
    /// Gives back what `order` holds. One that comes first refuses the late reservation.
    Release {
        order: OrderId,
    },
    SetPortions {
        dish: DishId,
        portions: u32,
    },
    SetPrice {
        dish: DishId,
        price: Money,
    },
    /// Stops the sale of a dish; its reservations are given up and their orders refunded.
    WithdrawDish {
        dish: DishId,
    },
    /// Stops the sale of everything.
    Withdraw,
    /// Every order that a withdrawal affected has been dealt with.
    SettleWithdrawal {
        dish: Option<DishId>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Published(Plan),
    Reserved {
        order: OrderId,
        diner: DinerId,
        portions: Vec<Portions>,
    },
    /// `portions` is empty when nothing was reserved.
    Released {
        order: OrderId,
        portions: Vec<Portions>,
    },
    PortionsSet {
        dish: DishId,
        portions: u32,
    },
    PriceSet {
        dish: DishId,
        price: Money,
    },
    /// `orders` are those that had reserved it.
    DishWithdrawn {
        dish: DishId,
        orders: Vec<OrderId>,
    },
    Withdrawn {
        orders: Vec<OrderId>,
    },
    /// The orders of that withdrawal (of a dish, or of everything) have been dealt with.
    WithdrawalSettled {
        dish: Option<DishId>,
    },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[
        ("Published", 1),
        ("Reserved", 1),
        ("Released", 1),
        ("PortionsSet", 1),
        ("PriceSet", 1),
        ("DishWithdrawn", 1),
        ("Withdrawn", 1),
        ("WithdrawalSettled", 1),
    ];

    fn name(&self) -> &'static str {
        match self {
            Event::Published(_) => "Published",
            Event::Reserved { .. } => "Reserved",
            Event::Released { .. } => "Released",
            Event::PortionsSet { .. } => "PortionsSet",
            Event::PriceSet { .. } => "PriceSet",
            Event::DishWithdrawn { .. } => "DishWithdrawn",
            Event::Withdrawn { .. } => "Withdrawn",
            Event::WithdrawalSettled { .. } => "WithdrawalSettled",
        }
    }
}

/// A dish of which less is left than was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shortage {
    pub dish: DishId,
    pub asked: u32,
    pub left: u32,
}

/// A dish whose price is not the one the order was made up with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PriceChange {
    pub dish: DishId,
    pub was: Money,
    pub now: Money,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no such serving")]
    NotPublished,
    #[error("this serving is published already, with other content")]
    AlreadyPublished,
    #[error("this serving is withdrawn")]
    Withdrawn,
    #[error("ordering opens at {at}")]
    NotYetOpen { at: Timestamp },
    #[error("ordering closed at {at}")]
    Closed { at: Timestamp },
    #[error("sold out: {}", list(.0, |s| format!("{} (asked {}, left {})", s.dish, s.asked, s.left)))]
    SoldOut(Vec<Shortage>),
    #[error("the price has changed: {}", list(.0, |c| format!("{} from {} to {}", c.dish, c.was, c.now)))]
    PriceChanged(Vec<PriceChange>),
    #[error("one diner may hold {limit} portions of this serving; {held} are held and {asked} more were asked")]
    DinerLimit { limit: u32, held: u32, asked: u32 },
    #[error("this serving does not offer the dish {dish}")]
    UnknownDish { dish: DishId },
    #[error("the options chosen for {dish} are not on offer: {why}")]
    BadOptions { dish: DishId, why: String },
    #[error("the order was given up before it was reserved")]
    ReleasedAlready,
    #[error("{reserved} portions of {dish} are reserved; it cannot have fewer")]
    BelowReserved { dish: DishId, reserved: u32 },
    #[error("{0}")]
    BadPlan(String),
    #[error(transparent)]
    BadDish(#[from] menu::Error),
}

fn list<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(", ")
}

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
struct Reservation {
    diner: DinerId,
    portions: Vec<Portions>,
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
    pub offers: BTreeMap<DishId, Sale>,
    pub withdrawn: bool,
    /// Withdrawals whose orders are still being dealt with; none is that of everything.
    unsettled: BTreeSet<Option<DishId>>,
    /// Of the plan as it was published, to know a repeat by when prices and portions have moved.
    plan_digest: String,
    reservations: FxHashMap<OrderId, Reservation>,
    released: FxHashSet<OrderId>,
    held_by_diner: FxHashMap<DinerId, u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Serving {
    #[default]
    New,
    Published(Box<Book>),
}

impl Serving {
    pub fn book(&self) -> Result<&Book, Error> {
        match self {
            Serving::New => Err(Error::NotPublished),
            Serving::Published(book) => Ok(book),
        }
    }
}

impl Book {
    /// What a diner's choice is called and costs here and now.
    pub fn line(&self, dish: DishId, quantity: u32, options: Vec<Selection>) -> Result<Line, Error> {
        let sale = self.offers.get(&dish).ok_or(Error::UnknownDish { dish })?;
        let unit_price = price_with(dish, &sale.spec, &options)?;
        Ok(Line { dish, name: sale.spec.name.clone(), quantity, unit_price, options })
    }

    /// Whether these lines could be reserved now: the decision itself, and the door's look ahead.
    pub fn check(
        &self,
        diner: DinerId,
        lines: &[Line],
        placed_at: Timestamp,
        channel: order::Channel,
    ) -> Result<Vec<Portions>, Error> {
        if self.withdrawn {
            return Err(Error::Withdrawn);
        }
        if channel.keeps_window() {
            if placed_at < self.opens_at {
                return Err(Error::NotYetOpen { at: self.opens_at });
            }
            if placed_at >= self.cut_off {
                return Err(Error::Closed { at: self.cut_off });
            }
        }
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
        let portions = portions_of(lines);
        let short: Vec<Shortage> = portions
            .iter()
            .filter_map(|asked| {
                let left = self.offers.get(&asked.dish).map_or(0, Sale::left);
                (asked.quantity > left).then_some(Shortage { dish: asked.dish, asked: asked.quantity, left })
            })
            .collect();
        if !short.is_empty() {
            return Err(Error::SoldOut(short));
        }
        let asked = portions.iter().fold(0_u32, |sum, portion| sum.saturating_add(portion.quantity));
        let held = self.held_by_diner.get(&diner).copied().unwrap_or(0);
        if channel.keeps_limits() && held.saturating_add(asked) > self.diner_limit {
            return Err(Error::DinerLimit { limit: self.diner_limit, held, asked });
        }
        Ok(portions)
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
    fn orders_with(&self, dish: Option<DishId>) -> Vec<OrderId> {
        let holds = |reservation: &Reservation| {
            dish.is_none_or(|dish| reservation.portions.iter().any(|portion| portion.dish == dish))
        };
        let mut orders: Vec<OrderId> =
            self.reservations.iter().filter(|(_, reservation)| holds(reservation)).map(|(order, _)| *order).collect();
        orders.sort_unstable();
        orders
    }

    fn take(&mut self, portions: &[Portions], diner: DinerId) {
        for portion in portions {
            if let Some(sale) = self.offers.get_mut(&portion.dish) {
                sale.reserved = sale.reserved.saturating_add(portion.quantity);
            }
            let held = self.held_by_diner.entry(diner).or_default();
            *held = held.saturating_add(portion.quantity);
        }
    }

    fn give_back(&mut self, portions: &[Portions], diner: DinerId) {
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

    fn give_up_dish(&mut self, dish: DishId, orders: &[OrderId]) {
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

fn digest(plan: &Plan) -> String {
    // A plan is plain data, so it always has a JSON text.
    blake3::hash(&serde_json::to_vec(plan).unwrap_or_default()).to_hex().to_string()
}

fn check_plan(plan: &Plan) -> Result<(), Error> {
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

impl Aggregate for Serving {
    const NAME: &'static str = "serving";
    const STATE_VERSION: u32 = 1;
    type Id = ServingId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: ServingId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Serving, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        let book = match (self, command) {
            (Serving::New, Command::Publish(plan)) => {
                check_plan(&plan)?;
                return Ok(vec![Event::Published(plan)]);
            }
            (_, command) => (self.book()?, command),
        };
        match book {
            (book, Command::Publish(plan)) if digest(&plan) == book.plan_digest => Ok(vec![]),
            (_, Command::Publish(_)) => Err(Error::AlreadyPublished),
            (book, Command::Reserve { order, diner, lines, placed_at, channel }) => {
                if book.reservations.contains_key(&order) {
                    return Ok(vec![]);
                }
                if book.released.contains(&order) {
                    return Err(Error::ReleasedAlready);
                }
                let portions = book.check(diner, &lines, placed_at, channel)?;
                Ok(vec![Event::Reserved { order, diner, portions }])
            }
            (book, Command::Release { order }) => {
                if book.released.contains(&order) {
                    return Ok(vec![]);
                }
                let portions = book.reservations.get(&order).map(|held| held.portions.clone()).unwrap_or_default();
                Ok(vec![Event::Released { order, portions }])
            }
            (book, Command::SetPortions { dish, portions }) => {
                let sale = book.offers.get(&dish).ok_or(Error::UnknownDish { dish })?;
                if portions > MAX_PORTIONS {
                    return Err(Error::BadPlan(format!("an offer has at most {MAX_PORTIONS} portions")));
                }
                if portions < sale.reserved {
                    return Err(Error::BelowReserved { dish, reserved: sale.reserved });
                }
                if portions == sale.portions { Ok(vec![]) } else { Ok(vec![Event::PortionsSet { dish, portions }]) }
            }
            (book, Command::SetPrice { dish, price }) => {
                let sale = book.offers.get(&dish).ok_or(Error::UnknownDish { dish })?;
                Dish { price, ..sale.spec.clone() }.check(book.currency)?;
                if price == sale.spec.price { Ok(vec![]) } else { Ok(vec![Event::PriceSet { dish, price }]) }
            }
            (book, Command::WithdrawDish { dish }) => {
                let sale = book.offers.get(&dish).ok_or(Error::UnknownDish { dish })?;
                if sale.withdrawn || book.withdrawn {
                    return Ok(vec![]);
                }
                Ok(vec![Event::DishWithdrawn { dish, orders: book.orders_with(Some(dish)) }])
            }
            (book, Command::Withdraw) if book.withdrawn => Ok(vec![]),
            (book, Command::Withdraw) => Ok(vec![Event::Withdrawn { orders: book.orders_with(None) }]),
            (book, Command::SettleWithdrawal { dish }) => {
                let open = book.unsettled.contains(&dish);
                Ok(open.then_some(Event::WithdrawalSettled { dish }).into_iter().collect())
            }
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        let book = match (self, event) {
            (serving, Event::Published(plan)) => {
                *serving = Serving::Published(Box::new(Book::from(plan)));
                return;
            }
            (Serving::New, _) => return,
            (Serving::Published(book), _) => book,
        };
        match event {
            Event::Published(_) => {}
            Event::Reserved { order, diner, portions } => {
                book.take(portions, *diner);
                book.reservations.insert(*order, Reservation { diner: *diner, portions: portions.clone() });
            }
            Event::Released { order, .. } => {
                if let Some(held) = book.reservations.remove(order) {
                    book.give_back(&held.portions, held.diner);
                }
                book.released.insert(*order);
            }
            Event::PortionsSet { dish, portions } => {
                if let Some(sale) = book.offers.get_mut(dish) {
                    sale.portions = *portions;
                }
            }
            Event::PriceSet { dish, price } => {
                if let Some(sale) = book.offers.get_mut(dish) {
                    sale.spec.price = *price;
                }
            }
            Event::DishWithdrawn { dish, orders } => {
                book.give_up_dish(*dish, orders);
                if let Some(sale) = book.offers.get_mut(dish) {
                    sale.withdrawn = true;
                }
                book.unsettled.insert(Some(*dish));
            }
            Event::Withdrawn { orders } => {
                for order in orders {
                    if let Some(held) = book.reservations.remove(order) {
                        book.give_back(&held.portions, held.diner);
                    }
                }
                book.withdrawn = true;
                book.unsettled.insert(None);
            }
            Event::WithdrawalSettled { dish } => {
                book.unsettled.remove(dish);
            }
        }
    }
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
            offers: plan.offers.iter().map(sale).collect(),
            withdrawn: false,
            unsettled: BTreeSet::new(),
            plan_digest: digest(plan),
            reservations: FxHashMap::default(),
            released: FxHashSet::default(),
            held_by_diner: FxHashMap::default(),
        }
    }
}

#[cfg(test)]
#[path = "serving_tests.rs"]
mod tests;
