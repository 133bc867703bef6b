//! A folder with a log in it, and the program that works on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A checked-in mapping.
pub(crate) fn mapping(name: &str) -> String {
    root().join(format!("docs/mappings/{name}.toml")).display().to_string()
}

/// A folder of its own, with a log in it.
pub(crate) struct Place(pub(crate) tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    pub(crate) fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tiffin"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIFFIN_")) {
            command.env_remove(name);
        }
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command.args(args).args(["--store", "sqlite:data", "--json"]);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.program(args).output().unwrap()
    }

    /// Runs an import and answers with its exit code and report.
    pub(crate) fn import(&self, args: &[&str]) -> (i32, Value) {
        let output = self.run(&[&["import"], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = if output.stdout.is_empty() { said.as_bytes() } else { &output.stdout };
        let report = serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {said}"));
        (output.status.code().unwrap(), report)
    }

    pub(crate) fn orders(&self, file: &str, mapping: &str) -> (i32, Value) {
        self.import(&["orders", file, "--mapping", mapping])
    }

    /// Every line that a reading command says.
    pub(crate) fn said(&self, args: &[&str]) -> Vec<String> {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// The whole log, an event a line.
    pub(crate) fn log(&self) -> Vec<String> {
        let exported = self.said(&["events", "export"]);
        exported.into_iter().filter(|line| line.starts_with("{\"position\"")).collect()
    }

    /// Balances by account; with the debits and credits that led to them.
    pub(crate) fn balances(&self) -> Value {
        let mut said: Value = serde_json::from_str(&self.said(&["balances"]).join("\n")).unwrap();
        if let Some(said) = said.as_object_mut() {
            said.remove("position");
        }
        said
    }

    pub(crate) fn bytes_in_log(&self) -> u64 {
        let Ok(entries) = fs::read_dir(self.0.path().join("data")) else { return 0 };
        entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("log"))
            .map(|e| e.metadata().map_or(0, |m| m.len()))
            .sum()
    }

    /// Runs a command and kills it when the log has so many bytes, once for each.
    pub(crate) fn kill_at(&self, bytes: &[u64], args: &[&str]) {
        let mut killed = 0;
        for bytes in bytes {
            let mut child = self.program(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let started = Instant::now();
            while child.try_wait().unwrap().is_none()
                && self.bytes_in_log() < *bytes
                && started.elapsed() < Duration::from_secs(60)
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            // SIGKILL.
            child.kill().unwrap();
            killed += usize::from(!child.wait().unwrap().success());
        }
        // The machine may stand still just then, and the program end meanwhile.
        assert!(killed * 4 >= bytes.len(), "it was killed in the middle {killed} times");
    }

    /// What the log says by the program that shares no code with this one; nothing may be half-done.
    pub(crate) fn recompute(&self) -> Value {
        let export = self.file("export.jsonl", self.said(&["events", "export"]).join("\n"));
        let script = root().join("scripts/recompute.py");
        let output = Command::new("python3").arg(script).args([&export, "--finished"]).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{} {}", said["problems_first"], said["unfinished_first"]);
        said
    }
}
