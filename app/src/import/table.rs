//! A CSV file, packed or not, row by row.

use std::{
    fmt,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use csv::ByteRecord;

use crate::config::usage;

/// Most bytes of a file once it is unpacked.
pub const MAX_BYTES: u64 = 1 << 30;
/// Most rows of a file. Its orders are kept in memory, with a hundred or two bytes a row.
pub const MAX_ROWS: u64 = 2_000_000;
/// Longest field, in bytes.
const MAX_FIELD: usize = 2_000;

/// An open file whose header has been read.
pub struct Table {
    reader: csv::Reader<Box<dyn Read + Send>>,
    header: Vec<String>,
    record: ByteRecord,
    rows: u64,
}

/// A row, with the line in the file on which it begins.
pub struct Row<'a> {
    pub line: u64,
    record: &'a ByteRecord,
    columns: usize,
}

/// What is wrong with a row, and with which field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// As the mapping calls it; none when it is the row as a whole.
    pub field: Option<&'static str>,
    pub why: String,
}

impl Fault {
    pub fn new(field: &'static str, why: impl Into<String>) -> Fault {
        Fault { field: Some(field), why: why.into() }
    }

    /// By what programs know it.
    pub fn code(&self) -> &'static str {
        if self.field.is_some() { "BAD_FIELD" } else { "FIELD_COUNT" }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            Some(field) => write!(f, "{field}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

impl Table {
    /// Opens a `.csv` or, by its name, a `.csv.gz` file.
    pub fn open(file: &Path, delimiter: char) -> anyhow::Result<Table> {
        let name = file.display();
        let opened = File::open(file).map_err(|error| usage(format!("{name} cannot be opened: {error}")))?;
        let packed = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
        let plain: Box<dyn Read + Send> =
            if packed { Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(opened))) } else { Box::new(opened) };
        Self::read(plain, delimiter).map_err(|error| usage(format!("{name}: {error}")))
    }

    /// The same of bytes that were read before.
    pub fn of(bytes: Vec<u8>, delimiter: char) -> Result<Table, String> {
        Self::read(Box::new(std::io::Cursor::new(bytes)), delimiter)
    }

    fn read(plain: Box<dyn Read + Send>, delimiter: char) -> Result<Table, String> {
        let bounded: Box<dyn Read + Send> = Box::new(Bounded { inner: plain, left: MAX_BYTES });
        let delimiter = u8::try_from(delimiter).map_err(|_| "the delimiter must be one ASCII character".to_owned())?;
        let mut reader =
            csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(bounded);
        let mut record = ByteRecord::new();
        if !reader.read_byte_record(&mut record).map_err(|error| error.to_string())? {
            return Err("the file is empty; its first line must name the columns".to_owned());
        }
        let mut header: Vec<String> =
            record.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        if let Some(first) = header.first_mut() {
            // Spreadsheets put a byte order mark in front.
            *first = first.trim_start_matches('\u{feff}').to_owned();
        }
        Ok(Table { reader, header, record, rows: 0 })
    }

    /// Where the column called `name` is; an error names the columns that there are.
    pub fn column(&self, name: &str) -> Result<usize, String> {
        let mut found = self.header.iter().enumerate().filter(|(_, column)| *column == name);
        match (found.next(), found.next()) {
            (Some((index, _)), None) => Ok(index),
            (Some(_), Some(_)) => Err(format!("the header names the column {name:?} twice")),
            (None, _) => {
                let known: Vec<_> = self.header.iter().take(30).map(String::as_str).collect();
                Err(format!("the header has no column {name:?}; it has {}", known.join(", ")))
            }
        }
    }

    /// The same of a column that need not be there.
    pub fn optional_column(&self, name: &str) -> Result<Option<usize>, String> {
        if self.header.iter().any(|column| column == name) { self.column(name).map(Some) } else { Ok(None) }
    }

    /// The next row; an error when the file as a whole cannot be read on.
    pub fn next(&mut self) -> Result<Option<Row<'_>>, String> {
        let read = self.reader.read_byte_record(&mut self.record);
        let line = self.record.position().map_or(0, csv::Position::line);
        if !read.map_err(|error| format!("it cannot be read after line {line}: {error}"))? {
            return Ok(None);
        }
        self.rows += 1;
        if self.rows > MAX_ROWS {
            return Err(format!("it has more than {MAX_ROWS} rows; split it at the end of a day"));
        }
        Ok(Some(Row { line, record: &self.record, columns: self.header.len() }))
    }
}

/// A field's text as what it stands for.
pub fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(what: &'static str, text: &str) -> Result<T, Fault> {
    text.parse().map_err(|error: T::Err| Fault::new(what, error.to_string()))
}

impl Row<'_> {
    /// Whether the row has as many fields as the header.
    pub fn check(&self) -> Result<(), Fault> {
        let found = self.record.len();
        if found == self.columns {
            return Ok(());
        }
        Err(Fault { field: None, why: format!("the row has {found} fields, the header has {}", self.columns) })
    }

    /// As [`Row::maybe`], of a column that may not be there.
    pub fn optional(&self, what: &'static str, column: Option<usize>) -> Result<Option<&str>, Fault> {
        column.map_or(Ok(None), |column| self.maybe(what, column))
    }

    /// A field's text without the space around it; nothing if the field is empty. An error if it is
    /// too long or not UTF-8.
    pub fn maybe(&self, what: &'static str, column: usize) -> Result<Option<&str>, Fault> {
        let bytes = self.record.get(column).unwrap_or_default();
        if bytes.len() > MAX_FIELD {
            return Err(Fault::new(what, format!("a field has at most {MAX_FIELD} bytes, not {}", bytes.len())));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::new(what, "the text is not UTF-8"))?.trim();
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// The text of a field that must have one.
    pub fn text(&self, what: &'static str, column: usize) -> Result<&str, Fault> {
        self.maybe(what, column)?.ok_or_else(|| Fault::new(what, "the field is empty"))
    }

    /// The texts of several columns, joined with a space.
    pub fn joined(&self, what: &'static str, columns: &[usize]) -> Result<String, Fault> {
        let texts = columns.iter().map(|column| self.text(what, *column)).collect::<Result<Vec<_>, _>>()?;
        Ok(texts.join(" "))
    }
}

/// Stops a file that grows without end as it is unpacked.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            std::io::Error::other(format!("it has more than {MAX_BYTES} bytes unpacked; split it at the end of a day"))
        })?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &'static [u8]) -> Result<Table, String> {
        Table::read(Box::new(text), ',')
    }

    #[test]
    fn rows_know_their_line_also_after_a_quoted_break() {
        let mut table = table(b"\xef\xbb\xbfa,b\n\"x\ny\",1\n z ,2,3\n").unwrap();
        assert_eq!((table.column("a"), table.column("b")), (Ok(0), Ok(1)));
        let row = table.next().unwrap().unwrap();
        assert_eq!((row.line, row.text("a", 0)), (2, Ok("x\ny")));
        let row = table.next().unwrap().unwrap();
        assert_eq!((row.line, row.text("a", 0)), (4, Ok("z")));
        let fault = row.check().unwrap_err();
        assert_eq!(
            (fault.code(), fault.to_string().as_str()),
            ("FIELD_COUNT", "the row has 3 fields, the header has 2")
        );
        assert!(table.next().unwrap().is_none());
    }

    #[test]
    fn a_column_that_is_not_there_or_there_twice_is_an_error() {
        let table = table(b"a,b,b\n").unwrap();
        assert_eq!(table.column("c"), Err("the header has no column \"c\"; it has a, b, b".to_owned()));
        assert_eq!(table.column("b"), Err("the header names the column \"b\" twice".to_owned()));
        assert!(Table::read(Box::new(&b""[..]), ',').is_err());
    }

    #[test]
    fn a_field_must_be_there_and_be_text() {
        let mut table = table(b"a,b\n\xff,\n").unwrap();
        let row = table.next().unwrap().unwrap();
        assert_eq!(row.text("a", 0), Err(Fault::new("a", "the text is not UTF-8")));
        let empty = row.text("b", 1).unwrap_err();
        assert_eq!((empty.code(), empty.to_string().as_str()), ("BAD_FIELD", "b: the field is empty"));
        assert_eq!(row.maybe("b", 1), Ok(None));
    }

    #[test]
    fn what_unpacks_without_end_is_stopped() {
        let mut bounded = Bounded { inner: std::io::repeat(b'x'), left: 100 };
        let mut text = Vec::new();
        assert!(bounded.read_to_end(&mut text).unwrap_err().to_string().contains("split it"));
    }
}
