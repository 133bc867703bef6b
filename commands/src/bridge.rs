//! Makes each domain aggregate a `cqrs_es::Aggregate`.

use std::sync::Arc;

use cqrs_es::event_sink::EventSink;
use domain::{Aggregate, Event, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An aggregate's state as the framework handles it.
#[derive(Default, Serialize, Deserialize)]
#[serde(bound = "", transparent)]
pub(crate) struct Bridge<A: Aggregate> {
    pub state: A,
    /// Set by the first event applied and cleared when the events are queued: state that is still
    /// touched when the framework lets go of it speaks of events that nobody will write.
    #[serde(skip)]
    pub touched: bool,
}

/// A command and the business time at which it is given.
pub(crate) struct Timed<C> {
    pub command: C,
    pub at: Timestamp,
}

/// An event and its business time. Cheap to clone, which the framework does once an event.
#[derive(Debug)]
pub(crate) struct Stamped<E> {
    pub event: Arc<E>,
    pub at: Timestamp,
}

impl<E> Clone for Stamped<E> {
    fn clone(&self) -> Self {
        Stamped { event: Arc::clone(&self.event), at: self.at }
    }
}

impl<E: PartialEq> PartialEq for Stamped<E> {
    fn eq(&self, other: &Self) -> bool {
        (&self.event, self.at) == (&other.event, other.at)
    }
}

impl<E: Serialize> Serialize for Stamped<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&*self.event, self.at).serialize(serializer)
    }
}

impl<'de, E: Deserialize<'de>> Deserialize<'de> for Stamped<E> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (event, at) = <(E, Timestamp)>::deserialize(deserializer)?;
        Ok(Stamped { event: Arc::new(event), at })
    }
}

impl<E: Event> cqrs_es::DomainEvent for Stamped<E> {
    fn event_type(&self) -> String {
        self.event.name().to_owned()
    }

    fn event_version(&self) -> String {
        schema_version(&*self.event).to_string()
    }
}

/// The schema version in which this program writes `event`.
pub(crate) fn schema_version<E: Event>(event: &E) -> u16 {
    let name = event.name();
    E::SCHEMAS.iter().find(|(known, _)| *known == name).map_or(1, |(_, version)| *version)
}

impl<A: Aggregate> cqrs_es::Aggregate for Bridge<A> {
    const TYPE: &'static str = A::NAME;
    type Command = Timed<A::Command>;
    type Event = Stamped<A::Event>;
    type Error = A::Error;
    type Services = ();

    async fn handle(&mut self, timed: Self::Command, (): &(), sink: &EventSink<Self>) -> Result<(), A::Error> {
        for event in self.state.decide(timed.command)? {
            sink.write(Stamped { event: Arc::new(event), at: timed.at }, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, stamped: Stamped<A::Event>) {
        self.touched = true;
        self.state.evolve(&stamped.event, stamped.at);
    }
}
