//! An order: Placed → Confirmed → Preparing → Ready → PickedUp or NoShow; or Refused, Expired, or
//! Cancelled before the kitchen locks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Aggregate, CanteenId, DinerId, DishId, Money, MoneyError, OrderId, RefundId, ServingId, StreamKind, Timestamp,
    menu::{MAX_NAME, MAX_OPTIONS},
    serving::{self, PriceChange, Shortage},
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
    /// Sold at the counter by staff, also after the cut-off.
    Counter,
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
        }
    }
}

/// Where the money of a refund lies: in `prepaid` before the meal, with the canteen after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundFrom {
    Prepaid,
    Canteen(CanteenId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefundReason {
    CancelledByDiner,
    CancelledByCanteen,
    Withdrawn,
    /// Something was wrong with the meal.
    Complaint,
}

/// So many portions of the order's line with this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LineCount {
    pub line: u16,
    pub quantity: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    Place(Box<Placement>),
    Confirm,
    Refuse(Refusal),
    /// Gives up an unpaid order; refused before `pay_by`.
    Expire {
        at: Timestamp,
    },
    Prepare,
    MarkReady {
        code: String,
    },
    Collect {
        code: String,
    },
    MarkNoShow,
    /// By the diner until the kitchen locks, by the canteen until pickup.
    Cancel {
        refund: RefundId,
        by: RefundReason,
        at: Timestamp,
    },
    /// Gives back the money of some portions. After the meal it comes from the canteen.
    Refund {
        refund: RefundId,
        lines: Vec<LineCount>,
        reason: RefundReason,
    },
    /// What follows when a serving withdraws a dish (or everything): its lines are refunded.
    Withdraw {
        refund: RefundId,
        dish: Option<DishId>,
    },
    SettleRefund {
        refund: RefundId,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Event {
    Placed(Box<Placement>),
    Confirmed,
    Refused(Refusal),
    Expired,
    Preparing,
    Readied {
        code: String,
    },
    /// `recognised` is what the canteen has earned: the total less the refunds begun.
    PickedUp {
        canteen: CanteenId,
        recognised: Money,
    },
    NoShow {
        canteen: CanteenId,
        recognised: Money,
    },
    Cancelled {
        reason: RefundReason,
    },
    RefundBegun {
        refund: RefundId,
        lines: Vec<LineCount>,
        amount: Money,
        from: RefundFrom,
        reason: RefundReason,
    },
    RefundSettled {
        refund: RefundId,
    },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[
        ("Placed", 1),
        ("Confirmed", 1),
        ("Refused", 1),
        ("Expired", 1),
        ("Preparing", 1),
        ("Readied", 1),
        ("PickedUp", 1),
        ("NoShow", 1),
        ("Cancelled", 1),
        ("RefundBegun", 1),
        ("RefundSettled", 1),
    ];

    fn name(&self) -> &'static str {
        match self {
            Event::Placed(_) => "Placed",
            Event::Confirmed => "Confirmed",
            Event::Refused(_) => "Refused",
            Event::Expired => "Expired",
            Event::Preparing => "Preparing",
            Event::Readied { .. } => "Readied",
            Event::PickedUp { .. } => "PickedUp",
            Event::NoShow { .. } => "NoShow",
            Event::Cancelled { .. } => "Cancelled",
            Event::RefundBegun { .. } => "RefundBegun",
            Event::RefundSettled { .. } => "RefundSettled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("there is no such order")]
    Unknown,
    #[error("this order was placed already, with other content")]
    AlreadyPlaced,
    #[error("an order has 1 to {MAX_LINES} lines")]
    BadLineCount,
    #[error("a line has 1 to {MAX_QUANTITY} portions, not {quantity}")]
    BadQuantity { quantity: u32 },
    #[error("the line of {dish} is not right: {why}")]
    BadLine { dish: DishId, why: &'static str },
    #[error("the lines add up to {sum}, not to {total}")]
    BadTotal { sum: Money, total: Money },
    #[error(transparent)]
    Money(#[from] MoneyError),
    #[error("the order is {is}; it cannot become {wanted}")]
    OutOfTurn { is: &'static str, wanted: &'static str },
    #[error("the kitchen locked at {at}; only the canteen can cancel now")]
    KitchenLocked { at: Timestamp },
    #[error("it can be paid until {at}")]
    NotDue { at: Timestamp },
    #[error("the pickup code is wrong")]
    WrongCode,
    #[error("line {line} has {left} portions left to refund, not {asked}")]
    NothingToRefund { line: u16, left: u32, asked: u32 },
    #[error("that refund was begun already, for other lines")]
    OtherRefund,
}

/// A refund of this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    pub lines: Vec<LineCount>,
    pub amount: Money,
    pub from: RefundFrom,
    pub begun_at: Timestamp,
    pub settled: bool,
}

/// What is known of an order once it is placed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    pub placed: Box<Placement>,
    pub placed_at: Timestamp,
    pub refunds: BTreeMap<RefundId, Refund>,
}

impl Ticket {
    /// Portions of a line that no refund has begun for.
    fn left(&self, line: u16) -> u32 {
        let ordered = self.placed.lines.get(usize::from(line)).map_or(0, |line| line.quantity);
        let refunded = self.refunds.values().flat_map(|refund| &refund.lines).filter(|one| one.line == line);
        refunded.fold(ordered, |left, one| left.saturating_sub(one.quantity))
    }

    /// Every line with what is left of it.
    fn remaining(&self, of: Option<DishId>) -> Vec<LineCount> {
        let lines = self.placed.lines.iter().enumerate();
        lines
            .filter(|(_, line)| of.is_none_or(|dish| line.dish == dish))
            // An order has at most MAX_LINES lines.
            .map(|(index, _)| index as u16)
            .map(|line| LineCount { line, quantity: self.left(line) })
            .filter(|count| count.quantity > 0)
            .collect()
    }

    /// The total less every refund begun.
    pub fn net(&self) -> Money {
        let refunded: i64 = self.refunds.values().map(|refund| refund.amount.minor).sum();
        Money { minor: self.placed.total.minor - refunded, ..self.placed.total }
    }

    fn worth(&self, lines: &[LineCount]) -> Result<Money, Error> {
        let mut sum = Money::zero(self.placed.total.currency);
        for count in lines {
            let left = self.left(count.line);
            let same_line = lines.iter().filter(|other| other.line == count.line);
            let asked = same_line.fold(0_u32, |sum, other| sum.saturating_add(other.quantity));
            if count.quantity == 0 || asked > left {
                return Err(Error::NothingToRefund { line: count.line, left, asked });
            }
            // `left` is zero, and so refused above, for a line that does not exist.
            sum = sum.plus(self.placed.lines[usize::from(count.line)].unit_price.times(count.quantity)?)?;
        }
        Ok(sum)
    }

    fn begin(
        &self,
        refund: RefundId,
        lines: Vec<LineCount>,
        from: RefundFrom,
        reason: RefundReason,
    ) -> Result<Event, Error> {
        let amount = self.worth(&lines)?;
        Ok(Event::RefundBegun { refund, lines, amount, from, reason })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Order {
    #[default]
    New,
    Placed(Ticket),
    Confirmed(Ticket),
    Preparing(Ticket),
    Ready(Ticket, String),
    PickedUp(Ticket),
    NoShow(Ticket),
    Cancelled(Ticket),
    Refused(Ticket, Refusal),
    Expired(Ticket),
}

impl Order {
    /// The state's name as views and frontends show it.
    pub fn status(&self) -> &'static str {
        match self {
            Order::New => "NEW",
            Order::Placed(_) => "PLACED",
            Order::Confirmed(_) => "CONFIRMED",
            Order::Preparing(_) => "PREPARING",
            Order::Ready(..) => "READY",
            Order::PickedUp(_) => "PICKED_UP",
            Order::NoShow(_) => "NO_SHOW",
            Order::Cancelled(_) => "CANCELLED",
            Order::Refused(..) => "REFUSED",
            Order::Expired(_) => "EXPIRED",
        }
    }

    pub fn ticket(&self) -> Option<&Ticket> {
        match self {
            Order::New => None,
            Order::Placed(ticket)
            | Order::Confirmed(ticket)
            | Order::Preparing(ticket)
            | Order::Ready(ticket, _)
            | Order::PickedUp(ticket)
            | Order::NoShow(ticket)
            | Order::Cancelled(ticket)
            | Order::Refused(ticket, _)
            | Order::Expired(ticket) => Some(ticket),
        }
    }

    fn ticket_mut(&mut self) -> Option<&mut Ticket> {
        match self {
            Order::New => None,
            Order::Placed(ticket)
            | Order::Confirmed(ticket)
            | Order::Preparing(ticket)
            | Order::Ready(ticket, _)
            | Order::PickedUp(ticket)
            | Order::NoShow(ticket)
            | Order::Cancelled(ticket)
            | Order::Refused(ticket, _)
            | Order::Expired(ticket) => Some(ticket),
        }
    }

    fn into_ticket(self) -> Option<Ticket> {
        match self {
            Order::New => None,
            Order::Placed(ticket)
            | Order::Confirmed(ticket)
            | Order::Preparing(ticket)
            | Order::Ready(ticket, _)
            | Order::PickedUp(ticket)
            | Order::NoShow(ticket)
            | Order::Cancelled(ticket)
            | Order::Refused(ticket, _)
            | Order::Expired(ticket) => Some(ticket),
        }
    }

    fn cannot<T>(&self, wanted: &'static str) -> Result<T, Error> {
        match self {
            Order::New => Err(Error::Unknown),
            order => Err(Error::OutOfTurn { is: order.status(), wanted }),
        }
    }

    fn cancel(&self, refund: RefundId, by: RefundReason, at: Timestamp) -> Result<Vec<Event>, Error> {
        let cancelled = Event::Cancelled { reason: by };
        let by_canteen = by != RefundReason::CancelledByDiner;
        match self {
            Order::Cancelled(_) => Ok(vec![]),
            // Not paid yet: nothing to refund, and the checkout gives back what it took.
            Order::Placed(_) => Ok(vec![cancelled]),
            Order::Confirmed(ticket) | Order::Preparing(ticket) | Order::Ready(ticket, _) => {
                let locked = at >= ticket.placed.lock_at || !matches!(self, Order::Confirmed(_));
                if locked && !by_canteen {
                    return Err(Error::KitchenLocked { at: ticket.placed.lock_at });
                }
                let begun = ticket.begin(refund, ticket.remaining(None), RefundFrom::Prepaid, by)?;
                Ok(vec![cancelled, begun])
            }
            _ => self.cannot("CANCELLED"),
        }
    }

    fn refund(&self, refund: RefundId, lines: Vec<LineCount>, reason: RefundReason) -> Result<Vec<Event>, Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Unknown) };
        if let Some(known) = ticket.refunds.get(&refund) {
            return if known.lines == lines { Ok(vec![]) } else { Err(Error::OtherRefund) };
        }
        let from = match self {
            Order::Confirmed(_) | Order::Preparing(_) | Order::Ready(..) => RefundFrom::Prepaid,
            Order::PickedUp(_) | Order::NoShow(_) => RefundFrom::Canteen(ticket.placed.canteen),
            _ => return self.cannot("REFUNDED"),
        };
        if lines.is_empty() || lines.len() > MAX_LINES {
            return Err(Error::BadLineCount);
        }
        Ok(vec![ticket.begin(refund, lines, from, reason)?])
    }

    fn withdraw(&self, refund: RefundId, dish: Option<DishId>) -> Result<Vec<Event>, Error> {
        match self {
            Order::Placed(_) => Ok(vec![Event::Refused(Refusal::Withdrawn)]),
            Order::Confirmed(ticket) | Order::Preparing(ticket) | Order::Ready(ticket, _) => {
                let gone = ticket.remaining(dish);
                if gone.is_empty() || ticket.refunds.contains_key(&refund) {
                    return Ok(vec![]);
                }
                let everything = gone == ticket.remaining(None);
                let begun = ticket.begin(refund, gone, RefundFrom::Prepaid, RefundReason::Withdrawn)?;
                let cancelled = everything.then_some(Event::Cancelled { reason: RefundReason::Withdrawn });
                Ok(cancelled.into_iter().chain([begun]).collect())
            }
            // It was served, or has ended: there is nothing to withdraw.
            _ => Ok(vec![]),
        }
    }
}

fn check_placement(placement: &Placement) -> Result<(), Error> {
    if placement.lines.is_empty() || placement.lines.len() > MAX_LINES {
        return Err(Error::BadLineCount);
    }
    let bad = placement.lines.iter().find(|line| line.quantity == 0 || line.quantity > MAX_QUANTITY);
    if let Some(line) = bad {
        return Err(Error::BadQuantity { quantity: line.quantity });
    }
    let mut sum = Money::zero(placement.total.currency);
    for line in &placement.lines {
        check_line(line)?;
        sum = sum.plus(line.total()?)?;
    }
    if sum == placement.total { Ok(()) } else { Err(Error::BadTotal { sum, total: placement.total }) }
}

fn check_line(line: &Line) -> Result<(), Error> {
    let bad = |why| Err(Error::BadLine { dish: line.dish, why });
    if line.unit_price.minor < 0 {
        return bad("a price is never negative");
    }
    if too_long(&line.name) || line.options.iter().any(|one| too_long(&one.group) || too_long(&one.choice)) {
        return bad("a name is too long");
    }
    if line.options.len() > MAX_OPTIONS * MAX_OPTIONS {
        return bad("it has too many options");
    }
    Ok(())
}

fn too_long(name: &str) -> bool {
    name.chars().count() > MAX_NAME
}

impl Aggregate for Order {
    const NAME: &'static str = "order";
    const STATE_VERSION: u32 = 2;
    type Id = OrderId;
    type Command = Command;
    type Event = Event;
    type Error = Error;

    fn stream_key(id: OrderId) -> (StreamKind, uuid::Uuid) {
        (StreamKind::Order, id.0)
    }

    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Order::New, Command::Place(placement)) => {
                check_placement(&placement)?;
                Ok(vec![Event::Placed(placement)])
            }
            (order, Command::Place(placement)) => match order.ticket() {
                Some(ticket) if ticket.placed == placement => Ok(vec![]),
                _ => Err(Error::AlreadyPlaced),
            },
            (Order::Placed(_), Command::Confirm) => Ok(vec![Event::Confirmed]),
            (
                Order::Confirmed(_) | Order::Preparing(_) | Order::Ready(..) | Order::PickedUp(_) | Order::NoShow(_),
                Command::Confirm,
            ) => Ok(vec![]),
            (order, Command::Confirm) => order.cannot("CONFIRMED"),
            (Order::Placed(_), Command::Refuse(refusal)) => Ok(vec![Event::Refused(refusal)]),
            (Order::Refused(..), Command::Refuse(_)) => Ok(vec![]),
            (order, Command::Refuse(_)) => order.cannot("REFUSED"),
            (Order::Placed(ticket), Command::Expire { at }) => {
                if at < ticket.placed.pay_by {
                    return Err(Error::NotDue { at: ticket.placed.pay_by });
                }
                Ok(vec![Event::Expired])
            }
            (Order::Expired(_), Command::Expire { .. }) => Ok(vec![]),
            (order, Command::Expire { .. }) => order.cannot("EXPIRED"),
            (Order::Confirmed(_), Command::Prepare) => Ok(vec![Event::Preparing]),
            (Order::Preparing(_), Command::Prepare) => Ok(vec![]),
            (order, Command::Prepare) => order.cannot("PREPARING"),
            (Order::Confirmed(_) | Order::Preparing(_), Command::MarkReady { code }) => {
                Ok(vec![Event::Readied { code }])
            }
            (Order::Ready(..), Command::MarkReady { .. }) => Ok(vec![]),
            (order, Command::MarkReady { .. }) => order.cannot("READY"),
            (Order::Ready(ticket, expected), Command::Collect { code }) => {
                if *expected != code {
                    return Err(Error::WrongCode);
                }
                Ok(vec![Event::PickedUp { canteen: ticket.placed.canteen, recognised: ticket.net() }])
            }
            (Order::PickedUp(_), Command::Collect { .. }) => Ok(vec![]),
            (order, Command::Collect { .. }) => order.cannot("PICKED_UP"),
            (Order::Confirmed(ticket) | Order::Preparing(ticket) | Order::Ready(ticket, _), Command::MarkNoShow) => {
                Ok(vec![Event::NoShow { canteen: ticket.placed.canteen, recognised: ticket.net() }])
            }
            (Order::NoShow(_), Command::MarkNoShow) => Ok(vec![]),
            (order, Command::MarkNoShow) => order.cannot("NO_SHOW"),
            (order, Command::Cancel { refund, by, at }) => order.cancel(refund, by, at),
            (order, Command::Refund { refund, lines, reason }) => order.refund(refund, lines, reason),
            (order, Command::Withdraw { refund, dish }) => order.withdraw(refund, dish),
            (order, Command::SettleRefund { refund }) => match order.ticket().and_then(|t| t.refunds.get(&refund)) {
                Some(known) if known.settled => Ok(vec![]),
                Some(_) => Ok(vec![Event::RefundSettled { refund }]),
                None => order.cannot("REFUNDED"),
            },
        }
    }

    fn evolve(&mut self, event: &Event, at: Timestamp) {
        if let Event::Placed(placement) = event {
            *self = Order::Placed(Ticket { placed: placement.clone(), placed_at: at, refunds: BTreeMap::new() });
            return;
        }
        // The ticket moves from state to state; an event before Placed has nothing to change.
        let was = std::mem::take(self);
        *self = match (event, was) {
            (_, Order::New) => Order::New,
            (Event::RefundBegun { refund, lines, amount, from, .. }, mut order) => {
                if let Some(ticket) = order.ticket_mut() {
                    let (lines, amount, from) = (lines.clone(), *amount, *from);
                    let begun = Refund { lines, amount, from, begun_at: at, settled: false };
                    ticket.refunds.insert(*refund, begun);
                }
                order
            }
            (Event::RefundSettled { refund }, mut order) => {
                if let Some(begun) = order.ticket_mut().and_then(|ticket| ticket.refunds.get_mut(refund)) {
                    begun.settled = true;
                }
                order
            }
            (event, order) => match order.into_ticket() {
                Some(ticket) => order_after(event, ticket),
                None => Order::New,
            },
        };
    }
}

fn order_after(event: &Event, ticket: Ticket) -> Order {
    match event {
        Event::Placed(_) | Event::RefundBegun { .. } | Event::RefundSettled { .. } => Order::Placed(ticket),
        Event::Confirmed => Order::Confirmed(ticket),
        Event::Refused(refusal) => Order::Refused(ticket, refusal.clone()),
        Event::Expired => Order::Expired(ticket),
        Event::Preparing => Order::Preparing(ticket),
        Event::Readied { code } => Order::Ready(ticket, code.clone()),
        Event::PickedUp { .. } => Order::PickedUp(ticket),
        Event::NoShow { .. } => Order::NoShow(ticket),
        Event::Cancelled { .. } => Order::Cancelled(ticket),
    }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
