//! The embedded log: one SQLite file in a folder, one writer, readers beside it.
//!
//! The file is in WAL mode with `synchronous = FULL`, so a batch is one sync. Whoever writes holds
//! a lock on the folder; whoever reads needs none.

mod checkpointer;
#[cfg(debug_assertions)]
mod failpoint;
mod folder;
mod importer;
mod reader;
mod streams;
mod tail;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::Path,
    sync::{Arc, PoisonError, RwLock, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use domain::{StreamId, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};

use uuid::Uuid;

use crate::{
    Append, AppendSession, Appended, EventRow, EventStore, LogIdentity, LogState, Position, Snapshot, StoreError,
    Version,
};
use folder::{Folder, Found};
use reader::{Reader, Readers};
use writer::{Job, Shared, Writer};

/// Who the log is: an import changes it.
type SharedIdentity = Arc<RwLock<LogIdentity>>;

/// Batches that wait for the writer; further ones wait for room.
const QUEUE: usize = 64;
/// How often a store that only reads looks whether the head has moved.
const POLL: Duration = Duration::from_millis(50);

/// How a folder is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqliteMode {
    /// Takes the folder for this process alone, and makes the log if there is none.
    ReadWrite,
    /// Reads beside whoever writes, also in a folder that cannot be written.
    ReadOnly,
}

/// What is fixed but for tests.
#[derive(Clone, Copy)]
struct Options {
    /// Streams whose row and version the writer remembers; about 120 bytes each.
    cached_streams: usize,
    /// Pages in the write-ahead log at which they are moved into the file; readers may delay that
    /// to four times as many.
    checkpoint_pages: u32,
    /// Events at the log's end that stay in memory.
    tail_events: usize,
    /// The file may not grow beyond these.
    max_pages: Option<u32>,
}

const OPTIONS: Options =
    Options { cached_streams: 1 << 18, checkpoint_pages: 512, tail_events: 1 << 14, max_pages: None };

/// The log in a folder.
pub struct SqliteLog {
    identity: SharedIdentity,
    readers: Arc<Readers>,
    side: Side,
}

enum Side {
    Writing { jobs: Option<mpsc::Sender<Job>>, thread: Option<JoinHandle<()>>, shared: Arc<Shared> },
    Reading { head: watch::Sender<Position>, stop: Option<std::sync::mpsc::Sender<()>> },
}

impl SqliteLog {
    /// Opens the log in `dir`. Blocks; with two million streams for about a second.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when there is no log to read, when the file is foreign, damaged or
    /// of a newer format, or when another process writes it. Nothing is changed then.
    pub fn open(dir: &Path, mode: SqliteMode) -> Result<SqliteLog, StoreError> {
        SqliteLog::open_with(dir, mode, OPTIONS)
    }

    fn open_with(dir: &Path, mode: SqliteMode, options: Options) -> Result<SqliteLog, StoreError> {
        let folder = Folder::new(dir);
        // Before anything is written, the lock included.
        let found = folder.look()?;
        match (mode, found) {
            (SqliteMode::ReadWrite, _) => SqliteLog::open_to_write(folder, options),
            (SqliteMode::ReadOnly, Found::Log { .. }) => SqliteLog::open_to_read(folder),
            (SqliteMode::ReadOnly, Found::Nothing) => Err(StoreError::Unusable(format!(
                "there is no log in {}: {} does not exist",
                dir.display(),
                folder.file.display()
            ))),
        }
    }

    fn open_to_write(folder: Folder, options: Options) -> Result<SqliteLog, StoreError> {
        let lock = folder.lock()?;
        // Once more, since another process may have made the log meanwhile.
        let whole = match folder.look()? {
            Found::Nothing => {
                folder.create()?;
                true
            }
            Found::Log { whole } => whole,
        };
        let conn = folder.open_writer(whole)?;
        let identity = Arc::new(RwLock::new(folder.identity(&conn)?));
        let (writer, shared) = Writer::open(conn, folder.clone(), options, lock, identity.clone())?;
        let readers = Arc::new(Readers::open(folder)?);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = spawn("tiffin-log", move || writer.run(queue))?;
        Ok(SqliteLog { identity, readers, side: Side::Writing { jobs: Some(jobs), thread: Some(thread), shared } })
    }

    fn open_to_read(folder: Folder) -> Result<SqliteLog, StoreError> {
        let mut watching = Reader::open(folder.clone())?;
        let identity = Arc::new(RwLock::new(folder.identity(watching.connection())?));
        let head = watch::Sender::new(watching.head()?);
        let (stop, stopped) = std::sync::mpsc::channel();
        let (shown, who) = (head.clone(), identity.clone());
        spawn("tiffin-log-head", move || {
            while stopped.recv_timeout(POLL) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // A look that fails is no news; a read will say why.
                let Ok(now) = watching.head() else { continue };
                // The first events may be another log's, which a copy takes its name from.
                if *shown.borrow() == 0
                    && now > 0
                    && let Ok(identity) = watching.identity()
                {
                    *who.write().unwrap_or_else(PoisonError::into_inner) = identity;
                }
                shown.send_if_modified(|head| std::mem::replace(head, now) != now);
            }
        })?;
        let readers = Arc::new(Readers::open(folder)?);
        Ok(SqliteLog { identity, readers, side: Side::Reading { head, stop: Some(stop) } })
    }

    /// Transactions that this store has committed, each with one sync of the write-ahead log.
    /// Checkpoints, some in every few thousand, are not counted.
    pub fn syncs(&self) -> u64 {
        match &self.side {
            Side::Writing { shared, .. } => shared.syncs.load(Ordering::Relaxed),
            Side::Reading { .. } => 0,
        }
    }

    /// Gives the writer a job and waits for its answer.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job) -> Result<T, StoreError> {
        let Side::Writing { jobs: Some(jobs), .. } = &self.side else {
            return Err(StoreError::Unusable("this log was opened to be read only".into()));
        };
        let (reply, answer) = oneshot::channel();
        let sent = jobs.send(job(reply)).await;
        // It ends by itself only when it panics, and nobody starts another.
        sent.map_err(|_| StoreError::Unusable("the log's writer has ended. Restart".into()))?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Unknown("the log's writer ended over it".into())))
    }

    /// What the writer shows, unless this store only reads.
    fn shared(&self) -> Option<&Shared> {
        match &self.side {
            Side::Writing { shared, .. } => Some(shared),
            Side::Reading { .. } => None,
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
    spawned.map_err(|error| StoreError::Unavailable(format!("a thread could not be started: {error}")))
}

impl Drop for SqliteLog {
    /// Waits for the writer, so that the folder is free when this returns. The readers go first:
    /// the last connection to close moves the write-ahead log into the file, if it may write.
    fn drop(&mut self) {
        self.readers.close();
        match &mut self.side {
            Side::Writing { jobs, thread, .. } => {
                jobs.take();
                if thread.take().is_some_and(|thread| thread.join().is_err()) {
                    tracing::error!("the log's writer panicked");
                }
            }
            Side::Reading { stop, .. } => drop(stop.take()),
        }
    }
}

/// The one process that appends needs no lock.
struct Alone<'a>(&'a SqliteLog);

#[async_trait::async_trait]
impl AppendSession for Alone<'_> {
    async fn append(&mut self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        self.0.append(batch, now).await
    }
}

#[async_trait::async_trait]
impl EventStore for SqliteLog {
    fn identity(&self) -> LogIdentity {
        *self.identity.read().unwrap_or_else(PoisonError::into_inner)
    }

    async fn append(&self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        self.ask(|reply| Job::Append { batch, now, reply }).await
    }

    async fn session(&self) -> Result<Box<dyn AppendSession + '_>, StoreError> {
        Ok(Box::new(Alone(self)))
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn versions(&self, streams: &[StreamId]) -> Result<Vec<Version>, StoreError> {
        let mut asked = streams.to_vec();
        if let Some(shared) = self.shared() {
            asked.retain(|stream| shared.known.may_have(stream));
        }
        if asked.is_empty() {
            return Ok(vec![0; streams.len()]);
        }
        let found = self.readers.read(move |reader| reader.versions(&asked)).await?;
        Ok(streams.iter().map(|stream| found.get(stream).copied().unwrap_or(0)).collect())
    }

    async fn state(&self) -> Result<LogState, StoreError> {
        self.readers.read(Reader::state).await
    }

    async fn set_state(&self, state: LogState) -> Result<(), StoreError> {
        self.ask(|reply| Job::SetState { state, reply }).await
    }

    async fn import(&self, log: Uuid, events: Vec<EventRow>) -> Result<(), StoreError> {
        self.ask(|reply| Job::Import { log, events, reply }).await
    }

    async fn read_stream(&self, stream: StreamId, from: Version, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        if self.shared().is_some_and(|shared| !shared.known.may_have(&stream)) {
            return Ok(vec![]);
        }
        self.readers.read(move |reader| reader.read_stream(stream, from, limit)).await
    }

    async fn read_snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, StoreError> {
        if self.shared().is_some_and(|shared| !shared.known.may_have(&stream)) {
            return Ok(None);
        }
        self.readers.read(move |reader| reader.read_snapshot(stream)).await
    }

    async fn read_all(&self, from: Position, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        if let Some(events) = self.shared().and_then(|shared| shared.tail.read(from.max(1), limit)) {
            return Ok(events);
        }
        self.readers.read(move |reader| reader.read_all(from, limit)).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        match self.shared() {
            Some(shared) if !shared.unsure.load(Ordering::Relaxed) => Ok(*shared.head.borrow()),
            _ => self.readers.read(Reader::head).await,
        }
    }

    fn subscribe(&self) -> watch::Receiver<Position> {
        match &self.side {
            Side::Writing { shared, .. } => shared.head.subscribe(),
            Side::Reading { head, .. } => head.subscribe(),
        }
    }
}
