//! What holds of the schema as a whole; below, what is answered.

mod as_of;
mod books;
mod changing;
mod companies;
mod compatibility;
mod edge;
mod enumeration;
mod finance;
mod graphiql;
mod guides;
mod history;
mod http;
mod incomplete;
mod isolation;
mod languages;
mod large_amounts;
mod live;
mod lunch;
mod menus;
mod own_money;
mod paying;
mod people;
mod refusals;
mod schema_pages;
mod searching;
mod socket;
mod statements;
mod subsidies;
mod tax;

use std::path::Path;

use async_graphql::parser::{
    parse_schema,
    types::{FieldDefinition, InputValueDefinition, TypeDefinition, TypeKind, TypeSystemDefinition},
};

/// Compares with the file beside the crate; `UPDATE_SCHEMA=1` rewrites it.
#[test]
fn the_schema_is_the_recorded_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql");
    let schema = crate::schema_sdl();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&file, schema).unwrap();
    }
    let recorded = std::fs::read_to_string(&file).unwrap();
    assert!(
        recorded == schema,
        "graphql/schema.graphql is not the schema any more; UPDATE_SCHEMA=1 cargo test -p tiffin-graphql rewrites it"
    );
}

fn undescribed_arguments(of: &str, arguments: &[async_graphql::Positioned<InputValueDefinition>]) -> Vec<String> {
    let missing = arguments.iter().filter(|argument| argument.node.description.is_none());
    missing.map(|argument| format!("{of}({})", argument.node.name.node)).collect()
}

fn undescribed_fields(of: &str, fields: &[async_graphql::Positioned<FieldDefinition>]) -> Vec<String> {
    let mut missing = Vec::new();
    for field in fields {
        let name = format!("{of}.{}", field.node.name.node);
        missing.extend(undescribed_arguments(&name, &field.node.arguments));
        if field.node.description.is_none() {
            missing.push(name);
        }
    }
    missing
}

fn undescribed(definition: &TypeDefinition) -> Vec<String> {
    let name = definition.name.node.as_str();
    let mut missing = match &definition.kind {
        TypeKind::Object(object) => undescribed_fields(name, &object.fields),
        TypeKind::Interface(interface) => undescribed_fields(name, &interface.fields),
        TypeKind::InputObject(input) => undescribed_arguments(name, &input.fields),
        TypeKind::Enum(choices) => {
            let missing = choices.values.iter().filter(|value| value.node.description.is_none());
            missing.map(|value| format!("{name}.{}", value.node.value.node)).collect()
        }
        TypeKind::Scalar | TypeKind::Union(_) => vec![],
    };
    if definition.description.is_none() {
        missing.push(name.to_owned());
    }
    missing
}

#[test]
fn everything_in_the_schema_is_described() {
    let document = parse_schema(crate::schema_sdl()).unwrap();
    let types = document.definitions.iter().filter_map(|definition| match definition {
        TypeSystemDefinition::Type(definition) => Some(&definition.node),
        TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
    });
    let types: Vec<_> = types.collect();
    assert!(types.len() > 50);
    let missing: Vec<_> = types.into_iter().flat_map(undescribed).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_mutation_takes_an_idempotency_key() {
    let document = parse_schema(crate::schema_sdl()).unwrap();
    let mutation = document.definitions.iter().find_map(|definition| match definition {
        TypeSystemDefinition::Type(definition) if definition.node.name.node == "Mutation" => {
            Some(&definition.node.kind)
        }
        _ => None,
    });
    let Some(TypeKind::Object(mutation)) = mutation else { panic!("there are no mutations") };
    for field in &mutation.fields {
        let key = field.node.arguments.iter().find(|argument| argument.node.name.node == "idempotencyKey");
        let key = key.map(|key| key.node.ty.node.to_string());
        assert_eq!(key.as_deref(), Some("UUID!"), "{}", field.node.name.node);
    }
}
