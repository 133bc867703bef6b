//! One method a use case, for those that change a single aggregate.

use domain::{
    AccountId, CanteenId, CompanyId, Currency, DinerId, DishId, GroupId, Money, OrderId, PolicyId, ServingId,
    Timestamp, account,
    account::Account,
    diner,
    diner::Diner,
    first_instant, menu,
    menu::{Dish, Menu},
    order,
    order::Order,
    policy,
    policy::Policy,
    serving,
    serving::{Meal, Offer, Plan, Serving},
};
use jiff::{civil, tz::TimeZone};

use crate::{Commands, Failure, Interrupted, Outcome, Request};

/// A serving as its canteen asks for it; times are local to the canteen.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct NewServing {
    pub canteen: CanteenId,
    pub date: civil::Date,
    pub meal: Meal,
    pub opens: civil::DateTime,
    pub cut_off: civil::DateTime,
    /// When the kitchen locks; at the cut-off if it is not said.
    pub lock: Option<civil::DateTime>,
    /// Most portions that one diner may hold.
    pub diner_limit: u32,
    /// What a no-show is charged, in percent of what was paid.
    pub no_show_percent: u8,
    pub offers: Vec<NewOffer>,
}

/// A dish of the canteen's menu, to be sold in a serving.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct NewOffer {
    pub dish: DishId,
    pub portions: u32,
    /// The menu's price if it is not said.
    pub price: Option<Money>,
}

/// Why a serving could not be published.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PublishError {
    #[error(transparent)]
    Menu(#[from] menu::Error),
    #[error(transparent)]
    Serving(#[from] serving::Error),
    #[error("{0}")]
    BadTime(String),
}

type Done<A> = Result<Outcome<<A as domain::Aggregate>::Event>, Failure<<A as domain::Aggregate>::Error>>;

impl Commands {
    /// Opens a canteen. Its id is the request's.
    pub async fn open_canteen(&self, request: Request, name: String, zone: String, currency: Currency) -> Done<Menu> {
        let canteen = CanteenId(request.id);
        self.on_menu(request, canteen, menu::Command::Open { name, zone, currency }).await
    }

    /// Adds a dish to a canteen's menu, or changes it.
    pub async fn put_dish(&self, request: Request, canteen: CanteenId, dish: DishId, spec: Dish) -> Done<Menu> {
        self.on_menu(request, canteen, menu::Command::PutDish { dish, spec }).await
    }

    pub async fn on_menu(&self, request: Request, canteen: CanteenId, command: menu::Command) -> Done<Menu> {
        self.execute::<Menu>(request.tenant, canteen, command, request.cause(canteen.0)).await
    }

    /// Publishes a serving at the menu's dishes. Its id is the request's.
    pub async fn publish_serving(
        &self,
        request: Request,
        new: NewServing,
    ) -> Result<Outcome<serving::Event>, Failure<PublishError>> {
        let menu = self.look(request.tenant, new.canteen, |menu: &Menu| menu.clone()).await?;
        let plan = plan(&menu, new).map_err(Failure::Refused)?;
        let published = self.on_serving(request, ServingId(request.id), serving::Command::Publish(plan)).await;
        published.map_err(|failure| failure.map(PublishError::from))
    }

    pub async fn on_serving(&self, request: Request, serving: ServingId, command: serving::Command) -> Done<Serving> {
        self.execute::<Serving>(request.tenant, serving, command, request.cause(serving.0)).await
    }

    /// Pays money from the bank into an account by itself, and opens it with the first. For tests and measurements
    /// of accounts alone: money that comes in is a top-up, of which the account knows only this.
    pub async fn deposit(&self, request: Request, account: AccountId, amount: Money) -> Done<Account> {
        self.on_account(
            request,
            account,
            account::Command::Deposit { deposit: request.id, amount, source: domain::top_up::Source::Bank },
        )
        .await
    }

    pub async fn on_account(&self, request: Request, id: AccountId, command: account::Command) -> Done<Account> {
        let (_, key) = <Account as domain::Aggregate>::stream_key(id);
        self.execute::<Account>(request.tenant, id, command, request.cause(key)).await
    }

    /// Opens a policy. Its id is the request's.
    pub async fn open_policy(
        &self,
        request: Request,
        (company, group): (CompanyId, Option<GroupId>),
        currency: Currency,
        zone: String,
    ) -> Done<Policy> {
        let command = policy::Command::Open { company, group, currency, zone };
        self.on_policy(request, PolicyId(request.id), command).await
    }

    pub async fn on_policy(&self, request: Request, policy: PolicyId, command: policy::Command) -> Done<Policy> {
        self.execute::<Policy>(request.tenant, policy, command, request.cause(policy.0)).await
    }

    /// Joins a diner to a company, moves or ends the employment.
    pub async fn on_diner(&self, request: Request, diner: DinerId, command: diner::Command) -> Done<Diner> {
        self.execute::<Diner>(request.tenant, diner, command, request.cause(diner.0)).await
    }

    /// The kitchen has the order ready; the diner collects it with the code.
    pub async fn mark_ready(&self, request: Request, order: OrderId) -> Done<Order> {
        self.on_order(request, order, order::Command::MarkReady { code: pickup_code(order) }).await
    }

    pub async fn on_order(&self, request: Request, order: OrderId, command: order::Command) -> Done<Order> {
        self.execute::<Order>(request.tenant, order, command, request.cause(order.0)).await
    }

    /// A canteen's currency and time zone; none when there is no such canteen.
    pub async fn canteen_terms(
        &self,
        tenant: domain::TenantId,
        canteen: CanteenId,
    ) -> Result<Option<(Currency, String)>, Interrupted> {
        self.look(tenant, canteen, |menu: &Menu| match menu {
            Menu::New => None,
            Menu::Open { currency, zone, .. } => Some((*currency, zone.clone())),
        })
        .await
    }
}

/// Four digits that follow from the order, so that a repeat names the same.
fn pickup_code(order: OrderId) -> String {
    let hash = blake3::hash(order.0.as_bytes());
    let number = u32::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1], hash.as_bytes()[2], 0]);
    format!("{:04}", number % 10_000)
}

fn plan(menu: &Menu, new: NewServing) -> Result<Plan, PublishError> {
    let Menu::Open { zone, currency, .. } = menu else { return Err(menu::Error::NotOpen.into()) };
    let zone = TimeZone::get(zone).map_err(|error| PublishError::BadTime(error.to_string()))?;
    let instant = |local: civil::DateTime| -> Result<Timestamp, PublishError> {
        first_instant(local, &zone).map_err(|error| PublishError::BadTime(error.to_string()))
    };
    let offer = |offer: NewOffer| -> Result<Offer, PublishError> {
        let mut spec = menu.dish(offer.dish).ok_or(menu::Error::UnknownDish { dish: offer.dish })?.clone();
        spec.price = offer.price.unwrap_or(spec.price);
        Ok(Offer { dish: offer.dish, spec, portions: offer.portions })
    };
    Ok(Plan {
        canteen: new.canteen,
        date: new.date,
        meal: new.meal,
        currency: *currency,
        opens_at: instant(new.opens)?,
        cut_off: instant(new.cut_off)?,
        lock_at: instant(new.lock.unwrap_or(new.cut_off))?,
        diner_limit: new.diner_limit,
        no_show_percent: new.no_show_percent,
        offers: new.offers.into_iter().map(offer).collect::<Result<_, _>>()?,
    })
}
