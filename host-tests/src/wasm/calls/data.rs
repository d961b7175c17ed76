//! Host calls on buffers and header maps.

use wasmtime::Result;

use super::{Guest, give, read, write, write_number};
use crate::exchange::Headers;
use crate::wasm::Semantics;
use crate::wasm::abi::{Abi, BufferType, MapType, Status, Way, parse_pairs, serialize_pairs};
use crate::wasm::headers::HeaderMap;
use crate::wasm::host::{Host, Received};

// Buffers.

pub(super) fn get_buffer_bytes(
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
    if guest.data().world.semantics == Semantics::Spec && start.checked_add(length).is_none() {
        return Ok(Status::BadArgument);
    }
    let Some(bytes) = with_buffer(guest.data_mut(), buffer, |bytes| {
        // In 64 bits, as in Envoy: no start is too far and no length too long.
        let end = bytes.len().min((u64::from(start) + u64::from(length)) as usize);
        bytes.get(start as usize..end).unwrap_or_default().to_vec()
    }) else {
        return Ok(Status::NotFound);
    };
    give(guest, &bytes, data, size)
}

pub(super) fn get_buffer_status(guest: &mut Guest<'_>, buffer: u32, length: u32, flags: u32) -> Result<Status> {
    let Some(buffer) = BufferType::from_abi(buffer) else {
        return Ok(Status::BadArgument);
    };
    let Some(there) = with_buffer(guest.data_mut(), buffer, <[u8]>::len) else {
        return Ok(Status::NotFound);
    };
    let told = write(guest, length, &(there as u32).to_le_bytes()) && write(guest, flags, &[0; 4]);
    Ok(if told { Status::Ok } else { Status::InvalidMemoryAccess })
}

/// Envoy knows two ways to change a body: replace its beginning, which may be nothing or all of it, or put something behind it.
/// Everything else is BadArgument, against the ABI's text.
pub(super) fn set_buffer_bytes(
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
    let spec = guest.data().world.semantics == Semantics::Spec;
    let body = match buffer {
        BufferType::Body(way) => guest.data_mut().body_mut(way),
        BufferType::Network(way) => guest.data_mut().connection_mut(way),
        _ => None,
    };
    let Some(body) = body else {
        return Ok(Status::BadArgument);
    };
    let (start, length) = (start as usize, length as usize);
    match (start, length) {
        (0, _) => {
            body.splice(0..length.min(body.len()), data);
        }
        (1.., _) if start >= body.len() => body.extend(data),
        _ if spec => {
            body.splice(start..start.saturating_add(length).min(body.len()), data);
        }
        _ => return Ok(Status::BadArgument),
    }
    Ok(Status::Ok)
}

/// None: the buffer is not there. A body outside its callbacks is empty.
fn with_buffer<T>(host: &mut Host, buffer: BufferType, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
    Some(match buffer {
        BufferType::Body(way) => read(host.body_mut(way).map_or(&[][..], |body| body)),
        BufferType::CallBody => read(&host.call_answer.as_ref()?.body),
        BufferType::PluginConfiguration => read(host.plugin_configuration()?),
        BufferType::VmConfiguration => read(&host.vm_configuration),
        BufferType::Grpc => match &host.received {
            Received::Message(message) => read(message),
            _ => read(&[]),
        },
        BufferType::Network(way) => read(host.connection_mut(way).map_or(&[][..], |bytes| bytes)),
        BufferType::CallData => read(&[]),
    })
}

// Header maps.

pub(super) fn get_header_map_size(guest: &mut Guest<'_>, map: u32, size: u32) -> Result<Status> {
    let Some(map) = MapType::from_abi(map) else {
        return Ok(Status::BadArgument);
    };
    let host = guest.data_mut();
    let bytes = match host.world.semantics {
        Semantics::Envoy => host.map_mut(map).map(|map| map.byte_size()),
        Semantics::Spec => host.map(map).map(|map| serialize_pairs(map.iter()).len()),
    };
    let Some(bytes) = bytes else {
        return Ok(Status::BadArgument);
    };
    Ok(write_number(guest, size, bytes as u32))
}

/// A map that is not there is an empty one, and not an error.
pub(super) fn get_header_map_pairs(guest: &mut Guest<'_>, map: u32, data: u32, size: u32) -> Result<Status> {
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

fn serialize_headers(headers: &Headers) -> Vec<u8> {
    if headers.is_empty() {
        return Vec::new();
    }
    serialize_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
}

pub(super) fn set_header_map_pairs(guest: &mut Guest<'_>, map: u32, data: u32, size: u32) -> Result<Status> {
    let pairs = parse_pairs(&read!(guest, data, size));
    change_map(guest, map, |map| {
        map.clear();
        for (name, value) in &pairs {
            map.add(name, value);
        }
    })
}

pub(super) fn get_header_map_value(
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
        None => absent(guest, value, value_size),
    }
}

/// Modules of ABI 0.1.0 get an empty value where there is none.
fn absent(guest: &mut Guest<'_>, value: u32, value_size: u32) -> Result<Status> {
    match guest.data().abi {
        Abi::V0_1_0 => give(guest, &[], value, value_size),
        _ => Ok(Status::NotFound),
    }
}

fn find(headers: &Headers, name: &[u8]) -> Option<Vec<u8>> {
    headers
        .iter()
        .find(|line| line.0.as_bytes().eq_ignore_ascii_case(name))
        .map(|line| line.1.clone())
}

pub(super) fn add_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    name_size: u32,
    value: u32,
    value_size: u32,
) -> Result<Status> {
    if MapType::from_abi(map).is_none() {
        return Ok(Status::BadArgument);
    }
    let (name, value) = (read!(guest, name, name_size), read!(guest, value, value_size));
    change_map(guest, map, |map| map.add(&name, &value))
}

pub(super) fn replace_header_map_value(
    guest: &mut Guest<'_>,
    map: u32,
    name: u32,
    name_size: u32,
    value: u32,
    value_size: u32,
) -> Result<Status> {
    if MapType::from_abi(map).is_none() {
        return Ok(Status::BadArgument);
    }
    let (name, value) = (read!(guest, name, name_size), read!(guest, value, value_size));
    change_map(guest, map, |map| map.replace(&name, &value))
}

pub(super) fn remove_header_map_value(guest: &mut Guest<'_>, map: u32, name: u32, name_size: u32) -> Result<Status> {
    if MapType::from_abi(map).is_none() {
        return Ok(Status::BadArgument);
    }
    let name = read!(guest, name, name_size);
    change_map(guest, map, |map| map.remove(&name))
}

/// Any change of request headers makes Envoy forget the route.
fn change_map(guest: &mut Guest<'_>, map: u32, change: impl FnOnce(&mut HeaderMap)) -> Result<Status> {
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
