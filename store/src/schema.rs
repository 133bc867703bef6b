//! What recorded payloads look like: schema versions, upcasting on read, JSON schemas.
//!
//! A payload is never rewritten. An event that was recorded in an older shape is brought to the
//! current one, step by step, each time that it is read.

use std::collections::BTreeMap;

use domain::{Fact, StreamKind};
use serde_json::{Map, Value};

use crate::{EventRow, Position};

/// Why an event cannot be read as a fact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The event's type or schema version is unknown here. A projection pauses until the program
    /// is replaced by a newer one; it never parks such an event.
    #[error(
        "event {position} is {event_type} of schema version {schema_version}, which is newer than this program: \
         use a newer tiffin"
    )]
    Newer { position: Position, event_type: String, schema_version: u16 },
    /// The payload is not what its type and version promise. A projection parks it.
    #[error("event {position} ({event_type}, schema version {schema_version}) cannot be read: {reason}")]
    Broken { position: Position, event_type: String, schema_version: u16, reason: String },
}

/// One step of upcasting: a payload of `event_type` in schema version `from` becomes one of
/// version `from + 1`. The value is the whole payload, with the event's name around it.
#[derive(Clone, Copy, Debug)]
pub struct Upcaster {
    pub event_type: &'static str,
    pub from: u16,
    pub upcast: fn(Value) -> Result<Value, String>,
}

/// Every upcaster of this program. Each version before the current one needs its step.
pub const UPCASTERS: &[Upcaster] = &[
    // Version 2 may name the lot that the money is of; before there were lots, it was of none.
    Upcaster { event_type: "account.Held", from: 1, upcast: unchanged },
    Upcaster { event_type: "account.Refunded", from: 1, upcast: unchanged },
    // Version 2 may say how many diners were skipped; before it, nobody counted them.
    Upcaster { event_type: "grant.BatchSettled", from: 1, upcast: unchanged },
    // Version 2 may clear lots when their diners leave; before it, they stayed until they expired.
    Upcaster { event_type: "policy.TermsSet", from: 1, upcast: unchanged },
    // Version 2 may name another source than the bank.
    Upcaster { event_type: "account.Deposited", from: 1, upcast: unchanged },
    // Version 2 has lots among its sources, and limits among its reasons.
    Upcaster { event_type: "payment.Started", from: 1, upcast: unchanged },
    // The next versions have WeChat Pay and Alipay among the providers; and a payment may name the
    // provider's transaction.
    Upcaster { event_type: "payment.Started", from: 2, upcast: unchanged },
    Upcaster { event_type: "payment.PaidBack", from: 1, upcast: unchanged },
    Upcaster { event_type: "payment.Paid", from: 1, upcast: unchanged },
    // Version 2 has payment by a provider among its terms, and its failure among the refusals; a line may
    // name the tax in it.
    Upcaster { event_type: "order.Placed", from: 1, upcast: unchanged },
    Upcaster { event_type: "order.Refused", from: 1, upcast: unchanged },
    // Version 2 has one more reason to refund.
    Upcaster { event_type: "order.Cancelled", from: 1, upcast: unchanged },
    // Version 2 may name the tax that prices include; before there was one, there was none.
    Upcaster { event_type: "menu.DishPut", from: 1, upcast: unchanged },
    Upcaster { event_type: "serving.Published", from: 1, upcast: unchanged },
    Upcaster { event_type: "order.PickedUp", from: 1, upcast: unchanged },
    Upcaster { event_type: "order.NoShow", from: 1, upcast: unchanged },
    // Version 2 of a refund after the meal moves its amount back to prepaid itself, and says so. One of
    // version 1 does not, and each of its tenders takes its part from the canteen that it names.
    Upcaster { event_type: "order.RefundBegun", from: 1, upcast: unchanged },
    // Version 2 has one more reason to refuse.
    Upcaster { event_type: "payout.Refused", from: 1, upcast: unchanged },
    // Version 3 has one more reason again: the order was changed.
    Upcaster { event_type: "order.Cancelled", from: 2, upcast: unchanged },
    Upcaster { event_type: "order.RefundBegun", from: 2, upcast: unchanged },
    // Version 2 may name the lot that the money should have gone back to.
    Upcaster { event_type: "account.RefundDiverted", from: 1, upcast: unchanged },
];

/// For a version that may say more, and reads what said less as it stands.
fn unchanged(payload: Value) -> Result<Value, String> {
    Ok(payload)
}

/// Reads an event row as a fact, in the current schema whatever it was recorded in.
pub fn decode(row: &EventRow) -> Result<Fact, SchemaError> {
    decode_with(row, UPCASTERS, current_version)
}

/// The schema version in which this program writes the event `name` of streams of `kind`; none if
/// it does not know it.
pub fn current_version(kind: StreamKind, name: &str) -> Option<u16> {
    Fact::schemas(kind).iter().find(|(known, _)| *known == name).map(|(_, version)| *version)
}

/// [`decode`] with a registry and versions of one's own.
pub fn decode_with(
    row: &EventRow,
    upcasters: &[Upcaster],
    current_version: impl Fn(StreamKind, &str) -> Option<u16>,
) -> Result<Fact, SchemaError> {
    let kind = row.stream.kind;
    let known = event_name(row).and_then(|name| Some((name, current_version(kind, name)?)));
    let Some((name, current)) = known.filter(|(_, current)| row.schema_version <= *current) else {
        return Err(SchemaError::Newer {
            position: row.position,
            event_type: row.event_type.to_string(),
            schema_version: row.schema_version,
        });
    };
    let fact = if row.schema_version == current {
        Fact::decode(kind, row.stream.key, &row.payload).map_err(|error| broken(row, error.to_string()))?
    } else {
        let payload = upcast(row, current, upcasters).map_err(|reason| broken(row, reason))?;
        Fact::decode(kind, row.stream.key, &payload).map_err(|error| broken(row, error.to_string()))?
    };
    if fact.name() != name {
        return Err(broken(row, format!("the payload is of {:?}", fact.name())));
    }
    Ok(fact)
}

/// The second half of the event type, if the first is the stream's own aggregate.
fn event_name(row: &EventRow) -> Option<&str> {
    row.event_type.strip_prefix(row.stream.kind.aggregate())?.strip_prefix('.')
}

fn broken(row: &EventRow, reason: String) -> SchemaError {
    SchemaError::Broken {
        position: row.position,
        event_type: row.event_type.to_string(),
        schema_version: row.schema_version,
        reason,
    }
}

fn upcast(row: &EventRow, current: u16, upcasters: &[Upcaster]) -> Result<Vec<u8>, String> {
    let mut payload: Value = serde_json::from_slice(&row.payload).map_err(|error| error.to_string())?;
    for from in row.schema_version..current {
        let step = upcasters.iter().find(|step| step.from == from && *step.event_type == *row.event_type);
        let step = step.ok_or_else(|| format!("nothing brings schema version {from} to {}", from + 1))?;
        payload = (step.upcast)(payload)
            .map_err(|reason| format!("schema version {from} could not be brought to {}: {reason}", from + 1))?;
    }
    serde_json::to_vec(&payload).map_err(|error| error.to_string())
}

/// The JSON schema of every event type's payload in its current version, by event type.
///
/// Titles and descriptions are left out: they are not part of what is recorded.
pub fn event_schemas() -> BTreeMap<String, Value> {
    let mut schemas = BTreeMap::new();
    variants::<domain::menu::Event>(StreamKind::Menu, &mut schemas);
    variants::<domain::serving::Event>(StreamKind::Serving, &mut schemas);
    variants::<domain::order::Event>(StreamKind::Order, &mut schemas);
    variants::<domain::payment::Event>(StreamKind::Payment, &mut schemas);
    variants::<domain::account::Event>(StreamKind::Wallet, &mut schemas);
    variants::<domain::policy::Event>(StreamKind::Policy, &mut schemas);
    variants::<domain::grant_run::Event>(StreamKind::Grant, &mut schemas);
    variants::<domain::diner::Event>(StreamKind::Diner, &mut schemas);
    variants::<domain::books::Event>(StreamKind::Books, &mut schemas);
    variants::<domain::invoice::Event>(StreamKind::Invoice, &mut schemas);
    variants::<domain::correction::Event>(StreamKind::Correction, &mut schemas);
    variants::<domain::top_up::Event>(StreamKind::TopUp, &mut schemas);
    variants::<domain::payout::Event>(StreamKind::Payout, &mut schemas);
    schemas
}

/// Splits the schema of an aggregate's events into one a variant, each with the definitions that
/// it needs and no others.
fn variants<E: schemars::JsonSchema>(kind: StreamKind, schemas: &mut BTreeMap<String, Value>) {
    let mut whole = schemars::schema_for!(E).to_value();
    strip_prose(&mut whole);
    let definitions = whole.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let alternatives = whole.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut put = |name: &str, mut schema: Value| {
        let mut used = Map::new();
        collect_definitions(&schema, &definitions, &mut used);
        if let (Value::Object(schema), false) = (&mut schema, used.is_empty()) {
            schema.insert("$defs".into(), Value::Object(used));
        }
        schemas.insert(format!("{}.{name}", kind.aggregate()), schema);
    };
    for alternative in alternatives {
        if let Some(name) = alternative.get("const").and_then(Value::as_str) {
            put(name, serde_json::json!({ "const": name }));
        }
        for name in alternative.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            put(name, serde_json::json!({ "const": name }));
        }
        if let Some(name) = alternative.pointer("/required/0").and_then(Value::as_str) {
            put(name, alternative.clone());
        }
    }
}

/// Removes titles and descriptions, but no property of such a name.
fn strip_prose(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("title");
            object.remove("description");
            for (keyword, value) in object {
                match value {
                    Value::Object(named) if keyword == "properties" || keyword == "$defs" => {
                        named.values_mut().for_each(strip_prose);
                    }
                    other => strip_prose(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strip_prose),
        _ => {}
    }
}

fn collect_definitions(schema: &Value, all: &Map<String, Value>, used: &mut Map<String, Value>) {
    match schema {
        Value::Object(object) => {
            let named = object.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
            if let Some((name, definition)) = named.and_then(|name| Some((name, all.get(name)?)))
                && !used.contains_key(name)
            {
                used.insert(name.to_owned(), definition.clone());
                collect_definitions(definition, all, used);
            }
            object.values().for_each(|value| collect_definitions(value, all, used));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_definitions(value, all, used)),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
