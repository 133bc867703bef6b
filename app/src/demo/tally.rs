//! What the demo itself saw: for the live picture, for latencies, and to be held against the views.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// What a diner was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With the order's total, in fen.
    Confirmed(i64),
    /// It waits to be paid at the counter.
    Unpaid,
    /// Recorded, with the refusal's code.
    Refused(&'static str),
    /// Refused at the door: nothing was appended.
    TurnedAway(&'static str),
}

/// One canteen's numbers.
#[derive(Debug, Default)]
pub struct Counts {
    pub arrived: AtomicU64,
    pub confirmed: AtomicU64,
    pub refused: AtomicU64,
    pub cancelled: AtomicU64,
    pub ready: AtomicU64,
    pub collected: AtomicU64,
}

#[derive(Debug, Default)]
struct Slow {
    latencies: Vec<Duration>,
    refused: BTreeMap<&'static str, u64>,
    turned_away: BTreeMap<&'static str, u64>,
    lasted: Duration,
}

#[derive(Debug)]
pub struct Tally {
    pub canteens: Vec<Counts>,
    paid: AtomicI64,
    no_show: AtomicU64,
    taps_twice: AtomicU64,
    taps_differ: AtomicU64,
    overloaded: AtomicU64,
    withdrawals: AtomicU64,
    open: AtomicU64,
    slow: Mutex<Slow>,
}

/// The whole lunch's numbers.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub answered: u64,
    pub confirmed: u64,
    pub cancelled: u64,
    pub collected: u64,
    pub no_show: u64,
    pub paid_minor: i64,
    /// By code; recorded, and at the door.
    pub refused: BTreeMap<&'static str, u64>,
    pub turned_away: BTreeMap<&'static str, u64>,
    pub taps_twice: u64,
    pub taps_differ: u64,
    pub overloaded: u64,
    pub open: u64,
    pub seconds: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Tally {
    pub fn new(canteens: usize) -> Self {
        Tally {
            canteens: (0..canteens).map(|_| Counts::default()).collect(),
            paid: AtomicI64::new(0),
            no_show: AtomicU64::new(0),
            taps_twice: AtomicU64::new(0),
            taps_differ: AtomicU64::new(0),
            overloaded: AtomicU64::new(0),
            withdrawals: AtomicU64::new(0),
            open: AtomicU64::new(0),
            slow: Mutex::default(),
        }
    }

    fn slow<R>(&self, change: impl FnOnce(&mut Slow) -> R) -> R {
        change(&mut self.slow.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn arrived(&self, canteen: usize) {
        self.canteens[canteen].arrived.fetch_add(1, Relaxed);
    }

    pub fn answered(&self, canteen: usize, answer: &Answer, after: Duration) {
        let counts = &self.canteens[canteen];
        match answer {
            Answer::Confirmed(total) => {
                counts.confirmed.fetch_add(1, Relaxed);
                self.paid.fetch_add(*total, Relaxed);
            }
            Answer::Unpaid => {}
            Answer::Refused(_) | Answer::TurnedAway(_) => {
                counts.refused.fetch_add(1, Relaxed);
            }
        }
        self.slow(|slow| {
            slow.latencies.push(after);
            match answer {
                Answer::Confirmed(_) | Answer::Unpaid => {}
                Answer::Refused(code) => *slow.refused.entry(code).or_default() += 1,
                Answer::TurnedAway(code) => *slow.turned_away.entry(code).or_default() += 1,
            }
        });
    }

    pub fn paid_afterwards(&self, canteen: usize, total: i64) {
        self.canteens[canteen].confirmed.fetch_add(1, Relaxed);
        self.paid.fetch_add(total, Relaxed);
    }

    pub fn cancelled(&self, canteen: usize) {
        self.canteens[canteen].cancelled.fetch_add(1, Relaxed);
    }

    pub fn ready(&self, canteen: usize) {
        self.canteens[canteen].ready.fetch_add(1, Relaxed);
    }

    pub fn collected(&self, canteen: usize) {
        self.canteens[canteen].collected.fetch_add(1, Relaxed);
    }

    pub fn stayed_away(&self) {
        self.no_show.fetch_add(1, Relaxed);
    }

    pub fn tapped_twice(&self, same: bool) {
        self.taps_twice.fetch_add(1, Relaxed);
        self.taps_differ.fetch_add(u64::from(!same), Relaxed);
    }

    pub fn overloaded(&self) {
        self.overloaded.fetch_add(1, Relaxed);
    }

    pub fn withdrew(&self) {
        self.withdrawals.fetch_add(1, Relaxed);
    }

    pub fn has_withdrawn(&self) -> bool {
        self.withdrawals.load(Relaxed) > 0
    }

    pub fn left_open(&self, open: u64) {
        self.open.store(open, Relaxed);
    }

    pub fn lunch_took(&self, lasted: Duration) {
        self.slow(|slow| slow.lasted = lasted);
    }

    pub fn totals(&self) -> Totals {
        let sum = |of: fn(&Counts) -> &AtomicU64| self.canteens.iter().map(|counts| of(counts).load(Relaxed)).sum();
        self.slow(|slow| {
            slow.latencies.sort_unstable();
            let at = |percent: usize| {
                let index = (slow.latencies.len() * percent / 100).min(slow.latencies.len().saturating_sub(1));
                slow.latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
            };
            Totals {
                answered: slow.latencies.len() as u64,
                confirmed: sum(|counts| &counts.confirmed),
                cancelled: sum(|counts| &counts.cancelled),
                collected: sum(|counts| &counts.collected),
                no_show: self.no_show.load(Relaxed),
                paid_minor: self.paid.load(Relaxed),
                refused: slow.refused.clone(),
                turned_away: slow.turned_away.clone(),
                taps_twice: self.taps_twice.load(Relaxed),
                taps_differ: self.taps_differ.load(Relaxed),
                overloaded: self.overloaded.load(Relaxed),
                open: self.open.load(Relaxed),
                seconds: slow.lasted.as_secs_f64(),
                p50_ms: at(50),
                p99_ms: at(99),
            }
        })
    }
}
