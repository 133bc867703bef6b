//! A tenant with a canteen: who asks, and what they ask.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::{Server, http::Connection, succeed};

/// The local date of the servings here: so far ahead that no test meets its cut-off.
pub const DATE: &str = "2099-03-02";
/// How long somebody who is told to ask again does so.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store, a folder for what belongs to it, and the tenant whose people have tokens for it.
pub struct Place {
    dir: TempDir,
    store: String,
    pub tenant: Uuid,
}

impl Place {
    pub fn new() -> Place {
        Place::of(Uuid::now_v7())
    }

    /// With a store in the folder.
    pub fn of(tenant: Uuid) -> Place {
        let dir = tempfile::tempdir().expect("a folder");
        let store = format!("sqlite:{}", dir.path().join("data").display());
        Place { dir, store, tenant }
    }

    /// With a store elsewhere.
    pub fn on(store: String) -> Place {
        Place { dir: tempfile::tempdir().expect("a folder"), store, tenant: Uuid::now_v7() }
    }

    /// A file beside the store.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The folder with the development key; that of the store, if the store is here.
    pub fn folder(&self) -> PathBuf {
        self.file("data")
    }

    pub fn store(&self) -> String {
        self.store.clone()
    }

    pub fn serve(&self) -> Server {
        Server::start(&self.store, &self.folder(), &[])
    }

    /// A token of this tenant; `canteen` is one where its bearer works, or `all`.
    pub fn token(&self, role: &str, who: Uuid, canteen: Option<&str>) -> String {
        self.token_of(self.tenant, role, who, canteen)
    }

    /// A token of any tenant.
    pub fn token_of(&self, tenant: Uuid, role: &str, who: Uuid, canteen: Option<&str>) -> String {
        let (tenant, who, data) = (tenant.to_string(), who.to_string(), self.folder().display().to_string());
        let mut arguments = vec!["token", "--store", &self.store, "--data", &data, "--tenant", &tenant];
        arguments.extend(["--role", role, "--subject", &who]);
        if let Some(canteen) = canteen {
            arguments.extend(["--canteen", canteen]);
        }
        succeed(&arguments).trim().to_owned()
    }

    pub fn person(&self, server: &Server, role: &str) -> Person {
        let (who, canteen) = (Uuid::now_v7(), (role == "canteen").then_some("all"));
        Person::new(server.address, who, self.token(role, who, canteen))
    }

    /// Half a dozen words for what most tests begin with.
    pub fn staff(&self, server: &Server) -> Person {
        self.person(server, "canteen")
    }

    pub fn finance(&self, server: &Server) -> Person {
        self.person(server, "finance")
    }

    pub fn auditor(&self, server: &Server) -> Person {
        self.person(server, "auditor")
    }

    /// A diner with so much in the wallet.
    pub fn diner(&self, server: &Server, wallet: &str) -> Person {
        let mut diner = self.person(server, "diner");
        if wallet != "0" {
            let mut finance = self.finance(server);
            finance.deposit("WALLET", diner.id, wallet);
            diner.after(&finance);
        }
        diner
    }

    /// What `scripts/recompute.py` says of the log as it is now.
    pub fn recompute(&self, arguments: &[&str]) -> Value {
        super::recompute(&self.store, &self.file("export.jsonl"), arguments)
    }

    /// The same, as soon as nothing is half-done any more.
    pub fn settled(&self, arguments: &[&str]) -> Value {
        super::settled(&self.store, &self.file("export.jsonl"), arguments)
    }
}

/// Somebody with a token and a connection. What they ask shows what they were told before.
pub struct Person {
    address: SocketAddr,
    connection: Option<Connection>,
    pub id: Uuid,
    pub token: String,
    /// The consistency token of what they wrote, or heard of, last.
    pub seen: Option<String>,
}

impl Person {
    pub fn new(address: SocketAddr, id: Uuid, token: String) -> Person {
        Person { address, connection: None, id, token, seen: None }
    }

    /// Goes on with a server that stands elsewhere now.
    pub fn move_to(&mut self, address: SocketAddr) {
        (self.address, self.connection) = (address, None);
    }

    /// Hears of what another one wrote.
    pub fn after(&mut self, other: &Person) {
        self.seen.clone_from(&other.seen);
    }

    /// Hears of what each of several others wrote.
    pub fn after_all<'a>(&mut self, others: impl IntoIterator<Item = &'a Person>) {
        let tokens: Vec<&str> = others.into_iter().filter_map(|other| other.seen.as_deref()).collect();
        self.seen = Some(tokens.join(","));
    }

    /// The whole answer, or why there was none.
    pub fn try_ask(&mut self, query: &str, variables: &Value) -> io::Result<Value> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address)?,
        };
        // A mutation decides on the log, and waits for no view.
        let seen = self.seen.as_deref().filter(|_| !query.starts_with("mutation"));
        let answer = connection.graphql(&self.token, query, variables, seen)?;
        self.connection = Some(connection);
        if let Some(token) = answer["extensions"]["consistencyToken"].as_str() {
            self.seen = Some(token.to_owned());
        }
        Ok(answer)
    }

    /// The first answer that is not to ask again. Until then the same is asked, under the same key, as a
    /// frontend does.
    #[track_caller]
    pub fn insist(&mut self, query: &str, variables: &Value) -> Value {
        let began = Instant::now();
        loop {
            let answer = self.try_ask(query, variables).expect("an answer");
            if answer["errors"][0]["extensions"]["retryable"] != true {
                return answer;
            }
            assert!(began.elapsed() < PATIENCE, "{query} {variables}: after {PATIENCE:?} still {answer:#}");
            sleep(Duration::from_millis(20));
        }
    }

    /// The data of an answer without errors; those that say to ask again are no answer yet.
    #[track_caller]
    pub fn ask(&mut self, query: &str, variables: Value) -> Value {
        let answer = self.insist(query, &variables);
        assert!(answer["errors"].is_null(), "{query} {variables}: {answer:#}");
        answer["data"].clone()
    }

    /// The code of the error that it was answered with.
    #[track_caller]
    pub fn error(&mut self, query: &str, variables: Value) -> String {
        let answer = self.try_ask(query, &variables).expect("an answer");
        let code = answer["errors"][0]["extensions"]["code"].as_str();
        code.unwrap_or_else(|| panic!("{query} {variables}: no error: {answer:#}")).to_owned()
    }

    /// Asks for one change under a new key, and gives what it answers.
    #[track_caller]
    pub fn change(&mut self, query: &str, mut variables: Value) -> Value {
        variables["key"] = key();
        let data = self.ask(query, variables);
        let fields = data.as_object().expect("data");
        fields.values().next().expect("a field").clone()
    }

    #[track_caller]
    pub fn deposit(&mut self, kind: &str, owner: Uuid, amount: &str) -> Value {
        let account = json!({ "kind": kind, "owner": owner });
        self.change(DEPOSIT, json!({ "account": account, "amount": yuan(amount) }))["account"].clone()
    }

    /// Places an order under a new key.
    #[track_caller]
    pub fn place(&mut self, serving: &Value, lines: Value) -> Value {
        self.place_as(&key(), serving, lines)
    }

    #[track_caller]
    pub fn place_as(&mut self, key: &Value, serving: &Value, lines: Value) -> Value {
        let input = json!({ "serving": serving, "lines": lines });
        self.ask(PLACE, json!({ "input": input, "key": key }))["placeOrder"].clone()
    }

    /// One of the steps of an order that answer with the order.
    #[track_caller]
    pub fn step(&mut self, step: &str, order: &Value) -> Value {
        self.change(&step_query(step), json!({ "order": order }))["order"].clone()
    }

    /// All nodes of a connection; `field` is its name and arguments but those of paging.
    #[track_caller]
    pub fn all(&mut self, field: &str, nodes: &str) -> Vec<Value> {
        let (name, arguments) = field.split_once('(').map_or((field, ""), |(name, rest)| (name, rest));
        let arguments = arguments.trim_end_matches(')');
        let query = format!(
            "query($after: String) {{ {name}({arguments} first: 100, after: $after) {{
               nodes {{ {nodes} }} pageInfo {{ hasNextPage endCursor }} }} }}"
        );
        let (mut found, mut after) = (Vec::new(), Value::Null);
        loop {
            let page = self.ask(&query, json!({ "after": after }))[name].clone();
            found.extend(page["nodes"].as_array().expect("nodes").iter().cloned());
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                return found;
            }
        }
    }
}

/// A canteen with a serving that can be ordered from.
#[derive(Clone)]
pub struct Lunch {
    pub canteen: Value,
    pub dishes: Vec<Value>,
    pub serving: Value,
}

impl Lunch {
    /// Opens a canteen and publishes a serving of dishes, each with its name, price and portions.
    pub fn open(staff: &mut Person, offers: &[(&str, &str, u32)], diner_limit: u32) -> Lunch {
        let canteen = staff.change(OPEN, json!({ "name": "East", "zone": "Asia/Shanghai", "currency": "CNY" }));
        let canteen = canteen["canteen"]["id"].clone();
        let dishes: Vec<Value> = offers
            .iter()
            .map(|(name, price, _)| {
                let spec = json!({ "name": name, "category": "main", "price": yuan(price) });
                staff.change(PUT_DISH, json!({ "canteen": canteen, "spec": spec }))["dish"]["id"].clone()
            })
            .collect();
        let portions = dishes.iter().zip(offers).map(|(dish, offer)| json!({ "dish": dish, "portions": offer.2 }));
        let serving = plan(&canteen, portions.collect(), "LUNCH", diner_limit);
        let serving = staff.change(PUBLISH, json!({ "serving": serving }))["serving"]["id"].clone();
        Lunch { canteen, dishes, serving }
    }

    pub fn line(&self, dish: usize, quantity: u32) -> Value {
        json!({ "dish": self.dishes[dish], "quantity": quantity })
    }
}

/// A serving's input, open now and for long.
pub fn plan(canteen: &Value, offers: Vec<Value>, meal: &str, diner_limit: u32) -> Value {
    json!({
        "canteen": canteen, "date": DATE, "meal": meal, "opens": "2020-01-01T06:00", "cutOff": format!("{DATE}T11:00"),
        "dinerLimit": diner_limit, "offers": offers,
    })
}

pub fn yuan(amount: &str) -> Value {
    json!({ "amount": amount, "currency": "CNY" })
}

/// A new idempotency key.
pub fn key() -> Value {
    json!(Uuid::now_v7())
}

/// The UUID within a global id: the log's own name of the thing.
pub fn raw(id: &Value) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(id.as_str().expect("a global id")).expect("base64url");
    let text = String::from_utf8(bytes).expect("UTF-8");
    text.rsplit(':').next().expect("a UUID").to_owned()
}

/// Whether two files are the same; for logs that must not have moved.
pub fn export(store: &str, file: &Path) -> String {
    let text = succeed(&["events", "export", "--store", store]);
    std::fs::write(file, &text).expect("an export");
    text
}

pub const OPEN: &str = "mutation($name: String!, $zone: String!, $currency: String!, $key: UUID!) {
  openCanteen(name: $name, zone: $zone, currency: $currency, idempotencyKey: $key) { canteen { id name } } }";

pub const PUT_DISH: &str = "mutation($canteen: ID!, $dish: ID, $spec: DishInput!, $key: UUID!) {
  putDish(canteen: $canteen, dish: $dish, spec: $spec, idempotencyKey: $key) { dish { id name price { amount } } } }";

pub const PUBLISH: &str = "mutation($serving: ServingInput!, $key: UUID!) {
  publishServing(serving: $serving, idempotencyKey: $key) { serving { id cutOff lockAt } } }";

pub const DEPOSIT: &str = "mutation($account: AccountInput!, $amount: MoneyInput!, $key: UUID!) {
  deposit(account: $account, amount: $amount, idempotencyKey: $key) { account { id available { amount } } } }";

pub const PLACE: &str = "mutation($input: PlaceOrderInput!, $key: UUID!) {
  placeOrder(input: $input, idempotencyKey: $key) {
    __typename
    ... on Order { id status total { amount } payment channel consistencyToken
                   tenders { source amount { amount } } lines { name quantity unitPrice { amount } } }
    ... on SoldOut { order message offers { dish asked left } }
    ... on Closed { order at } ... on NotYetOpen { order at }
    ... on PriceChanged { order changes { dish was { amount } now { amount } } }
    ... on DinerLimit { order limit held asked }
    ... on InsufficientFunds { order short { amount currency } }
    ... on AccountFrozen { order } ... on Withdrawn { order } ... on NotOffered { order dish message }
    ... on TooLate { order } } }";

pub const COLLECT: &str = "mutation($order: ID!, $code: String!, $key: UUID!) {
  collect(order: $order, code: $code, idempotencyKey: $key) { order { id status } } }";

pub const REFUND_LINES: &str = "mutation($order: ID!, $lines: [LineCountInput!]!, $key: UUID!) {
  refundLines(order: $order, lines: $lines, reason: COMPLAINT, idempotencyKey: $key) {
    order { id status refunded { amount } refunds { settled amount { amount } } } } }";

pub const WITHDRAW_DISH: &str = "mutation($serving: ID!, $dish: ID!, $key: UUID!) {
  withdrawDish(serving: $serving, dish: $dish, idempotencyKey: $key) { serving { offers { dish withdrawn left } } } }";

pub const WITHDRAW_SERVING: &str = "mutation($serving: ID!, $key: UUID!) {
  withdrawServing(serving: $serving, idempotencyKey: $key) { serving { id withdrawn } } }";

/// `prepare`, `markReady`, `markNoShow`, `cancelOrder`, `recordPayment`.
pub fn step_query(step: &str) -> String {
    format!(
        "mutation($order: ID!, $key: UUID!) {{ {step}(order: $order, idempotencyKey: $key) {{
           order {{ id status pickupCode refunded {{ amount }} refunds {{ settled }} }} }} }}"
    )
}
