//! One meal of one day at one canteen: offers with portions, a window and a cut-off.
//! It reserves all of an order's lines or none, and never more portions than there are.

mod book;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Aggregate, CanteenId, ChangeId, Currency, DinerId, DishId, Money, OrderId, ServingId, StreamKind, Timestamp,
    menu::{self, Dish},
    order::{self, Line},
};

pub use self::book::{Book, Reserved, Sale, portions_of};
use self::book::{Reservation, check_plan, digest};

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
    /// What a no-show is charged, in percent of what was paid.
    #[serde(default = "all_of_it", skip_serializing_if = "is_all_of_it")]
    pub no_show_percent: u8,
    pub offers: Vec<Offer>,
}

/// What a no-show is charged where nothing else is said, in percent.
pub const ALL_OF_IT: u8 = 100;

pub(crate) fn all_of_it() -> u8 {
    ALL_OF_IT
}

/// For serde, which passes by reference.
pub(crate) fn is_all_of_it(percent: &u8) -> bool {
    *percent == ALL_OF_IT
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
    /// Reserves what `lines` need beyond what `order` holds, all of it or nothing; `at` is when that was asked.
    Widen {
        order: OrderId,
        change: ChangeId,
        lines: Vec<Line>,
        /// Those of them, and as many of each, that are ordered at today's prices.
        fresh: Vec<Line>,
        at: Timestamp,
        channel: order::Channel,
    },
    /// Gives back what `order` holds beyond what `lines` need.
    Narrow {
        order: OrderId,
        change: ChangeId,
        lines: Vec<Line>,
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
    /// `portions` is what the order holds more than before.
    Widened {
        order: OrderId,
        change: ChangeId,
        portions: Vec<Portions>,
    },
    /// `portions` is what the order holds less than before.
    Narrowed {
        order: OrderId,
        change: ChangeId,
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
        ("Published", 2),
        ("Reserved", 1),
        ("Released", 1),
        ("Widened", 1),
        ("Narrowed", 1),
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
            Event::Widened { .. } => "Widened",
            Event::Narrowed { .. } => "Narrowed",
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

impl Aggregate for Serving {
    const NAME: &'static str = "serving";
    const STATE_VERSION: u32 = 5;
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
            (book, Command::Widen { order, change, lines, fresh, at, channel }) => {
                if book.narrowed(order, change).is_some() {
                    return Ok(vec![]);
                }
                book.prices_hold(&fresh, channel)?;
                let portions = book.widening(order, &lines, at, channel)?;
                Ok(vec![Event::Widened { order, change, portions }])
            }
            (book, Command::Narrow { order, change, lines }) => {
                if book.narrowed(order, change) == Some(true) {
                    return Ok(vec![]);
                }
                Ok(vec![Event::Narrowed { order, change, portions: book.narrowing(order, &lines) }])
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
            Event::Widened { order, change, portions } => {
                book.widen(*order, portions);
                book.changed.entry(*order).or_default().insert(*change, false);
            }
            Event::Narrowed { order, change, portions } => {
                book.narrow(*order, portions);
                book.changed.entry(*order).or_default().insert(*change, true);
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

#[cfg(test)]
#[path = "serving_tests.rs"]
mod tests;
