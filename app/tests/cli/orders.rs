//! What an operator does with orders from the command line.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    canteen::{DEPOSIT, DINER, ask, diner, key, open_canteen, order},
    support::{Place, stderr},
};

const OPERATOR: &str = "00000000-0000-7000-8000-0000000000a1";
const DAY: &str = "2099-03-02";

/// Orders of a day, that many portions each at 5.00, paid from one wallet.
const PORTIONS: [u32; 6] = [2, 1, 1, 1, 1, 3];

fn list(place: &Place) -> Vec<Value> {
    let answer = place.json(&["orders", "list", "--day", DAY]);
    answer["orders"].as_array().expect("a list").clone()
}

/// An order of the list, as it was placed.
fn id(orders: &[Value], number: usize) -> String {
    orders[number]["order"].as_str().expect("an id").to_owned()
}

fn by_operator(place: &Place, arguments: &[&str]) -> Value {
    place.json(&[&["orders"], arguments, &["--actor", OPERATOR]].concat())
}

/// Exit code and, if it has one, the code of what is refused.
fn refused(place: &Place, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = place.run(&[&["orders"], arguments, &["--actor", OPERATOR, "--json"]].concat());
    let said = stderr(&output);
    let error: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    (output.status.code(), error["error"]["code"].clone())
}

fn head(place: &Place) -> u64 {
    place.json(&["projections", "list"])["head"].as_u64().expect("a head")
}

/// Status, total and what is refunded.
fn shown(answer: &Value) -> (&str, i64, i64) {
    let minor = |field: &str| answer[field].as_i64().expect("an amount");
    (answer["status"].as_str().expect("a status"), minor("total_minor"), minor("refunded_minor"))
}

/// Beside a server and after it: whoever holds the folder does it.
#[test]
fn orders_are_refunded_cancelled_and_withdrawn() {
    let place = Place::new();
    let server = place.serve();
    let (staff, finance, eater) = (place.token("canteen"), place.token("finance"), diner(&place));
    let mut input = open_canteen(&server, &staff);
    ask(&server, &finance, DEPOSIT, json!({ "owner": DINER, "key": key(4) }));
    for (number, portions) in (10..).zip(PORTIONS) {
        input["lines"][0]["quantity"] = json!(portions);
        order(&server, &eater, &input, number);
    }
    let orders = list(&place);
    let (first, second, third) = (id(&orders, 0), id(&orders, 1), id(&orders, 2));

    // By line, by amount, and what is left; each once a key.
    let by_line = ["refund", &first, "--line", "0:1", "--key", &key(20)];
    let answer = by_operator(&place, &by_line);
    assert_eq!(shown(&answer), ("CONFIRMED", 1_000, 500));
    let part = json!({ "account": format!("wallet:{DINER}"), "provider": null, "amount_minor": 500, "is": "RETURNED" });
    assert_eq!(
        (&answer["refunds"][0]["reason"], &answer["refunds"][0]["parts"]),
        (&json!("complaint"), &json!([part]))
    );
    let before = head(&place);
    assert_eq!(by_operator(&place, &by_line), answer);
    assert_eq!(refused(&place, &["refund", &first, "--line", "0:2", "--key", &key(21)]).1, "NOTHING_TO_REFUND");
    assert_eq!(refused(&place, &["refund", &first, "--amount", "5.01 CNY", "--key", &key(22)]).1, "BAD_INPUT");
    assert_eq!(refused(&place, &["refund", &first, "--amount", "5.00 CNY", "--key", &key(20)]), (Some(2), json!(null)));
    assert_eq!(refused(&place, &["refund", &first, "--line", "0:0", "--key", &key(23)]), (Some(2), json!(null)));
    assert_eq!(head(&place), before, "neither a repeat nor what is refused appends anything");
    let answer = by_operator(&place, &["refund", &first, "--amount", "2.00 CNY", "--first-to", "0", "--key", &key(24)]);
    assert_eq!(shown(&answer), ("CONFIRMED", 1_000, 700));
    let the_rest = ["refund", &first, "--key", &key(25)];
    assert_eq!(shown(&by_operator(&place, &the_rest)), ("CONFIRMED", 1_000, 1_000));
    assert_eq!(shown(&by_operator(&place, &the_rest)), ("CONFIRMED", 1_000, 1_000));
    assert_eq!(refused(&place, &["refund", &first, "--key", &key(26)]), (Some(1), json!("NOTHING_TO_REFUND")));

    let cancel = ["cancel", &second];
    assert_eq!(shown(&by_operator(&place, &cancel)), ("CANCELLED", 500, 500));
    assert_eq!(shown(&by_operator(&place, &cancel)), ("CANCELLED", 500, 500));
    // Its serving charges 40 %. After that the canteen gives money up, and says what for.
    let answer = by_operator(&place, &["no-show", &third]);
    assert_eq!((shown(&answer), &answer["refunds"][0]["reason"]), (("NO_SHOW", 500, 300), &json!("no_show")));
    assert_eq!(refused(&place, &["refund", &third, "--key", &key(27)]), (Some(1), json!("BAD_INPUT")));
    let complaint = ["refund", &third, "--reason", "complaint", "--key", &key(27)];
    assert_eq!(shown(&by_operator(&place, &complaint)), ("NO_SHOW", 500, 500));
    assert_eq!(refused(&place, &["record-payment", &id(&orders, 3)]), (Some(1), json!("OUT_OF_TURN")));
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0), "{}", place.log());

    // Without a server, by the command itself.
    assert_eq!(refused(&place, &["cancel", OPERATOR]), (Some(1), json!("NOT_FOUND")));
    assert_eq!(refused(&place, &["withdraw", OPERATOR]), (Some(1), json!("NOT_FOUND")));
    let serving = orders[0]["serving"].as_str().expect("an id").to_owned();
    let dish = orders[0]["lines"][0]["dish"].as_str().expect("an id").to_owned();
    let withdraw = ["withdraw", &serving, "--dish", &dish];
    assert_eq!(by_operator(&place, &withdraw)["orders"], 5, "all but the cancelled one");
    let before = head(&place);
    assert_eq!(by_operator(&place, &withdraw)["orders"], 5);
    assert_eq!(head(&place), before);
    assert_eq!(by_operator(&place, &["withdraw", &serving])["orders"], 0);

    let mut counted: BTreeMap<String, (usize, i64)> = BTreeMap::new();
    for order in list(&place) {
        let entry = counted.entry(order["status"].as_str().expect("a status").to_owned()).or_default();
        *entry = (entry.0 + 1, entry.1 + order["refunded_minor"].as_i64().expect("an amount"));
    }
    let expected = [("CANCELLED", (4, 500 + 2_500)), ("CONFIRMED", (1, 1_000)), ("NO_SHOW", (1, 500))];
    assert_eq!(counted, expected.map(|(status, of)| (status.to_owned(), of)).into());
    let wallet = place.json(&["balances", "--account", &format!("wallet:{DINER}"), "--each"]);
    assert_eq!(wallet["balances"][0]["balance_minor"], 100_000, "all of it came back");
    assert_eq!(place.json(&["trial-balance"])["balanced"], true);
    let newest = place.json(&["events", "list", "--stream", &format!("order:{second}")]);
    assert!(newest.to_string().contains(OPERATOR), "the events name who did it: {newest}");
    assert_eq!(place.json(&["verify"])["same"], true);
}
