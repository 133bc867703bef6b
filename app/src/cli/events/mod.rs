//! `tiffin events`: the log itself.

mod export;
mod filter;
mod line;
mod list;
mod show;
mod stats;
mod tail;
mod tree;

use std::process::ExitCode;

use crate::{config::Config, wiring::Reading};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List events, the oldest first
    List(list::Args),
    /// Show one event whole
    Show(show::Args),
    /// Show all that belongs to one matter, each command under the one that caused it
    Tree(tree::Args),
    /// Show events as they come, until interrupted
    Tail(tail::Args),
    /// Count events by type, kind of stream, tenant and day
    Stats(stats::Args),
    /// Write events as JSON Lines: a manifest, then one event a line, payloads as they were recorded
    Export(export::Args),
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    // A wrong filter is refused before anything is opened.
    match args.command {
        Command::List(mut args) => {
            let filter = std::mem::take(&mut args.filter).read()?;
            list::run(args, &filter, &*Reading::open(config).await?.store, config.json).await?;
        }
        Command::Show(args) => show::run(args, &*Reading::open(config).await?.store, config.json).await?,
        Command::Tree(args) => tree::run(args, &*Reading::open(config).await?.store, config.json).await?,
        Command::Tail(mut args) => {
            let filter = std::mem::take(&mut args.filter).read()?;
            tail::run(args, filter, &*Reading::open(config).await?.store, config.json).await?;
        }
        Command::Stats(args) => {
            let filter = args.filter.read()?;
            stats::run(&filter, &*Reading::open(config).await?.store, config.json).await?;
        }
        Command::Export(mut args) => {
            let filter = std::mem::take(&mut args.filter).read()?;
            export::run(args, filter, &*Reading::open(config).await?.store, config.json).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
