//! The use cases that cross aggregates: place, pay at the counter, cancel, refund.

use commands::{Cause, Commands, Failure, Finished, Interrupted, Request};
use domain::{
    DinerId, DishId, Money, OrderId, PaymentId, RefundId, ServingId, Timestamp,
    order::{self, Channel, Line, LineCount, Order, Placement, RefundReason, Refusal, Selection, Terms},
    payment::{self, Payment},
    serving::{self, Serving},
};
use serde::Serialize;
use store::Metadata;

use crate::{
    Saga,
    checkout::Checkout,
    driven::Driven,
    inline::{Driver, facts},
    refund::Refunds,
};

/// Room that a chain asks for, in events: a checkout over two accounts writes ten, and an
/// abandoned one twelve.
const CHAIN_ROOM: u32 = 24;
/// How long an order waits for its money at the counter, in seconds.
const PAY_WITHIN_SECONDS: i64 = 15 * 60;

/// An order as a diner asks for it. This is what a repeat is compared by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewOrder {
    pub diner: DinerId,
    pub serving: ServingId,
    pub lines: Vec<NewLine>,
    pub channel: Channel,
    pub terms: Terms,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewLine {
    pub dish: DishId,
    pub quantity: u32,
    pub options: Vec<Selection>,
    /// Of one portion, as the diner was shown it: another price now refuses the order. An import's
    /// price is the one that was paid.
    pub unit_price: Option<Money>,
}

/// Why an order was not placed. Nothing was appended.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlaceError {
    /// The serving shows already that it must be refused.
    #[error("the order cannot be placed: {}", .0.code())]
    Refused(Refusal),
    #[error("there is no such serving")]
    UnknownServing,
    #[error("this serving does not offer the dish {0}")]
    UnknownDish(DishId),
    #[error("the options chosen for {dish} are not on offer: {why}")]
    BadOptions { dish: DishId, why: String },
    #[error(transparent)]
    Invalid(#[from] order::Error),
}

/// Why money at the counter was not taken down.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PayError {
    #[error(transparent)]
    Order(#[from] order::Error),
    #[error(transparent)]
    Payment(#[from] payment::Error),
}

/// Orders, their payments and their refunds. Cheap to clone.
#[derive(Clone)]
pub struct Ordering {
    commands: Commands,
    pub(crate) driven: Driven,
}

type Chained<T, E> = Result<Result<T, Failure<E>>, Interrupted>;

/// An interruption ends the chain, and perhaps begins it anew; anything else is its answer.
pub(crate) fn answered<T, E: std::error::Error>(
    result: Result<T, Failure<E>>,
) -> Result<Result<T, Failure<E>>, Interrupted> {
    match result {
        Err(Failure::Interrupted(interrupted)) => Err(interrupted),
        answer => Ok(answer),
    }
}

impl Ordering {
    pub fn new(commands: Commands) -> Self {
        Ordering { commands, driven: Driven::default() }
    }

    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    pub(crate) fn driver(&self, request: &Request, order: OrderId) -> Driver<'_> {
        Driver { commands: &self.commands, tenant: request.tenant, order, now: request.at }
    }

    /// Places an order and takes it through its checkout. Its id is the request's.
    ///
    /// Answers with the order as it stands then: confirmed, refused (and recorded as such), or
    /// placed and waiting to be paid. [`PlaceError`] means that nothing was appended.
    pub async fn place_order(&self, request: Request, new: NewOrder) -> Result<Finished<Order>, Failure<PlaceError>> {
        let order = OrderId(request.id);
        self.chained(order, move |ordering| {
            let new = new.clone();
            async move { ordering.place(&request, order, &new).await }
        })
        .await
    }

    /// Cancels an order: by the diner until the kitchen locks, by the canteen until pickup.
    pub async fn cancel_order(
        &self,
        request: Request,
        order: OrderId,
        by: RefundReason,
    ) -> Result<Finished<Order>, Failure<order::Error>> {
        let command = order::Command::Cancel { refund: RefundId(request.id), by, at: request.at };
        self.give_back(request, order, command).await
    }

    /// Refunds some portions of an order. After the meal the money comes from the canteen.
    pub async fn refund_lines(
        &self,
        request: Request,
        order: OrderId,
        lines: Vec<LineCount>,
        reason: RefundReason,
    ) -> Result<Finished<Order>, Failure<order::Error>> {
        let command = order::Command::Refund { refund: RefundId(request.id), lines, reason };
        self.give_back(request, order, command).await
    }

    /// The till has the money of an order that is paid at the counter.
    pub async fn record_payment(&self, request: Request, order: OrderId) -> Result<Finished<Order>, Failure<PayError>> {
        self.chained(order, move |ordering| async move { ordering.pay(&request, order).await }).await
    }

    /// Runs `chain` with `order` to itself. A caller who goes away does not end it.
    async fn chained<T, E, F, Fut>(&self, order: OrderId, chain: F) -> Result<Finished<T>, Failure<E>>
    where
        T: Send + 'static,
        E: std::error::Error + Send + 'static,
        F: Fn(Ordering) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Chained<T, E>> + Send + 'static,
    {
        let ordering = self.clone();
        let task = self.commands.spawn(async move {
            let _driving = ordering.driven.enter(order.0).await;
            let commands = ordering.commands.clone();
            commands.pipelined_here(CHAIN_ROOM, move || chain(ordering.clone())).await
        });
        let finished = task.await.map_err(|error| {
            tracing::error!(%error, %order, "an order's chain broke off");
            Interrupted::Unavailable("the command broke off; ask again under the same key".to_owned())
        })??;
        finished.value.map(|value| Finished { value, position: finished.position })
    }

    async fn place(&self, request: &Request, id: OrderId, new: &NewOrder) -> Chained<Order, PlaceError> {
        let known =
            self.commands.look(request.tenant, id, |order: &Order| order.ticket().map(|t| t.placed.clone())).await?;
        let repeated = known.is_some();
        let placement = match known {
            Some(placement) => placement,
            None => match self.placement(request, new).await? {
                Ok(placement) => Box::new(placement),
                Err(error) => return Ok(Err(Failure::Refused(error))),
            },
        };
        let placed =
            self.commands.execute::<Order>(request.tenant, id, order::Command::Place(placement), request.cause(id.0));
        let placed = match answered(placed.await)? {
            Ok(placed) => placed,
            Err(Failure::KeyReused) => return Ok(Err(Failure::KeyReused)),
            Err(Failure::Refused(error)) => return Ok(Err(Failure::Refused(error.into()))),
            Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
        };
        let driver = self.driver(request, id);
        let mut checkout = Checkout::default();
        if repeated {
            let (order, payment, reserved) = driver.states().await?;
            if !matches!(order, Order::Placed(_)) {
                // It has its outcome; what may be left to do after it is not this caller's.
                return Ok(Ok(order));
            }
            checkout = Checkout::resume(id, &order, &payment, reserved);
        } else {
            for fact in facts::<Order>(id, placed) {
                checkout.evolve(&fact, request.at);
            }
        }
        driver.drive(&mut checkout).await?;
        Ok(Ok(self.commands.look(request.tenant, id, Order::clone).await?))
    }

    /// What the serving makes of the choices: names, prices, times. The door: an order that it
    /// would refuse already is refused here.
    async fn placement(&self, request: &Request, new: &NewOrder) -> Result<Result<Placement, PlaceError>, Interrupted> {
        let at = request.at;
        self.commands.look(request.tenant, new.serving, |serving: &Serving| placement(serving, new, at)).await
    }

    async fn pay(&self, request: &Request, id: OrderId) -> Chained<Order, PayError> {
        let driver = self.driver(request, id);
        let (order, payment, _) = driver.states().await?;
        let unknown = || Ok(Err(Failure::Refused(order::Error::Unknown.into())));
        let (Some(ticket), Ok(sheet)) = (order.ticket(), payment.sheet()) else { return unknown() };
        if ticket.placed.terms != Terms::AtCounter {
            return Ok(Err(Failure::Refused(payment::Error::NotExternal { tender: 0 }.into())));
        }
        let tender = sheet.unpaid().unwrap_or(0);
        let command = payment::Command::RecordPaid { tender };
        let paid =
            self.commands.execute::<Payment>(request.tenant, PaymentId(id.0), command, request.cause(id.0)).await;
        match answered(paid)? {
            Ok(_) => {}
            Err(Failure::KeyReused) => return Ok(Err(Failure::KeyReused)),
            Err(Failure::Refused(error)) => return Ok(Err(Failure::Refused(error.into()))),
            Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
        }
        self.resume(&driver).await?;
        Ok(Ok(self.commands.look(request.tenant, id, Order::clone).await?))
    }

    async fn give_back(
        &self,
        request: Request,
        order: OrderId,
        command: order::Command,
    ) -> Result<Finished<Order>, Failure<order::Error>> {
        self.chained(order, move |ordering| {
            let command = command.clone();
            async move {
                let given = ordering.commands.execute::<Order>(request.tenant, order, command, request.cause(order.0));
                if let Err(failure) = answered(given.await)? {
                    return Ok(Err(failure));
                }
                ordering.resume(&ordering.driver(&request, order)).await?;
                Ok(Ok(ordering.commands.look(request.tenant, order, Order::clone).await?))
            }
        })
        .await
    }

    /// Goes on with both processes of an order from where its aggregates stand.
    pub(crate) async fn resume(&self, driver: &Driver<'_>) -> Result<(), Interrupted> {
        let (order, payment, reserved) = driver.states().await?;
        let mut checkout = Checkout::resume(driver.order, &order, &payment, reserved);
        if checkout.is_open() {
            driver.drive(&mut checkout).await?;
        }
        let (order, payment, reserved) = driver.states().await?;
        let mut refunds = Refunds::resume(driver.order, &order, &payment, reserved);
        driver.drive(&mut refunds).await
    }

    /// Goes on with an order in a chain of its own; for the follower.
    pub(crate) async fn continue_order(&self, tenant: domain::TenantId, order: OrderId) -> Result<(), Interrupted> {
        let now = self.commands.now();
        let continued = self.chained::<(), order::Error, _, _>(order, move |ordering| async move {
            let driver = Driver { commands: &ordering.commands, tenant, order, now };
            ordering.resume(&driver).await?;
            Ok(Ok(()))
        });
        match continued.await {
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            _ => Ok(()),
        }
    }

    /// Tells an order that its serving withdrew `dish`, or everything, and refunds it.
    pub(crate) async fn withdraw(
        &self,
        tenant: domain::TenantId,
        order: OrderId,
        command: order::Command,
        metadata: Metadata,
    ) -> Result<(), Interrupted> {
        let now = self.commands.now();
        let withdrawn = self.chained::<(), order::Error, _, _>(order, move |ordering| {
            let command = command.clone();
            async move {
                let cause = Cause { metadata, at: now };
                // A refusal means that the order has ended: there is nothing to withdraw.
                let _ = answered(ordering.commands.execute::<Order>(tenant, order, command, cause).await)?;
                let driver = Driver { commands: &ordering.commands, tenant, order, now };
                ordering.resume(&driver).await?;
                Ok(Ok(()))
            }
        });
        match withdrawn.await {
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            _ => Ok(()),
        }
    }
}

fn placement(serving: &Serving, new: &NewOrder, at: Timestamp) -> Result<Placement, PlaceError> {
    let book = serving.book().map_err(|_| PlaceError::UnknownServing)?;
    let mut total = Money::zero(book.currency);
    let mut lines: Vec<Line> = Vec::with_capacity(new.lines.len());
    if new.lines.is_empty() || new.lines.len() > order::MAX_LINES {
        return Err(order::Error::BadLineCount.into());
    }
    for wanted in &new.lines {
        if wanted.quantity == 0 || wanted.quantity > order::MAX_QUANTITY {
            return Err(order::Error::BadQuantity { quantity: wanted.quantity }.into());
        }
        let mut line = book.line(wanted.dish, wanted.quantity, wanted.options.clone()).map_err(refused)?;
        line.unit_price = wanted.unit_price.unwrap_or(line.unit_price);
        total = total.plus(line.total().map_err(order::Error::from)?).map_err(order::Error::from)?;
        lines.push(line);
    }
    book.check(new.diner, &lines, at, new.channel).map_err(refused)?;
    Ok(Placement {
        diner: new.diner,
        canteen: book.canteen,
        serving: new.serving,
        lines,
        total,
        channel: new.channel,
        terms: new.terms,
        lock_at: book.lock_at,
        pay_by: at.plus_seconds(PAY_WITHIN_SECONDS),
    })
}

fn refused(error: serving::Error) -> PlaceError {
    match error {
        serving::Error::NotPublished => PlaceError::UnknownServing,
        serving::Error::UnknownDish { dish } => PlaceError::UnknownDish(dish),
        serving::Error::BadOptions { dish, why } => PlaceError::BadOptions { dish, why },
        other => PlaceError::Refused(Refusal::from_serving(&other).unwrap_or(Refusal::NotOffered)),
    }
}
