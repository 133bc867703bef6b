//! `tiffin projections`: how the views are, and what is done to them.

mod list;
mod park;

use std::process::ExitCode;

use serde_json::Value;

use crate::{
    admin_socket::{self, AdminRequest},
    config::Config,
    output,
    upkeep::ViewsWork,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// How far each view has come, how it is, and what it lacks
    List,
    /// Fold views anew from the log, beside the live ones, and then put them in their place
    Rebuild(Rebuild),
    /// Let projections wait where they stand; what they show stays, and gets old
    Pause {
        #[arg(value_name = "PROJECTION", required = true)]
        projections: Vec<String>,
    },
    /// Let paused projections go on
    Resume {
        #[arg(value_name = "PROJECTION", required = true)]
        projections: Vec<String>,
    },
    /// Events that a view could not take, with those of the same stream behind them
    #[command(subcommand)]
    Park(park::Command),
}

#[derive(Debug, clap::Args)]
struct Rebuild {
    /// Which ones
    #[arg(value_name = "PROJECTION", required_unless_present = "all", conflicts_with = "all")]
    projections: Vec<String>,
    /// All of them, in one pass over the log
    #[arg(long)]
    all: bool,
    /// Compare each with the live one first, and exit with 1 on a difference; the new one goes live in any case
    #[arg(long)]
    compare: bool,
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List => list::list(config).await,
        Command::Rebuild(Rebuild { projections, all: _, compare }) => {
            let Some(answer) = rebuild(projections, compare, config).await? else { return Ok(ExitCode::FAILURE) };
            show_rebuilt(&answer, config)
        }
        Command::Pause { projections } => {
            let answer = work(ViewsWork::Pause { projections: projections.clone() }, config).await?;
            let done = format!("{} waits where it stands, and is shown as it is.", projections.join(", "));
            told(&answer, &done, config)
        }
        Command::Resume { projections } => {
            let answer = work(ViewsWork::Resume { projections: projections.clone() }, config).await?;
            told(&answer, &format!("{} goes on.", projections.join(", ")), config)
        }
        Command::Park(command) => park::run(command, config).await,
    }
}

/// Has it done by whoever holds the views, or right here.
async fn work(work: ViewsWork, config: &Config) -> anyhow::Result<Value> {
    admin_socket::carry_out(config, AdminRequest::Views { work }).await
}

fn told(answer: &Value, done: &str, config: &Config) -> anyhow::Result<ExitCode> {
    if config.json {
        output::json_line(answer)?
    } else {
        output::line(done)?
    }
    Ok(ExitCode::SUCCESS)
}

/// Nothing when somebody stopped watching it.
async fn rebuild(projections: Vec<String>, compare: bool, config: &Config) -> anyhow::Result<Option<Value>> {
    let rebuilding = work(ViewsWork::Rebuild { projections, compare }, config);
    tokio::select! {
        answer = rebuilding => answer.map(Some),
        _ = tokio::signal::ctrl_c() => {
            output::note(
                "\ntiffin: no longer watched. A server goes on with the rebuild; without one, the next start or the \
                 next work on these views does. `tiffin projections list` shows how far it is",
            );
            Ok(None)
        }
    }
}

fn rebuilt(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["rebuilt"].as_array().into_iter().flatten()
}

/// Whether a comparison was asked for and did not find both the same.
fn differs(build: &Value) -> bool {
    let same = |found: &str| found.starts_with("equal to") || found.starts_with("there was no live build");
    build["compared"].as_str().is_some_and(|found| !same(found))
}

fn show_rebuilt(answer: &Value, config: &Config) -> anyhow::Result<ExitCode> {
    if config.json {
        output::json_line(answer)?;
    } else {
        for build in rebuilt(answer) {
            let name = build["projection"].as_str().unwrap_or_default();
            let position = output::count(build["position"].as_u64().unwrap_or_default());
            output::line(format_args!("{name} was folded anew up to event {position} and is live."))?;
            if let Some(found) = build["compared"].as_str() {
                output::line(format_args!("  compared: {found}"))?;
            }
            if let Some(since) = build["incomplete_since"].as_u64() {
                let parked = output::count(build["parked"].as_u64().unwrap_or_default());
                output::line(format_args!("  INCOMPLETE since event {since}: {parked} events are parked"))?;
            }
        }
    }
    Ok(ExitCode::from(u8::from(rebuilt(answer).any(differs))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_compared_can_differ() {
        let found = |compared: Value| differs(&json!({ "compared": compared }));
        assert!(!found(Value::Null) && !found(json!("equal to the live build, 3 rows")));
        assert!(!found(json!("there was no live build to compare with")));
        assert!(found(json!("view menu, table dishes__v1_b1: the live build had a=1, this one has a=2")));
        assert!(found(json!("not compared: the live build stands at event 7")));
    }
}
