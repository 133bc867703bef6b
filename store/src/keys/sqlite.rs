//! Keys in a folder of their own, which only its owner may read.
//!
//! The file is made with the first key. Several processes may use it at once. Deleted keys are
//! overwritten, and there is no write-ahead log in which they would stand on.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    CompanyId, DinerId, TenantId,
    personal::{KEY_LEN, LookupKey, OutsideId, Person, PersonKey},
};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::{Assigned, Held, KeyError, KeyStore, key, random};

/// "Tfky": whose SQLite database it is.
const APPLICATION_ID: u32 = 0x5466_6b79;
const FORMAT: u32 = 1;
const TABLES: &str = include_str!("../../../migrations/sqlite/0001_keys.sql");
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(5);

/// The keys in one folder.
#[derive(Clone)]
pub struct SqliteKeys {
    file: Arc<PathBuf>,
    /// Opened on first use.
    connection: Arc<Mutex<Option<Connection>>>,
}

impl SqliteKeys {
    /// Touches nothing yet: the folder is made with the first key.
    pub fn new(folder: &Path) -> SqliteKeys {
        SqliteKeys { file: Arc::new(folder.join("keys.sqlite")), connection: Arc::default() }
    }

    /// Runs `work` in a transaction, on a thread that may wait. With `makes` the file is made if it
    /// is missing.
    async fn run<T: Send + 'static>(
        &self,
        makes: bool,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, KeyError> {
        let keys = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut held = keys.connection.lock().unwrap_or_else(PoisonError::into_inner);
            if !keys.file.exists() {
                // Somebody took it away: what an open connection still sees is nobody's.
                *held = None;
            }
            let connection = match &mut *held {
                Some(connection) => connection,
                nothing => nothing.insert(keys.open(makes)?),
            };
            let behavior = if makes { TransactionBehavior::Immediate } else { TransactionBehavior::Deferred };
            let transaction = connection.transaction_with_behavior(behavior).map_err(|error| keys.failure(&error))?;
            match work(&transaction) {
                Ok(done) => transaction.commit().map(|()| done).map_err(|error| keys.failure(&error)),
                Err(Problem::Sql(error)) => Err(keys.failure(&error)),
                Err(Problem::Key(error)) => Err(error),
            }
        });
        done.await.map_err(|_| KeyError::Unavailable("reading the keys broke off".to_owned()))?
    }

    fn open(&self, makes: bool) -> Result<Connection, KeyError> {
        let named = |error: io::Error| KeyError::Unusable(format!("{}: {error}", self.file.display()));
        if !self.file.exists() {
            if !makes {
                return Err(KeyError::Missing(format!(
                    "there is no key store at {}: personal data stays sealed; --keys (TIFFIN_KEYS) says where the \
                     keys are",
                    self.file.display()
                )));
            }
            self.create().map_err(named)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&*self.file, flags).map_err(|error| self.failure(&error))?;
        self.prepare(&mut connection).map_err(|problem| match problem {
            Problem::Sql(error) => self.failure(&error),
            Problem::Key(error) => error,
        })?;
        Ok(connection)
    }

    /// An empty file for its owner alone, in a folder for its owner alone.
    fn create(&self) -> io::Result<()> {
        let Some(folder) = self.file.parent() else { return Err(io::ErrorKind::NotFound.into()) };
        if !folder.is_dir() {
            let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::create_dir_all(above)?;
            match DirBuilder::new().mode(0o700).create(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            File::open(above)?.sync_all()?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(&*self.file)?;
        File::open(folder)?.sync_all()
    }

    fn prepare(&self, connection: &mut Connection) -> Result<(), Problem> {
        connection.busy_timeout(BUSY)?;
        // EXTRA syncs the folder after a journal is deleted too.
        connection.execute_batch(
            "PRAGMA secure_delete = ON; PRAGMA journal_mode = DELETE; PRAGMA synchronous = EXTRA;
             PRAGMA temp_store = MEMORY;",
        )?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let number = |pragma: &str| transaction.query_row(pragma, [], |row| row.get::<_, u32>(0));
        let (format, whose) = (number("PRAGMA user_version")?, number("PRAGMA application_id")?);
        let tables: u32 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        let unusable = |why: &str| Problem::Key(KeyError::Unusable(format!("{} {why}", self.file.display())));
        match (tables, whose, format) {
            (0, _, _) => {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                transaction.pragma_update(None, "user_version", FORMAT)?;
            }
            (_, APPLICATION_ID, FORMAT) => {}
            (_, APPLICATION_ID, _) => return Err(unusable("was written by a newer tiffin: use that one")),
            _ => return Err(unusable("is no key store of tiffin")),
        }
        Ok(transaction.commit()?)
    }

    fn failure(&self, error: &rusqlite::Error) -> KeyError {
        let file = self.file.display();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                KeyError::Unusable(format!("{file} is damaged ({error}). Restore it from its own backup"))
            }
            _ => KeyError::Unavailable(format!("{file}: {error}")),
        }
    }
}

/// What may go wrong within a transaction.
enum Problem {
    Sql(rusqlite::Error),
    Key(KeyError),
}

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Problem::Sql(error)
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        Problem::Key(error)
    }
}

/// None: nothing is there. Some(None): erased.
fn key_of(transaction: &Transaction<'_>, person: Person) -> Result<Option<Option<[u8; KEY_LEN]>>, Problem> {
    let mut query = transaction.prepare_cached("SELECT key FROM people WHERE tenant = ?1 AND diner = ?2")?;
    let who = params![person.tenant.0.as_bytes(), person.diner.0.as_bytes()];
    let found: Option<Option<Vec<u8>>> = query.query_row(who, |row| row.get(0)).optional()?;
    Ok(found.map(|bytes| bytes.map(|bytes| key(&bytes)).transpose()).transpose()?)
}

fn lookup_key(transaction: &Transaction<'_>, tenant: TenantId) -> Result<Option<LookupKey>, Problem> {
    let query = "SELECT key FROM tenants WHERE tenant = ?1";
    let found: Option<Vec<u8>> = transaction.query_row(query, [tenant.0.as_bytes()], |row| row.get(0)).optional()?;
    Ok(found.map(|bytes| key(&bytes)).transpose()?.map(|bytes| LookupKey::new(&bytes)))
}

fn named(transaction: &Transaction<'_>, tenant: TenantId, id: OutsideId) -> Result<Option<DinerId>, Problem> {
    let mut query = transaction.prepare_cached("SELECT diner FROM outside_ids WHERE tenant = ?1 AND hash = ?2")?;
    let found: Option<[u8; 16]> = query.query_row(params![tenant.0.as_bytes(), id.0], |row| row.get(0)).optional()?;
    Ok(found.map(|diner| DinerId(Uuid::from_bytes(diner))))
}

fn assign(
    transaction: &Transaction<'_>,
    person: Person,
    company: CompanyId,
    id: Option<OutsideId>,
) -> Result<Assigned, Problem> {
    if key_of(transaction, person)? == Some(None) {
        return Ok(Assigned::Erased);
    }
    let (tenant, diner, company) = (person.tenant.0.as_bytes(), person.diner.0.as_bytes(), company.0.as_bytes());
    if let Some(id) = id
        && let Some(other) = named(transaction, person.tenant, id)?.filter(|other| *other != person.diner)
    {
        return Ok(Assigned::Taken(other));
    }
    let delete = "DELETE FROM outside_ids WHERE tenant = ?1 AND diner = ?2 AND company = ?3";
    transaction.prepare_cached(delete)?.execute(params![tenant, diner, company])?;
    if let Some(id) = id {
        let insert = "INSERT INTO outside_ids (tenant, hash, company, diner) VALUES (?1, ?2, ?3, ?4)
                      ON CONFLICT (tenant, hash) DO UPDATE SET company = excluded.company";
        transaction.prepare_cached(insert)?.execute(params![tenant, id.0, company, diner])?;
    }
    Ok(Assigned::Done)
}

#[async_trait::async_trait]
impl KeyStore for SqliteKeys {
    async fn make(&self, people: &[Person]) -> Result<Vec<Option<PersonKey>>, KeyError> {
        let people = people.to_vec();
        self.run(true, move |transaction| {
            let mut made = Vec::with_capacity(people.len());
            for person in people {
                let bytes = match key_of(transaction, person)? {
                    Some(known) => known,
                    None => {
                        let bytes = random()?;
                        let insert = "INSERT INTO people (tenant, diner, key) VALUES (?1, ?2, ?3)";
                        let row = params![person.tenant.0.as_bytes(), person.diner.0.as_bytes(), bytes];
                        transaction.prepare_cached(insert)?.execute(row)?;
                        Some(bytes)
                    }
                };
                made.push(bytes.map(|bytes| PersonKey::new(&bytes)));
            }
            Ok(made)
        })
        .await
    }

    async fn find(&self, people: &[Person]) -> Result<Vec<Held>, KeyError> {
        let people = people.to_vec();
        self.run(false, move |transaction| {
            let held = people.into_iter().map(|person| {
                Ok(match key_of(transaction, person)? {
                    Some(Some(bytes)) => Held::Key(PersonKey::new(&bytes)),
                    Some(None) => Held::Erased,
                    None => Held::Nothing,
                })
            });
            held.collect()
        })
        .await
    }

    async fn lookup_key(&self, tenant: TenantId) -> Result<LookupKey, KeyError> {
        self.run(true, move |transaction| {
            if let Some(known) = lookup_key(transaction, tenant)? {
                return Ok(known);
            }
            let bytes = random()?;
            let insert = "INSERT INTO tenants (tenant, key) VALUES (?1, ?2)";
            transaction.execute(insert, params![tenant.0.as_bytes(), bytes])?;
            Ok(LookupKey::new(&bytes))
        })
        .await
    }

    async fn known_lookup_key(&self, tenant: TenantId) -> Result<Option<LookupKey>, KeyError> {
        self.run(false, move |transaction| lookup_key(transaction, tenant)).await
    }

    async fn assign(
        &self,
        tenant: TenantId,
        company: CompanyId,
        ids: &[(DinerId, Option<OutsideId>)],
    ) -> Result<Vec<Assigned>, KeyError> {
        let ids = ids.to_vec();
        self.run(true, move |transaction| {
            let of = |diner| Person { tenant, diner };
            ids.into_iter().map(|(diner, id)| assign(transaction, of(diner), company, id)).collect()
        })
        .await
    }

    async fn whom(&self, tenant: TenantId, ids: &[OutsideId]) -> Result<Vec<Option<DinerId>>, KeyError> {
        let ids = ids.to_vec();
        self.run(false, move |transaction| ids.into_iter().map(|id| named(transaction, tenant, id)).collect()).await
    }

    async fn erase(&self, people: &[Person]) -> Result<usize, KeyError> {
        let people = people.to_vec();
        self.run(true, move |transaction| {
            let mut erased = 0;
            for person in people {
                let (tenant, diner) = (person.tenant.0.as_bytes(), person.diner.0.as_bytes());
                erased += usize::from(key_of(transaction, person)?.flatten().is_some());
                let bury = "INSERT INTO people (tenant, diner, key) VALUES (?1, ?2, NULL)
                            ON CONFLICT (tenant, diner) DO UPDATE SET key = NULL";
                transaction.prepare_cached(bury)?.execute(params![tenant, diner])?;
                let forget = "DELETE FROM outside_ids WHERE tenant = ?1 AND diner = ?2";
                transaction.prepare_cached(forget)?.execute(params![tenant, diner])?;
            }
            Ok(erased)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{super::contract, *};

    #[tokio::test]
    async fn keeps_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("data.keys");
        contract::keeps_it(async || Arc::new(SqliteKeys::new(&place)) as Arc<dyn KeyStore>).await;
    }

    #[tokio::test]
    async fn only_the_owner_reads_it_and_a_deleted_key_is_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("deep").join("data.keys");
        let keys = SqliteKeys::new(&place);
        let person = contract::person(1);
        assert!(matches!(keys.find(&[person]).await, Err(KeyError::Missing(_))));
        assert!(!place.exists(), "reading makes nothing");
        let made = keys.make(&[person]).await.unwrap().remove(0).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = place.join("keys.sqlite");
        assert_eq!((mode(&place), mode(&file)), (0o700, 0o600));
        let contains = || fs::read(&file).unwrap().windows(KEY_LEN).any(|bytes| bytes == made.reveal());
        assert!(contains());
        keys.erase(&[person]).await.unwrap();
        assert!(!contains());
        let left: Vec<_> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["keys.sqlite"]);
    }

    #[tokio::test]
    async fn what_is_no_key_store_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.sqlite");
        fs::write(&file, "Not a database, whatever it is called; long enough to have a header.".repeat(20)).unwrap();
        let damaged = SqliteKeys::new(folder.path()).make(&[contract::person(1)]).await;
        assert!(matches!(damaged, Err(KeyError::Unusable(_))), "{damaged:?}");
        fs::remove_file(&file).unwrap();
        Connection::open(&file).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
        let foreign = SqliteKeys::new(folder.path()).make(&[contract::person(1)]).await;
        assert!(matches!(foreign, Err(KeyError::Unusable(_))), "{foreign:?}");
    }
}
