//! A log that moves: exported, imported, sealed, taken over, replayed elsewhere.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{Place, stderr};

/// The export of a place, in a file.
fn exported(place: &Place, span: &[&str]) -> PathBuf {
    let file = place.path().join("export.jsonl");
    let name = file.display().to_string();
    place.succeed(&[&["events", "export", &name], span].concat());
    file
}

/// What a command says that ends with `code`.
#[track_caller]
fn refused(place: &Place, arguments: &[&str], code: i32) -> String {
    let output = place.run(arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

fn import(place: &Place, file: &std::path::Path) -> Value {
    place.json(&["events", "import", &file.display().to_string()])
}

#[test]
fn a_copy_gives_the_same_bytes_and_the_same_books() {
    let (origin, copy) = (Place::with_history(30), Place::new());
    let file = exported(&origin, &[]);
    let imported = import(&copy, &file);
    let log = origin.succeed(&["events", "export"]);
    assert_eq!(imported["written"], log.lines().count() as u64 - 2);
    assert_eq!(imported["state"], "copy");
    assert_eq!(copy.succeed(&["events", "export"]), log);
    assert_eq!(fs::read_to_string(&file).expect("an export"), log, "stdout and a file are the same");
    assert_eq!(import(&copy, &file)["written"], 0, "a repeat is no error");
    for command in [["events", "list"], ["events", "stats"]] {
        assert_eq!(copy.json(&command), origin.json(&command));
    }
}

#[test]
fn a_copy_is_only_read_until_it_is_taken_over() {
    let (origin, copy) = (Place::with_history(6), Place::new());
    let head = import(&copy, &exported(&origin, &["--to", "10"]))["head"].clone();
    assert_eq!(head, 10);
    let more = copy.import_of(2);
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    for command in [&more[..], &["serve", "--listen", "127.0.0.1:0"]] {
        let said = refused(&copy, command, 1);
        assert!(said.contains("copy of another one") && said.contains("tiffin events take-over"), "{said}");
    }
    let said = refused(&copy, &["events", "take-over"], 1);
    assert!(said.contains("not known to be sealed"), "{said}");
    let said = refused(&copy, &["events", "seal", "--yes"], 1);
    assert!(said.contains("is a copy"), "{said}");

    // Nothing is sealed by mistake.
    assert!(refused(&origin, &["events", "seal"], 2).contains("--yes"));
    for _ in 0..2 {
        assert_eq!(origin.json(&["events", "seal", "--yes"])["state"], "sealed");
    }
    for command in [&more[..], &["serve", "--listen", "127.0.0.1:0"]] {
        assert!(refused(&origin, command, 1).contains("this log is sealed"));
    }
    assert!(refused(&origin, &["events", "take-over"], 1).contains("is sealed"));

    let imported = import(&copy, &exported(&origin, &["--from", "11"]));
    assert_eq!(imported["state"], "complete");
    assert_eq!(copy.succeed(&["events", "export"]), origin.succeed(&["events", "export"]));
    for _ in 0..2 {
        assert_eq!(copy.json(&["events", "take-over"])["state"], "open");
    }
    copy.succeed(&more);
    copy.succeed(&["verify"]);
}

#[test]
fn a_dead_origin_is_taken_over_by_word_and_a_seal_is_undone() {
    let (origin, copy) = (Place::with_history(3), Place::new());
    import(&copy, &exported(&origin, &[]));
    assert_eq!(copy.json(&["events", "take-over", "--origin-is-dead"])["state"], "open");
    let said = refused(&copy, &["events", "import", &exported(&origin, &[]).display().to_string()], 1);
    assert!(
        said.contains("into an empty log, or into an unfinished copy") && said.contains("nothing was written"),
        "{said}"
    );
    origin.succeed(&["events", "seal", "--yes"]);
    assert!(refused(&origin, &["events", "seal", "--undo"], 2).contains("--yes"));
    assert_eq!(origin.json(&["events", "seal", "--undo", "--yes"])["state"], "open");
    origin.succeed(&origin.import_of(4));
}

#[test]
fn a_bad_file_makes_no_log() {
    let (origin, copy) = (Place::with_history(3), Place::new());
    let text = fs::read_to_string(exported(&origin, &[])).expect("an export");
    let file = copy.path().join("bad.jsonl");
    let (name, into) = (file.display().to_string(), copy.folder().display().to_string());
    let whole = text.lines().count();
    let cases = [
        (text[..text.len() / 2].to_owned(), "was cut short"),
        (text.lines().take(whole - 1).map(|line| format!("{line}\n")).collect(), "without its manifest"),
        (text.replacen("\"Opened\"", "\"Closed\"", 1), "their digest is"),
        (text.replacen("order.Placed", "order.Dreamt", 1), "order.Dreamt"),
        (text.replacen("\"format\":2", "\"format\":7", 1), "line 1: the export has the format 7"),
        ("Dear diary\n".to_owned(), "line 1: it is not the header"),
    ];
    for (bad, why) in cases {
        assert_ne!(bad, text, "{why}");
        fs::write(&file, bad).expect("a file");
        for command in [&["events", "import", &name][..], &["replay", "--from", &name, "--into", &into]] {
            let said = refused(&copy, command, 1);
            assert!(said.contains(why) && said.contains("line ") && said.contains("nothing was written"), "{said}");
            assert!(!copy.folder().exists(), "{command:?} made a log of a bad file");
        }
    }
    assert!(refused(&copy, &["events", "import", "-"], 2).contains("save it to a file"));
    assert!(refused(&copy, &["events", "import", "none.jsonl"], 1).contains("none.jsonl"));
}

#[test]
fn an_export_that_breaks_off_leaves_the_one_before_it() {
    let place = Place::with_history(60);
    let file = exported(&place, &[]);
    let whole = fs::read(&file).expect("an export");
    let part = place.path().join("export.jsonl.part");
    assert!(!part.exists());
    // No file may grow beyond 64 KiB, which kills who tries.
    assert!(whole.len() > 96 * 1_024);
    let script = "ulimit -f 128; exec \"$0\" events export \"$1\" --store \"$2\"";
    let limited = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_tiffin"), &file.display().to_string(), &place.store()])
        .current_dir(place.path())
        .output()
        .expect("sh runs");
    assert!(!limited.status.success() && part.exists(), "{}", stderr(&limited));
    assert!(fs::read(&file).expect("an export") == whole, "the one before it has gone");
    assert!(fs::read(exported(&place, &[])).expect("an export") == whole);
    assert!(!part.exists(), "the next takes its place");
}

#[test]
fn an_export_of_a_span_says_what_is_wrong_with_it() {
    let place = Place::with_history(3);
    assert!(refused(&place, &["events", "export", "--from", "5", "--to", "4"], 2).contains("the other way round"));
    assert!(refused(&place, &["events", "export", "--from", "9999"], 2).contains("stands at event"));
    assert!(refused(&place, &["events", "export", "--from", "0"], 2).contains("--from"));
    assert!(refused(&place, &["events", "export", "no/such/folder/x"], 1).contains("no/such/folder/x"));
    let lines = place.succeed(&["events", "export", "--from", "3", "--to", "5"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len(), &lines[0]["header"]["from"], &lines[1]["position"]), (5, &json!(3), &json!(3)));
    assert_eq!((&lines[4]["manifest"]["first"], &lines[4]["manifest"]["last"]), (&json!(3), &json!(5)));
}

#[test]
fn an_auditor_replays_an_export_without_the_store() {
    let (origin, elsewhere) = (Place::with_history(25), Place::new());
    let file = exported(&origin, &[]);
    let into = elsewhere.folder().display().to_string();
    let arguments = ["replay", "--from", &file.display().to_string(), "--into", &into];
    let replayed = elsewhere.json(&arguments);
    assert_eq!(replayed["views_at"], replayed["events"]);
    for command in [&["balances"][..], &["journal"], &["trial-balance"], &["events", "stats"]] {
        assert_eq!(elsewhere.json(command), origin.json(command), "{command:?}");
    }
    elsewhere.succeed(&["verify"]);
    // Once more finds all of it there.
    assert_eq!(elsewhere.json(&arguments), replayed);
    let said = refused(&elsewhere, &["serve", "--listen", "127.0.0.1:0"], 1);
    assert!(said.contains("copy of another one"), "{said}");
}

#[test]
fn a_log_that_is_served_is_exported_beside_the_server_and_changed_by_nobody() {
    let place = Place::with_history(3);
    let _server = place.serve();
    let log = place.succeed(&["events", "export"]);
    assert!(refused(&place, &["events", "seal", "--yes"], 1).contains("held by another tiffin process"));
    assert!(refused(&place, &["events", "take-over"], 1).contains("held by another tiffin process"));
    assert_eq!(place.succeed(&["events", "export"]), log);
}
