//! The scripted upstream: a server on the loopback that records what arrives and answers as told.

use super::wire::{self, Added, Framing, Head, Received, Until};
use crate::exchange::{Answer, Fault, PROXY_HEADERS, Seen};
use std::io::{self, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running upstream; it ends when dropped.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    stage: Arc<Stage>,
    accepting: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Listens on a free port of the loopback.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let stage = Arc::<Stage>::default();
        let shared = Arc::clone(&stage);
        let accepting = std::thread::Builder::new()
            .name("upstream".to_owned())
            .spawn(move || accept(&listener, &shared))?;
        Ok(Self {
            address,
            stage,
            accepting: Some(accepting),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers so from now on, and forgets what it saw.
    pub fn play(&self, answer: &Answer) {
        let mut scene = self.stage.scene();
        scene.answer = Some(Arc::new(answer.clone()));
        scene.seen = None;
    }

    /// The request that reached it since [`Self::play`]. Only one that came to its end counts: how far another gets
    /// before a filter stops it depends on how fast the gateway connects.
    pub fn seen(&self) -> Option<Seen> {
        self.stage.scene().seen.take()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stage.scene().over = true;
        // The accepting thread sleeps until somebody comes.
        let woken = TcpStream::connect(self.address).is_ok();
        if let (true, Some(accepting)) = (woken, self.accepting.take()) {
            let _ = accepting.join();
        }
    }
}

#[derive(Debug, Default)]
struct Stage(Mutex<Scene>);

#[derive(Debug, Default)]
struct Scene {
    answer: Option<Arc<Answer>>,
    seen: Option<Seen>,
    over: bool,
}

impl Stage {
    fn scene(&self) -> MutexGuard<'_, Scene> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, stage: &Arc<Stage>) {
    for stream in listener.incoming() {
        if stage.scene().over {
            return;
        }
        let Ok(stream) = stream else { continue };
        let stage = Arc::clone(stage);
        // Ends when the gateway closes the connection, or breaks it: nothing to report.
        std::thread::spawn(move || serve(stream, &stage));
    }
}

fn serve(mut stream: TcpStream, stage: &Stage) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        let framing = head.framing(Framing::Empty)?;
        let received = wire::read_body(&mut from, framing)?;
        if !received.complete {
            return Ok(());
        }
        let seen = Seen::new(&head, received);
        let to_head = seen.method == "HEAD";
        let answer = {
            let mut scene = stage.scene();
            scene.seen = Some(seen);
            scene.answer.clone()
        };
        let Some(answer) = answer else { return Ok(()) };
        if answer.fault == Some(Fault::ResetBeforeHeaders) {
            return Ok(());
        }
        wire::write_apart(&mut stream, &writes(&answer, to_head))?;
        if answer.fault == Some(Fault::ResetAfterBody) {
            // Lets the gateway read the last chunk by itself.
            std::thread::sleep(Duration::from_millis(2));
            return Ok(());
        }
    }
    Ok(())
}

impl Seen {
    fn new(head: &Head, received: Received) -> Self {
        let (method, target, _) = head.parts();
        let authority = wire::value(&head.headers, "host").unwrap_or_default();
        let reported = |name: &str| name != "host" && !PROXY_HEADERS.contains(&name);
        Self {
            method: String::from_utf8_lossy(method).into_owned(),
            target: target.to_vec(),
            authority: String::from_utf8_lossy(authority).into_owned(),
            headers: head
                .headers
                .iter()
                .filter(|(name, _)| reported(name))
                .cloned()
                .collect(),
            body: received.body,
            trailers: received.trailers,
        }
    }
}

/// What `answer` is on the wire.
fn writes(answer: &Answer, to_head: bool) -> Vec<Vec<u8>> {
    let first = format!("HTTP/1.1 {} {}", answer.status, reason(answer.status));
    let breaks = answer.fault == Some(Fault::ResetAfterBody);
    // RFC 9112, section 6.3: no body follows these. An answer to HEAD has the header lines of one to GET.
    let never = matches!(answer.status, 204 | 304);
    let framed = ["content-length", "transfer-encoding"]
        .iter()
        .any(|name| wire::value(&answer.headers, name).is_some());
    let framing = match Added::to(&answer.headers, &answer.body) {
        Added::Nothing if framed || to_head => Added::Nothing,
        _ if never => Added::Nothing,
        // With a length the last chunk would be the end.
        _ if breaks => Added::Chunked,
        Added::Nothing => Added::Length,
        added => added,
    };
    let until = match () {
        () if to_head || never => Until::Head,
        () if breaks => Until::LastChunk,
        () => Until::End,
    };
    wire::writes(first.as_bytes(), &answer.headers, framing, &answer.body, until)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        500 => "Internal Server Error",
        _ => "Scripted",
    }
}
