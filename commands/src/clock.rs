//! The one seam for time, ids and randomness: with a manual clock and seeded ids a whole lunch
//! runs the same way twice.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use domain::Timestamp;
use uuid::Uuid;

pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> Timestamp;

    /// How far the machine's wall clock has departed from [`Clock::now`], in milliseconds.
    fn departure_ms(&self) -> i64 {
        0
    }
}

/// Wall time at start, and from then on the monotonic clock: a wall clock that is set back or
/// forward while the service runs does not reorder business time.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    wall_at_start: i64,
}

impl SystemClock {
    pub fn start() -> Self {
        SystemClock { started: Instant::now(), wall_at_start: wall_micros() }
    }
}

/// How far a test has the wall clock of a debug build run ahead, so that it need not wait for a midnight:
/// `TIFFIN_CLOCK_AHEAD`, in seconds.
#[cfg(debug_assertions)]
fn ahead_micros() -> i64 {
    static AHEAD: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let said = || std::env::var("TIFFIN_CLOCK_AHEAD").ok()?.parse::<i64>().ok();
    *AHEAD.get_or_init(|| said().unwrap_or_default().saturating_mul(1_000_000))
}

#[cfg(not(debug_assertions))]
fn ahead_micros() -> i64 {
    0
}

fn wall_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX).saturating_add(ahead_micros())
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.wall_at_start.saturating_add(elapsed))
    }

    fn departure_ms(&self) -> i64 {
        (wall_micros() - self.now().micros) / 1_000
    }
}

/// Stands still until it is set. For tests and for replaying history at its own time.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        ManualClock(AtomicI64::new(now.micros))
    }

    pub fn set(&self, now: Timestamp) {
        self.0.store(now.micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

pub trait IdSource: Send + Sync + 'static {
    /// A new UUIDv7 for the instant `at`.
    fn next(&self, at: Timestamp) -> Uuid;
}

/// From the operating system's randomness.
#[derive(Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next(&self, at: Timestamp) -> Uuid {
        let random = Uuid::new_v4().into_bytes();
        uuid_v7(at, &random)
    }
}

/// The same ids again for the same seed.
#[derive(Debug)]
pub struct SeededIds(Mutex<u64>);

impl SeededIds {
    pub fn new(seed: u64) -> Self {
        SeededIds(Mutex::new(seed))
    }
}

impl IdSource for SeededIds {
    fn next(&self, at: Timestamp) -> Uuid {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random = [0; 16];
        random[..8].copy_from_slice(&splitmix64(&mut state).to_le_bytes());
        random[8..].copy_from_slice(&splitmix64(&mut state).to_le_bytes());
        uuid_v7(at, &random)
    }
}

fn uuid_v7(at: Timestamp, random: &[u8; 16]) -> Uuid {
    let millis = u64::try_from(at.micros / 1_000).unwrap_or(0);
    let mut tail = [0; 10];
    tail.copy_from_slice(&random[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

/// By how much the state of SplitMix64 grows with each number.
pub(crate) const SPLITMIX_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Sebastiano Vigna's SplitMix64, public domain.
pub(crate) fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(SPLITMIX_STEP);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
