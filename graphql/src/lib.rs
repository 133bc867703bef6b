//! The API: GraphQL over HTTP, and over WebSockets for what is watched.
//!
//! One file a noun. Resolvers translate; they never decide. The tenant comes only from the token,
//! and access is denied unless [`access`] gives it.
//!
//! ```text
//! let issuer = Issuer::open(data_folder)?;
//! let setup = Setup::new(ordering, subsidies, finance, people, views, issuer.verifier()?, issuer.token_secret());
//! axum::serve(listener, graphql::router(setup)).with_graceful_shutdown(…)
//! ```

mod access;
mod account;
mod answers;
mod as_of;
mod books;
mod books_changes;
mod caller;
mod compact;
mod company;
mod company_use;
mod consistency;
mod correction;
mod dashboard;
mod dashboard_live;
mod diner;
mod edge;
mod employment;
mod errors;
mod gathering;
mod graphiql;
mod history;
mod hot;
mod http;
pub mod identity;
mod incomplete;
mod invoice;
mod kitchen;
mod kitchen_live;
mod language;
mod ledger;
mod limits;
mod live;
mod loaders;
mod log_event;
mod menu;
mod menu_changes;
mod menu_search;
mod node;
mod node_query;
mod operations;
mod order;
mod order_changes;
mod order_progress;
mod paging;
mod payout;
mod place_order;
mod portions_left;
mod prep_sheet;
mod rate;
mod ready;
mod refund;
mod scalars;
mod schema;
mod setup;
mod shedder;
mod socket;
mod subsidy;
mod subsidy_terms;
mod tender;
mod top_up;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing_socket;
#[cfg(test)]
mod tests;

pub use edge::{Edge, Introspection, Origin};
pub use errors::Code;
pub use http::router;
pub use limits::DocumentLimits;
pub use node::NodeId;
pub use rate::Rate;
pub use schema::schema_sdl;
pub use setup::{HttpLimits, Setup};
pub use socket::SocketLimits;
