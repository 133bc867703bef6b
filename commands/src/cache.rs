//! Aggregates in memory, each under its own lock, and the `cqrs_es::EventStore` over them.

use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use cqrs_es::{AggregateContext, AggregateError, EventEnvelope};
use domain::{ActorId, CommandId, Event, StreamId, Timestamp};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use store::{Append, EventStore, Metadata, NewEvent, Position, Snapshot, Version};
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::{
    Hosted,
    bridge::{Bridge, Stamped, schema_version},
    chain::{Chain, Interrupted},
    ticket::{Fallen, Ticket},
    writer::Writer,
};

/// Events read from the log at once when a cold aggregate is loaded.
const PAGE: usize = 1_000;
/// The first version at which a snapshot is taken; the next follow at half as much again.
const FIRST_SNAPSHOT: Version = 64;
/// How long a stream remembers the commands that callers may repeat, in seconds: 30 days.
const REMEMBERED_SECONDS: i64 = 30 * 24 * 60 * 60;
const SHARDS: usize = 32;

/// A caller's command that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) digest: [u8; 16],
    /// Its events are those after `after`, `count` of them.
    pub(crate) after: Version,
    pub(crate) count: u64,
    pub(crate) at: Timestamp,
}

/// An aggregate and where it stands.
pub(crate) struct Resident<A: Hosted> {
    pub(crate) bridge: Bridge<A>,
    version: Version,
    /// Of the last event that was loaded; those that were decided since have theirs from their tickets.
    pub(crate) loaded_at: Position,
    /// Of the last append; its events may not be durable yet, and then the state is speculative.
    pub(crate) ticket: Option<Ticket>,
    loaded: bool,
    /// At least as new as the log was then, if its ticket does not fall. What other nodes did later may
    /// be missing. Only kept up for a shared log.
    fresh_at: Instant,
    next_snapshot: Version,
    commands: FxHashMap<CommandId, Known>,
}

impl<A: Hosted> Default for Resident<A> {
    fn default() -> Self {
        Resident {
            bridge: Bridge::default(),
            version: 0,
            loaded_at: 0,
            ticket: None,
            loaded: false,
            fresh_at: Instant::now(),
            next_snapshot: FIRST_SNAPSHOT,
            commands: FxHashMap::default(),
        }
    }
}

/// What a snapshot holds besides its version.
#[derive(Serialize)]
struct Kept<'a, A> {
    state: &'a A,
    commands: &'a FxHashMap<CommandId, Known>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "A: serde::de::DeserializeOwned"))]
struct KeptOwned<A> {
    state: A,
    commands: FxHashMap<CommandId, Known>,
}

impl<A: Hosted> Resident<A> {
    fn remember(&mut self, metadata: &Metadata, after: Version, count: u64, at: Timestamp) {
        let Some(digest) = metadata.digest else { return };
        self.commands.insert(metadata.command, Known { digest, after, count, at });
        if self.commands.len().is_multiple_of(64) {
            let forgotten = at.plus_seconds(-REMEMBERED_SECONDS);
            self.commands.retain(|_, known| known.at >= forgotten);
        }
    }

    fn snapshot(&mut self, version: Version) -> Option<Snapshot> {
        if version < self.next_snapshot {
            return None;
        }
        self.next_snapshot = version + version / 2;
        let kept = Kept { state: &self.bridge.state, commands: &self.commands };
        // A snapshot is a hint: without one the stream is folded from its start.
        let state = serde_json::to_vec(&kept).ok()?;
        Some(Snapshot { version, state_version: A::STATE_VERSION, state })
    }

    /// Folds the aggregate from its latest snapshot and what came after.
    async fn load(&mut self, stream: StreamId, store: &dyn EventStore) -> Result<(), Interrupted> {
        // What is still queued for it must be settled first, whichever way.
        if let Some(ticket) = &self.ticket {
            if !ticket.is_clear()
                && let Some(chain) = Chain::current()
            {
                chain.arrive();
            }
            ticket.cleared().await;
        }
        let mut fresh = Resident::default();
        if let Some(snapshot) = store.read_snapshot(stream).await.map_err(unavailable)?
            && snapshot.state_version == A::STATE_VERSION
            && let Ok(kept) = serde_json::from_slice::<KeptOwned<A>>(&snapshot.state)
        {
            fresh.bridge.state = kept.state;
            fresh.commands = kept.commands;
            fresh.version = snapshot.version;
            fresh.next_snapshot = snapshot.version + snapshot.version / 2;
        }
        // The snapshot's own last event too, for its position.
        let mut next = fresh.version.max(1);
        loop {
            let rows = store.read_stream(stream, next, PAGE).await.map_err(unavailable)?;
            for row in &rows {
                (fresh.loaded_at, next) = (row.position, row.version + 1);
                if row.version <= fresh.version {
                    continue;
                }
                let event = event_of::<A>(row)?;
                fresh.bridge.state.evolve(&event, row.occurred_at);
                let count = fresh.commands.get(&row.metadata.command).map_or(0, |known| known.count);
                fresh.remember(&row.metadata, row.version - count - 1, count + 1, row.occurred_at);
                fresh.version = row.version;
            }
            if rows.len() < PAGE {
                break;
            }
        }
        fresh.loaded = true;
        *self = fresh;
        Ok(())
    }
}

impl<A: Hosted> Resident<A> {
    /// What an answer without events rests on, for a request that began at `began`; none if the state
    /// is known to be as fresh as that. On a shared log, a state that was read before the request came
    /// and that nothing will prove is compared with the log. What the log was asked before the request
    /// came proves nothing, even where its answer is still to come: another node may have written since.
    pub(crate) fn basis(
        &mut self,
        stream: StreamId,
        began: Instant,
        writer: &Writer,
    ) -> Result<Option<Ticket>, Fallen> {
        let proves = |ticket: &Ticket| ticket.has_fallen() || ticket.is_asked_after(began);
        let proven = self.ticket.as_ref().is_some_and(proves);
        if writer.shared && !proven && self.fresh_at <= began {
            let now = Instant::now();
            self.ticket = Some(writer.enqueue_check(check(stream, self.version), self.ticket.as_ref())?);
            // Whoever looks until the log is asked shares the answer.
            self.fresh_at = now;
        }
        Ok(self.ticket.clone())
    }
}

/// Asks whether `stream` is at `expected`. What has no events needs no cause.
pub(crate) fn check(stream: StreamId, expected: Version) -> Append {
    let nobody = Metadata {
        command: CommandId(Uuid::nil()),
        digest: None,
        actor: ActorId(Uuid::nil()),
        correlation: Uuid::nil(),
        causation: None,
        trace: None,
    };
    Append { stream, expected, events: vec![], metadata: nobody, occurred_at: Timestamp::EPOCH, snapshot: None }
}

/// The event in `row`, in the schema of this program.
pub(crate) fn event_of<A: Hosted>(row: &store::EventRow) -> Result<A::Event, Interrupted> {
    let broken = |why: &dyn std::fmt::Display| {
        tracing::error!(position = row.position, stream = %row.stream, %why, "an event cannot be read");
        Interrupted::Unavailable(format!("event {} of {} cannot be read: {why}", row.position, row.stream))
    };
    let fact = store::decode(row).map_err(|error| broken(&error))?;
    A::event(fact).ok_or_else(|| broken(&"it belongs to another aggregate"))
}

pub(crate) fn unavailable(error: store::StoreError) -> Interrupted {
    Interrupted::Unavailable(error.to_string())
}

type Slot<A> = Arc<tokio::sync::Mutex<Resident<A>>>;

struct Seat<A: Hosted> {
    slot: Slot<A>,
    used: u64,
    /// The highest version that another node's event was seen with.
    seen: Version,
}

/// The aggregates of one type that are in memory.
pub(crate) struct Cache<A: Hosted> {
    shards: Vec<Mutex<FxHashMap<StreamId, Seat<A>>>>,
    /// Most aggregates a shard, unless more are in use at once.
    capacity: usize,
    clock: AtomicU64,
    writer: Arc<Writer>,
    store: Arc<dyn EventStore>,
}

impl<A: Hosted> Cache<A> {
    pub(crate) fn new(store: Arc<dyn EventStore>, writer: Arc<Writer>, capacity: usize) -> Arc<Self> {
        Arc::new(Cache {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            capacity: capacity.div_ceil(SHARDS).max(1),
            clock: AtomicU64::new(0),
            writer,
            store,
        })
    }

    fn shard(&self, stream: StreamId) -> MutexGuard<'_, FxHashMap<StreamId, Seat<A>>> {
        use std::hash::BuildHasher;
        let hash = rustc_hash::FxBuildHasher.hash_one(stream);
        let shard = &self.shards[(hash >> 40) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream's slot, and the version that the log is known to have at least.
    fn slot(&self, stream: StreamId) -> (Slot<A>, Version) {
        let used = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut seats = self.shard(stream);
        if let Some(seat) = seats.get_mut(&stream) {
            seat.used = used;
            return (Arc::clone(&seat.slot), seat.seen);
        }
        if seats.len() >= self.capacity {
            evict(&mut seats, self.capacity);
        }
        let slot = Slot::<A>::default();
        seats.insert(stream, Seat { slot: Arc::clone(&slot), used, seen: 0 });
        (slot, 0)
    }

    /// Notes that the log has `version` of a stream. A state in memory that is behind it is loaded
    /// anew by the next command.
    pub(crate) fn saw(&self, stream: StreamId, version: Version) {
        if let Some(seat) = self.shard(stream).get_mut(&stream) {
            seat.seen = seat.seen.max(version);
        }
    }

    /// The aggregate as it stands now, speculative or not, loaded if it has to be.
    pub(crate) async fn resident(&self, stream: StreamId) -> Result<OwnedMutexGuard<Resident<A>>, Interrupted> {
        let (slot, seen) = self.slot(stream);
        let mut resident = slot.lock_owned().await;
        let fallen = resident.ticket.as_ref().is_some_and(Ticket::has_fallen);
        if !resident.loaded || fallen || resident.version < seen {
            resident.loaded = false;
            resident.load(stream, &*self.store).await?;
        }
        Ok(resident)
    }
}

/// Drops the least recently used quarter. What is in use, or not durable yet, stays: a second copy
/// of it would decide from another state.
fn evict<A: Hosted>(seats: &mut FxHashMap<StreamId, Seat<A>>, capacity: usize) {
    let mut ages: Vec<u64> = seats.values().map(|seat| seat.used).collect();
    let middle = ages.len() / 4;
    let (_, oldest, _) = ages.select_nth_unstable(middle);
    let oldest = *oldest;
    seats.retain(|_, seat| {
        if seat.used > oldest || Arc::strong_count(&seat.slot) > 1 {
            return true;
        }
        match seat.slot.try_lock() {
            Ok(resident) => resident.ticket.as_ref().is_some_and(|ticket| !ticket.is_settled()),
            Err(_) => true,
        }
    });
    if seats.len() > capacity * 4 {
        tracing::warn!(seats = seats.len(), "many aggregates are in use at once");
    }
}

/// What a command is given with besides itself; the framework has no place for it.
pub(crate) struct Turn {
    pub(crate) stream: StreamId,
    pub(crate) metadata: Metadata,
    pub(crate) at: Timestamp,
    pub(crate) chain: Arc<Chain>,
    pub(crate) receipt: RefCell<Receipt>,
}

/// What the store hands back past the framework, which answers `()`.
#[derive(Default)]
pub(crate) struct Receipt {
    /// The events: a `Vec<Stamped<A::Event>>`.
    pub(crate) events: Option<Box<dyn Any + Send>>,
    pub(crate) repeat: Option<Known>,
    pub(crate) interrupted: Option<Interrupted>,
}

tokio::task_local! {
    pub(crate) static TURN: Turn;
}

/// Stops the framework; the receipt says why.
#[derive(Debug, thiserror::Error)]
#[error("see the receipt")]
struct SeeReceipt;

fn stop<E: std::error::Error>(note: impl FnOnce(&mut Receipt)) -> AggregateError<E> {
    TURN.with(|turn| note(&mut turn.receipt.borrow_mut()));
    AggregateError::UnexpectedError(Box::new(SeeReceipt))
}

/// The framework's store for one type of aggregate.
pub(crate) struct GroupCommit<A: Hosted>(pub(crate) Arc<Cache<A>>);

/// An aggregate lent to the framework in place, under its lock.
pub(crate) struct Lent<A: Hosted> {
    resident: OwnedMutexGuard<Resident<A>>,
    /// Until its events are queued: whose answer may come to rest on the state alone.
    asking: Option<Asking>,
}

struct Asking {
    stream: StreamId,
    chain: Arc<Chain>,
    writer: Arc<Writer>,
}

impl<A: Hosted> AggregateContext<Bridge<A>> for Lent<A> {
    fn aggregate(&mut self) -> &mut Bridge<A> {
        &mut self.resident.bridge
    }
}

/// The framework says nothing when a command is refused, cancelled or panics; it lets go. State that
/// was touched by then speaks of events that nobody queued: it is loaded anew by the next command.
/// Untouched state has given an answer without events, which rests on it.
impl<A: Hosted> Drop for Lent<A> {
    fn drop(&mut self) {
        if std::mem::take(&mut self.resident.bridge.touched) {
            self.resident.loaded = false;
        } else if let Some(Asking { stream, chain, writer }) = self.asking.take() {
            match self.resident.basis(stream, chain.began, &writer) {
                Ok(ticket) => ticket.iter().for_each(|ticket| chain.rest_on(ticket)),
                Err(_) => chain.fall(None, None),
            }
        }
    }
}

impl<A: Hosted> cqrs_es::EventStore<Bridge<A>> for GroupCommit<A> {
    type AC = Lent<A>;

    async fn load_events(&self, _: &str) -> Result<Vec<EventEnvelope<Bridge<A>>>, AggregateError<A::Error>> {
        // Only the framework's own test tools ask for this.
        Ok(vec![])
    }

    async fn load_aggregate(&self, _: &str) -> Result<Lent<A>, AggregateError<A::Error>> {
        let (stream, metadata, chain) = TURN.with(|turn| (turn.stream, turn.metadata, Arc::clone(&turn.chain)));
        let resident = self.0.resident(stream).await.map_err(|why| stop(|receipt| receipt.interrupted = Some(why)))?;
        // Whatever is decided, a refusal too, rests on this.
        chain.saw(resident.loaded_at);
        if let Some(ticket) = &resident.ticket {
            chain.rest_on(ticket);
        }
        if let Some(known) = resident.commands.get(&metadata.command).copied()
            && metadata.digest.is_some()
        {
            return Err(stop(|receipt| receipt.repeat = Some(known)));
        }
        let writer = &self.0.writer;
        let asking = writer.shared.then(|| Asking { stream, chain, writer: Arc::clone(writer) });
        Ok(Lent { resident, asking })
    }

    async fn commit(
        &self,
        events: Vec<Stamped<A::Event>>,
        mut lent: Lent<A>,
        _: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<Bridge<A>>>, AggregateError<A::Error>> {
        if events.is_empty() {
            return Ok(vec![]);
        }
        let (stream, metadata, at, chain) =
            TURN.with(|turn| (turn.stream, turn.metadata, turn.at, Arc::clone(&turn.chain)));
        let new_events = match serialise::<A>(&events) {
            Ok(new_events) => new_events,
            Err(error) => return Err(AggregateError::DeserializationError(Box::new(error))),
        };
        let resident = &mut *lent.resident;
        let (after, count) = (resident.version, events.len() as u64);
        resident.remember(&metadata, after, count, at);
        let snapshot = resident.snapshot(after + count);
        let append = Append { stream, expected: after, events: new_events, metadata, occurred_at: at, snapshot };
        if self.0.writer.shared {
            resident.fresh_at = Instant::now();
        }
        let queued = self.0.writer.enqueue(append, &chain, resident.ticket.as_ref());
        let ticket = queued.map_err(|_| stop(|receipt| receipt.interrupted = Some(Interrupted::Fell)))?;
        chain.rest_on(&ticket);
        resident.version = after + count;
        resident.ticket = Some(ticket);
        resident.bridge.touched = false;
        lent.asking = None;
        TURN.with(|turn| turn.receipt.borrow_mut().events = Some(Box::new(events)));
        Ok(vec![])
    }
}

fn serialise<A: Hosted>(events: &[Stamped<A::Event>]) -> Result<Vec<NewEvent>, serde_json::Error> {
    let one = |stamped: &Stamped<A::Event>| {
        let event = &*stamped.event;
        let payload = serde_json::to_vec(event)?;
        Ok(NewEvent { name: event.name(), schema_version: schema_version(event), payload })
    };
    events.iter().map(one).collect()
}
