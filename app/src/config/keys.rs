//! Where the keys of personal data are, which is never where the log is.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{Config, PostgresUrl, StoreAddress, Usage, ViewsAddress};

/// Where the keys of personal data are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAddress {
    /// Gone when the process ends, as the log is.
    Memory,
    /// A folder that only its owner may read.
    Sqlite(PathBuf),
    /// The schema `tiffin_keys` of a database, best one of its own.
    Postgres(PostgresUrl),
}

impl FromStr for KeysAddress {
    type Err = Usage;

    fn from_str(text: &str) -> Result<Self, Usage> {
        let wrong = "keys are in sqlite:DIR or postgres://USER:PASSWORD@HOST/DATABASE";
        match text.parse::<StoreAddress>() {
            Ok(StoreAddress::Sqlite(folder)) => Ok(KeysAddress::Sqlite(folder)),
            Ok(StoreAddress::Postgres(url)) => Ok(KeysAddress::Postgres(url)),
            Ok(StoreAddress::Memory) => Err(Usage(format!("{wrong}; a log in memory has its own"))),
            Err(_) if !text.starts_with("postgres") => Err(Usage(wrong.to_owned())),
            Err(error) => Err(error),
        }
    }
}

impl Config {
    /// Where the keys of personal data are; none when that is not said.
    pub fn keys(&self) -> Option<KeysAddress> {
        self.keys_apart.clone().or_else(|| match &self.store {
            StoreAddress::Memory => Some(KeysAddress::Memory),
            StoreAddress::Sqlite(folder) => beside(folder).map(KeysAddress::Sqlite),
            StoreAddress::Postgres(_) => None,
        })
    }

    /// Refuses keys that lie where the log or the views do: whoever backs those up would have both.
    pub(super) fn keys_are_apart(&self) -> Result<(), Usage> {
        let within = |folder: &Path, of: &Path| {
            let [folder, of] = [folder, of].map(|path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
            folder.starts_with(of)
        };
        let log = match &self.store {
            StoreAddress::Memory => None,
            StoreAddress::Sqlite(folder) => Some(ViewsAddress::Sqlite(folder.clone())),
            StoreAddress::Postgres(url) => Some(ViewsAddress::Postgres(url.clone())),
        };
        let together = log.iter().chain(&self.views()).any(|place| match (&self.keys(), place) {
            (Some(KeysAddress::Sqlite(keys)), ViewsAddress::Sqlite(folder)) => within(keys, folder),
            (Some(KeysAddress::Postgres(keys)), ViewsAddress::Postgres(url)) => keys.is_same_database(url),
            _ => false,
        });
        if together {
            let why = "the keys of personal data must not be where the log or the views are: a backup of those would \
                       hold them too; put them elsewhere with --keys";
            return Err(Usage(why.to_owned()));
        }
        Ok(())
    }
}

/// The folder of keys beside that of a log: `DIR.keys`. None where the folder has no name.
fn beside(folder: &Path) -> Option<PathBuf> {
    let folder = if folder.file_name().is_some() { folder.to_owned() } else { folder.canonicalize().ok()? };
    let mut name = folder.file_name()?.to_owned();
    name.push(".keys");
    Some(folder.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Globals;

    #[test]
    fn keys_are_beside_the_log_and_never_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tiffin.toml");
        std::fs::write(&file, "").unwrap();
        let at = |store: &str, keys: Option<&str>| {
            let (store, keys) = (Some(store.into()), keys.map(str::to_owned));
            Config::load(&Globals { config: Some(file.clone()), store, keys, ..Globals::default() })
        };
        let keys = |store: &str, keys: Option<&str>| at(store, keys).unwrap().keys();
        assert_eq!(keys("sqlite:/srv/data/", None), Some(KeysAddress::Sqlite("/srv/data.keys".into())));
        assert_eq!(keys("sqlite:./data", None), Some(KeysAddress::Sqlite("./data.keys".into())));
        assert_eq!(keys("sqlite:/data", Some("sqlite:/k")), Some(KeysAddress::Sqlite("/k".into())));
        assert_eq!(keys("memory:", None), Some(KeysAddress::Memory));
        assert_eq!(keys("postgres://u@h/d", None), None);
        let apart = "postgres://k:p@h/keys";
        assert_eq!(keys("postgres://u@h/d", Some(apart)), Some(KeysAddress::Postgres(apart.parse().unwrap())));
        for (store, keys) in [
            ("sqlite:/data", "sqlite:/data"),
            ("sqlite:/data", "sqlite:/data/keys"),
            ("sqlite:./data", "sqlite:data/keys"),
            ("postgres://u:1@h:5/d", "postgres://k:2@h:5/d?sslmode=require"),
            ("postgres://u:1@h/d", "postgres://k:2@h:5432/d"),
        ] {
            let error = at(store, Some(keys)).unwrap_err();
            assert!(error.is::<Usage>() && error.to_string().contains("--keys"), "{store} {keys}: {error}");
        }
        // Also where nobody said where: views above the folder hold what is beside it.
        let views = Some("sqlite:/srv".to_owned());
        let store = Some("sqlite:/srv/data".to_owned());
        let error =
            Config::load(&Globals { config: Some(file.clone()), store, views, ..Globals::default() }).unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("--keys"), "{error}");
        for wrong in ["memory:", "hunter2", "postgres:hunter2", "esdb://h"] {
            let error = at("sqlite:/data", Some(wrong)).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && error.contains("postgres://USER"), "{wrong}: {error}");
        }
    }
}
