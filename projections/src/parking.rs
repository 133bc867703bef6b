//! Poison: events that a view could not take, parked whole with their streams, and those that somebody
//! decided to do without.

use domain::{StreamId, StreamKind, TenantId, Timestamp};
use store::{Position, Version};
use uuid::Uuid;

use crate::{
    Build, PageSize, Param, Row, SqlError, args,
    catalogue::{ONE, now, revise},
    db::Connection,
    row,
};

/// Most parked events that one question lists.
const LISTED: u32 = 1_000;

row! {
    /// Events that a view could not take, and those of the same streams behind them.
    pub struct Parked in "parked" {
        key { projection: String, version: u32, build: u32, position: Position }
        tenant: TenantId,
        /// The kind of aggregate.
        kind: StreamKind,
        stream: Uuid,
        stream_version: Version,
        event: String,
        error: String,
        parked_at: Timestamp,
    }
}

row! {
    /// Events that somebody decided a view shall do without. Every later build leaves them out too.
    pub struct Dropped in "dropped" {
        key { projection: String, position: Position }
        tenant: TenantId,
        kind: StreamKind,
        stream: Uuid,
        event: String,
        error: String,
        reason: String,
        dropped_by: String,
        dropped_at: Timestamp,
    }
}

impl Parked {
    pub fn stream_id(&self) -> StreamId {
        StreamId { tenant: self.tenant, kind: self.kind, key: self.stream }
    }
}

/// The parked events of a build, oldest first; at most [`LISTED`].
pub(crate) fn of_build(connection: &Connection, build: &Build) -> Result<Vec<Parked>, SqlError> {
    let sql = format!("SELECT {} FROM parked {ONE} ORDER BY position LIMIT {LISTED}", Parked::TABLE.column_list());
    connection.query(&sql, &build.key_params(), Parked::read)
}

/// A page of the parked events of a build, oldest first.
pub(crate) fn page_of_build(
    connection: &Connection,
    build: &Build,
    after: Position,
    page: PageSize,
) -> Result<Vec<Parked>, SqlError> {
    let columns = Parked::TABLE.column_list();
    let sql = format!("SELECT {columns} FROM parked {ONE} AND position > ?4 ORDER BY position LIMIT ?5");
    let [name, version, number] = build.key_params();
    connection.query(&sql, &[name, version, number, Param::of(&after), Param::of(&page)], Parked::read)
}

/// Every stream that has an event parked in a build.
pub(crate) fn streams(connection: &Connection, build: &Build) -> Result<Vec<StreamId>, SqlError> {
    let sql = format!("SELECT DISTINCT tenant, kind, stream FROM parked {ONE}");
    connection.query(&sql, &build.key_params(), |row| {
        Ok(StreamId { tenant: row.get(0)?, kind: row.get(1)?, key: row.get(2)? })
    })
}

/// The events that a projection does without.
pub(crate) fn dropped(connection: &Connection, projection: &str) -> Result<Vec<Dropped>, SqlError> {
    let projection = projection.to_owned();
    let sql = format!("SELECT {} FROM dropped WHERE projection = ?1 ORDER BY position", Dropped::TABLE.column_list());
    connection.query(&sql, args![projection], Dropped::read)
}

/// Drops every parked event of a stream for good, in all builds of the projection that have it parked.
/// Answers how many events that were.
pub(crate) fn drop_stream(
    connection: &Connection,
    projection: &str,
    stream: StreamId,
    reason: &str,
    by: &str,
) -> Result<u64, SqlError> {
    let (projection, kind, now) = (projection.to_owned(), stream.kind, now());
    let (reason, by) = (reason.to_owned(), by.to_owned());
    let of_stream = "projection = ?1 AND tenant = ?2 AND kind = ?3 AND stream = ?4";
    let dropped = connection.execute(
        &format!(
            "INSERT INTO dropped (projection, position, tenant, kind, stream, event, error, reason, dropped_by, dropped_at)
             SELECT projection, position, tenant, kind, stream, min(event), min(error), ?5, ?6, ?7
             FROM parked WHERE {of_stream} GROUP BY projection, position, tenant, kind, stream
             ON CONFLICT DO NOTHING"
        ),
        args![projection, stream.tenant, kind, stream.key, reason, by, now],
    )?;
    connection.execute(
        &format!("DELETE FROM parked WHERE {of_stream}"),
        args![projection, stream.tenant, kind, stream.key],
    )?;
    connection.execute(
        "UPDATE catalogue SET
           parked = (SELECT count(*) FROM parked p WHERE p.projection = catalogue.projection
                     AND p.version = catalogue.version AND p.build = catalogue.build),
           incomplete_since = (SELECT min(position) FROM parked p WHERE p.projection = catalogue.projection
                     AND p.version = catalogue.version AND p.build = catalogue.build)
         WHERE projection = ?1",
        args![projection],
    )?;
    revise(connection)?;
    Ok(dropped)
}
