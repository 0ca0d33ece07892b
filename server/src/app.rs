//! What the doors and the workers share.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::clock::{Clock, new_id};
use crate::config::ServerSection;
use crate::connections::Connections;
use crate::doors::assets::Assets;
use crate::doors::devices::DeviceDoor;
use crate::doors::pages::Pages;
use crate::doors::texts::Translations;
use crate::metrics;
use crate::reports::ReportTemplates;
use crate::security::seal::MasterKey;
use crate::store::{AgentSessionStore, GroupCommit, Lifetimes, NewAgentSession, NewEvent, Store};

/// One running server.
pub struct App {
    /// Time.
    pub clock: Clock,
    /// Its own settings.
    pub settings: ServerSection,
    /// Seals settings, signs chat links.
    pub master_key: MasterKey,
    /// Durable memory.
    pub store: Arc<dyn Store>,
    /// Connections that run.
    pub connections: Connections,
    /// Agents' sessions.
    pub sessions: AgentSessionStore,
    /// Opens agents' sessions, many in one commit; false where a token was used before.
    pub admissions: GroupCommit<NewAgentSession, bool>,
    /// What the doors for paired browsers share.
    pub devices: DeviceDoor,
    /// Stores outbound events, many in one commit.
    pub intake: GroupCommit<Vec<NewEvent>, ()>,
    /// This process among the servers that share the database.
    pub server_id: Uuid,
    /// When the worker last looked for events (Unix ms), for /readyz.
    pub worker_looked_at: AtomicI64,
    /// There may be work.
    pub wake: Arc<Notify>,
    /// Figures.
    pub metrics: PrometheusHandle,
    /// Report templates.
    pub reports: ReportTemplates,
    /// Page templates.
    pub pages: Pages,
    /// Built files of the panel.
    pub assets: Assets,
    /// Texts by language.
    pub translations: Translations,
}

impl App {
    /// Puts a server together on an open store.
    pub fn new(clock: Clock, settings: ServerSection, master_key: MasterKey, store: Arc<dyn Store>) -> anyhow::Result<Arc<Self>> {
        let lifetimes = Lifetimes {
            idle_ms: i64::from(settings.session_idle_minutes) * 60_000,
            absolute_ms: i64::from(settings.session_max_hours) * 3_600_000,
        };
        let opening = store.clone();
        let receiving = store.clone();
        let assets = Assets::load();
        let translations = Translations::load()?;
        Ok(Arc::new(Self {
            sessions: AgentSessionStore::new(store.clone(), clock.clone(), lifetimes),
            admissions: GroupCommit::start(move |sessions: Vec<NewAgentSession>| {
                let store = opening.clone();
                async move { store.open_agent_sessions(&sessions).await }
            }),
            intake: GroupCommit::start(move |events: Vec<Vec<NewEvent>>| {
                let store = receiving.clone();
                async move {
                    let callers = events.len();
                    store.add_events(&events.concat()).await?;
                    Ok(vec![(); callers])
                }
            }),
            devices: DeviceDoor::new(&settings.public_url, store.clone())?,
            server_id: new_id(&clock),
            worker_looked_at: AtomicI64::new(clock.now_ms()),
            wake: Arc::new(Notify::new()),
            metrics: metrics::start(),
            reports: ReportTemplates::new(settings.report_templates.as_deref())?,
            pages: Pages::new(&assets, &translations)?,
            assets,
            translations,
            connections: Connections::new(master_key.clone()),
            clock,
            settings,
            master_key,
            store,
        }))
    }
}
