//! The server's answers, read through the browser's own JSON (wasm only): a Rust parser would weigh more than the panel (stack.md 8).

use std::cell::Cell;

use js_sys::{Array, Date, JSON, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use super::model::{Entry, Event, Loaded, MachineList, Made, Problem, Report, Thing, is_web};
use super::requests::Call;
use super::texts::{Texts, decimal, is_looked_up};
use super::view::whole_milliseconds;
use super::{Answer, Note, RECORDS_IN_PAGE};
use crate::api::{Issue, JumpMethod, LiveSession, PanelModel, SessionState};
use crate::problem::TYPE_PREFIX;

/// No list is read further than this.
const LIST_LIMIT: u32 = 200;

/// The event which the answer to a call is that was asked at that time (JavaScript's `Date.now()`).
pub fn event(call: Call, answer: &Answer, asked_at: f64) -> Event {
    let object = Members::of(JSON::parse(&answer.body).unwrap_or(JsValue::NULL));
    if (200..300).contains(&answer.status) {
        let event = match call {
            Call::Load => Event::Loaded(Box::new(Loaded {
                offer: panel_model(&object),
                texts: texts(&object.get("texts")),
                record_in_page: RECORDS_IN_PAGE && object.get("record_in_page").is_truthy(),
                // The page's to say, not the server's.
                has_reply: object.get("has_reply") != JsValue::FALSE,
            })),
            Call::Make(thing, _) => Event::Made(thing, Box::new(made(thing, &object))),
            Call::Sessions => Event::Sessions(sessions(&object)),
            Call::Machines { .. } => Event::Machines(Box::new(MachineList {
                machines: entries(&object, "machines", ["name", "state", "person"]),
                more: object.get("more").is_truthy(),
                links: entries(&object, "links", ["machine_name", "method", "agent"]),
            })),
            Call::EndLink(ref link) => Event::LinkEnded(link.clone()),
            Call::Recording(ref lsid) => Event::Recording(lsid.clone(), object.web_url("url")),
            Call::Report(ref lsid) if RECORDS_IN_PAGE => Event::Report(Box::new(report(lsid, &object, asked_at))),
            Call::Recorded(ref lsid, _) if RECORDS_IN_PAGE => Event::Recorded(lsid.clone()),
            // Nothing waits for that of a lease given up; the others are asked by panels alone that put reports onto the ticket.
            Call::GivenUp(_) | Call::Report(_) | Call::Recorded(..) => Event::Tick,
        };
        if object.complete() {
            return event;
        }
    }
    Event::Refused(call, problem(answer.status, &object))
}

fn problem(status: u16, object: &Members) -> Problem {
    let mut members = Vec::new();
    each_member(&object.object, &mut |name, value| {
        let number = || value.as_f64().and_then(whole_milliseconds).and_then(|number| u32::try_from(number).ok());
        if let Some(value) = value.as_string().or_else(|| number().map(decimal)) {
            members.push((name, value));
        }
    });
    let reason = object.optional("reason");
    let kind = object.optional("type");
    let kind = if reason.is_empty() { kind.strip_prefix(TYPE_PREFIX).unwrap_or_default().into() } else { reason };
    Problem { status, kind, title: object.optional("title"), detail: object.optional("detail"), members }
}

/// Texts out of a map from name to text.
pub fn texts(map: &JsValue) -> Texts {
    let mut texts = Texts::read(|name| member(map, name).as_string());
    each_member(map, &mut |name, text| {
        if is_looked_up(&name)
            && let Some(text) = text.as_string()
        {
            texts.add(name, text);
        }
    });
    texts
}

/// Calls `act` with each member of an object; of anything else there are none.
fn each_member(object: &JsValue, act: &mut dyn FnMut(String, JsValue)) {
    if object.is_object() {
        for name in Object::keys(object.unchecked_ref::<Object>()) {
            if let Some(text) = name.as_string() {
                let value = member(object, &text);
                act(text, value);
            }
        }
    }
}

/// A member of an object; `undefined` of anything else.
pub fn member(json: &JsValue, name: &str) -> JsValue {
    Reflect::get(json, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

/// A new object with that member.
pub fn object(name: &str, value: &JsValue) -> JsValue {
    let object = Object::new();
    set(&object, name, value);
    object.into()
}

/// Sets a member.
pub fn set(object: &JsValue, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &JsValue::from_str(name), value);
}

/// An object being read, which remembers whether something was missing.
pub struct Members {
    object: JsValue,
    missing: Cell<bool>,
}

impl Members {
    /// Of that object; of anything else, everything is missing.
    pub fn of(object: JsValue) -> Self {
        Self { object, missing: Cell::new(false) }
    }

    /// A member.
    pub fn get(&self, name: &str) -> JsValue {
        member(&self.object, name)
    }

    /// A text, if there is one.
    #[inline(never)]
    pub fn text_if_any(&self, name: &str) -> Option<String> {
        self.get(name).as_string()
    }

    /// A text; empty if it is missing.
    pub fn optional(&self, name: &str) -> String {
        self.text_if_any(name).unwrap_or_default()
    }

    /// A text that must be there and not be empty.
    pub fn text(&self, name: &str) -> String {
        let text = self.optional(name);
        self.require(!text.is_empty());
        text
    }

    /// A web address that must be there: whoever answers for the server cannot make the page run a script.
    fn web_url(&self, name: &str) -> String {
        let url = self.optional(name);
        self.require(is_web(&url));
        url
    }

    fn time(&self, name: &str) -> Option<i64> {
        whole_milliseconds(Date::parse(&self.optional(name)))
    }

    fn require(&self, condition: bool) {
        if !condition {
            self.missing.set(true);
        }
    }

    /// Whether everything was there so far.
    pub fn complete(&self) -> bool {
        !self.missing.get()
    }

    fn list(&self, name: &str) -> Vec<JsValue> {
        let list = self.get(name);
        self.require(Array::is_array(&list));
        let list: &Array = list.unchecked_ref();
        (0..list.length().min(LIST_LIMIT)).map(|index| list.get(index)).collect()
    }
}

fn panel_model(object: &Members) -> PanelModel {
    let mut methods = Vec::new();
    for method in object.list("methods") {
        if let Some(method) = method.as_string().and_then(|name| JumpMethod::from_name(&name)) {
            methods.push(method);
        }
    }
    let mut jumpoints = Vec::new();
    for jumpoint in object.list("jumpoints") {
        if let Some(jumpoint) = jumpoint.as_string() {
            jumpoints.push(jumpoint);
        }
    }
    let mut issues = Vec::new();
    for issue in object.list("issues") {
        let issue = Members::of(issue);
        issues.push(Issue { code_name: issue.text("code_name"), title: issue.text("title") });
    }
    PanelModel {
        connection: object.text("connection"),
        ticket: object.text("ticket"),
        methods,
        jumpoints,
        issues,
        target: object.text_if_any("target"),
        locale: object.text("locale"),
        help_center_page: object.text_if_any("help_center_page"),
        session_keys: object.get("session_keys") != JsValue::FALSE,
        machines: object.get("machines").is_truthy(),
    }
}

fn made(thing: Thing, object: &Members) -> Made {
    let mut made = Made::default();
    let url = match thing {
        Thing::Key => "key_url",
        Thing::Jump => "launch_url",
        Thing::ChatLink => "url",
    };
    made.url = object.web_url(url);
    made.expires_at = object.time("expires_at");
    made.link = object.optional("link");
    if thing == Thing::Key {
        made.short_key = object.text("short_key");
        made.mail_subject = object.optional("mail_subject");
        made.mail_body = object.optional("mail_body");
    }
    made
}

fn report(lsid: &str, object: &Members, asked_at: f64) -> Report {
    let text = |name: &str| object.text(name);
    let seconds = object.get("send_within_seconds").as_f64();
    let note = Note {
        title: text("title"),
        html: text("html"),
        text: text("text"),
        marker: text("marker"),
        title_marker: text("title_marker"),
        // The server has leased the ticket while the answer was on its way.
        send_until: seconds.and_then(|seconds| whole_milliseconds(asked_at + seconds * 1_000.0)),
        lease: object.optional("lease"),
    };
    Report { lsid: lsid.into(), note, is_recorded: object.get("recorded").is_truthy() }
}

/// Without sessions in a state only a later version knows.
fn sessions(object: &Members) -> Vec<LiveSession> {
    let mut sessions = Vec::new();
    for session in object.list("sessions") {
        let session = Members::of(session);
        let text = |name: &str| session.text_if_any(name);
        if let Some(state) = SessionState::from_name(&session.optional("state")) {
            sessions.push(LiveSession {
                lsid: session.optional("lsid"),
                state,
                representative: text("representative"),
                customer: text("customer"),
                started_at: text("started_at"),
                ended_at: text("ended_at"),
                machine: text("machine"),
                kind: text("kind"),
                recording: session.get("recording").is_truthy(),
            });
        }
    }
    sessions
}

fn entries(object: &Members, list: &str, [name, state, person]: [&str; 3]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for entry in object.list(list) {
        let entry = Members::of(entry);
        entries.push(Entry {
            id: entry.optional("id"),
            name: entry.optional(name),
            state: entry.optional(state),
            person: entry.optional(person),
            machine: entry.optional("machine"),
            url: String::new(),
            expires_at: entry.time("expires_at"),
            is_marked: entry.get("suggested").is_truthy(),
        });
    }
    entries
}
