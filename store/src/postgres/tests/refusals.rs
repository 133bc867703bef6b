//! What is refused: databases that cannot be used, batches that cannot stand. Each time the error says
//! why, and nothing has changed.

use super::*;

/// Every row of every table, as text.
fn content(server: &Postgres, url: &str) -> String {
    let tables = server.psql(
        url,
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
    );
    let rows = |table: &str| format!("{table}: {}\n", server.psql(url, &format!("SELECT * FROM {table} ORDER BY 1")));
    tables.lines().map(rows).collect()
}

async fn refusal(url: &str, read_only: bool) -> String {
    let opened = if read_only { PostgresLog::connect_read_only(url).await } else { PostgresLog::connect(url).await };
    match opened {
        Err(StoreError::Unusable(reason)) => reason,
        Err(other) => panic!("refused in another way: {other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

/// Both ways of opening are refused with `reason`, and leave everything as it is.
async fn is_refused(url: &str, reason: &str) {
    let server = Postgres::shared();
    let before = content(server, url);
    for read_only in [false, true] {
        let refused = refusal(url, read_only).await;
        assert!(refused.contains(reason) && refused.contains("postgres://127.0.0.1:"), "{refused}");
        assert!(!refused.contains(server.password()), "{refused}");
        assert_eq!(content(server, url), before);
    }
}

/// A database with a log of one event, where `sql` was run then.
async fn changed(sql: &str) -> String {
    let url = Postgres::shared().database();
    open(&url).await.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await.unwrap();
    Postgres::shared().psql(&url, sql);
    url
}

#[tokio::test]
async fn a_foreign_database_is_refused() {
    let server = Postgres::shared();
    let url = server.database();
    server.psql(&url, "CREATE TABLE songs AS SELECT 'Yesterday' AS title");
    is_refused(&url, "has tables that are not tiffin's (public.songs)").await;
    // Views of ours may have been there before the log, and extensions belong to nobody.
    let url = server.database();
    server.psql(&url, "CREATE SCHEMA tiffin_views CREATE TABLE menu (dish uuid)");
    open(&url).await;
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let server = Postgres::shared();
    let make = "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0";
    server.psql(&server.url("postgres"), make);
    is_refused(&server.url("latin"), "keeps text as LATIN1").await;
}

#[tokio::test]
async fn a_log_of_a_newer_format_is_refused() {
    let url = changed("UPDATE tiffin_log.log SET format_version = 2").await;
    is_refused(&url, "was written by a newer tiffin (format 2; this one reads format 1)").await;
}

#[tokio::test]
async fn a_damaged_log_is_refused() {
    let url = changed("DROP TABLE tiffin_log.events CASCADE").await;
    is_refused(&url, "the log is damaged: the table tiffin_log.events is missing").await;
    let url = changed("DELETE FROM tiffin_log.head").await;
    is_refused(&url, "tiffin_log.log or tiffin_log.head has no row").await;
    let url = changed("UPDATE tiffin_log.log SET format_version = 0").await;
    is_refused(&url, "its format is 0").await;
}

#[tokio::test]
async fn a_table_that_is_dropped_under_a_running_log_is_named() {
    let url = Postgres::shared().database();
    let log = open(&url).await;
    log.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await.unwrap();
    Postgres::shared().psql(&url, "DROP TABLE tiffin_log.snapshots");
    let results = [
        log.append(vec![append_of(stream(1, 1), 1, 1)], at(1)).await.map(|_| ()),
        log.read_snapshot(stream(1, 1)).await.map(|_| ()),
    ];
    for result in results {
        let Err(StoreError::Unusable(why)) = result else { panic!("{result:?}") };
        assert!(why.contains("is damaged") && why.contains("snapshots"), "{why}");
    }
    assert_eq!(log.read_all(1, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_reached_is_refused_and_says_what_to_do() {
    let server = Postgres::shared();
    let url = server.database();
    for (wrong, reason) in [
        (server.url("nowhere"), "database \"nowhere\" does not exist. Make it with createdb"),
        (url.replace(server.password(), "guess"), "Look at user and password"),
        ("postgres://127.0.0.1:notaport/x".into(), "a Postgres is named as postgres://"),
    ] {
        for read_only in [false, true] {
            let refused = refusal(&wrong, read_only).await;
            assert!(refused.contains(reason) && !refused.contains("guess"), "{refused}");
        }
    }
    // Nobody listens there: that may pass.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = PostgresLog::connect(&format!("postgres://someone:secret@{closed}/x")).await;
    let Err(StoreError::Unavailable(why)) = gone else { panic!("not refused, or in another way") };
    assert!(why.contains(&closed.to_string()) && !why.contains("secret"), "{why}");
}

#[tokio::test]
async fn whoever_reads_only_changes_nothing() {
    let server = Postgres::shared();
    let url = server.database();
    assert!(refusal(&url, true).await.contains("there is no log in this database"));
    assert_eq!(content(server, &url), "");
    let log = open(&url).await;
    log.append(vec![append_of(stream(1, 1), 0, 2)], at(1)).await.unwrap();
    let before = content(server, &url);
    let reading = PostgresLog::connect_read_only(&url).await.unwrap();
    assert_eq!(reading.identity(), log.identity());
    assert_eq!(reading.read_all(1, 10).await.unwrap(), log.read_all(1, 10).await.unwrap());
    let rows = reading.read_all(1, 10).await.unwrap();
    let refused = [
        reading.append(vec![append_of(stream(1, 2), 0, 1)], at(1)).await.map(|_| ()),
        reading.session().await.map(|_| ()),
        reading.set_state(LogState::Sealed).await,
        reading.import(log.identity().log, rows).await,
    ];
    for refused in refused {
        let Err(StoreError::Unusable(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("to be read only"), "{why}");
    }
    // The server itself would not let it.
    let mut conn = Place::new(&url, true).unwrap().connect().await.unwrap();
    let written = raw_sql("UPDATE tiffin_log.head SET position = 7").execute(&mut conn).await.unwrap_err();
    assert!(written.to_string().contains("read-only transaction"), "{written}");
    assert_eq!(content(server, &url), before);
}

#[tokio::test]
async fn what_postgres_cannot_keep_is_refused() {
    let server = Postgres::shared();
    let url = server.database();
    let log = open(&url).await;
    log.append(vec![append_of(stream(1, 1), 0, 1)], at(1)).await.unwrap();
    let before = content(server, &url);
    let mut odd = vec![append_of(stream(1, 2), 0, 1), append_of(stream(1, 3), 0, 1), append_of(stream(1, 4), 0, 1)];
    odd[0].events[0].payload = b"\"\0\"".to_vec();
    odd[1].events[0].payload = vec![b'"', 0xff, b'"'];
    odd[2].occurred_at = Timestamp::from_micros(i64::MIN);
    for append in odd {
        let refused = log.append(vec![append_of(stream(1, 1), 1, 1), append], at(2)).await;
        assert!(matches!(refused, Err(StoreError::Unusable(_))), "{refused:?}");
        assert_eq!(content(server, &url), before);
    }
    assert_eq!(log.append(vec![append_of(stream(1, 1), 1, 1)], at(2)).await.unwrap().first, 2);
}

#[tokio::test]
async fn what_another_program_wrote_is_noticed() {
    let url = changed(
        "INSERT INTO tiffin_log.events SELECT position + 1, stream, version + 1, occurred_at, recorded_at, \
         schema_version, type, command, actor FROM tiffin_log.events",
    );
    // It has no payload, so the database itself refuses it.
    assert!(tokio::spawn(url).await.is_err());
    let url = changed(
        "INSERT INTO tiffin_log.events SELECT position + 1, stream, version + 1, occurred_at, recorded_at, \
         schema_version, type, command, actor, correlation, causation, digest, trace, payload FROM tiffin_log.events",
    )
    .await;
    let refused = open(&url).await.append(vec![append_of(stream(1, 1), 1, 1)], at(1)).await;
    let Err(StoreError::Unusable(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("was written by another program than tiffin"), "{why}");
}

#[tokio::test]
async fn a_stream_of_an_unknown_kind_is_read_up_to() {
    let url = Postgres::shared().database();
    let log = open(&url).await;
    log.append(vec![append_of(stream(1, 1), 0, 2), append_of(stream(1, 2), 0, 1)], at(1)).await.unwrap();
    Postgres::shared().psql(&url, "UPDATE tiffin_log.streams SET kind = 99 WHERE id = 2");
    assert_eq!(log.read_all(1, 10).await.unwrap().len(), 2);
    let refused = log.read_all(3, 10).await.unwrap_err().to_string();
    assert!(refused.contains("event 3 is in a stream of kind 99") && refused.contains("newer tiffin"), "{refused}");
}

#[tokio::test]
async fn a_stream_or_type_without_a_name_is_damage() {
    let url = changed("UPDATE tiffin_log.streams SET id = 9; UPDATE tiffin_log.head SET streams = 9").await;
    let log = open(&url).await;
    let refused = log.read_all(1, 10).await.unwrap_err().to_string();
    assert!(refused.contains("is damaged: stream 1 has no name"), "{refused}");
    Postgres::shared().psql(&url, "UPDATE tiffin_log.streams SET id = 1; UPDATE tiffin_log.events SET type = 7");
    for read in [log.read_all(1, 10).await, log.read_stream(stream(1, 1), 1, 10).await] {
        let refused = read.unwrap_err().to_string();
        assert!(refused.contains("is damaged: event type 7 has no name"), "{refused}");
    }
    // What is mended can be read, without a new start.
    Postgres::shared().psql(&url, "UPDATE tiffin_log.event_types SET id = 7");
    assert_eq!(log.read_all(1, 10).await.unwrap(), rows_of(&append_of(stream(1, 1), 0, 1), 1, at(1)));
}

#[tokio::test]
async fn a_database_that_does_not_wait_for_its_disk_is_made_to() {
    let server = Postgres::shared();
    let url = server.database();
    let name = url.rsplit('/').next().unwrap();
    server.psql(&url, &format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let mut conn = connection(&url).await;
    let place = durable(&Place::new(&url, false).unwrap(), &mut conn).await.unwrap();
    let shown = "SELECT current_setting('synchronous_commit')";
    let of = async |mut conn: PgConnection| sqlx::query_scalar::<_, String>(shown).fetch_one(&mut conn).await.unwrap();
    assert_eq!((of(conn).await, of(place.connect().await.unwrap()).await), ("off".into(), "on".into()));
}

#[tokio::test]
async fn the_servers_clock_can_be_compared() {
    let log = open(&Postgres::shared().database()).await;
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as i64;
    let before = now();
    let server = log.server_time().await.unwrap();
    assert!((before..=now()).contains(&server.micros), "{server}");
}
