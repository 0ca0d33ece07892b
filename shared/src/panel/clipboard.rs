//! Text onto the clipboard (wasm only), also in frames which the page around denies the clipboard interface.

use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Document, HtmlDocument, HtmlElement, HtmlTextAreaElement};

/// Copies `text`; `false` when the browser allowed neither way.
pub async fn copy(text: &str) -> bool {
    let Some(window) = web_sys::window() else {
        return false;
    };
    let clipboard = window.navigator().clipboard();
    // Absent where the page is not a secure context.
    let present = !AsRef::<JsValue>::as_ref(&clipboard).is_undefined();
    if present && JsFuture::from(clipboard.write_text(text)).await.is_ok() {
        return true;
    }
    window
        .document()
        .and_then(|document| copy_selection(&document, text))
        .unwrap_or(false)
}

/// The old way: by a selected text area. The keyboard goes back to where it was.
fn copy_selection(document: &Document, text: &str) -> Option<bool> {
    let before = document.active_element();
    let area: HtmlTextAreaElement = document.create_element("textarea").ok()?.dyn_into().ok()?;
    area.set_class_name("visually-hidden");
    area.set_value(text);
    document.body()?.append_child(&area).ok()?;
    area.select();
    let copied = document
        .unchecked_ref::<HtmlDocument>()
        .exec_command("copy")
        .unwrap_or(false);
    area.remove();
    if let Some(before) = before.and_then(|before| before.dyn_into::<HtmlElement>().ok()) {
        let _ = before.focus();
    }
    Some(copied)
}
