//! The listeners: HTTP/1 and HTTP/2 by hyper-util, under limits of our own. `axum::serve` would keep a half-sent request for ever, hyper a peer
//! that takes no answer or only answers PINGs (stack.md 1).

mod activity;
mod answers;
mod frames;
mod places;
mod stream;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::Request;
use hyper::Version;
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::peer::{ClientAddress, Peer};
use activity::{Activity, Over};
use answers::{Answer, EndStalled};
use places::{Place, Places};
use stream::Stream;

/// Running requests get this long after a stop was asked for.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// What may wait in the kernel for one peer, so that its reading shows soon: Linux takes more only when a third of this is free. A peer that reads
/// two kilobytes a second makes progress within [`Limits::unread`].
const SEND_BUFFER: u32 = 64 * 1024;
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// As Tokio's own.
const BACKLOG: u32 = 1024;

/// What the peers of one listener may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time. More wait until one ends.
    pub connections: usize,
    /// Of them, from one address. More are closed at once.
    pub of_one_address: usize,
    /// Addresses behind which many people stand, so that each may take all places.
    pub proxies: Arc<[IpNet]>,
    /// Proxies that are believed when they say for whom they ask: those of the settings alone.
    pub forwarding: Arc<[IpNet]>,
    /// A request's head must be complete in this time.
    pub head: Duration,
    /// A kept connection ends after so long without a request.
    pub idle: Duration,
    /// A peer that takes nothing of what waits for it so long is given up.
    pub unread: Duration,
}

impl Limits {
    /// For a listener that anybody can reach.
    ///
    /// `of_one_address` is twice the streams of sessions one server keeps: a proxy on another machine does not meet it. `idle` is longer than the
    /// minute that proxies keep their connections, so that none sends a request into one that is being closed.
    pub fn public() -> Self {
        Self {
            connections: 10_000,
            of_one_address: 2_000,
            proxies: LOOPBACK.iter().filter_map(|network| network.parse().ok()).collect(),
            forwarding: Arc::default(),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            unread: Duration::from_secs(30),
        }
    }

    /// The same behind these proxies, and those on this machine.
    #[must_use]
    pub fn behind(self, proxies: &[IpNet]) -> Self {
        Self { proxies: self.proxies.iter().chain(proxies).copied().collect(), forwarding: proxies.into(), ..self }
    }

    /// The same with fewer places. No address has more than half of them.
    #[must_use]
    pub fn within(self, connections: usize) -> Self {
        let connections = self.connections.min(connections);
        Self { connections, of_one_address: self.of_one_address.min(connections.div_ceil(2)), ..self }
    }

    /// For a listener that only the operator and the monitoring reach.
    pub fn admin() -> Self {
        Self { connections: 100, of_one_address: 100, ..Self::public() }
    }
}

/// Listens on an address and port.
pub fn bind(address: &str) -> anyhow::Result<TcpListener> {
    let address: SocketAddr = address.parse().with_context(|| format!("{address} is no address and port"))?;
    open(address).with_context(|| format!("cannot listen on {address}; is another server running there?"))
}

fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Its connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections until `stop`, then lets running requests end.
pub async fn listen(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let mut builder = Builder::new(EndStalled { after: limits.unread });
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(20))).max_concurrent_streams(100);
    builder.http2().max_send_buf_size(SEND_BUFFER as usize);
    let places = Places::new(&limits);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let (builder, router, limits, stop) = (builder.clone(), router.clone(), limits.clone(), stop.clone());
        connections.spawn(async move {
            serve(stream, peer, &builder, router, &limits, &stop).await;
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(STOP_PATIENCE, connections.wait()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Places>) -> Option<(TcpStream, SocketAddr, Place)> {
    let any = places.any().await;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Small answers should not wait for more to send.
            let _ = stream.set_nodelay(true);
            let place = any.of(peer.ip());
            if place.is_none() {
                tracing::debug!(%peer, "an address has its share of connections; this one is closed");
            }
            Some((stream, peer, place?))
        }
        Err(error) => {
            // Out of file descriptors, mostly: give others time to close.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// Serves one connection until it ends, by itself or by a limit.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    builder: &Builder<EndStalled>,
    router: Router,
    limits: &Limits,
    stop: &CancellationToken,
) {
    let activity = Arc::new(Activity::new());
    let stream = TokioIo::new(Stream::new(stream, limits.unread, activity.clone()));
    let service = hyper::service::service_fn(|request: hyper::Request<Incoming>| {
        let running = activity.begin(request.version() == Version::HTTP_2, !request.body().is_end_stream());
        let mut request: Request = request.map(axum::body::Body::new);
        let client = ClientAddress::of(peer.ip(), &limits.forwarding, request.headers());
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(client);
        let answer = router.clone().oneshot(request);
        async move { answer.await.map(|answer| answer.map(|body| Answer::new(body, running))) }
    });
    let mut connection = pin!(builder.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => None,
        over = activity.over(Instant::now(), limits.head, limits.idle) => match over {
            Over::Idle => None,
            Over::Head => return tracing::debug!(%peer, "a connection without a whole request is closed"),
        },
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        // HTTP/1 ends at once or after the running request; HTTP/2 says GOAWAY, and what was asked before is answered.
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => ended,
            _ = activity.over(Instant::now(), limits.head, limits.unread) => {
                return tracing::debug!(%peer, "a connection that was told to end is closed");
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}
