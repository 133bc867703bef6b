//! One table's rows while they are being written, by another thread than the one that folds.

use std::sync::Arc;

use crate::{
    Row, TableSpec, Value,
    db::{EachRow, SortedChanges, SqlError, TableChanges},
    entries::{Appended, Entries, Known},
};

/// Rows that are being written: nothing of them changes meanwhile.
pub(crate) struct Frozen<T: Row> {
    pub(crate) entries: Entries<T>,
    pub(crate) touched: Vec<u64>,
    pub(crate) appended: Appended<T>,
    /// Whether nothing else stood in the table.
    pub(crate) complete: bool,
}

impl<T: Row> TableChanges for Arc<Frozen<T>> {
    fn table(&self) -> &'static TableSpec {
        &const { T::TABLE }
    }

    fn sorted(&self) -> Box<dyn SortedChanges + '_> {
        let Frozen { entries, touched, appended, complete } = &**self;
        let mut changes = Changes::<T> { inserts: appended.iter().collect(), puts: Vec::new(), deletes: Vec::new() };
        let dirty = touched
            .iter()
            .flat_map(|hash| entries.0.iter_hash(*hash).filter(|entry| entry.dirty && entry.hash() == *hash));
        for entry in dirty {
            match &entry.known {
                // Only of a fresh build is it known for certain what does not stand in the table.
                Known::Row(row) if *complete && !entry.stored => changes.inserts.push(row),
                Known::Row(row) => changes.puts.push(row),
                Known::None(key) if entry.stored => changes.deletes.push(key),
                Known::None(_) => {}
            }
        }
        // In the order of the keys, neighbours share pages.
        changes.inserts.sort_unstable_by(|one, other| one.cmp_key(other));
        changes.puts.sort_unstable_by(|one, other| one.cmp_key(other));
        changes.deletes.sort_unstable();
        Box::new(changes)
    }
}

/// What changed in one table, in the order of the keys.
struct Changes<'f, T: Row> {
    inserts: Vec<&'f T>,
    puts: Vec<&'f T>,
    deletes: Vec<&'f T::Key>,
}

impl<T: Row> SortedChanges for Changes<'_, T> {
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

fn each_row<T: Row>(rows: &[&T], each: &mut EachRow<'_>) -> Result<(), SqlError> {
    let mut values: Vec<Value<'_>> = Vec::with_capacity(T::TABLE.columns.len());
    for row in rows {
        values.clear();
        row.values(&mut values)?;
        each(&values)?;
    }
    Ok(())
}
