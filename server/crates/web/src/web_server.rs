//! The listeners: HTTP/1 and HTTP/2 by hyper-util with a header time-out; `axum::serve` would keep a half-sent request for ever
//! (stack.md 1).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::peer::Peer;

/// A request's head must be complete in this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Running requests get this long after a stop was asked for.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// Listens on an address and port.
pub async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    let address: SocketAddr = address.parse().with_context(|| format!("{address} is no address and port"))?;
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}; is another server running there?"))
}

/// Accepts connections until `stop`, then lets running requests end.
pub async fn listen(listener: TcpListener, router: Router, open: Arc<Semaphore>, stop: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(20))).max_concurrent_streams(100);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &open) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let router = router.clone();
        let begun = Arc::new(Notify::new());
        let first = begun.clone();
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            first.notify_one();
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Peer(peer));
            router.clone().oneshot(request)
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "a connection ended badly");
                },
                () = silence(&begun) => tracing::debug!(%peer, "a connection without a request is closed"),
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_PATIENCE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
}

/// Returns when no request has begun in time. hyper's own time-out starts only when it knows the HTTP version, which a
/// peer that sends nothing, or half of HTTP/2's preface, never tells.
async fn silence(begun: &Notify) {
    if tokio::time::timeout(HEADER_TIMEOUT, begun.notified()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

async fn accept(
    listener: &TcpListener,
    open: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = open.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Small answers should not wait for more to send.
            let _ = stream.set_nodelay(true);
            Some((stream, peer, permit))
        }
        Err(error) => {
            // Out of file descriptors, mostly: give others time to close.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
