//! Makes, for each root field of the schema, documents that ask for it: one with what must be given,
//! and one more for each thing that may be given beside it.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::{
    Positioned, Variables,
    parser::{
        parse_query, parse_schema,
        types::{
            BaseType, FieldDefinition, InputValueDefinition, OperationType, Selection, SelectionSet, Type, TypeKind,
            TypeSystemDefinition,
        },
    },
};
use serde_json::{Map, Value, json};

use super::world::World;
use crate::{DocumentLimits, limits};

/// How many levels of an answer are asked for.
const DEPTH: u32 = 6;

/// The types of the schema by name.
pub(in crate::tests) struct Schema {
    types: BTreeMap<String, TypeKind>,
    /// How many items every list within an answer is asked for; then documents are not kept within limits.
    pages: Option<u32>,
}

/// What a root field is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::tests) enum Kind {
    Query,
    Subscription,
    Mutation,
}

/// A root field, and what the schema says of it.
#[derive(Clone)]
pub(in crate::tests) struct Root {
    pub(in crate::tests) name: String,
    pub(in crate::tests) kind: Kind,
    definition: FieldDefinition,
}

/// The variables of a document, the idempotency key apart.
pub(in crate::tests) type Arguments = Map<String, Value>;

fn named(of: &Type) -> &str {
    match &of.base {
        BaseType::Named(name) => name,
        BaseType::List(of) => named(of),
    }
}

fn is_list(of: &Type) -> bool {
    matches!(of.base, BaseType::List(_))
}

fn is_required(input: &InputValueDefinition) -> bool {
    !input.ty.node.nullable && input.default_value.is_none()
}

impl Root {
    pub(in crate::tests) fn takes(&self, argument: &str) -> bool {
        self.definition.arguments.iter().any(|input| input.node.name.node == argument)
    }
}

impl Schema {
    pub(in crate::tests) fn read() -> Schema {
        let document = parse_schema(crate::schema_sdl()).unwrap();
        let types = document.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => {
                Some((definition.node.name.node.to_string(), definition.node.kind))
            }
            _ => None,
        });
        Schema { types: types.collect(), pages: None }
    }

    /// One whose documents ask for so many items of every list within an answer, whatever that costs.
    pub(in crate::tests) fn with_pages(self, size: u32) -> Schema {
        Schema { pages: Some(size), ..self }
    }

    pub(in crate::tests) fn roots(&self) -> Vec<Root> {
        let of = |name: &str, kind: Kind| {
            let Some(TypeKind::Object(object)) = self.types.get(name) else { panic!("there is no {name}") };
            let root = |field: &Positioned<FieldDefinition>| Root {
                name: field.node.name.node.to_string(),
                kind,
                definition: field.node.clone(),
            };
            object.fields.iter().map(root).collect::<Vec<_>>()
        };
        [of("Query", Kind::Query), of("Subscription", Kind::Subscription), of("Mutation", Kind::Mutation)].concat()
    }

    /// Every way of asking for `root` about the things of `world`: what must be given, then each optional
    /// argument in its turn.
    pub(in crate::tests) fn arguments(&self, root: &Root, world: &World) -> Vec<Arguments> {
        let inputs: Vec<_> = root.definition.arguments.iter().map(|input| &input.node).collect();
        let inputs: Vec<_> = inputs.into_iter().filter(|input| input.name.node != "idempotencyKey").collect();
        self.ways(&root.name, &inputs, world)
    }

    fn ways(&self, at: &str, inputs: &[&InputValueDefinition], world: &World) -> Vec<Arguments> {
        let has = |name: &str| inputs.iter().any(|input| input.name.node == name);
        let mut base = Map::new();
        let mut more = Vec::new();
        for input in inputs {
            let name = input.name.node.as_str();
            let values = self.values(at, name, &input.ty.node, world);
            let mut values = values.into_iter();
            if is_required(input) {
                base.insert(name.to_owned(), values.next().unwrap());
            }
            more.extend(values.map(|value| (name.to_owned(), value)));
        }
        // What is named by two things together.
        let pairs = match (has("kind"), has("key"), has("owner")) {
            (true, true, _) => world.streams(),
            (true, _, true) => world.accounts(),
            _ => vec![],
        };
        let pairs = pairs.into_iter().map(|pair| base.clone().into_iter().chain(pair).collect());
        let pairs: Vec<Arguments> = pairs.collect();
        let one_more = more.into_iter().map(|(name, value)| {
            let mut way = base.clone();
            way.insert(name, value);
            way
        });
        let one_more: Vec<_> = one_more.collect();
        [vec![base], pairs, one_more].concat()
    }

    /// What can stand for an argument. One that nobody can make is a failure: who adds it says here, or in
    /// the world, which thing it names.
    fn values(&self, at: &str, name: &str, of: &Type, world: &World) -> Vec<Value> {
        let kind = named(of);
        let values = match self.types.get(kind) {
            Some(TypeKind::Enum(kind)) => {
                kind.values.iter().map(|value| json!(value.node.value.node.as_str())).collect()
            }
            Some(TypeKind::InputObject(object)) => {
                let inputs: Vec<_> = object.fields.iter().map(|input| &input.node).collect();
                self.ways(kind, &inputs, world).into_iter().map(Value::Object).collect()
            }
            _ => scalars(at, name, kind, world),
        };
        assert!(!values.is_empty(), "no value for {at}({name}: {kind}); say in scalars() which thing it names");
        if is_list(of) { values.into_iter().map(|value| json!([value])).collect() } else { values }
    }

    /// A document that asks for `root` with `arguments` and reads as much of the answer as is allowed.
    pub(in crate::tests) fn document(&self, root: &Root, arguments: &Arguments) -> String {
        let given = |input: &&Positioned<InputValueDefinition>| {
            let name = input.node.name.node.as_str();
            arguments.contains_key(name) || name == "idempotencyKey"
        };
        let inputs: Vec<_> = root.definition.arguments.iter().filter(given).map(|input| &input.node).collect();
        let listed = |each: &dyn Fn(&InputValueDefinition) -> String| match inputs.is_empty() {
            true => String::new(),
            false => format!("({})", inputs.iter().map(|input| each(input)).collect::<Vec<_>>().join(", ")),
        };
        let declared = listed(&|input| format!("${}: {}", input.name.node, input.ty.node));
        let passed = listed(&|input| format!("{0}: ${0}", input.name.node));
        let operation = match root.kind {
            Kind::Query => "query",
            Kind::Subscription => "subscription",
            Kind::Mutation => "mutation",
        };
        let name = &root.name;
        // Rather a short page of everything than a long one of less.
        let shorter = root.takes("first") && !arguments.contains_key("first");
        let pages = if shorter { &["", "first: 3"][..] } else { &[""] };
        for (depth, page) in (1..=DEPTH).rev().flat_map(|depth| pages.iter().map(move |page| (depth, page))) {
            let answer = self.selection(named(&root.definition.ty.node), depth);
            let passed = match (passed.strip_suffix(')'), *page) {
                (_, "") => passed.clone(),
                (Some(passed), page) => format!("{passed}, {page})"),
                (None, page) => format!("({page})"),
            };
            let text = format!("{operation}{declared} {{ {name}{passed}{answer} }}");
            let document = parse_query(&text).unwrap();
            if self.pages.is_some()
                || limits::check(&document, &Variables::default(), &DocumentLimits::default()).is_ok()
            {
                return text;
            }
        }
        panic!("{name} cannot be asked for within the limits");
    }

    /// All fields of a type, and of what it holds, `depth` levels down.
    fn selection(&self, of: &str, depth: u32) -> String {
        let members = match self.types.get(of) {
            Some(TypeKind::Object(object)) => return format!(" {{ {} }}", self.fields(of, &object.fields, depth)),
            Some(TypeKind::Union(union)) => union.members.iter().map(|member| member.node.to_string()).collect(),
            Some(TypeKind::Interface(_)) => self.implementors(of),
            _ => return String::new(),
        };
        let member = |name: String| format!("... on {name}{}", self.selection(&name, depth));
        format!(" {{ __typename {} }}", members.into_iter().map(member).collect::<Vec<_>>().join(" "))
    }

    fn implementors(&self, interface: &str) -> Vec<String> {
        let implements = |(name, kind): (&String, &TypeKind)| match kind {
            TypeKind::Object(object) => {
                object.implements.iter().any(|it| it.node == interface).then(|| name.to_owned())
            }
            _ => None,
        };
        self.types.iter().filter_map(implements).collect()
    }

    fn fields(&self, of: &str, fields: &[Positioned<FieldDefinition>], depth: u32) -> String {
        let mut chosen = vec!["__typename".to_owned()];
        for field in fields.iter().map(|field| &field.node) {
            let name = field.name.node.as_str();
            assert!(
                !field.arguments.iter().any(|input| is_required(&input.node)),
                "{of}.{name} needs arguments, which nobody makes yet"
            );
            let inner = named(&field.ty.node);
            let is_leaf = matches!(self.types.get(inner), None | Some(TypeKind::Scalar | TypeKind::Enum(_)));
            if is_leaf {
                chosen.push(name.to_owned());
            } else if name == "edges" {
                // Edges hold what nodes hold.
                chosen.push("edges { cursor node { __typename } }".to_owned());
            } else if depth > 1 {
                let is_paged = field.arguments.iter().any(|input| input.node.name.node == "first");
                let page = self.pages.filter(|_| is_paged).map(|size| format!("(first: {size})"));
                let page = page.unwrap_or_default();
                chosen.push(format!("{name}{page}{}", self.selection(inner, depth - 1)));
            }
        }
        chosen.join(" ")
    }
}

impl Schema {
    /// Every field of every type that answers, as `Type.field`; of an interface its types have them.
    pub(in crate::tests) fn all_fields(&self) -> BTreeSet<String> {
        let of_type = |(name, kind): (&String, &TypeKind)| match kind {
            TypeKind::Object(object) => {
                object.fields.iter().map(|field| format!("{name}.{}", field.node.name.node)).collect()
            }
            TypeKind::Scalar
            | TypeKind::Interface(_)
            | TypeKind::Union(_)
            | TypeKind::Enum(_)
            | TypeKind::InputObject(_) => vec![],
        };
        self.types.iter().flat_map(of_type).collect()
    }

    /// The fields that a document asks for.
    pub(in crate::tests) fn asked(&self, document: &str) -> BTreeSet<String> {
        let document = parse_query(document).unwrap();
        let mut asked = BTreeSet::new();
        for (_, operation) in document.operations.iter() {
            let root = match operation.node.ty {
                OperationType::Query => "Query",
                OperationType::Mutation => "Mutation",
                OperationType::Subscription => "Subscription",
            };
            self.walk(root, &operation.node.selection_set.node, &mut asked);
        }
        asked
    }

    fn walk(&self, of: &str, selection: &SelectionSet, asked: &mut BTreeSet<String>) {
        for item in &selection.items {
            match &item.node {
                Selection::Field(field) => {
                    let Some(TypeKind::Object(object)) = self.types.get(of) else { continue };
                    let name = field.node.name.node.as_str();
                    let Some(known) = object.fields.iter().find(|known| known.node.name.node == name) else { continue };
                    asked.insert(format!("{of}.{name}"));
                    self.walk(named(&known.node.ty.node), &field.node.selection_set.node, asked);
                }
                Selection::InlineFragment(inline) => {
                    let on = inline.node.type_condition.as_ref().map_or(of, |on| on.node.on.node.as_str());
                    self.walk(on, &inline.node.selection_set.node, asked);
                }
                Selection::FragmentSpread(_) => panic!("no document has fragments of its own"),
            }
        }
    }
}

/// What can stand for an argument that is no object.
fn scalars(at: &str, name: &str, kind: &str, world: &World) -> Vec<Value> {
    let text = |text: &str| vec![json!(text)];
    match (kind, name) {
        ("ID", "id") if at == "node" => world.nodes(),
        ("ID", "id") => world.id(at),
        ("ID", "fromEvent" | "toEvent") => world.id("event"),
        ("ID", "canteens") => world.id("canteen"),
        ("ID", name) => world.id(name),
        ("UUID", "owner" | "actor") => world.uuid("diner"),
        ("UUID", "correlation") => world.uuid("order"),
        ("UUID", "key") => world.uuid("serving"),
        ("UUID", name) => world.uuid(name),
        ("String", "account" | "to") => world.ledger(),
        ("String", "after") => world.cursors(at),
        ("String", "position") => world.id("position"),
        ("String", "zone") => text("Asia/Shanghai"),
        ("String", "currency") => text("CNY"),
        ("String", "code") => text("0000"),
        ("String", "types") => text("order.Placed"),
        ("String", "name") if at == "menuSearch" => text("noodle"),
        ("String", "projection") => text("journal"),
        ("String", "name" | "category" | "group" | "choice" | "reference" | "employeeNumber" | "phone") => {
            text("Plain")
        }
        ("Int", "weekdays" | "first" | "firstTo" | "line" | "max" | "min" | "portions") => vec![json!(1)],
        ("Int", "days" | "aheadDays" | "rolloverMonths" | "sharePercent" | "noShowPercent") => vec![json!(2)],
        ("PositiveInt", _) => vec![json!(1)],
        ("Boolean", _) => vec![json!(true), json!(false)],
        ("Decimal", _) => text("1.00"),
        ("BigInt", _) => text("1"),
        ("Date", _) => text("2026-11-23"),
        ("DateTime", _) => text("2026-11-23T02:00:00Z"),
        ("LocalDateTime", "opens") => text("2026-11-23T08:00"),
        ("LocalDateTime", _) => text("2026-11-23T11:00"),
        _ => vec![],
    }
}
