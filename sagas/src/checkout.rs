//! Checkout: reserve the portions, hold the money, confirm the order, take the money.
//! Refused, expired or cancelled before it is confirmed: give everything back.

use domain::{
    AccountId, Fact, HoldId, OrderId, Timestamp, account,
    order::{self, Order, Placement, Refusal},
    payment::{self, Payment, Provider, Source, Stage, Tender},
    serving::{self, Reserved},
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
    /// Holds what accounts pay, then waits for what others pay.
    Paying {
        basket: Basket,
        tenders: Vec<Tender>,
        held: Vec<u8>,
        paid: Vec<u8>,
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
    Abandoning {
        order: OrderId,
        taken: Taken,
    },
}
use Checkout::*;

/// The first tender paid from an account, or by a provider, whose number is not in `done`.
fn first_without(tenders: &[Tender], done: &[u8], from_account: bool) -> Option<(u8, Tender)> {
    let numbered = (0_u8..).zip(tenders.iter().copied());
    numbered
        .filter(|(_, tender)| tender.source.account().is_some() == from_account)
        .find(|(number, _)| !done.contains(number))
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
                Paying { basket, tenders: sheet.tenders.clone(), held: vec![], paid: sheet.paid.clone() }
            }
            (Order::Placed(_), Payment::Started(sheet)) => Confirming { basket, tenders: sheet.tenders.clone() },
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
            AtRest | Capturing { .. } | Abandoning { .. } => return self,
        };
        Abandoning { order, taken }.rested()
    }

    fn on_order(self, id: OrderId, event: &order::Event, at: Timestamp) -> Checkout {
        use order::Event as O;
        match (self, event) {
            (AtRest, O::Placed(placed)) => Reserving(Basket { order: id, placed: placed.clone(), placed_at: at }),
            (Confirming { basket, tenders }, O::Confirmed) => Capturing { basket, tenders, captured: vec![] },
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
                | O::RefundSettled { .. },
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
                Paying { basket, tenders: tenders.clone(), held: vec![], paid: vec![] }
            }
            (Paying { basket, tenders, held, mut paid }, P::Paid { tender, .. }) => {
                paid.push(*tender);
                Paying { basket, tenders, held, paid }
            }
            (Paying { basket, tenders, .. }, P::Held) => Confirming { basket, tenders },
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
                | P::Paid { .. }
                | P::Captured
                | P::Released
                | P::RefundBegun { .. }
                | P::PaidBack { .. }
                | P::RefundSettled { .. },
            ) => unmoved,
        }
    }

    fn on_account(self, account: AccountId, event: &account::Event) -> Checkout {
        use account::Event as A;
        match (self, event) {
            (Paying { basket, tenders, mut held, paid }, A::Held { hold, .. }) => {
                held.push(hold.tender);
                Paying { basket, tenders, held, paid }
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
                | A::Adjusted { .. }
                | A::FloorSet { .. }
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

fn pay(basket: &Basket, tenders: &[Tender], held: &[u8], paid: &[u8], now: Timestamp) -> Option<Next> {
    let payment = basket.order.payment();
    if let Some((tender, Tender { source, amount, .. })) = first_without(tenders, held, true) {
        let (hold, serving) = (HoldId { payment, tender }, basket.placed.serving);
        return Next::new(format!("hold/{tender}"), Step::Hold { hold, source, amount, serving });
    }
    match first_without(tenders, paid, false) {
        None => Next::new("held", Step::Payment(payment, payment::Command::RecordHeld)),
        Some((tender, Tender { source: Source::External(Provider::Elsewhere), .. })) => {
            let command = payment::Command::RecordPaid { tender };
            Next::new(format!("paid/{tender}"), Step::Payment(payment, command))
        }
        Some(_) if now >= basket.placed.pay_by => {
            Next::new("expire", Step::Order(basket.order, order::Command::Expire { at: now }))
        }
        Some(_) => None,
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
            Fact::Menu(..) | Fact::Policy(..) | Fact::Grant(..) | Fact::Diner(..) | Fact::Books(..) => was,
        };
    }

    fn next(&self, now: Timestamp) -> Option<Next> {
        match self {
            AtRest => None,
            Reserving(basket) if basket.placed.channel.keeps_window() && now >= basket.placed.lock_at => {
                refuse(basket.order, Refusal::TooLate)
            }
            Reserving(basket) => reserve(basket),
            Planning(basket) => {
                let order::Placement { diner, serving, total, terms, .. } = *basket.placed;
                Next::new("start", Step::StartPayment { order: basket.order, diner, serving, total, terms })
            }
            Paying { basket, tenders, held, paid } => pay(basket, tenders, held, paid, now),
            Confirming { basket, .. } => Next::new("confirm", Step::Order(basket.order, order::Command::Confirm)),
            Capturing { basket, tenders, captured } => {
                let payment = basket.order.payment();
                let next = first_without(tenders, captured, true);
                match next.and_then(|(tender, paid)| Some((tender, paid.source.account()?))) {
                    Some((tender, account)) => {
                        let command = account::Command::Capture { hold: HoldId { payment, tender } };
                        Next::new(format!("capture/{tender}"), Step::Account(account, command))
                    }
                    None => Next::new("captured", Step::Payment(payment, payment::Command::RecordCaptured)),
                }
            }
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
            Paying { basket, tenders, held, paid } => {
                let waits = pay(basket, tenders, held, paid, Timestamp::EPOCH).is_none();
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
                if basket.placed.channel == order::Channel::Import =>
            {
                basket.placed_at
            }
            _ => now,
        }
    }
}
