//! `[connection.meshcentral]`: a MeshCentral server and the account we use on it.

use std::path::PathBuf;
use std::time::Duration;

use deskbridge_core::event::EventKind;
use deskbridge_core::ids::EngineAccount;
use deskbridge_core::settings::{EventPolicy, Role, Secret, Section, Within};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// How to reach a MeshCentral server, and what links to its machines are like.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeshCentralSection {
    /// Its address, such as `https://mesh.example.com/`; with the path of a domain, where it has several.
    pub url: String,
    /// User of a login token (`~t:…`), or of an account.
    pub user: String,
    /// The token's password.
    pub password: Secret,
    /// A file with the certificates (PEM) that vouch for the server's, beside those the machine knows.
    pub ca_file: Option<PathBuf>,
    /// Minutes for which a link to a machine can be used.
    #[serde(default = "default_link_minutes")]
    #[schemars(range(min = 1, max = 1440))]
    pub link_minutes: u32,
    /// What the person at the machine is told or asked when a session begins. MeshCentral adds what the server, the group or the machine asks for.
    #[serde(default)]
    pub consent: Vec<Consent>,
    /// Seconds a report waits for the session's recording. MeshCentral tells of it five seconds after the end.
    #[serde(default = "default_recording_wait")]
    #[schemars(range(min = 0, max = 120))]
    pub recording_wait_seconds: u32,
    /// Requests for help from MeshCentral Assistant become tickets, where the help desk creates tickets.
    #[serde(default = "yes")]
    pub help_requests: bool,
    /// For so many minutes after a request for help, further ones of the same machine are added to its ticket as internal notes; 0: each makes a ticket.
    #[serde(default = "default_help_request_minutes")]
    #[schemars(range(min = 0, max = 1440))]
    pub help_request_minutes: u32,
    /// Agents open machines in MeshCentral's own pages, as themselves, and no link is made. Each needs an account there.
    #[serde(default)]
    pub agents_sign_in: bool,
    /// Minutes between two looks for sessions that were missed.
    #[serde(default = "default_polling_interval")]
    #[schemars(range(min = 1, max = 1440))]
    pub polling_interval_minutes: u32,
    /// How often a failed event is tried again before it becomes a dead letter.
    #[serde(default = "default_retry_limit")]
    #[schemars(range(min = 0, max = 100))]
    pub retry_attempt_limit: u32,
}

/// What the person at the machine is told or asked (MeshCentral's `consent` flags, meshcentral.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// Told that somebody sees the screen.
    DesktopNotify,
    /// Asked whether somebody may.
    DesktopPrompt,
    /// Told of a terminal.
    TerminalNotify,
    /// Asked for a terminal.
    TerminalPrompt,
    /// Told that somebody sees the files.
    FilesNotify,
    /// Asked whether somebody may.
    FilesPrompt,
    /// A bar on the screen that can end the session.
    PrivacyBar,
}

impl Consent {
    const fn bit(self) -> u32 {
        match self {
            Self::DesktopNotify => 1,
            Self::TerminalNotify => 2,
            Self::FilesNotify => 4,
            Self::DesktopPrompt => 8,
            Self::TerminalPrompt => 16,
            Self::FilesPrompt => 32,
            Self::PrivacyBar => 64,
        }
    }
}

fn default_link_minutes() -> u32 {
    60
}

fn default_recording_wait() -> u32 {
    10
}

fn default_help_request_minutes() -> u32 {
    30
}

fn default_polling_interval() -> u32 {
    5
}

fn default_retry_limit() -> u32 {
    10
}

fn yes() -> bool {
    true
}

impl Section for MeshCentralSection {
    const NAME: &'static str = "meshcentral";
    const ROLE: Role = Role::RemoteSupport;
    const SECRETS: &'static [&'static str] = &["password"];

    fn check(&self, faults: &mut Within<'_>) {
        if let Err(expected) = self.address() {
            faults.add("url", &self.url, expected);
        }
        if self.user.trim().is_empty() {
            faults.add(
                "user",
                &self.user,
                "the user name of a login token (My Account > Account security > Manage login tokens), like ~t:A24mWxWgqsdJD87E",
            );
        }
        faults.readable_secret("password", Some(&self.password));
        if let Some(file) = &self.ca_file
            && let Err(error) = std::fs::read(file)
        {
            faults.add("ca_file", file.display(), &format!("a readable file with certificates (PEM); it cannot be read: {}", error.kind()));
        }
        if let Some(twice) = self.consent.iter().enumerate().find(|(at, flag)| self.consent[..*at].contains(flag)) {
            faults.add("consent", format!("{:?}", twice.1), "each flag once");
        }
    }

    fn identity(&self) -> Vec<String> {
        vec![self.account().host]
    }
}

impl MeshCentralSection {
    /// The address everything starts from; its path ends with a slash.
    pub(super) fn address(&self) -> Result<Url, &'static str> {
        const EXPECTED: &str = "an address like https://mesh.example.com/, without a user, a query or a fragment";
        let mut url = Url::parse(self.url.trim()).map_err(|_| EXPECTED)?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "https" || url.host_str().is_none_or(str::is_empty) || !is_plain {
            return Err(EXPECTED);
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(url)
    }

    /// What connections share that use the same account of the same server.
    pub(super) fn account(&self) -> EngineAccount {
        let host = self.address().ok().map(|url| {
            let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
            url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
        });
        // Each domain of a server has users of its own.
        let path = self.address().map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
        EngineAccount { host: host.unwrap_or_else(|| self.url.clone()), account: format!("{}{path}", self.user.trim()) }
    }

    /// MeshCentral's `consent` number.
    pub(super) fn consent_bits(&self) -> u32 {
        self.consent.iter().fold(0, |bits, flag| bits | flag.bit())
    }

    /// Which events are processed, and how often they are tried.
    pub(super) fn policy(&self) -> EventPolicy {
        EventPolicy {
            polling: vec![EventKind::SessionEnd],
            polling_interval: Duration::from_secs(u64::from(self.polling_interval_minutes) * 60),
            retry_attempt_limit: self.retry_attempt_limit,
            ..EventPolicy::default()
        }
    }
}
