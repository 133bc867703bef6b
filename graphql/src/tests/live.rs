//! What is watched, over real sockets.

use std::{collections::HashMap, time::Duration};

use domain::{CanteenId, OrderId, ServingId};
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    HttpLimits, SocketLimits,
    identity::{Canteens, Identity, Role},
    node::NodeId,
    testing::*,
};

const PROGRESS: &str = "subscription($id: ID!, $after: String) { orderProgress(order: $id, after: $after) {
  cursor at order { id status pickupCode total { amount } tenders { source } serving { meal } } } }";
const BOARD: &str = "subscription($id: ID!, $after: String) { kitchenBoard(serving: $id, after: $after) {
  cursor whole gone tickets { order stage lines { name quantity } } } }";
const LEFT: &str = "subscription($id: ID!, $after: String) { portionsLeft(serving: $id, after: $after) {
  cursor serving withdrawn offers { name left withdrawn } } }";
const DASHBOARD: &str = "subscription($id: ID!, $after: String) { dashboard(serving: $id, after: $after) {
  cursor dashboard { orders { placed confirmed pickedUp } takings { net { amount } } withdrawals { orders told settled } } } }";

async fn step(house: &House, field: &str, order: &Value) -> Value {
    let query = format!(
        "mutation($o: ID!, $key: UUID!) {{ {field}(order: $o, idempotencyKey: $key) {{ order {{ pickupCode }} }} }}"
    );
    house.ask(&staff(), &query, json!({ "o": order, "key": key() })).await.data()[field]["order"].clone()
}

async fn collect(house: &House, order: &Value, code: &Value) {
    let query = "mutation($o: ID!, $c: String!, $key: UUID!) { collect(order: $o, code: $c, idempotencyKey: $key) {
      order { status } } }";
    house.ask(&staff(), query, json!({ "o": order, "c": code, "key": key() })).await.data();
}

async fn rice(house: &House, lunch: &Lunch) -> Value {
    let lines = json!([{ "dish": lunch.rice, "quantity": 1 }]);
    house.order(&diner(7), &lunch.serving, lines, &key()).await.data()["placeOrder"]["id"].clone()
}

async fn noodles(house: &House, lunch: &Lunch, who: u128) -> Value {
    let soy = json!([{ "group": "Sauce", "choice": "Soy" }]);
    let lines = json!([{ "dish": lunch.noodles, "quantity": 1, "options": soy }]);
    house.order(&diner(who), &lunch.serving, lines, &key()).await.data()["placeOrder"]["id"].clone()
}

#[tokio::test]
async fn an_order_is_watched_from_placed_to_collected_and_resumed_from_every_cursor() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    house.deposit(7, "50").await;
    let order = rice(&house, &lunch).await;
    let mut client = house.client(&at, &diner(7)).await;
    client.subscribe("1", PROGRESS, json!({ "id": order })).await;
    let first = client.next("1").await["orderProgress"].clone();
    assert_eq!((&first["order"]["status"], &first["order"]["id"]), (&json!("CONFIRMED"), &order), "where it is now");
    assert_eq!(first["order"]["tenders"], json!([{ "source": "WALLET" }]));
    assert_eq!(first["order"]["serving"]["meal"], "LUNCH");
    let mut messages = vec![first];
    step(&house, "prepare", &order).await;
    messages.push(client.next("1").await["orderProgress"].clone());
    let code = step(&house, "markReady", &order).await["pickupCode"].clone();
    messages.push(client.next("1").await["orderProgress"].clone());
    assert_eq!(messages[2]["order"]["pickupCode"], code);
    collect(&house, &order, &code).await;
    messages.push(client.next("1").await["orderProgress"].clone());
    client.nothing().await;
    let statuses: Vec<_> = messages.iter().map(|message| message["order"]["status"].clone()).collect();
    assert_eq!(statuses, ["CONFIRMED", "PREPARING", "READY", "PICKED_UP"]);
    // From each cursor exactly the rest, on other sockets too.
    let mut other = house.client(&at, &staff()).await;
    for (number, message) in messages.iter().enumerate() {
        let id = format!("from {number}");
        other.subscribe(&id, PROGRESS, json!({ "id": order, "after": message["cursor"] })).await;
        for rest in &messages[number + 1..] {
            assert_eq!(other.next(&id).await["orderProgress"], *rest);
        }
        other.nothing().await;
    }
    // What was written before it was watched is had by the token of the mutation that placed it.
    let lines = json!([{ "dish": lunch.rice, "quantity": 1 }]);
    let placed = house.order(&diner(7), &lunch.serving, lines, &key()).await;
    let token = placed.token.clone();
    let placed = placed.data()["placeOrder"]["id"].clone();
    client.subscribe("2", PROGRESS, json!({ "id": placed, "after": token })).await;
    client.nothing().await;
    step(&house, "prepare", &placed).await;
    assert_eq!(client.next("2").await["orderProgress"]["order"]["status"], "PREPARING");
}

#[tokio::test]
async fn many_steps_at_once_leave_no_gap() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    house.deposit(7, "50").await;
    let order = rice(&house, &lunch).await;
    let mut client = house.client(&at, &diner(7)).await;
    client.subscribe("1", PROGRESS, json!({ "id": order })).await;
    client.next("1").await;
    step(&house, "prepare", &order).await;
    let code = step(&house, "markReady", &order).await["pickupCode"].clone();
    collect(&house, &order, &code).await;
    for status in ["PREPARING", "READY", "PICKED_UP"] {
        assert_eq!(client.next("1").await["orderProgress"]["order"]["status"], status);
    }
    client.nothing().await;
}

/// A board as a client keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kept(HashMap<String, Value>);

impl Kept {
    fn take(&mut self, change: &Value) {
        if change["whole"] == json!(true) {
            self.0.clear();
        }
        for ticket in change["tickets"].as_array().unwrap() {
            self.0.insert(ticket["order"].as_str().unwrap().to_owned(), ticket.clone());
        }
        for gone in change["gone"].as_array().unwrap() {
            self.0.remove(gone.as_str().unwrap());
        }
    }

    fn stages(&self) -> Vec<&str> {
        let mut stages: Vec<_> = self.0.values().map(|ticket| ticket["stage"].as_str().unwrap()).collect();
        stages.sort_unstable();
        stages
    }
}

#[tokio::test]
async fn a_board_moves_and_is_the_same_from_every_cursor() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    for who in [7, 8] {
        house.deposit(who, "50").await;
    }
    let mut client = house.client(&at, &staff()).await;
    client.subscribe("1", BOARD, json!({ "id": lunch.serving })).await;
    let mut boards = Vec::new();
    let mut kept = Kept::default();
    let mut hear = async |client: &mut crate::testing_socket::Client, expected: &[&str]| {
        let change = client.next("1").await["kitchenBoard"].clone();
        kept.take(&change);
        assert_eq!(kept.stages(), expected, "{change:#}");
        boards.push((change["cursor"].clone(), kept.clone()));
        change
    };
    let whole = hear(&mut client, &[]).await;
    assert_eq!((&whole["whole"], &whole["tickets"]), (&json!(true), &json!([])));
    let one = noodles(&house, &lunch, 7).await;
    let change = hear(&mut client, &["CONFIRMED"]).await;
    let ticket = json!({ "order": one, "stage": "CONFIRMED", "lines": [{ "name": "Noodles", "quantity": 1 }] });
    assert_eq!((&change["whole"], &change["tickets"]), (&json!(false), &json!([ticket])));
    let two = noodles(&house, &lunch, 8).await;
    let change = hear(&mut client, &["CONFIRMED", "CONFIRMED"]).await;
    assert_eq!(change["tickets"].as_array().unwrap().len(), 1, "only what changed");
    step(&house, "prepare", &one).await;
    hear(&mut client, &["CONFIRMED", "PREPARING"]).await;
    let code = step(&house, "markReady", &one).await["pickupCode"].clone();
    hear(&mut client, &["CONFIRMED", "READY"]).await;
    collect(&house, &one, &code).await;
    let change = hear(&mut client, &["CONFIRMED"]).await;
    assert_eq!((&change["gone"], &change["tickets"]), (&json!([one]), &json!([])));
    step(&house, "prepare", &two).await;
    hear(&mut client, &["PREPARING"]).await;
    client.nothing().await;
    let (_, end) = boards.last().unwrap().clone();
    for (number, (cursor, mut kept)) in boards.into_iter().enumerate() {
        let id = format!("from {number}");
        client.subscribe(&id, BOARD, json!({ "id": lunch.serving, "after": cursor })).await;
        if kept != end {
            let change = client.next(&id).await["kitchenBoard"].clone();
            assert_eq!(change["whole"], true);
            kept.take(&change);
        }
        assert_eq!(kept, end, "from {number}");
        client.nothing().await;
    }
}

#[tokio::test]
async fn what_is_left_and_how_it_goes_are_told_as_they_change() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    house.deposit(7, "50").await;
    let mut client = house.client(&at, &diner(8)).await;
    client.subscribe("left", LEFT, json!({ "id": lunch.serving })).await;
    let first = client.next("left").await["portionsLeft"].clone();
    assert_eq!(first["offers"][0], json!({ "name": "Rice", "left": 2, "withdrawn": false }));
    assert_eq!((&first["serving"], &first["withdrawn"]), (&lunch.serving, &json!(false)));
    let mut board = house.client(&at, &finance()).await;
    board.subscribe("goes", DASHBOARD, json!({ "id": lunch.serving })).await;
    let before = board.next("goes").await["dashboard"].clone();
    assert_eq!(before["dashboard"], json!(null), "before the first order");
    let order = rice(&house, &lunch).await;
    let second = client.next("left").await["portionsLeft"].clone();
    assert_eq!(second["offers"][0]["left"], 1);
    let mut goes = board.next("goes").await["dashboard"].clone();
    while goes["dashboard"]["orders"]["confirmed"] != json!("1") {
        goes = board.next("goes").await["dashboard"].clone();
    }
    let after = json!({ "orders": { "placed": "1", "confirmed": "1", "pickedUp": "0" }, "takings": [{ "net": { "amount": "3.00" } }], "withdrawals": [] });
    assert_eq!(goes["dashboard"], after);
    // What the kitchen does changes neither.
    step(&house, "prepare", &order).await;
    client.nothing().await;
    board.nothing().await;
    // From the old cursors comes the state of now, from the last one nothing.
    client.subscribe("old", LEFT, json!({ "id": lunch.serving, "after": first["cursor"] })).await;
    assert_eq!(client.next("old").await["portionsLeft"], second);
    client.subscribe("last", LEFT, json!({ "id": lunch.serving, "after": second["cursor"] })).await;
    client.nothing().await;
    board.subscribe("old", DASHBOARD, json!({ "id": lunch.serving, "after": before["cursor"] })).await;
    assert_eq!(board.next("old").await["dashboard"], goes);
    board.subscribe("last", DASHBOARD, json!({ "id": lunch.serving, "after": goes["cursor"] })).await;
    board.nothing().await;
    let withdraw =
        "mutation($s: ID!, $key: UUID!) { withdrawServing(serving: $s, idempotencyKey: $key) { consistencyToken } }";
    house.ask(&staff(), withdraw, json!({ "s": lunch.serving, "key": key() })).await.data();
    let withdrawn = client.hear().await["payload"]["data"]["portionsLeft"].clone();
    assert_eq!((&withdrawn["withdrawn"], &withdrawn["offers"][0]["left"]), (&json!(true), &json!(0)));
    // How far that is, is told until it is settled.
    let told = |goes: &Value| goes["payload"]["data"]["dashboard"]["dashboard"]["withdrawals"][0].clone();
    let begun = json!({ "orders": "1", "told": "0", "settled": false });
    // It is watched three times over.
    for _ in 0..3 {
        assert_eq!(told(&board.hear().await), begun);
    }
    let NodeId::Serving(serving) = NodeId::decode(&async_graphql::ID(lunch.serving.as_str().unwrap().into())).unwrap()
    else {
        panic!("no serving")
    };
    let settle = domain::serving::Command::SettleWithdrawal { dish: None };
    let request = commands::Request::new(
        (tenant(1), domain::ActorId(Uuid::from_u128(9))),
        "settle",
        Uuid::from_u128(1),
        &(),
        house.commands.now(),
    );
    house.commands.on_serving(request, serving, settle).await.unwrap();
    let settled = json!({ "orders": "1", "told": "1", "settled": true });
    assert_eq!(told(&board.hear().await), settled);
}

#[tokio::test]
async fn a_cursor_that_is_too_old_or_none_ends_the_subscription() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    house.deposit(7, "50").await;
    let mut client = house.client(&at, &staff()).await;
    let mut cursors = Vec::new();
    for (query, field) in [(BOARD, "kitchenBoard"), (LEFT, "portionsLeft"), (DASHBOARD, "dashboard")] {
        client.subscribe(field, query, json!({ "id": lunch.serving })).await;
        cursors.push((query, field, client.next(field).await[field]["cursor"].clone()));
        client.say(json!({ "id": field, "type": "complete" })).await;
    }
    let order = rice(&house, &lunch).await;
    house.views.wait_for(house.head().await, Duration::from_secs(10)).await.unwrap();
    house.door.service.live.forget(house.head().await);
    for (query, field, cursor) in &cursors {
        client.subscribe(field, query, json!({ "id": lunch.serving, "after": cursor })).await;
        let error = client.error(field).await;
        assert_eq!(error["extensions"], json!({ "code": "CURSOR_EXPIRED", "retryable": false, "field": "after" }));
        client.subscribe(field, query, json!({ "id": lunch.serving, "after": "rubbish" })).await;
        let error = client.error(field).await;
        assert_eq!(error["extensions"], json!({ "code": "BAD_INPUT", "retryable": false, "field": "after" }));
        // As it is told to: without a cursor it begins anew.
        client.subscribe(field, query, json!({ "id": lunch.serving })).await;
        client.next(field).await;
        client.say(json!({ "id": field, "type": "complete" })).await;
    }
    // The log knows every step of an order.
    client.subscribe("order", PROGRESS, json!({ "id": order, "after": cursors[0].2 })).await;
    let statuses = [client.next("order").await, client.next("order").await];
    assert_eq!(statuses.map(|step| step["orderProgress"]["order"]["status"].clone()), ["PLACED", "CONFIRMED"]);
}

#[tokio::test]
async fn who_may_not_see_a_thing_cannot_watch_it() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    house.deposit(7, "50").await;
    let order = rice(&house, &lunch).await;
    house.views.wait_for(house.head().await, Duration::from_secs(10)).await.unwrap();
    let roles: Vec<_> = Role::ALL.into_iter().filter(|role| *role != Role::Ops).collect();
    let stranger = Identity { canteens: Canteens::ALL, ..Identity::new(tenant(2), Uuid::from_u128(7), roles) };
    let west = Identity {
        canteens: Canteens::Only(vec![CanteenId(Uuid::from_u128(55))]),
        ..Identity::new(tenant(1), Uuid::from_u128(102), [Role::Canteen])
    };
    let nowhere = json!(NodeId::Serving(ServingId(Uuid::from_u128(424_242))).encode().0);
    let nothing = json!(NodeId::Order(OrderId(Uuid::from_u128(424_242))).encode().0);
    let mut client = house.client(&at, &stranger).await;
    for (query, ids) in [
        (PROGRESS, [&order, &nothing, &json!("rubbish")]),
        (BOARD, [&lunch.serving, &nowhere, &json!("rubbish")]),
        (LEFT, [&lunch.serving, &nowhere, &json!("rubbish")]),
        (DASHBOARD, [&lunch.serving, &nowhere, &json!("rubbish")]),
    ] {
        let mut errors = Vec::new();
        for id in ids {
            client.subscribe("1", query, json!({ "id": id })).await;
            errors.push(client.error("1").await);
        }
        assert_eq!(errors[0]["extensions"]["code"], "NOT_FOUND");
        assert!(errors.iter().all(|error| *error == errors[0]), "{errors:#?}");
    }
    let mut others: HashMap<&str, crate::testing_socket::Client> = HashMap::new();
    others.insert("west", house.client(&at, &west).await);
    others.insert("diner 8", house.client(&at, &diner(8)).await);
    others.insert("finance", house.client(&at, &finance()).await);
    for (who, query, id, code) in [
        ("west", PROGRESS, &order, "NOT_FOUND"),
        ("west", BOARD, &lunch.serving, "FORBIDDEN"),
        ("west", DASHBOARD, &lunch.serving, "FORBIDDEN"),
        ("diner 8", PROGRESS, &order, "NOT_FOUND"),
        ("diner 8", BOARD, &lunch.serving, "FORBIDDEN"),
        ("diner 8", DASHBOARD, &lunch.serving, "FORBIDDEN"),
        ("finance", BOARD, &lunch.serving, "FORBIDDEN"),
        ("finance", PROGRESS, &order, "FORBIDDEN"),
    ] {
        let client = others.get_mut(who).unwrap();
        client.subscribe("1", query, json!({ "id": id })).await;
        assert_eq!(client.error("1").await["extensions"]["code"], code, "{who} {query}");
    }
    let live = &house.door.service.live;
    assert_eq!((live.topics(), live.reads()), (0, 0), "nothing of it was read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_watchers_of_a_serving_cost_one_reading_a_change() {
    const WATCHERS: usize = 2_000;
    // They connect one after the other, and do not read meanwhile.
    let (patience, sockets_a_user, operations_a_user) = (Duration::from_secs(120), WATCHERS, WATCHERS);
    let sockets = SocketLimits { patience, sockets_a_user, operations_a_user, ..SocketLimits::default() };
    let house = House::with(HttpLimits { sockets, ..HttpLimits::default() }, true).await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    house.deposit(7, "50").await;
    let live = &house.door.service.live;
    let mut clients = Vec::new();
    let token = house.token(&diner(8));
    for _ in 0..WATCHERS {
        let mut client = house.client_with(&at, &token).await;
        client.subscribe("1", LEFT, json!({ "id": lunch.serving })).await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.next("1").await["portionsLeft"]["offers"][0]["left"], 2);
    }
    assert_eq!((live.reads(), live.topics()), (1, 1), "all begin with the one reading");
    for (change, left) in [(1, 1), (2, 0)] {
        rice(&house, &lunch).await;
        let told = join_all(clients.iter_mut().map(|client| client.next("1"))).await;
        assert!(told.iter().all(|one| one["portionsLeft"]["offers"][0]["left"] == json!(left)));
        assert_eq!(live.reads(), 1 + change);
    }
    // Nobody watches any more, and nothing is read any more.
    drop(clients);
    let over = async {
        while live.topics() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), over).await.unwrap();
    noodles(&house, &lunch, 7).await;
    house.views.wait_for(house.head().await, Duration::from_secs(10)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(live.reads(), 3);
}

/// The follower of a process that has just started learns what orders are of, and what changed before.
#[tokio::test]
async fn a_cursor_is_good_after_a_restart_too() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    house.deposit(7, "50").await;
    let mut client = house.client(&at, &staff()).await;
    client.subscribe("1", BOARD, json!({ "id": lunch.serving })).await;
    let cursor = client.next("1").await["kitchenBoard"]["cursor"].clone();
    let order = rice(&house, &lunch).await;
    client.next("1").await;
    let anew = house.started_anew();
    let at = anew.listen().await;
    let mut client = anew.client(&at, &staff()).await;
    client.subscribe("1", BOARD, json!({ "id": lunch.serving, "after": cursor })).await;
    let change = client.next("1").await["kitchenBoard"].clone();
    assert_eq!(change["tickets"][0]["order"], order);
    step(&house, "prepare", &order).await;
    assert_eq!(client.next("1").await["kitchenBoard"]["tickets"][0]["stage"], "PREPARING");
}

const GUIDE: &str = include_str!("../../../docs/api/live-updates.md");

#[test]
fn the_guides_figures_are_those_of_the_program() {
    let limits = SocketLimits::default();
    for figure in [
        format!("{} operations are under way on the socket, or {}", limits.operations, limits.operations_a_user),
        format!("{} sockets of the user", limits.sockets_a_user),
        format!("more than {} KiB", limits.message / 1024),
        format!("all {},{:03} places", limits.sockets / 1000, limits.sockets % 1000),
        format!("for {} seconds, or for {} after", limits.ping.as_secs(), limits.patience.as_secs()),
        format!("what it is sent within {}", limits.patience.as_secs() * 2),
    ] {
        assert!(GUIDE.contains(&figure), "{figure}");
    }
    assert_eq!(limits.init, Duration::from_secs(3));
    assert!(limits.patience * 2 < Duration::from_secs(10), "a reader that stalls is dropped within ten seconds");
}

/// Whoever is told of a change finds it in every query.
#[tokio::test]
async fn a_change_is_not_told_before_the_views_show_it() {
    let house = House::with(HttpLimits::default(), false).await;
    let at = house.listen().await;
    let mut runner = projections::Runner::open(house.store.clone(), house.views.clone()).await.unwrap();
    let lunch = house.lunch().await;
    house.deposit(7, "50").await;
    let order = rice(&house, &lunch).await;
    runner.catch_up().await.unwrap();
    let mut client = house.client(&at, &diner(7)).await;
    let query = "subscription($id: ID!) { orderProgress(order: $id) { order { status } } }";
    client.subscribe("1", query, json!({ "id": order })).await;
    assert_eq!(client.next("1").await["orderProgress"]["order"]["status"], "CONFIRMED");
    step(&house, "prepare", &order).await;
    client.nothing().await;
    runner.catch_up().await.unwrap();
    assert_eq!(client.next("1").await["orderProgress"]["order"]["status"], "PREPARING");
}

/// Whoever comes while the views are behind is told what they did not show yet.
#[tokio::test]
async fn what_the_views_did_not_show_when_somebody_came_is_told_when_they_do() {
    let house = House::with(HttpLimits::default(), false).await;
    let at = house.listen().await;
    let mut runner = projections::Runner::open(house.store.clone(), house.views.clone()).await.unwrap();
    let lunch = house.lunch().await;
    house.deposit(7, "50").await;
    runner.catch_up().await.unwrap();
    // Somebody watches, so that the follower runs and has met the order before the others come.
    let mut early = house.client(&at, &diner(8)).await;
    early.subscribe("1", LEFT, json!({ "id": lunch.serving })).await;
    early.next("1").await;
    early.say(json!({ "type": "complete", "id": "1" })).await;
    let order = rice(&house, &lunch).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut client = house.client(&at, &diner(7)).await;
    client.subscribe("left", LEFT, json!({ "id": lunch.serving })).await;
    let first = client.next("left").await["portionsLeft"].clone();
    assert_eq!(first["offers"][0]["left"], 2, "as the views show it");
    let progress = "subscription($id: ID!) { orderProgress(order: $id) { order { status } } }";
    client.subscribe("order", progress, json!({ "id": order })).await;
    client.nothing().await;
    runner.catch_up().await.unwrap();
    let mut told = Vec::new();
    for _ in 0..3 {
        let data = client.hear().await["payload"]["data"].clone();
        let left = &data["portionsLeft"]["offers"][0]["left"];
        let status = &data["orderProgress"]["order"]["status"];
        told.push(if left.is_null() { status.clone() } else { left.clone() });
    }
    told.sort_by_key(Value::to_string);
    assert_eq!(told, [json!("CONFIRMED"), json!("PLACED"), json!(1)]);
    client.nothing().await;
}

/// Others watch already, and what they were told last is older than what the views show by now.
#[tokio::test]
async fn the_first_message_shows_what_whoever_comes_has_written_before() {
    let house = House::open().await;
    let (at, lunch) = (house.listen().await, house.lunch().await);
    let order = async |who: u128| {
        let soy = json!([{ "group": "Sauce", "choice": "Soy" }]);
        let lines = json!([{ "dish": lunch.noodles, "quantity": 1, "options": soy }]);
        house.order(&diner(who), &lunch.serving, lines, &key()).await.token.unwrap()
    };
    for who in [7, 8] {
        house.deposit(who, "50").await;
    }
    let mut watches = house.client(&at, &diner(9)).await;
    watches.subscribe("1", LEFT, json!({ "id": lunch.serving })).await;
    let left = |data: &Value| data["portionsLeft"]["offers"][1]["left"].as_u64().unwrap();
    assert_eq!(left(&watches.next("1").await), 10);
    for (who, before) in [(7, 10), (8, 8)] {
        let mut comes = house.client(&at, &diner(who)).await;
        order(who).await;
        assert_eq!(left(&watches.next("1").await), before - 1);
        // It was read this moment, and is not read again for a pace.
        let token = order(who).await;
        let payload =
            json!({ "query": LEFT, "variables": { "id": lunch.serving }, "extensions": { "consistencyToken": token } });
        comes.say(json!({ "id": "1", "type": "subscribe", "payload": payload })).await;
        assert_eq!(left(&comes.next("1").await), before - 2, "as a query with that token shows it");
        assert_eq!(left(&watches.next("1").await), before - 2);
        comes.nothing().await;
    }
}
