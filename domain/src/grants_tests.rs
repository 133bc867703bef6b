use std::collections::BTreeMap;

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::{
    Aggregate, CompanyId, Currency, GrantRunId,
    policy::{Clearing, Event, Policy},
    testing::{cases, cny, diner, id},
};

const NOVEMBER: Date = date(2026, 11, 23);
const DECEMBER: Date = date(2026, 12, 1);

fn terms(per: Per) -> Terms {
    Terms {
        amount: cny(2_500),
        per,
        clearing: Clearing::Monthly,
        calendar: Calendar { weekdays: (1..=5).collect(), holidays: [].into(), extra: [].into() },
        meals: [Meal::Lunch, Meal::Dinner].into(),
        canteens: [].into(),
        order_limit: None,
        share_percent: None,
        cleared_on_leaving: false,
    }
}

/// One diner of one policy, as an account would have it.
struct House {
    policy: Policy,
    today: Date,
    has: Lots,
    /// How often each date and meal was granted for.
    granted: BTreeMap<(Date, Meal), u32>,
}

impl House {
    fn open(today: Date, terms: Terms) -> House {
        let (company, currency, zone) = (CompanyId(id(1)), Currency::CNY, "Asia/Shanghai".to_owned());
        let mut house = House { policy: Policy::default(), today, has: Lots::default(), granted: BTreeMap::new() };
        house.policy.evolve(&Event::Opened { company, group: None, currency, zone }, Timestamp::EPOCH);
        house.set(today, terms);
        house
    }

    /// Whether the terms were taken.
    fn set(&mut self, from: Date, terms: Terms) -> bool {
        let set = self.policy.decide(crate::policy::Command::SetTerms { from, terms: Box::new(terms) });
        let events = set.unwrap_or_default();
        events.iter().for_each(|event| self.policy.evolve(event, Timestamp::EPOCH));
        !events.is_empty()
    }

    fn now(&self) -> Timestamp {
        first_instant(self.today.at(6, 0, 0, 0), &TimeZone::get("Asia/Shanghai").unwrap()).unwrap()
    }

    /// A later morning. All is spent by then, and what is over is forgotten.
    fn sleep(&mut self, days: i64) {
        self.today = plus(self.today, days.days());
        let now = self.now();
        let over: Vec<LotId> = self.has.due(now).map(|(id, _)| id).collect();
        over.into_iter().for_each(|id| self.has.lapse(id, now));
    }

    /// A run for the dates from `first` to `last`; its lots' first and last dates.
    fn grant(&mut self, first: Date, last: Date) -> Vec<(Date, Date)> {
        let book = self.policy.book().unwrap();
        let run = (GrantRunId(id(9)), self.now());
        let lots = book.lots(PolicyId(id(2)), diner(1), &book.range(first, last).unwrap(), run).unwrap();
        let lacking = book.lacking(lots, &self.has);
        for lot in &lacking {
            assert!(self.has.get(lot.id).is_none(), "an id is taken: {lot:?}");
            self.has.grant(lot.id, lot.terms, lot.amount.minor);
            for date in lot.terms.serves.first.series(1.day()).take_while(|date| *date <= lot.until) {
                let meals = [Meal::Lunch, Meal::Dinner].into_iter();
                for meal in meals.filter(|meal| lot.terms.serves.meal.is_none_or(|only| only == *meal)) {
                    *self.granted.entry((date, meal)).or_default() += 1;
                }
            }
        }
        lacking.iter().map(|lot| (lot.terms.serves.first, lot.until)).collect()
    }
}

fn day(number: i8) -> Date {
    date(2026, 12, number)
}

#[test]
fn a_month_after_days_that_were_granted_ahead_is_for_the_rest_of_it() {
    let mut house = House::open(NOVEMBER, terms(Per::Day));
    assert_eq!(house.grant(NOVEMBER, day(4)).len(), 10, "ten working days");
    house.set(DECEMBER, terms(Per::Month));
    assert_eq!(house.grant(DECEMBER, day(1)), [(day(5), day(31))]);
    assert_eq!(house.grant(NOVEMBER, day(31)), []);
    assert_eq!(house.grant(date(2027, 1, 1), date(2027, 1, 1)), [(date(2027, 1, 1), date(2027, 1, 31))]);
    // Nobody has the days that are granted for in a run of both.
    let mut new = House::open(NOVEMBER, terms(Per::Day));
    new.set(day(2), terms(Per::Month));
    assert_eq!(new.grant(date(2026, 11, 30), day(31))[1..], [(day(1), day(1)), (day(2), day(31))]);
}

#[test]
fn days_and_meals_within_what_was_granted_ahead_are_not_granted_again() {
    let mut month = House::open(NOVEMBER, terms(Per::Month));
    assert_eq!(month.grant(NOVEMBER, DECEMBER).len(), 2);
    month.set(DECEMBER, terms(Per::Day));
    assert_eq!(month.grant(NOVEMBER, day(31)), []);
    let mut meals = House::open(NOVEMBER, terms(Per::Day));
    meals.grant(NOVEMBER, day(4));
    meals.set(DECEMBER, terms(Per::Meal));
    assert_eq!(meals.grant(NOVEMBER, day(7)), [(day(7), day(7)); 2]);
    let mut one = House::open(NOVEMBER, Terms { meals: [Meal::Lunch].into(), ..terms(Per::Meal) });
    one.grant(NOVEMBER, DECEMBER);
    one.set(DECEMBER, terms(Per::Meal));
    assert_eq!(one.grant(DECEMBER, DECEMBER), [(DECEMBER, DECEMBER)], "dinner was not granted for");
}

#[test]
fn what_other_terms_granted_is_not_granted_again_when_it_is_over_and_forgotten() {
    let mut house = House::open(NOVEMBER, Terms { clearing: Clearing::Daily, ..terms(Per::Day) });
    house.grant(NOVEMBER, date(2026, 11, 30));
    house.sleep(3);
    house.set(date(2026, 11, 24), terms(Per::Day));
    assert!(house.has.len() < 6, "the account has forgotten what is over");
    assert_eq!(house.grant(NOVEMBER, date(2026, 11, 30)), []);
    assert_eq!(house.grant(NOVEMBER, DECEMBER), [(DECEMBER, DECEMBER)]);
    // The same terms may grant for what is past, when it can still be spent.
    let mut late = House::open(NOVEMBER, terms(Per::Day));
    late.sleep(3);
    assert_eq!(late.grant(NOVEMBER, NOVEMBER), [(NOVEMBER, NOVEMBER)]);
}

#[test]
fn lots_keep_the_ids_that_they_always_had() {
    let of = |house: &House, date| {
        let book = house.policy.book().unwrap();
        let run = (GrantRunId(id(9)), house.now());
        book.lots(PolicyId(id(2)), diner(1), &book.range(date, date).unwrap(), run).unwrap()[0].id
    };
    let parts = |date: &str, meal: &str| {
        LotId(derived_id(diner(1).0, &[b"lot", PolicyId(id(2)).0.as_bytes(), date.as_bytes(), meal.as_bytes()]))
    };
    assert_eq!(of(&House::open(NOVEMBER, terms(Per::Day)), DECEMBER), parts("2026-12-01", ""));
    assert_eq!(of(&House::open(NOVEMBER, terms(Per::Meal)), DECEMBER), parts("2026-12-01", "lunch"));
    let mut month = House::open(NOVEMBER, terms(Per::Month));
    month.set(DECEMBER, Terms { amount: cny(1), ..terms(Per::Month) });
    assert_eq!(of(&month, day(9)), parts("2026-12-01", ""));
    let mut days = House::open(NOVEMBER, terms(Per::Day));
    days.set(DECEMBER, terms(Per::Month));
    assert_ne!(of(&days, day(9)), parts("2026-12-01", ""), "which is the lot of the first day");
}

#[derive(Clone, Debug)]
enum Step {
    Sleep(i64),
    Set { days_ahead: i64, per: Per, clearing: Clearing },
    Grant { days: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let pers = prop_oneof![Just(Per::Day), Just(Per::Month), Just(Per::Meal)];
    let clearings = prop_oneof![
        Just(Clearing::Daily),
        Just(Clearing::Weekly),
        Just(Clearing::Monthly),
        Just(Clearing::Rollover { months: 1 })
    ];
    prop_oneof![
        (0_i64..12).prop_map(Step::Sleep),
        (-10_i64..40, pers, clearings).prop_map(|(days_ahead, per, clearing)| Step::Set { days_ahead, per, clearing }),
        (0_i64..60).prop_map(|days| Step::Grant { days }),
    ]
}

proptest! {
    #![proptest_config(cases(1_000))]
    #[test]
    fn whatever_terms_follow_each_date_and_meal_is_granted_for_once(steps in proptest::collection::vec(step(), 1..14)) {
        let mut house = House::open(NOVEMBER, terms(Per::Day));
        for step in steps {
            match step {
                Step::Sleep(days) => house.sleep(days),
                Step::Set { days_ahead, per, clearing } => {
                    let clearing = if per == Per::Month { Clearing::Monthly } else { clearing };
                    house.set(plus(house.today, days_ahead.days()), Terms { clearing, ..terms(per) });
                }
                Step::Grant { days } => {
                    let last = plus(house.today, days.days());
                    house.grant(house.today, last);
                    let working = terms(Per::Day).calendar;
                    for date in house.today.series(1.day()).take_while(|date| *date <= last) {
                        for meal in [Meal::Lunch, Meal::Dinner].into_iter().filter(|_| working.includes(date)) {
                            prop_assert!(house.granted.contains_key(&(date, meal)), "{date} goes without {meal:?}");
                        }
                    }
                }
            }
        }
        let twice: Vec<_> = house.granted.iter().filter(|(_, times)| **times > 1).collect();
        prop_assert!(twice.is_empty(), "granted for twice: {twice:?}");
    }
}
