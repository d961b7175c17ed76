//! `scrim render`

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};

use scrim::policy_file::PolicyFile;
use scrim::render::{AccessLog, Admin, Bootstrap, Sink, Upstream};

use super::Place;

#[derive(Args)]
#[command(after_help = "\
Example:
  scrim render envoy --policy policy.yaml --listen 0.0.0.0:8080 --upstream fhir.internal:8080 > envoy.yaml
  envoy -c envoy.yaml

The access log holds the log-safe path and the audit record, never the URL itself.
Keys named by `env` are taken from Envoy's own environment; they are never written into the configuration.")]
pub(crate) struct Render {
    /// For which proxy
    #[arg(value_enum)]
    proxy: Proxy,
    #[command(flatten)]
    place: Place,
    /// Where the proxy listens
    #[arg(long, value_name = "ADDR", value_parser = super::address, default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Where it forwards to, HOST:PORT
    #[arg(long, value_name = "ADDR", value_parser = super::upstream, default_value = "127.0.0.1:9090")]
    upstream: Upstream,
    /// Write the access log to this file instead of standard output; `none` for no access log
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Serve Envoy's admin interface here
    #[arg(long, value_name = "ADDR", value_parser = super::address)]
    admin: Option<SocketAddr>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Proxy {
    /// An Envoy bootstrap
    Envoy,
    /// Istio's WasmPlugin (not yet)
    Istio,
    /// Envoy Gateway's EnvoyExtensionPolicy (not yet)
    EnvoyGateway,
}

impl Render {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        match self.proxy {
            Proxy::Envoy => {}
            Proxy::Istio => bail!(
                "`render istio` is not there yet; `render envoy` is, and its filter section can be carried over by hand"
            ),
            Proxy::EnvoyGateway => {
                bail!(
                    "`render envoy-gateway` is not there yet; `render envoy` is, and its filter section can be carried over by hand"
                )
            }
        }
        let policy = match PolicyFile::read(&self.place.policy) {
            Ok(policy) => policy,
            Err(diagnostics) => {
                eprintln!("{diagnostics}");
                return Ok(1);
            }
        };
        let (compiled, diagnostics) = policy.check();
        if !diagnostics.is_empty() {
            eprintln!("{diagnostics}");
        }
        let Some(compiled) = compiled else {
            return Ok(1);
        };
        let mut bootstrap = self.place.bootstrap(&policy, self.listen, self.upstream)?;
        bootstrap.access_log = match self.access_log {
            Some(path) if path.as_os_str() == "none" => None,
            Some(path) => Some(AccessLog::standard(Sink::File(path))),
            None => Some(AccessLog::standard(Sink::Stdout)),
        };
        bootstrap.admin = self.admin.map(Admin::Tcp);
        bootstrap.comments.push(format!(
            "policy digest {}, from {}",
            compiled.digest(),
            self.place.policy.display()
        ));
        if !policy.environment_names.is_empty() {
            bootstrap.comments.push(format!(
                "Envoy's environment must hold: {}",
                policy.environment_names.join(", ")
            ));
        }
        for (name, file) in policy
            .environment
            .keys()
            .map(|name| (name, "a key file, for local runs"))
        {
            bootstrap
                .comments
                .push(format!("`{name}` stands for {file}: set it to the file's content"));
        }
        print!("{}", bootstrap.to_yaml());
        Ok(0)
    }
}

impl Place {
    /// What `render` prints and `serve --engine envoy` runs.
    pub(super) fn bootstrap(
        &self,
        policy: &PolicyFile,
        listen: SocketAddr,
        upstream: Upstream,
    ) -> anyhow::Result<Bootstrap> {
        let mut bootstrap = Bootstrap::new(listen, upstream);
        bootstrap.filters = self.filters(policy)?;
        bootstrap.environment.host_keys = policy.environment_names.clone();
        Ok(bootstrap)
    }

    pub(super) fn filters(&self, policy: &PolicyFile) -> anyhow::Result<Vec<scrim::exchange::Filter>> {
        let folder = match &self.module_dir {
            Some(folder) => folder.clone(),
            None => scrim::modules::default_folder()?,
        };
        scrim::gateway::filters(policy, self.modules.into(), &folder)
    }
}
