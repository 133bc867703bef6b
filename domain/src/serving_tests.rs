use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    given,
    menu::{Choice, OptionGroup},
    order::Channel,
    tax::TaxRate,
    testing::{at, canteen, cases, chosen, cny, diner, dish, line, order, six_percent, step, usd},
};

fn simple(name: &str, price: i64) -> Dish {
    Dish { name: name.into(), category: "Mains".into(), price: cny(price), options: vec![], tax: TaxRate::ZERO }
}

fn group(name: &str, min: u8, max: u8, choices: &[(&str, i64)]) -> OptionGroup {
    let choices = choices.iter().map(|(name, price)| Choice { name: (*name).into(), price: cny(*price) }).collect();
    OptionGroup { name: name.into(), min, max, choices }
}

/// Dish 1: ten portions of rice at 10 yuan. Dish 2: three of noodles at 15, in sizes, with extras.
/// Ordering from second 100 to 200, locks at 300, five portions a diner.
fn plan() -> Plan {
    let mut noodles = simple("Noodles", 1500);
    noodles.tax = six_percent();
    noodles.options = vec![
        group("Size", 1, 1, &[("small", 0), ("large", 300)]),
        group("Extras", 0, 2, &[("egg", 200), ("tofu", 150), ("beef", 500)]),
    ];
    Plan {
        canteen: canteen(),
        date: jiff::civil::date(2026, 11, 23),
        meal: Meal::Lunch,
        currency: Currency::CNY,
        opens_at: at(100),
        cut_off: at(200),
        lock_at: at(300),
        diner_limit: 5,
        no_show_percent: 100,
        offers: vec![
            Offer { dish: dish(1), spec: simple("Rice", 1000), portions: 10 },
            Offer { dish: dish(2), spec: noodles, portions: 3 },
        ],
    }
}

fn published() -> Event {
    Event::Published(plan())
}

fn reserve(number: u8, by: u8, lines: Vec<Line>) -> Command {
    Command::Reserve { order: order(number), diner: diner(by), lines, placed_at: at(150), channel: Channel::Online }
}

fn via(command: Command, channel: Channel, seconds: i64) -> Command {
    match command {
        Command::Reserve { order, diner, lines, .. } => {
            Command::Reserve { order, diner, lines, placed_at: at(seconds), channel }
        }
        other => other,
    }
}

fn noodles(quantity: u32, price: i64, options: &[(&str, &str)]) -> Line {
    let options = options.iter().map(|(group, choice)| chosen(group, choice)).collect();
    Line { options, ..line(2, quantity, price) }
}

fn small(quantity: u32) -> Line {
    noodles(quantity, 1500, &[("Size", "small")])
}

fn portions(counts: &[(u8, u32)]) -> Vec<Portions> {
    counts.iter().map(|(number, quantity)| Portions { dish: dish(*number), quantity: *quantity }).collect()
}

fn reserved(number: u8, by: u8, counts: &[(u8, u32)]) -> Event {
    Event::Reserved { order: order(number), diner: diner(by), portions: portions(counts) }
}

#[test]
fn a_plan_is_published_once() {
    given::<Serving>([]).when(Command::Publish(plan())).then([published()]).when(Command::Publish(plan())).then([]);
    let other = Plan { diner_limit: 6, ..plan() };
    given::<Serving>([published()]).when(Command::Publish(other)).refused(Error::AlreadyPublished);
}

#[test]
fn a_publication_is_known_again_after_prices_and_portions_have_moved() {
    let moved = [
        published(),
        Event::PriceSet { dish: dish(1), price: cny(1) },
        Event::PortionsSet { dish: dish(1), portions: 99 },
    ];
    given::<Serving>(moved).when(Command::Publish(plan())).then([]);
}

#[test]
fn before_publication_nothing_can_be_done() {
    for command in [
        reserve(1, 1, vec![line(1, 1, 1000)]),
        Command::Release { order: order(1) },
        Command::SetPortions { dish: dish(1), portions: 1 },
        Command::SetPrice { dish: dish(1), price: cny(1) },
        Command::WithdrawDish { dish: dish(1) },
        Command::Withdraw,
    ] {
        given::<Serving>([]).when(command).refused(Error::NotPublished);
    }
}

#[test]
fn impossible_plans_are_refused() {
    let refused = |change: fn(&mut Plan)| {
        let mut plan = plan();
        change(&mut plan);
        match Serving::New.decide(Command::Publish(plan)) {
            Err(Error::BadPlan(why)) => why,
            Err(Error::BadDish(error)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let says = |change: fn(&mut Plan), what: &str| {
        let why = refused(change);
        assert!(why.contains(what), "{why}");
    };
    says(|plan| plan.offers.clear(), "1 to 500 offers");
    says(|plan| plan.offers = vec![plan.offers[0].clone(); MAX_OFFERS + 1], "1 to 500 offers");
    says(|plan| plan.offers[1].dish = plan.offers[0].dish, "offered once");
    says(|plan| plan.offers[0].portions = MAX_PORTIONS + 1, "at most 1000000 portions");
    says(|plan| plan.cut_off = plan.opens_at, "open before the cut-off");
    says(|plan| plan.lock_at = at(199), "lock before the cut-off");
    says(|plan| plan.diner_limit = 0, "at least one portion");
    says(|plan| plan.no_show_percent = 101, "0 to 100 percent");
    says(|plan| plan.offers[0].spec.price = cny(-1), "between zero and");
    says(|plan| plan.offers[0].spec.price = cny(i64::MIN), "between zero and");
    says(|plan| plan.offers[0].spec.price = usd(1000), "sells in CNY");
    says(|plan| plan.offers[1].spec.options[0].choices[0].price = usd(0), "sells in CNY");
    says(|plan| plan.offers[0].spec.name = " ".into(), "dish needs a name");
}

#[test]
fn a_meal_may_lock_at_its_cut_off() {
    let plan = Plan { lock_at: at(200), ..plan() };
    given::<Serving>([]).when(Command::Publish(plan.clone())).then([Event::Published(plan)]);
}

#[test]
fn an_order_reserves_all_its_lines() {
    let lines = vec![line(1, 2, 1000), small(1), line(1, 1, 1000)];
    let state = given::<Serving>([published()])
        .when(reserve(1, 1, lines.clone()))
        .then([reserved(1, 1, &[(1, 3), (2, 1)])])
        .when(reserve(1, 1, lines))
        .then([])
        .state();
    let book = state.book().unwrap();
    assert_eq!((book.offers[&dish(1)].left(), book.offers[&dish(2)].left()), (7, 2));
    assert!(book.has_reserved(order(1)) && !book.has_reserved(order(2)));
}

#[test]
fn or_none_of_them() {
    let short = |dish, asked, left| Shortage { dish, asked, left };
    let state = given::<Serving>([published(), reserved(1, 1, &[(2, 2)])])
        .when(reserve(2, 2, vec![line(1, 1, 1000), small(1), small(1)]))
        .refused(Error::SoldOut(vec![short(dish(2), 2, 1)]))
        .when(reserve(2, 2, vec![line(1, 11, 1000), small(2)]))
        .refused(Error::SoldOut(vec![short(dish(1), 11, 10), short(dish(2), 2, 1)]))
        .state();
    assert_eq!(state.book().unwrap().offers[&dish(1)].reserved, 0);
}

#[test]
fn huge_quantities_are_only_sold_out() {
    let lines = vec![line(1, u32::MAX, 1000), line(1, u32::MAX, 1000)];
    let short = Shortage { dish: dish(1), asked: u32::MAX, left: 10 };
    given::<Serving>([published()]).when(reserve(1, 1, lines)).refused(Error::SoldOut(vec![short]));
}

#[test]
fn the_last_portion_is_sold_once() {
    given::<Serving>([published(), reserved(1, 1, &[(2, 2)])])
        .when(reserve(2, 2, vec![small(1)]))
        .then([reserved(2, 2, &[(2, 1)])])
        .when(reserve(3, 3, vec![small(1)]))
        .refused(Error::SoldOut(vec![Shortage { dish: dish(2), asked: 1, left: 0 }]));
}

#[test]
fn the_window_is_closed_before_it_opens_and_from_the_cut_off_on() {
    let rice = || reserve(1, 1, vec![line(1, 1, 1000)]);
    let done = || [reserved(1, 1, &[(1, 1)])];
    let when = |channel, seconds| given::<Serving>([published()]).when(via(rice(), channel, seconds));
    when(Channel::Online, 99).refused(Error::NotYetOpen { at: at(100) });
    when(Channel::Online, 100).then(done());
    when(Channel::Online, 199).then(done());
    when(Channel::Online, 200).refused(Error::Closed { at: at(200) });
    for channel in [Channel::Counter, Channel::Import] {
        when(channel, 1).then(done());
        when(channel, 5000).then(done());
    }
}

#[test]
fn a_stale_price_is_refused_with_the_new_one() {
    let lines = || vec![line(1, 1, 999), noodles(1, 1500, &[("Size", "large")])];
    let change = |number, was, now| PriceChange { dish: dish(number), was: cny(was), now: cny(now) };
    let changes = vec![change(1, 999, 1000), change(2, 1500, 1800)];
    let when = |channel| given::<Serving>([published()]).when(via(reserve(1, 1, lines()), channel, 150));
    when(Channel::Online).refused(Error::PriceChanged(changes.clone()));
    when(Channel::Counter).refused(Error::PriceChanged(changes));
    // A till's history was sold at the till's prices.
    when(Channel::Import).then([reserved(1, 1, &[(1, 1), (2, 1)])]);
}

#[test]
fn history_in_another_currency_is_refused() {
    let dollars = Line { unit_price: usd(1000), ..line(1, 1, 0) };
    let wrong = menu::Error::WrongCurrency { name: "Rice".into(), expected: Currency::CNY, found: Currency::USD };
    given::<Serving>([published()])
        .when(via(reserve(1, 1, vec![dollars]), Channel::Import, 150))
        .refused(Error::BadDish(wrong));
}

#[test]
fn one_diner_cannot_hold_everything() {
    let given = || given::<Serving>([published(), reserved(1, 1, &[(1, 4)])]);
    given().when(reserve(2, 1, vec![line(1, 1, 1000)])).then([reserved(2, 1, &[(1, 1)])]);
    given().when(reserve(2, 1, vec![line(1, 2, 1000)])).refused(Error::DinerLimit { limit: 5, held: 4, asked: 2 });
    given().when(reserve(2, 2, vec![line(1, 5, 1000)])).then([reserved(2, 2, &[(1, 5)])]);
    let at_the_counter = via(reserve(2, 1, vec![line(1, 2, 1000)]), Channel::Counter, 150);
    given().when(at_the_counter).then([reserved(2, 1, &[(1, 2)])]);
}

#[test]
fn what_is_given_back_counts_no_more_against_the_limit() {
    given::<Serving>([published(), reserved(1, 1, &[(1, 5)])])
        .when(Command::Release { order: order(1) })
        .then([Event::Released { order: order(1), portions: portions(&[(1, 5)]) }])
        .when(reserve(2, 1, vec![line(1, 5, 1000)]))
        .then([reserved(2, 1, &[(1, 5)])]);
}

#[test]
fn options_must_be_on_offer_and_add_to_the_price() {
    let when = |line: Line| given::<Serving>([published()]).when(reserve(1, 1, vec![line]));
    let done = || [reserved(1, 1, &[(2, 1)])];
    when(noodles(1, 1800, &[("Size", "large")])).then(done());
    when(noodles(1, 2500, &[("Extras", "egg"), ("Size", "large"), ("Extras", "beef")])).then(done());

    let says = |options: &[(&str, &str)], what: &str| match Serving::Published(Box::new(Book::from(&plan())))
        .decide(reserve(1, 1, vec![noodles(1, 1500, options)]))
    {
        Err(Error::BadOptions { dish: of, why }) if of == dish(2) => assert!(why.contains(what), "{why}"),
        other => panic!("{other:?}"),
    };
    says(&[], "\"Size\" takes 1 to 1 choices, not 0");
    says(&[("Size", "small"), ("Size", "large")], "takes 1 to 1 choices, not 2");
    says(&[("Size", "huge")], "\"Size\" has no choice \"huge\"");
    says(&[("Size", "small"), ("Spice", "hot")], "no group \"Spice\"");
    says(&[("Size", "small"), ("Extras", "egg"), ("Extras", "egg")], "same choice twice");
    says(&[("Size", "small"), ("Extras", "egg"), ("Extras", "tofu"), ("Extras", "beef")], "0 to 2 choices, not 3");
}

#[test]
fn a_line_is_made_up_at_the_price_of_the_moment() {
    let state = given::<Serving>([published(), Event::PriceSet { dish: dish(2), price: cny(1600) }]).state();
    let book = state.book().unwrap();
    let line = book.line(dish(2), 2, vec![chosen("Size", "large")]).unwrap();
    assert_eq!((line.name.as_str(), line.quantity, line.unit_price), ("Noodles", 2, cny(1900)));
    assert_eq!(line.tax, six_percent());
    assert_eq!(book.line(dish(9), 1, vec![]), Err(Error::UnknownDish { dish: dish(9) }));
}

#[test]
fn unknown_dishes_are_refused() {
    let unknown = || Error::UnknownDish { dish: dish(9) };
    for command in [
        reserve(1, 1, vec![line(1, 1, 1000), line(9, 1, 1000)]),
        Command::SetPortions { dish: dish(9), portions: 1 },
        Command::SetPrice { dish: dish(9), price: cny(1) },
        Command::WithdrawDish { dish: dish(9) },
    ] {
        given::<Serving>([published()]).when(command).refused(unknown());
    }
}

#[test]
fn a_release_that_comes_first_refuses_the_late_reservation() {
    given::<Serving>([published()])
        .when(Command::Release { order: order(1) })
        .then([Event::Released { order: order(1), portions: vec![] }])
        .when(Command::Release { order: order(1) })
        .then([])
        .when(reserve(1, 1, vec![line(1, 1, 1000)]))
        .refused(Error::ReleasedAlready);
}

#[test]
fn portions_never_fall_below_what_is_reserved() {
    let set = |portions| Command::SetPortions { dish: dish(1), portions };
    given::<Serving>([published(), reserved(1, 1, &[(1, 4)])])
        .when(set(3))
        .refused(Error::BelowReserved { dish: dish(1), reserved: 4 })
        .when(set(MAX_PORTIONS + 1))
        .refused(Error::BadPlan("an offer has at most 1000000 portions".into()))
        .when(set(10))
        .then([])
        .when(set(4))
        .then([Event::PortionsSet { dish: dish(1), portions: 4 }])
        .when(reserve(2, 2, vec![line(1, 1, 1000)]))
        .refused(Error::SoldOut(vec![Shortage { dish: dish(1), asked: 1, left: 0 }]))
        .when(set(5))
        .then([Event::PortionsSet { dish: dish(1), portions: 5 }])
        .when(reserve(2, 2, vec![line(1, 1, 1000)]))
        .then([reserved(2, 2, &[(1, 1)])]);
}

#[test]
fn a_price_is_set_within_bounds() {
    let set = |price| Command::SetPrice { dish: dish(1), price };
    let wrong = menu::Error::WrongCurrency { name: "Rice".into(), expected: Currency::CNY, found: Currency::USD };
    given::<Serving>([published()])
        .when(set(cny(1000)))
        .then([])
        .when(set(cny(-1)))
        .refused(Error::BadDish(menu::Error::BadPrice { name: "Rice".into() }))
        .when(set(usd(900)))
        .refused(Error::BadDish(wrong))
        .when(set(cny(900)))
        .then([Event::PriceSet { dish: dish(1), price: cny(900) }])
        .when(reserve(1, 1, vec![line(1, 1, 900)]))
        .then([reserved(1, 1, &[(1, 1)])]);
}

#[test]
fn withdrawing_a_dish_names_its_orders_and_keeps_the_rest() {
    let both = [(1, 1), (2, 1)];
    let events = [published(), reserved(3, 3, &both), reserved(1, 1, &[(2, 1)]), reserved(2, 2, &[(1, 2)])];
    let state = given::<Serving>(events)
        .when(Command::WithdrawDish { dish: dish(2) })
        .then([Event::DishWithdrawn { dish: dish(2), orders: vec![order(1), order(3)] }])
        .when(Command::WithdrawDish { dish: dish(2) })
        .then([])
        .when(reserve(4, 4, vec![small(1)]))
        .refused(Error::SoldOut(vec![Shortage { dish: dish(2), asked: 1, left: 0 }]))
        // Order 1 had nothing else, so it has nothing to give back, and cannot come back either.
        .when(reserve(1, 1, vec![small(1)]))
        .refused(Error::SoldOut(vec![Shortage { dish: dish(2), asked: 1, left: 0 }]))
        .when(Command::Release { order: order(1) })
        .then([Event::Released { order: order(1), portions: vec![] }])
        .when(Command::Release { order: order(1) })
        .then([])
        .when(Command::Release { order: order(3) })
        .then([Event::Released { order: order(3), portions: portions(&[(1, 1)]) }])
        .state();
    let book = state.book().unwrap();
    assert_eq!((book.offers[&dish(1)].reserved, book.offers[&dish(2)].reserved), (2, 0));
}

#[test]
fn withdrawing_everything_ends_the_sale() {
    given::<Serving>([published(), reserved(2, 2, &[(1, 1)]), reserved(1, 1, &[(2, 1)])])
        .when(Command::Withdraw)
        .then([Event::Withdrawn { orders: vec![order(1), order(2)] }])
        .when(Command::Withdraw)
        .then([])
        .when(Command::WithdrawDish { dish: dish(1) })
        .then([])
        .when(reserve(3, 3, vec![line(1, 1, 1000)]))
        .refused(Error::Withdrawn)
        .when(via(reserve(3, 3, vec![line(1, 1, 1000)]), Channel::Counter, 150))
        .refused(Error::Withdrawn)
        .when(Command::Release { order: order(1) })
        .then([Event::Released { order: order(1), portions: vec![] }])
        .when(Command::Release { order: order(1) })
        .then([]);
}

#[test]
fn a_withdrawal_is_settled_once() {
    let settle = |dish| Command::SettleWithdrawal { dish };
    let settled = |dish| Event::WithdrawalSettled { dish };
    let of_dish = Some(dish(1));
    given::<Serving>([published(), Event::DishWithdrawn { dish: dish(1), orders: vec![] }])
        .when(settle(None))
        .then([])
        .when(settle(of_dish))
        .then([settled(of_dish)])
        .when(settle(of_dish))
        .then([])
        .when(Command::Withdraw)
        .then([Event::Withdrawn { orders: vec![] }])
        .when(settle(None))
        .then([settled(None)])
        .when(settle(None))
        .then([]);
    given::<Serving>([]).when(settle(None)).refused(Error::NotPublished);
}

#[test]
fn refusals_say_what_is_wrong() {
    let sold_out = Error::SoldOut(vec![Shortage { dish: dish(1), asked: 2, left: 1 }]);
    assert_eq!(sold_out.to_string(), format!("sold out: {} (asked 2, left 1)", dish(1)));
    let changed = Error::PriceChanged(vec![PriceChange { dish: dish(1), was: cny(999), now: cny(1000) }]);
    assert_eq!(changed.to_string(), format!("the price has changed: {} from 9.99 CNY to 10.00 CNY", dish(1)));
}

/// A command of the state machine, in small numbers. Dishes 1 to 3 are offered, 4 is not.
#[derive(Clone, Debug)]
enum Op {
    Reserve { order: u8, diner: u8, lines: Vec<(u8, u32)>, stale: bool, seconds: i64, channel: Channel },
    Release(u8),
    SetPortions(u8, u32),
    SetPrice(u8, i64),
    WithdrawDish(u8),
    Withdraw,
    Settle(Option<u8>),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let channel = prop_oneof![6 => Just(Channel::Online), 1 => Just(Channel::Counter), 1 => Just(Channel::Import)];
    let some_dish = || prop_oneof![12 => 1..=3_u8, 1 => Just(4_u8)];
    let seconds = prop_oneof![10 => 100..200_i64, 1 => Just(99_i64), 1 => Just(200_i64)];
    let lines = prop::collection::vec((some_dish(), 1..=3_u32), 1..=3);
    let reserve = (1..=9_u8, 1..=4_u8, lines, prop::bool::weighted(0.1), seconds, channel).prop_map(
        |(order, diner, lines, stale, seconds, channel)| Op::Reserve { order, diner, lines, stale, seconds, channel },
    );
    let op = prop_oneof![
        40 => reserve,
        12 => (1..=9_u8).prop_map(Op::Release),
        8 => (some_dish(), 0..=9_u32).prop_map(|(dish, portions)| Op::SetPortions(dish, portions)),
        4 => (some_dish(), 1..=9_i64).prop_map(|(dish, price)| Op::SetPrice(dish, price)),
        2 => some_dish().prop_map(Op::WithdrawDish),
        1 => Just(Op::Withdraw),
        2 => prop::option::of(1..=4_u8).prop_map(Op::Settle),
    ];
    prop::collection::vec(op, 1..60)
}

#[derive(Clone, Copy)]
struct Offered {
    portions: u32,
    price: i64,
    withdrawn: bool,
}

/// An order, its diner, and so much of each dish, line by line.
type Holding = (u8, u8, Vec<(u8, u32)>);

/// The plainest account of a serving: a list of who holds what, added up when it is asked.
struct Model {
    offers: BTreeMap<u8, Offered>,
    live: Vec<Holding>,
    gone: BTreeSet<u8>,
    withdrawn: bool,
    unsettled: Vec<Option<u8>>,
}

const LIMIT: u32 = 6;

impl Model {
    fn new() -> Self {
        let offer = |number: u8| (number, Offered { portions: 5, price: 5, withdrawn: false });
        Model {
            offers: (1..=3).map(offer).collect(),
            live: vec![],
            gone: BTreeSet::new(),
            withdrawn: false,
            unsettled: vec![],
        }
    }

    fn reserved(&self, dish: u8) -> u32 {
        let all = self.live.iter().flat_map(|(_, _, lines)| lines);
        all.filter(|(of, _)| *of == dish).map(|(_, quantity)| quantity).sum()
    }

    fn held_by(&self, diner: u8) -> u32 {
        let theirs = self.live.iter().filter(|(_, by, _)| *by == diner);
        theirs.flat_map(|(_, _, lines)| lines).map(|(_, quantity)| quantity).sum()
    }

    fn command(&self, op: &Op) -> Command {
        match op {
            Op::Reserve { order: number, diner: by, lines, stale, seconds, channel } => {
                let price = |dish: &u8| self.offers.get(dish).map_or(5, |offer| offer.price) + i64::from(*stale);
                let lines = lines.iter().map(|(dish, quantity)| line(*dish, *quantity, price(dish))).collect();
                via(reserve(*number, *by, lines), *channel, *seconds)
            }
            Op::Release(number) => Command::Release { order: order(*number) },
            Op::SetPortions(number, portions) => Command::SetPortions { dish: dish(*number), portions: *portions },
            Op::SetPrice(number, price) => Command::SetPrice { dish: dish(*number), price: cny(*price) },
            Op::WithdrawDish(number) => Command::WithdrawDish { dish: dish(*number) },
            Op::Withdraw => Command::Withdraw,
            Op::Settle(of) => Command::SettleWithdrawal { dish: of.map(dish) },
        }
    }

    /// Does the op and names its outcome.
    fn run(&mut self, op: &Op) -> &'static str {
        match op {
            Op::Reserve { order, diner, lines, stale, seconds, channel } => {
                let outcome = self.may_reserve(*order, *diner, lines, *stale, *seconds, *channel);
                if outcome == "done" {
                    self.live.push((*order, *diner, lines.clone()));
                }
                outcome
            }
            Op::Release(order) => {
                self.live.retain(|(of, _, _)| of != order);
                if self.gone.insert(*order) { "done" } else { "repeat" }
            }
            Op::SetPortions(dish, portions) => {
                let reserved = self.reserved(*dish);
                match self.offers.get_mut(dish) {
                    None => "UnknownDish",
                    Some(_) if *portions < reserved => "BelowReserved",
                    Some(offer) if offer.portions == *portions => "repeat",
                    Some(offer) => {
                        offer.portions = *portions;
                        "done"
                    }
                }
            }
            Op::SetPrice(dish, price) => match self.offers.get_mut(dish) {
                None => "UnknownDish",
                Some(offer) if offer.price == *price => "repeat",
                Some(offer) => {
                    offer.price = *price;
                    "done"
                }
            },
            Op::WithdrawDish(dish) => match self.offers.get_mut(dish) {
                None => "UnknownDish",
                Some(offer) if offer.withdrawn || self.withdrawn => "repeat",
                Some(offer) => {
                    offer.withdrawn = true;
                    for (_, _, lines) in &mut self.live {
                        lines.retain(|(of, _)| of != dish);
                    }
                    self.live.retain(|(_, _, lines)| !lines.is_empty());
                    self.unsettled.push(Some(*dish));
                    "done"
                }
            },
            Op::Withdraw if self.withdrawn => "repeat",
            Op::Withdraw => {
                self.withdrawn = true;
                self.live.clear();
                self.unsettled.push(None);
                "done"
            }
            Op::Settle(of) if self.unsettled.contains(of) => {
                self.unsettled.retain(|one| one != of);
                "done"
            }
            Op::Settle(_) => "repeat",
        }
    }

    fn may_reserve(
        &self,
        order: u8,
        diner: u8,
        lines: &[(u8, u32)],
        stale: bool,
        seconds: i64,
        channel: Channel,
    ) -> &'static str {
        let asked = |dish: u8| lines.iter().filter(|(of, _)| *of == dish).map(|(_, quantity)| quantity).sum::<u32>();
        let left = |dish: u8, offer: &Offered| {
            if offer.withdrawn { 0 } else { offer.portions - self.reserved(dish) }
        };
        let online = channel == Channel::Online;
        let all: u32 = lines.iter().map(|(_, quantity)| quantity).sum();
        if self.live.iter().any(|(of, _, _)| *of == order) {
            "repeat"
        } else if self.gone.contains(&order) {
            "ReleasedAlready"
        } else if self.withdrawn {
            "Withdrawn"
        } else if online && seconds < 100 {
            "NotYetOpen"
        } else if online && seconds >= 200 {
            "Closed"
        } else if lines.iter().any(|(dish, _)| !self.offers.contains_key(dish)) {
            "UnknownDish"
        } else if stale && channel != Channel::Import {
            "PriceChanged"
        } else if self.offers.iter().any(|(dish, offer)| asked(*dish) > left(*dish, offer)) {
            "SoldOut"
        } else if online && self.held_by(diner) + all > LIMIT {
            "DinerLimit"
        } else {
            "done"
        }
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn a_serving_does_what_a_list_of_reservations_says(ops in ops()) {
        let offers = (1..=3).map(|n| Offer { dish: dish(n), spec: simple(&format!("Dish {n}"), 5), portions: 5 });
        let plan = Plan { offers: offers.collect(), diner_limit: LIMIT, ..plan() };
        let (mut serving, mut model) = (Serving::default(), Model::new());
        step(&mut serving, Command::Publish(plan));
        for op in ops {
            let before = serving.book().unwrap().clone();
            let command = model.command(&op);
            let (outcome, events) = step(&mut serving, command);
            prop_assert_eq!(outcome.as_str(), model.run(&op), "{:?}", op);
            let book = serving.book().unwrap();
            if events.is_empty() {
                prop_assert_eq!(&before, book);
            }
            for (number, offer) in &model.offers {
                let sale = &book.offers[&dish(*number)];
                prop_assert_eq!(sale.reserved, model.reserved(*number));
                prop_assert!(sale.reserved <= sale.portions, "oversold");
                prop_assert_eq!((sale.portions, sale.spec.price, sale.withdrawn),
                    (offer.portions, cny(offer.price), offer.withdrawn));
            }
            for number in 1..=9 {
                prop_assert_eq!(book.has_reserved(order(number)), model.live.iter().any(|(of, _, _)| *of == number));
            }
        }
    }
}

fn change(number: u8) -> ChangeId {
    ChangeId(crate::testing::id(number))
}

fn widen(order_number: u8, by: u8, lines: Vec<Line>, seconds: i64) -> Command {
    let (order, change, fresh) = (order(order_number), change(by), vec![]);
    Command::Widen { order, change, lines, fresh, at: at(seconds), channel: Channel::Online }
}

fn narrow(order_number: u8, by: u8, lines: Vec<Line>) -> Command {
    Command::Narrow { order: order(order_number), change: change(by), lines }
}

#[test]
fn an_order_swaps_its_portions_and_holds_both_in_between() {
    let large = || noodles(1, 1800, &[("Size", "large")]);
    let wanted = || vec![line(1, 1, 1000), large()];
    let state = given::<Serving>([published(), reserved(1, 1, &[(1, 5)])])
        .when(widen(1, 80, wanted(), 150))
        .then([Event::Widened { order: order(1), change: change(80), portions: portions(&[(2, 1)]) }])
        .when(widen(1, 80, wanted(), 150))
        .then([])
        .when(narrow(1, 80, wanted()))
        .then([Event::Narrowed { order: order(1), change: change(80), portions: portions(&[(1, 4)]) }])
        .when(narrow(1, 80, wanted()))
        .then([])
        .when(Command::Release { order: order(1) })
        .then([Event::Released { order: order(1), portions: portions(&[(1, 1), (2, 1)]) }])
        .state();
    let book = state.book().unwrap();
    assert_eq!((book.offers[&dish(1)].reserved, book.offers[&dish(2)].reserved), (0, 0));
}

#[test]
fn more_is_had_only_while_it_is_sold_and_less_until_the_end() {
    let held = || given::<Serving>([published(), reserved(1, 1, &[(1, 2)]), reserved(2, 2, &[(1, 5)])]);
    let sold_out = Error::SoldOut(vec![Shortage { dish: dish(1), asked: 4, left: 3 }]);
    held().when(widen(1, 80, vec![line(1, 6, 1000)], 150)).refused(sold_out);
    held().when(widen(1, 80, vec![line(1, 3, 1000)], 200)).refused(Error::Closed { at: at(200) });
    held().when(widen(1, 80, vec![line(1, 3, 1000)], 99)).refused(Error::NotYetOpen { at: at(100) });
    held().when(widen(9, 80, vec![line(1, 3, 1000)], 150)).refused(Error::Withdrawn);
    let nothing = Event::Widened { order: order(1), change: change(80), portions: vec![] };
    held().when(widen(1, 80, vec![line(1, 1, 1000)], 250)).then([nothing.clone()]);
    // Five portions a diner: what is given back does not count.
    let five = given::<Serving>([published(), reserved(1, 1, &[(1, 5)])]);
    let swap = vec![line(1, 3, 1000), noodles(2, 1500, &[("Size", "small")])];
    five.when(widen(1, 80, swap, 150)).then([Event::Widened {
        order: order(1),
        change: change(80),
        portions: portions(&[(2, 2)]),
    }]);
    let limit = Error::DinerLimit { limit: 5, held: 5, asked: 1 };
    let six = vec![line(1, 5, 1000), noodles(1, 1500, &[("Size", "small")])];
    given::<Serving>([published(), reserved(1, 1, &[(1, 5)])]).when(widen(1, 80, six, 150)).refused(limit);
    let withdrawn = Event::DishWithdrawn { dish: dish(1), orders: vec![order(1), order(2)] };
    given::<Serving>([published(), reserved(1, 1, &[(1, 2)]), withdrawn])
        .when(widen(1, 80, vec![line(1, 1, 1000)], 150))
        .refused(Error::Withdrawn);
}

#[test]
fn a_late_step_of_a_change_that_is_over_changes_nothing() {
    let noodles = || vec![noodles(1, 1500, &[("Size", "small")])];
    let state = given::<Serving>([published(), reserved(1, 1, &[(1, 1)])])
        .when(widen(1, 80, noodles(), 150))
        .then([Event::Widened { order: order(1), change: change(80), portions: portions(&[(2, 1)]) }])
        .when(narrow(1, 80, noodles()))
        .then([Event::Narrowed { order: order(1), change: change(80), portions: portions(&[(1, 1)]) }])
        .when(widen(1, 81, vec![line(1, 1, 1000)], 150))
        .then([Event::Widened { order: order(1), change: change(81), portions: portions(&[(1, 1)]) }])
        .when(narrow(1, 80, noodles()))
        .then([])
        .when(widen(1, 80, noodles(), 150))
        .then([])
        .when(narrow(1, 81, vec![line(1, 1, 1000)]))
        .then([Event::Narrowed { order: order(1), change: change(81), portions: portions(&[(2, 1)]) }])
        .when(narrow(1, 80, noodles()))
        .then([])
        .state();
    let book = state.book().unwrap();
    assert_eq!((book.offers[&dish(1)].reserved, book.offers[&dish(2)].reserved), (1, 0));
}

#[test]
fn what_is_new_has_todays_price_and_what_stays_its_own() {
    let dearer = Event::PriceSet { dish: dish(1), price: cny(1_200) };
    let wants = |fresh: Vec<Line>| Command::Widen {
        order: order(1),
        change: change(80),
        lines: vec![line(1, 1, 1000), line(1, 1, 1200)],
        fresh,
        at: at(150),
        channel: Channel::Online,
    };
    let held = || given::<Serving>([published(), reserved(1, 1, &[(1, 1)]), dearer.clone()]);
    let changed = PriceChange { dish: dish(1), was: cny(1_100), now: cny(1_200) };
    held().when(wants(vec![line(1, 1, 1100)])).refused(Error::PriceChanged(vec![changed]));
    let more = Event::Widened { order: order(1), change: change(80), portions: portions(&[(1, 1)]) };
    held().when(wants(vec![line(1, 1, 1200)])).then([more]);
}
