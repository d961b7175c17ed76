//! What a gateway's VMs share: the stream in progress, clock, logs, shared data, queues, metrics, clusters.
//!
//! The world is lent to a VM for the time of a callback (swapped into its store), so that host calls reach it without
//! locks or globals.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::abi::Way;
use super::agenda::{Agenda, Awaited};
use super::headers::HeaderMap;
use super::rpc::{self, Rpc};
use super::trace::{Step, Trace};
use super::{Call, CallAnswer, Clock, Cluster, Cost, Semantics};
use crate::exchange::{Called, ClusterAnswer, ClusterFault, Headers, Metadata, Route, Script, Setup};
use crate::failure::Failure;

/// See the module.
pub(crate) struct World {
    pub(crate) clock: Clock,
    started: Instant,
    /// What has passed on a clock that stands still by itself.
    passed: Duration,
    /// The least level that is logged: 0 trace to 5 critical.
    pub(crate) log_level: u32,
    pub(crate) logs: Vec<(String, String)>,
    /// About how many bytes the logs take.
    logged: usize,
    pub(crate) routes: Vec<Route>,
    pub(crate) virtual_host_metadata: Metadata,
    clusters: Arc<BTreeMap<String, Cluster>>,
    pub(crate) scripts: BTreeMap<String, Script>,
    /// What clusters got and nobody has asked for yet, and how many calls came before.
    pub(crate) calls: BTreeMap<String, Vec<Called>>,
    pub(crate) called_before: BTreeMap<String, usize>,
    /// gRPC calls and streams that are open, by filter and token.
    pub(crate) rpcs: BTreeMap<(usize, u32), Rpc>,
    pub(crate) stream: Option<StreamData>,
    /// The TCP connection in progress: its buffers by way.
    pub(crate) connection: Option<[Vec<u8>; 2]>,
    /// The only properties that the stream has, by path with points; none: Envoy's.
    pub(crate) given_properties: Option<BTreeMap<String, Vec<u8>>>,
    pub(crate) shared: SharedData,
    pub(crate) queues: Queues,
    /// Metrics by type and name.
    pub(crate) metrics: BTreeMap<(u32, String), u64>,
    /// How many values each histogram got.
    pub(crate) samples: BTreeMap<String, u64>,
    pub(crate) events: Agenda,
    /// What callbacks cost, by filter and callback.
    pub(crate) costs: BTreeMap<(usize, &'static str), Cost>,
    /// How guests failed.
    pub(crate) failures: Vec<Failure>,
    /// What happened, where somebody wants to know.
    pub(crate) trace: Option<Trace>,
    /// Something happened that makes Envoy itself crash: what.
    pub(crate) crash: Option<&'static str>,
    /// Envoy's own counters of VMs that were made anew.
    pub(crate) reloads: BTreeMap<String, u64>,
    pub(crate) semantics: Semantics,
}

/// The most bytes of log lines that are kept until somebody takes them.
pub(crate) const LOGS_MAX: usize = 64 << 20;

/// Something that happens outside a stream's own callbacks.
#[derive(Debug)]
pub(crate) enum Event {
    /// The answer to an `http_call`; none: the call failed.
    CallAnswered {
        filter: usize,
        token: u32,
        answer: Option<CallAnswer>,
    },
    /// Something of a gRPC call or stream.
    Rpc { filter: usize, token: u32, step: rpc::Step },
    /// A queue that this filter registered got an item.
    QueueReady { filter: usize, token: u32 },
}

impl Event {
    /// The callback that it is delivered by.
    pub(crate) fn callback(&self) -> &'static str {
        match self {
            Event::CallAnswered { .. } => "proxy_on_http_call_response",
            Event::Rpc { .. } => "proxy_on_grpc_receive",
            Event::QueueReady { .. } => "proxy_on_queue_ready",
        }
    }

    /// The filter that it is for.
    pub(crate) fn filter(&self) -> usize {
        match self {
            Event::CallAnswered { filter, .. } | Event::Rpc { filter, .. } | Event::QueueReady { filter, .. } => {
                *filter
            }
        }
    }
}

/// How a call ends.
pub(crate) struct Reply {
    /// None: it breaks after the headers.
    pub(crate) answer: Option<CallAnswer>,
    /// None: never.
    pub(crate) after: Option<Duration>,
    pub(crate) awaited: Awaited,
}

/// One stream, as far as guests can see or change it.
pub(crate) struct StreamData {
    pub(crate) headers: [Option<HeaderMap>; 2],
    pub(crate) trailers: [Option<HeaderMap>; 2],
    pub(crate) flows: [Flow; 2],
    /// Set by guests under `wasm.` and the path as they spelled it.
    pub(crate) filter_state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The request's headers have reached the router, which has chosen a host.
    pub(crate) at_router: bool,
    /// Names of filter state that can't be set again.
    pub(crate) set_once: BTreeSet<Vec<u8>>,
    /// The route last matched, an index into the routes.
    pub(crate) route: Option<usize>,
    /// Request headers were changed since.
    pub(crate) route_stale: bool,
    pub(crate) start_nanoseconds: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) code: Option<u16>,
    pub(crate) details: Option<String>,
    /// Envoy's short names of what went wrong (`%RESPONSE_FLAGS%`).
    pub(crate) flags: Vec<&'static str>,
    pub(crate) duration: Option<Duration>,
}

/// The body of one way.
#[derive(Default)]
pub(crate) struct Flow {
    /// What the callback in progress was handed.
    pub(crate) in_flight: Frame,
    /// What filters that paused hold back.
    pub(crate) buffered: Option<Vec<u8>>,
    /// The buffer is over its limit, and its owner was told.
    pub(crate) above_limit: bool,
}

/// A piece of body on its way through the filters.
#[derive(Default)]
pub(crate) enum Frame {
    /// None.
    #[default]
    None,
    /// As it came.
    Fresh(Vec<u8>),
    /// What was buffered.
    Buffered,
}

impl World {
    /// A world for one gateway.
    pub(crate) fn new(setup: &Setup, clock: Clock, log_level: u32, clusters: Arc<BTreeMap<String, Cluster>>) -> Self {
        let mut routes = setup.routes.clone();
        if routes.is_empty() {
            routes.push(Route {
                name: "default".to_owned(),
                prefix: String::new(),
                metadata: Metadata::new(),
            });
        }
        World {
            clock,
            started: Instant::now(),
            passed: Duration::ZERO,
            log_level,
            logs: Vec::new(),
            logged: 0,
            routes,
            virtual_host_metadata: setup.virtual_host_metadata.clone(),
            clusters,
            scripts: setup
                .clusters
                .iter()
                .map(|(name, cluster)| (name.clone(), Script::new(cluster.clone())))
                .collect(),
            stream: None,
            connection: None,
            given_properties: None,
            shared: SharedData::default(),
            queues: Queues::default(),
            metrics: BTreeMap::new(),
            samples: BTreeMap::new(),
            calls: BTreeMap::new(),
            called_before: BTreeMap::new(),
            rpcs: BTreeMap::new(),
            events: Agenda::default(),
            costs: BTreeMap::new(),
            failures: Vec::new(),
            trace: None,
            crash: None,
            reloads: BTreeMap::new(),
            semantics: Semantics::Envoy,
        }
    }

    /// What stands in a VM's store while it does not run.
    pub(crate) fn placeholder() -> Self {
        World::new(&Setup::default(), Clock::Fixed(Duration::ZERO), 0, Arc::default())
    }

    /// The time since the epoch.
    pub(crate) fn now(&self) -> Duration {
        match self.clock {
            Clock::System => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Clock::Fixed(since_epoch) => since_epoch + self.passed,
        }
    }

    /// The time since the gateway started.
    pub(crate) fn uptime(&self) -> Duration {
        match self.clock {
            Clock::System => self.started.elapsed(),
            Clock::Fixed(_) => self.passed,
        }
    }

    /// Lets time pass: really, or on the clock that stands still by itself.
    pub(crate) fn pass(&mut self, time: Duration) {
        match self.clock {
            Clock::System => std::thread::sleep(time),
            Clock::Fixed(_) => self.passed += time,
        }
    }

    /// Keeps a step where a trace is wanted.
    pub(crate) fn trace(&mut self, step: impl FnOnce() -> Step) {
        if let Some(trace) = &mut self.trace {
            trace.steps.push(step());
        }
    }

    /// Keeps a line if its level is logged.
    /// False: there are too many already that nobody has taken.
    pub(crate) fn log(&mut self, level: u32, text: &[u8]) -> bool {
        const NAMES: [&str; 6] = ["trace", "debug", "info", "warning", "error", "critical"];
        let Some(name) = NAMES.get(level as usize).filter(|_| level >= self.log_level) else {
            return true;
        };
        if self.logs.is_empty() {
            self.logged = 0;
        }
        // What a line costs beside its bytes.
        self.logged = self.logged.saturating_add(text.len()).saturating_add(64);
        if self.logged > LOGS_MAX {
            return false;
        }
        self.logs
            .push(((*name).to_owned(), String::from_utf8_lossy(text).into_owned()));
        true
    }

    /// Whether guests can call it.
    pub(crate) fn has_cluster(&self, cluster: &str) -> bool {
        self.scripts.contains_key(cluster) || self.clusters.contains_key(cluster)
    }

    /// Asks a cluster that is a function.
    pub(crate) fn ask_function(&self, cluster: &str, call: &Call) -> Option<CallAnswer> {
        (self.clusters.get(cluster)?.0)(call)
    }

    /// Asks a cluster over HTTP; none: there is no such cluster.
    ///
    /// What the router answers by itself was seen on Envoy 1.40: 503 where the connection breaks before any answer, 504 where
    /// the headers don't come in time. Only what goes wrong after the headers is a failed call.
    pub(crate) fn ask(&mut self, cluster: &str, call: &Call) -> Option<Reply> {
        if !self.has_cluster(cluster) {
            return None;
        }
        let called = Called::new(&call.headers, call.body.clone());
        self.record(cluster, called.clone());
        let Some(script) = self.scripts.get_mut(cluster) else {
            return Some(Reply {
                answer: self.ask_function(cluster, call),
                after: Some(Duration::ZERO),
                awaited: Awaited::Yes,
            });
        };
        let answer = script.answer(&called);
        let (reason, framing) = match script.speaks_grpc() {
            true => ("remote reset", Headers::new()),
            false => ("connection termination", answer.framing()),
        };
        let limit = Some(Duration::from_millis(call.timeout_milliseconds.into())).filter(|limit| !limit.is_zero());
        let late = |after: Duration| limit.filter(|limit| after >= *limit);
        let whole = answer.delay + answer.pieces.iter().map(|piece| piece.after).sum();
        let (answered, after) = match answer.fault {
            Some(ClusterFault::Timeout) => (Some(own_answer(504, "upstream request timeout")), limit),
            _ if late(answer.delay).is_some() => (Some(own_answer(504, "upstream request timeout")), limit),
            Some(ClusterFault::Reset) => {
                let text = format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}");
                (Some(own_answer(503, &text)), Some(answer.delay))
            }
            Some(ClusterFault::ResetAfterHeaders) => (None, late(whole).or(Some(whole))),
            None if late(whole).is_some() => (None, limit),
            None => {
                let mut headers = answer_lines(&answer, framing);
                headers.push(("x-envoy-upstream-service-time".to_owned(), b"0".to_vec()));
                let bodyless = answer.is_bodyless() || called.method == "HEAD";
                let body = if bodyless { Vec::new() } else { answer.whole() };
                let trailers = if bodyless {
                    Headers::new()
                } else {
                    answer.trailers.clone()
                };
                let answered = CallAnswer {
                    headers,
                    body,
                    trailers,
                };
                (Some(answered), Some(whole))
            }
        };
        Some(Reply {
            answer: answered,
            after,
            awaited: match answer.fault {
                Some(ClusterFault::Timeout) => Awaited::No,
                _ => Awaited::Yes,
            },
        })
    }

    /// Matches the route anew if request headers changed since; Envoy does so when somebody needs the route.
    pub(crate) fn refresh_route(&mut self) {
        let World {
            stream: Some(stream),
            routes,
            ..
        } = self
        else {
            return;
        };
        if !stream.route_stale {
            return;
        }
        stream.route_stale = false;
        let path = stream.headers[0]
            .as_ref()
            .and_then(|headers| headers.get(b":path"))
            .unwrap_or_default();
        let path = path
            .split(|&byte| byte == b'?' || byte == b'#')
            .next()
            .unwrap_or_default();
        // Without the header Envoy takes the request for one that it refused early (`RouteMatcher::route`).
        let forwarded = stream.headers[0]
            .as_ref()
            .and_then(|headers| headers.get(b"x-forwarded-proto"));
        stream.route = routes
            .iter()
            .position(|route| path.starts_with(route.prefix.as_bytes()))
            .filter(|_| forwarded.is_some_and(|proto| !proto.is_empty()));
    }

    /// The route last matched.
    pub(crate) fn route(&self) -> Option<&Route> {
        self.routes.get(self.stream.as_ref()?.route?)
    }
}

/// An answer's lines as a guest reads them: the status, the answer's own, the framing.
pub(crate) fn answer_lines(answer: &ClusterAnswer, framing: Headers) -> Headers {
    let mut map = HeaderMap::headers(Way::Response);
    map.add(b":status", answer.status.to_string().as_bytes());
    let map = map.with(&answer.headers).with(&framing);
    map.iter()
        .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), value.to_vec()))
        .collect()
}

/// What the router answers by itself.
fn own_answer(status: u16, text: &str) -> CallAnswer {
    let lines = [
        (":status", status.to_string()),
        ("content-length", text.len().to_string()),
        ("content-type", "text/plain".to_owned()),
    ];
    CallAnswer {
        headers: lines
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
            .to_vec(),
        body: text.as_bytes().to_vec(),
        trailers: Headers::new(),
    }
}

impl StreamData {
    /// A stream before anything is known of it.
    pub(crate) fn empty() -> Self {
        StreamData {
            headers: [None, None],
            trailers: [None, None],
            flows: [Flow::default(), Flow::default()],
            filter_state: BTreeMap::new(),
            at_router: false,
            set_once: BTreeSet::new(),
            route: None,
            route_stale: true,
            start_nanoseconds: 0,
            received: 0,
            sent: 0,
            code: None,
            details: None,
            flags: Vec::new(),
            duration: None,
        }
    }
}

/// Values that VMs of the same id share, with compare-and-swap numbers.
#[derive(Default)]
pub(crate) struct SharedData {
    /// By VM id and key.
    values: BTreeMap<String, BTreeMap<Vec<u8>, Numbered>>,
    last: u32,
}

/// A value and its number.
type Numbered = (Vec<u8>, u32);

impl SharedData {
    pub(crate) fn get(&self, vm: &str, key: &[u8]) -> Option<&Numbered> {
        self.values.get(vm)?.get(key)
    }

    /// False: the number is not that of the value that is there.
    pub(crate) fn set(&mut self, vm: &str, key: &[u8], value: &[u8], cas: u32) -> bool {
        let values = self.values.entry(vm.to_owned()).or_default();
        if cas != 0 && values.get(key).is_some_and(|(_, there)| *there != cas) {
            return false;
        }
        self.last = self.last.wrapping_add(1).max(1);
        values.insert(key.to_vec(), (value.to_vec(), self.last));
        true
    }
}

/// Queues by token; a token is an index plus one.
#[derive(Default)]
pub(crate) struct Queues(Vec<Queue>);

struct Queue {
    /// The id of the VM that registered it.
    vm: String,
    name: Vec<u8>,
    /// The filter that registered it last hears of new items.
    filter: usize,
    items: VecDeque<Vec<u8>>,
}

impl Queues {
    pub(crate) fn register(&mut self, vm: &str, name: &[u8], filter: usize) -> u32 {
        if let Some(token) = self.resolve(vm.as_bytes(), name) {
            self.0[token as usize - 1].filter = filter;
            return token;
        }
        self.0.push(Queue {
            vm: vm.to_owned(),
            name: name.to_vec(),
            filter,
            items: VecDeque::new(),
        });
        self.0.len() as u32
    }

    pub(crate) fn resolve(&self, vm: &[u8], name: &[u8]) -> Option<u32> {
        self.0
            .iter()
            .position(|queue| queue.vm.as_bytes() == vm && queue.name == name)
            .map(|at| at as u32 + 1)
    }

    /// The filter to tell; none: no such queue.
    pub(crate) fn enqueue(&mut self, token: u32, item: &[u8]) -> Option<usize> {
        let queue = self.0.get_mut((token as usize).checked_sub(1)?)?;
        queue.items.push_back(item.to_vec());
        Some(queue.filter)
    }

    /// Outer none: no such queue; inner none: it is empty.
    pub(crate) fn dequeue(&mut self, token: u32) -> Option<Option<Vec<u8>>> {
        Some(self.0.get_mut((token as usize).checked_sub(1)?)?.items.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_data_is_swapped_only_with_the_right_number() {
        let mut shared = SharedData::default();
        assert!(shared.set("v", b"k", b"1", 0));
        let (_, cas) = shared.get("v", b"k").cloned().unwrap();
        assert!(!shared.set("v", b"k", b"2", cas + 1));
        assert!(shared.set("v", b"k", b"2", cas));
        assert_eq!(shared.get("v", b"k").unwrap().0, b"2");
        assert!(
            shared.set("v", b"new", b"3", 77),
            "no value, so no number to compare with"
        );
        assert_eq!(shared.get("w", b"k"), None, "another VM id, other values");
    }

    #[test]
    fn a_queue_keeps_its_items_and_its_token() {
        let mut queues = Queues::default();
        let token = queues.register("v", b"q", 0);
        assert_eq!(queues.enqueue(token, b"a"), Some(0));
        assert_eq!(queues.register("v", b"q", 1), token);
        assert_eq!(queues.dequeue(token), Some(Some(b"a".to_vec())));
        assert_eq!(queues.dequeue(token), Some(None));
        assert_eq!(queues.dequeue(0), None);
        assert_eq!(
            (queues.resolve(b"v", b"q"), queues.resolve(b"w", b"q")),
            (Some(token), None)
        );
        assert_eq!(queues.enqueue(9, b"a"), None);
    }
}
