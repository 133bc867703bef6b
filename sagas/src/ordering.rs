//! The use cases that cross aggregates: place, pay at the counter, cancel, refund.

use std::sync::Arc;

use commands::{Cause, Commands, Failure, Finished, Interrupted, Request};
use domain::{
    DinerId, DishId, Money, OrderId, PaymentId, RefundId, ServingId, TenantId, Timestamp,
    order::{self, Channel, Line, LineCount, Order, Placement, RefundReason, Refusal, Selection, Terms},
    payment::{self, Payment, Provider},
    serving::{self, Serving},
};
use providers::Providers;
use serde::Serialize;
use store::Metadata;
use tokio::sync::Semaphore;

use crate::{
    Saga,
    checkout::Checkout,
    driven::Driven,
    inline::{Driver, facts},
    refund::Refunds,
    trades::Handles,
};

/// Room that a chain asks for, in events: a checkout over two accounts writes ten, and an
/// abandoned one twelve.
const CHAIN_ROOM: u32 = 24;
/// Most orders whose providers are asked in the background at once.
const ASKED_AT_ONCE: usize = 32;
/// How often a command waits for changes that others begin.
const MAX_TRIES: u32 = 5;
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
    #[error("payments by {} are not taken here", .0.name())]
    NoProvider(Provider),
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
    pub(crate) providers: Providers,
    pub(crate) handles: Handles,
    /// Orders whose providers are being asked in the background.
    asking: Arc<Semaphore>,
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
        let (providers, handles) = (Providers::default(), Handles::default());
        let asking = Arc::new(Semaphore::new(ASKED_AT_ONCE));
        Ordering { commands, driven: Driven::default(), providers, handles, asking }
    }

    /// With providers to be paid by.
    pub fn with_providers(self, providers: Providers) -> Self {
        Ordering { providers, ..self }
    }

    pub fn commands(&self) -> &Commands {
        &self.commands
    }

    pub(crate) fn driver(&self, request: &Request, order: OrderId) -> Driver<'_> {
        self.driver_at(request.tenant, order, request.at)
    }

    pub(crate) fn driver_at(&self, tenant: TenantId, order: OrderId, now: Timestamp) -> Driver<'_> {
        Driver { commands: &self.commands, tenant, order, now }
    }

    /// Places an order and takes it through its checkout. Its id is the request's.
    ///
    /// Answers with the order as it stands then: confirmed, refused (and recorded as such), or
    /// placed and waiting to be paid. [`PlaceError`] means that nothing was appended.
    pub async fn place_order(&self, request: Request, new: NewOrder) -> Result<Finished<Order>, Failure<PlaceError>> {
        let order = OrderId(request.id);
        let remote = matches!(new.terms, Terms::BalancesThen(_));
        let placed = self.chained(order, move |ordering| {
            let new = new.clone();
            async move { ordering.place(&request, order, &new).await }
        });
        let placed = placed.await?;
        if !remote || !matches!(placed.value, Order::Placed(_)) {
            return Ok(placed);
        }
        // The intent is durable. What the provider says now may end the order.
        self.ask_providers(request.tenant, order, true).await?;
        Ok(self.commands.pipelined_here(1, || self.commands.look(request.tenant, order, Order::clone)).await?)
    }

    /// Cancels an order: by the diner until the kitchen locks, by the canteen until pickup.
    pub async fn cancel_order(
        &self,
        request: Request,
        order: OrderId,
        by: RefundReason,
    ) -> Result<Finished<Order>, Failure<order::Error>> {
        let request = request.about(order.0);
        let command = order::Command::Cancel { refund: RefundId(request.id), by, at: request.at };
        self.give_back(request, order, command).await
    }

    /// Refunds some portions of an order. After the meal the money comes from the canteen, and a reason is needed.
    pub async fn refund_lines(
        &self,
        request: Request,
        order: OrderId,
        lines: Vec<LineCount>,
        reason: impl Into<Option<RefundReason>> + Send,
    ) -> Result<Finished<Order>, Failure<order::Error>> {
        let request = request.about(order.0);
        let command = order::Command::Refund { refund: RefundId(request.id), lines, reason: reason.into() };
        self.give_back(request, order, command).await
    }

    /// Refunds an amount of an order, spread over what is left of its lines. It goes to the tenders `first`
    /// first, by index, then to the last deducted.
    pub async fn refund_amount(
        &self,
        request: Request,
        order: OrderId,
        amount: Money,
        first: Vec<u8>,
        reason: impl Into<Option<RefundReason>> + Send,
    ) -> Result<Finished<Order>, Failure<order::Error>> {
        let (request, reason) = (request.about(order.0), reason.into());
        let command = order::Command::RefundAmount { refund: RefundId(request.id), amount, first, reason };
        self.give_back(request, order, command).await
    }

    /// Nobody came for an order: it is charged what its serving says, and the rest goes back.
    pub async fn mark_no_show(
        &self,
        request: Request,
        order: OrderId,
    ) -> Result<Finished<Order>, Failure<order::Error>> {
        let request = request.about(order.0);
        let command = order::Command::MarkNoShow { refund: RefundId(request.id) };
        self.give_back(request, order, command).await
    }

    /// The till has the money of an order that is paid at the counter.
    pub async fn record_payment(&self, request: Request, order: OrderId) -> Result<Finished<Order>, Failure<PayError>> {
        self.chained(order, move |ordering| async move { ordering.pay(&request, order).await }).await
    }

    /// Runs `chain` with `order` to itself. A caller who goes away does not end it.
    pub(crate) async fn chained<T, E, F, Fut>(&self, order: OrderId, chain: F) -> Result<Finished<T>, Failure<E>>
    where
        T: Send + 'static,
        E: std::error::Error + Send + 'static,
        F: Fn(Ordering) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Chained<T, E>> + Send + 'static,
    {
        let ordering = self.clone();
        self.driven.chained(&self.commands, order.0, CHAIN_ROOM, move || chain(ordering.clone())).await
    }

    async fn place(&self, request: &Request, id: OrderId, new: &NewOrder) -> Chained<Order, PlaceError> {
        let known =
            self.commands.look(request.tenant, id, |order: &Order| order.ticket().map(|t| t.placed.clone())).await?;
        let repeated = known.is_some();
        let placement = match known {
            Some(placement) => placement,
            None if let Terms::BalancesThen(provider) = new.terms
                && self.providers.get(provider).is_none() =>
            {
                return Ok(Err(Failure::Refused(PlaceError::NoProvider(provider))));
            }
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
        let given = self.chained(order, move |ordering| {
            let command = command.clone();
            async move {
                let driver = ordering.driver(&request, order);
                if let Err(failure) = ordering.settled(&driver, command, request.cause(order.0)).await? {
                    return Ok(Err(failure));
                }
                ordering.resume(&driver).await?;
                Ok(Ok(ordering.commands.look(request.tenant, order, Order::clone).await?))
            }
        });
        let given = given.await?;
        self.ask_in_background(request.tenant, order).await?;
        Ok(given)
    }

    /// Gives a command to an order once no change of it is under way. Somebody else may begin one meanwhile.
    async fn settled(
        &self,
        driver: &Driver<'_>,
        command: order::Command,
        cause: Cause,
    ) -> Result<Result<(), Failure<order::Error>>, Interrupted> {
        let mut tries = 0;
        loop {
            self.go_on_changing(driver).await?;
            let given = self.commands.execute::<Order>(driver.tenant, driver.order, command.clone(), cause);
            tries += 1;
            match answered(given.await)? {
                Err(Failure::Refused(order::Error::Changing)) if tries < MAX_TRIES => {}
                answer => return Ok(answer.map(|_| ())),
            }
        }
    }

    /// Asks providers for what a chain left them to do, without keeping its caller waiting.
    async fn ask_in_background(&self, tenant: TenantId, order: OrderId) -> Result<(), Interrupted> {
        let open = |payment: &Payment| payment.sheet().is_ok_and(|sheet| !sheet.calls().is_empty());
        if self.commands.look(tenant, order.payment(), open).await? {
            // While too many are being asked the follower comes by later.
            self.begin_to_ask(tenant, order);
        }
        Ok(())
    }

    /// Begins to ask an order's providers; false when too many are being asked.
    pub(crate) fn begin_to_ask(&self, tenant: TenantId, order: OrderId) -> bool {
        let Ok(permit) = Arc::clone(&self.asking).try_acquire_owned() else { return false };
        let ordering = self.clone();
        self.commands.spawn(async move {
            let _permit = permit;
            if let Err(error) = ordering.ask_providers(tenant, order, false).await {
                tracing::debug!(%error, %order, "a provider is asked again later");
            }
        });
        true
    }

    /// Goes on with the processes of an order from where its aggregates stand.
    pub(crate) async fn resume(&self, driver: &Driver<'_>) -> Result<(), Interrupted> {
        let (order, payment, reserved) = driver.states().await?;
        let mut checkout = Checkout::resume(driver.order, &order, &payment, reserved);
        if checkout.is_open() {
            driver.drive(&mut checkout).await?;
        }
        self.go_on_changing(driver).await?;
        let (order, payment, reserved) = driver.states().await?;
        let mut refunds = Refunds::resume(driver.order, &order, &payment, reserved);
        driver.drive(&mut refunds).await
    }

    /// Goes on with an order in a chain of its own; for the follower.
    pub(crate) async fn continue_order(&self, tenant: TenantId, order: OrderId) -> Result<(), Interrupted> {
        let now = self.commands.now();
        let continued = self.chained::<(), order::Error, _, _>(order, move |ordering| async move {
            ordering.resume(&ordering.driver_at(tenant, order, now)).await?;
            Ok(Ok(()))
        });
        match continued.await {
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            _ => self.ask_in_background(tenant, order).await,
        }
    }

    /// Tells an order that its serving withdrew `dish`, or everything, and refunds it.
    pub(crate) async fn withdraw(
        &self,
        tenant: TenantId,
        order: OrderId,
        command: order::Command,
        metadata: Metadata,
    ) -> Result<(), Interrupted> {
        let now = self.commands.now();
        let withdrawn = self.chained::<(), order::Error, _, _>(order, move |ordering| {
            let command = command.clone();
            async move {
                let cause = Cause { metadata, at: now };
                let driver = ordering.driver_at(tenant, order, now);
                let withdrawn = ordering.settled(&driver, command, cause).await?;
                // Another refusal means that the order has ended: there is nothing to withdraw.
                if let Err(Failure::Refused(order::Error::Changing)) = withdrawn {
                    return Err(Interrupted::Unavailable("the order is being changed".to_owned()));
                }
                ordering.resume(&driver).await?;
                Ok(Ok(()))
            }
        });
        match withdrawn.await {
            Err(Failure::Interrupted(interrupted)) => Err(interrupted),
            _ => self.ask_in_background(tenant, order).await,
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
        no_show_percent: book.no_show_percent,
    })
}

pub(crate) fn refused(error: serving::Error) -> PlaceError {
    match error {
        serving::Error::NotPublished => PlaceError::UnknownServing,
        serving::Error::UnknownDish { dish } => PlaceError::UnknownDish(dish),
        serving::Error::BadOptions { dish, why } => PlaceError::BadOptions { dish, why },
        other => PlaceError::Refused(Refusal::from_serving(&other).unwrap_or(Refusal::NotOffered)),
    }
}
