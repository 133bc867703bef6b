//! What the embedded log does beyond the contract.

use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::contract::{append_of, contract, stream};

mod crash;
mod refusals;

fn open(dir: &TempDir) -> SqliteLog {
    SqliteLog::open(dir.path(), SqliteMode::ReadWrite).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let dirs = Mutex::new(vec![]);
    contract(async || {
        let dir = tempfile::tempdir().unwrap();
        let log = open(&dir);
        dirs.lock().unwrap().push(dir);
        Arc::new(log)
    })
    .await;
}
