//! Help desks, plugged in behind one trait: what they can do, and a folder each.
//!
//! A connector does one request when told to; it never retries and never remembers what it wrote (delivery does). What a system cannot
//! do, its [`Abilities`] say; the use cases ask before they act. To add one: a folder, and a line in [`HELP_DESKS`].

pub mod allowed_actions;
pub mod autotask;
pub mod github;
pub mod gitlab;
pub mod incident_values;
pub mod jira;
pub mod osticket;
pub mod request_tracker;
pub mod zendesk;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::finding::{Finding, SetupLink};
use deskbridge_core::incident::Incident;
use deskbridge_core::note::Attachment;
use deskbridge_core::settings::{ConnectionSettings, PanelSection, Section, SectionKind};
use deskbridge_documents::{Document, NoteForm};
use deskbridge_http_client::refusals::Resting;
use deskbridge_shared::api::{Issue, JumpMethod};
use serde_json::{Map, Value};
use uuid::Uuid;

use self::autotask::{Autotask, AutotaskSection};
use self::github::{GitHub, GitHubSection};
use self::gitlab::{GitLab, GitLabSection};
use self::jira::{Jira, JiraSection};
use self::osticket::{OsTicket, OsTicketSection};
use self::request_tracker::{RequestTracker, RequestTrackerSection};
use self::zendesk::{HelpCenterSection, Zendesk, ZendeskSection};

/// A ticket as far as the use cases look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// Its id, in the system's own form.
    pub id: String,
    /// Takes no more notes.
    pub closed: bool,
    /// The machine: from the configured field, or the ticket's configuration item.
    pub target: Option<String>,
    /// Ids of the tickets that were merged into this one, where the system shows this one under their numbers.
    pub merged: Vec<String>,
}

impl Ticket {
    /// Its id, and the ids of the tickets merged into it.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.id.as_str()).chain(self.merged.iter().map(String::as_str))
    }

    /// Whether `id` is one of them.
    pub fn has_id(&self, id: &str) -> bool {
        self.ids().any(|own| own == id)
    }
}

/// Who asks for something on a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AgentReference {
    /// A user of the help desk, by the system's own signed word.
    User(String),
    /// A paired browser, and the agent an administrator paired it for.
    Device {
        /// The device.
        id: Uuid,
        /// The agent's name, else the device's.
        name: String,
        /// The agent's e-mail address.
        email: Option<String>,
    },
}

impl fmt::Display for AgentReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user {id}"),
            Self::Device { id, .. } => write!(f, "device {id}"),
        }
    }
}

/// An agent of the help desk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Name.
    pub name: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Language, like `de` or `en-US`.
    pub locale: Option<String>,
    /// They administer the help desk, as it says itself.
    pub is_administrator: bool,
}

/// A note to append.
#[derive(Clone, Debug)]
pub struct NewNote<'a> {
    /// One line, for systems whose notes have a title.
    pub title: &'a str,
    /// In the form and within the size of [`Abilities::note`].
    pub body: &'a str,
    /// Files, where [`Abilities::files`] says they go with the note.
    pub attachments: &'a [Attachment],
    /// The files were tried often enough: if they cannot be taken now, the note is not to wait for them.
    pub gives_up_files: bool,
    /// The requester reads it. Where that cannot be chosen for each note, [`Abilities`] say so.
    pub is_public: bool,
}

/// A file to append by itself, where [`Files::ByThemselves`].
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    /// The file.
    pub file: &'a Attachment,
    /// The requester can open it.
    pub is_public: bool,
}

/// Work to record on a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// Start, Unix ms.
    pub started_at: i64,
    /// End, Unix ms.
    pub ended_at: i64,
    /// User name or e-mail address of the session's primary representative; their name where neither is known.
    pub representative: String,
    /// Their name for people, as the session's report tells it.
    pub name: String,
}

/// A ticket to create.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewTicket {
    /// The help desk has refused the ticket: the key's customer stands in the text instead of being looked for or set, and so does whatever
    /// else of the external key the system can do without.
    pub key_in_text: bool,
    /// The system's own field names, and the plain `title` (or `subject`), `description`, `name`, `email` of every system.
    pub fields: Map<String, Value>,
    /// Used where `fields` name no title.
    pub title: String,
    /// Used where `fields` name no description.
    pub description: String,
    /// What stands in it in place of the description, where the system shows more than plain text.
    pub document: Option<Document>,
    /// Addresses it is about, for systems that keep such links.
    pub refers_to: Vec<String>,
    /// The incident it is for: mapped custom fields and labels take their values from it.
    pub incident: Option<Arc<Incident>>,
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A note on a ticket.
    Note(&'a NewNote<'a>),
    /// A file on a ticket, where [`Files::ByThemselves`].
    File(NewFile<'a>),
    /// A time entry on a ticket.
    Time(&'a TimeEntry),
    /// A ticket.
    Ticket(&'a NewTicket),
    /// A ticket that goes on from a closed one, with this as its first, internal note; where [`Abilities::follows_up`].
    FollowUp(&'a str),
}

/// Something to write, once.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The ticket's id; empty for a new ticket, the closed one's for a follow-up.
    pub ticket: &'a str,
    /// Found again by this text.
    pub marker: &'a str,
    /// What.
    pub item: Item<'a>,
}

/// A write that needs nothing more but to be sent.
#[async_trait]
pub trait PreparedWrite<'a>: Send {
    /// Sends exactly one request, at once.
    async fn send(self: Box<Self>) -> WriteOutcome<'a>;
}

/// A [`PreparedWrite`] of a help desk.
pub type Prepared<'a> = Box<dyn PreparedWrite<'a> + 'a>;

/// What became of a request that writes.
pub enum WriteOutcome<'a> {
    /// It stands there, with this id.
    Written(String),
    /// One part of several stands; this is the next.
    Partly(Prepared<'a>),
    /// Nothing was written: the request never left, or the system said no in its own words.
    Refused(HelpDeskError),
    /// The system said no in its own words to this form of the request, and may say yes to that one. Nothing was written.
    TryInstead(Prepared<'a>),
    /// Nobody knows: no answer, or one that is not the system's own. It may still be written, until [`Abilities::settles_within`] after
    /// the request left.
    Unknown {
        /// What happened.
        error: HelpDeskError,
        /// The system itself sees to it that of this request and its repetition only one is done, if so much time lies between them.
        /// None: nothing is sent again before it has settled.
        repeat_after: Option<Duration>,
    },
}

/// How files reach a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// With the note.
    WithNote,
    /// Each by itself.
    ByThemselves,
    /// Not at all.
    Never,
}

/// What a system can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// How it takes notes from a server; none: it takes none.
    pub note: Option<NoteForm>,
    /// How it takes notes that the agent's own page adds; none: notes come from the server alone.
    pub page_note: Option<NoteForm>,
    /// How files reach a ticket.
    pub files: Files,
    /// The requester reads the notes, as the settings have it or because there are no others.
    pub notes_are_public: bool,
    /// A note can be for agents alone, also where [`Abilities::notes_are_public`].
    pub takes_internal_notes: bool,
    /// How long after a request left it may still be done, whatever was answered.
    pub settles_within: Duration,
    /// What is prepared before its marker is looked for is refused by the system if it was written in between.
    pub guards_repeats: bool,
    /// Sessions are recorded as time entries.
    pub records_time: bool,
    /// A session that belongs to no ticket gets one.
    pub creates_tickets: bool,
    /// Tickets can be made for incidents.
    pub takes_incidents: bool,
    /// [`HelpDesk::close`] and [`HelpDesk::closed_among`] work.
    pub closes_tickets: bool,
    /// What a closed ticket takes no more goes to a follow-up ticket.
    pub follows_up: bool,
}

/// Why a call failed, as far as the caller must know. The text says what to do; it holds no secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HelpDeskError {
    /// No answer, or one that says "later": try again.
    #[error("{what}")]
    Passing {
        /// What happened.
        what: String,
        /// When the system asks to be called again.
        retry_after: Option<Duration>,
    },
    /// Wrong or insufficient credentials: nothing will work until a person acts.
    #[error("{0}")]
    Denied(String),
    /// Credentials were refused a while ago, and are left alone.
    #[error("{what}")]
    Resting {
        /// How they were refused, and what ends the rest.
        what: String,
        /// When they are tried again.
        again_in: Duration,
    },
    /// There is no such ticket.
    #[error("{0}")]
    NoTicket(String),
    /// The agent may not work on it.
    #[error("{what}")]
    NotAllowed {
        /// The kind of reason.
        why: NotAllowed,
        /// What was found, and what to do.
        what: String,
    },
    /// The ticket is closed and takes no notes any more.
    #[error("{what}")]
    Closed {
        /// It.
        ticket: String,
        /// What was said, and what to do.
        what: String,
        /// The ticket it was merged into.
        merged_into: Option<String>,
    },
    /// It did not take the file; the note can stand without it.
    #[error("{0}")]
    FileRefused(String),
    /// The system refused for good.
    #[error("{0}")]
    Refused(String),
}

/// Why an agent may not work on a ticket here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAllowed {
    /// The help desk does not let them.
    NoAccess,
    /// They are no active agent of the help desk.
    NotAnAgent,
    /// The ticket is closed.
    TicketClosed,
    /// These tickets have the panel in Zendesk's sidebar.
    PanelInSidebar,
    /// These tickets have the panel in the browser extension.
    PanelInExtension,
}

impl HelpDeskError {
    /// The agent may not work on the ticket.
    pub fn not_allowed(why: NotAllowed, what: impl Into<String>) -> Self {
        Self::NotAllowed { why, what: what.into() }
    }

    /// A fault that passes.
    pub fn passing(what: impl Into<String>) -> Self {
        Self::Passing { what: what.into(), retry_after: None }
    }

    /// Whether nothing can be had because of the credentials.
    pub fn is_of_credentials(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Resting { .. })
    }

    fn no_ability(what: &str) -> Self {
        Self::Refused(format!("this help desk cannot {what}"))
    }
}

/// A customer for people: `Jane <jane@example.com>`.
fn customer(name: Option<String>, email: Option<String>) -> Option<String> {
    match (name, email) {
        (Some(name), Some(email)) => Some(format!("{name} <{email}>")),
        (name, email) => name.or(email),
    }
}

/// Whether a help desk can take it for an e-mail address; all else is its to judge.
fn is_address(text: &str) -> bool {
    let is_plain =
        |part: &str| !part.is_empty() && !part.contains(|character: char| character.is_whitespace() || "<>,;\"".contains(character));
    text.split_once('@').is_some_and(|(user, domain)| is_plain(user) && is_plain(domain) && domain.contains('.') && !domain.contains('@'))
}

impl From<Resting> for HelpDeskError {
    fn from(resting: Resting) -> Self {
        Self::Resting { what: resting.to_string(), again_in: resting.again_in }
    }
}

/// What the administrator of the help desk allows the panel, beside our own `[connection.panel]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PanelPolicy {
    /// Issues for a chat. Empty: ours count.
    pub issues: Vec<Issue>,
    /// Jumpoints. Empty: ours count.
    pub jumpoints: Vec<String>,
    /// Ways to Jump that are switched on or off there.
    pub switches: Vec<(JumpMethod, bool)>,
}

impl PanelPolicy {
    /// The switch of `method`, if the help desk has one.
    pub fn switch(&self, method: JumpMethod) -> Option<bool> {
        self.switches.iter().find(|(name, _)| *name == method).map(|(_, on)| *on)
    }
}

/// What a check and the links to set up may look at besides the help desk itself.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// What our own settings let the panel offer.
    pub panel: &'a PanelSection,
    /// The appliance's host; none where the connection has no remote-support system.
    pub appliance_host: Option<&'a str>,
    /// Address and Jump action of the remote-support system's client scripts.
    pub client_scripts: Option<(String, &'static str)>,
    /// Our public address, without a slash at the end.
    pub public_url: &'a str,
}

/// Where agents see a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketAddress {
    /// The address, with `{ticket}` in place of the ticket's id.
    pub address: String,
    /// What a person must still put into it.
    pub remark: Option<String>,
}

/// A help desk.
#[async_trait]
pub trait HelpDesk: Send + Sync {
    /// Its section in settings, and its name in answers.
    fn name(&self) -> &'static str;
    /// What it can do.
    fn abilities(&self) -> Abilities;
    /// Whether `text` can name a ticket at all: an id, or another name [`HelpDesk::resolve`] knows.
    fn is_ticket_name(&self, text: &str) -> bool;
    /// The id of the ticket of that name. Systems whose only names are ids need not be asked.
    async fn resolve(&self, name: &str) -> Result<String, HelpDeskError> {
        Ok(name.to_owned())
    }
    /// A ticket, by id or another name, and the agent, if they may work on it; else [`HelpDeskError::NotAllowed`].
    async fn ticket_for(&self, agent: &AgentReference, name: &str) -> Result<(Ticket, Agent), HelpDeskError>;

    /// Whether people still work on the ticket of that id: it is not solved, closed or completed. One that is gone is not open, or
    /// [`HelpDeskError::NoTicket`].
    async fn is_open(&self, ticket: &str) -> Result<bool, HelpDeskError> {
        Ok(!self.abilities().closes_tickets || self.closed_among(&[ticket.to_owned()]).await?.is_empty())
    }

    /// Looks up, uploads and words everything `write` needs, and waits for its turn: all that can fail without harm.
    async fn prepare<'a>(&'a self, write: &Write<'_>) -> Result<Prepared<'a>, HelpDeskError>;
    /// The id of what an earlier `write` left, by its marker. `None`: it does not stand there, or not whole.
    async fn find(&self, write: &Write<'_>) -> Result<Option<String>, HelpDeskError>;

    /// Whether that [`HelpDesk::find`] found nothing proves that nothing stands there: asked before a write of unknown fate is repeated. The
    /// error says what a person can do.
    async fn prove_absence(&self, _write: &Write<'_>) -> Result<(), HelpDeskError> {
        Ok(())
    }

    /// Time entries belong to users of the help desk, whom nothing but a user name or an e-mail address finds.
    fn finds_time_entry_users(&self) -> bool {
        false
    }

    /// What its administrator allows the panel.
    async fn panel_policy(&self) -> Result<Arc<PanelPolicy>, HelpDeskError> {
        Ok(Arc::default())
    }
    /// The pages the browser extension stands on: an address with the path the system is installed under, where the settings know it.
    fn site(&self) -> Option<String> {
        None
    }
    /// What verifies the panel's opening from inside the help desk, where it signs that.
    fn signed_panel(&self) -> Option<&zendesk::SidebarApp> {
        None
    }
    /// The origin where its customers can see their own tickets, whether the settings use that or not. None: there is no such place.
    fn customers_origin(&self) -> Option<String> {
        None
    }
    /// Whether the agent administers the help desk, as it says itself. Asked anew, or remembered for a minute.
    async fn is_administrator(&self, _agent: &AgentReference) -> Result<bool, HelpDeskError> {
        Ok(false)
    }
    /// Where its customers see their own tickets and may start a chat, if the settings have it.
    fn help_center(&self) -> Option<&zendesk::HelpCenter> {
        None
    }
    /// Uses the credentials, if they end by themselves where nobody uses them. Called about once a day.
    async fn keep_credentials(&self) -> Result<(), HelpDeskError> {
        Ok(())
    }
    /// Tries credentials and rights. Changes nothing.
    async fn check(&self, around: &Surroundings<'_>) -> Vec<Finding>;
    /// What its administrator enters by hand.
    async fn setup_links(&self, _around: &Surroundings<'_>) -> Vec<SetupLink> {
        Vec::new()
    }
    /// Where agents see a ticket.
    async fn ticket_address(&self) -> Option<TicketAddress> {
        None
    }
    /// Where agents see this ticket: the address the system itself gave it, where it gives one.
    async fn ticket_url(&self, ticket: &str) -> Result<String, HelpDeskError> {
        let address = self.ticket_address().await.ok_or_else(|| HelpDeskError::no_ability("tell a ticket's address"))?;
        Ok(address.address.replace("{ticket}", ticket))
    }

    /// Closes a ticket, where [`Abilities::closes_tickets`]. One that is closed already stays as it is.
    async fn close(&self, _ticket: &str) -> Result<(), HelpDeskError> {
        Err(HelpDeskError::no_ability("close tickets"))
    }
    /// Which of these tickets are closed, where [`Abilities::closes_tickets`]; one that is gone counts as closed. At most
    /// [`MOST_ASKED`] at a time, in as few requests as the system allows.
    async fn closed_among(&self, _tickets: &[String]) -> Result<Vec<String>, HelpDeskError> {
        Err(HelpDeskError::no_ability("tell closed tickets"))
    }
    /// What tells that a ticket was closed, where the system can post that so that it can be verified and the settings have a secret for it.
    fn webhook(&self) -> Option<&dyn Webhook> {
        None
    }
}

/// Most tickets that [`HelpDesk::closed_among`] is asked for at a time.
pub const MOST_ASKED: usize = 50;

/// What a ticket system posts when something happens to its tickets.
pub trait Webhook: Send + Sync {
    /// Verifies a posted request. `header`: the value of a header, by its name in lower case. The ticket that may have been closed, or none
    /// where it tells of something else. It is a hint: the ticket is asked for again.
    fn verify(&self, header: &dyn Fn(&str) -> Option<String>, body: &[u8]) -> Result<Option<String>, WebhookRefused>;
}

/// A posted request that is not the ticket system's, or cannot be read. The text is for the log and says what to look at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WebhookRefused(pub String);

/// A kind of help desk: what its section is called, and how one is built from it.
pub struct HelpDeskKind {
    /// Its section.
    pub section: SectionKind,
    build: fn(&ConnectionSettings) -> Result<Arc<dyn HelpDesk>, String>,
}

impl HelpDeskKind {
    const fn of<T: Section>(build: fn(&ConnectionSettings) -> Result<Arc<dyn HelpDesk>, String>) -> Self {
        Self { section: SectionKind::of::<T>(), build }
    }
}

/// Every kind of help desk there is.
pub static HELP_DESKS: &[HelpDeskKind] = &[
    HelpDeskKind::of::<ZendeskSection>(Zendesk::build),
    HelpDeskKind::of::<AutotaskSection>(Autotask::build),
    HelpDeskKind::of::<OsTicketSection>(OsTicket::build),
    HelpDeskKind::of::<RequestTrackerSection>(RequestTracker::build),
    HelpDeskKind::of::<GitHubSection>(GitHub::build),
    HelpDeskKind::of::<JiraSection>(Jira::build),
    HelpDeskKind::of::<GitLabSection>(GitLab::build),
];

/// Sections for what a help desk has beside its tickets.
pub static COMPANIONS: &[SectionKind] = &[SectionKind::of::<HelpCenterSection>()];

/// Builds a connection's help desk; nothing is contacted. The error names the key at fault.
pub fn build(settings: &ConnectionSettings) -> Result<Arc<dyn HelpDesk>, String> {
    let mut named = HELP_DESKS.iter().filter(|kind| settings.systems.contains_key(kind.section.name));
    match (named.next(), named.next()) {
        (Some(kind), None) => (kind.build)(settings),
        _ => Err("exactly one ticket system must be configured".into()),
    }
}

/// The section `T` of a connection whose settings name it.
fn section_of<T: Section>(settings: &ConnectionSettings) -> Result<T, String> {
    settings.section().ok_or_else(|| format!("{}: the stored settings are of another version; apply them again", T::NAME))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_folder_is_a_help_desk_of_the_list() {
        let source = std::env::var("CARGO_MANIFEST_DIR").unwrap() + "/src";
        let entries = std::fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path());
        let folders: BTreeSet<String> =
            entries.filter(|path| path.is_dir()).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        assert_eq!(folders, HELP_DESKS.iter().map(|kind| kind.section.name.to_owned()).collect());
    }

    #[test]
    fn what_is_no_address_is_no_requester() {
        for (text, expected) in [
            ("jane@example.com", true),
            ("n/a", false),
            ("", false),
            ("jane", false),
            ("jane@localhost", false),
            ("a@b@example.com", false),
            ("Jane <jane@example.com>", false),
            ("jane doe@example.com", false),
            ("jörg@münchen.example", true),
        ] {
            assert_eq!(is_address(text), expected, "{text}");
        }
    }
}
