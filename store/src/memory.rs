//! The log in memory: for tests and simulation. It is gone when it is dropped.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{StreamId, Timestamp};
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    Append, AppendSession, Appended, EventRow, EventStore, LogIdentity, LogState, Moved, Position, Snapshot,
    StoreError, Version,
    import::{ImportCheck, NOT_THAT_COPY},
    names::EventTypes,
};

/// A log in memory.
pub struct MemoryLog {
    state: Mutex<State>,
    head: watch::Sender<Position>,
    /// Who may append.
    turn: tokio::sync::Mutex<()>,
    shared: bool,
}

struct State {
    identity: LogIdentity,
    log_state: LogState,
    /// The event of position p is at p − 1.
    events: Vec<EventRow>,
    streams: FxHashMap<StreamId, Stream>,
    types: EventTypes,
    recorded_at: Option<Timestamp>,
}

#[derive(Default)]
struct Stream {
    /// The event of version v is at the position that stands at v − 1.
    positions: Vec<Position>,
    snapshot: Option<Snapshot>,
}

impl MemoryLog {
    /// An empty log with an identity of its own.
    pub fn new() -> MemoryLog {
        MemoryLog::with_identity(LogIdentity { log: Uuid::now_v7(), incarnation: Uuid::now_v7() })
    }

    /// An empty log of a given identity, for runs that are repeated exactly.
    pub fn with_identity(identity: LogIdentity) -> MemoryLog {
        let state = State {
            identity,
            log_state: LogState::Open,
            events: Vec::new(),
            streams: FxHashMap::default(),
            types: EventTypes::default(),
            recorded_at: None,
        };
        MemoryLog {
            state: Mutex::new(state),
            head: watch::Sender::new(0),
            turn: tokio::sync::Mutex::default(),
            shared: false,
        }
    }

    /// A log that says of itself that several nodes append to it.
    pub fn shared() -> MemoryLog {
        MemoryLog { shared: true, ..MemoryLog::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        MemoryLog::new()
    }
}

impl State {
    fn version(&self, stream: &StreamId) -> Version {
        self.streams.get(stream).map_or(0, |stream| stream.positions.len() as Version)
    }

    /// Finds the streams whose appends do not follow on what is before them.
    fn check(&self, batch: &[Append]) -> Result<(), StoreError> {
        self.log_state.takes_appends()?;
        let mut moved = Vec::new();
        let mut versions: FxHashMap<StreamId, Version> = FxHashMap::default();
        for append in batch {
            let version = versions.entry(append.stream).or_insert_with(|| self.version(&append.stream));
            if *version == append.expected {
                *version += append.events.len() as Version;
            } else {
                Moved::note(&mut moved, append, *version);
            }
        }
        if moved.is_empty() { Ok(()) } else { Err(StoreError::Conflict(moved)) }
    }

    fn append(&mut self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        self.check(&batch)?;
        let recorded_at = self.recorded_at.map_or(now, |last| last.max(now));
        let first = self.events.len() as Position + 1;
        for append in batch {
            self.write(append, recorded_at);
        }
        if self.events.len() as Position >= first {
            self.recorded_at = Some(recorded_at);
        }
        Ok(Appended { first, recorded_at })
    }

    /// Whether imported events follow on the head, on their streams and on the last time.
    fn check_import(&self, events: &[EventRow]) -> Result<(), StoreError> {
        let mut follows = ImportCheck::after(self.events.len() as Position, self.recorded_at);
        events.iter().try_for_each(|event| follows.next(event, |stream| self.version(stream)))
    }

    fn write(&mut self, append: Append, recorded_at: Timestamp) {
        if append.events.is_empty() && append.snapshot.is_none() {
            return;
        }
        let stream = self.streams.entry(append.stream).or_default();
        for event in append.events {
            let position = self.events.len() as Position + 1;
            stream.positions.push(position);
            self.events.push(EventRow {
                position,
                stream: append.stream,
                version: stream.positions.len() as Version,
                event_type: self.types.full(append.stream.kind, event.name),
                schema_version: event.schema_version,
                payload: event.payload,
                metadata: append.metadata,
                occurred_at: append.occurred_at,
                recorded_at,
            });
        }
        if append.snapshot.is_some() {
            stream.snapshot = append.snapshot;
        }
    }
}

/// The turn to append, held.
struct Session<'a> {
    log: &'a MemoryLog,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

#[async_trait::async_trait]
impl AppendSession for Session<'_> {
    async fn append(&mut self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        let mut state = self.log.state();
        let appended = state.append(batch, now)?;
        // Under the lock, so that the head that is shown never goes back.
        self.log.head.send_replace(state.events.len() as Position);
        Ok(appended)
    }
}

#[async_trait::async_trait]
impl EventStore for MemoryLog {
    fn identity(&self) -> LogIdentity {
        self.state().identity
    }

    async fn append(&self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        self.session().await?.append(batch, now).await
    }

    async fn session(&self) -> Result<Box<dyn AppendSession + '_>, StoreError> {
        Ok(Box::new(Session { log: self, _turn: self.turn.lock().await }))
    }

    fn is_shared(&self) -> bool {
        self.shared
    }

    async fn versions(&self, streams: &[StreamId]) -> Result<Vec<Version>, StoreError> {
        let state = self.state();
        Ok(streams.iter().map(|stream| state.version(stream)).collect())
    }

    async fn state(&self) -> Result<LogState, StoreError> {
        Ok(self.state().log_state)
    }

    async fn set_state(&self, state: LogState) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        self.state().log_state = state;
        Ok(())
    }

    async fn import(&self, log: Uuid, events: Vec<EventRow>) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let mut state = self.state();
        let begins = state.events.is_empty() && state.log_state == LogState::Open;
        if !begins && (state.log_state != LogState::Copy || state.identity.log != log) {
            return Err(StoreError::Unusable(NOT_THAT_COPY.into()));
        }
        state.check_import(&events)?;
        (state.identity.log, state.log_state) = (log, LogState::Copy);
        state.recorded_at = events.last().map(|event| event.recorded_at).or(state.recorded_at);
        for event in events {
            let position = event.position;
            state.streams.entry(event.stream).or_default().positions.push(position);
            state.events.push(event);
        }
        self.head.send_replace(state.events.len() as Position);
        Ok(())
    }

    async fn read_stream(&self, stream: StreamId, from: Version, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        let state = self.state();
        let Some(stream) = state.streams.get(&stream) else { return Ok(vec![]) };
        let positions = stream.positions.iter().skip(from.max(1) as usize - 1).take(limit);
        Ok(positions.map(|position| state.events[*position as usize - 1].clone()).collect())
    }

    async fn read_snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, StoreError> {
        Ok(self.state().streams.get(&stream).and_then(|stream| stream.snapshot.clone()))
    }

    async fn read_all(&self, from: Position, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        Ok(self.state().events.iter().skip(from.max(1) as usize - 1).take(limit).cloned().collect())
    }

    async fn head(&self) -> Result<Position, StoreError> {
        Ok(*self.head.borrow())
    }

    fn subscribe(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_the_contract() {
        crate::contract::contract(async || std::sync::Arc::new(MemoryLog::new())).await;
        crate::contract::contract(async || std::sync::Arc::new(MemoryLog::shared())).await;
    }
}
