//! An order: Placed → Confirmed → Preparing → Ready → PickedUp or NoShow; or Refused, Expired, or
//! Cancelled before the kitchen locks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Aggregate, CanteenId, ChangeId, DishId, Money, MoneyError, OrderId, RefundId, ServingId, StreamKind, Timestamp,
    placement::check_lines, tax::TaxPart,
};
pub use crate::{
    change::{Change, Changing, MAX_CHANGES, Made},
    placement::{Channel, Line, MAX_LINES, MAX_QUANTITY, Placement, Refusal, Selection, Terms},
    ticket::{LineAmount, Refund, Taken, Ticket, taken, tax_of},
};

/// Where the tenders of a refund take their money. Since what was recognised goes back to `prepaid` as a
/// refund begins, that is `prepaid`; a refund recorded before then has each tender take it from the canteen.
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
    /// Nobody came for it, and its canteen does not charge all of it.
    NoShow,
    /// The order was changed, and costs less since.
    Changed,
}

/// Who gives up what a refund after the meal gives back: of its amount `tax`, and the canteen the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Unearned {
    pub canteen: CanteenId,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tax: Vec<TaxPart>,
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
    /// What the serving's rule does not charge goes back, as this refund.
    MarkNoShow {
        refund: RefundId,
    },
    /// The counter hands over what it sold at once.
    HandOver,
    /// By the diner until the kitchen locks, by the canteen until pickup.
    Cancel {
        refund: RefundId,
        by: RefundReason,
        at: Timestamp,
    },
    /// Gives back the money of some portions. After the meal the canteen and the tax give it up, and only for a
    /// reason that is said; before it, one that is not said is a complaint.
    Refund {
        refund: RefundId,
        lines: Vec<LineCount>,
        reason: Option<RefundReason>,
    },
    /// Gives back an amount, spread over what is left of the lines. It goes to the tenders `first` first,
    /// by index, then as any refund to the last deducted.
    RefundAmount {
        refund: RefundId,
        amount: Money,
        first: Vec<u8>,
        reason: Option<RefundReason>,
    },
    /// What follows when a serving withdraws a dish (or everything): its lines are refunded.
    Withdraw {
        refund: RefundId,
        dish: Option<DishId>,
    },
    SettleRefund {
        refund: RefundId,
    },
    /// Asks for other lines instead; until the kitchen locks.
    Change {
        change: Change,
        at: Timestamp,
    },
    /// All that the change needs is reserved and held.
    MakeChange {
        change: ChangeId,
    },
    RefuseChange {
        change: ChangeId,
        refusal: Refusal,
    },
    /// What the change took beyond what it needs is given back.
    SettleChange {
        change: ChangeId,
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
    /// `recognised` is what has been earned: the total less the refunds begun. Of it `tax` is owed as tax,
    /// the rest to the canteen.
    PickedUp {
        canteen: CanteenId,
        recognised: Money,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tax: Vec<TaxPart>,
    },
    NoShow {
        canteen: CanteenId,
        recognised: Money,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tax: Vec<TaxPart>,
    },
    Cancelled {
        reason: RefundReason,
    },
    RefundBegun {
        refund: RefundId,
        lines: Vec<LineCount>,
        /// What each line gives up, where that is not the price of `lines`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        amounts: Vec<LineAmount>,
        /// Tenders that it goes to before the last deducted, by index.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        first: Vec<u8>,
        amount: Money,
        from: RefundFrom,
        /// Of a refund after the meal: the amount is no longer earned, and is in `prepaid` again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unearned: Option<Unearned>,
        reason: RefundReason,
    },
    RefundSettled {
        refund: RefundId,
    },
    ChangeBegun {
        serving: ServingId,
        change: Change,
    },
    /// From now on the order is for these lines. Refunds begun before are of the lines that it was for.
    Changed(Change),
    /// It stays as it was.
    ChangeRefused {
        change: ChangeId,
        refusal: Refusal,
    },
    ChangeSettled {
        change: ChangeId,
    },
}

impl crate::Event for Event {
    const SCHEMAS: &'static [(&'static str, u16)] = &[
        ("Placed", 2),
        ("Confirmed", 1),
        ("Refused", 2),
        ("Expired", 1),
        ("Preparing", 1),
        ("Readied", 1),
        ("PickedUp", 2),
        ("NoShow", 2),
        ("Cancelled", 3),
        ("RefundBegun", 3),
        ("RefundSettled", 1),
        ("ChangeBegun", 1),
        ("Changed", 1),
        ("ChangeRefused", 1),
        ("ChangeSettled", 1),
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
            Event::ChangeBegun { .. } => "ChangeBegun",
            Event::Changed(_) => "Changed",
            Event::ChangeRefused { .. } => "ChangeRefused",
            Event::ChangeSettled { .. } => "ChangeSettled",
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
    #[error("{asked} cannot be refunded: of the order {left} is left")]
    TooMuch { asked: Money, left: Money },
    #[error("that refund was begun already, for other lines or another amount")]
    OtherRefund,
    #[error("after the meal a refund needs a reason")]
    NoReason,
    #[error("of the order an amount was refunded; it can be cancelled, not changed")]
    PartlyRefunded,
    #[error("the order is for just that already")]
    NothingToChange,
    #[error("the order is being changed; ask again in a moment")]
    Changing,
    #[error("an order is changed at most {MAX_CHANGES} times")]
    TooManyChanges,
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

    pub(crate) fn cannot<T>(&self, wanted: &'static str) -> Result<T, Error> {
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
                let begun = ticket.begin(refund, ticket.all(None)?, by);
                Ok(vec![cancelled, begun])
            }
            _ => self.cannot("CANCELLED"),
        }
    }

    fn refund(
        &self,
        refund: RefundId,
        reason: Option<RefundReason>,
        taken: impl FnOnce(&Ticket) -> Result<Taken, Error>,
        same: impl FnOnce(&Refund) -> bool,
    ) -> Result<Vec<Event>, Error> {
        let Some(ticket) = self.ticket() else { return Err(Error::Unknown) };
        if let Some(known) = ticket.refunds.get(&refund) {
            return if same(known) { Ok(vec![]) } else { Err(Error::OtherRefund) };
        }
        match self {
            Order::Confirmed(_) | Order::Preparing(_) | Order::Ready(..) => {
                Ok(vec![ticket.begin(refund, taken(ticket)?, reason.unwrap_or(RefundReason::Complaint))])
            }
            Order::PickedUp(_) | Order::NoShow(_) => {
                let reason = reason.ok_or(Error::NoReason)?;
                Ok(vec![ticket.begin_after_meal(refund, taken(ticket)?, reason)])
            }
            _ => self.cannot("REFUNDED"),
        }
    }

    fn no_show(&self, refund: RefundId) -> Result<Vec<Event>, Error> {
        match self {
            Order::Confirmed(ticket) | Order::Preparing(ticket) | Order::Ready(ticket, _) => ticket.no_show(refund),
            Order::NoShow(_) => Ok(vec![]),
            order => order.cannot("NO_SHOW"),
        }
    }

    fn hand_over(&self) -> Result<Vec<Event>, Error> {
        match self {
            Order::Confirmed(ticket) if ticket.placed.channel == Channel::WalkUp => Ok(vec![ticket.picked_up()]),
            Order::PickedUp(_) => Ok(vec![]),
            order => order.cannot("PICKED_UP"),
        }
    }

    fn withdraw(&self, refund: RefundId, dish: Option<DishId>) -> Result<Vec<Event>, Error> {
        match self {
            Order::Placed(_) => Ok(vec![Event::Refused(Refusal::Withdrawn)]),
            Order::Confirmed(ticket) | Order::Preparing(ticket) | Order::Ready(ticket, _) => {
                let gone = ticket.all(dish)?;
                if gone.lines.is_empty() || ticket.refunds.contains_key(&refund) {
                    return Ok(vec![]);
                }
                let everything = gone.lines == ticket.all(None)?.lines;
                let begun = ticket.begin(refund, gone, RefundReason::Withdrawn);
                let cancelled = everything.then_some(Event::Cancelled { reason: RefundReason::Withdrawn });
                Ok(cancelled.into_iter().chain([begun]).collect())
            }
            // It was served, or has ended: there is nothing to withdraw.
            _ => Ok(vec![]),
        }
    }
}

impl Aggregate for Order {
    const NAME: &'static str = "order";
    const STATE_VERSION: u32 = 7;
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
                check_lines(&placement.lines, placement.total)?;
                Ok(vec![Event::Placed(placement)])
            }
            (order, Command::Place(placement)) => match order.ticket() {
                Some(ticket) if ticket.placed == placement => Ok(vec![]),
                _ => Err(Error::AlreadyPlaced),
            },
            (order, Command::Change { change, at }) => order.begin_change(change, at),
            (order, Command::MakeChange { change }) => order.make_change(change),
            (order, Command::RefuseChange { change, refusal }) => order.refuse_change(change, refusal),
            (order, Command::SettleChange { change }) => order.settle_change(change),
            (
                order,
                Command::Prepare
                | Command::MarkReady { .. }
                | Command::MarkNoShow { .. }
                | Command::Cancel { .. }
                | Command::Refund { .. }
                | Command::RefundAmount { .. }
                | Command::Withdraw { .. },
            ) if order.is_changing() => Err(Error::Changing),
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
                Ok(vec![ticket.picked_up()])
            }
            (Order::PickedUp(_), Command::Collect { .. }) => Ok(vec![]),
            (order, Command::Collect { .. }) => order.cannot("PICKED_UP"),
            (order, Command::MarkNoShow { refund }) => order.no_show(refund),
            (order, Command::HandOver) => order.hand_over(),
            (order, Command::Cancel { refund, by, at }) => order.cancel(refund, by, at),
            (order, Command::Refund { refund, lines, reason }) => {
                order.refund(refund, reason, |ticket| ticket.portions(&lines), |known| known.lines == lines)
            }
            (order, Command::RefundAmount { refund, amount, first, reason }) => {
                let same = |known: &Refund| (known.amount, &known.first) == (amount, &first) && known.lines.is_empty();
                order.refund(refund, reason, |ticket| ticket.spread(amount, first.clone()), same)
            }
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
            *self = Order::Placed(Ticket::new(placement.clone(), at));
            return;
        }
        // The ticket moves from state to state; an event before Placed has nothing to change.
        let was = std::mem::take(self);
        *self = match (event, was) {
            (_, Order::New) => Order::New,
            (Event::RefundBegun { refund, lines, amounts, first, amount, from, reason, .. }, mut order) => {
                if let Some(ticket) = order.ticket_mut() {
                    let (lines, amounts, first) = (lines.clone(), amounts.clone(), first.clone());
                    let (amount, from, reason) = (*amount, *from, *reason);
                    let (begun_at, settled, before_change) = (at, false, false);
                    let begun =
                        Refund { lines, amounts, first, amount, from, reason, begun_at, settled, before_change };
                    ticket.refunds.insert(*refund, begun);
                }
                order
            }
            (
                Event::ChangeBegun { .. }
                | Event::Changed(_)
                | Event::ChangeRefused { .. }
                | Event::ChangeSettled { .. },
                mut order,
            ) => {
                if let Some(ticket) = order.ticket_mut() {
                    ticket.change(event, at);
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
        Event::Placed(_)
        | Event::RefundBegun { .. }
        | Event::RefundSettled { .. }
        | Event::ChangeBegun { .. }
        | Event::Changed(_)
        | Event::ChangeRefused { .. }
        | Event::ChangeSettled { .. } => Order::Placed(ticket),
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
