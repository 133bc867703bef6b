//! Whole journeys over HTTP against the program itself, as frontends make them.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    lunch::{
        COLLECT, DATE, DEPOSIT, Lunch, OPEN, PLACE, PUBLISH, PUT_DISH, Person, Place, REFUND_LINES, WITHDRAW_DISH,
        WITHDRAW_SERVING, key, plan, raw, step_query, yuan,
    },
    succeed,
};
use uuid::Uuid;

const OFFERS: &[(&str, &str, u32)] = &[("Rice", "3.00", 5), ("Noodles", "12.50", 40)];

const LEFT: &str = "query($s: ID!) { serving(id: $s) { offers { name left } } }";

const CHANGE_ORDER: &str = "mutation($order: ID!, $lines: [OrderLineInput!]!, $key: UUID!) {
  changeOrder(order: $order, lines: $lines, idempotencyKey: $key) {
    __typename ... on Order { status total { amount } tenders { amount { amount } } } } }";

fn left(person: &mut Person, lunch: &Lunch) -> Vec<i64> {
    let serving = person.ask(LEFT, json!({ "s": lunch.serving }))["serving"].clone();
    serving["offers"].as_array().unwrap().iter().map(|offer| offer["left"].as_i64().unwrap()).collect()
}

fn wallet(diner: &mut Person) -> Value {
    let balances = diner.ask("{ myBalances { kind available { amount } held { amount } } }", json!({}));
    let wallet = balances["myBalances"].as_array().unwrap().iter().find(|one| one["kind"] == "WALLET");
    let wallet = wallet.expect("a wallet");
    assert_eq!(wallet["held"]["amount"], "0.00");
    wallet["available"]["amount"].clone()
}

/// The books' balances by account, and that they balance.
fn books(finance: &mut Person) -> Vec<(String, String)> {
    let trial = finance.ask("{ trialBalance { currency balance { amount } } }", json!({}))["trialBalance"].clone();
    assert_eq!(trial, json!([{ "currency": "CNY", "balance": { "amount": "0.00" } }]));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = finance.all("balances", "account balance { amount }");
    rows.iter().map(|row| (text(&row["account"]), text(&row["balance"]["amount"]))).collect()
}

fn balance<'a>(books: &'a [(String, String)], account: &str) -> &'a str {
    books.iter().find(|(name, _)| name.starts_with(account)).map_or("0.00", |(_, amount)| amount)
}

#[test]
fn from_an_empty_folder_to_a_collected_lunch_and_its_books() {
    let place = Place::new();
    let server = place.serve();
    let mut staff = place.staff(&server);
    let lunch = Lunch::open(&mut staff, OFFERS, 10);
    let mut diner = place.diner(&server, "50.00");
    diner.after(&staff);
    let menu = "query($d: Date!) { servings(date: $d) { nodes { id meal canteen { name }
                  offers { name left portions price { amount currency } } } } }";
    let menu = diner.ask(menu, json!({ "d": DATE }))["servings"]["nodes"][0].clone();
    assert_eq!(
        (&menu["id"], &menu["meal"], &menu["canteen"]["name"]),
        (&lunch.serving, &json!("LUNCH"), &json!("East"))
    );
    let noodles =
        json!({ "name": "Noodles", "left": 40, "portions": 40, "price": { "amount": "12.50", "currency": "CNY" } });
    assert_eq!(menu["offers"][1], noodles);

    // A tap, and the same tap again from a phone that never saw the answer.
    let (tap, lines) = (key(), json!([lunch.line(0, 2), lunch.line(1, 1)]));
    let order = diner.place_as(&tap, &lunch.serving, lines.clone());
    assert_eq!((&order["__typename"], &order["status"]), (&json!("Order"), &json!("CONFIRMED")));
    assert_eq!(order["total"]["amount"], "18.50");
    assert_eq!(order["tenders"], json!([{ "source": "WALLET", "amount": { "amount": "18.50" } }]));
    let mut phone = Person::new(server.address, diner.id, diner.token.clone());
    assert_eq!(phone.place_as(&tap, &lunch.serving, lines)["id"], order["id"]);
    let other = json!({ "input": { "serving": lunch.serving, "lines": [lunch.line(0, 1)] }, "key": tap });
    assert_eq!(phone.error(PLACE, other), "KEY_REUSED");
    assert_eq!(left(&mut diner, &lunch), [3, 39]);
    assert_eq!(wallet(&mut diner), "31.50");

    staff.after(&diner);
    let board = format!("kitchenBoard(serving: {})", lunch.serving);
    let tickets = staff.all(&board, "order stage lines { name quantity }");
    let cooked = json!([{ "name": "Rice", "quantity": 2 }, { "name": "Noodles", "quantity": 1 }]);
    assert_eq!(tickets, [json!({ "order": order["id"], "stage": "CONFIRMED", "lines": cooked })]);
    assert_eq!(staff.step("prepare", &order["id"])["status"], "PREPARING");
    let ready = staff.step("markReady", &order["id"]);
    assert_eq!(ready["status"], "READY");
    diner.after(&staff);
    let mine = diner.ask("{ myOrders { nodes { id status pickupCode } } }", json!({}))["myOrders"]["nodes"].clone();
    assert_eq!(mine, json!([{ "id": order["id"], "status": "READY", "pickupCode": ready["pickupCode"] }]));

    let wrong = json!({ "order": order["id"], "code": "no", "key": key() });
    assert_eq!(staff.error(COLLECT, wrong), "WRONG_CODE");
    let collected = staff.change(COLLECT, json!({ "order": order["id"], "code": ready["pickupCode"] }));
    assert_eq!(collected["order"]["status"], "PICKED_UP");
    assert_eq!(staff.all(&board, "order"), [] as [Value; 0]);
    assert_eq!(staff.error(&step_query("cancelOrder"), json!({ "order": order["id"], "key": key() })), "OUT_OF_TURN");

    let mut finance = place.finance(&server);
    finance.after(&staff);
    let books = books(&mut finance);
    let canteen = format!("canteen:{}", raw(&lunch.canteen));
    let expected = [("bank", "-50.00"), (&canteen, "18.50"), ("prepaid", "0.00"), ("wallet:", "31.50")];
    for (account, amount) in expected {
        assert_eq!(balance(&books, account), amount, "{account}: {books:?}");
    }
    let journal = finance.all("journal(account: \"prepaid\")", "event amount { amount }");
    let journal: Vec<_> =
        journal.iter().map(|entry| (entry["event"].as_str(), entry["amount"]["amount"].as_str())).collect();
    assert_eq!(journal[0], (Some("order.PickedUp"), Some("-18.50")));
    assert_eq!(journal[1].1, Some("18.50"));
    let dashboard = "query($s: ID!) { dashboard(serving: $s) { orders { placed confirmed pickedUp }
                       takings { portions net { amount } } dishes { name portions takings { amount } } } }";
    let dashboard = finance.ask(dashboard, json!({ "s": lunch.serving }))["dashboard"].clone();
    assert_eq!(dashboard["orders"], json!({ "placed": "1", "confirmed": "1", "pickedUp": "1" }));
    assert_eq!(dashboard["takings"], json!([{ "portions": "3", "net": { "amount": "18.50" } }]));
    assert!(server.stop(), "it ends well");
    succeed(&["verify", "--store", &place.store()]);
    assert_eq!(place.settled(&[])["orders"][place.tenant.to_string()], json!({ "PICKED_UP": 1 }));
}

#[test]
fn what_cannot_be_had_is_said_with_its_reason_and_changes_nothing() {
    let place = Place::new();
    let server = place.serve();
    let mut staff = place.staff(&server);
    let lunch = Lunch::open(&mut staff, OFFERS, 10);
    let mut diner = place.diner(&server, "50.00");
    let times = |opens: &str, cut_off: &str, meal: &str| {
        let mut plan = plan(&lunch.canteen, vec![json!({ "dish": lunch.dishes[0], "portions": 5 })], meal, 10);
        (plan["opens"], plan["cutOff"]) = (json!(opens), json!(cut_off));
        json!({ "serving": plan })
    };
    let closed = staff.change(PUBLISH, times("2020-01-01T06:00", "2020-01-01T11:00", "BREAKFAST"));
    let coming = staff.change(PUBLISH, times("2098-01-01T06:00", "2098-01-01T11:00", "DINNER"));
    let (closed, coming) = (closed["serving"]["id"].clone(), coming["serving"]["id"].clone());
    let events = succeed(&["events", "export", "--store", &place.store()]);

    let sold_out = diner.place(&lunch.serving, json!([lunch.line(1, 1), lunch.line(0, 6)]));
    assert_eq!(sold_out["__typename"], "SoldOut");
    assert_eq!(sold_out["offers"], json!([{ "dish": lunch.dishes[0], "asked": 6, "left": 5 }]));
    let mut stale = lunch.line(1, 1);
    stale["unitPrice"] = yuan("12.00");
    let stale = diner.place(&lunch.serving, json!([stale]));
    let change = json!([{ "dish": lunch.dishes[1], "was": { "amount": "12.00" }, "now": { "amount": "12.50" } }]);
    assert_eq!((&stale["__typename"], &stale["changes"]), (&json!("PriceChanged"), &change));
    let late = diner.place(&closed, json!([lunch.line(0, 1)]));
    assert_eq!((&late["__typename"], &late["at"]), (&json!("Closed"), &json!("2020-01-01T03:00:00Z")));
    let early = diner.place(&coming, json!([lunch.line(0, 1)]));
    assert_eq!((&early["__typename"], &early["at"]), (&json!("NotYetOpen"), &json!("2097-12-31T22:00:00Z")));
    let greedy = diner.place(&lunch.serving, json!([lunch.line(1, 11)]));
    assert_eq!((&greedy["__typename"], &greedy["limit"]), (&json!("DinerLimit"), &json!(10)));
    let elsewhere = diner.place(&closed, json!([lunch.line(1, 1)]));
    assert_eq!((&elsewhere["__typename"], &elsewhere["dish"]), (&json!("NotOffered"), &lunch.dishes[1]));
    for lines in [json!([]), json!([lunch.line(0, 0)]), json!([{ "dish": lunch.dishes[0], "quantity": "1" }])] {
        let input = json!({ "input": { "serving": lunch.serving, "lines": lines }, "key": key() });
        assert_eq!(diner.error(PLACE, input), "BAD_INPUT");
    }
    let unknown = json!({ "input": { "serving": lunch.dishes[0], "lines": [lunch.line(0, 1)] }, "key": key() });
    assert_eq!(diner.error(PLACE, unknown), "NOT_FOUND");
    assert_eq!(succeed(&["events", "export", "--store", &place.store()]), events);

    // Who cannot pay is found out behind the door: the order is there, refused, and holds nothing.
    let (mut poor, tap) = (place.diner(&server, "10.00"), key());
    let refused = poor.place_as(&tap, &lunch.serving, json!([lunch.line(1, 2)]));
    assert_eq!((&refused["__typename"], &refused["short"]), (&json!("InsufficientFunds"), &yuan("15.00")));
    assert_eq!(poor.place_as(&tap, &lunch.serving, json!([lunch.line(1, 2)])), refused);
    let order = poor.ask("query($o: ID!) { order(id: $o) { status refusal } }", json!({ "o": refused["order"] }));
    assert_eq!(order["order"], json!({ "status": "REFUSED", "refusal": "INSUFFICIENT_FUNDS" }));
    assert_eq!((left(&mut poor, &lunch), wallet(&mut poor)), (vec![5, 40], json!("10.00")));
    // And may order again with more money, under another key.
    let mut finance = place.finance(&server);
    finance.deposit("WALLET", poor.id, "15.00");
    assert_eq!(poor.place(&lunch.serving, json!([lunch.line(1, 2)]))["status"], "CONFIRMED");
    place.settled(&[]);
}

#[test]
fn what_is_given_up_or_complained_about_comes_back_to_the_fen() {
    let place = Place::new();
    let server = place.serve();
    let mut staff = place.staff(&server);
    let lunch = Lunch::open(&mut staff, OFFERS, 20);
    let mut diner = place.diner(&server, "100.00");
    let mut finance = place.finance(&server);
    finance.deposit("SUBSIDY", diner.id, "10.00");
    let order = diner.place(&lunch.serving, json!([lunch.line(0, 1), lunch.line(1, 2)]));
    let tenders = json!([
        { "source": "SUBSIDY", "amount": { "amount": "10.00" } }, { "source": "WALLET", "amount": { "amount": "18.00" } },
    ]);
    assert_eq!(order["tenders"], tenders);
    assert_eq!((left(&mut diner, &lunch), wallet(&mut diner)), (vec![4, 38], json!("82.00")));
    let tap = json!({ "order": order["id"], "key": key() });
    let cancel = step_query("cancelOrder");
    let cancelled = diner.ask(&cancel, tap.clone());
    let after = &cancelled["cancelOrder"]["order"];
    assert_eq!((&after["status"], &after["refunded"]["amount"]), (&json!("CANCELLED"), &json!("28.00")));
    assert_eq!(diner.ask(&cancel, tap), cancelled, "the same tap again");
    assert_eq!((left(&mut diner, &lunch), wallet(&mut diner)), (vec![5, 40], json!("100.00")));

    // One of two was cold. In reverse order of deduction it comes from the wallet first.
    let order = diner.place(&lunch.serving, json!([lunch.line(1, 2)]));
    let code = staff.step("markReady", &order["id"])["pickupCode"].clone();
    staff.change(COLLECT, json!({ "order": order["id"], "code": code }));
    let one = json!({ "order": order["id"], "lines": [{ "line": 0, "quantity": 1 }] });
    let refunded = staff.change(REFUND_LINES, one)["order"].clone();
    assert_eq!((&refunded["status"], &refunded["refunded"]["amount"]), (&json!("PICKED_UP"), &json!("12.50")));
    let two = json!({ "order": order["id"], "lines": [{ "line": 0, "quantity": 2 }], "key": key() });
    assert_eq!(staff.error(REFUND_LINES, two), "NOTHING_TO_REFUND");
    diner.after(&staff);
    assert_eq!(wallet(&mut diner), "97.50");

    // Rice is ordered, then noodles instead; and then nothing at all.
    let order = diner.place(&lunch.serving, json!([lunch.line(0, 1)]));
    let instead = json!({ "order": order["id"], "lines": [lunch.line(1, 1)] });
    let changed = diner.change(CHANGE_ORDER, instead);
    assert_eq!((&changed["status"], &changed["total"]["amount"]), (&json!("CONFIRMED"), &json!("12.50")), "{changed}");
    let tenders = json!([{ "amount": { "amount": "3.00" } }, { "amount": { "amount": "9.50" } }]);
    assert_eq!((&changed["tenders"], wallet(&mut diner)), (&tenders, json!("85.00")));
    diner.step("cancelOrder", &order["id"]);
    assert_eq!(wallet(&mut diner), "97.50");

    // Rice runs out in the kitchen: two orders have it, one of them with noodles besides.
    let rice = diner.place(&lunch.serving, json!([lunch.line(0, 2)]));
    let both = diner.place(&lunch.serving, json!([lunch.line(0, 1), lunch.line(1, 1)]));
    let withdrawn = staff.change(WITHDRAW_DISH, json!({ "serving": lunch.serving, "dish": lunch.dishes[0] }));
    let offer = json!({ "dish": lunch.dishes[0], "withdrawn": true, "left": 0 });
    assert_eq!(withdrawn["serving"]["offers"][0], offer);
    let gone = diner.place(&lunch.serving, json!([lunch.line(0, 1)]));
    let shortage = json!([{ "dish": lunch.dishes[0], "asked": 1, "left": 0 }]);
    assert_eq!((&gone["__typename"], &gone["offers"]), (&json!("SoldOut"), &shortage));
    // The money comes back by itself.
    let query = "query($o: ID!) { order(id: $o) { status refunded { amount } refunds { settled } } }";
    for (order, status, back) in [(&rice, "CANCELLED", "6.00"), (&both, "CONFIRMED", "3.00")] {
        let began = Instant::now();
        let seen = loop {
            let seen = diner.ask(query, json!({ "o": order["id"] }))["order"].clone();
            if seen["refunds"] == json!([{ "settled": true }]) || began.elapsed() > Duration::from_secs(60) {
                break seen;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        assert_eq!((&seen["status"], &seen["refunded"]["amount"]), (&json!(status), &json!(back)), "{seen}");
        assert_eq!(seen["refunds"], json!([{ "settled": true }]));
    }
    finance.after(&diner);
    let books = books(&mut finance);
    // 110.00 came in; 12.50 were eaten; 12.50 are paid for and not yet eaten.
    let expected = [("bank", "-110.00"), ("canteen:", "12.50"), ("prepaid", "12.50")];
    for (account, amount) in expected {
        assert_eq!(balance(&books, account), amount, "{account}: {books:?}");
    }
    // A whole serving that is called off.
    staff.change(WITHDRAW_SERVING, json!({ "serving": lunch.serving }));
    assert_eq!(diner.place(&lunch.serving, json!([lunch.line(1, 1)]))["__typename"], "Withdrawn");
    let said = place.settled(&[]);
    assert_eq!(said["orders"][place.tenant.to_string()], json!({ "CANCELLED": 4, "PICKED_UP": 1 }));
}

#[test]
fn the_counter_sells_for_money_and_to_those_who_come_late() {
    let place = Place::new();
    let server = place.serve();
    let mut staff = place.staff(&server);
    let lunch = Lunch::open(&mut staff, OFFERS, 10);
    let mut closed = plan(&lunch.canteen, vec![json!({ "dish": lunch.dishes[0], "portions": 5 })], "BREAKFAST", 10);
    (closed["opens"], closed["cutOff"]) = (json!("2020-01-01T06:00"), json!("2020-01-01T11:00"));
    let closed = staff.change(PUBLISH, json!({ "serving": closed }))["serving"]["id"].clone();
    let guest = Uuid::now_v7();
    let input = json!({ "serving": closed, "payWith": "AT_COUNTER", "diner": guest, "lines": [lunch.line(0, 2)] });
    let order = staff.change(PLACE, json!({ "input": input }));
    assert_eq!((&order["status"], &order["channel"]), (&json!("PLACED"), &json!("COUNTER")), "{order}");
    let board = format!("kitchenBoard(serving: {closed})");
    assert_eq!(staff.all(&board, "stage"), [] as [Value; 0], "the kitchen cooks nothing that is not paid");
    let paid = staff.step("recordPayment", &order["id"]);
    assert_eq!(paid["status"], "CONFIRMED");
    assert_eq!(staff.all(&board, "stage"), [json!({ "stage": "CONFIRMED" })]);
    // A diner pays at the counter what was ordered at home.
    let mut diner = place.diner(&server, "0");
    let input = json!({ "serving": lunch.serving, "payWith": "AT_COUNTER", "lines": [lunch.line(1, 1)] });
    let waiting = diner.change(PLACE, json!({ "input": input }));
    assert_eq!((&waiting["status"], &waiting["payment"]), (&json!("PLACED"), &json!("AT_COUNTER")));
    assert_eq!(left(&mut diner, &lunch), [5, 39], "its portion is kept until it is paid");
    assert_eq!(diner.error(&step_query("recordPayment"), json!({ "order": waiting["id"], "key": key() })), "FORBIDDEN");
    staff.step("recordPayment", &waiting["id"]);
    // Nobody comes for it: it is not refunded.
    assert_eq!(staff.step("markNoShow", &waiting["id"])["status"], "NO_SHOW");
    let mut finance = place.finance(&server);
    finance.after(&staff);
    let books = books(&mut finance);
    for (account, amount) in [("clearing:", "-18.50"), ("prepaid", "6.00"), ("canteen:", "12.50")] {
        assert_eq!(balance(&books, account), amount, "{account}: {books:?}");
    }
    place.settled(&[]);
}

#[test]
fn what_was_just_written_is_what_is_read() {
    let place = Place::new();
    let server = place.serve();
    let mut staff = place.staff(&server);
    let lunch = Lunch::open(&mut staff, &[("Rice", "3.00", 1_000)], 1_000);
    let mut diner = place.diner(&server, "1000.00");
    for placed in 1..=60 {
        let order = diner.place(&lunch.serving, json!([lunch.line(0, 1)]));
        assert_eq!(order["consistencyToken"].as_str(), diner.seen.as_deref());
        // On another connection, as a reload of the page would be.
        let mut page = Person::new(server.address, diner.id, diner.token.clone());
        page.after(&diner);
        assert_eq!(left(&mut page, &lunch), [1_000 - placed]);
        let newest = page.ask("{ myOrders(first: 1) { nodes { id } } }", json!({}))["myOrders"]["nodes"][0].clone();
        assert_eq!(newest["id"], order["id"]);
    }
    // A token opens nothing and says nothing: another tenant's is as wrong as a made-up one.
    let stranger = token_of_another_tenant(&place);
    let mut stranger = Person::new(server.address, Uuid::now_v7(), stranger);
    for wrong in [diner.seen.clone().unwrap(), "rubbish".to_owned(), String::new()] {
        stranger.seen = Some(wrong);
        assert_eq!(stranger.error("{ viewer { tenant } }", json!({})), "BAD_INPUT");
    }
}

fn token_of_another_tenant(place: &Place) -> String {
    place.token_of(Uuid::now_v7(), "auditor", Uuid::now_v7(), None)
}

#[test]
fn other_tenants_other_roles_and_nobody_get_nothing() {
    let place = Place::new();
    let server = place.serve();
    let mut staff = place.staff(&server);
    let lunch = Lunch::open(&mut staff, OFFERS, 10);
    let mut diner = place.diner(&server, "50.00");
    let order = diner.place(&lunch.serving, json!([lunch.line(0, 1)]))["id"].clone();
    let events = succeed(&["events", "export", "--store", &place.store()]);

    let others = Uuid::now_v7();
    let token = |role: &str, canteen| place.token_of(others, role, diner.id, canteen);
    let mut their_diner = Person::new(server.address, diner.id, token("diner", None));
    let mut their_staff = Person::new(server.address, diner.id, token("canteen", Some("all")));
    let mut their_auditor = Person::new(server.address, diner.id, token("auditor", None));
    // Their view of our ids is their view of ids that nobody has.
    for id in [&lunch.canteen, &lunch.dishes[0], &lunch.serving, &order] {
        let node = their_auditor.ask("query($id: ID!) { node(id: $id) { id } }", json!({ "id": id }));
        assert_eq!(node, json!({ "node": null }));
    }
    let input = json!({ "serving": lunch.serving, "lines": [lunch.line(0, 1)] });
    assert_eq!(their_diner.error(PLACE, json!({ "input": input, "key": key() })), "NOT_FOUND");
    for step in ["cancelOrder", "markReady", "recordPayment"] {
        assert_eq!(
            their_staff.error(&step_query(step), json!({ "order": order, "key": key() })),
            "NOT_FOUND",
            "{step}"
        );
    }
    let withdraw = json!({ "serving": lunch.serving, "key": key() });
    assert_eq!(their_staff.error(WITHDRAW_SERVING, withdraw), "NOT_FOUND");
    let all = "{ canteens { nodes { id } } balances { nodes { account } } journal { nodes { event } } trialBalance { currency } }";
    let empty = json!({ "nodes": [] });
    let nothing = json!({ "canteens": empty, "balances": empty, "journal": empty, "trialBalance": [] });
    assert_eq!(their_auditor.ask(all, json!({})), nothing);

    // The same tenant, but not their business.
    let spec = json!({ "name": "Soup", "category": "soup", "price": yuan("1") });
    let put = json!({ "canteen": lunch.canteen, "spec": spec, "key": key() });
    let account = json!({ "kind": "WALLET", "owner": diner.id });
    let deposit = json!({ "account": account, "amount": yuan("1000"), "key": key() });
    let open = json!({ "name": "Mine", "zone": "UTC", "currency": "CNY", "key": key() });
    let asked = [
        ("diner", PUT_DISH, put.clone()),
        ("diner", OPEN, open.clone()),
        ("diner", DEPOSIT, deposit.clone()),
        ("canteen", DEPOSIT, deposit),
        ("finance", PUT_DISH, put.clone()),
        ("auditor", PUT_DISH, put),
        ("auditor", OPEN, open),
        ("ops", "{ canteens { nodes { name } } }", json!({})),
        ("diner", "{ balances { nodes { account } } }", json!({})),
        ("canteen", "{ trialBalance { currency } }", json!({})),
        ("diner", "query($s: ID!) { kitchenBoard(serving: $s) { nodes { order } } }", json!({ "s": lunch.serving })),
    ];
    for (role, query, variables) in asked {
        assert_eq!(place.person(&server, role).error(query, variables), "FORBIDDEN", "{role}: {query}");
    }
    let mut neighbour = place.diner(&server, "0");
    let query = "query($o: ID!) { order(id: $o) { id } }";
    assert_eq!(neighbour.ask(query, json!({ "o": order })), json!({ "order": null }));
    assert_eq!(neighbour.error(&step_query("cancelOrder"), json!({ "order": order, "key": key() })), "NOT_FOUND");
    let elsewhere = place.token("canteen", Uuid::now_v7(), Some(&Uuid::now_v7().to_string()));
    let mut elsewhere = Person::new(server.address, Uuid::now_v7(), elsewhere);
    assert_eq!(elsewhere.error(&step_query("markReady"), json!({ "order": order, "key": key() })), "FORBIDDEN");

    let nobodys = |token: &str| Person::new(server.address, Uuid::now_v7(), token.to_owned());
    let forged = format!("{}x", diner.token);
    for wrong in ["", "rubbish", forged.as_str(), "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(nobodys(wrong).error("{ myOrders { nodes { id } } }", json!({})), "UNAUTHENTICATED", "{wrong}");
    }
    assert_eq!(succeed(&["events", "export", "--store", &place.store()]), events, "nothing of it left a trace");
}

#[test]
fn pages_have_every_order_once_while_more_are_placed() {
    let place = Place::new();
    let server = place.serve();
    let mut staff = place.staff(&server);
    let lunch = Lunch::open(&mut staff, &[("Rice", "1.00", 100)], 100);
    let mut diner = place.diner(&server, "100.00");
    let place_one = |diner: &mut Person| raw(&diner.place(&lunch.serving, json!([lunch.line(0, 1)]))["id"]);
    let placed: Vec<String> = (0..25).map(|_| place_one(&mut diner)).collect();
    let query = "query($after: String) { myOrders(first: 10, after: $after) {
                   nodes { id } edges { cursor } pageInfo { hasNextPage hasPreviousPage endCursor } } }";
    let (mut seen, mut after, mut sizes) = (Vec::new(), Value::Null, Vec::new());
    loop {
        let page = diner.ask(query, json!({ "after": after }))["myOrders"].clone();
        let info = &page["pageInfo"];
        assert_eq!(info["hasPreviousPage"], json!(!after.is_null()));
        let nodes = page["nodes"].as_array().unwrap();
        assert_eq!(page["edges"].as_array().unwrap().last().unwrap()["cursor"], info["endCursor"]);
        sizes.push(nodes.len());
        seen.extend(nodes.iter().map(|node| raw(&node["id"])));
        if info["hasNextPage"] == false {
            break;
        }
        assert!(sizes.len() < 10, "the pages have no end");
        after = info["endCursor"].clone();
        // Newer than all that is still to be read.
        place_one(&mut diner);
    }
    assert_eq!(sizes, [10, 10, 5]);
    let newest_first: Vec<String> = placed.iter().rev().cloned().collect();
    assert_eq!(seen, newest_first);
    staff.after(&diner);
    let all = staff.all(&format!("ordersOfServing(serving: {})", lunch.serving), "id");
    let all: Vec<String> = all.iter().map(|node| raw(&node["id"])).collect();
    assert_eq!(all[..25], placed, "in the order of placing");
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (27, 27));
    for (first, after) in [(0, None), (101, None), (-1, None), (10, Some("rubbish")), (10, Some(""))] {
        let wrong = "query($first: Int, $after: String) { myOrders(first: $first, after: $after) { nodes { id } } }";
        assert_eq!(diner.error(wrong, json!({ "first": first, "after": after })), "BAD_INPUT", "{first} {after:?}");
    }
}

#[test]
fn a_restart_forgets_no_tap_and_loses_no_order() {
    let place = Place::new();
    let server = place.serve();
    let mut staff = place.staff(&server);
    let lunch = Lunch::open(&mut staff, OFFERS, 10);
    let mut diner = place.diner(&server, "50.00");
    let (tap, lines) = (key(), json!([lunch.line(1, 1)]));
    let order = diner.place_as(&tap, &lunch.serving, lines.clone());
    let cancel = json!({ "order": order["id"], "key": key() });
    let cancelled = diner.ask(&step_query("cancelOrder"), cancel.clone());
    assert!(server.stop(), "it ends well");
    let events = succeed(&["events", "export", "--store", &place.store()]);
    let server = place.serve();
    diner.move_to(server.address);
    let again = diner.place_as(&tap, &lunch.serving, lines);
    assert_eq!((&again["id"], &again["status"]), (&order["id"], &json!("CANCELLED")));
    assert_eq!(diner.ask(&step_query("cancelOrder"), cancel), cancelled);
    assert_eq!((left(&mut diner, &lunch), wallet(&mut diner)), (vec![5, 40], json!("50.00")));
    assert_eq!(succeed(&["events", "export", "--store", &place.store()]), events, "a repeat appends nothing");
}
