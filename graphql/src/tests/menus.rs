//! Menus from memory and by GET: fresh enough, nobody else's, and not sent twice.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    http::{Request, Response, StatusCode, header},
};
use projections::{Runner, Views};
use serde_json::{Value, json};
use store::EventStore;

use crate::{HttpLimits, Rate, identity::Identity, testing::*};

/// Long enough that nothing of it is old before a test ends.
async fn remembering() -> House {
    let rate = Rate { per_second: 1, ..Rate::default() };
    House::with(HttpLimits { menu_age: Duration::from_secs(3_600), rate, ..HttpLimits::default() }, true).await
}

fn menu_of(serving: &Value) -> String {
    json!({ "query": "query($id: ID!) { serving(id: $id) { offers { name left } } }", "variables": { "id": serving } })
        .to_string()
}

fn left(answer: Answered) -> Value {
    answer.data()["serving"]["offers"][0]["left"].clone()
}

fn by_get(house: &House, who: &Identity, address: &str, known: Option<&str>) -> Request<Body> {
    let mut request = Request::get(address).header(header::AUTHORIZATION, format!("Bearer {}", house.token(who)));
    if let Some(known) = known {
        request = request.header(header::IF_NONE_MATCH, known);
    }
    request.body(Body::empty()).unwrap()
}

fn header_of(response: &Response<Body>, name: header::HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_menu_is_read_once_and_whoever_ordered_sees_their_own_order() {
    let house = remembering().await;
    let lunch = house.lunch().await;
    house.read(&staff(), "{ viewer { tenant } }", json!({})).await;
    let ask = async |who: &Identity| house.send(house.request(Some(who), menu_of(&lunch.serving))).await;
    let before = left(ask(&diner(7)).await);
    house.deposit(7, "50").await;
    let order = house.order(&diner(7), &lunch.serving, json!([{ "dish": lunch.rice, "quantity": 1 }]), &key()).await;
    let token = order.token.clone().unwrap();
    assert_eq!(order.data()["placeOrder"]["status"], "CONFIRMED");
    assert_eq!(left(ask(&diner(8)).await), before, "from memory, to somebody else of the tenant");
    let mut own = house.request(Some(&diner(7)), menu_of(&lunch.serving));
    own.headers_mut().insert("x-consistency-token", token.parse().unwrap());
    let own = left(house.send(own).await);
    assert_eq!(own.as_u64().unwrap() + 1, before.as_u64().unwrap(), "with the token of what was written");
    assert_eq!(left(ask(&diner(8)).await), own, "and that is what the others get from now on");
    let mut wrong = house.request(Some(&diner(7)), menu_of(&lunch.serving));
    wrong.headers_mut().insert("x-consistency-token", "nonsense".parse().unwrap());
    assert_eq!(house.send(wrong).await.code(), "BAD_INPUT");
}

/// A node whose views another node keeps up, as on Postgres all but one are.
#[tokio::test]
async fn who_brings_a_token_is_given_from_memory_where_another_node_folds() {
    let house = House::with(HttpLimits::default(), false).await;
    let folder = tempfile::tempdir().unwrap();
    let kept_up = Views::open(folder.path(), house.store.identity(), projections::all()).unwrap();
    let lunch = house.lunch().await;
    Runner::open(house.store.clone(), kept_up.clone()).await.unwrap().catch_up().await.unwrap();
    let views = Views::open_read_only(folder.path(), house.store.identity(), projections::all()).unwrap();
    assert_eq!(views.position(), 0, "it does not fold");
    let menu_age = Duration::from_secs(3_600);
    let house = house.beside(views.clone(), HttpLimits { menu_age, ..HttpLimits::default() });
    let token = house.door.service.masks.token(tenant(1), house.head().await);
    let ask = async |token: Option<&str>| {
        let mut request = house.request(Some(&diner(7)), menu_of(&lunch.serving));
        if let Some(token) = token {
            request.headers_mut().insert("x-consistency-token", token.parse().unwrap());
        }
        let before = views.statements();
        assert_eq!(left(house.send(request).await), 2);
        views.statements() - before
    };
    let (made, with_a_token, without) = (ask(None).await, ask(Some(&token)).await, ask(None).await);
    // Now and then it is asked whether the views lack something.
    assert!(made > 2 && with_a_token <= 1 && without <= 1, "{made} {with_a_token} {without}");
}

#[tokio::test]
async fn whoever_brings_two_tokens_sees_what_both_demand() {
    let house = House::with(HttpLimits { patience: Duration::from_millis(20), ..HttpLimits::default() }, true).await;
    let lunch = house.lunch().await;
    house.read(&staff(), "{ viewer { tenant } }", json!({})).await;
    let masks = &house.door.service.masks;
    let (now, later) = (house.head().await, house.head().await + 1_000);
    let ask = async |in_header, in_body| {
        let token = masks.token(tenant(1), in_body);
        let mut body: Value = serde_json::from_str(&menu_of(&lunch.serving)).unwrap();
        body["extensions"] = json!({ "consistencyToken": token });
        let mut request = house.request(Some(&diner(7)), body.to_string());
        request.headers_mut().insert("x-consistency-token", masks.token(tenant(1), in_header).parse().unwrap());
        house.send(request).await.error_code().map(str::to_owned)
    };
    assert_eq!(ask(now, now).await, None);
    assert_eq!(ask(later, now).await.as_deref(), Some("STALE"));
    assert_eq!(ask(now, later).await.as_deref(), Some("STALE"));
}

#[tokio::test]
async fn a_remembered_menu_is_nobody_elses_and_is_paid_for() {
    let house = remembering().await;
    let lunch = house.lunch().await;
    house.read(&staff(), "{ viewer { tenant } }", json!({})).await;
    let ours = house.send(house.request(Some(&diner(7)), menu_of(&lunch.serving))).await;
    let again = house.send(house.request(Some(&diner(7)), menu_of(&lunch.serving))).await;
    assert_eq!(again.body["data"], ours.body["data"]);
    let cost = |answer: &Answered, name: &str| answer.body["extensions"]["cost"][name].as_u64().unwrap();
    assert_eq!(cost(&again, "requested"), cost(&ours, "requested"));
    assert!(cost(&again, "available") < cost(&ours, "available"));
    let stranger = Identity::diner_of(tenant(2), domain::DinerId(uuid::Uuid::from_u128(7)));
    let theirs = house.send(house.request(Some(&stranger), menu_of(&lunch.serving))).await;
    assert_eq!(theirs.data(), json!({ "serving": null }));
    let nobody = house.send(house.request(None, menu_of(&lunch.serving))).await;
    assert_eq!(nobody.code(), "UNAUTHENTICATED");
    let ops = Identity::new(tenant(1), uuid::Uuid::from_u128(9), [crate::identity::Role::Ops]);
    let ops = house.send(house.request(Some(&ops), menu_of(&lunch.serving))).await;
    assert_eq!(ops.code(), "FORBIDDEN");
}

#[tokio::test]
async fn a_menu_by_get_is_not_sent_to_whoever_has_it() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.read(&staff(), "{ viewer { tenant } }", json!({})).await;
    let query = "query%20(%24id:ID!)%7Bserving(id:%24id)%7Boffers%7Bleft%7D%7D%7D";
    let address = format!("/graphql?query={query}&variables=%7B%22id%22:%22{}%22%7D", lunch.serving.as_str().unwrap());
    let first = house.call(by_get(&house, &diner(7), &address, None)).await;
    assert_eq!(first.status(), StatusCode::OK);
    assert_eq!(header_of(&first, header::CACHE_CONTROL), "private, no-cache");
    let tag = header_of(&first, header::ETAG).to_owned();
    assert!(tag.starts_with("W/\"") && text(first).await.contains("\"left\":"), "{tag}");
    for known in [&tag, "*", &format!("\"other\", {tag}")] {
        let again = house.call(by_get(&house, &diner(8), &address, Some(known))).await;
        assert_eq!(
            (again.status(), header_of(&again, header::ETAG)),
            (StatusCode::NOT_MODIFIED, tag.as_str()),
            "{known}"
        );
        assert_eq!(text(again).await, "");
    }
    let other = house.call(by_get(&house, &diner(8), &address, Some("\"other\""))).await;
    assert_eq!(other.status(), StatusCode::OK);
    let portions = "mutation($serving: ID!, $dish: ID!, $key: UUID!) { setPortions(serving: $serving, dish: $dish, portions: 77, idempotencyKey: $key) { consistencyToken } }";
    let variables = json!({ "serving": lunch.serving, "dish": lunch.rice, "key": key() });
    let token = house.ask(&staff(), portions, variables).await.token.unwrap();
    let mut changed = by_get(&house, &diner(7), &address, Some(&tag));
    changed.headers_mut().insert("x-consistency-token", token.parse().unwrap());
    let changed = house.call(changed).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(header_of(&changed, header::ETAG), tag);
    assert!(text(changed).await.contains("77"));
}

#[tokio::test]
async fn by_get_nothing_is_changed_or_watched() {
    let house = House::open().await;
    let head = house.head().await;
    let refused = async |address: &str, status: StatusCode| {
        let response = house.call(by_get(&house, &staff(), address, None)).await;
        assert_eq!(response.status(), status, "{address}");
        let allow = header_of(&response, header::ALLOW).to_owned();
        assert!(text(response).await.contains("\"code\":\"BAD_INPUT\""), "{address}");
        allow
    };
    let open = "mutation%7BopenCanteen(name:%22E%22,zone:%22UTC%22,currency:%22CNY%22,idempotencyKey:%2201a20a1a-f9d1-74d7-980e-a717a2bb6a5f%22)%7BconsistencyToken%7D%7D";
    assert_eq!(refused(&format!("/graphql?query={open}"), StatusCode::METHOD_NOT_ALLOWED).await, "POST");
    let watch = "subscription%7BportionsLeft(serving:%22x%22)%7Bcursor%7D%7D";
    refused(&format!("/graphql?query={watch}"), StatusCode::METHOD_NOT_ALLOWED).await;
    for wrong in [
        "/graphql",
        "/graphql?query=",
        "/graphql?query=%7B",
        "/graphql?query=%7Bcanteens%7Bnodes%7Bid%7D%7D%7D&variables=no",
    ] {
        refused(wrong, StatusCode::BAD_REQUEST).await;
    }
    let mut asked = house.request(Some(&staff()), r#"{"query":"mutation { openCanteen }"}"#);
    *asked.method_mut() = axum::http::Method::HEAD;
    assert_eq!(house.call(asked).await.status(), StatusCode::BAD_REQUEST, "HEAD asks what GET asks");
    assert_eq!(house.head().await, head);
    let viewer = house.send(by_get(&house, &diner(7), "/graphql?query=%7Bviewer%7Btenant%7D%7D", None)).await;
    assert_eq!(viewer.data()["viewer"]["tenant"], json!(tenant(1)));
}
