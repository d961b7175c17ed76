//! What may stand in the place of a value.

use std::fmt::Write as _;

/// What hides a value.
pub(super) const MASK: &[u8] = b"\"***\"";

/// Makes the keyed pseudonym of a value, so that equal values stay comparable without being shown.
pub type Pseudonymise = dyn Fn(&[u8]) -> String + Send + Sync;

/// Rewrites a string, unescaped, by the rewriter of that number; `None` where it stays as it is.
pub type Rewrite<'r> = dyn Fn(u8, &str) -> Option<String> + 'r;

/// Replaces a value by something that says less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// A date becomes its year: the first four characters, when they are digits; anything else is masked.
    Year,
    /// All but the last four characters become `***`; a value of four or fewer is masked.
    Last4,
    /// Any value, containers too, becomes `"***"`.
    Mask,
    /// A keyed pseudonym of the value.
    Tokenize,
    /// Any value, containers too, becomes `null`.
    Null,
    /// What the caller's rewriter of this number makes of a string; no policy file names it.
    Rewrite(u8),
}

impl Transform {
    /// Every transform under the name that it has in a policy file.
    pub const NAMES: [(&'static str, Transform); 5] = [
        ("year", Transform::Year),
        ("last4", Transform::Last4),
        ("mask", Transform::Mask),
        ("tokenize", Transform::Tokenize),
        ("null", Transform::Null),
    ];

    /// The transform that a policy file calls `name`.
    pub fn from_name(name: &str) -> Option<Transform> {
        Transform::NAMES
            .into_iter()
            .find(|(own, _)| *own == name)
            .map(|(_, transform)| transform)
    }

    /// What stands for a value that starts with `first`, if that says enough already. `Err(())` when the whole scalar
    /// is needed.
    pub(super) fn at_once(self, first: u8) -> Result<&'static [u8], ()> {
        match (self, first) {
            (Transform::Mask, _) => Ok(MASK),
            (Transform::Null, _) | (_, b'n') => Ok(b"null"),
            (Transform::Rewrite(_), b'-' | b'0'..=b'9') => Ok(MASK),
            (_, b'"' | b'-' | b'0'..=b'9') => Err(()),
            _ => Ok(MASK),
        }
    }

    /// Writes what stands for `raw`, a whole string with its quotes or a whole number.
    pub(super) fn apply(self, raw: &[u8], tokens: Option<&Pseudonymise>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
        let value = match raw {
            [b'"', inner @ .., b'"'] => {
                unescape(inner, scratch);
                scratch.as_slice()
            }
            number => number,
        };
        let shown = match self {
            Transform::Year => match value {
                // FHIR dates go on with a dash or end; nine bare digits are no date but may be an SSN.
                [a, b, c, d, rest @ ..]
                    if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()) && matches!(rest, [] | [b'-', ..]) =>
                {
                    String::from_utf8_lossy(&[*a, *b, *c, *d]).into_owned()
                }
                _ => String::from("***"),
            },
            Transform::Last4 => {
                let text = String::from_utf8_lossy(value);
                let mut ends = text.char_indices().rev().map(|(at, _)| at).skip(3);
                match (ends.next(), ends.next()) {
                    (Some(from), Some(_)) => format!("***{}", text.get(from..).unwrap_or_default()),
                    _ => String::from("***"),
                }
            }
            Transform::Tokenize => tokens.map_or_else(|| String::from("***"), |tokens| tokens(value)),
            Transform::Null => return out.extend_from_slice(b"null"),
            Transform::Mask | Transform::Rewrite(_) => String::from("***"),
        };
        write_string(&shown, out);
    }
}

/// Writes what a rewriter makes of `raw`, a whole string with its quotes; false where it stays as it is.
pub(super) fn rewrite(
    raw: &[u8],
    rewriter: impl FnOnce(&str) -> Option<String>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> bool {
    let [b'"', inner @ .., b'"'] = raw else {
        out.extend_from_slice(MASK);
        return true;
    };
    unescape(inner, scratch);
    // What was scanned is UTF-8, and so are its escapes.
    let Ok(text) = std::str::from_utf8(scratch) else {
        out.extend_from_slice(MASK);
        return true;
    };
    match rewriter(text) {
        None => {
            out.extend_from_slice(raw);
            false
        }
        Some(new) => {
            write_string(&new, out);
            true
        }
    }
}

/// Undoes the escapes of a valid JSON string without its quotes.
pub(super) fn unescape(raw: &[u8], into: &mut Vec<u8>) {
    into.clear();
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            into.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'b') => into.push(8),
            Some(b'f') => into.push(12),
            Some(b'n') => into.push(b'\n'),
            Some(b'r') => into.push(b'\r'),
            Some(b't') => into.push(b'\t'),
            Some(b'u') => {
                let mut code = hex(&mut bytes);
                if (0xd800..0xdc00).contains(&code) {
                    bytes.by_ref().take(2).for_each(drop);
                    code = 0x1_0000u32.wrapping_add(((code & 0x3ff) << 10) | (hex(&mut bytes) & 0x3ff));
                }
                let mut buffer = [0; 4];
                let found = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                into.extend_from_slice(found.encode_utf8(&mut buffer).as_bytes());
            }
            Some(same) => into.push(same),
            None => {}
        }
    }
}

fn hex(bytes: &mut impl Iterator<Item = u8>) -> u32 {
    bytes.take(4).fold(0, |value, digit| {
        (value << 4) | char::from(digit).to_digit(16).unwrap_or_default()
    })
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for found in text.chars() {
        match found {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\0'..='\u{1f}' => {
                let mut escape = String::new();
                // Writing into a string cannot fail.
                let _ = write!(escape, "\\u{:04x}", u32::from(found));
                out.extend_from_slice(escape.as_bytes());
            }
            other => {
                let mut buffer = [0; 4];
                out.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes());
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(transform: Transform, raw: &str) -> String {
        let tokens = |value: &[u8]| format!("<{}>", String::from_utf8_lossy(value));
        let mut out = Vec::new();
        transform.apply(raw.as_bytes(), Some(&tokens), &mut Vec::new(), &mut out);
        let out = String::from_utf8(out).expect("UTF-8");
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok(), "{out}");
        out
    }

    #[test]
    fn rule_9_year_keeps_four_digits_or_nothing() {
        for (raw, shown) in [
            (r#""1974-12-25""#, r#""1974""#),
            (r#""1974-12-25T14:35:45-05:00""#, r#""1974""#),
            (r#""1974""#, r#""1974""#),
            (r#""\u00319\u00374-12""#, r#""1974""#),
            (r#""974-12""#, r#""***""#),
            (r#""25.12.1974""#, r#""***""#),
            (r#""""#, r#""***""#),
            (r#"" 1974""#, r#""***""#),
            (r#""١٩٧٤""#, r#""***""#),
            (r#""123456789""#, r#""***""#),
            (r#""19741225""#, r#""***""#),
            ("19741225", r#""***""#),
            ("1974", r#""1974""#),
            ("1974.5", r#""***""#),
            ("-1974", r#""***""#),
            ("974", r#""***""#),
        ] {
            assert_eq!(applied(Transform::Year, raw), shown, "{raw}");
        }
    }

    #[test]
    fn rule_9_last4_counts_characters_after_unescaping() {
        for (raw, shown) in [
            (r#""123-45-6789""#, r#""***6789""#),
            (r#""12345""#, r#""***2345""#),
            (r#""1234""#, r#""***""#),
            (r#""""#, r#""***""#),
            (r#""\u0031\u0032\u0033\u0034""#, r#""***""#),
            (r#""éééé""#, r#""***""#),
            (r#""aéééé""#, r#""***éééé""#),
            (r#""a😀😀\ud83d\ude00😀""#, r#""***😀😀😀😀""#),
            (r#""abc\"\\\n\u0001""#, r#""***\"\\\u000a\u0001""#),
            ("123456789", r#""***6789""#),
            ("1.10", r#""***""#),
        ] {
            assert_eq!(applied(Transform::Last4, raw), shown, "{raw}");
        }
    }

    #[test]
    fn tokenize_sees_the_plain_value() {
        assert_eq!(applied(Transform::Tokenize, r#""\u0061\/b""#), r#""<a/b>""#);
        assert_eq!(applied(Transform::Tokenize, r#""a\"b""#), r#""<a\"b>""#);
        assert_eq!(applied(Transform::Tokenize, "1.10"), r#""<1.10>""#);
        let mut out = Vec::new();
        Transform::Tokenize.apply(b"\"a\"", None, &mut Vec::new(), &mut out);
        assert_eq!(out, MASK);
    }

    #[test]
    fn names_are_those_of_the_policy_file() {
        assert_eq!(Transform::from_name("last4"), Some(Transform::Last4));
        assert_eq!(Transform::from_name("Last4"), None);
    }
}
