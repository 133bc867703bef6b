//! Who asks: a JSON Web Token (RFC 7519) of a trusted issuer, and what it claims.
//!
//! The tenant comes from nowhere but the token.

mod following;
mod issuer;
mod jwks;
mod source;
mod verifier;

use domain::{ActorId, CanteenId, CompanyId, DinerId, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use following::Refresh;
pub use issuer::{Issuer, KEY_FILE, public_keys};
pub use source::JwksSource;
pub(crate) use verifier::seconds_now;
pub use verifier::{ClaimNames, Expected, Verifier};

/// The issuer that development tokens name.
pub const ISSUER: &str = "tiffin";
/// The audience that tokens must name where no other is set.
pub const AUDIENCE: &str = "tiffin";

/// The token in the value of a header `Authorization`, if it is a bearer's.
pub(crate) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// What somebody may do in a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, async_graphql::Enum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Orders for themselves.
    Diner,
    /// Works in the canteens that the token names.
    Canteen,
    /// Sees the companies that the token names.
    Company,
    /// Moves money and reads the books.
    Finance,
    /// Reads everything and changes nothing.
    Auditor,
    /// Runs the platform; sees no tenant's content.
    Ops,
}

impl Role {
    pub const ALL: [Role; 6] = [Role::Diner, Role::Canteen, Role::Company, Role::Finance, Role::Auditor, Role::Ops];

    /// As tokens and the command line write it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Diner => "diner",
            Role::Canteen => "canteen",
            Role::Company => "company",
            Role::Finance => "finance",
            Role::Auditor => "auditor",
            Role::Ops => "ops",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let found = Role::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| IdentityError::UnknownRole(text.chars().take(40).collect()))
    }
}

/// The canteens in which somebody with [`Role::Canteen`] works. In JSON `"all"` or a list of ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Canteens {
    Only(Vec<CanteenId>),
    All(All),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    All,
}

impl Canteens {
    /// Every canteen of the tenant, those to come too.
    pub const ALL: Canteens = Canteens::All(All::All);
}

impl Default for Canteens {
    fn default() -> Self {
        Canteens::Only(vec![])
    }
}

/// What a token says about its bearer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub tenant: TenantId,
    /// A diner's own id, or that of a member of staff.
    #[serde(rename = "sub")]
    pub actor: ActorId,
    pub roles: Vec<Role>,
    #[serde(default)]
    pub canteens: Canteens,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub companies: Vec<CompanyId>,
}

impl Identity {
    pub fn new(tenant: TenantId, actor: Uuid, roles: impl Into<Vec<Role>>) -> Self {
        Identity {
            tenant,
            actor: ActorId(actor),
            roles: roles.into(),
            canteens: Canteens::default(),
            companies: vec![],
        }
    }

    /// A diner who orders for themselves.
    pub fn diner_of(tenant: TenantId, diner: DinerId) -> Self {
        Identity::new(tenant, diner.0, [Role::Diner])
    }

    /// Staff of every canteen of the tenant.
    pub fn staff_of(tenant: TenantId, actor: Uuid) -> Self {
        Identity { canteens: Canteens::ALL, ..Identity::new(tenant, actor, [Role::Canteen]) }
    }

    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    pub fn has_any(&self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.has(*role))
    }

    /// The diner who asks, if it is one.
    pub fn diner(&self) -> Option<DinerId> {
        self.has(Role::Diner).then_some(DinerId(self.actor.0))
    }

    /// Whether they work in that canteen.
    pub fn works_in(&self, canteen: CanteenId) -> bool {
        self.has(Role::Canteen)
            && match &self.canteens {
                Canteens::All(_) => true,
                Canteens::Only(named) => named.contains(&canteen),
            }
    }

    /// Whether they work in every canteen, and so may open another.
    pub fn works_everywhere(&self) -> bool {
        self.has(Role::Canteen) && matches!(self.canteens, Canteens::All(_))
    }

    /// Whether they read the whole tenant's money: finance and auditors.
    pub fn reads_books(&self) -> bool {
        self.has_any(&[Role::Finance, Role::Auditor])
    }
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("{0:?} is not a role; use diner, canteen, company, finance, auditor or ops")]
    UnknownRole(String),
    #[error("the issuer's key in {file} cannot be used: {why}")]
    Key { file: String, why: String },
    #[error("the token is not valid: {0}")]
    Invalid(String),
    #[error("a token could not be signed: {0}")]
    Signing(String),
    #[error("the issuer's keys cannot be taken from {source_name}: {why}")]
    Keys { source_name: String, why: String },
    /// Nothing is wrong with the token, as far as is known: it cannot be checked now.
    #[error("tokens cannot be checked at the moment: {0}")]
    Unavailable(&'static str),
}

#[cfg(test)]
mod jwks_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
