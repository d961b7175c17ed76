//! The `oauth-scope` filter as a module of its own.

#![cfg(target_family = "wasm")]
#![allow(unsafe_code, reason = "the SDK's entry point is an unmangled export")]

proxy_wasm::main! {{
    scrim_shell::start::<{ scrim_shell::OAUTH_SCOPE }>();
}}
