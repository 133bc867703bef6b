//! The statements that make a table.

use super::binary::sql_type;
use crate::{ColumnSpec, Kind, TableSpec};

/// The statements that make the table under the name `{name}{suffix}`, with its comments.
pub(in crate::db) fn create(table: &TableSpec, suffix: &str) -> String {
    let (name, keys) = (format!("{}{suffix}", table.name), table.key_list());
    let columns = table.columns.iter().map(column).collect::<Vec<_>>().join(", ");
    let mut sql = format!("CREATE TABLE {name} ({columns}, PRIMARY KEY ({keys}));\n");
    if let Some(comment) = literal(table.doc) {
        sql += &format!("COMMENT ON TABLE {name} IS {comment};\n");
    }
    for column in table.columns {
        if let Some(comment) = literal(column.doc) {
            sql += &format!("COMMENT ON COLUMN {name}.{} IS {comment};\n", column.name);
        }
    }
    sql
}

fn column(column: &ColumnSpec) -> String {
    // Whatever the database's locale, texts stand in the order of their bytes, as in SQLite.
    let collation = if column.of.kind == Kind::Text { " COLLATE \"C\"" } else { "" };
    let null = if column.of.nullable { "" } else { " NOT NULL" };
    format!("{} {}{collation}{null}", column.name, sql_type(column.of.kind).name)
}

/// The doc as a text in SQL, without its marks of code. None when it says nothing.
fn literal(doc: &str) -> Option<String> {
    let doc = doc.replace("[`", "").replace("`]", "").replace('`', "").replace('\'', "''");
    let doc = doc.trim();
    (!doc.is_empty()).then(|| format!("'{doc}'"))
}
