//! The writer's part of an import: rows of another log, as that log recorded them.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use domain::StreamId;
use rusqlite::{Connection, OptionalExtension, params};
use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::{
    streams::StreamRow,
    writer::{INSERT_EVENT, INSERT_STREAM, Writer, text},
};
use crate::{
    EventRow, LogState, Position, StoreError,
    import::{ImportCheck, NOT_THAT_COPY},
};

/// Rows of the streams that imported events are in, and which of them are new, in the order of their
/// numbers.
struct Streams {
    rows: FxHashMap<StreamId, StreamRow>,
    new: Vec<StreamId>,
}

impl Writer {
    pub(super) fn import(&mut self, log: Uuid, events: Vec<EventRow>) -> Result<(), StoreError> {
        self.ready()?;
        let begins = self.ends.head == 0 && self.log_state == LogState::Open;
        let named = self.identity.read().unwrap_or_else(PoisonError::into_inner).log;
        if !begins && (self.log_state != LogState::Copy || named != log) {
            return Err(StoreError::Unusable(NOT_THAT_COPY.into()));
        }
        let streams = self.find_all(&events).map_err(|error| self.folder.failure(&error))?;
        let mut follows = ImportCheck::after(self.ends.head, self.ends.recorded_at);
        for event in &events {
            follows.next(event, |stream| streams.rows.get(stream).map_or(0, |row| row.version))?;
        }
        if let Err(error) = self.write_import(begins.then_some(log), &events, &streams) {
            return Err(self.undo(&error));
        }
        if events.is_empty() {
            // Where the head stands does not tell whether it was written, but it can be done again.
            self.conn.execute_batch("COMMIT").map_err(|error| self.undo(&error))?;
        } else {
            self.commit(self.ends.head + events.len() as Position)?;
        }
        self.identity.write().unwrap_or_else(PoisonError::into_inner).log = log;
        self.log_state = LogState::Copy;
        self.accept_import(events, streams);
        Ok(())
    }

    pub(super) fn set_state(&mut self, state: LogState) -> Result<(), StoreError> {
        self.ready()?;
        let changed = self
            .conn
            .prepare_cached("UPDATE log SET state = ?1 WHERE one = 1")
            .and_then(|mut update| update.execute([state.name()]));
        if let Err(error) = changed {
            // Whether it stands is read again before anything else is done.
            return Err(self.undo(&error));
        }
        self.log_state = state;
        Ok(())
    }

    fn find_all(&mut self, events: &[EventRow]) -> rusqlite::Result<Streams> {
        let mut streams = Streams { rows: FxHashMap::default(), new: Vec::new() };
        for event in events {
            if streams.rows.contains_key(&event.stream) {
                continue;
            }
            let row = match self.find(&event.stream)? {
                Some(row) => row,
                None => {
                    streams.new.push(event.stream);
                    StreamRow { id: self.ends.last_stream + streams.new.len() as i64, version: 0 }
                }
            };
            streams.rows.insert(event.stream, row);
        }
        Ok(streams)
    }

    /// Everything of the transaction but its COMMIT. `begins` names the log that this one becomes a
    /// copy of.
    fn write_import(&mut self, begins: Option<Uuid>, events: &[EventRow], streams: &Streams) -> rusqlite::Result<()> {
        let conn = &self.conn;
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        if let Some(log) = begins {
            let sql = "UPDATE log SET id = ?1, state = ?2 WHERE one = 1";
            conn.execute(sql, params![log.as_bytes(), LogState::Copy.name()])?;
        }
        let mut insert = conn.prepare_cached(INSERT_STREAM)?;
        for (id, stream) in (self.ends.last_stream + 1..).zip(&streams.new) {
            insert.execute(params![id, stream.key.as_bytes(), stream.kind as u8, stream.tenant.0.as_bytes()])?;
        }
        let mut insert = conn.prepare_cached(INSERT_EVENT)?;
        let mut types: FxHashMap<Arc<str>, u32> = FxHashMap::default();
        for event in events {
            let type_id = match types.get(&event.event_type) {
                Some(id) => *id,
                None => {
                    let id = type_id(conn, &event.event_type)?;
                    types.insert(event.event_type.clone(), id);
                    id
                }
            };
            let metadata = &event.metadata;
            let correlation = (metadata.correlation != event.stream.key).then(|| metadata.correlation.as_bytes());
            insert.execute(params![
                event.position as i64,
                streams.rows.get(&event.stream).map(|row| row.id),
                event.version as i64,
                type_id,
                event.schema_version,
                text(&event.payload),
                metadata.command.0.as_bytes(),
                metadata.digest,
                metadata.actor.0.as_bytes(),
                correlation,
                metadata.causation.as_ref().map(|command| command.0.as_bytes()),
                metadata.trace,
                event.occurred_at.micros,
                event.recorded_at.micros,
            ])?;
        }
        // Before the commit, so that nobody sees an event whose stream is not known.
        self.shared.known.add(streams.new.iter());
        Ok(())
    }

    /// Takes over what the committed events have changed, and shows it.
    fn accept_import(&mut self, events: Vec<EventRow>, mut streams: Streams) {
        for event in &events {
            if let Some(row) = streams.rows.get_mut(&event.stream) {
                row.version = event.version;
            }
        }
        for (stream, row) in streams.rows {
            self.streams.put(stream, row);
        }
        self.ends.last_stream += streams.new.len() as i64;
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        let Some((position, recorded_at)) = events.last().map(|last| (last.position, last.recorded_at)) else { return };
        (self.ends.head, self.ends.recorded_at) = (position, Some(recorded_at));
        self.shared.tail.push(events);
        self.shared.head.send_replace(position);
    }
}

/// The number of an event type, which is added if it is new.
pub(super) fn type_id(conn: &Connection, name: &str) -> rusqlite::Result<u32> {
    let mut find = conn.prepare_cached("SELECT id FROM event_types WHERE name = ?1")?;
    let id = find.query_row([name], |row| row.get(0)).optional()?;
    id.map_or_else(
        || conn.query_row("INSERT INTO event_types (name) VALUES (?1) RETURNING id", [name], |row| row.get(0)),
        Ok,
    )
}
