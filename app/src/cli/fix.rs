//! `tiffin fix`: corrections of the books, proposed by one person and applied by another.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::anyhow;
use domain::{ActorId, CorrectionId, Money, TenantId, books::DeductionOrder, correction::Change};
use jiff::civil::Date;
use projections::{
    PageSize,
    corrections::{self, Correction, CorrectionEntry, Status},
    preview::Preview,
};
use serde_json::{Value, json};

use crate::{
    admin_socket::{self, AdminRequest},
    cli::days::tenant_of_books,
    config::{Config, usage},
    finance::{Changes, FinanceAnswer, FinanceRequest, FinanceWork, file},
    output,
    wiring::Reading,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Whose books [default: those of the only tenant there is]
    #[arg(long, value_name = "UUID", global = true)]
    tenant: Option<TenantId>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Propose the corrections of a CSV file of account,amount,currency,reason[,to][,reference]; the same file again
    /// proposes nothing
    Propose {
        /// The file: .csv or .csv.gz
        file: PathBuf,
        /// Date the postings that day, which no closed period may have [default: the day of their application]
        #[arg(long, value_name = "DATE")]
        on: Option<Date>,
        /// Only show what it would make of the balances
        #[arg(long, conflicts_with = "actor")]
        dry_run: bool,
        /// Who proposes it, and so cannot apply it
        #[arg(long, value_name = "UUID", required_unless_present = "dry_run")]
        actor: Option<ActorId>,
    },
    /// Show a correction, and what it would make of the balances as they are now
    Show { correction: CorrectionId },
    /// Apply a correction that somebody else proposed
    Apply {
        correction: CorrectionId,
        /// Who applies it
        #[arg(long, value_name = "UUID")]
        actor: ActorId,
    },
    /// Reject a correction for good
    Reject {
        correction: CorrectionId,
        /// Who rejects it
        #[arg(long, value_name = "UUID")]
        actor: ActorId,
    },
    /// List corrections, the latest first
    List {
        /// Only those that wait for a second person
        #[arg(long)]
        open: bool,
    },
    /// Set up to what amount, either way, a single adjustment needs no second person
    Limit {
        /// In major units, with the currency: "50.00 CNY"; zero, as it is at first: each needs one
        amount: String,
        /// Who sets it
        #[arg(long, value_name = "UUID")]
        actor: ActorId,
    },
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let tenant = args.tenant;
    let (by, work) = match args.command {
        Command::Propose { file, on: _, dry_run: true, .. } => return dry_run(tenant, file, config).await,
        Command::Propose { file, on, actor, .. } => {
            let by = actor.ok_or_else(|| usage("--actor UUID says who proposes it"))?;
            let file = fs::canonicalize(&file)
                .map_err(|error| usage(format!("{} cannot be opened: {error}", file.display())))?;
            (by, FinanceWork::Propose { file, on })
        }
        Command::Show { correction } => return show(tenant, correction, config).await,
        Command::Apply { correction, actor } => (actor, FinanceWork::Apply(correction)),
        Command::Reject { correction, actor } => (actor, FinanceWork::Reject(correction)),
        Command::List { open } => return list(tenant, open, config).await,
        Command::Limit { amount, actor } => (actor, FinanceWork::Limit(super::amount(&amount)?)),
    };
    carry_out(config, FinanceRequest { tenant, by, work }).await
}

/// Has it carried out by whoever holds the store, and says what came of it.
pub(super) async fn carry_out(config: &Config, request: FinanceRequest) -> anyhow::Result<ExitCode> {
    let answer = admin_socket::carry_out(config, AdminRequest::Finance(request)).await?;
    let done: FinanceAnswer = serde_json::from_value(answer.clone())?;
    if let FinanceAnswer::Refused { code, message } = &done {
        super::say_refused(config, code, message);
        return Ok(ExitCode::FAILURE);
    }
    if config.json {
        output::json_line(&answer)?;
    } else {
        say(&done)?;
    }
    let incomplete = match &done {
        FinanceAnswer::Correction { refused, .. } => !refused.is_empty(),
        FinanceAnswer::TopUp { status, .. } => status == "failed",
        FinanceAnswer::Payout { status, .. } => status == "refused",
        FinanceAnswer::Account { .. }
        | FinanceAnswer::Limit { .. }
        | FinanceAnswer::DeductionOrder { .. }
        | FinanceAnswer::Refused { .. } => false,
    };
    Ok(ExitCode::from(u8::from(incomplete)))
}

/// What was done, for people.
fn say(answer: &FinanceAnswer) -> anyhow::Result<()> {
    match answer {
        FinanceAnswer::Correction { correction, status, entries, refused, changes, .. } => {
            if let Some(changes) = changes {
                changes.show()?;
            }
            output::line(format_args!("Correction {correction} of {entries} entries: {status}."))?;
            if status == "proposed" {
                output::line("A second person applies it with `tiffin fix apply`.")?;
            }
            for entry in refused {
                output::line(format_args!("Entry {entry} was refused by its account; propose anew what is left."))?;
            }
            Ok(())
        }
        FinanceAnswer::TopUp { top_up, account, amount_minor, currency, status } => {
            let amount = Money::new(*amount_minor, *currency);
            output::line(format_args!("Top-up {top_up} of {amount} to {account}: {status}."))
        }
        FinanceAnswer::Payout { payout, account, amount_minor, currency, status } => {
            let amount = Money::new(*amount_minor, *currency);
            output::line(format_args!("Payout {payout} of {amount} from {account}: {status}."))
        }
        FinanceAnswer::Account { account, status } => output::line(format_args!("{account} is {status}.")),
        FinanceAnswer::Limit { limit_minor, currency, .. } => {
            let limit = Money::new(*limit_minor, *currency);
            output::line(format_args!("Up to {limit}, an adjustment needs no second person."))
        }
        FinanceAnswer::DeductionOrder { order, .. } => output::line(match order {
            DeductionOrder::SubsidyFirst => "Orders are paid by the subsidy first, then by the wallet.",
            DeductionOrder::WalletFirst => "Orders are paid by the wallet first, then by the subsidy.",
        }),
        FinanceAnswer::Refused { message, .. } => output::line(message),
    }
}

async fn dry_run(tenant: Option<TenantId>, path: PathBuf, config: &Config) -> anyhow::Result<ExitCode> {
    let read = file::read(&path)?;
    let views = Reading::open(config).await?.views().await?;
    let (preview, since) = views
        .read(move |snapshot| {
            let tenant = tenant_of_books(snapshot, tenant);
            let preview = tenant.map(|tenant| Preview::of_entries(snapshot, tenant, &read.entries));
            Ok((preview, super::incomplete(snapshot, "balances")))
        })
        .await?;
    let changes = Changes::from(&preview??);
    if config.json {
        output::json_line(&json!({ "changes": changes }))?;
    } else {
        changes.show()?;
    }
    super::warn_incomplete(since);
    Ok(ExitCode::from(u8::from(changes.accounts.iter().any(|line| line.refusal.is_some()))))
}

type Shown = (Correction, Vec<CorrectionEntry>, Option<Preview>);

async fn show(tenant: Option<TenantId>, id: CorrectionId, config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let (found, since) = views
        .read(move |snapshot| {
            let find = || -> anyhow::Result<Option<Shown>> {
                let tenant = tenant_of_books(snapshot, tenant)?;
                let Some(row) = corrections::find(snapshot, tenant, id)? else { return Ok(None) };
                let entries = corrections::entries(snapshot, tenant, id)?;
                // What was applied has its balances already.
                let open = (row.status == Status::Proposed).then(|| entries.iter().map(Change::from));
                let preview = open.map(|changes| Preview::of(snapshot, tenant, changes)).transpose()?;
                Ok(Some((row, entries, preview)))
            };
            Ok((find(), super::incomplete(snapshot, "balances")))
        })
        .await?;
    let (row, entries, preview) = found?.ok_or_else(|| anyhow!("there is no such correction"))?;
    let changes = preview.as_ref().map(Changes::from);
    if config.json {
        let entries: Vec<Value> = entries.iter().map(entry_json).collect();
        let mut value = as_json(&row);
        value["entry_list"] = entries.into();
        value["changes"] = serde_json::to_value(&changes)?;
        output::json_line(&value)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(format_args!(
        "Correction {} of {} entries, proposed by {} at {}: {}.",
        row.correction,
        row.entries,
        row.proposed_by,
        output::time(row.proposed_at),
        row.status.name()
    ))?;
    if let Some(at) = row.dated {
        output::line(format_args!("Its postings are dated {}.", output::time(at)))?;
    }
    let mut table = output::table(["entry", "account", "amount", "to", "reason", "reference", ""]);
    for entry in &entries {
        table.add_row([
            (entry.entry + 1).to_string(),
            entry.account.to_string(),
            entry.amount().to_string(),
            entry.to_account.map(|to| to.to_string()).unwrap_or_default(),
            entry.reason.name().to_owned(),
            entry.reference.clone().unwrap_or_default(),
            if entry.refused { "refused".to_owned() } else { String::new() },
        ]);
    }
    output::right(&mut table, &[0, 2]);
    output::line(table)?;
    if let Some(changes) = changes {
        changes.show()?;
    }
    super::warn_incomplete(since);
    Ok(ExitCode::SUCCESS)
}

async fn list(tenant: Option<TenantId>, open: bool, config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let status = open.then_some(Status::Proposed);
    let rows = views
        .read(move |snapshot| {
            let tenant = tenant_of_books(snapshot, tenant);
            Ok(tenant.map(|tenant| corrections::list(snapshot, tenant, status, None, PageSize::MAX)))
        })
        .await???;
    super::warn_cut(&rows, PageSize::MAX.get());
    if config.json {
        let rows: Vec<Value> = rows.iter().map(as_json).collect();
        output::json_line(&json!({ "corrections": rows }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["proposed", "correction", "by", "entries", "status", "decided by"]);
    for row in &rows {
        table.add_row([
            output::time(row.proposed_at),
            row.correction.to_string(),
            row.proposed_by.to_string(),
            row.entries.to_string(),
            row.status.name().to_owned(),
            row.decided_by.map(|by| by.to_string()).unwrap_or_default(),
        ]);
    }
    output::right(&mut table, &[3]);
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(row: &Correction) -> Value {
    json!({
        "tenant": row.tenant, "correction": row.correction, "status": row.status.name(), "entries": row.entries,
        "refused": row.refused, "proposed_by": row.proposed_by, "proposed_at": row.proposed_at, "dated": row.dated,
        "file": row.file, "decided_by": row.decided_by, "decided_at": row.decided_at,
    })
}

fn entry_json(entry: &CorrectionEntry) -> Value {
    json!({
        "entry": entry.entry + 1, "account": entry.account, "to": entry.to_account,
        "amount_minor": entry.amount_minor, "currency": entry.currency, "reason": entry.reason.name(),
        "reference": entry.reference, "refused": entry.refused,
    })
}
