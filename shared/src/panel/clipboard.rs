//! Text onto the clipboard (wasm only), also in frames which the page around denies the clipboard interface.

use js_sys::Promise;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Document, HtmlDocument, HtmlElement, HtmlTextAreaElement};

use super::Done;
use super::callbacks::when;

#[wasm_bindgen]
extern "C" {
    /// Fails where the page is not a secure context.
    #[wasm_bindgen(catch, js_namespace = ["navigator", "clipboard"], js_name = writeText)]
    fn write_text(text: &str) -> Result<Promise, JsValue>;
}

/// Copies `text`; `false` when the browser allowed neither way.
pub fn copy(document: &Document, text: String, done: Done<bool>) {
    let document = document.clone();
    match write_text(&text) {
        Ok(written) => when(&written, move |written| done(written.is_some() || copy_selection(&document, &text))),
        Err(_) => done(copy_selection(&document, &text)),
    }
}

/// The old way: by a selected text area. The keyboard goes back to where it was.
fn copy_selection(document: &Document, text: &str) -> bool {
    let before = document.active_element();
    let (Some(body), Ok(area)) = (document.body(), document.create_element("textarea")) else { return false };
    let area: HtmlTextAreaElement = area.unchecked_into();
    area.set_class_name("visually-hidden");
    area.set_value(text);
    let _ = body.append_child(&area);
    area.select();
    let copied = document.unchecked_ref::<HtmlDocument>().exec_command("copy").unwrap_or(false);
    area.remove();
    if let Some(before) = before {
        let _ = before.unchecked_ref::<HtmlElement>().focus();
    }
    copied
}
