//! What changed of late: enough to tell a watcher that was away what it has missed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use domain::{OrderId, ServingId, TenantId};
use store::Position;

/// Most changes that are remembered: at 200 orders a second those of two minutes.
const REMEMBERED: usize = 131_072;

/// What one event changes of a serving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Of its own: what is left, what it costs, or how far a withdrawal is.
    Serving { menu: bool, dashboard: bool },
    /// An order of it.
    Order { order: OrderId, board: bool, dashboard: bool },
}

type Serving = (TenantId, ServingId);

#[derive(Default)]
pub(crate) struct Recent(Mutex<Changes>);

#[derive(Default)]
struct Changes {
    /// Changes up to this event are not known, or not all of them.
    forgotten: Position,
    /// Of which servings, in the log's order: the oldest is forgotten first.
    order: VecDeque<(Position, Serving)>,
    servings: HashMap<Serving, VecDeque<(Position, Change)>>,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Events up to `position` are older than what is noted.
    pub(crate) fn begin_after(&self, position: Position) {
        let mut changes = self.lock();
        changes.forgotten = changes.forgotten.max(position);
    }

    /// Positions must rise.
    pub(crate) fn note(&self, position: Position, serving: Serving, change: Change) {
        let mut changes = self.lock();
        changes.order.push_back((position, serving));
        changes.servings.entry(serving).or_default().push_back((position, change));
        while changes.order.len() > REMEMBERED {
            changes.forget_one();
        }
    }

    /// Whether the board changed after one event and up to another; none when that is not known any more.
    pub(crate) fn changes_board(
        &self,
        tenant: TenantId,
        serving: ServingId,
        after: Position,
        upto: Position,
    ) -> Option<bool> {
        self.any((tenant, serving), after, upto, |change| matches!(change, Change::Order { board: true, .. }))
    }

    /// Whether what is left changed; none when that is not known any more.
    pub(crate) fn changes_menu(
        &self,
        tenant: TenantId,
        serving: ServingId,
        after: Position,
        upto: Position,
    ) -> Option<bool> {
        self.any((tenant, serving), after, upto, |change| matches!(change, Change::Serving { menu: true, .. }))
    }

    /// Whether its dashboard changed; none when that is not known any more.
    pub(crate) fn changes_dashboard(
        &self,
        tenant: TenantId,
        serving: ServingId,
        after: Position,
        upto: Position,
    ) -> Option<bool> {
        let is_of_it =
            |change| matches!(change, Change::Order { dashboard: true, .. } | Change::Serving { dashboard: true, .. });
        self.any((tenant, serving), after, upto, is_of_it)
    }

    fn any(
        &self,
        serving: Serving,
        after: Position,
        upto: Position,
        mut is_it: impl FnMut(Change) -> bool,
    ) -> Option<bool> {
        let changes = self.lock();
        if after < changes.forgotten {
            return None;
        }
        let Some(of_serving) = changes.servings.get(&serving) else { return Some(false) };
        let from = of_serving.partition_point(|(position, _)| *position <= after);
        let mut later = of_serving.range(from..).take_while(|(position, _)| *position <= upto);
        Some(later.any(|(_, change)| is_it(*change)))
    }

    #[cfg(test)]
    pub(crate) fn forget(&self, position: Position) {
        let mut changes = self.lock();
        while changes.order.front().is_some_and(|(oldest, _)| *oldest <= position) {
            changes.forget_one();
        }
        changes.forgotten = changes.forgotten.max(position);
    }
}

impl Changes {
    fn forget_one(&mut self) {
        let Some((position, serving)) = self.order.pop_front() else { return };
        self.forgotten = self.forgotten.max(position);
        if let Some(of_serving) = self.servings.get_mut(&serving) {
            of_serving.pop_front();
            if of_serving.is_empty() {
                self.servings.remove(&serving);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const OURS: TenantId = TenantId(Uuid::from_u128(1));
    const LUNCH: ServingId = ServingId(Uuid::from_u128(2));

    fn order(number: u128) -> OrderId {
        OrderId(Uuid::from_u128(number))
    }

    fn ticket(number: u128) -> Change {
        Change::Order { order: order(number), board: true, dashboard: false }
    }

    #[test]
    fn from_every_cursor_come_exactly_the_later_changes() {
        let recent = Recent::default();
        recent.begin_after(10);
        recent.note(11, (OURS, LUNCH), ticket(1));
        recent.note(12, (OURS, LUNCH), Change::Serving { menu: true, dashboard: false });
        recent.note(14, (OURS, LUNCH), ticket(2));
        recent.note(15, (OURS, LUNCH), ticket(1));
        let since = |after| recent.changes_board(OURS, LUNCH, after, 100);
        assert_eq!(since(9), None, "older than what is noted");
        assert_eq!([10, 11, 14].map(since), [Some(true); 3]);
        assert_eq!(since(15), Some(false));
        assert_eq!(recent.changes_board(OURS, LUNCH, 11, 13), Some(false));
        assert_eq!(recent.changes_board(OURS, LUNCH, 11, 14), Some(true));
        assert_eq!(recent.changes_menu(OURS, LUNCH, 11, 100), Some(true));
        assert_eq!(recent.changes_menu(OURS, LUNCH, 12, 100), Some(false));
        assert_eq!(recent.changes_dashboard(OURS, LUNCH, 10, 100), Some(false));
        assert_eq!(recent.changes_board(TenantId(Uuid::from_u128(9)), LUNCH, 10, 100), Some(false));
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_said_to_be() {
        let recent = Recent::default();
        for position in 1..=(REMEMBERED as u64 + 5) {
            recent.note(position, (OURS, ServingId(Uuid::from_u128(u128::from(position % 3)))), ticket(1));
        }
        assert_eq!(recent.changes_menu(OURS, LUNCH, 4, 100), None);
        assert_eq!(recent.changes_menu(OURS, LUNCH, 5, 100), Some(false));
        let changes = recent.lock();
        assert_eq!(changes.servings.values().map(VecDeque::len).sum::<usize>(), REMEMBERED);
        assert_eq!((changes.order.len(), changes.forgotten), (REMEMBERED, 5));
    }
}
