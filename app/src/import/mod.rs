//! Takes over what another system has: a canteen's dishes, or a till's history of orders.
//!
//! Everything goes through the real commands, each order and refund at its own historic time, and
//! under ids that follow from the canteen and the till's numbers: importing again changes nothing, and
//! an import that broke off goes on where it stopped.

mod booking;
mod canteen;
mod closed;
mod days;
mod dishes;
mod mapping;
mod matching;
mod orders;
mod refunds;
mod report;
mod rows;
pub mod table;
mod tally;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context;
use domain::{ActorId, Currency, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use mapping::Mapping;
pub use report::ImportReport;
pub use tally::Reconciliation;

use crate::{
    config::usage,
    progress::{OnProgress, Progress},
    wiring::House,
};

/// Who books what is imported: always the same, so that a repeat is known whoever runs it.
const IMPORTER: ActorId = ActorId(Uuid::from_u128(0x7469_6666_696e_8000_8000_696d_706f_7274));
/// Who owns what is imported into an empty log when nobody is named.
const FIRST_TENANT: TenantId = TenantId(Uuid::from_u128(1));
/// How long the views may take to show what the log has.
const CATCH_UP: Duration = Duration::from_secs(120);

/// What to import. It may be sent to the server that holds the folder, so paths are absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportRequest {
    /// None: the only tenant that there is, or a first one.
    pub tenant: Option<TenantId>,
    pub file: PathBuf,
    /// Import nothing if any row is bad.
    pub strict: bool,
    /// Where to write every row that was left out.
    #[serde(default)]
    pub left_out: Option<PathBuf>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Dishes(DishTerms),
    Orders(Box<Mapping>),
}

/// Where dishes go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DishTerms {
    /// By name; opened if there is none.
    pub canteen: String,
    /// Of the prices; a `currency` column must agree. None: that of the canteen.
    pub currency: Option<Currency>,
    /// IANA time zone of a canteen that has still to be opened.
    pub zone: Option<String>,
}

/// Imports into a house that this process holds, and answers with an [`ImportReport`]. An error
/// means that the import stopped: what was booked until then stays, and the same import goes on
/// from there. Bad rows are no error: they are in the report.
pub async fn run_import(
    house: &House,
    request: ImportRequest,
    progress: OnProgress<'_>,
) -> anyhow::Result<serde_json::Value> {
    let started = Instant::now();
    let tenant = tenant(house, request.tenant).await?;
    let mut report = match &request.what {
        What::Dishes(terms) => dishes::import(house, tenant, &request, terms, progress).await?,
        What::Orders(mapping) => {
            // It may have come over a socket.
            mapping.check().map_err(usage)?;
            import_orders(house, tenant, &request, mapping, progress).await?
        }
    };
    report.seconds = started.elapsed().as_secs_f64();
    report.orders_per_second = report.orders_imported as f64 / report.seconds.max(1e-9);
    Ok(serde_json::to_value(report)?)
}

/// Whose books the import is for.
async fn tenant(house: &House, asked: Option<TenantId>) -> anyhow::Result<TenantId> {
    if let Some(tenant) = asked {
        return Ok(tenant);
    }
    house.catch_up(CATCH_UP).await.context("the tenants cannot be looked up yet")?;
    let tenants = house.views.read(|snapshot| {
        let sql = "SELECT DISTINCT tenant FROM {canteens} LIMIT 2";
        snapshot.query(sql, &[], |row| row.get(0))
    });
    match tenants.await?.as_slice() {
        [] => Ok(FIRST_TENANT),
        [only] => Ok(*only),
        _ => Err(usage("there are several tenants here; --tenant UUID says for which the import is")),
    }
}

async fn import_orders(
    house: &House,
    tenant: TenantId,
    request: &ImportRequest,
    mapping: &Mapping,
    progress: OnProgress<'_>,
) -> anyhow::Result<ImportReport> {
    progress(Progress::new("reading the file", 0, None));
    let mut report = ImportReport::new(tenant, &request.file, &mapping.canteen, mapping.currency);
    if let Some(file) = &request.left_out {
        tally::check_writable(file)?;
    }
    let (file, columns, now) = (request.file.clone(), mapping.clone(), house.commands.now());
    let read = tokio::task::spawn_blocking(move || orders::read(&file, &columns, now));
    let mut history = read.await.context("reading the file broke off")??;
    let mut tally = std::mem::take(&mut history.tally);
    (report.rows, report.orders_split) = (history.rows, history.split);
    report.bad = std::mem::take(&mut history.bad);
    closed::leave_out(house, tenant, mapping, &mut history, &mut tally, &mut report).await?;
    report.refused = request.strict && (report.bad.bad_rows > 0 || report.orders_not_booked > 0);
    if !report.refused {
        if history.orders.is_empty() {
            refunds::leave_out(&history, &mut tally);
        } else {
            booking::book(house, tenant, mapping, history, &mut tally, &mut report, progress).await?;
        }
        report.reconciliation = Some(tally.reconciled());
    }
    let left_out = tally.into_left_out();
    if let Some(file) = &request.left_out {
        tally::write(file, &left_out, mapping.currency)?;
    }
    report.left_out(&left_out);
    Ok(report)
}
