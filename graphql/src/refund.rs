//! What goes back of an order's money: what for, of which lines, and where each part of it has gone.

use std::collections::BTreeMap;

use async_graphql::{ComplexObject, Context, Enum, ID, Result, SimpleObject};
use domain::{
    Currency, OrderId, RefundId,
    order::{self as domain_order, Line, LineAmount, LineCount},
};
use projections::diner_orders as views;
use store::Position;

use crate::{
    caller::caller,
    loaders::Loaders,
    node::NodeId,
    scalars::{DateTime, Money, Uuid},
    tender::TenderSource,
};

/// What money of an order goes back for.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain_order::RefundReason")]
pub(crate) enum RefundReason {
    /// Its diner gave it up.
    CancelledByDiner,
    /// Its canteen gave it up.
    CancelledByCanteen,
    /// The canteen withdrew what it was for.
    Withdrawn,
    /// Something was wrong with the meal.
    Complaint,
    /// Nobody came for it, and its canteen does not charge all of it.
    NoShow,
    /// The order was changed, and costs less since.
    Changed,
}

/// What staff refund for.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StaffRefundReason {
    /// The canteen takes the sale back.
    CancelledByCanteen,
    /// The canteen did not have what was ordered.
    Withdrawn,
    /// Something was wrong with the meal.
    Complaint,
    /// Nobody came for it, and its canteen does not charge all of it.
    NoShow,
}

impl From<StaffRefundReason> for domain_order::RefundReason {
    fn from(reason: StaffRefundReason) -> Self {
        match reason {
            StaffRefundReason::CancelledByCanteen => domain_order::RefundReason::CancelledByCanteen,
            StaffRefundReason::Withdrawn => domain_order::RefundReason::Withdrawn,
            StaffRefundReason::Complaint => domain_order::RefundReason::Complaint,
            StaffRefundReason::NoShow => domain_order::RefundReason::NoShow,
        }
    }
}

/// Money of an order that goes back.
#[derive(SimpleObject, Clone)]
#[graphql(complex)]
pub(crate) struct Refund {
    /// Its id.
    id: Uuid,
    /// How much goes back.
    amount: Money,
    /// What for.
    reason: RefundReason,
    /// When it was begun.
    begun_at: DateTime,
    /// What it takes of which lines.
    pub(crate) lines: Vec<RefundedLine>,
    /// Whether all of it has arrived.
    settled: bool,
    /// Whether it is of what the order was for before it was changed. It names no lines then.
    before_change: bool,
    #[graphql(skip)]
    of: (OrderId, RefundId),
    /// Where the mutation that it was answered by ended.
    #[graphql(skip)]
    seen_at: Position,
    /// None of an order from its aggregate: its row has them.
    #[graphql(skip)]
    known: Option<Vec<RefundPart>>,
}

/// What a refund takes of an order's line.
#[derive(SimpleObject, Clone)]
pub(crate) struct RefundedLine {
    /// The line's index in the order, from 0.
    pub(crate) line: u16,
    /// How many portions; none, of a refund by amount.
    quantity: u32,
    /// How much of what the line came to.
    amount: Money,
    #[graphql(skip)]
    pub(crate) minor: i64,
}

/// Where a part of a refund is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "views::Whereabouts")]
pub(crate) enum RefundPartStatus {
    /// On its way: the account, the till or the provider has not said yet that it has it.
    UnderWay,
    /// Where it came from: in its lot of the subsidy, in the wallet, at the till, or with the provider for whoever
    /// had paid.
    Returned,
    /// Nowhere to be spent: the lot that it was of had expired, so it lapsed as the lot did.
    Lapsed,
    /// With the operator, who has to find its owner: the account was closed, or the provider could not give it back.
    Diverted,
}

/// What of a refund goes back to one tender of its order.
#[derive(SimpleObject, Clone)]
pub(crate) struct RefundPart {
    /// The tender's index among those of the order, from 0.
    tender: u8,
    /// Where the tender's money came from.
    source: TenderSource,
    /// The account that it came from; null if it came from none.
    account: Option<ID>,
    /// How much goes back.
    amount: Money,
    /// Where it is.
    status: RefundPartStatus,
    /// Since when it is there; null while it is under way.
    since: Option<DateTime>,
}

impl RefundPart {
    fn of(part: &views::RefundPart, tenders: &[views::PaidFrom], currency: Currency) -> Option<RefundPart> {
        let source = tenders.get(usize::from(part.tender))?.source;
        Some(RefundPart {
            tender: part.tender,
            source: TenderSource::of(source),
            account: source.account().map(|account| NodeId::Account(account).encode()),
            amount: domain::Money::new(part.amount, currency).into(),
            status: part.is.into(),
            since: part.came.map(|(at, _)| at.into()),
        })
    }

    fn all(refund: &views::Refunded, row: &views::Order) -> Vec<RefundPart> {
        refund.parts.iter().filter_map(|part| RefundPart::of(part, &row.tenders, row.currency)).collect()
    }
}

#[ComplexObject]
impl Refund {
    /// What of it goes back to which tender, and where each part has gone; empty until that is planned.
    async fn parts(&self, ctx: &Context<'_>) -> Result<Vec<RefundPart>> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        let (order, id) = self.of;
        caller(ctx)?.fresh(self.seen_at).await?;
        let row = ctx.data::<Loaders>()?.load_one(order).await?;
        let parts = row.and_then(|row| {
            let refund = row.refunds.iter().find(|refund| refund.refund == id)?;
            Some(RefundPart::all(refund, &row))
        });
        Ok(parts.unwrap_or_default())
    }
}

/// What lines a refund takes from: of portions their prices, or what it says of each.
fn lines(
    ordered: &[Line],
    (portions, amounts): (&[LineCount], &[LineAmount]),
    currency: Currency,
) -> Vec<RefundedLine> {
    let mut minor: BTreeMap<u16, i64> = BTreeMap::new();
    for (line, taken) in domain_order::taken(ordered, portions, amounts) {
        *minor.entry(line).or_default() += taken;
    }
    let quantity = |line| portions.iter().filter(|count| count.line == line).map(|count| count.quantity).sum();
    let line = |(line, minor)| {
        let amount = domain::Money::new(minor, currency).into();
        RefundedLine { line, quantity: quantity(line), amount, minor }
    };
    minor.into_iter().map(line).collect()
}

impl Refund {
    /// As the view has it.
    pub(crate) fn of_row(refund: &views::Refunded, row: &views::Order) -> Refund {
        let taken = if refund.before_change { (&[][..], &[][..]) } else { (&refund.lines[..], &refund.amounts[..]) };
        Refund {
            id: refund.refund.0.into(),
            amount: domain::Money::new(refund.amount, row.currency).into(),
            reason: refund.reason.into(),
            begun_at: refund.begun_at.into(),
            lines: lines(&row.lines, taken, row.currency),
            settled: refund.settled_at.is_some(),
            before_change: refund.before_change,
            of: (row.order_id, refund.refund),
            seen_at: 0,
            known: Some(RefundPart::all(refund, row)),
        }
    }

    /// As its order's aggregate has it.
    pub(crate) fn of_ticket(
        of: (OrderId, RefundId),
        refund: &domain_order::Refund,
        placed: &domain_order::Placement,
    ) -> Refund {
        let taken = if refund.before_change { (&[][..], &[][..]) } else { (&refund.lines[..], &refund.amounts[..]) };
        Refund {
            id: of.1.0.into(),
            amount: refund.amount.into(),
            reason: refund.reason.into(),
            begun_at: refund.begun_at.into(),
            lines: lines(&placed.lines, taken, refund.amount.currency),
            settled: refund.settled,
            before_change: refund.before_change,
            of,
            seen_at: 0,
            known: None,
        }
    }

    pub(crate) fn seen_at(self, position: Position) -> Refund {
        Refund { seen_at: position, ..self }
    }
}
