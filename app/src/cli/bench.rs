//! `tiffin bench`.

use std::{fmt::Display, process::ExitCode, sync::Arc};

use benches::{commands::CommandsArgs, orders::OrdersArgs, rebuild::RebuildArgs};
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
    /// Events a second into views that are folded anew, beside bare reads and bare inserts
    Rebuild(RebuildArgs),
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
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
        Command::Rebuild(args) => show(&benches::rebuild::run(&args, &log).await?, config),
    }
}

fn show(report: &(impl Display + Serialize), config: &Config) -> anyhow::Result<ExitCode> {
    if config.json {
        output::json_line(&serde_json::to_value(report)?)?;
    } else {
        output::line(report)?;
    }
    Ok(ExitCode::SUCCESS)
}
