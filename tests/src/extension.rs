//! The browser extension in a real browser: its directory, its id, its options page; and sites made of the saved pages it is to stand on.
//!
//! Knows the extension from outside only: its files, its pages, what it puts onto others.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::browser::{Browser, Settings};
use crate::page::Page;

/// A browser with the extension built for tests (`cargo xtask build extension`), which may enter pages on this machine.
#[derive(Debug)]
pub struct ExtendedBrowser<B = Browser> {
    /// The browser.
    pub browser: B,
    /// The origin of the extension's pages.
    pub origin: String,
}

impl ExtendedBrowser {
    /// Starts it with the built extension.
    pub async fn start(settings: Settings) -> Result<Self> {
        Self::start_with(settings, &built_extension()?).await
    }

    /// Starts it with an extension in another directory.
    pub async fn start_with(mut settings: Settings, directory: &Path) -> Result<Self> {
        let directory = directory.canonicalize().with_context(|| format!("no {}", directory.display()))?;
        let origin = format!("chrome-extension://{}", id_of(&directory));
        settings.extensions.push(directory);
        Ok(Self { browser: Browser::start(&settings).await?, origin })
    }
}

impl<B: Deref<Target = Page>> ExtendedBrowser<B> {
    /// Opens the options page.
    pub async fn open_options(&self) -> Result<()> {
        self.browser.open(&format!("{}/options.html", self.origin)).await?;
        self.browser.element("[data-section='general']").await.map(drop)
    }

    /// Sets what the user would set, in a page of the extension.
    pub async fn set(&self, stored: Value) -> Result<()> {
        self.open_options().await?;
        self.browser.execute("return chrome.storage.local.set({ stored: arguments[0] })", vec![stored]).await?;
        Ok(())
    }

    /// Pairs with a link, as a person would.
    pub async fn pair(&self, link: &str) -> Result<()> {
        self.open_options().await?;
        self.browser.type_into("#field-code", link).await?;
        self.browser.click("[data-action='pair']").await?;
        self.browser.element("[data-state='paired']").await.map(drop)
    }

    /// Goes into the panel's frame on the page shown, and waits until presses count there.
    pub async fn enter_panel(&self) -> Result<()> {
        let host = self.browser.element("[data-deskbridge-panel]").await?;
        let frame = self.browser.in_shadow_of(&host, "iframe").await?;
        frame.enter_frame().await.context("cannot enter the panel")?;
        self.browser.element("html[data-in-sight]").await.context("the panel does not come into sight").map(drop)
    }
}

/// As the extension asks for what a policy has set (`extension/assets/bridge.js`).
const POLICY_ASKED: &str = "export const managed = () => api.storage.managed.get(null).catch(() => ({}));";

/// Puts the built extension into a directory, set as by that policy: no test can set a real one.
pub fn set_up_by_policy(directory: &Path, policy: &Value) -> Result<()> {
    copy(&built_extension()?, directory)?;
    change(directory, "bridge.js", POLICY_ASKED, &format!("export const managed = async () => ({policy});"))
}

/// Replaces words in one of the files of an extension that was put somewhere.
pub fn change(directory: &Path, file: &str, from: &str, to: &str) -> Result<()> {
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
    ensure!(text.contains(from), "{file} does not hold {from}");
    std::fs::write(&path, text.replace(from, to)).with_context(|| format!("cannot write {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}

/// Where `cargo xtask build extension` puts the one for tests.
pub fn built_extension() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().find(|directory| directory.join("extension/loopback").is_dir());
    Ok(target.context("no built extension: cargo xtask build extension")?.join("extension/loopback"))
}

/// Chromium's id of an unpacked extension: 128 bits of its path's SHA-256, a letter from a to p for each four (autotask-extension.md e.5).
fn id_of(directory: &Path) -> String {
    let hash = Sha256::digest(directory.as_os_str().as_encoded_bytes());
    hash.iter().take(16).flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(b'a' + digit)).collect()
}

/// The policies the saved pages are served with (`extension/pages/index.toml`).
pub const STAFF_POLICY: &str = "frame-ancestors 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; object-src 'none'";
/// No script, no connection, nothing but itself: autotask-extension.md e.3.
pub const STRICTEST_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'";

/// A page of a site.
#[derive(Clone, Debug)]
pub struct SitePage {
    /// Its HTML.
    pub html: String,
    /// Its Content-Security-Policy.
    pub policy: String,
}

impl SitePage {
    /// A saved page, by its name below `extension/pages`, with words replaced.
    pub fn saved(name: &str, policy: &str, replaced: &[(&str, &str)]) -> Result<Self> {
        let path = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../extension/pages").join(name);
        let mut html = std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
        for (from, to) in replaced {
            ensure!(html.contains(from), "{name} does not hold {from}");
            html = html.replace(from, to);
        }
        Ok(Self { html, policy: policy.to_owned() })
    }

    /// A page of one's own.
    pub fn new(html: &str, policy: &str) -> Self {
        Self { html: html.to_owned(), policy: policy.to_owned() }
    }

    /// With styles; the policy must allow them.
    #[must_use]
    pub fn with_style(mut self, style: &str) -> Self {
        self.html = self.html.replace("</head>", &format!("<style>{style}</style></head>"));
        self
    }

    /// With a script at its end; the policy must allow it.
    #[must_use]
    pub fn with_script(mut self, script: &str) -> Self {
        self.html = self.html.replace("</body>", &format!("<script>{script}</script></body>"));
        self
    }
}

/// As much of osTicket's styles as makes its page recognisable; the saved pages have none.
pub const OSTICKET_STYLE: &str = "body { font: 13px/18px 'Helvetica Neue', Arial, sans-serif; margin: 0; background: #eee }
  #container { width: 960px; margin: 12px auto; padding: 12px; background: #fff; box-shadow: 0 0 4px #aaa }
  ul#nav, ul#sub_nav, ul.tabs { display: flex; gap: 14px; list-style: none; padding: 0 }
  .sticky.bar > .content { overflow: hidden } .pull-right { float: right } .flush-left { float: left } h2 { margin: 4px 0; font-size: 17px }
  .clear { clear: both } .action-dropdown { display: none } th { text-align: left } a { color: #184e81; text-decoration: none }
  .action-button { display: inline-block; box-sizing: border-box; min-width: 30px; height: 26px; margin-left: 6px; padding: 2px 8px; border: 1px solid #aaa;
    border-radius: 3px; background: #f5f5f5; color: #555; text-align: center }
  [class^='icon-']::before { content: '\\25a3' } .icon-desktop::before { content: '\\1f5a5' }";

/// Navigation as osTicket does it: the address changes, then the container's children (autotask-extension.md d.1).
pub const PJAX: &str = "window.pjax = async (address) => {
    history.pushState({}, '', address);
    const page = new DOMParser().parseFromString(await (await fetch(address)).text(), 'text/html');
    document.querySelector('#pjax-container').replaceChildren(...page.querySelector('#pjax-container').childNodes);
    document.title = page.title;
  };";

/// A web server of pages by path and query. Ends with the test's runtime.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its origin.
    pub url: String,
    pages: Arc<Mutex<BTreeMap<String, SitePage>>>,
}

impl Site {
    /// Starts one without pages.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let site = Self { url, pages: Arc::default() };
        let router = Router::new().fallback(serve).with_state(site.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(site)
    }

    /// Puts a page under a path, with its query if it has one; answers its address.
    pub fn add(&self, path: &str, page: SitePage) -> String {
        self.pages.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(path.to_owned(), page);
        format!("{}{path}", self.url)
    }

    /// An `osticket` site's settings, as the options page stores them.
    pub fn osticket(&self, base: &str, connection: &str) -> Value {
        json!({ "kind": "osticket", "url": format!("{}{base}", self.url), "connection": connection })
    }

    /// An `autotask` site's settings.
    pub fn autotask(&self, connection: &str) -> Value {
        json!({ "kind": "autotask", "url": format!("{}/", self.url), "connection": connection })
    }
}

/// As osTicket takes an internal note (osticket.md 2.14): with the page's token and lock code, and answered by a redirect.
fn take_note(page: &mut SitePage, form: &BTreeMap<String, String>, address: &str) -> Response {
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let token = format!("<meta name=\"csrf_token\" content=\"{}\">", field("__CSRFToken__"));
    let lock = format!("name=\"lockCode\" value=\"{}\"", field("lockCode"));
    if !page.html.contains(&token) {
        return (StatusCode::BAD_REQUEST, "Valid CSRF Token Required").into_response();
    }
    if field("a") != "postnote" || field("lockCode").is_empty() || !page.html.contains(&lock) {
        return Html(page.html.clone()).into_response();
    }
    let note = format!("<div class=\"thread-entry note\"><b>{}</b>{}</div>", field("title"), field("note"));
    if let Some(begin) = page.html.find("<div id=\"thread-items\"").and_then(|at| Some(at + page.html[at..].find('>')? + 1)) {
        page.html.insert_str(begin, &note);
    }
    (StatusCode::FOUND, [(header::LOCATION, address.to_owned())]).into_response()
}

async fn serve(State(site): State<Site>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let address = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let mut pages = site.pages.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if parts.method == Method::POST {
        // The lock for the forms, whose own went with the note.
        if address.contains("/scp/ajax.php/lock/ticket/") {
            return Html(json!({ "id": 7, "time": 180, "code": "A0_zeEPQJ=" }).to_string()).into_response();
        }
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
        let Some(page) = pages.get_mut(address) else { return StatusCode::NOT_FOUND.into_response() };
        return take_note(page, &form, address);
    }
    let Some(page) = pages.get(address) else { return StatusCode::NOT_FOUND.into_response() };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::from_str(&page.policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    (headers, page.html.clone()).into_response()
}
