//! The panel: the buttons beside a ticket, once for every page that hosts them.
//!
//! [`model`] decides what happens, [`screen`] what is shown, [`requests`] what is asked of the server: all pure and natively tested.
//! `view` (wasm only) puts the screen on the page, `answers`, `callbacks`, `fetch` and `clipboard` (wasm only) speak to the browser.
//! Nothing here knows which page it stands on: that is behind [`Host`], and the way to the server behind [`Backend`].

pub mod element;
pub mod model;
pub mod requests;
pub mod screen;
pub mod texts;
pub mod time;

#[cfg(target_arch = "wasm32")]
pub mod answers;
#[cfg(target_arch = "wasm32")]
pub mod callbacks;
#[cfg(target_arch = "wasm32")]
pub mod clipboard;
#[cfg(target_arch = "wasm32")]
pub mod fetch;
#[cfg(target_arch = "wasm32")]
pub mod view;

use crate::api::{LiveSession, SessionState};
use requests::Request;

/// Called once, when something asked for is there.
pub type Done<T> = Box<dyn FnOnce(T)>;

/// The way to the Deskbridge server.
pub trait Backend {
    /// Asks once; never repeats by itself. Fails only by [`Answer::NOT_REACHED`].
    fn call(&self, request: Request, done: Done<Answer>);
}

/// What the server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status; [`Answer::NOT_REACHED`] when there was no answer.
    pub status: u16,
    /// JSON text, or empty.
    pub body: String,
    /// The server's clock in Unix milliseconds, where it told: a wrong clock at the agent's desk must not make keys look expired.
    pub server_time: Option<i64>,
}

impl Answer {
    /// The status of an answer that never came.
    pub const NOT_REACHED: u16 = 0;
}

/// Whether this panel can put reports onto the ticket through its page: a constant, so that a panel that never does carries no code for it.
pub const RECORDS_IN_PAGE: bool = cfg!(any(feature = "record-in-page", test));

/// The page around the panel.
pub trait Host {
    /// The panel is `height` CSS pixels high now.
    fn resize(&self, height: u32);
    /// Shows a passing message.
    fn notify(&self, text: &str, kind: NoticeKind);
    /// Puts text at the end of the reply being written.
    fn insert_into_reply(&self, text: String, done: Done<Insertion>);
    /// Puts text on the clipboard; `false` when that was not possible.
    fn copy(&self, text: String, done: Done<bool>);
    /// Finds out anew which ticket is shown, for hosts that may not know at first.
    fn look(&self) {}
    /// Puts an internal note onto the ticket, in the agent's own name, unless one with its marker is there already.
    fn post_note(&self, _note: Note, done: Done<NoteResult>) {
        done(Err(NoteFault::Cannot));
    }
    /// Loads the ticket's page again.
    fn reload_page(&self) {}
    /// Opens the settings in which a browser is paired.
    fn open_settings(&self) {}
    /// What the ticket's sessions come to, whenever that has changed.
    fn tell_sessions(&self, _sessions: SessionsSummary) {}
}

/// What a ticket's sessions come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionsSummary {
    /// A customer waits or is in a session.
    pub is_open: bool,
    /// A report waits for somebody to put it onto the ticket.
    pub has_report: bool,
}

/// An internal note for the page to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// One line.
    pub title: String,
    /// Its text, with the marker in it.
    pub html: String,
    /// The same as plain text.
    pub text: String,
    /// How the note is known again.
    pub marker: String,
    /// Stands in the title, for where the text was cut. Empty: nothing does.
    pub title_marker: String,
    /// Unix milliseconds by this browser's clock: must not be sent later, since another browser may write one then. `None`: no limit.
    pub send_until: Option<i64>,
    /// The name under which the ticket is this browser's for the note.
    pub lease: String,
}

/// Whether the text stands in the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insertion {
    /// It does.
    Done,
    /// It does not.
    Failed,
    /// The page never said: it may be there.
    Uncertain,
}

impl From<bool> for Insertion {
    fn from(inserted: bool) -> Self {
        if inserted { Self::Done } else { Self::Failed }
    }
}

/// Whether the note stands on the ticket.
pub type NoteResult = Result<(), NoteFault>;

/// Why a page did not write a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteFault {
    /// This page writes no notes.
    Cannot,
    /// The agent is signed out of the ticket page.
    SignedOut,
    /// The agent may not write notes on this ticket.
    NotAllowed,
    /// The ticket page is too old, and must be reloaded.
    PageTooOld,
    /// The ticket was merged into another one, whose name is given, and takes no notes.
    Merged(String),
    /// Another agent is writing on this ticket: who, if the ticket system says so.
    LockedByOther(Option<String>),
    /// The agents themselves are writing on this ticket, in another tab or until a moment ago.
    LockedElsewhere,
    /// The ticket system could not be reached, or failed; nothing was written.
    NotReached,
    /// It took too long until it could be sent, so it was not.
    TooLate,
    /// The ticket system refused the note.
    Refused,
    /// It was sent and lost sight of: it may be there.
    Uncertain,
}

impl SessionsSummary {
    /// Of a ticket's sessions. `adds_reports`: reports reach the ticket through its page.
    pub fn of(sessions: &[LiveSession], adds_reports: bool) -> Self {
        let is_open = |session: &LiveSession| matches!(session.state, SessionState::Waiting | SessionState::Active);
        let is_due = |session: &LiveSession| session.state == SessionState::Ended;
        Self { is_open: sessions.iter().any(is_open), has_report: adds_reports && sessions.iter().any(is_due) }
    }
}

/// What a passing message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Something worked.
    Done,
    /// Something did not.
    Fault,
}
