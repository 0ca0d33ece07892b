//! `[connection.appliance]`: the fields common to all of the vendor's plugins (beyondtrust.md H), under our names.

use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Secret;
use super::fault::Within;

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
    #[serde(default = "EventKind::all")]
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
    #[serde(default = "EventKind::all")]
    pub retry_outbound_events: Vec<EventKind>,
    /// Polled events that are tried again.
    #[serde(default = "default_retry_polling")]
    pub retry_polling_events: Vec<EventKind>,
    /// How a Jump Client is named in client-script URLs.
    #[serde(default)]
    pub jump_action: JumpAction,
}

/// An event a connection can process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Support Session End.
    SessionEnd,
    /// Customer Exit Survey is Completed.
    CustomerSurvey,
    /// Representative Survey is Completed.
    RepresentativeSurvey,
    /// Someone Joins a Support Session.
    SomeoneJoins,
}

impl EventKind {
    fn all() -> Vec<Self> {
        vec![Self::SessionEnd, Self::CustomerSurvey, Self::RepresentativeSurvey, Self::SomeoneJoins]
    }
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

fn default_id() -> String {
    "default".into()
}

fn default_polling_interval() -> u32 {
    5
}

fn default_retry_limit() -> u32 {
    10
}

fn default_retry_polling() -> Vec<EventKind> {
    vec![EventKind::SessionEnd]
}

impl ApplianceSection {
    pub(super) fn check(&self, faults: &mut Within<'_>) {
        if !is_appliance_id(&self.id) {
            faults.add("id", &self.id, "1 to 64 letters, digits, . and _");
        }
        if !is_host(&self.host) {
            faults.add("host", &self.host, "a host name like support.example.com, without https:// or a path");
        }
        let oauth = (self.client_id.is_some(), self.client_secret.is_some());
        let legacy = (self.username.is_some(), self.password.is_some());
        match (oauth, legacy) {
            ((true, true), (false, false)) | ((false, false), (true, true)) => {}
            ((false, false), (false, false)) => {
                faults.add("client_id", "", "client_id and client_secret (or username and password for 16.1 and earlier)");
            }
            ((true, false), _) => faults.add("client_secret", "", "the secret that belongs to client_id"),
            ((false, true), _) => faults.add("client_id", "", "the client that belongs to client_secret"),
            (_, (true, false)) => faults.add("password", "", "the password that belongs to username"),
            (_, (false, true)) => faults.add("username", "", "the user that belongs to password"),
            ((true, true), (true, true)) => {
                faults.add("username", "set", "either client_id and client_secret or username and password, not both");
            }
        }
        if self.use_plain_http && self.client_id.is_some() {
            faults.add("use_plain_http", "true", "false: OAuth always uses TLS");
        }
        for (key, secret) in [("client_secret", &self.client_secret), ("password", &self.password), ("event_token", &self.event_token)] {
            if let Some(secret) = secret
                && !secret.is_stored_mark()
                && let Err(error) = secret.resolve()
            {
                faults.add(key, "", &format!("a readable secret: {error}"));
            }
        }
        for source in &self.event_sources {
            if parse_network(source).is_none() {
                faults.add("event_sources", source, "a network like 203.0.113.0/24 or an address");
            }
        }
        if let Some(other) = self.polling_events.iter().find(|kind| **kind != EventKind::SessionEnd) {
            faults.add("polling_events", format!("{other:?}"), "session_end: no other event can be polled for");
        }
        if let Some(locale) = &self.locale
            && !(2..=20).contains(&locale.len())
        {
            faults.add("locale", locale, "a language like en-us");
        }
    }

    /// The networks events may come from; empty: any.
    pub fn source_networks(&self) -> Vec<IpNet> {
        self.event_sources.iter().filter_map(|source| parse_network(source)).collect()
    }
}

/// Letters, digits, `.` and `_` (seed guide, Appliance Id).
pub fn is_appliance_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_')
}

fn is_host(host: &str) -> bool {
    let Ok(url) = url::Url::parse(&format!("https://{host}")) else { return false };
    let plain = !host.contains(['/', '?', '#', '@', '\\']) && !host.chars().any(char::is_whitespace);
    plain && url.host().is_some() && !host.is_empty()
}

fn parse_network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
