//! Who asks: a JSON Web Token, signed with EdDSA (RFC 7519, RFC 8037), and what it claims.
//!
//! The tenant comes from nowhere but the token.

use std::{
    collections::HashMap,
    fs,
    io::{ErrorKind, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{ActorId, CanteenId, CompanyId, DinerId, TenantId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, jwk::Jwk};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The issuer that development tokens name.
pub const ISSUER: &str = "tiffin";
/// The audience that every token must name.
pub const AUDIENCE: &str = "tiffin";
/// The file of the development issuer's key, in the data folder.
pub const KEY_FILE: &str = "issuer.pem";
/// How far clocks may differ, in seconds.
const LEEWAY: u64 = 30;
/// Most verified tokens that are remembered; then all are forgotten.
const REMEMBERED: usize = 16_384;
/// Longest token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// Ed25519 private keys in PKCS#8 (RFC 8410) are this and the 32 bytes of the seed.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

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
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
    #[serde(flatten)]
    identity: Identity,
}

/// Signs tokens for development and for the demo. In production somebody else does.
#[derive(Clone)]
pub struct Issuer {
    key: EncodingKey,
    seed: [u8; 32],
}

impl Issuer {
    /// Reads the key in `folder`, or makes one there that only its owner can read.
    pub fn open(folder: &Path) -> Result<Issuer, IdentityError> {
        let file = folder.join(KEY_FILE);
        let broken = |why: String| IdentityError::Key { file: file.display().to_string(), why };
        match fs::read_to_string(&file) {
            Ok(pem) => Issuer::from_pem(&pem).map_err(broken),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let issuer = Issuer::random();
                match write_new(&file, &issuer.to_pem()) {
                    Ok(()) => Ok(issuer),
                    // Another program was faster.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        let pem = fs::read_to_string(&file).map_err(|error| broken(error.to_string()))?;
                        Issuer::from_pem(&pem).map_err(broken)
                    }
                    Err(error) => Err(broken(error.to_string())),
                }
            }
            Err(error) => Err(broken(error.to_string())),
        }
    }

    /// A key that lives as long as the process.
    pub fn random() -> Issuer {
        // Four times 122 bits from the operating system, condensed.
        let mut hasher = blake3::Hasher::new();
        for _ in 0..4 {
            hasher.update(Uuid::new_v4().as_bytes());
        }
        Issuer::from_seed(*hasher.finalize().as_bytes())
    }

    fn from_seed(seed: [u8; 32]) -> Issuer {
        Issuer { key: EncodingKey::from_ed_der(&[&PKCS8_HEAD[..], &seed].concat()), seed }
    }

    fn from_pem(pem: &str) -> Result<Issuer, String> {
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        let der = STANDARD.decode(body).map_err(|error| error.to_string())?;
        let seed = der.strip_prefix(&PKCS8_HEAD).and_then(|seed| seed.try_into().ok());
        seed.map(Issuer::from_seed).ok_or_else(|| "it is not an Ed25519 key in PKCS#8".to_owned())
    }

    fn to_pem(&self) -> String {
        let der = [&PKCS8_HEAD[..], &self.seed].concat();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
    }

    /// A token that says `identity` for as long as `ttl`.
    pub fn mint(&self, identity: &Identity, ttl: Duration) -> Result<String, IdentityError> {
        let now = seconds_now();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            iat: now,
            exp: now.saturating_add(ttl.as_secs()),
            identity: identity.clone(),
        };
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.key);
        signed.map_err(|error| IdentityError::Signing(error.to_string()))
    }

    /// What checks this issuer's tokens.
    pub fn verifier(&self) -> Result<Verifier, IdentityError> {
        let key = Jwk::from_encoding_key(&self.key, Algorithm::EdDSA).and_then(|jwk| DecodingKey::from_jwk(&jwk));
        let key = key.map_err(|error| IdentityError::Signing(error.to_string()))?;
        Ok(Verifier::new(key, ISSUER))
    }

    /// The secret under which consistency tokens are masked. It follows from the issuer's key.
    pub fn token_secret(&self) -> [u8; 32] {
        blake3::derive_key("tiffin consistency tokens v1", &self.seed)
    }
}

fn write_new(file: &Path, content: &str) -> std::io::Result<()> {
    // Written aside and linked into place, so that nobody ever reads half a key.
    let aside = file.with_extension(format!("{}.new", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut new = options.open(&aside)?;
    let written =
        new.write_all(content.as_bytes()).and_then(|()| new.sync_all()).and_then(|()| fs::hard_link(&aside, file));
    fs::remove_file(&aside)?;
    written
}

fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A token that was verified: who, and until when, in seconds since 1970.
type Verified = (Arc<Identity>, u64);

/// Checks tokens: signature, issuer, audience and time.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
    /// By the token's hash, since checking a signature costs more than the rest of a small request.
    verified: Mutex<HashMap<[u8; 32], Verified>>,
}

impl Verifier {
    fn new(key: DecodingKey, issuer: &str) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        Verifier { key, validation, verified: Mutex::default() }
    }

    /// For tokens that another issuer signs, with its public Ed25519 key in PEM.
    pub fn from_public_pem(pem: &[u8], issuer: &str) -> Result<Self, IdentityError> {
        let key = DecodingKey::from_ed_pem(pem);
        let broken = |error: jsonwebtoken::errors::Error| IdentityError::Invalid(error.to_string());
        Ok(Verifier::new(key.map_err(broken)?, issuer))
    }

    /// Who bears `token`.
    pub fn verify(&self, token: &str) -> Result<Arc<Identity>, IdentityError> {
        if token.len() > MAX_TOKEN {
            return Err(IdentityError::Invalid("it is too long".to_owned()));
        }
        let hash = *blake3::hash(token.as_bytes()).as_bytes();
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        if let Some((identity, exp)) = known
            && seconds_now() < exp.saturating_add(LEEWAY)
        {
            return Ok(identity);
        }
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        let claims = decoded.map_err(|error| IdentityError::Invalid(error.to_string()))?.claims;
        if claims.identity.actor.0.is_nil() || claims.identity.tenant.0.is_nil() {
            return Err(IdentityError::Invalid("sub and tenant must not be nil".to_owned()));
        }
        let identity = Arc::new(claims.identity);
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(hash, (Arc::clone(&identity), claims.exp));
        Ok(identity)
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
