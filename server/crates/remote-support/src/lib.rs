//! Remote-support systems ("engines"), plugged in behind one trait. A connection has at most one.
//!
//! An engine does one request when told to; it never retries, and it knows neither tickets nor notes. To add one: a folder, and a line
//! in [`engines`].

pub mod beyondtrust;
mod error;
mod machine;
pub mod meshcentral;
mod pushed;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::{Finding, SetupLink};
use deskbridge_core::ids::{ConnectionId, EngineAccount};
use deskbridge_core::session_report::{ExitSurvey, SessionReport};
use deskbridge_core::settings::{ConnectionSettings, EventPolicy, SectionKind};
use deskbridge_shared::api::JumpMethod;
use zeroize::Zeroizing;

pub use beyondtrust::SessionKey;
pub use deskbridge_shared::client_script::Fault as ArgumentFault;
pub use error::{EngineFault, Error};
pub use machine::{Jump, Launch, LaunchError, LinkId, Machine};
pub use pushed::{Batch, Happened, HelpRequest, Listener, RecordingBody, SignedIn, TakeBatch, What};

/// What an engine can do. The use cases ask before they act, and the panel draws nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineAbilities {
    /// Ways to reach a machine.
    pub jump_methods: &'static [JumpMethod],
    /// Makes keys by which a customer joins.
    pub session_keys: bool,
    /// Tells its machines and their state; a Jump's target is then one of them.
    pub machines: bool,
    /// Keeps recordings that can be asked for.
    pub recordings: bool,
    /// Lets customers start a chat by a link.
    pub chats: bool,
    /// Customers and representatives can answer exit surveys.
    pub surveys: bool,
    /// Its reports can be asked for by time, so that events that never came are made up for.
    pub can_be_swept: bool,
}

/// What ties a session to its ticket: goes along with every key, Jump and chat link.
#[derive(Clone, Copy, Debug)]
pub struct SessionTag<'a> {
    /// The ticket's id, the session's external key.
    pub ticket: &'a str,
    /// The connection. Goes along where the engine has a field for it.
    pub connection: ConnectionId,
}

/// A chat that a customer starts.
#[derive(Clone, Copy, Debug)]
pub struct ChatRequest<'a> {
    /// The issue's code name.
    pub issue: &'a str,
    /// The customer's name, if it is known. Cut where it is longer than the engine takes.
    pub customer_name: Option<&'a str>,
    /// Their company's, likewise.
    pub customer_company: Option<&'a str>,
    /// The ticket.
    pub tag: SessionTag<'a>,
}

/// What a session key is made for.
#[derive(Clone, Copy, Debug)]
pub struct KeyRequest<'a> {
    /// `general`, `team:ID`, `rep_username:NAME` or `issue:CODE`.
    pub queue: &'a str,
    /// How long the key works, in seconds. None: the engine's default.
    pub ttl_seconds: Option<u32>,
    /// The ticket.
    pub tag: SessionTag<'a>,
}

/// Whose exit survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SurveyBy {
    /// The customer's.
    Customer,
    /// The representative's.
    Representative,
}

/// Why a pushed event is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventRefusal {
    /// From an address outside `event_sources`.
    Source,
    /// Without the `event_token`.
    Token,
}

/// How a connection's engine tells of its events by requests to us.
pub trait EventDoor: Send + Sync {
    /// The `?appliance=` its events come with.
    fn appliance_id(&self) -> &str;
    /// Whether an event from `peer` with `token` is the engine's: where the settings name both, both must hold.
    fn admit(&self, peer: IpAddr, token: Option<&str>) -> Result<(), EventRefusal>;
}

/// How we hear of an engine's sessions.
#[derive(Clone, Copy)]
pub enum EventSource<'a> {
    /// It posts to a door of ours.
    Door(&'a dyn EventDoor),
    /// It pushes them over a connection that we open.
    Listener(&'a dyn Listener),
    /// It is only asked.
    Sweep,
}

/// The engine's links and addresses for whoever sets up the other system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientScripts {
    /// Address of the client scripts.
    pub base: String,
    /// Action and fixed parameters of a Jump to a machine by name; what follows is `search_string`.
    pub jump: &'static str,
}

/// A remote-support system, as one account of it.
#[async_trait]
pub trait RemoteSupport: Send + Sync {
    /// Its section in settings.
    fn name(&self) -> &'static str;
    /// What people call it, as it stands in a sentence.
    fn title(&self) -> &'static str;
    /// What it shares with other connections.
    fn account(&self) -> &EngineAccount;
    /// Equal for engines of one account that ask by the same credentials, certificates and the like: what fails for one fails for the other.
    fn way(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>().addr()
    }
    /// What it can do.
    fn abilities(&self) -> EngineAbilities;
    /// Which events the connection processes.
    fn policy(&self) -> &EventPolicy;
    /// How we hear of its sessions.
    fn event_source(&self) -> EventSource<'_>;
    /// The host where people see a session's report page, without scheme.
    fn report_page_host(&self) -> Option<&str>;

    /// Makes a session key.
    async fn create_session_key(&self, _request: &KeyRequest<'_>) -> Result<SessionKey, Error> {
        Err(Error::not_able("session keys"))
    }
    /// The address that starts a session with a machine.
    async fn launch(&self, jump: &Jump<'_>) -> Result<Launch, LaunchError>;
    /// Ends a link that [`Self::launch`] made, and the sessions that it opened. One that has ended already is no error.
    async fn end_link(&self, _link: &LinkId) -> Result<(), Error> {
        Err(Error::not_able("links that can be ended"))
    }
    /// Every machine that the account can reach.
    async fn machines(&self) -> Result<Arc<Vec<Machine>>, Error> {
        Err(Error::not_able("list of machines"))
    }
    /// The address at which a customer starts a chat. Nothing is asked. `None`: the engine has no such chats.
    fn chat_url(&self, _chat: &ChatRequest<'_>) -> Option<Result<String, ArgumentFault>> {
        None
    }
    /// Whether a representative is logged in, remembered for some seconds. `None`: the engine does not tell.
    async fn has_representative(&self) -> Option<bool> {
        None
    }

    /// A session's report. `None`: there is none, or not yet. A report without an end can lag behind it. The report of an ended session
    /// is remembered for a short time. Of one that is too large the events are left out.
    async fn session(&self, lsid: &str) -> Result<Option<Arc<SessionReport>>, Error>;
    /// Sessions that ended within `seconds` from that moment of the engine's clock (Unix seconds) on; 0: until now.
    async fn sessions_ended_since(&self, since: i64, seconds: u32) -> Result<Vec<SessionReport>, Error>;
    /// Only the ids of such sessions, for where their reports together are [`Error::TooLarge`].
    async fn ids_of_sessions_ended_since(&self, since: i64, seconds: u32) -> Result<Vec<String>, Error>;
    /// Sessions that began at or after that moment of the engine's clock (Unix seconds), those in progress included.
    async fn sessions_started_since(&self, since: i64) -> Result<Vec<SessionReport>, Error>;
    /// The exit surveys of one session. `started_at` (Unix seconds): for systems that find surveys by time only.
    async fn surveys_of_session(&self, _by: SurveyBy, _lsid: &str, _started_at: Option<i64>) -> Result<Vec<ExitSurvey>, Error> {
        Ok(Vec::new())
    }
    /// The exit surveys of sessions that began within `seconds` from that moment of the engine's clock (Unix seconds) on; 0: until now.
    async fn surveys_since(&self, _by: SurveyBy, _since: i64, _seconds: u32) -> Result<Vec<ExitSurvey>, Error> {
        Ok(Vec::new())
    }
    /// A session's recording, or the part of it that an HTTP `Range` header names. `None`: there is none, or not any more.
    async fn recording(&self, _lsid: &str, _range: Option<&str>) -> Result<Option<RecordingBody>, Error> {
        Ok(None)
    }
    /// Somebody's request for help, read again. `None`: it is not known any more.
    async fn help_request(&self, _id: &str) -> Result<Option<HelpRequest>, Error> {
        Ok(None)
    }
    /// Whether this connection makes tickets of requests for help.
    fn wants_help_requests(&self) -> bool {
        false
    }
    /// For so long after a request for help further ones of the same machine are added to its ticket.
    fn help_request_window(&self) -> Duration {
        Duration::ZERO
    }
    /// The engine's clock, Unix seconds. `None`: it does not say.
    async fn clock(&self) -> Result<Option<i64>, Error>;
    /// Sets a running session's external key to `ticket`, unless it is another than `seen` by now. Where that cannot be read, nothing is set.
    /// Nothing is done where sessions keep the key they began with.
    async fn set_ticket(&self, _lsid: &str, _seen: Option<&str>, _ticket: &str) -> Result<(), Error> {
        Ok(())
    }
    /// The connection a report names in its field for it. `None`: there is no such field, or it is empty.
    fn connection_in(&self, report: &SessionReport) -> Option<ConnectionId>;

    /// Tries credentials, clock and permissions. `now`: our clock, Unix seconds. Changes nothing.
    async fn check(&self, now: i64) -> Vec<Finding>;
    /// Its client scripts, for links in other systems.
    fn client_scripts(&self) -> Option<ClientScripts> {
        None
    }
    /// What its administrator enters by hand. `public_url`: ours; `ticket_address`: of a ticket, with `{ticket}` in place of its id.
    fn setup_links(&self, _public_url: &str, _ticket_address: Option<&str>) -> Vec<SetupLink> {
        Vec::new()
    }
}

/// The key that signs what ties a session to its ticket, for engines that keep only a text of ours. Another one for each server.
pub type LinkKey = Zeroizing<[u8; 32]>;

/// A kind of engine: what its section is called, and how one is built from it.
pub trait EngineKind: Send + Sync {
    /// Its section.
    fn section(&self) -> SectionKind;
    /// The account the settings name, whether an engine can be built from them or not. `None`: they have no section of this kind.
    fn account(&self, settings: &ConnectionSettings) -> Option<EngineAccount>;
    /// The account's host as earlier versions stored it, if they spelt it otherwise.
    fn former_host(&self, _settings: &ConnectionSettings) -> Option<String> {
        None
    }
    /// Builds it; nothing is contacted. `None`: the connection has no section of this kind. The error names the key at fault.
    fn build(&self, settings: &ConnectionSettings) -> Option<Result<Arc<dyn RemoteSupport>, String>>;
}

/// Every kind of engine there is. One list is to be made for a server: it remembers what connections share.
pub fn engines(link_key: &LinkKey) -> Vec<Box<dyn EngineKind>> {
    vec![Box::new(beyondtrust::BeyondTrustKind::default()), Box::new(meshcentral::MeshCentralKind::new(link_key.clone()))]
}
