//! The demo: opens three canteens and two companies of its own, serves a lunch that those pay for, ends
//! the day, proves the books.

mod clock;
mod companies;
mod invitation;
mod lunch;
mod opening;
mod outcome;
mod picture;
mod random;
mod script;
mod tally;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use sagas::Follower;

pub use clock::DemoClock;
pub use invitation::Invitation;
pub use lunch::Lunch;
pub use outcome::Outcome;

use crate::{
    config::{Config, StoreAddress, usage},
    wiring::House,
};

/// Folders that the demo makes for itself beneath the default store.
const MAX_DEMOS: u32 = 10_000;
/// How long the views may take to show the whole lunch.
const CATCH_UP: Duration = Duration::from_secs(120);

/// Where this demo's log goes. The default store gets a folder of its own for each demo; a folder
/// that is named must be new or empty, so that no real log is ever touched.
pub fn store(config: &Config, is_default: bool) -> anyhow::Result<StoreAddress> {
    let StoreAddress::Sqlite(folder) = &config.store else { return Ok(config.store.clone()) };
    if is_default {
        return Ok(StoreAddress::Sqlite(fresh(folder)?));
    }
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(config.store.clone()),
        Ok(false) => Err(usage(format!(
            "{} is not empty, and the demo touches no log but its own; name a new or empty folder, or leave --store out",
            folder.display()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(config.store.clone()),
        Err(error) => Err(usage(format!("{} cannot be used: {error}", folder.display()))),
    }
}

/// The first folder `demo-N` beneath `parent` that is not there yet, made now.
fn fresh(parent: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(parent).with_context(|| format!("the folder {} cannot be made", parent.display()))?;
    for number in 1..=MAX_DEMOS {
        let folder = parent.join(format!("demo-{number}"));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("the folder {} cannot be made", folder.display())),
        }
    }
    Err(usage(format!("{} holds {MAX_DEMOS} demos; remove some", parent.display())))
}

/// Serves the lunch and proves it. `house` must have been opened with `clock`.
pub async fn serve(
    house: &House,
    clock: Arc<DemoClock>,
    seed: u64,
    orders: usize,
) -> anyhow::Result<(Arc<Lunch>, Outcome, Invitation)> {
    let script = script::Script::write(seed, orders);
    let lunch = Arc::new(Lunch::open(house, clock, seed, script).await?);
    let picture = picture::Picture::show(&lunch);
    let mut follower = Follower::new(house.ordering.clone(), house.subsidies.clone(), house.finance.clone());
    lunch.serve(&mut follower).await?;
    lunch.end_the_day(&mut follower).await?;
    lunch.back_to_real();
    drop(picture);
    let invitation = Invitation::prepare(&lunch).await?;
    house.catch_up(CATCH_UP).await?;
    let outcome = Outcome::read(house, &lunch, seed).await?;
    Ok((lunch, outcome, invitation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Globals;

    #[test]
    fn only_a_new_or_empty_folder_is_taken() {
        let parent = tempfile::tempdir().unwrap();
        let at = |folder: &Path| {
            let store = Some(format!("sqlite:{}", folder.display()));
            Config::load(&Globals { store, ..Globals::default() }).unwrap()
        };
        let folder = parent.path().join("a");
        assert_eq!(store(&at(&folder), false).unwrap(), StoreAddress::Sqlite(folder.clone()));
        std::fs::create_dir(&folder).unwrap();
        assert!(store(&at(&folder), false).is_ok());
        std::fs::write(folder.join("precious"), "x").unwrap();
        let error = store(&at(&folder), false).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
        // The default store may hold a real log: each demo lies in a folder of its own beneath it.
        for number in [1, 2] {
            let own = folder.join(format!("demo-{number}"));
            assert_eq!(store(&at(&folder), true).unwrap(), StoreAddress::Sqlite(own));
        }
    }
}
