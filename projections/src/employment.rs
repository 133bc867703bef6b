//! Whom each company employs: whom its policies grant to.

use domain::{CompanyId, DinerId, Fact, GroupId, TenantId, diner};
use jiff::civil::Date;
use store::Recorded;

use crate::{PageSize, Param, Poison, Projection, Row, Rows, SqlRow, TableSpec, ViewError, Views, args, row};

row! {
    /// A diner's time with a company, in one group of it.
    pub struct Employee in "employees" {
        key { tenant: TenantId, company: CompanyId, diner: DinerId, from_date: Date }
        group_id: Option<GroupId>,
        /// The first day that is not part of it any more.
        to_date: Option<Date>,
        /// When the uninterrupted employment with the company began, whatever groups they were in.
        since_date: Date,
        /// The diner's time before this one, with whatever company.
        before_company: Option<CompanyId>,
        before_date: Option<Date>,
    }
    index "group" on "(tenant, company, group_id, diner)";
}

row! {
    /// A diner's last time: where they are employed, unless it has ended.
    pub struct Employer in "employers" {
        key { tenant: TenantId, diner: DinerId }
        company: CompanyId,
        from_date: Date,
    }
}

/// The projection.
pub struct Employment;

impl Projection for Employment {
    fn name(&self) -> &'static str {
        "employment"
    }

    fn version(&self) -> u32 {
        3
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
        let times = Times { tenant: it.tenant, diner };
        match event {
            Event::Joined { company, group, from } | Event::Moved { company, group, from } => {
                times.begin((*company, *group), *from, rows);
            }
            Event::Left { on } => times.end(*on, rows),
            // Whose time it was stands here as an id alone.
            Event::DetailsSet { .. } | Event::Erased => {}
        }
        Ok(())
    }
}

/// The times of one diner.
#[derive(Clone, Copy)]
struct Times {
    tenant: TenantId,
    diner: DinerId,
}

impl Times {
    fn begin(self, (company, group_id): (CompanyId, Option<GroupId>), from: Date, rows: &mut Rows) {
        let Times { tenant, diner } = self;
        let before = self.last(rows, |last| last < from);
        let mut since_date = from;
        if let Some(before) = before.and_then(|(of, first)| rows.get_mut::<Employee>(&(tenant, of, diner, first))) {
            let ends = before.to_date.map_or(from, |ends| ends.min(from));
            before.to_date = Some(ends);
            if (before.company, ends) == (company, from) {
                since_date = before.since_date;
            }
        }
        let (before_company, before_date) = before.unzip();
        let (from_date, to_date) = (from, None);
        let time =
            Employee { tenant, company, diner, from_date, group_id, to_date, since_date, before_company, before_date };
        rows.put(time);
        rows.put(Employer { tenant, diner, company, from_date });
    }

    /// What was to begin after `on` does not.
    fn end(self, on: Date, rows: &mut Rows) {
        let Some((company, from)) = self.last(rows, |last| last <= on) else { return };
        if let Some(row) = rows.get_mut::<Employee>(&(self.tenant, company, self.diner, from)) {
            row.to_date = Some(on);
        }
        rows.put(Employer { tenant: self.tenant, diner: self.diner, company, from_date: from });
    }

    /// The last time that `stands` by its first day. Those after it go.
    fn last(self, rows: &mut Rows, stands: impl Fn(Date) -> bool) -> Option<(CompanyId, Date)> {
        let of = (self.tenant, self.diner);
        let mut last = rows.get::<Employer>(&of).map(|row| (row.company, row.from_date));
        while let Some((company, from)) = last.filter(|(_, from)| !stands(*from)) {
            let gone = rows.delete::<Employee>(&(self.tenant, company, self.diner, from));
            last = gone.and_then(|gone| gone.before_company.zip(gone.before_date));
        }
        if last.is_none() {
            rows.delete::<Employer>(&of);
        }
        last
    }
}

/// The times that `company`, or its `group`, has with diners on any of `days`, for the next so many diners after
/// `after`, by their ids.
pub async fn due(
    views: &Views,
    ((tenant, company), group): ((TenantId, CompanyId), Option<GroupId>),
    (first, last): (Date, Date),
    after: Option<DinerId>,
    page: PageSize,
) -> Result<Vec<Employee>, ViewError> {
    // A plain bound, so that a page is found by its key whatever comes before it.
    let after = after.unwrap_or(DinerId(uuid::Uuid::nil()));
    views
        .read(move |snapshot| {
            let query = |of_group: &str| {
                let of = format!(
                    "tenant = ?1 AND company = ?2 {of_group} AND from_date <= ?4
                     AND (to_date IS NULL OR (to_date > ?3 AND to_date > from_date))"
                );
                format!(
                    "WHERE {of} AND diner IN (SELECT diner FROM {{employees}} WHERE {of} AND diner > ?5
                     GROUP BY diner ORDER BY diner LIMIT ?6) ORDER BY diner, from_date"
                )
            };
            match group {
                Some(group) => {
                    snapshot.fetch(&query("AND group_id = ?7"), args![tenant, company, first, last, after, page, group])
                }
                None => snapshot.fetch(&query(""), args![tenant, company, first, last, after, page]),
            }
        })
        .await
}

/// An employment as it stands on a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Employed {
    pub diner: DinerId,
    pub group: Option<GroupId>,
    /// The first day with the company, whatever group it was in.
    pub from: Date,
    /// The first day that is not worked any more.
    pub until: Option<Date>,
}

/// Whom `company` employs, or has in `group`, on a day; without one everybody whom it ever employed, as the last
/// time with it stands. By their ids, from after `after`.
pub async fn employed(
    views: &Views,
    (tenant, company): (TenantId, CompanyId),
    group: Option<GroupId>,
    on: Option<Date>,
    after: Option<DinerId>,
    page: PageSize,
) -> Result<Vec<Employed>, ViewError> {
    let after = after.unwrap_or(DinerId(uuid::Uuid::nil()));
    views
        .read(move |snapshot| {
            let mut args = args![tenant, company, after, page].to_vec();
            let when = match &on {
                Some(on) => {
                    args.push(Param::of(on));
                    "e.from_date <= ?5 AND (e.to_date IS NULL OR e.to_date > ?5)"
                }
                None => {
                    "NOT EXISTS (SELECT 1 FROM {employees} AS l WHERE l.tenant = ?1 AND l.company = ?2
                     AND l.diner = e.diner AND l.from_date > e.from_date)"
                }
            };
            let of_group = match &group {
                Some(group) => {
                    args.push(Param::of(group));
                    format!("AND e.group_id = ?{}", args.len())
                }
                None => String::new(),
            };
            let query = format!(
                "SELECT e.diner, e.group_id, e.since_date,
                   (SELECT l.to_date FROM {{employees}} AS l WHERE l.tenant = ?1 AND l.company = ?2
                    AND l.diner = e.diner AND l.since_date = e.since_date ORDER BY l.from_date DESC LIMIT 1)
                 FROM {{employees}} AS e
                 WHERE e.tenant = ?1 AND e.company = ?2 AND e.diner > ?3 {of_group} AND {when}
                 ORDER BY e.diner LIMIT ?4"
            );
            let read = |row: &SqlRow<'_>| {
                Ok(Employed { diner: row.get(0)?, group: row.get(1)?, from: row.get(2)?, until: row.get(3)? })
            };
            snapshot.query(&query, &args, read)
        })
        .await
}

/// A diner's times with a company, or with one group of it, as they follow one another.
pub async fn of_diner(
    views: &Views,
    (tenant, company, diner): (TenantId, CompanyId, DinerId),
    group: Option<GroupId>,
) -> Result<Vec<Employee>, ViewError> {
    let query = "WHERE tenant = ?1 AND company = ?2 AND diner = ?3 ORDER BY from_date";
    let mut times =
        views.read(move |snapshot| snapshot.fetch::<Employee>(query, args![tenant, company, diner])).await?;
    times.retain(|time| group.is_none() || time.group_id == group);
    Ok(times)
}
