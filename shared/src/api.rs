//! The panel API's bodies (docs/panel-api.md). Times are RFC 3339 UTC text; `connection` and `ticket` are always text.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

/// Header in which the sidebar's page says whose session it had, as the page itself names it (`owner`): beside a bearer that has ended, a
/// cookie counts that names another session of the same owner.
pub const SESSION_OWNER_HEADER: &str = "Deskbridge-Session-Owner";
/// The server answers within this many milliseconds, if only to say who behind it did not.
pub const ANSWER_DEADLINE_MS: u32 = 90_000;
/// The panel takes the server for unreachable after this many milliseconds: not before the server has had its time and the answer its way.
pub const PANEL_PATIENCE_MS: u32 = ANSWER_DEADLINE_MS + 10_000;

/// For so many milliseconds a browser has a ticket for a note that its page writes; so long one that nobody has seen may still come.
pub const NOTE_LEASE_MS: u32 = 180_000;

/// A way to reach a machine. The names are the API's; the settings' switches are `allow_` + the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum JumpMethod {
    /// Jump Client ("pinned client" in the seed guides).
    JumpClient,
    /// Push and start on the agent's own network.
    LocalPush,
    /// Push and start through a Jumpoint.
    RemotePush,
    /// Remote Desktop Protocol through a Jumpoint.
    Rdp,
    /// Shell Jump (SSH or Telnet) through a Jumpoint.
    ShellJump,
    /// The screen of a machine from the engine's list.
    Desktop,
    /// A shell on a machine from the engine's list.
    Terminal,
    /// The files of a machine from the engine's list.
    Files,
}

impl JumpMethod {
    /// Those of a BeyondTrust appliance, in the order in which the panel offers them.
    pub const JUMPS: [Self; 5] = [Self::JumpClient, Self::LocalPush, Self::RemotePush, Self::Rdp, Self::ShellJump];

    /// In the order in which the panel offers them.
    pub const ALL: [Self; 8] =
        [Self::JumpClient, Self::LocalPush, Self::RemotePush, Self::Rdp, Self::ShellJump, Self::Desktop, Self::Terminal, Self::Files];

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JumpClient => "jump_client",
            Self::LocalPush => "local_push",
            Self::RemotePush => "remote_push",
            Self::Rdp => "rdp",
            Self::ShellJump => "shell_jump",
            Self::Desktop => "desktop",
            Self::Terminal => "terminal",
            Self::Files => "files",
        }
    }

    /// The method of that API name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Whether the appliance reaches the target through a Jumpoint, so that one must be configured (Zendesk seed guide, "Configure the App").
    pub const fn needs_jumpoint(self) -> bool {
        matches!(self, Self::RemotePush | Self::Rdp | Self::ShellJump)
    }

    /// Whether the target is the id of a machine from the engine's list (`GET /api/v1/machines`).
    pub const fn needs_machine(self) -> bool {
        matches!(self, Self::Desktop | Self::Terminal | Self::Files)
    }
}

/// An issue a customer can choose, as `code=Name` in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Issue {
    /// The issue's code name on the appliance.
    pub code_name: String,
    /// What people read.
    pub title: String,
}

/// `GET /api/v1/panel`, less the texts (a map from name to text, added by the server).
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PanelModel {
    /// The connection's name.
    pub connection: String,
    /// The ticket's id.
    pub ticket: String,
    /// Allowed Jump methods, in the order in which they are offered.
    pub methods: Vec<JumpMethod>,
    /// Jumpoints to choose from; the first is preselected.
    pub jumpoints: Vec<String>,
    /// Issues to choose from for a chat link; none: no chat link.
    pub issues: Vec<Issue>,
    /// The machine of this ticket, from the configured ticket field.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub target: Option<String>,
    /// The language of the texts.
    pub locale: String,
    /// Address of the page "Customize Help Center"; only for administrators of an account whose customers can have chats.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    #[cfg_attr(feature = "openapi", schema(format = "uri"))]
    pub help_center_page: Option<String>,
    /// Whether session keys can be made.
    #[cfg_attr(feature = "serde", serde(default = "yes"))]
    pub session_keys: bool,
    /// Whether the engine lists its machines: then one of them is chosen, and no target is typed.
    #[cfg_attr(feature = "serde", serde(default))]
    pub machines: bool,
}

/// A server that does not say whether it makes session keys makes them.
#[cfg(feature = "serde")]
const fn yes() -> bool {
    true
}

/// Answer of `POST /api/v1/sessions/key`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionKey {
    /// Seven characters, read out on the phone.
    pub short_key: String,
    /// The link that starts the session.
    #[cfg_attr(feature = "openapi", schema(format = "uri"))]
    pub key_url: String,
    /// Subject of an invitation.
    pub mail_subject: String,
    /// Text of an invitation; holds the link.
    pub mail_body: String,
    /// RFC 3339 UTC; `null` where an old appliance does not tell.
    #[cfg_attr(feature = "openapi", schema(required, format = "date-time"))]
    pub expires_at: Option<String>,
}

/// Body of `POST /api/v1/sessions/jump`, less the ticket reference. Which fields a method takes: `client_script`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JumpRequest {
    /// How.
    pub method: JumpMethod,
    /// Host name or address; for a Jump Client search text; for a machine from the engine's list its id.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 255, pattern = r"\S"))]
    pub target: String,
    /// Jumpoint name; one of the panel's.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 255, pattern = r"\S"))]
    pub jumpoint: Option<String>,
    /// RDP and Shell Jump.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 255, pattern = r"\S"))]
    pub username: Option<String>,
    /// Shell Jump; 1 to 65535, default 22.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 65535))]
    pub port: Option<u16>,
    /// Shell Jump: `ssh` or `telnet`.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(schema_with = schemas::protocol))]
    pub protocol: Option<String>,
    /// Shell Jump: `xterm` or `vt100`.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(schema_with = schemas::terminal))]
    pub terminal: Option<String>,
    /// RDP: `low`, `performance`, `performance_quality` or `quality`.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(schema_with = schemas::quality))]
    pub quality: Option<String>,
    /// RDP: `primary_display`, `all_displays` or `<width>x<height>`.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(pattern = "^(primary_display|all_displays|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$"))]
    pub display_size: Option<String>,
    /// RDP: connect to the console session.
    #[cfg_attr(feature = "serde", serde(default))]
    pub console: Option<bool>,
}

impl JumpRequest {
    /// A Jump with every option left to the appliance.
    pub fn new(method: JumpMethod, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            jumpoint: None,
            username: None,
            port: None,
            protocol: None,
            terminal: None,
            quality: None,
            display_size: None,
            console: None,
        }
    }
}

/// Answer of `POST /api/v1/sessions/jump`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JumpLaunch {
    /// The client-script URL or the link to the machine; opened by the agent's browser.
    #[cfg_attr(feature = "openapi", schema(format = "uri"))]
    pub launch_url: String,
    /// RFC 3339 UTC; `null`: it does not expire.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(required, format = "date-time"))]
    pub expires_at: Option<String>,
    /// The link's id, by which it can be ended; `null`: there is nothing to end.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub link: Option<String>,
}

/// Answer of `GET /api/v1/machines`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MachineList {
    /// At most 50: the suggested ones first, then by state and name.
    pub machines: Vec<Machine>,
    /// There are more than these: a search finds them.
    pub more: bool,
    /// The ticket's links that are still good, whatever was searched for; the latest last.
    pub links: Vec<MachineLink>,
}

/// Whether a machine can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum MachineState {
    /// It is, and nobody is in a session with it.
    Online,
    /// It is, and somebody is in a session with it.
    InUse,
    /// It is not.
    Offline,
    /// The account has it no more, and there is a link to it.
    Unavailable,
}

impl MachineState {
    /// In the order in which machines are listed.
    pub const ALL: [Self; 4] = [Self::Online, Self::InUse, Self::Offline, Self::Unavailable];

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::InUse => "in_use",
            Self::Offline => "offline",
            Self::Unavailable => "unavailable",
        }
    }

    /// The state of that API name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A machine of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Machine {
    /// The engine's id of the machine; the `target` of a session with it.
    pub id: String,
    /// What people read.
    pub name: String,
    /// Whether it can be reached.
    pub state: MachineState,
    /// Who is signed in at it.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub person: Option<String>,
    /// Whether it is likely the ticket's: the ticket names it, or it was used for this ticket before.
    pub suggested: bool,
}

/// A link to a machine that was made for the ticket and is still good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MachineLink {
    /// The link's id, by which it is ended.
    pub id: String,
    /// The machine's id.
    pub machine: String,
    /// The machine's name when the link was made.
    pub machine_name: String,
    /// The kind of session it opens.
    pub method: JumpMethod,
    /// The name of the agent who made it.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub agent: Option<String>,
    /// RFC 3339 UTC; `null`: it does not expire.
    #[cfg_attr(feature = "openapi", schema(required, format = "date-time"))]
    pub expires_at: Option<String>,
}

/// Answer of `POST /api/v1/links/end`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LinkEnded {}

/// Answer of `POST /api/v1/sessions/recording`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordingLink {
    /// Where the recording is for the next five minutes.
    #[cfg_attr(feature = "openapi", schema(format = "uri"))]
    pub url: String,
}

/// Answer of `POST /api/v1/sessions/chat-link`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChatLink {
    /// The signed link for the customer.
    #[cfg_attr(feature = "openapi", schema(format = "uri"))]
    pub url: String,
    /// RFC 3339 UTC.
    #[cfg_attr(feature = "openapi", schema(format = "date-time"))]
    pub expires_at: String,
}

/// Answer of `POST /api/v1/sessions/record`: a note for the page to put onto the ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PageRecord {
    /// One line.
    pub title: String,
    /// With the marker as its last line.
    pub html: String,
    /// The same as plain text, for a page whose editor takes no HTML.
    pub text: String,
    /// Found again by this text.
    pub marker: String,
    /// Stands in the title, and tells of the note even where its text was cut.
    pub title_marker: String,
    /// It stands on the ticket already.
    pub recorded: bool,
    /// The ticket is this browser's for its note: under that name, until the page says what became of it. Empty: it is recorded.
    pub lease: String,
    /// A page that has not sent it within so many seconds must ask for it again.
    pub send_within_seconds: u64,
}

/// Answer of `POST /api/v1/sessions/recorded`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Recorded {
    /// The session is one whose record stands on the ticket.
    pub recorded: bool,
}

/// Answer of `GET /api/v1/sessions`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionList {
    /// The ticket's support sessions, the latest first.
    pub sessions: Vec<LiveSession>,
}

/// Where a support session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum SessionState {
    /// The customer is there, no representative yet.
    Waiting,
    /// A representative is in it.
    Active,
    /// Over; its record is not on the ticket yet.
    Ended,
    /// Its record stands on the ticket.
    Recorded,
}

impl SessionState {
    /// In the order a session goes through them.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Active, Self::Ended, Self::Recorded];

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Ended => "ended",
            Self::Recorded => "recorded",
        }
    }

    /// The state of that API name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A support session of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LiveSession {
    /// The id of the session, 32 hexadecimal characters.
    pub lsid: String,
    /// Where it stands.
    pub state: SessionState,
    /// Display name of the primary representative.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub representative: Option<String>,
    /// Name of the primary customer.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub customer: Option<String>,
    /// RFC 3339 UTC.
    #[cfg_attr(feature = "openapi", schema(required, format = "date-time"))]
    pub started_at: Option<String>,
    /// RFC 3339 UTC.
    #[cfg_attr(feature = "openapi", schema(required, format = "date-time"))]
    pub ended_at: Option<String>,
    /// The name of the machine, where the engine's sessions are with one.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub machine: Option<String>,
    /// What kind of session: `desktop`, `terminal`, `files`, `chat` or `other`; `null` where the engine has one kind.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub kind: Option<String>,
    /// Whether the engine keeps a recording of it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub recording: bool,
}

/// Schemas of fields with a few values, which stand in `client_script`.
#[cfg(feature = "openapi")]
mod schemas {
    use utoipa::openapi::{Object, ObjectBuilder, Type, schema::SchemaType};

    use crate::client_script::{PROTOCOLS, QUALITIES, TERMINALS};

    pub(super) fn protocol() -> Object {
        choice("Shell Jump.", PROTOCOLS)
    }

    pub(super) fn terminal() -> Object {
        choice("Shell Jump.", TERMINALS)
    }

    pub(super) fn quality() -> Object {
        choice("RDP.", QUALITIES)
    }

    /// One of these names, or `null`.
    fn choice(description: &str, names: &[&'static str]) -> Object {
        let values = names.iter().copied().map(Some).chain([None]);
        let types = SchemaType::from_iter([Type::String, Type::Null]);
        ObjectBuilder::new().schema_type(types).description(Some(description)).enum_values(Some(values)).build()
    }
}
