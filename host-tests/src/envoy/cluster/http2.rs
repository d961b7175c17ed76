//! A scripted cluster that speaks HTTP/2, for gRPC.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::{Held, Stage};
use crate::exchange::{Called, ClusterAnswer, ClusterFault, GrpcAnswer, Headers, Piece, framed, unframed};

/// Serves until the runtime is dropped.
pub(super) fn serve(listener: TcpListener, stage: Arc<Stage>) -> io::Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    listener.set_nonblocking(true)?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stage = Arc::clone(&stage);
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, Arc::clone(&stage)));
                // A connection that breaks is the caller's affair.
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .auto_date_header(false)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(runtime)
}

/// The stream is reset.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken as scripted")
    }
}

impl std::error::Error for Broken {}

/// A body whose frames come when the script says so.
struct Frames(UnboundedReceiver<Result<Frame<Bytes>, Broken>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.0.poll_recv(context)
    }

    /// So that an answer without a body ends with its head.
    fn is_end_stream(&self) -> bool {
        self.0.is_closed() && self.0.is_empty()
    }
}

type Answered = Result<Response<Frames>, Broken>;

fn answer(request: Request<Incoming>, stage: Arc<Stage>) -> impl Future<Output = Answered> {
    let (head, body) = request.into_parts();
    let mut lines: Headers = vec![
        (":method".to_owned(), head.method.as_str().as_bytes().to_vec()),
        (
            ":path".to_owned(),
            head.uri
                .path_and_query()
                .map_or("", |path| path.as_str())
                .as_bytes()
                .to_vec(),
        ),
        (
            ":authority".to_owned(),
            head.uri
                .authority()
                .map_or("", |authority| authority.as_str())
                .as_bytes()
                .to_vec(),
        ),
    ];
    lines.extend(
        head.headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())),
    );
    let call = Called::new(&lines, Vec::new());
    // Before anything is awaited: streams are taken in the order in which they came.
    let scripted = call.is_grpc().then(|| {
        let mut scene = stage.scene();
        let answer = scene.script.answer_grpc(&call.path);
        (scene.record(call.clone()), answer)
    });
    async move {
        match scripted {
            Some((number, answer)) => answer_grpc(body, number, answer, stage).await,
            None => answer_http(body, call, stage).await,
        }
    }
}

async fn answer_http(body: Incoming, call: Called, stage: Arc<Stage>) -> Answered {
    let bytes = body.collect().await.map_err(|_| Broken)?.to_bytes().to_vec();
    let call = Called { body: bytes, ..call };
    let answer = {
        let mut scene = stage.scene();
        scene.record(call.clone());
        scene.script.answer(&call)
    };
    wait_or_break(answer.delay, answer.fault, &stage).await?;
    let (frames, response) = begin(answer.status, &answer.headers)?;
    let bodyless = answer.is_bodyless() || call.method == "HEAD";
    let ClusterAnswer {
        body,
        pieces,
        trailers,
        fault,
        ..
    } = answer;
    if !bodyless {
        let first = Piece {
            after: Duration::ZERO,
            bytes: body,
        };
        let all: Vec<Piece> = [first].into_iter().chain(pieces).collect();
        // An answer of one head ends with it.
        if all.iter().any(|piece| !piece.bytes.is_empty()) || !trailers.is_empty() || fault.is_some() {
            let trailers = Some(trailers).filter(|lines| !lines.is_empty());
            tokio::spawn(write(frames, all, Duration::ZERO, trailers, fault));
        }
    }
    Ok(response)
}

async fn answer_grpc(body: Incoming, number: usize, answer: GrpcAnswer, stage: Arc<Stage>) -> Answered {
    let (tell, mut told) = watch::channel(Heard::default());
    // Reads to the end whatever becomes of the answer: what a filter sends is looked at.
    tokio::spawn(listen(body, number, tell, Arc::clone(&stage)));
    let enough = |heard: &Heard| heard.ended || heard.messages >= answer.after_messages;
    if !enough(&told.borrow()) {
        let _held = Held::new(&stage);
        told.wait_for(enough).await.map(drop).map_err(|_| Broken)?;
    }
    wait_or_break(answer.delay, answer.fault, &stage).await?;
    let (frames, response) = begin(200, &answer.head())?;
    if !answer.is_trailers_only() {
        let messages = answer.messages.iter().map(|message| Piece {
            after: message.after,
            bytes: framed(&message.bytes),
        });
        let (messages, tail) = (messages.collect(), answer.tail());
        tokio::spawn(write(frames, messages, answer.pause, Some(tail), answer.fault));
    }
    Ok(response)
}

/// What has come of a call.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    messages: usize,
    ended: bool,
}

async fn listen(mut body: Incoming, number: usize, tell: watch::Sender<Heard>, stage: Arc<Stage>) {
    let mut kept = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        kept.extend_from_slice(&data);
        // What is no message is no call that the script knows: it waits for more.
        let messages = unframed(&mut kept).unwrap_or_default();
        let count = messages.len();
        for message in messages {
            stage.scene().record_message(number, message);
        }
        tell.send_modify(|heard| heard.messages += count);
    }
    tell.send_modify(|heard| heard.ended = true);
}

async fn wait_or_break(delay: Duration, fault: Option<ClusterFault>, stage: &Stage) -> Result<(), Broken> {
    if fault == Some(ClusterFault::Timeout) {
        let _held = Held::new(stage);
        let never: Infallible = std::future::pending().await;
        match never {}
    }
    tokio::time::sleep(delay).await;
    match fault {
        Some(ClusterFault::Reset) => Err(Broken),
        _ => Ok(()),
    }
}

type Sender = UnboundedSender<Result<Frame<Bytes>, Broken>>;

fn begin(status: u16, lines: &Headers) -> Result<(Sender, Response<Frames>), Broken> {
    let (frames, receiver) = unbounded_channel();
    let mut response = Response::builder()
        .status(status)
        .body(Frames(receiver))
        .map_err(|_| Broken)?;
    *response.headers_mut() = map(lines);
    Ok((frames, response))
}

async fn write(
    frames: Sender,
    pieces: Vec<Piece>,
    pause: Duration,
    trailers: Option<Headers>,
    fault: Option<ClusterFault>,
) {
    for piece in pieces {
        tokio::time::sleep(piece.after).await;
        if !piece.bytes.is_empty() {
            let _ = frames.send(Ok(Frame::data(piece.bytes.into())));
        }
    }
    tokio::time::sleep(pause).await;
    if fault.is_some() {
        // Lets what came before it be written by itself.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let _ = frames.send(Err(Broken));
    } else if let Some(trailers) = trailers {
        let _ = frames.send(Ok(Frame::trailers(map(&trailers))));
    }
}

/// Lines that are none in HTTP are left out; the case format refuses them before.
fn map(lines: &Headers) -> HeaderMap {
    let lines = lines.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value).ok()?))
    });
    lines.fold(HeaderMap::new(), |mut map, (name, value)| {
        map.append(name, value);
        map
    })
}
