//! The state of an aggregate at any moment, folded from its events. Never from a snapshot: an
//! auditor reads what was recorded.

use domain::{
    Aggregate, Fact, StreamId, StreamKind, Timestamp, account::Account, books::Books, correction::Correction,
    diner::Diner, grant_run::GrantRun, invoice::Invoice, menu::Menu, order::Order, payment::Payment, payout::Payout,
    policy::Policy, serving::Serving, top_up::TopUp,
};
use serde_json::{Map, Value, json};

use super::{
    HistoryError,
    changes::{Change, changes},
    scan::BATCH,
    seek,
};
use crate::{EventRow, EventStore, Position, Recorded, Version};

/// A moment in the life of an aggregate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum At {
    /// After its last event.
    #[default]
    Latest,
    /// After its event of this version.
    Version(Version),
    /// When the log stood at this event.
    Position(Position),
    /// When this was the business time: before the first of its events that occurred later.
    Occurred(Timestamp),
    /// When this was the log's time: what was known then.
    Recorded(Timestamp),
}

/// An aggregate at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    pub stream: StreamId,
    /// As [`Step::state`].
    pub state: Value,
    /// The last event that it rests on.
    pub last: EventRow,
}

/// One event and what it made of an aggregate.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub event: EventRow,
    pub changes: Vec<Change>,
}

/// The state of `stream` at a moment. `now` is the time by which a moment is in the future.
///
/// The state is an object: `state` is the name of what the aggregate is (`Open`, `Confirmed`),
/// `content` what it consists of then, and `with` what some states have besides.
pub async fn state_at(
    store: &dyn EventStore,
    stream: StreamId,
    at: At,
    now: Timestamp,
) -> Result<Folded, HistoryError> {
    let mut steps = Steps::open(store, stream, at, now).await?;
    let mut last = None;
    while let Some(event) = steps.fold_next().await? {
        last = Some(event);
    }
    let state = steps.shown()?;
    last.map(|last| Folded { stream, state, last }).ok_or(HistoryError::NoStream(stream))
}

/// The events of an aggregate up to a moment, one after the other, each with what it changed.
pub struct Steps<'a> {
    store: &'a dyn EventStore,
    stream: StreamId,
    state: State,
    /// The state as it was last shown.
    before: Value,
    /// The version up to which events are folded.
    until: Version,
    version: Version,
    read: std::vec::IntoIter<EventRow>,
}

impl<'a> Steps<'a> {
    /// Finds the moment; nothing is folded yet.
    ///
    /// # Errors
    /// When the stream has no events, or the moment is before them, beyond them, or in the future.
    pub async fn open(
        store: &'a dyn EventStore,
        stream: StreamId,
        at: At,
        now: Timestamp,
    ) -> Result<Steps<'a>, HistoryError> {
        let until = version_at(store, stream, at, now).await?;
        let state = State::new(stream.kind);
        let before = state.shown(stream, 0)?;
        Ok(Steps { store, stream, state, before, until, version: 0, read: vec![].into_iter() })
    }

    /// The version at which it ends.
    pub fn until(&self) -> Version {
        self.until
    }

    /// Whether no event is left.
    pub fn is_done(&self) -> bool {
        self.version >= self.until
    }

    /// Folds up to and with `version` without saying what changed.
    pub async fn skip_to(&mut self, version: Version) -> Result<(), HistoryError> {
        while self.version < version && self.fold_next().await?.is_some() {}
        self.before = self.shown()?;
        Ok(())
    }

    /// The next event and what it changed; none after the last.
    pub async fn next(&mut self) -> Result<Option<Step>, HistoryError> {
        let Some(event) = self.fold_next().await? else { return Ok(None) };
        // To show a big state takes a moment, in which others may have their turn.
        tokio::task::yield_now().await;
        let after = self.shown()?;
        let changes = changes(&self.before, &after);
        self.before = after;
        Ok(Some(Step { event, changes }))
    }

    /// The state as JSON, in the shape that [`state_at`] describes.
    pub fn shown(&self) -> Result<Value, HistoryError> {
        self.state.shown(self.stream, self.version)
    }

    async fn fold_next(&mut self) -> Result<Option<EventRow>, HistoryError> {
        if self.version >= self.until {
            return Ok(None);
        }
        let event = match self.read.next() {
            Some(event) => event,
            None => {
                let limit = usize::try_from(self.until - self.version).unwrap_or(BATCH).min(BATCH);
                self.read = self.store.read_stream(self.stream, self.version + 1, limit).await?.into_iter();
                let Some(event) = self.read.next() else { return Ok(None) };
                event
            }
        };
        let recorded = Recorded::decode(&event)?;
        self.state.evolve(&recorded.fact, recorded.occurred_at);
        self.version = event.version;
        Ok(Some(event))
    }
}

/// The version that a stream had at a moment, at least 1.
async fn version_at(store: &dyn EventStore, stream: StreamId, at: At, now: Timestamp) -> Result<Version, HistoryError> {
    let last = seek::last_version(store, stream).await?;
    let first = store.read_stream(stream, 1, 1).await?.pop();
    let Some(first) = first.filter(|_| last > 0) else { return Err(HistoryError::NoStream(stream)) };
    let version = match at {
        At::Latest => last,
        At::Version(0) | At::Position(0) => return Err(HistoryError::Zero),
        At::Version(asked) if asked > last => return Err(HistoryError::NoVersion { stream, asked, last }),
        At::Version(asked) => asked,
        At::Position(asked) => {
            let head = store.head().await?;
            if asked > head {
                return Err(HistoryError::NoPosition { asked, head });
            }
            seek::first_version_from(store, stream, last, asked + 1).await? - 1
        }
        At::Occurred(time) | At::Recorded(time) if time > now => return Err(HistoryError::Future(time)),
        At::Recorded(time) => {
            let head = store.head().await?;
            let later =
                seek::first_recorded(store, head, Timestamp::from_micros(time.micros.saturating_add(1))).await?;
            seek::first_version_from(store, stream, last, later).await? - 1
        }
        At::Occurred(time) => occurred_by(store, stream, time).await?,
    };
    if version == 0 {
        let EventRow { position, occurred_at, recorded_at, .. } = first;
        return Err(HistoryError::NotYet { stream, position, occurred_at, recorded_at });
    }
    Ok(version)
}

/// The version before the first event that occurred after `time`. Business times are in no order,
/// so all events before it are read.
async fn occurred_by(store: &dyn EventStore, stream: StreamId, time: Timestamp) -> Result<Version, HistoryError> {
    let mut version = 0;
    loop {
        let rows = store.read_stream(stream, version + 1, BATCH).await?;
        if rows.is_empty() {
            return Ok(version);
        }
        for row in rows {
            if row.occurred_at > time {
                return Ok(version);
            }
            version = row.version;
        }
    }
}

/// An aggregate of any kind.
enum State {
    Menu(Menu),
    Serving(Serving),
    Order(Order),
    Payment(Payment),
    Account(Account),
    Policy(Policy),
    Grant(GrantRun),
    Diner(Diner),
    Books(Books),
    Invoice(Invoice),
    Correction(Correction),
    TopUp(TopUp),
    Payout(Payout),
}

impl State {
    fn new(kind: StreamKind) -> State {
        match kind {
            StreamKind::Menu => State::Menu(Menu::default()),
            StreamKind::Serving => State::Serving(Serving::default()),
            StreamKind::Order => State::Order(Order::default()),
            StreamKind::Payment => State::Payment(Payment::default()),
            StreamKind::Wallet | StreamKind::Subsidy | StreamKind::Company => State::Account(Account::default()),
            StreamKind::Policy => State::Policy(Policy::default()),
            StreamKind::Grant => State::Grant(GrantRun::default()),
            StreamKind::Diner => State::Diner(Diner::default()),
            StreamKind::Books => State::Books(Books::default()),
            StreamKind::Invoice => State::Invoice(Invoice::default()),
            StreamKind::Correction => State::Correction(Correction::default()),
            StreamKind::TopUp => State::TopUp(TopUp::default()),
            StreamKind::Payout => State::Payout(Payout::default()),
        }
    }

    /// The fact is of the state's own stream, so of its aggregate.
    fn evolve(&mut self, fact: &Fact, at: Timestamp) {
        match (self, fact) {
            (State::Menu(state), Fact::Menu(_, event)) => state.evolve(event, at),
            (State::Serving(state), Fact::Serving(_, event)) => state.evolve(event, at),
            (State::Order(state), Fact::Order(_, event)) => state.evolve(event, at),
            (State::Payment(state), Fact::Payment(_, event)) => state.evolve(event, at),
            (State::Account(state), Fact::Account(_, event)) => state.evolve(event, at),
            (State::Policy(state), Fact::Policy(_, event)) => state.evolve(event, at),
            (State::Grant(state), Fact::Grant(_, event)) => state.evolve(event, at),
            (State::Diner(state), Fact::Diner(_, event)) => state.evolve(event, at),
            (State::Books(state), Fact::Books(_, event)) => state.evolve(event, at),
            (State::Invoice(state), Fact::Invoice(_, event)) => state.evolve(event, at),
            (State::Correction(state), Fact::Correction(_, event)) => state.evolve(event, at),
            (State::TopUp(state), Fact::TopUp(_, event)) => state.evolve(event, at),
            (State::Payout(state), Fact::Payout(_, event)) => state.evolve(event, at),
            (State::Menu(_) | State::Serving(_) | State::Order(_) | State::Payment(_) | State::Account(_), _)
            | (State::Policy(_) | State::Grant(_) | State::Diner(_) | State::Books(_), _)
            | (State::Invoice(_) | State::Correction(_) | State::TopUp(_) | State::Payout(_), _) => {}
        }
    }

    fn shown(&self, stream: StreamId, version: Version) -> Result<Value, HistoryError> {
        let value = match self {
            State::Menu(state) => serde_json::to_value(state),
            State::Serving(state) => serde_json::to_value(state),
            State::Order(state) => serde_json::to_value(state),
            State::Payment(state) => serde_json::to_value(state),
            State::Account(state) => serde_json::to_value(state),
            State::Policy(state) => serde_json::to_value(state),
            State::Grant(state) => serde_json::to_value(state),
            State::Diner(state) => serde_json::to_value(state),
            State::Books(state) => serde_json::to_value(state),
            State::Invoice(state) => serde_json::to_value(state),
            State::Correction(state) => serde_json::to_value(state),
            State::TopUp(state) => serde_json::to_value(state),
            State::Payout(state) => serde_json::to_value(state),
        };
        let value = value.map_err(|error| HistoryError::Unshowable { stream, version, reason: error.to_string() })?;
        let mut value = unfolded(value);
        // A set without an order of its own; in order, one more is one change.
        if let (State::Serving(_), Some(Value::Array(released))) = (self, value.pointer_mut("/content/released")) {
            released.sort_unstable_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
        Ok(value)
    }
}

/// An enum's value, with the name of its variant beside what the variant holds instead of around it:
/// so a state that only passes on to the next is one change.
fn unfolded(value: Value) -> Value {
    let (state, content) = match value {
        Value::Object(object) if object.len() == 1 => match object.into_iter().next() {
            Some(variant) => variant,
            None => return Value::Null,
        },
        Value::String(name) => return json!({ "state": name }),
        other => return other,
    };
    let mut shown = Map::new();
    shown.insert("state".to_owned(), Value::String(state));
    match content {
        Value::Array(mut parts) if !parts.is_empty() => {
            let with = parts.split_off(1);
            shown.insert("content".to_owned(), parts.pop().unwrap_or_default());
            shown.insert("with".to_owned(), Value::Array(with));
        }
        content => {
            shown.insert("content".to_owned(), content);
        }
    }
    Value::Object(shown)
}

#[cfg(test)]
#[path = "aggregate_tests.rs"]
mod tests;
