//! What an order is placed with, and why it may be refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    CanteenId, DinerId, DishId, Money, MoneyError, ServingId, Timestamp,
    menu::{MAX_NAME, MAX_OPTIONS},
    order::Error,
    payment::Provider,
    serving::{self, PriceChange, Shortage},
    tax::TaxRate,
};

/// Most lines of one order.
pub const MAX_LINES: usize = 50;
/// Most portions in one line.
pub const MAX_QUANTITY: u32 = 1_000;

/// A choice made within an option group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Selection {
    pub group: String,
    pub choice: String,
}

/// A dish as it was ordered: its name, options and price stay as they were then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    pub dish: DishId,
    pub name: String,
    pub quantity: u32,
    /// Of one portion, its options included.
    pub unit_price: Money,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Selection>,
    /// That the price includes.
    #[serde(default, skip_serializing_if = "TaxRate::is_zero")]
    pub tax: TaxRate,
}

impl Line {
    pub fn total(&self) -> Result<Money, MoneyError> {
        self.unit_price.times(self.quantity)
    }
}

/// How the order came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// From a diner's device.
    Online,
    /// Sold at the counter by staff, also after the cut-off, and cooked like any other.
    Counter,
    /// Sold, paid and handed over at the counter at once.
    WalkUp,
    /// From another till's history.
    Import,
}

impl Channel {
    /// Whether the order window binds it.
    pub fn keeps_window(self) -> bool {
        matches!(self, Channel::Online)
    }

    /// Whether the offers' prices bind it. A till's history was sold at the till's prices.
    pub fn keeps_prices(self) -> bool {
        !matches!(self, Channel::Import)
    }

    /// Whether the limit a diner binds it.
    pub fn keeps_limits(self) -> bool {
        matches!(self, Channel::Online)
    }
}

/// How it is to be paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Terms {
    /// From the diner's subsidy, then the wallet.
    Balances,
    /// The same, and what they lack from a provider that the diner pays before `pay_by`.
    BalancesThen(Provider),
    /// In money at the till, before `pay_by`.
    AtCounter,
    /// It was paid before Tiffin knew of it.
    Elsewhere,
}

/// What an order is placed with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    pub diner: DinerId,
    pub canteen: CanteenId,
    pub serving: ServingId,
    pub lines: Vec<Line>,
    pub total: Money,
    pub channel: Channel,
    pub terms: Terms,
    /// Copied from the serving: after this a diner cannot cancel.
    pub lock_at: Timestamp,
    /// When it expires if it is not paid.
    pub pay_by: Timestamp,
    /// Copied from the serving: what a no-show is charged, in percent of what was paid.
    #[serde(default = "serving::all_of_it", skip_serializing_if = "serving::is_all_of_it")]
    pub no_show_percent: u8,
}

/// Why an order was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Refusal {
    SoldOut(Vec<Shortage>),
    Closed {
        at: Timestamp,
    },
    NotYetOpen {
        at: Timestamp,
    },
    PriceChanged(Vec<PriceChange>),
    DinerLimit {
        limit: u32,
        held: u32,
        asked: u32,
    },
    /// What the diner's accounts lack together.
    InsufficientFunds {
        short: Money,
    },
    AccountFrozen,
    /// The dish, or the whole serving, was withdrawn.
    Withdrawn,
    /// The chosen dish or options are not on offer.
    NotOffered,
    /// The kitchen had locked before the portions were reserved.
    TooLate,
    /// The provider refused the payment, or gave it up.
    PaymentFailed,
}

impl Refusal {
    /// What a serving's refusal means for the order; none for those that are no answer to a diner.
    pub fn from_serving(error: &serving::Error) -> Option<Refusal> {
        use serving::Error as E;
        Some(match error {
            E::SoldOut(short) => Refusal::SoldOut(short.clone()),
            E::Closed { at } => Refusal::Closed { at: *at },
            E::NotYetOpen { at } => Refusal::NotYetOpen { at: *at },
            E::PriceChanged(changes) => Refusal::PriceChanged(changes.clone()),
            E::DinerLimit { limit, held, asked } => Refusal::DinerLimit { limit: *limit, held: *held, asked: *asked },
            E::Withdrawn => Refusal::Withdrawn,
            E::UnknownDish { .. } | E::BadOptions { .. } | E::NotPublished => Refusal::NotOffered,
            E::AlreadyPublished | E::ReleasedAlready | E::BelowReserved { .. } | E::BadPlan(_) | E::BadDish(_) => {
                return None;
            }
        })
    }

    /// The code by which views and frontends know it.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::SoldOut(_) => "SOLD_OUT",
            Refusal::Closed { .. } => "CLOSED",
            Refusal::NotYetOpen { .. } => "NOT_YET_OPEN",
            Refusal::PriceChanged(_) => "PRICE_CHANGED",
            Refusal::DinerLimit { .. } => "DINER_LIMIT",
            Refusal::InsufficientFunds { .. } => "INSUFFICIENT_FUNDS",
            Refusal::AccountFrozen => "ACCOUNT_FROZEN",
            Refusal::Withdrawn => "WITHDRAWN",
            Refusal::NotOffered => "NOT_OFFERED",
            Refusal::TooLate => "TOO_LATE",
            Refusal::PaymentFailed => "PAYMENT_FAILED",
        }
    }
}

pub(crate) fn check_lines(lines: &[Line], total: Money) -> Result<(), Error> {
    if lines.is_empty() || lines.len() > MAX_LINES {
        return Err(Error::BadLineCount);
    }
    let bad = lines.iter().find(|line| line.quantity == 0 || line.quantity > MAX_QUANTITY);
    if let Some(line) = bad {
        return Err(Error::BadQuantity { quantity: line.quantity });
    }
    let mut sum = Money::zero(total.currency);
    for line in lines {
        check_line(line)?;
        sum = sum.plus(line.total()?)?;
    }
    if sum == total { Ok(()) } else { Err(Error::BadTotal { sum, total }) }
}

fn check_line(line: &Line) -> Result<(), Error> {
    let bad = |why| Err(Error::BadLine { dish: line.dish, why });
    if line.unit_price.minor < 0 {
        return bad("a price is never negative");
    }
    let chosen = line.options.iter().flat_map(|one| [&one.group, &one.choice]);
    let mut names = [&line.name].into_iter().chain(chosen);
    if names.clone().any(|name| name.chars().count() > MAX_NAME) {
        return bad("a name is too long");
    }
    // Views in Postgres could not hold it.
    if names.any(|name| name.contains('\0')) {
        return bad("a name has the character NUL");
    }
    if line.options.len() > MAX_OPTIONS * MAX_OPTIONS {
        return bad("it has too many options");
    }
    Ok(())
}
