//! The kitchen's board, as it changes.

use std::collections::HashMap;

use async_graphql::{Context, ID, Result, SimpleObject, Subscription};
use domain::{OrderId, TenantId};
use futures::{StreamExt, stream::BoxStream};
use projections::kitchen_board as views;

use crate::{
    caller::caller,
    consistency::Masks,
    kitchen::Ticket,
    live::{self, Shown},
    menu_changes::serving_of,
    node::NodeId,
};

/// What changed on a kitchen's board.
#[derive(SimpleObject)]
pub(crate) struct KitchenBoardChange {
    /// Of this change: `after` it come the later ones.
    cursor: String,
    /// Whether `tickets` is the whole board: whatever else you have is not on it.
    whole: bool,
    /// Tickets that are new, or as they are now; oldest first, at most 1,000.
    tickets: Vec<Ticket>,
    /// The global ids of orders that are not on the board any more; some you may never have seen.
    gone: Vec<ID>,
}

#[derive(Default)]
pub(crate) struct KitchenSubscription;

#[Subscription]
impl KitchenSubscription {
    /// What changes on a serving's board: first the whole board, or with `after` only if it has changed since;
    /// then what changes. For its
    /// canteen and auditors.
    async fn kitchen_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
        #[graphql(desc = "The cursor of the last change that you have.")] after: Option<String>,
    ) -> Result<BoxStream<'static, KitchenBoardChange>> {
        let caller = caller(ctx)?;
        let serving = serving_of(&serving)?;
        caller.reader_of_serving(serving).await?;
        let (tenant, masks) = (caller.tenant(), caller.service.masks.clone());
        let since = live::since(&masks, tenant, after.as_deref())?;
        let (watching, changed) = caller.service.live.board(tenant, serving, since).await?;
        let begin = changed.then(|| whole(&masks, tenant, &watching.first)).into_iter().collect();
        let later = move |before: &Shown<_>, now: &Shown<_>| vec![change(&masks, tenant, before, now)];
        Ok(watching.messages(since, begin, later).boxed())
    }
}

type Tickets = Shown<Vec<views::Ticket>>;

fn off(order: OrderId) -> ID {
    NodeId::Order(order).encode()
}

fn whole(masks: &Masks, tenant: TenantId, now: &Tickets) -> KitchenBoardChange {
    let tickets = now.state.iter().cloned().map(Ticket::from).collect();
    KitchenBoardChange { cursor: masks.token(tenant, now.position), whole: true, tickets, gone: vec![] }
}

/// What differs between two states of a board.
fn change(masks: &Masks, tenant: TenantId, before: &Tickets, now: &Tickets) -> KitchenBoardChange {
    let mut known: HashMap<_, _> = before.state.iter().map(|ticket| (ticket.order_id, ticket)).collect();
    let is_new = |ticket: &&views::Ticket| known.remove(&ticket.order_id) != Some(*ticket);
    let tickets = now.state.iter().filter(is_new).cloned().collect::<Vec<_>>().into_iter().map(Ticket::from).collect();
    let gone = before.state.iter().filter(|ticket| known.contains_key(&ticket.order_id));
    let gone = gone.map(|ticket| off(ticket.order_id)).collect();
    KitchenBoardChange { cursor: masks.token(tenant, now.position), whole: false, tickets, gone }
}
