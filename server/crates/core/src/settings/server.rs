//! `[server]`: what one server process needs before it can read anything from the store.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Within;
use super::{A_NETWORK, network, outside_origin};

/// Keys an environment variable can override, and what they hold.
pub(super) const KEYS: [(&str, Holds); 12] = [
    ("public_url", Holds::Text),
    ("listen", Holds::Text),
    ("admin_listen", Holds::Text),
    ("trusted_proxies", Holds::List),
    ("database", Holds::Text),
    ("master_key_file", Holds::Text),
    ("report_templates", Holds::Text),
    ("session_idle_minutes", Holds::Number),
    ("session_max_hours", Holds::Number),
    ("keep_events_days", Holds::Number),
    ("keep_sessions_days", Holds::Number),
    ("log_format", Holds::Text),
];

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holds {
    Text,
    Number,
    /// Texts; in an environment variable with commas between them.
    List,
}

/// The server's own settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSection {
    /// The address under which Zendesk, browsers and customers reach this server.
    pub public_url: String,
    /// Address and port of the public listener.
    pub listen: String,
    /// Address and port of the admin listener.
    pub admin_listen: String,
    /// Proxies on other machines, by address or network: each may hold all connections of the public listener.
    pub trusted_proxies: Vec<String>,
    /// `sqlite://PATH` or `postgres://…`.
    pub database: String,
    /// The key that seals stored secrets; made on first start.
    pub master_key_file: PathBuf,
    /// A folder with report templates that replace the built-in ones of the same name.
    pub report_templates: Option<PathBuf>,
    /// An agent's session ends after so many minutes without use.
    #[schemars(range(min = 5, max = 1440))]
    pub session_idle_minutes: u32,
    /// An agent's session ends after so many hours, used or not.
    #[schemars(range(min = 1, max = 72))]
    pub session_max_hours: u32,
    /// Events that are done are kept so many days; dead letters stay.
    #[schemars(range(min = 1, max = 3650))]
    pub keep_events_days: u32,
    /// What is known of support sessions, of what was written about them, and of revoked devices is kept so many days.
    #[schemars(range(min = 30, max = 3650))]
    pub keep_sessions_days: u32,
    /// `text` or `json`.
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for ServerSection {
    fn default() -> Self {
        Self {
            public_url: "http://localhost:8180".into(),
            listen: "0.0.0.0:8180".into(),
            admin_listen: "127.0.0.1:53231".into(),
            trusted_proxies: Vec::new(),
            database: "sqlite://deskbridge.db".into(),
            master_key_file: "deskbridge.key".into(),
            report_templates: None,
            session_idle_minutes: 480,
            session_max_hours: 12,
            keep_events_days: 30,
            keep_sessions_days: 400,
            log_format: LogFormat::Text,
        }
    }
}

impl ServerSection {
    pub(super) fn check(&self, faults: &mut Within<'_>) {
        if let Err(expected) = outside_origin(&self.public_url) {
            faults.add("public_url", &self.public_url, expected);
        }
        for (key, value) in [("listen", &self.listen), ("admin_listen", &self.admin_listen)] {
            if value.parse::<SocketAddr>().is_err() {
                faults.add(key, value, "an address and port like 0.0.0.0:8180");
            }
        }
        for proxy in self.trusted_proxies.iter().filter(|proxy| network(proxy).is_none()) {
            faults.add("trusted_proxies", proxy, A_NETWORK);
        }
        if !["sqlite://", "postgres://", "postgresql://"].iter().any(|scheme| self.database.starts_with(scheme)) {
            // A database URL may hold a password.
            let scheme = self.database.split("://").next().unwrap_or_default();
            faults.add("database", format!("{}…", scheme.chars().take(20).collect::<String>()), "sqlite://PATH or postgres://…");
        }
        if let Some(folder) = &self.report_templates
            && !folder.is_dir()
        {
            faults.add("report_templates", folder.display(), "an existing folder");
        }
    }

    /// The networks of `trusted_proxies`.
    pub fn proxies(&self) -> Vec<IpNet> {
        self.trusted_proxies.iter().filter_map(|proxy| network(proxy)).collect()
    }

    /// `public_url` without a trailing slash.
    pub fn public_origin(&self) -> &str {
        self.public_url.trim_end_matches('/')
    }
}
