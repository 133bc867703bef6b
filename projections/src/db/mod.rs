//! The databases that views live in, behind one blocking connection.
//!
//! SQL is written once, in what both databases understand, with parameters `?1, ?2, …`. What differs
//! (types, statements that write many rows) is in [`sqlite`] and [`postgres`].

mod postgres;
mod sqlite;

use uuid::Uuid;

use crate::{Column, Misfit, Param, TableSpec, Value};

pub(crate) use postgres::{PostgresConnection, PostgresPool, SESSION};
pub(crate) use sqlite::{SqliteFile, cannot_write};

/// What a database answers instead of rows.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

impl SqlError {
    /// Whether somebody else has what was wanted for longer than it was waited for.
    pub(crate) fn is_locked(&self) -> bool {
        let SqlError::Postgres(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| code == "55P03")
    }

    /// Whether the database itself is not what it should be, so that trying again is no use.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            SqlError::Sqlite(error) => sqlite::is_damage(error),
            SqlError::Postgres(error) => postgres::is_damage(error),
            SqlError::Misfit(_) => false,
        }
    }
}

/// A row of a result.
pub enum SqlRow<'a> {
    #[doc(hidden)]
    Sqlite(&'a rusqlite::Row<'a>),
    #[doc(hidden)]
    Postgres(&'a sqlx::postgres::PgRow),
}

impl SqlRow<'_> {
    /// The column with this index, from 0.
    pub fn get<C: Column>(&self, index: usize) -> Result<C, SqlError> {
        let unfit = |misfit: Misfit| SqlError::Misfit(Misfit(format!("column {index}: {misfit}")));
        self.value(index).and_then(|value| C::from_value(value).map_err(unfit))
    }

    pub(crate) fn value(&self, index: usize) -> Result<Value<'_>, SqlError> {
        match self {
            SqlRow::Sqlite(row) => sqlite::value(row, index),
            SqlRow::Postgres(row) => postgres::value(row, index),
        }
    }
}

/// What a batch changes in one table.
pub(crate) trait TableChanges: Send {
    fn table(&self) -> &'static TableSpec;
    /// In the order of the keys. Rows do not repeat.
    fn sorted(&self) -> Box<dyn SortedChanges + '_>;
}

/// The rows of [`TableChanges`].
pub(crate) trait SortedChanges {
    /// How many rows are inserted, put and deleted.
    fn counts(&self) -> (usize, usize, usize);
    /// Rows that cannot stand in the table yet.
    fn inserts(&self, each: &mut EachRow<'_>) -> Result<(), SqlError>;
    /// Rows that may stand in the table.
    fn puts(&self, each: &mut EachRow<'_>) -> Result<(), SqlError>;
    /// Keys of rows that stand in the table and go.
    fn deletes(&self, each: &mut EachRow<'_>) -> Result<(), SqlError>;
}

pub(crate) type EachRow<'a> = dyn FnMut(&[Value<'_>]) -> Result<(), SqlError> + 'a;

/// How a transaction is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything is read as of one moment.
    Read,
    Write,
}

/// How a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Write,
    Read,
    /// Of a folder in which nothing can be written and nobody writes.
    Immutable,
}

/// Where views live.
pub(crate) enum Database {
    Sqlite(SqliteFile),
    Postgres(Box<PostgresPool>),
}

impl Database {
    pub(crate) fn is_writable(&self) -> bool {
        let access = match self {
            Database::Sqlite(file) => file.access,
            Database::Postgres(pool) => pool.access,
        };
        access == Access::Write
    }

    /// A connection of its own. Blocks.
    pub(crate) fn connect(&self) -> Result<Connection, SqlError> {
        match self {
            Database::Sqlite(file) => file.connect().map(Connection::Sqlite),
            Database::Postgres(pool) => pool.connect().map(Connection::Postgres),
        }
    }

    /// The name of this process among those that share the database; nil where it is alone.
    pub(crate) fn process(&self) -> Uuid {
        match self {
            Database::Sqlite(_) => Uuid::nil(),
            Database::Postgres(pool) => pool.process,
        }
    }

    /// Whether rows are better fetched many at once, since each look costs a round trip.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Database::Postgres(_))
    }
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Database::Sqlite(file) => write!(f, "{}", file.path.display()),
            Database::Postgres(pool) => write!(f, "{}", pool.name),
        }
    }
}

/// A connection to either. Every call blocks: it is never used on an async thread.
pub(crate) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(PostgresConnection),
}

impl Connection {
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Connection::Postgres(_))
    }

    pub(crate) fn begin(&self, mode: Mode) -> Result<Transaction<'_>, SqlError> {
        match self {
            Connection::Sqlite(connection) => sqlite::begin(connection, mode)?,
            Connection::Postgres(connection) => connection.begin(mode)?,
        }
        Ok(Transaction { connection: self, open: true })
    }

    /// Runs one statement. Answers how many rows it changed.
    pub(crate) fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, SqlError> {
        match self {
            Connection::Sqlite(connection) => sqlite::execute(connection, sql, params),
            Connection::Postgres(connection) => connection.execute(sql, params),
        }
    }

    /// Runs statements without parameters, separated by semicolons.
    pub(crate) fn run(&self, sql: &str) -> Result<(), SqlError> {
        match self {
            Connection::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Connection::Postgres(connection) => connection.run(sql),
        }
    }

    /// What keeps the write-ahead log short that rows are written to by this connection.
    pub(crate) fn checkpoints(&self) -> Checkpoints {
        Checkpoints(match self {
            Connection::Sqlite(connection) => Some(sqlite::Checkpoints::of(connection)),
            Connection::Postgres(_) => None,
        })
    }

    pub(crate) fn query<T>(
        &self,
        sql: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&SqlRow<'_>) -> Result<T, SqlError>,
    ) -> Result<Vec<T>, SqlError> {
        let mut found = Vec::new();
        self.each(sql, params, &mut |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Looks at each row of a result, without holding all of them.
    pub(crate) fn each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        look: &mut dyn FnMut(&SqlRow<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        match self {
            Connection::Sqlite(connection) => sqlite::each(connection, sql, params, look),
            Connection::Postgres(connection) => connection.each(sql, params, look),
        }
    }

    /// The statement by which [`Connection::load`] finds rows of `{table}{suffix}`.
    pub(crate) fn load_sql(&self, table: &TableSpec, suffix: &str) -> String {
        match self {
            Connection::Sqlite(_) => sqlite::load_sql(table, suffix),
            Connection::Postgres(_) => postgres::load_sql(table, suffix),
        }
    }

    /// The rows of a table with these keys, as many at once as the database takes.
    pub(crate) fn load(
        &self,
        sql: &str,
        table: &TableSpec,
        keys: &[Vec<Value<'_>>],
        look: &mut dyn FnMut(&SqlRow<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        match self {
            Connection::Sqlite(connection) => sqlite::load(connection, sql, keys, look),
            Connection::Postgres(connection) => connection.load(sql, table, keys, look),
        }
    }

    /// Writes what changed in `{table}{suffix}`.
    pub(crate) fn write(&self, suffix: &str, changes: &dyn TableChanges) -> Result<(), SqlError> {
        match self {
            Connection::Sqlite(connection) => sqlite::write(connection, suffix, changes),
            Connection::Postgres(connection) => connection.write(suffix, changes),
        }
    }

    /// Makes the table `{name}{suffix}`, with its key and no other index.
    pub(crate) fn create(&self, table: &TableSpec, suffix: &str) -> Result<(), SqlError> {
        match self {
            Connection::Sqlite(_) => self.run(&sqlite::create(table, suffix)),
            Connection::Postgres(_) => self.run(&postgres::create(table, suffix)),
        }
    }

    /// Makes the indexes of the table `{name}{suffix}` that are missing, and lets the database look at
    /// what stands in it.
    pub(crate) fn index(&self, table: &TableSpec, suffix: &str) -> Result<(), SqlError> {
        let name = table.name;
        for (index, on) in table.indexes {
            self.run(&format!("CREATE INDEX IF NOT EXISTS {name}{suffix}_{index} ON {name}{suffix} {on}"))?;
        }
        if self.is_postgres() { self.run(&format!("ANALYZE {name}{suffix}")) } else { Ok(()) }
    }
}

/// What was written by one connection on its way into a file. A database on a server sees to that itself.
pub(crate) struct Checkpoints(Option<sqlite::Checkpoints>);

impl Checkpoints {
    /// Moves what the last commits left, if it is much.
    pub(crate) fn keep_up(&mut self, connection: &Connection) {
        if let (Some(checkpoints), Connection::Sqlite(connection)) = (&mut self.0, connection) {
            checkpoints.keep_up(connection);
        }
    }
}

/// A transaction. It is rolled back unless it is committed.
pub(crate) struct Transaction<'a> {
    connection: &'a Connection,
    open: bool,
}

impl Transaction<'_> {
    pub(crate) fn commit(mut self) -> Result<(), SqlError> {
        self.open = false;
        self.connection.run("COMMIT")
    }

    /// Leaves it open for whoever has the connection, who ends it.
    pub(crate) fn keep(mut self) {
        self.open = false;
    }
}

impl std::ops::Deref for Transaction<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.open
            && let Err(error) = self.connection.run("ROLLBACK")
        {
            tracing::warn!(%error, "a transaction could not be rolled back");
        }
    }
}
