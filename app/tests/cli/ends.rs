//! How commands end: exit codes that scripts can trust, and pipes that nobody reads any more.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::support::{Place, program, stderr};

#[test]
fn exit_codes_are_as_documented() {
    let place = Place::with_history(3);
    let code = |arguments: &[&str]| place.run(arguments).status.code();
    assert_eq!(code(&["trial-balance"]), Some(0));
    assert_eq!(code(&["verify"]), Some(0));
    assert_eq!(code(&["events", "show", "1"]), Some(0));
    assert_eq!(code(&["events", "show", "999999"]), Some(1));
    assert_eq!(code(&["projections", "rebuild", "nothing-of-that-name"]), Some(1));
    assert_eq!(code(&["events", "list", "--from", "5", "--to", "4"]), Some(2));
    assert_eq!(code(&["events", "list", "--stream", "order"]), Some(2));
    assert_eq!(code(&["balances", "--nonsense"]), Some(2));
    assert_eq!(code(&["nonsense"]), Some(2));
    assert_eq!(code(&["token", "--tenant", "x", "--role", "diner"]), Some(2));
    assert_eq!(code(&["balances", "--log", "=="]), Some(2));
}

#[test]
fn verify_finds_a_row_that_was_touched() {
    let place = Place::with_history(3);
    let touched = std::process::Command::new("sqlite3")
        .arg(place.folder().join("views.sqlite"))
        .arg("UPDATE balances__v2_b1 SET balance_minor = balance_minor + 1 WHERE account = 'prepaid'")
        .status();
    if touched.is_err() {
        // Without the shell of SQLite there is nothing to touch it with.
        eprintln!("skipped: sqlite3 is not installed");
        return;
    }
    let output = place.run(&["verify"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("balances") && said.contains("DIFFERS") && said.contains("expected"), "{said}");
    assert_eq!(place.run(&["trial-balance"]).status.code(), Some(1));
    place.succeed(&["projections", "rebuild", "balances"]);
    place.succeed(&["verify"]);
    place.succeed(&["trial-balance"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::with_history(200);
    let store = place.store();
    for arguments in [vec!["events", "export"], vec!["events", "list", "--limit", "10000"], vec!["completions", "zsh"]]
    {
        let mut child = program(place.path())
            .args(&arguments)
            .args(["--store", &store])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::with_capacity(16, child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success() && !line.is_empty(), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}
