//! Runs the listeners and the workers until told to stop.
//!
//! Connections are served by hyper-util with a header time-out; `axum::serve` would keep a half-sent request for ever (stack.md 1).

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
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::app::App;
use crate::doors;
use crate::doors::peer::Peer;
use crate::inbox::worker;
use crate::store::StoreError;

/// A request's head must be complete in this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections held at the same time, over both listeners.
const MAX_CONNECTIONS: usize = 10_000;
/// Running requests get this long after a stop was asked for.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// How often saved changes of connections are looked for.
const REFRESH_EVERY: Duration = Duration::from_secs(2);
/// How often ended sessions are removed.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// Serves until `stop`, then finishes what runs, within ten seconds.
pub async fn run(app: Arc<App>, stop: CancellationToken) -> anyhow::Result<()> {
    app.connections.refresh(app.store.as_ref()).await?;
    let public = bind(&app.settings.listen).await?;
    let admin = bind(&app.settings.admin_listen).await?;
    tracing::info!(
        public = %public.local_addr()?,
        admin = %admin.local_addr()?,
        connections = app.connections.all().len(),
        "listening"
    );
    let open = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(listen(public, doors::public(&app)?, open.clone(), stop.clone()));
    tasks.spawn(listen(admin, doors::admin(&app), open, stop.clone()));
    tasks.spawn(worker::run(app.clone(), stop.clone()));
    tasks.spawn(refresh(app.clone(), stop.clone()));
    tasks.spawn(sweep(app.clone(), stop.clone()));
    stop.cancelled().await;
    tracing::info!("stopping");
    tasks.close();
    tasks.wait().await;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: &str) -> anyhow::Result<TcpListener> {
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
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Peer(peer));
            router.clone().oneshot(request)
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "a connection ended badly");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_PATIENCE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time");
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

async fn refresh(app: Arc<App>, stop: CancellationToken) {
    every(REFRESH_EVERY, &stop, || async {
        let refreshed = app.connections.refresh(app.store.as_ref()).await;
        app.wake.notify_one();
        refreshed
    })
    .await;
}

async fn sweep(app: Arc<App>, stop: CancellationToken) {
    every(SWEEP_EVERY, &stop, || async {
        let removed = app.store.sweep_agent_sessions(app.clock.now_ms()).await?;
        tracing::debug!(removed, "ended sessions removed");
        Ok(())
    })
    .await;
}

/// Does `work` at that interval until `stop`; a failure is told and tried again at the next turn.
async fn every<Done: Future<Output = Result<(), StoreError>>>(interval: Duration, stop: &CancellationToken, work: impl Fn() -> Done) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(error) = work().await {
            tracing::warn!(%error, "background work failed; trying again");
        }
    }
}
