//! What companies grant, from the command line.

use std::fs;

use jiff::civil::Date;
use serde_json::{Value, json};

use crate::support::{Place, TENANT, stderr};

const COMPANY: &str = "00000000-0000-7000-8000-0000000000c1";
const KEY: &str = "00000000-0000-7000-8000-0000000000f1";

fn diner(number: u32) -> String {
    format!("00000000-0000-7000-8000-00000000d{number:03}")
}

/// Twenty yuan for every day, cleared at its end.
const TERMS: &str = "amount = { minor = 2000, currency = 'CNY' }\nper = 'day'\nclearing = 'daily'\nmeals = ['lunch']\n\
                     order_limit = { minor = 1500, currency = 'CNY' }\n[calendar]\nweekdays = [1, 2, 3, 4, 5, 6, 7]\n";

fn written(place: &Place, name: &str, text: &str) -> String {
    let file = place.path().join(name);
    fs::write(&file, text).expect("a file");
    file.display().to_string()
}

/// A company with a hundred yuan, three diners, and a policy.
fn company(place: &Place) -> String {
    let on = |arguments: &[&str]| place.json(&[&["subsidies", "--tenant", TENANT], arguments].concat());
    for _ in 0..2 {
        on(&["fund", COMPANY, "100.00 CNY", "--key", KEY]);
    }
    let rows: String = (1..=3).map(|number| format!("{},2020-01-01,,\n", diner(number))).collect();
    let file = written(place, "diners.csv", &format!("diner,from,to,group\n{rows}"));
    assert_eq!(on(&["employ", COMPANY, &file])["changed"], 3);
    assert_eq!(on(&["employ", COMPANY, &file])["changed"], 0, "the same file again");
    let open = ["open", "--company", COMPANY, "--currency", "CNY", "--zone", "UTC"];
    let policy = on(&open)["policy"].as_str().expect("an id").to_owned();
    assert_eq!(on(&open)["policy"], policy.as_str(), "the same policy again");
    let terms = written(place, "terms.toml", TERMS);
    let set = ["set", policy.as_str(), "--from", "2020-01-01", "--terms", &terms];
    assert_eq!(on(&set)["changed"], true);
    assert_eq!(on(&set)["changed"], false, "the same terms again");
    policy
}

/// A test asks once, or it would go wrong at midnight.
fn today() -> Date {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    domain::Timestamp::from_seconds(now as i64).date_in(&jiff::tz::TimeZone::UTC)
}

fn after(date: Date, days: i64) -> String {
    date.checked_add(jiff::Span::new().days(days)).expect("a date").to_string()
}

fn grant(place: &Place, policy: &str, date: Date) -> Value {
    let date = date.to_string();
    place.json(&["subsidies", "--tenant", TENANT, "grant", policy, "--from", &date, "--to", &date])
}

#[test]
fn lots_are_granted_once_with_or_without_a_server() {
    let place = Place::new();
    let policy = company(&place);
    let today = today();
    let granted = grant(&place, &policy, today);
    assert_eq!((&granted["diners"], &granted["granted_minor"]), (&json!(3), &json!(6_000)), "{granted}");
    let server = place.serve();
    assert_eq!(grant(&place, &policy, today)["diners"], 0, "by the server: nobody lacks anything");
    let lots = place.json(&["subsidies", "lots", &diner(2)]);
    let lot = &lots["lots"][0];
    let first = json!(today.to_string());
    assert_eq!((&lot["left_minor"], &lot["expired"], &lot["first"]), (&json!(2_000), &json!(false), &first));
    let runs = place.json(&["subsidies", "runs"]);
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "{runs}");
    assert_eq!((&runs["runs"][0]["finished"], &runs["runs"][0]["batches"]), (&json!(true), &json!(1)));
    assert_eq!(place.json(&["subsidies", "use"])["policies"][0]["granted_minor"], 6_000);
    let funds = place.json(&["balances", "--account", "company:"]);
    assert_eq!(funds["balances"][0]["balance_minor"], 4_000, "{funds}");
    // What is not there is not granted, and says so.
    let (from, to) = (after(today, 1), after(today, 5));
    let short = place.run(&["subsidies", "--tenant", TENANT, "grant", &policy, "--from", &from, "--to", &to]);
    let said = stderr(&short);
    assert_eq!(short.status.code(), Some(2), "{said}");
    assert!(said.contains("300.00 CNY are to be granted to 3 diners, and the company lacks 260.00 CNY"), "{said}");
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0));
    assert_eq!(place.json(&["verify"])["same"], true);
    assert_eq!(place.json(&["trial-balance"])["balanced"], true);
}

#[test]
fn a_standing_order_grants_by_itself_and_says_what_it_waits_for() {
    let place = Place::new();
    let policy = company(&place);
    let standing = |more: &[&str]| {
        place.json(&[&["subsidies", "--tenant", TENANT, "standing", "--policy", &policy], more].concat())
    };
    assert_eq!(standing(&["--ahead", "1"])["changed"], true);
    assert_eq!(standing(&["--ahead", "1"])["changed"], false);
    let listed = || place.json(&["subsidies", "list"])["policies"][0].clone();
    assert_eq!(listed()["ahead_days"], 1);
    let (server, today) = (place.serve(), today());
    // A hundred yuan are enough for today and not for tomorrow.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while listed()["short_minor"].is_null() {
        assert!(std::time::Instant::now() < deadline, "{}", listed());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let row = listed();
    assert_eq!(
        (&row["needed_minor"], &row["short_minor"], &row["waits_for"]),
        (&json!(6_000), &json!(2_000), &json!(after(today, 1)))
    );
    let runs = place.json(&["subsidies", "runs"]);
    assert_eq!((&runs["runs"][0]["run"], &runs["runs"][0]["granted_minor"]), (&row["last_run"], &json!(6_000)));
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1));
    assert_eq!(standing(&["--off"])["changed"], true);
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0));
    assert_eq!((&listed()["ahead_days"], &listed()["waits_for"]), (&Value::Null, &Value::Null));
    assert_eq!(place.json(&["verify"])["same"], true);
}

#[test]
fn what_is_wrong_is_named_and_changes_nothing() {
    let place = Place::new();
    let policy = company(&place);
    let head = place.json(&["trial-balance"])["position"].clone();
    let refused = |arguments: &[&str], says: &str| {
        let output = place.run(&[&["subsidies", "--tenant", TENANT], arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    };
    let set = |text: &str, says: &str| {
        let file = written(&place, "bad.toml", text);
        refused(&["set", &policy, "--from", "2030-01-01", "--terms", &file], says);
    };
    set(&TERMS.replace("2000", "-2000"), "amount cannot be so");
    set(&TERMS.replace("2000, currency = 'CNY'", "2000, currency = 'USD'"), "the policy is in CNY");
    set(&TERMS.replace("order_limit", "order_limits"), "\"order_limits\" is not a term of a policy");
    set(&TERMS.replace("'day'", "'decade'"), "unknown variant `decade`");
    set("amount = ", "bad.toml");
    let terms = written(&place, "terms.toml", &TERMS.replace("2000", "3000"));
    refused(&["set", &policy, "--from", "2020-01-01", "--terms", &terms], "version 1 already");
    refused(&["grant", &policy, "--from", "2026-01-02", "--to", "2026-01-01"], "are not 1 to 92 days");
    refused(&["grant", KEY, "--from", "2026-01-01", "--to", "2026-01-01"], "there is no such policy");
    refused(
        &["standing", "--policy", &policy, "--ahead", "32"],
        "ahead_days is 32; a standing order grants at most 31",
    );
    refused(&["standing", "--policy", &policy], "--ahead <DAYS>");
    refused(&["standing", "--policy", KEY, "--off"], "there is no such policy");
    refused(&["fund", COMPANY, "5.001 CNY", "--key", KEY], "decimal places");
    refused(&["fund", COMPANY, "5.00", "--key", KEY], "is not an amount");
    refused(&["fund", COMPANY, "0.00 CNY", "--key", COMPANY], "more than zero");
    assert_eq!(place.json(&["trial-balance"])["position"], head);
}

#[test]
fn bad_rows_of_employments_are_listed_and_good_ones_taken() {
    let place = Place::new();
    company(&place);
    let rows = format!(
        "diner,from,to\n{0},2020-01-01,2026-01-01\nx,2020-01-01,\n{1},soon,\n{0},2020-01-01,\n{2},2020-01-01\n",
        diner(1),
        diner(8),
        diner(9)
    );
    let file = written(&place, "bad.csv", &rows);
    let output = place.run(&["subsidies", "employ", COMPANY, &file, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["rows"], &report["changed"], &report["bad_rows"]), (&json!(5), &json!(1), &json!(4)));
    let lines: Vec<_> = report["bad"].as_array().expect("rows").iter().map(|row| row["line"].clone()).collect();
    assert_eq!(lines, [3, 4, 5, 6], "{report}");
}

#[test]
fn a_file_of_employments_puts_right_what_a_wrong_one_said() {
    let place = Place::new();
    let (one, other) = (COMPANY.replace("c1", "a1"), COMPANY.replace("c1", "a2"));
    let file = |name: &str, group: &str| {
        written(&place, name, &format!("diner,from,group\n{},2020-01-01,{group}\n", diner(1)))
    };
    let (right, wrong) = (file("right.csv", &one), file("wrong.csv", &other));
    let employ = ["subsidies", "--tenant", TENANT, "employ", COMPANY];
    let changed = |file: &str| place.json(&[&employ[..], &[file]].concat())["changed"].clone();
    for round in 0..2 {
        assert_eq!((changed(&right), changed(&right)), (json!(1), json!(0)), "round {round}");
        assert_eq!((changed(&wrong), changed(&wrong)), (json!(1), json!(0)), "round {round}");
    }
    assert_eq!(changed(&right), 1);
    let shown = place.succeed(&["aggregate", "show", "diner", &diner(1)]);
    assert!(shown.contains(&one) && !shown.contains(&other), "{shown}");
}

#[test]
fn diners_who_have_as_many_lots_as_an_account_keeps_are_skipped_and_said() {
    let place = Place::new();
    company(&place);
    let terms = TERMS.replace("2000", "1").replace("per = 'day'", "per = 'meal'");
    let terms = terms.replace("['lunch']", "['breakfast', 'lunch', 'dinner', 'snack']");
    let file = written(&place, "meals.toml", &terms);
    let policy = |key: &str| {
        let open = ["subsidies", "open", "--company", COMPANY, "--currency", "CNY", "--zone", key];
        let policy = place.json(&open)["policy"].as_str().expect("an id").to_owned();
        place.json(&["subsidies", "set", &policy, "--from", "2020-01-01", "--terms", &file]);
        policy
    };
    let today = today();
    let grant = |policy: &str, json: &[&str]| {
        let (from, to) = (after(today, 0), after(today, 91));
        let grant = ["subsidies", "grant", policy, "--from", &from, "--to", &to];
        place.run(&[&grant[..], json].concat())
    };
    // Four meals on 92 days, and then as many again.
    assert_eq!(grant(&policy("Asia/Tokyo"), &[]).status.code(), Some(0));
    let second = policy("Asia/Singapore");
    let output = grant(&second, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &report["skipped"]), (Some(1), &json!(3)), "{report}");
    assert_eq!(place.json(&["subsidies", "runs"])["runs"][0]["skipped"], 3);
    assert!(place.succeed(&["subsidies", "runs"]).contains("finished, 3 skipped"));
    let output = grant(&second, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 of them did not get all of it"), "{output:?}");
    // Terms by which one policy could come to that are refused.
    let file = written(&place, "many.toml", &terms.replace("'daily'", "'monthly'"));
    let refused = place.run(&["subsidies", "set", &second, "--from", "2030-01-01", "--terms", &file]);
    assert_ne!(refused.status.code(), Some(0));
    assert!(stderr(&refused).contains("492 lots"), "{}", stderr(&refused));
}
