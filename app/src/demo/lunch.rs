//! Carries the script out, through the same commands as everybody's.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use commands::{Commands, Failure, Interrupted, Request};
use domain::{
    ActorId, CanteenId, DinerId, DishId, Money, OrderId, RefundId, ServingId, TenantId, Timestamp, derived_id,
    menu::Dish,
    order::{self, Channel, Order, RefundReason, Terms},
    payment::Provider,
    serving,
};
use jiff::civil;
use providers::StandIn;
use sagas::{Finance, Follower, NewLine, NewOrder, Ordering, PlaceError};
use serde::Serialize;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    clock::{DemoClock, Pace},
    companies::Company,
    script::{Arrival, CUT_OFF, Does, Script, WITHDRAWING, WITHDRAWN},
    tally::{Answer, Tally},
};

/// Commands at once while everything is set up, and in the kitchens.
pub(super) const AT_ONCE: usize = 256;
/// How often a command waits for room in the queue before the demo gives up.
pub(super) const PATIENCE: u32 = 100;
/// How long withdrawals, refunds and expiries may take to come to their end.
pub(super) const SETTLES: Duration = Duration::from_secs(60);
/// The lunch lasts so many of its orders a second, and at least a few seconds.
const ORDERS_A_SECOND: f64 = 600.0;
const SHORTEST: f64 = 3.0;

/// A canteen that is open, with its dishes in the script's places.
#[derive(Clone, Debug)]
pub struct OpenCanteen {
    pub name: &'static str,
    pub id: CanteenId,
    pub serving: ServingId,
    pub dishes: Vec<(DishId, Dish, u32)>,
}

/// The lunch, ready to be served.
pub struct Lunch {
    pub tenant: TenantId,
    pub date: civil::Date,
    pub script: Script,
    pub canteens: Vec<OpenCanteen>,
    pub companies: Vec<Company>,
    /// Who complained about a dish.
    pub(super) complained: OnceLock<DinerId>,
    pub tally: Tally,
    pub(super) ordering: Ordering,
    /// The other end of WeChat Pay.
    pub(super) phone: Arc<StandIn>,
    pub(super) finance: Finance,
    pub(super) clock: Arc<DemoClock>,
    pub(super) pace: Pace,
    pub(super) midnight: Timestamp,
    /// The key of each arrival's order.
    pub(super) keys: Vec<Uuid>,
    /// That the order of an arrival has been answered and followed up.
    pub(super) ended: Vec<CancellationToken>,
    pub(super) withdrawn: CancellationToken,
    pub(super) kitchen: Semaphore,
    pub(super) cooking: Mutex<Vec<JoinHandle<anyhow::Result<()>>>>,
}

/// Staff, finance and diners, who follow from the tenant.
pub fn actor(tenant: TenantId, name: &str) -> ActorId {
    ActorId(derived_id(tenant.0, &[b"demo", name.as_bytes()]))
}

pub fn diner(tenant: TenantId, index: usize) -> DinerId {
    DinerId(derived_id(tenant.0, &[b"demo diner", &(index as u64).to_le_bytes()]))
}

/// A second of the day, as instants count.
pub(super) fn seconds(second: u64) -> i64 {
    i64::try_from(second).unwrap_or(0)
}

impl Lunch {
    pub(super) fn commands(&self) -> &Commands {
        self.ordering.commands()
    }

    pub(super) fn request(&self, by: &str, mutation: &str, input: &impl Serialize) -> Request {
        let (actor, commands) = (actor(self.tenant, by), self.commands());
        Request::new((self.tenant, actor), mutation, commands.new_id(), input, commands.now())
    }

    /// Serves the lunch: everybody comes when the script says, whether or not those before have been
    /// answered. Returns when all orders, refunds and expiries have come to their end.
    pub async fn serve(self: &Arc<Self>, follower: &mut Follower) -> anyhow::Result<()> {
        let arrivals = &self.script.arrivals;
        let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else { return Ok(()) };
        let lasts = (arrivals.len() as f64 / ORDERS_A_SECOND).max(SHORTEST);
        let speed = lasts / (last.at - first.at).max(1) as f64;
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        let lunch = Arc::clone(self);
        tasks.spawn(async move { lunch.withdraw().await });
        for (index, arrival) in arrivals.iter().enumerate() {
            let due = started + Duration::from_secs_f64((arrival.at - first.at) as f64 * speed);
            tokio::time::sleep_until(due.into()).await;
            while let Some(ended) = tasks.try_join_next() {
                taken(Some(ended))?;
            }
            self.pace.begin(self.at(index), index);
            self.tally.arrived(arrival.canteen);
            let lunch = Arc::clone(self);
            tasks.spawn(async move { lunch.come(index).await });
        }
        while !tasks.is_empty() {
            taken(tasks.join_next().await)?;
        }
        self.tally.lunch_took(started.elapsed());
        self.cooked().await?;
        self.clear_up(follower).await
    }

    /// Everything that was left open: withdrawn dishes are refunded and what else was ordered with
    /// them is served, the counter's unpaid orders expire.
    async fn clear_up(self: &Arc<Self>, follower: &mut Follower) -> anyhow::Result<()> {
        follower.settle(SETTLES).await.context("the withdrawal does not come to its end")?;
        let mut serving = JoinSet::new();
        for (index, arrival) in self.script.arrivals.iter().enumerate() {
            if arrival.does != Does::BeforeWithdrawal {
                continue;
            }
            let id = self.order_id(index);
            let status = self.commands().look(self.tenant, id, |order: &Order| order.status()).await?;
            match status {
                "CONFIRMED" => {
                    let lunch = Arc::clone(self);
                    serving.spawn(async move { lunch.hand_over(index).await });
                }
                "CANCELLED" => self.tally.cancelled(arrival.canteen),
                _ => {}
            }
        }
        while !serving.is_empty() {
            taken(serving.join_next().await)?;
        }
        // An hour after the cut-off nobody can pay at the counter any more.
        self.clock.set(self.midnight.plus_seconds(seconds(CUT_OFF) + 3_600));
        let open = follower.settle(SETTLES).await.context("unpaid orders do not expire")?;
        self.tally.left_open(open);
        Ok(())
    }

    pub(super) fn back_to_real(&self) {
        self.clock.back_to_real();
    }

    fn at(&self, index: usize) -> Timestamp {
        self.midnight.plus_seconds(seconds(self.script.arrivals[index].at))
    }

    pub(super) fn order_id(&self, index: usize) -> OrderId {
        let diner = diner(self.tenant, self.script.arrivals[index].diner);
        OrderId(domain::request_id(self.tenant, ActorId(diner.0), "placeOrder", self.keys[index]))
    }

    /// A diner's or the staff's request about the order of an arrival, some seconds after it.
    fn about(&self, index: usize, actor: ActorId, mutation: &str, later: i64) -> Request {
        let at = self.at(index).plus_seconds(later);
        Request::new((self.tenant, actor), mutation, self.keys[index], &self.order_id(index), at)
    }

    /// One diner comes, orders, and does what the script says then.
    async fn come(self: Arc<Self>, index: usize) -> anyhow::Result<()> {
        let outcome = self.orders(index).await;
        self.ended[index].cancel();
        self.pace.end(self.at(index), index);
        outcome
    }

    async fn orders(self: &Arc<Self>, index: usize) -> anyhow::Result<()> {
        let arrival = &self.script.arrivals[index];
        if let Some(before) = arrival.after {
            self.ended[before].cancelled().await;
        }
        if arrival.does == Does::AfterWithdrawal {
            self.withdrawn.cancelled().await;
        }
        let tapped = Instant::now();
        let answer = if arrival.taps_twice {
            let (first, second) = tokio::join!(self.tap(index), self.tap(index));
            let (first, second) = (first?, second?);
            self.tally.tapped_twice(first == second);
            first
        } else {
            self.tap(index).await?
        };
        self.tally.answered(arrival.canteen, &answer, tapped.elapsed());
        match (arrival.does, answer) {
            (Does::Cancels, Answer::Confirmed(_)) => self.cancel(index).await,
            (Does::PaysAtCounter, Answer::Unpaid) => self.pay(index).await,
            (Does::PaysByPhone, Answer::Unpaid) => self.pay_by_phone(index).await,
            (Does::Eats | Does::PaysByPhone | Does::StaysAway | Does::Races, Answer::Confirmed(_)) => {
                self.cook(index);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Places the order. Again under the same key if there was no room.
    async fn tap(&self, index: usize) -> anyhow::Result<Answer> {
        let arrival = &self.script.arrivals[index];
        let diner = diner(self.tenant, arrival.diner);
        let new = self.new_order(arrival, diner);
        let by = (self.tenant, ActorId(diner.0));
        let request = Request::new(by, "placeOrder", self.keys[index], &new, self.at(index));
        for attempt in 0..PATIENCE {
            return Ok(match self.ordering.place_order(request, new.clone()).await {
                Ok(finished) => match finished.value {
                    Order::Refused(_, refusal) => Answer::Refused(refusal.code()),
                    Order::Placed(_) => Answer::Unpaid,
                    order => match order.ticket() {
                        Some(ticket) => Answer::Confirmed(ticket.placed.total.minor),
                        None => bail!("an order was answered that is not there"),
                    },
                },
                Err(Failure::Refused(PlaceError::Refused(refusal))) => Answer::TurnedAway(refusal.code()),
                Err(Failure::Interrupted(Interrupted::Overloaded)) => {
                    self.tally.overloaded();
                    pause(attempt).await;
                    continue;
                }
                Err(other) => return Err(other).with_context(|| format!("order {index} of the script")),
            });
        }
        bail!("the service stayed overloaded")
    }

    fn new_order(&self, arrival: &Arrival, diner: DinerId) -> NewOrder {
        let canteen = &self.canteens[arrival.canteen];
        let dearer = i64::from(arrival.does == Does::SawOldPrice) * 100;
        let line = |(place, quantity): &(usize, u32)| {
            let (dish, spec, _) = &canteen.dishes[*place];
            let shown = Money { minor: spec.price.minor + dearer, ..spec.price };
            NewLine { dish: *dish, quantity: *quantity, options: vec![], unit_price: Some(shown) }
        };
        let counter = matches!(arrival.does, Does::PaysAtCounter | Does::LeavesCounter);
        NewOrder {
            diner,
            serving: canteen.serving,
            lines: arrival.lines.iter().map(line).collect(),
            channel: if counter { Channel::Counter } else { Channel::Online },
            terms: match arrival.does {
                _ if counter => Terms::AtCounter,
                Does::PaysByPhone => Terms::BalancesThen(Provider::WechatPay),
                _ => Terms::Balances,
            },
        }
    }

    async fn cancel(&self, index: usize) -> anyhow::Result<()> {
        let arrival = &self.script.arrivals[index];
        let diner = diner(self.tenant, arrival.diner);
        let request = self.about(index, ActorId(diner.0), "cancelOrder", 1);
        for attempt in 0..PATIENCE {
            let done = self.ordering.cancel_order(request, self.order_id(index), RefundReason::CancelledByDiner).await;
            match done {
                Ok(_) => {
                    self.tally.cancelled(arrival.canteen);
                    return Ok(());
                }
                Err(Failure::Interrupted(Interrupted::Overloaded)) => pause(attempt).await,
                // The kitchen has locked: the order stands, and nobody comes for it.
                Err(Failure::Refused(order::Error::KitchenLocked { .. })) => return Ok(()),
                Err(other) => return Err(other).context("a cancellation"),
            }
        }
        bail!("the service stayed overloaded")
    }

    async fn pay(self: &Arc<Self>, index: usize) -> anyhow::Result<()> {
        let arrival = &self.script.arrivals[index];
        let request = self.about(index, actor(self.tenant, "staff"), "recordPayment", 60);
        for attempt in 0..PATIENCE {
            match self.ordering.record_payment(request, self.order_id(index)).await {
                Ok(finished) => {
                    let total = finished.value.ticket().map_or(0, |ticket| ticket.placed.total.minor);
                    self.tally.paid_afterwards(arrival.canteen, total);
                    self.cook(index);
                    return Ok(());
                }
                Err(Failure::Interrupted(Interrupted::Overloaded)) => pause(attempt).await,
                Err(other) => return Err(other).context("a payment at the counter"),
            }
        }
        bail!("the service stayed overloaded")
    }

    /// The diner scans the code; WeChat Pay says so.
    async fn pay_by_phone(self: &Arc<Self>, index: usize) -> anyhow::Result<()> {
        let id = self.order_id(index);
        let waits = self.phone.waiting().into_iter().find(|(_, number)| number.payment == id.payment());
        let (tenant, number) = waits.context("an order that is to be paid by phone has no code")?;
        let said = self.phone.pay(tenant, number).context("a code on the screen could not be paid")?;
        for attempt in 0..PATIENCE {
            match self.ordering.provider_notified(said.clone()).await {
                Ok(()) => {
                    let total = |order: &Order| order.ticket().map_or(0, |ticket| ticket.placed.total.minor);
                    let total = self.commands().look(self.tenant, id, total).await?;
                    self.tally.paid_afterwards(self.script.arrivals[index].canteen, total);
                    self.cook(index);
                    return Ok(());
                }
                Err(Interrupted::Overloaded) => pause(attempt).await,
                Err(other) => return Err(other).context("a provider's notification"),
            }
        }
        bail!("the service stayed overloaded")
    }

    /// Gives the kitchen an order. Its work holds nobody up who orders.
    fn cook(self: &Arc<Self>, index: usize) {
        let lunch = Arc::clone(self);
        let cooked = tokio::spawn(async move { lunch.hand_over(index).await });
        self.cooking.lock().unwrap_or_else(PoisonError::into_inner).push(cooked);
    }

    /// Waits until the kitchens have done what they were given.
    async fn cooked(&self) -> anyhow::Result<()> {
        let cooking = std::mem::take(&mut *self.cooking.lock().unwrap_or_else(PoisonError::into_inner));
        for cooked in cooking {
            cooked.await.context("a kitchen's task broke off")??;
        }
        Ok(())
    }

    /// The kitchen cooks; the diner collects the meal, or does not.
    async fn hand_over(&self, index: usize) -> anyhow::Result<()> {
        let _room = self.kitchen.acquire().await?;
        let arrival = &self.script.arrivals[index];
        let (staff, id) = (actor(self.tenant, "staff"), self.order_id(index));
        self.work(self.about(index, staff, "prepare", 300), id, order::Command::Prepare).await?;
        let ready = self.about(index, staff, "markReady", 600);
        let mut code = None;
        for attempt in 0..PATIENCE {
            match self.commands().mark_ready(ready, id).await {
                Ok(done) => {
                    code = done.events.iter().find_map(|event| match event.as_ref() {
                        order::Event::Readied { code } => Some(code.clone()),
                        _ => None,
                    });
                    break;
                }
                Err(Failure::Interrupted(Interrupted::Overloaded)) => pause(attempt).await,
                Err(other) => return Err(other).context("an order could not be made ready"),
            }
        }
        self.tally.ready(arrival.canteen);
        let code = code.context("the kitchen could not mark an order ready")?;
        if arrival.does == Does::StaysAway {
            let no_show = self.about(index, staff, "markNoShow", 2_400);
            self.work(no_show, id, order::Command::MarkNoShow { refund: RefundId(no_show.id) }).await?;
            self.tally.stayed_away();
        } else {
            let collect = self.about(index, staff, "collect", 900);
            self.work(collect, id, order::Command::Collect { code }).await?;
            self.tally.collected(arrival.canteen);
        }
        Ok(())
    }

    async fn work(&self, request: Request, id: OrderId, command: order::Command) -> anyhow::Result<()> {
        for attempt in 0..PATIENCE {
            match self.commands().on_order(request, id, command.clone()).await {
                Err(Failure::Interrupted(Interrupted::Overloaded)) => pause(attempt).await,
                done => return done.map(|_| ()).context("the kitchen's work on an order"),
            }
        }
        bail!("the service stayed overloaded")
    }

    /// Withdraws a dish once everybody who ordered it before then has been answered.
    async fn withdraw(self: Arc<Self>) -> anyhow::Result<()> {
        for (index, arrival) in self.script.arrivals.iter().enumerate() {
            if arrival.does == Does::BeforeWithdrawal {
                self.ended[index].cancelled().await;
            }
        }
        let canteen = &self.canteens[WITHDRAWING];
        let (dish, ..) = canteen.dishes[WITHDRAWN];
        let command = serving::Command::WithdrawDish { dish };
        let request = self.request("staff", "withdrawDish", &dish);
        self.commands().on_serving(request, canteen.serving, command).await?;
        self.withdrawn.cancel();
        self.tally.withdrew();
        Ok(())
    }
}

pub(super) fn taken(ended: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> anyhow::Result<()> {
    match ended {
        None => Ok(()),
        Some(ended) => ended.context("a task of the demo broke off")?,
    }
}

pub(super) async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(u64::from(10 * (attempt + 1)).min(500))).await;
}
