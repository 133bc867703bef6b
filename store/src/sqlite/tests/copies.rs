//! Copies of other logs, states, and files of older formats.

use rusqlite::{Connection, params};

use super::{
    super::folder::{APPLICATION_ID, MIGRATIONS},
    *,
};

/// Four streams of five events.
async fn origin() -> (Uuid, Vec<EventRow>) {
    let log = MemoryLog::new();
    for key in 0..4 {
        log.append(vec![append_of(stream(1, key), 0, 5)], at(10 + key as i64)).await.unwrap();
    }
    (log.identity().log, log.read_all(1, 100).await.unwrap())
}

#[tokio::test]
async fn an_import_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (log, rows) = origin().await;
    let incarnation = {
        let copy = open(&dir);
        copy.import(log, rows[..7].to_vec()).await.unwrap();
        assert_eq!(copy.syncs(), 1);
        copy.identity().incarnation
    };
    for (next, row) in rows.iter().enumerate().skip(7) {
        let copy = open(&dir);
        assert_eq!((copy.identity(), copy.state().await.unwrap()), (LogIdentity { log, incarnation }, LogState::Copy));
        copy.import(log, vec![row.clone()]).await.unwrap();
        assert_eq!(copy.read_all(1, 100).await.unwrap(), rows[..=next]);
    }
    open(&dir).set_state(LogState::Open).await.unwrap();
    let log = open(&dir);
    let appended = log.append(vec![append_of(stream(1, 3), 5, 1)], at(1)).await.unwrap();
    assert_eq!(appended, Appended { first: 21, recorded_at: at(13) });
}

#[tokio::test]
async fn an_import_without_memory_finds_its_streams() {
    let dir = tempfile::tempdir().unwrap();
    let (log, rows) = origin().await;
    let copy = SqliteLog::open_with(dir.path(), SqliteMode::ReadWrite, CRAMPED).unwrap();
    for part in rows.chunks(3) {
        copy.import(log, part.to_vec()).await.unwrap();
    }
    assert_eq!(copy.read_all(1, 100).await.unwrap(), rows);
    assert_eq!(copy.versions(&[stream(1, 0), stream(1, 3)]).await.unwrap(), [5, 5]);
}

#[tokio::test]
async fn a_reader_beside_it_learns_whose_copy_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (log, rows) = origin().await;
    let copy = open(&dir);
    let beside = SqliteLog::open(dir.path(), SqliteMode::ReadOnly).unwrap();
    assert_ne!(beside.identity().log, log);
    let mut shown = beside.subscribe();
    copy.import(log, rows.clone()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), shown.wait_for(|head| *head == 20)).await.unwrap().unwrap();
    assert_eq!((beside.identity(), beside.state().await.unwrap()), (copy.identity(), LogState::Copy));
    for refused in [beside.import(log, rows).await, beside.set_state(LogState::Open).await] {
        assert!(refused.unwrap_err().to_string().contains("opened to be read only"));
    }
}

#[tokio::test]
async fn an_import_onto_a_full_disk_leaves_the_copy_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (log, rows) = origin().await;
    let options = Options { max_pages: Some(24), ..OPTIONS };
    let copy = SqliteLog::open_with(dir.path(), SqliteMode::ReadWrite, options).unwrap();
    let own = copy.identity();
    let mut big = rows.clone();
    big[19].payload = vec![b'1'; 1 << 20];
    let refused = copy.import(log, big).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Unavailable(reason) if reason.contains("the disk is full")), "{refused}");
    assert_eq!((copy.head().await.unwrap(), copy.state().await.unwrap(), copy.identity()), (0, LogState::Open, own));
    copy.import(log, rows.clone()).await.unwrap();
    assert_eq!(copy.read_all(1, 100).await.unwrap(), rows);
}

/// A log as the first format had it, with one event.
fn of_format_1(dir: &TempDir) -> Uuid {
    let conn = Connection::open(dir.path().join("log.sqlite")).unwrap();
    conn.execute_batch(MIGRATIONS[0]).unwrap();
    conn.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    conn.pragma_update(None, "user_version", 1).unwrap();
    let (log, stream) = (Uuid::from_u128(5), stream(1, 1));
    conn.execute("INSERT INTO log VALUES (1, ?1, zeroblob(16), 1, 0)", [log.as_bytes()]).unwrap();
    let names = params![stream.key.as_bytes(), stream.kind as u8, stream.tenant.0.as_bytes()];
    conn.execute("INSERT INTO streams VALUES (1, ?1, ?2, ?3)", names).unwrap();
    conn.execute("INSERT INTO event_types VALUES (1, 'order.Confirmed')", []).unwrap();
    let sql =
        "INSERT INTO events VALUES (1, 1, 1, 1, 1, '\"Confirmed 0\"', ?1, NULL, ?2, NULL, NULL, NULL, ?3, 5000000)";
    let append = append_of(stream, 0, 1);
    let metadata = append.metadata;
    let values = params![metadata.command.0.as_bytes(), metadata.actor.0.as_bytes(), append.occurred_at.micros];
    conn.execute(sql, values).unwrap();
    log
}

#[tokio::test]
async fn a_log_of_the_first_format_is_read_and_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let log = of_format_1(&dir);
    let rows = rows_of(&append_of(stream(1, 1), 0, 1), 1, at(5));
    let before = std::fs::read(dir.path().join("log.sqlite")).unwrap();
    {
        let reading = SqliteLog::open(dir.path(), SqliteMode::ReadOnly).unwrap();
        assert_eq!((reading.state().await.unwrap(), reading.identity().log), (LogState::Open, log));
        assert_eq!(reading.read_all(1, 10).await.unwrap(), rows);
    }
    assert!(std::fs::read(dir.path().join("log.sqlite")).unwrap() == before, "reading changed the file");
    for _ in 0..2 {
        let writing = open(&dir);
        assert_eq!((writing.state().await.unwrap(), writing.identity().log), (LogState::Open, log));
        assert_eq!(writing.read_all(1, 10).await.unwrap(), rows);
    }
    // What an older program looks at before it touches a file.
    let file = std::fs::read(dir.path().join("log.sqlite")).unwrap();
    assert_eq!(file[60..64], 2u32.to_be_bytes());
    let log = open(&dir);
    log.append(vec![append_of(stream(1, 1), 1, 1)], at(6)).await.unwrap();
    log.set_state(LogState::Sealed).await.unwrap();
    let reading = SqliteLog::open(dir.path(), SqliteMode::ReadOnly).unwrap();
    assert_eq!(reading.state().await.unwrap(), LogState::Sealed);
}

#[tokio::test]
async fn a_state_that_there_never_was_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    let conn = Connection::open(dir.path().join("log.sqlite")).unwrap();
    conn.execute_batch("PRAGMA ignore_check_constraints = ON; UPDATE log SET state = 'odd'").unwrap();
    drop(conn);
    let Err(refused) = SqliteLog::open(dir.path(), SqliteMode::ReadWrite) else { panic!("not refused") };
    assert!(refused.to_string().contains("it has the state \"odd\""), "{refused}");
}
