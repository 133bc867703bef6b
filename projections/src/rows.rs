//! The working set in which a batch of events is folded into rows.

use std::any::{Any, TypeId};

use crate::{
    Row,
    db::{SqlError, TableChanges},
    entries::{Entry, Touched},
    lookups::Lookups,
    working::{Source, Table, Weight, Working},
};

/// So many rows that are looked up again halve the worth of forgetting.
const LOOKED_UP: usize = 2_000;

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
        Rows { complete: true, ..Self::default() }
    }

    /// Rows over a build's tables; `fresh` when nothing stands in them yet.
    pub(crate) fn over(lookups: Lookups, suffix: String, fresh: bool) -> Self {
        Rows { source: Some(Source::new(lookups, suffix)), complete: fresh, ..Self::default() }
    }

    pub fn get<T: Row>(&mut self, key: &T::Key) -> Option<&T> {
        if self.complete && !self.trying {
            // Not noted as missing: everything that is not in memory is.
            return working::<T>(&mut self.tables).peek(key);
        }
        self.entry::<T>(key).0.row()
    }

    /// The row, to be changed: it counts as changed in any case.
    pub fn get_mut<T: Row>(&mut self, key: &T::Key) -> Option<&mut T> {
        let (entry, touched) = self.entry::<T>(key);
        if entry.row().is_some() {
            touched.note(entry);
        }
        entry.row_mut()
    }

    /// The row, made from `new` when it is not there yet, to be changed.
    pub fn get_or_insert_with<T: Row>(&mut self, key: &T::Key, new: impl FnOnce() -> T) -> &mut T {
        let (entry, touched) = self.entry::<T>(key);
        touched.note(entry);
        entry.row_or_insert_with(new)
    }

    pub fn put<T: Row>(&mut self, row: T) {
        let (entry, touched) = self.entry::<T>(&row.key());
        touched.note(entry);
        entry.set(row);
    }

    /// Puts a row that cannot stand in the table yet, so that nothing has to be read: the row of a
    /// stream's first event, say.
    pub fn create<T: Row>(&mut self, row: T) {
        let trying = self.trying;
        working::<T>(&mut self.tables).create(row, trying);
    }

    /// Puts a row that cannot stand in the table yet and is never changed.
    pub fn append<T: Row>(&mut self, row: T) {
        if !self.trying {
            working::<T>(&mut self.tables).append(row);
        }
    }

    pub fn delete<T: Row>(&mut self, key: &T::Key) -> Option<T> {
        let (entry, touched) = self.entry::<T>(key);
        let mut row = None;
        if entry.row().is_some() {
            touched.note(entry);
            row = entry.take(key);
        }
        // What came and goes again before it was written leaves nothing behind.
        let gone = !entry.is_stored();
        if gone && self.complete && !self.trying {
            working::<T>(&mut self.tables).remove(key);
        }
        row
    }

    /// Every row of a table that is in memory, by key: for tests.
    pub fn all<T: Row>(&mut self) -> Vec<T> {
        working::<T>(&mut self.tables).all()
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

    /// What changed since it was last taken. The rows stay to be looked up while it is written, and are
    /// copied before they change again, until [`Rows::keep_written`] or [`Rows::forget_written`]; nothing
    /// more is to be taken before one of them.
    pub(crate) fn take_changes(&mut self) -> Vec<Box<dyn TableChanges>> {
        let complete = self.complete;
        self.tables.iter_mut().filter_map(|(_, table)| table.take_changes(complete)).collect()
    }

    /// Says that what was taken is in the tables. The rows stay in memory.
    pub(crate) fn keep_written(&mut self) {
        let complete = self.complete;
        self.tables.iter_mut().for_each(|(_, table)| table.keep_written(complete));
    }

    /// Says that what was taken is in the tables. What has not changed since leaves memory.
    pub(crate) fn forget_written(&mut self) {
        self.tables.iter_mut().for_each(|(_, table)| table.forget_written());
        self.source.iter().for_each(|source| source.looked_up().set(0));
        self.complete = false;
    }

    /// Forgets everything in memory, changed or not. What was taken must have been written by then.
    pub(crate) fn clear(&mut self) {
        self.tables.clear();
        self.failure = None;
        self.complete = false;
    }

    /// About how many bytes the rows in memory take.
    pub(crate) fn weight(&self) -> Weight {
        let mut whole = Weight::default();
        for Weight { entries, appended, frozen } in self.tables.iter().map(|(_, table)| table.weight()) {
            whole.entries += entries;
            whole.appended += appended;
            whole.frozen += frozen;
        }
        whole
    }

    /// About how many bytes would be free if these rows were written, less for those that would have to be
    /// looked up again: as many as since rows were last forgotten.
    pub(crate) fn spare(&self) -> usize {
        let Weight { entries, appended, .. } = self.weight();
        let looked_up = self.source.as_ref().map_or(0, |source| source.looked_up().get());
        appended + entries / (1 + looked_up / LOOKED_UP)
    }

    /// Whether rows that are not in memory are looked up, and better many at once.
    pub(crate) fn looks_up_many(&self) -> bool {
        !self.complete && self.source.as_ref().is_some_and(Source::is_remote)
    }

    /// The error of a row that could not be read. What was folded since is worth nothing.
    pub(crate) fn take_failure(&mut self) -> Option<SqlError> {
        self.failure.take()
    }

    fn entry<T: Row>(&mut self, key: &T::Key) -> (&mut Entry<T>, &mut Touched) {
        let Rows { tables, source, complete, trying, failure } = self;
        let source = source.as_ref().filter(|_| !*complete);
        working::<T>(tables).entry(key, source, *trying, failure)
    }
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
