//! Parameters as they follow in header values: `; name=token; name="quoted"` (RFC 9110 5.6.6), with the blanks that RFC 8288 allows around `=`.

use std::ops::Range;

/// Where one is in a header value.
pub(super) struct Cursor<'v> {
    text: &'v str,
    at: usize,
}

/// One parameter.
pub(super) struct Param<'v> {
    /// From its name to the end of its value.
    pub(super) range: Range<usize>,
    pub(super) name: &'v str,
    pub(super) value: Option<Value>,
}

/// A parameter's value.
pub(super) struct Value {
    /// With its quotes.
    pub(super) range: Range<usize>,
    /// Without quotes and backslashes.
    pub(super) text: String,
}

impl<'v> Cursor<'v> {
    pub(super) fn new(text: &'v str) -> Self {
        Cursor { text, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes this byte, if it is the next.
    pub(super) fn take(&mut self, wanted: u8) -> bool {
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.at = self.at.saturating_add(1);
        }
        is_next
    }

    pub(super) fn skip_space(&mut self) {
        self.run(|b| matches!(b, b' ' | b'\t'));
    }

    /// Takes all bytes of a kind.
    pub(super) fn run(&mut self, is: impl Fn(u8) -> bool) -> Range<usize> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let length = rest.iter().take_while(|&&b| is(b)).count();
        self.at = start.saturating_add(length);
        start..self.at
    }

    /// A parameter; `None` where there is none that can be read.
    pub(super) fn param(&mut self) -> Option<Param<'v>> {
        let name_range = self.run(is_token);
        let name = self.text.get(name_range.clone()).filter(|name| !name.is_empty())?;
        let after_name = self.at;
        self.skip_space();
        if !self.take(b'=') {
            self.at = after_name;
            return Some(Param {
                range: name_range,
                name,
                value: None,
            });
        }
        self.skip_space();
        let value = if self.peek() == Some(b'"') {
            self.quoted()?
        } else {
            // More than a token, as many write it: media types, addresses with ports.
            let range = self.run(|b| b > b' ' && b != 0x7f && !matches!(b, b'"' | b',' | b';' | b'<' | b'>'));
            Value {
                text: self.text.get(range.clone())?.to_owned(),
                range,
            }
        };
        Some(Param {
            range: name_range.start..value.range.end,
            name,
            value: Some(value),
        })
    }

    fn quoted(&mut self) -> Option<Value> {
        let start = self.at;
        let rest = self.text.get(start..)?;
        let (mut text, mut escaped) = (String::new(), false);
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => {
                    escaped = false;
                    text.push(c);
                }
                '\\' => escaped = true,
                '"' => {
                    self.at = start.saturating_add(at).saturating_add(1);
                    return Some(Value {
                        range: start..self.at,
                        text,
                    });
                }
                _ => text.push(c),
            }
        }
        None
    }
}

/// `tchar` (RFC 9110 5.6.2).
pub(super) fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// A text as a quoted string.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// What an extended value (RFC 8187 3.2.1) says; `None` where it can't be read.
pub(super) fn extended(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, '\'');
    let (charset, _, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = crate::url::decode_once_mapped(encoded.as_bytes(), false).map(|(byte, _)| byte);
    match charset.to_ascii_lowercase().as_str() {
        "utf-8" => String::from_utf8(bytes.collect()).ok(),
        "iso-8859-1" => Some(bytes.map(char::from).collect()),
        _ => None,
    }
}

/// Replaces ranges of a text, which come in order.
pub(super) fn edited(text: &str, edits: &[(Range<usize>, String)]) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (range, new) in edits {
        out.push_str(text.get(at..range.start).unwrap_or_default());
        out.push_str(new);
        at = range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}
