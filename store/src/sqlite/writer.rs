//! Writing: one thread owns the one connection that writes. A batch is a transaction.

use std::{
    cell::Cell,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use domain::{StreamId, StreamKind, Timestamp};
use rusqlite::{
    Connection, OptionalExtension, ffi, params,
    types::{ToSqlOutput, ValueRef},
};
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::{
    Options, SharedIdentity,
    checkpointer::{Checkpointer, Stage, begin_anew, checkpoint, keep_write_ahead_log},
    folder::{Folder, FolderLock},
    importer::type_id,
    reader::{Reader, stream_row},
    streams::{KnownStreams, StreamCache, StreamRow},
    tail::Tail,
};
use crate::{Append, Appended, EventRow, LogState, Moved, Position, Snapshot, StoreError, Version};

pub(super) const INSERT_EVENT: &str = "INSERT INTO events (position, stream, version, type, schema_version, payload, command, \
     digest, actor, correlation, causation, trace, occurred_at, recorded_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
pub(super) const INSERT_STREAM: &str = "INSERT INTO streams (id, key, kind, tenant) VALUES (?1, ?2, ?3, ?4)";
const INSERT_SNAPSHOT: &str =
    "INSERT OR REPLACE INTO snapshots (stream, version, state_version, state) VALUES (?1, ?2, ?3, ?4)";

thread_local! {
    /// Pages in the write-ahead log after this thread's last commit.
    static WAL_PAGES: Cell<u32> = const { Cell::new(0) };
}

/// Where an answer goes.
type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked for.
pub(super) enum Job {
    Append {
        batch: Vec<Append>,
        now: Timestamp,
        reply: Reply<Appended>,
    },
    Import {
        log: Uuid,
        events: Vec<EventRow>,
        reply: Reply<()>,
    },
    SetState {
        state: LogState,
        reply: Reply<()>,
    },
    #[cfg(test)]
    Panic {
        reply: Reply<()>,
    },
}

/// What the writer shows to those who read in this process.
pub(super) struct Shared {
    pub(super) known: KnownStreams,
    pub(super) tail: Tail,
    pub(super) head: watch::Sender<Position>,
    pub(super) syncs: AtomicU64,
    /// Set while the file may hold more than `head` says.
    pub(super) unsure: AtomicBool,
}

pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) folder: Folder,
    pub(super) shared: Arc<Shared>,
    pub(super) identity: SharedIdentity,
    options: Options,
    pub(super) log_state: LogState,
    pub(super) ends: Ends,
    /// Number and full name of each type that was written.
    types: FxHashMap<(&'static str, &'static str), (u32, Arc<str>)>,
    pub(super) streams: StreamCache,
    /// With how many pages the next checkpoint is due, unless the write-ahead log begins anew before.
    checkpoint_at: u32,
    checkpointer: Checkpointer,
    /// Why nothing is written any more.
    stopped: Option<String>,
    /// Given back when the writer ends.
    _lock: FolderLock,
}

/// Where the log ends.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) head: Position,
    pub(super) recorded_at: Option<Timestamp>,
    pub(super) last_stream: i64,
}

impl Ends {
    fn load(conn: &Connection) -> rusqlite::Result<Ends> {
        let last = conn
            .query_row("SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1", [], |row| {
                Ok((row.get::<_, i64>(0)? as Position, Timestamp::from_micros(row.get(1)?)))
            })
            .optional()?;
        let last_stream = conn.query_row("SELECT coalesce(max(id), 0) FROM streams", [], |row| row.get(0))?;
        Ok(Ends { head: last.map_or(0, |last| last.0), recorded_at: last.map(|last| last.1), last_stream })
    }
}

/// What a batch will do, worked out before anything is written.
struct Plan {
    streams: Vec<Planned>,
    /// For each append of the batch, its stream's place in `streams`.
    of: Vec<usize>,
    events: u64,
    snapshots: bool,
    last_stream: i64,
}

struct Planned {
    stream: StreamId,
    row: StreamRow,
    /// It has no row yet.
    new: bool,
    writes: bool,
}

/// What became of a transaction whose COMMIT failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    NotWritten,
    Unknown,
}

/// Judges by the head that another connection sees. After a failed sync nobody can tell what the
/// disk will hold after a crash.
pub(super) fn outcome(failed_sync: bool, seen: Option<Position>, before: Position, after: Position) -> Outcome {
    match seen {
        Some(head) if head >= after && !failed_sync => Outcome::Written,
        Some(head) if head == before && !failed_sync => Outcome::NotWritten,
        _ => Outcome::Unknown,
    }
}

pub(super) fn failed_sync(error: &rusqlite::Error) -> bool {
    let syncs = [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC];
    error.sqlite_error().is_some_and(|error| syncs.contains(&error.extended_code))
}

impl Writer {
    /// Reads where the log ends and which streams it has: about a second for two million streams.
    pub(super) fn open(
        conn: Connection,
        folder: Folder,
        options: Options,
        lock: FolderLock,
        identity: SharedIdentity,
    ) -> Result<(Writer, Arc<Shared>), StoreError> {
        let failure = |error: rusqlite::Error| folder.failure(&error);
        let ends = Ends::load(&conn).map_err(failure)?;
        let log_state = folder.state(&conn)?;
        let known = KnownStreams::load(&conn, ends.last_stream).map_err(failure)?;
        conn.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(pages.unsigned_abs());
            Ok(())
        }));
        if let Some(pages) = options.max_pages {
            conn.pragma_update(None, "max_page_count", pages).map_err(failure)?;
        }
        let shared = Arc::new(Shared {
            known,
            tail: Tail::new(options.tail_events),
            head: watch::Sender::new(ends.head),
            syncs: AtomicU64::new(0),
            unsure: AtomicBool::new(false),
        });
        let writer = Writer {
            conn,
            checkpointer: Checkpointer::start(&folder)?,
            folder,
            shared: shared.clone(),
            identity,
            log_state,
            ends,
            types: FxHashMap::default(),
            streams: StreamCache::new(options.cached_streams),
            checkpoint_at: options.checkpoint_pages,
            options,
            stopped: None,
            _lock: lock,
        };
        Ok((writer, shared))
    }

    /// Works until nobody can send a batch any more.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            // Whoever asked may have gone; what was written stands all the same.
            match job {
                Job::Append { batch, now, reply } => drop(reply.send(self.append(batch, now))),
                Job::Import { log, events, reply } => drop(reply.send(self.import(log, events))),
                Job::SetState { state, reply } => drop(reply.send(self.set_state(state))),
                #[cfg(test)]
                Job::Panic { reply: _reply } => panic!("as a test asked"),
            }
            // After the answer, so that the next batch gathers meanwhile.
            self.checkpoint_if_due();
        }
    }

    fn append(&mut self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        self.ready()?;
        self.log_state.takes_appends()?;
        #[cfg(debug_assertions)]
        let (batch, dies) = super::failpoint::cut(batch, self.ends.head);
        let plan = self.plan(&batch)?;
        let recorded_at = self.ends.recorded_at.map_or(now, |last| last.max(now));
        let appended = Appended { first: self.ends.head + 1, recorded_at };
        if plan.events == 0 && !plan.snapshots {
            return Ok(appended);
        }
        if let Err(error) = self.write(&batch, &plan, recorded_at) {
            self.roll_back();
            self.forget();
            return Err(self.not_written(&error, &batch));
        }
        self.commit(self.ends.head + plan.events)?;
        #[cfg(debug_assertions)]
        if dies {
            std::process::abort();
        }
        self.accept(batch, plan, recorded_at);
        Ok(appended)
    }

    /// Sees to it that what is remembered of the log is right.
    pub(super) fn ready(&mut self) -> Result<(), StoreError> {
        if self.checkpointer.stage() == Stage::FailedSync && self.stopped.is_none() {
            self.stop_after_failed_sync();
        }
        if let Some(reason) = &self.stopped {
            return Err(StoreError::Unusable(reason.clone()));
        }
        if self.shared.unsure.load(Ordering::Relaxed) {
            self.look_again()?;
        }
        Ok(())
    }

    /// Checks every expected version and finds every stream's row. Writes nothing.
    fn plan(&mut self, batch: &[Append]) -> Result<Plan, StoreError> {
        let mut plan = Plan {
            streams: Vec::with_capacity(batch.len()),
            of: Vec::with_capacity(batch.len()),
            events: 0,
            snapshots: false,
            last_stream: self.ends.last_stream,
        };
        let mut moved = Vec::new();
        let mut places: FxHashMap<StreamId, usize> = FxHashMap::default();
        places.reserve(batch.len());
        for append in batch {
            let place = match places.get(&append.stream) {
                Some(place) => *place,
                None => {
                    let found = self.find(&append.stream).map_err(|error| self.folder.failure(&error))?;
                    let row = found.unwrap_or(StreamRow { id: 0, version: 0 });
                    plan.streams.push(Planned { stream: append.stream, row, new: found.is_none(), writes: false });
                    places.insert(append.stream, plan.streams.len() - 1);
                    plan.streams.len() - 1
                }
            };
            let planned = &mut plan.streams[place];
            if planned.row.version != append.expected {
                Moved::note(&mut moved, append, planned.row.version);
                continue;
            }
            planned.row.version += append.events.len() as Version;
            planned.writes |= !append.events.is_empty() || append.snapshot.is_some();
            if planned.new && planned.writes && planned.row.id == 0 {
                plan.last_stream += 1;
                planned.row.id = plan.last_stream;
            }
            plan.events += append.events.len() as u64;
            plan.snapshots |= append.snapshot.is_some();
            plan.of.push(place);
        }
        if moved.is_empty() { Ok(plan) } else { Err(StoreError::Conflict(moved)) }
    }

    pub(super) fn find(&mut self, stream: &StreamId) -> rusqlite::Result<Option<StreamRow>> {
        if let Some(row) = self.streams.get(stream) {
            return Ok(Some(row));
        }
        if self.shared.known.may_have(stream) { stream_row(&self.conn, stream) } else { Ok(None) }
    }

    /// Everything of the transaction but its COMMIT.
    fn write(&mut self, batch: &[Append], plan: &Plan, recorded_at: Timestamp) -> rusqlite::Result<()> {
        let Writer { conn, types, .. } = self;
        conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let fresh = || plan.streams.iter().filter(|planned| planned.new && planned.writes);
        let mut insert = conn.prepare_cached(INSERT_STREAM)?;
        for Planned { stream, row, .. } in fresh() {
            insert.execute(params![row.id, stream.key.as_bytes(), stream.kind as u8, stream.tenant.0.as_bytes()])?;
        }
        let mut insert = conn.prepare_cached(INSERT_EVENT)?;
        let mut position = self.ends.head;
        for (append, place) in batch.iter().zip(&plan.of) {
            let metadata = &append.metadata;
            let correlation = (metadata.correlation != append.stream.key).then(|| metadata.correlation.as_bytes());
            let causation = metadata.causation.as_ref().map(|command| command.0.as_bytes());
            let mut version = append.expected;
            for event in &append.events {
                position += 1;
                version += 1;
                let (type_id, _) = type_of(conn, types, append.stream.kind, event.name)?;
                insert.execute(params![
                    position as i64,
                    plan.streams[*place].row.id,
                    version as i64,
                    type_id,
                    event.schema_version,
                    text(&event.payload),
                    metadata.command.0.as_bytes(),
                    metadata.digest,
                    metadata.actor.0.as_bytes(),
                    correlation,
                    causation,
                    metadata.trace,
                    append.occurred_at.micros,
                    recorded_at.micros,
                ])?;
            }
            if let Some(Snapshot { version, state_version, state }) = &append.snapshot {
                conn.prepare_cached(INSERT_SNAPSHOT)?.execute(params![
                    plan.streams[*place].row.id,
                    *version as i64,
                    state_version,
                    text(state)
                ])?;
            }
        }
        // Before the commit, so that nobody sees an event whose stream is not known. One too many
        // costs a look-up, no more.
        self.shared.known.add(fresh().map(|planned| &planned.stream));
        Ok(())
    }

    /// Undoes what failed before or without a COMMIT that counts, and says why.
    pub(super) fn undo(&mut self, error: &rusqlite::Error) -> StoreError {
        self.roll_back();
        if failed_sync(error) {
            self.stop_after_failed_sync();
        }
        self.forget();
        self.folder.failure(error)
    }

    /// Commits what was written. `after` is where the head will be.
    pub(super) fn commit(&mut self, after: Position) -> Result<(), StoreError> {
        let committed = self.conn.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        match committed {
            Ok(_) => Ok(()),
            Err(error) => self.settle(&error, after),
        }
    }

    /// Takes over what the committed batch has changed, and shows it.
    fn accept(&mut self, batch: Vec<Append>, plan: Plan, recorded_at: Timestamp) {
        let mut rows = Vec::with_capacity(plan.events as usize);
        for append in batch {
            for (event, version) in append.events.into_iter().zip(append.expected + 1..) {
                let event_type = self.types.get(&(append.stream.kind.aggregate(), event.name));
                rows.push(EventRow {
                    position: self.ends.head + 1 + rows.len() as Position,
                    stream: append.stream,
                    version,
                    event_type: event_type.map_or_else(|| "".into(), |(_, name)| name.clone()),
                    schema_version: event.schema_version,
                    payload: event.payload,
                    metadata: append.metadata,
                    occurred_at: append.occurred_at,
                    recorded_at,
                });
            }
        }
        for planned in &plan.streams {
            if planned.writes || !planned.new {
                self.streams.put(planned.stream, planned.row);
            }
        }
        self.ends.last_stream = plan.last_stream;
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        if !rows.is_empty() {
            self.ends.head += plan.events;
            self.ends.recorded_at = Some(recorded_at);
            self.shared.tail.push(rows);
            self.shared.head.send_replace(self.ends.head);
        }
    }

    fn roll_back(&mut self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.conn.execute_batch("ROLLBACK")
        {
            self.stopped = Some(format!("{}: a rollback failed ({error}). Restart", self.folder.file.display()));
        }
    }

    /// Drops what is remembered, which may rest on what was rolled back, and reads it again.
    fn forget(&mut self) {
        self.shared.unsure.store(true, Ordering::Relaxed);
        self.shared.tail.clear();
        self.types.clear();
        self.streams.clear();
        if let Err(error) = self.look_again() {
            tracing::warn!(%error, "the log's end could not be read; the next batch tries again");
        }
    }

    fn look_again(&mut self) -> Result<(), StoreError> {
        self.ends = Ends::load(&self.conn).map_err(|error| self.folder.failure(&error))?;
        self.log_state = self.folder.state(&self.conn)?;
        let identity = self.folder.identity(&self.conn)?;
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
        self.shared.head.send_replace(self.ends.head);
        self.shared.unsure.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Why a batch was not written. A row that was there already means that another program wrote
    /// to the file: then the versions are compared once more.
    fn not_written(&mut self, error: &rusqlite::Error, batch: &[Append]) -> StoreError {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
            && let Err(conflict @ StoreError::Conflict(_)) = self.plan(batch)
        {
            return conflict;
        }
        self.folder.failure(error)
    }

    /// Finds out whether the transaction whose COMMIT failed stands. `Ok` if it does.
    fn settle(&mut self, error: &rusqlite::Error, after: Position) -> Result<(), StoreError> {
        let before = self.ends.head;
        self.roll_back();
        let seen = Reader::open(self.folder.clone()).and_then(|mut reader| reader.head());
        let outcome = outcome(failed_sync(error), seen.ok(), before, after);
        tracing::warn!(%error, ?outcome, before, after, "a commit failed");
        if failed_sync(error) {
            self.stop_after_failed_sync();
        }
        match outcome {
            Outcome::Written => Ok(()),
            Outcome::NotWritten => {
                self.forget();
                Err(self.folder.failure(error))
            }
            Outcome::Unknown => {
                // Pages that failed to sync may read well and be gone after a power cut: the process has to
                // end, and whoever comes next has the disk take them before anything is appended behind them.
                if let Some(reason) = &self.stopped {
                    return Err(StoreError::Unusable(reason.clone()));
                }
                self.forget();
                Err(StoreError::Unknown(format!("{}: {error}", self.folder.file.display())))
            }
        }
    }

    fn stop_after_failed_sync(&mut self) {
        self.checkpointer.failed();
        keep_write_ahead_log(&self.conn);
        let file = self.folder.file.display();
        self.stopped = Some(format!("{file}: the disk failed to sync, so what it holds is not known. Restart"));
    }

    /// Has the write-ahead log moved into the file when it has grown, and does the rest. Readers go on meanwhile.
    fn checkpoint_if_due(&mut self) {
        let (pages, step) = (WAL_PAGES.get(), self.options.checkpoint_pages);
        if pages < step {
            // It began from its front again.
            self.checkpoint_at = step;
        }
        if self.stopped.is_some() {
            return;
        }
        let is_due = pages >= self.checkpoint_at;
        let stage = match self.checkpointer.stage() {
            Stage::FailedSync => Stage::FailedSync,
            // Readers that never pause keep it from beginning anew; then they must wait a moment.
            Stage::Idle | Stage::Done if is_due && pages >= 4 * step => begin_anew(&self.conn),
            Stage::Done => checkpoint(&self.conn, "PASSIVE"),
            Stage::Idle if is_due => return self.checkpointer.begin(),
            Stage::Idle | Stage::Running => return,
        };
        if stage == Stage::FailedSync {
            return self.stop_after_failed_sync();
        }
        self.checkpoint_at = pages + step;
        self.checkpointer.finished();
    }
}

/// Bytes as TEXT: what was given comes back byte for byte, and a SQLite shell shows it.
pub(super) fn text(bytes: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(bytes))
}

/// Number and full name of an event type, which is added if it is new.
fn type_of<'t>(
    conn: &Connection,
    types: &'t mut FxHashMap<(&'static str, &'static str), (u32, Arc<str>)>,
    kind: StreamKind,
    name: &'static str,
) -> rusqlite::Result<&'t (u32, Arc<str>)> {
    use std::collections::hash_map::Entry;
    match types.entry((kind.aggregate(), name)) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(vacant) => {
            let full: Arc<str> = format!("{}.{name}", kind.aggregate()).into();
            let id = type_id(conn, &full)?;
            Ok(vacant.insert((id, full)))
        }
    }
}
