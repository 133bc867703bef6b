//! What a document may ask for, checked in one memoised pass before the library looks at it.
//!
//! Each fragment is measured once, however often it is spread: 31 fragments that each spread the
//! next one twice cost 31 steps here, and would cost the library's own validation 2³¹.

use std::collections::HashMap;

use async_graphql::{
    Value, Variables,
    parser::types::{ExecutableDocument, Field, OperationType, Selection, SelectionSet},
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
    pub operations: usize,
    pub fragments: usize,
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
            operations: 20,
            fragments: 100,
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
    ("dashboards", 5),
    ("minutes", 100),
    ("commands", 20),
    ("decided", 2),
    ("books", 2),
    ("places", 5),
    ("statement", 3),
    // Introspection.
    ("types", 100),
    ("fields", 10),
    ("args", 4),
    ("inputFields", 5),
    ("possibleTypes", 5),
    ("enumValues", 8),
];

/// Fields that read the log itself, and what each costs beside what it answers with.
const LOG_READS: &[(&str, u64)] = &[("events", 2_000), ("causation", 2_000), ("aggregate", 2_000), ("changes", 2_000)];

/// What a selection costs, with its fragments written out.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// Fields at the selection's own level.
    here: u64,
    fields: u64,
    depth: u32,
    aliases: u64,
    directives: u64,
    complexity: u64,
}

impl Cost {
    fn add(&mut self, other: Cost) {
        self.here = self.here.saturating_add(other.here);
        self.fields = self.fields.saturating_add(other.fields);
        self.depth = self.depth.max(other.depth);
        self.aliases = self.aliases.saturating_add(other.aliases);
        self.directives = self.directives.saturating_add(other.directives);
        self.complexity = self.complexity.saturating_add(other.complexity);
    }
}

struct Meter<'a> {
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    /// None while it is being measured: meeting it then is a cycle.
    measured: HashMap<&'a str, Option<Cost>>,
    /// Fields that were looked at, which is what this pass itself costs.
    #[cfg(test)]
    steps: usize,
}

fn too_complex(what: &str, most: impl std::fmt::Display) -> Failed {
    coded(Code::TooComplex, format!("the document has too many {what}; the most is {most}"))
}

/// Checks a text before it is parsed: the parser calls itself for each bracket.
pub(crate) fn check_text(query: &str, limits: &DocumentLimits) -> Result<(), Failed> {
    let bytes = query.as_bytes();
    let (mut index, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'#' => index += bytes[index..].iter().take_while(|byte| !matches!(byte, b'\n' | b'\r')).count(),
            b'"' => index = after_string(bytes, index),
            b'{' | b'(' | b'[' => {
                depth += 1;
                if depth > limits.nesting {
                    return Err(too_complex("brackets within brackets", limits.nesting));
                }
            }
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        index += 1;
    }
    Ok(())
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

/// Checks every operation and every fragment, also those that would not run: the library looks at
/// them all.
pub(crate) fn check(
    document: &ExecutableDocument,
    variables: &Variables,
    limits: &DocumentLimits,
) -> Result<(), Failed> {
    let mut meter = Meter::new(document, variables);
    if document.operations.iter().len() > limits.operations {
        return Err(too_complex("operations", limits.operations));
    }
    if document.fragments.len() > limits.fragments {
        return Err(too_complex("fragments", limits.fragments));
    }
    for name in document.fragments.keys() {
        let cost = meter.fragment(name, 0)?;
        within(cost, limits, limits.complexity.max(INTROSPECTION_COMPLEXITY), INTROSPECTION_DEPTH)?;
    }
    for (_, operation) in document.operations.iter() {
        let operation = &operation.node;
        let mut cost = meter.selection(&operation.selection_set.node, 0)?;
        cost.directives = cost.directives.saturating_add(operation.directives.len() as u64);
        if operation.ty == OperationType::Mutation {
            cost.complexity = cost.complexity.saturating_add(cost.here.saturating_mul(MUTATION_COST));
        }
        if cost.here > limits.root_fields {
            return Err(too_complex("fields at the top", limits.root_fields));
        }
        let (complexity, depth) = match is_introspection(&operation.selection_set.node) {
            true => (INTROSPECTION_COMPLEXITY, INTROSPECTION_DEPTH),
            false => (limits.complexity, limits.depth),
        };
        within(cost, limits, complexity, depth)?;
    }
    Ok(())
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
        ));
    }
    if cost.fields > limits.fields {
        return Err(too_complex("fields", limits.fields));
    }
    if cost.aliases > limits.aliases {
        return Err(too_complex("aliases", limits.aliases));
    }
    if cost.directives > limits.directives {
        return Err(too_complex("directives", limits.directives));
    }
    if cost.complexity > complexity {
        let found = cost.complexity;
        return Err(coded(
            Code::TooComplex,
            format!("the document costs {found}; the most is {complexity}: ask for fewer fields or smaller pages"),
        ));
    }
    Ok(())
}

impl<'a> Meter<'a> {
    fn new(document: &'a ExecutableDocument, variables: &'a Variables) -> Self {
        Meter {
            document,
            variables,
            measured: HashMap::new(),
            #[cfg(test)]
            steps: 0,
        }
    }

    /// `nesting` bounds this pass's own stack.
    fn selection(&mut self, selection: &'a SelectionSet, nesting: u32) -> Result<Cost, Failed> {
        if nesting > 150 {
            return Err(too_complex("levels, fragments counted", 150));
        }
        let mut sum = Cost::default();
        for item in &selection.items {
            let mut cost = match &item.node {
                Selection::Field(field) => self.field(&field.node, nesting)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node, nesting)?,
                Selection::InlineFragment(inline) => self.selection(&inline.node.selection_set.node, nesting + 1)?,
            };
            cost.directives = cost.directives.saturating_add(item.node.directives().len() as u64);
            sum.add(cost);
        }
        Ok(sum)
    }

    fn field(&mut self, field: &'a Field, nesting: u32) -> Result<Cost, Failed> {
        #[cfg(test)]
        {
            self.steps += 1;
        }
        let inner = self.selection(&field.selection_set.node, nesting + 1)?;
        // A field without fields of its own is a value of that name, such as an event's causation.
        let (times, reads) = match field.selection_set.node.items.is_empty() {
            true => (1, 0),
            false => (self.times(field), log_reads(&field.name.node)),
        };
        Ok(Cost {
            here: 1,
            fields: inner.fields.saturating_add(1),
            depth: inner.depth.saturating_add(1),
            aliases: inner.aliases.saturating_add(u64::from(field.alias.is_some())),
            directives: inner.directives,
            complexity: inner.complexity.saturating_mul(times).saturating_add(1).saturating_add(reads),
        })
    }

    /// How many items a field may answer with.
    fn times(&self, field: &Field) -> u64 {
        let first = field.get_argument("first").and_then(|value| {
            let known = |name| self.variables.get(&name).cloned().ok_or(());
            match value.node.clone().into_const_with(known) {
                Ok(Value::Number(number)) => number.as_u64(),
                _ => None,
            }
        });
        let listed = COSTLY.iter().find(|(name, _)| *name == field.name.node.as_str());
        match (first, listed) {
            // A page that is too long is refused where it is read.
            (Some(first), _) => first.clamp(1, u64::from(MAX_PAGE)),
            (None, Some((_, times))) => *times,
            // A page of which the caller did not say the length has its length said by its edges.
            (None, None) if matches!(field.name.node.as_str(), "edges" | "nodes") => 1,
            (None, None) if is_connection(field) => u64::from(DEFAULT_PAGE),
            (None, None) => 1,
        }
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
        cost.directives = cost.directives.saturating_add(definition.node.directives.len() as u64);
        self.measured.insert(name, Some(cost));
        Ok(cost)
    }
}

/// What a field costs for reading the log itself.
fn log_reads(name: &str) -> u64 {
    LOG_READS.iter().find(|(known, _)| *known == name).map_or(0, |(_, cost)| *cost)
}

/// Whether a field asks for the edges or nodes of a page.
fn is_connection(field: &Field) -> bool {
    field.selection_set.node.items.iter().any(|item| match &item.node {
        Selection::Field(inner) => matches!(inner.node.name.node.as_str(), "edges" | "nodes"),
        // A page's content in a fragment is reckoned as a page too.
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => field.get_argument("after").is_some(),
    })
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
