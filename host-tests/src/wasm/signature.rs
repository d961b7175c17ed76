//! What Envoy 1.40 has for modules to import, and what it calls of what they export, with the types.
//!
//! 1. A function that Envoy does not have, or has with other types, keeps the module from loading. So does a callback of
//!    Envoy's whose types are wrong, even if it is never called.
//! 2. Which functions there are depends on the ABI version that the module declares.
//! 3. Source: `registerCallbacks` and `getFunctions` of Envoy's host, `WasmBase`, and Envoy's own `Wasm`.

use wasmparser::{FuncType, ValType};

use super::abi::Abi;
use super::{calls, wasi};

/// The types of an import that Envoy has for modules of this version; none: it does not have it.
pub(crate) fn import(abi: Abi, module: &str, name: &str) -> Option<FuncType> {
    match module {
        "env" => calls::signature(abi, name),
        module if wasi::MODULES.contains(&module) => wasi::signature(name),
        _ => None,
    }
}

/// The types of an export that Envoy calls in modules of this version; none: Envoy does not know it.
pub(crate) fn export(abi: Abi, name: &str) -> Option<FuncType> {
    let (parameters, returns) = match name {
        "_initialize" | "_start" => (0, false),
        "__main_void" => (0, true),
        "main" => (2, true),
        "malloc" | "proxy_on_memory_allocate" => (1, true),
        "proxy_on_request_headers" | "proxy_on_response_headers" if abi == Abi::V0_1_0 => (2, true),
        "proxy_on_request_headers" | "proxy_on_response_headers" => (3, true),
        "proxy_on_foreign_function" if abi == Abi::V0_1_0 => return None,
        "proxy_on_foreign_function" => (3, false),
        "proxy_validate_configuration" | "proxy_on_vm_start" | "proxy_on_configure" => (2, true),
        "proxy_on_request_trailers" | "proxy_on_response_trailers" => (2, true),
        "proxy_on_request_metadata" | "proxy_on_response_metadata" => (2, true),
        "proxy_on_request_body" | "proxy_on_response_body" => (3, true),
        "proxy_on_downstream_data" | "proxy_on_upstream_data" => (3, true),
        "proxy_on_new_connection" | "proxy_on_done" => (1, true),
        "proxy_on_tick" | "proxy_on_log" | "proxy_on_delete" => (1, false),
        "proxy_on_context_create" | "proxy_on_queue_ready" => (2, false),
        "proxy_on_downstream_connection_close" | "proxy_on_upstream_connection_close" => (2, false),
        "proxy_on_http_call_response" => (5, false),
        "proxy_on_grpc_receive_initial_metadata" | "proxy_on_grpc_receive_trailing_metadata" => (3, false),
        "proxy_on_grpc_receive" | "proxy_on_grpc_close" => (3, false),
        "envoy_on_resolve_dns" => (3, false),
        "envoy_on_stats_update" => (2, false),
        _ => return None,
    };
    Some(FuncType::new(
        vec![ValType::I32; parameters],
        returns.then_some(ValType::I32),
    ))
}

/// The types of a function whose Rust types these are: 32 bits are `i32`, 64 are `i64`.
pub(crate) fn function(parameters: &[&str], results: &[&str]) -> FuncType {
    let types = |names: &[&str]| -> Vec<ValType> {
        let type_of = |name: &&str| {
            if name.ends_with("64") {
                ValType::I64
            } else {
                ValType::I32
            }
        };
        names.iter().map(type_of).collect()
    };
    FuncType::new(types(parameters), types(results))
}

/// As WebAssembly's text has it: `(i32 i64) -> i32`.
pub(crate) fn describe(function: &FuncType) -> String {
    let list = |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match function.results() {
        [] => format!("({}) -> nothing", list(function.params())),
        results => format!("({}) -> {}", list(function.params()), list(results)),
    }
}
