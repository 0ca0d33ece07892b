//! The token that the Help Center gives its signed-in user (zendesk.md e.3): who signed it, until when it holds, and whose it is.
//!
//! Nothing else in it is believed: the account's administrator adds what claims they like.

use std::sync::{Mutex, PoisonError};

use deskbridge_http_client::cached::{Cached, FailureLife, Freshness, Lifetime};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::{Duration, Instant};

use crate::HelpDeskError;
use crate::zendesk::client::Client;
use crate::zendesk::sidebar_token::{LEEWAY_SECONDS, MAX_TOKEN_BYTES, check_header, json_part};

/// Where the account publishes its keys; anybody may ask.
pub(super) const KEYS_PATH: &str = "/api/v2/help_center/integration/keys";
/// Keys are fetched again after this time, so that a withdrawn one ends.
const RENEW_AFTER: Duration = Duration::from_mins(10);
/// While the account is away, known keys serve for so long.
const EXPIRES_AFTER: Duration = Duration::from_hours(1);
/// Least time between two fetches that an unknown key id can cause …
const REFETCH_AFTER: Duration = Duration::from_mins(1);
/// … but for so many: a new key's first customers are not to wait.
const EARLY_REFETCHES: u8 = 3;
/// After so much time without a key id that was unknown, these are there again.
const QUIET: Duration = Duration::from_mins(15);
/// Least time between two fetches that fail.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Time for one fetch.
const FETCH_TIME: Duration = Duration::from_secs(5);
/// More keys than an account has.
const MOST_KEYS: usize = 50;

/// Why a token proves nothing. The text is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not three Base64 parts with JSON inside.
    #[error("malformed")]
    Malformed,
    /// Not RS256, no key id, or a header that names a key in another way.
    #[error("header not allowed")]
    Header,
    /// No key of that id is published.
    #[error("unknown key")]
    UnknownKey,
    /// Not signed by that key.
    #[error("signature does not match")]
    Signature,
    /// `exp` passed, or there is none.
    #[error("expired")]
    Expired,
    /// `nbf` or `iat` in the future.
    #[error("not valid yet")]
    NotYet,
    /// No user.
    #[error("no user id")]
    NoUser,
}

/// Why the keys could not be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeysFault {
    /// The account's plan has no such tokens.
    #[error("the account has no Help Center tokens (HTTP 404); they are part of Enterprise plans")]
    NotOnThisPlan,
    /// No answer, or not this one.
    #[error("the Help Center's keys could not be fetched: {0}")]
    NotFetched(String),
}

/// A published key.
struct PublishedKey {
    id: String,
    key: DecodingKey,
}

/// The keys an account publishes.
pub(super) struct PublishedKeys {
    keys: Cached<Vec<PublishedKey>, KeysFault>,
    unknown: Mutex<Unknown>,
}

impl Default for PublishedKeys {
    fn default() -> Self {
        let lifetime = Lifetime { renew_after: RENEW_AFTER, expires_after: Some(EXPIRES_AFTER) };
        let keys = Cached::new(lifetime, FailureLife { least: RETRY_AFTER, longest: FETCH_TIME });
        Self { keys, unknown: Mutex::default() }
    }
}

/// Key ids that were unknown.
#[derive(Default)]
struct Unknown {
    early: u8,
    last: Option<Instant>,
}

impl Unknown {
    /// How old the keys may be in which one more is looked for. Those that were fetched since `called_at` have been looked at.
    fn next(&mut self, called_at: Instant) -> Freshness {
        let now = Instant::now();
        if self.last.replace(now).is_none_or(|last| now - last >= QUIET) {
            self.early = 0;
        }
        if self.early >= EARLY_REFETCHES {
            return Freshness::at_most(REFETCH_AFTER);
        }
        self.early += 1;
        Freshness::at_most(now - called_at)
    }
}

/// One key of a JWK set (RFC 7517).
#[derive(Deserialize)]
struct Jwk {
    kid: Option<String>,
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

fn read_keys(body: &str) -> Option<Vec<PublishedKey>> {
    let set: JwkSet = serde_json::from_str(body).ok()?;
    let keys = set.keys.into_iter().take(MOST_KEYS).filter_map(|key| {
        let key: Jwk = serde_json::from_value(key).ok()?;
        let signs = key.purpose.is_none_or(|purpose| purpose == "sig") && key.alg.is_none_or(|alg| alg == "RS256");
        let id = key.kid.filter(|_| key.kty == "RSA" && signs)?;
        Some(PublishedKey { id, key: DecodingKey::from_rsa_components(&key.n?, &key.e?).ok()? })
    });
    Some(keys.collect())
}

impl PublishedKeys {
    /// How many keys are published now.
    pub(super) async fn count(&self, client: &Client) -> Result<usize, KeysFault> {
        self.keys.get(&Freshness::at_most(Duration::ZERO), || fetch(client)).await.map(|keys| keys.len())
    }

    /// The user of a token. `now`: Unix seconds.
    ///
    /// # Errors
    /// The keys cannot be had; inside, the first fault of the token.
    pub(super) async fn user_of(&self, client: &Client, token: &str, now: i64) -> Result<Result<u64, TokenFault>, KeysFault> {
        let token = match Token::read(token) {
            Ok(token) => token,
            Err(fault) => return Ok(Err(fault)),
        };
        // Before a key is asked for: an old token costs nothing.
        if let Err(fault) = token.check_times(now) {
            return Ok(Err(fault));
        }
        let called_at = Instant::now();
        let mut freshness = Freshness::any();
        for is_last in [false, true] {
            let keys = self.keys.get(&freshness, || fetch(client)).await?;
            let mut named = keys.iter().filter(|key| key.id == token.key_id).peekable();
            if named.peek().is_some() {
                return Ok(token.user(named.map(|key| &key.key)));
            }
            if !is_last {
                freshness = self.unknown.lock().unwrap_or_else(PoisonError::into_inner).next(called_at);
            }
        }
        Ok(Err(TokenFault::UnknownKey))
    }
}

async fn fetch(client: &Client) -> Result<Vec<PublishedKey>, KeysFault> {
    let answer = tokio::time::timeout(FETCH_TIME, client.get_as_anybody(KEYS_PATH)).await;
    match answer.map_err(|_| KeysFault::NotFetched("no answer in time".into()))? {
        Ok((200, body)) => read_keys(&body).ok_or_else(|| KeysFault::NotFetched("the answer is no set of keys".into())),
        Ok((404, _)) => Err(KeysFault::NotOnThisPlan),
        Ok((status, _)) => Err(KeysFault::NotFetched(format!("HTTP {status}"))),
        Err(error) => Err(KeysFault::NotFetched(error.to_string())),
    }
}

impl From<KeysFault> for HelpDeskError {
    fn from(fault: KeysFault) -> Self {
        match fault {
            KeysFault::NotOnThisPlan => Self::Refused(fault.to_string()),
            KeysFault::NotFetched(_) => Self::passing(fault.to_string()),
        }
    }
}

/// A token taken apart. Nothing of it is verified.
struct Token<'a> {
    signed: &'a str,
    signature: &'a str,
    key_id: String,
    claims: Claims,
}

/// The claims, of whatever type: a wrong one is told only to whoever could sign it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Claims {
    exp: Value,
    nbf: Value,
    iat: Value,
    #[serde(rename = "userId")]
    user_id: Value,
}

impl<'a> Token<'a> {
    fn read(token: &'a str) -> Result<Self, TokenFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_once('.').filter(|(_, payload)| !payload.contains('.')).ok_or(TokenFault::Malformed)?;
        let header: Map<String, Value> = json_part(header).map_err(|_| TokenFault::Malformed)?;
        check_header(&header).map_err(|_| TokenFault::Header)?;
        let key_id = header.get("kid").and_then(Value::as_str).filter(|id| !id.is_empty()).ok_or(TokenFault::Header)?.to_owned();
        let claims = json_part(payload).map_err(|_| TokenFault::Malformed)?;
        Ok(Self { signed, signature, key_id, claims })
    }

    fn check_times(&self, now: i64) -> Result<(), TokenFault> {
        let moment = |claim: &Value| (!claim.is_null()).then(|| claim.as_i64().ok_or(TokenFault::Malformed)).transpose();
        let (expires, not_before, issued) = (moment(&self.claims.exp)?, moment(&self.claims.nbf)?, moment(&self.claims.iat)?);
        if expires.is_none_or(|expires| expires <= now) {
            return Err(TokenFault::Expired);
        }
        let latest = now.saturating_add(LEEWAY_SECONDS);
        if [not_before, issued].into_iter().flatten().any(|moment| moment > latest) {
            return Err(TokenFault::NotYet);
        }
        Ok(())
    }

    /// The user, if one of the keys signed it.
    fn user<'k>(&self, mut keys: impl Iterator<Item = &'k DecodingKey>) -> Result<u64, TokenFault> {
        let signed = |key: &DecodingKey| crypto::verify(self.signature, self.signed.as_bytes(), key, Algorithm::RS256).unwrap_or(false);
        if !keys.any(signed) {
            return Err(TokenFault::Signature);
        }
        self.claims.user_id.as_u64().filter(|id| *id > 0).ok_or(TokenFault::NoUser)
    }
}

#[cfg(test)]
mod tests;
