//! Keys at hand: a few of those that were used last, for a moment.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use domain::{
    CompanyId, DinerId, TenantId,
    personal::{LookupKey, OutsideId, Person, PersonKey},
};

use super::{AT_ONCE, Assigned, Held, KeyError, KeyStore};

/// How long a key is at hand: so long another node may still show who was erased here.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(30);
/// Most keys at hand.
const MOST: usize = 10_000;

/// A key store behind a cache. An erased person's key is gone from it before the erasure answers.
#[derive(Clone)]
pub struct Keyring {
    store: Arc<dyn KeyStore>,
    hand: Arc<Mutex<Hand>>,
}

#[derive(Default)]
struct Hand {
    keys: HashMap<Person, (PersonKey, Instant)>,
    /// Counts erasures: what was read before one is not put at hand after it.
    erasures: u64,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(…)")
    }
}

impl Keyring {
    pub fn new(store: Arc<dyn KeyStore>) -> Keyring {
        Keyring { store, hand: Arc::default() }
    }

    /// What is to be said where none is set.
    pub fn none() -> KeyError {
        KeyError::Missing(
            "no key store is set, so personal data stays sealed: --keys (TIFFIN_KEYS) says where the keys are, \
             sqlite:DIR or postgres://…"
                .to_owned(),
        )
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`KeyStore::find`], for any number of people.
    pub async fn find(&self, people: &[Person]) -> Result<Vec<Held>, KeyError> {
        let mut held = Vec::with_capacity(people.len());
        for some in people.chunks(AT_ONCE) {
            held.extend(self.find_some(some).await?);
        }
        Ok(held)
    }

    async fn find_some(&self, people: &[Person]) -> Result<Vec<Held>, KeyError> {
        let now = Instant::now();
        let (mut found, before) = {
            let hand = self.hand();
            let known = |person| match hand.keys.get(person) {
                Some((key, since)) if now.duration_since(*since) < KEPT_FOR => Some(key.clone()),
                _ => None,
            };
            (people.iter().map(known).collect::<Vec<_>>(), hand.erasures)
        };
        let lacking: Vec<Person> =
            people.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(person, _)| *person).collect();
        let read = if lacking.is_empty() { vec![] } else { self.store.find(&lacking).await? };
        self.put(before, now, lacking.iter().zip(&read));
        let mut read = read.into_iter();
        let held = found.iter_mut().map(|found| match found.take() {
            Some(key) => Held::Key(key),
            None => read.next().unwrap_or(Held::Nothing),
        });
        Ok(held.collect())
    }

    fn put<'a>(&self, before: u64, now: Instant, read: impl Iterator<Item = (&'a Person, &'a Held)>) {
        let mut hand = self.hand();
        if hand.erasures != before {
            return;
        }
        if hand.keys.len() >= MOST {
            hand.keys.retain(|_, (_, since)| now.duration_since(*since) < KEPT_FOR);
        }
        for (person, held) in read {
            let Held::Key(key) = held else { continue };
            // Still full: whoever comes now is read each time, until some have had their time.
            if hand.keys.len() < MOST {
                hand.keys.insert(*person, (key.clone(), now));
            }
        }
    }

    /// As [`KeyStore::make`].
    pub async fn make(&self, people: &[Person]) -> Result<Vec<Option<PersonKey>>, KeyError> {
        let mut made = Vec::with_capacity(people.len());
        for some in people.chunks(AT_ONCE) {
            made.extend(self.store.make(some).await?);
        }
        Ok(made)
    }

    /// As [`KeyStore::lookup_key`].
    pub async fn lookup_key(&self, tenant: TenantId) -> Result<LookupKey, KeyError> {
        self.store.lookup_key(tenant).await
    }

    /// As [`KeyStore::known_lookup_key`].
    pub async fn known_lookup_key(&self, tenant: TenantId) -> Result<Option<LookupKey>, KeyError> {
        self.store.known_lookup_key(tenant).await
    }

    /// As [`KeyStore::assign`].
    pub async fn assign(
        &self,
        tenant: TenantId,
        company: CompanyId,
        ids: &[(DinerId, Option<OutsideId>)],
    ) -> Result<Vec<Assigned>, KeyError> {
        let mut assigned = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            assigned.extend(self.store.assign(tenant, company, some).await?);
        }
        Ok(assigned)
    }

    /// As [`KeyStore::whom`].
    pub async fn whom(&self, tenant: TenantId, ids: &[OutsideId]) -> Result<Vec<Option<DinerId>>, KeyError> {
        let mut whom = Vec::with_capacity(ids.len());
        for some in ids.chunks(AT_ONCE) {
            whom.extend(self.store.whom(tenant, some).await?);
        }
        Ok(whom)
    }

    /// As [`KeyStore::erase`]; the keys are at hand no more, here at once.
    pub async fn erase(&self, people: &[Person]) -> Result<usize, KeyError> {
        let mut erased = 0;
        for some in people.chunks(AT_ONCE) {
            self.forget(some);
            erased += self.store.erase(some).await?;
            // Once more: it may have been read in between.
            self.forget(some);
        }
        Ok(erased)
    }

    fn forget(&self, people: &[Person]) {
        let mut hand = self.hand();
        hand.erasures += 1;
        for person in people {
            hand.keys.remove(person);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{MemoryKeys, contract::person},
        *,
    };

    #[tokio::test]
    async fn an_erased_person_is_forgotten_here_at_once_and_elsewhere_in_a_moment() {
        let store: Arc<dyn KeyStore> = Arc::new(MemoryKeys::default());
        let (here, elsewhere) = (Keyring::new(Arc::clone(&store)), Keyring::new(store));
        here.make(&[person(1), person(2)]).await.unwrap();
        let all = [person(1), person(2), person(3)];
        let known = here.find(&all).await.unwrap();
        assert!(matches!(&known[..], [Held::Key(_), Held::Key(_), Held::Nothing]), "{known:?}");
        assert_eq!((here.find(&all).await.unwrap(), elsewhere.find(&all).await.unwrap()), (known.clone(), known));
        here.erase(&[person(1)]).await.unwrap();
        assert_eq!(here.find(&all).await.unwrap()[0], Held::Erased);
        assert!(matches!(elsewhere.find(&all).await.unwrap()[0], Held::Key(_)), "for a moment");
        let since = Instant::now().checked_sub(KEPT_FOR).unwrap();
        elsewhere.hand().keys.values_mut().for_each(|(_, put)| *put = since);
        assert_eq!(elsewhere.find(&all).await.unwrap()[0], Held::Erased);
    }

    #[tokio::test]
    async fn what_was_read_before_an_erasure_is_not_kept_after_it() {
        let keys = Keyring::new(Arc::new(MemoryKeys::default()));
        let key = keys.make(&[person(1)]).await.unwrap().remove(0).unwrap();
        keys.erase(&[person(1)]).await.unwrap();
        keys.put(0, Instant::now(), [(&person(1), &Held::Key(key))].into_iter());
        assert_eq!(keys.find(&[person(1)]).await.unwrap(), [Held::Erased]);
    }

    #[tokio::test]
    async fn it_holds_only_so_many() {
        let keys = Keyring::new(Arc::new(MemoryKeys::default()));
        let all: Vec<Person> = (0..MOST as u128 + 10).map(person).collect();
        keys.make(&all).await.unwrap();
        let found = keys.find(&all).await.unwrap();
        assert!(found.iter().all(|held| matches!(held, Held::Key(_))));
        assert_eq!(keys.hand().keys.len(), MOST);
    }
}
