//! The runner over a real Postgres: the same rows as in a file, several runners, live rebuilds.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::{CanteenId, DishId, Fact, menu as of_menu};
use store::EventStore;
use testing::Postgres;
use tokio_util::sync::CancellationToken;

use crate::{
    PageSize, Registry, Runner, Views, balances, dashboard, diner_orders, invoices, journal, kitchen_board, live, menu,
    subsidies, testing::*, verify,
};

async fn views(world: &World, url: &str) -> Views {
    Views::open_postgres(url, world.store.identity(), crate::all()).await.unwrap()
}

async fn caught_up(world: &World, views: &Views) -> Runner {
    let mut runner = Runner::open(world.store.clone(), views.clone()).await.unwrap();
    runner.catch_up().await.unwrap();
    runner
}

async fn differences(world: &World, views: &Views) -> Vec<crate::Difference> {
    verify(world.store.clone(), views, |_| {}).await.unwrap().differences
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_that_lag_are_waited_for_before_they_are_compared() {
    let mut world = World::with(&lunch(5)).await;
    let there = views(&world, &Postgres::shared().database()).await;
    let mut runner = caught_up(&world, &there).await;
    world.happen(&[funded(700), confirmed(700)].concat()).await;
    let (found, caught_up) = tokio::join!(differences(&world, &there), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        runner.catch_up().await
    });
    assert_eq!((found, caught_up.unwrap()), (vec![], world.store.head().await.unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_answers_as_it_does_over_a_file() {
    let world = World::with(&lunch(35)).await;
    let file = Views::in_memory(world.store.identity(), crate::all()).unwrap();
    caught_up(&world, &file).await;
    let database = Postgres::shared().database();
    let there = views(&world, &database).await;
    caught_up(&world, &there).await;
    let (page, day) = (PageSize::clamped(10), jiff::civil::date(2026, 11, 23));
    let search =
        |name: &str| menu::Search { tenant: tenant(), date: day, canteen: Some(canteen()), name: name.to_owned() };
    let found = menu::search(&there, search("SOUP"), None, page).await.unwrap();
    assert_eq!(found.len(), 1, "a part of the name, in another case");
    assert_eq!(menu::search(&there, search("%"), None, page).await.unwrap(), []);
    macro_rules! same {
        ($($ask:expr),* $(,)?) => {$({
            let (one, other) = { let ask = $ask; (ask(file.clone()).await.unwrap(), ask(there.clone()).await.unwrap()) };
            assert_eq!(one, other, "{}", stringify!($ask));
        })*};
    }
    same![
        async |views: Views| menu::servings_on(&views, tenant(), Some(canteen()), day, None, page).await,
        async |views: Views| menu::servings_on(&views, tenant(), None, day, None, page).await,
        async |views: Views| menu::serving_menu(&views, tenant(), serving_id()).await,
        async |views: Views| menu::canteens(&views, tenant(), None, page).await,
        async |views: Views| menu::dishes(&views, tenant(), canteen(), Some(rice()), page).await,
        async |views: Views| kitchen_board::of_serving(&views, tenant(), serving_id(), None, page).await,
        async |views: Views| kitchen_board::of_code(&views, tenant(), (serving_id(), "0001".into()), None, page).await,
        async |views: Views| kitchen_board::to_cook(&views, tenant(), serving_id()).await,
        async |views: Views| diner_orders::of_day(&views, tenant(), Some(canteen()), day, None, page).await,
        async |views: Views| diner_orders::of_serving(&views, tenant(), serving_id(), None, page).await,
        async |views: Views| diner_orders::of_diner(&views, tenant(), diner(3), None, page).await,
        async |views: Views| diner_orders::unfinished(&views, tenant(), diner(3)).await,
        async |views: Views| dashboard::of_serving(&views, tenant(), serving_id()).await,
        async |views: Views| dashboard::of_servings(&views, tenant(), vec![serving_id(); 3]).await,
        async |views: Views| menu::search(&views, search("SOUP"), None, page).await,
        async |views: Views| menu::search(&views, search("e"), Some((serving_id(), 0)), page).await,
        async |views: Views| menu::search(&views, search("%"), None, page).await,
        async |views: Views| kitchen_board::prep_sheet(&views, tenant(), serving_id()).await,
        async |views: Views| views.parked_after("journal", None, page).await,
        async |views: Views| invoices::ageing_after(&views, tenant(), None, day, (None, page)).await,
        async |views: Views| subsidies::policy_use(&views, tenant(), None, None, page).await,
        async |views: Views| menu::canteens_of(&views, tenant(), vec![canteen(), canteen()]).await,
        async |views: Views| menu::first_dishes(&views, tenant(), vec![canteen()], 2).await,
        async |views: Views| live::board(&views, tenant(), serving_id()).await,
        async |views: Views| live::menu(&views, tenant(), serving_id()).await,
        async |views: Views| live::dashboard(&views, tenant(), serving_id()).await,
        async |views: Views| dashboard::sales_by_day(&views, tenant(), None, day, day, None, page).await,
        async |views: Views| dashboard::sales_total(&views, tenant(), Some(canteen()), day, day).await,
        async |views: Views| dashboard::totals(&views, tenant()).await,
        async |views: Views| balances::list(&views, tenant(), None, page).await,
        async |views: Views| balances::trial_balance(&views, tenant()).await,
        async |views: Views| balances::tenants(&views).await,
        async |views: Views| journal::latest(&views, tenant(), None, page).await,
        async |views: Views| journal::between(&views, tenant(), at(0), at(1_000_000), None, page).await,
        async |views: Views| journal::of_account(
            &views,
            tenant(),
            domain::postings::LedgerAccount::Prepaid,
            None,
            page,
        )
        .await,
    ];
    // What is watched says which event it shows.
    let head = world.store.head().await.unwrap();
    let seen = live::menu(&there, tenant(), serving_id()).await.unwrap();
    assert_eq!((seen.position, seen.state.is_some()), (head, true));
    let strange = live::menu(&there, domain::TenantId(id(2)), serving_id()).await.unwrap();
    assert_eq!((strange.position, strange.state), (head, None));
    assert_eq!(differences(&world, &there).await, []);
}

/// More canteens than one statement asks for, each with three dishes, of which one is off the menu.
fn canteens() -> Vec<(CanteenId, [DishId; 3])> {
    let canteen = |number: u128| (CanteenId(id(number * 10)), [1, 2, 3].map(|dish| DishId(id(number * 10 + dish))));
    (10_000..10_102).map(canteen).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_keys_each_gets_its_own_first_rows() {
    let canteens = canteens();
    let opening = opening();
    let [Fact::Menu(_, opened), Fact::Menu(_, of_menu::Event::DishPut { spec, .. }), ..] = opening.as_slice() else {
        panic!("a canteen and a dish: {opening:?}")
    };
    let of_canteen = |(canteen, dishes): &(CanteenId, [DishId; 3])| {
        let put = dishes.map(|dish| of_menu::Event::DishPut { dish, spec: spec.clone() });
        let retired = of_menu::Event::DishRetired { dish: dishes[1] };
        [opened.clone()]
            .into_iter()
            .chain(put)
            .chain([retired])
            .map(|event| Fact::Menu(*canteen, event))
            .collect::<Vec<_>>()
    };
    let world = World::with(&canteens.iter().flat_map(of_canteen).collect::<Vec<_>>()).await;
    let file = Views::in_memory(world.store.identity(), crate::all()).unwrap();
    let there = views(&world, &Postgres::shared().database()).await;
    for views in [file, there] {
        caught_up(&world, &views).await;
        let first = async |of, limit, canteens: &[(CanteenId, [DishId; 3])]| {
            let asked = canteens.iter().map(|(canteen, _)| *canteen).chain([CanteenId(id(1))]).collect();
            let dishes = menu::first_dishes(&views, of, asked, limit).await.unwrap();
            let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
            dishes.into_iter().for_each(|dish| found.entry(dish.canteen).or_default().push(dish.dish));
            found.into_iter().collect::<Vec<_>>()
        };
        let all: Vec<_> = canteens.iter().map(|(canteen, [one, _, three])| (*canteen, vec![*one, *three])).collect();
        assert_eq!(first(tenant(), 2, &canteens).await, all, "what is off the menu takes no place");
        assert_eq!(first(tenant(), 9, &canteens[..2]).await, all[..2]);
        let one: Vec<_> = all[..3].iter().map(|(canteen, dishes)| (*canteen, dishes[..1].to_vec())).collect();
        assert_eq!(first(tenant(), 1, &canteens[..3]).await, one);
        assert_eq!(first(domain::TenantId(id(2)), 2, &canteens).await, []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_equals_what_was_live_and_says_so() {
    let world = World::with(&lunch(300)).await;
    let there = views(&world, &Postgres::shared().database()).await;
    let mut runner = caught_up(&world, &there).await;
    let rebuilt = runner.rebuild(&[], true, |_| {}).await.unwrap();
    assert_eq!(rebuilt.len(), crate::all().len());
    for build in &rebuilt {
        let compared = build.compared.as_deref().unwrap();
        assert!(compared.starts_with("equal to the live build"), "{}: {compared}", build.projection);
        assert!(build.live && build.build == 2);
    }
    assert_eq!(differences(&world, &there).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runners_share_the_work_and_one_goes_on_alone() {
    let mut world = World::with(&lunch(20)).await;
    let database = Postgres::shared().database();
    let (one, other) = (views(&world, &database).await, views(&world, &database).await);
    let (stop_one, stop_other) = (CancellationToken::new(), CancellationToken::new());
    let start = |views: &Views, stop: &CancellationToken| {
        let (store, views, stop) = (world.store.clone(), views.clone(), stop.clone());
        tokio::spawn(async move { Runner::open(store, views).await.unwrap().run(stop).await })
    };
    let (first, second) = (start(&one, &stop_one), start(&other, &stop_other));
    let patience = Duration::from_secs(20);
    for number in 500..510 {
        world.happen(&[funded(number), confirmed(number)].concat()).await;
        let head = world.store.head().await.unwrap();
        // Whichever of them folds: both see it.
        one.wait_for(head, patience).await.unwrap();
        other.wait_for(head, patience).await.unwrap();
    }
    stop_one.cancel();
    first.await.unwrap().unwrap();
    world.happen(&[funded(600), confirmed(600)].concat()).await;
    other.wait_for(world.store.head().await.unwrap(), patience).await.unwrap();
    stop_other.cancel();
    second.await.unwrap().unwrap();
    assert_eq!(differences(&world, &other).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_program_builds_beside_the_older_one_which_goes_on() {
    let world = World::with(&lunch(5)).await;
    let database = Postgres::shared().database();
    let open =
        async |registry: Registry| Views::open_postgres(&database, world.store.identity(), registry).await.unwrap();
    let old = open(crate::runner_tests::tallies(1, None)).await;
    let mut old_runner = caught_up(&world, &old).await;
    let new = open(crate::runner_tests::tallies(2, None)).await;
    caught_up(&world, &new).await;
    let head = world.store.head().await.unwrap();
    let tally = crate::runner_tests::tally;
    assert_eq!(tally(&new).await.unwrap(), (2 * head, head));
    // The older program still runs, so its version stays.
    assert_eq!(tally(&old).await.unwrap(), (head, head));
    old_runner.catch_up().await.unwrap();
    let versions: Vec<_> = new
        .builds()
        .await
        .unwrap()
        .iter()
        .filter(|build| build.projection == "tallies")
        .map(|build| build.version)
        .collect();
    assert_eq!(versions, [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_finds_the_runner_waiting() {
    let mut world = World::with(&lunch(5)).await;
    let server = Postgres::start();
    let there = views(&world, &server.database()).await;
    let stop = CancellationToken::new();
    let running = {
        let (store, views, stop) = (world.store.clone(), there.clone(), stop.clone());
        tokio::spawn(async move { Runner::open(store, views).await.unwrap().run(stop).await })
    };
    there.wait_for(world.store.head().await.unwrap(), Duration::from_secs(20)).await.unwrap();
    server.kill();
    world.happen(&[funded(500), confirmed(500)].concat()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.restart();
    there.wait_for(world.store.head().await.unwrap(), Duration::from_secs(20)).await.unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(differences(&world, &there).await, []);
    let _: Arc<dyn EventStore> = world.store;
}
