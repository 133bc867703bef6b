//! `tiffin events`: the log itself.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use domain::{StreamKind, TenantId};
use serde::Serialize;
use serde_json::json;
use store::{EventRow, EventStore, Position};
use uuid::Uuid;

use crate::{
    config::{Config, usage},
    output,
    progress::{Bar, Progress},
    wiring::Reading,
};

/// Events that are read at once.
const PAGE: usize = 1_000;
/// How often `tail` looks for more.
const LOOK: Duration = Duration::from_millis(200);
/// Longest payload in a table, in characters.
const SHOWN: usize = 48;
/// Of the lines that `export` writes. It rises when a reader of older exports could not read on.
const EXPORT_FORMAT: u32 = 1;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List events, the oldest first
    List {
        #[command(flatten)]
        filter: Filter,
        /// How many at most
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// The last ones instead of the first
        #[arg(long)]
        last: bool,
    },
    /// Show one event whole
    Show { position: Position },
    /// Show events as they come, until interrupted
    Tail {
        #[command(flatten)]
        filter: Filter,
        /// Of how many of the last events to show what matches, before those to come
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        lines: u64,
    },
    /// Write events as JSON Lines: a manifest, then one event a line, payloads as they were recorded
    Export {
        #[command(flatten)]
        filter: Filter,
        /// Where to; stdout if it is not said
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Clone, Debug, clap::Args)]
struct Filter {
    /// Only this stream
    #[arg(long, value_name = "KIND:UUID", value_parser = parse_stream)]
    stream: Option<(StreamKind, Uuid)>,
    /// Only events of this type, such as order.Placed, or of this aggregate, such as order
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only this tenant's
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    /// Only from this position on
    #[arg(long, value_name = "POSITION")]
    from: Option<Position>,
    /// Only up to and with this position
    #[arg(long, value_name = "POSITION")]
    to: Option<Position>,
    /// Only what this order, or other thing, led to
    #[arg(long, value_name = "UUID")]
    correlation: Option<Uuid>,
}

fn parse_stream(text: &str) -> Result<(StreamKind, Uuid), String> {
    let unknown = || {
        let kinds = StreamKind::ALL.map(StreamKind::name).join(", ");
        format!("a stream is KIND:UUID; kinds are {kinds}")
    };
    let (kind, key) = text.split_once(':').ok_or_else(unknown)?;
    Ok((kind.parse().map_err(|_| unknown())?, key.parse().map_err(|_| unknown())?))
}

impl Filter {
    fn takes(&self, row: &EventRow) -> bool {
        let of_type = |wanted: &String| {
            let aggregate = row.event_type.split('.').next().unwrap_or_default();
            *wanted == *row.event_type || wanted == aggregate
        };
        self.stream.is_none_or(|stream| stream == (row.stream.kind, row.stream.key))
            && self.event_type.as_ref().is_none_or(of_type)
            && self.tenant.is_none_or(|tenant| tenant == row.stream.tenant)
            && self.correlation.is_none_or(|correlation| correlation == row.metadata.correlation)
    }

    /// Whether it leaves out nothing between its positions.
    fn takes_all(&self) -> bool {
        self.stream.is_none() && self.event_type.is_none() && self.tenant.is_none() && self.correlation.is_none()
    }

    /// First and last position, within a log that ends at `head`.
    fn span(&self, head: Position) -> anyhow::Result<(Position, Position)> {
        let (from, to) = (self.from.unwrap_or(1).max(1), self.to.unwrap_or(head).min(head));
        match (self.from, self.to) {
            (Some(from), Some(to)) if from > to => {
                Err(usage(format!("--from {from} lies behind --to {to}; give them the other way round")))
            }
            _ => Ok((from, to)),
        }
    }
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let store = Reading::open(config).await?.store;
    match args.command {
        Command::List { filter, limit, last } => list(&store, &filter, limit, last, config.json).await?,
        Command::Show { position } => show(&store, position, config.json).await?,
        Command::Tail { filter, lines } => tail(&store, &filter, lines, config.json).await?,
        Command::Export { filter, output } => export(&store, &filter, output, config.json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Gives every event between `from` and `to` that the filter takes to `take`, until it has enough.
async fn each(
    store: &Arc<dyn EventStore>,
    filter: &Filter,
    (from, to): (Position, Position),
    mut take: impl FnMut(&EventRow) -> anyhow::Result<Enough>,
) -> anyhow::Result<()> {
    let mut next = from;
    while next <= to {
        let limit = usize::try_from(to - next + 1).unwrap_or(PAGE).min(PAGE);
        let rows = store.read_all(next, limit).await?;
        let Some(last) = rows.last() else { break };
        next = last.position + 1;
        for row in rows.iter().filter(|row| filter.takes(row)) {
            if take(row)? == Enough::Yes {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[derive(PartialEq)]
enum Enough {
    Yes,
    No,
}

async fn list(store: &Arc<dyn EventStore>, filter: &Filter, limit: u32, last: bool, json: bool) -> anyhow::Result<()> {
    let head = store.head().await?;
    let span = filter.span(head)?;
    let mut found = std::collections::VecDeque::new();
    let limit = limit as usize;
    each(store, filter, span, |row| {
        if found.len() == limit {
            if !last {
                return Ok(Enough::Yes);
            }
            found.pop_front();
        }
        found.push_back(row.clone());
        Ok(Enough::No)
    })
    .await?;
    if json {
        let mut out = BufWriter::new(std::io::stdout().lock());
        write!(out, "{{\"head\":{head},\"events\":[")?;
        for (index, row) in found.iter().enumerate() {
            out.write_all(if index > 0 { b"," } else { b"" })?;
            write_event(&mut out, row)?;
        }
        writeln!(out, "]}}")?;
        out.flush()?;
        return Ok(());
    }
    let mut table = output::table(["position", "recorded at", "type", "stream", "version", "payload"]);
    for row in &found {
        table.add_row([
            row.position.to_string(),
            output::time(row.recorded_at),
            row.event_type.to_string(),
            row.stream.to_string(),
            row.version.to_string(),
            shortened(&row.payload),
        ]);
    }
    output::right(&mut table, &[0, 4]);
    output::line(table)?;
    let (shown, head) = (output::count(found.len() as u64), output::count(head));
    output::line(format_args!("{shown} shown; the log stands at event {head}."))
}

fn shortened(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

async fn show(store: &Arc<dyn EventStore>, position: Position, json: bool) -> anyhow::Result<()> {
    let row = store.read_all(position, 1).await?.pop().filter(|row| row.position == position);
    let Some(row) = row else {
        bail!("there is no event {position}; the log stands at event {}", store.head().await?);
    };
    if json {
        let mut line = Vec::new();
        write_event(&mut line, &row)?;
        return output::line(String::from_utf8_lossy(&line));
    }
    let metadata = &row.metadata;
    let optional = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let payload: serde_json::Value = serde_json::from_slice(&row.payload).context("the payload is not JSON")?;
    let lines = [
        ("position", row.position.to_string()),
        ("type", format!("{}, schema version {}", row.event_type, row.schema_version)),
        ("stream", format!("{}, version {}", row.stream, row.version)),
        ("tenant", row.stream.tenant.to_string()),
        ("occurred at", row.occurred_at.to_string()),
        ("recorded at", row.recorded_at.to_string()),
        ("command", metadata.command.to_string()),
        ("digest", optional(metadata.digest.map(|digest| hex(&digest)))),
        ("actor", metadata.actor.to_string()),
        ("correlation", metadata.correlation.to_string()),
        ("causation", optional(metadata.causation.map(|id| id.to_string()))),
        ("trace", optional(metadata.trace.map(|trace| hex(&trace)))),
        ("payload", serde_json::to_string_pretty(&payload)?),
    ];
    for (name, value) in lines {
        output::line(format_args!("{name:12} {value}"))?;
    }
    Ok(())
}

async fn tail(store: &Arc<dyn EventStore>, filter: &Filter, lines: u64, json: bool) -> anyhow::Result<()> {
    let head = store.head().await?;
    let mut next = filter.from.unwrap_or((head + 1).saturating_sub(lines)).max(1);
    let until = filter.to.unwrap_or(Position::MAX);
    loop {
        let head = store.head().await?;
        let mut out = BufWriter::new(std::io::stdout());
        each(store, filter, (next, head.min(until)), |row| {
            if json {
                write_event(&mut out, row)?;
                writeln!(out)?;
            } else {
                let (at, kind, stream) = (output::time(row.recorded_at), &row.event_type, row.stream);
                writeln!(out, "{} {at} {kind} {stream} {}", row.position, shortened(&row.payload))?;
            }
            Ok(Enough::No)
        })
        .await?;
        out.flush()?;
        drop(out);
        next = next.max(head + 1);
        if next > until {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

async fn export(
    store: &Arc<dyn EventStore>,
    filter: &Filter,
    output: Option<PathBuf>,
    json: bool,
) -> anyhow::Result<()> {
    let head = store.head().await?;
    let (from, to) = filter.span(head)?;
    let mut count = (to + 1).saturating_sub(from);
    if !filter.takes_all() {
        // The manifest stands first, so what matches is counted before anything is written.
        count = 0;
        each(store, filter, (from, to), |_| {
            count += 1;
            Ok(Enough::No)
        })
        .await?;
    }
    let named = || output.as_ref().map_or("stdout".to_owned(), |path| path.display().to_string());
    let failed = || format!("the export to {} failed", named());
    let target: Box<dyn Write + Send> = match &output {
        Some(path) => Box::new(File::create(path).with_context(failed)?),
        None => Box::new(std::io::stdout()),
    };
    let mut out = BufWriter::with_capacity(256 * 1024, target);
    let log = store.identity().log;
    let manifest = json!({ "log": log, "from": from, "to": to, "count": count, "format": EXPORT_FORMAT });
    writeln!(out, "{}", json!({ "manifest": manifest })).with_context(failed)?;
    let bar = Bar::new();
    let mut done = 0;
    each(store, filter, (from, to), |row| {
        write_event(&mut out, row)?;
        out.write_all(b"\n").with_context(failed)?;
        done += 1;
        if done % PAGE as u64 == 0 {
            bar.show(Progress::new("exporting", done, Some(count)));
        }
        Ok(Enough::No)
    })
    .await?;
    out.flush().with_context(failed)?;
    drop(bar);
    match output {
        Some(path) if json => output::json_line(&json!({ "file": path, "from": from, "to": to, "count": count })),
        Some(path) => output::line(format_args!("{} events were written to {}.", output::count(count), path.display())),
        None => Ok(()),
    }
}

#[derive(Serialize)]
struct Stream {
    tenant: TenantId,
    kind: &'static str,
    key: Uuid,
}

/// What stands before an event's payload.
#[derive(Serialize)]
struct Head<'a> {
    position: Position,
    stream: Stream,
    version: u64,
    r#type: &'a str,
    schema_version: u16,
}

/// What stands behind it.
#[derive(Serialize)]
struct Tail {
    occurred_at: domain::Timestamp,
    recorded_at: domain::Timestamp,
    metadata: Metadata,
}

#[derive(Serialize)]
struct Metadata {
    command: Uuid,
    /// 32 hexadecimal digits.
    digest: Option<String>,
    actor: Uuid,
    correlation: Uuid,
    causation: Option<Uuid>,
    trace: Option<String>,
}

/// Writes an event as one JSON object on one line, its payload byte for byte as it was recorded.
fn write_event(out: &mut impl Write, row: &EventRow) -> anyhow::Result<()> {
    let one_line =
        !row.payload.contains(&b'\n') && serde_json::from_slice::<serde::de::IgnoredAny>(&row.payload).is_ok();
    if !one_line {
        bail!(
            "the payload of event {} is not JSON on one line: the log is damaged; restore it from a backup",
            row.position
        );
    }
    let metadata = &row.metadata;
    let stream = Stream { tenant: row.stream.tenant, kind: row.stream.kind.name(), key: row.stream.key };
    let mut head = serde_json::to_vec(&Head {
        position: row.position,
        stream,
        version: row.version,
        r#type: &row.event_type,
        schema_version: row.schema_version,
    })?;
    let tail = serde_json::to_vec(&Tail {
        occurred_at: row.occurred_at,
        recorded_at: row.recorded_at,
        metadata: Metadata {
            command: metadata.command.0,
            digest: metadata.digest.map(|digest| hex(&digest)),
            actor: metadata.actor.0,
            correlation: metadata.correlation,
            causation: metadata.causation.map(|id| id.0),
            trace: metadata.trace.map(|trace| hex(&trace)),
        },
    })?;
    // Both are objects: the closing brace of one and the opening brace of the other give way.
    head.pop();
    head.extend_from_slice(b",\"payload\":");
    head.extend_from_slice(&row.payload);
    head.push(b',');
    head.extend_from_slice(&tail[1..]);
    out.write_all(&head)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use domain::{ActorId, CommandId, StreamId, Timestamp};

    use super::*;

    fn row(payload: &str) -> EventRow {
        EventRow {
            position: 7,
            stream: StreamId { tenant: TenantId(Uuid::from_u128(1)), kind: StreamKind::Order, key: Uuid::from_u128(2) },
            version: 3,
            event_type: "order.Confirmed".into(),
            schema_version: 1,
            payload: payload.into(),
            metadata: store::Metadata {
                command: CommandId(Uuid::from_u128(4)),
                digest: Some([0xab; 16]),
                actor: ActorId(Uuid::from_u128(5)),
                correlation: Uuid::from_u128(2),
                causation: None,
                trace: None,
            },
            occurred_at: Timestamp::from_seconds(1),
            recorded_at: Timestamp::from_seconds(2),
        }
    }

    #[test]
    fn a_payload_is_written_as_it_was_recorded() {
        // The space would be lost by reading and writing the value.
        let mut line = Vec::new();
        write_event(&mut line, &row(r#"{"Placed": {"b":1,"a":2}}"#)).unwrap();
        let text = String::from_utf8(line).unwrap();
        assert!(text.contains(r#""payload":{"Placed": {"b":1,"a":2}},"occurred_at":"1970-01-01T00:00:01Z""#), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["stream"]["kind"], "order");
        assert_eq!(value["metadata"]["digest"], "ab".repeat(16));
        assert_eq!(value["metadata"]["causation"], serde_json::Value::Null);
    }

    #[test]
    fn a_payload_that_would_break_its_line_is_damage() {
        for payload in ["{", "\"a\"\n", ""] {
            assert!(write_event(&mut Vec::new(), &row(payload)).is_err(), "{payload:?}");
        }
    }

    #[test]
    fn a_filter_takes_what_it_names() {
        let all = Filter { stream: None, event_type: None, tenant: None, from: None, to: None, correlation: None };
        let row = row("\"Confirmed\"");
        assert!(all.takes(&row) && all.takes_all());
        let of_type = |name: &str| Filter { event_type: Some(name.to_owned()), ..all.clone() }.takes(&row);
        assert_eq!(
            [of_type("order"), of_type("order.Confirmed"), of_type("order.Placed"), of_type("ord")],
            [true, true, false, false]
        );
        let stream = |text: &str| Filter { stream: Some(parse_stream(text).unwrap()), ..all.clone() }.takes(&row);
        assert!(stream(&format!("order:{}", Uuid::from_u128(2))));
        assert!(!stream(&format!("payment:{}", Uuid::from_u128(2))));
        let other = Filter { tenant: Some(TenantId(Uuid::from_u128(9))), ..all.clone() };
        assert!(!other.takes(&row) && !other.takes_all());
        assert!(Filter { correlation: Some(Uuid::from_u128(9)), ..all }.takes(&row).eq(&false));
        assert!(parse_stream("order").unwrap_err().contains("wallet"));
    }

    #[test]
    fn a_span_ends_with_the_log() {
        let filter = |from, to| Filter { stream: None, event_type: None, tenant: None, from, to, correlation: None };
        assert_eq!(filter(None, None).span(9).unwrap(), (1, 9));
        assert_eq!(filter(Some(0), Some(99)).span(9).unwrap(), (1, 9));
        assert!(filter(Some(5), Some(4)).span(9).is_err());
    }
}
