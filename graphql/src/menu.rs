//! Canteens, their dishes, their servings, and what is left of what these offer.

use async_graphql::{
    Context, Enum, ID, InputObject, Object, Result, SimpleObject,
    connection::{Connection, EmptyFields},
};
use domain::{
    CanteenId, DishId, ServingId,
    menu::{self as domain_menu, Menu},
    serving::{self as domain_serving, Book},
};
use jiff::civil;
use projections::menu as views;
use store::Position;

use crate::{
    caller::{Caller, caller},
    errors::{Failed, not_found},
    loaders::{First, Loaders},
    node::{self, NodeId},
    paging,
    scalars::{Date, DateTime, Decimal, Money, MoneyInput},
};

/// A page of dishes.
type Dishes = Connection<String, Dish, EmptyFields, EmptyFields>;

/// A kitchen that cooks and serves.
pub(crate) struct Canteen {
    pub(crate) id: CanteenId,
    pub(crate) name: String,
    pub(crate) zone: String,
    pub(crate) currency: &'static str,
    /// Of what was just written; 0 for what was read.
    pub(crate) seen_at: Position,
}

impl From<views::Canteen> for Canteen {
    fn from(row: views::Canteen) -> Self {
        Canteen { id: row.canteen, name: row.name, zone: row.zone, currency: row.currency.code(), seen_at: 0 }
    }
}

/// A kitchen that cooks and serves.
#[Object]
impl Canteen {
    /// Its global id.
    pub(crate) async fn id(&self) -> ID {
        NodeId::Canteen(self.id).encode()
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.name
    }

    /// Its IANA time zone, such as Asia/Shanghai.
    async fn zone(&self) -> &str {
        &self.zone
    }

    /// The ISO 4217 code of the currency in which it sells.
    async fn currency(&self) -> &str {
        self.currency
    }

    /// What it can cook now, in a stable order.
    async fn dishes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Dishes> {
        let caller = caller(ctx)?;
        caller.fresh(self.seen_at).await?;
        let (tenant, canteen) = (caller.tenant(), self.id);
        let cursor = |row: &views::Dish| NodeId::Dish(canteen, row.dish).encode().0;
        let Some(after) = paging::cursor(after.as_deref(), |text| dish_of(canteen, text))? else {
            // Together with those of the other canteens of the answer.
            let size = paging::size(first)?;
            let dishes = ctx.data::<Loaders>()?.load_one(First { of: canteen, size }).await?;
            let page = paging::first_page(dishes.unwrap_or_default(), size);
            return Ok(paging::connection(page, cursor, Dish::from));
        };
        let page =
            paging::page(first, Some(after), |after, size| views::dishes(caller.views(), tenant, canteen, after, size));
        Ok(paging::connection(page.await?, cursor, Dish::from))
    }
}

fn dish_of(canteen: CanteenId, text: &str) -> Option<DishId> {
    match NodeId::decode(text) {
        Some(NodeId::Dish(of, dish)) if of == canteen => Some(dish),
        _ => None,
    }
}

/// Something a canteen can cook.
#[derive(SimpleObject)]
pub(crate) struct Dish {
    /// Its global id.
    #[graphql(owned)]
    pub(crate) id: ID,
    /// What people call it.
    name: String,
    /// What kind of dish it is, in the canteen's own words.
    category: String,
    /// Of one portion without options.
    price: Money,
    /// Percent of tax that the price and those of the options include; 0 is none.
    tax_rate: Decimal,
    /// What is asked of everybody who orders it.
    options: Vec<OptionGroup>,
    /// Whether it is off the menu. Servings that were published before keep it.
    retired: bool,
}

impl Dish {
    pub(crate) fn new(canteen: CanteenId, dish: DishId, spec: &domain_menu::Dish) -> Self {
        Dish {
            id: NodeId::Dish(canteen, dish).encode(),
            name: spec.name.clone(),
            category: spec.category.clone(),
            price: spec.price.into(),
            tax_rate: spec.tax.into(),
            options: groups(&spec.options),
            retired: false,
        }
    }
}

impl From<views::Dish> for Dish {
    fn from(row: views::Dish) -> Self {
        Dish {
            id: NodeId::Dish(row.canteen, row.dish).encode(),
            price: row.price().into(),
            tax_rate: row.tax.into(),
            options: groups(&row.options),
            name: row.name,
            category: row.category,
            retired: row.retired,
        }
    }
}

/// A question asked of everybody who orders a dish.
#[derive(SimpleObject, Clone)]
pub(crate) struct OptionGroup {
    /// Names it within the dish.
    name: String,
    /// Fewest choices to be made.
    min: u8,
    /// Most choices to be made.
    max: u8,
    /// What can be chosen.
    choices: Vec<Choice>,
}

/// One thing to choose.
#[derive(SimpleObject, Clone)]
pub(crate) struct Choice {
    /// Names it within its group.
    name: String,
    /// What it adds to the dish's price.
    price: Money,
}

fn groups(groups: &[domain_menu::OptionGroup]) -> Vec<OptionGroup> {
    let choices = |group: &domain_menu::OptionGroup| {
        group.choices.iter().map(|choice| Choice { name: choice.name.clone(), price: choice.price.into() }).collect()
    };
    let group = |group: &domain_menu::OptionGroup| OptionGroup {
        name: group.name.clone(),
        min: group.min,
        max: group.max,
        choices: choices(group),
    };
    groups.iter().map(group).collect()
}

/// A question asked of everybody who orders a dish.
#[derive(InputObject)]
pub(crate) struct OptionGroupInput {
    /// Names it within the dish.
    name: String,
    /// Fewest choices to be made.
    min: u8,
    /// Most choices to be made; no more than there are.
    max: u8,
    /// What can be chosen, at most 20.
    choices: Vec<ChoiceInput>,
}

/// One thing to choose.
#[derive(InputObject)]
pub(crate) struct ChoiceInput {
    /// Names it within its group.
    name: String,
    /// What it adds to the dish's price; never negative.
    price: MoneyInput,
}

impl OptionGroupInput {
    pub(crate) fn read(self) -> Result<domain_menu::OptionGroup, Failed> {
        let choice =
            |choice: ChoiceInput| Ok(domain_menu::Choice { price: choice.price.read("options")?, name: choice.name });
        let choices = self.choices.into_iter().map(choice).collect::<Result<_, Failed>>()?;
        Ok(domain_menu::OptionGroup { name: self.name, min: self.min, max: self.max, choices })
    }
}

/// A meal of the day.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain_serving::Meal")]
pub(crate) enum Meal {
    /// In the morning.
    Breakfast,
    /// At noon.
    Lunch,
    /// In the evening.
    Dinner,
    /// In between.
    Snack,
}

/// One meal of one day at one canteen.
pub(crate) struct Serving {
    pub(crate) id: ServingId,
    pub(crate) canteen: CanteenId,
    date: civil::Date,
    meal: domain_serving::Meal,
    opens_at: domain::Timestamp,
    cut_off: domain::Timestamp,
    lock_at: domain::Timestamp,
    diner_limit: u32,
    withdrawn: bool,
    /// Of what was just written; otherwise they are loaded together with others'.
    offers: Option<Vec<Offer>>,
    seen_at: Position,
}

impl From<&views::Serving> for Serving {
    fn from(row: &views::Serving) -> Self {
        Serving {
            id: row.serving,
            canteen: row.canteen,
            date: row.date,
            meal: row.meal,
            opens_at: row.opens_at,
            cut_off: row.cut_off,
            lock_at: row.lock_at,
            diner_limit: row.diner_limit,
            withdrawn: row.withdrawn,
            offers: None,
            seen_at: 0,
        }
    }
}

impl Serving {
    /// As its aggregate has it.
    pub(crate) fn of_book(id: ServingId, book: &Book, seen_at: Position) -> Self {
        let offer = |(dish, sale): (&DishId, &domain_serving::Sale)| Offer {
            dish: NodeId::Dish(book.canteen, *dish).encode(),
            name: sale.spec.name.clone(),
            category: sale.spec.category.clone(),
            price: sale.spec.price.into(),
            tax_rate: sale.spec.tax.into(),
            options: groups(&sale.spec.options),
            portions: sale.portions,
            left: if book.withdrawn { 0 } else { sale.left() },
            withdrawn: sale.withdrawn || book.withdrawn,
        };
        Serving {
            id,
            canteen: book.canteen,
            date: book.date,
            meal: book.meal,
            opens_at: book.opens_at,
            cut_off: book.cut_off,
            lock_at: book.lock_at,
            diner_limit: book.diner_limit,
            withdrawn: book.withdrawn,
            offers: Some(book.offers.iter().map(offer).collect()),
            seen_at,
        }
    }
}

/// One meal of one day at one canteen: what it offers, and what is left of it.
#[Object]
impl Serving {
    /// Its global id.
    pub(crate) async fn id(&self) -> ID {
        NodeId::Serving(self.id).encode()
    }

    /// Where it is.
    async fn canteen(&self, ctx: &Context<'_>) -> Result<Canteen> {
        Ok(load_canteen(ctx, self.canteen, self.seen_at).await?)
    }

    /// The canteen's local date.
    async fn date(&self) -> Date {
        self.date.into()
    }

    /// Which meal of that day.
    async fn meal(&self) -> Meal {
        self.meal.into()
    }

    /// When ordering opens.
    async fn opens_at(&self) -> DateTime {
        self.opens_at.into()
    }

    /// When ordering closes: orders are taken up to this instant, not at it.
    async fn cut_off(&self) -> DateTime {
        self.cut_off.into()
    }

    /// When the kitchen starts: from then on a diner cannot cancel.
    async fn lock_at(&self) -> DateTime {
        self.lock_at.into()
    }

    /// Most portions that one diner may hold of it.
    async fn diner_limit(&self) -> u32 {
        self.diner_limit
    }

    /// Whether nothing of it is sold any more.
    async fn withdrawn(&self) -> bool {
        self.withdrawn
    }

    /// What it offers, at most 500 dishes, in the canteen's own order.
    async fn offers(&self, ctx: &Context<'_>) -> Result<Vec<Offer>> {
        if let Some(offers) = &self.offers {
            return Ok(offers.clone());
        }
        let menu = ctx.data::<Loaders>()?.load_one(self.id).await?;
        Ok(menu
            .map(|menu| menu.offers.iter().map(|offer| Offer::of_row(&menu.serving, offer)).collect())
            .unwrap_or_default())
    }
}

/// A dish as a serving sells it.
#[derive(SimpleObject, Clone)]
pub(crate) struct Offer {
    /// The dish's global id.
    dish: ID,
    /// What people call it.
    name: String,
    /// What kind of dish it is, in the canteen's own words.
    category: String,
    /// Of one portion without options.
    price: Money,
    /// Percent of tax that the price and those of the options include; 0 is none.
    tax_rate: Decimal,
    /// What is asked of everybody who orders it.
    options: Vec<OptionGroup>,
    /// How many there are to sell in all.
    portions: u32,
    /// How many can still be ordered.
    left: u32,
    /// Whether it is not sold any more.
    withdrawn: bool,
}

impl Offer {
    pub(crate) fn of_row(serving: &views::Serving, row: &views::Offer) -> Self {
        Offer {
            dish: NodeId::Dish(serving.canteen, row.dish).encode(),
            name: row.name.clone(),
            category: row.category.clone(),
            price: row.price().into(),
            tax_rate: row.tax.into(),
            options: groups(&row.options),
            portions: row.portions,
            left: if serving.withdrawn { 0 } else { row.left() },
            withdrawn: row.withdrawn || serving.withdrawn,
        }
    }
}

/// The canteen of something, loaded together with others'. Of something that was just written
/// (`seen_at` is not 0) it comes from its aggregate, since the views may lag.
pub(crate) async fn load_canteen(ctx: &Context<'_>, id: CanteenId, seen_at: Position) -> Result<Canteen, Failed> {
    if seen_at > 0 {
        return look_canteen(&caller(ctx)?, id, seen_at).await;
    }
    let row = match ctx.data_opt::<Loaders>() {
        Some(loaders) => loaders.load_one(id).await?,
        None => None,
    };
    row.map(Canteen::from).ok_or_else(|| not_found("canteen"))
}

/// As [`load_canteen`], for servings.
pub(crate) async fn load_serving(ctx: &Context<'_>, id: ServingId, seen_at: Position) -> Result<Serving, Failed> {
    if seen_at > 0 {
        return look_serving(&caller(ctx)?, id, seen_at).await;
    }
    let menu = match ctx.data_opt::<Loaders>() {
        Some(loaders) => loaders.load_one(id).await?,
        None => None,
    };
    menu.map(|menu| Serving::from(&menu.serving)).ok_or_else(|| not_found("serving"))
}

/// What a canteen's dish store looks like after a change of it.
pub(crate) async fn look_canteen(caller: &Caller<'_>, id: CanteenId, seen_at: Position) -> Result<Canteen, Failed> {
    let terms = |menu: &Menu| match menu {
        Menu::New => None,
        Menu::Open { name, zone, currency, .. } => {
            Some(Canteen { id, name: name.clone(), zone: zone.clone(), currency: currency.code(), seen_at })
        }
    };
    caller.commands().look(caller.tenant(), id, terms).await?.ok_or_else(|| not_found("canteen"))
}

/// What a serving looks like after a change of it.
pub(crate) async fn look_serving(caller: &Caller<'_>, id: ServingId, seen_at: Position) -> Result<Serving, Failed> {
    let look = |serving: &domain_serving::Serving| serving.book().ok().map(|book| Serving::of_book(id, book, seen_at));
    caller.commands().look(caller.tenant(), id, look).await?.ok_or_else(|| not_found("serving"))
}

#[derive(Default)]
pub(crate) struct MenuQuery;

#[Object]
impl MenuQuery {
    /// The tenant's canteens, in a stable order.
    async fn canteens(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, Canteen>> {
        let caller = caller(ctx)?;
        let after = paging::cursor(after.as_deref(), |text| node::canteen(&ID::from(text)))?;
        let page =
            paging::page(first, after, |after, size| views::canteens(caller.views(), caller.tenant(), after, size));
        let cursor = |row: &views::Canteen| NodeId::Canteen(row.canteen).encode().0;
        Ok(paging::connection(page.await?, cursor, Canteen::from))
    }

    /// A canteen; null when the tenant has none with that id.
    async fn canteen(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The canteen's global id.")] id: ID,
    ) -> Result<Option<Canteen>> {
        let caller = caller(ctx)?;
        let Some(id) = node::canteen(&id) else { return Ok(None) };
        let row = views::canteen(caller.views(), caller.tenant(), id).await.map_err(Failed::from)?;
        Ok(row.map(Canteen::from))
    }

    /// The servings of one day, in a stable order.
    async fn servings(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The local date of the canteens.")] date: Date,
        #[graphql(desc = "Only those of this canteen.")] canteen: Option<ID>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, Serving>> {
        let caller = caller(ctx)?;
        let canteen = match canteen {
            None => None,
            Some(id) => Some(node::canteen(&id).ok_or_else(|| not_found("canteen").at("canteen"))?),
        };
        let after = paging::cursor(after.as_deref(), |text| node::serving(&ID::from(text)))?;
        let page = paging::page(first, after, |after, size| {
            views::servings_on(caller.views(), caller.tenant(), canteen, date.0, after, size)
        });
        let cursor = |row: &views::Serving| NodeId::Serving(row.serving).encode().0;
        Ok(paging::connection(page.await?, cursor, |row| Serving::from(&row)))
    }

    /// A serving; null when the tenant has none with that id.
    async fn serving(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] id: ID,
    ) -> Result<Option<Serving>> {
        let caller = caller(ctx)?;
        let Some(id) = node::serving(&id) else { return Ok(None) };
        let row = views::serving(caller.views(), caller.tenant(), id).await.map_err(Failed::from)?;
        Ok(row.as_ref().map(Serving::from))
    }
}
