//! `tiffin accounts top-ups`.

use std::process::ExitCode;

use domain::TenantId;
use projections::{
    PageSize,
    top_ups::{self, Status},
};
use serde_json::{Value, json};

use crate::{cli::days::tenant_of_books, config::Config, output, wiring::Reading};

/// Lists top-ups, the latest first; at most a hundred.
pub async fn run(tenant: Option<TenantId>, failed: bool, config: &Config) -> anyhow::Result<ExitCode> {
    let views = Reading::open(config).await?.views().await?;
    let status = failed.then_some(Status::Failed);
    let rows = views
        .read(move |snapshot| {
            let tenant = tenant_of_books(snapshot, tenant);
            Ok(tenant.map(|tenant| top_ups::list(snapshot, tenant, status, None, PageSize::MAX)))
        })
        .await???;
    super::warn_cut(&rows, PageSize::MAX.get());
    if config.json {
        let rows = rows.iter().map(|row| {
            json!({
                "tenant": row.tenant, "top_up": row.top_up, "account": row.account, "amount_minor": row.amount_minor,
                "currency": row.currency, "source": row.source, "status": row.status.name(),
                "reason": row.reason.map(|why| why.name()), "requested_by": row.requested_by,
                "requested_at": row.requested_at,
            })
        });
        output::json_line(&json!({ "top_ups": rows.collect::<Vec<Value>>() }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["requested", "top-up", "account", "amount", "status", "why"]);
    for row in &rows {
        table.add_row([
            output::time(row.requested_at),
            row.top_up.to_string(),
            row.account.to_string(),
            row.amount().to_string(),
            row.status.name().to_owned(),
            row.reason.map_or("", |why| why.name()).to_owned(),
        ]);
    }
    output::right(&mut table, &[3]);
    output::line(table)?;
    Ok(ExitCode::SUCCESS)
}
