//! A local gateway on the embedded engine: real connections in front, a real upstream behind.
//!
//! 1. Requests go to a few workers, each with a chain of its own; a chain carries one at a time.
//! 2. Bodies are taken whole, up to [`BODY_LIMIT`], and given to the filters in pieces of [`PIECE`], as a proxy would.
//! 3. What is reset, the client sees as a connection that breaks off, or as a 502 while nothing has reached it.
//! 4. An access log gets one JSON line a request: the log-safe path and the audit record, never the URL.
//! 5. A [`Reloader`] puts another setup in place: requests under way end with the old one, and a setup that does not start changes nothing.

pub mod record;
pub mod table;

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use http_body_util::{BodyExt, LengthLimitError, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use scrim_policy::audit::Timestamp;

use crate::envoy::client;
use crate::exchange::{Answer, Body, End, Fault, Got, Outcome, PROXY_HEADERS, Request, Seen, Setup};
use crate::render::Upstream;
use crate::wasm::{Call, CallAnswer, Chain, Wasmtime};

/// The most a request body may have, in bytes.
pub const BODY_LIMIT: usize = 64 << 20;

/// The size in which bodies reach the filters, in bytes; what Envoy's own reads bring.
pub const PIECE: usize = 16 << 10;

/// How many requests are under way at once.
const WORKERS: usize = 4;

/// How long requests under way may take to end when the gateway is asked to stop.
const GRACE: Duration = Duration::from_secs(5);

/// A response: its body fails where the stream was reset.
type Response = hyper::Response<http_body_util::combinators::BoxBody<Bytes, std::io::Error>>;

/// A gateway that is ready to run.
pub struct Server {
    listener: std::net::TcpListener,
    jobs: std::sync::mpsc::Sender<Job>,
    reloader: Reloader,
}

struct Job {
    request: Request,
    reply: oneshot::Sender<anyhow::Result<Carried>>,
}

/// What came of one request.
struct Carried {
    outcome: Outcome,
    /// The upstream's answer, if it was asked.
    answer: Option<Answer>,
}

/// One exchange, for those who look on; see [`Server::run`].
pub struct Exchange<'a> {
    /// What the client sent.
    pub request: &'a Request,
    /// What the upstream answered, if it was asked.
    pub answer: Option<&'a Answer>,
    /// What everybody saw.
    pub outcome: &'a Outcome,
    /// When the request's head had come.
    pub time: SystemTime,
    /// How long it took until the answer was there.
    pub duration: Duration,
}

/// Somebody who is told of each exchange.
pub type Onlooker = Box<dyn Fn(&Exchange<'_>) + Send + Sync>;

/// Puts another setup into a running gateway.
#[derive(Clone)]
pub struct Reloader {
    engine: Arc<Wasmtime>,
    /// What to run, and how often that has changed.
    current: Arc<Mutex<(u64, Arc<Setup>)>>,
}

impl Reloader {
    /// From the next request on each worker runs this setup.
    ///
    /// # Errors
    /// When it does not start; then everything stays as it is.
    pub fn replace(&self, setup: Setup) -> anyhow::Result<()> {
        self.engine.start_chain(&setup)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = (current.0 + 1, Arc::new(setup));
        Ok(())
    }

    fn current(&self) -> (u64, Arc<Setup>) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Server {
    /// Starts the workers and listens.
    ///
    /// # Errors
    /// When a module does not start, or nothing can listen on the address.
    pub fn start(
        engine: &Arc<Wasmtime>,
        setup: &Setup,
        listen: SocketAddr,
        upstream: &Upstream,
    ) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(listen)
            .with_context(|| format!("cannot listen on {listen}; choose another address"))?;
        listener.set_nonblocking(true)?;
        let (jobs, queue) = std::sync::mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let (ready, started) = std::sync::mpsc::channel();
        let reloader = Reloader {
            engine: Arc::clone(engine),
            current: Arc::new(Mutex::new((0, Arc::new(setup.clone())))),
        };
        for number in 0..WORKERS {
            let (reloader, upstream) = (reloader.clone(), upstream.clone());
            let (queue, ready) = (Arc::clone(&queue), ready.clone());
            let work = move || {
                let (mut version, setup) = reloader.current();
                let mut chain = match reloader.engine.start_chain(&setup) {
                    Ok(chain) => chain,
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                let _ = ready.send(Ok(()));
                drop(ready);
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { return };
                    let (now, setup) = reloader.current();
                    if now != version {
                        version = now;
                        match reloader.engine.start_chain(&setup) {
                            Ok(started) => chain = started,
                            // It did start when it was put in place.
                            Err(error) => eprintln!("scrim: a worker goes on with the policy before: {error:#}"),
                        }
                    }
                    let _ = job.reply.send(carry(&mut chain, &job.request, &upstream));
                }
            };
            std::thread::Builder::new()
                .name(format!("scrim-worker-{number}"))
                .spawn(work)?;
        }
        drop(ready);
        for result in started {
            result?;
        }
        Ok(Server {
            listener,
            jobs,
            reloader,
        })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    /// What puts another setup in place while this one runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Serves until `stop` resolves, then lets requests under way end. Each exchange is told to the onlookers before its answer goes out.
    ///
    /// # Errors
    /// When the runtime can't be started.
    pub fn run(self, stop: impl Future<Output = ()>, onlookers: Vec<Onlooker>) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let listener = TcpListener::from_std(self.listener)?;
            let under_way = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
            let onlookers = Arc::new(onlookers);
            let mut stop = std::pin::pin!(stop);
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = &mut stop => break,
                };
                let Ok((stream, _)) = accepted else { continue };
                let (jobs, onlookers, under_way) = (self.jobs.clone(), Arc::clone(&onlookers), Arc::clone(&under_way));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (jobs, onlookers, under_way) =
                            (jobs.clone(), Arc::clone(&onlookers), Arc::clone(&under_way));
                        async move {
                            let _permit = under_way.acquire().await;
                            handle(request, jobs, &onlookers).await
                        }
                    });
                    let mut http = hyper::server::conn::http1::Builder::new();
                    http.timer(TokioTimer::new()).preserve_header_case(false);
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
            let all = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
            let _ = tokio::time::timeout(GRACE, under_way.acquire_many(all)).await;
            Ok(())
        })
    }
}

/// One exchange: the chain asks the upstream when, and if, the request has passed.
fn carry(chain: &mut Chain, request: &Request, upstream: &Upstream) -> anyhow::Result<Carried> {
    let mut answer = None;
    let outcome = chain.exchange_with(request, &mut |seen| answer.insert(ask(upstream, seen)).clone())?;
    Ok(Carried { outcome, answer })
}

fn ask(upstream: &Upstream, seen: &Seen) -> Answer {
    let failed = |fault| Answer {
        status: 502,
        headers: Vec::new(),
        body: Body::default(),
        fault: Some(fault),
    };
    let Some(to) = (upstream.host.as_str(), upstream.port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut all| all.next())
    else {
        return failed(Fault::Refuse);
    };
    let chunks = if seen.body.is_empty() {
        Vec::new()
    } else {
        vec![seen.body.clone()]
    };
    let request = Request {
        method: seen.method.clone(),
        target: seen.target.clone(),
        authority: seen.authority.clone(),
        headers: seen.headers.clone(),
        body: Body {
            chunks,
            end: End::WithLastChunk,
            trailers: Vec::new(),
        },
    };
    match client::send(to, &request) {
        Ok(Some(got)) => Answer {
            status: got.status,
            headers: got.headers,
            body: Body {
                chunks: pieces(got.body),
                end: End::Empty,
                trailers: got.trailers,
            },
            fault: (!got.complete).then_some(Fault::ResetAfterBody),
        },
        Ok(None) => failed(Fault::ResetBeforeHeaders),
        Err(_) => failed(Fault::Refuse),
    }
}

/// Makes a filter's call to a real server, by plain HTTP; none: there was no whole answer in time.
pub fn call(server: &Upstream, call: &Call) -> Option<CallAnswer> {
    let to = (server.host.as_str(), server.port).to_socket_addrs().ok()?.next()?;
    let line = |wanted: &str| {
        let mut lines = call.headers.iter();
        lines.find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
    };
    let text = |wanted: &str| Some(String::from_utf8_lossy(&line(wanted)?).into_owned());
    let chunks = if call.body.is_empty() {
        Vec::new()
    } else {
        vec![call.body.clone()]
    };
    let request = Request {
        method: text(":method")?,
        target: line(":path")?,
        authority: text(":authority")?,
        headers: call
            .headers
            .iter()
            .filter(|(name, _)| !name.starts_with(':'))
            .cloned()
            .collect(),
        body: Body {
            chunks,
            end: End::WithLastChunk,
            trailers: Vec::new(),
        },
    };
    let got = client::send(to, &request).ok()??;
    let mut headers = vec![(":status".to_owned(), got.status.to_string().into_bytes())];
    headers.extend(got.headers);
    got.complete.then_some(CallAnswer {
        headers,
        body: got.body,
        trailers: got.trailers,
    })
}

fn pieces(body: Vec<u8>) -> Vec<Vec<u8>> {
    body.chunks(PIECE).map(<[u8]>::to_vec).collect()
}

async fn handle(
    request: hyper::Request<Incoming>,
    jobs: std::sync::mpsc::Sender<Job>,
    onlookers: &[Onlooker],
) -> Result<Response, std::io::Error> {
    let begun = (Instant::now(), SystemTime::now());
    let (head, body) = request.into_parts();
    let method = head.method.to_string();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Ok(plain(413, "the request body is too large\n")),
        Err(error) => return Err(std::io::Error::other(error)),
    };
    let request = incoming(&head, &method, &body);
    let (reply, answer) = oneshot::channel();
    let job = Job {
        request: request.clone(),
        reply,
    };
    if jobs.send(job).is_err() {
        return Ok(plain(503, "the gateway is stopping\n"));
    }
    let nothing = || Carried {
        outcome: Outcome::default(),
        answer: None,
    };
    let Carried { mut outcome, answer } = match answer.await {
        Ok(Ok(carried)) => carried,
        Ok(Err(error)) => {
            eprintln!("scrim: {error:#}");
            nothing()
        }
        Err(_) => nothing(),
    };
    for (level, line) in &outcome.logs {
        eprintln!("[{level}] {line}");
    }
    let got = outcome.client.get_or_insert_with(broken_off).clone();
    let exchange = Exchange {
        request: &request,
        answer: answer.as_ref(),
        outcome: &outcome,
        time: begun.1,
        duration: begun.0.elapsed(),
    };
    onlookers.iter().for_each(|told| told(&exchange));
    outgoing(got)
}

/// The answer where the stream was reset before any of the upstream's.
fn broken_off() -> Got {
    let headers = [("content-type", "text/plain"), ("cache-control", "no-store, private")];
    Got {
        status: 502,
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .into(),
        body: b"the upstream broke off before its answer could be passed on\n".to_vec(),
        complete: true,
        trailers: Vec::new(),
    }
}

fn incoming(head: &hyper::http::request::Parts, method: &str, body: &Bytes) -> Request {
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    let mut authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    for (name, value) in &head.headers {
        match name.as_str() {
            "host" if authority.is_empty() => authority = String::from_utf8_lossy(value.as_bytes()).into_owned(),
            "host" => {}
            name if PROXY_HEADERS.contains(&name) => {}
            name => headers.push((name.to_owned(), value.as_bytes().to_vec())),
        }
    }
    let target = head
        .uri
        .path_and_query()
        .map_or_else(|| head.uri.to_string(), ToString::to_string)
        .into_bytes();
    let body = Body {
        chunks: pieces(body.to_vec()),
        end: End::Empty,
        trailers: Vec::new(),
    };
    Request {
        method: method.to_owned(),
        target,
        authority,
        headers,
        body,
    }
}

fn outgoing(got: Got) -> Result<Response, std::io::Error> {
    let mut response = hyper::Response::builder().status(got.status);
    for (name, value) in &got.headers {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(value)) else {
            continue;
        };
        response = response.header(name, value);
    }
    let mut frames = vec![Ok(Frame::data(Bytes::from(got.body)))];
    if !got.complete {
        frames.push(Err(std::io::Error::other("the stream was reset")));
    }
    let body = StreamBody::new(Frames(frames.into_iter()));
    response.body(BodyExt::boxed(body)).map_err(std::io::Error::other)
}

/// Frames that are all there.
struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>);

impl futures_core::Stream for Frames {
    type Item = Result<Frame<Bytes>, std::io::Error>;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

fn plain(status: u16, text: &'static str) -> Response {
    let body = http_body_util::Full::new(Bytes::from_static(text.as_bytes())).map_err(|never| match never {});
    let mut response = hyper::Response::new(BodyExt::boxed(body));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// Writes one JSON line a request.
pub fn access_log(to: impl Write + Send + 'static) -> Onlooker {
    let to = Mutex::new(to);
    Box::new(move |exchange| {
        let since = exchange.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let outcome = exchange.outcome;
        let line = json!({
            "time": Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)).rfc3339(),
            "method": exchange.request.method,
            "path": outcome.filter_state.get("scrim.path"),
            "status": outcome.client.as_ref().map(|got| got.status),
            "complete": outcome.client.as_ref().is_some_and(|got| got.complete),
            "duration_ms": u64::try_from(exchange.duration.as_millis()).unwrap_or(u64::MAX),
            // As text, as Envoy's JSON format prints it too.
            "audit": outcome.filter_state.get("scrim.audit"),
        });
        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
        // A log that can't be written must not stop the gateway; it is said once a line.
        if let Err(error) = writeln!(to, "{line}").and_then(|()| to.flush()) {
            eprintln!("scrim: the access log can't be written: {error}");
        }
    })
}
