//! What a process asks of an aggregate.

use domain::{
    AccountId, DinerId, HoldId, Money, OrderId, PaymentId, RefundId, ServingId, account, order, payment, serving,
};

/// One repeatable step. Its name and its order's id make its command's id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Next {
    pub(crate) name: String,
    pub(crate) step: Step,
    /// The refund that it belongs to, whose id is that of the command that began it. Every other step
    /// follows from the order's own beginning.
    pub(crate) refund: Option<RefundId>,
}

impl Next {
    pub(crate) fn new(name: impl Into<String>, step: Step) -> Option<Next> {
        Some(Next { name: name.into(), step, refund: None })
    }

    pub(crate) fn of(refund: RefundId, what: &str, step: Step) -> Option<Next> {
        Some(Next { name: format!("{what}/{refund}"), step, refund: Some(refund) })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    Order(OrderId, order::Command),
    Serving(ServingId, serving::Command),
    Payment(PaymentId, payment::Command),
    Account(AccountId, account::Command),
    /// Looks how far the diner's balances go, and fixes the tenders.
    StartPayment {
        order: OrderId,
        diner: DinerId,
        serving: ServingId,
        total: Money,
        terms: order::Terms,
    },
    /// Holds what a tender takes of an account, or of a lot, which pays only for some servings.
    Hold {
        hold: HoldId,
        source: payment::Source,
        amount: Money,
        serving: ServingId,
    },
    /// Gives the order's portions back to its serving, which the order's state names.
    ReleasePortions(OrderId),
    /// Gives a part of a refund back to where its tender came from.
    GiveBack {
        payment: PaymentId,
        refund: RefundId,
        part: payment::Part,
        from: order::RefundFrom,
    },
}

/// Why an aggregate refused a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refused {
    Order(order::Error),
    Serving(serving::Error),
    Payment(payment::Error),
    Account(account::Error),
    /// The balances do not reach.
    Insufficient {
        short: Money,
    },
}
