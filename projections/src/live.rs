//! What is watched while it changes: each state is read whole and in one go, with the event up to
//! which it is so.

use domain::{ServingId, TenantId};
use store::Position;

use crate::{
    Snapshot, ViewError, Views,
    dashboard::{self, ServingDashboard},
    kitchen_board::{self, Ticket},
    menu::{self, ServingMenu},
};

/// Most tickets of a board that are watched: the oldest.
pub const MAX_TICKETS: usize = 1_000;

/// A state, and the last event that it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen<T> {
    pub position: Position,
    pub state: T,
}

async fn read<T: Send + 'static>(
    views: &Views,
    projection: &'static str,
    query: impl FnOnce(&Snapshot<'_>) -> Result<T, ViewError> + Send + 'static,
) -> Result<Seen<T>, ViewError> {
    let reading = views.read(move |snapshot| {
        let state = query(snapshot)?;
        Ok(Seen { position: snapshot.position_of(projection), state })
    });
    reading.await
}

/// Up to which event orders are shown.
pub async fn orders_upto(views: &Views) -> Result<Position, ViewError> {
    views.read(|snapshot| Ok(snapshot.position_of("diner_orders"))).await
}

/// What a serving's kitchen has to cook or hand over, oldest first, at most [`MAX_TICKETS`].
pub async fn board(views: &Views, tenant: TenantId, serving: ServingId) -> Result<Seen<Vec<Ticket>>, ViewError> {
    let tickets = move |snapshot: &Snapshot<'_>| kitchen_board::on_board(snapshot, tenant, serving, 0, MAX_TICKETS);
    read(views, "kitchen_board", tickets).await
}

/// What a serving offers and what is left of it; none for a serving that the tenant does not have.
pub async fn menu(views: &Views, tenant: TenantId, serving: ServingId) -> Result<Seen<Option<ServingMenu>>, ViewError> {
    read(views, "menu", move |snapshot| menu::menu_of(snapshot, tenant, serving)).await
}

/// How a serving goes; none before its first order.
pub async fn dashboard(
    views: &Views,
    tenant: TenantId,
    serving: ServingId,
) -> Result<Seen<Option<ServingDashboard>>, ViewError> {
    read(views, "dashboard", move |snapshot| dashboard::in_snapshot(snapshot, tenant, serving)).await
}
