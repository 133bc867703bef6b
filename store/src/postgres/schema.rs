//! The log's tables: whether they are there and ours, and how they come to be.

use domain::StreamKind;
use sqlx::{PgConnection, Row, raw_sql};
use uuid::Uuid;

use super::place::{Place, answer};
use crate::{LogIdentity, StoreError};

/// What has to be applied, in this order. The format is their number.
const MIGRATIONS: &[&str] = &[include_str!("../../../migrations/postgres/0001_log.sql")];
pub(super) const FORMAT: i32 = MIGRATIONS.len() as i32;
/// The view for people.
const EVENT_LOG: &str = include_str!("../../../migrations/postgres/event_log.sql");
/// Held by whoever looks in order to migrate: "tiffin" as a number.
const LOCK: &str = "BEGIN; SELECT pg_advisory_xact_lock(127996038375790)";
const TABLES: &[&str] = &["event_types", "events", "head", "log", "snapshots", "streams"];
/// The oldest Postgres that is still maintained.
const OLDEST_SERVER: u32 = 140_000;

/// Somebody else's tables. Schemas whose names begin with `tiffin_` hold ours.
const FOREIGN_TABLE: &str = r"
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema'
      AND n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT LIKE 'tiffin\_%'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1 LIMIT 1";

/// What a look at the database found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A log of ours, of this format.
    Log(i32),
}

/// Makes the log's tables or brings them up to date, if need be, and says whose log it is. Of several
/// processes that do this at once, one works and the others wait.
pub(super) async fn prepare(place: &Place, conn: &mut PgConnection) -> Result<LogIdentity, StoreError> {
    if look(place, conn).await? != Found::Log(FORMAT) {
        run(place, conn, LOCK).await?;
        // Once more, since another process may have migrated meanwhile.
        let done = match look(place, conn).await? {
            Found::Nothing => 0,
            Found::Log(format) => format,
        };
        for migration in MIGRATIONS.iter().skip(done.unsigned_abs() as usize) {
            run(place, conn, migration).await?;
        }
        if done == 0 {
            let insert = "INSERT INTO tiffin_log.log (id, incarnation, format_version) VALUES ($1, $2, $3)";
            let insert = sqlx::query(insert).bind(Uuid::now_v7()).bind(Uuid::now_v7()).bind(FORMAT);
            answer(insert.execute(&mut *conn)).await.map_err(|error| place.failure(&error))?;
        } else {
            let update = sqlx::query("UPDATE tiffin_log.log SET format_version = $1").bind(FORMAT);
            answer(update.execute(&mut *conn)).await.map_err(|error| place.failure(&error))?;
        }
        // If nobody knows whether it was committed, the next start looks again.
        run(place, conn, "COMMIT").await?;
    }
    if let Err(error) = renew_view(place, conn).await {
        tracing::warn!(%error, "the view tiffin_log.event_log, which is for people, stays as it is");
    }
    identity(place, conn).await
}

/// Puts the view for people in the place of one that lacks the name of a kind of stream.
async fn renew_view(place: &Place, conn: &mut PgConnection) -> Result<(), StoreError> {
    let found = sqlx::query_scalar("SELECT pg_get_viewdef(to_regclass('tiffin_log.event_log'))");
    let found: Option<String> = answer(found.fetch_one(&mut *conn)).await.map_err(|error| place.failure(&error))?;
    let names = |view: &String| StreamKind::ALL.iter().all(|kind| view.contains(&format!("'{}'", kind.name())));
    if found.as_ref().is_some_and(names) {
        return Ok(());
    }
    run(place, conn, LOCK).await?;
    let renewed = run(place, conn, EVENT_LOG).await;
    run(place, conn, if renewed.is_ok() { "COMMIT" } else { "ROLLBACK" }).await?;
    renewed
}

/// Whose log it is, for somebody who changes nothing.
pub(super) async fn inspect(place: &Place, conn: &mut PgConnection) -> Result<LogIdentity, StoreError> {
    match look(place, conn).await? {
        Found::Nothing => Err(place.unusable("there is no log in this database")),
        Found::Log(format) if format < FORMAT => Err(place.unusable(format_args!(
            "the log has format {format}; this program reads {FORMAT}. Start `tiffin serve` on it once: it brings \
             the log up to date"
        ))),
        Found::Log(_) => identity(place, conn).await,
    }
}

/// Looks without changing anything.
async fn look(place: &Place, conn: &mut PgConnection) -> Result<Found, StoreError> {
    let version = conn.server_version_num();
    if let Some(version) = version.filter(|version| *version < OLDEST_SERVER) {
        return Err(place.unusable(format_args!("is Postgres {}; tiffin needs 14 or newer", version / 10_000)));
    }
    let encoding = sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(&mut *conn);
    let encoding: String = answer(encoding).await.map_err(|error| place.failure(&error))?;
    if encoding != "UTF8" {
        return Err(place.unusable(format_args!(
            "the database keeps text as {encoding}, which cannot hold every name of a dish. Make one that can: \
             createdb --template template0 --encoding UTF8 NAME"
        )));
    }
    let tables = sqlx::query_scalar(
        "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = 'tiffin_log' ORDER BY tablename",
    );
    let tables: Vec<String> = answer(tables.fetch_all(&mut *conn)).await.map_err(|error| place.failure(&error))?;
    if tables.is_empty() {
        let foreign = sqlx::query_scalar(FOREIGN_TABLE).fetch_optional(&mut *conn);
        let foreign: Option<String> = answer(foreign).await.map_err(|error| place.failure(&error))?;
        return match foreign {
            None => Ok(Found::Nothing),
            Some(table) => Err(place.unusable(format_args!(
                "this database has tables that are not tiffin's ({table}). Give tiffin one of its own: createdb tiffin"
            ))),
        };
    }
    let damaged = |what: &str| Err(place.unusable(format_args!("the log is damaged: {what}. Restore a backup")));
    if let Some(missing) = TABLES.iter().find(|table| !tables.iter().any(|found| found == *table)) {
        return damaged(&format!("the table tiffin_log.{missing} is missing"));
    }
    let format = sqlx::query_scalar("SELECT format_version FROM tiffin_log.log, tiffin_log.head");
    let format: Option<i32> = answer(format.fetch_optional(&mut *conn)).await.map_err(|error| place.failure(&error))?;
    match format {
        None => damaged("tiffin_log.log or tiffin_log.head has no row"),
        Some(format) if format > FORMAT => Err(place.unusable(format_args!(
            "the log was written by a newer tiffin (format {format}; this one reads format {FORMAT}): use that one"
        ))),
        Some(format) if format < 1 => damaged(&format!("it says that its format is {format}")),
        Some(format) => Ok(Found::Log(format)),
    }
}

pub(super) async fn identity(place: &Place, conn: &mut PgConnection) -> Result<LogIdentity, StoreError> {
    let row = sqlx::query("SELECT id, incarnation FROM tiffin_log.log").fetch_one(&mut *conn);
    let row = answer(row).await.map_err(|error| place.failure(&error))?;
    let read = || Ok(LogIdentity { log: row.try_get(0)?, incarnation: row.try_get(1)? });
    read().map_err(|error: sqlx::Error| place.failure(&error))
}

/// Runs statements that take no values.
async fn run(place: &Place, conn: &mut PgConnection, sql: &'static str) -> Result<(), StoreError> {
    answer(raw_sql(sql).execute(&mut *conn)).await.map_err(|error| place.failure(&error))?;
    Ok(())
}
