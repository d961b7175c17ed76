//! The request target (`:path`), read once into the one canonical form that routes and policies are matched on.
//!
//! A gateway is bypassed where it and the upstream read a URL differently. So:
//!
//! 1. Percent-escapes are decoded to a fixed point, in at most [`MAX_ROUNDS`] rounds; an upstream that decodes twice
//!    sees what was judged.
//! 2. Dot segments are resolved and repeated slashes merged after decoding (RFC 3986, 5.2.4 and 6.2.2.3).
//! 3. Whatever two readers may split, join or end in different places is refused: [`Ambiguity`] lists it all.
//! 4. The raw bytes stay at hand, with a range for each piece, so that a rewrite touches only the bytes concerned.
//!
//! ```
//! use scrim_policy::url::Target;
//! let target = Target::parse(b"/fhir/./%50atient//7?b%69rthdate=1970-01-01").ok().unwrap();
//! assert_eq!(target.path(), "/fhir/Patient/7");
//! assert_eq!(target.parameters()[0].name(), "birthdate");
//! assert_eq!(Target::parse(b"/fhir/..%2f..%2fadmin").err().unwrap().code(), "encoded_separator");
//! ```

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use arrayvec::ArrayVec;
use memchr::{memchr, memchr2};

/// The longest request target that is read, in bytes. Longer ones are refused as [`Ambiguity::TooLong`].
pub const MAX_LENGTH: usize = 64 * 1024;

/// How many rounds of percent-decoding may change a piece before it is refused as [`Ambiguity::EncodedTooDeep`].
pub const MAX_ROUNDS: usize = 4;

/// The most path segments, and the most query parameters, that are read.
pub const MAX_PIECES: usize = 2048;

/// A parsed view over the raw bytes of a request target. It has no `Debug`: a target may hold PHI.
pub struct Target<'a> {
    raw: &'a [u8],
    asterisk: bool,
    authority: Option<&'a str>,
    path_range: Range<usize>,
    path: Cow<'a, str>,
    segments: Segments<'a>,
    trailing_slash: bool,
    dot_segments: bool,
    parameters: Parameters<'a>,
    canonical: bool,
    plain: bool,
}

/// Usual targets need no allocation.
type Segments<'a> = Few<Segment<'a>>;
type Parameters<'a> = Few<Parameter<'a>>;

/// A list whose first elements stand in place.
enum Few<T> {
    Few(ArrayVec<T, 8>),
    Many(Vec<T>),
}

impl<T> Few<T> {
    fn new() -> Self {
        Few::Few(ArrayVec::new_const())
    }

    fn push(&mut self, element: T) {
        let (mut few, element) = match self {
            Few::Many(many) => return many.push(element),
            Few::Few(few) => match few.try_push(element) {
                Ok(()) => return,
                Err(full) => (std::mem::take(few), full.element()),
            },
        };
        let mut many = Vec::with_capacity(32);
        many.extend(few.drain(..));
        many.push(element);
        *self = Few::Many(many);
    }

    fn pop(&mut self) -> Option<T> {
        match self {
            Few::Few(few) => few.pop(),
            Few::Many(many) => many.pop(),
        }
    }
}

impl<T> std::ops::Deref for Few<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match self {
            Few::Few(few) => few,
            Few::Many(many) => many,
        }
    }
}

/// One segment of the canonical path.
pub struct Segment<'a> {
    text: Cow<'a, str>,
    range: Span,
}

/// One `name=value` pair of the query.
pub struct Parameter<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    range: Span,
    name_range: Span,
    value_range: Option<Span>,
    base_length: usize,
}

/// A byte range in the raw target, in half the room of a `Range`: [`MAX_LENGTH`] fits in 32 bits.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// Why a request target is refused (with 400): two readers may take it to mean different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// Neither origin-form, nor absolute-form with http or https, nor `*` (RFC 9112, 3.2).
    NotATarget,
    /// An absolute-form authority with user information, none at all, or bytes that no host name has.
    Authority,
    /// A `%` that two hexadecimal digits do not follow (RFC 3986, 2.1).
    InvalidEscape,
    /// Bytes that are not UTF-8 before or after decoding; overlong forms among them (RFC 3629, 3).
    InvalidUtf8,
    /// A control character, plain or encoded, or a plain space.
    ControlCharacter,
    /// A backslash in the path, plain or encoded: some servers take it for a slash.
    Backslash,
    /// `/`, `?`, `#` or `%` in the path by way of an escape or of a compatibility character such as U+FF0F.
    EncodedSeparator,
    /// A `#`: a fragment is never sent in a request (RFC 9110, 7.1).
    Fragment,
    /// Escapes within escapes, deeper than [`MAX_ROUNDS`].
    EncodedTooDeep,
    /// `;` in the path, plain or encoded: matrix parameters, which some servers cut off before they match.
    MatrixParameter,
    /// `..` above the root, or a dot segment in compatibility characters.
    DotSegment,
    /// `;` where it could separate two query parameters (`a=1;b=2`).
    SemicolonSeparator,
    /// Longer than [`MAX_LENGTH`], or more pieces than [`MAX_PIECES`].
    TooLong,
}

impl<'a> Target<'a> {
    /// Reads a request target: origin-form, absolute-form with http or https, or `*`.
    ///
    /// # Errors
    /// An [`Ambiguity`]; answer it with 400 and log `-` for the path.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Ambiguity> {
        if raw.len() > MAX_LENGTH {
            return Err(Ambiguity::TooLong);
        }
        let text = std::str::from_utf8(raw).map_err(|_| Ambiguity::InvalidUtf8)?;
        let (head, tail) = raw
            .split_at_checked(memchr(b'?', raw).unwrap_or(raw.len()))
            .unwrap_or((raw, b""));
        let (head, tail) = (classes(head), classes(tail.get(1..).unwrap_or_default()));
        let all = head | tail;
        if all & CONTROL != 0 || (all & NON_ASCII != 0 && text.chars().any(char::is_control)) {
            return Err(Ambiguity::ControlCharacter);
        }
        if all & HASH != 0 {
            return Err(Ambiguity::Fragment);
        }
        let (authority, rest) = split_authority(text)?;
        let before = text.len().saturating_sub(rest.len());
        let asterisk = authority.is_none() && rest == "*";
        let (path_text, query) = match rest.split_once('?') {
            _ if asterisk => ("", None),
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let path_range = before..before.saturating_add(path_text.len());
        let parsed = parse_path(path_text, before)?;
        let query_start = path_range.end.saturating_add(1);
        let mut parameters = Parameters::new();
        let tidy_query = match query {
            Some(query) => parse_query(query, query_start, tail & ENCODED == 0, &mut parameters)?,
            None => true,
        };
        let canonical = parsed.tidy
            && tidy_query
            && head & NOT_IN_PATH == 0
            && query.is_none_or(|query| !query.is_empty() && tail & NOT_IN_QUERY == 0);
        Ok(Self {
            raw,
            asterisk,
            authority,
            path_range,
            path: if asterisk { Cow::Borrowed("*") } else { parsed.path },
            segments: parsed.segments,
            trailing_slash: parsed.trailing_slash,
            dot_segments: parsed.dot_segments,
            parameters,
            canonical: canonical || asterisk,
            plain: all & NON_ASCII == 0 && memchr(b'%', raw).is_none(),
        })
    }

    /// The canonical path: decoded, without dot segments, repeated slashes and query. It starts with `/`, but for the
    /// asterisk-form, where it is `*`. A slash at the end is kept; [`Self::segments`] do not show it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The segments of the canonical path, in order; none of them is empty.
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// The query's parameters, in order; empty ones (`&&`) are left out.
    pub fn parameters(&self) -> &[Parameter<'a>] {
        &self.parameters
    }

    /// The bytes as they came.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Where the path stands in [`Self::raw`].
    pub fn path_range(&self) -> Range<usize> {
        self.path_range.clone()
    }

    /// Host and port of an absolute-form target; it must agree with `Host` (RFC 9112, 3.2.2).
    pub fn authority(&self) -> Option<&'a str> {
        self.authority
    }

    /// Whether it is the `*` of `OPTIONS *`; the method is the caller's to check.
    pub fn is_asterisk(&self) -> bool {
        self.asterisk
    }

    /// Whether the path ends with a slash.
    pub fn has_trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// Whether the raw path holds dot segments: what they removed from the path still stands in the raw bytes.
    pub fn has_dot_segments(&self) -> bool {
        self.dot_segments
    }

    /// Whether [`Self::raw`] is exactly [`Self::render`]; conservative: `false` where escapes are used at all.
    pub fn is_canonical(&self) -> bool {
        self.canonical
    }

    /// Whether the raw bytes are ASCII without escapes: each piece is its own canonical text, but for `+`.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// The canonical form as a request target, in percent-encoded ASCII. Parsing it gives the same path and parameters.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(self.raw.len());
        self.render_origin(&mut out);
        self.render_path(&mut out, |_, _| None);
        let mut separator = '?';
        for parameter in self.parameters.iter() {
            out.push(separator);
            separator = '&';
            push_encoded(&mut out, &parameter.name, Part::Name);
            if parameter.value_range.is_some() {
                out.push('=');
                push_encoded(&mut out, &parameter.value, Part::Value);
            }
        }
        out
    }

    /// Appends scheme and authority of an absolute-form target, in canonical case.
    pub(crate) fn render_origin(&self, out: &mut String) {
        if let Some(authority) = self.authority {
            let secure = self.raw.get(4).is_some_and(|b| b.eq_ignore_ascii_case(&b's'));
            out.push_str(if secure { "https://" } else { "http://" });
            out.push_str(authority);
        }
    }

    /// Appends the canonical path; `replace` may give other text (already URL-safe) for a segment, or drop it with "".
    pub(crate) fn render_path<'r>(
        &self,
        out: &mut String,
        mut replace: impl FnMut(usize, &Segment<'a>) -> Option<&'r str>,
    ) {
        if self.asterisk {
            out.push('*');
            return;
        }
        let mut any = false;
        for (index, segment) in self.segments.iter().enumerate() {
            match replace(index, segment) {
                Some("") => continue,
                Some(text) => {
                    out.push('/');
                    out.push_str(text);
                }
                None => {
                    out.push('/');
                    push_encoded(out, &segment.text, Part::Segment);
                }
            }
            any = true;
        }
        if self.trailing_slash || !any {
            out.push('/');
        }
    }
}

impl Segment<'_> {
    /// The canonical text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it stands in the raw target.
    pub fn range(&self) -> Range<usize> {
        self.range.range()
    }
}

impl Parameter<'_> {
    /// The canonical name, with its modifiers and chains.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name before the first `:` (modifier, FHIR R4 search 3.1.1.4) or `.` (chain): what a policy is written for.
    pub fn base_name(&self) -> &str {
        self.name.get(..self.base_length).unwrap_or_default()
    }

    /// The canonical value, `+` read as a space; empty where there is none.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a `=` follows the name.
    pub fn has_value(&self) -> bool {
        self.value_range.is_some()
    }

    /// Where the whole pair stands in the raw target.
    pub fn range(&self) -> Range<usize> {
        self.range.range()
    }

    /// Where the name stands in the raw target.
    pub fn name_range(&self) -> Range<usize> {
        self.name_range.range()
    }

    /// Where the value stands in the raw target.
    pub fn value_range(&self) -> Option<Range<usize>> {
        self.value_range.map(Span::range)
    }
}

impl Span {
    fn new(start: usize, length: usize) -> Self {
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            start: narrow(start),
            end: narrow(start.saturating_add(length)),
        }
    }

    fn range(self) -> Range<usize> {
        let wide = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        wide(self.start)..wide(self.end)
    }
}

impl Ambiguity {
    /// A stable code for audit records, metrics and error bodies.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotATarget => "not_a_target",
            Self::Authority => "authority",
            Self::InvalidEscape => "invalid_escape",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::ControlCharacter => "control_character",
            Self::Backslash => "backslash",
            Self::EncodedSeparator => "encoded_separator",
            Self::Fragment => "fragment",
            Self::EncodedTooDeep => "encoded_too_deep",
            Self::MatrixParameter => "matrix_parameter",
            Self::DotSegment => "dot_segment",
            Self::SemicolonSeparator => "semicolon_separator",
            Self::TooLong => "too_long",
        }
    }
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotATarget => {
                "the request target is neither a path nor an http URL; send a path that starts with `/`"
            }
            Self::Authority => "the URL's authority is not a plain host and port; leave user information out",
            Self::InvalidEscape => "a `%` in the URL does not start an escape; write `%25` for a plain `%`",
            Self::InvalidUtf8 => "the URL is not UTF-8 once decoded; encode text as UTF-8 in its shortest form",
            Self::ControlCharacter => "the URL holds a control character or a plain space; leave it out or write `%20`",
            Self::Backslash => "the path holds a backslash; use `/`",
            Self::EncodedSeparator => {
                "the path holds an encoded `/`, `?`, `#` or `%`; send it in the query or the body"
            }
            Self::Fragment => "the URL holds a `#`; leave the fragment out, or write `%23` in a query",
            Self::EncodedTooDeep => "the URL is percent-encoded over and over; encode it once",
            Self::MatrixParameter => "the path holds a `;`; use query parameters",
            Self::DotSegment => "the path's `..` climbs above the root; send the path without dot segments",
            Self::SemicolonSeparator => {
                "a `;` in the query could separate parameters; use `&`, or write `%3B` in a value"
            }
            Self::TooLong => "the URL is too long; send the search as POST `_search`",
        })
    }
}

impl std::error::Error for Ambiguity {}

/// Folds compatibility spellings to ASCII for matching, never for rewriting: full-width forms (U+FF01 to U+FF5E),
/// mathematical letters and digits, decimal digits of other scripts, super- and subscript and circled digits, dashes
/// and spaces of every width. Characters that show as nothing (zero-width space, soft hyphen ..) are left out.
/// ASCII text comes back as it is, without allocation.
#[inline]
pub fn fold(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().filter(|&c| !is_invisible(c)).map(fold_char).collect())
}

/// Which part of a URL a text is written into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Segment,
    Name,
    Value,
}

/// Appends text to a URL in percent-encoded ASCII.
pub(crate) fn push_encoded(out: &mut String, text: &str, part: Part) {
    let plain = |byte: u8| match part {
        Part::Segment => class(byte) & NOT_IN_PATH == 0 && byte != b'/',
        Part::Name => class(byte) & NOT_IN_QUERY == 0 && byte != b'&' && byte != b'=',
        Part::Value => class(byte) & NOT_IN_QUERY == 0 && byte != b'&',
    };
    if text.bytes().all(plain) {
        return out.push_str(text);
    }
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(hex_digit(byte >> 4));
            out.push(hex_digit(byte & 15));
        }
    }
}

/// Decodes one round as [`Target::parse`] does first, telling for each decoded byte which raw bytes it came from.
pub(crate) fn decode_once_mapped(raw: &[u8], query: bool) -> impl Iterator<Item = (u8, Range<usize>)> + '_ {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        let start = at;
        let rest = raw.get(at..)?;
        let (byte, used) = match *rest {
            [] => return None,
            [b'%', high, low, ..] => match escape(high, low) {
                Some(byte) => (byte, 3),
                None => (b'%', 1),
            },
            [b'+', ..] if query => (b' ', 1),
            [byte, ..] => (byte, 1),
        };
        at = at.saturating_add(used);
        Some((byte, start..at))
    })
}

struct ParsedPath<'a> {
    path: Cow<'a, str>,
    segments: Segments<'a>,
    trailing_slash: bool,
    dot_segments: bool,
    tidy: bool,
}

fn split_authority(text: &str) -> Result<(Option<&str>, &str), Ambiguity> {
    if text.starts_with('/') || text == "*" {
        return Ok((None, text));
    }
    let (scheme, rest) = text.split_once("://").ok_or(Ambiguity::NotATarget)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Ambiguity::NotATarget);
    }
    let end = memchr2(b'/', b'?', rest.as_bytes()).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).ok_or(Ambiguity::Authority)?;
    let host_like = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    if authority.is_empty() || !authority.bytes().all(host_like) {
        return Err(Ambiguity::Authority);
    }
    Ok((Some(authority), rest))
}

fn parse_path(text: &str, offset: usize) -> Result<ParsedPath<'_>, Ambiguity> {
    if memchr(b'\\', text.as_bytes()).is_some() {
        return Err(Ambiguity::Backslash);
    }
    if memchr(b';', text.as_bytes()).is_some() {
        return Err(Ambiguity::MatrixParameter);
    }
    let mut segments = Segments::new();
    let (mut trailing_slash, mut dot_segments, mut tidy) = (false, false, !text.is_empty());
    let mut at = offset;
    let mut pieces = text.split('/').peekable();
    if let Some(empty) = pieces.next() {
        at = at.saturating_add(empty.len()).saturating_add(1);
    }
    while let Some(piece) = pieces.next() {
        let start = at;
        at = at.saturating_add(piece.len()).saturating_add(1);
        let last = pieces.peek().is_none();
        if piece.is_empty() {
            trailing_slash = last;
            tidy &= last;
            continue;
        }
        let decoded = decode(piece, false)?;
        match &*decoded {
            "." => {
                (dot_segments, trailing_slash) = (true, last);
            }
            ".." => {
                segments.pop().ok_or(Ambiguity::DotSegment)?;
                (dot_segments, trailing_slash) = (true, last);
            }
            _ => {
                if segments.len() >= MAX_PIECES {
                    return Err(Ambiguity::TooLong);
                }
                tidy &= matches!(decoded, Cow::Borrowed(_));
                segments.push(Segment {
                    text: decoded,
                    range: Span::new(start, piece.len()),
                });
            }
        }
    }
    tidy &= !dot_segments;
    trailing_slash &= !segments.is_empty();
    let path = if tidy {
        Cow::Borrowed(text)
    } else {
        let mut path = String::with_capacity(text.len().max(1));
        for segment in segments.iter() {
            path.push('/');
            path.push_str(&segment.text);
        }
        if trailing_slash || segments.is_empty() {
            path.push('/');
        }
        Cow::Owned(path)
    };
    Ok(ParsedPath {
        path,
        segments,
        trailing_slash,
        dot_segments,
        tidy,
    })
}

/// Reads the pairs; whether each is spelled as it would be rendered, but for characters.
fn parse_query<'a>(
    text: &'a str,
    offset: usize,
    plain: bool,
    parameters: &mut Parameters<'a>,
) -> Result<bool, Ambiguity> {
    let mut tidy = true;
    let semicolon = memchr(b';', text.as_bytes()).is_some();
    let decode = |piece| {
        if plain {
            Ok(Cow::Borrowed(piece))
        } else {
            decode(piece, true)
        }
    };
    let (mut from, mut equals) = (0_usize, None);
    for mark in memchr::memchr2_iter(b'&', b'=', text.as_bytes()).chain([text.len()]) {
        if text.as_bytes().get(mark) == Some(&b'=') {
            equals.get_or_insert(mark);
            continue;
        }
        let pair = text.get(from..mark).unwrap_or_default();
        let start = offset.saturating_add(from);
        let equals = equals.take().map_or(pair.len(), |equals| equals.saturating_sub(from));
        from = mark.saturating_add(1);
        if pair.is_empty() {
            tidy = false;
            continue;
        }
        // `a=1;b=2` is one parameter to some servers and two to others (HTML 4.01, B.2.2, against the URL standard).
        if semicolon
            && let Some((_, rest)) = pair.split_once(';')
            && rest.contains('=')
        {
            return Err(Ambiguity::SemicolonSeparator);
        }
        if parameters.len() >= MAX_PIECES {
            return Err(Ambiguity::TooLong);
        }
        let (name, value) = pair.split_at_checked(equals).unwrap_or((pair, ""));
        let value = value.strip_prefix('=');
        let value_start = start.saturating_add(name.len()).saturating_add(1);
        let decoded_name = decode(name)?;
        let decoded_value = decode(value.unwrap_or_default())?;
        tidy &= matches!((&decoded_name, &decoded_value), (Cow::Borrowed(_), Cow::Borrowed(_)));
        let base_length = memchr2(b':', b'.', decoded_name.as_bytes());
        let base_length = base_length.unwrap_or(decoded_name.len());
        parameters.push(Parameter {
            base_length,
            name: decoded_name,
            value: decoded_value,
            range: Span::new(start, pair.len()),
            name_range: Span::new(start, name.len()),
            value_range: value.map(|value| Span::new(value_start, value.len())),
        });
    }
    Ok(tidy)
}

/// Decodes to a fixed point. The first round is strict, as RFC 3986 is. In later rounds a `%` without two digits is the
/// plain character that `%25` stood for.
fn decode(piece: &str, query: bool) -> Result<Cow<'_, str>, Ambiguity> {
    let bytes = piece.as_bytes();
    let encoded = if query {
        memchr2(b'%', b'+', bytes)
    } else {
        memchr(b'%', bytes)
    };
    if encoded.is_none() {
        // The plain ASCII separators of a path were seen to before.
        if !query && !piece.is_ascii() {
            refuse_separators(piece)?;
        }
        return Ok(Cow::Borrowed(piece));
    }
    let (mut text, _) = decode_round(piece, query, true)?;
    let mut rounds = 1_usize;
    while memchr(b'%', text.as_bytes()).is_some() {
        let (next, changed) = decode_round(&text, false, false)?;
        if !changed {
            break;
        }
        if rounds >= MAX_ROUNDS {
            return Err(Ambiguity::EncodedTooDeep);
        }
        rounds = rounds.saturating_add(1);
        text = next;
    }
    if text.chars().any(char::is_control) {
        return Err(Ambiguity::ControlCharacter);
    }
    if !query {
        refuse_separators(&text)?;
    }
    Ok(Cow::Owned(text))
}

fn decode_round(text: &str, plus_is_space: bool, strict: bool) -> Result<(String, bool), Ambiguity> {
    let mut out = Vec::with_capacity(text.len());
    let mut changed = false;
    let mut rest = text.as_bytes();
    loop {
        rest = match *rest {
            [] => break,
            [b'%', ref tail @ ..] => match *tail {
                [high, low, ref after @ ..] if let Some(byte) = escape(high, low) => {
                    out.push(byte);
                    changed = true;
                    after
                }
                _ if strict => return Err(Ambiguity::InvalidEscape),
                _ => {
                    out.push(b'%');
                    tail
                }
            },
            [b'+', ref tail @ ..] if plus_is_space => {
                out.push(b' ');
                tail
            }
            [byte, ref tail @ ..] => {
                out.push(byte);
                tail
            }
        };
    }
    let text = String::from_utf8(out).map_err(|_| Ambiguity::InvalidUtf8)?;
    Ok((text, changed))
}

/// Refuses a decoded segment that holds what would split the path, or is a dot segment in disguise.
fn refuse_separators(segment: &str) -> Result<(), Ambiguity> {
    for c in segment.chars() {
        match c {
            '/' | '?' | '#' => return Err(Ambiguity::EncodedSeparator),
            '\\' => return Err(Ambiguity::Backslash),
            ';' => return Err(Ambiguity::MatrixParameter),
            _ if c.is_ascii() => {}
            _ if matches!(fold_char(c), '/' | '\\' | '?' | '#' | ';' | '%') => {
                return Err(Ambiguity::EncodedSeparator);
            }
            _ => {}
        }
    }
    if !segment.is_ascii() && matches!(&*fold(segment), "" | "." | "..") {
        return Err(Ambiguity::DotSegment);
    }
    Ok(())
}

fn escape(high: u8, low: u8) -> Option<u8> {
    let high = hex_value(high)?;
    let low = hex_value(low)?;
    Some((high << 4) | low)
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(digit.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(digit.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

fn hex_digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).map_or('0', |c| c.to_ascii_uppercase())
}

/// A control character or a plain space.
const CONTROL: u8 = 1;
/// `#`.
const HASH: u8 = 2;
/// Part of a character outside ASCII.
const NON_ASCII: u8 = 4;
/// Does not stand for itself in a path: neither unreserved, nor a sub-delimiter that means nothing there, nor `/`
/// (RFC 3986, 3.3).
const NOT_IN_PATH: u8 = 8;
/// Does not stand for itself in a query, and is not the separator `&` (RFC 3986, 3.4).
const NOT_IN_QUERY: u8 = 16;
/// Starts an escape, or may stand for a space.
const ENCODED: u8 = 32;

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut rest: &mut [u8] = &mut table;
    let mut byte = 0_u8;
    while let Some((slot, tail)) = rest.split_first_mut() {
        *slot = classify(byte);
        byte = byte.wrapping_add(1);
        rest = tail;
    }
    table
};

const fn classify(byte: u8) -> u8 {
    match byte {
        0..=b' ' | 0x7f => CONTROL | NOT_IN_PATH | NOT_IN_QUERY,
        b'#' => HASH | NOT_IN_PATH | NOT_IN_QUERY,
        0x80.. => NON_ASCII | NOT_IN_PATH | NOT_IN_QUERY,
        b'%' => ENCODED | NOT_IN_PATH | NOT_IN_QUERY,
        b'+' => ENCODED | NOT_IN_QUERY,
        b'?' => NOT_IN_PATH,
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => 0,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b',' | b'=' | b':' | b'@' | b'/' => 0,
        _ => NOT_IN_PATH | NOT_IN_QUERY,
    }
}

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(u8::MAX)
}

/// The classes of all bytes together.
fn classes(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |all, &byte| all | class(byte))
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

fn fold_char(c: char) -> char {
    let code = u32::from(c);
    let digit = |from: u32| char::from_digit(code.wrapping_sub(from), 10).unwrap_or(c);
    let ascii =
        |from: u32, to: char| u8::try_from(u32::from(to).wrapping_add(code.wrapping_sub(from))).map_or(c, char::from);
    match code {
        0..=0x7f => c,
        0xff01..=0xff5e => ascii(0xff01, '!'),
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => ' ',
        0x2010..=0x2015 | 0x2043 | 0x2212 | 0xfe58 | 0xfe63 => '-',
        0x2024 | 0x3002 | 0xfe52 | 0xff61 => '.',
        0x2044 | 0x2215 | 0x29f8 => '/',
        0x2216 | 0x29f5 | 0x29f9 | 0xfe68 => '\\',
        0xfe54 | 0x37e => ';',
        0xfe56 => '?',
        0xfe5f => '#',
        0xfe6a => '%',
        0xfe6b => '@',
        0xfe55 => ':',
        0xb9 => '1',
        0xb2 | 0xb3 => digit(0xb0),
        0x2070 | 0x2074..=0x2079 => digit(0x2070),
        0x2080..=0x2089 => digit(0x2080),
        0x2460..=0x2468 => digit(0x245f),
        0x24ea | 0x24ff => '0',
        0x24b6..=0x24cf => ascii(0x24b6, 'A'),
        0x24d0..=0x24e9 => ascii(0x24d0, 'a'),
        // Mathematical letters: alphabets of 26 capitals and 26 small ones, one after another; then digits by tens.
        0x1d400..=0x1d6a3 => {
            let place = code.wrapping_sub(0x1d400) % 52;
            let base = if place < 26 {
                u32::from('A')
            } else {
                u32::from('a').wrapping_sub(26)
            };
            u8::try_from(base.wrapping_add(place)).map_or(c, char::from)
        }
        0x1d7ce..=0x1d7ff => char::from_digit(code.wrapping_sub(0x1d7ce) % 10, 10).unwrap_or(c),
        0x1fbf0..=0x1fbf9 => digit(0x1fbf0),
        _ => DECIMAL_ZEROS
            .iter()
            .find(|&&zero| code.wrapping_sub(zero) < 10)
            .map_or(c, |&zero| digit(zero)),
    }
}

/// Zero of each run of ten decimal digits (Unicode category Nd) in scripts of everyday use.
static DECIMAL_ZEROS: [u32; 24] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0xa8d0, 0xa900,
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(raw: &str) -> Target<'_> {
        match Target::parse(raw.as_bytes()) {
            Ok(target) => target,
            Err(why) => panic!("{raw}: {}", why.code()),
        }
    }

    fn refused(raw: &[u8]) -> &'static str {
        match Target::parse(raw) {
            Ok(target) => panic!("`{}` was read as `{}`", String::from_utf8_lossy(raw), target.render()),
            Err(why) => why.code(),
        }
    }

    #[test]
    fn paths_have_one_spelling() {
        for (raw, path) in [
            ("/", "/"),
            ("/fhir/Patient/7", "/fhir/Patient/7"),
            ("/fhir/Patient/", "/fhir/Patient/"),
            ("//fhir///Patient", "/fhir/Patient"),
            ("/fhir/./Patient", "/fhir/Patient"),
            ("/public/../fhir/Patient", "/fhir/Patient"),
            ("/public/%2e%2E/fhir", "/fhir"),
            ("/public/%252e%252e/fhir", "/fhir"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/a/..", "/"),
            ("/%50atient", "/Patient"),
            ("/%2550atient", "/Patient"),
            ("/%25252550atient", "/Patient"),
            ("/100%25", "/100%"),
            ("/a+b", "/a+b"),
            ("/a%20b", "/a b"),
            ("/caf%C3%A9", "/café"),
            ("/café", "/café"),
            ("/a...b/...", "/a...b/..."),
            ("http://h/x", "/x"),
            ("HTTPS://h:8443", "/"),
            ("http://h?x=1", "/"),
            ("*", "*"),
        ] {
            let target = parse(raw);
            assert_eq!(target.path(), path, "{raw}");
            let joined: String = target.segments().iter().map(|s| format!("/{}", s.text())).collect();
            assert_eq!(
                joined.trim_end_matches('/'),
                path.trim_end_matches('/').trim_start_matches('*'),
                "{raw}"
            );
        }
    }

    #[test]
    fn queries_have_one_spelling() {
        for (raw, pairs) in [
            ("/?b%69rthdate=1970", vec![("birthdate", "1970")]),
            ("/?%62%69%72thdate=19%37%30", vec![("birthdate", "1970")]),
            ("/?a=1&a=2&&b", vec![("a", "1"), ("a", "2"), ("b", "")]),
            ("/?a=x+y%20z%2B1", vec![("a", "x y z+1")]),
            ("/?a=%252B", vec![("a", "+")]),
            ("/?a=123%252d45", vec![("a", "123-45")]),
            ("/?a=1=2", vec![("a", "1=2")]),
            ("/?=x", vec![("", "x")]),
            ("/?a=50%25", vec![("a", "50%")]),
            ("/?a=b;c", vec![("a", "b;c")]),
            ("/?a=b%3Bc=d", vec![("a", "b;c=d")]),
            ("/?a=x\\,y", vec![("a", "x\\,y")]),
            ("/?a=%E2%82%AC", vec![("a", "€")]),
            ("/?", vec![]),
        ] {
            let target = parse(raw);
            let read: Vec<_> = target.parameters().iter().map(|p| (p.name(), p.value())).collect();
            assert_eq!(read, pairs, "{raw}");
        }
    }

    #[test]
    fn what_readers_take_differently_is_refused() {
        for (raw, code) in [
            (&b""[..], "not_a_target"),
            (b"fhir", "not_a_target"),
            (b"ftp://h/x", "not_a_target"),
            (b"javascript:x", "not_a_target"),
            (b"?x=1", "not_a_target"),
            (b"http://", "authority"),
            (b"http:///x", "authority"),
            (b"http://u:p@h/x", "authority"),
            (b"http://h%2f/x", "authority"),
            (b"/%", "invalid_escape"),
            (b"/%4", "invalid_escape"),
            (b"/%zz", "invalid_escape"),
            (b"/?a=%", "invalid_escape"),
            (b"/?%u0041=1", "invalid_escape"),
            (b"/%c0%ae%c0%ae/x", "invalid_utf8"),
            (b"/?n=%c1%81", "invalid_utf8"),
            (b"/?n=%e0%80%af", "invalid_utf8"),
            (b"/?n=%25ff", "invalid_utf8"),
            (b"/\xff", "invalid_utf8"),
            (b"/\xc3%A9", "invalid_utf8"),
            (b"/?n=%ed%a0%80", "invalid_utf8"),
            (b"/a b", "control_character"),
            (b"/a\0", "control_character"),
            (b"/a%00b", "control_character"),
            (b"/?a=%0d%0aX:1", "control_character"),
            (b"/?a=%2500", "control_character"),
            (b"/?a=%C2%85", "control_character"),
            (b"/a\\..\\b", "backslash"),
            (b"/a%5cb", "backslash"),
            (b"/a%255cb", "backslash"),
            (b"/a%2fb", "encoded_separator"),
            (b"/a%252Fb", "encoded_separator"),
            (b"/a%3fb", "encoded_separator"),
            (b"/a%23b", "encoded_separator"),
            ("/a／b".as_bytes(), "encoded_separator"),
            ("/a％2eb".as_bytes(), "encoded_separator"),
            (b"/a#b", "fragment"),
            (b"/?a=1#b", "fragment"),
            (b"/%2525252541", "encoded_too_deep"),
            (b"/?a=%252525252541", "encoded_too_deep"),
            (b"/a;jsessionid=1/b", "matrix_parameter"),
            (b"/a;/b", "matrix_parameter"),
            (b"/a%3bx/b", "matrix_parameter"),
            (b"/..", "dot_segment"),
            (b"/a/../../b", "dot_segment"),
            (b"/%2e%2e/b", "dot_segment"),
            ("/a/．．/b".as_bytes(), "dot_segment"),
            ("/a/\u{200b}/b".as_bytes(), "dot_segment"),
            (b"/?a=1;b=2", "semicolon_separator"),
            (b"/?a;b=2", "semicolon_separator"),
        ] {
            assert_eq!(refused(raw), code, "{}", String::from_utf8_lossy(raw));
        }
        assert_eq!(refused(&[b'/'; MAX_LENGTH + 1]), "too_long");
        assert_eq!(
            refused("/?".to_owned().add_times("a&", MAX_PIECES + 1).as_bytes()),
            "too_long"
        );
        assert_eq!(
            refused("".to_owned().add_times("/a", MAX_PIECES + 1).as_bytes()),
            "too_long"
        );
    }

    trait AddTimes {
        fn add_times(self, what: &str, times: usize) -> String;
    }

    impl AddTimes for String {
        fn add_times(self, what: &str, times: usize) -> String {
            self + &what.repeat(times)
        }
    }

    #[test]
    fn ranges_point_at_the_raw_bytes() {
        let raw = "http://h/a//%62/../c?x=1&&%79=2+3&z";
        let target = parse(raw);
        let at = |range: Range<usize>| &raw[range];
        let segments: Vec<_> = target.segments().iter().map(|s| at(s.range())).collect();
        assert_eq!(segments, ["a", "c"]);
        assert_eq!(at(target.path_range()), "/a//%62/../c");
        let pairs: Vec<_> = target.parameters().iter().map(|p| at(p.range())).collect();
        assert_eq!(pairs, ["x=1", "%79=2+3", "z"]);
        let values: Vec<_> = target.parameters().iter().map(|p| p.value_range().map(at)).collect();
        assert_eq!(values, [Some("1"), Some("2+3"), None]);
        assert_eq!(at(target.parameters()[1].name_range()), "%79");
        assert!(target.has_dot_segments());
    }

    #[test]
    fn base_names_end_at_modifier_and_chain() {
        let target =
            parse("/?name:exact=a&subject:Patient.name=b&patient.name=c&_has:Observation:patient:code=d&_id=e");
        let names: Vec<_> = target.parameters().iter().map(Parameter::base_name).collect();
        assert_eq!(names, ["name", "subject", "patient", "_has", "_id"]);
    }

    #[test]
    fn nothing_decoded_is_borrowed() {
        let target = parse("/fhir/Patient/7?_count=10&code=a,b");
        assert!(target.is_canonical());
        assert!(matches!(target.path, Cow::Borrowed(_)));
        assert!(target.segments.iter().all(|s| matches!(s.text, Cow::Borrowed(_))));
        assert!(
            target
                .parameters
                .iter()
                .all(|p| matches!((&p.name, &p.value), (Cow::Borrowed(_), Cow::Borrowed(_))))
        );
        for raw in [
            "/a//b", "/a/./b", "/%41", "/a?", "/?a&&b", "/?a=b+c", "/?a=b|c", "/?a=é", "http://h",
        ] {
            assert!(!parse(raw).is_canonical(), "{raw}");
        }
    }

    #[test]
    fn compatibility_spellings_fold() {
        for (text, folded) in [
            ("１２３－４５－６７８９", "123-45-6789"),
            ("ｂｉｒｔｈｄａｔｅ", "birthdate"),
            ("𝟏𝟐𝟑𝟜", "1234"),
            ("𝐌𝐑𝐍", "MRN"),
            ("٠١٢", "012"),
            ("१२३", "123"),
            ("①②③⓪", "1230"),
            ("¹²³⁴₅", "12345"),
            ("12\u{200b}3\u{ad}4", "1234"),
            ("1\u{a0}2\u{2011}3", "1 2-3"),
            ("café", "café"),
            ("plain", "plain"),
        ] {
            assert_eq!(fold(text), folded);
        }
    }

    #[test]
    fn rendering_is_plain_ascii() {
        for (raw, rendered) in [
            ("/a//%62/./c%20d", "/a/b/c%20d"),
            ("/é?é=|+%2B", "/%C3%A9?%C3%A9=%7C%20%2B"),
            ("/?a%3Db=c%26d", "/?a%3Db=c%26d"),
            ("HTTPS://h/../".trim_end_matches("../"), "https://h/"),
            ("/100%25", "/100%25"),
            ("*", "*"),
        ] {
            assert_eq!(parse(raw).render(), rendered);
        }
    }

    fn same(a: &Target<'_>, b: &Target<'_>) -> bool {
        let pairs = |t: &Target<'_>| -> Vec<(String, String)> {
            t.parameters()
                .iter()
                .map(|p| (p.name().to_owned(), p.value().to_owned()))
                .collect()
        };
        a.path() == b.path() && pairs(a) == pairs(b) && a.authority() == b.authority()
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            8 => "[a-zA-Z0-9_.:-]{1,4}",
            4 => prop::sample::select(vec!["/", "..", ".", "?", "&", "=", ";", "%2e", "%25", "%", "+", "%2f", "%41", "%C3%A9",
                "é", "／", "％", "%2541", "\\", "#", "%00", "//", "Patient", "１", "|", "%zz", "%e2%80%8b"]).prop_map(str::to_owned),
        ];
        (
            prop::sample::select(vec!["/", "/", "/", "http://h", "*", ""]),
            prop::collection::vec(piece, 0..12),
        )
            .prop_map(|(start, pieces)| format!("{start}{}", pieces.concat()).into_bytes())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_bytes_panic(raw in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(target) = Target::parse(&raw) {
                target.render();
            }
        }

        #[test]
        fn the_canonical_form_is_canonical(raw in hostile()) {
            if let Ok(target) = Target::parse(&raw) {
                let rendered = target.render();
                prop_assert!(rendered.is_ascii());
                let again = Target::parse(rendered.as_bytes()).map_err(|why| TestCaseError::fail(why.code()))?;
                prop_assert!(same(&target, &again), "{} {}", String::from_utf8_lossy(&raw), rendered);
                prop_assert_eq!(&again.render(), &rendered);
                if target.is_canonical() {
                    prop_assert_eq!(rendered.as_bytes(), &raw[..]);
                }
                prop_assert!(target.path() == "*" || target.path().starts_with('/'));
                prop_assert!(!target.path().contains("//") && !target.path().split('/').any(|s| s == "." || s == ".."));
            }
        }

        #[test]
        fn one_more_encoding_changes_nothing(raw in hostile(), pick in any::<u64>()) {
            // Encoding any unreserved byte of path or query once more is the same target, or is refused.
            let Ok(target) = Target::parse(&raw) else { return Ok(()) };
            if target.authority().is_some() || target.is_asterisk() { return Ok(()) }
            let spelled: String = raw.iter().enumerate().map(|(i, &b)| {
                let free = b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
                let in_escape = (1..=2).any(|back| i >= back && raw[i - back] == b'%');
                if free && !in_escape && pick.rotate_left(i as u32) & 1 == 1 { format!("%{b:02x}") } else { String::from_utf8_lossy(&[b]).into_owned() }
            }).collect();
            if !raw.is_ascii() { return Ok(()) }
            match Target::parse(spelled.as_bytes()) {
                Ok(other) => prop_assert!(same(&target, &other), "{} {}", String::from_utf8_lossy(&raw), spelled),
                Err(why) => prop_assert_eq!(why, Ambiguity::EncodedTooDeep),
            }
        }
    }
}
