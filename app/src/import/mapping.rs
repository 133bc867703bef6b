//! Which column of a till's file means what.

use std::path::Path;

use domain::{Currency, Timestamp, first_instant, serving::Meal};
use jiff::{civil, fmt::strtime, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::table::Fault;
use crate::config::usage;

/// A mapping is a page of text. Whatever is larger is something else.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Most columns that make up one dish or one time.
const MAX_PARTS: usize = 8;

/// What a mapping file says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// The canteen's name; it is opened if there is none of that name.
    pub canteen: String,
    pub currency: Currency,
    /// IANA time zone of the canteen, and of the file's times unless their format has an offset.
    pub zone: String,
    #[serde(default = "lunch")]
    pub meal: Meal,
    #[serde(default = "comma")]
    pub delimiter: char,
    #[serde(default)]
    pub missing_diner: MissingDiner,
    #[serde(default)]
    pub zero_price: ZeroPrice,
    pub columns: Columns,
    /// Without it a file has sales only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancellations: Option<Cancellations>,
}

/// What a row is whose diner's field is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingDiner {
    #[default]
    BadRow,
    /// Sold to a visitor, another one with each order.
    Visitor,
}

/// What a row is whose price is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroPrice {
    /// A dish that was given away.
    #[default]
    Sell,
    /// No sale: tills book breakage and counts of the stock so.
    LeaveOut,
}

/// Which orders of the file take earlier ones back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancellations {
    /// Their numbers begin with this, and their quantities are negative.
    pub prefix: String,
}

/// The names in the file's header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Columns {
    pub order: String,
    pub time: TimeColumns,
    /// One column, or several whose texts are joined with a space.
    pub dish: OneOrMany,
    pub category: Option<String>,
    /// Portions; 1 without it.
    pub quantity: Option<String>,
    /// Of one portion, in major units.
    pub unit_price: String,
    /// The currency's code, when each row says it.
    pub currency: Option<String>,
    /// An internal number of the diner.
    pub diner: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeColumns {
    /// Their texts are joined with a space.
    pub columns: Vec<String>,
    /// As `strftime` writes it, e.g. `%Y-%m-%d %H:%M:%S`.
    pub format: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub fn names(&self) -> &[String] {
        match self {
            OneOrMany::One(name) => std::slice::from_ref(name),
            OneOrMany::Many(names) => names,
        }
    }
}

fn lunch() -> Meal {
    Meal::Lunch
}

fn comma() -> char {
    ','
}

impl Mapping {
    /// Reads a mapping file. Unknown keys, zones and formats are errors.
    pub fn read(file: &Path) -> anyhow::Result<Mapping> {
        let name = file.display();
        let size = std::fs::metadata(file).map_err(|error| usage(format!("the mapping {name}: {error}")))?.len();
        if size > MAX_FILE_BYTES {
            return Err(usage(format!("the mapping {name} has {size} bytes; at most {MAX_FILE_BYTES} are read")));
        }
        let text = std::fs::read_to_string(file).map_err(|error| usage(format!("the mapping {name}: {error}")))?;
        Self::parse(&text).map_err(|error| usage(format!("the mapping {name}: {error}")))
    }

    fn parse(text: &str) -> Result<Mapping, String> {
        let mapping: Mapping = toml::from_str(text).map_err(|error| error.to_string())?;
        mapping.check()?;
        Ok(mapping)
    }

    /// What serde cannot see.
    pub fn check(&self) -> Result<(), String> {
        self.zone()?;
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '"' | '\r' | '\n') {
            return Err(format!("delimiter: {:?} cannot part columns", self.delimiter));
        }
        let (dish, time) = (self.columns.dish.names(), &self.columns.time);
        for (key, names) in [("dish", dish), ("time.columns", time.columns.as_slice())] {
            if names.is_empty() || names.len() > MAX_PARTS {
                return Err(format!("columns.{key}: name 1 to {MAX_PARTS} columns"));
            }
        }
        if self.cancellations.as_ref().is_some_and(|cancellations| cancellations.prefix.trim().is_empty()) {
            return Err("cancellations.prefix: with an empty one every order would be a cancellation".to_owned());
        }
        time.check()
    }

    /// Whether the order of this number takes earlier ones back.
    pub fn cancels(&self, number: &str) -> bool {
        self.cancellations.as_ref().is_some_and(|cancellations| number.starts_with(&cancellations.prefix))
    }

    /// The canteen's zone.
    pub fn zone(&self) -> Result<TimeZone, String> {
        TimeZone::get(&self.zone)
            .map_err(|_| format!("zone: {:?} is not an IANA time zone such as Asia/Shanghai", self.zone))
    }
}

impl TimeColumns {
    /// Whether the format can say a date at all: it must read back what it writes.
    fn check(&self) -> Result<(), String> {
        let sample = civil::date(2015, 11, 26).at(13, 45, 10, 0);
        let bad = |why: String| format!("columns.time.format: {:?} does not work: {why}", self.format);
        let zoned = sample.to_zoned_datetime(TimeZone::UTC).map_err(|error| bad(error.to_string()))?;
        let written = strtime::format(&self.format, &zoned).map_err(|error| bad(error.to_string()))?;
        let read = strtime::parse(&self.format, &written).map_err(|error| bad(error.to_string()))?;
        let date = read.to_date().map_err(|_| bad("it needs year, month and day".to_owned()))?;
        if date == sample.date() {
            Ok(())
        } else {
            Err(bad("it does not read back the date that it writes".to_owned()))
        }
    }

    /// The instant that `text` means and its date in `zone`. Without a time of day it is midnight; a
    /// local time that the clocks skipped is the first instant after the gap.
    pub fn instant(&self, text: &str, zone: &TimeZone) -> Result<(Timestamp, civil::Date), Fault> {
        let bad = || Fault::new("time", format!("{text:?} is not a time of the format {:?}", self.format));
        let read = strtime::parse(&self.format, text).map_err(|_| bad())?;
        let local = read.to_datetime().map_err(|_| bad())?;
        let at = match read.offset() {
            Some(offset) => offset.to_timestamp(local).map(Timestamp::from).map_err(|_| bad())?,
            None => first_instant(local, zone).map_err(|_| bad())?,
        };
        Ok((at, at.date_in(zone)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        canteen = "Pizza Place"
        currency = "USD"
        zone = "America/Chicago"
        [columns]
        order = "id"
        time = { columns = ["date", "time"], format = "%Y-%m-%d %H:%M:%S" }
        dish = ["name", "size"]
        unit_price = "price"
    "#;

    fn parsed(from: &str, to: &str) -> Result<Mapping, String> {
        assert!(GOOD.contains(from));
        Mapping::parse(&GOOD.replace(from, to))
    }

    #[test]
    fn a_mapping_has_its_defaults() {
        let mapping = Mapping::parse(GOOD).unwrap();
        assert_eq!((mapping.meal, mapping.delimiter, mapping.currency), (Meal::Lunch, ',', Currency::USD));
        assert_eq!(mapping.columns.dish.names(), ["name", "size"]);
        assert_eq!((mapping.missing_diner, mapping.zero_price), (MissingDiner::BadRow, ZeroPrice::Sell));
        assert!(!mapping.cancels("C1") && !mapping.cancels(""));
    }

    #[test]
    fn a_prefix_tells_cancellations_from_sales() {
        let mapping = parsed("[columns]", "[cancellations]\nprefix = \"C\"\n[columns]").unwrap();
        assert!(mapping.cancels("C1") && !mapping.cancels("1C") && !mapping.cancels("c1"));
    }

    #[test]
    fn what_is_wrong_with_a_mapping_is_said() {
        for (from, to, why) in [
            ("zone", "zonne", "unknown field `zonne`"),
            ("unit_price", "price_each", "unknown field `price_each`"),
            ("USD", "USDX", "not a currency"),
            ("America/Chicago", "Amerika", "IANA time zone"),
            ("%Y-%m-%d", "%H", "year, month and day"),
            ("%Y-%m-%d", "%Q-%!", "does not work"),
            ("[\"name\", \"size\"]", "[]", "1 to 8 columns"),
            ("[columns]", "[cancellations]\nprefix = \" \"\n[columns]", "every order would be a cancellation"),
            ("[columns]", "[cancellations]\n[columns]", "missing field `prefix`"),
            ("[columns]", "missing_diner = \"guest\"\n[columns]", "unknown variant `guest`"),
            ("[columns]", "zero_price = \"sold\"\n[columns]", "unknown variant `sold`"),
            ("currency = \"USD\"", "currency = \"USD\"\ndelimiter = \"\\n\"", "cannot part columns"),
        ] {
            let error = parsed(from, to).unwrap_err();
            assert!(error.contains(why), "{to}: {error}");
        }
    }

    #[test]
    fn a_time_follows_its_zone_and_its_offset() {
        let zone = TimeZone::get("America/Chicago").unwrap();
        let read = |format: &str, text: &str| {
            let columns = TimeColumns { columns: vec!["at".into()], format: format.into() };
            columns.instant(text, &zone).map(|(at, date)| (at.to_string(), date.to_string()))
        };
        let is = |at: &str, date: &str| Ok((at.to_owned(), date.to_owned()));
        assert_eq!(read("%Y-%m-%d %H:%M", "2015-01-01 11:38"), is("2015-01-01T17:38:00Z", "2015-01-01"));
        assert_eq!(read("%d.%m.%Y", "24.12.2015"), is("2015-12-24T06:00:00Z", "2015-12-24"));
        // 02:30 did not exist on that day: the clocks went from 02:00 to 03:00.
        assert_eq!(read("%Y-%m-%d %H:%M", "2015-03-08 02:30"), is("2015-03-08T08:00:00Z", "2015-03-08"));
        assert_eq!(read("%Y-%m-%dT%H:%M%z", "2015-01-02T02:00+0800"), is("2015-01-01T18:00:00Z", "2015-01-01"));
        let error = read("%Y-%m-%d %H:%M", "2015-02-30 10:00").unwrap_err();
        assert!(error.to_string().contains("2015-02-30 10:00"), "{error}");
    }
}
