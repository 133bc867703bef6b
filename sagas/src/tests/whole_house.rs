//! Histories of a whole house: whatever happens in whatever order, what must hold does so after every event,
//! and in the end every account agrees with its books, with its lots as a naive model has them, and with the
//! provider.
//!
//! `WHOLE_HOUSE_HISTORIES` says how many (600 by default), `WHOLE_HOUSE_SEED` where they begin: a failure
//! prints the seed of its house, in which the histories run one after the other, each a tenant of its own.

mod books;
mod history;
mod lots;
mod steps;

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use ::providers::{StandIn, Weather};
use domain::{AccountId, account::Account, payment::Provider, postings::LedgerAccount};
use futures::FutureExt;
use jiff::{ToSpan, civil::date};
use projections::{Projection, Registry, Runner};
use store::{EventStore, Recorded};

use self::history::{Dice, History};
use super::House;

/// Histories of one house. They share its views, which would cost most of each if they did not.
const OF_ONE_HOUSE: u64 = 50;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

impl History<'_> {
    /// Folds what was appended since the last look.
    async fn read(&mut self) {
        let rows = self.house.log.read_all(self.read + 1, 1_000_000).await.unwrap();
        for row in rows.iter().filter(|row| row.stream.tenant == self.tenant) {
            self.books.apply(self.trail.event.insert(Recorded::decode(row).unwrap()));
        }
        self.trail.event = None;
        self.read += rows.len() as u64;
    }

    /// What each aggregate says against the books and the model.
    async fn compare_accounts(&self) {
        let commands = self.house.ordering.commands();
        for (id, sides) in &self.books.accounts {
            let look = |account: &Account| {
                let Ok(book) = account.book() else { return ((0, 0, sides.floor, 0), vec![]) };
                let lots: Vec<_> = book.lots.all().map(|lot| (lot.terms, lot.left, lot.held, lot.expired)).collect();
                ((book.posted, book.held, book.floor, book.receivable), lots)
            };
            let (has, lots) = commands.look(self.tenant, *id, look).await.unwrap();
            assert_eq!(has, (sides.posted, sides.held, sides.floor, sides.receivable), "{id}");
            let Some(purse) = self.books.purses.get(id) else { continue };
            // An account forgets what is over and empty.
            let known = purse.lots.values().filter(|one| !one.over || one.money > 0);
            let known: Vec<_> = known.map(|one| (one.terms, one.money, one.held, one.over)).collect();
            assert_eq!(lots, known, "the lots of {id}");
            let (posted, lots): (i64, i64) = (sides.posted, lots.iter().map(|lot| lot.1).sum());
            assert_eq!(posted, lots + purse.loose, "{id} is its lots and what is in none");
        }
    }

    /// What holds when nothing is open any more.
    async fn compare_end(&self) {
        let books = &self.books;
        for (id, bill) in &books.orders {
            let ended = ["PICKED_UP", "NO_SHOW", "CANCELLED", "REFUSED", "EXPIRED"].contains(&bill.status);
            assert!(ended, "{id} has no end: {bill:?}");
            assert_eq!((bill.prepaid, bill.begun), (0, bill.settled), "{id}: {bill:?}");
            assert_eq!(self.state(*id).await.status(), bill.status);
        }
        assert!(self.orders.iter().all(|order| books.orders.contains_key(order)));
        assert_eq!(books.of(LedgerAccount::Prepaid), 0);
        let (clearing, owes) = (LedgerAccount::Clearing(Provider::WechatPay), self.house.wechat.owes(self.tenant));
        assert_eq!(books.of(clearing), -owes, "the provider's books and ours");
        for (run, over) in &books.runs {
            assert!(over, "the run {run} goes on for ever");
            assert_eq!(books.of(LedgerAccount::Transit(*run)), 0);
        }
        for (id, sides) in &books.accounts {
            let AccountId::Company(company) = id else { continue };
            let open: i64 = books.invoices.values().filter(|one| one.0 == *company).map(|one| one.1).sum();
            let booked = -books.of(LedgerAccount::Receivable(*company));
            assert_eq!((booked, sides.receivable), (open, open), "what invoices have open");
        }
    }
}

/// How often events of each name were seen.
type Seen = BTreeMap<&'static str, u64>;

/// Takes one history from its beginning to its end.
async fn live(house: &mut House, runner: &mut Runner, seed: u64, number: u64, seen: &mut Seen) {
    // Around the end of a month, when most lots end.
    let mut dice = Dice::new(seed ^ 0xD1CE);
    let today = date(2026, 12, 2).checked_add((number as i64).months()).unwrap();
    let today = today.checked_sub((dice.roll(5) as i64).days()).unwrap();
    let mut history = History::begin(house, runner, seed, today).await;
    let (steps, look) = (30 + dice.roll(31), 10 + dice.roll(30));
    for step in 0..steps {
        history.step().await;
        if step % look == look - 1 {
            history.settle().await;
        }
        history.read().await;
    }
    history.read().await;
    history.end().await;
    history.read().await;
    history.compare_accounts().await;
    history.compare_end().await;
    for (name, times) in std::mem::take(&mut history.books.seen) {
        *seen.entry(name).or_default() += times;
    }
}

/// Only the views that processes look at: the others are the half of what a history would cost.
fn needed() -> Registry {
    let registry: [Arc<dyn Projection>; 8] = [
        Arc::new(projections::subsidies::Subsidies),
        Arc::new(projections::employment::Employment),
        Arc::new(projections::policies::Policies),
        Arc::new(projections::grant_runs::GrantRuns),
        Arc::new(projections::invoices::Invoices),
        Arc::new(projections::corrections::Corrections),
        Arc::new(projections::top_ups::TopUps),
        Arc::new(projections::payouts::Payouts),
    ];
    registry.into_iter().chain(crate::projections()).collect()
}

async fn live_in_one_house(base: u64, histories: u64, seen: &mut Seen) {
    let mut house = House::open_with(1, 1, StandIn::new(base, Weather::default())).await;
    let mut runner = house.runner_of(needed()).await;
    for number in 0..histories {
        let lived = AssertUnwindSafe(live(&mut house, &mut runner, base + number, number, seen)).catch_unwind().await;
        assert!(lived.is_ok(), "WHOLE_HOUSE_SEED={base} WHOLE_HOUSE_HISTORIES={}", number + 1);
    }
}

/// What has to happen now and then, or the histories prove little.
const RARE: [&str; 20] = [
    "Changed",
    "ExtensionCaptured",
    "RefundLapsed",
    "Lapsed",
    "Refunded",
    "PaidBack",
    "OutcomeUnknown",
    "TradeClosed",
    "PickedUp",
    "NoShow",
    "Expired",
    "Refused",
    "InvoiceVoided",
    "InvoicePaid",
    "PaidOut",
    "PayoutReleased",
    "Moved",
    "PeriodClosed",
    "PeriodReopened",
    "DishWithdrawn",
];

#[test]
fn whatever_happens_in_whatever_order_what_must_hold_holds_after_every_event() {
    let (count, first) = (setting("WHOLE_HOUSE_HISTORIES", 600), setting("WHOLE_HOUSE_SEED", 1));
    let next = AtomicU64::new(0);
    let lived = || {
        let mut seen = Seen::new();
        loop {
            let done = next.fetch_add(OF_ONE_HOUSE, Ordering::Relaxed);
            if done >= count {
                return seen;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(live_in_one_house(first + done, OF_ONE_HOUSE.min(count - done), &mut seen));
        }
    };
    let mut seen = Seen::new();
    thread::scope(|scope| {
        let streets: Vec<_> = (0..2).map(|_| scope.spawn(lived)).collect();
        for street in streets {
            let of_street = street.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            of_street.into_iter().for_each(|(name, times)| *seen.entry(name).or_default() += times);
        }
    });
    println!("{count} histories: {seen:?}");
    for name in RARE.iter().filter(|_| count >= 500) {
        assert!(seen.contains_key(name), "{name} never happened: {seen:?}");
    }
}
