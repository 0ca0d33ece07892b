//! Puts the panel on a page (wasm only): events of the page into the model, the screen onto the page, commands to the host and the server.
//! Decides nothing. Uses no `innerHTML`, no inline style and no inline script, so that it runs under the strictest CSP.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use js_sys::Date;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Document, Element, EventTarget, HtmlElement, Node};

use super::answers::{member, object, set};
use super::callbacks::{Interval, Listener, SizeWatch};
use super::element::Element as Described;
use super::model::{Action, Command, Deed, Event, Field, Panel};
use super::requests::{Call, Place, Request};
use super::screen::{self, Surroundings, screen};
use super::texts::{Texts, join};
use super::{Answer, Backend, Done, Host, RECORDS_IN_PAGE, SessionsSummary, answers};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = open)]
    fn open_window(url: &str, target: &str) -> Result<JsValue, JsValue>;
}

/// Clocks this many milliseconds apart agree: the answer's way and whole seconds make up for as much.
const SKEW_IGNORED: i64 = 30_000;

/// A panel on a page.
#[derive(Clone)]
pub struct PanelView(Rc<Inner>);

struct Inner {
    root: HtmlElement,
    document: Document,
    state: RefCell<State>,
    backend: Rc<dyn Backend>,
    host: Rc<dyn Host>,
    /// The server's clock less ours, in milliseconds.
    skew: Cell<i64>,
    host_shows: Cell<bool>,
    height: Cell<i32>,
    summary: Cell<Option<SessionsSummary>>,
    kept: Cell<Option<Kept>>,
}

struct State {
    panel: Panel,
    shown: Vec<Shown>,
}

/// What leaves the page with the panel.
struct Kept {
    _listeners: [Listener; 5],
    _interval: Interval,
    _size_watch: Option<SizeWatch>,
}

impl PanelView {
    /// Draws a panel into `root`, which it owns from now on. `None` without a document.
    pub fn mount(root: HtmlElement, texts: Texts, locale: String, backend: Rc<dyn Backend>, host: Rc<dyn Host>) -> Option<Self> {
        let inner = Rc::new(Inner {
            document: root.owner_document()?,
            root,
            state: RefCell::new(State { panel: Panel::new(texts, locale), shown: Vec::new() }),
            backend,
            host,
            skew: Cell::new(0),
            host_shows: Cell::new(true),
            height: Cell::new(0),
            summary: Cell::default(),
            kept: Cell::new(None),
        });
        inner.kept.set(Some(inner.listen()));
        inner.happen(Event::Tick);
        Some(Self(inner))
    }

    /// The host shows this ticket to an agent of that language; empty: not known.
    pub fn show_ticket(&self, place: Place, locale: String) {
        self.0.happen(Event::Ticket { place, locale });
    }

    /// The customer's e-mail address, where the page has one.
    pub fn set_recipient(&self, address: Option<String>) {
        self.0.happen(Event::Recipient(address));
    }

    /// The host shows a ticket that is not saved yet.
    pub fn show_unsaved(&self) {
        self.0.happen(Event::Unsaved);
    }

    /// The host may show another ticket from now on, and is asked which.
    pub fn doubt_ticket(&self) {
        self.0.happen(Event::InDoubt);
    }

    /// The host does not answer.
    pub fn show_no_host(&self) {
        self.0.happen(Event::NoHost);
    }

    /// The host answered that it cannot name its ticket.
    pub fn show_host_refused(&self) {
        self.0.happen(Event::HostRefused);
    }

    /// The host put the panel into sight, or out of it.
    pub fn set_watched(&self, watched: bool) {
        self.0.host_shows.set(watched);
        self.0.watch();
    }

    /// Whether the panel is at its work, or about to be.
    pub fn is_at_work(&self) -> bool {
        self.0.state.try_borrow().is_ok_and(|state| state.panel.is_at_work())
    }

    /// Takes everything off the page: nodes, listeners, timers.
    pub fn close(&self) {
        self.0.kept.take();
        self.0.root.set_text_content(None);
    }
}

impl Inner {
    fn listen(self: &Rc<Self>) -> Kept {
        let on = |target: &EventTarget, kind: &'static str, handler: fn(&Rc<Self>, &web_sys::Event)| {
            let weak = Rc::downgrade(self);
            Listener::new(target, kind, move |event| {
                if let Some(inner) = weak.upgrade() {
                    handler(&inner, event);
                }
            })
        };
        let listeners = [
            on(&self.root, "click", |inner, event| inner.press(event, "data-action")),
            on(&self.root, "keydown", Self::key_pressed),
            on(&self.root, "input", Self::filled),
            // For what changes a selection without typing, such as a browser's form filler.
            on(&self.root, "change", Self::filled),
            on(&self.document, "visibilitychange", |inner, _| inner.watch()),
        ];
        let tick = with(self, |inner| {
            if inner.is_watched() || inner.has_untold() {
                inner.happen(Event::Tick);
            }
        });
        let measure = with(self, |inner| {
            let height = inner.root.offset_height();
            if inner.height.replace(height) != height {
                inner.host.resize(height.unsigned_abs());
            }
        });
        Kept { _listeners: listeners, _interval: Interval::new(1000, tick), _size_watch: SizeWatch::new(&self.root, measure) }
    }

    /// Presses the button whose name the closest element around has in `attribute`.
    fn press(self: &Rc<Self>, event: &web_sys::Event, attribute: &str) {
        let Some(element) = closest(event, &join(&["[", attribute, "]"])) else { return };
        let name = element.get_attribute(attribute).unwrap_or_default();
        if let Some(action) = Action::from_name(&name) {
            self.happen(Event::Pressed(action));
        } else if let Some(deed) = Deed::from_name(&name) {
            self.happen(Event::Done(deed, element.get_attribute("data-id").unwrap_or_default()));
        }
    }

    /// Enter in a text field presses the section's button. No `<form>`: a frame's sandbox may forbid submitting one.
    fn key_pressed(self: &Rc<Self>, event: &web_sys::Event) {
        let is_enter = member(event, "key").as_string().is_some_and(|key| key == "Enter");
        if is_enter && !member(event, "isComposing").is_truthy() && closest(event, "input").is_some() {
            event.prevent_default();
            self.press(event, "data-enter");
        }
    }

    fn filled(self: &Rc<Self>, event: &web_sys::Event) {
        let Some(control) = closest(event, "[name]") else { return };
        let attribute = |name| control.get_attribute(name).unwrap_or_default();
        let Some(field) = Field::from_name(&attribute("name")) else { return };
        let mut value = member(&control, "value").as_string().unwrap_or_default();
        if attribute("type") == "checkbox" {
            value = if member(&control, "checked").is_truthy() { "true" } else { "" }.into();
        }
        self.happen(Event::Filled(field, value));
    }

    /// Whether a confirmation is to be sent again, which needs nobody to look.
    fn has_untold(&self) -> bool {
        RECORDS_IN_PAGE && self.state.try_borrow().is_ok_and(|state| state.panel.has_untold())
    }

    fn is_watched(&self) -> bool {
        self.host_shows.get() && !self.document.hidden()
    }

    fn watch(self: &Rc<Self>) {
        self.happen(Event::Watched(self.is_watched()));
    }

    fn now(&self) -> i64 {
        whole_milliseconds(Date::now()).unwrap_or(0) + self.skew.get()
    }

    fn happen(self: &Rc<Self>, event: Event) {
        // Drawing raises no event we listen to; one that came all the same would be too much.
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        let command = state.panel.update(event, self.now());
        let summary = state.panel.sessions_summary();
        self.draw(&mut state);
        drop(state);
        if self.summary.replace(summary) != summary
            && let Some(summary) = summary
        {
            self.host.tell_sessions(summary);
        }
        if let Some(command) = command {
            self.carry_out(command);
            // What else is due.
            self.happen(Event::Tick);
        }
    }

    fn carry_out(self: &Rc<Self>, command: Command) {
        match command {
            Command::Call(call) => self.call(call),
            Command::Copy(part, text) => {
                self.host.copy(text, self.done(move |copied| Event::Copied(part, copied)));
            }
            Command::Look => self.host.look(),
            Command::Insert(text) => {
                let inserted = self.done(Event::Inserted);
                let (inner, visit) = (Rc::downgrade(self), self.visit());
                // An answer about another ticket than the one shown now is nobody's.
                let done = move |insertion| {
                    if inner.upgrade().is_some_and(|inner| inner.visit() == visit) {
                        inserted(insertion);
                    }
                };
                self.host.insert_into_reply(text, Box::new(done));
            }
            Command::Open(url) => self.happen(Event::Opened(open(&url))),
            Command::OpenRecording(lsid, url) => {
                if !open(&url) {
                    self.happen(Event::RecordingBlocked(lsid, url));
                }
            }
            Command::Notify(text, kind) => self.host.notify(&text, kind),
            Command::PostNote(lsid, note) => {
                if RECORDS_IN_PAGE {
                    self.host.post_note(note, self.done(move |result| Event::NotePosted(lsid, result)));
                }
            }
            Command::ReloadPage => self.host.reload_page(),
            Command::OpenSettings => self.host.open_settings(),
            Command::Focus(field) => {
                if let Some(control) = self.document.get_element_by_id(&screen::field_id(field)) {
                    focus(&control);
                }
            }
        }
    }

    fn call(self: &Rc<Self>, call: Call) {
        let Ok(state) = self.state.try_borrow() else { return };
        let Some(place) = state.panel.place.clone() else { return };
        let request = Request::new(&call, &place, &state.panel.agent_locale);
        let visit = Some(state.panel.loads);
        drop(state);
        let weak = Rc::downgrade(self);
        let asked_at = Date::now();
        let done = move |answer: Answer| {
            let Some(inner) = weak.upgrade() else { return };
            if let Some(server_time) = answer.server_time {
                let skew = server_time - whole_milliseconds(Date::now()).unwrap_or(server_time);
                inner.skew.set(if skew.abs() < SKEW_IGNORED { 0 } else { skew });
            }
            // An answer about another ticket than the one shown now is nobody's; nor is one from before the agent left this one and came back.
            if inner.visit() == visit {
                inner.happen(answers::event(call, &answer, asked_at));
            }
        };
        self.backend.call(request, Box::new(done));
    }

    fn done<T: 'static>(self: &Rc<Self>, event: impl FnOnce(T) -> Event + 'static) -> Done<T> {
        let weak = Rc::downgrade(self);
        Box::new(move |outcome| {
            if let Some(inner) = weak.upgrade() {
                inner.happen(event(outcome));
            }
        })
    }

    /// The number of the model that the panel works with or waits for. `None` without a ticket.
    fn visit(&self) -> Option<u32> {
        let state = self.state.try_borrow().ok()?;
        state.panel.place.is_some().then_some(state.panel.loads)
    }

    fn draw(&self, state: &mut State) {
        let panel = &state.panel;
        let local_time = |time: &str| local_time(time, &panel.locale);
        let tree = screen(panel, &Surroundings { now: self.now(), local_time: &local_time });
        let focused = self.focused_section();
        patch_children(&self.document, &self.root, &mut state.shown, vec![tree]);
        // Where the keyboard's place has gone, it goes to what held it, not to the top of the page.
        if let Some(section) = focused
            && self.focused_section().is_none()
        {
            focus(&section);
        }
        if let Some(html) = self.document.document_element() {
            let _ = html.set_attribute("lang", &panel.locale);
        }
    }

    /// The section (or the whole panel) that has the keyboard.
    fn focused_section(&self) -> Option<Element> {
        let focused = self.document.active_element()?;
        if !self.root.contains(Some(&focused)) {
            return None;
        }
        focused.closest(".card,.panel").ok()?
    }
}

/// A handler that does not keep the panel alive.
fn with(inner: &Rc<Inner>, handler: fn(&Rc<Inner>)) -> impl Fn() + 'static {
    let weak: Weak<Inner> = Rc::downgrade(inner);
    move || {
        if let Some(inner) = weak.upgrade() {
            handler(&inner);
        }
    }
}

/// The time of day, with the date unless it is today's. Empty for what is no time.
fn local_time(time: &str, locale: &str) -> String {
    let date = Date::new(&time.into());
    if date.get_time().is_nan() {
        return String::new();
    }
    let options = object("timeStyle", &"short".into());
    if date.to_date_string() != Date::new_0().to_date_string() {
        set(&options, "dateStyle", &"short".into());
    }
    date.to_locale_string(locale, &options).into()
}

/// A JavaScript time as a whole number; `None` for what is no time.
pub(super) fn whole_milliseconds(time: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "JavaScript's times fit; the fraction is not wanted")]
    (!time.is_nan()).then_some(time as i64)
}

/// Elements drawn into a node the panel does not own: what hosts show beside it, or in its place.
#[derive(Default)]
pub struct Drawing(Vec<Shown>);

impl Drawing {
    /// Makes the inside of `root` look like `tree`, touching only what differs from the last time.
    pub fn draw(&mut self, root: &HtmlElement, tree: Described) {
        if let Some(document) = root.owner_document() {
            patch_children(&document, root, &mut self.0, vec![tree]);
        }
    }
}

/// An element on the page, and what it was drawn from (its children apart).
struct Shown {
    element: Described,
    node: Element,
    children: Vec<Shown>,
}

/// Makes the node look like `element`, touching only what differs.
fn patch(document: &Document, shown: &mut Shown, mut element: Described) {
    let node = &shown.node;
    for (name, value) in &element.attributes {
        if shown.element.get(name) != Some(value.as_str()) {
            let _ = node.set_attribute(name, value);
        }
    }
    for (name, _) in &shown.element.attributes {
        if element.get(name).is_none() {
            let _ = node.remove_attribute(name);
        }
    }
    if shown.element.text != element.text {
        node.set_text_content(Some(&element.text));
    }
    patch_children(document, node, &mut shown.children, std::mem::take(&mut element.children));
    // After the children: a selection needs its options first.
    if let Some(value) = &element.value
        && member(node, "value").as_string().as_ref() != Some(value)
    {
        set(node, "value", &JsValue::from_str(value));
    }
    if let Some(checked) = element.checked {
        set(node, "checked", &JsValue::from_bool(checked));
    }
    shown.element = element;
}

/// Children keep their node while they keep tag and key. What is gone goes first, so that what stays need not move: a moved node loses the keyboard.
fn patch_children(document: &Document, parent: &Node, shown: &mut Vec<Shown>, elements: Vec<Described>) {
    let same = |shown: &Shown, element: &Described| shown.element.key == element.key && shown.element.tag == element.tag;
    shown.retain(|old| {
        let stays = elements.iter().any(|element| same(old, element));
        if !stays {
            old.node.remove();
        }
        stays
    });
    let mut before: Vec<Option<Shown>> = std::mem::take(shown).into_iter().map(Some).collect();
    let mut place = parent.first_child();
    for element in elements {
        let old = before.iter_mut().find(|old| old.as_ref().is_some_and(|old| same(old, &element))).and_then(Option::take);
        let mut child = match old {
            Some(old) => old,
            None => match document.create_element(element.tag) {
                Ok(node) => Shown { element: element.bare(), node, children: Vec::new() },
                Err(_) => continue,
            },
        };
        patch(document, &mut child, element);
        if child.node.is_same_node(place.as_ref()) {
            place = child.node.next_sibling();
        } else {
            let _ = parent.insert_before(&child.node, place.as_ref());
        }
        shown.push(child);
    }
}

/// Opens a URL beside the page; `false` if the browser did not: a pop-up blocker, or a frame that may not. What becomes of the URL is not known.
/// Not with `noopener`, with which a browser never says; the new page gets no opener all the same.
fn open(url: &str) -> bool {
    let opened = open_window(url, "_blank").ok().filter(JsValue::is_object);
    if let Some(window) = &opened {
        set(window, "opener", &JsValue::NULL);
    }
    opened.is_some()
}

fn closest(event: &web_sys::Event, selector: &str) -> Option<Element> {
    event.target()?.unchecked_ref::<Element>().closest(selector).ok()?
}

fn focus(element: &Element) {
    let _ = element.unchecked_ref::<HtmlElement>().focus();
}
