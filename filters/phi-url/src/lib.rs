//! The `phi-url` filter as a module of its own.

#![cfg(target_family = "wasm")]
#![allow(
    unsafe_code,
    missing_docs,
    reason = "the SDK's entry point is an unmangled export without docs"
)]

proxy_wasm::main! {{
    scrim_shell::start::<{ scrim_shell::PHI_URL }>();
}}
