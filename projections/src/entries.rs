//! Rows in memory: by key those that may be looked up, in order those that only wait to be written.

use std::hash::{BuildHasher, Hash, Hasher};

use hashbrown::{HashTable, hash_table};
use rustc_hash::FxBuildHasher;

use crate::{Kind, Row};

/// What a row in memory is taken to cost besides its own fixed size, in bytes: its texts, and what is
/// nested in each of its JSON columns.
const TEXTS: usize = 16;
const NESTED: usize = 192;

/// Rows in the order in which they came, which never move: as one vector they would be copied as it grows.
pub(crate) struct Appended<T>(Vec<Vec<T>>);

/// Rows of one piece.
const PIECE: usize = 512;

impl<T> Default for Appended<T> {
    fn default() -> Self {
        Appended(Vec::new())
    }
}

impl<T> Appended<T> {
    pub(crate) fn push(&mut self, row: T) {
        match self.0.last_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => piece.push(row),
            None => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(row);
                self.0.push(piece);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn weight(&self) -> usize {
        self.0.len() * PIECE * (size_of::<T>() + TEXTS)
    }
}

/// A row that is known, or known not to be.
#[derive(Clone)]
pub(crate) enum Known<T: Row> {
    Row(T),
    None(T::Key),
}

#[derive(Clone)]
pub(crate) struct Entry<T: Row> {
    pub(crate) known: Known<T>,
    /// Whether it stands in the table, or will once the write that is in flight has ended.
    pub(crate) stored: bool,
    pub(crate) dirty: bool,
}

impl<T: Row> Entry<T> {
    pub(crate) fn absent(key: T::Key) -> Self {
        Entry { known: Known::None(key), stored: false, dirty: false }
    }

    pub(crate) fn stored(row: T) -> Self {
        Entry { known: Known::Row(row), stored: true, dirty: false }
    }

    pub(crate) fn row(&self) -> Option<&T> {
        match &self.known {
            Known::Row(row) => Some(row),
            Known::None(_) => None,
        }
    }

    pub(crate) fn row_mut(&mut self) -> Option<&mut T> {
        match &mut self.known {
            Known::Row(row) => Some(row),
            Known::None(_) => None,
        }
    }

    pub(crate) fn row_or_insert_with(&mut self, new: impl FnOnce() -> T) -> &mut T {
        if let Known::None(_) = self.known {
            self.known = Known::Row(new());
        }
        match &mut self.known {
            Known::Row(row) => row,
            Known::None(_) => unreachable!("it was just set"),
        }
    }

    pub(crate) fn set(&mut self, row: T) {
        self.known = Known::Row(row);
    }

    pub(crate) fn take(&mut self, key: &T::Key) -> Option<T> {
        match std::mem::replace(&mut self.known, Known::None(key.clone())) {
            Known::Row(row) => Some(row),
            Known::None(_) => None,
        }
    }

    pub(crate) fn is_stored(&self) -> bool {
        self.stored
    }

    pub(crate) fn has_key(&self, key: &T::Key) -> bool {
        match &self.known {
            Known::Row(row) => row.has_key(key),
            Known::None(known) => known == key,
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        match &self.known {
            Known::Row(row) => {
                let mut hasher = FxBuildHasher.build_hasher();
                row.hash_key(&mut hasher);
                hasher.finish()
            }
            Known::None(key) => hash(key),
        }
    }
}

/// As [`Row::hash_key`] has it of the row.
pub(crate) fn hash(key: &impl Hash) -> u64 {
    FxBuildHasher.hash_one(key)
}

/// The hashes of entries that are dirty, or were and have gone again.
#[derive(Default)]
pub(crate) struct Touched(pub(crate) Vec<u64>);

impl Touched {
    pub(crate) fn note<T: Row>(&mut self, entry: &mut Entry<T>) {
        if !entry.dirty {
            entry.dirty = true;
            self.0.push(entry.hash());
        }
    }
}

/// Entries by key.
pub(crate) struct Entries<T: Row>(pub(crate) HashTable<Entry<T>>);

impl<T: Row> Default for Entries<T> {
    fn default() -> Self {
        Entries(HashTable::new())
    }
}

impl<T: Row> Entries<T> {
    pub(crate) fn get(&self, hash: u64, key: &T::Key) -> Option<&Entry<T>> {
        self.0.find(hash, |entry| entry.has_key(key))
    }

    pub(crate) fn slot(&mut self, hash: u64, key: &T::Key) -> hash_table::Entry<'_, Entry<T>> {
        self.0.entry(hash, |entry| entry.has_key(key), Entry::hash)
    }

    /// Puts an entry in the place of the one with its key, if there is one.
    pub(crate) fn put(&mut self, key: &T::Key, entry: Entry<T>) {
        match self.slot(hash(key), key) {
            hash_table::Entry::Occupied(mut known) => *known.get_mut() = entry,
            hash_table::Entry::Vacant(vacant) => {
                vacant.insert(entry);
            }
        }
    }

    pub(crate) fn weight(&self) -> usize {
        let nested = T::TABLE.columns.iter().filter(|column| column.of.kind == Kind::Json).count();
        self.0.capacity() * (size_of::<Entry<T>>() + 1) + self.0.len() * (TEXTS + nested * NESTED)
    }
}
