//! What an operator does with orders: cancelling, refunds, no-shows, withdrawals. Done by the server that holds
//! the folder, or here.

use std::time::Duration;

use anyhow::{Context, anyhow};
use commands::{Failure, Finished, Request};
use domain::{
    AccountId, ActorId, Currency, DishId, Money, OrderId, RefundId, ServingId, TenantId,
    order::{self, LineCount, Order, RefundReason},
    serving,
};
use graphql::Code;
use projections::{
    dashboard,
    diner_orders::{self, PaidFrom, Refunded, Status, Whereabouts},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    bookkeeping::{self, CATCH_UP},
    config::usage,
    progress::{OnProgress, Progress},
    wiring::House,
};

/// Between two looks at how far a withdrawal is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderWork {
    Cancel {
        order: OrderId,
        by: RefundReason,
    },
    Refund {
        order: OrderId,
        what: Portion,
        reason: Option<RefundReason>,
        key: Uuid,
    },
    NoShow(OrderId),
    /// The till has its money.
    RecordPayment(OrderId),
    /// A dish of a serving, or everything.
    Withdraw {
        serving: ServingId,
        dish: Option<DishId>,
    },
}

/// How much of an order is refunded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Portion {
    /// Whatever no refund has begun for.
    Rest,
    Lines(Vec<LineCount>),
    /// To these tenders first, by index.
    Amount {
        amount: Money,
        first: Vec<u8>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderRequest {
    /// None: the only tenant that there is.
    pub tenant: Option<TenantId>,
    /// Who asks for it; events name them.
    pub by: ActorId,
    pub work: OrderWork,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum OrderAnswer {
    Order {
        order: OrderId,
        status: Status,
        total_minor: i64,
        refunded_minor: i64,
        currency: Currency,
        /// All that there are of it.
        refunds: Vec<Refund>,
    },
    Withdrawn {
        serving: ServingId,
        dish: Option<DishId>,
        /// Orders that reserved it. Each is refunded what it had not been refunded and nobody has picked up.
        orders: u64,
    },
    /// Nothing was done.
    Refused { code: String, message: String },
}

/// A refund, and where each part of it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refund {
    pub refund: RefundId,
    pub reason: RefundReason,
    pub amount_minor: i64,
    /// Empty until the payment has said how it is split.
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// None: it goes back by a till or a provider.
    pub account: Option<AccountId>,
    pub provider: Option<String>,
    pub amount_minor: i64,
    pub is: Whereabouts,
}

impl Refund {
    fn of(refund: &Refunded, tenders: &[PaidFrom]) -> Refund {
        let part = |part: &diner_orders::RefundPart| {
            let source = tenders.get(usize::from(part.tender))?.source;
            let provider = source.provider().map(|provider| provider.name().to_owned());
            Some(Part { account: source.account(), provider, amount_minor: part.amount, is: part.is })
        };
        let (id, parts) = (refund.refund, refund.parts.iter().filter_map(part).collect());
        Refund { refund: id, reason: refund.reason, amount_minor: refund.amount, parts }
    }
}

/// Carries it out on a house that this process holds, and answers with an [`OrderAnswer`].
pub async fn carry_out(house: &House, request: OrderRequest, progress: OnProgress<'_>) -> anyhow::Result<Value> {
    let tenant = bookkeeping::tenant_of(house, request.tenant).await?;
    let answer = match (Desk { house, tenant, by: request.by }).carry_out(request.work, progress).await {
        Ok(answer) => answer,
        Err(Failed::Refused(code, message)) => OrderAnswer::Refused { code: code.name().to_owned(), message },
        Err(Failed::Otherwise(error)) => return Err(error),
    };
    Ok(serde_json::to_value(answer)?)
}

enum Failed {
    Refused(Code, String),
    Otherwise(anyhow::Error),
}

impl Failed {
    fn by<E: std::error::Error>(refusal: &E) -> Failed
    where
        for<'a> Code: From<&'a E>,
    {
        Failed::Refused(Code::from(refusal), refusal.to_string())
    }
}

impl<E: std::error::Error> From<Failure<E>> for Failed
where
    for<'a> Code: From<&'a E>,
{
    fn from(failure: Failure<E>) -> Self {
        match failure {
            Failure::Refused(error) => Failed::by(&error),
            Failure::KeyReused => Failed::Otherwise(usage(failure.to_string())),
            Failure::Interrupted(interrupted) => Failed::Otherwise(anyhow!(interrupted)),
        }
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Failed::Otherwise(error)
    }
}

/// Gives one person's commands for one tenant.
struct Desk<'a> {
    house: &'a House,
    tenant: TenantId,
    by: ActorId,
}

impl Desk<'_> {
    fn request(&self, mutation: &str, key: Uuid, input: &impl Serialize) -> Request {
        Request::new((self.tenant, self.by), mutation, key, input, self.house.commands.now())
    }

    async fn carry_out(&self, work: OrderWork, progress: OnProgress<'_>) -> Result<OrderAnswer, Failed> {
        let ordering = &self.house.ordering;
        match work {
            OrderWork::Cancel { order, by } => {
                // An order is cancelled once, so it is its own key; so with the next two.
                let request = self.request("cancelOrder", order.0, &(order, by));
                self.shown(order, &ordering.cancel_order(request, order, by).await?).await
            }
            OrderWork::NoShow(order) => {
                let request = self.request("markNoShow", order.0, &order);
                self.shown(order, &ordering.mark_no_show(request, order).await?).await
            }
            OrderWork::RecordPayment(order) => {
                let request = self.request("recordPayment", order.0, &order);
                self.shown(order, &ordering.record_payment(request, order).await?).await
            }
            OrderWork::Refund { order, what, reason, key } => {
                let request = self.request("refundOrder", key, &(order, &what, reason));
                let refunded = match what {
                    Portion::Lines(lines) => ordering.refund_lines(request, order, lines, reason).await,
                    Portion::Amount { amount, first } => {
                        ordering.refund_amount(request, order, amount, first, reason).await
                    }
                    Portion::Rest => {
                        let lines = self.rest(order, RefundId(request.about(order.0).id)).await?;
                        ordering.refund_lines(request, order, lines, reason).await
                    }
                };
                self.shown(order, &refunded?).await
            }
            OrderWork::Withdraw { serving, dish } => self.withdraw(serving, dish, progress).await,
        }
    }

    /// All portions that no refund but this one has begun for.
    async fn rest(&self, order: OrderId, refund: RefundId) -> Result<Vec<LineCount>, Failed> {
        let rest = |order: &Order| {
            let ticket = order.ticket()?;
            if let Some(known) = ticket.refunds.get(&refund) {
                return Some(known.lines.clone());
            }
            let lines = (0_u16..).zip(&ticket.placed.lines).map(|(line, _)| line);
            let left = lines.map(|line| LineCount { line, quantity: ticket.left(line) });
            Some(left.filter(|count| count.quantity > 0).collect())
        };
        let rest = self.house.commands.look(self.tenant, order, rest).await.map_err(|error| anyhow!(error))?;
        match rest {
            None => Err(Failed::by(&order::Error::Unknown)),
            Some(lines) if lines.is_empty() => {
                Err(Failed::Refused(Code::NothingToRefund, "all of the order is refunded already".to_owned()))
            }
            Some(lines) => Ok(lines),
        }
    }

    /// The order as the views have it after that.
    async fn shown(&self, order: OrderId, done: &Finished<Order>) -> Result<OrderAnswer, Failed> {
        let views = &self.house.views;
        let late = "it is done, but does not show in the views yet";
        views.wait_for(done.position, CATCH_UP).await.context(late)?;
        let row = diner_orders::order(views, self.tenant, order).await.context(late)?.context(late)?;
        Ok(OrderAnswer::Order {
            order,
            status: row.status,
            total_minor: row.total_minor,
            refunded_minor: row.refunded_minor,
            currency: row.currency,
            refunds: row.refunds.iter().map(|refund| Refund::of(refund, &row.tenders)).collect(),
        })
    }

    /// Ends when every order that had it is refunded; an error says how far that is, if it gets no further.
    async fn withdraw(
        &self,
        serving: ServingId,
        dish: Option<DishId>,
        progress: OnProgress<'_>,
    ) -> Result<OrderAnswer, Failed> {
        let commands = &self.house.commands;
        let command = dish.map_or(serving::Command::Withdraw, |dish| serving::Command::WithdrawDish { dish });
        // The serving itself knows a repeat.
        let request = self.request("withdraw", commands.new_id(), &(serving, dish));
        let done = commands.on_serving(request, serving, command).await?;
        let views = &self.house.views;
        views.wait_for(done.position, CATCH_UP).await.context("it is withdrawn, but does not show in the views yet")?;
        let (mut refunded, mut moved) = (0, Instant::now());
        loop {
            let board = dashboard::of_serving(views, self.tenant, serving).await.context("it is withdrawn")?;
            let row = board.and_then(|board| board.withdrawals.into_iter().find(|row| row.dish == dish));
            // One that nobody had ordered has no row.
            let Some(row) = row else { return Ok(OrderAnswer::Withdrawn { serving, dish, orders: 0 }) };
            progress(Progress::new("refunding orders", row.told, Some(row.orders)));
            if row.settled {
                return Ok(OrderAnswer::Withdrawn { serving, dish, orders: row.orders });
            }
            if row.told > refunded {
                (refunded, moved) = (row.told, Instant::now());
            }
            if moved.elapsed() > CATCH_UP {
                let (told, orders) = (row.told, row.orders);
                let why = anyhow!("it is withdrawn, but of its {orders} orders only {told} are refunded so far");
                return Err(why.into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
