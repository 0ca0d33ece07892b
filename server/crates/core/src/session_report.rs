//! A support session's report in neutral words, as every remote-support engine tells it.
//!
//! Nothing but the session's id is required: engines and their versions differ in what they send. Event types are kept as
//! text, because new ones appear over time (beyondtrust.md D.4). Must not decide what of it a person reads, and must not know
//! how an engine writes it.

use std::net::Ipv6Addr;

/// Event types this program gives a meaning (beyondtrust.md D.4); any other is kept all the same.
pub mod event_type {
    /// A chat line.
    pub const CHAT_MESSAGE: &str = "Chat Message";
    /// A member came.
    pub const MEMBER_ADDED: &str = "Conference Member Added";
    /// A member went.
    pub const MEMBER_DEPARTED: &str = "Conference Member Departed";
    /// Connected or disconnected.
    pub const MEMBER_STATE_CHANGED: &str = "Conference Member State Changed";
    /// A queue or a representative owns the session now.
    pub const OWNER_CHANGED: &str = "Conference Owner Changed";
    /// Representative to customer.
    pub const FILE_UPLOAD: &str = "File Upload";
    /// Customer to representative.
    pub const FILE_DOWNLOAD: &str = "File Download";
    /// Files offered in the chat.
    pub const FILES_SHARED: &str = "Files Shared";
    /// A file was removed on the customer's computer.
    pub const FILE_DELETED: &str = "File Deleted";
    /// The customer's system information.
    pub const SYSTEM_INFORMATION: &str = "System Information Retrieved";
    /// A representative's note.
    pub const SESSION_NOTE: &str = "Session Note Added";
    /// First event.
    pub const SESSION_START: &str = "Session Start";
    /// Last event.
    pub const SESSION_END: &str = "Session End";
    /// A special action, named in the appliance's locale.
    pub const SPECIAL_ACTION: &str = "Special Action Executed";
}

/// A support session as the appliance reports it. Texts are trimmed and hold no control characters; an absent or
/// empty element is `None`. Moments are Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionReport {
    /// 32 hexadecimal characters.
    pub lsid: String,
    /// `support`.
    pub session_type: Option<String>,
    /// Increasing number, for polling.
    pub lseq: Option<i64>,
    /// Begin.
    pub start_time: Option<i64>,
    /// End; `None` while the session runs, and for a moment after.
    pub end_time: Option<i64>,
    /// `HH:MM:SS` as sent.
    pub duration: Option<String>,
    /// When the first representative joined.
    pub rep_join_time: Option<i64>,
    /// Portal the customer came through.
    pub public_site: Option<Reference>,
    /// The ticket.
    pub external_key: Option<String>,
    /// Custom fields.
    pub custom_attributes: Vec<CustomAttribute>,
    /// Signed link to the chat; ended sessions only.
    pub chat_view_url: Option<String>,
    /// Signed link to the chat as a file.
    pub chat_download_url: Option<String>,
    /// Signed link to the recording; only where one was made.
    pub recording_view_url: Option<String>,
    /// Signed link to the recording as a file.
    pub recording_download_url: Option<String>,
    /// Recordings of command shells.
    pub command_shell_recordings: Vec<CommandShellRecording>,
    /// Files transferred.
    pub file_transfer_count: Option<u32>,
    /// Files moved on the customer's computer.
    pub file_move_count: Option<u32>,
    /// Files deleted on the customer's computer.
    pub file_delete_count: Option<u32>,
    /// Jumpoint used.
    pub jumpoint: Option<Reference>,
    /// Jump group; id `-1` is none.
    pub jump_group: Option<Reference>,
    /// The customer.
    pub primary_customer: Option<Participant>,
    /// The representative.
    pub primary_representative: Option<Participant>,
    /// Names of teams (RS only; the inner shape is not on record).
    pub teams: Vec<String>,
    /// Everybody on the customer's side.
    pub customers: Vec<Customer>,
    /// Everybody on our side.
    pub representatives: Vec<Representative>,
    /// Numbers of customers who filled in the exit survey; its content is a report of its own.
    pub customer_surveys: Vec<Participant>,
    /// Numbers of representatives who filled in theirs.
    pub representative_surveys: Vec<Participant>,
    /// What happened, in order.
    pub events: Vec<SessionEvent>,
    /// The report is too large to be read: its events are left out.
    pub is_without_events: bool,
    /// Name of the machine that was worked on.
    pub machine: Option<String>,
    /// What it was, where an engine has several kinds.
    pub kind: Option<SessionKind>,
    /// What went over the wire.
    pub traffic: Option<Traffic>,
    /// What the terminal showed.
    pub terminal: Option<TerminalTranscript>,
    /// The session has ended, and the engine will tell more of it in a moment.
    pub is_incomplete: bool,
    /// The engine keeps a recording, which is read through this server alone. (The signed links above are the engine's own.)
    pub recording: bool,
    /// English sentences about what is not known exactly, such as the end.
    pub remarks: Vec<String>,
}

impl SessionReport {
    /// Whether the appliance has closed the session. Reports lag: right after the end event this can still be
    /// `false` (beyondtrust.md 0, fact 7).
    pub fn is_ended(&self) -> bool {
        self.end_time.is_some()
    }

    /// Length in seconds: as told, else from begin and end.
    pub fn duration_seconds(&self) -> Option<i64> {
        let told = self.duration.as_deref().and_then(|text| {
            let mut parts = text.split(':').map(|part| part.trim().parse::<i64>().ok().filter(|number| (0..100_000).contains(number)));
            let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
            parts.next().is_none().then_some(hours * 3600 + minutes * 60 + seconds)
        });
        told.or_else(|| Some(self.end_time?.saturating_sub(self.start_time?)).filter(|seconds| *seconds >= 0))
    }

    /// The representative the session belongs to: the one named primary, else the session's owner, else the one
    /// longest in it.
    pub fn primary_representative(&self) -> Option<&Representative> {
        let primary = self.primary_representative.as_ref();
        let same = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        primary
            .and_then(|primary| {
                let by_id = self.representatives.iter().find(|representative| same(&representative.id, &primary.id));
                by_id.or_else(|| self.representatives.iter().find(|representative| same(&representative.gsnumber, &primary.gsnumber)))
            })
            .or_else(|| self.representatives.iter().find(|representative| representative.is_owner))
            .or_else(|| self.representatives.iter().max_by_key(|representative| representative.seconds_involved.unwrap_or(0)))
    }

    /// The customer the session is for: the one marked or named primary, else the first.
    pub fn primary_customer(&self) -> Option<&Customer> {
        let number = self.primary_customer.as_ref().and_then(|primary| primary.gsnumber.as_deref());
        self.customers
            .iter()
            .find(|customer| number.is_some() && customer.gsnumber.as_deref() == number)
            .or_else(|| self.customers.iter().find(|customer| customer.is_primary))
            .or_else(|| self.customers.first())
    }

    /// Name of the primary representative for people.
    pub fn representative_name(&self) -> Option<&str> {
        let named = self.primary_representative.as_ref().and_then(|primary| primary.name.as_deref());
        named.or_else(|| self.primary_representative().and_then(Representative::name))
    }

    /// Name of the primary customer for people.
    pub fn customer_name(&self) -> Option<&str> {
        let named = self.primary_customer.as_ref().and_then(|primary| primary.name.as_deref());
        named.or_else(|| self.primary_customer().and_then(Customer::name))
    }
}

/// What a session was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// Screen, keyboard and mouse.
    Desktop,
    /// A command line.
    Terminal,
    /// Files of the machine.
    Files,
    /// Messages.
    Chat,
    /// Whatever else an engine has.
    Other,
}

impl SessionKind {
    const ALL: [(Self, &'static str); 5] =
        [(Self::Desktop, "desktop"), (Self::Terminal, "terminal"), (Self::Files, "files"), (Self::Chat, "chat"), (Self::Other, "other")];

    /// Its name in the database and the panel API.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("other", |(_, name)| name)
    }

    /// The kind of such a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind)
    }
}

/// What went through the engine's server, both ends' connections together. In bytes; what the wire adds is counted, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What it received from both ends.
    pub received: u64,
    /// What it sent to both ends.
    pub sent: u64,
}

/// What a terminal showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TerminalTranscript {
    /// Lines, without control characters but line ends and tabs.
    pub text: String,
    /// The recording goes on beyond this text.
    pub is_cut: bool,
}

/// Something the appliance names with an id: public site, Jumpoint, Jump group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// Its id.
    pub id: Option<String>,
    /// `shared` or `personal`, of a Jump group.
    pub kind: Option<String>,
    /// Its name.
    pub name: Option<String>,
}

/// A custom field's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomAttribute {
    /// Code name.
    pub code_name: String,
    /// What people read.
    pub display_name: String,
    /// Value.
    pub value: String,
}

/// A recorded command shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandShellRecording {
    /// From 0.
    pub instance: Option<u32>,
    /// Signed link.
    pub download_url: Option<String>,
    /// Signed link.
    pub view_url: Option<String>,
}

/// A member named outside the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Participant {
    /// Number within the session; not stable across sessions.
    pub gsnumber: Option<String>,
    /// Stable user id, of representatives.
    pub id: Option<String>,
    /// Name.
    pub name: Option<String>,
}

impl Participant {
    /// Whether anything is known of them.
    pub fn is_somebody(&self) -> bool {
        *self != Self::default()
    }
}

/// A member on the customer's side. Addresses, host name and system are `None` where the appliance says `Unknown`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Customer {
    /// Number within the session.
    pub gsnumber: Option<String>,
    /// User name on the computer, or the name entered.
    pub username: Option<String>,
    /// As sent, with a port.
    pub public_ip: Option<String>,
    /// As sent.
    pub private_ip: Option<String>,
    /// Computer.
    pub hostname: Option<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Marked as primary.
    pub is_primary: bool,
    /// What was entered in the portal.
    pub info: CustomerInfo,
}

/// What a customer entered in the portal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomerInfo {
    /// Name.
    pub name: Option<String>,
    /// Company.
    pub company: Option<String>,
    /// Company code.
    pub company_code: Option<String>,
    /// Issue chosen.
    pub issue: Option<String>,
    /// Own words.
    pub details: Option<String>,
}

impl Customer {
    /// Name for people: the one entered, else the user name.
    pub fn name(&self) -> Option<&str> {
        self.info.name.as_deref().or(self.username.as_deref())
    }

    /// Public address without port.
    pub fn public_address(&self) -> Option<&str> {
        self.public_ip.as_deref().map(address)
    }

    /// Private address without port.
    pub fn private_address(&self) -> Option<&str> {
        self.private_ip.as_deref().map(address)
    }
}

/// A representative in a session. Addresses, host name and system are `None` where the appliance says `Unknown`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Representative {
    /// Number within the session.
    pub gsnumber: Option<String>,
    /// Stable user id.
    pub id: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// Name, old appliances.
    pub display_name: Option<String>,
    /// Name customers read.
    pub public_display_name: Option<String>,
    /// Name colleagues read.
    pub private_display_name: Option<String>,
    /// As sent, with a port.
    pub public_ip: Option<String>,
    /// As sent.
    pub private_ip: Option<String>,
    /// Computer.
    pub hostname: Option<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Owns the session.
    pub is_owner: bool,
    /// Time in the session.
    pub seconds_involved: Option<i64>,
    /// Invited from outside.
    pub is_invited: bool,
}

impl Representative {
    /// Name for people, customers among them.
    pub fn name(&self) -> Option<&str> {
        [&self.public_display_name, &self.display_name, &self.username].into_iter().find_map(Option::as_deref)
    }

    /// Public address without port.
    pub fn public_address(&self) -> Option<&str> {
        self.public_ip.as_deref().map(address)
    }
}

/// Something that happened in a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionEvent {
    /// When.
    pub timestamp: Option<i64>,
    /// The appliance's name of it; some are in [`event_type`].
    pub event_type: String,
    /// Who did it.
    pub performed_by: Option<Actor>,
    /// To whom.
    pub destination: Option<Actor>,
    /// Text of a chat line or note, from `body` or decoded from `encoded_body`.
    pub body: Option<String>,
    /// Direct child of old appliances.
    pub filename: Option<String>,
    /// Direct child of old appliances, in bytes.
    pub filesize: Option<u64>,
    /// `files/file`.
    pub files: Vec<EventFile>,
    /// Names and values, in order.
    pub data: Vec<(String, String)>,
    /// Only in system information events.
    pub system_information: Option<SystemInformation>,
}

impl SessionEvent {
    /// The value of a data name.
    pub fn data_value(&self, name: &str) -> Option<&str> {
        self.data.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    /// The files the event is about, whichever of the three shapes it came in (beyondtrust.md D.4).
    pub fn all_files(&self) -> Vec<EventFile> {
        let direct = self.filename.as_ref().map(|name| EventFile { name: name.clone(), size: self.filesize });
        let data = self
            .data_value("filename")
            .filter(|name| !name.is_empty())
            .map(|name| EventFile { name: name.to_owned(), size: self.data_value("filesize").and_then(|size| size.parse().ok()) });
        let mut files: Vec<EventFile> = Vec::new();
        for file in self.files.iter().cloned().chain(direct).chain(data) {
            if !files.iter().any(|known| known.name == file.name) {
                files.push(file);
            }
        }
        files
    }

    /// System chatter is told by the actor's type, never by its name, which is the product's (beyondtrust.md D.4).
    pub fn is_by_system(&self) -> bool {
        self.performed_by.as_ref().is_some_and(|actor| actor.kind == "system")
    }
}

/// Who did something, or to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actor {
    /// `system`, `customer`, `representative`; of a destination also `everyone`. Surveys say `rep`.
    pub kind: String,
    /// Number within the session; `0` is the system.
    pub gsnumber: Option<String>,
    /// Name.
    pub name: Option<String>,
}

/// On which side of a session somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The customer's.
    Customer,
    /// Ours.
    Representative,
    /// Both: what is said reaches everyone.
    Everyone,
    /// None that is known: the appliance itself, a queue, whatever newer versions may name.
    Other,
}

impl Actor {
    /// Their side, by the type, which is the same in every language the appliance reports in.
    pub fn side(&self) -> Side {
        match self.kind.to_ascii_lowercase().as_str() {
            "customer" => Side::Customer,
            "representative" | "rep" => Side::Representative,
            "everyone" => Side::Everyone,
            _ => Side::Other,
        }
    }
}

/// A file an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFile {
    /// Name, with the full path on newer appliances.
    pub name: String,
    /// Bytes.
    pub size: Option<u64>,
}

/// What the customer's computer told about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemInformation {
    /// In the appliance's order.
    pub categories: Vec<SystemCategory>,
}

/// A category such as `General` or `Disk`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemCategory {
    /// Its name.
    pub name: String,
    /// Column titles.
    pub columns: Vec<String>,
    /// Values, matched to columns by position: field names differ between versions (beyondtrust.md D.4).
    pub rows: Vec<Vec<String>>,
}

/// An address without port: `203.0.113.9:61606`, `[2001:db8::1]:56722`, `2001:db8::1`, `10.0.0.4`.
fn address(text: &str) -> &str {
    if let Some((address, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    // More than one colon without brackets is a bare IPv6 address, also where the last group looks like a port.
    if text.parse::<Ipv6Addr>().is_ok() {
        return text;
    }
    match text.rsplit_once(':') {
        Some((address, port)) if port.parse::<u16>().is_ok() => address,
        _ => text,
    }
}

/// A filled-in exit survey.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExitSurvey {
    /// The session it is about.
    pub lsid: String,
    /// When it was sent in, Unix seconds.
    pub timestamp: Option<i64>,
    /// Who filled it in: kind `customer` or `rep`.
    pub submitted_by: Option<Actor>,
    /// The session's customer.
    pub primary_customer: Option<Participant>,
    /// The session's representative.
    pub primary_representative: Option<Participant>,
    /// Everybody on our side.
    pub representatives: Vec<Representative>,
    /// In the survey's order.
    pub questions: Vec<SurveyQuestion>,
}

/// A question and its answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SurveyQuestion {
    /// Id on the appliance.
    pub id: Option<String>,
    /// The machine name its administrator gave it; rules use it.
    pub name: Option<String>,
    /// `radio`, `textarea`, … as the appliance calls it.
    pub kind: Option<String>,
    /// The question as asked.
    pub label: Option<String>,
    /// Its short form.
    pub report_header: Option<String>,
    /// Empty when it was left out; several for checkboxes.
    pub answers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_session_keep_their_names() {
        for (kind, name) in SessionKind::ALL {
            assert_eq!((kind.as_str(), SessionKind::parse(name)), (name, Some(kind)));
        }
        assert_eq!(SessionKind::parse("Desktop"), None);
    }
}
