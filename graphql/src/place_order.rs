//! What comes of placing an order: the order, or why it cannot be had.

use async_graphql::{ID, InputObject, SimpleObject, Union};
use commands::Failure;
use domain::{
    CanteenId, DishId, OrderId,
    order::{self as domain_order, Refusal, Terms},
    payment::Provider,
};
use sagas::{NewLine, PlaceError};

use crate::{
    errors::{self, Code, Failed, Refusal as _, not_found},
    language::{Chinese, Said},
    node::NodeId,
    order::Order,
    scalars::{DateTime, Money, MoneyInput, PositiveInt, Uuid},
};

/// How a new order is to be paid.
#[derive(async_graphql::Enum, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum PayWith {
    /// From the diner's subsidy, then the wallet.
    #[default]
    Balances,
    /// In money at the counter, within 15 minutes.
    AtCounter,
    /// From the diner's subsidy and wallet, and what they lack by WeChat Pay within 15 minutes.
    WechatPay,
    /// From the diner's subsidy and wallet, and what they lack by Alipay within 15 minutes.
    Alipay,
}

impl From<PayWith> for Terms {
    fn from(with: PayWith) -> Self {
        match with {
            PayWith::Balances => Terms::Balances,
            PayWith::AtCounter => Terms::AtCounter,
            PayWith::WechatPay => Terms::BalancesThen(Provider::WechatPay),
            PayWith::Alipay => Terms::BalancesThen(Provider::Alipay),
        }
    }
}

/// An order as it is asked for.
#[derive(InputObject)]
pub(crate) struct PlaceOrderInput {
    /// Of which serving.
    pub(crate) serving: ID,
    /// What is asked for, 1 to 50 lines.
    pub(crate) lines: Vec<OrderLineInput>,
    /// How it is to be paid.
    #[graphql(default)]
    pub(crate) pay_with: PayWith,
    /// Whose order it is, when staff sell at the counter; it is not bound by the window or the limit
    /// a diner. Diners leave it out.
    pub(crate) diner: Option<Uuid>,
    /// Whether staff hand it over at once: order, payment and pickup in one. Money at the counter is then in
    /// the till already.
    #[graphql(default)]
    pub(crate) hand_over: bool,
}

/// Some portions of a dish.
#[derive(InputObject)]
pub(crate) struct OrderLineInput {
    /// A dish that the serving offers.
    dish: ID,
    /// How many portions, 1 to 1000.
    quantity: PositiveInt,
    /// What is chosen of the dish's options.
    #[graphql(default)]
    options: Vec<SelectionInput>,
    /// What the diner was shown for one portion, options included: if it costs something else now,
    /// the order is refused as PriceChanged. If it is not said, any price will do.
    unit_price: Option<MoneyInput>,
}

/// A choice of an option group.
#[derive(InputObject)]
pub(crate) struct SelectionInput {
    /// The option group's name.
    group: String,
    /// The choice's name.
    choice: String,
}

impl OrderLineInput {
    pub(crate) fn read(self) -> Result<(CanteenId, NewLine), Failed> {
        let Some(NodeId::Dish(canteen, dish)) = NodeId::decode(&self.dish) else {
            return Err(not_found("dish").at("dish"));
        };
        let options = self.options.into_iter();
        let options = options.map(|one| domain_order::Selection { group: one.group, choice: one.choice }).collect();
        let unit_price = self.unit_price.map(|price| price.read("unitPrice")).transpose()?;
        Ok((canteen, NewLine { dish, quantity: self.quantity.0, options, unit_price }))
    }
}

/// What came of placing or changing an order.
#[derive(Union)]
pub(crate) enum PlaceOrderResult {
    Order(Box<Order>),
    SoldOut(SoldOut),
    Closed(Closed),
    NotYetOpen(NotYetOpen),
    PriceChanged(PriceChanged),
    DinerLimit(DinerLimit),
    InsufficientFunds(InsufficientFunds),
    AccountFrozen(AccountFrozen),
    Withdrawn(Withdrawn),
    NotOffered(NotOffered),
    TooLate(TooLate),
    PaymentFailed(PaymentFailed),
}

/// Less is left than was asked.
#[derive(SimpleObject)]
pub(crate) struct SoldOut {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
    /// The dishes of which too little is left.
    offers: Vec<Shortage>,
}

/// A dish of which less is left than was asked.
#[derive(SimpleObject)]
pub(crate) struct Shortage {
    /// The dish's global id.
    dish: ID,
    /// How many portions were asked.
    asked: u32,
    /// How many were left.
    left: u32,
}

/// Ordering has closed.
#[derive(SimpleObject)]
pub(crate) struct Closed {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
    /// When it closed.
    at: DateTime,
}

/// Ordering has not opened yet.
#[derive(SimpleObject)]
pub(crate) struct NotYetOpen {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
    /// When it opens.
    at: DateTime,
}

/// A price is not the one that was shown.
#[derive(SimpleObject)]
pub(crate) struct PriceChanged {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
    /// The dishes that cost something else.
    changes: Vec<PriceChange>,
}

/// A dish that costs something else.
#[derive(SimpleObject)]
pub(crate) struct PriceChange {
    /// The dish's global id.
    dish: ID,
    /// What was shown for one portion, options included.
    was: Money,
    /// What it costs.
    now: Money,
}

/// The diner would hold too many portions of the serving.
#[derive(SimpleObject)]
pub(crate) struct DinerLimit {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
    /// Most portions that one diner may hold.
    limit: u32,
    /// How many the diner holds.
    held: u32,
    /// How many more were asked.
    asked: u32,
}

/// The diner's accounts do not have enough together.
#[derive(SimpleObject)]
pub(crate) struct InsufficientFunds {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
    /// What is missing.
    short: Money,
}

/// The diner's account is frozen.
#[derive(SimpleObject)]
pub(crate) struct AccountFrozen {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
}

/// The serving is withdrawn, or a dish was while the order was under way. A dish that was withdrawn
/// before shows as sold out.
#[derive(SimpleObject)]
pub(crate) struct Withdrawn {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
}

/// A dish, or the options chosen for it, are not on offer.
#[derive(SimpleObject)]
pub(crate) struct NotOffered {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
    /// The dish's global id, if it is known which.
    dish: Option<ID>,
}

/// The kitchen locked before the portions were reserved.
#[derive(SimpleObject)]
pub(crate) struct TooLate {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
}

/// The provider refused the payment, or gave it up.
#[derive(SimpleObject)]
pub(crate) struct PaymentFailed {
    /// For people.
    message: Said,
    /// The order's global id, if it is recorded as refused.
    order: Option<ID>,
}

/// Writes a refusal as clients read it. `recorded` is the order that bears it, if one does.
pub(crate) fn refused(refusal: &Refusal, canteen: CanteenId, recorded: Option<OrderId>) -> PlaceOrderResult {
    use PlaceOrderResult as R;
    let order = recorded.map(|order| NodeId::Order(order).encode());
    let dish = |dish: DishId| NodeId::Dish(canteen, dish).encode();
    let say = |english: &str| Said::new(english.to_owned(), refusal.chinese());
    match refusal {
        Refusal::SoldOut(shortages) => R::SoldOut(SoldOut {
            message: say("there is not enough left"),
            order,
            offers: shortages.iter().map(|s| Shortage { dish: dish(s.dish), asked: s.asked, left: s.left }).collect(),
        }),
        Refusal::Closed { at } => {
            R::Closed(Closed { message: say(&format!("ordering closed at {at}")), order, at: (*at).into() })
        }
        Refusal::NotYetOpen { at } => {
            R::NotYetOpen(NotYetOpen { message: say(&format!("ordering opens at {at}")), order, at: (*at).into() })
        }
        Refusal::PriceChanged(changes) => R::PriceChanged(PriceChanged {
            message: say("the price has changed; order again if it suits"),
            order,
            changes: changes
                .iter()
                .map(|c| PriceChange { dish: dish(c.dish), was: c.was.into(), now: c.now.into() })
                .collect(),
        }),
        Refusal::DinerLimit { limit, held, asked } => R::DinerLimit(DinerLimit {
            message: say(&format!("one diner may hold {limit} portions of this serving")),
            order,
            limit: *limit,
            held: *held,
            asked: *asked,
        }),
        Refusal::InsufficientFunds { short } => R::InsufficientFunds(InsufficientFunds {
            message: say(&format!("{} {} is missing", short.to_decimal(), short.currency)),
            order,
            short: (*short).into(),
        }),
        Refusal::AccountFrozen => R::AccountFrozen(AccountFrozen { message: say("the account is frozen"), order }),
        Refusal::Withdrawn => R::Withdrawn(Withdrawn { message: say("it is not sold any more"), order }),
        Refusal::NotOffered => R::NotOffered(NotOffered { message: say("it is not on offer"), order, dish: None }),
        Refusal::TooLate => R::TooLate(TooLate { message: say("the kitchen has begun"), order }),
        Refusal::PaymentFailed => {
            R::PaymentFailed(PaymentFailed { message: say("the provider refused the payment; pay another way"), order })
        }
    }
}

/// A refusal before anything was appended: typed where a frontend must act on it.
pub(crate) fn turned_away(
    failure: Failure<PlaceError>,
    canteen: impl Fn(DishId) -> Option<CanteenId>,
) -> Result<PlaceOrderResult, Failed> {
    let error = match failure {
        Failure::Refused(error) => error,
        Failure::KeyReused => {
            return Err(errors::of(Code::KeyReused, &Failure::<PlaceError>::KeyReused).at("idempotencyKey"));
        }
        Failure::Interrupted(interrupted) => return Err(interrupted.into()),
    };
    let not_offered = |dish: DishId, message: Said| {
        let dish = canteen(dish).map(|canteen| NodeId::Dish(canteen, dish).encode());
        PlaceOrderResult::NotOffered(NotOffered { message, order: None, dish })
    };
    match error {
        PlaceError::Refused(refusal) => {
            let first = match &refusal {
                Refusal::SoldOut(shortages) => shortages.first().map(|one| one.dish),
                Refusal::PriceChanged(changes) => changes.first().map(|one| one.dish),
                _ => None,
            };
            // Only these two name dishes, and these are the ones that were asked for.
            let of = first.and_then(&canteen).unwrap_or(CanteenId(uuid::Uuid::nil()));
            Ok(refused(&refusal, of, None))
        }
        PlaceError::NoProvider(_) => Err(errors::of(Code::BadInput, &error).at("payWith")),
        PlaceError::UnknownServing => Err(not_found("serving").at("serving")),
        PlaceError::UnknownDish(dish) => {
            let message = Said::new("this serving does not offer that dish", error.chinese());
            Ok(not_offered(dish, message))
        }
        PlaceError::BadOptions { dish, ref why } => {
            let message = Said::new(format!("the options are not on offer: {why}"), error.chinese());
            Ok(not_offered(dish, message))
        }
        PlaceError::Invalid(error) => Err(errors::of(error.code(), &error).at("lines")),
    }
}
