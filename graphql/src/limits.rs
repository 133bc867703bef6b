//! What a document may ask for, checked in one memoised pass before the library looks at it.
//!
//! Each fragment is measured once, however often it is spread: 31 fragments that each spread the
//! next one twice cost 31 steps here, and would cost the library's own validation 2³¹.

use std::{collections::HashMap, convert::Infallible};

use async_graphql::{
    Name, Positioned, Value, Variables,
    parser::types::{Directive, ExecutableDocument, Field, OperationType, Selection, SelectionSet},
};

use crate::errors::{Code, Failed, coded};

/// Bounds on documents. All count with every fragment written out.
#[derive(Clone, Copy, Debug)]
pub struct DocumentLimits {
    /// Fields within fields.
    pub depth: u32,
    /// Fields, each as often as it may be answered; see [`COSTLY`].
    pub complexity: u64,
    pub fields: u64,
    pub aliases: u64,
    /// Fields of the query or mutation itself.
    pub root_fields: u64,
    pub directives: u64,
    /// Arguments of fields and of directives.
    pub arguments: u64,
    /// Variables of all operations.
    pub variables: usize,
    pub operations: usize,
    pub fragments: usize,
    /// Names, values and signs, in the text.
    pub tokens: usize,
    /// Brackets within brackets, in the text.
    pub nesting: usize,
}

impl Default for DocumentLimits {
    fn default() -> Self {
        DocumentLimits {
            depth: 14,
            complexity: 20_000,
            fields: 1_000,
            aliases: 50,
            root_fields: 20,
            directives: 50,
            arguments: 1_000,
            variables: 100,
            operations: 20,
            fragments: 100,
            tokens: 10_000,
            nesting: 60,
        }
    }
}

/// What introspection alone may cost: tools ask for the whole schema, and nothing of it is read
/// from anywhere.
const INTROSPECTION_COMPLEXITY: u64 = 500_000;
const INTROSPECTION_DEPTH: u32 = 20;
/// What a mutation costs beside what it answers with.
const MUTATION_COST: u64 = 100;
/// Items of a page when the caller does not say.
pub(crate) const DEFAULT_PAGE: u32 = 20;
/// Most items of a page.
pub(crate) const MAX_PAGE: u32 = 100;

/// Lists that are not paged, and how many items are reckoned; and pages.
const COSTLY: &[(&str, u64)] = &[
    ("offers", 20),
    ("lines", 5),
    ("tickets", 50),
    ("dashboards", 20),
    ("minutes", 100),
    ("commands", 20),
    ("decided", 2),
    ("books", 2),
    ("places", 5),
    ("statement", 3),
    ("versions", 10),
    ("balanceChanges", 100),
    ("mySubsidyLots", 20),
    ("prepSheet", 50),
    ("variants", 3),
    ("projections", 20),
    ("withdrawals", 5),
    ("paymentCode", 20),
    // Introspection.
    ("types", 100),
    ("fields", 10),
    ("args", 4),
    ("inputFields", 5),
    ("possibleTypes", 5),
    ("enumValues", 8),
];

/// Fields that read the log itself, or all that a tenant offers on a day, and what each costs beside what it answers
/// with.
const LONG_READS: &[(&str, u64)] =
    &[("events", 2_000), ("causation", 2_000), ("aggregate", 2_000), ("changes", 2_000), ("menuSearch", 2_000)];

/// What a selection costs, with its fragments written out.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Fields at the selection's own level.
    here: u64,
    fields: u64,
    depth: u32,
    aliases: u64,
    directives: u64,
    arguments: u64,
    complexity: u64,
}

impl Cost {
    fn add(&mut self, other: Cost) {
        self.here = self.here.saturating_add(other.here);
        self.fields = self.fields.saturating_add(other.fields);
        self.depth = self.depth.max(other.depth);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.arguments = self.arguments.saturating_add(other.arguments);
        self.complexity = self.complexity.saturating_add(other.complexity);
    }

    fn add_directives(&mut self, directives: &[Positioned<Directive>]) {
        let arguments: usize = directives.iter().map(|directive| directive.node.arguments.len()).sum();
        self.directives = self.directives.saturating_add(directives.len() as u64);
        self.arguments = self.arguments.saturating_add(arguments as u64);
    }
}

struct Meter<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    /// What variables are when nothing is said: the largest number that an operation gives each.
    defaults: HashMap<&'a str, u64>,
    /// Whether each fragment has the edges or nodes of a page.
    pages: HashMap<&'a str, bool>,
    /// None while it is being measured: meeting it then is a cycle.
    measured: HashMap<&'a str, Option<Cost>>,
    /// Fields that were looked at, which is what this pass itself costs.
    #[cfg(test)]
    steps: usize,
}

/// `what` there is too much of, in English and in Chinese.
fn too_complex((what, chinese): (&str, &str), most: impl std::fmt::Display) -> Failed {
    coded(Code::TooComplex, format!("the document has too many {what}; the most is {most}"))
        .in_chinese(format!("文档里的{chinese}太多，最多 {most} 个"))
}

/// Checks a text before it is parsed: the parser calls itself for each bracket, and the library looks at each
/// token, at some of them together with all others.
pub(crate) fn check_text(query: &str, limits: &DocumentLimits) -> Result<(), Failed> {
    let bytes = query.as_bytes();
    let (mut index, mut depth, mut tokens) = (0, 0_usize, 0_usize);
    while let Some(byte) = bytes.get(index) {
        // The last byte of what begins here.
        let mut end = index;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b',' => {
                index += 1;
                continue;
            }
            b'#' => {
                index += bytes[index..].iter().take_while(|byte| !matches!(byte, b'\n' | b'\r')).count();
                continue;
            }
            b'"' => end = after_string(bytes, index),
            b'{' | b'(' | b'[' => {
                depth += 1;
                if depth > limits.nesting {
                    return Err(too_complex(("brackets within brackets", "括号嵌套"), limits.nesting));
                }
            }
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => end += spelled(&bytes[index + 1..]),
            b'-' | b'0'..=b'9' => end = after_number(bytes, index),
            b'.' if bytes[index..].starts_with(b"...") => end += 2,
            _ => {}
        }
        tokens += 1;
        if tokens > limits.tokens {
            return Err(too_complex(("tokens", "词和符号"), limits.tokens));
        }
        index = end + 1;
    }
    Ok(())
}

/// How many bytes a name goes on for.
fn spelled(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
}

/// The index of the last byte of the number that begins at `start`. As the parser reads it: `007` are three.
fn after_number(bytes: &[u8], start: usize) -> usize {
    let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let mut next = start + usize::from(bytes[start] == b'-');
    next += if bytes.get(next) == Some(&b'0') { 1 } else { digits(next) };
    if bytes.get(next) == Some(&b'.') && digits(next + 1) > 0 {
        next += 1 + digits(next + 1);
    }
    if matches!(bytes.get(next), Some(b'e' | b'E')) {
        let signed = next + 1 + usize::from(matches!(bytes.get(next + 1), Some(b'+' | b'-')));
        if digits(signed) > 0 {
            next = signed + digits(signed);
        }
    }
    next - 1
}

/// The index of the last byte of the string or block string that begins at `start`.
fn after_string(bytes: &[u8], start: usize) -> usize {
    let block = bytes[start..].starts_with(b"\"\"\"");
    let mut index = start + if block { 3 } else { 1 };
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'\\' if block && bytes[index..].starts_with(b"\\\"\"\"") => index += 3,
            b'\\' if !block => index += 1,
            b'"' if !block => return index,
            // An unfinished string: the parser will say so.
            b'\n' if !block => return index,
            b'"' if bytes[index..].starts_with(b"\"\"\"") => return index + 2,
            _ => {}
        }
        index += 1;
    }
    index
}

/// Refuses texts with the character NUL, which not every database can hold; nobody means it.
fn check_plain(value: &Value) -> Result<(), Failed> {
    match value {
        Value::String(text) if text.contains('\0') => Err(coded(Code::BadInput, "a text has the character NUL")),
        Value::List(items) => items.iter().try_for_each(check_plain),
        Value::Object(fields) => fields.values().try_for_each(check_plain),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Boolean(_) | Value::Binary(_) | Value::Enum(_) => {
            Ok(())
        }
    }
}

/// Checks every operation and every fragment, also those that would not run: the library looks at
/// them all. What the dearest operation costs, which is what the caller is charged.
pub(crate) fn check(
    document: &ExecutableDocument,
    variables: &Variables,
    limits: &DocumentLimits,
) -> Result<u64, Failed> {
    variables.values().try_for_each(check_plain)?;
    let mut dearest = 0;
    let mut meter = Meter::new(document, variables);
    if document.operations.iter().len() > limits.operations {
        return Err(too_complex(("operations", "操作"), limits.operations));
    }
    if document.fragments.len() > limits.fragments {
        return Err(too_complex(("fragments", "片段"), limits.fragments));
    }
    let variables: usize = document.operations.iter().map(|(_, one)| one.node.variable_definitions.len()).sum();
    if variables > limits.variables {
        return Err(too_complex(("variables", "变量"), limits.variables));
    }
    for name in document.fragments.keys() {
        let cost = meter.fragment(name, 0)?;
        within(cost, limits, limits.complexity.max(INTROSPECTION_COMPLEXITY), INTROSPECTION_DEPTH)?;
    }
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        let defaults = operation.variable_definitions.iter().filter_map(|one| one.node.default_value.as_ref());
        defaults.map(|default| &default.node).try_for_each(check_plain)?;
        let mut cost = meter.selection(&operation.selection_set.node, 0)?;
        cost.add_directives(&operation.directives);
        operation.variable_definitions.iter().for_each(|one| cost.add_directives(&one.node.directives));
        if operation.ty == OperationType::Mutation {
            cost.complexity = cost.complexity.saturating_add(cost.here.saturating_mul(MUTATION_COST));
        }
        if cost.here > limits.root_fields {
            return Err(too_complex(("fields at the top", "顶层字段"), limits.root_fields));
        }
        let (complexity, depth) = match is_introspection(&operation.selection_set.node) {
            true => (INTROSPECTION_COMPLEXITY, INTROSPECTION_DEPTH),
            false => (limits.complexity, limits.depth),
        };
        within(cost, limits, complexity, depth)?;
        // The schema is reckoned much larger than it is; nothing is read for it.
        dearest = dearest.max(cost.complexity.min(limits.complexity));
    }
    Ok(dearest)
}

/// Whether every root field is about the schema itself. Root fields in fragments count as others.
fn is_introspection(selection: &SelectionSet) -> bool {
    selection.items.iter().all(|item| match &item.node {
        Selection::Field(field) => field.node.name.node.starts_with("__"),
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => false,
    })
}

fn within(cost: Cost, limits: &DocumentLimits, complexity: u64, depth: u32) -> Result<(), Failed> {
    if cost.depth > depth {
        return Err(coded(
            Code::TooComplex,
            format!("the document is {} fields deep; the most is {depth}", cost.depth),
        )
        .in_chinese(format!("文档有 {} 层字段，最多 {depth} 层", cost.depth)));
    }
    if cost.fields > limits.fields {
        return Err(too_complex(("fields", "字段"), limits.fields));
    }
    if cost.aliases > limits.aliases {
        return Err(too_complex(("aliases", "别名"), limits.aliases));
    }
    if cost.directives > limits.directives {
        return Err(too_complex(("directives", "指令"), limits.directives));
    }
    if cost.arguments > limits.arguments {
        return Err(too_complex(("arguments", "参数"), limits.arguments));
    }
    if cost.complexity > complexity {
        let found = cost.complexity;
        return Err(coded(
            Code::TooComplex,
            format!("the document costs {found}; the most is {complexity}: ask for fewer fields or smaller pages"),
        )
        .in_chinese(format!("文档的费用是 {found}，最多 {complexity}：请减少字段或每页项数")));
    }
    Ok(())
}

impl<'a> Meter<'a> {
    fn new(document: &'a ExecutableDocument, variables: &'a Variables) -> Self {
        let mut defaults: HashMap<&str, u64> = HashMap::new();
        let definitions = document.operations.iter().flat_map(|(_, operation)| &operation.node.variable_definitions);
        for definition in definitions {
            if let Some(Value::Number(number)) = definition.node.default_value.as_ref().map(|value| &value.node) {
                let known = defaults.entry(definition.node.name.node.as_str()).or_default();
                *known = number.as_u64().unwrap_or_default().max(*known);
            }
        }
        Meter {
            document,
            variables,
            defaults,
            pages: HashMap::new(),
            measured: HashMap::new(),
            #[cfg(test)]
            steps: 0,
        }
    }

    /// `nesting` bounds this pass's own stack.
    fn selection(&mut self, selection: &'a SelectionSet, nesting: u32) -> Result<Cost, Failed> {
        if nesting > 150 {
            return Err(too_complex(("levels, fragments counted", "层次（片段计算在内）"), 150));
        }
        let mut sum = Cost::default();
        for item in &selection.items {
            let mut cost = match &item.node {
                Selection::Field(field) => self.field(&field.node, nesting)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node, nesting)?,
                Selection::InlineFragment(inline) => self.selection(&inline.node.selection_set.node, nesting + 1)?,
            };
            cost.add_directives(item.node.directives());
            sum.add(cost);
        }
        Ok(sum)
    }

    fn field(&mut self, field: &'a Field, nesting: u32) -> Result<Cost, Failed> {
        #[cfg(test)]
        {
            self.steps += 1;
        }
        for (_, value) in &field.arguments {
            // Variables are looked at once, as they are.
            let said = value.node.clone().into_const_with(|_| Ok::<_, Infallible>(Value::Null));
            check_plain(&said.unwrap_or_default())?;
        }
        let inner = self.selection(&field.selection_set.node, nesting + 1)?;
        // A field without fields of its own is a value of that name, such as an event's causation.
        let (times, reads) = match field.selection_set.node.items.is_empty() {
            true => (1, 0),
            false => (self.times(field), long_reads(&field.name.node)),
        };
        Ok(Cost {
            here: 1,
            fields: inner.fields.saturating_add(1),
            depth: inner.depth.saturating_add(1),
            aliases: inner.aliases.saturating_add(u64::from(field.alias.is_some())),
            directives: inner.directives,
            arguments: inner.arguments.saturating_add(field.arguments.len() as u64),
            complexity: inner.complexity.saturating_mul(times).saturating_add(1).saturating_add(reads),
        })
    }

    /// How many items a field may answer with.
    fn times(&mut self, field: &'a Field) -> u64 {
        let first = field.get_argument("first").map(|value| {
            let said = |name: &str| self.variables.get(name).cloned();
            let default = |name: &str| self.defaults.get(name).map(|default| Value::from(*default));
            let known = |name: Name| said(&name).or_else(|| default(&name)).ok_or(());
            match value.node.clone().into_const_with(known) {
                Ok(Value::Number(number)) => number.as_u64().unwrap_or(u64::from(DEFAULT_PAGE)),
                _ => u64::from(DEFAULT_PAGE),
            }
        });
        let listed = COSTLY.iter().find(|(name, _)| *name == field.name.node.as_str());
        match (first, listed) {
            // A page that is too long is refused where it is read.
            (Some(first), _) => first.clamp(1, u64::from(MAX_PAGE)),
            (None, Some((_, times))) => *times,
            // A page of which the caller did not say the length has its length said by its edges.
            (None, None) if matches!(field.name.node.as_str(), "edges" | "nodes") => 1,
            (None, None) if self.is_page(&field.selection_set.node, 0) => u64::from(DEFAULT_PAGE),
            (None, None) => 1,
        }
    }

    /// Whether a selection has the edges or nodes of a page, itself or in its fragments.
    fn is_page(&mut self, selection: &'a SelectionSet, nesting: u32) -> bool {
        nesting <= 150
            && selection.items.iter().any(|item| match &item.node {
                Selection::Field(field) => matches!(field.node.name.node.as_str(), "edges" | "nodes"),
                Selection::InlineFragment(inline) => self.is_page(&inline.node.selection_set.node, nesting + 1),
                Selection::FragmentSpread(spread) => {
                    let name = spread.node.fragment_name.node.as_str();
                    if let Some(known) = self.pages.get(name) {
                        return *known;
                    }
                    // One within itself is an error elsewhere.
                    self.pages.insert(name, false);
                    let document = self.document;
                    let fragment = document.fragments.get(name);
                    let is_page =
                        fragment.is_some_and(|fragment| self.is_page(&fragment.node.selection_set.node, nesting + 1));
                    self.pages.insert(name, is_page);
                    is_page
                }
            })
    }

    fn fragment(&mut self, name: &str, nesting: u32) -> Result<Cost, Failed> {
        let Some((name, definition)) = self.document.fragments.get_key_value(name) else {
            return Err(coded(Code::BadInput, format!("there is no fragment {name:?}")));
        };
        match self.measured.get(name.as_str()) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => {
                return Err(coded(Code::BadInput, format!("the fragment {:?} contains itself", name.as_str())));
            }
            None => {}
        }
        self.measured.insert(name, None);
        let mut cost = self.selection(&definition.node.selection_set.node, nesting + 1)?;
        cost.add_directives(&definition.node.directives);
        self.measured.insert(name, Some(cost));
        Ok(cost)
    }
}

/// What a field costs for reading long.
fn long_reads(name: &str) -> u64 {
    LONG_READS.iter().find(|(known, _)| *known == name).map_or(0, |(_, cost)| *cost)
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
