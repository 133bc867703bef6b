//! `--as-of`, and what commands say about the moment that they show.

use std::{io::Write, sync::Arc};

use domain::Timestamp;
use projections::{
    Snapshot,
    as_of::{AsOf, AsOfError, Moment},
};
use store::{EventStore, Position};

use crate::{config::usage, output};

/// Which moment is asked for.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct AsOfArgs {
    /// As it was: when the log stood at event POSITION, or at business time TIME (RFC 3339; a date
    /// means what is booked through that day)
    #[arg(long, value_name = "POSITION|TIME")]
    as_of: Option<AsOf>,
}

/// A moment that was asked for and has been.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub as_of: AsOf,
    pub moment: Moment,
}

impl AsOfArgs {
    pub fn is_said(self) -> bool {
        self.as_of.is_some()
    }

    /// Nothing when it is not asked for a moment.
    pub async fn reached(self, store: &Arc<dyn EventStore>) -> anyhow::Result<Option<Asked>> {
        let Some(as_of) = self.as_of else { return Ok(None) };
        let now = Timestamp::from(jiff::Timestamp::now());
        let moment = as_of.reached(&**store, now).await.map_err(explained)?;
        Ok(Some(Asked { as_of, moment }))
    }
}

/// What the caller got wrong is wrong usage.
pub fn explained(error: AsOfError) -> anyhow::Error {
    if error.is_askers() { usage(format!("--as-of: {error}")) } else { error.into() }
}

/// Since which event a view cannot go on, if what is shown lacks something for it.
pub fn incomplete(snapshot: &Snapshot<'_>, view: &str, asked: Option<Asked>) -> Option<Position> {
    let since = super::incomplete(snapshot, view)?;
    asked.is_none_or(|asked| asked.moment.is_touched_by(since)).then_some(since)
}

/// For programs: the moment, or null for how it is now.
pub fn as_json(asked: Option<Asked>) -> serde_json::Value {
    match asked.map(|asked| asked.as_of) {
        None => serde_json::Value::Null,
        Some(AsOf::Position(position)) => serde_json::json!({ "position": position }),
        Some(AsOf::Time(time)) => serde_json::json!({ "time": time }),
        Some(AsOf::Date(date)) => serde_json::json!({ "date": date }),
    }
}

/// For people: "As of event 7", "As of 2026-11-23T12:00:00Z, as known at event 7", or "As of 2026-11-23, as
/// known at event 7".
pub fn shown(asked: Option<Asked>, known: Position) -> String {
    let known = output::count(known);
    match asked.map(|asked| asked.as_of) {
        None => format!("As of event {known}"),
        Some(AsOf::Position(position)) => format!("As of event {}", output::count(position)),
        Some(AsOf::Time(time)) => format!("As of {time}, as known at event {known}"),
        Some(AsOf::Date(date)) => format!("As of {date}, as known at event {known}"),
    }
}

/// Begins a JSON object with what every answer about the books says first.
pub fn begin_json(
    out: &mut impl Write,
    snapshot: &Snapshot<'_>,
    view: &str,
    asked: Option<Asked>,
) -> std::io::Result<()> {
    let since = serde_json::json!(incomplete(snapshot, view, asked));
    write!(out, "{{\"position\":{},\"as_of\":{},\"incomplete_since\":{since}", snapshot.position(), as_json(asked))
}
