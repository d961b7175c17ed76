//! The test client: sends a request's exact bytes and reads the answer strictly.

use super::wire::{self, Added, Framing, Head, Until};
use crate::exchange::{EXCHANGE_TIMEOUT, Got, PROXY_HEADERS, Request};
use anyhow::Context;
use std::io::{self, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpStream};

/// Sends `request` on a connection of its own; none when the connection ended before any answer.
///
/// # Errors
/// When the gateway cannot be reached, stays silent for [`EXCHANGE_TIMEOUT`] or answers malformed HTTP.
pub fn send(to: SocketAddr, request: &Request) -> anyhow::Result<Option<Got>> {
    let mut stream = TcpStream::connect(to).with_context(|| format!("cannot reach Envoy at {to}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(EXCHANGE_TIMEOUT))?;
    stream.set_write_timeout(Some(EXCHANGE_TIMEOUT))?;
    let writes = wire::writes(
        &first_line(request),
        &lines(request),
        Added::to(&request.headers, &request.body),
        &request.body,
        Until::End,
    );
    let mut from = BufReader::new(stream.try_clone()?);
    let got = std::thread::scope(|scope| {
        // An answer may come before the request's end, and then the rest of the request is not wanted any more.
        scope.spawn(|| wire::write_apart(&mut stream, &writes));
        receive(&mut from, &request.method)
    });
    got.map_err(|error| match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(ErrorKind::WouldBlock | ErrorKind::TimedOut) => error.context(format!(
            "the stream hangs: nothing came for {} s",
            EXCHANGE_TIMEOUT.as_secs()
        )),
        _ => error.context("the gateway gave no proper answer"),
    })
}

fn first_line(request: &Request) -> Vec<u8> {
    [request.method.as_bytes(), b" ", &request.target, b" HTTP/1.1"].concat()
}

fn lines(request: &Request) -> crate::exchange::Headers {
    let host = ("host".to_owned(), request.authority.clone().into_bytes());
    let host = Some(host).filter(|_| !request.authority.is_empty());
    host.into_iter().chain(request.headers.iter().cloned()).collect()
}

fn receive(from: &mut BufReader<TcpStream>, method: &str) -> anyhow::Result<Option<Got>> {
    loop {
        let Some(head) = Head::read(from)? else {
            return Ok(None);
        };
        let (_, status, _) = head.parts();
        let status: u16 = std::str::from_utf8(status)?
            .parse()
            .context("a status that is no number")?;
        if (100..200).contains(&status) {
            continue;
        }
        // RFC 9112, section 6.3: these have no body, whatever their header lines say.
        let framing = match status {
            204 | 304 => Framing::Empty,
            _ if method == "HEAD" => Framing::Empty,
            _ => head.framing(Framing::UntilClose)?,
        };
        let received = wire::read_body(from, framing)
            .with_context(|| format!("the body of a {status} did not come to its end"))?;
        let headers = head
            .headers
            .into_iter()
            .filter(|(name, _)| !PROXY_HEADERS.contains(&name.as_str()))
            .collect();
        return Ok(Some(Got {
            status,
            headers,
            body: received.body,
            complete: received.complete,
            trailers: received.trailers,
        }));
    }
}
