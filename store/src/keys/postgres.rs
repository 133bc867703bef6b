//! Keys in a Postgres database, which several nodes share. Best one of its own: what is backed up
//! with the log is not deleted when a key is.

use domain::{
    CompanyId, DinerId, TenantId,
    personal::{KEY_LEN, LookupKey, OutsideId, Person, PersonKey},
};
use sqlx::{Connection, PgConnection, Row, raw_sql};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::{Assigned, Held, KeyError, KeyStore, key, random};
use crate::{
    StoreError,
    postgres::place::{Place, answer, is_lost},
};

const TABLES: &str = include_str!("../../../migrations/postgres/0001_keys.sql");
const FORMAT: i32 = 1;
/// Held by whoever looks in order to make the tables: "tifkey" as a number.
const LOCK: &str = "SELECT pg_advisory_xact_lock(127996037555577)";

/// The keys in one database.
pub struct PostgresKeys {
    place: Place,
    /// Made on first use, and anew when it was lost.
    connection: Mutex<Option<PgConnection>>,
}

/// What may go wrong on the way.
enum Problem {
    Sql(sqlx::Error),
    Key(KeyError),
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        Problem::Sql(error)
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        Problem::Key(error)
    }
}

fn of_store(error: StoreError) -> KeyError {
    match error {
        StoreError::Unusable(why) => KeyError::Unusable(why),
        error => KeyError::Unavailable(error.to_string()),
    }
}

impl PostgresKeys {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`KeyError::Unusable`] for something that is no URL of a Postgres.
    pub fn new(url: &str) -> Result<PostgresKeys, KeyError> {
        let place = Place::new(url, false).map_err(of_store)?;
        Ok(PostgresKeys { place, connection: Mutex::new(None) })
    }

    /// Runs `work` in a transaction.
    async fn run<T>(&self, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Problem>) -> Result<T, KeyError> {
        let mut held = self.connection.lock().await;
        // Taken out, so that a caller who goes away in the middle leaves no half transaction behind.
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let done = async {
            answer(raw_sql("BEGIN").execute(&mut connection)).await?;
            let done = work(&mut connection).await?;
            answer(raw_sql("COMMIT").execute(&mut connection)).await?;
            Ok(done)
        };
        match done.await {
            Ok(done) => {
                *held = Some(connection);
                Ok(done)
            }
            Err(problem) => {
                let lost = matches!(&problem, Problem::Sql(error) if is_lost(error));
                if !lost && answer(raw_sql("ROLLBACK").execute(&mut connection)).await.is_ok() {
                    *held = Some(connection);
                }
                Err(self.failure(problem))
            }
        }
    }

    fn failure(&self, problem: Problem) -> KeyError {
        match problem {
            Problem::Sql(error) => of_store(self.place.failure(&error)),
            Problem::Key(error) => error,
        }
    }

    async fn connect(&self) -> Result<PgConnection, KeyError> {
        let mut connection = self.place.connect().await.map_err(of_store)?;
        self.prepare(&mut connection).await.map_err(|problem| self.failure(problem))?;
        Ok(connection)
    }

    async fn prepare(&self, connection: &mut PgConnection) -> Result<(), Problem> {
        let mut transaction = answer(connection.begin()).await?;
        answer(raw_sql(LOCK).execute(&mut *transaction)).await?;
        let there = sqlx::query_scalar("SELECT to_regclass('tiffin_keys.format') IS NOT NULL");
        if answer(there.fetch_one(&mut *transaction)).await? {
            let format: i32 =
                answer(sqlx::query_scalar("SELECT version FROM tiffin_keys.format").fetch_one(&mut *transaction))
                    .await?;
            if format > FORMAT {
                let newer = format!("{}: the keys were written by a newer tiffin: use that one", self.place);
                return Err(KeyError::Unusable(newer).into());
            }
        } else {
            answer(raw_sql(TABLES).execute(&mut *transaction)).await?;
        }
        Ok(answer(transaction.commit()).await?)
    }
}

/// None: nothing is there. Some(None): erased.
type Found = Option<Option<[u8; KEY_LEN]>>;

/// What there is for these people, in their order.
async fn keys_of(connection: &mut PgConnection, people: &[Person]) -> Result<Vec<Found>, Problem> {
    let tenants: Vec<Uuid> = people.iter().map(|person| person.tenant.0).collect();
    let diners: Vec<Uuid> = people.iter().map(|person| person.diner.0).collect();
    let query = "SELECT p.diner IS NOT NULL, p.key
                 FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS a (tenant, diner, place)
                 LEFT JOIN tiffin_keys.people p ON p.tenant = a.tenant AND p.diner = a.diner ORDER BY a.place";
    let rows = answer(sqlx::query(query).bind(tenants).bind(diners).fetch_all(connection)).await?;
    let read = rows.iter().map(|row| {
        let bytes: Option<Vec<u8>> = row.try_get(1)?;
        let known = bytes.map(|bytes| key(&bytes)).transpose()?;
        Ok(row.try_get::<bool, _>(0)?.then_some(known))
    });
    read.collect()
}

async fn lookup_key(connection: &mut PgConnection, tenant: TenantId) -> Result<Option<LookupKey>, Problem> {
    let query = sqlx::query_scalar("SELECT key FROM tiffin_keys.tenants WHERE tenant = $1").bind(tenant.0);
    let bytes: Option<Vec<u8>> = answer(query.fetch_optional(connection)).await?;
    Ok(bytes.map(|bytes| key(&bytes)).transpose()?.map(|bytes| LookupKey::new(&bytes)))
}

async fn named(connection: &mut PgConnection, tenant: TenantId, id: OutsideId) -> Result<Option<DinerId>, Problem> {
    let query = "SELECT diner FROM tiffin_keys.outside_ids WHERE tenant = $1 AND hash = $2";
    let query = sqlx::query_scalar(query).bind(tenant.0).bind(id.0.to_vec());
    let found: Option<Uuid> = answer(query.fetch_optional(connection)).await?;
    Ok(found.map(DinerId))
}

async fn assign(
    connection: &mut PgConnection,
    person: Person,
    company: CompanyId,
    id: Option<OutsideId>,
) -> Result<Assigned, Problem> {
    // Whoever erases this person waits, or was first.
    let query = "SELECT key IS NULL FROM tiffin_keys.people WHERE tenant = $1 AND diner = $2 FOR SHARE";
    let query = sqlx::query_scalar(query).bind(person.tenant.0).bind(person.diner.0);
    if answer(query.fetch_optional(&mut *connection)).await? == Some(true) {
        return Ok(Assigned::Erased);
    }
    if let Some(id) = id {
        let insert = "INSERT INTO tiffin_keys.outside_ids (tenant, hash, company, diner) VALUES ($1, $2, $3, $4)
                      ON CONFLICT (tenant, hash) DO NOTHING";
        let insert = sqlx::query(insert).bind(person.tenant.0).bind(id.0.to_vec());
        answer(insert.bind(company.0).bind(person.diner.0).execute(&mut *connection)).await?;
        if let Some(other) = named(connection, person.tenant, id).await?.filter(|other| *other != person.diner) {
            return Ok(Assigned::Taken(other));
        }
    }
    let delete = "DELETE FROM tiffin_keys.outside_ids
                  WHERE tenant = $1 AND diner = $2 AND company = $3 AND ($4::bytea IS NULL OR hash <> $4)";
    let delete = sqlx::query(delete).bind(person.tenant.0).bind(person.diner.0).bind(company.0);
    answer(delete.bind(id.map(|id| id.0.to_vec())).execute(connection)).await?;
    Ok(Assigned::Done)
}

#[async_trait::async_trait]
impl KeyStore for PostgresKeys {
    async fn make(&self, people: &[Person]) -> Result<Vec<Option<PersonKey>>, KeyError> {
        self.run(async |connection| {
            let mut new: Vec<Person> = people.to_vec();
            // In one order, so that two who make the same do not wait for each other.
            new.sort_unstable();
            new.dedup();
            let tenants: Vec<Uuid> = new.iter().map(|person| person.tenant.0).collect();
            let diners: Vec<Uuid> = new.iter().map(|person| person.diner.0).collect();
            let keys = new.iter().map(|_| random().map(Vec::from)).collect::<Result<Vec<_>, _>>()?;
            let insert = "INSERT INTO tiffin_keys.people (tenant, diner, key)
                          SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) ON CONFLICT DO NOTHING";
            answer(sqlx::query(insert).bind(tenants).bind(diners).bind(keys).execute(&mut *connection)).await?;
            let made = keys_of(connection, people).await?;
            Ok(made.into_iter().map(|found| found.flatten().map(|bytes| PersonKey::new(&bytes))).collect())
        })
        .await
    }

    async fn find(&self, people: &[Person]) -> Result<Vec<Held>, KeyError> {
        self.run(async |connection| {
            let found = keys_of(connection, people).await?;
            let held = found.into_iter().map(|found| match found {
                Some(Some(bytes)) => Held::Key(PersonKey::new(&bytes)),
                Some(None) => Held::Erased,
                None => Held::Nothing,
            });
            Ok(held.collect())
        })
        .await
    }

    async fn lookup_key(&self, tenant: TenantId) -> Result<LookupKey, KeyError> {
        self.run(async |connection| {
            let insert = "INSERT INTO tiffin_keys.tenants (tenant, key) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            let insert = sqlx::query(insert).bind(tenant.0).bind(random()?.to_vec());
            answer(insert.execute(&mut *connection)).await?;
            let made = lookup_key(connection, tenant).await?;
            made.ok_or_else(|| KeyError::Unavailable("a tenant's key was deleted just now".to_owned()).into())
        })
        .await
    }

    async fn known_lookup_key(&self, tenant: TenantId) -> Result<Option<LookupKey>, KeyError> {
        self.run(async |connection| lookup_key(connection, tenant).await).await
    }

    async fn assign(
        &self,
        tenant: TenantId,
        company: CompanyId,
        ids: &[(DinerId, Option<OutsideId>)],
    ) -> Result<Vec<Assigned>, KeyError> {
        self.run(async |connection| {
            // In one order, so that two who assign the same do not wait for each other.
            let mut order: Vec<usize> = (0..ids.len()).collect();
            order.sort_unstable_by_key(|place| ids[*place]);
            let mut assigned = vec![Assigned::Done; ids.len()];
            for place in order {
                let (diner, id) = ids[place];
                assigned[place] = assign(connection, Person { tenant, diner }, company, id).await?;
            }
            Ok(assigned)
        })
        .await
    }

    async fn whom(&self, tenant: TenantId, ids: &[OutsideId]) -> Result<Vec<Option<DinerId>>, KeyError> {
        self.run(async |connection| {
            let hashes: Vec<Vec<u8>> = ids.iter().map(|id| id.0.to_vec()).collect();
            let query = "SELECT o.diner FROM unnest($2::bytea[]) WITH ORDINALITY AS a (hash, place)
                         LEFT JOIN tiffin_keys.outside_ids o ON o.tenant = $1 AND o.hash = a.hash ORDER BY a.place";
            let query = sqlx::query_scalar(query).bind(tenant.0).bind(hashes);
            let whom: Vec<Option<Uuid>> = answer(query.fetch_all(connection)).await?;
            Ok(whom.into_iter().map(|diner| diner.map(DinerId)).collect())
        })
        .await
    }

    async fn erase(&self, people: &[Person]) -> Result<usize, KeyError> {
        self.run(async |connection| {
            let had = keys_of(connection, people).await?.into_iter().flatten().flatten().count();
            let tenants: Vec<Uuid> = people.iter().map(|person| person.tenant.0).collect();
            let diners: Vec<Uuid> = people.iter().map(|person| person.diner.0).collect();
            let bury = "INSERT INTO tiffin_keys.people (tenant, diner, key)
                        SELECT DISTINCT tenant, diner, NULL::bytea FROM unnest($1::uuid[], $2::uuid[]) AS a (tenant, diner)
                        ON CONFLICT (tenant, diner) DO UPDATE SET key = NULL";
            answer(sqlx::query(bury).bind(&tenants).bind(&diners).execute(&mut *connection)).await?;
            let forget = "DELETE FROM tiffin_keys.outside_ids o USING unnest($1::uuid[], $2::uuid[]) AS a (tenant, diner)
                          WHERE o.tenant = a.tenant AND o.diner = a.diner";
            answer(sqlx::query(forget).bind(tenants).bind(diners).execute(connection)).await?;
            Ok(had)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use testing::Postgres;

    use super::{super::contract, *};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_the_contract() {
        let url = Postgres::shared().database();
        contract::keeps_it(async || Arc::new(PostgresKeys::new(&url).unwrap()) as Arc<dyn KeyStore>).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_lost_connection_is_made_anew() {
        let keys = PostgresKeys::new(&Postgres::shared().database()).unwrap();
        let made = keys.make(&[contract::person(1)]).await.unwrap();
        let lost = keys
            .run(async |connection| {
                Ok(answer(sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(connection)).await?)
            })
            .await;
        assert!(matches!(lost, Err(KeyError::Unavailable(_))), "{lost:?}");
        assert_eq!(keys.make(&[contract::person(1)]).await.unwrap(), made);
    }
}
