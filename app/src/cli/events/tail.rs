//! `tiffin events tail`.

use std::{
    io::{BufWriter, Write},
    time::Duration,
};

use store::{
    EventStore, Position,
    history::{Direction, Filter, Scan},
};

use super::{filter::FilterArgs, line};
use crate::output;

/// How often it looks for more.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of how many of the last events to show what matches, before those to come
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    lines: u64,
    #[command(flatten)]
    pub filter: FilterArgs,
}

pub async fn run(args: Args, mut filter: Filter, store: &dyn EventStore, json: bool) -> anyhow::Result<()> {
    let head = store.head().await?;
    let from = filter.positions.from.take().unwrap_or((head + 1).saturating_sub(args.lines)).max(1);
    let until = filter.positions.to.unwrap_or(Position::MAX);
    let mut seen = from - 1;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let head = store.head().await?;
        if head > seen {
            // What comes while this is shown is for the next round.
            filter.positions.to = Some(head.min(until));
            tokio::select! {
                shown = show(store, &filter, seen, json) => shown?,
                _ = &mut interrupted => return Ok(()),
            }
            seen = head;
        }
        if seen >= until {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = &mut interrupted => return Ok(()),
        }
    }
}

/// Shows what matches behind `seen`.
async fn show(store: &dyn EventStore, filter: &Filter, seen: Position, json: bool) -> anyhow::Result<()> {
    let after = Some(seen).filter(|seen| *seen > 0);
    let mut scan = Scan::open(store, filter.clone(), Direction::OldestFirst, after).await?;
    while let Some(rows) = scan.next(usize::MAX).await? {
        let mut out = BufWriter::new(std::io::stdout().lock());
        for row in &rows {
            if json {
                line::write(&mut out, row)?;
                writeln!(out)?;
            } else {
                let (at, kind, stream) = (output::time(row.recorded_at), &row.event_type, row.stream);
                writeln!(out, "{} {at} {kind} {stream} {}", row.position, line::shortened(&row.payload))?;
            }
        }
        out.flush()?;
    }
    Ok(())
}
