//! What the tests of places share.

use std::sync::Arc;

use super::super::*;
use crate::pseudonym::Pseudonymiser;
use crate::seal::Sealer;

/// The actions that let nothing of a value through.
pub(in super::super) const HIDING: [Action; 5] = [
    Action::Reject,
    Action::Strip,
    Action::Mask,
    Action::Tokenize,
    Action::Seal,
];

/// A policy with keys, the preset and the detectors of usual logs, which does `action` to everything.
pub(in super::super) fn policy(action: Action, edit: impl FnOnce(&mut Rules)) -> PhiPolicy {
    let entry = |detector: &Detector| DetectEntry {
        name: detector.code().to_owned(),
        pattern: None,
        action: None,
        except: Vec::new(),
    };
    let mut rules = Rules {
        preset: Some(Preset::FhirR4),
        on_query: action,
        on_path: Some(action),
        detect: [Detector::Ssn, Detector::Email, Detector::Phone, Detector::Mrn]
            .iter()
            .map(entry)
            .collect(),
        on_detect: action,
        on_body: action,
        strip_safe: vec!["*".to_owned()],
        ..Rules::default()
    };
    edit(&mut rules);
    PhiPolicy::new(rules, secrets()).ok().unwrap()
}

pub(in super::super) fn secrets() -> Secrets {
    Secrets {
        policy: "p".to_owned(),
        pseudonyms: Pseudonymiser::new(&[1; 32]).map(Arc::new),
        sealer: Sealer::new(&[2; 32]).map(Arc::new),
    }
}

pub(in super::super) fn token(value: &str) -> String {
    let key = secrets().pseudonyms.unwrap();
    key.pseudonym(value.as_bytes()).as_str().to_owned()
}

pub(in super::super) fn sealed(place: &[&str], value: &str) -> String {
    secrets()
        .sealer
        .unwrap()
        .seal(&[&["p"], place].concat(), value)
        .unwrap()
}

/// At `h`, where everything below `/fhir` opens under the policy `p`.
pub(in super::super) fn scene() -> Scene<'static> {
    Scene {
        year: Some(2026),
        authority: b"h",
        opens: &|target| target.path().starts_with("/fhir").then(|| "p".to_owned()),
    }
}

/// Decodes over and over and folds, as the most lenient reader would.
pub(in super::super) fn read_leniently(text: &str) -> String {
    let mut text = text.to_owned();
    for _ in 0..8 {
        let bytes: Vec<u8> = crate::url::decode_once_mapped(text.as_bytes(), true)
            .map(|(b, _)| b)
            .collect();
        text = String::from_utf8_lossy(&bytes).into_owned();
    }
    crate::url::fold(&text).to_lowercase()
}

/// One of many spellings of a text, chosen by `seed`.
pub(in super::super) fn spell(text: &str, mut seed: u64) -> String {
    let mut out = String::new();
    for c in text.chars() {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let wide = char::from_u32(u32::from(c).wrapping_add(0xfee0)).filter(|_| c.is_ascii_alphanumeric());
        let percent = |s: &str, times: usize| {
            let once: String = s.bytes().map(|b| format!("%{b:02X}")).collect();
            (1..times).fold(once, |s, _| s.replace('%', "%25"))
        };
        match seed >> 60 {
            0..=8 if c.is_ascii_alphanumeric() || c == '-' => out.push(c),
            9 => out.push_str(&percent(&c.to_string(), 2)),
            10 if wide.is_some() => out.push_str(&percent(&wide.unwrap_or(c).to_string(), 1)),
            11 if wide.is_some() => out.push(wide.unwrap_or(c)),
            _ => out.push_str(&percent(&c.to_string(), 1)),
        }
    }
    out
}
