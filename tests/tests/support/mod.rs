//! The program as its users have it: a process, a folder, an address.

#![allow(dead_code, unreachable_pub, reason = "each test crate uses its own part of this")]

pub mod history;
pub mod http;
pub mod load;
pub mod lunch;
pub mod views;

use std::{
    fs::File,
    io::Read,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long a server may take from its start to its first answer, also after a crash.
const START: Duration = Duration::from_secs(120);
/// How long a program may take to settle what is half-done, also after a crash.
const SETTLED: Duration = Duration::from_secs(60);

/// The program, built beside this test: `target/debug/deps/this` and `target/debug/tiffin`.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps");
    let program = folder.join(format!("tiffin{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is missing; build it first: cargo build -p tiffin", program.display());
    program
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// Runs the program to its end, without the settings of whoever runs the tests.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

/// As [`run`], and it must succeed; what it wrote.
pub fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tiffin {} ended with {}: {errors}", arguments.join(" "), output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// As [`succeed`], for a command that writes one JSON object.
pub fn json(arguments: &[&str]) -> Value {
    let text = succeed(arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("tiffin {}: {error}: {text}", arguments.join(" ")))
}

/// As [`run`], and it must fail with this exit code and nothing on stdout; what it complained of.
#[track_caller]
pub fn fail(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let command = arguments.join(" ");
    assert_eq!(output.status.code(), Some(code), "tiffin {command}: {out}{errors}");
    assert_eq!(out, "", "tiffin {command} fails, and yet it answers");
    errors.into_owned()
}

/// The program without the settings of whoever runs the tests; it reads nothing from stdin.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIFFIN_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A running `tiffin serve`. Dropping it kills it.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

impl Server {
    /// Starts on a free port and returns when it is ready. `data` is the folder with the development
    /// key; `arguments` follow `serve`.
    pub fn start(store: &str, data: &Path, arguments: &[&str]) -> Server {
        let mut server = Server::spawn(store, data, arguments, &[]);
        server.wait_until_ready();
        server
    }

    /// Starts with these settings in its environment, and does not wait.
    pub fn spawn(store: &str, data: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Server {
        // Another process could take the port in between; then the server says so and the test fails.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, testing::free_port()));
        let log = data.with_extension("log");
        let errors = File::options().create(true).append(true).open(&log).expect("a log file");
        let out = errors.try_clone().expect("a log file");
        let listen = address.to_string();
        let child = command(&["serve", "--store", store, "--listen", &listen, "--data"])
            .arg(data)
            .args(arguments)
            .envs(settings.iter().copied())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .expect("the program starts");
        Server { child, address, log }
    }

    /// Waits until it is ready; false when it has ended before.
    pub fn comes_up(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < START {
            if !self.is_running() {
                return false;
            }
            if self.is_ready() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("tiffin serve is not ready after {START:?}: {}", self.log());
    }

    fn is_ready(&self) -> bool {
        let answer = http::Connection::open(self.address).and_then(|mut to| to.get("/readyz"));
        answer.is_ok_and(|answer| answer.status == 200)
    }

    fn wait_until_ready(&mut self) {
        assert!(self.comes_up(), "tiffin serve ended before it was ready: {}", self.log());
    }

    /// Ends it as a power cut would: SIGKILL, nothing flushed.
    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }

    /// Asks it to end as an operator would, and waits. Whether it ended well.
    pub fn stop(mut self) -> bool {
        self.signal("TERM");
        self.child.wait().expect("it ends").success()
    }

    /// Sends it a signal: STOP holds it as it stands, CONT lets it go on.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().expect("kill runs");
        assert!(sent.success(), "no SIG{name} for {id}");
    }

    /// Whether it is still there; one that has ended says in [`Server::log`] why.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// The most memory that it has had so far, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux says so");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        peak.trim().trim_end_matches("kB").trim().parse().expect("a number")
    }

    /// The file that it writes its log to, and other servers of its store too.
    pub fn log_path(&self) -> PathBuf {
        self.log.clone()
    }

    /// What it has written, for a failing test.
    pub fn log(&self) -> String {
        let mut text = String::new();
        // A log that cannot be read must not hide the failure that it was wanted for.
        let _ = File::open(&self.log).and_then(|mut file| file.read_to_string(&mut text));
        let start = text.char_indices().rev().nth(4_000).map_or(0, |(index, _)| index);
        text.split_off(start)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `scripts/recompute.py` says of a store's export. Panics when it finds anything wrong.
pub fn recompute(store: &str, export: &Path, arguments: &[&str]) -> Value {
    let (is_right, said) = recomputed(store, export, arguments);
    assert!(is_right, "recompute.py: {:#?}", wrong(&said));
    said
}

/// As [`recompute`], as soon as nothing is half-done any more; if anything still is in the end, that is wrong.
pub fn settled(store: &str, export: &Path, arguments: &[&str]) -> Value {
    let (began, arguments) = (Instant::now(), [&["--finished"], arguments].concat());
    loop {
        let (is_right, said) = recomputed(store, export, &arguments);
        if is_right {
            return said;
        }
        let may_end = said["unfinished"] != 0 && began.elapsed() < SETTLED;
        assert!(may_end, "recompute.py: {:#?}", wrong(&said));
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn recomputed(store: &str, export: &Path, arguments: &[&str]) -> (bool, Value) {
    let written = succeed(&["events", "export", "--store", store]);
    std::fs::write(export, written).expect("an export");
    let output = Command::new("python3")
        .arg(root().join("scripts/recompute.py"))
        .arg(export)
        .args(arguments)
        .output()
        .expect("python3 runs");
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("recompute.py: {error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.success(), said)
}

/// What is wrong, without the books of every account around it.
fn wrong(said: &Value) -> [(&str, &Value); 4] {
    ["problems", "differences", "lost", "unfinished"].map(|what| (what, &said[format!("{what}_first")]))
}
