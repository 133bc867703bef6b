//! The API: GraphQL over HTTP.
//!
//! One file a noun. Resolvers translate; they never decide. The tenant comes only from the token,
//! and access is denied unless [`access`] gives it.
//!
//! ```text
//! let issuer = Issuer::open(data_folder)?;
//! let setup = Setup::new(ordering, subsidies, views, issuer.verifier()?, issuer.token_secret());
//! axum::serve(listener, graphql::router(setup)).with_graceful_shutdown(…)
//! ```

mod access;
mod account;
mod as_of;
mod books;
mod books_changes;
mod caller;
mod consistency;
mod dashboard;
mod errors;
mod history;
mod http;
pub mod identity;
mod incomplete;
mod kitchen;
mod ledger;
mod limits;
mod loaders;
mod log_event;
mod menu;
mod menu_changes;
mod node;
mod node_query;
mod order;
mod order_changes;
mod paging;
mod place_order;
mod scalars;
mod schema;
mod subsidy;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use errors::Code;
pub use http::{HttpLimits, Setup, router};
pub use limits::DocumentLimits;
pub use node::NodeId;
pub use schema::schema_sdl;
