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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    row! {
        struct Shelf in "shelves" {
            key { room: u32, number: u32 }
            books: u64,
            label: Option<String>,
        }
        index "books" on "(books)";
    }

    fn shelf(number: u32, books: u64) -> Shelf {
        Shelf { room: 1, number, books, label: books.is_multiple_of(2).then(|| format!("{books}")) }
    }

    fn table() -> Rc<Connection> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&Shelf::TABLE.create("__v1_b1")).unwrap();
        Rc::new(connection)
    }

    fn rows(connection: &Rc<Connection>) -> Rows {
        Rows::over(connection.clone(), "__v1_b1".into())
    }

    fn stored(connection: &Connection) -> Vec<Shelf> {
        let mut statement = connection.prepare("SELECT * FROM shelves__v1_b1 ORDER BY room, number").unwrap();
        statement.query_map([], Shelf::read).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_row_that_changes_often_is_written_once() {
        let connection = table();
        let mut rows = rows(&connection);
        for _ in 0..1_000 {
            rows.get_or_insert_with(&(1, 1), || shelf(1, 0)).books += 1;
        }
        assert_eq!(rows.flush().unwrap(), 1);
        assert_eq!(stored(&connection)[0].books, 1_000);
        assert_eq!(rows.flush().unwrap(), 0);
        // The next batch does not read it again.
        connection.execute("DELETE FROM shelves__v1_b1", []).unwrap();
        assert_eq!(rows.get::<Shelf>(&(1, 1)).unwrap().books, 1_000);
    }

    #[test]
    fn what_comes_and_goes_within_a_batch_is_never_written() {
        let connection = table();
        let mut rows = rows(&connection);
        rows.put(shelf(1, 1));
        rows.create(shelf(2, 2));
        assert_eq!(rows.delete::<Shelf>(&(1, 1)), Some(shelf(1, 1)));
        rows.delete::<Shelf>(&(1, 2));
        assert_eq!(rows.delete::<Shelf>(&(1, 3)), None);
        assert_eq!(rows.flush().unwrap(), 0);
        rows.put(shelf(1, 1));
        assert_eq!(rows.flush().unwrap(), 1);
        rows.delete::<Shelf>(&(1, 1));
        assert_eq!((rows.flush().unwrap(), stored(&connection)), (1, vec![]));
    }

    #[test]
    fn a_row_that_cannot_be_read_is_an_error_and_not_a_missing_row() {
        let connection = table();
        connection.execute("INSERT INTO shelves__v1_b1 VALUES (1, 1, -5, NULL)", []).unwrap();
        let mut rows = rows(&connection);
        assert_eq!(rows.get::<Shelf>(&(1, 1)), None);
        assert!(rows.take_failure().unwrap().to_string().contains("-5"));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u32, u64),
        Bump(u32),
        BumpOrMake(u32),
        Delete(u32),
        Flush,
        Forget,
    }

    fn step() -> impl Strategy<Value = Step> {
        let number = 0..6_u32;
        prop_oneof![
            (number.clone(), 0..9_u64).prop_map(|(number, books)| Step::Put(number, books)),
            number.clone().prop_map(Step::Bump),
            number.clone().prop_map(Step::BumpOrMake),
            number.prop_map(Step::Delete),
            Just(Step::Flush),
            Just(Step::Forget),
        ]
    }

    proptest! {
        #[test]
        fn rows_are_a_map_whatever_is_flushed_or_forgotten_between(steps in prop::collection::vec(step(), 0..60)) {
            let connection = table();
            let mut rows = rows(&connection);
            let mut model: BTreeMap<u32, Shelf> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(number, books) => {
                        rows.put(shelf(number, books));
                        model.insert(number, shelf(number, books));
                    }
                    Step::Bump(number) => {
                        let ours = rows.get_mut::<Shelf>(&(1, number)).map(|shelf| { shelf.books += 1; shelf.books });
                        let theirs = model.get_mut(&number).map(|shelf| { shelf.books += 1; shelf.books });
                        prop_assert_eq!(ours, theirs);
                    }
                    Step::BumpOrMake(number) => {
                        rows.get_or_insert_with(&(1, number), || shelf(number, 0)).books += 1;
                        model.entry(number).or_insert_with(|| shelf(number, 0)).books += 1;
                    }
                    Step::Delete(number) => {
                        prop_assert_eq!(rows.delete::<Shelf>(&(1, number)), model.remove(&number));
                    }
                    Step::Flush => {
                        rows.flush().unwrap();
                        prop_assert_eq!(stored(&connection), model.values().cloned().collect::<Vec<_>>());
                    }
                    Step::Forget => {
                        rows.flush().unwrap();
                        rows.clear();
                    }
                }
            }
            rows.flush().unwrap();
            prop_assert_eq!(stored(&connection), model.into_values().collect::<Vec<_>>());
        }
    }
}
