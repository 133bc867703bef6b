//! One connection, used by one thread at a time.

use std::{
    cell::{Cell, RefCell},
    io,
    sync::Arc,
    time::Duration,
};

use futures::TryStreamExt;
use sqlx::{
    Arguments, AssertSqlSafe, Executor, PgConnection,
    postgres::{PgArguments, PgDatabaseError, PgSeverity},
};
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, time::timeout};

use super::{
    super::{EachRow, Mode, SqlRow, TableChanges},
    binary::{Encoded, put, sql_type},
    bulk::{Arrays, Copy},
    pool::Resting,
};
use crate::{Misfit, Param, SqlError, TableSpec, Value};

/// How long a statement may run.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the server may be silent: longer than it lets a statement run.
const SILENCE: Duration = Duration::from_secs(310);

/// New rows from which on they are copied. A copy costs less a row, but takes three messages: of a client that
/// leaves Nagle's algorithm on, as sqlx 0.9.0 does, the last of them waits up to 40 ms for the second's
/// acknowledgement.
const COPIED: usize = 5_000;
/// Rows that are read before they are looked at.
const ROWS_AT_ONCE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    InTransaction,
    /// In a transaction that can only be rolled back.
    Failed,
    /// It is not known what the server thinks, or the server is gone.
    Broken,
}

pub(crate) struct PostgresConnection {
    runtime: Handle,
    /// None only when it is being dropped.
    raw: RefCell<Option<PgConnection>>,
    state: Cell<State>,
    resting: Arc<Resting>,
    _place: OwnedSemaphorePermit,
}

impl Drop for PostgresConnection {
    fn drop(&mut self) {
        // The server rolls back what an open transaction did as soon as it sees the connection closed.
        match (self.state.get(), self.raw.get_mut().take()) {
            (State::Idle, Some(raw)) => self.resting.keep(raw),
            (State::Broken, _) => self.resting.close(),
            _ => {}
        }
    }
}

impl PostgresConnection {
    pub(super) fn new(
        runtime: Handle,
        raw: PgConnection,
        resting: Arc<Resting>,
        place: OwnedSemaphorePermit,
    ) -> PostgresConnection {
        let (raw, state) = (RefCell::new(Some(raw)), Cell::new(State::Idle));
        PostgresConnection { runtime, raw, state, resting, _place: place }
    }

    pub(in crate::db) fn begin(&self, mode: Mode) -> Result<(), SqlError> {
        let begin = match mode {
            Mode::Read => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
                 SET LOCAL idle_in_transaction_session_timeout = '30s';
                 SET LOCAL statement_timeout = '120s'"
            }
            // What a batch changes is found by key. A table that grows quickly has no statistics yet, and a
            // plan made while it was small reads all of it.
            Mode::Write => {
                "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;
                 SET LOCAL plan_cache_mode = force_custom_plan;
                 SET LOCAL enable_seqscan = off;
                 SET LOCAL enable_hashjoin = off;
                 SET LOCAL enable_mergejoin = off"
            }
        };
        let begun = self.send(begin.to_owned());
        self.state.set(if begun.is_ok() { State::InTransaction } else { State::Broken });
        begun
    }

    pub(in crate::db) fn run(&self, sql: &str) -> Result<(), SqlError> {
        match sql {
            "COMMIT" => self.commit(),
            "ROLLBACK" => {
                let rolled_back = self.send(sql.to_owned());
                self.state.set(if rolled_back.is_ok() { State::Idle } else { State::Broken });
                rolled_back
            }
            sql if locks_out_readers(sql) => {
                // Whoever comes later waits behind this lock's wait, so that must be short. When the statement
                // fails, the setting goes back with it.
                self.send(format!("SET lock_timeout = '200ms'; {}; SET lock_timeout = '5s'", sql.trim_end_matches(';')))
            }
            sql => self.send(sql.to_owned()),
        }
    }

    fn commit(&self) -> Result<(), SqlError> {
        if self.state.get() == State::Failed {
            // Postgres would answer such a commit as if it were none.
            self.run("ROLLBACK")?;
            let why = "a statement of this transaction failed, so it was rolled back instead of committed";
            return Err(sqlx::Error::Protocol(why.into()).into());
        }
        let committed = self.send("COMMIT".to_owned());
        self.state.set(if committed.is_ok() { State::Idle } else { State::Broken });
        committed
    }

    pub(in crate::db) fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, SqlError> {
        let (sql, arguments) = (translate(sql, params)?, arguments(params)?);
        self.execute_with(sql, arguments)
    }

    pub(in crate::db) fn each(
        &self,
        sql: &str,
        params: &[Param<'_>],
        look: &mut dyn FnMut(&SqlRow<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let (sql, arguments) = (translate(sql, params)?, arguments(params)?);
        self.each_with(sql, arguments, look)
    }

    pub(in crate::db) fn load(
        &self,
        sql: &str,
        table: &TableSpec,
        keys: &[Vec<Value<'_>>],
        look: &mut dyn FnMut(&SqlRow<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut arrays = Arrays::of(table.key_columns());
        for key in keys {
            arrays.push(key)?;
            if arrays.are_full() {
                self.each_with(sql.to_owned(), arrays.take()?, look)?;
            }
        }
        if arrays.is_empty() {
            return Ok(());
        }
        self.each_with(sql.to_owned(), arrays.take()?, look)
    }

    pub(in crate::db) fn write(&self, suffix: &str, changes: &dyn TableChanges) -> Result<(), SqlError> {
        let table = changes.table();
        let (name, columns) = (format!("{}{suffix}", table.name), table.column_list());
        let changes = changes.sorted();
        let (inserts, puts, deletes) = changes.counts();
        if deletes > 0 {
            let arrays = Arrays::of(table.key_columns());
            let keys = format!("{} AS k({})", arrays.unnest(), wanted_keys(table));
            let sql = format!("DELETE FROM {name} t USING {keys} WHERE {}", wanted(table));
            self.write_arrays(arrays, &sql, |each| changes.deletes(each))?;
        }
        if inserts >= COPIED {
            let sql = format!("COPY {name} ({columns}) FROM STDIN (FORMAT binary)");
            self.copy(&sql, table, |each| changes.inserts(each))?;
        }
        let arrays = Arrays::of(table.columns);
        let insert = format!("INSERT INTO {name} ({columns}) SELECT * FROM {}", arrays.unnest());
        if (1..COPIED).contains(&inserts) {
            self.write_arrays(Arrays::of(table.columns), &insert, |each| changes.inserts(each))?;
        }
        if puts > 0 {
            self.write_arrays(arrays, &format!("{insert} {}", table.on_conflict()), |each| changes.puts(each))?;
        }
        Ok(())
    }

    fn write_arrays(
        &self,
        mut arrays: Arrays,
        sql: &str,
        rows: impl FnOnce(&mut EachRow<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        rows(&mut |row| {
            arrays.push(row)?;
            if arrays.are_full() {
                self.execute_with(sql.to_owned(), arrays.take()?)?;
            }
            Ok(())
        })?;
        if !arrays.is_empty() {
            self.execute_with(sql.to_owned(), arrays.take()?)?;
        }
        Ok(())
    }

    fn copy(
        &self,
        sql: &str,
        table: &TableSpec,
        rows: impl FnOnce(&mut EachRow<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut copy = Copy::of(table.columns);
        let mut raw = self.borrow()?;
        let raw = raw.as_mut().ok_or_else(gone)?;
        let mut sink = self.wait(raw.copy_in_raw(sql))?;
        let sent = rows(&mut |row| {
            copy.push(row)?;
            if copy.is_full() {
                self.wait(sink.send(copy.bytes.as_slice()))?;
                copy.bytes.clear();
            }
            Ok(())
        });
        match sent {
            Ok(()) => {
                copy.end();
                self.wait(sink.send(copy.bytes.as_slice()))?;
                self.wait(sink.finish())?;
                Ok(())
            }
            Err(error) => {
                if self.state.get() != State::Broken {
                    self.wait(sink.abort("the rows could not be made"))?;
                    self.fail();
                }
                Err(error)
            }
        }
    }

    /// Sends statements as they are.
    fn send(&self, sql: String) -> Result<(), SqlError> {
        let mut raw = self.borrow()?;
        let raw = raw.as_mut().ok_or_else(gone)?;
        self.wait(raw.execute(sqlx::raw_sql(AssertSqlSafe(sql)))).map(|_| ())
    }

    fn execute_with(&self, sql: String, arguments: PgArguments) -> Result<u64, SqlError> {
        let mut raw = self.borrow()?;
        let raw = raw.as_mut().ok_or_else(gone)?;
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments);
        self.wait(raw.execute(query)).map(|done| done.rows_affected())
    }

    fn each_with(
        &self,
        sql: String,
        arguments: PgArguments,
        look: &mut dyn FnMut(&SqlRow<'_>) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        let mut raw = self.borrow()?;
        let raw = raw.as_mut().ok_or_else(gone)?;
        let mut rows = raw.fetch(sqlx::query_with(AssertSqlSafe(sql), arguments));
        let (mut read, mut more) = (Vec::new(), true);
        while more {
            // Whoever looks may ask another connection, which cannot be waited for within a wait.
            more = self.wait(async {
                while read.len() < ROWS_AT_ONCE {
                    match rows.try_next().await? {
                        Some(row) => read.push(row),
                        None => return Ok(false),
                    }
                }
                Ok(true)
            })?;
            for row in read.drain(..) {
                look(&SqlRow::Postgres(&row))?;
            }
        }
        Ok(())
    }

    fn borrow(&self) -> Result<std::cell::RefMut<'_, Option<PgConnection>>, SqlError> {
        if self.state.get() == State::Broken {
            return Err(gone());
        }
        let busy = || sqlx::Error::Protocol("a connection was used again while its rows were being read".into());
        Ok(self.raw.try_borrow_mut().map_err(|_| busy())?)
    }

    /// Waits for the server's answer.
    fn wait<T>(&self, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, SqlError> {
        let answer = self.runtime.block_on(async {
            timeout(SILENCE, answer).await.unwrap_or_else(|_| {
                let why = format!("the server was silent for {} s", SILENCE.as_secs());
                Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why)))
            })
        });
        if let Err(error) = &answer {
            self.note(error);
        }
        Ok(answer?)
    }

    fn note(&self, error: &sqlx::Error) {
        match error {
            sqlx::Error::Database(error) => {
                let severity = error.try_downcast_ref::<PgDatabaseError>().map(PgDatabaseError::severity);
                match severity {
                    None | Some(PgSeverity::Panic | PgSeverity::Fatal) => self.state.set(State::Broken),
                    Some(_) => self.fail(),
                }
            }
            _ => self.state.set(State::Broken),
        }
    }

    /// Whatever fails takes the transaction around it along.
    fn fail(&self) {
        if self.state.get() == State::InTransaction {
            self.state.set(State::Failed);
        }
    }
}

fn gone() -> SqlError {
    let why = "the connection broke earlier; a new one is needed";
    sqlx::Error::Io(io::Error::new(io::ErrorKind::NotConnected, why)).into()
}

/// Whether the statement needs a table for itself.
fn locks_out_readers(sql: &str) -> bool {
    let sql = sql.trim_start();
    ["DROP ", "ALTER ", "TRUNCATE "]
        .iter()
        .any(|word| sql.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
}

/// The statement that [`PostgresConnection::load`] runs for rows of `{table}{suffix}`.
pub(in crate::db) fn load_sql(table: &TableSpec, suffix: &str) -> String {
    format!(
        "SELECT {} FROM {}{suffix} t JOIN {} AS k({}) ON {}",
        table.column_list(),
        table.name,
        Arrays::of(table.key_columns()).unnest(),
        wanted_keys(table),
        wanted(table),
    )
}

/// `k1, k2` for the columns of the key.
fn wanted_keys(table: &TableSpec) -> String {
    (1..=table.keys).map(|at| format!("k{at}")).collect::<Vec<_>>().join(", ")
}

/// `t.tenant = k.k1 AND …` for the columns of the key.
fn wanted(table: &TableSpec) -> String {
    let equal = table.key_columns().iter().zip(1..).map(|(column, at)| format!("t.{} = k.k{at}", column.name));
    equal.collect::<Vec<_>>().join(" AND ")
}

/// The statement with `$1::uuid` for `?1`, except in quotes. The types stand in it so that the same
/// words with other types are another prepared statement.
pub(super) fn translate(sql: &str, params: &[Param<'_>]) -> Result<String, Misfit> {
    let mut translated = String::with_capacity(sql.len() + 8 * params.len());
    let mut quote = None;
    let mut rest = sql.char_indices().peekable();
    while let Some((_, c)) = rest.next() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '?') => {
                let mut number = 0_usize;
                while let Some(digit) = rest.peek().and_then(|(_, c)| c.to_digit(10)) {
                    number = number.saturating_mul(10).saturating_add(digit as usize);
                    rest.next();
                }
                let param = number.checked_sub(1).and_then(|index| params.get(index));
                let param =
                    param.ok_or_else(|| Misfit(format!("there is no parameter ?{number} of {}", params.len())))?;
                translated.push_str(&format!("${number}::{}", sql_type(param.kind).name));
                continue;
            }
            _ => {}
        }
        translated.push(c);
    }
    Ok(translated)
}

fn arguments(params: &[Param<'_>]) -> Result<PgArguments, SqlError> {
    let mut arguments = PgArguments::default();
    let mut bytes = Vec::new();
    for param in params {
        let value = param.value.as_ref().map_err(Clone::clone)?;
        bytes.clear();
        let present = put(param.kind, value, &mut bytes)?;
        let encoded = Encoded { oid: sql_type(param.kind).oid, bytes: present.then_some(&bytes) };
        arguments.add(encoded).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

/// Whether the database holds other tables than views have, or cannot hold views. Not when it cannot
/// be reached, refuses or is busy.
pub(in crate::db) fn is_damage(error: &sqlx::Error) -> bool {
    const CODES: [&str; 9] = [
        "42P01", // No such table,
        "42703", // column,
        "3F000", // schema.
        "42804", // A column of another type,
        "42883", // for which there is no such operator.
        "22021", // Text in another encoding.
        "XX001", // The server found its data damaged,
        "XX002", // or an index.
        "42P10", // No key where there should be one.
    ];
    match error {
        sqlx::Error::Database(error) => error.code().is_some_and(|code| CODES.contains(&code.as_ref())),
        sqlx::Error::ColumnIndexOutOfBounds { .. } => true,
        _ => false,
    }
}
