//! The signed-URL token of a Zendesk sidebar (zendesk.md b.1–b.4): what it must say, and who signed it.
//!
//! Two steps, so that no key is touched for a stranger: [`Token::read`] takes a token apart, once, and tells which account and
//! installation it *claims*; the caller finds the configured installation; [`Token::verify`] then checks the signature with
//! that installation's key and every claim. Replay is the store's job: a token leads to one session id, and the store opens
//! each id once.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sha2::Sha256;

use deskbridge_security::seal::MasterKey;
use deskbridge_security::sha256;

/// Longer tokens are refused unread. Real ones are below 2 kB.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Clocks may differ by so many seconds; other implementations use the same (zendesk.md b.2).
pub(super) const LEEWAY_SECONDS: i64 = 30;
/// Header parameters that name a key. A key comes from our settings, never from a token.
const KEY_NAMING_HEADERS: [&str; 6] = ["jku", "jwk", "x5u", "x5c", "crit", "b64"];
/// Places of the product our app is declared for.
const LOCATIONS: [&str; 2] = ["ticket_sidebar", "new_ticket_sidebar"];

/// Why a token opens nothing. The text is for the log; the browser sees none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not three Base64 parts with JSON inside.
    #[error("malformed")]
    Malformed,
    /// Not RS256, or a header that names a key.
    #[error("header not allowed")]
    Header,
    /// Not signed by the installation's app key.
    #[error("signature does not match")]
    Signature,
    /// `iss` is not the account.
    #[error("wrong issuer")]
    Issuer,
    /// `aud` is not the installation, or not a single text.
    #[error("wrong audience")]
    Audience,
    /// `exp` passed.
    #[error("expired")]
    Expired,
    /// `nbf` or `iat` in the future.
    #[error("not valid yet")]
    NotYet,
    /// Lives longer than the setting allows.
    #[error("claims too long a life")]
    Life,
    /// `sub` is not a user of the account.
    #[error("wrong subject")]
    Subject,
    /// `context` is not a ticket sidebar.
    #[error("wrong place in the product")]
    Location,
}

/// A token taken apart. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Token<'a> {
    /// Header and claims, as they were signed.
    signed: &'a str,
    signature: &'a str,
    issuer: String,
    audience: String,
    claims: Claims,
}

/// What the caller knows of the configured installation.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// The account's origin, with scheme.
    pub origin: &'a str,
    /// The account's authority: the issuer.
    pub authority: &'a str,
    /// The installation's id.
    pub installation_id: u64,
    /// Longest life in seconds.
    pub max_life_seconds: u32,
}

/// A token that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The agent's user id in the account.
    pub agent_id: u64,
    /// Unix seconds until which the token must be remembered.
    pub remember_until: i64,
    /// SHA-256 of the signed part: the same token in another Base64 spelling has the same one.
    pub fingerprint: [u8; 32],
}

/// The claims, of whatever type: a wrong one is told only to whoever could sign it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Claims {
    iss: Value,
    aud: Value,
    sub: Value,
    exp: Value,
    nbf: Value,
    iat: Value,
    context: Value,
}

#[derive(Deserialize)]
struct Context {
    product: Option<String>,
    location: Option<String>,
}

impl Verified {
    /// The id of the one session this token opens: nobody without our key can tell it from the token, and the same token
    /// leads to the same id, so that the store's one unique key on ids also refuses replays.
    pub fn session_id(&self, key: &MasterKey) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*key.derive("sidebar session")).expect("HMAC takes keys of any length");
        mac.update(&self.fingerprint);
        let mut id = [0; 16];
        id.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        id
    }
}

impl Expected<'_> {
    /// The audience of this installation's tokens (zendesk.md b.2).
    pub fn audience(&self) -> String {
        format!("{}/api/v2/apps/installations/{}.json", self.origin, self.installation_id)
    }
}

pub(super) fn json_part<T: DeserializeOwned>(part: &str) -> Result<T, TokenFault> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenFault::Malformed)
}

impl<'a> Token<'a> {
    /// Takes a token apart and checks its header.
    ///
    /// # Errors
    /// It is no token, or its header, issuer or audience is none that Zendesk writes.
    pub fn read(token: &'a str) -> Result<Self, TokenFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Malformed)?;
        let (header, payload) = signed.split_once('.').filter(|(_, payload)| !payload.contains('.')).ok_or(TokenFault::Malformed)?;
        check_header(&json_part(header)?)?;
        let mut claims: Claims = json_part(payload)?;
        let Value::String(issuer) = claims.iss.take() else { return Err(TokenFault::Issuer) };
        let Value::String(audience) = claims.aud.take() else { return Err(TokenFault::Audience) };
        Ok(Self { signed, signature, issuer, audience, claims })
    }

    /// `iss` without a scheme.
    pub fn issuer(&self) -> &str {
        without_scheme(&self.issuer)
    }

    /// `aud`.
    pub fn audience(&self) -> &str {
        &self.audience
    }
}

pub(super) fn check_header(header: &Map<String, Value>) -> Result<(), TokenFault> {
    if header.get("alg").and_then(Value::as_str) != Some("RS256") || KEY_NAMING_HEADERS.iter().any(|name| header.contains_key(*name)) {
        return Err(TokenFault::Header);
    }
    // A key id is never used, and is the account's own free text; but one that looks like a path or a query is an attack.
    if let Some(id) = header.get("kid") {
        let plain =
            |id: &str| id.len() <= 256 && !id.contains(|character: char| character.is_control() || "/\\?#%<>\"'".contains(character));
        if !id.as_str().is_some_and(plain) {
            return Err(TokenFault::Header);
        }
    }
    Ok(())
}

fn without_scheme(issuer: &str) -> &str {
    issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://")).unwrap_or(issuer)
}

impl Token<'_> {
    /// Checks the signature with `key`, and every claim against `expected`. `now`: Unix seconds.
    ///
    /// # Errors
    /// The first fault found; the signature's comes first.
    pub fn verify(&self, key: &DecodingKey, expected: &Expected<'_>, now: i64) -> Result<Verified, TokenFault> {
        match crypto::verify(self.signature, self.signed.as_bytes(), key, Algorithm::RS256) {
            Ok(true) => {}
            Ok(false) => return Err(TokenFault::Signature),
            Err(_) => return Err(TokenFault::Malformed),
        }
        let claims = &self.claims;
        let moment = |claim: &Value| (!claim.is_null()).then(|| claim.as_i64().ok_or(TokenFault::Malformed)).transpose();
        let (expires, not_before, issued) = (moment(&claims.exp)?, moment(&claims.nbf)?, moment(&claims.iat)?);
        let (Some(expires), Some(subject)) = (expires, claims.sub.as_str()) else { return Err(TokenFault::Malformed) };
        let context: Option<Context> = Deserialize::deserialize(&claims.context).map_err(|_| TokenFault::Malformed)?;
        if self.issuer() != expected.authority {
            return Err(TokenFault::Issuer);
        }
        if self.audience != expected.audience() {
            return Err(TokenFault::Audience);
        }
        if expires.saturating_add(LEEWAY_SECONDS) <= now {
            return Err(TokenFault::Expired);
        }
        let latest = now.saturating_add(LEEWAY_SECONDS);
        if [not_before, issued].into_iter().flatten().any(|moment| moment > latest) {
            return Err(TokenFault::NotYet);
        }
        let begins = [not_before, issued].into_iter().flatten().min().unwrap_or(now);
        let life = expires.checked_sub(begins).ok_or(TokenFault::Life)?;
        if !(1..=i64::from(expected.max_life_seconds)).contains(&life) {
            return Err(TokenFault::Life);
        }
        let agent_id = agent_id(subject, expected.authority).ok_or(TokenFault::Subject)?;
        if let Some(context) = &context {
            let product = context.product.as_deref().is_none_or(|product| product == "support");
            let location = context.location.as_deref().is_some_and(|location| LOCATIONS.contains(&location));
            if !(product && location) {
                return Err(TokenFault::Location);
            }
        }
        Ok(Verified { agent_id, remember_until: expires.saturating_add(LEEWAY_SECONDS), fingerprint: sha256(self.signed.as_bytes()) })
    }
}

/// The user id in `https://{authority}/api/v2/users/{id}.json`.
fn agent_id(subject: &str, authority: &str) -> Option<u64> {
    let id = without_scheme(subject).strip_prefix(authority)?.strip_prefix("/api/v2/users/")?.strip_suffix(".json")?;
    (!id.starts_with(['0', '+']) && id.len() <= 19).then(|| id.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
