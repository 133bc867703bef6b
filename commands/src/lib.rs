//! Load → decide → append: every change of an aggregate goes through here.
//!
//! The unmodified `CqrsFramework` of cqrs-es runs over a store of our own ([`cache`]), which lends it
//! the aggregate in memory and queues what it decided for the one writer ([`writer`]). A success or
//! a refusal is answered only when everything that it rests on is durable.
//!
//! Several nodes may share one log: each reads on as the others write ([`tail`]), falls back only
//! where they got in its way ([`turn`]), and answers nothing from a state that they have left behind.

mod books;
mod bridge;
mod cache;
mod chain;
mod clock;
mod closure;
mod contention;
mod host;
mod request;
mod standing;
mod tail;
mod ticket;
mod turn;
mod use_cases;
mod writer;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use domain::{
    StreamId, StreamKind, Timestamp, account::Account, books::Books, correction::Correction, diner::Diner,
    grant_run::GrantRun, invoice::Invoice, menu::Menu, order::Order, payment::Payment, payout::Payout, policy::Policy,
    serving::Serving, top_up::TopUp,
};
use store::{EventStore, Version};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use chain::{Finished, Interrupted};
pub use clock::{Clock, IdSource, ManualClock, RandomIds, SeededIds, SystemClock};
pub use contention::Contention;
pub use host::{Failure, Hosted, Outcome};
pub use request::{Cause, Request, digest_of};
pub use use_cases::{NewOffer, NewServing, PublishError};
pub use writer::QueueLimits;

use host::Host;
use standing::Standing;
use writer::Writer;

/// What commands may take of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub queue: QueueLimits,
    /// Most accounts in memory, unless more are in use at once. A diner has two, and comes back every
    /// day; a cold one costs two reads.
    pub accounts: usize,
    /// Most orders, and as many payments. They are busy for minutes and then rarely asked for.
    pub orders: usize,
    /// Most servings, and as many menus, policies, runs of grants, diners' employments, books, invoices, top-ups
    /// and payouts.
    pub servings: usize,
    /// Most corrections. One has up to a thousand entries, and is asked for a few times.
    pub corrections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { queue: QueueLimits::default(), accounts: 262_144, orders: 32_768, servings: 4_096, corrections: 64 }
    }
}

/// The door to every aggregate. Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn EventStore>,
    writer: Arc<Writer>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    tasks: TaskTracker,
    stopping: CancellationToken,
    standing: Standing,
    menus: Host<Menu>,
    servings: Host<Serving>,
    orders: Host<Order>,
    payments: Host<Payment>,
    accounts: Host<Account>,
    policies: Host<Policy>,
    grants: Host<GrantRun>,
    diners: Host<Diner>,
    books: Host<Books>,
    invoices: Host<Invoice>,
    corrections: Host<Correction>,
    top_ups: Host<TopUp>,
    payouts: Host<Payout>,
}

impl Commands {
    /// Starts the writer, looks when the log's last event was recorded and, where other nodes share it, reads on;
    /// call within a tokio runtime, and [`Commands::shut_down`] at the end.
    pub fn start(store: Arc<dyn EventStore>, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>, limits: Limits) -> Self {
        let writer = Writer::new(Arc::clone(&store), Arc::clone(&clock), limits.queue);
        fn host<A: Hosted>(store: &Arc<dyn EventStore>, writer: &Arc<Writer>, cached: usize) -> Host<A> {
            Host::new(Arc::clone(store), Arc::clone(writer), cached)
        }
        let shared = Shared {
            menus: host(&store, &writer, limits.servings),
            servings: host(&store, &writer, limits.servings),
            orders: host(&store, &writer, limits.orders),
            payments: host(&store, &writer, limits.orders),
            accounts: host(&store, &writer, limits.accounts),
            policies: host(&store, &writer, limits.servings),
            grants: host(&store, &writer, limits.servings),
            diners: host(&store, &writer, limits.servings),
            books: host(&store, &writer, limits.servings),
            invoices: host(&store, &writer, limits.servings),
            corrections: host(&store, &writer, limits.corrections),
            top_ups: host(&store, &writer, limits.servings),
            payouts: host(&store, &writer, limits.servings),
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            standing: Standing::new(),
            clock,
            ids,
            store,
            writer: Arc::clone(&writer),
        };
        let commands = Commands { shared: Arc::new(shared) };
        tokio::spawn(writer.run());
        tokio::spawn(tail::follow(Arc::clone(&commands.shared)));
        commands
    }

    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.shared.clock)
    }

    /// A new id that follows from nothing.
    pub fn new_id(&self) -> uuid::Uuid {
        self.shared.ids.next(self.now())
    }

    pub fn store(&self) -> &Arc<dyn EventStore> {
        &self.shared.store
    }

    /// How much of the queue before the log is taken, from 0 to 1.
    pub fn fullness(&self) -> f64 {
        self.shared.writer.fullness()
    }

    /// How long the log took for its quickest append since this was asked last, by whoever watches it. None when
    /// nothing was appended, unless an append has been under way for longer than `window`: then for how long.
    pub fn quickest_append(&self, window: Duration) -> Option<Duration> {
        self.shared.writer.quickest_append(window)
    }

    /// How often other nodes were in this one's way.
    pub fn contention(&self) -> Contention {
        self.shared.writer.counters.read()
    }

    /// Says how far this machine's clock is ahead of the log's, in milliseconds. A second either way
    /// takes the node out of service until it is told otherwise.
    pub fn set_log_departure(&self, milliseconds: i64) {
        self.shared.standing.set_log_departure(milliseconds);
    }

    /// Resolves when the log can no longer be used: the process should end.
    pub fn failed(&self) -> CancellationToken {
        self.shared.writer.failed.clone()
    }

    /// Runs `work` as one of the tasks that a shutdown waits for.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.shared.tasks.spawn(work)
    }

    /// Refuses new chains, lets those under way come to their end, and writes what is queued.
    /// `false` when they did not end within `patience`.
    pub async fn shut_down(&self, patience: Duration) -> bool {
        self.shared.stopping.cancel();
        self.shared.tasks.close();
        let ended = tokio::time::timeout(patience, self.shared.tasks.wait()).await.is_ok();
        self.shared.writer.stop();
        ended
    }

    /// Whether new commands are taken; if not, why.
    pub async fn readiness(&self) -> Result<(), String> {
        let Shared { stopping, writer, standing, clock, .. } = &*self.shared;
        if stopping.is_cancelled() {
            Err("it is shutting down".to_owned())
        } else if writer.failed.is_cancelled() {
            Err("its log cannot be used any more; restart it".to_owned())
        } else if writer.is_in_doubt() {
            Err("the log does not answer; try again in a moment".to_owned())
        } else {
            standing.check(&**clock, writer.patience()).await
        }
    }

    /// Whether a new chain may begin.
    async fn admit(&self) -> Result<(), Interrupted> {
        self.readiness().await.map_err(Interrupted::Unavailable)
    }
}

impl Shared {
    /// Notes that the log has `version` of a stream, by another node.
    fn saw(&self, stream: StreamId, version: Version) {
        match stream.kind {
            StreamKind::Menu => self.menus.saw(stream, version),
            StreamKind::Serving => self.servings.saw(stream, version),
            StreamKind::Order => self.orders.saw(stream, version),
            StreamKind::Payment => self.payments.saw(stream, version),
            StreamKind::Wallet | StreamKind::Subsidy | StreamKind::Company => self.accounts.saw(stream, version),
            StreamKind::Policy => self.policies.saw(stream, version),
            StreamKind::Grant => self.grants.saw(stream, version),
            StreamKind::Diner => self.diners.saw(stream, version),
            StreamKind::Books => self.books.saw(stream, version),
            StreamKind::Invoice => self.invoices.saw(stream, version),
            StreamKind::Correction => self.corrections.saw(stream, version),
            StreamKind::TopUp => self.top_ups.saw(stream, version),
            StreamKind::Payout => self.payouts.saw(stream, version),
        }
    }
}
