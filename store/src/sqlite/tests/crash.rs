//! kill -9 in the middle of batches: what was answered is there, and nothing is there by half.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use super::*;

/// Says in which folder this process is the one that will be killed.
const CHILD: &str = "TIFFIN_TEST_LOG_TO_KILL";
/// Streams that get an event in each batch of the child.
const STREAMS: u64 = 20;
const ROUNDS: u64 = 12;

/// Appends until it is killed. Each batch adds `STREAMS` events, and says so when it is answered.
async fn append_for_ever(dir: &Path) {
    // Small enough that checkpoints are killed as well.
    let options = Options { checkpoint_pages: 50, ..OPTIONS };
    let log = SqliteLog::open_with(dir, SqliteMode::ReadWrite, options).unwrap();
    let mut version = log.head().await.unwrap() / STREAMS;
    loop {
        let batch = (0..STREAMS).map(|key| append_of(stream(1, key.into()), version, 1)).collect();
        let appended = log.append(batch, at(1)).await.unwrap();
        println!("answered {}", appended.first);
        version += 1;
    }
}

#[tokio::test]
async fn a_kill_leaves_whole_batches_and_all_that_were_answered() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return append_for_ever(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut events = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "--nocapture",
                "sqlite::tests::crash::a_kill_leaves_whole_batches_and_all_that_were_answered",
            ])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut answered = events;
        // Killed after another number of answers each time, wherever it is just then.
        let answers =
            lines.map_while(Result::ok).filter_map(|line| line.split("answered ").nth(1)?.parse::<u64>().ok());
        let mut killed = false;
        for (number, first) in (0u64..).zip(answers) {
            answered = first + STREAMS - 1;
            if number == 3 + round * 7 {
                std::thread::sleep(Duration::from_micros(round * 337));
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the child ended by itself");

        let log = open(&dir);
        events = log.head().await.unwrap();
        assert!(events >= answered, "{answered} events were answered, {events} are there");
        assert_eq!(events % STREAMS, 0, "a batch is there by half");
        let rows = log.read_all(1, usize::MAX).await.unwrap();
        assert!(rows.iter().map(|row| row.position).eq(1..=events));
        let mut versions: HashMap<_, Version> = HashMap::new();
        for row in &rows {
            let version = versions.entry(row.stream).or_default();
            *version += 1;
            assert_eq!(row.version, *version);
        }
    }
    assert!(events > ROUNDS * STREAMS);
}
