//! Anything by its global id, and who asks.

use async_graphql::{Context, ID, Interface, Object, Result, SimpleObject};
use projections::menu as views;

use crate::{
    account::{Account, read_account},
    caller::{Caller, caller},
    errors::Failed,
    identity::{Canteens, Role},
    menu::{Canteen, Dish, Serving},
    node::NodeId,
    order::{Order, read_order},
    scalars::Uuid,
};

/// Whatever has a global id.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "Its global id."))]
pub(crate) enum Node {
    Canteen(Canteen),
    Dish(Dish),
    Serving(Box<Serving>),
    Order(Box<Order>),
    Account(Account),
}

/// Who asks, as the token says.
#[derive(SimpleObject)]
pub(crate) struct Viewer {
    /// The tenant in which everything is read and changed.
    tenant: Uuid,
    /// The diner's, or the member of staff's, own id.
    actor: Uuid,
    /// What they may do.
    roles: Vec<Role>,
    /// Whether they work in every canteen of the tenant.
    all_canteens: bool,
    /// The canteens in which they work, unless it is all.
    canteens: Vec<ID>,
}

async fn read(caller: &Caller<'_>, id: NodeId) -> Result<Option<Node>, Failed> {
    let (views, tenant) = (caller.views(), caller.tenant());
    Ok(match id {
        NodeId::Canteen(id) => views::canteen(views, tenant, id).await?.map(|row| Node::Canteen(row.into())),
        NodeId::Dish(canteen, id) => views::dish(views, tenant, canteen, id).await?.map(|row| Node::Dish(row.into())),
        NodeId::Serving(id) => {
            let row = views::serving(views, tenant, id).await?;
            row.map(|row| Node::Serving(Box::new(Serving::from(&row))))
        }
        NodeId::Order(id) => read_order(caller, id).await?.map(|order| Node::Order(Box::new(order))),
        NodeId::Account(id) => read_account(caller, id).await?.map(Node::Account),
    })
}

#[derive(Default)]
pub(crate) struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Who you are, as your token says.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Viewer> {
        let identity = caller(ctx)?.identity;
        let canteens = match &identity.canteens {
            Canteens::Only(named) => named.iter().map(|canteen| NodeId::Canteen(*canteen).encode()).collect(),
            Canteens::All(_) => vec![],
        };
        Ok(Viewer {
            tenant: identity.tenant.0.into(),
            actor: identity.actor.0.into(),
            roles: identity.roles.clone(),
            all_canteens: identity.works_everywhere(),
            canteens,
        })
    }

    /// Whatever has that global id; null when there is no such thing that you may see.
    async fn node(&self, ctx: &Context<'_>, #[graphql(desc = "A global id.")] id: ID) -> Result<Option<Node>> {
        let caller = caller(ctx)?;
        let Some(id) = NodeId::decode(&id) else { return Ok(None) };
        Ok(read(&caller, id).await?)
    }
}
