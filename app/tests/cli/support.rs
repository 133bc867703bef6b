//! Folders with a history, the program, a running server.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Whose books the histories are.
pub const TENANT: &str = "00000000-0000-7000-8000-000000000001";
/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, without the settings of whoever runs the tests, in a folder without any.
pub fn program(cwd: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiffin"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIFFIN_")) {
        command.env_remove(name);
    }
    // The width of help texts.
    command.env_remove("COLUMNS");
    command.current_dir(cwd).stdin(Stdio::null());
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder of its own for a store and what belongs to it.
pub struct Place {
    dir: TempDir,
    /// Where its log is, when that is not in its folder.
    store: Option<String>,
}

impl Place {
    pub fn new() -> Place {
        Place { dir: tempfile::tempdir().expect("a folder"), store: None }
    }

    /// With its log at `store`.
    pub fn at(store: String) -> Place {
        Place { store: Some(store), ..Place::new() }
    }

    /// With a history of `orders` orders, and nobody who serves it.
    pub fn with_history(orders: u32) -> Place {
        let place = Place::new();
        let report = place.json(&place.import_of(orders));
        assert_eq!(report["orders_imported"], orders, "{report}");
        place
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Where log and views are.
    pub fn folder(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn store(&self) -> String {
        self.store.clone().unwrap_or_else(|| format!("sqlite:{}", self.folder().display()))
    }

    /// The arguments that import a history of `orders` orders of two lines, 1,250 fen each.
    pub fn import_of(&self, orders: u32) -> Vec<String> {
        let mut rows = String::from("order,at,dish,quantity,price\n");
        for order in 1..=orders {
            let minute = order % 60;
            rows += &format!("{order},2026-03-02 12:{minute:02}:00,Rice,1,2.50\n");
            rows += &format!("{order},2026-03-02 12:{minute:02}:00,Noodles,2,5.00\n");
        }
        let mapping = "canteen = 'North'\ncurrency = 'CNY'\nzone = 'Asia/Shanghai'\n[columns]\norder = 'order'\n\
                       dish = 'dish'\nquantity = 'quantity'\nunit_price = 'price'\n\
                       time = { columns = ['at'], format = '%Y-%m-%d %H:%M:%S' }\n";
        let (file, map) = (self.path().join("orders.csv"), self.path().join("mapping.toml"));
        fs::write(&file, rows).expect("a file");
        fs::write(&map, mapping).expect("a file");
        let (file, map) = (file.display().to_string(), map.display().to_string());
        ["import", "orders", &file, "--mapping", &map, "--tenant", TENANT].map(str::to_owned).to_vec()
    }

    /// Runs the program on this folder to its end.
    pub fn run(&self, arguments: &[impl AsRef<str>]) -> Output {
        let arguments = arguments.iter().map(AsRef::as_ref);
        program(self.path()).args(arguments).args(["--store", &self.store()]).output().expect("it starts")
    }

    /// As [`Place::run`]: it must succeed; what it wrote.
    pub fn succeed(&self, arguments: &[impl AsRef<str>]) -> String {
        let output = self.run(arguments);
        let shown: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        assert!(output.status.success(), "{}: {} {}", shown.join(" "), stdout(&output), stderr(&output));
        stdout(&output)
    }

    /// As [`Place::succeed`], with `--json`.
    pub fn json(&self, arguments: &[impl AsRef<str>]) -> Value {
        let mut arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        arguments.push("--json");
        let text = self.succeed(&arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", arguments.join(" ")))
    }

    /// A token for this folder.
    pub fn token(&self, role: &str) -> String {
        let token = self.succeed(&["token", "--tenant", TENANT, "--role", role, "--canteen", "all"]);
        token.trim().to_owned()
    }

    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// As [`Place::serve`], with more arguments.
    pub fn serve_with(&self, arguments: &[&str]) -> Server {
        let log = fs::File::options().create(true).append(true).open(self.path().join("server.log"));
        let mut child = program(self.path())
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--store", &self.store()])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}: {}", self.log()));
        let address = said["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let server = Server { child, address };
        server.wait_until_ready();
        server
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("server.log")).unwrap_or_default()
    }

    /// Every file of the folder with its content, sockets left out.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.folder()).expect("a folder").map(|entry| entry.expect("an entry").path());
        let files = entries.filter(|path| path.is_file());
        files.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
    }
}

/// A running `tiffin serve`. Dropping it kills it.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    fn wait_until_ready(&self) {
        let began = std::time::Instant::now();
        while !http(self.address, "GET", "/readyz", None, "").is_ok_and(|answer| answer.0 == 200) {
            assert!(began.elapsed() < PATIENCE, "the server does not get ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().expect("kill runs").success());
    }

    /// Waits until it has ended; its exit code.
    pub fn ended(mut self) -> Option<i32> {
        let began = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn kill(mut self) {
        self.child.kill().expect("it was running");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks GraphQL; the whole answer.
pub fn graphql(address: SocketAddr, token: &str, query: &str, variables: Value) -> std::io::Result<Value> {
    let body = json!({ "query": query, "variables": variables }).to_string();
    let (_, answer) = http(address, "POST", "/graphql", Some(token), &body)?;
    serde_json::from_slice(&answer).map_err(std::io::Error::other)
}

/// One request on a connection of its own; status and body.
pub fn http(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> std::io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {token}Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let broken = || std::io::Error::other("the answer broke off");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
    let length = head
        .to_ascii_lowercase()
        .lines()
        .find_map(|line| line.strip_prefix("content-length:").and_then(|length| length.trim().parse::<usize>().ok()));
    let body = answer.split_off(end + 4);
    // A cut answer is no answer.
    if length.is_some_and(|length| length != body.len()) { Err(broken()) } else { Ok((status, body)) }
}
