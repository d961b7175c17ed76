//! `compress` and `uncompress`: the zlib format (RFC 1950).

use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};

use crate::wasm::abi::Status;

/// zlib's default level. The bytes need not be Envoy's; what they uncompress to is.
const LEVEL: u8 = 6;

/// More can't be handed over: Envoy's limit for a VM's memory.
const MAX: usize = 1 << 30;

pub(super) fn compress(argument: &[u8]) -> Vec<u8> {
    compress_to_vec_zlib(argument, LEVEL)
}

/// What is no whole zlib stream is a SerializationFailure.
pub(super) fn uncompress(argument: &[u8]) -> Result<Vec<u8>, Status> {
    decompress_to_vec_zlib_with_limit(argument, MAX).map_err(|error| match error.status {
        TINFLStatus::HasMoreOutput => Status::InvalidMemoryAccess,
        _ => Status::SerializationFailure,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(bytes: Vec<u8>) {
            prop_assert_eq!(uncompress(&compress(&bytes)), Ok(bytes));
        }

        #[test]
        fn a_part_of_a_stream_is_refused(bytes: Vec<u8>, cut in 0_usize..100) {
            let whole = compress(&bytes);
            let part = &whole[..cut % whole.len()];
            prop_assert_eq!(uncompress(part), Err(Status::SerializationFailure));
        }
    }
}
