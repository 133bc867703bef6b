//! Against a naive model that adds up every posting there ever was.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use store::{EventStore, MemoryLog};

use super::*;
use crate::{
    Runner, Views,
    as_of::tests::{all_entries, booking, bookings, log_of, only_the_journal, plan},
    testing::id,
};

fn tenant(number: u128) -> TenantId {
    TenantId(id(number))
}

/// All entries of a tenant in the order in which they are booked.
fn booked(entries: &[Entry], tenant: TenantId) -> Vec<Entry> {
    let mut own: Vec<Entry> = entries.iter().filter(|entry| entry.tenant == tenant).cloned().collect();
    own.sort_by_key(|entry| (entry.booking_date, entry.position, entry.line));
    own
}

/// Days around and within those on which something is booked.
fn ranges(own: &[Entry]) -> Vec<Days> {
    let mut days: Vec<Date> = own.iter().map(|entry| entry.booking_date).collect();
    days.dedup();
    let middle = days.get(days.len() / 2).copied();
    let ends = [days.first(), days.last()].into_iter().flatten().map(|day| Days { from: *day, to: *day });
    let halves = middle.into_iter().flat_map(|day| [Days::new(Some(day), None), Days::new(None, Some(day))]);
    ends.chain(halves).chain([Days::new(None, None)]).collect()
}

/// What a naive model makes of it: by the account's name and the currency's code.
fn naive(own: &[Entry], days: Days) -> Vec<PeriodBalance> {
    let mut sums: BTreeMap<(String, &str), PeriodBalance> = BTreeMap::new();
    for entry in own.iter().filter(|entry| entry.booking_date <= days.to) {
        let Entry { tenant, account, currency, amount_minor, .. } = *entry;
        let key = (account.to_string(), currency.code());
        let new = PeriodBalance { tenant, account, currency, opening_minor: 0, debits_minor: 0, credits_minor: 0 };
        let sum = sums.entry(key).or_insert(new);
        if entry.booking_date < days.from {
            sum.opening_minor += amount_minor;
        } else {
            sum.debits_minor -= amount_minor.min(0);
            sum.credits_minor += amount_minor.max(0);
        }
    }
    sums.into_values().collect()
}

/// Everything about some days in small pages, against the model.
fn compare(snapshot: &Snapshot<'_>, own: &[Entry], tenant: TenantId, days: Days) -> Result<(), ViewError> {
    let expected = naive(own, days);
    let mut read: Vec<PeriodBalance> = Vec::new();
    let mut ask = Accounts::default();
    while let page = balances(snapshot, tenant, days, &ask, 3)?
        && let Some(last) = page.last()
    {
        assert!(page.len() <= 3);
        ask.after = Some((last.account, last.currency));
        read.extend(page);
    }
    assert_eq!(read, expected, "{days:?}");
    let mut by_currency: BTreeMap<&str, i64> = BTreeMap::new();
    expected.iter().for_each(|one| *by_currency.entry(one.currency.code()).or_default() += one.closing().minor);
    assert!(by_currency.values().all(|sum| *sum == 0), "{days:?}");
    let ask = Accounts { prefix: Some("canteen:".into()), after: None };
    let payable = expected.iter().filter(|one| matches!(one.account, LedgerAccount::Canteen(_)));
    assert!(balances(snapshot, tenant, days, &ask, 100)?.iter().eq(payable), "{days:?}");

    for one in &expected {
        let of = (one.account, one.currency);
        let of_account = super::of_account(snapshot, tenant, one.account, days)?;
        assert!(of_account.contains(one) && of_account.iter().all(|other| other.account == one.account));
        let mut statement: Vec<Line> = Vec::new();
        while let after = statement.last().map(|line| Cursor::from(&line.entry))
            && let page = lines(snapshot, tenant, of, days, after, 3)?
            && !page.is_empty()
        {
            assert!(page.len() <= 3);
            statement.extend(page);
        }
        let within = |entry: &&Entry| {
            (entry.account, entry.currency) == of && (days.from..=days.to).contains(&entry.booking_date)
        };
        let mut balance = one.opening_minor;
        for (line, entry) in statement.iter().zip(own.iter().filter(within)) {
            balance += entry.amount_minor;
            assert_eq!((&line.entry, line.balance.minor), (entry, balance), "{days:?}");
        }
        assert_eq!(statement.len(), own.iter().filter(within).count());
        assert_eq!(balance, one.closing().minor);
    }

    let mut read: Vec<Entry> = Vec::new();
    while let page = entries(snapshot, tenant, None, days, read.last().map(Cursor::from), 4)?
        && !page.is_empty()
    {
        read.extend(page);
    }
    assert!(read.iter().eq(own.iter().filter(|entry| (days.from..=days.to).contains(&entry.booking_date))));
    Ok(())
}

async fn compare_all(log: &Arc<MemoryLog>, views: Views) {
    Runner::open(log.clone(), views.clone()).await.unwrap().catch_up().await.unwrap();
    let entries = all_entries(log).await;
    let compared = views.read(move |snapshot| {
        for tenant in [1, 2, 3].map(tenant) {
            let own = booked(&entries, tenant);
            ranges(&own).into_iter().try_for_each(|days| compare(snapshot, &own, tenant, days))?;
        }
        Ok(())
    });
    compared.await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn statements_and_periods_of_any_history_are_as_the_sum_of_its_postings(
        bookings in proptest::collection::vec(booking(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let log = log_of(&bookings).await;
            let views = Views::in_memory(log.identity(), only_the_journal()).unwrap();
            compare_all(&log, views).await;
        });
    }
}

#[tokio::test]
async fn in_postgres_they_are_too() {
    let log = log_of(&bookings(60)).await;
    let url = ::testing::Postgres::shared().database();
    let views = Views::open_postgres(&url, log.identity(), only_the_journal()).await.unwrap();
    compare_all(&log, views).await;
}

#[tokio::test]
async fn more_days_than_are_read_at_once_follow_each_other() {
    // Each booking is recorded a day after the last.
    let mut bookings = bookings(330);
    bookings.iter_mut().for_each(|booking| booking.every_day());
    let log = log_of(&bookings).await;
    let views = Views::in_memory(log.identity(), only_the_journal()).unwrap();
    Runner::open(log.clone(), views.clone()).await.unwrap().catch_up().await.unwrap();
    let own = booked(&all_entries(&log).await, tenant(1));
    assert!(own.len() > 3 * SPANS);
    let read = views.read(|snapshot| entries(snapshot, tenant(1), None, Days::new(None, None), None, 10_000));
    assert_eq!(read.await.unwrap(), own);
}

#[tokio::test]
async fn nothing_is_scanned() {
    let log = MemoryLog::new();
    let views = Views::in_memory(log.identity(), only_the_journal()).unwrap();
    Runner::open(Arc::new(log), views.clone()).await.unwrap().catch_up().await.unwrap();
    let plans: Vec<Vec<String>> = views
        .read(|snapshot| {
            let pages = [WITHIN_ACCOUNT, WITHIN_ALL].map(|rest| format!("SELECT * FROM {{journal}} {rest}"));
            let statements = pages.into_iter().chain([BALANCES, SPANS_OF_ACCOUNT, SPANS_OF_ALL].map(str::to_owned));
            Ok(statements.map(|sql| plan(snapshot, &sql)).collect())
        })
        .await
        .unwrap();
    let [of_account, of_all, balances, spans, _] = &plans[..] else { panic!("{plans:#?}") };
    assert!(
        of_account.concat().ends_with("(tenant=? AND (account,position,line)>(?,?,?) AND (account,position)<(?,?))"),
        "{of_account:#?}"
    );
    assert!(of_all.concat().ends_with("(tenant=? AND (position,line)>(?,?) AND position<?)"), "{of_all:#?}");
    assert!(spans.concat().ends_with("(tenant=? AND account=? AND currency=? AND booked_on>? AND booked_on<?)"));
    let of_each = "SEARCH d USING PRIMARY KEY (tenant=? AND account=? AND currency=? AND booked_on<?)";
    assert!(balances.iter().any(|line| line == of_each), "{balances:#?}");
    // But for the page that was just looked up.
    let scanned = |line: &&String| line.starts_with("SCAN") && *line != "SCAN u";
    assert_eq!(plans.iter().flatten().find(scanned), None, "{plans:#?}");
}
