//! The panel's page in the package (`panel.html`): asks the background whose panel it is, then puts the shared panel on it. Wasm only.
//!
//! Any site may put this page into a frame. Without a mount of its own it shows that it may not be used there, and no button.

use std::rc::Rc;

use deskbridge_shared::panel::callbacks::{Listener, after};
use deskbridge_shared::panel::element::{Element, element};
use deskbridge_shared::panel::requests::Place;
use deskbridge_shared::panel::view::{Drawing, PanelView};
use deskbridge_shared::panel::{Answer, Backend, Done, Host, Note, NoteResult, NoticeKind, clipboard};
use deskbridge_shared::routes;
use serde::Deserialize;
use serde_json::{Value, json};
use wasm_bindgen_futures::spawn_local;
use web_sys::HtmlElement;

use crate::browser;
use crate::device::{SignedBackend, Signer};
use crate::json::read;
use crate::settings::{Language, Paired};
use crate::site::osticket_note;
use crate::texts::{Word, Words, panel_texts};

/// How long a notice stays, in milliseconds.
const NOTICE_SHOWN: i32 = 5_000;

/// What the background tells a frame that brings a mount (`router::claim`).
#[derive(Deserialize)]
struct Claim {
    connection: Option<String>,
    ticket: String,
    target: Option<String>,
    dark: bool,
    language: Language,
    paired: Option<Paired>,
}

/// Runs when the page has loaded the module.
pub async fn start() {
    let Some(root) = browser::element("panel") else { return };
    let mount = browser::fragment();
    let answer = browser::ask_background(json!({ "type": "claim", "mount": mount }).to_string()).await;
    let claim = answer.ok().and_then(|json| read::<Claim>(&json));
    let browser_language = browser::language();
    let Some(claim) = claim else {
        let words = Words::of(&browser_language);
        show(&root, &words, "refused", Word::PanelRefusedTitle, Word::PanelRefusedHint, false);
        return;
    };
    let language = claim.language.tag(&browser_language).to_owned();
    let words = Words::of(&language);
    if let Some(html) = browser::document().document_element() {
        let _ = html.set_attribute("data-scheme", if claim.dark { "dark" } else { "light" });
        let _ = html.set_attribute("lang", words.language());
    }
    let fail = |name: &'static str, title: Word, hint: Word| {
        show(&root, &words, name, title, hint, true);
        browser::tell_height(root.offset_height().unsigned_abs());
    };
    let Some(paired) = &claim.paired else {
        return fail("unpaired", Word::PanelUnpairedTitle, Word::PanelUnpairedHint);
    };
    let Some(connection) = &claim.connection else {
        return fail("no-connection", Word::PanelNoConnectionTitle, Word::PanelNoConnectionHint);
    };
    let Some(signer) = Signer::of(paired).await else {
        return fail("key-gone", Word::PanelKeyGoneTitle, Word::PanelKeyGoneHint);
    };
    let backend = Prefilling { inner: SignedBackend(Rc::new(signer)), target: claim.target.clone() };
    let host = Rc::new(FrameHost { mount });
    let Some(view) = PanelView::mount(root, panel_texts(&language), language.clone(), Rc::new(backend), host) else { return };
    view.show_ticket(Place { connection: connection.clone(), ticket: claim.ticket.clone() }, language);
    // For as long as the page is there.
    std::mem::forget(view);
}

/// A message in place of the panel; with a way to the settings, if they can help.
fn show(root: &HtmlElement, words: &Words, name: &'static str, title: Word, hint: Word, with_settings: bool) {
    let mut message = element("div", name)
        .with("class=message")
        .attribute("data-message", name)
        .child(element("span", "icon").with("aria-hidden=true;class=icon icon-lock"))
        .child(element("h2", "title").text(words.get(title)))
        .child(element("p", "hint").with("class=hint").text(words.get(hint)));
    if with_settings {
        let button = element("button", "settings").with("class=button button-primary;type=button;data-action=settings");
        message = message.child(button.text(words.get(Word::PanelSettings)));
    }
    let panel: Element = element("div", "panel").with("class=panel;tabindex=-1").attribute("lang", words.language()).child(message);
    Drawing::default().draw(root, panel);
    let pressed = Listener::new(root, "click", |event| {
        let is_button = event.target().is_some_and(|target| {
            js_sys::Reflect::get(&target, &"localName".into()).is_ok_and(|name| name.as_string().as_deref() == Some("button"))
        });
        if is_button {
            browser::open_settings();
        }
    });
    std::mem::forget(pressed);
}

/// A press did not count, because something lay over the panel.
pub fn say_covered() {
    let language = browser::document().document_element().and_then(|html| html.get_attribute("lang")).unwrap_or_default();
    notify(Words::of(&language).get(Word::PanelCovered), NoticeKind::Fault);
}

/// Shows a notice for a moment.
fn notify(text: &str, kind: NoticeKind) {
    let Some(notice) = browser::element("notice") else { return };
    let class = match kind {
        NoticeKind::Done => "toast notice notice-done",
        NoticeKind::Fault => "toast notice notice-fault",
    };
    notice.set_class_name(class);
    notice.set_text_content(Some(text));
    let shown = text.to_owned();
    after(NOTICE_SHOWN, move || {
        // A later notice stays for its own time.
        if notice.text_content().as_deref() == Some(shown.as_str()) {
            notice.set_class_name("toast");
            notice.set_text_content(None);
        }
    });
}

/// Gives the model the machine the page names, where the server knows none.
struct Prefilling {
    inner: SignedBackend,
    target: Option<String>,
}

impl Backend for Prefilling {
    fn call(&self, request: deskbridge_shared::panel::requests::Request, done: Done<Answer>) {
        let target = self.target.clone().filter(|_| request.path.starts_with(&format!("{}?", routes::PANEL)));
        self.inner.call(
            request,
            Box::new(move |mut answer| {
                if let (Some(target), Some(mut model)) = (target, read::<Value>(&answer.body))
                    && answer.status == 200
                    && model["target"].as_str().is_none_or(str::is_empty)
                {
                    model["target"] = json!(target);
                    answer.body = model.to_string();
                }
                done(answer);
            }),
        );
    }
}

/// The ticket page around the frame, by way of the background.
struct FrameHost {
    mount: String,
}

impl Host for FrameHost {
    fn resize(&self, height: u32) {
        browser::tell_height(height);
    }

    fn notify(&self, text: &str, kind: NoticeKind) {
        notify(text, kind);
    }

    fn insert_into_reply(&self, text: String, done: Done<bool>) {
        let question = json!({ "type": "insert", "mount": self.mount, "text": text }).to_string();
        spawn_local(async move {
            let answer = browser::ask_background(question).await.ok();
            let answer = answer.and_then(|json| read::<Value>(&json));
            done(answer.is_some_and(|answer| answer["inserted"] == true));
        });
    }

    fn copy(&self, text: String, done: Done<bool>) {
        clipboard::copy(&browser::document(), text, done);
    }

    fn post_note(&self, note: Note, done: Done<NoteResult>) {
        let Note { title, html, text, marker, title_marker } = note;
        let note = json!({ "title": title, "html": html, "text": text, "marker": marker, "titleMarker": title_marker });
        let question = json!({ "type": "note", "mount": self.mount, "note": note }).to_string();
        spawn_local(async move {
            done(osticket_note::told(browser::ask_background(question).await.ok().as_deref()));
        });
    }
}
