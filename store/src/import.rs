//! What every adapter checks of events that are imported, and says when it refuses.

use domain::{StreamId, Timestamp};
use rustc_hash::FxHashMap;

use crate::{EventRow, Position, StoreError, Version};

/// Why a copy refuses appends.
pub(crate) const IS_A_COPY: &str =
    "this log is a copy of another one and is only read; `tiffin events take-over` makes it the log that counts";
/// Why a sealed log refuses appends.
pub(crate) const IS_SEALED: &str = "this log is sealed, since it has moved to another store: use that one";
/// Why an import is refused.
pub(crate) const NOT_THAT_COPY: &str =
    "events are imported into an empty log, or into an unfinished copy of the same log; this one is neither";

/// Follows imported events and refuses the first that does not fit.
pub(crate) struct ImportCheck {
    position: Position,
    recorded_at: Option<Timestamp>,
    versions: FxHashMap<StreamId, Version>,
}

impl ImportCheck {
    /// After a head, whose event was recorded then.
    pub(crate) fn after(head: Position, recorded_at: Option<Timestamp>) -> ImportCheck {
        ImportCheck { position: head, recorded_at, versions: FxHashMap::default() }
    }

    /// `version` tells where a stream stands in the log; it is asked once a stream.
    pub(crate) fn next(
        &mut self,
        event: &EventRow,
        version: impl FnOnce(&StreamId) -> Version,
    ) -> Result<(), StoreError> {
        let refuse =
            |why: String| Err(StoreError::Unusable(format!("event {} cannot be imported: {why}", event.position)));
        if event.position != self.position + 1 {
            return refuse(format!("the next one is {}", self.position + 1));
        }
        let stands = self.versions.entry(event.stream).or_insert_with(|| version(&event.stream));
        if event.version != *stands + 1 {
            return refuse(format!("it has version {} of {}, which is at {stands}", event.version, event.stream));
        }
        if self.recorded_at.is_some_and(|last| event.recorded_at < last) {
            return refuse("it was recorded before the one that it follows".into());
        }
        (self.position, self.recorded_at, *stands) = (event.position, Some(event.recorded_at), event.version);
        Ok(())
    }
}
