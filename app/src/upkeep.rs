//! Work on the views: rebuilds, pauses, parked events. Done by the server that holds them, or here.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use domain::{StreamId, StreamKind, TenantId};
use projections::{Build, Runner, RunnerHandle, Views};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    config::{Config, ViewsAddress, usage},
    progress::{OnProgress, Progress},
    wiring::{House, Upkeep},
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewsWork {
    /// Fold these projections anew beside the live ones; all, when none is named. With `compare`, say
    /// what differs before the new ones take their place.
    Rebuild {
        projections: Vec<String>,
        compare: bool,
    },
    Pause {
        projections: Vec<String>,
    },
    Resume {
        projections: Vec<String>,
    },
    /// Do without a stream's parked events for good.
    DropParked {
        projection: String,
        tenant: TenantId,
        kind: String,
        key: Uuid,
        reason: String,
        by: String,
    },
}

/// Does it in a house, whose runner is at work.
pub async fn in_house(house: &House, work: ViewsWork, progress: OnProgress<'_>) -> anyhow::Result<Value> {
    match work {
        ViewsWork::Rebuild { projections, compare } => {
            rebuild_beside(&house.runner, &projections, compare, progress).await
        }
        other => change(&house.views, other).await,
    }
}

/// Does it without a server, or beside servers on a database. A rebuild that is given up is gone on with
/// by whoever folds these views next.
pub async fn here(config: &Config, work: ViewsWork, progress: OnProgress<'_>) -> anyhow::Result<Value> {
    let upkeep = Upkeep::open(config).await?;
    let (projections, compare) = match work {
        ViewsWork::Rebuild { projections, compare } => (projections, compare),
        other => return change(&upkeep.views, other).await,
    };
    let mut runner = Runner::open(upkeep.store.clone(), upkeep.views.clone()).await?;
    if !matches!(config.views(), Some(ViewsAddress::Postgres(_))) {
        let told = Told::new(progress);
        let rebuilt = runner.rebuild(&projections, compare, |at| told.tell(at)).await?;
        return Ok(as_json(&rebuilt));
    }
    // Servers may hold the leases: then they fold, and this process only watches.
    let (handle, stop) = (runner.handle(), CancellationToken::new());
    let mut folding = tokio::spawn(runner.run(stop.clone()));
    let _stopped_with_this = stop.clone().drop_guard();
    let rebuilt = tokio::select! {
        rebuilt = rebuild_beside(&handle, &projections, compare, progress) => rebuilt,
        ended = &mut folding => match ended {
            Ok(Err(error)) => return Err(error.into()),
            _ => anyhow::bail!("the views are not folded any more; see the log above"),
        },
    };
    // The leases are given back, so that the next server need not wait for them to run out.
    stop.cancel();
    folding.await.context("the views' runner broke off")??;
    rebuilt
}

/// Who does it, as the operating system names them.
pub fn operator() -> String {
    let Ok(uid) = std::fs::metadata("/proc/self").map(|it| it.uid()) else {
        return std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
    };
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let of_uid = |line: &&str| line.split(':').nth(2) == Some(&uid.to_string());
    let name = users.lines().find(of_uid).and_then(|line| line.split(':').next());
    name.map_or_else(|| format!("user {uid}"), str::to_owned)
}

async fn rebuild_beside(
    runner: &RunnerHandle,
    projections: &[String],
    compare: bool,
    progress: OnProgress<'_>,
) -> anyhow::Result<Value> {
    let told = Told::new(progress);
    let rebuilt = runner.rebuild(projections, compare, |at| told.tell(at)).await?;
    Ok(as_json(&rebuilt))
}

/// A change of the catalogue alone.
async fn change(views: &Views, work: ViewsWork) -> anyhow::Result<Value> {
    Ok(match work {
        ViewsWork::Rebuild { .. } => anyhow::bail!("a rebuild is more than a change of the catalogue"),
        ViewsWork::Pause { projections } => {
            views.set_paused(&projections, true).await?;
            json!({ "paused": projections })
        }
        ViewsWork::Resume { projections } => {
            views.set_paused(&projections, false).await?;
            json!({ "resumed": projections })
        }
        ViewsWork::DropParked { projection, tenant, kind, key, reason, by } => {
            let kind: StreamKind = kind.parse().map_err(|_| usage(format!("there is no kind of stream {kind:?}")))?;
            let stream = StreamId { tenant, kind, key };
            let dropped = views.drop_parked(&projection, stream, &reason, &by).await?;
            json!({
                "projection": projection, "stream": format!("{}:{key}", kind.name()), "tenant": tenant,
                "dropped": dropped, "reason": reason, "dropped_by": by,
            })
        }
    })
}

fn as_json(rebuilt: &[Build]) -> Value {
    let one = |build: &Build| {
        json!({
            "projection": build.projection, "version": build.version, "build": build.build,
            "position": build.position, "parked": build.parked, "incomplete_since": build.incomplete_since,
            "compared": build.compared,
        })
    };
    json!({ "rebuilt": rebuilt.iter().map(one).collect::<Vec<_>>() })
}

/// Tells of several builds as of one piece of work: it has come as far as the one that is last.
struct Told<'a> {
    progress: OnProgress<'a>,
    positions: Mutex<BTreeMap<String, u64>>,
}

impl<'a> Told<'a> {
    fn new(progress: OnProgress<'a>) -> Self {
        Told { progress, positions: Mutex::default() }
    }

    fn tell(&self, at: projections::Progress) {
        let mut positions = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        let head = at.head;
        positions.insert(at.projection, at.position);
        let last = positions.values().copied().min().unwrap_or(0);
        let what = match (positions.len(), positions.keys().next()) {
            (1, Some(name)) => name.clone(),
            (several, _) => format!("{several} views"),
        };
        (self.progress)(Progress::new(format!("rebuilding {what}"), last, Some(head)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_builds_have_come_as_far_as_the_last() {
        let seen = Mutex::new(Vec::new());
        let note = |at| seen.lock().unwrap().push(at);
        let told = Told::new(&note);
        for (projection, position) in [("menu", 5), ("balances", 3), ("menu", 9)] {
            told.tell(projections::Progress { projection: projection.into(), position, head: 10 });
        }
        let seen = seen.lock().unwrap();
        assert_eq!(seen[0], Progress::new("rebuilding menu", 5, Some(10)));
        assert_eq!(seen[2], Progress::new("rebuilding 2 views", 3, Some(10)));
    }

    #[test]
    fn somebody_does_it() {
        assert!(!operator().is_empty());
    }
}
