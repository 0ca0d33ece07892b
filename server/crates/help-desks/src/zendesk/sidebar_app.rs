//! Our app in the account: who signs the sidebar's opening, and with which key.

use std::sync::Arc;

use jsonwebtoken::DecodingKey;

use super::app_key::{AppKey, KeyFault, pem_of_answer};
use super::client::Client;
use super::section::ZendeskSection;
use super::sidebar_token::Expected;

/// One installation of the app.
pub struct SidebarApp {
    origin: String,
    authority: String,
    app_id: u64,
    installation_id: u64,
    max_life_seconds: u32,
    key: AppKey,
    client: Client,
}

impl SidebarApp {
    /// The error names the key at fault.
    pub(super) fn new(section: &ZendeskSection, client: Client) -> Result<Self, String> {
        let key = match &section.public_key_file {
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| format!("zendesk.public_key_file: {error}"))?;
                AppKey::fixed(&pem).map_err(|error| format!("zendesk.public_key_file: {error}"))?
            }
            None => AppKey::default(),
        };
        Ok(Self {
            origin: section.origin(),
            authority: section.authority(),
            app_id: section.app_id,
            installation_id: section.installation_id,
            max_life_seconds: section.max_token_life_seconds,
            key,
            client,
        })
    }

    /// The account's origin, e.g. `https://example.zendesk.com`: who may frame the panel.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What a token of this installation must say.
    pub fn expected(&self) -> Expected<'_> {
        Expected {
            origin: &self.origin,
            authority: &self.authority,
            installation_id: self.installation_id,
            max_life_seconds: self.max_life_seconds,
        }
    }

    /// The account and app whose key signs, for keys that servers share. By account, not by connection: a connection whose url was changed
    /// must not be opened by the former account's key.
    pub fn key_name(&self) -> String {
        format!("{}/{}", self.origin, self.app_id)
    }

    /// The keys remembered.
    pub fn keys(&self) -> &AppKey {
        &self.key
    }

    /// The key, fetched if none is remembered.
    pub async fn key(&self) -> Result<Arc<DecodingKey>, KeyFault> {
        self.key.get(|| self.fetch_key()).await
    }

    /// The app's public key (PEM) from the account: `.pem` first, then the path without extension (zendesk.md b.3).
    pub async fn fetch_key(&self) -> Result<String, KeyFault> {
        let path = format!("/api/v2/apps/{}/public_key", self.app_id);
        let mut reasons = Vec::new();
        for path in [format!("{path}.pem"), path] {
            match self.client.get_text(&path).await {
                Ok((200, body)) => match pem_of_answer(&body) {
                    Some(pem) => return Ok(pem),
                    None => reasons.push("no public key in the answer".to_owned()),
                },
                Ok((status, _)) => reasons.push(format!("HTTP {status}")),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(KeyFault::NotFetched(reasons.join("; then ")))
    }
}
