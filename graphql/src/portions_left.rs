//! What is left of a serving, as it sells.

use async_graphql::{Context, ID, Result, SimpleObject, Subscription};
use domain::{ServingId, TenantId};
use futures::{StreamExt, stream::BoxStream};
use projections::menu as views;

use crate::{
    caller::caller,
    consistency::Masks,
    errors::{Failed, not_found},
    live::{self, Shown},
    menu::Offer,
    menu_changes::serving_of,
    node::NodeId,
};

/// What a serving offers, and what is left of it. Nothing in it has to be looked up for each of the many who
/// watch.
#[derive(SimpleObject)]
pub(crate) struct PortionsLeft {
    /// Of this state: `after` it come the later ones.
    cursor: String,
    /// The serving's global id.
    serving: ID,
    /// Whether nothing of it is sold any more.
    withdrawn: bool,
    /// What it offers, at most 500 dishes, in the canteen's own order.
    offers: Vec<Offer>,
}

#[derive(Default)]
pub(crate) struct PortionsSubscription;

#[Subscription]
impl PortionsSubscription {
    /// What is left of a serving: first as it is now, or with `after` only if it has changed since; then
    /// whenever it changes, at most ten times a second.
    async fn portions_left(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
        #[graphql(desc = "The cursor of the last state that you have.")] after: Option<String>,
    ) -> Result<BoxStream<'static, PortionsLeft>> {
        let caller = caller(ctx)?;
        let serving = serving_of(&serving)?;
        let (tenant, masks) = (caller.tenant(), caller.service.masks.clone());
        let row = views::serving(caller.views(), tenant, serving).await.map_err(Failed::from)?;
        row.ok_or_else(|| not_found("serving").at("serving"))?;
        let since = live::since(&masks, tenant, after.as_deref())?;
        let (watching, changed) = caller.service.live.offered(tenant, serving, since).await?;
        let message = move |now: &Shown<_>| message(&masks, tenant, serving, now);
        let begin = Some(&watching.first).filter(|_| changed).and_then(&message).into_iter().collect();
        let later = move |_: &Shown<_>, now: &Shown<_>| message(now).into_iter().collect();
        Ok(watching.messages(since, begin, later).boxed())
    }
}

fn message(
    masks: &Masks,
    tenant: TenantId,
    serving: ServingId,
    now: &Shown<Option<views::ServingMenu>>,
) -> Option<PortionsLeft> {
    let menu = now.state.as_ref().as_ref()?;
    Some(PortionsLeft {
        cursor: masks.token(tenant, now.position),
        serving: NodeId::Serving(serving).encode(),
        withdrawn: menu.serving.withdrawn,
        offers: menu.offers.iter().map(|offer| Offer::of_row(&menu.serving, offer)).collect(),
    })
}
