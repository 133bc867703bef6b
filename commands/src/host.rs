//! One framework an aggregate type, and the execution of a command on it.

use std::{cell::RefCell, sync::Arc, time::Instant};

use cqrs_es::{AggregateError, CqrsFramework};
use domain::{
    Aggregate, CommandId, Fact, StreamId, TenantId, account, account::Account, books, books::Books, correction,
    correction::Correction, diner, diner::Diner, grant_run, grant_run::GrantRun, invoice, invoice::Invoice, menu,
    menu::Menu, order, order::Order, payment, payment::Payment, payout, payout::Payout, policy, policy::Policy,
    serving, serving::Serving, top_up, top_up::TopUp,
};
use store::{EventStore, Position, Version};

use crate::{
    Cause, Commands, Interrupted, Shared,
    bridge::{Bridge, Stamped, Timed},
    cache::{Cache, GroupCommit, Known, Receipt, TURN, Turn, event_of, unavailable},
    chain::Chain,
    ticket::Fallen,
    writer::Writer,
};

/// Room that one command outside a chain asks for, in events.
const COMMAND_ROOM: u32 = 8;
/// The framework wants a text for an id; the turn has the stream itself.
const STREAM_IS_IN_THE_TURN: &str = "";
/// Events read at once when the outcome of a repeat is looked up.
const PAGE: usize = 500;
/// How often a look begins anew when other nodes moved what it saw.
const MAX_LOOKS: u32 = 32;

pub(crate) struct Host<A: Hosted> {
    cache: Arc<Cache<A>>,
    framework: CqrsFramework<Bridge<A>, GroupCommit<A>>,
}

impl<A: Hosted> Host<A> {
    pub(crate) fn new(store: Arc<dyn EventStore>, writer: Arc<Writer>, cached: usize) -> Self {
        let cache = Cache::new(store, writer, cached);
        let framework = CqrsFramework::new(GroupCommit(Arc::clone(&cache)), vec![], ());
        Host { cache, framework }
    }

    /// Notes that the log has `version` of a stream.
    pub(crate) fn saw(&self, stream: StreamId, version: Version) {
        self.cache.saw(stream, version);
    }
}

/// An aggregate that [`Commands`] hosts.
#[expect(private_interfaces, reason = "only this crate finds the host")]
pub trait Hosted: Aggregate + Clone {
    #[doc(hidden)]
    fn host(shared: &Shared) -> &Host<Self>;
    /// The event as a fact about `id`.
    fn fact(id: Self::Id, event: Self::Event) -> Fact;
    /// The event of this aggregate that `fact` is, if it is one.
    fn event(fact: Fact) -> Option<Self::Event>;
}

macro_rules! hosted {
    ($($aggregate:ty, $variant:ident, $event:ty, $host:ident;)*) => {$(
        #[expect(private_interfaces, reason = "only this crate finds the host")]
        impl Hosted for $aggregate {
            fn host(shared: &Shared) -> &Host<Self> {
                &shared.$host
            }
            fn fact(id: Self::Id, event: $event) -> Fact {
                Fact::$variant(id, event)
            }
            fn event(fact: Fact) -> Option<$event> {
                match fact {
                    Fact::$variant(_, event) => Some(event),
                    _ => None,
                }
            }
        }
    )*};
}

hosted! {
    Menu, Menu, menu::Event, menus;
    Serving, Serving, serving::Event, servings;
    Order, Order, order::Event, orders;
    Payment, Payment, payment::Event, payments;
    Account, Account, account::Event, accounts;
    Policy, Policy, policy::Event, policies;
    GrantRun, Grant, grant_run::Event, grants;
    Diner, Diner, diner::Event, diners;
    Books, Books, books::Event, books;
    Invoice, Invoice, invoice::Event, invoices;
    Correction, Correction, correction::Event, corrections;
    TopUp, TopUp, top_up::Event, top_ups;
    Payout, Payout, payout::Event, payouts;
}

/// Why a command came to no success.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure<E: std::error::Error> {
    /// The domain refuses it.
    #[error(transparent)]
    Refused(E),
    /// The key was used for a request with other content.
    #[error("this idempotency key was used for another request; use a new one")]
    KeyReused,
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl<E: std::error::Error> Failure<E> {
    /// The same failure where a refusal is known by another name.
    pub fn map<F: std::error::Error>(self, refusal: impl FnOnce(E) -> F) -> Failure<F> {
        match self {
            Failure::Refused(error) => Failure::Refused(refusal(error)),
            Failure::KeyReused => Failure::KeyReused,
            Failure::Interrupted(interrupted) => Failure::Interrupted(interrupted),
        }
    }
}

/// What a command led to.
#[derive(Debug)]
pub struct Outcome<E> {
    /// In their order. For a repeat, those of the first time.
    pub events: Vec<Arc<E>>,
    /// Whether it had been carried out before.
    pub repeated: bool,
    /// The stream's position after it, durable; 0 inside a chain, whose end has the position.
    pub position: Position,
}

impl Commands {
    /// Gives `command` to the aggregate `id` of `tenant`.
    ///
    /// Inside [`Commands::pipelined`] it is queued and answered at once; outside, it is a chain of
    /// its own. A command that a digest marks as a caller's is found again by its id and answers
    /// with its first outcome; the same id with another digest is [`Failure::KeyReused`].
    pub async fn execute<A: Hosted>(
        &self,
        tenant: TenantId,
        id: A::Id,
        command: A::Command,
        cause: Cause,
    ) -> Result<Outcome<A::Event>, Failure<A::Error>> {
        if let Some(chain) = Chain::current() {
            return self.link::<A>(tenant, id, command, cause, chain).await;
        }
        let commands = self.clone();
        let finished = self
            .pipelined(COMMAND_ROOM, move || {
                let (commands, command) = (commands.clone(), command.clone());
                async move {
                    // The scope that runs this has just set it.
                    let chain = Chain::current().ok_or(Interrupted::Fell)?;
                    match commands.link::<A>(tenant, id, command, cause, chain).await {
                        Err(Failure::Interrupted(interrupted)) => Err(interrupted),
                        decided => Ok(decided),
                    }
                }
            })
            .await?;
        finished.value.map(|outcome| Outcome { position: finished.position, ..outcome })
    }

    async fn link<A: Hosted>(
        &self,
        tenant: TenantId,
        id: A::Id,
        command: A::Command,
        cause: Cause,
        chain: Arc<Chain>,
    ) -> Result<Outcome<A::Event>, Failure<A::Error>> {
        let stream = A::stream(tenant, id);
        let turn = Turn { stream, metadata: cause.metadata, at: cause.at, chain, receipt: RefCell::default() };
        let framework = &A::host(&self.shared).framework;
        let (answer, receipt) = TURN
            .scope(turn, async {
                let answer = framework.execute(STREAM_IS_IN_THE_TURN, Timed { command, at: cause.at }).await;
                (answer, TURN.with(|turn| turn.receipt.take()))
            })
            .await;
        match answer {
            Ok(()) => Ok(Outcome { events: events_of::<A>(receipt), repeated: false, position: 0 }),
            Err(AggregateError::UserError(refusal)) => Err(Failure::Refused(refusal)),
            Err(error) => match (receipt.interrupted, receipt.repeat) {
                (Some(interrupted), _) => Err(interrupted.into()),
                (None, Some(known)) => self.first_outcome::<A>(stream, known, &cause).await,
                (None, None) => Err(Interrupted::Unavailable(error.to_string()).into()),
            },
        }
    }

    async fn first_outcome<A: Hosted>(
        &self,
        stream: StreamId,
        known: Known,
        cause: &Cause,
    ) -> Result<Outcome<A::Event>, Failure<A::Error>> {
        if cause.metadata.digest != Some(known.digest) {
            return Err(Failure::KeyReused);
        }
        self.settled().await?;
        let count = usize::try_from(known.count).unwrap_or(usize::MAX);
        let rows = self.shared.store.read_stream(stream, known.after + 1, count).await.map_err(unavailable)?;
        let events = rows.iter().map(|row| event_of::<A>(row).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Outcome { events, repeated: true, position: 0 })
    }

    /// Waits until what this chain rests on is in the log, and so can be read there.
    async fn settled(&self) -> Result<(), Interrupted> {
        match Chain::current() {
            Some(chain) => chain.wait().await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// The events that the command `id` recorded in a stream, empty if there are none. For a saga's
    /// step that finds itself taken already.
    pub async fn recorded<A: Hosted>(
        &self,
        tenant: TenantId,
        id: A::Id,
        command: CommandId,
    ) -> Result<Vec<A::Event>, Interrupted> {
        self.settled().await?;
        let stream = A::stream(tenant, id);
        let mut from = 1;
        let mut events = Vec::new();
        loop {
            let rows = self.shared.store.read_stream(stream, from, PAGE).await.map_err(unavailable)?;
            for row in rows.iter().filter(|row| row.metadata.command == command) {
                events.push(event_of::<A>(row)?);
            }
            match rows.last() {
                Some(last) if rows.len() == PAGE && events.is_empty() => from = last.version + 1,
                _ => return Ok(events),
            }
        }
    }

    /// Looks at an aggregate as it stands. Inside a chain the state may be speculative, and the
    /// chain then rests on it; outside, the look waits until it is durable. Either way it shows what
    /// every node wrote before the chain, or the look, began.
    pub async fn look<A: Hosted, T>(
        &self,
        tenant: TenantId,
        id: A::Id,
        look: impl FnOnce(&A) -> T + Send,
    ) -> Result<T, Interrupted> {
        let (stream, cache) = (A::stream(tenant, id), &A::host(&self.shared).cache);
        if let Some(chain) = Chain::current() {
            let mut resident = cache.resident(stream).await?;
            chain.saw(resident.loaded_at);
            match resident.basis(stream, chain.began, &self.shared.writer) {
                Ok(ticket) => ticket.iter().for_each(|ticket| chain.rest_on(ticket)),
                Err(_) => return Err(Interrupted::Fell),
            }
            return Ok(look(&resident.bridge.state));
        }
        if self.shared.writer.shared {
            return Ok(look(&self.shown::<A>(stream).await?));
        }
        let resident = cache.resident(stream).await?;
        let seen = look(&resident.bridge.state);
        let ticket = resident.ticket.clone();
        drop(resident);
        if let Some(ticket) = ticket {
            ticket.position().await.map_err(|fallen| Interrupted::Unavailable(fallen.to_string()))?;
        }
        Ok(seen)
    }

    /// The state that an answer outside a chain may show, on a shared log: durable, and at least as
    /// new as the log is now. A copy, since the aggregate goes on meanwhile and what is seen may fall.
    async fn shown<A: Hosted>(&self, stream: StreamId) -> Result<A, Interrupted> {
        let began = Instant::now();
        for _ in 0..MAX_LOOKS {
            let mut resident = A::host(&self.shared).cache.resident(stream).await?;
            let unavailable = |fallen: Fallen| Interrupted::Unavailable(fallen.to_string());
            let ticket = resident.basis(stream, began, &self.shared.writer).map_err(unavailable)?;
            let state = resident.bridge.state.clone();
            drop(resident);
            let Some(ticket) = ticket else { return Ok(state) };
            match ticket.position().await {
                Ok(_) => return Ok(state),
                Err(Fallen::Moved) => {}
                Err(fallen) => return Err(unavailable(fallen)),
            }
        }
        Err(Interrupted::Unavailable("other nodes change it again and again; look again".to_owned()))
    }
}

fn events_of<A: Hosted>(receipt: Receipt) -> Vec<Arc<A::Event>> {
    let events = receipt.events.and_then(|events| events.downcast::<Vec<Stamped<A::Event>>>().ok());
    events.map(|events| events.into_iter().map(|stamped| stamped.event).collect()).unwrap_or_default()
}
