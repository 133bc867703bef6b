//! The log as an auditor reads it: events by filter, causation, the state of an aggregate at any
//! moment. Everything is read from the log alone, of whatever adapter, and nothing is changed.

mod aggregate;
mod changes;
mod filter;
mod scan;
mod seek;
mod tree;

#[cfg(test)]
mod testing;

use domain::{StreamId, TenantId, Timestamp};

pub use aggregate::{At, Folded, Step, Steps, state_at};
pub use changes::{Change, changes};
pub use filter::{BadFilter, EventType, Filter, Span, kinds, parse_kind, parse_stream, parse_time, parse_uuid};
pub use scan::{Direction, Page, Scan, page};
pub use seek::{event, tenants, version_at_position};
pub use tree::{Bounds, Command, Tree, of_command, tree};

use crate::{Position, SchemaError, StoreError, Version};

/// Why history cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("{0} has no events")]
    NoStream(StreamId),
    #[error("{stream} has no version {asked}: it is at version {last}")]
    NoVersion { stream: StreamId, asked: Version, last: Version },
    #[error("versions and positions begin at 1: 0 is before the first event")]
    Zero,
    #[error("there is no event {asked}; the log stands at event {head}")]
    NoPosition { asked: Position, head: Position },
    #[error("{0} lies in the future; the last that can be said is how it is now")]
    Future(Timestamp),
    #[error(
        "{stream} was not there yet: its first event is {position}, occurred {occurred_at}, recorded {recorded_at}"
    )]
    NotYet { stream: StreamId, position: Position, occurred_at: Timestamp, recorded_at: Timestamp },
    #[error("no event of tenant {tenant} is about {about}")]
    NothingAbout { tenant: TenantId, about: uuid::Uuid },
    /// An event that the state rests on cannot be read by this program.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("the state of {stream} at version {version} cannot be shown: {reason}")]
    Unshowable { stream: StreamId, version: Version, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HistoryError {
    /// Whether the one who asked got it wrong, so that asking again is of no use.
    pub fn is_askers(&self) -> bool {
        match self {
            HistoryError::NoStream(_)
            | HistoryError::NoVersion { .. }
            | HistoryError::Zero
            | HistoryError::NoPosition { .. }
            | HistoryError::Future(_)
            | HistoryError::NotYet { .. }
            | HistoryError::NothingAbout { .. } => true,
            HistoryError::Schema(_) | HistoryError::Unshowable { .. } | HistoryError::Store(_) => false,
        }
    }
}
