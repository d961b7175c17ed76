//! `scrim inventory`: what is found in recordings, how it is marked, and that the draft is a policy without a value in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use scrim::inventory::{Field, Mark, Recorded};
use scrim::policy_file::PolicyFile;

/// Stands in every value, and in names that are data.
const CANARY: &str = "Zq7Canary";

fn folder(name: &str, files: &[(&str, String)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inventory").join(name);
    _ = fs::remove_dir_all(&folder);
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn patient() -> Value {
    json!({
        "id": CANARY, "resourceType": "Patient", "name": [{"family": CANARY, "given": [CANARY]}], "birthDate": CANARY, "gender": CANARY,
        "_birthDate": {"extension": [{"url": CANARY, "valueString": CANARY}]}, "managingOrganization": {"type": CANARY},
        "contained": [{"resourceType": "Observation", "id": CANARY, "status": CANARY, "valueString": CANARY}],
    })
}

fn har(contents: &[Value]) -> String {
    let entries: Vec<_> = contents
        .iter()
        .map(|content| json!({"request": {"url": format!("https://x/{CANARY}")}, "response": {"content": content}}))
        .collect();
    json!({"log": {"entries": entries}}).to_string()
}

/// All kinds of recordings.
fn recordings(name: &str) -> PathBuf {
    let bundle =
        json!({"resourceType": "Bundle", "type": CANARY, "entry": [{"fullUrl": CANARY, "resource": patient()}]});
    let other = json!({
        "rows": [{"unit": CANARY, "misc": "512-34-5678", "note": CANARY, "n": 1}],
        "by": {format!("{CANARY} 1"): {"count": 1}},
        "x-y": true,
    });
    let log = [
        json!({"mimeType": "application/json; charset=utf-8", "text": other.to_string()}),
        json!({"mimeType": "application/fhir+json", "encoding": "base64", "text": STANDARD.encode(patient().to_string())}),
        json!({"mimeType": "application/x-ndjson", "text": format!("{}\n\n{}\n", patient(), patient())}),
        json!({"mimeType": "text/html", "text": CANARY}),
        json!({"mimeType": "application/json"}),
    ];
    folder(
        name,
        &[
            ("bundle.json", bundle.to_string()),
            ("deep/export.ndjson", format!("{}\r\n{}", patient(), patient())),
            ("deep/session.har", har(&log)),
            ("readme.txt", CANARY.to_owned()),
        ],
    )
}

fn field(fields: &[Field], path: &str) -> Field {
    let found = fields.iter().find(|field| field.path == path);
    found.unwrap_or_else(|| panic!("{path} is not in {fields:#?}")).clone()
}

#[test]
fn fields_are_counted_and_marked() {
    let recorded = Recorded::read(&[recordings("marked")]);
    assert_eq!(
        (recorded.bodies, recorded.skipped.len()),
        (7, 0),
        "{:?}",
        recorded.skipped
    );
    let fields = recorded.fields();
    for (path, count, mark) in [
        ("Patient.name[].family", 6, Mark::Phi),
        ("Patient.birthDate", 6, Mark::Phi),
        ("Patient._birthDate.extension[].url", 6, Mark::Phi),
        ("Patient.id", 6, Mark::Sensitive),
        ("Patient.gender", 6, Mark::Sensitive),
        ("Patient.managingOrganization.type", 6, Mark::Other),
        ("Patient.contained[]", 6, Mark::Other),
        ("Observation.status", 6, Mark::Other),
        ("Observation.valueString", 6, Mark::Sensitive),
        ("Bundle.type", 1, Mark::Other),
        ("Bundle.entry[].resource", 1, Mark::Other),
        ("rows[].unit", 1, Mark::Other),
        ("rows[].note", 1, Mark::Sensitive),
        ("rows[].misc", 1, Mark::Phi),
        ("by.*.count", 1, Mark::Sensitive),
    ] {
        let field = field(&fields, path);
        assert_eq!((field.count, field.mark), (count, mark), "{path}");
        assert_eq!(field.detected, path == "rows[].misc", "{path}");
    }
    assert!(
        fields
            .iter()
            .all(|field| field.path != "Patient" && field.path != "Patient.name[]")
    );
}

#[test]
fn the_draft_is_a_policy_that_keeps_what_is_marked_other() {
    let recorded = Recorded::read(&[recordings("draft")]);
    let draft = recorded.draft();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inventory/draft.yaml");
    fs::write(&path, &draft).unwrap();
    let file = PolicyFile::read(&path).unwrap_or_else(|problems| panic!("{problems}\n{draft}"));
    // What a record's meaning hangs on is for the person to add, or to name under `unsafe`: `check` says which.
    let (_, problems) = file.check();
    let left = |message: &str| message.starts_with("this view removes");
    assert!(
        problems.problems().iter().all(|problem| left(&problem.message)),
        "{problems}\n{draft}"
    );
    let lines: Vec<_> = draft.lines().map(str::trim).collect();
    let line = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(line("- \"managingOrganization.type\""), 1, "{draft}");
    assert_eq!(line("- \"$['rows'][*]['unit']\""), 1, "{draft}");
    assert_eq!(line("# - \"name.family\""), 1, "{draft}");
    assert_eq!(line("# - \"$['rows'][*]['misc']\""), 1, "{draft}");
    assert_eq!(line("# - \"$['by'].*['count']\""), 1, "{draft}");
    let kept: Vec<_> = lines.iter().filter(|line| line.starts_with("- \"")).collect();
    assert!(
        !kept.is_empty() && kept.iter().all(|line| line.contains("# other;")),
        "{draft}"
    );
}

#[test]
fn a_draft_of_nothing_keeps_nothing() {
    let recorded = Recorded::read(&[folder("empty", &[("a.json", "[]".to_owned())])]);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("inventory/empty.yaml");
    fs::write(&path, recorded.draft()).unwrap();
    assert!(PolicyFile::read(&path).unwrap().check().0.is_some());
}

#[test]
fn the_command_shows_no_value_and_tells_what_it_passed_over() {
    let good = recordings("command");
    let bad = folder(
        "bad",
        &[
            ("broken.json", format!("{{\"{CANARY}\": {CANARY}")),
            (
                "page.har",
                har(&[json!({"mimeType": "application/fhir+xml", "text": CANARY})]),
            ),
            (
                "coded.har",
                har(&[json!({"mimeType": "application/json", "encoding": "base64", "text": format!("{CANARY}!")})]),
            ),
        ],
    );
    let run = |arguments: &[&Path]| {
        let output = Command::new(env!("CARGO_BIN_EXE_scrim"))
            .arg("inventory")
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = run(&[&good]);
    assert_eq!((code, &*err), (Some(0), ""));
    assert_eq!(out, Recorded::read(std::slice::from_ref(&good)).draft());
    assert!(!out.contains(CANARY) && !out.contains("512-34"), "{out}");

    let (code, out, err) = run(&[Path::new("--json"), &good, &bad]);
    assert_eq!(code, Some(1));
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (found["bodies"].as_u64(), found["skipped"].as_array().map(Vec::len)),
        (Some(7), Some(3))
    );
    assert!(
        found["fields"]
            .as_array()
            .unwrap()
            .iter()
            .any(|field| field["path"] == "Patient.birthDate" && field["mark"] == "PHI")
    );
    assert_eq!(err.lines().count(), 3, "{err}");
    for told in [
        "broken.json: not JSON",
        "page.har: response 1: not JSON",
        "coded.har: response 1: its text is not the base64",
    ] {
        assert!(err.contains(told), "{err}");
    }
    assert!(!out.contains(CANARY) && !err.contains(CANARY), "{out}{err}");

    let (code, _, err) = run(&[Path::new("/no/such/folder")]);
    assert_eq!(code, Some(1));
    assert!(err.contains("/no/such/folder"), "{err}");
}
