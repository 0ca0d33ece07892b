//! An internal note in the agent's own osTicket session, which osTicket's API cannot write (osticket.md 2.14): look, lock, look, post, confirm.
//!
//! Pure: [`start`] and [`Posting::take`] answer the next request, the host on the page sends it with `fetch` and the agent's cookies
//! (`redirect: "manual"`, no cache, a time limit) and brings the answer. [`Posting`] serialises, so that it outlives a service worker.
//!
//! A note must not appear twice, and osTicket neither numbers notes nor says clearly what it did: a success is a redirect that `fetch`
//! hides, a crash is `200` with HTML, a refusal is `200` with the note's text back in the form. So only one thing counts: the marker, read
//! on the ticket's page, before the post and after it. Must not post again unless osTicket has refused and the marker is not there.

use deskbridge_shared::panel::{NoteFault, NoteResult};
use deskbridge_shared::percent;
use serde::{Deserialize, Serialize};

use super::text;
use crate::json::read;

/// Most of a note, in bytes; osTicket's column cuts silently somewhat above (osticket.md 2.7).
pub const LONGEST_NOTE: usize = 60_000;
/// Longest title, in characters.
pub const LONGEST_TITLE: usize = 255;
/// As much of an answer as is read, in characters from its beginning; what a [`Request`] looks for is looked for in all of it.
pub const EXCERPT: usize = 4_000;
/// A lock is thought lost this long before osTicket drops it, in milliseconds.
const LOCK_MARGIN: i64 = 10_000;
/// Longest life of a lock believed, in seconds; stock is 180.
const LONGEST_LOCK: i64 = 86_400;

/// What is to be written, and what the page shows already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NoteTask {
    /// Path of the staff pages: `/support/scp/`.
    pub base_path: String,
    /// The ticket's internal id.
    pub ticket: String,
    /// The page's `meta[name=csrf_token]`.
    pub csrf_token: String,
    /// Into which ticket this one was merged, as the page's thread says; such a ticket's page has no form for notes.
    #[serde(default)]
    pub merged_into: Option<String>,
    /// A filled `lockCode` on the page: the agent is writing, and holds the lock. Empty counts as none.
    pub lock_code: Option<String>,
    /// A lock an earlier [`Posting`] left: see [`Posting::lock_left`].
    pub lock_left: Option<HeldLock>,
    /// Unix milliseconds.
    pub now: i64,
    /// The note's title.
    pub title: String,
    /// The note, in the HTML osTicket keeps (osticket.md 2.5).
    pub html: String,
    /// The same as plain text.
    pub text: String,
    /// The form takes HTML: "Rich text" is on. Without it HTML would stand there as source.
    pub rich_text: bool,
    /// Stands in the note, and is how it is known again.
    pub marker: String,
    /// Stands in the title: how the note is known where its text was cut. Empty: there is none.
    pub title_marker: String,
    /// Whether the page's thread has the marker.
    pub already_there: bool,
    /// Unix milliseconds: the server lets another browser write a note on this ticket some time after. `None`: no limit.
    pub send_until: Option<i64>,
}

/// A lock we took. Its code is kept for the next note: osTicket crashes when asked for it again within a second (osticket.md 2.14).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLock {
    /// Its code.
    pub code: String,
    /// Until when it is good, Unix milliseconds.
    pub until: i64,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "camelCase")]
pub enum Step {
    /// Send this and bring the answer.
    Request(Request),
    /// The note is on the ticket.
    Done,
    /// It was there before.
    AlreadyThere,
    /// It is not, or not surely.
    Failed {
        /// Why.
        reason: Reason,
        /// osTicket's own words, if it had any: one line.
        message: Option<String>,
    },
}

/// A request on the page's own origin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers, by name.
    pub headers: Vec<(String, String)>,
    /// A form, encoded.
    pub body: Option<String>,
    /// What to look for in the whole answer.
    pub find: Vec<Find>,
    /// Milliseconds to wait before it is sent.
    pub after: u32,
    /// Not to be sent later, Unix milliseconds.
    pub until: Option<i64>,
}

/// A text to look for in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Find {
    /// The text.
    pub text: String,
    /// Selector of the elements whose visible text may hold it; none: anywhere in the source.
    pub within: Option<String>,
}

/// Entries of the thread that agents wrote for agents. The page shows more: a draft in the form holds a pasted report, marker and all, and a
/// customer may write what they like.
const NOTES: &str = "#thread-items .thread-entry.note";
const NOTE_TITLES: &str = "#thread-items .thread-entry.note .title";

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Response {
    /// An answer that could be read.
    Answer {
        /// The HTTP status.
        status: u16,
        /// Whether a redirect was followed on the way.
        #[serde(default)]
        redirected: bool,
        /// Where a readable redirect led.
        #[serde(default)]
        location: Option<String>,
        /// Its beginning, up to [`EXCERPT`] characters.
        body: String,
        /// Which of [`Request::find`] it holds.
        #[serde(default)]
        found: Vec<bool>,
    },
    /// A redirect `fetch` does not let us read (`type: "opaqueredirect"`): to the ticket, or to the login.
    HiddenRedirect,
    /// No answer: the network, or the time limit.
    Lost,
    /// Not sent: it was later than [`Request::until`].
    TooLate,
}

/// Why a note was not written. Only after [`Reason::Uncertain`] may it be there all the same; a new try looks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The page does not give what is needed: no CSRF token, no id, no marker.
    NotUsable,
    /// Title or note are longer than osTicket keeps.
    TooLong,
    /// The agent is signed out.
    NoSession,
    /// The agent may not see this ticket, or not write notes on it.
    NotAllowed,
    /// The ticket was merged into another one, which the message names, and has no form for notes.
    Merged,
    /// The page is too old: reload it.
    CsrfRefused,
    /// Another agent is writing on the ticket.
    LockedByOther,
    /// The agent holds the lock elsewhere, in another tab or from minutes ago: save or leave there, or wait three minutes.
    LockedElsewhere,
    /// osTicket took the form and wrote nothing.
    Refused,
    /// osTicket crashed; the note is not there.
    Crashed,
    /// osTicket could not be reached; nothing was sent that writes.
    NotReached,
    /// It took too long until the note could be sent, so it was not.
    TooLate,
    /// Sent, and lost sight of: look at the ticket before trying again.
    Uncertain,
}

impl Step {
    /// What the panel is told at the end; `None`: this is not the end.
    pub fn result(&self) -> Option<NoteResult> {
        match self {
            Self::Request(_) => None,
            Self::Done | Self::AlreadyThere => Some(Ok(())),
            Self::Failed { reason, message } => Some(Err(reason.fault(message.clone()))),
        }
    }
}

impl Reason {
    /// What the panel tells of it, with osTicket's words.
    fn fault(self, message: Option<String>) -> NoteFault {
        match self {
            Self::NotUsable => NoteFault::Cannot,
            Self::TooLong | Self::Refused => NoteFault::Refused,
            Self::NoSession => NoteFault::SignedOut,
            Self::NotAllowed => NoteFault::NotAllowed,
            Self::CsrfRefused => NoteFault::PageTooOld,
            Self::LockedByOther => NoteFault::LockedByOther(message),
            Self::Merged => NoteFault::Merged(message.unwrap_or_default()),
            Self::LockedElsewhere => NoteFault::LockedElsewhere,
            Self::Crashed | Self::NotReached => NoteFault::NotReached,
            Self::TooLate => NoteFault::TooLate,
            Self::Uncertain => NoteFault::Uncertain,
        }
    }
}

/// What the panel is told, when the background has answered its last step as JSON. `None`: it failed or died, and may have sent the note before.
pub fn told(answer: Option<&str>) -> NoteResult {
    match answer {
        // Nobody was there to send anything.
        Some("null") => Err(NoteFault::Cannot),
        answer => answer.and_then(read::<Step>).and_then(|step| step.result()).unwrap_or(Err(NoteFault::Uncertain)),
    }
}

/// The requests one note takes at most: look, post, look with the page's lock, twice lock, look, post, look, a lock asked for twice, and one for the page.
pub const MOST_REQUESTS: usize = 14;
/// A lock is asked for again at most this often: it may have run out, or another agent's may have come in between.
const LOCK_ROUNDS: u8 = 2;
/// osTicket crashes when asked twice for one's own lock within a second (osticket.md 2.14); asked after that, it answers. Milliseconds.
const SAME_SECOND: u32 = 1_100;

/// A note on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Posting {
    task: NoteTask,
    stage: Stage,
    lock: Option<HeldLock>,
    /// The id of a lock that was taken for this note.
    taken: Option<i64>,
    holder: Holder,
    rounds: u8,
    has_crashed: bool,
    /// For the page's forms, whose own lock went with the note.
    page_lock: Option<PageLock>,
}

/// Who holds the ticket's lock, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Holder {
    /// Nobody else.
    NoOther,
    /// Another agent, in osTicket's words; or the ticket is not for this one.
    Other(Option<String>),
}

/// A lock for the forms of the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageLock {
    /// Its id.
    pub id: i64,
    /// Its code.
    pub code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stage {
    /// Is the marker there already, before anything is asked for?
    LookingFirst,
    /// A lock was asked for. Two agents who look and then lock both see no note, so the page is looked at again under the lock.
    Locking,
    /// Is the marker there, now that nobody else may write?
    Looking,
    /// The note was sent.
    Posting,
    /// The marker is looked for again.
    Confirming(Sent),
    /// It was there: the lock that was taken is given back.
    Releasing,
    /// The note stands; a lock for the page is asked for.
    LockingPage,
    Over,
}

/// How the post was answered, as long as nobody has looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Sent {
    /// By a redirect, as if all were well.
    Redirected,
    /// By the form again.
    Refused,
    /// By a crash.
    Crashed,
    /// Not at all.
    Lost,
}

/// Begins. The ticket's page is read afresh, without a lock and under it: the one the agent has open may be older than the note.
pub fn start(task: NoteTask) -> (Posting, Step) {
    let lock = task.lock_left.clone().filter(|lock| lock.until > task.now && is_code(&lock.code));
    let mut posting =
        Posting { stage: Stage::Over, lock, taken: None, holder: Holder::NoOther, rounds: 0, has_crashed: false, page_lock: None, task };
    let step = match posting.task.fault() {
        Some(reason) => failed(reason),
        None if posting.task.already_there => Step::AlreadyThere,
        None if posting.task.merged_into.is_some() => {
            let message = posting.task.merged_into.as_deref().and_then(text::subject);
            Step::Failed { reason: Reason::Merged, message }
        }
        None if posting.code_at_hand().is_some() => posting.look(Stage::Looking),
        // Without a lock: where the note is there, none is taken, which the agent might hold for a reply in another tab.
        None => posting.look(Stage::LookingFirst),
    };
    (posting, step)
}

impl Posting {
    /// Takes an answer to the last request, at `now` (Unix milliseconds).
    pub fn take(&mut self, response: &Response, now: i64) -> Step {
        self.task.now = now;
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::LookingFirst => match seen(response) {
                Seen::Marker => Step::AlreadyThere,
                Seen::Ticket => self.ask_for_lock(Stage::Locking),
                Seen::Not(reason) => failed(reason),
            },
            Stage::Locking => self.locked(response),
            Stage::Looking => self.looked(response),
            Stage::Posting => self.posted(response),
            Stage::Confirming(sent) => self.confirmed(sent, response),
            // Without an answer it runs out by itself.
            Stage::Releasing => Step::AlreadyThere,
            Stage::LockingPage => {
                self.page_lock = lock_of(response).map(|lock| PageLock { id: lock.id, code: lock.code.unwrap_or_default() });
                Step::Done
            }
            Stage::Over => failed(Reason::NotUsable),
        }
    }

    /// The lock we hold still, for the next [`NoteTask`] on this ticket.
    pub fn lock_left(&self) -> Option<&HeldLock> {
        self.lock.as_ref()
    }

    /// A lock for the page's forms, at the end.
    pub fn page_lock(&self) -> Option<&PageLock> {
        self.page_lock.as_ref()
    }

    fn locked(&mut self, response: &Response) -> Step {
        if let Some(Lock { id, code: Some(code), time, .. }) = lock_of(response) {
            let until = self.task.now + time.unwrap_or(0).clamp(0, LONGEST_LOCK) * 1000 - LOCK_MARGIN;
            self.lock = Some(HeldLock { code, until });
            self.taken = Some(id);
            return self.look(Stage::Looking);
        }
        let Response::Answer { status, redirected: false, body, .. } = response else {
            return failed(if matches!(response, Response::Lost | Response::TooLate) { Reason::NotReached } else { Reason::NoSession });
        };
        match status {
            200 => match read_lock(body) {
                // The note may be theirs; or the ticket may not be for this agent.
                Some(Lock { msg, .. }) => {
                    self.holder = Holder::Other(msg.as_deref().and_then(holder));
                    self.look(Stage::Looking)
                }
                None => failed(Reason::Crashed),
            },
            // Locking is switched off: no code is asked for.
            418 => self.look(Stage::Looking),
            500 if !self.has_crashed => {
                self.has_crashed = true;
                self.stage = Stage::Locking;
                Step::Request(Request { after: SAME_SECOND, ..self.lock_request() })
            }
            500 => failed(Reason::LockedElsewhere),
            _ => failed(refusal(*status, body).unwrap_or(Reason::NotReached)),
        }
    }

    fn looked(&mut self, response: &Response) -> Step {
        match seen(response) {
            Seen::Marker => self.release(),
            Seen::Ticket if self.task.send_until.is_some_and(|until| self.task.now > until) => failed(Reason::TooLate),
            Seen::Ticket => match std::mem::replace(&mut self.holder, Holder::NoOther) {
                Holder::Other(message) => Step::Failed { reason: Reason::LockedByOther, message },
                Holder::NoOther => self.post(&self.code_at_hand().unwrap_or_default()),
            },
            Seen::Not(reason) => failed(reason),
        }
    }

    fn posted(&mut self, response: &Response) -> Step {
        let sent = match response {
            Response::TooLate => return failed(Reason::TooLate),
            // A server in between gave up waiting, or could not say more: what stands behind it may still be at work.
            Response::Lost | Response::Answer { status: 408 | 501.., .. } => Sent::Lost,
            Response::HiddenRedirect | Response::Answer { redirected: true, .. } => Sent::Redirected,
            Response::Answer { status: 300..=399, location, .. } => match location {
                Some(to) if to.contains("login.php") => return failed(Reason::NoSession),
                _ => Sent::Redirected,
            },
            Response::Answer { status, body, .. } => match refusal(*status, body) {
                Some(reason) => return failed(reason),
                None if *status == 200 && !is_crash(body) => Sent::Refused,
                None => Sent::Crashed,
            },
        };
        // Never by the answer itself: a refusal has the note's text, marker and all, back in the form.
        self.look(Stage::Confirming(sent))
    }

    fn confirmed(&mut self, sent: Sent, response: &Response) -> Step {
        match seen(response) {
            Seen::Marker => self.done(),
            Seen::Ticket => match sent {
                // The lock ran out, or another agent took one at the same moment. Nothing was written, so asking once more is safe.
                Sent::Refused if self.rounds < LOCK_ROUNDS => self.ask_for_lock(Stage::Locking),
                Sent::Refused => failed(Reason::Refused),
                Sent::Crashed => failed(Reason::Crashed),
                // A redirect without the note, or a request that may still be at work.
                Sent::Redirected | Sent::Lost => failed(Reason::Uncertain),
            },
            Seen::Not(reason) => match (sent, reason) {
                (Sent::Refused, _) => failed(Reason::Refused),
                (Sent::Redirected, Reason::NoSession) => failed(Reason::NoSession),
                _ => failed(Reason::Uncertain),
            },
        }
    }

    fn look(&mut self, stage: Stage) -> Step {
        self.stage = stage;
        let path = [&self.task.base_path, "tickets.php?id=", &self.task.ticket].concat();
        // The queue, which stands in for a ticket one may not see, has links to tickets, but no ticket's tabs.
        let anywhere = |text: String| Find { text, within: None };
        let mut find = vec![
            anywhere("id=\"ticket_tabs\"".into()),
            anywhere(["tickets.php?id=", &self.task.ticket].concat()),
            Find { text: self.task.marker.clone(), within: Some(NOTES.into()) },
        ];
        if !self.task.title_marker.is_empty() {
            find.push(Find { text: self.task.title_marker.clone(), within: Some(NOTE_TITLES.into()) });
        }
        Step::Request(Request { method: "GET".into(), path, headers: Vec::new(), body: None, find, after: 0, until: None })
    }

    fn ask_for_lock(&mut self, stage: Stage) -> Step {
        self.stage = stage;
        self.rounds += 1;
        self.lock = None;
        Step::Request(self.lock_request())
    }

    fn lock_request(&self) -> Request {
        self.post_to(&["lock/ticket/", &self.task.ticket])
    }

    /// It was there: others need not wait for a lock that nobody uses.
    fn release(&mut self) -> Step {
        let Some(id) = self.taken.take() else { return Step::AlreadyThere };
        self.stage = Stage::Releasing;
        self.lock = None;
        Step::Request(self.post_to(&["lock/", &id.to_string(), "/release"]))
    }

    /// With the note osTicket drops the agent's locks (`scp/tickets.php`), that of a reply they are writing too.
    fn done(&mut self) -> Step {
        self.lock = None;
        if self.task.page_code().is_some() { self.ask_for_lock(Stage::LockingPage) } else { Step::Done }
    }

    fn post_to(&self, path: &[&str]) -> Request {
        let path = [&[&self.task.base_path, "ajax.php/"], path].concat().concat();
        let headers = vec![("X-CSRFToken".into(), self.task.csrf_token.clone())];
        Request { method: "POST".into(), path, headers, body: Some(String::new()), find: Vec::new(), after: 0, until: None }
    }

    fn post(&mut self, lock_code: &str) -> Step {
        self.stage = Stage::Posting;
        let task = &self.task;
        let mut body = String::new();
        let fields = [
            ("__CSRFToken__", task.csrf_token.as_str()),
            ("a", "postnote"),
            ("id", &task.ticket),
            ("lockCode", lock_code),
            ("title", &task.title),
            ("note", task.note()),
            // Empty: the ticket's status stays as it is.
            ("note_status_id", ""),
        ];
        for (name, value) in fields {
            percent::append_pair(&mut body, name, value);
        }
        let path = [&task.base_path, "tickets.php?id=", &task.ticket].concat();
        let headers = vec![("Content-Type".into(), "application/x-www-form-urlencoded".into())];
        let until = task.send_until;
        Step::Request(Request { method: "POST".into(), path, headers, body: Some(body), find: Vec::new(), after: 0, until })
    }

    /// The code on the page, else one of a lock that was asked for. Not the page's once osTicket has refused it.
    fn code_at_hand(&self) -> Option<String> {
        let on_page = self.task.page_code().filter(|_| self.rounds == 0);
        on_page.or(self.lock.as_ref().map(|lock| &lock.code)).cloned()
    }
}

fn seen(response: &Response) -> Seen {
    let Response::Answer { status, redirected, location, body, found } = response else {
        return Seen::Not(if matches!(response, Response::Lost | Response::TooLate) { Reason::NotReached } else { Reason::NoSession });
    };
    let has = |number: usize| found.get(number).copied().unwrap_or(false);
    match status {
        200 if has(0) && has(1) => {
            if has(2) || has(3) {
                Seen::Marker
            } else {
                Seen::Ticket
            }
        }
        200 if is_crash(body) => Seen::Not(Reason::Crashed),
        200 if *redirected => Seen::Not(Reason::NoSession),
        200 => Seen::Not(Reason::NotAllowed),
        300..=399 if location.as_ref().is_some_and(|to| !to.contains("login.php")) => Seen::Not(Reason::NotAllowed),
        300..=399 => Seen::Not(Reason::NoSession),
        _ => Seen::Not(refusal(*status, body).unwrap_or(Reason::NotReached)),
    }
}

/// What the ticket's page says.
enum Seen {
    /// The note is there.
    Marker,
    /// The ticket, without the note.
    Ticket,
    /// Not the ticket.
    Not(Reason),
}

impl NoteTask {
    /// The code of the lock the agent holds on the page.
    fn page_code(&self) -> Option<&String> {
        self.lock_code.as_ref().filter(|code| is_code(code))
    }

    /// What goes into the form.
    fn note(&self) -> &str {
        if self.rich_text { &self.html } else { &self.text }
    }

    fn fault(&self) -> Option<Reason> {
        let plain = |text: &str, also: &[u8]| {
            !text.is_empty() && text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || also.contains(&byte))
        };
        let is_path = self.base_path.starts_with('/') && !self.base_path.starts_with("//") && self.base_path.ends_with('/');
        let is_usable = is_path
            && plain(&self.base_path, b"/._~%-")
            && text::ticket_id(&self.ticket, u64::from(u32::MAX)).is_some()
            && plain(&self.csrf_token, b"_-")
            // Nothing HTML would write in another way: it is looked for in the page's source.
            && plain(&self.marker, b"/_.:#-")
            && (self.title_marker.is_empty() || plain(&self.title_marker, b"[]"))
            && self.note().contains(&self.marker);
        if !is_usable {
            return Some(Reason::NotUsable);
        }
        (self.note().len() > LONGEST_NOTE || self.title.chars().count() > LONGEST_TITLE).then_some(Reason::TooLong)
    }
}

/// `{"id":2,"time":180,"code":"I0bFPsxt70"}`, or id 0 and a message.
#[derive(Deserialize)]
struct Lock {
    id: i64,
    time: Option<i64>,
    code: Option<String>,
    msg: Option<String>,
}

/// A lock that was given.
fn lock_of(response: &Response) -> Option<Lock> {
    let Response::Answer { status: 200, redirected: false, body, .. } = response else { return None };
    read_lock(body).filter(|lock| lock.id > 0 && lock.code.as_deref().is_some_and(is_code))
}

/// Who holds a lock, of `Currently locked by <img …>Alice Agent`; without the picture, all of osTicket's words. One line.
fn holder(message: &str) -> Option<String> {
    text::subject(message.rsplit_once('>').map_or(message, |(_, name)| name))
}

/// `None`: no JSON, so a PHP crash.
fn read_lock(body: &str) -> Option<Lock> {
    serde_json::from_str(body).ok()
}

/// A refusal told by status; all before anything is written.
fn refusal(status: u16, body: &str) -> Option<Reason> {
    match status {
        400 => Some(Reason::CsrfRefused),
        401 => Some(Reason::NoSession),
        403 if body.contains("Must login") => Some(Reason::NoSession),
        403 | 404 | 422 => Some(Reason::NotAllowed),
        _ => None,
    }
}

/// PHP's way to end early (osticket.md 0, 3).
fn is_crash(body: &str) -> bool {
    body.contains("Fatal error") || body.contains("Fatal Error") || body.trim().is_empty()
}

/// osTicket draws codes from letters, digits, `_` and `=`; a few more that codes are made of do no harm.
fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_=-.~+/".contains(&byte))
}

fn failed(reason: Reason) -> Step {
    Step::Failed { reason, message: None }
}
