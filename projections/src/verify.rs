//! Proof that the views say what the log says, and that the books balance.

use std::{
    cmp::Ordering,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, types::ValueRef};
use store::{EventStore, Position};
use uuid::Uuid;

use crate::{
    Build, Health, Progress, TableSpec, ViewError, Views,
    audit::Audit,
    catalogue,
    engine::{BATCH, Decoded, EngineThread, Kind},
};

/// How long live views may lag before they are given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it concerns: a projection's table, an account, an event.
    pub subject: String,
    /// What stands there.
    pub found: String,
    /// What must stand there.
    pub expected: String,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The last event that was looked at.
    pub position: Position,
    pub events: u64,
    pub streams: u64,
    /// Limited accounts whose ledger balance was compared with their own fold.
    pub accounts: u64,
    /// Rows of live views that were compared with their refold.
    pub rows: u64,
    /// Nothing, when all is well. Of each view the first one only.
    pub differences: Vec<Difference>,
}

/// Refolds the whole log beside the live views and compares them at one position, row by row; and
/// checks what must hold of any log: dense positions and versions, postings that sum to zero, a
/// trial balance of zero, and limited accounts that equal their ledger accounts.
///
/// The live views must be kept up by a runner, here or in another process, or stand at the head.
pub async fn verify(
    store: Arc<dyn EventStore>,
    views: &Views,
    mut progress: impl FnMut(Progress),
) -> Result<Report, ViewError> {
    let mut pass = Pass::begin(store, views).await?;
    let head = pass.store.head().await?;
    pass.fold_to(head, &mut progress).await?;
    let deadline = Instant::now() + PATIENCE;
    // The live views may have gone on meanwhile: they are held where they are now.
    let held = loop {
        let held = Held::take(views.clone()).await?;
        if held.lowest().is_none_or(|lowest| lowest >= pass.position) || Instant::now() >= deadline {
            break held;
        }
        drop(held);
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let target = held.builds.iter().filter(|build| build.live).map(|build| build.position).max();
    pass.fold_to(target.unwrap_or(0), &mut progress).await?;
    let (scratch, position, mut audit) = (pass.scratch, pass.position, pass.audit);
    let compare = tokio::task::spawn_blocking(move || {
        let refold = Held::open(scratch)?;
        audit.compare_accounts(&refold)?;
        let (rows, differences) = compare(&held, &refold, position)?;
        Ok::<_, ViewError>((audit, rows, differences))
    });
    let (audit, rows, differences) = compare.await.map_err(|_| ViewError::Stopped)??;
    let mut report = audit.report();
    report.rows = rows;
    report.differences.extend(differences);
    Ok(report)
}

/// One pass over the log into views of its own.
struct Pass {
    store: Arc<dyn EventStore>,
    scratch: Views,
    engine: EngineThread,
    audit: Audit,
    position: Position,
}

impl Pass {
    async fn begin(store: Arc<dyn EventStore>, views: &Views) -> Result<Pass, ViewError> {
        let scratch = Views::in_memory_with(store.identity(), views.registry().clone())?;
        // As if the log were empty: then they are whole from the start.
        let engine = EngineThread::start(scratch.clone(), 0).await?;
        Ok(Pass { store, scratch, engine, audit: Audit::default(), position: 0 })
    }

    async fn fold_to(&mut self, target: Position, progress: &mut impl FnMut(Progress)) -> Result<(), ViewError> {
        while self.position < target {
            let limit = usize::try_from(target - self.position).unwrap_or(BATCH).min(BATCH);
            let batch = self.store.read_all(self.position + 1, limit).await?;
            let Some(last) = batch.last().map(|row| row.position) else {
                self.audit.missing(self.position + 1, target);
                return Ok(());
            };
            let mut audit = std::mem::take(&mut self.audit);
            let fold = self.engine.call(move |engine| {
                audit.rows(&batch);
                let outcome = Decoded::of(&batch).and_then(|decoded| match decoded {
                    Some(decoded) => {
                        audit.events(&decoded);
                        engine.fold(Kind::Live, &decoded)
                    }
                    None => Ok(()),
                });
                (audit, outcome)
            });
            let (audit, outcome) = fold.await?;
            self.audit = audit;
            match outcome {
                // The audit has it: a gap, say.
                Err(ViewError::Log(_)) => {}
                other => other?,
            }
            self.position = last;
            progress(Progress { projection: "verify".into(), position: last, head: target });
        }
        Ok(())
    }
}

/// Views held at one moment, however they go on.
pub(crate) struct Held {
    views: Views,
    connection: Option<Connection>,
    builds: Vec<Build>,
}

impl Held {
    async fn take(views: Views) -> Result<Held, ViewError> {
        tokio::task::spawn_blocking(move || Held::open(views)).await.map_err(|_| ViewError::Stopped)?
    }

    fn open(views: Views) -> Result<Held, ViewError> {
        let connection = views.take_connection()?;
        connection.execute_batch("BEGIN")?;
        let mut builds = catalogue::builds(&connection)?;
        builds.retain(|build| views.registry().iter().any(|projection| build.is_of(&**projection)));
        Ok(Held { views, connection: Some(connection), builds })
    }

    fn connection(&self) -> Result<&Connection, ViewError> {
        self.connection.as_ref().ok_or(ViewError::Stopped)
    }

    fn lowest(&self) -> Option<Position> {
        let sound = self.builds.iter().filter(|build| build.live && build.health == Health::Sound);
        sound.map(|build| build.position).min()
    }

    fn live(&self, projection: &str, version: u32) -> Option<&Build> {
        let same = |build: &&Build| build.live && build.projection == projection && build.version == version;
        self.builds.iter().find(same)
    }

    /// Every row of a live table, by key.
    pub(crate) fn each(
        &self,
        projection: &dyn crate::Projection,
        table: &TableSpec,
        mut look: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), ViewError> {
        let Some(build) = self.live(projection.name(), projection.version()) else { return Ok(()) };
        let mut statement = self.connection()?.prepare(&every_row(table, build))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            look(row)?;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A connection whose transaction cannot be ended is not used again.
        if let Some(connection) =
            self.connection.take().filter(|connection| connection.execute_batch("ROLLBACK").is_ok())
        {
            self.views.give_back(connection);
        }
    }
}

fn every_row(table: &TableSpec, build: &Build) -> String {
    format!("SELECT {} FROM {}{} ORDER BY {}", table.column_list(), table.name, build.suffix(), table.key_list())
}

/// Compares all live tables with those of the refold, which stands at `position`.
fn compare(live: &Held, refold: &Held, position: Position) -> Result<(u64, Vec<Difference>), ViewError> {
    let (mut rows, mut differences) = (0, Vec::new());
    for projection in live.views.registry().iter() {
        let name = projection.name();
        let subject = format!("view {name}");
        let Some(fresh) = refold.live(name, projection.version()) else { continue };
        let Some(build) = live.live(name, projection.version()) else {
            differences.push(Difference { subject, found: "not built yet".into(), expected: "a live build".into() });
            continue;
        };
        let stands = |build: &Build| match &build.error {
            Some(error) => format!("stopped: {error}"),
            None => format!("at event {}", build.position),
        };
        if build.position != position || build.health != Health::Sound || fresh.health != Health::Sound {
            let expected = format!("at event {position}");
            let found = if build.health == Health::Sound && build.position == position {
                format!("refold {}", stands(fresh))
            } else {
                stands(build)
            };
            differences.push(Difference { subject, found, expected });
            continue;
        }
        for table in projection.tables() {
            let (seen, difference) = first_difference(live.connection()?, build, refold.connection()?, fresh, table)?;
            rows += seen;
            if let Some(difference) = difference {
                differences.push(difference);
                break;
            }
        }
    }
    Ok((rows, differences))
}

/// How many rows are the same, and the first pair that is not.
fn first_difference(
    live: &Connection,
    build: &Build,
    refold: &Connection,
    fresh: &Build,
    table: &TableSpec,
) -> Result<(u64, Option<Difference>), ViewError> {
    let mut found = live.prepare(&every_row(table, build))?;
    let mut expected = refold.prepare(&every_row(table, fresh))?;
    let (mut found, mut expected) = (found.query([])?, expected.query([])?);
    let mut same = 0;
    let difference = |same: u64, found: String, expected: String| {
        let subject = format!("view {}, table {}{}", build.projection, table.name, build.suffix());
        Ok((same, Some(Difference { subject, found, expected })))
    };
    let missing = || "no such row".to_owned();
    loop {
        let (left, right) = (found.next()?, expected.next()?);
        match (left, right) {
            (None, None) => break,
            (Some(left), None) => return difference(same, shown(left, table)?, missing()),
            (None, Some(right)) => return difference(same, missing(), shown(right, table)?),
            (Some(left), Some(right)) => match order(left, right, table.keys)? {
                Ordering::Less => return difference(same, shown(left, table)?, missing()),
                Ordering::Greater => return difference(same, missing(), shown(right, table)?),
                Ordering::Equal if order(left, right, table.columns.len())? != Ordering::Equal => {
                    return difference(same, shown(left, table)?, shown(right, table)?);
                }
                Ordering::Equal => {}
            },
        }
        same += 1;
    }
    Ok((same, None))
}

/// The order of two rows by their first `columns` columns.
fn order(left: &rusqlite::Row<'_>, right: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<Ordering> {
    for index in 0..columns {
        let order = match (left.get_ref(index)?, right.get_ref(index)?) {
            (ValueRef::Integer(left), ValueRef::Integer(right)) => left.cmp(&right),
            (ValueRef::Text(left), ValueRef::Text(right)) | (ValueRef::Blob(left), ValueRef::Blob(right)) => {
                left.cmp(right)
            }
            (ValueRef::Null, ValueRef::Null) => Ordering::Equal,
            // Columns are strictly typed, so one of them is null.
            (ValueRef::Null, _) => Ordering::Less,
            _ => Ordering::Greater,
        };
        if order != Ordering::Equal {
            return Ok(order);
        }
    }
    Ok(Ordering::Equal)
}

/// A row as people read it.
fn shown(row: &rusqlite::Row<'_>, table: &TableSpec) -> rusqlite::Result<String> {
    let mut shown = Vec::new();
    for (index, (name, _)) in table.columns.iter().enumerate() {
        let value = match row.get_ref(index)? {
            ValueRef::Null => "null".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            ValueRef::Blob(bytes) => Uuid::from_slice(bytes).map_or_else(|_| format!("{bytes:?}"), |id| id.to_string()),
        };
        shown.push(format!("{name}={value}"));
    }
    Ok(shown.join(" "))
}
