//! Reads the log for those who watch: what did each event change?

use std::{collections::HashMap, sync::Arc, time::Duration};

use domain::{Aggregate, Fact, OrderId, ServingId, StreamKind, TenantId, order, serving};
use store::{EventRow, Position, Recorded, StoreError};

use super::{Inner, recent::Change};

/// Events before the first that a new follower notes: those whose cursors are good right after a start.
const BEHIND: u64 = 16_384;
/// Events that are read at once.
const BATCH: usize = 1_000;
/// How often the log is looked at without a hint.
const LOOK: Duration = Duration::from_millis(500);
/// After an error.
const RETRY: Duration = Duration::from_millis(500);
/// Most orders of which it remembers the serving; then the older half is forgotten.
const KNOWN: usize = 131_072;

/// Which serving an order is of. Only the event with which it was placed says so.
#[derive(Default)]
struct Servings {
    new: HashMap<(TenantId, OrderId), ServingId>,
    old: HashMap<(TenantId, OrderId), ServingId>,
}

impl Servings {
    fn get(&self, key: (TenantId, OrderId)) -> Option<ServingId> {
        self.new.get(&key).or_else(|| self.old.get(&key)).copied()
    }

    fn put(&mut self, key: (TenantId, OrderId), serving: ServingId) {
        if self.new.len() >= KNOWN / 2 {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(key, serving);
    }
}

/// Says from which event on changes are noted.
pub(super) async fn begin(inner: &Inner) -> Result<Position, StoreError> {
    let after = inner.store.head().await?.saturating_sub(BEHIND);
    inner.recent.begin_after(after);
    inner.noted.send_replace(after);
    Ok(after + 1)
}

/// Follows the log from the event at `next`.
pub(super) async fn run(inner: Arc<Inner>, next: Position) {
    let stop = inner.stop.clone();
    stop.run_until_cancelled(follow(&inner, next)).await;
}

async fn follow(inner: &Inner, mut next: Position) {
    let mut hint = inner.store.subscribe();
    let mut servings = Servings::default();
    loop {
        hint.borrow_and_update();
        match batch(inner, next, &mut servings).await {
            Ok(None) => {
                let _hint = tokio::time::timeout(LOOK, hint.changed()).await;
            }
            Ok(Some(last)) => {
                next = last + 1;
                inner.noted.send_replace(last);
            }
            Err(error) => {
                tracing::warn!(%error, "the log cannot be read for those who watch; trying on");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Notes what the next events changed, and answers the last of them; none when there are none.
async fn batch(inner: &Inner, next: Position, servings: &mut Servings) -> Result<Option<Position>, StoreError> {
    let rows = inner.store.read_all(next, BATCH).await?;
    let Some(last) = rows.last().map(|row| row.position) else { return Ok(None) };
    let mut changes = Vec::new();
    // Everything is looked up before anything is noted: a batch that failed is read again.
    for row in rows.iter().filter(|row| matches!(row.stream.kind, StreamKind::Order | StreamKind::Serving)) {
        changes.extend(change_of(inner, row, servings).await?);
    }
    for (position, tenant, serving, change) in changes {
        inner.recent.note(position, (tenant, serving), change);
        touch(inner, position, (tenant, serving), change);
    }
    Ok(Some(last))
}

/// Has what is watched of a change read anew. What nobody watches is left: whoever comes reads it then.
fn touch(inner: &Inner, position: Position, (tenant, serving): (TenantId, ServingId), change: Change) {
    let Inner { orders, boards, offered, going, .. } = inner;
    let (menu, board, dashboard) = match change {
        Change::Serving { menu, dashboard } => (menu, false, dashboard),
        Change::Order { order, board, dashboard } => {
            orders.touch(tenant, order, position);
            (false, board, dashboard)
        }
    };
    if menu {
        offered.touch(tenant, serving, position);
    }
    if board {
        boards.touch(tenant, serving, position);
    }
    if dashboard {
        going.touch(tenant, serving, position);
    }
}

type Noted = (Position, TenantId, ServingId, Change);

async fn change_of(inner: &Inner, row: &EventRow, servings: &mut Servings) -> Result<Option<Noted>, StoreError> {
    let it = match Recorded::decode(row) {
        Ok(it) => it,
        Err(error) => {
            // The views park it, and whoever reads them is told so.
            tracing::debug!(%error, position = row.position, "an event that cannot be read changes nothing here");
            return Ok(None);
        }
    };
    Ok(match &it.fact {
        Fact::Serving(serving, event) => {
            let (menu, dashboard) = changes_menu_or_dashboard(event);
            let change = Change::Serving { menu, dashboard };
            (menu || dashboard).then_some((it.position, it.tenant, *serving, change))
        }
        Fact::Order(order, event) => {
            let key = (it.tenant, *order);
            if let order::Event::Placed(placement) = event {
                servings.put(key, placement.serving);
            }
            let serving = match servings.get(key) {
                Some(serving) => Some(serving),
                None => serving_of(inner, key).await?.inspect(|serving| servings.put(key, *serving)),
            };
            let (board, dashboard) = changes_board_or_dashboard(event);
            let change = Change::Order { order: *order, board, dashboard };
            serving.map(|serving| (it.position, it.tenant, serving, change))
        }
        Fact::Menu(..)
        | Fact::Payment(..)
        | Fact::Account(..)
        | Fact::Policy(..)
        | Fact::Grant(..)
        | Fact::Diner(..)
        | Fact::Books(..)
        | Fact::Invoice(..)
        | Fact::Correction(..)
        | Fact::TopUp(..)
        | Fact::Payout(..) => None,
    })
}

/// The serving of an order that was placed before this process began to follow.
async fn serving_of(inner: &Inner, (tenant, id): (TenantId, OrderId)) -> Result<Option<ServingId>, StoreError> {
    let first = inner.store.read_stream(order::Order::stream(tenant, id), 1, 1).await?;
    let placed = first.first().and_then(|row| Recorded::decode(row).ok());
    Ok(placed.and_then(|it| match it.fact {
        Fact::Order(_, order::Event::Placed(placement)) => Some(placement.serving),
        _ => None,
    }))
}

/// Whether a serving's event changes what it offers, and whether its dashboard.
fn changes_menu_or_dashboard(event: &serving::Event) -> (bool, bool) {
    use serving::Event;
    match event {
        Event::Published(_) | Event::Reserved { .. } | Event::PortionsSet { .. } | Event::PriceSet { .. } => {
            (true, false)
        }
        Event::DishWithdrawn { .. } | Event::Withdrawn { .. } => (true, true),
        Event::Released { portions, .. } | Event::Widened { portions, .. } | Event::Narrowed { portions, .. } => {
            (!portions.is_empty(), false)
        }
        Event::WithdrawalSettled { .. } => (false, true),
    }
}

/// Whether an order's event changes its kitchen's board, and whether its serving's dashboard.
fn changes_board_or_dashboard(event: &order::Event) -> (bool, bool) {
    use order::Event;
    match event {
        // The board does not show orders that wait, nor that they end so.
        Event::Placed(_) | Event::Refused(_) | Event::Expired => (false, true),
        Event::Confirmed
        | Event::PickedUp { .. }
        | Event::NoShow { .. }
        | Event::Cancelled { .. }
        | Event::RefundBegun { .. }
        | Event::Changed(_) => (true, true),
        Event::Preparing | Event::Readied { .. } => (true, false),
        Event::RefundSettled { .. }
        | Event::ChangeBegun { .. }
        | Event::ChangeRefused { .. }
        | Event::ChangeSettled { .. } => (false, false),
    }
}
