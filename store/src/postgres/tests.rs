//! What the log in Postgres does beyond the contract. Every test has a database of its own on a real
//! server.

use testing::Postgres;

use super::*;
use crate::contract::contract;


async fn open(url: &str) -> PostgresLog {
    PostgresLog::connect(url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    contract(async || Arc::new(open(&Postgres::shared().database()).await)).await;
}
