//! Transactions, waits, and connections that break.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _};

use super::{super::super::Mode, *};
use crate::args;

fn table(connection: &Connection) {
    connection.run("CREATE TABLE notes (id bigint PRIMARY KEY); INSERT INTO notes VALUES (1)").unwrap();
}

fn count(connection: &Connection) -> i64 {
    one(connection, "SELECT count(*) FROM notes").unwrap()
}

/// Ends the server's side of whatever is open under the name of the views.
fn throw_out(place: &Place) {
    let sql = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
               WHERE application_name LIKE 'tiffin views %' AND datname = current_database()";
    assert_ne!(place.psql(sql), "0");
}

#[test]
fn a_transaction_counts_when_it_is_committed() {
    let place = Place::new();
    let (writer, other) = (place.writer(), place.writer());
    table(&writer);
    let transaction = writer.begin(Mode::Write).unwrap();
    assert_eq!(transaction.execute("INSERT INTO notes VALUES (?1), (?2)", args![2_i64, 3_i64]).unwrap(), 2);
    assert_eq!(count(&other), 1);
    transaction.commit().unwrap();
    assert_eq!(count(&other), 3);
    let transaction = writer.begin(Mode::Write).unwrap();
    transaction.execute("DELETE FROM notes", &[]).unwrap();
    drop(transaction);
    assert_eq!(count(&writer), 3);
}

#[test]
fn a_reader_sees_one_moment_and_cannot_write() {
    let place = Place::new();
    let writer = place.writer();
    table(&writer);
    let reader = place.open(Access::Read).connect().unwrap();
    let snapshot = reader.begin(Mode::Read).unwrap();
    assert_eq!(count(&snapshot), 1);
    writer.execute("INSERT INTO notes VALUES (2)", &[]).unwrap();
    assert_eq!(count(&snapshot), 1);
    snapshot.commit().unwrap();
    assert_eq!(count(&reader), 2);
    assert_eq!(code(&reader.execute("DELETE FROM notes", &[]).unwrap_err()), "25006");
    let snapshot = writer.begin(Mode::Read).unwrap();
    assert_eq!(code(&snapshot.execute("DELETE FROM notes", &[]).unwrap_err()), "25006");
}

#[test]
fn a_transaction_in_which_something_failed_cannot_be_committed() {
    let place = Place::new();
    let connection = place.writer();
    table(&connection);
    let transaction = connection.begin(Mode::Write).unwrap();
    transaction.execute("INSERT INTO notes VALUES (2)", &[]).unwrap();
    assert_eq!(code(&transaction.execute("INSERT INTO notes VALUES (1)", &[]).unwrap_err()), "23505");
    let error = transaction.commit().unwrap_err();
    assert!(error.to_string().contains("rolled back instead of committed"), "{error}");
    assert_eq!(count(&connection), 1);
}

#[test]
fn a_drop_behind_a_long_reader_gives_up_quickly_and_lets_newcomers_by() {
    let place = Place::new();
    let (reader, writer, newcomer) = (place.writer(), place.writer(), place.writer());
    table(&writer);
    let snapshot = reader.begin(Mode::Read).unwrap();
    assert_eq!(count(&snapshot), 1);
    std::thread::scope(|threads| {
        let dropping = threads.spawn(move || {
            let began = Instant::now();
            let transaction = writer.begin(Mode::Write).unwrap();
            assert_eq!(code(&transaction.run("DROP TABLE notes").unwrap_err()), "55P03");
            assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
            drop(transaction);
            assert_eq!(one::<String>(&writer, "SHOW lock_timeout").unwrap(), "5s");
            writer
        });
        while !dropping.is_finished() {
            let began = Instant::now();
            assert_eq!(count(&newcomer), 1);
            assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        }
        let writer = dropping.join().unwrap();
        snapshot.commit().unwrap();
        writer.run("drop table notes;").unwrap();
        assert_eq!(one::<String>(&writer, "SHOW lock_timeout").unwrap(), "5s");
        assert!(writer.execute("DELETE FROM notes", &[]).unwrap_err().is_damage());
    });
}

#[test]
fn a_connection_that_broke_is_not_used_again() {
    let place = Place::new();
    let pool = place.open(Access::Write);
    let (connection, resting) = (pool.connect().unwrap(), pool.connect().unwrap());
    table(&connection);
    drop(resting);
    let transaction = connection.begin(Mode::Write).unwrap();
    transaction.execute("INSERT INTO notes VALUES (2)", &[]).unwrap();
    throw_out(&place);
    let error = transaction.execute("INSERT INTO notes VALUES (3)", &[]).unwrap_err();
    assert!(!error.is_damage(), "{error}");
    assert!(transaction.execute("INSERT INTO notes VALUES (4)", &[]).is_err());
    assert!(transaction.commit().is_err());
    drop(connection);
    // Nor is the one that rested and broke with it.
    assert_eq!(count(&pool.connect().unwrap()), 1);
    // One that broke while it rested is noticed when it is wanted.
    throw_out(&place);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(count(&pool.connect().unwrap()), 1);
}

#[test]
fn a_connection_dropped_amid_a_transaction_leaves_nothing_behind() {
    let place = Place::new();
    let pool = place.open(Access::Write);
    let connection = pool.connect().unwrap();
    table(&connection);
    connection.run("BEGIN").unwrap();
    let begun = connection.begin(Mode::Write).unwrap();
    begun.execute("DELETE FROM notes", &[]).unwrap();
    std::mem::forget(begun);
    drop(connection);
    let next = pool.connect().unwrap();
    assert_eq!(count(&next), 1);
    // The lock is gone with it.
    next.run("DROP TABLE notes").unwrap();
}

#[test]
fn connections_are_kept_and_bounded() {
    let place = Place::new();
    let pool = place.open(Access::Write);
    let pid = |connection: &Connection| one::<i64>(connection, "SELECT pg_backend_pid()").unwrap();
    let first = pid(&pool.connect().unwrap());
    assert_eq!(pid(&pool.connect().unwrap()), first);
    let all: Vec<Connection> = (0..12).map(|_| pool.connect().unwrap()).collect();
    let began = Instant::now();
    let error = pool.connect().err().unwrap();
    assert!(error.to_string().contains("all 12 connections"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));
    drop(all);
    pool.connect().unwrap();
}

#[test]
fn a_server_that_is_gone_is_said_at_once_and_found_when_it_is_back() {
    let server = Postgres::start();
    let place = Place { url: server.database(), runtime: Runtime::new().unwrap() };
    let pool = place.open(Access::Write);
    table(&pool.connect().unwrap());
    server.kill();
    let asked = || {
        let began = Instant::now();
        let asked = pool.connect().and_then(|connection| connection.begin(Mode::Read).map(drop));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        asked
    };
    // The server's children live on for a moment.
    let deadline = Instant::now() + Duration::from_secs(60);
    while asked().is_ok() {
        assert!(Instant::now() < deadline, "the server lives on");
    }
    let error = asked().unwrap_err();
    assert!(matches!(error, SqlError::Postgres(_)) && !error.is_damage(), "{error}");
    server.restart();
    asked().unwrap();
}

#[test]
fn the_name_of_the_place_shows_no_password() {
    let place = Place::new();
    let name = place.open(Access::Read).to_string();
    assert!(name.starts_with("postgres://tiffin@127.0.0.1:") && name.contains("/test_"), "{name}");
    let _entered = place.runtime.enter();
    for url in ["postgres://me:secret@host:port/x", "postgres://me:secret@host/x?sslmode=secretly", "nonsense"] {
        let error = PostgresPool::open(url, Access::Read).err().unwrap();
        assert!(!error.to_string().contains("secret@"), "{error}");
    }
    let wrong = place.url.replacen(Postgres::shared().password(), "wrong-password", 1);
    let refused =
        Database::Postgres(Box::new(PostgresPool::open(&wrong, Access::Read).unwrap())).connect().err().unwrap();
    assert!(!refused.is_damage() && !refused.to_string().contains("wrong-password"), "{refused}");
}

#[test]
fn many_may_start_at_once_in_an_empty_database_and_one_without_rights_in_a_ready_one() {
    let place = Place::new();
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| place.writer().run("SELECT 1").unwrap());
        }
    });
    // One sees no schema yet while another is about to have made it.
    let mut first = place.runtime.block_on(sqlx::PgConnection::connect(&place.url)).unwrap();
    place.psql("DROP SCHEMA views");
    let mut run = |sql| place.runtime.block_on(first.execute(sql)).unwrap();
    run("BEGIN");
    run("CREATE SCHEMA views");
    std::thread::scope(|threads| {
        let second = threads.spawn(|| place.writer().run("SELECT 1").unwrap());
        std::thread::sleep(Duration::from_millis(500));
        assert!(!second.is_finished());
        run("COMMIT");
    });
    place.psql("CREATE ROLE cook LOGIN PASSWORD 'c'; GRANT USAGE, CREATE ON SCHEMA views TO cook");
    let (_, rest) = place.url.split_once('@').unwrap();
    let cook = Place { url: format!("postgres://cook:c@{rest}"), runtime: Runtime::new().unwrap() };
    table(&cook.writer());
}

#[test]
fn a_database_in_another_encoding_is_refused() {
    let place = Place::new();
    place.psql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let (server, _) = place.url.rsplit_once('/').unwrap();
    let latin = Place { url: format!("{server}/latin"), runtime: Runtime::new().unwrap() };
    let error = latin.open(Access::Write).connect().err().unwrap();
    assert!(error.is_damage() && error.to_string().contains("LATIN1"), "{error}");
}

#[test]
fn rows_can_be_looked_at_beside_those_of_another_connection() {
    let place = Place::new();
    let (connection, other) = (place.writer(), place.writer());
    let mut sum = 0;
    let look = &mut |row: &crate::SqlRow<'_>| {
        sum += asked::<i64>(&other, "SELECT ?1 * 2", args![row.get::<i64>(0)?])?;
        Ok(())
    };
    connection.each("SELECT generate_series(1, 1000)", &[], look).unwrap();
    assert_eq!(sum, 1_001_000);
    let error = connection.each("SELECT 1", &[], &mut |_| connection.run("SELECT 1")).unwrap_err();
    assert!(error.to_string().contains("while its rows were being read"), "{error}");
    // Whoever looks may stop early.
    let stop = &mut |_: &crate::SqlRow<'_>| Err(Misfit("enough".into()).into());
    assert_eq!(misfit(connection.each("SELECT generate_series(1, 100000)", &[], stop).unwrap_err()), "enough");
    assert_eq!(one::<i64>(&connection, "SELECT 2").unwrap(), 2);
}
