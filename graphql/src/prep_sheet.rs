//! What a kitchen has to prepare for a serving, by dish and by what was chosen.

use async_graphql::{Context, ID, Object, Result, SimpleObject};
use projections::kitchen_board as views;

use crate::{caller::caller, errors::Failed, menu_changes::serving_of, node::NodeId, order::Selection};

/// A dish that is to be prepared.
#[derive(SimpleObject)]
pub(crate) struct PrepDish {
    /// The dish's global id.
    dish: ID,
    /// What it is called.
    name: String,
    /// How many portions in all.
    portions: u32,
    /// How many of these with which options, most portions first; at most a hundred.
    variants: Vec<PrepVariant>,
}

/// Portions of a dish for which the same was chosen.
#[derive(SimpleObject)]
pub(crate) struct PrepVariant {
    /// What was chosen; nothing, of a dish without options.
    options: Vec<Selection>,
    /// How many portions.
    portions: u32,
}

#[derive(Default)]
pub(crate) struct PrepQuery;

#[Object]
impl PrepQuery {
    /// How many portions a serving's kitchen has still to prepare: what is confirmed or begun, less refunds, by dish
    /// in the order of their names. For its canteen and auditors.
    async fn prep_sheet(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
    ) -> Result<Vec<PrepDish>> {
        let caller = caller(ctx)?;
        let serving = serving_of(&serving)?;
        let canteen = caller.reader_of_serving(serving).await?;
        let dishes = views::prep_sheet(caller.views(), caller.tenant(), serving).await.map_err(Failed::from)?;
        let variant = |of: views::Variant| PrepVariant {
            options: Selection::all(&of.options),
            portions: u32::try_from(of.portions).unwrap_or(u32::MAX),
        };
        let dish = |of: views::Prep| PrepDish {
            dish: NodeId::Dish(canteen, of.dish).encode(),
            name: of.name,
            portions: u32::try_from(of.portions).unwrap_or(u32::MAX),
            variants: of.variants.into_iter().map(variant).collect(),
        };
        Ok(dishes.into_iter().map(dish).collect())
    }
}
