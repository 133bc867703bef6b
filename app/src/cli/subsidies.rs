//! `tiffin subsidies`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use domain::{CompanyId, Currency, DinerId, GroupId, Money, PolicyId, TenantId, account::Disclosure, policy::Terms};
use jiff::civil::Date;
use projections::{
    PageSize, args,
    grant_runs::Run,
    subsidies::{PolicyUse, SubsidyLot},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    admin_socket::{self, AdminRequest},
    cli::{
        company_use::{self, Use},
        days::DaysArgs,
        invoices, policies,
    },
    config::{Config, usage},
    invoicing::{InvoiceRequest, InvoiceWork},
    output,
    spreadsheet::Files,
    subsidies::{NewPolicy, SubsidyAnswer, SubsidyRequest, SubsidyWork},
    wiring::Reading,
};

/// Longest file of terms, in bytes.
const MAX_TERMS: u64 = 64 * 1024;
/// What a file of terms may say.
const FIELDS: [&str; 9] = [
    "amount",
    "per",
    "clearing",
    "calendar",
    "meals",
    "canteens",
    "order_limit",
    "share_percent",
    "cleared_on_leaving",
];
/// Most bad rows that are shown to people; `--json` lists up to a thousand.
const SHOWN: usize = 20;

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
    /// Open a policy for a company's diners, or for those of one group; the same again is the same policy
    Open {
        #[arg(long, value_name = "UUID")]
        company: CompanyId,
        /// Only for diners of this group
        #[arg(long, value_name = "UUID")]
        group: Option<GroupId>,
        /// ISO 4217 code of what is granted
        #[arg(long, value_name = "CODE")]
        currency: Currency,
        /// IANA time zone whose midnight clears
        #[arg(long, value_name = "ZONE")]
        zone: String,
        /// Tells policies of one company apart
        #[arg(long, default_value_t = 1)]
        number: u32,
    },
    /// Set the terms of a policy for dates from one on; lots that were granted keep theirs
    Set {
        policy: PolicyId,
        /// The first date that they are for
        #[arg(long, value_name = "DATE")]
        from: Date,
        /// The terms (TOML)
        #[arg(long, value_name = "FILE")]
        terms: PathBuf,
    },
    /// Grant nothing for dates from one on
    End {
        policy: PolicyId,
        #[arg(long, value_name = "DATE")]
        from: Date,
    },
    /// Pay money from the bank into a company's funds; the same key again pays nothing
    Fund {
        company: CompanyId,
        /// In major units, with the currency: "1200.00 CNY"
        amount: String,
        #[arg(long, value_name = "UUID")]
        key: Uuid,
    },
    /// Join, move and end employments from a CSV file of
    /// diner,from[,to][,group][,name][,employee_number][,phone]; with an employee number a row needs no diner
    Employ {
        company: CompanyId,
        /// The file: .csv or .csv.gz
        file: PathBuf,
    },
    /// Grant what the company's diners lack for some dates; the same again grants nothing
    Grant {
        policy: PolicyId,
        /// The first date
        #[arg(long, value_name = "DATE")]
        from: Date,
        /// The last date, included
        #[arg(long, value_name = "DATE")]
        to: Date,
    },
    /// Let a policy's grants make themselves, some days before each period begins; or no more
    Standing {
        #[arg(long, value_name = "UUID")]
        policy: PolicyId,
        /// Days before, at midnight in the policy's zone; at most 31
        #[arg(long, value_name = "DAYS", required_unless_present = "off")]
        ahead: Option<u16>,
        /// Only on request from now on
        #[arg(long, conflicts_with = "ahead")]
        off: bool,
    },
    /// List policies: what of them stands, their last runs, and why grants wait
    List,
    /// List runs of grants, the latest first
    Runs,
    /// List what a diner's lots have, the earliest expiry first
    Lots { diner: DinerId },
    /// What became of the money of each policy; of one company, what it paid for by day and diner
    Use {
        /// Only what this company's subsidies paid for
        #[arg(long, value_name = "UUID")]
        company: Option<CompanyId>,
        #[command(flatten)]
        days: DaysArgs,
        #[command(flatten)]
        files: Files,
    },
    /// Set what a company sees of its diners' meals: amounts, or the names of the dishes too
    Disclose {
        #[arg(long, value_name = "UUID")]
        company: CompanyId,
        what: What,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// How many orders its subsidies paid for, and how much
    Amounts,
    /// The names of the dishes too
    Dishes,
}

impl From<What> for Disclosure {
    fn from(what: What) -> Self {
        match what {
            What::Amounts => Disclosure::Amounts,
            What::Dishes => Disclosure::Dishes,
        }
    }
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let tenant = args.tenant;
    let work = match args.command {
        Command::Open { company, group, currency, zone, number } => {
            SubsidyWork::Open(NewPolicy { company, group, currency, zone, number })
        }
        Command::Set { policy, from, terms } => {
            SubsidyWork::SetTerms { policy, from, terms: Box::new(read_terms(&terms)?) }
        }
        Command::End { policy, from } => SubsidyWork::End { policy, from },
        Command::Fund { company, amount, key } => SubsidyWork::Fund { company, amount: super::amount(&amount)?, key },
        Command::Employ { company, file } => {
            let file = fs::canonicalize(&file)
                .map_err(|error| usage(format!("{} cannot be opened: {error}", file.display())))?;
            SubsidyWork::Employ { company, file }
        }
        Command::Grant { policy, from, to } => SubsidyWork::Grant { policy, first: from, last: to },
        Command::Standing { policy, ahead, off: _ } => SubsidyWork::Standing { policy, ahead_days: ahead },
        Command::List => return policies::run(tenant, config).await,
        Command::Runs => return runs(tenant, config).await,
        Command::Lots { diner } => return lots(tenant, diner, config).await,
        Command::Use { company: Some(company), days, files } => {
            return company_use::run(Use { tenant, company, days, files }, config).await;
        }
        Command::Use { company: None, days, files } => {
            if days.are_said() || files.are_wanted() {
                return Err(usage("--from, --to, --csv and --xlsx go with --company UUID"));
            }
            return policy_use(tenant, config).await;
        }
        Command::Disclose { company, what } => {
            let work = InvoiceWork::Disclose { company, disclosure: what.into() };
            return invoices::carry_out(InvoiceRequest { tenant, work }, config).await;
        }
    };
    let request = AdminRequest::Subsidies(SubsidyRequest { tenant, work });
    let answer = admin_socket::carry_out(config, request).await?;
    if config.json {
        output::json_line(&answer)?;
    }
    let answer: SubsidyAnswer = serde_json::from_value(answer)?;
    if !config.json {
        show(&answer)?;
    }
    let incomplete = match answer {
        SubsidyAnswer::Granted { short_minor, skipped, .. } => short_minor.is_some() || skipped > 0,
        SubsidyAnswer::Employed { bad_rows, .. } => bad_rows > 0,
        SubsidyAnswer::Policy { .. } | SubsidyAnswer::Funded { .. } => false,
    };
    Ok(ExitCode::from(u8::from(incomplete)))
}

fn read_terms(file: &Path) -> anyhow::Result<Terms> {
    let wrong = |why: String| usage(format!("{}: {why}", file.display()));
    let length = fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if length > MAX_TERMS {
        return Err(wrong(format!("it has {length} bytes; terms have at most {MAX_TERMS}")));
    }
    let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let terms: toml::Table = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    // A word that is not known is a rule that would not be kept.
    if let Some(unknown) = terms.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(wrong(format!("{unknown:?} is not a term of a policy; these are: {}", FIELDS.join(", "))));
    }
    terms.try_into().map_err(|error: toml::de::Error| wrong(error.to_string()))
}

fn show(answer: &SubsidyAnswer) -> anyhow::Result<()> {
    match answer {
        SubsidyAnswer::Policy { policy, .. } => output::line(policy),
        SubsidyAnswer::Funded { account, .. } => output::line(format_args!("Paid into {account}.")),
        SubsidyAnswer::Granted { diners, granted_minor, currency, skipped, short_minor, .. } => {
            let granted = Money::new(*granted_minor, *currency);
            output::line(format_args!("Granted {granted} to {} diners.", output::count(*diners)))?;
            if *skipped > 0 {
                let skipped = output::count(*skipped);
                output::line(format_args!(
                    "{skipped} of them did not get all of it: an account was closed meanwhile, or keeps as many lots as \
                     it can."
                ))?;
            }
            match short_minor.map(|minor| Money::new(minor, *currency)) {
                Some(short) => {
                    output::line(format_args!("The company's funds ran out: {short} were missing for the next batch."))
                }
                None => Ok(()),
            }
        }
        SubsidyAnswer::Employed { file, rows, changed, bad_rows, bad } => {
            let [rows, changed, bad_rows] = [*rows, *changed, *bad_rows].map(output::count);
            let name = file.display();
            output::line(format_args!("{name}: {rows} rows, {changed} diners changed, {bad_rows} bad rows."))?;
            for row in bad.iter().take(SHOWN) {
                output::line(format_args!("  {name}:{}: {}", row.line, row.reason))?;
            }
            Ok(())
        }
    }
}

async fn runs(tenant: Option<TenantId>, config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let rows: Vec<Run> = views
        .read(move |snapshot| {
            let query = "WHERE (?1 IS NULL OR tenant = ?1) ORDER BY begun DESC LIMIT ?2";
            snapshot.fetch(query, args![tenant, PageSize::MAX])
        })
        .await?;
    super::warn_cut(&rows, PageSize::MAX.get());
    if config.json {
        let rows = rows.iter().map(|row| {
            json!({
                "tenant": row.tenant, "run": row.run, "policy": row.policy, "company": row.company,
                "first": row.first.to_string(), "last": row.last.to_string(), "batches": row.batches,
                "diners": row.diners, "skipped": row.skipped, "granted_minor": row.granted_minor, "currency": row.currency.code(),
                "short_minor": row.short_minor, "finished": row.finished, "begun_at": row.begun_at.to_string(),
            })
        });
        output::json_line(&json!({ "runs": rows.collect::<Vec<_>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["begun", "run", "policy", "dates", "batches", "diners", "granted", "state"]);
    for row in &rows {
        let state = match (row.finished, row.short_minor) {
            (_, Some(_)) => "short of funds".to_owned(),
            (true, None) if row.skipped > 0 => format!("finished, {} skipped", output::count(row.skipped)),
            (true, None) => "finished".to_owned(),
            (false, None) => "under way".to_owned(),
        };
        table.add_row([
            output::time(row.begun_at),
            row.run.to_string(),
            row.policy.to_string(),
            format!("{} to {}", row.first, row.last),
            row.batches.to_string(),
            output::count(row.diners),
            row.granted().to_string(),
            state,
        ]);
    }
    output::right(&mut table, &[4, 5, 6]);
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}

async fn lots(tenant: Option<TenantId>, diner: DinerId, config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let rows: Vec<SubsidyLot> = views
        .read(move |snapshot| {
            let query = "WHERE (?1 IS NULL OR tenant = ?1) AND diner = ?2 ORDER BY expires_at, lot LIMIT ?3";
            snapshot.fetch(query, args![tenant, diner, PageSize::MAX])
        })
        .await?;
    super::warn_cut(&rows, PageSize::MAX.get());
    if config.json {
        let rows = rows.iter().map(|row| {
            json!({
                "tenant": row.tenant, "lot": row.lot, "policy": row.policy, "version": row.version,
                "first": row.first.to_string(), "last": row.last.to_string(),
                "meal": row.meal.map(domain::serving::Meal::name), "expires_at": row.expires_at.to_string(),
                "currency": row.currency.code(), "granted_minor": row.granted_minor, "left_minor": row.left_minor,
                "held_minor": row.held_minor, "lapsed_minor": row.lapsed_minor, "expired": row.expired,
            })
        });
        output::json_line(&json!({ "lots": rows.collect::<Vec<_>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["for", "meal", "expires", "granted", "left", "held", "lapsed", "currency"]);
    for row in &rows {
        let amount = |minor| Money::new(minor, row.currency).to_decimal().to_string();
        table.add_row([
            format!("{} to {}", row.first, row.last),
            row.meal.map_or("any", domain::serving::Meal::name).to_owned(),
            output::time(row.expires_at),
            amount(row.granted_minor),
            amount(row.left_minor),
            amount(row.held_minor),
            amount(row.lapsed_minor),
            row.currency.to_string(),
        ]);
    }
    output::right(&mut table, &[3, 4, 5, 6]);
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}

async fn policy_use(tenant: Option<TenantId>, config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let rows: Vec<PolicyUse> = views
        .read(move |snapshot| {
            let query = "WHERE (?1 IS NULL OR tenant = ?1) ORDER BY tenant, policy, currency LIMIT ?2";
            snapshot.fetch(query, args![tenant, PageSize::MAX])
        })
        .await?;
    super::warn_cut(&rows, PageSize::MAX.get());
    if config.json {
        let rows = rows.iter().map(|row| {
            json!({
                "tenant": row.tenant, "policy": row.policy, "currency": row.currency.code(),
                "granted_minor": row.granted_minor, "spent_minor": row.spent_minor,
                "refunded_minor": row.refunded_minor, "lapsed_minor": row.lapsed_minor,
            })
        });
        output::json_line(&json!({ "policies": rows.collect::<Vec<_>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["policy", "granted", "spent", "refunded", "lapsed", "left", "currency"]);
    for row in &rows {
        let amount = |minor| Money::new(minor, row.currency).to_decimal().to_string();
        let left = row.granted_minor - row.spent_minor + row.refunded_minor - row.lapsed_minor;
        table.add_row([
            row.policy.to_string(),
            amount(row.granted_minor),
            amount(row.spent_minor),
            amount(row.refunded_minor),
            amount(row.lapsed_minor),
            amount(left),
            row.currency.to_string(),
        ]);
    }
    output::right(&mut table, &[1, 2, 3, 4, 5]);
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}
