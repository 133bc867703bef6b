//! `tiffin projections park`: events that a view could not take.

use std::process::ExitCode;

use anyhow::bail;
use domain::{StreamId, StreamKind, TenantId};
use projections::{Dropped, Parked, Views};
use serde_json::{Value, json};
use store::Position;
use uuid::Uuid;

use super::{rebuild, rebuilt, show_rebuilt, work};
use crate::{
    config::{Config, usage},
    output,
    upkeep::{ViewsWork, operator},
    wiring::Reading,
};

/// Longest reason, in characters.
const MAX_REASON: usize = 500;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List them, the oldest first, at most a thousand of a projection
    List {
        /// Of these alone
        #[arg(value_name = "PROJECTION")]
        projections: Vec<String>,
        /// Those that somebody decided to do without, instead
        #[arg(long)]
        dropped: bool,
    },
    /// Try them again, once program or data are repaired: folds the views anew; exits with 1 if any is parked again
    Replay {
        #[arg(value_name = "PROJECTION", required = true)]
        projections: Vec<String>,
    },
    /// Do without a stream's parked events for good, in later builds too
    Drop(DropArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct DropArgs {
    #[arg(value_name = "PROJECTION")]
    projection: String,
    /// The stream whose parked events are dropped
    #[arg(long, value_name = "KIND:UUID", required_unless_present = "position", conflicts_with = "position")]
    stream: Option<String>,
    /// One of the stream's parked events
    #[arg(long, value_name = "POSITION")]
    position: Option<Position>,
    /// Whose stream it is, where several tenants have one of that name
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    /// Why; it is kept with who did it and when
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(super) async fn run(command: Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { projections, dropped: false } => list(&projections, config).await,
        Command::List { projections, dropped: true } => list_dropped(&projections, config).await,
        Command::Replay { projections } => replay(projections, config).await,
        Command::Drop(args) => drop_parked(args, config).await,
    }
}

async fn views(config: &Config) -> anyhow::Result<Views> {
    Reading::open(config).await?.views().await
}

async fn list(projections: &[String], config: &Config) -> anyhow::Result<ExitCode> {
    let views = views(config).await?;
    let parked = views.parked(projections).await?;
    if config.json {
        let parked: Vec<Value> = parked.iter().map(as_json).collect();
        output::json_line(&json!({ "parked": parked }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if parked.is_empty() {
        output::line("Nothing is parked.")?;
        return Ok(ExitCode::SUCCESS);
    }
    show(&parked)?;
    let all: u64 = views
        .builds()
        .await?
        .iter()
        .filter(|it| it.live && wanted(projections, &it.projection))
        .map(|it| it.parked)
        .sum();
    output::line(format_args!(
        "{} of {} parked events are shown.",
        output::count(parked.len() as u64),
        output::count(all)
    ))?;
    output::line("Repair what is wrong and `park replay` them, or `park drop` a stream's with a reason.")?;
    Ok(ExitCode::SUCCESS)
}

fn wanted(projections: &[String], name: &str) -> bool {
    projections.is_empty() || projections.iter().any(|wanted| wanted == name)
}

fn show(parked: &[Parked]) -> anyhow::Result<()> {
    let mut table = output::table(["projection", "position", "type", "stream", "tenant", "parked at", "why"]);
    for it in parked {
        table.add_row([
            it.projection.clone(),
            it.position.to_string(),
            it.event.clone(),
            it.stream_id().to_string(),
            it.tenant.to_string(),
            output::time(it.parked_at),
            it.error.clone(),
        ]);
    }
    output::right(&mut table, &[1]);
    output::line(table)
}

fn as_json(it: &Parked) -> Value {
    json!({
        "projection": it.projection, "version": it.version, "build": it.build, "position": it.position,
        "tenant": it.tenant, "stream": it.stream_id().to_string(), "stream_version": it.stream_version,
        "type": it.event, "error": it.error, "parked_at": it.parked_at.to_string(),
    })
}

async fn list_dropped(projections: &[String], config: &Config) -> anyhow::Result<ExitCode> {
    let views = views(config).await?;
    let mut names: Vec<String> = projections.to_vec();
    if names.is_empty() {
        names = views.builds().await?.into_iter().map(|build| build.projection).collect();
        names.dedup();
    }
    let mut dropped: Vec<Dropped> = Vec::new();
    for name in &names {
        dropped.extend(views.dropped(name).await?);
    }
    let stream = |it: &Dropped| StreamId { tenant: it.tenant, kind: it.kind, key: it.stream }.to_string();
    if config.json {
        let one = |it: &Dropped| {
            json!({
                "projection": it.projection, "position": it.position, "tenant": it.tenant, "stream": stream(it),
                "type": it.event, "error": it.error, "reason": it.reason, "dropped_by": it.dropped_by,
                "dropped_at": it.dropped_at.to_string(),
            })
        };
        output::json_line(&json!({ "dropped": dropped.iter().map(one).collect::<Vec<_>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if dropped.is_empty() {
        output::line("Nothing was dropped.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["projection", "position", "type", "stream", "error", "dropped at", "by", "reason"]);
    for it in &dropped {
        table.add_row([
            it.projection.clone(),
            it.position.to_string(),
            it.event.clone(),
            stream(it),
            it.error.clone(),
            output::time(it.dropped_at),
            it.dropped_by.clone(),
            it.reason.clone(),
        ]);
    }
    output::right(&mut table, &[1]);
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}

async fn replay(projections: Vec<String>, config: &Config) -> anyhow::Result<ExitCode> {
    let Some(mut answer) = rebuild(projections.clone(), false, config).await? else { return Ok(ExitCode::FAILURE) };
    let still = rebuilt(&answer).any(|build| build["parked"].as_u64().is_some_and(|parked| parked > 0));
    let parked = if still { views(config).await?.parked(&projections).await? } else { Vec::new() };
    if config.json {
        answer["parked"] = parked.iter().map(as_json).collect();
        output::json_line(&answer)?;
    } else {
        show_rebuilt(&answer, config)?;
        if still {
            show(&parked)?;
        } else {
            output::line("Nothing is parked any more.")?;
        }
    }
    Ok(ExitCode::from(u8::from(still)))
}

async fn drop_parked(args: DropArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let DropArgs { projection, stream, position, tenant, reason } = args;
    let reason = reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(usage(format!("--reason says why in 1 to {MAX_REASON} characters")));
    }
    let named = stream.as_deref().map(read_stream).transpose()?;
    let parked = views(config).await?.parked(std::slice::from_ref(&projection)).await?;
    let stream = find(&parked, named, position, tenant)?;
    let asked = ViewsWork::DropParked {
        projection: projection.clone(),
        tenant: stream.tenant,
        kind: stream.kind.name().to_owned(),
        key: stream.key,
        reason,
        by: operator(),
    };
    let answer = work(asked, config).await?;
    if config.json {
        output::json_line(&answer)?;
    } else {
        let count = output::count(answer["dropped"].as_u64().unwrap_or_default());
        output::line(format_args!("{projection} does without {count} events of {stream}, from now on."))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read_stream(text: &str) -> anyhow::Result<(StreamKind, Uuid)> {
    let read = text.split_once(':').and_then(|(kind, key)| Some((kind.parse().ok()?, key.parse().ok()?)));
    read.ok_or_else(|| {
        let kinds = StreamKind::ALL.map(StreamKind::name).join(", ");
        usage(format!("--stream is KIND:UUID, as `park list` shows it; kinds are {kinds}"))
    })
}

/// The one stream that is meant, among those with parked events.
fn find(
    parked: &[Parked],
    named: Option<(StreamKind, Uuid)>,
    position: Option<Position>,
    tenant: Option<TenantId>,
) -> anyhow::Result<StreamId> {
    let meant = |it: &&Parked| {
        named.is_none_or(|(kind, key)| (it.kind, it.stream) == (kind, key))
            && position.is_none_or(|position| it.position == position)
            && tenant.is_none_or(|tenant| it.tenant == tenant)
    };
    let mut streams: Vec<StreamId> = parked.iter().filter(meant).map(Parked::stream_id).collect();
    streams.sort();
    streams.dedup();
    match streams.as_slice() {
        [stream] => Ok(*stream),
        [] => bail!("no such event is parked; `tiffin projections park list` names them"),
        _ => Err(usage("several tenants have a stream of that name parked; say whose with --tenant")),
    }
}
