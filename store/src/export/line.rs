//! An event as one line of JSON, and back.

use std::{borrow::Cow, str::FromStr, sync::Arc};

use domain::{ActorId, CommandId, StreamId, StreamKind, TenantId, Timestamp};
use rustc_hash::FxHashMap;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny},
};
use uuid::Uuid;

use crate::{EventRow, Metadata, Position, Version, schema::current_version};

/// What stands before an event's payload.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'a> {
    position: Position,
    #[serde(borrow)]
    stream: Stream<'a>,
    version: Version,
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    schema_version: u16,
    occurred_at: Moment,
    recorded_at: Moment,
    metadata: Origin,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream<'a> {
    tenant: Uuid,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    key: Uuid,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    command: Uuid,
    digest: Option<Hex>,
    actor: Uuid,
    correlation: Uuid,
    causation: Option<Uuid>,
    trace: Option<Hex>,
}

/// Sixteen bytes in 32 hexadecimal digits.
struct Hex([u8; 16]);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(Uuid::from_bytes(self.0).simple().encode_lower(&mut Uuid::encode_buffer()))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Hex, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        match Uuid::try_parse(&text) {
            Ok(id) if text.len() == 32 => Ok(Hex(id.into_bytes())),
            _ => Err(D::Error::custom(format_args!("{text:?} is not 32 hexadecimal digits"))),
        }
    }
}

/// An instant: RFC 3339 text, or microseconds where the calendar does not reach.
struct Moment(Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if Timestamp::from(self.0.to_jiff()) == self.0 { self.0.serialize(to) } else { to.serialize_i64(self.0.micros) }
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Moment, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Moment;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an instant such as 2026-11-23T04:00:00Z")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Moment, E> {
                Timestamp::from_str(text).map(Moment).map_err(E::custom)
            }

            fn visit_i64<E>(self, micros: i64) -> Result<Moment, E> {
                Ok(Moment(Timestamp::from_micros(micros)))
            }

            fn visit_u64<E: serde::de::Error>(self, micros: u64) -> Result<Moment, E> {
                i64::try_from(micros).map(|micros| Moment(Timestamp::from_micros(micros))).map_err(E::custom)
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// How both of the following begin.
const MARK: &str = ",\"payload";
/// Stands before a payload that is JSON on one line, and is written as it was recorded.
const PAYLOAD: &str = ",\"payload\":";
/// Stands before any other, as a JSON string of its text.
const PAYLOAD_TEXT: &str = ",\"payload_text\":";

/// Appends the event as one JSON object, without a line's end. The payload comes last, byte for byte
/// as it was recorded, as `payload`; one that would not stand on a line is a string, `payload_text`.
///
/// # Errors
/// Why the payload cannot be text.
pub fn write_event(line: &mut Vec<u8>, row: &EventRow) -> Result<(), String> {
    let payload = str::from_utf8(&row.payload).map_err(|error| format!("its payload is not UTF-8: {error}"))?;
    let metadata = &row.metadata;
    let head = Head {
        position: row.position,
        stream: Stream { tenant: row.stream.tenant.0, kind: row.stream.kind.name().into(), key: row.stream.key },
        version: row.version,
        r#type: (&*row.event_type).into(),
        schema_version: row.schema_version,
        occurred_at: Moment(row.occurred_at),
        recorded_at: Moment(row.recorded_at),
        metadata: Origin {
            command: metadata.command.0,
            digest: metadata.digest.map(Hex),
            actor: metadata.actor.0,
            correlation: metadata.correlation,
            causation: metadata.causation.map(|id| id.0),
            trace: metadata.trace.map(Hex),
        },
    };
    serde_json::to_writer(&mut *line, &head).map_err(|error| error.to_string())?;
    // The object goes on.
    line.pop();
    if is_one_line(payload) {
        line.extend_from_slice(PAYLOAD.as_bytes());
        line.extend_from_slice(payload.as_bytes());
    } else {
        line.extend_from_slice(PAYLOAD_TEXT.as_bytes());
        serde_json::to_writer(&mut *line, payload).map_err(|error| error.to_string())?;
    }
    line.push(b'}');
    Ok(())
}

/// Whether a payload is JSON that begins and ends with itself and has no line's end within.
fn is_one_line(payload: &str) -> bool {
    let framed = payload.as_bytes().first().zip(payload.as_bytes().last());
    framed.is_some_and(|(first, last)| !first.is_ascii_whitespace() && !last.is_ascii_whitespace())
        && !payload.contains(['\n', '\r'])
        && serde_json::from_str::<IgnoredAny>(payload).is_ok()
}

/// Reads lines back. Remembers the names of the event types that it met, which this program knows.
#[derive(Default)]
pub(super) struct LineReader {
    head: String,
    types: FxHashMap<Box<str>, (Arc<str>, u16)>,
}

impl LineReader {
    /// The event of a line, or what is wrong with it.
    pub(super) fn event(&mut self, line: &str) -> Result<EventRow, String> {
        // Within a JSON string its quote would stand behind a backslash, so the first is the line's own.
        let Some(at) = line.find(MARK) else { return Err(without_payload(line)) };
        let (head, rest) = line.split_at(at);
        let rest = rest.strip_suffix('}').ok_or("it is cut short")?;
        let payload = if let Some(raw) = rest.strip_prefix(PAYLOAD) {
            serde_json::from_str::<IgnoredAny>(raw).map_err(|error| format!("its payload: {error}"))?;
            raw.as_bytes().to_vec()
        } else if let Some(text) = rest.strip_prefix(PAYLOAD_TEXT) {
            serde_json::from_str::<String>(text).map_err(|error| format!("its payload: {error}"))?.into_bytes()
        } else {
            return Err(without_payload(line));
        };
        let mut text = std::mem::take(&mut self.head);
        text.clear();
        text.push_str(head);
        text.push('}');
        let row = self.row(&text, payload);
        self.head = text;
        row
    }

    fn row(&mut self, head: &str, payload: Vec<u8>) -> Result<EventRow, String> {
        let head: Head<'_> = serde_json::from_str(head).map_err(|error| error.to_string())?;
        let kind: StreamKind = head.stream.kind.parse().map_err(|_| {
            format!(
                "its stream is of the kind {:?}, which this program does not know: use a newer tiffin",
                head.stream.kind
            )
        })?;
        let (event_type, newest) = self.known(kind, &head.r#type)?;
        if head.schema_version > newest {
            return Err(format!(
                "{event_type} of schema version {} is newer than this program, which knows {newest}: use a newer tiffin",
                head.schema_version
            ));
        }
        let Origin { command, digest, actor, correlation, causation, trace } = head.metadata;
        Ok(EventRow {
            position: head.position,
            stream: StreamId { tenant: TenantId(head.stream.tenant), kind, key: head.stream.key },
            version: head.version,
            event_type,
            schema_version: head.schema_version,
            payload,
            metadata: Metadata {
                command: CommandId(command),
                digest: digest.map(|hex| hex.0),
                actor: ActorId(actor),
                correlation,
                causation: causation.map(CommandId),
                trace: trace.map(|hex| hex.0),
            },
            occurred_at: head.occurred_at.0,
            recorded_at: head.recorded_at.0,
        })
    }

    /// The type's one name, and the newest schema version that this program knows of it.
    fn known(&mut self, kind: StreamKind, name: &str) -> Result<(Arc<str>, u16), String> {
        let unknown = || {
            format!(
                "the event type {name:?} in a stream of the kind {} is unknown to this program: use a newer tiffin",
                kind.name()
            )
        };
        let event = name.strip_prefix(kind.aggregate()).and_then(|rest| rest.strip_prefix('.')).ok_or_else(unknown)?;
        if let Some(found) = self.types.get(name) {
            return Ok(found.clone());
        }
        let newest = current_version(kind, event).ok_or_else(unknown)?;
        let found = (Arc::<str>::from(name), newest);
        self.types.insert(name.into(), found.clone());
        Ok(found)
    }
}

/// What is wrong with a line that has no payload.
fn without_payload(line: &str) -> String {
    match serde_json::from_str::<IgnoredAny>(line) {
        Ok(_) => "it is no event: it has no payload at its end".to_owned(),
        Err(error) => format!("it is not JSON: {error}"),
    }
}
