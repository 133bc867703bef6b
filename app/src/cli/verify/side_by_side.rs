//! A difference as people compare it: column beside column.

use projections::{Difference, TableSpec};

use crate::{output, wiring::registry};

/// One column of two rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) found: Option<String>,
    pub(super) expected: Option<String>,
}

/// The columns of a difference between two rows; none when it is about something else.
pub(super) fn columns(difference: &Difference) -> Vec<Column> {
    let Some(table) = table_of(&difference.subject) else { return Vec::new() };
    let (found, expected) = (split(&difference.found, &table), split(&difference.expected, &table));
    if found.is_none() && expected.is_none() {
        return Vec::new();
    }
    let value = |row: &Option<Vec<String>>, index: usize| row.as_ref().map(|row| row[index].clone());
    let names = table.columns.iter().enumerate();
    names
        .map(|(index, column)| Column {
            name: column.name,
            found: value(&found, index),
            expected: value(&expected, index),
        })
        .collect()
}

pub(super) fn show(difference: &Difference) -> anyhow::Result<()> {
    let columns = columns(difference);
    if columns.is_empty() {
        let Difference { subject, found, expected } = difference;
        return output::line(format_args!("{subject}\n  found     {found}\n  expected  {expected}"));
    }
    output::line(format_args!("{}, the first row that differs:", difference.subject))?;
    let mut table = output::table(["", "column", "found", "expected"]);
    let missing = || "no such row".to_owned();
    for column in columns {
        let mark = if column.found == column.expected { "" } else { "≠" };
        let (found, expected) = (column.found.unwrap_or_else(missing), column.expected.unwrap_or_else(missing));
        table.add_row([mark.to_owned(), column.name.to_owned(), found, expected]);
    }
    output::line(table)
}

/// The table of `view menu, table dishes__v1_b1`.
fn table_of(subject: &str) -> Option<TableSpec> {
    let (_, build) = subject.split_once(", table ")?;
    let (name, _) = build.rsplit_once("__v")?;
    let all = registry();
    let mut tables = all.iter().flat_map(|projection| projection.tables());
    tables.find(|table| table.name == name).copied()
}

/// The values of a row that reads `name=value name=value …`, in the table's order.
fn split(row: &str, table: &TableSpec) -> Option<Vec<String>> {
    let mut rest = row;
    let mut values = Vec::with_capacity(table.columns.len());
    for (index, column) in table.columns.iter().enumerate() {
        rest = rest.strip_prefix(column.name)?.strip_prefix('=')?;
        let value = match table.columns.get(index + 1) {
            None => rest,
            Some(next) => {
                let (value, _) = rest.split_once(&format!(" {}=", next.name))?;
                rest = &rest[value.len() + 1..];
                value
            }
        };
        values.push(value.to_owned());
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(found: &str, expected: &str) -> Difference {
        let subject = "view withdrawals, table withdrawals__v1_b2".into();
        Difference { subject, found: found.into(), expected: expected.into() }
    }

    #[test]
    fn rows_stand_column_beside_column() {
        let found = "tenant=a serving=b state={\"x\": 1, \"y=\": 2} moved=7";
        let compared = columns(&difference(found, "tenant=a serving=b state={} moved=8"));
        assert_eq!(compared.iter().map(|it| it.name).collect::<Vec<_>>(), ["tenant", "serving", "state", "moved"]);
        assert_eq!(compared[2].found.as_deref(), Some("{\"x\": 1, \"y=\": 2}"));
        assert_eq!(compared[3].found.as_deref().zip(compared[3].expected.as_deref()), Some(("7", "8")));
    }

    #[test]
    fn a_missing_row_has_no_values() {
        let compared = columns(&difference("no such row", "tenant=a serving=b state={} moved=8"));
        assert_eq!((compared.len(), compared[0].found.as_ref()), (4, None));
    }

    #[test]
    fn what_is_no_row_has_no_columns() {
        assert_eq!(columns(&difference("3 events are parked", "no event is parked")), []);
        let log = Difference { subject: "the log".into(), found: "event 3".into(), expected: "event 2".into() };
        assert_eq!(columns(&log), []);
    }
}
