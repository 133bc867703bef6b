//! The schema: all nouns together.

use std::sync::{Arc, OnceLock};

use async_graphql::{MergedObject, MergedSubscription, Schema, SchemaBuilder, connection::Connection};

use crate::{
    account::{AccountMutation, AccountQuery},
    books::{AccountPeriod, Books, BooksQuery, Payable, Period, StatementEntry},
    books_changes::BooksMutation,
    company_use::{CompanyUseDay, CompanyUseMutation, CompanyUseQuery},
    correction::{CorrectionEntry, CorrectionMutation, CorrectionQuery, CorrectionRecord},
    dashboard::{DashboardQuery, DaySales},
    dashboard_live::DashboardSubscription,
    diner::{DinerMutation, DinerQuery},
    edge::Introspection,
    employment::{Employee, EmploymentMutation, EmploymentQuery},
    history::{HistoryQuery, Scanned, StateChange},
    http::Service,
    invoice::{Invoice, InvoiceMutation, InvoiceQuery, Receivable},
    kitchen::{KitchenMutation, KitchenQuery, Ticket},
    kitchen_live::KitchenSubscription,
    ledger::{JournalEntry, LedgerBalance, LedgerQuery},
    log_event::LogEvent,
    menu::{Canteen, Dish, MenuQuery, Serving},
    menu_changes::MenuMutation,
    menu_search::{FoundOffer, MenuSearchQuery},
    node_query::NodeQuery,
    operations::{OperationsQuery, ParkedEvent},
    order::{Order, OrderQuery},
    order_changes::OrderMutation,
    order_progress::OrderSubscription,
    payout::{PayoutMutation, PayoutQuery, PayoutRecord},
    portions_left::PortionsSubscription,
    prep_sheet::PrepQuery,
    subsidy::{GrantRun, SubsidyMutation, SubsidyPolicy, SubsidyQuery, SubsidyUse},
    top_up::{TopUpMutation, TopUpQuery, TopUpRecord},
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
    MenuSearchQuery,
    OrderQuery,
    KitchenQuery,
    PrepQuery,
    DashboardQuery,
    AccountQuery,
    LedgerQuery,
    BooksQuery,
    HistoryQuery,
    SubsidyQuery,
    EmploymentQuery,
    InvoiceQuery,
    CompanyUseQuery,
    DinerQuery,
    TopUpQuery,
    PayoutQuery,
    CorrectionQuery,
    OperationsQuery,
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
    EmploymentMutation,
    InvoiceMutation,
    CompanyUseMutation,
    DinerMutation,
    TopUpMutation,
    PayoutMutation,
    CorrectionMutation,
);

/// What can be watched, over a WebSocket that speaks `graphql-transport-ws`. A subscription asks for one of
/// these fields. Each message has a cursor; to subscribe again `after` it gives what came since, nothing twice
/// and nothing left out. When that is not known any more the subscription ends with `CURSOR_EXPIRED`: then
/// query the state, and subscribe without a cursor.
#[derive(MergedSubscription, Default)]
pub(crate) struct Subscription(OrderSubscription, KitchenSubscription, PortionsSubscription, DashboardSubscription);

pub(crate) type Api = Schema<Query, Mutation, Subscription>;

fn builder() -> SchemaBuilder<Query, Mutation, Subscription> {
    let schema = Schema::build(Query::default(), Mutation::default(), Subscription::default());
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
        .override_output_type_description::<Connection<String, Invoice>>("A page of invoices.")
        .override_output_type_description::<Connection<String, Employee>>("A page of whom a company employs.")
        .override_output_type_description::<Connection<String, CompanyUseDay>>("A page of a company's use.")
        .override_output_type_description::<Connection<String, CorrectionRecord>>("A page of corrections.")
        .override_output_type_description::<Connection<String, CorrectionEntry>>("A page of a correction's entries.")
        .override_output_type_description::<Connection<String, TopUpRecord>>("A page of top-ups.")
        .override_output_type_description::<Connection<String, PayoutRecord>>("A page of payouts.")
        .override_output_type_description::<Connection<String, Receivable>>("A page of what companies have open.")
        .override_output_type_description::<Connection<String, SubsidyUse>>("A page of what became of subsidies.")
        .override_output_type_description::<Connection<String, SubsidyPolicy>>("A page of policies.")
        .override_output_type_description::<Connection<String, GrantRun>>("A page of runs of grants.")
        .override_output_type_description::<Connection<String, FoundOffer>>("A page of what was found.")
        .override_output_type_description::<Connection<String, ParkedEvent>>("A page of parked events.")
        .override_output_type_description::<Connection<String, StateChange>>("A page of changes.")
        .override_output_type_description::<Connection<String, LogEvent, Scanned>>("A page of the log.")
}

pub(crate) fn build(service: Arc<Service>, introspection: Introspection) -> Api {
    let schema = builder().data(service);
    match introspection {
        Introspection::Open => schema.finish(),
        // Hints at what was meant would tell it piece by piece.
        Introspection::Closed => schema.disable_introspection().disable_suggestions().finish(),
    }
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
