//! The protocol: who is let in, what is refused, and when a socket ends.

use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::{HttpLimits, SocketLimits, testing::*, testing_socket::*};

const LEFT: &str = "subscription($id: ID!) { portionsLeft(serving: $id) { cursor offers { left } } }";
const VIEWER: &str = "{ viewer { tenant roles } }";
const BOARD: &str = "subscription($id: ID!) { kitchenBoard(serving: $id) { cursor tickets { order stage } } }";
const OPEN: &str =
    "mutation($key: UUID!) { openCanteen(name: \"East\", zone: \"UTC\", currency: \"CNY\", idempotencyKey: $key) {
  consistencyToken } }";

async fn house(sockets: SocketLimits) -> House {
    House::with(HttpLimits { sockets, ..HttpLimits::default() }, true).await
}

fn bearer(house: &House, seconds: u64) -> String {
    house.issuer.mint(&diner(7), Duration::from_secs(seconds)).unwrap()
}

#[tokio::test]
async fn a_socket_that_does_not_say_who_it_is_in_time_is_closed() {
    let house = house(SocketLimits { init: Duration::from_millis(200), ..SocketLimits::default() }).await;
    let at = house.listen().await;
    let before = Instant::now();
    let mut silent = Client::open(&at).await;
    assert_eq!(silent.closed().await, (4408, "Connection initialisation timeout".to_owned()));
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    // Nor do pings help, for which there is time here.
    let house = self::house(SocketLimits { init: Duration::from_secs(1), ..SocketLimits::default() }).await;
    let at = house.listen().await;
    let mut pinging = Client::open(&at).await;
    pinging.say(json!({ "type": "ping" })).await;
    assert_eq!(pinging.hear().await, json!({ "type": "pong" }));
    assert_eq!(pinging.closed().await.0, 4408);
}

#[tokio::test]
async fn only_good_tokens_are_let_in() {
    let house = House::open().await;
    let at = house.listen().await;
    let init = |payload: Value| json!({ "type": "connection_init", "payload": payload });
    let expired = format!("Bearer {}", bearer(&house, 0));
    let stranger = crate::identity::Issuer::random().mint(&diner(7), Duration::from_secs(60)).unwrap();
    for (message, code) in [
        (json!({ "type": "connection_init" }), 4401),
        (init(json!(null)), 4401),
        (init(json!({})), 4401),
        (init(json!({ "authorization": null })), 4401),
        (init(json!({ "authorization": 7 })), 4400),
        (init(json!({ "authorization": "nonsense" })), 4403),
        (init(json!({ "authorization": "Bearer nonsense" })), 4403),
        (init(json!({ "authorization": "Bearer eyJhbGciOiJub25lIn0.e30." })), 4403),
        (init(json!({ "authorization": expired })), 4403),
        (init(json!({ "authorization": format!("Bearer {stranger}") })), 4403),
    ] {
        let mut client = Client::open(&at).await;
        client.say(message.clone()).await;
        let (closed, reason) = client.closed().await;
        assert_eq!(closed, code, "{message} {reason}");
        assert!(!reason.is_empty());
    }
    // A token in the HTTP request does as well, and the payload's comes first.
    let header = format!("Bearer {}", bearer(&house, 60));
    let headers = [("sec-websocket-protocol", "graphql-transport-ws"), ("authorization", header.as_str())];
    let mut client = Client::with(&at, &headers).await.unwrap();
    client.say(json!({ "type": "connection_init" })).await;
    assert_eq!(client.hear().await["type"], "connection_ack");
    let mut client = Client::with(&at, &headers).await.unwrap();
    client.say(init(json!({ "Authorization": "Bearer nonsense" }))).await;
    assert_eq!(client.closed().await.0, 4403);
    // Another subprotocol is not spoken.
    let mut client = Client::with(&at, &[]).await.unwrap();
    assert_eq!(client.closed().await.0, 4406);
}

#[tokio::test]
async fn what_the_protocol_forbids_closes_the_socket_with_its_code() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    let subscribe = |id: &str| json!({ "id": id, "type": "subscribe", "payload": { "query": LEFT, "variables": { "id": lunch.serving } } });
    let mut early = Client::open(&at).await;
    early.say(subscribe("1")).await;
    assert_eq!(early.closed().await, (4401, "Unauthorized".to_owned()));
    let mut again = house.client(&at, &diner(7)).await;
    again.init(&bearer(&house, 60)).await;
    assert_eq!(again.closed().await, (4429, "Too many initialisation requests".to_owned()));
    let mut twice = house.client(&at, &diner(7)).await;
    twice.say(subscribe("1")).await;
    twice.next("1").await;
    twice.say(subscribe("1")).await;
    assert_eq!(twice.closed().await, (4409, "Subscriber for 1 already exists".to_owned()));
    let long = "x".repeat(200);
    for wrong in [
        "nonsense".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        json!({ "type": "start", "id": "1", "payload": { "query": LEFT } }).to_string(),
        json!({ "type": "subscribe", "payload": { "query": LEFT } }).to_string(),
        json!({ "type": "subscribe", "id": "1" }).to_string(),
        json!({ "type": "subscribe", "id": "1", "payload": { "query": 7 } }).to_string(),
        subscribe("").to_string(),
        subscribe(&long).to_string(),
        json!({ "type": "complete" }).to_string(),
        format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)),
    ] {
        let mut client = house.client(&at, &diner(7)).await;
        client.0.send(Message::text(wrong.clone())).await.unwrap();
        let (code, reason) = client.closed().await;
        assert_eq!(code, 4400, "{wrong}");
        assert!(reason.starts_with("Invalid message"), "{reason}");
    }
    let mut binary = house.client(&at, &diner(7)).await;
    binary.0.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(binary.closed().await.0, 4400);
    let mut long = house.client(&at, &diner(7)).await;
    long.0.send(Message::text("x".repeat(100_000))).await.unwrap();
    assert_eq!(long.closed().await, (1009, "the message is too long".to_owned()));
}

#[tokio::test]
async fn an_operation_ends_and_its_id_is_free_again() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    house.deposit(7, "50").await;
    let mut client = house.client(&at, &diner(7)).await;
    for _ in 0..3 {
        client.subscribe("1", LEFT, json!({ "id": lunch.serving })).await;
        client.next("1").await;
        client.say(json!({ "id": "1", "type": "complete" })).await;
    }
    // One that is not there can be completed too, since both may end it at once.
    client.say(json!({ "id": "2", "type": "complete" })).await;
    let rice = json!([{ "dish": lunch.rice, "quantity": 1 }]);
    house.order(&diner(7), &lunch.serving, rice, &key()).await.data();
    client.nothing().await;
    client.say(json!({ "type": "ping", "payload": { "any": "thing" } })).await;
    assert_eq!(client.hear().await, json!({ "type": "pong" }));
    client.say(json!({ "type": "pong" })).await;
    client.subscribe("1", LEFT, json!({ "id": lunch.serving })).await;
    assert_eq!(client.next("1").await["portionsLeft"]["offers"][0]["left"], 1);
}

#[tokio::test]
async fn queries_and_mutations_go_through_the_same_checks_as_over_http() {
    let house = House::open().await;
    let at = house.listen().await;
    let mut client = house.client(&at, &diner(7)).await;
    client.subscribe("1", VIEWER, json!({})).await;
    assert_eq!(client.next("1").await["viewer"], json!({ "tenant": tenant(1), "roles": ["DINER"] }));
    assert_eq!(client.hear().await, json!({ "id": "1", "type": "complete" }));
    let mut works = house.client(&at, &staff()).await;
    works.subscribe("1", OPEN, json!({ "key": key() })).await;
    let opened = works.hear().await["payload"].clone();
    assert_eq!(opened["extensions"]["consistencyToken"], opened["data"]["openCanteen"]["consistencyToken"]);
    assert_eq!(works.hear().await["type"], "complete");
    let head = house.head().await;
    let doubling: String = (0..31)
        .map(|number| match number {
            30 => " fragment f30 on PortionsLeft { cursor }".to_owned(),
            _ => format!(" fragment f{number} on PortionsLeft {{ ...f{0} ...f{0} }}", number + 1),
        })
        .collect();
    for (query, code) in [
        (OPEN.to_owned(), "FORBIDDEN"),
        ("{ trialBalance { currency } }".to_owned(), "FORBIDDEN"),
        ("subscription { somethingNew }".to_owned(), "FORBIDDEN"),
        ("subscription { viewer { tenant } }".to_owned(), "BAD_INPUT"),
        ("subscription { portionsLeft(serving: \"x\") { shoeSize } }".to_owned(), "BAD_INPUT"),
        ("subscription { portionsLeft { cursor } }".to_owned(), "BAD_INPUT"),
        ("subscription { a: portionsLeft(serving: \"x\") { cursor } b: portionsLeft(serving: \"x\") { cursor } }".to_owned(), "BAD_INPUT"),
        ("subscription { ...s } fragment s on Subscription { portionsLeft(serving: \"x\") { cursor } orderProgress(order: \"x\") { cursor } }".to_owned(), "BAD_INPUT"),
        ("subscription { __typename }".to_owned(), "BAD_INPUT"),
        ("subscription { portionsLeft(serving: \"x\") { cursor }".to_owned(), "BAD_INPUT"),
        (" ".to_owned(), "BAD_INPUT"),
        (format!("subscription {{ portionsLeft(serving: \"x\") {{ ...f0 }} }}{doubling}"), "TOO_COMPLEX"),
        (format!("subscription {}", "{a".repeat(9_000)), "TOO_COMPLEX"),
    ] {
        client.subscribe("2", &query, json!({ "key": key() })).await;
        assert_eq!(client.error("2").await["extensions"]["code"], code, "{query}");
    }
    assert_eq!(house.head().await, head);
    // Over HTTP nothing is watched.
    let watch = "subscription { portionsLeft(serving: \"x\") { cursor } }";
    assert_eq!(house.ask(&diner(7), watch, json!({})).await.code(), "BAD_INPUT");
    // What was just written is waited for, as over HTTP.
    let stale = House::with(HttpLimits { patience: Duration::from_millis(50), ..HttpLimits::default() }, false).await;
    let at = stale.listen().await;
    let mut client = stale.client(&at, &staff()).await;
    client.subscribe("1", OPEN, json!({ "key": key() })).await;
    let token = client.hear().await["payload"]["extensions"]["consistencyToken"].clone();
    client.hear().await;
    let payload = json!({ "query": VIEWER, "extensions": { "consistencyToken": token } });
    client.say(json!({ "id": "2", "type": "subscribe", "payload": payload })).await;
    assert_eq!(client.error("2").await["extensions"], json!({ "code": "STALE", "retryable": true }));
}

#[tokio::test]
async fn whoever_asks_for_too_much_is_told_when_to_come_again() {
    let rate = crate::Rate { burst: 20, per_second: 1 };
    let house = House::with(HttpLimits { rate, ..HttpLimits::default() }, true).await;
    let at = house.listen().await;
    let mut client = house.client(&at, &diner(7)).await;
    for _ in 0..2 {
        client.subscribe("1", "{ canteens(first: 4) { nodes { id name } } }", json!({})).await;
        let heard = client.hear().await;
        if heard["type"] == "next" {
            client.hear().await;
            continue;
        }
        let extensions = &heard["payload"][0]["extensions"];
        assert_eq!((&extensions["code"], &extensions["retryable"]), (&json!("THROTTLED"), &json!(true)));
        assert!(extensions["retryAfter"].as_u64().is_some_and(|seconds| (1..=20).contains(&seconds)), "{heard}");
        return;
    }
    panic!("nobody was throttled");
}

#[tokio::test]
async fn authorisation_ends_with_the_token() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    house.views.wait_for(house.head().await, Duration::from_secs(30)).await.unwrap();
    let before = Instant::now();
    let mut client = house.client_with(&at, &bearer(&house, 6)).await;
    client.subscribe("1", LEFT, json!({ "id": lunch.serving })).await;
    client.next("1").await;
    let end = client.closed().await;
    assert_eq!(end, (4403, "Forbidden: the token has expired; connect with another".to_owned()));
    // Tokens count whole seconds.
    let took = before.elapsed();
    assert!(took > Duration::from_millis(4_500), "{took:?}");
}

#[tokio::test]
async fn sockets_and_operations_have_caps() {
    let limits =
        SocketLimits { sockets: 6, sockets_a_user: 2, operations: 2, operations_a_user: 3, ..SocketLimits::default() };
    let house = house(limits).await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    let mut one = house.client(&at, &diner(7)).await;
    let mut two = house.client(&at, &diner(7)).await;
    let mut three = Client::open(&at).await;
    three.init(&bearer(&house, 60)).await;
    assert_eq!(three.closed().await, (1013, "you have too many sockets".to_owned()));
    let id = json!({ "id": lunch.serving });
    for name in ["a", "b"] {
        one.subscribe(name, LEFT, id.clone()).await;
        one.next(name).await;
    }
    one.subscribe("c", LEFT, id.clone()).await;
    let error = one.error("c").await;
    assert_eq!(error["extensions"], json!({ "code": "TOO_MANY_SUBSCRIPTIONS", "retryable": false }));
    two.subscribe("a", LEFT, id.clone()).await;
    two.next("a").await;
    two.subscribe("b", LEFT, id.clone()).await;
    assert_eq!(two.error("b").await["extensions"]["code"], "TOO_MANY_SUBSCRIPTIONS");
    // Another user has places of their own, and one that is left is free.
    let mut other = house.client(&at, &diner(8)).await;
    other.subscribe("a", LEFT, id.clone()).await;
    other.next("a").await;
    one.say(json!({ "id": "a", "type": "complete" })).await;
    one.say(json!({ "type": "ping" })).await;
    one.hear().await;
    two.subscribe("b", LEFT, id.clone()).await;
    two.next("b").await;
    // Six sockets are all that there may be, whoever they are.
    let protocol = [("sec-websocket-protocol", "graphql-transport-ws")];
    let mut silent = Vec::new();
    while house.door.places.sockets() < 6 {
        silent.push(Client::open(&at).await);
    }
    assert_eq!(Client::with(&at, &protocol).await.err(), Some(503));
    drop(one);
    let freed = async {
        while house.door.places.sockets() >= 6 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), freed).await.unwrap();
    assert!(Client::with(&at, &protocol).await.is_ok());
}

#[tokio::test]
async fn a_client_that_stalls_is_dropped_and_others_go_on() {
    let patience = Duration::from_secs(4);
    let limits = SocketLimits { patience, ping: Duration::from_secs(60), ..SocketLimits::default() };
    let house = house(limits).await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    house.deposit(7, "50").await;
    let mut stalled = house.client(&at, &staff()).await;
    let mut reads = house.client(&at, &staff()).await;
    for client in [&mut stalled, &mut reads] {
        client.subscribe("1", BOARD, json!({ "id": lunch.serving })).await;
        client.next("1").await;
    }
    assert_eq!(house.door.places.sockets(), 2);
    let rice = json!([{ "dish": lunch.rice, "quantity": 1 }]);
    house.order(&diner(7), &lunch.serving, rice.clone(), &key()).await.data();
    // The one reads on, and so answers pings; the other does not.
    reads.next("1").await;
    let before = Instant::now();
    let dropped = async {
        while house.door.places.sockets() > 1 {
            reads.idle(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), dropped).await.unwrap();
    // As ten seconds are to the four of the default.
    assert!(before.elapsed() < patience * 5 / 2, "{:?}", before.elapsed());
    house.order(&diner(7), &lunch.serving, rice, &key()).await.data();
    assert_eq!(reads.next("1").await["kitchenBoard"]["tickets"].as_array().unwrap().len(), 1);
    assert_eq!(house.door.places.sockets(), 1);
}

/// More than the kernel takes for a client that does not read: the server neither waits for it nor keeps it.
#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_dropped() {
    let limits = SocketLimits { patience: Duration::from_millis(200), ..SocketLimits::default() };
    let house = house(limits).await;
    let at = house.listen().await;
    let mut greedy = house.client(&at, &diner(7)).await;
    let schema = "{ __schema { types { name description fields { name description args { name description } } } } }";
    let asking = async {
        for number in 0.. {
            let message = json!({ "id": number.to_string(), "type": "subscribe", "payload": { "query": schema } });
            if greedy.0.send(Message::text(message.to_string())).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            if house.door.places.sockets() == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.unwrap();
    let mut other = house.client(&at, &diner(8)).await;
    other.subscribe("1", VIEWER, json!({})).await;
    other.next("1").await;
}

#[tokio::test]
async fn a_quiet_client_is_pinged_and_one_that_is_gone_is_dropped() {
    let beat = Duration::from_secs(1);
    let limits = SocketLimits { patience: beat, ping: beat, ..SocketLimits::default() };
    let house = house(limits).await;
    let at = house.listen().await;
    let mut alive = house.client(&at, &diner(7)).await;
    let mut pings = 0;
    let watching = async {
        while pings < 5 {
            match alive.0.next().await {
                Some(Ok(message)) => pings += usize::from(message.is_ping()),
                None | Some(Err(_)) => break,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), watching).await.unwrap();
    assert_eq!(pings, 5, "the socket of one who answers stays open");
    let gone = house.client(&at, &diner(8)).await;
    let dropped = async {
        while house.door.places.sockets() > 1 {
            alive.idle(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), dropped).await.unwrap();
    drop(gone);
}

#[tokio::test]
async fn a_server_that_ends_says_so() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    let mut client = house.client(&at, &diner(7)).await;
    client.subscribe("1", LEFT, json!({ "id": lunch.serving })).await;
    client.next("1").await;
    house.draining.cancel();
    assert_eq!(client.closed().await, (1001, "the service is shutting down; connect again".to_owned()));
    let headers = [("sec-websocket-protocol", "graphql-transport-ws")];
    assert_eq!(Client::with(&at, &headers).await.err(), Some(503));
}
