//! Which orders, and other things, a driver of this process is busy with.

use std::sync::{Arc, Mutex, PoisonError};

use commands::{Commands, Failure, Finished, Interrupted};
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

    /// Runs `chain` with `thing` to itself, in a task that a caller who goes away does not end. An
    /// interruption makes it run again, or is its answer.
    pub(crate) async fn chained<T, E, Fut>(
        &self,
        commands: &Commands,
        thing: Uuid,
        room: u32,
        chain: impl Fn() -> Fut + Send + Sync + 'static,
    ) -> Result<Finished<T>, Failure<E>>
    where
        T: Send + 'static,
        E: std::error::Error + Send + 'static,
        Fut: Future<Output = Result<Result<T, Failure<E>>, Interrupted>> + Send + 'static,
    {
        let (driven, here) = (self.clone(), commands.clone());
        let task = commands.spawn(async move {
            let _driving = driven.enter(thing).await;
            here.pipelined_here(room, chain).await
        });
        let finished = task.await.map_err(|error| {
            tracing::error!(%error, %thing, "a chain broke off");
            Interrupted::Unavailable("the command broke off; ask again under the same key".to_owned())
        })??;
        finished.value.map(|value| Finished { value, position: finished.position })
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
