//! The house: which crate may use which, and who chooses an adapter.

#![allow(clippy::expect_used, reason = "a test that cannot go on says why and fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Each room with the rooms that it may use. A room that is not here is not in the house.
const MAY_USE: &[(&str, &[&str])] = &[
    ("tiffin-domain", &[]),
    ("tiffin-store", &["tiffin-domain"]),
    ("tiffin-commands", &["tiffin-domain", "tiffin-store"]),
    ("tiffin-projections", &["tiffin-domain", "tiffin-store"]),
    ("tiffin-providers", &["tiffin-domain"]),
    // A saga's state is a view with a checkpoint: that is all it has from projections.
    ("tiffin-sagas", &["tiffin-domain", "tiffin-store", "tiffin-commands", "tiffin-projections", "tiffin-providers"]),
    ("tiffin-graphql", &["tiffin-domain", "tiffin-store", "tiffin-commands", "tiffin-projections", "tiffin-sagas"]),
    ("tiffin-benches", &["tiffin-domain", "tiffin-store", "tiffin-commands", "tiffin-projections", "tiffin-sagas"]),
    (
        "tiffin",
        &[
            "tiffin-domain",
            "tiffin-store",
            "tiffin-commands",
            "tiffin-projections",
            "tiffin-providers",
            "tiffin-sagas",
            "tiffin-graphql",
            "tiffin-benches",
        ],
    ),
    // Only ever a dev-dependency.
    ("tiffin-testing", &[]),
    // Tests use what they want, as dev-dependencies; nothing may be built upon them.
    ("tiffin-tests", &[]),
];

/// What `domain` must not be able to do: wait, draw random numbers, log, or reach a database or a socket.
const IMPURE: &[&str] = &[
    "async-trait",
    "axum",
    "chrono",
    "cqrs-es",
    "fastrand",
    "futures",
    "getrandom",
    "log",
    "rand",
    "reqwest",
    "rusqlite",
    "sqlx",
    "tokio",
    "tokio-util",
    "tracing",
];

/// How a clock, randomness or a terminal would be reached without any dependency.
const IMPURE_CALLS: &[&str] =
    &["::now(", "now_v7", "new_v4", "async fn", "println!", "std::fs", "std::net", "std::env", "ring::rand"];

/// The adapters. Only the wiring, tests and measurements say which one it is.
const ADAPTERS: &[&str] = &["SqliteLog", "PostgresLog", "MemoryLog", "SqliteKeys", "PostgresKeys", "MemoryKeys"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().expect("a name")
}

/// Names of what `package` is built from: its dependencies but those of its tests.
fn dependencies(package: &Value) -> BTreeSet<&str> {
    let all = package["dependencies"].as_array().expect("dependencies").iter();
    all.filter(|dependency| dependency["kind"].as_str() != Some("dev")).map(name).collect()
}

/// What is wrong with the rooms and their edges, one sentence each.
fn wrong_edges(packages: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    let rooms: BTreeSet<&str> = packages.iter().map(name).collect();
    for (room, _) in MAY_USE.iter().filter(|(room, _)| !rooms.contains(room)) {
        wrong.push(format!("{room} is gone from the workspace"));
    }
    for package in packages {
        let Some((room, allowed)) = MAY_USE.iter().find(|(room, _)| *room == name(package)) else {
            wrong.push(format!("{} is a new room: say in MAY_USE what it may use", name(package)));
            continue;
        };
        let ours = dependencies(package).into_iter().filter(|dependency| rooms.contains(dependency));
        for used in ours.filter(|used| !allowed.contains(used)) {
            wrong.push(format!("{room} must not use {used}"));
        }
        if *room == "tiffin-domain" {
            let impure = dependencies(package).into_iter().filter(|dependency| IMPURE.contains(dependency));
            wrong.extend(impure.map(|dependency| format!("{room} decides, it must not use {dependency}")));
        }
    }
    wrong
}

#[test]
fn rooms_use_only_what_they_may() {
    assert_eq!(wrong_edges(&packages()), Vec::<String>::new());
}

#[test]
fn a_wrong_edge_is_found() {
    let mut packages = packages();
    for package in &mut packages {
        let edge = match name(package) {
            "tiffin-store" => "tiffin-commands",
            "tiffin-domain" => "tokio",
            _ => continue,
        };
        let added = serde_json::json!({ "name": edge, "kind": null });
        package["dependencies"].as_array_mut().expect("dependencies").push(added);
    }
    packages.push(serde_json::json!({ "name": "tiffin-shed", "dependencies": [] }));
    let wrong = wrong_edges(&packages);
    assert!(wrong.contains(&"tiffin-store must not use tiffin-commands".to_owned()), "{wrong:?}");
    assert!(wrong.contains(&"tiffin-domain decides, it must not use tokio".to_owned()), "{wrong:?}");
    assert!(wrong.iter().any(|sentence| sentence.starts_with("tiffin-shed is a new room")), "{wrong:?}");
    assert_eq!(wrong.len(), 3, "{wrong:?}");
}

/// Lints and versions stand once, in the root's Cargo.toml.
#[test]
fn every_room_takes_lints_and_versions_from_the_root() {
    let mut wrong = Vec::new();
    for package in packages() {
        let path = package["manifest_path"].as_str().expect("a path").to_owned();
        let manifest = fs::read_to_string(&path).expect("a manifest");
        if !section(&manifest, "[lints]").any(|line| line.replace(' ', "") == "workspace=true") {
            wrong.push(format!("{path}: [lints] workspace = true is missing"));
        }
        for table in ["[dependencies]", "[dev-dependencies]", "[build-dependencies]"] {
            let own = section(&manifest, table).filter(|line| !line.contains("workspace"));
            wrong.extend(own.map(|line| format!("{path}: {line}: its version belongs in the root's Cargo.toml")));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The lines of a table that say something, up to the next table.
fn section<'a>(manifest: &'a str, header: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = manifest.lines().map(str::trim).skip_while(move |line| *line != header).skip(1);
    lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[test]
fn only_the_wiring_names_an_adapter() {
    let root = root();
    // With the modules that belong to it.
    let wiring = |file: &Path| file.ends_with("app/src/wiring.rs") || file.starts_with(root.join("app/src/wiring"));
    let mut found = Vec::new();
    let mut seen = 0;
    for package in packages() {
        if matches!(name(&package), "tiffin-store" | "tiffin-tests" | "tiffin-benches") {
            continue;
        }
        let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a path"));
        let mut files = Vec::new();
        sources(&manifest.with_file_name("src"), &mut files);
        for file in files.iter().filter(|file| !wiring(file)) {
            seen += 1;
            let text = fs::read_to_string(file).expect("a source file");
            let shown = file.strip_prefix(&root).unwrap_or(file).display();
            found.extend(adapters_named_in(&text).map(|line| format!("{shown}: {line}")));
        }
    }
    assert!(seen > 10, "only {seen} source files were looked at");
    assert_eq!(found, Vec::<String>::new(), "take `dyn EventStore`, and let the wiring choose");
}

#[test]
fn an_adapter_named_in_the_product_is_found_and_one_in_its_tests_is_not() {
    let product = "// SqliteLog is fine here.\nlet log = SqliteLog::open(path)?;\n";
    assert_eq!(adapters_named_in(product).collect::<Vec<_>>(), ["let log = SqliteLog::open(path)?;"]);
    let tested = "fn run() {}\n#[cfg(test)]\nmod tests {\n    use store::MemoryLog;\n}\n";
    assert_eq!(adapters_named_in(tested).count(), 0);
}

/// A decision is pure: what it needs to know is in its command.
#[test]
fn domain_reads_no_clock_and_draws_no_numbers() {
    let mut files = Vec::new();
    sources(&root().join("domain/src"), &mut files);
    let mut found = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a source file");
        let lines = code(&text).filter(|line| IMPURE_CALLS.iter().any(|call| line.contains(call)));
        found.extend(lines.map(|line| format!("{}: {line}", file.display())));
    }
    assert!(files.len() > 5, "only {files:?} were looked at");
    assert_eq!(found, Vec::<String>::new());
}

/// Lines of code that name an adapter.
fn adapters_named_in(text: &str) -> impl Iterator<Item = &str> {
    code(text).filter(|line| ADAPTERS.iter().any(|adapter| line.contains(adapter)))
}

/// The lines of a file without comments and without the tests at its end.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let product = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    product.lines().map(str::trim).filter(|line| !line.starts_with("//"))
}

/// Every `.rs` file below `folder` that is not a test's own.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    let paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    let tests = modules_of_tests(&folder.join("lib.rs"));
    for path in paths {
        let is_test = path.file_stem().is_some_and(|stem| {
            let stem = stem.to_string_lossy();
            stem.ends_with("tests") || tests.contains(&*stem)
        });
        if path.is_dir() && !is_test {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            files.push(path);
        }
    }
}

/// The modules that a crate's root declares for its tests alone.
fn modules_of_tests(root: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(root).unwrap_or_default();
    let declared = text.split("#[cfg(test)]\n").skip(1).filter_map(|rest| rest.lines().next());
    declared.filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}
