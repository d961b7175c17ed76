//! Host calls on metrics. The two low bits of an id say what it is: counter, gauge, histogram.
//!
//! 1. A name is one metric of its kind for all VMs and plugins; each definition gives a new id for it.
//! 2. Counters only grow: an increment by nothing or less is BadArgument; recording adds.
//! 3. A gauge below zero wraps, as Envoy's do. A histogram can't be read or incremented.

use wasmtime::Result;

use super::{Guest, read, write, write_number};
use crate::wasm::abi::Status;
use crate::wasm::host::Host;

pub(super) fn define_metric(guest: &mut Guest<'_>, kind: u32, name: u32, name_size: u32, id: u32) -> Result<Status> {
    let name = read!(guest, name, name_size);
    let host = guest.data_mut();
    let Some(next) = host.next_metric.get_mut(kind as usize) else {
        return Ok(Status::BadArgument);
    };
    *next += 4;
    let number = *next;
    let name = String::from_utf8_lossy(&name).into_owned();
    host.world.metrics.entry((kind, name.clone())).or_default();
    host.metric_names.insert(number, name);
    Ok(write_number(guest, id, number))
}

const COUNTER: u32 = 0;
const GAUGE: u32 = 1;
const HISTOGRAM: u32 = 2;

fn metric(host: &mut Host, id: u32) -> Option<&mut u64> {
    let name = host.metric_names.get(&id)?;
    host.world.metrics.get_mut(&(id & 3, name.clone()))
}

pub(super) fn increment_metric(guest: &mut Guest<'_>, id: u32, offset: i64) -> Result<Status> {
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

pub(super) fn record_metric(guest: &mut Guest<'_>, id: u32, number: u64) -> Result<Status> {
    let host = guest.data_mut();
    if id & 3 == HISTOGRAM
        && let Some(name) = host.metric_names.get(&id)
    {
        *host.world.samples.entry(name.clone()).or_default() += 1;
    }
    let Some(value) = metric(host, id) else {
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

pub(super) fn get_metric(guest: &mut Guest<'_>, id: u32, address: u32) -> Result<Status> {
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
