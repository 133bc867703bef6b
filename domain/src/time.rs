//! Instants and local times.

use std::{fmt, str::FromStr};

use jiff::{civil, tz::TimeZone};

use crate::ids::as_text;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant, in microseconds since 1970-01-01T00:00:00Z. In JSON it is RFC 3339 text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    pub micros: i64,
}

impl Timestamp {
    pub const EPOCH: Timestamp = Timestamp { micros: 0 };

    pub const fn from_micros(micros: i64) -> Self {
        Timestamp { micros }
    }

    pub const fn from_seconds(seconds: i64) -> Self {
        Timestamp { micros: seconds.saturating_mul(1_000_000) }
    }

    pub fn plus_seconds(self, seconds: i64) -> Self {
        Timestamp { micros: self.micros.saturating_add(seconds.saturating_mul(1_000_000)) }
    }

    /// The same instant for calendar work. Instants outside the years −9999 to 9999 are clamped.
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.micros).unwrap_or(if self.micros < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }

    /// The local date in `zone`.
    pub fn date_in(self, zone: &TimeZone) -> civil::Date {
        zone.to_datetime(self.to_jiff()).date()
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(at: jiff::Timestamp) -> Self {
        Timestamp { micros: at.as_microsecond() }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>().map(Timestamp::from)
    }
}

as_text! { Timestamp }

/// The instant at which `zone`'s clocks show `local`: the earlier one when they show it twice, and
/// the first instant after the gap when they never do.
pub fn first_instant(local: civil::DateTime, zone: &TimeZone) -> Result<Timestamp, jiff::Error> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    let instant = match ambiguous.offset() {
        jiff::tz::AmbiguousOffset::Gap { before, .. } => {
            // Read with the offset before the gap, the local time lies after the change;
            // the change itself is the last transition at or before that instant.
            let inside = before.to_timestamp(local)?;
            let next = inside.checked_add(jiff::SignedDuration::from_nanos(1))?;
            zone.preceding(next).next().map_or(inside, |transition| transition.timestamp())
        }
        _ => ambiguous.earlier()?,
    };
    Ok(instant.into())
}
