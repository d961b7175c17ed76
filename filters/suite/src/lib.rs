//! All four filters as one chain in one module: one context, one read of the headers.

#![cfg(target_family = "wasm")]
#![allow(
    unsafe_code,
    missing_docs,
    reason = "the SDK's entry point is an unmangled export without docs"
)]

proxy_wasm::main! {{
    scrim_shell::start::<{ scrim_shell::ALL }>();
}}
