//! `tiffin events export`.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

use anyhow::Context;
use serde_json::json;
use store::{EventStore, Position};

use crate::{
    config::usage,
    output,
    progress::{Bar, Progress},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to; - is stdout
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// From this position on, to continue a copy that has what lies before
    #[arg(long, value_name = "POSITION", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    from: Position,
    /// Up to and with this position
    #[arg(long, value_name = "POSITION")]
    to: Option<Position>,
}

impl Args {
    /// Refuses a span that ends before it begins.
    pub fn check(&self) -> anyhow::Result<()> {
        match self.to {
            Some(to) if to < self.from => {
                Err(usage(format!("--from {} lies behind --to {to}; give them the other way round", self.from)))
            }
            _ => Ok(()),
        }
    }
}

pub async fn run(args: Args, store: &dyn EventStore, json: bool) -> anyhow::Result<()> {
    let Args { file, from, to } = args;
    let head = store.head().await?;
    // One behind the end is an export of nothing: it says that a copy lacks nothing.
    if from > head + 1 {
        return Err(usage(format!("--from {from} lies behind the log's end: it stands at event {head}")));
    }
    let to_file = file.as_os_str() != "-";
    let failed =
        || format!("the export to {} failed", if to_file { file.display().to_string() } else { "stdout".into() });
    let target: Box<dyn Write + Send> = if to_file {
        let path = file.clone();
        let created =
            tokio::task::spawn_blocking(move || File::create(path)).await.context("the file's opening broke off")?;
        Box::new(created.with_context(failed)?)
    } else {
        Box::new(std::io::stdout())
    };
    let bar = Bar::new();
    let out = BufWriter::with_capacity(1 << 20, target);
    let progress = |done, total| bar.show(Progress::new("exporting", done, Some(total)));
    let manifest = store::export::export(store, (from, to), out, progress).await.with_context(failed)?;
    drop(bar);
    match (to_file, json) {
        (false, _) => Ok(()),
        (true, true) => output::json_line(&json!({
            "file": file, "count": manifest.count, "first": manifest.first, "last": manifest.last,
            "digest": manifest.digest, "sealed": manifest.sealed,
        })),
        (true, false) => {
            let (count, sealed) =
                (output::count(manifest.count), if manifest.sealed { ", to the log's sealed end" } else { "" });
            output::line(format_args!("{count} events were written to {}{sealed}.", file.display()))
        }
    }
}
