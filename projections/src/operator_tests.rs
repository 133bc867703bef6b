//! What an operator changes while a batch is being folded stands, over a file and over a real Postgres.

use std::sync::{Arc, Mutex, mpsc};

use domain::order;
use store::{EventStore, Recorded};
use testing::Postgres;

use crate::{
    Build, Health, Poison, Projection, Registry, Rows, Runner, TableSpec, Views,
    runner_tests::{confirmed_with_funds, tallies, tally},
    testing::*,
};

/// A fold that can be held up.
#[derive(Default)]
struct Gate(Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>);

/// Counts every event but those that are poison, and stops at the next event when its gate is shut.
struct Gated {
    inner: Registry,
    gate: Arc<Gate>,
}

impl Projection for Gated {
    fn name(&self) -> &'static str {
        self.inner[0].name()
    }

    fn version(&self) -> u32 {
        self.inner[0].version()
    }

    fn tables(&self) -> &'static [TableSpec] {
        self.inner[0].tables()
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        if let Some((begun, go_on)) = self.gate.0.lock().unwrap().take() {
            begun.send(()).unwrap();
            go_on.recv().unwrap();
        }
        self.inner[0].apply(it, rows)
    }
}

/// A lunch whose views are whole, and a runner on them.
struct Place {
    world: World,
    views: Views,
    gate: Arc<Gate>,
    runner: Runner,
}

impl Place {
    /// The first event after the lunch is poison if there is to be any. Once in a file and once on a server.
    async fn each(poison: bool) -> Vec<Place> {
        let mut places = Vec::new();
        for remote in [false, true] {
            let world = World::with(&lunch(3)).await;
            let head = world.store.head().await.unwrap();
            let gate = Arc::new(Gate::default());
            let inner = tallies(1, poison.then_some(head + 1));
            let registry: Registry = Arc::new([Arc::new(Gated { inner, gate: gate.clone() }) as Arc<dyn Projection>]);
            let identity = world.store.identity();
            let views = match remote {
                false => Views::in_memory(identity, registry).unwrap(),
                true => Views::open_postgres(&Postgres::shared().database(), identity, registry).await.unwrap(),
            };
            let mut runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
            runner.catch_up().await.unwrap();
            places.push(Place { world, views, gate, runner });
        }
        places
    }

    /// Folds what has happened. `change` is made, and answered, amid the fold of the first batch.
    async fn catch_up_during(&mut self, change: impl Future<Output = ()>) {
        let (begun, has_begun) = mpsc::channel();
        let (go_on, wait) = mpsc::channel();
        *self.gate.0.lock().unwrap() = Some((begun, wait));
        let changing = async {
            tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
            change.await;
            go_on.send(()).unwrap();
        };
        let (caught_up, ()) = tokio::join!(self.runner.catch_up(), changing);
        caught_up.unwrap();
    }

    async fn build(&self) -> Build {
        self.views.builds().await.unwrap().remove(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_amid_a_batch_stands() {
    for mut place in Place::each(false).await {
        place.world.happen(&confirmed_with_funds(500)).await;
        let during = place.world.store.head().await.unwrap();
        let views = place.views.clone();
        place.catch_up_during(async { views.set_paused(&[], true).await.unwrap() }).await;
        place.world.happen(&confirmed_with_funds(501)).await;
        place.runner.catch_up().await.unwrap();
        let build = place.build().await;
        assert_eq!((build.health, build.position), (Health::Paused, during));
        views.set_paused(&[], false).await.unwrap();
        let head = place.runner.catch_up().await.unwrap();
        assert_eq!(tally(&views).await.unwrap(), (head, head));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_amid_a_batch_that_meets_a_newer_event_stands() {
    for mut place in Place::each(false).await {
        place.world.happen(&confirmed_with_funds(500)).await;
        let sound = place.world.store.head().await.unwrap();
        place.world.happen_raw(&ordered(500, order::Event::Confirmed), 99, br#""Confirmed""#).await;
        let views = place.views.clone();
        place.catch_up_during(async { views.set_paused(&[], true).await.unwrap() }).await;
        let build = place.build().await;
        assert_eq!((build.health, build.error, build.position), (Health::Paused, None, sound));
        views.set_paused(&[], false).await.unwrap();
        place.runner.catch_up().await.unwrap();
        let build = place.build().await;
        assert_eq!((build.health, build.error.is_some(), build.position), (Health::Outdated, true, sound));
    }
}

/// Drops what is parked while a batch with other events, or with more of the same stream, is being folded.
async fn is_dropped_during(events: &[domain::Fact]) {
    for mut place in Place::each(true).await {
        place.world.happen(&confirmed_with_funds(500)).await;
        place.runner.catch_up().await.unwrap();
        let parked = place.views.parked(&[]).await.unwrap();
        assert!(!parked.is_empty());
        place.world.happen(events).await;
        let (views, stream) = (place.views.clone(), parked[0].stream_id());
        let drop = async { views.drop_parked("tallies", stream, "a test's own", "ops").await.map(|_| ()).unwrap() };
        place.catch_up_during(drop).await;
        let build = place.build().await;
        assert_eq!((build.parked, build.incomplete_since, build.health), (0, None, Health::Sound));
        assert_eq!(views.parked(&[]).await.unwrap(), []);
        let head = place.world.store.head().await.unwrap();
        assert_eq!(tally(&views).await.unwrap(), (head - parked.len() as u64, head));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_amid_a_batch_is_dropped() {
    is_dropped_during(&confirmed_with_funds(501)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_dropped_amid_a_batch_with_more_of_it_flows_again() {
    is_dropped_during(&[confirmed_with_funds(501), funded(500)[1..].to_vec()].concat()).await;
}
