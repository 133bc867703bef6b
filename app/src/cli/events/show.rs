//! `tiffin events show`.

use domain::postings::postings;
use store::{
    EventRow, EventStore, Position, Recorded,
    history::{self, Bounds, HistoryError, event},
};

use super::{
    line,
    tree::{self, WINDOW},
};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The event's position in the log
    position: Position,
    /// Also everything that belongs to the same matter, each command under the one that caused it
    #[arg(long)]
    tree: bool,
    /// How many events to look at for the tree
    #[arg(long, value_name = "COUNT", default_value_t = WINDOW, requires = "tree", value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
}

pub async fn run(args: Args, store: &dyn EventStore, json: bool) -> anyhow::Result<()> {
    let row = event(store, args.position).await?;
    let tree = if args.tree { Some(of_event(store, &row, args.window).await?) } else { None };
    if json {
        let mut shown = Vec::new();
        line::write(&mut shown, &row)?;
        let shown = String::from_utf8_lossy(&shown);
        return match tree {
            None => output::line(shown),
            Some(tree) => output::line(format_args!("{{\"event\":{shown},\"tree\":{}}}", tree::as_json(&tree))),
        };
    }
    write(&row)?;
    if let Some(tree) = tree {
        output::line("")?;
        tree::write(&tree, Some(row.position))?;
    }
    Ok(())
}

async fn of_event(store: &dyn EventStore, row: &EventRow, window: u64) -> Result<history::Tree, HistoryError> {
    let bounds = Bounds { window, ..Bounds::default() };
    history::tree(store, row.stream.tenant, row.metadata.correlation, Some(row.position), bounds).await
}

fn write(row: &EventRow) -> anyhow::Result<()> {
    let metadata = &row.metadata;
    let optional = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let mut lines = vec![
        ("position", row.position.to_string()),
        ("type", format!("{}, schema version {}", row.event_type, row.schema_version)),
        ("stream", format!("{}, version {}", row.stream, row.version)),
        ("tenant", row.stream.tenant.to_string()),
        ("occurred at", row.occurred_at.to_string()),
        ("recorded at", row.recorded_at.to_string()),
        ("command", metadata.command.to_string()),
        ("digest", optional(metadata.digest.map(|digest| line::hex(&digest)))),
        ("actor", tree::actor(metadata.actor)),
        ("correlation", metadata.correlation.to_string()),
        ("causation", optional(metadata.causation.map(|id| id.to_string()))),
        ("trace", optional(metadata.trace.map(|trace| line::hex(&trace)))),
    ];
    match Recorded::decode(row) {
        Ok(recorded) => {
            let postings = postings(&recorded.fact);
            lines.extend(postings.iter().map(|posting| {
                let (side, amount) = match posting.amount {
                    amount if amount.minor < 0 => ("debit", amount.negated()),
                    amount => ("credit", amount),
                };
                ("books", format!("{side} {} {amount}", posting.account))
            }));
            if postings.is_empty() {
                lines.push(("books", "not touched".to_owned()));
            }
        }
        // The payload is shown all the same: it is what was recorded.
        Err(error) => lines.push(("UNREADABLE", error.to_string())),
    }
    let payload = match serde_json::from_slice::<serde_json::Value>(&row.payload) {
        Ok(payload) => serde_json::to_string_pretty(&payload)?,
        Err(_) => String::from_utf8_lossy(&row.payload).into_owned(),
    };
    lines.push(("payload", payload));
    for (name, value) in lines {
        output::line(format_args!("{name:12} {value}"))?;
    }
    Ok(())
}
