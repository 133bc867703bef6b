//! Two nodes on a log in a real Postgres.

use std::{sync::Arc, time::Duration};

use domain::{account::Account, serving};
use store::PostgresLog;
use testing::Postgres;

use super::{
    TENANT, fen, request,
    selling::{DISH, buy, give, node, publish, sell, sold},
    wallet,
};
use crate::{Commands, Failure};

async fn two_nodes() -> (Arc<PostgresLog>, Commands, Commands) {
    let url = Postgres::shared().database();
    let left = Arc::new(PostgresLog::connect(&url).await.unwrap());
    let right = Arc::new(PostgresLog::connect(&url).await.unwrap());
    let nodes = (node(&left), node(&right));
    (left, nodes.0, nodes.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_sell_exactly_what_there_is() {
    let (log, left, right) = two_nodes().await;
    publish(&left, 200).await;
    let sales = sell(&[left.clone(), right.clone()], 400, 16).await;
    assert!(sales.iter().all(|sales| sales.interrupted.is_empty()), "{:?}", sales[0].interrupted);
    assert_eq!((sold(&*log).await, sales[0].sold + sales[1].sold), (200, 200));
    assert!(sales.iter().all(|sales| sales.sold > 0), "{} and {}", sales[0].sold, sales[1].sold);
    assert_eq!(sales[0].sold_out + sales[1].sold_out, 600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_a_stale_answer() {
    let (log, left, right) = two_nodes().await;
    publish(&left, 1).await;
    for round in 1..=20 {
        buy(&left, round).await.unwrap();
        let sold_out = buy(&right, 1_000 + round).await;
        assert!(matches!(sold_out, Err(Failure::Refused(serving::Error::SoldOut(_)))), "{sold_out:?}");
        let portions = round as u32 + 1;
        give(&right, serving::Command::SetPortions { dish: DISH, portions }, round, "more").await.unwrap();
    }
    assert_eq!(sold(&*log).await, 20);
    for key in 1..=20 {
        let (here, there) = if key % 2 == 0 { (&left, &right) } else { (&right, &left) };
        here.deposit(request(key, fen(5)), wallet(1), fen(5)).await.unwrap();
        let posted = |account: &Account| account.book().unwrap().posted;
        assert_eq!(there.look(TENANT, wallet(1), posted).await, Ok(5 * key as i64));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_recovers_by_itself_when_the_server_is_back() {
    let server = Postgres::start();
    let log = Arc::new(PostgresLog::connect(&server.database()).await.unwrap());
    let node = node(&log);
    node.deposit(request(1, fen(5)), wallet(1), fen(5)).await.unwrap();
    server.kill();
    // A backend that has not noticed yet may still take some.
    let mut key = 2;
    let gone = loop {
        match node.deposit(request(key, fen(5)), wallet(1), fen(5)).await {
            Ok(_) if key < 5_000 => key += 1,
            gone => break gone,
        }
    };
    assert!(matches!(gone, Err(Failure::Interrupted(_))), "{gone:?}");
    server.restart();
    let mut again = node.deposit(request(key, fen(5)), wallet(1), fen(5)).await;
    for _ in 0..300 {
        if again.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        again = node.deposit(request(key, fen(5)), wallet(1), fen(5)).await;
    }
    again.unwrap();
    let posted = |account: &Account| account.book().unwrap().posted;
    assert_eq!(node.look(TENANT, wallet(1), posted).await, Ok(5 * key as i64));
}
