//! The commands and settings in the guides of the API, as they stand; the rest of them is run by
//! `graphql/src/tests/guides.rs` and `clients/tests/src/guides.test.ts`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::support::{Place, Server, TENANT, graphql, program, stderr, stdout};

/// How many fences of which kind the tests below run.
const RUN: &[(&str, &str, usize)] =
    &[("README.md", ANSWERED, 1), ("identity.md", "sh", 2), ("identity.md", "toml", 1), ("limits.md", "toml", 1)];

/// A command with what it writes, in JSON.
const ANSWERED: &str = "sh, json";

/// Where the guides' server listens, and where another issuer has its keys.
const HERE: &str = "127.0.0.1:8080";
/// The store that a demo names.
const OF_DEMO: &str = "sqlite:./tiffin-data/demo-1";
const LOGIN: &str = "https://login.example/.well-known/jwks.json";

fn guides() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api")
}

/// What stands between fences of a kind, each with the text of the next fence.
fn fences(guide: &str, kind: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(guides().join(guide)).expect("a guide");
    let fenced: Vec<_> = text.split("```").skip(1).step_by(2).filter_map(|fence| fence.split_once('\n')).collect();
    let next = fenced.iter().skip(1).copied().chain([("", "")]);
    let kind_of = |fence: &str, next: &str| format!("{fence}{}", if next == "json" { ", json" } else { "" });
    let of_kind = fenced.iter().zip(next).filter(|(fence, next)| kind_of(fence.0, next.0) == kind);
    of_kind.map(|(fence, next)| (fence.1.to_owned(), next.1.to_owned())).collect()
}

#[test]
fn no_command_and_no_setting_of_a_guide_is_left_out() {
    let mut found = vec![];
    let mut files: Vec<_> = fs::read_dir(guides()).expect("a folder").map(|file| file.expect("a file")).collect();
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files.iter().filter(|file| file.path().is_file()) {
        let name = file.file_name().into_string().expect("a name");
        let counts = ["sh", ANSWERED, "toml", "toml, json"].map(|kind| (kind, fences(&name, kind).len()));
        found.extend(
            counts.into_iter().filter(|(_, count)| *count > 0).map(|(kind, count)| (name.clone(), kind, count)),
        );
    }
    let run: Vec<_> = RUN.iter().map(|(name, kind, count)| ((*name).to_owned(), *kind, *count)).collect();
    assert_eq!(found, run);
}

#[test]
fn a_request_is_made_as_the_guide_says() {
    let place = Place::new();
    let server = place.serve();
    let [(script, answer)] = fences("README.md", ANSWERED).try_into().expect("one");
    let tiffin = program(place.path());
    let beside = Path::new(tiffin.get_program()).parent().expect("a folder").display().to_string();
    let path = std::env::var("PATH").expect("a path");
    let output = std::process::Command::new("sh")
        .args(["-ec", &script.replace(HERE, &server.address.to_string()).replace(OF_DEMO, &place.store())])
        .env("PATH", format!("{beside}:{path}"))
        .current_dir(place.path())
        .output()
        .expect("it starts");
    let said: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let shown: Value = serde_json::from_str(&answer).expect("JSON");
    assert!(shown["data"].is_object(), "the guide shows no data: {shown}");
    assert_eq!(said["data"], shown["data"], "{said} {}", stderr(&output));
}

/// Starts `tiffin serve …` as it is written, with the keys of `issuer`.
fn serve(place: &Place, command: &str, issuer: &Server) -> Server {
    let keys = format!("http://{}/.well-known/jwks.json", issuer.address);
    let command =
        command.replace(LOGIN, &keys).replace(&HERE.replace("127.0.0.1", "localhost"), &issuer.address.to_string());
    let words: Vec<_> = command.split_whitespace().collect();
    let ["tiffin", "serve", arguments @ ..] = words.as_slice() else { panic!("another command: {command}") };
    place.serve_with(arguments)
}

/// A token of the guide's issuer, signed with the key of `login`.
fn token(login: &Place, claims: Value) -> String {
    let pem = fs::read(login.folder().join("issuer.pem")).expect("a key");
    let kid = jsonwebtoken::decode_header(login.token("diner")).expect("a token").kid;
    let header = Header { kid, ..Header::new(Algorithm::EdDSA) };
    let mut all = json!({ "iss": "https://login.example/", "aud": "canteens", "exp": 4_000_000_000_u64 });
    all.as_object_mut().expect("claims").extend(claims.as_object().expect("claims").clone());
    jsonwebtoken::encode(&header, &all, &EncodingKey::from_ed_pem(&pem).expect("a key")).expect("a token")
}

fn roles(server: &Server, token: &str) -> Value {
    let answer = graphql(server.address, token, "{ viewer { tenant roles } }", json!({})).expect("an answer");
    assert_eq!(answer["data"]["viewer"]["tenant"], TENANT, "{answer}");
    answer["data"]["viewer"]["roles"].clone()
}

#[test]
fn a_server_takes_the_tokens_of_another_issuer_as_the_guide_says() {
    let login = Place::new();
    let issuer = login.serve();
    let [(outside, _), (ours, _)] = fences("identity.md", "sh").try_into().expect("two");
    let sub = "00000000-0000-7000-8000-000000000007";
    let named = token(&login, json!({ "sub": sub, "tenant": TENANT, "roles": ["diner"] }));
    assert_eq!(roles(&serve(&Place::new(), &outside, &issuer), &named), json!(["DINER"]));

    // The same in a file, which gives the claims other names.
    let [(settings, _)] = fences("identity.md", "toml").try_into().expect("one");
    let place = Place::new();
    let keys = format!("http://{}/.well-known/jwks.json", issuer.address);
    fs::write(place.path().join("tiffin.toml"), settings.replace(LOGIN, &keys)).expect("a file");
    let server = place.serve();
    let renamed = json!({ "sub": "anna", "https://canteens.example/id": sub,
        "https://canteens.example/tenant": TENANT, "https://canteens.example/roles": ["auditor"] });
    assert_eq!(roles(&server, &token(&login, renamed)), json!(["AUDITOR"]));
    let refused = graphql(server.address, &named, "{ viewer { roles } }", json!({})).expect("an answer");
    assert_eq!(refused["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{refused}");

    // And for development.
    assert_eq!(roles(&serve(&Place::new(), &ours, &issuer), &login.token("diner")), json!(["DINER"]));
}

#[test]
fn a_server_has_the_limits_of_the_guides_file() {
    let [(settings, _)] = fences("limits.md", "toml").try_into().expect("one");
    let place = Place::new();
    fs::write(place.path().join("tiffin.toml"), settings).expect("a file");
    let server = place.serve();
    let token = place.token("diner");
    let ask = |query: &str| graphql(server.address, &token, query, json!({})).expect("an answer");
    let closed = ask("{ __schema { queryType { name } } }");
    assert_eq!(closed["errors"][0]["extensions"]["code"], "FORBIDDEN", "{closed}");
    let cost = ask("{ viewer { roles } }")["extensions"]["cost"].clone();
    let (requested, available) = (cost["requested"].as_u64(), cost["available"].as_u64());
    assert_eq!(requested.zip(available).map(|(requested, available)| requested + available), Some(1_000_000), "{cost}");
    assert_eq!(cost["restoresPerSecond"], 50_000);
    let origin = "https://lunch.example";
    let asked = std::process::Command::new("curl")
        .args([
            "-si",
            "-H",
            &format!("Origin: {origin}"),
            &format!("http://{}/graphql?query=%7B__typename%7D", server.address),
        ])
        .output()
        .expect("it starts");
    let allowed = stdout(&asked).to_ascii_lowercase().contains(&format!("access-control-allow-origin: {origin}"));
    assert!(allowed, "{}", stdout(&asked));
}
