//! Which orders a driver of this process is busy with.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

type Locks = Mutex<FxHashMap<Uuid, Arc<tokio::sync::Mutex<()>>>>;

/// One lock an order that is being driven: a repeat waits for the first, and the follower keeps
/// its hands off.
#[derive(Clone, Default)]
pub(crate) struct Driven(Arc<Locks>);

/// Held while an order is driven.
pub(crate) struct Driving {
    guard: Option<OwnedMutexGuard<()>>,
    order: Uuid,
    locks: Arc<Locks>,
}

impl Driven {
    /// Waits for its turn with `order`.
    pub(crate) async fn enter(&self, order: Uuid) -> Driving {
        let lock = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(order).or_default());
        Driving { guard: Some(lock.lock_owned().await), order, locks: Arc::clone(&self.0) }
    }

    pub(crate) fn contains(&self, order: Uuid) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&order)
    }
}

impl Drop for Driving {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        // Only the map has it: nobody waits, and nobody can begin to while the map is locked.
        if locks.get(&self.order).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_is_driven_by_one_at_a_time_and_then_forgotten() {
        let (driven, order) = (Driven::default(), Uuid::from_u128(1));
        let first = driven.enter(order).await;
        assert!(driven.contains(order) && !driven.contains(Uuid::from_u128(2)));
        let second = tokio::spawn({
            let driven = driven.clone();
            async move { driven.enter(order).await }
        });
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(!second.is_finished(), "it waits for its turn");
        drop(first);
        let second = second.await.unwrap();
        assert!(driven.contains(order));
        drop(second);
        assert!(!driven.contains(order));
    }
}
