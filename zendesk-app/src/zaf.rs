//! A small ZAF client: the messages between an app's frame and the ticket page (zendesk.md c.3, c.4), no more than the sidebar needs.
//!
//! Speaks to `window.parent` under the one origin the server verified, and hears nothing that does not come from both.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use deskbridge_shared::panel::answers::member;
use deskbridge_shared::panel::listen::Listener;
use deskbridge_shared::panel::texts::decimal;
use js_sys::{Array, Function, JSON, Object, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageEvent, Window};

/// A question the ticket page leaves without an answer is given up after this many milliseconds.
const PATIENCE: i32 = 10_000;
/// Messages kept until the ticket page has answered the handshake; more are dropped.
const QUEUE_LIMIT: usize = 50;

/// The connection to the ticket page.
pub struct Zaf {
    window: Window,
    parent: Window,
    origin: String,
    app_guid: String,
    last_id: Cell<u32>,
    /// Who waits for which answer.
    waiting: RefCell<Vec<(u32, Function)>>,
    /// `None` once the ticket page has answered: only the handshake may go before (zendesk.md c.3).
    queue: RefCell<Option<Vec<JsValue>>>,
    listener: RefCell<Option<Listener>>,
}

impl Zaf {
    /// A connection to the page around `window`. `None` where there is none around it.
    pub fn connect(window: &Window, origin: &str, app_guid: &str) -> Option<Rc<Self>> {
        let parent = window.parent().ok()??;
        Some(Rc::new(Self {
            window: window.clone(),
            parent,
            origin: origin.into(),
            app_guid: app_guid.into(),
            last_id: Cell::new(0),
            waiting: RefCell::default(),
            queue: RefCell::new(Some(Vec::new())),
            listener: RefCell::default(),
        }))
    }

    /// Begins to hear the ticket page, and shakes hands. `hear` gets the name and the message of every event, `app.registered` first.
    pub fn listen(self: &Rc<Self>, window: &Window, hear: impl Fn(&str, &JsValue) + 'static) {
        let zaf = Rc::downgrade(self);
        let listener = Listener::new(window, "message", move |event| {
            if let (Some(zaf), Some(event)) = (zaf.upgrade(), event.dyn_ref::<MessageEvent>())
                && let Some(data) = zaf.accept(event)
            {
                zaf.receive(&data, &hear);
            }
        });
        *self.listener.borrow_mut() = Some(listener);
        self.post(&self.signed(&[
            ("key", "iframe.handshake".into()),
            (
                "message",
                object(&[("version", env!("CARGO_PKG_VERSION").into())]),
            ),
        ]));
    }

    /// Asks for an event to be sent from now on.
    pub fn subscribe(&self, event: &str) {
        let key = ["iframe.on:", event].concat();
        self.send(self.signed(&[
            ("key", key.into()),
            ("message", object(&[("subscriberCount", 1.into())])),
        ]));
    }

    /// Several values at once, by path; those the ticket page does not have are missing. `None` without an answer.
    pub async fn get(&self, paths: &[&str]) -> Option<JsValue> {
        let params: Array = paths.iter().map(|path| JsValue::from_str(path)).collect();
        self.request("get", params.into()).await
    }

    /// Gives the frame its height.
    pub fn resize(&self, height: u32) {
        let size = object(&[
            ("width", "100%".into()),
            ("height", [&decimal(height), "px"].concat().into()),
        ]);
        self.tell("resize", &[size]);
    }

    /// Shows a passing message for some milliseconds.
    pub fn notify(&self, text: &str, kind: &str, milliseconds: i32) {
        self.tell("notify", &[text.into(), kind.into(), milliseconds.into()]);
    }

    /// Puts text at the end of the comment being written; by setting the whole text where appending is not known.
    pub async fn append_to_comment(&self, addition: &str) -> bool {
        let appended = self
            .request(
                "invoke",
                object(&[("comment.appendText", arguments(&[addition.into()]))]),
            )
            .await;
        if appended.is_some() {
            return true;
        }
        let before = self
            .get(&["comment.text"])
            .await
            .and_then(|values| member(&values, "comment.text").as_string())
            .unwrap_or_default();
        let separator = if before.is_empty() { "" } else { "\n" };
        let whole = [before.as_str(), separator, addition].concat();
        self.request("set", object(&[("comment.text", whole.into())]))
            .await
            .is_some()
    }

    /// Hears and says nothing any more.
    pub fn close(&self) {
        self.listener.take();
        self.waiting.take();
        *self.queue.borrow_mut() = Some(Vec::new());
    }

    /// The message, if it is from the ticket page: its window, under its origin. Objects and JSON text both occur (zendesk.md c.4).
    fn accept(&self, event: &MessageEvent) -> Option<JsValue> {
        let source = event.source()?;
        let is_parent = Object::is(source.as_ref(), self.parent.as_ref());
        if !is_parent || event.origin() != self.origin {
            return None;
        }
        let data = event.data();
        match data.as_string() {
            Some(json) => JSON::parse(&json).ok(),
            None => data.is_object().then_some(data),
        }
    }

    fn receive(&self, data: &JsValue, hear: &impl Fn(&str, &JsValue)) {
        if let Some(key) = member(data, "key").as_string() {
            let Some(name) = key.strip_prefix("zaf.") else {
                return;
            };
            if name == "app.registered" {
                for message in self.queue.take().unwrap_or_default() {
                    self.post(&message);
                }
            }
            hear(name, &member(data, "message"));
        } else {
            let id = member(data, "id");
            let mut waiting = self.waiting.borrow_mut();
            if let Some(index) = waiting.iter().position(|(known, _)| id == *known) {
                let (_, resolve) = waiting.swap_remove(index);
                drop(waiting);
                let _ = resolve.call1(&JsValue::NULL, data);
            }
        }
    }

    /// Asks, and waits for the result. `None`: no answer in time, an error, or a result of errors only.
    async fn request(&self, kind: &str, params: JsValue) -> Option<JsValue> {
        let (id, message) = self.numbered(kind, params);
        let promise = Promise::new(&mut |resolve, _| {
            let _ = self
                .window
                .set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, PATIENCE);
            self.waiting.borrow_mut().push((id, resolve));
        });
        self.send(message);
        let answer = JsFuture::from(promise).await.ok()?;
        self.waiting
            .borrow_mut()
            .retain(|(waiting, _)| *waiting != id);
        let result = member(&answer, "result");
        let refused = answer.is_undefined() || !member(&answer, "error").is_undefined();
        let errors = member(&result, "errors");
        let failed = kind != "get"
            && errors.is_object()
            && Object::keys(errors.unchecked_ref::<Object>()).length() > 0;
        (!refused && !failed).then_some(result)
    }

    /// Invokes without caring for the answer.
    fn tell(&self, action: &str, with: &[JsValue]) {
        let (_, message) = self.numbered("invoke", object(&[(action, arguments(with))]));
        self.send(message);
    }

    fn numbered(&self, kind: &str, params: JsValue) -> (u32, JsValue) {
        let id = self.last_id.get() + 1;
        self.last_id.set(id);
        (
            id,
            self.signed(&[
                ("id", id.into()),
                ("request", kind.into()),
                ("params", params),
            ]),
        )
    }

    /// The message with our name under it, as JSON text.
    fn signed(&self, members: &[(&str, JsValue)]) -> JsValue {
        let message = object(members);
        for name in ["appGuid", "instanceGuid"] {
            let _ = Reflect::set(&message, &name.into(), &self.app_guid.as_str().into());
        }
        JSON::stringify(&message).map_or(JsValue::NULL, Into::into)
    }

    fn send(&self, message: JsValue) {
        match &mut *self.queue.borrow_mut() {
            Some(queue) if queue.len() < QUEUE_LIMIT => queue.push(message),
            Some(_) => {}
            None => self.post(&message),
        }
    }

    fn post(&self, message: &JsValue) {
        let _ = self.parent.post_message(message, &self.origin);
    }
}

/// Calls `act` once, after some milliseconds.
pub fn after(window: &Window, milliseconds: i32, act: impl FnOnce() + 'static) {
    let callback = Closure::once_into_js(act);
    let _ = window.set_timeout_with_callback_and_timeout_and_arguments_0(
        callback.unchecked_ref(),
        milliseconds,
    );
}

fn object(members: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in members {
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object.into()
}

/// The object form of `invoke` takes a list for each action (zendesk.md c.4).
fn arguments(values: &[JsValue]) -> JsValue {
    values.iter().cloned().collect::<Array>().into()
}
