//! Dictionaries of structured fields (RFC 9651, which takes the place of RFC 8941), as targeted cache control has them (RFC 9213 2.1).
//!
//! 1. Parsing is strict: what fails anywhere is no dictionary, and a cache ignores such a field (RFC 9213 2.1). So it never counts as permission.
//! 2. A key that stands twice counts as its last value, in the place of the first (RFC 9651 4.2.2).
//! 3. Parameters are parsed and dropped: no directive has any.
//! 4. Dates and display strings are known (RFC 9651 3.3.7, 3.3.8). To a parser of RFC 8941 the field would fail, which permits no more.

/// What a key means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// `5`, `-5`; up to 15 digits.
    Integer(i64),
    /// `?1`, and a key alone.
    Boolean(bool),
    /// `abc`
    Token(&'a [u8]),
    /// A decimal, a string, bytes, a date, a display string or an inner list: no directive has such.
    Other,
}

/// Parses a dictionary; lines are to be joined by commas first. `None`: the field is to be ignored. An empty one is none either (RFC 9213 2.1).
pub fn dictionary(text: &[u8]) -> Option<Vec<(&[u8], Value<'_>)>> {
    let mut parser = Parser { rest: text };
    let mut members: Vec<(&[u8], Value<'_>)> = Vec::new();
    parser.skip(b" ");
    while !parser.rest.is_empty() {
        let key = parser.key()?;
        let value = if parser.takes(b'=') {
            parser.member()?
        } else {
            parser.parameters()?;
            Value::Boolean(true)
        };
        if let Some((_, old)) = members.iter_mut().find(|(have, _)| *have == key) {
            *old = value;
        } else if members.len() < MAX_MEMBERS {
            members.push((key, value));
        } else {
            return None;
        }
        parser.skip(b" \t");
        if parser.rest.is_empty() {
            break;
        }
        if !parser.takes(b',') {
            return None;
        }
        parser.skip(b" \t");
        if parser.rest.is_empty() {
            return None;
        }
    }
    (!members.is_empty()).then_some(members)
}

/// The least that a parser must support is 1024 (RFC 9651 3.2); no cache control has as many as these.
const MAX_MEMBERS: usize = 64;

struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    fn takes(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn take_while(&mut self, holds: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().take_while(|byte| holds(**byte)).count();
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((b"", self.rest));
        self.rest = rest;
        taken
    }

    /// RFC 9651 4.2.3.3
    fn key(&mut self) -> Option<&'a [u8]> {
        self.rest
            .first()
            .filter(|byte| byte.is_ascii_lowercase() || **byte == b'*')?;
        Some(self.take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)))
    }

    /// An item or an inner list (RFC 9651 4.2.1.1), with its parameters.
    fn member(&mut self) -> Option<Value<'a>> {
        if !self.takes(b'(') {
            let value = self.bare_item()?;
            self.parameters()?;
            return Some(value);
        }
        loop {
            self.skip(b" ");
            if self.takes(b')') {
                self.parameters()?;
                return Some(Value::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.rest.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    /// RFC 9651 4.2.3.2
    fn parameters(&mut self) -> Option<()> {
        while self.takes(b';') {
            self.skip(b" ");
            self.key()?;
            if self.takes(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    /// RFC 9651 4.2.3.1
    fn bare_item(&mut self) -> Option<Value<'a>> {
        match self.rest.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => {
                self.takes(b'"');
                self.string()
            }
            b'*' | b'A'..=b'Z' | b'a'..=b'z' => {
                Some(Value::Token(self.take_while(|byte| {
                    super::directives::is_token(byte) || byte == b':' || byte == b'/'
                })))
            }
            b':' => {
                self.takes(b':');
                let encoded = self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                (self.takes(b':') && is_base64(encoded)).then_some(Value::Other)
            }
            b'?' => {
                self.takes(b'?');
                let yes = self.takes(b'1');
                (yes || self.takes(b'0')).then_some(Value::Boolean(yes))
            }
            b'@' => {
                self.takes(b'@');
                matches!(self.number()?, Value::Integer(_)).then_some(Value::Other)
            }
            b'%' => {
                self.takes(b'%');
                self.display_string()
            }
            _ => None,
        }
    }

    /// RFC 9651 4.2.4
    fn number(&mut self) -> Option<Value<'a>> {
        let negative = self.takes(b'-');
        let whole = self.take_while(|byte| byte.is_ascii_digit());
        if whole.is_empty() {
            return None;
        }
        if self.takes(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let fits = whole.len() <= 12 && (1..=3).contains(&fraction.len());
            return fits.then_some(Value::Other);
        }
        let number = std::str::from_utf8(whole).ok()?;
        let number: i64 = (whole.len() <= 15).then(|| number.parse().ok())??;
        Some(Value::Integer(if negative { number.wrapping_neg() } else { number }))
    }

    /// RFC 9651 4.2.5
    fn string(&mut self) -> Option<Value<'a>> {
        loop {
            self.take_while(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
            if self.takes(b'"') {
                return Some(Value::Other);
            }
            if !self.takes(b'\\') || !(self.takes(b'"') || self.takes(b'\\')) {
                return None;
            }
        }
    }

    /// RFC 9651 4.2.10
    fn display_string(&mut self) -> Option<Value<'a>> {
        if !self.takes(b'"') {
            return None;
        }
        let mut decoded = Vec::new();
        loop {
            let plain = self.take_while(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'%');
            decoded.extend_from_slice(plain);
            if self.takes(b'"') {
                return std::str::from_utf8(&decoded).is_ok().then_some(Value::Other);
            }
            if !self.takes(b'%') {
                return None;
            }
            let mut byte = 0_u8;
            for _ in 0..2 {
                let (digit, rest) = self.rest.split_first()?;
                let digit = match digit {
                    b'0'..=b'9' => digit.wrapping_sub(b'0'),
                    b'a'..=b'f' => digit.wrapping_sub(b'a').wrapping_add(10),
                    _ => return None,
                };
                byte = byte << 4 | digit;
                self.rest = rest;
            }
            decoded.push(byte);
        }
    }
}

/// Whether it is base64 (RFC 4648 4). A parser ought not to fail for missing padding or for bits behind the end (RFC 9651 4.2.7).
fn is_base64(text: &[u8]) -> bool {
    let unpadded = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    !unpadded.contains(&b'=') && unpadded.len() % 4 != 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Option<String> {
        let members = dictionary(text.as_bytes())?;
        let show = |(key, value): &(&[u8], Value<'_>)| {
            let value = match value {
                Value::Integer(number) => number.to_string(),
                Value::Boolean(yes) => yes.to_string(),
                Value::Token(token) => String::from_utf8_lossy(token).into_owned(),
                Value::Other => "other".to_owned(),
            };
            format!("{}={value}", String::from_utf8_lossy(key))
        };
        Some(members.iter().map(show).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn dictionaries_are_read() {
        for (text, want) in [
            ("max-age=60, no-store, x=?0;a;b=1", "max-age=60 no-store=true x=false"),
            ("  a=1\t ,\t b  ", "a=1 b=true"),
            ("a=1, b, a=2", "a=2 b=true"),
            (
                "a=-15, b=1.5, c=\"q\\\"\\\\\", d=:aGk=:, e=:aGk:, f=@-5",
                "a=-15 b=other c=other d=other e=other f=other",
            ),
            ("a=%\"f%c3%bc\", b=(1 \"x\";y  t);z, c=()", "a=other b=other c=other"),
            ("*a=t/1:2", "*a=t/1:2"),
            ("a=999999999999999", "a=999999999999999"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn what_fails_anywhere_is_ignored() {
        for text in [
            "",
            " ",
            "A=1",
            "max-age=60,",
            ",max-age=60",
            "max-age=60,,a",
            "max-age=60 a",
            "max-age=\"60",
            "max-age = 60",
            "a=1000000000000000",
            "a=1.2345",
            "a=1.",
            "a=1234567890123.1",
            "a=-",
            "a=\"\u{e9}\"",
            "a=\"\\x\"",
            "a=?2",
            "a=:a!:",
            "a=:aGk",
            "a=:a:",
            "a=:a=Gk:",
            "a=:aGk===:",
            "a=(1 2",
            "a=(1\t2)",
            "a=(1,2)",
            "a=@1.5",
            "a=%\"f%C3\"",
            "a=%\"f%c3\"",
            "a=%\"",
            "a;B",
            "a=1;",
            "a=",
            "\ta",
        ] {
            assert_eq!(shown(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in prop::collection::vec(prop::sample::select(b"aA*=,;:?@%\"\\() \t-.09\xc3~".to_vec()), 0..40)) {
            let _ = dictionary(&text);
        }
    }
}
