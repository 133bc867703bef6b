//! Whether this node's clock lets it serve.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use domain::Timestamp;
use tokio::sync::Notify;

use crate::Clock;

/// A clock further than this from another takes the node out of service, in milliseconds.
const MAX_DEPARTURE_MS: i64 = 1_000;

/// What the node knows of its clock and the log's.
pub(crate) struct Standing {
    /// Whether the log was read.
    known: AtomicBool,
    told: Notify,
    /// By how much this machine's clock is ahead of the log's, in milliseconds.
    log_departure_ms: AtomicI64,
    /// When the log took the last event that another node, or this one before its start, wrote, in microseconds.
    recorded_at: AtomicI64,
}

impl Standing {
    pub(crate) fn new() -> Self {
        Standing {
            known: AtomicBool::new(false),
            told: Notify::new(),
            log_departure_ms: AtomicI64::new(0),
            recorded_at: AtomicI64::new(i64::MIN),
        }
    }

    pub(crate) fn set_log_departure(&self, milliseconds: i64) {
        self.log_departure_ms.store(milliseconds, Ordering::Relaxed);
    }

    /// Notes when the log took an event.
    pub(crate) fn saw(&self, recorded_at: Timestamp) {
        self.recorded_at.fetch_max(recorded_at.micros, Ordering::Relaxed);
    }

    /// Says that what the log held at the start has been seen.
    pub(crate) fn is_known(&self) {
        self.known.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    /// Whether the clocks agree; if not, why the node does not serve. Waits, for `patience` at most,
    /// until the log was read once.
    pub(crate) async fn check(&self, clock: &dyn Clock, patience: Duration) -> Result<(), String> {
        if !self.known.load(Ordering::Acquire) && tokio::time::timeout(patience, self.wait()).await.is_err() {
            return Err("its log has not answered yet; try again in a moment".to_owned());
        }
        let departure = clock.departure_ms();
        if departure.abs() > MAX_DEPARTURE_MS {
            return Err(format!("the machine's clock was set {departure} ms away from the service's; restart it"));
        }
        let departure = self.log_departure_ms.load(Ordering::Relaxed);
        if departure.abs() > MAX_DEPARTURE_MS {
            let why = format!("the machine's clock is {departure} ms ahead of the log's; set both by the same time");
            return Err(why);
        }
        let recorded_at = self.recorded_at.load(Ordering::Relaxed);
        let ahead_ms = recorded_at.saturating_sub(clock.now().micros) / 1_000;
        if ahead_ms > MAX_DEPARTURE_MS {
            return Err(format!(
                "the log's last event was recorded {ahead_ms} ms after the machine's time; set the clock of this \
                 machine, or of the one that wrote it"
            ));
        }
        Ok(())
    }

    async fn wait(&self) {
        loop {
            let told = self.told.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.known.load(Ordering::Acquire) {
                return;
            }
            told.await;
        }
    }
}
