//! A closed period takes no more postings, whatever comes and whenever it is dated.

use std::collections::BTreeMap;

use domain::{
    AccountId, Aggregate, CanteenId, Fact, OrderId, account,
    books::{self, Books, Command},
    order, postings,
    postings::LedgerAccount,
};
use jiff::civil::date;
use proptest::prelude::*;
use store::Recorded;

use super::*;
use crate::{
    Projection,
    as_of::books::{LedgerDay, LedgerTotal},
    journal::{Entry, Journal},
    testing::{self, cny, diner, id, tenant},
};

/// Noon of 2026-11-02 in UTC.
const NOON: i64 = 1_793_620_800;
const DAY: i64 = 24 * 60 * 60;

/// What happens next, some hours after the last.
#[derive(Clone, Debug)]
enum Step {
    /// Dated so many hours before or after it is recorded.
    Booking {
        what: u8,
        amount: i64,
        hours: i64,
    },
    Open,
    /// So many days back, or to come.
    Close(i64),
    Reopen(i64),
}

fn step() -> impl Strategy<Value = (Step, i64)> {
    let hours = prop_oneof![3 => -30..6_i64, 2 => -2_000..20_i64];
    let booking =
        (0..4_u8, 1..9_999_i64, hours).prop_map(|(what, amount, hours)| Step::Booking { what, amount, hours });
    let next = prop_oneof![
        12 => booking,
        1 => Just(Step::Open),
        4 => (-40..2_i64).prop_map(Step::Close),
        1 => (-60..2_i64).prop_map(Step::Reopen),
    ];
    (next, 0..40_i64)
}

fn zone_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["Asia/Shanghai", "America/New_York", "UTC", "Pacific/Kiritimati", "Europe/Berlin"])
}

/// The log that a history makes, with the aggregate's own decisions.
fn log_of(zone: &str, steps: &[(Step, i64)]) -> Vec<Recorded> {
    let (mut log, mut own, mut now): (Vec<Recorded>, Books, i64) = (vec![], Books::default(), NOON);
    for (number, (step, hours)) in steps.iter().enumerate() {
        now += hours * 3_600;
        let at = Timestamp::from_seconds(now);
        let day = |days: &i64| day(at.plus_seconds(days * DAY));
        let (command, ago) = match step {
            Step::Booking { what, amount, hours } => {
                let fact = booking(number, *what, *amount);
                log.push(recorded(log.len(), fact, at.plus_seconds(hours * 3_600), at));
                continue;
            }
            Step::Open => (Command::Open { zone: zone.to_owned() }, 0),
            Step::Close(days) => (Command::ClosePeriod { through: day(days), at }, *days),
            Step::Reopen(days) => (Command::Reopen { from: day(days), reason: ReopenReason::Correction }, *days),
        };
        for event in own.decide(command).unwrap_or_default() {
            own.evolve(&event, at);
            // An event of the books is dated like any other.
            log.push(recorded(log.len(), Fact::Books(tenant(), event), at.plus_seconds(ago), at));
        }
    }
    log
}

fn booking(number: usize, what: u8, amount: i64) -> Fact {
    let (wallet, amount) = (AccountId::Wallet(diner(usize::from(what))), cny(amount));
    match what {
        0 => Fact::Account(
            wallet,
            account::Event::Deposited { deposit: id(number as u128), amount, source: domain::top_up::Source::Bank },
        ),
        1 => Fact::Account(wallet, account::Event::Captured { hold: testing::hold(number, 0), amount }),
        _ => {
            let canteen = CanteenId(id(50 + u128::from(what)));
            Fact::Order(
                OrderId(id(number as u128)),
                order::Event::PickedUp { canteen, recognised: amount, tax: vec![] },
            )
        }
    }
}

fn recorded(before: usize, fact: Fact, occurred_at: Timestamp, recorded_at: Timestamp) -> Recorded {
    let position = before as u64 + 1;
    let metadata = testing::metadata();
    Recorded { position, tenant: tenant(), version: position, fact, metadata, occurred_at, recorded_at }
}

type Totals = BTreeMap<LedgerAccount, (i64, i64)>;

/// Debits and credits by account of the days from `from` through `through`.
fn totals(rows: &mut Rows, from: Option<Date>, through: Date) -> Totals {
    let mut totals = Totals::new();
    for day in rows.all::<LedgerDay>() {
        if from.is_none_or(|from| from <= day.booked_on) && day.booked_on <= through {
            let sum = totals.entry(day.account).or_default();
            *sum = (sum.0 + day.debits_minor, sum.1 + day.credits_minor);
        }
    }
    totals
}

fn is_balanced(totals: &Totals) -> bool {
    totals.values().map(|(debits, credits)| credits - debits).sum::<i64>() == 0
}

/// The periods of the books: those that are closed, and what is open behind them.
fn periods(rows: &mut Rows) -> Vec<(Option<Date>, Date)> {
    let mut closed: Vec<Period> = rows.all::<Period>().into_iter().filter(|period| !period.is_open()).collect();
    closed.sort_by_key(|period| period.last_day);
    let from = closed.last().map(|period| period.last_day.tomorrow().unwrap());
    closed.iter().map(|period| (period.first_day, period.last_day)).chain([(from, Date::MAX)]).collect()
}

/// Folds the log and looks after each event whether a closed period has changed.
fn fold(log: &[Recorded]) -> Rows {
    let mut rows = Rows::empty();
    let mut at_close: BTreeMap<(Option<Date>, Date), Totals> = BTreeMap::new();
    for it in log {
        let closed_before = rows.all::<OpenBooks>().first().and_then(|books| books.closed_through);
        let zone = rows.all::<OpenBooks>().first().map_or(TimeZone::UTC, |books| books.zone.0.clone());
        Journal.apply(it, &mut rows).unwrap();
        let mut still = periods(&mut rows);
        still.pop();
        match &it.fact {
            Fact::Books(..) => {
                at_close.retain(|period, _| still.contains(period));
                for (from, through) in still {
                    at_close.entry((from, through)).or_insert_with(|| totals(&mut rows, from, through));
                }
            }
            _ => {
                assert_eq!(at_close.keys().copied().collect::<Vec<_>>(), still);
                for entry in rows.all::<Entry>().iter().filter(|entry| entry.position == it.position) {
                    let own = it.occurred_at.date_in(&zone);
                    let late = closed_before.is_some_and(|closed| own <= closed);
                    let first_open = || closed_before.unwrap().tomorrow().unwrap();
                    let expected = if late { first_open() } else { own };
                    assert_eq!((entry.late, entry.booking_date), (late, expected));
                }
            }
        }
        for ((from, through), totals_then) in &at_close {
            assert_eq!(totals(&mut rows, *from, *through), *totals_then, "{from:?} to {through} after {it:?}");
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_closed_period_never_changes_and_the_periods_sum_to_the_trial_balance(
        zone in zone_name(),
        opens in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        // Half of the histories open their books first; the others have a past in UTC, or no books.
        let steps: Vec<_> = opens.then_some((Step::Open, 0)).into_iter().chain(steps).collect();
        let log = log_of(zone, &steps);
        let mut rows = fold(&log);

        let mut trial = Totals::new();
        for posting in log.iter().flat_map(|it| postings::postings(&it.fact)) {
            let (sum, minor) = (trial.entry(posting.account).or_default(), posting.amount.minor);
            *sum = (sum.0 - minor.min(0), sum.1 + minor.max(0));
        }
        let mut over_periods = Totals::new();
        for (from, through) in periods(&mut rows) {
            let period = totals(&mut rows, from, through);
            prop_assert!(is_balanced(&period));
            for (account, (debits, credits)) in period {
                let sum = over_periods.entry(account).or_default();
                *sum = (sum.0 + debits, sum.1 + credits);
            }
        }
        prop_assert_eq!(&over_periods, &trial);
        prop_assert!(is_balanced(&trial));
        let by_day: i64 = rows.all::<LedgerTotal>().iter().map(|day| day.credits_minor - day.debits_minor).sum();
        prop_assert_eq!(by_day, 0);

        // Folded anew it comes out the same.
        let mut again = Rows::empty();
        for it in &log {
            Journal.apply(it, &mut again).unwrap();
        }
        prop_assert_eq!(again.all::<Entry>(), rows.all::<Entry>());
        prop_assert_eq!(again.all::<LedgerDay>(), rows.all::<LedgerDay>());
        prop_assert_eq!(again.all::<Period>(), rows.all::<Period>());
    }
}

fn happened(log: &mut Vec<Recorded>, fact: Fact, occurred_at: &str) {
    let at = occurred_at.parse().unwrap();
    log.push(recorded(log.len(), fact, at, at));
}

#[test]
fn an_entry_is_booked_on_its_local_date_or_on_the_first_open_day() {
    let mut log = vec![];
    let paid = || booking(1, 0, 500);
    let on_books = |event| Fact::Books(tenant(), event);
    // Before the books are open: the date in UTC.
    happened(&mut log, paid(), "2026-10-31T16:30:00Z");
    happened(&mut log, on_books(books::Event::Opened { zone: "Asia/Shanghai".into() }), "2026-10-31T16:31:00Z");
    happened(&mut log, paid(), "2026-10-31T16:32:00Z");
    let (from, through) = (None, date(2026, 10, 31));
    happened(&mut log, on_books(books::Event::PeriodClosed { from, through }), "2026-11-03T01:00:00Z");
    // The last instant of October in Shanghai, and the first of November.
    happened(&mut log, paid(), "2026-10-31T15:59:59.999999Z");
    happened(&mut log, paid(), "2026-10-31T16:00:00Z");
    let reason = ReopenReason::LateInvoice;
    happened(&mut log, on_books(books::Event::PeriodReopened { closed_through: None, reason }), "2026-11-03T02:00:00Z");
    happened(&mut log, paid(), "2026-10-31T15:59:59.999999Z");
    let mut rows = fold(&log);
    let booked: Vec<_> =
        rows.all::<Entry>().iter().step_by(2).map(|entry| (entry.booking_date.day(), entry.late)).collect();
    assert_eq!(booked, [(31, false), (1, false), (1, true), (1, false), (31, false)]);
}

#[test]
fn a_period_says_who_closed_and_who_opened_it() {
    let mut log = vec![];
    let on_books = |event| Fact::Books(tenant(), event);
    let (august, september, october) = (date(2026, 8, 31), date(2026, 9, 30), date(2026, 10, 31));
    happened(&mut log, on_books(books::Event::Opened { zone: "UTC".into() }), "2026-11-01T00:00:00Z");
    for (from, through) in [(None, august), (Some(date(2026, 9, 1)), september), (Some(date(2026, 10, 1)), october)] {
        happened(&mut log, on_books(books::Event::PeriodClosed { from, through }), "2026-11-02T00:00:00Z");
    }
    let (closed_through, reason) = (Some(august), ReopenReason::Audit);
    happened(&mut log, on_books(books::Event::PeriodReopened { closed_through, reason }), "2026-11-03T00:00:00Z");
    let from = Some(date(2026, 9, 1));
    happened(&mut log, on_books(books::Event::PeriodClosed { from, through: october }), "2026-11-04T00:00:00Z");
    let mut rows = fold(&log);
    let actor = testing::metadata().actor;
    let shown: Vec<_> = rows
        .all::<Period>()
        .into_iter()
        .map(|period| (period.number, period.last_day, period.before, period.reason, period.reopened_by))
        .collect();
    let opened = (Some(ReopenReason::Audit), Some(actor));
    assert_eq!(
        shown,
        [
            (1, august, 0, None, None),
            (2, september, 1, opened.0, opened.1),
            (3, october, 2, opened.0, opened.1),
            (4, october, 1, None, None),
        ]
    );
    let books = rows.all::<OpenBooks>().remove(0);
    assert_eq!((books.closed_through, books.closes, books.closed), (Some(october), 4, 4));
}

#[test]
fn what_cannot_have_happened_is_poison() {
    let closed = books::Event::PeriodClosed { from: None, through: date(2026, 10, 31) };
    let reopened = books::Event::PeriodReopened { closed_through: None, reason: ReopenReason::Audit };
    let nowhere = books::Event::Opened { zone: "Mars/Olympus".into() };
    for event in [closed, reopened, nowhere] {
        let it = recorded(0, Fact::Books(tenant(), event), Timestamp::EPOCH, Timestamp::EPOCH);
        assert!(Journal.apply(&it, &mut Rows::empty()).is_err());
    }
}

#[test]
fn days_that_no_database_holds_are_clamped() {
    let zone = Zone(bundled_zone("Pacific/Kiritimati").unwrap());
    assert_eq!(day_in(Timestamp::from_micros(i64::MIN), &zone.0), date(1, 1, 1));
    assert_eq!(day_in(Timestamp::from_micros(i64::MAX), &zone.0), Date::MAX);
    assert_eq!(Zone::from_value(zone.to_value().unwrap()), Ok(zone.clone()));
    assert!(Zone::from_value(Value::Text("Mars/Olympus".into())).is_err());
    assert!(Zone(TimeZone::fixed(jiff::tz::offset(8))).to_value().is_err());
}
