//! A log as a file, and a file as a log.
//!
//! An export is JSON Lines: a [`Header`], one event a line in the order of their positions, a
//! [`Manifest`]. It follows from the log alone, so every store that holds the same events writes the
//! same bytes. Payloads stand in it as they were recorded, see [`write_event`].
//!
//! A file is read twice: once to see that all of it can be taken, and once to take it. So a file that
//! is cut, changed, foreign or too new leaves no trace, and a pipe, which is read once, is not taken.

mod file;
mod line;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::Path,
    sync::Arc,
};

use tokio::sync::mpsc;
use uuid::Uuid;

pub use file::{ExportReader, ExportWriter, FORMAT, Header, Manifest};
pub use line::write_event;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Events that were written; the others were there already.
    pub written: u64,
    pub head: Position,
    pub log: Uuid,
    pub manifest: Manifest,
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

/// What an import is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Seeing that all of the file can be taken.
    Verifying,
    Writing,
}

/// Takes how many events of the file are done, of how many if that is known. It is called from
/// another thread, every few thousand events.
pub type OnImport = Arc<dyn Fn(Stage, u64, Option<u64>) + Send + Sync>;

/// Imports a file into an empty log, or goes on with an unfinished copy. What the log has already is
/// compared. At the end of a sealed log the copy is [`LogState::Complete`].
///
/// # Errors
/// Nothing is written unless the whole file can be taken. After [`ExportError::Changed`] and what a
/// store refuses, the events before are there, and the same import goes on behind them.
pub async fn import(store: &dyn EventStore, path: &Path, progress: OnImport) -> Result<Imported, ExportError> {
    let head = store.head().await?;
    let header = {
        let path = path.to_owned();
        joined(tokio::task::spawn_blocking(move || open(&path).map(|reader| reader.header())).await)??
    };
    fits(store, head, header).await?;
    let verifying = progress.clone();
    let (pass, mut known) = Pass::start(
        path,
        move |row| row.position <= head,
        move |done| {
            verifying(Stage::Verifying, done, None);
        },
    );
    let mut compared = Ok(());
    while let (true, Some(chunk)) = (compared.is_ok(), known.recv().await) {
        compared = is_there(store, &chunk, header).await;
    }
    drop(known);
    let manifest = pass.end(compared).await?;
    let last = (header.from + manifest.count).saturating_sub(1);
    if last > head && store.state().await? == LogState::Complete {
        return Err(ExportError::Refused(format!(
            "this copy has all events of its origin, which was sealed at event {head}; the file goes on to {last}"
        )));
    }
    let total = Some(manifest.count);
    let (pass, mut new) = Pass::start(
        path,
        move |row| row.position > head,
        move |done| {
            progress(Stage::Writing, done, total);
        },
    );
    let mut at = head;
    let mut written = Ok(());
    if head == 0 && manifest.count == 0 {
        // A copy of a log that is empty still.
        written = store.import(header.log, vec![]).await;
    }
    while let (true, Some(chunk)) = (written.is_ok(), new.recv().await) {
        let end = chunk.last().map_or(at, |row| row.position);
        written = store.import(header.log, chunk).await;
        at = if written.is_ok() { end } else { at };
    }
    drop(new);
    match pass.end(written.map_err(ExportError::from)).await {
        Ok(again) if again == manifest => {}
        Ok(_) | Err(ExportError::Line { .. }) => return Err(ExportError::Changed { at }),
        Err(other) => return Err(other),
    }
    if manifest.sealed && store.state().await? == LogState::Copy {
        store.set_state(LogState::Complete).await?;
    }
    Ok(Imported { written: at - head, head: at, log: header.log, manifest })
}

/// Whether a file of that header can be imported into the log as it is.
async fn fits(store: &dyn EventStore, head: Position, header: Header) -> Result<(), ExportError> {
    let own = store.identity().log;
    match store.state().await? {
        LogState::Open if head == 0 => {}
        LogState::Open => return Err(ExportError::Refused(NOT_THAT_COPY.into())),
        LogState::Sealed => return Err(ExportError::Refused(IS_SEALED.into())),
        LogState::Copy | LogState::Complete if own == header.log => {}
        LogState::Copy | LogState::Complete => {
            return Err(ExportError::Refused(format!(
                "this log is a copy of the log {own}, and the file is of the log {}",
                header.log
            )));
        }
    }
    if header.from > head + 1 {
        return Err(ExportError::Refused(format!(
            "the file begins at event {}, and this log stands at event {head}: import what lies between first",
            header.from
        )));
    }
    Ok(())
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
    /// Verifies every line, and gives the events that `keep` takes, in chunks.
    fn start(
        path: &Path,
        keep: impl Fn(&EventRow) -> bool + Send + 'static,
        progress: impl Fn(u64) + Send + 'static,
    ) -> (Pass, mpsc::Receiver<Vec<EventRow>>) {
        let path = path.to_owned();
        let (chunks, read) = mpsc::channel(WAITING);
        let pass = tokio::task::spawn_blocking(move || {
            let mut reader = open(&path)?;
            let (mut chunk, mut bytes, mut done) = (Vec::new(), 0, 0);
            while let Some(row) = reader.next_event()? {
                done += 1;
                if done % PAGE as u64 == 0 {
                    progress(done);
                }
                if !keep(&row) {
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
    async fn end(self, taken: Result<(), ExportError>) -> Result<Manifest, ExportError> {
        let read = joined(self.0.await)?;
        taken?;
        read?.ok_or_else(|| ExportError::Read(io::Error::other("the reading broke off")))
    }
}
