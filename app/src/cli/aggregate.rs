//! `tiffin aggregate`: what a thing is or was, folded from its events.

use std::{
    io::{BufWriter, Write},
    process::ExitCode,
    str::FromStr,
};

use domain::{AccountId, Aggregate, StreamId, StreamKind, TenantId, Timestamp, account::Account};
use serde_json::{Value, json};
use store::{
    EventRow, EventStore, Version,
    history::{self, At, Change, Folded, Step, Steps, kinds, parse_kind, parse_stream, parse_time, parse_uuid},
};
use uuid::Uuid;

use crate::{
    cli::tenant::tenant_of,
    config::{Config, usage},
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
    /// Show a thing's state at a moment, or what each of its events changed
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Show {
    #[arg(value_name = "KIND", help = format!("What it is: {}; or KIND:UUID at once, as the books name accounts", kinds()))]
    kind: String,
    /// Its UUID: a menu's is its canteen's, a payment's its order's, a wallet's its diner's
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Whose it is; found out if it is not said
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    /// When: VERSION, position:N, a business TIME, or recorded:TIME for what was known then; now if
    /// it is not said
    #[arg(long, value_name = "MOMENT", default_value = "latest", hide_default_value = true)]
    at: Moment,
    /// What changed after this moment, instead of the whole state
    #[arg(long, value_name = "MOMENT")]
    since: Option<Moment>,
    /// What each event changed
    #[arg(long)]
    diff: bool,
}

/// A moment as it is written on the command line.
#[derive(Clone, Copy, Debug)]
struct Moment(At);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = |text| parse_time("time", text);
        let wrong = "a moment is VERSION, position:N, a TIME, recorded:TIME or latest";
        let number = |text: &str| text.parse().map_err(|_| wrong.to_owned());
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let at = match text.split_once(':') {
            None if text == "latest" => At::Latest,
            None if digits(text) => At::Version(number(text)?),
            Some(("version", version)) => At::Version(number(version)?),
            Some(("position", position)) => At::Position(number(position)?),
            Some(("occurred", at)) => At::Occurred(time(at).map_err(|error| error.why)?),
            Some(("recorded", at)) => At::Recorded(time(at).map_err(|error| error.why)?),
            _ => At::Occurred(time(text).map_err(|_| format!("{wrong}, with a TIME such as 2026-11-23T04:00:00Z"))?),
        };
        Ok(Moment(at))
    }
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let Command::Show(show) = args.command;
    let (kind, key) = named(&show.kind, show.id.as_deref()).map_err(usage)?;
    let store = Reading::open(config).await?.store;
    let store = &*store;
    let tenant = tenant_of(store, show.tenant, &[kind], key).await?;
    let stream = StreamId { tenant, kind, key };
    let now = Timestamp::from(jiff::Timestamp::now());
    match (show.diff, show.since) {
        (true, since) => each_change(store, stream, since, show.at, now, config.json).await?,
        (false, Some(since)) => change(store, stream, (since, show.at), now, config.json).await?,
        (false, None) => {
            let folded = history::state_at(store, stream, show.at.0, now).await?;
            if config.json { output::json_line(&whole(&folded))? } else { write(&folded)? }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Which stream is meant by the two words.
fn named(kind: &str, id: Option<&str>) -> Result<(StreamKind, Uuid), String> {
    match id {
        None if kind.contains(':') => parse_stream(kind).map_err(|error| error.to_string()),
        None => Err(format!("say which {kind} is meant: its UUID, or {kind}:UUID")),
        Some(id) if kind == "account" => {
            let account: AccountId = id.parse().map_err(|error: domain::NotAnAccount| error.to_string())?;
            Ok(Account::stream_key(account))
        }
        Some(id) => {
            let kind = parse_kind(kind).map_err(|error| error.to_string())?;
            let key = id.strip_prefix(kind.name()).and_then(|rest| rest.strip_prefix(':')).unwrap_or(id);
            Ok((kind, parse_uuid("id", key).map_err(|error| error.to_string())?))
        }
    }
}

fn event(row: &EventRow) -> Value {
    json!({
        "version": row.version, "position": row.position, "type": *row.event_type, "command": row.metadata.command,
        "actor": row.metadata.actor, "occurred_at": row.occurred_at, "recorded_at": row.recorded_at,
    })
}

fn whole(folded: &Folded) -> Value {
    json!({
        "tenant": folded.stream.tenant, "stream": folded.stream.to_string(), "version": folded.last.version,
        "position": folded.last.position, "last": event(&folded.last), "state": folded.state,
    })
}

fn write(folded: &Folded) -> anyhow::Result<()> {
    let last = &folded.last;
    let lines = [
        ("stream", folded.stream.to_string()),
        ("tenant", folded.stream.tenant.to_string()),
        ("version", last.version.to_string()),
        ("last event", format!("{}, {}", last.position, last.event_type)),
        ("occurred at", last.occurred_at.to_string()),
        ("recorded at", last.recorded_at.to_string()),
        ("state", serde_json::to_string_pretty(&folded.state)?),
    ];
    for (name, value) in lines {
        output::line(format_args!("{name:12} {value}"))?;
    }
    Ok(())
}

/// What differs between two moments.
async fn change(
    store: &dyn EventStore,
    stream: StreamId,
    (since, at): (Moment, Moment),
    now: Timestamp,
    json: bool,
) -> anyhow::Result<()> {
    let old = history::state_at(store, stream, since.0, now).await?;
    let new = history::state_at(store, stream, at.0, now).await?;
    ordered(old.last.version, new.last.version)?;
    let changes = history::changes(&old.state, &new.state);
    if json {
        return output::json_line(&json!({
            "tenant": stream.tenant, "stream": stream.to_string(), "since": event(&old.last), "at": event(&new.last),
            "changes": changes.iter().map(change_json).collect::<Vec<_>>(),
        }));
    }
    output::line(format_args!("{stream} from version {} to {}", old.last.version, new.last.version))?;
    let mut out = std::io::stdout().lock();
    write_changes(&mut out, &changes)
}

fn ordered(since: Version, at: Version) -> anyhow::Result<()> {
    if since > at {
        return Err(usage(format!("--since is version {since}, behind --at, which is version {at}: turn them round")));
    }
    Ok(())
}

/// What each event changed, one after the other.
async fn each_change(
    store: &dyn EventStore,
    stream: StreamId,
    since: Option<Moment>,
    at: Moment,
    now: Timestamp,
    json: bool,
) -> anyhow::Result<()> {
    let mut steps = Steps::open(store, stream, at.0, now).await?;
    if let Some(since) = since {
        let since = Steps::open(store, stream, since.0, now).await?.until();
        ordered(since, steps.until())?;
        steps.skip_to(since).await?;
    }
    let mut separator = "";
    if json {
        let (tenant, stream) = (json!(stream.tenant), json!(stream.to_string()));
        output::part(format_args!("{{\"tenant\":{tenant},\"stream\":{stream},\"steps\":["))?;
    }
    while let Some(Step { event: row, changes }) = steps.next().await? {
        let mut out = BufWriter::new(std::io::stdout().lock());
        if json {
            let mut step = event(&row);
            step["changes"] = changes.iter().map(change_json).collect();
            write!(out, "{separator}{step}")?;
            separator = ",";
        } else {
            let (position, at) = (output::count(row.position), output::time(row.occurred_at));
            writeln!(out, "version {}, event {position}, {at}: {}", row.version, row.event_type)?;
            write_changes(&mut out, &changes)?;
        }
        out.flush()?;
    }
    if json { output::line("]}") } else { Ok(()) }
}

/// A side that is not there is left out; null is a value.
fn change_json(change: &Change) -> Value {
    let mut shown = json!({ "path": change.path });
    for (side, value) in [("old", &change.old), ("new", &change.new)] {
        if let Some(value) = value {
            shown[side] = value.clone();
        }
    }
    shown
}

fn write_changes(out: &mut impl Write, changes: &[Change]) -> anyhow::Result<()> {
    if changes.is_empty() {
        writeln!(out, "  nothing")?;
    }
    for Change { path, old, new } in changes {
        let path = if path.is_empty() { "/" } else { path };
        match (old, new) {
            (Some(old), Some(new)) => writeln!(out, "  {path}: {old} → {new}")?,
            (None, Some(new)) => writeln!(out, "  {path}: + {new}")?,
            (Some(old), None) => writeln!(out, "  {path}: - {old}")?,
            (None, None) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_named_in_the_ways_that_people_know_it() {
        let key = Uuid::from_u128(7);
        let wallet = Ok((StreamKind::Wallet, key));
        assert_eq!(named("wallet", Some(&key.to_string())), wallet);
        assert_eq!(named("wallet", Some(&format!("wallet:{key}"))), wallet);
        assert_eq!(named("account", Some(&format!("wallet:{key}"))), wallet);
        assert_eq!(named(&format!("wallet:{key}"), None), wallet);
        for (kind, id, says) in [
            ("purse", Some("7"), "menu, serving, order"),
            ("order", None, "order:UUID"),
            ("order", Some("7"), "\"7\" is not a UUID"),
            ("order", Some("wallet:00000000-0000-0000-0000-000000000007"), "is not a UUID"),
            ("account", Some("00000000-0000-0000-0000-000000000007"), "wallet:ID"),
            ("order:7", None, "not a UUID"),
        ] {
            let error = named(kind, id).unwrap_err();
            assert!(error.contains(says), "{kind} {id:?}: {error}");
        }
    }

    #[test]
    fn a_moment_is_a_version_a_position_or_a_time() {
        let at = |text: &str| text.parse::<Moment>().map(|moment| moment.0);
        let noon = Timestamp::from_seconds(1_795_435_200);
        assert_eq!(at("3"), Ok(At::Version(3)));
        assert_eq!(at("version:3"), Ok(At::Version(3)));
        assert_eq!(at("position:30"), Ok(At::Position(30)));
        assert_eq!(at(&noon.to_string()), Ok(At::Occurred(noon)));
        assert_eq!(at(&format!("recorded:{noon}")), Ok(At::Recorded(noon)));
        assert_eq!(at(&format!("occurred:{noon}")), Ok(At::Occurred(noon)));
        assert_eq!(at("latest"), Ok(At::Latest));
        for text in ["", "-1", "noon", "position:x", "99999999999999999999", "recorded:", "2026-11-23T04:00:00"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
