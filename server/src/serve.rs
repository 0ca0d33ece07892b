//! A running server: listeners, the worker, and what happens now and then, until told to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use deskbridge_core::clock::{Clock, new_id};
use deskbridge_core::settings::ServerSection;
use deskbridge_http_client::limiter;
use deskbridge_reports::ReportTemplates;
use deskbridge_security::seal::MasterKey;
use deskbridge_store::{Store, StoreError};
use deskbridge_use_cases::connections::Connections;
use deskbridge_use_cases::event_handler::SupportEvents;
use deskbridge_use_cases::incidents::IncidentIntake;
use deskbridge_use_cases::retention::{self, Retention};
use deskbridge_use_cases::{Services, listen, sweep};
use deskbridge_web::agent_sessions::Lifetimes;
use deskbridge_web::web_server::Limits;
use deskbridge_web::{Web, web_server};
use deskbridge_work::metrics;
use deskbridge_work::worker::{self, Worker};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::open_files;

/// How often a server says that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// One not heard of for so long is gone.
const ALIVE_MS: i64 = 10_000;
/// How often due sweeps are looked for.
const SWEEP_POLL_EVERY: Duration = Duration::from_secs(1);
/// How often an account that was just looked at is looked at again.
const SWEEP_ASK_EVERY: Duration = Duration::from_secs(5);
/// How often saved changes of connections are looked for.
const REFRESH_EVERY: Duration = Duration::from_secs(2);
/// How often credentials are used that end by themselves otherwise.
const USE_CREDENTIALS_EVERY: Duration = Duration::from_hours(24);
/// How often ended sessions and old events are removed.
const CLEAN_EVERY: Duration = Duration::from_mins(10);

/// One running server.
struct Server {
    services: Arc<Services>,
    settings: ServerSection,
    /// This process among the servers that share the database.
    id: Uuid,
}

/// Serves until `stop`, then finishes what runs, within ten seconds.
pub(crate) async fn run(
    clock: Clock,
    settings: ServerSection,
    master_key: MasterKey,
    store: Arc<dyn Store>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let services = Arc::new(Services {
        incidents: IncidentIntake::new(store.clone()),
        connections: Connections::new(master_key.clone()),
        reports: Arc::new(ReportTemplates::new(settings.report_templates.as_deref())?),
        public_url: settings.public_origin().to_owned(),
        wake: Arc::new(Notify::new()),
        clock: clock.clone(),
        store: store.clone(),
        master_key,
    });
    let lifetimes = Lifetimes {
        idle_ms: i64::from(settings.session_idle_minutes) * 60_000,
        absolute_ms: i64::from(settings.session_max_hours) * 3_600_000,
    };
    let worker_looked_at = Arc::new(AtomicI64::new(clock.now_ms()));
    let web = Web::new(services.clone(), lifetimes, worker_looked_at.clone(), metrics::start(), stop.clone())?;
    if !web.is_panel_built() {
        tracing::warn!("the panel was not built into this server; build it with `cargo xtask build`");
    }
    services.connections.refresh(store.as_ref()).await?;
    let server = Arc::new(Server { id: new_id(&clock), services: services.clone(), settings: settings.clone() });
    // Before anything can be asked of an outside system.
    share_limits(&server).await?;
    let connections = open_files::allow_connections(Limits::public().connections);
    let public = web_server::bind(&settings.listen)?;
    let admin = web_server::bind(&settings.admin_listen)?;
    tracing::info!(
        public = %public.local_addr()?,
        admin = %admin.local_addr()?,
        connections = services.connections.current().running().len(),
        "listening"
    );
    let worker = Arc::new(Worker {
        store,
        clock,
        server_id: server.id,
        wake: services.wake.clone(),
        looked_at: worker_looked_at,
        handler: Arc::new(SupportEvents(services.clone())),
    });
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(web_server::listen(
        public,
        deskbridge_web::public(&web)?,
        Limits::public().behind(&settings.proxies()).within(connections),
        stop.clone(),
    ));
    tasks.spawn(web_server::listen(admin, deskbridge_web::admin(&web), Limits::admin(), stop.clone()));
    tasks.spawn(worker::run(worker, stop.clone()));
    tasks.spawn(refresh(server.clone(), stop.clone()));
    tasks.spawn(purge(server.clone(), stop.clone()));
    tasks.spawn(stop.clone().run_until_cancelled_owned(hear_other_servers(services.clone())));
    tasks.spawn({
        let (server, stop) = (server.clone(), stop.clone());
        async move { every(ALIVE_EVERY, &stop, || share_limits(&server)).await }
    });
    tasks.spawn(stop.clone().run_until_cancelled_owned(keep_credentials(services.clone())));
    tasks.spawn(listen::run(services.clone(), server.id, stop.clone()));
    tasks.spawn(stop.clone().run_until_cancelled_owned(sweep_accounts(services)));
    stop.cancelled().await;
    tracing::info!("stopping");
    tasks.close();
    tasks.wait().await;
    server.services.store.server_stopped(server.id).await?;
    tracing::info!("stopped");
    Ok(())
}

async fn refresh(server: Arc<Server>, stop: CancellationToken) {
    every(REFRESH_EVERY, &stop, || async {
        let refreshed = server.services.connections.refresh(server.services.store.as_ref()).await;
        server.services.wake.notify_one();
        refreshed
    })
    .await;
}

async fn purge(server: Arc<Server>, stop: CancellationToken) {
    let retention = Retention { events_days: server.settings.keep_events_days, sessions_days: server.settings.keep_sessions_days };
    every(CLEAN_EVERY, &stop, || async {
        let rows = retention::purge(&server.services, retention).await?;
        tracing::debug!(rows, "what need not be kept longer was removed");
        Ok(())
    })
    .await;
}

/// Events another server stored wake this one too.
async fn hear_other_servers(services: Arc<Services>) {
    loop {
        services.store.other_server_stored().await;
        services.wake.notify_one();
    }
}

/// Servers that share the database share each account's and tenant's limits too: every one takes its part.
async fn share_limits(server: &Server) -> Result<(), StoreError> {
    let services = &server.services;
    let now = services.clock.now_ms();
    limiter::share_with(services.store.server_alive(server.id, now, now - ALIVE_MS).await?);
    Ok(())
}

/// Credentials that end where nobody uses them are used, soon after the start and then daily: a quiet connection calls nobody for weeks.
async fn keep_credentials(services: Arc<Services>) {
    loop {
        let directory = services.connections.current();
        for connection in directory.running() {
            if let Err(error) = connection.help_desk.keep_credentials().await {
                tracing::warn!(connection = connection.name(), %error, "the credentials, which must be used now and then, could not be used");
            }
        }
        drop(directory);
        tokio::time::sleep(USE_CREDENTIALS_EVERY).await;
    }
}

/// Looks once a second whose sweep is due. Each account is swept by itself, so that a hung engine holds up no other.
async fn sweep_accounts(services: Arc<Services>) {
    let mut sweeping: HashMap<String, tokio::task::JoinHandle<()>> = HashMap::new();
    let mut due: HashMap<String, Instant> = HashMap::new();
    loop {
        sweeping.retain(|_, task| !task.is_finished());
        let directory = services.connections.current();
        due.retain(|name, _| directory.uses_account(name));
        for name in directory.accounts() {
            let at_start = !due.contains_key(name);
            // The database knows when a sweep is due; it is asked now and then, not for ten thousand accounts each second.
            if sweeping.contains_key(name) || due.get(name).is_some_and(|at| *at > Instant::now()) {
                continue;
            }
            due.insert(name.to_owned(), Instant::now() + SWEEP_ASK_EVERY);
            let Some(account) = sweep::Account::find(&services, name) else { continue };
            let (services, name) = (services.clone(), name.to_owned());
            let task = tokio::spawn({
                let name = name.clone();
                async move {
                    if let Err(error) = sweep::sweep_if_due(&services, &account, at_start).await {
                        let engine = account.engine_title();
                        tracing::warn!(account = name, %error, "{engine} could not be asked for ended sessions; asking again next time");
                    }
                }
            });
            sweeping.insert(name, task);
        }
        tokio::time::sleep(SWEEP_POLL_EVERY).await;
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
