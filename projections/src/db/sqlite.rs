//! Views in a SQLite file.

use std::{borrow::Cow, cell::Cell, path::PathBuf, time::Duration};

use rusqlite::{
    Connection, OpenFlags, Statement,
    types::{ToSqlOutput, ValueRef},
};
use uuid::Uuid;

use super::{Access, Mode, SqlError, SqlRow, TableChanges};
use crate::{Kind, Misfit, Param, TableSpec, Value};

/// Prepared statements that one connection keeps.
const STATEMENTS: usize = 256;
/// After how many pages the write-ahead log is moved into the file. What is synced at once keeps the log's own syncs
/// waiting on the same disk: 16,000 pages do so for 60 ms.
const CHECKPOINT_PAGES: u32 = 400;
/// With so many times as many, readers that never pause must wait a moment, so that it begins anew.
const READERS_DELAY: u32 = 4;
/// How long a connection waits for a lock, and for readers to let go of the write-ahead log.
const PATIENCE: Duration = Duration::from_secs(5);
const READERS_PATIENCE: Duration = Duration::from_millis(20);

thread_local! {
    /// Pages in the write-ahead log after this thread's last commit on a connection that rows are written by.
    static WAL_PAGES: Cell<u32> = const { Cell::new(0) };
}

/// The file.
pub(crate) struct SqliteFile {
    pub(crate) path: PathBuf,
    pub(crate) access: Access,
    /// Whether it goes with the process, so that nothing of it has to be safe on a disk.
    pub(crate) temporary: bool,
}

impl SqliteFile {
    pub(super) fn connect(&self) -> Result<Connection, SqlError> {
        let connection = self.connect_raw()?;
        if self.access == Access::Write {
            // What a power cut takes is folded again, so only checkpoints sync, and of temporary
            // views not even those.
            let synchronous = if self.temporary { "OFF" } else { "NORMAL" };
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", synchronous)?;
            connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
        }
        Ok(connection)
    }

    /// A connection that has set nothing yet, so that a foreign file stays as it is.
    pub(crate) fn connect_raw(&self) -> Result<Connection, SqlError> {
        let threads = OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = match self.access {
            Access::Write => Connection::open_with_flags(
                &self.path,
                threads | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            )?,
            Access::Read => Connection::open_with_flags(&self.path, threads | OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            Access::Immutable => Connection::open_with_flags(
                format!("file:{}?immutable=1", self.percent_encoded()),
                threads | OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
            )?,
        };
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    /// Whether the file alone holds everything, with nothing left in its write-ahead log.
    pub(crate) fn nothing_pending(&self) -> bool {
        let wal = self.path.with_extension("sqlite-wal");
        std::fs::metadata(wal).map_or(true, |wal| wal.len() == 0)
    }

    /// The path as part of a URI.
    fn percent_encoded(&self) -> String {
        let mut encoded = String::new();
        for byte in self.path.as_os_str().as_encoded_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                    encoded.push(char::from(*byte));
                }
                other => encoded.push_str(&format!("%{other:02X}")),
            }
        }
        encoded
    }
}

/// Keeps the write-ahead log short on behalf of the one connection that rows are written by.
pub(super) struct Checkpoints {
    /// With how many pages the next one is due, unless the write-ahead log begins anew before.
    at: u32,
}

impl Checkpoints {
    /// Takes them over from SQLite, which would try one with every commit while a reader delays it.
    pub(super) fn of(connection: &Connection) -> Checkpoints {
        connection.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(pages.unsigned_abs());
            Ok(())
        }));
        Checkpoints { at: CHECKPOINT_PAGES }
    }

    /// Moves what the last commits left, if it is much. Answers in which way. One that fails is tried again with the next.
    pub(super) fn keep_up(&mut self, connection: &Connection) -> Option<&'static str> {
        let pages = WAL_PAGES.get();
        if pages < CHECKPOINT_PAGES {
            // It began from its front again.
            self.at = CHECKPOINT_PAGES;
        }
        if pages < self.at {
            return None;
        }
        self.at = pages + CHECKPOINT_PAGES;
        let held = pages >= READERS_DELAY * CHECKPOINT_PAGES;
        let mode = if held { "RESTART" } else { "PASSIVE" };
        let patience = if held { READERS_PATIENCE } else { PATIENCE };
        let moved = connection
            .busy_timeout(patience)
            .and_then(|()| connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())))
            .and_then(|()| connection.busy_timeout(PATIENCE));
        if let Err(error) = moved {
            tracing::warn!(%error, "the views' write-ahead log could not be moved into their file");
        }
        Some(mode)
    }
}

pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        // The catalogue's own tables are missing.
        || matches!(error, rusqlite::Error::SqlInputError { .. })
}

/// Whether a file could not be opened because nothing may be written beside it.
pub(crate) fn cannot_write(error: &SqlError) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly, SystemIoFailure};
    let SqlError::Sqlite(error) = error else { return false };
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly | SystemIoFailure))
}

pub(super) fn begin(connection: &Connection, mode: Mode) -> Result<(), SqlError> {
    Ok(connection.execute_batch(match mode {
        Mode::Read => "BEGIN",
        Mode::Write => "BEGIN IMMEDIATE",
    })?)
}

pub(super) fn value<'a>(row: &'a rusqlite::Row<'_>, index: usize) -> Result<Value<'a>, SqlError> {
    let misfit = |what: &str| SqlError::Misfit(Misfit(format!("column {index} holds {what}")));
    Ok(match row.get_ref(index)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(text) => {
            Value::Text(Cow::Borrowed(std::str::from_utf8(text).map_err(|_| misfit("text that is not UTF-8"))?))
        }
        ValueRef::Blob(bytes) => Value::Uuid(Uuid::from_slice(bytes).map_err(|_| misfit("bytes that are no id"))?),
        ValueRef::Real(_) => return Err(misfit("a fraction")),
    })
}

fn output<'a>(value: &'a Value<'_>) -> ToSqlOutput<'a> {
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Integer(number) => ValueRef::Integer(*number),
        Value::Text(text) => ValueRef::Text(text.as_bytes()),
        Value::Uuid(id) => ValueRef::Blob(id.as_bytes()),
    })
}

fn bind(statement: &mut Statement<'_>, values: &[Value<'_>]) -> Result<(), SqlError> {
    for (value, parameter) in values.iter().zip(1..) {
        statement.raw_bind_parameter(parameter, output(value))?;
    }
    Ok(())
}

fn bind_params(statement: &mut Statement<'_>, params: &[Param<'_>]) -> Result<(), SqlError> {
    for (param, parameter) in params.iter().zip(1..) {
        let value = param.value.as_ref().map_err(Clone::clone)?;
        statement.raw_bind_parameter(parameter, output(value))?;
    }
    Ok(())
}

pub(super) fn execute(connection: &Connection, sql: &str, params: &[Param<'_>]) -> Result<u64, SqlError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind_params(&mut statement, params)?;
    Ok(statement.raw_execute()? as u64)
}

pub(super) fn each(
    connection: &Connection,
    sql: &str,
    params: &[Param<'_>],
    look: &mut dyn FnMut(&SqlRow<'_>) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind_params(&mut statement, params)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        look(&SqlRow::Sqlite(row))?;
    }
    Ok(())
}

pub(super) fn load_sql(table: &TableSpec, suffix: &str) -> String {
    format!("SELECT {} FROM {}{suffix} WHERE {}", table.column_list(), table.name, table.key_condition())
}

pub(super) fn load(
    connection: &Connection,
    sql: &str,
    keys: &[Vec<Value<'_>>],
    look: &mut dyn FnMut(&SqlRow<'_>) -> Result<(), SqlError>,
) -> Result<(), SqlError> {
    let mut statement = connection.prepare_cached(sql)?;
    for key in keys {
        bind(&mut statement, key)?;
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            look(&SqlRow::Sqlite(row))?;
        }
    }
    Ok(())
}

pub(super) fn write(connection: &Connection, suffix: &str, changes: &dyn TableChanges) -> Result<(), SqlError> {
    let table = changes.table();
    let changes = changes.sorted();
    let (inserts, puts, deletes) = changes.counts();
    let name = table.name;
    let values = (1..=table.columns.len()).map(|index| format!("?{index}")).collect::<Vec<_>>().join(", ");
    let insert = format!("INSERT INTO {name}{suffix} ({}) VALUES ({values})", table.column_list());
    let run = |sql: &str, each: &dyn Fn(&mut super::EachRow<'_>) -> Result<(), SqlError>| {
        let mut statement = connection.prepare_cached(sql)?;
        each(&mut |values| {
            bind(&mut statement, values)?;
            statement.raw_execute()?;
            Ok(())
        })
    };
    if deletes > 0 {
        let sql = format!("DELETE FROM {name}{suffix} WHERE {}", table.key_condition());
        run(&sql, &|each| changes.deletes(each))?;
    }
    if inserts > 0 {
        run(&insert, &|each| changes.inserts(each))?;
    }
    if puts > 0 {
        run(&format!("{insert} {}", table.on_conflict()), &|each| changes.puts(each))?;
    }
    Ok(())
}

/// The statement that makes the table under the name `{name}{suffix}`.
pub(super) fn create(table: &TableSpec, suffix: &str) -> String {
    let (name, keys) = (table.name, table.key_list());
    let columns = table.columns.iter().map(|column| {
        let sql = match column.of.kind {
            Kind::Integer | Kind::Boolean | Kind::Time => "INTEGER",
            Kind::Text | Kind::Json | Kind::Date => "TEXT",
            Kind::Uuid => "BLOB",
        };
        format!("{} {sql}{}", column.name, if column.of.nullable { "" } else { " NOT NULL" })
    });
    let columns = columns.collect::<Vec<_>>().join(", ");
    format!("CREATE TABLE {name}{suffix} ({columns}, PRIMARY KEY ({keys})) STRICT, WITHOUT ROWID")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes about `pages` pages, and lets the checkpoints keep up. How, how long that took, and how long the
    /// write-ahead log is then, in bytes.
    fn write(
        file: &SqliteFile,
        connection: &Connection,
        checkpoints: &mut Checkpoints,
        pages: u32,
    ) -> (String, Duration, u64) {
        let sql = "INSERT INTO things (bytes) SELECT zeroblob(3500) FROM generate_series";
        let rows = format!(
            "WITH RECURSIVE generate_series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM generate_series WHERE n < {pages}) {sql}"
        );
        connection.execute_batch(&rows).unwrap();
        let began = std::time::Instant::now();
        let mode = checkpoints.keep_up(connection).unwrap_or("not yet").to_owned();
        let wal = std::fs::metadata(file.path.with_extension("sqlite-wal")).map_or(0, |wal| wal.len());
        (mode, began.elapsed(), wal)
    }

    #[test]
    fn the_write_ahead_log_is_moved_step_by_step_and_readers_delay_that_for_a_moment_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = SqliteFile { path: folder.path().join("views.sqlite"), access: Access::Write, temporary: false };
        let connection = file.connect().unwrap();
        connection.execute_batch("CREATE TABLE things (bytes BLOB)").unwrap();
        let mut checkpoints = Checkpoints::of(&connection);
        let step = CHECKPOINT_PAGES;
        assert_eq!(write(&file, &connection, &mut checkpoints, step / 2).0, "not yet");
        assert_eq!(write(&file, &connection, &mut checkpoints, step).0, "PASSIVE");
        // Nobody reads, so it begins anew.
        let (mode, _, short) = write(&file, &connection, &mut checkpoints, step / 2);
        assert_eq!(mode, "not yet");
        let reader = file.connect().unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM things").unwrap();
        let modes: Vec<_> = (0..12).map(|_| write(&file, &connection, &mut checkpoints, step / 2)).collect();
        let counts = ["not yet", "PASSIVE", "RESTART"].map(|mode| modes.iter().filter(|one| one.0 == mode).count());
        assert!(counts.iter().all(|count| *count >= 2), "one attempt a step, however many commits: {modes:?}");
        assert!(modes.iter().all(|one| one.1 < Duration::from_secs(2)), "{modes:?}");
        reader.execute_batch("COMMIT").unwrap();
        let held = modes.last().map_or(0, |one| one.2);
        for _ in 0..12 {
            let (_, _, wal) = write(&file, &connection, &mut checkpoints, step / 2);
            assert!(wal <= held + u64::from(step) * 4_200, "{wal} bytes after {held}, and {short} at first");
        }
    }
}
