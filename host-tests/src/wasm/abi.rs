//! The numbers and encodings of the proxy-wasm ABI, versions 0.1.0, 0.2.0 and 0.2.1, as Envoy's host understands them.
//!
//! Source: <https://github.com/proxy-wasm/spec/tree/main/abi-versions>, and Envoy's host where the two differ.

/// A version of the ABI that Envoy 1.40 speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Abi {
    V0_1_0,
    V0_2_0,
    V0_2_1,
}

impl Abi {
    pub(crate) const ALL: [Abi; 3] = [Abi::V0_1_0, Abi::V0_2_0, Abi::V0_2_1];

    /// Such as `0.2.1`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Abi::V0_1_0 => "0.1.0",
            Abi::V0_2_0 => "0.2.0",
            Abi::V0_2_1 => "0.2.1",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Abi::ALL.into_iter().find(|abi| abi.name() == name)
    }

    /// Whether a function of module `env` is there for modules of this version; most are for all.
    pub(crate) fn has(self, function: &str) -> bool {
        match function {
            "proxy_get_log_level" => self == Abi::V0_2_1,
            "proxy_continue_stream" | "proxy_close_stream" => self != Abi::V0_1_0,
            "proxy_get_configuration"
            | "proxy_continue_request"
            | "proxy_continue_response"
            | "proxy_clear_route_cache" => self == Abi::V0_1_0,
            _ => true,
        }
    }
}

/// What a host call returns to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    /// What one of Envoy's libraries could not encode or decode.
    SerializationFailure = 3,
    ParseFailure = 4,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    InternalFailure = 10,
    BrokenConnection = 11,
    Unimplemented = 12,
}

/// Which of the two ways through the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Request,
    Response,
}

impl Way {
    /// The index of per-way state.
    pub(crate) fn at(self) -> usize {
        match self {
            Way::Request => 0,
            Way::Response => 1,
        }
    }

    /// The word that messages use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Request => "request",
            Way::Response => "response",
        }
    }
}

/// A header map that a guest may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapType {
    Headers(Way),
    Trailers(Way),
    GrpcInitialMetadata,
    GrpcTrailingMetadata,
    CallHeaders,
    CallTrailers,
}

impl MapType {
    pub(crate) fn from_abi(number: u32) -> Option<Self> {
        Some(match number {
            0 => MapType::Headers(Way::Request),
            1 => MapType::Trailers(Way::Request),
            2 => MapType::Headers(Way::Response),
            3 => MapType::Trailers(Way::Response),
            4 => MapType::GrpcInitialMetadata,
            5 => MapType::GrpcTrailingMetadata,
            6 => MapType::CallHeaders,
            7 => MapType::CallTrailers,
            _ => return None,
        })
    }
}

/// A buffer that a guest may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferType {
    Body(Way),
    Network(Way),
    CallBody,
    Grpc,
    VmConfiguration,
    PluginConfiguration,
    CallData,
}

impl BufferType {
    pub(crate) fn from_abi(number: u32) -> Option<Self> {
        Some(match number {
            0 => BufferType::Body(Way::Request),
            1 => BufferType::Body(Way::Response),
            2 => BufferType::Network(Way::Request),
            3 => BufferType::Network(Way::Response),
            4 => BufferType::CallBody,
            5 => BufferType::Grpc,
            6 => BufferType::VmConfiguration,
            7 => BufferType::PluginConfiguration,
            8 => BufferType::CallData,
            _ => return None,
        })
    }
}

/// What a headers callback asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadersStatus {
    Continue,
    StopIteration,
    StopAllAndBuffer,
    StopAllAndWatermark,
}

/// What a body callback asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataStatus {
    Continue,
    StopAndBuffer,
    StopAndWatermark,
    StopNoBuffer,
}

/// What a trailers callback asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrailersStatus {
    Continue,
    StopIteration,
}

/// Envoy's limits for a serialized map that a guest hands over; what is over them counts as an empty map.
const PAIRS_MAX_BYTES: usize = 1 << 20;
const PAIRS_MAX_COUNT: usize = 1024;

/// A header map as a guest reads it: count, sizes, then names and values, each with a NUL behind.
pub(crate) fn serialize_pairs<'a>(pairs: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((pairs.len() as u32).to_le_bytes());
    for (name, value) in pairs.clone() {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend(name);
        bytes.push(0);
        bytes.extend(value);
        bytes.push(0);
    }
    bytes
}

/// The reverse; what is malformed or over the limits is an empty map, as in Envoy.
pub(crate) fn parse_pairs(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    try_parse_pairs(bytes).unwrap_or_default()
}

fn try_parse_pairs(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    fn take<'a>(bytes: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
        let (head, tail) = bytes.split_at_checked(size)?;
        *bytes = tail;
        Some(head)
    }
    fn number(bytes: &mut &[u8]) -> Option<usize> {
        let four: [u8; 4] = take(bytes, 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(four)).ok()
    }
    if bytes.len() > PAIRS_MAX_BYTES {
        return None;
    }
    let mut rest = bytes;
    let count = number(&mut rest)?;
    if count > PAIRS_MAX_COUNT {
        return None;
    }
    let mut sizes = Vec::with_capacity(count);
    for _ in 0..count {
        sizes.push((number(&mut rest)?, number(&mut rest)?));
    }
    let mut pairs = Vec::with_capacity(count);
    for (name_size, value_size) in sizes {
        let name = take(&mut rest, name_size)?;
        if take(&mut rest, 1)? != [0] {
            return None;
        }
        let value = take(&mut rest, value_size)?;
        if take(&mut rest, 1)? != [0] {
            return None;
        }
        pairs.push((name.to_vec(), value.to_vec()));
    }
    rest.is_empty().then_some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serialize(pairs: &[(&str, &str)]) -> Vec<u8> {
        serialize_pairs(pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
    }

    #[test]
    fn pairs_come_back_as_they_went() {
        let bytes = serialize(&[("a", "1"), ("bc", ""), ("a", "2")]);
        let pairs = parse_pairs(&bytes);
        assert_eq!(pairs.len(), 3);
        assert_eq!(serialize_pairs(pairs.iter().map(|(n, v)| (&n[..], &v[..]))), bytes);
    }

    #[test]
    fn malformed_pairs_are_an_empty_map() {
        let good = serialize(&[("a", "1")]);
        for cut in 0..good.len() {
            assert_eq!(parse_pairs(&good[..cut]), vec![], "cut at {cut}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(parse_pairs(&longer), vec![]);
        let many: Vec<_> = (0..1025).map(|_| ("a", "b")).collect();
        assert_eq!(parse_pairs(&serialize(&many)), vec![]);
    }
}
