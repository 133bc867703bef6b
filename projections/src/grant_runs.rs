//! Runs of grants: how far each is, and what it came to.

use domain::{CompanyId, Currency, Fact, GrantRunId, Money, PolicyId, TenantId, Timestamp, grant_run, policy::Range};
use jiff::civil::Date;
use store::{Position, Recorded};

use crate::{PageSize, Poison, Projection, Row, Rows, TableSpec, ViewError, Views, args, many, row};

row! {
    /// A run of grants.
    pub struct Run in "grant_runs" {
        key { tenant: TenantId, run: GrantRunId }
        policy: PolicyId,
        company: CompanyId,
        first: Date,
        last: Date,
        currency: Currency,
        begun_at: Timestamp,
        /// Of the event that began it.
        begun: Position,
        batches: u32,
        diners: u64,
        /// Those of the batch that it is at; none between batches.
        diners_at: u64,
        /// Diners of whose lots at least one could not be granted.
        skipped: u64,
        granted_minor: i64,
        /// What the company lacked for the batch that ended it.
        short_minor: Option<i64>,
        finished: bool,
        /// The event that moved it last.
        moved: Position,
    }
    index "begun" on "(tenant, begun)";
    index "company" on "(tenant, company, begun)";
    index "open" on "(moved) WHERE NOT finished";
}

impl Run {
    pub fn granted(&self) -> Money {
        Money::new(self.granted_minor, self.currency)
    }
}

/// The projection.
pub struct GrantRuns;

impl Projection for GrantRuns {
    fn name(&self) -> &'static str {
        "grant_runs"
    }

    fn version(&self) -> u32 {
        4
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Run::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        use grant_run::Event;
        let (run, event) = match &it.fact {
            Fact::Grant(run, event) => (*run, event),
            Fact::Menu(..)
            | Fact::Serving(..)
            | Fact::Order(..)
            | Fact::Payment(..)
            | Fact::Account(..)
            | Fact::Policy(..)
            | Fact::Diner(..)
            | Fact::Books(..)
            | Fact::Invoice(..)
            | Fact::Correction(..)
            | Fact::TopUp(..)
            | Fact::Payout(..) => return Ok(()),
        };
        if let Event::Begun(plan) = event {
            rows.create(new(it, run, plan));
            return Ok(());
        }
        let row = rows.get_mut::<Run>(&(it.tenant, run));
        let row = row.ok_or_else(|| Poison(format!("run {run} moves before it has begun")))?;
        row.moved = it.position;
        let diners_at = std::mem::take(&mut row.diners_at);
        match event {
            Event::Begun(_) => {}
            Event::BatchBegun { batch, diners, .. } => (row.batches, row.diners_at) = (*batch, diners.len() as u64),
            Event::BatchRefused { short, .. } => row.short_minor = Some(short.minor),
            Event::BatchSettled { granted, skipped, .. } => {
                row.skipped += skipped;
                row.diners += diners_at;
                row.granted_minor += granted.minor;
            }
            Event::Finished { .. } => row.finished = true,
        }
        Ok(())
    }
}

fn new(it: &Recorded, run: GrantRunId, plan: &grant_run::Plan) -> Run {
    let grant_run::Plan { policy, company, currency, range: Range { first, last, .. } } = *plan;
    Run {
        tenant: it.tenant,
        run,
        policy,
        company,
        first,
        last,
        currency,
        begun_at: it.occurred_at,
        begun: it.position,
        batches: 0,
        diners: 0,
        diners_at: 0,
        skipped: 0,
        granted_minor: 0,
        short_minor: None,
        finished: false,
        moved: it.position,
    }
}

/// Runs that have not come to their end, of all tenants, the longest unmoved first.
pub async fn open(views: &Views, page: PageSize) -> Result<Vec<Run>, ViewError> {
    views.read(move |snapshot| snapshot.fetch("WHERE NOT finished ORDER BY moved LIMIT ?1", args![page])).await
}

/// A tenant's runs, or only those of some companies, the latest first, from before `before`.
pub async fn list(
    views: &Views,
    tenant: TenantId,
    companies: Option<Vec<CompanyId>>,
    before: Option<Position>,
    page: PageSize,
) -> Result<Vec<Run>, ViewError> {
    let before = before.unwrap_or(i64::MAX as u64);
    views
        .read(move |snapshot| {
            let Some(companies) = companies else {
                let query = "WHERE tenant = ?1 AND begun < ?2 ORDER BY begun DESC LIMIT ?3";
                return snapshot.fetch(query, args![tenant, before, page]);
            };
            let query = "WHERE tenant = ?1 AND company = ?4 AND begun < ?2 ORDER BY begun DESC LIMIT ?3";
            let latest = |row: &Run| std::cmp::Reverse(row.begun);
            many::page_of(&companies, page, latest, |company| {
                snapshot.fetch(query, args![tenant, before, page, company])
            })
        })
        .await
}
