//! The guides' examples, as they stand: each has a document, its variables, and what is answered.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{errors::Code, identity::Identity, testing::*};

const ORDERING: &str = include_str!("../../../docs/api/ordering.md");
const REPEATING: &str = include_str!("../../../docs/api/repeating.md");
const ERRORS: &str = include_str!("../../../docs/api/errors.md");
const PAGING: &str = include_str!("../../../docs/api/paging.md");

struct Example {
    document: String,
    variables: Value,
    /// `data`, or `errors`.
    part: &'static str,
    answer: Value,
}

/// The blocks between fences, with what stands after the first fence.
fn blocks(guide: &str) -> Vec<(&str, &str)> {
    let fenced = guide.split("```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').unwrap()).collect()
}

fn examples(guide: &str) -> Vec<Example> {
    let blocks = blocks(guide);
    let read = |text: &str| serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let starts = (0..blocks.len()).filter(|index| blocks[*index].0 == "graphql");
    let example = |index: usize| {
        assert_eq!(blocks[index + 1].0, "json", "an example has variables: {}", blocks[index].1);
        let part = match blocks[index + 2].0 {
            "json" => "data",
            "json errors" => "errors",
            other => panic!("an example has an answer, not {other:?}"),
        };
        let document = blocks[index].1.to_owned();
        Example { document, variables: read(blocks[index + 1].1), part, answer: read(blocks[index + 2].1) }
    };
    starts.map(example).collect()
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

    /// What a guide names for the first time becomes known, and is as it is.
    fn learn(&mut self, expected: &mut Value, found: &Value) {
        match (&mut *expected, found) {
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

/// Runs every example of a guide in its order; answers how many there were.
async fn run(guide: &str, house: &House, known: &mut Known) -> usize {
    let examples = examples(guide);
    let count = examples.len();
    for Example { document, mut variables, part, mut answer } in examples {
        known.fill(&mut variables);
        let head = house.head().await;
        house.views.wait_for(head, std::time::Duration::from_secs(10)).await.unwrap();
        let found = house.ask(&asker(&document), &document, variables).await;
        known.learn(&mut answer, &found.body[part]);
        assert_eq!(found.body[part], answer, "{document}\n{:#}", found.body);
    }
    count
}

async fn lunch(house: &House) -> Known {
    let lunch = house.lunch().await;
    house.deposit(7, "50.00").await;
    let known = [("SERVING", lunch.serving), ("RICE", lunch.rice), ("NOODLES", lunch.noodles)];
    Known(known.into_iter().map(|(name, id)| (name.to_owned(), id)).collect())
}

#[tokio::test]
async fn an_order_goes_as_the_guide_says() {
    let house = House::open().await;
    let mut known = lunch(&house).await;
    assert_eq!(run(ORDERING, &house, &mut known).await, 8);
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_guide_says() {
    let house = House::open().await;
    let mut known = lunch(&house).await;
    assert_eq!(run(REPEATING, &house, &mut known).await, 3);
}

#[tokio::test]
async fn errors_are_as_the_guide_says() {
    let house = House::open().await;
    let mut known = lunch(&house).await;
    assert_eq!(run(ERRORS, &house, &mut known).await, 2);
}

#[tokio::test]
async fn lists_are_paged_as_the_guide_says() {
    let house = House::open().await;
    let mut known = lunch(&house).await;
    for name in ["FIRST", "SECOND"] {
        let rice = json!([{ "dish": known.0["RICE"], "quantity": 1 }]);
        let placed = house.order(&diner(7), &known.0["SERVING"], rice, &key()).await.data();
        known.0.insert(name.to_owned(), placed["placeOrder"]["id"].clone());
    }
    assert_eq!(run(PAGING, &house, &mut known).await, 3);
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
