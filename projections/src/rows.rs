//! Rows: what a projection keeps, and the working set in which a batch of events is folded.

use std::{
    any::{Any, TypeId},
    collections::hash_map::Entry as Slot,
    fmt::Debug,
    hash::Hash,
    rc::Rc,
};

use rusqlite::{CachedStatement, Connection, Statement};
use rustc_hash::FxHashMap;

/// Rows of one table that stay in memory after a batch. Beyond it the table starts afresh.
const KEPT_ROWS: usize = 20_000;

/// A row of a view's table. [`row!`](crate::row) writes the implementation.
pub trait Row: Clone + PartialEq + Debug + 'static {
    /// Its key, tenant first.
    type Key: Clone + Eq + Ord + Hash + Debug;
    const TABLE: TableSpec;

    fn key(&self) -> Self::Key;
    /// Binds every column, in the order of [`TableSpec::columns`], from parameter 1 on.
    fn bind(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()>;
    fn bind_key(key: &Self::Key, statement: &mut Statement<'_>) -> rusqlite::Result<()>;
    /// Reads every column, in the order of [`TableSpec::columns`], from column 0 on.
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self>;
}

/// A table as its row struct declares it.
#[derive(Clone, Copy, Debug)]
pub struct TableSpec {
    /// Its name without version and build.
    pub name: &'static str,
    /// Name and SQL type. The first [`Self::keys`] of them are the key.
    pub columns: &'static [(&'static str, &'static str)],
    pub keys: usize,
    /// Name, and what follows `ON table`.
    pub indexes: &'static [(&'static str, &'static str)],
}

impl TableSpec {
    /// The columns' names, separated by commas.
    pub fn column_list(&self) -> String {
        join(self.columns, ", ", |(name, _)| (*name).to_owned())
    }

    pub(crate) fn key_list(&self) -> String {
        join(&self.columns[..self.keys], ", ", |(name, _)| (*name).to_owned())
    }

    fn key_condition(&self) -> String {
        let names = self.columns[..self.keys].iter().enumerate();
        names.map(|(index, (name, _))| format!("{name} = ?{}", index + 1)).collect::<Vec<_>>().join(" AND ")
    }

    /// The statements that make the table under the name `{name}{suffix}`, and its indexes.
    pub(crate) fn create(&self, suffix: &str) -> String {
        let (name, keys) = (self.name, self.key_list());
        let columns = join(self.columns, ", ", |(name, sql)| format!("{name} {sql}"));
        let mut sql = format!("CREATE TABLE {name}{suffix} ({columns}, PRIMARY KEY ({keys})) STRICT, WITHOUT ROWID;");
        for (index, on) in self.indexes {
            sql += &format!("CREATE INDEX {name}{suffix}_{index} ON {name}{suffix} {on};");
        }
        sql
    }

    fn upsert(&self, suffix: &str) -> String {
        let values = (1..=self.columns.len()).map(|index| format!("?{index}")).collect::<Vec<_>>().join(", ");
        let rest = &self.columns[self.keys..];
        let update = match rest {
            [] => "NOTHING".to_owned(),
            rest => format!("UPDATE SET {}", join(rest, ", ", |(name, _)| format!("{name} = excluded.{name}"))),
        };
        let (name, columns, keys) = (self.name, self.column_list(), self.key_list());
        format!("INSERT INTO {name}{suffix} ({columns}) VALUES ({values}) ON CONFLICT ({keys}) DO {update}")
    }
}

fn join<T>(items: &[T], between: &str, show: impl Fn(&T) -> String) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(between)
}

/// Declares a row: a struct, its table, its key and its indexes.
///
/// ```text
/// row! {
///     /// An order that the kitchen has to cook.
///     pub struct Ticket in "kitchen_board" {
///         key { tenant: TenantId, order_id: OrderId }
///         serving: ServingId,
///     }
///     index "serving" on "(tenant, serving)";
/// }
/// ```
#[macro_export]
macro_rules! row {
    (
        $(#[$doc:meta])*
        $vis:vis struct $name:ident in $table:literal {
            key { $($(#[$key_doc:meta])* $key:ident: $key_type:ty),+ $(,)? }
            $($(#[$field_doc:meta])* $field:ident: $field_type:ty),* $(,)?
        }
        $(index $index:literal on $on:literal;)*
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $($(#[$key_doc])* $vis $key: $key_type,)+
            $($(#[$field_doc])* $vis $field: $field_type,)*
        }

        impl $crate::Row for $name {
            type Key = ($($key_type,)+);
            const TABLE: $crate::TableSpec = $crate::TableSpec {
                name: $table,
                columns: &[
                    $((stringify!($key), <$key_type as $crate::Column>::SQL),)+
                    $((stringify!($field), <$field_type as $crate::Column>::SQL),)*
                ],
                keys: [$(stringify!($key)),+].len(),
                indexes: &[$(($index, $on)),*],
            };

            fn key(&self) -> Self::Key {
                ($(self.$key.clone(),)+)
            }

            fn bind(&self, statement: &mut $crate::Statement<'_>) -> $crate::SqlResult<()> {
                let mut parameter = 0;
                $(parameter += 1; statement.raw_bind_parameter(parameter, $crate::Arg(&self.$key))?;)+
                $(parameter += 1; statement.raw_bind_parameter(parameter, $crate::Arg(&self.$field))?;)*
                let _ = parameter;
                Ok(())
            }

            fn bind_key(($($key,)+): &Self::Key, statement: &mut $crate::Statement<'_>) -> $crate::SqlResult<()> {
                let mut parameter = 0;
                $(parameter += 1; statement.raw_bind_parameter(parameter, $crate::Arg($key))?;)+
                let _ = parameter;
                Ok(())
            }

            fn read(row: &$crate::SqlRow<'_>) -> $crate::SqlResult<Self> {
                let mut column = 0;
                let mut next = || { column += 1; column - 1 };
                Ok($name {
                    $($key: $crate::column_of(row, next())?,)+
                    $($field: $crate::column_of(row, next())?,)*
                })
            }
        }
    };
}

/// The column with this index of a result row.
pub fn column_of<C: crate::Column>(row: &rusqlite::Row<'_>, index: usize) -> rusqlite::Result<C> {
    let value = row.get_ref(index)?;
    C::from_column(value)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, value.data_type(), error.to_string().into()))
}

/// Where rows that are not in memory come from: the tables of one build.
struct Source {
    connection: Rc<Connection>,
    suffix: String,
}

/// Whether a row stands in the table.
#[derive(Clone, Copy, PartialEq)]
enum Stored {
    Yes,
    No,
}

struct Entry<T> {
    row: Option<T>,
    stored: Stored,
    dirty: bool,
}

struct Working<T: Row> {
    entries: FxHashMap<T::Key, Entry<T>>,
    /// Keys whose entry is dirty.
    touched: Vec<T::Key>,
    /// Rows that are written once and never looked up.
    appended: Vec<T>,
    load: Option<String>,
}

/// The rows of one projection that are in memory: those that the events of a batch touch, and, up
/// to a bound, those of earlier batches. A row is read once and written once a batch, however
/// often it changes.
#[derive(Default)]
pub struct Rows {
    tables: Vec<(TypeId, Box<dyn Table>)>,
    source: Option<Source>,
    failure: Option<rusqlite::Error>,
}

impl Rows {
    /// Rows with nothing beneath them, for tests: what was not put is not there.
    pub fn empty() -> Self {
        Self::default()
    }

    pub(crate) fn over(connection: Rc<Connection>, suffix: String) -> Self {
        Rows { source: Some(Source { connection, suffix }), ..Self::default() }
    }

    pub fn get<T: Row>(&mut self, key: &T::Key) -> Option<&T> {
        self.entry::<T>(key).0.row.as_ref()
    }

    /// The row, to be changed: it counts as changed in any case.
    pub fn get_mut<T: Row>(&mut self, key: &T::Key) -> Option<&mut T> {
        let (entry, touched) = self.entry::<T>(key);
        if entry.row.is_some() {
            touch(entry, touched, key);
        }
        entry.row.as_mut()
    }

    /// The row, made from `new` when it is not there yet, to be changed.
    pub fn get_or_insert_with<T: Row>(&mut self, key: &T::Key, new: impl FnOnce() -> T) -> &mut T {
        let (entry, touched) = self.entry::<T>(key);
        touch(entry, touched, key);
        entry.row.get_or_insert_with(new)
    }

    pub fn put<T: Row>(&mut self, row: T) {
        let key = row.key();
        let (entry, touched) = self.entry::<T>(&key);
        touch(entry, touched, &key);
        entry.row = Some(row);
    }

    /// Puts a row that cannot stand in the table yet, so that nothing has to be read: the row of a
    /// stream's first event, say.
    pub fn create<T: Row>(&mut self, row: T) {
        let key = row.key();
        let Working { entries, touched, .. } = working::<T>(&mut self.tables);
        let entry = entries.entry(key.clone()).or_insert(Entry { row: None, stored: Stored::No, dirty: false });
        touch(entry, touched, &key);
        entry.row = Some(row);
    }

    /// Puts a row that cannot stand in the table yet and is never changed.
    pub fn append<T: Row>(&mut self, row: T) {
        working::<T>(&mut self.tables).appended.push(row);
    }

    pub fn delete<T: Row>(&mut self, key: &T::Key) -> Option<T> {
        let (entry, touched) = self.entry::<T>(key);
        let row = entry.row.take();
        if row.is_some() {
            touch(entry, touched, key);
        }
        row
    }

    /// Every row of a table that is in memory, by key: for tests.
    pub fn all<T: Row>(&mut self) -> Vec<T> {
        let Working { entries, appended, .. } = working::<T>(&mut self.tables);
        let kept = entries.values().filter_map(|entry| entry.row.as_ref());
        let mut rows: Vec<T> = kept.chain(appended.iter()).cloned().collect();
        rows.sort_by_key(Row::key);
        rows
    }

    /// Writes what changed, and keeps it for the next batch. Answers how many rows were written.
    pub(crate) fn flush(&mut self) -> rusqlite::Result<usize> {
        let Some(source) = &self.source else { return Ok(0) };
        self.tables.iter_mut().map(|(_, table)| table.flush(source)).sum()
    }

    /// Forgets everything in memory, changed or not.
    pub(crate) fn clear(&mut self) {
        self.tables.clear();
        self.failure = None;
    }

    /// The error of a row that could not be read. What was folded since is worth nothing.
    pub(crate) fn take_failure(&mut self) -> Option<rusqlite::Error> {
        self.failure.take()
    }

    fn entry<T: Row>(&mut self, key: &T::Key) -> (&mut Entry<T>, &mut Vec<T::Key>) {
        let Rows { tables, source, failure } = self;
        let Working { entries, touched, load, .. } = working::<T>(tables);
        let entry = match entries.entry(key.clone()) {
            Slot::Occupied(known) => known.into_mut(),
            Slot::Vacant(vacant) => {
                let row = match source {
                    Some(source) => source.load::<T>(key, load).unwrap_or_else(|error| {
                        failure.get_or_insert(error);
                        None
                    }),
                    None => None,
                };
                let stored = if row.is_some() { Stored::Yes } else { Stored::No };
                vacant.insert(Entry { row, stored, dirty: false })
            }
        };
        (entry, touched)
    }
}

fn touch<T: Row>(entry: &mut Entry<T>, touched: &mut Vec<T::Key>, key: &T::Key) {
    if !entry.dirty {
        entry.dirty = true;
        touched.push(key.clone());
    }
}

impl Source {
    fn load<T: Row>(&self, key: &T::Key, sql: &mut Option<String>) -> rusqlite::Result<Option<T>> {
        let sql = sql.get_or_insert_with(|| {
            let spec = T::TABLE;
            let (columns, condition) = (spec.column_list(), spec.key_condition());
            format!("SELECT {columns} FROM {}{} WHERE {condition}", spec.name, self.suffix)
        });
        let mut statement = self.connection.prepare_cached(sql)?;
        T::bind_key(key, &mut statement)?;
        let mut found = statement.raw_query();
        match found.next()? {
            Some(row) => T::read(row).map(Some),
            None => Ok(None),
        }
    }

    fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.connection.prepare_cached(sql)
    }
}

/// A table's working set, whatever its rows are.
trait Table: Any {
    fn flush(&mut self, source: &Source) -> rusqlite::Result<usize>;
}

impl<T: Row> Table for Working<T> {
    fn flush(&mut self, source: &Source) -> rusqlite::Result<usize> {
        let Working { entries, touched, appended, .. } = self;
        if touched.is_empty() && appended.is_empty() {
            return Ok(0);
        }
        let spec = T::TABLE;
        let mut upsert = source.prepare(&spec.upsert(&source.suffix))?;
        let mut written = 0;
        for row in appended.iter() {
            row.bind(&mut upsert)?;
            written += upsert.raw_execute()?;
        }
        // In the order of the keys, neighbours share pages.
        touched.sort_unstable();
        let delete = format!("DELETE FROM {}{} WHERE {}", spec.name, source.suffix, spec.key_condition());
        for key in touched.iter() {
            let Slot::Occupied(mut slot) = entries.entry(key.clone()) else { continue };
            let entry = slot.get_mut();
            match (&entry.row, entry.stored) {
                (Some(row), _) => {
                    row.bind(&mut upsert)?;
                    written += upsert.raw_execute()?;
                    entry.stored = Stored::Yes;
                    entry.dirty = false;
                }
                (None, Stored::Yes) => {
                    let mut delete = source.prepare(&delete)?;
                    T::bind_key(key, &mut delete)?;
                    written += delete.raw_execute()?;
                    slot.remove();
                }
                (None, Stored::No) => {
                    slot.remove();
                }
            }
        }
        appended.clear();
        touched.clear();
        if entries.len() > KEPT_ROWS {
            entries.clear();
        }
        Ok(written)
    }
}

fn working<T: Row>(tables: &mut Vec<(TypeId, Box<dyn Table>)>) -> &mut Working<T> {
    let id = TypeId::of::<Working<T>>();
    let index = tables.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
        let fresh: Working<T> =
            Working { entries: FxHashMap::default(), touched: Vec::new(), appended: Vec::new(), load: None };
        tables.push((id, Box::new(fresh)));
        tables.len() - 1
    });
    let table: &mut dyn Any = &mut *tables[index].1;
    #[expect(clippy::expect_used, reason = "the table was found, or made, by this very type's id")]
    table.downcast_mut().expect("a table under its own type's id")
}
