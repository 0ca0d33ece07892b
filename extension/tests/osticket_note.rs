//! Posting an internal note, row by row: what osTicket answers (osticket.md 2.14, 3.3), and what comes of it.
//!
//! [`Desk`] is an osTicket as one agent's browser sees it, with the behaviours and faults the rows need; what the note is known by is what
//! stands in its thread at the end, never what the steps say.

use deskbridge_extension::site::osticket_note::{
    HeldLock, LONGEST_NOTE, MOST_REQUESTS, NoteTask, PageLock, Posting, Reason, Request, Response, Step, start, told,
};
use deskbridge_shared::panel::NoteFault;

const MARKER: &str = "deskbridge/0123456789abcdef/session_end/0";
const CSRF: &str = "0123456789abcdef0123456789abcdef01234567";
const NOW: i64 = 1_795_000_000_000;

/// How osTicket behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Fault {
    #[default]
    None,
    SignedOut,
    SignedOutAfterLook,
    MayNotSee,
    WrongToken,
    LockedByOther,
    LockingOff,
    /// Asked in the second in which the agent took the lock elsewhere.
    SameSecond,
    /// Asking crashes as then, however long one waits.
    HeldElsewhere,
    LockCrashes,
    LockLost,
    /// It refuses the form whatever its code.
    RefusesAlways,
    CrashesBefore,
    CrashesAfter,
    LostBefore,
    /// A server in between answers 504, while osTicket is still at work.
    ProxyGivesUp,
    /// The tab's computer slept when it was about to send.
    SleptBeforePost,
    LostAfter,
    LostAfterAndGone,
    PageCrashes,
    PageLost,
}

#[derive(Default)]
struct Desk {
    fault: Fault,
    code: Option<String>,
    notes: Vec<String>,
    /// What the agent has written and not sent.
    draft: String,
    requests: Vec<String>,
    /// What another page writes just before the lock is asked for.
    written_before_lock: Option<String>,
    /// `fetch` hides redirects; otherwise they are told.
    tells_redirects: bool,
}

impl Desk {
    fn answer(&mut self, request: &Request) -> Response {
        let line = [request.method.as_str(), " ", &request.path].concat();
        let looked = self.requests.iter().any(|known| known.starts_with("GET"));
        let posted = self.requests.iter().any(|known| known.starts_with("POST") && known.contains("tickets.php"));
        self.requests.push(line.clone());
        if self.fault == Fault::SignedOut || (self.fault == Fault::SignedOutAfterLook && looked) {
            return if line.contains("ajax.php") {
                page(403, "Must login: Authentication Required", request)
            } else {
                self.redirect("/support/scp/login.php")
            };
        }
        match line.as_str() {
            "GET /support/scp/tickets.php?id=116" => match self.fault {
                Fault::MayNotSee => {
                    page(200, "<div class=\"sticky bar\"></div><a href=\"/support/scp/tickets.php?id=116\">515631</a>", request)
                }
                Fault::PageCrashes => page(200, "<br />\n<b>Fatal error</b>: Allowed memory size exhausted", request),
                Fault::PageLost => Response::Lost,
                Fault::LostAfterAndGone if posted => Response::Lost,
                _ => page(200, &self.ticket_page(&self.draft), request),
            },
            "POST /support/scp/ajax.php/lock/ticket/116" => self.lock(request),
            "POST /support/scp/ajax.php/lock/2/release" => {
                self.code = None;
                page(200, "1", request)
            }
            "POST /support/scp/tickets.php?id=116" => self.post(request),
            other => panic!("an unknown request: {other}"),
        }
    }

    fn lock(&mut self, request: &Request) -> Response {
        assert_eq!(request.headers, [("X-CSRFToken".to_owned(), CSRF.to_owned())]);
        self.notes.extend(self.written_before_lock.take());
        match self.fault {
            Fault::WrongToken => page(400, "Valid CSRF Token Required", request),
            Fault::LockedByOther => {
                let words =
                    r#"{"id":0,"retry":false,"msg":"Currently locked by <img  class=\"avatar\" src=\"//x.example\" />Bob\n Brown"}"#;
                page(200, words, request)
            }
            Fault::MayNotSee => page(200, r#"{"id":0,"retry":false,"msg":"Lock denied!"}"#, request),
            Fault::LockingOff => page(418, "", request),
            Fault::LockCrashes => page(200, "<br /><b>Fatal error</b>: Uncaught TypeError", request),
            Fault::LockLost => Response::Lost,
            // The bug: asked again for one's own lock within a second.
            Fault::SameSecond if request.after == 0 => page(500, "", request),
            Fault::HeldElsewhere => page(500, "", request),
            _ => {
                let code = self.code.get_or_insert_with(|| "I0bFPsxt70".into());
                page(200, &format!(r#"{{"id":2,"time":180,"code":"{code}"}}"#), request)
            }
        }
    }

    fn post(&mut self, request: &Request) -> Response {
        let body = request.body.clone().unwrap_or_default();
        let field = |name: &str| {
            let value = body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            deskbridge_shared::percent::decode(value.unwrap_or_default()).expect("well encoded")
        };
        assert_eq!((field("a").as_str(), field("id").as_str(), field("note_status_id").as_str()), ("postnote", "116", ""));
        if self.fault == Fault::WrongToken || field("__CSRFToken__") != CSRF {
            return page(400, "Valid CSRF Token Required", request);
        }
        let text = [field("title"), field("note")].join("\n");
        let has_lock = self.fault == Fault::LockingOff || self.code.as_ref().is_some_and(|code| *code == field("lockCode"));
        match self.fault {
            Fault::LostBefore => return Response::Lost,
            Fault::ProxyGivesUp => return page(504, "<h1>504 Gateway Time-out</h1>", request),
            Fault::SleptBeforePost => return Response::TooLate,
            Fault::CrashesBefore => return page(200, "<br /><b>Fatal error</b>: Allowed memory size", request),
            Fault::RefusesAlways => return page(200, &self.ticket_page(&text), request),
            // The refused text comes back in the form.
            _ if !has_lock => {
                return page(200, &self.ticket_page(&["This action requires a lock. Please try again!", &text].concat()), request);
            }
            _ => {}
        }
        self.notes.push(text);
        self.code = None;
        match self.fault {
            Fault::LostAfter | Fault::LostAfterAndGone => Response::Lost,
            Fault::CrashesAfter => page(500, "", request),
            _ => self.redirect("tickets.php?id=116"),
        }
    }

    fn redirect(&self, to: &str) -> Response {
        if self.tells_redirects {
            Response::Answer { status: 302, redirected: false, location: Some(to.into()), body: String::new(), found: Vec::new() }
        } else {
            Response::HiddenRedirect
        }
    }

    fn ticket_page(&self, form: &str) -> String {
        let thread = self.notes.concat();
        format!(r#"<a href="tickets.php?id=116">Ticket #515631</a><ul id="ticket_tabs"></ul>{thread}<textarea>{form}</textarea>"#)
    }
}

fn page(status: u16, body: &str, request: &Request) -> Response {
    // The form with its draft is no part of the thread.
    let thread = body.split("<textarea>").next().unwrap_or_default();
    let found = request.find.iter().map(|find| if find.within.is_some() { thread } else { body }.contains(find.text.as_str())).collect();
    Response::Answer { status, redirected: false, location: None, body: body.into(), found }
}

fn task() -> NoteTask {
    NoteTask {
        base_path: "/support/scp/".into(),
        ticket: "116".into(),
        csrf_token: CSRF.into(),
        merged_into: None,
        lock_code: None,
        lock_left: None,
        now: NOW,
        title: "Remote support with Jane & more [8f3a2b1c]".into(),
        html: format!("<p>Session by <b>Alice</b>, 12 min, 100 % über=&amp;</p><p>{MARKER}</p>"),
        text: format!("Session by Alice, 12 min\n\n{MARKER}"),
        rich_text: true,
        marker: MARKER.into(),
        title_marker: "[8f3a2b1c]".into(),
        already_there: false,
        send_until: Some(NOW + 105_000),
    }
}

/// Goes through with it. The machine goes through JSON between the steps, as between two lives of a service worker.
fn run(task: NoteTask, desk: &mut Desk) -> (Posting, Step) {
    let (mut posting, mut step) = start(task);
    for _ in 0..=MOST_REQUESTS {
        let Step::Request(request) = &step else { return (posting, step) };
        let response = desk.answer(request);
        let stored = serde_json::to_string(&posting).expect("JSON");
        posting = serde_json::from_str(&stored).expect("the same again");
        step = posting.take(&response, NOW);
    }
    panic!("no end: {:?}", desk.requests);
}

fn failed(reason: Reason) -> Step {
    Step::Failed { reason, message: None }
}

#[track_caller]
fn check(task: NoteTask, mut desk: Desk, expected: &Step, notes: usize, requests: usize) -> (Posting, Desk) {
    let name = desk.fault;
    let (posting, step) = run(task, &mut desk);
    assert_eq!(step, *expected, "{name:?}");
    assert_eq!(step.result().map(|result| result.is_ok()), Some(matches!(step, Step::Done | Step::AlreadyThere)), "{name:?}");
    assert_eq!(desk.notes.len(), notes, "{name:?}: notes on the ticket");
    assert_eq!(desk.requests.len(), requests, "{name:?}: {:?}", desk.requests);
    (posting, desk)
}

fn with(fault: Fault) -> Desk {
    Desk { fault, ..Desk::default() }
}

#[test]
fn every_row_of_faults() {
    let rows = [
        (Fault::None, Step::Done, 1, 5),
        (Fault::LockingOff, Step::Done, 1, 5),
        (Fault::CrashesAfter, Step::Done, 1, 5),
        (Fault::LostAfter, Step::Done, 1, 5),
        (Fault::LostAfterAndGone, failed(Reason::Uncertain), 1, 5),
        (Fault::ProxyGivesUp, failed(Reason::Uncertain), 0, 5),
        (Fault::LostBefore, failed(Reason::Uncertain), 0, 5),
        (Fault::CrashesBefore, failed(Reason::Crashed), 0, 5),
        (Fault::RefusesAlways, failed(Reason::Refused), 0, 9),
        (Fault::SameSecond, Step::Done, 1, 6),
        (Fault::HeldElsewhere, failed(Reason::LockedElsewhere), 0, 3),
        (Fault::SignedOut, failed(Reason::NoSession), 0, 1),
        (Fault::MayNotSee, failed(Reason::NotAllowed), 0, 1),
        (Fault::PageCrashes, failed(Reason::Crashed), 0, 1),
        (Fault::PageLost, failed(Reason::NotReached), 0, 1),
        (Fault::WrongToken, failed(Reason::CsrfRefused), 0, 2),
        (Fault::LockCrashes, failed(Reason::Crashed), 0, 2),
        (Fault::LockLost, failed(Reason::NotReached), 0, 2),
    ];
    for (fault, expected, notes, requests) in rows {
        check(task(), with(fault), &expected, notes, requests);
        check(task(), Desk { tells_redirects: true, ..with(fault) }, &expected, notes, requests);
    }
    check(task(), with(Fault::SignedOutAfterLook), &failed(Reason::NoSession), 0, 2);
    let under_lock = NoteTask { lock_code: Some("Z0OZeEPQJF".into()), ..task() };
    let desk = || Desk { code: Some("Z0OZeEPQJF".into()), ..with(Fault::SignedOutAfterLook) };
    check(under_lock.clone(), desk(), &failed(Reason::NoSession), 0, 3);
    check(under_lock, Desk { tells_redirects: true, ..desk() }, &failed(Reason::NoSession), 0, 2);
    let message = Some("Bob Brown".to_owned());
    check(task(), with(Fault::LockedByOther), &Step::Failed { reason: Reason::LockedByOther, message }, 0, 3);
    // They hold it because they have just written the note.
    let desk = Desk { written_before_lock: Some(task().html), ..with(Fault::LockedByOther) };
    check(task(), desk, &Step::AlreadyThere, 1, 3);
}

#[test]
fn the_note_arrives_as_it_was_given() {
    let (_, desk) = check(task(), Desk::default(), &Step::Done, 1, 5);
    assert_eq!(desk.notes, [[task().title, task().html].join("\n")]);
}

#[test]
fn a_note_that_is_there_is_not_written_again() {
    check(NoteTask { already_there: true, ..task() }, Desk::default(), &Step::AlreadyThere, 0, 0);
    let desk = Desk { notes: vec![task().html], ..Desk::default() };
    check(task(), desk, &Step::AlreadyThere, 1, 1);
    let held = Desk { notes: vec![task().html], code: Some("another0".into()), ..Desk::default() };
    let (_, desk) = check(task(), held, &Step::AlreadyThere, 1, 1);
    assert_eq!(desk.code.as_deref(), Some("another0"), "a lock the agent holds for a reply in another tab is left alone");
    let written = Desk { written_before_lock: Some(task().html), ..Desk::default() };
    let (_, desk) = check(task(), written, &Step::AlreadyThere, 1, 4);
    assert_eq!(desk.code, None, "the lock that was taken is given back");

    // Whatever happened to the first try, the second writes what is missing and no more.
    for (fault, expected) in
        [(Fault::LostAfterAndGone, Step::AlreadyThere), (Fault::CrashesAfter, Step::AlreadyThere), (Fault::LostBefore, Step::Done)]
    {
        let mut desk = with(fault);
        let (posting, _) = run(task(), &mut desk);
        desk.fault = Fault::None;
        let (_, step) = run(NoteTask { lock_left: posting.lock_left().cloned(), ..task() }, &mut desk);
        assert_eq!((step, desk.notes.len()), (expected, 1), "after {fault:?}");
    }
}

#[test]
fn the_lock_on_the_page_is_used() {
    let page_code = |code: &str| NoteTask { lock_code: Some(code.into()), ..task() };
    let held = |code: &str| Desk { code: Some(code.into()), ..Desk::default() };
    let (posting, _) = check(page_code("Z0OZeEPQJF"), held("Z0OZeEPQJF"), &Step::Done, 1, 4);
    let fresh = PageLock { id: 2, code: "I0bFPsxt70".into() };
    assert_eq!(posting.page_lock(), Some(&fresh), "the agent's reply needs another");
    check(page_code("Z0_ZeEPQJ="), held("Z0_ZeEPQJ="), &Step::Done, 1, 4);
    check(page_code(""), Desk::default(), &Step::Done, 1, 5);
    check(page_code("&a=reply"), Desk::default(), &Step::Done, 1, 5);
    // It ran out meanwhile: looked, refused, looked, locked afresh, looked, posted, looked, locked for the page.
    check(page_code("Z0OZeEPQJF"), Desk::default(), &Step::Done, 1, 8);
    // And the agent took another elsewhere: it is theirs, so osTicket gives it.
    check(page_code("Z0OZeEPQJF"), held("another0"), &Step::Done, 1, 8);
    check(page_code("Z0OZeEPQJF"), with(Fault::RefusesAlways), &failed(Reason::Refused), 0, 11);
}

#[test]
fn a_lock_is_asked_for_once_while_it_lasts() {
    let (posting, mut desk) = check(task(), with(Fault::RefusesAlways), &failed(Reason::Refused), 0, 9);
    let left = posting.lock_left().cloned().expect("still held");
    assert_eq!(left, HeldLock { code: "I0bFPsxt70".into(), until: NOW + 170_000 });
    desk = Desk { code: desk.code, ..Desk::default() };
    let second = NoteTask { lock_left: Some(left.clone()), now: left.until - 1, ..task() };
    desk.fault = Fault::LostBefore;
    let (posting, desk) = check(second.clone(), desk, &failed(Reason::Uncertain), 0, 3);
    assert_eq!(posting.lock_left(), Some(&left), "kept through a second failure");
    let desk = Desk { code: desk.code, ..Desk::default() };
    let (posting, _) = check(second.clone(), desk, &Step::Done, 1, 3);
    assert_eq!(posting.lock_left(), None, "osTicket drops it with the note");
    // osTicket has forgotten it before its time: looked, refused, looked, locked afresh, looked, posted, looked.
    check(second, Desk::default(), &Step::Done, 1, 7);
    // Afterwards a new one.
    check(NoteTask { lock_left: Some(left.clone()), now: left.until, ..task() }, Desk::default(), &Step::Done, 1, 5);
}

#[test]
fn what_cannot_be_sent_is_not_tried() {
    let check_task = |change: fn(&mut NoteTask), reason: Reason| {
        let mut task = task();
        change(&mut task);
        check(task, Desk::default(), &failed(reason), 0, 0);
    };
    check_task(|task| task.base_path = "//evil.example/scp/".into(), Reason::NotUsable);
    check_task(|task| task.base_path = "https://evil.example/scp/".into(), Reason::NotUsable);
    check_task(|task| task.base_path = "/scp/tickets.php?x=/".into(), Reason::NotUsable);
    check_task(|task| task.ticket = "116&a=edit".into(), Reason::NotUsable);
    check_task(|task| task.csrf_token = String::new(), Reason::NotUsable);
    check_task(|task| task.csrf_token = "a\r\nX-Other: b".into(), Reason::NotUsable);
    check_task(|task| task.marker = String::new(), Reason::NotUsable);
    check_task(|task| task.marker = "<b>".into(), Reason::NotUsable);
    check_task(|task| task.html = "<p>without its marker</p>".into(), Reason::NotUsable);
    check_task(|task| task.html.push_str(&"ü".repeat(LONGEST_NOTE / 2)), Reason::TooLong);
    check_task(|task| task.title = "t".repeat(256), Reason::TooLong);
}

#[test]
fn an_answer_nobody_asked_for_does_nothing() {
    let (mut posting, step) = start(NoteTask { already_there: true, ..task() });
    assert_eq!(step, Step::AlreadyThere);
    assert_eq!(posting.take(&Response::HiddenRedirect, NOW), failed(Reason::NotUsable));
}

#[test]
fn a_note_that_may_have_been_sent_is_uncertain() {
    let json = |step: &Step| serde_json::to_string(step).expect("JSON");
    assert_eq!(told(Some(&json(&Step::Done))), Ok(()));
    assert_eq!(told(Some(&json(&Step::AlreadyThere))), Ok(()));
    assert_eq!(told(Some(&json(&failed(Reason::LockedByOther)))), Err(NoteFault::LockedByOther(None)));
    assert_eq!(told(Some("null")), Err(NoteFault::Cannot), "nobody was there to send anything");
    let (_, unfinished) = start(task());
    for lost in [None, Some(""), Some("{}"), Some(json(&unfinished).as_str())] {
        assert_eq!(told(lost), Err(NoteFault::Uncertain), "{lost:?}");
    }
}

/// Another browser may write one by then.
#[test]
fn a_note_is_not_sent_too_late() {
    check(NoteTask { send_until: Some(NOW), ..task() }, Desk::default(), &Step::Done, 1, 5);
    check(NoteTask { send_until: None, ..task() }, Desk::default(), &Step::Done, 1, 5);
    check(NoteTask { send_until: Some(NOW - 1), ..task() }, Desk::default(), &failed(Reason::TooLate), 0, 3);
    check(task(), with(Fault::SleptBeforePost), &failed(Reason::TooLate), 0, 4);
    let there = Desk { notes: vec![task().html], ..Desk::default() };
    check(NoteTask { send_until: Some(NOW - 1), ..task() }, there, &Step::AlreadyThere, 1, 1);
}

/// *Copy report*, pasted into a note and not sent.
#[test]
fn a_draft_with_the_report_is_no_note() {
    check(task(), Desk { draft: format!("<p>{MARKER}</p>"), ..Desk::default() }, &Step::Done, 1, 5);
}

#[test]
fn a_note_whose_text_was_cut_is_known_by_its_title() {
    check(task(), Desk { notes: vec!["Remote support [8f3a2b1c]\n<p>Sess".into()], ..Desk::default() }, &Step::AlreadyThere, 1, 1);
}

#[test]
fn a_merged_ticket_is_told() {
    let merged = NoteTask { merged_into: Some(" Ticket #194780 ".into()), ..task() };
    let (_, desk) = check(merged, Desk::default(), &Step::Failed { reason: Reason::Merged, message: Some("Ticket #194780".into()) }, 0, 0);
    assert!(desk.requests.is_empty());
}

#[test]
fn without_rich_text_the_note_is_plain_text() {
    let (_, desk) = check(NoteTask { rich_text: false, ..task() }, Desk::default(), &Step::Done, 1, 5);
    assert!(desk.notes[0].ends_with(&format!("Session by Alice, 12 min\n\n{MARKER}")), "{:?}", desk.notes);
    check(NoteTask { rich_text: false, text: String::new(), ..task() }, Desk::default(), &failed(Reason::NotUsable), 0, 0);
}

/// The names the host script uses.
#[test]
fn the_hosts_json_is_this() {
    let (_, step) = start(NoteTask { lock_code: Some("Z0OZeEPQJF".into()), ..task() });
    let json = serde_json::to_value(&step).expect("JSON");
    let expected = serde_json::json!({
        "step": "request", "method": "GET", "path": "/support/scp/tickets.php?id=116", "headers": [], "body": null, "after": 0, "until": null,
        "find": [
            { "text": "id=\"ticket_tabs\"", "within": null },
            { "text": "tickets.php?id=116", "within": null },
            { "text": MARKER, "within": "#thread-items .thread-entry.note" },
            { "text": "[8f3a2b1c]", "within": "#thread-items .thread-entry.note .title" },
        ],
    });
    assert_eq!(json, expected);
    for (json, expected) in [
        (r#"{"kind":"hiddenRedirect"}"#, Response::HiddenRedirect),
        (r#"{"kind":"lost"}"#, Response::Lost),
        (
            r#"{"kind":"answer","status":418,"body":""}"#,
            page(
                418,
                "",
                &Request { method: String::new(), path: String::new(), headers: vec![], body: None, find: vec![], after: 0, until: None },
            ),
        ),
    ] {
        assert_eq!(serde_json::from_str::<Response>(json).expect("a response"), expected);
    }
    let told = serde_json::to_value(failed(Reason::LockedElsewhere)).expect("JSON");
    assert_eq!(told, serde_json::json!({"step": "failed", "reason": "locked_elsewhere", "message": null}));
}
