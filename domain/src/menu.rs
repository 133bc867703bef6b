//! What a canteen can cook: its dishes, with options and prices.

use std::collections::{BTreeMap, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, CanteenId, Currency, DishId, Money, StreamKind, Timestamp};

/// Longest name of a canteen, dish, category, option or choice, in characters.
pub const MAX_NAME: usize = 120;
/// Most dishes that one canteen keeps.
pub const MAX_DISHES: usize = 5_000;
/// Most option groups of one dish, and most choices of one group.
pub const MAX_OPTIONS: usize = 20;
/// How many retired dishes a menu remembers, so that retiring one again is no error.
pub const MAX_RETIRED: usize = 1_000;

/// One thing a diner may choose within an option group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    pub name: String,
    /// What it adds to the dish's price; never negative.
    pub price: Money,
}

/// A question asked of everyone who orders the dish.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OptionGroup {
    pub name: String,
    /// Fewest and most choices to be made.
    pub min: u8,
    pub max: u8,
    pub choices: Vec<Choice>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dish {
    pub name: String,
    pub category: String,
    /// Of one portion without options; never negative.
    pub price: Money,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<OptionGroup>,
}

impl Dish {
    /// Checks names, bounds and that every price is in `currency`.
    pub fn check(&self, currency: Currency) -> Result<(), Error> {
        check_name("dish", &self.name)?;
        check_name("category", &self.category)?;
        check_price(&self.name, self.price, currency)?;
        if self.options.len() > MAX_OPTIONS {
            return Err(Error::TooMany { what: "option groups".into(), most: MAX_OPTIONS });
        }
        for group in &self.options {
            check_name("option group", &group.name)?;
            if group.choices.len() > MAX_OPTIONS {
                return Err(Error::TooMany { what: "choices".into(), most: MAX_OPTIONS });
            }
            if group.min > group.max || usize::from(group.max) > group.choices.len() {
                return Err(Error::ImpossibleChoice { group: group.name.clone() });
            }
            for (index, choice) in group.choices.iter().enumerate() {
                check_name("choice", &choice.name)?;
                check_price(&choice.name, choice.price, currency)?;
                if group.choices[..index].iter().any(|other| other.name == choice.name) {
                    return Err(Error::ImpossibleChoice { group: group.name.clone() });
                }
            }
        }
        let repeated =
            |(index, group): (usize, &OptionGroup)| self.options[..index].iter().any(|o| o.name == group.name);
        if self.options.iter().enumerate().any(repeated) {
            return Err(Error::ImpossibleChoice { group: self.name.clone() });
        }
        Ok(())
    }
}

fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Error::BadName { what: what.to_owned() });
    }
    Ok(())
}

fn check_price(name: &str, price: Money, currency: Currency) -> Result<(), Error> {
    if price.currency != currency {
        return Err(Error::WrongCurrency { name: name.to_owned(), expected: currency, found: price.currency });
    }
    if price.minor < 0 || price.minor > MAX_PRICE_MINOR {
        return Err(Error::BadPrice { name: name.to_owned() });
    }
    Ok(())
}

/// Highest price of one portion or option, in minor units.
pub const MAX_PRICE_MINOR: i64 = 1_000_000_000;

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Opens the canteen's dish store. `zone` is an IANA time zone that the caller has looked up.
    Open { name: String, zone: String, currency: Currency },
    /// Adds a dish, or changes it from the next serving on.
    PutDish { dish: DishId, spec: Dish },
    /// Takes a dish off the menu. Servings already published keep it.
    RetireDish { dish: DishId },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Opened { name: String, zone: String, currency: Currency },
    DishPut { dish: DishId, spec: Dish },
    DishRetired { dish: DishId },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[("Opened", 1), ("DishPut", 1), ("DishRetired", 1)];

    fn name(&self) -> &'static str {
        match self {
            Event::Opened { .. } => "Opened",
            Event::DishPut { .. } => "DishPut",
            Event::DishRetired { .. } => "DishRetired",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("this canteen has not been opened yet")]
    NotOpen,
    #[error("this canteen is already open under other terms; they cannot be changed")]
    AlreadyOpen,
    #[error("a {what} needs a name of 1 to {MAX_NAME} printable characters")]
    BadName { what: String },
    #[error("the price of {name} must be between zero and {MAX_PRICE_MINOR} minor units")]
    BadPrice { name: String },
    #[error("the price of {name} is in {found}, but this canteen sells in {expected}")]
    WrongCurrency { name: String, expected: Currency, found: Currency },
    #[error("the choices of {group} cannot be made: check min, max and repeated names")]
    ImpossibleChoice { group: String },
    #[error("at most {most} {what}")]
    TooMany { what: String, most: usize },
    #[error("this canteen has no dish {dish}")]
    UnknownDish { dish: DishId },
}

/// A canteen's dish store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Menu {
    #[default]
    New,
    Open {
        name: String,
        zone: String,
        currency: Currency,
        dishes: BTreeMap<DishId, Dish>,
        /// The dishes retired last, oldest first.
        retired: VecDeque<DishId>,
    },
}

impl Menu {
    pub fn dish(&self, dish: DishId) -> Option<&Dish> {
        match self {
            Menu::New => None,
            Menu::Open { dishes, .. } => dishes.get(&dish),
        }
    }
}

impl Aggregate for Menu {
    const NAME: &'static str = "menu";
    const STATE_VERSION: u32 = 1;
    type Id = CanteenId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: CanteenId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Menu, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Menu::New, Command::Open { name, zone, currency }) => {
                check_name("canteen", &name)?;
                Ok(vec![Event::Opened { name, zone, currency }])
            }
            (Menu::Open { name, zone, currency, .. }, Command::Open { name: n, zone: z, currency: c }) => {
                if (name, zone, currency) == (&n, &z, &c) { Ok(vec![]) } else { Err(Error::AlreadyOpen) }
            }
            (Menu::New, _) => Err(Error::NotOpen),
            (Menu::Open { currency, dishes, .. }, Command::PutDish { dish, spec }) => {
                spec.check(*currency)?;
                match dishes.get(&dish) {
                    Some(known) if *known == spec => Ok(vec![]),
                    None if dishes.len() >= MAX_DISHES => {
                        Err(Error::TooMany { what: "dishes".into(), most: MAX_DISHES })
                    }
                    _ => Ok(vec![Event::DishPut { dish, spec }]),
                }
            }
            (Menu::Open { dishes, retired, .. }, Command::RetireDish { dish }) => {
                if dishes.contains_key(&dish) {
                    Ok(vec![Event::DishRetired { dish }])
                } else if retired.contains(&dish) {
                    Ok(vec![])
                } else {
                    Err(Error::UnknownDish { dish })
                }
            }
        }
    }

    fn evolve(&mut self, event: &Event, _at: Timestamp) {
        match (self, event) {
            (menu, Event::Opened { name, zone, currency }) => {
                *menu = Menu::Open {
                    name: name.clone(),
                    zone: zone.clone(),
                    currency: *currency,
                    dishes: BTreeMap::new(),
                    retired: VecDeque::new(),
                };
            }
            (Menu::Open { dishes, retired, .. }, Event::DishPut { dish, spec }) => {
                dishes.insert(*dish, spec.clone());
                retired.retain(|gone| gone != dish);
            }
            (Menu::Open { dishes, retired, .. }, Event::DishRetired { dish }) => {
                dishes.remove(dish);
                retired.push_back(*dish);
                if retired.len() > MAX_RETIRED {
                    retired.pop_front();
                }
            }
            (Menu::New, Event::DishPut { .. } | Event::DishRetired { .. }) => {}
        }
    }
}
