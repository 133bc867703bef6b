//! GraphQL over HTTP: who asks, how much at once, how long, and what is answered when it goes wrong.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use async_graphql::{
    Response as Answer,
    parser::{parse_query, types::ExecutableDocument},
};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{
        Request, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use commands::Commands;
use domain::{ActorId, TenantId};
use futures::{FutureExt, StreamExt, stream::BoxStream};
use projections::Views;
use sagas::{Finance, Ordering, People, Subsidies};
use store::Position;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    access::{self, Asks},
    answers::{Turned, bad, complete, later, overloaded, respond, slow_down, spoken, too_much, turned},
    caller::Asked,
    compact::compact,
    consistency::Masks,
    edge::{Edge, Introspection},
    errors::{Code, Failed, coded},
    gathering::{Waiting, gathered, gathered_stream},
    graphiql,
    hot::{Key, Menu, Menus},
    identity::{Identity, IdentityError, Verifier, bearer},
    incomplete::Incomplete,
    language::Language,
    limits,
    live::Live,
    loaders,
    rate::{Buckets, Charge, Throttled},
    ready,
    schema::{self, Api},
    setup::{HttpLimits, Setup},
    shedder::Shedder,
    socket::{self, Places},
};

/// How a reader says, and a writer hears, how far views must have come.
pub(crate) const CONSISTENCY_HEADER: &str = "x-consistency-token";
/// The same within the extensions of a request and of its answer.
pub(crate) const CONSISTENCY_EXTENSION: &str = "consistencyToken";
/// Names the views that lack something, within the extensions of an answer.
pub(crate) const INCOMPLETE_EXTENSION: &str = "incomplete";
/// What a document cost and what is left, within the extensions of an answer.
pub(crate) const COST_EXTENSION: &str = "cost";
/// From here on a queue is so full that mutations are turned away at the door.
pub(crate) const FULL: f64 = 0.95;

/// What every resolver can reach.
pub(crate) struct Service {
    pub(crate) ordering: Ordering,
    pub(crate) subsidies: Subsidies,
    pub(crate) people: People,
    pub(crate) finance: Finance,
    pub(crate) views: Views,
    pub(crate) masks: Masks,
    pub(crate) live: Live,
    pub(crate) limits: HttpLimits,
}

impl Service {
    pub(crate) fn commands(&self) -> &Commands {
        self.ordering.commands()
    }
}

pub(crate) struct Door {
    pub(crate) service: Arc<Service>,
    schema: Api,
    pub(crate) verifier: Verifier,
    incomplete: Incomplete,
    pub(crate) shedder: Arc<Shedder>,
    pub(crate) buckets: Buckets<(TenantId, ActorId)>,
    menus: Menus,
    pub(crate) edge: Edge,
    pub(crate) places: Arc<Places>,
    pub(crate) draining: CancellationToken,
}

/// `/graphql` (POST, and GET for WebSockets), GraphiQL at `/`, `/healthz` and `/readyz`.
pub fn router(setup: Setup) -> Router {
    routes(door(setup))
}

pub(crate) fn door(setup: Setup) -> Arc<Door> {
    let Setup { ordering, subsidies, finance, people, views, verifier, token_secret, limits, edge, draining } = setup;
    let incomplete = Incomplete::new(views.clone());
    let masks = Masks::new(token_secret);
    let live = Live::new(Arc::clone(ordering.commands().store()), views.clone());
    let service = Arc::new(Service { ordering, subsidies, finance, people, views, masks, live, limits });
    let schema = schema::build(Arc::clone(&service), edge.introspection);
    let shedder = Arc::new(Shedder::new(limits.in_flight));
    shedder.follow(service.commands().clone());
    let buckets = Buckets::new(limits.rate);
    let places = Arc::new(Places::new(limits.sockets));
    let menus = Menus::new(limits.menu_age);
    Arc::new(Door { service, schema, verifier, incomplete, shedder, buckets, menus, edge, places, draining })
}

pub(crate) fn routes(door: Arc<Door>) -> Router {
    let edge = door.edge.clone();
    let router = Router::new()
        .merge(graphiql::router())
        .route("/graphql", post(graphql).get(by_get))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready::readyz))
        .with_state(door);
    edge.around(router)
}

/// A socket, or a query in the address.
async fn by_get(
    State(door): State<Arc<Door>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    match upgrade {
        Ok(upgrade) => socket::upgrade(door, request.headers(), upgrade),
        Err(_) => graphql(State(door), request).await,
    }
}

/// What an operation over a socket is answered with.
pub(crate) enum Answers {
    /// A query's or a mutation's answer.
    One(Box<Answer>),
    /// A subscription's.
    Many(BoxStream<'static, Answer>),
}

/// A request whose document and bearer were checked.
struct Admitted {
    request: async_graphql::Request,
    asked: Arc<Asked>,
    tenant: Option<TenantId>,
    charge: Charge,
    asks: Asks,
    language: Language,
    /// The loads of its edges.
    waiting: Waiting,
}

/// Why a request was not admitted.
enum Refused {
    Turned(Turned),
    /// Its caller has asked for too much.
    SlowDown(Throttled),
}

impl From<Turned> for Refused {
    fn from(turned: Turned) -> Self {
        Refused::Turned(turned)
    }
}

async fn graphql(State(door): State<Arc<Door>>, request: Request) -> Response {
    let language = Language::of_header(request.headers().get(header::ACCEPT_LANGUAGE));
    let answer = answer_in_time(&door, request, language).await;
    spoken(answer.unwrap_or_else(|refused| turned(refused, language)), language)
}

async fn answer_in_time(door: &Door, request: Request, language: Language) -> Result<Response, Turned> {
    // What is still on its way is no work yet: it is turned away where there is too much, and takes no room.
    if !door.shedder.has_room() {
        return Err(overloaded());
    }
    let trace = trace_of(request.headers());
    let span = tracing::debug_span!("graphql", trace = trace.map(|id| format!("{:032x}", u128::from_be_bytes(id))));
    let timeout = door.service.limits.timeout;
    let answering = AssertUnwindSafe(door.answer(request, trace, language)).catch_unwind();
    match tokio::time::timeout(timeout, answering.instrument(span)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_panic)) => {
            tracing::error!("a request ended in a panic");
            let failed = coded(Code::Internal, "something is wrong inside the service");
            Err(Turned(StatusCode::INTERNAL_SERVER_ERROR, failed))
        }
        Err(_) => {
            let message = "the service did not answer in time; a mutation can be asked again under the same key";
            Err(Turned(StatusCode::GATEWAY_TIMEOUT, coded(Code::Timeout, message)))
        }
    }
}

impl Door {
    async fn answer(&self, request: Request, trace: Option<[u8; 16]>, language: Language) -> Result<Response, Turned> {
        let (parts, body) = request.into_parts();
        let identity = self.identity(&parts.headers).await?;
        // HEAD is a GET without its body.
        let is_get = parts.method != Method::POST;
        let words = match is_get {
            true => Bytes::copy_from_slice(parts.uri.query().unwrap_or("").as_bytes()),
            false => self.body(&parts.headers, body).await?,
        };
        let _room = self.shedder.room().ok_or_else(overloaded)?;
        let header = parts.headers.get(CONSISTENCY_HEADER);
        let key = identity.as_deref().map(|identity| Key::of(identity, &words));
        if let (Some(key), Some(identity)) = (key, identity.as_deref())
            && let Some(menu) = self.menus.find(key, self.demanded(header, identity), Instant::now())
        {
            return Ok(match self.charge(Some(identity), menu.cost()) {
                Ok(charge) => self.menu(&menu, charge, &parts.headers, is_get).await,
                Err(throttled) => slow_down(throttled, language),
            });
        }
        let request = if is_get { read_address(&words)? } else { read(&words)? };
        let admitted = match self.admitted((request, language), identity, header, trace).await {
            Ok(admitted) => admitted,
            Err(Refused::Turned(turned)) => return Err(turned),
            Err(Refused::SlowDown(throttled)) => return Ok(slow_down(throttled, language)),
        };
        if is_get && !admitted.asks.is_query() {
            let failed = coded(Code::BadInput, "by GET only queries are asked; send this by POST or over a WebSocket");
            return Err(Turned(StatusCode::METHOD_NOT_ALLOWED, failed));
        }
        let (asks, charge, began) = (admitted.asks, admitted.charge, Instant::now());
        let position = if asks == Asks::Menu { self.service.views.reached().await } else { 0 };
        let (answer, token) = self.execute(admitted).await;
        if asks == Asks::Menu
            && let Some(key) = key
            && let Some(menu) = Menu::of(&answer, charge.requested)
        {
            self.menus.keep(key, menu.clone(), position, began);
            return Ok(self.menu(&menu, charge, &parts.headers, is_get).await);
        }
        Ok(respond(&answer, token))
    }

    /// A menu as an answer; whoever has it already is told so.
    async fn menu(&self, menu: &Menu, charge: Charge, headers: &HeaderMap, is_get: bool) -> Response {
        if is_get && menu.is_known_to(headers) {
            return menu.not_modified();
        }
        menu.respond(charge, &self.incomplete.names().await)
    }

    /// How far the views must have come for a reader with that header. What cannot be read is refused later.
    fn demanded(&self, header: Option<&HeaderValue>, identity: &Identity) -> Position {
        let token = |header: &HeaderValue| self.service.masks.furthest(identity.tenant, header.to_str().ok()?);
        header.map_or(0, |header| token(header).unwrap_or(Position::MAX))
    }

    /// Checks a request: its document, who asks it, and whether the views are as far as it demands.
    async fn admitted(
        &self,
        (mut request, language): (async_graphql::Request, Language),
        identity: Option<Arc<Identity>>,
        header: Option<&HeaderValue>,
        trace: Option<[u8; 16]>,
    ) -> Result<Admitted, Refused> {
        if request.query.trim().is_empty() {
            return Err(bad(coded(Code::BadInput, "the query is empty").at("query")).into());
        }
        let limits = &self.service.limits.document;
        limits::check_text(&request.query, limits).map_err(bad)?;
        let mut document = parse_query(&request.query).map_err(|error| bad(coded(Code::BadInput, error)))?;
        let cost = limits::check(&document, &request.variables, limits).map_err(bad)?;
        let asks = self.admit(&document, request.operation_name.as_deref(), identity.as_deref())?;
        let charge = self.charge(identity.as_deref(), cost).map_err(Refused::SlowDown)?;
        if let Some(identity) = &identity {
            self.wait_for_views(header, &request, identity).await?;
        }
        let asked = Arc::new(Asked::new(trace));
        if asks == Asks::Subscription {
            compact(&mut document);
        }
        request.set_parsed_query(document);
        request = request.data(Arc::clone(&asked)).data(language);
        let tenant = identity.as_ref().map(|identity| identity.tenant);
        let waiting = Waiting::default();
        if let Some(identity) = identity {
            let loaders = loaders::of(&self.service, &identity, waiting.clone());
            request = request.data(loaders).data(identity);
        }
        Ok(Admitted { request, asked, tenant, charge, asks, language, waiting })
    }

    /// Carries out a query or a mutation. Answers with the consistency token of what was written, too.
    async fn execute(&self, admitted: Admitted) -> (Answer, Option<String>) {
        let Admitted { request, asked, tenant, charge, language, waiting, .. } = admitted;
        let mut answer = gathered(waiting, self.schema.execute(request)).await;
        answer.extensions.insert(COST_EXTENSION.to_owned(), charge.to_value());
        let token = tenant.and_then(|tenant| Some(self.service.masks.token(tenant, asked.position()?)));
        if let Some(token) = &token {
            answer.extensions.insert(CONSISTENCY_EXTENSION.to_owned(), token.as_str().into());
        }
        self.complete(&mut answer, language).await;
        (answer, token)
    }

    /// What every answer says beside its data.
    async fn complete(&self, answer: &mut Answer, language: Language) {
        complete(answer, language);
        // Names only: a position would tell how much other tenants write.
        let incomplete = self.incomplete.names().await;
        if !incomplete.is_empty() {
            answer.extensions.insert(INCOMPLETE_EXTENSION.to_owned(), incomplete.to_vec().into());
        }
    }

    /// The answers to an operation that came over a socket: one, or those of a subscription.
    pub(crate) async fn answers(
        self: Arc<Self>,
        request: async_graphql::Request,
        identity: Arc<Identity>,
        language: Language,
    ) -> Result<Answers, Failed> {
        let timeout = self.service.limits.timeout;
        let answering = async {
            let _room = self.shedder.room().ok_or_else(|| overloaded().1)?;
            let admitted =
                self.admitted((request, language), Some(identity), None, None).await.map_err(
                    |refused| match refused {
                        Refused::Turned(Turned(_, why)) => why,
                        Refused::SlowDown(throttled) => too_much(&throttled),
                    },
                )?;
            if admitted.asks != Asks::Subscription {
                return Ok(Answers::One(Box::new(self.execute(admitted).await.0)));
            }
            let door = Arc::clone(&self);
            let answers = gathered_stream(admitted.waiting, self.schema.execute_stream(admitted.request));
            let answers = answers.then(move |mut answer| {
                let door = Arc::clone(&door);
                // In a box, which lasts no longer than its answer.
                Box::pin(async move {
                    door.complete(&mut answer, language).await;
                    answer
                })
            });
            Ok(Answers::Many(answers.boxed()))
        };
        let timed_out = |_| coded(Code::Timeout, "the service did not answer in time");
        tokio::time::timeout(timeout, answering).await.map_err(timed_out)?
    }

    /// Nobody, when there is no token. A token that is not valid is an error, whatever is asked; what is
    /// wrong with it is for the operator, not for whoever tries.
    async fn identity(&self, headers: &HeaderMap) -> Result<Option<Arc<Identity>>, Turned> {
        let Some(header) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
        let unauthenticated = |why: &str| Turned(StatusCode::UNAUTHORIZED, coded(Code::Unauthenticated, why));
        let token = header.to_str().ok().and_then(bearer);
        let token = token.ok_or_else(|| unauthenticated("expected the header Authorization: Bearer …"))?;
        self.verifier.verify(token).await.map(Some).map_err(|error| {
            tracing::debug!(%error, "a token was refused");
            match error {
                IdentityError::Unavailable(_) => later(Code::Unavailable, &error.to_string()),
                _ => unauthenticated("the token is not valid, or not any more"),
            }
        })
    }

    /// Takes what a document costs from its caller's bucket. All who do not say who they are share one, under
    /// the ids that no token has.
    fn charge(&self, who: Option<&Identity>, cost: u64) -> Result<Charge, Throttled> {
        let nobody = (TenantId(uuid::Uuid::nil()), ActorId(uuid::Uuid::nil()));
        self.buckets.charge(who.map_or(nobody, |who| (who.tenant, who.actor)), cost, Instant::now())
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
        let late = |_| {
            let failed = coded(Code::Timeout, "the body did not come in time");
            Turned(StatusCode::REQUEST_TIMEOUT, failed)
        };
        let read = tokio::time::timeout(self.service.limits.sending, to_bytes(body, most)).await.map_err(late)?;
        read.map_err(|_| {
            let failed = coded(Code::BadInput, format!("the body could not be read, or is longer than {most} bytes"))
                .in_chinese(format!("请求体无法读取，或超过 {most} 字节"));
            Turned(StatusCode::PAYLOAD_TOO_LARGE, failed)
        })
    }

    /// Whether the operation may run, and whether there is room for what it changes.
    fn admit(
        &self,
        document: &ExecutableDocument,
        name: Option<&str>,
        identity: Option<&Identity>,
    ) -> Result<Asks, Turned> {
        let operation = access::operation(document, name).map_err(bad)?;
        if self.edge.introspection == Introspection::Closed && identity.is_none() {
            let failed = coded(Code::Unauthenticated, "this service tells nobody anything who does not say who asks");
            return Err(Turned(StatusCode::UNAUTHORIZED, failed));
        }
        if self.edge.introspection == Introspection::Closed && access::is_about_schema(document, operation) {
            let failed = coded(Code::Forbidden, "this service does not tell its schema");
            return Err(Turned(StatusCode::FORBIDDEN, failed));
        }
        access::check(document, operation, identity).map_err(|failed| match failed.code {
            Code::Unauthenticated => Turned(StatusCode::UNAUTHORIZED, failed),
            _ => Turned(StatusCode::FORBIDDEN, failed),
        })?;
        let asks = access::asks(document, operation);
        if asks == Asks::Mutation && self.service.commands().fullness() > FULL {
            return Err(overloaded());
        }
        if asks == Asks::Subscription {
            access::check_single(document, operation).map_err(bad)?;
        }
        Ok(asks)
    }

    async fn wait_for_views(
        &self,
        header: Option<&HeaderValue>,
        request: &async_graphql::Request,
        identity: &Identity,
    ) -> Result<(), Turned> {
        let token = |text: Option<&str>| {
            let position = text.and_then(|text| self.service.masks.furthest(identity.tenant, text));
            let wrong =
                || bad(coded(Code::BadInput, "that is no consistency token of this tenant").at(CONSISTENCY_EXTENSION));
            position.ok_or_else(wrong)
        };
        let in_header = header.map(|header| token(header.to_str().ok())).transpose()?;
        let in_body = request.extensions.get(CONSISTENCY_EXTENSION).map(|value| match value {
            async_graphql::Value::String(text) => token(Some(text)),
            _ => token(None),
        });
        // Whoever brings two has to see both.
        let Some(position) = in_header.max(in_body.transpose()?) else { return Ok(()) };
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
    serde_json::from_slice(body).map_err(|error| bad(coded(Code::BadInput, format!("the body is wrong: {error}"))))
}

/// A request in an address (GraphQL over HTTP, "GET").
fn read_address(query: &[u8]) -> Result<async_graphql::Request, Turned> {
    let query = std::str::from_utf8(query).map_err(|error| bad(coded(Code::BadInput, error)))?;
    let wrong = |error| bad(coded(Code::BadInput, format!("the address is wrong: {error}")));
    async_graphql::http::parse_query_string(query).map_err(wrong)
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
