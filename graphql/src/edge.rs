//! What a browser and the network between see: other sites that may ask, compression, and whether the
//! schema is told.

use std::str::FromStr;

use axum::{
    Router,
    http::{HeaderName, HeaderValue, Method, Uri, header},
};
use tower_http::{
    compression::CompressionLayer,
    cors::{AllowOrigin, CorsLayer},
};

use crate::http::CONSISTENCY_HEADER;

/// Longest origin, in bytes.
const MAX_ORIGIN: usize = 300;

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
            .allow_methods([Method::POST])
            .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, consistency.clone(), traced])
            .expose_headers([consistency, header::RETRY_AFTER]);
        router.layer(cors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
