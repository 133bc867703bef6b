//! How often nodes got into each other's way.

use std::sync::atomic::{AtomicU64, Ordering};

/// How often other nodes were in this one's way since it started. All zero on a log of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contention {
    /// Transactions, and looks at versions, that found a stream where another node had left it.
    pub conflicts: u64,
    /// Appends that fell because of it.
    pub dropped_appends: u64,
    /// Runs of chains that were begun again because of it.
    pub retried_chains: u64,
    /// Transactions that kept the head's lock until what had fallen was decided again.
    pub passes: u64,
    /// Of these, the ones whose time was up before all of it was.
    pub cut_passes: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) conflicts: AtomicU64,
    pub(crate) dropped_appends: AtomicU64,
    pub(crate) retried_chains: AtomicU64,
    pub(crate) passes: AtomicU64,
    pub(crate) cut_passes: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn read(&self) -> Contention {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Contention {
            conflicts: of(&self.conflicts),
            dropped_appends: of(&self.dropped_appends),
            retried_chains: of(&self.retried_chains),
            passes: of(&self.passes),
            cut_passes: of(&self.cut_passes),
        }
    }
}
