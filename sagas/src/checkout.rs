//! Checkout: reserve the portions, hold the money, ask providers for theirs, confirm the order, take the
//! money.
//! Refused, expired or cancelled before it is confirmed: give everything back.

use std::collections::BTreeMap;

use domain::{
    AccountId, Fact, HoldId, OrderId, Timestamp, account,
    order::{self, Channel, Order, Placement, Refusal},
    payment::{self, Payment, Provider, Source, Stage, Tender},
    serving::{self, Reserved},
    trade::Trade,
};
use serde::{Deserialize, Serialize};

use crate::{
    Saga,
    step::{Next, Refused, Step},
};

/// What the process needs to know of its order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Basket {
    order: OrderId,
    placed: Box<Placement>,
    placed_at: Timestamp,
}

/// What an abandoned checkout still has to give back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    portions: bool,
    holds: Vec<(AccountId, u8)>,
    payment: bool,
}

impl Taken {
    fn is_nothing(&self) -> bool {
        !self.portions && self.holds.is_empty() && !self.payment
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Checkout {
    /// Nothing is asked of it, or it has come to its end.
    #[default]
    AtRest,
    Reserving(Basket),
    Planning(Basket),
    /// Holds what accounts pay, then asks for what others pay and waits for it.
    Paying {
        basket: Basket,
        tenders: Vec<Tender>,
        held: Vec<u8>,
        trades: BTreeMap<u8, Trade>,
    },
    Confirming {
        basket: Basket,
        tenders: Vec<Tender>,
    },
    Capturing {
        basket: Basket,
        tenders: Vec<Tender>,
        captured: Vec<u8>,
    },
    /// What is sold at the counter at once is handed over when it is paid.
    HandingOver(OrderId),
    /// The order is for something else from now on, or so it was asked; that is carried out elsewhere.
    Changing,
    Abandoning {
        order: OrderId,
        taken: Taken,
    },
}
use Checkout::*;

/// The first tender paid from an account whose number is not in `done`.
fn first_without(tenders: &[Tender], done: &[u8]) -> Option<(u8, Tender)> {
    let mut numbered = (0_u8..).zip(tenders.iter().copied());
    numbered.find(|(number, tender)| tender.source.account().is_some() && !done.contains(number))
}

/// The first tender that somebody else pays and has not, and how it stands with them.
fn first_unpaid(tenders: &[Tender], trades: &BTreeMap<u8, Trade>) -> Option<(u8, Provider, Option<Trade>)> {
    let external = |(number, tender): (u8, &Tender)| match tender.source {
        Source::External(provider) => Some((number, provider, trades.get(&number).copied())),
        Source::Account(_) | Source::Lot(..) => None,
    };
    (0_u8..).zip(tenders).filter_map(external).find(|(_, _, trade)| *trade != Some(Trade::Paid))
}

fn holds_of(tenders: &[Tender], numbers: impl Fn(u8) -> bool) -> Vec<(AccountId, u8)> {
    let numbered = (0_u8..).zip(tenders);
    numbered
        .filter(|(number, _)| numbers(*number))
        .filter_map(|(number, t)| Some((t.source.account()?, number)))
        .collect()
}

impl Checkout {
    /// Where the process stands, read off the aggregates: for a driver that goes on with it.
    pub(crate) fn resume(id: OrderId, order: &Order, payment: &Payment, reserved: Reserved) -> Checkout {
        let Some(ticket) = order.ticket() else { return AtRest };
        let basket = Basket { order: id, placed: ticket.placed.clone(), placed_at: ticket.placed_at };
        match (order, payment) {
            (Order::Placed(_), Payment::New) if reserved == Reserved::Holds => Planning(basket),
            (Order::Placed(_), Payment::New) => Reserving(basket),
            (Order::Placed(_), Payment::Started(sheet)) if sheet.stage == Stage::Planned => {
                Paying { basket, tenders: sheet.tenders.clone(), held: vec![], trades: sheet.trades.clone() }
            }
            (Order::Placed(_), Payment::Started(sheet)) => Confirming { basket, tenders: sheet.tenders.clone() },
            // It was confirmed and then cancelled: its refund takes the money from where the capture puts it.
            (Order::Cancelled(ticket), Payment::Started(sheet))
                if sheet.stage == Stage::Held && !ticket.refunds.is_empty() =>
            {
                Capturing { basket, tenders: sheet.tenders.clone(), captured: vec![] }
            }
            (Order::Refused(..) | Order::Expired(_) | Order::Cancelled(_), payment) => {
                let open = |sheet: &payment::Sheet| matches!(sheet.stage, Stage::Planned | Stage::Held);
                let sheet = payment.sheet().ok().filter(|sheet| open(sheet));
                let holds = sheet.map(|sheet| holds_of(&sheet.tenders, |_| true)).unwrap_or_default();
                Abandoning {
                    order: id,
                    taken: Taken { portions: reserved != Reserved::GaveBack, holds, payment: sheet.is_some() },
                }
                .rested()
            }
            (_, Payment::Started(sheet)) if sheet.stage == Stage::Held => {
                Capturing { basket, tenders: sheet.tenders.clone(), captured: vec![] }
            }
            (Order::Confirmed(_), Payment::Started(_)) if basket.placed.channel == Channel::WalkUp => HandingOver(id),
            _ => AtRest,
        }
    }

    /// At rest when there is nothing left to give back.
    fn rested(self) -> Checkout {
        match self {
            Abandoning { taken, .. } if taken.is_nothing() => AtRest,
            other => other,
        }
    }

    /// The order is dead: what was taken so far has to be given back.
    fn abandon(self) -> Checkout {
        let (order, taken) = match self {
            Reserving(basket) => (basket.order, Taken::default()),
            Planning(basket) => (basket.order, Taken { portions: true, ..Taken::default() }),
            Paying { basket, tenders, held, .. } => {
                let holds = holds_of(&tenders, |number| held.contains(&number));
                (basket.order, Taken { portions: true, holds, payment: true })
            }
            Confirming { basket, tenders } => {
                (basket.order, Taken { portions: true, holds: holds_of(&tenders, |_| true), payment: true })
            }
            // A confirmed order that is cancelled is refunded instead.
            AtRest | Capturing { .. } | HandingOver(_) | Changing | Abandoning { .. } => return self,
        };
        Abandoning { order, taken }.rested()
    }

    fn on_order(self, id: OrderId, event: &order::Event, at: Timestamp) -> Checkout {
        use order::Event as O;
        match (self, event) {
            (AtRest, O::Placed(placed)) => Reserving(Basket { order: id, placed: placed.clone(), placed_at: at }),
            (Confirming { basket, tenders }, O::Confirmed) => Capturing { basket, tenders, captured: vec![] },
            // Handed over, or gone another way.
            (
                HandingOver(_),
                O::PickedUp { .. } | O::NoShow { .. } | O::Preparing | O::Readied { .. } | O::Cancelled { .. },
            ) => AtRest,
            (AtRest, O::ChangeBegun { .. }) => Changing,
            (Changing, O::ChangeSettled { .. }) => AtRest,
            (unmoved, O::Refused(_) | O::Expired | O::Cancelled { .. }) => unmoved.abandon(),
            (
                unmoved,
                O::Placed(_)
                | O::Confirmed
                | O::Preparing
                | O::Readied { .. }
                | O::PickedUp { .. }
                | O::NoShow { .. }
                | O::RefundBegun { .. }
                | O::RefundSettled { .. }
                | O::ChangeBegun { .. }
                | O::Changed(_)
                | O::ChangeRefused { .. }
                | O::ChangeSettled { .. },
            ) => unmoved,
        }
    }

    fn on_serving(self, event: &serving::Event) -> Checkout {
        use serving::Event as S;
        match (self, event) {
            (Reserving(basket), S::Reserved { .. }) => Planning(basket),
            // The order ended before its reservation came: it lost the race.
            (AtRest, S::Reserved { order, .. }) => {
                Abandoning { order: *order, taken: Taken { portions: true, ..Taken::default() } }
            }
            (Abandoning { order, taken }, S::Reserved { .. }) => {
                Abandoning { order, taken: Taken { portions: true, ..taken } }
            }
            (Abandoning { order, taken }, S::Released { .. }) => {
                Abandoning { order, taken: Taken { portions: false, ..taken } }.rested()
            }
            (
                unmoved,
                S::Published(_)
                | S::Reserved { .. }
                | S::Released { .. }
                | S::Widened { .. }
                | S::Narrowed { .. }
                | S::PortionsSet { .. }
                | S::PriceSet { .. }
                | S::DishWithdrawn { .. }
                | S::Withdrawn { .. }
                | S::WithdrawalSettled { .. },
            ) => unmoved,
        }
    }

    fn on_payment(self, event: &payment::Event) -> Checkout {
        use payment::Event as P;
        match (self, event) {
            (Planning(basket), P::Started { tenders, .. }) => {
                Paying { basket, tenders: tenders.clone(), held: vec![], trades: BTreeMap::new() }
            }
            (Paying { basket, tenders, held, mut trades }, event) if heard(event).is_some() => {
                trades.extend(heard(event));
                Paying { basket, tenders, held, trades }
            }
            (Paying { basket, tenders, .. }, P::Held) => Confirming { basket, tenders },
            (Capturing { basket, .. }, P::Captured) if basket.placed.channel == Channel::WalkUp => {
                HandingOver(basket.order)
            }
            (Capturing { .. }, P::Captured) => AtRest,
            (Abandoning { order, taken }, P::Started { .. }) => {
                Abandoning { order, taken: Taken { payment: true, ..taken } }
            }
            (Abandoning { order, taken }, P::Released) => {
                Abandoning { order, taken: Taken { payment: false, ..taken } }.rested()
            }
            (
                unmoved,
                P::Started { .. }
                | P::Held
                | P::Asked { .. }
                | P::OutcomeUnknown { .. }
                | P::Failed { .. }
                | P::TradeClosed { .. }
                | P::PayBackAsked { .. }
                | P::PayBackUnknown { .. }
                | P::PayBackDiverted { .. }
                | P::Paid { .. }
                | P::Mispaid { .. }
                | P::Captured
                | P::Released
                | P::RefundBegun { .. }
                | P::PaidBack { .. }
                | P::RefundSettled { .. }
                | P::Extended { .. }
                | P::ExtensionCaptured { .. }
                | P::ExtensionGivenUp { .. },
            ) => unmoved,
        }
    }

    fn on_account(self, account: AccountId, event: &account::Event) -> Checkout {
        use account::Event as A;
        match (self, event) {
            (Paying { basket, tenders, mut held, trades }, A::Held { hold, .. }) => {
                held.push(hold.tender);
                Paying { basket, tenders, held, trades }
            }
            (Capturing { basket, tenders, mut captured }, A::Captured { hold, .. }) => {
                captured.push(hold.tender);
                Capturing { basket, tenders, captured }
            }
            // The order ended before its hold came.
            (AtRest, A::Held { hold, .. }) => {
                let taken = Taken { holds: vec![(account, hold.tender)], ..Taken::default() };
                Abandoning { order: hold.payment.order(), taken }
            }
            (Abandoning { order, mut taken }, A::Held { hold, .. }) => {
                taken.holds.push((account, hold.tender));
                Abandoning { order, taken }
            }
            (Abandoning { order, mut taken }, A::Released { hold }) => {
                taken.holds.retain(|(_, tender)| *tender != hold.tender);
                Abandoning { order, taken }.rested()
            }
            (
                unmoved,
                A::Opened { .. }
                | A::Deposited { .. }
                | A::Held { .. }
                | A::Captured { .. }
                | A::Released { .. }
                | A::Granted { .. }
                | A::Refunded { .. }
                | A::RefundLapsed { .. }
                | A::Lapsed { .. }
                | A::Allocated { .. }
                | A::TakenBack { .. }
                | A::RefundDiverted { .. }
                | A::PayoutHeld { .. }
                | A::PaidOut { .. }
                | A::PayoutReleased { .. }
                | A::Adjusted { .. }
                | A::FloorSet { .. }
                | A::Invoiced { .. }
                | A::InvoicePaid { .. }
                | A::InvoiceVoided { .. }
                | A::DisclosureSet { .. }
                | A::Frozen
                | A::Unfrozen
                | A::Closed,
            ) => unmoved,
        }
    }
}

fn reserve(basket: &Basket) -> Option<Next> {
    let placed = &basket.placed;
    let command = serving::Command::Reserve {
        order: basket.order,
        diner: placed.diner,
        lines: placed.lines.clone(),
        placed_at: basket.placed_at,
        channel: placed.channel,
    };
    Next::new("reserve", Step::Serving(placed.serving, command))
}

fn refuse(order: OrderId, refusal: Refusal) -> Option<Next> {
    Next::new("refuse", Step::Order(order, order::Command::Refuse(refusal)))
}

fn give_back(order: OrderId, taken: &Taken) -> Option<Next> {
    let payment = order.payment();
    if taken.portions {
        return Next::new("release", Step::ReleasePortions(order));
    }
    if let Some((account, tender)) = taken.holds.first() {
        let hold = HoldId { payment, tender: *tender };
        return Next::new(format!("release/{tender}"), Step::Account(*account, account::Command::Release { hold }));
    }
    let release = Next::new("release-payment", Step::Payment(payment, payment::Command::Release));
    release.filter(|_| taken.payment)
}

/// What `event` says of a trade. One that nobody wants any more is not heard of here.
fn heard(event: &payment::Event) -> Option<(u8, Trade)> {
    use payment::Event as P;
    match event {
        P::Asked { tender, .. } => Some((*tender, Trade::Asked)),
        P::OutcomeUnknown { tender } => Some((*tender, Trade::Unknown)),
        P::Failed { tender, .. } => Some((*tender, Trade::Failed)),
        P::TradeClosed { tender } => Some((*tender, Trade::Closed)),
        P::Paid { tender, .. } => Some((*tender, Trade::Paid)),
        P::Mispaid { tender, .. } => Some((*tender, Trade::Mispaid)),
        P::Started { .. }
        | P::Held
        | P::Captured
        | P::Released
        | P::RefundBegun { .. }
        | P::PayBackAsked { .. }
        | P::PayBackUnknown { .. }
        | P::PaidBack { .. }
        | P::PayBackDiverted { .. }
        | P::RefundSettled { .. }
        | P::Extended { .. }
        | P::ExtensionCaptured { .. }
        | P::ExtensionGivenUp { .. } => None,
    }
}

fn pay(basket: &Basket, tenders: &[Tender], held: &[u8], trades: &BTreeMap<u8, Trade>, now: Timestamp) -> Option<Next> {
    let (payment, pay_by) = (basket.order.payment(), basket.placed.pay_by);
    let of_payment = |name: String, command| Next::new(name, Step::Payment(payment, command));
    if let Some((tender, Tender { source, amount, .. })) = first_without(tenders, held) {
        let (hold, serving) = (HoldId { payment, tender }, basket.placed.serving);
        return Next::new(format!("hold/{tender}"), Step::Hold { hold, source, amount, serving });
    }
    match first_unpaid(tenders, trades) {
        None => of_payment("held".into(), payment::Command::RecordHeld),
        // The till has the money in hand.
        Some((tender, Provider::Counter, _)) if basket.placed.channel == Channel::WalkUp => {
            of_payment(format!("paid/{tender}"), payment::Command::RecordPaid { tender })
        }
        Some((tender, Provider::Elsewhere, _)) => {
            of_payment(format!("paid/{tender}"), payment::Command::RecordPaid { tender })
        }
        Some((_, _, Some(Trade::Failed | Trade::Closed | Trade::Mispaid))) => {
            refuse(basket.order, Refusal::PaymentFailed)
        }
        Some(_) if now >= pay_by => Next::new("expire", Step::Order(basket.order, order::Command::Expire { at: now })),
        Some((tender, provider, None)) if provider.is_remote() => {
            of_payment(format!("ask/{tender}"), payment::Command::Ask { tender, expires_at: pay_by })
        }
        // The diner has the next step.
        Some((_, _, None | Some(Trade::Asked | Trade::Unknown | Trade::Paid))) => None,
    }
}

impl Saga for Checkout {
    const NAME: &'static str = "checkout";

    fn evolve(&mut self, fact: &Fact, at: Timestamp) {
        let was = std::mem::take(self);
        *self = match fact {
            Fact::Order(id, event) => was.on_order(*id, event, at),
            Fact::Serving(_, event) => was.on_serving(event),
            Fact::Payment(_, event) => was.on_payment(event),
            Fact::Account(account, event) => was.on_account(*account, event),
            Fact::Menu(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Diner(..)
            | Fact::Books(..)
            | Fact::Invoice(..) => was,
            Fact::Correction(..) | Fact::TopUp(..) | Fact::Payout(..) => was,
        };
    }

    fn next(&self, now: Timestamp) -> Option<Next> {
        match self {
            AtRest | Changing => None,
            Reserving(basket) if basket.placed.channel.keeps_window() && now >= basket.placed.lock_at => {
                refuse(basket.order, Refusal::TooLate)
            }
            Reserving(basket) => reserve(basket),
            Planning(basket) => {
                let order::Placement { diner, serving, total, terms, .. } = *basket.placed;
                Next::new("start", Step::StartPayment { order: basket.order, diner, serving, total, terms })
            }
            Paying { basket, tenders, held, trades } => pay(basket, tenders, held, trades, now),
            Confirming { basket, .. } => Next::new("confirm", Step::Order(basket.order, order::Command::Confirm)),
            Capturing { basket, tenders, captured } => {
                let payment = basket.order.payment();
                let next = first_without(tenders, captured);
                match next.and_then(|(tender, paid)| Some((tender, paid.source.account()?))) {
                    Some((tender, account)) => {
                        let command = account::Command::Capture { hold: HoldId { payment, tender } };
                        Next::new(format!("capture/{tender}"), Step::Account(account, command))
                    }
                    None => Next::new("captured", Step::Payment(payment, payment::Command::RecordCaptured)),
                }
            }
            HandingOver(order) => Next::new("hand-over", Step::Order(*order, order::Command::HandOver)),
            Abandoning { order, taken } => give_back(*order, taken),
        }
    }

    fn after_refusal(&self, _: &Next, refused: &Refused) -> Option<Next> {
        let (Reserving(Basket { order, .. })
        | Planning(Basket { order, .. })
        | Paying { basket: Basket { order, .. }, .. }) = self
        else {
            return None;
        };
        let refusal = match refused {
            Refused::Serving(error) => Refusal::from_serving(error)?,
            Refused::Account(account::Error::Insufficient { short }) | Refused::Insufficient { short } => {
                Refusal::InsufficientFunds { short: *short }
            }
            Refused::Account(account::Error::Frozen | account::Error::Closed) => Refusal::AccountFrozen,
            Refused::Account(_) | Refused::Payment(_) | Refused::Order(_) => return None,
        };
        refuse(*order, refusal)
    }

    fn due_at(&self) -> Option<Timestamp> {
        match self {
            Paying { basket, tenders, held, trades } => {
                let waits = pay(basket, tenders, held, trades, Timestamp::EPOCH).is_none();
                waits.then_some(basket.placed.pay_by)
            }
            _ => None,
        }
    }

    fn is_open(&self) -> bool {
        *self != AtRest
    }

    fn step_time(&self, now: Timestamp) -> Timestamp {
        match self {
            Reserving(basket)
            | Planning(basket)
            | Paying { basket, .. }
            | Confirming { basket, .. }
            | Capturing { basket, .. }
                if basket.placed.channel == Channel::Import =>
            {
                basket.placed_at
            }
            _ => now,
        }
    }
}
