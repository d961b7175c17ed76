//! The messages of Envoy's foreign function `verify_signature`, as bytes in and bytes out; the call itself is the shell's.
//!
//! Protobuf, by hand: two messages with nine fields do not need a library (`source/extensions/common/wasm/ext/verify_signature.proto` in Envoy).

use super::HostVerdict;

/// The name to call it by.
pub const FUNCTION: &str = "verify_signature";

/// The request: the name of the hash ([`super::HostKind::hash`]), the public key as SubjectPublicKeyInfo DER, the signature (for ECDSA in DER), and the signed text.
#[must_use]
pub fn encode_request(hash: &str, spki_der: &[u8], signature: &[u8], text: &[u8]) -> Vec<u8> {
    let fields = [hash.as_bytes(), spki_der, signature, text];
    let size = fields
        .iter()
        .fold(0_usize, |sum, field| sum.saturating_add(field.len()).saturating_add(8));
    let mut message = Vec::with_capacity(size);
    for (tag, field) in [0x0a_u8, 0x12, 0x1a, 0x22].into_iter().zip(fields) {
        message.push(tag);
        push_varint(&mut message, field.len() as u64);
        message.extend_from_slice(field);
    }
    message
}

/// Reads the answer: `{1: bool result, 2: string error}`.
///
/// A result of false is [`HostVerdict::Invalid`]. An answer that is empty, has an unknown shape, or reports success together with an error counts as
/// [`HostVerdict::Unavailable`]: nothing was verified, so the guest does it.
#[must_use]
pub fn decode_response(answer: &[u8]) -> HostVerdict {
    if answer == [0x08, 0x01] {
        return HostVerdict::Valid;
    }
    match read_response(answer) {
        Some(Response {
            result: Some(true),
            error: false,
        }) => HostVerdict::Valid,
        Some(
            Response {
                result: Some(false), ..
            }
            | Response {
                result: None,
                error: true,
            },
        ) => HostVerdict::Invalid,
        _ => HostVerdict::Unavailable,
    }
}

struct Response {
    result: Option<bool>,
    error: bool,
}

fn read_response(mut rest: &[u8]) -> Option<Response> {
    let mut response = Response {
        result: None,
        error: false,
    };
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        match tag {
            0x08 => response.result = Some(take_varint(&mut rest)? != 0),
            0x12 => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                let (error, after) = rest.split_at_checked(length)?;
                response.error = !error.is_empty();
                rest = after;
            }
            _ => return None,
        }
    }
    Some(response)
}

fn push_varint(message: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push((value & 0x7f) as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_has_the_fields_in_order() {
        assert_eq!(
            encode_request("sha256", b"KEY", b"S", b""),
            b"\x0a\x06sha256\x12\x03KEY\x1a\x01S\x22\x00"
        );
    }

    #[test]
    fn lengths_above_127_take_two_bytes() {
        let message = encode_request("sha256", &[7; 300], b"", b"");
        assert_eq!(message.get(8..11), Some(&[0x12, 0xac, 0x02][..]));
        assert_eq!(message.len(), 8 + 3 + 300 + 2 + 2);
    }

    #[test]
    fn reads_answers() {
        assert_eq!(decode_response(b"\x08\x01"), HostVerdict::Valid);
        assert_eq!(decode_response(b"\x08\x01\x12\x00"), HostVerdict::Valid);
        assert_eq!(decode_response(b"\x08\x00\x12\x02no"), HostVerdict::Invalid);
        assert_eq!(decode_response(b"\x12\x02no"), HostVerdict::Invalid);
        assert_eq!(decode_response(b"\x08\x00"), HostVerdict::Invalid);
        for broken in [
            &b""[..],
            b"\x08",
            b"\x08\x01\x12\x02no",
            b"\x12\x05no",
            b"\x1a\x00",
            b"\x08\x01\x08",
            b"\x08\x80",
            b"1",
        ] {
            assert_eq!(decode_response(broken), HostVerdict::Unavailable, "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn only_a_plain_success_is_valid(answer in prop::collection::vec(any::<u8>(), 0..8)) {
            if decode_response(&answer) == HostVerdict::Valid {
                // Field 1, a varint, in any spelling that protobuf has for it.
                prop_assert_eq!(answer.first().map(|tag| tag & 0x7f), Some(8));
            }
        }
    }
}
