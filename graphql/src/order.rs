//! Orders as diners and staff see them.

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject, connection::Connection};
use domain::{
    CanteenId, DinerId, OrderId, ServingId, Timestamp,
    order::{self as domain_order, Line, Refusal, Terms},
    payment::Payment,
};
use projections::{as_of::orders, diner_orders as views};
use store::Position;

use crate::{
    as_of::{AsOfInput, moment, warn_incomplete},
    caller::{Caller, caller},
    errors::{Failed, not_found},
    menu::{Canteen, Serving, load_canteen, load_serving},
    menu_changes::serving_of,
    node::{self, NodeId},
    paging,
    refund::Refund,
    scalars::{Date, DateTime, Decimal, Money, Uuid},
    tender::{PaymentTerms, Tender},
};

/// How far an order is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "views::Status")]
pub(crate) enum OrderStatus {
    /// It waits to be paid.
    Placed,
    /// Its portions are reserved and its money is held or taken.
    Confirmed,
    /// The kitchen is at it.
    Preparing,
    /// It can be collected.
    Ready,
    /// It was collected.
    PickedUp,
    /// Nobody came for it.
    NoShow,
    /// It was given up before the meal, and refunded.
    Cancelled,
    /// It could not be had.
    Refused,
    /// It was not paid in time.
    Expired,
}

/// How an order came.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain_order::Channel")]
pub(crate) enum Channel {
    /// From a diner's device.
    Online,
    /// Sold at the counter by staff, also after the cut-off, and cooked like any other.
    Counter,
    /// Sold, paid and handed over at the counter at once.
    WalkUp,
    /// From another till's history.
    Import,
}

/// Why an order could not be had.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// Less was left than was asked.
    SoldOut,
    /// Ordering had closed.
    Closed,
    /// Ordering had not opened yet.
    NotYetOpen,
    /// A price was not the one that was shown.
    PriceChanged,
    /// The diner would have held too many portions.
    DinerLimit,
    /// The diner's accounts did not have enough.
    InsufficientFunds,
    /// The diner's account is frozen.
    AccountFrozen,
    /// The dish, or the serving, was withdrawn.
    Withdrawn,
    /// The dish or its options are not on offer.
    NotOffered,
    /// The kitchen had locked before the portions were reserved.
    TooLate,
    /// The provider refused the payment, or gave it up.
    PaymentFailed,
}

impl From<&Refusal> for RefusalReason {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::SoldOut(_) => RefusalReason::SoldOut,
            Refusal::Closed { .. } => RefusalReason::Closed,
            Refusal::NotYetOpen { .. } => RefusalReason::NotYetOpen,
            Refusal::PriceChanged(_) => RefusalReason::PriceChanged,
            Refusal::DinerLimit { .. } => RefusalReason::DinerLimit,
            Refusal::InsufficientFunds { .. } => RefusalReason::InsufficientFunds,
            Refusal::AccountFrozen => RefusalReason::AccountFrozen,
            Refusal::Withdrawn => RefusalReason::Withdrawn,
            Refusal::NotOffered => RefusalReason::NotOffered,
            Refusal::TooLate => RefusalReason::TooLate,
            Refusal::PaymentFailed => RefusalReason::PaymentFailed,
        }
    }
}

/// Some portions of a dish, as they were ordered: name, options and price stay as they were then.
#[derive(SimpleObject)]
pub(crate) struct OrderLine {
    /// The dish's global id.
    dish: ID,
    /// What it was called.
    name: String,
    /// How many portions.
    quantity: u32,
    /// Of one portion, its options included.
    unit_price: Money,
    /// Percent of tax that the price includes; 0 is none.
    tax_rate: Decimal,
    /// What was chosen.
    options: Vec<Selection>,
}

/// Tax at one rate.
#[derive(SimpleObject)]
pub(crate) struct TaxPart {
    /// In percent.
    rate: Decimal,
    /// How much of the price it is.
    amount: Money,
}

/// A choice that was made.
#[derive(SimpleObject)]
pub(crate) struct Selection {
    /// The option group's name.
    group: String,
    /// The choice's name.
    choice: String,
}

impl Selection {
    pub(crate) fn all(selections: &[domain_order::Selection]) -> Vec<Selection> {
        let selection =
            |one: &domain_order::Selection| Selection { group: one.group.clone(), choice: one.choice.clone() };
        selections.iter().map(selection).collect()
    }
}

/// An order, from its aggregate or from the view.
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) diner: DinerId,
    pub(crate) canteen: CanteenId,
    serving: ServingId,
    status: OrderStatus,
    channel: domain_order::Channel,
    terms: Terms,
    lines: Vec<Line>,
    total: domain::Money,
    refunded: domain::Money,
    refusal: Option<RefusalReason>,
    code: Option<String>,
    placed_at: Timestamp,
    lock_at: Timestamp,
    pay_by: Timestamp,
    refunds: Vec<Refund>,
    /// None for an order from its aggregate: the payment's own has them.
    tenders: Option<Vec<views::PaidFrom>>,
    /// Where the mutation ended, and its token; none for an order that was read.
    pub(crate) written: Option<(Position, String)>,
}

impl From<views::Order> for Order {
    fn from(row: views::Order) -> Self {
        Order {
            id: row.order_id,
            diner: row.diner,
            canteen: row.canteen,
            serving: row.serving,
            status: row.status.into(),
            channel: row.channel,
            terms: row.terms,
            total: row.total(),
            refunded: row.refunded(),
            refusal: row.refusal.as_ref().map(|refusal| RefusalReason::from(&refusal.0)),
            placed_at: row.placed_at,
            lock_at: row.lock_at,
            pay_by: row.pay_by,
            refunds: row.refunds.iter().map(|refund| Refund::of_row(refund, &row)).collect(),
            code: row.code.filter(|_| row.status == views::Status::Ready),
            lines: row.lines.0,
            tenders: Some(row.tenders.0),
            written: None,
        }
    }
}

impl Order {
    /// As its aggregate has it; none for one that was never placed.
    pub(crate) fn of_aggregate(id: OrderId, order: &domain_order::Order) -> Option<Order> {
        use domain_order::Order as State;
        let ticket = order.ticket()?;
        let placed = &ticket.placed;
        let (status, refusal, code) = match order {
            State::New | State::Placed(_) => (OrderStatus::Placed, None, None),
            State::Confirmed(_) => (OrderStatus::Confirmed, None, None),
            State::Preparing(_) => (OrderStatus::Preparing, None, None),
            State::Ready(_, code) => (OrderStatus::Ready, None, Some(code.clone())),
            State::PickedUp(_) => (OrderStatus::PickedUp, None, None),
            State::NoShow(_) => (OrderStatus::NoShow, None, None),
            State::Cancelled(_) => (OrderStatus::Cancelled, None, None),
            State::Refused(_, refusal) => (OrderStatus::Refused, Some(RefusalReason::from(refusal)), None),
            State::Expired(_) => (OrderStatus::Expired, None, None),
        };
        let refund =
            |(refund, one): (&domain::RefundId, &domain_order::Refund)| Refund::of_ticket((id, *refund), one, placed);
        Some(Order {
            id,
            diner: placed.diner,
            canteen: placed.canteen,
            serving: placed.serving,
            status,
            channel: placed.channel,
            terms: placed.terms,
            lines: placed.lines.clone(),
            total: placed.total,
            refunded: domain::Money::new(placed.total.minor - ticket.net().minor, placed.total.currency),
            refusal,
            code,
            placed_at: ticket.placed_at,
            lock_at: placed.lock_at,
            pay_by: placed.pay_by,
            refunds: ticket.refunds.iter().map(refund).collect(),
            tenders: None,
            written: None,
        })
    }

    fn seen_at(&self) -> Position {
        self.written.as_ref().map_or(0, |(position, _)| *position)
    }
}

/// What one diner asks of one serving.
#[Object]
impl Order {
    /// Its global id.
    pub(crate) async fn id(&self) -> ID {
        NodeId::Order(self.id).encode()
    }

    /// How far it is.
    async fn status(&self) -> OrderStatus {
        self.status
    }

    /// Whose it is: the `sub` of the diner's tokens.
    async fn diner(&self) -> Uuid {
        self.diner.0.into()
    }

    /// What it asks of.
    async fn serving(&self, ctx: &Context<'_>) -> Result<Serving> {
        Ok(load_serving(ctx, self.serving, self.seen_at()).await?)
    }

    /// Who cooks it.
    async fn canteen(&self, ctx: &Context<'_>) -> Result<Canteen> {
        Ok(load_canteen(ctx, self.canteen, self.seen_at()).await?)
    }

    /// How it came.
    async fn channel(&self) -> Channel {
        self.channel.into()
    }

    /// How it is to be paid.
    async fn payment(&self) -> PaymentTerms {
        self.terms.into()
    }

    /// What it asks for, at most 50 lines.
    async fn lines(&self) -> Vec<OrderLine> {
        let line = |line: &Line| OrderLine {
            dish: NodeId::Dish(self.canteen, line.dish).encode(),
            name: line.name.clone(),
            quantity: line.quantity,
            unit_price: line.unit_price.into(),
            tax_rate: line.tax.into(),
            options: Selection::all(&line.options),
        };
        self.lines.iter().map(line).collect()
    }

    /// What its lines come to together.
    async fn total(&self) -> Money {
        self.total.into()
    }

    /// How much of these lines is refunded or about to be.
    async fn refunded(&self) -> Money {
        self.refunded.into()
    }

    /// The tax within what it comes to less its refunds, by rising rate; rounded once a rate, half up.
    async fn tax(&self) -> Vec<TaxPart> {
        let refunded = self.refunds.iter().flat_map(|refund| &refund.lines).map(|line| (line.line, line.minor));
        let part = |part: domain::tax::TaxPart| TaxPart { rate: part.rate.into(), amount: part.amount.into() };
        domain_order::tax_of(&self.lines, refunded).into_iter().map(part).collect()
    }

    /// Why it was refused, if it was.
    async fn refusal(&self) -> Option<RefusalReason> {
        self.refusal
    }

    /// What the diner shows to collect it, while it is ready.
    async fn pickup_code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// When it was placed.
    async fn placed_at(&self) -> DateTime {
        self.placed_at.into()
    }

    /// From when on the diner cannot cancel it.
    async fn lock_at(&self) -> DateTime {
        self.lock_at.into()
    }

    /// When it expires if it is not paid.
    async fn pay_by(&self) -> DateTime {
        self.pay_by.into()
    }

    /// Where its money comes from, in the order of deduction; empty until that is planned.
    async fn tenders(&self, ctx: &Context<'_>) -> Result<Vec<Tender>> {
        let currency = self.total.currency;
        if let Some(tenders) = &self.tenders {
            return Ok(tenders.iter().map(|from| Tender::of(from, currency)).collect());
        }
        let caller = caller(ctx)?;
        let look = |payment: &Payment| {
            let Ok(sheet) = payment.sheet() else { return vec![] };
            let from = |(number, tender): (u8, &domain::payment::Tender)| views::PaidFrom {
                source: tender.source,
                amount: tender.amount.minor,
                why: tender.why,
                state: sheet.state_of(number),
                refunded: sheet.refunded(number),
            };
            (0..).zip(&sheet.tenders).map(from).collect()
        };
        let looked = caller.commands().look(caller.tenant(), self.id.payment(), look).await;
        let from: Vec<views::PaidFrom> = looked.map_err(Failed::from)?;
        Ok(from.iter().map(|from| Tender::of(from, currency)).collect())
    }

    /// What the diner's device needs to pay the provider, while the order waits for that: a text to show as
    /// a QR code, or to hand to the provider's app. For the diner alone.
    async fn payment_code(&self, ctx: &Context<'_>) -> Result<Option<String>> {
        let caller = caller(ctx)?;
        let waits = matches!(self.terms, Terms::BalancesThen(_)) && self.status == OrderStatus::Placed;
        if !waits || caller.identity.diner() != Some(self.diner) {
            return Ok(None);
        }
        let handle = caller.service.ordering.handle(caller.tenant(), self.id).await.map_err(Failed::from)?;
        Ok(handle.map(|handle| handle.0))
    }

    /// What goes back of its money.
    async fn refunds(&self) -> Vec<Refund> {
        self.refunds.iter().map(|refund| refund.clone().seen_at(self.seen_at())).collect()
    }

    /// After a mutation: brings a query up to it. Null for an order that was read.
    async fn consistency_token(&self) -> Option<&str> {
        self.written.as_ref().map(|(_, token)| token.as_str())
    }
}

/// Whether this caller may see the order: its diner, its canteen's staff, finance and auditors.
pub(crate) fn visible(caller: &Caller<'_>, order: &Order) -> bool {
    caller.identity.diner() == Some(order.diner) || caller.reader_of(order.canteen).is_ok()
}

/// An order that this caller may see.
pub(crate) async fn read_order(caller: &Caller<'_>, id: OrderId) -> Result<Option<Order>, Failed> {
    let row = views::order(caller.views(), caller.tenant(), id).await?;
    Ok(row.map(Order::from).filter(|order| visible(caller, order)))
}

#[derive(Default)]
pub(crate) struct OrderQuery;

#[Object]
impl OrderQuery {
    /// An order; null when there is none with that id that you may see.
    async fn order(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The order's global id.")] id: ID,
    ) -> Result<Option<Order>> {
        let Some(id) = node::order(&id) else { return Ok(None) };
        Ok(read_order(&caller(ctx)?, id).await?)
    }

    /// Your own orders, newest first.
    async fn my_orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, Order>> {
        let caller = caller(ctx)?;
        let (views, tenant) = (caller.views(), caller.tenant());
        let diner = caller.identity.diner().ok_or_else(|| not_found("diner"))?;
        let before = paging::cursor(after.as_deref(), |text| caller.service.masks.position(tenant, text))?;
        let fetch = |before, size| views::of_diner(views, tenant, diner, before, size);
        let page = paging::page(first, before, fetch).await?;
        let cursor = |row: &views::Order| caller.service.masks.token(tenant, row.placed);
        Ok(paging::connection(page, cursor, Order::from))
    }

    /// A serving's orders, in the order of placing. For its canteen, finance and auditors.
    async fn orders_of_serving(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The serving's global id.")] serving: ID,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, Order>> {
        let caller = caller(ctx)?;
        let serving = serving_of(&serving)?;
        let (views, tenant) = (caller.views(), caller.tenant());
        caller.reader_of_serving(serving).await?;
        let after = paging::cursor(after.as_deref(), |text| caller.service.masks.position(tenant, text))?;
        let fetch = |after, size| views::of_serving(views, tenant, serving, after, size);
        let page = paging::page(first, after, fetch).await?;
        let cursor = |row: &views::Order| caller.service.masks.token(tenant, row.placed);
        Ok(paging::connection(page, cursor, Order::from))
    }

    /// The orders of all servings of a day, in the order of placing, as they are or as they were. For
    /// finance and auditors.
    async fn orders_of_day(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The local date of the canteens.")] date: Date,
        #[graphql(desc = "Only of this canteen: its global id.")] canteen: Option<ID>,
        #[graphql(desc = "As it was; as it is now, if it is not said.")] as_of: Option<AsOfInput>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, Order>> {
        let caller = caller(ctx)?;
        let (views, tenant, store) = (caller.views(), caller.tenant(), &**caller.commands().store());
        let canteen = canteen.map(|id| node::canteen(&id).ok_or_else(|| not_found("canteen").at("canteen")));
        let canteen = canteen.transpose()?;
        let after = paging::cursor(after.as_deref(), |text| caller.service.masks.position(tenant, text))?;
        let moment = moment(&caller, as_of).await?;
        warn_incomplete(ctx, &caller, "diner_orders", moment).await?;
        let fetch = async |after, size| match moment {
            Some(moment) => orders::of_day(store, views, tenant, (canteen, date.0), after, size, moment).await,
            None => Ok(views::of_day(views, tenant, canteen, date.0, after, size).await?),
        };
        let page = paging::page(first, after, fetch).await?;
        let cursor = |row: &views::Order| caller.service.masks.token(tenant, row.placed);
        Ok(paging::connection(page, cursor, Order::from))
    }
}
