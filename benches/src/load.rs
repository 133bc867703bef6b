//! What all measurements of commands have in common: a tenant of their own with its accounts, a
//! closed loop of work, and slices of it between which the bare loop runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use commands::{Commands, Failure, IdSource, Limits, RandomIds, Request, SeededIds, SystemClock};
use domain::{AccountId, ActorId, Money, TenantId};
use store::{EventRow, Position};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{BareLog, Log, latency::Latencies};

/// The measured loop and the bare one take turns so often.
pub(crate) const ROUNDS: u32 = 3;
/// Deposits of one chain while accounts are filled.
const DEPOSITS: usize = 500;
/// Such chains under way at once.
const CHAINS: usize = 8;
/// Most rows that the bare loop is given to repeat: about 60 MB.
const SAMPLE: u64 = 200_000;
const PAGE: usize = 8_192;
/// What is still under way has so long to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// The write path over the measured log, and who gives the commands.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) commands: Commands,
    pub(crate) tenant: TenantId,
    pub(crate) staff: ActorId,
}

/// A piece of work of a closed loop.
pub(crate) type Work = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// What a slice of a closed loop came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slice {
    pub(crate) done: u64,
    pub(crate) took: Duration,
    pub(crate) events: u64,
    pub(crate) syncs: u64,
    /// The last event before the slice.
    pub(crate) after: Position,
    /// The work ran out before the time did.
    pub(crate) ran_out: bool,
}

impl Slice {
    pub(crate) fn mean_batch(&self) -> f64 {
        self.events as f64 / self.syncs.max(1) as f64
    }
}

impl Load {
    /// Call within a tokio runtime. `cached` accounts stay in memory.
    pub(crate) fn start(log: &Log, cached: usize) -> Load {
        let clock = Arc::new(SystemClock::start());
        let tenant = RandomIds.next(commands::Clock::now(&*clock));
        let ids = Arc::new(SeededIds::new(tenant.as_u64_pair().1));
        let limits = Limits { accounts: cached, ..Limits::default() };
        let commands = Commands::start(Arc::clone(&log.store), clock, ids, limits);
        Load { commands, tenant: TenantId(tenant), staff: ActorId(tenant) }
    }

    pub(crate) fn id(&self) -> Uuid {
        self.commands.new_id()
    }

    /// A request of the staff under a key of its own.
    pub(crate) fn request(&self, mutation: &str, input: &impl serde::Serialize) -> Request {
        Request::new((self.tenant, self.staff), mutation, self.id(), input, self.commands.now())
    }

    /// Pays `amount` into each of `accounts`, in long chains so that it is soon done.
    pub(crate) async fn fill(&self, accounts: &[AccountId], amount: Money) -> Result<()> {
        let mut filling = JoinSet::new();
        for some in accounts.chunks(DEPOSITS) {
            if filling.len() == CHAINS {
                filled(filling.join_next().await)?;
            }
            let (load, some): (Load, Arc<[AccountId]>) = (self.clone(), some.into());
            filling.spawn(async move { load.fill_some(some, amount).await });
        }
        while let Some(done) = filling.join_next().await {
            filled(Some(done))?;
        }
        Ok(())
    }

    async fn fill_some(&self, accounts: Arc<[AccountId]>, amount: Money) -> Result<()> {
        let requests: Arc<[(AccountId, Request)]> =
            accounts.iter().map(|account| (*account, self.request("deposit", &(account, amount)))).collect();
        let commands = self.commands.clone();
        // An account's first deposit also opens it.
        let room = u32::try_from(accounts.len() * 2)?;
        let finished = self.commands.pipelined(room, move || {
            let (commands, requests) = (commands.clone(), Arc::clone(&requests));
            async move {
                for (account, request) in requests.iter() {
                    match commands.deposit(*request, *account, amount).await {
                        Ok(_) => {}
                        Err(Failure::Interrupted(interrupted)) => return Err(interrupted),
                        Err(refused) => return Ok(Err(refused)),
                    }
                }
                Ok(Ok(()))
            }
        });
        finished.await?.value.map_err(|refused| anyhow!("a deposit was refused: {refused}"))
    }

    /// Keeps `in_flight` pieces of work under way for `length`, at least one by each worker, however long
    /// the machine stands still; `work` gets the number of each, from 0, and answers none when there is no
    /// more. Ends when the last of them has ended.
    pub(crate) async fn closed_loop(
        &self,
        log: &Log,
        (in_flight, length): (u32, Duration),
        latencies: &Arc<Latencies>,
        work: impl Fn(u64) -> Option<Work> + Send + Sync + 'static,
    ) -> Result<Slice> {
        let (work, next, ran_out) = (Arc::new(work), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (after, syncs) = (log.store.head().await?, (log.syncs)());
        let started = Instant::now();
        let mut workers = JoinSet::new();
        for _ in 0..in_flight {
            let (work, next, ran_out) = (Arc::clone(&work), Arc::clone(&next), Arc::clone(&ran_out));
            let latencies = Arc::clone(latencies);
            workers.spawn(async move {
                let mut done = 0;
                loop {
                    let Some(one) = work(next.fetch_add(1, Ordering::Relaxed)) else {
                        ran_out.store(true, Ordering::Relaxed);
                        break;
                    };
                    let began = Instant::now();
                    one.await?;
                    latencies.record(began.elapsed());
                    done += 1;
                    if started.elapsed() >= length {
                        break;
                    }
                }
                anyhow::Ok(done)
            });
        }
        let mut done = 0;
        while let Some(worker) = workers.join_next().await {
            done += worker.context("a worker broke off")??;
        }
        let took = started.elapsed();
        let events = log.store.head().await? - after;
        let syncs = (log.syncs)() - syncs;
        Ok(Slice { done, took, events, syncs, after, ran_out: ran_out.load(Ordering::Relaxed) })
    }

    pub(crate) async fn end(&self) -> Result<()> {
        anyhow::ensure!(self.commands.shut_down(PATIENCE).await, "what was under way did not end");
        Ok(())
    }
}

fn filled(done: Option<Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    done.unwrap_or(Ok(Ok(())))?.context("the accounts could not be filled")
}

/// Runs the bare loop over the rows that `slice` wrote, with its mean batch, for `length` or as long as a
/// shorter slice took; rows a second.
pub(crate) async fn bare_turn(log: &Log, bare: BareLog, slice: &Slice, length: Duration) -> Result<(BareLog, f64)> {
    let sample = sample(log, slice).await?;
    let batch = slice.mean_batch().round() as usize;
    let length = length.min(slice.took);
    let turn = tokio::task::spawn_blocking(move || {
        let mut bare = bare;
        let rate = bare.run(&sample, batch, length)?;
        anyhow::Ok((bare, rate))
    });
    turn.await?
}

async fn sample(log: &Log, slice: &Slice) -> Result<Vec<EventRow>> {
    let count = slice.events.min(SAMPLE);
    let mut rows: Vec<EventRow> = Vec::with_capacity(usize::try_from(count)?);
    while (rows.len() as u64) < count {
        let left = usize::try_from(count)? - rows.len();
        let page = log.store.read_all(slice.after + 1 + rows.len() as u64, left.min(PAGE)).await?;
        anyhow::ensure!(!page.is_empty(), "the log gave back fewer events than it took");
        rows.extend(page);
    }
    Ok(rows)
}

/// Sebastiano Vigna's SplitMix64 as a hash: a number without order from one with.
pub(crate) fn scrambled(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
