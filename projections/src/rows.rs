//! The working set in which a batch of events is folded into rows.

use std::{
    any::{Any, TypeId},
    collections::hash_map::Entry as Slot,
    rc::Rc,
};

use rustc_hash::FxHashMap;

use crate::{
    Kind, Row, TableSpec, Value,
    db::{Connection, EachRow, SqlError, TableChanges},
};

/// What a row in memory is taken to cost besides its own fixed size, in bytes: its place in the hash
/// table, its texts, and what is nested in each of its JSON columns.
const OVERHEAD: usize = 48;
const NESTED: usize = 256;

/// Where rows that are not in memory come from: the tables of one build.
struct Source {
    connection: Rc<Connection>,
    suffix: String,
}

struct Entry<T> {
    row: Option<T>,
    /// Whether it stands in the table.
    stored: bool,
    dirty: bool,
}

impl<T> Entry<T> {
    fn absent() -> Self {
        Entry { row: None, stored: false, dirty: false }
    }
}

struct Working<T: Row> {
    entries: FxHashMap<T::Key, Entry<T>>,
    /// Keys whose entry is dirty, or was and has gone again.
    touched: Vec<T::Key>,
    /// Rows that are written once and never looked up.
    appended: Vec<T>,
    /// While a batch is only tried: what it would change, and what it misses.
    tried: FxHashMap<T::Key, Entry<T>>,
    missed: Vec<T::Key>,
}

impl<T: Row> Default for Working<T> {
    fn default() -> Self {
        Working {
            entries: FxHashMap::default(),
            touched: Vec::new(),
            appended: Vec::new(),
            tried: FxHashMap::default(),
            missed: Vec::new(),
        }
    }
}

/// The rows of one projection that are in memory: those that the events of a batch touch, and those
/// of earlier batches until [`Rows::clear`]. A row is read once and written once a batch, however
/// often it changes.
#[derive(Default)]
pub struct Rows {
    tables: Vec<(TypeId, Box<dyn Table>)>,
    source: Option<Source>,
    /// Every row of the build is in memory, so what is not there is nowhere.
    complete: bool,
    /// Nothing that is changed now counts: see [`Rows::try_out`].
    trying: bool,
    failure: Option<SqlError>,
}

impl Rows {
    /// Rows with nothing beneath them: what was not put is not there.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Rows over a build's tables; `fresh` when nothing stands in them yet.
    pub(crate) fn over(connection: Rc<Connection>, suffix: String, fresh: bool) -> Self {
        Rows { source: Some(Source { connection, suffix }), complete: fresh, ..Self::default() }
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
        let (key, trying) = (row.key(), self.trying);
        let Working { entries, touched, tried, .. } = working::<T>(&mut self.tables);
        let entries = if trying { tried } else { entries };
        let entry = entries.entry(key.clone()).or_insert(Entry::absent());
        touch(entry, touched, &key);
        entry.row = Some(row);
    }

    /// Puts a row that cannot stand in the table yet and is never changed.
    pub fn append<T: Row>(&mut self, row: T) {
        if !self.trying {
            working::<T>(&mut self.tables).appended.push(row);
        }
    }

    pub fn delete<T: Row>(&mut self, key: &T::Key) -> Option<T> {
        let (entry, touched) = self.entry::<T>(key);
        let row = entry.row.take();
        if row.is_some() {
            touch(entry, touched, key);
        }
        // What came and goes again before it was written leaves nothing behind.
        let gone = entry.row.is_none() && !entry.stored;
        if gone && self.complete && !self.trying {
            working::<T>(&mut self.tables).entries.remove(key);
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

    /// Runs `fold` without counting what it changes, to learn which rows it needs, and fetches those
    /// many at once. Answers how many it fetched: what they say may lead to others.
    pub(crate) fn try_out(&mut self, fold: impl FnOnce(&mut Rows)) -> Result<usize, SqlError> {
        if self.complete {
            return Ok(0);
        }
        self.trying = true;
        fold(self);
        self.trying = false;
        let Rows { tables, source, .. } = self;
        let mut fetched = 0;
        for (_, table) in tables.iter_mut() {
            fetched += table.fetch(source.as_ref())?;
        }
        Ok(fetched)
    }

    /// What changed since it was last taken. The rows stay in memory as they are now.
    pub(crate) fn take_changes(&mut self) -> Vec<Box<dyn TableChanges>> {
        let complete = self.complete;
        self.tables.iter_mut().filter_map(|(_, table)| table.take_changes(complete)).collect()
    }

    /// Forgets everything in memory, changed or not. What was taken must have been written by then.
    pub(crate) fn clear(&mut self) {
        self.tables.clear();
        self.failure = None;
        self.complete = false;
    }

    /// About how many bytes the rows in memory take.
    pub(crate) fn weight(&self) -> usize {
        self.tables.iter().map(|(_, table)| table.weight()).sum()
    }

    /// About how many bytes of them are changed and not yet taken.
    pub(crate) fn changed_weight(&self) -> usize {
        self.tables.iter().map(|(_, table)| table.changed_weight()).sum()
    }

    /// The error of a row that could not be read. What was folded since is worth nothing.
    pub(crate) fn take_failure(&mut self) -> Option<SqlError> {
        self.failure.take()
    }

    fn entry<T: Row>(&mut self, key: &T::Key) -> (&mut Entry<T>, &mut Vec<T::Key>) {
        let Rows { tables, source, complete, trying, failure } = self;
        let Working { entries, touched, tried, missed, .. } = working::<T>(tables);
        if *trying {
            let entry = tried.entry(key.clone()).or_insert_with(|| match entries.get(key) {
                Some(known) => Entry { row: known.row.clone(), ..Entry::absent() },
                None => {
                    missed.push(key.clone());
                    Entry::absent()
                }
            });
            return (entry, touched);
        }
        let entry = match entries.entry(key.clone()) {
            Slot::Occupied(known) => known.into_mut(),
            Slot::Vacant(vacant) => {
                let found = match source {
                    Some(source) if !*complete => source.load::<T>(std::slice::from_ref(key)),
                    _ => Ok(Vec::new()),
                };
                let row = match found {
                    Ok(mut rows) => rows.pop(),
                    Err(error) => {
                        failure.get_or_insert(error);
                        None
                    }
                };
                let stored = row.is_some();
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
    fn load<T: Row>(&self, keys: &[T::Key]) -> Result<Vec<T>, SqlError> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let mut one = Vec::with_capacity(T::TABLE.keys);
            T::key_values(key, &mut one)?;
            values.push(one);
        }
        let mut found = Vec::new();
        self.connection.load(&T::TABLE, &self.suffix, &values, &mut |row| {
            found.push(T::read(row)?);
            Ok(())
        })?;
        Ok(found)
    }
}

/// A table's working set, whatever its rows are.
trait Table: Any {
    fn take_changes(&mut self, complete: bool) -> Option<Box<dyn TableChanges>>;
    /// Fetches what a batch that was tried has missed, and forgets the trial.
    fn fetch(&mut self, source: Option<&Source>) -> Result<usize, SqlError>;
    fn weight(&self) -> usize;
    fn changed_weight(&self) -> usize;
}

impl<T: Row> Table for Working<T> {
    fn take_changes(&mut self, complete: bool) -> Option<Box<dyn TableChanges>> {
        let Working { entries, touched, appended, .. } = self;
        if touched.is_empty() && appended.is_empty() {
            return None;
        }
        // In the order of the keys, neighbours share pages.
        touched.sort_unstable();
        touched.dedup();
        let mut changes = Changes::<T> { inserts: std::mem::take(appended), puts: Vec::new(), deletes: Vec::new() };
        for key in touched.drain(..) {
            let Slot::Occupied(mut slot) = entries.entry(key) else { continue };
            let entry = slot.get_mut();
            entry.dirty = false;
            match (&entry.row, std::mem::replace(&mut entry.stored, entry.row.is_some())) {
                // Only of a fresh build is it known for certain what does not stand in the table.
                (Some(row), false) if complete => changes.inserts.push(row.clone()),
                (Some(row), _) => changes.puts.push(row.clone()),
                (None, true) => changes.deletes.push(slot.key().clone()),
                (None, false) => {}
            }
            // Elsewhere it stays, since the table has the row until the change is written.
            if complete && slot.get().row.is_none() {
                slot.remove();
            }
        }
        Some(Box::new(changes))
    }

    fn fetch(&mut self, source: Option<&Source>) -> Result<usize, SqlError> {
        let Working { entries, touched, tried, missed, .. } = self;
        tried.clear();
        touched.clear();
        let Some(source) = source else { return Ok(0) };
        if missed.is_empty() {
            return Ok(0);
        }
        for row in source.load::<T>(missed)? {
            entries.insert(row.key(), Entry { row: Some(row), stored: true, dirty: false });
        }
        let fetched = missed.len();
        for key in missed.drain(..) {
            entries.entry(key).or_insert(Entry::absent());
        }
        Ok(fetched)
    }

    fn weight(&self) -> usize {
        self.entries.len() * (size_of::<T::Key>() + size_of::<Entry<T>>() + besides::<T>())
    }

    fn changed_weight(&self) -> usize {
        let keys = self.touched.len() * size_of::<T::Key>();
        let changed = self.touched.len().min(self.entries.len());
        keys + (changed + self.appended.len()) * (size_of::<T>() + besides::<T>())
    }
}

/// What a row takes besides its fixed size, in bytes, by its columns.
fn besides<T: Row>() -> usize {
    let nested = T::TABLE.columns.iter().filter(|column| column.of.kind == Kind::Json).count();
    OVERHEAD + nested * NESTED
}

/// What changed in one table.
struct Changes<T: Row> {
    inserts: Vec<T>,
    puts: Vec<T>,
    deletes: Vec<T::Key>,
}

impl<T: Row> TableChanges for Changes<T> {
    fn table(&self) -> &'static TableSpec {
        &const { T::TABLE }
    }

    fn counts(&self) -> (usize, usize, usize) {
        (self.inserts.len(), self.puts.len(), self.deletes.len())
    }

    fn inserts(&self, each: &mut EachRow<'_>) -> Result<(), SqlError> {
        each_row(&self.inserts, each)
    }

    fn puts(&self, each: &mut EachRow<'_>) -> Result<(), SqlError> {
        each_row(&self.puts, each)
    }

    fn deletes(&self, each: &mut EachRow<'_>) -> Result<(), SqlError> {
        self.deletes.iter().try_for_each(|key| {
            let mut values = Vec::with_capacity(T::TABLE.keys);
            T::key_values(key, &mut values)?;
            each(&values)
        })
    }
}

fn each_row<T: Row>(rows: &[T], each: &mut EachRow<'_>) -> Result<(), SqlError> {
    let mut values: Vec<Value<'_>> = Vec::with_capacity(T::TABLE.columns.len());
    for row in rows {
        values.clear();
        row.values(&mut values)?;
        each(&values)?;
    }
    Ok(())
}

fn working<T: Row>(tables: &mut Vec<(TypeId, Box<dyn Table>)>) -> &mut Working<T> {
    let id = TypeId::of::<Working<T>>();
    let index = tables.iter().position(|(known, _)| *known == id).unwrap_or_else(|| {
        tables.push((id, Box::new(Working::<T>::default())));
        tables.len() - 1
    });
    let table: &mut dyn Any = &mut *tables[index].1;
    #[expect(clippy::expect_used, reason = "the table was found, or made, by this very type's id")]
    table.downcast_mut().expect("a table under its own type's id")
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
