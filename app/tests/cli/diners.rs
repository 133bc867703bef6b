//! Diners as people, from the command line: nowhere in the clear, found, shown, and erased for good.

use std::{fs, path::Path};

use serde_json::{Value, json};
use testing::Postgres;

use crate::support::{Place, TENANT, graphql, stderr, stdout};

const COMPANY: &str = "00000000-0000-7000-8000-0000000000c1";
const KEY: &str = "00000000-0000-7000-8000-0000000000f1";
/// What must stand nowhere in the clear.
const SECRETS: [&str; 3] = ["Lovelace", "N-0042", "555-0199"];

fn diner(number: u32) -> String {
    format!("00000000-0000-7000-8000-00000000d{number:03}")
}

fn written(place: &Place, text: &str) -> String {
    let file = place.path().join("people.csv");
    fs::write(&file, text).expect("a file");
    file.display().to_string()
}

/// Ada, whom her employee number names, and Eve, who has a number too.
fn employed(place: &Place) -> Value {
    let file = written(
        place,
        &format!(
            "diner,from,to,name,employee_number,phone\n,2020-01-01,,Ada Lovelace,N-0042,555-0199\n\
             {},2020-01-01,2021-01-01,Eve Moneypenny,7,\n",
            diner(1)
        ),
    );
    let report = employ(place, &file);
    fs::remove_file(&file).expect("it was written");
    report
}

fn employ(place: &Place, file: &str) -> Value {
    place.json(&["subsidies", "--tenant", TENANT, "employ", COMPANY, file])
}

fn diners(place: &Place, arguments: &[&str]) -> Value {
    place.json(&[&["diners", "--tenant", TENANT], arguments].concat())
}

fn ada(place: &Place) -> String {
    let found = diners(place, &["find", "--company", COMPANY, "--employee-number", "N-0042"]);
    found["diner"].as_str().expect("she is found").to_owned()
}

/// Every file below `folder` that holds one of the texts.
fn holding(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(holding(&path, texts));
        } else if path.is_file() {
            let bytes = fs::read(&path).expect("a file");
            let holds = |text: &&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            found.extend(texts.iter().any(holds).then(|| path.display().to_string()));
        }
    }
    found
}

/// Lets a diner leave, who is named by her number.
fn leaves(place: &Place) {
    let file = written(place, "employee_number,from,to\nN-0042,2020-01-01,2021-01-01\n");
    employ(place, &file);
    fs::remove_file(&file).expect("it was written");
}

#[test]
fn a_name_stands_nowhere_in_the_clear() {
    let place = Place::new();
    let server = place.serve_with(&["--log", "trace"]);
    assert_eq!(employed(&place)["changed"], 2);
    assert_eq!(employed(&place)["changed"], 0, "the same file again");
    let ada = ada(&place);
    let token = place.token("finance");
    let query = "query($d: UUID!) { diner(diner: $d) { details name employeeNumber phone } }";
    let answer = graphql(server.address, &token, query, json!({ "d": ada })).expect("an answer");
    let known = json!({ "details": "KNOWN", "name": "Ada Lovelace", "employeeNumber": "N-0042", "phone": "555-0199" });
    assert_eq!(answer["data"]["diner"], known, "{answer}");
    let wrong = "mutation($d: UUID!, $k: UUID!) {
        setDinerDetails(diner: $d, name: \"Ada Lovelace\", phone: \"N-0042\", idempotencyKey: $k) { diner } }";
    let answer = graphql(server.address, &token, wrong, json!({ "d": ada, "k": KEY })).expect("an answer");
    assert_eq!(answer["errors"][0]["extensions"]["field"], "phone");
    assert!(!answer.to_string().contains("Lovelace") && !answer.to_string().contains("N-0042"), "{answer}");
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0));
    let export = place.path().join("export.jsonl");
    place.succeed(&["events", "export", &export.display().to_string()]);
    assert!(fs::read_to_string(&export).expect("an export").contains("DetailsSet"));
    assert!(place.log().contains("serving"), "the server has logged something");
    // Log, views, keys, export and the server's log.
    assert_eq!(holding(place.path(), &SECRETS), Vec::<String>::new());
    let shown = [vec!["events", "list"], vec!["aggregate", "show", "diner", &ada]].map(|show| {
        let output = place.run(&show);
        stdout(&output) + &stderr(&output)
    });
    assert!(shown.iter().all(|text| !SECRETS.iter().any(|secret| text.contains(secret))), "{shown:?}");
    assert_eq!(diners(&place, &["show", &ada])["name"], "Ada Lovelace");
}

#[test]
fn an_erased_diner_is_gone_after_every_rebuild_and_the_books_are_as_before() {
    let place = Place::new();
    employed(&place);
    let ada = ada(&place);
    place.json(&["subsidies", "--tenant", TENANT, "fund", COMPANY, "100.00 CNY", "--key", KEY]);
    let head = place.json(&["trial-balance"])["position"].clone();
    let early = place.run(&["diners", "--tenant", TENANT, "erase", &ada]);
    assert_eq!(early.status.code(), Some(2), "{}", stderr(&early));
    assert!(stderr(&early).contains("employed since 2020-01-01"), "{}", stderr(&early));
    assert_eq!(place.json(&["trial-balance"])["position"], head, "nothing was appended");
    leaves(&place);
    assert_eq!(diners(&place, &["show", &ada])["name"], "Ada Lovelace", "a row without a name changes none");
    let balances = place.json(&["balances"])["balances"].clone();
    let server = place.serve();
    assert_eq!(diners(&place, &["erase", &ada])["changed"], true, "by the server");
    assert_eq!(diners(&place, &["erase", &ada])["changed"], false);
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0));
    assert_eq!(diners(&place, &["erase", &ada])["changed"], false, "without one");
    place.json(&["projections", "rebuild", "--all"]);
    assert_eq!(place.json(&["verify"])["same"], true);
    assert_eq!(place.json(&["balances"])["balances"], balances);
    let gone = diners(&place, &["show", &ada]);
    assert_eq!((&gone["details"], &gone["name"], &gone["company"]), (&json!("erased"), &Value::Null, &Value::Null));
    assert_eq!(diners(&place, &["show", &diner(1)])["name"], "Eve Moneypenny", "nobody else");
    let find = ["diners", "--tenant", TENANT, "find", "--company", COMPANY, "--employee-number", "N-0042"];
    assert_eq!(place.run(&find).status.code(), Some(1));
    // The old file again employs nobody anew under that number.
    let file = written(&place, "employee_number,from\nN-0042,2022-01-01\n");
    let head = place.json(&["trial-balance"])["position"].clone();
    let output = place.run(&["subsidies", "--tenant", TENANT, "employ", COMPANY, &file]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("line 2: REFUSED") && said.contains("erased"), "{said}");
    assert_eq!(place.json(&["trial-balance"])["position"], head);
}

#[test]
fn a_log_without_its_keys_folds_and_shows_what_is_sealed() {
    let place = Place::new();
    employed(&place);
    let ada = ada(&place);
    let export = place.path().join("export.jsonl");
    place.succeed(&["events", "export", &export.display().to_string()]);
    let elsewhere = Place::new();
    let into = elsewhere.folder().display().to_string();
    elsewhere.succeed(&["replay", "--from", &export.display().to_string(), "--into", &into]);
    assert_eq!(elsewhere.json(&["verify"])["same"], true);
    let sealed = diners(&elsewhere, &["show", &ada]);
    assert_eq!(
        (&sealed["details"], &sealed["name"], &sealed["employed"]),
        (&json!("sealed"), &Value::Null, &json!(true))
    );
    let list = diners(&elsewhere, &["list", "--company", COMPANY]);
    assert_eq!(list["diners"].as_array().map(Vec::len), Some(2));
    assert!(list["sealed"].as_str().is_some_and(|why| why.contains("no key store")), "{list}");
    let find = ["diners", "--tenant", TENANT, "find", "--company", COMPANY, "--employee-number", "N-0042"];
    let output = elsewhere.run(&find);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--keys"), "{}", stderr(&output));
    assert!(!elsewhere.path().join("data.keys").exists(), "reading makes no keys");
    // With the keys it opens there too.
    let keys = format!("sqlite:{}", place.path().join("data.keys").display());
    assert_eq!(diners(&elsewhere, &["show", &ada, "--keys", &keys])["name"], "Ada Lovelace");
}

#[test]
fn a_file_with_people_is_taken_whole_or_not_at_all() {
    let place = Place::new();
    employed(&place);
    let head = place.json(&["trial-balance"])["position"].clone();
    for (rows, says) in [
        ("N-1,2020-01-01,Grace,0\n", "line 2: BAD_FIELD: phone"),
        ("N-1,2020-01-01,Grace,\n,2020-01-01,Joan,\n", "line 3: BAD_FIELD: diner: the field is empty"),
        ("N-1,2020-01-01,,5550100\n", "line 2: BAD_FIELD: name"),
        ("N-1,soon,Grace,\n", "line 2: BAD_FIELD: from"),
        ("N-1,2020-01-01,Grace,\nN-1,2020-01-01,Grace,\n", "line 3: TWICE: employee_number"),
        ("N-1,2020-01-01,Grace\n", "line 2: FIELD_COUNT"),
    ] {
        let file = written(&place, &format!("employee_number,from,name,phone\n{rows}"));
        let output = place.run(&["subsidies", "--tenant", TENANT, "employ", COMPANY, &file]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{rows}: {said}");
        assert!(said.contains(says) && said.contains("nothing was recorded"), "{rows}: {said}");
        assert!(!said.contains("Grace") && !said.contains("N-1"), "{said}");
    }
    assert_eq!(place.json(&["trial-balance"])["position"], head);
    // Somebody else's number is refused where it stands.
    let file = written(&place, &format!("diner,from,employee_number\n{},2020-01-01,N-0042\n", diner(9)));
    let output = place.run(&["subsidies", "--tenant", TENANT, "employ", COMPANY, &file]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("line 2: REFUSED: employee_number: ") && said.contains("nothing was recorded"), "{said}");
    assert_eq!(place.json(&["trial-balance"])["position"], head);
}

#[test]
fn a_log_in_postgres_says_where_its_keys_are_missing() {
    let postgres = Postgres::shared();
    let place = Place::at(postgres.database());
    let file = written(&place, "employee_number,from,name\nN-0042,2020-01-01,Ada Lovelace\n");
    let employ = ["subsidies", "--tenant", TENANT, "employ", COMPANY, &file];
    let output = place.run(&employ);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--keys (TIFFIN_KEYS)") && said.contains("postgres://"), "{said}");
    let with_log = place.run(&[&employ[..], &["--keys", &place.store()]].concat());
    assert!(stderr(&with_log).contains("must not be where the log"), "{}", stderr(&with_log));
    let keys = postgres.database();
    assert_eq!(place.json(&[&employ[..], &["--keys", &keys]].concat())["changed"], 1);
    let shown = diners(&place, &["list", "--keys", &keys]);
    assert_eq!(shown["diners"][0]["name"], "Ada Lovelace", "{shown}");
    assert_eq!(diners(&place, &["list"])["diners"][0]["details"], "sealed");
}
