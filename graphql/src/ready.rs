//! Whether the service can be asked: for whoever sends it callers.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::http::{Door, FULL};

/// What `/readyz` says.
#[derive(serde::Serialize)]
struct Readiness {
    ready: bool,
    /// Why not; empty when it is.
    reasons: Vec<String>,
    /// How many events the views are behind the log.
    events_behind: Option<u64>,
}

/// How long a part of the house may take to say how it is.
const ANSWER: Duration = Duration::from_secs(2);

pub(crate) async fn readyz(State(door): State<Arc<Door>>) -> Response {
    let service = &door.service;
    let mut reasons = Vec::new();
    let mut events_behind = None;
    if door.draining.is_cancelled() {
        reasons.push("the service is shutting down".to_owned());
    }
    if let Err(why) = door.verifier.readiness() {
        reasons.push(why.to_string());
    }
    match tokio::time::timeout(ANSWER, service.commands().readiness()).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => reasons.push(format!("no commands are taken: {why}")),
        Err(_) => reasons.push("no commands are taken: the log does not answer".to_owned()),
    }
    if service.commands().fullness() > FULL {
        reasons.push("the queue before the log is full".to_owned());
    }
    // Also where another process keeps the views up.
    let position = service.views.read(|snapshot| Ok(snapshot.position()));
    let (head, position) = tokio::join!(
        tokio::time::timeout(ANSWER, service.commands().store().head()),
        tokio::time::timeout(ANSWER, position),
    );
    match (&head, &position) {
        (Ok(Ok(head)), Ok(Ok(position))) => {
            let behind = head.saturating_sub(*position);
            events_behind = Some(behind);
            if behind > service.limits.behind {
                reasons.push(format!("the views are {behind} events behind the log"));
            }
        }
        (Ok(Err(error)), _) => reasons.push(format!("the log cannot be read: {error}")),
        (Err(_), _) => reasons.push("the log does not answer".to_owned()),
        (_, Ok(Err(error))) => reasons.push(format!("the views cannot be read: {error}")),
        (_, Err(_)) => reasons.push("the views do not answer".to_owned()),
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready: reasons.is_empty(), reasons, events_behind })).into_response()
}
