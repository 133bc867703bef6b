//! Exports that were cut, changed or mixed up, and logs that are not what a command takes them for: a
//! clear error that names the line, and nothing is written, whichever kind of store it is.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    fail, json,
    load::{self, Load},
    lunch::{Lunch, Place},
    succeed,
};
use testing::Postgres;

/// A place with a short history, and its export.
fn exported() -> (Place, String) {
    let place = Place::new();
    let server = place.serve();
    let (mut staff, mut finance) = (place.staff(&server), place.finance(&server));
    let lunch = Lunch::open(&mut staff, &[("Rice", "3.00", 900)], 900);
    let mut diner = load::diners(&place, server.address, &mut finance, 1).remove(0);
    for _ in 0..3 {
        diner.place(&lunch.serving, json!([lunch.line(0, 1)]));
    }
    assert!(server.stop(), "it ends well");
    let text = succeed(&["events", "export", "--store", &place.store()]);
    (place, text)
}

/// The export with its lines changed, the first of which is line 1.
fn changed(text: &str, change: impl FnOnce(&mut Vec<String>)) -> Vec<u8> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect()
}

/// What may happen to a file, with what is said of it.
fn mishaps(text: &str) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let lines = text.lines().count();
    let digest = "their digest is";
    let mut binary = text.as_bytes().to_vec();
    let middle = text.len() / 2;
    binary[middle] = 0xff;
    let nothing = Vec::new();
    let twice = [text.as_bytes(), text.as_bytes()].concat();
    vec![
        ("empty", nothing, "line 1"),
        ("twice itself", twice, "line"),
        ("no text", binary, "line"),
        ("a line left out", changed(text, |it| drop(it.remove(7))), "line 8"),
        ("a line twice", changed(text, |it| it.insert(7, it[6].clone())), "line 8"),
        ("two lines swapped", changed(text, |it| it.swap(6, 7)), "line 7"),
        ("an empty line", changed(text, |it| it.insert(7, String::new())), "line 8"),
        ("half a line", changed(text, |it| it[7].truncate(40)), "line 8"),
        ("an amount changed", changed(text, |it| raise(it)), digest),
        ("its own manifest twice", changed(text, |it| it.push(it[lines - 1].clone())), "line"),
        ("no header", changed(text, |it| drop(it.remove(0))), "line 1"),
    ]
}

/// One fen more for the first dish.
fn raise(lines: &mut [String]) {
    let line = lines.iter_mut().find(|line| line.contains("300")).expect("a price");
    *line = line.replacen("300", "301", 1);
}

#[test]
fn a_bad_export_writes_nothing_into_either_kind_of_store() {
    let (place, text) = exported();
    let file = place.file("bad.jsonl");
    let name = file.display().to_string();
    let postgres = Postgres::shared();
    let folder = place.file("copy");
    let stores = [format!("sqlite:{}", folder.display()), postgres.database()];
    for (what, bad, why) in mishaps(&text) {
        fs::write(&file, bad).unwrap();
        for store in &stores {
            let said = fail(1, &["events", "import", &name, "--store", store]);
            let clear = said.contains(why) && said.contains("line") && said.contains("nothing was written");
            assert!(clear && !said.contains("panicked"), "{what}: {said}");
            assert!(!said.contains(postgres.password()), "{what}: {said}");
        }
        assert!(!folder.exists(), "{what} made a log");
        let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'tiffin_log'";
        assert_eq!(postgres.psql(&stores[1], schemas), "0", "{what} made a log");
    }
    // What they were spared for.
    fs::write(&file, &text).unwrap();
    for store in &stores {
        succeed(&["events", "import", &name, "--store", store]);
        assert_eq!(succeed(&["events", "export", "--store", store]), text);
    }
}

#[test]
fn a_part_that_does_not_fit_is_refused_and_changes_nothing() {
    let (origin, text) = exported();
    let (other, _) = exported();
    let part = |place: &Place, from: u64, name: &str| {
        let file = origin.file(name).display().to_string();
        succeed(&["events", "export", &file, "--from", &from.to_string(), "--store", &place.store()]);
        file
    };
    let head = text.lines().count() as u64 - 2;
    let beginning = origin.file("beginning.jsonl").display().to_string();
    succeed(&["events", "export", &beginning, "--to", "10", "--store", &origin.store()]);
    let stores = [format!("sqlite:{}", origin.file("copy").display()), Postgres::shared().database()];
    for store in &stores {
        let import = |file: &str| fail(1, &["events", "import", file, "--store", store]);
        let said = import(&part(&origin, 11, "rest.jsonl"));
        assert!(said.contains("11"), "an empty log has no event 10: {said}");
        succeed(&["events", "import", &beginning, "--store", store]);
        let before = succeed(&["events", "export", "--store", store]);
        let said = import(&part(&origin, 13, "gap.jsonl"));
        assert!(said.contains("13") && said.contains("10"), "events 11 and 12 are missing: {said}");
        let said = import(&part(&other, 11, "other.jsonl"));
        assert!(said.contains("the file is of the log"), "{said}");
        assert_eq!(succeed(&["events", "export", "--store", store]), before, "nothing was written");
        // What it has already does not hurt.
        let imported = json(&["events", "import", &part(&origin, 5, "overlap.jsonl"), "--store", store, "--json"]);
        assert_eq!(imported["head"], head, "{imported}");
        assert_eq!(succeed(&["events", "export", "--store", store]), text);
    }
}

/// Postgres lets a log be sealed beside its servers, by somebody who has not stopped them first.
#[test]
fn a_log_that_is_sealed_under_a_server_sells_nothing_more_until_it_is_opened() {
    let place = Place::on(Postgres::shared().database());
    let mut server = place.serve();
    let (mut staff, mut finance) = (place.staff(&server), place.finance(&server));
    let lunch = Lunch::open(&mut staff, &[("Rice", "3.00", 900_000)], 900_000);
    let shoppers = load::diners(&place, server.address, &mut finance, 4);
    let mut diner = load::diners(&place, server.address, &mut finance, 1).remove(0);
    let lunchtime = Load::start(shoppers, &lunch, 20.0);
    std::thread::sleep(Duration::from_secs(1));
    let seal = |arguments: &[&str]| {
        json(&[&["events", "seal", "--yes", "--json", "--store", &place.store()], arguments].concat())
    };
    let sealed = seal(&[]);
    let placed = {
        std::thread::sleep(Duration::from_secs(1));
        lunchtime.stop()
    };
    // Its servers end, and say why: nothing that they could do is left.
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.is_running() {
        assert!(Instant::now() < deadline, "still running: {}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(server.log().contains("sealed"), "{}", server.log());
    let stood: Value = json(&["events", "stats", "--store", &place.store(), "--json"]);
    assert_eq!(stood["head"], sealed["head"], "something was added to a sealed log");

    assert_eq!(seal(&["--undo"])["state"], "open");
    let server = place.serve();
    diner.move_to(server.address);
    let order = diner.place(&lunch.serving, json!([lunch.line(0, 1)]));
    assert_eq!(order["status"], "CONFIRMED", "{order:#}");
    let told = placed.iter().filter(|placed| placed.order.is_some()).count() as u64;
    // What was under way when the log was sealed goes on by itself, once somebody serves again.
    let said = place.settled(&[]);
    let confirmed = said["orders"][place.tenant.to_string()]["CONFIRMED"].as_u64().unwrap();
    assert!(confirmed > told, "{confirmed} orders, {told} and one more were acknowledged");
    assert!(server.stop(), "it ends well");
    succeed(&["verify", "--store", &place.store()]);
}
