//! What canteens can cook and what they sell today: dishes, servings, offers with portions left.

use domain::{
    CanteenId, Currency, DishId, Fact, Money, ServingId, TenantId, Timestamp,
    menu::{self, OptionGroup},
    serving::{self, Meal},
    tax::TaxRate,
};
use jiff::civil::Date;
use rustc_hash::FxHashMap;
use store::Recorded;

use crate::{Json, PageSize, Poison, Projection, Row, Rows, Snapshot, TableSpec, ViewError, Views, args, row};

row! {
    /// A canteen and the terms under which it sells.
    pub struct Canteen in "canteens" {
        key { tenant: TenantId, canteen: CanteenId }
        name: String,
        /// IANA time zone.
        zone: String,
        currency: Currency,
    }
}

row! {
    /// A dish that a canteen can cook. Retired ones stay, so that old servings still name them.
    pub struct Dish in "dishes" {
        key { tenant: TenantId, canteen: CanteenId, dish: DishId }
        name: String,
        category: String,
        price_minor: i64,
        currency: Currency,
        /// That the price includes.
        tax: TaxRate,
        options: Json<Vec<OptionGroup>>,
        retired: bool,
    }
}

impl Dish {
    pub fn price(&self) -> Money {
        Money::new(self.price_minor, self.currency)
    }
}

row! {
    /// One meal of one day at one canteen.
    pub struct Serving in "servings" {
        key { tenant: TenantId, serving: ServingId }
        canteen: CanteenId,
        date: Date,
        meal: Meal,
        currency: Currency,
        opens_at: Timestamp,
        cut_off: Timestamp,
        lock_at: Timestamp,
        /// Most portions that one diner may hold.
        diner_limit: u32,
        withdrawn: bool,
        /// What it offers, in the canteen's own order.
        offered: Json<Vec<DishId>>,
    }
    index "day" on "(tenant, date, canteen)";
}

row! {
    /// A dish as a serving sells it.
    pub struct Offer in "offers" {
        key { tenant: TenantId, serving: ServingId, dish: DishId }
        /// Where the canteen put it in its plan, from 0.
        place: u16,
        name: String,
        category: String,
        price_minor: i64,
        currency: Currency,
        /// That the price includes.
        tax: TaxRate,
        options: Json<Vec<OptionGroup>>,
        portions: u32,
        reserved: u32,
        withdrawn: bool,
    }
}

impl Offer {
    pub fn price(&self) -> Money {
        Money::new(self.price_minor, self.currency)
    }

    /// Portions that can still be ordered, unless the whole serving is withdrawn.
    pub fn left(&self) -> u32 {
        if self.withdrawn { 0 } else { self.portions.saturating_sub(self.reserved) }
    }
}

/// The projection.
pub struct Menus;

impl Projection for Menus {
    fn name(&self) -> &'static str {
        "menu"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Canteen::TABLE, Dish::TABLE, Serving::TABLE, Offer::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        match &it.fact {
            Fact::Menu(canteen, event) => of_menu(it.tenant, *canteen, event, rows),
            Fact::Serving(serving, event) => of_serving(it.tenant, *serving, event, rows),
            // What an order takes of a serving, the serving says itself.
            Fact::Order(..)
            | Fact::Payment(..)
            | Fact::Account(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Diner(..)
            | Fact::Books(..)
            | Fact::Invoice(..)
            | Fact::Correction(..)
            | Fact::TopUp(..)
            | Fact::Payout(..) => Ok(()),
        }
    }
}

fn of_menu(tenant: TenantId, canteen: CanteenId, event: &menu::Event, rows: &mut Rows) -> Result<(), Poison> {
    match event {
        menu::Event::Opened { name, zone, currency } => {
            rows.create(Canteen { tenant, canteen, name: name.clone(), zone: zone.clone(), currency: *currency });
        }
        menu::Event::DishPut { dish, spec } => rows.put(Dish {
            tenant,
            canteen,
            dish: *dish,
            name: spec.name.clone(),
            category: spec.category.clone(),
            price_minor: spec.price.minor,
            currency: spec.price.currency,
            tax: spec.tax,
            options: Json(spec.options.clone()),
            retired: false,
        }),
        menu::Event::DishRetired { dish } => {
            let known = rows.get_mut::<Dish>(&(tenant, canteen, *dish));
            known.ok_or_else(|| Poison(format!("dish {dish} was retired before it was put")))?.retired = true;
        }
    }
    Ok(())
}

fn of_serving(tenant: TenantId, serving: ServingId, event: &serving::Event, rows: &mut Rows) -> Result<(), Poison> {
    match event {
        serving::Event::Published(plan) => publish(tenant, serving, plan, rows),
        serving::Event::Reserved { portions, .. } | serving::Event::Widened { portions, .. } => {
            for taken in portions {
                let offer = offer(tenant, serving, taken.dish, rows)?;
                offer.reserved = offer.reserved.saturating_add(taken.quantity);
            }
        }
        serving::Event::Released { portions, .. } | serving::Event::Narrowed { portions, .. } => {
            for given in portions {
                let offer = offer(tenant, serving, given.dish, rows)?;
                offer.reserved = offer.reserved.saturating_sub(given.quantity);
            }
        }
        serving::Event::PortionsSet { dish, portions } => offer(tenant, serving, *dish, rows)?.portions = *portions,
        serving::Event::PriceSet { dish, price } => offer(tenant, serving, *dish, rows)?.price_minor = price.minor,
        serving::Event::DishWithdrawn { dish, .. } => {
            let offer = offer(tenant, serving, *dish, rows)?;
            offer.withdrawn = true;
            // Every order that held it gives it up by this very event.
            offer.reserved = 0;
        }
        serving::Event::Withdrawn { .. } => {
            let known = rows.get_mut::<Serving>(&(tenant, serving));
            let known =
                known.ok_or_else(|| Poison(format!("serving {serving} was withdrawn before it was published")))?;
            known.withdrawn = true;
            for dish in known.offered.0.clone() {
                offer(tenant, serving, dish, rows)?.reserved = 0;
            }
        }
        serving::Event::WithdrawalSettled { .. } => {}
    }
    Ok(())
}

fn publish(tenant: TenantId, serving: ServingId, plan: &serving::Plan, rows: &mut Rows) {
    rows.create(Serving {
        tenant,
        serving,
        canteen: plan.canteen,
        date: plan.date,
        meal: plan.meal,
        currency: plan.currency,
        opens_at: plan.opens_at,
        cut_off: plan.cut_off,
        lock_at: plan.lock_at,
        diner_limit: plan.diner_limit,
        withdrawn: false,
        offered: Json(plan.offers.iter().map(|offer| offer.dish).collect()),
    });
    for (place, offer) in plan.offers.iter().enumerate() {
        rows.create(Offer {
            tenant,
            serving,
            dish: offer.dish,
            place: u16::try_from(place).unwrap_or(u16::MAX),
            name: offer.spec.name.clone(),
            category: offer.spec.category.clone(),
            price_minor: offer.spec.price.minor,
            currency: plan.currency,
            tax: offer.spec.tax,
            options: Json(offer.spec.options.clone()),
            portions: offer.portions,
            reserved: 0,
            withdrawn: false,
        });
    }
}

fn offer(tenant: TenantId, serving: ServingId, dish: DishId, rows: &mut Rows) -> Result<&mut Offer, Poison> {
    let offer = rows.get_mut::<Offer>(&(tenant, serving, dish));
    offer.ok_or_else(|| Poison(format!("serving {serving} has no offer of dish {dish}")))
}

/// A serving with its offers, in the canteen's own order.
#[derive(Clone, Debug, PartialEq)]
pub struct ServingMenu {
    pub serving: Serving,
    pub offers: Vec<Offer>,
}

/// The tenant's canteens after `after`, in the order of their ids.
pub async fn canteens(
    views: &Views,
    tenant: TenantId,
    after: Option<CanteenId>,
    page: PageSize,
) -> Result<Vec<Canteen>, ViewError> {
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND (?2 IS NULL OR canteen > ?2) ORDER BY canteen LIMIT ?3",
                args![tenant, after, page],
            )
        })
        .await
}

pub async fn canteen(views: &Views, tenant: TenantId, canteen: CanteenId) -> Result<Option<Canteen>, ViewError> {
    views.read(move |snapshot| snapshot.fetch_one("WHERE tenant = ?1 AND canteen = ?2", args![tenant, canteen])).await
}

/// Several canteens, in no order; unknown ones are left out.
pub async fn canteens_of(views: &Views, tenant: TenantId, canteens: Vec<CanteenId>) -> Result<Vec<Canteen>, ViewError> {
    views.read(move |snapshot| snapshot.fetch_among(tenant, ("canteen", &canteens), "")).await
}

/// Of each of these canteens the first `limit` dishes on its menu, in the order of their ids.
pub async fn first_dishes(
    views: &Views,
    tenant: TenantId,
    canteens: Vec<CanteenId>,
    limit: u32,
) -> Result<Vec<Dish>, ViewError> {
    let first = "AND NOT retired ORDER BY dish";
    views.read(move |snapshot| snapshot.fetch_first(tenant, ("canteen", &canteens), first, limit)).await
}

/// The dishes on a canteen's menu after `after`, in the order of their ids. Retired ones are left out.
pub async fn dishes(
    views: &Views,
    tenant: TenantId,
    canteen: CanteenId,
    after: Option<DishId>,
    page: PageSize,
) -> Result<Vec<Dish>, ViewError> {
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND canteen = ?2 AND (?3 IS NULL OR dish > ?3) AND NOT retired
                 ORDER BY dish LIMIT ?4",
                args![tenant, canteen, after, page],
            )
        })
        .await
}

/// One dish of a canteen, also when it is retired.
pub async fn dish(
    views: &Views,
    tenant: TenantId,
    canteen: CanteenId,
    dish: DishId,
) -> Result<Option<Dish>, ViewError> {
    views
        .read(move |snapshot| {
            snapshot.fetch_one("WHERE tenant = ?1 AND canteen = ?2 AND dish = ?3", args![tenant, canteen, dish])
        })
        .await
}

/// The servings of a day, of one canteen or of all, after `after`, in the order of their ids.
pub async fn servings_on(
    views: &Views,
    tenant: TenantId,
    canteen: Option<CanteenId>,
    date: Date,
    after: Option<ServingId>,
    page: PageSize,
) -> Result<Vec<Serving>, ViewError> {
    views
        .read(move |snapshot| {
            snapshot.fetch(
                "WHERE tenant = ?1 AND date = ?2 AND (?3 IS NULL OR canteen = ?3) AND (?4 IS NULL OR serving > ?4)
                 ORDER BY serving LIMIT ?5",
                args![tenant, date, canteen, after, page],
            )
        })
        .await
}

pub async fn serving(views: &Views, tenant: TenantId, serving: ServingId) -> Result<Option<Serving>, ViewError> {
    views.read(move |snapshot| snapshot.fetch_one("WHERE tenant = ?1 AND serving = ?2", args![tenant, serving])).await
}

/// One serving with all its offers (at most [`serving::MAX_OFFERS`]).
pub async fn serving_menu(
    views: &Views,
    tenant: TenantId,
    serving: ServingId,
) -> Result<Option<ServingMenu>, ViewError> {
    let found = serving_menus(views, tenant, vec![serving]).await?;
    Ok(found.into_iter().next())
}

/// Several servings with their offers, in the order asked; unknown ones are left out. At most 100
/// are looked up.
pub async fn serving_menus(
    views: &Views,
    tenant: TenantId,
    servings: Vec<ServingId>,
) -> Result<Vec<ServingMenu>, ViewError> {
    views
        .read(move |snapshot| {
            let asked = &servings[..servings.len().min(PageSize::MAX.get())];
            menus_of(snapshot, tenant, asked)
        })
        .await
}

pub(crate) fn menu_of(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    serving: ServingId,
) -> Result<Option<ServingMenu>, ViewError> {
    Ok(menus_of(snapshot, tenant, &[serving])?.pop())
}

fn menus_of(snapshot: &Snapshot<'_>, tenant: TenantId, servings: &[ServingId]) -> Result<Vec<ServingMenu>, ViewError> {
    let found: Vec<Serving> = snapshot.fetch_among(tenant, ("serving", servings), "")?;
    let offers: Vec<Offer> = snapshot.fetch_among(tenant, ("serving", servings), "ORDER BY serving, place")?;
    let mut offers_of: FxHashMap<ServingId, Vec<Offer>> = FxHashMap::default();
    for offer in offers {
        offers_of.entry(offer.serving).or_default().push(offer);
    }
    let mut found: FxHashMap<ServingId, Serving> = found.into_iter().map(|one| (one.serving, one)).collect();
    let menu = |serving: &ServingId| {
        let offers = offers_of.remove(serving).unwrap_or_default();
        Some(ServingMenu { serving: found.remove(serving)?, offers })
    };
    Ok(servings.iter().filter_map(menu).collect())
}

/// What is looked for: offers of a day whose name has a part like `name`.
#[derive(Clone, Debug)]
pub struct Search {
    pub tenant: TenantId,
    pub date: Date,
    /// Only this canteen's, if it is said.
    pub canteen: Option<CanteenId>,
    pub name: String,
}

/// Where a page of what was found goes on: after this serving's offer at this place.
pub type FoundAfter = (ServingId, u16);

/// The pattern of everything that has `text` within, with what `LIKE` would take for more than itself behind a
/// `!`.
fn containing(text: &str) -> String {
    let plain: String =
        text.chars().flat_map(|c| matches!(c, '!' | '%' | '_').then_some('!').into_iter().chain([c])).collect();
    format!("%{plain}%")
}

/// What servings sell that was looked for, each with its serving, in the order of servings and places. Letters A to
/// Z are found in either case, on either database.
pub async fn search(
    views: &Views,
    asked: Search,
    after: Option<FoundAfter>,
    page: PageSize,
) -> Result<Vec<(Serving, Offer)>, ViewError> {
    let (as_said, lower) = (containing(&asked.name), containing(&asked.name.to_ascii_lowercase()));
    let (serving_after, place_after) = after.unzip();
    views
        .read(move |snapshot| {
            let columns: Vec<String> = Offer::TABLE.columns.iter().map(|column| format!("o.{}", column.name)).collect();
            let sql = format!(
                "SELECT {} FROM {{servings}} AS s JOIN {{offers}} AS o ON o.tenant = s.tenant AND o.serving = s.serving
                 WHERE s.tenant = ?1 AND s.date = ?2 AND (?3 IS NULL OR s.canteen = ?3) AND NOT s.withdrawn
                   AND NOT o.withdrawn AND (lower(o.name) LIKE ?4 ESCAPE '!' OR o.name LIKE ?5 ESCAPE '!')
                   AND (?6 IS NULL OR (s.serving, o.place) > (?6, ?7))
                 ORDER BY s.serving, o.place LIMIT ?8",
                columns.join(", ")
            );
            let Search { tenant, date, canteen, .. } = asked;
            let args = args![tenant, date, canteen, lower, as_said, serving_after, place_after, page];
            let offers: Vec<Offer> = snapshot.query(&sql, args, Offer::read)?;
            let mut servings: Vec<ServingId> = offers.iter().map(|offer| offer.serving).collect();
            servings.dedup();
            let found: Vec<Serving> = snapshot.fetch_among(tenant, ("serving", &servings), "")?;
            let found: FxHashMap<ServingId, Serving> = found.into_iter().map(|one| (one.serving, one)).collect();
            Ok(offers.into_iter().filter_map(|offer| Some((found.get(&offer.serving)?.clone(), offer))).collect())
        })
        .await
}
