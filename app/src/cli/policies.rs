//! `tiffin subsidies list`.

use std::process::ExitCode;

use domain::{Money, TenantId};
use projections::{PageSize, args, policies::PolicyRow};
use serde_json::json;

use crate::{config::Config, output, wiring::Reading};

/// Lists policies, of all tenants if none is named; at most a hundred.
pub async fn run(tenant: Option<TenantId>, config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let rows: Vec<PolicyRow> = views
        .read(move |snapshot| {
            let query = "WHERE (?1 IS NULL OR tenant = ?1) ORDER BY tenant, policy LIMIT ?2";
            snapshot.fetch(query, args![tenant, PageSize::MAX])
        })
        .await?;
    super::warn_cut(&rows, PageSize::MAX.get());
    if config.json {
        let rows = rows.iter().map(|row| {
            json!({
                "tenant": row.tenant, "policy": row.policy, "company": row.company, "group": row.of_group,
                "currency": row.currency.code(), "zone": row.zone, "versions": row.versions,
                "ends": row.ends.map(|date| date.to_string()), "ahead_days": row.ahead_days,
                "waits_for": row.waits_for.map(|date| date.to_string()), "needed_minor": row.needed_minor,
                "short_minor": row.short_minor, "waits_since": row.waits_since.map(|at| at.to_string()),
                "last_run": row.last_run, "last_run_at": row.last_run_at.map(|at| at.to_string()),
            })
        });
        output::json_line(&json!({ "policies": rows.collect::<Vec<_>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["policy", "company", "versions", "ends", "standing", "last run", "waits"]);
    for row in &rows {
        table.add_row([
            row.policy.to_string(),
            row.company.to_string(),
            row.versions.to_string(),
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

fn waits(row: &PolicyRow) -> String {
    let Some(first) = row.waits_for else { return String::new() };
    let needed = row.needed_minor.map(|minor| Money::new(minor, row.currency));
    match needed.zip(row.short()) {
        Some((needed, short)) => format!("{first}: {short} of {needed} are missing"),
        None => format!("{first}: the company's account cannot be used"),
    }
}
