//! Corrections, top-ups and payouts from the command line.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Place, TENANT, stderr};

const ONE: &str = "00000000-0000-7000-8000-0000000000a1";
const OTHER: &str = "00000000-0000-7000-8000-0000000000a2";

fn wallet(number: u32) -> String {
    format!("wallet:00000000-0000-7000-8000-00000000d{number:03}")
}

fn key(number: u32) -> String {
    format!("00000000-0000-7000-8000-00000000e{number:03}")
}

fn canteen() -> String {
    "canteen:00000000-0000-7000-8000-0000000000b1".to_owned()
}

fn written(place: &Place, name: &str, text: &str) -> String {
    let file = place.path().join(name);
    fs::write(&file, text).expect("a file");
    file.display().to_string()
}

/// On the tenant's money, as the first of finance.
fn on(place: &Place, arguments: &[&str]) -> Value {
    place.json(&[arguments, &["--tenant", TENANT, "--actor", ONE]].concat())
}

/// What the program refuses, with its code.
fn refused(place: &Place, arguments: &[&str], code: &str) -> String {
    let output = place.run(&[arguments, &["--json"]].concat());
    let said = stderr(&output);
    let error: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!((output.status.code(), &error["error"]["code"]), (Some(1), &json!(code)), "{arguments:?}: {said}");
    error["error"]["message"].as_str().expect("a message").to_owned()
}

fn head(place: &Place) -> u64 {
    place.json(&["projections", "list"])["head"].as_u64().expect("a head")
}

/// Two wallets with twenty yuan each.
fn funded(place: &Place) {
    for (number, source) in [(1, "bank"), (2, "counter")] {
        for _ in 0..2 {
            let done = on(
                place,
                &["accounts", "top-up", &wallet(number), "20.00 CNY", "--key", &key(number), "--source", source],
            );
            assert_eq!((&done["status"], &done["amount_minor"]), (&json!("credited"), &json!(2_000)));
        }
    }
}

fn file(place: &Place) -> String {
    let rows = format!(
        "account,amount,currency,reason,to,reference\n{},-25.00,CNY,correction,,FIN-1\n{},5.00,CNY,goodwill,,\n\
         suspense,12.00,CNY,reconciliation,{},FIN-2\n",
        wallet(1),
        wallet(2),
        canteen()
    );
    written(place, "fix.csv", &rows)
}

fn balance(place: &Place, account: &str) -> i64 {
    place.json(&["balances", "--account", account, "--each"])["balances"][0]["balance_minor"]
        .as_i64()
        .unwrap_or_default()
}

/// One proposes, another applies, whoever holds the folder.
fn corrected(place: &Place) {
    funded(place);
    let file = file(place);
    let before = head(place);
    let dry = place.json(&["fix", "propose", &file, "--dry-run", "--tenant", TENANT]);
    let account = &dry["changes"]["accounts"][0];
    assert_eq!((&account["available_before_minor"], &account["available_after_minor"]), (&json!(2_000), &json!(-500)));
    assert_eq!((&account["below_floor"], &dry["changes"]["below_floor"]), (&json!(true), &json!(1)));
    assert_eq!(head(place), before, "a dry run appends nothing");

    let proposed = on(place, &["fix", "propose", &file]);
    let id = proposed["correction"].as_str().expect("an id").to_owned();
    assert_eq!((&proposed["status"], &proposed["changes"]), (&json!("proposed"), &dry["changes"]));
    let one = head(place);
    assert_eq!(one, before + 1);
    // The same again, also by somebody else and with another kind of line ends, is the same.
    assert_eq!(on(place, &["fix", "propose", &file])["correction"], json!(id));
    let text = fs::read_to_string(&file).expect("the file").replace('\n', "\r\n");
    let again = written(place, "again.csv", &text);
    let theirs = place.json(&["fix", "propose", &again, "--tenant", TENANT, "--actor", OTHER]);
    assert_eq!((&theirs["correction"], &theirs["proposed_by"]), (&json!(id), &json!(ONE)));
    let message = refused(place, &["fix", "apply", &id, "--actor", ONE], "SECOND_PERSON");
    assert!(message.contains("a second person has to"), "{message}");
    assert_eq!(head(place), one);
    let shown = place.json(&["fix", "show", &id]);
    assert_eq!((&shown["changes"], &shown["entry_list"][2]["reference"]), (&dry["changes"], &json!("FIN-2")));
    assert_eq!(place.json(&["fix", "list", "--open"])["corrections"][0]["correction"], json!(id));

    let applied = place.json(&["fix", "apply", &id, "--actor", OTHER]);
    assert_eq!((&applied["status"], &applied["changes"]), (&json!("settled"), &dry["changes"]));
    assert_eq!(place.json(&["fix", "apply", &id, "--actor", OTHER])["status"], "settled");
    // What was shown is what was done.
    for account in dry["changes"]["accounts"].as_array().expect("accounts") {
        let after = balance(place, account["account"].as_str().expect("a name"));
        assert_eq!(account["posted_after_minor"], json!(after));
    }
    for account in dry["changes"]["ledger"].as_array().expect("accounts") {
        let after = balance(place, account["account"].as_str().expect("a name"));
        assert_eq!(account["after_minor"], json!(after), "{account}");
    }
    assert_eq!(place.json(&["fix", "list", "--open"])["corrections"], json!([]));
    assert_eq!(place.json(&["trial-balance"])["balanced"], true);
    refused(place, &["fix", "reject", &id, "--actor", OTHER], "OUT_OF_TURN");
    let statement = place.succeed(&["statement", &wallet(1)]);
    assert!(statement.contains("Top-up") && statement.contains("Correction"), "{statement}");
}

#[test]
fn one_proposes_a_correction_and_another_applies_it() {
    let place = Place::new();
    corrected(&place);
    assert_eq!(place.json(&["verify"])["same"], true);
    // The program that shares no code with this one comes to the same books.
    let export = written(&place, "export.jsonl", &place.succeed(&["events", "export"]));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/recompute.py");
    let output = std::process::Command::new("python3").arg(script).args([&export, "--finished"]).output();
    let output = output.expect("python3");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{said}");
    let books = &said["balances"][TENANT];
    assert_eq!((&books[wallet(1)]["CNY"], &books[canteen()]["CNY"]), (&json!(-500), &json!(1_200)), "{books}");
}

#[test]
fn a_server_corrects_the_books_that_it_holds() {
    let place = Place::new();
    let server = place.serve();
    corrected(&place);
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0), "{}", place.log());
    assert_eq!(place.json(&["verify"])["same"], true);
}

#[test]
fn a_wrong_file_is_named_by_line_and_column_and_proposes_nothing() {
    let place = Place::new();
    funded(&place);
    let before = head(&place);
    let header = "account,amount,currency,reason\n";
    let told = |rows: &str, says: &str| {
        let file = written(&place, "bad.csv", rows);
        let output = place.run(&["fix", "propose", &file, "--tenant", TENANT, "--actor", ONE]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{rows}: {said}");
        assert!(said.contains(says), "{rows}: {said}");
    };
    let row = |rest: &str| format!("{header}{}{rest}\n", wallet(1));
    told(&row(",1.001,CNY,goodwill"), "line 2: amount: CNY has 2 decimal places");
    told(&row(",1,CNY,kindness"), "line 2: reason: \"kindness\" is not one of");
    told(&format!("{header}{},1,CNY,goodwill\n{},1,CNY,goodwill\n", wallet(1), wallet(9)), "line 3: account:");
    told(&row(",1,USD,goodwill"), "line 2: account:");
    told("account,amount\n", "no column \"currency\"");
    told(header, "no rows");
    let missing = place.run(&["fix", "propose", "nothing.csv", "--tenant", TENANT, "--actor", ONE]);
    assert_eq!(missing.status.code(), Some(2));
    let nobody = place.run(&["fix", "propose", &file(&place), "--tenant", TENANT]);
    assert_eq!(nobody.status.code(), Some(2), "{}", stderr(&nobody));
    refused(&place, &["fix", "apply", &key(1), "--actor", OTHER], "UNKNOWN_CORRECTION");
    assert_eq!(head(&place), before);
}

#[test]
fn what_is_dated_into_a_closed_period_is_refused() {
    let place = Place::new();
    funded(&place);
    place.json(&["periods", "open", "--zone", "Asia/Shanghai", "--tenant", TENANT]);
    place.json(&["periods", "close", "--through", "2026-02-28"]);
    let (file, before) = (file(&place), head(&place));
    let propose = |on: &str| [["fix", "propose", &file, "--actor", ONE, "--on", on].map(str::to_owned)].concat();
    let closed = propose("2026-02-28");
    refused(&place, &closed.iter().map(String::as_str).collect::<Vec<_>>(), "PERIOD_CLOSED");
    let future = propose("9999-01-01");
    refused(&place, &future.iter().map(String::as_str).collect::<Vec<_>>(), "NOT_YET");
    assert_eq!(head(&place), before);
    let id = place.json(&propose("2026-03-01"))["correction"].as_str().expect("an id").to_owned();
    place.json(&["fix", "apply", &id, "--actor", OTHER]);
    let entries = place.json(&["journal", "--limit", "100"])["entries"].clone();
    let dated = entries.as_array().expect("entries").iter().filter(|entry| entry["booking_date"] == "2026-03-01");
    assert_eq!(dated.count(), 6, "{entries}");
}

#[test]
fn money_is_paid_out_accounts_are_frozen_and_closed() {
    let place = Place::new();
    funded(&place);
    let asked = on(&place, &["accounts", "pay-out", &wallet(1), "15.00 CNY", "--key", &key(3)]);
    let payout = asked["payout"].as_str().expect("an id").to_owned();
    assert_eq!(asked["status"], "held");
    let by = ["--tenant", TENANT, "--actor", ONE];
    let refused = |arguments: &[&str], code| refused(&place, &[arguments, &by].concat(), code);
    refused(&["accounts", "pay-out", &wallet(1), "5.01 CNY", "--key", &key(4)], "INSUFFICIENT_FUNDS");
    assert_eq!(on(&place, &["accounts", "freeze", &wallet(1)])["status"], "frozen");
    refused(&["accounts", "pay-out", &wallet(1), "1.00 CNY", "--key", &key(4)], "ACCOUNT_FROZEN");
    assert_eq!(on(&place, &["accounts", "unfreeze", &wallet(1)])["status"], "open");
    let told = refused(&["accounts", "close", &wallet(1)], "ACCOUNT_NOT_EMPTY");
    assert!(told.contains("paid out first"), "{told}");
    assert_eq!(on(&place, &["accounts", "confirm", &payout])["status"], "paid_out");
    refused(&["accounts", "cancel", &payout], "PAYOUT_REFUSED");
    let rest = on(&place, &["accounts", "pay-out", &wallet(1), "5.00 CNY", "--key", &key(5)]);
    let rest = rest["payout"].as_str().expect("an id").to_owned();
    assert_eq!(on(&place, &["accounts", "cancel", &rest])["status"], "cancelled");
    let waits =
        on(&place, &["accounts", "adjust", &wallet(1), "-5.00 CNY", "--key", &key(6), "--reason", "correction"]);
    assert_eq!(waits["status"], "proposed", "no limit is set");
    place.json(&["periods", "open", "--zone", "UTC", "--tenant", TENANT]);
    assert_eq!(on(&place, &["fix", "limit", "5.00 CNY"])["changed"], true);
    assert_eq!(on(&place, &["fix", "limit", "5.00 CNY"])["changed"], false);
    let first = on(&place, &["accounts", "deduct-first", "wallet"]);
    assert_eq!((&first["order"], &first["changed"]), (&json!("wallet_first"), &json!(true)));
    let done = on(&place, &["accounts", "adjust", &wallet(1), "-5.00 CNY", "--key", &key(7), "--reason", "correction"]);
    assert_eq!(done["status"], "settled");
    assert_eq!(on(&place, &["accounts", "close", &wallet(1)])["status"], "closed");
    refused(&["accounts", "top-up", &wallet(1), "1.00 CNY", "--key", &key(8)], "ACCOUNT_CLOSED");
    let payouts = place.json(&["accounts", "payouts"])["payouts"].clone();
    let statuses: Vec<_> = payouts.as_array().expect("payouts").iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses, ["cancelled", "paid_out"]);
    assert_eq!(place.json(&["verify"])["same"], true);
}
