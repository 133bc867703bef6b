//! Reading: a few connections that only read, each used by one blocking task at a time.

use std::sync::{Arc, Mutex, PoisonError};

use domain::{ActorId, CommandId, StreamId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    folder::{Folder, Stamp},
    streams::{StreamNames, StreamRow, stream_of},
};
use crate::{EventRow, LogIdentity, LogState, Metadata, Position, Snapshot, StoreError, Version};

/// Connections, and so reads at once.
const CONNECTIONS: usize = 4;
/// Stream names that each connection remembers: 16,384 of 64 bytes.
const NAMES: usize = 1 << 14;
/// Names of new streams that are read at once.
const AT_ONCE: i64 = 32;

macro_rules! select_events {
    ($rest:literal) => {
        concat!(
            "SELECT position, stream, version, type, schema_version, payload, command, digest, actor, correlation, ",
            "causation, trace, occurred_at, recorded_at FROM events WHERE ",
            $rest
        )
    };
}
const BY_POSITION: &str = select_events!("position >= ?1 ORDER BY position LIMIT ?2");
const BY_STREAM: &str = select_events!("stream = ?3 AND version >= ?1 ORDER BY version LIMIT ?2");

/// The connections of one log.
pub(super) struct Readers {
    folder: Folder,
    idle: Mutex<Vec<Reader>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Opens the first connection, to see that it can be done.
    pub(super) fn open(folder: Folder) -> Result<Readers, StoreError> {
        let first = Reader::open(folder.clone())?;
        Ok(Readers { folder, idle: Mutex::new(vec![first]), permits: Arc::new(Semaphore::new(CONNECTIONS)) })
    }

    /// Runs `read` on a connection, off the async threads. It runs to its end even when nobody
    /// waits for it any longer.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the log is being closed".into());
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| closed())?;
        let this = self.clone();
        let running = tokio::task::spawn_blocking(move || {
            let mut reader = this.take()?;
            let result = read(&mut reader);
            // A connection that failed is not used again.
            if result.is_ok() {
                this.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
            }
            drop(permit);
            result
        });
        running.await.map_err(|_| closed())?
    }

    fn take(&self) -> Result<Reader, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Reader::open(self.folder.clone()), Ok)
    }

    /// Closes the connections that nobody uses and hands out no more.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// One connection.
pub(super) struct Reader {
    folder: Folder,
    conn: Connection,
    /// The file was opened as one that nobody changes, and then looked like this.
    unchanging: Option<Stamp>,
    /// The name of type n is at n.
    types: Vec<Option<Arc<str>>>,
    names: StreamNames,
}

impl Reader {
    pub(super) fn open(folder: Folder) -> Result<Reader, StoreError> {
        let (conn, unchanging) = folder.open_reader()?;
        Ok(Reader { folder, conn, unchanging, types: vec![], names: StreamNames::new(NAMES) })
    }

    /// As in a folder that cannot be written.
    #[cfg(test)]
    pub(super) fn open_unchanging(folder: Folder) -> Result<Reader, StoreError> {
        let unchanging = folder.stamp();
        let conn = folder.try_reader(true).map_err(|error| folder.failure(&error))?;
        Ok(Reader { folder, conn, unchanging, types: vec![], names: StreamNames::new(NAMES) })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.conn
    }

    pub(super) fn head(&mut self) -> Result<Position, StoreError> {
        let head = self
            .conn
            .prepare_cached("SELECT coalesce(max(position), 0) FROM events")
            .and_then(|mut head| head.query_row([], |row| row.get::<_, i64>(0)))
            .map_err(|error| self.folder.failure(&error))?;
        self.still_unchanged()?;
        Ok(head as Position)
    }

    pub(super) fn identity(&self) -> Result<LogIdentity, StoreError> {
        self.folder.identity(&self.conn)
    }

    pub(super) fn state(&mut self) -> Result<LogState, StoreError> {
        let state = self.folder.state(&self.conn)?;
        self.still_unchanged()?;
        Ok(state)
    }

    /// The versions of those of the streams that there are.
    pub(super) fn versions(&mut self, streams: &[StreamId]) -> Result<FxHashMap<StreamId, Version>, StoreError> {
        let find = |stream: &StreamId| Ok(stream_row(&self.conn, stream)?.map(|row| (*stream, row.version)));
        let found = streams.iter().filter_map(|stream| find(stream).transpose()).collect::<rusqlite::Result<_>>();
        let found = found.map_err(|error| self.folder.failure(&error))?;
        self.still_unchanged()?;
        Ok(found)
    }

    pub(super) fn read_all(&mut self, from: Position, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        self.events(BY_POSITION, &[&clamp(from), &clamp(limit as u64)], limit)
    }

    pub(super) fn read_stream(
        &mut self,
        stream: StreamId,
        from: Version,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let Some(id) = self.stream_id(stream)? else { return Ok(vec![]) };
        self.names.put(id, stream);
        self.events(BY_STREAM, &[&clamp(from), &clamp(limit as u64), &id], limit)
    }

    pub(super) fn read_snapshot(&mut self, stream: StreamId) -> Result<Option<Snapshot>, StoreError> {
        let Some(id) = self.stream_id(stream)? else { return Ok(None) };
        let snapshot = self
            .conn
            .prepare_cached("SELECT version, state_version, state FROM snapshots WHERE stream = ?1")
            .and_then(|mut snapshot| {
                let read = |row: &Row<'_>| {
                    Ok(Snapshot {
                        version: row.get::<_, i64>(0)? as Version,
                        state_version: row.get(1)?,
                        state: row.get_ref(2)?.as_bytes()?.to_vec(),
                    })
                };
                snapshot.query_row([id], read).optional()
            })
            .map_err(|error| self.folder.failure(&error))?;
        self.still_unchanged()?;
        Ok(snapshot)
    }

    fn stream_id(&self, stream: StreamId) -> Result<Option<i64>, StoreError> {
        stream_id(&self.conn, &stream).map_err(|error| self.folder.failure(&error))
    }

    /// What was read from an unchanging file holds only if it has not changed after all.
    fn still_unchanged(&self) -> Result<(), StoreError> {
        let writing = || self.folder.wal_bytes().unwrap_or(0) > 0 || self.folder.stamp() != self.unchanging;
        if self.unchanging.is_some() && writing() {
            let file = self.folder.file.display();
            return Err(StoreError::Unavailable(format!("{file} was written meanwhile: read again")));
        }
        Ok(())
    }

    fn events(
        &mut self,
        sql: &str,
        values: &[&dyn rusqlite::ToSql],
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let Reader { folder, conn, types, names, .. } = self;
        let mut events = Vec::with_capacity(limit.min(8192));
        let mut collect = || -> rusqlite::Result<Option<String>> {
            let mut select = conn.prepare_cached(sql)?;
            let mut rows = select.query(values)?;
            while let Some(row) = rows.next()? {
                match event(conn, row, types, names)? {
                    Ok(event) => events.push(event),
                    Err(unknown) => return Ok(Some(unknown)),
                }
            }
            Ok(None)
        };
        let unknown = collect().map_err(|error| folder.failure(&error))?;
        // What stands before it can be read, so that a reader comes as far as it can.
        if let (Some(unknown), true) = (unknown, events.is_empty()) {
            return Err(StoreError::Unusable(format!("{}: {unknown}", folder.file.display())));
        }
        self.still_unchanged()?;
        Ok(events)
    }
}

/// A count as SQLite takes it.
fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn stream_id(conn: &Connection, stream: &StreamId) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM streams WHERE key = ?1 AND kind = ?2 AND tenant = ?3")?
        .query_row(params![stream.key.as_bytes(), stream.kind as u8, stream.tenant.0.as_bytes()], |row| row.get(0))
        .optional()
}

/// Number and last version of a stream, if it is there.
pub(super) fn stream_row(conn: &Connection, stream: &StreamId) -> rusqlite::Result<Option<StreamRow>> {
    let Some(id) = stream_id(conn, stream)? else { return Ok(None) };
    let version: i64 = conn
        .prepare_cached("SELECT coalesce(max(version), 0) FROM events WHERE stream = ?1")?
        .query_row([id], |row| row.get(0))?;
    Ok(Some(StreamRow { id, version: version as Version }))
}

/// The row as an event, or why this program cannot say what it is of.
fn event(
    conn: &Connection,
    row: &Row<'_>,
    types: &mut Vec<Option<Arc<str>>>,
    names: &mut StreamNames,
) -> rusqlite::Result<Result<EventRow, String>> {
    let position = row.get::<_, i64>(0)? as Position;
    let stream_id: i64 = row.get(1)?;
    let stream = match names.get(stream_id) {
        Some(stream) => stream,
        None => match stream_name(conn, stream_id, names)? {
            Ok(stream) => stream,
            Err(kind) => {
                return Ok(Err(format!(
                    "event {position} is in a stream of kind {kind}, which this program does not know: use a newer \
                     tiffin"
                )));
            }
        },
    };
    let uuid = |column| row.get(column).map(Uuid::from_bytes);
    let correlation: Option<[u8; 16]> = row.get(9)?;
    let causation: Option<[u8; 16]> = row.get(10)?;
    Ok(Ok(EventRow {
        position,
        stream,
        version: row.get::<_, i64>(2)? as Version,
        event_type: type_name(conn, types, row.get(3)?)?,
        schema_version: row.get(4)?,
        payload: row.get_ref(5)?.as_bytes()?.to_vec(),
        metadata: Metadata {
            command: CommandId(uuid(6)?),
            digest: row.get(7)?,
            actor: ActorId(uuid(8)?),
            correlation: correlation.map_or(stream.key, Uuid::from_bytes),
            causation: causation.map(|id| CommandId(Uuid::from_bytes(id))),
            trace: row.get(11)?,
        },
        occurred_at: Timestamp::from_micros(row.get(12)?),
        recorded_at: Timestamp::from_micros(row.get(13)?),
    }))
}

/// The stream of a number, or the number of its unknown kind.
fn stream_name(conn: &Connection, id: i64, names: &mut StreamNames) -> rusqlite::Result<Result<StreamId, u8>> {
    // Streams are numbered as they begin, so behind one that is newer than all others more of them follow.
    let limit = if names.is_newest(id) { AT_ONCE } else { 1 };
    let mut select =
        conn.prepare_cached("SELECT id, key, kind, tenant FROM streams WHERE id >= ?1 ORDER BY id LIMIT ?2")?;
    let mut rows = select.query([id, limit])?;
    let mut found = Err(rusqlite::Error::QueryReturnedNoRows);
    while let Some(row) = rows.next()? {
        let (number, kind) = (row.get::<_, i64>(0)?, row.get(2)?);
        let stream = stream_of(row.get(1)?, kind, row.get(3)?);
        if number == id {
            found = Ok(stream.ok_or(kind));
        }
        if let Some(stream) = stream {
            names.put(number, stream);
        }
    }
    found
}

fn type_name(conn: &Connection, types: &mut Vec<Option<Arc<str>>>, id: u32) -> rusqlite::Result<Arc<str>> {
    if let Some(Some(name)) = types.get(id as usize) {
        return Ok(name.clone());
    }
    let name: String =
        conn.prepare_cached("SELECT name FROM event_types WHERE id = ?1")?.query_row([id], |row| row.get(0))?;
    let name = Arc::<str>::from(name);
    // A log has a few dozen types; a number far beyond that is not worth remembering.
    if id < 4096 {
        types.resize(types.len().max(id as usize + 1), None);
        types[id as usize] = Some(name.clone());
    }
    Ok(name)
}
