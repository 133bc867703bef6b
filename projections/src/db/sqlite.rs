//! Views in a SQLite file.

use std::{borrow::Cow, path::PathBuf, time::Duration};

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
const CHECKPOINT_PAGES: u32 = 2_000;

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
        connection.busy_timeout(Duration::from_secs(5))?;
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
