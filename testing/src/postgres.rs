//! A Postgres server of this test process: on a free port, in a temporary folder, gone with the process.

use std::{
    ffi::OsStr,
    fs,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use uuid::Uuid;

/// Its superuser, with whom every URL connects.
const USER: &str = "tiffin";
/// How long a start may take; one after a kill recovers first.
const START: Duration = Duration::from_secs(60);
/// Ports that are tried: below those that systems hand out to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Learns the server's process id line by line (an empty line: there is none) from a pipe whose other end
/// the test process holds. When that process is gone, however it went, the pipe ends: then the server is
/// stopped at once and the folder removed.
const WATCHDOG: &str = r#"
    trap '' INT TERM HUP
    pid=
    while read -r line; do pid=$line; done
    if [ -n "$pid" ]; then
        kill -QUIT "$pid" 2>/dev/null
        tries=0
        while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
        kill -KILL "$pid" 2>/dev/null
    fi
    tries=0
    while [ -e "$1" ] && [ "$tries" -lt 100 ]; do rm -rf "$1" 2>/dev/null || sleep 0.05; tries=$((tries + 1)); done
"#;

/// A Postgres server with a cluster of its own. It is stopped and removed when this is dropped, and when
/// the process ends in whatever way.
pub struct Postgres {
    programs: PathBuf,
    dir: PathBuf,
    /// Whom the server runs as, when that is not who runs the tests: it refuses to be root.
    runs_as: Option<(u32, u32)>,
    port: u16,
    password: String,
    server: Mutex<Option<Child>>,
    watchdog: Mutex<Option<Watchdog>>,
    databases: AtomicU32,
}

struct Watchdog {
    process: Child,
    told: ChildStdin,
}

impl Postgres {
    /// Starts a server. Takes about two seconds.
    ///
    /// # Panics
    /// When there is no Postgres, or it does not start: with what to install, or with the server's own log.
    pub fn start() -> Postgres {
        let programs = programs();
        let dir = tempfile::Builder::new().prefix("tiffin-postgres-").tempdir().expect("a temporary folder").keep();
        let watchdog = Watchdog::start(&dir);
        let runs_as = (fs::metadata(&dir).unwrap().uid() == 0).then(|| (id("-u"), id("-g")));
        if let Some((user, group)) = runs_as {
            chown(&dir, Some(user), Some(group)).expect("root may give folders away");
        }
        let mut server = Postgres {
            programs,
            dir,
            runs_as,
            port: 0,
            password: Uuid::new_v4().simple().to_string(),
            server: Mutex::new(None),
            watchdog: Mutex::new(Some(watchdog)),
            databases: AtomicU32::new(0),
        };
        server.init();
        for _ in 0..5 {
            server.port = free_port();
            if server.launch() {
                return server;
            }
            // Somebody else may have taken the port meanwhile.
            if !server.log().contains("could not bind") {
                break;
            }
        }
        panic!("Postgres did not start. Its log:\n{}", server.log());
    }

    /// The one server of this process, started by whoever asks first. Do not kill it: others use it.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// Makes a new, empty database and gives its `postgres://` URL.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("createdb", ["--username", USER, "--template", "template0", &name]);
        self.url(&name)
    }

    /// The URL of the database `name`, which need not be there.
    pub fn url(&self, name: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{name}", self.password, self.port)
    }

    /// The password in every URL, to look for where it must not be.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Runs SQL with `psql` as a person would, and gives what it prints without borders and headings.
    ///
    /// # Panics
    /// When `psql` fails, with what it said.
    pub fn psql(&self, url: &str, sql: &str) -> String {
        let name = url.rsplit('/').next().unwrap();
        let options = ["--username", USER, "--dbname", name, "--no-psqlrc", "--tuples-only", "--no-align"];
        self.run("psql", options.into_iter().chain(["--set", "ON_ERROR_STOP=1", "--command", sql]))
    }

    /// Kills the postmaster (SIGKILL). Its children end by themselves as soon as they notice.
    pub fn kill(&self) {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut process) = server.take() {
            process.kill().expect("it is our child");
            process.wait().expect("it is our child");
            self.tell("");
        }
    }

    /// Starts the same cluster on the same port again, and waits until it takes connections.
    ///
    /// # Panics
    /// When it does not start, with the server's own log.
    pub fn restart(&self) {
        self.kill();
        // What is left of the killed server holds its shared memory for a moment.
        let deadline = Instant::now() + START;
        while !self.launch() {
            assert!(Instant::now() < deadline, "Postgres did not start again. Its log:\n{}", self.log());
            sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server and removes its folder. Dropping does the same.
    pub fn stop(self) {}

    /// Makes the cluster.
    fn init(&self) {
        let password = self.dir.join("password");
        fs::write(&password, &self.password).unwrap();
        if let Some((user, group)) = self.runs_as {
            chown(&password, Some(user), Some(group)).unwrap();
        }
        let output = self
            .command("initdb")
            .arg("--pgdata")
            .arg(self.data())
            .args(["--username", USER, "--encoding", "UTF8", "--no-locale", "--no-sync"])
            // A socket only in our folder; over the network, which others on this machine share, a password.
            .args(["--auth-local", "trust", "--auth-host", "password", "--pwfile"])
            .arg(&password)
            .output()
            .expect("initdb runs");
        assert!(output.status.success(), "initdb failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts the server and waits until it takes connections, or has ended: then false.
    fn launch(&self) -> bool {
        let log = fs::File::create(self.dir.join("log")).unwrap();
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.dir.display()),
            "shared_buffers=64MB".into(),
            "max_connections=100".into(),
            "fsync=on".into(),
            // In the folder, so that it goes with it.
            "dynamic_shared_memory_type=mmap".into(),
            "timezone=UTC".into(),
        ];
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        // Not of our process group: a Ctrl-C is for the tests.
        command.stdout(Stdio::null()).stderr(log).process_group(0);
        let mut process = command.spawn().expect("postgres runs");
        self.tell(&process.id().to_string());
        let deadline = Instant::now() + START;
        while !self.is_ready(process.id()) {
            if process.try_wait().unwrap().is_some() || Instant::now() > deadline {
                let _ = process.kill();
                let _ = process.wait();
                self.tell("");
                return false;
            }
            sleep(Duration::from_millis(10));
        }
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        true
    }

    /// Whether the server says that it takes connections, in the eighth line of the file by which
    /// `pg_ctl` waits too.
    fn is_ready(&self, pid: u32) -> bool {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines().map(str::trim);
        lines.next() == Some(&pid.to_string()) && lines.nth(6) == Some("ready")
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    fn tell(&self, pid: &str) {
        if let Some(watchdog) = &mut *self.watchdog.lock().unwrap_or_else(PoisonError::into_inner) {
            use std::io::Write;
            writeln!(watchdog.told, "{pid}").expect("the watchdog listens");
        }
    }

    /// A program of Postgres, run as whoever the server runs as, untouched by what the environment says.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(&self.dir).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        if let Some((user, group)) = self.runs_as {
            command.uid(user).gid(group);
        }
        command
    }

    /// Runs a client program over the socket in the folder.
    fn run(&self, program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
        let mut command = self.command(program);
        command.arg("--host").arg(&self.dir).arg("--port").arg(self.port.to_string()).args(arguments);
        let output = command.output().unwrap_or_else(|error| panic!("{program} does not run: {error}"));
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} failed:\n{complaint}\nThe server's log:\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The watchdog stops the server; whoever is its parent must reap it, or it never seems gone.
        let watchdog = self.watchdog.lock().unwrap_or_else(PoisonError::into_inner).take();
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        let watchdog = watchdog.map(|Watchdog { process, told }| {
            drop(told);
            process
        });
        for mut process in server.into_iter().chain(watchdog) {
            let _ = process.wait();
        }
    }
}

impl Watchdog {
    fn start(dir: &Path) -> Watchdog {
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "tiffin-postgres-watchdog"]).arg(dir).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut process = command.spawn().expect("sh runs");
        let told = process.stdin.take().expect("its input is a pipe");
        Watchdog { process, told }
    }
}

/// The folder with `initdb` and `postgres`: where the path leads, or where Debian has the newest.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter_map(|dir| {
        // A link leads to its real folder, where the other programs are.
        Some(fs::canonicalize(dir.join("postgres")).ok()?.parent()?.to_owned())
    });
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    debian.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    let found = on_path
        .chain(debian.into_iter().map(|(_, dir)| dir))
        .find(|dir| ["initdb", "postgres", "createdb", "psql"].iter().all(|program| dir.join(program).is_file()));
    found.unwrap_or_else(|| {
        panic!(
            "this test needs a Postgres server: neither the path nor /usr/lib/postgresql has initdb, postgres, \
             createdb and psql. Run scripts/install.sh, or: sudo apt-get install postgresql"
        )
    })
}

/// The id of the user `postgres`, as `id` gives it.
fn id(which: &str) -> u32 {
    let output = Command::new("id").args([which, "postgres"]).output().expect("id runs");
    let number = String::from_utf8_lossy(&output.stdout).trim().parse();
    number.unwrap_or_else(|_| {
        panic!(
            "Postgres refuses to run as root, and there is no user `postgres` to run it as: run the tests as \
             another user, or: useradd --system postgres"
        )
    })
}

/// A port on which nobody listens now, and that this process is not given again. Processes begin at
/// different ones.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    let begin = (std::process::id() % u32::from(span)) as u16;
    (0..span)
        .map(|_| PORTS.start + (begin.wrapping_mul(37) % span + NEXT.fetch_add(1, Ordering::Relaxed)) % span)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}
