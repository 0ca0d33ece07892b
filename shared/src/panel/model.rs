//! What the panel knows and how that changes. Pure: an event goes in, commands come out; the time is passed in.
//! Must not know how anything is drawn ([`screen`](super::screen)) or reached ([`view`](super)).

use super::requests::{Call, Place};
use super::texts::{Text, Texts, cut, decimal, fill, join, port};
use super::{Insertion, Note, NoteFault, NoteResult, NoticeKind, RECORDS_IN_PAGE, SessionsSummary};
use crate::api::{JumpMethod, LiveSession, NOTE_LEASE_MS, PanelModel, SessionState};

/// The list of sessions is asked for this often while all goes well, in milliseconds. A customer who opens a chat in the Help Center must be seen
/// within five seconds; the extension serves help desks without that, and the server must write down each of its signed questions.
pub const SESSIONS_INTERVAL: i64 = if cfg!(feature = "record-in-page") { 5_000 } else { 2_000 };
/// The list of machines is asked for this often while all goes well, in milliseconds.
pub const MACHINES_INTERVAL: i64 = 5_000;
/// What the server did not answer is asked again after this many milliseconds, then after twice as many, and so on.
const RETRY_PAUSE: i64 = 5_000;
/// The longest pause between two questions for the list while the server does not answer, in milliseconds.
pub const SESSIONS_PAUSE: i64 = 60_000;
/// Longest text in a field of the Jump, in characters: what a client-script URL takes.
pub const TEXT_LIMIT: u32 = 255;
const _: () = assert!(TEXT_LIMIT as usize == crate::client_script::OPTION_CHARACTERS);
/// Without a ticket the host is asked again after this many milliseconds, then after twice as many, and so on.
pub const LOOK_INTERVAL: i64 = 2_000;
/// The longest pause between two such questions, in milliseconds.
pub const LOOK_PAUSE: i64 = 60_000;
/// How long a button says that it copied, in milliseconds.
const COPIED_SHOWN: i64 = 2_000;

/// The whole state.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// In the agent's language.
    pub texts: Texts,
    /// The agent's language, for texts and times.
    pub locale: String,
    /// The language to ask the server for; empty: the agent's own, which the server finds out.
    pub agent_locale: String,
    /// The ticket, once the host has named it.
    pub place: Option<Place>,
    /// Where the panel stands.
    pub phase: Phase,
    /// What a screen reader is told; not seen.
    pub announcement: String,
    /// The button that copied last, and until when it says so.
    pub copied: Option<(Part, i64)>,
    /// Whether anybody can see the panel; without eyes on it, nothing is asked.
    pub watched: bool,
    /// The customer's e-mail address, where the page tells it.
    pub recipient: Option<String>,
    /// What is on its way into the reply.
    pub inserting: Option<Part>,
    /// The host may show another ticket and has not said which yet: meanwhile nothing is made for this one, or put into its reply.
    pub doubt: Option<Doubt>,
    /// How many times a model was asked for. An answer to what was asked before the last time is nobody's.
    pub loads: u32,
    pub(super) looks: u32,
    pub(super) next_look: i64,
}

/// Since when it is not known which ticket the host shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Unix milliseconds.
    pub since: i64,
    /// The host does not answer.
    pub is_silent: bool,
}

/// Where the panel stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// The host has not named the ticket yet.
    Connecting,
    /// The host does not answer.
    NoHost,
    /// A new ticket: nothing can be tied to it before it is saved (Zendesk seed guide, "Configure the App").
    Unsaved,
    /// The model is on its way.
    Loading,
    /// The model did not come.
    Failed(Problem),
    /// The agent's session with the server is over. What was shown stays; another session of the agent in this browser revives it.
    Ended(Option<Box<Ready>>),
    /// At work.
    Ready(Box<Ready>),
}

/// The panel at work.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// What the server allows on this ticket.
    pub offer: PanelModel,
    /// What is filled in.
    pub form: Form,
    /// This ticket's sessions.
    pub sessions: Sessions,
    /// The machines to choose from, and this ticket's links to them.
    pub machines: Machines,
    /// The report that is on its way onto the ticket, or did not get there.
    pub recording: Option<Recording>,
    /// A report was added, which the page shows once it is loaded again.
    pub is_page_old: bool,
    /// A report waited or was added since the panel was opened: its section stands first, and stays there.
    pub report_first: bool,
    /// Until then a note may still be under way that nobody has seen: the ticket stays this browser's. Unix milliseconds.
    uncertain_until: i64,
    /// The page has a reply to insert text into.
    pub has_reply: bool,
    /// The browser has not opened the Jump.
    pub jump_blocked: bool,
    /// The recording that the browser has not opened: of which session, and where it is.
    pub blocked_recording: Option<(String, String)>,
    record_in_page: bool,
    /// The chat link goes into the reply as soon as it is made.
    sends_chat: bool,
    slots: [Slot; Thing::ALL.len()],
    /// What was made before, as long as another one is on its way or did not come.
    former: [Option<Box<Made>>; Thing::ALL.len()],
}

/// Something the server makes on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A session key.
    Key,
    /// A Jump's launch URL.
    Jump,
    /// A chat link.
    ChatLink,
}

impl Thing {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Key, Self::Jump, Self::ChatLink];

    /// What its button says before, meanwhile and afterwards, what is said when it is there, and when it has expired.
    pub const fn texts(self) -> [Text; 5] {
        match self {
            Self::Key => [Text::KeyMake, Text::KeyMaking, Text::KeyMakeAgain, Text::KeyMade, Text::KeyExpired],
            Self::Jump => [Text::Jump, Text::Jumping, Text::Jump, Text::JumpMade, Text::JumpMade],
            Self::ChatLink => [Text::ChatMake, Text::ChatMaking, Text::ChatMakeAgain, Text::ChatMade, Text::ChatExpired],
        }
    }
}

/// How far a [`Thing`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum Slot {
    /// Not asked for.
    Empty,
    /// Asked for.
    Busy,
    /// There.
    Made(Box<Made>),
    /// Refused, or lost.
    Failed(Problem),
}

/// What the server made. Only a session key has more than a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Where it leads.
    pub url: String,
    /// A key's seven characters.
    pub short_key: String,
    /// Subject of a key's invitation.
    pub mail_subject: String,
    /// Text of a key's invitation.
    pub mail_body: String,
    /// Unix milliseconds; `None`: not told.
    pub expires_at: Option<i64>,
    /// Whether that has passed.
    pub expired: bool,
    /// The id of a link to a machine; empty: there is nothing to end.
    pub link: String,
}

/// Why the server did not do what it was asked: the readable part of a problem document (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status; 0: no answer came.
    pub status: u16,
    /// The name of its kind ([`problem::Kind`](crate::problem::Kind)); empty, or one that only a later server knows.
    pub kind: String,
    /// What went wrong, in English.
    pub title: String,
    /// What to do about it, in English.
    pub detail: String,
    /// Every member that is a text or a number, by name.
    pub members: Vec<(String, String)>,
}

impl Problem {
    /// Whether the browser must be paired again, which its settings do. Only a panel of the extension is paired.
    pub fn is_of_pairing(&self) -> bool {
        RECORDS_IN_PAGE && matches!(self.kind.as_str(), "device-revoked" | "device-refused" | "no-device")
    }

    /// Whether the same question may be answered later: no answer came, or one that says so.
    pub const fn may_pass(&self) -> bool {
        matches!(self.status, 0 | 408 | 425 | 429 | 500..)
    }

    /// What the agent reads.
    pub fn message(&self, texts: &Texts) -> String {
        let (title, detail) = (self.title.as_str(), self.detail.as_str());
        if self.status == 0 {
            return texts.get(Text::NotReached).into();
        }
        if let Some(message) = self.worded(texts) {
            return message;
        }
        if title.is_empty() && detail.is_empty() {
            return texts.fill(Text::Unexpected, "status", &decimal(self.status.into()));
        }
        let between = if title.is_empty() || detail.is_empty() { "" } else { ". " };
        join(&[title, between, detail])
    }

    /// In the agent's language. `None`: there is no text for this kind, or the document lacks something that the text names.
    pub fn worded(&self, texts: &Texts) -> Option<String> {
        let mut name = String::from("problem_");
        for character in self.kind.chars() {
            name.push(if character == '-' { '_' } else { character });
        }
        let mut out = String::new();
        let mut rest = texts.named(&name)?;
        while let Some((before, after)) = cut(rest, b'{') {
            let (member, after) = cut(after, b'}')?;
            let (_, value) = self.members.iter().find(|(known, _)| known == member)?;
            out.push_str(before);
            // A field and a method have names of their own.
            out.push_str(texts.named(&join(&[member, "_", value])).unwrap_or(value));
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }
}

/// This ticket's sessions, and when to ask again.
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// As last heard.
    pub list: Vec<LiveSession>,
    /// How it is with asking.
    pub inquiry: Inquiry,
}

/// How it is with a list that is asked for again and again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inquiry {
    /// Whether it was heard at all.
    pub known: bool,
    /// Why the last question failed.
    pub problem: Option<Problem>,
    asking: bool,
    failures: u32,
    next: i64,
}

/// The machines to choose from, and this ticket's links to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machines {
    /// As last heard.
    pub list: MachineList,
    /// How it is with asking.
    pub inquiry: Inquiry,
    /// The link that was copied last.
    pub copied: String,
    /// What is asked for now is not what was asked: the answer is not wanted.
    is_stale: bool,
}

/// What the server says of machines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MachineList {
    /// The machines.
    pub machines: Vec<Entry>,
    /// There are more.
    pub more: bool,
    /// The ticket's links that are still good.
    pub links: Vec<Entry>,
}

/// A machine, or a link to one. Both are one type, which keeps the panel small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The machine's id, or by which the link is ended.
    pub id: String,
    /// What people call the machine.
    pub name: String,
    /// The name of the machine's state, or of the kind of session that the link opens.
    pub state: String,
    /// Who is signed in at the machine, or who made the link; empty: not known.
    pub person: String,
    /// A link's machine, by its id.
    pub machine: String,
    /// Where a link leads; empty: another panel made it.
    pub url: String,
    /// When a link expires, Unix milliseconds; `None`: not told.
    pub expires_at: Option<i64>,
    /// A machine is likely the ticket's; a link is being ended.
    pub is_marked: bool,
}

/// A report on its way onto the ticket through the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Whose.
    pub lsid: String,
    /// Once the server has given it.
    pub note: Option<Note>,
    /// Why it did not get there; `None`: it is still on its way.
    pub fault: Option<String>,
    /// Whether loading the page again helps against that.
    pub reload_helps: bool,
    /// It stands on the ticket, and the server could not be told so yet.
    pub untold: Option<Untold>,
}

impl Recording {
    /// The lease under which the note is written.
    fn lease(&self) -> String {
        self.note.as_ref().map(|note| note.lease.clone()).unwrap_or_default()
    }
}

/// A confirmation that got lost, and is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untold {
    /// When, Unix milliseconds.
    pub next: i64,
    /// How often it was lost.
    pub failures: u32,
}

/// A session's report, as the server gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Whose.
    pub lsid: String,
    /// What is to be put onto the ticket.
    pub note: Note,
    /// It stands there already.
    pub is_recorded: bool,
}

/// What the panel needs to begin its work.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What the server allows on this ticket.
    pub offer: PanelModel,
    /// In the agent's language.
    pub texts: Texts,
    /// Reports reach this ticket through its page alone.
    pub record_in_page: bool,
    /// The page has a reply to insert text into.
    pub has_reply: bool,
}

/// What the agent fills in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The chosen method; `None`: none is allowed.
    pub method: Option<JumpMethod>,
    /// Whether the options behind the button are shown.
    pub options_open: bool,
    /// What is wrong with which field.
    pub faults: Vec<(Field, Text)>,
    values: [String; Field::ALL.len()],
}

/// Something to fill in. The names are the panel API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// How to Jump.
    Method,
    /// The machine.
    Target,
    /// The Jumpoint.
    Jumpoint,
    /// Who to sign in as.
    Username,
    /// RDP's screen.
    DisplaySize,
    /// RDP's picture.
    Quality,
    /// RDP's console session.
    Console,
    /// SSH or Telnet.
    Protocol,
    /// The port.
    Port,
    /// Kind of terminal.
    Terminal,
    /// The chat link's issue.
    Issue,
    /// Part of a machine's name.
    Search,
}

impl Field {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Method,
        Self::Target,
        Self::Jumpoint,
        Self::Username,
        Self::DisplaySize,
        Self::Quality,
        Self::Console,
        Self::Protocol,
        Self::Port,
        Self::Terminal,
        Self::Issue,
        Self::Search,
    ];

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Target => "target",
            Self::Jumpoint => "jumpoint",
            Self::Username => "username",
            Self::DisplaySize => "display_size",
            Self::Quality => "quality",
            Self::Console => "console",
            Self::Protocol => "protocol",
            Self::Port => "port",
            Self::Terminal => "terminal",
            Self::Issue => "issue",
            Self::Search => "search",
        }
    }

    /// The field of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// The fields of a method which everybody fills in.
    pub const fn main_of(method: JumpMethod) -> &'static [Self] {
        match method {
            JumpMethod::JumpClient | JumpMethod::LocalPush | JumpMethod::Desktop | JumpMethod::Terminal | JumpMethod::Files => {
                &[Self::Target]
            }
            JumpMethod::RemotePush => &[Self::Target, Self::Jumpoint],
            JumpMethod::Rdp | JumpMethod::ShellJump => &[Self::Target, Self::Jumpoint, Self::Username],
        }
    }

    /// The fields of a method which have a good default and stand behind a button.
    pub const fn options_of(method: JumpMethod) -> &'static [Self] {
        match method {
            JumpMethod::Rdp => &[Self::DisplaySize, Self::Quality, Self::Console],
            JumpMethod::ShellJump => &[Self::Protocol, Self::Port, Self::Terminal],
            _ => &[],
        }
    }
}

/// A button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask again for what is missing: the ticket, the model, a session.
    Reload,
    /// Have it made.
    Make(Thing),
    /// Copy one of the texts.
    Copy(Part),
    /// Insert the thing's text into the reply.
    Insert(Part),
    /// Show or hide the method's options.
    ToggleOptions,
    /// Ask for the sessions now.
    RefreshSessions,
    /// Load the ticket's page again.
    ReloadPage,
    /// Open the extension's settings.
    OpenSettings,
    /// The Jump's link, which the browser itself follows.
    Launch,
}

impl Action {
    /// All of them, with the name on the page (`data-action`).
    pub const NAMES: [(Self, &str); 17] = [
        (Self::Reload, "reload"),
        (Self::Make(Thing::Key), "make-key"),
        (Self::Make(Thing::Jump), "jump"),
        (Self::Make(Thing::ChatLink), "make-chat-link"),
        (Self::Copy(Part::Key), "copy-key"),
        (Self::Copy(Part::KeyLink), "copy-key-link"),
        (Self::Copy(Part::Mail), "copy-mail"),
        (Self::Copy(Part::JumpLink), "copy-jump-link"),
        (Self::Copy(Part::ChatLink), "copy-chat-link"),
        (Self::Copy(Part::Report), "copy-report"),
        (Self::Insert(Part::Mail), "insert-key"),
        (Self::Insert(Part::ChatLink), "insert-chat-link"),
        (Self::ToggleOptions, "toggle-options"),
        (Self::RefreshSessions, "refresh-sessions"),
        (Self::ReloadPage, "reload-page"),
        (Self::OpenSettings, "settings"),
        (Self::Launch, "launch"),
    ];

    /// The name on the page.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(action, _)| *action == self).map_or("", |(_, name)| name)
    }

    /// The button of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(action, _)| *action)
    }
}

/// A button that stands once for each session, machine or link, and does something to that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Put the session's report onto the ticket.
    Record,
    /// Open the session's recording.
    Watch,
    /// Open a session of that kind with the machine.
    Open(JumpMethod),
    /// Copy the link.
    CopyLink,
    /// End the link.
    EndLink,
}

impl Deed {
    /// The name on the page (`data-action`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Watch => "watch",
            Self::Open(method) => method.name(),
            Self::CopyLink => "copy-link",
            Self::EndLink => "end-link",
        }
    }

    /// The button of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "record" => Self::Record,
            "watch" => Self::Watch,
            "copy-link" => Self::CopyLink,
            "end-link" => Self::EndLink,
            _ => Self::Open(JumpMethod::from_name(name)?),
        })
    }
}

/// A text worth copying or inserting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The short key.
    Key,
    /// The key's link.
    KeyLink,
    /// The invitation.
    Mail,
    /// The Jump's launch URL.
    JumpLink,
    /// The chat link.
    ChatLink,
    /// The report the page did not take.
    Report,
    /// A link to a machine, which has a button of its own ([`Deed::CopyLink`]).
    MachineLink,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The host does not answer.
    NoHost,
    /// The host answered that it cannot name its ticket.
    HostRefused,
    /// The host may show another ticket from now on, and is asked which.
    InDoubt,
    /// The host shows a ticket that has no id yet.
    Unsaved,
    /// The host shows this ticket.
    Ticket {
        /// Which.
        place: Place,
        /// The agent's language; empty: the host has not told it.
        locale: String,
    },
    /// The customer's e-mail address, as the page has it.
    Recipient(Option<String>),
    /// The panel came into sight, or went out of it.
    Watched(bool),
    /// About a second has passed.
    Tick,
    /// A field was changed. A tick box has `true` or nothing.
    Filled(Field, String),
    /// A button was pressed.
    Pressed(Action),
    /// The model came.
    Loaded(Box<Loaded>),
    /// What was asked for came.
    Made(Thing, Box<Made>),
    /// The sessions came.
    Sessions(Vec<LiveSession>),
    /// The server did not do what it was asked.
    Refused(Call, Problem),
    /// Whether the clipboard took it.
    Copied(Part, bool),
    /// Whether the reply took it.
    Inserted(Insertion),
    /// Whether the browser opened the Jump, as far as it tells.
    Opened(bool),
    /// The button of the session, machine or link of that id was pressed.
    Done(Deed, String),
    /// The machines came.
    Machines(Box<MachineList>),
    /// That link is ended.
    LinkEnded(String),
    /// Where that session's recording is.
    Recording(String, String),
    /// The browser has not opened that session's recording, which is there.
    RecordingBlocked(String, String),
    /// A report came.
    Report(Box<Report>),
    /// Whether the page put the report of that session onto the ticket.
    NotePosted(String, NoteResult),
    /// The server knows that this session's report stands on the ticket.
    Recorded(String),
}

/// Something to do outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Ask the server.
    Call(Call),
    /// Ask the host for its ticket.
    Look,
    /// Copy.
    Copy(Part, String),
    /// Insert into the reply.
    Insert(String),
    /// Open a URL beside the page.
    Open(String),
    /// Open that session's recording, which is there, beside the page.
    OpenRecording(String, String),
    /// Show a passing message.
    Notify(String, NoticeKind),
    /// Put the keyboard on a field.
    Focus(Field),
    /// Have the page write that session's note.
    PostNote(String, Note),
    /// Load the ticket's page again.
    ReloadPage,
    /// Open the extension's settings.
    OpenSettings,
}

impl Panel {
    /// A panel whose host has not spoken yet.
    pub fn new(texts: Texts, locale: String) -> Self {
        Self {
            texts,
            locale,
            agent_locale: String::new(),
            place: None,
            phase: Phase::Connecting,
            announcement: String::new(),
            copied: None,
            watched: true,
            recipient: None,
            inserting: None,
            doubt: None,
            loads: 0,
            looks: 0,
            next_look: 0,
        }
    }

    /// Takes one event at `now` (Unix milliseconds) and answers what to do about it.
    pub fn update(&mut self, event: Event, now: i64) -> Option<Command> {
        match event {
            Event::InDoubt => {
                if self.place.is_some() {
                    self.doubt = Some(Doubt { since: now, is_silent: false });
                }
                // A link that comes now is not known to be for the reply that is shown.
                self.forget_sending();
            }
            Event::NoHost => {
                if let Some(doubt) = &mut self.doubt {
                    doubt.is_silent = true;
                    self.next_look = i64::MAX;
                } else if matches!(self.phase, Phase::Connecting) {
                    self.await_ticket(Phase::NoHost, now);
                    // The question still stands, and its answer is taken when it comes.
                    self.next_look = i64::MAX;
                }
            }
            Event::HostRefused => {
                if let Some(doubt) = &mut self.doubt {
                    if !doubt.is_silent {
                        self.looks = 0;
                    }
                    doubt.is_silent = true;
                    self.next_look = now + (LOOK_INTERVAL << self.looks).min(LOOK_PAUSE);
                } else if self.place.is_none() {
                    self.await_ticket(Phase::NoHost, now);
                }
            }
            Event::Unsaved => {
                self.place = None;
                self.doubt = None;
                self.await_ticket(Phase::Unsaved, now);
            }
            Event::Recipient(address) => self.recipient = address,
            Event::Ticket { place, locale } => {
                self.doubt = None;
                if self.place.as_ref() != Some(&place) {
                    self.recipient = None;
                }
                // An ended session is revived when the panel is looked at.
                let at_work = matches!(self.phase, Phase::Loading | Phase::Ready(_) | Phase::Ended(_));
                if !at_work || self.place.as_ref() != Some(&place) {
                    self.place = Some(place);
                    if !locale.is_empty() {
                        self.locale = locale.as_str().into();
                    }
                    self.agent_locale = locale;
                    return Some(self.load());
                }
            }
            Event::Watched(watched) => {
                self.watched = watched;
                return if watched && matches!(self.phase, Phase::Ended(_)) { self.revive(now) } else { self.pass_time(now) };
            }
            Event::Tick => return self.pass_time(now),
            Event::Pressed(Action::OpenSettings) => return Some(Command::OpenSettings),
            Event::Pressed(Action::Reload) if self.is_host_silent() => {
                self.doubt = Some(Doubt { since: now, is_silent: false });
                return Some(Command::Look);
            }
            Event::Pressed(Action::Reload) => match self.phase {
                Phase::Failed(_) => return Some(self.load()),
                Phase::Ended(_) => return self.revive(now),
                Phase::NoHost => {
                    self.enter(Phase::Connecting);
                    return Some(Command::Look);
                }
                _ => {}
            },
            // One that comes when it is no longer waited for would wipe out what is there.
            Event::Loaded(_) | Event::Refused(Call::Load, Problem { status: 0..401 | 402.., .. })
                if !matches!(self.phase, Phase::Loading) => {}
            Event::Loaded(loaded) => {
                self.texts = loaded.texts;
                self.locale = loaded.offer.locale.as_str().into();
                self.phase = Phase::Ready(Box::new(Ready {
                    record_in_page: RECORDS_IN_PAGE && loaded.record_in_page,
                    has_reply: loaded.has_reply,
                    ..Ready::new(loaded.offer, now)
                }));
                return self.pass_time(now);
            }
            Event::Refused(_, Problem { status: 401, .. }) => self.end(),
            Event::Refused(Call::Load, problem) => self.enter(Phase::Failed(problem)),
            Event::Copied(part, true) => {
                self.copied = Some((part, now + COPIED_SHOWN));
                self.announce(Text::Copied);
            }
            Event::Copied(_, false) => return Some(self.notify(Text::CopyFailed, NoticeKind::Fault)),
            Event::Inserted(insertion) => {
                self.inserting = None;
                let (text, kind) = match insertion {
                    Insertion::Done => (Text::Inserted, NoticeKind::Done),
                    Insertion::Failed => (Text::InsertFailed, NoticeKind::Fault),
                    Insertion::Uncertain => (Text::InsertUncertain, NoticeKind::Fault),
                };
                return Some(self.notify(text, kind));
            }
            Event::Pressed(Action::Make(_) | Action::Insert(_)) | Event::Done(Deed::Open(_), _) if self.doubt.is_some() => {}
            // One at a time: the text must not get in twice.
            Event::Pressed(Action::Insert(_)) if self.inserting.is_some() => {}
            Event::Pressed(Action::Make(_)) | Event::Done(Deed::Open(_), _) if matches!(self.phase, Phase::Ended(_)) => {}
            event => {
                let part = match event {
                    Event::Pressed(Action::Insert(part)) => Some(part),
                    Event::Made(Thing::ChatLink, _) => Some(Part::ChatLink),
                    _ => None,
                };
                if matches!(event, Event::Refused(Call::Make(Thing::ChatLink, _), _)) {
                    self.forget_sending();
                }
                let is_alive = matches!(event, Event::Sessions(_));
                let (Phase::Ready(ready) | Phase::Ended(Some(ready))) = &mut self.phase else { return None };
                let (said, command) = ready.update(event, now, &self.texts);
                if is_alive && let Phase::Ended(ready) = &mut self.phase {
                    self.phase = ready.take().map_or(Phase::Loading, Phase::Ready);
                    self.announcement.clear();
                }
                if let Some(said) = said {
                    self.announcement = said;
                }
                if command.is_some() {
                    self.inserting = part.or(self.inserting);
                }
                return command;
            }
        }
        None
    }

    /// Whether the panel is at its work, or about to be: not refused for want of a pairing.
    pub fn is_at_work(&self) -> bool {
        match &self.phase {
            Phase::Loading => true,
            Phase::Ready(ready) => !ready.sessions.inquiry.problem.as_ref().is_some_and(Problem::is_of_pairing),
            _ => false,
        }
    }

    /// Whether the host was asked which ticket it shows, and has not answered.
    pub fn is_host_silent(&self) -> bool {
        self.doubt.is_some_and(|doubt| doubt.is_silent)
    }

    /// What the ticket's sessions come to, as last heard.
    pub fn sessions_summary(&self) -> Option<SessionsSummary> {
        let Phase::Ready(ready) = &self.phase else { return None };
        ready.sessions.inquiry.known.then(|| SessionsSummary::of(&ready.sessions.list, RECORDS_IN_PAGE && ready.record_in_page))
    }

    /// Whether a confirmation is to be sent again.
    pub fn has_untold(&self) -> bool {
        matches!(&self.phase, Phase::Ready(ready) if ready.recording.as_ref().is_some_and(|recording| recording.untold.is_some()))
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.announcement.clear();
        self.copied = None;
    }

    /// Says why there is no ticket, and looks for one now and then.
    fn await_ticket(&mut self, phase: Phase, now: i64) {
        if std::mem::discriminant(&self.phase) != std::mem::discriminant(&phase) || self.next_look == i64::MAX {
            self.enter(phase);
            self.inserting = None;
            self.looks = 0;
            self.next_look = now + LOOK_INTERVAL;
        }
    }

    /// The chat link does not go into the reply when it comes.
    fn forget_sending(&mut self) {
        if let Phase::Ready(ready) = &mut self.phase
            && std::mem::take(&mut ready.sends_chat)
        {
            self.inserting = None;
        }
    }

    /// The session is over: nothing more can be asked for, and what is there stays.
    fn end(&mut self) {
        self.forget_sending();
        let mut kept = match std::mem::replace(&mut self.phase, Phase::Connecting) {
            Phase::Ready(ready) => Some(ready),
            Phase::Ended(kept) => kept,
            _ => None,
        };
        if let Some(ready) = &mut kept {
            ready.put_back();
        }
        self.enter(Phase::Ended(kept));
        self.announce(Text::EndedTitle);
    }

    /// Asks for what shows whether the agent has a session again.
    fn revive(&mut self, now: i64) -> Option<Command> {
        // So that it is told again when it is still so.
        self.announcement.clear();
        match &mut self.phase {
            Phase::Ended(Some(ready)) => ready.sessions.ask(now),
            _ => Some(self.load()),
        }
    }

    fn load(&mut self) -> Command {
        self.enter(Phase::Loading);
        self.loads = self.loads.wrapping_add(1);
        self.inserting = None;
        Command::Call(Call::Load)
    }

    fn pass_time(&mut self, now: i64) -> Option<Command> {
        self.copied = self.copied.filter(|&(_, until)| now < until);
        let has_no_ticket = matches!(self.phase, Phase::Unsaved | Phase::NoHost) || self.is_host_silent();
        if self.watched && now >= self.next_look && has_no_ticket {
            self.looks = (self.looks + 1).min(5);
            self.next_look = now + (LOOK_INTERVAL << self.looks).min(LOOK_PAUSE);
            return Some(Command::Look);
        }
        let (ready, is_ended) = match &mut self.phase {
            Phase::Ready(ready) => (ready, false),
            Phase::Ended(Some(ready)) => (ready, true),
            _ => return None,
        };
        let mut command = None;
        if !is_ended {
            command = ready.tell_again(now);
            if self.watched && command.is_none() {
                command = ready.ask_what_is_due(now);
            }
        }
        let links = &mut ready.machines.list.links;
        let count = links.len();
        links.retain(|link| link.expires_at.is_none_or(|expires_at| now < expires_at));
        if links.len() < count {
            self.announce(Text::ChatExpired);
        } else if let Some(thing) = Thing::ALL.into_iter().find(|&thing| ready.expire(thing, now)) {
            self.announce(thing.texts()[4]);
        }
        command
    }

    fn announce(&mut self, text: Text) {
        self.announcement = self.texts.get(text).into();
    }

    fn notify(&mut self, text: Text, kind: NoticeKind) -> Command {
        self.announce(text);
        Command::Notify(self.announcement.clone(), kind)
    }
}

impl Ready {
    fn new(offer: PanelModel, now: i64) -> Self {
        Self {
            recording: None,
            is_page_old: false,
            report_first: false,
            uncertain_until: 0,
            has_reply: true,
            record_in_page: false,
            sends_chat: false,
            jump_blocked: false,
            blocked_recording: None,
            slots: [Slot::Empty, Slot::Empty, Slot::Empty],
            former: [None, None, None],
            form: Form::new(&offer),
            sessions: Sessions { list: Vec::new(), inquiry: Inquiry { next: now, ..Inquiry::default() } },
            machines: Machines::default(),
            offer,
        }
    }

    /// How far that thing is.
    pub fn slot(&self, thing: Thing) -> &Slot {
        &self.slots[thing as usize]
    }

    /// The last one made, also while another one is on its way or did not come.
    pub fn made(&self, thing: Thing) -> Option<&Made> {
        self.slot(thing).made().or(self.former[thing as usize].as_deref())
    }

    /// The last one made, unless it has expired.
    pub fn fresh(&self, thing: Thing) -> Option<&Made> {
        self.made(thing).filter(|made| !made.expired)
    }

    /// What was on its way will not come.
    fn put_back(&mut self) {
        for inquiry in [&mut self.sessions.inquiry, &mut self.machines.inquiry] {
            inquiry.asking = false;
            // What is wrong is the session.
            inquiry.problem = None;
        }
        for (slot, former) in self.slots.iter_mut().zip(&mut self.former) {
            if matches!(slot, Slot::Busy) {
                *slot = former.take().map_or(Slot::Empty, Slot::Made);
            }
        }
        for link in &mut self.machines.list.links {
            link.is_marked = false;
        }
    }

    /// What to say, and what to do.
    fn update(&mut self, event: Event, now: i64, texts: &Texts) -> (Option<String>, Option<Command>) {
        match event {
            Event::Filled(field, value) => {
                self.fill(field, value);
                if field == Field::Search {
                    self.machines.is_stale = true;
                    return (None, self.ask_for_machines(now));
                }
            }
            Event::Pressed(action) => return (None, self.press(action, now, texts)),
            Event::Made(Thing::Jump, made) if self.offer.machines => {
                self.slots[Thing::Jump as usize] = Slot::Empty;
                // What is on its way may not have it yet.
                self.machines.is_stale = true;
                let machine = self.form.value(Field::Target).to_owned();
                let state = self.form.method.map_or("", JumpMethod::name).into();
                let url = made.url.clone();
                let links = &mut self.machines.list.links;
                let link = Entry { id: made.link, state, machine, url: made.url, expires_at: made.expires_at, ..Entry::default() };
                // Without an id there is nothing to end, and the address before has been opened.
                match find(links, &link.id) {
                    Some(known) => *known = link,
                    None => links.push(link),
                }
                return (Some(texts.get(Text::LinkMade).into()), Some(Command::Open(url)));
            }
            Event::Made(thing, made) => {
                let said = texts.fill(thing.texts()[3], "key", &spelled(&made.short_key));
                let opens = (thing == Thing::Jump).then(|| Command::Open(made.url.clone()));
                self.slots[thing as usize] = Slot::Made(made);
                self.former[thing as usize] = None;
                self.expire(thing, now);
                let sends = thing == Thing::ChatLink && std::mem::take(&mut self.sends_chat);
                let inserts = if sends { self.insertion(Part::ChatLink, texts) } else { None };
                return (Some(said), opens.or(inserts));
            }
            Event::Opened(false) if self.offer.machines => return tell(texts.get(Text::LinkBlocked).into(), NoticeKind::Fault),
            Event::Opened(opened) => {
                self.jump_blocked = !opened;
                return (self.jump_blocked.then(|| texts.get(Text::JumpBlocked).into()), None);
            }
            Event::Sessions(list) => {
                let news = self.sessions.news(&list).map(|session| (session.state, told(session, texts)));
                self.sessions.list = list;
                self.sessions.inquiry.heard();
                self.report_first |= self.has_recordable();
                return match news {
                    Some((SessionState::Waiting, news)) => tell(news, NoticeKind::Done),
                    news => (news.map(|(_, news)| news), None),
                };
            }
            Event::Refused(Call::Make(thing, _), problem) => self.slots[thing as usize] = Slot::Failed(problem),
            Event::Refused(Call::Sessions, problem) => self.sessions.inquiry.failed(problem, now),
            Event::Refused(Call::Machines { .. }, problem) => self.machines.inquiry.failed(problem, now),
            Event::Machines(list) => {
                self.machines.inquiry.asking = false;
                if self.machines.is_stale {
                    return (None, self.ask_for_machines(now));
                }
                return (self.machines.heard(*list, texts), None);
            }
            Event::Done(Deed::Open(method), machine) if self.offer.machines && *self.slot(Thing::Jump) != Slot::Busy => {
                self.form.method = Some(method);
                self.form.set(Field::Target, machine);
                return (None, self.make(Thing::Jump));
            }
            Event::Done(Deed::CopyLink, id) => {
                let url = self.machines.link(&id).map(|link| link.url.clone());
                self.machines.copied = id;
                return (None, url.map(|url| Command::Copy(Part::MachineLink, url)));
            }
            Event::Done(Deed::EndLink, id) => {
                if let Some(link) = self.machines.link(&id)
                    && !std::mem::replace(&mut link.is_marked, true)
                {
                    return (None, Some(Command::Call(Call::EndLink(id))));
                }
            }
            Event::Done(Deed::Watch, lsid) => return (None, Some(Command::Call(Call::Recording(lsid)))),
            Event::Recording(lsid, url) => {
                self.blocked_recording = None;
                return (None, Some(Command::OpenRecording(lsid, url)));
            }
            Event::RecordingBlocked(lsid, url) => self.blocked_recording = Some((lsid, url)),
            Event::LinkEnded(id) => {
                self.machines.is_stale = true;
                self.machines.list.links.retain(|link| link.id != id);
                return tell(texts.get(Text::LinkEnded).into(), NoticeKind::Done);
            }
            Event::Refused(call @ (Call::EndLink(_) | Call::Recording(_)), problem) => {
                if let Call::EndLink(id) = call
                    && let Some(link) = self.machines.link(&id)
                {
                    link.is_marked = false;
                }
                return tell(problem.message(texts), NoticeKind::Fault);
            }
            event if RECORDS_IN_PAGE && self.record_in_page => return self.record(event, now, texts),
            _ => {}
        }
        (None, None)
    }

    /// One question at a time; what else is due is asked at the next tick.
    fn ask_what_is_due(&mut self, now: i64) -> Option<Command> {
        let machines = if now >= self.machines.inquiry.next { self.ask_for_machines(now) } else { None };
        if machines.is_none() && now >= self.sessions.inquiry.next { self.sessions.ask(now) } else { machines }
    }

    fn ask_for_machines(&mut self, now: i64) -> Option<Command> {
        if !self.offer.machines || !self.machines.inquiry.ask(now, MACHINES_INTERVAL) {
            return None;
        }
        self.machines.is_stale = false;
        let target = self.offer.target.clone().unwrap_or_default();
        Some(Command::Call(Call::Machines { search: self.form.value(Field::Search).into(), target }))
    }

    /// Whether this session's report waits for somebody to put it onto the ticket.
    pub fn is_recordable(&self, session: &LiveSession) -> bool {
        RECORDS_IN_PAGE && self.record_in_page && session.state == SessionState::Ended
    }

    /// Whether a report waits for somebody to put it onto the ticket.
    pub fn has_recordable(&self) -> bool {
        self.sessions.list.iter().any(|session| self.is_recordable(session))
    }

    /// A confirmation that got lost is sent again, as often as it takes.
    fn tell_again(&mut self, now: i64) -> Option<Command> {
        let recording = self.recording.as_mut().filter(|_| RECORDS_IN_PAGE)?;
        let untold = recording.untold.as_mut().filter(|untold| now >= untold.next)?;
        // Until the answer, which sets the next time.
        untold.next = i64::MAX;
        Some(Command::Call(Call::Recorded(recording.lsid.clone(), recording.lease())))
    }

    /// One report at a time: asked of the server, written by the page, told to the server. Each step may be done again; the marker sees to it
    /// that the note stands there once.
    fn record(&mut self, event: Event, now: i64, texts: &Texts) -> (Option<String>, Option<Command>) {
        let under_way = self.recording.as_mut().filter(|recording| recording.fault.is_none());
        match (event, under_way) {
            (Event::Done(Deed::Record, lsid), None) => {
                let known = self.sessions.list.iter().any(|session| session.lsid == lsid && self.is_recordable(session));
                if known {
                    self.recording = Some(Recording { lsid: lsid.clone(), note: None, fault: None, reload_helps: false, untold: None });
                    return (None, Some(Command::Call(Call::Report(lsid))));
                }
            }
            (Event::Report(report), Some(recording)) if report.lsid == recording.lsid => {
                if report.is_recorded {
                    return self.recorded(now, texts);
                }
                recording.note = Some(report.note.clone());
                return (None, Some(Command::PostNote(report.lsid, report.note)));
            }
            (Event::NotePosted(lsid, result), Some(recording)) if lsid == recording.lsid => match result {
                Ok(()) => return (None, Some(Command::Call(Call::Recorded(lsid, recording.lease())))),
                Err(fault) => {
                    // Not while one may still be under way, this or an earlier one.
                    if fault == NoteFault::Uncertain {
                        self.uncertain_until = now + i64::from(NOTE_LEASE_MS);
                    }
                    let given_up = (now >= self.uncertain_until).then(|| Command::Call(Call::GivenUp(recording.lease())));
                    recording.reload_helps = matches!(fault, NoteFault::PageTooOld | NoteFault::Uncertain);
                    recording.fault = Some(note_fault(&fault, texts));
                    return (None, given_up);
                }
            },
            (Event::Recorded(lsid), Some(recording)) if lsid == recording.lsid => return self.recorded(now, texts),
            (Event::Refused(Call::Recorded(lsid, _), problem), Some(recording)) if lsid == recording.lsid && problem.may_pass() => {
                let failures = recording.untold.map_or(0, |untold| untold.failures);
                let next = now + (RETRY_PAUSE << failures).min(SESSIONS_PAUSE);
                recording.untold = Some(Untold { next, failures: (failures + 1).min(4) });
            }
            (Event::Refused(Call::Report(lsid) | Call::Recorded(lsid, _), problem), Some(recording)) if lsid == recording.lsid => {
                recording.untold = None;
                recording.fault = Some(problem.message(texts));
            }
            _ => {}
        }
        (None, None)
    }

    fn recorded(&mut self, now: i64, texts: &Texts) -> (Option<String>, Option<Command>) {
        if let Some(Recording { lsid, .. }) = self.recording.take() {
            self.sessions.list.iter_mut().filter(|session| session.lsid == lsid).for_each(|session| session.state = SessionState::Recorded);
        }
        self.is_page_old = true;
        // The next tick asks.
        self.sessions.inquiry.next = now;
        let said = texts.get(Text::RecordDone).to_owned();
        tell(said, NoticeKind::Done)
    }

    fn fill(&mut self, field: Field, value: String) {
        if field == Field::Method {
            let method = JumpMethod::from_name(&value);
            self.form.method = method.filter(|method| self.offer.methods.contains(method)).or(self.form.method);
            self.form.faults.clear();
            let jump = &mut self.slots[Thing::Jump as usize];
            if *jump != Slot::Busy {
                *jump = Slot::Empty;
            }
        } else {
            self.form.set(field, value);
        }
    }

    fn press(&mut self, action: Action, now: i64, texts: &Texts) -> Option<Command> {
        match action {
            Action::Reload | Action::OpenSettings => None,
            Action::Make(thing) => self.make(thing),
            Action::ToggleOptions => {
                self.form.options_open = !self.form.options_open;
                None
            }
            Action::RefreshSessions => {
                self.machines.inquiry.next = now;
                self.sessions.ask(now)
            }
            Action::ReloadPage => Some(Command::ReloadPage),
            Action::Launch => {
                self.jump_blocked = false;
                None
            }
            Action::Copy(part) => Some(Command::Copy(part, self.text_of(part)?)),
            Action::Insert(Part::ChatLink) if self.fresh(Thing::ChatLink).is_none() => {
                let command = self.make(Thing::ChatLink);
                self.sends_chat = command.is_some();
                command
            }
            Action::Insert(part) => self.insertion(part, texts),
        }
    }

    /// A chat link goes into the reply with a sentence around it.
    fn insertion(&self, part: Part, texts: &Texts) -> Option<Command> {
        let text = self.text_of(part)?;
        Some(Command::Insert(if part == Part::ChatLink { texts.fill(Text::ChatReply, "link", &text) } else { text }))
    }

    fn make(&mut self, thing: Thing) -> Option<Command> {
        if *self.slot(thing) == Slot::Busy {
            return None;
        }
        let fields = match thing {
            Thing::Key => Vec::new(),
            Thing::ChatLink => self.form.given(&[Field::Issue]),
            Thing::Jump => {
                let method = self.form.method?;
                self.form.check(method);
                if let Some(&(first, _)) = self.form.faults.first() {
                    return Some(Command::Focus(first));
                }
                self.form.jump(method)
            }
        };
        let before = std::mem::replace(&mut self.slots[thing as usize], Slot::Busy);
        // A key in a customer's hands is good until it expires, whatever comes of the next one. A Jump is for its machine alone.
        if let Slot::Made(made) = before
            && thing != Thing::Jump
        {
            self.former[thing as usize] = Some(made);
        }
        Some(Command::Call(Call::Make(thing, fields)))
    }

    /// Whether it expired just now.
    fn expire(&mut self, thing: Thing, now: i64) -> bool {
        let made = match &mut self.slots[thing as usize] {
            Slot::Made(made) => Some(made),
            _ => self.former[thing as usize].as_mut(),
        };
        match made {
            Some(made) if !made.expired => {
                made.expired = made.expires_at.is_some_and(|expires_at| expires_at <= now);
                made.expired
            }
            _ => false,
        }
    }

    fn text_of(&self, part: Part) -> Option<String> {
        if RECORDS_IN_PAGE && part == Part::Report {
            return Some(self.recording.as_ref()?.note.as_ref()?.text.clone());
        }
        let thing = match part {
            Part::ChatLink => Thing::ChatLink,
            Part::JumpLink => Thing::Jump,
            _ => Thing::Key,
        };
        let made = self.made(thing)?;
        let text = match part {
            Part::Key => &made.short_key,
            Part::Mail if !made.mail_body.is_empty() => &made.mail_body,
            Part::Mail | Part::KeyLink | Part::JumpLink | Part::ChatLink | Part::Report | Part::MachineLink => &made.url,
        };
        Some(text.clone())
    }
}

impl Slot {
    /// What was made, if it was.
    pub fn made(&self) -> Option<&Made> {
        if let Self::Made(made) = self { Some(made) } else { None }
    }

    /// What was made, unless it has expired.
    pub fn fresh(&self) -> Option<&Made> {
        self.made().filter(|made| !made.expired)
    }
}

impl Sessions {
    fn ask(&mut self, now: i64) -> Option<Command> {
        self.inquiry.ask(now, SESSIONS_INTERVAL).then_some(Command::Call(Call::Sessions))
    }

    /// A session that has come or changed. Of those already there at first only one whose customer waits.
    fn news<'a>(&self, list: &'a [LiveSession]) -> Option<&'a LiveSession> {
        let is_old = |session: &LiveSession| self.list.iter().any(|known| known.lsid == session.lsid && known.state == session.state);
        let mut news = None;
        for session in list.iter().filter(|session| !is_old(session)) {
            if session.state == SessionState::Waiting {
                return Some(session);
            }
            news = news.or(Some(session).filter(|_| self.inquiry.known));
        }
        news
    }
}

impl Machines {
    fn link(&mut self, id: &str) -> Option<&mut Entry> {
        find(&mut self.list.links, id)
    }

    /// Takes a list. What is listed already keeps its place, so that nobody presses what has just moved under their finger. Answers what has become of
    /// the ticket's machines.
    fn heard(&mut self, mut list: MachineList, texts: &Texts) -> Option<String> {
        let mut news = None;
        let mut place = 0;
        for known in &self.list.machines {
            if let Some(found) = list.machines.iter().position(|machine| machine.id == known.id) {
                let machine = &list.machines[found];
                if machine.is_marked && machine.state != known.state {
                    news = Some(join(&[&machine.name, ": ", texts.by_name("state_", &machine.state)]));
                }
                for before in (place..found).rev() {
                    list.machines.swap(before, before + 1);
                }
                place += 1;
            }
        }
        for known in &mut self.list.links {
            if let Some(link) = find(&mut list.links, &known.id) {
                link.url = std::mem::take(&mut known.url);
                link.is_marked = known.is_marked;
            } else if known.id.is_empty() {
                // No link of the server's: it stays until the next one is made.
                list.links.push(std::mem::take(known));
            }
        }
        if list.machines.is_empty() {
            news = Some(texts.get(Text::MachinesNotFound).into());
        }
        self.list = list;
        self.inquiry.heard();
        news
    }
}

fn find<'a>(entries: &'a mut [Entry], id: &str) -> Option<&'a mut Entry> {
    entries.iter_mut().find(|entry| entry.id == id)
}

/// What a screen reader is told, and the others in a notice.
fn tell(said: String, kind: NoticeKind) -> (Option<String>, Option<Command>) {
    (Some(said.clone()), Some(Command::Notify(said, kind)))
}

impl Inquiry {
    /// Whether the server is being asked.
    pub const fn is_asking(&self) -> bool {
        self.asking
    }

    /// Whether to ask now: one question at a time. The next one is due so long after this one was asked, however long its answer takes.
    fn ask(&mut self, now: i64, interval: i64) -> bool {
        if !self.asking {
            self.next = now + interval;
        }
        !std::mem::replace(&mut self.asking, true)
    }

    fn heard(&mut self) {
        *self = Self { known: true, next: self.next, ..Self::default() };
    }

    fn failed(&mut self, problem: Problem, now: i64) {
        self.problem = Some(problem);
        self.asking = false;
        self.failures = (self.failures + 1).min(4);
        self.next = now + (RETRY_PAUSE << self.failures).min(SESSIONS_PAUSE);
    }
}

impl Form {
    fn new(offer: &PanelModel) -> Self {
        let mut form = Self { method: offer.methods.first().copied(), options_open: false, faults: Vec::new(), values: Default::default() };
        for (field, value) in [
            (Field::Target, offer.target.as_deref()),
            (Field::Jumpoint, offer.jumpoints.first().map(String::as_str)),
            (Field::Issue, offer.issues.first().map(|issue| issue.code_name.as_str())),
            (Field::Protocol, Some("ssh")),
            (Field::Port, Some("22")),
        ] {
            form.set(field, value.unwrap_or_default().into());
        }
        form
    }

    /// What stands in the field.
    pub fn value(&self, field: Field) -> &str {
        self.values.get(field as usize).map_or("", String::as_str)
    }

    fn set(&mut self, field: Field, value: String) {
        // A port nobody touched follows the protocol.
        if field == Field::Protocol {
            let (before, after) = if value == "telnet" { ("22", "23") } else { ("23", "22") };
            if self.value(Field::Port) == before {
                self.set(Field::Port, after.into());
            }
        }
        if let Some(held) = self.values.get_mut(field as usize) {
            *held = value;
        }
        self.faults.retain(|(faulty, _)| *faulty != field);
    }

    /// Finds what is wrong with the method's fields; a fault among the options opens them.
    fn check(&mut self, method: JumpMethod) {
        self.faults.clear();
        let options = Field::options_of(method);
        for &field in Field::main_of(method).iter().chain(options) {
            let value = self.value(field).trim_ascii();
            let fault = if field == Field::Target && value.is_empty() {
                Text::TargetMissing
            } else if field == Field::Port && !value.is_empty() && port(value).is_none() {
                Text::PortRange
            } else if characters(value) > TEXT_LIMIT {
                Text::TooLong
            } else {
                continue;
            };
            self.options_open |= options.contains(&field);
            self.faults.push((field, fault));
        }
    }

    fn jump(&self, method: JumpMethod) -> Vec<(Field, String)> {
        let mut fields = vec![(Field::Method, method.name().into())];
        fields.append(&mut self.given(Field::main_of(method)));
        fields.append(&mut self.given(Field::options_of(method)));
        fields
    }

    /// Those which are not left empty.
    fn given(&self, fields: &[Field]) -> Vec<(Field, String)> {
        let mut given = Vec::new();
        for &field in fields {
            let value = self.value(field).trim_ascii();
            if !value.is_empty() {
                given.push((field, value.into()));
            }
        }
        given
    }
}

/// How many there are: bytes that go on with a character do not count. `chars` brings the reading of UTF-8 along.
fn characters(text: &str) -> u32 {
    text.bytes().fold(0, |count, byte| count + u32::from(byte & 0xC0 != 0x80))
}

/// Who the session is with.
pub fn customer_name<'a>(session: &'a LiveSession, texts: &'a Texts) -> &'a str {
    let named = session.customer.as_deref().filter(|name| !name.is_empty());
    named.or(session.machine.as_deref()).unwrap_or(texts.get(Text::UnnamedCustomer))
}

/// What a screen reader is told of a session that has come or changed.
fn told(session: &LiveSession, texts: &Texts) -> String {
    if session.state == SessionState::Waiting {
        return waiting(session, texts);
    }
    let news = texts.fill(Text::SessionNews, "name", customer_name(session, texts));
    fill(&news, "state", texts.by_name("state_", session.state.name()))
}

/// That the customer waits for a representative, by name where it is known.
pub fn waiting(session: &LiveSession, texts: &Texts) -> String {
    let waiting = texts.get(Text::CustomerWaiting);
    match session.customer.as_deref() {
        None | Some("") => waiting.into(),
        Some(name) => join(&[waiting, ": ", name]),
    }
}

/// What the agent reads of a fault.
fn note_fault(fault: &NoteFault, texts: &Texts) -> String {
    let text = match fault {
        NoteFault::Merged(ticket) => return texts.fill(Text::RecordMerged, "ticket", ticket),
        NoteFault::LockedByOther(Some(agent)) => return texts.fill(Text::RecordLockedBy, "agent", agent),
        NoteFault::Cannot => Text::RecordCannot,
        NoteFault::SignedOut => Text::RecordSignedOut,
        NoteFault::NotAllowed => Text::RecordNotAllowed,
        NoteFault::PageTooOld => Text::RecordPageTooOld,
        NoteFault::LockedByOther(None) => Text::RecordLockedByOther,
        NoteFault::LockedElsewhere => Text::RecordLockedElsewhere,
        NoteFault::NotReached => Text::RecordNotReached,
        NoteFault::TooLate => Text::RecordTooLate,
        NoteFault::Refused => Text::RecordRefused,
        NoteFault::Uncertain => Text::RecordUncertain,
    };
    texts.get(text).into()
}

/// Whether the URL leads to a web page.
pub fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

/// Letter by letter, so that a screen reader does not try to pronounce a key.
pub fn spelled(key: &str) -> String {
    let mut out = String::new();
    for character in key.chars() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api::{Issue, MachineState};

    pub const NOW: i64 = 1_800_000_000_000;

    /// A panel at work. Its texts are their names; those with placeholders show what they are filled with.
    pub fn at_work() -> Panel {
        let mut panel = loading();
        panel.update(loaded(offer()), NOW);
        panel.update(Event::Sessions(Vec::new()), NOW);
        panel
    }

    /// A panel that waits for its model.
    fn loading() -> Panel {
        let mut panel = Panel::new(texts(), "en".into());
        panel.update(Event::Ticket { place: place("1"), locale: "en".into() }, NOW);
        panel
    }

    fn loaded(offer: PanelModel) -> Event {
        Event::Loaded(Box::new(Loaded { offer, texts: texts(), record_in_page: false, has_reply: true }))
    }

    /// A panel at work on a ticket that gets its reports through the page, with a session that has ended and one that goes on.
    pub fn at_work_in_page() -> Panel {
        let mut panel = loading();
        let loaded = Loaded { offer: offer(), texts: texts(), record_in_page: true, has_reply: true };
        panel.update(Event::Loaded(Box::new(loaded)), NOW);
        panel.update(Event::Sessions(vec![session(SessionState::Ended), session(SessionState::Active)]), NOW);
        panel
    }

    /// A panel at work with an engine that lists its machines: the ticket's, one more, and one off line.
    pub fn at_work_with_machines() -> Panel {
        let mut panel = loading();
        panel.update(loaded(offer_of_machines()), NOW);
        panel.update(Event::Sessions(Vec::new()), NOW);
        let list = vec![machine("LAPTOP-0042", "online"), machine("FRONT-DESK", "in_use"), machine("ATTIC", "offline")];
        panel.update(heard(list, Vec::new()), NOW);
        panel
    }

    fn offer_of_machines() -> PanelModel {
        let methods = vec![JumpMethod::Desktop, JumpMethod::Terminal, JumpMethod::Files];
        PanelModel { methods, jumpoints: Vec::new(), issues: Vec::new(), session_keys: false, machines: true, ..offer() }
    }

    pub fn machine(name: &str, state: &str) -> Entry {
        let is_marked = name == "LAPTOP-0042";
        Entry { id: "node//".to_owned() + name, name: name.into(), state: state.into(), is_marked, ..Entry::default() }
    }

    pub fn link_entry(id: &str) -> Entry {
        Entry {
            id: id.into(),
            name: "LAPTOP-0042".into(),
            state: "terminal".into(),
            person: "Rita".into(),
            machine: "node//LAPTOP-0042".into(),
            expires_at: Some(NOW + 600_000),
            ..Entry::default()
        }
    }

    pub fn heard(machines: Vec<Entry>, links: Vec<Entry>) -> Event {
        Event::Machines(Box::new(MachineList { machines, more: false, links }))
    }

    pub fn link_made(id: &str) -> Event {
        let made = Made {
            url: "https://mesh.example.com/s/".to_owned() + id,
            link: id.into(),
            expires_at: Some(NOW + 600_000),
            ..Made::default()
        };
        Event::Made(Thing::Jump, Box::new(made))
    }

    fn texts() -> Texts {
        let placeholders = |name: &str| match name {
            "key_made" => " {key}",
            "chat_reply" => " {link}",
            "expires_in" => " {time}",
            "with_representative" => " {name}",
            "time_since" => " {start}",
            "time_span" => " {start} {end}",
            "session_news" => " {name} {state}",
            "record_locked_by" => " {agent}",
            "record_merged" => " {ticket}",
            "unexpected" => " {status}",
            _ => "",
        };
        let mut texts = Texts::read(|name| Some(name.to_owned() + placeholders(name)));
        let methods =
            JumpMethod::ALL.into_iter().flat_map(|method| ["method_", "hint_"].map(|beginning| beginning.to_owned() + method.name()));
        let states = SessionState::ALL.map(SessionState::name).into_iter().chain(MachineState::ALL.map(MachineState::name));
        for name in methods.chain(states.map(|state| "state_".to_owned() + state)) {
            texts.add(name.clone(), name);
        }
        texts
    }

    fn place(ticket: &str) -> Place {
        Place { connection: "Zendesk production".into(), ticket: ticket.into() }
    }

    fn offer() -> PanelModel {
        let issue = |code_name: &str| Issue { code_name: code_name.into(), title: code_name.to_uppercase() };
        PanelModel {
            connection: "Zendesk production".into(),
            ticket: "1".into(),
            methods: JumpMethod::JUMPS.into(),
            jumpoints: vec!["HQ-Net".into(), "Branch".into()],
            issues: vec![issue("general_tech"), issue("network")],
            target: Some("LAPTOP-0042".into()),
            locale: "en".into(),
            help_center_page: None,
            session_keys: true,
            machines: false,
        }
    }

    pub fn key() -> Made {
        Made {
            url: "https://support.example.com/?ak=1".into(),
            short_key: "K7QX42P".into(),
            mail_subject: "Your session".into(),
            mail_body: "Open https://support.example.com/?ak=1".into(),
            expires_at: Some(NOW + 600_000),
            ..Made::default()
        }
    }

    pub fn problem() -> Problem {
        Problem {
            status: 502,
            title: "The appliance does not answer".into(),
            detail: "Ask your administrator.".into(),
            ..Problem::default()
        }
    }

    pub fn session(state: SessionState) -> LiveSession {
        LiveSession {
            lsid: state.name().repeat(4),
            state,
            representative: Some("Rita".into()),
            customer: Some("Charlie Customer".into()),
            started_at: Some("2026-11-22T10:00:00Z".into()),
            ended_at: matches!(state, SessionState::Ended | SessionState::Recorded).then(|| "2026-11-22T10:31:00Z".into()),
            machine: None,
            kind: None,
            recording: false,
        }
    }

    fn ready(panel: &Panel) -> &Ready {
        let Phase::Ready(ready) = &panel.phase else { panic!("not ready: {:?}", panel.phase) };
        ready
    }

    fn fill_in(panel: &mut Panel, fields: &[(Field, &str)]) {
        for &(field, value) in fields {
            assert_eq!(panel.update(Event::Filled(field, value.into()), NOW), None);
        }
    }

    fn press(panel: &mut Panel, action: Action) -> Option<Command> {
        panel.update(Event::Pressed(action), NOW)
    }

    fn refuse(call: Call) -> Event {
        Event::Refused(call, problem())
    }

    #[test]
    fn a_ticket_is_asked_about_once() {
        let mut panel = Panel::new(texts(), "en".into());
        assert_eq!(panel.phase, Phase::Connecting);
        let ticket = |id| Event::Ticket { place: place(id), locale: "de".into() };
        assert_eq!(panel.update(ticket("1"), NOW), Some(Command::Call(Call::Load)));
        assert_eq!(panel.update(ticket("1"), NOW), None, "is on its way");
        assert_eq!(panel.locale, "de");
        let asked = panel.update(loaded(offer()), NOW);
        assert_eq!(asked, Some(Command::Call(Call::Sessions)));
        assert_eq!(panel.update(ticket("1"), NOW), None, "is there");
        assert_eq!(panel.update(ticket("2"), NOW), Some(Command::Call(Call::Load)), "is another");
    }

    #[test]
    fn an_unsaved_ticket_waits_for_its_id() {
        let mut panel = Panel::new(texts(), "en".into());
        assert_eq!(panel.update(Event::Unsaved, NOW), None);
        assert_eq!((panel.phase.clone(), panel.place.clone()), (Phase::Unsaved, None));
        assert_eq!(press(&mut panel, Action::Make(Thing::Key)), None);
        assert_eq!(panel.update(Event::NoHost, NOW), None);
        assert_eq!(panel.phase, Phase::Unsaved, "the host has answered");
        panel.update(Event::Ticket { place: place("1"), locale: "en".into() }, NOW);
        assert_eq!(panel.phase, Phase::Loading);
    }

    #[test]
    fn a_silent_host_is_told_and_may_still_come() {
        let mut panel = Panel::new(texts(), "en".into());
        panel.update(Event::NoHost, NOW);
        assert_eq!(panel.phase, Phase::NoHost);
        panel.update(Event::Ticket { place: place("1"), locale: "en".into() }, NOW);
        assert_eq!(panel.phase, Phase::Loading);
    }

    #[test]
    fn a_model_that_did_not_come_can_be_asked_for_again() {
        let mut panel = Panel::new(texts(), "en".into());
        panel.update(Event::Ticket { place: place("1"), locale: "en".into() }, NOW);
        panel.update(refuse(Call::Load), NOW);
        assert_eq!(panel.phase, Phase::Failed(problem()));
        assert_eq!(press(&mut panel, Action::Reload), Some(Command::Call(Call::Load)));
        assert_eq!(panel.phase, Phase::Loading);
    }

    #[test]
    fn an_ended_session_stops_everything() {
        let over = || Problem { status: 401, ..problem() };
        for call in [Call::Load, Call::Sessions, Call::Make(Thing::Key, Vec::new()), Call::Report(String::new())] {
            let mut panel = at_work();
            panel.update(Event::Refused(call, over()), NOW);
            assert!(matches!(panel.phase, Phase::Ended(_)), "{:?}", panel.phase);
            assert_eq!(panel.update(Event::Tick, NOW + 60_000), None);
            assert_eq!(press(&mut panel, Action::Make(Thing::Key)), None);
        }
    }

    #[test]
    fn an_ended_session_keeps_what_is_shown_and_comes_back() {
        let over = |call| Event::Refused(call, Problem { status: 401, ..problem() });
        let made = |panel: &Panel| {
            let (Phase::Ready(ready) | Phase::Ended(Some(ready))) = &panel.phase else { panic!("nothing is kept: {:?}", panel.phase) };
            ready.made(Thing::Key).cloned()
        };
        let mut panel = at_work();
        fill_in(&mut panel, &[(Field::Target, "LAPTOP-7")]);
        panel.update(Event::Made(Thing::Key, Box::new(key())), NOW);
        press(&mut panel, Action::Make(Thing::Key));
        panel.update(over(Call::Make(Thing::Key, Vec::new())), NOW);
        assert_eq!((made(&panel), panel.announcement.as_str()), (Some(key()), "ended_title"));
        assert_eq!(press(&mut panel, Action::Copy(Part::Key)), Some(Command::Copy(Part::Key, "K7QX42P".into())));
        assert_eq!(press(&mut panel, Action::Make(Thing::Key)), None);
        assert_eq!(panel.update(Event::Ticket { place: place("1"), locale: "en".into() }, NOW), None, "is the same ticket");
        // It is asked for again when it is looked at, and when the person says so.
        assert_eq!(panel.update(Event::Watched(false), NOW), None);
        assert_eq!(panel.update(Event::Watched(true), NOW), Some(Command::Call(Call::Sessions)));
        assert_eq!(press(&mut panel, Action::Reload), None, "is on its way");
        panel.update(over(Call::Sessions), NOW);
        assert_eq!(press(&mut panel, Action::Reload), Some(Command::Call(Call::Sessions)));
        panel.update(refuse(Call::Sessions), NOW);
        assert!(matches!(panel.phase, Phase::Ended(_)), "only an answer shows a session");
        panel.announcement = "ended_title".into();
        assert_eq!(press(&mut panel, Action::Reload), Some(Command::Call(Call::Sessions)));
        assert_eq!(panel.announcement, "", "so that it can be told again");
        panel.announcement = "ended_title".into();
        panel.update(Event::Sessions(Vec::new()), NOW);
        assert_eq!(panel.announcement, "", "is over");
        assert_eq!((made(&panel), ready(&panel).form.value(Field::Target)), (Some(key()), "LAPTOP-7"));
        assert!(matches!(press(&mut panel, Action::Make(Thing::Key)), Some(Command::Call(_))));
        // What is kept still expires.
        panel.update(over(Call::Make(Thing::Key, Vec::new())), NOW);
        panel.update(Event::Tick, NOW + 600_000);
        assert_eq!((made(&panel).map(|made| made.expired), panel.announcement.as_str()), (Some(true), "key_expired"));
        // Nothing was there yet: the model is asked for.
        let mut panel = Panel::new(texts(), "en".into());
        panel.update(Event::Ticket { place: place("1"), locale: "en".into() }, NOW);
        panel.update(over(Call::Load), NOW);
        assert_eq!(panel.phase, Phase::Ended(None));
        assert_eq!(panel.update(Event::Watched(true), NOW), Some(Command::Call(Call::Load)));
        assert_eq!(panel.phase, Phase::Loading);
        assert_eq!(press(&mut panel, Action::Reload), None, "is on its way");
        panel.update(over(Call::Load), NOW);
        assert_eq!(panel.phase, Phase::Ended(None));
        assert_eq!(press(&mut panel, Action::Reload), Some(Command::Call(Call::Load)));
        panel.update(loaded(offer()), NOW);
        assert!(matches!(panel.phase, Phase::Ready(_)));
        // Another ticket is another page.
        panel.update(over(Call::Sessions), NOW);
        assert_eq!(panel.update(Event::Ticket { place: place("2"), locale: "en".into() }, NOW), Some(Command::Call(Call::Load)));
    }

    #[test]
    fn without_a_ticket_the_host_is_asked_again_with_growing_pauses() {
        for event in [Event::Unsaved, Event::HostRefused] {
            let mut panel = Panel::new(texts(), "en".into());
            panel.update(Event::NoHost, NOW);
            assert_eq!(panel.update(Event::Tick, NOW + 3_600_000), None, "a question that has no answer yet is not asked again");
            let mut now = NOW + 3_600_000;
            panel.update(event.clone(), now);
            for pause in [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
                assert_eq!(panel.update(Event::Tick, now + pause - 1), None, "{event:?} before {pause}");
                assert_eq!(panel.update(Event::Tick, now + pause), Some(Command::Look), "{event:?} after {pause}");
                now += pause;
                // The same answer again does not begin from the start.
                panel.update(event.clone(), now);
            }
            panel.update(Event::Watched(false), now);
            assert_eq!(panel.update(Event::Tick, now + 3_600_000), None, "nobody watches");
            assert_eq!(panel.update(Event::Watched(true), now + 3_600_000), Some(Command::Look));
        }
    }

    #[test]
    fn a_host_that_does_not_answer_can_be_asked_again() {
        for event in [Event::NoHost, Event::HostRefused] {
            let mut panel = Panel::new(texts(), "en".into());
            panel.update(event.clone(), NOW);
            assert_eq!(panel.phase, Phase::NoHost);
            assert_eq!(press(&mut panel, Action::Reload), Some(Command::Look));
            assert_eq!(panel.phase, Phase::Connecting);
            panel.update(event, NOW);
            assert_eq!(panel.phase, Phase::NoHost);
        }
        // A ticket that is saved, and then not to be read.
        let mut panel = Panel::new(texts(), "en".into());
        panel.update(Event::Unsaved, NOW);
        panel.update(Event::HostRefused, NOW);
        assert_eq!(panel.phase, Phase::NoHost);
        let mut panel = at_work();
        panel.update(Event::HostRefused, NOW);
        assert!(matches!(panel.phase, Phase::Ready(_)), "the ticket is known");
    }

    #[test]
    fn a_model_that_nobody_waits_for_changes_nothing() {
        let mut panel = at_work();
        panel.update(Event::Made(Thing::Key, Box::new(key())), NOW);
        let before = panel.clone();
        for event in [loaded(offer()), refuse(Call::Load)] {
            assert_eq!(panel.update(event, NOW), None);
            assert_eq!(panel, before);
        }
        // There and back again: only the last question's answer counts.
        let loads = panel.loads;
        for id in ["2", "1"] {
            panel.update(Event::Ticket { place: place(id), locale: "en".into() }, NOW);
        }
        assert_eq!(panel.loads, loads + 2);
    }

    #[test]
    fn nothing_is_made_for_a_ticket_in_doubt() {
        let ticket = |id: &str| Event::Ticket { place: place(id), locale: "en".into() };
        let acts = |panel: &mut Panel| {
            let actions = [Action::Make(Thing::Key), Action::Make(Thing::Jump), Action::Insert(Part::ChatLink)];
            actions.map(|action| press(panel, action).is_some())
        };
        let doubted = || {
            let mut panel = at_work();
            panel.update(Event::Made(Thing::ChatLink, Box::new(key())), NOW);
            assert_eq!(panel.update(Event::InDoubt, NOW), None);
            panel
        };
        let mut panel = doubted();
        assert_eq!(acts(&mut panel), [false; 3]);
        assert!(press(&mut panel, Action::Copy(Part::ChatLink)).is_some(), "what is there can be copied");
        // The same ticket goes on as it was.
        assert_eq!(panel.update(ticket("1"), NOW), None);
        assert_eq!(acts(&mut panel), [true; 3]);
        assert_eq!(doubted().update(ticket("2"), NOW), Some(Command::Call(Call::Load)));
        let mut panel = doubted();
        panel.update(Event::Unsaved, NOW);
        assert_eq!((&panel.phase, panel.doubt), (&Phase::Unsaved, None));
        // Without an answer it is told, and asked again when the person says so.
        let mut panel = doubted();
        panel.update(Event::NoHost, NOW);
        assert!(panel.is_host_silent() && matches!(panel.phase, Phase::Ready(_)));
        assert_ne!(panel.update(Event::Tick, NOW + 3_600_000), Some(Command::Look), "the question still stands");
        assert_eq!(press(&mut panel, Action::Reload), Some(Command::Look));
        assert!(!panel.is_host_silent());
        assert_eq!(acts(&mut panel), [false; 3]);
        panel.update(ticket("1"), NOW);
        assert_eq!(acts(&mut panel), [true; 3]);
        // A host that cannot name it is asked again by itself.
        let mut panel = doubted();
        let mut now = NOW;
        for pause in [2_000, 4_000, 8_000] {
            panel.update(Event::HostRefused, now);
            assert!(panel.is_host_silent());
            assert_ne!(panel.update(Event::Tick, now + pause - 1), Some(Command::Look), "before {pause}");
            now += pause;
            assert_eq!(panel.update(Event::Tick, now), Some(Command::Look), "after {pause}");
        }
        // A panel without a ticket has nothing to doubt.
        let mut panel = Panel::new(texts(), "en".into());
        panel.update(Event::InDoubt, NOW);
        assert_eq!(panel.doubt, None);
    }

    #[test]
    fn a_language_the_host_has_not_told_is_left_to_the_server() {
        let mut panel = Panel::new(texts(), "de".into());
        panel.update(Event::Ticket { place: place("1"), locale: String::new() }, NOW);
        assert_eq!((panel.locale.as_str(), panel.agent_locale.as_str()), ("de", ""));
        panel.update(Event::Ticket { place: place("2"), locale: "en".into() }, NOW);
        assert_eq!((panel.locale.as_str(), panel.agent_locale.as_str()), ("en", "en"));
    }

    #[test]
    fn a_key_stays_until_the_next_one_is_there() {
        for (thing, part) in [(Thing::Key, Part::KeyLink), (Thing::ChatLink, Part::ChatLink)] {
            let mut panel = at_work();
            let next = || Made { url: "https://support.example.com/?ak=2".into(), ..key() };
            let url = |panel: &mut Panel| match press(panel, Action::Copy(part)) {
                Some(Command::Copy(_, text)) => text,
                other => panic!("{other:?}"),
            };
            panel.update(Event::Made(thing, Box::new(key())), NOW);
            for _ in 0..2 {
                press(&mut panel, Action::Make(thing));
                assert_eq!((ready(&panel).slot(thing), ready(&panel).fresh(thing)), (&Slot::Busy, Some(&key())));
                panel.update(refuse(Call::Make(thing, Vec::new())), NOW);
                assert_eq!((ready(&panel).slot(thing), ready(&panel).fresh(thing)), (&Slot::Failed(problem()), Some(&key())));
                assert_eq!(url(&mut panel), key().url);
            }
            press(&mut panel, Action::Make(thing));
            panel.update(Event::Made(thing, Box::new(next())), NOW);
            assert_eq!((url(&mut panel), ready(&panel).fresh(thing)), (next().url, Some(&next())));
            press(&mut panel, Action::Make(thing));
            panel.update(refuse(Call::Make(thing, Vec::new())), NOW);
            panel.update(Event::Tick, NOW + 600_000);
            assert_eq!((ready(&panel).fresh(thing), panel.announcement.as_str()), (None, thing.texts()[4].name()));
        }
    }

    #[test]
    fn one_text_is_inserted_at_a_time() {
        let mut panel = at_work();
        panel.update(Event::Made(Thing::Key, Box::new(key())), NOW);
        panel.update(Event::Made(Thing::ChatLink, Box::new(key())), NOW);
        let insert = |panel: &mut Panel, part| press(panel, Action::Insert(part)).is_some();
        for (insertion, text, kind) in [
            (Insertion::Done, "inserted", NoticeKind::Done),
            (Insertion::Failed, "insert_failed", NoticeKind::Fault),
            (Insertion::Uncertain, "insert_uncertain", NoticeKind::Fault),
        ] {
            assert!(insert(&mut panel, Part::Mail));
            assert!(!insert(&mut panel, Part::Mail), "is on its way");
            assert!(!insert(&mut panel, Part::ChatLink), "one at a time");
            assert_eq!(panel.update(Event::Inserted(insertion), NOW), Some(Command::Notify(text.into(), kind)));
        }
        assert!(insert(&mut panel, Part::ChatLink));
        assert_eq!(panel.inserting, Some(Part::ChatLink));
        panel.update(Event::Ticket { place: place("2"), locale: "en".into() }, NOW);
        assert_eq!(panel.inserting, None, "another reply");
    }

    #[test]
    fn one_press_makes_the_chat_link_and_puts_it_into_the_reply() {
        let press_send = |panel: &mut Panel| press(panel, Action::Insert(Part::ChatLink));
        let made = || Event::Made(Thing::ChatLink, Box::new(key()));
        let make = Some(Command::Call(Call::Make(Thing::ChatLink, vec![(Field::Issue, "general_tech".into())])));
        let insert = Some(Command::Insert("chat_reply https://support.example.com/?ak=1".into()));
        let mut panel = at_work();
        panel.update(Event::Made(Thing::Key, Box::new(key())), NOW);
        assert_eq!(press_send(&mut panel), make);
        assert_eq!(panel.inserting, Some(Part::ChatLink));
        assert_eq!((press_send(&mut panel), press(&mut panel, Action::Insert(Part::Mail))), (None, None), "one at a time");
        assert_eq!(panel.update(made(), NOW), insert);
        assert_eq!((panel.inserting, panel.announcement.as_str()), (Some(Part::ChatLink), "chat_made"));
        panel.update(Event::Inserted(Insertion::Done), NOW);
        assert_eq!(press_send(&mut panel), insert, "the same link again");
        panel.update(Event::Inserted(Insertion::Done), NOW);
        assert_eq!(press(&mut panel, Action::Make(Thing::ChatLink)), make);
        assert_eq!(panel.update(made(), NOW), None, "one that is only made goes nowhere");

        // What did not come, or came when it is not known whose reply is shown, goes into none.
        for event in [
            refuse(Call::Make(Thing::ChatLink, Vec::new())),
            Event::InDoubt,
            Event::Refused(Call::Sessions, Problem { status: 401, ..problem() }),
        ] {
            let mut panel = at_work();
            assert_eq!(press_send(&mut panel), make);
            panel.update(event.clone(), NOW);
            assert_eq!((panel.inserting, panel.update(made(), NOW)), (None, None), "{event:?}");
        }
        // Nor does one whose making had begun without it.
        let mut panel = at_work();
        press(&mut panel, Action::Make(Thing::ChatLink));
        assert_eq!((press_send(&mut panel), panel.update(made(), NOW)), (None, None));
    }

    #[test]
    fn a_key_is_made_once_and_announced_letter_by_letter() {
        let mut panel = at_work();
        let make = Action::Make(Thing::Key);
        assert_eq!(press(&mut panel, make), Some(Command::Call(Call::Make(Thing::Key, Vec::new()))));
        assert_eq!(press(&mut panel, make), None, "is on its way");
        assert_eq!(panel.update(Event::Made(Thing::Key, Box::new(key())), NOW), None);
        assert_eq!(panel.announcement, "key_made K 7 Q X 4 2 P");
        let copies = [
            (Part::Key, "K7QX42P"),
            (Part::KeyLink, "https://support.example.com/?ak=1"),
            (Part::Mail, "Open https://support.example.com/?ak=1"),
        ];
        for (part, text) in copies {
            assert_eq!(press(&mut panel, Action::Copy(part)), Some(Command::Copy(part, text.into())));
        }
        let insert = press(&mut panel, Action::Insert(Part::Mail));
        assert_eq!(insert, Some(Command::Insert("Open https://support.example.com/?ak=1".into())));
        panel.update(Event::Inserted(Insertion::Done), NOW);
        assert_eq!(press(&mut panel, Action::Copy(Part::ChatLink)), None, "there is none");
        let bare = Made { mail_body: String::new(), ..key() };
        panel.update(Event::Made(Thing::Key, Box::new(bare)), NOW);
        let insert = press(&mut panel, Action::Insert(Part::Mail));
        assert_eq!(insert, Some(Command::Insert("https://support.example.com/?ak=1".into())), "without a text, the link");
    }

    #[test]
    fn what_expires_says_so_once() {
        let mut panel = at_work();
        panel.update(Event::Made(Thing::Key, Box::new(key())), NOW);
        panel.update(Event::Tick, NOW + 599_999);
        assert!(ready(&panel).slot(Thing::Key).fresh().is_some());
        panel.update(Event::Tick, NOW + 600_000);
        assert!(ready(&panel).slot(Thing::Key).fresh().is_none());
        assert_eq!(panel.announcement, "key_expired");
        panel.announcement.clear();
        panel.update(Event::Tick, NOW + 601_000);
        assert_eq!(panel.announcement, "");
        panel.update(Event::Made(Thing::Key, Box::new(Made { expires_at: None, ..key() })), NOW);
        panel.update(Event::Tick, i64::MAX / 2);
        assert!(ready(&panel).slot(Thing::Key).fresh().is_some(), "an old appliance does not tell");
    }

    #[test]
    fn a_copy_is_confirmed_for_a_moment() {
        let mut panel = at_work();
        panel.update(Event::Copied(Part::Key, true), NOW);
        assert_eq!(panel.announcement, "copied");
        panel.update(Event::Tick, NOW + 1_999);
        assert!(panel.copied.is_some());
        panel.update(Event::Tick, NOW + 2_000);
        assert_eq!(panel.copied, None);
        let notice = panel.update(Event::Copied(Part::Key, false), NOW);
        assert_eq!(notice, Some(Command::Notify("copy_failed".into(), NoticeKind::Fault)));
        let notice = panel.update(Event::Inserted(Insertion::Done), NOW);
        assert_eq!(notice, Some(Command::Notify("inserted".into(), NoticeKind::Done)));
    }

    #[test]
    fn a_jump_sends_its_methods_fields_and_no_other() {
        let check = |method: JumpMethod, filled: &[(Field, &str)], expected: &[(Field, &str)]| {
            let mut panel = at_work();
            // Left over from another method: must not be sent along.
            fill_in(&mut panel, &[(Field::Username, "helpdesk"), (Field::Console, "true"), (Field::Quality, "low")]);
            fill_in(&mut panel, &[(Field::Method, method.name())]);
            fill_in(&mut panel, filled);
            let mut fields = vec![(Field::Method, method.name().to_owned())];
            fields.extend(expected.iter().map(|(field, value)| (*field, (*value).to_owned())));
            assert_eq!(press(&mut panel, Action::Make(Thing::Jump)), Some(Command::Call(Call::Make(Thing::Jump, fields))));
        };
        check(JumpMethod::JumpClient, &[], &[(Field::Target, "LAPTOP-0042")]);
        check(JumpMethod::LocalPush, &[(Field::Target, "  host ")], &[(Field::Target, "host")]);
        check(JumpMethod::RemotePush, &[(Field::Jumpoint, "Branch")], &[(Field::Target, "LAPTOP-0042"), (Field::Jumpoint, "Branch")]);
        let rdp = [
            (Field::Target, "LAPTOP-0042"),
            (Field::Jumpoint, "HQ-Net"),
            (Field::Username, "helpdesk"),
            (Field::DisplaySize, "all_displays"),
            (Field::Quality, "low"),
            (Field::Console, "true"),
        ];
        check(JumpMethod::Rdp, &[(Field::DisplaySize, "all_displays")], &rdp);
        let plain = [(Field::Target, "LAPTOP-0042"), (Field::Jumpoint, "HQ-Net")];
        check(JumpMethod::Rdp, &[(Field::Username, " "), (Field::Console, ""), (Field::Quality, "")], &plain);
        let shell = [
            (Field::Target, "LAPTOP-0042"),
            (Field::Jumpoint, "HQ-Net"),
            (Field::Username, "helpdesk"),
            (Field::Protocol, "ssh"),
            (Field::Port, "22"),
        ];
        check(JumpMethod::ShellJump, &[], &shell);
    }

    #[test]
    fn faults_are_found_before_anything_is_sent() {
        let check = |filled: &[(Field, &str)], expected: &[(Field, Text)]| {
            let mut panel = at_work();
            fill_in(&mut panel, &[(Field::Method, "shell_jump")]);
            fill_in(&mut panel, filled);
            assert_eq!(press(&mut panel, Action::Make(Thing::Jump)), Some(Command::Focus(expected[0].0)));
            assert_eq!(ready(&panel).form.faults, expected);
            fill_in(&mut panel, &[(expected[0].0, "1")]);
            assert_eq!(ready(&panel).form.faults, expected[1..], "what is mended is no longer at fault");
            panel
        };
        check(&[(Field::Target, " ")], &[(Field::Target, Text::TargetMissing)]);
        check(&[(Field::Target, &"ü".repeat(256))], &[(Field::Target, Text::TooLong)]);
        check(&[(Field::Target, ""), (Field::Port, "0")], &[(Field::Target, Text::TargetMissing), (Field::Port, Text::PortRange)]);
        for port in ["0", "65536", "-1", "ssh", "2 2"] {
            let panel = check(&[(Field::Port, port)], &[(Field::Port, Text::PortRange)]);
            assert!(ready(&panel).form.options_open, "the faulty field is shown");
        }
        let mut panel = at_work();
        fill_in(&mut panel, &[(Field::Method, "rdp"), (Field::Target, &"ü".repeat(255)), (Field::Port, "none of RDP's")]);
        assert!(matches!(press(&mut panel, Action::Make(Thing::Jump)), Some(Command::Call(_))));
    }

    #[test]
    fn an_untouched_port_follows_the_protocol() {
        let mut panel = at_work();
        let port = |panel: &Panel| ready(panel).form.value(Field::Port).to_owned();
        fill_in(&mut panel, &[(Field::Protocol, "telnet")]);
        assert_eq!(port(&panel), "23");
        fill_in(&mut panel, &[(Field::Protocol, "ssh")]);
        assert_eq!(port(&panel), "22");
        fill_in(&mut panel, &[(Field::Port, "2222"), (Field::Protocol, "telnet")]);
        assert_eq!(port(&panel), "2222");
    }

    #[test]
    fn a_jump_opens_and_leaves_its_link() {
        let mut panel = at_work();
        press(&mut panel, Action::Make(Thing::Jump));
        let url = "https://support.example.com/api/client_script?type=rep";
        let made = Made { url: url.into(), ..Made::default() };
        assert_eq!(panel.update(Event::Made(Thing::Jump, Box::new(made)), NOW), Some(Command::Open(url.into())));
        assert_eq!(ready(&panel).slot(Thing::Jump).made().map(|made| made.url.as_str()), Some(url));
        panel.update(Event::Opened(true), NOW);
        assert_eq!((ready(&panel).jump_blocked, panel.announcement.as_str()), (false, "jump_made"));
        panel.update(Event::Opened(false), NOW);
        assert_eq!((ready(&panel).jump_blocked, panel.announcement.as_str()), (true, "jump_blocked"));
        assert_eq!(press(&mut panel, Action::Copy(Part::JumpLink)), Some(Command::Copy(Part::JumpLink, url.into())));
        assert_eq!(press(&mut panel, Action::Launch), None, "the browser follows the link");
        assert!(!ready(&panel).jump_blocked);
        fill_in(&mut panel, &[(Field::Method, "local_push")]);
        assert_eq!(*ready(&panel).slot(Thing::Jump), Slot::Empty, "another method, another Jump");
        assert_eq!(ready(&panel).made(Thing::Jump), None);
        fill_in(&mut panel, &[(Field::Method, "teleport")]);
        assert_eq!(ready(&panel).form.method, Some(JumpMethod::LocalPush));
    }

    #[test]
    fn a_method_that_is_not_offered_cannot_be_chosen() {
        let mut panel = loading();
        let only = PanelModel { methods: vec![JumpMethod::JumpClient], ..offer() };
        panel.update(loaded(only), NOW);
        fill_in(&mut panel, &[(Field::Method, "rdp")]);
        assert_eq!(ready(&panel).form.method, Some(JumpMethod::JumpClient));
    }

    #[test]
    fn a_chat_link_is_for_the_chosen_issue() {
        let mut panel = at_work();
        let call = |issue: &str| Some(Command::Call(Call::Make(Thing::ChatLink, vec![(Field::Issue, issue.into())])));
        assert_eq!(press(&mut panel, Action::Make(Thing::ChatLink)), call("general_tech"));
        panel.update(refuse(Call::Make(Thing::ChatLink, Vec::new())), NOW);
        assert_eq!(*ready(&panel).slot(Thing::ChatLink), Slot::Failed(problem()));
        assert_eq!(*ready(&panel).slot(Thing::Key), Slot::Empty, "the others are not touched");
        fill_in(&mut panel, &[(Field::Issue, "network")]);
        assert_eq!(press(&mut panel, Action::Make(Thing::ChatLink)), call("network"), "and again");
    }

    #[test]
    fn sessions_are_asked_for_with_growing_pauses() {
        let mut panel = at_work();
        let ask = Some(Command::Call(Call::Sessions));
        assert_eq!(panel.update(Event::Tick, NOW + SESSIONS_INTERVAL - 1), None);
        let mut now = NOW + SESSIONS_INTERVAL;
        assert_eq!(panel.update(Event::Tick, now), ask);
        assert_eq!(panel.update(Event::Tick, now + 20_000), None, "one question at a time");
        for pause in [10_000, 20_000, 40_000, 60_000, 60_000] {
            panel.update(refuse(Call::Sessions), now);
            assert_eq!(panel.update(Event::Tick, now + pause - 1), None);
            assert_eq!(panel.update(Event::Tick, now + pause), ask, "after {pause}");
            now += pause;
        }
        assert_eq!(ready(&panel).sessions.inquiry.problem, Some(problem()));
        panel.update(Event::Sessions(Vec::new()), now);
        assert_eq!(ready(&panel).sessions.inquiry.problem, None);
        now += SESSIONS_INTERVAL;
        assert_eq!(panel.update(Event::Tick, now), ask, "all is well again");
        panel.update(Event::Sessions(Vec::new()), now + SESSIONS_INTERVAL - 1);
        assert_eq!(panel.update(Event::Tick, now + SESSIONS_INTERVAL), ask, "a slow answer does not put off the next question");
    }

    #[test]
    fn nobody_watching_nothing_asked() {
        let mut panel = at_work();
        assert_eq!(panel.update(Event::Watched(false), NOW), None);
        assert_eq!(panel.update(Event::Tick, NOW + 3_600_000), None);
        assert_eq!(panel.update(Event::Watched(true), NOW + 3_600_001), Some(Command::Call(Call::Sessions)), "back, and at once");
    }

    #[test]
    fn only_news_is_announced() {
        let mut panel = at_work();
        let mut hear = |sessions: &[SessionState]| {
            panel.announcement.clear();
            let list = sessions.iter().map(|&state| LiveSession { lsid: "a".repeat(32), ..session(state) }).collect();
            panel.update(Event::Sessions(list), NOW);
            panel.announcement.clone()
        };
        assert_eq!(hear(&[SessionState::Waiting]), "customer_waiting: Charlie Customer");
        assert_eq!(hear(&[SessionState::Waiting]), "");
        assert_eq!(hear(&[SessionState::Active]), "session_news Charlie Customer state_active");
        let mut panel = loading();
        panel.update(loaded(offer()), NOW);
        panel.update(Event::Sessions(vec![session(SessionState::Recorded)]), NOW);
        assert_eq!(panel.announcement, "", "what was there at first is no news");
    }

    #[test]
    fn a_customer_who_waits_is_told_once_also_at_first_and_before_other_news() {
        let session = |name: &str, state| LiveSession { lsid: name.into(), customer: Some(name.into()), ..session(state) };
        let notice = |text: &str| Some(Command::Notify(text.into(), NoticeKind::Done));
        let mut panel = loading();
        panel.update(loaded(offer()), NOW);
        let mut hear = |list: &[LiveSession]| {
            panel.announcement.clear();
            let command = panel.update(Event::Sessions(list.into()), NOW);
            (panel.announcement.clone(), command)
        };
        let waits = [session("Ann", SessionState::Recorded), session("Tom", SessionState::Waiting)];
        assert_eq!(hear(&waits), ("customer_waiting: Tom".into(), notice("customer_waiting: Tom")));
        assert_eq!(hear(&waits), (String::new(), None), "once");
        let nameless = LiveSession { customer: None, ..session("x", SessionState::Waiting) };
        let later = [session("Tom", SessionState::Active), nameless];
        assert_eq!(hear(&later), ("customer_waiting".into(), notice("customer_waiting")), "who waits comes first");
        let joined = [session("Tom", SessionState::Active), session("x", SessionState::Active)];
        assert_eq!(hear(&joined), ("session_news x state_active".into(), None), "and is no longer waiting");
    }

    fn report(is_recorded: bool) -> Event {
        let html =
            "<h3>Chat</h3>\n<p>Rita: <b>Try</b> 1 &lt; 2 &amp;amp;</p><table><tr><th>OS</th><td>Linux</td></tr></table><p>deskbridge/x</p>"
                .into();
        let note = Note {
            title: "Remote support [1]".into(),
            html,
            text: "Chat\nRita: Try 1 < 2 &amp;\nOS Linux\ndeskbridge/x".into(),
            marker: "deskbridge/x".into(),
            title_marker: "[1]".into(),
            send_until: Some(NOW + 105_000),
            lease: "L1".into(),
        };
        Event::Report(Box::new(Report { lsid: ended(), note, is_recorded }))
    }

    fn ended() -> String {
        session(SessionState::Ended).lsid
    }

    #[test]
    fn a_report_goes_from_the_server_through_the_page_back_to_the_server() {
        let mut panel = at_work_in_page();
        let ask = Some(Command::Call(Call::Report(ended())));
        assert_eq!(panel.update(Event::Done(Deed::Record, ended()), NOW), ask);
        assert_eq!(panel.update(Event::Done(Deed::Record, ended()), NOW), None, "is on its way");
        let Some(Command::PostNote(lsid, note)) = panel.update(report(false), NOW) else { panic!("the page is to write it") };
        assert_eq!((lsid, note.marker.as_str()), (ended(), "deskbridge/x"));
        assert_eq!(panel.update(Event::NotePosted("other".into(), Ok(())), NOW), None);
        let tell = Some(Command::Call(Call::Recorded(ended(), "L1".into())));
        assert_eq!(panel.update(Event::NotePosted(ended(), Ok(())), NOW), tell);
        let told = Some(Command::Notify("record_done".into(), NoticeKind::Done));
        assert_eq!(panel.update(Event::Recorded(ended()), NOW + 1), told, "for those who see, too");
        assert_eq!(panel.update(Event::Tick, NOW + 1), Some(Command::Call(Call::Sessions)), "and the list anew");
        assert_eq!((panel.announcement.as_str(), &ready(&panel).recording), ("record_done", &None));
    }

    #[test]
    fn a_report_that_is_there_is_not_written() {
        let mut panel = at_work_in_page();
        panel.update(Event::Done(Deed::Record, ended()), NOW);
        assert_eq!(panel.update(report(true), NOW), Some(Command::Notify("record_done".into(), NoticeKind::Done)));
        assert_eq!(panel.update(report(false), NOW), None, "nobody asks any more");
    }

    #[test]
    fn a_report_that_did_not_get_there_is_told_and_can_be_copied_and_tried_again() {
        let fault = |panel: &Panel| ready(panel).recording.as_ref().and_then(|recording| recording.fault.clone());
        let mut panel = at_work_in_page();
        panel.update(Event::Done(Deed::Record, ended()), NOW);
        assert_eq!(press(&mut panel, Action::Copy(Part::Report)), None, "is not here yet");
        panel.update(refuse(Call::Report(ended())), NOW);
        assert_eq!(fault(&panel), Some(problem().message(&texts())));
        for (number, told) in [
            (NoteFault::Cannot, "record_cannot"),
            (NoteFault::SignedOut, "record_signed_out"),
            (NoteFault::NotAllowed, "record_not_allowed"),
            (NoteFault::PageTooOld, "record_page_too_old"),
            (NoteFault::LockedByOther(None), "record_locked_by_other"),
            (NoteFault::LockedByOther(Some("Blake Busy".into())), "record_locked_by Blake Busy"),
            (NoteFault::Merged("Ticket #7".into()), "record_merged Ticket #7"),
            (NoteFault::LockedElsewhere, "record_locked_elsewhere"),
            (NoteFault::NotReached, "record_not_reached"),
            (NoteFault::TooLate, "record_too_late"),
            (NoteFault::Refused, "record_refused"),
            (NoteFault::Uncertain, "record_uncertain"),
        ] {
            assert_eq!(panel.update(Event::Done(Deed::Record, ended()), NOW), Some(Command::Call(Call::Report(ended()))), "again");
            panel.update(report(false), NOW);
            let given_up = (number != NoteFault::Uncertain).then(|| Command::Call(Call::GivenUp("L1".into())));
            assert_eq!(panel.update(Event::NotePosted(ended(), Err(number)), NOW), given_up);
            assert_eq!(fault(&panel).as_deref(), Some(told));
        }
        let text = "Chat\nRita: Try 1 < 2 &amp;\nOS Linux\ndeskbridge/x";
        assert_eq!(press(&mut panel, Action::Copy(Part::Report)), Some(Command::Copy(Part::Report, text.into())));
        // The note is there, but the server does not take that.
        panel.update(Event::Done(Deed::Record, ended()), NOW);
        panel.update(report(false), NOW);
        panel.update(Event::NotePosted(ended(), Ok(())), NOW);
        let never = Problem { status: 422, ..problem() };
        panel.update(Event::Refused(Call::Recorded(ended(), "L1".into()), never.clone()), NOW);
        assert_eq!(fault(&panel), Some(never.message(&texts())));
    }

    #[test]
    fn a_confirmation_that_gets_lost_is_sent_again() {
        let mut panel = at_work_in_page();
        panel.update(Event::Done(Deed::Record, ended()), NOW);
        panel.update(report(false), NOW);
        let tell = Some(Command::Call(Call::Recorded(ended(), "L1".into())));
        assert_eq!(panel.update(Event::NotePosted(ended(), Ok(())), NOW), tell);
        let mut now = NOW;
        for (status, pause) in [(0, 5_000), (502, 10_000), (429, 20_000), (503, 40_000), (0, 60_000), (0, 60_000)] {
            panel.update(Event::Refused(Call::Recorded(ended(), "L1".into()), Problem { status, ..problem() }), now);
            let recording = ready(&panel).recording.as_ref().expect("it goes on");
            assert_eq!((recording.fault.as_deref(), recording.untold.is_some()), (None, true), "it is no failure");
            assert_ne!(panel.update(Event::Tick, now + pause - 1), tell);
            now += pause;
            assert_eq!(panel.update(Event::Tick, now), tell, "after {pause}");
            assert_ne!(panel.update(Event::Tick, now + 1), tell, "one at a time");
        }
        assert_eq!(panel.update(Event::Done(Deed::Record, ended()), now), None, "it is not written again");
        panel.update(Event::Recorded(ended()), now);
        assert_eq!((ready(&panel).recording.as_ref(), ready(&panel).is_page_old), (None, true));
        assert!(!ready(&panel).has_recordable(), "before the server is asked again");
        assert_eq!(press(&mut panel, Action::ReloadPage), Some(Command::ReloadPage));
    }

    #[test]
    fn a_recipient_is_its_tickets() {
        let mut panel = at_work();
        panel.update(Event::Recipient(Some("carl@customer.example".into())), NOW);
        panel.update(Event::Ticket { place: place("1"), locale: "en".into() }, NOW);
        assert_eq!(panel.recipient.as_deref(), Some("carl@customer.example"));
        panel.update(Event::Ticket { place: place("2"), locale: "en".into() }, NOW);
        assert_eq!(panel.recipient, None, "until the page has told the other's");
    }

    #[test]
    fn what_the_sessions_come_to_is_told() {
        let mut panel = at_work_in_page();
        let summary = |is_open, has_report| Some(SessionsSummary { is_open, has_report });
        assert_eq!(panel.sessions_summary(), summary(true, true));
        panel.update(Event::Sessions(vec![session(SessionState::Recorded)]), NOW);
        assert_eq!(panel.sessions_summary(), summary(false, false));
        panel.update(Event::Sessions(vec![session(SessionState::Waiting)]), NOW);
        assert_eq!(panel.sessions_summary(), summary(true, false));
        assert_eq!(Panel::new(texts(), "en".into()).sessions_summary(), None, "nothing was heard yet");
        let mut panel = at_work();
        panel.update(Event::Sessions(vec![session(SessionState::Ended)]), NOW);
        assert_eq!(panel.sessions_summary(), summary(false, false), "its reports come by themselves");
    }

    #[test]
    fn only_an_ended_session_of_such_a_ticket_can_be_recorded() {
        let active = session(SessionState::Active).lsid;
        for lsid in [active.as_str(), "", "unknown"] {
            assert_eq!(at_work_in_page().update(Event::Done(Deed::Record, lsid.into()), NOW), None, "{lsid}");
        }
        let mut panel = at_work();
        panel.update(Event::Sessions(vec![session(SessionState::Ended)]), NOW);
        assert_eq!(panel.update(Event::Done(Deed::Record, ended()), NOW), None, "its reports come by themselves");
    }

    #[test]
    fn problems_are_told_in_the_servers_words() {
        let message = |status, title: &str, detail: &str| {
            Problem { status, title: title.into(), detail: detail.into(), ..Problem::default() }.message(&texts())
        };
        assert_eq!(message(502, "It failed", "Do this."), "It failed. Do this.");
        assert_eq!(message(502, "It failed", ""), "It failed");
        assert_eq!(message(502, "", "Do this."), "Do this.");
        assert_eq!(message(502, "", ""), "unexpected 502");
        assert_eq!(message(0, "", ""), "not_reached");
    }

    #[test]
    fn a_problem_is_worded_by_its_kind() {
        let mut texts = texts();
        texts.add("problem_value_not_taken".into(), "{method} has no {field}, {field}!".into());
        texts.add("problem_busy".into(), "Wait {retry_after} s.".into());
        texts.add("field_port".into(), "Port number".into());
        let message = |kind: &str, members: &[(&str, &str)]| {
            let members = members.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let (title, detail) = ("It failed".into(), "Do this.".into());
            Problem { status: 422, kind: kind.into(), title, detail, members }.message(&texts)
        };
        assert_eq!(message("value-not-taken", &[("field", "port"), ("method", "rdp")]), "method_rdp has no Port number, Port number!");
        assert_eq!(message("value-not-taken", &[("field", "new"), ("method", "{field}")]), "{field} has no new, new!");
        assert_eq!(message("busy", &[("retry_after", "7")]), "Wait 7 s.");
        assert_eq!(message("busy", &[]), "It failed. Do this.", "the server does not say how long");
        assert_eq!(message("of-a-later-server", &[]), "It failed. Do this.");
        assert_eq!(message("", &[]), "It failed. Do this.");
    }

    fn ask_for_machines(search: &str) -> Command {
        Command::Call(Call::Machines { search: search.into(), target: "LAPTOP-0042".into() })
    }

    fn press_at(panel: &mut Panel, deed: Deed, id: &str) -> Option<Command> {
        panel.update(Event::Done(deed, id.into()), NOW)
    }

    fn names(panel: &Panel) -> Vec<&str> {
        ready(panel).machines.list.machines.iter().map(|machine| machine.name.as_str()).collect()
    }

    fn links(panel: &Panel) -> Vec<&str> {
        ready(panel).machines.list.links.iter().map(|link| link.id.as_str()).collect()
    }

    #[test]
    fn machines_are_asked_for_first_and_every_five_seconds() {
        let mut panel = loading();
        assert_eq!(panel.update(loaded(offer_of_machines()), NOW), Some(ask_for_machines("")));
        assert_eq!(panel.update(Event::Tick, NOW), Some(Command::Call(Call::Sessions)), "what else is due");
        assert_eq!(panel.update(Event::Tick, NOW), None);
        panel.update(Event::Sessions(Vec::new()), NOW);
        panel.update(heard(vec![machine("ATTIC", "online")], Vec::new()), NOW + 100);
        assert_eq!(names(&panel), ["ATTIC"]);
        let sessions = NOW + SESSIONS_INTERVAL;
        assert_eq!(panel.update(Event::Watched(false), NOW), None);
        assert_eq!(panel.update(Event::Tick, sessions.max(NOW + MACHINES_INTERVAL)), None, "nobody watches");
        assert_eq!(panel.update(Event::Watched(true), NOW + MACHINES_INTERVAL - 1).is_some(), SESSIONS_INTERVAL < MACHINES_INTERVAL);
        assert_eq!(panel.update(Event::Tick, NOW + MACHINES_INTERVAL), Some(ask_for_machines("")));
    }

    #[test]
    fn an_engine_without_a_list_is_not_asked_for_machines() {
        let mut panel = at_work();
        assert_eq!(panel.update(Event::Filled(Field::Search, "x".into()), NOW), None);
        assert_eq!(press_at(&mut panel, Deed::Open(JumpMethod::Desktop), "node//1"), None);
    }

    #[test]
    fn what_is_typed_is_searched_for_at_once_and_late_answers_are_dropped() {
        let mut panel = at_work_with_machines();
        let search = |panel: &mut Panel, text: &str| panel.update(Event::Filled(Field::Search, text.into()), NOW);
        assert_eq!(search(&mut panel, "f"), Some(ask_for_machines("f")));
        assert_eq!(search(&mut panel, "fr"), None, "one question at a time");
        assert_eq!(
            panel.update(heard(vec![machine("FRIDGE", "online"), machine("FOO", "online")], Vec::new()), NOW),
            Some(ask_for_machines("fr"))
        );
        assert_eq!(names(&panel), ["LAPTOP-0042", "FRONT-DESK", "ATTIC"], "that was for another search");
        assert_eq!(panel.update(heard(vec![machine("FRIDGE", "online")], Vec::new()), NOW), None);
        assert_eq!((names(&panel), ready(&panel).form.value(Field::Search)), (vec!["FRIDGE"], "fr"));
        assert_eq!(search(&mut panel, "frx"), Some(ask_for_machines("frx")));
        panel.update(heard(Vec::new(), Vec::new()), NOW);
        assert_eq!(panel.announcement, "machines_not_found");
    }

    #[test]
    fn a_machine_keeps_its_place_while_the_list_changes() {
        let mut panel = at_work_with_machines();
        let list = ["NEW", "ATTIC", "LAPTOP-0042", "NEWER"].map(|name| machine(name, "online"));
        panel.update(heard(list.into(), Vec::new()), NOW);
        assert_eq!(names(&panel), ["LAPTOP-0042", "ATTIC", "NEW", "NEWER"]);
    }

    #[test]
    fn what_becomes_of_the_tickets_machine_is_announced() {
        let mut panel = at_work_with_machines();
        let list = |state| heard(vec![machine("LAPTOP-0042", state), machine("FRONT-DESK", state)], Vec::new());
        panel.update(list("online"), NOW);
        assert_eq!(panel.announcement, "", "FRONT-DESK is not the ticket's");
        assert_eq!(panel.update(list("offline"), NOW), None);
        assert_eq!(panel.announcement, "LAPTOP-0042: state_offline");
    }

    #[test]
    fn a_double_click_makes_one_link_which_opens() {
        let mut panel = at_work_with_machines();
        let fields = vec![(Field::Method, "terminal".into()), (Field::Target, "node//LAPTOP-0042".into())];
        let open = Deed::Open(JumpMethod::Terminal);
        assert_eq!(press_at(&mut panel, open, "node//LAPTOP-0042"), Some(Command::Call(Call::Make(Thing::Jump, fields))));
        assert_eq!(press_at(&mut panel, open, "node//LAPTOP-0042"), None);
        assert_eq!(press_at(&mut panel, open, "node//FRONT-DESK"), None, "one at a time");
        assert_eq!(panel.update(link_made("L1"), NOW), Some(Command::Open("https://mesh.example.com/s/L1".into())));
        assert_eq!(panel.announcement, "link_made");
        assert_eq!(panel.update(Event::Opened(true), NOW), None);
        let made = &ready(&panel).machines.list.links[0];
        assert_eq!((made.id.as_str(), made.machine.as_str(), made.state.as_str()), ("L1", "node//LAPTOP-0042", "terminal"));
        assert!(press_at(&mut panel, open, "node//LAPTOP-0042").is_some(), "another one");
        panel.update(refuse(Call::Make(Thing::Jump, Vec::new())), NOW);
        assert_eq!(*ready(&panel).slot(Thing::Jump), Slot::Failed(problem()));
        assert!(press_at(&mut panel, open, "node//FRONT-DESK").is_some(), "and again");
    }

    #[test]
    fn a_link_that_the_browser_does_not_open_is_told() {
        let mut panel = at_work_with_machines();
        let told = Some(Command::Notify("link_blocked".into(), NoticeKind::Fault));
        assert_eq!(panel.update(Event::Opened(false), NOW), told);
        assert_eq!(panel.announcement, "link_blocked");
    }

    #[test]
    fn a_link_made_here_keeps_its_address_and_is_not_lost_to_an_older_answer() {
        let mut panel = at_work_with_machines();
        assert_eq!(panel.update(Event::Tick, NOW + MACHINES_INTERVAL), Some(ask_for_machines("")), "before the link is made");
        press_at(&mut panel, Deed::Open(JumpMethod::Terminal), "node//LAPTOP-0042");
        panel.update(link_made("L1"), NOW);
        let list = || vec![machine("LAPTOP-0042", "online")];
        assert_eq!(panel.update(heard(list(), Vec::new()), NOW), Some(ask_for_machines("")), "the answer does not know it");
        assert_eq!(links(&panel), ["L1"]);
        panel.update(heard(list(), vec![link_entry("L0"), link_entry("L1")]), NOW);
        assert_eq!(links(&panel), ["L0", "L1"]);
        let copy = |panel: &mut Panel, id: &str| press_at(panel, Deed::CopyLink, id);
        let url = "https://mesh.example.com/s/L1".to_owned();
        assert_eq!(copy(&mut panel, "L1"), Some(Command::Copy(Part::MachineLink, url)));
        assert_eq!(copy(&mut panel, "L9"), None);
        panel.update(heard(list(), vec![link_entry("L0")]), NOW);
        assert_eq!(links(&panel), ["L0"], "somebody else has ended it");
    }

    #[test]
    fn a_link_that_was_listed_before_its_answer_came_stands_there_once() {
        let mut panel = at_work_with_machines();
        press_at(&mut panel, Deed::Open(JumpMethod::Terminal), "node//LAPTOP-0042");
        panel.update(heard(vec![machine("LAPTOP-0042", "online")], vec![link_entry("L1")]), NOW);
        panel.update(link_made("L1"), NOW);
        assert_eq!(links(&panel), ["L1"]);
        assert_eq!(ready(&panel).machines.list.links[0].url, "https://mesh.example.com/s/L1");
    }

    #[test]
    fn a_link_is_ended_once_and_that_is_told() {
        let mut panel = at_work_with_machines();
        panel.update(heard(vec![machine("LAPTOP-0042", "online")], vec![link_entry("L1"), link_entry("L2")]), NOW);
        let end = Some(Command::Call(Call::EndLink("L1".into())));
        assert_eq!(press_at(&mut panel, Deed::EndLink, "L1"), end);
        assert_eq!(press_at(&mut panel, Deed::EndLink, "L1"), None, "is on its way");
        let told = Some(Command::Notify(problem().message(&texts()), NoticeKind::Fault));
        assert_eq!(panel.update(refuse(Call::EndLink("L1".into())), NOW), told);
        assert_eq!(press_at(&mut panel, Deed::EndLink, "L1"), end, "again");
        let told = Some(Command::Notify("link_ended".into(), NoticeKind::Done));
        assert_eq!(panel.update(Event::LinkEnded("L1".into()), NOW), told);
        assert_eq!((links(&panel), panel.announcement.as_str()), (vec!["L2"], "link_ended"));
        assert_eq!(press_at(&mut panel, Deed::EndLink, "L9"), None);
    }

    #[test]
    fn a_link_can_be_ended_again_when_the_agents_session_is_revived() {
        let mut panel = at_work_with_machines();
        panel.update(heard(vec![machine("LAPTOP-0042", "online")], vec![link_entry("L1")]), NOW);
        let end = press_at(&mut panel, Deed::EndLink, "L1");
        panel.update(Event::Refused(Call::EndLink("L1".into()), Problem { status: 401, ..problem() }), NOW);
        panel.update(Event::Sessions(Vec::new()), NOW);
        assert!(end.is_some() && press_at(&mut panel, Deed::EndLink, "L1") == end);
    }

    /// Where agents sign in themselves, nothing is made that could be ended.
    #[test]
    fn an_address_without_a_link_stays_until_the_next_one() {
        let mut panel = at_work_with_machines();
        let list = || vec![machine("LAPTOP-0042", "online")];
        for _ in 0..2 {
            press_at(&mut panel, Deed::Open(JumpMethod::Terminal), "node//LAPTOP-0042");
            panel.update(link_made(""), NOW);
            panel.update(heard(list(), Vec::new()), NOW);
            panel.update(heard(list(), Vec::new()), NOW);
            assert_eq!(links(&panel), [""]);
        }
    }

    #[test]
    fn a_link_goes_when_it_expires() {
        let mut panel = at_work_with_machines();
        let endless = Entry { expires_at: None, ..link_entry("L2") };
        panel.update(heard(vec![machine("LAPTOP-0042", "online")], vec![link_entry("L1"), endless]), NOW);
        panel.update(Event::Tick, NOW + 599_999);
        assert_eq!(links(&panel), ["L1", "L2"]);
        panel.update(Event::Tick, NOW + 600_000);
        assert_eq!((links(&panel), panel.announcement.as_str()), (vec!["L2"], "chat_expired"));
    }

    #[test]
    fn machines_that_cannot_be_read_leave_the_rest_at_work() {
        let mut panel = at_work_with_machines();
        let mut now = NOW + MACHINES_INTERVAL;
        assert_eq!(panel.update(Event::Tick, now), Some(ask_for_machines("")));
        panel.update(refuse(Call::Machines { search: String::new(), target: String::new() }), now);
        assert_eq!(ready(&panel).machines.inquiry.problem, Some(problem()));
        assert_eq!(names(&panel).len(), 3, "what was heard stays");
        assert_eq!(ready(&panel).sessions.inquiry.problem, None);
        let asked = panel.update(Event::Tick, now + 9_999);
        assert_ne!(asked, Some(ask_for_machines("")), "with growing pauses");
        now += 10_000;
        assert_eq!(panel.update(Event::Tick, now), Some(ask_for_machines("")));
        panel.update(refuse(Call::Machines { search: String::new(), target: String::new() }), now);
        press(&mut panel, Action::RefreshSessions);
        assert_eq!(panel.update(Event::Tick, NOW), Some(ask_for_machines("")), "at the agent's wish at once");
    }

    #[test]
    fn no_link_is_made_while_the_ticket_is_in_doubt_or_the_session_over() {
        let mut panel = at_work_with_machines();
        panel.update(heard(vec![machine("LAPTOP-0042", "online")], vec![link_entry("L1")]), NOW);
        panel.update(Event::InDoubt, NOW);
        assert_eq!(press_at(&mut panel, Deed::Open(JumpMethod::Files), "node//LAPTOP-0042"), None);
        panel.update(Event::Refused(Call::Sessions, Problem { status: 401, ..problem() }), NOW);
        assert_eq!(press_at(&mut panel, Deed::Open(JumpMethod::Files), "node//LAPTOP-0042"), None);
        let Phase::Ended(Some(kept)) = &panel.phase else { panic!("not ended: {:?}", panel.phase) };
        assert_eq!(kept.machines.list.links.len(), 1, "is still good");
    }

    #[test]
    fn a_recording_is_opened_or_its_address_is_kept() {
        let mut panel = at_work_with_machines();
        let lsid = ended();
        assert_eq!(press_at(&mut panel, Deed::Watch, &lsid), Some(Command::Call(Call::Recording(lsid.clone()))));
        let url = "https://remote.example.com/recordings/1".to_owned();
        let open = Some(Command::OpenRecording(lsid.clone(), url.clone()));
        assert_eq!(panel.update(Event::Recording(lsid.clone(), url.clone()), NOW), open);
        assert_eq!(panel.update(Event::RecordingBlocked(lsid.clone(), url.clone()), NOW), None);
        assert_eq!(ready(&panel).blocked_recording, Some((lsid.clone(), url.clone())));
        assert_eq!(panel.update(Event::Recording(lsid.clone(), url), NOW), open);
        assert_eq!(ready(&panel).blocked_recording, None, "there is a new address");
        let told = Some(Command::Notify(problem().message(&texts()), NoticeKind::Fault));
        assert_eq!(panel.update(refuse(Call::Recording(lsid)), NOW), told);
    }

    #[test]
    fn names_lead_back() {
        for (action, name) in Action::NAMES {
            assert_eq!((action.name(), Action::from_name(name)), (name, Some(action)));
        }
        let deeds = JumpMethod::ALL.map(Deed::Open).into_iter().chain([Deed::Record, Deed::Watch, Deed::CopyLink, Deed::EndLink]);
        for deed in deeds {
            assert_eq!((Deed::from_name(deed.name()), Action::from_name(deed.name())), (Some(deed), None));
        }
        for (number, field) in Field::ALL.into_iter().enumerate() {
            assert_eq!((Field::from_name(field.name()), field as usize), (Some(field), number));
        }
        for (number, thing) in Thing::ALL.into_iter().enumerate() {
            assert_eq!(thing as usize, number);
        }
        assert_eq!(Action::from_name(""), None);
    }
}
