//! `tiffin projections list`.

use std::{collections::BTreeMap, process::ExitCode};

use commands::{Clock, SystemClock};
use projections::{Build, Health};
use serde_json::{Value, json};
use store::{EventStore, Position};

use crate::{config::Config, output, wiring::Reading};

fn health(health: Health) -> &'static str {
    match health {
        Health::Sound => "sound",
        Health::Paused => "paused",
        Health::Outdated => "outdated",
    }
}

fn state(build: &Build) -> &'static str {
    if build.live { "live" } else { "building" }
}

pub(super) async fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let reading = Reading::open(config).await?;
    let builds = reading.views().await?.builds().await?;
    // After the checkpoints, which it is never behind.
    let head = reading.store.head().await?;
    let lags = Lags::read(&*reading.store, &builds).await?;
    if config.json {
        let builds: Vec<Value> = builds.iter().map(|build| as_json(build, head, &lags)).collect();
        output::json_line(&json!({ "head": head, "projections": builds }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let headings = ["projection", "version", "build", "state", "position", "behind", "lag", "health", "parked"];
    let mut table = output::table(headings);
    for build in &builds {
        let health = match &build.error {
            Some(error) => format!("{}: {error}", health(build.health)),
            None => health(build.health).to_owned(),
        };
        table.add_row([
            build.projection.clone(),
            build.version.to_string(),
            build.build.to_string(),
            state(build).to_owned(),
            output::count(build.position),
            output::count(head.saturating_sub(build.position)),
            format!("{:.1} s", lags.seconds(build)),
            health,
            output::count(build.parked),
        ]);
    }
    output::right(&mut table, &[1, 2, 4, 5, 6, 8]);
    output::line(table)?;
    output::line(format_args!("The log stands at event {}.", output::count(head)))?;
    for build in &builds {
        let name = format!("{} v{} b{}", build.projection, build.version, build.build);
        if let Some(since) = build.incomplete_since {
            output::line(format_args!(
                "{name} is INCOMPLETE since event {since}; `tiffin projections park list {}` says why.",
                build.projection
            ))?;
        }
        if let Some(found) = &build.compared {
            output::line(format_args!("{name} compared: {found}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(build: &Build, head: Position, lags: &Lags) -> Value {
    json!({
        "projection": build.projection, "version": build.version, "build": build.build, "live": build.live,
        "state": state(build), "position": build.position, "behind": head.saturating_sub(build.position),
        "lag_seconds": lags.seconds(build), "health": health(build.health), "error": build.error,
        "parked": build.parked, "incomplete_since": build.incomplete_since, "compared": build.compared,
    })
}

/// How long ago the first event that a build lacks was recorded, in seconds, by the build's position.
struct Lags(BTreeMap<Position, f64>);

impl Lags {
    async fn read(store: &dyn EventStore, builds: &[Build]) -> anyhow::Result<Lags> {
        let now = SystemClock::start().now();
        let mut lags = BTreeMap::new();
        for build in builds {
            if lags.contains_key(&build.position) {
                continue;
            }
            let next = store.read_all(build.position + 1, 1).await?;
            let lag = next.first().map_or(0.0, |row| (now.micros - row.recorded_at.micros).max(0) as f64 / 1e6);
            lags.insert(build.position, lag);
        }
        Ok(Lags(lags))
    }

    fn seconds(&self, build: &Build) -> f64 {
        self.0.get(&build.position).copied().unwrap_or(0.0)
    }
}
