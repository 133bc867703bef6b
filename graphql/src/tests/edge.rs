//! What a caller may cost, and what browsers and the network between are told.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use serde_json::{Value, json};

use crate::{Edge, HttpLimits, Introspection, Rate, testing::*, testing_socket::Client};

const CANTEENS: &str = "{ canteens { nodes { id name } } }";
const OPEN: &str = "mutation($key: UUID!) { openCanteen(name: \"East\", zone: \"UTC\", currency: \"CNY\",
    idempotencyKey: $key) { canteen { id } } }";

async fn limited(burst: u64, per_second: u64) -> House {
    House::with(HttpLimits { rate: Rate { burst, per_second }, ..HttpLimits::default() }, true).await
}

#[tokio::test]
async fn whoever_asks_for_too_much_is_told_when_to_come_again_and_changes_nothing() {
    let house = limited(250, 1).await;
    let opened = house.ask(&staff(), OPEN, json!({ "key": key() })).await;
    let cost = opened.body["extensions"]["cost"].clone();
    let requested = cost["requested"].as_u64().unwrap();
    assert!((100..125).contains(&requested), "a mutation is dear: {cost}");
    assert_eq!(cost, json!({ "requested": requested, "available": 250 - requested, "restoresPerSecond": 1 }));
    house.ask(&staff(), OPEN, json!({ "key": key() })).await.data();
    let head = house.head().await;
    let refused = house.ask(&staff(), OPEN, json!({ "key": key() })).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::TOO_MANY_REQUESTS, "THROTTLED"));
    assert_eq!(house.head().await, head, "nothing was appended");
    let extensions = &refused.body["errors"][0]["extensions"];
    assert_eq!(extensions["retryable"], true);
    let left = refused.body["extensions"]["cost"]["available"].as_u64().unwrap();
    let wait = extensions["retryAfter"].as_u64().unwrap();
    assert!((requested - left - 1..=requested - left).contains(&wait), "{wait} s for {requested} with {left}");
    assert_eq!(refused.body["data"], Value::Null);
    // What is cheaper still has room, and so has everybody else.
    house.ask(&staff(), "{ viewer { tenant } }", json!({})).await.data();
    house.ask(&finance(), CANTEENS, json!({})).await.data();
    let same_person_elsewhere = crate::identity::Identity {
        tenant: tenant(2),
        ..crate::identity::Identity::staff_of(tenant(1), staff().actor.0)
    };
    house.ask(&same_person_elsewhere, OPEN, json!({ "key": key() })).await.data();
}

#[tokio::test]
async fn all_who_do_not_say_who_they_are_share_one_bucket() {
    let house = limited(100, 1).await;
    let schema = json!({ "query": "{ __schema { types { name } } }" }).to_string();
    let ask = || house.send(house.request(None, schema.clone()));
    assert!(ask().await.body["data"]["__schema"].is_object());
    let again = ask().await;
    assert_eq!((again.status, again.code()), (StatusCode::TOO_MANY_REQUESTS, "THROTTLED"));
    house.ask(&diner(7), "{ viewer { tenant } }", json!({})).await.data();
}

#[tokio::test]
async fn there_is_room_again_after_a_while() {
    let house = limited(120, 20).await;
    house.ask(&staff(), OPEN, json!({ "key": key() })).await.data();
    assert_eq!(house.ask(&staff(), OPEN, json!({ "key": key() })).await.code(), "THROTTLED");
    let room = async {
        while house.ask(&staff(), OPEN, json!({ "key": key() })).await.body["errors"].is_array() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), room).await.expect("room again");
}

#[tokio::test]
async fn a_kitchen_that_polls_and_a_diner_at_lunch_meet_no_limit() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let board =
        "query($s: ID!) { kitchenBoard(serving: $s, first: 100) { nodes { order stage lines { name quantity } } } }";
    let answer = house.ask(&staff(), board, json!({ "s": lunch.serving })).await;
    let cost = answer.body["extensions"]["cost"]["requested"].as_u64().unwrap();
    let rate = Rate::default();
    assert!(cost > 1_000 && cost * 10 < rate.per_second, "ten screens under one token, each every second: {cost}");
    house.deposit(7, "50.00").await;
    let order = house.order(&diner(7), &lunch.serving, json!([{ "dish": lunch.rice, "quantity": 1 }]), &key()).await;
    assert!(order.body["extensions"]["cost"]["requested"].as_u64().unwrap() * 20 < rate.per_second);
}

#[tokio::test]
async fn a_closed_schema_is_not_told_to_anybody() {
    let house = House::behind(Edge { introspection: Introspection::Closed, ..Edge::default() }).await;
    for query in [
        "{ __schema { queryType { name } } }",
        "{ __type(name: \"Order\") { name } }",
        "{ viewer { tenant } ...f } fragment f on Query { __schema { queryType { name } } }",
        "{ viewer { tenant } ... on Query { schema: __schema { queryType { name } } } }",
    ] {
        let answer = house.ask(&diner(7), query, json!({})).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "FORBIDDEN"), "{query}");
        let nobody = house.send(house.request(None, json!({ "query": query }).to_string())).await;
        assert_eq!((nobody.status, nobody.code()), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"), "{query}");
    }
    // Nobody learns which fields there are from what is wrong with a document.
    let probe = "{ __typename } fragment f on Order { totl }";
    let nobody = house.send(house.request(None, json!({ "query": probe }).to_string())).await;
    assert_eq!((nobody.status, nobody.code()), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"));
    let names = house.ask(&diner(7), "{ __typename viewer { __typename } }", json!({})).await.data();
    assert_eq!(names, json!({ "__typename": "Query", "viewer": { "__typename": "Viewer" } }));
    // A suggestion would tell it piece by piece.
    let guess = house.ask(&diner(7), "{ viewer { tenat } }", json!({})).await;
    assert!(!guess.body.to_string().contains("Did you mean"), "{:#}", guess.body);
}

async fn preflight(house: &House, origin: &str) -> (StatusCode, HeaderMap) {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri("/graphql")
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,if-none-match,x-consistency-token");
    let response = house.call(request.body(Body::empty()).unwrap()).await;
    (response.status(), response.headers().clone())
}

#[tokio::test]
async fn pages_of_named_sites_may_ask_and_no_others() {
    let origins = ["https://lunch.example", "http://localhost:3000"].map(|origin| origin.parse().unwrap());
    let house = House::behind(Edge { origins: origins.to_vec(), ..Edge::default() }).await;
    for origin in ["https://lunch.example", "http://localhost:3000"] {
        let (status, headers) = preflight(&house, origin).await;
        assert_eq!((status, &headers[header::ACCESS_CONTROL_ALLOW_ORIGIN]), (StatusCode::OK, &origin.parse().unwrap()));
        let allowed = headers[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
        assert!(
            ["authorization", "if-none-match", "x-consistency-token"].iter().all(|name| allowed.contains(name)),
            "{allowed}"
        );
        assert_eq!(headers[header::ACCESS_CONTROL_MAX_AGE], "3600");
        assert_eq!(headers.get(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), None);
    }
    for origin in ["https://evil.example", "https://lunch.example.evil.example", "http://lunch.example", "null"] {
        let (_, headers) = preflight(&house, origin).await;
        assert_eq!(headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN), None, "{origin}");
    }
    let mut asked = house.request(Some(&diner(7)), json!({ "query": CANTEENS }).to_string());
    asked.headers_mut().insert(header::ORIGIN, "https://lunch.example".parse().unwrap());
    let answer = house.call(asked).await;
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://lunch.example");
    let exposed = answer.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
    assert!(exposed.contains("x-consistency-token") && exposed.contains("etag"), "{exposed}");
    let (_, headers) = preflight(&House::open().await, "https://lunch.example").await;
    assert_eq!(headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN), None, "without names nobody else");
}

#[tokio::test]
async fn pages_of_named_sites_may_open_sockets_and_no_others() {
    let house =
        House::behind(Edge { origins: vec!["https://lunch.example".parse().unwrap()], ..Edge::default() }).await;
    let at = house.listen().await;
    let opened = async |origin: &str| {
        Client::with(&at, &[("sec-websocket-protocol", "graphql-transport-ws"), ("origin", origin)]).await.err()
    };
    assert_eq!(opened("https://lunch.example").await, None);
    assert_eq!(opened(&format!("http://{}", at.address)).await, None, "its own, as GraphiQL is");
    assert_eq!(opened("https://evil.example").await, Some(403));
    assert_eq!(opened("null").await, Some(403));
}

#[tokio::test]
async fn what_does_not_say_how_long_it_holds_is_kept_by_nobody() {
    let house = House::open().await;
    let get = async |query: &str| {
        let request = Request::get(format!("/graphql?query={query}"));
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", house.token(&diner(7))));
        house.call(request.body(Body::empty()).unwrap()).await.headers().get(header::CACHE_CONTROL).cloned()
    };
    assert_eq!(get("%7Bviewer%7Btenant%7D%7D").await, Some("no-store".parse().unwrap()));
    assert_eq!(get("%7Bnothing%7D").await, Some("no-store".parse().unwrap()), "refusals too");
    assert_eq!(get("%7Bcanteens%7Bnodes%7Bid%7D%7D%7D").await, Some("private, no-cache".parse().unwrap()), "a menu");
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_can_read_them() {
    let house = House::open().await;
    let schema = json!({ "query": "{ __schema { types { name description } } }" }).to_string();
    let ask = async |accepts: Option<&str>, body: &str| {
        let mut request = house.request(Some(&diner(7)), body.to_owned());
        if let Some(accepts) = accepts {
            request.headers_mut().insert(header::ACCEPT_ENCODING, accepts.parse().unwrap());
        }
        let response = house.call(request).await;
        let encoding = response.headers().get(header::CONTENT_ENCODING).cloned();
        (encoding, to_bytes(response.into_body(), usize::MAX).await.unwrap())
    };
    let (plain, whole) = ask(None, &schema).await;
    let (gzip, packed) = ask(Some("gzip"), &schema).await;
    assert_eq!((plain, gzip), (None, Some("gzip".parse().unwrap())));
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() * 3 < whole.len(), "{} of {}", packed.len(), whole.len());
}
