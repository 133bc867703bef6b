//! The runner over a real file: checkpoints, versions, rebuilds, poison, and what verify finds.

use std::{path::Path, sync::Arc, time::Duration};

use domain::{Fact, TenantId, order};
use rusqlite::Connection;
use store::{EventStore, LogIdentity, Recorded};
use tokio_util::sync::CancellationToken;

use crate::{
    Build, Health, PageSize, Poison, Projection, Registry, Row, Rows, Runner, Stale, TableSpec, ViewError, Views, args,
    balances, dashboard, diner_orders, engine_thread::EngineThread, kitchen_board, menu, row, testing::*, verify,
};

row! {
    /// How many events a tenant has.
    struct Tally in "tally" {
        key { tenant: TenantId }
        events: u64,
    }
}

/// Counts every event; with a poison it refuses one after it has counted it.
struct Tallies {
    version: u32,
    poison: Option<u64>,
}

impl Projection for Tallies {
    fn name(&self) -> &'static str {
        "tallies"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn tables(&self) -> &'static [TableSpec] {
        &[Tally::TABLE]
    }

    fn apply(&self, it: &Recorded, rows: &mut Rows) -> Result<(), Poison> {
        let tally = rows.get_or_insert_with(&(it.tenant,), || Tally { tenant: it.tenant, events: 0 });
        // A version counts in steps of its own number.
        tally.events += u64::from(self.version);
        if self.poison == Some(it.position) { Err(Poison("bitter".into())) } else { Ok(()) }
    }
}

pub(crate) fn tallies(version: u32, poison: Option<u64>) -> Registry {
    Arc::new([Arc::new(Tallies { version, poison }) as Arc<dyn Projection>, Arc::new(balances::Balances)])
}

pub(crate) async fn tally(views: &Views) -> Result<(u64, u64), ViewError> {
    views
        .read(|snapshot| {
            let row = snapshot.fetch_one::<Tally>("WHERE tenant = ?1", args![tenant()])?;
            Ok((row.map_or(0, |row| row.events), snapshot.position()))
        })
        .await
}

async fn caught_up(store: &World, views: &Views) -> Runner {
    let mut runner = Runner::open(store.store.clone(), views.clone()).await.unwrap();
    runner.catch_up().await.unwrap();
    runner
}

async fn differences(world: &World, views: &Views) -> Vec<crate::Difference> {
    verify(world.store.clone(), views, |_| {}).await.unwrap().differences
}

fn build<'a>(builds: &'a [Build], name: &str) -> &'a Build {
    builds.iter().find(|build| build.projection == name).unwrap()
}

/// Everything with this name that stands in the file.
fn in_file(folder: &Path, name: &str) -> Vec<String> {
    let connection = Connection::open(folder.join("views.sqlite")).unwrap();
    let sql = "SELECT type || ' ' || name FROM sqlite_schema WHERE name LIKE ?1 AND type <> 'index' ORDER BY 1";
    let mut statement = connection.prepare(sql).unwrap();
    let names = statement.query_map([format!("{name}%")], |row| row.get(0)).unwrap();
    names.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_lunch_is_read_back_through_every_view() {
    let world = World::with(&lunch(35)).await;
    let views = Views::in_memory(world.store.identity(), crate::all()).unwrap();
    let mut runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    assert_eq!(runner.catch_up().await.unwrap(), world.store.head().await.unwrap());

    let day = jiff::civil::date(2026, 11, 23);
    let page = PageSize::clamped(10);
    let servings = menu::servings_on(&views, tenant(), Some(canteen()), day, None, page).await.unwrap();
    assert_eq!(servings.len(), 1);
    assert!(menu::servings_on(&views, tenant(), None, day.tomorrow().unwrap(), None, page).await.unwrap().is_empty());
    let today = menu::serving_menu(&views, tenant(), serving_id()).await.unwrap().unwrap();
    assert_eq!(today.offers.iter().map(|offer| offer.reserved).collect::<Vec<_>>(), [24, 48]);
    assert_eq!(menu::canteens(&views, tenant(), None, page).await.unwrap().len(), 1);
    let dishes = menu::dishes(&views, tenant(), canteen(), Some(rice()), page).await.unwrap();
    assert_eq!(dishes.iter().map(|dish| dish.dish).collect::<Vec<_>>(), [soup()]);

    let board = kitchen_board::of_serving(&views, tenant(), serving_id(), None, page).await.unwrap();
    assert_eq!(board, []);
    let mut placed = Vec::new();
    while let next =
        diner_orders::of_day(&views, tenant(), Some(canteen()), day, placed.last().copied(), page).await.unwrap()
        && !next.is_empty()
    {
        placed.extend(next.iter().map(|order| order.placed));
    }
    assert_eq!(placed.len(), 35);
    let of_one = diner_orders::of_diner(&views, tenant(), diner(3), None, page).await.unwrap();
    assert_eq!(of_one.iter().map(|order| order.order_id).collect::<Vec<_>>(), [order_id(3)]);

    let dashboard = dashboard::of_serving(&views, tenant(), serving_id()).await.unwrap().unwrap();
    assert_eq!(dashboard.takings[0].net(), cny(24 * 2_400));
    assert_eq!(dashboard.refusals[0].orders, 5);
    let sales = dashboard::sales_by_day(&views, tenant(), None, day, day, None, PageSize::clamped(1)).await.unwrap();
    assert_eq!((sales[0].units, sales[0].takings), (24, cny(24 * 1_200)));
    let after = Some(sales[0].cursor());
    let sales = dashboard::sales_by_day(&views, tenant(), None, day, day, after, page).await.unwrap();
    assert_eq!(sales.iter().map(|sale| (sale.dish, sale.units)).collect::<Vec<_>>(), [(soup(), 48)]);
    let total = dashboard::sales_total(&views, tenant(), Some(canteen()), day, day).await.unwrap();
    assert_eq!(total, [(72, cny(24 * 2_400))]);
    assert_eq!(dashboard::totals(&views, tenant()).await.unwrap().picked_up, 24);

    let trial = balances::trial_balance(&views, tenant()).await.unwrap();
    assert_eq!((trial.len(), trial[0].balance, trial[0].debits), (1, cny(0), trial[0].credits));
    let wallet = domain::AccountId::Wallet(diner(0));
    let row = balances::limited_account(&views, tenant(), wallet).await.unwrap().unwrap();
    assert_eq!(row.available(), cny(3_600));
}

#[tokio::test]
async fn another_tenant_sees_nothing() {
    let world = World::with(&lunch(10)).await;
    let views = Views::in_memory(world.store.identity(), crate::all()).unwrap();
    caught_up(&world, &views).await;
    let other = TenantId(id(2));
    let (page, day) = (PageSize::MAX, jiff::civil::date(2026, 11, 23));
    assert_eq!(menu::serving(&views, other, serving_id()).await.unwrap(), None);
    assert_eq!(diner_orders::order(&views, other, order_id(0)).await.unwrap(), None);
    assert_eq!(diner_orders::of_day(&views, other, Some(canteen()), day, None, page).await.unwrap(), []);
    assert_eq!(dashboard::of_serving(&views, other, serving_id()).await.unwrap(), None);
    assert_eq!(dashboard::sales_total(&views, other, None, day, day).await.unwrap(), []);
    assert_eq!(balances::list(&views, other, None, page).await.unwrap(), []);
    assert_eq!(crate::journal::latest(&views, other, None, page).await.unwrap(), []);
    let (from, to) = (at(0), at(1_000_000));
    assert_eq!(crate::journal::between(&views, other, from, to, None, page).await.unwrap(), []);
}

#[tokio::test]
async fn pages_of_the_journal_and_the_balances_join_without_gap_or_repeat() {
    let world = World::with(&lunch(10)).await;
    let views = Views::in_memory(world.store.identity(), crate::all()).unwrap();
    caught_up(&world, &views).await;
    let page = PageSize::clamped(7);
    let whole = crate::journal::latest(&views, tenant(), None, PageSize::MAX).await.unwrap();
    let (mut down, mut up) = (Vec::new(), Vec::new());
    loop {
        let before = down.last().map(crate::journal::Entry::cursor);
        let next = crate::journal::latest(&views, tenant(), before, page).await.unwrap();
        if next.is_empty() {
            break;
        }
        down.extend(next);
    }
    assert_eq!(down, whole);
    loop {
        let after = up.last().map(crate::journal::Entry::cursor);
        let next = crate::journal::between(&views, tenant(), at(0), at(1_000_000), after, page).await.unwrap();
        if next.is_empty() {
            break;
        }
        up.extend(next);
    }
    up.reverse();
    assert_eq!(up, whole);
    let prepaid = domain::postings::LedgerAccount::Prepaid;
    let of_prepaid = crate::journal::of_account(&views, tenant(), prepaid, None, PageSize::MAX).await.unwrap();
    let expected: Vec<_> = whole.into_iter().filter(|entry| entry.account == prepaid).collect();
    assert_eq!(of_prepaid, expected);
    let mut listed: Vec<balances::Balance> = Vec::new();
    loop {
        let after = listed.last().map(|balance| (balance.account, balance.currency));
        let next = balances::list(&views, tenant(), after, page).await.unwrap();
        if next.is_empty() {
            break;
        }
        listed.extend(next);
    }
    // Ten diners' two accounts, bank, prepaid, canteen.
    assert_eq!(listed.len(), 23);
}

#[tokio::test]
async fn events_count_once_however_often_the_runner_falls() {
    let world = World::with(&lunch(1_500)).await;
    let folder = tempfile::tempdir().unwrap();
    let head = world.store.head().await.unwrap();
    let open = || Views::open(folder.path(), world.store.identity(), tallies(1, None)).unwrap();
    let mut falls = 0;
    loop {
        let views = open();
        let Ok(mut runner) = Runner::open(world.store.clone(), views.clone()).await else { continue };
        // Dropped in the middle of whatever it does.
        let ran = tokio::time::timeout(Duration::from_millis(3 + falls), runner.catch_up()).await;
        if let Ok(Ok(position)) = ran
            && position == head
        {
            break;
        }
        falls += 1;
        if let Ok((events, position)) = tally(&views).await {
            assert_eq!(events, position);
        }
    }
    assert!(falls > 0);
    let views = open();
    assert_eq!(tally(&views).await.unwrap(), (head, head));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_never_sees_rows_and_checkpoint_apart() {
    let mut world = World::new();
    let views = Views::in_memory(world.store.identity(), tallies(1, None)).unwrap();
    let runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    let handle = runner.handle();
    let stop = CancellationToken::new();
    let running = tokio::spawn(runner.run(stop.clone()));
    let mut seen = std::collections::BTreeSet::new();
    world.happen(&opening()).await;
    for number in 0..40 {
        world.happen(&[funded(number), confirmed(number)].concat()).await;
        if number == 20 {
            let handle = handle.clone();
            tokio::spawn(async move { handle.rebuild(&[], false, |_| {}).await });
        }
        if number % 8 == 0 {
            views.wait_for(world.store.head().await.unwrap(), Duration::from_secs(10)).await.unwrap();
        }
        let snapshot = views.read(|snapshot| {
            let row = snapshot.fetch_one::<Tally>("WHERE tenant = ?1", args![tenant()])?;
            let builds: Vec<_> = snapshot.builds_now().cloned().collect();
            let build = build(&builds, "tallies");
            Ok((row.map_or(0, |row| row.events), build.position))
        });
        let (events, position) = snapshot.await.unwrap();
        assert_eq!(events, position);
        seen.insert(position);
    }
    let head = world.store.head().await.unwrap();
    views.wait_for(head, Duration::from_secs(10)).await.unwrap();
    assert!(seen.len() > 3, "{seen:?}");
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_written_is_read_after_waiting_for_it() {
    let mut world = World::with(&opening()).await;
    let views = Views::in_memory(world.store.identity(), crate::all()).unwrap();
    let stop = CancellationToken::new();
    let runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    let running = tokio::spawn(runner.run(stop.clone()));
    world.happen(&confirmed_with_funds(0)).await;
    let head = world.store.head().await.unwrap();
    views.wait_for(head, Duration::from_secs(10)).await.unwrap();
    assert_eq!(views.position(), head);
    assert!(diner_orders::order(&views, tenant(), order_id(0)).await.unwrap().is_some());
    let late = views.wait_for(head + 1, Duration::from_millis(20)).await;
    assert_eq!(late, Err(Stale { wanted: head + 1, reached: head }));
    stop.cancel();
    running.await.unwrap().unwrap();
}

pub(crate) fn confirmed_with_funds(number: usize) -> Vec<Fact> {
    [funded(number), confirmed(number)].concat()
}

#[tokio::test]
async fn a_restart_goes_on_where_it_stood() {
    let mut world = World::with(&lunch(20)).await;
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    drop(caught_up(&world, &views).await);
    drop(views);
    world.happen(&confirmed_with_funds(500)).await;
    let views = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    let mut progress = Vec::new();
    let mut runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    runner.catch_up_with(|step| progress.push(step.position)).await.unwrap();
    assert_eq!(progress, [world.store.head().await.unwrap()]);
    assert_eq!(differences(&world, &views).await, []);
    assert!(views.builds().await.unwrap().iter().all(|build| build.build == 1 && build.live));
}

#[tokio::test]
async fn a_higher_version_is_folded_anew_and_then_takes_the_place() {
    let world = World::with(&lunch(5)).await;
    let head = world.store.head().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let open = |version| Views::open(folder.path(), world.store.identity(), tallies(version, None)).unwrap();
    let views = open(1);
    drop(caught_up(&world, &views).await);
    assert_eq!(tally(&views).await.unwrap(), (head, head));
    assert_eq!(in_file(folder.path(), "tally"), ["table tally__v1_b1", "view tally"]);

    let views = open(2);
    let mut runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    let building = tally(&views).await.unwrap_err();
    assert!(matches!(building, ViewError::Building { projection: "tallies", position: 0 }), "{building}");
    // What the SQL prompt sees is the old version, until the new one is whole.
    assert_eq!(in_file(folder.path(), "tally"), ["table tally__v1_b1", "table tally__v2_b1", "view tally"]);
    runner.catch_up().await.unwrap();
    assert_eq!(tally(&views).await.unwrap(), (2 * head, head));
    assert_eq!(in_file(folder.path(), "tally"), ["table tally__v2_b1", "view tally"]);
    let connection = Connection::open(folder.path().join("views.sqlite")).unwrap();
    let through_view: i64 = connection.query_row("SELECT events FROM tally", [], |row| row.get(0)).unwrap();
    assert_eq!(through_view, 2 * head as i64);
    // The other projection was left alone.
    assert_eq!(build(&views.builds().await.unwrap(), "balances").build, 1);
}

#[tokio::test]
async fn a_rebuild_equals_what_was_live_and_mends_what_was_not() {
    let world = World::with(&lunch(1_000)).await;
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    let mut runner = caught_up(&world, &views).await;
    let connection = Connection::open(folder.path().join("views.sqlite")).unwrap();
    connection.execute("UPDATE balances__v2_b1 SET balance_minor = 1", []).unwrap();
    assert_eq!(differences(&world, &views).await.len(), 1);
    let mut steps = Vec::new();
    let built = runner.rebuild(&["balances".into(), "journal".into()], false, |step| steps.push(step)).await.unwrap();
    assert_eq!(built.iter().map(|build| (build.build, build.live)).collect::<Vec<_>>(), [(2, true), (2, true)]);
    assert!(steps.iter().any(|step| step.position < step.head), "{steps:?}");
    assert_eq!(steps.last().unwrap().projection, "journal");
    assert_eq!(differences(&world, &views).await, []);
    assert_eq!(in_file(folder.path(), "journal"), ["table journal__v4_b2", "view journal"]);
    let unknown = runner.rebuild(&["tips".into()], false, |_| {}).await;
    assert!(matches!(unknown, Err(ViewError::UnknownProjection(name)) if name == "tips"));
}

#[tokio::test]
async fn a_rebuild_that_is_cut_off_goes_on_after_the_restart() {
    let world = World::with(&lunch(1_000)).await;
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    let mut runner = caught_up(&world, &views).await;
    let begun = Arc::new(tokio::sync::Notify::new());
    let rebuild = async { runner.rebuild(&["journal".into()], false, |_| begun.notify_one()).await };
    tokio::select! {
        biased;
        () = begun.notified() => {}
        done = rebuild => panic!("{done:?}"),
    }
    drop(runner);
    loop {
        // The engine that was cut off may finish its last batch.
        let mut runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
        if runner.catch_up().await.is_ok() {
            break;
        }
    }
    let builds = views.builds().await.unwrap();
    assert_eq!((build(&builds, "journal").build, builds.len()), (2, crate::all().len()));
    assert_eq!(differences(&world, &views).await, []);
}

#[tokio::test]
async fn views_of_another_incarnation_or_ahead_of_the_log_are_folded_anew() {
    let folder = tempfile::tempdir().unwrap();
    let long = World::with(&lunch(30)).await;
    let views = Views::open(folder.path(), long.store.identity(), crate::all()).unwrap();
    drop(caught_up(&long, &views).await);
    let short = World::with(&lunch(10)).await;
    let read_only = Views::open_read_only(folder.path(), short.store.identity(), crate::all());
    assert!(read_only.unwrap_err().to_string().contains("belong to another log"));
    let views = Views::open(folder.path(), short.store.identity(), crate::all()).unwrap();
    assert!(views.builds().await.unwrap().is_empty());
    caught_up(&short, &views).await;
    assert_eq!(differences(&short, &views).await, []);

    // The same identity over a log that has lost its end, as after a restored backup.
    let identity = short.store.identity();
    let mut restored = World::new();
    restored.store = Arc::new(store::MemoryLog::with_identity(identity));
    restored.happen(&lunch(5)).await;
    let views = Views::open(folder.path(), identity, crate::all()).unwrap();
    caught_up(&restored, &views).await;
    assert_eq!(differences(&restored, &views).await, []);
}

#[tokio::test]
async fn a_query_counts_until_it_ends_whoever_has_gone() {
    let world = World::with(&lunch(5)).await;
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    drop(caught_up(&world, &views).await);
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let mut ends = Vec::new();
    loop {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (views, begun) = (views.clone(), begun.clone());
        let asks = tokio::spawn(async move {
            let slow = move |_: &crate::Snapshot<'_>| {
                begun.send(()).unwrap();
                let _ = ended.recv();
                Ok(())
            };
            views.read(slow).await
        });
        // Only the one that must not begin is waited for in vain.
        let patience = Duration::from_millis(if ends.len() < 4 { 10_000 } else { 200 });
        let began = tokio::time::timeout(patience, begins.recv()).await;
        // Whoever asks goes away at once.
        asks.abort();
        if began.is_err() {
            break;
        }
        ends.push(end);
        assert!(ends.len() < 20, "there is no bound");
    }
    assert_eq!(ends.len(), 4);
    drop(ends);
    views.read(|_| Ok(())).await.unwrap();
}

#[tokio::test]
async fn what_is_folded_while_another_runner_starts_is_no_other_history() {
    let mut world = World::with(&lunch(5)).await;
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    drop(caught_up(&world, &views).await);
    let (stood, head) = (views.builds().await.unwrap(), world.store.head().await.unwrap());
    world.happen(&lunch(10)).await;
    drop(caught_up(&world, &views).await);
    let engine = EngineThread::start(views.clone(), head, stood.clone()).await.unwrap();
    drop(engine);
    let builds = views.builds().await.unwrap();
    assert!(builds.iter().all(|build| build.live && build.position > head), "{builds:#?}");
    assert_eq!(builds.len(), stood.len());
}

#[tokio::test]
async fn poison_parks_its_stream_and_everything_else_flows_on() {
    let mut world = World::with(&lunch(10)).await;
    let folder = tempfile::tempdir().unwrap();
    let identity = world.store.identity();
    let open = |poison| Views::open(folder.path(), identity, tallies(1, poison)).unwrap();
    let views = open(None);
    drop(caught_up(&world, &views).await);
    let before = world.store.head().await.unwrap();
    // The first event of a wallet is poison; a later one of it follows, and other streams' events.
    let views = open(Some(before + 1));
    world.happen(&confirmed_with_funds(500)).await;
    world.happen(&confirmed_with_funds(501)).await;
    let head = world.store.head().await.unwrap();
    let mut runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    runner.catch_up().await.unwrap();
    let parked = views.parked(&["tallies".into()]).await.unwrap();
    let stream = parked[0].stream_id();
    let of_stream = world.store.read_stream(stream, 1, 100).await.unwrap().len();
    assert!(of_stream > 1 && of_stream == parked.len(), "{parked:?}");
    assert_eq!((parked[0].position, parked[0].error.as_str()), (before + 1, "bitter"));
    assert!(parked[1..].iter().all(|one| one.error == "an earlier event of its stream is parked"));
    let builds = views.builds().await.unwrap();
    let tallies_now = build(&builds, "tallies");
    assert_eq!((tallies_now.position, tallies_now.health), (head, Health::Sound));
    assert_eq!((tallies_now.parked, tallies_now.incomplete_since), (parked.len() as u64, Some(before + 1)));
    // What the poisoned event had half done is not in the rows, and readers are told.
    assert_eq!(tally(&views).await.unwrap(), (head - parked.len() as u64, head));
    let flagged =
        views.read(|snapshot| Ok(snapshot.incomplete().map(|build| build.projection.clone()).collect::<Vec<_>>()));
    assert_eq!(flagged.await.unwrap(), ["tallies"]);
    let found = differences(&world, &views).await;
    assert!(found[0].found.contains("events are parked"), "{found:?}");
    // After a restart the stream is still parked.
    drop(runner);
    let views = open(None);
    world.happen(&[funded(500)].concat()[1..]).await;
    let mut runner = caught_up(&world, &views).await;
    let now = views.parked(&[]).await.unwrap();
    assert_eq!(now.len(), parked.len() + 1);

    // A program that can take the event folds the view anew, and nothing is parked any more.
    runner.rebuild(&["tallies".into()], false, |_| {}).await.unwrap();
    let head = world.store.head().await.unwrap();
    assert_eq!(tally(&views).await.unwrap(), (head, head));
    assert_eq!(views.parked(&[]).await.unwrap(), []);
    assert_eq!(differences(&world, &views).await, []);
}

#[tokio::test]
async fn poison_behind_batches_that_are_not_written_yet_parks_as_well() {
    let world = World::with(&lunch(1_500)).await;
    let head = world.store.head().await.unwrap();
    assert!(head > 12_000, "{head}");
    let views = Views::in_memory(world.store.identity(), tallies(1, Some(11_000))).unwrap();
    caught_up(&world, &views).await;
    let parked = views.parked(&[]).await.unwrap();
    assert_eq!(parked[0].position, 11_000);
    let stream = world.store.read_stream(parked[0].stream_id(), parked[0].stream_version, 1_000).await.unwrap();
    assert_eq!(parked.len(), stream.len());
    assert_eq!(tally(&views).await.unwrap(), (head - parked.len() as u64, head));
    let found = differences(&world, &views).await;
    assert!(found.iter().all(|difference| difference.found.contains("parked")), "{found:?}");
}

#[tokio::test]
async fn what_is_dropped_stays_out_of_every_later_build() {
    let mut world = World::with(&lunch(3)).await;
    let before = world.store.head().await.unwrap();
    let views = Views::in_memory(world.store.identity(), tallies(1, Some(before + 1))).unwrap();
    world.happen(&confirmed_with_funds(500)).await;
    let mut runner = caught_up(&world, &views).await;
    let parked = views.parked(&[]).await.unwrap();
    let stream = parked[0].stream_id();
    let other = store::contract::stream(1, 999);
    let nothing = views.drop_parked("tallies", other, "no use", "ops").await.unwrap_err();
    assert!(matches!(nothing, ViewError::NothingParked { projection: "tallies", .. }), "{nothing}");
    let dropped = views.drop_parked("tallies", stream, "a test's own", "ops").await.unwrap();
    assert_eq!(dropped, parked.len() as u64);
    let noted = views.dropped("tallies").await.unwrap();
    assert_eq!(
        (noted.len(), noted[0].reason.as_str(), noted[0].dropped_by.as_str()),
        (parked.len(), "a test's own", "ops")
    );
    assert_eq!(views.read(|snapshot| Ok(snapshot.incomplete().count())).await.unwrap(), 0);
    // What comes after flows again, now and in a rebuild.
    world.happen(&funded(500)[1..]).await;
    for _ in 0..2 {
        runner.catch_up().await.unwrap();
        let head = world.store.head().await.unwrap();
        assert_eq!(tally(&views).await.unwrap(), (head - dropped, head));
        runner.rebuild(&[], false, |_| {}).await.unwrap();
    }
    assert_eq!(views.parked(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn a_paused_projection_waits_and_then_goes_on() {
    let mut world = World::with(&lunch(3)).await;
    let views = Views::in_memory(world.store.identity(), tallies(1, None)).unwrap();
    let mut runner = caught_up(&world, &views).await;
    let before = world.store.head().await.unwrap();
    views.set_paused(&["tallies".into()], true).await.unwrap();
    world.happen(&confirmed_with_funds(500)).await;
    let head = runner.catch_up().await.unwrap();
    // The others go on, and who waits for them does not wait for it.
    assert_eq!(views.position(), head);
    let (events, _) = tally(&views).await.unwrap();
    assert_eq!(events, before);
    assert_eq!(views.read(|snapshot| Ok(snapshot.incomplete().count())).await.unwrap(), 1);
    views.set_paused(&["tallies".into()], false).await.unwrap();
    runner.catch_up().await.unwrap();
    assert_eq!(tally(&views).await.unwrap(), (head, head));
    let unknown = views.set_paused(&["tips".into()], true).await;
    assert!(matches!(unknown, Err(ViewError::UnknownProjection(name)) if name == "tips"));
}

#[tokio::test]
async fn an_event_newer_than_the_program_makes_it_wait_and_a_broken_one_parks() {
    for (schema_version, payload) in [(99, r#""Confirmed""#), (1, r#"{"Confirmed":7}"#)] {
        let mut world = World::with(&lunch(3)).await;
        let views = Views::in_memory(world.store.identity(), crate::all()).unwrap();
        let mut runner = caught_up(&world, &views).await;
        world.happen(&confirmed_with_funds(500)).await;
        let sound = world.store.head().await.unwrap();
        world.happen_raw(&ordered(500, order::Event::Confirmed), schema_version, payload.as_bytes()).await;
        world.happen(&confirmed_with_funds(501)).await;
        let head = world.store.head().await.unwrap();
        runner.catch_up().await.unwrap();
        let builds = views.builds().await.unwrap();
        if schema_version == 99 {
            assert!(builds.iter().all(|build| build.health == Health::Outdated && build.position == sound));
        } else {
            assert!(builds.iter().all(|build| build.health == Health::Sound && build.position == head));
            assert!(builds.iter().all(|build| build.incomplete_since == Some(sound + 1) && build.parked == 1));
        }
        let found = differences(&world, &views).await;
        assert!(found.iter().any(|difference| difference.subject == "the log"), "{found:?}");
    }
}

#[tokio::test]
async fn a_rebuild_says_what_it_found_different() {
    let world = World::with(&lunch(40)).await;
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    let mut runner = caught_up(&world, &views).await;
    let connection = Connection::open(folder.path().join("views.sqlite")).unwrap();
    connection.execute("UPDATE balances__v2_b1 SET balance_minor = 99 WHERE account = 'bank'", []).unwrap();
    let rebuilt = runner.rebuild(&["balances".into(), "journal".into()], true, |_| {}).await.unwrap();
    let said = |name: &str| build(&rebuilt, name).compared.clone().unwrap();
    assert!(said("balances").contains("balance_minor=99"), "{}", said("balances"));
    assert!(said("journal").starts_with("equal to the live build"), "{}", said("journal"));
}

#[tokio::test]
async fn verify_shows_the_first_row_that_was_tampered_with() {
    let world = World::with(&lunch(40)).await;
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    caught_up(&world, &views).await;
    let report = verify(world.store.clone(), &views, |_| {}).await.unwrap();
    assert_eq!(report.differences, []);
    assert_eq!((report.events, report.position), (report.position, world.store.head().await.unwrap()));
    assert!(report.rows > 400 && report.accounts == 80 && report.streams > 100, "{report:?}");

    let connection = Connection::open(folder.path().join("views.sqlite")).unwrap();
    let wallet = format!("wallet:{}", diner(7));
    connection.execute("UPDATE balances SET balance_minor = 0 WHERE 0", []).unwrap_err();
    connection.execute("UPDATE balances__v2_b1 SET balance_minor = 99 WHERE account = ?1", [&wallet]).unwrap();
    connection.execute("DELETE FROM journal__v4_b1 WHERE position = (SELECT max(position) FROM journal)", []).unwrap();
    let found = differences(&world, &views).await;
    let subjects: Vec<_> = found.iter().map(|one| one.subject.as_str()).collect();
    assert_eq!(subjects, ["view journal, table journal__v4_b1", "view balances, table balances__v2_b1"]);
    assert_eq!(found[0].found, "no such row");
    assert!(found[1].found.contains(&wallet) && found[1].found.contains("balance_minor=99"), "{found:?}");
    assert!(found[1].expected.contains("balance_minor=3600"), "{found:?}");
}

#[tokio::test]
async fn a_program_with_fewer_projections_leaves_the_others_alone() {
    let mut world = World::with(&lunch(5)).await;
    let folder = tempfile::tempdir().unwrap();
    let both = || Views::open(folder.path(), world.store.identity(), tallies(1, None)).unwrap();
    let views = both();
    drop(caught_up(&world, &views).await);
    let before = world.store.head().await.unwrap();
    let fewer = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    world.happen(&confirmed_with_funds(500)).await;
    let head = world.store.head().await.unwrap();
    drop(caught_up(&world, &fewer).await);
    assert_eq!(fewer.read(|snapshot| Ok(snapshot.position())).await.unwrap(), head);
    assert_eq!(build(&fewer.builds().await.unwrap(), "tallies").position, before);
    let views = Views::open(folder.path(), world.store.identity(), tallies(1, None)).unwrap();
    drop(caught_up(&world, &views).await);
    assert_eq!(tally(&views).await.unwrap(), (head, head));
}

#[tokio::test]
async fn files_that_are_no_views_are_refused_and_left_alone() {
    let identity = LogIdentity { log: id(1), incarnation: id(2) };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("views.sqlite");
    assert!(
        Views::open_read_only(folder.path(), identity, crate::all())
            .unwrap_err()
            .to_string()
            .contains("there are no views")
    );
    let refused = |what: &str, bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        let error = Views::open(folder.path(), identity, crate::all()).unwrap_err();
        assert!(matches!(&error, ViewError::Unusable(why) if why.contains(what)), "{error}");
        assert!(std::fs::read(&file).unwrap() == bytes, "{what}: the file has changed");
        std::fs::remove_file(&file).unwrap();
    };
    refused("delete", b"this is no database, only a text that is long enough to be looked at by the library");
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("other.sqlite");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE cats (name TEXT)").unwrap();
    refused("another program", &std::fs::read(&path).unwrap());
    let path = other.path().join("newer.sqlite");
    let pragmas = "PRAGMA application_id = 0x54494656; PRAGMA user_version = 99; CREATE TABLE log (log TEXT)";
    Connection::open(&path).unwrap().execute_batch(pragmas).unwrap();
    refused("newer Tiffin", &std::fs::read(&path).unwrap());
}

#[tokio::test]
async fn views_of_an_older_format_are_folded_anew() {
    let world = World::with(&lunch(5)).await;
    let folder = tempfile::tempdir().unwrap();
    let pragmas = "PRAGMA application_id = 0x54494656; PRAGMA user_version = 1; CREATE TABLE log (log TEXT);
                   CREATE TABLE balances__v1_b1 (tenant TEXT); CREATE VIEW balances AS SELECT tenant FROM balances__v1_b1";
    Connection::open(folder.path().join("views.sqlite")).unwrap().execute_batch(pragmas).unwrap();
    let views = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    caught_up(&world, &views).await;
    assert_eq!(differences(&world, &views).await, []);
}

#[tokio::test]
async fn another_process_reads_beside_the_runner_and_cannot_write() {
    let mut world = World::with(&lunch(5)).await;
    let folder = tempfile::tempdir().unwrap();
    let views = Views::open(folder.path(), world.store.identity(), crate::all()).unwrap();
    let mut runner = caught_up(&world, &views).await;
    let beside = Views::open_read_only(folder.path(), world.store.identity(), crate::all()).unwrap();
    world.happen(&confirmed_with_funds(500)).await;
    let head = runner.catch_up().await.unwrap();
    beside.wait_for(head, Duration::from_secs(30)).await.unwrap();
    assert!(diner_orders::order(&beside, tenant(), order_id(500)).await.unwrap().is_some());
    assert_eq!(differences(&world, &beside).await, []);
    assert!(Runner::open(world.store.clone(), beside.clone()).await.is_err());
    let stale = beside.wait_for(head + 1, Duration::from_millis(30)).await;
    assert_eq!(stale, Err(Stale { wanted: head + 1, reached: head }));
}
