//! Host calls on properties and foreign functions.

use wasmtime::Result;

use super::{Guest, give, place, read, write};
use crate::wasm::abi::Status;
use crate::wasm::{foreign, property};

pub(super) fn get_property(
    guest: &mut Guest<'_>,
    path: u32,
    path_size: u32,
    value: u32,
    value_size: u32,
) -> Result<Status> {
    let path = read!(guest, path, path_size);
    match property::get(guest.data(), &path) {
        Ok(bytes) => give(guest, &bytes, value, value_size),
        Err(status) => Ok(status),
    }
}

/// Becomes filter state under `wasm.` and the path as it was spelled.
pub(super) fn set_property(
    guest: &mut Guest<'_>,
    path: u32,
    path_size: u32,
    value: u32,
    value_size: u32,
) -> Result<Status> {
    let (path, value) = (read!(guest, path, path_size), read!(guest, value, value_size));
    let host = guest.data_mut();
    let declared = host.root().and_then(|root| host.declared.get(&(root, path.clone())));
    let once = declared.copied().unwrap_or(false);
    let Some(stream) = host.stream_mut() else {
        return Ok(Status::NotFound);
    };
    let key = [b"wasm.", &path[..]].concat();
    if stream.set_once.contains(&key) {
        return Ok(Status::BadArgument);
    }
    // Who made it decides.
    if once && !stream.filter_state.contains_key(&key) {
        stream.set_once.insert(key.clone());
    }
    stream.filter_state.insert(key, value);
    Ok(Status::Ok)
}

pub(super) fn call_foreign_function(
    guest: &mut Guest<'_>,
    name: u32,
    name_size: u32,
    argument: u32,
    argument_size: u32,
    result: u32,
    result_size: u32,
) -> Result<Status> {
    let (name, argument) = (read!(guest, name, name_size), read!(guest, argument, argument_size));
    let (bytes, status) = match foreign::call(guest.data_mut(), &name, &argument) {
        Ok(bytes) => (bytes, Status::Ok),
        // An unknown function does not touch what the caller has; a refusal clears it.
        Err(Status::NotFound) if !foreign::is_known(&name) => return Ok(Status::NotFound),
        Err(status) => (Vec::new(), status),
    };
    // The caller may not want the result, or its size.
    let mut address = 0;
    if result != 0 && !bytes.is_empty() {
        address = match place(guest, &bytes)? {
            Some(address) => address,
            None => return Ok(Status::InvalidMemoryAccess),
        };
    }
    let size = bytes.len() as u32;
    let told = (result == 0 || write(guest, result, &address.to_le_bytes()))
        && (result_size == 0 || write(guest, result_size, &size.to_le_bytes()));
    Ok(if told { status } else { Status::InvalidMemoryAccess })
}
