//! The server's answers, read through the browser's own JSON (wasm only): a Rust parser would weigh more than the panel (stack.md 8).

use std::cell::Cell;

use js_sys::{Array, JSON, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use super::Answer;
use super::model::{Answered, Problem};
use super::requests::Call;
use super::texts::Texts;
use crate::api::{ChatLink, Issue, JumpMethod, LiveSession, PanelModel, SessionKey, SessionState};

/// No list is read further than this.
const LIST_LIMIT: u32 = 200;

/// What the answer to a call says.
pub fn read(call: Call, answer: &Answer) -> Answered {
    let json = JSON::parse(&answer.body).unwrap_or(JsValue::NULL);
    let object = Members::of(json);
    if (200..300).contains(&answer.status) {
        let answered = match call {
            Call::Load => Answered::Loaded(Box::new((
                panel_model(&object),
                texts(&object.get("texts")),
            ))),
            Call::SessionKey => Answered::Key(Box::new(session_key(&object))),
            Call::Jump(_) => Answered::Jump(object.text("launch_url")),
            Call::ChatLink { .. } => Answered::ChatLink(Box::new(ChatLink {
                url: object.text("url"),
                expires_at: object.optional("expires_at"),
            })),
            Call::Sessions => {
                Answered::Sessions(object.list("sessions").iter().filter_map(session).collect())
            }
        };
        if object.complete() {
            return answered;
        }
    }
    let title = object.optional("title").unwrap_or_default();
    let detail = object.optional("detail").unwrap_or_default();
    Answered::Refused(
        call,
        Problem {
            status: answer.status,
            title,
            detail,
        },
    )
}

/// Texts out of a map from name to text.
pub fn texts(map: &JsValue) -> Texts {
    Texts::read(|name| member(map, name).as_string())
}

/// A member of an object; `undefined` of anything else.
pub fn member(json: &JsValue, name: &str) -> JsValue {
    Reflect::get(json, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

/// An object being read, which remembers whether something was missing.
pub struct Members {
    object: JsValue,
    missing: Cell<bool>,
}

impl Members {
    /// Of that object; of anything else, everything is missing.
    pub fn of(object: JsValue) -> Self {
        Self {
            object,
            missing: Cell::new(false),
        }
    }

    /// A member.
    pub fn get(&self, name: &str) -> JsValue {
        member(&self.object, name)
    }

    /// A text that may be missing.
    pub fn optional(&self, name: &str) -> Option<String> {
        self.get(name).as_string()
    }

    /// A text that must be there; empty if it is not.
    pub fn text(&self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.missing.set(true);
            String::new()
        })
    }

    /// Whether everything was there so far.
    pub fn complete(&self) -> bool {
        !self.missing.get()
    }

    fn list(&self, name: &str) -> Vec<JsValue> {
        if let Ok(array) = self.get(name).dyn_into::<Array>() {
            return (0..array.length().min(LIST_LIMIT))
                .map(|index| array.get(index))
                .collect();
        }
        self.missing.set(true);
        Vec::new()
    }
}

fn panel_model(object: &Members) -> PanelModel {
    let mut methods = Vec::new();
    for method in object.list("methods") {
        methods.extend(
            method
                .as_string()
                .and_then(|name| JumpMethod::from_name(&name)),
        );
    }
    let mut jumpoints = Vec::new();
    for jumpoint in object.list("jumpoints") {
        jumpoints.extend(jumpoint.as_string());
    }
    let mut issues = Vec::new();
    for issue in object.list("issues") {
        let issue = Members::of(issue);
        issues.push(Issue {
            code_name: issue.text("code_name"),
            title: issue.text("title"),
        });
    }
    PanelModel {
        connection: object.text("connection"),
        ticket: object.text("ticket"),
        methods,
        jumpoints,
        issues,
        target: object.optional("target"),
        locale: object.text("locale"),
    }
}

fn session_key(object: &Members) -> SessionKey {
    SessionKey {
        short_key: object.text("short_key"),
        key_url: object.text("key_url"),
        mail_subject: object.optional("mail_subject").unwrap_or_default(),
        mail_body: object.optional("mail_body").unwrap_or_default(),
        expires_at: object.optional("expires_at"),
    }
}

/// `None` for a session of a later version's state.
fn session(json: &JsValue) -> Option<LiveSession> {
    let object = Members::of(json.clone());
    let state = SessionState::from_name(&object.text("state"))?;
    Some(LiveSession {
        lsid: object.text("lsid"),
        state,
        representative: object.optional("representative"),
        customer: object.optional("customer"),
        started_at: object.optional("started_at"),
        ended_at: object.optional("ended_at"),
    })
}
