//! Whom companies employ: for finance, which says it, and for the companies themselves.

use async_graphql::{ComplexObject, Context, Object, Result, SimpleObject, connection::Connection};
use commands::Failure;
use domain::{CompanyId, DinerId, GroupId, diner};
use projections::employment as views;

use crate::{
    caller::{Caller, caller},
    company,
    diner::Diner,
    errors::{Failed, refused_at},
    loaders::Loaders,
    paging,
    scalars::{Date, Uuid},
};

/// A diner's time with a company, as it stands on the day that is asked for; without a day, as their last time with
/// it stands. Who comes back later has one, of that time.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct Employee {
    /// The diner's UUID.
    diner: Uuid,
    /// The UUID of the company's group that they are in on that day, or in the end; null if none was said.
    group: Option<Uuid>,
    /// The first day, whatever groups they have been in since.
    from_date: Date,
    /// The first day that is not worked any more; null while no end is recorded.
    until_date: Option<Date>,
}

#[ComplexObject]
impl Employee {
    /// Who they are; null where you may not read it. That is for the company while it employs them, and for
    /// finance.
    async fn person(&self, ctx: &Context<'_>) -> Result<Option<Diner>> {
        Ok(ctx.data::<Loaders>()?.load_one(DinerId(self.diner.0)).await?)
    }
}

impl From<views::Employed> for Employee {
    fn from(row: views::Employed) -> Self {
        Employee {
            diner: row.diner.0.into(),
            group: row.group.map(|group| group.0.into()),
            from_date: row.from.into(),
            until_date: row.until.map(Date::from),
        }
    }
}

/// A diner's employment after a change.
#[derive(SimpleObject)]
pub(crate) struct EmploymentPayload {
    /// The diner's UUID.
    diner: Uuid,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// `day` is what the mutation calls the day that it takes.
async fn on_diner(
    caller: &Caller<'_>,
    request: commands::Request,
    (diner, day): (Uuid, &'static str),
    command: diner::Command,
) -> Result<EmploymentPayload, Failed> {
    let done = caller.commands().on_diner(request, DinerId(diner.0), command).await;
    let outcome = done.map_err(|failure| {
        let is_of_day = matches!(failure, Failure::Refused(diner::Error::TooEarly { .. }));
        refused_at(failure, if is_of_day { day } else { "diner" })
    })?;
    Ok(EmploymentPayload { diner, consistency_token: caller.outcome(&outcome).await?.token })
}

#[derive(Default)]
pub(crate) struct EmploymentQuery;

#[Object]
impl EmploymentQuery {
    /// Whom a company employs or ever employed, in a stable order. Which company the token says; finance and
    /// auditors name one.
    async fn employees(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company's UUID; the token's own, if it names one only.")] company: Option<Uuid>,
        #[graphql(desc = "Only those of this group of it: its UUID.")] group: Option<Uuid>,
        #[graphql(desc = "Only those whom the company employs on this day, in the group that they are in then.")] date: Option<Date>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, Employee>> {
        let caller = caller(ctx)?;
        let after: Option<DinerId> = paging::cursor(after.as_deref(), |text| text.parse().ok())?;
        let of = (caller.tenant(), company::one(&caller, company).await?);
        let (group, on) = (group.map(|group| GroupId(group.0)), date.map(|date| date.0));
        let fetch = |after, size| views::employed(caller.views(), of, group, on, after, size);
        let page = paging::page(first, after, fetch).await?;
        Ok(paging::connection(page, |row| row.diner.to_string(), Employee::from))
    }
}

#[derive(Default)]
pub(crate) struct EmploymentMutation;

#[Object]
impl EmploymentMutation {
    /// Joins a diner to a company. For finance.
    async fn employ(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The diner's UUID.")] diner: Uuid,
        #[graphql(desc = "The company's UUID.")] company: Uuid,
        #[graphql(desc = "The group's UUID.")] group: Option<Uuid>,
        #[graphql(desc = "The first day.")] from_date: Date,
        #[graphql(desc = "A UUID of your own making; the same again is the same change.")] idempotency_key: Uuid,
    ) -> Result<EmploymentPayload> {
        let caller = caller(ctx)?;
        let (company, group, from) = (CompanyId(company.0), group.map(|group| GroupId(group.0)), from_date.0);
        let request = caller.request("employ", idempotency_key, &(DinerId(diner.0), company, group, from))?;
        let command = diner::Command::Join { company, group, from };
        Ok(on_diner(&caller, request, (diner, "fromDate"), command).await?)
    }

    /// Moves a diner who is employed to another company or another group, without a gap: their employment before
    /// ends where this one begins. What was granted before stays until it expires. For finance.
    async fn move_employment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The diner's UUID.")] diner: Uuid,
        #[graphql(desc = "The UUID of the company from then on; the same one, for another group.")] company: Uuid,
        #[graphql(desc = "The UUID of the group from then on; none, if it is not said.")] group: Option<Uuid>,
        #[graphql(desc = "The first day there, not before the employment began.")] from_date: Date,
        #[graphql(desc = "A UUID of your own making; the same again is the same change.")] idempotency_key: Uuid,
    ) -> Result<EmploymentPayload> {
        let caller = caller(ctx)?;
        let (company, group, from) = (CompanyId(company.0), group.map(|group| GroupId(group.0)), from_date.0);
        let request = caller.request("moveEmployment", idempotency_key, &(DinerId(diner.0), company, group, from))?;
        let command = diner::Command::Move { company, group, from };
        Ok(on_diner(&caller, request, (diner, "fromDate"), command).await?)
    }

    /// Ends a diner's employment, and what was to begin after that day. What was granted before stays until it
    /// expires. For finance.
    async fn end_employment(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The diner's UUID.")] diner: Uuid,
        #[graphql(desc = "The first day that is not worked any more.")] on_date: Date,
        #[graphql(desc = "A UUID of your own making; the same again is the same change.")] idempotency_key: Uuid,
    ) -> Result<EmploymentPayload> {
        let caller = caller(ctx)?;
        let request = caller.request("endEmployment", idempotency_key, &(DinerId(diner.0), on_date.0))?;
        Ok(on_diner(&caller, request, (diner, "onDate"), diner::Command::Leave { on: on_date.0 }).await?)
    }
}
