//! The numbered rules, and every body under every cut.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::trim::{Fault as JsonFault, Limits, Program, Selector, Transform};

// --- helpers ---------------------------------------------------------------------------------------------------

/// Without `ssn`, and of `date` the year.
fn program() -> Arc<Program> {
    let deny = vec![Selector::parse("$..ssn").unwrap()];
    let year = vec![(Selector::parse("$.date").unwrap(), Transform::Year)];
    Arc::new(Program::new(deny, None, year).unwrap())
}

type Outcome = Result<(Vec<u8>, Counts), FrameError>;

fn run<'a>(framing: Framing, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let program = program();
    let mut open = || Trimmer::new(Arc::clone(&program), None, Limits::default()).ok();
    let mut splitter = Splitter::new(framing);
    let mut out = Vec::new();
    let mut push = |splitter: &mut Splitter, piece: &[u8], end| {
        let before = out.len();
        let pushed = splitter.push(&mut open, piece, end, &mut out);
        if let Err(error) = pushed {
            assert_eq!(out.len(), before, "a failed call appends nothing");
            assert_eq!(
                splitter.push(&mut open, b"", true, &mut out),
                Err(error),
                "a failure stays"
            );
        }
        pushed
    };
    for piece in pieces {
        push(&mut splitter, piece, false)?;
    }
    push(&mut splitter, b"", true)?;
    Ok((out, splitter.counts()))
}

/// The outcome, which must be the same in one piece, byte by byte, and in every two pieces.
fn every_way(framing: Framing, body: &[u8]) -> Outcome {
    let whole = run(framing, [body]);
    assert_eq!(
        run(framing, body.chunks(1)),
        whole,
        "byte by byte: {}",
        body.escape_ascii()
    );
    for at in 0..=body.len() {
        let (left, right) = body.split_at(at);
        assert_eq!(
            run(framing, [left, right]),
            whole,
            "cut at {at}: {}",
            body.escape_ascii()
        );
    }
    whole
}

fn check(framing: Framing, body: &str, wanted: &str) {
    let (out, _) = every_way(framing, body.as_bytes()).unwrap_or_else(|error| panic!("{body:?}: {error}"));
    assert_eq!(String::from_utf8_lossy(&out), wanted, "{body:?}");
}

fn refused(framing: Framing, body: &str, fault: Fault) {
    assert_eq!(
        every_way(framing, body.as_bytes()),
        Err(FrameError::Framing(fault)),
        "{body:?}"
    );
}

fn bad_record(framing: Framing, body: &str, fault: JsonFault) {
    match every_way(framing, body.as_bytes()) {
        Err(FrameError::Record(error)) => assert_eq!(error.fault(), fault, "{body:?}"),
        other => panic!("{body:?}: {other:?}"),
    }
}

// --- rule 3: lines ---------------------------------------------------------------------------------------------

#[test]
fn each_line_is_a_record() {
    use Framing::Lines;
    check(Lines, "", "");
    check(Lines, "\n\r\n \t\n", "");
    check(Lines, "{\"ssn\":1}\n{\"a\":2}\n", "{}\n{\"a\":2}\n");
    check(Lines, "{\"ssn\":1}\n{\"a\":2}", "{}\n{\"a\":2}\n");
    check(Lines, "\n\n {\"a\":1} \r\n\t\r\n[1]\r\n\n", "{\"a\":1}\n[1]\n");
    check(Lines, "1\n\"\\n\"\nnull\n", "1\n\"\\n\"\nnull\n");
    check(Lines, "{\"date\":\"2026-01-02\"}\n", "{\"date\":\"2026\"}\n");
    bad_record(Lines, "{\"a\":\n1}\n", JsonFault::Truncated);
    bad_record(Lines, "{} {}\n", JsonFault::Trailing);
    bad_record(Lines, "{\"a\":1}\n{\"a\"", JsonFault::Truncated);
    bad_record(Lines, "{}\nerror\n", JsonFault::Value);
    bad_record(Lines, "\u{feff}{}\n", JsonFault::Bom);
    bad_record(Lines, "\"a\nb\"\n", JsonFault::Truncated);
    refused(Lines, "{}\r{}\n", Fault::StrayCr);
    refused(Lines, "{\"a\":\r1}\n", Fault::StrayCr);
    refused(Lines, "{}\r", Fault::StrayCr);
    refused(Lines, "{}\r\r\n", Fault::StrayCr);
}

#[test]
fn counts_are_those_of_all_records() {
    let body = b"{\"ssn\":1,\"date\":\"2026-01\"}\n{}\n{\"ssn\":1,\"x\":{\"ssn\":[]}}\n";
    let (_, counts) = every_way(Framing::Lines, body).unwrap();
    assert_eq!((counts.removed, counts.transformed), (3, 1));
    // Those of a record that is still open, too.
    let program = program();
    let mut splitter = Splitter::new(Framing::Lines);
    let mut open = || Trimmer::new(Arc::clone(&program), None, Limits::default()).ok();
    splitter
        .push(&mut open, b"{\"ssn\":1}\n{\"ssn\":1,", false, &mut Vec::new())
        .unwrap();
    assert_eq!(splitter.counts().removed, 2);
}

// --- rule 4: sequences -----------------------------------------------------------------------------------------

#[test]
fn each_text_of_a_sequence_is_a_record() {
    use Framing::Sequence;
    check(Sequence, "", "");
    check(Sequence, "\x1e{\"ssn\":1}\n\x1e[1]\n", "\x1e{}\n\x1e[1]\n");
    check(Sequence, "\x1e\x1e{}\n\x1e\x1e\x1e1\n", "\x1e{}\n\x1e1\n");
    check(Sequence, "\x1e{\n\"ssn\":\n1}\r\n", "\x1e{}\n");
    check(Sequence, "\x1e{}\n\n", "\x1e{}\n");
    refused(Sequence, "{}\n", Fault::Outside);
    refused(Sequence, "\n\x1e{}\n", Fault::Outside);
    refused(Sequence, "\u{feff}\x1e{}\n", Fault::Outside);
    refused(Sequence, "\x1e{}", Fault::Unterminated);
    refused(Sequence, "\x1e{}\x1e{}\n", Fault::Unterminated);
    refused(Sequence, "\x1e12", Fault::Unterminated);
    refused(Sequence, "\x1e{}\n ", Fault::Unterminated);
    refused(Sequence, "\x1e", Fault::Empty);
    refused(Sequence, "\x1e{}\n\x1e\x1e", Fault::Empty);
    bad_record(Sequence, "\x1e\n\x1e{}\n", JsonFault::Empty);
    bad_record(Sequence, "\x1e{\"a\":1\n\x1e{}\n", JsonFault::Truncated);
    bad_record(Sequence, "\x1e{}\n{}\n", JsonFault::Trailing);
    bad_record(Sequence, "\x1e{\"a\":\"\n\x1e{}\n", JsonFault::Control);
}

// --- rule 5: events --------------------------------------------------------------------------------------------

#[test]
fn the_data_of_each_event_is_a_record() {
    use Framing::Events;
    check(Events, "", "");
    check(Events, "data: {\"ssn\":1}\n\n", "data: {}\n\n");
    check(
        Events,
        "data:{\"ssn\":1}\r\rdata:  1\r\n\r\n",
        "data: {}\n\ndata: 1\n\n",
    );
    check(
        Events,
        "event: vitals\ndata: [1]\nid: 7:a_b.c-d\nretry: 3000\n\n",
        "data: [1]\nevent: vitals\nid: 7:a_b.c-d\nretry: 3000\n\n",
    );
    check(Events, "data: {\ndata: \"ssn\": 1\ndata: }\n\n", "data: {}\n\n");
    check(Events, "data: [\ndata\ndata: ]\n\n", "data: []\n\n");
    check(Events, "\n\n\n", "");
    check(Events, "id\nevent:x\n\n", "event: x\nid: \n\n");
    check(Events, "id: 1\nid: 2\nid: 3\n\n", "id: 3\n\n");
}

#[test]
fn a_line_break_in_a_record_that_stays_whole_begins_one_more_line() {
    let program = Arc::new(Program::new(Vec::new(), None, Vec::new()).unwrap());
    let mut open = || Trimmer::new(Arc::clone(&program), None, Limits::default()).ok();
    let mut out = Vec::new();
    let mut splitter = Splitter::new(Framing::Events);
    let body = b"data: {\"a\":\ndata:  1}\rdata: \r\n\n";
    for byte in body.chunks(1) {
        splitter.push(&mut open, byte, false, &mut out).unwrap();
    }
    splitter.push(&mut open, b"", true, &mut out).unwrap();
    assert_eq!(String::from_utf8_lossy(&out), "data: {\"a\":\ndata:  1}\n\n");
}

#[test]
fn what_else_an_event_holds_is_dropped() {
    use Framing::Events;
    check(Events, ": 000-12-3456\n\n:\ndata: 1\n\n", "data: 1\n\n");
    check(
        Events,
        "name: Chalmers\ndata: 1\nnote\ndatas: 2\nDATA: 3\n data: 4\n\n",
        "data: 1\n\n",
    );
    check(
        Events,
        "event: Peter Chalmers\nid: a/b\nretry: soon\ndata: 1\n\n",
        "data: 1\n\n",
    );
    check(Events, "id: 1\nid: a b\ndata: 1\n\n", "data: 1\n\n");
    check(Events, "retry: 1234567890\nretry:\nid: \u{e9}\n\n", "");
    let long = "x".repeat(64);
    check(Events, &format!("id: {long}\n\n"), &format!("id: {long}\n\n"));
    check(Events, &format!("id: {long}x\n\n"), "");
    // The next event does not inherit.
    check(Events, "event: a\n\ndata: 1\n\n", "event: a\n\ndata: 1\n\n");
    check(Events, "data: 1\n\nid: 2\nevent: unfinished\n", "data: 1\n\n");
}

#[test]
fn an_event_that_is_no_json_or_is_cut_off_is_refused() {
    use Framing::Events;
    bad_record(Events, "data: [DONE]\n\n", JsonFault::Value);
    bad_record(Events, "data\n\n", JsonFault::Empty);
    bad_record(Events, "data: {}\ndata: {}\n\n", JsonFault::Trailing);
    bad_record(Events, "data: \"a\ndata: b\"\n\n", JsonFault::Control);
    bad_record(Events, "data: {\n\ndata: }\n\n", JsonFault::Truncated);
    refused(Events, "data: {}", Fault::Unterminated);
    refused(Events, "data: {}\n", Fault::Unterminated);
    refused(Events, "data: {}\n\nid: 7", Fault::Unterminated);
    refused(Events, "\u{feff}data: {}\n\n", Fault::Bom);
}

#[test]
fn without_a_trimmer_nothing_comes_out() {
    for (framing, body) in [
        (Framing::Lines, &b"{}\n"[..]),
        (Framing::Sequence, b"\x1e{}\n"),
        (Framing::Events, b"data: {}\n\n"),
    ] {
        let mut out = Vec::new();
        let error = Splitter::new(framing).push(&mut || None, body, true, &mut out);
        assert_eq!(error, Err(FrameError::Framing(Fault::NoTrimmer)));
        assert!(out.is_empty());
    }
}

// --- any records -----------------------------------------------------------------------------------------------

fn record() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
        "[a-z\\\\n\u{e9} ]{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((prop::sample::select(&["ssn", "date", "a"][..]), inner), 0..4).prop_map(|members| {
                let members: Vec<_> = members
                    .iter()
                    .map(|(name, value)| format!("\"{name}\" : {value}"))
                    .collect();
                format!("{{{}}}", members.join(" ,"))
            }),
        ]
    })
}

fn frame(framing: Framing, records: &[String]) -> String {
    let frame = |record: &String| match framing {
        Framing::Lines => format!("{record}\n"),
        Framing::Sequence => format!("\x1e{record}\n"),
        Framing::Events => format!("data: {record}\n\n"),
    };
    records.iter().map(frame).collect()
}

fn framing() -> impl Strategy<Value = Framing> {
    prop::sample::select(&[Framing::Lines, Framing::Sequence, Framing::Events][..])
}

proptest! {
    #[test]
    fn records_come_out_as_each_does_by_itself(
        framing in framing(),
        records in prop::collection::vec(record(), 0..5),
    ) {
        let program = program();
        let trimmed: Vec<String> = records
            .iter()
            .map(|record| {
                let mut out = Vec::new();
                let mut trimmer = Trimmer::new(Arc::clone(&program), None, Limits::default()).unwrap();
                trimmer.push(record.as_bytes(), true, &mut out).unwrap();
                String::from_utf8(out).unwrap()
            })
            .collect();
        let (out, _) = every_way(framing, frame(framing, &records).as_bytes()).unwrap();
        prop_assert_eq!(String::from_utf8(out).unwrap(), frame(framing, &trimmed));
    }

    #[test]
    fn damaged_bodies_give_the_same_under_every_cut(
        framing in framing(),
        records in prop::collection::vec(record(), 0..3),
        damage in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(&b"\n\r\x1e :{}\"dataid,1\xef\\"[..])),
            1..4,
        ),
    ) {
        let mut body = frame(framing, &records).into_bytes();
        for (place, byte) in damage {
            body.insert(place.index(body.len() + 1), byte);
        }
        let outcome = every_way(framing, &body);
        // What comes out is framed, and goes through again as it is.
        if let Ok((out, _)) = outcome {
            prop_assert_eq!(run(framing, [&*out]).map(|(again, _)| again), Ok(out));
        }
    }

    #[test]
    fn any_bytes_give_the_same_under_every_cut(
        framing in framing(),
        body in prop::collection::vec(prop::sample::select(&b"\n\n\r\x1e :{}[]\"dateid,1\xef"[..]), 0..40),
    ) {
        let _ = every_way(framing, &body);
    }
}
