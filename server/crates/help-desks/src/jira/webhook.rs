//! What Jira posts when a ticket changes: a webhook with a secret (`X-Hub-Signature`).

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::Sha256;

use super::ticket_name;
use crate::{Webhook, WebhookRefused};

/// Verifies by the secret.
pub(super) struct JiraWebhook {
    secret: SecretString,
}

impl JiraWebhook {
    /// One of that secret.
    pub(super) fn new(secret: SecretString) -> Self {
        Self { secret }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect())
}

impl Webhook for JiraWebhook {
    fn verify(&self, header: &dyn Fn(&str) -> Option<String>, body: &[u8]) -> Result<Option<String>, WebhookRefused> {
        let refused = |what: &str| WebhookRefused(format!("Jira's webhook: {what}"));
        let signature = header("x-hub-signature").ok_or_else(|| refused("no X-Hub-Signature; set the webhook's secret in Jira"))?;
        let signature = signature.trim().strip_prefix("sha256=").and_then(from_hex);
        let signature = signature.ok_or_else(|| refused("X-Hub-Signature is not sha256=… in hexadecimal"))?;
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().trim().as_bytes()).map_err(|_| refused("an empty secret"))?;
        mac.update(body);
        mac.verify_slice(&signature).map_err(|_| refused("X-Hub-Signature is of another secret than jira.webhook_secret"))?;
        let posted: Value = serde_json::from_slice(body).map_err(|_| refused("the body is no JSON"))?;
        let of_status = || {
            let items = posted["changelog"]["items"].as_array().into_iter().flatten();
            items.into_iter().any(|item| item["field"].as_str() == Some("status") || item["fieldId"].as_str() == Some("status"))
        };
        let tells = match posted["webhookEvent"].as_str() {
            Some("jira:issue_updated") => of_status(),
            Some("jira:issue_deleted") => true,
            _ => false,
        };
        let key = posted["issue"]["key"].as_str().filter(|_| tells);
        // Of whatever project: who gets it asks for a ticket it knows.
        Ok(key.filter(|key| ticket_name::is_key(key)).map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_signed_change_of_the_status_names_its_ticket() {
        let webhook = JiraWebhook::new(SecretString::from("It's a Secret to Everybody"));
        let sign = |body: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(b"It's a Secret to Everybody").unwrap();
            mac.update(body);
            let digits = mac.finalize().into_bytes().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
            let hex: String = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect();
            format!("sha256={hex}")
        };
        let changed = |field: &str| {
            let change = json!({ "webhookEvent": "jira:issue_updated", "issue": { "key": "NET-7" }, "changelog": { "items": [{ "field": field }] } });
            change.to_string().into_bytes()
        };
        let told =
            |body: &[u8], signature: Option<String>| webhook.verify(&|name| signature.clone().filter(|_| name == "x-hub-signature"), body);
        let body = changed("status");
        assert_eq!(told(&body, Some(sign(&body))), Ok(Some("NET-7".to_owned())));
        let other = changed("summary");
        assert_eq!(told(&other, Some(sign(&other))), Ok(None));
        // What Jira's documentation signs (WebSub): secret and body are theirs.
        let theirs = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";
        let said = told(b"Hello World!", Some(theirs.to_owned())).unwrap_err().0;
        assert!(said.contains("no JSON"), "the signature holds: {said}");
        for (signature, says) in [
            (None, "no X-Hub-Signature"),
            (Some(sign(b"other")), "another secret"),
            (Some("sha1=00".to_owned()), "not sha256"),
            (Some("sha256=0".to_owned()), "not sha256"),
            (Some("sha256=".to_owned()), "another secret"),
        ] {
            let said = told(&body, signature.clone()).unwrap_err().0;
            assert!(said.contains(says), "{signature:?}: {said}");
        }
    }
}
