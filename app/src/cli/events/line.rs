//! An event as one line of JSON, and as what of it fits into a table.

use std::io::Write;

use anyhow::bail;
use domain::TenantId;
use serde::Serialize;
use store::{EventRow, Position};
use uuid::Uuid;

/// Longest payload in a table, in characters.
const SHOWN: usize = 48;

/// The payload's beginning, for a table.
pub fn shortened(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(payload);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[derive(Serialize)]
struct Stream {
    tenant: TenantId,
    kind: &'static str,
    key: Uuid,
}

/// What stands before an event's payload.
#[derive(Serialize)]
struct Head<'a> {
    position: Position,
    stream: Stream,
    version: u64,
    r#type: &'a str,
    schema_version: u16,
}

/// What stands behind it.
#[derive(Serialize)]
struct Tail {
    occurred_at: domain::Timestamp,
    recorded_at: domain::Timestamp,
    metadata: Metadata,
}

#[derive(Serialize)]
struct Metadata {
    command: Uuid,
    /// 32 hexadecimal digits.
    digest: Option<String>,
    actor: Uuid,
    correlation: Uuid,
    causation: Option<Uuid>,
    trace: Option<String>,
}

/// An event without its payload, as a node of a tree.
pub fn brief(row: &EventRow) -> serde_json::Value {
    serde_json::json!({
        "position": row.position, "stream": row.stream.to_string(), "version": row.version, "type": *row.event_type,
        "occurred_at": row.occurred_at, "recorded_at": row.recorded_at,
    })
}

/// Writes an event as one JSON object on one line, its payload byte for byte as it was recorded.
pub fn write(out: &mut impl Write, row: &EventRow) -> anyhow::Result<()> {
    let one_line =
        !row.payload.contains(&b'\n') && serde_json::from_slice::<serde::de::IgnoredAny>(&row.payload).is_ok();
    if !one_line {
        bail!(
            "the payload of event {} is not JSON on one line: the log is damaged; restore it from a backup",
            row.position
        );
    }
    let metadata = &row.metadata;
    let stream = Stream { tenant: row.stream.tenant, kind: row.stream.kind.name(), key: row.stream.key };
    let mut head = serde_json::to_vec(&Head {
        position: row.position,
        stream,
        version: row.version,
        r#type: &row.event_type,
        schema_version: row.schema_version,
    })?;
    let tail = serde_json::to_vec(&Tail {
        occurred_at: row.occurred_at,
        recorded_at: row.recorded_at,
        metadata: Metadata {
            command: metadata.command.0,
            digest: metadata.digest.map(|digest| hex(&digest)),
            actor: metadata.actor.0,
            correlation: metadata.correlation,
            causation: metadata.causation.map(|id| id.0),
            trace: metadata.trace.map(|trace| hex(&trace)),
        },
    })?;
    // Both are objects: the closing brace of one and the opening brace of the other give way.
    head.pop();
    head.extend_from_slice(b",\"payload\":");
    head.extend_from_slice(&row.payload);
    head.push(b',');
    head.extend_from_slice(&tail[1..]);
    out.write_all(&head)?;
    Ok(())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use domain::{ActorId, CommandId, StreamId, StreamKind, Timestamp};

    use super::*;

    fn row(payload: &str) -> EventRow {
        EventRow {
            position: 7,
            stream: StreamId { tenant: TenantId(Uuid::from_u128(1)), kind: StreamKind::Order, key: Uuid::from_u128(2) },
            version: 3,
            event_type: "order.Confirmed".into(),
            schema_version: 1,
            payload: payload.into(),
            metadata: store::Metadata {
                command: CommandId(Uuid::from_u128(4)),
                digest: Some([0xab; 16]),
                actor: ActorId(Uuid::from_u128(5)),
                correlation: Uuid::from_u128(2),
                causation: None,
                trace: None,
            },
            occurred_at: Timestamp::from_seconds(1),
            recorded_at: Timestamp::from_seconds(2),
        }
    }

    #[test]
    fn a_payload_is_written_as_it_was_recorded() {
        // The space would be lost by reading and writing the value.
        let mut line = Vec::new();
        write(&mut line, &row(r#"{"Placed": {"b":1,"a":2}}"#)).unwrap();
        let text = String::from_utf8(line).unwrap();
        assert!(text.contains(r#""payload":{"Placed": {"b":1,"a":2}},"occurred_at":"1970-01-01T00:00:01Z""#), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["stream"]["kind"], "order");
        assert_eq!(value["metadata"]["digest"], "ab".repeat(16));
        assert_eq!(value["metadata"]["causation"], serde_json::Value::Null);
    }

    #[test]
    fn a_payload_that_would_break_its_line_is_damage() {
        for payload in ["{", "\"a\"\n", ""] {
            assert!(write(&mut Vec::new(), &row(payload)).is_err(), "{payload:?}");
        }
    }
}
