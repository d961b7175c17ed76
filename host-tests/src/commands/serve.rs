//! `scrim serve`

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use scrim::envoy::{self, Line, Process};
use scrim::exchange::Setup;
use scrim::policy_file::PolicyFile;
use scrim::render::{AccessLog, Cluster, LISTENER, Sink, Upstream};
use scrim::serve::record::Recorder;
use scrim::serve::{self, Reloader, Server};
use scrim::wasm::Wasmtime;

use super::Place;

#[derive(Args)]
#[command(after_help = "\
Example:
  scrim serve --policy policy.yaml --listen 127.0.0.1:8080 --upstream 127.0.0.1:9090 --access-log access.jsonl

Prints `listening on ADDR` when it is ready, and ends cleanly on SIGTERM and SIGINT. A key named by `env` in the policy
comes from this command's environment. Where the policy fetches keys, the clusters that it names lead to the host of the key set's URL,
or to where --cluster says (`--cluster idp=127.0.0.1:9000`); keys over https need `--engine envoy`.

The embedded engine takes over a changed policy file, and files that it names, as soon as they compile; else it says what is wrong and goes on
with the last good one. On a terminal it prints a line a request: what was decided, by which policy and why.")]
pub(crate) struct Serve {
    #[command(flatten)]
    place: Place,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", value_parser = super::address, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where to forward to, HOST:PORT
    #[arg(long, value_name = "ADDR", value_parser = super::upstream)]
    upstream: Upstream,
    /// What runs the filters
    #[arg(long, value_enum, default_value_t = Engine::Wasmtime)]
    engine: Engine,
    /// Append one JSON line a request to this file
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Write each exchange as a case to this file, which is replaced. It holds bodies, PHI too: for made-up data only [embedded engine]
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// The private key with which recorded tokens are signed anew when the cases run
    #[arg(long, value_name = "FILE", requires = "record")]
    record_key: Option<PathBuf>,
    /// Print a line a request, on a terminal or not [embedded engine]
    #[arg(long)]
    table: bool,
}

/// How often the policy file is looked at.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    /// The embedded engine; bodies are taken whole
    Wasmtime,
    /// A real Envoy with the configuration that `scrim render envoy` prints
    Envoy,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let policy = match PolicyFile::read(&self.place.policy) {
            Ok(policy) => policy,
            Err(diagnostics) => {
                eprintln!("{diagnostics}");
                return Ok(1);
            }
        };
        let (compiled, diagnostics) = policy.compile(&|name| std::env::var(name).ok());
        if !diagnostics.is_empty() {
            eprintln!("{diagnostics}");
        }
        let Some(compiled) = compiled else {
            return Ok(1);
        };
        let clusters = self.place.clusters(&compiled)?;
        match self.engine {
            Engine::Wasmtime => self.embedded(&policy, &clusters),
            Engine::Envoy if self.record.is_some() || self.table => {
                bail!("--record and --table need the embedded engine: leave `--engine envoy` out")
            }
            Engine::Envoy => self.envoy(&policy, clusters),
        }
    }

    fn setup(&self, policy: &PolicyFile) -> anyhow::Result<Setup> {
        Ok(Setup {
            filters: self.place.filters(policy)?,
            environment: scrim::gateway::environment(policy),
            report: scrim::gateway::PUBLISHED.map(str::to_owned).into(),
            ..Setup::default()
        })
    }

    fn embedded(self, policy: &PolicyFile, clusters: &[Cluster]) -> anyhow::Result<u8> {
        let mut onlookers = Vec::new();
        if let Some(path) = &self.access_log {
            onlookers.push(serve::access_log(open(path)?));
        }
        if let Some(file) = &self.record {
            let recorder = Recorder {
                file: file.clone(),
                policy: self.place.policy.clone(),
                modules: self.place.modules.into(),
                key: self.record_key.clone(),
                environment: policy.environment_names.clone(),
            };
            let started = recorder.start();
            onlookers.push(
                started
                    .with_context(|| format!("the recording `{}` can't be written; check the path", file.display()))?,
            );
        }
        let terminal = std::io::stdout().is_terminal();
        if self.table || terminal {
            let color = terminal && std::env::var_os("NO_COLOR").is_none();
            onlookers.push(serve::table::table(std::io::stdout(), color));
        }
        let mut engine = Wasmtime::builder();
        for cluster in clusters {
            if cluster.tls.is_some() {
                bail!(
                    "the embedded engine has no TLS, so it can't fetch the keys of cluster `{}`; use `--engine envoy`",
                    cluster.name
                );
            }
            let server = cluster.server.clone();
            engine = engine.cluster(&cluster.name, move |call| serve::call(&server, call));
        }
        let setup = self.setup(policy)?;
        let server = Server::start(&Arc::new(engine.build()?), &setup, self.listen, &self.upstream)?;
        announce(server.address()?)?;
        let reloader = server.reloader();
        let (clusters, policy) = (clusters.to_vec(), policy.clone());
        // Ends with the process.
        std::thread::Builder::new()
            .name("scrim-reload".to_owned())
            .spawn(move || self.follow(&policy, &clusters, &reloader))?;
        server.run(stopped(), onlookers)?;
        Ok(0)
    }

    /// Takes over what the policy file, or a file that it names, becomes.
    fn follow(&self, policy: &PolicyFile, clusters: &[Cluster], reloader: &Reloader) {
        let mut running = (policy.configuration(true), policy.environment.clone());
        let mut told = String::new();
        loop {
            std::thread::sleep(LOOK);
            let now = self.read_anew(&running, clusters);
            let problem = match now {
                Ok(None) => {
                    told.clear();
                    continue;
                }
                Ok(Some(policy)) => match self.setup(&policy).and_then(|setup| reloader.replace(setup)) {
                    Ok(()) => {
                        running = (policy.configuration(true), policy.environment.clone());
                        eprintln!("scrim: `{}` has changed and is in force", policy.path.display());
                        String::new()
                    }
                    Err(error) => format!("{error:#}"),
                },
                Err(why) => why,
            };
            if !problem.is_empty() && problem != told {
                eprintln!("{problem}\nscrim: the policy before stays in force");
            }
            told = problem;
        }
    }

    /// The policy file if it has changed and compiles; else what is wrong with it.
    fn read_anew(
        &self,
        running: &(serde_json::Value, std::collections::BTreeMap<String, String>),
        clusters: &[Cluster],
    ) -> Result<Option<PolicyFile>, String> {
        let policy = PolicyFile::read(&self.place.policy).map_err(|told| told.to_string())?;
        let (compiled, told) = policy.compile(&|name| std::env::var(name).ok());
        let compiled = compiled.ok_or_else(|| told.to_string())?;
        if (policy.configuration(true), &policy.environment) == (running.0.clone(), &running.1) {
            return Ok(None);
        }
        match self.place.clusters(&compiled) {
            Ok(wanted) if wanted == clusters => Ok(Some(policy)),
            Ok(_) => Err("the policy fetches keys from elsewhere now: start anew for that".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        }
    }

    fn envoy(&self, policy: &PolicyFile, clusters: Vec<Cluster>) -> anyhow::Result<u8> {
        let mut bootstrap =
            self.place
                .bootstrap(policy, self.place.filters(policy)?, self.listen, self.upstream.clone());
        bootstrap.clusters = clusters;
        bootstrap
            .environment
            .host_keys
            .retain(|name| !policy.environment.contains_key(name));
        // What key files held stands in a file that only this user can read, and goes with the process.
        bootstrap.environment.values = policy.environment.clone();
        bootstrap.access_log = match &self.access_log {
            Some(path) => {
                // Envoy would tell less clearly that it can't.
                open(path)?;
                Some(AccessLog::standard(Sink::File(std::path::absolute(path)?)))
            }
            None => None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let signals = std::thread::spawn(move || {
            runtime.block_on(stopped());
            flag.store(true, Ordering::SeqCst);
        });
        let mut process = Process::start(&envoy::find()?, &bootstrap)?;
        announce(process.listener(LISTENER)?)?;
        while !stop.load(Ordering::SeqCst) {
            match process.next_line(Duration::from_millis(100)) {
                // Envoy's own talk about its VMs interests nobody here.
                Ok(Some(Line::Log { level, .. })) if matches!(level.as_str(), "trace" | "debug") => {}
                Ok(Some(Line::Plugin { level, text } | Line::Log { level, text })) => eprintln!("[{level}] {text}"),
                Ok(Some(Line::Access(line))) => writeln!(std::io::stdout(), "{line}")?,
                Ok(None) => {}
                Err(error) => {
                    // Ctrl-C reaches Envoy too, and may be faster there.
                    std::thread::sleep(Duration::from_millis(300));
                    if !stop.load(Ordering::SeqCst) {
                        return Err(error);
                    }
                }
            }
        }
        let _ = signals.join();
        process.stop()?;
        Ok(0)
    }
}

fn open(log: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(log);
    file.with_context(|| format!("the access log `{}` can't be opened; check the path", log.display()))
}

fn announce(address: SocketAddr) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {address}")?;
    out.flush()?;
    Ok(())
}

/// Resolves with the first SIGTERM or SIGINT.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        eprintln!("scrim: signals can't be heard; end it by SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
