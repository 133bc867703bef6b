//! `tiffin import`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use domain::{Currency, Money, TenantId};

use crate::{
    admin_socket::{self, AdminRequest},
    config::{Config, usage},
    import::{DishTerms, ImportReport, ImportRequest, Mapping, Reconciliation, What},
    output,
};

/// Most bad rows and orders that are shown to people; `--json` lists up to a thousand.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: Kind,
}

#[derive(Debug, clap::Subcommand)]
enum Kind {
    /// Put dishes on a canteen's menu from a CSV file of name,category,price[,currency][,tax_rate]
    Dishes(Dishes),
    /// Book a till's history from a CSV file of order lines, each order at its own time
    Orders(Orders),
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The file: .csv or .csv.gz
    file: PathBuf,
    /// Import nothing if any row is bad
    #[arg(long)]
    strict: bool,
    /// Whose books it is for [default: the only tenant there is]
    #[arg(long, value_name = "UUID")]
    tenant: Option<TenantId>,
}

#[derive(Debug, clap::Args)]
struct Dishes {
    #[command(flatten)]
    common: Common,
    /// The canteen's name; it is opened if there is none
    #[arg(long, value_name = "NAME")]
    canteen: String,
    /// ISO 4217 code of the prices [default: the canteen's]
    #[arg(long, value_name = "CODE")]
    currency: Option<Currency>,
    /// IANA time zone of a canteen that is to be opened
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Orders {
    #[command(flatten)]
    common: Common,
    /// Which column means what (TOML)
    #[arg(long, value_name = "FILE")]
    mapping: PathBuf,
    /// Write every row that is left out to this CSV file, with its amount and the reason
    #[arg(long, value_name = "FILE")]
    left_out: Option<PathBuf>,
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<ExitCode> {
    let (common, left_out, what) = match args.what {
        Kind::Orders(Orders { common, mapping, left_out }) => {
            let read = Mapping::read(&mapping)?;
            let left_out = left_out.map(|file| written_to(&file, [&common.file, &mapping])).transpose()?;
            (common, left_out, What::Orders(Box::new(read)))
        }
        Kind::Dishes(Dishes { common, canteen, currency, zone }) => {
            (common, None, What::Dishes(DishTerms { canteen, currency, zone }))
        }
    };
    let file = std::fs::canonicalize(&common.file)
        .map_err(|error| usage(format!("{} cannot be opened: {error}", common.file.display())))?;
    let request = ImportRequest { tenant: common.tenant, file, strict: common.strict, left_out, what };
    let answer = admin_socket::carry_out(config, AdminRequest::Import(request)).await?;
    let report: ImportReport = serde_json::from_value(answer.clone())?;
    if config.json {
        output::json_line(&answer)?;
    } else {
        show(&report, &common.file)?;
    }
    Ok(ExitCode::from(u8::from(!report.is_clean())))
}

/// Where a list goes, for whoever writes it. What the import reads is not written over.
fn written_to(file: &Path, read: [&PathBuf; 2]) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(file).map_err(|error| usage(format!("--left-out {}: {error}", file.display())))?;
    let same = |other: &&PathBuf| std::fs::canonicalize(other).ok() == std::fs::canonicalize(&path).ok();
    if path.exists() && read.iter().any(same) {
        return Err(usage(format!("--left-out {}: the import reads that file", file.display())));
    }
    Ok(path)
}

fn show(report: &ImportReport, file: &Path) -> anyhow::Result<()> {
    let amount = |minor: i64| format!("{} {}", report.currency, Money::new(minor, report.currency).to_decimal());
    let name = file.display();
    output::line(format_args!("{name}: {} rows for the canteen {}", output::count(report.rows), report.canteen))?;
    if report.refused {
        output::line("Nothing was imported: with --strict every row must be good.")?;
    } else if !report.changed() {
        let (orders, dishes) = (report.orders_unchanged, report.dishes_unchanged);
        let (orders, dishes) = (output::count(orders), output::count(dishes));
        let refunds = match report.refunds_unchanged {
            0 => String::new(),
            refunds => format!(", {} refunds", output::count(refunds)),
        };
        output::line(format_args!("Nothing changed: {orders} orders{refunds} and {dishes} dishes are there already."))?;
    } else {
        show_changes(report)?;
    }
    if let Some(sales) = &report.sales {
        let (orders, units) = (output::count(sales.orders), output::count(sales.units));
        let takings = amount(sales.takings_minor);
        output::line(format_args!(
            "The sales view now has {orders} orders, {units} units, {takings} over these days."
        ))?;
    }
    if let Some(reconciled) = &report.reconciliation {
        show_reconciled(report, reconciled)?;
    }
    show_problems(report, file)
}

fn show_changes(report: &ImportReport) -> anyhow::Result<()> {
    let amount = |minor: i64| format!("{} {}", report.currency, Money::new(minor, report.currency).to_decimal());
    if report.orders_imported + report.orders_unchanged > 0 {
        let (orders, units) = (output::count(report.orders_imported), output::count(report.units_imported));
        let (worth, known) = (amount(report.imported_minor), output::count(report.orders_unchanged));
        output::line(format_args!(
            "Imported {orders} orders of {units} units for {worth}; {known} were there already."
        ))?;
    }
    if report.orders_split > 0 {
        let split = output::count(report.orders_split);
        output::line(format_args!("{split} of the till's orders are larger than an order can be and became several."))?;
    }
    if report.refunds_imported + report.refunds_unchanged > 0 {
        let (refunds, units) = (output::count(report.refunds_imported), output::count(report.units_refunded));
        let (worth, known) = (amount(report.refunded_minor), output::count(report.refunds_unchanged));
        output::line(format_args!(
            "Imported {refunds} refunds of {units} units for {worth}; {known} were there already."
        ))?;
    }
    if report.orders_imported > 0 {
        let (seconds, rate) = (report.seconds, output::count(report.orders_per_second as u64));
        output::line(format_args!("It took {seconds:.1} s, {rate} orders/s."))?;
    }
    let (dishes, servings) = (output::count(report.dishes_put), output::count(report.servings_published));
    output::line(format_args!("Put {dishes} dishes on the menu and published {servings} servings."))
}

/// Where the file's rows have gone, when not all of them were sold.
fn show_reconciled(report: &ImportReport, reconciled: &Reconciliation) -> anyhow::Result<()> {
    if reconciled.refunded.rows == 0 && reconciled.left_out.is_empty() {
        return Ok(());
    }
    let mut table = output::table(["rows", report.currency.code(), "what became of them"]);
    let amount = |minor: i64| Money::new(minor, report.currency).to_decimal().to_string();
    let mut row = |rows: u64, minor: i64, what: String| {
        table.add_row([output::count(rows), amount(minor), what]);
    };
    row(reconciled.sold.rows, reconciled.sold.minor, "sold".to_owned());
    row(reconciled.refunded.rows, -reconciled.refunded.minor, "refunded".to_owned());
    for sum in &reconciled.left_out {
        let unreadable = match sum.unreadable {
            0 => String::new(),
            rows => format!(" ({} without an amount that can be read)", output::count(rows)),
        };
        let (code, text) = (sum.reason.code(), sum.reason.text());
        row(sum.rows, sum.minor, format!("left out, {code}: {text}{unreadable}"));
    }
    if reconciled.difference_minor != 0 {
        row(0, reconciled.difference_minor, "DIFFERENCE: this should not be".to_owned());
    }
    let parts: u64 = reconciled.left_out.iter().map(|sum| sum.rows).sum();
    let twice = (reconciled.sold.rows + reconciled.refunded.rows + parts).saturating_sub(reconciled.file.rows);
    let twice = match twice {
        0 => String::new(),
        rows => format!(" ({} of its rows stand above twice, in part here and in part there)", output::count(rows)),
    };
    row(reconciled.file.rows, reconciled.file.minor, format!("the whole file{twice}"));
    output::right(&mut table, &[0, 1]);
    output::line(table)
}

fn show_problems(report: &ImportReport, file: &Path) -> anyhow::Result<()> {
    let more = |total: u64, shown: usize| {
        let rest = total.saturating_sub(shown as u64);
        if rest == 0 { String::new() } else { format!(" … and {} more; --json lists them", output::count(rest)) }
    };
    let bad = &report.bad;
    if bad.bad_rows > 0 {
        output::line(format_args!("{} bad rows:", output::count(bad.bad_rows)))?;
        for row in bad.rows.iter().take(SHOWN) {
            let order = row.order.as_ref().map(|order| format!(" (order {order})")).unwrap_or_default();
            output::line(format_args!("  {}:{}: {}{order}", file.display(), row.line, row.reason))?;
        }
        if bad.bad_rows > SHOWN as u64 {
            output::line(format_args!(" {}", more(bad.bad_rows, SHOWN)))?;
        }
    }
    if bad.orders_left_out > 0 {
        let shown: Vec<&str> = bad.left_out.iter().take(SHOWN).map(String::as_str).collect();
        let (total, rest) = (output::count(bad.orders_left_out), more(bad.orders_left_out, shown.len()));
        output::line(format_args!("{total} orders left out whole: {}{rest}", shown.join(", ")))?;
    }
    if report.orders_not_booked > 0 {
        output::line(format_args!("{} orders not booked:", output::count(report.orders_not_booked)))?;
        for order in report.not_booked.iter().take(SHOWN) {
            output::line(format_args!(
                "  {}:{}: {} (order {})",
                file.display(),
                order.line,
                order.reason,
                order.order
            ))?;
        }
    }
    Ok(())
}
