//! The demo as somebody runs it: the same lunch for the same seed, proven, and served on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};

fn demo(cwd: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiffin"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIFFIN_")) {
        command.env_remove(name);
    }
    command.arg("demo").args(args).current_dir(cwd).stdin(Stdio::null());
    command
}

fn outcome(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn once(cwd: &Path, folder: &str, seed: &str) -> Value {
    let store = format!("sqlite:{folder}");
    let args = ["--store", &store, "--orders", "400", "--seed", seed, "--exit", "--json"];
    let output = demo(cwd, &args).output().unwrap();
    let outcome = outcome(&output);
    assert_eq!(output.status.code(), Some(0), "{outcome}");
    outcome
}

#[test]
fn the_same_seed_is_the_same_lunch_and_every_check_holds() {
    let cwd = tempfile::tempdir().unwrap();
    let (one, same, other) = (once(cwd.path(), "a", "7"), once(cwd.path(), "b", "7"), once(cwd.path(), "c", "8"));
    // What is turned away at the door, and so how much is recorded, is a race; the sums are not.
    let counts = |outcome: &Value| {
        let mut orders = outcome["orders"].clone();
        for racing in ["refused_at_the_door", "placed"] {
            orders.as_object_mut().unwrap().remove(racing);
        }
        (orders, outcome["money"].clone())
    };
    assert_eq!(counts(&one), counts(&same));
    assert_ne!(counts(&one), counts(&other));
    let orders = &one["orders"];
    assert_eq!(orders["asked"], 400);
    for reason in ["SOLD_OUT", "CLOSED", "INSUFFICIENT_FUNDS", "DINER_LIMIT", "PRICE_CHANGED"] {
        assert!(orders["refused"][reason].as_u64().unwrap() > 0, "{reason}: {orders}");
    }
    for end in ["confirmed", "cancelled", "expired", "picked_up", "no_show", "repeated_taps"] {
        assert!(orders[end].as_u64().unwrap() > 0, "{end}: {orders}");
    }
    // In each canteen eight race for two portions, and two come for the dish that was withdrawn.
    assert_eq!(orders["refused"]["SOLD_OUT"], 3 * (8 - 2) + 2, "{orders}");
    let refused: u64 = orders["refused"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    let [confirmed, expired] = ["confirmed", "expired"].map(|end| orders[end].as_u64().unwrap());
    assert_eq!(confirmed + expired + refused, 400, "{orders}");
    let money = &one["money"];
    assert!(money["refunded_minor"].as_i64().unwrap() > 0, "{money}");
    let from = &money["paid_from"];
    let kinds = ["subsidy_minor", "wallet_minor", "counter_minor", "wechat_pay_minor"];
    let sources = kinds.map(|source| from[source].as_i64().unwrap());
    assert_eq!(Value::from(sources.iter().sum::<i64>()), money["paid_minor"]);
    assert_eq!((&one["trial_balance_minor"], &one["views_differing"]), (&json!(0), &json!(0)));
    assert!(one["orders_per_second"].as_f64().unwrap() > 0.0 && one["events"].as_u64().unwrap() > 2_000);
}

#[test]
fn a_folder_that_holds_something_is_not_touched() {
    let cwd = tempfile::tempdir().unwrap();
    std::fs::create_dir(cwd.path().join("real")).unwrap();
    std::fs::write(cwd.path().join("real/log"), "precious").unwrap();
    let output = demo(cwd.path(), &["--store", "sqlite:real", "--exit"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("real is not empty"), "{said}");
    let left: Vec<_> =
        std::fs::read_dir(cwd.path().join("real")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["log"]);
}

/// A demo that serves on, ended whatever happens.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // It has ended already where the test got so far.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ask(address: &str, token: &str, query: &str) -> Value {
    let body = json!({ "query": query }).to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /graphql HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         authorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[test]
fn it_serves_on_and_its_tokens_and_queries_work() {
    let cwd = tempfile::tempdir().unwrap();
    // Without a store it makes itself a folder beneath the usual one.
    let args = ["--orders", "100", "--json", "--listen", "127.0.0.1:0"];
    let mut served = Served(demo(cwd.path(), &args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut lines = BufReader::new(served.0.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let (outcome, invitation) = (next(), next());
    assert_eq!(outcome["sound"], true, "{outcome}");
    assert_eq!(outcome["store"], "sqlite:./tiffin-data/demo-1");
    let address = invitation["address"].as_str().unwrap();
    let answers: Vec<Value> = invitation["queries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|query| {
            let token = invitation["tokens"][query["token"].as_str().unwrap()].as_str().unwrap();
            let query = query["query"].as_str().unwrap();
            let answer = ask(address, token, query);
            assert!(answer["errors"].is_null(), "{query}: {answer}");
            if query.starts_with("mutation") {
                assert_eq!(ask(address, token, query)["data"], answer["data"], "the same key is the same order");
            }
            answer["data"].clone()
        })
        .collect();
    assert_eq!(answers[0]["placeOrder"]["status"], "CONFIRMED", "{answers:?}");
    assert!(!answers[1]["servings"]["nodes"].as_array().unwrap().is_empty(), "{answers:?}");
    let date = invitation["date"].as_str().unwrap();
    assert!(invitation["queries"][1]["query"].as_str().unwrap().contains(date), "{date} is another day");
    assert!(answers[1]["dashboard"]["orders"].is_object(), "{answers:?}");
    assert_eq!(answers[2]["trialBalance"][0]["balance"]["amount"], "0.00", "{answers:?}");
    let asked = Command::new("kill").args(["-INT", &served.0.id().to_string()]).status().unwrap();
    assert!(asked.success());
    assert_eq!(served.0.wait().unwrap().code(), Some(0));
}
