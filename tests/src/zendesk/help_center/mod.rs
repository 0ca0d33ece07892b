//! The Help Center of the account: sign-in, a public page, the customers' request pages, and what a page's script may ask (zendesk.md e;
//! changes-2026-11.md C11 to C13).
//!
//! The structure of its pages is that of the Copenhagen theme 4.50.4, with what makes that theme hard on a foreign script: `font-size: 0`
//! and cut lines in the details, and a side bar that is folded up on a narrow screen. Its sign-in asks for no password: it must stay on
//! loopback.

mod control;
mod pages;
mod sessions;
mod theme;
pub(super) mod tokens;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;

pub(super) use sessions::Session;
pub use theme::{Details, HelpCenterTheme, Sidebar};
pub use tokens::{HelpCenterToken, Signing};

use super::account::Account;
use super::call::{Call, Outcome, Reply};
use super::requests;
use tokens::PublishedKey;

/// What the Help Center is like when the account starts.
#[derive(Clone, Debug)]
pub struct HelpCenterOptions {
    /// Whether it has a host name of its own (`https://help.example.com`), which is another port here. The account's own origin serves it
    /// all the same.
    pub host_mapped: bool,
    /// Whether the plan has the integration token; else 404 (zendesk.md e.3).
    pub integration_token: bool,
    /// Seconds an integration token lives.
    pub token_life: i64,
    /// Its languages as they stand in its addresses; the first is the default.
    pub locales: Vec<String>,
    /// Its theme.
    pub theme: HelpCenterTheme,
}

impl Default for HelpCenterOptions {
    fn default() -> Self {
        Self {
            host_mapped: false,
            integration_token: true,
            token_life: 180,
            locales: ["en-us", "de", "ar", "he", "fr"].map(str::to_owned).into(),
            theme: HelpCenterTheme::default(),
        }
    }
}

/// What the account keeps for its Help Center.
#[derive(Debug)]
pub(super) struct HelpCenter {
    pub integration_token: bool,
    token_life: i64,
    locales: Vec<String>,
    theme: HelpCenterTheme,
    sessions: HashMap<String, Session>,
    /// Oldest first. The last one signs.
    keys: Vec<PublishedKey>,
    mapped_url: Option<String>,
}

impl HelpCenter {
    pub(super) fn new(options: &HelpCenterOptions) -> Self {
        Self {
            integration_token: options.integration_token,
            token_life: options.token_life,
            locales: options.locales.clone(),
            theme: options.theme.clone(),
            sessions: HashMap::new(),
            keys: Vec::new(),
            mapped_url: None,
        }
    }

    pub(super) fn map_to(&mut self, url: &str) {
        self.mapped_url = Some(url.to_owned());
    }

    /// Where customers open it: its own host name, if it has one.
    pub(super) fn origin<'a>(&'a self, account_url: &'a str) -> &'a str {
        self.mapped_url.as_deref().unwrap_or(account_url)
    }

    fn default_locale(&self) -> &str {
        self.locales.first().map_or("en-us", String::as_str)
    }
}

/// The second listener and its address, if the Help Center has a host name of its own.
pub(super) async fn mapped_listener(options: &HelpCenterOptions) -> anyhow::Result<Option<(TcpListener, String)>> {
    if !options.host_mapped {
        return Ok(None);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening for the Help Center")?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok(Some((listener, url)))
}

/// Pages under `/hc`, and the e-mail address of who asked; `None` when the path is none of them.
pub(super) fn answer(account: &mut Account, call: &Call) -> Option<(Outcome, Option<String>)> {
    let segments: Vec<&str> = call.path.trim_end_matches('/').split('/').skip(1).collect();
    let (&"hc", rest) = segments.split_first()? else {
        return None;
    };
    let user = account.help_center.session_of(account, call).map(|session| session.user);
    let email = user.and_then(|user| account.users.get(&user)).map(|user| user.email.clone());
    if !matches!(call.method.as_str(), "GET" | "HEAD") {
        return Some((Err(Reply::no_endpoint().into()), email));
    }
    Some((page(account, call, rest, user), email))
}

fn page(account: &mut Account, call: &Call, segments: &[&str], user: Option<u64>) -> Outcome {
    let locale = match segments {
        [] => return Ok(redirect(&format!("/hc/{}", account.help_center.default_locale()))),
        ["test-sign-in"] => return sessions::sign_in(account, call),
        ["test-sign-out"] => return Ok(sessions::sign_out(account, call)),
        ["theming_assets", name] => return theme::asset(name),
        ["requests", ..] if account.help_center.theme.redirects_to_locale => {
            return Ok(redirect(&format!("/hc/{}/{}", account.help_center.default_locale(), segments.join("/"))));
        }
        ["requests", ..] => account.help_center.default_locale().to_owned(),
        [locale, ..] => (*locale).to_owned(),
    };
    let view = pages::View { account, locale: &locale, user };
    if !account.help_center.locales.contains(&locale) {
        return Err(pages::View { locale: account.help_center.default_locale(), ..view }.not_found().into());
    }
    let below = if segments[0] == "requests" { segments } else { &segments[1..] };
    match (below, user) {
        ([], _) => Ok(view.home()),
        (["signin"], _) => Ok(view.sign_in(call.query("return_to").unwrap_or_default())),
        (["requests"] | ["requests", _], None) => {
            let return_to: String = url::form_urlencoded::byte_serialize(call.path.as_bytes()).collect();
            Ok(redirect(&format!("/hc/{locale}/signin?return_to={return_to}")))
        }
        (["requests"], Some(user)) => Ok(view.requests(&requests::asked_by(account, user))),
        (["requests", id], Some(user)) => {
            // A ticket of somebody else and one that is not there look alike.
            let record = id.parse().ok().and_then(|id| requests::of_customer(account, user, id));
            record.map(|record| view.request(record)).ok_or_else(|| view.not_found().into())
        }
        _ => Err(view.not_found().into()),
    }
}

fn redirect(to: &str) -> Reply {
    Reply::empty(302).with("location", to).with("cache-control", "no-store")
}

/// The keys are made when they are first needed: few tests need them.
fn keys_of(account: &mut Account) -> anyhow::Result<&mut Vec<PublishedKey>> {
    let keys = &mut account.help_center.keys;
    if keys.is_empty() {
        keys.push(PublishedKey::new(Arc::clone(&tokens::first_key()?)));
    }
    Ok(keys)
}
