//! Filters (RFC 9535 section 2.3.5): conditions on a value that is held as a whole.
//!
//! A filter reads members of the value itself by singular queries (`@.a.b`, `@['a']`, `@[0]`, `@`): whether they exist, or how
//! they compare with a literal. What a query does not find is Nothing, which equals no literal; only numbers are less than
//! numbers and strings than strings (section 2.3.5.2.2). Numbers compare by their value, as exact decimals; strings by
//! their code points, after unescaping. A member that a filter reads and that stands there twice makes the body ambiguous.

use std::cmp::Ordering;

use memchr::memchr2;

use super::selector::{Cursor, SelectorError, SelectorFault};
use super::transform::unescape;

/// The most parentheses and negations inside one another.
const MAX_NESTING: usize = 32;

/// A condition on a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    condition: Condition,
    /// The ways that the condition reads, each once.
    queries: Vec<Vec<Hop>>,
    /// Whether it holds for all objects, arrays and scalars, where that much is known.
    object: Option<bool>,
    array: Option<bool>,
    scalar: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    /// The query finds something.
    Exists(usize),
    Compare(Operand, Comparison, Operand),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Query(usize),
    Text(String),
    /// As written.
    Number(String),
    True,
    False,
    Null,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hop {
    Name(String),
    Index(u64),
}

/// A member that a filter reads stands there twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

/// What a query found, or what a literal stands for.
enum Value<'v> {
    Nothing,
    /// An object or array: equal to no literal.
    Container,
    Text(Vec<u8>),
    Number(&'v [u8]),
    True,
    False,
    Null,
}

impl Filter {
    /// Whether the filter holds for a whole value, valid JSON without white space around it.
    pub(super) fn holds(&self, value: &[u8]) -> Result<bool, Ambiguous> {
        let found: Vec<Value<'_>> = self
            .queries
            .iter()
            .map(|query| find(value, query))
            .collect::<Result<_, _>>()?;
        Ok(self.condition.holds(&found))
    }

    /// Whether the filter holds for every value that starts with `first`, if that much tells: no query leads into a value of that kind.
    #[inline]
    pub(super) fn holds_at_once(&self, first: u8) -> Option<bool> {
        match first {
            b'{' => self.object,
            b'[' => self.array,
            _ => self.scalar,
        }
    }

    /// Parses what follows the `?`.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Filter, SelectorError> {
        let mut queries = Vec::new();
        let condition = any(cursor, &mut queries, 0)?;
        Ok(Filter {
            object: at_once(&condition, &queries, b'{'),
            array: at_once(&condition, &queries, b'['),
            scalar: at_once(&condition, &queries, b'"'),
            condition,
            queries,
        })
    }
}

/// What [`Filter::holds_at_once`] says of values that start with `first`.
fn at_once(condition: &Condition, queries: &[Vec<Hop>], first: u8) -> Option<bool> {
    let reads = |query: &Vec<Hop>| match (query.first(), first) {
        (Some(Hop::Name(_)), b'{') | (Some(Hop::Index(_)), b'[') => true,
        (None, b'{' | b'[') | (Some(_), _) => false,
        (None, _) => true,
    };
    if queries.iter().any(reads) {
        return None;
    }
    let found: Vec<Value<'_>> = queries
        .iter()
        .map(|query| {
            if query.is_empty() {
                Value::Container
            } else {
                Value::Nothing
            }
        })
        .collect();
    Some(condition.holds(&found))
}

impl Condition {
    fn holds(&self, found: &[Value<'_>]) -> bool {
        match self {
            Condition::Any(list) => list.iter().any(|one| one.holds(found)),
            Condition::All(list) => list.iter().all(|one| one.holds(found)),
            Condition::Not(inner) => !inner.holds(found),
            Condition::Exists(query) => !matches!(found.get(*query), None | Some(Value::Nothing)),
            Condition::Compare(left, comparison, right) => {
                // A query is on one side at most.
                let (left, right) = (left.literal(), right.literal());
                let value = |side: &Result<Value<'_>, usize>| match side {
                    Ok(_) => None,
                    Err(query) => found.get(*query),
                };
                let (left_found, right_found) = (value(&left), value(&right));
                let nothing = Value::Nothing;
                let left = left.as_ref().unwrap_or(left_found.unwrap_or(&nothing));
                let right = right.as_ref().unwrap_or(right_found.unwrap_or(&nothing));
                comparison.holds(left, right)
            }
        }
    }
}

impl Operand {
    /// The value of a literal, or else the query.
    fn literal(&self) -> Result<Value<'_>, usize> {
        Ok(match self {
            Operand::Query(query) => return Err(*query),
            Operand::Text(text) => Value::Text(text.as_bytes().to_vec()),
            Operand::Number(text) => Value::Number(text.as_bytes()),
            Operand::True => Value::True,
            Operand::False => Value::False,
            Operand::Null => Value::Null,
        })
    }
}

impl Comparison {
    /// RFC 9535 section 2.3.5.2.2.
    fn holds(self, left: &Value<'_>, right: &Value<'_>) -> bool {
        let order = match (left, right) {
            (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
            (Value::Number(left), Value::Number(right)) => Some(Decimal::read(left).cmp(&Decimal::read(right))),
            _ => None,
        };
        let equal = order == Some(Ordering::Equal)
            || matches!(
                (left, right),
                (Value::Nothing, Value::Nothing)
                    | (Value::True, Value::True)
                    | (Value::False, Value::False)
                    | (Value::Null, Value::Null)
            );
        match self {
            Comparison::Equal => equal,
            Comparison::Unequal => !equal,
            Comparison::Less => order == Some(Ordering::Less),
            Comparison::LessOrEqual => equal || order == Some(Ordering::Less),
            Comparison::Greater => order == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => equal || order == Some(Ordering::Greater),
        }
    }
}

// --- numbers ---------------------------------------------------------------------------------------------------

/// A number by its value: `0.ddd * 10^exponent`, its digits without zeros at either end.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    exponent: i64,
    digits: Vec<u8>,
}

impl Decimal {
    /// Reads a number of RFC 8259. An exponent beyond 64 bits is taken for the largest there is: no literal has it.
    fn read(text: &[u8]) -> Decimal {
        let (negative, text) = match text {
            [b'-', rest @ ..] => (true, rest),
            all => (false, all),
        };
        let mut parts = text.splitn(2, |byte| matches!(byte, b'e' | b'E'));
        let mantissa = parts.next().unwrap_or_default();
        let mut exponent = match parts.next() {
            None => 0,
            Some([b'-', digits @ ..]) => Decimal::integer(digits).saturating_neg(),
            Some([b'+', digits @ ..] | digits) => Decimal::integer(digits),
        };
        let whole = mantissa.split(|byte| *byte == b'.').next().unwrap_or_default();
        exponent = exponent.saturating_add(i64::try_from(whole.len()).unwrap_or(i64::MAX));
        let mut digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        exponent = exponent.saturating_sub(i64::try_from(zeros).unwrap_or(i64::MAX));
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Decimal {
                negative: false,
                exponent: 0,
                digits,
            };
        }
        Decimal {
            negative,
            exponent,
            digits,
        }
    }

    fn integer(digits: &[u8]) -> i64 {
        digits.iter().fold(0i64, |sum, digit| {
            sum.saturating_mul(10)
                .saturating_add(i64::from(digit.wrapping_sub(b'0')))
        })
    }

    fn cmp(&self, other: &Decimal) -> Ordering {
        let sign = |one: &Decimal| match (one.digits.is_empty(), one.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = self
            .exponent
            .cmp(&other.exponent)
            .then_with(|| self.digits.cmp(&other.digits));
        sign(self).cmp(&sign(other)).then(match sign(self) {
            0 => Ordering::Equal,
            1 => size,
            _ => size.reverse(),
        })
    }
}

// --- reading a whole value -------------------------------------------------------------------------------------

/// What a query finds in a value that is valid JSON.
fn find<'v>(mut value: &'v [u8], query: &[Hop]) -> Result<Value<'v>, Ambiguous> {
    for hop in query {
        let child = match (value.first(), hop) {
            (Some(b'{'), Hop::Name(name)) => member(value, name.as_bytes())?,
            (Some(b'['), Hop::Index(index)) => element(value, *index),
            _ => None,
        };
        match child {
            Some(child) => value = child,
            None => return Ok(Value::Nothing),
        }
    }
    Ok(match value {
        [b'{' | b'[', ..] => Value::Container,
        [b'"', inner @ .., b'"'] => {
            let mut text = Vec::new();
            unescape(inner, &mut text);
            Value::Text(text)
        }
        b"true" => Value::True,
        b"false" => Value::False,
        b"null" => Value::Null,
        number => Value::Number(number),
    })
}

/// The one member of that name.
fn member<'v>(object: &'v [u8], name: &[u8]) -> Result<Option<&'v [u8]>, Ambiguous> {
    let (mut found, mut plain) = (None, Vec::new());
    let mut rest = Rest::of(object);
    while let Some(raw) = rest.next() {
        let Some(value) = rest.next() else { break };
        let inner = match raw {
            [b'"', inner @ .., b'"'] => inner,
            _ => continue,
        };
        let same = if inner.contains(&b'\\') {
            unescape(inner, &mut plain);
            plain == name
        } else {
            inner == name
        };
        if same && found.replace(value).is_some() {
            return Err(Ambiguous);
        }
    }
    Ok(found)
}

fn element(array: &[u8], index: u64) -> Option<&[u8]> {
    let mut rest = Rest::of(array);
    for _ in 0..index {
        rest.next()?;
    }
    rest.next()
}

/// The values inside a container one by one, names of members among them.
struct Rest<'v>(&'v [u8]);

impl<'v> Rest<'v> {
    fn of(container: &'v [u8]) -> Rest<'v> {
        Rest(match container {
            [_, inner @ .., _] => inner,
            _ => &[],
        })
    }

    fn next(&mut self) -> Option<&'v [u8]> {
        let separates = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b':');
        let start = self.0.iter().position(|byte| !separates(byte))?;
        let all = self.0.get(start..)?;
        let (mut depth, mut at) = (0usize, 0usize);
        while let Some(byte) = all.get(at) {
            if depth == 0 && separates(byte) {
                break;
            }
            at = at.saturating_add(1);
            match byte {
                b'"' => at = string_end(all, at),
                b'{' | b'[' => depth = depth.saturating_add(1),
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth == 0 {
                break;
            }
        }
        let (value, rest) = all.split_at_checked(at)?;
        self.0 = rest;
        Some(value)
    }
}

/// The position after a string whose opening quote is behind.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        let special = at.saturating_add(found);
        if bytes.get(special) == Some(&b'"') {
            return special.saturating_add(1);
        }
        at = special.saturating_add(2);
    }
    bytes.len()
}

// --- parsing ---------------------------------------------------------------------------------------------------

/// RFC 9535 section 2.3.5.1, `logical-or-expr`.
fn any(cursor: &mut Cursor<'_>, queries: &mut Vec<Vec<Hop>>, depth: usize) -> Result<Condition, SelectorError> {
    joined(cursor, queries, depth, '|', all, Condition::Any)
}

fn all(cursor: &mut Cursor<'_>, queries: &mut Vec<Vec<Hop>>, depth: usize) -> Result<Condition, SelectorError> {
    joined(cursor, queries, depth, '&', basic, Condition::All)
}

type Part = fn(&mut Cursor<'_>, &mut Vec<Vec<Hop>>, usize) -> Result<Condition, SelectorError>;

fn joined(
    cursor: &mut Cursor<'_>,
    queries: &mut Vec<Vec<Hop>>,
    depth: usize,
    by: char,
    part: Part,
    join: fn(Vec<Condition>) -> Condition,
) -> Result<Condition, SelectorError> {
    let first = part(cursor, queries, depth)?;
    let mut list = Vec::new();
    while doubled(cursor, by) {
        list.push(part(cursor, queries, depth)?);
    }
    if list.is_empty() {
        return Ok(first);
    }
    list.insert(0, first);
    Ok(join(list))
}

/// Takes `&&` or `||` with the white space before.
fn doubled(cursor: &mut Cursor<'_>, by: char) -> bool {
    let before = cursor.at;
    cursor.skip_space();
    if cursor.take(by) && cursor.take(by) {
        return true;
    }
    cursor.at = before;
    false
}

fn basic(cursor: &mut Cursor<'_>, queries: &mut Vec<Vec<Hop>>, depth: usize) -> Result<Condition, SelectorError> {
    cursor.skip_space();
    if depth > MAX_NESTING {
        return Err(cursor.error(SelectorFault::FilterNesting));
    }
    let negated = cursor.take('!');
    cursor.skip_space();
    let inner = if cursor.take('(') {
        let inner = any(cursor, queries, depth.saturating_add(1))?;
        cursor.skip_space();
        if !cursor.take(')') {
            return Err(cursor.error(SelectorFault::FilterParenthesis));
        }
        inner
    } else {
        let left = operand(cursor, queries)?;
        let before = cursor.at;
        cursor.skip_space();
        let comparison = if negated { None } else { comparison(cursor) };
        match (left, comparison) {
            (left, Some(comparison)) => {
                cursor.skip_space();
                let right = operand(cursor, queries)?;
                if let (Operand::Query(_), Operand::Query(_)) = (&left, &right) {
                    return Err(cursor.error(SelectorFault::FilterQueries));
                }
                Condition::Compare(left, comparison, right)
            }
            (Operand::Query(query), None) => {
                cursor.at = before;
                Condition::Exists(query)
            }
            _ => {
                cursor.at = before;
                return Err(cursor.error(SelectorFault::FilterLiteral));
            }
        }
    };
    Ok(if negated {
        Condition::Not(Box::new(inner))
    } else {
        inner
    })
}

fn comparison(cursor: &mut Cursor<'_>) -> Option<Comparison> {
    let rest = cursor.text.get(cursor.at..)?;
    let (length, found) = match rest.as_bytes() {
        [b'=', b'=', ..] => (2, Comparison::Equal),
        [b'!', b'=', ..] => (2, Comparison::Unequal),
        [b'<', b'=', ..] => (2, Comparison::LessOrEqual),
        [b'>', b'=', ..] => (2, Comparison::GreaterOrEqual),
        [b'<', ..] => (1, Comparison::Less),
        [b'>', ..] => (1, Comparison::Greater),
        _ => return None,
    };
    cursor.at = cursor.at.saturating_add(length);
    Some(found)
}

fn operand(cursor: &mut Cursor<'_>, queries: &mut Vec<Vec<Hop>>) -> Result<Operand, SelectorError> {
    match cursor.peek() {
        Some('@') => {
            cursor.bump();
            let query = query(cursor)?;
            let known = queries.iter().position(|own| *own == query);
            Ok(Operand::Query(known.unwrap_or_else(|| {
                queries.push(query);
                queries.len().saturating_sub(1)
            })))
        }
        Some('$') => Err(cursor.error(SelectorFault::FilterRoot)),
        Some(quote @ ('\'' | '"')) => Ok(Operand::Text(cursor.quoted(quote)?)),
        Some('-' | '0'..='9') => number(cursor),
        Some('a'..='z') => {
            let start = cursor.at;
            while matches!(cursor.peek(), Some('a'..='z' | '0'..='9' | '_')) {
                cursor.bump();
            }
            if cursor.peek() == Some('(') {
                return Err(cursor.error(SelectorFault::Function));
            }
            match cursor.text.get(start..cursor.at) {
                Some("true") => Ok(Operand::True),
                Some("false") => Ok(Operand::False),
                Some("null") => Ok(Operand::Null),
                _ => Err(SelectorError::new(start, SelectorFault::FilterOperand)),
            }
        }
        _ => Err(cursor.error(SelectorFault::FilterOperand)),
    }
}

/// A number as in JSON, RFC 9535 section 2.3.5.1.
fn number(cursor: &mut Cursor<'_>) -> Result<Operand, SelectorError> {
    let start = cursor.at;
    while matches!(cursor.peek(), Some('0'..='9' | '-' | '+' | '.' | 'e' | 'E')) {
        cursor.bump();
    }
    let text = cursor.text.get(start..cursor.at).unwrap_or_default();
    let wrong = || SelectorError::new(start, SelectorFault::FilterNumber);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let leading = whole.len() > 1 && whole.starts_with('0');
    if leading || exponent.len() > 4 || ![whole, fraction, exponent].into_iter().all(digits) {
        return Err(wrong());
    }
    Ok(Operand::Number(text.to_owned()))
}

/// The segments of a singular query, RFC 9535 section 2.3.5.1.
fn query(cursor: &mut Cursor<'_>) -> Result<Vec<Hop>, SelectorError> {
    let mut hops = Vec::new();
    loop {
        let before = cursor.at;
        cursor.skip_space();
        if cursor.take('.') {
            if matches!(cursor.peek(), Some('.' | '*')) {
                return Err(cursor.error(SelectorFault::FilterQuery));
            }
            hops.push(Hop::Name(shorthand(cursor)?));
        } else if cursor.take('[') {
            cursor.skip_space();
            hops.push(match cursor.peek() {
                Some(quote @ ('\'' | '"')) => Hop::Name(cursor.quoted(quote)?),
                Some('0'..='9' | '-') => Hop::Index(cursor.integer()?.unwrap_or_default()),
                _ => return Err(cursor.error(SelectorFault::FilterQuery)),
            });
            cursor.skip_space();
            if !cursor.take(']') {
                return Err(cursor.error(match cursor.peek() {
                    None => SelectorFault::Unclosed,
                    Some(_) => SelectorFault::FilterQuery,
                }));
            }
        } else {
            cursor.at = before;
            return Ok(hops);
        }
    }
}

/// `member-name-shorthand`, which ends where no character of a name follows.
fn shorthand(cursor: &mut Cursor<'_>) -> Result<String, SelectorError> {
    let mut name = String::new();
    while let Some(next @ ('a'..='z' | 'A'..='Z' | '_' | '0'..='9' | '\u{80}'..)) = cursor.peek() {
        if name.is_empty() && next.is_ascii_digit() {
            break;
        }
        name.push(next);
        cursor.bump();
    }
    match cursor.peek() {
        _ if name.is_empty() => Err(cursor.error(SelectorFault::Shorthand)),
        Some('(') => Err(cursor.error(SelectorFault::Function)),
        _ => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        let mut cursor = Cursor { text, at: 0 };
        let filter = Filter::parse(&mut cursor).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(cursor.at, text.len(), "{text}");
        filter
    }

    /// Examples in the manner of RFC 9535, table 11 and 2.3.5.3.
    #[test]
    fn conditions_hold_by_rfc_9535() {
        let object = r#"{"a": 1, "s":"b\u0062", "n" :null, "t":true,"f": false,"o":{"x":{"y":-2.50}},"l":[1,"two",{"z":3}], "e":"" }"#;
        for (text, wanted) in [
            ("@", true),
            ("@.a", true),
            ("@.b", false),
            ("!@.b", true),
            ("@.n", true),
            ("@.f", true),
            ("@['a']", true),
            ("@.o.x", true),
            ("@.o.x.y", true),
            ("@.o.x.z", false),
            ("@.a.b", false),
            ("@.l[0]", true),
            ("@.l[3]", false),
            ("@[0]", false),
            ("@.a == 1", true),
            ("@.a==1.0", true),
            ("@.a == 10e-1", true),
            ("1 == @.a", true),
            ("@.a != 1", false),
            ("@.a < 2", true),
            ("@.a <= 1", true),
            ("@.a > 1", false),
            ("2 > @.a", true),
            ("@.a >= 1.00000000000000000000000000001", false),
            ("@.o.x.y == -2.5", true),
            ("@.o.x.y < -2.49", true),
            ("@.o.x.y > -25e-1", false),
            ("@.a == '1'", false),
            ("@.a != '1'", true),
            ("@.a < '2'", false),
            ("@.s == 'bb'", true),
            ("@.s == \"b\\u0062\"", true),
            ("@.s < 'bc'", true),
            ("@.s <= 'b'", false),
            ("@.s > 'b'", true),
            ("@.e < 'a'", true),
            ("@.n == null", true),
            ("@.n <= null", true),
            ("@.n < null", false),
            ("@.b == null", false),
            ("@.b != null", true),
            ("@.b < 1", false),
            ("@.t == true", true),
            ("@.t >= true", true),
            ("@.t == false", false),
            ("@.o == 1", false),
            ("@.o != 1", true),
            ("@ == 1", false),
            ("@.l[1] == 'two'", true),
            ("@.l[2].z == 3", true),
            ("@.l[2]['z'] == 3", true),
            ("1 < 2", true),
            ("'a' == 'b'", false),
            ("@.a && @.b", false),
            ("@.a || @.b", true),
            ("@.b || @.b && @.a || @.s == 'bb'", true),
            ("@.a && (@.b || @.s)", true),
            ("!(@.a && @.b)", true),
            ("(@.a == 1)", true),
            (" ( @ .a == 1 ) ", true),
            ("!(!(@.a))", true),
            ("@.a == -0", false),
        ] {
            let parsed = filter(text.trim_end());
            assert_eq!(parsed.holds(object.as_bytes()), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn scalars_and_arrays_have_no_members() {
        for (value, text, wanted) in [
            ("1", "@ == 1", true),
            ("1e0", "@ == 1", true),
            ("0", "@ == -0.0e7", true),
            ("\"x\"", "@ == 'x'", true),
            ("\"x\"", "@.a", false),
            ("\"x\"", "@[0]", false),
            ("[1,2]", "@[1] == 2", true),
            ("[1,2]", "@.a", false),
            ("[]", "@[0]", false),
            ("[[],{}]", "@[1]", true),
            ("true", "@ == true", true),
            ("null", "@ == null", true),
            ("null", "@", true),
        ] {
            let parsed = filter(text);
            assert_eq!(parsed.holds(value.as_bytes()), Ok(wanted), "{text} of {value}");
            if let Some(early) = parsed.holds_at_once(value.as_bytes()[0]) {
                assert_eq!(early, wanted, "{text} of {value}");
            }
        }
        assert_eq!(filter("@.a").holds_at_once(b'['), Some(false));
        assert_eq!(filter("@.a || @ != 1").holds_at_once(b'['), Some(true));
        assert_eq!(filter("@.a").holds_at_once(b'{'), None);
        assert_eq!(filter("@[0]").holds_at_once(b'{'), Some(false));
        assert_eq!(filter("@ == 1").holds_at_once(b'1'), None);
        assert_eq!(filter("@ == 1").holds_at_once(b'{'), Some(false));
    }

    #[test]
    fn a_member_twice_is_ambiguous_where_it_is_read() {
        assert_eq!(filter("@.a").holds(br#"{"a":1,"\u0061":2}"#), Err(Ambiguous));
        assert_eq!(filter("@.b || @.a").holds(br#"{"b":1,"a":1,"a":1}"#), Err(Ambiguous));
        assert_eq!(filter("@.b").holds(br#"{"b":1,"a":1,"a":1}"#), Ok(true));
        assert_eq!(filter("@.b.c").holds(br#"{"b":{"c":1,"c":2}}"#), Err(Ambiguous));
        assert_eq!(filter("@.c").holds(br#"{"b":{"c":1,"c":2}}"#), Ok(false));
    }

    #[test]
    fn decimals_are_exact() {
        for (left, right, order) in [
            ("1", "1.000", Ordering::Equal),
            ("0", "-0e5", Ordering::Equal),
            ("100", "1e2", Ordering::Equal),
            ("0.001", "1E-3", Ordering::Equal),
            ("9007199254740993", "9007199254740992", Ordering::Greater),
            ("1e400", "1e401", Ordering::Less),
            ("-1", "1", Ordering::Less),
            ("-2", "-1", Ordering::Less),
            ("-0.5", "0", Ordering::Less),
            ("0.1", "0.09", Ordering::Greater),
            ("12", "9", Ordering::Greater),
            ("1e99999999999999999999", "1e9999", Ordering::Greater),
            ("1e-99999999999999999999", "1e-9999", Ordering::Less),
            ("0e99999999999999999999", "0", Ordering::Equal),
        ] {
            let (left_read, right_read) = (Decimal::read(left.as_bytes()), Decimal::read(right.as_bytes()));
            assert_eq!(left_read.cmp(&right_read), order, "{left} {right}");
            assert_eq!(right_read.cmp(&left_read), order.reverse(), "{left} {right}");
        }
    }
}
