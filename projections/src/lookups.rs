//! Looking up rows that are not in memory, for whichever thread folds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    SqlError,
    db::{Connection, Mode},
};

/// A connection for one look at a time.
#[derive(Clone)]
pub(crate) struct Lookups(Arc<Mutex<Connection>>);

impl Lookups {
    pub(crate) fn new(connection: Connection) -> Lookups {
        Lookups(Arc::new(Mutex::new(connection)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `work` see the tables as they are now. Rows of a file are looked up one by one: within one
    /// transaction that costs no locks.
    pub(crate) fn as_of_now<T>(&self, work: impl FnOnce() -> T) -> Result<T, SqlError> {
        if self.lock().is_postgres() {
            return Ok(work());
        }
        self.lock().begin(Mode::Read)?.keep();
        let done = work();
        self.lock().run("COMMIT")?;
        Ok(done)
    }
}
