//! The Zendesk sidebar page: puts the shared panel on a ZAF host.
//!
//! Reads what the server wrote into the page, finds out over ZAF which ticket is shown, and hands both to the panel.
//! Must not decide anything about sessions, and must not ask the server for anything: that is the panel's.
//! Empty natively; `cargo xtask build` makes the wasm.
#![cfg(target_arch = "wasm32")]

mod zaf;

use std::cell::{Cell, OnceCell};
use std::rc::{Rc, Weak};

use deskbridge_shared::panel::answers::Members;
use deskbridge_shared::panel::callbacks::after;
use deskbridge_shared::panel::fetch::FetchBackend;
use deskbridge_shared::panel::requests::Place;
use deskbridge_shared::panel::view::PanelView;
use deskbridge_shared::panel::{Done, Host, Insertion, NoticeKind, answers, clipboard};
use js_sys::JSON;
use rlsf::SmallGlobalTlsf;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Document, HtmlElement};

use crate::zaf::{Reply, Zaf, identifier, is_refused};

/// The panel has one thread and a few thousand small pieces; the standard allocator would be a tenth of its size.
#[global_allocator]
static ALLOCATOR: SmallGlobalTlsf = SmallGlobalTlsf::new();

/// When the panel says that the ticket page has not answered, in milliseconds. A later answer is taken all the same.
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
    let backend = Rc::new(FetchBackend::new(&settings.text("bearer"), settings.optional("owner")));
    let host = Rc::new(ZafHost { zaf: zaf.clone(), document: document.clone(), sidebar: OnceCell::new() });
    let locale = settings.optional("locale");
    let connection = settings.text("connection");
    let view = PanelView::mount(root, answers::texts(&answers::member(&data, "texts")), locale, backend, host.clone())?;
    let sidebar = Rc::new(Sidebar {
        document,
        connection,
        zaf: zaf.clone(),
        view,
        has_registered: Cell::new(false),
        shown: Cell::default(),
        told: Cell::default(),
        asked: Cell::new(0),
        answered: Cell::new(0),
    });
    let _ = host.sidebar.set(Rc::downgrade(&sidebar));
    sidebar.await_answer();
    zaf.listen(window.unchecked_ref(), move |name, message| sidebar.hear(name, message));
    Some(())
}

/// The panel, and what it must know of the ticket page.
struct Sidebar {
    document: Document,
    connection: String,
    zaf: Rc<Zaf>,
    view: PanelView,
    has_registered: Cell<bool>,
    /// The ticket that the panel works on.
    shown: Cell<String>,
    /// The ticket that the page has named by itself.
    told: Cell<Option<String>>,
    /// How many times the ticket page was asked, and which of these its latest answer was to.
    asked: Cell<u32>,
    answered: Cell<u32>,
}

impl Sidebar {
    fn hear(self: &Rc<Self>, name: &str, message: &JsValue) {
        match name {
            "app.registered" => {
                if !self.has_registered.replace(true) {
                    for event in EVENTS {
                        self.zaf.subscribe(event);
                    }
                }
                self.take_context(&answers::member(message, "context"));
                self.look();
            }
            "context.updated" => {
                self.take_context(message);
                self.look();
            }
            "ticket.submit.done" => self.look(),
            "colorScheme.changed" => {
                set_color_scheme(&self.document, &message.as_string().unwrap_or_default());
            }
            "app.activated" => {
                self.view.set_watched(true);
                // At first it is the ticket that the page has named just now, if any.
                if !answers::member(message, "firstLoad").is_truthy() {
                    self.doubt();
                }
                self.look();
            }
            "app.deactivated" => self.view.set_watched(false),
            "app.willDestroy" => {
                self.view.close();
                self.zaf.close();
            }
            _ => {}
        }
    }

    /// The ticket as the context has it (zendesk.md c.5); a new ticket has none there.
    fn take_context(&self, context: &JsValue) {
        let ticket = identifier(&answers::member(context, "ticketId"));
        self.told.replace(ticket.clone());
        self.doubt();
        if let Some(ticket) = ticket {
            // The server knows the agent's language.
            self.show(ticket, String::new());
        }
    }

    /// The page may show another ticket from now on. Answers to what was asked before this are older than it.
    fn doubt(&self) {
        self.answered.set(self.asked.get());
        self.view.doubt_ticket();
    }

    /// Which ticket is it? Asked anew whenever it may have been saved, or be another one.
    fn look(self: &Rc<Self>) {
        if self.zaf.is_registered() {
            let number = self.asked.get() + 1;
            self.asked.set(number);
            let sidebar = self.clone();
            let paths = ["ticket.id", "ticket.isNew", "ticket.requester.email", "currentUser.locale", "colorScheme"];
            self.zaf.get(&paths, move |reply| {
                if number > sidebar.answered.get() {
                    sidebar.take_answer(number, &reply);
                }
            });
        } else {
            self.zaf.shake_hands();
        }
        self.await_answer();
    }

    fn take_answer(&self, number: u32, reply: &Reply) {
        let values = match reply {
            Reply::Lost => return,
            Reply::Refused => &JsValue::UNDEFINED,
            Reply::Result(values) => values,
        };
        self.answered.set(number);
        let scheme = answers::member(values, "colorScheme");
        if let Some(scheme) = scheme.as_string().or_else(|| answers::member(&scheme, "colorScheme").as_string()) {
            set_color_scheme(&self.document, &scheme);
        }
        if answers::member(values, "ticket.isNew") == JsValue::TRUE {
            // Whatever was told before is older.
            self.told.take();
            return self.view.show_unsaved();
        }
        // What the page told by itself counts where the answer says nothing.
        let ticket = identifier(&answers::member(values, "ticket.id")).or_else(|| read(&self.told));
        match ticket {
            Some(ticket) => {
                self.show(ticket, answers::member(values, "currentUser.locale").as_string().unwrap_or_default());
                self.view.set_recipient(answers::member(values, "ticket.requester.email").as_string());
            }
            None if !values.is_object() || is_refused(values, "ticket.id") => self.view.show_host_refused(),
            None => self.view.show_unsaved(),
        }
    }

    fn show(&self, ticket: String, locale: String) {
        self.shown.replace(ticket.clone());
        self.view.show_ticket(Place { connection: self.connection.clone(), ticket }, locale);
    }

    /// Says so when no answer has come to what was asked last.
    fn await_answer(self: &Rc<Self>) {
        let sidebar = self.clone();
        let asked = self.asked.get();
        after(HOST_PATIENCE, move || {
            if !sidebar.zaf.is_registered() || sidebar.answered.get() < asked {
                sidebar.view.show_no_host();
            }
        });
    }
}

/// What the ticket page is asked to tell.
const EVENTS: [&str; 6] =
    ["ticket.submit.done", "context.updated", "colorScheme.changed", "app.activated", "app.deactivated", "app.willDestroy"];

/// Only the two schemes the style sheet knows.
fn set_color_scheme(document: &Document, scheme: &str) {
    if let Some(html) = document.document_element()
        && matches!(scheme, "light" | "dark")
    {
        let _ = html.set_attribute("data-scheme", scheme);
    }
}

/// What a cell holds. A `RefCell` brings its panics along.
fn read<T: Clone + Default>(cell: &Cell<T>) -> T {
    let value = cell.take();
    cell.set(value.clone());
    value
}

/// The ticket page as the panel's host.
struct ZafHost {
    zaf: Rc<Zaf>,
    document: Document,
    sidebar: OnceCell<Weak<Sidebar>>,
}

impl Host for ZafHost {
    fn look(&self) {
        if let Some(sidebar) = self.sidebar.get().and_then(Weak::upgrade) {
            sidebar.look();
        }
    }

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

    fn insert_into_reply(&self, text: String, done: Done<Insertion>) {
        let sidebar = self.sidebar.get().and_then(Weak::upgrade);
        match sidebar.map(|sidebar| read(&sidebar.shown)) {
            Some(ticket) => self.zaf.append_to_comment(ticket, text, done),
            None => done(Insertion::Failed),
        }
    }

    fn copy(&self, text: String, done: Done<bool>) {
        clipboard::copy(&self.document, text, done);
    }
}
