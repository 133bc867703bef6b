//! Reading: a few connections of their own, so that readers and the writer never wait for each other.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use domain::StreamId;
use sqlx::{
    Decode, PgConnection, Postgres, Row, Type,
    postgres::{PgArguments, PgRow},
    query::Query,
    raw_sql,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    event::select_events,
    known::Known,
    page::Reader,
    place::{Place, answer, is_lost},
    time::PgTime,
};
use crate::{EventRow, LogState, Position, Snapshot, StoreError, Version};

/// Connections, and so reads at once.
const CONNECTIONS: usize = 8;

/// The stream's number first, as a value: so its events come out of the index in order.
pub(super) const BY_STREAM: &str = select_events!(
    "stream = (SELECT id FROM tiffin_log.streams WHERE key = $1 AND kind = $2 AND tenant = $3) AND version >= $4 \
     ORDER BY version LIMIT $5"
);
pub(super) const SNAPSHOT: &str = "SELECT n.version, n.state_version, n.state FROM tiffin_log.snapshots n \
     WHERE n.stream = (SELECT id FROM tiffin_log.streams WHERE key = $1 AND kind = $2 AND tenant = $3)";
/// Streams that are there, by their place in the question.
pub(super) const VERSIONS: &str = "SELECT u.number, s.id, s.version \
     FROM unnest($1::uuid[], $2::smallint[], $3::uuid[]) WITH ORDINALITY AS u (key, kind, tenant, number) \
     JOIN tiffin_log.streams s ON s.key = u.key AND s.kind = u.kind AND s.tenant = u.tenant";
const SETTLE: &str = "BEGIN; SELECT position FROM tiffin_log.head FOR UPDATE; COMMIT";

/// The connections that read.
pub(super) struct Readers {
    place: Place,
    idle: Mutex<Vec<Reader>>,
    permits: Semaphore,
    /// To which the newest connection leads.
    server: Mutex<Server>,
    pub(super) doubts: Doubts,
}

/// A server. Another one, of which a standby became the primary, may have lost the log's last events and
/// given their numbers to others: so what is known by number holds for one server as long as it runs.
struct Server {
    started: PgTime,
    known: Arc<Known>,
}

/// Appends whose outcome is not known. As long as one may still be committed, nobody may read as if it
/// were not there.
#[derive(Default)]
pub(super) struct Doubts {
    raised: AtomicU64,
    settled: AtomicU64,
}

impl Doubts {
    fn raise(&self) {
        self.raised.fetch_add(1, Ordering::SeqCst);
    }

    /// The doubts up to now, if there are any that are not settled.
    fn open(&self) -> Option<u64> {
        let raised = self.raised.load(Ordering::SeqCst);
        (raised > self.settled.load(Ordering::SeqCst)).then_some(raised)
    }

    fn settle(&self, raised: u64) {
        self.settled.fetch_max(raised, Ordering::SeqCst);
    }
}

/// Raises a doubt when it is dropped, unless the outcome has become known: also when whoever waits for a
/// COMMIT is dropped meanwhile.
pub(super) struct InDoubt<'a>(pub(super) Option<&'a Doubts>);

impl InDoubt<'_> {
    pub(super) fn known(mut self) {
        self.0 = None;
    }
}

impl Drop for InDoubt<'_> {
    fn drop(&mut self) {
        if let Some(doubts) = self.0 {
            doubts.raise();
        }
    }
}

impl Readers {
    /// With a first connection, which is there already.
    pub(super) async fn new(place: Place, mut first: PgConnection) -> Result<Readers, StoreError> {
        let (started, known) = (started(&place, &mut first).await?, Arc::default());
        Ok(Readers {
            place,
            idle: Mutex::new(vec![Reader::new(first, Arc::clone(&known))]),
            permits: Semaphore::new(CONNECTIONS),
            server: Mutex::new(Server { started, known }),
            doubts: Doubts::default(),
        })
    }

    async fn connect(&self) -> Result<Reader, StoreError> {
        let mut conn = self.place.connect().await?;
        let started = started(&self.place, &mut conn).await?;
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if server.started != started {
            *server = Server { started, known: Arc::default() };
        }
        Ok(Reader::new(conn, server.known.clone()))
    }

    /// After an append whose outcome is not known, waits until it cannot be committed any more: its
    /// transaction holds the head's lock for as long as it lives, so whoever gets the lock comes after it.
    async fn settle(&self) -> Result<(), StoreError> {
        if let Some(raised) = self.doubts.open() {
            let mut conn = self.place.connect().await?;
            let settled = answer(raw_sql(SETTLE).execute(&mut conn)).await;
            settled.map_err(|error| self.place.failure(&error))?;
            self.doubts.settle(raised);
        }
        Ok(())
    }

    /// Reads over a connection, which `read` gives back. One that was lost since its last use is replaced once.
    async fn read<T, F>(&self, read: impl Fn(Reader) -> F + Send) -> Result<T, StoreError>
    where
        F: Future<Output = (Reader, Result<T, sqlx::Error>)> + Send,
    {
        let closed = |_| StoreError::Unavailable("the log is being closed".into());
        let _permit = self.permits.acquire().await.map_err(closed)?;
        self.settle().await?;
        let reused = self.idle().pop();
        if let Some(reader) = reused {
            match read(reader).await {
                (_, Err(error)) if is_lost(&error) => self.idle().clear(),
                (reader, result) => return self.end(reader, result),
            }
        }
        let (reader, result) = read(self.connect().await?).await;
        self.end(reader, result)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end<T>(&self, reader: Reader, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        // A connection that failed is not used again.
        let read = result.map_err(|error| self.place.failure(&error))?;
        self.idle().push(reader);
        Ok(read)
    }

    /// The rows of a query.
    async fn rows<'q>(
        &self,
        query: impl Fn() -> Query<'q, Postgres, PgArguments> + Send,
    ) -> Result<Vec<PgRow>, StoreError> {
        let ask = |mut reader: Reader, query: Query<'q, Postgres, PgArguments>| async move {
            let rows = answer(query.fetch_all(&mut reader.conn)).await;
            (reader, rows)
        };
        self.read(move |reader| ask(reader, query())).await
    }

    async fn one<T>(&self, sql: &'static str) -> Result<T, StoreError>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        let rows = self.rows(|| sqlx::query(sql)).await?;
        let row = rows.first().ok_or_else(|| self.place.failure(&sqlx::Error::RowNotFound))?;
        row.try_get(0).map_err(|error| self.place.failure(&error))
    }

    pub(super) async fn head(&self) -> Result<Position, StoreError> {
        Ok(self.one::<i64>("SELECT position FROM tiffin_log.head").await?.unsigned_abs())
    }

    pub(super) async fn state(&self) -> Result<LogState, StoreError> {
        let name: String = self.one("SELECT state FROM tiffin_log.head").await?;
        state_named(&self.place, &name)
    }

    pub(super) async fn server_time(&self) -> Result<PgTime, StoreError> {
        self.one("SELECT clock_timestamp()").await
    }

    pub(super) async fn versions(&self, streams: &[StreamId]) -> Result<Vec<Version>, StoreError> {
        let names = StreamNames::of(streams.iter().copied());
        let rows = self.rows(|| names.query()).await?;
        let mut versions = vec![0; streams.len()];
        for row in rows {
            let found = FoundStream::read(&row).map_err(|error| self.place.failure(&error))?;
            versions[found.number] = found.version;
        }
        Ok(versions)
    }

    pub(super) async fn read_all(&self, from: Position, limit: usize) -> Result<Vec<EventRow>, StoreError> {
        let (from, limit) = (clamp(from), clamp(limit as u64));
        let read = |mut reader: Reader| async move {
            let page = reader.read_all(from, limit).await;
            (reader, page)
        };
        self.read(read).await?.map_err(|why| self.place.unusable(why))
    }

    pub(super) async fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let query = || {
            let query = sqlx::query(BY_STREAM).bind(stream.key).bind(stream.kind as i16).bind(stream.tenant.0);
            query.bind(clamp(from)).bind(clamp(limit as u64))
        };
        let read = |mut reader: Reader| async move {
            let page = reader.events_of(stream, query()).await;
            (reader, page)
        };
        self.read(read).await?.map_err(|why| self.place.unusable(why))
    }

    pub(super) async fn read_snapshot(&self, stream: StreamId) -> Result<Option<Snapshot>, StoreError> {
        let query = || sqlx::query(SNAPSHOT).bind(stream.key).bind(stream.kind as i16).bind(stream.tenant.0);
        let rows = self.rows(query).await?;
        let read = |row: &PgRow| {
            let state_version = u32::try_from(row.try_get::<i64, _>(1)?);
            Ok(Snapshot {
                version: row.try_get::<i64, _>(0)?.unsigned_abs(),
                state_version: state_version.map_err(|error| sqlx::Error::Decode(error.into()))?,
                state: bytes(row, 2)?,
            })
        };
        rows.first().map(read).transpose().map_err(|error| self.place.failure(&error))
    }
}

/// When the server was started, by which it is told from any other.
async fn started(place: &Place, conn: &mut PgConnection) -> Result<PgTime, StoreError> {
    let started = sqlx::query_scalar("SELECT pg_postmaster_start_time()").fetch_one(conn);
    answer(started).await.map_err(|error| place.failure(&error))
}

/// Streams in columns, to ask for their versions.
#[derive(Default)]
pub(super) struct StreamNames {
    keys: Vec<Uuid>,
    kinds: Vec<i16>,
    tenants: Vec<Uuid>,
}

impl StreamNames {
    pub(super) fn of(streams: impl Iterator<Item = StreamId>) -> StreamNames {
        let mut names = StreamNames::default();
        for stream in streams {
            names.keys.push(stream.key);
            names.kinds.push(stream.kind as i16);
            names.tenants.push(stream.tenant.0);
        }
        names
    }

    pub(super) fn query(&self) -> Query<'_, Postgres, PgArguments> {
        sqlx::query(VERSIONS).bind(&self.keys).bind(&self.kinds).bind(&self.tenants)
    }
}

/// A stream that was asked for and is there.
pub(super) struct FoundStream {
    /// Its place in the question.
    pub(super) number: usize,
    pub(super) id: i64,
    pub(super) version: Version,
}

impl FoundStream {
    pub(super) fn read(row: &PgRow) -> Result<FoundStream, sqlx::Error> {
        let (number, id, version): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(FoundStream { number: number as usize - 1, id, version: version.unsigned_abs() })
    }
}

pub(super) fn state_named(place: &Place, name: &str) -> Result<LogState, StoreError> {
    let unknown = || place.unusable(format_args!("the log is in the state {name:?}, which only a newer tiffin knows"));
    LogState::named(name).ok_or_else(unknown)
}

/// A count as Postgres takes it.
fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The bytes of a text.
fn bytes(row: &PgRow, column: usize) -> Result<Vec<u8>, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    value.as_bytes().map(<[u8]>::to_vec).map_err(sqlx::Error::Decode)
}
