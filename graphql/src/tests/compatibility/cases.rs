//! What breaks, what is dangerous, and what is neither.

use super::Changes;

#[track_caller]
fn changes(released: &str, current: &str) -> Changes {
    let whole = |types: &str| format!("schema {{ query: Query }} {types}");
    Changes::between(&whole(released), &whole(current))
}

#[track_caller]
fn assert_breaks(released: &str, current: &str, sentence: &str) {
    let found = changes(released, current);
    assert!(found.breaking.iter().any(|one| one.starts_with(sentence)), "{found:?}");
    assert_eq!(found.breaking.len(), 1, "{found:?}");
}

#[test]
fn what_is_only_added_breaks_nobody() {
    let old = "type Query { a: Int } enum E { X } input I { a: Int! } ";
    let new = "type Query { a(new: Int, known: Int! = 1): Int! b: New } type New { c: [E!]! } enum E { X Y }
      input I { a: Int more: [Int!] also: Int! = 2 }";
    assert_eq!(changes(old, new), Changes::default());
    let old = "type Query { a: [Int] b: [[Int!]] } ";
    assert_eq!(changes(old, "type Query { a: [Int!]! b: [[Int!]!]! }"), Changes::default());
    assert_eq!(changes(old, old), Changes::default());
}

#[test]
fn what_goes_breaks_whoever_uses_it() {
    assert_breaks("type Query { a: Int b: Int }", "type Query { a: Int }", "Query.b is gone");
}

#[test]
fn a_type_that_goes_breaks_whoever_names_it() {
    let found = changes("type Query { a: T } type T { b: Int }", "type Query { a: Int }");
    assert_eq!(found.breaking.len(), 2, "{found:?}");
}

#[test]
fn an_argument_that_goes_or_must_be_given_breaks() {
    assert_breaks("type Query { a(x: Int): Int }", "type Query { a: Int }", "Query.a(x) is gone");
    assert_breaks("type Query { a: Int }", "type Query { a(x: Int!): Int }", "Query.a(x) must be given");
    assert_breaks("type Query { a(x: Int): Int }", "type Query { a(x: Int!): Int }", "Query.a(x) took Int and");
    assert_breaks("type Query { a(x: Int): Int }", "type Query { a(x: [Int]): Int }", "Query.a(x) took Int and");
    assert_breaks("type Query { a(x: [Int]): Int }", "type Query { a(x: [Int!]): Int }", "Query.a(x) took [Int] and");
    let (old, new) = ("type Query { a(x: Int! = 1): Int }", "type Query { a(x: Int!): Int }");
    assert_breaks(old, new, "Query.a(x) took Int! and");
}

#[test]
fn an_input_that_demands_more_breaks() {
    let with = |fields: &str| format!("type Query {{ a(i: I): Int }} input I {{ a: Int {fields} }}");
    assert_breaks(&with("b: Int"), &with(""), "I(b) is gone");
    assert_breaks(&with(""), &with("b: Int!"), "I(b) must be given");
    assert_breaks(&with("b: Int"), &with("b: Int!"), "I(b) took Int and takes Int!");
    assert_eq!(changes(&with("b: Int!"), &with("b: Int")), Changes::default());
}

#[test]
fn an_answer_of_another_type_breaks() {
    for (old, new) in [("Int!", "Int"), ("Int", "String"), ("Int", "[Int]"), ("[Int!]!", "[Int]!"), ("[Int]", "Int")] {
        let with = |of: &str| format!("type Query {{ a: {of} }}");
        assert_breaks(&with(old), &with(new), &format!("Query.a was {old} and is {new}"));
    }
    let (old, new) = ("type Query { a: T } type T { b: Int }", "type Query { a: T } interface T { b: Int }");
    assert_breaks(old, new, "T was a type and is a interface");
}

#[test]
fn a_case_that_goes_breaks_and_one_that_comes_is_dangerous() {
    let with = |members: &str, values: &str| {
        format!(
            "type Query {{ u: U e: E n: N }} type A {{ id: ID }} type B {{ id: ID }} type C implements N {{ id: ID }}
             interface N {{ id: ID }} union U = {members} enum E {{ {values} }}"
        )
    };
    assert_breaks(&with("A | B", "X"), &with("A", "X"), "U does not contain B any more");
    assert_breaks(&with("A", "X Y"), &with("A", "X"), "E.Y is gone");
    let found = changes(&with("A", "X"), &with("A | B", "X Y"));
    let sentences = ["E.Y may be answered", "U may contain B"];
    assert!(found.breaking.is_empty());
    assert!(found.dangerous.iter().zip(sentences).all(|(one, sentence)| one.starts_with(sentence)), "{found:?}");
    assert_eq!(found.dangerous.len(), 2);
    let bare = with("A", "X").replace("C implements N", "C");
    assert_breaks(&with("A", "X"), &bare, "C does not implement N any more");
    assert_eq!(changes(&bare, &with("A", "X")).dangerous.len(), 1);
}

#[test]
fn another_default_is_dangerous() {
    let found = changes("type Query { a(x: Int = 1): Int }", "type Query { a(x: Int = 2): Int }");
    assert_eq!(found.dangerous, ["Query.a(x) is something else when it is not given"]);
}

#[test]
fn what_was_deprecated_in_the_release_may_go() {
    let old = "type Query { a: Int b: T @deprecated(reason: \"since 1.2, use a\") } type T { e: E }
      enum E { X Y @deprecated } ";
    assert_eq!(changes(old, "type Query { a: Int } enum E { X }").breaking.len(), 0);
    // Of another field than the deprecated one.
    assert_breaks(old, "type Query { b: T } type T { e: E } enum E { X }", "Query.a is gone");
    // A type that something else still leads to.
    let used = "type Query { a: T b: T @deprecated } type T { c: Int }";
    let found = changes(used, "type Query { a: Int }");
    assert_eq!(found.breaking.len(), 2, "{found:?}");
}

#[test]
fn an_input_of_which_one_field_is_taken_breaks() {
    let with = |directive: &str| format!("type Query {{ a(i: I): Int }} input I {directive} {{ a: Int b: Int }}");
    assert_breaks(&with(""), &with("@oneOf"), "I takes exactly one of its fields");
    assert_eq!(changes(&with("@oneOf"), &with("")), Changes::default());
    assert_eq!(changes(&with("@oneOf"), &with("@oneOf")), Changes::default());
    let new = "type Query { a(i: I j: J): Int } input I { a: Int b: Int } input J @oneOf { a: Int b: Int }";
    assert_eq!(changes(&with(""), new), Changes::default(), "nobody gives a new one yet");
}

#[test]
fn a_directive_that_takes_less_breaks() {
    let with = |directive: &str| format!("type Query {{ a: Int }} directive @d{directive}");
    let old = with("(x: Int y: Int) on FIELD | FRAGMENT_SPREAD");
    for (directive, sentence) in [
        ("(x: Int) on FIELD | FRAGMENT_SPREAD", "@d(y) is gone"),
        ("(x: Int! y: Int) on FIELD | FRAGMENT_SPREAD", "@d(x) took Int and takes Int!"),
        ("(x: Int y: Int) on FRAGMENT_SPREAD", "@d may not stand on Field any more"),
    ] {
        assert_breaks(&old, &with(directive), sentence);
    }
    assert_eq!(changes(&with(" on FIELD"), &with("(x: Int) on QUERY | FIELD")), Changes::default());
}

#[test]
fn a_directive_or_a_root_that_goes_breaks() {
    let old = "type Query { a: Int } directive @d(x: Int) on FIELD";
    assert_breaks(old, "type Query { a: Int }", "@d is gone");
    let root = |name: &str| format!("schema {{ query: {name} }} type Q {{ a: Int }} type P {{ a: Int }}");
    let found = Changes::between(&root("Q"), &root("P"));
    assert_eq!(found.breaking, ["the root of every query is not Q any more"]);
}
