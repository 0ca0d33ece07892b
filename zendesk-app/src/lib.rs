//! The Zendesk sidebar page: puts the shared panel on a ZAF host.
//!
//! Reads what the server wrote into the page, finds out over ZAF which ticket is shown, and hands both to the panel.
//! Must not decide anything about sessions, and must not ask the server for anything: that is the panel's.
//! Empty natively; `cargo xtask build` makes the wasm.
#![cfg(target_arch = "wasm32")]

mod zaf;

use std::cell::Cell;
use std::rc::Rc;

use deskbridge_shared::panel::answers::Members;
use deskbridge_shared::panel::callbacks::after;
use deskbridge_shared::panel::fetch::FetchBackend;
use deskbridge_shared::panel::requests::Place;
use deskbridge_shared::panel::view::PanelView;
use deskbridge_shared::panel::{Done, Host, NoticeKind, answers, clipboard};
use js_sys::JSON;
use rlsf::SmallGlobalTlsf;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Document, HtmlElement};

use crate::zaf::Zaf;

/// The panel has one thread and a few thousand small pieces; the standard allocator would be a tenth of its size.
#[global_allocator]
static ALLOCATOR: SmallGlobalTlsf = SmallGlobalTlsf::new();

/// How long the ticket page may take to answer, in milliseconds.
const HOST_PATIENCE: i32 = 10_000;
/// How long a notice stays, in milliseconds.
const NOTICE_SHOWN: i32 = 5_000;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = document, js_name = getElementById)]
    fn element_of_page(id: &str) -> Option<HtmlElement>;
}

/// Runs when the page has loaded the module. A page that is not ours is left alone.
#[wasm_bindgen(start)]
pub fn start() {
    let _ = open();
}

/// Opens the panel in the page's `#panel`, with what the server wrote into `#deskbridge`, and the texts the loader put there.
fn open() -> Option<()> {
    let data = element_of_page("deskbridge")?;
    let settings = Members::of(JSON::parse(&data.text_content()?).ok()?);
    let root = element_of_page("panel")?;
    let document = root.owner_document()?;
    let window = answers::member(&document, "defaultView");
    set_color_scheme(&document, &settings.optional("color_scheme"));
    let zaf = Zaf::new(&window, settings.text("account_origin"), settings.text("app_guid"));
    let backend = Rc::new(FetchBackend::new(&settings.text("bearer")));
    let host = Rc::new(ZafHost { zaf: zaf.clone(), document: document.clone() });
    let locale = settings.optional("locale");
    let connection = settings.text("connection");
    let view = PanelView::mount(root, answers::texts(&answers::member(&data, "texts")), locale.clone(), backend, host)?;
    let sidebar = Rc::new(Sidebar { document, connection, locale, zaf: zaf.clone(), view, answered: Cell::new(false) });
    let waiting = sidebar.clone();
    after(HOST_PATIENCE, move || waiting.give_up());
    zaf.listen(window.unchecked_ref(), move |name, message| sidebar.hear(name, message));
    Some(())
}

/// The panel, and what it must know of the ticket page.
struct Sidebar {
    document: Document,
    connection: String,
    locale: String,
    zaf: Rc<Zaf>,
    view: PanelView,
    answered: Cell<bool>,
}

impl Sidebar {
    fn hear(self: &Rc<Self>, name: &str, message: &JsValue) {
        match name {
            "app.registered" => {
                for event in ["ticket.submit.done", "colorScheme.changed", "app.activated", "app.deactivated", "app.willDestroy"] {
                    self.zaf.subscribe(event);
                }
                self.look();
            }
            "ticket.submit.done" => self.look(),
            "colorScheme.changed" => {
                set_color_scheme(&self.document, &message.as_string().unwrap_or_default());
            }
            "app.activated" => self.view.set_watched(true),
            "app.deactivated" => self.view.set_watched(false),
            "app.willDestroy" => {
                self.view.close();
                self.zaf.close();
            }
            _ => {}
        }
    }

    /// Which ticket is it? Asked anew whenever it may have been saved.
    fn look(self: &Rc<Self>) {
        let sidebar = self.clone();
        let paths = ["ticket.id", "ticket.isNew", "currentUser.locale", "colorScheme"];
        self.zaf.get(&paths, move |values| {
            if let Some(values) = values {
                sidebar.see(&values);
            }
        });
    }

    fn see(&self, values: &JsValue) {
        self.answered.set(true);
        let scheme = answers::member(values, "colorScheme");
        if let Some(scheme) = scheme.as_string().or_else(|| answers::member(&scheme, "colorScheme").as_string()) {
            set_color_scheme(&self.document, &scheme);
        }
        let ticket = identifier(&answers::member(values, "ticket.id"));
        let is_new = answers::member(values, "ticket.isNew").is_truthy();
        let locale = answers::member(values, "currentUser.locale").as_string();
        let locale = locale.unwrap_or_else(|| self.locale.clone());
        match ticket {
            Some(ticket) if !is_new => self.view.show_ticket(Place { connection: self.connection.clone(), ticket }, locale),
            _ => self.view.show_unsaved(),
        }
    }

    fn give_up(&self) {
        if !self.answered.get() {
            self.view.show_no_host();
        }
    }
}

/// Zendesk's ids are numbers; ours are text.
fn identifier(id: &JsValue) -> Option<String> {
    let id = if id.as_f64().is_some() { JSON::stringify(id).ok()?.into() } else { id.clone() };
    id.as_string().filter(|id| !id.is_empty())
}

/// Only the two schemes the style sheet knows.
fn set_color_scheme(document: &Document, scheme: &str) {
    if let Some(html) = document.document_element()
        && matches!(scheme, "light" | "dark")
    {
        let _ = html.set_attribute("data-scheme", scheme);
    }
}

/// The ticket page as the panel's host.
struct ZafHost {
    zaf: Rc<Zaf>,
    document: Document,
}

impl Host for ZafHost {
    fn resize(&self, height: u32) {
        self.zaf.resize(height);
    }

    fn notify(&self, text: &str, kind: NoticeKind) {
        let kind = match kind {
            NoticeKind::Done => "notice",
            NoticeKind::Fault => "error",
        };
        self.zaf.notify(text, kind, NOTICE_SHOWN);
    }

    fn insert_into_reply(&self, text: String, done: Done<bool>) {
        self.zaf.append_to_comment(text, done);
    }

    fn copy(&self, text: String, done: Done<bool>) {
        clipboard::copy(&self.document, text, done);
    }
}
