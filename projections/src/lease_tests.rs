//! Processes that stand still while they keep the views up, or while they change the catalogue.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use store::EventStore;
use testing::Postgres;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Runner, SqlError, TableSpec, Views, balances,
    catalogue::{self, Build},
    db::{Connection, EachRow, Mode, SortedChanges, TableChanges, Transaction},
    lease::{self, LEASE, lease_of},
    testing::*,
};

/// How long the views may stand when whoever keeps them up has stopped: a lease, and what a slow machine adds.
const TAKEN_OVER: Duration = Duration::from_secs(20);
/// How long a change of the catalogue may wait for one that stands still.
const GIVEN_UP: Duration = Duration::from_secs(15);

/// Two processes on the views of a lunch, whole up to its end; nobody has a lease.
struct Place {
    world: World,
    stopped: Views,
    other: Views,
}

impl Place {
    async fn new() -> Place {
        let world = World::with(&lunch(5)).await;
        let url = Postgres::shared().database();
        let open = async || Views::open_postgres(&url, world.store.identity(), crate::all()).await.unwrap();
        let (stopped, other) = (open().await, open().await);
        let stop = CancellationToken::new();
        let runner = Runner::open(world.store.clone(), stopped.clone()).await.unwrap();
        let running = tokio::spawn(runner.run(stop.clone()));
        stopped.wait_for(world.store.head().await.unwrap(), Duration::from_secs(60)).await.unwrap();
        stop.cancel();
        running.await.unwrap().unwrap();
        Place { world, stopped, other }
    }

    /// Something happens when the other process begins to run: when that was, and when the views showed it.
    async fn shown(&mut self) -> [Instant; 2] {
        let began = Instant::now();
        let stop = CancellationToken::new();
        let runner = Runner::open(self.world.store.clone(), self.other.clone()).await.unwrap();
        let running = tokio::spawn(runner.run(stop.clone()));
        self.world.happen(&[funded(500), confirmed(500)].concat()).await;
        let head = self.world.store.head().await.unwrap();
        self.other.wait_for(head, Duration::from_secs(60)).await.unwrap();
        let shown = Instant::now();
        stop.cancel();
        running.await.unwrap().unwrap();
        let report = crate::verify(self.world.store.clone(), &self.other, |_| {}).await.unwrap();
        assert_eq!(report.differences, []);
        [began, shown]
    }
}

fn hold_all(connection: &Connection, holder: Uuid) {
    let now = lease::moment(connection).unwrap();
    for projection in crate::all().iter() {
        let name = lease_of(projection.name(), projection.version());
        assert!(lease::hold(connection, &name, holder, LEASE, now).unwrap());
    }
}

/// Runs on a thread on which one may wait, as a process that has all leases.
fn as_holder<T: Send + 'static>(
    views: &Views,
    work: impl FnOnce(&Connection) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let views = views.clone();
    let (held, all_held) = mpsc::channel();
    let working = thread::spawn(move || {
        let connection = views.connect().unwrap();
        hold_all(&connection, views.process());
        held.send(()).unwrap();
        work(&connection)
    });
    all_held.recv().unwrap();
    working
}

fn live(connection: &Connection, projection: &str) -> Build {
    let builds = catalogue::builds(connection).unwrap();
    builds.into_iter().find(|build| build.live && build.projection == projection).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_vanishes_is_replaced_when_its_lease_has_run_out() {
    let mut place = Place::new().await;
    let before = Instant::now();
    as_holder(&place.stopped, |_| ()).join().unwrap();
    let [began, shown] = place.shown().await;
    assert!(shown - began < TAKEN_OVER, "{:?}", shown - began);
    // No sooner, or one that is merely slow would lose it.
    assert!(shown - before >= LEASE - Duration::from_millis(100), "{:?}", shown - before);
}

/// One stops amid a transaction that it has begun, with all leases: another takes over as soon, and what
/// it has begun does not count.
async fn is_replaced_amid(
    work: impl FnOnce(&Transaction<'_>, mpsc::Receiver<()>) -> Result<(), SqlError> + Send + 'static,
) {
    let mut place = Place::new().await;
    let (go_on, wait) = mpsc::channel::<()>();
    let writing = as_holder(&place.stopped, move |connection| {
        let transaction = connection.begin(Mode::Write)?;
        work(&transaction, wait)?;
        transaction.commit()
    });
    let [began, shown] = place.shown().await;
    assert!(shown - began < TAKEN_OVER, "{:?}", shown - began);
    drop(go_on);
    assert!(writing.join().unwrap().is_err());
}

fn advance(connection: &Connection, projection: &str) {
    let build = live(connection, projection);
    catalogue::advance(connection, &build, &build, &[]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stops_amid_a_write_is_replaced_as_soon() {
    is_replaced_amid(|transaction, wait| {
        crate::all().iter().for_each(|projection| advance(transaction, projection.name()));
        let _ = wait.recv();
        Ok(())
    })
    .await;
}

/// Rows that are sent when somebody says so.
struct Slow(Mutex<mpsc::Receiver<()>>);

impl TableChanges for Slow {
    fn table(&self) -> &'static TableSpec {
        use crate::Projection;
        &balances::Balances.tables()[0]
    }

    fn sorted(&self) -> Box<dyn SortedChanges + '_> {
        Box::new(self)
    }
}

impl SortedChanges for &Slow {
    fn counts(&self) -> (usize, usize, usize) {
        // So many that they are copied.
        (100_000, 0, 0)
    }

    fn inserts(&self, _: &mut EachRow<'_>) -> Result<(), SqlError> {
        let _ = self.0.lock().unwrap().recv();
        Ok(())
    }

    fn puts(&self, _: &mut EachRow<'_>) -> Result<(), SqlError> {
        Ok(())
    }

    fn deletes(&self, _: &mut EachRow<'_>) -> Result<(), SqlError> {
        Ok(())
    }
}

/// There the server waits for more rows, which it does without bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stops_amid_a_copy_is_replaced_as_soon() {
    is_replaced_amid(|transaction, wait| {
        advance(transaction, "balances");
        transaction.write(&live(transaction, "balances").suffix(), &Slow(Mutex::new(wait)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stops_amid_a_change_of_the_catalogue_does_not_stop_the_others() {
    let place = Place::new().await;
    let (begun, has_begun) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let stopped = place.stopped.clone();
    let changing = thread::spawn(move || {
        let connection = stopped.connect().unwrap();
        let transaction = catalogue::begin(&connection)?;
        begun.send(()).unwrap();
        let _ = wait.recv();
        transaction.commit()
    });
    has_begun.recv().unwrap();
    let began = Instant::now();
    place.other.set_paused(&[], true).await.unwrap();
    assert!(began.elapsed() < GIVEN_UP, "{:?}", began.elapsed());
    drop(go_on);
    assert!(changing.join().unwrap().is_err());
}

/// As amid a long write, or an index on much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_busy_for_longer_than_its_lease_keeps_it() {
    let place = Place::new().await;
    let runner = Runner::open(place.world.store.clone(), place.stopped.clone()).await.unwrap();
    let other = place.other.clone();
    let asking = thread::spawn(move || {
        let connection = other.connect().unwrap();
        sleep(LEASE + Duration::from_secs(1));
        let now = lease::moment(&connection).unwrap();
        lease::throw_out_expired(&connection, other.process(), now);
        let name = lease_of("balances", balances_version());
        lease::hold(&connection, &name, other.process(), LEASE, now).unwrap()
    });
    assert!(!tokio::task::spawn_blocking(|| asking.join().unwrap()).await.unwrap());
    drop(runner);
    let _: Arc<dyn EventStore> = place.world.store;
}

fn balances_version() -> u32 {
    use crate::Projection;
    balances::Balances.version()
}
