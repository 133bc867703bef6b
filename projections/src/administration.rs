//! What an operator does to projections: rebuilds, pauses, parked events.
//!
//! Everything here is a change of the catalogue. Whoever keeps the views up, in this process or in
//! another, finds it there.

use domain::StreamId;
use uuid::Uuid;

use store::Position;

use crate::{Build, Dropped, PageSize, Parked, ViewError, Views, catalogue, db::Connection, lease, parking};

impl Views {
    /// Begins a new build of each of these projections (none named: all) beside the live one. One
    /// that is under way is thrown away.
    pub(crate) async fn start_builds(&self, names: &[String], compare: bool) -> Result<Vec<Build>, ViewError> {
        let names = self.projections(names)?;
        let registry = self.registry().clone();
        self.change(move |connection| {
            let mut started = Vec::new();
            for name in names {
                let Some(projection) = registry.iter().find(|projection| projection.name() == name) else { continue };
                let builds = catalogue::builds(connection)?;
                for build in builds.iter().filter(|build| build.is_of(&**projection) && build.is_being_built()) {
                    catalogue::replace(connection, build)?;
                }
                started.push(catalogue::add(connection, &**projection, compare)?);
            }
            Ok(started)
        })
        .await
    }

    /// Makes projections wait where they stand, or go on. Readers still get what they show.
    pub async fn set_paused(&self, names: &[String], paused: bool) -> Result<(), ViewError> {
        let names = self.projections(names)?;
        self.change(move |connection| {
            names.into_iter().try_for_each(|name| Ok(catalogue::set_paused(connection, name, paused)?))
        })
        .await
    }

    /// The parked events of these projections' live builds (none named: of all), oldest first; at most
    /// a thousand of each.
    pub async fn parked(&self, names: &[String]) -> Result<Vec<Parked>, ViewError> {
        let names = self.projections(names)?;
        self.read(move |snapshot| {
            let mut parked = Vec::new();
            for build in snapshot.builds_now().filter(|build| build.live && names.contains(&&*build.projection)) {
                parked.extend(parking::of_build(snapshot.connection(), build)?);
            }
            Ok(parked)
        })
        .await
    }

    /// A page of the parked events of a projection's live build, the oldest first, from after the position `after`.
    pub async fn parked_after(
        &self,
        name: &str,
        after: Option<Position>,
        page: PageSize,
    ) -> Result<Vec<Parked>, ViewError> {
        let names = self.projections(&[name.to_owned()])?;
        self.read(move |snapshot| {
            let live = names.first().and_then(|name| snapshot.live_build(name));
            let page = |build| parking::page_of_build(snapshot.connection(), build, after.unwrap_or(0), page);
            Ok(live.map(page).transpose()?.unwrap_or_default())
        })
        .await
    }

    /// The events that a projection does without, by somebody's decision.
    pub async fn dropped(&self, name: &str) -> Result<Vec<Dropped>, ViewError> {
        let names = self.projections(&[name.to_owned()])?;
        self.read(move |snapshot| {
            let dropped = names.into_iter().map(|name| parking::dropped(snapshot.connection(), name));
            Ok(dropped.collect::<Result<Vec<_>, _>>()?.concat())
        })
        .await
    }

    /// Drops every event of a stream that a projection has parked, for good: later builds do without
    /// them too. What comes after them flows again. Answers how many events that were.
    pub async fn drop_parked(
        &self,
        projection: &str,
        stream: StreamId,
        reason: &str,
        by: &str,
    ) -> Result<u64, ViewError> {
        let names = self.projections(&[projection.to_owned()])?;
        let (reason, by) = (reason.to_owned(), by.to_owned());
        self.change(move |connection| {
            let mut dropped = 0;
            for name in names {
                dropped += parking::drop_stream(connection, name, stream, &reason, &by)?;
                if dropped == 0 {
                    return Err(ViewError::NothingParked { projection: name, stream });
                }
            }
            Ok(dropped)
        })
        .await
    }

    /// Takes, or keeps, a task that only one of the processes on these views does at a time, for five
    /// seconds by the database's clock; `false` while another one has it. Views that only one process
    /// can write give every task to it.
    pub async fn hold(&self, task: &'static str, holder: Uuid) -> Result<bool, ViewError> {
        if !self.is_remote() {
            return Ok(true);
        }
        self.beside(move |connection| {
            let now = lease::moment(connection)?;
            Ok(lease::hold(connection, task, holder, lease::TASK, now)?)
        })
        .await
    }

    /// Gives back what `holder` holds, so that the next process need not wait.
    pub async fn let_go(&self, holder: Uuid) -> Result<(), ViewError> {
        if !self.is_remote() {
            return Ok(());
        }
        self.beside(move |connection| Ok(lease::let_go(connection, holder)?)).await
    }

    /// Runs one statement that changes nothing for the runners.
    async fn beside<T: Send + 'static>(
        &self,
        statement: impl FnOnce(&Connection) -> Result<T, ViewError> + Send + 'static,
    ) -> Result<T, ViewError> {
        let views = self.clone();
        let done = tokio::task::spawn_blocking(move || statement(&views.connect()?));
        done.await.map_err(|_| ViewError::Stopped)?
    }

    /// The projections with these names; all, when none is named. In the order in which runners write
    /// to the catalogue: in another one, a change and a runner would wait for each other.
    fn projections(&self, names: &[String]) -> Result<Vec<&'static str>, ViewError> {
        let known: Vec<&'static str> = self.registry().iter().map(|projection| projection.name()).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(ViewError::UnknownProjection(unknown.clone()));
        }
        let wanted = |known: &&str| names.is_empty() || names.iter().any(|name| name == known);
        let mut wanted: Vec<_> = known.into_iter().filter(wanted).collect();
        wanted.sort_unstable();
        Ok(wanted)
    }
}
