//! An issuer as there are outside: keys of each kind, published over HTTP and changed at will.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use p256::pkcs8::EncodePrivateKey as _;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Expected, Issuer, JwksSource, Refresh, verifier::seconds_now};

pub(super) const OTHER_ISSUER: &str = "https://login.example.com/";
pub(super) const OTHER_AUDIENCE: &str = "canteens";

/// A key, its id, and what it signs with.
pub(super) struct Signer {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: EncodingKey,
}

impl Signer {
    pub(super) fn rsa(id: &str, bits: usize) -> Signer {
        let key = rsa::RsaPrivateKey::new(&mut p256::elliptic_curve::rand_core::OsRng, bits).unwrap();
        let key = EncodingKey::from_rsa_der(key.to_pkcs1_der().unwrap().as_bytes());
        Signer { id: id.to_owned(), algorithm: Algorithm::RS256, key }
    }

    /// One RSA key for all tests: making it takes a while.
    pub(super) fn common_rsa(id: &str) -> Signer {
        static KEY: OnceLock<EncodingKey> = OnceLock::new();
        let key = KEY.get_or_init(|| Signer::rsa("", 2_048).key).clone();
        Signer { id: id.to_owned(), algorithm: Algorithm::RS256, key }
    }

    pub(super) fn p256(id: &str) -> Signer {
        let key = p256::SecretKey::random(&mut p256::elliptic_curve::rand_core::OsRng);
        let key = EncodingKey::from_ec_der(key.to_pkcs8_der().unwrap().as_bytes());
        Signer { id: id.to_owned(), algorithm: Algorithm::ES256, key }
    }

    pub(super) fn ed25519(id: &str) -> Signer {
        Signer { id: id.to_owned(), algorithm: Algorithm::EdDSA, key: Issuer::random().signing_key().clone() }
    }

    /// The public half as it is published.
    pub(super) fn jwk(&self) -> Value {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm).unwrap()).unwrap();
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(super) fn header(&self) -> Header {
        Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) }
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.key).unwrap()
    }
}

/// Claims that are right.
pub(super) fn claims() -> Value {
    let now = seconds_now();
    json!({
        "iss": OTHER_ISSUER, "aud": [OTHER_AUDIENCE, "another"], "iat": now, "exp": now + 600,
        "tenant": Uuid::from_u128(1), "sub": Uuid::from_u128(7), "roles": ["diner"],
    })
}

pub(super) fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

pub(super) fn expected() -> Expected {
    Expected { issuer: OTHER_ISSUER.to_owned(), audience: OTHER_AUDIENCE.to_owned(), ..Expected::default() }
}

/// So that nothing is read in turn while a test looks, and whatever is asked for is read at once.
pub(super) fn eager() -> Refresh {
    Refresh { every: Duration::from_secs(3_600), pace: Duration::ZERO, ..Refresh::default() }
}

/// What an issuer's server does.
pub(super) enum Answering {
    Text(String),
    Status(StatusCode),
    Never,
}

/// An issuer's server on a port of its own.
pub(super) struct OutsideIssuer {
    pub(super) source: JwksSource,
    state: Arc<(Mutex<Arc<Answering>>, AtomicUsize)>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for OutsideIssuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(state): State<Arc<(Mutex<Arc<Answering>>, AtomicUsize)>>) -> impl IntoResponse {
    state.1.fetch_add(1, Ordering::SeqCst);
    let answering = Arc::clone(&state.0.lock().unwrap());
    match &*answering {
        Answering::Text(text) => (StatusCode::OK, text.clone()),
        Answering::Status(status) => (*status, String::new()),
        Answering::Never => std::future::pending().await,
    }
}

impl OutsideIssuer {
    pub(super) async fn publishing(keys: &[&Signer]) -> OutsideIssuer {
        let state = Arc::new((Mutex::new(Arc::new(Answering::Never)), AtomicUsize::new(0)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = format!("http://{}/jwks?secret=1", listener.local_addr().unwrap()).parse().unwrap();
        let router = Router::new().route("/jwks", get(answer)).with_state(Arc::clone(&state));
        let server = tokio::spawn(axum::serve(listener, router).into_future());
        let issuer = OutsideIssuer { source, state, server };
        issuer.publish(keys);
        issuer
    }

    pub(super) fn publish(&self, keys: &[&Signer]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        self.answer(Answering::Text(json!({ "keys": keys }).to_string()));
    }

    pub(super) fn answer(&self, answering: Answering) {
        *self.state.0.lock().unwrap() = Arc::new(answering);
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        self.state.1.load(Ordering::SeqCst)
    }
}
