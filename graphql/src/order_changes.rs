//! Placing, paying, cancelling and refunding orders.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use commands::{Failure, Finished, Request};
use domain::{
    CanteenId, ChangeId, DinerId, OrderId,
    order::{self as domain_order, LineCount, Made, RefundReason},
    payment::MAX_TENDERS_EXTENDED,
};
use sagas::{NewOrder, PayError, PlaceError};
use serde::Serialize;

use crate::{
    caller::{Caller, caller},
    errors::{self, Code, Failed, Refusal, coded, not_found, refused_at},
    menu_changes::serving_of,
    node,
    order::Order,
    place_order::{OrderLineInput, PlaceOrderInput, PlaceOrderResult, refused, turned_away},
    refund::StaffRefundReason,
    scalars::{MoneyInput, PositiveInt, Uuid},
};

/// An order after a change.
#[derive(SimpleObject)]
pub(crate) struct OrderPayload {
    /// As it is now.
    order: Order,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// Some portions of an order's line.
#[derive(InputObject)]
pub(crate) struct LineCountInput {
    /// The line's index in the order, from 0.
    line: u16,
    /// How many portions.
    quantity: PositiveInt,
}

impl Refusal for PayError {
    fn code(&self) -> Code {
        match self {
            PayError::Order(error) => error.code(),
            PayError::Payment(error) => error.code(),
        }
    }
}

pub(crate) fn order_id(id: &ID) -> Result<OrderId, Failed> {
    node::order(id).ok_or_else(|| not_found("order").at("order"))
}

/// Who an order belongs to.
pub(crate) struct Owner {
    pub(crate) diner: DinerId,
    pub(crate) canteen: CanteenId,
}

pub(crate) async fn owner_of(caller: &Caller<'_>, order: OrderId) -> Result<Owner, Failed> {
    let owner = |order: &domain_order::Order| {
        order.ticket().map(|ticket| Owner { diner: ticket.placed.diner, canteen: ticket.placed.canteen })
    };
    let owner = caller.commands().look(caller.tenant(), order, owner).await?;
    owner.ok_or_else(|| not_found("order").at("order"))
}

/// The order that a use case answered with.
pub(crate) async fn finished(
    caller: &Caller<'_>,
    id: OrderId,
    finished: &Finished<domain_order::Order>,
) -> Result<OrderPayload, Failed> {
    let at = caller.written(finished.position).await?;
    let mut order = Order::of_aggregate(id, &finished.value).ok_or_else(|| not_found("order"))?;
    order.written = Some((at.position, at.token.clone()));
    Ok(OrderPayload { order, consistency_token: at.token })
}

/// The order after a command that answered with events only.
pub(crate) async fn order_after(
    caller: &Caller<'_>,
    id: OrderId,
    position: store::Position,
) -> Result<OrderPayload, Failed> {
    let value = caller.commands().look(caller.tenant(), id, domain_order::Order::clone).await?;
    finished(caller, id, &Finished { value, position }).await
}

/// Who orders, and how: diners for themselves, staff of the canteen for anybody at the counter.
fn diner_of(
    caller: &Caller<'_>,
    asked: Option<Uuid>,
    canteen: CanteenId,
) -> Result<(DinerId, domain_order::Channel), Failed> {
    match (asked, caller.identity.diner()) {
        (None, Some(diner)) => Ok((diner, domain_order::Channel::Online)),
        (None, None) => Err(coded(Code::BadInput, "say for which diner it is sold at the counter").at("diner")),
        (Some(diner), _) if diner.0.is_nil() => Err(coded(Code::BadInput, "a diner is not the nil UUID").at("diner")),
        (Some(diner), _) => {
            caller.staff_of(canteen)?;
            Ok((DinerId(diner.0), domain_order::Channel::Counter))
        }
    }
}

async fn place(caller: &Caller<'_>, input: PlaceOrderInput, key: Uuid) -> Result<PlaceOrderResult, Failed> {
    let serving = serving_of(&input.serving)?;
    if input.lines.len() > domain_order::MAX_LINES {
        return Err(errors::of(Code::BadInput, &domain_order::Error::BadLineCount).at("lines"));
    }
    let lines = input.lines.into_iter().map(|line| line.read()).collect::<Result<Vec<_>, _>>()?;
    // Staff sell for their own canteen, and diners only what its serving offers.
    let canteen = match (&input.diner, lines.first()) {
        (Some(_), _) => caller.staff_of_serving(serving).await?,
        (None, Some((canteen, _))) => *canteen,
        (None, None) => CanteenId(uuid::Uuid::nil()),
    };
    let (diner, mut channel) = diner_of(caller, input.diner, canteen)?;
    if input.hand_over {
        if channel != domain_order::Channel::Counter {
            return Err(coded(Code::BadInput, "only staff hand over what they sell").at("handOver"));
        }
        channel = domain_order::Channel::WalkUp;
    }
    let canteens: Vec<_> = lines.iter().map(|(canteen, line)| (line.dish, *canteen)).collect();
    let lines = lines.into_iter().map(|(_, line)| line).collect();
    let new = NewOrder { diner, serving, lines, channel, terms: input.pay_with.into() };
    let request = caller.request("placeOrder", key, &new)?;
    let order = OrderId(request.id);
    match caller.service.ordering.place_order(request, new).await {
        Ok(placed) => {
            if let (domain_order::Order::Refused(ticket, refusal), at) = (&placed.value, placed.position) {
                caller.written(at).await?;
                return Ok(refused(refusal, ticket.placed.canteen, Some(order)));
            }
            Ok(PlaceOrderResult::Order(Box::new(finished(caller, order, &placed).await?.order)))
        }
        Err(failure) => {
            turned_away(failure, |dish| canteens.iter().find(|(known, _)| *known == dish).map(|(_, canteen)| *canteen))
        }
    }
}

async fn change(
    caller: &Caller<'_>,
    id: &ID,
    lines: Vec<OrderLineInput>,
    key: Uuid,
) -> Result<PlaceOrderResult, Failed> {
    let order = order_id(id)?;
    let owner = owner_of(caller, order).await?;
    // Whoever may cancel it may change it.
    canceller(caller, &owner)?;
    if lines.len() > domain_order::MAX_LINES {
        return Err(errors::of(Code::BadInput, &domain_order::Error::BadLineCount).at("lines"));
    }
    let lines = lines.into_iter().map(|line| line.read().map(|(_, line)| line)).collect::<Result<Vec<_>, _>>()?;
    let request = caller.request("changeOrder", key, &(order, &lines))?;
    let changed = match caller.service.ordering.change_order(request, order, lines).await {
        Ok(changed) => changed,
        Err(Failure::Refused(PlaceError::Invalid(error))) if !matches!(error.code(), Code::BadInput) => {
            return Err(errors::of(error.code(), &error).at("order"));
        }
        Err(failure) => return turned_away(failure, |_| Some(owner.canteen)),
    };
    if let Some(Made::Refused(refusal)) = changed.value.made_of(ChangeId(request.about(order.0).id)) {
        caller.written(changed.position).await?;
        return Ok(refused(refusal, owner.canteen, None));
    }
    Ok(PlaceOrderResult::Order(Box::new(finished(caller, order, &changed).await?.order)))
}

/// Who cancels: its own diner, or else staff of its canteen.
fn canceller(caller: &Caller<'_>, owner: &Owner) -> Result<RefundReason, Failed> {
    if caller.identity.works_in(owner.canteen) {
        return Ok(RefundReason::CancelledByCanteen);
    }
    if caller.identity.diner() == Some(owner.diner) {
        return Ok(RefundReason::CancelledByDiner);
    }
    // Another diner's order is as unknown as none.
    Err(not_found("order").at("order"))
}

/// Staff go on with an order of their canteen.
pub(crate) async fn staff_order(caller: &Caller<'_>, id: &ID) -> Result<OrderId, Failed> {
    let order = order_id(id)?;
    caller.staff_of(owner_of(caller, order).await?.canteen)?;
    Ok(order)
}

/// A request to refund `what`. What a reason that is not said adds to it is nothing, so that a key means the same
/// as before there were any.
fn refunding(
    caller: &Caller<'_>,
    (mutation, key): (&str, Uuid),
    what: &impl Serialize,
    reason: Option<RefundReason>,
) -> Result<Request, Failed> {
    match reason {
        None => caller.request(mutation, key, what),
        Some(reason) => caller.request(mutation, key, &(what, reason)),
    }
}

fn not_refunded(failure: Failure<domain_order::Error>) -> Failed {
    match &failure {
        Failure::Refused(domain_order::Error::TooMuch { .. }) => refused_at(failure, "amount"),
        Failure::Refused(domain_order::Error::NoReason) => refused_at(failure, "reason"),
        _ => Failed::from(failure),
    }
}

#[derive(Default)]
pub(crate) struct OrderMutation;

#[Object]
impl OrderMutation {
    /// Places an order and pays it: it is confirmed, or waits to be paid at the counter, or it cannot
    /// be had.
    async fn place_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is ordered.")] input: PlaceOrderInput,
        #[graphql(desc = "A UUID of your own making; the same again is the same order.")] idempotency_key: Uuid,
    ) -> Result<PlaceOrderResult> {
        Ok(place(&caller(ctx)?, input, idempotency_key).await?)
    }

    /// Changes what an order is for, until the kitchen locks; more of something only while the serving sells
    /// it. What stays keeps its price. What it costs more is paid from the diner's balances, what it costs
    /// less goes back. A refusal leaves the order as it was. For its diner, and its canteen.
    async fn change_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] order: ID,
        #[graphql(desc = "All that it is to be for, 1 to 50 lines; what is not named is given up.")] lines: Vec<
            OrderLineInput,
        >,
        #[graphql(desc = "A UUID of your own making; the same again is the same change.")] idempotency_key: Uuid,
    ) -> Result<PlaceOrderResult> {
        Ok(change(&caller(ctx)?, &order, lines, idempotency_key).await?)
    }

    /// Cancels an order and refunds it: its diner until the kitchen locks, its canteen until pickup.
    async fn cancel_order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] order: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<OrderPayload> {
        let caller = caller(ctx)?;
        let order = order_id(&order)?;
        let by = canceller(&caller, &owner_of(&caller, order).await?)?;
        let request = caller.request("cancelOrder", idempotency_key, &order)?;
        let cancelled = caller.service.ordering.cancel_order(request, order, by).await.map_err(Failed::from)?;
        Ok(finished(&caller, order, &cancelled).await?)
    }

    /// Refunds some portions of an order. Once it was handed over, or nobody came for it, only for a reason that is
    /// said. For its canteen.
    async fn refund_lines(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] order: ID,
        #[graphql(desc = "Which portions, 1 to 50 lines.")] lines: Vec<LineCountInput>,
        #[graphql(desc = "What for; needed after the meal, and a complaint before it if it is not said.")]
        reason: Option<StaffRefundReason>,
        #[graphql(desc = "A UUID of your own making; the same again is the same refund.")] idempotency_key: Uuid,
    ) -> Result<OrderPayload> {
        let caller = caller(ctx)?;
        let order = staff_order(&caller, &order).await?;
        if lines.is_empty() || lines.len() > domain_order::MAX_LINES {
            return Err(coded(Code::BadInput, "a refund is of 1 to 50 lines").at("lines").into());
        }
        let lines: Vec<_> =
            lines.iter().map(|count| LineCount { line: count.line, quantity: count.quantity.0 }).collect();
        let reason = reason.map(RefundReason::from);
        let request = refunding(&caller, ("refundLines", idempotency_key), &(order, &lines), reason)?;
        let refund = caller.service.ordering.refund_lines(request, order, lines, reason);
        let refunded = refund.await.map_err(not_refunded)?;
        Ok(finished(&caller, order, &refunded).await?)
    }

    /// Refunds an amount of an order, spread over what is left of its lines. Once it was handed over, or nobody came
    /// for it, only for a reason that is said. For its canteen.
    async fn refund_amount(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] order: ID,
        #[graphql(desc = "How much; at most what no refund has begun for.")] amount: MoneyInput,
        #[graphql(
            desc = "Indices of tenders that it goes to first, as the order lists them; else to the last deducted first."
        )]
        first_to: Option<Vec<u8>>,
        #[graphql(desc = "What for; needed after the meal, and a complaint before it if it is not said.")]
        reason: Option<StaffRefundReason>,
        #[graphql(desc = "A UUID of your own making; the same again is the same refund.")] idempotency_key: Uuid,
    ) -> Result<OrderPayload> {
        let caller = caller(ctx)?;
        let order = staff_order(&caller, &order).await?;
        let amount = amount.read("amount")?;
        let first = first_to.unwrap_or_default();
        if first.len() > MAX_TENDERS_EXTENDED {
            let why = format!("a payment has at most {MAX_TENDERS_EXTENDED} tenders");
            let failed = coded(Code::BadInput, why).in_chinese(format!("一笔付款最多分为 {MAX_TENDERS_EXTENDED} 笔"));
            return Err(failed.at("firstTo").into());
        }
        let reason = reason.map(RefundReason::from);
        let request = refunding(&caller, ("refundAmount", idempotency_key), &(order, amount, &first), reason)?;
        let refund = caller.service.ordering.refund_amount(request, order, amount, first, reason);
        let refunded = refund.await.map_err(not_refunded)?;
        Ok(finished(&caller, order, &refunded).await?)
    }

    /// Notes that the counter has the money of an order that is paid there. For its canteen.
    async fn record_payment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] order: ID,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<OrderPayload> {
        let caller = caller(ctx)?;
        let order = staff_order(&caller, &order).await?;
        let request = caller.request("recordPayment", idempotency_key, &order)?;
        let paid = caller.service.ordering.record_payment(request, order).await;
        let paid = paid.map_err(|failure: Failure<PayError>| Failed::from(failure))?;
        Ok(finished(&caller, order, &paid).await?)
    }
}
