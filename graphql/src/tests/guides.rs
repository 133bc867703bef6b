//! The guides' examples, as they stand: documents with their variables and what is answered, requests over HTTP with
//! what matters of the answer. What else is fenced is run elsewhere, or by nobody, which fails here.

use std::{collections::BTreeMap, path::Path, time::Duration};

use axum::{
    body::{Body, to_bytes},
    http::{Request, Response},
};
use serde_json::{Value, json};

use crate::{errors::Code, identity::Identity, testing::*};

const ERRORS: &str = include_str!("../../../docs/api/errors.md");

/// What stands after the first fence, and the text up to the second.
type Fence<'a> = (&'a str, &'a str);

fn fences(guide: &str) -> Vec<Fence<'_>> {
    let fenced = guide.split("```").skip(1).step_by(2);
    let fences: Vec<_> = fenced.map(|block| block.split_once('\n').unwrap()).collect();
    let is_mark = |line: &&str| ["```", "~~~"].iter().any(|mark| line.trim_start().starts_with(mark));
    assert_eq!(guide.lines().filter(is_mark).count(), fences.len() * 2, "fences that are not seen");
    fences
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Ids of the moment by the names that a guide gives them.
#[derive(Default)]
struct Known(BTreeMap<String, Value>);

impl Known {
    fn name(text: &str) -> Option<&str> {
        text.strip_prefix('<')?.strip_suffix('>')
    }

    fn fill(&self, value: &mut Value) {
        match value {
            Value::String(text) if text == "<KEY>" => *value = json!(key()),
            Value::String(text) => {
                if let Some(name) = Known::name(text) {
                    *value = self.0.get(name).unwrap_or_else(|| panic!("nothing is called {name} yet")).clone();
                }
            }
            Value::Array(values) => values.iter_mut().for_each(|value| self.fill(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.fill(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// As [`Known::fill`], anywhere within a text.
    fn fill_text(&self, text: &str) -> String {
        let known = self.0.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
        known.fold(text.replace("<KEY>", &key()), |text, (name, value)| text.replace(&format!("<{name}>"), value))
    }

    /// What a guide names for the first time becomes known, and is as it is.
    fn learn(&mut self, expected: &mut Value, found: &Value) {
        match (&mut *expected, found) {
            // A guide says so where there is nothing.
            (_, Value::Null) => {}
            (Value::String(text), found) if text == "<…>" => *expected = found.clone(),
            (Value::String(text), found) => {
                if let Some(name) = Known::name(text) {
                    let known = self.0.entry(name.to_owned()).or_insert_with(|| found.clone());
                    *expected = known.clone();
                }
            }
            (Value::Array(expected), Value::Array(found)) => {
                expected.iter_mut().zip(found).for_each(|(expected, found)| self.learn(expected, found));
            }
            (Value::Object(expected), Value::Object(found)) => {
                for (name, expected) in expected {
                    self.learn(expected, found.get(name).unwrap_or(&Value::Null));
                }
            }
            _ => {}
        }
    }
}

fn asker(document: &str) -> Identity {
    match document.lines().next() {
        Some("# As a diner.") => diner(7),
        Some("# As staff.") => staff(),
        other => panic!("an example says who asks, not {other:?}"),
    }
}

/// As much of what was found as is shown: of an object the fields that are named.
fn part(shown: &Value, found: &Value) -> Value {
    match (shown, found) {
        (Value::Object(shown), Value::Object(found)) => {
            let fields = shown.iter().filter_map(|(name, shown)| Some((name.clone(), part(shown, found.get(name)?))));
            Value::Object(fields.collect())
        }
        (Value::Array(shown), Value::Array(found)) if shown.len() == found.len() => {
            shown.iter().zip(found).map(|(shown, found)| part(shown, found)).collect()
        }
        _ => found.clone(),
    }
}

/// A guide that is read from its top to its end, and what it may name.
struct Reading {
    house: House,
    known: Known,
}

impl Reading {
    /// Lunch is served, a diner has money; and what else a guide takes for granted.
    async fn of(guide: &str) -> Reading {
        let house = House::open().await;
        let Lunch { serving, rice, noodles, .. } = house.lunch().await;
        house.deposit(7, "50.00").await;
        let token = |who: u128| json!(house.token(&diner(who)));
        let mut known = vec![("DINER", token(7)), ("GREEDY", token(8))];
        let taken = match guide {
            "live-updates.md" => ["ORDER"].as_slice(),
            "paging.md" => &["FIRST", "SECOND"],
            _ => &[],
        };
        for name in taken {
            let lines = json!([{ "dish": rice, "quantity": 1 }]);
            let placed = house.order(&diner(7), &serving, lines, &key()).await.data();
            known.push((name, placed["placeOrder"]["id"].clone()));
        }
        // So late that nothing comes back while the test runs.
        let (later, whose) = (Duration::from_secs(3_600), (tenant(1), diner(8).actor));
        let burst = crate::Rate::default().burst;
        house.door.buckets.charge(whose, burst, std::time::Instant::now() + later).unwrap();
        known.extend([("SERVING", serving), ("RICE", rice), ("NOODLES", noodles)]);
        let known = known.into_iter().map(|(name, value)| (name.to_owned(), value));
        Reading { known: Known(known.collect()), house }
    }

    async fn asked(&mut self, document: &str, variables: &str, (kind, answer): Fence<'_>) {
        let (mut variables, mut answer) = (read(variables), read(answer));
        self.known.fill(&mut variables);
        let who = asker(document);
        let found = if document.contains("\nsubscription") {
            let at = self.house.listen().await;
            let mut client = self.house.client(&at, &who).await;
            client.subscribe("1", document, variables).await;
            json!({ "data": client.next("1").await })
        } else {
            self.house.ask(&who, document, variables).await.body
        };
        let part = match kind {
            "json" => "data",
            "json errors" => "errors",
            other => panic!("an example has an answer, not {other:?}: {document}"),
        };
        self.known.learn(&mut answer, &found[part]);
        assert_eq!(found[part], answer, "{document}\n{found:#}");
    }

    async fn send(&self, request: &str) -> Response<Body> {
        let request = self.known.fill_text(request);
        let (head, body) = request.split_once("\n\n").unwrap_or((request.trim_end(), ""));
        let mut lines = head.lines();
        let (method, address) = lines.next().unwrap().split_once(' ').unwrap();
        let mut sent = Request::builder().method(method).uri(address);
        for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
            sent = sent.header(name, value);
        }
        self.house.call(sent.body(Body::from(body.to_owned())).unwrap()).await
    }

    async fn sent(&mut self, request: &str, answer: &str) {
        let response = self.send(request).await;
        let (head, shown) = answer.split_once("\n\n").unwrap_or((answer.trim_end(), ""));
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some(&*format!("HTTP/1.1 {}", response.status())), "{request}");
        for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
            let found = response.headers().get(name).unwrap_or_else(|| panic!("no {name}: {request}"));
            let (mut shown, found) = (json!(value), json!(found.to_str().unwrap()));
            self.known.learn(&mut shown, &found);
            assert_eq!(found, shown, "{request}");
        }
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        if shown.is_empty() {
            assert!(body.is_empty(), "{request}");
            return;
        }
        let (mut shown, found) = (read(shown), read(std::str::from_utf8(&body).unwrap()));
        self.known.learn(&mut shown, &found);
        assert_eq!(part(&shown, &found), shown, "{request}\n{found:#}");
    }

    async fn follow(mut self, guide: &str) {
        let mut fences = fences(guide).into_iter().peekable();
        while let Some((kind, text)) = fences.next() {
            let head = self.house.head().await;
            self.house.views.wait_for(head, Duration::from_secs(10)).await.unwrap();
            match kind {
                "graphql" => {
                    let Some(("json", variables)) = fences.next() else { panic!("an example has variables: {text}") };
                    self.asked(text, variables, fences.next().unwrap()).await;
                }
                "http" => {
                    let Some(("http", answer)) = fences.next() else { panic!("a request has an answer: {text}") };
                    self.sent(text, answer).await;
                }
                // With what it writes, if that is shown: app/tests/cli/guides.rs.
                "sh" => drop(fences.next_if(|(kind, _)| *kind == "json")),
                // app/tests/cli/guides.rs, clients/tests/src/guides.test.ts.
                "toml" | "js" => {}
                other => panic!("nobody runs what is fenced as {other:?}: {text}"),
            }
        }
    }
}

#[tokio::test]
async fn every_example_of_every_guide_goes_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let guides: Vec<_> = files.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect();
    assert!(guides.len() >= 8, "{guides:?}");
    for file in guides {
        let name = file.file_name().unwrap().to_str().unwrap();
        println!("{name}");
        Reading::of(name).await.follow(&std::fs::read_to_string(&file).unwrap()).await;
    }
}

/// A code that the guide does not explain, or that is none any more.
#[test]
fn the_guide_lists_every_code() {
    let rows = ERRORS.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.split('|').nth(1).unwrap());
    let mut listed: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    listed.sort_unstable();
    let mut codes: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    codes.sort_unstable();
    assert_eq!(listed, codes);
}
