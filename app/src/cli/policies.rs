//! `tiffin subsidies list`.

use std::{collections::HashMap, process::ExitCode};

use domain::{Money, PolicyId, TenantId, policy::Per};
use projections::{
    PageSize, Snapshot, ViewError, args,
    policies::{self, PolicyRow, PolicyVersion},
};
use serde_json::{Value, json};

use crate::{config::Config, output, wiring::Reading};

/// Lists policies, of all tenants if none is named; at most a hundred.
pub async fn run(tenant: Option<TenantId>, config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let (rows, versions) = views
        .read(move |snapshot| {
            let query = "WHERE (?1 IS NULL OR tenant = ?1) ORDER BY tenant, policy LIMIT ?2";
            let rows: Vec<PolicyRow> = snapshot.fetch(query, args![tenant, PageSize::MAX])?;
            let versions = versions_of(snapshot, &rows)?;
            Ok((rows, versions))
        })
        .await?;
    let versions_of = |row: &PolicyRow| versions.get(&(row.tenant, row.policy)).map_or(&[][..], Vec::as_slice);
    super::warn_cut(&rows, PageSize::MAX.get());
    if config.json {
        let rows = rows.iter().map(|row| {
            json!({
                "tenant": row.tenant, "policy": row.policy, "company": row.company, "group": row.of_group,
                "currency": row.currency.code(), "zone": row.zone, "versions": row.versions,
                "terms": versions_of(row).iter().map(as_json).collect::<Vec<_>>(),
                "ends": row.ends.map(|date| date.to_string()), "ahead_days": row.ahead_days,
                "waits_for": row.waits_for.map(|date| date.to_string()), "needed_minor": row.needed_minor,
                "short_minor": row.short_minor, "waits_since": row.waits_since.map(|at| at.to_string()),
                "last_run": row.last_run, "last_run_at": row.last_run_at.map(|at| at.to_string()),
            })
        });
        output::json_line(&json!({ "policies": rows.collect::<Vec<_>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table =
        output::table(["policy", "company", "versions", "last terms", "ends", "standing", "last run", "waits"]);
    for row in &rows {
        table.add_row([
            row.policy.to_string(),
            row.company.to_string(),
            row.versions.to_string(),
            versions_of(row).last().map(last_terms).unwrap_or_default(),
            row.ends.map(|date| date.to_string()).unwrap_or_default(),
            row.ahead_days.map_or_else(String::new, |days| format!("{days} days ahead")),
            row.last_run_at.map(output::time).unwrap_or_default(),
            waits(row),
        ]);
    }
    output::right(&mut table, &[2]);
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}

type Versions = HashMap<(TenantId, PolicyId), Vec<PolicyVersion>>;

/// What each policy grants, version by version.
fn versions_of(snapshot: &Snapshot<'_>, rows: &[PolicyRow]) -> Result<Versions, ViewError> {
    let mut found = Versions::new();
    // They come in the order of their tenants.
    for of_tenant in rows.chunk_by(|one, other| one.tenant == other.tenant) {
        let policies: Vec<PolicyId> = of_tenant.iter().map(|row| row.policy).collect();
        for version in policies::versions(snapshot, of_tenant[0].tenant, &policies)? {
            found.entry((version.tenant, version.policy)).or_default().push(version);
        }
    }
    Ok(found)
}

fn as_json(version: &PolicyVersion) -> Value {
    let terms = &version.terms.0;
    json!({
        "version": version.version, "from": version.from_date, "amount_minor": terms.amount.minor, "per": terms.per,
        "clearing": terms.clearing, "calendar": terms.calendar, "meals": terms.meals, "canteens": terms.canteens,
        "order_limit_minor": terms.order_limit.map(|limit| limit.minor), "share_percent": terms.share_percent,
        "cleared_on_leaving": terms.cleared_on_leaving,
    })
}

fn last_terms(version: &PolicyVersion) -> String {
    let per = match version.terms.per {
        Per::Meal => "meal",
        Per::Day => "day",
        Per::Month => "month",
    };
    format!("{} a {per} from {}", version.terms.amount, version.from_date)
}

fn waits(row: &PolicyRow) -> String {
    let Some(first) = row.waits_for else { return String::new() };
    let needed = row.needed_minor.map(|minor| Money::new(minor, row.currency));
    match needed.zip(row.short()) {
        Some((needed, short)) => format!("{first}: {short} of {needed} are missing"),
        None => format!("{first}: the company's account cannot be used"),
    }
}
