//! `tiffin diners`.

use std::process::ExitCode;

use domain::{CompanyId, DinerId, TenantId, details};
use projections::{
    PageSize, Views,
    diners::{self, Diner, Shown},
};
use serde_json::{Value, json};
use store::keys::{KeyError, Keyring};

use crate::{
    admin_socket::{self, AdminRequest},
    bookkeeping,
    config::{Config, usage},
    output,
    people::{EraseAnswer, EraseRequest},
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
    /// List diners by their ids, with what is known of them where their keys are
    List {
        /// Only those whom this company employs or employed last
        #[arg(long, value_name = "UUID")]
        company: Option<CompanyId>,
        /// How many at most
        #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        limit: u32,
        /// Only those behind this diner: the last one that was listed
        #[arg(long, value_name = "UUID")]
        after: Option<DinerId>,
    },
    /// Show what is known of a diner
    Show { diner: DinerId },
    /// Find the diner whom a company means by an employee number; exits with 1 when there is none
    Find {
        #[arg(long, value_name = "UUID")]
        company: CompanyId,
        #[arg(long, value_name = "NUMBER")]
        employee_number: String,
    },
    /// Erase a diner for good: what is known of them never opens again, their orders and money stay on
    /// the books. Refused while they are employed, have a balance, or something of theirs is open
    Erase { diner: DinerId },
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let Args { command, tenant } = args;
    match command {
        Command::List { company, limit, after } => list(tenant, company, (limit, after), config).await,
        Command::Show { diner } => show(tenant, diner, config).await,
        Command::Find { company, employee_number } => find(tenant, company, &employee_number, config).await,
        Command::Erase { diner } => erase(EraseRequest { tenant, diner }, config).await,
    }
}

/// The tenant that is said, or the only one.
async fn tenant_of(reading: &Reading, said: Option<TenantId>) -> anyhow::Result<TenantId> {
    match said {
        Some(tenant) => Ok(tenant),
        None => bookkeeping::only_tenant(&*reading.store).await,
    }
}

/// What opens of the rows. Without keys everything is sealed, and a note says why.
async fn opened(keys: Option<&Keyring>, rows: &[Diner]) -> anyhow::Result<(Vec<Shown>, Option<String>)> {
    match diners::open(keys, rows).await {
        Ok(shown) => Ok((shown, None)),
        Err(KeyError::Missing(why)) => {
            let sealed = |row: &Diner| match (&row.details, row.erased) {
                (_, Some(_)) => Shown::Erased,
                (Some(_), None) => Shown::Sealed,
                (None, None) => Shown::Nothing,
            };
            Ok((rows.iter().map(sealed).collect(), Some(why)))
        }
        Err(error) => Err(error.into()),
    }
}

/// In one word, where there is nothing to read.
fn word(shown: &Shown) -> &'static str {
    match shown {
        Shown::Nothing => "none",
        Shown::Known(_) => "known",
        Shown::Erased => "erased",
        Shown::Sealed => "sealed",
    }
}

fn as_json(row: &Diner, shown: &Shown) -> Value {
    let known = match shown {
        Shown::Known(details) => Some(details),
        Shown::Nothing | Shown::Erased | Shown::Sealed => None,
    };
    json!({
        "tenant": row.tenant, "diner": row.diner, "company": row.company, "employed": row.employed,
        "details": word(shown), "name": known.map(|known| &known.name),
        "employee_number": known.and_then(|known| known.employee_number.as_ref()),
        "phone": known.and_then(|known| known.phone.as_ref()), "erased": row.erased,
    })
}

async fn list(
    tenant: Option<TenantId>,
    company: Option<CompanyId>,
    (limit, after): (u32, Option<DinerId>),
    config: &Config,
) -> anyhow::Result<ExitCode> {
    let reading = Reading::open(config).await?;
    let (views, tenant) = (reading.views().await?, tenant_of(&reading, tenant).await?);
    let rows = rows(&views, tenant, company, (limit as usize, after)).await?;
    let (shown, sealed) = opened(reading.keys.as_ref(), &rows).await?;
    if config.json {
        let diners: Vec<Value> = rows.iter().zip(&shown).map(|(row, shown)| as_json(row, shown)).collect();
        output::json_line(&json!({ "diners": diners, "sealed": sealed }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["diner", "company", "employed", "name", "number", "phone"]);
    for (row, shown) in rows.iter().zip(&shown) {
        let company = row.company.map_or(String::new(), |company| company.to_string());
        let employed = if row.employed { "yes" } else { "no" };
        let [name, number, phone] = match shown {
            Shown::Known(known) => [Some(known.name.clone()), known.employee_number.clone(), known.phone.clone()]
                .map(Option::unwrap_or_default),
            Shown::Nothing => Default::default(),
            Shown::Erased | Shown::Sealed => [format!("({})", word(shown)), String::new(), String::new()],
        };
        table.add_row([row.diner.to_string(), company, employed.to_owned(), name, number, phone]);
    }
    output::line(table)?;
    tell(sealed);
    Ok(ExitCode::SUCCESS)
}

async fn rows(
    views: &Views,
    tenant: TenantId,
    company: Option<CompanyId>,
    (limit, mut after): (usize, Option<DinerId>),
) -> anyhow::Result<Vec<Diner>> {
    let mut rows: Vec<Diner> = Vec::new();
    while rows.len() < limit {
        let page = PageSize::clamped(limit - rows.len());
        let read = diners::list(views, tenant, company, after, page).await?;
        let Some(last) = read.last() else { break };
        after = Some(last.diner);
        rows.extend(read);
    }
    Ok(rows)
}

fn tell(sealed: Option<String>) {
    if let Some(why) = sealed {
        output::note(format_args!("SEALED: {why}"));
    }
}

async fn show(tenant: Option<TenantId>, diner: DinerId, config: &Config) -> anyhow::Result<ExitCode> {
    let reading = Reading::open(config).await?;
    let (views, tenant) = (reading.views().await?, tenant_of(&reading, tenant).await?);
    let Some(row) = diners::of_id(&views, tenant, diner).await? else {
        return Err(usage(format!("no company ever employed diner {diner}")));
    };
    let (shown, sealed) = opened(reading.keys.as_ref(), std::slice::from_ref(&row)).await?;
    let shown = shown.into_iter().next().unwrap_or(Shown::Nothing);
    if config.json {
        output::json_line(&as_json(&row, &shown))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["what", "is"]);
    let company = row.company.map_or("-".to_owned(), |company| company.to_string());
    table.add_row(["diner".to_owned(), row.diner.to_string()]).add_row(["company".to_owned(), company]);
    match &shown {
        Shown::Known(known) => {
            table.add_row(["name", &known.name]);
            table.add_row(["number", known.employee_number.as_deref().unwrap_or("-")]);
            table.add_row(["phone", known.phone.as_deref().unwrap_or("-")]);
        }
        Shown::Nothing | Shown::Erased | Shown::Sealed => {
            table.add_row(["details", word(&shown)]);
        }
    }
    output::line(table)?;
    tell(sealed);
    Ok(ExitCode::SUCCESS)
}

async fn find(tenant: Option<TenantId>, company: CompanyId, number: &str, config: &Config) -> anyhow::Result<ExitCode> {
    let number = details::employee_number(number).map_err(|error| usage(error.to_string()))?;
    let reading = Reading::open(config).await?;
    let tenant = tenant_of(&reading, tenant).await?;
    let keys = reading.keys.as_ref().ok_or_else(|| usage(Keyring::none().to_string()))?;
    let found = sagas::People::find(keys, tenant, company, &number).await.map_err(|error| match error {
        KeyError::Missing(why) => usage(why),
        error => error.into(),
    })?;
    if config.json {
        output::json_line(&json!({ "tenant": tenant, "company": company, "diner": found }))?;
    } else {
        match found {
            Some(diner) => output::line(diner)?,
            None => output::line("No diner of that company has that employee number.")?,
        }
    }
    Ok(ExitCode::from(u8::from(found.is_none())))
}

async fn erase(request: EraseRequest, config: &Config) -> anyhow::Result<ExitCode> {
    let answer = admin_socket::carry_out(config, AdminRequest::Erase(request)).await?;
    if config.json {
        output::json_line(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let EraseAnswer { diner, changed, .. } = serde_json::from_value(answer)?;
    let done = if changed { "is erased" } else { "was erased before" };
    output::line(format_args!("Diner {diner} {done}: what was known of them never opens again."))?;
    Ok(ExitCode::SUCCESS)
}
