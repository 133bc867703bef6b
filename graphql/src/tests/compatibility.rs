//! What a change of the schema does to those who use the last released one (`graphql/released.graphql`):
//! breaking changes fail, unless what they break was deprecated in that release; dangerous ones, which an
//! old client may not understand, have to be accepted here by name. `RELEASE_SCHEMA=1` makes the current
//! schema the released one.

mod cases;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use async_graphql::{
    Positioned,
    parser::{
        parse_schema,
        types::{
            BaseType, ConstDirective, DirectiveDefinition, DirectiveLocation, EnumValueDefinition, FieldDefinition,
            InputValueDefinition, SchemaDefinition, Type, TypeKind, TypeSystemDefinition,
        },
    },
};

/// Dangerous changes since the last release that clients were told of: the sentence, and why it is so.
const ACCEPTED: &[(&str, &str)] = &[];

/// What differs, in sentences.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    /// Documents that were right are not any more, or get what they cannot read.
    breaking: Vec<String>,
    /// Documents stay right, but may get what they do not expect.
    dangerous: Vec<String>,
}

#[derive(Default)]
struct Schema {
    types: BTreeMap<String, TypeKind>,
    /// Inputs of which exactly one field is given.
    one_of: BTreeSet<String>,
    roots: [Option<String>; 3],
    directives: BTreeMap<String, DirectiveDefinition>,
}

fn by_name<T: Clone>(items: &[Positioned<T>], name: impl Fn(&T) -> String) -> BTreeMap<String, T> {
    items.iter().map(|item| (name(&item.node), item.node.clone())).collect()
}

fn fields_of(fields: &[Positioned<FieldDefinition>]) -> BTreeMap<String, FieldDefinition> {
    by_name(fields, |field| field.name.node.to_string())
}

fn inputs_of(inputs: &[Positioned<InputValueDefinition>]) -> BTreeMap<String, InputValueDefinition> {
    by_name(inputs, |input| input.name.node.to_string())
}

fn values_of(values: &[Positioned<EnumValueDefinition>]) -> BTreeMap<String, EnumValueDefinition> {
    by_name(values, |value| value.value.node.to_string())
}

fn has(directives: &[Positioned<ConstDirective>], name: &str) -> bool {
    directives.iter().any(|directive| directive.node.name.node == name)
}

fn is_deprecated(directives: &[Positioned<ConstDirective>]) -> bool {
    has(directives, "deprecated")
}

fn named(of: &Type) -> &str {
    match &of.base {
        BaseType::Named(name) => name,
        BaseType::List(of) => named(of),
    }
}

/// Whether whoever reads `old` can read `new`: only promises may be added.
fn is_readable(old: &Type, new: &Type) -> bool {
    let keeps_promise = old.nullable || !new.nullable;
    keeps_promise
        && match (&old.base, &new.base) {
            (BaseType::Named(old), BaseType::Named(new)) => old == new,
            (BaseType::List(old), BaseType::List(new)) => is_readable(old, new),
            _ => false,
        }
}

/// Whether whoever gives `old` may give it as `new`: only demands may be dropped.
fn is_takeable(old: &Type, new: &Type) -> bool {
    is_readable(new, old)
}

fn is_required(input: &InputValueDefinition) -> bool {
    !input.ty.node.nullable && input.default_value.is_none()
}

fn kind(of: &TypeKind) -> &'static str {
    match of {
        TypeKind::Scalar => "scalar",
        TypeKind::Object(_) => "type",
        TypeKind::Interface(_) => "interface",
        TypeKind::Union(_) => "union",
        TypeKind::Enum(_) => "enum",
        TypeKind::InputObject(_) => "input",
    }
}

impl Schema {
    fn read(sdl: &str) -> Schema {
        let mut schema = Schema::default();
        let root = |definition: &SchemaDefinition| {
            [&definition.query, &definition.mutation, &definition.subscription]
                .map(|root| root.as_ref().map(|root| root.node.to_string()))
        };
        for definition in parse_schema(sdl).unwrap().definitions {
            match definition {
                TypeSystemDefinition::Type(it) => {
                    let name = it.node.name.node.to_string();
                    if has(&it.node.directives, "oneOf") {
                        schema.one_of.insert(name.clone());
                    }
                    schema.types.insert(name, it.node.kind);
                }
                TypeSystemDefinition::Schema(it) => schema.roots = root(&it.node),
                TypeSystemDefinition::Directive(it) => {
                    schema.directives.insert(it.node.name.node.to_string(), it.node);
                }
            }
        }
        schema
    }

    fn object_fields(&self) -> impl Iterator<Item = &FieldDefinition> {
        fn fields(kind: &TypeKind) -> &[Positioned<FieldDefinition>] {
            match kind {
                TypeKind::Object(object) => &object.fields,
                TypeKind::Interface(interface) => &interface.fields,
                TypeKind::Scalar | TypeKind::Union(_) | TypeKind::Enum(_) | TypeKind::InputObject(_) => &[],
            }
        }
        self.types.values().flat_map(fields).map(|field| &field.node)
    }

    /// Whether a type can be reached in no other way than by what is deprecated.
    fn is_only_deprecated(&self, name: &str) -> bool {
        let uses = self.object_fields().flat_map(|field| {
            let old = is_deprecated(&field.directives);
            let inputs = field.arguments.iter().map(move |input| (&input.node.ty.node, old));
            inputs.chain([(&field.ty.node, old)])
        });
        let mut uses = uses.filter(|(of, _)| named(of) == name).peekable();
        uses.peek().is_some() && uses.all(|(_, deprecated)| deprecated)
    }

    /// Whether answers may contain it.
    fn is_answered(&self, name: &str) -> bool {
        self.object_fields().any(|field| named(&field.ty.node) == name)
    }
}

impl Changes {
    fn between(released: &str, current: &str) -> Changes {
        let (old, new) = (Schema::read(released), Schema::read(current));
        let mut changes = Changes::default();
        for (root, (before, after)) in
            ["query", "mutation", "subscription"].iter().zip(old.roots.iter().zip(&new.roots))
        {
            if before.is_some() && before != after {
                changes.breaks(format!("the root of every {root} is not {} any more", before.as_deref().unwrap_or("")));
            }
        }
        for (name, before) in &old.directives {
            match new.directives.get(name) {
                None => changes.breaks(format!("@{name} is gone: every document that uses it fails")),
                Some(after) => changes.directive(&format!("@{name}"), before, after),
            }
        }
        for name in new.one_of.iter().filter(|name| old.types.contains_key(*name) && !old.one_of.contains(*name)) {
            changes.breaks(format!("{name} takes exactly one of its fields: whoever gives more, or none, fails"));
        }
        for (name, before) in &old.types {
            match new.types.get(name) {
                None if old.is_only_deprecated(name) => {}
                None => changes.breaks(format!("{name} is gone: every document that names it fails")),
                Some(after) => changes.of_type(name, (before, after), &old),
            }
        }
        changes
    }

    fn breaks(&mut self, sentence: String) {
        self.breaking.push(sentence);
    }

    fn endangers(&mut self, sentence: String) {
        self.dangerous.push(sentence);
    }

    fn of_type(&mut self, name: &str, kinds: (&TypeKind, &TypeKind), old: &Schema) {
        match kinds {
            (TypeKind::Scalar, TypeKind::Scalar) => {}
            (TypeKind::Object(before), TypeKind::Object(after)) => {
                self.fields(name, &fields_of(&before.fields), &fields_of(&after.fields));
                let implements = |of: &[Positioned<async_graphql::Name>]| -> Vec<String> {
                    of.iter().map(|name| name.node.to_string()).collect()
                };
                self.members(name, "implement", &implements(&before.implements), &implements(&after.implements));
            }
            (TypeKind::Interface(before), TypeKind::Interface(after)) => {
                self.fields(name, &fields_of(&before.fields), &fields_of(&after.fields));
            }
            (TypeKind::Union(before), TypeKind::Union(after)) => {
                let members = |of: &[Positioned<async_graphql::Name>]| -> Vec<String> {
                    of.iter().map(|name| name.node.to_string()).collect()
                };
                self.members(name, "contain", &members(&before.members), &members(&after.members));
            }
            (TypeKind::Enum(before), TypeKind::Enum(after)) => {
                self.values(name, &values_of(&before.values), &values_of(&after.values), old.is_answered(name));
            }
            (TypeKind::InputObject(before), TypeKind::InputObject(after)) => {
                self.inputs(name, &inputs_of(&before.fields), &inputs_of(&after.fields));
            }
            (before, after) => self.breaks(format!("{name} was a {} and is a {}", kind(before), kind(after))),
        }
    }

    /// (Whether it may be repeated is not compared: the parser takes each to be so.)
    fn directive(&mut self, name: &str, before: &DirectiveDefinition, after: &DirectiveDefinition) {
        let places = |of: &DirectiveDefinition| -> Vec<DirectiveLocation> {
            of.locations.iter().map(|place| place.node).collect()
        };
        let stays = places(after);
        for gone in places(before).into_iter().filter(|place| !stays.contains(place)) {
            self.breaks(format!("{name} may not stand on {gone:?} any more: documents in which it does fail"));
        }
        self.inputs(name, &inputs_of(&before.arguments), &inputs_of(&after.arguments));
    }

    fn members(&mut self, name: &str, verb: &str, before: &[String], after: &[String]) {
        for gone in before.iter().filter(|one| !after.contains(one)) {
            self.breaks(format!("{name} does not {verb} {gone} any more: fragments on it fail"));
        }
        for added in after.iter().filter(|one| !before.contains(one)) {
            self.endangers(format!("{name} may {verb} {added}: clients that know every case do not know this one"));
        }
    }

    fn values(
        &mut self,
        name: &str,
        before: &BTreeMap<String, EnumValueDefinition>,
        after: &BTreeMap<String, EnumValueDefinition>,
        is_answered: bool,
    ) {
        for (value, definition) in before {
            if !after.contains_key(value) && !is_deprecated(&definition.directives) {
                self.breaks(format!("{name}.{value} is gone: whoever sends it, or waits for it, fails"));
            }
        }
        for added in after.keys().filter(|value| is_answered && !before.contains_key(*value)) {
            self.endangers(format!("{name}.{added} may be answered: clients that know every value do not know it"));
        }
    }

    fn fields(
        &mut self,
        name: &str,
        before: &BTreeMap<String, FieldDefinition>,
        after: &BTreeMap<String, FieldDefinition>,
    ) {
        for (field, old) in before {
            let at = format!("{name}.{field}");
            let Some(new) = after.get(field) else {
                if !is_deprecated(&old.directives) {
                    self.breaks(format!("{at} is gone: whoever asks for it fails; deprecate it in a release first"));
                }
                continue;
            };
            if !is_readable(&old.ty.node, &new.ty.node) {
                let (old, new) = (&old.ty.node, &new.ty.node);
                self.breaks(format!("{at} was {old} and is {new}: whoever reads it gets what they do not expect"));
            }
            self.inputs(&at, &inputs_of(&old.arguments), &inputs_of(&new.arguments));
        }
    }

    /// Arguments of a field, or fields of an input.
    fn inputs(
        &mut self,
        name: &str,
        before: &BTreeMap<String, InputValueDefinition>,
        after: &BTreeMap<String, InputValueDefinition>,
    ) {
        for (input, old) in before {
            let at = format!("{name}({input})");
            let Some(new) = after.get(input) else {
                if !is_deprecated(&old.directives) {
                    self.breaks(format!("{at} is gone: whoever gives it fails"));
                }
                continue;
            };
            let (old_type, new_type) = (&old.ty.node, &new.ty.node);
            if !is_takeable(old_type, new_type) || is_required(new) && !is_required(old) {
                self.breaks(format!("{at} took {old_type} and takes {new_type}: what was right is refused"));
            }
            let default =
                |input: &InputValueDefinition| input.default_value.as_ref().map(|value| value.node.to_string());
            if default(old) != default(new) {
                self.endangers(format!("{at} is something else when it is not given"));
            }
        }
        for (input, new) in after {
            if !before.contains_key(input) && is_required(new) {
                self.breaks(format!("{name}({input}) must be given: nobody does yet"));
            }
        }
    }
}

#[test]
fn the_schema_breaks_nobody_who_uses_the_released_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("released.graphql");
    if std::env::var_os("RELEASE_SCHEMA").is_some() {
        std::fs::write(&file, crate::schema_sdl()).unwrap();
    }
    let released = std::fs::read_to_string(&file).unwrap();
    let Changes { breaking, dangerous } = Changes::between(&released, crate::schema_sdl());
    assert!(breaking.is_empty(), "since the last release:\n{}", breaking.join("\n"));
    let unknown: Vec<_> = dangerous.iter().filter(|one| !ACCEPTED.iter().any(|(known, _)| known == one)).collect();
    assert!(unknown.is_empty(), "tell clients, and accept by name:\n{unknown:#?}");
    let stale: Vec<_> = ACCEPTED.iter().filter(|(known, _)| !dangerous.iter().any(|one| one == known)).collect();
    assert!(stale.is_empty(), "accepted, and not there: {stale:?}");
}
