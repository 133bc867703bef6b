//! A log whose writes can be stopped and made to fail.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use domain::{StreamId, Timestamp};
use store::{
    Append, AppendSession, Appended, EventRow, EventStore, LogIdentity, LogState, MemoryLog, Position, Snapshot,
    StoreError, Version,
};
use tokio::sync::watch;
use uuid::Uuid;

/// What becomes of one append.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fate {
    Written,
    /// Nothing is written, and that is known.
    Refused,
    /// It is written, but the answer is lost.
    WrittenUnknown,
    /// It is not written, and the answer is lost.
    LostUnknown,
    /// The program has a fault.
    Panics,
}

pub(super) struct FlakyLog {
    inner: MemoryLog,
    open: watch::Sender<bool>,
    /// Whether the next answer to whoever asks for versions, or appends, is held back.
    holding: AtomicBool,
    answering: watch::Sender<bool>,
    fates: Mutex<Vec<Fate>>,
    pub(super) appends: AtomicUsize,
    /// Of streams.
    pub(super) rows_read: AtomicUsize,
    /// Of all streams together.
    pub(super) rows_followed: AtomicUsize,
    silent: AtomicBool,
    deaf: AtomicBool,
}

impl FlakyLog {
    pub(super) fn new() -> Self {
        FlakyLog::over(MemoryLog::new())
    }

    /// A log that several nodes share.
    pub(super) fn shared() -> Self {
        FlakyLog::over(MemoryLog::shared())
    }

    fn over(inner: MemoryLog) -> Self {
        FlakyLog {
            inner,
            open: watch::Sender::new(true),
            holding: AtomicBool::new(false),
            answering: watch::Sender::new(true),
            fates: Mutex::default(),
            appends: AtomicUsize::new(0),
            rows_read: AtomicUsize::new(0),
            rows_followed: AtomicUsize::new(0),
            silent: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
        }
    }

    /// Lets nobody hear from now on what other nodes write, unless they ask.
    pub(super) fn deafen(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }

    async fn is_open(&self) {
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.unwrap();
    }

    /// Whether it refuses to say what it holds.
    pub(super) fn be_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }

    /// Every row, whoever is deaf.
    pub(super) async fn everything(&self) -> Vec<EventRow> {
        self.inner.read_all(1, 1_000_000).await.unwrap()
    }

    /// Lets no append end, and shows nobody the head of a log that is shared, until [`FlakyLog::open`].
    pub(super) fn shut(&self) {
        self.open.send_replace(false);
    }

    pub(super) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Lets the next append, or the next question for versions, be carried out but not answered until
    /// [`FlakyLog::answer`].
    pub(super) fn hold_next_answer(&self) {
        self.answering.send_replace(false);
        self.holding.store(true, Ordering::SeqCst);
    }

    /// Whether an answer is held back.
    pub(super) fn holds_an_answer(&self) -> bool {
        !*self.answering.borrow() && !self.holding.load(Ordering::SeqCst)
    }

    pub(super) fn answer(&self) {
        self.answering.send_replace(true);
    }

    async fn may_answer(&self) {
        if self.holding.swap(false, Ordering::SeqCst) {
            let mut answering = self.answering.subscribe();
            answering.wait_for(|answering| *answering).await.unwrap();
        }
    }

    /// The fates of the next appends, the first first; those after them are written.
    pub(super) fn doom(&self, fates: &[Fate]) {
        let mut doomed = fates.to_vec();
        doomed.reverse();
        *self.fates.lock().unwrap() = doomed;
    }
}

#[async_trait::async_trait]
impl EventStore for FlakyLog {
    fn identity(&self) -> LogIdentity {
        self.inner.identity()
    }

    async fn append(&self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        self.session().await?.append(batch, now).await
    }

    async fn session(&self) -> Result<Box<dyn AppendSession + '_>, StoreError> {
        Ok(Box::new(Doomed { log: self, inner: Some(self.inner.session().await?) }))
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    async fn versions(&self, streams: &[StreamId]) -> Result<Vec<Version>, StoreError> {
        let versions = self.inner.versions(streams).await;
        self.may_answer().await;
        versions
    }

    async fn state(&self) -> Result<LogState, StoreError> {
        self.inner.state().await
    }

    async fn set_state(&self, state: LogState) -> Result<(), StoreError> {
        self.inner.set_state(state).await
    }

    async fn import(&self, log: Uuid, events: Vec<EventRow>) -> Result<(), StoreError> {
        self.inner.import(log, events).await
    }

    async fn read_stream(&self, stream: StreamId, from: Version, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        if self.silent.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("silent".to_owned()));
        }
        let rows = self.inner.read_stream(stream, from, limit).await?;
        self.rows_read.fetch_add(rows.len(), Ordering::SeqCst);
        Ok(rows)
    }

    async fn read_snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, StoreError> {
        self.inner.read_snapshot(stream).await
    }

    async fn read_all(&self, from: Position, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        if self.deaf.load(Ordering::SeqCst) {
            return Ok(vec![]);
        }
        let rows = self.inner.read_all(from, limit).await?;
        self.rows_followed.fetch_add(rows.len(), Ordering::SeqCst);
        Ok(rows)
    }

    async fn head(&self) -> Result<Position, StoreError> {
        // What a node looks at once when it starts on a log of its own is there.
        if self.is_shared() {
            self.is_open().await;
        }
        self.inner.head().await
    }

    fn subscribe(&self) -> watch::Receiver<Position> {
        self.inner.subscribe()
    }
}

/// A session of a flaky log.
struct Doomed<'a> {
    log: &'a FlakyLog,
    /// Until something is appended: then the head is free for others.
    inner: Option<Box<dyn AppendSession + 'a>>,
}

impl Doomed<'_> {
    async fn write(&mut self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        let inner = self.inner.as_mut().expect("a session appends once");
        let appended = inner.append(batch, now).await?;
        self.inner = None;
        self.log.may_answer().await;
        Ok(appended)
    }
}

#[async_trait::async_trait]
impl AppendSession for Doomed<'_> {
    async fn append(&mut self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        self.log.appends.fetch_add(1, Ordering::SeqCst);
        self.log.is_open().await;
        let fate = self.log.fates.lock().unwrap().pop().unwrap_or(Fate::Written);
        match fate {
            Fate::Written => self.write(batch, now).await,
            Fate::Refused => Err(StoreError::Unavailable("doomed".to_owned())),
            Fate::WrittenUnknown => {
                self.write(batch, now).await?;
                Err(StoreError::Unknown("doomed".to_owned()))
            }
            Fate::Panics => panic!("as a test asked"),
            Fate::LostUnknown => Err(StoreError::Unknown("doomed".to_owned())),
        }
    }
}
