use std::{
    fs,
    path::{Path, PathBuf},
};

use domain::{ActorId, CommandId, Money, StreamId, TenantId, Timestamp, account};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{Metadata, Recorded};

fn row(kind: StreamKind, event_type: &str, schema_version: u16, payload: &str) -> EventRow {
    let stream = StreamId { tenant: TenantId(Uuid::nil()), kind, key: Uuid::from_u128(5) };
    EventRow {
        position: 3,
        stream,
        version: 1,
        event_type: event_type.into(),
        schema_version,
        payload: payload.as_bytes().to_vec(),
        metadata: Metadata {
            command: CommandId(Uuid::nil()),
            digest: None,
            actor: ActorId(Uuid::nil()),
            correlation: stream.key,
            causation: None,
            trace: None,
        },
        occurred_at: Timestamp::EPOCH,
        recorded_at: Timestamp::EPOCH,
    }
}

/// An amount as it is recorded.
fn amount() -> String {
    serde_json::to_string(&money()).unwrap()
}

fn money() -> Money {
    Money::new(1250, "CNY".parse().unwrap())
}

fn deposited(amount: &str) -> String {
    format!(r#"{{"Deposited":{{"deposit":"{}","amount":{amount}}}}}"#, Uuid::from_u128(9))
}

fn fact() -> Fact {
    let event = account::Event::Deposited {
        deposit: Uuid::from_u128(9),
        amount: money(),
        source: domain::top_up::Source::Bank,
    };
    Fact::Account(domain::AccountId::Wallet(domain::DinerId(Uuid::from_u128(5))), event)
}

#[test]
fn a_current_payload_is_a_fact() {
    let row = row(StreamKind::Wallet, "account.Deposited", 1, &deposited(&amount()));
    assert_eq!(decode(&row), Ok(fact()));
    assert_eq!(Recorded::decode(&row).unwrap().fact, fact());
}

#[test]
fn what_is_newer_than_this_program_is_told_from_what_is_broken() {
    let good = deposited(&amount());
    let newer = [
        row(StreamKind::Wallet, "account.Deposited", 3, &good),
        // Nothing is said of what a newer payload looks like.
        row(StreamKind::Wallet, "account.Deposited", 9, "?"),
        row(StreamKind::Wallet, "account.Levitated", 1, &good),
        row(StreamKind::Wallet, "purse.Deposited", 1, &good),
        row(StreamKind::Wallet, "accountDeposited", 1, &good),
    ];
    for row in newer {
        let error = decode(&row).unwrap_err();
        assert!(matches!(error, SchemaError::Newer { position: 3, .. }), "{error}");
        assert!(error.to_string().contains("newer than this program"), "{error}");
    }
    let broken = [
        row(StreamKind::Wallet, "account.Deposited", 1, "{"),
        row(StreamKind::Wallet, "account.Deposited", 1, &deposited("-1.5e3")),
        row(StreamKind::Wallet, "account.Deposited", 1, ""),
        // A payload of another event than the type says.
        row(StreamKind::Wallet, "account.Frozen", 1, &good),
        row(StreamKind::Wallet, "account.Deposited", 1, "\"Frozen\""),
        // No such version was ever written.
        row(StreamKind::Wallet, "account.Deposited", 0, &good),
    ];
    for row in broken {
        let error = decode(&row).unwrap_err();
        assert!(matches!(error, SchemaError::Broken { position: 3, .. }), "{error}");
        assert!(error.to_string().contains(&*row.event_type), "{error}");
    }
}

/// Version 1 called the amount `sum`, version 2 called it `value`, version 3 is the current one.
const STEPS: &[Upcaster] = &[
    Upcaster { event_type: "account.Deposited", from: 2, upcast: |payload| rename(payload, "value", "amount") },
    Upcaster { event_type: "account.Held", from: 1, upcast: |_| Err("of another event".into()) },
    Upcaster { event_type: "account.Deposited", from: 1, upcast: |payload| rename(payload, "sum", "value") },
];

fn rename(mut payload: Value, old: &str, new: &str) -> Result<Value, String> {
    let deposited = payload.get_mut("Deposited").and_then(Value::as_object_mut).ok_or("not a deposit")?;
    let value = deposited.remove(old).ok_or_else(|| format!("there is no {old}"))?;
    deposited.insert(new.into(), value);
    Ok(payload)
}

#[test]
fn an_old_payload_is_upcast_step_by_step() {
    let payload = |name: &str| json!({ "Deposited": { "deposit": Uuid::from_u128(9), name: money() } }).to_string();
    for (version, name) in [(1, "sum"), (2, "value"), (3, "amount")] {
        let row = row(StreamKind::Wallet, "account.Deposited", version, &payload(name));
        assert_eq!(decode_with(&row, STEPS, |_, _| Some(3)), Ok(fact()), "from version {version}");
    }
    let newer = row(StreamKind::Wallet, "account.Deposited", 4, &payload("amount"));
    assert!(matches!(decode_with(&newer, STEPS, |_, _| Some(3)), Err(SchemaError::Newer { .. })));
}

#[test]
fn an_upcast_that_cannot_be_done_says_which() {
    let good = deposited(&amount());
    let reason = |row: &EventRow, steps: &[Upcaster]| match decode_with(row, steps, |_, _| Some(3)) {
        Err(SchemaError::Broken { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let of = |version, payload| row(StreamKind::Wallet, "account.Deposited", version, payload);
    assert_eq!(reason(&of(1, &good), &STEPS[..1]), "nothing brings schema version 1 to 2");
    assert_eq!(reason(&of(0, &good), STEPS), "nothing brings schema version 0 to 1");
    assert_eq!(reason(&of(1, &good), STEPS), "schema version 1 could not be brought to 2: there is no sum");
    assert!(reason(&of(1, "{"), STEPS).contains("EOF"));
}

/// Recorded before there was tax: the canteen earned it all, and a refund after the meal took each of its
/// parts from the canteen.
#[test]
fn a_meal_and_its_refund_from_before_tax_still_balance() {
    let (order, canteen) = (Uuid::from_u128(5), Uuid::from_u128(7));
    let (refund, back) = (Uuid::from_u128(8), r#"{"minor":500,"currency":"CNY"}"#);
    let from = format!(r#"{{"canteen":"{canteen}"}}"#);
    let log = [
        (
            StreamKind::Wallet,
            "account.Captured",
            1,
            format!(r#"{{"Captured":{{"hold":"{order}/0","amount":{}}}}}"#, amount()),
        ),
        (
            StreamKind::Order,
            "order.PickedUp",
            1,
            format!(r#"{{"PickedUp":{{"canteen":"{canteen}","recognised":{}}}}}"#, amount()),
        ),
        (
            StreamKind::Order,
            "order.RefundBegun",
            1,
            format!(
                r#"{{"RefundBegun":{{"refund":"{refund}","lines":[{{"line":0,"quantity":1}}],"amount":{back},"from":{from},"reason":"complaint"}}}}"#
            ),
        ),
        (
            StreamKind::Wallet,
            "account.Refunded",
            1,
            format!(r#"{{"Refunded":{{"refund":"{refund}","hold":"{order}/0","amount":{back},"from":{from}}}}}"#),
        ),
    ];
    let mut books: BTreeMap<String, i64> = BTreeMap::new();
    for (kind, event_type, version, payload) in log {
        let fact = decode(&row(kind, event_type, version, &payload)).unwrap();
        for posting in domain::postings::postings(&fact) {
            *books.entry(posting.account.to_string()).or_default() += posting.amount.minor;
        }
    }
    let expected = [("prepaid".to_owned(), 0), (format!("canteen:{canteen}"), 750), (format!("wallet:{order}"), -750)];
    assert_eq!(books, expected.into());
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// What is wrong between the recorded schemas, the program's and its upcasters. With `update`
/// files of versions that are not there yet are written.
fn check(
    folder: &Path,
    schemas: &BTreeMap<String, Value>,
    versions: impl Fn(&str) -> u16,
    update: bool,
) -> Vec<String> {
    let mut wrong = vec![];
    for (event_type, schema) in schemas {
        let version = versions(event_type);
        let path = folder.join(format!("{event_type}.v{version}.json"));
        let text = serde_json::to_string_pretty(schema).unwrap() + "\n";
        match fs::read_to_string(&path) {
            Ok(recorded) if serde_json::from_str::<Value>(&recorded).ok().as_ref() == Some(schema) => {}
            Ok(_) => wrong.push(format!(
                "the shape of {event_type} version {version} has changed, but events were recorded in the old one: give \
                 it version {} in its SCHEMAS, an upcaster from {version} in store::schema::UPCASTERS, and leave {} as \
                 it is",
                version + 1,
                path.display()
            )),
            Err(_) if update => fs::write(&path, text).unwrap(),
            Err(_) => wrong.push(format!(
                "{event_type} version {version} has no recorded schema: run the tests of tiffin-store with \
                 UPDATE_SCHEMAS=1 and commit {}",
                path.display()
            )),
        }
    }
    wrong
}

/// Every version that was ever recorded can still be read.
fn check_history(files: &[String], versions: impl Fn(&str) -> Option<u16>, upcasters: &[Upcaster]) -> Vec<String> {
    let mut wrong = vec![];
    for file in files {
        let named = file.strip_suffix(".json").and_then(|file| file.rsplit_once(".v"));
        let Some((event_type, version)) = named.and_then(|(name, v)| Some((name, v.parse::<u16>().ok()?))) else {
            wrong.push(format!("{file} is not named TYPE.vVERSION.json"));
            continue;
        };
        match versions(event_type) {
            None => wrong.push(format!("{event_type} was recorded, but no aggregate has it any more")),
            Some(current) if version > current => {
                wrong.push(format!("{event_type} was recorded in version {version}, but {current} is the current one"));
            }
            Some(current) => wrong.extend(
                (version..current)
                    .filter(|from| !upcasters.iter().any(|step| step.event_type == event_type && step.from == *from))
                    .map(|from| format!("{event_type} has no upcaster from version {from}")),
            ),
        }
    }
    wrong
}

fn version_of(event_type: &str) -> Option<u16> {
    let (aggregate, name) = event_type.split_once('.')?;
    let kind = StreamKind::ALL.into_iter().find(|kind| kind.aggregate() == aggregate)?;
    current_version(kind, name)
}

#[test]
fn recorded_shapes_do_not_change() {
    let schemas = event_schemas();
    // Kinds that share an aggregate share its events.
    let aggregates: BTreeMap<&str, usize> =
        StreamKind::ALL.into_iter().map(|kind| (kind.aggregate(), Fact::schemas(kind).len())).collect();
    let declared: usize = aggregates.values().sum();
    assert_eq!(schemas.len(), declared, "every event has one schema: {:?}", schemas.keys());
    let versions = |event_type: &str| version_of(event_type).expect("an event's name is in its SCHEMAS");
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some_and(|it| it == "1");
    let mut wrong = check(&folder(), &schemas, versions, update);
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    wrong.extend(check_history(&files.collect::<Vec<_>>(), version_of, UPCASTERS));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_changed_shape_is_noticed_and_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let shape = |name: &str| BTreeMap::from([("account.Deposited".to_owned(), json!({ "properties": { name: {} } }))]);
    let one = |_: &str| 1;
    assert!(check(folder.path(), &shape("amount"), one, false)[0].contains("UPDATE_SCHEMAS=1"));
    assert!(check(folder.path(), &shape("amount"), one, true).is_empty());
    assert!(check(folder.path(), &shape("amount"), one, false).is_empty());
    for update in [false, true] {
        let wrong = check(folder.path(), &shape("sum"), one, update);
        assert!(wrong[0].contains("account.Deposited version 1 has changed"), "{wrong:?}");
        assert!(wrong[0].contains("give it version 2"), "{wrong:?}");
    }
    assert!(check(folder.path(), &shape("amount"), one, false).is_empty());
    assert!(check(folder.path(), &shape("sum"), |_| 2, true).is_empty());
}

#[test]
fn a_version_without_an_upcaster_is_noticed() {
    let files = |names: &[&str]| names.iter().map(|name| format!("{name}.json")).collect::<Vec<_>>();
    let three = |_: &str| Some(3);
    let recorded = files(&["account.Deposited.v1", "account.Deposited.v3"]);
    assert!(check_history(&recorded, three, STEPS).is_empty());
    assert_eq!(check_history(&recorded, three, &STEPS[..1]), ["account.Deposited has no upcaster from version 1"]);
    assert!(check_history(&recorded, |_| Some(2), STEPS)[0].contains("recorded in version 3"));
    assert!(check_history(&recorded, |_| None, STEPS)[0].contains("no aggregate has it any more"));
    assert!(check_history(&files(&["readme"]), three, STEPS)[0].contains("is not named"));
}

#[test]
fn a_property_called_title_is_part_of_the_shape() {
    let mut schema = json!({
        "title": "Event", "description": "prose",
        "properties": { "title": { "type": "string", "description": "prose" }, "description": {} },
        "$defs": { "title": { "title": "x", "enum": ["title"] } },
    });
    strip_prose(&mut schema);
    let expected = json!({
        "properties": { "title": { "type": "string" }, "description": {} },
        "$defs": { "title": { "enum": ["title"] } },
    });
    assert_eq!(schema, expected);
}
