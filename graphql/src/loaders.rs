//! Edges, loaded together: one read of the views for all of one kind that a request needs.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_graphql::dataloader::{DataLoader, Loader};
use domain::{CanteenId, ServingId, TenantId};
use projections::{
    Views, args,
    menu::{self, Canteen, ServingMenu},
};

use crate::{errors::Failed, http::Service};

/// Most things that are looked up in one read.
const BATCH: usize = 100;

/// Reads of one tenant.
pub(crate) struct Reads {
    views: Views,
    tenant: TenantId,
}

pub(crate) type Loaders = DataLoader<Reads>;

pub(crate) fn of(service: &Service, tenant: TenantId) -> Loaders {
    let reads = Reads { views: service.views.clone(), tenant };
    DataLoader::new(reads, tokio::spawn).delay(Duration::ZERO).max_batch_size(BATCH)
}

impl Loader<ServingId> for Reads {
    type Value = Arc<ServingMenu>;
    type Error = Failed;

    async fn load(&self, keys: &[ServingId]) -> Result<HashMap<ServingId, Self::Value>, Failed> {
        let menus = menu::serving_menus(&self.views, self.tenant, keys.to_vec()).await?;
        Ok(menus.into_iter().map(|menu| (menu.serving.serving, Arc::new(menu))).collect())
    }
}

impl Loader<CanteenId> for Reads {
    type Value = Canteen;
    type Error = Failed;

    async fn load(&self, keys: &[CanteenId]) -> Result<HashMap<CanteenId, Canteen>, Failed> {
        let (keys, tenant) = (keys.to_vec(), self.tenant);
        let rows = self.views.read(move |snapshot| {
            let one = |canteen: CanteenId| {
                snapshot.fetch_one::<Canteen>("WHERE tenant = ?1 AND canteen = ?2", args![tenant, canteen])
            };
            keys.into_iter().filter_map(|canteen| one(canteen).transpose()).collect::<Result<Vec<_>, _>>()
        });
        Ok(rows.await?.into_iter().map(|row| (row.canteen, row)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

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

    /// As [`of`] sets loaders up, edges that are asked for at once are read together.
    #[tokio::test]
    async fn edges_of_one_answer_take_one_read() {
        let loader = DataLoader::new(Counting(AtomicUsize::new(0)), tokio::spawn).delay(Duration::ZERO);
        let loader = loader.max_batch_size(BATCH);
        let loads = (0..50).map(|key| loader.load_one(key % 10));
        let loaded = futures::future::join_all(loads).await;
        assert!(loaded.into_iter().all(|one| one.unwrap().is_some()));
        assert_eq!(loader.loader().0.load(Ordering::SeqCst), 1);
    }
}
