//! What the extension asks of the browser, by name: the few functions `assets/bridge.js` offers, WebCrypto, `fetch`. Wasm only.
//! Everything that can fail answers a `Result`; nothing here decides.

use std::cell::RefCell;
use std::rc::Rc;

use deskbridge_shared::api::PANEL_PATIENCE_MS;
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise};
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
    fn keep_key_record(slot: &str, record: &JsValue) -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge, js_name = keptKey)]
    fn kept_key_record(slot: &str) -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge)]
    fn allow(pattern: &str) -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge)]
    fn disallow(pattern: &str) -> Promise;
    #[wasm_bindgen(js_namespace = deskbridge, js_name = openShortcuts)]
    pub fn open_shortcuts();
    /// Calls back whenever something stored or allowed has changed.
    #[wasm_bindgen(js_namespace = deskbridge, js_name = onChange)]
    pub fn on_change(changed: &JsValue);

    #[wasm_bindgen(js_namespace = ["navigator", "locks"], js_name = request)]
    fn request_lock(name: &str, work: &JsValue) -> Promise;
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
    #[wasm_bindgen(js_namespace = location, js_name = reload)]
    pub fn reload();
    #[wasm_bindgen(js_name = URL)]
    type Url;
    #[wasm_bindgen(constructor, catch, js_class = "URL")]
    fn new(address: &str) -> Result<Url, JsValue>;
    #[wasm_bindgen(method, getter, js_class = "URL")]
    fn hostname(this: &Url) -> String;

    /// To the script that holds the panel's frame: see `assets/panel.js`.
    #[wasm_bindgen(js_namespace = deskbridge, js_name = tellPage)]
    fn tell_page(message: &JsValue);
}

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

/// A key of this browser's, and what it was made for: one record, so that no key is ever taken for another device's.
pub struct DeviceKey {
    /// The part to sign with: an object that cannot be read out.
    pub key: JsValue,
    /// The public part, as it is sent.
    pub public_key: String,
    /// The server's origin.
    pub server: String,
    /// SHA-256 of the pairing code, in hexadecimal.
    pub code_hash: String,
    /// The device's id.
    pub device: String,
}

/// Where a key is kept.
#[derive(Clone, Copy, Debug)]
pub enum Slot {
    /// The one that signs.
    Device,
    /// One whose pairing has not been answered.
    Pending,
}

impl Slot {
    const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Pending => "pending",
        }
    }
}

/// Keeps a key; `None` deletes it.
pub async fn keep_key(slot: Slot, key: Option<&DeviceKey>) -> Result<(), Refused> {
    let record = key.map_or(JsValue::NULL, |kept| {
        object(&[
            ("key", kept.key.clone()),
            ("publicKey", (&kept.public_key).into()),
            ("server", (&kept.server).into()),
            ("codeHash", (&kept.code_hash).into()),
            ("device", (&kept.device).into()),
        ])
    });
    come(keep_key_record(slot.name(), &record)).await.map(drop)
}

/// The key kept there; `None`: there is none.
pub async fn kept_key(slot: Slot) -> Result<Option<DeviceKey>, Refused> {
    Ok(device_key(&come(kept_key_record(slot.name())).await?))
}

fn device_key(record: &JsValue) -> Option<DeviceKey> {
    let member = |name: &str| js_sys::Reflect::get(record, &name.into()).ok();
    let text = |name: &str| member(name)?.as_string();
    Some(DeviceKey {
        key: member("key")?,
        public_key: text("publicKey")?,
        server: text("server")?,
        code_hash: text("codeHash")?,
        device: text("device")?,
    })
}

/// Does what only one of the extension's pages may do at a time, its background included; the others wait.
pub async fn alone<T: 'static>(work: impl Future<Output = T> + 'static) -> Result<T, Refused> {
    let outcome = Rc::new(RefCell::new(None));
    let kept = outcome.clone();
    let begin = Closure::once(move || {
        future_to_promise(async move {
            let done = work.await;
            kept.replace(Some(done));
            Ok(JsValue::UNDEFINED)
        })
    });
    come(request_lock("deskbridge-pairing", begin.as_ref())).await?;
    outcome.take().ok_or(Refused)
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
        ("signal", timeout(PANEL_PATIENCE_MS)),
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

/// How high the page's own parts are, in CSS pixels.
pub fn page_height() -> u32 {
    ["bar", "panel"].into_iter().filter_map(element).map(|part| part.offset_height().unsigned_abs()).sum()
}

/// The element of the page.
pub fn element(id: &str) -> Option<HtmlElement> {
    document().get_element_by_id(id)?.dyn_into().ok()
}

/// The host of an address, as the browser writes it. `None`: the browser takes it for no address.
pub fn host_of(address: &str) -> Option<String> {
    Url::new(address).ok().map(|url| url.hostname())
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

/// Tells whoever holds this frame how high the panel is.
pub fn tell_height(height: u32) {
    tell_page(&object(&[("height", height.into())]));
}

/// Tells whoever holds this frame that the panel wants to be closed.
pub fn tell_close() {
    tell_page(&object(&[("close", true.into())]));
}

/// Tells whoever holds this frame that the agent wants the ticket's page loaded again.
pub fn tell_reload() {
    tell_page(&object(&[("reload", true.into())]));
}

/// Tells whoever holds this frame what the ticket's sessions come to.
pub fn tell_sessions(is_open: bool, has_report: bool) {
    tell_page(&object(&[("sessions", object(&[("isOpen", is_open.into()), ("hasReport", has_report.into())]))]));
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
