//! The pages of the schema, one a noun, for people: `docs/api/schema/`. They are made of the schema and of the
//! access table, and compared with what is checked in; `UPDATE_SCHEMA=1` writes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
};

use async_graphql::{
    Positioned,
    parser::{
        parse_schema,
        types::{
            BaseType, ConstDirective, FieldDefinition, InputValueDefinition, Type, TypeDefinition, TypeKind,
            TypeSystemDefinition,
        },
    },
};

use crate::access;

/// File, title, and the root fields that it has. A type stands on the first page whose fields lead to it; what
/// three pages or more lead to stands on the last.
const PAGES: &[(&str, &str, &[&str])] = &[
    (
        "menu",
        "Canteens, dishes and servings",
        &[
            "canteens",
            "canteen",
            "servings",
            "serving",
            "menuSearch",
            "portionsLeft",
            "openCanteen",
            "putDish",
            "retireDish",
            "publishServing",
            "setPortions",
            "setPrice",
            "withdrawDish",
            "withdrawServing",
        ],
    ),
    (
        "orders",
        "Orders",
        &[
            "order",
            "myOrders",
            "ordersOfServing",
            "ordersOfDay",
            "orderProgress",
            "placeOrder",
            "changeOrder",
            "cancelOrder",
            "refundLines",
            "refundAmount",
            "recordPayment",
        ],
    ),
    ("kitchen", "The kitchen", &["kitchenBoard", "prepSheet", "prepare", "markReady", "collect", "markNoShow"]),
    ("sales", "Dashboards and sales", &["dashboard", "dashboards", "sales"]),
    (
        "accounts",
        "Accounts",
        &[
            "account",
            "myBalances",
            "topUps",
            "payouts",
            "myPayouts",
            "deposit",
            "topUp",
            "freezeAccount",
            "unfreezeAccount",
            "closeAccount",
            "requestPayout",
            "confirmPayout",
            "cancelPayout",
        ],
    ),
    (
        "subsidies",
        "Subsidies",
        &[
            "mySubsidyLots",
            "subsidyUse",
            "subsidyPolicies",
            "grantRuns",
            "openSubsidyPolicy",
            "setSubsidyTerms",
            "endSubsidyPolicy",
            "setStandingGrants",
            "grantSubsidies",
        ],
    ),
    (
        "companies",
        "Companies and their invoices",
        &[
            "companyUse",
            "invoices",
            "receivables",
            "employ",
            "moveEmployment",
            "endEmployment",
            "issueInvoice",
            "payInvoice",
            "voidInvoice",
            "setCreditLimit",
            "setCompanyDisclosure",
        ],
    ),
    ("people", "Diners as persons", &["diner", "employees", "setDinerDetails", "eraseDiner"]),
    (
        "books",
        "The books",
        &[
            "balances",
            "journal",
            "trialBalance",
            "periods",
            "statement",
            "periodBalances",
            "payables",
            "corrections",
            "openBooks",
            "closePeriod",
            "reopenPeriod",
            "setDeductionOrder",
            "adjustAccount",
            "proposeCorrection",
            "applyCorrection",
            "rejectCorrection",
        ],
    ),
    ("history", "The log", &["events", "event", "causation", "aggregate"]),
    ("operations", "Operations", &["projections", "parkedEvents"]),
    ("common", "What all have in common", &["viewer", "node"]),
];

const COMMON: &str = "common";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api/schema")
}

fn named(of: &Type) -> &str {
    match &of.base {
        BaseType::Named(name) => name,
        BaseType::List(of) => named(of),
    }
}

struct Pages {
    types: BTreeMap<String, TypeDefinition>,
    /// On which page a type stands.
    places: BTreeMap<String, &'static str>,
}

fn plain(description: Option<&Positioned<String>>) -> String {
    let text = description.map_or("", |text| text.node.as_str());
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// A type that only holds a page of others, or one item of such.
fn is_of_paging(name: &str) -> bool {
    name.ends_with("Edge") || name.ends_with("Connection")
}

fn inner_types(kind: &TypeKind) -> Vec<String> {
    let of_fields = |fields: &[Positioned<FieldDefinition>]| {
        let one = |field: &Positioned<FieldDefinition>| {
            let inputs = field.node.arguments.iter().map(|input| named(&input.node.ty.node).to_owned());
            inputs.chain([named(&field.node.ty.node).to_owned()]).collect::<Vec<_>>()
        };
        fields.iter().flat_map(one).collect()
    };
    match kind {
        TypeKind::Object(object) => of_fields(&object.fields),
        TypeKind::Interface(interface) => of_fields(&interface.fields),
        TypeKind::Union(union) => union.members.iter().map(|member| member.node.to_string()).collect(),
        TypeKind::InputObject(object) => {
            object.fields.iter().map(|input| named(&input.node.ty.node).to_owned()).collect()
        }
        TypeKind::Scalar | TypeKind::Enum(_) => vec![],
    }
}

impl Pages {
    fn read() -> Pages {
        let definitions = parse_schema(crate::schema_sdl()).unwrap().definitions;
        let types = definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(it) => Some((it.node.name.node.to_string(), it.node)),
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        });
        let mut pages = Pages { types: types.collect(), places: BTreeMap::new() };
        let mut led: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for (page, _, fields) in PAGES {
            let roots = fields.iter().flat_map(|field| pages.roots(field));
            let starts = roots.flat_map(|(_, field)| {
                let inputs = field.arguments.iter().map(|input| named(&input.node.ty.node).to_owned());
                inputs.chain([named(&field.ty.node).to_owned()]).collect::<Vec<_>>()
            });
            for name in pages.reached(starts.collect()) {
                led.entry(name).or_default().push(page);
            }
        }
        let place = |(name, pages): (String, Vec<&'static str>)| {
            let scalar = pages.len() > 3 && !pages.contains(&"menu") && !pages.contains(&"orders");
            (name, if scalar { COMMON } else { pages[0] })
        };
        pages.places = led.into_iter().map(place).collect();
        for (name, definition) in &pages.types {
            if matches!(definition.kind, TypeKind::Scalar)
                || matches!(name.as_str(), "Money" | "MoneyInput" | "PageInfo")
            {
                pages.places.insert(name.clone(), COMMON);
            }
        }
        pages
    }

    fn reached(&self, mut todo: Vec<String>) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        while let Some(name) = todo.pop() {
            let Some(definition) = self.types.get(&name) else { continue };
            if reached.insert(name) {
                todo.extend(inner_types(&definition.kind));
            }
        }
        reached
    }

    /// Fields of the schema's roots with that name, and what they are.
    fn roots(&self, name: &str) -> Vec<(&'static str, &FieldDefinition)> {
        let roots = ["Query", "Subscription", "Mutation"].into_iter().filter_map(|root| {
            let Some(TypeKind::Object(object)) = self.types.get(root).map(|it| &it.kind) else { return None };
            let field = object.fields.iter().find(|field| field.node.name.node == name)?;
            Some((root, &field.node))
        });
        roots.collect()
    }

    /// A type as it is written, with a link to where it stands.
    fn linked(&self, of: &Type, here: &str) -> String {
        let text = of.to_string();
        let name = named(of);
        let (before, after) = text.split_once(name).unwrap_or(("", ""));
        let shown = match self.places.get(name) {
            Some(page) if !is_of_paging(name) => {
                let file = if *page == here { String::new() } else { format!("{page}.md") };
                format!("[{name}]({file}#{})", name.to_lowercase())
            }
            Some(_) => {
                let item = name.trim_end_matches("Connection").trim_end_matches("Edge");
                let page = self.places.get(item).copied().unwrap_or(here);
                let file = if page == here { String::new() } else { format!("{page}.md") };
                format!("[{name}]({file}#{})", item.to_lowercase())
            }
            None => name.to_owned(),
        };
        format!("{}{shown}{after}", before.replace('[', "\\["))
    }

    fn inputs(&self, inputs: &[Positioned<InputValueDefinition>], here: &str) -> String {
        let mut text = String::new();
        for input in inputs.iter().map(|input| &input.node) {
            let default = input.default_value.as_ref().map(|value| format!(" = {}", value.node)).unwrap_or_default();
            let of = self.linked(&input.ty.node, here);
            writeln!(text, "| `{}` | {of}{default} | {} |", input.name.node, plain(input.description.as_ref()))
                .unwrap();
        }
        text
    }

    fn page(&self, page: &str, title: &str, fields: &[&str]) -> String {
        let mut text = format!("# {title}\n\nMade from the schema; see [the API](../README.md) for how to ask.\n");
        let roots: Vec<_> = fields.iter().flat_map(|field| self.roots(field)).collect();
        for (root, heading) in [("Query", "Queries"), ("Subscription", "Subscriptions"), ("Mutation", "Mutations")] {
            let of_root: Vec<_> = roots.iter().filter(|(of, _)| *of == root).collect();
            if !of_root.is_empty() {
                writeln!(text, "\n## {heading}").unwrap();
            }
            for (_, field) in of_root {
                text += &self.root(field, page);
            }
        }
        writeln!(text, "\n## Types").unwrap();
        for (name, definition) in &self.types {
            let is_here = self.places.get(name).is_some_and(|place| *place == page);
            if is_here && !is_of_paging(name) {
                text += &self.definition(name, definition, page);
            }
        }
        text
    }

    fn root(&self, field: &FieldDefinition, page: &str) -> String {
        let name = field.name.node.as_str();
        let roles = access::TABLE.iter().find(|(known, _)| *known == name).map(|(_, roles)| *roles).unwrap();
        let roles = roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect::<Vec<_>>().join(", ");
        let mut text = format!("\n### {name}\n\n{}\n\n", plain(field.description.as_ref()));
        writeln!(text, "Answers {}{}. For: {roles}.", self.linked(&field.ty.node, page), old(&field.directives))
            .unwrap();
        if !field.arguments.is_empty() {
            write!(text, "\n| argument | | |\n|---|---|---|\n{}", self.inputs(&field.arguments, page)).unwrap();
        }
        text
    }

    fn definition(&self, name: &str, definition: &TypeDefinition, page: &str) -> String {
        let mut text = format!("\n### {name}\n\n{}\n", plain(definition.description.as_ref()));
        match &definition.kind {
            TypeKind::Scalar => {}
            TypeKind::Object(object) => text += &self.fields(&object.fields, page),
            TypeKind::Interface(interface) => text += &self.fields(&interface.fields, page),
            TypeKind::InputObject(object) => {
                write!(text, "\n| to give | | |\n|---|---|---|\n{}", self.inputs(&object.fields, page)).unwrap();
            }
            TypeKind::Union(union) => {
                let members: Vec<_> =
                    union.members.iter().map(|member| self.linked(&Type::new(&member.node).unwrap(), page)).collect();
                writeln!(text, "\nOne of {}.", members.join(", ")).unwrap();
            }
            TypeKind::Enum(choices) => {
                write!(text, "\n| value | |\n|---|---|\n").unwrap();
                for value in choices.values.iter().map(|value| &value.node) {
                    let what = plain(value.description.as_ref());
                    writeln!(text, "| `{}` | {what}{} |", value.value.node, old(&value.directives)).unwrap();
                }
            }
        }
        text
    }

    fn fields(&self, fields: &[Positioned<FieldDefinition>], page: &str) -> String {
        let mut text = "\n| field | | |\n|---|---|---|\n".to_owned();
        for field in fields.iter().map(|field| &field.node) {
            let inputs =
                field.arguments.iter().map(|input| format!("{}: {}", input.node.name.node, input.node.ty.node));
            let inputs: Vec<_> = inputs.collect();
            let inputs = if inputs.is_empty() { String::new() } else { format!("({})", inputs.join(", ")) };
            let (of, what) = (self.linked(&field.ty.node, page), plain(field.description.as_ref()));
            writeln!(text, "| `{}{inputs}` | {of} | {what}{} |", field.name.node, old(&field.directives)).unwrap();
        }
        text
    }
}

fn old(directives: &[Positioned<ConstDirective>]) -> String {
    let deprecated = directives.iter().find(|directive| directive.node.name.node == "deprecated");
    let reason =
        deprecated.map(|directive| directive.node.get_argument("reason").map(|reason| reason.node.to_string()));
    reason.map_or(String::new(), |reason| format!(" **Deprecated:** {}", reason.unwrap_or_default()))
}

#[test]
fn the_pages_of_the_schema_are_the_recorded_ones() {
    let pages = Pages::read();
    let folder = folder();
    let is_update = std::env::var_os("UPDATE_SCHEMA").is_some();
    if is_update {
        std::fs::create_dir_all(&folder).unwrap();
    }
    for (page, title, fields) in PAGES {
        let (file, text) = (folder.join(format!("{page}.md")), pages.page(page, title, fields));
        if is_update {
            std::fs::write(&file, &text).unwrap();
        }
        let recorded = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            recorded == text,
            "{page}.md is not the schema's page any more; UPDATE_SCHEMA=1 cargo test -p tiffin-graphql"
        );
    }
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, PAGES.len(), "a page that nobody makes");
}

#[test]
fn every_field_and_every_type_stands_on_a_page() {
    let pages = Pages::read();
    let listed: BTreeSet<&str> = PAGES.iter().flat_map(|(_, _, fields)| fields.iter().copied()).collect();
    let known: BTreeSet<&str> = access::TABLE.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, known, "say in PAGES on which page a field stands");
    let roots = ["Query", "Mutation", "Subscription"];
    let homeless =
        pages.types.keys().filter(|name| !roots.contains(&name.as_str()) && !pages.places.contains_key(*name));
    assert_eq!(homeless.collect::<Vec<_>>(), Vec::<&String>::new());
}
