//! Properties as Envoy's expression language serves them to guests.
//!
//! 1. A path's parts are separated by NUL. Strings come raw, numbers as 8 bytes little endian, booleans as one byte, maps as
//!    header maps do.
//! 2. Request headers are there only while a guest may read them: in the request's headers callback, while it pauses there,
//!    and in `on_log`. Envoy's `request.path` is not there during the response.
//! 3. A name that is not a property is filter state under `wasm.`, whoever set it.

use super::abi::{Way, serialize_pairs};
use super::headers::HeaderMap;
use super::host::Host;
use crate::exchange::Metadata;

/// The value at a path; none: not found.
pub(crate) fn get(host: &Host, path: &[u8]) -> Option<Vec<u8>> {
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
        return given.get(&path.join(".")).cloned();
    }
    match text.as_slice() {
        ["request", rest @ ..] => request(host, rest),
        ["response", rest @ ..] => response(host, rest),
        ["connection", rest @ ..] => connection(host, rest),
        ["source", "address"] | ["destination", "address"] | ["upstream", "address"] => {
            host.stream().map(|_| b"127.0.0.1:0".to_vec())
        }
        ["source" | "destination", "port"] => host.stream().map(|_| int(0)),
        ["xds", rest @ ..] => xds(host, rest),
        ["node", "id"] => Some(NODE.into()),
        ["filter_state", key] => host.stream()?.filter_state.get(key.as_bytes()).cloned(),
        ["plugin_name"] => Some(host.plugin()?.name.clone().into_bytes()),
        ["plugin_root_id"] => Some(host.plugin()?.root_id.clone().into_bytes()),
        ["plugin_vm_id"] => Some(host.vm_id.clone().into_bytes()),
        ["connection_id"] => host.stream().map(|_| int(1)),
        [_] => host.stream()?.filter_state.get(&[b"wasm.", parts[0]].concat()).cloned(),
        _ => None,
    }
}

/// The node's id and cluster, and the name of the only cluster.
const NODE: &str = "scrim";
const CLUSTER: &str = "upstream";
const VIRTUAL_HOST: &str = "scrim";

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

fn xds(host: &Host, path: &[&str]) -> Option<Vec<u8>> {
    if let ["node", "id" | "cluster"] = *path {
        return Some(NODE.into());
    }
    host.stream()?;
    let world = &host.world;
    match *path {
        ["cluster_name"] => world.route().map(|_| CLUSTER.into()),
        ["route_name"] => world.route().map(|route| route.name.clone().into_bytes()),
        ["virtual_host_name"] => world.route().map(|_| VIRTUAL_HOST.into()),
        ["route_metadata", "filter_metadata", ref rest @ ..] => metadata(&world.route()?.metadata, rest),
        ["virtual_host_metadata", "filter_metadata", ref rest @ ..] => {
            world.route()?;
            metadata(&world.virtual_host_metadata, rest)
        }
        ["listener_direction"] => Some(int(0)),
        _ => None,
    }
}

fn metadata(metadata: &Metadata, path: &[&str]) -> Option<Vec<u8>> {
    match *path {
        [filter, key] => metadata.get(filter)?.get(key).map(|value| value.clone().into_bytes()),
        [filter] => Some(serialize_pairs(
            metadata
                .get(filter)?
                .iter()
                .map(|(key, value)| (key.as_bytes(), value.as_bytes())),
        )),
        _ => None,
    }
}

fn int(number: i64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}
