use std::fmt::Write as _;

use async_graphql::parser::parse_query;

use super::*;

fn checked(query: &str) -> Result<(), Code> {
    let limits = DocumentLimits::default();
    let answer =
        check_text(query, &limits).and_then(|()| check(&parse_query(query).unwrap(), &Variables::default(), &limits));
    answer.map(|_| ()).map_err(|failed| failed.code)
}

fn doubling(fragments: usize, leaf: &str) -> String {
    let mut query = "{ ...f0 }".to_owned();
    for number in 0..fragments {
        let next = if number + 1 == fragments { leaf.to_owned() } else { format!("...f{0} ...f{0}", number + 1) };
        write!(query, " fragment f{number} on Query {{ {next} }}").unwrap();
    }
    query
}

#[test]
fn doubling_fragments_cost_nothing() {
    let query = doubling(31, "__typename");
    let document = parse_query(&query).unwrap();
    let variables = Variables::default();
    let mut meter = Meter::new(&document, &variables);
    let cost = meter.fragment("f0", 0).unwrap();
    assert_eq!(cost.fields, 1 << 30);
    assert_eq!(meter.steps, 1, "each field is looked at once");
    assert_eq!(checked(&query), Err(Code::TooComplex));
    // The same where nothing spreads them: the library would look at them all the same.
    assert_eq!(checked(&query.replacen("{ ...f0 }", "{ viewer { tenant } }", 1)), Err(Code::TooComplex));
}

#[test]
fn a_fragment_within_itself_or_nowhere_is_an_error() {
    assert_eq!(checked("{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }"), Err(Code::BadInput));
    assert_eq!(checked("{ ...a } fragment a on Query { node { ...a } }"), Err(Code::BadInput));
    assert_eq!(checked("{ ...nowhere }"), Err(Code::BadInput));
}

#[test]
fn long_chains_of_fragments_end_before_the_stack_does() {
    let limits = DocumentLimits { fragments: usize::MAX, ..DocumentLimits::default() };
    let mut query = "{ ...f0 }".to_owned();
    for number in 0..5_000 {
        write!(query, " fragment f{number} on Query {{ ...f{} }}", number + 1).unwrap();
    }
    query.push_str(" fragment f5000 on Query { viewer { tenant } }");
    let document = parse_query(&query).unwrap();
    assert_eq!(check(&document, &Variables::default(), &limits).unwrap_err().code, Code::TooComplex);
    assert_eq!(checked(&query), Err(Code::TooComplex));
}

#[test]
fn depth_width_and_price_are_bounded() {
    let deep = |levels: usize| format!("{}x{}", "{ a ".repeat(levels), " }".repeat(levels));
    assert_eq!(checked(&deep(14)), Ok(()));
    assert_eq!(checked(&deep(15)), Err(Code::TooComplex));
    let aliases = |count: usize| {
        let fields: String = (0..count).map(|number| format!("a{number}: id ")).collect();
        format!("{{ order(id: \"x\") {{ {fields} }} }}")
    };
    assert_eq!(checked(&aliases(50)), Ok(()));
    assert_eq!(checked(&aliases(51)), Err(Code::TooComplex));
    let roots = |count: usize| format!("{{ {} }}", "viewer { tenant } ".repeat(count));
    assert_eq!(checked(&roots(20)), Ok(()));
    assert_eq!(checked(&roots(21)), Err(Code::TooComplex));
    let directives = |count: usize| format!("{{ viewer {} {{ tenant }} }}", "@skip(if: false) ".repeat(count));
    assert_eq!(checked(&directives(50)), Ok(()));
    assert_eq!(checked(&directives(51)), Err(Code::TooComplex));
    let pages = |first: u32| {
        format!("{{ canteens(first: {first}) {{ nodes {{ dishes(first: {first}) {{ nodes {{ id name }} }} }} }} }}")
    };
    assert_eq!(checked(&pages(50)), Ok(()));
    assert_eq!(checked(&pages(100)), Err(Code::TooComplex));
}

#[test]
fn arguments_and_variables_are_bounded() {
    let arguments = |fields: usize, each: usize| {
        let given: String = (0..each).map(|number| format!("a{number}: 1 ")).collect();
        format!("{{ viewer {{ {} }} }}", format!("tenant({given}) ").repeat(fields))
    };
    assert_eq!(checked(&arguments(1, 1_000)), Ok(()));
    assert_eq!(checked(&arguments(1, 1_001)), Err(Code::TooComplex));
    assert_eq!(checked(&arguments(10, 100)), Ok(()));
    assert_eq!(checked(&arguments(11, 100)), Err(Code::TooComplex));
    let spread = |times: usize| {
        let given: String = (0..500).map(|number| format!("a{number}: 1 ")).collect();
        format!("{{ {} }} fragment f on Query {{ viewer({given}) {{ tenant }} }}", "...f ".repeat(times))
    };
    assert_eq!(checked(&spread(2)), Ok(()));
    assert_eq!(checked(&spread(3)), Err(Code::TooComplex));
    let of_directives = format!("{{ viewer @skip({}) {{ tenant }} }}", "if: true ".repeat(1_001));
    assert_eq!(checked(&of_directives), Err(Code::TooComplex));
    let variables = |count: usize| {
        let defined: String = (0..count).map(|number| format!("$v{number}: Int ")).collect();
        format!("query({defined}) {{ viewer {{ tenant }} }}")
    };
    assert_eq!(checked(&variables(100)), Ok(()));
    assert_eq!(checked(&variables(101)), Err(Code::TooComplex));
}

#[test]
fn tokens_are_counted_as_the_parser_reads_them() {
    let counted = |query: &str| {
        let fits = |tokens: &usize| check_text(query, &DocumentLimits { tokens: *tokens, ..DocumentLimits::default() });
        (0..100).find(|tokens| fits(tokens).is_ok())
    };
    for (query, tokens) in [
        ("", 0),
        (" ,\t\r\n # { a b c", 0),
        ("{ a }", 3),
        ("{a,b\n#c d\nc}", 5),
        ("...on Order{id}", 6),
        ("...a...b", 4),
        ("$name:[ID!]!=null", 10),
        ("@skip(if:$no)", 8),
        ("-1.5e+10 7 0.25 1E3", 4),
        ("[007]", 5),
        ("1-1-1", 3),
        ("\"a b { ( [ \\\" c\"", 1),
        ("\"a\"\"b\"", 2),
        ("\"\"\"a \\\"\"\" b\nc\"\"\" d", 2),
        ("é", 2),
    ] {
        assert_eq!(counted(query), Some(tokens), "{query}");
    }
    assert_eq!(checked(&format!("{{ a(b: [{}]) }}", "1 ".repeat(9_991))), Ok(()));
    assert_eq!(checked(&format!("{{ a(b: [{}]) }}", "1 ".repeat(9_992))), Err(Code::TooComplex));
    assert_eq!(checked(&format!("{{ a(b: [{}]) }}", "0".repeat(9_992))), Err(Code::TooComplex));
}

const GUIDE: &str = include_str!("../../docs/api/limits.md");

#[test]
fn the_guides_figures_are_those_of_the_program() {
    let limits = DocumentLimits::default();
    let thousands = |number: u64| format!("{},{:03}", number / 1_000, number % 1_000);
    for figure in [
        format!("{} fields deep", limits.depth),
        format!("{} fields", thousands(limits.fields)),
        format!("{} of them at the top", limits.root_fields),
        format!("{} aliases", limits.aliases),
        format!("{} directives", limits.directives),
        format!("{} arguments", thousands(limits.arguments)),
        format!("{} variables", limits.variables),
        format!("{} operations", limits.operations),
        format!("{} fragments", limits.fragments),
        format!("{} tokens", thousands(limits.tokens as u64)),
        format!("a cost of {}", thousands(limits.complexity)),
        format!("first {} errors", crate::answers::MOST_ERRORS),
    ] {
        assert!(GUIDE.contains(&figure), "{figure}");
    }
}

#[test]
fn mutations_cost_more_than_queries() {
    let mutations = |count: usize| {
        let fields: String =
            (0..count).map(|n| format!("a{n}: freezeAccount(account: \"x\") {{ consistencyToken }} ")).collect();
        format!("mutation {{ {fields} }}")
    };
    assert_eq!(checked(&mutations(20)), Ok(()));
    assert_eq!(checked(&mutations(21)), Err(Code::TooComplex));
    let document = parse_query(mutations(3)).unwrap();
    let limits = DocumentLimits { complexity: 3 * MUTATION_COST, ..DocumentLimits::default() };
    let refused = check(&document, &Variables::default(), &limits).unwrap_err();
    assert!(refused.said.english.contains("costs 306"), "{refused:?}");
}

#[test]
fn a_page_is_reckoned_also_from_a_variable_or_unsaid() {
    let cost = |query: &str, variables: serde_json::Value| {
        let document = parse_query(query).unwrap();
        let variables = Variables::from_json(variables);
        let mut meter = Meter::new(&document, &variables);
        let operation = document.operations.iter().next().unwrap().1;
        meter.selection(&operation.node.selection_set.node, 0).unwrap().complexity
    };
    let query = "query($n: Int) { myOrders(first: $n) { nodes { id } } }";
    assert_eq!(cost(query, serde_json::json!({ "n": 7 })), 15);
    assert_eq!(cost("{ myOrders { nodes { id } } }", serde_json::json!({})), 41);
    assert_eq!(cost("{ serving(id: 1) { offers { left } } }", serde_json::json!({})), 22);
}

#[test]
fn a_page_costs_the_same_however_it_is_written() {
    let inline = "{ canteens(first: 100) { nodes { dishes(first: 100) { nodes { id } } } } }";
    assert_eq!(checked(inline), Err(Code::TooComplex));
    for same in [
        "query($n: Int = 100) { canteens(first: $n) { nodes { dishes(first: $n) { nodes { id } } } } }",
        "{ canteens(first: 100) { ...c } }
         fragment c on CanteenConnection { nodes { dishes(first: 100) { ... { nodes { id } } } } }",
        "query($n: Int = 100) { canteens(first: $n) { ...c } }
         fragment c on CanteenConnection { nodes { dishes(first: $n) { ...d } } }
         fragment d on DishConnection { ...e } fragment e on DishConnection { nodes { id } }",
        // Unsaid, it is twenty: as dear by a third level.
        "{ canteens { ...c } } fragment c on CanteenConnection { nodes { dishes { ...d } } }
         fragment d on DishConnection { nodes { canteen { dishes { ...d2 } } } }
         fragment d2 on DishConnection { nodes { id name category } }",
    ] {
        assert_eq!(checked(same), Err(Code::TooComplex), "{same}");
    }
    // A fragment of a thing is no page.
    let thing = "{ canteens { nodes { ...c } } } fragment c on Canteen { id name ...d } fragment d on Canteen { zone }";
    assert_eq!(checked(thing), Ok(()));
}

#[test]
fn brackets_are_counted_outside_strings_and_comments_only() {
    let limits = DocumentLimits::default();
    assert!(check_text(&"{[(".repeat(20), &limits).is_ok());
    assert!(check_text(&"{[(".repeat(21), &limits).is_err());
    assert!(check_text(&format!("{{ a(b: \"{}\") }}", "{".repeat(100)), &limits).is_ok());
    assert!(check_text(&format!("{{ a(b: \"\\\"{}\") }}", "{".repeat(100)), &limits).is_ok());
    assert!(check_text(&format!("{{ a(b: \"\"\"\" \\\"\"\" {}\"\"\") }}", "{".repeat(100)), &limits).is_ok());
    assert!(check_text(&format!("{{ a }} # {}", "{".repeat(100)), &limits).is_ok());
    assert!(check_text(&format!("# \"\n{}", "{".repeat(100)), &limits).is_err());
    assert!(check_text(&format!("\"\" {}", "{".repeat(100)), &limits).is_err());
    assert!(check_text(&format!("\"x\n{}", "{".repeat(100)), &limits).is_err(), "an unfinished string hides nothing");
}

#[test]
fn tools_may_read_the_whole_schema_but_not_without_end() {
    let type_ref = "kind name ".to_owned() + &"ofType { kind name ".repeat(9) + &"}".repeat(9);
    let query = format!(
        "query {{ __schema {{ queryType {{ name }} types {{ kind name description
           fields(includeDeprecated: true) {{ name description args {{ name type {{ ...T }} }} type {{ ...T }} }}
           inputFields {{ name type {{ ...T }} }} interfaces {{ ...T }} enumValues {{ name }} possibleTypes {{ ...T }} }}
           directives {{ name locations args {{ name type {{ ...T }} }} }} }} }} fragment T on __Type {{ {type_ref} }}"
    );
    assert_eq!(checked(&query), Ok(()));
    let endless = "fields { type { ".repeat(5);
    let query = format!("{{ __schema {{ types {{ {endless} name {} }} }} }}", "} }".repeat(5));
    assert_eq!(checked(&query), Err(Code::TooComplex));
}

#[test]
fn a_search_of_a_whole_day_costs_what_a_read_of_the_log_does() {
    let searches = |count: usize| {
        let one = |number| {
            format!(
                "s{number}: menuSearch(date: \"2026-11-23\", name: \"x\", first: 1) {{ nodes {{ offer {{ name }} }} }} "
            )
        };
        format!("{{ {} }}", (0..count).map(one).collect::<String>())
    };
    assert_eq!(checked(&searches(9)), Ok(()));
    assert_eq!(checked(&searches(10)), Err(Code::TooComplex));
}

#[test]
fn the_character_nul_is_refused_wherever_it_stands() {
    let asked = |query: &str, variables: serde_json::Value| {
        let document = parse_query(query).unwrap();
        let answer = check(&document, &Variables::from_json(variables), &DocumentLimits::default());
        answer.map(|_| ()).map_err(|failed| failed.code)
    };
    let nothing = serde_json::json!({});
    assert_eq!(asked("{ a(b: \"x\", c: [{ d: \"\\u0001\" }]) }", nothing.clone()), Ok(()));
    for query in [
        "{ a(b: \"\\u0000\") }",
        "{ a(b: [{ c: [\"x\", \"y\\u0000\"] }]) }",
        "{ a { b { c(d: \"\\u0000\") } } }",
        "{ ...f } fragment f on Query { a(b: \"\\u0000\") }",
        "query($b: String = \"\\u0000\") { a(b: $b) }",
    ] {
        assert_eq!(asked(query, nothing.clone()), Err(Code::BadInput), "{query}");
    }
    let query = "query($b: B) { a(b: $b) }";
    for variables in [serde_json::json!({ "b": "\0" }), serde_json::json!({ "b": { "c": ["x", { "d": "y\0" }] } })] {
        assert_eq!(asked(query, variables.clone()), Err(Code::BadInput), "{variables}");
    }
}
