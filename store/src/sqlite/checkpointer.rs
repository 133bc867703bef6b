//! Moves the write-ahead log into the file while the writer goes on: a checkpoint of many pages takes as long as
//! dozens of commits, and nobody should wait for it.
//!
//! What was committed meanwhile is left for the writer, who moves the little that it is, syncs the file and begins
//! the write-ahead log from its front again. SQLite syncs the file only when nothing was committed meanwhile, which
//! under load is never, so the writer's sync is of all that was moved: few pages at a time keep it short. A file
//! handle of our own would not do for a sync: closing it gives up all of the process's locks on the file.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, config::DbConfig};

use super::{folder::Folder, spawn, writer::failed_sync};
use crate::StoreError;

/// How long the writer's connection waits for a lock.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long it waits for readers to let go of the write-ahead log: nothing is written meanwhile.
const READERS_PATIENCE: Duration = Duration::from_millis(20);

/// How far it has come with what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// Nothing to do.
    Idle,
    Running,
    /// Most is done; the rest is the writer's.
    Done,
    /// The disk failed to sync.
    FailedSync,
}

pub(super) struct Checkpointer {
    stage: Arc<AtomicU8>,
    /// Whether a sync has failed here or in the writer: for good.
    failed: Arc<AtomicBool>,
    /// None when it is told to end.
    due: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    pub(super) fn start(folder: &Folder) -> Result<Self, StoreError> {
        let conn = folder.open_checkpointer()?;
        let stage = Arc::new(AtomicU8::new(Stage::Idle as u8));
        let (due, told) = sync_channel::<()>(1);
        let failed = Arc::new(AtomicBool::new(false));
        let (shown, has_failed) = (Arc::clone(&stage), Arc::clone(&failed));
        let work = move || {
            while told.recv().is_ok() {
                let stage = checkpoint(&conn, "PASSIVE");
                if stage == Stage::FailedSync {
                    has_failed.store(true, Ordering::Release);
                }
                shown.store(stage as u8, Ordering::Release);
            }
            if has_failed.load(Ordering::Acquire) {
                keep_write_ahead_log(&conn);
            }
        };
        Ok(Checkpointer { stage, failed, due: Some(due), thread: Some(spawn("tiffin-checkpoint", work)?) })
    }

    pub(super) fn stage(&self) -> Stage {
        if self.failed.load(Ordering::Acquire) {
            return Stage::FailedSync;
        }
        let stages = [Stage::Idle, Stage::Running, Stage::Done, Stage::FailedSync];
        let stage = self.stage.load(Ordering::Acquire);
        stages.into_iter().find(|one| *one as u8 == stage).unwrap_or(Stage::Idle)
    }

    /// Tells it to begin. One that has ended is taken as done: the writer then does all of it.
    pub(super) fn begin(&self) {
        self.stage.store(Stage::Running as u8, Ordering::Release);
        if self.due.as_ref().is_none_or(|due| due.try_send(()).is_err()) {
            self.stage.store(Stage::Done as u8, Ordering::Release);
        }
    }

    /// Takes note that a sync has failed elsewhere.
    pub(super) fn failed(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Takes note that the writer has done the rest.
    pub(super) fn finished(&self) {
        self.stage.store(Stage::Idle as u8, Ordering::Release);
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.due = None;
        // It says in the log what went wrong with it.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// After a failed sync the write-ahead log may hold the only copy that is surely whole: whoever closes the file last
/// must not move it and remove it.
pub(super) fn keep_write_ahead_log(conn: &Connection) {
    if let Err(error) = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::error!(%error, "the write-ahead log may go with this process");
    }
}

/// A checkpoint that fails is tried again with the next; only a failed sync is for good.
pub(super) fn checkpoint(conn: &Connection, mode: &str) -> Stage {
    match conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())) {
        Ok(()) => Stage::Done,
        Err(error) => {
            tracing::warn!(%error, "a checkpoint failed");
            if failed_sync(&error) { Stage::FailedSync } else { Stage::Done }
        }
    }
}

/// A checkpoint after which the write-ahead log begins anew. Readers that hold it are waited for a moment only.
pub(super) fn begin_anew(conn: &Connection) -> Stage {
    let patience = |patience| {
        if let Err(error) = conn.busy_timeout(patience) {
            tracing::warn!(%error, "the log's patience with its readers stays as it is");
        }
    };
    patience(READERS_PATIENCE);
    let stage = checkpoint(conn, "RESTART");
    patience(PATIENCE);
    stage
}
