//! Diners as people: who they are, for themselves, their company and finance.

use std::collections::HashMap;

use async_graphql::{Context, Enum, Object, Result, SimpleObject};
use commands::Failure;
use domain::{CompanyId, DinerId, details::Details};
use projections::diners::{self as views, Shown};
use sagas::PersonalError;
use store::keys::KeyError;

use crate::{
    caller::caller,
    errors::{self, Code, Failed, Refusal, coded},
    http::Service,
    identity::{Identity, Role},
    loaders::Loaders,
    scalars::Uuid,
};

/// What can be read of a diner as a person.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DinerDetails {
    /// Nothing was ever set.
    None,
    /// It is here.
    Known,
    /// The diner was erased: it is gone for good.
    Erased,
    /// It is sealed, and there is no key here that opens it.
    Sealed,
}

/// A diner whom a company employs, or employed.
#[derive(Clone, SimpleObject)]
pub(crate) struct Diner {
    /// The diner's UUID.
    diner: Uuid,
    /// The UUID of the company that employs them, or did so last; null once they are erased.
    company: Option<Uuid>,
    /// Whether no end of that employment is recorded.
    employed: bool,
    /// Whether the details below can be read; if not, why.
    details: DinerDetails,
    /// Their name; null unless `details` is `KNOWN`.
    name: Option<String>,
    /// As their company counts its people.
    employee_number: Option<String>,
    /// Their phone number.
    phone: Option<String>,
}

impl Diner {
    fn of(row: &views::Diner, shown: Shown) -> Self {
        let (details, known) = match shown {
            Shown::Nothing => (DinerDetails::None, None),
            Shown::Known(known) => (DinerDetails::Known, Some(known)),
            Shown::Erased => (DinerDetails::Erased, None),
            Shown::Sealed => (DinerDetails::Sealed, None),
        };
        let (name, employee_number, phone) = match known {
            Some(Details { name, employee_number, phone }) => (Some(name), employee_number, phone),
            None => (None, None, None),
        };
        let company = row.company.map(|company| company.0.into());
        Diner { diner: row.diner.0.into(), company, employed: row.employed, details, name, employee_number, phone }
    }
}

/// A diner after a change.
#[derive(SimpleObject)]
pub(crate) struct DinerPayload {
    /// The diner's UUID.
    diner: Uuid,
    /// Brings a query up to this change.
    consistency_token: String,
}

/// Whether that caller may see who a diner is: the diner, the company that employs them, finance.
fn visible(identity: &Identity, row: &views::Diner) -> bool {
    let employs = |company: &CompanyId| row.employed && identity.companies.contains(company);
    identity.has(Role::Finance)
        || identity.diner() == Some(row.diner)
        || identity.has(Role::Company) && row.company.as_ref().is_some_and(employs)
}

/// Those of some diners whom that caller may see. Nobody else's details are opened.
pub(crate) async fn persons(
    service: &Service,
    identity: &Identity,
    diners: Vec<DinerId>,
) -> Result<HashMap<DinerId, Diner>, Failed> {
    let mut rows = views::of_ids(&service.views, identity.tenant, diners).await?;
    rows.retain(|row| visible(identity, row));
    let shown = views::open(service.people.keyring(), &rows).await.map_err(keyless)?;
    Ok(rows.iter().zip(shown).map(|(row, shown)| (row.diner, Diner::of(row, shown))).collect())
}

/// Keys that cannot be had. Where they are is for the operator.
fn keyless(error: KeyError) -> Failed {
    match error {
        KeyError::Missing(_) => coded(Code::KeysMissing, "there are no keys here, so personal data stays sealed"),
        error => {
            tracing::warn!(%error, "the keys of personal data cannot be had");
            coded(Code::Unavailable, "the keys of personal data cannot be had at the moment")
        }
    }
}

fn refused(failure: Failure<PersonalError>) -> Failed {
    match failure {
        Failure::Refused(PersonalError::Keys(error)) => keyless(error),
        Failure::Refused(refusal @ PersonalError::NumberTaken) => {
            errors::of(Code::BadInput, &refusal).at("employeeNumber")
        }
        Failure::Refused(PersonalError::Views(why)) => {
            tracing::warn!(%why, "a diner's open orders cannot be looked up");
            coded(Code::Unavailable, "the views cannot be read at the moment")
        }
        Failure::Refused(PersonalError::Diner(error)) => errors::of(error.code(), &error),
        Failure::Refused(refusal @ PersonalError::Seal(_)) => errors::of(Code::BadInput, &refusal),
        Failure::KeyReused => errors::of(Code::KeyReused, &failure).at("idempotencyKey"),
        Failure::Interrupted(interrupted) => interrupted.into(),
    }
}

/// As the API calls the fields.
fn field(error: domain::details::DetailsError) -> &'static str {
    use domain::details::DetailsError;
    match error {
        DetailsError::BadName => "name",
        DetailsError::BadEmployeeNumber => "employeeNumber",
        DetailsError::BadPhone => "phone",
    }
}

#[derive(Default)]
pub(crate) struct DinerQuery;

#[Object]
impl DinerQuery {
    /// A diner as a person; null when there is none with that id whom you may see. For the diner, for the
    /// company that employs them (from when that is recorded until an end is), and for finance.
    async fn diner(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The diner's UUID.")] diner: Uuid,
    ) -> Result<Option<Diner>> {
        Ok(ctx.data::<Loaders>()?.load_one(DinerId(diner.0)).await?)
    }
}

#[derive(Default)]
pub(crate) struct DinerMutation;

#[Object]
impl DinerMutation {
    /// Sets who a diner is, all of it at once. It is recorded sealed. For finance.
    async fn set_diner_details(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The diner's UUID.")] diner: Uuid,
        #[graphql(desc = "Their name, 1 to 200 characters.")] name: String,
        #[graphql(desc = "As their company counts its people; at most 64 characters.")] employee_number: Option<String>,
        #[graphql(desc = "Their phone number, at most 32 characters.")] phone: Option<String>,
        #[graphql(desc = "A UUID of your own making; the same again is the same change.")] idempotency_key: Uuid,
    ) -> Result<DinerPayload> {
        let caller = caller(ctx)?;
        let details = Details::new(&name, employee_number.as_deref(), phone.as_deref());
        let details = details.map_err(|error| errors::of(Code::BadInput, &error).at(field(error)))?;
        // What was sent is digested under the diner's key, where it is sealed.
        let request = caller.request("setDinerDetails", idempotency_key, &())?;
        let outcome = caller.service.people.set_details(request, DinerId(diner.0), details).await.map_err(refused)?;
        Ok(DinerPayload { diner, consistency_token: caller.outcome(&outcome).await?.token })
    }

    /// Erases a diner for good: what is known of them never opens again; their orders and money stay on the
    /// books. Refused while they are employed, have a balance, or something of theirs is open. For finance.
    async fn erase_diner(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The diner's UUID.")] diner: Uuid,
        #[graphql(desc = "A UUID of your own making; the same again is the same request.")] idempotency_key: Uuid,
    ) -> Result<DinerPayload> {
        let caller = caller(ctx)?;
        let request = caller.request("eraseDiner", idempotency_key, &DinerId(diner.0))?;
        let outcome = caller.service.people.erase(request, DinerId(diner.0)).await.map_err(refused)?;
        Ok(DinerPayload { diner, consistency_token: caller.outcome(&outcome).await?.token })
    }
}
