//! Whom each company employs: whom its policies grant to.

use domain::{CompanyId, DinerId, Fact, GroupId, TenantId, diner};
use jiff::civil::Date;
use store::Recorded;

use crate::{PageSize, Poison, Projection, Row, Rows, TableSpec, ViewError, Views, args, row};

row! {
    /// A diner's time with a company. Who comes back later has one row, of the last time.
    pub struct Employee in "employees" {
        key { tenant: TenantId, company: CompanyId, diner: DinerId }
        group_id: Option<GroupId>,
        from_date: Date,
        /// The first day that is not worked any more.
        to_date: Option<Date>,
    }
    index "group" on "(tenant, company, group_id, diner)";
}

row! {
    /// Where a diner is employed now.
    pub struct Employer in "employers" {
        key { tenant: TenantId, diner: DinerId }
        company: CompanyId,
    }
}

/// The projection.
pub struct Employment;

impl Projection for Employment {
    fn name(&self) -> &'static str {
        "employment"
    }

    fn version(&self) -> u32 {
        2
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Employee::TABLE, Employer::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        use diner::Event;
        let (diner, event) = match &it.fact {
            Fact::Diner(diner, event) => (*diner, event),
            Fact::Menu(..)
            | Fact::Serving(..)
            | Fact::Order(..)
            | Fact::Payment(..)
            | Fact::Account(..)
            | Fact::Policy(..)
            | Fact::Grant(..)
            | Fact::Books(..)
            | Fact::Invoice(..)
            | Fact::Correction(..)
            | Fact::TopUp(..)
            | Fact::Payout(..) => return Ok(()),
        };
        let (tenant, of) = (it.tenant, (it.tenant, diner));
        match event {
            Event::Joined { company, group, from } | Event::Moved { company, group, from } => {
                if let Some(before) = rows.get::<Employer>(&of).map(|row| row.company).filter(|old| old != company) {
                    leave(tenant, before, diner, *from, rows);
                }
                let (company, group_id, from_date) = (*company, *group, *from);
                // A change of the group does not begin the employment anew.
                let known = rows.get::<Employee>(&(tenant, company, diner)).filter(|row| row.to_date.is_none());
                let from_date = known.map_or(from_date, |row| row.from_date);
                rows.put(Employee { tenant, company, diner, group_id, from_date, to_date: None });
                rows.put(Employer { tenant, diner, company });
            }
            Event::Left { on } => {
                if let Some(employer) = rows.delete::<Employer>(&of) {
                    leave(tenant, employer.company, diner, *on, rows);
                }
            }
            // Whose time it was stands here as an id alone.
            Event::DetailsSet { .. } | Event::Erased => {}
        }
        Ok(())
    }
}

fn leave(tenant: TenantId, company: CompanyId, diner: DinerId, on: Date, rows: &mut Rows) {
    if let Some(row) = rows.get_mut::<Employee>(&(tenant, company, diner)) {
        row.to_date.get_or_insert(on);
    }
}

/// Those whom `company` employs, or whom it has in `group`, on any day of `days`; ever, if none are said. By their
/// ids, from after `after`.
pub async fn employed(
    views: &Views,
    (tenant, company): (TenantId, CompanyId),
    group: Option<GroupId>,
    days: Option<(Date, Date)>,
    after: Option<DinerId>,
    page: PageSize,
) -> Result<Vec<Employee>, ViewError> {
    // A plain bound, so that a page is found by its key whatever comes before it.
    let after = after.unwrap_or(DinerId(uuid::Uuid::nil()));
    let (first, last) = days.unzip();
    views
        .read(move |snapshot| {
            let query = |of_group: &str| {
                format!(
                    "WHERE tenant = ?1 AND company = ?2 {of_group} AND diner > ?5
                     AND (?3 IS NULL OR (from_date <= ?4 AND (to_date IS NULL OR to_date > ?3)))
                     ORDER BY diner LIMIT ?6"
                )
            };
            match group {
                Some(group) => {
                    let args = args![tenant, company, first, last, after, page, group];
                    snapshot.fetch(&query("AND group_id = ?7"), args)
                }
                None => snapshot.fetch(&query(""), args![tenant, company, first, last, after, page]),
            }
        })
        .await
}

/// A diner's time with a company.
pub async fn of_diner(
    views: &Views,
    (tenant, company, diner): (TenantId, CompanyId, DinerId),
) -> Result<Option<Employee>, ViewError> {
    let query = "WHERE tenant = ?1 AND company = ?2 AND diner = ?3";
    views.read(move |snapshot| snapshot.fetch_one(query, args![tenant, company, diner])).await
}
