//! Against a real server.

mod bounds;
mod tables;
mod values;

use testing::Postgres;
use tokio::runtime::Runtime;

use super::super::{Access, Connection, Database, EachRow, PostgresPool, SortedChanges, TableChanges};
use crate::{Json, Misfit, Param, Row, SqlError, TableSpec, Value, row};

/// A database of a test's own.
struct Place {
    url: String,
    runtime: Runtime,
}

impl Place {
    fn new() -> Place {
        Place { url: Postgres::shared().database(), runtime: Runtime::new().unwrap() }
    }

    fn open(&self, access: Access) -> Database {
        let _entered = self.runtime.enter();
        Database::Postgres(Box::new(PostgresPool::open(&self.url, access).unwrap()))
    }

    fn writer(&self) -> Connection {
        self.open(Access::Write).connect().unwrap()
    }

    /// What a person with `psql` gets.
    fn psql(&self, sql: &str) -> String {
        Postgres::shared().psql(&self.url, sql)
    }
}

row! {
    /// A thing of every kind, with an [`Option`] of each.
    struct Thing in "things" {
        key { tenant: uuid::Uuid, number: i64 }
        /// What it's called; 'quoted'.
        name: String,
        ready: bool,
        made_at: domain::Timestamp,
        day: jiff::civil::Date,
        tags: Json<Vec<String>>,
        other: Option<uuid::Uuid>,
        amount: Option<i64>,
        note: Option<String>,
        sold: Option<bool>,
        sold_at: Option<domain::Timestamp>,
        sold_on: Option<jiff::civil::Date>,
        extra: Option<Json<Vec<u64>>>,
    }
    index "name" on "(tenant, name)";
}

impl Thing {
    fn new(number: i64) -> Thing {
        Thing {
            tenant: uuid::Uuid::from_u128(7),
            number,
            name: format!("Thing {number}"),
            ready: number % 2 == 0,
            made_at: domain::Timestamp::from_micros(1_795_000_000_000_000 + number),
            day: jiff::civil::date(2026, 11, 23),
            tags: Json(vec!["a".into(), "b".into()]),
            other: None,
            amount: None,
            note: None,
            sold: None,
            sold_at: None,
            sold_on: None,
            extra: None,
        }
    }
}

/// What a batch changes in the table of `T`.
struct Changes<T: Row> {
    inserts: Vec<T>,
    puts: Vec<T>,
    deletes: Vec<T::Key>,
}

impl<T: Row> Default for Changes<T> {
    fn default() -> Self {
        Changes { inserts: Vec::new(), puts: Vec::new(), deletes: Vec::new() }
    }
}

fn each_of<T: Row>(rows: &[T], each: &mut EachRow<'_>) -> Result<(), SqlError> {
    for row in rows {
        let mut values = Vec::new();
        row.values(&mut values)?;
        each(&values)?;
    }
    Ok(())
}

impl<T: Row> TableChanges for Changes<T> {
    fn table(&self) -> &'static TableSpec {
        const { &T::TABLE }
    }

    fn sorted(&self) -> Box<dyn SortedChanges + '_> {
        Box::new(self)
    }
}

impl<T: Row> SortedChanges for &Changes<T> {
    fn counts(&self) -> (usize, usize, usize) {
        (self.inserts.len(), self.puts.len(), self.deletes.len())
    }

    fn inserts(&self, each: &mut EachRow<'_>) -> Result<(), SqlError> {
        each_of(&self.inserts, each)
    }

    fn puts(&self, each: &mut EachRow<'_>) -> Result<(), SqlError> {
        each_of(&self.puts, each)
    }

    fn deletes(&self, each: &mut EachRow<'_>) -> Result<(), SqlError> {
        for key in &self.deletes {
            let mut values = Vec::new();
            T::key_values(key, &mut values)?;
            each(&values)?;
        }
        Ok(())
    }
}

/// Every row of a table that was made with the suffix `_1`, by key.
fn all<T: Row>(connection: &Connection) -> Vec<T> {
    let (columns, keys, name) = (T::TABLE.column_list(), T::TABLE.key_list(), T::TABLE.name);
    connection.query(&format!("SELECT {columns} FROM {name}_1 ORDER BY {keys}"), &[], T::read).unwrap()
}

/// The one value that a query without parameters gives.
fn one<C: crate::Column>(connection: &Connection, sql: &str) -> Result<C, SqlError> {
    asked(connection, sql, &[])
}

fn asked<C: crate::Column>(connection: &Connection, sql: &str, params: &[Param<'_>]) -> Result<C, SqlError> {
    let mut found = connection.query(sql, params, |row| row.get(0))?;
    assert_eq!(found.len(), 1, "{sql}");
    Ok(found.remove(0))
}

/// The code by which Postgres names an error.
fn code(error: &SqlError) -> String {
    match error {
        SqlError::Postgres(sqlx::Error::Database(error)) => error.code().unwrap_or_default().into_owned(),
        other => panic!("{other:?} is not the server's answer"),
    }
}

fn misfit(error: SqlError) -> String {
    match error {
        SqlError::Misfit(Misfit(why)) => why,
        other => panic!("{other:?} is no misfit"),
    }
}

fn owned<'a>(values: &[Value<'a>]) -> Vec<Value<'static>> {
    values.iter().cloned().map(Value::into_owned).collect()
}
