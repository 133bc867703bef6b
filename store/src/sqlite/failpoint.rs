//! Where a test has a debug build die: once the event at position `TIFFIN_ABORT_AFTER` is in the log, and before
//! anybody has heard of it. Nothing of the batch that lies behind that event's append is written, so that a
//! crash can fall between any two links of a chain although they are written together. A release build has no
//! such thing.

use std::sync::OnceLock;

use crate::{Append, Position};

/// The position after which the process dies; read once.
fn abort_after() -> Option<Position> {
    static AFTER: OnceLock<Option<Position>> = OnceLock::new();
    *AFTER.get_or_init(|| std::env::var("TIFFIN_ABORT_AFTER").ok()?.parse().ok())
}

/// Cuts `batch`, which begins behind `head`, off after the append with the position to die after; whether the
/// process has to die once what is left is written.
pub(super) fn cut(mut batch: Vec<Append>, head: Position) -> (Vec<Append>, bool) {
    let Some(after) = abort_after() else { return (batch, false) };
    let mut end = head;
    let last = batch.iter().position(|append| {
        end += append.events.len() as Position;
        end >= after && !append.events.is_empty()
    });
    let Some(last) = last else { return (batch, false) };
    batch.truncate(last + 1);
    (batch, true)
}
