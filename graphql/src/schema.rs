//! The schema: all nouns together.

use std::sync::{Arc, OnceLock};

use async_graphql::{EmptySubscription, MergedObject, Schema, SchemaBuilder};

use crate::{
    account::{AccountMutation, AccountQuery},
    dashboard::DashboardQuery,
    http::Service,
    kitchen::{KitchenMutation, KitchenQuery},
    ledger::LedgerQuery,
    menu::MenuQuery,
    menu_changes::MenuMutation,
    node_query::NodeQuery,
    order::OrderQuery,
    order_changes::OrderMutation,
};

/// What can be read. Everything belongs to the tenant of the token.
///
/// A mutation answers with a consistency token (also in the header `x-consistency-token`). A query
/// that brings it, in the same header or as the request's extension `consistencyToken`, waits until
/// it can show what was written, or answers `STALE`.
#[derive(MergedObject, Default)]
pub(crate) struct Query(
    NodeQuery,
    MenuQuery,
    OrderQuery,
    KitchenQuery,
    DashboardQuery,
    AccountQuery,
    LedgerQuery,
);

/// What can be changed. The same `idempotencyKey` again gives the first outcome and changes nothing;
/// with other content it is `KEY_REUSED`. After an error nothing has changed, unless it says that it
/// is retryable: then ask again under the same key.
#[derive(MergedObject, Default)]
pub(crate) struct Mutation(MenuMutation, OrderMutation, KitchenMutation, AccountMutation);

pub(crate) type Api = Schema<Query, Mutation, EmptySubscription>;

fn builder() -> SchemaBuilder<Query, Mutation, EmptySubscription> {
    Schema::build(Query::default(), Mutation::default(), EmptySubscription)
}

pub(crate) fn build(service: Arc<Service>) -> Api {
    builder().data(service).finish()
}

/// The schema in GraphQL's own language, as it is checked in beside this crate.
pub fn schema_sdl() -> &'static str {
    static SDL: OnceLock<String> = OnceLock::new();
    SDL.get_or_init(|| {
        let mut sdl = builder().finish().sdl_with_options(async_graphql::SDLExportOptions::new().sorted_fields());
        sdl.truncate(sdl.trim_end().len());
        sdl.push('\n');
        sdl
    })
}
