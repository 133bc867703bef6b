//! `tiffin events export`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context;
use serde_json::json;
use store::{
    EventRow, EventStore,
    history::{Direction, Filter, Scan, Span},
};

use super::{filter::FilterArgs, line};
use crate::{
    output,
    progress::{Bar, Progress},
};

/// Of the lines that it writes. It rises when a reader of older exports could not read on.
const FORMAT: u32 = 1;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to; stdout if it is not said
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pub filter: FilterArgs,
}

pub async fn run(args: Args, mut filter: Filter, store: &dyn EventStore, json: bool) -> anyhow::Result<()> {
    let head = store.head().await?;
    let from = filter.positions.from.unwrap_or(1).max(1);
    let to = filter.positions.to.unwrap_or(head).min(head);
    filter.positions = Span::default();
    let everything = filter == Filter::default();
    filter.positions = Span { from: Some(from), to: Some(to) };
    let mut count = (to + 1).saturating_sub(from);
    if !everything {
        // The manifest stands first, so what matches is counted before anything is written.
        count = 0;
        each(store, &filter, |_| {
            count += 1;
            Ok(())
        })
        .await?;
    }
    let named = || args.output.as_ref().map_or("stdout".to_owned(), |path| path.display().to_string());
    let failed = || format!("the export to {} failed", named());
    let target: Box<dyn Write + Send> = match &args.output {
        Some(path) => Box::new(File::create(path).with_context(failed)?),
        None => Box::new(std::io::stdout()),
    };
    let mut out = BufWriter::with_capacity(256 * 1024, target);
    let log = store.identity().log;
    let manifest = json!({ "log": log, "from": from, "to": to, "count": count, "format": FORMAT });
    writeln!(out, "{}", json!({ "manifest": manifest })).with_context(failed)?;
    let bar = Bar::new();
    let mut done = 0;
    each(store, &filter, |row| {
        line::write(&mut out, row)?;
        out.write_all(b"\n").with_context(failed)?;
        done += 1;
        if done % 1_000 == 0 {
            bar.show(Progress::new("exporting", done, Some(count)));
        }
        Ok(())
    })
    .await?;
    out.flush().with_context(failed)?;
    drop(bar);
    match args.output {
        Some(path) if json => output::json_line(&json!({ "file": path, "from": from, "to": to, "count": count })),
        Some(path) => output::line(format_args!("{} events were written to {}.", output::count(count), path.display())),
        None => Ok(()),
    }
}

/// Gives every event that the filter takes to `take`, the oldest first.
async fn each(
    store: &dyn EventStore,
    filter: &Filter,
    mut take: impl FnMut(&EventRow) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut scan = Scan::open(store, filter.clone(), Direction::OldestFirst, None).await?;
    while let Some(rows) = scan.next(usize::MAX).await? {
        rows.iter().try_for_each(&mut take)?;
    }
    Ok(())
}
