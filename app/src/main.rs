//! `tiffin`, the program.

#![allow(unreachable_pub, reason = "nothing uses a program's modules but the program; `pub` says what each offers")]

mod admin_socket;
mod bookkeeping;
mod cli;
mod config;
mod connections;
mod demo;
mod employing;
mod finance;
mod import;
mod invoicing;
mod ordering;
mod output;
mod people;
mod progress;
mod spreadsheet;
mod stand_in;
mod subsidies;
mod upkeep;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::Cli,
    config::{Config, Usage},
};

/// A command allocates much and briefly, on all threads at once.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// After how many turns of work the network is looked at. A turn can take a third of a millisecond, and whoever comes
/// while there is too much to do should hear so soon: the library's 61 would be too many.
const EVENT_INTERVAL: u32 = 16;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.globals.json;
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(run(cli));
            // A read that nobody waits for any more must not keep the process.
            runtime.shutdown_timeout(std::time::Duration::from_secs(1));
            outcome
        });
    match outcome {
        Ok(code) => code,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if json {
                output::note(serde_json::json!({ "error": { "message": format!("{error:#}") } }));
            } else {
                output::note(format_args!("tiffin: {error:#}"));
            }
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let config = Config::load(&cli.globals)?;
    config::start_logs(&config, cli.command.log_level())?;
    cli.command.run(config).await
}
