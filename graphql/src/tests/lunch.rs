//! A lunch as frontends see it.

use serde_json::json;

use crate::testing::*;

#[tokio::test]
async fn a_diner_orders_and_collects_and_the_books_balance() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "50.00").await;
    let sesame = json!([{ "group": "Sauce", "choice": "Sesame" }]);
    let lines = json!([
        { "dish": lunch.rice, "quantity": 1 },
        { "dish": lunch.noodles, "quantity": 2, "options": sesame, "unitPrice": yuan("14.00") },
    ]);
    let placed = house.order(&diner(7), &lunch.serving, lines, &key()).await;
    assert_eq!(placed.token.as_deref(), placed.body["extensions"]["consistencyToken"].as_str());
    let order = placed.data()["placeOrder"].clone();
    assert_eq!(order["__typename"], "Order");
    assert_eq!(order["status"], "CONFIRMED");
    assert_eq!(order["total"]["amount"], "31.00");
    assert_eq!(order["tenders"], json!([{ "source": "WALLET", "amount": { "amount": "31.00" }, "why": "REST" }]));

    let step = |field: &str| {
        format!(
            "mutation($o: ID!, $key: UUID!) {{ {field}(order: $o, idempotencyKey: $key) {{ order {{ status pickupCode }} }} }}"
        )
    };
    let changed = async |field: &str| {
        let answer = house.ask(&staff(), &step(field), json!({ "o": order["id"], "key": key() })).await;
        answer.data()[field]["order"].clone()
    };
    assert_eq!(changed("prepare").await["status"], "PREPARING");
    let board = house
        .read(&staff(), "query($s: ID!) { kitchenBoard(serving: $s) { nodes { order stage lines { name quantity options { choice } } } } }", json!({ "s": lunch.serving }))
        .await;
    let ticket = &board["kitchenBoard"]["nodes"][0];
    assert_eq!((&ticket["order"], &ticket["stage"]), (&order["id"], &json!("PREPARING")));
    assert_eq!(ticket["lines"][1], json!({ "name": "Noodles", "quantity": 2, "options": [{ "choice": "Sesame" }] }));
    let ready = changed("markReady").await;
    let code = ready["pickupCode"].as_str().unwrap().to_owned();
    let mine = house
        .read(&diner(7), "{ myOrders { nodes { id status pickupCode serving { meal canteen { name } } } } }", json!({}))
        .await;
    let mine = &mine["myOrders"]["nodes"][0];
    assert_eq!(mine["pickupCode"], code);
    assert_eq!(mine["serving"], json!({ "meal": "LUNCH", "canteen": { "name": "East" } }));
    let collect = "mutation($o: ID!, $c: String!, $key: UUID!) { collect(order: $o, code: $c, idempotencyKey: $key) { order { status } } }";
    let wrong = house.ask(&staff(), collect, json!({ "o": order["id"], "c": "nope", "key": key() })).await;
    assert_eq!(wrong.code(), "WRONG_CODE");
    let collected = house.ask(&staff(), collect, json!({ "o": order["id"], "c": code, "key": key() })).await.data();
    assert_eq!(collected["collect"]["order"]["status"], "PICKED_UP");

    let books = house
        .read(
            &finance(),
            "query($s: ID!, $d: Date!) {
               trialBalance { currency balance { amount } debits { amount } }
               balances { nodes { account balance { amount } } }
               journal(account: \"prepaid\") { nodes { amount { amount } event } }
               dashboard(serving: $s) { orders { placed confirmed pickedUp } takings { portions net { amount } } }
               sales(from: $d, to: $d) { nodes { name units takings { amount } } } }",
            json!({ "s": lunch.serving, "d": "2026-11-23" }),
        )
        .await;
    assert_eq!(
        books["trialBalance"],
        json!([{ "currency": "CNY", "balance": { "amount": "0.00" }, "debits": { "amount": "112.00" } }])
    );
    let balances = books["balances"]["nodes"].as_array().unwrap();
    let of = |name: &str| {
        let found = balances.iter().find(|one| one["account"].as_str().unwrap().starts_with(name));
        found.map(|one| one["balance"]["amount"].clone())
    };
    assert_eq!(of("canteen:"), Some(json!("31.00")));
    assert_eq!(of("wallet:"), Some(json!("19.00")));
    assert_eq!(of("prepaid"), Some(json!("0.00")));
    assert_eq!(of("bank"), Some(json!("-50.00")));
    assert_eq!(books["journal"]["nodes"][0]["event"], "order.PickedUp");
    assert_eq!(books["dashboard"]["orders"], json!({ "placed": "1", "confirmed": "1", "pickedUp": "1" }));
    assert_eq!(books["dashboard"]["takings"], json!([{ "portions": "3", "net": { "amount": "31.00" } }]));
    assert_eq!(books["sales"]["nodes"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_cancelled_order_is_refunded_and_its_portions_are_free_again() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "6.00").await;
    let two = json!([{ "dish": lunch.rice, "quantity": 2 }]);
    let order = house.order(&diner(7), &lunch.serving, two, &key()).await.data()["placeOrder"].clone();
    let left = "query($s: ID!) { serving(id: $s) { offers { name left } } }";
    let offers = house.read(&diner(7), left, json!({ "s": lunch.serving })).await["serving"]["offers"].clone();
    assert_eq!(offers[0], json!({ "name": "Rice", "left": 0 }));
    let cancel = "mutation($o: ID!, $key: UUID!) { cancelOrder(order: $o, idempotencyKey: $key) {
      order { status refunded { amount } refunds { settled amount { amount } lines { line quantity } }
              tenders { refunded { amount } } serving { id } } consistencyToken } }";
    let key = key();
    let cancelled = house.ask(&diner(7), cancel, json!({ "o": order["id"], "key": key })).await;
    let token = cancelled.token.clone().unwrap();
    let cancelled = cancelled.data()["cancelOrder"].clone();
    assert_eq!(cancelled["consistencyToken"], token);
    let order_after = &cancelled["order"];
    assert_eq!(order_after["status"], "CANCELLED");
    assert_eq!(
        order_after["refunds"],
        json!([{ "settled": true, "amount": { "amount": "6.00" }, "lines": [{ "line": 0, "quantity": 2 }] }])
    );
    assert_eq!(order_after["tenders"], json!([{ "refunded": { "amount": "6.00" } }]));
    assert_eq!(order_after["serving"]["id"], lunch.serving);
    let head = house.head().await;
    let again = house.ask(&diner(7), cancel, json!({ "o": order["id"], "key": key })).await.data();
    assert_eq!(again["cancelOrder"]["order"], *order_after);
    assert_eq!(house.head().await, head, "a repeat appends nothing");
    let offers = house.read(&diner(7), left, json!({ "s": lunch.serving })).await["serving"]["offers"].clone();
    assert_eq!(offers[0]["left"], 2);
    let mine = house.read(&diner(7), "{ myBalances { kind available { amount } } }", json!({})).await;
    assert_eq!(mine["myBalances"], json!([{ "kind": "WALLET", "available": { "amount": "6.00" } }]));
}

#[tokio::test]
async fn staff_sell_at_the_counter_after_the_cut_off_and_refund_a_bad_dish() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.at("2026-11-23T03:30:00Z");
    let input = json!({ "serving": lunch.serving, "payWith": "AT_COUNTER", "diner": uuid::Uuid::from_u128(9),
        "lines": [{ "dish": lunch.rice, "quantity": 2 }] });
    let order = house.ask(&staff(), PLACE, json!({ "key": key(), "input": input })).await.data()["placeOrder"].clone();
    assert_eq!((&order["__typename"], &order["status"]), (&json!("Order"), &json!("PLACED")));
    let paid = house
        .ask(&staff(), "mutation($o: ID!, $key: UUID!) { recordPayment(order: $o, idempotencyKey: $key) { order { status channel payment } } }", json!({ "o": order["id"], "key": key() }))
        .await
        .data();
    assert_eq!(
        paid["recordPayment"]["order"],
        json!({ "status": "CONFIRMED", "channel": "COUNTER", "payment": "AT_COUNTER" })
    );
    let refund = "mutation($o: ID!, $l: [LineCountInput!]!, $key: UUID!) { refundLines(order: $o, lines: $l, idempotencyKey: $key) {
      order { status refunded { amount } } } }";
    let one = json!([{ "line": 0, "quantity": 1 }]);
    let refunded = house.ask(&staff(), refund, json!({ "o": order["id"], "l": one, "key": key() })).await.data();
    assert_eq!(refunded["refundLines"]["order"]["refunded"]["amount"], "3.00");
    let head = house.head().await;
    let too_much = json!([{ "line": 0, "quantity": 2 }]);
    let answer = house.ask(&staff(), refund, json!({ "o": order["id"], "l": too_much, "key": key() })).await;
    assert_eq!(answer.code(), "NOTHING_TO_REFUND");
    let nobody = json!([{ "line": 9, "quantity": 1 }]);
    let answer = house.ask(&staff(), refund, json!({ "o": order["id"], "l": nobody, "key": key() })).await;
    assert_eq!(answer.code(), "NOTHING_TO_REFUND");
    assert_eq!(house.head().await, head);
}

#[tokio::test]
async fn a_serving_is_changed_and_withdrawn_and_the_answer_shows_it_at_once() {
    let house = House::with(crate::HttpLimits::default(), false).await;
    let lunch = house.lunch().await;
    let change = |field: &str, argument: &str| {
        format!(
            "mutation($s: ID!, $d: ID!, $key: UUID!) {{ {field}(serving: $s, dish: $d, {argument} idempotencyKey: $key)
               {{ serving {{ offers {{ dish left withdrawn price {{ amount }} }} }} }} }}"
        )
    };
    let rice = async |field: &str, argument: &str| {
        let variables = json!({ "s": lunch.serving, "d": lunch.rice, "key": key() });
        let answer = house.ask(&staff(), &change(field, argument), variables).await.data();
        let offers = answer[field]["serving"]["offers"].as_array().unwrap().clone();
        offers.into_iter().find(|offer| offer["dish"] == lunch.rice).unwrap()
    };
    assert_eq!(rice("setPortions", "portions: 7,").await["left"], 7);
    let priced = rice("setPrice", "price: { amount: \"3.20\", currency: \"CNY\" },").await;
    assert_eq!(priced["price"]["amount"], "3.20");
    assert_eq!(rice("withdrawDish", "").await["withdrawn"], true);
    let all = house
        .ask(&staff(), "mutation($s: ID!, $key: UUID!) { withdrawServing(serving: $s, idempotencyKey: $key) { serving { withdrawn offers { left } } } }", json!({ "s": lunch.serving, "key": key() }))
        .await
        .data();
    assert_eq!(
        all["withdrawServing"]["serving"],
        json!({ "withdrawn": true, "offers": [{ "left": 0 }, { "left": 0 }] })
    );
}

#[tokio::test]
async fn a_dish_is_put_changed_and_retired() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let spec = json!({ "name": "Brown rice", "category": "Staple", "price": yuan("3.50") });
    let variables = json!({ "key": key(), "canteen": lunch.canteen, "dish": lunch.rice, "spec": spec });
    assert_eq!(
        house.ask(&staff(), PUT_DISH, variables).await.data()["putDish"]["dish"],
        json!({ "id": lunch.rice, "name": "Brown rice" })
    );
    let retire = "mutation($d: ID!, $key: UUID!) { retireDish(dish: $d, idempotencyKey: $key) { dish { id } } }";
    let retired = house.ask(&staff(), retire, json!({ "d": lunch.rice, "key": key() })).await.data();
    assert_eq!(retired["retireDish"]["dish"], json!(null));
    let canteen = house
        .read(
            &diner(7),
            "query($c: ID!) { canteen(id: $c) { name zone currency dishes { nodes { name } } } }",
            json!({ "c": lunch.canteen }),
        )
        .await;
    assert_eq!(
        canteen["canteen"],
        json!({ "name": "East", "zone": "Asia/Shanghai", "currency": "CNY", "dishes": { "nodes": [{ "name": "Noodles" }] } })
    );
    let node = house
        .read(
            &diner(7),
            "query($d: ID!) { node(id: $d) { __typename id ... on Dish { retired } } }",
            json!({ "d": lunch.rice }),
        )
        .await;
    assert_eq!(node["node"], json!({ "__typename": "Dish", "id": lunch.rice, "retired": true }));
}

#[tokio::test]
async fn lists_are_read_page_by_page_to_their_end() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    for number in 0..5 {
        let spec = json!({ "name": format!("Dish {number}"), "category": "More", "price": yuan("1") });
        house.dish(&lunch.canteen, spec).await;
    }
    let query = "query($c: ID!, $n: Int, $after: String) { canteen(id: $c) { dishes(first: $n, after: $after) {
      nodes { name } edges { cursor } pageInfo { hasNextPage hasPreviousPage endCursor } } } }";
    let (mut after, mut names, mut pages) = (json!(null), Vec::new(), 0);
    loop {
        let page = house.read(&diner(7), query, json!({ "c": lunch.canteen, "n": 3, "after": after })).await;
        let page = &page["canteen"]["dishes"];
        names.extend(page["nodes"].as_array().unwrap().iter().map(|dish| dish["name"].to_string()));
        pages += 1;
        assert_eq!(page["pageInfo"]["hasPreviousPage"], pages > 1);
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!((names.len(), pages), (7, 3));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 7);
    for first in [0, -1, 101] {
        let answer = house.ask(&diner(7), query, json!({ "c": lunch.canteen, "n": first })).await;
        assert_eq!(answer.code(), "BAD_INPUT");
        assert_eq!(answer.body["errors"][0]["extensions"]["field"], "first");
    }
    let answer = house.ask(&diner(7), query, json!({ "c": lunch.canteen, "n": 3, "after": "rubbish" })).await;
    assert_eq!(answer.code(), "BAD_INPUT");
}

#[tokio::test]
async fn orders_and_the_journal_are_paged_by_cursors_that_tell_no_positions() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    house.deposit(7, "50").await;
    for _ in 0..3 {
        let soy = json!([{ "group": "Sauce", "choice": "Soy" }]);
        let lines = json!([{ "dish": lunch.noodles, "quantity": 1, "options": soy }]);
        house.order(&diner(7), &lunch.serving, lines, &key()).await.data();
    }
    for (who, field) in [
        (diner(7), "myOrders(first: 2, after: $after)"),
        (staff(), "ordersOfServing(serving: $s, first: 2, after: $after)"),
        (staff(), "kitchenBoard(serving: $s, first: 2, after: $after)"),
        (finance(), "journal(account: \"prepaid\", first: 2, after: $after)"),
        (finance(), "journal(from: \"2026-11-23T00:00:00Z\", first: 5, after: $after)"),
        (finance(), "journal(first: 5, after: $after)"),
    ] {
        let query = format!(
            "query($s: ID!, $after: String) {{ page: {field} {{ edges {{ cursor }} pageInfo {{ hasNextPage }} }} }}"
        );
        let query = if field.contains("$s") { query } else { query.replace("$s: ID!, ", "") };
        let first = house.read(&who, &query, json!({ "s": lunch.serving })).await["page"].clone();
        assert_eq!(first["pageInfo"]["hasNextPage"], true, "{field}");
        let cursor = first["edges"].as_array().unwrap().last().unwrap()["cursor"].clone();
        let second = house.read(&who, &query, json!({ "s": lunch.serving, "after": cursor })).await["page"].clone();
        assert_eq!(second["pageInfo"]["hasNextPage"], false, "{field}");
        assert!(!second["edges"].as_array().unwrap().is_empty(), "{field}");
        assert!(!second["edges"].as_array().unwrap().contains(&first["edges"][0]), "{field}");
    }
}

#[tokio::test]
async fn a_canteen_sees_how_far_a_withdrawal_is() {
    let house = House::open().await;
    let lunch = house.lunch().await;
    let rice = json!([{ "dish": lunch.rice, "quantity": 1 }]);
    for diner_number in [7, 8] {
        house.deposit(diner_number, "20.00").await;
        house.order(&diner(diner_number), &lunch.serving, rice.clone(), &key()).await.data();
    }
    let withdraw = "mutation($s: ID!, $d: ID!, $key: UUID!) {
        withdrawDish(serving: $s, dish: $d, idempotencyKey: $key) { consistencyToken } }";
    let of = json!({ "s": lunch.serving, "d": lunch.rice, "key": key() });
    house.ask(&staff(), withdraw, of).await.data();
    let ask = "query($s: ID!) { dashboard(serving: $s) { withdrawals { dish orders told settled } } }";
    let seen = async || house.read(&staff(), ask, json!({ "s": lunch.serving })).await["dashboard"].clone();
    // Nobody goes on with it in this house.
    let begun = json!({ "dish": lunch.rice, "orders": "2", "told": "0", "settled": false });
    assert_eq!(seen().await["withdrawals"], json!([begun]));
}
