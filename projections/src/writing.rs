//! Writing: the second thread of the fold. A batch's rows and checkpoints are one transaction.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use crate::{
    Build, Parked,
    batch::Kind,
    catalogue,
    db::{Checkpoints, Connection, Mode, TableChanges},
    views::{ViewError, Views},
};

/// What a batch does to one build.
pub(crate) struct BuildWrite {
    pub(crate) before: Build,
    pub(crate) after: Build,
    pub(crate) parked: Vec<Parked>,
    pub(crate) changes: Vec<Box<dyn TableChanges>>,
}

struct Job {
    writes: Vec<BuildWrite>,
    /// Of the catalogue that they were folded by.
    revision: u64,
    done: mpsc::SyncSender<Written>,
}

/// How long it took.
type Written = Result<Duration, ViewError>;

/// A write that was handed over.
pub(crate) struct InFlight {
    /// For which builds.
    pub(crate) kind: Kind,
    answer: mpsc::Receiver<Written>,
}

impl InFlight {
    /// Blocks until it is in the tables, or is not.
    pub(crate) fn wait(self) -> Written {
        self.answer.recv().unwrap_or(Err(ViewError::Stopped))
    }
}

/// The thread. It ends when this is dropped.
pub(crate) struct WritingThread(mpsc::SyncSender<Job>);

impl WritingThread {
    pub(crate) fn start(views: &Views) -> Result<WritingThread, ViewError> {
        let (sender, jobs) = mpsc::sync_channel::<Job>(1);
        let views = views.clone();
        let work = move || {
            let mut connection = None;
            for Job { writes, revision, done } in jobs {
                let began = Instant::now();
                let written = write(&views, &mut connection, writes, revision).map(|()| began.elapsed());
                if written.is_err() {
                    // It may have broken off; the next write gets another.
                    connection = None;
                }
                // Whoever asked may have gone.
                let _ = done.send(written);
                // After the answer, so that the next batch is folded meanwhile.
                if let Some((connection, checkpoints)) = &mut connection {
                    checkpoints.keep_up(connection);
                }
            }
        };
        let thread = std::thread::Builder::new().name("tiffin-views-write".into()).spawn(work);
        thread.map_err(|error| ViewError::Unusable(format!("no thread for the views: {error}")))?;
        Ok(WritingThread(sender))
    }

    pub(crate) fn write(&self, kind: Kind, writes: Vec<BuildWrite>, revision: u64) -> Result<InFlight, ViewError> {
        let (done, answer) = mpsc::sync_channel(1);
        self.0.send(Job { writes, revision, done }).map_err(|_| ViewError::Stopped)?;
        Ok(InFlight { kind, answer })
    }
}

fn write(
    views: &Views,
    connection: &mut Option<(Connection, Checkpoints)>,
    writes: Vec<BuildWrite>,
    revision: u64,
) -> Result<(), ViewError> {
    let (connection, _) = match connection {
        Some(connection) => connection,
        None => {
            let fresh = views.connect_to_write()?;
            let checkpoints = fresh.checkpoints();
            connection.insert((fresh, checkpoints))
        }
    };
    let transaction = if writes.iter().all(|write| write.parked.is_empty()) {
        connection.begin(Mode::Write)?
    } else {
        // Events are parked because of what is parked already. Somebody may have dropped that meanwhile, or
        // would do so while this is written.
        let transaction = catalogue::begin(connection)?;
        if catalogue::revision(&transaction)? != revision {
            return Err(ViewError::Revised);
        }
        transaction
    };
    for BuildWrite { before, after, parked, changes } in writes {
        // First, since it fails when another process has moved the build.
        catalogue::advance(&transaction, &before, &after, &parked)?;
        let suffix = after.suffix();
        for change in &changes {
            transaction.write(&suffix, &**change)?;
        }
    }
    Ok(transaction.commit()?)
}
