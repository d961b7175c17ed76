//! Foreign functions: what Envoy offers to guests beside the ABI.
//!
//! | name | here |
//! | --- | --- |
//! | `verify_signature`, `sign` | as in Envoy: RSA PKCS#1 v1.5, ECDSA over P-256 and P-384 with DER signatures |
//! | `compress`, `uncompress` | as in Envoy, but the compressed bytes may be others |
//! | `declare_property` | as in Envoy; a property of type protobuf or flatbuffers is read whole, and not into |
//! | `set_envoy_filter_state` | as in Envoy for the names that take text, numbers or truth; Unimplemented for other names of Envoy's |
//! | `clear_route_cache` | as in Envoy |
//! | `expr_create`, `expr_evaluate`, `expr_delete` | Unimplemented and a warning in the log: CEL is not evaluated here |
//! | any other name | NotFound |
//!
//! Envoy never answers Unimplemented, so nobody takes that for Envoy's answer.

mod property;
mod signature;
mod zlib;

pub use self::signature::verify_signature;
use super::abi::Status;
use super::calls::WARNING;
use super::host::Host;

/// Calls a function by name: its result, or the status that the host call returns.
pub(crate) fn call(host: &mut Host, name: &[u8], argument: &[u8]) -> Result<Vec<u8>, Status> {
    let nothing = |()| Vec::new();
    match name {
        b"verify_signature" => signature::verified(argument),
        b"sign" => signature::sign(argument),
        b"compress" => Ok(zlib::compress(argument)),
        b"uncompress" => zlib::uncompress(argument),
        b"declare_property" => property::declare(host, argument).map(nothing),
        b"set_envoy_filter_state" => property::set_filter_state(host, argument).map(nothing),
        b"clear_route_cache" => {
            if let Some(stream) = host.stream_mut() {
                stream.route_stale = true;
            }
            Ok(Vec::new())
        }
        b"expr_create" | b"expr_evaluate" | b"expr_delete" => {
            let name = String::from_utf8_lossy(name);
            let said = format!(
                "{name}: CEL expressions are not evaluated by this engine; try the module in a real Envoy (`--engine envoy`)"
            );
            host.world.log(WARNING, said.as_bytes());
            Err(Status::Unimplemented)
        }
        _ => Err(Status::NotFound),
    }
}

/// Whether Envoy 1.40 has a function of that name.
pub(crate) fn is_known(name: &[u8]) -> bool {
    NAMES.iter().any(|known| known.as_bytes() == name)
}

/// All ten.
const NAMES: [&str; 10] = [
    "clear_route_cache",
    "compress",
    "declare_property",
    "expr_create",
    "expr_delete",
    "expr_evaluate",
    "set_envoy_filter_state",
    "sign",
    "uncompress",
    "verify_signature",
];

/// The first five fields of a protobuf message; the last one of a number counts, unknown ones are passed over.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message<'a> {
    /// Texts and bytes; empty where there are none.
    bytes: [&'a [u8]; 5],
    /// Numbers; 0 where there are none.
    numbers: [u64; 5],
}

impl<'a> Message<'a> {
    /// None: no message.
    fn parse(message: &'a [u8]) -> Option<Self> {
        fn varint(bytes: &mut &[u8]) -> Option<u64> {
            let mut number = 0;
            for shift in (0..64).step_by(7) {
                let (&byte, rest) = bytes.split_first()?;
                *bytes = rest;
                number |= u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    return Some(number);
                }
            }
            None
        }
        let mut fields = Message::default();
        let mut rest = message;
        while !rest.is_empty() {
            let tag = varint(&mut rest)?;
            let at = usize::try_from(tag >> 3).ok()?.checked_sub(1)?;
            let size = match tag & 7 {
                0 => {
                    let number = varint(&mut rest)?;
                    if let Some(field) = fields.numbers.get_mut(at) {
                        *field = number;
                    }
                    continue;
                }
                1 => 8,
                2 => usize::try_from(varint(&mut rest)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (value, tail) = rest.split_at_checked(size)?;
            rest = tail;
            if let (2, Some(field)) = (tag & 7, fields.bytes.get_mut(at)) {
                *field = value;
            }
        }
        Some(fields)
    }
}

/// A field of text or bytes, for a message; field numbers up to 15.
pub(crate) fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut size = value.len();
    while size > 0x7f {
        bytes.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    bytes.push(size as u8);
    bytes.extend(value);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_parse_or_do_not(bytes: Vec<u8>) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn fields_come_back(first: Vec<u8>, fifth: Vec<u8>) {
            let message = [field(1, &first), vec![0x10, 7], field(5, &fifth), field(15, b"?")].concat();
            let parsed = Message::parse(&message).unwrap();
            prop_assert_eq!((parsed.bytes[0], parsed.numbers[1], parsed.bytes[4]), (&first[..], 7, &fifth[..]));
        }
    }
}
