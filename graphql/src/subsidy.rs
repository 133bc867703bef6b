//! Subsidies: what a diner's lots have, and what companies grant.

use async_graphql::{ComplexObject, Context, Object, Result, SimpleObject, connection::Connection};
use commands::Failure;
use domain::{
    CompanyId, Currency, GroupId, PolicyId,
    policy::{self, Terms},
    standing::MAX_AHEAD,
};
use projections::{
    PageSize, grant_runs,
    policies::{self, PolicyRow},
    subsidies::{self as views, PolicyUse},
};
use sagas::{GrantError, Granted, NewGrants};

use crate::{
    caller::{Caller, caller},
    company,
    errors::{self, Code, Failed, not_found, refused_at},
    loaders::Loaders,
    menu::Meal,
    paging,
    scalars::{BigInt, Date, DateTime, Money, Uuid},
    subsidy_terms::{self, SubsidyPolicyVersion, SubsidyTermsInput},
};

/// A part of your subsidy that expires as one.
#[derive(SimpleObject)]
pub(crate) struct SubsidyLot {
    /// Its UUID.
    lot: Uuid,
    /// The policy that it was granted under.
    policy: Uuid,
    /// The version of that policy.
    version: u32,
    /// The first date that it pays for.
    first_date: Date,
    /// The last date that it pays for.
    last_date: Date,
    /// The only meal that it pays for; any, if null.
    meal: Option<Meal>,
    /// What is left of it then is gone.
    expires_at: DateTime,
    /// What was granted.
    granted: Money,
    /// What was not spent, promised money included.
    left: Money,
    /// What of it is promised to orders under way.
    held: Money,
}

impl From<views::SubsidyLot> for SubsidyLot {
    fn from(row: views::SubsidyLot) -> Self {
        let money = |minor| domain::Money::new(minor, row.currency).into();
        SubsidyLot {
            lot: row.lot.0.into(),
            policy: row.policy.0.into(),
            version: row.version,
            first_date: row.first.into(),
            last_date: row.last.into(),
            meal: row.meal.map(Meal::from),
            expires_at: row.expires_at.into(),
            granted: money(row.granted_minor),
            left: money(row.left_minor),
            held: money(row.held_minor),
        }
    }
}

/// What became of the money of one policy.
#[derive(SimpleObject)]
pub(crate) struct SubsidyUse {
    /// The policy's UUID.
    policy: Uuid,
    /// What was granted.
    granted: Money,
    /// What orders took.
    spent: Money,
    /// What came back of that.
    refunded: Money,
    /// What expired, or came back too late: it is in `breakage`.
    lapsed: Money,
    /// What can still be spent, promised money included.
    left: Money,
}

impl From<PolicyUse> for SubsidyUse {
    fn from(row: PolicyUse) -> Self {
        let money = |minor| domain::Money::new(minor, row.currency).into();
        SubsidyUse {
            policy: row.policy.0.into(),
            granted: money(row.granted_minor),
            spent: money(row.spent_minor),
            refunded: money(row.refunded_minor),
            lapsed: money(row.lapsed_minor),
            left: money(row.granted_minor - row.spent_minor + row.refunded_minor - row.lapsed_minor),
        }
    }
}

/// A policy, and how its grants stand.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct SubsidyPolicy {
    /// Its UUID.
    policy: Uuid,
    /// The company's UUID.
    company: Uuid,
    /// Only for the diners of the group with this UUID, unless null.
    group: Option<Uuid>,
    /// ISO 4217 code of what it grants.
    currency: String,
    /// IANA name of the zone whose midnight clears and grants.
    zone: String,
    /// The first date without it; null while no end is set.
    end_date: Option<Date>,
    /// So many days before a period begins its grants make themselves; only on request, if null.
    ahead_days: Option<u32>,
    /// The first day of the period whose grants wait for the company's funds; null if none does.
    waits_for: Option<Date>,
    /// What the company lacked for it; null if its account is frozen, closed or was never opened.
    short: Option<Money>,
    /// The UUID of its last run of grants.
    last_run: Option<Uuid>,
    /// When that began.
    last_run_at: Option<DateTime>,
}

#[ComplexObject]
impl SubsidyPolicy {
    /// Its versions in their order, at most 200: what it grants, each from its own date on.
    async fn versions(&self, ctx: &Context<'_>) -> Result<Vec<SubsidyPolicyVersion>> {
        let rows = ctx.data::<Loaders>()?.load_one(PolicyId(self.policy.0)).await?;
        Ok(rows.iter().flatten().map(SubsidyPolicyVersion::from).collect())
    }
}

impl From<PolicyRow> for SubsidyPolicy {
    fn from(row: PolicyRow) -> Self {
        SubsidyPolicy {
            policy: row.policy.0.into(),
            company: row.company.0.into(),
            group: row.of_group.map(|group| group.0.into()),
            currency: row.currency.to_string(),
            end_date: row.ends.map(Date::from),
            ahead_days: row.ahead_days,
            waits_for: row.waits_for.map(Date::from),
            short: row.short().map(Money::from),
            last_run: row.last_run.map(|run| run.0.into()),
            last_run_at: row.last_run_at.map(DateTime::from),
            zone: row.zone,
        }
    }
}

/// A run of grants.
#[derive(SimpleObject)]
pub(crate) struct GrantRun {
    /// Its UUID; its ledger account is `transit:{run}`.
    run: Uuid,
    /// How many diners it has granted to.
    diners: BigInt,
    /// What it has granted.
    granted: Money,
    /// How many of them did not get all of it: the account was closed meanwhile, or keeps as many lots as it can.
    skipped: BigInt,
    /// What the company lacked for the batch that ended it.
    short: Option<Money>,
    /// Whether it has come to its end.
    finished: bool,
}

impl From<Granted> for GrantRun {
    fn from(granted: Granted) -> Self {
        GrantRun {
            run: granted.run.0.into(),
            diners: i64::try_from(granted.diners).unwrap_or(i64::MAX).into(),
            granted: granted.granted.into(),
            skipped: i64::try_from(granted.skipped).unwrap_or(i64::MAX).into(),
            short: granted.short.map(Money::from),
            finished: granted.finished,
        }
    }
}

impl From<grant_runs::Run> for GrantRun {
    fn from(row: grant_runs::Run) -> Self {
        let granted = row.granted();
        let short = row.short_minor.map(|minor| domain::Money::new(minor, row.currency));
        Granted { run: row.run, diners: row.diners, granted, skipped: row.skipped, short, finished: row.finished }
            .into()
    }
}

/// A policy after a change.
#[derive(SimpleObject)]
pub(crate) struct SubsidyPolicyPayload {
    /// The policy's UUID.
    policy: Uuid,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// A run of grants, begun or ended.
#[derive(SimpleObject)]
pub(crate) struct GrantSubsidiesPayload {
    /// As it is now.
    run: GrantRun,
    /// Brings a query up to it.
    consistency_token: String,
}

/// The coded error, with the argument that it is about.
fn refused(failure: Failure<policy::Error>, terms: Option<&Terms>) -> Failed {
    use policy::Error as E;
    let Failure::Refused(error) = &failure else { return Failed::from(failure) };
    let of_terms = terms.and_then(|terms| subsidy_terms::field_of(error, terms));
    let field = of_terms.unwrap_or(match error {
        E::NotOpen | E::TooManyVersions => "policy",
        // Of the key, since the policy bears its id.
        E::OpenedAlready => "idempotencyKey",
        E::BadZone(_) => "zone",
        E::OtherCurrency { .. } => "currency",
        E::BadTerms { .. } | E::TooManyLots { .. } => "terms",
        E::Overlaps { .. } | E::Ended { .. } | E::BadDays { .. } => "fromDate",
        E::BadAhead { .. } => "aheadDays",
    });
    refused_at(failure, field)
}

/// The same of a run of grants.
fn not_granted(failure: Failure<GrantError>) -> Failed {
    let field = match &failure {
        Failure::Refused(GrantError::Policy(policy::Error::BadDays { .. })) => "lastDate",
        Failure::Refused(GrantError::Policy(policy::Error::Ended { .. })) => "firstDate",
        // The run bears the key's id.
        Failure::Refused(GrantError::Run(_)) => "idempotencyKey",
        Failure::Refused(
            GrantError::Policy(_) | GrantError::Company(_) | GrantError::Insufficient { .. } | GrantError::Money(_),
        ) => "policy",
        Failure::Refused(GrantError::Views(_)) | Failure::KeyReused | Failure::Interrupted(_) => {
            return Failed::from(failure);
        }
    };
    refused_at(failure, field)
}

async fn on_policy(
    caller: &Caller<'_>,
    request: commands::Request,
    policy: Uuid,
    command: policy::Command,
) -> Result<SubsidyPolicyPayload, Failed> {
    let terms = match &command {
        policy::Command::SetTerms { terms, .. } => Some(terms.clone()),
        _ => None,
    };
    let done = caller.commands().on_policy(request, PolicyId(policy.0), command).await;
    let outcome = done.map_err(|failure| refused(failure, terms.as_deref()))?;
    Ok(SubsidyPolicyPayload { policy, consistency_token: caller.outcome(&outcome).await?.token })
}

fn currency(code: &str) -> Result<Currency, Failed> {
    code.parse().map_err(|error: domain::MoneyError| errors::of(Code::BadInput, &error).at("currency"))
}

#[derive(Default)]
pub(crate) struct SubsidyQuery;

#[Object]
impl SubsidyQuery {
    /// Your own lots that have not expired, the earliest expiry first; at most a hundred. Orders are paid
    /// from them in this order, as far as each pays for the serving.
    async fn my_subsidy_lots(&self, ctx: &Context<'_>) -> Result<Vec<SubsidyLot>> {
        let caller = caller(ctx)?;
        let diner = caller.identity.diner().ok_or_else(|| not_found("diner"))?;
        let rows = views::of_diner(caller.views(), caller.tenant(), diner, None, PageSize::MAX).await;
        Ok(rows.map_err(Failed::from)?.into_iter().map(SubsidyLot::from).collect())
    }

    /// What became of the money of each policy, in a stable order. For finance and auditors; a company sees its own.
    async fn subsidy_use(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only this company's: its UUID.")] company: Option<Uuid>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, SubsidyUse>> {
        let caller = caller(ctx)?;
        let after = paging::cursor(after.as_deref(), |text| {
            let (policy, currency) = text.split_once('/')?;
            Some((policy.parse().ok()?, currency.parse().ok()?))
        })?;
        let companies = company::some(&caller, company).await?;
        let fetch = |after, size| views::policy_use(caller.views(), caller.tenant(), companies.clone(), after, size);
        let page = paging::page(first, after, fetch).await?;
        Ok(paging::connection(page, |row| format!("{}/{}", row.policy, row.currency), SubsidyUse::from))
    }

    /// Policies, what of them stands, and why their grants wait, in a stable order. For finance and auditors; a
    /// company sees its own.
    async fn subsidy_policies(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only this company's: its UUID.")] company: Option<Uuid>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, SubsidyPolicy>> {
        let caller = caller(ctx)?;
        let after: Option<PolicyId> = paging::cursor(after.as_deref(), |text| text.parse().ok())?;
        let companies = company::some(&caller, company).await?;
        let fetch = |after, size| policies::list(caller.views(), caller.tenant(), companies.clone(), after, size);
        let page = paging::page(first, after, fetch).await?;
        Ok(paging::connection(page, |row| row.policy.to_string(), SubsidyPolicy::from))
    }

    /// Runs of grants, the latest first. For finance and auditors; a company sees its own.
    async fn grant_runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only this company's: its UUID.")] company: Option<Uuid>,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, GrantRun>> {
        let caller = caller(ctx)?;
        let (tenant, masks) = (caller.tenant(), &caller.service.masks);
        let before = paging::cursor(after.as_deref(), |text| masks.position(tenant, text))?;
        let companies = company::some(&caller, company).await?;
        let fetch = |before, size| grant_runs::list(caller.views(), tenant, companies.clone(), before, size);
        let page = paging::page(first, before, fetch).await?;
        Ok(paging::connection(page, |row| masks.token(tenant, row.begun), GrantRun::from))
    }
}

#[derive(Default)]
pub(crate) struct SubsidyMutation;

#[Object]
impl SubsidyMutation {
    /// Opens a policy for a company's diners, or for those of one of its groups. For finance.
    async fn open_subsidy_policy(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company's UUID.")] company: Uuid,
        #[graphql(desc = "Only for this group's diners.")] group: Option<Uuid>,
        #[graphql(desc = "ISO 4217 code of what it grants.")] currency: String,
        #[graphql(desc = "IANA name of the zone whose midnight clears.")] zone: String,
        #[graphql(desc = "A UUID of your own making; the same again is the same policy.")] idempotency_key: Uuid,
    ) -> Result<SubsidyPolicyPayload> {
        let caller = caller(ctx)?;
        let (of, currency) = ((CompanyId(company.0), group.map(|group| GroupId(group.0))), self::currency(&currency)?);
        let request = caller.request("openSubsidyPolicy", idempotency_key, &(of, currency, &zone))?;
        let command = policy::Command::Open { company: of.0, group: of.1, currency, zone };
        Ok(on_policy(&caller, request, request.id.into(), command).await?)
    }

    /// Sets a policy's terms for dates from one on. Lots that were granted before keep theirs. For finance.
    async fn set_subsidy_terms(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The policy's UUID.")] policy: Uuid,
        #[graphql(
            desc = "The first date that they are for, later than that of the terms before. Nothing is granted again for \
                    dates that those have granted for, or whose grants by those are over."
        )]
        from_date: Date,
        #[graphql(desc = "The terms.")] terms: SubsidyTermsInput,
        #[graphql(desc = "A UUID of your own making; the same again is the same change.")] idempotency_key: Uuid,
    ) -> Result<SubsidyPolicyPayload> {
        let caller = caller(ctx)?;
        let (from, terms) = (from_date.0, Box::new(terms.read()?));
        let request = caller.request("setSubsidyTerms", idempotency_key, &(PolicyId(policy.0), from, &terms))?;
        Ok(on_policy(&caller, request, policy, policy::Command::SetTerms { from, terms }).await?)
    }

    /// Grants nothing for dates from one on. For finance.
    async fn end_subsidy_policy(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The policy's UUID.")] policy: Uuid,
        #[graphql(desc = "The first date without it.")] from_date: Date,
        #[graphql(desc = "A UUID of your own making; the same again is the same change.")] idempotency_key: Uuid,
    ) -> Result<SubsidyPolicyPayload> {
        let caller = caller(ctx)?;
        let request = caller.request("endSubsidyPolicy", idempotency_key, &(PolicyId(policy.0), from_date.0))?;
        Ok(on_policy(&caller, request, policy, policy::Command::End { from: from_date.0 }).await?)
    }

    /// Lets a policy's grants make themselves at midnight in its zone, some days before each period begins;
    /// what the company cannot pay for is tried again every hour. For finance.
    async fn set_standing_grants(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The policy's UUID.")] policy: Uuid,
        #[graphql(desc = "How many days before, at most 31; null ends it.")] ahead_days: Option<u16>,
        #[graphql(desc = "A UUID of your own making; the same again is the same change.")] idempotency_key: Uuid,
    ) -> Result<SubsidyPolicyPayload> {
        let caller = caller(ctx)?;
        if let Some(days) = ahead_days.filter(|days| *days > MAX_AHEAD) {
            return Err(errors::of(Code::BadInput, &policy::Error::BadAhead { days }).at("aheadDays").into());
        }
        let set = |ahead_days| policy::Command::SetStanding { ahead_days };
        let request = caller.request("setStandingGrants", idempotency_key, &(PolicyId(policy.0), ahead_days))?;
        let command = ahead_days.map_or(policy::Command::EndStanding, set);
        Ok(on_policy(&caller, request, policy, command).await?)
    }

    /// Grants what the company's diners lack for some dates. It goes on though the answer times out: ask
    /// again under the same key. For finance.
    async fn grant_subsidies(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The policy's UUID.")] policy: Uuid,
        #[graphql(desc = "The first date.")] first_date: Date,
        #[graphql(desc = "The last date, included.")] last_date: Date,
        #[graphql(desc = "A UUID of your own making; the same again is the same run.")] idempotency_key: Uuid,
    ) -> Result<GrantSubsidiesPayload> {
        let caller = caller(ctx)?;
        let new = NewGrants { policy: PolicyId(policy.0), first: first_date.0, last: last_date.0 };
        let request = caller.request("grantSubsidies", idempotency_key, &new)?;
        let granted = caller.service.subsidies.grant(request, new, |_| {}).await.map_err(not_granted)?;
        let token = caller.written(0).await?.token;
        Ok(GrantSubsidiesPayload { run: granted.into(), consistency_token: token })
    }
}
