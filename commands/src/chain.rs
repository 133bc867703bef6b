//! A chain of commands that waits once: its links run on one another's speculative states, and the
//! end waits until all of it is durable.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use store::Position;
use tokio::sync::OwnedSemaphorePermit;

use crate::{Commands, writer::Ticket};

/// How often a chain runs again when what it rested on was not written.
const MAX_RUNS: u32 = 6;

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
    state: Mutex<State>,
}

struct State {
    /// The highest ticket that any link's decision rested on, or that a link was given.
    last: Option<Ticket>,
    room: OwnedSemaphorePermit,
}

impl Chain {
    fn new(room: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Chain { state: Mutex::new(State { last: None, room }) })
    }

    pub(crate) fn current() -> Option<Arc<Chain>> {
        CHAIN.try_with(Arc::clone).ok()
    }

    fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn last(&self) -> Option<Ticket> {
        self.with(|state| state.last.clone())
    }

    /// Notes that what follows rests on `ticket`.
    pub(crate) fn rest_on(&self, ticket: &Ticket) {
        self.with(|state| {
            if state.last.as_ref().is_none_or(|last| ticket.is_after(last) || ticket.has_fallen()) {
                state.last = Some(ticket.clone());
            }
        });
    }

    /// Splits off room for `events`; none when the chain did not ask for enough.
    pub(crate) fn room(&self, events: usize) -> Option<OwnedSemaphorePermit> {
        self.with(|state| state.room.split(events))
    }

    /// Waits until everything that the chain rested on or wrote is durable.
    async fn wait(&self) -> Result<Position, Interrupted> {
        match self.last() {
            None => Ok(0),
            Some(ticket) => ticket.position().await.map_err(|fallen| {
                tracing::debug!(why = fallen.0, "a chain fell");
                Interrupted::Fell
            }),
        }
    }
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
        let mut pause = Duration::from_millis(2);
        for _ in 0..MAX_RUNS {
            self.admit()?;
            let room = self.shared.writer.room(room).await.ok_or(Interrupted::Overloaded)?;
            let links = Chain::new(room);
            let ran = CHAIN.scope(Arc::clone(&links), chain()).await;
            match ran {
                Err(Interrupted::Fell) => {}
                Err(other) => return Err(other),
                Ok(value) => match links.wait().await {
                    Ok(position) => return Ok(Finished { value, position }),
                    Err(Interrupted::Fell) => {}
                    Err(other) => return Err(other),
                },
            }
            tokio::time::sleep(pause).await;
            pause *= 3;
        }
        Err(Interrupted::Unavailable("writes fail again and again".to_owned()))
    }
}
