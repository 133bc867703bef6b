//! An issuer's public keys: a JSON Web Key Set (RFC 7517, RFC 7518, RFC 8037).

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

/// Most keys of a set, those of no use here too.
const MAX_KEYS: usize = 32;
/// Longest id of a key, in bytes.
const MAX_KEY_ID: usize = 256;
/// Shortest RSA modulus, in bits.
const MIN_RSA_BITS: usize = 2_048;
/// Longest RSA modulus, in bits: longer ones are not checked by the library.
const MAX_RSA_BITS: usize = 4_096;
/// Longest RSA exponent, in bytes.
const MAX_RSA_EXPONENT: usize = 4;
/// Coordinates of P-256, and keys of Ed25519, in bytes.
const COORDINATE: usize = 32;

/// A key, for the one algorithm that it may check.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) checks: DecodingKey,
    /// Of its id, algorithm and material: two keys with one digest are the same key.
    pub(super) digest: [u8; 32],
}

/// The keys of an issuer.
pub(super) enum Keys {
    /// By their ids, which tokens name.
    Named(HashMap<String, Key>),
    /// One key, whatever id a token names.
    One(Box<Key>),
}

/// A key as it is published. What else an issuer says of it (certificates, say) is not asked for.
#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

impl Keys {
    /// Reads a set. A key that cannot be used is left out with a warning, so that an issuer may publish
    /// others beside those for us; a set that is no set is an error that says why.
    pub(super) fn read(text: &[u8]) -> Result<Keys, String> {
        let set: Set = serde_json::from_slice(text).map_err(|error| format!("that is no JSON Web Key Set: {error}"))?;
        if set.keys.len() > MAX_KEYS {
            return Err(format!("the set has {} keys; the most is {MAX_KEYS}", set.keys.len()));
        }
        let mut named = HashMap::new();
        for value in set.keys {
            let read = serde_json::from_value::<Published>(value).map_err(|error| error.to_string());
            match read.and_then(|published| published.key()) {
                Ok((id, _)) if named.contains_key(&id) => {
                    tracing::warn!(kid = id, "of the issuer's keys with one id only the first is used");
                }
                Ok((id, key)) => {
                    named.insert(id, key);
                }
                Err(why) => tracing::warn!(why, "a key of the issuer is not used"),
            }
        }
        Ok(Keys::Named(named))
    }

    /// The Ed25519 key in a PEM file, for tokens with whatever id.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Keys, String> {
        let checks = DecodingKey::from_ed_pem(pem).map_err(|error| error.to_string())?;
        let digest = *blake3::hash(pem).as_bytes();
        Ok(Keys::One(Box::new(Key { algorithm: Algorithm::EdDSA, checks, digest })))
    }

    /// A set of one key, for tokens with whatever id: the development issuer's older tokens have none.
    pub(super) fn anonymous(self) -> Keys {
        match self {
            Keys::Named(named) if named.len() == 1 => match named.into_values().next() {
                Some(key) => Keys::One(Box::new(key)),
                None => Keys::Named(HashMap::new()),
            },
            keys => keys,
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Keys::Named(named) => named.len(),
            Keys::One(_) => 1,
        }
    }

    /// The key that a token names.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match self {
            Keys::Named(named) => named.get(id?),
            Keys::One(key) => Some(key),
        }
    }

    /// Whether that very key is among them.
    pub(super) fn holds(&self, digest: &[u8; 32]) -> bool {
        match self {
            Keys::Named(named) => named.values().any(|key| key.digest == *digest),
            Keys::One(key) => key.digest == *digest,
        }
    }
}

impl Published {
    /// Its id and the key, or why it is not for us.
    fn key(&self) -> Result<(String, Key), String> {
        let id = self.kid.clone().ok_or("it has no id (kid), and tokens are checked with the key that they name")?;
        if id.is_empty() || id.len() > MAX_KEY_ID {
            return Err(format!("its id is empty, or longer than {MAX_KEY_ID} bytes"));
        }
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Err("it is not for signatures (use)".to_owned());
        }
        if self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify")) {
            return Err("it is not for checking signatures (key_ops)".to_owned());
        }
        let (algorithm, name, checks, material) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", None) => self.rsa()?,
            ("EC", Some("P-256")) => self.p256()?,
            ("OKP", Some("Ed25519")) => self.ed25519()?,
            (kty, crv) => {
                let crv = crv.unwrap_or("none");
                return Err(format!("keys of the kind {kty:.20} with the curve {crv:.20} are not taken"));
            }
        };
        if self.alg.as_deref().is_some_and(|alg| alg != name) {
            return Err(format!("it is for another algorithm (alg) than {name}"));
        }
        let mut digest = blake3::Hasher::new();
        for part in [id.as_bytes(), name.as_bytes(), &material] {
            digest.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        Ok((id, Key { algorithm, checks, digest: *digest.finalize().as_bytes() }))
    }

    fn rsa(&self) -> Result<Material, String> {
        let (n, e) = (bytes("n", &self.n)?, bytes("e", &self.e)?);
        let n: Vec<u8> = n.into_iter().skip_while(|byte| *byte == 0).collect();
        let e: Vec<u8> = e.into_iter().skip_while(|byte| *byte == 0).collect();
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(format!("it has {bits} bits; RSA keys have {MIN_RSA_BITS} to {MAX_RSA_BITS}"));
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        if !is_odd(&n) || !is_odd(&e) || e == [1] || e.len() > MAX_RSA_EXPONENT {
            return Err("it is not an RSA key that can be used".to_owned());
        }
        let checks = DecodingKey::from_rsa_raw_components(&n, &e);
        Ok((Algorithm::RS256, "RS256", checks, [n, e].concat()))
    }

    fn p256(&self) -> Result<Material, String> {
        let (x, y) = (bytes("x", &self.x)?, bytes("y", &self.y)?);
        if x.len() != COORDINATE || y.len() != COORDINATE {
            return Err("its coordinates are not 32 bytes long".to_owned());
        }
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let checks = DecodingKey::from_ec_components(&text(&x), &text(&y)).map_err(|error| error.to_string())?;
        Ok((Algorithm::ES256, "ES256", checks, [x, y].concat()))
    }

    fn ed25519(&self) -> Result<Material, String> {
        let x = bytes("x", &self.x)?;
        if x.len() != COORDINATE {
            return Err("it is not 32 bytes long".to_owned());
        }
        let checks = DecodingKey::from_ed_components(&URL_SAFE_NO_PAD.encode(&x));
        Ok((Algorithm::EdDSA, "EdDSA", checks.map_err(|error| error.to_string())?, x))
    }
}

/// The algorithm, its name, what checks it, and the bytes that make the key what it is.
type Material = (Algorithm, &'static str, DecodingKey, Vec<u8>);

fn bytes(name: &str, text: &Option<String>) -> Result<Vec<u8>, String> {
    let text = text.as_deref().ok_or_else(|| format!("it has no {name}"))?;
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|error| format!("its {name} is not base64url: {error}"))
}
