//! A place in the queue before the log, and what becomes of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use store::Position;
use tokio::sync::Notify;

/// Why an append was not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fallen {
    /// Another node moved a stream that it rested on. Decided anew, it may stand.
    #[error("another node changed what it rested on")]
    Moved,
    #[error("{0}")]
    NotTaken(String),
}

/// Where a batch came to stand.
struct Written {
    /// Of its first event; 1 after the last one known when it has none.
    first: Position,
    /// For each append that fell alone, in order: its number, and the events that fell up to and with it.
    gaps: Box<[(u32, u64)]>,
}

/// An append that fell while its batch stands.
pub(crate) struct Dropped {
    pub(crate) events: u64,
    /// Whether nothing of its stream still waits before it, so that the log already has all there is.
    pub(crate) clear: bool,
}

/// A group of appends that is written, or falls, as a whole; except those that fall alone, because
/// they rested on a stream that another node moved.
pub(crate) struct Batch {
    /// Batches are written in the order of their numbers.
    number: u64,
    /// When the writer took it, and from when on the log may have been asked about it.
    taken: OnceLock<Instant>,
    outcome: OnceLock<Result<Written, Fallen>>,
    dropped: Mutex<BTreeMap<u32, Dropped>>,
    any_dropped: AtomicBool,
    /// Told when the outcome is there, and when an append fell alone.
    changed: Notify,
}

impl Batch {
    pub(crate) fn new(number: u64) -> Arc<Self> {
        Arc::new(Batch {
            number,
            taken: OnceLock::new(),
            outcome: OnceLock::new(),
            dropped: Mutex::default(),
            any_dropped: AtomicBool::new(false),
            changed: Notify::new(),
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Notes that the log is asked about it from now on.
    pub(crate) fn take(&self) {
        // A batch is taken once; if it is tried again, it may have been asked about before.
        let _ = self.taken.set(Instant::now());
    }

    fn dropped(&self) -> MutexGuard<'_, BTreeMap<u32, Dropped>> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets these appends fall alone. Call under the queue's lock, before the batch is settled, and
    /// [`Batch::tell`] afterwards.
    pub(crate) fn drop_alone(&self, appends: Vec<(u32, Dropped)>) {
        self.dropped().extend(appends);
        self.any_dropped.store(true, Ordering::Release);
    }

    /// Wakes whom a fall may concern.
    pub(crate) fn tell(&self) {
        if self.any_dropped.load(Ordering::Acquire) {
            self.changed.notify_waiters();
        }
    }

    /// What is left of the batch stands from `first` on.
    pub(crate) fn written(&self, first: Position) {
        let mut gone = 0;
        let mut gap = |(number, dropped): (&u32, &Dropped)| {
            gone += dropped.events;
            (*number, gone)
        };
        let gaps = if self.any_dropped.load(Ordering::Acquire) {
            self.dropped().iter().map(&mut gap).collect()
        } else {
            Box::default()
        };
        self.settle(Ok(Written { first, gaps }));
    }

    pub(crate) fn fall(&self, why: &Fallen) {
        self.settle(Err(why.clone()));
    }

    fn settle(&self, outcome: Result<Written, Fallen>) {
        // A batch is settled once: by its own write or by the fall of one before it.
        let _ = self.outcome.set(outcome);
        self.changed.notify_waiters();
    }

    /// Waits until `look` sees something.
    async fn wait<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(seen) = look() {
                return seen;
            }
            changed.await;
        }
    }
}

/// A place in the queue. It becomes a position when its batch is written.
#[derive(Clone)]
pub(crate) struct Ticket {
    batch: Arc<Batch>,
    /// The append's number within the batch, from 0.
    number: u32,
    /// Events of the batch up to the append's last.
    through: u64,
}

impl Ticket {
    pub(crate) fn new(batch: &Arc<Batch>, number: u32, through: u64) -> Self {
        Ticket { batch: Arc::clone(batch), number, through }
    }

    /// Which append it is, among all that this writer ever queued.
    pub(crate) fn place(&self) -> (u64, u32) {
        (self.batch.number, self.number)
    }

    pub(crate) fn is_after(&self, other: &Ticket) -> bool {
        self.place() > other.place()
    }

    /// Whether it fell because another node moved what it rested on.
    pub(crate) fn fell_alone(&self) -> bool {
        self.batch.any_dropped.load(Ordering::Acquire) && self.batch.dropped().contains_key(&self.number)
    }

    pub(crate) fn has_fallen(&self) -> bool {
        matches!(self.batch.outcome.get(), Some(Err(_))) || self.fell_alone()
    }

    /// Whether the log is asked about it only after `moment`, so that its outcome speaks of what every
    /// node had written by then.
    pub(crate) fn is_asked_after(&self, moment: Instant) -> bool {
        self.batch.taken.get().is_none_or(|taken| *taken > moment)
    }

    /// Whether nothing can happen any more to it or to anything queued before it.
    pub(crate) fn is_settled(&self) -> bool {
        self.batch.outcome.get().is_some()
    }

    /// Waits until the append is durable, and gives the position of its last event; for one without
    /// events, of the event before it.
    pub(crate) async fn position(&self) -> Result<Position, Fallen> {
        self.batch
            .wait(|| {
                if self.fell_alone() {
                    return Some(Err(Fallen::Moved));
                }
                let written = self.batch.outcome.get()?.as_ref();
                Some(written.map(|written| self.stands_at(written)).map_err(Fallen::clone))
            })
            .await
    }

    fn stands_at(&self, written: &Written) -> Position {
        let before = written.gaps.partition_point(|(number, _)| *number < self.number);
        let gone = before.checked_sub(1).map_or(0, |gap| written.gaps[gap].1);
        (written.first + self.through - gone).saturating_sub(1)
    }

    /// Whether the log has everything that will ever come of its stream's queue up to here.
    pub(crate) fn is_clear(&self) -> bool {
        let fell_clear = || self.batch.dropped().get(&self.number).is_some_and(|dropped| dropped.clear);
        self.is_settled() || (self.batch.any_dropped.load(Ordering::Acquire) && fell_clear())
    }

    pub(crate) async fn cleared(&self) {
        self.batch.wait(|| self.is_clear().then_some(())).await;
    }
}
