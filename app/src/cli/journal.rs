//! `tiffin journal`.

use std::process::ExitCode;

use domain::{Currency, TenantId, postings::LedgerAccount};
use projections::{
    Snapshot, args,
    as_of::{books, journal},
    journal::Entry,
    periods,
    statements::{self, Cursor, Days},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cli::{
        as_of::{self, AsOfArgs, Asked},
        days::{DaysArgs, tenant_of_books},
    },
    config::{Config, usage},
    output,
    spreadsheet::{Cell, Column, Files, Tables, code, sides},
    wiring::Reading,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this tenant's books
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
    /// Only this account: bank, prepaid, wallet:UUID, canteen:UUID, …
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<LedgerAccount>,
    /// Only what this order, or other thing, led to
    #[arg(long, value_name = "UUID")]
    correlation: Option<Uuid>,
    /// How many postings at most [default: 50; all for a file]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: Option<u32>,
    /// Days are listed in the order in which they are booked, the oldest first
    #[command(flatten)]
    days: DaysArgs,
    #[command(flatten)]
    as_of: AsOfArgs,
    #[command(flatten)]
    files: Files,
}

/// Entries that are read at once when most may not be asked for.
const PAGE: usize = 1_000;
/// How many postings are shown when nothing is said.
const SHOWN: u32 = 50;

const COLUMNS: &[Column] = &[
    ("position", 12),
    ("line", 6),
    ("booked on", 12),
    ("late", 6),
    ("occurred at", 20),
    ("recorded at", 20),
    ("event", 24),
    ("account", 46),
    ("debit", 16),
    ("credit", 16),
    ("currency", 9),
    ("about", 38),
];

/// What is asked, and about which moment.
struct Question {
    args: Args,
    days: Days,
    asked: Option<Asked>,
}

impl Question {
    /// Whether entries are listed in the order of their booking.
    fn by_booking(&self) -> bool {
        self.args.days.are_said() || (self.args.files.are_wanted() && self.asked.is_none())
    }

    fn limit(&self) -> usize {
        let most = if self.args.files.are_wanted() { usize::MAX } else { SHOWN as usize };
        self.args.limit.map_or(most, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
    }
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    if args.as_of.is_said() && args.days.are_said() {
        return Err(usage("ask for days or for a moment, not for both: --from and --to, or --as-of"));
    }
    let reading = Reading::open(config).await?;
    let views = reading.views().await?;
    let asked = args.as_of.reached(&reading.store).await?;
    let (by_days, files) = (args.days.are_said(), args.files.clone());
    let question = Question { days: args.days.read()?, args, asked };
    let (found, position, since) = views
        .read(move |snapshot| {
            let found = if question.args.files.are_wanted() {
                write(snapshot, &question).map(|rows| (vec![], rows))
            } else {
                let mut entries = Vec::new();
                let take = |entry| {
                    entries.push(entry);
                    Ok(())
                };
                each(snapshot, &question, take).map(|()| (entries, 0))
            };
            Ok((found, snapshot.position(), as_of::incomplete(snapshot, "journal", asked)))
        })
        .await?;
    let (entries, rows) = found?;
    if config.json {
        let entries: Vec<Value> = entries.iter().map(as_json).collect();
        let mut answer = json!({
            "position": position, "as_of": as_of::as_json(asked), "incomplete_since": since, "entries": entries,
        });
        if files.are_wanted() {
            answer["rows_written"] = rows.into();
        }
        output::json_line(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    if files.are_wanted() {
        output::line(format_args!("{} rows were written.", output::count(rows)))?;
    } else {
        show(&entries)?;
        let order = if by_days { "in the order of their booking" } else { "the newest first" };
        output::line(format_args!("{}, {order}.", as_of::shown(asked, position)))?;
    }
    super::warn_incomplete(since);
    Ok(ExitCode::SUCCESS)
}

fn show(entries: &[Entry]) -> anyhow::Result<()> {
    let mut table =
        output::table(["position", "occurred at", "booked on", "event", "account", "debit", "credit", "currency"]);
    for entry in entries {
        let [debit, credit] = sides(entry.amount()).map(|side| match side {
            Cell::Amount(amount) => amount.to_decimal().to_string(),
            _ => String::new(),
        });
        let late = if entry.late { ", late" } else { "" };
        table.add_row([
            entry.position.to_string(),
            output::time(entry.occurred_at),
            format!("{}{late}", entry.booking_date),
            entry.event.clone(),
            entry.account.to_string(),
            debit,
            credit,
            entry.currency.to_string(),
        ]);
    }
    output::right(&mut table, &[0, 5, 6]);
    output::line(table)
}

/// Gives each entry that was asked for to `take`.
fn each(
    snapshot: &Snapshot<'_>,
    question: &Question,
    mut take: impl FnMut(Entry) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (args, limit) = (&question.args, question.limit());
    let wanted = |entry: &Entry| args.correlation.is_none_or(|correlation| correlation == entry.correlation);
    let mut left = limit;
    let mut take = |page: Vec<Entry>| -> anyhow::Result<bool> {
        let found = page.into_iter().filter(wanted).take(left).collect::<Vec<_>>();
        left -= found.len();
        found.into_iter().try_for_each(&mut take)?;
        Ok(left > 0)
    };
    if question.by_booking() {
        let tenant = tenant_of_books(snapshot, args.tenant)?;
        return each_booked(snapshot, tenant, args.account, question.days, take);
    }
    if let Some(asked) = question.asked {
        return each_as_of(snapshot, args, asked, take);
    }
    take(snapshot.fetch(
        "WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR account = ?2) AND (?3 IS NULL OR correlation = ?3)
         ORDER BY tenant DESC, position DESC, line DESC LIMIT ?4",
        args![args.tenant, args.account, args.correlation, limit],
    )?)?;
    Ok(())
}

/// The entries of some days as they are booked; of one account, one currency after the other. `take` says
/// whether it wants more.
fn each_booked(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    account: Option<LedgerAccount>,
    days: Days,
    mut take: impl FnMut(Vec<Entry>) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let of: Vec<Option<(LedgerAccount, Currency)>> = match account {
        None => vec![None],
        Some(account) => {
            let sums = statements::of_account(snapshot, tenant, account, days)?;
            sums.iter().map(|sums| Some((account, sums.currency))).collect()
        }
    };
    for of in of {
        let mut after: Option<Cursor> = None;
        while let page = statements::entries(snapshot, tenant, of, days, after, PAGE)?
            && let Some(last) = page.last()
        {
            after = Some(Cursor::from(last));
            if !take(page)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The newest entries as they were, tenant by tenant.
fn each_as_of(
    snapshot: &Snapshot<'_>,
    args: &Args,
    asked: Asked,
    mut take: impl FnMut(Vec<Entry>) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let tenants = match args.tenant {
        Some(tenant) => vec![tenant],
        None => books::tenants(snapshot)?,
    };
    for tenant in tenants.into_iter().rev() {
        let mut before = None;
        while let page =
            journal::latest(snapshot, tenant, args.account, before, PAGE, asked.moment).map_err(as_of::explained)?
            && let Some(last) = page.last()
        {
            before = Some(last.cursor());
            if !take(page)? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Writes what was asked for; the books of one tenant, since their zone tells the times.
fn write(snapshot: &Snapshot<'_>, question: &Question) -> anyhow::Result<u64> {
    let tenant = tenant_of_books(snapshot, question.args.tenant)?;
    let mut tables = Tables::begin(&question.args.files, COLUMNS, periods::zone(snapshot, tenant)?)?;
    tables.sheet("journal")?;
    each(snapshot, question, |entry| {
        let [debit, credit] = sides(entry.amount());
        tables.row(&[
            Cell::Count(entry.position),
            Cell::Count(entry.line.into()),
            Cell::Date(entry.booking_date),
            Cell::Truth(entry.late),
            Cell::Time(entry.occurred_at),
            Cell::Time(entry.recorded_at),
            entry.event.as_str().into(),
            entry.account.to_string().into(),
            debit,
            credit,
            code(entry.currency),
            entry.correlation.to_string().into(),
        ])
    })?;
    tables.finish()
}

fn as_json(entry: &Entry) -> Value {
    json!({
        "tenant": entry.tenant, "position": entry.position, "line": entry.line, "event": entry.event,
        "account": entry.account, "amount_minor": entry.amount_minor, "currency": entry.currency,
        "occurred_at": entry.occurred_at, "booking_date": entry.booking_date, "late": entry.late,
        "recorded_at": entry.recorded_at, "correlation": entry.correlation,
    })
}
