//! What is watched: one fold serves all who watch the same thing.
//!
//! A [`follower`] reads the log and notes what changed in [`recent`], from which a watcher that was away is
//! answered. Each thing that somebody watches is a [`topic`]: it is read once when it has changed, and all
//! its watchers get that one reading. What nobody watches is not read.

mod follower;
mod recent;
mod topic;

use std::{sync::Arc, time::Duration};

use domain::{OrderId, ServingId, TenantId};
use futures::{Stream, stream};
use projections::Views;
use store::{EventStore, Position, StoreError};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) use topic::{OfServing, Shown, Step, Steps};

use self::{
    recent::Recent,
    topic::{Source, Topics},
};
use crate::{
    consistency::Masks,
    errors::{Code, Failed, coded},
    paging,
};

/// Most watchers that begin at once; more wait, and are told to come again when it takes too long.
const AT_ONCE: usize = 256;
/// How long a subscription waits for the follower to come as far as the views.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a reading is looked at that may have found nothing new.
const LOOK: Duration = Duration::from_millis(20);

/// Everything that is watched in this process.
pub(crate) struct Live {
    inner: Arc<Inner>,
    begun: OnceCell<()>,
    _stop: DropGuard,
}

struct Inner {
    store: Arc<dyn EventStore>,
    views: Views,
    /// Room for watchers that begin.
    beginning: Semaphore,
    recent: Recent,
    /// Up to which event `recent` has noted everything.
    noted: watch::Sender<Position>,
    orders: Topics<Steps>,
    boards: Topics<OfServing<topic::Tickets>>,
    offered: Topics<OfServing<topic::Menu>>,
    going: Topics<OfServing<topic::Dashboard>>,
    stop: CancellationToken,
}

/// Where a watcher begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// With the state as it is.
    Now,
    /// With what changed after this event.
    After(Position),
}

/// What a watcher begins with, and what comes then.
pub(crate) struct Watching<T> {
    pub(crate) first: Shown<T>,
    states: watch::Receiver<Option<Shown<T>>>,
}

impl<T: Send + Sync + 'static> Watching<T> {
    /// Messages: first `begin`, then those of each state after `since`, which `next` makes of the one that was
    /// seen before and of it. A watcher that is slow misses states between, and never the last.
    pub(crate) fn messages<M: Send + 'static>(
        self,
        since: Since,
        begin: Vec<M>,
        mut next: impl FnMut(&Shown<T>, &Shown<T>) -> Vec<M> + Send + 'static,
    ) -> impl Stream<Item = M> + Send + 'static {
        let Watching { first, states } = self;
        // A cursor of another node may be ahead of what this one has read.
        let seen = match since {
            Since::Now => 0,
            Since::After(after) => after,
        };
        let told = stream::unfold((first, states), move |(before, mut states)| async move {
            loop {
                // The topic lasts while it is watched, unless the process ends.
                states.changed().await.ok()?;
                let now = states.borrow_and_update().clone()?;
                if now.position > before.position.max(seen) {
                    return Some(((before, now.clone()), (now, states)));
                }
            }
        });
        let told = futures::StreamExt::flat_map(told, move |(before, now)| stream::iter(next(&before, &now)));
        futures::StreamExt::chain(stream::iter(begin), told)
    }
}

impl Live {
    pub(crate) fn new(store: Arc<dyn EventStore>, views: Views) -> Self {
        let stop = CancellationToken::new();
        let inner = Inner {
            orders: Topics::new(Steps { store: Arc::clone(&store), views: views.clone() }, &views),
            boards: Topics::new(topic::boards(&views), &views),
            offered: Topics::new(topic::offered(&views), &views),
            going: Topics::new(topic::going(&views), &views),
            store,
            views,
            beginning: Semaphore::new(AT_ONCE),
            recent: Recent::default(),
            noted: watch::Sender::new(0),
            stop: stop.clone(),
        };
        Live { inner: Arc::new(inner), begun: OnceCell::new(), _stop: stop.drop_guard() }
    }

    /// The steps of an order. The log has them all, so that every cursor of this log is good.
    pub(crate) async fn order(
        &self,
        tenant: TenantId,
        order: OrderId,
        since: Since,
    ) -> Result<Watching<Vec<Step>>, Failed> {
        let _room = self.begin().await?;
        if let Since::After(after) = since
            && after > self.head().await?
        {
            return Err(expired());
        }
        self.watch(&self.inner.orders, tenant, order).await
    }

    /// A kitchen's board, and whether that has changed `since` then.
    pub(crate) async fn board(
        &self,
        tenant: TenantId,
        serving: ServingId,
        since: Since,
    ) -> Result<(Watching<topic::Tickets>, bool), Failed> {
        self.of_serving(&self.inner.boards, (tenant, serving), since, Recent::changes_board).await
    }

    /// What is left of a serving, and whether that has changed `since` then.
    pub(crate) async fn offered(
        &self,
        tenant: TenantId,
        serving: ServingId,
        since: Since,
    ) -> Result<(Watching<topic::Menu>, bool), Failed> {
        self.of_serving(&self.inner.offered, (tenant, serving), since, Recent::changes_menu).await
    }

    /// How a serving goes, and whether that has changed `since` then.
    pub(crate) async fn going(
        &self,
        tenant: TenantId,
        serving: ServingId,
        since: Since,
    ) -> Result<(Watching<topic::Dashboard>, bool), Failed> {
        self.of_serving(&self.inner.going, (tenant, serving), since, Recent::changes_dashboard).await
    }

    async fn of_serving<T: PartialEq + Send + Sync + 'static>(
        &self,
        topics: &Topics<OfServing<T>>,
        (tenant, serving): (TenantId, ServingId),
        since: Since,
        changes: fn(&Recent, TenantId, ServingId, Position, Position) -> Option<bool>,
    ) -> Result<(Watching<T>, bool), Failed> {
        let _room = self.begin().await?;
        let watching = self.watch(topics, tenant, serving).await?;
        let Since::After(after) = since else { return Ok((watching, true)) };
        let upto = watching.first.position;
        self.noted(upto.max(after)).await?;
        let changed = changes(&self.inner.recent, tenant, serving, after, upto).ok_or_else(expired)?;
        Ok((watching, changed))
    }

    async fn head(&self) -> Result<Position, Failed> {
        self.inner.store.head().await.map_err(|error| silent(&error))
    }

    /// Waits until every change up to `position` has been noted.
    async fn noted(&self, position: Position) -> Result<(), Failed> {
        let mut noted = self.inner.noted.subscribe();
        let waited = tokio::time::timeout(PATIENCE, noted.wait_for(|noted| *noted >= position)).await;
        let has_come = waited.is_ok_and(|noted| noted.is_ok());
        if has_come {
            return Ok(());
        }
        // A cursor of a log that this one was not: one that was put back from a copy, say.
        if position > self.head().await? {
            return Err(expired());
        }
        Err(coded(Code::Unavailable, "what has changed is not read yet; try again in a moment"))
    }

    /// The states of a thing, from one on that is no older than what the views show: whoever comes may have read
    /// them, and what they show.
    async fn watch<S: Source>(
        &self,
        topics: &Topics<S>,
        tenant: TenantId,
        key: S::Key,
    ) -> Result<Watching<S::State>, Failed> {
        let shown = self.inner.views.reached().await;
        let mut states = topics.watch(tenant, key, &self.inner.stop);
        let unread = || coded(Code::Unavailable, "what is watched cannot be read at the moment");
        let read = tokio::time::timeout(PATIENCE, states.wait_for(Option::is_some)).await;
        read.ok().and_then(Result::ok).ok_or_else(unread)?;
        if topics.touched(tenant, key) == 0 {
            // The follower may have met what the views did not show yet, when nobody was there to be told. Whoever
            // came first may have gone before saying so.
            topics.touch(tenant, key, self.head().await?);
        }
        // Whoever watches already was told of a change later than the views show it: by a pace at most.
        self.noted(shown).await?;
        shows(&mut states, topics.touched(tenant, key).min(shown)).await;
        let first = states.borrow_and_update().clone().ok_or_else(unread)?;
        Ok(Watching { first, states })
    }

    /// Room to begin. The follower starts with the first who watches, and notes what the log's last events
    /// changed.
    async fn begin(&self) -> Result<SemaphorePermit<'_>, Failed> {
        let room = tokio::time::timeout(PATIENCE, self.inner.beginning.acquire()).await;
        let room = room.ok().and_then(Result::ok);
        let room = room.ok_or_else(|| coded(Code::Overloaded, "too many begin to watch; try again in a moment"))?;
        let begun = self.begun.get_or_try_init(|| async {
            let begins = follower::begin(&self.inner).await?;
            tokio::spawn(follower::run(Arc::clone(&self.inner), begins));
            Ok::<_, StoreError>(())
        });
        begun.await.map_err(|error| silent(&error))?;
        Ok(room)
    }

    /// How many watchers begin at the moment.
    #[cfg(test)]
    pub(crate) fn beginning(&self) -> usize {
        AT_ONCE - self.inner.beginning.available_permits()
    }

    /// How often something that is watched was read.
    #[cfg(test)]
    pub(crate) fn reads(&self) -> u64 {
        let Inner { orders, boards, offered, going, .. } = &*self.inner;
        orders.reads() + boards.reads() + offered.reads() + going.reads()
    }

    /// How many things are watched.
    #[cfg(test)]
    pub(crate) fn topics(&self) -> usize {
        let Inner { orders, boards, offered, going, .. } = &*self.inner;
        orders.len() + boards.len() + offered.len() + going.len()
    }

    /// Forgets what is noted up to `position`, as time does.
    #[cfg(test)]
    pub(crate) fn forget(&self, position: Position) {
        self.inner.recent.forget(position);
    }
}

/// Waits until the event at `position` is shown. A view that waits shows no more to queries either, and is not waited
/// for without end.
async fn shows<T>(states: &mut watch::Receiver<Option<Shown<T>>>, position: Position) {
    let shows_it = async {
        while states.borrow_and_update().as_ref().is_none_or(|shown| shown.position < position) {
            // What was read anew and is as it was wakes nobody.
            let _changed = tokio::time::timeout(LOOK, states.changed()).await;
        }
    };
    if tokio::time::timeout(PATIENCE, shows_it).await.is_err() {
        tracing::debug!(position, "somebody begins to watch with an older state than the views show");
    }
}

fn silent(error: &StoreError) -> Failed {
    tracing::warn!(%error, "the log cannot be read for those who watch");
    coded(Code::Unavailable, "the log does not answer; try again in a moment")
}

fn expired() -> Failed {
    let why = "the changes since that cursor are not known any more; query the state and subscribe without a cursor";
    coded(Code::CursorExpired, why).at("after")
}

/// Reads the argument `after` of a subscription.
pub(crate) fn since(masks: &Masks, tenant: TenantId, after: Option<&str>) -> Result<Since, Failed> {
    let after = paging::cursor(after, |text| masks.position(tenant, text))?;
    Ok(after.map_or(Since::Now, Since::After))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{menu_changes::serving_of, testing::*};

    #[tokio::test]
    async fn whoever_comes_after_one_who_went_at_once_has_it_read_up_to_the_logs_end() {
        let house = House::open().await;
        let lunch = house.lunch().await;
        let (whose, live) = (tenant(1), &house.door.service.live);
        let serving = serving_of(&lunch.serving.as_str().unwrap().into()).unwrap();
        // The follower has begun, and told whoever was there of everything.
        assert!(live.going(whose, serving, Since::Now).await.is_ok());
        live.noted(house.head().await).await.unwrap();
        let offered = &live.inner.offered;
        let first = offered.watch(whose, serving, &live.inner.stop);
        assert_eq!(offered.touched(whose, serving), 0, "it did not come so far");
        let second = live.offered(whose, serving, Since::Now).await;
        drop(first);
        assert!(offered.touched(whose, serving) > 0 && second.is_ok());
    }
}
