//! `[connection.panel]`: what the panel offers.
//!
//! Every switch is optional. For Zendesk the installation's own settings (the seed guide's form) are read as well:
//! what one of the two forbids is forbidden, what neither names has the default, and lists come from the installation where it has one.

use deskbridge_shared::api::{Issue, JumpMethod};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fault::Within;

/// What the panel offers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PanelSection {
    /// Issues a customer can choose, each `code=Name`.
    pub issues: Option<Vec<String>>,
    /// Jumpoints an agent can choose.
    pub jumpoints: Option<Vec<String>>,
    /// Jump Clients. Default true.
    pub allow_jump_client: Option<bool>,
    /// Machines on the agent's own network. Default false.
    pub allow_local_push: Option<bool>,
    /// Machines behind a Jumpoint. Default false.
    pub allow_remote_push: Option<bool>,
    /// RDP through a Jumpoint. Default false.
    pub allow_rdp: Option<bool>,
    /// Shell Jump through a Jumpoint. Default false.
    pub allow_shell_jump: Option<bool>,
    /// Screens of machines from the engine's list. Default true.
    pub allow_desktop: Option<bool>,
    /// Shells on machines from the engine's list. Default true.
    pub allow_terminal: Option<bool>,
    /// Files of machines from the engine's list. Default true.
    pub allow_files: Option<bool>,
    /// The ticket field whose value is the machine; for Zendesk the number of a custom field, or `subject` or `external_id`.
    pub target_field: Option<String>,
    /// Where a session key's customer queues: `general`, `agent`, `team:ID` or `issue:CODE`.
    pub session_key_queue: SessionKeyQueue,
    /// Seconds a session key is valid; none: the appliance's own default.
    #[schemars(range(min = 60, max = 604_800))]
    pub session_key_ttl_seconds: Option<u32>,
    /// Hours a chat link is valid. Default 72.
    #[schemars(range(min = 1, max = 720))]
    pub chat_link_hours: Option<u32>,
}

// (beyondtrust.md B.4)
/// `general`, `agent`, `team:ID` or `issue:CODE`: where the customer of a session key queues.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^(general|agent|(team|issue):[A-Za-z0-9_.-]{1,64})$"))]
pub enum SessionKeyQueue {
    /// Everyone's queue.
    #[default]
    General,
    /// A team's queue, by id.
    Team(String),
    /// An issue's, by code name.
    Issue(String),
    /// The agent's own, by the representative of the name before the `@` of the agent's e-mail address.
    Agent,
}

impl SessionKeyQueue {
    /// Reads the settings' and the API's form.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |value: &str| {
            (!value.is_empty() && value.len() <= 64 && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)))
                .then(|| value.to_owned())
        };
        match text {
            "general" => Some(Self::General),
            "agent" => Some(Self::Agent),
            _ => match text.split_once(':')? {
                ("team", id) => plain(id).map(Self::Team),
                ("issue", code) => plain(code).map(Self::Issue),
                _ => None,
            },
        }
    }
}

impl TryFrom<String> for SessionKeyQueue {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("session_key_queue = “{text}”: expected general, team:ID, issue:CODE or agent"))
    }
}

impl From<SessionKeyQueue> for String {
    fn from(queue: SessionKeyQueue) -> Self {
        match queue {
            SessionKeyQueue::General => "general".into(),
            SessionKeyQueue::Team(id) => format!("team:{id}"),
            SessionKeyQueue::Issue(code) => format!("issue:{code}"),
            SessionKeyQueue::Agent => "agent".into(),
        }
    }
}

impl PanelSection {
    pub(super) fn check(&self, faults: &mut Within<'_>) {
        for issue in self.issues.iter().flatten() {
            if parse_issue(issue).is_none() {
                faults.add("issues", issue, "code=Name, like general_tech=General Technical Issues");
            }
        }
        for jumpoint in self.jumpoints.iter().flatten() {
            if jumpoint.trim().is_empty() || jumpoint.len() > 255 {
                faults.add("jumpoints", jumpoint, "a Jumpoint's name of 1 to 255 characters");
            }
        }
        if let Some(field) = &self.target_field
            && field.trim().is_empty()
        {
            faults.add("target_field", field, "a ticket field: a number, subject or external_id");
        }
    }

    /// The switch of `method`, if set.
    pub fn switch(&self, method: JumpMethod) -> Option<bool> {
        match method {
            JumpMethod::JumpClient => self.allow_jump_client,
            JumpMethod::LocalPush => self.allow_local_push,
            JumpMethod::RemotePush => self.allow_remote_push,
            JumpMethod::Rdp => self.allow_rdp,
            JumpMethod::ShellJump => self.allow_shell_jump,
            JumpMethod::Desktop => self.allow_desktop,
            JumpMethod::Terminal => self.allow_terminal,
            JumpMethod::Files => self.allow_files,
        }
    }
}

/// `code=Name`; spaces around either are not part of it.
pub fn parse_issue(line: &str) -> Option<Issue> {
    let (code, title) = line.split_once('=')?;
    let (code, title) = (code.trim(), title.trim());
    let valid_code =
        (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    (valid_code && !title.is_empty()).then(|| Issue { code_name: code.to_owned(), title: title.to_owned() })
}
