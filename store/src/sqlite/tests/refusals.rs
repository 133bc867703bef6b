//! What is refused: folders and files that cannot be used, full disks, batches that cannot stand.
//! Each time the error says why, and nothing on disk has changed.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use rusqlite::Connection;

use super::{
    super::writer::{Outcome, outcome},
    *,
};

fn refusal(dir: &Path, mode: SqliteMode) -> String {
    match SqliteLog::open(dir, mode) {
        Err(StoreError::Unusable(reason)) => reason,
        Err(other) => panic!("refused in another way: {other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

/// Every file of a folder with its content.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// Both ways of opening are refused with `reason`, and leave everything as it is.
#[track_caller]
fn is_refused(dir: &TempDir, reason: &str) {
    let before = content(dir.path());
    for mode in [SqliteMode::ReadWrite, SqliteMode::ReadOnly] {
        let refused = refusal(dir.path(), mode);
        assert!(refused.contains(reason) && refused.contains("log.sqlite"), "{mode:?}: {refused}");
        assert!(content(dir.path()) == before, "{mode:?} changed the folder");
    }
}

async fn closed_log(events: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    open(&dir).append(vec![append_of(stream(1, 1), 0, events)], at(1)).await.unwrap();
    dir
}

fn log_file(dir: &TempDir) -> PathBuf {
    dir.path().join("log.sqlite")
}

/// A log whose header is changed at `offset`.
async fn patched(offset: usize, bytes: &[u8]) -> TempDir {
    let dir = closed_log(1).await;
    let mut file = fs::read(log_file(&dir)).unwrap();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    fs::write(log_file(&dir), file).unwrap();
    dir
}

#[tokio::test]
async fn a_folder_without_a_log_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("no/such/folder")] {
        assert!(refusal(&path, SqliteMode::ReadOnly).contains("there is no log in"));
    }
    assert!(content(dir.path()).is_empty());
}

#[tokio::test]
async fn the_folder_is_made_for_a_new_log() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("a #%?b/c");
    let log = SqliteLog::open(&inner, SqliteMode::ReadWrite).unwrap();
    log.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await.unwrap();
    assert_eq!(SqliteLog::open(&inner, SqliteMode::ReadOnly).unwrap().head().await.unwrap(), 1);
}

#[tokio::test]
async fn a_second_writer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    let refused = refusal(dir.path(), SqliteMode::ReadWrite);
    assert!(refused.contains("is held by another tiffin process; stop it or use its admin socket"), "{refused}");
    log.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await.unwrap();
    drop(log);
    assert_eq!(open(&dir).head().await.unwrap(), 1);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(log_file(&dir), "Dear diary, ".repeat(100)).unwrap();
    is_refused(&dir, "is not a SQLite database");
    fs::write(log_file(&dir), "SQLite format 3\0").unwrap();
    is_refused(&dir, "is not a SQLite database");
}

#[tokio::test]
async fn a_foreign_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    Connection::open(log_file(&dir)).unwrap().execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    is_refused(&dir, "not an event log of tiffin");
}

#[tokio::test]
async fn a_log_of_a_newer_format_is_refused() {
    let dir = patched(60, &3u32.to_be_bytes()).await;
    is_refused(&dir, "was written by a newer tiffin (format 3; this one reads format 2)");
    let dir = patched(60, &0u32.to_be_bytes()).await;
    is_refused(&dir, "has the format 0, which there never was");
}

#[tokio::test]
async fn a_log_that_was_cut_short_is_refused() {
    let dir = closed_log(2000).await;
    let whole = fs::read(log_file(&dir)).unwrap();
    fs::write(log_file(&dir), &whole[..whole.len() - 1]).unwrap();
    is_refused(&dir, "was cut short");
    fs::write(log_file(&dir), &whole[..16_384]).unwrap();
    is_refused(&dir, "was cut short");
    fs::write(log_file(&dir), "").unwrap();
    is_refused(&dir, "is empty: it was cut short");
    fs::remove_file(log_file(&dir)).unwrap();
    fs::write(dir.path().join("log.sqlite-wal"), "frames").unwrap();
    is_refused(&dir, "is missing, but its -wal file is there");
}

#[tokio::test]
async fn a_log_that_was_cut_short_beside_a_write_ahead_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir);
    log.append(vec![append_of(stream(1, 1), 0, 5000)], at(1)).await.unwrap();
    drop(log);
    let log = open(&dir);
    log.append(vec![append_of(stream(1, 2), 0, 1)], at(1)).await.unwrap();
    // As a kill leaves it, with a page of the file lost besides.
    let copy = tempfile::tempdir().unwrap();
    for (path, bytes) in content(dir.path()) {
        fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    fs::remove_file(copy.path().join("log.sqlite-shm")).unwrap();
    assert_eq!(open(&copy).head().await.unwrap(), 5001);
    for (path, bytes) in content(dir.path()) {
        fs::write(copy.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    let whole = fs::read(log_file(&copy)).unwrap();
    let cut = &whole[..whole.len() / 2];
    fs::write(log_file(&copy), cut).unwrap();
    let refused = refusal(copy.path(), SqliteMode::ReadWrite);
    assert!(refused.contains("is damaged"), "{refused}");
    assert!(fs::read(log_file(&copy)).unwrap() == cut);
}

#[tokio::test]
async fn a_write_ahead_log_that_cannot_be_written_again_is_refused() {
    let dir = closed_log(1).await;
    // What not even root can write.
    fs::create_dir(dir.path().join("log.sqlite-wal")).unwrap();
    let refused = refusal(dir.path(), SqliteMode::ReadWrite);
    assert!(refused.contains("log.sqlite has a write-ahead log that cannot be written to the disk"), "{refused}");
}

#[tokio::test]
async fn damage_inside_the_file_is_named() {
    let dir = closed_log(2000).await;
    let mut file = fs::read(log_file(&dir)).unwrap();
    // All but the first page, where the tables are named.
    file[8192..].fill(0xa5);
    fs::write(log_file(&dir), &file).unwrap();
    let refused = refusal(dir.path(), SqliteMode::ReadWrite);
    assert!(refused.contains("is damaged") && refused.contains("backup"), "{refused}");
    assert!(fs::read(log_file(&dir)).unwrap() == file);
}

#[tokio::test]
async fn a_stream_of_an_unknown_kind_is_read_up_to() {
    let dir = closed_log(2).await;
    open(&dir).append(vec![append_of(stream(1, 2), 0, 1)], at(1)).await.unwrap();
    let conn = Connection::open(log_file(&dir)).unwrap();
    conn.execute("UPDATE streams SET kind = 99 WHERE id = 2", []).unwrap();
    drop(conn);
    let log = open(&dir);
    assert_eq!(log.read_all(1, 10).await.unwrap().len(), 2);
    let refused = log.read_all(3, 10).await.unwrap_err().to_string();
    assert!(refused.contains("event 3 is in a stream of kind 99") && refused.contains("newer tiffin"), "{refused}");
}

#[tokio::test]
async fn a_full_disk_leaves_the_log_as_it_was() {
    let dir = closed_log(1).await;
    let options = Options { max_pages: Some(24), ..OPTIONS };
    let log = SqliteLog::open_with(dir.path(), SqliteMode::ReadWrite, options).unwrap();
    let mut big = vec![append_of(stream(1, 2), 0, 3000), append_of(stream(1, 3), 0, 1)];
    big[0].events[0].name = "Expired";
    let mut small = append_of(stream(1, 2), 0, 1);
    small.events[0].name = "Expired";
    for _ in 0..2 {
        let refused = log.append(big.clone(), at(2)).await.unwrap_err();
        assert!(
            matches!(&refused, StoreError::Unavailable(reason) if reason.contains("the disk is full")),
            "{refused}"
        );
        assert_eq!((log.head().await.unwrap(), log.read_all(1, 10).await.unwrap().len()), (1, 1));
        assert_eq!(log.read_stream(stream(1, 3), 1, 10).await.unwrap(), []);
    }
    // What fits is still taken, at the next position and version; a type that the failed batch was
    // the first to have is named now.
    let fits = log.append(vec![append_of(stream(1, 1), 1, 1), small], at(2)).await.unwrap();
    assert_eq!((fits.first, log.head().await.unwrap()), (2, 3));
    drop(log);
    // And when there is room again, the rest is.
    let log = open(&dir);
    assert_eq!(log.read_all(3, 1).await.unwrap()[0].event_type.as_ref(), "order.Expired");
    assert_eq!(log.append(vec![append_of(stream(1, 2), 1, 3000)], at(3)).await.unwrap().first, 4);
}

/// The same on a file system that is really full, where it is COMMIT that fails. Only root may mount
/// one: where nobody watches (`CI` is set) that is a failure, elsewhere it is said.
#[tokio::test]
async fn a_full_file_system_leaves_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(dir.path()).status().unwrap();
    if !mount.success() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root, to mount a file system that fills up");
        eprintln!("NOT RUN: a full file system. Run the tests as root for it.");
        return;
    }
    let log = open(&dir);
    let mut events = 0;
    let refused = loop {
        let batch = vec![append_of(stream(1, events.into()), 0, 100), append_of(stream(2, 1), events / 100, 1)];
        match log.append(batch, at(1)).await {
            Ok(appended) => assert_eq!(appended.first, events + events / 100 + 1),
            Err(error) => break error,
        }
        events += 100;
    };
    assert!(matches!(&refused, StoreError::Unavailable(reason) if reason.contains("the disk is full")), "{refused}");
    let head = events + events / 100;
    assert_eq!(log.head().await.unwrap(), head);
    assert_eq!(log.read_all(1, usize::MAX).await.unwrap().len() as u64, head);
    drop(log);
    let log = SqliteLog::open(dir.path(), SqliteMode::ReadOnly).unwrap();
    assert_eq!(log.read_all(1, usize::MAX).await.unwrap().len() as u64, head);
    drop(log);
    let grown = Command::new("mount").args(["-o", "remount,size=8m"]).arg(dir.path()).status().unwrap();
    assert!(grown.success());
    let log = open(&dir);
    let appended = log.append(vec![append_of(stream(2, 1), events / 100, 1)], at(1)).await.unwrap();
    assert_eq!(appended.first, head + 1);
    drop(log);
    assert!(Command::new("umount").arg(dir.path()).status().unwrap().success());
}

#[tokio::test]
async fn what_another_program_wrote_is_noticed() {
    let dir = closed_log(1).await;
    let log = open(&dir);
    log.append(vec![append_of(stream(1, 1), 1, 1)], at(2)).await.unwrap();
    let conn = Connection::open(log_file(&dir)).unwrap();
    let sql = "INSERT INTO events SELECT position + 1, stream, version + 1, type, schema_version, payload, command, \
               digest, actor, correlation, causation, trace, occurred_at, recorded_at FROM events WHERE position = 2";
    conn.execute(sql, []).unwrap();
    let refused = log.append(vec![append_of(stream(1, 1), 2, 1)], at(2)).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Conflict(moved) if (moved[0].expected, moved[0].actual) == (2, 3)),
        "{refused}"
    );
    assert_eq!(log.read_all(1, 10).await.unwrap().len(), 3);
    assert_eq!(log.append(vec![append_of(stream(1, 1), 3, 1)], at(2)).await.unwrap().first, 4);
}

#[test]
fn a_failed_commit_is_judged_by_what_can_be_seen() {
    assert_eq!(outcome(false, Some(15), 10, 15), Outcome::Written);
    assert_eq!(outcome(false, Some(10), 10, 15), Outcome::NotWritten);
    assert_eq!(outcome(false, Some(12), 10, 15), Outcome::Unknown);
    assert_eq!(outcome(false, None, 10, 15), Outcome::Unknown);
    // What the disk has after a failed sync, nobody knows.
    assert_eq!(outcome(true, Some(15), 10, 15), Outcome::Unknown);
    assert_eq!(outcome(true, Some(10), 10, 15), Outcome::Unknown);
}

/// Says in which folder this process is to look as an ordinary user.
const UNPRIVILEGED: &str = "TIFFIN_TEST_READ_ONLY_FOLDER";

/// Root may write everywhere, so a process of another user looks if need be.
#[tokio::test]
async fn a_folder_that_cannot_be_written_can_be_read() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    if let Some(dir) = std::env::var_os(UNPRIVILEGED) {
        return reads_what_it_cannot_write(Path::new(&dir)).await;
    }
    let dir = closed_log(2).await;
    let unclosed = dir.path().join("unclosed");
    let log = open(&dir);
    log.append(vec![append_of(stream(1, 1), 2, 1)], at(1)).await.unwrap();
    fs::create_dir(&unclosed).unwrap();
    for name in ["log.sqlite", "log.sqlite-wal"] {
        fs::copy(dir.path().join(name), unclosed.join(name)).unwrap();
    }
    drop(log);
    let test = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
    for path in [&unclosed, &dir.path().to_owned()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let root = fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    let mut child = Command::new(&test);
    child.args(["--exact", "sqlite::tests::refusals::a_folder_that_cannot_be_written_can_be_read"]);
    if root {
        child.uid(65_534).gid(65_534);
    }
    let output = child.env(UNPRIVILEGED, dir.path()).output().unwrap();
    for path in [&unclosed, &dir.path().to_owned()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// A file that was taken as unchanging and changes all the same is not read on.
#[tokio::test]
async fn a_change_under_an_unchanging_file_is_noticed() {
    let dir = closed_log(2).await;
    let mut reader = Reader::open_unchanging(Folder::new(dir.path())).unwrap();
    assert_eq!(reader.read_all(1, 10).unwrap().len(), 2);
    open(&dir).append(vec![append_of(stream(1, 1), 2, 1)], at(1)).await.unwrap();
    let refused = reader.read_all(1, 10).unwrap_err().to_string();
    assert!(refused.contains("was written meanwhile: read again"), "{refused}");
}

async fn reads_what_it_cannot_write(dir: &Path) {
    assert!(fs::write(dir.join("probe"), "").is_err(), "this folder can be written");
    let log = SqliteLog::open(dir, SqliteMode::ReadOnly).unwrap();
    assert_eq!(log.read_all(1, 10).await.unwrap().len(), 3);
    assert_eq!(log.head().await.unwrap(), 3);
    let refused = refusal(dir, SqliteMode::ReadWrite);
    assert!(refused.contains("cannot be written"), "{refused}");
    let refused = refusal(&dir.join("unclosed"), SqliteMode::ReadOnly);
    assert!(refused.contains("its last writer did not close it"), "{refused}");
}
