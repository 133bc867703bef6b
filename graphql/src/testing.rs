//! A house with its door, in memory: what the tests ask.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header},
};
use commands::{Commands, Limits, ManualClock, SeededIds};
use domain::{DinerId, TenantId, Timestamp, payment::Provider};
use projections::{Runner, Views};
use providers::{PaymentProvider, Providers, StandIn};
use sagas::{Finance, Ordering, People, Subsidies};
use serde_json::{Value, json};
use store::{
    EventStore, MemoryLog, Position,
    keys::{Keyring, MemoryKeys},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tower_service::Service as _;
use uuid::Uuid;

use crate::{
    Edge, HttpLimits, Setup,
    http::{self, Door},
    identity::{Identity, Issuer, Role, Verifier},
};

/// Noon in Shanghai on 2026-11-23 is 04:00 UTC.
pub(crate) const TEN_IN_THE_MORNING: &str = "2026-11-23T02:00:00Z";

pub(crate) struct House {
    pub(crate) router: Router,
    pub(crate) door: Arc<Door>,
    pub(crate) issuer: Issuer,
    pub(crate) store: Arc<MemoryLog>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) commands: Commands,
    pub(crate) ordering: Ordering,
    /// Plays WeChat Pay and Alipay.
    pub(crate) stand_in: Arc<StandIn>,
    pub(crate) draining: CancellationToken,
    pub(crate) views: Views,
    _runner: Option<DropGuard>,
}

/// An answer: status, headers, body.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) token: Option<String>,
    pub(crate) body: Value,
}

impl Answered {
    /// The data of an answer without errors.
    #[track_caller]
    pub(crate) fn data(self) -> Value {
        assert!(self.body.get("errors").is_none(), "{:#}", self.body);
        self.body["data"].clone()
    }

    /// The input field that the first error names.
    #[track_caller]
    pub(crate) fn field(&self) -> &str {
        self.body["errors"][0]["extensions"]["field"].as_str().unwrap_or_else(|| panic!("no field: {:#}", self.body))
    }

    /// The body without what each answer says of its caller's bucket.
    pub(crate) fn without_cost(&self) -> Value {
        let mut body = self.body.clone();
        let extensions = body.get_mut("extensions").and_then(Value::as_object_mut);
        let is_empty =
            extensions.is_some_and(|extensions| extensions.remove("cost").is_some() && extensions.is_empty());
        if is_empty && let Some(body) = body.as_object_mut() {
            body.remove("extensions");
        }
        body
    }

    /// The code of the first error, if there is one.
    pub(crate) fn error_code(&self) -> Option<&str> {
        self.body["errors"][0]["extensions"]["code"].as_str()
    }

    /// The code of the first error.
    #[track_caller]
    pub(crate) fn code(&self) -> &str {
        self.body["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("no error: {:#}", self.body))
    }
}

pub(crate) fn tenant(number: u128) -> TenantId {
    TenantId(Uuid::from_u128(number))
}

pub(crate) fn staff() -> Identity {
    Identity::staff_of(tenant(1), Uuid::from_u128(100))
}

pub(crate) fn finance() -> Identity {
    Identity::new(tenant(1), Uuid::from_u128(101), [Role::Finance])
}

pub(crate) fn diner(number: u128) -> Identity {
    Identity::diner_of(tenant(1), DinerId(Uuid::from_u128(number)))
}

fn keyring() -> Keyring {
    Keyring::new(Arc::new(MemoryKeys::default()))
}

pub(crate) fn key() -> String {
    Uuid::now_v7().to_string()
}

impl House {
    pub(crate) async fn open() -> House {
        House::with(HttpLimits::default(), true).await
    }

    pub(crate) async fn without_providers() -> House {
        House::built(
            HttpLimits::default(),
            true,
            Some(keyring()),
            Arc::default(),
            Providers::default(),
            None,
            Edge::default(),
        )
        .await
    }

    pub(crate) async fn without_keys() -> House {
        House::built(HttpLimits::default(), true, None, Arc::default(), Providers::default(), None, Edge::default())
            .await
    }

    /// Without a runner the views stand still.
    pub(crate) async fn with(limits: HttpLimits, runs: bool) -> House {
        let stand_in = Arc::new(StandIn::default());
        let port = || Arc::clone(&stand_in) as Arc<dyn PaymentProvider>;
        let providers = Providers::default().with(Provider::WechatPay, port()).with(Provider::Alipay, port());
        House::built(limits, runs, Some(keyring()), Arc::clone(&stand_in), providers, None, Edge::default()).await
    }

    /// Takes the tokens that `verifier` takes.
    pub(crate) async fn checking(verifier: Verifier) -> House {
        House::checking_within(verifier, HttpLimits::default()).await
    }

    pub(crate) async fn checking_within(verifier: Verifier, limits: HttpLimits) -> House {
        let (keys, providers) = (Some(keyring()), Providers::default());
        House::built(limits, true, keys, Arc::default(), providers, Some(verifier), Edge::default()).await
    }

    /// Meets the network as `edge` says.
    pub(crate) async fn behind(edge: Edge) -> House {
        let (limits, keys, providers) = (HttpLimits::default(), Some(keyring()), Providers::default());
        House::built(limits, true, keys, Arc::default(), providers, None, edge).await
    }

    async fn built(
        limits: HttpLimits,
        runs: bool,
        keys: Option<Keyring>,
        stand_in: Arc<StandIn>,
        providers: Providers,
        verifier: Option<Verifier>,
        edge: Edge,
    ) -> House {
        let store = Arc::new(MemoryLog::new());
        let clock = Arc::new(ManualClock::at(TEN_IN_THE_MORNING.parse().unwrap()));
        let commands = Commands::start(store.clone(), clock.clone(), Arc::new(SeededIds::new(1)), Limits::default());
        let views = Views::in_memory(store.identity(), projections::all()).unwrap();
        let mut runner = Runner::open(store.clone(), views.clone()).await.unwrap();
        runner.catch_up().await.unwrap();
        let stop = CancellationToken::new();
        let guard = runs.then(|| {
            tokio::spawn(runner.run(stop.clone()));
            stop.drop_guard()
        });
        let issuer = Issuer::random();
        let draining = CancellationToken::new();
        let ordering = Ordering::new(commands.clone()).with_providers(providers);
        let setup = Setup {
            limits,
            edge,
            draining: draining.clone(),
            ..Setup::new(
                ordering.clone(),
                Subsidies::new(commands.clone(), views.clone()),
                Finance::new(commands.clone(), views.clone()),
                People::new(commands.clone(), views.clone(), keys),
                views.clone(),
                verifier.unwrap_or_else(|| issuer.verifier().unwrap()),
                issuer.token_secret(),
            )
        };
        let door = http::door(setup);
        let router = http::routes(Arc::clone(&door));
        House { router, door, issuer, store, clock, commands, ordering, stand_in, draining, views, _runner: guard }
    }

    /// The same house behind a door that was just opened, and knows nothing of before.
    pub(crate) fn started_anew(&self) -> House {
        self.beside(self.views.clone(), HttpLimits::default())
    }

    /// The same house behind another door, with these views.
    pub(crate) fn beside(&self, views: Views, limits: HttpLimits) -> House {
        let (ordering, commands) = (self.ordering.clone(), self.commands.clone());
        let setup = Setup::new(
            ordering.clone(),
            Subsidies::new(commands.clone(), views.clone()),
            Finance::new(commands.clone(), views.clone()),
            People::new(commands.clone(), views.clone(), Some(keyring())),
            views.clone(),
            self.issuer.verifier().unwrap(),
            self.issuer.token_secret(),
        );
        let door = http::door(Setup { limits, ..setup });
        House {
            router: http::routes(Arc::clone(&door)),
            door,
            issuer: self.issuer.clone(),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            commands,
            ordering,
            stand_in: Arc::clone(&self.stand_in),
            draining: CancellationToken::new(),
            views,
            _runner: None,
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self._runner.is_some()
    }

    pub(crate) fn at(&self, time: &str) {
        self.clock.set(time.parse::<Timestamp>().unwrap());
    }

    pub(crate) fn token(&self, who: &Identity) -> String {
        self.issuer.mint(who, Duration::from_secs(600)).unwrap()
    }

    pub(crate) async fn head(&self) -> Position {
        self.store.head().await.unwrap()
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().call(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answered {
        let response = self.call(request).await;
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let token = parts.headers.get("x-consistency-token").map(|token| token.to_str().unwrap().to_owned());
        Answered { status: parts.status, token, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    pub(crate) fn request(&self, who: Option<&Identity>, body: impl Into<Body>) -> Request<Body> {
        let mut request = Request::post("/graphql").header(header::CONTENT_TYPE, "application/json");
        if let Some(who) = who {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token(who)));
        }
        request.body(body.into()).unwrap()
    }

    pub(crate) async fn ask(&self, who: &Identity, query: &str, variables: Value) -> Answered {
        let body = json!({ "query": query, "variables": variables }).to_string();
        self.send(self.request(Some(who), body)).await
    }

    /// Asks with the consistency token of everything there is.
    pub(crate) async fn read(&self, who: &Identity, query: &str, variables: Value) -> Value {
        let head = self.head().await;
        self.views.wait_for(head, Duration::from_secs(10)).await.unwrap();
        let body = json!({ "query": query, "variables": variables }).to_string();
        let mut request = self.request(Some(who), body);
        let token = self.door.service.masks.token(who.tenant, head);
        request.headers_mut().insert("x-consistency-token", token.parse().unwrap());
        self.send(request).await.data()
    }

    /// A canteen with rice (no options, 3.00) and noodles (a choice of sauce, 12.50), serving
    /// lunch today until 11:00 in Shanghai: two portions of rice, ten of noodles, five a diner.
    pub(crate) async fn lunch(&self) -> Lunch {
        let canteen = self
            .ask(
                &staff(),
                "mutation($key: UUID!) { openCanteen(name: \"East\", zone: \"Asia/Shanghai\", currency: \"CNY\",
                   idempotencyKey: $key) { canteen { id } } }",
                json!({ "key": key() }),
            )
            .await
            .data()["openCanteen"]["canteen"]["id"]
            .clone();
        let rice = self.dish(&canteen, json!({ "name": "Rice", "category": "Staple", "price": yuan("3.00") })).await;
        let sauce = json!({ "name": "Sauce", "min": 1, "max": 1, "choices": [
            { "name": "Soy", "price": yuan("0") }, { "name": "Sesame", "price": yuan("1.50") } ] });
        let spec = json!({ "name": "Noodles", "category": "Main", "price": yuan("12.50"), "options": [sauce] });
        let noodles = self.dish(&canteen, spec).await;
        let serving = json!({
            "canteen": canteen, "date": "2026-11-23", "meal": "LUNCH",
            "opens": "2026-11-23T08:00", "cutOff": "2026-11-23T11:00", "lock": "2026-11-23T11:15", "dinerLimit": 5,
            "offers": [{ "dish": rice, "portions": 2 }, { "dish": noodles, "portions": 10 }],
        });
        let serving = self.ask(&staff(), PUBLISH, json!({ "key": key(), "serving": serving })).await.data();
        let serving = serving["publishServing"]["serving"]["id"].clone();
        Lunch { canteen, rice, noodles, serving }
    }

    pub(crate) async fn dish(&self, canteen: &Value, spec: Value) -> Value {
        let answer = self.ask(&staff(), PUT_DISH, json!({ "key": key(), "canteen": canteen, "spec": spec })).await;
        answer.data()["putDish"]["dish"]["id"].clone()
    }

    pub(crate) async fn deposit(&self, owner: u128, amount: &str) -> Value {
        let account = json!({ "kind": "WALLET", "owner": Uuid::from_u128(owner) });
        let variables = json!({ "key": key(), "account": account, "amount": yuan(amount) });
        self.ask(&finance(), DEPOSIT, variables).await.data()["deposit"]["account"].clone()
    }

    /// Orders `lines` of a serving as `who`, under `key`.
    pub(crate) async fn order(&self, who: &Identity, serving: &Value, lines: Value, key: &str) -> Answered {
        let input = json!({ "serving": serving, "lines": lines });
        self.ask(who, PLACE, json!({ "key": key, "input": input })).await
    }
}

pub(crate) struct Lunch {
    pub(crate) canteen: Value,
    pub(crate) rice: Value,
    pub(crate) noodles: Value,
    pub(crate) serving: Value,
}

pub(crate) fn yuan(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "CNY" })
}

pub(crate) const PUBLISH: &str = "mutation($serving: ServingInput!, $key: UUID!) {
  publishServing(serving: $serving, idempotencyKey: $key) {
    serving { id cutOff lockAt offers { name left price { amount } } canteen { name } } consistencyToken } }";

pub(crate) const PUT_DISH: &str = "mutation($canteen: ID!, $dish: ID, $spec: DishInput!, $key: UUID!) {
  putDish(canteen: $canteen, dish: $dish, spec: $spec, idempotencyKey: $key) { dish { id name } } }";

pub(crate) const DEPOSIT: &str = "mutation($account: AccountInput!, $amount: MoneyInput!, $key: UUID!) {
  deposit(account: $account, amount: $amount, idempotencyKey: $key) {
    account { id available { amount currency } frozen } } }";

pub(crate) const PLACE: &str = "mutation($input: PlaceOrderInput!, $key: UUID!) {
  placeOrder(input: $input, idempotencyKey: $key) {
    __typename
    ... on Order { id status total { amount } tenders { source amount { amount } why } consistencyToken refusal }
    ... on SoldOut { order message offers { dish asked left } }
    ... on Closed { order at } ... on NotYetOpen { order at }
    ... on PriceChanged { order changes { dish was { amount } now { amount } } }
    ... on DinerLimit { order limit held asked }
    ... on InsufficientFunds { order short { amount currency } }
    ... on AccountFrozen { order } ... on Withdrawn { order } ... on NotOffered { order dish message }
    ... on TooLate { order } } }";
