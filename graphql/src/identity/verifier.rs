//! Checks tokens: which key signed them, for whom, by whom and until when.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    AUDIENCE, ISSUER, Identity, IdentityError,
    following::{Followed, Refresh},
    jwks::{Key, Keys},
    source::JwksSource,
};

/// How far clocks may differ, in seconds.
const LEEWAY: u64 = 30;
/// Most verified tokens that are remembered; then all are forgotten.
const REMEMBERED: usize = 16_384;
/// Longest token, in bytes.
pub(super) const MAX_TOKEN: usize = 16 * 1024;

/// What a token must say of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Who signed it: `iss`.
    pub issuer: String,
    /// Whom it is for: `aud` is this, or has it.
    pub audience: String,
    pub claims: ClaimNames,
}

impl Default for Expected {
    fn default() -> Self {
        Expected { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned(), claims: ClaimNames::default() }
    }
}

/// The names that an issuer gives to claims, where they are not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimNames {
    pub tenant: Option<String>,
    /// Of the claim with the UUID of who asks. `sub` must be there all the same.
    pub sub: Option<String>,
    pub roles: Option<String>,
    pub canteens: Option<String>,
    pub companies: Option<String>,
}

impl ClaimNames {
    /// Puts what an issuer names otherwise under our names. What stood there under ours counts for nothing.
    fn translate(&self, claims: &mut Map<String, Value>) {
        let names = [
            ("tenant", &self.tenant),
            ("sub", &self.sub),
            ("roles", &self.roles),
            ("canteens", &self.canteens),
            ("companies", &self.companies),
        ];
        let named = names.into_iter().filter_map(|(ours, theirs)| Some((ours, theirs.as_deref()?)));
        let found: Vec<_> = named.map(|(ours, theirs)| (ours, claims.get(theirs).cloned())).collect();
        for (ours, value) in found {
            match value {
                Some(value) => claims.insert(ours.to_owned(), value),
                None => claims.remove(ours),
            };
        }
    }
}

/// A token that was verified.
#[derive(Clone)]
struct Verified {
    identity: Arc<Identity>,
    /// Until when it is good, in seconds since 1970.
    exp: u64,
    /// The key that signed it.
    key: [u8; 32],
}

enum Ring {
    Fixed(Arc<Keys>),
    Followed(Followed),
}

/// Checks tokens: signature, issuer, audience and time.
pub struct Verifier {
    ring: Ring,
    expected: Expected,
    /// By the token's hash, since checking a signature costs more than the rest of a small request.
    verified: Mutex<HashMap<[u8; 32], Verified>>,
}

impl Verifier {
    pub(super) fn with(keys: Keys, expected: Expected) -> Self {
        Verifier { ring: Ring::Fixed(Arc::new(keys)), expected, verified: Mutex::default() }
    }

    /// For tokens that another issuer signs with one key that never changes: Ed25519, public, in PEM.
    pub fn from_public_pem(pem: &[u8], expected: Expected) -> Result<Self, IdentityError> {
        Ok(Verifier::with(Keys::from_pem(pem).map_err(IdentityError::Invalid)?, expected))
    }

    /// For tokens of an issuer that publishes its keys and changes them as it likes. An error when they
    /// cannot be read now.
    pub async fn following(source: &JwksSource, expected: Expected, refresh: Refresh) -> Result<Self, IdentityError> {
        let ring = Ring::Followed(Followed::start(source, refresh).await?);
        Ok(Verifier { ring, expected, verified: Mutex::default() })
    }

    /// Whether tokens can be checked at all.
    pub fn readiness(&self) -> Result<(), IdentityError> {
        self.keys().map(|_| ())
    }

    fn keys(&self) -> Result<Arc<Keys>, IdentityError> {
        match &self.ring {
            Ring::Fixed(keys) => Ok(Arc::clone(keys)),
            Ring::Followed(followed) => followed.current(),
        }
    }

    /// Who bears `token`. Waits for the issuer's keys when it names one that is not known.
    pub async fn verify(&self, token: &str) -> Result<Arc<Identity>, IdentityError> {
        self.verify_until(token).await.map(|(identity, _)| identity)
    }

    /// Who bears `token`, and until when, in seconds since 1970.
    pub(crate) async fn verify_until(&self, token: &str) -> Result<(Arc<Identity>, u64), IdentityError> {
        if token.len() > MAX_TOKEN {
            return Err(invalid("it is too long"));
        }
        let keys = match (self.keys(), &self.ring) {
            // Perhaps there are some again.
            (Err(_), Ring::Followed(followed)) => {
                followed.refreshed().await?;
                self.keys()?
            }
            (keys, _) => keys?,
        };
        let hash = *blake3::hash(token.as_bytes()).as_bytes();
        if let Some(verified) = self.remembered(&hash, &keys) {
            return Ok(verified);
        }
        let header = jsonwebtoken::decode_header(token).map_err(invalid)?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
            return Err(invalid("its algorithm is not taken"));
        }
        if header.crit.is_some() {
            return Err(invalid("it demands extensions that are not known"));
        }
        let key = self.key(keys, header.kid.as_deref()).await?;
        // A key checks what it was made for: the token does not choose.
        if key.algorithm != header.alg {
            return Err(invalid("its key is for another algorithm"));
        }
        self.check(token, hash, &key)
    }

    async fn key(&self, keys: Arc<Keys>, id: Option<&str>) -> Result<Key, IdentityError> {
        if let Some(key) = keys.find(id) {
            return Ok(key.clone());
        }
        if id.is_some()
            && let Ring::Followed(followed) = &self.ring
        {
            followed.refreshed().await?;
            if let Some(key) = followed.current()?.find(id) {
                return Ok(key.clone());
            }
        }
        Err(invalid("it names no key that is known"))
    }

    fn remembered(&self, hash: &[u8; 32], keys: &Keys) -> Option<(Arc<Identity>, u64)> {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let known = verified.get(hash)?;
        let is_good = seconds_now() < known.exp.saturating_add(LEEWAY) && keys.holds(&known.key);
        is_good.then(|| (Arc::clone(&known.identity), known.exp))
    }

    fn check(&self, token: &str, hash: [u8; 32], key: &Key) -> Result<(Arc<Identity>, u64), IdentityError> {
        let mut validation = Validation::new(key.algorithm);
        validation.set_audience(&[&self.expected.audience]);
        validation.set_issuer(&[&self.expected.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key.checks, &validation);
        let mut claims = decoded.map_err(invalid)?.claims;
        let exp = claims.get("exp").and_then(Value::as_u64).ok_or_else(|| invalid("exp is no whole number"))?;
        self.expected.claims.translate(&mut claims);
        let identity: Identity = serde_json::from_value(Value::Object(claims)).map_err(invalid)?;
        if identity.actor.0.is_nil() || identity.tenant.0.is_nil() {
            return Err(invalid("sub and tenant must not be nil"));
        }
        let identity = Arc::new(identity);
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(hash, Verified { identity: Arc::clone(&identity), exp, key: key.digest });
        Ok((identity, exp))
    }
}

fn invalid(why: impl ToString) -> IdentityError {
    IdentityError::Invalid(why.to_string())
}

pub(crate) fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
