//! `tiffin orders list`.

use std::process::ExitCode;

use domain::{CanteenId, TenantId};
use jiff::civil::Date;
use projections::{PageSize, Views, args, as_of::orders, diner_orders::Order};
use serde_json::{Value, json};
use store::Position;

use crate::{
    cli::{
        self,
        as_of::{self, AsOfArgs, Asked},
    },
    config::{Config, usage},
    output,
    wiring::Reading,
};

/// Tenants that an error names.
const NAMED: usize = 10;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The local date of the canteens on which the orders are served
    #[arg(long, value_name = "DATE")]
    day: Date,
    /// Only this canteen's
    #[arg(long, value_name = "UUID")]
    canteen: Option<CanteenId>,
    /// How many orders at most
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Only those placed after event POSITION: the last one that was listed
    #[arg(long, value_name = "POSITION")]
    after: Option<Position>,
    #[command(flatten)]
    as_of: AsOfArgs,
}

pub async fn run(said: Option<TenantId>, args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let reading = Reading::open(config).await?;
    let views = reading.views().await?;
    let asked = args.as_of.reached(&reading.store).await?;
    let (position, since) = views
        .read(move |snapshot| Ok((snapshot.position(), as_of::incomplete(snapshot, "diner_orders", asked))))
        .await?;
    let mut orders: Vec<Order> = Vec::new();
    if let Some(tenant) = tenant_of(&views, said, &args).await? {
        let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
        while orders.len() < limit {
            let page = PageSize::clamped(limit - orders.len());
            let after = orders.last().map(|order| order.placed).or(args.after);
            let read = page_of(&reading, &views, (tenant, args.canteen, args.day), after, page, asked).await?;
            if read.is_empty() {
                break;
            }
            orders.extend(read);
        }
    }
    if config.json {
        let orders: Vec<Value> = orders.iter().map(as_json).collect();
        output::json_line(&json!({
            "position": position, "as_of": as_of::as_json(asked), "incomplete_since": since, "orders": orders,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = output::table(["placed", "at", "order", "status", "dishes", "total", "refunded", "currency"]);
    for order in &orders {
        let dishes = order.lines.iter().map(|line| format!("{} {}", line.quantity, line.name));
        table.add_row([
            order.placed.to_string(),
            output::time(order.placed_at),
            order.order_id.to_string(),
            super::word(order.status),
            dishes.collect::<Vec<_>>().join(", "),
            order.total().to_decimal().to_string(),
            order.refunded().to_decimal().to_string(),
            order.currency.to_string(),
        ]);
    }
    output::right(&mut table, &[0, 5, 6]);
    output::line(table)?;
    output::line(format_args!("{}, in the order of placing.", as_of::shown(asked, position)))?;
    cli::warn_incomplete(since);
    Ok(ExitCode::SUCCESS)
}

async fn page_of(
    reading: &Reading,
    views: &Views,
    (tenant, canteen, day): (TenantId, Option<CanteenId>, Date),
    after: Option<Position>,
    page: PageSize,
    asked: Option<Asked>,
) -> anyhow::Result<Vec<Order>> {
    match asked {
        Some(asked) => orders::of_day(&*reading.store, views, tenant, (canteen, day), after, page, asked.moment)
            .await
            .map_err(as_of::explained),
        None => Ok(projections::diner_orders::of_day(views, tenant, canteen, day, after, page).await?),
    }
}

/// The one tenant that serves something on that day; none when nobody does.
async fn tenant_of(views: &Views, said: Option<TenantId>, args: &Args) -> anyhow::Result<Option<TenantId>> {
    if let Some(tenant) = said {
        return Ok(Some(tenant));
    }
    let (day, canteen, most) = (args.day, args.canteen, NAMED);
    let serving: Vec<TenantId> = views
        .read(move |snapshot| {
            snapshot.query(
                "SELECT DISTINCT tenant FROM {servings} WHERE date = ?1 AND (?2 IS NULL OR canteen = ?2)
                 ORDER BY tenant LIMIT ?3",
                args![day, canteen, most],
                |row| row.get(0),
            )
        })
        .await?;
    match serving.as_slice() {
        [] => Ok(None),
        [tenant] => Ok(Some(*tenant)),
        several => {
            let named: Vec<String> = several.iter().map(|tenant| format!("--tenant {tenant}")).collect();
            Err(usage(format!("several tenants serve on {day}; say which is meant: {}", named.join(", "))))
        }
    }
}

fn as_json(order: &Order) -> Value {
    let refusal = order.refusal.as_ref().map(|refusal| refusal.code());
    json!({
        "tenant": order.tenant, "order": order.order_id, "diner": order.diner, "canteen": order.canteen,
        "serving": order.serving, "status": order.status, "lines": *order.lines, "total_minor": order.total_minor,
        "refunded_minor": order.refunded_minor, "currency": order.currency, "refusal": refusal,
        "tenders": *order.tenders, "refunds": *order.refunds, "placed": order.placed, "placed_at": order.placed_at,
        "confirmed_at": order.confirmed_at, "ready_at": order.ready_at, "ended_at": order.ended_at,
    })
}
