//! How an order gets on, as it does.

use async_graphql::{Context, ID, Result, SimpleObject, Subscription};
use domain::{OrderId, order as domain_order};
use futures::{StreamExt, stream::BoxStream};

use crate::{
    caller::caller,
    consistency::Masks,
    errors::{Failed, not_found},
    live::{self, Shown, Since, Step},
    node,
    order::{Order, visible},
    scalars::DateTime,
};

/// A step of an order.
#[derive(SimpleObject)]
pub(crate) struct OrderProgress {
    /// Of this step: `after` it come the later ones.
    cursor: String,
    /// When it was taken.
    at: DateTime,
    /// The order after it.
    order: Order,
}

#[derive(Default)]
pub(crate) struct OrderSubscription;

#[Subscription]
impl OrderSubscription {
    /// The steps of an order: first where it is now, or with `after` every step that came since. For its
    /// diner and its canteen's staff.
    async fn order_progress(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] order: ID,
        #[graphql(desc = "The cursor of the last step that you have; or a consistency token.")] after: Option<String>,
    ) -> Result<BoxStream<'static, OrderProgress>> {
        let caller = caller(ctx)?;
        let unknown = || not_found("order").at("order");
        let id = node::order(&order).ok_or_else(unknown)?;
        let tenant = caller.tenant();
        let look = |order: &domain_order::Order| Order::of_aggregate(id, order);
        let found = caller.commands().look(tenant, id, look).await.map_err(Failed::from)?;
        // The same answer for one of somebody else as for one that there is not.
        found.filter(|order| visible(&caller, order)).ok_or_else(unknown)?;
        let since = live::since(&caller.service.masks, tenant, after.as_deref())?;
        let watching = caller.service.live.order(tenant, id, since).await?;
        let masks = caller.service.masks.clone();
        let message = move |step: &Step| message(&masks, tenant, id, step);
        let steps = &watching.first.state;
        // A cursor of another node may be ahead of what this one has read.
        let (begin, after) = match since {
            Since::Now => (steps.last().and_then(&message).into_iter().collect(), 0),
            Since::After(after) => {
                (steps.iter().filter(|step| step.position > after).filter_map(&message).collect(), after)
            }
        };
        let later = move |before: &Shown<Vec<Step>>, now: &Shown<Vec<Step>>| {
            let new = now.state.iter().skip(before.state.len()).filter(|step| step.position > after);
            new.filter_map(&message).collect()
        };
        Ok(watching.messages(since, begin, later).boxed())
    }
}

fn message(masks: &Masks, tenant: domain::TenantId, id: OrderId, step: &Step) -> Option<OrderProgress> {
    let order = Order::of_aggregate(id, &step.order)?;
    Some(OrderProgress { cursor: masks.token(tenant, step.position), at: step.at.into(), order })
}
