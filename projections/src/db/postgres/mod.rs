//! Views in a Postgres database, in the schema `views`.
//!
//! Values travel in Postgres's binary form, which [`binary`] writes and reads, so that one row costs no
//! text and no type look-up. Nothing here waits without bound: not for the server, a lock or a row.

mod binary;
mod bulk;
mod connection;
mod pool;
mod schema;

pub(super) use binary::value;
pub(crate) use connection::PostgresConnection;
pub(super) use connection::{is_damage, load_sql};
pub(crate) use pool::{PostgresPool, SESSION};
pub(super) use schema::create;

#[cfg(test)]
mod tests;
