//! The text format of protocol buffers, as far as it goes without a schema.
//!
//! 1. The grammar is the specification's: <https://protobuf.dev/reference/protobuf/textformat-spec/>. Fields in any order; messages in
//!    `{}` or `<>` with or without a colon; lists; strings side by side are one; comments; `,` or `;` behind a field.
//! 2. A list is its elements, one field each, as if they had been written apart.
//! 3. Extensions and `Any` (`[package.name]`) are refused: no file that this reads has a place for them.
//! 4. Every problem has its place. Messages deeper than 100 are refused, so that no file overflows the stack.
//!
//! Why not a crate: those that read the text format want the schema's descriptors at run time and a protobuf library around them, for
//! eight small messages, and name unknown fields without the nearest known one.

/// A place in a file: line and column in characters, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) place: Place,
    pub(super) what: String,
}

/// A message: its fields as they stand there.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    pub(super) fields: Vec<Field>,
}

/// One value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) value: Value,
    pub(super) value_place: Place,
}

/// A value before anybody knows its type.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A string, its escapes resolved. It need not be UTF-8.
    Text(Vec<u8>),
    /// A bare word: `true`, the name of an enum's value, `inf`.
    Word(String),
    /// A number as it was written, with its sign.
    Number(String),
    Message(Message),
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a string",
            Value::Word(_) => "a word",
            Value::Number(_) => "a number",
            Value::Message(_) => "a message",
        }
    }
}

const DEPTH_MAX: usize = 100;

/// Parses a whole file.
pub(super) fn parse(text: &str) -> Result<Message, Wrong> {
    let mut reader = Reader {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        place: Place { line: 1, column: 1 },
    };
    let message = reader.message(None, 0)?;
    Ok(message)
}

struct Reader<'a> {
    rest: &'a str,
    place: Place,
}

impl Reader<'_> {
    /// Fields up to the closing bracket; none: up to the file's end.
    fn message(&mut self, close: Option<char>, depth: usize) -> Result<Message, Wrong> {
        let opened = self.place;
        if depth > DEPTH_MAX {
            return Err(self.wrong(format!(
                "messages are nested deeper than {DEPTH_MAX}: nobody needs that"
            )));
        }
        let mut message = Message::default();
        loop {
            self.skip();
            match (self.peek(), close) {
                (None, None) => return Ok(message),
                (None, Some(close)) => {
                    return Err(Wrong {
                        place: opened,
                        what: format!("this message has no end: add `{close}`"),
                    });
                }
                (Some(next), Some(close)) if next == close => {
                    self.bump();
                    return Ok(message);
                }
                _ => self.field(&mut message, depth)?,
            }
        }
    }

    fn field(&mut self, message: &mut Message, depth: usize) -> Result<(), Wrong> {
        let place = self.place;
        if self.peek() == Some('[') {
            return Err(self.wrong("extensions and `Any` have no place here".to_owned()));
        }
        let name = self.word();
        if name.is_empty() {
            return Err(self.unexpected("the name of a field"));
        }
        self.skip();
        let colon = self.take(':');
        self.skip();
        let mut values = Vec::new();
        if self.take('[') {
            self.skip();
            let mut more = !self.take(']');
            while more {
                self.skip();
                values.push((self.place, self.value(colon, depth)?));
                self.skip();
                more = self.take(',');
                if !more && !self.take(']') {
                    return Err(self.unexpected("`,` or `]`"));
                }
            }
        } else {
            values.push((self.place, self.value(colon, depth)?));
        }
        message
            .fields
            .extend(values.into_iter().map(|(value_place, value)| Field {
                name: name.clone(),
                place,
                value,
                value_place,
            }));
        self.skip();
        if !self.take(',') {
            self.take(';');
        }
        Ok(())
    }

    fn value(&mut self, colon: bool, depth: usize) -> Result<Value, Wrong> {
        match self.peek() {
            Some('{') => {
                self.bump();
                Ok(Value::Message(self.message(Some('}'), depth + 1)?))
            }
            Some('<') => {
                self.bump();
                Ok(Value::Message(self.message(Some('>'), depth + 1)?))
            }
            _ if !colon => Err(self.unexpected("`:` and a value, or `{`")),
            Some('"' | '\'') => {
                let mut text = Vec::new();
                while let Some(quote @ ('"' | '\'')) = self.peek() {
                    self.string(quote, &mut text)?;
                    self.skip();
                }
                Ok(Value::Text(text))
            }
            Some(next) if next == '-' || next == '.' || next.is_ascii_digit() => self.number(),
            Some(_) => {
                let word = self.word();
                if word.is_empty() {
                    return Err(self.unexpected("a value"));
                }
                Ok(Value::Word(word))
            }
            None => Err(self.unexpected("a value")),
        }
    }

    /// As far as letters, digits, signs and points go; whoever knows the type says whether it is one.
    fn number(&mut self) -> Result<Value, Wrong> {
        let mut number = String::new();
        if self.take('-') {
            number.push('-');
            self.skip();
        }
        while let Some(next) = self.peek() {
            let exponent = matches!(number.as_bytes().last(), Some(b'e' | b'E')) && !number.contains(['x', 'X']);
            if !(next.is_ascii_alphanumeric() || next == '.' || next == '_' || (next == '+' || next == '-') && exponent)
            {
                break;
            }
            number.push(next);
            self.bump();
        }
        if number == "-" || number.is_empty() {
            return Err(self.unexpected("a number"));
        }
        Ok(Value::Number(number))
    }

    fn string(&mut self, quote: char, text: &mut Vec<u8>) -> Result<(), Wrong> {
        let opened = self.place;
        let endless = || Wrong {
            place: opened,
            what: format!("this string has no end on its line: add `{quote}`, or write `\\n` for a line's end"),
        };
        self.bump();
        loop {
            match self.peek() {
                None | Some('\n') => return Err(endless()),
                Some('\\') => {
                    let place = self.place;
                    self.bump();
                    self.escape(place, text).ok_or_else(endless)??;
                }
                Some(next) => {
                    self.bump();
                    if next == quote {
                        return Ok(());
                    }
                    text.extend(next.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }

    /// What stands behind a backslash; none: the file's end.
    fn escape(&mut self, place: Place, text: &mut Vec<u8>) -> Option<Result<(), Wrong>> {
        let letter = self.peek()?;
        let wrong = |what: &str| {
            Some(Err(Wrong {
                place,
                what: what.to_owned(),
            }))
        };
        let simple = match letter {
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(11),
            '?' | '\\' | '\'' | '"' => u8::try_from(letter).ok(),
            _ => None,
        };
        if let Some(byte) = simple {
            self.bump();
            text.push(byte);
            return Some(Ok(()));
        }
        match letter {
            '0'..='7' => {
                let number = self.digits(8, 3).1;
                match u8::try_from(number) {
                    Ok(byte) => text.push(byte),
                    Err(_) => return wrong("an octal escape is a byte: at most `\\377`"),
                }
            }
            'x' => {
                self.bump();
                match self.digits(16, 2) {
                    (0, _) => return wrong("`\\x` is followed by one or two hexadecimal digits"),
                    // Two digits are a byte.
                    (_, number) => text.push(number as u8),
                }
            }
            'u' | 'U' => {
                self.bump();
                let want = if letter == 'u' { 4 } else { 8 };
                let (count, number) = self.digits(16, want);
                let scalar = char::from_u32(number).filter(|_| count == want);
                match scalar {
                    Some(scalar) => text.extend(scalar.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => {
                        return wrong(
                            "`\\u` is followed by four hexadecimal digits, `\\U` by eight, of a character that exists and is no surrogate",
                        );
                    }
                }
            }
            _ => return wrong("unknown escape: for a backslash itself write `\\\\`"),
        }
        Some(Ok(()))
    }

    /// At most so many digits: how many there were, and the number. Eight hexadecimal digits fit.
    fn digits(&mut self, radix: u32, most: usize) -> (usize, u32) {
        let (mut count, mut number) = (0, 0u32);
        while count < most
            && let Some(digit) = self.peek().and_then(|next| next.to_digit(radix))
        {
            number = number.wrapping_mul(radix).wrapping_add(digit);
            count += 1;
            self.bump();
        }
        (count, number)
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(next) = self.peek() {
            let fits = next.is_ascii_alphabetic() || next == '_' || next.is_ascii_digit() && !word.is_empty();
            if !fits {
                break;
            }
            word.push(next);
            self.bump();
        }
        word
    }

    /// White space and comments.
    fn skip(&mut self) {
        while let Some(next) = self.peek() {
            if next == '#' {
                while self.peek().is_some_and(|next| next != '\n') {
                    self.bump();
                }
            } else if next.is_ascii_whitespace() || next == '\u{b}' {
                self.bump();
            } else {
                break;
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) {
        let mut characters = self.rest.chars();
        match characters.next() {
            Some('\n') => {
                self.place.line += 1;
                self.place.column = 1;
            }
            Some(_) => self.place.column += 1,
            None => {}
        }
        self.rest = characters.as_str();
    }

    fn take(&mut self, wanted: char) -> bool {
        let there = self.peek() == Some(wanted);
        if there {
            self.bump();
        }
        there
    }

    fn unexpected(&self, wanted: &str) -> Wrong {
        self.wrong(match self.peek() {
            Some(next) => format!("found `{}` where {wanted} belongs", next.escape_debug()),
            None => format!("the file ends where {wanted} belongs"),
        })
    }

    fn wrong(&self, what: String) -> Wrong {
        Wrong {
            place: self.place,
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The message as one line, in one spelling.
    fn flat(message: &Message) -> String {
        let fields = message.fields.iter().map(|field| {
            let value = match &field.value {
                Value::Text(text) => format!("\"{}\"", text.escape_ascii()),
                Value::Word(word) => word.clone(),
                Value::Number(number) => format!("#{number}"),
                Value::Message(message) => format!("{{{}}}", flat(message)),
            };
            format!("{}={value}", field.name)
        });
        fields.collect::<Vec<_>>().join(" ")
    }

    fn read(text: &str) -> String {
        flat(&parse(text).unwrap())
    }

    fn refused(text: &str) -> (u64, u64, String) {
        let wrong = parse(text).unwrap_err();
        (wrong.place.line, wrong.place.column, wrong.what)
    }

    #[test]
    fn every_spelling_of_the_grammar_is_read() {
        assert_eq!(read(""), "");
        assert_eq!(read("# a comment\n a: 1 # another\n"), "a=#1");
        assert_eq!(
            read("a { b: 1 } c < d: 2 > e: { f: 3 } g: <h: 4>"),
            "a={b=#1} c={d=#2} e={f=#3} g={h=#4}"
        );
        assert_eq!(read("a: 1, b: 2; c: 3 d:4"), "a=#1 b=#2 c=#3 d=#4");
        assert_eq!(
            read("a: [1, -2 , x] b: [] c [{d: 1}, <e: 2>]"),
            "a=#1 a=#-2 a=x c={d=#1} c={e=#2}"
        );
        assert_eq!(read("a: 'x' \"y\"\n # between\n 'z' b: true"), r#"a="xyz" b=true"#);
        assert_eq!(
            read("a: 1.5e+3f b: 0x1F c: - 7 d: .5 e: -inf"),
            "a=#1.5e+3f b=#0x1F c=#-7 d=#.5 e=#-inf"
        );
        assert_eq!(read("test{name:\"n\"}test{}"), r#"test={name="n"} test={}"#);
    }

    #[test]
    fn escapes_are_bytes() {
        let Value::Text(text) = parse(r#"a: "\a\b\f\n\r\t\v\?\\\'\"\0\1234\x4\x41z\u00e9\U0001F600\377""#)
            .unwrap()
            .fields[0]
            .value
            .clone()
        else {
            panic!("no string")
        };
        let mut want = b"\x07\x08\x0c\n\r\t\x0b?\\'\"\0S4\x04Az\xc3\xa9\xf0\x9f\x98\x80".to_vec();
        want.push(0xff);
        assert_eq!(text, want);
    }

    #[test]
    fn a_problem_has_its_place() {
        assert_eq!(
            refused("a: 1\n  b 2"),
            (2, 5, "found `2` where `:` and a value, or `{` belongs".to_owned())
        );
        assert_eq!(
            refused("a {\n b: 1\n"),
            (1, 4, "this message has no end: add `}`".to_owned())
        );
        assert_eq!(refused("é: 1").0, 1);
        assert_eq!(refused("a: 'é' }").1, 8);
        assert!(refused("a: 'x\n'").2.contains("no end on its line"));
        assert!(refused(r"a: '\q'").2.contains("unknown escape"));
        assert!(refused(r"a: '\400'").2.contains("at most `\\377`"));
        assert!(refused(r"a: '\ud800'").2.contains("surrogate"));
        assert!(refused(r"a: '\x'").2.contains("one or two"));
        assert!(refused("a: [1 2]").2.contains("`,` or `]`"));
        assert!(refused("a { b: 1 >").2.contains("the name of a field"));
        assert!(refused("[a.b]: 1").2.contains("extensions"));
        assert!(refused("a:").2.contains("the file ends"));
        assert!(refused(&"a{".repeat(200)).2.contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused_at_a_place_in_it(text in "[a-c:{}<>\\[\\]\"'\\\\nxu01,;#\n \\-.é]{0,60}") {
            if let Err(wrong) = parse(&text) {
                prop_assert!(wrong.place.line >= 1 && wrong.place.line as usize <= text.matches('\n').count() + 1);
            }
        }

        #[test]
        fn a_string_comes_back_whatever_its_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40), quote in prop_oneof![Just('"'), Just('\'')]) {
            let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
            let hex: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            let message = parse(&format!("a: {quote}{octal}{quote}{quote}{hex}{quote}")).unwrap();
            prop_assert_eq!(&message.fields[0].value, &Value::Text([&bytes[..], &bytes[..]].concat()));
        }

        #[test]
        fn layout_changes_nothing(names in proptest::collection::vec("[a-z_][a-z0-9_]{0,5}", 1..6), gap in "[ \t\n]{1,3}(#[ a-z{]{0,5}\n)?") {
            let plain: String = names.iter().map(|name| format!("{name}{{x:1}}")).collect::<Vec<_>>().join(" ");
            let wide: String = names.iter().map(|name| format!("{name}{gap}:{gap}<{gap}x{gap}:{gap}1{gap};{gap}>{gap},{gap}")).collect();
            prop_assert_eq!(flat(&parse(&plain).unwrap()), flat(&parse(&wide).unwrap()));
        }
    }
}
