//! What the panel knows and how that changes. Pure: an event goes in, commands come out; the time is passed in.
//! Must not know how anything is drawn ([`screen`](super::screen)) or reached ([`view`](super)).

use super::NoticeKind;
use super::requests::{Call, Place};
use super::texts::{Text, Texts, decimal};
use super::time::unix_milliseconds;
use crate::api::{
    ChatLink, JumpMethod, JumpRequest, LiveSession, PanelModel, SessionKey, SessionState,
};

/// The list of sessions is asked for this often while all goes well, in milliseconds.
pub const SESSIONS_INTERVAL: i64 = 5_000;
/// The longest pause between two questions for the list while the server does not answer, in milliseconds.
pub const SESSIONS_PAUSE: i64 = 60_000;
/// Longest text in a field of the Jump, in characters: what a client-script URL takes.
pub const TEXT_LIMIT: u32 = 255;
const _: () = assert!(TEXT_LIMIT as usize == crate::client_script::OPTION_CHARACTERS);
/// How long a button says that it copied, in milliseconds.
const COPIED_SHOWN: i64 = 2_000;

/// The whole state.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// In the agent's language.
    pub texts: Texts,
    /// The agent's language, for texts and times.
    pub locale: String,
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
    /// The agent's session with the server is over; only a new page opens another.
    Ended,
    /// At work.
    Ready(Box<Ready>),
}

/// The panel at work.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// What the server allows on this ticket.
    pub offer: PanelModel,
    /// The session key.
    pub key: Slot<Timed<Box<SessionKey>>>,
    /// What is filled in to Jump; `None`: no method is allowed.
    pub form: Option<JumpForm>,
    /// The last Jump's launch URL.
    pub jump: Slot<String>,
    /// The chosen issue's code name.
    pub issue: String,
    /// The chat link.
    pub chat: Slot<Timed<Box<ChatLink>>>,
    /// This ticket's sessions.
    pub sessions: Sessions,
}

/// Something the server makes on request.
#[derive(Clone, Debug, PartialEq)]
pub enum Slot<T> {
    /// Not asked for.
    Empty,
    /// Asked for.
    Busy,
    /// There.
    Made(T),
    /// Refused, or lost.
    Failed(Problem),
}

/// How far a [`Slot`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not asked for.
    Empty,
    /// Asked for.
    Busy,
    /// There.
    Made,
    /// Refused, or lost.
    Failed,
}

/// Something that expires.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed<T> {
    /// The thing.
    pub value: T,
    /// Unix milliseconds; `None`: not told.
    pub expires_at: Option<i64>,
    /// Whether that has passed.
    pub expired: bool,
}

/// Why the server did not do what it was asked: the readable part of a problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status; 0: no answer came.
    pub status: u16,
    /// What went wrong.
    pub title: String,
    /// What to do about it.
    pub detail: String,
}

impl Problem {
    /// No answer came.
    pub const fn not_reached() -> Self {
        Self::of_status(0)
    }

    /// An answer without a readable problem document.
    pub const fn of_status(status: u16) -> Self {
        Self {
            status,
            title: String::new(),
            detail: String::new(),
        }
    }

    /// What the agent reads.
    pub fn message(&self, texts: &Texts) -> String {
        match (self.title.as_str(), self.detail.as_str()) {
            ("", "") if self.status == 0 => texts.get(Text::NotReached).into(),
            ("", "") => texts.fill(Text::Unexpected, "status", &decimal(self.status.into())),
            (title, "") => title.into(),
            ("", detail) => detail.into(),
            (title, detail) if title.ends_with(['.', '!', '?', ':']) => {
                [title, " ", detail].concat()
            }
            (title, detail) => [title, ". ", detail].concat(),
        }
    }
}

/// This ticket's sessions, and when to ask again.
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// As last heard.
    pub list: Vec<LiveSession>,
    /// Whether they were heard at all.
    pub known: bool,
    /// Why the last question failed.
    pub problem: Option<Problem>,
    asking: bool,
    failures: u32,
    next: i64,
}

/// What the agent fills in to Jump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JumpForm {
    /// The chosen method.
    pub method: JumpMethod,
    /// Whether the options behind the button are shown.
    pub options_open: bool,
    /// What is wrong with which field.
    pub faults: Vec<(Field, Text)>,
    values: [String; Field::COUNT],
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
}

impl Field {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
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
    ];
    const COUNT: usize = 11;

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
        }
    }

    /// The field of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    /// The fields of a method which everybody fills in.
    pub const fn main_of(method: JumpMethod) -> &'static [Self] {
        match method {
            JumpMethod::JumpClient | JumpMethod::LocalPush => &[Self::Target],
            JumpMethod::RemotePush => &[Self::Target, Self::Jumpoint],
            JumpMethod::Rdp | JumpMethod::ShellJump => {
                &[Self::Target, Self::Jumpoint, Self::Username]
            }
        }
    }

    /// The fields of a method which have a good default and stand behind a button.
    pub const fn options_of(method: JumpMethod) -> &'static [Self] {
        match method {
            JumpMethod::JumpClient | JumpMethod::LocalPush | JumpMethod::RemotePush => &[],
            JumpMethod::Rdp => &[Self::DisplaySize, Self::Quality, Self::Console],
            JumpMethod::ShellJump => &[Self::Protocol, Self::Port, Self::Terminal],
        }
    }
}

/// A button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask for the model again.
    Reload,
    /// Make a session key.
    MakeKey,
    /// Copy one of the texts.
    Copy(Part),
    /// Insert the key's invitation into the reply.
    InsertKey,
    /// Show or hide the method's options.
    ToggleOptions,
    /// Jump.
    Jump,
    /// Make a chat link.
    MakeChatLink,
    /// Insert the chat link into the reply.
    InsertChatLink,
    /// Ask for the sessions now.
    RefreshSessions,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Reload,
        Self::MakeKey,
        Self::Copy(Part::Key),
        Self::Copy(Part::KeyLink),
        Self::Copy(Part::Mail),
        Self::Copy(Part::ChatLink),
        Self::InsertKey,
        Self::ToggleOptions,
        Self::Jump,
        Self::MakeChatLink,
        Self::InsertChatLink,
        Self::RefreshSessions,
    ];

    /// The name on the page (`data-action`).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::MakeKey => "make-key",
            Self::Copy(Part::Key) => "copy-key",
            Self::Copy(Part::KeyLink) => "copy-key-link",
            Self::Copy(Part::Mail) => "copy-mail",
            Self::Copy(Part::ChatLink) => "copy-chat-link",
            Self::InsertKey => "insert-key",
            Self::ToggleOptions => "toggle-options",
            Self::Jump => "jump",
            Self::MakeChatLink => "make-chat-link",
            Self::InsertChatLink => "insert-chat-link",
            Self::RefreshSessions => "refresh-sessions",
        }
    }

    /// The button of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// A text worth copying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The short key.
    Key,
    /// The key's link.
    KeyLink,
    /// The invitation.
    Mail,
    /// The chat link.
    ChatLink,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The host does not answer.
    NoHost,
    /// The host shows a ticket that has no id yet.
    Unsaved,
    /// The host shows this ticket.
    Ticket {
        /// Which.
        place: Place,
        /// The agent's language.
        locale: String,
    },
    /// The panel came into sight, or went out of it.
    Watched(bool),
    /// About a second has passed.
    Tick,
    /// A field was changed. A tick box has `yes` or nothing.
    Filled(Field, String),
    /// A button was pressed.
    Pressed(Action),
    /// The server answered.
    Answered(Answered),
    /// Whether the clipboard took it.
    Copied(Part, bool),
    /// Whether the reply took it.
    Inserted(bool),
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// The model and the texts.
    Loaded(Box<(PanelModel, Texts)>),
    /// A session key.
    Key(Box<SessionKey>),
    /// A launch URL.
    Jump(String),
    /// A chat link.
    ChatLink(Box<ChatLink>),
    /// The sessions.
    Sessions(Vec<LiveSession>),
    /// Not what was asked for.
    Refused(Call, Problem),
}

/// Something to do outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Ask the server.
    Call(Call),
    /// Copy.
    Copy(Part, String),
    /// Insert into the reply.
    Insert(String),
    /// Open a URL beside the page.
    Open(String),
    /// Show a passing message.
    Notify(String, NoticeKind),
    /// Put the keyboard on a field.
    Focus(Field),
}

impl Panel {
    /// A panel whose host has not spoken yet.
    pub fn new(texts: Texts, locale: String) -> Self {
        Self {
            texts,
            locale,
            place: None,
            phase: Phase::Connecting,
            announcement: String::new(),
            copied: None,
            watched: true,
        }
    }

    /// Takes one event at `now` (Unix milliseconds) and answers what to do about it.
    pub fn update(&mut self, event: Event, now: i64) -> Option<Command> {
        match event {
            Event::NoHost => {
                if matches!(self.phase, Phase::Connecting) {
                    self.enter(Phase::NoHost);
                }
                None
            }
            Event::Unsaved => {
                self.place = None;
                self.enter(Phase::Unsaved);
                None
            }
            Event::Ticket { place, locale } => self.go_to(place, locale),
            Event::Watched(watched) => {
                self.watched = watched;
                self.pass_time(now)
            }
            Event::Tick => self.pass_time(now),
            Event::Filled(field, value) => self.fill(field, value),
            Event::Pressed(action) => self.press(action, now),
            Event::Answered(answer) => self.hear(answer, now),
            Event::Copied(part, true) => {
                self.copied = Some((part, now + COPIED_SHOWN));
                self.announce(Text::Copied);
                None
            }
            Event::Copied(_, false) => Some(self.notify(Text::CopyFailed, NoticeKind::Fault)),
            Event::Inserted(true) => Some(self.notify(Text::Inserted, NoticeKind::Done)),
            Event::Inserted(false) => Some(self.notify(Text::InsertFailed, NoticeKind::Fault)),
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.announcement.clear();
        self.copied = None;
    }

    fn go_to(&mut self, place: Place, locale: String) -> Option<Command> {
        let at_work = matches!(self.phase, Phase::Loading | Phase::Ready(_));
        if at_work && self.place.as_ref() == Some(&place) {
            return None;
        }
        self.place = Some(place);
        self.locale = locale;
        Some(self.load())
    }

    fn load(&mut self) -> Command {
        self.enter(Phase::Loading);
        Command::Call(Call::Load)
    }

    fn press(&mut self, action: Action, now: i64) -> Option<Command> {
        let ready = match &mut self.phase {
            Phase::Ready(ready) => ready,
            Phase::Failed(_) if action == Action::Reload => return Some(self.load()),
            _ => return None,
        };
        match action {
            Action::Reload => None,
            Action::MakeKey => ready.key.begin(Call::SessionKey),
            Action::MakeChatLink => ready.chat.begin(Call::ChatLink {
                issue: ready.issue.clone(),
            }),
            Action::Jump => ready.press_jump(),
            Action::ToggleOptions => {
                let form = ready.form.as_mut()?;
                form.options_open = !form.options_open;
                None
            }
            Action::RefreshSessions => ready.sessions.ask(now),
            Action::Copy(part) => Some(Command::Copy(part, ready.text_of(part)?)),
            Action::InsertKey => Some(Command::Insert(ready.text_of(Part::Mail)?)),
            Action::InsertChatLink => Some(Command::Insert(ready.text_of(Part::ChatLink)?)),
        }
    }

    fn fill(&mut self, field: Field, value: String) -> Option<Command> {
        let Phase::Ready(ready) = &mut self.phase else {
            return None;
        };
        if field == Field::Issue {
            ready.issue = value;
            return None;
        }
        let form = ready.form.as_mut()?;
        if field == Field::Method {
            form.method = JumpMethod::from_name(&value)?;
            form.faults.clear();
            ready.jump.reset();
        } else {
            form.set(field, value);
        }
        None
    }

    fn pass_time(&mut self, now: i64) -> Option<Command> {
        self.copied = self.copied.filter(|&(_, until)| now < until);
        let Phase::Ready(ready) = &mut self.phase else {
            return None;
        };
        let due = self.watched && now >= ready.sessions.next;
        let command = if due { ready.sessions.ask(now) } else { None };
        let (key, chat) = (ready.key.expire(now), ready.chat.expire(now));
        if key {
            self.announce(Text::KeyExpired);
        }
        if chat {
            self.announce(Text::ChatExpired);
        }
        command
    }

    fn hear(&mut self, answer: Answered, now: i64) -> Option<Command> {
        if let Answered::Refused(_, Problem { status: 401, .. }) = answer {
            self.enter(Phase::Ended);
            return None;
        }
        let ready = match (&mut self.phase, answer) {
            (_, Answered::Loaded(loaded)) => {
                let (offer, texts) = *loaded;
                self.texts = texts;
                self.locale.clone_from(&offer.locale);
                self.phase = Phase::Ready(Box::new(Ready::new(offer, now)));
                return self.pass_time(now);
            }
            (phase, Answered::Refused(Call::Load, problem)) => {
                *phase = Phase::Failed(problem);
                return None;
            }
            (Phase::Ready(ready), answer) => (ready, answer),
            _ => return None,
        };
        match ready {
            (ready, Answered::Key(key)) => {
                let said = self
                    .texts
                    .fill(Text::KeyMade, "key", &spelled(&key.short_key));
                let expires_at = key.expires_at.as_deref().and_then(unix_milliseconds);
                ready.key = Slot::Made(Timed::new(key, expires_at, now));
                self.announcement = said;
                None
            }
            // Whoever answers for the server cannot make the page run a script.
            (ready, Answered::Jump(url)) if !is_web(&url) => {
                ready.jump = Slot::Failed(Problem::of_status(200));
                None
            }
            (ready, Answered::Jump(url)) => {
                ready.jump = Slot::Made(url.clone());
                self.announce(Text::JumpMade);
                Some(Command::Open(url))
            }
            (ready, Answered::ChatLink(link)) => {
                let expires_at = link.expires_at.as_deref().and_then(unix_milliseconds);
                ready.chat = Slot::Made(Timed::new(link, expires_at, now));
                self.announce(Text::ChatMade);
                None
            }
            (ready, Answered::Sessions(list)) => {
                let news = ready.sessions.news(&list, &self.texts);
                ready.sessions.heard(list, now);
                if let Some(news) = news {
                    self.announcement = news;
                }
                None
            }
            (ready, Answered::Refused(call, problem)) => {
                match call {
                    Call::Load => {}
                    Call::SessionKey => ready.key = Slot::Failed(problem),
                    Call::Jump(_) => ready.jump = Slot::Failed(problem),
                    Call::ChatLink { .. } => ready.chat = Slot::Failed(problem),
                    Call::Sessions => ready.sessions.failed(problem, now),
                }
                None
            }
            (_, Answered::Loaded(_)) => None,
        }
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
            key: Slot::Empty,
            form: offer
                .methods
                .first()
                .map(|&method| JumpForm::new(method, &offer)),
            jump: Slot::Empty,
            issue: offer
                .issues
                .first()
                .map(|issue| issue.code_name.clone())
                .unwrap_or_default(),
            chat: Slot::Empty,
            sessions: Sessions {
                list: Vec::new(),
                known: false,
                problem: None,
                asking: false,
                failures: 0,
                next: now,
            },
            offer,
        }
    }

    fn press_jump(&mut self) -> Option<Command> {
        let form = self.form.as_mut().filter(|_| self.jump != Slot::Busy)?;
        match form.request() {
            Ok(request) => self.jump.begin(Call::Jump(Box::new(request))),
            Err(faults) => {
                let first = faults.first()?.0;
                let options = Field::options_of(form.method);
                form.options_open |= faults.iter().any(|(field, _)| options.contains(field));
                form.faults = faults;
                Some(Command::Focus(first))
            }
        }
    }

    fn text_of(&self, part: Part) -> Option<String> {
        let text = match part {
            Part::ChatLink => &self.chat.made()?.value.url,
            Part::Key => &self.key.made()?.value.short_key,
            Part::Mail if !self.key.made()?.value.mail_body.is_empty() => {
                &self.key.made()?.value.mail_body
            }
            Part::Mail | Part::KeyLink => &self.key.made()?.value.key_url,
        };
        Some(text.clone())
    }
}

impl<T> Slot<T> {
    /// What was made, if it was.
    pub fn made(&self) -> Option<&T> {
        if let Self::Made(made) = self {
            Some(made)
        } else {
            None
        }
    }

    /// Why it was not made.
    pub fn problem(&self) -> Option<&Problem> {
        if let Self::Failed(problem) = self {
            Some(problem)
        } else {
            None
        }
    }

    /// How far it is.
    pub fn step(&self) -> Step {
        match self {
            Self::Empty => Step::Empty,
            Self::Busy => Step::Busy,
            Self::Made(_) => Step::Made,
            Self::Failed(_) => Step::Failed,
        }
    }

    /// Asks, unless that is under way.
    fn begin(&mut self, call: Call) -> Option<Command> {
        if matches!(self, Self::Busy) {
            return None;
        }
        *self = Self::Busy;
        Some(Command::Call(call))
    }

    /// Forgets what was made or refused; what is under way stays.
    fn reset(&mut self) {
        if !matches!(self, Self::Busy) {
            *self = Self::Empty;
        }
    }
}

impl<T> Timed<T> {
    fn new(value: T, expires_at: Option<i64>, now: i64) -> Self {
        Self {
            value,
            expires_at,
            expired: expires_at.is_some_and(|expires_at| expires_at <= now),
        }
    }
}

impl<T> Slot<Timed<T>> {
    /// What was made, unless it has expired.
    pub fn fresh(&self) -> Option<&T> {
        self.made()
            .filter(|made| !made.expired)
            .map(|made| &made.value)
    }

    /// Whether it expired just now.
    fn expire(&mut self, now: i64) -> bool {
        match self {
            Self::Made(made)
                if !made.expired && made.expires_at.is_some_and(|expires_at| expires_at <= now) =>
            {
                made.expired = true;
                true
            }
            _ => false,
        }
    }
}

impl Sessions {
    fn ask(&mut self, now: i64) -> Option<Command> {
        if self.asking {
            return None;
        }
        self.asking = true;
        self.next = now + SESSIONS_INTERVAL;
        Some(Command::Call(Call::Sessions))
    }

    /// What a screen reader is told of a session that has come or changed; nothing about those already there at first.
    fn news(&self, list: &[LiveSession], texts: &Texts) -> Option<String> {
        let is_old = |session: &LiveSession| {
            self.list
                .iter()
                .any(|known| known.lsid == session.lsid && known.state == session.state)
        };
        let changed = list.iter().find(|session| self.known && !is_old(session))?;
        let news = texts.fill(Text::SessionNews, "name", customer_name(changed, texts));
        Some(super::texts::fill(
            &news,
            "state",
            texts.get(state_text(changed.state)),
        ))
    }

    fn heard(&mut self, list: Vec<LiveSession>, now: i64) {
        *self = Self {
            list,
            known: true,
            problem: None,
            asking: false,
            failures: 0,
            next: now + SESSIONS_INTERVAL,
        };
    }

    fn failed(&mut self, problem: Problem, now: i64) {
        self.problem = Some(problem);
        self.asking = false;
        self.failures = (self.failures + 1).min(4);
        self.next = now + (SESSIONS_INTERVAL << self.failures).min(SESSIONS_PAUSE);
    }
}

impl JumpForm {
    fn new(method: JumpMethod, offer: &PanelModel) -> Self {
        let mut form = Self {
            method,
            options_open: false,
            faults: Vec::new(),
            values: Default::default(),
        };
        form.set(Field::Target, offer.target.clone().unwrap_or_default());
        form.set(
            Field::Jumpoint,
            offer.jumpoints.first().cloned().unwrap_or_default(),
        );
        form.set(Field::Port, "22".into());
        form.set(Field::Protocol, "ssh".into());
        form.set(Field::Terminal, "xterm".into());
        form
    }

    /// What stands in the field.
    pub fn value(&self, field: Field) -> &str {
        &self.values[field as usize]
    }

    fn set(&mut self, field: Field, value: String) {
        // A port nobody touched follows the protocol.
        if field == Field::Protocol {
            let (usual_before, usual_now) = if value == "telnet" {
                ("22", "23")
            } else {
                ("23", "22")
            };
            if self.value(Field::Port) == usual_before {
                self.set(Field::Port, usual_now.into());
            }
        }
        self.values[field as usize] = value;
        self.faults.retain(|(faulty, _)| *faulty != field);
    }

    /// The Jump as the API has it; options left at their default are left out.
    fn request(&self) -> Result<JumpRequest, Vec<(Field, Text)>> {
        let main = Field::main_of(self.method);
        let options = Field::options_of(self.method);
        let given = |field: Field, default: &str| {
            let value = self.value(field).trim();
            let taken = main.contains(&field) || options.contains(&field);
            (taken && !value.is_empty() && value != default).then(|| value.to_owned())
        };
        let mut faults = Vec::new();
        for &field in main {
            let value = self.value(field).trim();
            if field == Field::Target && value.is_empty() {
                faults.push((field, Text::TargetMissing));
            } else if value.chars().nth(TEXT_LIMIT as usize).is_some() {
                faults.push((field, Text::TooLong));
            }
        }
        let port = given(Field::Port, "").map(|port| port.parse::<u16>());
        if port.as_ref().is_some_and(|port| !matches!(port, Ok(1..))) {
            faults.push((Field::Port, Text::PortRange));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(JumpRequest {
            method: self.method,
            target: self.value(Field::Target).trim().into(),
            jumpoint: given(Field::Jumpoint, ""),
            username: given(Field::Username, ""),
            port: port.and_then(Result::ok),
            protocol: given(Field::Protocol, ""),
            terminal: given(Field::Terminal, "xterm"),
            quality: given(Field::Quality, ""),
            display_size: given(Field::DisplaySize, ""),
            console: given(Field::Console, "").map(|_| true),
        })
    }
}

/// Who the session is with.
pub fn customer_name<'a>(session: &'a LiveSession, texts: &'a Texts) -> &'a str {
    let named = session.customer.as_deref().filter(|name| !name.is_empty());
    named.unwrap_or(texts.get(Text::UnnamedCustomer))
}

/// What a state is called.
pub const fn state_text(state: SessionState) -> Text {
    match state {
        SessionState::Waiting => Text::StateWaiting,
        SessionState::Active => Text::StateActive,
        SessionState::Ended => Text::StateEnded,
        SessionState::Recorded => Text::StateRecorded,
    }
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
