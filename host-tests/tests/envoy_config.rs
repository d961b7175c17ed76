//! What people copy from `envoy-config/` is what `scrim render` prints today, and Envoy takes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use scrim::envoy::Envoy;

/// What renders `envoy-config/envoy.yaml`, at the root of the repository.
const RENDER: [&str; 6] = [
    "render",
    "envoy",
    "--policy",
    "examples/fhir-gateway/policy.yaml",
    "--module-path",
    "/etc/envoy/scrim",
];

#[test]
fn the_committed_configuration_is_fresh() {
    let committed = fs::read_to_string(root().join("envoy-config/envoy.yaml")).unwrap_or_default();
    let rendered = render(&RENDER);
    assert!(
        committed == rendered,
        "`envoy-config/envoy.yaml` is stale; renew it: cargo run --release -q -- {} > envoy-config/envoy.yaml",
        RENDER.join(" ")
    );
}

#[test]
fn envoy_takes_it_once_the_modules_are_there() {
    let Some(envoy) = Envoy::in_tests() else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("envoy-config");
    let _ = fs::remove_dir_all(&folder);
    let place = folder.display().to_string();
    for modules in ["suite", "chain"] {
        let mut arguments = RENDER.to_vec();
        *arguments.last_mut().unwrap() = &place;
        let configuration = render(&[&arguments[..], &["--modules", modules, "--module-dir", &place]].concat());
        let file = folder.join(format!("{modules}.yaml"));
        fs::write(&file, configuration).unwrap();
        let key = "c3ludGhldGljLXRlc3Qta2V5LW5vdC1hLXNlY3JldCE=";
        let (taken, text) = validate(&envoy, &file, Some(key));
        assert!(taken && text.contains(" OK"), "{modules}: {text}");
        assert!(!text.to_lowercase().contains("deprecated"), "{modules}: {text}");
        // A module that can't have its policy refuses to be configured, and Envoy says so: nothing is served unguarded.
        let (taken, text) = validate(&envoy, &file, None);
        assert!(
            !taken && text.contains("scrim: policy: environment variable `SCRIM_PSEUDONYM_KEY` is not set; set it to"),
            "{modules}: {text}"
        );
    }
}

#[test]
fn envoy_takes_clusters_through_which_keys_are_fetched() {
    let Some(envoy) = Envoy::in_tests() else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("envoy-config-keys");
    fs::create_dir_all(&folder).unwrap();
    let (policy, authorities) = (folder.join("policy.yaml"), folder.join("authorities.pem"));
    fs::write(&policy, KEYS).unwrap();
    // What is trusted is up to the machine; that nothing is would be refused.
    let own = Path::new(scrim::render::CA_FILE);
    if !own.exists() {
        eprintln!("skipped, for want of `{}`", own.display());
        return;
    }
    fs::copy(own, &authorities).unwrap();
    let (policy, authorities, place) = (shown(&policy), shown(&authorities), shown(&folder));
    let arguments = [
        "render",
        "envoy",
        "--policy",
        &policy,
        "--module-dir",
        &place,
        "--module-path",
        &place,
        "--ca-file",
        &authorities,
        "--cluster",
    ];
    let configuration = render(&[&arguments[..], &["lab=10.1.2.3:8443"]].concat());
    for wanted in [
        "name: idp\n",
        "address: idp.example.org\n",
        "sni: idp.example.org\n",
        "exact: idp.example.org\n",
        // Elsewhere, but with the certificate of the key set's host.
        "name: lab\n",
        "address: 10.1.2.3\n",
        "port_value: 8443\n",
        "exact: lab.example.org\n",
        &format!("filename: {authorities}\n"),
    ] {
        assert!(configuration.contains(wanted), "{wanted:?} is not in:\n{configuration}");
    }
    let file = folder.join("envoy.yaml");
    fs::write(&file, configuration).unwrap();
    let (taken, text) = validate(&envoy, &file, None);
    assert!(taken && text.contains(" OK"), "{text}");
    assert!(!text.to_lowercase().contains("deprecated"), "{text}");

    let refused = Command::new(env!("CARGO_BIN_EXE_scrim"))
        .args(arguments)
        .arg("ldp=10.1.2.3:443")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{told}");
    assert!(told.contains("through cluster `ldp`; known are `idp`, `lab`"), "{told}");
}

const KEYS: &str = "
version: 1
issuers:
  idp:
    issuer: https://idp.example.org
    audiences: [https://fhir.example.org]
    algorithms: [RS256]
    jwks: {discovery: {cluster: idp}}
  lab:
    issuer: https://lab.example.org
    audiences: [https://fhir.example.org]
    algorithms: [ES256]
    jwks: {remote: {cluster: lab, url: 'https://lab.example.org/jwks', refresh: 5m, max_stale: 30m}}
policies:
  all: {oauth_scope: {issuers: [idp, lab], require: user/Patient.rs}}
default: all
";

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Whether Envoy takes the configuration, and what it says.
fn validate(envoy: &Envoy, file: &Path, key: Option<&str>) -> (bool, String) {
    let mut command = Command::new(&envoy.found().path);
    command.args(["--mode", "validate", "--config-path"]).arg(file);
    command
        .env_remove("SCRIM_PSEUDONYM_KEY")
        .envs(key.map(|key| ("SCRIM_PSEUDONYM_KEY", key)));
    let said = command.output().unwrap();
    let text = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
    (said.status.success(), text)
}

fn render(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_scrim"))
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}
