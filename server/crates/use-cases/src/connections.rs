//! The connections: settings resolved, clients built, found by index. Rebuilt when a saved change is seen, without a restart.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};
use std::time::Duration;

use deskbridge_core::finding::Finding;
use deskbridge_core::ids::{ConnectionId, EngineAccount, TenantId};
use deskbridge_core::settings::{ConnectionSettings, EventPolicy, SectionKind, Sections};
use deskbridge_core::time_zone::TimeZone;
use deskbridge_help_desks::zendesk::SidebarApp;
use deskbridge_help_desks::{AgentReference, COMPANIONS, HELP_DESKS, HelpDesk, Surroundings};
use deskbridge_remote_support::{EngineFault, EngineKind, Error as EngineError, EventDoor, EventSource, LinkKey, RemoteSupport, engines};
use deskbridge_security::seal::{MasterKey, SealError};
use deskbridge_store::{ConnectionStamp, ConnectionStore, StoreError, StoredConnection};
use moka::future::Cache;

use crate::api_tokens::SettingsToken;
use crate::live_sessions::Questions;
use crate::ticket_access::TicketAccess;
use crate::{incidents, note};

/// How long an answer about an agent and a ticket is believed.
const ACCESS_CACHE: Duration = Duration::from_secs(30);

/// For so long a ticket's fields are not looked at again.
const FILLED_CACHE: Duration = Duration::from_mins(5);

/// A connection, ready to act.
pub struct Connection {
    /// Never changes.
    pub id: ConnectionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Its settings.
    pub settings: ConnectionSettings,
    /// In which its people read times.
    pub time_zone: TimeZone,
    /// The remote-support system. None: the connection only makes tickets.
    pub engine: Option<Arc<dyn RemoteSupport>>,
    /// The help desk.
    pub help_desk: Arc<dyn HelpDesk>,
    /// Who may work on which ticket, remembered shortly. Made when it is first used: an empty one takes some 60 kB.
    pub access: LazyLock<Cache<(AgentReference, String), Arc<TicketAccess>>>,
    /// Tickets whose fields were filled lately, with the epoch of the values. Made when it is first used, too.
    pub(crate) filled: LazyLock<Cache<(String, i64), ()>>,
}

/// Why a connection cannot run. The text names the key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BuildFault(String);

impl Connection {
    /// The connection's name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether `text` is its name or its id.
    pub fn is_called(&self, text: &str) -> bool {
        self.settings.name == text || self.id.to_string() == text
    }

    /// Which events it processes.
    pub fn policy(&self) -> &EventPolicy {
        static WITHOUT_ENGINE: LazyLock<EventPolicy> = LazyLock::new(EventPolicy::default);
        self.engine.as_ref().map_or(&WITHOUT_ENGINE, |engine| engine.policy())
    }

    /// How its engine tells of events by requests to us.
    pub fn event_door(&self) -> Option<&dyn EventDoor> {
        match self.engine.as_ref()?.event_source() {
            EventSource::Door(door) => Some(door),
            EventSource::Listener(_) | EventSource::Sweep => None,
        }
    }

    /// What of its settings works, but not as they may be understood.
    pub fn remarks(&self) -> Vec<Finding> {
        let reports = &self.settings.reports;
        let notes = note::unfulfilled(&self.help_desk.abilities(), reports);
        let time_zone = reports.out_of_date().map(|advice| Finding::note("time zone", advice));
        let incidents = incidents::unfulfilled(self).map(|remark| Finding::note("incidents", remark));
        time_zone.into_iter().chain(notes.map(|remark| Finding::note("notes", remark))).chain(incidents).collect()
    }

    /// What the help desk may look at besides itself.
    pub fn surroundings<'a>(&'a self, public_url: &'a str) -> Surroundings<'a> {
        Surroundings {
            panel: &self.settings.panel,
            appliance_host: self.engine.as_ref().and_then(|engine| engine.report_page_host()),
            client_scripts: self.engine.as_ref().and_then(|engine| engine.client_scripts()).map(|scripts| (scripts.base, scripts.jump)),
            public_url,
        }
    }
}

/// Builds connections from settings: every kind of help desk and engine there is, and what connections of one account share.
pub struct Builder {
    engines: Vec<Box<dyn EngineKind>>,
}

/// What the key is for that signs links at engines.
const LINKS: &str = "links at remote-support systems";

/// Every section that a `[[connection]]` can have for a system.
pub fn sections() -> &'static Sections {
    static SECTIONS: LazyLock<Sections> = LazyLock::new(|| {
        let help_desks = HELP_DESKS.iter().map(|kind| kind.section);
        let engines: Vec<SectionKind> = engines(&LinkKey::default()).iter().map(|kind| kind.section()).collect();
        Sections::new(engines.into_iter().chain(help_desks).chain(COMPANIONS.iter().copied()))
    });
    &SECTIONS
}

/// The ticket that a session's external key names for one of these connections.
pub fn named_ticket(users: &[Arc<Connection>], key: Option<&str>) -> Option<String> {
    let key = key?.trim();
    users.iter().any(|connection| connection.help_desk.is_ticket_name(key)).then(|| key.to_owned())
}

impl Builder {
    /// One list of engines for a server: it remembers what connections share.
    pub fn new(master_key: &MasterKey) -> Self {
        Self { engines: engines(&master_key.derive(LINKS)) }
    }

    /// The engine's account that the settings name, whether the connection can be built or not.
    pub fn account(&self, settings: &ConnectionSettings) -> Option<EngineAccount> {
        self.engines.iter().find_map(|kind| kind.account(settings))
    }

    /// Builds a connection; nothing is contacted.
    pub fn build(&self, id: ConnectionId, tenant: TenantId, settings: ConnectionSettings) -> Result<Connection, BuildFault> {
        let engine = self.engines.iter().find_map(|kind| kind.build(&settings)).transpose().map_err(BuildFault)?;
        let help_desk = deskbridge_help_desks::build(&settings).map_err(BuildFault)?;
        let time_zone = settings.reports.time_zone().map_err(BuildFault)?;
        let access: fn() -> _ = || Cache::builder().max_capacity(5_000).time_to_live(ACCESS_CACHE).build();
        let filled: fn() -> _ = || Cache::builder().max_capacity(5_000).time_to_live(FILLED_CACHE).build();
        let (access, filled) = (LazyLock::new(access), LazyLock::new(filled));
        Ok(Connection { id, tenant, settings, time_zone, engine, help_desk, access, filled })
    }
}

/// A stored connection, whether it runs or not.
#[derive(Clone)]
struct Known {
    updated_at: i64,
    name: String,
    tenant: TenantId,
    /// What its settings say it uses; none if they name none.
    account: Option<EngineAccount>,
    /// That account's host as earlier versions stored it, if they spelt it otherwise.
    former_host: Option<String>,
    /// Its settings cannot be read, so nobody knows which appliance it uses.
    is_unreadable: bool,
    /// Tokens with which programs call for it, whether it runs or not.
    settings_tokens: Arc<[SettingsToken]>,
    running: Option<Arc<Connection>>,
}

/// All connections at one moment, found by index.
#[derive(Default)]
pub struct Directory {
    known: BTreeMap<ConnectionId, Known>,
    running: Vec<Arc<Connection>>,
    by_name: HashMap<String, Vec<usize>>,
    by_appliance_id: HashMap<String, Vec<usize>>,
    by_account: HashMap<String, Vec<usize>>,
    by_installation: HashMap<(String, String), usize>,
    by_host: HashMap<String, Vec<ConnectionId>>,
    /// By the hash of the secret: which connection's, and which of its tokens.
    by_token: HashMap<[u8; 32], Vec<(ConnectionId, usize)>>,
    help_center_origins: HashSet<String>,
    has_unreadable: bool,
}

impl Directory {
    fn new(known: BTreeMap<ConnectionId, Known>) -> Self {
        let mut directory = Self::default();
        for (id, connection) in &known {
            directory.has_unreadable |= connection.is_unreadable;
            for (index, token) in connection.settings_tokens.iter().enumerate() {
                directory.by_token.entry(token.hash()).or_default().push((*id, index));
            }
            if let Some(account) = &connection.account {
                directory.by_host.entry(account.host.clone()).or_default().push(*id);
            }
            let Some(running) = &connection.running else { continue };
            let index = directory.running.len();
            directory.by_name.entry(running.name().to_owned()).or_default().push(index);
            if let Some(door) = running.event_door() {
                directory.by_appliance_id.entry(door.appliance_id().to_owned()).or_default().push(index);
            }
            if let Some(engine) = &running.engine {
                directory.by_account.entry(engine.account().to_string()).or_default().push(index);
            }
            if let Some(app) = running.help_desk.signed_panel() {
                let expected = app.expected();
                // Of two connections of one installation, the older one.
                directory.by_installation.entry((expected.authority.to_owned(), expected.audience())).or_insert(index);
            }
            if let Some(help_center) = running.help_desk.help_center() {
                directory.help_center_origins.extend(help_center.origins().iter().cloned());
            }
            directory.running.push(running.clone());
        }
        directory.known = known;
        directory
    }

    fn picked<'a>(&'a self, indexes: Option<&'a Vec<usize>>) -> impl Iterator<Item = &'a Arc<Connection>> {
        indexes.into_iter().flatten().filter_map(|index| self.running.get(*index))
    }

    /// Those that run.
    pub fn running(&self) -> &[Arc<Connection>] {
        &self.running
    }

    /// The running connection of that id.
    pub fn by_id(&self, id: ConnectionId) -> Option<&Arc<Connection>> {
        self.known.get(&id)?.running.as_ref()
    }

    /// The running connection of a tenant that is called so, by name or id.
    pub fn called(&self, tenant: &TenantId, text: &str) -> Option<&Arc<Connection>> {
        let by_id = text.parse().ok().and_then(|id| self.by_id(id)).filter(|connection| connection.tenant == *tenant);
        by_id.or_else(|| self.picked(self.by_name.get(text)).find(|connection| connection.tenant == *tenant))
    }

    /// Running connections whose engine's events come with that `?appliance=`.
    pub fn by_appliance_id(&self, id: &str) -> Vec<Arc<Connection>> {
        self.picked(self.by_appliance_id.get(id)).cloned().collect()
    }

    /// Running connections that use that account, by its stored form.
    pub fn by_account(&self, account: &str) -> Vec<Arc<Connection>> {
        self.picked(self.by_account.get(account)).cloned().collect()
    }

    /// Of the running connections that use that account, by its stored form, one for each way to it: their passwords or certificates can
    /// differ, and then one may work where another does not.
    pub(crate) fn ways_to(&self, account: &str) -> Vec<Arc<Connection>> {
        one_for_each_way(self.by_account(account))
    }

    /// Accounts that running connections use, in their stored form.
    pub fn accounts(&self) -> impl Iterator<Item = &str> {
        self.by_account.keys().map(String::as_str)
    }

    /// Whether a running connection uses that account, by its stored form.
    pub fn uses_account(&self, account: &str) -> bool {
        self.by_account.contains_key(account)
    }

    /// The running connection of the app's installation that a token claims to be for.
    pub fn by_installation(&self, issuer: &str, audience: &str) -> Option<(&Arc<Connection>, &SidebarApp)> {
        let index = self.by_installation.get(&(issuer.to_owned(), audience.to_owned()))?;
        let connection = self.running.get(*index)?;
        Some((connection, connection.help_desk.signed_panel()?))
    }

    /// The tokens in the settings whose secret has this SHA-256, each with its connection.
    pub(crate) fn settings_tokens(&self, hash: &[u8; 32]) -> impl Iterator<Item = (ConnectionId, &SettingsToken)> {
        let places = self.by_token.get(hash).into_iter().flatten();
        places.filter_map(|(id, index)| Some((*id, self.known.get(id)?.settings_tokens.get(*index)?)))
    }

    /// Whether a running connection's Help Center has this origin.
    pub fn is_help_center_origin(&self, origin: &str) -> bool {
        self.help_center_origins.contains(origin)
    }

    /// Every connection that uses that host, disabled ones and those that cannot run included: a session there may be any one's.
    pub fn users_of_host(&self, host: &str) -> &[ConnectionId] {
        self.by_host.get(host).map_or(&[], Vec::as_slice)
    }

    /// A tenant's running connections that use that host.
    pub(crate) fn running_of_host(&self, tenant: &TenantId, host: &str) -> Vec<Arc<Connection>> {
        let running = self.users_of_host(host).iter().filter_map(|id| self.by_id(*id));
        running.filter(|connection| connection.tenant == *tenant).cloned().collect()
    }

    /// The one connection that uses that host. None if there are several, or if there may be: the settings of one cannot be read.
    pub fn only_user_of_host(&self, host: &str) -> Option<ConnectionId> {
        match self.users_of_host(host) {
            [only] if !self.has_unreadable => Some(*only),
            _ => None,
        }
    }

    /// The connections of that host for which `wants` holds, and those that do not run: nobody knows whether it holds for these.
    pub(crate) fn may_want(&self, host: &str, wants: impl Fn(&Connection) -> bool) -> Vec<ConnectionId> {
        let may_want = |id: &&ConnectionId| self.by_id(**id).is_none_or(|connection| wants(connection));
        self.users_of_host(host).iter().filter(may_want).copied().collect()
    }

    /// Whether the settings of a connection cannot be read: it may use any host.
    pub(crate) fn has_unreadable(&self) -> bool {
        self.has_unreadable
    }

    /// Running connections that use that account, by its stored form; where none does any more, those that use its host: whoever waits for
    /// the account must not wait for ever because its credentials were exchanged.
    pub fn by_account_or_host(&self, account: &str) -> Vec<Arc<Connection>> {
        let users = self.by_account(account);
        if !users.is_empty() {
            return users;
        }
        let of_host = EngineAccount::stored_host(account).map_or(&[][..], |host| self.users_of_host(host));
        of_host.iter().filter_map(|id| self.by_id(*id).cloned()).collect()
    }

    /// A connection's name, whether it runs or not.
    pub fn name_of(&self, id: ConnectionId) -> Option<&str> {
        self.known.get(&id).map(|known| known.name.as_str())
    }

    /// A stored connection's tenant, whether it runs or not.
    pub fn tenant_of(&self, id: ConnectionId) -> Option<&TenantId> {
        self.known.get(&id).map(|known| &known.tenant)
    }

    /// When a connection's settings were last saved, or found to be good, Unix ms.
    pub fn saved_at(&self, id: ConnectionId) -> i64 {
        self.known.get(&id).map_or(0, |known| known.updated_at)
    }

    /// How many connections there are, whether they run or not.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// One connection for each way to their engines' account.
pub(crate) fn one_for_each_way(mut users: Vec<Arc<Connection>>) -> Vec<Arc<Connection>> {
    let mut ways = HashSet::new();
    users.retain(|connection| connection.engine.as_ref().is_some_and(|engine| ways.insert(engine.way())));
    users
}

/// The first of these connections' engines that answers, with its clock.
///
/// # Errors
/// None does: what may pass rather than what waits for a person.
pub(crate) async fn first_that_answers(users: &[Arc<Connection>]) -> Result<(Arc<dyn RemoteSupport>, Option<i64>), EngineError> {
    let mut failed: Option<EngineError> = None;
    for connection in users {
        let Some(engine) = &connection.engine else { continue };
        match engine.clock().await {
            Ok(clock) => return Ok((engine.clone(), clock)),
            Err(error) if error.is_of_the_way() => {
                tracing::debug!(connection = connection.name(), %error, "the account is asked in another connection's way, if there is one");
                if failed.as_ref().is_none_or(|before| error.is_passing() && !before.is_passing()) {
                    failed = Some(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(|| EngineError::new(EngineFault::Impossible, "no connection uses the account any more")))
}

/// All connections, kept up to date.
pub struct Connections {
    master_key: MasterKey,
    builder: Builder,
    current: RwLock<Arc<Directory>>,
    stamp: Mutex<Option<ConnectionStamp>>,
    /// What engines' accounts are asked for panels' sake.
    pub(crate) live_questions: Questions,
}

impl Connections {
    /// None yet.
    pub fn new(master_key: MasterKey) -> Self {
        Self {
            builder: Builder::new(&master_key),
            master_key,
            current: RwLock::default(),
            stamp: Mutex::default(),
            live_questions: Questions::default(),
        }
    }

    /// Those there are now.
    pub fn current(&self) -> Arc<Directory> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks whether anything was saved since, at the same cost for any number of connections; builds what changed, drops what is gone.
    pub async fn refresh(&self, store: &dyn ConnectionStore) -> Result<(), StoreError> {
        let stamp = store.connection_stamp().await?;
        if *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) == Some(stamp) {
            return Ok(());
        }
        let before = self.current();
        let known: BTreeMap<_, _> = store.connections().await?.into_iter().map(|row| (row.id, self.known(&before, row))).collect();
        // Before anybody looks for what is stored under the account.
        for (id, connection) in &known {
            let is_new = before.known.get(id).is_none_or(|before| before.updated_at != connection.updated_at);
            if let (true, Some(former), Some(account)) = (is_new, &connection.former_host, &connection.account) {
                store.rename_host(former, &account.host).await?;
            }
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Directory::new(known));
        *self.stamp.lock().unwrap_or_else(PoisonError::into_inner) = Some(stamp);
        Ok(())
    }

    fn known(&self, before: &Directory, row: StoredConnection) -> Known {
        if let Some(same) = before.known.get(&row.id).filter(|known| known.updated_at == row.updated_at) {
            return same.clone();
        }
        let last_account = before.known.get(&row.id).and_then(|known| known.account.clone());
        let mut known = Known {
            updated_at: row.updated_at,
            name: row.name.clone(),
            tenant: row.tenant.clone(),
            account: None,
            former_host: None,
            is_unreadable: false,
            settings_tokens: Arc::default(),
            running: None,
        };
        let settings = match open_settings(&self.master_key, &row) {
            Ok(settings) => settings,
            Err(fault) => {
                tracing::error!(connection = row.name, %fault, "the connection cannot run; correct its settings and save them again");
                known.is_unreadable = last_account.is_none();
                known.account = last_account;
                return known;
            }
        };
        known.account = self.builder.account(&settings);
        known.settings_tokens = SettingsToken::of(&settings);
        known.former_host = self.builder.engines.iter().find_map(|kind| kind.former_host(&settings));
        if let Some(advice) = settings.reports.out_of_date() {
            tracing::warn!(connection = row.name, "{advice}");
        }
        let disabled = settings.disabled;
        match self.builder.build(row.id, row.tenant, settings) {
            Ok(connection) => known.running = (!disabled).then(|| Arc::new(connection)),
            Err(fault) if disabled => tracing::debug!(connection = row.name, %fault, "a disabled connection could not run"),
            Err(fault) => {
                tracing::error!(connection = row.name, %fault, "the connection cannot run; correct its settings and save them again");
            }
        }
        known
    }
}

/// The settings of a stored connection.
pub fn open_settings(master_key: &MasterKey, row: &StoredConnection) -> Result<ConnectionSettings, BuildFault> {
    let sealed_for = |name: &str| master_key.open(name, &row.settings);
    // Before connections had ids, settings were sealed for the name.
    let json =
        sealed_for(&row.id.to_string()).or_else(|_| sealed_for(&row.name)).map_err(|error: SealError| BuildFault(error.to_string()))?;
    let mut settings: ConnectionSettings =
        serde_json::from_slice(&json).map_err(|_| BuildFault("the stored settings are of another version; apply them again".into()))?;
    settings.normalise(sections());
    settings.id = Some(row.id);
    Ok(settings)
}

/// A connection's settings as they are stored.
pub fn seal_settings(
    master_key: &MasterKey,
    id: ConnectionId,
    tenant: &TenantId,
    settings: &ConnectionSettings,
    updated_at: i64,
) -> StoredConnection {
    let json = zeroize::Zeroizing::new(serde_json::to_vec(settings).unwrap_or_default());
    StoredConnection {
        id,
        tenant: tenant.clone(),
        name: settings.name.clone(),
        settings: master_key.seal(&id.to_string(), &json),
        disabled: settings.disabled,
        updated_at,
    }
}

#[cfg(test)]
impl Connections {
    /// Opens the stored settings.
    pub(crate) fn master_key(&self) -> &MasterKey {
        &self.master_key
    }

    /// These run, and those are stored without running; for tests.
    pub(crate) fn set(&self, running: &[Arc<Connection>], resting: &[(ConnectionId, EngineAccount)]) {
        let known = |name: String, account, running: Option<Arc<Connection>>| Known {
            updated_at: 0,
            name,
            tenant: TenantId::main(),
            account,
            former_host: None,
            is_unreadable: false,
            settings_tokens: Arc::default(),
            running,
        };
        let account = |connection: &Connection| connection.engine.as_ref().map(|engine| engine.account().clone());
        let running = running.iter().map(|one| (one.id, known(one.name().to_owned(), account(one), Some(one.clone()))));
        let resting = resting.iter().map(|(id, account)| (*id, known("disabled".into(), Some(account.clone()), None)));
        *self.current.write().unwrap() = Arc::new(Directory::new(running.chain(resting).collect()));
    }
}

#[cfg(test)]
mod tests {
    use deskbridge_core::event::{EventKind, Origin};
    use deskbridge_core::settings::Settings;
    use deskbridge_store::NewEvent;
    use uuid::Uuid;

    use super::*;

    /// Events that waited for a host's account while its name was stored as it was typed find their connection.
    #[tokio::test]
    async fn what_waits_under_the_name_as_typed_is_found() {
        let text = "[[connection]]\nname = \"a\"\n[connection.appliance]\nhost = \"Hilfe.müller.de:443\"\nclient_id = \"client\"\n\
                    client_secret = \"s3cret\"\n[connection.osticket]\nurl = \"https://hilfe.example.com\"";
        let settings = Settings::parse(sections(), "test.toml", text, std::iter::empty()).unwrap().connection.remove(0);
        let (store, key) = (deskbridge_store::open("sqlite::memory:").await.unwrap(), MasterKey::ephemeral());
        let (id, tenant) = (ConnectionId::from(Uuid::from_u128(1)), TenantId::main());
        store.save_connection(&seal_settings(&key, id, &tenant, &settings, 1)).await.unwrap();
        let event = NewEvent {
            id: Uuid::from_u128(2),
            tenant,
            account: "hilfe.müller.de/client".into(),
            received_by: None,
            connection: None,
            fingerprint: [1; 32],
            kind: EventKind::SessionEnd,
            lsid: "lsid".into(),
            ticket: None,
            origin: Origin::Outbound,
            received_at: 1,
        };
        store.add_events(&[event]).await.unwrap();

        let connections = Connections::new(key);
        connections.refresh(store.as_ref()).await.unwrap();
        let work = store.slots_with_work(2).await.unwrap().remove(0);
        assert_eq!(work.slot, "hilfe.xn--mller-kva.de/client");
        let event = store.claim_events(&work.slot, Uuid::from_u128(3), 2, 3, 1).await.unwrap().remove(0);
        let users = connections.current().by_account_or_host(&event.account);
        assert_eq!(users.iter().map(|connection| connection.id).collect::<Vec<_>>(), [id]);
    }
}
