//! Closing the books, and what finance takes out of them.

use std::path::Path;

use calamine::{Data, Range, Reader, Xlsx, open_workbook};
use serde_json::{Value, json};

use crate::support::{Place, TENANT, graphql, stderr};

/// What the program refuses, with its code.
fn refused(place: &Place, arguments: &[&str], code: &str) -> String {
    let output = place.run(&[arguments, &["--json"]].concat());
    let said = stderr(&output);
    let error: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!((output.status.code(), &error["error"]["code"]), (Some(1), &json!(code)), "{arguments:?}: {said}");
    error["error"]["message"].as_str().expect("a message").to_owned()
}

fn close(place: &Place, through: &str) -> Value {
    place.json(&["periods", "close", "--through", through])
}

fn open(place: &Place) {
    let opened = place.json(&["periods", "open", "--zone", "Asia/Shanghai", "--tenant", TENANT]);
    assert_eq!((&opened["changed"], &opened["zone"]), (&json!(true), &json!("Asia/Shanghai")));
}

fn head(place: &Place) -> u64 {
    place.json(&["projections", "list"])["head"].as_u64().expect("a head")
}

/// Periods are closed, reopened and refused, by whoever holds the folder.
fn a_quarter(place: &Place) {
    assert_eq!(place.json(&["periods", "list"])["zone"], Value::Null);
    assert!(place.succeed(&["periods", "list"]).contains("told in UTC"));
    refused(place, &["periods", "close", "--through", "2026-02-28"], "BOOKS_NOT_OPEN");
    open(place);
    refused(place, &["periods", "open", "--zone", "Europe/Berlin"], "BOOKS_ALREADY_OPEN");
    refused(place, &["periods", "open", "--zone", "Mars/Olympus"], "UNKNOWN_ZONE");

    assert_eq!(close(place, "2026-02-28")["changed"], true);
    assert!(place.succeed(&["periods", "close", "--through", "2026-03-31"]).contains("closed through 2026-03-31"));
    let again = close(place, "2026-03-31");
    assert_eq!((&again["changed"], &again["closed_through"]), (&json!(false), &json!("2026-03-31")));
    let message = refused(place, &["periods", "close", "--through", "2026-03-15"], "OUT_OF_ORDER");
    assert!(message.contains("closed through 2026-03-31 already"), "{message}");
    refused(place, &["periods", "close", "--through", "9999-01-01"], "NOT_YET");
    refused(place, &["periods", "close", "--through", "1969-12-31"], "TOO_EARLY");
    let bare = place.run(&["periods", "reopen", "--from", "2026-03-01"]);
    assert!(bare.status.code() == Some(2) && stderr(&bare).contains("--reason"), "{}", stderr(&bare));

    let by = "00000000-0000-0000-0000-0000000000aa";
    let reopen = ["periods", "reopen", "--from", "2026-03-31", "--reason", "late-invoice", "--by", by];
    assert!(place.succeed(&reopen).contains("open again from 2026-03-01 on"));
    assert!(place.succeed(&reopen).contains("nothing was changed"));
    assert_eq!(close(place, "2026-03-31")["changed"], true);
    let list = place.json(&["periods", "list"]);
    let shown: Vec<Value> = list["periods"]
        .as_array()
        .expect("periods")
        .iter()
        .map(|period| {
            json!([period["number"], period["from"], period["through"], period["reason"], period["reopened_by"]])
        })
        .collect();
    let expected = [
        json!([3, "2026-03-01", "2026-03-31", null, null]),
        json!([2, "2026-03-01", "2026-03-31", "late_invoice", by]),
        json!([1, null, "2026-02-28", null, null]),
    ];
    assert_eq!((shown, &list["closed_through"]), (expected.to_vec(), &json!("2026-03-31")));
    let table = place.succeed(&["periods", "list"]);
    assert!(table.contains("open again since") && table.contains("closed through 2026-03-31, told in Asia/Shanghai"));
}

#[test]
fn periods_close_in_order_and_open_again_for_a_reason() {
    let place = Place::with_history(2);
    a_quarter(&place);
    assert_eq!(place.json(&["verify"])["same"], true);
}

#[test]
fn a_server_closes_the_books_that_it_holds() {
    let place = Place::with_history(2);
    let server = place.serve();
    a_quarter(&place);
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0), "{}", place.log());
}

#[test]
fn orders_of_a_closed_period_are_not_imported_and_change_nothing() {
    let place = Place::with_history(3);
    open(&place);
    close(&place, "2026-03-31");
    let before = head(&place);
    // Two orders are known; the fourth and fifth come too late. Everything is dated 2026-03-02.
    let output = place.run(&[place.import_of(5), vec!["--json".to_owned()]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!((&report["orders_imported"], &report["orders_unchanged"]), (&json!(0), &json!(3)));
    let refused = json!({
        "order": "4", "line": 8, "code": "PERIOD_CLOSED",
        "reason": "2026-03-02 lies in a closed period (everything up to 2026-03-31)",
    });
    assert_eq!((&report["orders_not_booked"], &report["not_booked"][0]), (&json!(2), &refused));
    assert_eq!(head(&place), before);
    let strict = place.run(&[place.import_of(5), vec!["--strict".to_owned()]].concat());
    assert_eq!((strict.status.code(), head(&place)), (Some(1), before));
    // What is known already is no change, however late.
    assert_eq!(place.json(&place.import_of(3))["orders_unchanged"], 3);

    place.succeed(&["periods", "reopen", "--from", "2026-03-02", "--reason", "correction"]);
    assert_eq!(place.json(&place.import_of(5))["orders_imported"], 2);
    assert_eq!(place.json(&["journal", "--limit", "100"])["entries"][0]["late"], false);
}

#[test]
fn a_file_that_is_closed_as_a_whole_opens_no_canteen() {
    let place = Place::new();
    open(&place);
    close(&place, "2026-03-31");
    let before = head(&place);
    let output = place.run(&place.import_of(2));
    assert_eq!((output.status.code(), head(&place)), (Some(1), before), "{}", stderr(&output));
}

#[test]
fn what_comes_after_the_close_is_late_and_leaves_the_period_as_it_is() {
    let place = Place::with_history(2);
    let server = place.serve();
    open(&place);
    let zone = domain::bundled_zone("Asia/Shanghai").expect("a zone");
    let today = domain::Timestamp::from(jiff::Timestamp::now()).date_in(&zone);
    let (through, tomorrow) = (today.to_string(), today.tomorrow().expect("a day").to_string());
    close(&place, &through);
    let of_period = || place.json(&["trial-balance", "--to", &through, "--each"])["accounts"].clone();
    let before = of_period();
    let deposit = "mutation($key: UUID!) { deposit(idempotencyKey: $key,
        account: { kind: WALLET, owner: \"00000000-0000-0000-0000-000000000007\" },
        amount: { amount: \"5.00\", currency: \"CNY\" }) { consistencyToken } }";
    let key = json!({ "key": "018f4d0e-7c1a-7b3e-9a52-0242ac120002" });
    let done = graphql(server.address, &place.token("finance"), deposit, key).expect("an answer");
    assert_eq!(done["errors"], Value::Null, "{done}");
    let last = || place.json(&["journal", "--limit", "1"])["entries"][0].clone();
    // The views follow within moments.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while last()["event"] != "account.Deposited" {
        assert!(std::time::Instant::now() < deadline, "{}", last());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let last = last();
    assert_eq!((&last["late"], &last["booking_date"]), (&json!(true), &json!(tomorrow)), "{last}");
    assert_eq!(of_period(), before);
    let all = place.json(&["trial-balance", "--each"]);
    assert_eq!((&all["balanced"], all["accounts"].as_array().map(Vec::len)), (&json!(true), Some(5)), "{all}");
    let as_of = |day: &str| place.json(&["balances", "--account", "bank", "--as-of", day])["balances"].clone();
    assert_eq!(as_of(&through), json!([]));
    assert_eq!(place.json(&["trial-balance", "--as-of", &through])["books"][0]["accounts"], 3);
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0), "{}", place.log());
}

fn sheet(path: &Path, name: &str) -> Range<Data> {
    let mut workbook: Xlsx<_> = open_workbook(path).expect("a workbook");
    workbook.worksheet_range(name).unwrap_or_else(|error| panic!("{error}: {:?}", workbook.sheet_names()))
}

fn texts(range: &Range<Data>, row: usize) -> Vec<String> {
    range.rows().nth(row).expect("a row").iter().map(ToString::to_string).collect()
}

/// A file of its own, and the arguments that write it.
fn file(place: &Place, name: &str) -> (std::path::PathBuf, Vec<String>) {
    let path = place.path().join(name);
    let flag = if name.ends_with(".csv") { "--csv" } else { "--xlsx" };
    (path.clone(), vec![flag.to_owned(), path.display().to_string()])
}

fn with(arguments: &[&str], more: &[String]) -> Vec<String> {
    arguments.iter().map(|argument| (*argument).to_owned()).chain(more.iter().cloned()).collect()
}

#[test]
fn a_statement_runs_from_its_opening_to_its_closing_balance() {
    let place = Place::with_history(3);
    open(&place);
    let canteen = place.json(&["balances", "--account", "canteen:"])["balances"][0]["account"].clone();
    let canteen = canteen.as_str().expect("an account");
    let statement = place.json(&["statement", canteen, "--from", "2026-03-01", "--to", "2026-03-31"]);
    let of = &statement["statements"][0];
    assert_eq!((&of["opening_minor"], &of["closing_minor"], &of["currency"]), (&json!(0), &json!(3750), &json!("CNY")));
    let lines: Vec<_> =
        of["lines"].as_array().expect("lines").iter().map(|line| line["balance_minor"].clone()).collect();
    assert_eq!(lines, [1250, 2500, 3750]);
    let later = place.json(&["statement", canteen, "--from", "2026-04-01"]);
    assert_eq!(
        (&later["statements"][0]["opening_minor"], &later["statements"][0]["lines"]),
        (&json!(3750), &json!([]))
    );
    let shown = place.succeed(&["statement", canteen, "--limit", "2"]);
    assert!(shown.contains("opening balance 0.00 CNY") && shown.contains("… and more"), "{shown}");
    assert!(shown.contains("Debits 0.00, credits 37.50, closing balance 37.50 CNY."), "{shown}");
    assert!(place.succeed(&["statement", "suspense"]).contains("Nothing had been booked"));
    let backwards = place.run(&["statement", canteen, "--from", "2026-04-01", "--to", "2026-03-01"]);
    assert_eq!(backwards.status.code(), Some(2));

    let ((csv, csv_args), (xlsx, xlsx_args)) = (file(&place, "statement.csv"), file(&place, "statement.xlsx"));
    let written = place.json(&with(&["statement", canteen, "--from", "2026-03-01"], &[csv_args, xlsx_args].concat()));
    assert_eq!(written["rows_written"], 4);
    let text = std::fs::read_to_string(csv).expect("a file");
    let mut lines = text.lines();
    assert_eq!(lines.next().map(|line| line.starts_with("booked on,late,occurred at,event,debit")), Some(true));
    assert_eq!(lines.next(), Some("2026-03-01,,,balance carried forward,,,0.00,CNY,,,,"));
    let first = lines.next().expect("a line");
    // Orders of one day are booked as they come, which need not be in the order of their times.
    let minute = of["lines"][0]["occurred_at"].as_str().map(|at| at[14..16].to_owned()).expect("a time");
    let expected = format!("2026-03-02,false,2026-03-02T12:{minute}:00+08:00,order.PickedUp,,12.50,12.50,CNY,");
    assert!(first.starts_with(&expected), "{first}");

    let range = sheet(&xlsx, "statement CNY");
    assert_eq!(texts(&range, 0)[2], "occurred at (Asia/Shanghai)");
    let row = range.rows().nth(2).expect("a row");
    let Data::DateTime(at) = &row[2] else { panic!("{row:?}") };
    assert_eq!(at.to_ymd_hms_milli(), (2026, 3, 2, 12, minute.parse().expect("a minute"), 0, 0));
    assert_eq!((&row[4], &row[5], &row[6]), (&Data::Empty, &Data::Float(12.5), &Data::Float(12.5)));
    assert_eq!(range.height(), 5);
}

#[test]
fn the_journal_and_the_trial_balance_go_into_files() {
    let place = Place::with_history(60);
    let entries = place.json(&["journal", "--limit", "1000000"]);
    let count = entries["entries"].as_array().map(Vec::len).expect("entries");
    let ((csv, csv_args), (xlsx, xlsx_args)) = (file(&place, "journal.csv"), file(&place, "journal.xlsx"));
    let files = [csv_args, xlsx_args].concat();
    // A file has all of them, not those that a screen has room for.
    assert_eq!(place.json(&with(&["journal"], &files))["rows_written"], count);
    let range = sheet(&xlsx, "journal");
    assert_eq!((range.height(), texts(&range, 0).len()), (count + 1, 12));
    let sum = |column: usize| -> f64 {
        range
            .rows()
            .skip(1)
            .filter_map(|row| if let Data::Float(number) = row[column] { Some(number) } else { None })
            .sum()
    };
    assert!(sum(8) > 0.0 && (sum(8) - sum(9)).abs() < 1e-6, "debits and credits are numbers");
    let mut reader = csv::Reader::from_path(csv).expect("a file");
    let records: Vec<csv::StringRecord> = reader.records().map(|record| record.expect("a record")).collect();
    let days: Vec<&str> = records.iter().map(|record| &record[2]).collect();
    assert!(records.len() == count && days.is_sorted(), "{days:?}");
    let of_days = place.json(&["journal", "--from", "2026-03-02", "--to", "2026-03-02", "--limit", "3"]);
    let positions: Vec<_> = of_days["entries"].as_array().expect("entries").iter().map(|it| &it["position"]).collect();
    assert_eq!(
        positions.iter().map(|it| it.to_string()).collect::<Vec<_>>(),
        records[..3].iter().map(|it| it[0].to_owned()).collect::<Vec<_>>()
    );
    assert_eq!(place.json(&["journal", "--from", "2026-03-03"])["entries"], json!([]));
    assert_eq!(place.run(&["journal", "--from", "2026-03-03", "--as-of", "5"]).status.code(), Some(2));

    let ((csv, csv_args), (xlsx, xlsx_args)) = (file(&place, "balance.csv"), file(&place, "balance.xlsx"));
    let files = [csv_args, xlsx_args].concat();
    let written = place.json(&with(&["trial-balance", "--from", "2026-03-01", "--to", "2026-03-31"], &files));
    assert_eq!((&written["rows_written"], &written["balanced"]), (&json!(3), &json!(true)), "{written}");
    let range = sheet(&xlsx, "trial balance CNY");
    let row = |name: &str| {
        let found = range.rows().find(|row| row[0].to_string().starts_with(name));
        found.unwrap_or_else(|| panic!("no {name}"))[2..].to_vec()
    };
    assert_eq!(row("canteen:"), [0.0, 0.0, 750.0, 750.0].map(Data::Float));
    assert_eq!(row("prepaid"), [0.0, 750.0, 750.0, 0.0].map(Data::Float));
    assert_eq!(row("clearing:elsewhere"), [0.0, 750.0, 0.0, -750.0].map(Data::Float));
    let text = std::fs::read_to_string(csv).expect("a file");
    assert!(text.contains("clearing:elsewhere,CNY,0.00,750.00,0.00,-750.00\n"), "{text}");
    let payables = place.json(&["trial-balance", "--account", "canteen:", "--from", "2026-04-01"]);
    let canteen = &payables["accounts"][0];
    assert_eq!((&canteen["opening_minor"], &canteen["closing_minor"]), (&json!(75_000), &json!(75_000)));
    assert_eq!((&payables["balanced"], &canteen["credits_minor"]), (&Value::Null, &json!(0)));
    let shown = place.succeed(&["trial-balance", "--from", "2026-03-01", "--to", "2026-03-31"]);
    assert!(shown.contains("from 2026-03-01 through 2026-03-31") && shown.contains("The books balance."), "{shown}");
    assert_eq!(place.run(&["trial-balance", "--each", "--as-of", "5"]).status.code(), Some(2));
}
