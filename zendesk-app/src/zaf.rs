//! A small ZAF client: the messages between an app's frame and the ticket page (zendesk.md c.3, c.4), no more than the sidebar needs.
//!
//! Speaks to `window.parent` under the one origin the server verified, and hears nothing that does not come from both.

use std::cell::Cell;
use std::rc::Rc;

use deskbridge_shared::panel::answers::{member, object, set};
use deskbridge_shared::panel::callbacks::{Listener, after};
use deskbridge_shared::panel::texts::{append, decimal, is_html, join};
use deskbridge_shared::panel::{Done, Insertion};
use js_sys::{Array, JSON, Object};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::EventTarget;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = parent, js_name = postMessage)]
    fn post_message(message: &str, origin: &str) -> Result<(), JsValue>;

    #[wasm_bindgen(js_namespace = document, js_name = hasFocus)]
    fn has_focus() -> bool;
}

/// A question the ticket page leaves without an answer is given up after this many milliseconds, as by Zendesk's SDK (zendesk.md c.4).
const PATIENCE: i32 = 300_000;
/// The same for setting the whole comment: the shorter it is under way, the less can change meanwhile.
const SET_PATIENCE: i32 = 10_000;
/// What counts as work in the panel, as for Zendesk's SDK (`lib/utils/idleState.ts`).
const ACTIVITY: [&str; 7] = ["mousemove", "keydown", "wheel", "mousedown", "touchstart", "touchmove", "focus"];
/// Work is told after this many milliseconds without more (zendesk.md c.3).
const ACTIVITY_PAUSE: i32 = 1_000;

/// What came of a question.
pub enum Reply {
    /// This; it may hold errors.
    Result(JsValue),
    /// An error.
    Refused,
    /// Nothing, in the time it was given.
    Lost,
}

type Waiting = (u32, Done<Reply>);

/// The connection to the ticket page.
pub struct Zaf {
    parent: JsValue,
    origin: String,
    app_guid: String,
    /// The ticket page has answered the handshake, before which nothing else may go (zendesk.md c.3).
    registered: Cell<bool>,
    last_id: Cell<u32>,
    /// Who waits for which answer.
    waiting: Cell<Vec<Waiting>>,
    height: Cell<u32>,
    /// Work is to be told; and there was more since.
    activity: Cell<Option<bool>>,
    listeners: Cell<Vec<Listener>>,
}

impl Zaf {
    /// A connection from this window to the page around it.
    pub fn new(window: &JsValue, origin: String, app_guid: String) -> Rc<Self> {
        Rc::new(Self {
            parent: member(window, "parent"),
            origin,
            app_guid,
            registered: Cell::new(false),
            last_id: Cell::new(0),
            waiting: Cell::default(),
            height: Cell::new(0),
            activity: Cell::new(None),
            listeners: Cell::default(),
        })
    }

    /// Begins to hear the ticket page, and shakes hands. `hear` gets the name and the message of every event, `app.registered` first.
    pub fn listen(self: &Rc<Self>, window: &EventTarget, hear: impl Fn(&str, &JsValue) + 'static) {
        let zaf = Rc::downgrade(self);
        let listener = Listener::new(window, "message", move |event| {
            if let Some(zaf) = zaf.upgrade()
                && let Some(data) = zaf.accept(event)
            {
                zaf.receive(&data, &hear);
            }
        });
        let mut listeners = vec![listener];
        for kind in ACTIVITY {
            let zaf = Rc::downgrade(self);
            listeners.push(Listener::new(window, kind, move |_| {
                // A mouse on its way across another window is no work.
                if let Some(zaf) = zaf.upgrade()
                    && (kind != "mousemove" || has_focus())
                {
                    zaf.note_activity();
                }
            }));
        }
        self.listeners.set(listeners);
        self.shake_hands();
    }

    /// Asks to be registered; the answer is the event `app.registered`.
    pub fn shake_hands(&self) {
        self.post("key", &"iframe.handshake".into(), "message", &object("version", &env!("CARGO_PKG_VERSION").into()));
    }

    /// Whether the ticket page has answered the handshake.
    pub fn is_registered(&self) -> bool {
        self.registered.get()
    }

    /// Asks for an event to be sent from now on.
    pub fn subscribe(&self, event: &str) {
        let key = join(&["iframe.on:", event]);
        self.post("key", &key.into(), "message", &object("subscriberCount", &1.into()));
    }

    /// Several values at once, by path; those the ticket page does not have are missing, see [`is_refused`].
    pub fn get(self: &Rc<Self>, paths: &[&str], done: impl FnOnce(Reply) + 'static) {
        let params: Array = paths.iter().map(|path| JsValue::from_str(path)).collect();
        self.request("get", &params, PATIENCE, Box::new(done));
    }

    /// Gives the frame its height, now or as soon as the ticket page has answered.
    pub fn resize(self: &Rc<Self>, height: u32) {
        self.height.set(height);
        // A frame without height would never be measured again.
        if self.registered.get() && height > 0 {
            let size = object("width", &"100%".into());
            set(&size, "height", &join(&[&decimal(height), "px"]).into());
            self.invoke("resize", &[size], Box::new(|_| {}));
        }
    }

    /// Shows a passing message for some milliseconds.
    pub fn notify(self: &Rc<Self>, text: &str, kind: &str, milliseconds: i32) {
        self.invoke("notify", &[text.into(), kind.into(), milliseconds.into()], Box::new(|_| {}));
    }

    /// Puts text at the end of the comment being written on that ticket; by setting the whole text where the ticket page says that it cannot
    /// append. Without an answer the text may be there, and is not written again.
    pub fn append_to_comment(self: &Rc<Self>, ticket: String, addition: String, done: Done<Insertion>) {
        let zaf = self.clone();
        let text = JsValue::from_str(&addition);
        let appended = move |reply: Reply| match insertion(&reply) {
            Insertion::Failed => zaf.set_comment(ticket, addition, done),
            insertion => done(insertion),
        };
        self.invoke("comment.appendText", &[text], Box::new(appended));
    }

    fn set_comment(self: &Rc<Self>, ticket: String, addition: String, done: Done<Insertion>) {
        let zaf = self.clone();
        let paths: Array = ["ticket.id", "comment.text", "comment.useRichText"].into_iter().map(JsValue::from_str).collect();
        let read = move |reply: Reply| {
            let Reply::Result(values) = reply else { return done(Insertion::Failed) };
            // The page may have gone to another ticket since: its comment is another customer's.
            if identifier(&member(&values, "ticket.id")) != Some(ticket) {
                return done(Insertion::Failed);
            }
            // A comment that cannot be read must not be replaced.
            let Some(whole) = whole_comment(&values, &addition) else { return done(Insertion::Failed) };
            let set = object("comment.text", &whole.into());
            zaf.request("set", &set, SET_PATIENCE, Box::new(move |reply| done(insertion(&reply))));
        };
        self.request("get", &paths, SET_PATIENCE, Box::new(read));
    }

    /// Somebody works here, which the ticket page does not see: it signs out agents who do nothing.
    fn note_activity(self: &Rc<Self>) {
        if self.activity.replace(Some(true)).is_none() {
            self.activity.set(Some(false));
            self.await_pause();
        }
    }

    fn await_pause(self: &Rc<Self>) {
        let zaf = self.clone();
        after(ACTIVITY_PAUSE, move || {
            if zaf.activity.take() == Some(true) {
                zaf.activity.set(Some(false));
                zaf.await_pause();
            } else if zaf.is_registered() {
                zaf.post("key", &"session.live".into(), "message", &JsValue::UNDEFINED);
            }
        });
    }

    /// Hears nothing any more.
    pub fn close(&self) {
        self.listeners.take();
        self.waiting.take();
    }

    /// The message, if it is from the ticket page: its window, under its origin. Objects and JSON text both occur (zendesk.md c.4).
    fn accept(&self, event: &JsValue) -> Option<JsValue> {
        let from_parent = member(event, "source") == self.parent;
        let origin = member(event, "origin").as_string()?;
        if !from_parent || origin != self.origin {
            return None;
        }
        let data = member(event, "data");
        match data.as_string() {
            Some(json) => JSON::parse(&json).ok(),
            None => Some(data),
        }
    }

    fn receive(self: &Rc<Self>, data: &JsValue, hear: &impl Fn(&str, &JsValue)) {
        let key = member(data, "key").as_string().unwrap_or_default();
        if let Some(name) = key.strip_prefix("zaf.") {
            if name == "app.registered" {
                self.registered.set(true);
                self.resize(self.height.get());
            }
            hear(name, &member(data, "message"));
        } else {
            let is_error = member(data, "error").is_truthy();
            self.answer(&member(data, "id"), if is_error { Reply::Refused } else { Reply::Result(member(data, "result")) });
        }
    }

    fn answer(&self, id: &JsValue, reply: Reply) {
        let mut answered = None;
        let mut waiting = Vec::new();
        for (known, done) in self.waiting.take() {
            if *id == known {
                answered = Some(done);
            } else {
                waiting.push((known, done));
            }
        }
        self.waiting.set(waiting);
        if let Some(done) = answered {
            done(reply);
        }
    }

    /// The object form of `invoke` takes a list for each action (zendesk.md c.4).
    fn invoke(self: &Rc<Self>, action: &str, with: &[JsValue], done: Done<Reply>) {
        let arguments: Array = with.iter().collect();
        self.request("invoke", &object(action, &arguments), PATIENCE, done);
    }

    /// Asks; `done` gets what comes of it in that many milliseconds.
    fn request(self: &Rc<Self>, kind: &str, params: &JsValue, patience: i32, done: Done<Reply>) {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        let mut waiting = self.waiting.take();
        waiting.push((id, done));
        self.waiting.set(waiting);
        self.post("id", &id.into(), kind, params);
        let zaf = self.clone();
        after(patience, move || zaf.answer(&id.into(), Reply::Lost));
    }

    /// Sends an event's `key` with its `message`, or a question's `id` with its `request` and `params`, under our name.
    fn post(&self, name: &str, value: &JsValue, kind: &str, content: &JsValue) {
        let message = object(name, value);
        if name == "id" {
            set(&message, "request", &kind.into());
            set(&message, "params", content);
        } else {
            set(&message, kind, content);
        }
        set(&message, "appGuid", &self.app_guid.as_str().into());
        set(&message, "instanceGuid", &self.app_guid.as_str().into());
        if let Ok(json) = JSON::stringify(&message) {
            let _ = post_message(&String::from(json), &self.origin);
        }
    }
}

/// Whether the ticket page answered that it cannot give that value.
pub fn is_refused(values: &JsValue, path: &str) -> bool {
    member(&member(values, "errors"), path).is_truthy()
}

/// Zendesk's ids are numbers; ours are text.
pub fn identifier(id: &JsValue) -> Option<String> {
    let id = if id.as_f64().is_some() { JSON::stringify(id).ok()?.into() } else { id.clone() };
    id.as_string().filter(|id| !id.is_empty())
}

/// What the reply to a change says.
fn insertion(reply: &Reply) -> Insertion {
    match reply {
        Reply::Lost => Insertion::Uncertain,
        Reply::Refused => Insertion::Failed,
        Reply::Result(result) => {
            let errors = member(result, "errors");
            (!errors.is_object() || Object::keys(errors.unchecked_ref::<Object>()).length() == 0).into()
        }
    }
}

/// The comment with the addition at its end. The text of an editor for rich text is HTML.
fn whole_comment(values: &JsValue, addition: &str) -> Option<String> {
    let text = member(values, "comment.text");
    let before = if text.is_null() { String::new() } else { text.as_string()? };
    // A guess would show the customer tags, or swallow the line breaks.
    let is_rich = member(values, "comment.useRichText").as_bool().or_else(|| is_html(&before).then_some(true))?;
    Some(append(&before, addition, is_rich))
}
