//! Where rebuilt views are put, and the plainest fast way to put the same rows there.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use projections::{Registry, Views};
use rusqlite::{Connection, types::Value};
use sqlx::{ConnectOptions, Connection as _, Executor, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;

use crate::Log;

/// Rows of one transaction, and of one page that is read beforehand.
const ROWS: usize = 10_000;

/// A scratch place for views, beside the log's own.
pub(crate) enum Place {
    Folder(TempDir),
    /// A database of its own on the log's server.
    Database {
        server: Box<PgConnectOptions>,
        name: String,
    },
}

/// What a bare insert came to.
pub(crate) struct Inserted {
    pub(crate) rows: u64,
    pub(crate) took: Duration,
}

impl Place {
    pub(crate) async fn make(log: &Log) -> Result<Place> {
        let Some(url) = &log.database else {
            return Ok(Place::Folder(TempDir::new_in(log.scratch())?));
        };
        let server: PgConnectOptions = url.parse().context("the store's address cannot be read")?;
        let name = format!("tiffin_bench_{}", uuid::Uuid::now_v7().simple());
        let mut admin = server.clone().disable_statement_logging().connect().await?;
        // The name is of letters and digits.
        admin.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))).await?;
        Ok(Place::Database { server: Box::new(server), name })
    }

    pub(crate) async fn views(&self, log: &Log, registry: Registry) -> Result<Views> {
        let identity = log.store.identity();
        Ok(match self {
            Place::Folder(folder) => {
                let folder = folder.path().to_owned();
                tokio::task::spawn_blocking(move || Views::open(&folder, identity, registry)).await??
            }
            Place::Database { server, name } => {
                let url = PgConnectOptions::clone(server).database(name).to_url_lossy();
                Views::open_postgres(url.as_str(), identity, registry).await?
            }
        })
    }

    /// The rows of all live views.
    pub(crate) async fn count(&self, views: &Views) -> Result<u64> {
        let counts = views.read(|snapshot| {
            let mut rows = 0;
            for build in snapshot.builds_now().filter(|build| build.live) {
                for table in build.tables.iter() {
                    let count: Vec<u64> =
                        snapshot.query(&format!("SELECT count(*) FROM {{{table}}}"), &[], |row| row.get(0))?;
                    rows += count.into_iter().sum::<u64>();
                }
            }
            Ok(rows)
        });
        Ok(counts.await?)
    }

    /// Inserts the rows of all live views into empty tables like theirs. Reading them is not counted.
    pub(crate) async fn insert_again(&self, views: &Views) -> Result<Inserted> {
        let mut tables = Vec::new();
        for build in views.builds().await?.iter().filter(|build| build.live) {
            tables.extend(build.tables.iter().map(|table| format!("{table}__v{}_b{}", build.version, build.build)));
        }
        match self {
            Place::Folder(folder) => {
                let file = folder.path().join("views.sqlite");
                tokio::task::spawn_blocking(move || into_sqlite(&file, &tables)).await?
            }
            Place::Database { server, name } => {
                let mut there =
                    PgConnectOptions::clone(server).database(name).disable_statement_logging().connect().await?;
                let inserted = into_postgres(&mut there, &tables).await;
                there.close().await?;
                inserted
            }
        }
    }

    /// Removes everything again.
    pub(crate) async fn remove(self, views: Views) -> Result<()> {
        drop(views);
        match self {
            Place::Folder(folder) => folder.close()?,
            Place::Database { server, name } => {
                let mut admin = (*server).disable_statement_logging().connect().await?;
                let sql = format!("DROP DATABASE {name} WITH (FORCE)");
                admin.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await?;
            }
        }
        Ok(())
    }
}

/// As the views' own file is written: the same journal and syncs, and more cache.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 16000;
                       PRAGMA cache_size = -65536;";

fn into_sqlite(views: &PathBuf, tables: &[String]) -> Result<Inserted> {
    let from = Connection::open(views)?;
    let folder = views.parent().context("the views lie in a folder")?;
    let scratch = folder.join("bare.sqlite");
    let into = Connection::open(&scratch)?;
    into.execute_batch(PRAGMAS)?;
    let mut inserted = Inserted { rows: 0, took: Duration::ZERO };
    for table in tables {
        let mut schema =
            from.prepare("SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 AND sql IS NOT NULL ORDER BY type DESC")?;
        for sql in schema.query_map([table], |row| row.get::<_, String>(0))? {
            into.execute_batch(&sql?)?;
        }
        let mut select = from.prepare(&format!("SELECT * FROM {table}"))?;
        let columns = select.column_count();
        let marks = vec!["?"; columns].join(", ");
        let insert = format!("INSERT INTO {table} VALUES ({marks})");
        let mut rows = select.query([])?;
        loop {
            let mut page: Vec<Vec<Value>> = Vec::with_capacity(ROWS);
            while page.len() < ROWS
                && let Some(row) = rows.next()?
            {
                page.push((0..columns).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?);
            }
            if page.is_empty() {
                break;
            }
            let began = Instant::now();
            into.execute_batch("BEGIN IMMEDIATE")?;
            let mut statement = into.prepare_cached(&insert)?;
            for row in &page {
                statement.execute(rusqlite::params_from_iter(row))?;
            }
            into.execute_batch("COMMIT")?;
            inserted.took += began.elapsed();
            inserted.rows += page.len() as u64;
        }
    }
    Ok(inserted)
}

/// By `COPY … FROM STDIN` in the binary form, a table a transaction.
async fn into_postgres(there: &mut PgConnection, tables: &[String]) -> Result<Inserted> {
    let run = |sql: String| sqlx::raw_sql(sqlx::AssertSqlSafe(sql));
    there.execute(run("SET search_path = views; SET synchronous_commit = off".into())).await?;
    let mut inserted = Inserted { rows: 0, took: Duration::ZERO };
    for table in tables {
        let bare = format!("{}_bare", table.replace("__", "_"));
        there.execute(run(format!("CREATE TABLE {bare} (LIKE {table} INCLUDING ALL)"))).await?;
        let mut copied = Vec::new();
        {
            let mut out = there.copy_out_raw(&format!("COPY {table} TO STDOUT (FORMAT binary)")).await?;
            while let Some(chunk) = out.try_next().await? {
                copied.push(chunk);
            }
        }
        let began = Instant::now();
        let mut copy = there.copy_in_raw(&format!("COPY {bare} FROM STDIN (FORMAT binary)")).await?;
        for chunk in copied {
            copy.send(chunk).await?;
        }
        inserted.rows += copy.finish().await?;
        inserted.took += began.elapsed();
        there.execute(run(format!("DROP TABLE {bare}"))).await?;
    }
    Ok(inserted)
}
