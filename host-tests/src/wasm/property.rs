//! Properties as Envoy's expression language serves them to guests.
//!
//! 1. A path's parts are separated by NUL. Strings come raw, numbers as 8 bytes little endian, booleans as one byte, maps as
//!    header maps do.
//! 2. Request headers are there only while a guest may read them: in the request's headers callback, while it pauses there,
//!    and in `on_log`. Envoy's `request.path` is not there during the response.
//! 3. A name that is not a property is filter state under `wasm.`, whoever set it.
//! 4. A part of the tree that Envoy can't list (`request`, `response`, `connection`, `upstream`, `source`, `destination`, `xds`,
//!    `filter_state`) is a SerializationFailure as a whole. `request.headers` lists lines in their order; Envoy has its own, which changes.
//! 5. Not known here, so NotFound or empty as where Envoy has none: what comes from TLS, addresses and ports of real sockets (`127.0.0.1:0`
//!    and 0), `xds.node` as a whole, dynamic metadata (`metadata`), metadata of clusters, hosts and listeners, the times of the upstream
//!    (`upstream.cx_pool_ready_duration`, `response.backend_latency`). Ids of connections are all 1.

use super::abi::{Status, Way, serialize_pairs};
use super::foreign::field;
use super::headers::HeaderMap;
use super::host::Host;
use crate::exchange::Metadata;

/// The value at a path, or the status that the host call returns.
pub(crate) fn get(host: &Host, path: &[u8]) -> Result<Vec<u8>, Status> {
    let mut parts: Vec<&[u8]> = path.split(|&byte| byte == 0).collect();
    if parts.len() > 1 && parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    let text: Vec<&str> = parts
        .iter()
        .map(|part| std::str::from_utf8(part).unwrap_or_default())
        .collect();
    if let (Some(given), Some(_)) = (&host.world.given_properties, host.stream()) {
        let path: Vec<&str> = text.iter().copied().filter(|part| !part.is_empty()).collect();
        return given.get(&path.join(".")).cloned().ok_or(Status::NotFound);
    }
    let whole = match text.as_slice() {
        [""] => path.is_empty(),
        ["xds"] => true,
        ["request" | "response" | "connection" | "upstream" | "source" | "destination" | "filter_state"] => {
            host.stream().is_some()
        }
        // That of the connection to the upstream.
        ["upstream_filter_state"] => {
            let details = host.stream().and_then(|stream| stream.details.as_deref());
            details == Some("via_upstream")
        }
        // Envoy has a host by then, and the host no metadata.
        ["xds", "upstream_host_metadata" | "upstream_host_locality_metadata"] => upstream_reached(host),
        _ => false,
    };
    if whole {
        return Err(Status::SerializationFailure);
    }
    value(host, &text, &parts).ok_or(Status::NotFound)
}

fn value(host: &Host, text: &[&str], parts: &[&[u8]]) -> Option<Vec<u8>> {
    match text {
        ["request", rest @ ..] => request(host, rest),
        ["response", rest @ ..] => response(host, rest),
        ["connection", rest @ ..] => connection(host, rest),
        ["upstream", rest @ ..] => upstream(host, rest),
        ["source", "address"] | ["destination", "address"] => host.stream().map(|_| b"127.0.0.1:0".to_vec()),
        ["source" | "destination", "port"] => host.stream().map(|_| int(0)),
        ["xds", rest @ ..] => xds(host, rest),
        ["metadata", rest @ ..] => host.stream().and_then(|_| message(&Metadata::new(), rest)),
        ["filter_state", key] => host.stream()?.filter_state.get(key.as_bytes()).cloned(),
        ["plugin_name"] => Some(host.plugin()?.name.clone().into_bytes()),
        ["plugin_root_id"] => Some(host.plugin()?.root_id.clone().into_bytes()),
        ["plugin_vm_id"] => Some(host.vm_id.clone().into_bytes()),
        ["connection_id"] => host.stream().map(|_| int(1)),
        [_] => host.stream()?.filter_state.get(&[b"wasm.", parts[0]].concat()).cloned(),
        _ => None,
    }
}

/// Names as in the configuration that the Envoy engine runs.
const CLUSTER: &str = "upstream";
const VIRTUAL_HOST: &str = "all";

fn request(host: &Host, path: &[&str]) -> Option<Vec<u8>> {
    let stream = host.stream()?;
    let context = host.context()?;
    let at = Way::Request.at();
    let headers = if context.headers[at] || context.logging {
        stream.headers[at].as_ref()
    } else {
        None
    };
    let header = |name: &str| {
        headers
            .and_then(|headers| headers.get(name.as_bytes()))
            .map(<[u8]>::to_vec)
    };
    let size = headers.map_or(0, HeaderMap::byte_size) as i64;
    match *path {
        ["path"] => header(":path"),
        ["url_path"] => headers.map(|headers| {
            let path = headers.get(b":path").unwrap_or_default();
            path.split(|&byte| byte == b'?').next().unwrap_or_default().to_vec()
        }),
        ["query"] => headers.map(|headers| {
            let path = headers.get(b":path").unwrap_or_default();
            let query = path.splitn(2, |&byte| byte == b'?').nth(1).unwrap_or_default();
            query.split(|&byte| byte == b'#').next().unwrap_or_default().to_vec()
        }),
        ["host"] => header(":authority"),
        ["scheme"] => header(":scheme"),
        ["method"] => header(":method"),
        ["referer"] => header("referer"),
        ["useragent"] => header("user-agent"),
        ["id"] => header("x-request-id"),
        ["headers"] => Some(all(headers)),
        ["headers", name] => headers?.get_joined(name.as_bytes()),
        ["headers_bytes"] => Some(int(size)),
        ["protocol"] => Some(b"HTTP/1.1".to_vec()),
        ["time"] => Some(int(stream.start_nanoseconds as i64)),
        ["duration"] => stream.duration.map(|duration| int(duration.as_nanos() as i64)),
        ["size"] => match header("content-length") {
            Some(length) => std::str::from_utf8(&length).ok()?.trim().parse().ok().map(int),
            None => Some(int(stream.received as i64)),
        },
        ["total_size"] => Some(int(stream.received as i64 + size)),
        _ => None,
    }
}

fn response(host: &Host, path: &[&str]) -> Option<Vec<u8>> {
    let stream = host.stream()?;
    let context = host.context()?;
    let at = Way::Response.at();
    let visible = |there: bool| there || context.logging;
    let headers = if visible(context.headers[at]) {
        stream.headers[at].as_ref()
    } else {
        None
    };
    let trailers = if visible(context.trailers[at]) {
        stream.trailers[at].as_ref()
    } else {
        None
    };
    let size = headers.map_or(0, HeaderMap::byte_size) as i64;
    match *path {
        ["code"] => stream.code.map(|code| int(code.into())),
        ["code_details"] => stream.details.clone().map(String::into_bytes),
        ["grpc_status"] => grpc_status(headers, trailers, stream.code).map(int),
        ["headers"] => Some(all(headers)),
        ["trailers"] => Some(all(trailers)),
        ["headers", name] => headers?.get_joined(name.as_bytes()),
        ["trailers", name] => trailers?.get_joined(name.as_bytes()),
        ["headers_bytes"] => Some(int(size)),
        ["size"] => Some(int(stream.sent as i64)),
        ["total_size"] => Some(int(stream.sent as i64
            + size
            + trailers.map_or(0, HeaderMap::byte_size) as i64)),
        ["flags"] => Some(int(0)),
        _ => None,
    }
}

/// Connections here are plain, so what comes from TLS is absent.
fn connection(host: &Host, path: &[&str]) -> Option<Vec<u8>> {
    host.stream()?;
    match *path {
        ["mtls"] => Some(vec![0]),
        ["requested_server_name"] => Some(Vec::new()),
        ["id"] => Some(int(1)),
        _ => None,
    }
}

/// The whole map; without one, an empty map.
fn all(map: Option<&HeaderMap>) -> Vec<u8> {
    map.map_or_else(|| vec![0; 4], |map| serialize_pairs(map.iter()))
}

/// From the trailers, else the headers, else what the status comes to in gRPC.
fn grpc_status(headers: Option<&HeaderMap>, trailers: Option<&HeaderMap>, code: Option<u16>) -> Option<i64> {
    let named = |map: Option<&HeaderMap>| {
        let value = map?.get(b"grpc-status")?;
        std::str::from_utf8(value).ok()?.parse().ok()
    };
    let of_code = |code: u16| match code {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    };
    named(trailers).or_else(|| named(headers)).or_else(|| code.map(of_code))
}

/// The router has chosen a host.
fn upstream_reached(host: &Host) -> bool {
    host.stream().is_some_and(|stream| stream.at_router)
}

fn upstream(host: &Host, path: &[&str]) -> Option<Vec<u8>> {
    host.stream()?;
    let reached = upstream_reached(host);
    match *path {
        ["address"] => reached.then(|| b"127.0.0.1:0".to_vec()),
        ["port"] => reached.then(|| int(0)),
        ["local_address"] => reached.then(|| b"127.0.0.1:0".to_vec()),
        ["transport_failure_reason" | "locality"] => reached.then(Vec::new),
        ["request_attempt_count"] => Some(int(reached.into())),
        ["num_endpoints"] => host.world.route().map(|_| int(1)),
        _ => None,
    }
}

fn xds(host: &Host, path: &[&str]) -> Option<Vec<u8>> {
    if let ["node", "id" | "cluster"] = *path {
        return Some(Vec::new());
    }
    host.stream()?;
    let world = &host.world;
    match *path {
        ["cluster_name"] => world.route().map(|_| CLUSTER.into()),
        ["cluster_metadata", ref rest @ ..] => world.route().and_then(|_| message(&Metadata::new(), rest)),
        ["route_name"] => world.route().map(|route| route.name.clone().into_bytes()),
        ["virtual_host_name"] => world.route().map(|_| VIRTUAL_HOST.into()),
        ["route_metadata", ref rest @ ..] => message(&world.route()?.metadata, rest),
        ["virtual_host_metadata", ref rest @ ..] => {
            world.route()?;
            message(&world.virtual_host_metadata, rest)
        }
        ["listener_metadata", ref rest @ ..] => message(&Metadata::new(), rest),
        ["filter_chain_name"] => Some(Vec::new()),
        ["listener_direction"] => Some(int(0)),
        _ => None,
    }
}

/// Metadata as a message of Envoy's (`envoy.config.core.v3.Metadata`), or a part of it.
fn message(metadata: &Metadata, path: &[&str]) -> Option<Vec<u8>> {
    let texts = |texts: &std::collections::BTreeMap<String, String>| {
        serialize_pairs(texts.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes())))
    };
    match *path {
        [] => {
            let text = |(key, text): (&String, &String)| {
                field(
                    1,
                    &[field(1, key.as_bytes()), field(2, &field(3, text.as_bytes()))].concat(),
                )
            };
            let filter = |(name, texts): (&String, &std::collections::BTreeMap<String, String>)| {
                let fields: Vec<u8> = texts.iter().flat_map(text).collect();
                field(1, &[field(1, name.as_bytes()), field(2, &fields)].concat())
            };
            Some(metadata.iter().flat_map(filter).collect())
        }
        ["filter_metadata"] => {
            let filters: Vec<(&str, Vec<u8>)> = metadata.iter().map(|(name, of)| (name.as_str(), texts(of))).collect();
            Some(serialize_pairs(
                filters.iter().map(|(name, of)| (name.as_bytes(), of.as_slice())),
            ))
        }
        ["filter_metadata", filter] => metadata.get(filter).map(texts),
        ["filter_metadata", filter, key] => metadata.get(filter)?.get(key).map(|value| value.clone().into_bytes()),
        ["typed_filter_metadata"] => Some(vec![0; 4]),
        _ => None,
    }
}

fn int(number: i64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}
