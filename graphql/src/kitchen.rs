//! The kitchen's board, and what the kitchen and the counter do with an order.

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject, connection::Connection};
use domain::order::Command;
use projections::kitchen_board as views;

use crate::{
    caller::{Caller, caller},
    errors::Failed,
    menu_changes::serving_of,
    node::NodeId,
    order::Selection,
    order_changes::{OrderPayload, finished, order_after, staff_order},
    paging,
    scalars::{DateTime, Uuid},
};

/// How far the kitchen is with an order.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "views::Stage")]
pub(crate) enum KitchenStage {
    /// Placed and not confirmed yet. The board does not list such orders.
    Waiting,
    /// It is to be cooked.
    Confirmed,
    /// It is being cooked.
    Preparing,
    /// It can be handed over.
    Ready,
}

/// An order on the kitchen's board.
#[derive(SimpleObject)]
pub(crate) struct Ticket {
    /// The order's global id.
    order: ID,
    /// How far the kitchen is.
    stage: KitchenStage,
    /// What to cook; without what was refunded.
    lines: Vec<TicketLine>,
    /// What the diner shows, once it is ready.
    pickup_code: Option<String>,
    /// When it was placed.
    placed_at: DateTime,
    /// Since when it is ready.
    ready_at: Option<DateTime>,
}

/// Some portions to cook.
#[derive(SimpleObject)]
pub(crate) struct TicketLine {
    /// The dish's global id.
    dish: ID,
    /// What it is called.
    name: String,
    /// How many portions.
    quantity: u32,
    /// What was chosen.
    options: Vec<Selection>,
}

impl From<views::Ticket> for Ticket {
    fn from(row: views::Ticket) -> Self {
        let line = |line: &views::TicketLine| TicketLine {
            dish: NodeId::Dish(row.canteen, line.dish).encode(),
            name: line.name.clone(),
            quantity: line.quantity,
            options: Selection::all(&line.options),
        };
        Ticket {
            order: NodeId::Order(row.order_id).encode(),
            stage: row.stage.into(),
            lines: row.lines.iter().map(line).collect(),
            placed_at: row.placed_at.into(),
            ready_at: row.ready_at.map(DateTime::from),
            pickup_code: row.code,
        }
    }
}

#[derive(Default)]
pub(crate) struct KitchenQuery;

#[Object]
impl KitchenQuery {
    /// What a serving's kitchen still has to cook or hand over, oldest first. For its canteen and
    /// auditors.
    async fn kitchen_board(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
        #[graphql(desc = "Only what is handed over to whoever shows this pickup code.")] code: Option<String>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, Ticket>> {
        let caller = caller(ctx)?;
        let serving = serving_of(&serving)?;
        let (views, tenant) = (caller.views(), caller.tenant());
        caller.reader_of_serving(serving).await?;
        let after = paging::cursor(after.as_deref(), |text| caller.service.masks.position(tenant, text))?;
        let fetch = async |after, size| match code.clone() {
            Some(code) => views::of_code(views, tenant, (serving, code), after, size).await,
            None => views::of_serving(views, tenant, serving, after, size).await,
        };
        let page = paging::page(first, after, fetch).await?;
        let cursor = |row: &views::Ticket| caller.service.masks.token(tenant, row.placed);
        Ok(paging::connection(page, cursor, Ticket::from))
    }
}

async fn step(
    caller: &Caller<'_>,
    mutation: &str,
    order: &ID,
    key: Uuid,
    command: Command,
    said: &str,
) -> Result<OrderPayload, Failed> {
    let order = staff_order(caller, order).await?;
    let request = caller.request(mutation, key, &(order, said))?;
    let outcome = caller.commands().on_order(request, order, command).await?;
    order_after(caller, order, outcome.position).await
}

#[derive(Default)]
pub(crate) struct KitchenMutation;

#[Object]
impl KitchenMutation {
    /// The kitchen begins with an order. For its canteen.
    async fn prepare(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] order: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<OrderPayload> {
        Ok(step(&caller(ctx)?, "prepare", &order, idempotency_key, Command::Prepare, "").await?)
    }

    /// The kitchen has an order ready; it gets a pickup code. For its canteen.
    async fn mark_ready(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] order: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<OrderPayload> {
        let caller = caller(ctx)?;
        let order = staff_order(&caller, &order).await?;
        let request = caller.request("markReady", idempotency_key, &order)?;
        let outcome = caller.commands().mark_ready(request, order).await.map_err(Failed::from)?;
        Ok(order_after(&caller, order, outcome.position).await?)
    }

    /// The counter hands an order over to whoever shows its code. For its canteen.
    async fn collect(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] order: ID,
        #[graphql(desc = "What the diner shows.")] code: String,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<OrderPayload> {
        let command = Command::Collect { code: code.clone() };
        Ok(step(&caller(ctx)?, "collect", &order, idempotency_key, command, &code).await?)
    }

    /// Nobody came for an order: it is charged what its serving says, and the rest goes back. For its canteen.
    async fn mark_no_show(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] order: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<OrderPayload> {
        let caller = caller(ctx)?;
        let order = staff_order(&caller, &order).await?;
        let request = caller.request("markNoShow", idempotency_key, &(order, ""))?;
        let marked = caller.service.ordering.mark_no_show(request, order).await.map_err(Failed::from)?;
        Ok(finished(&caller, order, &marked).await?)
    }
}
