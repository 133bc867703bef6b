//! Days of the books that a command is asked about, and whose books they are.

use domain::TenantId;
use jiff::civil::Date;
use projections::{Snapshot, as_of::books, statements::Days};

use crate::config::usage;

/// Booking dates, both ends included.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DaysArgs {
    /// From this booking date on
    #[arg(long, value_name = "DATE")]
    pub from: Option<Date>,
    /// Through this booking date
    #[arg(long, value_name = "DATE")]
    pub to: Option<Date>,
}

impl DaysArgs {
    pub fn are_said(self) -> bool {
        self.from.is_some() || self.to.is_some()
    }

    /// # Errors
    /// When they end before they begin.
    pub fn read(self) -> anyhow::Result<Days> {
        let days = Days::new(self.from, self.to);
        if days.from > days.to {
            return Err(usage(format!("--from {} lies behind --to {}", days.from, days.to)));
        }
        Ok(days)
    }

    /// For people: "from 2026-10-01 through 2026-10-31".
    pub fn shown(self) -> String {
        match (self.from, self.to) {
            (Some(from), Some(to)) => format!("from {from} through {to}"),
            (Some(from), None) => format!("from {from} on"),
            (None, Some(to)) => format!("through {to}"),
            (None, None) => "over all days".to_owned(),
        }
    }
}

/// Whose books are meant: those of the tenant that is said, or of the only one that has any.
pub fn tenant_of_books(snapshot: &Snapshot<'_>, said: Option<TenantId>) -> anyhow::Result<TenantId> {
    if let Some(tenant) = said {
        return Ok(tenant);
    }
    let mut tenants = books::tenants(snapshot)?;
    // Books may be opened before anything is on them.
    tenants.extend(snapshot.query("SELECT tenant FROM {books}", &[], |row| row.get::<TenantId>(0))?);
    tenants.sort();
    tenants.dedup();
    match tenants.as_slice() {
        [only] => Ok(*only),
        [] => Err(anyhow::anyhow!("nothing is on the books yet")),
        several => Err(usage(format!("{} tenants have books; say whose are meant with --tenant UUID", several.len()))),
    }
}
