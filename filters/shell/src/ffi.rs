//! The host calls, without panics and with one copy each.
//!
//! 1. The SDK's wrappers panic on statuses they don't expect and on header names that are not UTF-8; a trap can hang the stream, so
//!    the shell calls the host itself. The SDK keeps what it does well: the ABI's exports, contexts and dispatch.
//! 2. Every function gives `None` or `Err` for any status but Ok; the caller then fails closed.
//! 3. Memory that the host hands over was allocated by the SDK's `proxy_on_memory_allocate`, so a `Vec` takes it over whole.

#![allow(unsafe_code, reason = "the ABI is C: this is the one module that crosses it")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ptr::null_mut;

use scrim_policy::head::Place;

/// Which header map.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Map {
    Request = 0,
    Response = 2,
    CallResponse = 6,
}

/// Which buffer.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    CallResponseBody = 4,
    PluginConfiguration = 7,
}

/// How bad a log line is.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Level {
    Info = 2,
    Warn = 3,
    Error = 4,
}

/// The host refused; nothing changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;

const OK: u32 = 0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_header_map_pairs(map: u32, data: *const u8, size: usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, length: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, length: usize, data: *const u8, size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, data: *const u8, size: usize) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        argument: *const u8,
        argument_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
}

fn done(status: u32) -> Result<(), Refused> {
    if status == OK { Ok(()) } else { Err(Refused) }
}

/// Runs a call that hands memory over, and takes it.
fn taken(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let (mut data, mut size) = (null_mut(), 0);
    if call(&raw mut data, &raw mut size) != OK {
        return None;
    }
    if data.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: on Ok the host gives a block of `size` bytes that `proxy_on_memory_allocate` allocated as a `Vec<u8>` of that capacity and
    // gave away; nobody else holds it.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// Logs a line. Nothing that came from a request may be in it.
pub(crate) fn log(level: Level, text: &str) {
    // SAFETY: pointer and size are of one live slice. So in every call below.
    let _ = unsafe { proxy_log(level as u32, text.as_ptr(), text.len()) };
}

/// The host's time in nanoseconds since the epoch.
pub(crate) fn now() -> Option<u64> {
    let mut time = 0;
    // SAFETY: `time` is a live u64.
    done(unsafe { proxy_get_current_time_nanoseconds(&raw mut time) }).ok()?;
    Some(time)
}

/// The host's time in milliseconds since the epoch.
pub(crate) fn milliseconds() -> Option<u64> {
    now().map(|nanoseconds| nanoseconds / 1_000_000)
}

/// Has the root's timer go off every so many milliseconds; 0: never.
pub(crate) fn set_tick_period(milliseconds: u32) {
    // SAFETY: no pointers.
    let _ = unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
}

/// What follows is done as this context, until the callback returns.
pub(crate) fn act_as(context: u32) -> Result<(), Refused> {
    // SAFETY: no pointers.
    done(unsafe { proxy_set_effective_context(context) })
}

/// Lets a paused request go on, once the callback has returned.
pub(crate) fn continue_request() -> Result<(), Refused> {
    const REQUEST: u32 = 0;
    // SAFETY: no pointers.
    done(unsafe { proxy_continue_stream(REQUEST) })
}

/// Calls a cluster of the proxy; the answer comes to the root under the token. `None`: the host would not.
///
/// This is the SDK's own wrapper: its dispatcher panics on an answer whose token it does not know, and only this makes tokens known to
/// it. It panics on a status other than Ok, BadArgument and InternalFailure, which hosts don't give here.
pub(crate) fn call(cluster: &str, headers: &[(&str, &str)], timeout: u64) -> Option<u32> {
    let timeout = std::time::Duration::from_millis(timeout);
    proxy_wasm::hostcalls::dispatch_http_call(cluster, headers.to_vec(), None, Vec::new(), timeout).ok()
}

/// A whole header map: its bytes, and where the lines stand in them.
pub(crate) fn headers(map: Map) -> Option<(Vec<u8>, Vec<Place>)> {
    // SAFETY: as above; `taken` gives live pointers.
    let bytes = taken(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) })?;
    let places = places(&bytes)?;
    Some((bytes, places))
}

/// The ABI's map: count, then the sizes of all names and values, then each with a NUL behind.
fn places(bytes: &[u8]) -> Option<Vec<Place>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let (count, mut rest) = bytes.split_first_chunk::<4>()?;
    let count = u32::from_le_bytes(*count);
    let mut next = count.checked_mul(8)?.checked_add(4)?;
    let mut list = Vec::with_capacity(usize::try_from(count.min(1024)).ok()?);
    for _ in 0..count {
        let (name_length, more) = rest.split_first_chunk::<4>()?;
        let (value_length, more) = more.split_first_chunk::<4>()?;
        rest = more;
        let (name_length, value_length) = (u32::from_le_bytes(*name_length), u32::from_le_bytes(*value_length));
        let name = next;
        let value = name.checked_add(name_length)?.checked_add(1)?;
        next = value.checked_add(value_length)?.checked_add(1)?;
        list.push(Place {
            name,
            name_length,
            value,
            value_length,
        });
    }
    // The last line's end is inside, and so is all before it.
    (usize::try_from(next).ok()? <= bytes.len()).then_some(list)
}

/// Makes all lines of that name this one.
pub(crate) fn set_header(map: Map, name: &str, value: &[u8]) -> Result<(), Refused> {
    // SAFETY: as above.
    done(unsafe { proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Removes all lines of that name.
pub(crate) fn remove_header(map: Map, name: &str) -> Result<(), Refused> {
    // SAFETY: as above.
    done(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// Removes all trailers of the response.
pub(crate) fn clear_response_trailers() -> Result<(), Refused> {
    const RESPONSE_TRAILERS: u32 = 3;
    let map = serialized(&[]);
    // SAFETY: as above.
    done(unsafe { proxy_set_header_map_pairs(RESPONSE_TRAILERS, map.as_ptr(), map.len()) })
}

/// A buffer's first bytes.
pub(crate) fn buffer(buffer: Buffer, length: usize) -> Option<Vec<u8>> {
    // SAFETY: as above; `taken` gives live pointers.
    taken(|data, size| unsafe { proxy_get_buffer_bytes(buffer as u32, 0, length, data, size) })
}

/// Replaces a whole buffer.
pub(crate) fn set_buffer(buffer: Buffer, value: &[u8]) -> Result<(), Refused> {
    // SAFETY: as above.
    done(unsafe { proxy_set_buffer_bytes(buffer as u32, 0, usize::MAX, value.as_ptr(), value.len()) })
}

/// A property; its path's parts are joined by NUL. `None`: absent or not readable.
pub(crate) fn property(path: &str) -> Option<Vec<u8>> {
    // SAFETY: as above; `taken` gives live pointers.
    taken(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Sets a property of the stream, which becomes filter state under `wasm.`.
pub(crate) fn set_property(path: &str, value: &[u8]) -> Result<(), Refused> {
    // SAFETY: as above.
    done(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// Answers the stream. `details` shows in access logs as `%RESPONSE_CODE_DETAILS%`.
pub(crate) fn respond(
    status: u16,
    details: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    grpc_status: i32,
) -> Result<(), Refused> {
    let map = serialized(headers);
    // SAFETY: as above.
    done(unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            map.as_ptr(),
            map.len(),
            grpc_status,
        )
    })
}

fn serialized(headers: &[(&str, &str)]) -> Vec<u8> {
    let size = |length: usize| u32::try_from(length).unwrap_or(0).to_le_bytes();
    let mut map = size(headers.len()).to_vec();
    for (name, value) in headers {
        map.extend(size(name.len()));
        map.extend(size(value.len()));
    }
    for (name, value) in headers {
        for part in [name, value] {
            map.extend(part.as_bytes());
            map.push(0);
        }
    }
    map
}

/// Resets the response stream: the client sees a broken body.
pub(crate) fn reset_response() -> Result<(), Refused> {
    const RESPONSE: u32 = 1;
    // SAFETY: no pointers.
    done(unsafe { proxy_close_stream(RESPONSE) })
}

/// The most counters of fields that a VM defines: they are counted by their names, of which there may be many.
const MAX_FIELDS: usize = 2048;

thread_local! {
    /// The VM's counters. Envoy keeps an entry for every definition, of one name too: to define at each count would leak.
    static COUNTERS: RefCell<BTreeMap<String, u32>> = const { RefCell::new(BTreeMap::new()) };
}

/// Adds to a counter, which comes to be with the first call.
pub(crate) fn count(name: &str, more: u64) {
    const COUNTER: u32 = 0;
    let counted = COUNTERS.with_borrow_mut(|counters| {
        if let Some(id) = counters.get(name) {
            return Some(*id);
        }
        let is_field = |name: &str| name.starts_with("scrim_field.");
        if is_field(name) && counters.keys().filter(|have| is_field(have)).count() >= MAX_FIELDS {
            return None;
        }
        let mut id = 0;
        // SAFETY: as above; `id` is a live u32.
        done(unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), &raw mut id) }).ok()?;
        counters.insert(name.to_owned(), id);
        Some(id)
    });
    if let Some(id) = counted {
        // SAFETY: no pointers.
        let _ = unsafe { proxy_increment_metric(id, i64::try_from(more).unwrap_or(i64::MAX)) };
    }
}

/// Calls a foreign function of the host.
pub(crate) fn foreign(name: &str, argument: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: as above; `taken` gives live pointers.
    taken(|data, size| unsafe {
        proxy_call_foreign_function(name.as_ptr(), name.len(), argument.as_ptr(), argument.len(), data, size)
    })
}
