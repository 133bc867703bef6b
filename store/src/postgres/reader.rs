//! Reading: a few connections of their own, so that readers and the writer never wait for each other.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use domain::{ActorId, CommandId, StreamId, StreamKind, TenantId};
use rustc_hash::FxHashMap;
use sqlx::{
    Decode, PgConnection, Postgres, Row, Type, ValueRef,
    postgres::{PgArguments, PgRow},
    query::Query,
    raw_sql,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{
    place::{Place, answer, is_lost},
    time::PgTime,
};
use crate::{EventRow, LogState, Metadata, Position, Snapshot, StoreError, Version};

/// Connections, and so reads at once.
const CONNECTIONS: usize = 8;

macro_rules! select_events {
    ($rest:literal) => {
        concat!(
            "SELECT e.position, e.version, e.type, e.schema_version, e.payload, e.command, e.digest, e.actor, ",
            "e.correlation, e.causation, e.trace, e.occurred_at, e.recorded_at, s.key, s.kind, s.tenant ",
            "FROM tiffin_log.events e JOIN tiffin_log.streams s ON s.id = e.stream WHERE ",
            $rest
        )
    };
}
pub(super) const BY_POSITION: &str = select_events!("e.position >= $1 ORDER BY e.position LIMIT $2");
/// The stream's number first, as a value: so its events come out of the index in order.
pub(super) const BY_STREAM: &str = select_events!(
    "e.stream = (SELECT id FROM tiffin_log.streams WHERE key = $1 AND kind = $2 AND tenant = $3) AND e.version >= $4 \
     ORDER BY e.version LIMIT $5"
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
    idle: Mutex<Vec<PgConnection>>,
    permits: Semaphore,
    /// The name of type n.
    types: Mutex<FxHashMap<i16, Arc<str>>>,
    pub(super) doubts: Doubts,
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
    pub(super) fn new(place: Place, first: PgConnection) -> Readers {
        Readers {
            place,
            idle: Mutex::new(vec![first]),
            permits: Semaphore::new(CONNECTIONS),
            types: Mutex::default(),
            doubts: Doubts::default(),
        }
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

    /// The rows of a query. A connection that was lost since its last use is replaced once.
    async fn rows<'q>(
        &self,
        query: impl Fn() -> Query<'q, Postgres, PgArguments> + Send,
    ) -> Result<Vec<PgRow>, StoreError> {
        let closed = |_| StoreError::Unavailable("the log is being closed".into());
        let _permit = self.permits.acquire().await.map_err(closed)?;
        self.settle().await?;
        let reused = self.idle().pop();
        if let Some(mut conn) = reused {
            match answer(query().fetch_all(&mut conn)).await {
                Err(error) if is_lost(&error) => self.idle().clear(),
                result => return self.end(conn, result),
            }
        }
        let mut conn = self.place.connect().await?;
        let result = answer(query().fetch_all(&mut conn)).await;
        self.end(conn, result)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<PgConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, conn: PgConnection, result: Result<Vec<PgRow>, sqlx::Error>) -> Result<Vec<PgRow>, StoreError> {
        // A connection that failed is not used again.
        let rows = result.map_err(|error| self.place.failure(&error))?;
        self.idle().push(conn);
        Ok(rows)
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
        let rows = self.rows(|| sqlx::query(BY_POSITION).bind(clamp(from)).bind(clamp(limit as u64))).await?;
        self.events(rows).await
    }

    pub(super) async fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: usize,
    ) -> Result<Vec<EventRow>, StoreError> {
        let rows = self
            .rows(|| {
                let query = sqlx::query(BY_STREAM).bind(stream.key).bind(stream.kind as i16).bind(stream.tenant.0);
                query.bind(clamp(from)).bind(clamp(limit as u64))
            })
            .await?;
        self.events(rows).await
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

    async fn events(&self, rows: Vec<PgRow>) -> Result<Vec<EventRow>, StoreError> {
        let mut events = Vec::with_capacity(rows.len());
        let mut types = self.known_types();
        for row in &rows {
            let failure = |error| self.place.failure(&error);
            let number = row.try_get(2).map_err(failure)?;
            if !types.contains_key(&number) {
                types = self.load_types().await?;
            }
            let Some(event_type) = types.get(&number) else {
                return Err(self.place.unusable(format_args!("is damaged: event type {number} has no name")));
            };
            match event(row, event_type.clone()).map_err(failure)? {
                Ok(event) => events.push(event),
                // What stands before it can be read, so that a reader comes as far as it can.
                Err(unknown) if events.is_empty() => return Err(self.place.unusable(unknown)),
                Err(_) => break,
            }
        }
        Ok(events)
    }

    /// A log has a few dozen types.
    fn known_types(&self) -> FxHashMap<i16, Arc<str>> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn load_types(&self) -> Result<FxHashMap<i16, Arc<str>>, StoreError> {
        let rows = self.rows(|| sqlx::query("SELECT id, name FROM tiffin_log.event_types ORDER BY id")).await?;
        let read = |row: &PgRow| Ok((row.try_get(0)?, row.try_get::<&str, _>(1)?.into()));
        let types = rows.iter().map(read).collect::<Result<FxHashMap<_, _>, sqlx::Error>>();
        let types = types.map_err(|error| self.place.failure(&error))?;
        *self.types.lock().unwrap_or_else(PoisonError::into_inner) = types.clone();
        Ok(types)
    }
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

/// Sixteen bytes, if there are any.
fn sixteen(row: &PgRow, column: usize) -> Result<Option<[u8; 16]>, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(None);
    }
    let bytes = value.as_bytes().map_err(sqlx::Error::Decode)?;
    bytes.try_into().map(Some).map_err(|_| sqlx::Error::Decode(format!("{} bytes where 16 belong", bytes.len()).into()))
}

/// The row as an event, or why this program cannot say what it is of.
fn event(row: &PgRow, event_type: Arc<str>) -> Result<Result<EventRow, String>, sqlx::Error> {
    let position = row.try_get::<i64, _>(0)?.unsigned_abs();
    let kind: i16 = row.try_get(14)?;
    let Some(kind) = u8::try_from(kind).ok().and_then(|kind| StreamKind::try_from(kind).ok()) else {
        return Ok(Err(format!(
            "event {position} is in a stream of kind {kind}, which this program does not know: use a newer tiffin"
        )));
    };
    let stream = StreamId { tenant: TenantId(row.try_get(15)?), kind, key: row.try_get(13)? };
    let schema_version = u16::try_from(row.try_get::<i32, _>(3)?);
    Ok(Ok(EventRow {
        position,
        stream,
        version: row.try_get::<i64, _>(1)?.unsigned_abs(),
        event_type,
        schema_version: schema_version.map_err(|error| sqlx::Error::Decode(error.into()))?,
        payload: bytes(row, 4)?,
        metadata: Metadata {
            command: CommandId(row.try_get(5)?),
            digest: sixteen(row, 6)?,
            actor: ActorId(row.try_get(7)?),
            correlation: row.try_get::<Option<Uuid>, _>(8)?.unwrap_or(stream.key),
            causation: row.try_get::<Option<Uuid>, _>(9)?.map(CommandId),
            trace: sixteen(row, 10)?,
        },
        occurred_at: row.try_get::<PgTime, _>(11)?.timestamp(),
        recorded_at: row.try_get::<PgTime, _>(12)?.timestamp(),
    }))
}
