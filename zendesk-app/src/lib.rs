//! The Zendesk sidebar page: puts the shared panel on a ZAF host.
//!
//! Reads what the server wrote into the page, finds out over ZAF which ticket is shown, and hands both to the panel.
//! Must not decide anything about sessions, and must not ask the server for anything: that is the panel's.
//! Empty natively; `cargo xtask build` makes the wasm.
#![cfg(target_arch = "wasm32")]

mod zaf;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use deskbridge_shared::panel::answers::Members;
use deskbridge_shared::panel::fetch::FetchBackend;
use deskbridge_shared::panel::requests::Place;
use deskbridge_shared::panel::view::PanelView;
use deskbridge_shared::panel::{Host, LocalFuture, NoticeKind, answers, clipboard};
use js_sys::JSON;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue, UnwrapThrowExt};
use wasm_bindgen_futures::spawn_local;
use web_sys::{Document, HtmlElement, Window};

use crate::zaf::Zaf;

/// How long the ticket page may take to answer, in milliseconds.
const HOST_PATIENCE: i32 = 10_000;
/// How long a notice stays, in milliseconds.
const NOTICE_SHOWN: i32 = 5_000;

/// Runs when the page has loaded the module.
#[wasm_bindgen(start)]
pub fn start() {
    let window = web_sys::window().expect_throw("a window");
    let document = window.document().expect_throw("a document");
    let page = Page::read(&document).expect_throw("the page's settings");
    set_color_scheme(&document, &page.color_scheme);
    let root = root(&document).expect_throw("a body");
    open(&window, &document, root, page).expect_throw("a frame");
}

/// What the server wrote into the page.
struct Page {
    bearer: String,
    connection: String,
    account_origin: String,
    app_guid: String,
    color_scheme: String,
    locale: String,
    texts: JsValue,
}

impl Page {
    fn read(document: &Document) -> Option<Self> {
        let json = document.get_element_by_id("deskbridge")?.text_content()?;
        let settings = Members::of(JSON::parse(&json).ok()?);
        let page = Self {
            bearer: settings.text("bearer"),
            connection: settings.text("connection"),
            account_origin: settings.text("account_origin"),
            app_guid: settings.text("app_guid"),
            color_scheme: settings.text("color_scheme"),
            locale: settings.text("locale"),
            texts: settings.get("texts"),
        };
        settings.complete().then_some(page)
    }
}

/// The page's `#panel`, or a new one.
fn root(document: &Document) -> Option<HtmlElement> {
    if let Some(root) = document.get_element_by_id("panel") {
        return root.dyn_into().ok();
    }
    let root = document.create_element("main").ok()?;
    document.body()?.append_child(&root).ok()?;
    root.dyn_into().ok()
}

fn open(window: &Window, document: &Document, root: HtmlElement, page: Page) -> Option<()> {
    let zaf = Zaf::connect(window, &page.account_origin, &page.app_guid)?;
    let view = PanelView::mount(
        root,
        answers::texts(&page.texts),
        page.locale.clone(),
        Rc::new(FetchBackend::new(&page.bearer)),
        Rc::new(ZafHost(zaf.clone())),
    )?;
    let sidebar = Rc::new(Sidebar {
        document: document.clone(),
        connection: page.connection,
        locale: page.locale,
        zaf: zaf.clone(),
        view: RefCell::new(Some(view)),
        answered: Cell::new(false),
    });
    zaf::after(window, HOST_PATIENCE, {
        let sidebar = sidebar.clone();
        move || sidebar.give_up()
    });
    zaf.listen(window, move |name, message| sidebar.hear(name, message));
    Some(())
}

/// The panel, and what it must know of the ticket page.
struct Sidebar {
    document: Document,
    connection: String,
    locale: String,
    zaf: Rc<Zaf>,
    view: RefCell<Option<PanelView>>,
    answered: Cell<bool>,
}

impl Sidebar {
    fn hear(self: &Rc<Self>, name: &str, message: &JsValue) {
        match name {
            "app.registered" => {
                for event in [
                    "ticket.submit.done",
                    "colorScheme.changed",
                    "app.activated",
                    "app.deactivated",
                    "app.willDestroy",
                ] {
                    self.zaf.subscribe(event);
                }
                self.look();
            }
            "ticket.submit.done" => self.look(),
            "colorScheme.changed" => {
                set_color_scheme(&self.document, &message.as_string().unwrap_or_default());
            }
            "app.activated" => self.with_view(|view| view.set_watched(true)),
            "app.deactivated" => self.with_view(|view| view.set_watched(false)),
            "app.willDestroy" => {
                if let Some(view) = self.view.take() {
                    view.close();
                }
                self.zaf.close();
            }
            _ => {}
        }
    }

    /// Which ticket is it? Asked anew whenever it may have been saved.
    fn look(self: &Rc<Self>) {
        let sidebar = self.clone();
        spawn_local(async move {
            let Some(values) = sidebar
                .zaf
                .get(&[
                    "ticket.id",
                    "ticket.isNew",
                    "currentUser.locale",
                    "colorScheme",
                ])
                .await
            else {
                return;
            };
            sidebar.answered.set(true);
            let scheme = answers::member(&values, "colorScheme");
            if let Some(scheme) = scheme
                .as_string()
                .or_else(|| answers::member(&scheme, "colorScheme").as_string())
            {
                set_color_scheme(&sidebar.document, &scheme);
            }
            let ticket = identifier(&answers::member(&values, "ticket.id"));
            let is_new = answers::member(&values, "ticket.isNew").is_truthy();
            let locale = answers::member(&values, "currentUser.locale")
                .as_string()
                .unwrap_or_else(|| sidebar.locale.clone());
            sidebar.with_view(|view| match ticket {
                Some(ticket) if !is_new => view.show_ticket(
                    Place {
                        connection: sidebar.connection.clone(),
                        ticket,
                    },
                    locale,
                ),
                _ => view.show_unsaved(),
            });
        });
    }

    fn give_up(&self) {
        if !self.answered.get() {
            self.with_view(PanelView::show_no_host);
        }
    }

    fn with_view(&self, act: impl FnOnce(&PanelView)) {
        let view = self.view.borrow().clone();
        if let Some(view) = view {
            act(&view);
        }
    }
}

/// Zendesk's ids are numbers; ours are text.
fn identifier(id: &JsValue) -> Option<String> {
    let text = match id.as_string() {
        Some(text) => text,
        None => id.as_f64().and_then(|_| JSON::stringify(id).ok())?.into(),
    };
    (!text.is_empty()).then_some(text)
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
struct ZafHost(Rc<Zaf>);

impl Host for ZafHost {
    fn resize(&self, height: u32) {
        self.0.resize(height);
    }

    fn notify(&self, text: &str, kind: NoticeKind) {
        let kind = match kind {
            NoticeKind::Done => "notice",
            NoticeKind::Fault => "error",
        };
        self.0.notify(text, kind, NOTICE_SHOWN);
    }

    fn insert_into_reply(&self, text: String) -> LocalFuture<bool> {
        let zaf = self.0.clone();
        Box::pin(async move { zaf.append_to_comment(&text).await })
    }

    fn copy(&self, text: String) -> LocalFuture<bool> {
        Box::pin(async move { clipboard::copy(&text).await })
    }
}
