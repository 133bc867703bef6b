//! `tiffin events`: the log itself.

mod export;
mod filter;
mod import;
mod line;
mod list;
mod seal;
mod show;
mod stats;
mod tail;
mod tree;

use std::{process::ExitCode, sync::Arc};

use store::EventStore;

pub(crate) use import::events_bar;

use crate::{
    config::{Config, StoreAddress, usage},
    wiring::{Reading, open_log},
};

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
    /// Write the log as JSON Lines: a header, one event a line, a manifest. The same log gives the same bytes
    Export(export::Args),
    /// Take an export into an empty log, or into the copy that it continues; nothing is written of a bad one
    Import(import::Args),
    /// Seal the log, since it moves to another store: it takes nothing any more
    Seal(seal::SealArgs),
    /// Make a copy the log that counts, once its origin is sealed
    TakeOver(seal::TakeOverArgs),
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
        Command::Export(args) => {
            args.check()?;
            export::run(args, &*Reading::open(config).await?.store, config.json).await?;
        }
        Command::Import(args) => import::run(args, config).await?,
        Command::Seal(args) => return seal::seal(args, config).await,
        Command::TakeOver(args) => return seal::take_over(args, config).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// The log, to be changed by this process alone or, where it is shared, beside others.
async fn writable(config: &Config) -> anyhow::Result<Arc<dyn EventStore>> {
    if config.store == StoreAddress::Memory {
        return Err(usage("a log in memory is gone when its process ends; use --store sqlite:DIR"));
    }
    Ok(open_log(config).await?.0)
}
