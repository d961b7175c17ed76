//! An Envoy process: started from a configuration, ready when it listens, gone when dropped.

use super::find::Found;
use super::wire::{self, Framing, Head};
use crate::exchange::EXCHANGE_TIMEOUT;
use crate::render::{Admin, Bootstrap};
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long Envoy may take to compile the modules and listen.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long Envoy may take to end when asked to.
const GRACE: Duration = Duration::from_secs(5);

/// A running Envoy; killed and cleaned up when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<Line>,
    listeners: BTreeMap<String, SocketAddr>,
    folder: Folder,
}

/// A line that Envoy printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// What a plugin logged.
    Plugin {
        /// `trace`, `debug`, `info`, `warn`, `error` or `critical`.
        level: String,
        /// The text, as the plugin gave it.
        text: String,
    },
    /// What Envoy itself logged.
    Log {
        /// The level, as above.
        level: String,
        /// The text.
        text: String,
    },
    /// A line of an access log on standard output.
    Access(String),
}

impl Process {
    /// Starts `envoy` with `bootstrap` and waits until it serves. The administration interface is this process's own: a
    /// socket in a private folder.
    ///
    /// # Errors
    /// When the port is taken, and with Envoy's own words when it refuses the configuration, as it does when a module
    /// refuses its own.
    pub fn start(envoy: &Found, bootstrap: &Bootstrap) -> anyhow::Result<Self> {
        // Envoy would share a port with another Envoy, and each would get some of the requests.
        let listen = bootstrap.listen;
        TcpListener::bind(listen)
            .map(drop)
            .with_context(|| format!("cannot listen on `{listen}`; choose another address"))?;
        Self::start_with(envoy, bootstrap, Bootstrap::to_yaml)
    }

    /// As [`Self::start`], with the configuration that `render` makes of the bootstrap, as YAML or JSON, and without a look at the port.
    /// The bootstrap that `render` gets has the administration interface.
    ///
    /// # Errors
    /// With Envoy's own words when it refuses the configuration.
    pub fn start_with(
        envoy: &Found,
        bootstrap: &Bootstrap,
        render: impl FnOnce(&Bootstrap) -> String,
    ) -> anyhow::Result<Self> {
        let folder = Folder::new().context("cannot make a folder for Envoy's configuration")?;
        let mut bootstrap = bootstrap.clone();
        bootstrap.admin = Some(Admin::Socket(folder.socket()));
        let configuration = folder.0.join("envoy.yaml");
        fs::write(&configuration, render(&bootstrap))?;

        // One pipe for both streams, so that logs and access logs come in the order in which they were written.
        let (reader, writer) = io::pipe()?;
        let child = Command::new(&envoy.path)
            .arg("--config-path")
            .arg(&configuration)
            .args(["--concurrency", "1", "--disable-hot-restart"])
            .args(["--log-level", "warning", "--component-log-level", "wasm:debug"])
            // One record a line, whatever a plugin logs.
            .args(["--log-format", "%l %v", "--log-format-escaped"])
            // An access log line is there as soon as it is written.
            .args(["--file-flush-min-size-kb", "0", "--file-flush-interval-msec", "10"])
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("cannot run `{}`", envoy.path.display()))?;
        let (sender, lines) = mpsc::channel();
        let vm_ids = bootstrap
            .filters
            .iter()
            .map(|filter| filter.vm_id().to_owned())
            .collect();
        let mut process = Self {
            child,
            lines,
            listeners: BTreeMap::new(),
            folder,
        };
        std::thread::Builder::new()
            .name("envoy-output".to_owned())
            .spawn(move || read(reader, &sender, &vm_ids))?;
        process.await_ready()?;
        process.listeners = process.ask_listeners()?;
        Ok(process)
    }

    /// Where a listener listens.
    pub fn listener(&self, name: &str) -> anyhow::Result<SocketAddr> {
        self.listeners
            .get(name)
            .copied()
            .with_context(|| format!("Envoy has no listener named `{name}`"))
    }

    /// The next line that Envoy printed; none when there is none within `timeout`.
    ///
    /// # Errors
    /// When Envoy has ended.
    pub fn next_line(&mut self, timeout: Duration) -> anyhow::Result<Option<Line>> {
        match self.lines.recv_timeout(timeout) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait()?;
                bail!("Envoy ended by itself ({status})")
            }
        }
    }

    /// Ends Envoy by SIGTERM, or by force when it does not end soon.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        // The standard library has no signals; every POSIX shell has.
        let _ = Command::new("/bin/sh")
            .args(["-c", "kill -TERM \"$0\""])
            .arg(self.child.id().to_string())
            .status();
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// The metrics that filters defined: the values of counters and gauges, the number of samples of histograms. Envoy's own
    /// are left out.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub fn metrics(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let ask = || {
            let answer = self.ask(&format!(
                "/stats?format=json&histogram_buckets=disjoint&filter=^{METRICS}"
            ))?;
            metrics(&answer).context("the administration interface's metrics are no JSON")
        };
        let mut metrics = ask()?;
        // Asking makes Envoy merge histograms, on its own time: a later answer has what an earlier one set off.
        if metrics.has_histograms {
            for _ in 0..2 {
                std::thread::sleep(Duration::from_millis(10));
                metrics = ask()?;
            }
        }
        Ok(metrics.values)
    }

    fn await_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{}", self.last_words(status));
            }
            if self.ask("/ready").is_ok_and(|answer| answer.starts_with("LIVE")) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("Envoy does not serve after {} s", START_TIMEOUT.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Why Envoy ended, in its own words and those of its plugins, on one line.
    fn last_words(&self, status: ExitStatus) -> String {
        let mut words: Vec<String> = Vec::new();
        // The reading thread ends with the process, and the channel with the thread.
        while let Ok(line) = self.lines.recv_timeout(GRACE) {
            let (level, text) = match line {
                Line::Plugin { level, text } | Line::Log { level, text } => (level, text),
                Line::Access(_) => continue,
            };
            // Envoy repeats the whole configuration, which says nothing new.
            let text = text
                .split(" initializing config")
                .next()
                .unwrap_or_default()
                .trim()
                .replace('\n', " ");
            if matches!(level.as_str(), "warn" | "error" | "critical") && !words.contains(&text) {
                words.push(text);
            }
        }
        match words.is_empty() {
            true => format!("Envoy ended at once ({status})"),
            false => format!("Envoy refused to start: {}", words.join("; ")),
        }
    }

    fn ask_listeners(&self) -> anyhow::Result<BTreeMap<String, SocketAddr>> {
        let answer = self.ask("/listeners?format=json")?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        let statuses = answer.get("listener_statuses").and_then(|statuses| statuses.as_array());
        let parse = |status: &serde_json::Value| {
            let address = status.pointer("/local_address/socket_address")?;
            let ip = address.get("address")?.as_str()?.parse().ok()?;
            let port = address.get("port_value")?.as_u64()?.try_into().ok()?;
            Some((status.get("name")?.as_str()?.to_owned(), SocketAddr::new(ip, port)))
        };
        Ok(statuses.into_iter().flatten().filter_map(parse).collect())
    }

    /// Asks the administration interface.
    fn ask(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = UnixStream::connect(self.folder.socket())?;
        stream.set_read_timeout(Some(EXCHANGE_TIMEOUT))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
        )?;
        let mut from = BufReader::new(stream);
        let head = Head::read(&mut from)?.context("the administration interface is silent")?;
        let framing = head.framing(Framing::UntilClose)?;
        Ok(String::from_utf8_lossy(&wire::read_body(&mut from, framing)?.body).into_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Line {
    /// Reads what `--log-format '%l %v' --log-format-escaped` and the access logs print; what plugins log is marked by their VM ids.
    fn parse(line: &str, vm_ids: &BTreeSet<String>) -> Self {
        if line.starts_with('{') {
            return Self::Access(line.to_owned());
        }
        let text = unescape(line);
        let (level, text) = text.split_once(' ').unwrap_or(("error", &text));
        let level = if level == "warning" { "warn" } else { level }.to_owned();
        let said = text
            .split_once("wasm log ")
            .filter(|(before, _)| before.is_empty() || before.ends_with("] "));
        // `wasm log NAME ROOT VM: TEXT`; a root context has no name.
        let text_of = |(_, said): (_, &str)| {
            let said = format!(" {said}");
            let behind = |id: &String| said.find(&format!(" {id}: ")).map(|at| at + id.len() + 3);
            let start = vm_ids.iter().filter_map(behind).min()?;
            said.get(start..).map(str::to_owned)
        };
        match said.and_then(text_of) {
            Some(text) => Self::Plugin { level, text },
            None => Self::Log {
                level,
                text: text.to_owned(),
            },
        }
    }
}

/// What Envoy puts before the names of filters' metrics (a dot in a regular expression is any character).
const METRICS: &str = "wasmcustom.";

#[derive(Debug, Default, PartialEq, Eq)]
struct Metrics {
    values: BTreeMap<String, u64>,
    has_histograms: bool,
}

/// Reads `/stats?format=json&histogram_buckets=disjoint`.
fn metrics(answer: &str) -> anyhow::Result<Metrics> {
    let answer: Value = serde_json::from_str(answer)?;
    let mut metrics = Metrics::default();
    let name = |of: &Value| Some(of.get("name")?.as_str()?.strip_prefix(METRICS)?.to_owned());
    for stat in answer.get("stats").and_then(Value::as_array).into_iter().flatten() {
        if let (Some(name), Some(value)) = (name(stat), stat.get("value").and_then(Value::as_u64)) {
            metrics.values.insert(name, value);
        }
        for histogram in stat.get("histograms").and_then(Value::as_array).into_iter().flatten() {
            let Some(name) = name(histogram) else { continue };
            let buckets = histogram.get("buckets").and_then(Value::as_array);
            let counts = buckets
                .into_iter()
                .flatten()
                .filter_map(|bucket| bucket.get("cumulative")?.as_u64());
            metrics.values.insert(name, counts.sum());
            metrics.has_histograms = true;
        }
    }
    Ok(metrics)
}

/// A private folder, removed when dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("scrim-{}-{count}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                // Left behind by an earlier process with this number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && count < 1000 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The administration interface's socket.
    fn socket(&self) -> PathBuf {
        self.0.join("admin.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(from: PipeReader, to: &mpsc::Sender<Line>, vm_ids: &BTreeSet<String>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(1..) = from.read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if !text.is_empty() && to.send(Line::parse(text, vm_ids)).is_err() {
            return;
        }
        line.clear();
    }
}

/// Undoes C escapes, which may be of single bytes of a character.
fn unescape(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => plain.push(b'\n'),
            Some(b'r') => plain.push(b'\r'),
            Some(b't') => plain.push(b'\t'),
            Some(first @ b'0'..=b'7') => {
                let digits = [Some(first), bytes.next(), bytes.next()];
                let value = digits.into_iter().flatten().fold(0_u32, |value, digit| {
                    value * 8 + u32::from(digit.wrapping_sub(b'0') & 7)
                });
                plain.push(value.to_le_bytes()[0]);
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let plugin = |level: &str, text: &str| Line::Plugin {
            level: level.to_owned(),
            text: text.to_owned(),
        };
        let cases = [
            (
                r#"info wasm log trim response-trim scrim: a: \"b\"\nc \303\251"#,
                plugin("info", "a: \"b\"\nc é"),
            ),
            ("warning wasm log response-trim scrim: root", plugin("warn", "root")),
            (
                "info [source/x.cc:1] wasm log scrim scrim scrim: x",
                plugin("info", "x"),
            ),
            ("info wasm log a own: b scrim: c", plugin("info", "b scrim: c")),
            (r#"{"a":"\n"}"#, Line::Access(r#"{"a":"\n"}"#.to_owned())),
            (
                "error Unable",
                Line::Log {
                    level: "error".to_owned(),
                    text: "Unable".to_owned(),
                },
            ),
        ];
        let vm_ids = ["own", "scrim"].map(str::to_owned).into();
        for (text, wanted) in cases {
            assert_eq!(Line::parse(text, &vm_ids), wanted);
        }
    }

    #[test]
    fn folders_are_private_and_go_away() {
        let folder = Folder::new().unwrap();
        let path = folder.0.clone();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777,
            0o700
        );
        drop(folder);
        assert!(!path.exists());
    }
}
