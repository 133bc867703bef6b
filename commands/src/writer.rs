//! The queue before the log, and the one task that writes it.
//!
//! Whatever waits is written in one transaction. When a batch fails, everything queued behind it
//! falls with it, since it may rest on what was not written. On a log that several nodes share,
//! streams move without this node; what falls then is in [`crate::turn`].

use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use domain::{CommandId, StreamId};
use store::{Append, EventRow, EventStore, Position, StoreError, Version};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    chain::Chain,
    clock::{Clock, SPLITMIX_STEP, splitmix64},
    contention::Counters,
    tail::OwnWrites,
    ticket::{Batch, Fallen, Ticket},
};

/// Most events of one transaction, and most appends: more gains little and makes everybody behind wait.
pub(crate) const MAX_BATCH: usize = 8_192;
/// Between two looks at a log whose last append has an unknown outcome.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Appends that are waiting.
pub(crate) struct Waiting {
    pub(crate) batch: Arc<Batch>,
    pub(crate) appends: Vec<Append>,
    /// One for each append.
    pub(crate) tags: Vec<Tag>,
    /// Appends and events that were ever queued here.
    numbered: u32,
    events: u64,
    /// Events that fell alone.
    pub(crate) gone: u64,
}

/// What the queue knows about an append besides itself.
pub(crate) struct Tag {
    /// Its number within the batch.
    pub(crate) number: u32,
    /// Whose link it is. Only kept for a shared log.
    pub(crate) chain: Option<Arc<Chain>>,
    /// Queue room that it holds until it is settled.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Waiting {
    fn new(number: u64) -> Self {
        Waiting { batch: Batch::new(number), appends: Vec::new(), tags: Vec::new(), numbered: 0, events: 0, gone: 0 }
    }

    fn is_full_for(&self, append: &Append) -> bool {
        let events = self.events as usize + append.events.len();
        !self.appends.is_empty() && (events > MAX_BATCH || self.appends.len() == MAX_BATCH)
    }

    fn push(&mut self, append: Append, chain: Option<Arc<Chain>>, room: Option<OwnedSemaphorePermit>) -> Ticket {
        self.events += append.events.len() as u64;
        let ticket = Ticket::new(&self.batch, self.numbered, self.events);
        self.tags.push(Tag { number: self.numbered, chain, room });
        self.appends.push(append);
        self.numbered += 1;
        ticket
    }

    /// How much of a batch it makes.
    pub(crate) fn weight(&self) -> usize {
        self.appends.len().max((self.events - self.gone) as usize)
    }

    /// Whether it only asks if streams are where they were.
    fn has_only_checks(&self) -> bool {
        self.appends.iter().all(|append| append.events.is_empty())
    }
}

pub(crate) struct Queue {
    pub(crate) closed: VecDeque<Waiting>,
    pub(crate) open: Waiting,
    /// Set when the log can no longer be used, or the writer has stopped.
    ended: Option<Fallen>,
}

impl Queue {
    fn fresh(&mut self) -> Waiting {
        let fresh = Waiting::new(self.open.batch.number() + 1);
        std::mem::replace(&mut self.open, fresh)
    }

    /// Everything that waits, in order.
    fn take_all(&mut self) -> Vec<Waiting> {
        let open = self.fresh();
        self.closed.drain(..).chain([open]).collect()
    }

    /// How much of a batch the next part makes, if one waits.
    pub(crate) fn next_weight(&self) -> Option<usize> {
        let open = || (!self.open.appends.is_empty()).then_some(&self.open);
        self.closed.front().or_else(open).map(Waiting::weight)
    }

    pub(crate) fn take_next(&mut self) -> Option<Waiting> {
        let open = !self.open.appends.is_empty();
        let next = self.closed.pop_front().or_else(|| open.then(|| self.fresh()))?;
        next.batch.take();
        Some(next)
    }

    /// What waits, when it appends nothing.
    pub(crate) fn take_checks(&mut self) -> Option<Waiting> {
        if self.closed.is_empty() && self.open.has_only_checks() { self.take_next() } else { None }
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
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether other nodes append to the same log.
    pub(crate) shared: bool,
    queue: Mutex<Queue>,
    filled: Notify,
    room: Arc<Semaphore>,
    limits: QueueLimits,
    /// The last position that this node wrote.
    wrote: AtomicU64,
    /// What the tail need not read. Only kept for a shared log.
    pub(crate) own_writes: OwnWrites,
    pub(crate) counters: Counters,
    /// The microseconds of the quickest append since that was asked last.
    quickest: AtomicU64,
    /// Since when an append has been under way.
    appending: Mutex<Option<Instant>>,
    /// Where this node's series of chance numbers stands.
    chance: AtomicU64,
    /// Set while the log does not say what became of an append.
    in_doubt: AtomicBool,
    /// Cancelled when the log turned out to be unusable.
    pub(crate) failed: CancellationToken,
    pub(crate) stopping: CancellationToken,
}

impl Writer {
    pub(crate) fn new(store: Arc<dyn EventStore>, clock: Arc<dyn Clock>, limits: QueueLimits) -> Arc<Self> {
        Arc::new(Writer {
            shared: store.is_shared(),
            store,
            clock,
            queue: Mutex::new(Queue { closed: VecDeque::new(), open: Waiting::new(1), ended: None }),
            filled: Notify::new(),
            room: Arc::new(Semaphore::new(limits.events as usize)),
            limits,
            wrote: AtomicU64::new(0),
            own_writes: OwnWrites::default(),
            counters: Counters::default(),
            quickest: AtomicU64::new(u64::MAX),
            appending: Mutex::new(None),
            chance: AtomicU64::new(RandomState::new().hash_one(())),
            in_doubt: AtomicBool::new(false),
            failed: CancellationToken::new(),
            stopping: CancellationToken::new(),
        })
    }

    /// Room for `events`, or none when the queue stays full for longer than a caller should wait.
    pub(crate) async fn room(&self, events: u32) -> Option<OwnedSemaphorePermit> {
        let acquired = Arc::clone(&self.room).acquire_many_owned(events);
        tokio::time::timeout(self.limits.patience, acquired).await.ok()?.ok()
    }

    /// How long a caller may be kept waiting.
    pub(crate) fn patience(&self) -> Duration {
        self.limits.patience
    }

    /// How much of the queue is taken, from 0 to 1.
    pub(crate) fn fullness(&self) -> f64 {
        1.0 - self.room.available_permits() as f64 / f64::from(self.limits.events)
    }

    /// How long the quickest append has taken since this was asked last. None when nothing was appended, unless an
    /// append has been under way for longer than `window`: then for how long.
    pub(crate) fn quickest_append(&self, window: Duration) -> Option<Duration> {
        let micros = self.quickest.swap(u64::MAX, Ordering::Relaxed);
        if micros != u64::MAX {
            return Some(Duration::from_micros(micros));
        }
        let since = *self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed()).filter(|age| *age > window)
    }

    /// Notes how long an append took, if it was made.
    pub(crate) async fn timed<T, E>(&self, append: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = Instant::now();
        *self.appending.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        let appended = append.await;
        *self.appending.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if appended.is_ok() {
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.quickest.fetch_min(micros, Ordering::Relaxed);
        }
        appended
    }

    /// A chance number that other nodes do not share.
    pub(crate) fn chance(&self) -> u64 {
        let mut state = self.chance.fetch_add(SPLITMIX_STEP, Ordering::Relaxed);
        splitmix64(&mut state)
    }

    /// Whether the log keeps silent about an append.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a chain's append behind everything queued before, unless something that it rests on
    /// has fallen: that is looked at under the lock under which appends fall. `stood_at` is the
    /// ticket of what is before it on its stream.
    pub(crate) fn enqueue(
        &self,
        append: Append,
        chain: &Arc<Chain>,
        stood_at: Option<&Ticket>,
    ) -> Result<Ticket, Fallen> {
        let room = chain.room(append.events.len());
        let queue = self.lock();
        if let Some(ended) = &queue.ended {
            return Err(ended.clone());
        }
        if stood_at.is_some_and(Ticket::has_fallen) || chain.has_fallen() {
            return Err(Fallen::NotTaken("what it rests on was not written".to_owned()));
        }
        let chain = self.shared.then(|| Arc::clone(chain));
        Ok(self.push(queue, append, chain, room))
    }

    /// Queues the question whether a stream is where `check`, which has no events, expects it. `stood_at` is the
    /// ticket of what is before it on its stream: if that has fallen it is the answer, whatever the log says.
    pub(crate) fn enqueue_check(&self, check: Append, stood_at: Option<&Ticket>) -> Result<Ticket, Fallen> {
        let queue = self.lock();
        if let Some(ended) = &queue.ended {
            return Err(ended.clone());
        }
        // Only under this lock: another node may have written as many events as fell here.
        if let Some(fallen) = stood_at.filter(|ticket| ticket.has_fallen()) {
            return Ok(fallen.clone());
        }
        Ok(self.push(queue, check, None, None))
    }

    fn push(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        append: Append,
        chain: Option<Arc<Chain>>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Ticket {
        if queue.open.is_full_for(&append) {
            let full = queue.fresh();
            queue.closed.push_back(full);
        }
        let ticket = queue.open.push(append, chain, room);
        drop(queue);
        self.filled.notify_one();
        ticket
    }

    /// Whether something waits; after [`Writer::stop`], whether something is left.
    async fn is_filled(&self) -> bool {
        loop {
            {
                let queue = self.lock();
                if !queue.closed.is_empty() || !queue.open.appends.is_empty() {
                    return true;
                }
            }
            if self.stopping.is_cancelled() {
                return false;
            }
            tokio::select! {
                () = self.filled.notified() => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }

    /// Writes whatever waits until [`Writer::stop`]; then what is left, and ends.
    pub(crate) async fn run(self: Arc<Self>) {
        // Whoever waits for its answers would wait for ever after a panic: that is a failure of the log, too.
        let panicked = self.failed.clone().drop_guard();
        while self.is_filled().await {
            let usable = if self.shared { self.take_turn().await } else { self.write_next().await };
            if !usable {
                self.failed.cancel();
                break;
            }
        }
        let fallen = Fallen::NotTaken("the service is stopping".to_owned());
        self.fall(vec![], &fallen, true);
        panicked.disarm();
    }

    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    /// Writes the next batch to a log that is this node's alone. Whether the log can still be used.
    async fn write_next(&self) -> bool {
        let Some(mut waiting) = self.lock().take_next() else { return true };
        let appends = std::mem::take(&mut waiting.appends);
        let first = appends.first().map(Mark::of);
        match self.timed(self.store.append(appends, self.clock.now())).await {
            Ok(appended) => {
                self.stands(vec![waiting], appended.first);
                true
            }
            Err(error) => self.not_taken(error, vec![waiting], first.as_slice()).await,
        }
    }

    /// Says that `written` stands in the log from `first` on.
    pub(crate) fn stands(&self, written: Vec<Waiting>, first: Position) {
        let mut next = first;
        for waiting in &written {
            waiting.batch.written(next);
            next += waiting.events - waiting.gone;
        }
        if next > first {
            self.wrote.fetch_max(next - 1, Ordering::Relaxed);
            if self.shared {
                self.own_writes.note(first, next - 1);
            }
        }
    }

    /// Says that `checked`, which has no events, holds.
    pub(crate) fn holds(&self, checked: Vec<Waiting>) {
        self.stands(checked, self.wrote.load(Ordering::Relaxed) + 1);
    }

    /// Settles what the log did not simply take. Whether the log can still be used.
    pub(crate) async fn not_taken(&self, error: StoreError, tried: Vec<Waiting>, marks: &[Mark]) -> bool {
        match error {
            StoreError::Unknown(why) => {
                tracing::error!(%why, "the outcome of an append is not known; reading the log again");
                let found = self.find(marks).await;
                self.in_doubt.store(false, Ordering::Relaxed);
                match found {
                    Some(first) => self.stands(tried, first),
                    None => self.fall(tried, &Fallen::NotTaken(why), false),
                }
                true
            }
            StoreError::Conflict(_) | StoreError::Unavailable(_) => {
                tracing::warn!(%error, "a batch was not written");
                self.fall(tried, &Fallen::NotTaken(error.to_string()), false);
                true
            }
            StoreError::Unusable(why) => {
                tracing::error!(%why, "the log cannot be used any more");
                self.fall(tried, &Fallen::NotTaken(why), true);
                false
            }
        }
    }

    /// Where the first of `marks` stands in the log, if all of them do: looks until the log answers.
    /// What waits behind them falls as soon as the log keeps silent, and newcomers are refused.
    async fn find(&self, marks: &[Mark]) -> Option<Position> {
        loop {
            match self.look_for(marks).await {
                Ok(found) => return found,
                Err(error) => tracing::warn!(%error, "the log does not answer yet"),
            }
            self.in_doubt.store(true, Ordering::Relaxed);
            self.fall(vec![], &Fallen::NotTaken("the log does not answer".to_owned()), false);
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.stopping.cancelled() => return None,
            }
        }
    }

    /// A batch is whole or absent. Its first event alone would not do where another node may have
    /// carried out the same command.
    async fn look_for(&self, marks: &[Mark]) -> Result<Option<Position>, StoreError> {
        let Some(first) = marks.iter().find(|mark| mark.events > 0) else { return Ok(None) };
        let rows = self.store.read_stream(first.stream, first.after + 1, 1).await?;
        let Some(row) = rows.first().filter(|row| row.metadata.command == first.command) else { return Ok(None) };
        let (first, mut next) = (row.position, row.position);
        for mark in marks {
            let events = usize::try_from(mark.events).unwrap_or(usize::MAX);
            let rows = self.store.read_all(next, events).await?;
            let is_its = |(row, version): (&EventRow, Version)| {
                row.stream == mark.stream && row.version == version && row.metadata.command == mark.command
            };
            if rows.len() != events || !rows.iter().zip(mark.after + 1..).all(is_its) {
                return Ok(None);
            }
            next += mark.events;
        }
        Ok(Some(first))
    }

    /// Lets `failed` and everything queued behind it fall, in one step under the lock.
    fn fall(&self, failed: Vec<Waiting>, why: &Fallen, for_good: bool) {
        let mut queue = self.lock();
        let fallen: Vec<Waiting> = failed.into_iter().chain(queue.take_all()).collect();
        for waiting in &fallen {
            waiting.batch.fall(why);
        }
        if for_good {
            queue.ended = Some(why.clone());
        }
    }
}

/// By what an append is found again in the log.
pub(crate) struct Mark {
    stream: StreamId,
    after: Version,
    events: u64,
    command: CommandId,
}

impl Mark {
    pub(crate) fn of(append: &Append) -> Mark {
        let (stream, after, command) = (append.stream, append.expected, append.metadata.command);
        Mark { stream, after, events: append.events.len() as u64, command }
    }
}
