//! Settings: from a file, the environment and flags, each over the one before.

mod door;
mod keys;
mod tokens;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::Context;
use serde::Deserialize;

pub use door::{Door, DoorArgs};
pub use keys::KeysAddress;
pub use tokens::{TokenArgs, Tokens, Trusted};

/// Where the log is when nothing says otherwise.
const DEFAULT_STORE: &str = "sqlite:./tiffin-data";
const DEFAULT_FOLDER: &str = "./tiffin-data";
/// Read when `--config` names no other file and this one is there.
const DEFAULT_FILE: &str = "./tiffin.toml";
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";
/// A settings file is a page of text. Whatever is larger is something else.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What the caller got wrong before anything was done. Ends the program with exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Shorthand for an error of the caller's.
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Usage(message.into()))
}

/// Flags that every command takes. The environment stands in for those that are not given.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Globals {
    /// Settings file (TOML); ./tiffin.toml if there is one
    #[arg(long, global = true, env = "TIFFIN_CONFIG", hide_env_values = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the log is: memory: | sqlite:DIR | postgres://USER:PASSWORD@HOST:PORT/DATABASE, which several
    /// servers may share [default: sqlite:./tiffin-data]
    #[arg(long, global = true, env = "TIFFIN_STORE", hide_env_values = true, value_name = "STORE")]
    pub store: Option<String>,
    /// Where the views are: sqlite:DIR | postgres://…, in the schema views [default: beside the log]
    #[arg(long, global = true, env = "TIFFIN_VIEWS", hide_env_values = true, value_name = "VIEWS")]
    pub views: Option<String>,
    /// Where the keys of personal data are: sqlite:DIR | postgres://…, never in what is backed up with the
    /// log [default: for sqlite:DIR the folder DIR.keys beside it; for a log in Postgres, nowhere]
    #[arg(long, global = true, env = "TIFFIN_KEYS", hide_env_values = true, value_name = "KEYS")]
    pub keys: Option<String>,
    /// Folder of the development key, issuer.pem, which is made where it is missing. Servers of one log
    /// need the same one: copy it to each machine, also where tokens.public_key says whose tokens are
    /// taken [default: the log's folder; for a log in Postgres, ./tiffin-data]
    #[arg(long, global = true, env = "TIFFIN_DATA", hide_env_values = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Answer in JSON, for programs; money is in minor units
    #[arg(long, global = true)]
    pub json: bool,
    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as store=debug
    #[arg(long, global = true, env = "TIFFIN_LOG", hide_env_values = true, value_name = "LEVEL")]
    pub log: Option<String>,
    /// How to log
    #[arg(long, global = true, env = "TIFFIN_LOG_FORMAT", hide_env_values = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Where a command that serves listens.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Listen {
    /// Address to listen on; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, env = "TIFFIN_LISTEN", hide_env_values = true, value_name = "HOST:PORT")]
    pub listen: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Where a log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// Gone when the process ends.
    Memory,
    /// A folder with a SQLite log.
    Sqlite(PathBuf),
    /// A database, which several processes may use at once.
    Postgres(PostgresUrl),
}

impl StoreAddress {
    /// Where the log is when nothing says otherwise.
    pub fn standard() -> StoreAddress {
        StoreAddress::Sqlite(DEFAULT_FOLDER.into())
    }

    /// The folder that holds the log, if there is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            StoreAddress::Memory | StoreAddress::Postgres(_) => None,
            StoreAddress::Sqlite(folder) => Some(folder),
        }
    }
}

impl std::fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreAddress::Memory => f.write_str("memory:"),
            StoreAddress::Sqlite(folder) => write!(f, "sqlite:{}", folder.display()),
            StoreAddress::Postgres(url) => url.fmt(f),
        }
    }
}

impl FromStr for StoreAddress {
    type Err = Usage;

    /// The text itself is never part of the error: an address may hold a password.
    fn from_str(text: &str) -> Result<Self, Usage> {
        let examples =
            "use memory:, sqlite:DIR, such as sqlite:./tiffin-data, or postgres://USER:PASSWORD@HOST/DATABASE";
        match text.split_once(':') {
            Some(("memory", "")) => Ok(StoreAddress::Memory),
            Some(("sqlite", folder)) if !folder.is_empty() => Ok(StoreAddress::Sqlite(folder.into())),
            Some(("sqlite", _)) => Err(Usage(format!("the store sqlite: needs a folder; {examples}"))),
            Some(("postgres" | "postgresql", _)) => text.parse().map(StoreAddress::Postgres),
            Some((scheme @ ("esdb" | "esdb+discover"), _)) => {
                Err(Usage(format!("a store at {scheme}: is not in this build yet; {examples}")))
            }
            _ => Err(Usage(format!("this is not a store that tiffin knows; {examples}"))),
        }
    }
}

/// Where views are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewsAddress {
    /// A folder, for one process at a time.
    Sqlite(PathBuf),
    /// The schema `views` of a database, which several processes may keep up together.
    Postgres(PostgresUrl),
}

impl FromStr for ViewsAddress {
    type Err = Usage;

    fn from_str(text: &str) -> Result<Self, Usage> {
        let wrong = "views are in sqlite:DIR or postgres://USER:PASSWORD@HOST/DATABASE";
        match text.parse::<StoreAddress>() {
            Ok(StoreAddress::Sqlite(folder)) => Ok(ViewsAddress::Sqlite(folder)),
            Ok(StoreAddress::Postgres(url)) => Ok(ViewsAddress::Postgres(url)),
            Ok(StoreAddress::Memory) => Err(Usage(format!("{wrong}; without --views a log in memory has its own"))),
            Err(_) if !text.starts_with("postgres") => Err(Usage(wrong.to_owned())),
            Err(error) => Err(error),
        }
    }
}

/// The URL of a Postgres database. It is shown without its password and options.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    whole: String,
    shown: String,
}

impl PostgresUrl {
    /// With its password: to connect, and for nothing else.
    pub fn reveal(&self) -> &str {
        &self.whole
    }

    /// Whether both name one database of one server, whoever the user.
    fn is_same_database(&self, other: &PostgresUrl) -> bool {
        fn place(url: &PostgresUrl) -> Vec<&str> {
            let mut place: Vec<_> = url.shown.rsplit(['@', '/']).take(2).collect();
            // The port that is meant where none is said.
            if let Some(server) = place.last_mut() {
                *server = server.strip_suffix(":5432").unwrap_or(server);
            }
            place
        }
        place(self) == place(other)
    }
}

impl std::fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PostgresUrl({})", self.shown)
    }
}

impl FromStr for PostgresUrl {
    type Err = Usage;

    /// Looks at it closely enough to know what is password and what is not.
    fn from_str(text: &str) -> Result<Self, Usage> {
        let wrong = |what: &str| {
            let form = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";
            Usage(format!("the Postgres URL {what}; write {form}, with % codes for /, @, ? and # in a password"))
        };
        let (_, rest) = text.split_once("://").ok_or_else(|| wrong("has no // behind its scheme"))?;
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (server, database) = place.split_once('/').ok_or_else(|| wrong("names no database"))?;
        if database.is_empty() || database.contains(['/', '@', ':']) {
            return Err(wrong("names no database"));
        }
        let (who, host) = server.rsplit_once('@').unwrap_or(("", server));
        let port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')).map(|(_, port)| port);
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(wrong("has a port that is no number"));
        }
        if who.contains(['@', '#']) || place.contains('#') || options.contains('@') {
            return Err(wrong("cannot be read"));
        }
        let user = who.split(':').next().unwrap_or_default();
        let user = if user.is_empty() { String::new() } else { format!("{user}@") };
        Ok(PostgresUrl { whole: text.to_owned(), shown: format!("postgres://{user}{host}/{database}") })
    }
}

/// Everything that is set, whoever set it.
#[derive(Clone, Debug)]
pub struct Config {
    pub store: StoreAddress,
    /// Where views are when they are not beside the log; see [`Config::views`].
    pub views_apart: Option<ViewsAddress>,
    /// Where the keys of personal data are when they are not where [`Config::keys`] has them by itself.
    pub keys_apart: Option<KeysAddress>,
    /// The folder with the development key, if one was named; see [`Config::key_folder`].
    pub data: Option<PathBuf>,
    /// Host and port.
    pub listen: String,
    pub json: bool,
    /// A level or filter; each command has its own default.
    pub log: Option<String>,
    pub log_format: LogFormat,
    /// Who may sign tokens.
    pub tokens: Tokens,
    /// What callers may cost, and which sites may ask.
    pub door: Door,
    pub payments: Payments,
}

/// Who takes diners' money when their balances do not reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Payments {
    /// Nobody: such orders are refused
    #[default]
    None,
    /// WeChat Pay and Alipay are played by this process, and no money moves: for trying things out
    StandIn,
}

/// The settings file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    store: Option<String>,
    views: Option<String>,
    keys: Option<String>,
    data: Option<PathBuf>,
    listen: Option<String>,
    #[serde(default)]
    payments: Payments,
    #[serde(default)]
    log: LogSettings,
    #[serde(default)]
    tokens: Tokens,
    #[serde(default)]
    http: Door,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSettings {
    level: Option<String>,
    format: Option<LogFormat>,
}

impl Config {
    /// Reads the file, if there is one, and lays environment and flags over it.
    pub fn load(globals: &Globals) -> anyhow::Result<Config> {
        let settings = match &globals.config {
            Some(file) => read(file)?,
            None if Path::new(DEFAULT_FILE).exists() => read(Path::new(DEFAULT_FILE))?,
            None => Settings::default(),
        };
        let store = globals.store.as_ref().or(settings.store.as_ref());
        let views = globals.views.as_ref().or(settings.views.as_ref());
        let keys = globals.keys.as_ref().or(settings.keys.as_ref());
        let config = Config {
            store: store.map_or(DEFAULT_STORE, String::as_str).parse::<StoreAddress>()?,
            views_apart: views.map(|text| text.parse()).transpose()?,
            keys_apart: keys.map(|text| text.parse()).transpose()?,
            data: globals.data.clone().or(settings.data),
            listen: settings.listen.unwrap_or_else(|| DEFAULT_LISTEN.to_owned()),
            json: globals.json,
            log: globals.log.clone().or(settings.log.level),
            log_format: globals.log_format.or(settings.log.format).unwrap_or_default(),
            tokens: settings.tokens,
            door: settings.http,
            payments: settings.payments,
        };
        config.keys_are_apart()?;
        Ok(config)
    }

    /// Where the views are; none when they are as temporary as a log in memory.
    pub fn views(&self) -> Option<ViewsAddress> {
        self.views_apart.clone().or_else(|| match &self.store {
            StoreAddress::Memory => None,
            StoreAddress::Sqlite(folder) => Some(ViewsAddress::Sqlite(folder.clone())),
            StoreAddress::Postgres(url) => Some(ViewsAddress::Postgres(url.clone())),
        })
    }

    /// The folder with the development key; none when the key lives as long as the process.
    pub fn key_folder(&self) -> Option<PathBuf> {
        self.data.clone().or_else(|| match &self.store {
            StoreAddress::Memory => None,
            StoreAddress::Sqlite(folder) => Some(folder.clone()),
            StoreAddress::Postgres(_) => Some(DEFAULT_FOLDER.into()),
        })
    }

    /// The folder that one process at a time holds, where the admin socket is: that of the log, or
    /// else that of the views. None where several processes may work side by side.
    pub fn held_folder(&self) -> Option<PathBuf> {
        match (&self.store, &self.views_apart) {
            (StoreAddress::Sqlite(folder), _) | (_, Some(ViewsAddress::Sqlite(folder))) => Some(folder.clone()),
            _ => None,
        }
    }

    /// With the address that a serving command was given, if it was.
    pub fn listening(mut self, listen: &Listen) -> Config {
        if let Some(address) = &listen.listen {
            self.listen.clone_from(address);
        }
        self
    }
}

fn read(file: &Path) -> anyhow::Result<Settings> {
    let name = file.display();
    let size = std::fs::metadata(file).map_err(|error| usage(format!("the settings file {name}: {error}")))?.len();
    if size > MAX_FILE_BYTES {
        return Err(usage(format!("the settings file {name} has {size} bytes; at most {MAX_FILE_BYTES} are read")));
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("the settings file {name} cannot be read"))?;
    // Without the line that toml shows: a settings file may hold what nobody else should see.
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        usage(format!("the settings file {name}, line {line}: {}", error.message()))
    })
}

/// Sends the logs to stderr. The level is the command's own unless another is set.
pub fn start_logs(config: &Config, default_level: &str) -> anyhow::Result<()> {
    let filter = config.log.as_deref().unwrap_or(default_level);
    let filter = tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|error| usage(format!("the log level cannot be understood: {error}")))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as in a test, keeps the first.
    let _ = match config.log_format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(settings: &str, flags: Globals) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tiffin.toml");
        std::fs::write(&file, settings).unwrap();
        Config::load(&Globals { config: Some(file), ..flags })
    }

    #[test]
    fn a_flag_stands_over_the_file_and_the_file_over_the_default() {
        let file = "store = 'sqlite:/file'\nlisten = '[::1]:1'\n[log]\nlevel = 'debug'\nformat = 'json'\n";
        let config = load(file, Globals::default()).unwrap();
        assert_eq!(config.store, StoreAddress::Sqlite("/file".into()));
        assert_eq!((config.listen.as_str(), config.log.as_deref()), ("[::1]:1", Some("debug")));
        assert_eq!(config.log_format, LogFormat::Json);
        let flags = Globals { store: Some("memory:".into()), log: Some("warn".into()), ..Globals::default() };
        let config = load(file, flags).unwrap();
        assert_eq!((config.store, config.log.as_deref()), (StoreAddress::Memory, Some("warn")));
        let config = load("", Globals::default()).unwrap();
        assert_eq!(config.store.to_string(), DEFAULT_STORE);
        assert_eq!(config.listening(&Listen { listen: Some("h:2".into()) }).listen, "h:2");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = load("\nlisten = 'a:1'\nlisten_on = 'b'\n", Globals::default()).unwrap_err();
        assert!(error.is::<Usage>());
        assert!(error.to_string().contains("line 3"), "{error}");
        assert!(error.to_string().contains("unknown field `listen_on`"), "{error}");
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_its_password() {
        let addresses = [
            "esdb://u:hunter2@h",
            "hunter2",
            "sqlite:",
            "memory:hunter2",
            "postgres:hunter2",
            "postgres://u:hunter2@h",
            "postgres://u:hunter2@h/",
            "postgres://u:hunter2@h:port/d",
            "postgres://u:hun/hunter2@h/d",
            "postgres://u:1/hunter2@h/d",
            "postgres://u:1?hunter2@h/d",
            "postgres://u:hunter2@x@h/d",
            "postgresql://u:hunter2#@h/d",
        ];
        for address in addresses {
            let error = address.parse::<StoreAddress>().unwrap_err().to_string();
            assert!(error.contains("postgres://USER:PASSWORD@HOST"), "{address}: {error}");
            let views = address.parse::<ViewsAddress>().unwrap_err().to_string();
            assert!(!error.contains("hunter2") && !views.contains("hunter2"), "{address}: {error} {views}");
        }
        assert!("memory:".parse::<ViewsAddress>().is_err());
    }

    #[test]
    fn a_postgres_url_is_shown_without_password_and_options() {
        for (url, shown) in [
            ("postgres://u:hunter2@h:5432/d", "postgres://u@h:5432/d"),
            ("postgresql://u:hunter2@[::1]:5432/d?sslmode=require", "postgres://u@[::1]:5432/d"),
            ("postgres://[::1]/d", "postgres://[::1]/d"),
            ("postgres:///d?host=/run/postgresql&password=hunter2", "postgres:///d"),
        ] {
            let store: StoreAddress = url.parse().unwrap();
            assert_eq!(store.to_string(), shown);
            let config = load("", Globals { store: Some(url.into()), ..Globals::default() }).unwrap();
            let debugged = format!("{config:?}");
            assert!(!debugged.contains("hunter2") && debugged.contains(shown), "{debugged}");
            let StoreAddress::Postgres(address) = store else { panic!("{url} is Postgres") };
            assert_eq!(address.reveal(), url);
        }
    }

    #[test]
    fn views_are_beside_the_log_unless_they_are_put_elsewhere() {
        let at = |store: &str, views: Option<&str>| {
            let flags = Globals { store: Some(store.into()), views: views.map(str::to_owned), ..Globals::default() };
            load("data = '/keys'", flags).unwrap()
        };
        let postgres = ViewsAddress::Postgres("postgres://u@h/d".parse().unwrap());
        let beside = at("postgres://u@h/d", None);
        assert_eq!((beside.views(), beside.held_folder()), (Some(postgres.clone()), None));
        assert_eq!(beside.key_folder(), Some("/keys".into()));
        let apart = at("postgres://u@h/d", Some("sqlite:/views"));
        assert_eq!(apart.views(), Some(ViewsAddress::Sqlite("/views".into())));
        assert_eq!(apart.held_folder(), Some("/views".into()));
        let other = at("sqlite:/log", Some("postgres://u@h/d"));
        assert_eq!((other.views(), other.held_folder()), (Some(postgres), Some("/log".into())));
        assert_eq!(at("memory:", None).views(), None);
        let file = "store = 'postgres://u@h/d'\nviews = 'sqlite:/of-file'\n";
        let config = load(file, Globals::default()).unwrap();
        assert_eq!(config.views(), Some(ViewsAddress::Sqlite("/of-file".into())));
        assert_eq!(config.key_folder(), Some(DEFAULT_FOLDER.into()));
    }
}
