//! How far long work has come: a bar on a terminal, lines over the admin socket.

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

/// Work that ends sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far a piece of work has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done, such as "importing orders".
    pub doing: String,
    pub done: u64,
    /// Of how many, if that is known.
    pub total: Option<u64>,
}

impl Progress {
    pub fn new(doing: impl Into<String>, done: u64, total: Option<u64>) -> Self {
        Progress { doing: doing.into(), done, total }
    }
}

/// Takes word of progress. It may be called often: whoever takes it thins it out.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// A bar on stderr, if that is a terminal and the work takes over a second.
pub struct Bar {
    started: Instant,
    shown: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bar {
    pub fn new() -> Self {
        Bar { started: Instant::now(), shown: std::io::stderr().is_terminal(), bar: Mutex::new(None) }
    }

    pub fn show(&self, progress: Progress) {
        if !self.shown || self.started.elapsed() < PATIENCE {
            return;
        }
        let mut bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bar.get_or_insert_with(|| ProgressBar::new(0));
        if bar.length() != Some(progress.total.unwrap_or(0)) || bar.position() == 0 {
            let style = match progress.total {
                Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} ({per_sec}, {eta} left)",
                None => "{msg} {spinner} {human_pos} ({per_sec})",
            };
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
        }
        bar.set_message(progress.doing);
        bar.set_length(progress.total.unwrap_or(0));
        bar.set_position(progress.done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get_mut().unwrap_or_else(PoisonError::into_inner) {
            bar.finish_and_clear();
        }
    }
}
