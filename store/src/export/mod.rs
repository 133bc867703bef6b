//! A log as a file, and a file as a log.
//!
//! An export is JSON Lines: a [`Header`], one event a line in the order of their positions, a
//! [`Manifest`]. It follows from the log alone, so every store that holds the same events writes the
//! same bytes. Payloads stand in it as they were recorded, see [`write_event`].
//!
//! A file is read twice: once to see that it is whole, and once to take it. So a file that
//! is cut, changed, foreign or too new leaves no trace, and a pipe, which is read once, is not taken.

mod file;
mod line;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

pub use file::{ExportReader, ExportWriter, FORMAT, Header, Manifest};
pub use line::write_event;
use tokio::sync::mpsc;

use crate::{
    EventRow, EventStore, LogState, Position, StoreError,
    import::{IS_SEALED, NOT_THAT_COPY},
};

/// Events that are read from a log at once.
const PAGE: usize = 5_000;
/// Events, and bytes of payload, that are written to a log at once. A transaction costs a sync.
const CHUNK: usize = 20_000;
const CHUNK_BYTES: usize = 16 << 20;
/// Pages and chunks that wait for the other side.
const WAITING: usize = 2;

/// Why an export or an import did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the export cannot be written: {0}")]
    Written(#[source] io::Error),
    #[error("the export cannot be read: {0}")]
    Read(#[source] io::Error),
    /// An event of the log that has no place in an export.
    #[error("event {position} cannot be exported: {reason}")]
    Event { position: Position, reason: String },
    /// A line of a file, counted from 1, that cannot be taken.
    #[error("line {line}: {reason}")]
    Line { line: u64, reason: String },
    /// The whole file does not go with the log that it is imported into.
    #[error("{0}")]
    Refused(String),
    /// The file was another one when it was read again. What was written until then is right.
    #[error("the file was changed while it was imported; the copy stands at event {at}, and goes on from there")]
    Changed { at: Position },
}

/// What an import did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Events that were written; the others were there already.
    pub written: u64,
    /// Where the log stands now.
    pub head: Position,
}

/// Exports the events from `from` on, up to and with `to` or the head. `progress` takes how many are
/// written, of how many.
pub async fn export<W: Write + Send + 'static>(
    store: &dyn EventStore,
    (from, to): (Position, Option<Position>),
    out: W,
    progress: impl Fn(u64, u64) + Send + Sync,
) -> Result<Manifest, ExportError> {
    let from = from.max(1);
    // In this order: nothing follows on the head of a log that was sealed before.
    let ended = matches!(store.state().await?, LogState::Sealed | LogState::Complete);
    let head = store.head().await?;
    let last = to.unwrap_or(head).min(head);
    let sealed = ended && last == head && from <= head + 1;
    let log = store.identity().log;
    let (pages, mut written) = mpsc::channel::<Vec<EventRow>>(WAITING);
    let writing = tokio::task::spawn_blocking(move || {
        let mut out = ExportWriter::begin(out, log, from)?;
        while let Some(page) = written.blocking_recv() {
            page.iter().try_for_each(|row| out.event(row))?;
        }
        Ok::<_, ExportError>(out)
    });
    let total = (last + 1).saturating_sub(from);
    let read = read_pages(store, (from, last), |page| async {
        progress(page.last().map_or(0, |row| row.position - from), total);
        pages.send(page).await.is_ok()
    });
    let read = read.await;
    drop(pages);
    // Why the writer ended early says more than that it did.
    let out = joined(writing.await)??;
    read?;
    progress(total, total);
    joined(tokio::task::spawn_blocking(move || out.finish(sealed)).await)?
}

/// Gives every page of events between two positions to `take`, until it wants no more.
async fn read_pages<F: Future<Output = bool>>(
    store: &dyn EventStore,
    (from, last): (Position, Position),
    take: impl Fn(Vec<EventRow>) -> F,
) -> Result<(), StoreError> {
    let mut next = from;
    while next <= last {
        let limit = usize::try_from(last - next + 1).map_or(PAGE, |left| left.min(PAGE));
        let page = store.read_all(next, limit).await?;
        let Some(end) = page.last() else {
            return Err(StoreError::Unusable(format!("event {next} is missing from the log, which stands at {last}")));
        };
        next = end.position + 1;
        if !take(page).await {
            break;
        }
    }
    Ok(())
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, ExportError> {
    result.map_err(|error| ExportError::Read(io::Error::other(error)))
}

/// Takes how many events are done, of how many if that is known. It is called from another thread,
/// every few thousand events.
pub type OnEvents = Arc<dyn Fn(u64, Option<u64>) + Send + Sync>;

/// A file that was read to its end and is a whole export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    path: PathBuf,
    pub header: Header,
    pub manifest: Manifest,
}

impl Verified {
    /// Reads the whole file.
    pub async fn read(path: &Path, progress: OnEvents) -> Result<Verified, ExportError> {
        let header = {
            let path = path.to_owned();
            joined(tokio::task::spawn_blocking(move || open(&path).map(|reader| reader.header())).await)??
        };
        let (pass, _none) = Pass::start(path, (Position::MAX, Position::MAX), move |done| progress(done, None));
        Ok(Verified { path: path.to_owned(), header, manifest: pass.whole(Ok(())).await? })
    }

    /// Imports the file into an empty log, or goes on with an unfinished copy. What the log has already
    /// is compared first. At the end of a sealed log the copy is [`LogState::Complete`].
    ///
    /// # Errors
    /// Nothing is written unless the file goes with the log. After [`ExportError::Changed`], and when the
    /// store fails under way, the events before are there, and the same import goes on behind them.
    pub async fn import(&self, store: &dyn EventStore, progress: OnEvents) -> Result<Imported, ExportError> {
        let head = store.head().await?;
        self.fits(store, head).await?;
        self.compare(store, head).await?;
        let head_then = self.write(store, head, progress).await?;
        if self.manifest.sealed && store.state().await? == LogState::Copy {
            store.set_state(LogState::Complete).await?;
        }
        Ok(Imported { written: head_then - head, head: head_then })
    }

    /// Writes what lies behind the head, and answers where the head is then.
    async fn write(&self, store: &dyn EventStore, head: Position, progress: OnEvents) -> Result<Position, ExportError> {
        let (log, total) = (self.header.log, Some(self.manifest.count));
        let (pass, mut chunks) = Pass::start(&self.path, (head, Position::MAX), move |done| progress(done, total));
        let mut at = head;
        let mut taken = Ok(());
        if head == 0 && self.manifest.count == 0 {
            // A copy of a log that is empty still.
            taken = store.import(log, vec![]).await;
        }
        while let (true, Some(chunk)) = (taken.is_ok(), chunks.recv().await) {
            let end = chunk.last().map_or(at, |row| row.position);
            taken = store.import(log, chunk).await;
            at = if taken.is_ok() { end } else { at };
        }
        drop(chunks);
        match pass.whole(taken.map_err(ExportError::from)).await {
            Ok(again) if again == self.manifest => Ok(at),
            Ok(_) | Err(ExportError::Line { .. }) => Err(ExportError::Changed { at }),
            Err(other) => Err(other),
        }
    }

    /// Whether the log has the same events as the file, as far as it has them.
    async fn compare(&self, store: &dyn EventStore, head: Position) -> Result<(), ExportError> {
        if self.header.from > head {
            return Ok(());
        }
        let (pass, mut chunks) = Pass::start(&self.path, (0, head), |_| {});
        let mut same = Ok(());
        while let (true, Some(chunk)) = (same.is_ok(), chunks.recv().await) {
            same = is_there(store, &chunk, self.header).await;
        }
        drop(chunks);
        pass.end(same).await.map(|_| ())
    }

    /// Whether the file can be imported into the log as it is.
    async fn fits(&self, store: &dyn EventStore, head: Position) -> Result<(), ExportError> {
        let Header { log, from, .. } = self.header;
        let own = store.identity().log;
        let state = store.state().await?;
        let end = (from + self.manifest.count).saturating_sub(1);
        let refused = match state {
            LogState::Open if head > 0 => NOT_THAT_COPY.into(),
            LogState::Sealed => IS_SEALED.into(),
            LogState::Copy | LogState::Complete if own != log => {
                format!("this log is a copy of the log {own}, and the file is of the log {log}")
            }
            LogState::Complete if end > head => format!(
                "this copy has all events of its origin, which was sealed at event {head}; the file goes on to {end}"
            ),
            _ if from > head + 1 => {
                let lacking = "import what lies between first";
                format!("the file begins at event {from}, and this log stands at event {head}: {lacking}")
            }
            LogState::Open | LogState::Copy | LogState::Complete => return Ok(()),
        };
        Err(ExportError::Refused(refused))
    }
}

/// Whether the log has just these events.
async fn is_there(store: &dyn EventStore, chunk: &[EventRow], header: Header) -> Result<(), ExportError> {
    let mut rest = chunk;
    while let Some(first) = rest.first() {
        let there = store.read_all(first.position, rest.len()).await?;
        let same = rest.iter().zip(&there).take_while(|(file, log)| file == log).count();
        match rest.get(same) {
            Some(other) if same < there.len() || there.is_empty() => {
                return Err(ExportError::Line {
                    line: other.position - header.from + 2,
                    reason: format!(
                        "event {} is another one than this log has: the two are not of one history",
                        other.position
                    ),
                });
            }
            _ => rest = &rest[same..],
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<ExportReader<BufReader<File>>, ExportError> {
    let file = File::open(path).map_err(ExportError::Read)?;
    if !file.metadata().map_err(ExportError::Read)?.is_file() {
        return Err(ExportError::Refused(
            "an import reads its file twice, to verify it before anything is written: save it to a file first".into(),
        ));
    }
    ExportReader::open(BufReader::with_capacity(1 << 20, file))
}

/// A file being read on a thread of its own.
struct Pass(tokio::task::JoinHandle<Result<Option<Manifest>, ExportError>>);

impl Pass {
    /// Verifies every line, and gives the events behind one position, up to and with another, in chunks.
    /// It ends there, or at the end of the file.
    fn start(
        path: &Path,
        (behind, to): (Position, Position),
        progress: impl Fn(u64) + Send + 'static,
    ) -> (Pass, mpsc::Receiver<Vec<EventRow>>) {
        let path = path.to_owned();
        let (chunks, read) = mpsc::channel(WAITING);
        let pass = tokio::task::spawn_blocking(move || {
            let mut reader = open(&path)?;
            let (mut chunk, mut bytes, mut done) = (Vec::new(), 0, 0);
            while let Some(row) = reader.next_event()? {
                if row.position > to {
                    break;
                }
                done += 1;
                if done % PAGE as u64 == 0 {
                    progress(done);
                }
                if row.position <= behind {
                    continue;
                }
                bytes += row.payload.len();
                chunk.push(row);
                if chunk.len() == CHUNK || bytes >= CHUNK_BYTES {
                    bytes = 0;
                    if chunks.blocking_send(std::mem::take(&mut chunk)).is_err() {
                        return Ok(None);
                    }
                }
            }
            if !chunk.is_empty() && chunks.blocking_send(chunk).is_err() {
                return Ok(None);
            }
            progress(done);
            Ok(reader.manifest())
        });
        (Pass(pass), read)
    }

    /// Waits for its end. What went wrong with the events comes first.
    async fn end(self, taken: Result<(), ExportError>) -> Result<Option<Manifest>, ExportError> {
        let read = joined(self.0.await)?;
        taken?;
        read
    }

    /// The manifest, after which nothing was left to read.
    async fn whole(self, taken: Result<(), ExportError>) -> Result<Manifest, ExportError> {
        let manifest = self.end(taken).await?;
        manifest.ok_or_else(|| ExportError::Read(io::Error::other("the reading broke off")))
    }
}
