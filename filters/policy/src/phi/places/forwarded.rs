//! `Forwarded` (RFC 7239).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::{PhiPolicy, Way};
use super::Line;
use super::params::{Cursor, Value};

/// Keeps the pairs that RFC 7239 defines, where they are well-formed and no detector finds anything in them. An address is what they are there for.
pub(super) fn judge(policy: &PhiPolicy, text: &str) -> Line {
    let mut cursor = Cursor::new(text);
    let (mut elements, mut pairs): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut dropped = false;
    loop {
        cursor.skip_space();
        if !cursor.is_at_end() && !matches!(cursor.peek(), Some(b';' | b',')) {
            let Some(param) = cursor.param() else {
                return Line::Remove;
            };
            let stays = param
                .value
                .as_ref()
                .is_some_and(|value| is_harmless(policy, param.name, value));
            match text.get(param.range) {
                Some(pair) if stays => pairs.push(pair),
                _ => dropped = true,
            }
            cursor.skip_space();
        }
        if cursor.take(b';') {
            continue;
        }
        let more = cursor.take(b',');
        if !more && !cursor.is_at_end() {
            return Line::Remove;
        }
        if !pairs.is_empty() {
            elements.push(pairs.join(";"));
            pairs.clear();
        }
        if !more {
            break;
        }
    }
    match (dropped, elements.is_empty()) {
        (false, _) => Line::Keep,
        (true, true) => Line::Remove,
        (true, false) => Line::Replace(elements.join(", ")),
    }
}

fn is_harmless(policy: &PhiPolicy, name: &str, value: &Value) -> bool {
    let text = value.text.as_str();
    let well_formed = match name.to_ascii_lowercase().as_str() {
        "for" | "by" => is_node(text),
        "host" => is_host(text),
        "proto" => {
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        }
        _ => false,
    };
    well_formed && !policy.finds_in_host(text, Way::Out)
}

/// A node (RFC 7239 6): an address, `unknown`, or a made-up name, with or without a port.
fn is_node(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => {
                return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            }
            _ => return false,
        },
        None => text
            .split_once(':')
            .map_or((text, None), |(name, port)| (name, Some(port))),
    };
    port.is_none_or(is_port)
        && (name.eq_ignore_ascii_case("unknown") || name.parse::<Ipv4Addr>().is_ok() || is_made_up(name))
}

fn is_port(text: &str) -> bool {
    is_made_up(text) || ((1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()))
}

fn is_made_up(text: &str) -> bool {
    text.strip_prefix('_').is_some_and(|rest| {
        !rest.is_empty()
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    })
}

/// A host with or without a port, as `Host` has it (RFC 9110 7.2).
pub(super) fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => text
            .split_at_checked(text.find(':').unwrap_or(text.len()))
            .unwrap_or((text, "")),
    };
    let named = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    let digits = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    named && (port.is_empty() || port.strip_prefix(':').is_some_and(digits))
}
