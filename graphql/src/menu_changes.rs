//! What canteens change of their menus and servings.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use commands::{NewOffer, NewServing};
use domain::{
    CanteenId, DishId, ServingId, menu, serving,
    tax::{NotATaxRate, TaxRate},
};
use jiff::tz::TimeZone;

use crate::{
    caller::{Caller, Written, caller},
    errors::{self, Code, Failed, coded, not_found},
    menu::{Canteen, Dish, Meal, OptionGroupInput, Serving, look_canteen, look_serving},
    node::{self, NodeId},
    scalars::{Date, Decimal, LocalDateTime, MoneyInput, PositiveInt, Uuid},
};

/// A canteen after a change.
#[derive(SimpleObject)]
pub(crate) struct CanteenPayload {
    /// As it is now.
    canteen: Canteen,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// A dish after a change.
#[derive(SimpleObject)]
pub(crate) struct DishPayload {
    /// As it is now; null when it was retired.
    dish: Option<Dish>,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// A serving after a change.
#[derive(SimpleObject)]
pub(crate) struct ServingPayload {
    /// As it is now.
    serving: Serving,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// A dish as the canteen wants it.
#[derive(InputObject)]
pub(crate) struct DishInput {
    /// What people call it: 1 to 120 characters.
    name: String,
    /// What kind of dish it is: 1 to 120 characters.
    category: String,
    /// Of one portion without options; in the canteen's currency, never negative.
    price: MoneyInput,
    /// Percent of tax that the price includes, from 0 (none) to 100, with at most two decimal places.
    tax_rate: Option<Decimal>,
    /// What is asked of everybody who orders it, at most 20 groups.
    #[graphql(default)]
    options: Vec<OptionGroupInput>,
}

impl DishInput {
    fn read(self) -> Result<menu::Dish, Failed> {
        Ok(menu::Dish {
            price: self.price.read("price")?,
            tax: self.tax_rate.map_or(Ok(TaxRate::ZERO), tax_rate)?,
            options: self.options.into_iter().map(OptionGroupInput::read).collect::<Result<_, _>>()?,
            name: self.name,
            category: self.category,
        })
    }
}

fn tax_rate(percent: Decimal) -> Result<TaxRate, Failed> {
    let refused = || errors::of(Code::BadInput, &NotATaxRate(percent.0.to_string())).at("taxRate");
    TaxRate::from_percent(percent.0.0).ok_or_else(refused)
}

/// A serving as the canteen wants it. Times are the canteen's local ones.
#[derive(InputObject)]
pub(crate) struct ServingInput {
    /// Which canteen serves.
    canteen: ID,
    /// On which local date.
    date: Date,
    /// Which meal of that day.
    meal: Meal,
    /// When ordering opens.
    opens: LocalDateTime,
    /// When ordering closes.
    cut_off: LocalDateTime,
    /// When the kitchen starts and diners cannot cancel any more; at the cut-off if it is not said.
    lock: Option<LocalDateTime>,
    /// Most portions that one diner may hold.
    diner_limit: PositiveInt,
    /// What a no-show is charged, in percent of what was paid, 0 to 100.
    #[graphql(default = 100)]
    no_show_percent: u8,
    /// What it offers, 1 to 500 dishes.
    offers: Vec<OfferInput>,
}

/// A dish that a serving is to sell.
#[derive(InputObject)]
pub(crate) struct OfferInput {
    /// One of the canteen's dishes.
    dish: ID,
    /// How many there are.
    portions: PositiveInt,
    /// Of one portion without options; the menu's price if it is not said.
    price: Option<MoneyInput>,
}

impl ServingInput {
    fn read(self, canteen: CanteenId) -> Result<NewServing, Failed> {
        let offer = |offer: OfferInput| {
            Ok(NewOffer {
                dish: dish_of(canteen, &offer.dish)?,
                portions: offer.portions.0,
                price: offer.price.map(|price| price.read("price")).transpose()?,
            })
        };
        Ok(NewServing {
            canteen,
            date: self.date.0,
            meal: self.meal.into(),
            opens: self.opens.0,
            cut_off: self.cut_off.0,
            lock: self.lock.map(|lock| lock.0),
            diner_limit: self.diner_limit.0,
            no_show_percent: self.no_show_percent,
            offers: self.offers.into_iter().map(offer).collect::<Result<_, Failed>>()?,
        })
    }
}

fn dish_of(canteen: CanteenId, id: &ID) -> Result<DishId, Failed> {
    match NodeId::decode(id) {
        Some(NodeId::Dish(of, dish)) if of == canteen => Ok(dish),
        _ => Err(not_found("dish in this canteen").at("dish")),
    }
}

fn any_dish(id: &ID) -> Result<(CanteenId, DishId), Failed> {
    match NodeId::decode(id) {
        Some(NodeId::Dish(canteen, dish)) => Ok((canteen, dish)),
        _ => Err(not_found("dish").at("dish")),
    }
}

pub(crate) fn serving_of(id: &ID) -> Result<ServingId, Failed> {
    node::serving(id).ok_or_else(|| not_found("serving").at("serving"))
}

async fn dish_after(caller: &Caller<'_>, canteen: CanteenId, dish: DishId, at: Written) -> Result<DishPayload, Failed> {
    let look = |menu: &menu::Menu| menu.dish(dish).map(|spec| Dish::new(canteen, dish, spec));
    let dish = caller.commands().look(caller.tenant(), canteen, look).await?;
    Ok(DishPayload { dish, consistency_token: at.token })
}

/// Gives a serving a command of its staff.
async fn change(
    ctx: &Context<'_>,
    mutation: &str,
    key: Uuid,
    serving: ID,
    input: &impl serde::Serialize,
    command: impl FnOnce(CanteenId) -> Result<serving::Command, Failed>,
) -> Result<ServingPayload, Failed> {
    let caller = caller(ctx)?;
    let serving = serving_of(&serving)?;
    let canteen = caller.staff_of_serving(serving).await?;
    let command = command(canteen)?;
    let request = caller.request(mutation, key, &(serving, input))?;
    let outcome = caller.commands().on_serving(request, serving, command).await.map_err(Failed::from)?;
    let at = caller.outcome(&outcome).await?;
    Ok(ServingPayload { serving: look_serving(&caller, serving, at.position).await?, consistency_token: at.token })
}

#[derive(Default)]
pub(crate) struct MenuMutation;

#[Object]
impl MenuMutation {
    /// Opens a canteen. For staff of all canteens.
    async fn open_canteen(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What people call it: 1 to 120 characters.")] name: String,
        #[graphql(desc = "An IANA time zone, such as Asia/Shanghai.")] zone: String,
        #[graphql(desc = "The ISO 4217 code of the currency in which it sells, such as CNY.")] currency: String,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<CanteenPayload> {
        let caller = caller(ctx)?;
        if !caller.identity.works_everywhere() {
            return Err(coded(Code::Forbidden, "only staff of all canteens may open another").into());
        }
        let request = caller.request("openCanteen", idempotency_key, &(&name, &zone, &currency))?;
        let known =
            currency.parse().map_err(|error: domain::MoneyError| errors::of(Code::BadInput, &error).at("currency"))?;
        if TimeZone::get(&zone).is_err() {
            let unknown = coded(Code::BadInput, "there is no such time zone; use one such as Asia/Shanghai");
            return Err(unknown.at("zone").into());
        }
        let outcome = caller.commands().open_canteen(request, name, zone, known).await.map_err(Failed::from)?;
        let at = caller.outcome(&outcome).await?;
        let canteen = look_canteen(&caller, CanteenId(request.id), at.position).await?;
        Ok(CanteenPayload { canteen, consistency_token: at.token })
    }

    /// Adds a dish to a canteen's menu, or changes it from the next serving on.
    async fn put_dish(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The canteen's global id.")] canteen: ID,
        #[graphql(desc = "The dish to change; a new one if it is not said.")] dish: Option<ID>,
        #[graphql(desc = "All of the dish as it should be.")] spec: DishInput,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<DishPayload> {
        let caller = caller(ctx)?;
        let canteen = node::canteen(&canteen).ok_or_else(|| not_found("canteen").at("canteen"))?;
        caller.staff_of(canteen)?;
        let known = dish.map(|dish| dish_of(canteen, &dish)).transpose()?;
        let spec = spec.read()?;
        let request = caller.request("putDish", idempotency_key, &(canteen, known, &spec))?;
        if let Some(dish) = known {
            let exists = |menu: &menu::Menu| menu.dish(dish).is_some();
            if !caller.commands().look(caller.tenant(), canteen, exists).await.map_err(Failed::from)? {
                return Err(not_found("dish in this canteen").at("dish").into());
            }
        }
        let dish = known.unwrap_or(DishId(request.id));
        let outcome = caller.commands().put_dish(request, canteen, dish, spec).await.map_err(Failed::from)?;
        let at = caller.outcome(&outcome).await?;
        Ok(dish_after(&caller, canteen, dish, at).await?)
    }

    /// Takes a dish off its canteen's menu. Servings that were published before keep it.
    async fn retire_dish(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The dish's global id.")] dish: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<DishPayload> {
        let caller = caller(ctx)?;
        let (canteen, dish) = any_dish(&dish)?;
        caller.staff_of(canteen)?;
        let request = caller.request("retireDish", idempotency_key, &(canteen, dish))?;
        let command = menu::Command::RetireDish { dish };
        let outcome = caller.commands().on_menu(request, canteen, command).await.map_err(Failed::from)?;
        let at = caller.outcome(&outcome).await?;
        Ok(dish_after(&caller, canteen, dish, at).await?)
    }

    /// Publishes a serving. Its times are fixed as instants in the canteen's zone; a local time that
    /// its clocks skip means the first instant after the gap.
    async fn publish_serving(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "All of the serving.")] serving: ServingInput,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<ServingPayload> {
        let caller = caller(ctx)?;
        let canteen = node::canteen(&serving.canteen).ok_or_else(|| not_found("canteen").at("canteen"))?;
        caller.staff_of(canteen)?;
        let new = serving.read(canteen)?;
        let request = caller.request("publishServing", idempotency_key, &new)?;
        let outcome = caller.commands().publish_serving(request, new).await.map_err(Failed::from)?;
        let at = caller.outcome(&outcome).await?;
        let serving = look_serving(&caller, ServingId(request.id), at.position).await?;
        Ok(ServingPayload { serving, consistency_token: at.token })
    }

    /// Raises or lowers how many portions a serving sells of a dish; never below what is reserved.
    async fn set_portions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
        #[graphql(desc = "A dish that it offers.")] dish: ID,
        #[graphql(desc = "How many there are in all, 0 or more.")] portions: u32,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<ServingPayload> {
        let input = (&dish.0, portions);
        let payload = change(ctx, "setPortions", idempotency_key, serving, &input, |canteen| {
            Ok(serving::Command::SetPortions { dish: dish_of(canteen, &dish)?, portions })
        });
        Ok(payload.await?)
    }

    /// Changes the price at which a serving sells a dish. Orders that were placed keep theirs.
    async fn set_price(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
        #[graphql(desc = "A dish that it offers.")] dish: ID,
        #[graphql(desc = "Of one portion without options.")] price: MoneyInput,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<ServingPayload> {
        let price = price.read("price")?;
        let input = (&dish.0, price);
        let payload = change(ctx, "setPrice", idempotency_key, serving, &input, |canteen| {
            Ok(serving::Command::SetPrice { dish: dish_of(canteen, &dish)?, price })
        });
        Ok(payload.await?)
    }

    /// Stops the sale of a dish in a serving. Its portions of orders that were placed are refunded.
    async fn withdraw_dish(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
        #[graphql(desc = "A dish that it offers.")] dish: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<ServingPayload> {
        let payload = change(ctx, "withdrawDish", idempotency_key, serving, &dish.0, |canteen| {
            Ok(serving::Command::WithdrawDish { dish: dish_of(canteen, &dish)? })
        });
        Ok(payload.await?)
    }

    /// Stops the sale of everything in a serving. Its orders are refunded.
    async fn withdraw_serving(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<ServingPayload> {
        let withdraw = |_| Ok(serving::Command::Withdraw);
        Ok(change(ctx, "withdrawServing", idempotency_key, serving, &(), withdraw).await?)
    }
}
