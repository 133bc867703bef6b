//! Row by row: whether two builds of a projection say the same.

use std::{cmp::Ordering, collections::VecDeque};

use crate::{
    Build, Difference, Kind, Param, Projection, SqlError, TableSpec, Value, catalogue, db::Connection, views::ViewError,
};

/// Rows that are held in memory of each side.
const PAGE: usize = 2_000;

/// Compares a build with the live one of its version, within the caller's transaction. Both stand at
/// the same event.
pub(crate) fn with_live(
    connection: &Connection,
    projection: &dyn Projection,
    build: &Build,
) -> Result<String, ViewError> {
    let builds = catalogue::builds(connection)?;
    let Some(live) = builds.iter().find(|other| other.live && other.is_of(projection)) else {
        return Ok("there was no live build to compare with".into());
    };
    if live.position != build.position {
        return Ok(format!("not compared: the live build stands at event {}", live.position));
    }
    let mut rows = 0;
    for table in projection.tables() {
        let (same, difference) = first_difference((connection, live), (connection, build), table)?;
        rows += same;
        if let Some(Difference { subject, found, expected }) = difference {
            return Ok(format!("{subject}: the live build had {found}, this one has {expected}"));
        }
    }
    Ok(format!("equal to the live build, {rows} rows"))
}

/// How many rows are the same, and the first pair that is not.
pub(crate) fn first_difference(
    (live, build): (&Connection, &Build),
    (refold, fresh): (&Connection, &Build),
    table: &'static TableSpec,
) -> Result<(u64, Option<Difference>), ViewError> {
    let mut found = TableReader::new(live, build, table);
    let mut expected = TableReader::new(refold, fresh, table);
    let mut same = 0;
    let missing = || "no such row".to_owned();
    loop {
        let (left, right) = (found.next()?, expected.next()?);
        let (found, expected) = match (left, right) {
            (None, None) => return Ok((same, None)),
            (Some(left), None) => (shown(&left, table), missing()),
            (None, Some(right)) => (missing(), shown(&right, table)),
            (Some(left), Some(right)) => match order(&left[..table.keys], &right[..table.keys]) {
                Ordering::Less => (shown(&left, table), missing()),
                Ordering::Greater => (missing(), shown(&right, table)),
                Ordering::Equal if !equal(&left, &right, table) => (shown(&left, table), shown(&right, table)),
                Ordering::Equal => {
                    same += 1;
                    continue;
                }
            },
        };
        let subject = format!("view {}, table {}{}", build.projection, table.name, build.suffix());
        return Ok((same, Some(Difference { subject, found, expected })));
    }
}

type Values = Vec<Value<'static>>;

/// A table's rows in the order of their keys.
struct TableReader<'a> {
    connection: &'a Connection,
    table: &'static TableSpec,
    first: String,
    further: String,
    page: VecDeque<Values>,
    last: Option<Values>,
    ended: bool,
}

impl<'a> TableReader<'a> {
    fn new(connection: &'a Connection, build: &Build, table: &'static TableSpec) -> Self {
        let (columns, keys, name, suffix) = (table.column_list(), table.key_list(), table.name, build.suffix());
        let marks = (1..=table.keys).map(|index| format!("?{index}")).collect::<Vec<_>>().join(", ");
        let select =
            |condition: &str| format!("SELECT {columns} FROM {name}{suffix} {condition} ORDER BY {keys} LIMIT {PAGE}");
        TableReader {
            connection,
            table,
            first: select(""),
            further: select(&format!("WHERE ({keys}) > ({marks})")),
            page: VecDeque::new(),
            last: None,
            ended: false,
        }
    }

    fn next(&mut self) -> Result<Option<Values>, SqlError> {
        if self.page.is_empty() && !self.ended {
            let key = |(column, value): (&crate::ColumnSpec, &Value<'static>)| Param {
                kind: column.of.kind,
                value: Ok(value.clone()),
            };
            let params: Vec<Param<'_>> =
                self.last.iter().flat_map(|last| self.table.key_columns().iter().zip(last).map(key)).collect();
            let sql = if self.last.is_some() { &self.further } else { &self.first };
            let columns = self.table.columns.len();
            let page = self.connection.query(sql, &params, |row| {
                (0..columns).map(|index| row.value(index).map(Value::into_owned)).collect::<Result<Values, _>>()
            })?;
            self.ended = page.len() < PAGE;
            self.last = page.last().cloned();
            self.page = page.into();
        }
        Ok(self.page.pop_front())
    }
}

/// The order of two keys. Columns have one type each.
fn order(left: &[Value<'_>], right: &[Value<'_>]) -> Ordering {
    let one = |(left, right): (&Value<'_>, &Value<'_>)| match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Uuid(left), Value::Uuid(right)) => left.cmp(right),
        _ => Ordering::Equal,
    };
    left.iter().zip(right).map(one).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn equal(left: &[Value<'_>], right: &[Value<'_>], table: &TableSpec) -> bool {
    left.iter().zip(right).zip(table.columns).all(|((left, right), column)| match (left, right) {
        _ if left == right => true,
        // A database may write the same JSON in another way.
        (Value::Text(left), Value::Text(right)) if column.of.kind == Kind::Json => {
            let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
            parsed(left).is_some_and(|left| Some(left) == parsed(right))
        }
        _ => false,
    })
}

/// A row as people read it.
fn shown(row: &[Value<'_>], table: &TableSpec) -> String {
    let one = |(column, value): (&crate::ColumnSpec, &Value<'_>)| {
        let value = match value {
            Value::Null => "null".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => text.to_string(),
            Value::Uuid(id) => id.to_string(),
        };
        format!("{}={value}", column.name)
    };
    table.columns.iter().zip(row).map(one).collect::<Vec<_>>().join(" ")
}
