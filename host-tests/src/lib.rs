//! Runs and tests proxy-wasm filters off-proxy: hosts any module on wasmtime with Envoy's semantics, and compares with a real Envoy.
//!
//! A test of one's own module in `cargo test`. The module here is a few lines of WebAssembly text; with
//! [`Filter::from_file("my.wasm")`](Filter::from_file) it is one that you have built.
//!
//! ```
//! use scrim::{Answer, Filter, Gateway as _, Request, Setup, Wasmtime};
//!
//! let plugin = Filter::from_wat(r#"(module
//!     (import "env" "proxy_add_header_map_value"
//!         (func $add (param i32 i32 i32 i32 i32) (result i32)))
//!     (memory (export "memory") 1)
//!     (data (i32.const 0) "x-seenyes")
//!     (func (export "malloc") (param i32) (result i32) (i32.const 1024))
//!     (func (export "proxy_abi_version_0_2_1"))
//!     (func (export "proxy_on_context_create") (param i32 i32))
//!     (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
//!         (call $add (i32.const 2) (i32.const 0) (i32.const 6) (i32.const 6) (i32.const 3))))"#)?;
//!
//! let engine = Wasmtime::new()?;
//! let mut gateway = engine.start_chain(&Setup::of([plugin.configuration("{}")]))?;
//! let request = Request::get("/records/7").header("accept", "application/json");
//! let answer = Answer::ok().json(&serde_json::json!({"id": 7}));
//! let outcome = gateway.exchange(&request, &answer)?;
//!
//! assert_eq!(outcome.status(), Some(200));
//! let client = outcome.client.unwrap();
//! assert_eq!(client.header("x-seen"), ["yes"]);
//! assert_eq!(client.body, br#"{"id":7}"#);
//! assert_eq!(outcome.upstream.unwrap().target, b"/records/7");
//! # anyhow::Ok(())
//! ```
//!
//! - [`exchange`]: what goes in and what comes out, on either engine.
//! - [`wasm`]: the embedded engine, its clock, limits, clusters, fuel; [`wasm::phases`] calls one callback at a time.
//! - [`envoy`]: the same exchanges through a real Envoy: `Envoy::find()?.start(&setup)?` gives a gateway alike.
//! - [`cases`]: declarative case files; [`textproto`]: those of Google's service-extensions plugins; [`mod@bench`]: what they cost.
//! - [`inspect`]: what a module imports and exports, and what Envoy lacks of it.
//!
//! Nothing is global: engines and gateways don't see each other, so tests run in parallel.
//!
//! The feature `policy` (on by default) is Scrim's own: its filters, embedded, and what works on its policy files. Without it
//! (`default-features = false`) no guest is built and the harness for anybody's modules remains.

pub mod bench;
pub mod cases;
#[cfg(feature = "policy")]
pub mod coverage;
#[cfg(feature = "policy")]
pub mod elements;
pub mod envoy;
pub mod exchange;
pub mod failure;
#[cfg(feature = "policy")]
pub mod gateway;
pub mod inspect;
#[cfg(feature = "policy")]
pub mod inventory;
pub mod line_coverage;
#[cfg(feature = "policy")]
pub mod lint;
#[cfg(feature = "policy")]
pub mod modules;
#[cfg(feature = "policy")]
pub mod mutate;
#[cfg(feature = "policy")]
pub mod policy_file;
pub mod recording;
pub mod render;
#[cfg(feature = "policy")]
pub mod serve;
pub mod textproto;
pub mod tokens;
pub mod wasm;

pub use self::envoy::Envoy;
pub use self::exchange::{Answer, Body, Engine, Filter, Gateway, Outcome, Request, Setup};
pub use self::wasm::Wasmtime;
