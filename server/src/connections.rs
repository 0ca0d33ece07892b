//! The connections as they run: settings resolved, clients built. Rebuilt when a saved change is seen, without a restart.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use ipnet::IpNet;
use moka::future::Cache;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::appliance::{ApplianceClient, ApplianceSettings, Credentials};
use crate::config::{ApplianceSection, AutotaskSection, ConnectionSettings, OsTicketSection, Secret, ZendeskSection};
use crate::security::app_key::AppKey;
use crate::security::seal::MasterKey;
use crate::store::{Store, StoredConnection};
use crate::support::ticket_access::TicketAccess;
use crate::tickets::autotask::{Autotask, AutotaskSettings};
use crate::tickets::osticket::OsTicket;
use crate::tickets::zendesk::{Client, InstallationSettings, Zendesk};
use crate::tickets::{AgentReference, TicketSystem};

/// How long an answer about an agent and a ticket is believed.
const ACCESS_CACHE: Duration = Duration::from_secs(30);
/// How long the installation's settings are believed.
const INSTALLATION_CACHE: Duration = Duration::from_mins(1);

/// A connection, ready to act.
pub struct Connection {
    /// Its settings.
    pub settings: ConnectionSettings,
    /// The appliance's API.
    pub appliance: ApplianceClient,
    /// The ticket system.
    pub tickets: Arc<dyn TicketSystem>,
    /// Set if the ticket system is Zendesk.
    pub zendesk: Option<ZendeskDoor>,
    /// Set if the ticket system is Autotask.
    pub autotask: Option<Arc<Autotask>>,
    /// Who may work on which ticket, remembered shortly.
    pub access: Cache<(AgentReference, String), Arc<TicketAccess>>,
    /// When the appliance was last asked for the panel's sake.
    pub live_asked_at: Mutex<Option<Instant>>,
    event_token: Option<SecretString>,
    event_networks: Vec<IpNet>,
    updated_at: i64,
}

/// What the sidebar's door needs of a Zendesk account.
pub struct ZendeskDoor {
    /// Its section.
    pub settings: ZendeskSection,
    /// The account's origin, with scheme.
    pub origin: String,
    /// Without.
    pub authority: String,
    /// The account.
    pub api: Arc<Zendesk>,
    /// The app's public key.
    pub key: AppKey,
    /// The installation's settings, remembered shortly.
    pub installation: Cache<(), Arc<InstallationSettings>>,
}

/// Why a connection cannot run. The text names the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BuildFault(String);

fn resolved(key: &str, secret: &Secret) -> Result<SecretString, BuildFault> {
    secret.resolve().map_err(|error| BuildFault(format!("{key}: {error}")))
}

fn credentials(section: &ApplianceSection) -> Result<Credentials, BuildFault> {
    match (&section.client_id, &section.client_secret, &section.username, &section.password) {
        (Some(client_id), Some(secret), _, _) => {
            Ok(Credentials::OAuth { client_id: client_id.clone(), client_secret: resolved("appliance.client_secret", secret)? })
        }
        (_, _, Some(username), Some(password)) => {
            Ok(Credentials::Legacy { username: username.clone(), password: resolved("appliance.password", password)? })
        }
        _ => Err(BuildFault("appliance: client_id and client_secret, or username and password".into())),
    }
}

impl Connection {
    /// Builds a connection; nothing is contacted.
    pub fn build(settings: ConnectionSettings, updated_at: i64) -> Result<Self, BuildFault> {
        let section = &settings.appliance;
        let appliance = ApplianceClient::new(ApplianceSettings {
            locale: section.locale.clone(),
            allow_invalid_certificates: section.allow_invalid_certificates,
            use_plain_http: section.use_plain_http,
            credentials_in_body: section.client_in_body,
            ..ApplianceSettings::new(section.host.clone(), credentials(section)?)
        })
        .map_err(|error| BuildFault(format!("appliance: {error}")))?;
        let target_field = settings.panel.target_field.clone();
        let (mut zendesk, mut autotask) = (None, None);
        let tickets: Arc<dyn TicketSystem> = match (&settings.zendesk, &settings.autotask, &settings.osticket) {
            (Some(section), None, None) => zendesk.insert(ZendeskDoor::build(section.clone(), target_field)?).api.clone(),
            (None, Some(section), None) => autotask.insert(Arc::new(build_autotask(section, target_field)?)).clone(),
            (None, None, Some(_)) => Arc::new(OsTicket),
            _ => return Err(BuildFault("exactly one ticket system must be configured".into())),
        };
        Ok(Self {
            appliance,
            tickets,
            zendesk,
            autotask,
            access: Cache::builder().max_capacity(5_000).time_to_live(ACCESS_CACHE).build(),
            live_asked_at: Mutex::new(None),
            event_token: section.event_token.as_ref().map(|token| resolved("appliance.event_token", token)).transpose()?,
            event_networks: section.source_networks(),
            settings,
            updated_at,
        })
    }

    /// The connection's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// The ticket system's name in settings and answers.
    pub fn system_name(&self) -> &'static str {
        let settings = &self.settings;
        match (&settings.autotask, &settings.osticket) {
            (Some(_), _) => "autotask",
            (_, Some(_)) => "osticket",
            _ => "zendesk",
        }
    }

    /// The pages the browser extension stands on: an address with the path the system is installed under, where the settings know it.
    pub fn site(&self) -> Option<String> {
        self.settings.osticket.as_ref().map(OsTicketSection::site)
    }

    /// The appliance's address for browsers: client scripts and chats. Plain HTTP only where the settings say so.
    pub fn appliance_host(&self) -> String {
        let section = &self.settings.appliance;
        if section.use_plain_http { format!("http://{}", section.host) } else { section.host.clone() }
    }

    /// Whether an outbound event from `peer` with `token` is the appliance's: where both are set, both must hold.
    pub fn admits_event(&self, peer: IpAddr, token: Option<&str>) -> Result<(), EventRefusal> {
        if !self.event_networks.is_empty() && !self.event_networks.iter().any(|network| network.contains(&peer.to_canonical())) {
            return Err(EventRefusal::Source);
        }
        match (&self.event_token, token) {
            (None, _) => Ok(()),
            (Some(expected), Some(given)) if bool::from(expected.expose_secret().as_bytes().ct_eq(given.as_bytes())) => Ok(()),
            (Some(_), _) => Err(EventRefusal::Token),
        }
    }
}

/// Why an outbound event is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRefusal {
    /// From an address outside `event_sources`.
    Source,
    /// Without the `event_token`.
    Token,
}

fn build_autotask(section: &AutotaskSection, target_field: Option<String>) -> Result<Autotask, BuildFault> {
    Autotask::new(AutotaskSettings {
        secret: resolved("autotask.secret", &section.secret)?,
        integration_code: resolved("autotask.integration_code", &section.integration_code)?,
        section: section.clone(),
        target_field,
    })
    .map_err(|fault| BuildFault(format!("autotask: {fault}")))
}

impl ZendeskDoor {
    fn build(settings: ZendeskSection, target_field: Option<String>) -> Result<Self, BuildFault> {
        let key = match &settings.public_key_file {
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| BuildFault(format!("zendesk.public_key_file: {error}")))?;
                AppKey::fixed(&pem).map_err(|error| BuildFault(format!("zendesk.public_key_file: {error}")))?
            }
            None => AppKey::default(),
        };
        let client = Client::new(settings.origin(), &settings.username, resolved("zendesk.token", &settings.token)?)
            .map_err(|_| BuildFault("zendesk: no HTTP client; check the machine's TLS certificates".into()))?;
        Ok(Self {
            origin: settings.origin(),
            authority: settings.authority(),
            api: Arc::new(Zendesk::new(settings.clone(), client, target_field)),
            key,
            installation: Cache::builder().max_capacity(1).time_to_live(INSTALLATION_CACHE).build(),
            settings,
        })
    }
}

/// All connections that run.
pub struct Connections {
    master_key: MasterKey,
    current: RwLock<Arc<Vec<Arc<Connection>>>>,
    /// Name and time of saved settings that do not build, so that each is told once.
    broken: Mutex<HashMap<String, i64>>,
}

impl Connections {
    /// None yet.
    pub fn new(master_key: MasterKey) -> Self {
        Self { master_key, current: RwLock::default(), broken: Mutex::default() }
    }

    /// Those that run now.
    pub fn all(&self) -> Arc<Vec<Arc<Connection>>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one of that name.
    pub fn by_name(&self, name: &str) -> Option<Arc<Connection>> {
        self.all().iter().find(|connection| connection.name() == name).cloned()
    }

    /// Reads what is stored; builds what changed, drops what is gone or disabled.
    pub async fn refresh(&self, store: &dyn Store) -> Result<(), crate::store::StoreError> {
        let stored = store.connections().await?;
        let before = self.all();
        let mut now = Vec::with_capacity(stored.len());
        let mut changed = stored.len() != before.len();
        for row in stored {
            if let Some(same) = before.iter().find(|connection| connection.name() == row.name && connection.updated_at == row.updated_at) {
                now.push(same.clone());
                continue;
            }
            changed = true;
            let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
            if broken.get(&row.name) == Some(&row.updated_at) {
                continue;
            }
            match self.build(&row) {
                Ok(Some(connection)) => {
                    broken.remove(&row.name);
                    now.push(Arc::new(connection));
                }
                // Disabled: quiet until it is saved again.
                Ok(None) => drop(broken.insert(row.name, row.updated_at)),
                Err(fault) => {
                    tracing::error!(connection = row.name, %fault, "the connection cannot run; mend its settings and save them again");
                    broken.insert(row.name, row.updated_at);
                }
            }
        }
        if changed {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
        }
        Ok(())
    }

    fn build(&self, row: &StoredConnection) -> Result<Option<Connection>, BuildFault> {
        let settings = open_settings(&self.master_key, row)?;
        if settings.disabled { Ok(None) } else { Connection::build(settings, row.updated_at).map(Some) }
    }
}

/// The settings of a stored connection.
pub fn open_settings(master_key: &MasterKey, row: &StoredConnection) -> Result<ConnectionSettings, BuildFault> {
    let json = master_key.open(&row.name, &row.settings).map_err(|error| BuildFault(error.to_string()))?;
    serde_json::from_slice(&json).map_err(|_| BuildFault("the stored settings are of another version; apply them again".into()))
}

/// A connection's settings as they are stored.
pub fn seal_settings(master_key: &MasterKey, settings: &ConnectionSettings, now_ms: i64) -> StoredConnection {
    let json = zeroize::Zeroizing::new(serde_json::to_vec(settings).unwrap_or_default());
    StoredConnection { name: settings.name.clone(), settings: master_key.seal(&settings.name, &json), updated_at: now_ms }
}
