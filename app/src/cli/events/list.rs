//! `tiffin events list`.

use std::io::{BufWriter, Write};

use store::{
    EventStore, Position,
    history::{Direction, Filter, Page, page},
};

use super::{filter::FilterArgs, line};
use crate::output;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// The newest first
    #[arg(long)]
    reverse: bool,
    /// The last ones instead of the first, the oldest of them first
    #[arg(long, conflicts_with_all = ["reverse", "after"])]
    last: bool,
    /// Go on behind this event, in the list's direction
    #[arg(long, value_name = "POSITION")]
    after: Option<Position>,
    #[command(flatten)]
    pub filter: FilterArgs,
}

pub async fn run(args: Args, filter: &Filter, store: &dyn EventStore, json: bool) -> anyhow::Result<()> {
    let head = store.head().await?;
    let newest_first = args.reverse || args.last;
    let direction = if newest_first { Direction::NewestFirst } else { Direction::OldestFirst };
    let mut page = page(store, filter, direction, args.after, (args.limit as usize, u64::MAX)).await?;
    if args.last {
        page.events.reverse();
    }
    if json { write_json(&page, head) } else { write_table(&page, head, args.last) }
}

fn write_json(page: &Page, head: Position) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let next = serde_json::json!(page.next);
    write!(out, "{{\"head\":{head},\"next\":{next},\"events\":[")?;
    for (index, row) in page.events.iter().enumerate() {
        out.write_all(if index > 0 { b"," } else { b"" })?;
        line::write(&mut out, row)?;
    }
    writeln!(out, "]}}")?;
    out.flush()?;
    Ok(())
}

fn write_table(page: &Page, head: Position, last: bool) -> anyhow::Result<()> {
    let mut table = output::table(["position", "recorded at", "type", "stream", "version", "payload"]);
    for row in &page.events {
        table.add_row([
            row.position.to_string(),
            output::time(row.recorded_at),
            row.event_type.to_string(),
            row.stream.to_string(),
            row.version.to_string(),
            line::shortened(&row.payload),
        ]);
    }
    output::right(&mut table, &[0, 4]);
    output::line(table)?;
    let (shown, head) = (output::count(page.events.len() as u64), output::count(head));
    match page.next {
        Some(next) if !last => output::line(format_args!(
            "{shown} shown, there may be more: --after {next}; the log stands at event {head}."
        )),
        _ => output::line(format_args!("{shown} shown; the log stands at event {head}.")),
    }
}
