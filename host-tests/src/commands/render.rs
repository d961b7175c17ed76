//! `scrim render`

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use scrim::exchange::Filter;
use scrim::policy_file::PolicyFile;
use scrim::render::{AccessLog, Admin, Bootstrap, Cluster, Sink, Upstream};
use scrim_policy::compile::Compiled;

use super::Place;

#[derive(Args)]
#[command(after_help = "\
Example:
  scrim render envoy --policy policy.yaml --listen 0.0.0.0:8080 --upstream fhir.internal:8080 > envoy.yaml
  envoy -c envoy.yaml

To deploy to another machine, have the modules put where you copy from, and say where they will be there:
  scrim render envoy --policy policy.yaml --module-dir modules --module-path /etc/envoy/scrim > envoy.yaml

Where the policy fetches keys (`jwks: {remote: ..}` or `{discovery: ..}`), the clusters that it names are written too. Each leads to
the host of the key set's URL unless --cluster says otherwise, by TLS where that URL is https:
  scrim render envoy --policy policy.yaml --cluster idp=idp.internal:443 --ca-file /etc/ssl/certs/ca-certificates.crt > envoy.yaml

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
    /// Where the modules will be on the proxy's machine. They are then put into --module-dir, if it is given, under their
    /// plain names
    #[arg(long, value_name = "DIR")]
    module_path: Option<PathBuf>,
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
                "`render istio` is not there yet; use `render envoy`, whose filter section can be carried over by hand"
            ),
            Proxy::EnvoyGateway => {
                bail!(
                    "`render envoy-gateway` is not there yet; use `render envoy`, whose filter section can be carried over by hand"
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
        let filters = match &self.module_path {
            Some(there) => self.place.filters_for(&policy, there)?,
            None => self.place.filters(&policy)?,
        };
        let clusters = self.place.clusters(&compiled)?;
        let mut bootstrap = self.place.bootstrap(&policy, filters, self.listen, self.upstream);
        bootstrap.clusters = clusters;
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
        bootstrap.comments.push(
            "TLS is not set up here: end it in front, or add a transport_socket to the listener and the upstream's cluster"
                .to_owned(),
        );
        write!(std::io::stdout(), "{}", bootstrap.to_yaml())?;
        Ok(0)
    }
}

impl Place {
    /// What `render` prints and `serve --engine envoy` runs.
    pub(super) fn bootstrap(
        &self,
        policy: &PolicyFile,
        filters: Vec<Filter>,
        listen: SocketAddr,
        upstream: Upstream,
    ) -> Bootstrap {
        let mut bootstrap = Bootstrap::new(listen, upstream);
        bootstrap.filters = filters;
        bootstrap.environment.host_keys = policy.environment_names.clone();
        bootstrap
    }

    /// Through what the policy's keys are fetched.
    pub(super) fn clusters(&self, compiled: &Compiled) -> anyhow::Result<Vec<Cluster>> {
        scrim::gateway::clusters(compiled, &self.clusters, &self.ca_file)
    }

    /// The filters with their modules in the folder `there` of another machine.
    fn filters_for(&self, policy: &PolicyFile, there: &Path) -> anyhow::Result<Vec<Filter>> {
        scrim::gateway::filters_at(policy, self.modules.into(), &|module| {
            if let Some(here) = &self.module_dir {
                let file = here.join(module.file_name());
                let written = std::fs::create_dir_all(here).and_then(|()| std::fs::write(&file, module.bytes));
                written.with_context(|| {
                    format!(
                        "`{}` can't be written; choose another folder with --module-dir",
                        file.display()
                    )
                })?;
            }
            Ok(there.join(module.file_name()))
        })
    }

    pub(super) fn filters(&self, policy: &PolicyFile) -> anyhow::Result<Vec<Filter>> {
        let folder = match &self.module_dir {
            Some(folder) => folder.clone(),
            None => scrim::modules::default_folder()?,
        };
        scrim::gateway::filters(policy, self.modules.into(), &folder)
    }
}
