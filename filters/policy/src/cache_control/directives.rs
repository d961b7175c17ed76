//! Cache-Control of a response (RFC 9111 5.2.2), read whole and by the strictest.
//!
//! 1. Every line counts (RFC 9110 5.3). Names in any case, arguments as token or quoted string mean the same (RFC 9111 5.2); empty list elements do not matter.
//! 2. What breaks the grammar anywhere is no Cache-Control at all: [`Directives::read`] gives nothing, and the caller takes it for the worst. Caches differ in
//!    what they make of it.
//! 3. A directive that stands more than once counts as its strictest: the least number, unqualified over qualified, of field names all (RFC 9111 4.2.1 leaves
//!    it to the cache to take the first or none).
//! 4. Numbers above 2^31 - 1 are that: it is what every cache can hold (RFC 9111 1.2.2). What is no number is 0 for `max-age`, since a cache may take it for
//!    anything, and grants nothing for `stale-while-revalidate` and `stale-if-error`.
//! 5. What takes no argument and has one counts as without. Directives that are not known stay as they came, up to [`MAX_UNKNOWN`].
//!
//! Made private ([`Directives::keep_from_shared`]) it loses `public`, `s-maxage` and the qualification of `private` (RFC 9111 5.2.2.7, 5.2.2.9, 5.2.2.10). Beside
//! `no-store` a lifetime becomes 0 and what permits to reuse goes: caches exist that store despite `no-store` when a lifetime stands beside it, and
//! `must-understand` lets a cache ignore it (5.2.2.3).

/// The most directives that are not known; with more it is no Cache-Control.
pub const MAX_UNKNOWN: usize = 32;

/// The most field names of `no-cache`; with more it counts as unqualified.
const MAX_FIELDS: usize = 32;

/// The longest lifetime there is, in seconds.
pub const LONGEST: u32 = i32::MAX.cast_unsigned();

/// A directive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Directive<'a> {
    /// The name, in the case in which it came.
    pub name: &'a [u8],
    /// What stands behind `=`.
    pub argument: Option<Argument<'a>>,
}

/// What stands behind `=`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Argument<'a> {
    /// A token (RFC 9110 5.6.2).
    Token(&'a [u8]),
    /// What stands between the quotes, escapes as they came (RFC 9110 5.6.4).
    Quoted(&'a [u8]),
}

/// How `no-cache` stands there.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum NoCache<'a> {
    /// Not.
    #[default]
    Absent,
    /// For these fields only (RFC 9111 5.2.2.4).
    Fields(Vec<&'a [u8]>),
    /// For all of the response.
    Whole,
}

/// How `private` stands there.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Private {
    /// Not.
    #[default]
    Absent,
    /// For some fields only (RFC 9111 5.2.2.7).
    Fields,
    /// For all of the response.
    Whole,
}

/// What other headers of the response forbid.
#[derive(Clone, Copy, Debug, Default)]
pub struct Elsewhere {
    /// A targeted field says `no-transform`.
    pub no_transform: bool,
    /// There is an `Expires`; without a clock nobody here knows whether it is over, so it is.
    pub expires: bool,
}

/// All that Cache-Control says.
#[derive(Clone, Default)]
pub struct Directives<'a> {
    /// `no-store`
    pub no_store: bool,
    /// `no-cache`
    pub no_cache: NoCache<'a>,
    /// `private`
    pub private: Private,
    /// `public`
    pub public: bool,
    /// `must-revalidate`
    pub must_revalidate: bool,
    /// `proxy-revalidate`
    pub proxy_revalidate: bool,
    /// `must-understand`
    pub must_understand: bool,
    /// `no-transform`
    pub no_transform: bool,
    /// `immutable` (RFC 8246)
    pub immutable: bool,
    /// `max-age`, in seconds.
    pub max_age: Option<u32>,
    /// `s-maxage`, in seconds.
    pub s_maxage: Option<u32>,
    /// `stale-while-revalidate` (RFC 5861), in seconds.
    pub stale_while_revalidate: Option<u32>,
    /// `stale-if-error` (RFC 5861), in seconds.
    pub stale_if_error: Option<u32>,
    /// What is not known.
    pub unknown: Vec<Directive<'a>>,
    /// How many directives there were.
    pub count: usize,
    /// Whether it was written otherwise than [`Self::write`] would, but for order and spacing.
    rewritten: bool,
}

impl<'a> Directives<'a> {
    /// Reads all lines; `None` where one breaks the grammar.
    pub fn read(lines: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut read = Directives::default();
        let mut count = 0_usize;
        for line in lines {
            count = count.saturating_add(1);
            let mut reader = Reader { rest: line };
            loop {
                match reader.next_directive()? {
                    Next::End => break,
                    Next::Empty => read.rewritten = true,
                    Next::Directive(directive) => read.take(directive)?,
                }
            }
        }
        read.rewritten |= count > 1;
        Some(read)
    }

    fn take(&mut self, directive: Directive<'a>) -> Option<()> {
        self.count = self.count.saturating_add(1);
        let name = directive.name;
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        let argument = directive.argument;
        // Each arm says whether it was written as it would be written here.
        let (known, clean) = match name.len() {
            6 if is("public") => (true, flag(&mut self.public, argument)),
            7 if is("private") => {
                let before = self.private;
                self.private = match (argument, before) {
                    (None, _) | (_, Private::Whole) => Private::Whole,
                    (Some(_), _) => Private::Fields,
                };
                (true, before == Private::Absent && argument.is_none())
            }
            7 if is("max-age") => (true, span(&mut self.max_age, argument, Some(0))),
            8 if is("no-store") => (true, flag(&mut self.no_store, argument)),
            8 if is("no-cache") => (true, self.take_no_cache(argument)),
            8 if is("s-maxage") => (true, span(&mut self.s_maxage, argument, Some(0))),
            9 if is("immutable") => (true, flag(&mut self.immutable, argument)),
            12 if is("no-transform") => (true, flag(&mut self.no_transform, argument)),
            14 if is("stale-if-error") => (true, span(&mut self.stale_if_error, argument, None)),
            15 if is("must-revalidate") => (true, flag(&mut self.must_revalidate, argument)),
            15 if is("must-understand") => (true, flag(&mut self.must_understand, argument)),
            16 if is("proxy-revalidate") => (true, flag(&mut self.proxy_revalidate, argument)),
            22 if is("stale-while-revalidate") => (true, span(&mut self.stale_while_revalidate, argument, None)),
            _ => (false, true),
        };
        if known {
            self.rewritten |= !clean || name.iter().any(u8::is_ascii_uppercase);
            return Some(());
        }
        let same = |have: &Directive<'_>| have.name.eq_ignore_ascii_case(name) && have.argument == argument;
        if self.unknown.iter().any(same) {
            self.rewritten = true;
            return Some(());
        }
        if self.unknown.len() >= MAX_UNKNOWN {
            return None;
        }
        self.unknown.push(directive);
        Some(())
    }

    /// Whether it was written as it would be.
    fn take_no_cache(&mut self, argument: Option<Argument<'a>>) -> bool {
        let clean = matches!(self.no_cache, NoCache::Absent);
        let names = match argument {
            None => None,
            Some(Argument::Token(name)) => Some((vec![name], false)),
            Some(Argument::Quoted(text)) => field_names(text).map(|names| (names, true)),
        };
        let Some((names, quoted)) = names else {
            let clean = clean && argument.is_none();
            self.no_cache = NoCache::Whole;
            return clean;
        };
        match &mut self.no_cache {
            NoCache::Whole => {}
            NoCache::Absent => self.no_cache = NoCache::Fields(names),
            NoCache::Fields(have) => {
                for name in names {
                    if !have.iter().any(|old| old.eq_ignore_ascii_case(name)) {
                        have.push(name);
                    }
                }
                if have.len() > MAX_FIELDS {
                    self.no_cache = NoCache::Whole;
                }
            }
        }
        clean && quoted
    }

    /// Makes it what no shared cache may store. Whether that changed anything, its writing included.
    pub fn keep_from_shared(&mut self, elsewhere: Elsewhere) -> bool {
        let mut changed = self.rewritten;
        if self.count == 0 {
            self.no_cache = NoCache::Whole;
            changed = true;
        } else if elsewhere.expires && self.max_age.is_none() {
            self.max_age = Some(0);
            changed = true;
        }
        changed |= std::mem::take(&mut self.public);
        changed |= self.s_maxage.take().is_some();
        changed |= std::mem::replace(&mut self.private, Private::Whole) != Private::Whole;
        changed |= elsewhere.no_transform && !std::mem::replace(&mut self.no_transform, true);
        if self.no_store {
            changed |= self.max_age.is_some_and(|age| age > 0);
            self.max_age = self.max_age.map(|_| 0);
            changed |= std::mem::take(&mut self.immutable);
            changed |= std::mem::take(&mut self.must_understand);
            changed |= self.stale_while_revalidate.take().is_some();
            changed |= self.stale_if_error.take().is_some();
        }
        changed
    }

    /// Writes it in a fixed order, `private` last.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(96));
        for (stands, word) in [(self.public, "public"), (self.no_store, "no-store")] {
            out.flag(stands, word);
        }
        match &self.no_cache {
            NoCache::Absent => {}
            NoCache::Whole => out.flag(true, "no-cache"),
            NoCache::Fields(names) => {
                out.put(&[b"no-cache=\""]);
                for (at, name) in names.iter().enumerate() {
                    let comma: &[u8] = if at == 0 { b"" } else { b", " };
                    out.append(&[comma, name]);
                }
                out.append(&[b"\""]);
            }
        }
        for (span, word) in [
            (self.max_age, "max-age"),
            (self.s_maxage, "s-maxage"),
            (self.stale_while_revalidate, "stale-while-revalidate"),
            (self.stale_if_error, "stale-if-error"),
        ] {
            if let Some(span) = span {
                out.put(&[word.as_bytes(), b"=", span.to_string().as_bytes()]);
            }
        }
        for (stands, word) in [
            (self.immutable, "immutable"),
            (self.must_revalidate, "must-revalidate"),
            (self.proxy_revalidate, "proxy-revalidate"),
            (self.must_understand, "must-understand"),
            (self.no_transform, "no-transform"),
        ] {
            out.flag(stands, word);
        }
        for directive in &self.unknown {
            out.directive(*directive);
        }
        // Which fields `private` is about does not matter to what reads this here, so it is all of them.
        out.flag(self.private != Private::Absent, "private");
        out.0
    }
}

/// Writes a list.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn put(&mut self, parts: &[&[u8]]) {
        if !self.0.is_empty() {
            self.0.extend_from_slice(b", ");
        }
        self.append(parts);
    }

    pub(super) fn flag(&mut self, stands: bool, word: &str) {
        if stands {
            self.put(&[word.as_bytes()]);
        }
    }

    pub(super) fn directive(&mut self, Directive { name, argument }: Directive<'_>) {
        match argument {
            None => self.put(&[name]),
            Some(Argument::Token(text)) => self.put(&[name, b"=", text]),
            Some(Argument::Quoted(text)) => self.put(&[name, b"=\"", text, b"\""]),
        }
    }

    fn append(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.0.extend_from_slice(part);
        }
    }
}

/// Sets a directive that takes no argument; whether it was written as it would be.
fn flag(stands: &mut bool, argument: Option<Argument<'_>>) -> bool {
    !std::mem::replace(stands, true) && argument.is_none()
}

/// Takes a number of seconds, the least of all; whether it was written as it would be.
fn span(have: &mut Option<u32>, argument: Option<Argument<'_>>, unreadable: Option<u32>) -> bool {
    let (text, quoted) = match argument {
        None => (&b""[..], false),
        Some(Argument::Token(text)) => (text, false),
        Some(Argument::Quoted(text)) => (text, true),
    };
    let read = seconds(text);
    let alone = have.is_none();
    let least = |number: u32| have.map_or(number, |old| old.min(number));
    *have = read.or(unreadable).map(least).or(*have);
    // The longest one has ten digits.
    let exact = text.len() <= 10 && std::str::from_utf8(text).is_ok_and(|text| text.parse::<u32>().ok() == read);
    let zeros = text.len() > 1 && text.first() == Some(&b'0');
    read.is_some() && exact && alone && !quoted && !zeros
}

/// `delta-seconds` (RFC 9111 1.2.2).
pub fn seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u32, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u32::from(digit.wrapping_sub(b'0')))
    };
    Some(text.iter().fold(0, add).min(LONGEST))
}

/// The field names of a qualified directive; `None` where they are none, or too many.
fn field_names(text: &[u8]) -> Option<Vec<&[u8]>> {
    let names: Vec<&[u8]> = text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let sound = |name: &&[u8]| !name.is_empty() && name.iter().copied().all(is_token);
    (names.len() <= MAX_FIELDS && names.iter().all(sound)).then_some(names)
}

/// Whether a byte may stand in a token (RFC 9110 5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Reads the directives of one line.
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// What stands next in a line.
pub enum Next<'a> {
    /// A directive.
    Directive(Directive<'a>),
    /// Nothing between commas.
    Empty,
    /// Nothing more.
    End,
}

impl<'a> Reader<'a> {
    /// Begins at the line's start.
    pub fn new(line: &'a [u8]) -> Self {
        Reader { rest: line }
    }

    /// The next directive; `None` where the grammar is broken.
    pub fn next_directive(&mut self) -> Option<Next<'a>> {
        self.skip_space();
        match self.rest.split_first() {
            None => return Some(Next::End),
            Some((b',', rest)) => {
                self.rest = rest;
                return Some(Next::Empty);
            }
            Some(_) => {}
        }
        let name = self.token()?;
        let argument = match self.rest.split_first() {
            Some((b'=', rest)) => {
                self.rest = rest;
                match rest.split_first() {
                    Some((b'"', text)) => Some(Argument::Quoted(self.quoted(text)?)),
                    _ => Some(Argument::Token(self.token()?)),
                }
            }
            _ => None,
        };
        self.skip_space();
        match self.rest.split_first() {
            None => {}
            Some((b',', rest)) => {
                // A comma at the very end is an empty element, which the next call finds.
                let more = rest.iter().any(|byte| !matches!(byte, b' ' | b'\t'));
                self.rest = if more { rest } else { self.rest };
            }
            Some(_) => return None,
        }
        Some(Next::Directive(Directive { name, argument }))
    }

    fn skip_space(&mut self) {
        while let Some((b' ' | b'\t', rest)) = self.rest.split_first() {
            self.rest = rest;
        }
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let length = self.rest.iter().take_while(|byte| is_token(**byte)).count();
        let (token, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// What stands before the closing quote, which is passed.
    fn quoted(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let mut bytes = text.iter().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    let (inside, rest) = text.split_at_checked(at)?;
                    self.rest = rest.strip_prefix(b"\"")?;
                    return Some(inside);
                }
                b'\\' => {
                    let (_, escaped) = bytes.next()?;
                    if !may_be_quoted(*escaped) {
                        return None;
                    }
                }
                byte if !may_be_quoted(*byte) => return None,
                _ => {}
            }
        }
        None
    }
}

/// HTAB, SP, VCHAR and obs-text (RFC 9110 5.6.4).
fn may_be_quoted(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(lines: &[&str]) -> Option<String> {
        let read = Directives::read(lines.iter().map(|line| line.as_bytes()))?;
        Some(String::from_utf8(read.write()).unwrap())
    }

    #[test]
    fn lines_are_merged_by_the_strictest() {
        for (lines, merged) in [
            (&["max-age=60", "MAX-AGE=\"10\""][..], "max-age=10"),
            (&["max-age=60, max-age=x"], "max-age=0"),
            (&["max-age"], "max-age=0"),
            (&["max-age=99999999999999999999"], "max-age=2147483647"),
            (&["max-age=007"], "max-age=7"),
            (&["max-age=+7"], "max-age=0"),
            (&["s-maxage=5,s-maxage=3"], "s-maxage=3"),
            (
                &["stale-if-error=x, stale-if-error=4, stale-while-revalidate=x"],
                "stale-if-error=4",
            ),
            (&["no-store=foo"], "no-store"),
            (&["no-cache=\"a\"", "no-cache"], "no-cache"),
            (&["no-cache", "no-cache=\"a\""], "no-cache"),
            (&["no-cache=\"a\"", "no-cache=\"b,A\""], "no-cache=\"a, b\""),
            (&["no-cache=\"a b\""], "no-cache"),
            (&["no-cache=\"\""], "no-cache"),
            (&["no-cache=a"], "no-cache=\"a\""),
            (&["private=\"a\"", "Private"], "private"),
            (
                &[",, community=\"a, \\\"b\" ,", "Community=\"a, \\\"b\""],
                "community=\"a, \\\"b\"",
            ),
            (&["x=1, x=2, x"], "x=1, x=2, x"),
            (
                &["must-understand, no-transform, proxy-revalidate, must-revalidate, immutable"],
                "immutable, must-revalidate, proxy-revalidate, must-understand, no-transform",
            ),
            (&["", " \t"], ""),
        ] {
            assert_eq!(written(lines).as_deref(), Some(merged), "{lines:?}");
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_no_cache_control() {
        for broken in [
            "max-age=\"60",
            "max-age 60",
            "=",
            "a=",
            "a=;",
            "a=\"\\",
            "a=\"b\"c",
            "a;b",
            "no-store max-age=60",
            "\u{e9}",
            "a=\"\u{1}\"",
            "a=\"\\\u{7f}\"",
            "a = b",
        ] {
            assert!(written(&["no-store", broken]).is_none(), "{broken:?}");
        }
        let many = |count: usize| (0..count).map(|at| format!("x{at}")).collect::<Vec<_>>().join(",");
        assert!(written(&[&many(MAX_UNKNOWN)]).is_some());
        assert!(written(&[&many(MAX_UNKNOWN + 1)]).is_none());
        assert_eq!(
            written(&[&format!("no-cache=\"{}\"", many(MAX_FIELDS + 1))]).as_deref(),
            Some("no-cache")
        );
    }

    #[test]
    fn beside_no_store_nothing_permits() {
        let kept = |line: &str| {
            let mut read = Directives::read([line.as_bytes()].into_iter()).unwrap();
            let changed = read.keep_from_shared(Elsewhere::default());
            (String::from_utf8(read.write()).unwrap(), changed)
        };
        assert_eq!(
            kept(
                "no-store, max-age=60, stale-if-error=9, stale-while-revalidate=9, immutable, must-understand, public"
            ),
            ("no-store, max-age=0, private".to_owned(), true)
        );
        assert_eq!(
            kept("must-understand, max-age=60"),
            ("max-age=60, must-understand, private".to_owned(), true)
        );
        for same in [
            "private, max-age=60",
            "no-store, private",
            "private,x=\"y\"",
            "private, no-cache=\"a,b\"",
        ] {
            assert!(!kept(same).1, "{same}");
        }
        for other in [
            "Private",
            "private, private",
            "private,",
            ",private",
            "private, max-age=\"1\"",
            "private, max-age=01",
            "private, max-age=2147483648",
            "private, no-store=x",
            "private, no-cache=a",
        ] {
            assert!(kept(other).1, "{other}");
        }
    }

    proptest! {
        #[test]
        fn writing_and_reading_again_changes_nothing(
            lines in prop::collection::vec(super::super::model::cache_control_line(), 0..4),
            no_transform: bool,
            expires: bool,
        ) {
            let elsewhere = Elsewhere { no_transform, expires };
            if let Some(mut read) = Directives::read(lines.iter().map(Vec::as_slice)) {
                read.keep_from_shared(elsewhere);
                let once = read.write();
                let mut again = Directives::read([once.as_slice()].into_iter()).expect("what is written can be read");
                prop_assert!(!again.keep_from_shared(Elsewhere::default()), "{}", String::from_utf8_lossy(&once));
                prop_assert_eq!(again.write(), once);
            }
        }
    }
}
