//! Runs the listeners and the workers until told to stop.
//!
//! Connections are served by hyper-util with a header time-out; `axum::serve` would keep a half-sent request for ever (stack.md 1).

use std::collections::{HashMap, HashSet};
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

use crate::app::App;
use crate::doors;
use crate::doors::peer::Peer;
use crate::inbox::worker;
use crate::store::StoreError;
use crate::support::reconcile;

/// A request's head must be complete in this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections held at the same time, over both listeners.
const MAX_CONNECTIONS: usize = 10_000;
/// Running requests get this long after a stop was asked for.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// How often a server says that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// One not heard of for so long is gone.
const ALIVE_MS: i64 = 20_000;
/// How often due sweeps are looked for.
const SWEEP_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often saved changes of connections are looked for.
const REFRESH_EVERY: Duration = Duration::from_secs(2);
/// How often ended sessions and old events are removed.
const CLEAN_EVERY: Duration = Duration::from_mins(10);
/// For so long after its end a pairing code is known, so that its late user is told why it does not work.
const KEEP_CODES_MS: i64 = 30 * 86_400_000;

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
    tasks.spawn(clean(app.clone(), stop.clone()));
    tasks.spawn(stop.clone().run_until_cancelled_owned(hear_other_servers(app.clone())));
    tasks.spawn(share_limits(app.clone(), stop.clone()));
    tasks.spawn(stop.clone().run_until_cancelled_owned(reconcile(app.clone())));
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

async fn refresh(app: Arc<App>, stop: CancellationToken) {
    every(REFRESH_EVERY, &stop, || async {
        let refreshed = app.connections.refresh(app.store.as_ref()).await;
        app.wake.notify_one();
        refreshed
    })
    .await;
}

async fn clean(app: Arc<App>, stop: CancellationToken) {
    every(CLEAN_EVERY, &stop, || async {
        let now = app.clock.now_ms();
        let sessions = app.store.sweep_agent_sessions(now).await?;
        let events = app.store.sweep_events(now - i64::from(app.settings.keep_events_days) * 86_400_000).await?;
        let requests = app.store.sweep_devices(now, now - KEEP_CODES_MS).await?;
        tracing::debug!(sessions, events, requests, "ended sessions, old events and devices' old requests removed");
        Ok(())
    })
    .await;
}

/// Events another server stored wake this one too.
async fn hear_other_servers(app: Arc<App>) {
    loop {
        app.store.other_server_stored().await;
        app.wake.notify_one();
    }
}

/// Servers that share the database share each appliance's and tenant's limits too: every one takes its part.
async fn share_limits(app: Arc<App>, stop: CancellationToken) {
    every(ALIVE_EVERY, &stop, || async {
        let now = app.clock.now_ms();
        let servers = app.store.server_alive(app.server_id, now, now - ALIVE_MS).await?;
        for connection in app.connections.all().iter() {
            connection.appliance.share_limits(servers);
            if let Some(autotask) = &connection.autotask {
                autotask.share_limits(servers);
            }
        }
        Ok(())
    })
    .await;
}

/// Looks once a second whose sweep is due. Each connection sweeps by itself, so that a hung appliance holds up no other.
async fn reconcile(app: Arc<App>) {
    let mut sweeping: HashMap<String, tokio::task::JoinHandle<()>> = HashMap::new();
    let mut seen: HashSet<String> = HashSet::new();
    loop {
        sweeping.retain(|_, task| !task.is_finished());
        for connection in app.connections.all().iter() {
            if sweeping.contains_key(connection.name()) {
                continue;
            }
            let (app, connection) = (app.clone(), connection.clone());
            let name = connection.name().to_owned();
            let at_start = seen.insert(name.clone());
            let task = tokio::spawn(async move {
                if let Err(error) = reconcile::sweep_if_due(&app, &connection, at_start).await {
                    tracing::warn!(connection = connection.name(), %error, "the appliance could not be asked for ended sessions; asking again next time");
                }
            });
            sweeping.insert(name, task);
        }
        tokio::time::sleep(SWEEP_LOOK_EVERY).await;
    }
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
