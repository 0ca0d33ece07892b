//! What the project's webhook posts when an issue is closed. GitLab sends the webhook's secret token as it is, so it must come over TLS.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::Sha256;

use crate::{Webhook, WebhookRefused};

/// The project's webhook.
pub(super) struct IssueHook {
    secret: SecretString,
    /// The project as the settings name it: a path or a number.
    project: String,
}

impl IssueHook {
    pub(super) fn new(secret: SecretString, project: &str) -> Self {
        Self { secret, project: project.to_owned() }
    }

    /// Two texts of any length are compared by their codes under the same key: the time tells nothing of the secret.
    fn is_secret(&self, sent: &str) -> bool {
        let code = |text: &str| {
            let mac = Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes());
            mac.ok().map(|mut mac| {
                mac.update(text.as_bytes());
                mac
            })
        };
        let expected = code(self.secret.expose_secret()).map(|mac| mac.finalize().into_bytes());
        match (code(sent), expected) {
            (Some(sent), Some(expected)) => sent.verify_slice(&expected).is_ok(),
            _ => false,
        }
    }

    fn is_of_project(&self, project: &Value) -> bool {
        let path = project["path_with_namespace"].as_str().unwrap_or_default();
        path.eq_ignore_ascii_case(&self.project) || project["id"].as_u64().is_some_and(|id| id.to_string() == self.project)
    }
}

impl Webhook for IssueHook {
    fn verify(&self, header: &dyn Fn(&str) -> Option<String>, body: &[u8]) -> Result<Option<String>, WebhookRefused> {
        let refused = |what: &str| WebhookRefused(what.to_owned());
        let sent = header("x-gitlab-token")
            .ok_or_else(|| refused("the request has no X-Gitlab-Token; set the webhook's secret token in GitLab"))?;
        if !self.is_secret(&sent) {
            return Err(refused("X-Gitlab-Token is another than gitlab.webhook_secret"));
        }
        let posted: Value = serde_json::from_slice(body).map_err(|_| refused("the body is not JSON"))?;
        let is_issue = matches!(posted["object_kind"].as_str(), Some("issue" | "work_item"));
        let change = &posted["object_attributes"];
        if !is_issue || change["action"] != "close" || !self.is_of_project(&posted["project"]) {
            return Ok(None);
        }
        Ok(change["iid"].as_u64().map(|iid| iid.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECRET: &str = "a secret of the webhook";

    fn posted(kind: &str, action: &str, path: &str) -> Value {
        json!({
            "object_kind": kind, "project": { "id": 7, "path_with_namespace": path },
            "object_attributes": { "id": 301, "iid": 23, "action": action, "state": "closed" },
        })
    }

    fn verified(project: &str, token: Option<&str>, body: &[u8]) -> Result<Option<String>, String> {
        let hook = IssueHook::new(SecretString::from(SECRET), project);
        let header = |name: &str| token.filter(|_| name == "x-gitlab-token").map(str::to_owned);
        hook.verify(&header, body).map_err(|refused| refused.0)
    }

    #[test]
    fn a_closed_issue_of_the_project_is_told() {
        let check = |project: &str, body: Value, expected: Option<&str>| {
            assert_eq!(verified(project, Some(SECRET), body.to_string().as_bytes()).unwrap().as_deref(), expected, "{project} {body}");
        };
        check("grp/sub/proj", posted("issue", "close", "grp/sub/proj"), Some("23"));
        check("Grp/sub/proj", posted("work_item", "close", "grp/sub/proj"), Some("23"));
        check("7", posted("issue", "close", "grp/sub/proj"), Some("23"));
        check("grp/sub/proj", posted("issue", "reopen", "grp/sub/proj"), None);
        check("grp/sub/proj", posted("issue", "close", "grp/other"), None);
        check("grp/sub/proj", posted("merge_request", "close", "grp/sub/proj"), None);
        check("grp/sub/proj", json!({}), None);
    }

    #[test]
    fn without_the_secret_nothing_is_read() {
        let body = posted("issue", "close", "grp/sub/proj").to_string();
        for token in [None, Some(""), Some("a secret of the webhooK"), Some("a secret of the webhook2"), Some("a secret")] {
            assert!(verified("grp/sub/proj", token, body.as_bytes()).unwrap_err().contains("X-Gitlab-Token"), "{token:?}");
        }
        assert!(verified("grp/sub/proj", Some(SECRET), b"close").unwrap_err().contains("not JSON"));
    }
}
