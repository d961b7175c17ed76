//! The harness: hosts proxy-wasm modules off-proxy and compares them with a real Envoy.

pub mod cases;
pub mod exchange;
pub mod tokens;
