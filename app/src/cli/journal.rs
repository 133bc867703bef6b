//! `tiffin journal`.

use std::process::ExitCode;

use domain::{TenantId, postings::LedgerAccount};
use projections::{
    Snapshot, args,
    as_of::{AsOfError, books, journal},
    journal::Entry,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    cli::as_of::{self, AsOfArgs, Asked},
    config::Config,
    output,
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
    /// How many postings at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    #[command(flatten)]
    as_of: AsOfArgs,
}

/// Entries that are read at once when most may not be asked for.
const PAGE: usize = 1_000;

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let reading = Reading::open(config).await?;
    let views = reading.views().await?;
    let asked = args.as_of.reached(&reading.store).await?;
    let (entries, position, since) = views
        .read(move |snapshot| {
            let entries = match asked {
                Some(asked) => read_as_of(snapshot, &args, asked),
                None => Ok(snapshot.fetch(
                    "WHERE (?1 IS NULL OR tenant = ?1) AND (?2 IS NULL OR account = ?2)
                       AND (?3 IS NULL OR correlation = ?3)
                     ORDER BY tenant DESC, position DESC, line DESC LIMIT ?4",
                    args![args.tenant, args.account, args.correlation, args.limit],
                )?),
            };
            Ok((entries, snapshot.position(), as_of::incomplete(snapshot, "journal", asked)))
        })
        .await?;
    let entries = entries.map_err(as_of::explained)?;
    if config.json {
        let entries: Vec<Value> = entries.iter().map(as_json).collect();
        output::json_line(&json!({
            "position": position, "as_of": as_of::as_json(asked), "incomplete_since": since, "entries": entries,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["position", "occurred at", "event", "account", "debit", "credit", "currency"]);
    for entry in &entries {
        let amount = entry.amount();
        let (debit, credit) = match amount.minor {
            minor if minor < 0 => (amount.negated().to_decimal().to_string(), String::new()),
            _ => (String::new(), amount.to_decimal().to_string()),
        };
        table.add_row([
            entry.position.to_string(),
            output::time(entry.occurred_at),
            entry.event.clone(),
            entry.account.to_string(),
            debit,
            credit,
            entry.currency.to_string(),
        ]);
    }
    output::right(&mut table, &[0, 4, 5]);
    output::line(table)?;
    output::line(format_args!("{}, the newest first.", as_of::shown(asked, position)))?;
    super::warn_incomplete(since);
    Ok(ExitCode::SUCCESS)
}

/// The newest entries as they were, tenant by tenant.
fn read_as_of(snapshot: &Snapshot<'_>, args: &Args, asked: Asked) -> Result<Vec<Entry>, AsOfError> {
    let tenants = match args.tenant {
        Some(tenant) => vec![tenant],
        None => books::tenants(snapshot)?,
    };
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut found: Vec<Entry> = Vec::new();
    for tenant in tenants.into_iter().rev() {
        let mut before = None;
        while found.len() < limit {
            let page = journal::latest(snapshot, tenant, args.account, before, PAGE, asked.moment)?;
            let Some(last) = page.last() else { break };
            before = Some(last.cursor());
            let wanted = |entry: &Entry| args.correlation.is_none_or(|correlation| correlation == entry.correlation);
            found.extend(page.into_iter().filter(wanted));
        }
    }
    found.truncate(limit);
    Ok(found)
}

fn as_json(entry: &Entry) -> Value {
    json!({
        "tenant": entry.tenant, "position": entry.position, "line": entry.line, "event": entry.event,
        "account": entry.account, "amount_minor": entry.amount_minor, "currency": entry.currency,
        "occurred_at": entry.occurred_at, "booking_date": entry.booking_date, "late": entry.late, "recorded_at": entry.recorded_at, "correlation": entry.correlation,
    })
}
