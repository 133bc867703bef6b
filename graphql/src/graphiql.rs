//! GraphiQL, from the program itself: a page, a script and a style sheet, which ask nobody else for anything.
//! `clients/graphiql/` builds the latter two.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    Router,
    http::{HeaderName, header},
    response::{Html, IntoResponse},
    routing::get,
};

const PAGE: &str = include_str!("graphiql/index.html");
const SCRIPT: &[u8] = include_bytes!("graphiql/graphiql.js");
const STYLE: &[u8] = include_bytes!("graphiql/graphiql.css");

/// What the page may do. Styles may stand in the page, since its dialogues make some; scripts may not.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src data:; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Whoever has a file under a name of its content need not ask again.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// Where the files are, each under the hash of what it is, and the page that names them.
static PLACES: LazyLock<Places> = LazyLock::new(|| {
    let (script, style) = (named(SCRIPT, "js"), named(STYLE, "css"));
    Places { page: PAGE.replace("{js}", &script).replace("{css}", &style), script, style }
});

struct Places {
    page: String,
    script: String,
    style: String,
}

fn named(content: &[u8], kind: &str) -> String {
    let mut path = "/graphiql/".to_owned();
    for byte in &blake3::hash(content).as_bytes()[..10] {
        // Writing to text does not fail.
        let _ = write!(path, "{byte:02x}");
    }
    path + "." + kind
}

/// The page at `/`, and its files.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = |content: &'static [u8], kind: &'static str| {
        get(async move || ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, FOR_GOOD), NO_SNIFFING], content))
    };
    Router::new()
        .route("/", get(page))
        .route(&PLACES.script, file(SCRIPT, "text/javascript; charset=utf-8"))
        .route(&PLACES.style, file(STYLE, "text/css; charset=utf-8"))
}

const NO_SNIFFING: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
        NO_SNIFFING,
    ];
    (headers, Html(PLACES.page.as_str()))
}
