//! Giving back the room that a parsed document has to spare. The library keeps the document for as long as its
//! subscription lasts, and the parser leaves room for four of everything.

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, Field, Selection, SelectionSet};

/// Call it on documents whose depth was checked.
pub(crate) fn compact(document: &mut ExecutableDocument) {
    let operations = match &mut document.operations {
        DocumentOperations::Single(operation) => vec![operation],
        DocumentOperations::Multiple(operations) => operations.values_mut().collect(),
    };
    for operation in operations {
        operation.node.variable_definitions.shrink_to_fit();
        operation.node.directives.shrink_to_fit();
        compact_selection(&mut operation.node.selection_set.node);
    }
    for fragment in document.fragments.values_mut() {
        fragment.node.directives.shrink_to_fit();
        compact_selection(&mut fragment.node.selection_set.node);
    }
}

fn compact_selection(selection: &mut SelectionSet) {
    selection.items.shrink_to_fit();
    for item in &mut selection.items {
        match &mut item.node {
            Selection::Field(field) => compact_field(&mut field.node),
            Selection::FragmentSpread(spread) => spread.node.directives.shrink_to_fit(),
            Selection::InlineFragment(fragment) => {
                fragment.node.directives.shrink_to_fit();
                compact_selection(&mut fragment.node.selection_set.node);
            }
        }
    }
}

fn compact_field(field: &mut Field) {
    field.arguments.shrink_to_fit();
    field.directives.shrink_to_fit();
    compact_selection(&mut field.selection_set.node);
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    fn spare(selection: &SelectionSet) -> usize {
        let within = |item: &Selection| match item {
            Selection::Field(field) => {
                field.node.arguments.capacity() - field.node.arguments.len() + spare(&field.node.selection_set.node)
            }
            Selection::FragmentSpread(_) => 0,
            Selection::InlineFragment(fragment) => spare(&fragment.node.selection_set.node),
        };
        let items = &selection.items;
        items.capacity() - items.len() + items.iter().map(|item| within(&item.node)).sum::<usize>()
    }

    #[test]
    fn nothing_is_left_to_spare_and_nothing_else_changes() {
        let text =
            "subscription($id: ID!) { a(id: $id, of: 1) { b ... on C { d(e: 2) { f } } ...G } } fragment G on H { i }";
        let document = parse_query(text).unwrap();
        let mut compacted = document.clone();
        let all = |document: &ExecutableDocument| {
            let operations = document.operations.iter().map(|(_, operation)| spare(&operation.node.selection_set.node));
            let fragments = document.fragments.values().map(|fragment| spare(&fragment.node.selection_set.node));
            operations.chain(fragments).sum::<usize>()
        };
        assert!(all(&parse_query(text).unwrap()) > 0);
        compact(&mut compacted);
        assert_eq!(all(&compacted), 0);
        assert_eq!(format!("{compacted:?}"), format!("{document:?}"));
    }
}
