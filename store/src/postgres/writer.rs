//! Writing: one connection of its own, one transaction a batch, which begins by locking the head.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{StreamId, Timestamp};
use rustc_hash::FxHashMap;
use sqlx::{PgConnection, Row, postgres::PgRow, raw_sql};
use tokio::sync::{OwnedMutexGuard, watch};
use uuid::Uuid;

use super::{
    columns::{Columns, Streams},
    place::{Place, answer, is_lost, is_refused},
    reader::{Doubts, FoundStream, InDoubt, StreamNames, state_named},
    schema,
    time::PgTime,
};
use crate::{
    Append, AppendSession, Appended, EventRow, LogIdentity, LogState, Moved, Position, StoreError,
    import::{ImportCheck, NOT_THAT_COPY},
};

/// Begins a transaction and waits for its turn. The row is what the one before left. Two statements go
/// at once only as text, in which a time would have to be parsed.
const LOCK: &str = "BEGIN; SELECT position, streams, state, timestamptz_send(recorded_at) \
     FROM tiffin_log.head FOR UPDATE";
const APPEND: &str = include_str!("append.sql");
/// Events that are imported with one statement.
const IMPORTED: usize = 5000;

/// The number of each type of event, by its full name. A log has a few dozen.
type TypeNumbers = FxHashMap<String, i16>;
/// The connection that writes, while nobody uses it.
type Slot = Option<PgConnection>;

pub(super) struct Writer {
    place: Place,
    slot: Arc<tokio::sync::Mutex<Slot>>,
    /// The numbers of types that are committed.
    types: Mutex<Arc<TypeNumbers>>,
    shown: watch::Sender<Position>,
}

/// The head as its lock found it.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) position: i64,
    /// The highest id of a stream.
    pub(super) streams: i64,
    state: LogState,
    recorded_at: Option<Timestamp>,
}

/// The head's lock, held in a transaction of the writing connection.
pub(super) struct Session<'a> {
    writer: &'a Writer,
    doubts: &'a Doubts,
    head: Head,
    /// As this transaction sees them; they count for others when it is committed.
    types: Arc<TypeNumbers>,
    /// Holds the connection; none when the session has ended.
    turn: Option<OwnedMutexGuard<Slot>>,
}

/// Moves the head that is shown, which never goes back.
pub(super) fn show(shown: &watch::Sender<Position>, position: Position) {
    // Looks are frequent and news are rare: only news wait for those who are reading it.
    if *shown.borrow() >= position {
        return;
    }
    shown.send_if_modified(|head| {
        let moved = position > *head;
        *head = position.max(*head);
        moved
    });
}

impl Writer {
    pub(super) fn new(place: Place, shown: watch::Sender<Position>) -> Writer {
        Writer { place, slot: Arc::default(), types: Mutex::default(), shown }
    }

    /// Takes the head's lock. Within this process callers wait for each other, so that one connection
    /// is enough; other processes are waited for by the server.
    pub(super) async fn session<'a>(&'a self, doubts: &'a Doubts) -> Result<Session<'a>, StoreError> {
        let mut turn = self.slot.clone().lock_owned().await;
        let reused = turn.take();
        let (conn, row) = match reused {
            None => self.connect_and_lock().await?,
            Some(mut conn) => match lock(&mut conn).await {
                Ok(row) => (conn, row),
                // Nothing was begun. It was lost since its last use: the server was restarted, say.
                Err(error) if is_lost(&error) => self.connect_and_lock().await?,
                Err(error) => return Err(self.place.failure(&error)),
            },
        };
        let head = self.head(&row)?;
        *turn = Some(conn);
        let types = self.types().clone();
        Ok(Session { writer: self, doubts, head, types, turn: Some(turn) })
    }

    async fn connect_and_lock(&self) -> Result<(PgConnection, PgRow), StoreError> {
        let mut conn = self.place.connect().await?;
        let row = lock(&mut conn).await.map_err(|error| self.place.failure(&error))?;
        // It may be another server, which lacks the last types that the one before was told of.
        *self.types() = Arc::default();
        Ok((conn, row))
    }

    fn head(&self, row: &PgRow) -> Result<Head, StoreError> {
        let read = || -> Result<_, sqlx::Error> {
            let recorded_at: Option<Vec<u8>> = row.try_get(3)?;
            let recorded_at = recorded_at.map(|bytes| PgTime::from_bytes(&bytes)).transpose();
            let recorded_at = recorded_at.map_err(sqlx::Error::Decode)?;
            Ok((row.try_get(0)?, row.try_get(1)?, row.try_get::<String, _>(2)?, recorded_at))
        };
        let (position, streams, state, recorded_at) = read().map_err(|error| self.place.failure(&error))?;
        let state = state_named(&self.place, &state)?;
        Ok(Head { position, streams, state, recorded_at: recorded_at.map(PgTime::timestamp) })
    }

    /// Finds which of the streams are there and where they stand, under the head's lock.
    async fn find(&self, conn: &mut PgConnection, streams: &mut Streams) -> Result<(), StoreError> {
        let names = StreamNames::of(streams.names());
        let rows = answer(names.query().fetch_all(&mut *conn)).await.map_err(|error| self.place.failure(&error))?;
        for row in rows {
            let found = FoundStream::read(&row).map_err(|error| self.place.failure(&error))?;
            streams.found(&found);
        }
        Ok(())
    }

    /// Gives the types of the columns their numbers, and names the new ones in the log.
    async fn name_types(
        &self,
        conn: &mut PgConnection,
        types: &mut Arc<TypeNumbers>,
        columns: &mut Columns<'_>,
    ) -> Result<(), StoreError> {
        if columns.number_types(types).is_empty() {
            return Ok(());
        }
        let failure = |error: sqlx::Error| self.place.failure(&error);
        let rows = sqlx::query("SELECT name, id FROM tiffin_log.event_types ORDER BY id").fetch_all(&mut *conn);
        let rows = answer(rows).await.map_err(failure)?;
        let read = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let mut all: TypeNumbers = rows.iter().map(read).collect::<Result<_, _>>().map_err(failure)?;
        let mut last = all.values().copied().max().unwrap_or(0);
        for name in columns.number_types(&all) {
            last = last.checked_add(1).ok_or_else(|| self.place.unusable("has no number left for a new event type"))?;
            let insert = sqlx::query("INSERT INTO tiffin_log.event_types (id, name) VALUES ($1, $2)");
            answer(insert.bind(last).bind(&name).execute(&mut *conn)).await.map_err(failure)?;
            all.insert(name, last);
        }
        columns.number_types(&all);
        *types = Arc::new(all);
        Ok(())
    }

    fn types(&self) -> MutexGuard<'_, Arc<TypeNumbers>> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(
        &self,
        conn: &mut PgConnection,
        head: &Head,
        streams: &Streams,
        columns: &Columns<'_>,
    ) -> Result<Head, StoreError> {
        let after = Head {
            position: head.position + columns.events() as i64,
            streams: streams.last,
            state: head.state,
            recorded_at: columns.recorded_at().or(head.recorded_at),
        };
        let recorded_at = after.recorded_at.map(PgTime::new).transpose()?;
        let query = streams.bind(sqlx::query(APPEND));
        let query = columns.bind(query, head.position).bind(after.position).bind(after.streams).bind(recorded_at);
        answer(query.execute(&mut *conn)).await.map_err(|error| self.place.failure(&error))?;
        Ok(after)
    }
}

async fn lock(conn: &mut PgConnection) -> Result<PgRow, sqlx::Error> {
    answer(raw_sql(LOCK).fetch_all(&mut *conn)).await?.pop().ok_or(sqlx::Error::RowNotFound)
}

impl Session<'_> {
    /// The connection, taken out for as long as an answer is waited for: if the waiting ends before that,
    /// it is dropped, and the server ends the transaction.
    fn take(&mut self) -> Result<PgConnection, StoreError> {
        let conn = self.turn.as_mut().and_then(|turn| turn.take());
        conn.ok_or_else(|| StoreError::Unavailable("this append session has ended: begin another one".into()))
    }

    /// Puts the connection back, still in its transaction.
    fn keep(&mut self, conn: PgConnection) {
        if let Some(turn) = &mut self.turn {
            **turn = Some(conn);
        }
    }

    /// Gives the lock back without having written.
    pub(super) async fn release(mut self) {
        if let Ok(mut conn) = self.take()
            && rollback(&mut conn).await
        {
            self.keep(conn);
        }
        self.turn = None;
    }

    /// Commits and ends the session.
    async fn commit(&mut self, mut conn: PgConnection) -> Result<(), StoreError> {
        let in_doubt = InDoubt(Some(self.doubts));
        let committed = answer(raw_sql("COMMIT").execute(&mut conn)).await;
        let result = match committed {
            Ok(_) => {
                in_doubt.known();
                *self.writer.types() = self.types.clone();
                self.keep(conn);
                Ok(())
            }
            Err(error) if is_refused(&error) => {
                in_doubt.known();
                Err(self.writer.place.failure(&error))
            }
            Err(error) => Err(StoreError::Unknown(format!("{}: {error}", self.writer.place))),
        };
        self.turn = None;
        result
    }

    /// Changes what the log says of itself.
    pub(super) async fn set_state(&mut self, state: LogState) -> Result<(), StoreError> {
        let mut conn = self.take()?;
        self.write_state(&mut conn, state).await?;
        self.commit(conn).await
    }

    async fn write_state(&self, conn: &mut PgConnection, state: LogState) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE tiffin_log.head SET state = $1").bind(state.name());
        let updated = answer(update.execute(&mut *conn)).await;
        updated.map(|_| ()).map_err(|error| self.writer.place.failure(&error))
    }

    /// Imports events, and says who the log is now.
    pub(super) async fn import(&mut self, log: Uuid, events: &[EventRow]) -> Result<LogIdentity, StoreError> {
        let mut conn = self.take()?;
        let (head, identity) = self.write_import(&mut conn, log, events).await?;
        self.commit(conn).await?;
        show(&self.writer.shown, head.position.unsigned_abs());
        Ok(identity)
    }

    async fn write_import(
        &mut self,
        conn: &mut PgConnection,
        log: Uuid,
        events: &[EventRow],
    ) -> Result<(Head, LogIdentity), StoreError> {
        let (writer, place) = (self.writer, &self.writer.place);
        let mut head = self.head.clone();
        let mut identity = schema::identity(place, conn).await?;
        if head.position == 0 && head.state == LogState::Open {
            let update = sqlx::query("UPDATE tiffin_log.log SET id = $1").bind(log);
            answer(update.execute(&mut *conn)).await.map_err(|error| place.failure(&error))?;
            self.write_state(conn, LogState::Copy).await?;
            identity.log = log;
        } else if head.state != LogState::Copy || identity.log != log {
            return Err(StoreError::Unusable(NOT_THAT_COPY.into()));
        }
        let mut follows = ImportCheck::after(head.position.unsigned_abs(), head.recorded_at);
        for events in events.chunks(IMPORTED) {
            let mut streams = Streams::of(events.iter().map(|event| event.stream), head.streams);
            writer.find(conn, &mut streams).await?;
            for event in events {
                follows.next(event, |stream| streams.version(stream))?;
            }
            let mut columns = Columns::default();
            for event in events {
                columns.add_recorded(event, streams.write(&event.stream, 1))?;
            }
            writer.name_types(conn, &mut self.types, &mut columns).await?;
            head = writer.write(conn, &head, &streams, &columns).await?;
        }
        Ok((head, identity))
    }

    /// Finds the streams whose appends do not follow on what is before them.
    fn check(batch: &[Append], streams: &Streams) -> Result<(), StoreError> {
        let mut moved = Vec::new();
        let mut versions: FxHashMap<StreamId, u64> = FxHashMap::default();
        for append in batch {
            let version = versions.entry(append.stream).or_insert_with(|| streams.version(&append.stream));
            if *version == append.expected {
                *version += append.events.len() as u64;
            } else {
                Moved::note(&mut moved, append, *version);
            }
        }
        if moved.is_empty() { Ok(()) } else { Err(StoreError::Conflict(moved)) }
    }
}

#[async_trait::async_trait]
impl AppendSession for Session<'_> {
    async fn append(&mut self, batch: Vec<Append>, now: Timestamp) -> Result<Appended, StoreError> {
        let mut conn = self.take()?;
        let mut streams = Streams::of(batch.iter().map(|append| append.stream), self.head.streams);
        if !batch.is_empty() {
            self.writer.find(&mut conn, &mut streams).await?;
        }
        let recorded_at = self.head.recorded_at.map_or(now, |last| last.max(now));
        let mut columns = Columns::default();
        let planned = self.head.state.takes_appends().and_then(|()| {
            Session::check(&batch, &streams)?;
            batch.iter().try_for_each(|append| columns.add_append(append, recorded_at, &mut streams))
        });
        if let Err(refused) = planned {
            // Nothing was written: the lock is still held.
            self.keep(conn);
            return Err(refused);
        }
        let appended = Appended { first: self.head.position.unsigned_abs() + 1, recorded_at };
        if columns.is_empty() {
            if rollback(&mut conn).await {
                self.keep(conn);
            }
            self.turn = None;
            return Ok(appended);
        }
        self.writer.name_types(&mut conn, &mut self.types, &mut columns).await?;
        let head = self.writer.write(&mut conn, &self.head, &streams, &columns).await?;
        self.commit(conn).await?;
        show(&self.writer.shown, head.position.unsigned_abs());
        Ok(appended)
    }
}

impl Drop for Session<'_> {
    /// Gives the lock back at once, and only then the turn.
    fn drop(&mut self) {
        let Some(mut turn) = self.turn.take() else { return };
        let (Some(mut conn), Ok(runtime)) = (turn.take(), tokio::runtime::Handle::try_current()) else {
            // Dropping the connection ends its transaction too.
            return;
        };
        runtime.spawn(async move {
            if rollback(&mut conn).await {
                *turn = Some(conn);
            }
        });
    }
}

/// Whether the connection can be used again.
async fn rollback(conn: &mut PgConnection) -> bool {
    answer(raw_sql("ROLLBACK").execute(conn)).await.is_ok()
}
