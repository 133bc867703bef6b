//! Who may ask for what: one table, looked up before anything is executed. What is not in it is
//! denied. What a role may see of a thing (its own orders, its own canteens) is decided where the
//! thing is read.

use std::collections::HashSet;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
};

use crate::{
    errors::{Code, Failed, coded},
    identity::{
        Identity, Role,
        Role::{Auditor, Canteen, Company, Diner, Finance, Ops},
    },
};

/// The roles of one tenant.
const TENANT: &[Role] = &[Diner, Canteen, Company, Finance, Auditor];
const STAFF: &[Role] = &[Canteen];
const KITCHEN_READERS: &[Role] = &[Canteen, Auditor];
const BUSINESS_READERS: &[Role] = &[Canteen, Finance, Auditor];
const BOOK_READERS: &[Role] = &[Finance, Auditor];
/// Those who own accounts, and those who read everybody's.
const ACCOUNT_READERS: &[Role] = &[Diner, Company, Finance, Auditor];
const COMPANY_READERS: &[Role] = &[Company, Finance, Auditor];
const OPERATORS: &[Role] = &[Ops];
const LOG_READERS: &[Role] = &[Auditor];

/// Root field → roles that may ask for it, whether it is queried or watched.
pub(crate) const TABLE: &[(&str, &[Role])] = &[
    // Query.
    ("viewer", &[Diner, Canteen, Company, Finance, Auditor, Ops]),
    ("node", TENANT),
    ("canteens", TENANT),
    ("canteen", TENANT),
    ("servings", TENANT),
    ("serving", TENANT),
    ("order", &[Diner, Canteen, Finance, Auditor]),
    ("myOrders", &[Diner]),
    ("ordersOfServing", BUSINESS_READERS),
    ("ordersOfDay", BOOK_READERS),
    ("menuSearch", TENANT),
    ("kitchenBoard", KITCHEN_READERS),
    ("prepSheet", KITCHEN_READERS),
    ("dashboard", BUSINESS_READERS),
    ("dashboards", BUSINESS_READERS),
    ("sales", BUSINESS_READERS),
    ("myBalances", &[Diner]),
    ("account", ACCOUNT_READERS),
    ("diner", &[Diner, Company, Finance]),
    ("topUps", BOOK_READERS),
    ("payouts", BOOK_READERS),
    ("myPayouts", &[Diner]),
    ("corrections", BOOK_READERS),
    ("mySubsidyLots", &[Diner]),
    ("subsidyUse", COMPANY_READERS),
    ("grantRuns", COMPANY_READERS),
    ("subsidyPolicies", COMPANY_READERS),
    ("employees", COMPANY_READERS),
    ("companyUse", COMPANY_READERS),
    ("invoices", COMPANY_READERS),
    ("receivables", COMPANY_READERS),
    ("balances", BOOK_READERS),
    ("journal", BOOK_READERS),
    ("trialBalance", BOOK_READERS),
    ("periods", BOOK_READERS),
    ("statement", ACCOUNT_READERS),
    ("periodBalances", BOOK_READERS),
    ("payables", BOOK_READERS),
    ("events", LOG_READERS),
    ("event", LOG_READERS),
    ("causation", LOG_READERS),
    ("aggregate", LOG_READERS),
    ("projections", OPERATORS),
    ("parkedEvents", OPERATORS),
    // Subscription; those with a query's name have its roles.
    ("orderProgress", &[Diner, Canteen]),
    ("portionsLeft", TENANT),
    // Mutation.
    ("openCanteen", STAFF),
    ("putDish", STAFF),
    ("retireDish", STAFF),
    ("publishServing", STAFF),
    ("setPortions", STAFF),
    ("setPrice", STAFF),
    ("withdrawDish", STAFF),
    ("withdrawServing", STAFF),
    ("placeOrder", &[Diner, Canteen]),
    ("changeOrder", &[Diner, Canteen]),
    ("cancelOrder", &[Diner, Canteen]),
    ("refundLines", STAFF),
    ("refundAmount", STAFF),
    ("recordPayment", STAFF),
    ("prepare", STAFF),
    ("markReady", STAFF),
    ("collect", STAFF),
    ("markNoShow", STAFF),
    ("deposit", &[Finance]),
    ("freezeAccount", &[Finance]),
    ("unfreezeAccount", &[Finance]),
    ("closeAccount", &[Finance]),
    ("topUp", &[Finance]),
    ("requestPayout", &[Diner, Finance]),
    ("confirmPayout", &[Finance]),
    ("cancelPayout", &[Finance]),
    ("adjustAccount", &[Finance]),
    ("proposeCorrection", &[Finance]),
    ("applyCorrection", &[Finance]),
    ("rejectCorrection", &[Finance]),
    ("openSubsidyPolicy", &[Finance]),
    ("setSubsidyTerms", &[Finance]),
    ("endSubsidyPolicy", &[Finance]),
    ("setStandingGrants", &[Finance]),
    ("grantSubsidies", &[Finance]),
    ("employ", &[Finance]),
    ("moveEmployment", &[Finance]),
    ("endEmployment", &[Finance]),
    ("issueInvoice", &[Finance]),
    ("payInvoice", &[Finance]),
    ("voidInvoice", &[Finance]),
    ("setCreditLimit", &[Finance]),
    ("setCompanyDisclosure", &[Finance]),
    ("setDinerDetails", &[Finance]),
    ("eraseDiner", &[Finance]),
    ("openBooks", &[Finance]),
    ("closePeriod", &[Finance]),
    ("reopenPeriod", &[Finance]),
    ("setDeductionOrder", &[Finance]),
];

/// Root fields whose answers, with all that can be asked below them, are the same for everybody who may ask: what
/// a tenant's canteens offer.
pub(crate) const MENU: &[&str] = &["canteens", "canteen", "servings", "serving"];

/// What an operation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing but what is in [`MENU`].
    Menu,
    Query,
    Mutation,
    Subscription,
}

impl Asks {
    pub(crate) fn is_query(self) -> bool {
        matches!(self, Asks::Menu | Asks::Query)
    }
}

pub(crate) fn asks(document: &ExecutableDocument, operation: &OperationDefinition) -> Asks {
    match operation.ty {
        OperationType::Mutation => Asks::Mutation,
        OperationType::Subscription => Asks::Subscription,
        OperationType::Query => {
            let fields = all_root_fields(document, operation);
            let is_menu = !fields.is_empty() && fields.iter().all(|field| MENU.contains(field));
            if is_menu { Asks::Menu } else { Asks::Query }
        }
    }
}

/// The operation of a document that will run.
pub(crate) fn operation<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a OperationDefinition, Failed> {
    let missing = |why: String| coded(Code::BadInput, why);
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Ok(&operation.node),
        (DocumentOperations::Multiple(operations), Some(name)) => operations
            .get(name)
            .map(|operation| &operation.node)
            .ok_or_else(|| missing(format!("there is no operation {name:?}"))),
        (DocumentOperations::Multiple(operations), None) => match operations.values().next() {
            Some(operation) if operations.len() == 1 => Ok(&operation.node),
            _ => Err(missing("there are several operations; say which with operationName".to_owned())),
        },
        (DocumentOperations::Single(_), Some(name)) => Err(missing(format!("there is no operation {name:?}"))),
    }
}

/// Whether `operation` asks about the schema. Every object's own `__typename` is no such question.
pub(crate) fn is_about_schema(document: &ExecutableDocument, operation: &OperationDefinition) -> bool {
    all_root_fields(document, operation).into_iter().any(|field| field.starts_with("__") && field != "__typename")
}

/// Refuses a subscription to more than one thing (the specification's "Single root field").
pub(crate) fn check_single(document: &ExecutableDocument, operation: &OperationDefinition) -> Result<(), Failed> {
    let fields = all_root_fields(document, operation);
    if fields.len() == 1 && !fields[0].starts_with("__") {
        return Ok(());
    }
    Err(coded(Code::BadInput, "a subscription asks for exactly one field; send one for each"))
}

/// Denies the operation unless its bearer may ask for each of its root fields. The schema itself is
/// open to everybody.
pub(crate) fn check(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    identity: Option<&Identity>,
) -> Result<(), Failed> {
    for field in all_root_fields(document, operation).into_iter().filter(|field| !field.starts_with("__")) {
        let Some(identity) = identity else {
            return Err(coded(Code::Unauthenticated, "this needs a token: Authorization: Bearer …"));
        };
        let roles = TABLE.iter().find(|(name, _)| *name == field).map(|(_, roles)| *roles);
        if !roles.is_some_and(|roles| identity.has_any(roles)) {
            return Err(coded(Code::Forbidden, format!("your roles do not let you ask for {field:?}"))
                .in_chinese(format!("您的角色不能查询或变更 {field}")));
        }
    }
    Ok(())
}

/// The names of all root fields, those in fragments too; directives may leave some out, and they
/// count all the same.
fn all_root_fields<'a>(document: &'a ExecutableDocument, operation: &'a OperationDefinition) -> Vec<&'a str> {
    let mut fields = Vec::new();
    root_fields(document, &operation.selection_set.node, &mut HashSet::new(), &mut fields);
    fields
}

fn root_fields<'a>(
    document: &'a ExecutableDocument,
    selection: &'a SelectionSet,
    seen: &mut HashSet<&'a str>,
    fields: &mut Vec<&'a str>,
) {
    for item in &selection.items {
        match &item.node {
            Selection::Field(field) => fields.push(&field.node.name.node),
            Selection::InlineFragment(inline) => {
                root_fields(document, &inline.node.selection_set.node, seen, fields);
            }
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                if let Some(fragment) = document.fragments.get(name)
                    && seen.insert(name)
                {
                    root_fields(document, &fragment.node.selection_set.node, seen, fields);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::{
        parse_query, parse_schema,
        types::{FieldDefinition, TypeKind, TypeSystemDefinition},
    };
    use domain::TenantId;
    use uuid::Uuid;

    use super::*;

    fn someone(roles: &[Role]) -> Identity {
        Identity::new(TenantId(Uuid::from_u128(1)), Uuid::from_u128(2), roles)
    }

    fn asked(query: &str, identity: Option<&Identity>) -> Result<(), Code> {
        let document = parse_query(query).unwrap();
        check(&document, operation(&document, None).unwrap(), identity).map_err(|failed| failed.code)
    }

    #[test]
    fn the_table_has_exactly_the_root_fields_of_the_schema() {
        let document = parse_schema(crate::schema_sdl()).unwrap();
        let mut fields = Vec::new();
        for definition in document.definitions {
            if let TypeSystemDefinition::Type(definition) = definition
                && matches!(definition.node.name.node.as_str(), "Query" | "Mutation" | "Subscription")
                && let TypeKind::Object(object) = definition.node.kind
            {
                fields.extend(object.fields.iter().map(|field| field.node.name.node.to_string()));
            }
        }
        assert!(fields.len() > 30, "{fields:?}");
        let mut table: Vec<_> = TABLE.iter().map(|(name, _)| (*name).to_owned()).collect();
        fields.sort();
        // A query and a subscription of one name share a row.
        fields.dedup();
        table.sort();
        assert_eq!(table, fields);
        assert!(TABLE.iter().all(|(_, roles)| !roles.is_empty()));
    }

    /// Whose answers are shared by a tenant must say nothing of who asks. Whoever adds a type here has looked.
    #[test]
    fn below_the_menu_there_is_nothing_of_who_asks() {
        let document = parse_schema(crate::schema_sdl()).unwrap();
        let mut objects = std::collections::HashMap::new();
        for definition in document.definitions {
            if let TypeSystemDefinition::Type(definition) = definition
                && let TypeKind::Object(object) = definition.node.kind
            {
                let field = |field: async_graphql::Positioned<FieldDefinition>| {
                    let ty = field.node.ty.node.to_string();
                    (field.node.name.node.to_string(), ty.trim_matches(['[', ']', '!']).to_owned())
                };
                let fields: Vec<_> = object.fields.into_iter().map(field).collect();
                objects.insert(definition.node.name.node.to_string(), fields);
            }
        }
        let roots = objects["Query"].iter().filter(|(name, _)| MENU.contains(&name.as_str()));
        let mut waiting: Vec<String> = roots.map(|(_, ty)| ty.clone()).collect();
        assert_eq!(waiting.len(), MENU.len());
        let mut found = std::collections::BTreeSet::new();
        while let Some(ty) = waiting.pop() {
            if let Some(fields) = objects.get(&ty)
                && found.insert(ty)
            {
                waiting.extend(fields.iter().map(|(_, ty)| ty.clone()));
            }
        }
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        let known = [
            "Canteen",
            "CanteenConnection",
            "CanteenEdge",
            "Choice",
            "Dish",
            "DishConnection",
            "DishEdge",
            "Money",
            "Offer",
            "OptionGroup",
            "PageInfo",
            "Serving",
            "ServingConnection",
            "ServingEdge",
        ];
        assert_eq!(found, known);
        assert!(MENU.iter().all(|field| TABLE.iter().any(|(name, roles)| name == field && *roles == TENANT)));
    }

    #[test]
    fn only_what_asks_for_nothing_else_is_a_menu() {
        let asked = |query: &str| {
            let document = parse_query(query).unwrap();
            asks(&document, operation(&document, None).unwrap())
        };
        assert_eq!(
            asked("{ a: serving(id: 1) { id } ...b } fragment b on Query { canteens { nodes { id } } }"),
            Asks::Menu
        );
        assert_eq!(
            asked("{ serving(id: 1) { id } ...b } fragment b on Query { myOrders { nodes { id } } }"),
            Asks::Query
        );
        assert_eq!(asked("{ serving: myBalances { balance } }"), Asks::Query);
        assert_eq!(asked("{ __typename }"), Asks::Query);
        assert_eq!(asked("mutation { serving { id } }"), Asks::Mutation);
        assert_eq!(asked("subscription { serving { id } }"), Asks::Subscription);
    }

    #[test]
    fn nobody_asks_for_what_the_table_does_not_give_them() {
        for (field, roles) in TABLE {
            let query = format!("{{ {field} }}");
            assert_eq!(asked(&query, None), Err(Code::Unauthenticated), "{field}");
            for role in Role::ALL {
                let expected = if roles.contains(&role) { Ok(()) } else { Err(Code::Forbidden) };
                assert_eq!(asked(&query, Some(&someone(&[role]))), expected, "{field} {role:?}");
            }
        }
        assert_eq!(asked("{ somethingNew }", Some(&someone(&Role::ALL))), Err(Code::Forbidden));
    }

    #[test]
    fn an_alias_a_fragment_or_a_directive_hides_nothing() {
        let diner = someone(&[Diner]);
        for query in [
            "{ viewer: trialBalance { balance { amount } } }",
            "{ viewer { tenant } ... on Query { trialBalance { currency } } }",
            "{ ...a } fragment a on Query { ...b } fragment b on Query { trialBalance { currency } }",
            "{ viewer { tenant } trialBalance @skip(if: true) { currency } }",
            "{ ... { trialBalance { currency } } }",
        ] {
            assert_eq!(asked(query, Some(&diner)), Err(Code::Forbidden), "{query}");
        }
    }

    #[test]
    fn the_schema_is_open_and_nothing_else() {
        assert_eq!(asked("{ __typename __schema { queryType { name } } }", None), Ok(()));
        assert_eq!(asked("{ __typename viewer { tenant } }", None), Err(Code::Unauthenticated));
    }

    #[test]
    fn the_operation_that_runs_is_the_one_that_is_checked() {
        let document = parse_query("query a { viewer { tenant } } query b { trialBalance { currency } }").unwrap();
        assert!(operation(&document, None).is_err());
        assert!(operation(&document, Some("c")).is_err());
        let diner = someone(&[Diner]);
        assert!(check(&document, operation(&document, Some("a")).unwrap(), Some(&diner)).is_ok());
        assert!(check(&document, operation(&document, Some("b")).unwrap(), Some(&diner)).is_err());
    }
}
