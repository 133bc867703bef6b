//! Looking for something to eat: what the servings of a day offer, by name.

use async_graphql::{Context, ID, Object, Result, SimpleObject, connection::Connection};
use projections::menu as views;

use crate::{
    caller::caller,
    errors::{Code, coded, not_found},
    menu::{Offer, Serving},
    node, paging,
    scalars::Date,
};

/// Longest name that is looked for, in characters.
const LONGEST: usize = 100;

/// A dish that was found, and the serving that offers it.
#[derive(SimpleObject)]
pub(crate) struct FoundOffer {
    /// The serving.
    serving: Serving,
    /// What it offers.
    offer: Offer,
}

fn write_cursor((serving, offer): &(views::Serving, views::Offer)) -> String {
    format!("{}/{}", serving.serving, offer.place)
}

fn read_cursor(text: &str) -> Option<views::FoundAfter> {
    let (serving, place) = text.split_once('/')?;
    Some((serving.parse().ok()?, place.parse().ok()?))
}

#[derive(Default)]
pub(crate) struct MenuSearchQuery;

#[Object]
impl MenuSearchQuery {
    /// Dishes that servings of a day sell and whose name has a part like this; the case of Latin letters does not
    /// matter. By serving, in each canteen's own order; what was withdrawn is left out.
    async fn menu_search(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The local date of the canteens.")] date: Date,
        #[graphql(desc = "Part of a dish's name, 1 to 100 characters.")] name: String,
        #[graphql(desc = "Only those of this canteen.")] canteen: Option<ID>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, FoundOffer>> {
        let caller = caller(ctx)?;
        let name = name.trim();
        if name.is_empty() || name.chars().count() > LONGEST {
            return Err(coded(Code::BadInput, "a name to look for has 1 to 100 characters").at("name").into());
        }
        let canteen = canteen.map(|id| node::canteen(&id).ok_or_else(|| not_found("canteen").at("canteen")));
        let canteen = canteen.transpose()?;
        let after = paging::cursor(after.as_deref(), read_cursor)?;
        let asked = views::Search { tenant: caller.tenant(), date: date.0, canteen, name: name.to_owned() };
        let fetch = |after, size| views::search(caller.views(), asked.clone(), after, size);
        let page = paging::page(first, after, fetch).await?;
        let found = |(serving, offer): (views::Serving, views::Offer)| FoundOffer {
            offer: Offer::of_row(&serving, &offer),
            serving: Serving::from(&serving),
        };
        Ok(paging::connection(page, write_cursor, found))
    }
}
