//! gRPC as Envoy's asynchronous client does it for guests: what becomes of an answer that comes over HTTP.
//!
//! Seen on Envoy 1.40, and read in its `source/common/grpc/async_client_impl.cc` and `source/extensions/common/wasm/context.cc`:
//!
//! 1. A call (`proxy_grpc_call`) is told one thing: `on_grpc_receive` with its last message when the status is 0, else `on_grpc_close`.
//!    A success without a message is closed with 13 and no text. A stream is told everything.
//! 2. A failure is told a stream as empty initial metadata (unless there was some), empty trailing metadata and a close. What the
//!    router itself answers (a connection that broke before any answer) comes as trailing metadata that has a `:status`.
//! 3. The close's message is `grpc-message` as it came, still percent-encoded, with the router's details in braces behind it; the
//!    details alone where there is none.
//! 4. Another HTTP status than 200 becomes the gRPC status that gRPC's `http-grpc-status-mapping` gives it. No `grpc-status` in the
//!    trailers, or no trailers, is 2. What is no gRPC, or compressed, is 13. What breaks after the
//!    headers, or is not over in time, is 13.
//! 5. Tokens: calls 5, 9, 13 ..; streams 6, 10, 14 ..; each VM counts its own. A call that was refused has used one.
//! 6. A cluster that is not there is 10 (InternalFailure), and `on_grpc_close` with 14 follows.
//! 7. A stream's token lives until both sides have closed it, so one that the guest never closes stays.
//!
//! Not done as Envoy does: a send from within `on_grpc_receive_trailing_metadata` calls Envoy's guest anew before that callback has
//! returned. Here it does nothing.

use std::time::Duration;

use super::agenda::Awaited;
use super::vm::Vm;
use super::world::{Event, World};
use super::{Call, CallAnswer};
use crate::exchange::{Called, ClusterAnswer, ClusterFault, GrpcAnswer, Headers, Script, framed, unframed};

/// A call or a stream that is open.
#[derive(Debug)]
pub(crate) struct Rpc {
    cluster: String,
    /// Which of the cluster's calls it is.
    number: usize,
    plan: Plan,
    /// How many messages the guest has sent.
    messages: usize,
    /// The guest has sent its last.
    ended: bool,
    answered: bool,
    /// The answer's headers came.
    started: bool,
    /// What came and is no whole message yet.
    kept: Vec<u8>,
    /// A call's last message.
    last: Option<Vec<u8>>,
    local_closed: bool,
    remote_closed: bool,
}

/// What the cluster does.
#[derive(Debug)]
enum Plan {
    Grpc(GrpcAnswer),
    /// It knows nothing of gRPC, and answers when the whole call has come.
    Http,
}

/// What comes over HTTP.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Head {
        lines: Headers,
        end: bool,
    },
    Data(Vec<u8>),
    End,
    Tail(Headers),
    Broken(&'static str),
    Expire,
    /// The cluster is not there.
    Refused,
}

/// Whether a token is a call's.
pub(crate) fn is_call(token: u32) -> bool {
    token & 3 == 1
}

/// Whether a token is a stream's.
pub(crate) fn is_stream(token: u32) -> bool {
    token & 3 == 2
}

/// What `proxy_grpc_call` and `proxy_grpc_stream` are given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opening {
    pub(crate) cluster: String,
    /// Instead of the cluster's name.
    pub(crate) authority: Option<String>,
    pub(crate) path: String,
    pub(crate) metadata: Headers,
    pub(crate) timeout: Option<Duration>,
}

/// Opens a call or stream. False: there is no such cluster, and the guest will be told.
pub(crate) fn open(world: &mut World, filter: usize, token: u32, opening: Opening) -> bool {
    let now = world.uptime();
    if !world.has_cluster(&opening.cluster) {
        let event = Event::Rpc {
            filter,
            token,
            step: Step::Refused,
        };
        world.events.put(now, Awaited::Yes, event);
        return false;
    }
    let mut lines = vec![
        (":method".to_owned(), b"POST".to_vec()),
        (":path".to_owned(), opening.path.clone().into_bytes()),
        (
            ":authority".to_owned(),
            opening
                .authority
                .unwrap_or_else(|| opening.cluster.clone())
                .into_bytes(),
        ),
        ("te".to_owned(), b"trailers".to_vec()),
    ];
    if let Some(timeout) = opening.timeout {
        lines.push(("grpc-timeout".to_owned(), grpc_timeout(timeout).into_bytes()));
    }
    lines.push(("content-type".to_owned(), b"application/grpc".to_vec()));
    lines.extend(opening.metadata);
    let number = world.record(&opening.cluster, Called::new(&lines, Vec::new()));
    let plan = match world.script(&opening.cluster) {
        Some(script) if script.speaks_grpc() => Plan::Grpc(script.answer_grpc(opening.path.as_bytes())),
        _ => Plan::Http,
    };
    if let Some(timeout) = opening.timeout.filter(|timeout| !timeout.is_zero()) {
        let never = matches!(&plan, Plan::Grpc(answer) if answer.fault == Some(ClusterFault::Timeout));
        let awaited = if never { Awaited::No } else { Awaited::Yes };
        let event = Event::Rpc {
            filter,
            token,
            step: Step::Expire,
        };
        world.events.put(now + timeout, awaited, event);
    }
    let rpc = Rpc {
        cluster: opening.cluster,
        number,
        plan,
        messages: 0,
        ended: false,
        answered: false,
        started: false,
        kept: Vec::new(),
        last: None,
        local_closed: false,
        remote_closed: false,
    };
    world.rpcs.insert((filter, token), rpc);
    answer(world, filter, token);
    true
}

/// gRPC's PROTOCOL-HTTP2 allows eight digits; Envoy takes the finest unit that fits.
fn grpc_timeout(timeout: Duration) -> String {
    let milliseconds = timeout.as_millis();
    let units = [(1, 'm'), (1_000, 'S'), (60_000, 'M'), (3_600_000, 'H')];
    let fits = units.iter().find(|(unit, _)| milliseconds / unit <= 99_999_999);
    fits.map_or_else(
        || "99999999H".to_owned(),
        |(unit, name)| format!("{}{name}", milliseconds / unit),
    )
}

/// A message of the guest's. False: the token is unknown.
pub(crate) fn send(world: &mut World, filter: usize, token: u32, message: Option<Vec<u8>>, end: bool) -> bool {
    let Some(rpc) = world.rpcs.get_mut(&(filter, token)) else {
        return false;
    };
    if rpc.ended || rpc.remote_closed {
        return true;
    }
    rpc.ended = end;
    if let Some(message) = message {
        rpc.messages += 1;
        let (cluster, number) = (rpc.cluster.clone(), rpc.number);
        world.record_message(&cluster, number, message);
    }
    answer(world, filter, token);
    true
}

/// The guest has nothing more to say. False: the token is unknown.
pub(crate) fn close(world: &mut World, filter: usize, token: u32) -> bool {
    if is_call(token) {
        return cancel(world, filter, token);
    }
    if !send(world, filter, token, None, true) {
        return false;
    }
    if let Some(rpc) = world.rpcs.get_mut(&(filter, token)) {
        rpc.local_closed = true;
        if rpc.remote_closed {
            forget(world, filter, token);
        }
    }
    true
}

/// The guest wants to hear nothing more. False: the token is unknown.
pub(crate) fn cancel(world: &mut World, filter: usize, token: u32) -> bool {
    let there = world.rpcs.contains_key(&(filter, token));
    forget(world, filter, token);
    there
}

fn forget(world: &mut World, filter: usize, token: u32) {
    world.rpcs.remove(&(filter, token));
    drop_events(world, filter, token);
}

fn drop_events(world: &mut World, filter: usize, token: u32) {
    let its = |event: &Event| matches!(event, Event::Rpc { filter: f, token: t, .. } if (*f, *t) == (filter, token));
    world.events.retain(|event| !its(event));
}

/// Lets the cluster answer, if it has heard enough.
fn answer(world: &mut World, filter: usize, token: u32) {
    let Some(rpc) = world.rpcs.get_mut(&(filter, token)) else {
        return;
    };
    let enough = match &rpc.plan {
        Plan::Grpc(answer) => rpc.ended || rpc.messages >= answer.after_messages,
        Plan::Http => rpc.ended,
    };
    if !enough || rpc.answered {
        return;
    }
    rpc.answered = true;
    let (cluster, number) = (rpc.cluster.clone(), rpc.number);
    let steps = match &rpc.plan {
        Plan::Grpc(answer) => grpc_steps(answer),
        Plan::Http => http_steps(world, &cluster, number),
    };
    let mut due = world.uptime();
    for (after, step) in steps {
        due += after;
        let event = Event::Rpc { filter, token, step };
        world.events.put(due, Awaited::Yes, event);
    }
}

fn grpc_steps(answer: &GrpcAnswer) -> Vec<(Duration, Step)> {
    let end = answer.is_trailers_only();
    match answer.fault {
        Some(ClusterFault::Timeout) => return Vec::new(),
        Some(ClusterFault::Reset) => return vec![(answer.delay, Step::Broken("remote reset"))],
        Some(ClusterFault::ResetAfterHeaders) | None => {}
    }
    let mut lines = vec![(":status".to_owned(), b"200".to_vec())];
    lines.extend(answer.head());
    let mut steps = vec![(answer.delay, Step::Head { lines, end })];
    steps.extend(
        answer
            .messages
            .iter()
            .map(|message| (message.after, Step::Data(framed(&message.bytes)))),
    );
    match answer.fault {
        None if end => {}
        None => steps.push((answer.pause, Step::Tail(answer.tail()))),
        Some(_) => steps.push((answer.pause, Step::Broken("remote reset"))),
    }
    steps
}

fn http_steps(world: &mut World, cluster: &str, number: usize) -> Vec<(Duration, Step)> {
    let call = world.called(cluster, number);
    let body: Vec<u8> = call.messages.iter().flat_map(|message| framed(message)).collect();
    let Some(script) = world.script(cluster) else {
        let mut headers: Headers = [
            (":method", call.method.as_bytes()),
            (":path", &call.path),
            (":authority", call.authority.as_bytes()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_vec()))
        .to_vec();
        headers.extend(call.headers.clone());
        let asked = world.ask_function(
            cluster,
            &Call {
                headers,
                body,
                ..Call::default()
            },
        );
        return match asked {
            Some(CallAnswer {
                headers,
                body,
                trailers,
            }) => pieces(headers, vec![(Duration::ZERO, body)], trailers, Duration::ZERO, None),
            None => vec![(Duration::ZERO, Step::Broken("connection termination"))],
        };
    };
    let answer = script.answer(&Called { body, ..call });
    match answer.fault {
        Some(ClusterFault::Timeout) => return Vec::new(),
        Some(ClusterFault::Reset) => return vec![(answer.delay, Step::Broken("connection termination"))],
        Some(ClusterFault::ResetAfterHeaders) | None => {}
    }
    let lines = super::world::answer_lines(&answer, answer.framing());
    let ClusterAnswer {
        body,
        pieces: more,
        trailers,
        delay,
        fault,
        ..
    } = answer;
    let mut all = vec![(Duration::ZERO, body)];
    all.extend(more.into_iter().map(|piece| (piece.after, piece.bytes)));
    pieces(lines, all, trailers, delay, fault)
}

fn pieces(
    lines: Headers,
    body: Vec<(Duration, Vec<u8>)>,
    trailers: Headers,
    delay: Duration,
    fault: Option<ClusterFault>,
) -> Vec<(Duration, Step)> {
    let empty = body.iter().all(|(_, bytes)| bytes.is_empty()) && trailers.is_empty() && fault.is_none();
    let mut steps = vec![(delay, Step::Head { lines, end: empty })];
    if empty {
        return steps;
    }
    steps.extend(body.into_iter().map(|(after, bytes)| (after, Step::Data(bytes))));
    steps.push((
        Duration::ZERO,
        match fault {
            Some(_) => Step::Broken("connection termination"),
            None if trailers.is_empty() => Step::End,
            None => Step::Tail(trailers),
        },
    ));
    steps
}

/// Lets a step come to the guest: to the root context of the filter that asked.
pub(crate) fn deliver(vm: &mut Vm, world: &mut Box<World>, root: u32, (filter, token): (usize, u32), step: Step) {
    let mut guest = Guest {
        vm,
        world,
        root,
        filter,
        token,
    };
    match step {
        Step::Refused => guest.tell_close(14, "Cluster not available"),
        Step::Head { mut lines, end } => {
            let Some(rpc) = guest.rpc() else { return };
            rpc.started = true;
            if rpc.ended {
                // The router knows how long it took only once it has sent everything.
                lines.push(("x-envoy-upstream-service-time".to_owned(), b"0".to_vec()));
            }
            let status = number(&lines, ":status").unwrap_or_default();
            let told = number(&lines, "grpc-status").is_some();
            match (status, end) {
                (200, false) => guest.initial(lines),
                (200, true) => guest.only(lines),
                (_, true) if told => guest.only(lines),
                (status, _) => {
                    guest.initial(Headers::new());
                    guest.fail(from_http(status));
                }
            }
        }
        Step::Data(bytes) => {
            let Some(rpc) = guest.rpc() else { return };
            rpc.kept.extend(bytes);
            match unframed(&mut rpc.kept) {
                Some(messages) => messages.into_iter().for_each(|message| guest.message(message)),
                None => guest.fail(13),
            }
        }
        Step::End => guest.fail(2),
        Step::Tail(lines) => guest.trailing(lines),
        Step::Broken(reason) => {
            let short = reason.replace(' ', "_");
            if guest.rpc().is_some_and(|rpc| rpc.started) {
                guest.fail_for(13, &format!("upstream_reset_after_response_started{{{short}}}"));
                return;
            }
            let text = format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}");
            let details = format!("upstream_reset_before_response_started{{{short}}}");
            guest.refuse(&text, &details);
        }
        Step::Expire => {
            if guest.rpc().is_some_and(|rpc| rpc.started) {
                guest.fail_for(13, "response_timeout");
            } else {
                guest.refuse("upstream request timeout", "response_timeout");
            }
        }
    }
}

/// The guest that is told.
struct Guest<'a> {
    vm: &'a mut Vm,
    world: &'a mut Box<World>,
    root: u32,
    filter: usize,
    token: u32,
}

impl Guest<'_> {
    /// None: the guest has cancelled it, or it is over.
    fn rpc(&mut self) -> Option<&mut Rpc> {
        self.world
            .rpcs
            .get_mut(&(self.filter, self.token))
            .filter(|rpc| !rpc.remote_closed)
    }

    fn initial(&mut self, lines: Headers) {
        if self.rpc().is_some() && !is_call(self.token) {
            self.vm
                .on_grpc_receive_initial_metadata(self.world, self.root, self.token, lines);
        }
    }

    fn message(&mut self, message: Vec<u8>) {
        let is_call = is_call(self.token);
        let Some(rpc) = self.rpc() else { return };
        if is_call {
            rpc.last = Some(message);
        } else {
            self.vm.on_grpc_receive(self.world, self.root, self.token, message);
        }
    }

    /// The whole answer is one head.
    fn only(&mut self, lines: Headers) {
        self.initial(Headers::new());
        self.trailing(lines);
    }

    fn trailing(&mut self, lines: Headers) {
        let status = number(&lines, "grpc-status").unwrap_or(2);
        let message = lines
            .iter()
            .find(|(name, _)| name == "grpc-message")
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
            .unwrap_or_default();
        self.end(lines, status, &message, "via_upstream");
    }

    fn fail(&mut self, status: u32) {
        self.fail_for(status, "via_upstream");
    }

    fn fail_for(&mut self, status: u32, details: &str) {
        self.end(Headers::new(), status, "", details);
    }

    /// The router itself answers.
    fn refuse(&mut self, text: &str, details: &str) {
        self.initial(Headers::new());
        let lines = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", "14"),
            ("grpc-message", text),
        ];
        let lines = lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
        self.end(lines.to_vec(), 14, text, details);
    }

    fn end(&mut self, lines: Headers, status: u32, message: &str, details: &str) {
        if self.rpc().is_some() && !is_call(self.token) {
            self.vm
                .on_grpc_receive_trailing_metadata(self.world, self.root, self.token, lines);
        }
        let Some(rpc) = self.rpc() else { return };
        rpc.remote_closed = true;
        let last = rpc.last.take();
        drop_events(self.world, self.filter, self.token);
        if is_call(self.token) && status == 0 {
            match last {
                Some(last) => self.vm.on_grpc_receive(self.world, self.root, self.token, last),
                None => self.tell_close(13, ""),
            }
        } else if message.is_empty() {
            self.tell_close(status, details);
        } else {
            self.tell_close(status, &format!("{message}{{{details}}}"));
        }
        let key = (self.filter, self.token);
        let over = |rpc: &Rpc| rpc.local_closed;
        if is_call(self.token) || self.world.rpcs.get(&key).is_some_and(over) {
            self.world.rpcs.remove(&key);
        }
    }

    fn tell_close(&mut self, status: u32, message: &str) {
        self.vm
            .on_grpc_close(self.world, self.root, self.token, status, message);
    }
}

fn number(lines: &Headers, name: &str) -> Option<u32> {
    let (_, value) = lines.iter().find(|(other, _)| other == name)?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// gRPC's `doc/http-grpc-status-mapping.md`.
fn from_http(status: u32) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// The parts of a serialized `envoy.config.core.v3.GrpcService` that a call needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) target: Option<Target>,
    pub(crate) initial_metadata: Headers,
}

/// Whom a [`Service`] names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `envoy_grpc`.
    Envoy { cluster: String, authority: String },
    /// `google_grpc`, which dials by itself.
    Google,
}

impl Service {
    /// None: it is no such message.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut service = Service::default();
        for (number, value) in fields(bytes)? {
            match (number, value) {
                (1, Some(envoy)) => {
                    let (mut cluster, mut authority) = match service.target.take() {
                        Some(Target::Envoy { cluster, authority }) => (cluster, authority),
                        _ => Default::default(),
                    };
                    for (number, value) in fields(envoy)? {
                        let text = || String::from_utf8(value.unwrap_or_default().to_vec()).ok();
                        match number {
                            1 => cluster = text()?,
                            2 => authority = text()?,
                            _ => {}
                        }
                    }
                    service.target = Some(Target::Envoy { cluster, authority });
                }
                (2, Some(_)) => service.target = Some(Target::Google),
                (5, Some(line)) => {
                    let (mut name, mut text) = (Vec::new(), Vec::new());
                    for (number, value) in fields(line)? {
                        match number {
                            1 => name = value.unwrap_or_default().to_vec(),
                            2 => text = value.unwrap_or_default().to_vec(),
                            _ => {}
                        }
                    }
                    let name = String::from_utf8(name).ok()?.to_lowercase();
                    service.initial_metadata.push((name, text));
                }
                _ => {}
            }
        }
        Some(service)
    }
}

/// A field's number, and its bytes if it has a length.
type Field<'a> = (u64, Option<&'a [u8]>);

/// A message's fields. Source: protobuf's encoding guide.
fn fields(mut bytes: &[u8]) -> Option<Vec<Field<'_>>> {
    fn varint(bytes: &mut &[u8]) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = bytes.split_first()?;
            *bytes = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let length = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                all.push((key >> 3, None));
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (value, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        if key >> 3 == 0 {
            return None;
        }
        all.push((key >> 3, (key & 7 == 2).then_some(value)));
    }
    Some(all)
}

/// What the world has to do with calls of guests.
impl World {
    /// The script of a cluster.
    pub(crate) fn script(&mut self, cluster: &str) -> Option<&mut Script> {
        self.scripts.get_mut(cluster)
    }

    /// Keeps what a cluster got; its number among the cluster's calls.
    pub(crate) fn record(&mut self, cluster: &str, call: Called) -> usize {
        let calls = self.calls.entry(cluster.to_owned()).or_default();
        calls.push(call);
        self.called_before.get(cluster).copied().unwrap_or_default() + calls.len() - 1
    }

    fn record_message(&mut self, cluster: &str, number: usize, message: Vec<u8>) {
        if let Some(call) = self.recorded(cluster, number) {
            call.messages.push(message);
        } else {
            // A stream of an exchange before this one: what it says now is a call of its own, so that nothing goes unseen.
            let call = Called {
                messages: vec![message],
                ..Called::default()
            };
            self.record(cluster, call);
        }
    }

    fn recorded(&mut self, cluster: &str, number: usize) -> Option<&mut Called> {
        let before = self.called_before.get(cluster).copied().unwrap_or_default();
        self.calls.get_mut(cluster)?.get_mut(number.checked_sub(before)?)
    }

    fn called(&mut self, cluster: &str, number: usize) -> Called {
        self.recorded(cluster, number).cloned().unwrap_or_default()
    }

    /// The calls since this was asked last; they are taken.
    pub(crate) fn take_calls(&mut self) -> std::collections::BTreeMap<String, Vec<Called>> {
        for (cluster, calls) in &self.calls {
            *self.called_before.entry(cluster.clone()).or_default() += calls.len();
        }
        std::mem::take(&mut self.calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_service_is_read() {
        let bytes = b"\x0a\x17\x0a\x04grpc\x12\x0frpc.example.org\x1a\x02\x08\x01\x2a\x10\x0a\x09X-service\x12\x03yes";
        let service = Service::parse(bytes).unwrap();
        assert_eq!(service.initial_metadata, [("x-service".to_owned(), b"yes".to_vec())]);
        let target = Target::Envoy {
            cluster: "grpc".to_owned(),
            authority: "rpc.example.org".to_owned(),
        };
        assert_eq!(service.target, Some(target));
        assert_eq!(Service::parse(b""), Some(Service::default()));
        for broken in [&b"\xff\xff"[..], b"\x0a", b"\x0a\x05a", b"grpc", b"\x02\x00"] {
            assert_eq!(Service::parse(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn timeouts_have_at_most_eight_digits() {
        for (milliseconds, wanted) in [
            (0, "0m"),
            (2_000, "2000m"),
            (99_999_999, "99999999m"),
            (100_000_000, "100000S"),
        ] {
            assert_eq!(grpc_timeout(Duration::from_millis(milliseconds)), wanted);
        }
    }

    proptest! {
        #[test]
        fn no_service_trips_it(bytes: Vec<u8>) {
            let _ = Service::parse(&bytes);
        }
    }
}
