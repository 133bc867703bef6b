//! What a command shows: tables for people, JSON for programs. A reader that goes away is no error.

use std::{
    fmt::Display,
    io::{self, Write},
};

use domain::Timestamp;
use serde_json::Value;

/// Writes one line to stdout. A closed pipe comes back as an error, which [`is_closed_pipe`] knows.
pub fn line(text: impl Display) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Writes to stdout without ending the line.
pub fn part(text: impl Display) -> anyhow::Result<()> {
    write!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Writes a JSON value, on one line.
pub fn json_line(value: &Value) -> anyhow::Result<()> {
    line(value)
}

/// A note for people beside what a command answers: to stderr, so that stdout can be piped.
pub fn note(text: impl Display) {
    // Nobody is left to be told that stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A table with these headings.
pub fn table<const N: usize>(headings: [&str; N]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).set_header(headings);
    table
}

/// Sets these columns to the right, as numbers stand.
pub fn right(table: &mut comfy_table::Table, columns: &[usize]) {
    for column in columns {
        if let Some(column) = table.column_mut(*column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
}

/// An instant to the second, in UTC.
pub fn time(at: Timestamp) -> String {
    Timestamp::from_micros(at.micros - at.micros.rem_euclid(1_000_000)).to_string()
}

/// A count with its thousands set apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Whether it all ended because nobody reads any more, as with `tiffin events export | head`.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1_000, 21_350, 1_234_567].map(count), ["0", "999", "1,000", "21,350", "1,234,567"]);
    }

    #[test]
    fn a_closed_pipe_is_recognised_below_its_context() {
        let closed = anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert!(is_closed_pipe(&closed));
        assert!(!is_closed_pipe(&anyhow::anyhow!("another")));
    }
}
