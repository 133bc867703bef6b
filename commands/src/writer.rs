//! The queue before the log, and the one task that writes it.
//!
//! Whatever waits is written in one transaction. When a batch fails, everything queued behind it
//! falls with it, since it may rest on what was not written.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use store::{Append, Appended, EventStore, Position, StoreError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Most events of one transaction: more gains little and makes everybody behind wait.
const MAX_BATCH_EVENTS: usize = 8_192;
/// Between two looks at a log whose last append has an unknown outcome.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Why a batch was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fallen(pub(crate) String);

/// A group of appends that is written, or falls, as a whole.
pub(crate) struct Batch {
    /// Batches are written in the order of their numbers.
    number: u64,
    outcome: OnceLock<Result<Appended, Fallen>>,
    settled: Notify,
}

impl Batch {
    fn new(number: u64) -> Arc<Self> {
        Arc::new(Batch { number, outcome: OnceLock::new(), settled: Notify::new() })
    }

    fn settle(&self, outcome: Result<Appended, Fallen>) {
        // A batch is settled once: by its own write or by the fall of one before it.
        let _ = self.outcome.set(outcome);
        self.settled.notify_waiters();
    }

    async fn wait(&self) -> &Result<Appended, Fallen> {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if let Some(outcome) = self.outcome.get() {
                return outcome;
            }
            settled.await;
        }
    }
}

/// A place in the queue. It becomes a position when its batch is written.
#[derive(Clone)]
pub(crate) struct Ticket {
    batch: Arc<Batch>,
    /// Of the append's last event within the batch.
    last: u64,
}

impl Ticket {
    pub(crate) fn has_fallen(&self) -> bool {
        matches!(self.batch.outcome.get(), Some(Err(_)))
    }

    /// Whether nothing can happen to it any more.
    pub(crate) fn is_settled(&self) -> bool {
        self.batch.outcome.get().is_some()
    }

    pub(crate) fn is_after(&self, other: &Ticket) -> bool {
        (self.batch.number, self.last) > (other.batch.number, other.last)
    }

    /// Waits until the append is durable, and gives the position of its last event.
    pub(crate) async fn position(&self) -> Result<Position, Fallen> {
        match self.batch.wait().await {
            Ok(appended) => Ok(appended.first + self.last),
            Err(fallen) => Err(fallen.clone()),
        }
    }
}

/// Appends that are waiting, with the queue room that they hold until they are settled.
struct Waiting {
    batch: Arc<Batch>,
    appends: Vec<Append>,
    events: u64,
    room: Vec<OwnedSemaphorePermit>,
}

impl Waiting {
    fn new(number: u64) -> Self {
        Waiting { batch: Batch::new(number), appends: Vec::new(), events: 0, room: Vec::new() }
    }
}

struct Queue {
    closed: VecDeque<Waiting>,
    open: Waiting,
    /// Set when the log can no longer be used, or the writer has stopped.
    ended: Option<Fallen>,
}

impl Queue {
    fn next_number(&self) -> u64 {
        self.open.batch.number + 1
    }

    /// Everything that waits, in order.
    fn take_all(&mut self) -> Vec<Waiting> {
        let fresh = Waiting::new(self.next_number());
        let open = std::mem::replace(&mut self.open, fresh);
        self.closed.drain(..).chain([open]).collect()
    }
}

/// What a queue may hold, and how long a caller waits for room.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Most events that wait or are being written.
    pub events: u32,
    /// After this a caller is told that the service is overloaded.
    pub patience: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        QueueLimits { events: 65_536, patience: Duration::from_secs(2) }
    }
}

pub(crate) struct Writer {
    store: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    filled: Notify,
    room: Arc<Semaphore>,
    limits: QueueLimits,
    /// Cancelled when the log turned out to be unusable.
    pub(crate) failed: CancellationToken,
    stopping: CancellationToken,
}

impl Writer {
    pub(crate) fn new(store: Arc<dyn EventStore>, clock: Arc<dyn Clock>, limits: QueueLimits) -> Arc<Self> {
        Arc::new(Writer {
            store,
            clock,
            queue: Mutex::new(Queue { closed: VecDeque::new(), open: Waiting::new(1), ended: None }),
            filled: Notify::new(),
            room: Arc::new(Semaphore::new(limits.events as usize)),
            limits,
            failed: CancellationToken::new(),
            stopping: CancellationToken::new(),
        })
    }

    /// Room for `events`, or none when the queue stays full for longer than a caller should wait.
    pub(crate) async fn room(&self, events: u32) -> Option<OwnedSemaphorePermit> {
        let acquired = Arc::clone(&self.room).acquire_many_owned(events);
        tokio::time::timeout(self.limits.patience, acquired).await.ok()?.ok()
    }

    /// How much of the queue is taken, from 0 to 1.
    pub(crate) fn fullness(&self) -> f64 {
        1.0 - self.room.available_permits() as f64 / f64::from(self.limits.events)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an append behind everything queued before, unless something that it rests on has
    /// fallen: that is looked at under the lock under which batches fall.
    pub(crate) fn enqueue(
        &self,
        append: Append,
        rests_on: &[Option<&Ticket>],
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Ticket, Fallen> {
        let mut queue = self.lock();
        if let Some(ended) = &queue.ended {
            return Err(ended.clone());
        }
        if rests_on.iter().flatten().any(|ticket| ticket.has_fallen()) {
            return Err(Fallen("what it rests on was not written".to_owned()));
        }
        if queue.open.events as usize + append.events.len() > MAX_BATCH_EVENTS && !queue.open.appends.is_empty() {
            let fresh = Waiting::new(queue.next_number());
            let full = std::mem::replace(&mut queue.open, fresh);
            queue.closed.push_back(full);
        }
        let open = &mut queue.open;
        open.events += append.events.len() as u64;
        let ticket = Ticket { batch: Arc::clone(&open.batch), last: open.events - 1 };
        open.appends.push(append);
        open.room.extend(room);
        drop(queue);
        self.filled.notify_one();
        Ok(ticket)
    }

    fn next(&self) -> Option<Waiting> {
        let mut queue = self.lock();
        if let Some(waiting) = queue.closed.pop_front() {
            return Some(waiting);
        }
        if queue.open.appends.is_empty() {
            return None;
        }
        let fresh = Waiting::new(queue.next_number());
        Some(std::mem::replace(&mut queue.open, fresh))
    }

    /// Writes whatever waits until [`Writer::stop`]; then what is left, and ends.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let Some(waiting) = self.next() else {
                if self.stopping.is_cancelled() {
                    break;
                }
                tokio::select! {
                    () = self.filled.notified() => {}
                    () = self.stopping.cancelled() => {}
                }
                continue;
            };
            if !self.write(waiting).await {
                self.failed.cancel();
                break;
            }
        }
        let fallen = Fallen("the service is stopping".to_owned());
        self.fall(None, &fallen, true);
    }

    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    /// Whether the log can still be used.
    async fn write(&self, mut waiting: Waiting) -> bool {
        let appends = std::mem::take(&mut waiting.appends);
        let first = appends.first().map(|append| (append.stream, append.expected, append.metadata.command));
        match self.store.append(appends, self.clock.now()).await {
            Ok(appended) => {
                waiting.batch.settle(Ok(appended));
                true
            }
            Err(StoreError::Unknown(why)) => {
                tracing::error!(%why, "the outcome of an append is not known; reading the log again");
                match self.was_written(first).await {
                    Some(appended) => waiting.batch.settle(Ok(appended)),
                    None => self.fall(Some(waiting), &Fallen(why), false),
                }
                true
            }
            Err(error @ (StoreError::Conflict(_) | StoreError::Unavailable(_))) => {
                tracing::warn!(%error, "a batch was not written");
                self.fall(Some(waiting), &Fallen(error.to_string()), false);
                true
            }
            Err(StoreError::Unusable(why)) => {
                tracing::error!(%why, "the log cannot be used any more");
                self.fall(Some(waiting), &Fallen(why), true);
                false
            }
        }
    }

    /// Looks until the log answers. A batch is whole or absent, so its first event tells.
    async fn was_written(
        &self,
        first: Option<(domain::StreamId, store::Version, domain::CommandId)>,
    ) -> Option<Appended> {
        let (stream, expected, command) = first?;
        loop {
            match self.store.read_stream(stream, expected + 1, 1).await {
                Ok(rows) => {
                    let row = rows.first().filter(|row| row.metadata.command == command)?;
                    return Some(Appended { first: row.position, recorded_at: row.recorded_at });
                }
                Err(error) => tracing::warn!(%error, "the log does not answer yet"),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Lets `failed` and everything queued behind it fall, in one step under the lock.
    fn fall(&self, failed: Option<Waiting>, why: &Fallen, for_good: bool) {
        let mut queue = self.lock();
        let fallen: Vec<Waiting> = failed.into_iter().chain(queue.take_all()).collect();
        for waiting in &fallen {
            waiting.batch.settle(Err(why.clone()));
        }
        if for_good {
            queue.ended = Some(why.clone());
        }
    }
}
