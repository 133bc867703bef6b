//! `tiffin verify`: the views against the log, and the log against itself.

mod processes;
mod side_by_side;

use std::{process::ExitCode, time::Duration};

use anyhow::bail;
use projections::{Build, Difference, Views};
use serde_json::{Value, json};

use crate::{
    admin_socket::{self, AdminRequest},
    cli::trial_balance,
    config::Config,
    output,
    progress::{Bar, Progress},
    wiring::Reading,
};

/// How long views that lag may stand before nobody is thought to keep them up. A server that has died is
/// followed by another within half of it.
const KEEPERS: Duration = Duration::from_secs(12);

#[derive(Debug, clap::Args)]
pub struct Args {}

pub async fn run(_args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let reading = Reading::open(config).await?;
    let views = reading.views().await?;
    will_move(&reading, &views, config).await?;
    let bar = Bar::new();
    let mut report = projections::verify(reading.store.clone(), &views, |at| {
        bar.show(Progress::new("folding the log anew", at.position, Some(at.head)));
    })
    .await?;
    drop(bar);
    report.differences.extend(processes::standing_still(&*reading.store, &views).await?);
    let books = views.read(|snapshot| trial_balance::read(snapshot, None)).await?;
    let balanced = books.iter().all(|row| row.balance.is_zero());
    let live: Vec<Build> = views.builds().await?.into_iter().filter(|build| build.live).collect();
    let same = report.differences.is_empty() && balanced;
    let views_differing = live.iter().filter(|build| differs(&build.projection, &report.differences)).count();
    if config.json {
        let views: Vec<Value> = live
            .iter()
            .map(|build| {
                let same = !differs(&build.projection, &report.differences);
                json!({ "projection": build.projection, "version": build.version, "same": same })
            })
            .collect();
        let differences: Vec<Value> = report
            .differences
            .iter()
            .map(|it| {
                let columns = side_by_side::columns(it).into_iter().map(|column| {
                    json!({
                        "column": column.name, "found": column.found, "expected": column.expected,
                        "differs": column.found != column.expected,
                    })
                });
                let columns: Vec<Value> = columns.collect();
                json!({ "subject": it.subject, "found": it.found, "expected": it.expected, "columns": columns })
            })
            .collect();
        let books: Vec<Value> = books.iter().map(trial_balance::as_json).collect();
        output::json_line(&json!({
            "position": report.position, "events": report.events, "streams": report.streams,
            "accounts": report.accounts, "rows": report.rows, "same": same, "balanced": balanced,
            "views_differing": views_differing, "views": views, "differences": differences, "books": books,
        }))?;
        return Ok(ExitCode::from(u8::from(!same)));
    }
    let mut table = output::table(["view", "version", "against its refold"]);
    for build in &live {
        let verdict = if differs(&build.projection, &report.differences) { "DIFFERS" } else { "the same" };
        table.add_row([build.projection.clone(), build.version.to_string(), verdict.to_owned()]);
    }
    output::line(table)?;
    report.differences.iter().try_for_each(side_by_side::show)?;
    let counted = [
        (report.events, "events"),
        (report.streams, "streams"),
        (report.rows, "rows"),
        (report.accounts, "limited accounts"),
    ];
    let counted = counted.map(|(count, what)| format!("{} {what}", output::count(count))).join(", ");
    output::line(format_args!("Compared up to event {}: {counted}.", output::count(report.position)))?;
    for row in &books {
        let (currency, difference) = (row.currency, row.balance.to_decimal());
        output::line(format_args!("Trial balance of {} in {currency}: {difference}.", row.tenant))?;
    }
    output::line(if same { "All is well." } else { "NOT ALL IS WELL." })?;
    Ok(ExitCode::from(u8::from(!same)))
}

/// Whether a difference is of this view's rows.
fn differs(view: &str, differences: &[Difference]) -> bool {
    differences.iter().any(|it| {
        let rest = it.subject.strip_prefix("view ").and_then(|subject| subject.strip_prefix(view));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
    })
}

/// Views that lag behind the log with nobody to keep them up would be waited for in vain.
async fn will_move(reading: &Reading, views: &Views, config: &Config) -> anyhow::Result<()> {
    let head = reading.store.head().await?;
    let position = views.read(|snapshot| Ok(snapshot.position())).await?;
    if position >= head {
        return Ok(());
    }
    let kept_up = match config.held_folder() {
        Some(folder) => admin_socket::ask(&folder, &AdminRequest::Ping, &|_| {}).await?.is_some(),
        // Servers of a database are not known here: it shows when they are there.
        None => views.wait_for(position + 1, KEEPERS).await.is_ok(),
    };
    if !kept_up {
        bail!(
            "the views stand at event {position} and the log at {head}, and no server keeps them up; start \
             `tiffin serve`, or let `tiffin projections rebuild --all` fold them to the end"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_belongs_to_its_view_alone() {
        let of = |subject: &str| {
            let difference = Difference { subject: subject.into(), found: String::new(), expected: String::new() };
            differs("menu", &[difference])
        };
        assert!(of("view menu") && of("view menu, table dishes__v1_b1"));
        assert!(!of("view menus") && !of("the log") && !of("view dashboard, table menu"));
    }
}
