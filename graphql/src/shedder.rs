//! Refuses early what would be answered late.
//!
//! How many requests may be under way follows two delays: how long this process takes to turn to work that is
//! ready, and how long the log takes to append. As in CoDel (RFC 8289) only a standing delay counts: the least one
//! of each [`WINDOW`]. While it stands the limit shrinks; while there is none and requests were turned away, it grows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use commands::Commands;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the process's own delay is felt.
const TICK: Duration = Duration::from_millis(10);
/// Over this long delays are compared.
const WINDOW: Duration = Duration::from_millis(50);
/// A process that takes longer to turn to what is ready has too much under way.
const LATE: Duration = Duration::from_millis(15);
/// The log may take this long to append, or [`SLOWER`] times its quickest of late.
const SLOW: Duration = Duration::from_millis(50);
const SLOWER: u32 = 4;
/// For how many windows the log's quickest append is remembered: one to two minutes.
const REMEMBERED: u32 = 1_200;
/// Before anything is known; a house with less to do than that never meets the limit.
const FIRST: usize = 256;
/// So few are answered soon on any machine.
const LEAST: usize = 128;

/// Counts what is under way, and turns away what is too much.
pub(crate) struct Shedder {
    most: usize,
    limit: AtomicUsize,
    under_way: AtomicUsize,
    /// The most under way since the last window, those turned away too.
    peak: AtomicUsize,
}

/// Room for one request, while it is held.
pub(crate) struct Room<'a>(&'a Shedder);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

impl Shedder {
    /// Never lets more than `most` be under way.
    pub(crate) fn new(most: usize) -> Self {
        let limit = AtomicUsize::new(FIRST.min(most));
        Shedder { most, limit, under_way: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    /// Room for a request, if it can be answered soon.
    pub(crate) fn room(&self) -> Option<Room<'_>> {
        let before = self.under_way.fetch_add(1, Relaxed);
        let room = Room(self);
        self.peak.fetch_max(before + 1, Relaxed);
        (before < self.limit.load(Relaxed)).then_some(room)
    }

    /// Whether there is room for another request, which takes none yet.
    pub(crate) fn has_room(&self) -> bool {
        let under_way = self.under_way.load(Relaxed);
        self.peak.fetch_max(under_way + 1, Relaxed);
        under_way < self.limit.load(Relaxed)
    }

    /// How many requests are under way.
    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Relaxed)
    }

    /// Follows the delays of this process and of the log of `commands` until it is dropped.
    pub(crate) fn follow(self: &Arc<Self>, commands: Commands) {
        let shedder = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut window = Window::new(Instant::now());
            let mut log = Quickest::default();
            loop {
                let due = ticks.tick().await;
                let Some(shedder) = shedder.upgrade() else { return };
                let now = Instant::now();
                window.felt(now.saturating_duration_since(due));
                if window.is_over(now) {
                    let is_slow = log.is_slow(commands.quickest_append(WINDOW));
                    shedder.adjust(window.is_late() || is_slow);
                    window = Window::new(now);
                }
            }
        });
    }

    fn adjust(&self, is_late: bool) {
        let peak = self.peak.swap(self.under_way.load(Relaxed), Relaxed);
        let limit = self.limit.load(Relaxed);
        let next = match is_late {
            true => limit.min(peak) * 7 / 10,
            false if peak > limit => limit + limit / 4,
            false => limit,
        };
        self.limit.store(next.clamp(LEAST.min(self.most), self.most), Relaxed);
    }
}

/// The delays that were felt in one window.
struct Window {
    began: Instant,
    least: Option<Duration>,
}

impl Window {
    fn new(began: Instant) -> Self {
        Window { began, least: None }
    }

    fn felt(&mut self, delay: Duration) {
        self.least = Some(self.least.map_or(delay, |least| least.min(delay)));
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= WINDOW
    }

    fn is_late(&self) -> bool {
        self.least.is_some_and(|least| least > LATE)
    }
}

/// How quick the log has been of late, by halves of what is remembered.
#[derive(Default)]
struct Quickest {
    halves: [Option<Duration>; 2],
    windows: u32,
}

impl Quickest {
    /// Whether the log was slow throughout a window in which it took `least` at its quickest, if it was asked.
    fn is_slow(&mut self, least: Option<Duration>) -> bool {
        self.windows += 1;
        if self.windows > REMEMBERED {
            self.halves = [None, self.halves[0]];
            self.windows = 0;
        }
        let Some(least) = least else { return false };
        self.halves[0] = Some(self.halves[0].map_or(least, |half| half.min(least)));
        let quickest = self.halves.into_iter().flatten().min().unwrap_or(least);
        least > SLOW.max(quickest * SLOWER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(shedder: &Shedder, count: usize) -> Vec<Room<'_>> {
        (0..count).map_while(|_| shedder.room()).collect()
    }

    #[test]
    fn what_is_too_much_is_turned_away_and_room_comes_back() {
        let shedder = Shedder::new(10);
        let held = rooms(&shedder, 20);
        assert_eq!(held.len(), 10);
        assert!(shedder.room().is_none() && !shedder.has_room());
        drop(held);
        assert!(shedder.has_room());
        assert_eq!(shedder.under_way.load(Relaxed), 0);
        assert_eq!(rooms(&shedder, 20).len(), 10);
    }

    #[test]
    fn the_limit_shrinks_while_it_is_late_and_grows_while_more_is_asked_for() {
        let shedder = Shedder::new(4_096);
        let limit = || shedder.limit.load(Relaxed);
        shedder.adjust(false);
        assert_eq!(limit(), FIRST, "nobody asked for more");
        let held = rooms(&shedder, 1_000);
        assert_eq!(held.len(), FIRST);
        shedder.adjust(false);
        assert_eq!(limit(), 320);
        for _ in 0..20 {
            let _more = rooms(&shedder, 5_000);
            shedder.adjust(false);
        }
        assert_eq!(limit(), 4_096, "and never more than there may be");
        drop(held);
        let held = rooms(&shedder, 1_000);
        shedder.adjust(false);
        shedder.adjust(true);
        assert_eq!(limit(), 700, "from what there was, not from what there might have been");
        for _ in 0..20 {
            shedder.adjust(true);
        }
        assert_eq!(limit(), LEAST);
        drop(held);
    }

    #[test]
    fn only_a_delay_that_stands_throughout_a_window_counts() {
        let start = Instant::now();
        let mut window = Window::new(start);
        assert!(!window.is_late());
        window.felt(LATE * 20);
        assert!(window.is_late());
        window.felt(Duration::from_millis(1));
        assert!(!window.is_late());
        assert!(!window.is_over(start + WINDOW / 2) && window.is_over(start + WINDOW));
    }

    #[test]
    fn a_log_is_slow_beside_what_it_was_of_late() {
        let millis = Duration::from_millis;
        let mut log = Quickest::default();
        assert!(!log.is_slow(Some(millis(60))), "a slow disk is no slow log");
        assert!(!log.is_slow(Some(millis(240))));
        assert!(log.is_slow(Some(millis(241))));
        assert!(!log.is_slow(None));
        assert!(!log.is_slow(Some(millis(1))));
        assert!(!log.is_slow(Some(SLOW)) && log.is_slow(Some(millis(51))));
        for _ in 0..2 * REMEMBERED + 2 {
            log.is_slow(None);
        }
        assert!(!log.is_slow(Some(millis(60))), "what was long ago is forgotten");
    }
}
