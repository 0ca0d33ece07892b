//! `[server]`: what one server process needs before it can read anything from the store.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Within;
use super::outside_origin;

/// Keys an environment variable can override, and whether they are numbers.
pub(super) const KEYS: [(&str, bool); 11] = [
    ("public_url", false),
    ("listen", false),
    ("admin_listen", false),
    ("database", false),
    ("master_key_file", false),
    ("report_templates", false),
    ("session_idle_minutes", true),
    ("session_max_hours", true),
    ("keep_events_days", true),
    ("keep_sessions_days", true),
    ("log_format", false),
];

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

    /// `public_url` without a trailing slash.
    pub fn public_origin(&self) -> &str {
        self.public_url.trim_end_matches('/')
    }
}
