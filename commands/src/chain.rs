//! A chain of commands that waits once: its links run on one another's speculative states, and the
//! end waits until all of it is durable.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use store::Position;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::{
    Commands,
    contention::count,
    ticket::{Fallen, Ticket},
    turn::PassToken,
};

/// How often a chain is begun when the log does not take what it rested on.
const MAX_RUNS: u32 = 6;
/// How often it is begun again when other nodes moved what it rested on.
const MAX_RETRIES: u32 = 40;
/// The longest pause before that, in microseconds.
const MAX_PAUSE_MICROS: u64 = 32_000;

/// From here on a chain forgets tickets that nothing can happen to any more.
const MANY_RESTS: usize = 32;

/// Why a chain, or a command, came to no outcome. All of these may be tried again under the same key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The queue was full. Nothing was appended.
    #[error("the service is overloaded; try again in a moment")]
    Overloaded,
    /// What it rested on was not written. Inside [`Commands::pipelined`] this makes the chain run again.
    #[error("a write failed and took this with it; try again")]
    Fell,
    /// The log does not answer, or the service is stopping.
    #[error("the service is not available: {0}")]
    Unavailable(String),
}

tokio::task_local! {
    static CHAIN: Arc<Chain>;
}

/// What the links of one run have in common.
pub(crate) struct Chain {
    /// When its first run began: state loaded later is as fresh as its answer has to be.
    pub(crate) began: Instant,
    /// Whether the log is shared.
    shared: bool,
    state: Mutex<State>,
    /// Told when it falls.
    fell: Notify,
}

struct State {
    /// The highest ticket that any link's decision rested on, or that a link was given.
    last: Option<Ticket>,
    /// Every other ticket that was not settled when a link's decision rested on it. Only kept for a
    /// shared log, where one can fall without the others.
    rests: Vec<Ticket>,
    /// The last event of the log that any link's decision rested on, as far as it was loaded.
    seen: Position,
    room: Option<OwnedSemaphorePermit>,
    /// Whether links of it fell because another node moved what they rested on.
    fallen: bool,
    /// Until it can get no further: the writer waits for it.
    token: Option<PassToken>,
    /// For the run after this one.
    next_token: Option<PassToken>,
}

impl Chain {
    fn new(began: Instant, shared: bool, room: OwnedSemaphorePermit, token: Option<PassToken>) -> Arc<Self> {
        let state =
            State { last: None, rests: Vec::new(), seen: 0, room: Some(room), fallen: false, token, next_token: None };
        Arc::new(Chain { began, shared, state: Mutex::new(state), fell: Notify::new() })
    }

    pub(crate) fn current() -> Option<Arc<Chain>> {
        CHAIN.try_with(Arc::clone).ok()
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that what follows rests on `ticket`. On a log of one node the highest stands for all
    /// before it, since they fall together; but what has fallen is not forgotten for what was queued after that.
    pub(crate) fn rest_on(&self, ticket: &Ticket) {
        self.with(|state| {
            let gives_way = |last: &Ticket| !last.has_fallen() && (ticket.is_after(last) || ticket.has_fallen());
            let highest = state.last.as_ref().is_none_or(gives_way);
            let other = if highest { state.last.replace(ticket.clone()) } else { Some(ticket.clone()) };
            let matters = |ticket: &Ticket| !ticket.is_settled() || ticket.has_fallen();
            let Some(other) = other.filter(|other| self.shared && matters(other)) else { return };
            if state.rests.len() >= MANY_RESTS {
                state.rests.retain(matters);
            }
            if !state.rests.iter().any(|known| known.place() == other.place()) {
                state.rests.push(other);
            }
        });
    }

    /// Notes that what follows rests on the event at `position`, which is in the log.
    pub(crate) fn saw(&self, position: Position) {
        self.with(|state| state.seen = state.seen.max(position));
    }

    /// The places of the tickets that it rests on.
    pub(crate) fn rests(&self) -> Vec<(u64, u32)> {
        self.with(|state| state.rests.iter().chain(&state.last).map(Ticket::place).collect())
    }

    /// Whether something that it rests on was not written.
    pub(crate) fn has_fallen(&self) -> bool {
        self.with(|state| state.fallen || state.rests.iter().chain(&state.last).any(Ticket::has_fallen))
    }

    /// Whether it fell because another node moved what it rested on.
    fn was_moved(&self) -> bool {
        self.with(|state| state.fallen || state.rests.iter().chain(&state.last).any(Ticket::fell_alone))
    }

    /// Lets it fall, with `room` that a link of it held; the next run holds `token`. Who waits for it is
    /// told by [`Chain::tell`].
    pub(crate) fn fall(&self, room: Option<OwnedSemaphorePermit>, token: Option<&PassToken>) {
        self.with(|state| {
            state.fallen = true;
            state.next_token = token.cloned();
            match (&mut state.room, room) {
                (Some(all), Some(room)) => all.merge(room),
                (all, room) => *all = all.take().or(room),
            }
        });
    }

    /// Wakes it if it waits, after [`Chain::fall`].
    pub(crate) fn tell(&self) {
        self.fell.notify_waiters();
    }

    /// Splits off room for `events`; none when the chain did not ask for enough.
    pub(crate) fn room(&self, events: usize) -> Option<OwnedSemaphorePermit> {
        self.with(|state| state.room.as_mut()?.split(events))
    }

    /// Says that it can get no further before the writer has written.
    pub(crate) fn arrive(&self) {
        drop(self.with(|state| state.token.take()));
    }

    /// Waits until everything that the chain rested on or wrote is durable.
    pub(crate) async fn wait(&self) -> Result<Position, Interrupted> {
        if !self.shared {
            let (last, seen) = self.with(|state| (state.last.clone(), state.seen));
            let Some(last) = last else { return Ok(seen) };
            return Ok(last.position().await.map_err(fell)?.max(seen));
        }
        let fell = self.fell.notified();
        tokio::pin!(fell);
        fell.as_mut().enable();
        if self.with(|state| state.fallen) {
            return Err(Interrupted::Fell);
        }
        tokio::select! {
            biased;
            () = fell => Err(Interrupted::Fell),
            position = self.wait_for_all() => position,
        }
    }

    async fn wait_for_all(&self) -> Result<Position, Interrupted> {
        let (last, rests, mut position) = self.with(|state| (state.last.clone(), state.rests.clone(), state.seen));
        for ticket in rests.iter().chain(&last) {
            if !ticket.is_settled() {
                self.arrive();
            }
            position = position.max(ticket.position().await.map_err(fell)?);
        }
        Ok(position)
    }

    /// What the next run takes over: the token of a pass that still waits for it, and the room.
    fn hand_on(&self) -> (Option<PassToken>, Option<OwnedSemaphorePermit>) {
        self.with(|state| (state.next_token.take().filter(|token| !token.is_closed()), state.room.take()))
    }
}

fn fell(why: Fallen) -> Interrupted {
    tracing::debug!(%why, "a chain fell");
    Interrupted::Fell
}

/// What a finished chain answers with.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished<T> {
    pub value: T,
    /// Of the last event that the answer rests on; durable. 0 when it rests on none.
    pub position: Position,
}

impl Commands {
    /// Runs `chain` with room for `room` events, in a task of its own that a caller who goes away
    /// does not end, and waits once, for all of it. When a write fails the chain runs again whole:
    /// it must name the same command ids each time, and links that were written answer as repeats.
    pub async fn pipelined<T, F, Fut>(&self, room: u32, chain: F) -> Result<Finished<T>, Interrupted>
    where
        T: Send + 'static,
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, Interrupted>> + Send + 'static,
    {
        let commands = self.clone();
        let task = self.shared.tasks.spawn(async move { commands.pipelined_here(room, chain).await });
        match task.await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::error!(%error, "a chain ended without an outcome");
                Err(Interrupted::Unavailable("the command broke off; its outcome can be asked again".to_owned()))
            }
        }
    }

    /// The same within the caller's task, which must be one that nobody drops: [`Commands::spawn`].
    pub async fn pipelined_here<T, F, Fut>(&self, room: u32, chain: F) -> Result<Finished<T>, Interrupted>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = Result<T, Interrupted>>,
    {
        let mut again = Again::new();
        let (mut token, mut kept) = (None, None);
        loop {
            self.admit().await?;
            let whole = kept.take().filter(|kept: &OwnedSemaphorePermit| kept.num_permits() == room as usize);
            let room = match whole {
                Some(room) => room,
                None => self.shared.writer.room(room).await.ok_or(Interrupted::Overloaded)?,
            };
            let links = Chain::new(again.began, self.shared.writer.shared, room, token.take());
            let answer = match CHAIN.scope(Arc::clone(&links), chain()).await {
                Ok(value) => links.wait().await.map(|position| Finished { value, position }),
                Err(interrupted) => Err(interrupted),
            };
            links.arrive();
            if !matches!(answer, Err(Interrupted::Fell)) {
                return answer;
            }
            if links.was_moved() {
                count(&self.shared.writer.counters.retried_chains, 1);
                (token, kept) = links.hand_on();
                again.decided_anew(token.is_some(), || self.shared.writer.chance()).await?;
            } else {
                drop(links);
                again.written_anew().await?;
            }
        }
    }
}

/// How often a chain was begun again, and when it may be once more.
struct Again {
    began: Instant,
    failures: u32,
    retries: u32,
}

impl Again {
    fn new() -> Self {
        Again { began: Instant::now(), failures: 0, retries: 0 }
    }

    /// After a write that failed: longer and longer.
    async fn written_anew(&mut self) -> Result<(), Interrupted> {
        self.failures += 1;
        if self.failures == MAX_RUNS {
            return Err(Interrupted::Unavailable("writes fail again and again".to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(2) * 3_u32.pow(self.failures - 1)).await;
        Ok(())
    }

    /// After a conflict: at once if it is the first or the writer waits for it, else after a chance pause
    /// that grows, so that nodes do not meet again in step.
    async fn decided_anew(&mut self, awaited: bool, chance: impl Fn() -> u64) -> Result<(), Interrupted> {
        self.retries += 1;
        if self.retries > MAX_RETRIES {
            let why = "other nodes change what it rests on again and again".to_owned();
            return Err(Interrupted::Unavailable(why));
        }
        if self.retries > 1 && !awaited {
            let most = (500_u64 << self.retries.min(8)).min(MAX_PAUSE_MICROS);
            tokio::time::sleep(Duration::from_micros(chance() % most)).await;
        }
        Ok(())
    }
}
