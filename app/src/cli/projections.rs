//! `tiffin projections`.

use std::process::ExitCode;

use projections::Health;
use serde_json::{Value, json};

use crate::{
    admin_socket::{self, AdminRequest},
    config::Config,
    output,
    wiring::Reading,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// How far each view has come
    List,
    /// Fold views anew from the log and then put them in place of the live ones
    Rebuild {
        /// Which ones; all, if none is named
        #[arg(value_name = "PROJECTION")]
        projections: Vec<String>,
    },
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List => list(config).await,
        Command::Rebuild { projections } => rebuild(projections, config).await,
    }
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Sound => "sound",
        Health::Failed => "failed",
        Health::Paused => "paused",
    }
}

async fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let reading = Reading::open(config).await?;
    let builds = reading.views().await?.builds().await?;
    let head = reading.store.head().await?;
    if config.json {
        let builds: Vec<Value> = builds
            .iter()
            .map(|build| {
                json!({
                    "projection": build.projection, "version": build.version, "build": build.build,
                    "live": build.live, "position": build.position, "health": health(build.health),
                    "error": build.error,
                })
            })
            .collect();
        output::json_line(&json!({ "head": head, "projections": builds }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["projection", "version", "build", "state", "position", "behind", "health"]);
    for build in &builds {
        let health = match &build.error {
            Some(error) => format!("{}: {error}", health(build.health)),
            None => health(build.health).to_owned(),
        };
        table.add_row([
            build.projection.clone(),
            build.version.to_string(),
            build.build.to_string(),
            if build.live { "live" } else { "building" }.to_owned(),
            output::count(build.position),
            output::count(head.saturating_sub(build.position)),
            health,
        ]);
    }
    output::right(&mut table, &[1, 2, 4, 5]);
    output::line(table)?;
    output::line(format_args!("The log stands at event {}.", output::count(head)))?;
    Ok(ExitCode::SUCCESS)
}

async fn rebuild(projections: Vec<String>, config: &Config) -> anyhow::Result<ExitCode> {
    if config.store.folder().is_none() {
        return Err(crate::config::usage("views in memory are gone with their process; use --store sqlite:DIR"));
    }
    let answer = admin_socket::carry_out(config, AdminRequest::Rebuild { projections }).await?;
    if config.json {
        output::json_line(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    for build in answer["rebuilt"].as_array().into_iter().flatten() {
        let name = build["projection"].as_str().unwrap_or_default();
        let position = output::count(build["position"].as_u64().unwrap_or_default());
        output::line(format_args!("{name} was folded anew up to event {position} and is live."))?;
    }
    Ok(ExitCode::SUCCESS)
}
