//! What GitHub posts when something happens to an issue: a webhook of the event Issues, signed with `webhook_secret`.

use std::sync::{Arc, RwLock};

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::Sha256;

use crate::{Webhook, WebhookRefused};

/// After these an issue takes no more part: closed, or gone.
const ENDS: [&str; 3] = ["closed", "deleted", "transferred"];

/// The webhook of one repository.
pub(super) struct IssuesWebhook {
    secret: SecretString,
    /// `owner/name`, as the settings have it.
    project: String,
    /// The same as it is now.
    repository: Arc<RwLock<Arc<str>>>,
}

impl IssuesWebhook {
    pub(super) fn new(secret: SecretString, project: String, repository: Arc<RwLock<Arc<str>>>) -> Self {
        Self { secret, project, repository }
    }

    fn is_signed(&self, signature: &str, body: &[u8]) -> bool {
        let Some(tag) = signature.trim().strip_prefix("sha256=").and_then(bytes_of) else { return false };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes()) else { return false };
        mac.update(body);
        // In constant time.
        mac.verify_slice(&tag).is_ok()
    }
}

impl Webhook for IssuesWebhook {
    fn verify(&self, header: &dyn Fn(&str) -> Option<String>, body: &[u8]) -> Result<Option<String>, WebhookRefused> {
        let refused = |why: &str| WebhookRefused(why.to_owned());
        let signature = header("x-hub-signature-256").ok_or_else(|| {
            refused("the request has no X-Hub-Signature-256: enter github.webhook_secret as the webhook's secret, on GitHub too")
        })?;
        if !self.is_signed(&signature, body) {
            return Err(refused("the signature does not match: the webhook's secret on GitHub is not github.webhook_secret"));
        }
        if header("x-github-event").as_deref() != Some("issues") {
            return Ok(None);
        }
        let unreadable = || refused("the request is signed, but no JSON: choose the content type application/json for the webhook");
        let form = || url::form_urlencoded::parse(body).find(|(name, _)| name == "payload").map(|(_, payload)| payload.into_owned());
        let event: Value = match serde_json::from_slice(body) {
            Ok(event) => event,
            Err(_) => serde_json::from_str(&form().ok_or_else(unreadable)?).map_err(|_| unreadable())?,
        };
        let name = event["repository"]["full_name"].as_str().unwrap_or_default();
        let is_now = |now: &RwLock<Arc<str>>| now.read().is_ok_and(|now| name.eq_ignore_ascii_case(&now));
        let is_ours = name.eq_ignore_ascii_case(&self.project) || is_now(&self.repository);
        let ends = event["action"].as_str().is_some_and(|action| ENDS.contains(&action));
        Ok(event["issue"]["number"].as_u64().filter(|_| is_ours && ends).map(|number| number.to_string()))
    }
}

/// The bytes of hexadecimal digits.
fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn webhook(secret: &str) -> IssuesWebhook {
        let project = "example/operations".to_owned();
        IssuesWebhook::new(secret.to_owned().into(), project, Arc::new(RwLock::new("example/renamed".into())))
    }

    fn verify(webhook: &IssuesWebhook, event: &str, signature: Option<&str>, body: &[u8]) -> Result<Option<String>, WebhookRefused> {
        let header = |name: &str| match name {
            "x-hub-signature-256" => signature.map(str::to_owned),
            "x-github-event" => Some(event.to_owned()),
            _ => None,
        };
        webhook.verify(&header, body)
    }

    fn signed(body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"It's a Secret to Everybody").unwrap();
        mac.update(body);
        let digits = |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(u32::from(digit), 16).unwrap());
        format!("sha256={}", mac.finalize().into_bytes().into_iter().flat_map(digits).collect::<String>())
    }

    /// The values that GitHub's documentation gives for testing ("Validating webhook deliveries").
    #[test]
    fn githubs_own_example_is_verified() {
        let webhook = webhook("It's a Secret to Everybody");
        let tag = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(verify(&webhook, "ping", Some(tag), b"Hello, World!"), Ok(None));
        for (tag, body) in [
            (Some(tag), &b"Hello, World?"[..]),
            (Some(&tag.replace("17", "18")[..]), b"Hello, World!"),
            (Some(&tag[..50]), b"Hello, World!"),
            (Some("sha256="), b"Hello, World!"),
            (Some("757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), b"Hello, World!"),
            (None, b"Hello, World!"),
        ] {
            assert!(verify(&webhook, "ping", tag, body).is_err(), "{tag:?}");
        }
        assert!(verify(&self::webhook("another"), "ping", Some(tag), b"Hello, World!").is_err());
    }

    #[test]
    fn only_an_end_of_an_issue_of_this_repository_counts() {
        let webhook = webhook("It's a Secret to Everybody");
        for (kind, action, name, expected) in [
            ("issues", "closed", "Example/Operations", Some("7")),
            ("issues", "closed", "example/renamed", Some("7")),
            ("issues", "deleted", "example/operations", Some("7")),
            ("issues", "opened", "example/operations", None),
            ("issues", "closed", "example/other", None),
            ("issue_comment", "closed", "example/operations", None),
        ] {
            let event = json!({ "action": action, "issue": { "number": 7 }, "repository": { "full_name": name } }).to_string();
            let found = verify(&webhook, kind, Some(&signed(event.as_bytes())), event.as_bytes()).unwrap();
            assert_eq!(found.as_deref(), expected, "{kind} {action} {name}");
            // The other content type that GitHub offers.
            let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &event).finish();
            let found = verify(&webhook, kind, Some(&signed(form.as_bytes())), form.as_bytes()).unwrap();
            assert_eq!(found.as_deref(), expected, "{kind} {action} {name}, as a form");
        }
        assert!(verify(&webhook, "issues", Some(&signed(b"<xml>")), b"<xml>").unwrap_err().0.contains("application/json"));
    }
}
