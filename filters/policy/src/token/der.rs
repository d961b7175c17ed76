//! The little of DER (X.690) that keys and signatures need on their way to the host.

/// An element of at most 65,535 bytes, which is more than any key or signature here has.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let mut element = match (high, low) {
        (0, ..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    element.extend_from_slice(content);
    element
}

/// An unsigned big-endian number as INTEGER: as short as can be, and positive.
pub(super) fn unsigned(number: &[u8]) -> Vec<u8> {
    match without_leading_zeros(number) {
        short @ [0x80..=0xff, ..] => element(0x02, &[&[0], short].concat()),
        [] => element(0x02, &[0]),
        short => element(0x02, short),
    }
}

/// A SubjectPublicKeyInfo (RFC 5280 section 4.1) of an AlgorithmIdentifier that is DER already, and the key's own form.
pub(super) fn public_key_info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    element(0x30, &[algorithm, &element(0x03, &[&[0][..], key].concat())].concat())
}

/// The fixed-length `r || s` of JOSE (RFC 7518 section 3.4) as the `SEQUENCE {r, s}` (RFC 3279 section 2.2.3) that others take.
/// The length was checked before: an odd one would put the middle byte to `s`.
pub(super) fn ecdsa_signature(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at_checked(signature.len() / 2).unwrap_or_default();
    element(0x30, &[unsigned(r), unsigned(s)].concat())
}

/// A number's digits.
pub(super) fn without_leading_zeros(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_positive() {
        assert_eq!(unsigned(&[0, 0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(unsigned(&[0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0, 0]), [2, 1, 0]);
        assert_eq!(element(4, &[7; 200]).get(..4), Some(&[4, 0x81, 200, 7][..]));
        assert_eq!(element(4, &[7; 300]).get(..5), Some(&[4, 0x82, 1, 44, 7][..]));
    }

    #[test]
    fn signatures_of_both_curves() {
        for half in [32, 48] {
            let mut signature = vec![0; 2 * half];
            signature[0] = 0xff;
            signature[2 * half - 1] = 1;
            let der = ecdsa_signature(&signature);
            let r = u8::try_from(half).unwrap() + 1;
            assert_eq!(der.len(), 2 + 2 + half + 1 + 3);
            assert_eq!(der[..6], [0x30, r + 5, 2, r, 0, 0xff]);
            assert_eq!(der[der.len() - 3..], [2, 1, 1]);
        }
    }
}
