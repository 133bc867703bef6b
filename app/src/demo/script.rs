//! The lunch as it is going to be: canteens, diners and what each of them does, from one seed.
//!
//! Orders run at once and race each other, and yet the same seed gives the same counts: who gets
//! one of the last portions is a race, how many get one is not. For that
//! - the dish that sells out is ordered one portion at a time, by diners who do nothing else, and whose
//!   subsidies pay it whole, whichever company's they are;
//! - every other dish has more portions than the whole script asks for;
//! - a diner's own orders follow one another;
//! - whoever ordered the dish that is withdrawn orders nothing else either.

use std::collections::BTreeMap;

use domain::{Currency, Money, menu::Dish, tax::TaxRate};

use super::random::Random;

/// Most portions that one diner may hold.
pub const DINER_LIMIT: u32 = 12;
/// The canteen that withdraws a dish.
pub const WITHDRAWING: usize = 1;
/// Places of a canteen's dishes: the one that sells out, the one that may be withdrawn.
pub const RACED: usize = 0;
pub const WITHDRAWN: usize = 1;
/// What the companies grant everyone for the day, except the poor, whom nobody employs, in fen.
pub const SUBSIDY: i64 = 2_500;
/// The most that the company with the narrower terms pays towards one order, in fen.
pub const ORDER_LIMIT: i64 = 2_000;
const POOR_SUBSIDY: i64 = 200;

const DISHES: &str = include_str!("../../data/dishes.csv");
const CURVES: &str = include_str!("../../data/arrival_curves.csv");

const NAMES: [&str; 3] = ["North Gate Canteen", "Riverside Canteen", "Tower Canteen"];
/// Category, how many of it on a menu, and the lowest and highest price in steps of half a yuan. The
/// first two are those that are raced for and withdrawn.
const MENU: [(&str, usize, u64, u64); 7] = [
    ("meat_dish", 1, 30, 40),
    ("aquatic", 1, 36, 60),
    ("staple", 3, 6, 18),
    ("vegetable_dish", 3, 12, 24),
    ("meat_dish", 2, 24, 44),
    ("soup", 1, 6, 16),
    ("drink", 1, 8, 18),
];
const STEP: u64 = 50;
/// Percent of tax that the prices include: what catering bears in China.
const TAX: u32 = 6;

/// Seconds of the local day.
const FIRST_COMES: u64 = 10 * 3_600 + 45 * 60;
const LAST_COMES: u64 = 13 * 3_600 + 25 * 60;
pub const OPENS: u64 = 10 * 3_600 + 30 * 60;
pub const CUT_OFF: u64 = 13 * 3_600 + 30 * 60;
const RUSH: u64 = 12 * 3_600 + 5 * 60;
pub const WITHDRAWS: u64 = 12 * 3_600 + 30 * 60;
const LATEST: u64 = CUT_OFF + 14 * 60;

#[derive(Clone, Debug)]
pub struct Script {
    pub canteens: Vec<CanteenPlan>,
    pub diners: Vec<DinerPlan>,
    /// In the order in which they come.
    pub arrivals: Vec<Arrival>,
}

#[derive(Clone, Debug)]
pub struct CanteenPlan {
    pub name: &'static str,
    /// With the portions of the lunch.
    pub dishes: Vec<(Dish, u32)>,
}

/// What a diner has to spend, in fen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DinerPlan {
    pub canteen: usize,
    pub subsidy: i64,
    pub wallet: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// Second of the local day.
    pub at: u64,
    pub diner: usize,
    pub canteen: usize,
    /// Places of dishes on the canteen's menu, and portions.
    pub lines: Vec<(usize, u32)>,
    pub does: Does,
    /// Taps twice, at once: the same request with the same key.
    pub taps_twice: bool,
    /// The same diner's order before this one.
    pub after: Option<usize>,
}

/// What a diner means to do, if the order is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Eats,
    /// Orders and does not come.
    StaysAway,
    Cancels,
    /// Orders at the counter and pays there, or goes away.
    PaysAtCounter,
    LeavesCounter,
    /// Pays by WeChat Pay what the balances lack.
    PaysByPhone,
    /// Goes for the dish that sells out.
    Races,
    /// Orders the dish that is withdrawn, before or after that.
    BeforeWithdrawal,
    AfterWithdrawal,
    /// Comes after the cut-off.
    ComesLate,
    /// Asks for more portions than one diner may have.
    AsksTooMuch,
    /// Was shown a price that is no longer true.
    SawOldPrice,
}

/// One of each, so that even a short lunch shows them all.
const EACH_ONCE: [Does; 7] = [
    Does::ComesLate,
    Does::Cancels,
    Does::AsksTooMuch,
    Does::SawOldPrice,
    Does::PaysAtCounter,
    Does::StaysAway,
    Does::PaysByPhone,
];

impl Script {
    /// A lunch of `orders` orders.
    pub fn write(seed: u64, orders: usize) -> Script {
        let mut random = Random::new(seed);
        let mut canteens: Vec<CanteenPlan> = NAMES.iter().map(|name| canteen(name, &mut random)).collect();
        let curve = Curve::read(CURVES);
        let (mut diners, mut arrivals) = (Vec::new(), Vec::new());
        single_orders(orders, &curve, &mut random, &mut diners, &mut arrivals);
        let first = diners.len();
        let rest = orders.saturating_sub(arrivals.len());
        let regulars = (1_000_usize.saturating_sub(first)).max(rest * 10 / 36);
        diners.extend((0..regulars).map(|index| regular(index, &mut random)));
        for index in 0..rest {
            // The first of them is poor: pays by phone, and once is refused.
            let poor = (EACH_ONCE.len() - 1..=EACH_ONCE.len()).contains(&index);
            let diner = if poor { first } else { first + random.below(regulars as u64) as usize };
            let does = EACH_ONCE.get(index).copied().unwrap_or_else(|| intention(&mut random));
            arrivals.push(regular_order(diner, diners[diner].canteen, does, &curve, &mut random));
        }
        arrivals.sort_by_key(|arrival| arrival.at);
        let mut last: BTreeMap<usize, usize> = BTreeMap::new();
        for (index, arrival) in arrivals.iter_mut().enumerate() {
            arrival.after = last.insert(arrival.diner, index);
            arrival.taps_twice = random.happens(50);
        }
        set_portions(&mut canteens, &arrivals);
        Script { canteens, diners, arrivals }
    }
}

fn canteen(name: &'static str, random: &mut Random) -> CanteenPlan {
    let mut dishes: Vec<(Dish, u32)> = Vec::new();
    for (category, count, lowest, highest) in MENU {
        let known: Vec<&str> = DISHES
            .lines()
            .filter_map(|line| {
                let mut fields = line.split(',');
                (fields.next() == Some(category)).then(|| fields.next()).flatten()
            })
            .filter(|name| dishes.iter().all(|(dish, _)| dish.name != *name))
            .collect();
        for index in random.sample(known.len(), count) {
            let price = random.between(lowest, highest) * STEP;
            let price = Money::new(i64::try_from(price).unwrap_or(0), Currency::CNY);
            let category = category.to_owned();
            let tax = TaxRate::from_percent(TAX.into()).unwrap_or_default();
            dishes.push((Dish { name: known[index].to_owned(), category, price, options: vec![], tax }, 0));
        }
    }
    CanteenPlan { name, dishes }
}

/// Those who come for one dish that runs out or is withdrawn, and those who leave the counter.
fn single_orders(
    orders: usize,
    curve: &Curve,
    random: &mut Random,
    diners: &mut Vec<DinerPlan>,
    arrivals: &mut Vec<Arrival>,
) {
    let mut come = |canteen: usize, at: u64, lines: Vec<(usize, u32)>, does: Does| {
        diners.push(DinerPlan { canteen, subsidy: SUBSIDY, wallet: 5_000 });
        let diner = diners.len() - 1;
        arrivals.push(Arrival { at, diner, canteen, lines, does, taps_twice: false, after: None });
    };
    for canteen in 0..NAMES.len() {
        for _ in 0..(orders / 50).max(6) {
            come(canteen, RUSH + random.below(60), vec![(RACED, 1)], Does::Races);
        }
    }
    for index in 0..(orders * 15 / 1_000).max(6) {
        let alone = vec![(WITHDRAWN, 1)];
        let lines = if index % 2 == 0 { alone } else { vec![(WITHDRAWN, 1), (WITHDRAWN + 1, 1)] };
        let (at, does) = if index % 3 == 2 {
            (random.between(WITHDRAWS + 60, LAST_COMES), Does::AfterWithdrawal)
        } else {
            (random.between(FIRST_COMES, WITHDRAWS - 600), Does::BeforeWithdrawal)
        };
        come(WITHDRAWING, at, lines, does);
    }
    for _ in 0..(orders / 100).max(2) {
        let canteen = random.below(NAMES.len() as u64) as usize;
        let (at, lines) = (curve.second(random), lines(canteen, random));
        come(canteen, at, lines, Does::LeavesCounter);
    }
}

fn regular(index: usize, random: &mut Random) -> DinerPlan {
    let canteen = random.below(NAMES.len() as u64) as usize;
    if index == 0 || random.happens(40) {
        return DinerPlan { canteen, subsidy: POOR_SUBSIDY, wallet: 0 };
    }
    let wallet = if random.happens(80) { 0 } else { i64::try_from(random.between(2_000, 24_000)).unwrap_or(0) };
    DinerPlan { canteen, subsidy: SUBSIDY, wallet }
}

fn intention(random: &mut Random) -> Does {
    match random.below(1_000) {
        0..35 => Does::ComesLate,
        35..90 => Does::Cancels,
        90..120 => Does::PaysAtCounter,
        120..128 => Does::AsksTooMuch,
        128..136 => Does::SawOldPrice,
        136..180 => Does::StaysAway,
        180..210 => Does::PaysByPhone,
        _ => Does::Eats,
    }
}

fn regular_order(diner: usize, canteen: usize, does: Does, curve: &Curve, random: &mut Random) -> Arrival {
    let at = if does == Does::ComesLate { random.between(CUT_OFF, LATEST) } else { curve.second(random) };
    let mut lines = lines(canteen, random);
    if does == Does::AsksTooMuch {
        lines[0].1 = DINER_LIMIT + 1;
    }
    Arrival { at, diner, canteen, lines, does, taps_twice: false, after: None }
}

/// One to three of the dishes that do not run out.
fn lines(canteen: usize, random: &mut Random) -> Vec<(usize, u32)> {
    let dishes: usize = MENU.iter().map(|(_, count, ..)| count).sum();
    // Where nothing is withdrawn that dish is like any other.
    let first = if canteen == WITHDRAWING { WITHDRAWN + 1 } else { WITHDRAWN };
    let count = random.between(1, 3) as usize;
    let mut lines: Vec<(usize, u32)> =
        random.sample(dishes - first, count).into_iter().map(|dish| (first + dish, 1)).collect();
    if random.happens(60) {
        lines[0].1 = 2;
    }
    lines
}

/// A third of what the race asks for; of everything else a tenth more than anybody may ask for.
fn set_portions(canteens: &mut [CanteenPlan], arrivals: &[Arrival]) {
    for arrival in arrivals {
        for (dish, portions) in &arrival.lines {
            canteens[arrival.canteen].dishes[*dish].1 += portions;
        }
    }
    for canteen in canteens {
        for (place, (_, portions)) in canteen.dishes.iter_mut().enumerate() {
            *portions =
                if place == RACED { *portions / 3 } else { (*portions + *portions / 10 + 10).next_multiple_of(10) };
        }
    }
}

/// When people come: how many by each minute, summed over all restaurants' weekdays.
struct Curve {
    /// Minute of the day, and the weight of all minutes up to and including it.
    cumulated: Vec<(u64, u64)>,
}

impl Curve {
    fn read(text: &str) -> Curve {
        let mut minutes: BTreeMap<u64, u64> = BTreeMap::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.split(',').collect();
            let [_, "weekday", minute, _, orders, ..] = fields[..] else { continue };
            let (Ok(minute), Ok(orders)) = (minute.parse::<u64>(), orders.parse::<u64>()) else { continue };
            if (FIRST_COMES / 60..LAST_COMES / 60).contains(&minute) {
                *minutes.entry(minute).or_default() += orders;
            }
        }
        let mut sum = 0;
        let cumulated = minutes.into_iter().map(|(minute, orders)| {
            sum += orders;
            (minute, sum)
        });
        Curve { cumulated: cumulated.collect() }
    }

    /// When the next one comes.
    fn second(&self, random: &mut Random) -> u64 {
        let total = self.cumulated.last().map_or(0, |(_, sum)| *sum);
        let drawn = random.below(total);
        let index = self.cumulated.partition_point(|(_, sum)| *sum <= drawn);
        self.cumulated.get(index).map_or(FIRST_COMES, |(minute, _)| minute * 60) + random.below(60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_writes_the_same_script_and_another_seed_another() {
        let (one, same, other) = (Script::write(7, 500), Script::write(7, 500), Script::write(8, 500));
        assert_eq!(one.arrivals, same.arrivals);
        assert_ne!(one.arrivals, other.arrivals);
        assert_eq!(one.arrivals.len(), 500);
    }

    #[test]
    fn counts_do_not_hang_on_who_is_faster() {
        for (seed, orders) in [(1, 100), (2, 3_000), (3, 20_000)] {
            let script = Script::write(seed, orders);
            assert_eq!(script.arrivals.len(), orders);
            assert!(script.diners.len() >= 1_000);
            let mut asked: BTreeMap<(usize, usize), u32> = BTreeMap::new();
            let mut orders_of: BTreeMap<usize, u32> = BTreeMap::new();
            for arrival in &script.arrivals {
                *orders_of.entry(arrival.diner).or_default() += 1;
                for (dish, portions) in &arrival.lines {
                    *asked.entry((arrival.canteen, *dish)).or_default() += portions;
                }
            }
            for arrival in &script.arrivals {
                let alone = matches!(
                    arrival.does,
                    Does::Races | Does::BeforeWithdrawal | Does::AfterWithdrawal | Does::LeavesCounter
                );
                assert!(!alone || orders_of[&arrival.diner] == 1);
                let races = arrival.lines.iter().any(|(dish, _)| *dish == RACED);
                assert_eq!(races, arrival.does == Does::Races);
                assert!(!races || arrival.lines == [(RACED, 1)]);
                let price = script.canteens[arrival.canteen].dishes[RACED].0.price.minor;
                assert!(!races || script.diners[arrival.diner].subsidy.min(ORDER_LIMIT) >= price);
            }
            for ((canteen, dish), asked) in asked {
                let portions = script.canteens[canteen].dishes[dish].1;
                assert_eq!(portions > asked, dish != RACED, "{canteen}/{dish}: {portions} for {asked}");
            }
        }
    }

    #[test]
    fn a_diners_orders_follow_one_another() {
        let script = Script::write(4, 2_000);
        for (index, arrival) in script.arrivals.iter().enumerate() {
            if let Some(before) = arrival.after {
                assert!(before < index && script.arrivals[before].diner == arrival.diner);
                assert!(script.arrivals[before].at <= arrival.at);
            }
        }
    }

    #[test]
    fn dishes_are_real_and_priced() {
        let script = Script::write(5, 100);
        for canteen in &script.canteens {
            assert_eq!(canteen.dishes.len(), 12);
            for (dish, _) in &canteen.dishes {
                assert_eq!(dish.check(Currency::CNY), Ok(()));
                assert!(DISHES.contains(&format!("{},{},", dish.category, dish.name)), "{}", dish.name);
            }
        }
    }

    #[test]
    fn most_come_at_noon() {
        let (curve, mut random) = (Curve::read(CURVES), Random::new(6));
        let seconds: Vec<u64> = (0..10_000).map(|_| curve.second(&mut random)).collect();
        assert!(seconds.iter().all(|second| (FIRST_COMES..LAST_COMES).contains(second)));
        let in_the_hour = |hour: u64| seconds.iter().filter(|second| **second / 3_600 == hour).count();
        assert!(in_the_hour(12) > in_the_hour(11) && in_the_hour(11) > 500);
    }
}
