//! Who asks, as resolvers see it, and the requests that they make of it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering as Atomic},
};

use async_graphql::Context;
use commands::{Commands, Outcome, Request};
use domain::{CanteenId, ServingId, TenantId, serving::Serving};
use projections::Views;
use serde::Serialize;
use store::Position;

use crate::{
    errors::{Code, Failed, coded, not_found},
    http::Service,
    identity::Identity,
    scalars::Uuid,
};

/// One HTTP request.
pub(crate) struct Asked {
    trace: Option<[u8; 16]>,
    /// The highest position that its mutations came to; 0 for none.
    position: AtomicU64,
}

impl Asked {
    pub(crate) fn new(trace: Option<[u8; 16]>) -> Self {
        Asked { trace, position: AtomicU64::new(0) }
    }

    pub(crate) fn position(&self) -> Option<Position> {
        Some(self.position.load(Atomic::Relaxed)).filter(|position| *position > 0)
    }
}

pub(crate) struct Caller<'a> {
    pub(crate) service: &'a Service,
    pub(crate) identity: &'a Identity,
    asked: &'a Asked,
}

/// A position that a mutation came to, and its token.
pub(crate) struct Written {
    pub(crate) position: Position,
    pub(crate) token: String,
}

pub(crate) fn caller<'a>(ctx: &Context<'a>) -> Result<Caller<'a>, Failed> {
    let service = ctx.data_opt::<Arc<Service>>();
    let asked = ctx.data_opt::<Arc<Asked>>();
    // Root fields were checked before; without a token nobody comes here.
    let identity = ctx.data_opt::<Arc<Identity>>();
    match (service, asked, identity) {
        (Some(service), Some(asked), Some(identity)) => Ok(Caller { service, identity, asked }),
        _ => Err(coded(Code::Unauthenticated, "this needs a token: Authorization: Bearer …")),
    }
}

impl Caller<'_> {
    pub(crate) fn tenant(&self) -> TenantId {
        self.identity.tenant
    }

    pub(crate) fn views(&self) -> &Views {
        &self.service.views
    }

    pub(crate) fn commands(&self) -> &Commands {
        self.service.commands()
    }

    /// A request of this caller under their key. `input` is what they sent, all of it.
    pub(crate) fn request(&self, mutation: &str, key: Uuid, input: &impl Serialize) -> Result<Request, Failed> {
        if key.0.is_nil() {
            let nil = coded(Code::BadInput, "an idempotency key is a UUID of your own making, not the nil one");
            return Err(nil.at("idempotencyKey"));
        }
        let who = (self.identity.tenant, self.identity.actor);
        let request = Request::new(who, mutation, key.0, input, self.commands().now());
        Ok(Request { trace: self.asked.trace, ..request })
    }

    /// Notes where a mutation ended.
    pub(crate) async fn written(&self, position: Position) -> Result<Written, Failed> {
        // The answer to a repeat rests on what is in the log already.
        let position = match position {
            0 => self.commands().store().head().await.map_err(|error| {
                tracing::warn!(%error, "the log's head cannot be read");
                coded(Code::Unavailable, "the log does not answer; try again under the same key")
            })?,
            position => position,
        };
        self.asked.position.fetch_max(position, Atomic::Relaxed);
        Ok(Written { position, token: self.service.masks.token(self.tenant(), position) })
    }

    pub(crate) async fn outcome<E>(&self, outcome: &Outcome<E>) -> Result<Written, Failed> {
        self.written(outcome.position).await
    }

    /// Waits until the views show what was written at `position`.
    pub(crate) async fn fresh(&self, position: Position) -> Result<(), Failed> {
        let waited = self.views().wait_for(position, self.service.limits.patience).await;
        waited.map_err(|_| coded(Code::Stale, "what was just written cannot be read yet; ask again in a moment"))
    }

    /// Staff of that canteen go on.
    pub(crate) fn staff_of(&self, canteen: CanteenId) -> Result<(), Failed> {
        if self.identity.works_in(canteen) {
            return Ok(());
        }
        Err(coded(Code::Forbidden, "you do not work in that canteen"))
    }

    /// Staff of that canteen, and those who read everybody's business, go on.
    pub(crate) fn reader_of(&self, canteen: CanteenId) -> Result<(), Failed> {
        if self.identity.reads_books() { Ok(()) } else { self.staff_of(canteen) }
    }

    /// The canteen of a serving, for staff who may change it.
    pub(crate) async fn staff_of_serving(&self, serving: ServingId) -> Result<CanteenId, Failed> {
        let canteen = self.canteen_of(serving).await?;
        self.staff_of(canteen)?;
        Ok(canteen)
    }

    async fn canteen_of(&self, serving: ServingId) -> Result<CanteenId, Failed> {
        let canteen = |serving: &Serving| serving.book().ok().map(|book| book.canteen);
        let canteen = self.commands().look(self.tenant(), serving, canteen).await?;
        canteen.ok_or_else(|| not_found("serving").at("serving"))
    }

    /// The canteen of a serving, for those who may read its business. From the views, since the
    /// serving's aggregate may be long cold.
    pub(crate) async fn reader_of_serving(&self, serving: ServingId) -> Result<CanteenId, Failed> {
        let row = projections::menu::serving(self.views(), self.tenant(), serving).await?;
        let canteen = row.ok_or_else(|| not_found("serving").at("serving"))?.canteen;
        self.reader_of(canteen)?;
        Ok(canteen)
    }
}
