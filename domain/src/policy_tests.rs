use jiff::civil::date;

use super::*;
use crate::{
    GrantRunId, given,
    lot::Serves,
    testing::{canteen, cny, diner, id, usd},
};

/// A Monday.
const MONDAY: Date = date(2026, 11, 23);
const SUNDAY: Date = date(2026, 11, 29);

fn terms() -> Terms {
    let calendar = Calendar { weekdays: (1..=5).collect(), holidays: BTreeSet::new(), extra: BTreeSet::new() };
    Terms {
        amount: cny(2_000),
        per: Per::Day,
        clearing: Clearing::Daily,
        calendar,
        meals: [Meal::Lunch, Meal::Dinner].into(),
        canteens: BTreeSet::new(),
        order_limit: None,
        share_percent: None,
        cleared_on_leaving: false,
    }
}

fn opens() -> Command {
    Command::Open { company: CompanyId(id(1)), group: None, currency: Currency::CNY, zone: "Asia/Shanghai".into() }
}

fn opened() -> Event {
    Event::Opened { company: CompanyId(id(1)), group: None, currency: Currency::CNY, zone: "Asia/Shanghai".into() }
}

fn sets(from: Date, terms: Terms) -> Command {
    Command::SetTerms { from, terms: Box::new(terms) }
}

fn set(version: u32, from: Date, terms: Terms) -> Event {
    Event::TermsSet { version, from, terms: Box::new(terms) }
}

fn granted(events: Vec<Event>, first: Date, last: Date) -> Vec<(Date, Date, Option<Meal>, u32, i64)> {
    let policy = given::<Policy>([opened()].into_iter().chain(events)).state();
    let run = (GrantRunId(id(3)), Timestamp::EPOCH);
    let book = policy.book().unwrap();
    let lots = book.lots(PolicyId(id(2)), diner(1), &book.range(first, last).unwrap(), run).unwrap();
    let shown = |lot: Lot| {
        let Serves { first, last, meal } = lot.terms.serves;
        (first, last, meal, lot.terms.version, lot.amount.minor)
    };
    lots.into_iter().map(shown).collect()
}

#[test]
fn versions_follow_one_another() {
    let more = || Terms { amount: cny(2_500), ..terms() };
    given::<Policy>([])
        .when(opens())
        .then([opened()])
        .when(opens())
        .then([])
        .when(sets(MONDAY, terms()))
        .then([set(1, MONDAY, terms())])
        .when(sets(MONDAY, terms()))
        .then([])
        .when(sets(MONDAY, more()))
        .refused(Error::Overlaps { version: 1, from: MONDAY })
        .when(sets(date(2026, 11, 22), more()))
        .refused(Error::Overlaps { version: 1, from: MONDAY })
        .when(sets(SUNDAY, more()))
        .then([set(2, SUNDAY, more())])
        .when(Command::End { from: date(2026, 12, 1) })
        .then([Event::Ended { from: date(2026, 12, 1) }])
        .when(Command::End { from: date(2026, 12, 1) })
        .then([])
        .when(sets(date(2026, 12, 1), terms()))
        .refused(Error::Ended { from: date(2026, 12, 1) })
        .when(Command::End { from: date(2026, 12, 2) })
        .refused(Error::Ended { from: date(2026, 12, 1) });
    let other =
        Command::Open { company: CompanyId(id(9)), group: None, currency: Currency::CNY, zone: "Asia/Shanghai".into() };
    given::<Policy>([opened()]).when(other).refused(Error::OpenedAlready);
    let nowhere =
        Command::Open { company: CompanyId(id(1)), group: None, currency: Currency::CNY, zone: "Mars/Olympus".into() };
    given::<Policy>([]).when(nowhere).refused(Error::BadZone("Mars/Olympus".into()));
    given::<Policy>([]).when(sets(MONDAY, terms())).refused(Error::NotOpen);
}

#[test]
fn terms_that_cannot_be_name_their_field() {
    let calendar = || terms().calendar;
    let holiday = [MONDAY].into();
    let many = (0..=MAX_NAMED as u128).map(|number| CanteenId(uuid::Uuid::from_u128(number))).collect();
    for (field, bad) in [
        ("amount", Terms { amount: cny(0), ..terms() }),
        ("amount", Terms { amount: cny(-1), ..terms() }),
        ("amount", Terms { amount: cny(Money::MAX_MINOR + 1), ..terms() }),
        ("order_limit", Terms { order_limit: Some(cny(0)), ..terms() }),
        ("share_percent", Terms { share_percent: Some(0), ..terms() }),
        ("share_percent", Terms { share_percent: Some(101), ..terms() }),
        ("meals", Terms { meals: BTreeSet::new(), ..terms() }),
        ("calendar.weekdays", Terms { calendar: Calendar { weekdays: [8].into(), ..calendar() }, ..terms() }),
        ("calendar.weekdays", Terms { calendar: Calendar { weekdays: [].into(), ..calendar() }, ..terms() }),
        (
            "calendar.holidays",
            Terms { calendar: Calendar { holidays: [MONDAY].into(), extra: holiday, ..calendar() }, ..terms() },
        ),
        ("canteens and calendar", Terms { canteens: many, ..terms() }),
        ("clearing", Terms { per: Per::Month, ..terms() }),
        ("clearing.months", Terms { clearing: Clearing::Rollover { months: 0 }, ..terms() }),
        ("clearing.months", Terms { clearing: Clearing::Rollover { months: 25 }, ..terms() }),
    ] {
        given::<Policy>([opened()]).when(sets(MONDAY, bad)).refused(Error::BadTerms { field });
    }
    let dollars = Terms { amount: usd(5), ..terms() };
    given::<Policy>([opened()]).when(sets(MONDAY, dollars)).refused(Error::OtherCurrency { currency: Currency::CNY });
}

#[test]
fn terms_by_which_a_diner_could_have_more_lots_than_an_account_keeps_are_refused() {
    let of = |per, clearing, meals: &[Meal], weekdays: std::ops::RangeInclusive<u8>| {
        let calendar = Calendar { weekdays: weekdays.collect(), ..terms().calendar };
        Terms { per, clearing, calendar, meals: meals.iter().copied().collect(), ..terms() }
    };
    let (all, two) = (&Meal::ALL[..], &Meal::ALL[..2]);
    let year = Clearing::Rollover { months: 12 };
    for fits in [
        of(Per::Meal, Clearing::Daily, all, 1..=7),
        of(Per::Meal, Clearing::Monthly, all, 1..=5),
        of(Per::Day, year, two, 1..=5),
        of(Per::Month, Clearing::Rollover { months: MAX_ROLLOVER_MONTHS }, all, 1..=7),
    ] {
        given::<Policy>([opened()]).when(sets(MONDAY, fits.clone())).then([set(1, MONDAY, fits)]);
    }
    for (lots, passes) in [
        (492, of(Per::Meal, Clearing::Monthly, all, 1..=7)),
        (495, of(Per::Day, year, two, 1..=7)),
        (710, of(Per::Meal, year, two, 1..=5)),
    ] {
        given::<Policy>([opened()]).when(sets(MONDAY, passes)).refused(Error::TooManyLots { lots });
    }
    // Days that are worked besides count too, as far as they come together.
    let extra = |every: i64| (0..150).map(|day| plus(SUNDAY, (day * every).days())).collect();
    let with = |every| Terms {
        calendar: Calendar { extra: extra(every), ..terms().calendar },
        ..of(Per::Day, year, two, 1..=5)
    };
    given::<Policy>([opened()]).when(sets(MONDAY, with(1))).refused(Error::TooManyLots { lots: 505 });
    given::<Policy>([opened()]).when(sets(MONDAY, with(14))).then([set(1, MONDAY, with(14))]);
}

#[test]
fn a_lot_is_for_its_day_until_it_is_cleared() {
    let lots = |clearing| granted(vec![set(1, MONDAY, Terms { clearing, ..terms() })], MONDAY, SUNDAY);
    let last = |clearing| lots(clearing).iter().map(|lot| lot.1).collect::<Vec<_>>();
    let daily = lots(Clearing::Daily);
    // Five working days; each lot pays on its own.
    assert_eq!(daily.len(), 5);
    assert_eq!(daily[0], (MONDAY, MONDAY, None, 1, 2_000));
    assert_eq!(last(Clearing::Weekly), [SUNDAY; 5]);
    assert_eq!(last(Clearing::Monthly), [date(2026, 11, 30); 5]);
    assert_eq!(last(Clearing::Rollover { months: 3 }), [date(2027, 2, 28); 5]);
}

#[test]
fn holidays_are_not_worked_and_extra_days_are() {
    let calendar = Calendar { holidays: [MONDAY].into(), extra: [SUNDAY].into(), ..terms().calendar };
    let lots = granted(vec![set(1, MONDAY, Terms { calendar, ..terms() })], MONDAY, SUNDAY);
    let dates: Vec<_> = lots.iter().map(|lot| lot.0.day()).collect();
    assert_eq!(dates, [24, 25, 26, 27, 29]);
}

#[test]
fn meals_and_months_have_lots_of_their_own() {
    let meals = granted(vec![set(1, MONDAY, Terms { per: Per::Meal, ..terms() })], MONDAY, MONDAY);
    assert_eq!(meals, [(MONDAY, MONDAY, Some(Meal::Lunch), 1, 2_000), (MONDAY, MONDAY, Some(Meal::Dinner), 1, 2_000)]);
    let monthly = Terms { per: Per::Month, clearing: Clearing::Monthly, ..terms() };
    let months = granted(vec![set(1, MONDAY, monthly)], MONDAY, date(2027, 1, 2));
    let dates: Vec<_> = months.iter().map(|lot| (lot.0, lot.1)).collect();
    assert_eq!(
        dates,
        [
            (date(2026, 11, 1), date(2026, 11, 30)),
            (date(2026, 12, 1), date(2026, 12, 31)),
            (date(2027, 1, 1), date(2027, 1, 31))
        ]
    );
}

#[test]
fn each_date_has_the_version_of_its_time() {
    let thursday = date(2026, 11, 26);
    let events = vec![
        set(1, date(2026, 11, 24), terms()),
        set(2, thursday, Terms { amount: cny(3_000), ..terms() }),
        Event::Ended { from: date(2026, 11, 27) },
    ];
    let lots: Vec<_> = granted(events, MONDAY, SUNDAY).iter().map(|lot| (lot.0.day(), lot.3, lot.4)).collect();
    assert_eq!(lots, [(24, 1, 2_000), (25, 1, 2_000), (26, 2, 3_000)]);
}

#[test]
fn lots_expire_at_the_zones_midnight_and_keep_their_ids() {
    let policy = given::<Policy>([opened(), set(1, MONDAY, terms())]).state();
    let book = policy.book().unwrap();
    let lots = |run: u8, at: Timestamp, (first, last)| {
        let range = book.range(first, last).unwrap();
        book.lots(PolicyId(id(2)), diner(1), &range, (GrantRunId(id(run)), at)).unwrap()
    };
    let first = lots(3, Timestamp::EPOCH, (MONDAY, MONDAY))[0];
    assert_eq!(first.terms.expires_at.to_string(), "2026-11-23T16:00:00Z");
    let again = lots(4, Timestamp::from_seconds(5), (MONDAY, SUNDAY));
    assert_eq!(again[0].id, first.id);
    let ids: BTreeSet<_> = again.iter().map(|lot| lot.id).collect();
    assert_eq!(ids.len(), 5);
    // What has expired already is not granted.
    assert_eq!(lots(5, first.terms.expires_at, (MONDAY, SUNDAY)).len(), 4);
    for days in [(SUNDAY, MONDAY), (MONDAY, date(2027, 11, 23)), (Date::MIN, Date::MAX)] {
        let bad = Error::BadDays { first: days.0, last: days.1 };
        assert_eq!(book.range(days.0, days.1), Err(bad));
    }
}

#[test]
fn terms_say_where_they_pay_and_how_much() {
    let canteens = [canteen()].into();
    let limited = Terms { canteens, order_limit: Some(cny(1_500)), share_percent: Some(50), ..terms() };
    assert!(limited.pays_at(canteen(), MONDAY, Meal::Lunch));
    assert!(!limited.pays_at(CanteenId(id(9)), MONDAY, Meal::Lunch));
    assert!(!limited.pays_at(canteen(), SUNDAY, Meal::Lunch));
    assert!(!limited.pays_at(canteen(), MONDAY, Meal::Snack));
    assert_eq!(limited.limit(cny(1_999)), Some(Limit { minor: 999, why: Why::Share }));
    assert_eq!(limited.limit(cny(9_000)), Some(Limit { minor: 1_500, why: Why::OrderLimit }));
    assert_eq!(terms().limit(cny(9_000)), None);
    assert!(terms().pays_at(CanteenId(id(9)), MONDAY, Meal::Dinner));
}

#[test]
fn a_run_goes_by_the_policy_as_it_stood() {
    let before = given::<Policy>([opened(), set(1, MONDAY, terms())]).state();
    let range = before.book().unwrap().range(MONDAY, SUNDAY).unwrap();
    let changed = [set(2, date(2026, 11, 24), Terms { amount: cny(9_000), ..terms() }), Event::Ended { from: SUNDAY }];
    let after = given::<Policy>([opened(), set(1, MONDAY, terms())].into_iter().chain(changed)).state();
    let run = (GrantRunId(id(3)), Timestamp::EPOCH);
    let lots = |policy: &Policy| policy.book().unwrap().lots(PolicyId(id(2)), diner(1), &range, run).unwrap();
    assert_eq!(lots(&before), lots(&after));
    // A new run knows the end.
    let book = after.book().unwrap();
    assert_eq!(book.range(MONDAY, SUNDAY).unwrap(), Range { first: MONDAY, last: date(2026, 11, 28), versions: 2 });
    assert_eq!(book.range(SUNDAY, SUNDAY), Err(Error::Ended { from: SUNDAY }));
}
