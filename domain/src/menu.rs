//! What a canteen can cook: its dishes, with options and prices.

use std::collections::{BTreeMap, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Aggregate, CanteenId, Currency, DishId, Money, StreamKind, Timestamp, tax::TaxRate};

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
    /// That the price and those of its options include.
    #[serde(default, skip_serializing_if = "TaxRate::is_zero")]
    pub tax: TaxRate,
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
    const SCHEMAS: &'static [(&'static str, u16)] = &[("Opened", 1), ("DishPut", 2), ("DishRetired", 1)];

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
    const STATE_VERSION: u32 = 2;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        given,
        testing::{cases, cny, dish, noodles, step, usd},
    };

    fn open() -> Command {
        Command::Open { name: "Harbour".into(), zone: "Asia/Shanghai".into(), currency: Currency::CNY }
    }

    fn opened() -> Event {
        Event::Opened { name: "Harbour".into(), zone: "Asia/Shanghai".into(), currency: Currency::CNY }
    }

    fn put(number: u8, spec: Dish) -> Command {
        Command::PutDish { dish: dish(number), spec }
    }

    fn was_put(number: u8, spec: Dish) -> Event {
        Event::DishPut { dish: dish(number), spec }
    }

    fn retire(number: u8) -> Command {
        Command::RetireDish { dish: dish(number) }
    }

    #[test]
    fn a_canteen_opens_once() {
        let other = Command::Open { name: "Harbour".into(), zone: "Asia/Shanghai".into(), currency: Currency::USD };
        given::<Menu>([]).when(open()).then([opened()]).when(open()).then([]).when(other).refused(Error::AlreadyOpen);
    }

    #[test]
    fn it_needs_a_name() {
        for name in ["", "  ", "a\nb", &"x".repeat(MAX_NAME + 1)] {
            given::<Menu>([])
                .when(Command::Open { name: name.into(), zone: "UTC".into(), currency: Currency::CNY })
                .refused(Error::BadName { what: "canteen".into() });
        }
        let longest = "食".repeat(MAX_NAME);
        given::<Menu>([])
            .when(Command::Open { name: longest.clone(), zone: "UTC".into(), currency: Currency::CNY })
            .then([Event::Opened { name: longest, zone: "UTC".into(), currency: Currency::CNY }]);
    }

    #[test]
    fn nothing_is_cooked_before_it_is_open() {
        given::<Menu>([]).when(put(1, noodles())).refused(Error::NotOpen);
        given::<Menu>([]).when(retire(1)).refused(Error::NotOpen);
    }

    #[test]
    fn a_dish_is_put_changed_and_retired() {
        let dearer = Dish { price: cny(1600), ..noodles() };
        let state = given::<Menu>([opened()])
            .when(put(1, noodles()))
            .then([was_put(1, noodles())])
            .when(put(1, noodles()))
            .then([])
            .when(put(1, dearer.clone()))
            .then([was_put(1, dearer.clone())])
            .when(retire(2))
            .refused(Error::UnknownDish { dish: dish(2) })
            .when(retire(1))
            .then([Event::DishRetired { dish: dish(1) }])
            .when(retire(1))
            .then([])
            .when(put(1, dearer.clone()))
            .then([was_put(1, dearer.clone())])
            .when(retire(1))
            .then([Event::DishRetired { dish: dish(1) }])
            .state();
        assert_eq!(state.dish(dish(1)), None);
        assert_eq!(given::<Menu>([opened(), was_put(1, dearer.clone())]).state().dish(dish(1)), Some(&dearer));
    }

    /// Puts the dish after `change` and gives the refusal.
    #[track_caller]
    fn refused(change: impl FnOnce(&mut Dish)) -> Error {
        let mut spec = noodles();
        change(&mut spec);
        given::<Menu>([opened()]).state().decide(put(1, spec)).unwrap_err()
    }

    #[test]
    fn prices_are_in_the_canteens_currency_and_within_bounds() {
        let bad = |name: &str| Error::BadPrice { name: name.into() };
        for minor in [-1, i64::MIN, MAX_PRICE_MINOR + 1, i64::MAX] {
            assert_eq!(refused(|dish| dish.price = cny(minor)), bad("Noodles"));
            assert_eq!(refused(|dish| dish.options[0].choices[1].price = cny(minor)), bad("large"));
        }
        let wrong =
            |name: &str| Error::WrongCurrency { name: name.into(), expected: Currency::CNY, found: Currency::USD };
        assert_eq!(refused(|dish| dish.price = usd(1)), wrong("Noodles"));
        assert_eq!(refused(|dish| dish.options[0].choices[0].price = usd(0)), wrong("small"));
    }

    #[test]
    fn choices_can_be_made() {
        let impossible = |of: &str| Error::ImpossibleChoice { group: of.into() };
        assert_eq!(refused(|dish| dish.options[0].min = 2), impossible("Size"));
        assert_eq!(refused(|dish| dish.options[0].max = 3), impossible("Size"));
        assert_eq!(refused(|dish| dish.options[0].choices[1].name = "small".into()), impossible("Size"));
        assert_eq!(refused(|dish| dish.options.push(dish.options[0].clone())), impossible("Noodles"));
    }

    #[test]
    fn names_and_numbers_are_bounded() {
        let nameless = |what: &str| Error::BadName { what: what.into() };
        assert_eq!(refused(|dish| dish.name.clear()), nameless("dish"));
        assert_eq!(refused(|dish| dish.category = "\u{7}".into()), nameless("category"));
        assert_eq!(refused(|dish| dish.options[0].name.clear()), nameless("option group"));
        assert_eq!(refused(|dish| dish.options[0].choices[0].name.clear()), nameless("choice"));
        let many = |what: &str| Error::TooMany { what: what.into(), most: MAX_OPTIONS };
        assert_eq!(refused(|dish| dish.options = vec![dish.options[0].clone(); 21]), many("option groups"));
        let crowd = |dish: &mut Dish| dish.options[0].choices = vec![dish.options[0].choices[0].clone(); 21];
        assert_eq!(refused(crowd), many("choices"));
    }

    #[test]
    fn a_menu_has_an_end() {
        let number = |n: usize| DishId(uuid::Uuid::from_u128(n as u128));
        let spec = Dish { options: vec![], ..noodles() };
        let full = (0..MAX_DISHES).map(|n| Event::DishPut { dish: number(n), spec: spec.clone() });
        let full = given::<Menu>([opened()].into_iter().chain(full)).state();
        let one_more = Command::PutDish { dish: number(MAX_DISHES), spec: spec.clone() };
        assert_eq!(full.decide(one_more), Err(Error::TooMany { what: "dishes".into(), most: MAX_DISHES }));
        let changed = Dish { price: cny(1), ..spec };
        let change = Command::PutDish { dish: number(3), spec: changed.clone() };
        assert_eq!(full.decide(change), Ok(vec![Event::DishPut { dish: number(3), spec: changed }]));

        let retired = (0..=MAX_RETIRED).map(|n| Event::DishRetired { dish: number(n) });
        let retired = given::<Menu>([opened()].into_iter().chain(retired)).state();
        assert_eq!(retired.decide(Command::RetireDish { dish: number(1) }), Ok(vec![]));
        let forgotten = Command::RetireDish { dish: number(0) };
        assert_eq!(retired.decide(forgotten), Err(Error::UnknownDish { dish: number(0) }));
    }

    proptest! {
        #![proptest_config(cases(32))]

        #[test]
        fn a_menu_is_the_last_of_each_dish(
            ops in prop::collection::vec((1..=4_u8, prop::option::of(1..=3_i64)), 1..30)
        ) {
            let (mut menu, mut model) = (Menu::default(), BTreeMap::new());
            step(&mut menu, open());
            for (number, price) in ops {
                let known = model.contains_key(&number);
                match price {
                    Some(minor) => {
                        let spec = Dish { price: cny(minor), ..noodles() };
                        step(&mut menu, put(number, spec.clone()));
                        model.insert(number, spec);
                    }
                    None => {
                        let (outcome, _) = step(&mut menu, retire(number));
                        prop_assert_eq!(outcome == "done", known);
                        model.remove(&number);
                    }
                }
                for number in 1..=4 {
                    prop_assert_eq!(menu.dish(dish(number)), model.get(&number));
                }
            }
        }
    }
}
