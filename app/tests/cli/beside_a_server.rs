//! Commands beside a server that holds the folder.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Place, TENANT, program, stderr, stdout};

#[test]
fn a_second_server_is_refused() {
    let place = Place::new();
    let server = place.serve();
    let second = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    let said = stderr(&second);
    assert!(said.contains("held by another tiffin process") && said.contains("data"), "{said}");
    // The first does not mind.
    place.succeed(&["projections", "list"]);
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0), "{}", place.log());
}

#[test]
fn reading_and_changing_commands_work_beside_it() {
    let place = Place::with_history(5);
    let before = place.json(&["balances"]);
    let server = place.serve();
    assert_eq!(place.json(&["balances"])["balances"], before["balances"]);
    let books = place.json(&["trial-balance"]);
    assert_eq!((&books["balanced"], &books["books"][0]["balance_minor"]), (&json!(true), &json!(0)));
    assert_eq!(place.json(&["journal", "--limit", "3"])["entries"].as_array().map(Vec::len), Some(3));
    assert_eq!(place.json(&["verify"])["same"], true);

    // By the server, since it holds the folder.
    let rebuilt = place.json(&["projections", "rebuild", "balances", "journal"]);
    let names: Vec<&Value> =
        rebuilt["rebuilt"].as_array().expect("builds").iter().map(|it| &it["projection"]).collect();
    assert_eq!(names, ["balances", "journal"]);
    let import = place.import_of(8);
    let report = place.json(&import);
    assert_eq!((&report["orders_imported"], &report["orders_unchanged"]), (&json!(3), &json!(5)), "{report}");
    assert_eq!(place.json(&import)["orders_imported"], 0);
    assert_eq!(place.json(&["verify"])["same"], true);

    let list = place.json(&["projections", "list"]);
    let builds = list["projections"].as_array().expect("builds");
    assert!(builds.iter().all(|build| build["live"] == true && build["health"] == "sound"), "{list}");
    server.signal("-INT");
    assert_eq!(server.ended(), Some(0), "{}", place.log());
    assert!(!place.folder().join("admin.sock").exists());
    assert_eq!(place.json(&["verify"])["same"], true);
}

#[test]
fn what_the_server_refuses_comes_back_as_its_words() {
    let place = Place::new();
    let _server = place.serve();
    let refused = place.run(&["projections", "rebuild", "lunches"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("there is no projection \"lunches\""), "{}", stderr(&refused));
}

#[test]
fn a_killed_server_leaves_nothing_in_the_way() {
    let place = Place::with_history(4);
    let server = place.serve();
    server.kill();
    assert!(place.folder().join("admin.sock").exists(), "nobody could take it away");
    // By the command itself, since nobody answers.
    assert_eq!(place.json(&["projections", "rebuild", "--all"])["rebuilt"].as_array().map(Vec::len), Some(20));
    assert_eq!(place.json(&place.import_of(6))["orders_imported"], 2);
    let server = place.serve();
    assert_eq!(place.json(&place.import_of(7))["orders_imported"], 1);
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0));
}

#[test]
fn the_socket_is_for_its_owner_only() {
    let place = Place::new();
    let _server = place.serve();
    let socket = std::fs::metadata(place.folder().join("admin.sock")).expect("a socket");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&socket.permissions()) & 0o777, 0o600);
}

#[test]
fn events_are_listed_shown_and_exported_by_filter() {
    let place = Place::with_history(6);
    let _server = place.serve();
    let export = place.succeed(&["events", "export"]);
    let lines: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (header, manifest) = (&lines[0]["header"], &lines[lines.len() - 1]["manifest"]);
    let events = &lines[1..lines.len() - 1];
    let count = events.len() as u64;
    assert_eq!((&header["from"], &header["format"]), (&json!(1), &json!(2)));
    assert_eq!(
        (&manifest["count"], &manifest["last"], &manifest["sealed"]),
        (&json!(count), &json!(count), &json!(false))
    );
    assert!(events.iter().zip(1..).all(|(line, position)| line["position"] == position));

    let confirmed = place.json(&["events", "list", "--type", "order.Confirmed"]);
    let confirmed = confirmed["events"].as_array().expect("events");
    assert_eq!((confirmed.len(), &confirmed[0]["payload"]), (6, &json!("Confirmed")));
    let order = confirmed[0]["stream"]["key"].as_str().expect("a key");
    let stream = place.json(&["events", "list", "--stream", &format!("order:{order}")]);
    assert_eq!(stream["events"][0]["type"], "order.Placed");
    let about = place.json(&["events", "list", "--correlation", order, "--limit", "100"]);
    assert!(about["events"].as_array().map(Vec::len) > stream["events"].as_array().map(Vec::len), "{about}");
    assert_eq!(place.json(&["events", "list", "--tenant", order])["events"], json!([]));
    assert_eq!(place.json(&["events", "list", "--tenant", TENANT, "--from", "2", "--to", "3"])["events"][1], events[2]);
    let last = place.json(&["events", "list", "--last", "--limit", "1"]);
    assert_eq!(last["events"][0], events[events.len() - 1]);

    let position = confirmed[0]["position"].to_string();
    assert!(place.succeed(&["events", "show", &position]).contains("order.Confirmed, schema version 1"));
    assert_eq!(place.json(&["events", "show", &position]), confirmed[0]);
    let tail = place.run(&["events", "tail", "--lines", "2", "--to", &count.to_string(), "--json"]);
    assert_eq!(stdout(&tail).lines().count(), 2, "{}", stderr(&tail));
    let file = place.path().join("export.jsonl");
    place.succeed(&["events", "export", &file.display().to_string()]);
    assert_eq!(std::fs::read_to_string(file).expect("an export"), export);
}

#[test]
fn an_import_whose_caller_goes_away_stops_and_can_be_repeated() {
    let place = Place::new();
    let server = place.serve();
    let import = place.import_of(5_000);
    let bytes = || {
        let entries = std::fs::read_dir(place.folder()).expect("a folder").flatten();
        let log = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("log.sqlite"));
        log.map(|entry| entry.metadata().map_or(0, |file| file.len())).sum::<u64>()
    };
    let begun = bytes() + 500_000;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut caller = program(place.path())
        .args(&import)
        .args(["--store", &place.store()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    while bytes() < begun {
        assert!(Instant::now() < deadline, "nothing is imported");
        std::thread::sleep(Duration::from_millis(2));
    }
    caller.kill().expect("it was running");
    caller.wait().expect("it ends");
    // Nobody goes on with it: after a moment the log stands still.
    let head = || place.json(&["projections", "list"])["head"].as_u64().expect("a head");
    let (mut stopped, deadline) = (0, Instant::now() + Duration::from_secs(60));
    loop {
        let now = head();
        if now == stopped {
            break;
        }
        assert!(Instant::now() < deadline, "somebody goes on with it");
        stopped = now;
        std::thread::sleep(Duration::from_millis(500));
    }
    let report = place.json(&import);
    let (new, known) = (report["orders_imported"].as_u64(), report["orders_unchanged"].as_u64());
    assert_eq!(new.zip(known).map(|(new, known)| new + known), Some(5_000), "{report}");
    assert!(known > Some(0) && new > Some(0), "it was broken off too early or too late to tell: {report}");
    assert_eq!(place.json(&["verify"])["same"], true);
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0), "{}", place.log());
}

#[test]
fn tail_shows_events_as_they_come() {
    let place = Place::new();
    let _server = place.serve();
    // On a machine with other work the import may be over before the tail has begun.
    let mut tail = program(place.path())
        .args(["events", "tail", "--json", "--lines", "1000", "--type", "menu", "--store", &place.store()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    place.json(&place.import_of(1));
    let first: Value = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
    assert_eq!(first["type"], "menu.Opened");
    tail.kill().expect("it was running");
    tail.wait().expect("it ends");
}

#[test]
fn what_the_socket_does_not_know_is_refused() {
    let place = Place::new();
    let _server = place.serve();
    let ask = |request: &str| {
        let mut socket = UnixStream::connect(place.folder().join("admin.sock")).expect("a socket");
        socket.write_all(request.as_bytes()).expect("it takes it");
        socket.write_all(b"\n").expect("it takes it");
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).expect("an answer");
        serde_json::from_str::<Value>(&answer).expect("JSON")
    };
    assert!(ask(r#"{"do":"ping"}"#)["done"]["process"].is_number());
    for wrong in ["", "{}", "[1,2", r#"{"do":"format_disk"}"#, r#"{"do":"rebuild"}"#] {
        let message = ask(wrong)["failed"]["message"].as_str().map(str::to_owned);
        assert!(message.is_some_and(|message| message.contains("does not know")), "{wrong}");
    }
    assert!(ask(r#"{"do":"ping"}"#)["done"]["process"].is_number());
}

/// Keeps everybody from writing the views until its input ends.
fn hold_views(place: &Place) -> Child {
    let script = "import sqlite3, sys\nviews = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                  views.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()";
    let mut holding = Command::new("python3")
        .args(["-c", script])
        .arg(place.folder().join("views.sqlite"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut said = String::new();
    BufReader::new(holding.stdout.take().expect("a pipe")).read_line(&mut said).expect("a line");
    assert_eq!(said, "held\n", "python3 holds the views");
    holding
}

/// Or whoever looks next would not find what they have just done.
#[test]
fn a_command_is_not_answered_before_the_views_show_what_it_did() {
    let place = Place::new();
    let server = place.serve();
    let wallet = "wallet:00000000-0000-7000-8000-00000000d001";
    let company = "00000000-0000-7000-8000-0000000000c1";
    let actor = "00000000-0000-7000-8000-0000000000a1";
    let commands = [
        vec!["accounts", "top-up", wallet, "20.00 CNY", "--source", "bank", "--actor", actor, "--tenant", TENANT],
        vec!["subsidies", "fund", company, "100.00 CNY", "--tenant", TENANT],
    ];
    for (number, (command, account)) in commands.iter().zip([wallet, "company:"]).enumerate() {
        let key = format!("00000000-0000-7000-8000-00000000e{number:03}");
        let mut holding = hold_views(&place);
        let mut asking = program(place.path())
            .args(command)
            .args(["--key", &key, "--store", &place.store()])
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_secs(2));
        assert!(asking.try_wait().expect("a child").is_none(), "{command:?} is answered too early");
        drop(holding.stdin.take());
        assert!(holding.wait().expect("it ends").success());
        assert!(asking.wait().expect("it ends").success(), "{command:?}: {}", place.log());
        let shown = place.json(&["balances", "--account", account, "--each"]);
        assert_eq!(shown["balances"].as_array().map(Vec::len), Some(1), "{command:?}: {shown}");
    }
    server.signal("-TERM");
    assert_eq!(server.ended(), Some(0), "{}", place.log());
}
