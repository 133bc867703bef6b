//! Many rows at once: as one array a column, or as a copy.

use sqlx::{Arguments, postgres::PgArguments};

use super::binary::{Encoded, put_field, sql_type};
use crate::{ColumnSpec, Kind, Misfit, SqlError, Value};

/// Rows that one statement takes.
const ROWS: usize = 10_000;
/// Bytes after which a statement takes no more rows.
const BYTES: usize = 4 << 20;

/// Rows turned into one array a column.
pub(super) struct Arrays {
    columns: Vec<Array>,
    rows: usize,
    bytes: usize,
}

struct Array {
    kind: Kind,
    /// The header, whose count is not yet right, and the elements.
    bytes: Vec<u8>,
}

/// An array's header: dimensions, whether there are nulls, the elements' type, their count, the first's index.
const HEADER: usize = 20;
const COUNT: std::ops::Range<usize> = 12..16;

impl Arrays {
    pub(super) fn of(columns: &[ColumnSpec]) -> Arrays {
        let columns = columns.iter().map(|column| {
            let kind = column.of.kind;
            let element = sql_type(kind).oid.to_be_bytes();
            let one = 1_i32.to_be_bytes();
            // It may say that there are nulls where there are none.
            let bytes = [one, i32::from(column.of.nullable).to_be_bytes(), element, [0; 4], one].concat();
            Array { kind, bytes }
        });
        Arrays { columns: columns.collect(), rows: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, row: &[Value<'_>]) -> Result<(), Misfit> {
        check_width(row, self.columns.len())?;
        for (column, value) in self.columns.iter_mut().zip(row) {
            let before = column.bytes.len();
            put_field(column.kind, value, &mut column.bytes)?;
            self.bytes += column.bytes.len() - before;
        }
        self.rows += 1;
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether a statement should be made of them before more come.
    pub(super) fn are_full(&self) -> bool {
        self.rows >= ROWS || self.bytes >= BYTES
    }

    /// `unnest($1::uuid[], …)`, which gives the rows back.
    pub(super) fn unnest(&self) -> String {
        let arrays =
            self.columns.iter().zip(1..).map(|(column, at)| format!("${at}::{}[]", sql_type(column.kind).name));
        format!("unnest({})", arrays.collect::<Vec<_>>().join(", "))
    }

    /// The arrays as parameters. No rows are left.
    pub(super) fn take(&mut self) -> Result<PgArguments, SqlError> {
        let count = i32::try_from(self.rows).map_err(|_| Misfit(format!("{} rows are too many", self.rows)))?;
        let mut arguments = PgArguments::default();
        for Array { kind, bytes } in &mut self.columns {
            bytes[COUNT].copy_from_slice(&count.to_be_bytes());
            let array = Encoded { oid: sql_type(*kind).array, bytes: Some(bytes) };
            arguments.add(array).map_err(sqlx::Error::Encode)?;
            bytes.truncate(HEADER);
        }
        (self.rows, self.bytes) = (0, 0);
        Ok(arguments)
    }
}

/// Rows turned into what `COPY … FROM STDIN (FORMAT binary)` reads.
pub(super) struct Copy {
    kinds: Vec<Kind>,
    pub(super) bytes: Vec<u8>,
}

/// Bytes that are sent at once: the server works on them while the next are made.
const PIECE: usize = 128 << 10;

impl Copy {
    pub(super) fn of(columns: &[ColumnSpec]) -> Copy {
        // The signature, no flags, no extension.
        let bytes = [b"PGCOPY\n\xff\r\n\0".as_slice(), &[0; 8]].concat();
        Copy { kinds: columns.iter().map(|column| column.of.kind).collect(), bytes }
    }

    pub(super) fn push(&mut self, row: &[Value<'_>]) -> Result<(), Misfit> {
        check_width(row, self.kinds.len())?;
        let width = i16::try_from(row.len()).map_err(|_| Misfit(format!("{} columns are too many", row.len())))?;
        self.bytes.extend_from_slice(&width.to_be_bytes());
        for (kind, value) in self.kinds.iter().zip(row) {
            put_field(*kind, value, &mut self.bytes)?;
        }
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= PIECE
    }

    /// Says that there are no more rows.
    pub(super) fn end(&mut self) {
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
    }
}

fn check_width(row: &[Value<'_>], columns: usize) -> Result<(), Misfit> {
    if row.len() == columns {
        return Ok(());
    }
    Err(Misfit(format!("a row of {} values for {columns} columns", row.len())))
}
