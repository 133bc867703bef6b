//! Follows an issuer's keys as it changes them: read in turn, and once more when a token names a key
//! that is not known, but never more often than the pace allows.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    IdentityError,
    jwks::Keys,
    source::{JwksSource, Reader},
};

/// Most requests that wait for keys to be read; more are told to come again.
const WAITING: usize = 256;

/// When an issuer's keys are read again.
#[derive(Clone, Copy, Debug)]
pub struct Refresh {
    /// In turn; so long does a key that the issuer has withdrawn stay good at most.
    pub every: Duration,
    /// In turn after a failure.
    pub retry: Duration,
    /// Never sooner than this after the last time, whatever tokens name.
    pub pace: Duration,
    /// How long known keys stay good while the issuer cannot be reached.
    pub good_for: Duration,
    /// How long the issuer may take to answer.
    pub patience: Duration,
}

impl Default for Refresh {
    fn default() -> Self {
        Refresh {
            every: Duration::from_secs(300),
            retry: Duration::from_secs(30),
            pace: Duration::from_secs(10),
            good_for: Duration::from_secs(12 * 3_600),
            patience: Duration::from_secs(5),
        }
    }
}

/// What is known of an issuer's keys.
struct Known {
    keys: Arc<Keys>,
    /// When they were last read whole.
    read: Instant,
    /// When reading them was last begun.
    tried: Instant,
    /// Counts the times that reading them was over, well or badly.
    tries: u64,
    is_reading: bool,
    has_failed: bool,
}

/// An issuer's keys, kept fresh by a task that ends with this.
pub(super) struct Followed {
    known: watch::Receiver<Known>,
    wanted: Arc<Notify>,
    waiting: Semaphore,
    refresh: Refresh,
    _task: DropGuard,
}

impl Followed {
    /// Reads the keys for the first time. That they cannot be read, or that none can be used, is an
    /// error: a server that takes no token serves nobody.
    pub(super) async fn start(source: &JwksSource, refresh: Refresh) -> Result<Followed, IdentityError> {
        let broken = |why| IdentityError::Keys { source_name: source.to_string(), why };
        let reader = Reader::of(source).await.map_err(broken)?;
        let tried = Instant::now();
        let text = reader.read(refresh.patience).await.map_err(broken)?;
        let keys = Keys::read(&text).map_err(broken)?;
        if keys.len() == 0 {
            return Err(broken("it has no key for RS256, ES256 or EdDSA that can be used".to_owned()));
        }
        tracing::info!(%source, keys = keys.len(), "the issuer's keys are known");
        let known =
            Known { keys: Arc::new(keys), read: Instant::now(), tried, tries: 0, is_reading: false, has_failed: false };
        let (sender, receiver) = watch::channel(known);
        let wanted = Arc::new(Notify::new());
        let stop = CancellationToken::new();
        let task = Task { source: source.clone(), reader, refresh, known: sender, wanted: Arc::clone(&wanted) };
        tokio::spawn(stop.clone().run_until_cancelled_owned(task.run()));
        let waiting = Semaphore::new(WAITING);
        Ok(Followed { known: receiver, wanted, waiting, refresh, _task: stop.drop_guard() })
    }

    /// The keys, while they are good.
    pub(super) fn current(&self) -> Result<Arc<Keys>, IdentityError> {
        let known = self.known.borrow();
        if known.read.elapsed() > self.refresh.good_for {
            return Err(IdentityError::Unavailable("the issuer has not been reached for too long"));
        }
        // It withdrew all that there were, or a mistake was made there: nobody is told that a token is wrong.
        if known.keys.len() == 0 {
            return Err(IdentityError::Unavailable("the issuer has no key that can be used"));
        }
        Ok(Arc::clone(&known.keys))
    }

    /// Waits until the keys were read once more, unless that was done a moment ago.
    pub(super) async fn refreshed(&self) -> Result<(), IdentityError> {
        let mut known = self.known.clone();
        let (tries, is_reading) = {
            let known = known.borrow();
            if !known.is_reading && known.tried.elapsed() < self.refresh.pace {
                return Ok(());
            }
            (known.tries, known.is_reading)
        };
        let Ok(_room) = self.waiting.try_acquire() else {
            return Err(IdentityError::Unavailable("too many wait for the issuer's keys"));
        };
        if !is_reading {
            self.wanted.notify_one();
        }
        // Whoever waits in vain is answered from the keys that are known.
        let read = known.wait_for(|known| known.tries > tries);
        let _ = tokio::time::timeout(self.refresh.patience + Duration::from_secs(1), read).await;
        Ok(())
    }
}

/// Reads the keys: nobody else does after the start, so that the pace holds.
struct Task {
    source: JwksSource,
    reader: Reader,
    refresh: Refresh,
    known: watch::Sender<Known>,
    wanted: Arc<Notify>,
}

impl Task {
    async fn run(self) {
        loop {
            let next = {
                let known = self.known.borrow();
                known.tried + if known.has_failed { self.refresh.retry } else { self.refresh.every }
            };
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.wanted.notified() => {}
            }
            // Two may have wanted what one reading brought.
            let tried = self.known.borrow().tried;
            if tried.elapsed() >= self.refresh.pace {
                self.read().await;
            }
        }
    }

    async fn read(&self) {
        self.known.send_modify(|known| {
            known.tried = Instant::now();
            known.is_reading = true;
        });
        let text = self.reader.read(self.refresh.patience).await;
        let keys = text.and_then(|text| Keys::read(&text));
        match &keys {
            // None at all is taken as well: an issuer may withdraw every key.
            Ok(keys) if keys.len() == 0 => {
                tracing::warn!(source = %self.source, "the issuer has no key that can be used")
            }
            Ok(keys) => tracing::debug!(source = %self.source, keys = keys.len(), "the issuer's keys were read again"),
            Err(why) => {
                let seconds_old = self.known.borrow().read.elapsed().as_secs();
                let good_for = self.refresh.good_for.as_secs();
                tracing::warn!(source = %self.source, why, seconds_old, good_for, "the issuer's keys cannot be read; the known ones are used");
            }
        }
        self.known.send_modify(|known| {
            known.is_reading = false;
            known.tries += 1;
            known.has_failed = keys.is_err();
            if let Ok(keys) = keys {
                known.keys = Arc::new(keys);
                known.read = Instant::now();
            }
        });
    }
}
