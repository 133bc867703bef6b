//! `tiffin events tree`.

use anyhow::bail;
use domain::{ActorId, CommandId, OrderId, StreamKind, TenantId};
use serde_json::{Value, json};
use store::{
    EventRow, EventStore, Position,
    history::{self, Bounds, Tree},
};
use uuid::Uuid;

use super::line;
use crate::{cli::tenant::tenant_of, config::usage, output};

/// How many events are looked at for a tree, unless it is said.
pub const WINDOW: u64 = 100_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    about: About,
    /// Whose order or correlation it is; found out if it is not said
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    /// How many events to look at
    #[arg(long, value_name = "COUNT", default_value_t = WINDOW, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
}

/// What the tree is of: one of these.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct About {
    /// An event that belongs to it
    position: Option<Position>,
    /// The order that it is about
    #[arg(long, value_name = "UUID")]
    order: Option<OrderId>,
    /// The correlation that its events bear
    #[arg(long, value_name = "UUID")]
    correlation: Option<Uuid>,
    /// A command of it; the log is looked through for it
    #[arg(long, value_name = "UUID")]
    command: Option<CommandId>,
}

pub async fn run(args: Args, store: &dyn EventStore, json: bool) -> anyhow::Result<()> {
    let (tenant, correlation, known) = match args.about {
        About { position: Some(position), .. } => of_event(&history::event(store, position).await?),
        About { command: Some(command), .. } => match history::of_command(store, command).await? {
            Some(row) => of_event(&row),
            None => bail!("no event of this log was decided by the command {command}"),
        },
        About { order: Some(order), .. } => {
            (tenant_of(store, args.tenant, &[StreamKind::Order], order.0).await?, order.0, None)
        }
        About { correlation: Some(id), .. } => (tenant_of(store, args.tenant, &StreamKind::ALL, id).await?, id, None),
        About { .. } => return Err(usage("say what the tree is of: an event, or --order, --correlation, --command")),
    };
    let tree =
        history::tree(store, tenant, correlation, known, Bounds { window: args.window, ..Bounds::default() }).await?;
    if json { output::line(as_json(&tree)) } else { write(&tree, known) }
}

fn of_event(row: &EventRow) -> (TenantId, Uuid, Option<Position>) {
    (row.stream.tenant, row.metadata.correlation, Some(row.position))
}

/// An actor, or that a process of the house acted by itself.
pub fn actor(actor: ActorId) -> String {
    if actor == sagas::SAGA { "a process".to_owned() } else { actor.to_string() }
}

/// For people; the event at `marked` is pointed at.
pub fn write(tree: &Tree, marked: Option<Position>) -> anyhow::Result<()> {
    let events: usize = tree.commands.iter().map(|command| command.events.len()).sum();
    let (commands, events) = (output::count(tree.commands.len() as u64), output::count(events as u64));
    output::line(format_args!("{} of tenant {}: {commands} commands, {events} events", tree.correlation, tree.tenant))?;
    for command in &tree.commands {
        let indent = "   ".repeat(command.depth);
        let cause = match command.causation {
            Some(cause) if command.is_orphan => format!(", caused by {cause}, which was not found"),
            _ => String::new(),
        };
        output::line(format_args!("{indent}└─ command {} by {}{cause}", command.id, actor(command.actor)))?;
        for row in &command.events {
            let pointer = if marked == Some(row.position) { "▶" } else { " " };
            output::line(format_args!(
                "{indent}   {pointer} {}  {}  {}  {} version {}",
                row.position,
                output::time(row.recorded_at),
                row.event_type,
                row.stream,
                row.version,
            ))?;
        }
    }
    if !tree.is_whole {
        output::note(format_args!(
            "{} events were looked at; what happened far from these may be missing: --window looks at more",
            output::count(tree.looked_at)
        ));
    }
    Ok(())
}

/// For programs.
pub fn as_json(tree: &Tree) -> Value {
    let commands: Vec<Value> = tree
        .commands
        .iter()
        .map(|command| {
            let events: Vec<Value> = command.events.iter().map(line::brief).collect();
            json!({
                "command": command.id, "actor": command.actor, "causation": command.causation,
                "orphan": command.is_orphan, "depth": command.depth, "events": events,
            })
        })
        .collect();
    json!({
        "tenant": tree.tenant, "correlation": tree.correlation, "looked_at": tree.looked_at,
        "whole": tree.is_whole, "commands": commands,
    })
}
