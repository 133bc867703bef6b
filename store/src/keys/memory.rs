//! Keys that are gone with their process: beside a log that is, and for tests.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use domain::{
    CompanyId, DinerId, TenantId,
    personal::{LookupKey, OutsideId, Person, PersonKey},
};

use super::{Assigned, Held, KeyError, KeyStore, random};

#[derive(Default)]
struct Kept {
    /// None: erased.
    people: BTreeMap<Person, Option<PersonKey>>,
    tenants: BTreeMap<TenantId, LookupKey>,
    ids: BTreeMap<(TenantId, OutsideId), (CompanyId, DinerId)>,
}

#[derive(Default)]
pub struct MemoryKeys(Mutex<Kept>);

impl MemoryKeys {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl KeyStore for MemoryKeys {
    async fn make(&self, people: &[Person]) -> Result<Vec<Option<PersonKey>>, KeyError> {
        let mut kept = self.kept();
        let mut made = Vec::with_capacity(people.len());
        for person in people {
            if !kept.people.contains_key(person) {
                kept.people.insert(*person, Some(PersonKey::new(&random()?)));
            }
            made.push(kept.people.get(person).cloned().flatten());
        }
        Ok(made)
    }

    async fn find(&self, people: &[Person]) -> Result<Vec<Held>, KeyError> {
        let kept = self.kept();
        let held = people.iter().map(|person| match kept.people.get(person) {
            Some(Some(key)) => Held::Key(key.clone()),
            Some(None) => Held::Erased,
            None => Held::Nothing,
        });
        Ok(held.collect())
    }

    async fn lookup_key(&self, tenant: TenantId) -> Result<LookupKey, KeyError> {
        let mut kept = self.kept();
        if let Some(key) = kept.tenants.get(&tenant) {
            return Ok(key.clone());
        }
        let key = LookupKey::new(&random()?);
        kept.tenants.insert(tenant, key.clone());
        Ok(key)
    }

    async fn known_lookup_key(&self, tenant: TenantId) -> Result<Option<LookupKey>, KeyError> {
        Ok(self.kept().tenants.get(&tenant).cloned())
    }

    async fn assign(
        &self,
        tenant: TenantId,
        company: CompanyId,
        ids: &[(DinerId, Option<OutsideId>)],
    ) -> Result<Vec<Assigned>, KeyError> {
        let mut kept = self.kept();
        let mut assigned = Vec::with_capacity(ids.len());
        for (diner, id) in ids {
            let person = Person { tenant, diner: *diner };
            let named = id.and_then(|id| kept.ids.get(&(tenant, id)).map(|(_, diner)| *diner));
            assigned.push(match named.filter(|named| named != diner) {
                _ if kept.people.get(&person) == Some(&None) => Assigned::Erased,
                Some(other) => Assigned::Taken(other),
                None => {
                    kept.ids.retain(|(of, _), named| (*of, *named) != (tenant, (company, *diner)));
                    kept.ids.extend(id.map(|id| ((tenant, id), (company, *diner))));
                    Assigned::Done
                }
            });
        }
        Ok(assigned)
    }

    async fn whom(&self, tenant: TenantId, ids: &[OutsideId]) -> Result<Vec<Option<DinerId>>, KeyError> {
        let kept = self.kept();
        Ok(ids.iter().map(|id| kept.ids.get(&(tenant, *id)).map(|(_, diner)| *diner)).collect())
    }

    async fn erase(&self, people: &[Person]) -> Result<usize, KeyError> {
        let mut kept = self.kept();
        let mut erased = 0;
        for person in people {
            erased += usize::from(kept.people.insert(*person, None).flatten().is_some());
            kept.ids.retain(|(tenant, _), (_, diner)| (*tenant, *diner) != (person.tenant, person.diner));
        }
        Ok(erased)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::contract, *};

    #[tokio::test]
    async fn keeps_the_contract() {
        let keys: Arc<dyn KeyStore> = Arc::new(MemoryKeys::default());
        contract::keeps_it(async || Arc::clone(&keys)).await;
    }
}
