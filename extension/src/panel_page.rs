//! The panel's page in the package (`panel.html`): asks the background whose panel it is, then puts the shared panel on it. Wasm only.
//!
//! Any site may put this page into a frame. Without a mount of its own it shows that it may not be used there, and no button.

use std::rc::Rc;

use deskbridge_shared::panel::callbacks::{Listener, after};
use deskbridge_shared::panel::element::{Element, element};
use deskbridge_shared::panel::requests::Place;
use deskbridge_shared::panel::view::{Drawing, PanelView};
use deskbridge_shared::panel::{Answer, Backend, Done, Host, Insertion, Note, NoteResult, NoticeKind, SessionsSummary, clipboard};
use deskbridge_shared::routes;
use serde::Deserialize;
use serde_json::{Value, json};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::HtmlElement;

use crate::browser::{self, Refused};
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
    recipient: Option<String>,
    #[serde(rename = "hasReply")]
    has_reply: bool,
    #[serde(rename = "isOverPage")]
    is_over_page: bool,
    dark: bool,
    language: Language,
    paired: Option<Paired>,
}

/// Runs when the page has loaded the module.
pub async fn start() {
    let Some(root) = browser::element("panel") else { return };
    let mount = browser::fragment();
    let answer = browser::ask_background(json!({ "type": "claim", "mount": mount }).to_string()).await;
    let browser_language = browser::language();
    let Ok(answer) = answer else {
        let words = Words::of(&browser_language);
        show_close_button(&words);
        show(&root, &words, "silent", Word::PanelSilentTitle, Word::PanelSilentHint, Some(Help::TryAgain));
        browser::tell_height(browser::page_height());
        return;
    };
    let Some(claim) = read::<Claim>(&answer) else {
        let words = Words::of(&browser_language);
        show(&root, &words, "refused", Word::PanelRefusedTitle, Word::PanelRefusedHint, None);
        return;
    };
    let language = claim.language.tag(&browser_language).to_owned();
    let words = Words::of(&language);
    if let Some(html) = browser::document().document_element() {
        let _ = html.set_attribute("data-scheme", if claim.dark { "dark" } else { "light" });
        let _ = html.set_attribute("lang", words.language());
    }
    if claim.is_over_page {
        show_close_button(&words);
    }
    let fail = |name: &'static str, title: Word, hint: Word, help: Help| {
        show(&root, &words, name, title, hint, Some(help));
        browser::tell_height(browser::page_height());
        // What the settings mend is looked at again when they have changed, in whatever tab.
        on_change(browser::reload);
    };
    let Some(paired) = &claim.paired else {
        return fail("unpaired", Word::PanelUnpairedTitle, Word::PanelUnpairedHint, Help::Settings);
    };
    let Some(connection) = &claim.connection else {
        return fail("no-connection", Word::PanelNoConnectionTitle, Word::PanelNoConnectionHint, Help::Settings);
    };
    let signer = match Signer::of(paired).await {
        Ok(Some(signer)) => signer,
        Ok(None) => return fail("key-gone", Word::PanelKeyGoneTitle, Word::PanelKeyGoneHint, Help::Settings),
        Err(Refused) => return fail("silent", Word::PanelSilentTitle, Word::PanelSilentHint, Help::TryAgain),
    };
    let backend = Prefilling { inner: SignedBackend(Rc::new(signer)), target: claim.target.clone(), has_reply: claim.has_reply };
    let host = Rc::new(FrameHost { mount });
    let Some(view) = PanelView::mount(root, panel_texts(&language), language.clone(), Rc::new(backend), host) else { return };
    view.show_ticket(Place { connection: connection.clone(), ticket: claim.ticket.clone() }, language);
    view.set_recipient(claim.recipient.clone());
    // A panel that was refused begins anew when something is set, and any panel when the browser was paired anew: its key signs no more. The view
    // stays for as long as the page is there.
    let device = paired.device.clone();
    let view = Rc::new(view);
    on_change(move || {
        let (device, view) = (device.clone(), view.clone());
        spawn_local(async move {
            if !view.is_at_work() || paired_device().await.is_some_and(|now| now != device) {
                browser::reload();
            }
        });
    });
}

/// The device this browser is paired as now.
async fn paired_device() -> Option<String> {
    let facts = read::<Value>(&browser::facts().await.ok()?)?;
    facts["paired"]["device"].as_str().map(str::to_owned)
}

/// Calls back when something that is set has changed, for as long as the page is there.
fn on_change(changed: impl Fn() + 'static) {
    let changed = Closure::<dyn Fn()>::new(changed);
    browser::on_change(changed.as_ref().unchecked_ref::<JsValue>());
    changed.forget();
}

/// What can help where the panel cannot be shown.
#[derive(Clone, Copy)]
enum Help {
    Settings,
    TryAgain,
}

/// A message in place of the panel, with a button for what can help.
fn show(root: &HtmlElement, words: &Words, name: &'static str, title: Word, hint: Word, help: Option<Help>) {
    let mut message = element("div", name)
        .with("class=message")
        .attribute("data-message", name)
        .child(element("span", "icon").with("aria-hidden=true;class=icon icon-lock"))
        .child(element("h2", "title").text(words.get(title)))
        .child(element("p", "hint").with("class=hint").text(words.get(hint)));
    if let Some(help) = help {
        let (action, word) = match help {
            Help::Settings => ("settings", Word::PanelSettings),
            Help::TryAgain => ("try-again", Word::PanelTryAgain),
        };
        let button = element("button", "help").with("class=button button-primary;type=button").attribute("data-action", action);
        message = message.child(button.text(words.get(word)));
    }
    let panel: Element = element("div", "panel").with("class=panel;tabindex=-1").attribute("lang", words.language()).child(message);
    Drawing::default().draw(root, panel);
    let pressed = Listener::new(root, "click", move |event| {
        let is_button = event.target().is_some_and(|target| {
            js_sys::Reflect::get(&target, &"localName".into()).is_ok_and(|name| name.as_string().as_deref() == Some("button"))
        });
        match help {
            Some(Help::Settings) if is_button => open_settings(),
            Some(Help::TryAgain) if is_button => browser::reload(),
            _ => {}
        }
    });
    std::mem::forget(pressed);
}

fn open_settings() {
    spawn_local(async {
        // A background that does not answer is asked again by the next press.
        let _ = browser::ask_background(json!({ "type": "settings" }).to_string()).await;
    });
}

/// A panel over the page has a bar with its name and a button that closes it; one in a card has the card's.
fn show_close_button(words: &Words) {
    let Some(bar) = browser::element("bar") else { return };
    let name = element("span", "name").with("class=bar-name").text(words.get(Word::PanelOpen));
    let close = element("button", "close")
        .with("class=bar-close;type=button;data-action=close")
        .attribute("title", words.get(Word::PanelHide))
        .attribute("aria-label", words.get(Word::PanelHide))
        .child(element("span", "cross").with("aria-hidden=true;class=icon icon-close"));
    Drawing::default().draw(&bar, element("div", "bar").with("class=bar").child(name).child(close));
    let pressed = Listener::new(&bar, "click", |event| {
        let is_close = event.target().is_some_and(|target| {
            target
                .dyn_into::<web_sys::Element>()
                .is_ok_and(|target| target.closest("[data-action='close']").is_ok_and(|found| found.is_some()))
        });
        if is_close {
            browser::tell_close();
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

/// Gives the model what only the page knows: whether a reply can be written; and the machine, where the server knows none.
struct Prefilling {
    inner: SignedBackend,
    target: Option<String>,
    has_reply: bool,
}

impl Backend for Prefilling {
    fn call(&self, request: deskbridge_shared::panel::requests::Request, done: Done<Answer>) {
        if !request.path.starts_with(&format!("{}?", routes::PANEL)) {
            return self.inner.call(request, done);
        }
        let (target, has_reply) = (self.target.clone(), self.has_reply);
        self.inner.call(
            request,
            Box::new(move |mut answer| {
                if answer.status == 200
                    && let Some(mut model) = read::<Value>(&answer.body).filter(Value::is_object)
                {
                    if model["target"].as_str().is_none_or(str::is_empty) {
                        model["target"] = json!(target);
                    }
                    model["has_reply"] = json!(has_reply);
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
    fn resize(&self, _: u32) {
        browser::tell_height(browser::page_height());
    }

    fn reload_page(&self) {
        browser::tell_reload();
    }

    fn open_settings(&self) {
        open_settings();
    }

    fn tell_sessions(&self, sessions: SessionsSummary) {
        browser::tell_sessions(sessions.is_open, sessions.has_report);
    }

    fn notify(&self, text: &str, kind: NoticeKind) {
        notify(text, kind);
    }

    fn insert_into_reply(&self, text: String, done: Done<Insertion>) {
        let question = json!({ "type": "insert", "mount": self.mount, "text": text }).to_string();
        spawn_local(async move {
            // Without an answer the text may be there all the same.
            let answer = browser::ask_background(question).await.ok().and_then(|json| read::<Value>(&json));
            done(answer.map_or(Insertion::Uncertain, |answer| (answer["inserted"] == true).into()));
        });
    }

    fn copy(&self, text: String, done: Done<bool>) {
        clipboard::copy(&browser::document(), text, done);
    }

    fn post_note(&self, note: Note, done: Done<NoteResult>) {
        let Note { title, html, text, marker, title_marker, send_until, .. } = note;
        let note =
            json!({ "title": title, "html": html, "text": text, "marker": marker, "titleMarker": title_marker, "sendUntil": send_until });
        let question = json!({ "type": "note", "mount": self.mount, "note": note }).to_string();
        spawn_local(async move {
            done(osticket_note::told(browser::ask_background(question).await.ok().as_deref()));
        });
    }
}
