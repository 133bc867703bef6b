//! What becomes of builds besides being folded: one is begun, gets its indexes, is given to the readers,
//! is replaced and in the end removed.

use std::time::Duration;

use store::Position;

use crate::{
    Build, Health,
    batch::Kind,
    catalogue::{self, now},
    engine::Engine,
    lease::{self, lease_of},
    running::Running,
    views::ViewError,
};

/// How long readers of a server may still look at a build that was replaced.
const GRACE: Duration = Duration::from_secs(30);

impl Engine {
    /// Makes the catalogue fit the program, and the log that ended at `head` after builds `stood` like that.
    pub(crate) fn tidy_up_at_start(&mut self, head: Position, stood: &[Build]) -> Result<(), ViewError> {
        let transaction = catalogue::begin(&self.connection)?;
        let mut builds = catalogue::builds(&transaction)?;
        let was_ahead = |build: &Build| stood.iter().any(|then| then.is_same(build) && then.position > head);
        for build in builds.iter_mut().filter(|build| was_ahead(build) && build.replaced_at.is_none()) {
            let Build { projection, position, .. } = &*build;
            tracing::warn!(projection, position, head, "a view is ahead of its log: it is folded anew");
            catalogue::replace(&transaction, build)?;
            build.replaced_at = Some(now());
        }
        for projection in self.views.registry().iter() {
            let ours = |build: &&Build| build.is_of(&**projection) && build.replaced_at.is_none();
            if !builds.iter().any(|build| ours(&build)) {
                catalogue::add(&transaction, &**projection, false)?;
            }
            // What stopped it may have been mended with this program.
            for build in builds.iter().filter(ours).filter(|build| build.health == Health::Outdated) {
                let mended = Build { health: Health::Sound, error: None, ..build.clone() };
                catalogue::advance(&transaction, build, &mended, &[])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Gives builds that have come to `head` to the readers, all at once. Answers whether there
    /// were any.
    pub(crate) fn settle(&mut self, head: Position) -> Result<bool, ViewError> {
        let whole = |running: &Running| running.is(Kind::Building) && running.build.position >= head;
        if !self.running.iter().any(whole) {
            return Ok(false);
        }
        self.finish()?;
        self.index(whole)?;
        let transaction = catalogue::begin(&self.connection)?;
        for running in self.running.iter().filter(|running| whole(running)) {
            if running.build.compare {
                let found = crate::compare::with_live(&transaction, &*running.projection, &running.build)?;
                catalogue::compared(&transaction, &running.build, &found)?;
            }
            catalogue::switch(&transaction, &running.build)?;
        }
        transaction.commit()?;
        self.sync()?;
        Ok(true)
    }

    /// Gives some of the builds that are being built their indexes, if they lack them.
    pub(crate) fn index(&mut self, which: impl Fn(&Running) -> bool) -> Result<(), ViewError> {
        let bare = |running: &Running| running.is(Kind::Building) && !running.build.indexed && which(running);
        if !self.running.iter().any(bare) {
            return Ok(());
        }
        self.finish()?;
        let connection = self.views.connect_to_write()?;
        for running in self.running.iter_mut().filter(|running| bare(running)) {
            let transaction = catalogue::begin(&connection)?;
            catalogue::index(&transaction, &*running.projection, &running.build)?;
            transaction.commit()?;
            running.build.indexed = true;
            running.written.indexed = true;
        }
        Ok(())
    }

    /// Points the plain views at what is live, and removes some of what is of no use any more.
    /// Answers whether there is more to do right now. Whatever is locked is left for the next time.
    pub(crate) fn tidy(&mut self) -> Result<bool, ViewError> {
        self.finish()?;
        let builds = catalogue::builds(&self.connection)?;
        for projection in self.views.registry().iter() {
            let of = |build: &&Build| build.projection == projection.name();
            let newest = builds.iter().filter(of).filter(|build| build.live).max_by_key(|build| build.version);
            let Some(newest) = newest.filter(|build| build.is_of(&**projection)) else { continue };
            if !newest.shown && self.is_ours(newest) {
                let transaction = catalogue::begin(&self.connection)?;
                catalogue::show(&transaction, &**projection, newest)?;
                transaction.commit()?;
                return Ok(true);
            }
            // Its version's last user has gone.
            let old = builds
                .iter()
                .filter(of)
                .find(|build| build.version < newest.version && build.replaced_at.is_none() && newest.shown);
            if let Some(old) = old
                && !lease::is_in_use(&self.connection, &lease_of(&old.projection, old.version))?
            {
                let transaction = catalogue::begin(&self.connection)?;
                catalogue::replace(&transaction, old)?;
                transaction.commit()?;
                return Ok(true);
            }
        }
        let grace = if self.views.is_remote() { GRACE } else { Duration::ZERO };
        let over = now().micros - i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
        let gone = |build: &&Build| !build.shown && build.replaced_at.is_some_and(|at| at.micros <= over);
        let Some(gone) = builds.iter().find(gone) else { return Ok(false) };
        let transaction = catalogue::begin(&self.connection)?;
        catalogue::remove(&transaction, gone)?;
        transaction.commit()?;
        Ok(true)
    }

    fn is_ours(&self, build: &Build) -> bool {
        self.running.iter().any(|running| running.ours && running.build.is_same(build))
    }
}
