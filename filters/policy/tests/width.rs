//! Numbers near and above 2^32 that others choose: what comes of them is the same where a size has 32 bits, as in the modules, and where it has 64.
//!
//! `.ci/run wasm32` runs this, and all other tests of the core, on wasm32.

use std::sync::Arc;

use scrim_policy::decode::{Caps, Codings, Decoder};
use scrim_policy::trim::{Limits, Program, Selector, Transform, Trimmer};

/// 2^32.
const ABOVE: u64 = 1 << 32;

/// So that a run that means to be of 32 bits is one.
#[test]
fn sizes_are_those_of_the_target() {
    assert_eq!(usize::BITS, if cfg!(target_family = "wasm") { 32 } else { 64 });
}

/// What is left of a body; none: the selector is refused, or too large to compile.
fn without(selector: &str, body: &str) -> Option<String> {
    let deny = vec![Selector::parse(selector).ok()?];
    let program = Program::new(deny, None, Vec::new()).ok()?;
    Some(trim(program, body).unwrap())
}

fn trim(program: Program, body: &str) -> Option<String> {
    let mut trimmer = Trimmer::new(Arc::new(program), None, Limits::default()).unwrap();
    let mut out = Vec::new();
    trimmer.push(body.as_bytes(), true, &mut out).ok()?;
    Some(String::from_utf8(out).unwrap())
}

#[test]
fn an_index_above_all_arrays_selects_nothing() {
    for index in [ABOVE - 1, ABOVE, ABOVE + 1, 2 * ABOVE, (1 << 53) - 1] {
        for selector in [
            format!("$[{index}]"),
            format!("$[{index}:]"),
            format!("$[{index}:{}]", index + 1),
        ] {
            let left = without(&selector, "[0,1,2]");
            assert!(
                left.as_deref().is_none_or(|left| left == "[0,1,2]"),
                "{selector}: {left:?}"
            );
        }
    }
}

#[test]
fn a_slice_up_to_above_all_arrays_selects_all_and_a_step_above_them_the_first() {
    for number in [ABOVE - 1, ABOVE, ABOVE + 1] {
        let left = without(&format!("$[1:{number}]"), "[0,1,2]");
        assert!(left.as_deref().is_none_or(|left| left == "[0]"), "{number}: {left:?}");
        let left = without(&format!("$[::{number}]"), "[0,1,2]");
        assert!(left.as_deref().is_none_or(|left| left == "[1,2]"), "{number}: {left:?}");
    }
}

#[test]
fn exponents_above_all_sizes_become_no_number_at_random() {
    for exponent in [
        format!("{}", ABOVE - 1),
        format!("{ABOVE}"),
        format!("{}", ABOVE + 1),
        "9".repeat(30),
    ] {
        for sign in ["", "-"] {
            let transforms = vec![(Selector::parse("$.n").unwrap(), Transform::Round)];
            let program = Program::new(Vec::new(), None, transforms).unwrap();
            let body = format!(r#"{{"n":15e{sign}{exponent}}}"#);
            let out = trim(program, &body);
            let harmless = [r#"{"n":"***"}"#, r#"{"n":0}"#];
            assert!(
                out.as_deref().is_none_or(|out| harmless.contains(&out)),
                "{body}: {out:?}"
            );
        }
    }
}

/// A frame of one segment whose header says a content of 2^32 + 1 bytes, and then one raw block of one byte: RFC 8878, 3.1.1.
#[test]
fn a_content_size_above_the_window_is_refused_and_does_not_wrap() {
    for size in [ABOVE, ABOVE + 1, u64::MAX] {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000];
        frame.extend(size.to_le_bytes());
        frame.extend([0b0000_1001, 0, 0, b'x']);
        let codings = Codings::parse([&b"zstd"[..]].into_iter()).unwrap();
        let caps = Caps {
            max_ratio: u32::MAX,
            max_size: u64::MAX,
            window: usize::MAX,
        };
        let mut decoder = Decoder::new(&codings, caps);
        let mut sink = |_: &[u8]| Ok::<(), ()>(());
        let outcome = decoder.push(&frame, true, &mut sink);
        assert!(outcome.is_err(), "{size}");
    }
}
