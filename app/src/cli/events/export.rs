//! `tiffin events export`.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
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
    let bar = Bar::new();
    let progress = |done, total| bar.show(Progress::new("exporting", done, Some(total)));
    let manifest = if to_file {
        let part = Part::create(&file).await.with_context(failed)?;
        let manifest = store::export::export(store, (from, to), buffered(part.file()?), progress).await;
        let manifest = manifest.with_context(failed)?;
        part.keep().await.with_context(failed)?;
        manifest
    } else {
        store::export::export(store, (from, to), buffered(io::stdout()), progress).await.with_context(failed)?
    };
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

fn buffered<W: io::Write>(out: W) -> BufWriter<W> {
    BufWriter::with_capacity(1 << 20, out)
}

/// An export on its way: `FILE.part`, until all of it is on the disk. An older export stays until then, and one that
/// breaks off leaves nothing that could be taken for a whole one.
struct Part {
    part: PathBuf,
    file: PathBuf,
    written: File,
    kept: bool,
}

impl Part {
    async fn create(file: &Path) -> anyhow::Result<Part> {
        // What is there and is no file, as a pipe or a device, is written to as it stands.
        let (at_once, file) = (fs::metadata(file).is_ok_and(|there| !there.is_file()), file.to_owned());
        let mut part = file.clone().into_os_string();
        if !at_once {
            part.push(".part");
        }
        let part = PathBuf::from(part);
        let path = part.clone();
        let created = tokio::task::spawn_blocking(move || File::create(path)).await;
        Ok(Part { part, file, written: created.context("the file's opening broke off")??, kept: at_once })
    }

    fn file(&self) -> io::Result<File> {
        self.written.try_clone()
    }

    /// Has the disk take it, and puts it in its place.
    async fn keep(mut self) -> anyhow::Result<()> {
        if self.kept {
            return Ok(());
        }
        let (part, file, written) = (self.part.clone(), self.file.clone(), self.written.try_clone()?);
        let kept = tokio::task::spawn_blocking(move || {
            written.sync_all()?;
            fs::rename(part, &file)?;
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        });
        kept.await.context("the file's end broke off")??;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // It has the name of a part; whoever wants the room finds it.
            let _ = fs::remove_file(&self.part);
        }
    }
}
