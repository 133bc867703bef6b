//! A connection that reads, and pages of events over it.

use std::{mem, sync::Arc};

use domain::StreamId;
use futures::TryStreamExt;
use rustc_hash::FxHashMap;
use sqlx::{
    PgConnection, Postgres, Row,
    error::BoxDynError,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{
    copied::Copied,
    event::{Columns, select_events},
    known::{Known, StreamName, TypeNames, read_names, select_names},
    place::answer,
};
use crate::{EventRow, Position};

/// The most bytes of room that a connection keeps from one page for the next.
const ROOM: usize = 8 << 20;

/// Events, or why there are none that this program can read.
pub(super) type Page = Result<Vec<EventRow>, String>;

/// The events from a position on. COPY takes no parameters, so the numbers stand in the text.
pub(super) fn by_position(from: i64, limit: i64) -> String {
    format!(concat!(select_events!("position >= "), "{} ORDER BY position LIMIT {}"), from, limit)
}

/// A connection.
pub(super) struct Reader {
    pub(super) conn: PgConnection,
    known: Arc<Known>,
    /// Room for what is copied.
    room: Vec<u8>,
}

impl Reader {
    /// `known` is what was learnt from the same server.
    pub(super) fn new(conn: PgConnection, known: Arc<Known>) -> Reader {
        Reader { conn, known, room: Vec::new() }
    }

    /// The events from a position on.
    pub(super) async fn read_all(&mut self, from: i64, limit: i64) -> Result<Page, sqlx::Error> {
        let copied = self.copy(&by_position(from, limit)).await?;
        let mut met = self.met(&copied).map_err(sqlx::Error::Decode)?;
        if !met.missing.is_empty() {
            let names = self.copy(&select_names(&mut met.missing)).await?;
            met.found = read_names(&names).map_err(sqlx::Error::Decode)?;
            let found = met.found.iter().filter_map(|(id, name)| Some((*id, (*name).ok()?)));
            self.known.streams().extend(found);
        }
        let types = self.types(met.types.iter().copied()).await?;
        let page = met.events(&copied, &types).map_err(sqlx::Error::Decode);
        if copied.capacity() <= ROOM {
            self.room = copied;
        }
        page
    }

    /// The events of one stream that a query selects. They are few as a rule, so a prepared query is
    /// quicker than a copy, which is planned each time.
    pub(super) async fn events_of(
        &mut self,
        stream: StreamId,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<Page, sqlx::Error> {
        let rows = answer(query.fetch_all(&mut self.conn)).await?;
        let rows = rows.iter().map(Columns::of).collect::<Result<Vec<_>, _>>()?;
        let numbers = rows.iter().map(Columns::event_type).collect::<Result<Vec<_>, _>>();
        let types = self.types(numbers.map_err(sqlx::Error::Decode)?.into_iter()).await?;
        let event = |columns: &Columns<'_>| match types.get(&columns.event_type()?) {
            Some(name) => Ok(Ok(columns.event(stream, name.clone())?)),
            None => Ok(Err(no_type(columns)?)),
        };
        rows.iter().map(event).collect::<Result<Page, _>>().map_err(sqlx::Error::Decode)
    }

    /// What the query selects, as a copy.
    async fn copy(&mut self, select: &str) -> Result<Vec<u8>, sqlx::Error> {
        let mut copied = mem::take(&mut self.room);
        copied.clear();
        let copy = format!("COPY ({select}) TO STDOUT (FORMAT binary)");
        answer(async {
            let mut chunks = self.conn.copy_out_raw(&copy).await?;
            while let Some(chunk) = chunks.try_next().await? {
                copied.extend_from_slice(&chunk);
            }
            Ok(copied)
        })
        .await
    }

    /// Goes over a page to see what must be known by name.
    fn met(&self, copied: &[u8]) -> Result<Met, BoxDynError> {
        let (mut met, streams) = (Met::default(), self.known.streams());
        let mut rows = Copied::new(copied)?;
        while let Some(row) = rows.row()?.map(Columns) {
            let (stream, number) = (row.stream()?, row.event_type()?);
            let name = streams.get(stream);
            if name.is_none() && met.missing.last() != Some(&stream) {
                met.missing.push(stream);
            }
            met.streams.push(name);
            if met.types.last() != Some(&number) {
                met.types.push(number);
            }
        }
        Ok(met)
    }

    /// The names of types, among them those of these numbers if the log has them.
    async fn types(&mut self, mut numbers: impl Iterator<Item = i16>) -> Result<Arc<TypeNames>, sqlx::Error> {
        let known = self.known.types().clone();
        if numbers.all(|number| known.contains_key(&number)) {
            return Ok(known);
        }
        let all = sqlx::query("SELECT id, name FROM tiffin_log.event_types ORDER BY id");
        let rows = answer(all.fetch_all(&mut self.conn)).await?;
        let read = |row: &PgRow| Ok((row.try_get(0)?, row.try_get::<&str, _>(1)?.into()));
        let types = Arc::new(rows.iter().map(read).collect::<Result<TypeNames, sqlx::Error>>()?);
        *self.known.types() = types.clone();
        Ok(types)
    }
}

/// What a page speaks of.
#[derive(Default)]
struct Met {
    /// Each event's stream, if its name was known.
    streams: Vec<Option<StreamId>>,
    /// Numbers of streams whose names were not.
    missing: Vec<i64>,
    found: FxHashMap<i64, StreamName>,
    types: Vec<i16>,
}

impl Met {
    fn events(&self, copied: &[u8], types: &TypeNames) -> Result<Page, BoxDynError> {
        let mut events = Vec::with_capacity(self.streams.len());
        let mut rows = Copied::new(copied)?;
        for known in &self.streams {
            let Some(row) = rows.row()?.map(Columns) else { break };
            let Some(event_type) = types.get(&row.event_type()?) else { return Ok(Err(no_type(&row)?)) };
            let id = row.stream()?;
            let stream = match known.map_or_else(|| self.found.get(&id).copied(), |stream| Some(Ok(stream))) {
                Some(Ok(stream)) => stream,
                // What stands before it can be read, so that a reader comes as far as it can.
                Some(Err(_)) if !events.is_empty() => break,
                Some(Err(kind)) => return Ok(Err(unknown_kind(row.position()?, kind))),
                None => return Ok(Err(format!("is damaged: stream {id} has no name"))),
            };
            events.push(row.event(stream, event_type.clone())?);
        }
        Ok(Ok(events))
    }
}

fn no_type(columns: &Columns<'_>) -> Result<String, BoxDynError> {
    Ok(format!("is damaged: event type {} has no name", columns.event_type()?))
}

fn unknown_kind(position: Position, kind: i16) -> String {
    format!("event {position} is in a stream of kind {kind}, which this program does not know: use a newer tiffin")
}
