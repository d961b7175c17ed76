//! The commands and their arguments.

mod bench;
mod check;
mod demo;
mod explain;
mod inspect;
mod inventory;
mod lint;
mod mutate;
mod render;
mod schema;
mod serve;
mod test;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use scrim::cases::Modules;
use scrim::render::Upstream;

/// Policy filters, as WebAssembly, that keep health data minimal at the edge: configure, explain, test and run them.
#[derive(Parser)]
#[command(
    name = "scrim",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  scrim demo                                              see the four filters at work
  scrim check policy.yaml                                 find every problem in a policy file
  scrim explain policy.yaml GET '/fhir/Patient?name=x'    which policy governs a request, and why
  scrim test cases/ --engine both                         run cases on wasmtime and in a real Envoy
  scrim test tests.textpb --module plugin.wasm            a service-extensions plugin's own tests
  scrim mutate cases/                                     which rules of a policy no case would miss
  scrim bench cases/ --baseline baseline.json             what cases cost, and whether that grew
  scrim serve --policy policy.yaml --listen 127.0.0.1:8080 --upstream 127.0.0.1:9090
  scrim render envoy --policy policy.yaml > envoy.yaml    what to deploy
  scrim lint envoy.yaml                                   what in it would still leak PHI from URLs

Exit codes: 0 all is well, 1 what was asked for failed, 2 it could not be run."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the FHIR gateway example on the embedded engine and show each exchange before and after
    Demo,
    /// Parse and compile a policy file; every problem is FILE:LINE:COL with its mend
    Check(check::Check),
    /// Show which route and policy win for a request, why, and what each filter would do
    Explain(explain::Explain),
    /// List the fields of recorded responses, as the draft of a policy
    Inventory(inventory::Inventory),
    /// Name what in an Envoy configuration would still leak PHI from URLs
    Lint(lint::Lint),
    /// Run declarative case files
    Test(test::Test),
    /// Measure what cases cost: fuel, time, memory, leaks; and compare with a baseline
    Bench(bench::Bench),
    /// Take away or weaken one rule of a policy at a time, and name what no case notices
    Mutate(mutate::Mutate),
    /// Run a local gateway
    Serve(serve::Serve),
    /// Print the configuration to deploy
    Render(render::Render),
    /// Show a proxy-wasm module's ABI version, imports, exports and sizes, and what Envoy lacks of them
    Inspect(inspect::Inspect),
    /// Print a JSON Schema for editors
    Schema(schema::Schema),
}

/// Which modules a gateway loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ModulesArgument {
    /// All four filters in one module
    Suite,
    /// The four filters as modules of their own
    Chain,
}

impl From<ModulesArgument> for Modules {
    fn from(argument: ModulesArgument) -> Self {
        match argument {
            ModulesArgument::Suite => Modules::Suite,
            ModulesArgument::Chain => Modules::Chain,
        }
    }
}

/// What a gateway is made of; `serve` and `render` share it.
#[derive(Args)]
struct Place {
    /// The policy file
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// All four filters in one module, or four modules
    #[arg(long, value_enum, default_value_t = ModulesArgument::Suite)]
    modules: ModulesArgument,
    /// Where the modules' files are put [default: `scrim-modules` beside the executable]
    #[arg(long, value_name = "DIR")]
    module_dir: Option<PathBuf>,
    /// Where a cluster is through which the policy's keys are fetched [default: host and port of the key set's URL]
    #[arg(long = "cluster", value_name = "NAME=HOST:PORT", value_parser = cluster)]
    clusters: Vec<(String, Upstream)>,
    /// The certificate authorities that Envoy trusts where keys are fetched over https, as PEM
    #[arg(long, value_name = "FILE", default_value = scrim::render::CA_FILE)]
    ca_file: PathBuf,
}

fn cluster(text: &str) -> Result<(String, Upstream), String> {
    let (name, server) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` names no cluster, write it as `idp=127.0.0.1:9000`"))?;
    Ok((name.to_owned(), upstream(server)?))
}

/// An address to listen on or to forward to.
fn upstream(text: &str) -> Result<Upstream, String> {
    text.parse::<Upstream>().map_err(|error| error.to_string())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is no address to listen on, write it as `127.0.0.1:8080`"))
}

/// Runs the command; the number is the exit code.
pub(crate) fn run(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        Command::Demo => demo::run(),
        Command::Check(check) => check.run(),
        Command::Explain(explain) => explain.run(),
        Command::Inventory(inventory) => inventory.run(),
        Command::Lint(lint) => lint.run(),
        Command::Test(test) => test.run(),
        Command::Bench(bench) => bench.run(),
        Command::Mutate(mutate) => mutate.run(),
        Command::Serve(serve) => serve.run(),
        Command::Render(render) => render.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Schema(schema) => schema.run(),
    }
}
