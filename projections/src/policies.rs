//! Policies: whose they are, what of them stands, their last run, and why grants wait.

use domain::{
    CompanyId, Currency, Fact, GrantRunId, GroupId, Money, PolicyId, TenantId, Timestamp, grant_run, policy,
    standing::Delay,
};
use jiff::civil::Date;
use store::{Position, Recorded};

use crate::{Json, PageSize, Poison, Projection, Row, Rows, Snapshot, TableSpec, ViewError, Views, args, many, row};

row! {
    /// A policy.
    pub struct PolicyRow in "policies" {
        key { tenant: TenantId, policy: PolicyId }
        company: CompanyId,
        /// Only this group's diners, if it is said.
        of_group: Option<GroupId>,
        currency: Currency,
        zone: String,
        versions: u32,
        /// The first date without it.
        ends: Option<Date>,
        /// Whether lots of a version of it are cleared when their diners leave.
        clears_leavers: bool,
        /// So many days before a period begins its grants make themselves; none without a standing order.
        ahead_days: Option<u32>,
        /// The first day of the period whose grants wait; none when nothing waits.
        waits_for: Option<Date>,
        /// What that period takes, and what of it the company lacks; none when its account cannot be used.
        needed_minor: Option<i64>,
        short_minor: Option<i64>,
        waits_since: Option<Timestamp>,
        /// Its last run, by whomever.
        last_run: Option<GrantRunId>,
        last_run_at: Option<Timestamp>,
        /// The event that changed what it grants, or when.
        changed: Position,
    }
    index "standing" on "(tenant, policy) WHERE ahead_days IS NOT NULL";
    index "clearing" on "(tenant, policy) WHERE clears_leavers";
    index "company" on "(tenant, company, policy)";
}

row! {
    /// The terms of a policy from a date on, until the next version's.
    pub struct PolicyVersion in "policy_versions" {
        key { tenant: TenantId, policy: PolicyId, version: u32 }
        from_date: Date,
        terms: Json<policy::Terms>,
    }
}

impl PolicyRow {
    /// What the company lacks for the period that waits.
    pub fn short(&self) -> Option<Money> {
        self.short_minor.map(|minor| Money::new(minor, self.currency))
    }

    fn go_on(&mut self) {
        (self.waits_for, self.waits_since, self.needed_minor, self.short_minor) = (None, None, None, None);
    }
}

/// The projection.
pub struct Policies;

impl Projection for Policies {
    fn name(&self) -> &'static str {
        "policies"
    }

    fn version(&self) -> u32 {
        4
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[PolicyRow::TABLE, PolicyVersion::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        match &it.fact {
            Fact::Policy(policy, event) => of_policy(it, *policy, event, rows),
            Fact::Grant(run, event) => of_run(it, *run, event, rows),
            Fact::Menu(..)
            | Fact::Serving(..)
            | Fact::Order(..)
            | Fact::Payment(..)
            | Fact::Account(..)
            | Fact::Diner(..)
            | Fact::Books(..)
            | Fact::Invoice(..)
            | Fact::Correction(..)
            | Fact::TopUp(..)
            | Fact::Payout(..) => Ok(()),
        }
    }
}

fn of_policy(it: &Recorded, policy: PolicyId, event: &policy::Event, rows: &mut Rows) -> Result<(), Poison> {
    use policy::Event;
    if let Event::Opened { company, group, currency, zone } = event {
        rows.create(PolicyRow {
            tenant: it.tenant,
            policy,
            company: *company,
            of_group: *group,
            currency: *currency,
            zone: zone.clone(),
            versions: 0,
            ends: None,
            clears_leavers: false,
            ahead_days: None,
            waits_for: None,
            needed_minor: None,
            short_minor: None,
            waits_since: None,
            last_run: None,
            last_run_at: None,
            changed: it.position,
        });
        return Ok(());
    }
    let row = rows.get_mut::<PolicyRow>(&(it.tenant, policy));
    let row = row.ok_or_else(|| Poison(format!("policy {policy} changes before it was opened")))?;
    match event {
        Event::Opened { .. } => {}
        Event::TermsSet { version, terms, .. } => {
            (row.versions, row.changed) = (*version, it.position);
            row.clears_leavers |= terms.cleared_on_leaving;
        }
        Event::Ended { from } => (row.ends, row.changed) = (Some(*from), it.position),
        Event::StandingSet { ahead_days } => {
            (row.ahead_days, row.changed) = (Some(u32::from(*ahead_days)), it.position);
            row.go_on();
        }
        Event::StandingEnded => {
            (row.ahead_days, row.changed) = (None, it.position);
            row.go_on();
        }
        // This changes nothing of what is to be granted: it is tried again in its time.
        Event::StandingDelayed { first, why } => {
            (row.waits_for, row.waits_since) = (Some(*first), Some(it.occurred_at));
            (row.needed_minor, row.short_minor) = match why {
                Delay::Funds { needed, short } => (Some(needed.minor), Some(short.minor)),
                Delay::Company => (None, None),
            };
        }
    }
    if let Event::TermsSet { version, from, terms } = event {
        let (tenant, version, from_date) = (it.tenant, *version, *from);
        rows.put(PolicyVersion { tenant, policy, version, from_date, terms: Json((**terms).clone()) });
    }
    Ok(())
}

fn of_run(it: &Recorded, run: GrantRunId, event: &grant_run::Event, rows: &mut Rows) -> Result<(), Poison> {
    use grant_run::Event;
    match event {
        Event::Begun(plan) => {
            // A run of a log that begins in the middle may be of a policy that nobody opened.
            let Some(row) = rows.get_mut::<PolicyRow>(&(it.tenant, plan.policy)) else { return Ok(()) };
            (row.last_run, row.last_run_at) = (Some(run), Some(it.occurred_at));
            if row.waits_for.is_some_and(|first| (plan.range.first..=plan.range.last).contains(&first)) {
                row.go_on();
            }
        }
        Event::BatchBegun { .. } | Event::BatchRefused { .. } | Event::BatchSettled { .. } | Event::Finished { .. } => {
        }
    }
    Ok(())
}

/// Policies with a standing order, of all tenants, from after `after`.
pub async fn standing(
    views: &Views,
    after: Option<(TenantId, PolicyId)>,
    page: PageSize,
) -> Result<Vec<PolicyRow>, ViewError> {
    let (tenant, policy) = after.unwrap_or((TenantId(uuid::Uuid::nil()), PolicyId(uuid::Uuid::nil())));
    let query = "WHERE ahead_days IS NOT NULL AND (tenant, policy) > (?1, ?2) ORDER BY tenant, policy LIMIT ?3";
    views.read(move |snapshot| snapshot.fetch(query, args![tenant, policy, page])).await
}

/// Policies of whose lots some are cleared when their diners leave, of all tenants, from after `after`.
pub async fn clearing(
    views: &Views,
    after: Option<(TenantId, PolicyId)>,
    page: PageSize,
) -> Result<Vec<PolicyRow>, ViewError> {
    let (tenant, policy) = after.unwrap_or((TenantId(uuid::Uuid::nil()), PolicyId(uuid::Uuid::nil())));
    let query = "WHERE clears_leavers AND (tenant, policy) > (?1, ?2) ORDER BY tenant, policy LIMIT ?3";
    views.read(move |snapshot| snapshot.fetch(query, args![tenant, policy, page])).await
}

/// A tenant's policies, or only those of some companies, from after `after`.
pub async fn list(
    views: &Views,
    tenant: TenantId,
    companies: Option<Vec<CompanyId>>,
    after: Option<PolicyId>,
    page: PageSize,
) -> Result<Vec<PolicyRow>, ViewError> {
    let after = after.unwrap_or(PolicyId(uuid::Uuid::nil()));
    views
        .read(move |snapshot| {
            let Some(companies) = companies else {
                let query = "WHERE tenant = ?1 AND policy > ?2 ORDER BY policy LIMIT ?3";
                return snapshot.fetch(query, args![tenant, after, page]);
            };
            let query = "WHERE tenant = ?1 AND company = ?4 AND policy > ?2 ORDER BY policy LIMIT ?3";
            let policy = |row: &PolicyRow| row.policy;
            many::page_of(&companies, page, policy, |company| {
                snapshot.fetch(query, args![tenant, after, page, company])
            })
        })
        .await
}

/// All versions of some policies, each policy's in their order. A policy has at most
/// [`policy::MAX_VERSIONS`].
pub fn versions(
    snapshot: &Snapshot<'_>,
    tenant: TenantId,
    policies: &[PolicyId],
) -> Result<Vec<PolicyVersion>, ViewError> {
    snapshot.fetch_among(tenant, ("policy", policies), "ORDER BY policy, version")
}
