//! A batch of events on its way into the views.

use store::{EventRow, Position, Recorded, SchemaError, StoreError};

use crate::views::ViewError;

/// Which builds are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Those that readers get.
    Live,
    /// Those that are being built beside them.
    Building,
}

/// What to read of the log next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: Position,
    pub(crate) limit: usize,
}

/// A batch, decoded once for all projections.
pub(crate) struct Decoded {
    /// Without their payloads.
    pub(crate) rows: Vec<EventRow>,
    /// The event of each row, or why it cannot be read.
    pub(crate) events: Vec<Result<Recorded, String>>,
    /// Why there are fewer events than rows: the next one is newer than this program.
    pub(crate) newer: Option<String>,
}

impl Decoded {
    /// Decodes up to the first event that is newer than this program. A gap in the positions is an
    /// error.
    pub(crate) fn of(mut rows: Vec<EventRow>) -> Result<Decoded, ViewError> {
        let mut events = Vec::with_capacity(rows.len());
        let mut newer = None;
        let first = rows.first().map_or(1, |row| row.position);
        for (row, expected) in rows.iter_mut().zip(first..) {
            if row.position != expected {
                let gap = format!("the log has a gap: event {expected} is missing before {}", row.position);
                return Err(ViewError::Log(StoreError::Unusable(gap)));
            }
            match Recorded::decode(row) {
                Ok(event) => events.push(Ok(event)),
                Err(error @ SchemaError::Newer { .. }) => {
                    newer = Some(error.to_string());
                    break;
                }
                Err(error @ SchemaError::Broken { .. }) => events.push(Err(error.to_string())),
            }
            // Nobody needs it any more, and here it is given back by the thread that has it at hand.
            row.payload = Vec::new();
        }
        Ok(Decoded { rows, events, newer })
    }

    /// The position of the first event; 0 when there is none.
    pub(crate) fn first(&self) -> Position {
        self.rows.first().map_or(0, |row| row.position)
    }
}
