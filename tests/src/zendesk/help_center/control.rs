//! What tests do to the Help Center.

use std::sync::Arc;

use anyhow::Context as _;

use super::super::SimulatedZendesk;
use super::super::keys::AppKey;
use super::tokens::{self, PublishedKey};
use super::{HelpCenterTheme, HelpCenterToken, keys_of};

impl SimulatedZendesk {
    /// Where customers open the Help Center: `http://127.0.0.1:PORT`, another port than the account's if it is host-mapped.
    pub fn help_center_origin(&self) -> String {
        self.shared.account().help_center.origin(&self.url).to_owned()
    }

    /// A request's page for customers: `…/hc/en-us/requests/ID`.
    pub fn request_page(&self, locale: &str, ticket: u64) -> String {
        format!("{}/hc/{locale}/requests/{ticket}", self.help_center_origin())
    }

    /// A page that signs this user in and goes on to the request's page.
    pub fn signed_in_request_page(&self, user: u64, locale: &str, ticket: u64) -> String {
        format!("{}/hc/test-sign-in?user={user}&return_to=/hc/{locale}/requests/{ticket}", self.help_center_origin())
    }

    /// `NAME=VALUE` of the cookie of a new session of this user at [`SimulatedZendesk::help_center_origin`].
    pub fn help_center_cookie(&self, user: u64) -> String {
        self.write(|account| {
            let host_mapped = account.help_center.mapped_url.is_some();
            let (name, value) = account.help_center.open_session(user, host_mapped);
            format!("{name}={value}")
        })
    }

    /// Everybody is signed out of the Help Center.
    pub fn end_help_center_sessions(&self) {
        self.write(|account| account.help_center.close_sessions());
    }

    /// The theme as it is now.
    pub fn help_center_theme(&self) -> HelpCenterTheme {
        self.shared.account().help_center.theme.clone()
    }

    /// Changes the theme. Refused, as by the theme editor, when a template names what that page does not have.
    pub fn alter_help_center_theme(&self, change: impl FnOnce(&mut HelpCenterTheme)) -> anyhow::Result<()> {
        let mut theme = self.help_center_theme();
        change(&mut theme);
        theme.check()?;
        self.write(|account| account.help_center.theme = theme);
        Ok(())
    }

    /// Whether the plan has the integration token.
    pub fn set_integration_token(&self, there: bool) {
        self.write(|account| account.help_center.integration_token = there);
    }

    /// Parts of a genuine integration token of this user, to be spoilt and signed by [`HelpCenterToken::encode`].
    pub fn help_center_token(&self, user: u64) -> anyhow::Result<HelpCenterToken> {
        self.write(|account| tokens::genuine(account, user))
    }

    /// The `kid` of every key that is shown, oldest first. The last key signs.
    pub fn help_center_key_ids(&self) -> anyhow::Result<Vec<String>> {
        self.write(|account| Ok(keys_of(account)?.iter().filter(|key| key.is_published).map(|key| key.kid.clone()).collect()))
    }

    /// The Help Center signs with a new key from now on; gives its `kid`. The old ones stay published.
    pub async fn rotate_help_center_key(&self) -> anyhow::Result<String> {
        let key = tokio::task::spawn_blocking(AppKey::generate).await.context("making the Help Center's new key")??;
        let published = PublishedKey::new(Arc::new(key));
        let kid = published.kid.clone();
        self.write(|account| keys_of(account).map(|keys| keys.push(published)))?;
        Ok(kid)
    }

    /// The key is not shown any more; tokens of it can be signed all the same. `false` when there is none of that name.
    pub fn withdraw_help_center_key(&self, kid: &str) -> anyhow::Result<bool> {
        self.write(|account| {
            let found = keys_of(account)?.iter_mut().find(|key| key.kid == kid);
            Ok(found.map(|key| key.is_published = false).is_some())
        })
    }
}
