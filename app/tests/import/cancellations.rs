//! What a till took back: matched to its sales, refunded at its own time, or left out with a reason;
//! and every row of the file accounted for.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use crate::support::{Place, mapping, root};

const ROWS: &str = include_str!("returns.csv");
const MAPPING: &str = include_str!("returns.toml");

/// What [`ROWS`] leave out, in full: 10 and 9 cost nothing, and of line 14 one portion was refunded.
const LEFT_OUT: &str = "\
line,order,amount,reason,detail
9,105,0.00,ZERO_PRICE,its price is zero
10,103,0.00,ZERO_PRICE,its price is zero
14,C3,-2.00,MORE_THAN_SOLD,\"1 of 2 portions: more than was sold, or still is\"
15,C4,-6.00,NO_SALE,the file has no sale of the dish to the diner
16,C5,-2.00,SOLD_LATER,the file has its sale only after the cancellation
17,C6,-3.50,OTHER_PRICE,the dish was sold to the diner at other prices only
18,C7,-4.00,NO_DINER,a cancellation that names no diner
";

impl Place {
    /// Imports rows of the corner's till, with a list of what is left out.
    fn corner(&self, rows: &str, more: &[&str]) -> (i32, Value) {
        let (rows, mapping) = (self.file("till.csv", rows), self.file("till.toml", MAPPING));
        let list = self.0.path().join("left-out.csv").display().to_string();
        self.import(&[&["orders", &rows, "--mapping", &mapping, "--left-out", &list], more].concat())
    }

    fn left_out(&self) -> String {
        fs::read_to_string(self.0.path().join("left-out.csv")).unwrap()
    }

    /// The time and lines of each refund, by what it is worth.
    fn refunds(&self) -> BTreeMap<i64, (String, String)> {
        let events = self.events("order.RefundBegun");
        let of = |event: &Value| {
            let begun = &event["payload"]["RefundBegun"];
            let at = event["occurred_at"].as_str().unwrap().to_owned();
            (begun["amount"]["minor"].as_i64().unwrap(), (at, begun["lines"].to_string()))
        };
        events.iter().map(of).collect()
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        let events = self.log().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
        events.filter(|event| event["type"] == kind).collect()
    }

    /// How often each type of event happened at each time, and the lines of each order.
    fn happened(&self) -> BTreeMap<String, u32> {
        let mut happened = BTreeMap::new();
        for event in self.log() {
            let event: Value = serde_json::from_str(&event).unwrap();
            let lines = event["payload"].get("RefundBegun").map(|begun| begun["lines"].to_string());
            let what = format!("{} {} {:?}", event["type"], event["occurred_at"], lines);
            *happened.entry(what).or_default() += 1;
        }
        // A menu has no history: its dishes are put on it when they are imported.
        happened.retain(|what, _| !what.starts_with("\"menu."));
        happened
    }
}

/// One reason of a reconciliation.
fn sum(reason: &str, rows: u64, minor: i64) -> Value {
    json!({ "reason": reason, "rows": rows, "unreadable": 0, "minor": minor })
}

#[test]
fn each_kind_of_cancellation_is_refunded_or_says_why_not() {
    let place = Place::new();
    let (code, report) = place.corner(ROWS, &[]);
    assert_eq!((code, &report["orders_imported"], &report["orders_split"]), (1, &json!(7), &json!(1)), "{report}");
    assert_eq!((&report["refunds_imported"], &report["refunded_minor"]), (&json!(6), &json!(9_400)), "{report}");
    let expected = json!({
        "file": { "rows": 71, "minor": 24_050 },
        "sold": { "rows": 59, "minor": 35_200 },
        "refunded": { "rows": 6, "minor": 9_400 },
        "left_out": [
            sum("ZERO_PRICE", 2, 0),
            sum("NO_DINER", 1, -400),
            sum("NO_SALE", 1, -600),
            sum("SOLD_LATER", 1, -200),
            sum("OTHER_PRICE", 1, -350),
            sum("MORE_THAN_SOLD", 1, -200),
        ],
        "difference_minor": 0,
    });
    assert_eq!(report["reconciliation"], expected);
    assert_eq!(place.left_out(), LEFT_OUT);
    assert_eq!(report["rows_left_out"].as_array().unwrap().len(), 7);
    assert_eq!(report["sales"]["takings_minor"], 35_200 - 9_400);
    // An hour east of UTC. The soup comes back from the sale at noon first, then from the one at nine.
    let refunds = place.refunds();
    let refund = |minor: i64| refunds.get(&minor).map(|(at, lines)| (at.as_str(), lines.as_str()));
    assert_eq!(refund(300), Some(("2024-03-02T11:00:00Z", r#"[{"line":0,"quantity":2}]"#)));
    assert_eq!(refund(1_600), Some(("2024-03-02T11:10:00Z", r#"[{"line":0,"quantity":4}]"#)));
    assert_eq!(refund(800), Some(("2024-03-02T11:10:00Z", r#"[{"line":1,"quantity":2}]"#)));
    assert_eq!(refund(600), Some(("2024-03-02T11:20:00Z", r#"[{"line":0,"quantity":3}]"#)));
    let urn = r#"[{"line":2,"quantity":500},{"line":1,"quantity":100}]"#;
    assert_eq!(refund(6_000), Some(("2024-03-03T10:00:00Z", urn)));
    // From the second part of an order of 51 lines.
    assert_eq!(refund(100), Some(("2024-03-04T08:00:00Z", r#"[{"line":0,"quantity":1}]"#)));
    let settled = place.events("payment.PaidBack");
    assert!(settled.iter().all(|event| event["occurred_at"].as_str().unwrap().starts_with("2024-03-0")));
    // Two orders of one diner, one of another, one visitor's, three of a third diner: two of them one order.
    let diner = |event: &Value| event["payload"]["Placed"]["diner"].as_str().unwrap().to_owned();
    let diners: Vec<_> = place.events("order.Placed").iter().map(diner).collect();
    assert_eq!(diners.iter().collect::<std::collections::BTreeSet<_>>().len(), 4, "{diners:?}");
    assert!(place.run(&["verify"]).status.success());
}

#[test]
fn the_books_are_what_was_sold_less_what_was_refunded_and_a_second_time_changes_nothing() {
    let place = Place::new();
    let (_, first) = place.corner(ROWS, &[]);
    let books = place.recompute();
    let tenant = first["tenant"].as_str().unwrap();
    let totals = json!({ "orders_confirmed": 7, "portions": 2_567 - 612, "takings_minor": 35_200 - 9_400 });
    assert_eq!(books["totals"][tenant]["EUR"], totals);
    assert_eq!(books["balances"][tenant]["clearing:elsewhere"]["EUR"], 9_400 - 35_200);
    assert_eq!(books["trial_balance_minor"], 0);
    let log = place.log();
    let (code, second) = place.corner(ROWS, &[]);
    let unchanged = ["orders_imported", "refunds_imported", "orders_unchanged", "refunds_unchanged"];
    assert_eq!(unchanged.map(|key| second[key].as_u64().unwrap()), [0, 0, 7, 6], "{second}");
    assert_eq!((code, &second["reconciliation"]), (1, &first["reconciliation"]));
    assert_eq!((place.left_out().as_str(), place.log()), (LEFT_OUT, log));
    // Another order of the rows makes no other orders and no other refunds.
    let (header, rows) = ROWS.split_once('\n').unwrap();
    let turned: Vec<_> = [header].into_iter().chain(rows.lines().rev()).collect();
    let (_, third) = place.corner(&format!("{}\n", turned.join("\n")), &[]);
    assert_eq!(unchanged.map(|key| third[key].as_u64().unwrap()), [0, 0, 7, 6], "{third}");
    let sums = |report: &Value| report["reconciliation"]["left_out"].clone();
    assert_eq!(sums(&third), sums(&first));
}

#[test]
fn a_wrong_row_is_named_and_a_corrected_file_refunds_nothing_twice() {
    let place = Place::new();
    let wrong = ROWS.replace("102,2024-03-01 12:00,Soup,2,4.00,7\n102", "102,2024-03-01 12:00,Soup,two,4.00,7\n102");
    let (code, report) = place.corner(&wrong, &["--strict"]);
    let problem = json!({
        "line": 4,
        "order": "102",
        "code": "BAD_FIELD",
        "field": "quantity",
        "reason": "quantity: \"two\" is not a whole number from 1 to 100000",
    });
    assert_eq!((code, &report["refused"], &report["problems"]), (1, &json!(true), &json!([problem])), "{report}");
    assert_eq!((&report["reconciliation"], place.log()), (&Value::Null, vec![]), "nothing was imported");
    assert!(place.left_out().contains("\n4,102,,BAD_ROW,\"quantity: \"\"two\"\" is not"), "{}", place.left_out());
    assert!(place.left_out().contains("\n5,102,8.00,ORDER_HAS_BAD_ROW,"), "{}", place.left_out());
    // Without the sale at noon all the soup that came back is the earlier sale's: five of six.
    let (code, report) = place.corner(&wrong, &[]);
    assert_eq!((code, &report["orders_imported"], &report["refunds_imported"]), (1, &json!(6), &json!(5)), "{report}");
    let reconciled = &report["reconciliation"];
    let unreadable = json!({ "reason": "BAD_ROW", "rows": 1, "unreadable": 1, "minor": 0 });
    assert_eq!((&reconciled["left_out"][0], &reconciled["difference_minor"]), (&unreadable, &json!(0)), "{report}");
    assert_eq!(reconciled["left_out"][1], sum("ORDER_HAS_BAD_ROW", 1, 800));
    assert_eq!(place.refunds()[&2_000].1, r#"[{"line":1,"quantity":5}]"#);
    // The corrected file brings the sale and the sixth portion; the five stay where they are.
    let (_, report) = place.corner(ROWS, &[]);
    let changed = ["orders_imported", "refunds_imported", "refunds_unchanged"];
    assert_eq!(changed.map(|key| report[key].as_u64().unwrap()), [1, 1, 5], "{report}");
    assert_eq!(report["reconciliation"]["refunded"], json!({ "rows": 6, "minor": 9_400 }));
    assert_eq!(place.refunds()[&400].1, r#"[{"line":0,"quantity":1}]"#);
    // A cancellation of which less is said to have come back than was refunded is left out whole.
    let (_, report) = place.corner(&ROWS.replace("Soup,-6,4.00", "Soup,-5,4.00"), &[]);
    let last = &report["rows_left_out"].as_array().unwrap()[2];
    let (amount, why) = (json!(-2_000), "an earlier import refunded 6 portions of it, not 5");
    assert_eq!(
        (&last["amount_minor"], &last["reason"], &last["detail"]),
        (&amount, &json!("REFUND_NOT_BOOKED"), &json!(why))
    );
    assert_eq!(report["reconciliation"]["difference_minor"], 0);
    place.recompute();
}

#[test]
fn what_takes_back_an_order_that_was_not_booked_is_left_out_with_it() {
    let place = Place::new();
    place.corner("no,at,dish,n,each,who\n1,2024-03-01 09:00,Soup,1,4.00,7\n", &[]);
    let other = "no,at,dish,n,each,who\n1,2024-03-01 09:00,Soup,9,4.00,7\nC2,2024-03-01 10:00,Soup,-9,4.00,7\n";
    let (code, report) = place.corner(other, &[]);
    assert_eq!((code, &report["orders_not_booked"]), (1, &json!(1)), "{report}");
    let left = json!([sum("NOT_BOOKED", 1, 3_600), sum("SALE_NOT_BOOKED", 1, -3_600)]);
    assert_eq!(report["reconciliation"]["left_out"], left);
    assert!(place.left_out().contains("the sale that it takes back, 1, was not booked"), "{}", place.left_out());
    assert_eq!(place.events("order.RefundBegun").len(), 0);
    // A file of cancellations alone opens no canteen.
    let empty = Place::new();
    let (code, report) = empty.corner("no,at,dish,n,each,who\nC2,2024-03-01 10:00,Soup,-9,4.00,7\n", &[]);
    assert_eq!((code, &report["reconciliation"]["left_out"]), (1, &json!([sum("NO_SALE", 1, -3_600)])), "{report}");
    assert_eq!(empty.log(), [] as [&str; 0]);
}

#[test]
fn a_list_that_cannot_be_written_or_would_overwrite_the_file_stops_the_import_at_once() {
    let place = Place::new();
    let (rows, mapping) = (place.file("till.csv", ROWS), place.file("till.toml", MAPPING));
    for (list, why) in [(&rows, "the import reads that file"), (&mapping, "the import reads that file")]
        .into_iter()
        .chain([(&"no/such/folder.csv".to_owned(), "No such file or directory")])
    {
        let (code, said) = place.import(&["orders", &rows, "--mapping", &mapping, "--left-out", list]);
        assert_eq!((code, said.to_string().contains(why)), (2, true), "{said}");
    }
    assert_eq!(fs::read_to_string(&rows).unwrap(), ROWS);
    assert_eq!(place.log(), [] as [&str; 0]);
}

/// A hundred sales of many portions; then, for many times as long, one portion after the other comes back.
fn many(back: u32) -> String {
    let clock = |day: u32, n: u32| format!("2024-05-{:02} {:02}:{:02}", day + n / 600, 10 + n / 60 % 10, n % 60);
    let sold = (0..100).map(|n| format!("{n},{},Soup,90,4.00,{n}\n", clock(1, n)));
    let back = (0..back).map(|n| format!("C{n},{},Soup,-1,4.00,{}\n", clock(2, n), n % 101));
    format!("no,at,dish,n,each,who\n{}{}", sold.collect::<String>(), back.collect::<String>())
}

#[test]
fn killed_among_the_refunds_and_run_again_it_ends_with_the_same_refunds_at_the_same_times() {
    let (rows, unbroken) = (many(2_020), Place::new());
    let (_, whole) = unbroken.corner(&rows, &[]);
    assert_eq!((&whole["orders_imported"], &whole["refunds_imported"]), (&json!(100), &json!(2_000)), "{whole}");
    let place = Place::new();
    let (file, mapping) = (place.file("till.csv", &rows), place.file("till.toml", MAPPING));
    let bytes = unbroken.bytes_in_log();
    let at = [60, 75, 85, 95].map(|percent| bytes * percent / 100);
    place.kill_at(&at, &["import", "orders", &file, "--mapping", &mapping]);
    let begun = place.events("order.RefundBegun").len();
    assert!(begun > 0, "it was killed among the refunds");
    let (_, rest) = place.corner(&rows, &[]);
    assert!(rest["refunds_unchanged"].as_u64().unwrap() > 0, "{rest}");
    assert_eq!(rest["reconciliation"], whole["reconciliation"]);
    assert_eq!(place.happened(), unbroken.happened());
    assert_eq!(place.recompute()["totals"], unbroken.recompute()["totals"]);
    assert_eq!(place.balances(), unbroken.balances());
}

#[test]
fn a_real_month_with_its_cancellations_reconciles_to_the_penny() {
    let place = Place::new();
    let file = root().join("tests/data/online_retail_2011-11.csv.gz").display().to_string();
    let (code, first) = place.orders(&file, &mapping("online_retail"));
    let counts = ["rows", "orders_imported", "orders_split", "refunds_imported", "bad_rows", "dishes_put"];
    let counts = counts.map(|key| first[key].as_u64().unwrap());
    assert_eq!((code, counts), (1, [84_711, 3_484, 344, 465, 0, 2_939]), "{}", first["reconciliation"]);
    let expected = json!({
        "file": { "rows": 84_711, "minor": 146_175_625 },
        "sold": { "rows": 83_369, "minor": 116_181_738 + 34_767_895 },
        "refunded": { "rows": 464, "minor": 1_650_516 },
        "left_out": [
            sum("ZERO_PRICE", 129 + 137, 0),
            sum("NO_DINER", 23, -1_833_044),
            sum("NO_SALE", 463, -1_149_150),
            sum("SOLD_LATER", 96, -73_611),
            sum("OTHER_PRICE", 29, -60_783),
            sum("MORE_THAN_SOLD", 5, -6_904),
        ],
        "difference_minor": 0,
    });
    assert_eq!(first["reconciliation"], expected);
    let net = 150_949_633 - 1_650_516;
    assert_eq!(first["sales"], json!({ "orders": 3_484, "units": 754_507 - 7_946, "takings_minor": net }));
    let books = place.said(&["trial-balance"]).join("\n");
    let books: Value = serde_json::from_str(&books).unwrap();
    assert!(books.to_string().contains(&((150_949_633_i64 + 1_650_516) * 2).to_string()), "{books}");
    let recomputed = place.recompute();
    let tenant = first["tenant"].as_str().unwrap();
    assert_eq!(recomputed["totals"][tenant]["GBP"]["takings_minor"], net);
    assert_eq!(recomputed["balances"][tenant]["clearing:elsewhere"]["GBP"], -net);
    assert_eq!(recomputed["trial_balance_minor"], 0);
    let head = place.said(&["events", "list", "--limit", "1"]);
    let (_, second) = place.orders(&file, &mapping("online_retail"));
    assert_eq!((&second["orders_unchanged"], &second["refunds_unchanged"]), (&json!(3_484), &json!(465)), "{second}");
    assert_eq!(place.said(&["events", "list", "--limit", "1"]), head);
}
