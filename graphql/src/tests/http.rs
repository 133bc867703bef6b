//! The door itself: tokens, bodies, limits, health, consistency.

use std::time::{Duration, Instant};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use futures::{FutureExt, StreamExt};
use serde_json::json;
use store::EventStore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

use crate::{HttpLimits, testing::*};

const VIEWER: &str = r#"{"query":"{ viewer { tenant roles } }"}"#;

#[tokio::test]
async fn the_tenant_comes_from_the_token_and_without_one_nothing_is_said() {
    let house = House::open().await;
    let answer = house.send(house.request(Some(&diner(7)), VIEWER)).await;
    assert_eq!(answer.data()["viewer"], json!({ "tenant": tenant(1), "roles": ["DINER"] }));
    let nobody = house.send(house.request(None, VIEWER)).await;
    assert_eq!((nobody.status, nobody.code()), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"));
    for wrong in ["Bearer nonsense", "Basic abc", "Bearer", ""] {
        let mut request = house.request(None, VIEWER);
        request.headers_mut().insert(header::AUTHORIZATION, wrong.parse().unwrap());
        let answer = house.send(request).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED"), "{wrong}");
    }
    let schema = house.send(house.request(None, r#"{"query":"{ __schema { queryType { name } } }"}"#)).await;
    assert_eq!(schema.data()["__schema"]["queryType"]["name"], "Query");
    let denied = house.ask(&diner(7), "{ trialBalance { currency } }", json!({})).await;
    assert_eq!((denied.status, denied.code()), (StatusCode::FORBIDDEN, "FORBIDDEN"));
}

#[tokio::test]
async fn bodies_that_are_no_request_are_refused() {
    let house = House::with(HttpLimits { body: 20_000, ..HttpLimits::default() }, true).await;
    let send = async |body: String| {
        let answer = house.send(house.request(Some(&diner(7)), body)).await;
        (answer.status.as_u16(), answer.code().to_owned())
    };
    let bad = |status: u16| (status, "BAD_INPUT".to_owned());
    for body in [
        "",
        "nonsense",
        "[]",
        r#"["{ viewer { tenant } }"]"#,
        "7",
        "{}",
        r#"{"query":" "}"#,
        r#"{"query":"{ viewer "}"#,
    ] {
        assert_eq!(send(body.to_owned()).await, bad(400), "{body}");
    }
    assert_eq!(send(format!("[{VIEWER},{VIEWER}]")).await, bad(400), "batches");
    assert_eq!(send(format!(r#"{{"query":"{}"}}"#, " ".repeat(20_000))).await, bad(413));
    assert_eq!(
        send(format!(r#"{{"query":"{{ viewer {{ tenant }} }}","variables":{}1{}}}"#, "[".repeat(500), "]".repeat(500)))
            .await,
        bad(400)
    );
    assert_eq!(send(r#"{"query":"{ nothingLikeThat }"}"#.to_owned()).await.0, 403, "not in the table");
    assert_eq!(send(r#"{"query":"{ viewer { shoeSize } }"}"#.to_owned()).await, bad(400));
    let brackets = send(format!(r#"{{"query":"{}"}}"#, "{a".repeat(9_000))).await;
    assert_eq!(brackets, (400, "TOO_COMPLEX".to_owned()));
    let mut form = house.request(Some(&diner(7)), VIEWER);
    form.headers_mut().insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
    assert_eq!(house.send(form).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn doubling_fragments_are_refused_at_once() {
    let house = House::open().await;
    let mut query = "{ ...f0 }".to_owned();
    for number in 0..31 {
        let next = if number == 30 { "__typename".to_owned() } else { format!("...f{0} ...f{0}", number + 1) };
        query.push_str(&format!(" fragment f{number} on Query {{ {next} }}"));
    }
    let before = Instant::now();
    for who in [None, Some(diner(7))] {
        let body = json!({ "query": query }).to_string();
        let answer = house.send(house.request(who.as_ref(), body)).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "TOO_COMPLEX"));
    }
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_reader_with_a_token_sees_what_was_written_or_is_told_to_wait() {
    let limits = HttpLimits { patience: Duration::from_millis(50), ..HttpLimits::default() };
    let house = House::with(limits, false).await;
    let open =
        "mutation($key: UUID!) { openCanteen(name: \"East\", zone: \"UTC\", currency: \"CNY\", idempotencyKey: $key) {
      canteen { id name } consistencyToken } }";
    let opened = house.ask(&staff(), open, json!({ "key": key() })).await;
    let token = opened.token.clone().unwrap();
    assert_eq!(opened.data()["openCanteen"]["consistencyToken"], token);
    let query = json!({ "query": "{ canteens { nodes { name } } }" }).to_string();
    let with = |token: &str| {
        let mut request = house.request(Some(&diner(7)), query.clone());
        request.headers_mut().insert("x-consistency-token", token.parse().unwrap());
        request
    };
    let stale = house.send(with(&token)).await;
    assert_eq!((stale.status, stale.code()), (StatusCode::SERVICE_UNAVAILABLE, "STALE"));
    assert_eq!(stale.body["errors"][0]["extensions"]["retryable"], true);
    let without = house.send(house.request(Some(&diner(7)), query.clone())).await.data();
    assert_eq!(without["canteens"]["nodes"], json!([]), "who does not ask for it does not wait");
    let mut runner = projections::Runner::open(house.store.clone(), house.views.clone()).await.unwrap();
    runner.catch_up().await.unwrap();
    assert_eq!(house.send(with(&token)).await.data()["canteens"]["nodes"], json!([{ "name": "East" }]));
    let extension = json!({ "query": "{ canteens { nodes { name } } }", "extensions": { "consistencyToken": token } });
    let read = house.send(house.request(Some(&diner(7)), extension.to_string())).await.data();
    assert_eq!(read["canteens"]["nodes"][0]["name"], "East");
    for wrong in ["rubbish", ""] {
        assert_eq!(house.send(with(wrong)).await.code(), "BAD_INPUT");
    }
    let mut theirs = with(&token);
    let stranger = crate::identity::Identity::staff_of(tenant(2), uuid::Uuid::from_u128(1));
    theirs.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {}", house.token(&stranger)).parse().unwrap());
    assert_eq!(house.send(theirs).await.code(), "BAD_INPUT", "another tenant's token tells nothing");
}

/// A body that never comes.
fn never() -> Body {
    Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>())
}

#[tokio::test]
async fn too_many_at_once_are_turned_away_and_too_slow_ones_end() {
    let limits = HttpLimits { in_flight: 1, timeout: Duration::from_secs(1), ..HttpLimits::default() };
    let house = House::with(limits, true).await;
    let stuck = house.send(house.request(Some(&diner(7)), never()));
    let others = async {
        tokio::task::yield_now().await;
        // What has not come yet takes nobody's room.
        house.send(house.request(Some(&diner(7)), VIEWER)).await.data();
        let room = house.door.shedder.room().unwrap();
        let turned = house.send(house.request(Some(&diner(7)), VIEWER)).await;
        drop(room);
        // One that came while there was room, and whose body came when there was none.
        let ((begins, begun), (takes, taken)) = (oneshot::channel(), oneshot::channel::<()>());
        let (first, last) = VIEWER.split_at(10);
        let slowly = async move {
            let _ = begins.send(());
            Ok::<_, std::io::Error>(first)
        };
        let slowly = slowly.into_stream().chain(taken.map(move |_| Ok(last)).into_stream());
        let late = house.send(house.request(Some(&diner(7)), Body::from_stream(slowly)));
        let takes_it = async {
            begun.await.unwrap();
            let room = house.door.shedder.room().unwrap();
            takes.send(()).unwrap();
            room
        };
        let (turned_late, _room) = tokio::join!(late, takes_it);
        (turned, turned_late)
    };
    let (stuck, (turned, turned_late)) = tokio::join!(stuck, others);
    for other in [turned, turned_late] {
        assert_eq!((other.status, other.code()), (StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED"));
    }
    assert_eq!((stuck.status, stuck.code()), (StatusCode::GATEWAY_TIMEOUT, "TIMEOUT"));
    house.send(house.request(Some(&diner(7)), VIEWER)).await.data();
}

#[tokio::test]
async fn whoever_does_not_send_their_body_is_not_waited_for() {
    let house = House::with(HttpLimits { sending: Duration::from_millis(100), ..HttpLimits::default() }, true).await;
    let late = house.send(house.request(Some(&diner(7)), never())).await;
    assert_eq!((late.status, late.code()), (StatusCode::REQUEST_TIMEOUT, "TIMEOUT"));
}

#[tokio::test]
async fn the_trace_of_a_request_is_in_its_events() {
    let house = House::open().await;
    let traceparent = async |text: &str| {
        let body = json!({ "query": "mutation($key: UUID!) { openCanteen(name: \"East\", zone: \"UTC\", currency: \"CNY\", idempotencyKey: $key) { consistencyToken } }", "variables": { "key": key() } });
        let mut request = house.request(Some(&staff()), body.to_string());
        request.headers_mut().insert("traceparent", text.parse().unwrap());
        house.send(request).await.data();
        house.store.read_all(house.head().await, 1).await.unwrap()[0].metadata.trace
    };
    let trace = traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").await;
    assert_eq!(trace, Some(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes()));
    for wrong in [
        "",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-xyz-1-1",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        assert_eq!(traceparent(wrong).await, None, "{wrong}");
    }
}

#[tokio::test]
async fn health_says_alive_and_readiness_says_why_not() {
    let limits = HttpLimits { behind: 1, ..HttpLimits::default() };
    let house = House::with(limits, false).await;
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(house.call(get("/healthz")).await.status(), StatusCode::OK);
    let ready = house.send(get("/readyz")).await;
    assert_eq!(
        (ready.status, ready.body),
        (StatusCode::OK, json!({ "ready": true, "reasons": [], "events_behind": 0 }))
    );
    house.lunch().await;
    let behind = house.send(get("/readyz")).await;
    assert_eq!(behind.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(behind.body["events_behind"], 4);
    house.draining.cancel();
    let draining = house.send(get("/readyz")).await;
    assert_eq!(draining.body["reasons"][0], "the service is shutting down");
    assert_eq!(house.call(get("/healthz")).await.status(), StatusCode::OK);
    assert_eq!(
        house.send(house.request(Some(&diner(7)), VIEWER)).await.status,
        StatusCode::OK,
        "requests are still served"
    );
    let page = house.call(get("/")).await;
    assert_eq!(page.status(), StatusCode::OK);
    house.commands.shut_down(Duration::from_secs(5)).await;
    let open = "mutation($key: UUID!) { openCanteen(name: \"E\", zone: \"UTC\", currency: \"CNY\", idempotencyKey: $key) { consistencyToken } }";
    let late = house.ask(&staff(), open, json!({ "key": key() })).await;
    assert_eq!(late.code(), "UNAVAILABLE");
    assert_eq!(late.body["errors"][0]["extensions"]["retryable"], true);
}

/// A client that hangs up as soon as it has asked: the command goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_real_socket_and_a_client_that_goes_away_cancels_nothing() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, house.router.clone()).into_future());
    let wallet = json!({ "kind": "WALLET", "owner": uuid::Uuid::from_u128(7) });
    let post = |key: &str| {
        let variables = json!({ "key": key, "account": wallet, "amount": yuan("50") });
        let body = json!({ "query": DEPOSIT, "variables": variables }).to_string();
        format!(
            "POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
            house.token(&finance()),
            body.len()
        )
    };
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    client.write_all(post(&key()).as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = client.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("50.00"), "{answer}");
    for _ in 0..20 {
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(post(&key()).as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Whatever was begun is whole: the wallet can pay, and the books balance.
    let rice = json!([{ "dish": lunch.rice, "quantity": 1 }]);
    let order = house.order(&diner(7), &lunch.serving, rice, &key()).await.data()["placeOrder"].clone();
    assert_eq!(order["status"], "CONFIRMED");
    let books = house.read(&finance(), "{ trialBalance { balance { amount } } }", json!({})).await;
    assert_eq!(books["trialBalance"][0]["balance"]["amount"], "0.00");
    server.abort();
}
