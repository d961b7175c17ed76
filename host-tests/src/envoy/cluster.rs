//! A scripted cluster: a server on the loopback that answers each call as its script says, and keeps what it got.
//!
//! 1. Without gRPC it speaks HTTP/1.1, one call a connection. Calls count in the order in which their connections came, so that the
//!    script's answers go to them in the order in which they were made.
//! 2. With gRPC it speaks HTTP/2 (`http2`).

mod http2;

use super::wire::{self, Framing, Head};
use crate::exchange::{Called, Cluster, ClusterAnswer, ClusterFault, EXCHANGE_TIMEOUT, Script};
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A running cluster; it ends when dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    stage: Arc<Stage>,
    /// The runtime of HTTP/2; dropped, it ends all that it serves.
    _runtime: Option<tokio::runtime::Runtime>,
}

/// What the connections of a cluster share.
#[derive(Debug, Default)]
struct Stage {
    scene: Mutex<Scene>,
    /// Told when the next connection may be read.
    turn: Condvar,
    /// Calls that are never answered, or wait for the caller to say more.
    held: AtomicUsize,
}

#[derive(Debug, Default)]
struct Scene {
    script: Script,
    calls: Vec<Called>,
    /// How many calls were taken before those in `calls`.
    before: usize,
    /// Which connection is read now.
    reading: usize,
}

impl Stage {
    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scene {
    /// Keeps a call; its number.
    fn record(&mut self, call: Called) -> usize {
        self.calls.push(call);
        self.before + self.calls.len() - 1
    }

    fn record_message(&mut self, number: usize, message: Vec<u8>) {
        let at = number.checked_sub(self.before);
        match at.and_then(|at| self.calls.get_mut(at)) {
            Some(call) => call.messages.push(message),
            // A stream of an exchange before this one.
            None => self.calls.push(Called {
                messages: vec![message],
                ..Called::default()
            }),
        }
    }
}

/// A call that is not waited for; it counts until this is dropped.
struct Held<'a>(&'a Stage);

impl<'a> Held<'a> {
    fn new(stage: &'a Stage) -> Self {
        stage.held.fetch_add(1, Ordering::SeqCst);
        Self(stage)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    /// Listens on a free port of the loopback.
    pub(super) fn start(cluster: &Cluster) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let over = Arc::<AtomicBool>::default();
        let stage = Arc::<Stage>::default();
        let script = Script::new(cluster.clone());
        let speaks_grpc = script.speaks_grpc();
        stage.scene().script = script;
        let mut runtime = None;
        if speaks_grpc {
            runtime = Some(http2::serve(listener, Arc::clone(&stage))?);
        } else {
            let (stage, over) = (Arc::clone(&stage), Arc::clone(&over));
            thread::Builder::new()
                .name("cluster".to_owned())
                .spawn(move || accept(&listener, &stage, &over))?;
        }
        Ok(Self {
            address,
            over,
            stage,
            _runtime: runtime,
        })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The calls that it got since this was asked last.
    pub(super) fn take_calls(&self) -> Vec<Called> {
        let mut scene = self.stage.scene();
        scene.before += scene.calls.len();
        std::mem::take(&mut scene.calls)
    }

    /// How many calls are open and nobody waits for: never answered, or waiting for the caller to say more.
    pub(super) fn held(&self) -> usize {
        self.stage.held.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // The accepting thread sleeps until somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, stage: &Arc<Stage>, over: &AtomicBool) {
    let mut number = 0;
    for stream in listener.incoming() {
        if over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let stage = Arc::clone(stage);
        // A connection that breaks is the caller's affair.
        thread::spawn(move || serve(stream, &stage, number));
        number += 1;
    }
}

/// One call a connection: nothing is left over from the one before.
fn serve(mut stream: TcpStream, stage: &Stage, number: usize) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream.try_clone()?);
    let Some((call, answer)) = read(&mut from, stage, number)? else {
        return Ok(());
    };
    match answer.fault {
        Some(ClusterFault::Timeout) => {
            let _held = Held::new(stage);
            // Until the caller gives up.
            return from.read_to_end(&mut Vec::new()).map(drop);
        }
        Some(ClusterFault::Reset) => {
            thread::sleep(answer.delay);
            return Ok(());
        }
        Some(ClusterFault::ResetAfterHeaders) | None => thread::sleep(answer.delay),
    }
    write(&mut stream, &answer, call.method == "HEAD")
}

/// Reads a call when it is this connection's turn, and finds its answer.
fn read(from: &mut BufReader<TcpStream>, stage: &Stage, number: usize) -> io::Result<Option<(Called, ClusterAnswer)>> {
    let waiting = stage.scene();
    let waited = stage
        .turn
        .wait_timeout_while(waiting, EXCHANGE_TIMEOUT, |scene| scene.reading < number);
    drop(waited.unwrap_or_else(PoisonError::into_inner));
    let call = read_call(from);
    let mut scene = stage.scene();
    scene.reading = scene.reading.max(number + 1);
    stage.turn.notify_all();
    let Some(call) = call? else {
        return Ok(None);
    };
    scene.record(call.clone());
    let answer = scene.script.answer(&call);
    Ok(Some((call, answer)))
}

fn read_call(from: &mut BufReader<TcpStream>) -> io::Result<Option<Called>> {
    let Some(head) = Head::read(from)? else {
        return Ok(None);
    };
    let received = wire::read_body(from, head.framing(Framing::Empty)?)?;
    let (method, path, _) = head.parts();
    let mut call = Called::new(&head.headers, received.body);
    call.method = String::from_utf8_lossy(method).into_owned();
    call.path = path.to_vec();
    call.take_messages();
    Ok(Some(call))
}

fn write(stream: &mut TcpStream, answer: &ClusterAnswer, is_head: bool) -> io::Result<()> {
    let mut out = format!("HTTP/1.1 {} Scripted\r\n", answer.status).into_bytes();
    let mut line = |name: &str, value: &[u8]| out.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    for (name, value) in answer.headers.iter().chain(&answer.framing()) {
        line(name, value);
    }
    out.extend(b"\r\n");
    if is_head || answer.is_bodyless() {
        return stream.write_all(&out);
    }
    if !answer.is_chunked() {
        out.extend(&answer.body);
        return stream.write_all(&out);
    }
    let chunk = |bytes: &[u8]| match bytes {
        // An empty chunk would be the end.
        [] => Vec::new(),
        bytes => [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
    };
    out.extend(chunk(&answer.body));
    stream.write_all(&out)?;
    for piece in &answer.pieces {
        thread::sleep(piece.after);
        stream.write_all(&chunk(&piece.bytes))?;
    }
    if answer.fault.is_some() {
        return Ok(());
    }
    let mut end = b"0\r\n".to_vec();
    for (name, value) in &answer.trailers {
        end.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    end.extend(b"\r\n");
    stream.write_all(&end)
}
