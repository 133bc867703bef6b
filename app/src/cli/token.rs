//! `tiffin token`: a token for development, signed with the folder's own key.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use domain::{ActorId, CanteenId, CompanyId, TenantId};
use graphql::identity::{Canteens, Identity, Issuer, Role};
use serde_json::json;
use uuid::Uuid;

use crate::{
    config::{Config, usage},
    output,
};

/// Longest life of a development token, in hours.
const MAX_HOURS: u64 = 24 * 366;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whose data it opens
    #[arg(long, value_name = "UUID")]
    tenant: TenantId,
    /// What its bearer may do: diner, canteen, company, finance, auditor, ops; may be repeated
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
    /// Who its bearer is; for a diner, the diner's own id [default: somebody new]
    #[arg(long, value_name = "UUID")]
    subject: Option<Uuid>,
    /// A canteen in which its bearer works, or "all"; may be repeated
    #[arg(long = "canteen", value_name = "UUID|all")]
    canteens: Vec<String>,
    /// A company that its bearer sees; may be repeated
    #[arg(long = "company", value_name = "UUID")]
    companies: Vec<CompanyId>,
    /// How long it is good for: 90s, 30m, 12h, 7d
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = parse_ttl)]
    ttl: Duration,
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let wrong = || format!("a time is a number and s, m, h or d, at most {} days", MAX_HOURS / 24);
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)).ok_or_else(wrong)?;
    if seconds == 0 || seconds > MAX_HOURS * 3_600 { Err(wrong()) } else { Ok(Duration::from_secs(seconds)) }
}

fn canteens(named: &[String]) -> anyhow::Result<Canteens> {
    if named.iter().any(|name| name == "all") {
        return Ok(Canteens::ALL);
    }
    let ids = named.iter().map(|name| name.parse::<CanteenId>());
    let ids: Result<Vec<CanteenId>, _> = ids.collect();
    ids.map(Canteens::Only).map_err(|error| usage(format!("--canteen takes a UUID or all: {error}")))
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let Some(folder) = config.key_folder() else {
        return Err(usage("a server in memory keeps its key to itself; name another --store, or --data DIR"));
    };
    std::fs::create_dir_all(&folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let issuer = Issuer::open(&folder)?;
    let subject = args.subject.unwrap_or_else(Uuid::now_v7);
    let identity = Identity {
        tenant: args.tenant,
        actor: ActorId(subject),
        roles: args.roles,
        canteens: canteens(&args.canteens)?,
        companies: args.companies,
    };
    let token = issuer.mint(&identity, args.ttl)?;
    if config.json {
        let roles: Vec<&str> = identity.roles.iter().map(|role| role.name()).collect();
        output::json_line(&json!({
            "token": token, "tenant": identity.tenant, "subject": subject, "roles": roles,
            "seconds": args.ttl.as_secs(),
        }))?;
    } else {
        output::line(token)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_has_a_unit_and_a_bound() {
        assert_eq!(parse_ttl("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_ttl("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "h", "12", "0s", "-1h", "367d", "99999999999999999999d", "1é"] {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
    }
}
