//! The host calls of gRPC.

use wasmtime::Result;

use super::super::abi::Status;
use super::Guest;

/// There are no gRPC services here: Envoy answers so for a cluster that it does not know.
#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn grpc_call(
    _: &mut Guest<'_>,
    _service: u32,
    _service_size: u32,
    _name: u32,
    _name_size: u32,
    _method: u32,
    _method_size: u32,
    _metadata: u32,
    _metadata_size: u32,
    _message: u32,
    _message_size: u32,
    _timeout: u32,
    _token: u32,
) -> Result<Status> {
    Ok(Status::ParseFailure)
}

/// As [`grpc_call`].
#[expect(clippy::too_many_arguments, reason = "the ABI's")]
pub(super) fn grpc_stream(
    _: &mut Guest<'_>,
    _service: u32,
    _service_size: u32,
    _name: u32,
    _name_size: u32,
    _method: u32,
    _method_size: u32,
    _metadata: u32,
    _metadata_size: u32,
    _token: u32,
) -> Result<Status> {
    Ok(Status::ParseFailure)
}

pub(super) fn grpc_send(
    _: &mut Guest<'_>,
    _token: u32,
    _message: u32,
    _message_size: u32,
    _end: u32,
) -> Result<Status> {
    Ok(Status::NotFound)
}

pub(super) fn grpc_cancel(_: &mut Guest<'_>, _token: u32) -> Result<Status> {
    Ok(Status::NotFound)
}

pub(super) fn grpc_close(_: &mut Guest<'_>, _token: u32) -> Result<Status> {
    Ok(Status::NotFound)
}
