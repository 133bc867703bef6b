//! The event log: what was decided, in the order in which it was decided.
//!
//! Every adapter passes the contract in [`contract`]. Positions and versions begin at 1 and have no
//! gaps; 0 means "before the first".

pub mod contract;
pub mod export;
pub mod history;
mod import;
pub mod keys;
mod memory;
mod names;
mod postgres;
pub mod schema;
mod sqlite;

use std::sync::Arc;

use domain::{ActorId, CommandId, Fact, StreamId, TenantId, Timestamp};
use tokio::sync::watch;
use uuid::Uuid;

pub use memory::MemoryLog;
pub use postgres::PostgresLog;
pub use schema::{SchemaError, decode};
pub use sqlite::{SqliteLog, SqliteMode};

/// The global number of an event: dense, from 1. 0 is before the first event.
pub type Position = u64;
/// The number of an event in its stream: dense, from 1. 0 is an empty stream.
pub type Version = u64;

/// Who caused an event, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The command that decided it. All events of one command bear the same id.
    pub command: CommandId,
    /// Hash of what the caller sent, for commands that a caller may repeat; none for a saga's own.
    pub digest: Option<[u8; 16]>,
    pub actor: ActorId,
    /// What the whole chain is about: the order's id, say.
    pub correlation: Uuid,
    /// The command that led to this one, if any.
    pub causation: Option<CommandId>,
    /// The W3C trace id of the request.
    pub trace: Option<[u8; 16]>,
}

/// An event that is not in the log yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// Its name within the aggregate, as `domain::Event::name` gives it.
    pub name: &'static str,
    pub schema_version: u16,
    /// JSON. These bytes are stored, hashed and exported as they are.
    pub payload: Vec<u8>,
}

/// The state of an aggregate at the version at which its append ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub version: Version,
    /// `Aggregate::STATE_VERSION` of the program that wrote it.
    pub state_version: u32,
    /// JSON.
    pub state: Vec<u8>,
}

/// Events of one command for one stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    pub stream: StreamId,
    /// The version of the stream's last event before these; 0 for a new stream.
    pub expected: Version,
    pub events: Vec<NewEvent>,
    pub metadata: Metadata,
    /// Business time, by which the books are kept.
    pub occurred_at: Timestamp,
    /// Written in the same transaction, so that it never speaks of what is not durable.
    pub snapshot: Option<Snapshot>,
}

/// An event as the log has it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    pub position: Position,
    pub stream: StreamId,
    pub version: Version,
    /// `{aggregate}.{name}`, e.g. `order.Placed`.
    pub event_type: Arc<str>,
    pub schema_version: u16,
    pub payload: Vec<u8>,
    pub metadata: Metadata,
    pub occurred_at: Timestamp,
    /// When the log took it; never decreases with the position.
    pub recorded_at: Timestamp,
}

/// An event row, decoded and upcast.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub position: Position,
    pub tenant: TenantId,
    pub version: Version,
    pub fact: Fact,
    pub metadata: Metadata,
    pub occurred_at: Timestamp,
    pub recorded_at: Timestamp,
}

impl Recorded {
    pub fn decode(row: &EventRow) -> Result<Recorded, SchemaError> {
        Ok(Recorded {
            position: row.position,
            tenant: row.stream.tenant,
            version: row.version,
            fact: decode(row)?,
            metadata: row.metadata,
            occurred_at: row.occurred_at,
            recorded_at: row.recorded_at,
        })
    }
}

/// Where a batch came to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Of the batch's first event; the others follow without a gap, in the batch's order.
    pub first: Position,
    pub recorded_at: Timestamp,
}

/// Who a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// Made at the log's birth and kept by every copy and import.
    pub log: Uuid,
    /// Of this store alone. Views are bound to it.
    pub incarnation: Uuid,
}

/// A stream that is not where an append expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{stream} is at version {actual}, not {expected}")]
pub struct Moved {
    pub stream: StreamId,
    pub expected: Version,
    pub actual: Version,
}

impl Moved {
    /// Notes a stream that has moved, once.
    pub(crate) fn note(moved: &mut Vec<Moved>, append: &Append, actual: Version) {
        if !moved.iter().any(|known| known.stream == append.stream) {
            moved.push(Moved { stream: append.stream, expected: append.expected, actual });
        }
    }
}

/// What may be done with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogState {
    /// It takes appends.
    Open,
    /// A copy of another log. It is read and imported into, until it is taken over.
    Copy,
    /// A copy that has everything of its origin, which is sealed. It waits to be taken over.
    Complete,
    /// It has moved elsewhere, and takes nothing any more.
    Sealed,
}

impl LogState {
    /// The state in one word, by which adapters keep it.
    pub fn name(self) -> &'static str {
        match self {
            LogState::Open => "open",
            LogState::Copy => "copy",
            LogState::Complete => "complete",
            LogState::Sealed => "sealed",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<LogState> {
        [LogState::Open, LogState::Copy, LogState::Complete, LogState::Sealed]
            .into_iter()
            .find(|state| state.name() == name)
    }

    /// Refuses appends unless the log is open.
    ///
    /// # Errors
    /// [`StoreError::Unusable`], which says what to do.
    pub fn takes_appends(self) -> Result<(), StoreError> {
        match self {
            LogState::Open => Ok(()),
            LogState::Copy | LogState::Complete => Err(StoreError::Unusable(import::IS_A_COPY.into())),
            LogState::Sealed => Err(StoreError::Unusable(import::IS_SEALED.into())),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Streams are not at the version that an append expects, counting what stands before it in its
    /// batch: each such stream once, and at least one. Nothing of the batch was written.
    #[error("{}", .0.iter().map(Moved::to_string).collect::<Vec<_>>().join("; "))]
    Conflict(Vec<Moved>),
    /// Nothing of the batch was written; the same batch may be tried again.
    #[error("the log is not available: {0}")]
    Unavailable(String),
    /// Whether the batch was written is not known: the log must be read before anything is answered.
    #[error("the outcome of an append is not known: {0}")]
    Unknown(String),
    /// The log cannot be used: it is foreign, damaged, newer than this program, or held by another.
    #[error("{0}")]
    Unusable(String),
}

/// The log.
#[async_trait::async_trait]
pub trait EventStore: Send + Sync + 'static {
    fn identity(&self) -> LogIdentity;

    /// Writes the whole batch durably, in its order, or nothing of it. Several appends of one batch
    /// may be for one stream. `now` is given to every event as `recorded_at`, or the log's last
    /// `recorded_at` when that is later.
    async fn append(&self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError>;

    /// Takes the head's lock: nobody else appends until the session has appended or is dropped.
    async fn session(&self) -> Result<Box<dyn AppendSession + '_>, StoreError>;

    /// Whether other processes append to the same log, so that streams move without this one.
    fn is_shared(&self) -> bool;

    /// The versions of these streams' last durable events, in their order.
    async fn versions(&self, streams: &[StreamId]) -> Result<Vec<Version>, StoreError>;

    /// Events of a stream with a version of at least `from`, oldest first, at most `limit`.
    async fn read_stream(&self, stream: StreamId, from: Version, limit: usize) -> Result<Vec<EventRow>, StoreError>;

    /// The latest snapshot of a stream, if there is one.
    async fn read_snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, StoreError>;

    /// Events of all streams with a position of at least `from`, in order, at most `limit`.
    async fn read_all(&self, from: Position, limit: usize) -> Result<Vec<EventRow>, StoreError>;

    /// The position of the last durable event; 0 for an empty log.
    async fn head(&self) -> Result<Position, StoreError>;

    /// Shows the head as this store last saw it move: a hint to read.
    fn subscribe(&self) -> watch::Receiver<Position>;

    async fn state(&self) -> Result<LogState, StoreError>;

    /// Changes the state for every process that uses the log. A log that is not [`LogState::Open`]
    /// refuses appends as [`StoreError::Unusable`].
    async fn set_state(&self, state: LogState) -> Result<(), StoreError>;

    /// Writes events as another log recorded them: positions, versions, times and bytes are kept.
    /// They follow on the head without a gap. Into an empty log this makes a [`LogState::Copy`] with
    /// `log` as its identity; later calls must name the same `log`.
    ///
    /// # Errors
    /// [`StoreError::Unusable`], with nothing written, when the log is not a copy of `log` or the
    /// events do not follow on its head and its streams.
    async fn import(&self, log: Uuid, events: Vec<EventRow>) -> Result<(), StoreError>;
}

/// The head's lock, held.
#[async_trait::async_trait]
pub trait AppendSession: Send {
    /// As [`EventStore::append`]. A success ends the session; after a conflict the lock is still
    /// held, and another batch may be tried.
    async fn append(&mut self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError>;
}
