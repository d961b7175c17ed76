//! The host calls of gRPC; what becomes of them is in [`rpc`].

use std::time::Duration;

use wasmtime::{Result, bail};

use super::super::abi::{Status, parse_pairs};
use super::super::rpc::{self, Opening, Service, Target};
use super::{Guest, read, write_number};

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn grpc_call(
    guest: &mut Guest<'_>,
    service: u32,
    service_size: u32,
    name: u32,
    name_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    message: u32,
    message_size: u32,
    timeout: u32,
    token: u32,
) -> Result<Status> {
    let (Some(service), Some(name), Some(method), Some(metadata), Some(message)) = (
        read(guest, service, service_size),
        read(guest, name, name_size),
        read(guest, method, method_size),
        read(guest, metadata, metadata_size),
        read(guest, message, message_size),
    ) else {
        return Ok(Status::InvalidMemoryAccess);
    };
    let mut opening = match opening(guest, &service, &name, &method, &metadata)? {
        Ok(opening) => opening,
        Err(status) => return Ok(status),
    };
    opening.timeout = Some(Duration::from_millis(timeout.into()));
    let host = guest.data_mut();
    host.next_grpc[0] += 4;
    let (filter, number) = (host.filter_of(host.context_id()), host.next_grpc[0]);
    if !rpc::open(&mut host.world, filter, number, opening) {
        return Ok(Status::InternalFailure);
    }
    rpc::send(&mut host.world, filter, number, Some(message), true);
    Ok(write_number(guest, token, number))
}

#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn grpc_stream(
    guest: &mut Guest<'_>,
    service: u32,
    service_size: u32,
    name: u32,
    name_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    token: u32,
) -> Result<Status> {
    let (Some(service), Some(name), Some(method), Some(metadata)) = (
        read(guest, service, service_size),
        read(guest, name, name_size),
        read(guest, method, method_size),
        read(guest, metadata, metadata_size),
    ) else {
        return Ok(Status::InvalidMemoryAccess);
    };
    let opening = match opening(guest, &service, &name, &method, &metadata)? {
        Ok(opening) => opening,
        Err(status) => return Ok(status),
    };
    let host = guest.data_mut();
    host.next_grpc[1] += 4;
    let (filter, number) = (host.filter_of(host.context_id()), host.next_grpc[1]);
    if !rpc::open(&mut host.world, filter, number, opening) {
        return Ok(Status::InternalFailure);
    }
    Ok(write_number(guest, token, number))
}

/// Envoy takes a serialized GrpcService and, where the bytes are none, the name of a cluster that is there.
fn opening(
    guest: &Guest<'_>,
    service: &[u8],
    name: &[u8],
    method: &[u8],
    metadata: &[u8],
) -> Result<std::result::Result<Opening, Status>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let service = match Service::parse(service) {
        Some(service) => service,
        None if guest.data().world.has_cluster(&text(service)) => Service {
            target: Some(Target::Envoy {
                cluster: text(service),
                authority: String::new(),
            }),
            ..Service::default()
        },
        None => return Ok(Err(Status::ParseFailure)),
    };
    let (cluster, authority) = match service.target {
        Some(Target::Envoy { cluster, authority }) => (cluster, authority),
        Some(Target::Google) => bail!(
            "the GrpcService asks for `google_grpc`, which dials by itself and can't be scripted; use `envoy_grpc` with a cluster"
        ),
        None => {
            bail!("the GrpcService names no target, at which Envoy crashes (`panic: unset oneof`); set `envoy_grpc`")
        }
    };
    let mut lines = service.initial_metadata;
    let named = |(name, value): (Vec<u8>, Vec<u8>)| (text(&name).to_lowercase(), value);
    lines.extend(parse_pairs(metadata).into_iter().map(named));
    Ok(Ok(Opening {
        cluster,
        authority: Some(authority).filter(|authority| !authority.is_empty()),
        path: format!("/{}/{}", text(name), text(method)),
        metadata: lines,
        timeout: None,
    }))
}

pub(super) fn grpc_send(
    guest: &mut Guest<'_>,
    token: u32,
    message: u32,
    message_size: u32,
    end: u32,
) -> Result<Status> {
    let Some(message) = read(guest, message, message_size) else {
        return Ok(Status::InvalidMemoryAccess);
    };
    // Nothing more is sent on a call, and other tokens are no gRPC's.
    if !rpc::is_stream(token) {
        return Ok(Status::BadArgument);
    }
    let host = guest.data_mut();
    let filter = host.filter_of(host.context_id());
    Ok(known(rpc::send(
        &mut host.world,
        filter,
        token,
        Some(message),
        end != 0,
    )))
}

pub(super) fn grpc_cancel(guest: &mut Guest<'_>, token: u32) -> Result<Status> {
    if !rpc::is_call(token) && !rpc::is_stream(token) {
        return Ok(Status::BadArgument);
    }
    let host = guest.data_mut();
    let filter = host.filter_of(host.context_id());
    Ok(known(rpc::cancel(&mut host.world, filter, token)))
}

pub(super) fn grpc_close(guest: &mut Guest<'_>, token: u32) -> Result<Status> {
    if !rpc::is_call(token) && !rpc::is_stream(token) {
        return Ok(Status::BadArgument);
    }
    let host = guest.data_mut();
    let filter = host.filter_of(host.context_id());
    Ok(known(rpc::close(&mut host.world, filter, token)))
}

fn known(is_known: bool) -> Status {
    if is_known { Status::Ok } else { Status::NotFound }
}
