//! What a report template can say: plain, typed contexts made from the appliance's reports.
//!
//! Every field is public contract: administrators write templates against it, and docs/report-templates.md
//! documents each with an example (a test compares). So fields may be added, never renamed. Everything is already
//! chosen, ordered and formatted here, so that a template needs no logic; escaping is left to the template engine.
//! Must not do I/O or read a clock.

use super::limits::Shortening;
use super::{Audience, RenderOptions};
use deskbridge_core::session_report::{
    Actor, Customer, ExitSurvey, Representative, SessionEvent, SessionKind, SessionReport, Side, SurveyQuestion, SystemCategory, event_type,
};
use deskbridge_core::time_zone::{LocalTime, TimeZone};
use serde::Serialize;
use std::collections::BTreeMap;
use url::Url;

/// Rows of one table of system information; a list of processes or updates can have hundreds.
const MAX_SYSTEM_ROWS: usize = 100;
const MAX_SYSTEM_ROWS_SHORTENED: usize = 20;
/// Members listed where only the essentials fit.
const MAX_ESSENTIAL_MEMBERS: usize = 3;

/// Book-keeping that happens in every session, or many times in it, and tells a reader of the ticket nothing. Left
/// out like the system's own events, whoever performed it.
const ROUTINE_EVENTS: [&str; 9] = [
    event_type::SESSION_START,
    event_type::SESSION_END,
    event_type::OWNER_CHANGED,
    event_type::MEMBER_STATE_CHANGED,
    "Session Foreground Window Changed",
    "Session Mouse Left Clicked",
    "Session Window Closed",
    "Customer Exit Survey",
    "Representative Exit Survey",
];

/// Data that a generic entry does not repeat: links are in the list of links, or expire.
const HIDDEN_DATA: [&str; 4] = ["filename", "filesize", "download_url", "view_url"];

/// Data about representatives, their computers and their logins (beyondtrust.md D.4), which a requester does not read. They are told by these
/// names in every language.
const DATA_FOR_AGENTS: [&str; 11] = [
    "private_name",
    "username",
    "private_ip",
    "public_ip",
    "hostname",
    "os",
    "user_id",
    "support_teams",
    "attempt_id",
    "credential_id",
    "credential_name",
];

/// A moment, in the time zone of the options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Unix seconds.
    pub unix: i64,
    /// `2024-12-03`.
    pub date: String,
    /// `15:26:05`.
    pub time: String,
    /// `2024-12-03 15:26:05 UTC`.
    pub text: String,
}

/// A name and a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NameValue {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Context of `session_report`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SessionContext {
    /// The session's id.
    pub lsid: String,
    /// The note's last line names the session.
    pub is_named_below: bool,
    /// The ticket.
    pub external_key: Option<String>,
    /// Begin.
    pub started: Option<Moment>,
    /// End; absent while it runs.
    pub ended: Option<Moment>,
    /// `15 min 2 s`.
    pub duration: Option<String>,
    /// Seconds.
    pub duration_seconds: Option<i64>,
    /// Name of the primary representative.
    pub representative: Option<String>,
    /// Name of the primary customer.
    pub customer: Option<String>,
    /// Machine that was worked on.
    pub machine: Option<String>,
    /// `Desktop`, `Terminal`, `Files`, `Chat` or `Other`, where an engine has several kinds of session.
    pub kind: Option<String>,
    /// What went through the engine's server.
    pub traffic: Option<TrafficContext>,
    /// What is not known exactly; empty in a public note.
    pub remarks: Vec<String>,
    /// Issue the customer chose.
    pub issue: Option<String>,
    /// The customer's own words.
    pub details: Option<String>,
    /// Portal.
    pub public_site: Option<String>,
    /// Jumpoint used.
    pub jumpoint: Option<String>,
    /// Jump group.
    pub jump_group: Option<String>,
    /// Teams.
    pub teams: Vec<String>,
    /// Custom fields with a value.
    pub custom_attributes: Vec<NameValue>,
    /// Everybody on the customer's side.
    pub customers: Vec<CustomerContext>,
    /// Everybody on our side.
    pub representatives: Vec<RepresentativeContext>,
    /// Number of files transferred.
    pub files_transferred: u32,
    /// Chat, files, actions.
    pub transcript: Transcript,
    /// What a terminal showed; absent in a public note.
    pub terminal: Option<TerminalContext>,
    /// Notes of representatives; in a public note only where the settings say so.
    pub notes: Vec<NoteContext>,
    /// Chosen categories.
    pub system_information: Vec<SystemSection>,
    /// Recordings, chat, report page; empty in a public note.
    pub links: Vec<Link>,
    /// Whether the requester will read it.
    pub is_public: bool,
    /// Whether it stands beside a note for the requester, with what that one leaves out.
    pub is_beside_public: bool,
    /// `UTC`, `Europe/Berlin` or `+01:00`.
    pub time_zone: String,
    /// Whether the report was too large to be read, so that what happened is missing.
    pub is_too_large: bool,
    /// Name of the file with the whole report, when this is shortened.
    pub attached_file: Option<String>,
    /// Why the help desk did not take that file.
    pub file_refused: Option<String>,
    /// Shortened, and no file goes along.
    pub is_without_file: bool,
}

/// A member on the customer's side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CustomerContext {
    /// Name.
    pub name: Option<String>,
    /// User name on the computer.
    pub username: Option<String>,
    /// Company.
    pub company: Option<String>,
    /// Host name.
    pub computer: Option<String>,
    /// Operating system.
    pub operating_system: Option<String>,
    /// Without port.
    pub public_address: Option<String>,
    /// Without port.
    pub private_address: Option<String>,
    /// Issue chosen.
    pub issue: Option<String>,
    /// Own words.
    pub details: Option<String>,
}

/// A representative.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RepresentativeContext {
    /// Name customers read.
    pub name: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// Time in the session, `15 min 1 s`.
    pub involved: Option<String>,
    /// Owns the session.
    pub is_owner: bool,
    /// Invited from outside.
    pub is_invited: bool,
}

/// The transcript, whole or with its middle left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Transcript {
    /// Entries before the gap; all of them where there is none.
    pub beginning: Vec<Entry>,
    /// Entries left out.
    pub omitted: usize,
    /// Entries after the gap.
    pub end: Vec<Entry>,
    /// Entries of the session.
    pub total: usize,
}

/// Something that was said or done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When.
    pub at: Option<Moment>,
    /// The appliance's event type, or a readable form of it.
    #[serde(rename = "type")]
    pub kind: String,
    /// A chat line.
    pub is_chat: bool,
    /// About files.
    pub is_file: bool,
    /// Who.
    pub author: Option<String>,
    /// `customer`, `representative` or `system`.
    pub author_kind: String,
    /// To whom, where not to everyone.
    pub to: Option<String>,
    /// What was said.
    pub text: Option<String>,
    /// `to the customer` or `from the customer`, of transferred files.
    pub direction: Option<String>,
    /// Files.
    pub files: Vec<FileContext>,
    /// Further data.
    pub details: Vec<NameValue>,
}

/// What went through the engine's server, both ends together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrafficContext {
    /// Bytes it received.
    pub received: u64,
    /// `3.2 MB`.
    pub received_text: String,
    /// Bytes it sent.
    pub sent: u64,
    /// `3.2 MB`.
    pub sent_text: String,
}

/// What a terminal showed, whole or with its middle left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TerminalContext {
    /// Lines before the gap; all of them where there is none.
    pub beginning: String,
    /// Lines left out.
    pub omitted: usize,
    /// Lines after the gap.
    pub end: String,
    /// Lines of the transcript.
    pub total: usize,
    /// The recording goes on beyond the transcript.
    pub is_cut: bool,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileContext {
    /// Name or full path.
    pub name: String,
    /// Bytes.
    pub size: Option<u64>,
    /// `3.2 MB`.
    pub size_text: Option<String>,
}

/// A session note.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NoteContext {
    /// When.
    pub at: Option<Moment>,
    /// Who.
    pub author: Option<String>,
    /// Text.
    pub text: String,
}

/// A category of system information: pairs for one row, a table for several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SystemSection {
    /// `General`, `Disk`, …
    pub name: String,
    /// Several rows.
    pub is_table: bool,
    /// Of the only row.
    pub pairs: Vec<NameValue>,
    /// Column titles.
    pub columns: Vec<String>,
    /// Values by column.
    pub rows: Vec<Vec<String>>,
    /// Rows left out.
    pub rows_omitted: usize,
}

/// A link; the address is `http` or `https`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Text.
    pub label: String,
    /// Address.
    pub url: String,
}

/// Context of both survey templates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SurveyContext {
    /// The session's id.
    pub lsid: String,
    /// When it was sent in.
    pub submitted: Option<Moment>,
    /// Who filled it in.
    pub submitted_by: Option<String>,
    /// The session's representative.
    pub representative: Option<String>,
    /// The session's customer.
    pub customer: Option<String>,
    /// In the survey's order.
    pub questions: Vec<QuestionContext>,
    /// Whether the requester will read it.
    pub is_public: bool,
    /// `UTC`, `Europe/Berlin` or `+01:00`.
    pub time_zone: String,
    /// Name of the file with the whole survey, when this is shortened.
    pub attached_file: Option<String>,
    /// Why the help desk did not take that file.
    pub file_refused: Option<String>,
    /// Shortened, and no file goes along.
    pub is_without_file: bool,
}

/// A question of a survey.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QuestionContext {
    /// Machine name.
    pub name: Option<String>,
    /// The question as asked, else its short form, else its name.
    pub question: String,
    /// Short form.
    pub header: Option<String>,
    /// Empty: not answered.
    pub answers: Vec<String>,
}

impl SessionContext {
    /// The whole context, or a shortened one.
    pub(super) fn new(session: &SessionReport, options: &RenderOptions, shortening: &Shortening) -> Self {
        let build = Builder { options, shortening };
        let head = Self {
            lsid: build.text(&session.lsid),
            // A file that goes along has no such line.
            is_named_below: !options.takes_files && options.last_line.contains(&session.lsid),
            external_key: build.optional(session.external_key.as_deref()),
            started: build.moment(session.start_time),
            ended: build.moment(session.end_time),
            duration: session.duration_seconds().map(duration_text),
            duration_seconds: session.duration_seconds(),
            representative: build.optional(session.representative_name()),
            customer: build.optional(session.customer_name().filter(|_| !build.hides_machine(session))),
            machine: build.optional(session.machine.as_deref()),
            kind: session.kind.map(|kind| kind_text(kind).to_owned()),
            transcript: build.transcript(session),
            is_too_large: session.is_without_events,
            is_public: options.audience == Audience::Requester,
            is_beside_public: options.audience == Audience::AgentsBesideRequester,
            time_zone: options.time_zone.name(),
            attached_file: shortening.attached_file.clone().filter(|_| options.takes_files && options.file_refused.is_none()),
            is_without_file: shortening.attached_file.is_some() && !options.takes_files,
            file_refused: options.file_refused.clone().filter(|_| shortening.attached_file.is_some()),
            ..Self::default()
        };
        let essentials = shortening.essentials_only;
        let mut context = if head.is_beside_public { build.with_machine(head, session) } else { build.with_particulars(head, session) };
        if !essentials {
            context.remarks = build.remarks(session);
            context.terminal = build.terminal(session);
            context.notes = session.events.iter().filter_map(|event| build.note(event)).collect();
            context.links = build.links(session);
        }
        context
    }

    /// How many entries the whole transcript has, the lines of a terminal included.
    pub(super) fn entries(session: &SessionReport, options: &RenderOptions) -> usize {
        let build = Builder { options, shortening: &Shortening::default() };
        build.told(session).count() + build.terminal_lines(session).map_or(0, Iterator::count)
    }
}

impl SurveyContext {
    /// The whole context, or a shortened one.
    pub(super) fn new(survey: &ExitSurvey, options: &RenderOptions, shortening: &Shortening) -> Self {
        let build = Builder { options, shortening };
        let name = |participant: &Option<deskbridge_core::session_report::Participant>| {
            build.optional(participant.as_ref().and_then(|one| one.name.as_deref()))
        };
        let questions = if shortening.essentials_only { &[][..] } else { &survey.questions };
        Self {
            lsid: build.text(&survey.lsid),
            submitted: build.moment(survey.timestamp),
            submitted_by: build.optional(survey.submitted_by.as_ref().and_then(|actor| actor.name.as_deref())),
            representative: name(&survey.primary_representative),
            customer: name(&survey.primary_customer),
            questions: questions.iter().map(|question| build.question(question)).collect(),
            is_public: options.audience == Audience::Requester,
            time_zone: options.time_zone.name(),
            attached_file: shortening.attached_file.clone().filter(|_| options.takes_files && options.file_refused.is_none()),
            is_without_file: shortening.attached_file.is_some() && !options.takes_files,
            file_refused: options.file_refused.clone().filter(|_| shortening.attached_file.is_some()),
        }
    }
}

/// A moment in a time zone; `unix` in seconds. None: no calendar has it.
pub(super) fn moment(time_zone: &TimeZone, unix: i64) -> Option<Moment> {
    let local = time_zone.local(unix)?;
    let (text, LocalTime { at, .. }) = (local.to_string(), local);
    let date = format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day());
    let time = format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second());
    Some(Moment { unix, date, time, text })
}

/// Carries the options through the many small conversions.
#[derive(Clone, Copy)]
struct Builder<'a> {
    options: &'a RenderOptions,
    shortening: &'a Shortening,
}

impl Builder<'_> {
    /// What a note beside another need not repeat.
    fn with_particulars(self, head: SessionContext, session: &SessionReport) -> SessionContext {
        let primary = session.primary_customer();
        let essentials = self.shortening.essentials_only;
        let members = if essentials { MAX_ESSENTIAL_MEMBERS } else { usize::MAX };
        let mut context = SessionContext {
            issue: self.optional(primary.and_then(|customer| customer.info.issue.as_deref())),
            details: self.optional(primary.and_then(|customer| customer.info.details.as_deref())),
            public_site: self.optional(session.public_site.as_ref().and_then(|site| site.name.as_deref())),
            jumpoint: self.optional(session.jumpoint.as_ref().and_then(|jumpoint| jumpoint.name.as_deref())),
            jump_group: self.optional(session.jump_group.as_ref().and_then(|group| group.name.as_deref())),
            teams: session.teams.iter().take(members).map(|team| self.text(team)).collect(),
            customers: self.customers(session).take(members).collect(),
            representatives: session.representatives.iter().take(members).map(|member| self.representative(member)).collect(),
            files_transferred: session.file_transfer_count.unwrap_or(0),
            traffic: session.traffic.map(|traffic| TrafficContext {
                received: traffic.received,
                received_text: size_text(traffic.received),
                sent: traffic.sent,
                sent_text: size_text(traffic.sent),
            }),
            ..head
        };
        if !essentials {
            let attributes = session.custom_attributes.iter().filter(|attribute| !attribute.value.is_empty());
            context.custom_attributes = attributes
                .map(|attribute| NameValue { name: self.text(&attribute.display_name), value: self.text(&attribute.value) })
                .collect();
            context.system_information = self.system_information(session);
        }
        context
    }

    /// Whether nothing is told of a machine but its name: neither who was signed in nor what it tells of itself, but for the categories that the
    /// settings name for requesters. It can be anybody's, such as a server that the requester only uses. (With BeyondTrust it is the computer
    /// at which the customer came to the session.)
    fn hides_machine(self, session: &SessionReport) -> bool {
        self.options.audience == Audience::Requester && session.kind.is_some()
    }

    /// Beside a note for the requester: what that one does not tell of a machine.
    fn with_machine(self, head: SessionContext, session: &SessionReport) -> SessionContext {
        if self.shortening.essentials_only {
            return head;
        }
        let customers = self.customers(session).filter(|_| session.kind.is_some()).collect();
        SessionContext { customers, system_information: self.system_information(session), ..head }
    }

    fn customers(self, session: &SessionReport) -> impl Iterator<Item = CustomerContext> {
        session.customers.iter().filter(move |_| !self.hides_machine(session)).map(move |customer| self.customer(customer))
    }

    fn text(self, text: &str) -> String {
        let Some(most) = self.shortening.characters else {
            return text.to_owned();
        };
        match text.char_indices().nth(most) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    }

    fn optional(self, text: Option<&str>) -> Option<String> {
        text.map(|text| self.text(text))
    }

    fn moment(self, unix: Option<i64>) -> Option<Moment> {
        moment(&self.options.time_zone, unix?)
    }

    fn customer(self, customer: &Customer) -> CustomerContext {
        CustomerContext {
            name: self.optional(customer.name()),
            username: self.optional(customer.username.as_deref()),
            company: self.optional(customer.info.company.as_deref()),
            computer: self.optional(customer.hostname.as_deref()),
            operating_system: self.optional(customer.os.as_deref()),
            public_address: self.optional(customer.public_address()),
            private_address: self.optional(customer.private_address()),
            issue: self.optional(customer.info.issue.as_deref()),
            details: self.optional(customer.info.details.as_deref()),
        }
    }

    fn representative(self, representative: &Representative) -> RepresentativeContext {
        RepresentativeContext {
            name: self.optional(representative.name()),
            username: self.optional(representative.username.as_deref()),
            involved: representative.seconds_involved.filter(|seconds| *seconds >= 0).map(duration_text),
            is_owner: representative.is_owner,
            is_invited: representative.is_invited,
        }
    }

    /// Whether an event belongs into the transcript.
    fn is_told(self, event: &SessionEvent) -> bool {
        if event.event_type == event_type::SESSION_NOTE || event.system_information.is_some() {
            return false;
        }
        let is_public = is_for_requester(event) || (self.options.publish_session_notes && is_written_for_nobody(event));
        self.options.audience.reads(is_public)
            && (self.options.include_system_chatter || !(event.is_by_system() || ROUTINE_EVENTS.contains(&event.event_type.as_str())))
    }

    fn transcript(self, session: &SessionReport) -> Transcript {
        let told: Vec<_> = self.told(session).collect();
        let total = told.len();
        let Gap { beginning, kept } = gap(total, self.shortening.entries);
        let entries = |events: &[&SessionEvent]| events.iter().map(|event| self.entry(event)).collect();
        Transcript {
            beginning: entries(&told[..beginning]),
            omitted: total - kept,
            end: entries(&told[total - (kept - beginning)..]),
            total,
        }
    }

    /// The events of the transcript.
    fn told(self, session: &SessionReport) -> impl Iterator<Item = &SessionEvent> {
        session.events.iter().filter(move |event| self.is_told(event))
    }

    /// What somebody sees on a machine's terminal is for agents.
    fn terminal_lines(self, session: &SessionReport) -> Option<impl Iterator<Item = &str>> {
        let text = session.terminal.as_ref()?.text.trim_matches('\n');
        (self.options.audience.reads(false) && !text.trim().is_empty()).then(|| text.split('\n'))
    }

    /// What is kept of a terminal: entries that the transcript does not need.
    fn terminal(self, session: &SessionReport) -> Option<TerminalContext> {
        let lines: Vec<_> = self.terminal_lines(session)?.collect();
        let total = lines.len();
        let left = self.shortening.entries.map(|entries| entries.saturating_sub(self.told(session).count()));
        let Gap { beginning, kept } = gap(total, left);
        let joined = |lines: &[&str]| lines.iter().map(|line| self.text(line)).collect::<Vec<_>>().join("\n");
        Some(TerminalContext {
            beginning: joined(&lines[..beginning]),
            omitted: total - kept,
            end: joined(&lines[total - (kept - beginning)..]),
            total,
            is_cut: session.terminal.as_ref().is_some_and(|terminal| terminal.is_cut),
        })
    }

    /// An engine says in them why it does not know something, which is for agents.
    fn remarks(self, session: &SessionReport) -> Vec<String> {
        let remarks = session.remarks.iter().filter(|_| self.options.audience.reads(false));
        remarks.map(|remark| self.text(remark)).collect()
    }

    fn entry(self, event: &SessionEvent) -> Entry {
        let name = |actor: &Actor| actor.name.as_deref().map(|name| self.text(name));
        let files: Vec<_> = event
            .all_files()
            .iter()
            .map(|file| FileContext { name: self.text(&file.name), size: file.size, size_text: file.size.map(size_text) })
            .collect();
        let joined = event.event_type == event_type::MEMBER_ADDED;
        let left = event.event_type == event_type::MEMBER_DEPARTED;
        let action = event.data_value("action_name").filter(|_| event.event_type == event_type::SPECIAL_ACTION);
        let is_for_agents =
            |name: &str| self.options.audience == Audience::Requester && !by_customer(event) && DATA_FOR_AGENTS.contains(&name);
        let details = event.data.iter().filter(|(name, value)| {
            !is_for_agents(name)
                && !joined
                && !value.is_empty()
                && !HIDDEN_DATA.contains(&name.as_str())
                && (action.is_none() || name != "action_name")
        });
        let to = event.destination.as_ref().filter(|to| !matches!(to.kind.as_str(), "everyone" | "system" | ""));
        let direction = match event.event_type.as_str() {
            event_type::FILE_UPLOAD => Some("to the customer"),
            event_type::FILE_DOWNLOAD => Some("from the customer"),
            _ => None,
        };
        Entry {
            at: self.moment(event.timestamp),
            kind: if joined {
                "joined the session".to_owned()
            } else if left {
                "left the session".to_owned()
            } else {
                self.text(&event.event_type)
            },
            is_chat: event.event_type == event_type::CHAT_MESSAGE,
            is_file: !files.is_empty(),
            author: event.performed_by.as_ref().and_then(name),
            author_kind: event.performed_by.as_ref().map_or(String::new(), |actor| self.text(&actor.kind)),
            to: to.and_then(name),
            text: self.optional(event.body.as_deref().or(action)),
            direction: direction.map(str::to_owned),
            files,
            details: details.map(|(name, value)| NameValue { name: self.text(name), value: self.text(value) }).collect(),
        }
    }

    fn note(self, event: &SessionEvent) -> Option<NoteContext> {
        if event.event_type != event_type::SESSION_NOTE || !self.options.audience.reads(self.options.publish_session_notes) {
            return None;
        }
        let author = event.performed_by.as_ref().and_then(|actor| actor.name.as_deref());
        Some(NoteContext { at: self.moment(event.timestamp), author: self.optional(author), text: self.text(event.body.as_deref()?) })
    }

    /// The chosen categories, each as it was told last.
    fn system_information(self, session: &SessionReport) -> Vec<SystemSection> {
        let told = session.events.iter().filter_map(|event| event.system_information.as_ref()).flat_map(|told| &told.categories);
        let mut latest: Vec<&SystemCategory> = Vec::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for category in told.filter(|category| !category.rows.is_empty() && self.is_chosen(session, &category.name)) {
            let place = *places.entry(&category.name).or_insert(latest.len());
            if place == latest.len() {
                latest.push(category);
            } else {
                latest[place] = category;
            }
        }
        latest.into_iter().map(|category| self.system_section(category)).collect()
    }

    /// A category is chosen by a word in its name: appliances say `Disk`, `Disks` and `Disk Drives`.
    fn is_chosen(self, session: &SessionReport, category: &str) -> bool {
        let category = category.to_lowercase();
        let names = |words: &[String]| words.iter().any(|word| category.contains(&word.to_lowercase()));
        let chosen = &self.options.system_categories;
        let is_for_agents = chosen.is_empty() || names(chosen);
        let is_for_requester = match &self.options.public_system_categories {
            Some(chosen) => names(chosen),
            None => session.kind.is_none() && is_for_agents,
        };
        match self.options.audience {
            Audience::Agents => is_for_agents,
            Audience::Requester => is_for_requester,
            Audience::AgentsBesideRequester => is_for_agents && !is_for_requester,
        }
    }

    fn system_section(self, category: &SystemCategory) -> SystemSection {
        let width = category.rows.iter().map(Vec::len).max().unwrap_or(0);
        let columns: Vec<_> = (0..width).map(|index| self.text(category.columns.get(index).map_or("", String::as_str))).collect();
        let value = |row: &[String], index: usize| self.text(row.get(index).map_or("", String::as_str));
        if let [row] = category.rows.as_slice() {
            let pairs = columns.into_iter().enumerate().map(|(index, name)| NameValue { name, value: value(row, index) });
            let pairs = pairs.filter(|pair| !pair.value.is_empty()).collect();
            return SystemSection { name: self.text(&category.name), pairs, ..SystemSection::default() };
        }
        let most = if self.shortening.characters.is_some() { MAX_SYSTEM_ROWS_SHORTENED } else { MAX_SYSTEM_ROWS };
        let rows = category.rows.iter().take(most).map(|row| (0..width).map(|index| value(row, index)).collect());
        SystemSection {
            name: self.text(&category.name),
            is_table: true,
            rows: rows.collect(),
            rows_omitted: category.rows.len().saturating_sub(most),
            columns,
            ..SystemSection::default()
        }
    }

    /// Signed links open without a login, so a public note has none. That of a recording of ours opens nothing by itself.
    fn links(self, session: &SessionReport) -> Vec<Link> {
        if self.options.audience == Audience::Requester {
            return vec![];
        }
        let mut links = Vec::new();
        let mut push = |label: &str, url: Option<&str>| {
            if let Some(url) = url.and_then(web_address) {
                links.push(Link { label: label.to_owned(), url });
            }
        };
        if let Some(recordings) = self.options.recordings.as_deref().filter(|_| session.recording) {
            push("Recording (opens from the ticket's panel)", Some(&format!("{recordings}/{}", session.lsid)));
        }
        if self.options.include_signed_links {
            push("View the recording", session.recording_view_url.as_deref());
            push("Download the recording", session.recording_download_url.as_deref());
            for recording in &session.command_shell_recordings {
                let number = recording.instance.map_or(String::new(), |instance| format!(" {}", u64::from(instance) + 1));
                push(&format!("View the command shell recording{number}"), recording.view_url.as_deref());
                push(&format!("Download the command shell recording{number}"), recording.download_url.as_deref());
            }
            push("View the chat", session.chat_view_url.as_deref());
            push("Download the chat", session.chat_download_url.as_deref());
        }
        if let Some(host) = &self.options.report_page_host {
            // (beyondtrust.md D.3)
            let url = format!("https://{host}/login/sd_reporting?reportType=SupportSession&sessionId={}", session.lsid);
            push("Report on the appliance", Some(&url));
        }
        links
    }

    fn question(self, question: &SurveyQuestion) -> QuestionContext {
        let best = [&question.label, &question.report_header, &question.name].into_iter().find_map(Option::as_deref);
        QuestionContext {
            name: self.optional(question.name.as_deref()),
            question: self.text(best.unwrap_or("Question")),
            header: self.optional(question.report_header.as_deref()),
            answers: question.answers.iter().map(|answer| self.text(answer)).collect(),
        }
    }
}

/// How many of all are kept, and how many of these stand before the gap.
struct Gap {
    beginning: usize,
    kept: usize,
}

/// `most`: how many may be kept.
fn gap(total: usize, most: Option<usize>) -> Gap {
    let kept = most.map_or(total, |most| most.min(total));
    Gap { beginning: if kept == total { total } else { kept.div_ceil(2) }, kept }
}

fn kind_text(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Desktop => "Desktop",
        SessionKind::Terminal => "Terminal",
        SessionKind::Files => "Files",
        SessionKind::Chat => "Chat",
        SessionKind::Other => "Other",
    }
}

/// Whether the customer took part in an event: judged by who spoke to whom. Its name says nothing: the appliance tells it in its own language,
/// and new ones appear.
fn is_for_requester(event: &SessionEvent) -> bool {
    by_customer(event)
        || match event.destination.as_ref().map(Actor::side) {
            Some(Side::Customer | Side::Everyone) => true,
            Some(Side::Representative) => false,
            // What was done has no words; words to nobody are a note for colleagues.
            Some(Side::Other) | None => event.body.is_none(),
        }
}

/// As a session note is, whatever it is called.
fn is_written_for_nobody(event: &SessionEvent) -> bool {
    event.destination.is_none() && event.performed_by.as_ref().is_some_and(|by| by.side() == Side::Representative)
}

fn by_customer(event: &SessionEvent) -> bool {
    event.performed_by.as_ref().is_some_and(|by| by.side() == Side::Customer)
}

/// An `http` or `https` address with a host, in a form that needs no further care in an attribute.
fn web_address(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
    // Braces would be taken for a placeholder (neutralise.rs), and a quote is legal in a URL's query.
    is_web.then(|| url.as_str().replace('{', "%7B").replace('}', "%7D").replace('\'', "%27"))
}

/// `2 h 5 min`, `15 min 2 s`, `7 s`.
pub(super) fn duration_text(seconds: i64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest} s"),
        (0, _) => format!("{minutes} min {rest} s"),
        _ => format!("{hours} h {minutes} min"),
    }
}

/// `812 bytes`, `3.2 MB`: decimal units, one digit after the point.
pub(super) fn size_text(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} {}", if bytes == 1 { "byte" } else { "bytes" });
    }
    let mut unit = 1000_u128;
    let mut name = "kB";
    for next in ["MB", "GB", "TB", "PB", "EB"] {
        // Rounded to tenths, 999,950 bytes are already 1.0 MB.
        if u128::from(bytes) * 10 + unit / 2 < unit * 10_000 {
            break;
        }
        unit *= 1000;
        name = next;
    }
    let tenths = (u128::from(bytes) * 10 + unit / 2) / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deskbridge_core::time_zone::TimeZone;

    #[test]
    fn sizes_and_durations() {
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (1_049, "1.0 kB"),
            (1_050, "1.1 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (3_229_469, "3.2 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size_text(bytes), expected);
        }
        for (seconds, expected) in [(0, "0 s"), (59, "59 s"), (902, "15 min 2 s"), (3600, "1 h 0 min"), (90_061, "25 h 1 min")] {
            assert_eq!(duration_text(seconds), expected);
        }
    }

    #[test]
    fn moments_in_a_time_zone() {
        let text = |minutes: i32, unix: i64| {
            let options = RenderOptions { time_zone: TimeZone::of_minutes(minutes), ..RenderOptions::default() };
            Builder { options: &options, shortening: &Shortening::default() }.moment(Some(unix)).map(|moment| moment.text)
        };
        assert_eq!(text(0, 1_733_239_565).as_deref(), Some("2024-12-03 15:26:05 UTC"));
        assert_eq!(text(60, 1_733_239_565).as_deref(), Some("2024-12-03 16:26:05 +01:00"));
        assert_eq!(text(-210, 1_733_239_565).as_deref(), Some("2024-12-03 11:56:05 -03:30"));
        assert_eq!(text(i32::MAX, 0).as_deref(), Some("1970-01-01 14:00:00 +14:00"));
        assert_eq!(text(0, i64::MAX), None);
        assert_eq!(text(840, 253_402_300_799), None, "the last second of the calendar");
    }

    #[test]
    fn only_web_addresses_become_links() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(web_address(text).as_deref(), expected, "{text}");
        check("https://a.example/x?y=1&z=\"<>", Some("https://a.example/x?y=1&z=%22%3C%3E"));
        check("https://a.example/?x='{{y}}", Some("https://a.example/?x=%27%7B%7By%7D%7D"));
        for wrong in ["javascript:alert(1)", "data:text/html,x", "/login", "", "https://", "file:///etc/passwd", "mailto:a@b"] {
            check(wrong, None);
        }
    }
}
