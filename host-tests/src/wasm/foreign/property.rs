//! `declare_property` and `set_envoy_filter_state`.
//!
//! 1. A declaration holds for the filter state that streams of the declaring root context make with `set_property` later: it can
//!    say that a value is set once only. A second declaration of a name is BadArgument.
//! 2. `set_envoy_filter_state` sets state of Envoy's own, by names that Envoy knows, without `wasm.` before them. It is read as
//!    property `filter_state` and name. The names and what values each takes were seen on Envoy 1.40.
//! 3. How long state lives (its span) makes no difference here: a stream is all there is of a connection.

use super::Message;
use crate::wasm::abi::Status;
use crate::wasm::calls::WARNING;
use crate::wasm::host::Host;

/// Argument: protobuf {1: name, 2: set once only, 3: type, 4: schema, 5: span}.
pub(super) fn declare(host: &mut Host, argument: &[u8]) -> Result<(), Status> {
    let message = Message::parse(argument).ok_or(Status::BadArgument)?;
    let name = text(message.bytes[0])?;
    // Envoy takes the context of the callback, whatever the guest has chosen.
    let key = (host.current, name.as_bytes().to_vec());
    if host.declared.contains_key(&key) {
        return Err(Status::BadArgument);
    }
    host.declared.insert(key, message.numbers[1] != 0);
    Ok(())
}

/// Argument: protobuf {1: name, 2: value, 3: span}.
pub(super) fn set_filter_state(host: &mut Host, argument: &[u8]) -> Result<(), Status> {
    let message = Message::parse(argument).ok_or(Status::BadArgument)?;
    let (name, value) = (text(message.bytes[0])?, text(message.bytes[1])?);
    let value = match name {
        // Can be set, and not read.
        "envoy.network.application_protocols" => return host.stream().map(|_| ()).ok_or(Status::NotFound),
        "envoy.string"
        | "envoy.hashable_string"
        | "envoy.tcp_proxy.cluster"
        | "envoy.upstream.dynamic_host"
        | "envoy.network.upstream_server_name"
        | "envoy.network.upstream_subject_alt_names"
        | "envoy.network.network_namespace" => value.to_owned(),
        "envoy.ratelimit.hits_addend" | "envoy.tcp_proxy.per_connection_idle_timeout_ms" => number(value, u64::MAX)?,
        "envoy.upstream.dynamic_port" => number(value, u32::MAX.into())?,
        "envoy.tcp_proxy.disable_tunneling" => (value == "true").to_string(),
        own if own.starts_with("envoy.") => {
            let said = format!(
                "set_envoy_filter_state: this engine does not know what `{own}` is in Envoy; try the module there (`--engine envoy`)"
            );
            host.world.log(WARNING, said.as_bytes());
            return Err(Status::Unimplemented);
        }
        _ => return Err(Status::NotFound),
    };
    let stream = host.stream_mut().ok_or(Status::NotFound)?;
    stream.filter_state.insert(name.as_bytes().to_vec(), value.into_bytes());
    Ok(())
}

fn number(value: &str, max: u64) -> Result<String, Status> {
    let number = value.parse::<u64>().ok().filter(|number| *number <= max);
    number.map(|number| number.to_string()).ok_or(Status::BadArgument)
}

/// Protobuf's strings are UTF-8.
fn text(bytes: &[u8]) -> Result<&str, Status> {
    std::str::from_utf8(bytes).map_err(|_| Status::BadArgument)
}
