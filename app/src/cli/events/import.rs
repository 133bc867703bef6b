//! `tiffin events import`.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use serde_json::json;
use store::{
    LogState,
    export::{OnEvents, Verified},
};

use super::writable;
use crate::{
    config::{Config, usage},
    output,
    progress::{Bar, Progress},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// An export of another log
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// A bar that says what is done to events.
pub fn events_bar(bar: &Arc<Bar>, doing: &'static str) -> OnEvents {
    let bar = Arc::clone(bar);
    Arc::new(move |done, total| bar.show(Progress::new(doing, done, total)))
}

pub async fn run(args: Args, config: &Config) -> anyhow::Result<()> {
    let Args { file } = args;
    if file.as_os_str() == "-" {
        return Err(usage(
            "an import reads its file twice, to verify all of it before anything is written; save it to a file",
        ));
    }
    let bar = Arc::new(Bar::new());
    let refused = || format!("{} is not imported, and nothing was written", file.display());
    // Before the log is opened, which makes one where there is none.
    let verified = Verified::read(&file, events_bar(&bar, "verifying")).await.with_context(refused)?;
    let store = writable(config).await?;
    let before = store.head().await?;
    let imported = verified.import(&*store, events_bar(&bar, "importing")).await;
    drop(bar);
    let imported = match imported {
        Ok(imported) => imported,
        Err(error) => {
            let head = store.head().await.unwrap_or(before);
            let error = anyhow::Error::new(error);
            return Err(if head == before {
                error.context(refused())
            } else {
                error.context(format!("the import broke off at event {head}; the same import goes on from there"))
            });
        }
    };
    let state = store.state().await?;
    if config.json {
        return output::json_line(&json!({
            "log": verified.header.log, "written": imported.written, "head": imported.head,
            "digest": verified.manifest.digest, "state": state.name(),
        }));
    }
    let (written, head) = (output::count(imported.written), output::count(imported.head));
    output::line(format_args!("{written} events were imported; the copy stands at event {head}."))?;
    output::line(match state {
        LogState::Complete => {
            "Its origin is sealed, and it has all of it: `tiffin events take-over` makes it the log that counts."
        }
        _ => "It can be read, and follows its origin with further imports (`tiffin events export --from`).",
    })
}
