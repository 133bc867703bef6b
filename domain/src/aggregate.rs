//! The shape of every aggregate: decide, then evolve.

use serde::{Serialize, de::DeserializeOwned};

use crate::{StreamId, StreamKind, TenantId, Timestamp};

/// A recorded change of one aggregate.
///
/// In the log an event's type is `{stream kind}.{name}` and its payload the JSON of the enum,
/// externally tagged: `{"Placed":{…}}` or `"Preparing"`.
pub trait Event: Serialize + DeserializeOwned + Clone + PartialEq + std::fmt::Debug + Send + Sync + 'static {
    /// Every name with the schema version that this program writes.
    const SCHEMAS: &'static [(&'static str, u16)];

    /// The variant's name, one of [`Self::SCHEMAS`].
    fn name(&self) -> &'static str;
}

/// State that decides commands and is the fold of its own events.
pub trait Aggregate:
    Default + PartialEq + std::fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The word for it in the log, in commands and in errors.
    const NAME: &'static str;
    /// The version of the serialised state. A snapshot of another version is not read.
    const STATE_VERSION: u32;

    type Id: Copy + Eq + std::hash::Hash + std::fmt::Debug + std::fmt::Display + Send + Sync + 'static;
    type Command: Clone + Send + Sync + 'static;
    type Event: Event;
    /// A domain refusal. An infrastructure failure is never one of these.
    type Error: std::error::Error + Clone + PartialEq + Send + Sync + 'static;

    /// The stream that holds the events of `id`.
    fn stream(tenant: TenantId, id: Self::Id) -> StreamId {
        let (kind, key) = Self::stream_key(id);
        StreamId { tenant, kind, key }
    }

    /// Which kind of stream, and its key.
    fn stream_key(id: Self::Id) -> (StreamKind, uuid::Uuid);

    /// What follows from the command. No events means that it has been done already.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Folds one event that occurred at `at`. Never fails: what was recorded has happened.
    fn evolve(&mut self, event: &Self::Event, at: Timestamp);
}

/// Given these events, when this command comes, then …: how aggregates are tested.
#[cfg(test)]
pub(crate) struct Given<A: Aggregate> {
    state: A,
    now: Timestamp,
}

#[cfg(test)]
pub(crate) fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for event in events {
        state.evolve(&event, Timestamp::EPOCH);
    }
    Given { state, now: Timestamp::EPOCH }
}

#[cfg(test)]
impl<A: Aggregate> Given<A> {
    /// What follows occurs at `now`.
    pub(crate) fn at(self, now: Timestamp) -> Self {
        Given { now, ..self }
    }

    #[track_caller]
    pub(crate) fn when(self, command: A::Command) -> Then<A> {
        let outcome = self.state.decide(command);
        Then { outcome, given: self }
    }

    /// As a state machine test goes on from here.
    pub(crate) fn state(self) -> A {
        self.state
    }
}

#[cfg(test)]
pub(crate) struct Then<A: Aggregate> {
    outcome: Result<Vec<A::Event>, A::Error>,
    given: Given<A>,
}

#[cfg(test)]
impl<A: Aggregate> Then<A> {
    #[track_caller]
    pub(crate) fn then(self, expected: impl IntoIterator<Item = A::Event>) -> Given<A> {
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(self.outcome.as_ref(), Ok(&expected));
        let mut given = self.given;
        for event in &expected {
            given.state.evolve(event, given.now);
        }
        given
    }

    #[track_caller]
    pub(crate) fn refused(self, expected: A::Error) -> Given<A> {
        assert_eq!(self.outcome, Err(expected));
        self.given
    }
}
