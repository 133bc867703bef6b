//! Which events are asked for.

use std::fmt;

use domain::{ActorId, CommandId, Fact, StreamKind, TenantId, Timestamp};
use uuid::Uuid;

use crate::{EventRow, Position};

/// Longest part of a wrong text that an error repeats, in characters.
const REPEATED: usize = 60;

/// A filter that cannot be meant: which part of it, why, and what to give instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct BadFilter {
    /// The part, as a field of [`Filter`] is called.
    pub what: &'static str,
    pub why: String,
}

fn bad(what: &'static str, why: impl fmt::Display) -> BadFilter {
    BadFilter { what, why: why.to_string() }
}

fn repeated(text: &str) -> String {
    text.chars().take(REPEATED).collect()
}

/// From one value on, up to another; either side may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<T> {
    /// The first that is meant.
    pub from: Option<T>,
    /// For positions the last that is meant, for times the first that is not meant any more.
    pub to: Option<T>,
}

impl<T> Default for Span<T> {
    fn default() -> Self {
        Span { from: None, to: None }
    }
}

impl Span<Timestamp> {
    fn takes(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }
}

impl Span<Position> {
    fn takes(&self, position: Position) -> bool {
        self.from.is_none_or(|from| position >= from) && self.to.is_none_or(|to| position <= to)
    }
}

/// The types of event that are meant: one, or all of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventType(String);

impl EventType {
    /// Reads `order.Placed`, or `order` for every event of an order.
    ///
    /// # Errors
    /// For a type that this program does not know; the known ones are named.
    pub fn parse(text: &str) -> Result<EventType, BadFilter> {
        let (aggregate, name) = text.split_once('.').map_or((text, None), |(aggregate, name)| (aggregate, Some(name)));
        let Some(kind) = StreamKind::ALL.into_iter().find(|kind| kind.aggregate() == aggregate) else {
            let mut known: Vec<&str> = StreamKind::ALL.map(StreamKind::aggregate).into();
            known.dedup();
            let (text, known) = (repeated(text), known.join(", "));
            return Err(bad("type", format!("{text:?} is no type of event: it begins with one of {known}")));
        };
        let names = Fact::schemas(kind);
        if name.is_none_or(|name| names.iter().any(|(known, _)| *known == name)) {
            return Ok(EventType(text.to_owned()));
        }
        let known: Vec<String> = names.iter().map(|(name, _)| format!("{aggregate}.{name}")).collect();
        Err(bad("type", format!("there is no {:?}; there are {}", repeated(text), known.join(", "))))
    }

    fn takes(&self, event_type: &str) -> bool {
        event_type.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which events are meant: those to which every part that is given applies. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub tenant: Option<TenantId>,
    pub stream: Option<(StreamKind, Uuid)>,
    pub kind: Option<StreamKind>,
    /// Any of these; none means every type.
    pub types: Vec<EventType>,
    pub actor: Option<ActorId>,
    pub correlation: Option<Uuid>,
    pub command: Option<CommandId>,
    pub occurred: Span<Timestamp>,
    pub recorded: Span<Timestamp>,
    pub positions: Span<Position>,
}

impl Filter {
    /// Refuses what could never match anything and is surely a slip.
    pub fn check(&self) -> Result<(), BadFilter> {
        fn ordered<T: PartialOrd + fmt::Display>(
            what: &'static str,
            span: &Span<T>,
            fits: fn(&T, &T) -> bool,
        ) -> Result<(), BadFilter> {
            match span {
                Span { from: Some(from), to: Some(to) } if !fits(from, to) => {
                    Err(bad(what, format!("from {from} to {to} is nothing; the earlier comes first")))
                }
                _ => Ok(()),
            }
        }
        ordered("occurred", &self.occurred, |from, to| from < to)?;
        ordered("recorded", &self.recorded, |from, to| from < to)?;
        ordered("positions", &self.positions, |from, to| from <= to)?;
        match (self.stream, self.kind) {
            (Some((of, _)), Some(kind)) if of != kind => {
                Err(bad("kind", format!("the stream is of kind {}, not {}", of.name(), kind.name())))
            }
            _ => Ok(()),
        }
    }

    /// Whether the event is one of those that are meant.
    pub fn matches(&self, row: &EventRow) -> bool {
        self.positions.takes(row.position)
            && self.tenant.is_none_or(|tenant| tenant == row.stream.tenant)
            && self.stream.is_none_or(|stream| stream == (row.stream.kind, row.stream.key))
            && self.kind.is_none_or(|kind| kind == row.stream.kind)
            && (self.types.is_empty() || self.types.iter().any(|wanted| wanted.takes(&row.event_type)))
            && self.actor.is_none_or(|actor| actor == row.metadata.actor)
            && self.correlation.is_none_or(|correlation| correlation == row.metadata.correlation)
            && self.command.is_none_or(|command| command == row.metadata.command)
            && self.occurred.takes(row.occurred_at)
            && self.recorded.takes(row.recorded_at)
    }
}

/// Reads the word for a kind of stream.
pub fn parse_kind(text: &str) -> Result<StreamKind, BadFilter> {
    text.parse().map_err(|_| bad("kind", format!("{:?} is no kind of stream; kinds are {}", repeated(text), kinds())))
}

/// The names of all kinds of stream.
pub fn kinds() -> String {
    StreamKind::ALL.map(StreamKind::name).join(", ")
}

/// Reads `kind:uuid`, as `order:018f…` or, as the books name an account, `wallet:018f…`.
pub fn parse_stream(text: &str) -> Result<(StreamKind, Uuid), BadFilter> {
    let Some((kind, key)) = text.split_once(':') else {
        return Err(bad("stream", format!("{:?} is not KIND:UUID; kinds are {}", repeated(text), kinds())));
    };
    let kind = parse_kind(kind).map_err(|error| bad("stream", error.why))?;
    Ok((kind, parse_uuid("stream", key)?))
}

/// Reads a UUID for the part `what` of a filter.
pub fn parse_uuid(what: &'static str, text: &str) -> Result<Uuid, BadFilter> {
    Uuid::parse_str(text).map_err(|_| bad(what, format!("{:?} is not a UUID", repeated(text))))
}

/// Reads an instant in RFC 3339, or a date, which means its first instant in UTC.
pub fn parse_time(what: &'static str, text: &str) -> Result<Timestamp, BadFilter> {
    let midnight = || format!("{text}T00:00:00Z").parse();
    let parsed = if text.len() == 10 { midnight() } else { text.parse::<Timestamp>() };
    parsed.map_err(|_| {
        let text = repeated(text);
        bad(what, format!("{text:?} is no time; give an instant such as 2026-11-23T04:00:00Z, or a date (UTC)"))
    })
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
