//! Which companies a caller sees: those of the token, or any for those who read the books.

use domain::CompanyId;

use crate::{
    caller::Caller,
    errors::{Failed, not_found},
    identity::Role,
    scalars::Uuid,
};

/// The one company that is asked for; the token's own, if it names one only. One that is nobody's is answered
/// like one that is somebody else's.
pub(crate) async fn one(caller: &Caller<'_>, asked: Option<Uuid>) -> Result<CompanyId, Failed> {
    match (asked, &own(caller)[..]) {
        (Some(company), _) => named(caller, company).await,
        (None, [only]) => known(caller, *only).await,
        (None, _) => Err(unknown()),
    }
}

/// The companies whose things are listed: the one that is asked for, or all that the caller sees. `None` is
/// everybody's.
pub(crate) async fn some(caller: &Caller<'_>, asked: Option<Uuid>) -> Result<Option<Vec<CompanyId>>, Failed> {
    match asked {
        Some(company) => Ok(Some(vec![named(caller, company).await?])),
        None => Ok(all(caller)),
    }
}

/// All companies whose things the caller sees. `None` is everybody's.
pub(crate) fn all(caller: &Caller<'_>) -> Option<Vec<CompanyId>> {
    (!caller.identity.reads_books()).then(|| own(caller))
}

/// Each once, however often the token names it.
fn own(caller: &Caller<'_>) -> Vec<CompanyId> {
    let is_admin = caller.identity.has(Role::Company);
    let mut own = if is_admin { caller.identity.companies.clone() } else { vec![] };
    own.sort();
    own.dedup();
    own
}

async fn named(caller: &Caller<'_>, company: Uuid) -> Result<CompanyId, Failed> {
    let company = CompanyId(company.0);
    let is_seen = caller.identity.reads_books() || own(caller).contains(&company);
    if is_seen { known(caller, company).await } else { Err(unknown()) }
}

/// The company, if this tenant has it.
async fn known(caller: &Caller<'_>, company: CompanyId) -> Result<CompanyId, Failed> {
    let tenant = caller.tenant();
    let look =
        move |snapshot: &projections::Snapshot<'_>| projections::company_use::is_known(snapshot, tenant, company);
    if caller.views().read(look).await? { Ok(company) } else { Err(unknown()) }
}

fn unknown() -> Failed {
    not_found("company").at("company")
}
