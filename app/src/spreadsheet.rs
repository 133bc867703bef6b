//! Tables in files: CSV for programs, Excel workbooks for people. Amounts are exact decimals, times are
//! told in the zone of the books, and nothing that stands in a text is taken for a formula.

use std::{
    borrow::Cow,
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use domain::{Currency, Money, Timestamp};
use jiff::{
    civil::{Date, DateTime},
    tz::TimeZone,
};
use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, Worksheet};

use crate::config::usage;

/// Rows that a sheet has at most, the headings included.
const MAX_ROWS: u32 = 1_048_576;
/// Digits that a spreadsheet keeps of a number.
const MAX_DIGITS: usize = 15;

/// Where a table is written to, instead of being shown.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Files {
    /// Write it to a CSV file, instead of showing it
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write it to an Excel workbook, instead of showing it
    #[arg(long, value_name = "FILE")]
    xlsx: Option<PathBuf>,
}

impl Files {
    /// Whether there are any.
    pub fn are_wanted(&self) -> bool {
        self.csv.is_some() || self.xlsx.is_some()
    }
}

/// A column's heading, and its width in characters.
pub type Column = (&'static str, u16);

/// What stands in one place of a table.
#[derive(Clone, Debug)]
pub enum Cell<'a> {
    Nothing,
    Text(Cow<'a, str>),
    Count(u64),
    Truth(bool),
    Amount(Money),
    Date(Date),
    Time(Timestamp),
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Cell::Text(text.into())
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Cell::Text(text.into())
    }
}

/// A table that is being written.
pub struct Tables {
    columns: &'static [Column],
    zone: TimeZone,
    csv: Option<(csv::Writer<BufWriter<File>>, Unfinished)>,
    xlsx: Option<(Excel, Unfinished)>,
    rows: u64,
}

impl Tables {
    /// Begins the files with their headings. Times are told in `zone`.
    pub fn begin(files: &Files, columns: &'static [Column], zone: TimeZone) -> anyhow::Result<Tables> {
        if files.csv.is_some() && files.csv == files.xlsx {
            return Err(usage("--csv and --xlsx name the same file"));
        }
        let mut csv = None;
        if let Some(path) = &files.csv {
            let file = Unfinished::of(path);
            let opened = File::create(&file.part).map_err(|error| file.unwritable(&error))?;
            let mut writer = csv::Writer::from_writer(BufWriter::new(opened));
            writer.write_record(columns.iter().map(|(heading, _)| *heading))?;
            csv = Some((writer, file));
        }
        let xlsx = match &files.xlsx {
            None => None,
            Some(path) => {
                let file = Unfinished::of(path);
                // So that a file that cannot be written is known before the work begins.
                File::create(&file.part).map_err(|error| file.unwritable(&error))?;
                Some((Excel::new(&zone), file))
            }
        };
        Ok(Tables { columns, zone, csv, xlsx, rows: 0 })
    }

    /// Begins a sheet of the workbook, to which the rows that follow belong. A CSV file has all together.
    pub fn sheet(&mut self, name: &str) -> anyhow::Result<()> {
        self.xlsx.as_mut().map_or(Ok(()), |(excel, _)| excel.sheet(name, self.columns))
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, cells: &[Cell<'_>]) -> anyhow::Result<()> {
        if let Some((writer, _)) = &mut self.csv {
            for cell in cells {
                writer.write_field(plain(cell, &self.zone).as_bytes())?;
            }
            writer.write_record(None::<&[u8]>)?;
        }
        if let Some((excel, _)) = &mut self.xlsx {
            excel.row(cells, &self.zone)?;
        }
        self.rows += 1;
        Ok(())
    }

    /// Puts the files in their place, and answers how many rows they have.
    pub fn finish(self) -> anyhow::Result<u64> {
        if let Some((mut writer, file)) = self.csv {
            writer.flush()?;
            file.finish()?;
        }
        if let Some((mut excel, file)) = self.xlsx {
            excel.workbook.save(&file.part).with_context(|| format!("{} cannot be written", file.path.display()))?;
            file.finish()?;
        }
        Ok(self.rows)
    }
}

/// A file that is put in its place when it is whole: one that was there before stays until then.
struct Unfinished {
    path: PathBuf,
    part: PathBuf,
}

impl Unfinished {
    fn of(path: &Path) -> Unfinished {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        Unfinished { path: path.to_owned(), part: part.into() }
    }

    fn unwritable(&self, error: &std::io::Error) -> anyhow::Error {
        usage(format!("{} cannot be written: {error}", self.path.display()))
    }

    fn finish(&self) -> anyhow::Result<()> {
        File::open(&self.part)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&self.part, &self.path))
            .with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

impl Drop for Unfinished {
    /// Of one that was not finished nothing is left; of another there is no such file.
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.part);
    }
}

/// A cell as a text: amounts as decimal digits, instants in RFC 3339 with their offset.
fn plain<'a>(cell: &'a Cell<'_>, zone: &TimeZone) -> Cow<'a, str> {
    match cell {
        Cell::Nothing => "".into(),
        Cell::Text(text) => harmless(text),
        Cell::Count(number) => number.to_string().into(),
        Cell::Truth(truth) => truth.to_string().into(),
        Cell::Amount(amount) => amount.to_decimal().to_string().into(),
        Cell::Date(date) => date.to_string().into(),
        Cell::Time(at) => {
            let at = at.to_jiff();
            at.display_with_offset(zone.to_offset(at)).to_string().into()
        }
    }
}

/// A text that spreadsheets would take for a formula begins with an apostrophe, which they take as the word
/// that it is a text.
fn harmless(text: &str) -> Cow<'_, str> {
    match text.trim_start_matches(' ').chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n') => format!("'{text}").into(),
        _ => text.into(),
    }
}

/// A workbook, and where it goes on.
struct Excel {
    workbook: Workbook,
    zone: String,
    heading: Format,
    date: Format,
    time: Format,
    /// By decimal places.
    amounts: Vec<Format>,
    /// Of the last sheet.
    next_row: u32,
}

impl Excel {
    fn new(zone: &TimeZone) -> Excel {
        let of_amount = |decimals: usize| match decimals {
            0 => "#,##0".to_owned(),
            decimals => format!("#,##0.{}", "0".repeat(decimals)),
        };
        Excel {
            workbook: Workbook::new(),
            zone: zone.iana_name().unwrap_or("UTC").to_owned(),
            heading: Format::new().set_bold().set_text_wrap(),
            date: Format::new().set_num_format("yyyy-mm-dd"),
            time: Format::new().set_num_format("yyyy-mm-dd hh:mm:ss"),
            amounts: (0..=3).map(|decimals| Format::new().set_num_format(of_amount(decimals))).collect(),
            next_row: 0,
        }
    }

    fn sheet(&mut self, name: &str, columns: &[Column]) -> anyhow::Result<()> {
        // Rows go to a file as they come, so that a year of a journal needs no memory.
        let sheet = self.workbook.add_worksheet_with_low_memory()?;
        sheet.set_name(name)?.set_freeze_panes(1, 0)?.set_repeat_rows(0, 0)?;
        for (column, (heading, width)) in (0_u16..).zip(columns) {
            sheet.set_column_width(column, f64::from(*width))?;
            let heading = match *heading {
                heading if heading.ends_with(" at") => format!("{heading} ({})", self.zone),
                heading => heading.to_owned(),
            };
            sheet.write_string_with_format(0, column, heading, &self.heading)?;
        }
        self.next_row = 1;
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>], zone: &TimeZone) -> anyhow::Result<()> {
        if self.next_row >= MAX_ROWS {
            bail!("a sheet has at most {MAX_ROWS} rows; ask for fewer days, or use --csv");
        }
        let row = self.next_row;
        self.next_row += 1;
        let Some(sheet) = self.workbook.worksheets_mut().last_mut() else { bail!("no sheet was begun") };
        for (column, cell) in (0_u16..).zip(cells) {
            match cell {
                Cell::Nothing => {}
                Cell::Text(text) => _ = sheet.write_string(row, column, text.as_ref())?,
                // Positions and counts are far below what a spreadsheet keeps exactly.
                Cell::Count(number) => _ = sheet.write_number(row, column, *number as f64)?,
                Cell::Truth(truth) => _ = sheet.write_boolean(row, column, *truth)?,
                Cell::Amount(amount) => {
                    let format = &self.amounts[(amount.currency.decimals() as usize).min(3)];
                    sheet.write_number_with_format(row, column, exact(*amount)?, format)?;
                }
                Cell::Date(date) => write_time(sheet, (row, column), date.at(0, 0, 0, 0), &self.date)?,
                Cell::Time(at) => write_time(sheet, (row, column), zone.to_datetime(at.to_jiff()), &self.time)?,
            }
        }
        Ok(())
    }
}

/// A number of a spreadsheet that shows exactly the amount's digits.
///
/// # Errors
/// When they are more than a spreadsheet keeps.
fn exact(amount: Money) -> anyhow::Result<f64> {
    let text = amount.to_decimal().to_string();
    let digits = amount.minor.unsigned_abs().to_string().len();
    if digits > MAX_DIGITS {
        bail!("{text} {} has more digits than a spreadsheet keeps; use --csv", amount.currency);
    }
    // The nearest number to a text of so few digits is written with the same digits again.
    Ok(text.parse()?)
}

/// A date or time of the wall, as spreadsheets count them; as a text before they begin.
fn write_time(sheet: &mut Worksheet, (row, column): (u32, u16), at: DateTime, format: &Format) -> anyhow::Result<()> {
    let (year, month, day) = (at.year().unsigned_abs(), at.month().unsigned_abs(), at.day().unsigned_abs());
    if at.year() < 1900 {
        sheet.write_string(row, column, at.to_string())?;
        return Ok(());
    }
    let (hour, minute) = (u16::from(at.hour().unsigned_abs()), at.minute().unsigned_abs());
    let (second, milli) = (at.second().unsigned_abs(), at.millisecond().unsigned_abs());
    let cell = ExcelDateTime::from_ymd(year, month, day)?.and_hms_milli(hour, minute, second, milli)?;
    sheet.write_datetime_with_format(row, column, &cell, format)?;
    Ok(())
}

/// The two sides of an amount: debit, credit.
pub fn sides(amount: Money) -> [Cell<'static>; 2] {
    if amount.minor < 0 {
        [Cell::Amount(amount.negated()), Cell::Nothing]
    } else {
        [Cell::Nothing, Cell::Amount(amount)]
    }
}

/// A currency as a text.
pub fn code(currency: Currency) -> Cell<'static> {
    currency.code().into()
}

#[cfg(test)]
#[path = "spreadsheet_tests.rs"]
mod tests;
