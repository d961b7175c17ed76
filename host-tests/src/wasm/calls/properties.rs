//! Host calls on properties and foreign functions.

use wasmtime::Result;

use super::{Guest, give, read};
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
        Some(bytes) => give(guest, &bytes, value, value_size),
        None => Ok(Status::NotFound),
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
    let Some(stream) = guest.data_mut().stream_mut() else {
        return Ok(Status::NotFound);
    };
    stream.filter_state.insert([b"wasm.", &path[..]].concat(), value);
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
    match foreign::call(guest.data_mut(), &name, &argument) {
        Ok(bytes) => give(guest, &bytes, result, result_size),
        Err(status) => Ok(status),
    }
}
