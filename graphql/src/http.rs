//! GraphQL over HTTP: who asks, how much at once, how long, and what is answered when it goes wrong.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_graphql::{
    Response as Answer, ServerError,
    parser::{parse_query, types::ExecutableDocument},
};
use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use commands::Commands;
use futures::FutureExt;
use projections::Views;
use sagas::{Ordering, Subsidies};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    access,
    caller::Asked,
    consistency::Masks,
    errors::{Code, Failed, coded},
    identity::{Identity, Verifier},
    incomplete::Incomplete,
    limits::{self, DocumentLimits},
    loaders,
    schema::{self, Api},
};

/// How a reader says, and a writer hears, how far views must have come.
pub(crate) const CONSISTENCY_HEADER: &str = "x-consistency-token";
/// The same within the extensions of a request and of its answer.
pub(crate) const CONSISTENCY_EXTENSION: &str = "consistencyToken";
/// Names the views that lack something, within the extensions of an answer.
const INCOMPLETE_EXTENSION: &str = "incomplete";
/// From here on a queue is so full that mutations are turned away at the door.
const FULL: f64 = 0.95;

/// What requests may take of the machine.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Largest body, in bytes.
    pub body: usize,
    /// Most requests under way at once; more are told `OVERLOADED` at once.
    pub in_flight: usize,
    /// After this a request is answered with `TIMEOUT`. A command under way goes on.
    pub timeout: Duration,
    /// How long a read waits for views to reach its consistency token, before it is `STALE`.
    pub patience: Duration,
    /// How many events views may be behind the log before the service is not ready.
    pub behind: u64,
    pub document: DocumentLimits,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            body: 256 * 1024,
            in_flight: 4_096,
            timeout: Duration::from_secs(15),
            patience: Duration::from_secs(2),
            behind: 10_000,
            document: DocumentLimits::default(),
        }
    }
}

/// What the API stands on.
pub struct Setup {
    pub ordering: Ordering,
    pub subsidies: Subsidies,
    pub views: Views,
    pub verifier: Verifier,
    /// Masks consistency tokens; the same on every node of a service.
    pub token_secret: [u8; 32],
    pub limits: HttpLimits,
    /// Cancelled by the caller when it begins to shut down: `/readyz` then answers 503, while
    /// requests are still served.
    pub draining: CancellationToken,
}

impl Setup {
    /// With the usual limits, and a draining token of its own.
    pub fn new(
        ordering: Ordering,
        subsidies: Subsidies,
        views: Views,
        verifier: Verifier,
        token_secret: [u8; 32],
    ) -> Self {
        let draining = CancellationToken::new();
        Setup { ordering, subsidies, views, verifier, token_secret, limits: HttpLimits::default(), draining }
    }
}

/// What every resolver can reach.
pub(crate) struct Service {
    pub(crate) ordering: Ordering,
    pub(crate) subsidies: Subsidies,
    pub(crate) views: Views,
    pub(crate) masks: Masks,
    pub(crate) limits: HttpLimits,
}

impl Service {
    pub(crate) fn commands(&self) -> &Commands {
        self.ordering.commands()
    }
}

struct Door {
    service: Arc<Service>,
    schema: Api,
    verifier: Verifier,
    incomplete: Incomplete,
    room: Semaphore,
    draining: CancellationToken,
}

/// `/graphql` (POST), GraphiQL at `/`, `/healthz` and `/readyz`.
pub fn router(setup: Setup) -> Router {
    let Setup { ordering, subsidies, views, verifier, token_secret, limits, draining } = setup;
    let incomplete = Incomplete::new(views.clone());
    let service = Arc::new(Service { ordering, subsidies, views, masks: Masks::new(token_secret), limits });
    let schema = schema::build(Arc::clone(&service));
    let room = Semaphore::new(limits.in_flight);
    let door = Door { service, schema, verifier, incomplete, room, draining };
    Router::new()
        .route("/", get(graphiql))
        .route("/graphql", post(graphql))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .with_state(Arc::new(door))
}

async fn graphiql() -> Html<&'static str> {
    Html(include_str!("graphiql.html"))
}

/// Why nothing was executed.
struct Turned(StatusCode, Failed);

fn bad(failed: Failed) -> Turned {
    Turned(StatusCode::BAD_REQUEST, failed)
}

fn later(code: Code, message: &str) -> Turned {
    Turned(StatusCode::SERVICE_UNAVAILABLE, coded(code, message))
}

async fn graphql(State(door): State<Arc<Door>>, request: Request) -> Response {
    let Ok(_permit) = door.room.try_acquire() else {
        return turned(later(Code::Overloaded, "the service is overloaded; try again in a moment"));
    };
    let trace = trace_of(request.headers());
    let span = tracing::debug_span!("graphql", trace = trace.map(|id| format!("{:032x}", u128::from_be_bytes(id))));
    let timeout = door.service.limits.timeout;
    let answering = AssertUnwindSafe(door.answer(request, trace)).catch_unwind();
    match tokio::time::timeout(timeout, answering.instrument(span)).await {
        Ok(Ok(Ok(answer))) => answer,
        Ok(Ok(Err(refused))) => turned(refused),
        Ok(Err(_panic)) => {
            tracing::error!("a request ended in a panic");
            let failed = coded(Code::Internal, "something is wrong inside the service");
            turned(Turned(StatusCode::INTERNAL_SERVER_ERROR, failed))
        }
        Err(_) => {
            let message = "the service did not answer in time; a mutation can be asked again under the same key";
            turned(Turned(StatusCode::GATEWAY_TIMEOUT, coded(Code::Timeout, message)))
        }
    }
}

fn turned(Turned(status, failed): Turned) -> Response {
    let retryable = failed.code.is_retryable();
    let answer = Answer::from_errors(vec![failed.into_server_error()]);
    let mut response = (status, Json(answer)).into_response();
    if retryable {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

impl Door {
    async fn answer(&self, request: Request, trace: Option<[u8; 16]>) -> Result<Response, Turned> {
        let (parts, body) = request.into_parts();
        let identity = self.identity(&parts.headers)?;
        let body = self.body(&parts.headers, body).await?;
        let mut request = read(&body)?;
        let limits = &self.service.limits.document;
        limits::check_text(&request.query, limits).map_err(bad)?;
        let document = parse_query(&request.query).map_err(|error| bad(coded(Code::BadInput, error)))?;
        limits::check(&document, &request.variables, limits).map_err(bad)?;
        self.admit(&document, request.operation_name.as_deref(), identity.as_deref())?;
        if let Some(identity) = &identity {
            self.wait_for_views(&parts.headers, &request, identity).await?;
        }
        let asked = Arc::new(Asked::new(trace));
        request.set_parsed_query(document);
        request = request.data(Arc::clone(&asked));
        let tenant = identity.as_ref().map(|identity| identity.tenant);
        if let Some(identity) = identity {
            request = request.data(loaders::of(&self.service, identity.tenant)).data(identity);
        }
        let mut answer = self.schema.execute(request).await;
        answer.errors.iter_mut().for_each(complete);
        let token = tenant.and_then(|tenant| Some(self.service.masks.token(tenant, asked.position()?)));
        if let Some(token) = &token {
            answer.extensions.insert(CONSISTENCY_EXTENSION.to_owned(), token.as_str().into());
        }
        // Names only: a position would tell how much other tenants write.
        let incomplete = self.incomplete.names().await;
        if !incomplete.is_empty() {
            answer.extensions.insert(INCOMPLETE_EXTENSION.to_owned(), incomplete.to_vec().into());
        }
        Ok(respond(&answer, token))
    }

    /// Nobody, when there is no token. A token that is not valid is an error, whatever is asked.
    fn identity(&self, headers: &HeaderMap) -> Result<Option<Arc<Identity>>, Turned> {
        let Some(header) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
        let unauthenticated = |why: String| Turned(StatusCode::UNAUTHORIZED, coded(Code::Unauthenticated, why));
        let bearer = header.to_str().ok().and_then(|text| text.split_once(' '));
        let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let token = token.ok_or_else(|| unauthenticated("expected the header Authorization: Bearer …".to_owned()))?;
        self.verifier.verify(token).map(Some).map_err(|error| unauthenticated(error.to_string()))
    }

    async fn body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Turned> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = content_type.split(';').next().unwrap_or("").trim();
        // Also keeps other sites' forms from posting here.
        if !essence.eq_ignore_ascii_case("application/json") {
            let failed = coded(Code::BadInput, "the body must be sent as application/json");
            return Err(Turned(StatusCode::UNSUPPORTED_MEDIA_TYPE, failed));
        }
        let most = self.service.limits.body;
        to_bytes(body, most).await.map_err(|_| {
            let failed = coded(Code::BadInput, format!("the body could not be read, or is longer than {most} bytes"));
            Turned(StatusCode::PAYLOAD_TOO_LARGE, failed)
        })
    }

    /// Whether the operation may run, and whether there is room for what it changes.
    fn admit(
        &self,
        document: &ExecutableDocument,
        name: Option<&str>,
        identity: Option<&Identity>,
    ) -> Result<(), Turned> {
        let operation = access::operation(document, name).map_err(bad)?;
        access::check(document, operation, identity).map_err(|failed| match failed.code {
            Code::Unauthenticated => Turned(StatusCode::UNAUTHORIZED, failed),
            _ => Turned(StatusCode::FORBIDDEN, failed),
        })?;
        if access::is_mutation(operation) && self.service.commands().fullness() > FULL {
            return Err(later(Code::Overloaded, "the service is overloaded; try again in a moment"));
        }
        Ok(())
    }

    async fn wait_for_views(
        &self,
        headers: &HeaderMap,
        request: &async_graphql::Request,
        identity: &Identity,
    ) -> Result<(), Turned> {
        let token = match (headers.get(CONSISTENCY_HEADER), request.extensions.get(CONSISTENCY_EXTENSION)) {
            (Some(header), _) => header.to_str().ok(),
            (None, Some(async_graphql::Value::String(token))) => Some(token.as_str()),
            (None, Some(_)) => None,
            (None, None) => return Ok(()),
        };
        let position = token.and_then(|token| self.service.masks.position(identity.tenant, token));
        let Some(position) = position else {
            let failed = coded(Code::BadInput, "that is no consistency token of this tenant");
            return Err(bad(failed.at(CONSISTENCY_EXTENSION)));
        };
        let waited = self.service.views.wait_for(position, self.service.limits.patience).await;
        waited.map_err(|_| later(Code::Stale, "what was just written cannot be read yet; ask again in a moment"))
    }
}

fn read(body: &[u8]) -> Result<async_graphql::Request, Turned> {
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(b'[') => return Err(bad(coded(Code::BadInput, "batches are not taken; send one request at a time"))),
        _ => return Err(bad(coded(Code::BadInput, "the body must be a JSON object with a query"))),
    }
    let request: async_graphql::Request = serde_json::from_slice(body)
        .map_err(|error| bad(coded(Code::BadInput, format!("the body is wrong: {error}"))))?;
    if request.query.trim().is_empty() {
        return Err(bad(coded(Code::BadInput, "the query is empty").at("query")));
    }
    Ok(request)
}

/// Resolvers give every error its code; what has none comes from the library's own checks of the
/// document and its variables.
fn complete(error: &mut ServerError) {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        extensions.set("code", Code::BadInput.name());
        extensions.set("retryable", false);
    }
}

fn respond(answer: &Answer, token: Option<String>) -> Response {
    // The document did not pass the library's checks: nothing was executed.
    let invalid = answer.data == async_graphql::Value::Null
        && !answer.errors.is_empty()
        && answer.errors.iter().all(|error| error.path.is_empty());
    let status = if invalid { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    let mut response = (status, Json(answer)).into_response();
    if let Some(token) = token.and_then(|token| HeaderValue::from_str(&token).ok()) {
        response.headers_mut().insert(CONSISTENCY_HEADER, token);
    }
    response
}

/// The trace id of a W3C `traceparent` header: `00-{32 hex digits}-{16}-{2}`.
fn trace_of(headers: &HeaderMap) -> Option<[u8; 16]> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || trace.bytes().any(|byte| byte.is_ascii_uppercase())
    {
        return None;
    }
    let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
    Some(trace.to_be_bytes())
}

/// What `/readyz` says.
#[derive(serde::Serialize)]
struct Readiness {
    ready: bool,
    /// Why not; empty when it is.
    reasons: Vec<String>,
    /// How many events the views are behind the log.
    events_behind: Option<u64>,
}

/// How long a part of the house may take to say how it is.
const ANSWER: Duration = Duration::from_secs(2);

async fn readyz(State(door): State<Arc<Door>>) -> Response {
    let service = &door.service;
    let mut reasons = Vec::new();
    let mut events_behind = None;
    if door.draining.is_cancelled() {
        reasons.push("the service is shutting down".to_owned());
    }
    match tokio::time::timeout(ANSWER, service.commands().readiness()).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => reasons.push(format!("no commands are taken: {why}")),
        Err(_) => reasons.push("no commands are taken: the log does not answer".to_owned()),
    }
    if service.commands().fullness() > FULL {
        reasons.push("the queue before the log is full".to_owned());
    }
    // Also where another process keeps the views up.
    let position = service.views.read(|snapshot| Ok(snapshot.position()));
    let (head, position) = tokio::join!(
        tokio::time::timeout(ANSWER, service.commands().store().head()),
        tokio::time::timeout(ANSWER, position),
    );
    match (&head, &position) {
        (Ok(Ok(head)), Ok(Ok(position))) => {
            let behind = head.saturating_sub(*position);
            events_behind = Some(behind);
            if behind > service.limits.behind {
                reasons.push(format!("the views are {behind} events behind the log"));
            }
        }
        (Ok(Err(error)), _) => reasons.push(format!("the log cannot be read: {error}")),
        (Err(_), _) => reasons.push("the log does not answer".to_owned()),
        (_, Ok(Err(error))) => reasons.push(format!("the views cannot be read: {error}")),
        (_, Err(_)) => reasons.push("the views do not answer".to_owned()),
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: reasons.is_empty(), reasons, events_behind })).into_response()
}
