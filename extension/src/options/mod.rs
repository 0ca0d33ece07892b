//! What the options page knows and how that changes. Pure: an event goes in, commands come out; [`screen`] shows it, `options_page` carries it out.

pub mod screen;

use std::collections::BTreeMap;

use deskbridge_shared::device::{PairingLink, normalize_code};
use deskbridge_shared::panel::Answer;
use deskbridge_shared::panel::model::Problem;
use deskbridge_shared::problem::TYPE_PREFIX;
use serde::Deserialize;
use serde_json::Value;

use crate::idna::idna;
use crate::json::read;
use crate::settings::{
    AddressFault, Language, MAX_SITES, Managed, Paired, Settings, Stored, autotask, connection_of, normalize_server, normalize_site,
    permission_pattern, site,
};
use crate::site::{SiteKind, SiteSettings};
use crate::texts::{Word, Words, panel_texts};

/// The whole state.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// In the chosen language.
    pub words: Words,
    /// What there is; `None`: still being read.
    pub facts: Option<Facts>,
    /// What holds.
    pub settings: Settings,
    /// What is being typed.
    pub typed: Typed,
    /// What was wrong with what was typed last.
    pub fault: Option<(Field, String)>,
    /// How far pairing is.
    pub pairing: Progress,
    /// How far the connection test is.
    pub check: Progress,
    /// Whether "forget" was pressed once.
    pub is_forgetting: bool,
    /// The site whose own labels and selectors are shown.
    pub open_site: Option<usize>,
    /// What a screen reader is told, and what is shown for a moment.
    pub announcement: String,
}

/// What the browser holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What the user has set.
    pub stored: Stored,
    /// What a policy sets.
    pub managed: Managed,
    /// The pairing.
    pub paired: Option<Paired>,
    /// Patterns of the hosts the browser lets us onto.
    pub allowed: Vec<String>,
    /// The key that opens the panel.
    pub shortcut: Option<String>,
    /// The browser's language.
    pub browser_language: String,
}

/// What is being typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// The server's address.
    pub server: String,
    /// A pairing link or code.
    pub code: String,
    /// This browser's name.
    pub name: String,
    /// A new site's address.
    pub new_site: String,
    /// Its kind, once the browser was asked to allow it.
    pub new_kind: Option<SiteKind>,
    /// The list of a site that is being typed; it is saved when its field is left.
    pub list: Option<(Field, String)>,
}

/// Something that takes a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not begun.
    Idle,
    /// On its way.
    Busy,
    /// It worked.
    Done,
    /// It did not, and why.
    Failed(Trouble),
}

/// Something to fill in. Those of a site carry its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The server's address.
    Server,
    /// A pairing link or code.
    Code,
    /// This browser's name.
    Name,
    /// A new site's address.
    NewSite,
    /// The language.
    Language,
    /// A site's connection.
    Connection(usize),
    /// A site's labels of the machine.
    Labels(usize),
    /// A site's selectors of the machine.
    Targets(usize),
    /// A site's selectors of the place for the panel.
    Mounts(usize),
}

/// A button. Those of a site carry its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Save the server's address.
    SaveServer,
    /// Pair this browser.
    Pair,
    /// Forget the pairing.
    Forget,
    /// Test the connection.
    Check,
    /// Add the osTicket typed in.
    AddOsTicket,
    /// Add the Request Tracker typed in.
    AddRequestTracker,
    /// Add Autotask.
    AddAutotask,
    /// Remove a site.
    Remove(usize),
    /// Ask the browser for access to a site.
    Allow(usize),
    /// Show or hide a site's own labels and selectors.
    Toggle(usize),
    /// Go where the browser lets shortcuts be changed.
    ChangeShortcut,
}

/// Names on the page, with those that carry a number marked.
const FIELDS: [(Field, &str); 9] = [
    (Field::Server, "server"),
    (Field::Code, "code"),
    (Field::Name, "name"),
    (Field::NewSite, "new-site"),
    (Field::Language, "language"),
    (Field::Connection(0), "connection-"),
    (Field::Labels(0), "labels-"),
    (Field::Targets(0), "targets-"),
    (Field::Mounts(0), "mounts-"),
];
const ACTIONS: [(Action, &str); 11] = [
    (Action::SaveServer, "save-server"),
    (Action::Pair, "pair"),
    (Action::Forget, "forget"),
    (Action::Check, "check"),
    (Action::AddOsTicket, "add-osticket"),
    (Action::AddRequestTracker, "add-request-tracker"),
    (Action::AddAutotask, "add-autotask"),
    (Action::ChangeShortcut, "change-shortcut"),
    (Action::Remove(0), "remove-"),
    (Action::Allow(0), "allow-"),
    (Action::Toggle(0), "toggle-"),
];

impl Field {
    /// Its name on the page.
    pub fn name(self) -> String {
        let (kind, number) = match self {
            Self::Connection(number) => (Self::Connection(0), Some(number)),
            Self::Labels(number) => (Self::Labels(0), Some(number)),
            Self::Targets(number) => (Self::Targets(0), Some(number)),
            Self::Mounts(number) => (Self::Mounts(0), Some(number)),
            plain => (plain, None),
        };
        numbered(&FIELDS, kind, number)
    }

    /// The field of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let (kind, number) = unnumbered(&FIELDS, name)?;
        Some(match kind {
            Self::Connection(_) => Self::Connection(number?),
            Self::Labels(_) => Self::Labels(number?),
            Self::Targets(_) => Self::Targets(number?),
            Self::Mounts(_) => Self::Mounts(number?),
            plain => plain,
        })
    }
}

impl Action {
    /// Its name on the page.
    pub fn name(self) -> String {
        let (kind, number) = match self {
            Self::Remove(number) => (Self::Remove(0), Some(number)),
            Self::Allow(number) => (Self::Allow(0), Some(number)),
            Self::Toggle(number) => (Self::Toggle(0), Some(number)),
            plain => (plain, None),
        };
        numbered(&ACTIONS, kind, number)
    }

    /// The button of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let (kind, number) = unnumbered(&ACTIONS, name)?;
        Some(match kind {
            Self::Remove(_) => Self::Remove(number?),
            Self::Allow(_) => Self::Allow(number?),
            Self::Toggle(_) => Self::Toggle(number?),
            plain => plain,
        })
    }
}

fn numbered<T: Copy + PartialEq>(names: &[(T, &str)], kind: T, number: Option<usize>) -> String {
    let name = names.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name);
    number.map_or_else(|| name.to_owned(), |number| format!("{name}{number}"))
}

fn unnumbered<T: Copy>(names: &[(T, &str)], name: &str) -> Option<(T, Option<usize>)> {
    names.iter().find_map(|(kind, known)| {
        let rest = name.strip_prefix(known)?;
        match (known.ends_with('-'), rest.parse()) {
            (false, _) if rest.is_empty() => Some((*kind, None)),
            (true, Ok(number)) => Some((*kind, Some(number))),
            _ => None,
        }
    })
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The browser told what it holds, at first or because it changed.
    Read(Box<Facts>),
    /// A field was typed into; `true`: and left.
    Filled(Field, String, bool),
    /// A button was pressed.
    Pressed(Action),
    /// The server paired this browser, or did not.
    Paired(Result<Paired, Trouble>),
    /// The server knows this browser, or does not.
    Checked(Result<Paired, Trouble>),
    /// The browser lets us onto a site, or does not.
    Allowed(String, bool),
    /// The browser kept what it was given, or did not.
    Saved(bool),
    /// The pairing is gone.
    Forgotten,
}

/// Something to do outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Keep what the user has set.
    Save(Stored),
    /// Pair with that server.
    Pair {
        /// Its origin.
        server: String,
        /// The code, in its stored form.
        code: String,
        /// This browser's name; empty: none.
        name: String,
    },
    /// Ask the server who we are.
    Check(Paired),
    /// Ask the browser for that site's host. Must happen while the press is being handled.
    Allow(String),
    /// Give a site's host back to the browser.
    Disallow(String),
    /// Forget pairing and key, and tell the server.
    Forget(Paired),
    /// Go where the browser lets shortcuts be changed.
    ChangeShortcut,
}

/// Why the server did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No answer: no network, no server, or a certificate the browser does not trust; which, it does not tell.
    Unreachable(String),
    /// An answer that is not Deskbridge's.
    NotDeskbridge(String),
    /// Nothing to ask with.
    NotPaired,
    /// The browser makes or keeps no key.
    NoKey,
    /// A problem document (RFC 9457).
    Problem {
        /// The last part of its type.
        kind: String,
        /// As the panel reads it.
        problem: Problem,
        /// The server's time, where that is what is wrong.
        server_time: Option<String>,
    },
}

impl Trouble {
    /// Of an answer that is no success.
    pub fn of(server: &str, answer: &Answer) -> Self {
        #[derive(Deserialize)]
        struct Document {
            #[serde(rename = "type")]
            kind: String,
            reason: Option<String>,
            title: String,
            detail: String,
            server_time: Option<String>,
            #[serde(flatten)]
            others: BTreeMap<String, Value>,
        }
        if answer.status == Answer::NOT_REACHED {
            return Self::Unreachable(server.into());
        }
        let document = read::<Document>(&answer.body);
        match document.and_then(|document| Some((document.kind.strip_prefix(TYPE_PREFIX)?.to_owned(), document))) {
            None => Self::NotDeskbridge(server.into()),
            Some((kind, document)) => {
                let Document { reason, title, detail, server_time, others, .. } = document;
                let text = |value: Value| value.as_str().map(str::to_owned).or_else(|| value.is_u64().then(|| value.to_string()));
                let members = others.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect();
                let problem = Problem { status: answer.status, kind: reason.unwrap_or_else(|| kind.clone()), title, detail, members };
                Self::Problem { kind, problem, server_time }
            }
        }
    }

    /// Whether the server will never pair with this key and this code. After anything else the same may be asked again: the browser may even be
    /// paired, and the answer be lost.
    pub fn ends_pairing(&self) -> bool {
        let ends = ["pairing-code", "pairing-code-used", "pairing-code-expired", "already-paired"];
        matches!(self, Self::Problem { kind, .. } if ends.contains(&kind.as_str()))
    }

    /// What a person reads: what is wrong, and what to do.
    pub fn message(&self, words: &Words) -> String {
        match self {
            Self::Unreachable(server) => words.fill(Word::FaultUnreachable, "server", server),
            Self::NotDeskbridge(server) => words.fill(Word::FaultNotDeskbridge, "server", server),
            Self::NotPaired => words.get(Word::FaultNotPaired).into(),
            Self::NoKey => words.get(Word::FaultKey).into(),
            Self::Problem { kind, problem, server_time } => match (kind.as_str(), server_time) {
                ("clock", Some(time)) => words.fill(Word::FaultClock, "time", time),
                ("device-refused" | "no-device", _) => words.get(Word::FaultUnknown).into(),
                ("device-revoked", _) => words.get(Word::FaultRevoked).into(),
                ("pairing-code", _) => words.get(Word::FaultCodeUnknown).into(),
                ("pairing-code-used", _) => words.get(Word::FaultCodeUsed).into(),
                ("pairing-code-expired", _) => words.get(Word::FaultCodeExpired).into(),
                ("too-many-codes", _) => words.get(Word::FaultCodeLimit).into(),
                ("already-paired", _) => words.get(Word::FaultPairedBefore).into(),
                // As the panel says it; of a later server's kinds, what the server says.
                _ => problem
                    .worded(&panel_texts(words.language()))
                    .unwrap_or_else(|| words.fill(Word::FaultServer, "message", &format!("{}. {}", problem.title, problem.detail))),
            },
        }
    }
}

impl Options {
    /// Nothing is known yet; the browser speaks `language`.
    pub fn new(language: &str) -> Self {
        Self {
            words: Words::of(language),
            facts: None,
            settings: Settings::of(&Stored::default(), &Managed::default()),
            typed: Typed::default(),
            fault: None,
            pairing: Progress::Idle,
            check: Progress::Idle,
            is_forgetting: false,
            open_site: None,
            announcement: String::new(),
        }
    }

    /// The pairing with the server that is set.
    pub fn paired(&self) -> Option<&Paired> {
        self.facts.as_ref()?.paired.as_ref().filter(|paired| self.settings.server.is_empty() || paired.server == self.settings.server)
    }

    /// Whether the browser lets us onto a site.
    pub fn is_allowed(&self, site: &SiteSettings) -> bool {
        let allowed = self.facts.as_ref().map_or(&[][..], |facts| &facts.allowed);
        permission_pattern(&site.url).is_some_and(|pattern| allowed.contains(&pattern))
    }

    /// The sites no connection is found for, once there is a pairing to look in.
    pub fn sites_without_connection(&self) -> Vec<&SiteSettings> {
        let Some(paired) = self.paired() else { return Vec::new() };
        self.settings.sites.iter().filter(|site| connection_of(site, &paired.connections).is_none()).collect()
    }

    /// Takes one event and answers what to do about it.
    pub fn update(&mut self, event: Event) -> Vec<Command> {
        match event {
            Event::Read(facts) => self.read(*facts),
            Event::Filled(field, value, is_left) => return self.fill(field, value, is_left),
            Event::Pressed(action) => {
                self.fault = None;
                self.announcement.clear();
                self.is_forgetting &= action == Action::Forget;
                return self.press(action);
            }
            Event::Paired(outcome) => return self.take_pairing(outcome),
            Event::Checked(outcome) => self.take_check(outcome),
            Event::Allowed(url, is_allowed) => return self.take_permission(url, is_allowed),
            Event::Saved(saved) => self.announce(if saved { Word::Saved } else { Word::NotSaved }),
            Event::Forgotten => {
                if let Some(facts) = &mut self.facts {
                    facts.paired = None;
                }
                self.check = Progress::Idle;
                self.announce(Word::Forgotten);
            }
        }
        Vec::new()
    }

    fn read(&mut self, facts: Facts) {
        self.words = Words::of(facts.stored.language.tag(&facts.browser_language));
        let settings = Settings::of(&facts.stored, &facts.managed);
        if settings.server != self.settings.server || self.facts.is_none() {
            self.typed.server.clone_from(&settings.server);
        }
        // What is being typed for a site goes with it.
        let addresses = |settings: &Settings| settings.sites.iter().map(|site| site.url.clone()).collect::<Vec<_>>();
        if addresses(&settings) != addresses(&self.settings) {
            self.typed.list = None;
        }
        self.settings = settings;
        self.facts = Some(facts);
    }

    fn fill(&mut self, field: Field, value: String, is_left: bool) -> Vec<Command> {
        if self.fault.as_ref().is_some_and(|(faulty, _)| *faulty == field) {
            self.fault = None;
        }
        match field {
            Field::Server => self.typed.server = value,
            Field::Code => self.typed.code = value,
            Field::Name => self.typed.name = value,
            Field::NewSite => self.typed.new_site = value,
            // A choice raises two events. It holds from the first, since what is drawn after that must show it.
            Field::Language => {
                let language = Language::from_name(&value).unwrap_or_default();
                if self.facts.as_ref().is_some_and(|facts| facts.stored.language != language) {
                    return self.change(|stored| stored.language = language);
                }
            }
            Field::Connection(number) => {
                if self.settings.sites.get(number).is_some_and(|site| site.connection != value) {
                    return self.change_site(number, |site| site.connection = value);
                }
            }
            Field::Labels(_) | Field::Targets(_) | Field::Mounts(_) if !is_left => self.typed.list = Some((field, value)),
            Field::Labels(number) => return self.take_list(number, &value, |site| &mut site.target_labels),
            Field::Targets(number) => return self.take_list(number, &value, |site| &mut site.target_selectors),
            Field::Mounts(number) => return self.take_list(number, &value, |site| &mut site.mount_selectors),
        }
        Vec::new()
    }

    fn take_list(&mut self, number: usize, text: &str, list: fn(&mut SiteSettings) -> &mut Vec<String>) -> Vec<Command> {
        self.typed.list = None;
        let lines = lines(text);
        if self.settings.sites.get(number).is_some_and(|site| *list(&mut site.clone()) == lines) {
            return Vec::new();
        }
        self.change_site(number, |site| *list(site) = lines)
    }

    fn press(&mut self, action: Action) -> Vec<Command> {
        let command = match action {
            Action::SaveServer => return self.save_server(),
            Action::Pair => self.pair(),
            Action::Check => self.begin_check(),
            Action::Forget => self.forget(),
            Action::AddAutotask => return self.add(autotask()),
            Action::AddOsTicket => self.add_typed(SiteKind::Osticket),
            Action::AddRequestTracker => self.add_typed(SiteKind::RequestTracker),
            Action::Allow(number) => self.settings.sites.get(number).map(|site| Command::Allow(site.url.clone())),
            Action::Remove(number) => return self.remove(number),
            Action::Toggle(number) => {
                self.open_site = if self.open_site == Some(number) { None } else { Some(number) };
                None
            }
            Action::ChangeShortcut => Some(Command::ChangeShortcut),
        };
        command.into_iter().collect()
    }

    fn save_server(&mut self) -> Vec<Command> {
        if self.settings.server_is_managed {
            return Vec::new();
        }
        match normalize_server(&self.typed.server) {
            Ok(server) => {
                self.typed.server.clone_from(&server);
                self.change(|stored| stored.server = server)
            }
            Err(fault) => self.refuse(Field::Server, address_word(fault)),
        }
    }

    fn pair(&mut self) -> Option<Command> {
        if self.pairing == Progress::Busy {
            return None;
        }
        let link = PairingLink::parse(&self.typed.code, idna);
        let typed_server = normalize_server(&self.typed.server);
        let own_server = if self.settings.server_is_managed { Some(self.settings.server.clone()) } else { None };
        let (server, code) = match link {
            Some(link) => (own_server.or(Some(link.origin)), Some(link.code)),
            None => (own_server.or(typed_server.clone().ok()), normalize_code(&self.typed.code)),
        };
        let Some(code) = code else {
            let address = self.typed.code.split_once('#').map(|(address, _)| normalize_server(address));
            let is_name = address == Some(Err(AddressFault::BadName));
            self.refuse(Field::Code, if is_name { Word::FaultName } else { Word::FaultCode });
            return None;
        };
        let Some(server) = server else {
            let word = typed_server.err().filter(|fault| *fault != AddressFault::Empty).map_or(Word::FaultNoServer, address_word);
            self.refuse(Field::Server, word);
            return None;
        };
        self.pairing = Progress::Busy;
        self.check = Progress::Idle;
        Some(Command::Pair { server, code, name: self.typed.name.trim().into() })
    }

    fn take_pairing(&mut self, outcome: Result<Paired, Trouble>) -> Vec<Command> {
        match outcome {
            Err(trouble) => {
                self.pairing = Progress::Failed(trouble);
                Vec::new()
            }
            Ok(paired) => {
                self.pairing = Progress::Done;
                self.typed.code.clear();
                self.typed.server.clone_from(&paired.server);
                let server = paired.server.clone();
                if let Some(facts) = &mut self.facts {
                    facts.paired = Some(paired);
                }
                let is_managed = self.settings.server_is_managed;
                let commands = self.change(|stored| {
                    if !is_managed {
                        stored.server = server;
                    }
                });
                self.announce(Word::Paired);
                commands
            }
        }
    }

    fn begin_check(&mut self) -> Option<Command> {
        if self.check == Progress::Busy {
            return None;
        }
        let Some(paired) = self.paired().cloned() else {
            self.check = Progress::Failed(Trouble::NotPaired);
            return None;
        };
        self.check = Progress::Busy;
        Some(Command::Check(paired))
    }

    fn take_check(&mut self, outcome: Result<Paired, Trouble>) {
        self.check = match outcome {
            Err(trouble) => Progress::Failed(trouble),
            Ok(paired) => {
                if let Some(facts) = &mut self.facts {
                    facts.paired = Some(paired);
                }
                Progress::Done
            }
        };
    }

    fn forget(&mut self) -> Option<Command> {
        let paired = self.facts.as_ref()?.paired.clone()?;
        if !std::mem::replace(&mut self.is_forgetting, true) {
            return None;
        }
        self.is_forgetting = false;
        self.pairing = Progress::Idle;
        Some(Command::Forget(paired))
    }

    fn add_typed(&mut self, kind: SiteKind) -> Option<Command> {
        let url = match normalize_site(kind, &self.typed.new_site) {
            Ok(url) => url,
            Err(fault) => {
                self.refuse(Field::NewSite, address_word(fault));
                return None;
            }
        };
        if self.settings.sites.iter().any(|site| site.url == url) {
            self.refuse(Field::NewSite, Word::SiteKnown);
            return None;
        }
        self.typed.new_kind = Some(kind);
        Some(Command::Allow(url))
    }

    fn take_permission(&mut self, url: String, is_allowed: bool) -> Vec<Command> {
        if !is_allowed {
            self.fault = Some((Field::NewSite, self.words.fill(Word::SiteDenied, "site", &url)));
            return Vec::new();
        }
        if let (Some(facts), Some(pattern)) = (&mut self.facts, permission_pattern(&url)) {
            facts.allowed.push(pattern);
        }
        if self.settings.sites.iter().any(|site| site.url == url) {
            // The background registers its scripts anew when something is saved.
            return self.change(|_| {});
        }
        self.typed.new_site.clear();
        let kind = self.typed.new_kind.take().unwrap_or(SiteKind::Osticket);
        self.add(site(kind, url))
    }

    fn add(&mut self, site: SiteSettings) -> Vec<Command> {
        if self.settings.sites.len() >= MAX_SITES || self.settings.sites.iter().any(|known| known.url == site.url) {
            return Vec::new();
        }
        let mut sites = self.settings.sites.clone();
        sites.push(site);
        self.change(|stored| stored.sites = Some(sites))
    }

    fn remove(&mut self, number: usize) -> Vec<Command> {
        if self.settings.sites_are_managed || number >= self.settings.sites.len() {
            return Vec::new();
        }
        let mut sites = self.settings.sites.clone();
        let removed = sites.remove(number);
        let is_still_needed = sites.iter().any(|site| permission_pattern(&site.url) == permission_pattern(&removed.url));
        self.open_site = None;
        self.typed.list = None;
        let mut commands = self.change(|stored| stored.sites = Some(sites));
        // Autotask's hosts are the manifest's, and stay.
        if removed.kind != SiteKind::Autotask && !is_still_needed {
            commands.push(Command::Disallow(removed.url));
        }
        commands
    }

    fn change_site(&mut self, number: usize, change: impl FnOnce(&mut SiteSettings)) -> Vec<Command> {
        let mut sites = self.settings.sites.clone();
        let Some(site) = sites.get_mut(number).filter(|_| !self.settings.sites_are_managed) else { return Vec::new() };
        change(site);
        self.change(|stored| stored.sites = Some(sites))
    }

    fn change(&mut self, change: impl FnOnce(&mut Stored)) -> Vec<Command> {
        let Some(mut facts) = self.facts.clone() else { return Vec::new() };
        change(&mut facts.stored);
        let stored = facts.stored.clone();
        self.read(facts);
        vec![Command::Save(stored)]
    }

    fn refuse(&mut self, field: Field, word: Word) -> Vec<Command> {
        self.fault = Some((field, self.words.get(word).into()));
        Vec::new()
    }

    fn announce(&mut self, word: Word) {
        self.announcement = self.words.get(word).into();
    }
}

const fn address_word(fault: AddressFault) -> Word {
    match fault {
        AddressFault::Empty => Word::FaultAddressEmpty,
        AddressFault::NotAnAddress => Word::FaultAddress,
        AddressFault::NotHttps => Word::FaultHttps,
        AddressFault::BadName => Word::FaultName,
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use deskbridge_shared::device::DeviceConnection;

    use deskbridge_shared::problem::{Kind, Reader};

    use super::*;

    const SERVER: &str = "https://remote.example.com";
    const CODE: &str = "ABCD-EFGH-JKMN-PQRS";

    pub(super) fn paired() -> Paired {
        let connection = DeviceConnection { name: "Desk".into(), system: "osticket".into(), site: Some("https://desk.example.com".into()) };
        Paired {
            server: SERVER.into(),
            device: "d".into(),
            name: "Laptop".into(),
            agent: Some("Anna".into()),
            connections: vec![connection],
        }
    }

    pub(super) fn opened(facts: Facts) -> Options {
        let mut options = Options::new("en");
        options.update(Event::Read(Box::new(Facts { browser_language: "en".into(), ..facts })));
        options
    }

    fn type_in(options: &mut Options, field: Field, value: &str) {
        assert_eq!(options.update(Event::Filled(field, value.into(), true)), []);
    }

    fn press(options: &mut Options, action: Action) -> Vec<Command> {
        options.update(Event::Pressed(action))
    }

    #[test]
    fn names_read_back() {
        for (field, _) in FIELDS {
            assert_eq!(Field::from_name(&field.name()), Some(field));
        }
        for (action, _) in ACTIONS {
            assert_eq!(Action::from_name(&action.name()), Some(action));
        }
        assert_eq!(Action::from_name("remove-17"), Some(Action::Remove(17)));
        for other in ["", "remove-", "remove-x", "pairing", "check-1"] {
            assert_eq!(Action::from_name(other), None, "{other}");
        }
    }

    #[test]
    fn only_the_servers_refusal_ends_a_pairing() {
        let of = |status: u16, kind: &str| {
            let body = format!(r#"{{"type":"urn:deskbridge:problem:{kind}","title":"t","detail":"d"}}"#);
            Trouble::of(SERVER, &Answer { status, body, server_time: None })
        };
        for (status, kind) in [(403, "pairing-code"), (410, "pairing-code-used"), (410, "pairing-code-expired"), (409, "already-paired")] {
            assert!(of(status, kind).ends_pairing(), "{kind}");
        }
        for (status, kind) in [(401, "clock"), (429, "too-many-codes"), (503, "unavailable"), (408, "too-slow")] {
            assert!(!of(status, kind).ends_pairing(), "{kind}");
        }
        // No answer, or another's: the server may have paired all the same.
        assert!(!Trouble::of(SERVER, &Answer::default()).ends_pairing());
        assert!(!Trouble::of(SERVER, &Answer { status: 502, body: "<html>".into(), server_time: None }).ends_pairing());
        assert!(!Trouble::NoKey.ends_pairing());
    }

    #[test]
    fn a_link_says_everything() {
        let mut options = opened(Facts::default());
        type_in(&mut options, Field::Code, &format!(" {SERVER}/pair#{CODE} "));
        type_in(&mut options, Field::Name, " Laptop ");
        let pair = Command::Pair { server: SERVER.into(), code: CODE.replace('-', ""), name: "Laptop".into() };
        assert_eq!(press(&mut options, Action::Pair), [pair]);
        assert_eq!(press(&mut options, Action::Pair), [], "one at a time");
        let saved = options.update(Event::Paired(Ok(paired())));
        assert_eq!(saved, [Command::Save(Stored { server: SERVER.into(), ..Stored::default() })]);
        assert_eq!((options.paired().is_some(), options.typed.code.as_str(), &options.pairing), (true, "", &Progress::Done));
    }

    #[test]
    fn a_code_needs_a_server() {
        let mut options = opened(Facts::default());
        type_in(&mut options, Field::Code, "nonsense");
        assert_eq!(press(&mut options, Action::Pair), []);
        assert_eq!(options.fault.as_ref().map(|(field, _)| *field), Some(Field::Code));
        type_in(&mut options, Field::Code, CODE);
        assert_eq!(press(&mut options, Action::Pair), []);
        assert_eq!(options.fault.as_ref().map(|(field, _)| *field), Some(Field::Server));
        type_in(&mut options, Field::Server, "remote.example.com");
        assert_eq!(options.fault, None);
        let pair = Command::Pair { server: SERVER.into(), code: CODE.replace('-', ""), name: String::new() };
        assert_eq!(press(&mut options, Action::Pair), [pair]);
    }

    #[test]
    fn names_with_umlauts_are_taken_and_bad_ones_are_named() {
        let mut options = opened(Facts { stored: Stored { language: Language::De, ..Stored::default() }, ..Facts::default() });
        let fault = |options: &Options, field: Field| {
            options.fault.clone().filter(|(faulty, _)| *faulty == field).map(|(_, text)| text).unwrap_or_default()
        };
        type_in(&mut options, Field::Code, &format!("https://fern.müller.de/pair#{CODE}"));
        assert!(
            matches!(&press(&mut options, Action::Pair)[..], [Command::Pair { server, .. }] if server == "https://fern.xn--mller-kva.de")
        );
        options.pairing = Progress::Idle;
        type_in(&mut options, Field::Code, &format!("https://fern..müller.de/pair#{CODE}"));
        assert_eq!(press(&mut options, Action::Pair), []);
        assert!(fault(&options, Field::Code).starts_with("Dieser Name kann für keinen Server verwendet werden."), "{:?}", options.fault);
        type_in(&mut options, Field::Server, "fern😀.de");
        type_in(&mut options, Field::Code, CODE);
        assert_eq!(press(&mut options, Action::Pair), []);
        assert!(fault(&options, Field::Server).starts_with("Dieser Name kann für keinen Server verwendet werden."), "{:?}", options.fault);
        assert_eq!(press(&mut options, Action::SaveServer), []);
        assert!(fault(&options, Field::Server).starts_with("Dieser Name kann für keinen Server verwendet werden."), "{:?}", options.fault);
        type_in(&mut options, Field::Server, "fern.müller.de");
        assert!(
            matches!(&press(&mut options, Action::SaveServer)[..], [Command::Save(stored)] if stored.server == "https://fern.xn--mller-kva.de")
        );
        type_in(&mut options, Field::NewSite, "https://hilfe.müller.de/scp/");
        assert_eq!(press(&mut options, Action::AddOsTicket), [Command::Allow("https://hilfe.xn--mller-kva.de/".into())]);
    }

    #[test]
    fn a_policys_server_stays() {
        let managed = Managed { server_url: Some(SERVER.into()), ..Managed::default() };
        let mut options = opened(Facts { managed, ..Facts::default() });
        type_in(&mut options, Field::Server, "https://other.example.com");
        assert_eq!(press(&mut options, Action::SaveServer), []);
        type_in(&mut options, Field::Code, &format!("https://other.example.com/pair#{CODE}"));
        assert!(matches!(&press(&mut options, Action::Pair)[..], [Command::Pair { server, .. }] if server == SERVER));
    }

    #[test]
    fn an_osticket_is_added_once_the_browser_allows_it() {
        let mut options = opened(Facts::default());
        type_in(&mut options, Field::NewSite, "http://desk.example.com");
        assert_eq!(press(&mut options, Action::AddOsTicket), []);
        assert_eq!(options.fault.as_ref().map(|(_, text)| text.as_str()), Some("The address must begin with https://."));
        type_in(&mut options, Field::NewSite, "desk.example.com/support/scp/index.php");
        let url = "https://desk.example.com/support/";
        assert_eq!(press(&mut options, Action::AddOsTicket), [Command::Allow(url.into())]);
        assert_eq!(options.update(Event::Allowed(url.into(), false)), [], "not without the browser's leave");
        assert!(options.fault.is_some());
        let expected = Stored { sites: Some(vec![autotask(), site(SiteKind::Osticket, url.into())]), ..Stored::default() };
        assert_eq!(options.update(Event::Allowed(url.into(), true)), [Command::Save(expected)]);
        assert!(options.is_allowed(&options.settings.sites[1]));
        type_in(&mut options, Field::NewSite, "https://desk.example.com/support/");
        assert_eq!(press(&mut options, Action::AddOsTicket), [], "it is in the list already");
        let commands = press(&mut options, Action::Remove(1));
        let without = Stored { sites: Some(vec![autotask()]), ..Stored::default() };
        assert_eq!(commands, [Command::Save(without), Command::Disallow(url.into())]);
        let none = Stored { sites: Some(Vec::new()), ..Stored::default() };
        assert_eq!(press(&mut options, Action::Remove(0)), [Command::Save(none)], "Autotask can be switched off");
    }

    #[test]
    fn a_request_tracker_is_added_in_the_same_way() {
        let mut options = opened(Facts::default());
        type_in(&mut options, Field::NewSite, "rt.example.com/rt/Ticket/Display.html?id=1");
        let url = "https://rt.example.com/rt/";
        assert_eq!(press(&mut options, Action::AddRequestTracker), [Command::Allow(url.into())]);
        let expected = Stored { sites: Some(vec![autotask(), site(SiteKind::RequestTracker, url.into())]), ..Stored::default() };
        assert_eq!(options.update(Event::Allowed(url.into(), true)), [Command::Save(expected)]);
        let without = Stored { sites: Some(vec![autotask()]), ..Stored::default() };
        assert_eq!(press(&mut options, Action::Remove(1)), [Command::Save(without), Command::Disallow(url.into())]);
    }

    #[test]
    fn a_policys_sites_stay() {
        let managed = serde_json::from_str(r#"{"sites":[{"kind":"autotask"}]}"#).expect("a policy");
        let mut options = opened(Facts { managed, ..Facts::default() });
        assert_eq!(press(&mut options, Action::Remove(0)), []);
        assert_eq!(options.update(Event::Filled(Field::Connection(0), "PSA".into(), true)), []);
    }

    #[test]
    fn a_sites_own_lists_are_kept_when_the_field_is_left() {
        let mut options = opened(Facts::default());
        assert_eq!(options.update(Event::Filled(Field::Labels(0), "Mach".into(), false)), []);
        let saved = options.update(Event::Filled(Field::Labels(0), " Machine \n\nRechner".into(), true));
        let expected = SiteSettings { target_labels: vec!["Machine".into(), "Rechner".into()], ..autotask() };
        assert_eq!(saved, [Command::Save(Stored { sites: Some(vec![expected]), ..Stored::default() })]);
    }

    #[test]
    fn what_is_typed_stays_while_the_page_is_drawn_anew() {
        let mut options = opened(Facts::default());
        options.update(Event::Filled(Field::Labels(0), "Mach".into(), false));
        options.update(Event::Read(Box::default()));
        assert_eq!(options.typed.list, Some((Field::Labels(0), "Mach".into())));
        // Typed back to what was there: nothing is saved when it is left.
        assert_eq!(options.update(Event::Filled(Field::Labels(0), String::new(), true)), []);
        assert_eq!(options.typed.list, None);
        options.update(Event::Filled(Field::Labels(0), "Mach".into(), false));
        let desk = site(SiteKind::Osticket, "https://desk.example.com/".into());
        let elsewhere = Facts { stored: Stored { sites: Some(vec![desk]), ..Stored::default() }, ..Facts::default() };
        options.update(Event::Read(Box::new(elsewhere)));
        assert_eq!(options.typed.list, None, "another page removed the site");
        options.update(Event::Read(Box::default()));
        options.update(Event::Filled(Field::Labels(0), "Machine".into(), true));
        assert_eq!((options.typed.list, &options.settings.sites[0].target_labels[..]), (None, &["Machine".to_owned()][..]));
    }

    #[test]
    fn a_choice_is_saved_at_the_first_of_its_two_events() {
        let mut options = opened(Facts::default());
        for (field, value) in [(Field::Language, "de"), (Field::Connection(0), "PSA")] {
            let [Command::Save(_)] = &options.update(Event::Filled(field, value.into(), false))[..] else { panic!("{field:?}") };
            assert_eq!(options.update(Event::Filled(field, value.into(), true)), [], "{field:?}");
        }
        let facts = options.facts.as_ref().expect("what was read");
        assert_eq!((facts.stored.language, options.settings.sites[0].connection.as_str()), (Language::De, "PSA"));
    }

    #[test]
    fn forgetting_is_asked_twice() {
        let mut options = opened(Facts { paired: Some(paired()), ..Facts::default() });
        assert_eq!(press(&mut options, Action::Forget), []);
        assert!(options.is_forgetting);
        press(&mut options, Action::Check);
        assert!(!options.is_forgetting, "another button takes it back");
        press(&mut options, Action::Forget);
        assert_eq!(press(&mut options, Action::Forget), [Command::Forget(paired())]);
        options.update(Event::Forgotten);
        assert_eq!(options.paired(), None);
    }

    #[test]
    fn the_test_says_what_is_wrong() {
        let mut options = opened(Facts::default());
        assert_eq!(press(&mut options, Action::Check), []);
        assert_eq!(options.check, Progress::Failed(Trouble::NotPaired));
        let mut options = opened(Facts { paired: Some(paired()), ..Facts::default() });
        assert_eq!(press(&mut options, Action::Check), [Command::Check(paired())]);
        options.update(Event::Checked(Ok(paired())));
        assert_eq!(options.check, Progress::Done);
        let urls: Vec<&str> = options.sites_without_connection().iter().map(|site| site.url.as_str()).collect();
        assert_eq!(urls, ["https://*.autotask.net/"]);
    }

    #[test]
    fn each_trouble_has_words_of_its_own() {
        let words = Words::of("en");
        let answer = |status, body: &str| Answer { status, body: body.into(), server_time: None };
        let problem = |kind: &str| {
            let time = r#""server_time":"2026-11-22T10:00:00Z""#;
            answer(401, &format!(r#"{{"type":"urn:deskbridge:problem:{kind}","title":"Title","detail":"Detail.","status":401,{time}}}"#))
        };
        let mut seen: Vec<String> = Vec::new();
        let kinds = [
            "clock",
            "device-refused",
            "device-revoked",
            "pairing-code",
            "pairing-code-used",
            "pairing-code-expired",
            "too-many-codes",
            "other",
        ];
        let answers = kinds.map(problem).into_iter().chain([answer(0, ""), answer(200, "<html>")]);
        for answer in answers {
            let message = Trouble::of(SERVER, &answer).message(&words);
            assert!(!seen.contains(&message) && !message.contains('{'), "{answer:?}: {message}");
            seen.push(message);
        }
        assert!(seen[0].contains("2026-11-22T10:00:00Z") && seen[7].contains("Title. Detail."), "{seen:?}");
    }

    /// In each language, without the server's own words.
    #[test]
    fn every_kind_that_this_page_may_meet_has_words() {
        for language in ["en", "de"] {
            let words = Words::of(language);
            for kind in Kind::ALL.iter().filter(|kind| kind.is_read_by(Reader::OptionsPage)) {
                let mut document = serde_json::json!({
                    "type": format!("{TYPE_PREFIX}{}", kind.base().name()),
                    "title": "SERVER",
                    "detail": "SERVER",
                });
                if kind.base() != *kind {
                    document["reason"] = kind.name().into();
                }
                for member in kind.members() {
                    document[member] = if *member == "retry_after" { 7.into() } else { "x".into() };
                }
                let answer = Answer { status: 400, body: document.to_string(), server_time: None };
                let message = Trouble::of(SERVER, &answer).message(&words);
                assert!(!message.contains("SERVER") && !message.contains('{'), "{language} {kind:?}: {message}");
            }
        }
    }

    #[test]
    fn a_pairing_with_another_server_is_none() {
        let stored = Stored { server: "https://new.example.com".into(), ..Stored::default() };
        let options = opened(Facts { paired: Some(paired()), stored, ..Facts::default() });
        assert_eq!(options.paired(), None);
    }
}
