//! A running chain of filters: what starts it, carries exchanges through it, and delivers what happens beside them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Context as _;

use super::abi::Way;
use super::connection::Connection;
use super::headers::HeaderMap;
use super::rpc;
use super::stream::Stream;
use super::trace::Trace;
use super::vms::{Reload, Vms};
use super::world::{Event, StreamData, World};
use super::{Cost, Limits, Wasmtime};
use crate::exchange::{
    Answer, Body, EXCHANGE_TIMEOUT, End, Fault, Gateway, Outcome, Record, Request, Seen, Setup, changes, tcp,
};
use crate::failure::{Cause, Failure};

/// Filters behind each other, each in its VM, in front of a scripted upstream.
pub struct Chain {
    vms: Vms,
    names: Vec<String>,
    world: Box<World>,
    buffer_limit: u32,
    report: Vec<String>,
    exchanges: u64,
    /// The metrics after the exchange before.
    metrics: BTreeMap<String, u64>,
    /// When each filter's timer was last heard, in time since the gateway started.
    ticked: Vec<Duration>,
}

/// The guest did something that makes Envoy 1.40 itself crash, with every stream that it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crashed {
    /// What it did.
    pub what: &'static str,
    /// What the filters logged so far.
    pub logs: Vec<(String, String)>,
}

impl fmt::Display for Crashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envoy 1.40 crashes here: {}", self.what)?;
        write_logs(f, &self.logs)
    }
}

impl std::error::Error for Crashed {}

/// A stream that no filter resumed: in a real proxy the client would wait until it gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hung {
    /// The filter that holds the stream, if one does.
    pub filter: Option<String>,
    /// `request` or `response`.
    pub way: &'static str,
    /// What the filters logged so far.
    pub logs: Vec<(String, String)>,
    /// How guests failed so far.
    pub failures: Vec<Failure>,
}

impl fmt::Display for Hung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.filter {
            Some(filter) => write!(
                f,
                "the stream hangs: filter `{filter}` paused the {} and nobody resumed it",
                self.way
            )?,
            None => write!(f, "the stream hangs: the {} never ended", self.way)?,
        }
        self.failures.iter().try_for_each(|failure| write!(f, "\n{failure}"))?;
        write_logs(f, &self.logs)
    }
}

impl std::error::Error for Hung {}

/// Envoy's default for what a paused body may hold, in bytes.
const BUFFER_LIMIT: u32 = 1 << 20;

/// What a root context's calls may set off one after another before that counts as a loop.
const EVENTS_MAX: usize = 10_000;

impl Chain {
    pub(super) fn start(engine: &Wasmtime, setup: &Setup, limits: Limits) -> anyhow::Result<Self> {
        let settings = &engine.settings;
        let clusters = std::sync::Arc::new(settings.clusters.clone());
        let mut world = Box::new(World::new(setup, settings.clock, settings.log_level as u32, clusters));
        world.semantics = settings.semantics;
        world.trace = settings.trace.then(Trace::default);
        let vms = Vms::start(engine, setup, limits, &mut world)?;
        let mut chain = Chain {
            ticked: vec![Duration::ZERO; vms.len()],
            vms,
            names: setup.filters.iter().map(|filter| filter.name.clone()).collect(),
            world,
            buffer_limit: setup.buffer_limit.unwrap_or(BUFFER_LIMIT),
            report: setup.report.clone(),
            exchanges: 0,
            metrics: BTreeMap::new(),
        };
        chain.deliver_due()?;
        // What is called while configuring belongs to no exchange.
        chain.world.take_calls();
        chain.metrics = chain.metrics_now();
        Ok(chain)
    }

    /// The first filter's VM and the world, for who calls callbacks by themselves. Every chain that is asked has a filter.
    pub(super) fn first(&mut self) -> (&mut super::vm::Vm, &mut Box<World>) {
        (&mut self.vms[0], &mut self.world)
    }

    /// The root context of the first filter's plugin.
    pub(super) fn first_root(&self) -> u32 {
        self.vms.root(0)
    }

    /// The value of a metric that a filter defined; none: no filter did. A histogram gives the last value recorded. There are Envoy's
    /// own of failed VMs, too: `wasm.FILTER.vm_reload_success`, `_backoff` and `_failure`, once they are above 0.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<u64> {
        let mut metrics = self.world.metrics.iter();
        let metric = metrics.find(|((_, there), _)| there == name).map(|(_, value)| *value);
        metric.or_else(|| self.world.reloads.get(name).copied())
    }

    /// What each filter's callbacks cost since the last time that this was asked, by filter and callback (`proxy_on_request_headers`).
    /// They are taken.
    pub fn take_costs(&mut self) -> BTreeMap<(String, &'static str), Cost> {
        let costs = std::mem::take(&mut self.world.costs);
        let named = costs
            .into_iter()
            .map(|((at, callback), cost)| ((self.names[at].clone(), callback), cost));
        named.collect()
    }

    /// The memory that each filter's VM has, in bytes; WebAssembly memory never shrinks.
    pub fn memory(&self) -> Vec<(String, usize)> {
        let sizes = (0..self.vms.len()).map(|filter| {
            let vm = &self.vms[filter];
            vm.store.data().memory.map_or(0, |memory| memory.data_size(&vm.store))
        });
        self.names.iter().cloned().zip(sizes).collect()
    }

    /// Lets every timer that a filter has set go off once, whatever its period, and delivers what that sets off. Timers that
    /// are due by the clock go off by themselves at the beginning of an exchange.
    ///
    /// # Errors
    ///
    /// When events set off events without end.
    pub fn tick(&mut self) -> anyhow::Result<()> {
        for at in 0..self.vms.len() {
            self.tick_one(at);
        }
        self.deliver_events()
    }

    /// What guests were called for and what they called since the last time that this was asked, or since the start; empty unless the
    /// engine [traces](super::Builder::trace). It is taken.
    pub fn take_trace(&mut self) -> Trace {
        self.world.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How guests failed outside exchanges: in timers, in answers to calls. They are taken.
    pub fn take_failures(&mut self) -> Vec<Failure> {
        std::mem::take(&mut self.world.failures)
    }

    /// Makes failed VMs anew, where their filter's policy is [`FailurePolicy::Reload`](crate::exchange::FailurePolicy::Reload) and it is time.
    fn reload(&mut self) {
        for at in 0..self.vms.len() {
            let counted = match self.vms.reload(at, &mut self.world) {
                Reload::NotWanted => continue,
                Reload::TooSoon => "vm_reload_backoff",
                Reload::Fails => "vm_reload_failure",
                Reload::Succeeds => {
                    self.ticked[at] = self.world.uptime();
                    // The old one's calls are answered no more.
                    self.world.events.retain(|event| event.filter() != at);
                    self.world.rpcs.retain(|(filter, _), _| *filter != at);
                    "vm_reload_success"
                }
            };
            let name = format!("wasm.{}.{counted}", self.names[at]);
            *self.world.reloads.entry(name).or_default() += 1;
        }
    }

    /// Lines that were logged outside exchanges: at start, in timers, in answers to calls. They are taken.
    pub fn take_logs(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.world.logs)
    }

    /// The values of counters and gauges, the number of samples of histograms.
    fn metrics_now(&self) -> BTreeMap<String, u64> {
        let named = self
            .world
            .metrics
            .iter()
            .map(|((_, name), value)| (name.clone(), *value));
        let mut metrics: BTreeMap<String, u64> = named.collect();
        metrics.extend(self.world.samples.clone());
        metrics
    }

    fn tick_one(&mut self, at: usize) {
        if self.vms.tick_period(at) > 0 {
            self.ticked[at] = self.world.uptime();
            let root = self.vms.root(at);
            self.vms[at].on_tick(&mut self.world, root);
            self.vms[at].store.data_mut().deferred.clear();
        }
    }

    fn tick_if_due(&mut self) {
        let now = self.world.uptime();
        for at in 0..self.vms.len() {
            let period = Duration::from_millis(self.vms.tick_period(at).into());
            if period > Duration::ZERO && now.saturating_sub(self.ticked[at]) >= period {
                self.tick_one(at);
            }
        }
    }

    /// Outside a stream: what is due, and what an exchange waits for at its end, as long as a client would.
    fn deliver_events(&mut self) -> anyhow::Result<()> {
        let mut last = None;
        let deadline = self.world.uptime() + EXCHANGE_TIMEOUT;
        for _ in 0..EVENTS_MAX {
            let now = self.world.uptime();
            if let Some(event) = self.world.events.take_due(now) {
                last = Some((event.filter(), event.callback()));
                self.deliver_one(event);
                continue;
            }
            let awaited = self.world.events.next_awaited().filter(|due| *due <= deadline);
            let Some(awaited) = awaited else {
                return Ok(());
            };
            let next = self.world.events.next_due().map_or(awaited, |due| due.min(awaited));
            let next = next_timer(&self.vms, &self.ticked).map_or(next, |(_, due)| due.min(next));
            self.world.pass(next.saturating_sub(now));
            self.tick_if_due();
        }
        let (filter, callback) = last.unwrap_or((0, "proxy_on_tick"));
        Err(endless(&self.vms, filter, callback).into())
    }

    /// What is due, without waiting for anything.
    fn deliver_due(&mut self) -> anyhow::Result<()> {
        let mut last = None;
        for _ in 0..EVENTS_MAX {
            let now = self.world.uptime();
            let Some(event) = self.world.events.take_due(now) else {
                return Ok(());
            };
            last = Some((event.filter(), event.callback()));
            self.deliver_one(event);
        }
        let (filter, callback) = last.unwrap_or((0, "proxy_on_tick"));
        Err(endless(&self.vms, filter, callback).into())
    }

    fn deliver_one(&mut self, event: Event) {
        let filter = deliver(&mut self.vms, &mut self.world, event);
        self.vms[filter].store.data_mut().deferred.clear();
    }
}

/// The failure of guests that are called for events without end, by the last of those.
fn endless(vms: &Vms, filter: usize, callback: &'static str) -> Failure {
    let host = vms[filter].store.data();
    Failure {
        filter: host.name.clone(),
        callback,
        cause: Cause::Events(EVENTS_MAX),
        refused_memory: None,
        backtrace: Vec::new(),
        host_calls: host.calls.iter().copied().collect(),
    }
}

impl Gateway for Chain {
    fn exchange(&mut self, request: &Request, answer: &Answer) -> anyhow::Result<Outcome> {
        self.exchange_with(request, &mut |_| answer.clone())
    }

    fn wait(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = self.world.uptime() + time;
        loop {
            self.tick_if_due();
            self.deliver_due()?;
            let now = self.world.uptime();
            if now >= end {
                self.metrics = self.metrics_now();
                return Ok(());
            }
            let next = next_timer(&self.vms, &self.ticked).map_or(end, |(_, due)| due.min(end));
            let next = self.world.events.next_due().map_or(next, |due| due.min(next));
            self.world.pass(next.saturating_sub(now));
        }
    }
}

impl Chain {
    /// As [`Gateway::exchange`], with an upstream that is asked when the whole request has passed, and only then.
    ///
    /// # Errors
    ///
    /// As [`Gateway::exchange`].
    pub fn exchange_with(
        &mut self,
        request: &Request,
        upstream: &mut dyn FnMut(&Seen) -> Answer,
    ) -> anyhow::Result<Outcome> {
        self.tick_if_due();
        self.deliver_due()?;
        self.reload();
        self.world.logs.clear();
        self.exchanges += 1;
        let mut data = StreamData::empty();
        data.start_nanoseconds = self.world.now().as_nanos() as u64;
        data.headers[0] = Some(request_headers(request, self.exchanges));
        self.world.stream = Some(data);
        self.world.refresh_route();
        let is_head = request.method == "HEAD";
        let mut stream = Stream::open(&mut self.vms, &mut self.world, self.buffer_limit, is_head);
        let hung = run(&mut stream, &mut self.ticked, request, upstream);
        let holder = stream.holder();
        let unfinished = stream.unfinished();
        let (upstream, client) = stream.close();
        self.deliver_events()?;
        let data = self.world.stream.take().unwrap_or_else(StreamData::empty);
        let state = data.filter_state;
        let metrics = self.metrics_now();
        let before = std::mem::replace(&mut self.metrics, metrics.clone());
        let (logs, failures) = (self.take_logs(), self.take_failures());
        let calls = self.world.take_calls();
        if let Some(what) = self.world.crash.take() {
            return Err(Crashed { what, logs }.into());
        }
        if let Some(way) = hung?.or(unfinished) {
            let filter = holder.map(|(filter, _)| self.names[filter].clone());
            return Err(Hung {
                filter,
                way: holder.map_or(way, |(_, way)| way).name(),
                logs,
                failures,
            }
            .into());
        }
        let reported = |name: &String| {
            let value = state.get(format!("wasm.{name}").as_bytes())?;
            Some((name.clone(), String::from_utf8_lossy(value).into_owned()))
        };
        let filter_state = self.report.iter().filter_map(reported).collect();
        Ok(Outcome {
            upstream,
            client,
            logs,
            filter_state,
            calls,
            failures,
            metrics: changes(&before, &metrics),
            record: Record {
                details: data.details,
                flags: data.flags.join(","),
                received: data.received,
                sent: data.sent,
            },
        })
    }
}

impl tcp::Gateway for Chain {
    fn connect(&mut self, script: &tcp::Connection) -> anyhow::Result<tcp::Passed> {
        self.tick_if_due();
        self.deliver_due()?;
        self.world.logs.clear();
        // What a VM that is made anew logs belongs to the connection.
        self.reload();
        start_periods(&self.vms, &self.world, &mut self.ticked);
        let mut connection = Connection::open(&mut self.vms, &mut self.world);
        let mut played = Ok(());
        let mut ends = None;
        let last = [tcp::Side::Client, tcp::Side::Server].map(|side| tcp::Event::By(side, tcp::Deed::HalfClose));
        for (at, event) in script.events.iter().chain(&last).enumerate() {
            if at == script.events.len() {
                ends = Some(connection.ends());
            }
            let (vms, world) = connection.parts();
            start_periods(vms, world, &mut self.ticked);
            let time = match event {
                tcp::Event::By(side, deed) => {
                    connection.act(*side, deed);
                    Duration::ZERO
                }
                tcp::Event::Wait(time) => *time,
            };
            played = wait_connected(&mut connection, &mut self.ticked, time);
            if played.is_err() {
                break;
            }
        }
        let (server, client) = connection.close_all();
        played?;
        self.deliver_due()?;
        let metrics = self.metrics_now();
        let before = std::mem::replace(&mut self.metrics, metrics.clone());
        Ok(tcp::Passed {
            server,
            client,
            ends: ends.unwrap_or_default(),
            logs: self.take_logs(),
            metrics: changes(&before, &metrics),
        })
    }
}

/// The period of a timer that is set from now on begins now.
fn start_periods(vms: &Vms, world: &World, ticked: &mut [Duration]) {
    for (at, last) in ticked.iter_mut().enumerate() {
        if vms.tick_period(at) == 0 {
            *last = world.uptime();
        }
    }
}

/// Lets time pass for a connection, and delivers what guests asked for beside their callbacks.
fn wait_connected(connection: &mut Connection<'_>, ticked: &mut [Duration], time: Duration) -> anyhow::Result<()> {
    let end = connection.parts().1.uptime() + time;
    let mut last = (0, "proxy_on_tick");
    for _ in 0..EVENTS_MAX {
        let (vms, world) = connection.parts();
        let now = world.uptime();
        if let Some(event) = world.events.take_due(now) {
            last = (event.filter(), event.callback());
            let filter = deliver(vms, world, event);
            connection.after_root_call(filter);
            continue;
        }
        let timer = next_timer(vms, ticked).filter(|(_, due)| *due <= end);
        let due = timer.map(|(_, due)| due);
        let event = world.events.next_due().filter(|event| *event <= end);
        let next = [due, event].into_iter().flatten().min();
        world.pass(next.unwrap_or(end).saturating_sub(now));
        match timer {
            None if next.is_none() => return Ok(()),
            Some((filter, due)) if Some(due) == next => {
                ticked[filter] = world.uptime();
                last = (filter, "proxy_on_tick");
                let root = vms.root(filter);
                vms[filter].on_tick(world, root);
                connection.after_root_call(filter);
            }
            _ => {}
        }
    }
    Err(endless(connection.parts().0, last.0, last.1).into())
}

/// Carries one exchange to its end; a way that never ended is the answer.
fn run(
    stream: &mut Stream<'_>,
    ticked: &mut [Duration],
    request: &Request,
    upstream: &mut dyn FnMut(&Seen) -> Answer,
) -> anyhow::Result<Option<Way>> {
    if request.target.contains(&b'#') {
        // Envoy refuses a fragment before any filter sees the request.
        stream.refuse(400, "path_normalization_failed");
        return Ok((!stream.ended()).then_some(Way::Response));
    }
    let body = &request.body;
    stream.receive_headers(is_empty(body));
    send_body(stream, body, Way::Request);
    pump(stream, ticked)?;
    if !stream.ended() && stream.upstream_complete() && !stream.response_started() && stream.upstream_cannot_be_told() {
        pump(stream, ticked)?;
    } else if !stream.ended() && stream.upstream_complete() && !stream.response_started() {
        let answer = &stream
            .ask_upstream()
            .map(upstream)
            .context("the upstream saw no request")?;
        match answer.fault {
            Some(Fault::Refuse) => stream.upstream_refused(),
            Some(Fault::ResetBeforeHeaders) => stream.upstream_broke(),
            Some(Fault::ResetAfterBody) | None => send_answer(stream, request, answer),
        }
        pump(stream, ticked)?;
    }
    if stream.ended() {
        return Ok(None);
    }
    Ok(Some(if stream.response_started() {
        Way::Response
    } else {
        Way::Request
    }))
}

fn send_answer(stream: &mut Stream<'_>, request: &Request, answer: &Answer) {
    let breaks = answer.fault == Some(Fault::ResetAfterBody);
    let bodyless = request.method == "HEAD" || matches!(answer.status, 100..200 | 204 | 304);
    let empty = bodyless || is_empty(&answer.body) && !breaks;
    stream.answer_headers(response_headers(answer, bodyless, empty), empty);
    if !empty && breaks {
        for chunk in &answer.body.chunks {
            if !stream.ended() {
                stream.answer_data(chunk.clone(), false);
            }
        }
        if !stream.ended() {
            stream.upstream_broke_off();
        }
    } else if !empty {
        send_body(stream, &answer.body, Way::Response);
    }
}

fn is_empty(body: &Body) -> bool {
    body.chunks.is_empty() && body.trailers.is_empty()
}

/// The frames of a body: its chunks, and then its end as it says.
fn send_body(stream: &mut Stream<'_>, body: &Body, way: Way) {
    if is_empty(body) {
        return;
    }
    let last = body.chunks.len().saturating_sub(1);
    let with_last = body.trailers.is_empty() && body.end == End::WithLastChunk;
    let send = |stream: &mut Stream<'_>, data: Vec<u8>, end: bool| match way {
        _ if stream.ended() => {}
        Way::Request => stream.receive_data(data, end),
        Way::Response => stream.answer_data(data, end),
    };
    for (at, chunk) in body.chunks.iter().enumerate() {
        send(stream, chunk.clone(), with_last && at == last);
    }
    if !body.trailers.is_empty() {
        let trailers = HeaderMap::trailers().with(&body.trailers);
        match way {
            _ if stream.ended() => {}
            Way::Request => stream.receive_trailers(trailers),
            Way::Response => stream.answer_trailers(trailers),
        }
    } else if !with_last {
        send(stream, Vec::new(), true);
    }
}

/// The filter whose timer goes off next, and when, in time since the gateway started.
fn next_timer(vms: &Vms, ticked: &[Duration]) -> Option<(usize, Duration)> {
    let timers = ticked.iter().enumerate().filter_map(|(at, last)| {
        let period = vms.tick_period(at);
        (period > 0 && !vms[at].failed).then(|| (at, *last + Duration::from_millis(period.into())))
    });
    timers.min_by_key(|(_, due)| *due)
}

/// Delivers what guests asked for beside their callbacks, while the stream is there to be resumed. A stream that nothing else can
/// resume waits for timers, as long as a client would.
fn pump(stream: &mut Stream<'_>, ticked: &mut [Duration]) -> anyhow::Result<()> {
    let deadline = stream.parts().1.uptime() + EXCHANGE_TIMEOUT;
    let mut last = None;
    for _ in 0..EVENTS_MAX {
        if stream.ended() {
            return Ok(());
        }
        let is_held = stream.holder().is_some();
        let (vms, world) = stream.parts();
        let now = world.uptime();
        if let Some(event) = world.events.take_due(now) {
            last = Some((event.filter(), event.callback()));
            let filter = deliver(vms, world, event);
            stream.after_root_call(filter);
            continue;
        }
        let event = world.events.next_due().filter(|due| is_held && *due <= deadline);
        let timer = next_timer(vms, ticked).filter(|(_, due)| is_held && *due <= deadline);
        let timer = timer.filter(|(_, due)| event.is_none_or(|event| *due <= event));
        let Some((filter, due)) = timer else {
            let Some(due) = event else {
                return Ok(());
            };
            world.pass(due.saturating_sub(now));
            continue;
        };
        // A period that began before this stream may be over already.
        world.pass(due.saturating_sub(now));
        ticked[filter] = world.uptime();
        last = Some((filter, "proxy_on_tick"));
        let root = vms.root(filter);
        vms[filter].on_tick(world, root);
        stream.after_root_call(filter);
    }
    let (filter, callback) = last.unwrap_or((0, "proxy_on_tick"));
    Err(endless(stream.parts().0, filter, callback).into())
}

/// The filter that got it.
fn deliver(vms: &mut Vms, world: &mut Box<World>, event: Event) -> usize {
    match event {
        Event::Rpc { filter, token, step } => {
            let root = vms.root(filter);
            rpc::deliver(&mut vms[filter], world, root, (filter, token), step);
            filter
        }
        Event::CallAnswered { filter, token, answer } => {
            let root = vms.root(filter);
            vms[filter].on_http_call_response(world, root, token, answer);
            filter
        }
        Event::QueueReady { filter, token } => {
            let root = vms.root(filter);
            vms[filter].on_queue_ready(world, root, token);
            filter
        }
    }
}

/// What Envoy's HTTP/1 codec and connection manager make of a request: pseudo headers first, hop-by-hop lines gone, its own
/// lines behind; which ones, was seen on Envoy 1.40.
fn request_headers(request: &Request, number: u64) -> HeaderMap {
    const TAKEN_AWAY: [&str; 17] = [
        "connection",
        "expect",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
        "x-envoy-expected-rq-timeout-ms",
        "x-envoy-force-trace",
        "x-envoy-hedge-on-per-try-timeout",
        "x-envoy-internal",
        "x-envoy-ip-tags",
        "x-envoy-max-retries",
        "x-envoy-original-url",
        "x-envoy-retriable-status-codes",
        "x-envoy-retry-on",
        "x-envoy-upstream-rq-timeout-ms",
        "x-forwarded-client-cert",
    ];
    let mut headers = HeaderMap::headers(Way::Request);
    // RFC 9112, section 3.2.2: a target in absolute form names the authority, whatever `Host` says.
    let absolute = ["http://", "https://"]
        .iter()
        .find_map(|scheme| request.target.strip_prefix(scheme.as_bytes()));
    let (authority, path) = match absolute {
        None => (request.authority.as_bytes(), request.target.as_slice()),
        Some(rest) => match rest.iter().position(|byte| matches!(byte, b'/' | b'?')) {
            Some(at) => rest.split_at(at),
            None => (rest, &b"/"[..]),
        },
    };
    headers.add(b":authority", authority);
    headers.add(b":path", path);
    headers.add(b":method", request.method.as_bytes());
    headers.add(b":scheme", b"http");
    // RFC 9110, section 7.6.1: what `Connection` names is for this hop.
    let connection = request.headers.iter().filter(|(name, _)| name == "connection");
    let hop: Vec<String> = connection
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase())
        .filter(|name| name != "te")
        .collect();
    for (name, value) in &request.headers {
        let taken = TAKEN_AWAY.contains(&name.as_str()) || hop.contains(name) || name == "te" && value != b"trailers";
        if !taken {
            headers.add(name.as_bytes(), value);
        }
    }
    let body = &request.body;
    if !is_empty(body) && body.trailers.is_empty() && body.end == End::WithLastChunk {
        let length: usize = body.chunks.iter().map(Vec::len).sum();
        headers.replace(b"content-length", length.to_string().as_bytes());
    }
    for (name, value) in [
        ("x-forwarded-proto", "http".to_owned()),
        ("x-request-id", format!("00000000-0000-4000-8000-{number:012x}")),
    ] {
        if headers.get(name.as_bytes()).is_none() {
            headers.add(name.as_bytes(), value.as_bytes());
        }
    }
    headers
}

/// What filters see of an answer: the upstream's lines with the framing of HTTP/1; the router is told to add none of its own.
fn response_headers(answer: &Answer, bodyless: bool, empty: bool) -> HeaderMap {
    let mut headers = HeaderMap::headers(Way::Response);
    headers.add(b":status", answer.status.to_string().as_bytes());
    let mut headers = headers.with(&answer.headers);
    let length: usize = answer.body.chunks.iter().map(Vec::len).sum();
    let whole = answer.body.end == End::WithLastChunk && answer.body.trailers.is_empty() && answer.fault.is_none();
    if !bodyless && headers.get(b"content-length").is_none() {
        if empty || whole {
            headers.add(b"content-length", length.to_string().as_bytes());
        } else {
            headers.add(b"transfer-encoding", b"chunked");
        }
    }
    headers
}

fn write_logs(f: &mut fmt::Formatter<'_>, logs: &[(String, String)]) -> fmt::Result {
    logs.iter()
        .try_for_each(|(level, line)| write!(f, "\n  [{level}] {line}"))
}
