//! From a policy file to the filters of a gateway, on either engine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use scrim_policy::compile::Compiled;

use crate::cases::{self, Modules, PolicySource};
use crate::exchange::Filter;
use crate::modules::{CHAIN, Module, SUITE};
use crate::policy_file::PolicyFile;
use crate::render::{Cluster, Protocol, Tls, Upstream};

/// The filter state that the modules publish.
pub const PUBLISHED: [&str; 2] = ["scrim.path", "scrim.audit"];

/// The filters of a policy file, outermost first. `folder` is where the modules' files are put.
///
/// # Errors
/// When the folder can't be written.
pub fn filters(policy: &PolicyFile, modules: Modules, folder: &Path) -> anyhow::Result<Vec<Filter>> {
    let folder = std::path::absolute(folder)?;
    filters_at(policy, modules, &|module| module.file_in(&folder))
}

/// As [`filters`], with the modules' files where `place` says.
///
/// # Errors
/// Those of `place`.
pub fn filters_at(
    policy: &PolicyFile,
    modules: Modules,
    place: &dyn Fn(&Module) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<Vec<Filter>> {
    let chosen: &[Module] = match modules {
        Modules::Suite => &[SUITE],
        Modules::Chain => &CHAIN,
    };
    let configuration = serde_json::to_vec_pretty(&policy.configuration(true))?;
    let made = chosen.iter().map(|module| {
        Ok(Filter {
            name: format!("scrim.{}", module.name),
            root_id: String::new(),
            module: place(module)?,
            configuration: configuration.clone(),
            allow_on_headers_stop_iteration: true,
            ..Filter::default()
        })
    });
    made.collect()
}

/// What a case file's `policy` becomes.
///
/// # Errors
/// When the policy file has errors: all of them are told.
pub fn compile_cases(source: &PolicySource, folder: &Path) -> anyhow::Result<cases::Compiled> {
    let policy = match PolicyFile::read(&source.file) {
        Ok(policy) => policy,
        Err(diagnostics) => bail!("{diagnostics}"),
    };
    let (compiled, diagnostics) = policy.compile(&|name| source.environment.get(name).cloned());
    if compiled.is_none() {
        bail!("{diagnostics}");
    }
    Ok(cases::Compiled {
        filters: filters(&policy, source.modules, folder)?,
        environment: policy.environment.clone(),
    })
}

/// The clusters through which a policy's keys are fetched. `servers` says by name where one is instead of where the key set's URL
/// says; `ca_file` has the certificate authorities to trust where that is `https`.
///
/// # Errors
/// When one cluster would have to be two servers, or `servers` names one that the policy does not.
pub fn clusters(compiled: &Compiled, servers: &[(String, Upstream)], ca_file: &Path) -> anyhow::Result<Vec<Cluster>> {
    let mut list: Vec<Cluster> = Vec::new();
    for source in compiled.sources() {
        let spec = source.spec();
        let origin = spec.finding.address().origin();
        let (host, port) = origin.host_and_port();
        let own = Upstream {
            host: host.to_owned(),
            port,
        };
        let given = servers.iter().find(|(name, _)| *name == spec.cluster);
        let made = Cluster {
            name: spec.cluster.clone(),
            server: given.map_or(own, |(_, server)| server.clone()),
            protocol: Protocol::Http1,
            tls: origin.is_secure().then(|| Tls {
                host: host.to_owned(),
                ca_file: ca_file.to_owned(),
            }),
        };
        match list.iter().find(|other| other.name == made.name) {
            Some(other) if *other == made => {}
            Some(other) => bail!(
                "cluster `{}` would be both {} and {}; give issuers of different servers different clusters",
                made.name,
                other.server,
                made.server
            ),
            None => list.push(made),
        }
    }
    for (name, _) in servers {
        if !list.iter().any(|cluster| cluster.name == *name) {
            let known = cases::known(list.iter().map(|cluster| cluster.name.as_str()));
            bail!("the policy fetches no keys through cluster `{name}`; {known}");
        }
    }
    Ok(list)
}

/// The environment of the VMs of a local gateway: what key files held, and this process's values of what the policy names.
pub fn environment(policy: &PolicyFile) -> BTreeMap<String, String> {
    let mut values = policy.environment.clone();
    for name in &policy.environment_names {
        if let (false, Ok(value)) = (values.contains_key(name), std::env::var(name)) {
            values.insert(name.clone(), value);
        }
    }
    values
}
