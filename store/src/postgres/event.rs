//! Events as they come out of the database.

use std::sync::Arc;

use domain::{ActorId, CommandId, StreamId};
use sqlx::{Row, ValueRef, error::BoxDynError, postgres::PgRow};
use uuid::Uuid;

use super::{
    copied::{Value, fixed, optional},
    time::PgTime,
};
use crate::{EventRow, Metadata, Position};

macro_rules! select_events {
    ($rest:literal) => {
        concat!(
            "SELECT position, stream, type, version, schema_version, payload, command, digest, actor, correlation, ",
            "causation, trace, occurred_at, recorded_at FROM tiffin_log.events WHERE ",
            $rest
        )
    };
}
pub(super) use select_events;

/// A row of what `select_events!` selects.
pub(super) struct Columns<'a>(pub(super) [Value<'a>; 14]);

impl<'a> Columns<'a> {
    /// # Errors
    /// When a column is missing.
    pub(super) fn of(row: &'a PgRow) -> Result<Columns<'a>, sqlx::Error> {
        let mut values = [None; 14];
        for (column, value) in values.iter_mut().enumerate() {
            let raw = row.try_get_raw(column)?;
            if !raw.is_null() {
                *value = Some(raw.as_bytes().map_err(sqlx::Error::Decode)?);
            }
        }
        Ok(Columns(values))
    }

    pub(super) fn position(&self) -> Result<Position, BoxDynError> {
        Ok(i64::from_be_bytes(fixed(self.0[0])?).unsigned_abs())
    }

    /// The number of its stream.
    pub(super) fn stream(&self) -> Result<i64, BoxDynError> {
        Ok(i64::from_be_bytes(fixed(self.0[1])?))
    }

    /// The number of its type.
    pub(super) fn event_type(&self) -> Result<i16, BoxDynError> {
        Ok(i16::from_be_bytes(fixed(self.0[2])?))
    }

    /// The event, with its stream and type by name.
    pub(super) fn event(&self, stream: StreamId, event_type: Arc<str>) -> Result<EventRow, BoxDynError> {
        let position = self.position()?;
        let Columns([_, _, _, version, schema_version, payload, command, digest, actor, ..]) = *self;
        let Columns([.., correlation, causation, trace, occurred_at, recorded_at]) = *self;
        let correlation = optional(correlation)?.map_or(stream.key, Uuid::from_bytes);
        Ok(EventRow {
            position,
            stream,
            version: i64::from_be_bytes(fixed(version)?).unsigned_abs(),
            event_type,
            schema_version: u16::try_from(i32::from_be_bytes(fixed(schema_version)?))?,
            payload: payload.ok_or("NULL where a payload belongs")?.to_vec(),
            metadata: Metadata {
                command: CommandId(Uuid::from_bytes(fixed(command)?)),
                digest: optional(digest)?,
                actor: ActorId(Uuid::from_bytes(fixed(actor)?)),
                correlation,
                causation: optional(causation)?.map(|id| CommandId(Uuid::from_bytes(id))),
                trace: optional(trace)?,
            },
            occurred_at: PgTime::from_bytes(&fixed::<8>(occurred_at)?)?.timestamp(),
            recorded_at: PgTime::from_bytes(&fixed::<8>(recorded_at)?)?.timestamp(),
        })
    }
}
