//! Settings: the file, then the environment, then flags; what is wrong is named, secrets are not.

use std::fs;

use crate::support::{Place, TENANT, program, stderr};

/// Which of the folders the program used: `token` leaves its key there.
fn used(place: &Place, environment: Option<&str>, flag: Option<&str>) -> String {
    let mut command = program(place.path());
    command.args(["token", "--tenant", TENANT, "--role", "auditor"]);
    if let Some(store) = environment {
        command.env("TIFFIN_STORE", store);
    }
    if let Some(store) = flag {
        command.args(["--store", store]);
    }
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", stderr(&output));
    let entries = fs::read_dir(place.path()).expect("a folder").map(|entry| entry.expect("an entry").path());
    let used = entries.filter(|path| path.join("issuer.pem").exists()).inspect(|path| {
        fs::remove_file(path.join("issuer.pem")).expect("it was there");
    });
    let names: Vec<_> = used.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
    names.join(" ")
}

#[test]
fn flags_stand_over_the_environment_and_that_over_the_file() {
    let place = Place::new();
    assert_eq!(used(&place, None, None), "tiffin-data");
    fs::write(place.path().join("tiffin.toml"), "store = 'sqlite:./of-file'\n").expect("a file");
    assert_eq!(used(&place, None, None), "of-file");
    assert_eq!(used(&place, Some("sqlite:./of-env"), None), "of-env");
    assert_eq!(used(&place, Some("sqlite:./of-env"), Some("sqlite:./of-flag")), "of-flag");
}

#[test]
fn the_key_is_for_its_owner_only() {
    let place = Place::new();
    place.token("auditor");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(place.folder().join("issuer.pem")).expect("a key").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn wrong_settings_are_named_and_end_with_2() {
    let place = Place::new();
    let file = place.path().join("other.toml");
    for (content, named) in [
        ("stroe = 'memory:'\n", "unknown field `stroe`"),
        ("listen = 'a:1'\n[log]\nlevle = 'info'\n", "line 3"),
        ("listen = \n", "line 1"),
        ("store = 'esdb://tiffin:hunter2@db'\n", "not in this build yet"),
        ("store = 'postgres://tiffin:hunter2@db:port/tiffin'\n", "a port that is no number"),
        ("views = 'hunter2'\n", "views are in sqlite:DIR"),
    ] {
        fs::write(&file, content).expect("a file");
        let output = program(place.path()).args(["balances", "--config", "other.toml"]).output().expect("it starts");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{content}: {said}");
        assert!(said.contains(named) && !said.contains("hunter2"), "{content}: {said}");
    }
    let missing = program(place.path()).args(["balances", "--config", "nowhere.toml"]).output().expect("it starts");
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("nowhere.toml"));
}

#[test]
fn a_password_in_a_flag_is_not_repeated() {
    let place = Place::new();
    for store in ["postgres://tiffin:hunter2@db", "esdb://admin:hunter2@db", "hunter2"] {
        let output = program(place.path()).args(["balances", "--store", store]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2));
        assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
}
