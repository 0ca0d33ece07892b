//! Puts the panel on a page (wasm only): events of the page into the model, the screen onto the page, commands to the host and the server.
//! Decides nothing. Uses no `innerHTML`, no inline style and no inline script, so that it runs under the strictest CSP.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use js_sys::{Date, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Document, Element, EventTarget, HtmlElement, KeyboardEvent, Node};

use super::element::Element as Described;
use super::listen::{Interval, Listener, SizeWatch};
use super::model::{Action, Command, Event, Field, Panel};
use super::requests::{Call, Place, Request};
use super::screen::{self, Surroundings, screen};
use super::texts::Texts;
use super::{Backend, Host, answers};

/// A panel on a page.
#[derive(Clone)]
pub struct PanelView(Rc<Inner>);

struct Inner {
    root: HtmlElement,
    document: Document,
    panel: RefCell<Panel>,
    shown: RefCell<Option<Shown>>,
    backend: Rc<dyn Backend>,
    host: Rc<dyn Host>,
    /// The server's clock less ours, in milliseconds.
    skew: Cell<i64>,
    host_shows: Cell<bool>,
    height: Cell<i32>,
    listeners: RefCell<Vec<Listener>>,
    interval: Cell<Option<Interval>>,
    size_watch: RefCell<Option<SizeWatch>>,
}

impl PanelView {
    /// Draws a panel into `root`, which it owns from now on. `None` without a document.
    pub fn mount(
        root: HtmlElement,
        texts: Texts,
        locale: String,
        backend: Rc<dyn Backend>,
        host: Rc<dyn Host>,
    ) -> Option<Self> {
        let document = root.owner_document()?;
        let inner = Rc::new(Inner {
            root,
            document,
            panel: RefCell::new(Panel::new(texts, locale)),
            shown: RefCell::default(),
            backend,
            host,
            skew: Cell::new(0),
            host_shows: Cell::new(true),
            height: Cell::new(0),
            listeners: RefCell::default(),
            interval: Cell::new(None),
            size_watch: RefCell::default(),
        });
        inner.listen();
        inner.draw();
        Some(Self(inner))
    }

    /// The host shows this ticket to an agent of that language.
    pub fn show_ticket(&self, place: Place, locale: String) {
        self.0.happen(Event::Ticket { place, locale });
    }

    /// The host shows a ticket that is not saved yet.
    pub fn show_unsaved(&self) {
        self.0.happen(Event::Unsaved);
    }

    /// The host does not answer.
    pub fn show_no_host(&self) {
        self.0.happen(Event::NoHost);
    }

    /// The host put the panel into sight, or out of it.
    pub fn set_watched(&self, watched: bool) {
        self.0.host_shows.set(watched);
        self.0.watch();
    }

    /// Takes everything off the page: nodes, listeners, timers.
    pub fn close(&self) {
        self.0.listeners.take();
        self.0.interval.take();
        self.0.size_watch.take();
        self.0.shown.take();
        self.0.root.set_text_content(None);
    }
}

impl Inner {
    fn listen(self: &Rc<Self>) {
        let on =
            |target: &EventTarget, kind: &'static str, handler: fn(&Rc<Self>, &web_sys::Event)| {
                let weak = Rc::downgrade(self);
                let listener = Listener::new(target, kind, move |event| {
                    if let Some(inner) = weak.upgrade() {
                        handler(&inner, &event);
                    }
                });
                self.listeners.borrow_mut().push(listener);
            };
        on(&self.root, "click", |inner, event| {
            if let Some(button) = closest(event, "[data-action]")
                && let Some(action) = button
                    .get_attribute("data-action")
                    .and_then(|name| Action::from_name(&name))
            {
                inner.happen(Event::Pressed(action));
            }
        });
        on(&self.root, "keydown", Self::key_pressed);
        // Fired by text fields, selections, tick boxes and radio buttons alike.
        on(&self.root, "input", |inner, event| {
            if let Some(control) = closest(event, "[name]")
                && let Some(field) = control
                    .get_attribute("name")
                    .and_then(|name| Field::from_name(&name))
            {
                let is_box = control
                    .get_attribute("type")
                    .is_some_and(|kind| kind == "checkbox");
                let value = match property(&control, "checked").as_bool() {
                    Some(checked) if is_box => if checked { "yes" } else { "" }.into(),
                    _ => property(&control, "value").as_string().unwrap_or_default(),
                };
                inner.happen(Event::Filled(field, value));
            }
        });
        on(&self.document, "visibilitychange", |inner, _| inner.watch());
        self.interval.set(Interval::new(
            1000,
            with(self, |inner| {
                if inner.is_watched() {
                    inner.happen(Event::Tick);
                }
            }),
        ));
        *self.size_watch.borrow_mut() = SizeWatch::new(
            &self.root,
            with(self, |inner| {
                let height = inner.root.offset_height();
                if inner.height.replace(height) != height {
                    inner.host.resize(height.unsigned_abs());
                }
            }),
        );
    }

    /// Enter in a text field presses the section's button. No `<form>`: a frame's sandbox may forbid submitting one.
    fn key_pressed(self: &Rc<Self>, event: &web_sys::Event) {
        let Some(key) = event.dyn_ref::<KeyboardEvent>() else {
            return;
        };
        if key.key() != "Enter" || key.is_composing() || closest(event, "input").is_none() {
            return;
        }
        if let Some(section) = closest(event, "[data-enter]")
            && let Some(action) = section
                .get_attribute("data-enter")
                .and_then(|name| Action::from_name(&name))
        {
            event.prevent_default();
            self.happen(Event::Pressed(action));
        }
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
        let command = self.panel.borrow_mut().update(event, self.now());
        self.draw();
        if let Some(command) = command {
            self.carry_out(command);
        }
    }

    fn carry_out(self: &Rc<Self>, command: Command) {
        match command {
            Command::Call(call) => self.call(call),
            Command::Copy(part, text) => {
                let copied = self.host.copy(text);
                self.later(async move { Event::Copied(part, copied.await) });
            }
            Command::Insert(text) => {
                let inserted = self.host.insert_into_reply(text);
                self.later(async move { Event::Inserted(inserted.await) });
            }
            Command::Open(url) => self.open(&url),
            Command::Notify(text, kind) => self.host.notify(&text, kind),
            Command::Focus(field) => {
                if let Some(control) = self.document.get_element_by_id(&screen::field_id(field)) {
                    focus(&control);
                }
            }
        }
    }

    fn call(self: &Rc<Self>, call: Call) {
        let (request, place) = {
            let panel = self.panel.borrow();
            let Some(place) = panel.place.clone() else {
                return;
            };
            (Request::new(&call, &place, &panel.locale), place)
        };
        let answer = self.backend.call(request);
        let weak = Rc::downgrade(self);
        spawn_local(async move {
            let answer = answer.await;
            let Some(inner) = weak.upgrade() else { return };
            if let Some(server_time) = answer.server_time {
                inner.skew.set(skew(
                    server_time - whole_milliseconds(Date::now()).unwrap_or(server_time),
                ));
            }
            // An answer about another ticket than the one shown now is nobody's.
            let still_there = inner.panel.borrow().place.as_ref() == Some(&place);
            if still_there {
                inner.happen(Event::Answered(answers::read(call, &answer)));
            }
        });
    }

    fn later(self: &Rc<Self>, event: impl Future<Output = Event> + 'static) {
        let weak = Rc::downgrade(self);
        spawn_local(async move {
            let event = event.await;
            if let Some(inner) = weak.upgrade() {
                inner.happen(event);
            }
        });
    }

    /// By a link of the page's own, which pop-up blockers and sandboxes treat best.
    fn open(&self, url: &str) {
        let Ok(link) = self.document.create_element("a") else {
            return;
        };
        for (name, value) in [("href", url), ("target", "_blank"), ("rel", "noopener")] {
            let _ = link.set_attribute(name, value);
        }
        if let Some(link) = link.dyn_ref::<HtmlElement>() {
            link.click();
        }
    }

    fn draw(&self) {
        let (tree, language) = {
            let panel = self.panel.borrow();
            let local_time = |time| self.local_time(time, &panel.locale);
            (
                screen(
                    &panel,
                    &Surroundings {
                        now: self.now(),
                        local_time: &local_time,
                    },
                ),
                panel.locale.clone(),
            )
        };
        let focused_section = closest_focused(&self.document, &self.root);
        let mut shown = self.shown.borrow_mut();
        if let Some(shown) = &mut *shown {
            patch(&self.document, shown, tree);
        } else {
            let Some(new) = create(&self.document, tree) else {
                return;
            };
            let _ = self.root.append_child(&new.node);
            *shown = Some(new);
        }
        // Where the keyboard's place has gone, it goes to what held it, not to the top of the page.
        if let Some(section) = focused_section
            && closest_focused(&self.document, &self.root).is_none()
            && let Some(shown) = &*shown
        {
            focus(if section.is_connected() {
                &section
            } else {
                &shown.node
            });
        }
        if let Some(html) = self.document.document_element()
            && html.get_attribute("lang").as_deref() != Some(&language)
        {
            let _ = html.set_attribute("lang", &language);
        }
    }

    /// The time of day, with the date unless it is today's.
    fn local_time(&self, time: i64, locale: &str) -> String {
        let date = |time: i64| Date::new(&JsValue::from_f64(from_milliseconds(time)));
        let (date, today) = (date(time), date(self.now()));
        let options = Object::new();
        set(&options, "timeStyle", &"short".into());
        if date.to_date_string() != today.to_date_string() {
            set(&options, "dateStyle", &"short".into());
        }
        date.to_locale_string(locale, &options).into()
    }
}

/// A handler that does not keep the panel alive.
fn with(inner: &Rc<Inner>, handler: impl Fn(&Rc<Inner>) + 'static) -> impl FnMut() + 'static {
    let weak: Weak<Inner> = Rc::downgrade(inner);
    move || {
        if let Some(inner) = weak.upgrade() {
            handler(&inner);
        }
    }
}

/// Clocks less than half a minute apart agree: the answer's way and whole seconds make up for as much.
fn skew(milliseconds: i64) -> i64 {
    if milliseconds.abs() < 30_000 {
        0
    } else {
        milliseconds
    }
}

/// A JavaScript time as a whole number.
pub(super) fn whole_milliseconds(time: f64) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a time within eight million years of 1970 fits; the fraction is not wanted"
    )]
    (time.abs() <= 8.64e15).then_some(time as i64)
}

fn from_milliseconds(time: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^53")]
    {
        time as f64
    }
}

/// An element on the page, and what it was drawn from (its children apart).
struct Shown {
    element: Described,
    node: Element,
    children: Vec<Shown>,
}

fn create(document: &Document, element: Described) -> Option<Shown> {
    let node = document.create_element(element.tag).ok()?;
    let mut shown = Shown {
        element: element.bare(),
        node,
        children: Vec::new(),
    };
    patch(document, &mut shown, element);
    Some(shown)
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
    patch_children(
        document,
        node,
        &mut shown.children,
        std::mem::take(&mut element.children),
    );
    // After the children: a selection needs its options first.
    if let Some(value) = &element.value
        && shown.element.value != element.value
        && property(node, "value").as_string().as_ref() != Some(value)
    {
        set(node, "value", &JsValue::from_str(value));
    }
    if let Some(checked) = element.checked {
        set(node, "checked", &JsValue::from_bool(checked));
    }
    shown.element = element;
}

/// Children keep their node while they keep tag and key. What is gone goes first, so that what stays need not move: a moved node loses the keyboard.
fn patch_children(
    document: &Document,
    parent: &Node,
    shown: &mut Vec<Shown>,
    elements: Vec<Described>,
) {
    let same = |shown: &Shown, element: &Described| {
        shown.element.key == element.key && shown.element.tag == element.tag
    };
    shown.retain(|old| {
        let stays = elements.iter().any(|element| same(old, element));
        if !stays {
            old.node.remove();
        }
        stays
    });
    for (index, element) in elements.into_iter().enumerate() {
        match shown[index..].iter().position(|old| same(old, &element)) {
            Some(0) => {}
            Some(distance) => {
                let moved = shown.remove(index + distance);
                let _ = parent
                    .insert_before(&moved.node, shown.get(index).map(|next| next.node.as_ref()));
                shown.insert(index, moved);
            }
            None => {
                let Some(new) = create(document, element) else {
                    return;
                };
                let _ = parent
                    .insert_before(&new.node, shown.get(index).map(|next| next.node.as_ref()));
                shown.insert(index, new);
                continue;
            }
        }
        patch(document, &mut shown[index], element);
    }
}

fn closest(event: &web_sys::Event, selector: &str) -> Option<Element> {
    event
        .target()?
        .dyn_into::<Element>()
        .ok()?
        .closest(selector)
        .ok()?
}

/// The section (or the whole panel) that has the keyboard.
fn closest_focused(document: &Document, root: &HtmlElement) -> Option<Element> {
    let focused = document
        .active_element()
        .filter(|focused| root.contains(Some(focused)))?;
    focused.closest("[tabindex]").ok()?
}

fn focus(element: &Element) {
    if let Some(element) = element.dyn_ref::<HtmlElement>() {
        let _ = element.focus();
    }
}

fn property(node: &Element, name: &str) -> JsValue {
    Reflect::get(node, &JsValue::from_str(name)).unwrap_or(JsValue::UNDEFINED)
}

fn set(object: &JsValue, name: &str, value: &JsValue) {
    let _ = Reflect::set(object, &JsValue::from_str(name), value);
}
