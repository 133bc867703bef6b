//! How the views stand, for whoever runs the platform. Nothing here shows what is in an event.

use async_graphql::{Context, Enum, Object, Result, SimpleObject, connection::Connection};
use store::Position;

use crate::{
    caller::caller,
    errors::{Code, Failed, coded},
    log_event::StreamKind,
    paging,
    scalars::{BigInt, DateTime, Uuid},
};

/// Whether a build of a view goes on.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "projections::Health")]
pub(crate) enum ProjectionHealth {
    /// It takes every event.
    Sound,
    /// An operator told it to wait.
    Paused,
    /// The next event is newer than this program.
    Outdated,
}

/// A build of a view: the one that readers get, or one that is being built.
#[derive(SimpleObject)]
pub(crate) struct ProjectionBuild {
    /// The view's name.
    name: String,
    /// The version of its rows and its fold.
    version: u32,
    /// Counts the builds of that version.
    build: u32,
    /// Whether readers get it.
    live: bool,
    /// Whether it goes on.
    health: ProjectionHealth,
    /// How many events of the log it has still to take.
    behind: BigInt,
    /// How many events it could not take, those behind them in their streams included.
    parked: BigInt,
}

/// An event that a view could not take, or that stands behind such a one in its stream.
#[derive(SimpleObject)]
pub(crate) struct ParkedEvent {
    /// Its position in the log.
    position: BigInt,
    /// The tenant's UUID.
    tenant: Uuid,
    /// What it happened to.
    kind: StreamKind,
    /// The UUID of that.
    key: Uuid,
    /// Its type, such as order.Placed.
    #[graphql(name = "type")]
    event_type: String,
    /// When it was parked.
    parked_at: DateTime,
}

fn count(number: u64) -> BigInt {
    BigInt(i64::try_from(number).unwrap_or(i64::MAX))
}

#[derive(Default)]
pub(crate) struct OperationsQuery;

#[Object]
impl OperationsQuery {
    /// How far each view is, and what it lacks: the builds that readers get, and those that are being built. For
    /// the platform's operators.
    async fn projections(&self, ctx: &Context<'_>) -> Result<Vec<ProjectionBuild>> {
        let caller = caller(ctx)?;
        let builds = caller.views().builds().await.map_err(Failed::from)?;
        let head = caller.commands().store().head().await.map_err(|error| {
            tracing::warn!(%error, "the log's head cannot be read");
            coded(Code::Unavailable, "the log does not answer; try again")
        })?;
        let build = |build: projections::Build| ProjectionBuild {
            name: build.projection,
            version: build.version,
            build: build.build,
            live: build.live,
            health: build.health.into(),
            behind: count(head.saturating_sub(build.position)),
            parked: count(build.parked),
        };
        Ok(builds.into_iter().map(build).collect())
    }

    /// The events that a view's live build could not take, the oldest first. For the platform's operators.
    async fn parked_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The view's name.")] projection: String,
        #[graphql(desc = "How many, 1 to 100; 20 if it is not said.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which the page begins.")] after: Option<String>,
    ) -> Result<Connection<String, ParkedEvent>> {
        let caller = caller(ctx)?;
        let after: Option<Position> = paging::cursor(after.as_deref(), |text| text.parse().ok())?;
        let fetch = async |after, size| match caller.views().parked_after(&projection, after, size).await {
            Err(projections::ViewError::UnknownProjection(_)) => {
                Err(coded(Code::NotFound, "there is no such view").at("projection"))
            }
            found => Ok(found?),
        };
        let page = paging::page(first, after, fetch).await?;
        let event = |row: projections::Parked| ParkedEvent {
            position: count(row.position),
            tenant: row.tenant.0.into(),
            kind: row.kind.into(),
            key: row.stream.into(),
            event_type: row.event,
            parked_at: row.parked_at.into(),
        };
        Ok(paging::connection(page, |row| row.position.to_string(), event))
    }
}
