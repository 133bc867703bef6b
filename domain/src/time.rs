//! Instants and local times.

use std::{fmt, str::FromStr};

use jiff::{
    civil,
    tz::{TimeZone, TimeZoneDatabase},
};

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

/// The IANA time zone of that name, as this program was built with it: the same on every machine,
/// whatever is installed there, so that what is folded by it is the same too.
pub fn bundled_zone(name: &str) -> Option<TimeZone> {
    // One that only says that nobody knows it has a name as well.
    TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown())
}

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

#[cfg(test)]
mod tests {
    use jiff::civil::datetime;

    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn first(local: civil::DateTime, name: &str) -> String {
        first_instant(local, &zone(name)).unwrap().to_string()
    }

    #[test]
    fn an_ordinary_time_is_itself() {
        assert_eq!(first(datetime(2026, 11, 23, 12, 0, 0, 0), "Asia/Shanghai"), "2026-11-23T04:00:00Z");
        assert_eq!(first(datetime(2026, 7, 1, 0, 0, 0, 0), "UTC"), "2026-07-01T00:00:00Z");
        assert_eq!(first(datetime(2026, 7, 1, 12, 0, 0, 0), "Asia/Kathmandu"), "2026-07-01T06:15:00Z");
    }

    #[test]
    fn a_time_that_does_not_exist_is_the_first_instant_after_the_gap() {
        // Clocks go from 02:00 to 03:00 at 01:00 UTC.
        for (minute, second) in [(0, 0), (0, 1), (30, 0), (59, 59)] {
            let local = datetime(2026, 3, 29, 2, minute, second, 0);
            assert_eq!(first(local, "Europe/Berlin"), "2026-03-29T01:00:00Z");
        }
        assert_eq!(first(datetime(2026, 3, 29, 1, 59, 59, 0), "Europe/Berlin"), "2026-03-29T00:59:59Z");
        assert_eq!(first(datetime(2026, 3, 29, 3, 0, 0, 0), "Europe/Berlin"), "2026-03-29T01:00:00Z");
        // A day without its first hour.
        for minute in [0, 30] {
            let local = datetime(2018, 11, 4, 0, minute, 0, 0);
            assert_eq!(first(local, "America/Sao_Paulo"), "2018-11-04T03:00:00Z");
        }
        // A gap of half an hour, and one of a whole day.
        assert_eq!(first(datetime(2026, 10, 4, 2, 15, 0, 0), "Australia/Lord_Howe"), "2026-10-03T15:30:00Z");
        assert_eq!(first(datetime(2011, 12, 30, 12, 0, 0, 0), "Pacific/Apia"), "2011-12-30T10:00:00Z");
        // Beyond the tables of a zone its rule decides.
        assert_eq!(first(datetime(2051, 3, 26, 2, 30, 0, 0), "Europe/Berlin"), "2051-03-26T01:00:00Z");
    }

    #[test]
    fn a_time_that_comes_twice_is_the_first_of_the_two() {
        assert_eq!(first(datetime(2026, 10, 25, 2, 30, 0, 0), "Europe/Berlin"), "2026-10-25T00:30:00Z");
        assert_eq!(first(datetime(2026, 10, 25, 3, 0, 0, 0), "Europe/Berlin"), "2026-10-25T02:00:00Z");
        assert_eq!(first(datetime(2018, 2, 17, 23, 30, 0, 0), "America/Sao_Paulo"), "2018-02-18T01:30:00Z");
    }

    #[test]
    fn a_time_at_the_end_of_the_calendar_is_an_error_and_no_panic() {
        let far_west = TimeZone::fixed(jiff::tz::Offset::constant(-12));
        assert!(first_instant(civil::DateTime::MAX, &far_west).is_err());
    }

    #[test]
    fn an_instant_has_one_text() {
        let at = Timestamp::from_micros(1_763_900_000_123_456);
        assert_eq!(at.to_string(), "2025-11-23T12:13:20.123456Z");
        assert_eq!(serde_json::to_string(&at).unwrap(), "\"2025-11-23T12:13:20.123456Z\"");
        for micros in [0, -1, 1, -1_000_000, 999_999, 1_763_900_000_000_000] {
            let at = Timestamp::from_micros(micros);
            let json = serde_json::to_string(&at).unwrap();
            assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), at);
        }
        assert_eq!("2025-11-23T20:13:20.123456+08:00".parse::<Timestamp>().unwrap(), at);
        assert!("2025-11-23 12:13".parse::<Timestamp>().is_err());
    }

    #[test]
    fn absurd_instants_are_clamped() {
        assert_eq!(Timestamp::from_seconds(i64::MAX).micros, i64::MAX);
        assert_eq!(Timestamp::from_seconds(-1).plus_seconds(i64::MIN).micros, i64::MIN);
        assert!(Timestamp::from_micros(i64::MAX).to_string().starts_with("9999-"));
        assert!(Timestamp::from_micros(i64::MIN).to_string().starts_with("-009999-"));
    }

    #[test]
    fn a_zone_is_known_by_its_name_alone() {
        let shanghai = bundled_zone("asia/shanghai").unwrap();
        assert_eq!(shanghai.iana_name(), Some("Asia/Shanghai"));
        for name in ["", "Mars/Olympus", "CST-8", "Etc/Unknown", "../Asia/Shanghai"] {
            assert_eq!(bundled_zone(name), None, "{name}");
        }
    }

    #[test]
    fn a_date_is_the_one_on_the_wall() {
        let late: Timestamp = "2026-11-22T17:00:00Z".parse().unwrap();
        assert_eq!(late.date_in(&zone("Asia/Shanghai")), civil::date(2026, 11, 23));
        assert_eq!(late.date_in(&zone("America/New_York")), civil::date(2026, 11, 22));
    }
}
