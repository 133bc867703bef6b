//! `tiffin replay`: a log and all its views from an export, in a folder of their own.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context;
use serde_json::json;
use store::export::Verified;

use crate::{
    cli::events::events_bar,
    config::{Config, StoreAddress},
    output,
    progress::{Bar, Progress},
    wiring,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// An export, as `tiffin events export` writes it
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// A new folder, or one of an earlier replay of the same log, which is gone on with
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let Args { from, into } = args;
    let bar = Arc::new(Bar::new());
    let verified = Verified::read(&from, events_bar(&bar, "verifying"))
        .await
        .with_context(|| format!("{} is not replayed, and nothing was written", from.display()))?;
    let place = Config { store: StoreAddress::Sqlite(into.clone()), ..config.clone() };
    let (store, _) = wiring::open_log(&place).await?;
    let imported = verified
        .import(&*store, events_bar(&bar, "importing"))
        .await
        .with_context(|| format!("{} is not replayed into {}", from.display(), into.display()))?;
    let folded = wiring::fold_views(Arc::clone(&store), &into, |at| {
        bar.show(Progress::new(format!("folding {}", at.projection), at.position, Some(at.head)));
    });
    let folded = folded.await?;
    drop(bar);
    let address = place.store.to_string();
    if config.json {
        output::json_line(&json!({
            "log": verified.header.log, "events": imported.head, "views_at": folded, "digest": verified.manifest.digest,
            "store": address,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (events, folded) = (output::count(imported.head), output::count(folded));
    output::line(format_args!(
        "{events} events are in {}, and its views show them up to event {folded}.",
        into.display()
    ))?;
    output::line(format_args!("Read them with `tiffin balances --store {address}`, or check them with `verify`."))?;
    Ok(ExitCode::SUCCESS)
}
