//! The host calls: module `env`, names beginning with `proxy_`.
//!
//! Each answers with the status that Envoy's host answers with; where Envoy differs from the ABI's text, Envoy is right
//! here, since that is where the module will run.

mod grpc;

use wasmtime::{Caller, Linker, Result, bail};

use self::grpc::{grpc_call, grpc_cancel, grpc_close, grpc_send, grpc_stream};
use super::abi::{BufferType, MapType, Status, Way, parse_pairs, serialize_pairs};
use super::agenda::Awaited;
use super::host::{Deferred, Host, LocalReply, Received};
use super::world::Event;
use super::{Call, foreign, property};

/// What a host call works on: the guest that made it.
pub(crate) type Guest<'a> = Caller<'a, Host>;

macro_rules! link {
    ($linker:ident, $($name:ident($($argument:ident: $type:ty),*);)*) => {
        $($linker.func_wrap(
            "env",
            concat!("proxy_", stringify!($name)),
            |mut guest: Guest<'_>, $($argument: $type),*| -> Result<u32> {
                if guest.data().initialising && stringify!($name) != "log" {
                    bail!("proxy_{} was called while the module initialises; only proxy_log may be", stringify!($name));
                }
                Ok($name(&mut guest, $($argument),*)? as u32)
            },
        )?;)*
    };
}

/// Adds every host call of ABI 0.2.1 to a linker.
pub(crate) fn link(linker: &mut Linker<Host>) -> Result<()> {
    link! { linker,
        log(level: u32, text: u32, text_size: u32);
        get_log_level(level: u32);
        get_status(code: u32, text: u32, text_size: u32);
        done();
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
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_: u32| {})?;
    linker.func_wrap("env", "pthread_equal", |left: u32, right: u32| -> u32 {
        u32::from(left == right)
    })?;
    Ok(())
}

/// The names of all that [`link`] provides.
pub(crate) const PROVIDED: &[&str] = &[
    "emscripten_notify_memory_growth",
    "proxy_add_header_map_value",
    "proxy_call_foreign_function",
    "proxy_close_stream",
    "proxy_continue_stream",
    "proxy_define_metric",
    "proxy_dequeue_shared_queue",
    "proxy_done",
    "proxy_enqueue_shared_queue",
    "proxy_get_buffer_bytes",
    "proxy_get_buffer_status",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_size",
    "proxy_get_header_map_value",
    "proxy_get_log_level",
    "proxy_get_metric",
    "proxy_get_property",
    "proxy_get_shared_data",
    "proxy_get_status",
    "proxy_grpc_call",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_grpc_send",
    "proxy_grpc_stream",
    "proxy_http_call",
    "proxy_increment_metric",
    "proxy_log",
    "proxy_record_metric",
    "proxy_register_shared_queue",
    "proxy_remove_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_resolve_shared_queue",
    "proxy_send_local_response",
    "proxy_set_buffer_bytes",
    "proxy_set_effective_context",
    "proxy_set_header_map_pairs",
    "proxy_set_property",
    "proxy_set_shared_data",
    "proxy_set_tick_period_milliseconds",
    "pthread_equal",
];

// Guest memory. What a guest points at outside its memory makes the call InvalidMemoryAccess, never a trap.

/// The bytes at an address; none: they are not all in memory.
pub(crate) fn read(guest: &Guest<'_>, address: u32, size: u32) -> Option<Vec<u8>> {
    let start = address as usize;
    let memory = guest.data().memory?.data(guest);
    memory.get(start..start.checked_add(size as usize)?).map(<[u8]>::to_vec)
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
        let Some(allocate) = guest.data().allocate.clone() else {
            return Ok(Status::InvalidMemoryAccess);
        };
        address = allocate.call(&mut *guest, bytes.len() as u32)?;
        if address == 0 || !write(guest, address, bytes) {
            return Ok(Status::InvalidMemoryAccess);
        }
    }
    let told = write(guest, pointer, &address.to_le_bytes()) && write(guest, size, &(bytes.len() as u32).to_le_bytes());
    Ok(if told { Status::Ok } else { Status::InvalidMemoryAccess })
}

/// The bytes at an address, or the call's answer.
macro_rules! read {
    ($guest:ident, $address:expr, $size:expr) => {
        match read($guest, $address, $size) {
            Some(bytes) => bytes,
            None => return Ok(Status::InvalidMemoryAccess),
        }
    };
}

// Logs, time, contexts.

fn log(guest: &mut Guest<'_>, level: u32, text: u32, text_size: u32) -> Result<Status> {
    if level > 5 {
        return Ok(Status::BadArgument);
    }
    let text = read!(guest, text, text_size);
    guest.data_mut().world.log(level, &text);
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
    guest.data_mut().tick_period = period;
    Ok(Status::Ok)
}

// Buffers.

fn get_buffer_bytes(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    length: u32,
    data: u32,
    size: u32,
) -> Result<Status> {
    let Some(buffer) = BufferType::from_abi(buffer) else {
        return Ok(Status::BadArgument);
    };
    if start.checked_add(length).is_none() {
        return Ok(Status::BadArgument);
    }
    let Some(bytes) = with_buffer(guest.data_mut(), buffer, |bytes| {
        let end = bytes.len().min(start as usize + length as usize);
        bytes.get(start as usize..end).unwrap_or_default().to_vec()
    }) else {
        return Ok(Status::NotFound);
    };
    give(guest, &bytes, data, size)
}

fn get_buffer_status(guest: &mut Guest<'_>, buffer: u32, length: u32, flags: u32) -> Result<Status> {
    let Some(buffer) = BufferType::from_abi(buffer) else {
        return Ok(Status::BadArgument);
    };
    let Some(there) = with_buffer(guest.data_mut(), buffer, <[u8]>::len) else {
        return Ok(Status::NotFound);
    };
    let told = write(guest, length, &(there as u32).to_le_bytes()) && write(guest, flags, &[0; 4]);
    Ok(if told { Status::Ok } else { Status::InvalidMemoryAccess })
}

/// Envoy knows three ways to change a body: replace all of it, put something before it, or behind it. Everything else is
/// BadArgument, against the ABI's text.
fn set_buffer_bytes(
    guest: &mut Guest<'_>,
    buffer: u32,
    start: u32,
    length: u32,
    data: u32,
    size: u32,
) -> Result<Status> {
    let Some(buffer) = BufferType::from_abi(buffer) else {
        return Ok(Status::BadArgument);
    };
    if with_buffer(guest.data_mut(), buffer, |_| ()).is_none() {
        return Ok(Status::NotFound);
    }
    let data = read!(guest, data, size);
    let BufferType::Body(way) = buffer else {
        return Ok(Status::BadArgument);
    };
    let Some(body) = guest.data_mut().body_mut(way) else {
        return Ok(Status::BadArgument);
    };
    let (start, length) = (start as usize, length as usize);
    match (start, length) {
        (0, 0) => {
            body.splice(0..0, data);
        }
        (0, _) if length >= body.len() => *body = data,
        (1.., _) if start >= body.len() => body.extend(data),
        _ => return Ok(Status::BadArgument),
    }
    Ok(Status::Ok)
}

/// None: the buffer is not there. A body outside its callbacks is empty.
fn with_buffer<T>(host: &mut Host, buffer: BufferType, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
    Some(match buffer {
        BufferType::Body(way) => read(host.body_mut(way).map_or(&[][..], |body| body)),
        BufferType::CallBody => read(&host.call_answer.as_ref()?.body),
        BufferType::PluginConfiguration if host.configuring => read(&host.configuration),
        BufferType::PluginConfiguration => return None,
        BufferType::Grpc => match &host.received {
            Received::Message(message) => read(message),
            _ => read(&[]),
        },
        BufferType::VmConfiguration | BufferType::CallData | BufferType::Network => read(&[]),
    })
}

// Header maps.

fn get_header_map_size(guest: &mut Guest<'_>, map: u32, size: u32) -> Result<Status> {
    let Some(map) = MapType::from_abi(map) else {
        return Ok(Status::BadArgument);
    };
    let Some(bytes) = guest.data_mut().map_mut(map).map(|map| map.byte_size()) else {
        return Ok(Status::BadArgument);
    };
    Ok(write_number(guest, size, bytes as u32))
}

/// A map that is not there is an empty one, and not an error.
fn get_header_map_pairs(guest: &mut Guest<'_>, map: u32, data: u32, size: u32) -> Result<Status> {
    let Some(map) = MapType::from_abi(map) else {
        return Ok(Status::BadArgument);
    };
    let host = guest.data();
    let bytes = match host.answer_map(map) {
        Some(lines) => serialize_headers(lines),
        None => match host.map(map) {
            Some(map) if map.len() > 0 => serialize_pairs(map.iter()),
            _ => Vec::new(),
        },
    };
    give(guest, &bytes, data, size)
}

fn serialize_headers(headers: &crate::exchange::Headers) -> Vec<u8> {
    if headers.is_empty() {
        return Vec::new();
    }
    serialize_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
}

fn set_header_map_pairs(guest: &mut Guest<'_>, map: u32, data: u32, size: u32) -> Result<Status> {
    let pairs = parse_pairs(&read!(guest, data, size));
    change_map(guest, map, |map| {
        map.clear();
        for (name, value) in &pairs {
            map.add(name, value);
        }
    })
}

fn get_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    name_size: u32,
    value: u32,
    value_size: u32,
) -> Result<Status> {
    let Some(map) = MapType::from_abi(map) else {
        return Ok(Status::BadArgument);
    };
    let name = read!(guest, name, name_size);
    let host = guest.data();
    let found = match host.answer_map(map) {
        Some(lines) => find(lines, &name),
        None => match host.map(map) {
            Some(map) => map.get(&name).map(<[u8]>::to_vec),
            // Envoy: a map that is not there just now is a mistake of the caller, except in the log phase.
            None if !host.context().is_some_and(|context| context.logging) => {
                return Ok(Status::BadArgument);
            }
            None => None,
        },
    };
    match found {
        Some(bytes) => give(guest, &bytes, value, value_size),
        None => Ok(Status::NotFound),
    }
}

fn find(headers: &crate::exchange::Headers, name: &[u8]) -> Option<Vec<u8>> {
    headers
        .iter()
        .find(|line| line.0.as_bytes().eq_ignore_ascii_case(name))
        .map(|line| line.1.clone())
}

fn add_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    name_size: u32,
    value: u32,
    value_size: u32,
) -> Result<Status> {
    let (name, value) = (read!(guest, name, name_size), read!(guest, value, value_size));
    change_map(guest, map, |map| map.add(&name, &value))
}

fn replace_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    name_size: u32,
    value: u32,
    value_size: u32,
) -> Result<Status> {
    let (name, value) = (read!(guest, name, name_size), read!(guest, value, value_size));
    change_map(guest, map, |map| map.replace(&name, &value))
}

fn remove_header_map_value(guest: &mut Guest<'_>, map: u32, name: u32, name_size: u32) -> Result<Status> {
    let name = read!(guest, name, name_size);
    change_map(guest, map, |map| map.remove(&name))
}

/// Any change of request headers makes Envoy forget the route.
fn change_map(guest: &mut Guest<'_>, map: u32, change: impl FnOnce(&mut super::headers::HeaderMap)) -> Result<Status> {
    let Some(map) = MapType::from_abi(map) else {
        return Ok(Status::BadArgument);
    };
    let host = guest.data_mut();
    let Some(there) = host.map_mut(map) else {
        return Ok(Status::BadArgument);
    };
    change(there);
    if map == MapType::Headers(Way::Request)
        && let Some(stream) = host.stream_mut()
    {
        stream.route_stale = true;
    }
    Ok(Status::Ok)
}

// The stream.

fn continue_stream(guest: &mut Guest<'_>, stream: u32) -> Result<Status> {
    let way = match stream {
        0 => Way::Request,
        1 => Way::Response,
        2 => return Ok(Status::Ok),
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

fn close_stream(guest: &mut Guest<'_>, stream: u32) -> Result<Status> {
    let host = guest.data_mut();
    let id = host.context_id();
    match stream {
        0 | 1 if host.stream().is_some() => host.deferred.push_back(Deferred::Close(id)),
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
        let status = u16::try_from(status).unwrap_or(500);
        host.deferred.push_back(Deferred::Reply(
            id,
            LocalReply {
                status,
                body,
                headers,
                details,
                // -1 on the wire.
                grpc_status: Some(grpc_status).filter(|status| *status != u32::MAX),
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
    let (filter, number) = (host.filter, host.next_call);
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
    let Some((bytes, number)) = guest.data().world.shared.get(&key).cloned() else {
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
    let set = guest.data_mut().world.shared.set(&key, &value, cas);
    Ok(if set { Status::Ok } else { Status::CasMismatch })
}

fn register_shared_queue(guest: &mut Guest<'_>, name: u32, name_size: u32, token: u32) -> Result<Status> {
    let name = read!(guest, name, name_size);
    let host = guest.data_mut();
    let number = host.world.queues.register(&name, host.filter);
    Ok(write_number(guest, token, number))
}

/// Every VM of a gateway has the empty `vm_id`.
fn resolve_shared_queue(
    guest: &mut Guest<'_>,
    vm: u32,
    vm_size: u32,
    name: u32,
    name_size: u32,
    token: u32,
) -> Result<Status> {
    let (vm, name) = (read!(guest, vm, vm_size), read!(guest, name, name_size));
    match guest.data().world.queues.resolve(&name) {
        Some(number) if vm.is_empty() => Ok(write_number(guest, token, number)),
        _ => Ok(Status::NotFound),
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

// Metrics. The two low bits of an id say what it is: counter, gauge, histogram.

fn define_metric(guest: &mut Guest<'_>, kind: u32, name: u32, name_size: u32, id: u32) -> Result<Status> {
    let name = read!(guest, name, name_size);
    let host = guest.data_mut();
    let Some(next) = host.next_metric.get_mut(kind as usize) else {
        return Ok(Status::BadArgument);
    };
    *next += 4;
    let number = *next;
    let name = String::from_utf8_lossy(&name).into_owned();
    host.world.metrics.entry(name.clone()).or_default();
    host.metric_names.insert(number, name);
    Ok(write_number(guest, id, number))
}

const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const HISTOGRAM: u32 = 2;

fn metric(host: &mut Host, id: u32) -> Option<&mut u64> {
    let name = host.metric_names.get(&id)?;
    host.world.metrics.get_mut(name)
}

fn increment_metric(guest: &mut Guest<'_>, id: u32, offset: i64) -> Result<Status> {
    let kind = id & 3;
    if kind > GAUGE {
        return Ok(Status::BadArgument);
    }
    let Some(value) = metric(guest.data_mut(), id) else {
        return Ok(Status::NotFound);
    };
    if kind == COUNTER && offset <= 0 {
        return Ok(Status::BadArgument);
    }
    *value = value.wrapping_add_signed(offset);
    Ok(Status::Ok)
}

fn record_metric(guest: &mut Guest<'_>, id: u32, number: u64) -> Result<Status> {
    let Some(value) = metric(guest.data_mut(), id) else {
        return Ok(Status::NotFound);
    };
    match id & 3 {
        COUNTER => *value = value.wrapping_add(number),
        // A histogram keeps the last value: enough to see that something was recorded.
        GAUGE | HISTOGRAM => *value = number,
        _ => return Ok(Status::NotFound),
    }
    Ok(Status::Ok)
}

fn get_metric(guest: &mut Guest<'_>, id: u32, address: u32) -> Result<Status> {
    if id & 3 > GAUGE {
        return Ok(Status::BadArgument);
    }
    let Some(value) = metric(guest.data_mut(), id).copied() else {
        return Ok(Status::NotFound);
    };
    Ok(if write(guest, address, &value.to_le_bytes()) {
        Status::Ok
    } else {
        Status::InvalidMemoryAccess
    })
}

// Properties and foreign functions.

fn get_property(guest: &mut Guest<'_>, path: u32, path_size: u32, value: u32, value_size: u32) -> Result<Status> {
    let path = read!(guest, path, path_size);
    match property::get(guest.data(), &path) {
        Some(bytes) => give(guest, &bytes, value, value_size),
        None => Ok(Status::NotFound),
    }
}

/// Becomes filter state under `wasm.` and the path as it was spelled.
fn set_property(guest: &mut Guest<'_>, path: u32, path_size: u32, value: u32, value_size: u32) -> Result<Status> {
    let (path, value) = (read!(guest, path, path_size), read!(guest, value, value_size));
    let Some(stream) = guest.data_mut().stream_mut() else {
        return Ok(Status::NotFound);
    };
    stream.filter_state.insert([b"wasm.", &path[..]].concat(), value);
    Ok(Status::Ok)
}

fn call_foreign_function(
    guest: &mut Guest<'_>,
    name: u32,
    name_size: u32,
    argument: u32,
    argument_size: u32,
    result: u32,
    result_size: u32,
) -> Result<Status> {
    let (name, argument) = (read!(guest, name, name_size), read!(guest, argument, argument_size));
    match foreign::call(guest.data_mut(), &name, &argument) {
        Ok(bytes) => give(guest, &bytes, result, result_size),
        Err(status) => Ok(status),
    }
}
