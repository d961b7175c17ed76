//! What goes over a TCP connection through network filters (Envoy's `envoy.filters.network.wasm`): plain data for both engines.
//!
//! 1. A [`Connection`] is a script: its [`Event`]s happen one after another, each when what the one before set off has settled.
//! 2. The client connects first. The proxy connects to the server when every filter has let the new connection pass.
//! 3. What a side does after it has ended its way, or whose connection is not there, does nothing.
//! 4. When the script is over, how the connections stand is noted in [`Passed::ends`]. Then the client half-closes, and then the
//!    server, so that filters see the connection's end. What comes through or is logged meanwhile is in [`Passed`], too.
//! 5. Both engines must give equal [`Passed`] for equal input. What filters did with properties is not in it.

use std::collections::BTreeMap;
use std::time::Duration;

/// A TCP connection, as a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// What happens, in order.
    pub events: Vec<Event>,
}

impl Connection {
    /// A connection of these events.
    #[must_use]
    pub fn of(events: impl IntoIterator<Item = Event>) -> Self {
        Self {
            events: events.into_iter().collect(),
        }
    }
}

/// One event of a [`Connection`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A side does something.
    By(Side, Deed),
    /// Nothing happens but time passing: timers of filters go off.
    Wait(Duration),
}

impl Event {
    /// The client sends bytes.
    #[must_use]
    pub fn client(bytes: impl Into<Vec<u8>>) -> Self {
        Self::By(Side::Client, Deed::Send(bytes.into()))
    }

    /// The server sends bytes.
    #[must_use]
    pub fn server(bytes: impl Into<Vec<u8>>) -> Self {
        Self::By(Side::Server, Deed::Send(bytes.into()))
    }
}

/// An end of the way through the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that connects: downstream.
    Client,
    /// The one that the proxy connects to: upstream.
    Server,
}

/// What a side can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Sends bytes in one piece; no bytes: nothing.
    Send(Vec<u8>),
    /// Ends its way with a FIN and goes on reading.
    HalfClose,
    /// Breaks the connection with an RST.
    Reset,
}

/// How a side's connection to the proxy stands, as that side sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ended {
    /// The proxy has not ended its way.
    #[default]
    Open,
    /// The proxy ended its way with a FIN.
    Closed,
    /// The proxy broke the connection with an RST, or the side itself did.
    Reset,
}

/// What everybody saw of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// What the server received; none: the proxy did not connect to it.
    pub server: Option<Vec<u8>>,
    /// What the client received.
    pub client: Vec<u8>,
    /// How the client's and the server's connection stood when the script was over; [`Ended::Open`] for a server that nobody connected to.
    pub ends: [Ended; 2],
    /// Lines that the filters logged, in order: level and text, as in [`Outcome::logs`](super::Outcome::logs).
    pub logs: Vec<(String, String)>,
    /// By how much the filters' metrics changed, as in [`Outcome::metrics`](super::Outcome::metrics).
    pub metrics: BTreeMap<String, i64>,
}

/// A running chain of network filters in front of a scripted server.
pub trait Gateway {
    /// Plays one connection to its end.
    ///
    /// # Errors
    /// When the proxy is gone, or what filters set off does not end.
    fn connect(&mut self, connection: &Connection) -> anyhow::Result<Passed>;
}
