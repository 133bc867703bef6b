//! How a serving goes, as it does.

use async_graphql::{Context, ID, Result, SimpleObject, Subscription};
use domain::{ServingId, TenantId};
use futures::{StreamExt, stream::BoxStream};
use projections::dashboard as views;

use crate::{
    caller::caller,
    consistency::Masks,
    dashboard::Dashboard,
    live::{self, Shown},
    menu_changes::serving_of,
};

/// How a serving goes at a moment.
#[derive(SimpleObject)]
pub(crate) struct DashboardState {
    /// Of this state: `after` it come the later ones.
    cursor: String,
    /// How it goes; null before its first order.
    dashboard: Option<Dashboard>,
}

#[derive(Default)]
pub(crate) struct DashboardSubscription;

#[Subscription]
impl DashboardSubscription {
    /// How a serving goes: first as it is now, or with `after` only if it has changed since; then whenever it
    /// changes, at most ten times a second. For its canteen, finance and auditors.
    async fn dashboard(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
        #[graphql(desc = "The cursor of the last state that you have.")] after: Option<String>,
    ) -> Result<BoxStream<'static, DashboardState>> {
        let caller = caller(ctx)?;
        let serving = serving_of(&serving)?;
        caller.reader_of_serving(serving).await?;
        let (tenant, masks) = (caller.tenant(), caller.service.masks.clone());
        let since = live::since(&masks, tenant, after.as_deref())?;
        let (watching, changed) = caller.service.live.going(tenant, serving, since).await?;
        let message = move |now: &Shown<_>| message(&masks, tenant, serving, now);
        let begin = Some(&watching.first).filter(|_| changed).map(&message).into_iter().collect();
        let later = move |_: &Shown<_>, now: &Shown<_>| vec![message(now)];
        Ok(watching.messages(since, begin, later).boxed())
    }
}

fn message(
    masks: &Masks,
    tenant: TenantId,
    serving: ServingId,
    now: &Shown<Option<views::ServingDashboard>>,
) -> DashboardState {
    let dashboard = now.state.as_ref().clone().map(|view| Dashboard::new(serving, view));
    DashboardState { cursor: masks.token(tenant, now.position), dashboard }
}
