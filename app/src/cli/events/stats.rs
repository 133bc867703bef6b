//! `tiffin events stats`.

use std::collections::BTreeMap;

use domain::{StreamKind, TenantId, Timestamp};
use jiff::{civil::Date, tz::TimeZone};
use serde_json::{Value, json};
use store::{
    EventRow, EventStore,
    history::{Direction, Filter, Scan},
};

use super::filter::FilterArgs;
use crate::{
    output,
    progress::{Bar, Progress},
};

/// Most rows of one table; JSON has all.
const MAX_ROWS: usize = 40;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Events and the bytes of their payloads.
#[derive(Clone, Copy, Default)]
struct Sum {
    events: u64,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, row: &EventRow) {
        self.events += 1;
        self.bytes += row.payload.len() as u64;
    }
}

/// First and last of a time.
type Ends = Option<(Timestamp, Timestamp)>;

fn widen(ends: &mut Ends, at: Timestamp) {
    *ends = Some(ends.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
}

#[derive(Default)]
struct Stats {
    all: Sum,
    types: BTreeMap<std::sync::Arc<str>, Sum>,
    kinds: BTreeMap<StreamKind, Sum>,
    tenants: BTreeMap<TenantId, Sum>,
    /// By business date in UTC.
    days: BTreeMap<Date, Sum>,
    occurred: Ends,
    recorded: Ends,
}

impl Stats {
    fn add(&mut self, row: &EventRow) {
        self.all.add(row);
        match self.types.get_mut(&row.event_type) {
            Some(sum) => sum.add(row),
            None => self.types.entry(row.event_type.clone()).or_default().add(row),
        }
        self.kinds.entry(row.stream.kind).or_default().add(row);
        self.tenants.entry(row.stream.tenant).or_default().add(row);
        self.days.entry(row.occurred_at.date_in(&TimeZone::UTC)).or_default().add(row);
        widen(&mut self.occurred, row.occurred_at);
        widen(&mut self.recorded, row.recorded_at);
    }
}

pub async fn run(filter: &Filter, store: &dyn EventStore, json: bool) -> anyhow::Result<()> {
    let mut stats = Stats::default();
    let mut scan = Scan::open(store, filter.clone(), Direction::OldestFirst, None).await?;
    let total = scan.left();
    let bar = Bar::new();
    while let Some(rows) = scan.next(usize::MAX).await? {
        rows.iter().for_each(|row| stats.add(row));
        bar.show(Progress::new("counting", scan.looked_at(), Some(total)));
    }
    drop(bar);
    let head = store.head().await?;
    if json { output::json_line(&as_json(&stats, head)) } else { write(&stats, head) }
}

fn as_json(stats: &Stats, head: u64) -> Value {
    fn by<K: ToString>(sums: &BTreeMap<K, Sum>) -> Value {
        let sum =
            |(key, sum): (&K, &Sum)| (key.to_string(), json!({ "events": sum.events, "payload_bytes": sum.bytes }));
        Value::Object(sums.iter().map(sum).collect())
    }
    let kinds: BTreeMap<&str, Sum> = stats.kinds.iter().map(|(kind, sum)| (kind.name(), *sum)).collect();
    let ends = |ends: Ends| ends.map(|(first, last)| json!({ "first": first, "last": last }));
    json!({
        "head": head, "events": stats.all.events, "payload_bytes": stats.all.bytes,
        "occurred_at": ends(stats.occurred), "recorded_at": ends(stats.recorded),
        "types": by(&stats.types), "kinds": by(&kinds), "tenants": by(&stats.tenants), "days": by(&stats.days),
    })
}

fn write(stats: &Stats, head: u64) -> anyhow::Result<()> {
    let Some(((occurred, last_occurred), (recorded, last_recorded))) = stats.occurred.zip(stats.recorded) else {
        return output::line(format_args!("No event matches; the log stands at event {}.", output::count(head)));
    };
    write_table("type", stats.types.iter().map(|(name, sum)| (name.to_string(), *sum)).collect())?;
    write_table("kind of stream", stats.kinds.iter().map(|(kind, sum)| (kind.name().to_owned(), *sum)).collect())?;
    write_table("tenant", stats.tenants.iter().map(|(tenant, sum)| (tenant.to_string(), *sum)).collect())?;
    write_table("business day (UTC)", stats.days.iter().map(|(day, sum)| (day.to_string(), *sum)).collect())?;
    output::line(format_args!("occurred from {occurred} to {last_occurred}"))?;
    output::line(format_args!("recorded from {recorded} to {last_recorded}"))?;
    let [events, bytes, head] = [stats.all.events, stats.all.bytes, head].map(output::count);
    output::line(format_args!("{events} events with {bytes} bytes of payload; the log stands at event {head}."))
}

/// The most frequent rows, in the order that they came in.
fn write_table(heading: &str, mut rows: Vec<(String, Sum)>) -> anyhow::Result<()> {
    let all = rows.len();
    if all > MAX_ROWS {
        let mut counts: Vec<u64> = rows.iter().map(|(_, sum)| sum.events).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let least = counts[MAX_ROWS - 1];
        rows.retain(|(_, sum)| sum.events >= least);
        rows.truncate(MAX_ROWS);
    }
    let mut table = output::table([heading, "events", "bytes of payload"]);
    for (name, sum) in &rows {
        table.add_row([name.clone(), output::count(sum.events), output::count(sum.bytes)]);
    }
    output::right(&mut table, &[1, 2]);
    output::line(table)?;
    if all > rows.len() {
        output::line(format_args!("and {} more; --json has all", output::count((all - rows.len()) as u64)))?;
    }
    Ok(())
}
