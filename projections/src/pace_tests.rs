//! How the runner and the writing thread pace themselves, and what a panic in a fold comes to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use store::{EventStore, Recorded};

use crate::{
    Health, Poison, Projection, Registry, Rows, Runner, TableSpec, Views,
    runner::{GATHER, GATHER_UNAWAITED, gather},
    runner_tests::{confirmed_with_funds, tallies, tally},
    testing::*,
    verify,
};

/// Folds as the tallies do, and panics after an event.
struct Panicking {
    inner: Arc<dyn Projection>,
    at: AtomicU64,
}

impl Projection for Panicking {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn version(&self) -> u32 {
        self.inner.version()
    }

    fn tables(&self) -> &'static [TableSpec] {
        self.inner.tables()
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        self.inner.apply(it, rows)?;
        assert_ne!(it.position, self.at.load(Ordering::Relaxed), "not that one");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_over_which_a_fold_panics_is_parked_and_everything_else_flows_on() {
    let mut world = World::with(&lunch(10)).await;
    let before = world.store.head().await.unwrap();
    world.happen(&confirmed_with_funds(500)).await;
    world.happen(&confirmed_with_funds(501)).await;
    let head = world.store.head().await.unwrap();
    let sound = tallies(1, None);
    let panicking = Arc::new(Panicking { inner: Arc::clone(&sound[0]), at: AtomicU64::new(before + 1) });
    let registry: Registry = Arc::new([Arc::clone(&panicking) as Arc<dyn Projection>, Arc::clone(&sound[1])]);
    let views = Views::in_memory(world.store.identity(), registry).unwrap();
    let mut runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    runner.catch_up().await.unwrap();
    let parked = views.parked(&[]).await.unwrap();
    let of_stream = world.store.read_stream(parked[0].stream_id(), 1, 100).await.unwrap().len();
    assert!(of_stream > 1 && of_stream == parked.len(), "{parked:?}");
    assert_eq!(parked[0].position, before + 1);
    assert!(parked[0].error.contains("the fold panicked") && parked[0].error.contains("not that one"), "{parked:?}");
    assert_eq!(tally(&views).await.unwrap(), (head - parked.len() as u64, head), "what it had half done is taken back");
    assert!(views.builds().await.unwrap().iter().all(|build| build.health == Health::Sound));
    // A program without the fault folds the view anew.
    panicking.at.store(0, Ordering::Relaxed);
    runner.rebuild(&[], false, |_| {}).await.unwrap();
    assert_eq!(tally(&views).await.unwrap(), (head, head));
    assert_eq!(verify(world.store.clone(), &views, |_| {}).await.unwrap().differences, []);
}

#[tokio::test]
async fn events_gather_for_as_long_as_nobody_waits_for_them() {
    let world = World::with(&lunch(1)).await;
    let views = Views::in_memory(world.store.identity(), tallies(1, None)).unwrap();
    // It keeps the views up, but is never told to.
    let _runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    let far = world.store.head().await.unwrap() + 1_000;
    let took = async |views: Views| {
        let began = tokio::time::Instant::now();
        gather(&views).await;
        began.elapsed()
    };
    tokio::time::pause();
    assert!((GATHER_UNAWAITED..2 * GATHER_UNAWAITED).contains(&took(views.clone()).await), "nobody waits");
    let patient = tokio::spawn({
        let views = views.clone();
        async move { views.wait_in_turn(far, Duration::from_secs(3_600)).await }
    });
    assert!(took(views.clone()).await >= GATHER_UNAWAITED, "somebody waits who has time");
    let gathering = tokio::spawn(took(views.clone()));
    tokio::time::sleep(Duration::from_millis(3)).await;
    assert!(!gathering.is_finished());
    let hurried = tokio::spawn({
        let views = views.clone();
        async move { views.wait_for(far, Duration::from_secs(3_600)).await }
    });
    assert!(gathering.await.unwrap() < Duration::from_millis(6), "somebody has begun to wait");
    let awaited = took(views.clone()).await;
    assert!((GATHER..GATHER_UNAWAITED).contains(&awaited), "somebody waits: {awaited:?}");
    hurried.abort();
    assert!(hurried.await.unwrap_err().is_cancelled());
    assert!(took(views.clone()).await >= GATHER_UNAWAITED, "who waited has gone away");
    patient.abort();
}
