//! Which views lack something: what answers warn of, without asking the views each time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use projections::Views;
use tokio::time::Instant;

/// How long what was found is passed on before the views are asked again.
const FRESH: Duration = Duration::from_secs(1);
/// How long an answer waits for the views to say it. Shorter than [`FRESH`], so that at most one
/// answer waits at a time.
const PATIENCE: Duration = Duration::from_millis(500);

type Names = Arc<[&'static str]>;

/// The names of incomplete views, at most about a second old.
pub(crate) struct Incomplete {
    views: Views,
    /// Nothing before the views were asked for the first time.
    known: Mutex<Option<Known>>,
}

struct Known {
    names: Names,
    asked: Instant,
}

impl Incomplete {
    pub(crate) fn new(views: Views) -> Self {
        Incomplete { views, known: Mutex::new(None) }
    }

    /// Empty when every view is whole. What was known before stays when the views do not answer.
    pub(crate) async fn names(&self) -> Names {
        if let Some(names) = self.fresh() {
            return names;
        }
        let found = match tokio::time::timeout(PATIENCE, self.views.incomplete_views()).await {
            Ok(Ok(found)) => Some(found.into()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "whether the views are whole cannot be read");
                None
            }
            Err(_) => {
                tracing::warn!("the views do not say in time whether they are whole");
                None
            }
        };
        let mut known = self.lock();
        let names: Names = found.or_else(|| Some(Arc::clone(&known.as_ref()?.names))).unwrap_or_default();
        *known = Some(Known { names: Arc::clone(&names), asked: Instant::now() });
        names
    }

    /// What is known, unless it is for the caller to ask. Of many only one is told to, once there is
    /// something to tell the others meanwhile.
    fn fresh(&self) -> Option<Names> {
        let mut known = self.lock();
        let known = known.as_mut()?;
        if known.asked.elapsed() >= FRESH {
            known.asked = Instant::now();
            return None;
        }
        Some(Arc::clone(&known.names))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
