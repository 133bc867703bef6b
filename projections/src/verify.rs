//! Proof that the views say what the log says, and that the books balance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use store::{EventStore, Position};

use crate::{
    Build, Column, Health, Progress, ViewError, Views,
    audit::Audit,
    batch::{Decoded, Kind},
    catalogue,
    compare::first_difference,
    db::{Connection, Mode},
    engine::BATCH,
    engine_thread::EngineThread,
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
    pass.engine.call(|engine| engine.finish()).await??;
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
        let scratch = Views::in_memory(store.identity(), views.registry().clone())?;
        // As if the log were empty: then they are whole from the start.
        let engine = EngineThread::start(scratch.clone(), 0, vec![]).await?;
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
            let decoded = tokio::task::spawn_blocking(move || {
                audit.rows(&batch);
                let decoded = Decoded::of(batch);
                if let Ok(decoded) = &decoded {
                    audit.events(decoded);
                }
                (audit, decoded)
            });
            let (audit, decoded) = decoded.await.map_err(|_| ViewError::Stopped)?;
            self.audit = audit;
            match decoded {
                Ok(decoded) => self.engine.call(move |engine| engine.fold(Kind::Live, &decoded, true)).await??,
                // The audit has it: a gap.
                Err(ViewError::Log(_)) => {}
                Err(other) => return Err(other),
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
        connection.begin(Mode::Read)?.keep();
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

    /// Every row of a live table.
    pub(crate) fn each<T: crate::Row>(
        &self,
        projection: &dyn crate::Projection,
        mut look: impl FnMut(T),
    ) -> Result<(), ViewError> {
        let Some(build) = self.live(projection.name(), projection.version()) else { return Ok(()) };
        let sql = format!("SELECT {} FROM {}{}", T::TABLE.column_list(), T::TABLE.name, build.suffix());
        self.connection()?.each(&sql, &[], &mut |row| {
            look(T::read(row)?);
            Ok(())
        })?;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // A server ends the transaction of a connection that is closed, and to ask it would be to wait,
        // which whoever drops this may not.
        let ended = |connection: &Connection| !connection.is_postgres() && connection.run("ROLLBACK").is_ok();
        if let Some(connection) = self.connection.take().filter(ended) {
            self.views.give_back(connection);
        }
    }
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
        if (build.position, build.health) != (position, Health::Sound) {
            let why = build.error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
            let found = format!("{}, at event {}{why}", word(build.health), build.position);
            differences.push(Difference { subject, found, expected: format!("sound, at event {position}") });
            continue;
        }
        if build.parked > 0 {
            let since = build.incomplete_since.unwrap_or(0);
            let found = format!("{} events are parked, the first is {since}", build.parked);
            differences.push(Difference { subject: subject.clone(), found, expected: "no event is parked".into() });
        }
        for table in projection.tables() {
            let (seen, difference) =
                first_difference((live.connection()?, build), (refold.connection()?, fresh), table)?;
            rows += seen;
            if let Some(difference) = difference {
                differences.push(difference);
                break;
            }
        }
    }
    Ok((rows, differences))
}

fn word(health: Health) -> String {
    match health.to_value() {
        Ok(crate::Value::Text(word)) => word.into_owned(),
        _ => format!("{health:?}"),
    }
}
