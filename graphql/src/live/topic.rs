//! Things that are watched: each is read by one task, which lasts as long as somebody watches.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{Aggregate, Fact, OrderId, ServingId, TenantId, Timestamp, order::Order};
use futures::{FutureExt, future::BoxFuture};
use projections::{
    Views,
    dashboard::ServingDashboard,
    kitchen_board::Ticket,
    live::{self, Seen},
    menu::ServingMenu,
};
use store::{EventStore, Position, Recorded};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Between two readings of one thing: what changes meanwhile comes together.
const PACE: Duration = Duration::from_millis(100);
/// How long a reading waits for the views to show what changed.
const PATIENCE: Duration = Duration::from_secs(2);
/// First and longest pause after something could not be read.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Events of an order that are read at once.
const EVENTS: usize = 100;

/// A state, which all who watch it share.
pub(crate) struct Shown<T> {
    /// Of the last event that it shows.
    pub(crate) position: Position,
    pub(crate) state: Arc<T>,
}

impl<T> Clone for Shown<T> {
    fn clone(&self) -> Self {
        Shown { position: self.position, state: Arc::clone(&self.state) }
    }
}

/// Why something could not be read. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    #[error(transparent)]
    Views(#[from] projections::ViewError),
    #[error(transparent)]
    Log(#[from] store::StoreError),
    #[error(transparent)]
    Event(#[from] store::SchemaError),
}

/// What can be watched.
pub(crate) trait Source: Send + Sync + 'static {
    type Key: Copy + Eq + Hash + std::fmt::Debug + Send + Sync + 'static;
    type State: PartialEq + Send + Sync + 'static;

    /// The state as it is now. `known` is what was read before.
    fn read(
        &self,
        tenant: TenantId,
        key: Self::Key,
        known: Option<&Shown<Self::State>>,
    ) -> impl Future<Output = Result<Seen<Self::State>, Unread>> + Send;
}

/// An order after one of its events.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) position: Position,
    pub(crate) at: Timestamp,
    pub(crate) order: Order,
}

/// The steps of orders, from the log; those that the views show too, so that queries know them.
pub(crate) struct Steps {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) views: Views,
}

impl Source for Steps {
    type Key = OrderId;
    type State = Vec<Step>;

    async fn read(
        &self,
        tenant: TenantId,
        order: OrderId,
        known: Option<&Shown<Vec<Step>>>,
    ) -> Result<Seen<Vec<Step>>, Unread> {
        let upto = live::orders_upto(&self.views).await?;
        let mut steps = known.map_or_else(Vec::new, |known| known.state.to_vec());
        'reading: loop {
            let next = steps.len() as u64 + 1;
            let rows = self.store.read_stream(Order::stream(tenant, order), next, EVENTS).await?;
            for row in &rows {
                if row.position > upto {
                    break 'reading;
                }
                let it = Recorded::decode(row)?;
                // The stream is an order's.
                let Fact::Order(_, event) = &it.fact else { continue };
                let mut order = steps.last().map_or_else(Order::default, |step| step.order.clone());
                order.evolve(event, it.occurred_at);
                steps.push(Step { position: it.position, at: it.occurred_at, order });
            }
            if rows.len() < EVENTS {
                break;
            }
        }
        Ok(Seen { position: upto, state: steps })
    }
}

pub(crate) type Tickets = Vec<Ticket>;
pub(crate) type Menu = Option<ServingMenu>;
pub(crate) type Dashboard = Option<ServingDashboard>;

/// A reading of a view, of one serving.
type Reading<T> = BoxFuture<'static, Result<Seen<T>, projections::ViewError>>;

/// States of servings, each from a view.
pub(crate) struct OfServing<T> {
    views: Views,
    read: fn(Views, TenantId, ServingId) -> Reading<T>,
}

impl<T> OfServing<T> {
    pub(crate) fn new(views: &Views, read: fn(Views, TenantId, ServingId) -> Reading<T>) -> Self {
        OfServing { views: views.clone(), read }
    }
}

impl<T: PartialEq + Send + Sync + 'static> Source for OfServing<T> {
    type Key = ServingId;
    type State = T;

    async fn read(&self, tenant: TenantId, serving: ServingId, _: Option<&Shown<T>>) -> Result<Seen<T>, Unread> {
        Ok((self.read)(self.views.clone(), tenant, serving).await?)
    }
}

/// Boards of kitchens.
pub(crate) fn boards(views: &Views) -> OfServing<Tickets> {
    OfServing::new(views, |views, tenant, serving| async move { live::board(&views, tenant, serving).await }.boxed())
}

/// What servings offer, and what is left of it.
pub(crate) fn offered(views: &Views) -> OfServing<Menu> {
    OfServing::new(views, |views, tenant, serving| async move { live::menu(&views, tenant, serving).await }.boxed())
}

/// How servings go.
pub(crate) fn going(views: &Views) -> OfServing<Dashboard> {
    OfServing::new(views, |views, tenant, serving| {
        async move { live::dashboard(&views, tenant, serving).await }.boxed()
    })
}

/// The tenant is part of the key, so that a topic never shows what is another tenant's.
type Key<S> = (TenantId, <S as Source>::Key);
type Slots<S> = HashMap<Key<S>, Arc<Slot<<S as Source>::State>>>;

struct Slot<T> {
    /// None until it was read for the first time.
    shown: watch::Sender<Option<Shown<T>>>,
    /// The last event that changed it, as far as is known.
    touched: watch::Sender<Position>,
}

/// What is watched of one kind.
pub(crate) struct Topics<S: Source>(Arc<Kept<S>>);

struct Kept<S: Source> {
    source: S,
    views: Views,
    slots: Mutex<Slots<S>>,
    reads: AtomicU64,
}

impl<S: Source> Topics<S> {
    pub(crate) fn new(source: S, views: &Views) -> Self {
        Topics(Arc::new(Kept { source, views: views.clone(), slots: Mutex::default(), reads: AtomicU64::new(0) }))
    }

    /// The states of a thing. The first who watches it has it read.
    pub(crate) fn watch(
        &self,
        tenant: TenantId,
        key: S::Key,
        stop: &CancellationToken,
    ) -> watch::Receiver<Option<Shown<S::State>>> {
        let mut slots = self.0.slots();
        if let Some(slot) = slots.get(&(tenant, key)) {
            return slot.shown.subscribe();
        }
        let slot = Arc::new(Slot { shown: watch::Sender::new(None), touched: watch::Sender::new(0) });
        let receiver = slot.shown.subscribe();
        slots.insert((tenant, key), Arc::clone(&slot));
        let keeping = Arc::clone(&self.0).keep((tenant, key), slot);
        tokio::spawn(stop.clone().run_until_cancelled_owned(keeping));
        receiver
    }

    /// The last event for which a thing was to be read anew since somebody watches it; 0 for none.
    pub(crate) fn touched(&self, tenant: TenantId, key: S::Key) -> Position {
        self.0.slots().get(&(tenant, key)).map_or(0, |slot| *slot.touched.borrow())
    }

    /// Has a thing read anew, if somebody watches it.
    pub(crate) fn touch(&self, tenant: TenantId, key: S::Key, position: Position) {
        if let Some(slot) = self.0.slots().get(&(tenant, key)) {
            slot.touched.send_if_modified(|touched| std::mem::replace(touched, position.max(*touched)) < position);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.slots().len()
    }

    #[cfg(test)]
    pub(crate) fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::Relaxed)
    }
}

impl<S: Source> Kept<S> {
    fn slots(&self) -> MutexGuard<'_, Slots<S>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a thing whenever it has changed, until nobody watches it.
    async fn keep(self: Arc<Self>, key: Key<S>, slot: Arc<Slot<S::State>>) {
        let mut touched = slot.touched.subscribe();
        loop {
            let wanted = *touched.borrow_and_update();
            let shows_it = self.read(key, &slot, wanted).await;
            tokio::time::sleep(PACE).await;
            if !shows_it && slot.shown.receiver_count() > 0 {
                // Somebody has come since it was given up.
                continue;
            }
            tokio::select! {
                _ = touched.changed() => {}
                () = slot.shown.closed() => {
                    // Whoever comes to watch does so under the same lock.
                    let mut slots = self.slots();
                    if slot.shown.receiver_count() == 0 {
                        slots.remove(&key);
                        return;
                    }
                }
            }
        }
    }

    /// Reads a thing until it shows the event at `wanted`, or nobody watches it; answers whether it shows it.
    async fn read(&self, (tenant, key): Key<S>, slot: &Slot<S::State>, wanted: Position) -> bool {
        let mut pause = RETRY.0;
        loop {
            let known = slot.shown.borrow().clone();
            // It was read beyond that event already.
            if known.as_ref().is_some_and(|known| known.position >= wanted) {
                return true;
            }
            // Another view than this one's may be what is late: then it is read all the same.
            let _shown = self.views.wait_in_turn(wanted, PATIENCE).await;
            self.reads.fetch_add(1, Ordering::Relaxed);
            match self.source.read(tenant, key, known.as_ref()).await {
                Ok(seen) => {
                    let reached = seen.position >= wanted;
                    show(slot, seen);
                    if reached {
                        return true;
                    }
                }
                Err(error) => tracing::warn!(?key, %error, "what is watched cannot be read; trying on"),
            }
            // Also a view that waits, or one that was just rebuilt.
            if slot.shown.receiver_count() == 0 {
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }
}

/// Tells a state to those who watch, unless it is as they know it.
fn show<T: PartialEq>(slot: &Slot<T>, Seen { position, state }: Seen<T>) {
    slot.shown.send_if_modified(|shown| match shown {
        Some(known) if known.position >= position => false,
        Some(known) if *known.state == state => {
            known.position = position;
            false
        }
        Some(_) | None => {
            *shown = Some(Shown { position, state: Arc::new(state) });
            true
        }
    });
}
