//! The host calls: module `env`, names beginning with `proxy_`.
//!
//! 1. Which there are depends on the module's ABI version ([`Abi::has`]).
//! 2. While a module initialises, and while it allocates memory for the host, few may be called; any other one traps
//!    ([`Host::allow`]).
//!
//! Each answers with the status that Envoy's host answers with; where Envoy differs from the ABI's text, Envoy is right
//! here, since that is where the module will run.

mod grpc;

use wasmparser::FuncType;
use wasmtime::{Caller, Linker, Result, bail};

use self::grpc::{grpc_call, grpc_cancel, grpc_close, grpc_send, grpc_stream};
use super::abi::{Abi, Status, Way, parse_pairs};
use super::agenda::Awaited;
use super::host::{Deferred, Host, LocalReply, Phase};
use super::world::{Event, LOGS_MAX};
use super::{Call, signature};

/// The bytes at an address, or the call's answer.
macro_rules! read {
    ($guest:ident, $address:expr, $size:expr) => {
        match read($guest, $address, $size) {
            Some(bytes) => bytes,
            None => return Ok(Status::InvalidMemoryAccess),
        }
    };
}

mod data;
mod metrics;
mod properties;

use data::{
    add_header_map_value, get_buffer_bytes, get_buffer_status, get_header_map_pairs, get_header_map_size,
    get_header_map_value, remove_header_map_value, replace_header_map_value, set_buffer_bytes, set_header_map_pairs,
};
use metrics::{define_metric, get_metric, increment_metric, record_metric};
use properties::{call_foreign_function, get_property, set_property};

/// What a host call works on: the guest that made it.
pub(crate) type Guest<'a> = Caller<'a, Host>;

/// Name and value of a call's first argument, where that is a number of 32 bits.
macro_rules! first {
    ($argument:ident: u32 $(, $rest:ident: $type:ident)*) => {
        Some((stringify!($argument), $argument))
    };
    ($($rest:tt)*) => {
        None
    };
}

macro_rules! host_calls {
    ($($name:ident($($argument:ident: $type:ident),* $(,)?);)*) => {
        fn link_calls(linker: &mut Linker<Host>, abi: Abi) -> Result<()> {
            $(if abi.has(concat!("proxy_", stringify!($name))) {
                linker.func_wrap(
                    "env",
                    concat!("proxy_", stringify!($name)),
                    |mut guest: Guest<'_>, $($argument: $type),*| -> Result<u32> {
                        guest.data().allow(concat!("proxy_", stringify!($name)))?;
                        let what = what(concat!("proxy_", stringify!($name)), first!($($argument: $type),*));
                        let status = $name(&mut guest, $($argument),*).map(|status| status as u32);
                        guest.data_mut().called(concat!("proxy_", stringify!($name)), what, status.as_ref().ok().copied());
                        status
                    },
                )?;
            })*
            Ok(())
        }

        /// The host calls, each with the types of its parameters; each returns a status.
        const CALLS: &[(&str, &[&str])] = &[$((concat!("proxy_", stringify!($name)), &[$(stringify!($type)),*])),*];
    };
}

host_calls! {
    log(level: u32, text: u32, text_size: u32);
    get_log_level(level: u32);
    get_status(code: u32, text: u32, text_size: u32);
    done();
    get_configuration(data: u32, size: u32);
    set_effective_context(id: u32);
    get_current_time_nanoseconds(time: u32);
    set_tick_period_milliseconds(period: u32);
    get_buffer_bytes(buffer: u32, start: u32, length: u32, data: u32, size: u32);
    set_buffer_bytes(buffer: u32, start: u32, length: u32, data: u32, size: u32);
    get_buffer_status(buffer: u32, length: u32, flags: u32);
    get_header_map_size(map: u32, size: u32);
    get_header_map_pairs(map: u32, data: u32, size: u32);
    set_header_map_pairs(map: u32, data: u32, size: u32);
    get_header_map_value(map: u32, name: u32, name_size: u32, value: u32, value_size: u32);
    add_header_map_value(map: u32, name: u32, name_size: u32, value: u32, value_size: u32);
    replace_header_map_value(map: u32, name: u32, name_size: u32, value: u32, value_size: u32);
    remove_header_map_value(map: u32, name: u32, name_size: u32);
    continue_stream(stream: u32);
    close_stream(stream: u32);
    continue_request();
    continue_response();
    clear_route_cache();
    send_local_response(status: u32, details: u32, details_size: u32, body: u32, body_size: u32,
        headers: u32, headers_size: u32, grpc_status: u32);
    http_call(cluster: u32, cluster_size: u32, headers: u32, headers_size: u32, body: u32, body_size: u32,
        trailers: u32, trailers_size: u32, timeout: u32, token: u32);
    grpc_call(service: u32, service_size: u32, name: u32, name_size: u32, method: u32, method_size: u32,
        metadata: u32, metadata_size: u32, message: u32, message_size: u32, timeout: u32, token: u32);
    grpc_stream(service: u32, service_size: u32, name: u32, name_size: u32, method: u32, method_size: u32,
        metadata: u32, metadata_size: u32, token: u32);
    grpc_send(token: u32, message: u32, message_size: u32, end: u32);
    grpc_cancel(token: u32);
    grpc_close(token: u32);
    get_shared_data(key: u32, key_size: u32, value: u32, value_size: u32, cas: u32);
    set_shared_data(key: u32, key_size: u32, value: u32, value_size: u32, cas: u32);
    register_shared_queue(name: u32, name_size: u32, token: u32);
    resolve_shared_queue(vm: u32, vm_size: u32, name: u32, name_size: u32, token: u32);
    enqueue_shared_queue(token: u32, data: u32, size: u32);
    dequeue_shared_queue(token: u32, data: u32, size: u32);
    define_metric(kind: u32, name: u32, name_size: u32, id: u32);
    increment_metric(id: u32, offset: i64);
    record_metric(id: u32, value: u64);
    get_metric(id: u32, value: u32);
    get_property(path: u32, path_size: u32, value: u32, value_size: u32);
    set_property(path: u32, path_size: u32, value: u32, value_size: u32);
    call_foreign_function(name: u32, name_size: u32, argument: u32, argument_size: u32, result: u32, result_size: u32);
}

/// What a call is about, if its first argument names that by a number.
fn what(call: &str, first: Option<(&str, u32)>) -> Option<u32> {
    const NUMBERS: [&str; 8] = ["level", "id", "buffer", "map", "stream", "kind", "period", "token"];
    let (name, number) = first?;
    // Here it is where the level is to be written.
    (NUMBERS.contains(&name) && call != "proxy_get_log_level").then_some(number)
}

/// Adds every function of module `env` that a module of this version may import to a linker.
pub(crate) fn link(linker: &mut Linker<Host>, abi: Abi) -> Result<()> {
    link_calls(linker, abi)?;
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_: u32| {})?;
    linker.func_wrap(
        "env",
        "pthread_equal",
        |guest: Guest<'_>, left: u32, right: u32| -> Result<u32> {
            guest.data().allow("pthread_equal")?;
            Ok(u32::from(left == right))
        },
    )?;
    linker.func_wrap(
        "env",
        "envoy_resolve_dns",
        |mut guest: Guest<'_>, name: u32, name_size: u32, token: u32| -> Result<u32> {
            guest.data().allow("envoy_resolve_dns")?;
            Ok(resolve_dns(&mut guest, name, name_size, token)? as u32)
        },
    )?;
    Ok(())
}

/// The functions of module `env`, of every version. `envoy_resolve_dns` is left out: this engine does not answer it.
pub(crate) fn names() -> Vec<&'static str> {
    let others = ["emscripten_notify_memory_growth", "pthread_equal"];
    CALLS.iter().map(|(name, _)| *name).chain(others).collect()
}

/// The types of a function of module `env`: parameters and results as `i32` and `i64`. None: Envoy does not have it, for this version
/// of the ABI or at all.
pub(crate) fn signature(abi: Abi, function: &str) -> Option<FuncType> {
    let (parameters, results): (&[&str], &[&str]) = match function {
        "emscripten_notify_memory_growth" => (&["u32"], &[]),
        "pthread_equal" => (&["u32", "u32"], &["u32"]),
        "envoy_resolve_dns" => (&["u32"; 3], &["u32"]),
        call if abi.has(call) => (CALLS.iter().find(|(name, _)| *name == call)?.1, &["u32"]),
        _ => return None,
    };
    Some(signature::function(parameters, results))
}

// Guest memory. What a guest points at outside its memory makes the call InvalidMemoryAccess, never a trap.

/// The bytes at an address; none: they are not all in memory.
pub(crate) fn read(guest: &Guest<'_>, address: u32, size: u32) -> Option<Vec<u8>> {
    let start = address as usize;
    let memory = guest.data().memory?.data(guest);
    let bytes = memory.get(start..start.checked_add(size as usize)?)?.to_vec();
    guest.data().took(bytes.len());
    Some(bytes)
}

/// False: the bytes would not all be in memory.
pub(crate) fn write(guest: &mut Guest<'_>, address: u32, bytes: &[u8]) -> bool {
    let Some(memory) = guest.data().memory else {
        return false;
    };
    memory.write(guest, address as usize, bytes).is_ok()
}

fn write_number(guest: &mut Guest<'_>, address: u32, number: u32) -> Status {
    if write(guest, address, &number.to_le_bytes()) {
        Status::Ok
    } else {
        Status::InvalidMemoryAccess
    }
}

/// Hands bytes over in memory that the guest itself allocates; no bytes are a null pointer.
pub(crate) fn give(guest: &mut Guest<'_>, bytes: &[u8], pointer: u32, size: u32) -> Result<Status> {
    let mut address = 0;
    if !bytes.is_empty() {
        address = match place(guest, bytes)? {
            Some(address) => address,
            None => return Ok(Status::InvalidMemoryAccess),
        };
        guest.data().gave(bytes.len());
    }
    let told = write(guest, pointer, &address.to_le_bytes()) && write(guest, size, &(bytes.len() as u32).to_le_bytes());
    Ok(if told { Status::Ok } else { Status::InvalidMemoryAccess })
}

/// Puts bytes in memory that the guest itself allocates; none: it has none left.
fn place(guest: &mut Guest<'_>, bytes: &[u8]) -> Result<Option<u32>> {
    let Some(allocate) = guest.data().allocate.clone() else {
        return Ok(None);
    };
    let phase = std::mem::replace(&mut guest.data_mut().phase, Phase::Allocate);
    let allocated = allocate.call(&mut *guest, bytes.len() as u32);
    guest.data_mut().phase = phase;
    let address = match allocated {
        Ok(address) => address,
        // The VM has failed. In Envoy the callback goes on all the same, and the failure tells when it has returned.
        Err(error) => {
            guest.data_mut().allocation_error.get_or_insert(error);
            return Ok(None);
        }
    };
    Ok((address != 0 && write(guest, address, bytes)).then_some(address))
}

// Logs, time, contexts.

fn log(guest: &mut Guest<'_>, level: u32, text: u32, text_size: u32) -> Result<Status> {
    if level > 5 {
        return Ok(Status::BadArgument);
    }
    let text = read!(guest, text, text_size);
    if !guest.data_mut().world.log(level, &text) {
        bail!("the guest logged more than {LOGS_MAX} bytes at a time");
    }
    Ok(Status::Ok)
}

fn get_log_level(guest: &mut Guest<'_>, level: u32) -> Result<Status> {
    let there = guest.data().world.log_level;
    Ok(write_number(guest, level, there))
}

fn get_status(guest: &mut Guest<'_>, code: u32, text: u32, text_size: u32) -> Result<Status> {
    let (number, message) = guest.data().status.clone();
    if !write(guest, code, &number.to_le_bytes()) {
        return Ok(Status::InvalidMemoryAccess);
    }
    give(guest, message.as_bytes(), text, text_size)
}

/// Nothing is ever pending here: Envoy ends a stream's context whatever `on_done` says, and a gateway its roots.
fn done(_: &mut Guest<'_>) -> Result<Status> {
    Ok(Status::NotFound)
}

fn set_effective_context(guest: &mut Guest<'_>, id: u32) -> Result<Status> {
    let host = guest.data_mut();
    if id != 0 && !host.contexts.contains_key(&id) {
        return Ok(Status::BadArgument);
    }
    host.effective = id;
    Ok(Status::Ok)
}

fn get_current_time_nanoseconds(guest: &mut Guest<'_>, time: u32) -> Result<Status> {
    let now = guest.data().world.now().as_nanos() as u64;
    Ok(if write(guest, time, &now.to_le_bytes()) {
        Status::Ok
    } else {
        Status::InvalidMemoryAccess
    })
}

fn set_tick_period_milliseconds(guest: &mut Guest<'_>, period: u32) -> Result<Status> {
    let host = guest.data_mut();
    if let Some(root) = host.root() {
        host.tick_periods.insert(root, period);
    }
    Ok(Status::Ok)
}

/// ABI 0.1.0: the plugin's configuration while it is configured, else the VM's.
fn get_configuration(guest: &mut Guest<'_>, data: u32, size: u32) -> Result<Status> {
    let host = guest.data();
    let bytes = host.plugin_configuration().unwrap_or(&host.vm_configuration).to_vec();
    give(guest, &bytes, data, size)
}

/// Envoy's own, to resolve a name. Nothing is resolved here, and Envoy never answers so.
fn resolve_dns(guest: &mut Guest<'_>, name: u32, name_size: u32, _token: u32) -> Result<Status> {
    read!(guest, name, name_size);
    let said = b"envoy_resolve_dns is not answered by this engine; try the module in a real Envoy (`--engine envoy`)";
    guest.data_mut().world.log(WARNING, said);
    Ok(Status::Unimplemented)
}

/// The level of what the engine itself has to say.
pub(crate) const WARNING: u32 = 3;

// The stream.

fn continue_stream(guest: &mut Guest<'_>, stream: u32) -> Result<Status> {
    let way = match stream {
        0 => Way::Request,
        1 => Way::Response,
        2 => {
            let host = guest.data_mut();
            let id = host.context_id();
            if host.context().is_some_and(|context| context.is_stream) && host.world.connection.is_some() {
                host.deferred.push_back(Deferred::Read(id));
            }
            return Ok(Status::Ok);
        }
        3 => return Ok(Status::Unimplemented),
        _ => return Ok(Status::BadArgument),
    };
    let host = guest.data_mut();
    let id = host.context_id();
    if let Some(context) = host.contexts.get_mut(&id) {
        // Whichever way is resumed, Envoy takes the request from the guest.
        context.headers[Way::Request.at()] = false;
        context.body[Way::Request.at()] = false;
        context.trailers[Way::Request.at()] = false;
        if context.is_stream {
            host.deferred.push_back(Deferred::Continue(id, way));
        }
    }
    Ok(Status::Ok)
}

/// ABI 0.1.0.
fn continue_request(guest: &mut Guest<'_>) -> Result<Status> {
    continue_stream(guest, 0)
}

/// ABI 0.1.0.
fn continue_response(guest: &mut Guest<'_>) -> Result<Status> {
    continue_stream(guest, 1)
}

/// ABI 0.1.0; later versions have a foreign function for it.
fn clear_route_cache(guest: &mut Guest<'_>) -> Result<Status> {
    if let Some(stream) = guest.data_mut().stream_mut() {
        stream.route_stale = true;
    }
    Ok(Status::Ok)
}

fn close_stream(guest: &mut Guest<'_>, stream: u32) -> Result<Status> {
    let host = guest.data_mut();
    let id = host.context_id();
    match stream {
        0 | 1 if host.stream().is_some() => host.deferred.push_back(Deferred::Close(id)),
        2 | 3 if host.context().is_some_and(|context| context.is_stream) && host.world.connection.is_some() => {
            host.deferred.push_back(Deferred::Close(id));
        }
        0..=3 => {}
        _ => return Ok(Status::BadArgument),
    }
    Ok(Status::Ok)
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
fn send_local_response(
    guest: &mut Guest<'_>,
    status: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc_status: u32,
) -> Result<Status> {
    let details = read!(guest, details, details_size);
    let body = read!(guest, body, body_size);
    let headers = parse_pairs(&read!(guest, headers, headers_size));
    let details = String::from_utf8_lossy(&details)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join("_");
    let host = guest.data_mut();
    let id = host.context_id();
    if host.stream().is_some() {
        // Envoy takes the low half.
        let status = status as u16;
        host.deferred.push_back(Deferred::Reply(
            id,
            LocalReply {
                status,
                body,
                headers,
                details,
                // -1 on the wire means none, and so does what is none of gRPC's.
                grpc_status: Some(grpc_status).filter(|status| *status <= 16),
            },
        ));
    }
    host.stop_iteration = true;
    Ok(Status::Ok)
}

// Calls to others.

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
fn http_call(
    guest: &mut Guest<'_>,
    cluster: u32,
    cluster_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout: u32,
    token: u32,
) -> Result<Status> {
    let cluster = read!(guest, cluster, cluster_size);
    let body = read!(guest, body, body_size);
    let headers = parse_pairs(&read!(guest, headers, headers_size));
    let trailers = parse_pairs(&read!(guest, trailers, trailers_size));
    if !write(guest, token, &[0; 4]) {
        return Ok(Status::InvalidMemoryAccess);
    }
    let named = |pairs: Vec<(Vec<u8>, Vec<u8>)>| {
        let name = |name: Vec<u8>| String::from_utf8_lossy(&name).to_lowercase();
        pairs
            .into_iter()
            .map(|(key, value)| (name(key), value))
            .collect::<crate::exchange::Headers>()
    };
    let call = Call {
        headers: named(headers),
        body,
        trailers: named(trailers),
        timeout_milliseconds: timeout,
    };
    let there = |wanted: &str| call.headers.iter().any(|(name, _)| name == wanted);
    let complete = there(":path") && there(":method") && there(":authority");
    if i32::try_from(timeout).is_err() || !complete {
        return Ok(Status::BadArgument);
    }
    let host = guest.data_mut();
    let Some(reply) = host.world.ask(&String::from_utf8_lossy(&cluster), &call) else {
        return Ok(Status::BadArgument);
    };
    // Tokens of calls are multiples of four; those of gRPC have the two low bits.
    host.next_call += 4;
    let (filter, number) = (host.filter_of(host.context_id()), host.next_call);
    if let Some(after) = reply.after {
        let due = host.world.uptime() + after;
        let event = Event::CallAnswered {
            filter,
            token: number,
            answer: reply.answer,
        };
        host.world.events.put(due, reply.awaited, event);
    }
    Ok(write_number(guest, token, number))
}

// Shared data and queues.

fn get_shared_data(
    guest: &mut Guest<'_>,
    key: u32,
    key_size: u32,
    value: u32,
    value_size: u32,
    cas: u32,
) -> Result<Status> {
    let key = read!(guest, key, key_size);
    let Some((bytes, number)) = guest.data().world.shared.get(&guest.data().vm_id, &key).cloned() else {
        return Ok(Status::NotFound);
    };
    match give(guest, &bytes, value, value_size)? {
        Status::Ok => Ok(write_number(guest, cas, number)),
        status => Ok(status),
    }
}

fn set_shared_data(
    guest: &mut Guest<'_>,
    key: u32,
    key_size: u32,
    value: u32,
    value_size: u32,
    cas: u32,
) -> Result<Status> {
    let (key, value) = (read!(guest, key, key_size), read!(guest, value, value_size));
    let host = guest.data_mut();
    let set = host.world.shared.set(&host.vm_id, &key, &value, cas);
    Ok(if set { Status::Ok } else { Status::CasMismatch })
}

fn register_shared_queue(guest: &mut Guest<'_>, name: u32, name_size: u32, token: u32) -> Result<Status> {
    let name = read!(guest, name, name_size);
    let host = guest.data_mut();
    let filter = host.filter_of(host.context_id());
    let number = host.world.queues.register(&host.vm_id, &name, filter);
    Ok(write_number(guest, token, number))
}

/// An empty VM id stands for the caller's own.
fn resolve_shared_queue(
    guest: &mut Guest<'_>,
    vm: u32,
    vm_size: u32,
    name: u32,
    name_size: u32,
    token: u32,
) -> Result<Status> {
    let (vm, name) = (read!(guest, vm, vm_size), read!(guest, name, name_size));
    let host = guest.data();
    let vm = if vm.is_empty() { host.vm_id.as_bytes() } else { &vm };
    match host.world.queues.resolve(vm, &name) {
        Some(number) => Ok(write_number(guest, token, number)),
        None => Ok(Status::NotFound),
    }
}

fn enqueue_shared_queue(guest: &mut Guest<'_>, token: u32, data: u32, size: u32) -> Result<Status> {
    let data = read!(guest, data, size);
    let world = &mut guest.data_mut().world;
    let Some(filter) = world.queues.enqueue(token, &data) else {
        return Ok(Status::NotFound);
    };
    let now = world.uptime();
    world.events.put(now, Awaited::Yes, Event::QueueReady { filter, token });
    Ok(Status::Ok)
}

fn dequeue_shared_queue(guest: &mut Guest<'_>, token: u32, data: u32, size: u32) -> Result<Status> {
    match guest.data_mut().world.queues.dequeue(token) {
        None => Ok(Status::NotFound),
        Some(None) => Ok(Status::Empty),
        Some(Some(bytes)) => give(guest, &bytes, data, size),
    }
}
