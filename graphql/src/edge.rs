//! What a browser and the network between see: other sites that may ask, compression, and whether the
//! schema is told.

use std::{str::FromStr, time::Duration};

use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
};
use tower_http::{
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
};

use crate::http::CONSISTENCY_HEADER;

/// Longest origin, in bytes.
const MAX_ORIGIN: usize = 300;
/// How long a browser may go by what it was told of other sites.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// Whether the schema can be asked for. It is checked in and no secret; closing it gives scanners less to
/// go by, and takes completion from GraphiQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Introspection {
    #[default]
    Open,
    Closed,
}

/// A site whose pages may ask: a scheme and a host, such as `https://lunch.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:.80?} is no origin; write a scheme and a host, such as https://lunch.example");
        let url: Uri = text.parse().map_err(|_| wrong())?;
        let (Some("http" | "https"), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(wrong());
        };
        // As browsers send it: without a path, a name or an end.
        let is_whole =
            text.len() <= MAX_ORIGIN && text.split_once("://").is_some_and(|(_, rest)| rest == authority.as_str());
        if !is_whole || text.contains(['@', '*']) || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(wrong());
        }
        HeaderValue::from_str(text).map(Origin).map_err(|_| wrong())
    }
}

/// How the service meets the network.
#[derive(Clone, Debug, Default)]
pub struct Edge {
    pub introspection: Introspection,
    /// Pages of these sites may ask; those of no other, beside the service's own.
    pub origins: Vec<Origin>,
}

impl Edge {
    /// Whether a socket may be opened by whom these headers are of: browsers say whose page it is, and ask nobody
    /// whether it may. A page of the service itself has the host that it asks.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let host = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        self.origins.iter().any(|named| named.0 == origin)
            || matches!((host, own), (Some(host), Some(own)) if !own.is_empty() && host.eq_ignore_ascii_case(own))
    }

    /// Puts around `router` what is said of other sites, and compression of what is long.
    pub(crate) fn around(self, router: Router) -> Router {
        let router = router.layer(CompressionLayer::new());
        if self.origins.is_empty() {
            return router;
        }
        let consistency = HeaderName::from_static(CONSISTENCY_HEADER);
        let traced = HeaderName::from_static("traceparent");
        let origins = self.origins.into_iter().map(|origin| origin.0);
        // Tokens are sent in a header by whoever has them; cookies are not used.
        let cors = CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::IF_NONE_MATCH,
                consistency.clone(),
                traced,
            ])
            .expose_headers([consistency, header::ETAG, header::RETRY_AFTER])
            .max_age(REMEMBERED);
        router.layer(cors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_opens_sockets_where_it_is_from_or_named() {
        let edge = Edge { origins: vec!["https://lunch.example".parse().unwrap()], ..Edge::default() };
        let admits = |origin: &str, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            headers.insert(header::HOST, host.parse().unwrap());
            edge.admits(&headers)
        };
        assert!(edge.admits(&HeaderMap::new()), "no browser");
        for (origin, host) in [
            ("https://lunch.example", "api.example"),
            ("https://api.example", "api.example"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert!(admits(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://evil.example", "api.example"),
            ("http://lunch.example", "api.example"),
            ("http://127.0.0.1:3000", "127.0.0.1:8080"),
            ("null", "null"),
            ("https://", ""),
            ("https://api.example.evil.example", "api.example"),
        ] {
            assert!(!admits(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        for good in ["https://lunch.example", "http://localhost:3000", "http://127.0.0.1:5173"] {
            assert!(good.parse::<Origin>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "lunch.example",
            "https://lunch.example/",
            "https://lunch.example/a",
            "https://*.example",
            "https://user@lunch.example",
            "ftp://lunch.example",
            "https://Lunch.example",
            "https://lunch.example\n",
        ] {
            assert!(bad.parse::<Origin>().is_err(), "{bad:?}");
        }
    }
}
