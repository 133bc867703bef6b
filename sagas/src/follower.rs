//! Takes the steps that nobody has taken for a moment: after a crash, for a timer, for a withdrawal.

use std::{collections::HashMap, time::Duration};

use commands::Interrupted;
use domain::{OrderId, TenantId};
use futures::{StreamExt, stream};
use projections::{PageSize, ViewError, Views, grant_runs};
use store::Position;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    ExpiryError, Finance, GrantError, Ordering, People, Subsidies,
    pace::Pace,
    views::{self, Open},
};

/// Between two looks at what is open.
const TICK: Duration = Duration::from_millis(200);
/// How long a process must have stood still before somebody else goes on with it.
const STOOD_STILL: Duration = Duration::from_millis(400);
/// Between two askings for the lease, which lasts five seconds: while this process has it, and while it
/// has not.
const RENEW: Duration = Duration::from_millis(1_500);
const ASK: Duration = Duration::from_millis(500);
/// The longest pause after an error.
const REST: Duration = Duration::from_secs(2);
/// The pause after keys could not be had.
const KEYS_REST: Duration = Duration::from_secs(10);
/// Between two looks for what those have who have left.
const LEAVERS: Duration = Duration::from_secs(60);
/// What the lease is called.
const TASK: &str = "processes";
/// How long a start waits for the views before it looks at them all the same.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Most orders that it drives at once; fewer as the queue before the log fills.
const AT_ONCE: f64 = 64.0;
/// Most rows that it looks at in one go.
const LOOK: u32 = 1_000;
/// Before an unanswered trade is queried for the first time.
const FIRST_QUERY: Duration = Duration::from_secs(5);
/// Most orders with open trades that it looks at in one go.
const ASK_AT_ONCE: usize = 32;
/// Before every order.
const FIRST: (TenantId, OrderId) = (TenantId(Uuid::nil()), OrderId(Uuid::nil()));

/// The driver that reads the log. It holds no truth: what it forgets in a restart it finds again in
/// the views. Of several processes on the same views one follows at a time. Two that do for a moment,
/// after one of them stood still, only waste work: they name the same command ids.
pub struct Follower {
    ordering: Ordering,
    subsidies: Subsidies,
    finance: Finance,
    views: Views,
    erasures: Option<Erasures>,
    /// When to look for those who have left.
    leavers: Instant,
    lease: Lease,
    /// Since when, by this process's clock, an order has stood at an event.
    standing: HashMap<(TenantId, OrderId), (Position, Instant)>,
    /// When providers are asked again, and the last order whose turn it was to be.
    trades: Pace<(TenantId, OrderId)>,
    asked: (TenantId, OrderId),
    /// When finance's things, and runs of grants, that do not get on are tried again.
    things: Pace<Uuid>,
    /// Orders, and servings with withdrawals, that could not be gone on with.
    failing: Pace<(TenantId, Uuid)>,
}

/// What a look has come to.
struct Looked {
    /// How many processes it went on with.
    tried: usize,
    /// The first that could not go on.
    failure: Option<Interrupted>,
}

/// Whether this process follows.
struct Lease {
    holder: Uuid,
    held: bool,
    asked: Option<Instant>,
}

/// Erasures whose keys are left to be deleted.
struct Erasures {
    people: People,
    /// Up to which event they are finished.
    done: Position,
    /// When to look again: keys that cannot be had hold nothing else up.
    look: Instant,
}

impl Erasures {
    async fn finish(&mut self) {
        if Instant::now() < self.look {
            return;
        }
        match self.people.finish_erasures(self.done).await {
            Ok(done) => self.done = done,
            Err(error) => {
                tracing::warn!(%error, "keys of erased people could not be deleted; trying on");
                self.look = Instant::now() + KEYS_REST;
            }
        }
    }
}

/// Why processes could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    #[error(transparent)]
    Views(#[from] ViewError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Stale(#[from] projections::Stale),
    #[error(transparent)]
    Expiry(#[from] ExpiryError),
    #[error(transparent)]
    Grants(#[from] commands::Failure<GrantError>),
    #[error("the log cannot be read: {0}")]
    Log(#[from] store::StoreError),
}

impl Follower {
    pub fn new(ordering: Ordering, subsidies: Subsidies, finance: Finance) -> Self {
        let lease = Lease { holder: Uuid::new_v4(), held: false, asked: None };
        let views = subsidies.views.clone();
        let (trades, things) = (Pace::beginning_with(FIRST_QUERY), Pace::beginning_with(STOOD_STILL));
        let (standing, asked, failing) = (HashMap::new(), FIRST, Pace::beginning_with(STOOD_STILL));
        let (erasures, leavers) = (None, Instant::now());
        Follower {
            ordering,
            subsidies,
            finance,
            views,
            erasures,
            leavers,
            lease,
            standing,
            trades,
            asked,
            things,
            failing,
        }
    }

    /// Finishes erasures too.
    pub fn erasing(self, people: People) -> Self {
        let erasures = Some(Erasures { people, done: 0, look: Instant::now() });
        Follower { erasures, ..self }
    }

    /// Looks and drives until `stop`. An order under way then comes to the end of its chain.
    pub async fn run(mut self, stop: CancellationToken) {
        // What the process before this one left has nobody to go on with it: no need to wait, unless
        // another process may be at it.
        let alone = !self.ordering.commands().store().is_shared();
        let mut stood_still = if alone { Duration::ZERO } else { STOOD_STILL };
        tokio::select! {
            caught_up = self.caught_up(CATCH_UP) => if let Err(error) = caught_up {
                tracing::warn!(%error, "the views do not show yet what was left undone; looking again");
            },
            () = stop.cancelled() => {}
        }
        let mut pause = TICK;
        while !stop.is_cancelled() {
            match self.follow(stood_still).await {
                Ok(()) => (stood_still, pause) = (STOOD_STILL, TICK),
                Err(error) => {
                    if pause == TICK {
                        tracing::warn!(%error, "open processes could not be continued; trying on");
                    }
                    pause = (pause * 2).min(REST);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
        if self.lease.held
            && let Err(error) = self.views.let_go(self.lease.holder).await
        {
            tracing::debug!(%error, "the next process has to wait for the lease on open processes to end");
        }
    }

    /// One look, if it is this process that follows.
    pub(crate) async fn follow(&mut self, stood_still: Duration) -> Result<(), SettleError> {
        let Lease { holder, held, asked } = self.lease;
        let every = if held { RENEW } else { ASK };
        if asked.is_none_or(|asked| asked.elapsed() >= every) {
            // From before the question: the lease is never thought to last longer than it does.
            let now = Instant::now();
            self.lease.held = false;
            self.lease.held = self.views.hold(TASK, holder).await?;
            self.lease.asked = Some(now);
        }
        if self.lease.held {
            // One process that cannot go on keeps nothing else waiting, and slows nobody but itself down.
            let ticked = self.tick(stood_still).await.map(drop);
            self.ask_providers().await?;
            self.subsidies.expire();
            self.subsidies.stand();
            let now = Instant::now();
            if self.leavers <= now {
                self.subsidies.clear();
                self.leavers = now + LEAVERS;
            }
            for run in grant_runs::open(&self.views, PageSize::MAX).await? {
                if self.things.is_due(run.run.0, now) {
                    self.subsidies.go_on(run.tenant, run.run);
                }
            }
            if let Some(erasures) = &mut self.erasures {
                erasures.finish().await;
            }
            self.finance.go_on(|thing| self.things.is_due(thing, now)).await?;
            ticked?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn is_failing(&self, tenant: TenantId, thing: Uuid) -> bool {
        self.failing.is_held((tenant, thing), Instant::now())
    }

    /// Waits until the views show everything that is in the log now.
    async fn caught_up(&self, patience: Duration) -> Result<Position, SettleError> {
        let head = self.ordering.commands().store().head().await?;
        self.views.wait_for(head, patience).await?;
        Ok(head)
    }

    /// Continues everything that can go on now, until nothing does, and answers how many processes
    /// are still open: those that wait for somebody. Needs a running projections runner.
    pub async fn settle(&mut self, patience: Duration) -> Result<u64, SettleError> {
        let deadline = Instant::now() + patience;
        loop {
            let head = self.caught_up(deadline.saturating_duration_since(Instant::now())).await?;
            let moved = match self.tick(Duration::ZERO).await {
                // The views' first build is not live yet.
                Err(SettleError::Views(ViewError::Building { .. })) if Instant::now() < deadline => {
                    tokio::time::sleep(TICK / 10).await;
                    continue;
                }
                ticked => match ticked? {
                    Looked { failure: Some(failure), .. } => return Err(failure.into()),
                    Looked { tried, failure: None } => tried,
                },
            };
            let moved = moved + self.settle_trades().await?;
            let moved = moved + self.subsidies.settle().await? + self.finance.settle().await?;
            let now_at = self.ordering.commands().store().head().await?;
            if moved == 0 || now_at == head {
                return Ok(views::count_open(&self.views).await?);
            }
        }
    }

    /// Begins to ask the providers of those open trades that are due. It does not wait for them: one that
    /// does not answer keeps nobody else waiting.
    async fn ask_providers(&mut self) -> Result<(), SettleError> {
        let now = Instant::now();
        for (tenant, order) in self.next_trades().await? {
            if self.trades.is_due((tenant, order), now) && !self.ordering.begin_to_ask(tenant, order) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Asks the providers of some open trades now; answers how many events that made.
    async fn settle_trades(&mut self) -> Result<usize, SettleError> {
        let before = self.ordering.commands().store().head().await?;
        for (tenant, order) in self.next_trades().await? {
            self.ordering.ask_providers(tenant, order, false).await?;
        }
        Ok((self.ordering.commands().store().head().await? - before) as usize)
    }

    /// Some orders with open trades, in their turn.
    async fn next_trades(&mut self) -> Result<Vec<(TenantId, OrderId)>, SettleError> {
        let open = views::open_trades(&self.views, self.asked, ASK_AT_ONCE as u32).await?;
        self.asked = open.last().copied().filter(|_| open.len() == ASK_AT_ONCE).unwrap_or(FIRST);
        Ok(open)
    }

    /// One look at orders and withdrawals. An error is one that all of them have.
    async fn tick(&mut self, stood_still: Duration) -> Result<Looked, SettleError> {
        let commands = self.ordering.commands();
        let Open { orders, withdrawals } = views::open(&self.views, commands.now(), LOOK).await?;
        if !(orders.is_empty() && withdrawals.is_empty()) {
            commands.readiness().await.map_err(Interrupted::Unavailable)?;
        }
        let ready = self.stood_still(orders, stood_still);
        let now = Instant::now();
        let mut looked = Looked { tried: 0, failure: None };
        for row in withdrawals {
            if !self.failing.is_held((row.tenant, row.serving.0), now) {
                let carried_out = row.state.0.carry_out(&self.ordering, row.tenant, row.serving).await;
                self.note(&mut looked, (row.tenant, row.serving.0), carried_out)?;
            }
        }
        // Overload must not double the load.
        let room = 1.0 - self.ordering.commands().fullness();
        let at_once = (AT_ONCE * room).max(1.0) as usize;
        let ordering = &self.ordering;
        let continued = stream::iter(ready)
            .map(|(tenant, order)| async move { ((tenant, order.0), ordering.continue_order(tenant, order).await) })
            .buffer_unordered(at_once)
            .collect::<Vec<_>>()
            .await;
        for (key, continued) in continued {
            self.note(&mut looked, key, continued)?;
        }
        Ok(looked)
    }

    /// Those of the open orders that have stood still for so long and that nobody drives.
    fn stood_still(
        &mut self,
        orders: Vec<(TenantId, OrderId, Position)>,
        stood_still: Duration,
    ) -> Vec<(TenantId, OrderId)> {
        let now = Instant::now();
        let mut ready = Vec::new();
        let mut standing = HashMap::with_capacity(orders.len());
        for (tenant, order, moved) in orders {
            let key = (tenant, order);
            let since = match self.standing.get(&key) {
                Some((at, since)) if *at == moved => *since,
                _ => now,
            };
            // An order may have a checkout and refunds open; it is gone on with once.
            let first = standing.insert(key, (moved, since)).is_none();
            let waits = self.ordering.driven.contains(order.0) || self.failing.is_held((tenant, order.0), now);
            if first && now.duration_since(since) >= stood_still && !waits {
                ready.push(key);
            }
        }
        self.standing = standing;
        ready
    }

    /// Notes how an order, or a serving's withdrawals, got on. One that did not has to wait; overload is everybody's.
    fn note(
        &mut self,
        looked: &mut Looked,
        (tenant, thing): (TenantId, Uuid),
        outcome: Result<(), Interrupted>,
    ) -> Result<(), Interrupted> {
        looked.tried += 1;
        match outcome {
            Ok(()) => self.failing.forget((tenant, thing)),
            Err(overloaded @ Interrupted::Overloaded) => return Err(overloaded),
            Err(error) => {
                tracing::warn!(%error, %tenant, %thing, "an open process could not be continued; the others go on");
                self.failing.hold((tenant, thing), Instant::now());
                looked.failure.get_or_insert(error);
            }
        }
        Ok(())
    }
}
