//! Selectors: the part of JSONPath (RFC 9535) that can be decided while a body streams by.

use std::fmt;
use std::sync::Arc;

use super::filter::Filter;

/// The largest integer that RFC 9535 section 2.1 allows in a selector (I-JSON, RFC 7493).
const MAX_INTEGER: u64 = 9_007_199_254_740_991;

/// The most segments a selector may have: the default depth limit of a body, so that more could never select.
const MAX_SEGMENTS: usize = 128;

/// A parsed selector, for example `$.entry[*].resource..text`.
///
/// Taken are `$`, `.name`, `['name']`, `["name"]`, `[*]`, `.*`, `[N]`, `[a:b]`, `[a:b:c]`, `[?filter]`, unions of these such
/// as `['a','b']` or `[0,2]`, and each of them behind `..`. The meaning is that of RFC 9535: a name selects members of objects
/// only, an index or a slice elements of arrays only, a wildcard and a filter both.
///
/// A filter is made of `@`, `@.name`, `@['name']` and `@[N]` chains, alone (does it exist) or compared by `== != < <= > >=` with a
/// string, a number, `true`, `false` or `null`, joined by `!`, `&&`, `||` and parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    text: String,
    segments: Vec<Segment>,
}

/// One step of the way down, RFC 9535 section 2.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// `..`: the step may be taken at any depth below.
    pub(super) descends: bool,
    pub(super) picks: Vec<Pick>,
}

/// What one selector inside a segment picks among the children of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// The members of an object with this name.
    Name(String),
    /// Every member and every element.
    Every,
    /// Every `step`th element of an array from `from`, before `to`; none at all with a step of 0.
    Elements { from: u64, to: u64, step: u64 },
    /// The members and elements for whose value the filter holds.
    Where(Arc<Filter>),
}

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    /// When the text is no JSONPath, or needs what cannot be decided in one pass (`$` in filters, functions, negative indexes).
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let mut cursor = Cursor { text, at: 0 };
        if !cursor.take('$') {
            return Err(cursor.error(SelectorFault::Root));
        }
        let mut segments = Vec::new();
        loop {
            let before_space = cursor.at;
            cursor.skip_space();
            let Some(first) = cursor.peek() else {
                if cursor.at != before_space {
                    return Err(SelectorError {
                        offset: before_space,
                        fault: SelectorFault::TrailingSpace,
                    });
                }
                break;
            };
            if segments.len() >= MAX_SEGMENTS {
                return Err(cursor.error(SelectorFault::TooLong));
            }
            match first {
                '.' => {
                    cursor.bump();
                    let descends = cursor.take('.');
                    let picks = match cursor.peek() {
                        Some('*') => {
                            cursor.bump();
                            vec![Pick::Every]
                        }
                        Some('[') if descends => cursor.brackets()?,
                        _ => vec![Pick::Name(cursor.shorthand()?)],
                    };
                    segments.push(Segment { descends, picks });
                }
                '[' => segments.push(Segment {
                    descends: false,
                    picks: cursor.brackets()?,
                }),
                '(' => return Err(cursor.error(SelectorFault::Function)),
                _ => return Err(cursor.error(SelectorFault::Segment)),
            }
        }
        Ok(Selector {
            text: text.to_owned(),
            segments,
        })
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl fmt::Display for Selector {
    /// The selector as it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Segment {
    /// Whether the member `name` is picked; the compiler knows by numbers.
    #[cfg(test)]
    pub(super) fn picks_name(&self, name: &str) -> bool {
        self.picks.iter().any(|pick| match pick {
            Pick::Name(own) => own == name,
            Pick::Every => true,
            Pick::Elements { .. } | Pick::Where(_) => false,
        })
    }

    /// Whether a member is picked whose name no selector mentions.
    pub(super) fn picks_any_name(&self) -> bool {
        self.picks.iter().any(|pick| matches!(pick, Pick::Every))
    }

    /// Whether the element `index` is picked.
    pub(super) fn picks_index(&self, index: u64) -> bool {
        self.picks.iter().any(|pick| match pick {
            Pick::Name(_) | Pick::Where(_) => false,
            Pick::Every => true,
            Pick::Elements { from, to, step } => {
                (*from..*to).contains(&index) && index.wrapping_sub(*from).checked_rem(*step) == Some(0)
            }
        })
    }

    /// The filters among what it picks.
    pub(super) fn filters(&self) -> impl Iterator<Item = &Arc<Filter>> {
        self.picks.iter().filter_map(|pick| match pick {
            Pick::Where(filter) => Some(filter),
            _ => None,
        })
    }
}

/// Why a text is no selector that streams, and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    offset: usize,
    fault: SelectorFault,
}

impl SelectorError {
    /// Where in the selector, in bytes from its start.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

impl SelectorError {
    pub(super) fn new(offset: usize, fault: SelectorFault) -> SelectorError {
        SelectorError { offset, fault }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SelectorFault {
    Root,
    TrailingSpace,
    TooLong,
    Segment,
    Shorthand,
    NameCharacter(char),
    Unclosed,
    EmptyBrackets,
    UnquotedName,
    FilterRoot,
    FilterQuery,
    FilterQueries,
    FilterOperand,
    FilterLiteral,
    FilterParenthesis,
    FilterNesting,
    FilterNumber,
    Script,
    Function,
    NegativeIndex,
    Step,
    Integer,
    Item,
    UnclosedString,
    Escape,
    Control,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use SelectorFault as F;
        let what = match &self.fault {
            F::Root => "a selector starts with `$`; write `$.name`, or `$..name` for any depth",
            F::TrailingSpace => "white space after the selector; remove it",
            F::TooLong => "more than 128 steps, deeper than any body may nest; shorten the selector",
            F::Segment => "a step starts with `.` or `[`; write `.name`, `['name']` or `[*]`",
            F::Shorthand => {
                "a name or `*` must follow the dot; write `.name`, or `['name']` for a name that starts otherwise"
            }
            F::NameCharacter(found) => {
                return write!(
                    f,
                    "at offset {}: `{}` cannot stand in a name after a dot; write the name as `['name']`",
                    self.offset,
                    found.escape_default()
                );
            }
            F::Unclosed => "a bracket is not closed; write `]` after the last item",
            F::EmptyBrackets => "nothing stands between the brackets; write `[*]` for every child",
            F::UnquotedName => "a name in brackets needs quotes; write `['name']`",
            F::FilterRoot => {
                "`$` in a filter cannot stream: it may look at what has passed already or is still to come; compare members of the value itself, as `@.name`"
            }
            F::FilterQuery => {
                "a filter reads one member by its way, as `@.name` or `@.name[0]`; write one such query for each member instead of `*`, `..`, slices or unions"
            }
            F::FilterQueries => "two members cannot be compared with each other; compare each with a literal",
            F::FilterOperand => {
                "a filter expects `@.name`, a literal, `!` or a parenthesis here; write for example `[?@.use == 'official']`"
            }
            F::FilterLiteral => "a literal alone is no condition; compare it, as `@.active == true`",
            F::FilterParenthesis => "a parenthesis in a filter is not closed; write `)`",
            F::FilterNesting => "a filter is nested deeper than 32 parentheses; simplify it",
            F::FilterNumber => {
                "a number in a filter is written as in JSON, with an exponent of at most four digits; correct it"
            }
            F::Script => "a script `(..)` is not in RFC 9535 and cannot stream; use a name, an index, a slice or `*`",
            F::Function => {
                "a function cannot stream: it needs the whole value; select by name, index, slice, `*` or a comparison such as `[?@.use == 'old']`"
            }
            F::NegativeIndex => {
                "a negative index cannot stream: it counts from the end of an array whose length is not known yet; count from the start, or use `[*]`"
            }
            F::Step => {
                "a slice with a negative step cannot stream: it counts from the end of an array whose length is not known yet; use a positive step"
            }
            F::Integer => "an index is a decimal number without leading zeros, at most 9007199254740991; correct it",
            F::Item => {
                "a name, an index, a slice, a filter or `*` is expected here; write for example `['a','b']`, `[0,2]`, `[0:3]`, `[?@.a]` or `[*]`"
            }
            F::UnclosedString => "a quoted name does not end; add the closing quote",
            F::Escape => {
                "an unknown escape in a quoted name; use \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX or the escaped quote"
            }
            F::Control => "a control character in a quoted name; write it as \\uXXXX",
        };
        write!(f, "at offset {}: {what}", self.offset)
    }
}

impl std::error::Error for SelectorError {}

/// Where a text is read.
pub(super) struct Cursor<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

impl Cursor<'_> {
    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at = self.at.saturating_add(next.len_utf8());
        Some(next)
    }

    pub(super) fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.bump();
        }
        found
    }

    pub(super) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.bump();
        }
    }

    pub(super) fn error(&self, fault: SelectorFault) -> SelectorError {
        SelectorError { offset: self.at, fault }
    }

    /// RFC 9535 section 2.5.1.1, `member-name-shorthand`.
    fn shorthand(&mut self) -> Result<String, SelectorError> {
        let mut name = String::new();
        while let Some(next) = self.peek() {
            let first = name.is_empty();
            match next {
                'a'..='z' | 'A'..='Z' | '_' | '\u{80}'.. => name.push(next),
                '0'..='9' if !first => name.push(next),
                '.' | '[' | ' ' | '\t' | '\n' | '\r' => break,
                '(' if !first => return Err(self.error(SelectorFault::Function)),
                _ if first => return Err(self.error(SelectorFault::Shorthand)),
                other => return Err(self.error(SelectorFault::NameCharacter(other))),
            }
            self.bump();
        }
        if name.is_empty() {
            Err(self.error(SelectorFault::Shorthand))
        } else {
            Ok(name)
        }
    }

    /// RFC 9535 section 2.5.1.1, `bracketed-selection`.
    fn brackets(&mut self) -> Result<Vec<Pick>, SelectorError> {
        self.bump();
        let mut picks = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                None => return Err(self.error(SelectorFault::Unclosed)),
                Some('*') => {
                    self.bump();
                    picks.push(Pick::Every);
                }
                Some(quote @ ('\'' | '"')) => picks.push(Pick::Name(self.quoted(quote)?)),
                Some('0'..='9' | ':' | '-') => picks.push(self.elements()?),
                Some('?') => {
                    self.bump();
                    picks.push(Pick::Where(Arc::new(Filter::parse(self)?)));
                }
                Some('(') => return Err(self.error(SelectorFault::Script)),
                Some(']') if picks.is_empty() => {
                    return Err(self.error(SelectorFault::EmptyBrackets));
                }
                Some('a'..='z' | 'A'..='Z' | '_' | '\u{80}'..) => {
                    return Err(self.error(SelectorFault::UnquotedName));
                }
                Some(_) => return Err(self.error(SelectorFault::Item)),
            }
            self.skip_space();
            if self.take(']') {
                return Ok(picks);
            }
            if !self.take(',') {
                let fault = if self.peek().is_none() {
                    SelectorFault::Unclosed
                } else {
                    SelectorFault::Item
                };
                return Err(self.error(fault));
            }
        }
    }

    /// An index or a slice, RFC 9535 sections 2.3.3 and 2.3.4.
    fn elements(&mut self) -> Result<Pick, SelectorError> {
        let from = self.integer()?;
        self.skip_space();
        if !self.take(':') {
            return match from {
                Some(from) => Ok(Pick::Elements {
                    from,
                    to: from.saturating_add(1),
                    step: 1,
                }),
                None => Err(self.error(SelectorFault::Item)),
            };
        }
        self.skip_space();
        let to = self.integer()?;
        self.skip_space();
        let mut step = None;
        if self.take(':') {
            self.skip_space();
            if self.peek() == Some('-') {
                return Err(self.error(SelectorFault::Step));
            }
            step = self.integer()?;
        }
        Ok(Pick::Elements {
            from: from.unwrap_or(0),
            to: to.unwrap_or(u64::MAX),
            step: step.unwrap_or(1),
        })
    }

    pub(super) fn integer(&mut self) -> Result<Option<u64>, SelectorError> {
        if self.peek() == Some('-') {
            return Err(self.error(SelectorFault::NegativeIndex));
        }
        let start = self.at;
        while matches!(self.peek(), Some('0'..='9')) {
            self.bump();
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        if digits.is_empty() {
            return Ok(None);
        }
        let zeros = digits.len() > 1 && digits.starts_with('0');
        match digits.parse::<u64>() {
            Ok(value) if value <= MAX_INTEGER && !zeros => Ok(Some(value)),
            _ => Err(SelectorError {
                offset: start,
                fault: SelectorFault::Integer,
            }),
        }
    }

    /// A quoted name, RFC 9535 section 2.3.1.
    pub(super) fn quoted(&mut self, quote: char) -> Result<String, SelectorError> {
        self.bump();
        let mut name = String::new();
        loop {
            let at = self.at;
            let wrong = |fault| Err(SelectorError { offset: at, fault });
            match self.bump() {
                None => return wrong(SelectorFault::UnclosedString),
                Some(end) if end == quote => return Ok(name),
                Some('\0'..='\u{1f}') => return wrong(SelectorFault::Control),
                Some('\\') => {
                    let plain = match self.bump() {
                        Some('b') => '\u{8}',
                        Some('f') => '\u{c}',
                        Some('n') => '\n',
                        Some('r') => '\r',
                        Some('t') => '\t',
                        Some(same @ ('/' | '\\')) => same,
                        Some(same) if same == quote => same,
                        Some('u') => match self.unicode() {
                            Some(found) => found,
                            None => return wrong(SelectorFault::Escape),
                        },
                        _ => return wrong(SelectorFault::Escape),
                    };
                    name.push(plain);
                }
                Some(other) => name.push(other),
            }
        }
    }

    /// What follows `\u`, with the second half of a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        if !(self.take('\\') && self.take('u')) {
            return None;
        }
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            return None;
        }
        let high = first & 0x3ff;
        char::from_u32(0x1_0000_u32.wrapping_add((high << 10) | (second & 0x3ff)))
    }

    fn hex(&mut self) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..4 {
            value = (value << 4) | self.bump()?.to_digit(16)?;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(text: &str) -> Vec<(bool, Vec<Pick>)> {
        let selector = Selector::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(selector.to_string(), text);
        selector
            .segments
            .into_iter()
            .map(|segment| (segment.descends, segment.picks))
            .collect()
    }

    fn name(text: &str) -> Pick {
        Pick::Name(text.to_owned())
    }

    #[test]
    fn parses_what_streams() {
        assert_eq!(picks("$"), vec![]);
        assert_eq!(picks("$.a"), vec![(false, vec![name("a")])]);
        assert_eq!(picks("$['a']"), picks("$.a"));
        assert_eq!(picks(r#"$["a"]"#), picks("$.a"));
        assert_eq!(picks("$._birthDate1"), vec![(false, vec![name("_birthDate1")])]);
        assert_eq!(picks("$.é"), vec![(false, vec![name("é")])]);
        assert_eq!(picks("$.*"), vec![(false, vec![Pick::Every])]);
        assert_eq!(picks("$[*]"), picks("$.*"));
        assert_eq!(picks("$..*"), vec![(true, vec![Pick::Every])]);
        assert_eq!(picks("$..a"), vec![(true, vec![name("a")])]);
        assert_eq!(picks("$..['a', \"b\"]"), vec![(true, vec![name("a"), name("b")])]);
        assert_eq!(
            picks("$[0,2]"),
            vec![(
                false,
                vec![
                    Pick::Elements {
                        from: 0,
                        to: 1,
                        step: 1
                    },
                    Pick::Elements {
                        from: 2,
                        to: 3,
                        step: 1
                    }
                ]
            )]
        );
        assert_eq!(
            picks("$[1:3]"),
            vec![(
                false,
                vec![Pick::Elements {
                    from: 1,
                    to: 3,
                    step: 1
                }]
            )]
        );
        assert_eq!(
            picks("$[ : ]"),
            vec![(
                false,
                vec![Pick::Elements {
                    from: 0,
                    to: u64::MAX,
                    step: 1
                }]
            )]
        );
        assert_eq!(
            picks("$[2:]"),
            vec![(
                false,
                vec![Pick::Elements {
                    from: 2,
                    to: u64::MAX,
                    step: 1
                }]
            )]
        );
        assert_eq!(
            picks("$[:2:1]"),
            vec![(
                false,
                vec![Pick::Elements {
                    from: 0,
                    to: 2,
                    step: 1
                }]
            )]
        );
        assert_eq!(picks("$[:2:]"), picks("$[:2:1]").clone());
        assert_eq!(
            picks("$[1 : 9 : 2]"),
            vec![(
                false,
                vec![Pick::Elements {
                    from: 1,
                    to: 9,
                    step: 2
                }]
            )]
        );
        assert_eq!(picks("$ .a\n[0]").len(), 2);
        assert_eq!(picks("$.a..b[*].c").len(), 4);
    }

    #[test]
    fn unescapes_quoted_names() {
        assert_eq!(picks(r"$['it\'s']"), vec![(false, vec![name("it's")])]);
        assert_eq!(
            picks(r#"$["\"\\\/\b\f\n\r\t"]"#),
            vec![(false, vec![name("\"\\/\u{8}\u{c}\n\r\t")])]
        );
        assert_eq!(picks(r"$['\u0073sn']"), vec![(false, vec![name("ssn")])]);
        assert_eq!(picks(r"$['\uD83D\ude00']"), vec![(false, vec![name("😀")])]);
    }

    #[test]
    fn refuses_the_rest_with_place_and_mend() {
        for (text, offset, part) in [
            ("", 0, "starts with `$`"),
            ("a.b", 0, "starts with `$`"),
            (" $.a", 0, "starts with `$`"),
            ("$.a ", 3, "white space"),
            ("$a", 1, "starts with `.` or `[`"),
            ("$.", 2, "must follow the dot"),
            ("$..", 3, "must follow the dot"),
            ("$.a.", 4, "must follow the dot"),
            ("$...a", 3, "must follow the dot"),
            ("$.[0]", 2, "must follow the dot"),
            ("$. a", 2, "must follow the dot"),
            ("$.1a", 2, "must follow the dot"),
            ("$.foo-bar", 5, "`-` cannot stand in a name"),
            ("$.a,b", 3, "`,` cannot stand in a name"),
            ("$[-1]", 2, "negative index cannot stream"),
            ("$[-0]", 2, "negative index cannot stream"),
            ("$[1:-1]", 4, "negative index cannot stream"),
            ("$[::-1]", 4, "negative step"),
            ("$[?@.a == $.b]", 10, "`$` in a filter cannot stream"),
            ("$[?$.b]", 3, "`$` in a filter cannot stream"),
            ("$[?length(@.a) > 2]", 9, "function cannot stream"),
            ("$[?match(@.a, 'x')]", 8, "function cannot stream"),
            ("$[?count(@.*) == 1]", 8, "function cannot stream"),
            ("$[?@.a == value(@..b)]", 15, "function cannot stream"),
            ("$[?@.*]", 5, "instead of `*`"),
            ("$[?@..a]", 5, "instead of `*`"),
            ("$[?@[0:2]]", 6, "instead of `*`"),
            ("$[?@[0,1]]", 6, "instead of `*`"),
            ("$[?@[*]]", 5, "instead of `*`"),
            ("$[?@[?@.a]]", 5, "instead of `*`"),
            ("$[?@[-1]]", 5, "negative index"),
            ("$[?@.a == @.b]", 13, "each with a literal"),
            ("$[?'a']", 6, "no condition"),
            ("$[?true]", 7, "no condition"),
            ("$[?]", 3, "a filter expects"),
            ("$[?@.a &&]", 9, "a filter expects"),
            ("$[?@.a = 1]", 7, "is expected here"),
            ("$[?(@.a]", 7, "not closed"),
            ("$[?!@.a == 1]", 8, "is expected here"),
            ("$[?@.a == 01]", 10, "written as in JSON"),
            ("$[?@.a == 1.]", 10, "written as in JSON"),
            ("$[?@.a == 1e10000]", 10, "written as in JSON"),
            ("$[?@.a == .5]", 10, "a filter expects"),
            ("$[?@.a == foo]", 10, "a filter expects"),
            ("$[?@.a", 6, "not closed"),
            ("$[?@.]", 5, "must follow the dot"),
            ("$[(@.length-1)]", 2, "script"),
            ("$.a.length()", 10, "function cannot stream"),
            ("$[01]", 2, "leading zeros"),
            ("$[9007199254740992]", 2, "at most"),
            ("$[99999999999999999999999]", 2, "at most"),
            ("$[]", 2, "nothing stands"),
            ("$[a]", 2, "needs quotes"),
            ("$['a'", 5, "not closed"),
            ("$[", 2, "not closed"),
            ("$['a' 'b']", 6, "is expected here"),
            ("$['a',]", 6, "is expected here"),
            ("$['a", 4, "does not end"),
            ("$['a\\x']", 4, "unknown escape"),
            ("$['\\\"']", 3, "unknown escape"),
            ("$['\\ud800']", 3, "unknown escape"),
            ("$['\\udc00']", 3, "unknown escape"),
            ("$['a\nb']", 4, "control character"),
        ] {
            let error = Selector::parse(text).expect_err(text);
            assert_eq!(error.offset(), offset, "{text}: {error}");
            let shown = error.to_string();
            assert!(
                shown.contains(part) && shown.starts_with(&format!("at offset {offset}: ")),
                "{text}: {shown}"
            );
        }
        assert!(Selector::parse(&format!("${}", ".a".repeat(129))).is_err());
    }
}
