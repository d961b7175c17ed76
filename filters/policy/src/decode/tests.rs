//! The numbered rules, every coding under every cut, and what is broken in every place.

use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
use proptest::prelude::*;
use ruzstd::encoding::CompressionLevel;

use super::gzip::Crc32;
use super::*;

// --- helpers ---------------------------------------------------------------------------------------------------

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

const ANY: Caps = Caps {
    max_ratio: u32::MAX,
    max_size: u64::MAX,
    window: usize::MAX,
};

fn codings(text: &str) -> Codings {
    Codings::parse([text.as_bytes()].into_iter()).unwrap()
}

fn gzip_with(header: &[u8], text: &[u8]) -> Vec<u8> {
    let mut crc = Crc32::new();
    crc.update(text);
    let mut body = header.to_vec();
    body.extend(compress_to_vec(text, 6));
    body.extend(crc.value().to_le_bytes());
    body.extend((text.len() as u32).to_le_bytes());
    body
}

const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03";

fn encode(coding: Coding, text: &[u8]) -> Vec<u8> {
    match coding {
        Coding::Gzip => gzip_with(GZIP, text),
        Coding::Deflate => compress_to_vec_zlib(text, 6),
        Coding::Brotli => {
            let mut out = Vec::new();
            let params = ::brotli::enc::BrotliEncoderParams {
                quality: 5,
                lgwin: 16,
                ..Default::default()
            };
            ::brotli::BrotliCompress(&mut &*text, &mut out, &params).unwrap();
            out
        }
        Coding::Zstd => ruzstd::encoding::compress_to_vec(text, CompressionLevel::Fastest),
    }
}

fn decode_pieces<'a>(
    codings: &Codings,
    caps: Caps,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, Fault> {
    let mut decoder = Decoder::new(codings, caps);
    let mut out = Vec::new();
    let mut sink = |piece: &[u8]| {
        assert!(!piece.is_empty() && piece.len() <= PIECE);
        out.extend_from_slice(piece);
        Ok::<(), ()>(())
    };
    let mut push = |decoder: &mut Decoder, piece: &[u8], end| {
        decoder.push(piece, end, &mut sink).map_err(|error| match error {
            DecodeError::Body(fault) => fault,
            DecodeError::Sink(()) => panic!("the sink takes all"),
        })
    };
    for piece in pieces {
        if let Err(fault) = push(&mut decoder, piece, false) {
            assert_eq!(push(&mut decoder, b"", true), Err(fault), "a fault stays");
            return Err(fault);
        }
    }
    push(&mut decoder, b"", true)?;
    assert_eq!(push(&mut decoder, b"", true), Err(Fault::Over));
    Ok(out)
}

fn decode(coding: Coding, body: &[u8]) -> Result<Vec<u8>, Fault> {
    decode_pieces(&Codings(ArrayVec::from_iter([coding])), ANY, [body])
}

/// What must come out in one piece, byte by byte, and in every two pieces.
fn every_way(codings: &Codings, body: &[u8]) -> Result<Vec<u8>, Fault> {
    let whole = decode_pieces(codings, ANY, [body]);
    assert_eq!(decode_pieces(codings, ANY, body.chunks(1)), whole, "byte by byte");
    for at in 0..=body.len() {
        let (left, right) = body.split_at(at);
        assert_eq!(decode_pieces(codings, ANY, [left, right]), whole, "cut at {at}");
    }
    whole
}

fn texts() -> Vec<Vec<u8>> {
    let mut noise = 7u32;
    let mut random = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    };
    vec![
        Vec::new(),
        b"{}".to_vec(),
        include_bytes!("vectors/bundle.json")[..3000].to_vec(),
        vec![b' '; 70_000],
        (0..1000).map(|_| random()).collect(),
    ]
}

// --- rule 1 ----------------------------------------------------------------------------------------------------

#[test]
fn codings_are_read_as_a_list() {
    use Coding::*;
    for (lines, wanted) in [
        (vec![], Ok(vec![])),
        (vec!["identity"], Ok(vec![])),
        (vec!["GZip"], Ok(vec![Gzip])),
        (vec!["x-gzip"], Ok(vec![Gzip])),
        (vec!["deflate, br"], Ok(vec![Deflate, Brotli])),
        (vec!["zstd", " identity\t, gzip "], Ok(vec![Zstd, Gzip])),
        (vec![""], Err("content_encoding")),
        (vec!["gzip,"], Err("content_encoding")),
        (vec![",gzip"], Err("content_encoding")),
        (vec!["compress"], Err("content_encoding")),
        (vec!["gzip;q=1"], Err("content_encoding")),
        (vec!["aws-chunked"], Err("content_encoding")),
        (vec!["gzip gzip"], Err("content_encoding")),
        (vec!["gzip, gzip, gzip"], Err("content_encoding_list")),
        (vec!["gzip", "br", "zstd"], Err("content_encoding_list")),
    ] {
        let read = Codings::parse(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(read.map(|codings| codings.iter().collect()), wanted, "{lines:?}");
    }
    assert!(codings("identity, identity, identity").is_identity());
}

#[test]
fn the_last_coding_applied_is_the_first_undone() {
    let text = b"[1,2,3]";
    for first in ALL {
        for last in ALL {
            let body = encode(last, &encode(first, text));
            let both = Codings(ArrayVec::from([first, last]));
            assert_eq!(every_way(&both, &body).as_deref(), Ok(&text[..]), "{both:?}");
        }
    }
}

// --- rule 2 and the codings themselves -------------------------------------------------------------------------

#[test]
fn what_was_encoded_comes_out_under_every_cut() {
    for coding in ALL {
        for text in texts() {
            let out = every_way(&Codings(ArrayVec::from_iter([coding])), &encode(coding, &text));
            assert!(out.as_deref() == Ok(&text[..]), "{coding:?}");
        }
    }
    let identity = Codings::default();
    assert_eq!(every_way(&identity, b"{}").as_deref(), Ok(&b"{}"[..]));
    assert_eq!(every_way(&identity, b"").as_deref(), Ok(&b""[..]));
}

#[test]
fn what_the_reference_of_zstd_wrote_comes_out() {
    let wanted = include_bytes!("vectors/bundle.json");
    for body in [
        &include_bytes!("vectors/bundle-fast.zst")[..],
        include_bytes!("vectors/bundle-1.zst"),
        include_bytes!("vectors/bundle-22.zst"),
    ] {
        let out = every_way(&codings("zstd"), body);
        assert!(out.as_deref() == Ok(&wanted[..]));
    }
}

// --- rule 3 ----------------------------------------------------------------------------------------------------

#[test]
fn a_bomb_is_refused() {
    let zeros = vec![0; 4 << 20];
    let caps = Caps {
        max_ratio: 100,
        ..Caps::default()
    };
    for coding in ALL {
        let one = Codings(ArrayVec::from_iter([coding]));
        let body = encode(coding, &zeros);
        assert_eq!(decode_pieces(&one, caps, [&*body]), Err(Fault::Ratio), "{coding:?}");
        assert_eq!(
            decode_pieces(&one, caps, body.chunks(1)),
            Err(Fault::Ratio),
            "{coding:?}"
        );
        let small = Caps {
            max_size: 100_000,
            ..ANY
        };
        assert_eq!(decode_pieces(&one, small, [&*body]), Err(Fault::Size), "{coding:?}");
        let fits = Caps {
            max_size: zeros.len() as u64,
            ..ANY
        };
        assert!(decode_pieces(&one, fits, [&*body]).is_ok_and(|out| out == zeros));
        // The first bytes are free.
        let body = encode(coding, &zeros[..FREE as usize]);
        assert!(decode_pieces(&one, caps, [&*body]).is_ok(), "{coding:?}");
    }
}

#[test]
fn a_bomb_in_a_bomb_is_refused_though_little_comes_out() {
    // Members of no bytes: all of them together are nothing, and repeat so well that they take no room.
    let nothing = encode(Coding::Gzip, b"").repeat(100_000);
    let body = encode(Coding::Gzip, &nothing);
    let both = codings("gzip, gzip");
    assert_eq!(decode_pieces(&both, ANY, [&*body]).as_deref(), Ok(&b""[..]));
    let caps = Caps {
        max_ratio: 100,
        ..Caps::default()
    };
    assert_eq!(decode_pieces(&both, caps, [&*body]), Err(Fault::Ratio));
}

// --- rule 4 ----------------------------------------------------------------------------------------------------

#[test]
fn a_window_over_the_cap_is_refused() {
    let within = |window| Caps { window, ..ANY };
    // RFC 7932 9.1: 16 bits are one zero bit, 24 are 1111.
    let br = codings("br");
    assert_eq!(
        decode_pieces(&br, within(65_536), [&b"\x06"[..]]).as_deref(),
        Ok(&b""[..])
    );
    assert_eq!(decode_pieces(&br, within(65_535), [&b"\x06"[..]]), Err(Fault::Window));
    assert_eq!(
        decode_pieces(&br, within(1 << 24), [&b"\x3f"[..]]).as_deref(),
        Ok(&b""[..])
    );
    assert_eq!(decode_pieces(&br, within(1 << 23), [&b"\x3f"[..]]), Err(Fault::Window));
    assert_eq!(
        decode(Coding::Brotli, b"\x11\x1e\x03"),
        Err(Fault::Header),
        "a large window"
    );

    // A frame with a window of 8 MiB, and one of 9: the descriptor's low bits add eighths.
    let frame = |window| [&b"\x28\xb5\x2f\xfd\0"[..], &[window], b"\x01\0\0"].concat();
    assert_eq!(decode(Coding::Zstd, &frame(13 << 3)).as_deref(), Ok(&b""[..]));
    assert_eq!(decode(Coding::Zstd, &frame(13 << 3 | 1)), Err(Fault::Window));
    let zstd = codings("zstd");
    let small = frame(0);
    assert!(decode_pieces(&zstd, within(1024), [&*small]).is_ok());
    assert_eq!(decode_pieces(&zstd, within(1023), [&*small]), Err(Fault::Window));
    // A single segment is its own window.
    let single = |size: u32| [&b"\x28\xb5\x2f\xfd\xa0"[..], &size.to_le_bytes(), b"\x01\0\0"].concat();
    assert_eq!(decode(Coding::Zstd, &single((8 << 20) + 1)), Err(Fault::Window));
    assert_eq!(decode(Coding::Zstd, &single(8 << 20)), Err(Fault::Checksum));
}

#[test]
fn a_dictionary_is_refused() {
    assert_eq!(
        decode(Coding::Zstd, b"\x28\xb5\x2f\xfd\x01\0\x07\x01\0\0"),
        Err(Fault::Dictionary)
    );
    assert!(
        decode(Coding::Zstd, b"\x28\xb5\x2f\xfd\x01\0\0\x01\0\0").is_ok(),
        "the identifier 0 is none"
    );
    // FDICT, RFC 1950 2.2, with right check bits.
    assert!(decode(Coding::Deflate, b"\x78\xbb\0\0\0\x01\x03\0\0\0\0\x01").is_err());
}

// --- rule 5 ----------------------------------------------------------------------------------------------------

#[test]
fn an_early_end_is_refused_wherever_it_comes() {
    for coding in ALL {
        for text in [&b""[..], b"{}", include_bytes!("vectors/bundle.json")] {
            let body = encode(coding, text);
            for end in 0..body.len() {
                assert_eq!(
                    decode(coding, &body[..end]),
                    Err(Fault::Truncated),
                    "{coding:?} {end} of {}",
                    body.len()
                );
            }
        }
    }
}

#[test]
fn what_follows_the_end_is_refused() {
    for coding in ALL {
        let body = encode(coding, b"{}");
        for tail in [&b"\0"[..], b"\n", b"{}", b"\0\0\0\0\0\0\0\0"] {
            let body = [&body, tail].concat();
            let fault = every_way(&Codings(ArrayVec::from_iter([coding])), &body);
            match coding {
                // Less than a frame's magic number may become one.
                Coding::Zstd if tail.len() < 4 => assert_eq!(fault, Err(Fault::Truncated)),
                _ => assert_eq!(fault, Err(Fault::Trailing), "{coding:?}"),
            }
        }
        let twice = decode(coding, &body.repeat(2));
        match coding {
            Coding::Gzip | Coding::Zstd => assert_eq!(twice.as_deref(), Ok(&b"{}{}"[..])),
            _ => assert_eq!(twice, Err(Fault::Trailing)),
        }
    }
}

#[test]
fn skippable_frames_are_skipped_but_are_no_body() {
    let skip = b"\x5f\x2a\x4d\x18\x03\0\0\0abc";
    let none = b"\x50\x2a\x4d\x18\0\0\0\0";
    let frame = encode(Coding::Zstd, b"{}");
    let body = [skip, &frame[..], none, &frame, skip].concat();
    assert_eq!(every_way(&codings("zstd"), &body).as_deref(), Ok(&b"{}{}"[..]));
    assert_eq!(every_way(&codings("zstd"), skip), Err(Fault::Truncated));
    assert_eq!(
        every_way(&codings("zstd"), &[&frame[..], &skip[..9]].concat()),
        Err(Fault::Truncated)
    );
}

// --- rule 6 ----------------------------------------------------------------------------------------------------

#[test]
fn one_wrong_bit_is_found_where_there_is_a_checksum() {
    let text = b"{\"resourceType\":\"Patient\",\"id\":\"7\",\"active\":true,\"name\":[{\"family\":\"Chalmers\"}]}";
    let zstd = {
        // With a checksum of its content, which the encoder of the other tests does not write.
        let mut frame = b"\x28\xb5\x2f\xfd\x24".to_vec();
        frame.push(text.len() as u8);
        let header = (text.len() as u32) << 3 | 1;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend_from_slice(text);
        frame
    };
    assert_eq!(
        decode(Coding::Zstd, &[&zstd[..], b"\0\0\0\0"].concat()),
        Err(Fault::Checksum)
    );
    let bodies = [
        (Coding::Gzip, encode(Coding::Gzip, text)),
        (Coding::Deflate, encode(Coding::Deflate, text)),
        (Coding::Brotli, encode(Coding::Brotli, text)),
        (Coding::Zstd, encode(Coding::Zstd, text)),
        (Coding::Zstd, include_bytes!("vectors/bundle-22.zst").to_vec()),
    ];
    for (at, (coding, body)) in bodies.iter().enumerate() {
        let right = decode(*coding, body).unwrap();
        for bit in 0..body.len() * 8 {
            let mut wrong = body.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            match decode(*coding, &wrong) {
                // A time, a system, an unused bit.
                Ok(out) if at != 2 && at != 3 => assert!(out == right || bit < 32, "{coding:?} bit {bit}"),
                _ => {}
            }
        }
    }
}

#[test]
fn all_fields_of_a_gzip_header_are_read() {
    let with = |header: &[u8]| every_way(&codings("gzip"), &gzip_with(header, b"{}"));
    let right = Ok(b"{}".to_vec());
    assert_eq!(with(b"\x1f\x8b\x08\x01\0\0\0\0\0\x03"), right, "said to be text");
    assert_eq!(
        with(b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\x03\0abc"),
        right,
        "an extra field"
    );
    assert_eq!(with(b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\0\0"), right, "one of no bytes");
    assert_eq!(with(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03name\0"), right);
    assert_eq!(with(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03\0"), right, "an empty name");
    assert_eq!(with(b"\x1f\x8b\x08\x10\0\0\0\0\0\x03comment\0"), right);
    let all = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x01\0xname\0comment\0";
    let mut crc = Crc32::new();
    crc.update(all);
    let sum = (crc.value() as u16).to_le_bytes();
    assert_eq!(with(&[&all[..], &sum].concat()), right);
    assert_eq!(with(&[&all[..], &[sum[0], !sum[1]]].concat()), Err(Fault::Checksum));
    assert_eq!(
        with(b"\x1f\x8b\x08\x20\0\0\0\0\0\x03"),
        Err(Fault::Header),
        "a reserved flag"
    );
    assert_eq!(
        with(b"\x1f\x8b\x07\0\0\0\0\0\0\x03"),
        Err(Fault::Header),
        "another method"
    );

    let mut wrong = encode(Coding::Gzip, b"{}");
    let end = wrong.len();
    wrong[end - 4] ^= 1;
    assert_eq!(decode(Coding::Gzip, &wrong), Err(Fault::Checksum), "ISIZE");
    wrong[end - 4] ^= 1;
    wrong[end - 8] ^= 1;
    assert_eq!(decode(Coding::Gzip, &wrong), Err(Fault::Checksum), "CRC-32");
    let mut wrong = encode(Coding::Deflate, b"{}");
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(decode(Coding::Deflate, &wrong), Err(Fault::Checksum), "Adler-32");
}

#[test]
fn a_frame_has_the_size_it_says() {
    let frame = |size: u8| [&b"\x28\xb5\x2f\xfd\x20"[..], &[size], b"\x11\0\0{}"].concat();
    assert_eq!(decode(Coding::Zstd, &frame(2)).as_deref(), Ok(&b"{}"[..]));
    assert_eq!(decode(Coding::Zstd, &frame(3)), Err(Fault::Checksum));
    assert_eq!(
        decode(Coding::Zstd, &frame(1)),
        Err(Fault::Data),
        "more than its window"
    );
    assert_eq!(
        decode(Coding::Zstd, b"\x28\xb5\x2f\xfd\x28\x02\x11\0\0{}"),
        Err(Fault::Header),
        "a reserved bit"
    );
    assert_eq!(
        decode(Coding::Zstd, b"\x28\xb5\x2f\xfd\x20\x02\x17\0\0{}"),
        Err(Fault::Data),
        "a reserved kind of block"
    );
}

// --- rule 7 ----------------------------------------------------------------------------------------------------

#[test]
fn deflate_comes_with_its_wrapper_or_without() {
    for text in texts() {
        let out = every_way(&codings("deflate"), &compress_to_vec(&text, 6));
        assert!(out.as_deref() == Ok(&text[..]));
    }
    // The same bytes are no raw stream: what looks like a wrapper is one.
    assert!(decode(Coding::Deflate, b"\x78\x9c\x03\0").is_err());
}

// --- rule 8, and lies ------------------------------------------------------------------------------------------

#[test]
fn a_sink_that_fails_stops_all() {
    let mut decoder = Decoder::new(&codings("gzip"), ANY);
    let body = encode(Coding::Gzip, b"{}");
    assert_eq!(
        decoder.push(&body, true, &mut |_| Err("full")),
        Err(DecodeError::Sink("full"))
    );
    assert_eq!(
        decoder.push(b"", true, &mut |_| Err("full")),
        Err(DecodeError::Body(Fault::Over))
    );
}

#[test]
fn a_body_that_is_not_what_it_says_is_refused() {
    let json = include_bytes!("vectors/bundle.json");
    for said in ALL {
        for text in [&b"{}"[..], b"[]", b"null", b"\"a\"", json] {
            let out = decode(said, text);
            assert!(out.is_err(), "{said:?} {}", text.len());
        }
        for is in ALL.into_iter().filter(|is| *is != said) {
            assert!(decode(said, &encode(is, json)).is_err(), "{said:?} is {is:?}");
        }
    }
    // Coded, and said not to be: nothing is undone, and what comes out is no JSON.
    let body = encode(Coding::Gzip, json);
    let out = decode_pieces(&Codings::default(), ANY, [&*body]).unwrap();
    assert_eq!(out, body);
}

// --- any bytes -------------------------------------------------------------------------------------------------

fn coding() -> impl Strategy<Value = Coding> {
    prop::sample::select(&ALL[..])
}

/// Bytes that repeat themselves, as text does.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::collection::vec(b'a'..b'e', 0..20),
        prop::sample::select(&["\"resourceType\":\"Patient\",", "\"family\":", "2026-", "    "][..])
            .prop_map(|word| word.as_bytes().to_vec()),
    ];
    prop::collection::vec((word, 1..30usize), 0..60)
        .prop_map(|words| words.iter().flat_map(|(word, times)| word.repeat(*times)).collect())
}

fn cut(body: &[u8], cuts: &[prop::sample::Index]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    places.push(0);
    places.push(body.len());
    places.sort_unstable();
    places.windows(2).map(|pair| body[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #[test]
    fn any_text_comes_out_of_any_codings_and_cuts(
        text in text(),
        list in prop::collection::vec(coding(), 0..=2),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let body = list.iter().fold(text.clone(), |body, coding| encode(*coding, &body));
        let codings = Codings(ArrayVec::from_iter(list));
        let pieces = cut(&body, &cuts);
        let out = decode_pieces(&codings, ANY, pieces.iter().map(|piece| &**piece));
        prop_assert_eq!(out, Ok(text));
    }

    #[test]
    fn any_damage_gives_the_same_under_any_cuts(
        text in text(),
        coding in coding(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut body = encode(coding, &text);
        for (place, byte) in damage {
            let place = place.index(body.len());
            body[place] = byte;
        }
        // What grows without end is cut off alike.
        let caps = Caps { max_size: 1 << 20, ..ANY };
        let codings = Codings(ArrayVec::from_iter([coding]));
        let whole = decode_pieces(&codings, caps, [&*body]);
        let pieces = cut(&body, &cuts);
        let out = decode_pieces(&codings, caps, pieces.iter().map(|piece| &**piece));
        // Which fault is found first may depend on the cuts.
        prop_assert_eq!(out.ok(), whole.ok());
    }

    /// Another decoder of the same format does not read it differently.
    #[test]
    fn damaged_zstd_is_read_as_by_another_decoder(
        text in text(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        use std::io::Read;
        let mut body = encode(Coding::Zstd, &text);
        for (place, byte) in damage {
            let place = place.index(body.len());
            body[place] = byte;
        }
        if let Ok(ours) = decode(Coding::Zstd, &body) {
            let mut theirs = Vec::new();
            if let Ok(mut decoder) = ruzstd::decoding::StreamingDecoder::new(&body[..])
                && decoder.read_to_end(&mut theirs).is_ok()
                && decoder.into_frame_decoder().bytes_read_from_source() == body.len() as u64
            {
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
