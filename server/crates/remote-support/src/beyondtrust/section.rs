//! `[connection.appliance]`: the fields common to all of the vendor's plugins (beyondtrust.md H), under our names.

use std::time::Duration;

use deskbridge_core::event::EventKind;
use deskbridge_core::ids::EngineAccount;
use deskbridge_core::settings::{A_HOST_NAME, A_NETWORK, EventPolicy, Role, Secret, Section, Within, ascii_host, network};
use deskbridge_shared::client_script;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Limits;

/// How to reach an appliance and what to do with its events.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplianceSection {
    /// The `?appliance=` of the outbound event URL: letters, digits, `.` and `_`.
    #[serde(default = "default_id")]
    pub id: String,
    /// Host name, with a port if it is not the usual one. No scheme.
    pub host: String,
    /// OAuth client of the API account (16.2.1 and later).
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// Send the OAuth client in the body of the token request, for appliances that refuse it in the header.
    #[serde(default)]
    pub client_in_body: bool,
    /// API user (16.1 and earlier).
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// Language of values in reports.
    pub locale: Option<String>,
    /// Accept any certificate. Not for production.
    #[serde(default)]
    pub allow_invalid_certificates: bool,
    /// Plain HTTP; refused together with OAuth.
    #[serde(default)]
    pub use_plain_http: bool,
    /// Must be in the event URL as `token=`.
    pub event_token: Option<Secret>,
    /// Networks or addresses events may come from; none: any.
    #[serde(default)]
    pub event_sources: Vec<String>,
    /// Which outbound events are processed.
    #[serde(default = "EventKind::all_in_settings")]
    pub outbound_events: Vec<EventKind>,
    /// Which events are polled for; only `session_end` can be.
    #[serde(default)]
    pub polling_events: Vec<EventKind>,
    /// Minutes between polls.
    #[serde(default = "default_polling_interval")]
    #[schemars(range(min = 1, max = 1440))]
    pub polling_interval_minutes: u32,
    /// How often a failed event is tried again before it becomes a dead letter.
    #[serde(default = "default_retry_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub retry_attempt_limit: u32,
    /// Outbound events that are tried again.
    #[serde(default = "EventKind::all_in_settings")]
    pub retry_outbound_events: Vec<EventKind>,
    /// Polled events that are tried again.
    #[serde(default = "default_retry_polling")]
    pub retry_polling_events: Vec<EventKind>,
    /// Calls a second by this API account, all our servers and connections together. The appliance allows 20, which everything else that
    /// uses the account shares.
    #[serde(default = "default_calls_per_second")]
    #[schemars(range(min = 1, max = 1000))]
    pub calls_per_second: u32,
    /// Code name of a second custom session field, made on the appliance, that holds the connection's id. With it, sessions of several
    /// connections of one appliance are told apart for certain.
    pub connection_field: Option<String>,
    /// How a Jump Client is named in client-script URLs.
    #[serde(default)]
    pub jump_action: JumpAction,
}

/// Which client-script action starts a Jump Client session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JumpAction {
    /// `start_jump_item_session` with `jump.method=pinned`.
    #[default]
    JumpItem,
    /// `start_pinned_client_session`, for old appliances.
    PinnedClient,
}

impl JumpAction {
    /// The action's query, up to the machine's name.
    pub(super) fn script_action(self) -> &'static str {
        match self {
            Self::JumpItem => "start_jump_item_session&jump.method=pinned",
            Self::PinnedClient => "start_pinned_client_session",
        }
    }
}

impl From<JumpAction> for client_script::JumpAction {
    fn from(action: JumpAction) -> Self {
        match action {
            JumpAction::JumpItem => Self::JumpItem,
            JumpAction::PinnedClient => Self::PinnedClient,
        }
    }
}

fn default_id() -> String {
    "default".into()
}

fn default_polling_interval() -> u32 {
    5
}

fn default_calls_per_second() -> u32 {
    Limits::default().per_second
}

fn default_retry_limit() -> u32 {
    10
}

fn default_retry_polling() -> Vec<EventKind> {
    vec![EventKind::SessionEnd]
}

impl Section for ApplianceSection {
    const NAME: &'static str = "appliance";
    const ROLE: Role = Role::RemoteSupport;
    const SECRETS: &'static [&'static str] = &["client_secret", "password", "event_token"];

    fn check(&self, faults: &mut Within<'_>) {
        if !is_appliance_id(&self.id) {
            faults.add("id", &self.id, "1 to 64 letters, digits, . and _");
        }
        if !is_host(&self.host) {
            let expected = "a host name like support.example.com, without https:// or a path";
            let is_name = !self.host.contains(['/', '@', '?', '#', '\\']);
            faults.add("host", &self.host, if is_name && ascii_host(&self.host).is_none() { A_HOST_NAME } else { expected });
        }
        faults.one_pair(
            [("client_id", self.client_id.is_some()), ("client_secret", self.client_secret.is_some())],
            [("username", self.username.is_some()), ("password", self.password.is_some())],
            "client_id and client_secret (or username and password for 16.1 and earlier)",
        );
        if self.use_plain_http && self.client_id.is_some() {
            faults.add("use_plain_http", "true", "false: OAuth always uses TLS");
        }
        for (key, secret) in [("client_secret", &self.client_secret), ("password", &self.password), ("event_token", &self.event_token)] {
            faults.readable_secret(key, secret.as_ref());
        }
        for source in &self.event_sources {
            if network(source).is_none() {
                faults.add("event_sources", source, A_NETWORK);
            }
        }
        if let Some(other) = self.polling_events.iter().find(|kind| **kind != EventKind::SessionEnd) {
            faults.add("polling_events", other.as_str(), "session_end: no other event can be polled for");
        }
        if let Some(locale) = &self.locale
            && !(2..=20).contains(&locale.len())
        {
            faults.add("locale", locale, "a language like en-us");
        }
        if let Some(field) = &self.connection_field
            && (!is_code_name(field) || field == "external_key")
        {
            faults.add(
                "connection_field",
                field,
                "the code name of a custom session field: 1 to 64 letters, digits, - and _, not external_key",
            );
        }
    }

    fn identity(&self) -> Vec<String> {
        vec![self.account().host]
    }
}

impl ApplianceSection {
    /// The host as browsers write it: a name with letters beyond ASCII in ASCII.
    pub(super) fn ascii_host(&self) -> String {
        ascii_host(&self.host).unwrap_or_else(|| self.host.clone())
    }

    /// What connections share that use the same API account of the same appliance.
    pub fn account(&self) -> EngineAccount {
        let host = self.stored_host(&self.ascii_host());
        EngineAccount { host, account: self.client_id.clone().or_else(|| self.username.clone()).unwrap_or_default() }
    }

    /// The account's host as it was stored before names with letters beyond ASCII were brought into ASCII; none if it is the same.
    pub(super) fn former_host(&self) -> Option<String> {
        let former = self.stored_host(&self.host);
        (former != self.account().host).then_some(former)
    }

    fn stored_host(&self, host: &str) -> String {
        let host = host.to_ascii_lowercase();
        host.strip_suffix(if self.use_plain_http { ":80" } else { ":443" }).unwrap_or(&host).to_owned()
    }

    /// Which events are processed, and how often they are tried.
    pub fn policy(&self) -> EventPolicy {
        EventPolicy {
            outbound: self.outbound_events.clone(),
            polling: self.polling_events.clone(),
            polling_interval: Duration::from_secs(u64::from(self.polling_interval_minutes) * 60),
            retry_attempt_limit: self.retry_attempt_limit,
            retry_outbound: self.retry_outbound_events.clone(),
            retry_polling: self.retry_polling_events.clone(),
        }
    }

    /// Where the appliance posts its events.
    pub(super) fn event_url(&self, public_url: &str) -> String {
        let mut query = Vec::new();
        if self.id != default_id() {
            query.push(format!("appliance={}", self.id));
        }
        if self.event_token.is_some() {
            query.push("token=<event_token>".to_owned());
        }
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{public_url}{}{mark}{}", deskbridge_shared::routes::APPLIANCE_EVENTS, query.join("&"))
    }

    /// The networks events may come from; empty: any.
    pub fn source_networks(&self) -> Vec<IpNet> {
        self.event_sources.iter().filter_map(|source| network(source)).collect()
    }
}

/// Letters, digits, `.` and `_` (seed guide, Appliance Id).
pub fn is_appliance_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_')
}

/// (beyondtrust.md B.6)
fn is_code_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_host(host: &str) -> bool {
    let Ok(url) = url::Url::parse(&format!("https://{host}")) else { return false };
    let plain = !host.contains(['/', '?', '#', '@', '\\']) && !host.chars().any(char::is_whitespace);
    plain && url.host().is_some() && ascii_host(host).is_some()
}
