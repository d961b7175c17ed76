//! TCP through a real Envoy: the network filters and `tcp_proxy` between a client and a server that play a script.
//!
//! 1. Envoy has one worker. A request to a listener that answers by itself (the barrier) is answered when what came before it was
//!    read; after a few of them without anything new at either side an event has settled.
//! 2. Only what needs time by itself (timers) is waited for: a script says so.

use std::collections::BTreeMap;
use std::io::{BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Context;
use saphyr::Yaml;
use socket2::SockRef;

use super::engine::{BARRIER, Crashed, barrier};
use super::find::Found;
use super::process::{Line, Process};
use super::wire::{self, Framing, Head};
use crate::exchange::tcp::{Connection, Deed, Ended, Event, Gateway, Passed};
use crate::exchange::{EXCHANGE_TIMEOUT, Setup, changes};
use crate::render::{self, Bootstrap, Environment};

/// A gateway. The process comes first: it is dropped before its server.
pub(super) struct Running {
    process: Process,
    listening: SocketAddr,
    server: TcpListener,
    barrier: BufReader<TcpStream>,
    /// Barriers whose lines were not read yet.
    barriers: usize,
    /// The metrics of the filters after the connection before.
    metrics: BTreeMap<String, u64>,
}

/// One side of a connection.
#[derive(Default)]
struct End {
    /// None: there is none, or it was reset.
    stream: Option<TcpStream>,
    received: Vec<u8>,
    ended: Ended,
    finished: bool,
}

/// How many rounds without anything new an event takes to settle: what is read in one is written in the next, and a connection takes one more.
const ROUNDS: usize = 3;
/// What the loopback may take from one socket to the other.
const ROUND: Duration = Duration::from_millis(3);
const LISTENER_TCP: &str = "tcp";
/// How long a process takes to be gone once its connections are.
const CRASH_TIME: Duration = Duration::from_secs(2);

impl Running {
    pub(super) fn start(found: &Found, setup: &Setup) -> anyhow::Result<Self> {
        anyhow::ensure!(
            setup.clusters.is_empty(),
            "network filters can't call clusters in a real Envoy yet; leave the setup's `clusters` empty"
        );
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = TcpListener::bind(anywhere).context("cannot start a server on the loopback")?;
        server.set_nonblocking(true)?;
        let mut bootstrap = Bootstrap::new(anywhere, server.local_addr()?.into());
        bootstrap.filters = setup.filters.clone();
        bootstrap.environment = Environment {
            values: setup.environment.clone(),
            ..Environment::default()
        };
        let process = Process::start_with(found, &bootstrap, |bootstrap| {
            let listener = bootstrap.tcp_listener(LISTENER_TCP, anywhere);
            // The main listener is HTTP's, where these filters are not.
            let mut bare = bootstrap.clone();
            bare.filters.clear();
            let mut document = bare.document(vec![(listener, None), (barrier(anywhere), None)]);
            if let Yaml::Mapping(entries) = &mut document {
                entries.insert(render::text("stats_flush_on_admin"), render::truth(true));
            }
            render::emit(&document)
        })?;
        let barrier = TcpStream::connect(process.listener(BARRIER)?)?;
        barrier.set_nodelay(true)?;
        barrier.set_read_timeout(Some(EXCHANGE_TIMEOUT))?;
        let mut running = Self {
            listening: process.listener(LISTENER_TCP)?,
            process,
            server,
            barrier: BufReader::new(barrier),
            barriers: 0,
            metrics: BTreeMap::new(),
        };
        // What was logged and counted while configuring belongs to no connection.
        running.round()?;
        running.take_logs()?;
        running.metrics = running.process.metrics()?;
        Ok(running)
    }

    /// One barrier.
    fn round(&mut self) -> anyhow::Result<()> {
        self.barrier
            .get_mut()
            .write_all(b"GET / HTTP/1.1\r\nhost: barrier\r\n\r\n")?;
        let head = Head::read(&mut self.barrier)?.context("Envoy closed the connection")?;
        wire::read_body(&mut self.barrier, head.framing(Framing::Empty)?)?;
        self.barriers += 1;
        Ok(())
    }

    /// What plugins logged before the last barrier.
    fn take_logs(&mut self) -> anyhow::Result<Vec<(String, String)>> {
        let mut logs = Vec::new();
        let deadline = Instant::now() + EXCHANGE_TIMEOUT;
        while self.barriers > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.process.next_line(left.max(Duration::from_millis(1)))?;
            match line.context("Envoy did not log in time")? {
                Line::Plugin { level, text } => {
                    let level = if level == "warn" { "warning".to_owned() } else { level };
                    logs.push((level, text));
                }
                Line::Log { .. } => {}
                Line::Access(_) => self.barriers -= 1,
            }
        }
        Ok(logs)
    }

    fn settle(&mut self, ends: &mut [End; 2]) -> anyhow::Result<()> {
        let mut quiet = 0;
        let deadline = Instant::now() + EXCHANGE_TIMEOUT;
        while quiet < ROUNDS && Instant::now() < deadline {
            self.round()?;
            std::thread::sleep(ROUND);
            quiet += 1;
            let [_, server] = &mut *ends;
            if server.stream.is_none() && server.ended == Ended::Open {
                match self.server.accept() {
                    Ok((stream, _)) => {
                        server.stream = Some(prepare(stream)?);
                        quiet = 0;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error).context("the server can't accept the connection"),
                }
            }
            for end in ends.iter_mut() {
                if end.drain() {
                    quiet = 0;
                }
            }
        }
        Ok(())
    }

    fn play(&mut self, script: &Connection, ends: &mut [End; 2]) -> anyhow::Result<[Ended; 2]> {
        self.settle(ends)?;
        for event in &script.events {
            match event {
                Event::Wait(time) => std::thread::sleep(*time),
                Event::By(side, deed) => ends[*side as usize].act(deed),
            }
            self.settle(ends)?;
        }
        let stand = [ends[0].ended, ends[1].ended];
        for at in 0..2 {
            ends[at].act(&Deed::HalfClose);
            self.settle(ends)?;
        }
        Ok(stand)
    }
}

impl Gateway for Running {
    fn connect(&mut self, script: &Connection) -> anyhow::Result<Passed> {
        self.round()?;
        self.take_logs()?;
        // Of a connection before, which went on behind its end.
        while self.server.accept().is_ok() {}
        let mut ends: [End; 2] = Default::default();
        ends[0].stream = Some(prepare(TcpStream::connect(self.listening)?)?);
        let played = self.play(script, &mut ends);
        if played.is_err() && self.process.ended_within(CRASH_TIME) {
            return Err(Crashed.into());
        }
        let stand = played?;
        let logs = self.take_logs()?;
        let now = self.process.metrics()?;
        let before = std::mem::replace(&mut self.metrics, now.clone());
        let [client, server] = ends;
        let is_connected = server.stream.is_some() || server.ended != Ended::Open;
        Ok(Passed {
            server: is_connected.then_some(server.received),
            client: client.received,
            ends: stand,
            logs,
            metrics: changes(&before, &now),
        })
    }
}

fn prepare(stream: TcpStream) -> anyhow::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

impl End {
    /// Whatever goes wrong is what the proxy does: reading tells.
    fn act(&mut self, deed: &Deed) {
        let Some(stream) = &mut self.stream else { return };
        match deed {
            _ if self.finished => {}
            Deed::Send(bytes) => {
                let _ = stream
                    .set_nonblocking(false)
                    .and_then(|()| stream.set_write_timeout(Some(EXCHANGE_TIMEOUT)))
                    .and_then(|()| stream.write_all(bytes));
                let _ = stream.set_nonblocking(true);
            }
            Deed::HalfClose => {
                self.finished = true;
                let _ = stream.shutdown(Shutdown::Write);
            }
            Deed::Reset => {
                let _ = SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
                self.stream = None;
                if self.ended == Ended::Open {
                    self.ended = Ended::Reset;
                }
            }
        }
    }

    /// Reads what is there; true: there was something.
    fn drain(&mut self) -> bool {
        let (Some(stream), Ended::Open) = (&mut self.stream, self.ended) else {
            return false;
        };
        let mut buffer = [0; 16 << 10];
        let mut is_new = false;
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => self.ended = Ended::Closed,
                Ok(size) => {
                    self.received.extend_from_slice(&buffer[..size]);
                    is_new = true;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return is_new,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => self.ended = Ended::Reset,
            }
            return true;
        }
    }
}
