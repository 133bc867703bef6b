//! The development issuer: signs tokens with a key of its own, for trying things out and for tests.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::Path,
    time::Duration,
};

use axum::{Router, http::header, routing::get};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde::Serialize;
use uuid::Uuid;

use super::{
    AUDIENCE, ISSUER, Identity, IdentityError,
    jwks::Keys,
    verifier::{Expected, Verifier, seconds_now},
};

/// The file of the development issuer's key, in the data folder.
pub const KEY_FILE: &str = "issuer.pem";
/// Where issuers publish their keys by custom.
const WELL_KNOWN: &str = "/.well-known/jwks.json";
/// Ed25519 private keys in PKCS#8 (RFC 8410) are this and the 32 bytes of the seed.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    #[serde(flatten)]
    identity: &'a Identity,
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

    #[cfg(test)]
    pub(super) fn signing_key(&self) -> &EncodingKey {
        &self.key
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
        let exp = now.saturating_add(ttl.as_secs());
        let claims = Claims { iss: ISSUER, aud: AUDIENCE, iat: now, exp, identity };
        let header = Header { kid: Some(self.key_id()?), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(signing)
    }

    /// What checks this issuer's tokens.
    pub fn verifier(&self) -> Result<Verifier, IdentityError> {
        let keys = Keys::read(self.jwks()?.as_bytes()).map_err(IdentityError::Signing)?;
        Ok(Verifier::with(keys.anonymous(), Expected::default()))
    }

    /// The public half of the key, as a JSON Web Key Set (RFC 7517).
    pub fn jwks(&self) -> Result<String, IdentityError> {
        let mut jwk = self.public_jwk()?;
        jwk.common.key_id = Some(self.key_id()?);
        jwk.common.public_key_use = Some(jsonwebtoken::jwk::PublicKeyUse::Signature);
        Ok(serde_json::json!({ "keys": [jwk] }).to_string())
    }

    fn public_jwk(&self) -> Result<Jwk, IdentityError> {
        Jwk::from_encoding_key(&self.key, Algorithm::EdDSA).map_err(signing)
    }

    /// The key's thumbprint (RFC 7638).
    fn key_id(&self) -> Result<String, IdentityError> {
        self.public_jwk()?.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).map_err(signing)
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

fn signing(error: jsonwebtoken::errors::Error) -> IdentityError {
    IdentityError::Signing(error.to_string())
}

/// Publishes a key set at `/.well-known/jwks.json`, so that others can check the tokens too.
pub fn public_keys(jwks: String) -> Router {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=300")];
    Router::new().route(WELL_KNOWN, get(async move || (headers, jwks)))
}
