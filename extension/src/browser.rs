//! What the extension asks of the browser, by name: the few functions `assets/bridge.js` offers, WebCrypto, `fetch`. Wasm only.
//! Everything that can fail answers a `Result`; nothing here decides.

use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Document, HtmlElement};

#[wasm_bindgen]
extern "C" {
    /// Keys of `storage.local`, of a policy's settings, of the runtime: see `assets/bridge.js`.
    #[wasm_bindgen(js_namespace = deskbridge)]
    pub fn read() -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge)]
    fn store(name: &str, json: &str) -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge)]
    fn send(json: &str) -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge, js_name = keepKey)]
    fn keep_key(key: &JsValue) -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge, js_name = keptKey)]
    fn kept_key() -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge)]
    fn allow(pattern: &str) -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge)]
    fn disallow(pattern: &str) -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge, js_name = openSettings)]
    pub fn open_settings();
    #[wasm_bindgen(js_namespace = deskbridge, js_name = openShortcuts)]
    pub fn open_shortcuts();
    /// Calls back whenever something stored or allowed has changed.
    #[wasm_bindgen(js_namespace = deskbridge, js_name = onChange)]
    pub fn on_change(changed: &JsValue);

    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = generateKey)]
    fn generate_key(algorithm: &JsValue, is_extractable: bool, uses: &JsValue) -> Promise;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"], js_name = exportKey)]
    fn export_key(format: &str, key: &JsValue) -> Promise;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"])]
    fn sign(algorithm: &JsValue, key: &JsValue, data: &[u8]) -> Promise;
    #[wasm_bindgen(js_namespace = ["crypto", "subtle"])]
    fn digest(algorithm: &str, data: &[u8]) -> Promise;
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn random_values(into: &Uint8Array);

    fn fetch(url: &str, options: &JsValue) -> Promise;
    #[wasm_bindgen(js_namespace = AbortSignal)]
    fn timeout(milliseconds: u32) -> JsValue;
    type Response;
    #[wasm_bindgen(method)]
    fn text(this: &Response) -> Promise;
    type Headers;
    #[wasm_bindgen(method)]
    fn get(this: &Headers, name: &str) -> Option<String>;

    #[wasm_bindgen(thread_local_v2, js_namespace = navigator, js_name = language)]
    static LANGUAGE: Option<String>;
    #[wasm_bindgen(thread_local_v2, js_namespace = navigator, js_name = userAgent)]
    static USER_AGENT: Option<String>;
    #[wasm_bindgen(thread_local_v2, js_name = document)]
    static DOCUMENT: Document;
    #[wasm_bindgen(thread_local_v2, js_namespace = location, js_name = hash)]
    static FRAGMENT: String;
    #[wasm_bindgen(js_namespace = parent, js_name = postMessage, catch)]
    fn post_message(message: &JsValue, origin: &str) -> Result<(), JsValue>;
}

/// No answer within this many milliseconds is none.
const PATIENCE: u32 = 30_000;

/// JSON that cannot be read, or a browser that said no.
#[derive(Debug)]
pub struct Refused;

async fn come(promise: Promise) -> Result<JsValue, Refused> {
    JsFuture::from(promise).await.map_err(|_| Refused)
}

/// Everything stored, as JSON (`assets/bridge.js`).
pub async fn facts() -> Result<String, Refused> {
    come(read()).await?.as_string().ok_or(Refused)
}

/// Keeps JSON under a name; `null` takes it away.
pub async fn keep(name: &str, json: &str) -> Result<(), Refused> {
    come(store(name, json)).await.map(drop)
}

/// Asks the background; its answer as JSON.
pub async fn ask_background(json: String) -> Result<String, Refused> {
    come(send(&json)).await?.as_string().ok_or(Refused)
}

/// Keeps this browser's key, as an object that cannot be read out; `None` deletes it.
pub async fn keep_private_key(key: Option<&JsValue>) -> Result<(), Refused> {
    come(keep_key(key.unwrap_or(&JsValue::NULL))).await.map(drop)
}

/// This browser's key, if it has one.
pub async fn private_key() -> Option<JsValue> {
    come(kept_key()).await.ok().filter(|key| !key.is_null() && !key.is_undefined())
}

/// Asks the user for a host; to be called while a press is being handled, so not `async` itself.
pub fn ask_permission(pattern: &str) -> impl Future<Output = bool> + use<> {
    let asked = allow(pattern);
    async move { come(asked).await.is_ok_and(|allowed| allowed.is_truthy()) }
}

/// Gives a host back.
pub async fn drop_permission(pattern: &str) {
    // It stays ours in the worst case, and the site is off the list.
    let _ = come(disallow(pattern)).await;
}

/// A new key for signatures: the part to keep, and the public one (SPKI).
pub async fn new_key() -> Result<(JsValue, Vec<u8>), Refused> {
    let uses = js_sys::Array::of1(&"sign".into());
    let pair = come(generate_key(&algorithm("namedCurve", "P-256"), false, &uses)).await?;
    let private = js_sys::Reflect::get(&pair, &"privateKey".into()).map_err(|_| Refused)?;
    let public = js_sys::Reflect::get(&pair, &"publicKey".into()).map_err(|_| Refused)?;
    let public = come(export_key("spki", &public)).await?;
    Ok((private, Uint8Array::new(&public).to_vec()))
}

/// ECDSA P-256 with SHA-256: 64 bytes.
pub async fn signature(key: &JsValue, text: &str) -> Result<Vec<u8>, Refused> {
    let signed = come(sign(&algorithm("hash", "SHA-256"), key, text.as_bytes())).await?;
    Ok(Uint8Array::new(&signed).to_vec())
}

/// SHA-256.
pub async fn sha256(data: &[u8]) -> Result<Vec<u8>, Refused> {
    Ok(Uint8Array::new(&come(digest("SHA-256", data)).await?).to_vec())
}

/// Random bytes.
pub fn random(count: u32) -> Vec<u8> {
    let bytes = Uint8Array::new_with_length(count);
    random_values(&bytes);
    bytes.to_vec()
}

/// An HTTP answer: status, body, and the `Date` header.
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// The body as text.
    pub body: String,
    /// The server's clock.
    pub date: Option<String>,
}

/// Sends once, without cookies, without following redirects. `None`: no answer.
pub async fn send_request(url: &str, method: &str, headers: &[(&str, &str)], body: Option<&str>) -> Option<Fetched> {
    let options = object(&[
        ("method", method.into()),
        ("credentials", "omit".into()),
        ("cache", "no-store".into()),
        ("redirect", "error".into()),
        ("referrerPolicy", "no-referrer".into()),
        ("signal", timeout(PATIENCE)),
    ]);
    let list: Vec<(&str, JsValue)> = headers.iter().map(|(name, value)| (*name, (*value).into())).collect();
    set(&options, "headers", &object(&list));
    if let Some(body) = body {
        set(&options, "body", &body.into());
    }
    let response = come(fetch(url, &options)).await.ok()?;
    let get = |name: &str| js_sys::Reflect::get(&response, &name.into()).ok();
    let status = get("status")?.as_f64()?;
    let date = get("headers")?.unchecked_ref::<Headers>().get("date");
    let body = come(response.unchecked_ref::<Response>().text()).await.ok()?.as_string()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an HTTP status has three digits")]
    Some(Fetched { status: status as u16, body, date })
}

/// The page.
pub fn document() -> Document {
    DOCUMENT.with(Document::clone)
}

/// The element of the page.
pub fn element(id: &str) -> Option<HtmlElement> {
    document().get_element_by_id(id)?.dyn_into().ok()
}

/// The browser's language.
pub fn language() -> String {
    LANGUAGE.with(Option::clone).unwrap_or_default()
}

/// What the browser calls itself.
pub fn user_agent() -> String {
    USER_AGENT.with(Option::clone).unwrap_or_default()
}

/// What stands behind `#` in the page's address.
pub fn fragment() -> String {
    FRAGMENT.with(|fragment| fragment.strip_prefix('#').unwrap_or(fragment).to_owned())
}

/// Tells the page around this frame, under its origin.
pub fn tell_parent(message: &[(&str, JsValue)], origin: &str) {
    // A parent of another origin does not get it, which is meant.
    let _ = post_message(&object(message), origin);
}

fn algorithm(member: &str, value: &str) -> JsValue {
    object(&[("name", "ECDSA".into()), (member, value.into())])
}

fn object(members: &[(&str, JsValue)]) -> JsValue {
    let object = js_sys::Object::new();
    for (name, value) in members {
        set(&object, name, value);
    }
    object.into()
}

fn set(object: &JsValue, name: &str, value: &JsValue) {
    // A plain object takes any member.
    let _ = js_sys::Reflect::set(object, &name.into(), value);
}
