//! Where an issuer's keys are read from: a file, or a URL.

use std::{path::PathBuf, str::FromStr, time::Duration};

use axum::{
    body::Bytes,
    http::{Request, StatusCode, Uri, header},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::io::AsyncReadExt;

/// Most bytes of a key set.
const MAX_BYTES: usize = 256 * 1024;

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    File(PathBuf),
    /// `https`, or `http` on this machine.
    Url(Uri),
}

impl std::fmt::Display for JwksSource {
    /// Without what follows a `?`, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            JwksSource::File(file) => write!(f, "{}", file.display()),
            JwksSource::Url(url) => {
                let (scheme, authority) =
                    (url.scheme_str().unwrap_or(""), url.authority().map_or("", |it| it.as_str()));
                write!(f, "{scheme}://{authority}{}", url.path())
            }
        }
    }
}

impl FromStr for JwksSource {
    type Err = String;

    /// The text itself is never part of the error: it may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains("://") {
            return match text.is_empty() {
                true => Err("name a file or an https URL with the issuer's keys".to_owned()),
                false => Ok(JwksSource::File(text.into())),
            };
        }
        let url: Uri = text.parse().map_err(|error| format!("the URL of the issuer's keys cannot be read: {error}"))?;
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("the URL of the issuer's keys must not hold a name or a password".to_owned());
        }
        match (url.scheme_str(), url.host()) {
            (Some("https"), Some(host)) if !host.is_empty() => Ok(JwksSource::Url(url)),
            (Some("http"), Some(host)) if is_this_machine(host) => Ok(JwksSource::Url(url)),
            (Some("http"), _) => {
                Err("keys are fetched over https; over http only from localhost, 127.0.0.1 or [::1]".to_owned())
            }
            _ => Err("the issuer's keys are in a file, or at an https URL".to_owned()),
        }
    }
}

/// With `localhost` by its number: no name server is asked where this machine is.
fn literal(url: Uri) -> Result<Uri, String> {
    if url.host() != Some("localhost") {
        return Ok(url);
    }
    let mut parts = url.into_parts();
    let port = parts.authority.as_ref().and_then(|authority| authority.port_u16());
    let here = port.map_or_else(|| "127.0.0.1".to_owned(), |port| format!("127.0.0.1:{port}"));
    parts.authority = Some(here.parse().map_err(|error| format!("the URL of the issuer's keys: {error}"))?);
    Uri::from_parts(parts).map_err(|error| format!("the URL of the issuer's keys: {error}"))
}

fn is_this_machine(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

type Over<C> = Client<C, Empty<Bytes>>;

/// Reads from a source, again and again.
pub(super) enum Reader {
    File(PathBuf),
    Http(Uri, Over<HttpConnector>),
    Https(Uri, Over<HttpsConnector<HttpConnector>>),
}

impl Reader {
    /// Reads the machine's trusted certificates where they will be needed.
    pub(super) async fn of(source: &JwksSource) -> Result<Reader, String> {
        let url = match source {
            JwksSource::File(file) => return Ok(Reader::File(file.clone())),
            JwksSource::Url(url) => url.clone(),
        };
        if url.scheme_str() != Some("https") {
            let url = literal(url)?;
            return Ok(Reader::Http(url, Client::builder(TokioExecutor::new()).build(HttpConnector::new())));
        }
        let trusting = tokio::task::spawn_blocking(|| HttpsConnectorBuilder::new().with_native_roots());
        let trusting = trusting.await.map_err(|error| error.to_string())?;
        let trusting =
            trusting.map_err(|error| format!("this machine's trusted certificates cannot be read: {error}"))?;
        let connector = trusting.https_only().enable_http1().build();
        Ok(Reader::Https(url, Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// The text of the key set, within `patience`.
    pub(super) async fn read(&self, patience: Duration) -> Result<Vec<u8>, String> {
        let reading = async {
            match self {
                Reader::File(file) => read_file(file).await,
                Reader::Http(url, client) => fetch(client, url).await,
                Reader::Https(url, client) => fetch(client, url).await,
            }
        };
        let late = |_| format!("no answer within {} s", patience.as_secs_f32());
        tokio::time::timeout(patience, reading).await.map_err(late)?
    }
}

async fn read_file(file: &std::path::Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let opened = tokio::fs::File::open(file).await.map_err(|error| error.to_string())?;
    let most = MAX_BYTES as u64 + 1;
    opened.take(most).read_to_end(&mut text).await.map_err(|error| error.to_string())?;
    if text.len() > MAX_BYTES { Err(too_long()) } else { Ok(text) }
}

fn too_long() -> String {
    format!("it is longer than {MAX_BYTES} bytes")
}

async fn fetch<C>(client: &Over<C>, url: &Uri) -> Result<Vec<u8>, String>
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let request = Request::get(url.clone())
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, concat!("tiffin/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let answer = client.request(request).await.map_err(|error| whole(&error))?;
    if answer.status() != StatusCode::OK {
        // A redirect too: whom keys are trusted from is for the operator to say.
        return Err(format!("it answered {}, and redirects are not followed", answer.status()));
    }
    match Limited::new(answer.into_body(), MAX_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_long()),
        Err(error) => Err(error.to_string()),
    }
}

/// An error with its causes: the outermost of this client says next to nothing.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
