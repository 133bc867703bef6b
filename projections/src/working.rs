//! One table's rows in memory: those in use, and those that are being written meanwhile.

use std::{
    any::Any,
    cell::{Cell, OnceCell},
    sync::Arc,
};

use hashbrown::hash_table;
use rustc_hash::FxHashMap;

use crate::{
    Row,
    db::{SqlError, TableChanges},
    entries::{Appended, Entries, Entry, Known, Touched, hash},
    frozen::Frozen,
    lookups::Lookups,
};

/// Where rows that are not in memory come from: the tables of one build.
pub(crate) struct Source {
    lookups: Lookups,
    suffix: String,
    /// Rows that were looked up since rows were last forgotten.
    looked_up: Cell<usize>,
}

impl Source {
    pub(crate) fn new(lookups: Lookups, suffix: String) -> Source {
        Source { lookups, suffix, looked_up: Cell::new(0) }
    }

    /// Whether each look costs a round trip.
    pub(crate) fn is_remote(&self) -> bool {
        self.lookups.lock().is_postgres()
    }

    pub(crate) fn looked_up(&self) -> &Cell<usize> {
        &self.looked_up
    }

    fn load<T: Row>(&self, sql: &OnceCell<String>, keys: &[T::Key]) -> Result<Vec<T>, SqlError> {
        let connection = self.lookups.lock();
        let sql = sql.get_or_init(|| connection.load_sql(&T::TABLE, &self.suffix));
        self.looked_up.set(self.looked_up.get() + keys.len());
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let mut one = Vec::with_capacity(T::TABLE.keys);
            T::key_values(key, &mut one)?;
            values.push(one);
        }
        let mut found = Vec::new();
        connection.load(sql, &T::TABLE, &values, &mut |row| {
            found.push(T::read(row)?);
            Ok(())
        })?;
        Ok(found)
    }
}

pub(crate) struct Working<T: Row> {
    entries: Entries<T>,
    touched: Touched,
    /// Rows that are written once and never looked up.
    appended: Appended<T>,
    /// Looked at for what is not among the entries.
    frozen: Option<Arc<Frozen<T>>>,
    /// While a batch is only tried: what it would change, and what it misses.
    tried: FxHashMap<T::Key, Entry<T>>,
    only_tried: Touched,
    missed: Vec<T::Key>,
    /// How a row is looked up.
    sql: OnceCell<String>,
}

impl<T: Row> Default for Working<T> {
    fn default() -> Self {
        Working {
            entries: Entries::default(),
            touched: Touched::default(),
            appended: Appended::default(),
            frozen: None,
            tried: FxHashMap::default(),
            only_tried: Touched::default(),
            missed: Vec::new(),
            sql: OnceCell::new(),
        }
    }
}

impl<T: Row> Working<T> {
    /// The entry of a key, from `source` if it is not in memory; what that fails with goes to `failure`.
    pub(crate) fn entry(
        &mut self,
        key: &T::Key,
        source: Option<&Source>,
        trying: bool,
        failure: &mut Option<SqlError>,
    ) -> (&mut Entry<T>, &mut Touched) {
        let Working { entries, touched, frozen, tried, only_tried, missed, sql, .. } = self;
        let hash = hash(key);
        if trying {
            let entry = tried.entry(key.clone()).or_insert_with(|| {
                let known = entries.get(hash, key).cloned().or_else(|| thaw(frozen, hash, key));
                let known = known.unwrap_or_else(|| {
                    missed.push(key.clone());
                    Entry::absent(key.clone())
                });
                Entry { dirty: false, ..known }
            });
            return (entry, only_tried);
        }
        let entry = match entries.slot(hash, key) {
            hash_table::Entry::Occupied(known) => known.into_mut(),
            hash_table::Entry::Vacant(vacant) => {
                let known = thaw(frozen, hash, key);
                vacant.insert(known.unwrap_or_else(|| load(source, sql, key, failure))).into_mut()
            }
        };
        (entry, touched)
    }

    /// The row of a key, if it is in memory.
    pub(crate) fn peek(&self, key: &T::Key) -> Option<&T> {
        let hash = hash(key);
        let frozen = || self.frozen.as_ref()?.entries.get(hash, key);
        self.entries.get(hash, key).or_else(frozen)?.row()
    }

    pub(crate) fn create(&mut self, row: T, trying: bool) {
        let key = row.key();
        let Working { entries, touched, frozen, tried, .. } = self;
        let hash = hash(&key);
        if trying {
            tried.entry(key).or_insert_with_key(|key| Entry::absent(key.clone())).set(row);
            return;
        }
        let entry = match entries.slot(hash, &key) {
            hash_table::Entry::Occupied(known) => known.into_mut(),
            hash_table::Entry::Vacant(vacant) => {
                let entry = thaw(frozen, hash, &key).unwrap_or_else(|| Entry::absent(key));
                vacant.insert(entry).into_mut()
            }
        };
        touched.note(entry);
        entry.set(row);
    }

    pub(crate) fn append(&mut self, row: T) {
        self.appended.push(row);
    }

    pub(crate) fn remove(&mut self, key: &T::Key) {
        if let hash_table::Entry::Occupied(known) = self.entries.slot(hash(key), key) {
            known.remove();
        }
    }

    pub(crate) fn all(&self) -> Vec<T> {
        let Working { entries, appended, frozen, .. } = self;
        let frozen = frozen.as_deref();
        let frozen_rows = frozen.into_iter().flat_map(|frozen| {
            let older = frozen.entries.0.iter().filter_map(Entry::row);
            let older = older.filter(|row| entries.get(hash(&row.key()), &row.key()).is_none());
            older.chain(frozen.appended.iter())
        });
        let kept = entries.0.iter().filter_map(Entry::row);
        let mut rows: Vec<T> = kept.chain(appended.iter()).chain(frozen_rows).cloned().collect();
        rows.sort_by(Row::cmp_key);
        rows
    }
}

/// The entry of a key that is not in memory.
fn load<T: Row>(
    source: Option<&Source>,
    sql: &OnceCell<String>,
    key: &T::Key,
    failure: &mut Option<SqlError>,
) -> Entry<T> {
    let found = source.map_or(Ok(Vec::new()), |source| source.load::<T>(sql, std::slice::from_ref(key)));
    let found = found.unwrap_or_else(|error| {
        failure.get_or_insert(error);
        Vec::new()
    });
    found.into_iter().next().map_or_else(|| Entry::absent(key.clone()), Entry::stored)
}

/// A copy of what is being written, as it will stand in the table.
fn thaw<T: Row>(frozen: &Option<Arc<Frozen<T>>>, hash: u64, key: &T::Key) -> Option<Entry<T>> {
    let entry = frozen.as_ref()?.entries.get(hash, key)?;
    Some(Entry { known: entry.known.clone(), stored: entry.row().is_some(), dirty: false })
}

/// A table's working set, whatever its rows are.
pub(crate) trait Table: Any + Send {
    fn take_changes(&mut self, complete: bool) -> Option<Box<dyn TableChanges>>;
    fn keep_written(&mut self, complete: bool);
    fn forget_written(&mut self);
    /// Fetches what a batch that was tried has missed, and forgets the trial.
    fn fetch(&mut self, source: Option<&Source>) -> Result<usize, SqlError>;
    fn weight(&self) -> Weight;
}

/// About how many bytes rows in memory take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weight {
    /// Of rows that may be looked up.
    pub(crate) entries: usize,
    /// Of rows that only wait to be written.
    pub(crate) appended: usize,
    /// Of rows that are being written and may be looked up meanwhile.
    pub(crate) frozen: usize,
}

impl<T: Row> Table for Working<T> {
    fn take_changes(&mut self, complete: bool) -> Option<Box<dyn TableChanges>> {
        let Working { entries, touched, appended, frozen, .. } = self;
        if touched.0.is_empty() && appended.is_empty() {
            return None;
        }
        let (entries, mut touched) = (std::mem::take(entries), std::mem::take(&mut touched.0));
        touched.sort_unstable();
        touched.dedup();
        let taken = Arc::new(Frozen { entries, touched, appended: std::mem::take(appended), complete });
        *frozen = Some(Arc::clone(&taken));
        Some(Box::new(taken))
    }

    fn keep_written(&mut self, complete: bool) {
        let Some(frozen) = self.frozen.take().and_then(Arc::into_inner) else { return };
        let Frozen { entries: mut kept, touched, .. } = frozen;
        for hash in touched {
            // Elsewhere what has gone stays noted, so that it is not looked up again.
            while let Ok(mut slot) = kept.0.find_entry(hash, |entry| entry.dirty && entry.hash() == hash) {
                let entry = slot.get_mut();
                (entry.stored, entry.dirty) = (entry.row().is_some(), false);
                if complete && !entry.stored {
                    slot.remove();
                }
            }
        }
        for entry in self.entries.0.drain() {
            let key = match &entry.known {
                Known::Row(row) => row.key(),
                Known::None(key) => key.clone(),
            };
            kept.put(&key, entry);
        }
        self.entries = kept;
    }

    fn forget_written(&mut self) {
        self.frozen = None;
    }

    fn fetch(&mut self, source: Option<&Source>) -> Result<usize, SqlError> {
        let Working { entries, tried, only_tried, missed, sql, .. } = self;
        tried.clear();
        only_tried.0.clear();
        let Some(source) = source else { return Ok(0) };
        if missed.is_empty() {
            return Ok(0);
        }
        for row in source.load::<T>(sql, missed)? {
            entries.put(&row.key(), Entry::stored(row));
        }
        let fetched = missed.len();
        for key in missed.drain(..) {
            if let hash_table::Entry::Vacant(vacant) = entries.slot(hash(&key), &key) {
                vacant.insert(Entry::absent(key));
            }
        }
        Ok(fetched)
    }

    fn weight(&self) -> Weight {
        Weight {
            entries: self.entries.weight() + self.touched.0.capacity() * size_of::<u64>(),
            appended: self.appended.weight(),
            frozen: self.frozen.as_ref().map_or(0, |frozen| frozen.entries.weight()),
        }
    }
}
