//! The harness: hosts proxy-wasm modules off-proxy and compares them with a real Envoy.

pub mod cases;
pub mod coverage;
pub mod elements;
pub mod envoy;
pub mod exchange;
pub mod gateway;
pub mod inspect;
pub mod inventory;
pub mod line_coverage;
pub mod lint;
pub mod modules;
pub mod mutate;
pub mod policy_file;
pub mod recording;
pub mod render;
pub mod serve;
pub mod tokens;
pub mod wasm;
