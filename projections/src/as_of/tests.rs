//! Against a naive model that adds up every posting there ever was.

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    AccountId, Aggregate, CanteenId, Currency, DinerId, Fact, Money, OrderId, StreamId, TenantId, Timestamp,
    account::{self, Account},
    books::{self as own, Books, ReopenReason, booked_on},
    bundled_zone,
    order::{self, Order, RefundFrom},
    postings::{LedgerAccount, postings},
};
use jiff::{civil::Date, tz::TimeZone};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rustc_hash::FxHashMap;
use store::{Append, EventStore, MemoryLog, NewEvent, Version};

use super::{
    AsOf, AsOfError,
    books::{self, Accounts},
    journal, orders,
};
use crate::{
    PageSize, Projection, Registry, Rows, Runner, Snapshot, Views, args,
    balances::{Balance, TrialBalance},
    diner_orders::{DinerOrders, Order as OrderRow},
    journal::{Entry, Journal},
    testing::{self, World, id},
};

/// Noon of 2026-11-23 in UTC.
const NOON: i64 = 1_795_435_200_000_000;
const HOUR: i64 = 3_600_000_000;

/// A movement of money, or a change of the books' periods.
#[derive(Clone, Debug)]
pub(crate) struct Booking {
    pub(crate) tenant: u128,
    who: u128,
    pub(crate) what: u8,
    pub(crate) amount: i64,
    dollars: bool,
    /// How many hours after, or before, its recording it is booked.
    hours: i64,
    /// How many minutes after the one before it is recorded.
    minutes: i64,
}

pub(crate) fn booking() -> impl Strategy<Value = Booking> {
    let hours = prop_oneof![4 => Just(0), 1 => -100..30_i64];
    let minutes = prop_oneof![2 => Just(0), 3 => 1..200_i64, 1 => 1_000..4_000_i64];
    (1..3_u128, 0..4_u128, 0..7_u8, 1..9_999_i64, any::<bool>(), hours, minutes).prop_map(
        |(tenant, who, what, amount, dollars, hours, minutes)| Booking {
            tenant,
            who,
            what,
            amount,
            dollars,
            hours,
            minutes,
        },
    )
}

impl Booking {
    /// Of the first tenant, a day after the one before.
    pub(crate) fn every_day(&mut self) {
        (self.tenant, self.what, self.hours, self.minutes) = (1, self.what % 4, 0, 24 * 60);
    }

    /// What it asks of the books, if it is none of money; days are counted back from `now`.
    fn on_books(&self, now: Timestamp) -> Option<own::Command> {
        let day = |days: i64| now.plus_seconds(-days * 86_400).date_in(&TimeZone::UTC);
        let zone = if self.tenant == 1 { "Asia/Shanghai" } else { "America/New_York" };
        match self.what {
            4 => Some(own::Command::Open { zone: zone.to_owned() }),
            5 => Some(own::Command::ClosePeriod { through: day(self.amount % 4), at: now }),
            6 => Some(own::Command::Reopen { from: day(self.amount % 5), reason: ReopenReason::Audit }),
            _ => None,
        }
    }

    fn fact(&self, number: usize) -> Fact {
        let amount = Money::new(self.amount, if self.dollars { Currency::USD } else { Currency::CNY });
        let wallet = AccountId::Wallet(DinerId(id(self.who)));
        let (hold, from) = (testing::hold(number, 0), RefundFrom::Canteen(CanteenId(id(50 + self.who))));
        match self.what {
            0 => Fact::Account(
                wallet,
                account::Event::Deposited { deposit: id(number as u128), amount, source: domain::top_up::Source::Bank },
            ),
            1 => Fact::Account(wallet, account::Event::Captured { hold, amount }),
            2 => {
                let refund = domain::RefundId(id(number as u128));
                Fact::Account(wallet, account::Event::RefundDiverted { refund, hold, amount, from, lot: None })
            }
            _ => {
                let recognised =
                    order::Event::PickedUp { canteen: CanteenId(id(50 + self.who)), recognised: amount, tax: vec![] };
                Fact::Order(OrderId(id(1_000 + number as u128)), recognised)
            }
        }
    }
}

/// The bookings as a log.
pub(crate) async fn log_of(bookings: &[Booking]) -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::new());
    let mut versions: FxHashMap<StreamId, Version> = FxHashMap::default();
    let mut books: BTreeMap<TenantId, Books> = BTreeMap::new();
    let mut now = NOON;
    for (number, booking) in bookings.iter().enumerate() {
        now += booking.minutes * 60_000_000;
        let (tenant, at) = (TenantId(id(booking.tenant)), Timestamp::from_micros(now));
        let fact = match booking.on_books(at) {
            None => booking.fact(number),
            Some(command) => {
                let books = books.entry(tenant).or_default();
                // What the books refuse or know already leaves no event.
                let Some(event) = books.decide(command).unwrap_or_default().pop() else { continue };
                books.evolve(&event, at);
                Fact::Books(tenant, event)
            }
        };
        let (stream, payload) = match &fact {
            Fact::Account(account, event) => (Account::stream(tenant, *account), serde_json::to_vec(event)),
            Fact::Order(order, event) => (Order::stream(tenant, *order), serde_json::to_vec(event)),
            Fact::Books(books, event) => (Books::stream(tenant, *books), serde_json::to_vec(event)),
            other => panic!("{other:?}"),
        };
        let version = versions.entry(stream).or_default();
        *version += 1;
        let events = vec![NewEvent { name: fact.name(), schema_version: 1, payload: payload.unwrap() }];
        let occurred_at = Timestamp::from_micros(now + booking.hours * HOUR);
        let (expected, metadata) = (*version - 1, testing::metadata());
        let append = Append { stream, expected, events, metadata, occurred_at, snapshot: None };
        log.append(vec![append], Timestamp::from_micros(now)).await.unwrap();
    }
    log
}

pub(crate) fn only_the_journal() -> Registry {
    Arc::new([Arc::new(Journal) as Arc<dyn Projection>])
}

/// Every posting there ever was, in the order of the log, each on its booking date.
pub(crate) async fn all_entries(log: &MemoryLog) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut books: BTreeMap<TenantId, (TimeZone, Option<Date>)> = BTreeMap::new();
    for row in log.read_all(1, 100_000).await.unwrap() {
        let it = store::Recorded::decode(&row).unwrap();
        let (zone, closed) = books.entry(it.tenant).or_insert((TimeZone::UTC, None));
        match &it.fact {
            Fact::Books(_, own::Event::Opened { zone: name }) => *zone = bundled_zone(name).unwrap(),
            Fact::Books(_, own::Event::PeriodClosed { through, .. }) => *closed = Some(*through),
            Fact::Books(_, own::Event::PeriodReopened { closed_through, .. }) => *closed = *closed_through,
            _ => {}
        }
        let (booking_date, late) = booked_on(it.occurred_at.date_in(zone), *closed);
        for (line, posting) in postings(&it.fact).into_iter().enumerate() {
            entries.push(Entry {
                tenant: it.tenant,
                position: it.position,
                line: u8::try_from(line).unwrap(),
                occurred_at: it.occurred_at,
                booking_date,
                late,
                recorded_at: it.recorded_at,
                account: posting.account,
                amount_minor: posting.amount.minor,
                currency: posting.amount.currency,
                event: row.event_type.to_string(),
                correlation: it.metadata.correlation,
                reason: None,
            });
        }
    }
    entries
}

fn counts(entry: &Entry, moment: AsOf) -> bool {
    match moment {
        AsOf::Position(position) => entry.position <= position,
        AsOf::Time(time) => entry.occurred_at <= time,
        AsOf::Date(date) => entry.booking_date <= date,
    }
}

fn naive_balances(entries: &[&Entry]) -> Vec<Balance> {
    let mut sums: BTreeMap<(String, Currency), Balance> = BTreeMap::new();
    for entry in entries {
        let Entry { tenant, account, currency, amount_minor: amount, .. } = **entry;
        let new = Balance { tenant, account, currency, balance_minor: 0, debits_minor: 0, credits_minor: 0 };
        let balance = sums.entry((account.to_string(), currency)).or_insert(new);
        balance.balance_minor += amount;
        balance.debits_minor -= amount.min(0);
        balance.credits_minor += amount.max(0);
    }
    // In the order of names, then codes.
    let mut balances: Vec<Balance> = sums.into_values().collect();
    balances.sort_by_key(|one| (one.account.to_string(), one.currency.code()));
    balances
}

fn naive_trial_balance(balances: &[Balance]) -> Vec<(String, u64, i64, i64)> {
    let mut books: BTreeMap<String, (u64, i64, i64)> = BTreeMap::new();
    for balance in balances {
        let book = books.entry(balance.currency.code().to_owned()).or_default();
        *book = (book.0 + 1, book.1 + balance.debits_minor, book.2 + balance.credits_minor);
    }
    books.into_iter().map(|(code, (accounts, debits, credits))| (code, accounts, debits, credits)).collect()
}

/// Everything that can be asked at `asked`, in small pages, against the model.
fn compare(snapshot: &Snapshot<'_>, entries: &[Entry], tenant: TenantId, asked: AsOf) -> Result<(), AsOfError> {
    let moment = super::Moment(asked);
    let own: Vec<&Entry> = entries.iter().filter(|entry| entry.tenant == tenant && counts(entry, asked)).collect();
    let expected = naive_balances(&own);

    let mut balances: Vec<Balance> = Vec::new();
    let mut ask = Accounts::default();
    while let page = books::balances(snapshot, tenant, &ask, 3, moment)?
        && let Some(last) = page.last()
    {
        ask.after = Some((last.account, last.currency));
        balances.extend(page);
    }
    assert_eq!(balances, expected, "{asked:?}");
    let prefix = "wallet:".to_owned();
    let of_kind: Vec<&Balance> = expected.iter().filter(|one| one.account.to_string().starts_with(&prefix)).collect();
    let ask = Accounts { prefix: Some(prefix), after: None };
    assert_eq!(books::balances(snapshot, tenant, &ask, 100, moment)?.iter().collect::<Vec<_>>(), of_kind);

    let books = books::trial_balance(snapshot, tenant, moment)?;
    assert!(books.iter().all(|book| book.balance.is_zero()));
    let shown =
        |book: &TrialBalance| (book.currency.code().to_owned(), book.accounts, book.debits.minor, book.credits.minor);
    assert_eq!(books.iter().map(shown).collect::<Vec<_>>(), naive_trial_balance(&expected), "{asked:?}");

    let mut accounts: Vec<Option<LedgerAccount>> = vec![None];
    accounts.extend(expected.iter().map(|one| Some(one.account)));
    for account in accounts {
        let newest: Vec<&Entry> =
            own.iter().rev().filter(|entry| account.is_none_or(|one| one == entry.account)).copied().collect();
        let mut read: Vec<Entry> = Vec::new();
        while let before = read.last().map(Entry::cursor)
            && let page = journal::latest(snapshot, tenant, account, before, 3, moment)?
            && !page.is_empty()
        {
            assert!(page.len() <= 3);
            read.extend(page);
        }
        assert_eq!(read.iter().collect::<Vec<_>>(), newest, "{asked:?} {account:?}");
    }

    let (from, to) = (Timestamp::from_micros(NOON - 20 * HOUR), Timestamp::from_micros(NOON + 50 * HOUR));
    let mut within: Vec<&Entry> =
        own.iter().filter(|entry| entry.occurred_at >= from && entry.occurred_at < to).copied().collect();
    within.sort_by_key(|entry| (entry.occurred_at, entry.position, entry.line));
    let mut read: Vec<Entry> = Vec::new();
    while let after = read.last().map(Entry::cursor)
        && let page = journal::between(snapshot, tenant, (from, to), after, 4, moment)?
        && !page.is_empty()
    {
        read.extend(page);
    }
    assert_eq!(read.iter().collect::<Vec<_>>(), within, "{asked:?}");
    Ok(())
}

/// Compares at every position, around every business time and on every booking date.
async fn compare_all(log: &Arc<MemoryLog>, views: Views) {
    let mut runner = Runner::open(log.clone(), views.clone()).await.unwrap();
    let head = runner.catch_up().await.unwrap();
    let entries = all_entries(log).await;
    let mut asked: Vec<AsOf> = (1..=head).map(AsOf::Position).collect();
    for entry in &entries {
        let micros = entry.occurred_at.micros;
        asked.extend([micros - 1, micros, micros + 1].map(|micros| AsOf::Time(Timestamp::from_micros(micros))));
        asked.extend([entry.booking_date.yesterday().unwrap(), entry.booking_date].map(AsOf::Date));
    }
    let compared = views
        .read(move |snapshot| {
            Ok(asked.into_iter().try_for_each(|asked| {
                [1, 2, 3].into_iter().try_for_each(|tenant| compare(snapshot, &entries, TenantId(id(tenant)), asked))
            }))
        })
        .await;
    compared.unwrap().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_moment_of_any_history_is_as_the_sum_of_its_postings(
        bookings in proptest::collection::vec(booking(), 1..28),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let log = log_of(&bookings).await;
            let views = Views::in_memory(log.identity(), only_the_journal()).unwrap();
            compare_all(&log, views).await;
        });
    }
}

/// Always the same: books that are opened, and closed while the others go on.
pub(crate) fn bookings(count: usize) -> Vec<Booking> {
    let mut runner = TestRunner::deterministic();
    let mut bookings: Vec<Booking> = (0..count).map(|_| booking().new_tree(&mut runner).unwrap().current()).collect();
    (bookings[0].tenant, bookings[0].what) = (1, 4);
    (bookings[8].tenant, bookings[8].what, bookings[8].amount) = (1, 5, 4);
    bookings
}

#[tokio::test]
async fn in_postgres_every_moment_is_as_the_sum_of_its_postings_too() {
    let log = log_of(&bookings(48)).await;
    assert!(all_entries(&log).await.iter().any(|entry| entry.late), "some come late");
    let url = ::testing::Postgres::shared().database();
    let views = Views::open_postgres(&url, log.identity(), only_the_journal()).await.unwrap();
    compare_all(&log, views).await;
}

/// How the database would go about a question.
pub(crate) fn plan(snapshot: &Snapshot<'_>, sql: &str) -> Vec<String> {
    let number = 1_u64;
    let most = (1..=8).rev().find(|index| sql.contains(&format!("?{index}"))).unwrap();
    let params = &args![number, number, number, number, number, number, number, number][..most];
    let lines = snapshot.query(&format!("EXPLAIN QUERY PLAN {sql}"), params, |row| row.get(3));
    lines.unwrap()
}

#[tokio::test]
async fn a_question_reads_sums_and_of_the_journal_only_what_the_moment_cuts_through() {
    let log = MemoryLog::new();
    let views = Views::in_memory(log.identity(), only_the_journal()).unwrap();
    Runner::open(Arc::new(log), views.clone()).await.unwrap().catch_up().await.unwrap();
    let plans: Vec<Vec<String>> = views
        .read(|snapshot| {
            let pages = [Some(LedgerAccount::Bank), None]
                .map(|account| format!("SELECT * FROM {{journal}} {}", journal::of(account)));
            let statements = books::by_account().into_iter().chain(books::by_currency()).chain(pages);
            Ok(statements.map(|sql| plan(snapshot, &sql)).collect())
        })
        .await
        .unwrap();
    for plan in &plans {
        assert!(plan.iter().all(|line| !line.starts_with("SCAN")), "{plan:#?}");
    }
    let [_, cut_by_account, _, cut_by_currency, of_account, of_all] = &plans[..] else { panic!("{plans:#?}") };
    let both = "tenant=? AND (account,position)>(?,?) AND (account,position)<(?,?)";
    for (plan, bounds) in [(cut_by_account, both), (cut_by_currency, "tenant=? AND position>? AND position<?")] {
        assert!(plan[0].starts_with("SEARCH d USING PRIMARY KEY"), "{plan:#?}");
        let bounded = format!("({bounds})");
        assert!(plan[1].starts_with("SEARCH e USING") && plan[1].ends_with(&bounded), "{plan:#?}");
    }
    assert!(
        of_account.concat().ends_with("(tenant=? AND (account,position)>(?,?) AND (account,position,line)<(?,?,?))"),
        "{of_account:#?}"
    );
    assert!(of_all.concat().ends_with("(tenant=? AND position>? AND (position,line)<(?,?))"), "{of_all:#?}");
}

#[tokio::test]
async fn what_is_yet_to_come_is_no_moment() {
    let world = World::with(&testing::lunch(2)).await;
    let (store, head) = (&*world.store, world.store.head().await.unwrap());
    let last = testing::at(head);
    let (now, later) = (last.plus_seconds(60), last.plus_seconds(61));
    for (asked, says) in [
        (AsOf::Position(0), "positions begin at 1"),
        (AsOf::Position(head + 1), "there is no event"),
        (AsOf::Time(later), &format!("{later} lies in the future: it is {now} now")),
    ] {
        let error = asked.reached(store, now).await.unwrap_err();
        assert!(error.is_askers() && error.to_string().contains(says), "{error}");
    }
    assert_eq!(AsOf::Position(head).reached(store, now).await.unwrap().needs(), head);
    assert_eq!(AsOf::Time(now).reached(store, now).await.unwrap().needs(), 0);
    // A day that has begun somewhere has books.
    let today = now.plus_seconds(14 * 3_600).date_in(&TimeZone::UTC);
    assert_eq!(AsOf::Date(today).reached(store, now).await.unwrap().needs(), 0);
    let error = AsOf::Date(today.tomorrow().unwrap()).reached(store, now).await.unwrap_err();
    assert!(error.is_askers() && error.to_string().contains("that day has begun nowhere"), "{error}");
    // A clock that was set back since takes nothing away.
    assert!(AsOf::Time(last).reached(store, last.plus_seconds(-60)).await.is_ok());
    assert!(AsOf::Time(now).reached(store, last.plus_seconds(-60)).await.is_err());
}

#[test]
fn a_moment_is_a_position_an_instant_or_a_date() {
    let time = |text: &str| AsOf::Time(text.parse().unwrap());
    for (text, expected) in [
        ("1", AsOf::Position(1)),
        ("18446744073709551615", AsOf::Position(u64::MAX)),
        ("2026-11-23T12:00:00Z", time("2026-11-23T12:00:00Z")),
        ("2026-11-23T20:00:00+08:00", time("2026-11-23T12:00:00Z")),
        ("2026-11-23", AsOf::Date(jiff::civil::date(2026, 11, 23))),
        ("0001-01-01", AsOf::Date(jiff::civil::date(1, 1, 1))),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    for text in
        ["", "-1", "18446744073709551616", "noon", "2026-13-01", "2026-02-30", "20261123T", "1 ", "2026-11-23T12"]
    {
        let error = text.parse::<AsOf>().unwrap_err();
        assert!(error.to_string().contains("an event's position"), "{error}");
    }
}

#[test]
fn for_what_is_not_booked_a_date_ends_in_the_zone_of_the_books() {
    let end = |date: Date, zone: &str| {
        let moment = super::Moment(AsOf::Date(date)).by_time(&bundled_zone(zone).unwrap());
        moment.time().to_string()
    };
    let day = jiff::civil::date(2026, 10, 31);
    assert_eq!(end(day, "UTC"), "2026-10-31T23:59:59.999999Z");
    assert_eq!(end(day, "Asia/Shanghai"), "2026-10-31T15:59:59.999999Z");
    // The next day there began an hour late.
    assert_eq!(end(jiff::civil::date(2018, 11, 3), "America/Sao_Paulo"), "2018-11-04T02:59:59.999999Z");
    assert_eq!(super::Moment(AsOf::Date(Date::MAX)).by_time(&TimeZone::UTC).time().micros, i64::MAX);
}

#[tokio::test]
async fn a_view_that_has_not_come_so_far_is_stale() {
    let mut world = World::with(&testing::lunch(2)).await;
    let views = Views::in_memory(world.store.identity(), crate::all()).unwrap();
    let mut runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    let reached = runner.catch_up().await.unwrap();
    world.happen(&testing::funded(9)).await;
    let now = Timestamp::from_micros(i64::MAX);
    let moment = AsOf::Position(reached + 2).reached(&*world.store, now).await.unwrap();
    let books =
        views.read(move |snapshot| Ok(books::trial_balance(snapshot, testing::tenant(), moment))).await.unwrap();
    assert!(matches!(books, Err(AsOfError::Stale(stale)) if (stale.wanted, stale.reached) == (reached + 2, reached)));
    let day = jiff::civil::date(2026, 11, 23);
    let orders =
        orders::of_day(&*world.store, &views, testing::tenant(), (None, day), None, PageSize::MAX, moment).await;
    assert!(matches!(orders, Err(AsOfError::Stale(_))), "{orders:?}");
    runner.catch_up().await.unwrap();
    let books =
        views.read(move |snapshot| Ok(books::trial_balance(snapshot, testing::tenant(), moment))).await.unwrap();
    let opened = testing::lunch(2).iter().chain(&testing::funded(9)[..2]).flat_map(postings).collect::<Vec<_>>();
    let debits: i64 = opened.iter().map(|posting| -posting.amount.minor.min(0)).sum();
    assert_eq!(books.unwrap()[0].debits.minor, debits);
}

/// The orders of the day in pages of three.
async fn orders_at(world: &World, views: &Views, canteen: Option<CanteenId>, asked: AsOf) -> Vec<OrderRow> {
    let moment = asked.reached(&*world.store, Timestamp::from_micros(i64::MAX)).await.unwrap();
    let (tenant, day) = (testing::tenant(), (canteen, jiff::civil::date(2026, 11, 23)));
    let mut orders: Vec<OrderRow> = Vec::new();
    while let after = orders.last().map(|order| order.placed)
        && let page = orders::of_day(&*world.store, views, tenant, day, after, PageSize::clamped(3), moment).await
        && let page = page.unwrap()
        && !page.is_empty()
    {
        orders.extend(page);
    }
    orders
}

#[tokio::test]
async fn the_orders_of_a_day_are_as_they_were_at_every_event() {
    let facts = testing::lunch(12);
    let world = World::with(&facts).await;
    let views = Views::in_memory(world.store.identity(), crate::all()).unwrap();
    Runner::open(world.store.clone(), views.clone()).await.unwrap().catch_up().await.unwrap();
    let mut rows = Rows::empty();
    for it in testing::recorded(&facts) {
        DinerOrders.apply(&it, &mut rows).unwrap();
        let mut expected = rows.all::<OrderRow>();
        expected.sort_by_key(|order| order.placed);
        let known = AsOf::Position(it.position);
        assert_eq!(orders_at(&world, &views, None, known).await, expected, "{known:?}");
        // Everything occurs in the order of the log here.
        let booked = AsOf::Time(it.occurred_at);
        assert_eq!(orders_at(&world, &views, Some(testing::canteen()), booked).await, expected, "{booked:?}");
    }
    // They are placed at noon in Shanghai, which is still the day before in Pago Pago.
    let all = orders_at(&world, &views, None, AsOf::Position(facts.len() as u64)).await;
    let day = testing::at(1).date_in(&TimeZone::UTC);
    let before = day.yesterday().unwrap();
    assert_eq!(orders_at(&world, &views, None, AsOf::Date(day)).await, all);
    assert_eq!(orders_at(&world, &views, None, AsOf::Date(before)).await, []);
    let mut world = world;
    let zone = "Pacific/Pago_Pago".to_owned();
    world.happen(&[Fact::Books(testing::tenant(), own::Event::Opened { zone })]).await;
    Runner::open(world.store.clone(), views.clone()).await.unwrap().catch_up().await.unwrap();
    assert_eq!(orders_at(&world, &views, None, AsOf::Date(before)).await, all);
    let elsewhere = Some(CanteenId(id(201)));
    assert_eq!(orders_at(&world, &views, elsewhere, AsOf::Position(facts.len() as u64)).await, []);
}
