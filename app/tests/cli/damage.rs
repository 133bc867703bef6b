//! Folders that cannot be used: a clear error, and nothing changed on the disk.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Output,
};

use crate::support::{Place, program, stderr};

/// Somebody who owns nothing: root may write where nobody may.
const NOBODY: u32 = 65_534;

const READING: &[&[&str]] = &[
    &["balances"],
    &["journal"],
    &["trial-balance"],
    &["events", "list"],
    &["events", "export"],
    &["verify"],
    &["projections", "list"],
];

/// What opens the log, to read or to write.
fn every_command(place: &Place) -> Vec<Vec<String>> {
    let words = |words: &&[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut commands: Vec<Vec<String>> = READING.iter().map(words).collect();
    commands.push(words(&&["serve", "--listen", "127.0.0.1:0"][..]));
    commands.push(words(&&["projections", "rebuild", "--all"][..]));
    commands.push(place.import_of(1));
    commands
}

/// Every command says `named`, ends with 1 and leaves all files as they are.
fn all_refuse(place: &Place, named: &str) {
    let before = place.contents();
    for command in every_command(place) {
        let output = place.run(&command);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains(named), "{command:?}: {said}");
        assert!(!said.contains("panicked"), "{command:?}: {said}");
        assert!(place.contents() == before, "{command:?} changed the folder");
    }
}

/// Puts `bytes` at `offset` of the log's file.
fn overwrite(place: &Place, offset: usize, bytes: &[u8]) {
    let file = place.folder().join("log.sqlite");
    let mut content = fs::read(&file).expect("a log");
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
    fs::write(file, content).expect("a log");
}

#[test]
fn a_log_of_a_newer_format_is_left_alone() {
    let place = Place::with_history(2);
    overwrite(&place, 60, &99_u32.to_be_bytes());
    all_refuse(&place, "newer");
}

#[test]
fn a_truncated_log_is_left_alone() {
    let place = Place::with_history(2);
    let file = place.folder().join("log.sqlite");
    let content = fs::read(&file).expect("a log");
    fs::write(&file, &content[..content.len() / 2]).expect("a log");
    all_refuse(&place, "cut short");
}

#[test]
fn an_empty_log_file_is_left_alone() {
    let place = Place::with_history(2);
    fs::write(place.folder().join("log.sqlite"), b"").expect("a log");
    all_refuse(&place, "cut short");
}

#[test]
fn somebody_elses_file_is_left_alone() {
    let place = Place::with_history(2);
    fs::write(place.folder().join("log.sqlite"), "Dear diary,\n".repeat(400)).expect("a file");
    all_refuse(&place, "not a SQLite database");
}

#[test]
fn somebody_elses_database_is_left_alone() {
    let place = Place::with_history(2);
    overwrite(&place, 68, &0_u32.to_be_bytes());
    all_refuse(&place, "not an event log");
}

#[test]
fn damaged_views_are_named_and_left_alone() {
    let place = Place::with_history(2);
    fs::write(place.folder().join("views.sqlite"), "Dear diary,\n".repeat(400)).expect("a file");
    let before = place.contents();
    for command in [&["balances"][..], &["verify"], &["projections", "list"], &["projections", "rebuild", "--all"]] {
        let output = place.run(command);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("views.sqlite") && said.contains("delete"), "{command:?}: {said}");
    }
    assert!(place.contents()[&place.folder().join("views.sqlite")] == before[&place.folder().join("views.sqlite")]);
    // The log is whole, and can be read.
    place.succeed(&["events", "list"]);
    for name in ["views.sqlite", "views.sqlite-wal", "views.sqlite-shm"] {
        // Which of them there are depends on who came last.
        let _ = fs::remove_file(place.folder().join(name));
    }
    place.succeed(&["projections", "rebuild", "--all"]);
    place.succeed(&["verify"]);
}

#[test]
fn a_folder_that_is_not_there_is_not_made_by_reading() {
    let place = Place::new();
    for command in READING {
        let output = place.run(command);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(stderr(&output).contains("data"), "{command:?}: {}", stderr(&output));
        assert!(!place.folder().exists(), "{command:?} made the folder");
    }
}

/// Runs the program as somebody who may not write to the folder.
fn as_nobody(place: &Place, arguments: &[impl AsRef<str>]) -> Output {
    let mut command = program(Path::new("/"));
    command.args(arguments.iter().map(AsRef::as_ref)).args(["--store", &place.store()]);
    if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.output().expect("it starts")
}

#[test]
fn a_read_only_folder_can_be_read_and_nothing_else() {
    let place = Place::with_history(3);
    let import = place.import_of(4);
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    for path in place.contents().keys() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o444)).expect("a mode");
    }
    fs::set_permissions(place.folder(), fs::Permissions::from_mode(0o555)).expect("a mode");
    let before = place.contents();
    for command in READING {
        let output = as_nobody(&place, command);
        assert!(output.status.success(), "{command:?}: {}", stderr(&output));
    }
    let rebuild = ["projections", "rebuild", "--all"].map(str::to_owned).to_vec();
    let serve = ["serve", "--listen", "127.0.0.1:0"].map(str::to_owned).to_vec();
    for command in [rebuild, serve, import] {
        let output = as_nobody(&place, &command);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("cannot be written") && said.contains("data"), "{command:?}: {said}");
    }
    assert!(place.contents() == before);
    // So that it can be removed.
    fs::set_permissions(place.folder(), fs::Permissions::from_mode(0o755)).expect("a mode");
}
