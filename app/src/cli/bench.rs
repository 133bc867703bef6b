//! `tiffin bench`.

use std::{
    fmt::Display,
    process::{self, ExitCode},
    sync::Arc,
};

use benches::{commands::CommandsArgs, grants::GrantsArgs, orders::OrdersArgs, rebuild::RebuildArgs};
use serde::Serialize;

use crate::{
    config::{Config, StoreAddress},
    output, wiring,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Commands a second on single aggregates, beside a bare insert on the same disk
    Commands(CommandsArgs),
    /// Whole paid orders a second, all views kept up
    Orders(OrdersArgs),
    /// Subsidies: how long a run of grants takes, the same again, and all lots' expiry
    Grants(GrantsArgs),
    /// Events a second into views that are folded anew, beside bare reads and bare inserts
    Rebuild(RebuildArgs),
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    if let Command::Rebuild(RebuildArgs { only_fill: false, .. }) = &args.command
        && config.store != StoreAddress::Memory
    {
        tokio::task::spawn_blocking(fill_apart).await??;
    }
    let (store, syncs) = wiring::open_log(config).await?;
    let folder = config.store.folder().map(Into::into);
    let quiet = config.json;
    let tell = Arc::new(move |stage: &str| {
        if !quiet {
            output::note(format_args!("{stage} …"));
        }
    });
    let database = match &config.store {
        StoreAddress::Postgres(url) => Some(url.reveal().to_owned()),
        StoreAddress::Memory | StoreAddress::Sqlite(_) => None,
    };
    let log = benches::Log { store, syncs, folder, database, tell };
    match args.command {
        Command::Commands(args) => show(&benches::commands::run(&args, &log).await?, config),
        Command::Orders(args) => show(&benches::orders::run(&args, &log).await?, config),
        Command::Grants(args) => show(&benches::grants::run(&args, &log).await?, config),
        Command::Rebuild(args) if args.only_fill => {
            benches::rebuild::fill(&args, &log).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Rebuild(args) => show(&benches::rebuild::run(&args, &log).await?, config),
    }
}

/// Makes the log of `bench rebuild` in a process of its own: what that leaves in memory is no rebuild's.
fn fill_apart() -> anyhow::Result<()> {
    let itself = std::env::current_exe()?;
    let filled = process::Command::new(itself).args(std::env::args_os().skip(1)).arg("--only-fill").status()?;
    anyhow::ensure!(filled.success(), "the log could not be made");
    Ok(())
}

fn show(report: &(impl Display + Serialize), config: &Config) -> anyhow::Result<ExitCode> {
    if config.json {
        output::json_line(&serde_json::to_value(report)?)?;
    } else {
        output::line(report)?;
    }
    Ok(ExitCode::SUCCESS)
}
