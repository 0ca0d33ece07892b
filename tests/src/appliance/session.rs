//! Support sessions as the appliance remembers them: who took part, what happened, which surveys were filled in.
//!
//! Plain data; `lifecycle` changes it, `reporting` writes it down.

use super::answer::is_legal_in_xml;
use super::options::Representative;

/// One support session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id: 32 hex characters.
    pub lsid: String,
    /// Increasing number.
    pub lseq: u64,
    /// Unix seconds.
    pub started_at: i64,
    /// Unix seconds; none while it is in progress.
    pub ended_at: Option<i64>,
    /// May change while the session lasts.
    pub external_key: String,
    /// Custom fields as code name and value.
    pub custom_attributes: Vec<(String, String)>,
    /// Where it waits, or waited.
    pub queue: Queue,
    /// Jumpoint as id and name.
    pub jumpoint: Option<(i64, String)>,
    /// Jump group; id -1 means none.
    pub jump_group: Option<JumpGroup>,
    /// Whether the screen was recorded.
    pub recorded: bool,
    /// Customers, the primary one first.
    pub customers: Vec<Member<Customer>>,
    /// Representatives in the order they joined.
    pub representatives: Vec<Member<Representative>>,
    /// Everything that happened.
    pub events: Vec<StampedEvent>,
    /// The customer's exit survey.
    pub customer_survey: Option<Survey>,
    /// The representative's exit survey.
    pub representative_survey: Option<Survey>,
    /// So many report requests still meet the lag.
    pub(super) lagging_requests: u32,
    /// Signature in download URLs.
    pub(super) signature: String,
}

/// What a session begins with.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    /// External key; may be empty.
    pub external_key: String,
    /// Custom fields as code name and value.
    pub custom_attributes: Vec<(String, String)>,
    /// Where it waits for a representative.
    pub queue: Queue,
    /// Jumpoint as id and name.
    pub jumpoint: Option<(i64, String)>,
    /// Jump group.
    pub jump_group: Option<JumpGroup>,
    /// Whether the screen is recorded.
    pub recorded: bool,
}

impl NewSession {
    /// A session in the general queue with this external key.
    pub fn with_external_key(external_key: impl Into<String>) -> Self {
        Self { external_key: external_key.into(), ..Self::default() }
    }
}

/// Where a session waits for a representative.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Queue {
    /// The general queue.
    #[default]
    General,
    /// A representative's personal queue, by user id.
    Representative(u32),
    /// A team's queue, by team id.
    Team(u32),
    /// The queue of the team that has this issue, by code name.
    Issue(String),
}

/// `jump_group` of a report; id -1 means none (beyondtrust.md D.3).
#[derive(Clone, Debug)]
pub struct JumpGroup {
    /// Number, or -1.
    pub id: i64,
    /// `shared` or `personal`.
    pub kind: &'static str,
    /// Shown to people.
    pub name: String,
}

/// Somebody in a session.
#[derive(Clone, Debug)]
pub struct Member<Person> {
    /// Who.
    pub person: Person,
    /// Number of the connection, not stable between sessions.
    pub gsnumber: u32,
    /// Unix seconds.
    pub joined_at: i64,
    /// Unix seconds; none while there.
    pub left_at: Option<i64>,
}

/// A person who receives support, and the device.
#[derive(Clone, Debug)]
pub struct Customer {
    /// Name given or found.
    pub name: String,
    /// Account on the device.
    pub username: String,
    /// Address with port, IPv6 in brackets, or `Unknown`.
    pub public_ip: String,
    /// Address, or `Unknown`.
    pub private_ip: String,
    /// Device name.
    pub hostname: String,
    /// Operating system.
    pub operating_system: String,
    /// Company as entered.
    pub company: String,
    /// Company code as entered.
    pub company_code: String,
    /// Issue as chosen or entered.
    pub issue: String,
    /// Details as entered.
    pub details: String,
}

impl Customer {
    /// A customer of this name on a made-up Windows device.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            username: "jsmith".into(),
            public_ip: "203.0.113.9:61606".into(),
            private_ip: "10.0.0.4".into(),
            hostname: "LAPTOP-0042".into(),
            operating_system: "Windows 11 Pro x64 (23H2)".into(),
            company: String::new(),
            company_code: String::new(),
            issue: String::new(),
            details: String::new(),
        }
    }
}

/// Who did something, or to whom. Numbers count the session's customers and representatives from 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Party {
    /// The appliance itself.
    System,
    /// Everyone in the session.
    Everyone,
    /// The conference before anybody owns it.
    PreStart,
    /// A customer.
    Customer(usize),
    /// A representative.
    Representative(usize),
}

impl Party {
    /// The primary customer.
    pub const CUSTOMER: Self = Self::Customer(0);
    /// The first representative.
    pub const REPRESENTATIVE: Self = Self::Representative(0);
}

/// An event with its time.
#[derive(Clone, Debug)]
pub struct StampedEvent {
    /// Unix seconds.
    pub at: i64,
    /// What happened.
    pub event: SessionEvent,
}

/// One entry of `session_details` (beyondtrust.md D.4). All parts but the type are optional.
#[derive(Clone, Debug, Default)]
pub struct SessionEvent {
    /// `event_type`, any text.
    pub event_type: String,
    /// Who did it.
    pub performed_by: Option<Party>,
    /// To whom.
    pub destination: Option<Party>,
    /// Text, or bytes.
    pub body: Option<Body>,
    /// `data/value` names and values.
    pub data: Vec<(String, String)>,
    /// Direct `filename` and `filesize` children: the older shape.
    pub file: Option<File>,
    /// `files/file`: several at once.
    pub files: Vec<File>,
    /// `system_information/category`.
    pub system_information: Vec<SystemInformation>,
}

/// What was said.
#[derive(Clone, Debug)]
pub enum Body {
    /// Text; goes out as `<encoded_body>` where XML cannot carry it.
    Text(String),
    /// Bytes; always `<encoded_body>`.
    Bytes(Vec<u8>),
}

impl Body {
    /// The base64 text of an `encoded_body`, or none where a plain `<body>` is possible.
    pub(super) fn encoded(&self) -> Option<String> {
        match self {
            Self::Text(text) if is_legal_in_xml(text) => None,
            Self::Text(text) => Some(super::answer::base64_of(text.as_bytes())),
            Self::Bytes(bytes) => Some(super::answer::base64_of(bytes)),
        }
    }
}

/// A file that was moved about.
#[derive(Clone, Debug)]
pub struct File {
    /// Name or full path.
    pub filename: String,
    /// Bytes.
    pub filesize: u64,
}

impl File {
    /// A file from name and size in bytes.
    pub fn new(filename: &str, filesize: u64) -> Self {
        Self { filename: filename.into(), filesize }
    }
}

/// How a file event is written (beyondtrust.md D.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileShape {
    /// `data/value` named `filename` and `filesize`: modern.
    Data,
    /// Direct children: older.
    Direct,
    /// `files/file`.
    List,
}

/// Which way a file went, from the customer's device (beyondtrust.md D.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileDirection {
    /// Representative to customer.
    Upload,
    /// Customer to representative.
    Download,
}

/// One category of system information.
#[derive(Clone, Debug)]
pub struct SystemInformation {
    /// `General`, `Disk`, …
    pub category: String,
    /// Attribute that identifies a field: real appliances write `name`, or `id`.
    pub field_attribute: &'static str,
    /// Column code names and titles.
    pub columns: Vec<(String, String)>,
    /// Values by position.
    pub rows: Vec<Vec<String>>,
}

impl SystemInformation {
    /// A category whose fields are told apart by `name`.
    pub fn new(category: &str, columns: &[(&str, &str)], rows: &[&[&str]]) -> Self {
        let pair = |(code, title): &(&str, &str)| ((*code).to_owned(), (*title).to_owned());
        let row = |row: &&[&str]| row.iter().map(|value| (*value).to_owned()).collect();
        Self {
            category: category.into(),
            field_attribute: "name",
            columns: columns.iter().map(pair).collect(),
            rows: rows.iter().map(row).collect(),
        }
    }

    /// The same, with fields told apart by `id`.
    #[must_use]
    pub fn by_id(mut self) -> Self {
        self.field_attribute = "id";
        self
    }
}

impl SessionEvent {
    /// An event of any type, known or not, by the system.
    pub fn of_type(event_type: impl Into<String>) -> Self {
        Self { event_type: event_type.into(), performed_by: Some(Party::System), ..Self::default() }
    }

    /// A chat message to everyone.
    pub fn chat(from: Party, text: impl Into<String>) -> Self {
        Self {
            performed_by: Some(from),
            destination: Some(Party::Everyone),
            body: Some(Body::Text(text.into())),
            ..Self::of_type("Chat Message")
        }
    }

    /// A chat message that arrives as `encoded_body`.
    pub fn chat_bytes(from: Party, bytes: impl Into<Vec<u8>>) -> Self {
        Self { body: Some(Body::Bytes(bytes.into())), ..Self::chat(from, "") }
    }

    /// A note of the first representative on the session.
    pub fn session_note(text: impl Into<String>) -> Self {
        Self { performed_by: Some(Party::REPRESENTATIVE), body: Some(Body::Text(text.into())), ..Self::of_type("Session Note Added") }
    }

    /// A file going one way or the other.
    pub fn file(direction: FileDirection, file: File, shape: FileShape) -> Self {
        let (event_type, from, to) = match direction {
            FileDirection::Upload => ("File Upload", Party::REPRESENTATIVE, Party::CUSTOMER),
            FileDirection::Download => ("File Download", Party::CUSTOMER, Party::REPRESENTATIVE),
        };
        let mut event = Self { performed_by: Some(from), destination: Some(to), ..Self::of_type(event_type) };
        match shape {
            FileShape::Data => {
                event.data = vec![("filename".into(), file.filename), ("filesize".into(), file.filesize.to_string())];
            }
            FileShape::Direct => event.file = Some(file),
            FileShape::List => event.files = vec![file],
        }
        event
    }

    /// A special action of the first representative.
    pub fn special_action(action_name: &str) -> Self {
        Self {
            performed_by: Some(Party::REPRESENTATIVE),
            data: vec![("action_name".into(), action_name.into())],
            ..Self::of_type("Special Action Executed")
        }
    }

    /// System information of the primary customer's device.
    pub fn system_information(categories: Vec<SystemInformation>) -> Self {
        Self { performed_by: Some(Party::CUSTOMER), system_information: categories, ..Self::of_type("System Information Retrieved") }
    }
}

/// A completed exit survey.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Unix seconds.
    pub submitted_at: i64,
    /// Questions with their answers.
    pub answers: Vec<SurveyAnswer>,
    /// So many survey requests still find nothing.
    pub(super) lagging_requests: u32,
}

/// A question of an exit survey and what was answered.
#[derive(Clone, Debug)]
pub struct SurveyAnswer {
    /// Machine name given by the administrator.
    pub name: String,
    /// `radio`, `checkbox`, `textarea`, …
    pub kind: &'static str,
    /// The question.
    pub label: String,
    /// Its short form in reports.
    pub report_header: String,
    /// No answer, one, or several.
    pub answers: Vec<String>,
}

impl SurveyAnswer {
    /// "How do you rate the support?", one choice.
    pub fn rating(answer: &str) -> Self {
        Self {
            name: "rating".into(),
            kind: "radio",
            label: "How do you rate the support?".into(),
            report_header: "Rating".into(),
            answers: vec![answer.into()],
        }
    }

    /// "Anything else?", free text; no answer when empty.
    pub fn comments(answer: &str) -> Self {
        let answers = Some(answer).filter(|answer| !answer.is_empty());
        Self {
            name: "comments".into(),
            kind: "textarea",
            label: "Anything else?".into(),
            report_header: "Comments".into(),
            answers: answers.map(ToOwned::to_owned).into_iter().collect(),
        }
    }

    /// "Result of the session", one choice: the representative's question which vendor integrations act on.
    pub fn close_state(answer: &str) -> Self {
        Self {
            name: "close_state".into(),
            kind: "radio",
            label: "Result of the session".into(),
            report_header: "Result".into(),
            answers: vec![answer.into()],
        }
    }
}
