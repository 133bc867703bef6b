//! What a projection keeps: rows, and the tables that they stand in.

use std::{
    cmp::Ordering,
    fmt::Debug,
    hash::{Hash, Hasher},
};

use crate::{ColumnType, Misfit, SqlError, SqlRow, Value};

/// A row of a view's table. [`row!`](crate::row) writes the implementation.
pub trait Row: Clone + PartialEq + Debug + Send + Sync + 'static {
    /// Its key, tenant first.
    type Key: Clone + Eq + Ord + Hash + Debug + Send + Sync;
    const TABLE: TableSpec;

    fn key(&self) -> Self::Key;
    fn has_key(&self, key: &Self::Key) -> bool;
    /// Compares the keys of two rows.
    fn cmp_key(&self, other: &Self) -> Ordering;
    /// Hashes the key as it hashes itself.
    fn hash_key(&self, into: &mut impl Hasher);
    /// Every column, in the order of [`TableSpec::columns`].
    fn values<'a>(&'a self, into: &mut Vec<Value<'a>>) -> Result<(), Misfit>;
    fn key_values<'a>(key: &'a Self::Key, into: &mut Vec<Value<'a>>) -> Result<(), Misfit>;
    /// Reads every column, in the order of [`TableSpec::columns`], from column 0 on.
    fn read(row: &SqlRow<'_>) -> Result<Self, SqlError>;
}

/// A column as its row struct declares it.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSpec {
    pub name: &'static str,
    pub of: ColumnType,
    /// What its field's doc says; may be empty.
    pub doc: &'static str,
}

/// A table as its row struct declares it.
#[derive(Clone, Copy, Debug)]
pub struct TableSpec {
    /// Its name without version and build.
    pub name: &'static str,
    pub doc: &'static str,
    /// The first [`Self::keys`] of them are the key.
    pub columns: &'static [ColumnSpec],
    pub keys: usize,
    /// Name, and what follows `ON table`.
    pub indexes: &'static [(&'static str, &'static str)],
}

impl TableSpec {
    /// The columns' names, separated by commas.
    pub fn column_list(&self) -> String {
        names(self.columns, ", ", |_, name| name.to_owned())
    }

    pub(crate) fn key_columns(&self) -> &'static [ColumnSpec] {
        &self.columns[..self.keys]
    }

    pub(crate) fn key_list(&self) -> String {
        names(self.key_columns(), ", ", |_, name| name.to_owned())
    }

    /// `tenant = ?1 AND …` for the columns of the key.
    pub(crate) fn key_condition(&self) -> String {
        names(self.key_columns(), " AND ", |index, name| format!("{name} = ?{}", index + 1))
    }

    /// What follows an `INSERT` whose row may stand there already.
    pub(crate) fn on_conflict(&self) -> String {
        let update = match &self.columns[self.keys..] {
            [] => "NOTHING".to_owned(),
            rest => format!("UPDATE SET {}", names(rest, ", ", |_, name| format!("{name} = excluded.{name}"))),
        };
        format!("ON CONFLICT ({}) DO {update}", self.key_list())
    }
}

fn names(columns: &[ColumnSpec], between: &str, show: impl Fn(usize, &str) -> String) -> String {
    columns.iter().enumerate().map(|(index, column)| show(index, column.name)).collect::<Vec<_>>().join(between)
}

/// Declares a row: a struct, its table, its key and its indexes. The docs of struct and fields
/// become the table's and its columns' comments where the database has such.
///
/// ```text
/// row! {
///     /// An order that the kitchen has to cook.
///     pub struct Ticket in "kitchen_board" {
///         key { tenant: TenantId, order_id: OrderId }
///         serving: ServingId,
///     }
///     index "serving" on "(tenant, serving)";
/// }
/// ```
#[macro_export]
macro_rules! row {
    (
        $(#[doc = $doc:literal])*
        $vis:vis struct $name:ident in $table:literal {
            key { $($(#[doc = $key_doc:literal])* $key:ident: $key_type:ty),+ $(,)? }
            $($(#[doc = $field_doc:literal])* $field:ident: $field_type:ty),* $(,)?
        }
        $(index $index:literal on $on:literal;)*
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $($(#[doc = $key_doc])* $vis $key: $key_type,)+
            $($(#[doc = $field_doc])* $vis $field: $field_type,)*
        }

        impl $crate::Row for $name {
            type Key = ($($key_type,)+);
            const TABLE: $crate::TableSpec = $crate::TableSpec {
                name: $table,
                doc: concat!($($doc),*),
                columns: &[
                    $($crate::ColumnSpec {
                        name: stringify!($key),
                        of: <$key_type as $crate::Column>::TYPE,
                        doc: concat!($($key_doc),*),
                    },)+
                    $($crate::ColumnSpec {
                        name: stringify!($field),
                        of: <$field_type as $crate::Column>::TYPE,
                        doc: concat!($($field_doc),*),
                    },)*
                ],
                keys: [$(stringify!($key)),+].len(),
                indexes: &[$(($index, $on)),*],
            };

            fn key(&self) -> Self::Key {
                ($(self.$key.clone(),)+)
            }

            fn has_key(&self, ($($key,)+): &Self::Key) -> bool {
                $(self.$key == *$key)&&+
            }

            fn cmp_key(&self, other: &Self) -> std::cmp::Ordering {
                std::cmp::Ordering::Equal$(.then_with(|| self.$key.cmp(&other.$key)))+
            }

            fn hash_key(&self, into: &mut impl std::hash::Hasher) {
                $(std::hash::Hash::hash(&self.$key, into);)+
            }

            fn values<'a>(&'a self, into: &mut Vec<$crate::Value<'a>>) -> Result<(), $crate::Misfit> {
                $(into.push($crate::Column::to_value(&self.$key)?);)+
                $(into.push($crate::Column::to_value(&self.$field)?);)*
                Ok(())
            }

            fn key_values<'a>(
                ($($key,)+): &'a Self::Key,
                into: &mut Vec<$crate::Value<'a>>,
            ) -> Result<(), $crate::Misfit> {
                $(into.push($crate::Column::to_value($key)?);)+
                Ok(())
            }

            fn read(row: &$crate::SqlRow<'_>) -> Result<Self, $crate::SqlError> {
                let mut column = 0;
                let mut next = || { column += 1; column - 1 };
                Ok($name {
                    $($key: row.get(next())?,)+
                    $($field: row.get(next())?,)*
                })
            }
        }
    };
}
