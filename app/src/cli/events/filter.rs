//! Filters as options of a command.

use domain::{ActorId, CommandId, StreamKind, TenantId, Timestamp};
use store::{
    Position,
    history::{BadFilter, EventType, Filter, Span, kinds, parse_kind, parse_stream, parse_time},
};
use uuid::Uuid;

use crate::config::usage;

/// Which events are meant. Every option that is given applies.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which events (all that is given applies)")]
pub struct FilterArgs {
    /// Only this stream, such as order:UUID or wallet:UUID; with --tenant, nothing else is read
    #[arg(long, value_name = "KIND:UUID", value_parser = stream)]
    stream: Option<(StreamKind, Uuid)>,
    #[arg(long, value_name = "KIND", value_parser = kind, help = format!("Only streams of this kind: {}", kinds()))]
    kind: Option<StreamKind>,
    /// Only events of this type, such as order.Placed, or of this aggregate, such as order; may be
    /// given several times
    #[arg(long = "type", value_name = "TYPE", value_parser = event_type)]
    types: Vec<EventType>,
    /// Only this tenant's
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    /// Only what this actor did: a diner, a member of staff
    #[arg(long, value_name = "UUID")]
    actor: Option<ActorId>,
    /// Only what this order, or other thing, led to
    #[arg(long, value_name = "UUID")]
    correlation: Option<Uuid>,
    /// Only what this command decided
    #[arg(long, value_name = "UUID")]
    command: Option<CommandId>,
    /// Only from this position on
    #[arg(long, value_name = "POSITION")]
    from: Option<Position>,
    /// Only up to and with this position
    #[arg(long, value_name = "POSITION")]
    to: Option<Position>,
    /// Only what occurred (by business time) at this time or later; a date is its first instant in UTC
    #[arg(long, value_name = "TIME", value_parser = time)]
    occurred_from: Option<Timestamp>,
    /// Only what occurred before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    occurred_to: Option<Timestamp>,
    /// Only what the log took at this time or later; what lies before is not read
    #[arg(long, value_name = "TIME", value_parser = time)]
    recorded_from: Option<Timestamp>,
    /// Only what the log took before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    recorded_to: Option<Timestamp>,
}

/// The command line names the option itself.
fn why(error: BadFilter) -> String {
    error.why
}

fn stream(text: &str) -> Result<(StreamKind, Uuid), String> {
    parse_stream(text).map_err(why)
}

fn kind(text: &str) -> Result<StreamKind, String> {
    parse_kind(text).map_err(why)
}

fn event_type(text: &str) -> Result<EventType, String> {
    EventType::parse(text).map_err(why)
}

fn time(text: &str) -> Result<Timestamp, String> {
    parse_time("time", text).map_err(why)
}

impl FilterArgs {
    /// The filter; an error of the caller's when no event could ever match it.
    pub fn read(self) -> anyhow::Result<Filter> {
        let filter = Filter {
            tenant: self.tenant,
            stream: self.stream,
            kind: self.kind,
            types: self.types,
            actor: self.actor,
            correlation: self.correlation,
            command: self.command,
            occurred: Span { from: self.occurred_from, to: self.occurred_to },
            recorded: Span { from: self.recorded_from, to: self.recorded_to },
            positions: Span { from: self.from, to: self.to },
        };
        filter.check().map_err(|error| usage(error.to_string()))?;
        Ok(filter)
    }
}
