//! What a company's subsidies paid for, as the company sees it: who ate on which day and for how much of its
//! money. What was eaten only where it has been chosen; what diners paid themselves never.

use async_graphql::{Context, Enum, Object, Result, SimpleObject, connection::Connection};
use domain::{
    AccountId, CompanyId, Currency, DinerId,
    account::{self, Disclosure},
};
use jiff::civil;
use projections::{
    PageSize, ViewError, Views,
    company_use::{self as views, DayOfDiner},
};

use crate::{
    caller::caller,
    company,
    errors::refused_at,
    paging,
    scalars::{BigInt, Date, Money, Uuid},
};

/// What a company sees of its diners' meals.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "Disclosure")]
pub(crate) enum CompanyDisclosure {
    /// How many orders its subsidies paid for, and how much.
    Amounts,
    /// The names of the dishes too.
    Dishes,
}

/// A diner's day at a company's expense.
#[derive(SimpleObject)]
pub(crate) struct CompanyUseDay {
    /// The date of the servings.
    date: Date,
    /// The diner's UUID.
    diner: Uuid,
    /// How many orders the company's subsidy paid for, at least in part; without those given back.
    orders: BigInt,
    /// What it paid for them, less what came back.
    spent: Money,
    /// The names of the dishes, where the company has chosen to see them; else null.
    dishes: Option<Vec<String>>,
}

impl From<DayOfDiner> for CompanyUseDay {
    fn from(row: DayOfDiner) -> Self {
        CompanyUseDay {
            date: row.day.into(),
            diner: row.diner.0.into(),
            orders: i64::try_from(row.orders).unwrap_or(i64::MAX).into(),
            spent: domain::Money::new(row.spent_minor, row.currency).into(),
            dishes: row.dishes,
        }
    }
}

/// What a company sees, after a change.
#[derive(SimpleObject)]
pub(crate) struct CompanyDisclosurePayload {
    /// The company's UUID.
    company: Uuid,
    /// What it sees from now on.
    disclosure: CompanyDisclosure,
    /// Brings a query up to this change.
    consistency_token: String,
}

type After = (civil::Date, DinerId, Currency);

fn write_cursor((day, diner, currency): After) -> String {
    format!("{day}/{diner}/{currency}")
}

fn read_cursor(text: &str) -> Option<After> {
    let mut parts = text.splitn(3, '/');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn key(row: &DayOfDiner) -> After {
    (row.day, row.diner, row.currency)
}

async fn fetch(views: &Views, asked: views::Asked, size: PageSize) -> Result<Vec<DayOfDiner>, ViewError> {
    views.read(move |snapshot| views::days(snapshot, &asked, size.get())).await
}

#[derive(Default)]
pub(crate) struct CompanyUseQuery;

#[Object]
impl CompanyUseQuery {
    /// What a company's subsidies paid for, by the servings' date and by diner. Which company the token says;
    /// finance and auditors name one.
    async fn company_use(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company's UUID; the token's own, if it names one only.")] company: Option<Uuid>,
        #[graphql(desc = "The first date.")] from: Date,
        #[graphql(desc = "The last date, included.")] to: Date,
        #[graphql(desc = "How many, 20 if it is not said; at most 100.")] first: Option<i32>,
        #[graphql(desc = "Where the page before ended.")] after: Option<String>,
    ) -> Result<Connection<String, CompanyUseDay>> {
        let caller = caller(ctx)?;
        let after = paging::cursor(after.as_deref(), read_cursor)?;
        let (tenant, company) = (caller.tenant(), company::one(&caller, company).await?);
        let page = paging::page(first, after, |after, size| {
            fetch(caller.views(), views::Asked { tenant, company, from: from.0, to: to.0, after }, size)
        });
        Ok(paging::connection(page.await?, |row| write_cursor(key(row)), CompanyUseDay::from))
    }
}

#[derive(Default)]
pub(crate) struct CompanyUseMutation;

#[Object]
impl CompanyUseMutation {
    /// Sets what a company sees of its diners' meals; amounts alone until it is set. For finance.
    async fn set_company_disclosure(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company's UUID.")] company: Uuid,
        #[graphql(desc = "What it is to see.")] disclosure: CompanyDisclosure,
        #[graphql(desc = "A UUID of your own making; the same again is the same change.")] idempotency_key: Uuid,
    ) -> Result<CompanyDisclosurePayload> {
        let caller = caller(ctx)?;
        let (id, set) = (AccountId::Company(CompanyId(company.0)), Disclosure::from(disclosure));
        let request = caller.request("setCompanyDisclosure", idempotency_key, &(id, set))?;
        let done = caller.commands().on_account(request, id, account::Command::SetDisclosure { disclosure: set }).await;
        let outcome = done.map_err(|failure| refused_at(failure, "company"))?;
        let token = caller.outcome(&outcome).await?.token;
        Ok(CompanyDisclosurePayload { company, disclosure, consistency_token: token })
    }
}
