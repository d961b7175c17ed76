//! A scripted cluster: a server on the loopback that answers each call as its script says.

use super::wire::{self, Framing, Head};
use crate::exchange::{Cluster, ClusterAnswer, ClusterFault, Script};
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A running cluster; it ends when dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Server {
    /// Listens on a free port of the loopback.
    pub(super) fn start(cluster: &Cluster) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let over = Arc::<AtomicBool>::default();
        let (script, flag) = (Arc::new(Mutex::new(Script::new(cluster.clone()))), Arc::clone(&over));
        std::thread::Builder::new().name("cluster".to_owned()).spawn(move || {
            for stream in listener.incoming() {
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), script) = (stream, Arc::clone(&script)) else {
                    continue;
                };
                // A connection that breaks is the caller's affair.
                std::thread::spawn(move || serve(stream, &script));
            }
        })?;
        Ok(Self { address, over })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // The accepting thread sleeps until somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

/// One call a connection: nothing is left over from the one before.
fn serve(mut stream: TcpStream, script: &Mutex<Script>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut from = BufReader::new(stream.try_clone()?);
    let Some(head) = Head::read(&mut from)? else {
        return Ok(());
    };
    wire::read_body(&mut from, head.framing(Framing::Empty)?)?;
    let path = String::from_utf8_lossy(head.parts().1).into_owned();
    let answer = script.lock().unwrap_or_else(PoisonError::into_inner).answer(&path);
    match answer.fault {
        Some(ClusterFault::Reset) => Ok(()),
        Some(ClusterFault::Timeout) => {
            // Until the caller gives up.
            from.read_to_end(&mut Vec::new()).map(drop)
        }
        None => stream.write_all(&bytes(&answer)),
    }
}

fn bytes(answer: &ClusterAnswer) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {} Scripted\r\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        out.extend(name.as_bytes());
        out.extend(b": ");
        out.extend(value);
        out.extend(b"\r\n");
    }
    out.extend(format!("content-length: {}\r\nconnection: close\r\n\r\n", answer.body.len()).bytes());
    out.extend(&answer.body);
    out
}
