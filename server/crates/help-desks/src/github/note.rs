//! Comments, and how what we wrote is found again.
//!
//! GitHub's search index lags, its lists do not. What we write ends with its marker in a code block, and nothing of strangers can stand in
//! one behind it.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Client, Fault, PER_PAGE, Ready};
use crate::HelpDeskError;

/// An issue takes 2,500 comments on github.com.
const MOST_PAGES_OF_COMMENTS: usize = 100;
/// GitHub takes at most 500 new issues an hour from one user, and a write of unknown fate is decided within minutes.
const MOST_PAGES_OF_ISSUES: usize = 20;

/// Gets a comment ready to be sent.
pub(super) async fn ready<'a>(client: &'a Client, repository: &str, ticket: &str, body: &str) -> Result<Ready<'a>, HelpDeskError> {
    client.ready(Method::POST, format!("repos/{repository}/issues/{ticket}/comments"), json!({ "body": body }), "the comment").await
}

/// The id of the comment with that marker.
pub(super) async fn find(
    client: &Client,
    repository: &str,
    ticket: &str,
    marker: &str,
    login: Option<&str>,
) -> Result<Option<String>, Fault> {
    let (path, mut query) = (format!("repos/{repository}/issues/{ticket}/comments"), format!("per_page={PER_PAGE}"));
    for _ in 0..MOST_PAGES_OF_COMMENTS {
        let page = client.page(&path, &query, "the ticket's comments").await?;
        if let Some(comment) = page.items.iter().find(|comment| is_ours(comment, marker, login)) {
            return Ok(comment["id"].as_u64().map(|id| id.to_string()));
        }
        let Some(next) = page.next else { return Ok(None) };
        query = next;
    }
    Err(HelpDeskError::Refused(format!(
        "nobody knows whether the note stands on ticket {ticket}: it has more comments than are looked through. It is not written again, so that \
         it does not stand twice; look at the ticket"
    ))
    .into())
}

/// The number of the issue with that marker.
pub(super) async fn find_issue(client: &Client, repository: &str, marker: &str, login: Option<&str>) -> Result<Option<String>, Fault> {
    let path = format!("repos/{repository}/issues");
    let mut query = format!("state=all&sort=created&direction=desc&per_page={PER_PAGE}");
    for _ in 0..MOST_PAGES_OF_ISSUES {
        let page = client.page(&path, &query, "the repository's issues").await?;
        // The oldest: a person may have copied it.
        let found = page.items.iter().rev().find(|issue| is_ours(issue, marker, login));
        if let Some(issue) = found {
            return Ok(issue["number"].as_u64().map(|number| number.to_string()));
        }
        let Some(next) = page.next else { break };
        query = next;
    }
    Ok(None)
}

/// Whether it ends with the marker and is of the token's user, where that is known.
fn is_ours(item: &Value, marker: &str, login: Option<&str>) -> bool {
    let is_of_others = login.zip(item["user"]["login"].as_str()).is_some_and(|(ours, theirs)| !ours.eq_ignore_ascii_case(theirs));
    !is_of_others && item["body"].as_str().is_some_and(|body| ends_with_marker(body, marker))
}

fn ends_with_marker(body: &str, marker: &str) -> bool {
    let mut lines = body.trim_end().lines().rev().map(str::trim_end);
    let is_fence = |line: Option<&str>| line.is_some_and(|line| line == "```");
    is_fence(lines.next()) && lines.next() == Some(marker) && is_fence(lines.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_stands_at_the_end_in_a_block_of_its_own() {
        let marker = "deskbridge/incident-ab";
        for (body, expected) in [
            ("Link down\n\n```\ndeskbridge/incident-ab\n```", true),
            ("Link down\r\n\r\n```\r\ndeskbridge/incident-ab\r\n```\r\n", true),
            ("deskbridge/incident-ab\n\n```\ndeskbridge/incident-cd\n```", false),
            ("```\ndeskbridge/incident-ab\n```\n\n```\ndeskbridge/incident-cd\n```", false),
            ("```\ndeskbridge/incident-abc\n```", false),
            ("deskbridge/incident-ab", false),
            ("", false),
        ] {
            assert_eq!(ends_with_marker(body, marker), expected, "{body}");
        }
    }

    #[test]
    fn what_others_wrote_is_not_ours() {
        let item = json!({ "body": "```\nm\n```", "user": { "login": "Deskbridge-Bot" } });
        assert!(is_ours(&item, "m", Some("deskbridge-bot")) && is_ours(&item, "m", None));
        assert!(!is_ours(&item, "m", Some("somebody")));
    }
}
