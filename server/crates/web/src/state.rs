//! What each router works with. None of them has everything.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use deskbridge_core::clock::Clock;
use deskbridge_store::{GroupCommit, NewAgentSession, NewEvent, Store};
use deskbridge_use_cases::Services;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::agent_sessions::{AgentSessionStore, Lifetimes};
use crate::assets::Assets;
use crate::devices::DeviceDoor;
use crate::help_center::{RefusedProofs, SeenPages};
use crate::pages::Pages;
use crate::texts::Translations;

/// The panel API, for agents' sessions and paired browsers.
pub struct PanelState {
    /// The use cases.
    pub services: Arc<Services>,
    /// Agents' sessions.
    pub sessions: AgentSessionStore,
    /// What the doors for paired browsers share.
    pub devices: DeviceDoor,
    /// Texts by language.
    pub translations: Arc<Translations>,
    /// The server stops: streams end, so that it need not wait for them.
    pub stop: CancellationToken,
}

/// The sidebar's opening.
pub struct SidebarState {
    /// The use cases.
    pub services: Arc<Services>,
    /// Agents' sessions.
    pub sessions: AgentSessionStore,
    /// Opens agents' sessions, many in one commit; false where a token was used before.
    pub admissions: GroupCommit<NewAgentSession, bool>,
    /// Page templates.
    pub pages: Arc<Pages>,
    /// Texts by language.
    pub translations: Arc<Translations>,
}

/// The appliance's events.
pub struct EventState {
    /// The use cases.
    pub services: Arc<Services>,
    /// Stores events, many in one commit.
    pub intake: GroupCommit<Vec<NewEvent>, ()>,
}

/// Monitoring systems.
pub struct IncidentState {
    /// The use cases.
    pub services: Arc<Services>,
    /// The server stops: who waits for a ticket is answered, so that it need not wait for them.
    pub stop: CancellationToken,
}

impl AsRef<Services> for IncidentState {
    fn as_ref(&self) -> &Services {
        &self.services
    }
}

/// Pages for customers, for whoever pairs a browser or opens a recording.
pub struct PageState {
    /// The use cases.
    pub services: Arc<Services>,
    /// Page templates.
    pub pages: Arc<Pages>,
    /// Texts by language.
    pub translations: Arc<Translations>,
    /// The server stops: recordings under way end, so that it need not wait for them.
    pub stop: CancellationToken,
}

/// The customer's button.
pub struct HelpCenterState {
    /// The use cases.
    pub services: Arc<Services>,
    /// Texts by language.
    pub translations: Arc<Translations>,
    /// Proofs that did not hold.
    pub refusals: RefusedProofs,
    /// When the button was last seen where.
    pub seen: Arc<SeenPages>,
}

/// How an administrator puts the button into the Help Center.
pub struct CustomizeState {
    /// The use cases.
    pub services: Arc<Services>,
    /// Page templates.
    pub pages: Arc<Pages>,
    /// Texts by language.
    pub translations: Arc<Translations>,
    /// When the button was last seen where.
    pub seen: Arc<SeenPages>,
}

/// Whether the server can do its work.
pub struct HealthState {
    /// The time.
    pub clock: Clock,
    /// The database.
    pub store: Arc<dyn Store>,
    /// When the worker last looked for events (Unix ms).
    pub worker_looked_at: Arc<AtomicI64>,
    /// Whether the panel was built into this server.
    pub is_panel_built: bool,
}

/// The admin listener.
pub struct AdminState {
    /// The use cases.
    pub services: Arc<Services>,
    /// Figures.
    pub metrics: PrometheusHandle,
}

/// Everything the routers need, put together once.
pub struct Web {
    pub(crate) panel: Arc<PanelState>,
    pub(crate) sidebar: Arc<SidebarState>,
    pub(crate) events: Arc<EventState>,
    pub(crate) incidents: Arc<IncidentState>,
    pub(crate) pages: Arc<PageState>,
    pub(crate) help_center: Arc<HelpCenterState>,
    pub(crate) customize: Arc<CustomizeState>,
    pub(crate) assets: Arc<Assets>,
    pub(crate) health: Arc<HealthState>,
    pub(crate) admin: Arc<AdminState>,
}

impl Web {
    /// Compiles pages, reads embedded files, starts the writing tasks.
    pub fn new(
        services: Arc<Services>,
        lifetimes: Lifetimes,
        worker_looked_at: Arc<AtomicI64>,
        metrics: PrometheusHandle,
        stop: CancellationToken,
    ) -> anyhow::Result<Self> {
        let store = services.store.clone();
        let translations = Arc::new(Translations::load()?);
        let assets = Arc::new(Assets::load(&translations));
        let pages = Arc::new(Pages::new(&assets, translations.clone())?);
        let sessions = AgentSessionStore::new(store.clone(), services.clock.clone(), lifetimes);
        let opening = store.clone();
        let admissions = GroupCommit::start(move |sessions: Vec<NewAgentSession>| {
            let store = opening.clone();
            async move { store.open_agent_sessions(&sessions).await }
        });
        let receiving = store.clone();
        let seen = Arc::<SeenPages>::default();
        let intake = GroupCommit::start(move |events: Vec<Vec<NewEvent>>| {
            let store = receiving.clone();
            async move {
                let callers = events.len();
                store.add_events(&events.concat()).await?;
                Ok(vec![(); callers])
            }
        });
        Ok(Self {
            panel: Arc::new(PanelState {
                devices: DeviceDoor::new(&services.public_url, store.clone())?,
                services: services.clone(),
                sessions: sessions.clone(),
                translations: translations.clone(),
                stop: stop.clone(),
            }),
            sidebar: Arc::new(SidebarState {
                services: services.clone(),
                sessions,
                admissions,
                pages: pages.clone(),
                translations: translations.clone(),
            }),
            events: Arc::new(EventState { services: services.clone(), intake }),
            incidents: Arc::new(IncidentState { services: services.clone(), stop: stop.clone() }),
            help_center: Arc::new(HelpCenterState {
                services: services.clone(),
                translations: translations.clone(),
                refusals: RefusedProofs::default(),
                seen: seen.clone(),
            }),
            customize: Arc::new(CustomizeState {
                services: services.clone(),
                pages: pages.clone(),
                translations: translations.clone(),
                seen,
            }),
            pages: Arc::new(PageState { services: services.clone(), pages, translations, stop }),
            health: Arc::new(HealthState { clock: services.clock.clone(), store, worker_looked_at, is_panel_built: assets.complete() }),
            assets,
            admin: Arc::new(AdminState { services, metrics }),
        })
    }

    /// Whether the panel was built into this server.
    pub fn is_panel_built(&self) -> bool {
        self.health.is_panel_built
    }
}
