//! How long the disk takes to make a small append durable.

use std::{
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// Bytes of an append: a page of the write-ahead log and its frame, rounded up to whole blocks.
const APPEND: [u8; 8192] = [0x5a; 8192];
const MOST: usize = 300;
const FEWEST: usize = 20;
/// A slow disk is asked less often.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// The median of some hundred `fdatasync`s, each after an append of 8 KiB, in `folder`. Blocks for
/// up to two seconds, longer where one sync takes over 75 ms.
pub fn time_of_one_sync(folder: &Path) -> Result<Duration> {
    let whole = || format!("the time of a sync could not be measured in {}", folder.display());
    let mut file = tempfile::tempfile_in(folder).with_context(whole)?;
    let started = Instant::now();
    let mut times = Vec::with_capacity(MOST);
    while times.len() < FEWEST || (times.len() < MOST && started.elapsed() < PATIENCE) {
        file.write_all(&APPEND).with_context(whole)?;
        let before = Instant::now();
        file.sync_data().with_context(whole)?;
        times.push(before.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
