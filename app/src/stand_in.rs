//! The diner's phone, for a server whose payments are played: `POST /stand-in/pay/NUMBER`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use domain::trade::TradeNumber;
use providers::StandIn;
use sagas::Ordering;

/// Pays what the number asks for, and tells the house as a provider would.
pub fn router(stand_in: Arc<StandIn>, ordering: Ordering) -> Router {
    Router::new().route("/stand-in/pay/{number}", post(pay)).with_state((stand_in, ordering))
}

async fn pay(
    State((stand_in, ordering)): State<(Arc<StandIn>, Ordering)>,
    Path(number): Path<String>,
) -> (StatusCode, String) {
    let number: TradeNumber = match number.parse() {
        Ok(number) => number,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let Some(said) = stand_in.scan(number) else {
        return (StatusCode::NOT_FOUND, "nothing waits to be paid under that number\n".to_owned());
    };
    match ordering.provider_notified(said).await {
        Ok(()) => (StatusCode::OK, "paid\n".to_owned()),
        // It is paid all the same, and the house asks again by itself.
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("paid; the house has not heard of it yet: {error}\n")),
    }
}
