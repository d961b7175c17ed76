//! A FHIR bundle of synthetic patients, encounters and observations, always the same; made piece by piece, so that a long one needs no memory.

#![allow(dead_code, reason = "each example uses some of it")]

use std::fmt::Write as _;

const FAMILIES: [&str; 7] = [
    "Chalmers",
    "Nguyen",
    "O'Brien",
    "Müller",
    "García",
    "Okafor",
    "Sørensen",
];
const GIVEN: [&str; 6] = ["Peter", "Anh", "Zoë", "Chidi", "Ana", "Lærke"];
const CITIES: [&str; 5] = ["PleasantVille", "Erewhon", "Århus", "Logroño", "Springfield"];
const CODES: [(&str, &str, &str); 6] = [
    ("8867-4", "Heart rate", "/min"),
    ("8480-6", "Systolic blood pressure", "mm[Hg]"),
    ("8310-5", "Body temperature", "Cel"),
    ("29463-7", "Body weight", "kg"),
    ("2339-0", "Glucose [Mass/volume] in Blood", "mg/dL"),
    ("59408-5", "Oxygen saturation in Arterial blood by Pulse oximetry", "%"),
];

/// What stands before the first entry.
pub const HEAD: &str = r#"{"resourceType":"Bundle","id":"8d7f1e1a","meta":{"lastUpdated":"2026-02-11T08:30:00.123Z"},"type":"searchset","total":4711,"link":[{"relation":"self","url":"https://fhir.example.org/Patient?_count=50&_include=Observation"}],"entry":["#;
/// What stands behind the last.
pub const TAIL: &str = "]}";

/// An entry, without the comma before it.
pub fn entry(n: u32) -> String {
    let mixed = n.wrapping_mul(0x9e37_79b9);
    let pick = |words: &[&'static str], shift: u32| words[(mixed >> shift) as usize % words.len()];
    let (family, given, city) = (pick(&FAMILIES, 3), pick(&GIVEN, 7), pick(&CITIES, 11));
    let (year, month, day) = (1930 + mixed % 90, 1 + (mixed >> 5) % 12, 1 + (mixed >> 9) % 28);
    let ssn = format!(
        "{}-{}-{}",
        100 + mixed % 565,
        10 + (mixed >> 7) % 89,
        1000 + (mixed >> 13) % 8999
    );
    let (code, display, unit) = CODES[(mixed >> 15) as usize % CODES.len()];
    let mut out = String::new();
    let meta = format!(
        r#""meta":{{"versionId":"{}","lastUpdated":"2026-02-{day:02}T08:30:{:02}.{:03}Z"}}"#,
        1 + n % 7,
        mixed % 60,
        mixed % 1000
    );
    let coding = |system: &str, code: &str, display: &str| {
        format!(r#"{{"system":"{system}","code":"{code}","display":"{display}"}}"#)
    };
    let resource = match n % 3 {
        0 => {
            let div = format!(
                r#"<div xmlns=\"http://www.w3.org/1999/xhtml\"><table class=\"hapi\"><tbody>\n<tr><td>Name</td><td>{given} <b>{family}</b></td></tr>\n<tr><td>Identifier</td><td>{ssn}</td></tr>\n<tr><td>Date of birth</td><td>{year}-{month:02}-{day:02}</td></tr></tbody></table></div>"#
            );
            format!(
                r#"{{"resourceType":"Patient","id":"p{n}",{meta},"text":{{"status":"generated","div":"{div}"}},"identifier":[{{"use":"usual","type":{{"coding":[{}]}},"system":"http://hl7.org/fhir/sid/us-ssn","value":"{ssn}"}}],"active":true,"ssn":"{ssn}","name":[{{"use":"official","family":"{family}","given":["{given}","James"]}},{{"use":"usual","given":["Jim"]}}],"telecom":[{{"system":"phone","value":"+1 555 {:04}","use":"home","rank":1}},{{"system":"email","value":"p{n}@example.org"}}],"gender":"male","birthDate":"{year}-{month:02}-{day:02}","deceasedBoolean":false,"address":[{{"use":"home","line":["{} Erewhon St"],"city":"{city}","postalCode":"3{:03}","country":"AU"}}],"multipleBirthInteger":2}}"#,
                coding(
                    "http://terminology.hl7.org/CodeSystem/v2-0203",
                    "SS",
                    "Social Security number"
                ),
                mixed % 10_000,
                1 + mixed % 998,
                mixed % 1000,
            )
        }
        1 => format!(
            r#"{{"resourceType":"Encounter","id":"e{n}",{meta},"status":"finished","class":{},"type":[{{"coding":[{}],"text":"Encounter for check up"}}],"subject":{{"reference":"Patient/p{}","display":"{given} {family}"}},"participant":[{{"individual":{{"reference":"Practitioner/7","display":"Dr. Quinn"}}}}],"period":{{"start":"2026-02-{day:02}T08:00:00+01:00","end":"2026-02-{day:02}T08:25:00+01:00"}},"length":{{"value":25,"unit":"min","system":"http://unitsofmeasure.org","code":"min"}}}}"#,
            coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB", "ambulatory"),
            coding("http://snomed.info/sct", "185349003", "Encounter for check up"),
            n - 1,
        ),
        _ => format!(
            r#"{{"resourceType":"Observation","id":"o{n}",{meta},"status":"final","category":[{{"coding":[{}]}}],"code":{{"coding":[{}],"text":"{display}"}},"subject":{{"reference":"Patient/p{}"}},"encounter":{{"reference":"Encounter/e{}"}},"effectiveDateTime":"2026-02-{day:02}T08:12:00+01:00","issued":"2026-02-{day:02}T08:13:00.000+01:00","valueQuantity":{{"value":{}.{},"unit":"{unit}","system":"http://unitsofmeasure.org","code":"{unit}"}},"referenceRange":[{{"low":{{"value":{}}},"high":{{"value":{}}}}}],"note":null}}"#,
            coding(
                "http://terminology.hl7.org/CodeSystem/observation-category",
                "vital-signs",
                "Vital Signs"
            ),
            coding("http://loinc.org", code, display),
            n - 2,
            n - 1,
            36 + mixed % 90,
            mixed % 10,
            30 + mixed % 9,
            130 + mixed % 9,
        ),
    };
    let id = match n % 3 {
        0 => format!("Patient/p{n}"),
        1 => format!("Encounter/e{n}"),
        _ => format!("Observation/o{n}"),
    };
    // Writing into a string cannot fail.
    let _ = write!(
        out,
        r#"{{"fullUrl":"https://fhir.example.org/{id}","resource":{resource},"search":{{"mode":"match"}}}}"#
    );
    out
}

/// A bundle of about that many bytes, on one line.
pub fn compact(bytes: usize) -> String {
    let mut out = String::from(HEAD);
    for n in 0.. {
        if n > 0 {
            if out.len() >= bytes {
                break;
            }
            out.push(',');
        }
        out.push_str(&entry(n));
    }
    out.push_str(TAIL);
    out
}

/// JSON that is on one line, indented by two spaces as most servers do.
pub fn indented(compact: &str) -> String {
    let (mut out, mut depth, mut inside, mut escaped) = (String::new(), 0, false, false);
    for c in compact.chars() {
        if inside {
            inside = c != '"' || escaped;
            escaped = c == '\\' && !escaped;
            out.push(c);
            continue;
        }
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        };
        match c {
            '{' | '[' => {
                out.push(c);
                depth += 1;
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth -= 1;
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                inside = c == '"';
                out.push(c);
            }
        }
    }
    out
}
