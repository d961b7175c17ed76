//! The harness: hosts proxy-wasm modules off-proxy and compares them with a real Envoy.

pub mod envoy;
pub mod exchange;
pub mod render;
