//! The log in a Postgres database, which several processes may share.
//!
//! A table of one row, `head`, is locked first by every transaction that appends. So it orders, numbers
//! and dates what is committed: positions have no gaps, and whoever reads up to the head has missed
//! nothing. Nothing is written before all that was checked under that lock.
//!
//! **After an append with an unknown outcome** the server may still be committing it. So the next read
//! first takes the head's lock and gives it back: then the append is there, or will never be.
//!
//! **A page of the log** is copied out in binary form, and streams are called by name here: a query that
//! joins the names costs three times as much, most of it in the server.

mod columns;
mod copied;
mod event;
mod follow;
mod known;
mod page;
pub(crate) mod place;
mod reader;
mod schema;
#[cfg(test)]
mod tests;
mod time;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};

use domain::{StreamId, Timestamp};
use sqlx::{PgConnection, Row};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    Append, AppendSession, Appended, EventRow, EventStore, LogIdentity, LogState, Position, Snapshot, StoreError,
    Version,
};
use follow::Follower;
use place::{Place, answer};
use reader::Readers;
use writer::{Session, Writer, show};

/// The log in a database.
pub struct PostgresLog {
    identity: Mutex<LogIdentity>,
    readers: Arc<Readers>,
    /// None when the log was opened to be read only.
    writer: Option<Writer>,
    shown: watch::Sender<Position>,
    _follower: Follower,
}

impl PostgresLog {
    /// Connects to the log in a database, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, and makes it
    /// or brings its tables up to date if need be. Needs a tokio runtime, on which it follows what
    /// other processes append until it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server cannot be reached now. [`StoreError::Unusable`] when
    /// the URL is wrong, or the database is not there, foreign, damaged or of a newer format: nothing
    /// is changed then.
    pub async fn connect(url: &str) -> Result<PostgresLog, StoreError> {
        let place = Place::new(url, false)?;
        let mut conn = place.connect().await?;
        let identity = schema::prepare(&place, &mut conn).await?;
        let writing = durable(&place, &mut conn).await?;
        let shown = watch::Sender::new(0);
        let writer = Writer::new(writing, shown.clone());
        PostgresLog::open(place, conn, identity, Some(writer), shown).await
    }

    /// Connects to read only, to a standby too. Changes nothing in the database.
    ///
    /// # Errors
    /// As [`PostgresLog::connect`], and [`StoreError::Unusable`] when there is no log or it has an
    /// older format.
    pub async fn connect_read_only(url: &str) -> Result<PostgresLog, StoreError> {
        let place = Place::new(url, true)?;
        let mut conn = place.connect().await?;
        let identity = schema::inspect(&place, &mut conn).await?;
        PostgresLog::open(place, conn, identity, None, watch::Sender::new(0)).await
    }

    async fn open(
        place: Place,
        conn: PgConnection,
        identity: LogIdentity,
        writer: Option<Writer>,
        shown: watch::Sender<Position>,
    ) -> Result<PostgresLog, StoreError> {
        let readers = Arc::new(Readers::new(place.clone(), conn).await?);
        show(&shown, readers.head().await?);
        let follower = Follower::start(&place, &readers, &shown, writer.is_some());
        Ok(PostgresLog { identity: Mutex::new(identity), readers, writer, shown, _follower: follower })
    }

    /// What the server's clock shows, to compare with one's own.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the server cannot be asked.
    pub async fn server_time(&self) -> Result<Timestamp, StoreError> {
        Ok(self.readers.server_time().await?.timestamp())
    }

    async fn begin(&self) -> Result<Session<'_>, StoreError> {
        let read_only = || StoreError::Unusable("this log was opened to be read only".into());
        self.writer.as_ref().ok_or_else(read_only)?.session(&self.readers.doubts).await
    }
}

/// How the writer connects: what it commits must outlive a power cut, whatever the database's default is.
async fn durable(place: &Place, conn: &mut PgConnection) -> Result<Place, StoreError> {
    let settings = "SELECT current_setting('fsync') = 'on', current_setting('synchronous_commit') <> 'off'";
    let row = answer(sqlx::query(settings).fetch_one(&mut *conn)).await.map_err(|error| place.failure(&error))?;
    let read = || Ok((row.try_get(0)?, row.try_get(1)?));
    let (fsync, waits): (bool, bool) = read().map_err(|error| place.failure(&error))?;
    if !fsync {
        tracing::warn!("{place} has fsync = off: a power cut may lose what was acknowledged. Switch it on");
    }
    Ok(if waits { place.clone() } else { place.with("synchronous_commit", "on") })
}

#[async_trait::async_trait]
impl EventStore for PostgresLog {
    fn identity(&self) -> LogIdentity {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn append(&self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        let mut session = self.begin().await?;
        let appended = session.append(batch, now).await;
        session.release().await;
        appended
    }

    async fn session(&self) -> Result<Box<dyn AppendSession + '_>, StoreError> {
        Ok(Box::new(self.begin().await?))
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn versions(&self, streams: &[StreamId]) -> Result<Vec<Version>, StoreError> {
        self.readers.versions(streams).await
    }

    async fn read_stream(&self, stream: StreamId, from: Version, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        self.readers.read_stream(stream, from, limit).await
    }

    async fn read_snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, StoreError> {
        self.readers.read_snapshot(stream).await
    }

    async fn read_all(&self, from: Position, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        self.readers.read_all(from, limit).await
    }

    async fn head(&self) -> Result<Position, StoreError> {
        self.readers.head().await
    }

    fn subscribe(&self) -> watch::Receiver<Position> {
        self.shown.subscribe()
    }

    async fn state(&self) -> Result<LogState, StoreError> {
        self.readers.state().await
    }

    async fn set_state(&self, state: LogState) -> Result<(), StoreError> {
        self.begin().await?.set_state(state).await
    }

    async fn import(&self, log: Uuid, events: Vec<EventRow>) -> Result<(), StoreError> {
        let identity = self.begin().await?.import(log, &events).await?;
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = identity;
        Ok(())
    }
}
