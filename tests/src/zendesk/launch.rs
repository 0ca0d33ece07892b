//! Opening the app in a sidebar: the claims of the signed token and the query beside it (zendesk.md b.1, b.2).
//!
//! Real clock, not the account's: the side under test checks these times by its own.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::account::{Account, real_time};

/// Life of a token in seconds.
const TOKEN_LIFE: i64 = 300;

/// Where in the product the app is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Location {
    /// Beside a saved ticket.
    #[default]
    TicketSidebar,
    /// Beside a ticket not saved yet.
    NewTicketSidebar,
}

impl Location {
    /// As it stands in the token and in the context.
    pub fn name(self) -> &'static str {
        match self {
            Location::TicketSidebar => "ticket_sidebar",
            Location::NewTicketSidebar => "new_ticket_sidebar",
        }
    }
}

/// What the workspace posts to the app: `token` as a form field, `query` behind its URL.
#[derive(Clone, Debug)]
pub struct SidebarLaunch {
    /// The signed token.
    pub token: String,
    /// `origin=…&app_guid=…&colorScheme=…`.
    pub query: String,
    /// The GUID in it.
    pub app_guid: Uuid,
}

pub(super) fn launch(account: &Account, agent: u64, location: Location, color_scheme: &str) -> anyhow::Result<SidebarLaunch> {
    let app_guid = Uuid::now_v7();
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("origin", &account.url)
        .append_pair("app_guid", &app_guid.to_string())
        .append_pair("colorScheme", color_scheme)
        .finish();
    let claims = claims(account, agent, location, &query);
    Ok(SidebarLaunch { token: account.key.sign(&header(), &claims)?, query, app_guid })
}

/// Header of a genuine token.
pub(super) fn header() -> Value {
    json!({"typ": "JWT", "alg": "RS256"})
}

/// Claims of a genuine token. How the real `qsh` is made is not public; this one differs with every query, so that no
/// two tokens are alike.
pub(super) fn claims(account: &Account, agent: u64, location: Location, query: &str) -> Value {
    let now = real_time().unix_timestamp();
    let url = &account.url;
    let qsh = URL_SAFE_NO_PAD.encode(Sha256::digest(query));
    json!({
        "iss": url.trim_start_matches("http://"),
        "aud": format!("{url}/api/v2/apps/installations/{}.json", account.options.installation_id),
        "sub": format!("{url}/api/v2/users/{agent}.json"),
        "iat": now,
        "nbf": now,
        "exp": now + TOKEN_LIFE,
        "qsh": qsh,
        "context": {"product": "support", "location": location.name()},
    })
}
