//! Scripted clusters: what filters call beside the upstream (`proxy_http_call`, gRPC), what these answer, and what they got.
//!
//! 1. Both engines ask the same [`Script`], so a cluster says the same whichever hosts the filters.
//! 2. Which answer is next: the first of [`Cluster::rules`] that takes the call, else the call's path, else `*`. Each list is used in
//!    turn, its last answer again and again.
//! 3. Times are spans. The embedded engine lets its clock pass them, Envoy waits.
//! 4. What a cluster got is a [`Called`]: a place to which a filter may leak, like every other.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Headers;

/// A scripted cluster that filters may call.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Looked at before `answers`, top down.
    pub rules: Vec<Rule>,
    /// What it answers, by path with query; `*` stands for every other path. Where there is none, the answer is 404.
    pub answers: BTreeMap<String, Vec<ClusterAnswer>>,
    /// What it answers to gRPC, by path (`/package.Service/Method`). A cluster that has any speaks HTTP/2, and answers
    /// other gRPC calls with status 12 (UNIMPLEMENTED).
    pub grpc: BTreeMap<String, Vec<GrpcAnswer>>,
}

/// Answers to the calls that a condition takes.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The condition.
    pub when: When,
    /// Used in turn.
    pub answers: Vec<ClusterAnswer>,
}

/// A condition on a call.
#[derive(Clone)]
pub struct When(Arc<dyn Fn(&Called) -> bool + Send + Sync>);

impl When {
    /// The condition that this function tells.
    pub fn new(takes: impl Fn(&Called) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(takes))
    }

    /// Whether it takes a call.
    pub fn takes(&self, call: &Called) -> bool {
        (self.0)(call)
    }
}

impl fmt::Debug for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("When")
    }
}

/// What a cluster answers to one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterAnswer {
    /// The status.
    pub status: u16,
    /// Header lines.
    pub headers: Headers,
    /// The body, or its first piece.
    pub body: Vec<u8>,
    /// More of the body, each piece after a pause.
    pub pieces: Vec<Piece>,
    /// Trailers.
    pub trailers: Headers,
    /// How long it takes until the headers come.
    pub delay: Duration,
    /// What goes wrong instead, if anything.
    pub fault: Option<ClusterFault>,
}

impl ClusterAnswer {
    /// The lines by which HTTP/1.1 frames it, one call a connection. They come behind the answer's own.
    pub(crate) fn framing(&self) -> Headers {
        let line = |name: &str, value: String| (name.to_owned(), value.into_bytes());
        let framed = |(name, _): &(String, Vec<u8>)| name == "content-length" || name == "transfer-encoding";
        let mut lines = Vec::new();
        if !self.is_bodyless() && !self.headers.iter().any(framed) {
            lines.push(if self.is_chunked() {
                line("transfer-encoding", "chunked".to_owned())
            } else {
                line("content-length", self.body.len().to_string())
            });
        }
        lines.push(line("connection", "close".to_owned()));
        lines
    }

    /// RFC 9112, section 6.3: no body follows these.
    pub(crate) fn is_bodyless(&self) -> bool {
        matches!(self.status, 100..200 | 204 | 304)
    }

    /// Whether its length is not told beforehand.
    pub(crate) fn is_chunked(&self) -> bool {
        !self.pieces.is_empty() || !self.trailers.is_empty() || self.fault == Some(ClusterFault::ResetAfterHeaders)
    }

    /// The whole body.
    pub(crate) fn whole(&self) -> Vec<u8> {
        let pieces = self.pieces.iter().flat_map(|piece| &piece.bytes);
        self.body.iter().chain(pieces).copied().collect()
    }
}

/// A piece of a body, or a gRPC message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The pause before it.
    pub after: Duration,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// How a call to a cluster can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterFault {
    /// The connection breaks before any answer.
    Reset,
    /// It breaks after the headers, and what there is of the body.
    ResetAfterHeaders,
    /// No answer comes before the caller gives up.
    Timeout,
}

/// What a cluster answers to one gRPC call or stream.
///
/// An answer without initial metadata and messages whose status is not 0 is one head with `grpc-status` in it, as gRPC servers do
/// (`Trailers-Only` of gRPC's PROTOCOL-HTTP2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcAnswer {
    /// It answers once so many messages came, or the call's last.
    pub after_messages: usize,
    /// How long it takes until the initial metadata comes.
    pub delay: Duration,
    /// Beside `:status` and `content-type`.
    pub initial_metadata: Headers,
    /// The messages, without gRPC's framing.
    pub messages: Vec<Piece>,
    /// The pause before the trailing metadata.
    pub pause: Duration,
    /// Beside `grpc-status` and `grpc-message`.
    pub trailing_metadata: Headers,
    /// The `grpc-status`.
    pub status: u32,
    /// The `grpc-message`, as on the wire; an empty one is not sent.
    pub message: String,
    /// What goes wrong instead, if anything.
    pub fault: Option<ClusterFault>,
}

impl Default for GrpcAnswer {
    fn default() -> Self {
        Self {
            after_messages: 1,
            delay: Duration::ZERO,
            initial_metadata: Headers::new(),
            messages: Vec::new(),
            pause: Duration::ZERO,
            trailing_metadata: Headers::new(),
            status: 0,
            message: String::new(),
            fault: None,
        }
    }
}

impl GrpcAnswer {
    /// Whether it is one head with the status in it.
    pub fn is_trailers_only(&self) -> bool {
        self.status != 0 && self.initial_metadata.is_empty() && self.messages.is_empty() && self.fault.is_none()
    }

    /// The head's lines but `:status`.
    pub(crate) fn head(&self) -> Headers {
        let mut lines = vec![("content-type".to_owned(), b"application/grpc".to_vec())];
        if self.is_trailers_only() {
            lines.extend(self.tail());
        } else {
            lines.extend(self.initial_metadata.clone());
        }
        lines
    }

    /// The trailers.
    pub(crate) fn tail(&self) -> Headers {
        let mut lines = vec![("grpc-status".to_owned(), self.status.to_string().into_bytes())];
        if !self.message.is_empty() {
            lines.push(("grpc-message".to_owned(), self.message.clone().into_bytes()));
        }
        lines.extend(self.trailing_metadata.clone());
        lines
    }
}

/// A message in gRPC's framing: not compressed, its length, its bytes.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), message].concat()
}

/// Takes the whole messages off the front of what came; none: what came is no gRPC, or compressed.
pub(crate) fn unframed(bytes: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut messages = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(5) {
        let length = match head {
            [0, a, b, c, d] => u32::from_be_bytes([*a, *b, *c, *d]) as usize,
            // A compressed message of no bytes is one all the same.
            [1, 0, 0, 0, 0] => 0,
            _ => return None,
        };
        let Some(message) = rest.get(..length) else { break };
        messages.push(message.to_vec());
        bytes.drain(..5 + length);
    }
    // What can't become a frame is told at its first byte.
    (bytes.first().is_none_or(|flags| *flags <= 1)).then_some(messages)
}

/// A call as a cluster got it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// The method.
    pub method: String,
    /// The path, with its query.
    pub path: Vec<u8>,
    /// The authority.
    pub authority: String,
    /// The other lines, without those that the proxy itself adds (see [`PROXY_HEADERS`](super::PROXY_HEADERS)).
    pub headers: Headers,
    /// The body; of gRPC none.
    pub body: Vec<u8>,
    /// The messages of a gRPC call, as they came.
    pub messages: Vec<Vec<u8>>,
}

impl Called {
    /// A call with these lines, pseudo headers among them.
    pub(crate) fn new(lines: &Headers, body: Vec<u8>) -> Self {
        let mut called = Called {
            body,
            ..Called::default()
        };
        for (name, value) in lines {
            let text = || String::from_utf8_lossy(value).into_owned();
            match name.as_str() {
                ":method" => called.method = text(),
                ":path" => called.path = value.clone(),
                ":authority" | "host" => called.authority = text(),
                name if name.starts_with(':') || super::PROXY_HEADERS.contains(&name) => {}
                _ => called.headers.push((name.clone(), value.clone())),
            }
        }
        called
    }

    /// What came as a body of gRPC is messages.
    pub(crate) fn take_messages(&mut self) {
        let mut kept = self.body.clone();
        if let (true, Some(messages)) = (self.is_grpc(), unframed(&mut kept)) {
            self.messages = messages;
            self.body = kept;
        }
    }

    /// Whether its content type says that it is gRPC.
    pub(crate) fn is_grpc(&self) -> bool {
        self.headers
            .iter()
            .any(|(name, value)| name == "content-type" && value.starts_with(b"application/grpc"))
    }
}

/// A [`Cluster`] at work: which answer is next.
#[derive(Clone, Debug, Default)]
pub struct Script {
    cluster: Cluster,
    told: BTreeMap<List, usize>,
}

/// Which list of answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum List {
    Rule(usize),
    Path(String),
    Grpc(String),
}

impl Script {
    /// The script from its beginning.
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            told: BTreeMap::new(),
        }
    }

    /// Whether it is one of gRPC, and so of HTTP/2.
    pub fn speaks_grpc(&self) -> bool {
        !self.cluster.grpc.is_empty()
    }

    /// The answer to a call.
    pub fn answer(&mut self, call: &Called) -> ClusterAnswer {
        let rule = self.cluster.rules.iter().position(|rule| rule.when.takes(call));
        let (list, answers) = match rule.and_then(|at| Some((at, self.cluster.rules.get(at)?))) {
            Some((at, rule)) => (List::Rule(at), rule.answers.as_slice()),
            None => {
                let path = String::from_utf8_lossy(&call.path).into_owned();
                let path = Some(path).filter(|path| self.cluster.answers.contains_key(path));
                let path = path.unwrap_or_else(|| "*".to_owned());
                let answers = self.cluster.answers.get(&path).map_or(&[][..], Vec::as_slice);
                (List::Path(path), answers)
            }
        };
        next(&mut self.told, list, answers).unwrap_or(ClusterAnswer {
            status: 404,
            ..ClusterAnswer::default()
        })
    }

    /// The answer to a gRPC call for this path.
    pub fn answer_grpc(&mut self, path: &[u8]) -> GrpcAnswer {
        let path = String::from_utf8_lossy(path).into_owned();
        let answers = self.cluster.grpc.get(&path).map_or(&[][..], Vec::as_slice);
        next(&mut self.told, List::Grpc(path), answers).unwrap_or(GrpcAnswer {
            status: 12,
            ..GrpcAnswer::default()
        })
    }
}

fn next<T: Clone>(told: &mut BTreeMap<List, usize>, list: List, answers: &[T]) -> Option<T> {
    let told = told.entry(list).or_default();
    let answer = answers.get(*told).or(answers.last());
    *told += 1;
    answer.cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(status: u16) -> ClusterAnswer {
        ClusterAnswer {
            status,
            ..ClusterAnswer::default()
        }
    }

    fn call(method: &str, path: &str) -> Called {
        Called {
            method: method.to_owned(),
            path: path.as_bytes().to_vec(),
            ..Called::default()
        }
    }

    #[test]
    fn rules_come_before_paths_and_lists_are_used_in_turn() {
        let mut script = Script::new(Cluster {
            rules: vec![Rule {
                when: When::new(|call| call.method == "PUT"),
                answers: vec![status(201), status(202)],
            }],
            answers: [
                ("/a".to_owned(), vec![status(203)]),
                ("*".to_owned(), vec![status(204), status(205)]),
            ]
            .into(),
            ..Cluster::default()
        });
        let calls = [
            ("PUT", "/a"),
            ("GET", "/a"),
            ("GET", "/b"),
            ("PUT", "/b"),
            ("GET", "/c"),
            ("PUT", "/a"),
        ];
        let told: Vec<u16> = calls
            .iter()
            .map(|(method, path)| script.answer(&call(method, path)).status)
            .collect();
        assert_eq!(told, [201, 203, 204, 202, 205, 202]);
        assert_eq!(Script::default().answer(&call("GET", "/")).status, 404);
        assert_eq!(Script::default().answer_grpc(b"/a.B/C").status, 12);
    }

    #[test]
    fn what_is_no_grpc_is_told() {
        for bytes in [&b"up"[..], b"\x02\0\0\0\0", b"\x01\0\0\0\x01x", b"<html>"] {
            assert_eq!(unframed(&mut bytes.to_vec()), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn messages_come_back_however_they_are_cut(messages: Vec<Vec<u8>>, cut in 1..40_usize) {
            let wire: Vec<u8> = messages.iter().flat_map(|message| framed(message)).collect();
            let (mut kept, mut read) = (Vec::new(), Vec::new());
            for piece in wire.chunks(cut) {
                kept.extend(piece);
                read.extend(unframed(&mut kept).unwrap());
            }
            prop_assert_eq!(read, messages);
            prop_assert!(kept.is_empty());
        }

        #[test]
        fn no_bytes_trip_it(mut bytes: Vec<u8>) {
            let _ = unframed(&mut bytes);
        }
    }
}
