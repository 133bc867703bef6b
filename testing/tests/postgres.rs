//! The server for tests: it works, comes back after a kill, and leaves nothing behind.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on says why and fails")]

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tiffin_testing::Postgres;

/// Says to this program that it is the child of a test, which is going to be killed.
const CHILD: &str = "TIFFIN_TEST_POSTGRES_CHILD";

fn folder(server: &Postgres, url: &str) -> PathBuf {
    let data = server.psql(url, "SHOW data_directory");
    Path::new(&data).parent().unwrap().to_owned()
}

fn port(url: &str) -> u16 {
    url.rsplit(['@', '/']).nth(1).unwrap().rsplit(':').next().unwrap().parse().unwrap()
}

#[track_caller]
fn is_gone(folder: &Path, port: u16) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while folder.exists() || TcpStream::connect(("127.0.0.1", port)).is_ok() {
        assert!(Instant::now() < deadline, "{} or the server on port {port} is still there", folder.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_was_committed_is_there_after_a_kill() {
    let server = Postgres::start();
    let (one, other) = (server.database(), server.database());
    assert_ne!(one, other);
    server.psql(&one, "CREATE TABLE kept AS SELECT 42 AS answer");
    for _ in 0..2 {
        server.kill();
        server.restart();
        assert_eq!(server.psql(&one, "SELECT answer FROM kept"), "42");
    }
    assert_eq!(server.psql(&other, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    assert_eq!(server.psql(&other, "SHOW fsync"), "on");
    let folder = folder(&server, &one);
    assert!(folder.join("data").exists());
    drop(server);
    is_gone(&folder, port(&one));
}

#[test]
fn a_killed_process_leaves_no_server_and_no_folder() {
    if std::env::var_os(CHILD).is_some() {
        let server = Postgres::shared();
        let url = server.database();
        println!("\nserver {} {}", port(&url), folder(server, &url).display());
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_killed_process_leaves_no_server_and_no_folder", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.into_iter().find(|line| line.starts_with("server ")).expect("the child has a server");
    let mut words = line.split(' ').skip(1);
    let (port, folder) = (words.next().unwrap().parse().unwrap(), PathBuf::from(words.next().unwrap()));
    assert!(folder.exists() && TcpStream::connect(("127.0.0.1", port)).is_ok());
    child.kill().unwrap();
    child.wait().unwrap();
    is_gone(&folder, port);
}
