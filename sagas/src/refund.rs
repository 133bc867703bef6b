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
                Some(known) => Progress::GivingBack { parts: known.parts.clone(), given: known.paid_back.clone() },
            };
            let dated = history.then_some(begun.begun_at);
            Open { refund: *refund, amount: begun.amount, from: begun.from, progress, dated }
        });
        let portions = reserved != Reserved::GaveBack && matches!(order, Order::Cancelled(_));
        Refunds { order: Some(id), portions, open: open.collect() }
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
            O::RefundBegun { refund, amount, from, .. } => {
                self.order = Some(id);
                let (refund, amount, from) = (*refund, *amount, *from);
                self.open.push(Open { refund, amount, from, progress: Progress::Begun, dated: None });
            }
            O::RefundSettled { refund } => self.open.retain(|open| open.refund != *refund),
            O::Placed(_)
            | O::Confirmed
            | O::Refused(_)
            | O::Expired
            | O::Preparing
            | O::Readied { .. }
            | O::PickedUp { .. }
            | O::NoShow { .. } => {}
        }
    }

    fn on_payment(&mut self, event: &payment::Event) {
        use payment::Event as P;
        match event {
            P::RefundBegun { refund, parts, .. } => {
                if let Some(open) = self.find(*refund) {
                    open.progress = Progress::GivingBack { parts: parts.clone(), given: vec![] };
                }
            }
            P::PaidBack { refund, tender, .. } => self.given(*refund, *tender),
            P::RefundSettled { refund } => {
                if let Some(open) = self.find(*refund) {
                    open.progress = Progress::Settled;
                }
            }
            P::Started { .. } | P::Held | P::Paid { .. } | P::Captured | P::Released => {}
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
            Fact::Policy(..) | Fact::Grant(..) | Fact::Diner(..) | Fact::Books(..) => {}
        }
    }

    fn next(&self, _: Timestamp) -> Option<Next> {
        let order = self.order?;
        if self.portions {
            return Next::new("release", Step::ReleasePortions(order));
        }
        let payment = order.payment();
        let Open { refund, amount, from, progress, .. } = self.open.first()?;
        let (refund, from) = (*refund, *from);
        match progress {
            Progress::Begun => {
                let command = payment::Command::BeginRefund { refund, amount: *amount, from };
                Next::of(refund, "begin", Step::Payment(payment, command))
            }
            Progress::GivingBack { parts, given } => match parts.iter().find(|part| !given.contains(&part.tender)) {
                Some(part) => {
                    let step = Step::GiveBack { payment, refund, part: *part, from };
                    Next::of(refund, &format!("give-back/{}", part.tender), step)
                }
                None => {
                    let command = payment::Command::SettleRefund { refund };
                    Next::of(refund, "settle", Step::Payment(payment, command))
                }
            },
            Progress::Settled => {
                let command = order::Command::SettleRefund { refund };
                Next::of(refund, "settled", Step::Order(order, command))
            }
        }
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
        // A step is the first open refund's, once the portions are given back.
        let first = self.open.first().filter(|_| !self.portions);
        first.and_then(|open| open.dated).unwrap_or(now)
    }
}
