//! Patterns of a policy's own, by which it finds what no recogniser knows.
//!
//! The syntax is that of `regex-lite`: that of the `regex` crate without Unicode classes. `\d`, `\w`, `\s` and `\b` mean ASCII, `(?i)` folds the case of
//! ASCII letters, `.` is any character but a line's end; there is neither look-around nor a back-reference. Patterns read decoded text, folded to ASCII
//! where that is possible (full-width digits are digits), one parameter's name or value or one path segment at a time: `^` and `$` are its ends.
//!
//! It is this crate for its weight: over a module without patterns, the phi-url module grows by 0.15 MB with it, by 0.37 MB with `regex-automata`'s PikeVM
//! alone, and by 0.46 MB with `regex` without Unicode and without its faster engines. It is slower than those by a factor of some tens; what a pattern
//! certainly needs (digits, and the longest text without alternatives) is looked for first, so that most pieces are never matched.
//!
//! Matching is linear in the text times the pattern: compiled patterns are capped at [`MAX_COMPILED`] bytes, their sources at [`MAX_LENGTH`], their number
//! at [`MAX_PATTERNS`]. After [`MAX_MATCHES`] in one text the rest of it counts as found, since each search may read all that is left.

use regex_lite::{Regex, RegexBuilder};

use super::detect::{Finder, Hit};
use super::rules::{DetectEntry, RulesError};

/// The longest source of a pattern, in bytes.
pub(super) const MAX_LENGTH: usize = 512;

/// The most bytes that a pattern may take once compiled.
pub(super) const MAX_COMPILED: usize = 32 * 1024;

/// The most patterns of a policy.
pub(super) const MAX_PATTERNS: usize = 32;

/// The most matches in one text.
const MAX_MATCHES: usize = 32;

/// The deepest nesting of a pattern's groups.
const MAX_NESTING: u32 = 32;

/// Compiled patterns.
#[derive(Default)]
pub(super) struct Patterns {
    patterns: Vec<Pattern>,
}

struct Pattern {
    index: u16,
    regex: Regex,
    needs: Needs,
}

impl Patterns {
    /// Compiles the patterns of those entries that have one.
    ///
    /// # Errors
    /// The index of an entry whose pattern can't be used, and why.
    pub(super) fn new(entries: &[DetectEntry]) -> Result<Self, RulesError> {
        let mut patterns = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let Some(source) = &entry.pattern else {
                continue;
            };
            let refuse = |why: String| RulesError::Pattern(index, why);
            if patterns.len() >= MAX_PATTERNS {
                return Err(refuse(format!(
                    "more than {MAX_PATTERNS} patterns stand here; join some with `|`"
                )));
            }
            let position = u16::try_from(index).map_err(|_| refuse("too many entries stand here".to_owned()))?;
            let regex = compile(source).map_err(refuse)?;
            patterns.push(Pattern {
                index: position,
                regex,
                needs: Needs::of(source),
            });
        }
        Ok(Self { patterns })
    }

    /// Whether any pattern could match in a piece of these raw bytes of a target: plain ASCII without escapes.
    pub(super) fn may_hold(&self, raw: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| pattern.needs.met_by(raw))
    }

    /// Adds every match in a folded text.
    pub(super) fn scan(&self, text: &str, hits: &mut Vec<Hit>) {
        for pattern in &self.patterns {
            if !pattern.needs.met_by(text.as_bytes()) {
                continue;
            }
            let finder = Finder::Own(pattern.index);
            let found = pattern.regex.find_iter(text).filter(|found| !found.is_empty());
            for (count, found) in found.enumerate().take(MAX_MATCHES) {
                let last = count.saturating_add(1) == MAX_MATCHES;
                hits.push(Hit {
                    finder,
                    start: found.start(),
                    end: if last { text.len() } else { found.end() },
                });
            }
        }
    }
}

fn compile(source: &str) -> Result<Regex, String> {
    if source.is_empty() {
        return Err("the pattern is empty; write what it is to find, or leave `pattern` out".to_owned());
    }
    if source.len() > MAX_LENGTH {
        return Err(format!(
            "the pattern is longer than {MAX_LENGTH} bytes; shorten it, or make two entries of it"
        ));
    }
    let regex = RegexBuilder::new(source)
        .size_limit(MAX_COMPILED)
        .nest_limit(MAX_NESTING)
        .build()
        .map_err(|error| explain(&error.to_string()))?;
    // An empty match stands where its assertions hold, and those see at most a word's or a line's border at either side.
    let may_be_empty = ["", "a", "-", "\n", "\r"].iter().any(|before| {
        ["", "a", "-", "\n", "\r"].iter().any(|after| {
            let text = format!("{before}{after}");
            regex.find_iter(&text).any(|found| found.is_empty())
        })
    });
    if may_be_empty {
        return Err(
            "the pattern matches nothing at all; make something in it needed, with `+` in place of `*`".to_owned(),
        );
    }
    Ok(regex)
}

/// The engine's error as one of ours.
fn explain(error: &str) -> String {
    let mend = if error.contains("look") || error.contains("backreference") {
        "leave look-around and back-references out: they can't be matched in linear time"
    } else if error.contains("size") || error.contains("limit") || error.contains("nest") {
        "make its repetitions and groups smaller"
    } else if error.contains("Unicode") || error.contains("unicode") || error.contains("\\p") {
        "write ASCII classes such as `[A-Z]`: text is folded to ASCII first"
    } else {
        "see the syntax of `regex-lite`; a backslash makes a sign stand for itself"
    };
    let first = error.lines().next().unwrap_or_default().trim_end_matches('.');
    format!("the pattern can't be used ({first}); {mend}")
}

/// What every match of a pattern holds: so many digits, and this text in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Needs {
    digits: usize,
    text: Vec<u8>,
}

/// One thing in a pattern outside of groups.
enum Atom {
    /// This letter, digit or sign.
    Byte(u8),
    /// A digit, whichever.
    Digit,
    /// Anything else that takes part in a match: nothing is known of it, nor of what stands across it.
    Other,
    /// What takes no room, such as `^`.
    Border,
}

impl Needs {
    /// Reads a pattern that compiles, outside of its groups only. Where it has alternatives there, nothing is known.
    fn of(source: &str) -> Self {
        let mut needs = Self::default();
        // `[[:alpha:])]`: a class within a class hides where it ends.
        if source.contains("[[") || source.contains("[:") {
            return needs;
        }
        let mut text: Vec<u8> = Vec::new();
        let mut rest = source.as_bytes();
        while let [first, tail @ ..] = rest {
            let (atom, after) = match first {
                b'|' => return Self::default(),
                // Flags may change what the rest means, `x` above all.
                b'(' if tail.starts_with(b"?") && !is_group(tail) => {
                    let flags = tail.iter().take_while(|&&b| b != b')').count();
                    if tail.iter().take(flags).any(|&b| b == b'x' || b == b':') {
                        return Self::default();
                    }
                    (Atom::Border, tail.get(flags.saturating_add(1)..).unwrap_or_default())
                }
                b'(' => (Atom::Other, after_group(tail)),
                b'[' => {
                    let (class, after) = after_class(tail);
                    let digit = class == b"0-9" || class == b"\\d";
                    (if digit { Atom::Digit } else { Atom::Other }, after)
                }
                b'\\' => match tail {
                    [b'd', after @ ..] => (Atom::Digit, after),
                    [b'b' | b'B' | b'A' | b'z', after @ ..] if !after.starts_with(b"{") => (Atom::Border, after),
                    [sign, after @ ..] if sign.is_ascii_punctuation() && !matches!(sign, b'<' | b'>') => {
                        (Atom::Byte(*sign), after)
                    }
                    [b'w' | b'W' | b's' | b'S' | b'D', after @ ..] => (Atom::Other, after),
                    // Escapes by number or name.
                    _ => return Self::default(),
                },
                b'^' | b'$' => (Atom::Border, tail),
                b'.' => (Atom::Other, tail),
                other if other.is_ascii() => (Atom::Byte(*other), tail),
                _ => (Atom::Other, tail),
            };
            let (least, once, after) = after_quantifier(after);
            match atom {
                Atom::Digit => {
                    needs.digits = needs.digits.saturating_add(least);
                    needs.keep(&mut text);
                }
                Atom::Byte(byte) if least > 0 => {
                    needs.digits = needs
                        .digits
                        .saturating_add(if byte.is_ascii_digit() { least } else { 0 });
                    // A blank may stand as `+` in raw bytes.
                    if matches!(byte, b' ' | b'+') {
                        needs.keep(&mut text);
                    } else {
                        text.push(byte.to_ascii_lowercase());
                        if !once {
                            needs.keep(&mut text);
                        }
                    }
                }
                Atom::Byte(_) | Atom::Other => needs.keep(&mut text),
                Atom::Border => {}
            }
            rest = after;
        }
        needs.keep(&mut text);
        needs
    }

    fn keep(&mut self, text: &mut Vec<u8>) {
        if text.len() > self.text.len() {
            self.text.clone_from(text);
        }
        text.clear();
    }

    fn met_by(&self, bytes: &[u8]) -> bool {
        if self.digits > 0 && bytes.iter().filter(|b| b.is_ascii_digit()).take(self.digits).count() < self.digits {
            return false;
        }
        let Some(&first) = self.text.first() else {
            return true;
        };
        memchr::memchr2_iter(first, first.to_ascii_uppercase(), bytes).any(|at| {
            let here = bytes.get(at..).and_then(|rest| rest.get(..self.text.len()));
            here.is_some_and(|here| here.eq_ignore_ascii_case(&self.text))
        })
    }
}

/// Whether what follows `(` is a group with contents, not flags alone: `?:..`, `?i:..`, `?P<name>..`.
fn is_group(tail: &[u8]) -> bool {
    let head = tail.iter().take_while(|&&b| !matches!(b, b')' | b'(')).copied();
    tail.starts_with(b"?P<") || tail.starts_with(b"?<") || head.into_iter().any(|b| b == b':')
}

/// What follows a group, of which the opening bracket is read.
fn after_group(mut rest: &[u8]) -> &[u8] {
    let mut depth = 1_usize;
    while let [first, tail @ ..] = rest {
        rest = match first {
            b'\\' => tail.get(1..).unwrap_or_default(),
            b'[' => after_class(tail).1,
            _ => tail,
        };
        match first {
            b'(' => depth = depth.saturating_add(1),
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    rest
}

/// The inside of a class, of which the opening bracket is read, and what follows it.
fn after_class(rest: &[u8]) -> (&[u8], &[u8]) {
    // `[]a]` and `[^]a]` hold the bracket.
    let start = usize::from(rest.first() == Some(&b'^'));
    let mut at = start.saturating_add(usize::from(rest.get(start) == Some(&b']')));
    while let Some(&byte) = rest.get(at) {
        match byte {
            b'\\' => at = at.saturating_add(1),
            b']' => break,
            _ => {}
        }
        at = at.saturating_add(1);
    }
    (
        rest.get(..at).unwrap_or_default(),
        rest.get(at.saturating_add(1)..).unwrap_or_default(),
    )
}

/// How often at least the atom before stands, whether exactly once, and what follows.
fn after_quantifier(rest: &[u8]) -> (usize, bool, &[u8]) {
    let (least, once, after) = match rest {
        [b'*' | b'?', after @ ..] => (0, false, after),
        [b'+', after @ ..] => (1, false, after),
        [b'{', after @ ..] => {
            let inside = after.iter().take_while(|&&b| b != b'}').count();
            let least = after
                .iter()
                .skip_while(|b| **b == b' ')
                .take_while(|b| b.is_ascii_digit());
            let least = least.fold(0_usize, |n, &b| {
                n.saturating_mul(10).saturating_add(usize::from(b.wrapping_sub(b'0')))
            });
            (least, false, after.get(inside.saturating_add(1)..).unwrap_or_default())
        }
        _ => return (1, true, rest),
    };
    // `a+?` is lazy; a quantifier of a quantifier makes all of it optional at worst.
    match after {
        [b'?', more @ ..] if !matches!(more, [b'*' | b'+' | b'?' | b'{', ..]) => (least, once, more),
        [b'*' | b'+' | b'?' | b'{', ..] => {
            let (_, _, more) = after_quantifier(after);
            (0, false, more)
        }
        _ => (least, once, after),
    }
}

#[cfg(test)]
mod tests {
    use super::super::detect::{Detector, Detectors};
    use super::super::rules::Action;
    use super::*;
    use proptest::prelude::*;

    fn entry(name: &str, pattern: &str) -> DetectEntry {
        DetectEntry {
            name: name.to_owned(),
            pattern: Some(pattern.to_owned()),
            action: Some(Action::Mask),
            except: Vec::new(),
        }
    }

    fn refused(pattern: &str) -> String {
        match Patterns::new(&[entry("a", "x"), entry("b", pattern)]) {
            Err(RulesError::Pattern(1, why)) => why,
            _ => panic!("{pattern} is not refused"),
        }
    }

    #[test]
    fn own_patterns_find_and_are_named() {
        let entries = vec![
            entry("member", r"\bMB-\d{6}\b"),
            entry("mrn", r"(?i)\bch\d{7}\b"),
            DetectEntry {
                name: "chart".to_owned(),
                pattern: Some(r"^C[0-9]{4}$".to_owned()),
                action: None,
                except: Vec::new(),
            },
        ];
        let detectors = Detectors::new(entries).ok().unwrap();
        let found = |text: &str| -> Vec<(String, usize, usize)> {
            let hits = detectors.scan(text, "");
            hits.iter()
                .map(|hit| (detectors.code(hit.finder), hit.start, hit.end))
                .collect()
        };
        assert_eq!(
            found("x MB-123456,MB-654321"),
            [("member".to_owned(), 2, 11), ("member".to_owned(), 12, 21)]
        );
        assert_eq!(
            found("CH1234567 mrn:12345"),
            [("mrn".to_owned(), 0, 9), ("mrn".to_owned(), 10, 19)]
        );
        assert_eq!(found("C1234"), [("chart".to_owned(), 0, 5)]);
        assert_eq!(found("xC1234 MB-12345 MB-1234567"), []);
        let by = |finder| detectors.action(finder, "");
        assert_eq!(by(Finder::Own(0)), Some(Some(Action::Mask)));
        assert_eq!(by(Finder::Own(2)), Some(None));
        assert_eq!(by(Finder::Known(Detector::Mrn)), Some(Some(Action::Mask)));
        assert_eq!(by(Finder::Known(Detector::Ssn)), None);
        assert!(detectors.may_hold(b"/x?q=MB-123456") && !detectors.may_hold(b"/x?q=mb"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_mend() {
        for (pattern, says) in [
            ("", "leave `pattern` out"),
            (&*"a".repeat(513), "longer than 512 bytes"),
            ("a*", "with `+` in place of `*`"),
            ("(a|)", "matches nothing at all"),
            (r"\b", "matches nothing at all"),
            ("^|x", "matches nothing at all"),
            ("x|$", "matches nothing at all"),
            (r"(?m)^", "matches nothing at all"),
            (r"a|\B", "matches nothing at all"),
            ("(?=x)a", "leave look-around"),
            (r"(a)\1", "leave look-around"),
            ("a{1000}{1000}", "smaller"),
            ("(", "the pattern can't be used"),
            (r"\p{L}", "ASCII classes"),
        ] {
            let why = refused(pattern);
            assert!(why.contains(says), "{pattern}: {why}");
            assert!(!why.contains('\n') && !why.ends_with('.'), "{why}");
        }
        let many: Vec<_> = (0..=MAX_PATTERNS).map(|_| entry("a", "x")).collect();
        assert!(matches!(
            Patterns::new(&many),
            Err(RulesError::Pattern(MAX_PATTERNS, _))
        ));
    }

    #[test]
    fn a_flood_of_matches_takes_the_rest() {
        let detectors = Detectors::new(vec![entry("x", "x")]).ok().unwrap();
        let text = format!("{}tail", "x-".repeat(100));
        let hits = detectors.scan(&text, "");
        assert_eq!(hits.len(), MAX_MATCHES);
        assert_eq!(hits.last().map(|hit| hit.end), Some(text.len()));
    }

    #[test]
    fn needs_are_read_from_the_pattern() {
        for (pattern, digits, text) in [
            (r"\bMB-\d{6}\b", 6, "mb-"),
            (r"(?i)abc[0-9]+x", 1, "abc"),
            (r"a|b", 0, ""),
            (r"(a|b)cd", 0, "cd"),
            (r"ab?cd*e", 0, "a"),
            (r"[A-Z]{2}\d\d+", 2, ""),
            (r"(?x) a b", 0, ""),
            (r"a{0,3}bc{2}", 0, "bc"),
            (r"\d{2,4}-\d*\.5", 3, ".5"),
            (r"[]a]bc", 0, "bc"),
            (r"x+yz", 0, "yz"),
            (r"a\x41|b", 0, ""),
            (r"[[:alpha:]]b|c", 0, ""),
            (r"([[:digit:])]x)yz", 0, ""),
        ] {
            let needs = Needs::of(pattern);
            assert_eq!(
                (needs.digits, &*String::from_utf8(needs.text).unwrap()),
                (digits, text),
                "{pattern}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn needs_overlook_nothing(
            pattern in r"([ab1]|\\d|\[ab\]|\[0-9\]|\(a\|1b?\)|\(\?:1a\)|\(\?i\)|[ab1]\*|[ab1]\?|\\d\{1,2\}|[ab]\{2\}|\\d\+|\\\.|\^|\||b\+\?){1,6}",
            text in "[abAB1.]{0,10}",
        ) {
            if let Ok(regex) = compile(&pattern) {
                prop_assert!(!regex.is_match(&text) || Needs::of(&pattern).met_by(text.as_bytes()), "{:?}", Needs::of(&pattern));
            }
        }
    }
}
