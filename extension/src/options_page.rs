//! The options page (`options.html`) in the browser: its events into the model, the screen onto the page, commands to the browser. Wasm only.

use std::cell::RefCell;
use std::rc::Rc;

use deskbridge_shared::panel::answers::member;
use deskbridge_shared::panel::callbacks::Listener;
use deskbridge_shared::panel::view::Drawing;
use serde::Deserialize;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Element, HtmlElement};

use crate::json::{self, lenient};
use crate::options::screen::screen;
use crate::options::{Action, Command, Event, Facts, Field, Options};
use crate::settings::{Managed, Paired, Stored, permission_pattern};
use crate::{browser, device};

struct Page {
    root: HtmlElement,
    state: RefCell<(Options, Drawing)>,
}

/// Runs when the page has loaded the module.
pub fn start() {
    let Some(root) = browser::element("options") else { return };
    let options = Options::new(&browser::language());
    let page = Rc::new(Page { root: root.clone(), state: RefCell::new((options, Drawing::default())) });
    page.draw();
    let on = |kind: &'static str, handler: fn(&Rc<Page>, &web_sys::Event)| {
        let page = page.clone();
        Listener::new(&root, kind, move |event| handler(&page, event))
    };
    let listeners = [
        on("click", |page, event| page.press(event, "data-action")),
        on("keydown", |page, event| {
            let is_enter = member(event, "key").as_string().is_some_and(|key| key == "Enter");
            if is_enter && closest(event, "input").is_some() {
                event.prevent_default();
                page.press(event, "data-enter");
            }
        }),
        on("input", |page, event| page.fill(event, false)),
        on("change", |page, event| page.fill(event, true)),
        // What was typed and typed back raises no `change`.
        on("focusout", |page, event| page.fill(event, true)),
    ];
    // For as long as the page is there.
    std::mem::forget(listeners);
    let reader = page.clone();
    let changed = Closure::<dyn Fn()>::new(move || reader.read());
    browser::on_change(changed.as_ref().unchecked_ref::<JsValue>());
    changed.forget();
    page.read();
}

impl Page {
    fn read(self: &Rc<Self>) {
        let page = self.clone();
        spawn_local(async move {
            if let Ok(facts) = browser::facts().await
                && let Some(read) = json::read::<Read>(&facts)
            {
                page.happen(Event::Read(Box::new(read.facts())));
            }
        });
    }

    fn press(self: &Rc<Self>, event: &web_sys::Event, attribute: &str) {
        if let Some(element) = closest(event, &format!("[{attribute}]"))
            && let Some(action) = Action::from_name(&element.get_attribute(attribute).unwrap_or_default())
        {
            self.happen(Event::Pressed(action));
        }
    }

    fn fill(self: &Rc<Self>, event: &web_sys::Event, is_left: bool) {
        let Some(control) = closest(event, "[name]") else { return };
        let Some(field) = Field::from_name(&control.get_attribute("name").unwrap_or_default()) else { return };
        let value = member(&control, "value").as_string().unwrap_or_default();
        self.happen(Event::Filled(field, value, is_left));
    }

    fn happen(self: &Rc<Self>, event: Event) {
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        let commands = state.0.update(event);
        drop(state);
        self.draw();
        for command in commands {
            self.carry_out(command);
        }
    }

    fn draw(&self) {
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        let (options, drawing) = &mut *state;
        drawing.draw(&self.root, screen(options));
        if let Some(html) = browser::document().document_element() {
            let _ = html.set_attribute("lang", options.words.language());
        }
    }

    fn carry_out(self: &Rc<Self>, command: Command) {
        let page = self.clone();
        match command {
            Command::Save(stored) => spawn_local(async move {
                let json = json::write(&stored);
                page.happen(Event::Saved(browser::keep("stored", &json).await.is_ok()));
            }),
            Command::Pair { server, code, name } => spawn_local(async move {
                page.happen(Event::Paired(device::pair(&server, &code, &name).await));
            }),
            Command::Check(paired) => spawn_local(async move { page.happen(Event::Checked(device::check(&paired).await)) }),
            Command::Allow(url) => {
                // Asked for before anything is awaited: the browser wants the user's press.
                let asked = browser::ask_permission(&permission_pattern(&url).unwrap_or_default());
                spawn_local(async move { page.happen(Event::Allowed(url, asked.await)) });
            }
            Command::Disallow(url) => spawn_local(async move {
                browser::drop_permission(&permission_pattern(&url).unwrap_or_default()).await;
            }),
            Command::Forget(paired) => spawn_local(async move {
                device::forget(&paired).await;
                page.happen(Event::Forgotten);
            }),
            Command::ChangeShortcut => browser::open_shortcuts(),
        }
    }
}

/// What `assets/bridge.js` reads, as JSON.
#[derive(Deserialize)]
struct Read {
    #[serde(default, deserialize_with = "lenient")]
    stored: Stored,
    #[serde(default, deserialize_with = "lenient")]
    managed: Managed,
    #[serde(default, deserialize_with = "lenient")]
    paired: Option<Paired>,
    #[serde(default)]
    allowed: Vec<String>,
    #[serde(default)]
    shortcut: Option<String>,
}

impl Read {
    fn facts(self) -> Facts {
        Facts {
            stored: self.stored,
            managed: self.managed,
            paired: self.paired,
            allowed: self.allowed,
            shortcut: self.shortcut.filter(|shortcut| !shortcut.is_empty()),
            browser_language: browser::language(),
        }
    }
}

fn closest(event: &web_sys::Event, selector: &str) -> Option<Element> {
    event.target()?.unchecked_ref::<Element>().closest(selector).ok()?
}
