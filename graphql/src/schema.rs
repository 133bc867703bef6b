//! The schema: all nouns together.

use std::sync::{Arc, OnceLock};

use async_graphql::{EmptySubscription, MergedObject, Schema, SchemaBuilder, connection::Connection};

use crate::{
    account::{AccountMutation, AccountQuery},
    books::{AccountPeriod, Books, BooksQuery, Payable, Period, StatementEntry},
    books_changes::BooksMutation,
    dashboard::{DashboardQuery, DaySales},
    history::{HistoryQuery, Scanned, StateChange},
    http::Service,
    kitchen::{KitchenMutation, KitchenQuery, Ticket},
    ledger::{JournalEntry, LedgerBalance, LedgerQuery},
    log_event::LogEvent,
    menu::{Canteen, Dish, MenuQuery, Serving},
    menu_changes::MenuMutation,
    node_query::NodeQuery,
    order::{Order, OrderQuery},
    order_changes::OrderMutation,
    subsidy::{SubsidyMutation, SubsidyQuery},
};

/// What can be read. Everything belongs to the tenant of the token.
///
/// A mutation answers with a consistency token (also in the header `x-consistency-token`). A query
/// that brings it, in the same header or as the request's extension `consistencyToken`, waits until
/// it can show what was written, or answers `STALE`.
///
/// While a view lacks something, since it could not take some event or waits, every answer carries
/// the extension `incomplete`: the names of such views, as `["journal"]`. Without it all are whole.
/// It may be a second late.
#[derive(MergedObject, Default)]
pub(crate) struct Query(
    NodeQuery,
    MenuQuery,
    OrderQuery,
    KitchenQuery,
    DashboardQuery,
    AccountQuery,
    LedgerQuery,
    BooksQuery,
    HistoryQuery,
    SubsidyQuery,
);

/// What can be changed. The same `idempotencyKey` again gives the first outcome and changes nothing;
/// with other content it is `KEY_REUSED`. After an error nothing has changed, unless it says that it
/// is retryable: then ask again under the same key.
#[derive(MergedObject, Default)]
pub(crate) struct Mutation(
    MenuMutation,
    OrderMutation,
    KitchenMutation,
    AccountMutation,
    BooksMutation,
    SubsidyMutation,
);

pub(crate) type Api = Schema<Query, Mutation, EmptySubscription>;

fn builder() -> SchemaBuilder<Query, Mutation, EmptySubscription> {
    let schema = Schema::build(Query::default(), Mutation::default(), EmptySubscription);
    // The library describes everything of a connection but the connection.
    schema
        .override_output_type_description::<Connection<String, Canteen>>("A page of canteens.")
        .override_output_type_description::<Connection<String, Dish>>("A page of dishes.")
        .override_output_type_description::<Connection<String, Serving>>("A page of servings.")
        .override_output_type_description::<Connection<String, Order>>("A page of orders.")
        .override_output_type_description::<Connection<String, Ticket>>("A page of a kitchen's board.")
        .override_output_type_description::<Connection<String, DaySales>>("A page of what was sold.")
        .override_output_type_description::<Connection<String, JournalEntry>>("A page of the journal.")
        .override_output_type_description::<Connection<String, LedgerBalance>>("A page of balances.")
        .override_output_type_description::<Connection<String, Period, Books>>("A page of periods, and the books.")
        .override_output_type_description::<Connection<String, StatementEntry>>("A page of a statement.")
        .override_output_type_description::<Connection<String, AccountPeriod>>("A page of a trial balance.")
        .override_output_type_description::<Connection<String, Payable>>("A page of what is owed to canteens.")
        .override_output_type_description::<Connection<String, StateChange>>("A page of changes.")
        .override_output_type_description::<Connection<String, LogEvent, Scanned>>("A page of the log.")
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
