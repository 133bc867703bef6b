//! Every field of the schema, asked by whoever should learn nothing from it: another tenant with the ids
//! of this one, the wrong roles, nobody. The documents are made from the schema, so a new field is
//! covered by itself; one for which none can be made fails here.

pub(super) mod documents;
mod mixed;
pub(super) mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use documents::{Arguments, Kind, Root, Schema};
use futures::StreamExt;
use serde_json::{Value, json};
use store::EventStore;
use uuid::Uuid;
use world::{DINER, World, bearer, populated};

use crate::{HttpLimits, Rate, access, http::Answers, identity::Role, language::Language, testing::*};

/// Mutations that rightly make something in the asker's own tenant, whoever's ids they are given, and
/// why. Their ids are made up by callers, and are names within a tenant.
const OWN: &[(&str, &str)] = &[
    ("openCanteen", "a canteen of its own"),
    ("openBooks", "its own books"),
    ("openSubsidyPolicy", "a policy of its own, for a company that it calls so"),
    ("setCompanyDisclosure", "of a company that it calls so"),
    ("setCreditLimit", "opens a company's account of its own"),
    ("deposit", "opens a wallet of its own"),
    ("topUp", "opens a wallet of its own"),
    ("employ", "a diner whom it calls so"),
    ("endEmployment", "of a diner whom it employs"),
    ("setDinerDetails", "of a diner whom it calls so"),
    ("proposeCorrection", "of its own books"),
];

fn makes_own(field: &str) -> bool {
    OWN.iter().any(|(name, _)| *name == field)
}

/// Queries that show nothing even to those whose it is, in this world, and why.
const SHOWS_NOTHING: &[(&str, &str)] = &[
    ("trialBalance", "sums of everything; isolation.rs sees that a stranger gets none"),
    ("projections", "the platform's"),
    ("parkedEvents", "the platform's, and nothing is parked"),
];

pub(super) fn roles_of(field: &str) -> &'static [Role] {
    access::TABLE.iter().find(|(name, _)| *name == field).map(|(_, roles)| *roles).unwrap()
}

/// All texts in a value, in an order that depends on its shape alone.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a caller has said: every text, and every UUID within a global id or an account's name.
fn said(arguments: &Arguments) -> Vec<String> {
    let mut said = vec![];
    texts(&Value::Object(arguments.clone()), &mut said);
    for text in said.clone() {
        let decoded = URL_SAFE_NO_PAD.decode(&text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let inner = decoded.unwrap_or(text);
        let parts = inner.split(':').filter(|part| Uuid::parse_str(part).is_ok());
        said.extend(parts.map(str::to_owned));
    }
    said
}

/// A house in which nobody is told to come again: thousands of dear documents are asked at once.
async fn unmetered() -> House {
    let rate = Rate { burst: u64::MAX, per_second: 1 };
    House::with(HttpLimits { rate, ..HttpLimits::default() }, true).await
}

struct Asking {
    house: House,
    schema: Schema,
    tokens: BTreeMap<(u128, Role), String>,
}

impl Asking {
    fn of(house: House) -> Asking {
        let tenants = [1_u128, 2];
        let bearers = tenants.into_iter().flat_map(|number| Role::ALL.map(|role| (number, role)));
        let token = |(number, role)| ((number, role), house.token(&bearer(tenant(number), role)));
        let tokens = bearers.map(token).collect();
        Asking { house, schema: Schema::read(), tokens }
    }

    async fn sent(&self, root: &Root, arguments: &Arguments, who: Option<(u128, Role)>, key: Uuid) -> Answered {
        let mut variables = arguments.clone();
        if root.kind == Kind::Mutation {
            variables.insert("idempotencyKey".to_owned(), json!(key));
        }
        let body = json!({ "query": self.schema.document(root, arguments), "variables": variables });
        let answer = match (root.kind, who) {
            (Kind::Subscription, Some(who)) => self.watched(body, who).await,
            _ => {
                let mut request = self.house.request(None, body.to_string());
                if let Some(who) = who {
                    let header = format!("Bearer {}", self.tokens[&who]).parse().unwrap();
                    request.headers_mut().insert(axum::http::header::AUTHORIZATION, header);
                }
                self.house.send(request).await
            }
        };
        let code = answer.error_code().unwrap_or_default();
        assert!(
            !matches!(code, "THROTTLED" | "OVERLOADED" | "TIMEOUT" | "STALE" | "INTERNAL"),
            "{}: {code}",
            root.name
        );
        answer
    }

    /// What a socket is told first, or why nothing; as an answer over HTTP would say it.
    async fn watched(&self, body: Value, (number, role): (u128, Role)) -> Answered {
        let who = Arc::new(bearer(tenant(number), role));
        // From a cursor on there may be nothing to tell; else the state comes first.
        let patience = if body["variables"]["after"].is_null() { 10_000 } else { 200 };
        let request = serde_json::from_value(body).unwrap();
        let error = |code: &str| json!({ "data": null, "errors": [{ "extensions": { "code": code } }] });
        match Arc::clone(&self.house.door).answers(request, who, Language::English).await {
            Err(failed) => {
                let code = failed.code.name();
                let status = if code == "FORBIDDEN" { StatusCode::FORBIDDEN } else { StatusCode::OK };
                Answered { status, token: None, body: error(code) }
            }
            Ok(Answers::One(_)) => panic!("a subscription was answered as a query"),
            Ok(Answers::Many(mut answers)) => {
                let first = tokio::time::timeout(std::time::Duration::from_millis(patience), answers.next()).await;
                let body = first.ok().flatten().map_or(Value::Null, |first| serde_json::to_value(first).unwrap());
                Answered { status: StatusCode::OK, token: None, body }
            }
        }
    }

    async fn settle(&self) {
        let head = self.house.head().await;
        self.house.views.wait_for(head, std::time::Duration::from_secs(10)).await.unwrap();
    }

    /// The answer's status and text, with what the asker said themselves replaced by its place.
    async fn answer(&self, root: &Root, arguments: &Arguments, role: Role, key: Uuid) -> String {
        let answer = self.sent(root, arguments, Some((2, role)), key).await;
        let is_valid = answer.status != StatusCode::BAD_REQUEST;
        assert!(is_valid, "{}: {:#}\n{}", root.name, answer.body, self.schema.document(root, arguments));
        let mut said = said(arguments);
        let own = bearer(tenant(2), role);
        said.extend([own.actor.to_string(), own.companies[0].to_string(), key.to_string()]);
        let mut text = format!("{} {}", answer.status, answer.without_cost());
        for (place, own) in said.iter().enumerate().filter(|(_, own)| own.len() >= 8) {
            text = text.replace(own, &format!("<{place}>"));
        }
        text
    }

    /// What a field shows to those whose things they are: the control without which the rest says nothing.
    async fn control(&self, roots: &[Root], world: &mut World, secrets: &[String]) {
        let mut silent = BTreeSet::new();
        for root in roots.iter().filter(|root| root.kind != Kind::Mutation) {
            let mut shown = 0;
            for arguments in self.schema.arguments(root, world) {
                for role in roles_of(&root.name) {
                    let answer = self.sent(root, &arguments, Some((1, *role)), Uuid::nil()).await;
                    assert_ne!(answer.status, StatusCode::BAD_REQUEST, "{}: {:#}", root.name, answer.body);
                    let text = answer.body["data"].to_string();
                    shown += usize::from(secrets.iter().any(|secret| text.contains(secret)));
                    let cursor = &answer.body["data"][&root.name]["pageInfo"]["endCursor"];
                    if let Some(cursor) = cursor.as_str() {
                        world.cursors.insert(root.name.clone(), cursor.to_owned());
                    }
                }
            }
            if shown == 0 {
                silent.insert(root.name.as_str());
            }
        }
        let known: BTreeSet<_> = SHOWS_NOTHING.iter().map(|(name, _)| *name).collect();
        assert_eq!(silent, known, "queries that show nothing of their own tenant");
    }

    /// That mutations reach what the ids name: for those whose things they are, something else than
    /// "there is no such thing" comes back.
    async fn control_of_mutations(&self, roots: &[Root], world: &World) {
        let mut lost = BTreeSet::new();
        for root in roots.iter().filter(|root| root.kind == Kind::Mutation) {
            let mut has_found = false;
            for arguments in self.schema.arguments(root, world) {
                for role in roles_of(&root.name) {
                    let answer = self.sent(root, &arguments, Some((1, *role)), Uuid::now_v7()).await;
                    assert_ne!(answer.status, StatusCode::BAD_REQUEST, "{}: {:#}", root.name, answer.body);
                    has_found |= !matches!(answer.error_code(), Some("NOT_FOUND" | "FORBIDDEN" | "BAD_INPUT"));
                }
            }
            if !has_found {
                lost.insert(root.name.as_str());
            }
        }
        assert!(lost.is_empty(), "mutations that do not reach what they are about: {lost:?}");
    }

    /// Asks about things of the first tenant, and about nothing, as each role of the second; what was found
    /// that should not be.
    async fn ask_as_stranger(
        &self,
        root: &Root,
        (theirs, unknown): (&World, &World),
        (secrets, marks): (&[String], &[String]),
    ) -> Vec<String> {
        let mut found = vec![];
        let foreign = self.schema.arguments(root, theirs);
        let nowhere = self.schema.arguments(root, unknown);
        assert_eq!(foreign.len(), nowhere.len());
        for (way, (foreign, nowhere)) in foreign.iter().zip(&nowhere).enumerate() {
            // A role that may not ask is refused whatever the arguments: one way of asking shows it.
            for role in Role::ALL.into_iter().filter(|role| way == 0 || roles_of(&root.name).contains(role)) {
                // A refusal leaves its key free; what was done does not.
                let one = Uuid::now_v7();
                let is_own = makes_own(&root.name);
                let other = if is_own { Uuid::now_v7() } else { one };
                let about_theirs = self.answer(root, foreign, role, one).await;
                let about_nothing = self.answer(root, nowhere, role, other).await;
                let asked = || format!("{} as {role:?} with {}", root.name, json!(foreign));
                // In the asker's own tenant things are called what the asker calls them.
                let told = match is_own {
                    true => marks.iter().map(String::as_str).find(|mark| about_theirs.contains(mark)),
                    false => secrets.iter().map(String::as_str).find(|secret| about_theirs.contains(secret)),
                };
                if let Some(secret) = told {
                    found.push(format!("{} tells {secret}: {about_theirs}", asked()));
                }
                // A cursor names a place in a list, and whoever names themselves knows who they are.
                let names_self = role == Role::Diner && said(foreign).contains(&Uuid::from_u128(DINER).to_string());
                let may_differ = is_own || names_self || foreign.contains_key("after");
                if !may_differ && about_theirs != about_nothing {
                    found.push(format!("{} tells it from nothing: {about_theirs} / {about_nothing}", asked()));
                }
            }
        }
        found
    }
}

#[tokio::test]
async fn no_field_tells_or_changes_anything_of_another_tenant() {
    let house = unmetered().await;
    let mut world = populated(&house).await;
    let secrets = world.secrets(&house, tenant(1)).await;
    let marks = World::marks(&house, tenant(1)).await;
    let asking = Asking::of(house);
    let mut roots = asking.schema.roots();
    asking.control(&roots, &mut world, &secrets).await;
    let unknown = world.unknown();
    // What makes something in the asker's own tenant comes last: until then that has nothing.
    roots.sort_by_key(|root| (makes_own(&root.name), root.kind));
    let (mut made, mut found) = (BTreeSet::new(), Vec::new());
    for root in &roots {
        let head = asking.house.head().await;
        found.extend(asking.ask_as_stranger(root, (&world, &unknown), (&secrets, &marks)).await);
        if asking.house.head().await != head {
            made.insert(root.name.as_str());
            let rows = asking.house.store.read_all(head + 1, 10_000).await.unwrap();
            assert!(rows.iter().all(|row| row.stream.tenant == tenant(2)), "{} changed another tenant", root.name);
            asking.settle().await;
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    let own: BTreeSet<_> = OWN.iter().map(|(name, _)| *name).collect();
    assert_eq!(made, own, "mutations that made something in the asker's own tenant");
    asking.control_of_mutations(&roots, &world).await;
}

#[tokio::test]
async fn each_wrong_role_and_nobody_is_refused_before_anything_is_read() {
    let house = unmetered().await;
    let world = populated(&house).await;
    let asking = Asking::of(house);
    let head = asking.house.head().await;
    let mut refused = 0;
    for root in asking.schema.roots() {
        let arguments = &asking.schema.arguments(&root, &world)[0];
        let nobody = asking.sent(&root, arguments, None, Uuid::now_v7()).await;
        assert_eq!((nobody.status, nobody.code()), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"), "{}", root.name);
        assert_eq!(nobody.body["data"], Value::Null);
        for role in Role::ALL.into_iter().filter(|role| !roles_of(&root.name).contains(role)) {
            let answer = asking.sent(&root, arguments, Some((1, role)), Uuid::now_v7()).await;
            assert_eq!(
                (answer.status, answer.code()),
                (StatusCode::FORBIDDEN, "FORBIDDEN"),
                "{} as {role:?}",
                root.name
            );
            assert_eq!(answer.body["data"], Value::Null);
            refused += 1;
        }
    }
    assert!(refused > 300, "{refused}");
    assert_eq!(asking.house.head().await, head);
}

/// Fields that no document asks for, and why.
const NOT_ASKED: &[(&str, &str)] = &[];

#[tokio::test]
async fn every_field_of_every_type_is_asked_for() {
    let house = unmetered().await;
    let world = populated(&house).await;
    let schema = Schema::read();
    let mut asked = BTreeSet::new();
    for root in schema.roots() {
        for arguments in schema.arguments(&root, &world) {
            asked.extend(schema.asked(&schema.document(&root, &arguments)));
        }
    }
    let all = schema.all_fields();
    assert!(all.len() > 600, "{}", all.len());
    let left: BTreeSet<_> = all.difference(&asked).map(String::as_str).collect();
    let known: BTreeSet<_> = NOT_ASKED.iter().map(|(name, _)| *name).collect();
    assert_eq!(left, known, "fields that nobody asked a stranger for");
}
