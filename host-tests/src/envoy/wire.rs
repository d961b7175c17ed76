//! HTTP/1.1 on a socket, byte for byte: what a library would tidy up (targets, names, framing, broken ends) is what
//! the tests are about.

use crate::exchange::{Body, End, Headers};
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::time::Duration;

/// A message's head: the first line without its line break, and the header lines with names in lowercase.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// The request line or the status line.
    pub first: Vec<u8>,
    /// All the lines.
    pub headers: Headers,
}

/// How a body's end is known (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// By `content-length`.
    Length(usize),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// A body as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// The bytes that came.
    pub body: Vec<u8>,
    /// Whether it came to its proper end.
    pub complete: bool,
    /// The trailers.
    pub trailers: Headers,
}

impl Head {
    /// Reads a head; none when the connection ended before its first byte.
    pub fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let first = match line(from) {
            Ok(first) => first,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof || broken(&error) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let headers = fields(from)?;
        Ok(Some(Self { first, headers }))
    }

    /// The parts of the first line: method, target and version, or version, status and reason.
    pub fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        let mut parts = self.first.splitn(3, |byte| *byte == b' ');
        let mut part = || parts.next().unwrap_or_default();
        (part(), part(), part())
    }

    /// The framing that the header lines tell, or `otherwise`.
    pub fn framing(&self, otherwise: Framing) -> io::Result<Framing> {
        if let Some(coding) = value(&self.headers, "transfer-encoding") {
            return if coding.eq_ignore_ascii_case(b"chunked") {
                Ok(Framing::Chunked)
            } else {
                Err(malformed("a transfer coding other than chunked"))
            };
        }
        let Some(length) = value(&self.headers, "content-length") else {
            return Ok(otherwise);
        };
        let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
        length
            .map(Framing::Length)
            .ok_or_else(|| malformed("a content-length that is no number"))
    }
}

/// Reads a body. A connection that breaks is a result; silence beyond the socket's timeout is an error.
pub fn read_body(from: &mut impl BufRead, framing: Framing) -> io::Result<Received> {
    let mut received = Received::default();
    match fill(from, framing, &mut received) {
        Ok(()) => received.complete = true,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof || broken(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(received)
}

/// The writes that put a message on the wire: the head goes with the first chunk, the end with the last, so that a
/// pause between the writes is a pause between chunks.
///
/// `framing` names the header line to add, none when `headers` frame the body already.
pub fn writes(first: &[u8], headers: &Headers, framing: Added, body: &Body, until: Until) -> Vec<Vec<u8>> {
    let mut head = [first, b"\r\n"].concat();
    for (name, value) in headers {
        push_field(&mut head, name, value);
    }
    let total: usize = body.chunks.iter().map(Vec::len).sum();
    let chunked = match framing {
        Added::Nothing => false,
        Added::Length => {
            push_field(&mut head, "content-length", total.to_string().as_bytes());
            false
        }
        Added::Chunked => {
            push_field(&mut head, "transfer-encoding", b"chunked");
            true
        }
    };
    head.extend_from_slice(b"\r\n");
    if until == Until::Head {
        return vec![head];
    }

    // An empty chunk would end the body.
    let mut pieces: Vec<Vec<u8>> = body.chunks.iter().filter(|chunk| !chunk.is_empty()).cloned().collect();
    if chunked {
        for piece in &mut pieces {
            *piece = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        }
    }
    if chunked && until == Until::End {
        let mut end = b"0\r\n".to_vec();
        for (name, value) in &body.trailers {
            push_field(&mut end, name, value);
        }
        end.extend_from_slice(b"\r\n");
        match pieces.last_mut() {
            Some(last) => last.extend_from_slice(&end),
            None => pieces.push(end),
        }
    }
    match pieces.first_mut() {
        Some(first) => *first = [head, std::mem::take(first)].concat(),
        None => pieces.push(head),
    }
    pieces
}

/// How much of a message [`writes`] puts on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The head alone, as in an answer to HEAD.
    Head,
    /// All but what ends the body.
    LastChunk,
    /// All.
    End,
}

/// The header line that [`writes`] adds to frame a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// None.
    Nothing,
    /// `content-length`.
    Length,
    /// `transfer-encoding: chunked`.
    Chunked,
}

impl Added {
    /// What `body` needs under `headers`; nothing for no body.
    pub fn to(headers: &Headers, body: &Body) -> Self {
        if value(headers, "content-length").is_some() || value(headers, "transfer-encoding").is_some() {
            Self::Nothing
        } else if !body.trailers.is_empty() {
            Self::Chunked
        } else if body.chunks.is_empty() {
            Self::Nothing
        } else {
            match body.end {
                End::Empty => Self::Chunked,
                End::WithLastChunk => Self::Length,
            }
        }
    }
}

/// Writes the pieces with a pause between any two, so that the peer reads them one by one.
pub fn write_apart(to: &mut impl Write, pieces: &[Vec<u8>]) -> io::Result<()> {
    let pause = match pieces.len() {
        0..=8 => Duration::from_millis(3),
        9..=32 => Duration::from_millis(1),
        33..=512 => Duration::from_micros(150),
        _ => Duration::ZERO,
    };
    for (count, piece) in pieces.iter().enumerate() {
        if count > 0 && !pause.is_zero() {
            std::thread::sleep(pause);
        }
        to.write_all(piece)?;
        to.flush()?;
    }
    Ok(())
}

/// The first line named `name`.
pub fn value<'h>(headers: &'h Headers, name: &str) -> Option<&'h [u8]> {
    headers
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value.as_slice())
}

fn push_field(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

fn fill(from: &mut impl BufRead, framing: Framing, received: &mut Received) -> io::Result<()> {
    match framing {
        Framing::Empty => Ok(()),
        Framing::Length(length) => take(from, length, &mut received.body),
        Framing::UntilClose => from.read_to_end(&mut received.body).map(drop),
        Framing::Chunked => {
            loop {
                let size = line(from)?;
                let size = size.split(|byte| *byte == b';').next().unwrap_or_default();
                let size = std::str::from_utf8(size)
                    .ok()
                    .and_then(|size| usize::from_str_radix(size, 16).ok());
                match size.ok_or_else(|| malformed("a chunk without a size"))? {
                    0 => break,
                    size => take(from, size, &mut received.body)?,
                }
                if !line(from)?.is_empty() {
                    return Err(malformed("a chunk longer than its size"));
                }
            }
            received.trailers = fields(from)?;
            Ok(())
        }
    }
}

/// Reads exactly `length` bytes; keeps what came when there are fewer.
fn take(from: &mut impl BufRead, length: usize, into: &mut Vec<u8>) -> io::Result<()> {
    let got = from.take(length as u64).read_to_end(into)?;
    if got == length {
        Ok(())
    } else {
        Err(ErrorKind::UnexpectedEof.into())
    }
}

/// Header lines up to the empty one.
fn fields(from: &mut impl BufRead) -> io::Result<Headers> {
    let mut headers = Headers::new();
    loop {
        let line = line(from)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = colon
            .and_then(|at| line.split_at_checked(at))
            .ok_or_else(|| malformed("a header line without a colon"))?;
        let name = std::str::from_utf8(name).map_err(|_| malformed("a header name that is not ASCII"))?;
        headers.push((
            name.to_ascii_lowercase(),
            value.get(1..).unwrap_or_default().trim_ascii().to_vec(),
        ));
    }
}

/// A line without its `\r\n`.
fn line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(text.to_vec()),
        None if line.ends_with(b"\n") => Err(malformed("a line break without a carriage return")),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}

fn broken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe
    )
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("malformed HTTP: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(chunks: &[&str], end: End) -> Body {
        Body {
            chunks: chunks.iter().map(|chunk| chunk.as_bytes().to_vec()).collect(),
            end,
            trailers: Headers::new(),
        }
    }

    fn read(text: &[u8]) -> (Head, Received) {
        let mut from = text;
        let head = Head::read(&mut from).unwrap().unwrap();
        let framing = head.framing(Framing::Empty).unwrap();
        (head, read_body(&mut from, framing).unwrap())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let headers = vec![("x-a".to_owned(), b"1".to_vec()), ("x-a".to_owned(), b"\xff".to_vec())];
        let mut trailed = body(&["one", "", "two"], End::Empty);
        trailed.trailers = vec![("x-t".to_owned(), b"v".to_vec())];
        for body in [
            body(&["one", "", "two"], End::Empty),
            body(&["one", "two"], End::WithLastChunk),
            trailed,
        ] {
            let wire = writes(
                b"GET /a HTTP/1.1",
                &headers,
                Added::to(&headers, &body),
                &body,
                Until::End,
            );
            assert_eq!(wire.len(), 2, "one write a chunk");
            let (head, received) = read(&wire.concat());
            assert_eq!(head.parts(), (&b"GET"[..], &b"/a"[..], &b"HTTP/1.1"[..]));
            assert_eq!(head.headers[..2], headers[..]);
            assert_eq!(
                received,
                Received {
                    body: b"onetwo".to_vec(),
                    complete: true,
                    trailers: body.trailers
                }
            );
        }
    }

    #[test]
    fn no_body_frames_nothing() {
        let wire = writes(
            b"GET / HTTP/1.1",
            &Headers::new(),
            Added::to(&Headers::new(), &Body::default()),
            &Body::default(),
            Until::End,
        );
        assert_eq!(wire, [b"GET / HTTP/1.1\r\n\r\n".to_vec()]);
    }

    #[test]
    fn the_callers_own_framing_stays() {
        let headers = vec![("content-length".to_owned(), b"3".to_vec())];
        let wire = writes(
            b"x",
            &headers,
            Added::to(&headers, &body(&["one"], End::Empty)),
            &body(&["one"], End::Empty),
            Until::End,
        );
        assert_eq!(wire.concat(), b"x\r\ncontent-length: 3\r\n\r\none");
    }

    #[test]
    fn a_broken_body_is_incomplete() {
        for text in [
            &b"x\r\ncontent-length: 9\r\n\r\none"[..],
            b"x\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
            b"x\r\ntransfer-encoding: chunked\r\n\r\n9\r\none",
        ] {
            let (_, received) = read(text);
            assert_eq!(
                received,
                Received {
                    body: b"one".to_vec(),
                    ..Received::default()
                }
            );
        }
    }

    #[test]
    fn lax_messages_are_refused() {
        for text in [&b"x\n\n"[..], b"x\r\nno colon\r\n\r\n", b"x\r\na: b\n\r\n"] {
            assert!(Head::read(&mut &*text).is_err());
        }
        let head = Head {
            first: Vec::new(),
            headers: vec![("content-length".to_owned(), b"x".to_vec())],
        };
        assert!(head.framing(Framing::Empty).is_err());
        assert!(read_body(&mut &b"zz\r\n"[..], Framing::Chunked).is_err());
        assert!(read_body(&mut &b"1\r\nab\r\n"[..], Framing::Chunked).is_err());
    }

    #[test]
    fn an_empty_connection_is_no_head() {
        assert_eq!(Head::read(&mut &b""[..]).unwrap(), None);
    }
}
