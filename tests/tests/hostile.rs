//! Documents that nobody means: each is refused soon, in few words, and costs the program little memory.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

mod support;

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{
    http::{Answer, Connection},
    lunch::Place,
};

/// How soon each is refused at the latest, by a program that is not optimised on a machine that may stand still.
const SOON: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const FEW: usize = 16 * 1024;
/// How much more memory the program may take for one of them than it ever had, in KiB.
const HARDLY: u64 = 64 * 1024;
/// Largest body that is read.
const BODY: usize = 256 * 1024;

fn many(times: usize, one: impl Fn(usize) -> String) -> String {
    (0..times).map(one).collect()
}

/// Queries, with the code of what is said to each.
fn queries() -> Vec<(&'static str, String, &'static str)> {
    let doubling = many(31, |number| match number {
        30 => " fragment f30 on Query { __typename }".to_owned(),
        _ => format!(" fragment f{number} on Query {{ ...f{0} ...f{0} }}", number + 1),
    });
    let arguments = many(14_000, |number| format!("a{number}:1,"));
    let some_arguments = many(400, |number| format!("a{number}:1,"));
    let twice = many(2_000, |number| format!("n{number}:1 n{number}:1 "));
    let long = "n".repeat(100_000);
    let variables = |count| many(count, |number| format!("$v{number}:Int "));
    vec![
        ("aliases", format!("{{ {} }}", many(2_000, |number| format!("a{number}: __typename "))), "TOO_COMPLEX"),
        ("depth", format!("{}x{}", "{a".repeat(500), "}".repeat(500)), "TOO_COMPLEX"),
        ("tokens", format!("{{ {} }}", "a ".repeat(100_000)), "TOO_COMPLEX"),
        ("a circle", "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }".to_owned(), "BAD_INPUT"),
        ("doubling", format!("{{ ...f0 }}{doubling}"), "TOO_COMPLEX"),
        ("arguments", format!("{{__schema({arguments}){{__typename}}}}"), "TOO_COMPLEX"),
        (
            "arguments of two fields",
            format!("{{__schema({arguments}){{a}} __schema({arguments}){{a}}}}"),
            "TOO_COMPLEX",
        ),
        ("arguments twice", format!("{{__schema({twice}){{__typename}}}}"), "TOO_COMPLEX"),
        ("unknown arguments", format!("{{__schema({some_arguments}){{__typename}}}}"), "BAD_INPUT"),
        ("a list", format!("{{__type(name:[{}]){{name}}}}", "1 ".repeat(100_000)), "TOO_COMPLEX"),
        ("a list of noughts", format!("{{__type(name:[{}]){{name}}}}", "0".repeat(100_000)), "TOO_COMPLEX"),
        ("a list that is taken", format!("{{__type(name:[{}]){{name}}}}", "1 ".repeat(9_900)), "BAD_INPUT"),
        ("variables", format!("query({}) {{ __typename }}", variables(3_000)), "TOO_COMPLEX"),
        (
            "a long name",
            format!("query {long}({}) {{ __schema {{ queryType {{ name }} }} }}", variables(100)),
            "BAD_INPUT",
        ),
        ("a long fragment", format!("{{ ...{long} }}"), "BAD_INPUT"),
        ("a long line that is none", format!("{{ a(b: {long} }}"), "BAD_INPUT"),
    ]
}

fn asked(place: &support::Server, request: &Value) -> Answer {
    let mut connection = Connection::open(place.address).unwrap();
    connection.post("/graphql", None, request.to_string().as_bytes()).unwrap()
}

#[test]
fn documents_that_nobody_means_are_refused_soon_in_few_words_and_without_memory() {
    let place = Place::new();
    let server = place.serve();
    // What it needs for any answer it has after the first.
    assert_eq!(asked(&server, &json!({ "query": "{ __schema { types { name } } }" })).status, 200);
    let most = Cell::new(server.peak_memory());
    let refused = |what: &str, ask: &dyn Fn() -> Answer, code: &str| {
        let began = Instant::now();
        let answer = ask();
        let took = began.elapsed();
        let (status, length, now) = (answer.status, answer.body.len(), server.peak_memory());
        let taken = now - most.replace(now);
        println!("{what}: {status} of {length} bytes after {took:?}, {taken} KiB more than anything before");
        assert!(answer.status < 500, "{what}: {answer:?}");
        assert!(answer.body.len() < FEW, "{what}: {} bytes", answer.body.len());
        let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
        assert!(
            !errors.is_empty() && errors.iter().all(|error| error["extensions"]["code"] == code),
            "{what}: {errors:?}"
        );
        assert!(took < SOON, "{what}: {took:?}");
        assert!(taken < HARDLY, "{what}: {taken} KiB");
    };
    for (what, query, code) in queries() {
        let request = json!({ "query": query });
        assert!(request.to_string().len() < BODY, "{what} would not be read");
        refused(what, &|| asked(&server, &request), code);
    }
    let list =
        json!({ "query": "query($n: String!) { __type(name: $n) { name } }", "variables": { "n": vec![1; 100_000] } });
    refused("a list in a variable", &|| asked(&server, &list), "BAD_INPUT");
    let nested =
        format!(r#"{{"query":"{{ __typename }}","variables":{{"v":{}{}}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let body = |length: usize, sent: &[u8]| {
        Connection::open(server.address).and_then(|mut to| to.post_less_of(length, "/graphql", sent)).unwrap()
    };
    refused("brackets in a variable", &|| body(nested.len(), nested.as_bytes()), "BAD_INPUT");
    // As much of it as is read: who sends on is hung up on, and may not hear why.
    refused("10 MB", &|| body(10_000_000, &vec![b' '; BODY + 1]), "BAD_INPUT");
    assert!(server.stop(), "it ends well");
}
