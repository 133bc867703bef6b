//! The demo's time: that of the lunch while it is served, the machine's own before and after.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use commands::{Clock, SystemClock};
use domain::Timestamp;

/// Says that the machine's time counts.
const REAL: i64 = i64::MIN;

pub struct DemoClock {
    lunch: AtomicI64,
    system: SystemClock,
}

impl DemoClock {
    pub fn new() -> Self {
        DemoClock { lunch: AtomicI64::new(REAL), system: SystemClock::start() }
    }

    pub fn set(&self, lunch: Timestamp) {
        self.lunch.store(lunch.micros, Ordering::SeqCst);
    }

    pub fn back_to_real(&self) {
        self.lunch.store(REAL, Ordering::SeqCst);
    }
}

impl Clock for DemoClock {
    fn now(&self) -> Timestamp {
        match self.lunch.load(Ordering::SeqCst) {
            REAL => self.system.now(),
            micros => Timestamp::from_micros(micros),
        }
    }

    fn departure_ms(&self) -> i64 {
        if self.lunch.load(Ordering::SeqCst) == REAL { self.system.departure_ms() } else { 0 }
    }
}

/// Lets the lunch's time go on only as far as the earliest order that is still under way. So a slow
/// machine has a slow lunch, and no order that is about to be paid expires.
pub struct Pace {
    clock: Arc<DemoClock>,
    under_way: Mutex<(Timestamp, BTreeSet<(Timestamp, usize)>)>,
}

impl Pace {
    pub fn new(clock: Arc<DemoClock>, opens: Timestamp) -> Self {
        clock.set(opens);
        Pace { clock, under_way: Mutex::new((opens, BTreeSet::new())) }
    }

    /// Order `number` of the script has come.
    pub fn begin(&self, at: Timestamp, number: usize) {
        self.change(|under_way| {
            under_way.insert((at, number));
        });
    }

    /// It needs no more time.
    pub fn end(&self, at: Timestamp, number: usize) {
        self.change(|under_way| {
            under_way.remove(&(at, number));
        });
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<(Timestamp, usize)>)) {
        let mut guard = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, under_way) = &mut *guard;
        change(under_way);
        if let Some((earliest, _)) = under_way.first() {
            *now = (*now).max(*earliest);
            self.clock.set(*now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lunch_waits_for_its_earliest_order_and_never_goes_back() {
        let at = Timestamp::from_seconds;
        let clock = Arc::new(DemoClock::new());
        let pace = Pace::new(Arc::clone(&clock), at(0));
        let mut seen = vec![clock.now()];
        for step in
            [|p: &Pace| p.begin(Timestamp::from_seconds(10), 1), |p: &Pace| p.begin(Timestamp::from_seconds(20), 2)]
        {
            step(&pace);
            seen.push(clock.now());
        }
        pace.end(at(20), 2);
        seen.push(clock.now());
        pace.begin(at(30), 3);
        pace.end(at(10), 1);
        seen.push(clock.now());
        pace.begin(at(25), 4);
        seen.push(clock.now());
        assert_eq!(seen, [at(0), at(10), at(10), at(10), at(30), at(30)]);
        clock.back_to_real();
        assert!(clock.now() > at(1_000_000_000));
    }
}
