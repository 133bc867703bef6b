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
    ExpiryError, GrantError, Ordering, Subsidies,
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
/// What the lease is called.
const TASK: &str = "processes";
/// How long a start waits for the views before it looks at them all the same.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Most orders that it drives at once; fewer as the queue before the log fills.
const AT_ONCE: f64 = 64.0;
/// Most rows that it looks at in one go.
const LOOK: u32 = 1_000;

/// The driver that reads the log. It holds no truth: what it forgets in a restart it finds again in
/// the views. Of several processes on the same views one follows at a time. Two that do for a moment,
/// after one of them stood still, only waste work: they name the same command ids.
pub struct Follower {
    ordering: Ordering,
    subsidies: Subsidies,
    views: Views,
    lease: Lease,
    /// Since when, by this process's clock, an order has stood at an event.
    standing: HashMap<(TenantId, OrderId), (Position, Instant)>,
}

/// Whether this process follows.
struct Lease {
    holder: Uuid,
    held: bool,
    asked: Option<Instant>,
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
    pub fn new(ordering: Ordering, subsidies: Subsidies) -> Self {
        let lease = Lease { holder: Uuid::new_v4(), held: false, asked: None };
        let views = subsidies.views.clone();
        Follower { ordering, subsidies, views, lease, standing: HashMap::new() }
    }

    /// Looks and drives until `stop`. An order under way then comes to the end of its chain.
    pub async fn run(mut self, stop: CancellationToken) {
        // What the process before this one left has nobody to go on with it: no need to wait, unless
        // another process may be at it.
        let alone = !self.ordering.commands().store().is_shared();
        let mut stood_still = if alone { Duration::ZERO } else { STOOD_STILL };
        if let Err(error) = self.caught_up(CATCH_UP).await {
            tracing::warn!(%error, "the views do not show yet what was left undone; looking again");
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
    async fn follow(&mut self, stood_still: Duration) -> Result<(), SettleError> {
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
            self.tick(stood_still).await?;
            self.subsidies.expire();
            for run in grant_runs::open(&self.views, PageSize::MAX).await? {
                self.subsidies.go_on(run.tenant, run.run);
            }
        }
        Ok(())
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
                ticked => ticked?,
            };
            let moved = moved + self.subsidies.settle().await?;
            let now_at = self.ordering.commands().store().head().await?;
            if moved == 0 || now_at == head {
                return Ok(views::count_open(&self.views).await?);
            }
        }
    }

    /// One look; answers how many processes it went on with.
    async fn tick(&mut self, stood_still: Duration) -> Result<usize, SettleError> {
        let Open { orders, withdrawals } = views::open(&self.views, self.ordering.commands().now(), LOOK).await?;
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
            if first && now.duration_since(since) >= stood_still && !self.ordering.driven.contains(order.0) {
                ready.push(key);
            }
        }
        self.standing = standing;
        let count = ready.len() + withdrawals.len();
        for row in withdrawals {
            row.state.0.carry_out(&self.ordering, row.tenant, row.serving).await?;
        }
        // Overload must not double the load.
        let room = 1.0 - self.ordering.commands().fullness();
        let at_once = (AT_ONCE * room).max(1.0) as usize;
        let ordering = &self.ordering;
        let continued = stream::iter(ready)
            .map(|(tenant, order)| ordering.continue_order(tenant, order))
            .buffer_unordered(at_once)
            .collect::<Vec<_>>()
            .await;
        continued.into_iter().collect::<Result<(), _>>()?;
        Ok(count)
    }
}
