//! Measurements, as ratios in one run where that can be: what the product does beside what the
//! plainest loop does on the same disk at the same time.
//!
//! Every run has a tenant of its own, so it may run on a log that holds other things; a figure of
//! an empty log needs an empty folder.

mod asking;
mod bare;
mod bulk;
pub mod commands;
mod company;
mod disk;
pub mod grants;
pub mod http;
mod latency;
pub mod live;
mod load;
mod lunch;
mod memory;
pub mod orders;
pub mod overload;
pub mod rebuild;
mod report;
mod sync;

use std::{path::PathBuf, sync::Arc};

use store::EventStore;

pub use bare::BareLog;
pub use report::Report;
pub use sync::time_of_one_sync;

/// The log that is measured.
#[derive(Clone)]
pub struct Log {
    pub store: Arc<dyn EventStore>,
    /// How often the log has synced since it was opened.
    pub syncs: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Where its files and those of its views lie; none for a log in memory. Scratch files of the
    /// bare loops go there too, since they must be on the same disk, and are removed.
    pub folder: Option<PathBuf>,
    /// The address of the database that the log is in, if it is in one. Scratch databases are made
    /// beside it, and removed.
    pub database: Option<String>,
    /// Told what is being done, once a stage.
    pub tell: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Log {
    /// Where the bare loops write.
    fn scratch(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(std::env::temp_dir)
    }
}
