//! Edges, loaded together: one read of the views for all of one kind that a request needs.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use async_graphql::dataloader::{DataLoader, Loader};
use domain::{CanteenId, CorrectionId, DinerId, OrderId, PolicyId, ServingId, TenantId};
use projections::{
    PageSize, Views,
    corrections::{self, CorrectionEntry},
    diner_orders,
    menu::{self, Canteen, ServingMenu},
    policies::{self, PolicyVersion},
    preview::Preview,
};

use crate::{
    diner::{self, Diner},
    errors::Failed,
    gathering::Waiting,
    http::Service,
    identity::Identity,
};

/// Most things that are looked up in one read.
const BATCH: usize = 100;

/// Reads of one caller, in their tenant.
pub(crate) struct Reads {
    service: Arc<Service>,
    identity: Arc<Identity>,
}

impl Reads {
    fn views(&self) -> &Views {
        &self.service.views
    }

    fn tenant(&self) -> TenantId {
        self.identity.tenant
    }
}

pub(crate) type Loaders = DataLoader<Reads>;

/// Loaders whose reads begin when whoever executes `waiting` says.
pub(crate) fn of(service: &Arc<Service>, identity: &Arc<Identity>, waiting: Waiting) -> Loaders {
    gathering(Reads { service: Arc::clone(service), identity: Arc::clone(identity) }, waiting)
}

fn gathering<T: Send + Sync + 'static>(reads: T, waiting: Waiting) -> DataLoader<T> {
    DataLoader::new(reads, move |load| waiting.push(load)).delay(Duration::ZERO).max_batch_size(BATCH)
}

impl Loader<ServingId> for Reads {
    type Value = Arc<ServingMenu>;
    type Error = Failed;

    async fn load(&self, keys: &[ServingId]) -> Result<HashMap<ServingId, Self::Value>, Failed> {
        let menus = menu::serving_menus(self.views(), self.tenant(), keys.to_vec()).await?;
        Ok(menus.into_iter().map(|menu| (menu.serving.serving, Arc::new(menu))).collect())
    }
}

impl Loader<CanteenId> for Reads {
    type Value = Canteen;
    type Error = Failed;

    async fn load(&self, keys: &[CanteenId]) -> Result<HashMap<CanteenId, Canteen>, Failed> {
        let rows = menu::canteens_of(self.views(), self.tenant(), keys.to_vec()).await?;
        Ok(rows.into_iter().map(|row| (row.canteen, row)).collect())
    }
}

impl Loader<OrderId> for Reads {
    type Value = Arc<diner_orders::Order>;
    type Error = Failed;

    async fn load(&self, keys: &[OrderId]) -> Result<HashMap<OrderId, Self::Value>, Failed> {
        let rows = diner_orders::orders(self.views(), self.tenant(), keys.to_vec()).await?;
        Ok(rows.into_iter().map(|row| (row.order_id, Arc::new(row))).collect())
    }
}

/// All versions of a policy's terms, in their order.
impl Loader<PolicyId> for Reads {
    type Value = Vec<PolicyVersion>;
    type Error = Failed;

    async fn load(&self, keys: &[PolicyId]) -> Result<HashMap<PolicyId, Self::Value>, Failed> {
        let (tenant, of) = (self.tenant(), keys.to_vec());
        let rows = self.views().read(move |snapshot| policies::versions(snapshot, tenant, &of)).await?;
        let mut found: HashMap<PolicyId, Vec<PolicyVersion>> = HashMap::new();
        rows.into_iter().for_each(|row| found.entry(row.policy).or_default().push(row));
        Ok(found)
    }
}

/// Diners as persons, as far as the caller may see them.
impl Loader<DinerId> for Reads {
    type Value = Diner;
    type Error = Failed;

    async fn load(&self, keys: &[DinerId]) -> Result<HashMap<DinerId, Diner>, Failed> {
        diner::persons(&self.service, &self.identity, keys.to_vec()).await
    }
}

/// The first page of something's own list: so many rows, and one more if there are more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct First<K> {
    pub(crate) of: K,
    pub(crate) size: PageSize,
}

impl<K> First<K> {
    fn rows(&self) -> u32 {
        // A page has at most a hundred.
        self.size.get() as u32 + 1
    }
}

/// Sorts rows by whose they are. `all` are whose were asked, of one size.
fn by_owner<K: Copy + Eq + Hash, R>(
    all: impl IntoIterator<Item = First<K>>,
    rows: Vec<R>,
    owner: impl Fn(&R) -> K,
    into: &mut HashMap<First<K>, Vec<R>>,
) {
    let mut firsts = HashMap::new();
    for first in all {
        firsts.insert(first.of, first);
        into.insert(first, vec![]);
    }
    for row in rows {
        if let Some(first) = firsts.get(&owner(&row)) {
            into.entry(*first).or_default().push(row);
        }
    }
}

/// The keys by their size: usually there is one.
fn by_size<K: Copy>(keys: &[First<K>]) -> Vec<(u32, Vec<First<K>>)> {
    let mut sizes: BTreeMap<u32, Vec<First<K>>> = BTreeMap::new();
    keys.iter().for_each(|key| sizes.entry(key.rows()).or_default().push(*key));
    sizes.into_iter().collect()
}

impl Loader<First<CanteenId>> for Reads {
    type Value = Vec<menu::Dish>;
    type Error = Failed;

    async fn load(&self, keys: &[First<CanteenId>]) -> Result<HashMap<First<CanteenId>, Self::Value>, Failed> {
        let mut found = HashMap::new();
        for (rows, keys) in by_size(keys) {
            let canteens = keys.iter().map(|key| key.of).collect();
            let dishes = menu::first_dishes(self.views(), self.tenant(), canteens, rows).await?;
            by_owner(keys, dishes, |dish| dish.canteen, &mut found);
        }
        Ok(found)
    }
}

impl Loader<First<CorrectionId>> for Reads {
    type Value = Vec<CorrectionEntry>;
    type Error = Failed;

    async fn load(&self, keys: &[First<CorrectionId>]) -> Result<HashMap<First<CorrectionId>, Self::Value>, Failed> {
        let mut found = HashMap::new();
        for (rows, keys) in by_size(keys) {
            let of = keys.iter().map(|key| key.of).collect();
            let entries = corrections::first_entries(self.views(), self.tenant(), of, rows).await?;
            by_owner(keys, entries, |entry| entry.correction, &mut found);
        }
        Ok(found)
    }
}

/// What each correction would make of the balances, while it is proposed.
impl Loader<CorrectionId> for Reads {
    type Value = Arc<Preview>;
    type Error = Failed;

    async fn load(&self, keys: &[CorrectionId]) -> Result<HashMap<CorrectionId, Self::Value>, Failed> {
        let (tenant, of) = (self.tenant(), keys.to_vec());
        let previews = self.views().read(move |snapshot| corrections::previews(snapshot, tenant, &of)).await?;
        Ok(previews.into_iter().map(|(correction, preview)| (correction, Arc::new(preview))).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::gathering::gathered;

    /// Counts the reads that its keys take.
    struct Counting(AtomicUsize);

    impl Loader<u32> for Counting {
        type Value = u32;
        type Error = Failed;

        async fn load(&self, keys: &[u32]) -> Result<HashMap<u32, u32>, Failed> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Ok(keys.iter().map(|key| (*key, *key)).collect())
        }
    }

    async fn loads(loader: &DataLoader<Counting>, keys: impl Iterator<Item = u32>) {
        let loads = keys.map(|key| async move {
            // As a long list lets others have their turn.
            for _ in 0..key % 3 {
                tokio::task::yield_now().await;
            }
            loader.load_one(key).await
        });
        let loaded = futures::future::join_all(loads).await;
        assert!(loaded.into_iter().all(|one| one.unwrap().is_some()));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn edges_of_one_answer_take_one_read() {
        let waiting = Waiting::default();
        let loader = gathering(Counting(AtomicUsize::new(0)), waiting.clone());
        gathered(waiting, async {
            loads(&loader, (0..90).chain(0..90)).await;
            assert_eq!(loader.loader().0.load(Ordering::SeqCst), 1);
            // What they lead to is loaded together too.
            loads(&loader, 0..90).await;
        })
        .await;
        assert_eq!(loader.loader().0.load(Ordering::SeqCst), 2);
    }
}
