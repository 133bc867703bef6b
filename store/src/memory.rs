//! The log in memory: for tests and simulation. It is gone when it is dropped.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::{StreamId, Timestamp};
use rustc_hash::FxHashMap;
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    Append, Appended, EventRow, EventStore, LogIdentity, Position, Snapshot, StoreError, Version, names::EventTypes,
};

/// A log in memory.
pub struct MemoryLog {
    identity: LogIdentity,
    state: Mutex<State>,
    head: watch::Sender<Position>,
}

#[derive(Default)]
struct State {
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
        MemoryLog { identity, state: Mutex::default(), head: watch::Sender::new(0) }
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

    /// Finds the first append that does not follow on what is before it.
    fn check(&self, batch: &[Append]) -> Result<(), StoreError> {
        let mut moved: FxHashMap<StreamId, Version> = FxHashMap::default();
        for append in batch {
            let version = moved.entry(append.stream).or_insert_with(|| self.version(&append.stream));
            if *version != append.expected {
                return Err(StoreError::Conflict {
                    stream: append.stream,
                    expected: append.expected,
                    actual: *version,
                });
            }
            *version += append.events.len() as Version;
        }
        Ok(())
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

#[async_trait::async_trait]
impl EventStore for MemoryLog {
    fn identity(&self) -> LogIdentity {
        self.identity
    }

    async fn append(&self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        let mut state = self.state();
        state.check(&batch)?;
        let recorded_at = state.recorded_at.map_or(now, |last| last.max(now));
        let first = state.events.len() as Position + 1;
        for append in batch {
            state.write(append, recorded_at);
        }
        let head = state.events.len() as Position;
        if head >= first {
            state.recorded_at = Some(recorded_at);
            // Under the lock, so that the head that is shown never goes back.
            self.head.send_replace(head);
        }
        Ok(Appended { first, recorded_at })
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
    }
}
