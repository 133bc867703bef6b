use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::{
    given,
    testing::{cases, step},
};

/// Half past four in the morning of 2026-11-02 in Shanghai, where it is still the 1st in UTC.
const NOW: &str = "2026-11-01T20:30:00Z";

fn open(zone: &str) -> Command {
    Command::Open { zone: zone.into() }
}

fn opened() -> Event {
    Event::Opened { zone: "Asia/Shanghai".into() }
}

fn close(through: Date) -> Command {
    Command::ClosePeriod { through, at: NOW.parse().unwrap() }
}

fn closed(from: Option<Date>, through: Date) -> Event {
    Event::PeriodClosed { from, through }
}

fn reopen(from: Date) -> Command {
    Command::Reopen { from, reason: ReopenReason::Audit }
}

fn reopened(closed_through: Option<Date>) -> Event {
    Event::PeriodReopened { closed_through, reason: ReopenReason::Audit }
}

/// Books that are closed through August, September and October.
fn quarter() -> [Event; 4] {
    [
        opened(),
        closed(None, date(2026, 8, 31)),
        closed(Some(date(2026, 9, 1)), date(2026, 9, 30)),
        closed(Some(date(2026, 10, 1)), date(2026, 10, 31)),
    ]
}

#[test]
fn books_open_once_in_one_zone() {
    given::<Books>([])
        .when(open("asia/shanghai"))
        .then([opened()])
        .when(open("Asia/Shanghai"))
        .then([])
        .when(open("Europe/Berlin"))
        .refused(Error::AlreadyOpen { zone: "Asia/Shanghai".into() });
}

#[test]
fn they_need_a_zone_that_there_is() {
    for zone in ["", "Mars/Olympus", "+08:00", "Etc/Unknown"] {
        given::<Books>([]).when(open(zone)).refused(Error::UnknownZone { zone: zone.into() });
    }
    given::<Books>([]).when(open(&"x".repeat(500))).refused(Error::UnknownZone { zone: "x".repeat(80) });
}

#[test]
fn nothing_closes_before_they_are_open() {
    given::<Books>([]).when(close(date(2026, 10, 31))).refused(Error::NotOpen);
    given::<Books>([]).when(reopen(date(2026, 10, 31))).refused(Error::NotOpen);
}

#[test]
fn periods_close_one_after_the_other_and_a_repeat_is_harmless() {
    given::<Books>([opened()])
        .when(close(date(2026, 9, 30)))
        .then([closed(None, date(2026, 9, 30))])
        .when(close(date(2026, 10, 31)))
        .then([closed(Some(date(2026, 10, 1)), date(2026, 10, 31))])
        .when(close(date(2026, 10, 31)))
        .then([])
        .when(close(date(2026, 9, 30)))
        .then([]);
}

#[test]
fn a_close_before_an_earlier_one_is_refused() {
    let (through, closed_through) = (date(2026, 10, 15), date(2026, 10, 31));
    given::<Books>(quarter()).when(close(through)).refused(Error::OutOfOrder { through, closed_through });
}

#[test]
fn the_day_that_counts_is_the_one_in_the_books_zone() {
    let today = date(2026, 11, 2);
    given::<Books>(quarter()).when(close(today)).then([closed(Some(date(2026, 11, 1)), today)]);
    let through = date(2026, 11, 3);
    given::<Books>(quarter()).when(close(through)).refused(Error::NotYet { through, today });
    let (today, through) = (date(2026, 11, 1), date(2026, 11, 2));
    given::<Books>([Event::Opened { zone: "UTC".into() }])
        .when(close(through))
        .refused(Error::NotYet { through, today });
}

#[test]
fn a_day_before_all_books_is_refused() {
    let through = date(1969, 12, 31);
    given::<Books>([opened()]).when(close(through)).refused(Error::TooEarly { through });
    given::<Books>([opened()]).when(close(FIRST_DAY)).then([closed(None, FIRST_DAY)]);
}

#[test]
fn the_last_period_opens_again_or_all_down_to_a_day() {
    for day in [date(2026, 10, 1), date(2026, 10, 31)] {
        given::<Books>(quarter())
            .when(reopen(day))
            .then([reopened(Some(date(2026, 9, 30)))])
            .when(reopen(day))
            .then([]);
    }
    given::<Books>(quarter()).when(reopen(date(2026, 9, 30))).then([reopened(Some(date(2026, 8, 31)))]);
    given::<Books>(quarter()).when(reopen(date(1999, 1, 1))).then([reopened(None)]);
    // What is open needs no opening.
    given::<Books>(quarter()).when(reopen(date(2026, 11, 1))).then([]);
    given::<Books>([opened()]).when(reopen(date(2026, 11, 1))).then([]);
}

#[test]
fn a_period_that_was_opened_closes_again() {
    given::<Books>(quarter())
        .when(reopen(date(2026, 9, 1)))
        .then([reopened(Some(date(2026, 8, 31)))])
        .when(close(date(2026, 10, 15)))
        .then([closed(Some(date(2026, 9, 1)), date(2026, 10, 15))]);
}

#[test]
fn what_was_closed_too_long_ago_stays_closed() {
    let mut state = given::<Books>([opened()]).state();
    let first = date(2020, 1, 1);
    let mut day = first;
    for _ in 0..=MAX_REMEMBERED {
        state.evolve(&closed(None, day), Timestamp::EPOCH);
        day = day.tomorrow().unwrap();
    }
    assert_eq!(state.decide(reopen(first)), Err(Error::TooLongAgo { forgotten: first }));
    let second = first.tomorrow().unwrap();
    assert_eq!(state.decide(reopen(second)), Ok(vec![reopened(Some(first))]));
    state.evolve(&reopened(Some(first)), Timestamp::EPOCH);
    assert_eq!(state.book().unwrap().closed_through(), Some(first));
    let nothing_more = Period { from: None, through: first };
    assert_eq!(state.book().unwrap().closed_period(first), Some(nothing_more));
}

#[test]
fn what_is_dated_into_a_closed_period_is_refused_by_its_name() {
    let books = given::<Books>(quarter()).state();
    let at = |text: &str| -> Timestamp { text.parse().unwrap() };
    let period = Period { from: Some(date(2026, 10, 1)), through: date(2026, 10, 31) };
    // The last instant of October in Shanghai, and the first of November.
    let refused = books.takes(at("2026-10-31T15:59:59.999999Z")).unwrap_err();
    assert_eq!(refused, Error::Closed { date: date(2026, 10, 31), period });
    assert_eq!(refused.code(), "PERIOD_CLOSED");
    assert_eq!(refused.to_string(), "2026-10-31 lies in a closed period (2026-10-01 to 2026-10-31)");
    assert_eq!(books.takes(at("2026-10-31T16:00:00Z")), Ok(()));
    let first = Period { from: None, through: date(2026, 8, 31) };
    let (date, old) = (date(1999, 1, 1), "1999-01-01T00:00:00Z");
    assert_eq!(books.takes(at(old)), Err(Error::Closed { date, period: first }));
    assert_eq!(first.to_string(), "everything up to 2026-08-31");
    assert_eq!(Books::New.takes(at(old)), Ok(()));
    assert_eq!(given::<Books>([opened()]).state().takes(at(old)), Ok(()));
}

#[test]
fn what_comes_late_is_booked_on_the_first_open_day() {
    let october = Some(date(2026, 10, 31));
    assert_eq!(booked_on(date(2026, 10, 31), october), (date(2026, 11, 1), true));
    assert_eq!(booked_on(date(2026, 11, 1), october), (date(2026, 11, 1), false));
    assert_eq!(booked_on(date(2026, 10, 31), None), (date(2026, 10, 31), false));
    assert_eq!(booked_on(Date::MIN, Some(Date::MAX)), (Date::MAX, true));
}

#[test]
fn reasons_are_known_by_name() {
    for reason in ReopenReason::ALL {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.name());
    }
}

/// A day near NOW, some to come.
fn day() -> impl Strategy<Value = Date> {
    (0..40_i64).prop_map(|days| date(2026, 10, 1).checked_add(jiff::Span::new().days(days)).unwrap())
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        1 => Just(open("Asia/Shanghai")),
        6 => day().prop_map(close),
        3 => day().prop_map(reopen),
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn closes_stay_in_order_and_every_step_can_be_repeated(commands in prop::collection::vec(command(), 1..40)) {
        let mut books = Books::default();
        for command in commands {
            step(&mut books, command.clone());
            let Books::Open(book) = &books else { continue };
            prop_assert!(book.closes.iter().zip(book.closes.iter().skip(1)).all(|(one, next)| one < next));
            prop_assert!(book.closed_through().is_none_or(|closed| closed <= date(2026, 11, 2)));
            if let Command::Reopen { from, .. } = command {
                prop_assert_eq!(book.closed_period(from), None);
            }
        }
    }
}

#[test]
fn an_adjustments_limit_is_set_once_and_is_zero_before() {
    let limit = |minor| crate::testing::cny(minor);
    let sets = |minor| Command::SetApprovalLimit { limit: limit(minor) };
    let set = |minor| Event::ApprovalLimitSet { limit: limit(minor) };
    given::<Books>([]).when(sets(1)).refused(Error::NotOpen);
    let open = || [Event::Opened { zone: "Asia/Shanghai".into() }];
    let state = given::<Books>(open())
        .when(sets(0))
        .then([])
        .when(sets(-1))
        .refused(Error::BadLimit)
        .when(sets(Money::MAX_MINOR + 1))
        .refused(Error::BadLimit)
        .when(sets(500))
        .then([set(500)])
        .when(sets(500))
        .then([])
        .state();
    assert_eq!(state.approval_limit(Currency::CNY), limit(500));
    assert_eq!(state.approval_limit(Currency::USD), Money::zero(Currency::USD));
    assert_eq!(Books::New.approval_limit(Currency::CNY), limit(0));
}

#[test]
fn the_order_of_deduction_is_set_once_and_begins_with_the_subsidy() {
    let set = |order| Command::SetDeductionOrder { order };
    given::<Books>([]).when(set(DeductionOrder::WalletFirst)).refused(Error::NotOpen);
    assert_eq!(Books::New.deduction_order(), DeductionOrder::SubsidyFirst);
    let open = || [Event::Opened { zone: "Asia/Shanghai".into() }];
    let state = given::<Books>(open())
        .when(set(DeductionOrder::SubsidyFirst))
        .then([])
        .when(set(DeductionOrder::WalletFirst))
        .then([Event::DeductionOrderSet { order: DeductionOrder::WalletFirst }])
        .when(set(DeductionOrder::WalletFirst))
        .then([])
        .state();
    assert_eq!(state.deduction_order(), DeductionOrder::WalletFirst);
}
