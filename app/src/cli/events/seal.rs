//! `tiffin events seal` and `tiffin events take-over`: how a log moves to another store.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::json;
use store::{EventStore, LogState};

use super::writable;
use crate::{
    config::{Config, usage},
    output,
};

#[derive(Debug, clap::Args)]
pub struct SealArgs {
    /// Yes, this log shall take nothing any more
    #[arg(long)]
    yes: bool,
    /// Open a sealed log again: only while no copy of it was taken over
    #[arg(long)]
    undo: bool,
}

#[derive(Debug, clap::Args)]
pub struct TakeOverArgs {
    /// The origin is gone for good, so that nobody can seal it. Events that the copy lacks are lost
    #[arg(long)]
    origin_is_dead: bool,
}

pub async fn seal(args: SealArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let (from, to) = if args.undo { (LogState::Sealed, LogState::Open) } else { (LogState::Open, LogState::Sealed) };
    if !args.yes {
        return Err(usage(if args.undo {
            "two logs that both take events can never be one again: say --yes if no copy of this one was taken over"
        } else {
            "a sealed log takes nothing any more: no order, no import, no refund. Say --yes if its copy shall go on"
        }));
    }
    let store = writable(config).await?;
    let state = store.state().await?;
    if state != to {
        match state {
            LogState::Copy | LogState::Complete => bail!("this log is a copy and takes nothing: seal its origin"),
            _ => {}
        }
        debug_assert_eq!(state, from);
        store.set_state(to).await?;
    }
    let head = said(&*store, config).await?;
    if config.json {
        return Ok(ExitCode::SUCCESS);
    }
    let head = output::count(head);
    output::line(if args.undo {
        format!("The log is open and stands at event {head}.")
    } else {
        format!(
            "The log is sealed at event {head}. Export what its copy lacks (`tiffin events export --from`), import it \
             there, and take the copy over."
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

pub async fn take_over(args: TakeOverArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let store = writable(config).await?;
    match store.state().await? {
        LogState::Open => {}
        LogState::Complete => store.set_state(LogState::Open).await?,
        LogState::Copy if args.origin_is_dead => store.set_state(LogState::Open).await?,
        LogState::Copy => bail!(
            "the origin of this copy is not known to be sealed, and two logs that both take events can never be one \
             again. Seal the origin (`tiffin events seal`) and import its last export, or say --origin-is-dead"
        ),
        LogState::Sealed => bail!(
            "this log is sealed, since it has moved to another store. If no copy of it was taken over, \
             `tiffin events seal --undo` opens it again"
        ),
    }
    let head = said(&*store, config).await?;
    if !config.json {
        output::line(format_args!("This log counts now. It takes appends from event {} on.", output::count(head + 1)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the log stands; with `--json` that is said, with its state.
async fn said(store: &dyn EventStore, config: &Config) -> anyhow::Result<u64> {
    let head = store.head().await?;
    if config.json {
        let state = store.state().await?.name();
        output::json_line(&json!({ "log": store.identity().log, "state": state, "head": head }))?;
    }
    Ok(head)
}
