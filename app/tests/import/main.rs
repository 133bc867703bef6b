//! Imports as somebody runs them: a year of a pizzeria, bad rows, kills in the middle, dishes; and what
//! was taken back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cancellations;
mod support;

use std::{fs, io::Read};

use serde_json::{Value, json};

use support::{Place, root};

fn mapping() -> String {
    support::mapping("pizzaplace")
}

/// The pizzeria's first so many orders.
fn slice(orders: usize) -> String {
    let packed = fs::File::open(root().join("tests/data/pizzaplace.csv.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    let mut slice = format!("{}\n", lines.next().unwrap());
    let mut numbers = std::collections::BTreeSet::new();
    for line in lines {
        numbers.insert(line.split(',').next().unwrap());
        if numbers.len() > orders {
            break;
        }
        slice += line;
        slice += "\n";
    }
    slice
}

#[test]
fn a_pizzerias_year_comes_out_to_the_cent_and_a_second_time_changes_nothing() {
    let place = Place::new();
    let file = root().join("tests/data/pizzaplace.csv.gz").display().to_string();
    let (code, first) = place.orders(&file, &mapping());
    assert_eq!((code, &first["rows"], &first["orders_imported"]), (0, &json!(49_574), &json!(21_350)), "{first}");
    let sales = json!({ "orders": 21_350, "units": 49_574, "takings_minor": 81_786_005 });
    assert_eq!(first["sales"], sales);
    assert_eq!((&first["servings_published"], &first["dishes_put"]), (&json!(358), &json!(91)));
    let books: Value = serde_json::from_str(&place.said(&["trial-balance"]).join("\n")).unwrap();
    assert!(books.to_string().contains("163572010"), "{books}");
    let (balances, head) = (place.balances(), place.said(&["events", "list", "--limit", "1"]));
    // The canteen is owed what it took, and somebody else has the money.
    let text = balances.to_string();
    assert!(text.contains("81786005") && text.contains("-81786005"), "{text}");
    let (code, second) = place.orders(&file, &mapping());
    assert_eq!(
        (code, &second["orders_imported"], &second["orders_unchanged"]),
        (0, &json!(0), &json!(21_350)),
        "{second}"
    );
    assert_eq!((&second["servings_published"], &second["dishes_put"]), (&json!(0), &json!(0)));
    assert_eq!(second["sales"], sales);
    assert_eq!(place.balances(), balances);
    assert_eq!(place.said(&["events", "list", "--limit", "1"]), head);
    assert!(place.run(&["verify"]).status.success());
}

#[test]
fn killed_in_the_middle_and_run_again_it_ends_with_the_same_books() {
    let text = slice(1_500);
    let unbroken = Place::new();
    let file = unbroken.file("till.csv", &text);
    let (code, whole) = unbroken.orders(&file, &mapping());
    assert_eq!((code, &whole["orders_imported"]), (0, &json!(1_500)), "{whole}");
    let events = unbroken.log().len();
    let place = Place::new();
    let file = place.file("till.csv", &text);
    place.kill_at(&[400_000, 1_200_000, 2_500_000, 4_000_000], &["import", "orders", &file, "--mapping", &mapping()]);
    let (code, rest) = place.orders(&file, &mapping());
    assert_eq!(code, 0, "{rest}");
    assert!(rest["orders_unchanged"].as_u64().unwrap() > 0, "{rest}");
    assert_eq!(rest["sales"], whole["sales"]);
    assert_eq!(place.balances(), unbroken.balances());
    // Not one event more or less: nothing was done twice.
    assert_eq!(place.log().len(), events);
    assert!(place.run(&["verify"]).status.success());
}

const TILL: &str = "\
canteen = \"Corner\"
currency = \"EUR\"
zone = \"Europe/Berlin\"
[columns]
order = \"no\"
time = { columns = [\"at\"], format = \"%d.%m.%Y %H:%M\" }
dish = \"dish\"
quantity = \"n\"
unit_price = \"each\"
currency = \"cur\"
";

const ROWS: &str = "\
no,at,dish,n,each,cur
1,01.03.2024 12:00,Soup,2,4.50,EUR
2,01.03.2024 12:05,Soup,1,4.50,EUR
2,01.03.2024 12:05,Curry,x,9.00,EUR
3,31.02.2024 12:10,Soup,1,4.50,EUR
4,01.03.2024 12:15,Soup,1,4.50,XYZ
5,01.03.2024 12:20,Soup,1,4.50
1,01.03.2024 12:00,Bread,1,1.20,EUR
6,31.03.2024 02:30,Soup,1,4.50,EUR
";

#[test]
fn a_bad_rows_order_is_left_out_whole_and_a_corrected_file_brings_it() {
    let place = Place::new();
    let (mapping, file) = (place.file("till.toml", TILL), place.file("till.csv", ROWS));
    let (code, report) = place.import(&["orders", &file, "--mapping", &mapping, "--strict"]);
    assert_eq!((code, &report["refused"], &report["orders_imported"]), (1, &json!(true), &json!(0)), "{report}");
    assert_eq!(place.log(), [] as [&str; 0], "--strict imports nothing");
    let (code, report) = place.orders(&file, &mapping);
    assert_eq!((code, &report["orders_imported"], &report["bad_rows"]), (1, &json!(2), &json!(4)), "{report}");
    assert_eq!(report["left_out"], json!(["2", "3", "4", "5"]));
    let lines: Vec<_> = report["problems"].as_array().unwrap().iter().map(|bad| &bad["line"]).collect();
    assert_eq!(lines, [4, 5, 6, 7]);
    let reason = |index: usize| report["problems"][index]["reason"].as_str().unwrap().to_owned();
    assert!(reason(0).starts_with("quantity: \"x\""), "{report}");
    assert!(reason(1).contains("31.02.2024"), "{report}");
    assert!(reason(2).contains("\"XYZ\" is not a currency"), "{report}");
    assert!(reason(3).contains("the row has 5 fields, the header has 6"), "{report}");
    assert_eq!(report["sales"], json!({ "orders": 2, "units": 4, "takings_minor": 1_470 }));
    // That night 02:30 did not exist: the order stands at the first instant after the gap.
    assert!(place.log().iter().any(|event| event.contains("2024-03-31T01:00:00Z")));
    // The corrected file brings the rest, with a dish that the day did not have; 1 has changed.
    let corrected = ROWS
        .replace("Curry,x", "Curry,3")
        .replace("31.02", "01.03")
        .replace("XYZ", "EUR")
        .replace("12:20,Soup,1,4.50\n", "12:20,Soup,1,4.50,EUR\n")
        .replace("Bread,1,1.20", "Bread,1,9.99");
    let file = place.file("corrected.csv", corrected);
    let (code, report) = place.orders(&file, &mapping);
    assert_eq!((code, &report["orders_imported"], &report["orders_unchanged"]), (1, &json!(4), &json!(1)), "{report}");
    assert_eq!(report["not_booked"][0]["order"], "1", "{report}");
    assert_eq!(report["sales"], json!({ "orders": 6, "units": 11, "takings_minor": 1_470 + 4 * 450 + 3 * 900 }));
    let (log, again) = (place.log(), place.orders(&file, &mapping).1);
    assert_eq!((&again["orders_imported"], &again["orders_unchanged"]), (&json!(0), &json!(5)), "{again}");
    assert_eq!(place.log(), log);
    assert!(place.run(&["verify"]).status.success());
}

#[test]
fn what_is_wrong_with_the_whole_file_or_its_mapping_changes_nothing() {
    let place = Place::new();
    let (mapping, file) = (place.file("till.toml", TILL), place.file("till.csv", ROWS));
    let wrong = place.file("wrong.toml", TILL.replace("zone", "zonne"));
    let other = place.file("other.csv", ROWS.replace("each", "price"));
    let packed = place.file("till.csv.gz", "this is no gzip");
    for (file, mapping, why) in [
        (&file, &wrong, "unknown field `zonne`"),
        (&other, &mapping, "no column \\\"each\\\""),
        (&packed, &mapping, "invalid gzip header"),
        (&"absent.csv".to_owned(), &mapping, "cannot be opened"),
    ] {
        let (code, said) = place.orders(file, mapping);
        assert_eq!(code, 2, "{said}");
        assert!(said.to_string().contains(why), "{said}");
    }
    // Another currency than the canteen's own.
    let (code, _) = place.orders(&file, &mapping);
    assert_eq!(code, 1);
    let log = place.log();
    let dollars = place.file("dollars.toml", TILL.replace("EUR", "USD"));
    let (code, said) =
        place.orders(&place.file("dollars.csv", "no,at,dish,n,each,cur\n9,01.03.2024 12:00,Soup,1,1,USD\n"), &dollars);
    assert_eq!(code, 2, "{said}");
    assert!(said.to_string().contains("sells in EUR, not in USD"), "{said}");
    assert_eq!(place.log(), log);
}

#[test]
fn dishes_open_a_canteen_and_change_only_what_differs() {
    let place = Place::new();
    let file = place
        .file("dishes.csv", "name,category,price,currency\n麻婆豆腐,vegetable_dish,12.50,CNY\n米饭,staple,2,CNY\n");
    let terms = ["--canteen", "North", "--currency", "CNY", "--zone", "Asia/Shanghai"];
    let dishes = |file: &str, terms: &[&str]| place.import(&[&["dishes", file], terms].concat());
    let (code, said) = dishes(&file, &["--canteen", "North"]);
    assert_eq!((code, said.to_string().contains("--currency CODE and --zone ZONE open it")), (2, true), "{said}");
    let (code, report) = dishes(&file, &terms);
    assert_eq!((code, &report["dishes_put"]), (0, &json!(2)), "{report}");
    let log = place.log();
    let (code, report) = dishes(&file, &["--canteen", "North"]);
    assert_eq!((code, &report["dishes_put"], &report["dishes_unchanged"]), (0, &json!(0), &json!(2)), "{report}");
    assert_eq!(place.log(), log);
    // A price goes up and comes down again; a bad row is left out.
    for (price, bad) in [("3", 0), ("2", 1)] {
        let rows = format!("name,category,price\n米饭,staple,{price}\n{}", "汤,soup,-1\n".repeat(bad));
        let (code, report) = dishes(&place.file("more.csv", rows), &["--canteen", "North"]);
        assert_eq!(
            (code, &report["dishes_put"], &report["bad_rows"]),
            (bad as i32, &json!(1), &json!(bad)),
            "{report}"
        );
    }
    assert_eq!(place.log().len(), log.len() + 2);
    let (code, report) = dishes(
        &place.file("bad.csv", "name,category,price\n茶,drink,1\n汤,soup,-1\n"),
        &["--canteen", "North", "--strict"],
    );
    assert_eq!((code, &report["refused"], &report["dishes_put"]), (1, &json!(true), &json!(0)), "{report}");
    assert_eq!(place.log().len(), log.len() + 2);
}
