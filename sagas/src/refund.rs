//! Refund: fix from which tenders the money goes back, give it back, tell the order.
//! A cancelled order gives its portions back first.

use domain::{
    Fact, Money, OrderId, RefundId, Timestamp, account,
    order::{self, Channel, Order, RefundFrom},
    payment::{self, Part, Payment},
    serving::{self, Reserved},
};
use serde::{Deserialize, Serialize};

use crate::{
    Saga,
    step::{Next, Refused, Step},
};

/// A refund that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    refund: RefundId,
    amount: Money,
    /// Tenders that it goes to before the last deducted.
    first: Vec<u8>,
    from: RefundFrom,
    progress: Progress,
    /// When it began, of an order from another till's history: its steps stay at that time, whoever
    /// takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dated: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Progress {
    Begun,
    GivingBack {
        parts: Vec<Part>,
        given: Vec<u8>,
        /// Of providers, which have not answered.
        asked: Vec<u8>,
    },
    /// The payment has settled it; the order has still to be told.
    Settled,
}

/// The refunds of one order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Refunds {
    order: Option<OrderId>,
    /// Whether the order's portions have still to be given back.
    portions: bool,
    open: Vec<Open>,
}

impl Refunds {
    /// Where the refunds stand, read off the aggregates.
    pub(crate) fn resume(id: OrderId, order: &Order, payment: &Payment, reserved: Reserved) -> Refunds {
        let Some(ticket) = order.ticket() else { return Refunds::default() };
        let sheet = payment.sheet().ok();
        let history = ticket.placed.channel == Channel::Import;
        let open = ticket.refunds.iter().filter(|(_, refund)| !refund.settled).map(|(refund, begun)| {
            let known = sheet.and_then(|sheet| sheet.refunds.get(refund));
            let progress = match known {
                None => Progress::Begun,
                Some(known) if known.settled => Progress::Settled,
                Some(known) => {
                    let of_it = sheet.into_iter().flat_map(|sheet| &sheet.pay_backs);
                    let asked = of_it.map(|back| back.number).filter(|number| number.refund == *refund);
                    let asked = asked.map(|number| number.tender).collect();
                    Progress::GivingBack { parts: known.parts.clone(), given: known.paid_back.clone(), asked }
                }
            };
            let dated = history.then_some(begun.begun_at);
            let (amount, first, from) = (begun.amount, begun.first.clone(), begun.from);
            Open { refund: *refund, amount, first, from, progress, dated }
        });
        let portions = reserved != Reserved::GaveBack && matches!(order, Order::Cancelled(_));
        Refunds { order: Some(id), portions, open: open.collect() }
    }

    /// Whether only providers have a next step.
    pub(crate) fn waits(&self) -> bool {
        self.is_open() && self.next(Timestamp::EPOCH).is_none()
    }

    fn find(&mut self, refund: RefundId) -> Option<&mut Open> {
        self.open.iter_mut().find(|open| open.refund == refund)
    }

    fn given(&mut self, refund: RefundId, tender: u8) {
        if let Some(Open { progress: Progress::GivingBack { given, .. }, .. }) = self.find(refund) {
            given.push(tender);
        }
    }

    fn on_order(&mut self, id: OrderId, event: &order::Event) {
        use order::Event as O;
        match event {
            O::Cancelled { .. } => {
                self.order = Some(id);
                self.portions = true;
            }
            O::RefundBegun { refund, amount, first, from, .. } => {
                self.order = Some(id);
                let (refund, amount, first, from) = (*refund, *amount, first.clone(), *from);
                self.open.push(Open { refund, amount, first, from, progress: Progress::Begun, dated: None });
            }
            O::RefundSettled { refund } => self.open.retain(|open| open.refund != *refund),
            O::Placed(_)
            | O::Confirmed
            | O::Refused(_)
            | O::Expired
            | O::Preparing
            | O::Readied { .. }
            | O::PickedUp { .. }
            | O::NoShow { .. }
            | O::ChangeBegun { .. }
            | O::Changed(_)
            | O::ChangeRefused { .. }
            | O::ChangeSettled { .. } => {}
        }
    }

    fn on_payment(&mut self, event: &payment::Event) {
        use payment::Event as P;
        match event {
            P::RefundBegun { refund, parts, .. } => {
                if let Some(open) = self.find(*refund) {
                    open.progress = Progress::GivingBack { parts: parts.clone(), given: vec![], asked: vec![] };
                }
            }
            P::PayBackAsked { refund, tender, .. } => {
                if let Some(Open { progress: Progress::GivingBack { asked, .. }, .. }) = self.find(*refund) {
                    asked.push(*tender);
                }
            }
            P::PaidBack { refund, tender, .. } | P::PayBackDiverted { refund, tender, .. } => {
                self.given(*refund, *tender);
            }
            P::RefundSettled { refund } => {
                if let Some(open) = self.find(*refund) {
                    open.progress = Progress::Settled;
                }
            }
            P::Started { .. }
            | P::Held
            | P::Asked { .. }
            | P::OutcomeUnknown { .. }
            | P::Failed { .. }
            | P::TradeClosed { .. }
            | P::PayBackUnknown { .. }
            | P::Paid { .. }
            | P::Mispaid { .. }
            | P::Captured
            | P::Released
            | P::Extended { .. }
            | P::ExtensionCaptured { .. }
            | P::ExtensionGivenUp { .. } => {}
        }
    }
}

impl Saga for Refunds {
    const NAME: &'static str = "refund";

    fn evolve(&mut self, fact: &Fact, _: Timestamp) {
        match fact {
            Fact::Order(id, event) => self.on_order(*id, event),
            Fact::Payment(_, event) => self.on_payment(event),
            Fact::Serving(_, serving::Event::Released { .. }) => self.portions = false,
            Fact::Account(
                _,
                account::Event::Refunded { refund, hold, .. }
                | account::Event::RefundLapsed { refund, hold, .. }
                | account::Event::RefundDiverted { refund, hold, .. },
            ) => self.given(*refund, hold.tender),
            // No other event of an account, and none of a serving or menu, moves a refund.
            Fact::Account(..) | Fact::Serving(..) | Fact::Menu(..) => {}
            Fact::Policy(..) | Fact::Grant(..) | Fact::Diner(..) | Fact::Books(..) | Fact::Invoice(..) => {}
            Fact::Correction(..) | Fact::TopUp(..) | Fact::Payout(..) => {}
        }
    }

    fn next(&self, _: Timestamp) -> Option<Next> {
        let order = self.order?;
        if self.portions {
            return Next::new("release", Step::ReleasePortions(order));
        }
        // One that waits for its provider does not keep the others waiting.
        self.open.iter().find_map(|open| open.next(order))
    }

    fn after_refusal(&self, _: &Next, _: &Refused) -> Option<Next> {
        // A payment that is not captured yet refuses the refund for now; its checkout goes on first.
        None
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn is_open(&self) -> bool {
        self.portions || !self.open.is_empty()
    }

    fn step_time(&self, now: Timestamp) -> Timestamp {
        let (Some(order), false) = (self.order, self.portions) else { return now };
        // A step is the first refund's that can take one, once the portions are given back.
        let first = self.open.iter().find(|open| open.next(order).is_some());
        first.and_then(|open| open.dated).unwrap_or(now)
    }
}

impl Open {
    fn next(&self, order: OrderId) -> Option<Next> {
        let payment = order.payment();
        let Open { refund, amount, first, from, progress, .. } = self;
        let (refund, from) = (*refund, *from);
        match progress {
            Progress::Begun => {
                let (amount, first) = (*amount, first.clone());
                let command = payment::Command::BeginRefund { refund, amount, from, first };
                Next::of(refund, "begin", Step::Payment(payment, command))
            }
            Progress::GivingBack { parts, given, asked } => {
                let owed = || parts.iter().filter(|part| !given.contains(&part.tender));
                match owed().find(|part| !asked.contains(&part.tender)) {
                    Some(part) => {
                        let step = Step::GiveBack { payment, refund, part: *part, from };
                        Next::of(refund, &format!("give-back/{}", part.tender), step)
                    }
                    // Its provider has the next step.
                    None if owed().next().is_some() => None,
                    None => {
                        let command = payment::Command::SettleRefund { refund };
                        Next::of(refund, "settle", Step::Payment(payment, command))
                    }
                }
            }
            Progress::Settled => {
                let command = order::Command::SettleRefund { refund };
                Next::of(refund, "settled", Step::Order(order, command))
            }
        }
    }
}
