//! `tiffin invoices`: what companies owe, asked of them.

use std::process::ExitCode;

use domain::{CompanyId, InvoiceId, Money, TenantId, Timestamp, invoice::VoidReason};
use jiff::civil::Date;
use projections::{PageSize, Snapshot, args, invoices::Invoice, periods};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    admin_socket::{self, AdminRequest},
    cli::{amount as amount_of, days::tenant_of_books},
    config::Config,
    invoicing::{InvoiceAnswer, InvoiceRequest, InvoiceWork},
    output,
    wiring::Reading,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// Whose they are [default: the only tenant there is]
    #[arg(long, value_name = "UUID", global = true)]
    tenant: Option<TenantId>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Ask a company for all that it owes; the same key again is the same invoice
    Issue {
        #[arg(long, value_name = "UUID")]
        company: CompanyId,
        /// Days to pay it
        #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(0..=366))]
        days: u16,
        #[arg(long, value_name = "UUID")]
        key: Uuid,
    },
    /// Record what a company has paid, once it is in the bank; the same key again pays nothing
    Pay {
        invoice: InvoiceId,
        /// In major units, with the currency: "1200.00 CNY"
        amount: String,
        #[arg(long, value_name = "UUID")]
        key: Uuid,
    },
    /// Take an invoice back of which nothing is paid
    Void {
        invoice: InvoiceId,
        /// Why
        #[arg(long, value_name = "REASON")]
        reason: Reason,
    },
    /// Set how much a company may owe, what it was invoiced included
    Limit {
        #[arg(long, value_name = "UUID")]
        company: CompanyId,
        /// In major units, with the currency: "1200.00 CNY"
        limit: String,
    },
    /// List invoices with what is open of them, the latest first
    List {
        /// Only this company's
        #[arg(long, value_name = "UUID")]
        company: Option<CompanyId>,
        /// Only those of which something is open
        #[arg(long)]
        open: bool,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Reason {
    /// It should not have been issued
    Mistake,
    /// The company does not accept it
    Disputed,
    /// Another one takes its place
    Replaced,
}

impl From<Reason> for VoidReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Mistake => VoidReason::Mistake,
            Reason::Disputed => VoidReason::Disputed,
            Reason::Replaced => VoidReason::Replaced,
        }
    }
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let tenant = args.tenant;
    let work = match args.command {
        Command::Issue { company, days, key } => InvoiceWork::Issue { company, days, key },
        Command::Pay { invoice, amount, key } => InvoiceWork::Pay { invoice, amount: amount_of(&amount)?, key },
        Command::Void { invoice, reason } => InvoiceWork::Void { invoice, reason: reason.into() },
        Command::Limit { company, limit } => InvoiceWork::Limit { company, limit: amount_of(&limit)? },
        Command::List { company, open } => return list((tenant, company, open), config).await,
    };
    carry_out(InvoiceRequest { tenant, work }, config).await
}

/// Has it done, and says what came of it.
pub async fn carry_out(request: InvoiceRequest, config: &Config) -> anyhow::Result<ExitCode> {
    let answer = admin_socket::carry_out(config, AdminRequest::Invoices(request)).await?;
    if config.json {
        output::json_line(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    match serde_json::from_value(answer)? {
        InvoiceAnswer::Invoice { invoice, number, state, amount, paid, due_on, .. } => {
            let (amount, paid) = (amount.to_string(), paid.to_string());
            output::line(format_args!("Invoice {number} of {amount}, due on {due_on}, is {state}: {paid} are paid."))?;
            output::line(invoice)?;
        }
        InvoiceAnswer::Company { company, changed: true } => output::line(format_args!("Set for company {company}."))?,
        InvoiceAnswer::Company { changed: false, .. } => output::line("It was so already; nothing was changed.")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn read(
    snapshot: &Snapshot<'_>,
    (said, company, open): (Option<TenantId>, Option<CompanyId>, bool),
) -> anyhow::Result<(Vec<Invoice>, Date)> {
    let tenant = tenant_of_books(snapshot, said)?;
    let today = Timestamp::from(jiff::Timestamp::now()).date_in(&periods::zone(snapshot, tenant)?);
    let query = "WHERE tenant = ?1 AND (?2 IS NULL OR company = ?2) AND (NOT ?3 OR state = 'open')
                 ORDER BY issued DESC LIMIT ?4";
    Ok((snapshot.fetch(query, args![tenant, company, open, PageSize::MAX])?, today))
}

async fn list(asked: (Option<TenantId>, Option<CompanyId>, bool), config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let (found, since) =
        views.read(move |snapshot| Ok((read(snapshot, asked), super::incomplete(snapshot, "invoices")))).await?;
    let (rows, today) = found?;
    super::warn_cut(&rows, PageSize::MAX.get());
    if config.json {
        let rows: Vec<Value> = rows.iter().map(|row| as_json(row, today)).collect();
        output::json_line(&json!({ "incomplete_since": since, "today": today, "invoices": rows }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table =
        output::table(["number", "company", "invoice", "state", "amount", "paid", "open", "due on", "days late"]);
    for row in &rows {
        let amount = |money: Money| money.to_decimal().to_string();
        table.add_row([
            row.number.to_string(),
            row.company.to_string(),
            row.invoice.to_string(),
            row.state.name().to_owned(),
            row.amount().to_string(),
            amount(row.paid()),
            amount(row.open()),
            row.due_on.to_string(),
            row.days_overdue(today).to_string(),
        ]);
    }
    output::right(&mut table, &[0, 4, 5, 6, 8]);
    output::line(table)?;
    super::warn_incomplete(since);
    Ok(ExitCode::SUCCESS)
}

fn as_json(row: &Invoice, today: Date) -> Value {
    json!({
        "tenant": row.tenant, "invoice": row.invoice, "company": row.company, "number": row.number,
        "state": row.state.name(), "amount_minor": row.amount_minor, "paid_minor": row.paid_minor,
        "open_minor": row.open().minor, "currency": row.currency.code(), "through": row.through,
        "due_on": row.due_on, "days_overdue": row.days_overdue(today), "issued_at": row.issued_at.to_string(),
    })
}
