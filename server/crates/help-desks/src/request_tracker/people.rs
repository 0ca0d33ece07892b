//! Agents: RT's privileged users, by e-mail address.
//!
//! REST 2 does not tell which rights another user has, so every privileged user who is not disabled counts as an agent of every ticket that
//! the API user sees.

use serde_json::{Value, json};

use super::client::Client;
use crate::{Agent, HelpDeskError, NotAllowed};

/// What RT is told to show of users, where an administrator has changed it.
const SUMMARY: &str = "$UserSummaryExtraInfo must have EmailAddress in it (RealName, EmailAddress, Name is the default), or give the API user \
    the right AdminUsers";

/// The agent with that address.
pub(super) async fn agent(client: &Client, email: &str) -> Result<Agent, HelpDeskError> {
    let email = email.trim();
    let conditions = json!([{ "field": "EmailAddress", "value": email }]);
    // Disabled users are not among the found.
    let rows = client.search("users?fields=Name,EmailAddress&per_page=20", &conditions, "users").await?;
    let has_address = |row: &&Value| row["EmailAddress"].as_str().is_some_and(|address| address.trim().eq_ignore_ascii_case(email));
    let Some(name) = rows.iter().find(has_address).and_then(|row| row["Name"].as_str().or_else(|| row["id"].as_str())) else {
        // Without that field the condition counts for nothing, and everybody is found.
        if rows.iter().any(|row| row["EmailAddress"].as_str().is_none()) {
            return Err(HelpDeskError::Refused(format!("Request Tracker does not tell the API user users' addresses: {SUMMARY}")));
        }
        return Err(HelpDeskError::not_allowed(
            NotAllowed::NotAnAgent,
            format!("Request Tracker has no user with the e-mail address {email} who is not disabled"),
        ));
    };
    let user = client.get(&format!("user/{}", deskbridge_shared::percent::encode(name)), "a user").await?;
    // A name of digits alone would be taken for an id.
    let is_they = has_address(&&user);
    let is_privileged = user["Privileged"].as_u64() == Some(1) || user["Privileged"].as_str() == Some("1");
    if !(is_they && is_privileged) {
        return Err(HelpDeskError::not_allowed(
            NotAllowed::NotAnAgent,
            format!("the user with the e-mail address {email} is not privileged in Request Tracker"),
        ));
    }
    let real_name = user["RealName"].as_str().filter(|name| !name.trim().is_empty()).unwrap_or(name).to_owned();
    Ok(Agent { name: real_name, email: Some(email.to_owned()), locale: None, is_administrator: false })
}
