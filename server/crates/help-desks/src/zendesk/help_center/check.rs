//! Whether the Help Center is set up for the button: for `deskbridge check` and for the administrator's page.

use std::time::Duration;

use deskbridge_core::finding::Finding;
use futures_util::future::join_all;
use serde_json::Value;

use super::{CustomerProof, HelpCenter, KeysFault, ok};
use crate::HelpDeskError;

/// A page leads elsewhere at most so often: `/hc` to a language, a brand to its mapped address.
const MOST_REDIRECTS: usize = 3;
/// Time for a page, with all that leads to it.
const PAGE_TIME: Duration = Duration::from_secs(10);
/// What stands in the script's address behind our own.
const SCRIPT: &str = deskbridge_shared::routes::HELP_CENTER_BUTTON;

/// Whether the button's line stands in a public page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFound {
    /// It is there, for this connection.
    Ours,
    /// It is there, for another connection or server.
    Another,
    /// It is not there: perhaps the snippet stands in the request's page, which only its customer can read.
    None,
}

/// Why a public page could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageFault {
    /// No answer.
    #[error("{0}")]
    Unreachable(String),
    /// HTTP 401 or 403.
    #[error("it asks for a sign-in; the Help Center is restricted or not activated")]
    SignIn,
    /// HTTP 404.
    #[error("there is no Help Center (HTTP 404); activate it, or correct the address")]
    NotThere,
    /// Another answer that is no page.
    #[error("HTTP {0}")]
    Status(u16),
    /// A redirect that cannot be followed.
    #[error("it leads nowhere")]
    LeadsNowhere,
    /// A redirect to an origin that is not the Help Center's.
    #[error("it leads to {0}; add that to origins if customers see it there")]
    LeadsTo(String),
    /// Too many redirects.
    #[error("it leads from one address to the next")]
    LeadsOn,
}

/// What a public page showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageChecked {
    /// The origin that was asked.
    pub origin: String,
    /// What was found, or why the page could not be read.
    pub found: Result<LineFound, PageFault>,
}

impl HelpCenter {
    /// Reads a public page of each origin and looks for the button's line. `public_url`: ours; `names`: what the connection is called.
    pub async fn check_pages(&self, public_url: &str, names: &[&str]) -> Vec<PageChecked> {
        let checks = self.origins().iter().map(async |origin| {
            let found = self.public_page(origin).await.map(|page| line_in(&page, public_url, names));
            PageChecked { origin: origin.clone(), found }
        });
        join_all(checks).await
    }

    /// The Help Center's home page, in whatever language it comes.
    async fn public_page(&self, origin: &str) -> Result<String, PageFault> {
        let page = tokio::time::timeout(PAGE_TIME, self.followed_page(origin)).await;
        page.unwrap_or_else(|_| Err(PageFault::Unreachable("no answer in time".into())))
    }

    async fn followed_page(&self, origin: &str) -> Result<String, PageFault> {
        let mut address = format!("{origin}/hc");
        for _ in 0..=MOST_REDIRECTS {
            let page = self.client.public_page(&address).await.map_err(|error| PageFault::Unreachable(error.to_string()))?;
            match page.status {
                200..=299 => return Ok(page.text),
                301..=308 => address = self.next(&address, page.location.as_deref())?,
                401 | 403 => return Err(PageFault::SignIn),
                404 => return Err(PageFault::NotThere),
                status => return Err(PageFault::Status(status)),
            }
        }
        Err(PageFault::LeadsOn)
    }

    /// Where a page leads, if that is one of the Help Center's own addresses.
    fn next(&self, from: &str, location: Option<&str>) -> Result<String, PageFault> {
        let base = url::Url::parse(from).ok();
        let next = base.zip(location).and_then(|(base, location)| base.join(location).ok()).ok_or(PageFault::LeadsNowhere)?;
        let origin = next.origin().ascii_serialization();
        if self.origins().contains(&origin) { Ok(next.into()) } else { Err(PageFault::LeadsTo(origin)) }
    }

    /// Adds what `deskbridge check` says.
    pub(in crate::zendesk) async fn check(&self, findings: &mut Vec<Finding>) {
        let checks = self.origins().iter().map(async |origin| match self.public_page(origin).await {
            Ok(_) => Finding::good("Help Center", format!("{origin} answers")),
            Err(what) => Finding::note("Help Center", format!("{origin}: {what}")),
        });
        findings.extend(join_all(checks).await);
        if self.takes(CustomerProof::HelpCenterToken) {
            findings.push(self.check_tokens().await);
        }
        for (field, use_for) in [(self.settings.ticket_field, "ticket_field"), (self.settings.link_field, "link_field")] {
            if let Some(field) = field {
                findings.push(self.check_field(field, use_for).await);
            }
        }
    }

    async fn check_tokens(&self) -> Finding {
        const WHAT: &str = "Help Center tokens";
        match self.keys.count(&self.client).await {
            Ok(0) => Finding::bad(WHAT, "the account publishes no key that signs with RS256"),
            Ok(count) => Finding::good(WHAT, format!("{count} keys published")),
            Err(KeysFault::NotOnThisPlan) if self.settings.customer_proof == [CustomerProof::HelpCenterToken] => Finding::bad(
                WHAT,
                "the account's plan does not have them, so no customer can start a chat; add ticket_field or chat_link to customer_proof",
            ),
            Err(fault @ KeysFault::NotOnThisPlan) if self.has_proof_in_a_field() => {
                Finding::note(WHAT, format!("{fault}; the other proofs are used"))
            }
            Err(fault @ KeysFault::NotOnThisPlan) => {
                let what = "the button cannot open a chat, only links that agents send can; name a ticket_field, or a link_field";
                Finding::note(WHAT, format!("{fault}; {what}"))
            }
            Err(fault) => Finding::bad(WHAT, fault.to_string()),
        }
    }

    /// Whether the button finds a proof in one of the ticket's fields.
    fn has_proof_in_a_field(&self) -> bool {
        self.takes(CustomerProof::TicketField) || (self.takes(CustomerProof::ChatLink) && self.settings.link_field.is_some())
    }

    async fn check_field(&self, id: u64, use_for: &'static str) -> Finding {
        let answer = ok(self.client.get(&format!("/api/v2/ticket_fields/{id}")).await, "the ticket field");
        let field = match &answer {
            Ok(answer) => &answer["ticket_field"],
            Err(HelpDeskError::Refused(_)) => {
                return Finding::bad(use_for, format!("there is no ticket field {id}; make a text field and name its number"));
            }
            Err(error) => return Finding::bad(use_for, error.to_string()),
        };
        let faults = field_faults(field);
        let title = field["title"].as_str().unwrap_or_default();
        if faults.is_empty() {
            Finding::good(use_for, format!("“{title}” ({id}): customers see it and cannot edit it"))
        } else {
            Finding::bad(use_for, format!("“{title}” ({id}): {}", faults.join("; ")))
        }
    }
}

/// What is wrong with a field for values of ours, with what to do.
fn field_faults(field: &Value) -> Vec<&'static str> {
    let is = |name: &str| field[name].as_bool();
    let rules = [
        (!matches!(field["type"].as_str(), Some("text" | "textarea")), "it is no text field; use one of type Text"),
        (is("active") == Some(false), "it is deactivated; activate it"),
        (
            is("visible_in_portal") != Some(true),
            "customers do not see it; set its permissions so that end users can view it, and only agents edit it",
        ),
        (
            is("editable_in_portal") != Some(false),
            "customers can edit it, so its value proves nothing; set its permissions so that end users can only view it",
        ),
    ];
    rules.into_iter().filter_map(|(is_wrong, what)| is_wrong.then_some(what)).collect()
}

/// Looks for `<script src="{public_url}/help-center/button.js" data-connection="…">`.
fn line_in(page: &str, public_url: &str, names: &[&str]) -> LineFound {
    let page = &without_comments(page);
    let mut found = LineFound::None;
    for (position, _) in page.match_indices(SCRIPT) {
        let start = page[..position].rfind('<').unwrap_or(position);
        let tag = &page[start..page[position..].find('>').map_or(page.len(), |end| position + end)];
        if !tag.get(..7).is_some_and(|name| name.eq_ignore_ascii_case("<script")) {
            continue;
        }
        let is_ours = tag.contains(&format!("{public_url}{SCRIPT}"));
        let called = attribute(tag, "data-connection");
        if is_ours && called.is_some_and(|called| names.contains(&called.as_str())) {
            return LineFound::Ours;
        }
        found = LineFound::Another;
    }
    found
}

/// A line that was commented out is not there.
fn without_comments(page: &str) -> String {
    let mut parts = page.split("<!--");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once("-->").map_or("", |(_, rest)| rest))
}

/// An attribute of a tag, with its references resolved as far as names of connections need it.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!("{name}="))?;
    let value = match rest.chars().next()? {
        quote @ ('"' | '\'') => rest[1..].split(quote).next()?,
        _ => rest.split(|character: char| character.is_whitespace() || character == '>').next()?,
    };
    let plain = [("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    Some(plain.into_iter().fold(value.to_owned(), |text, (reference, plain)| text.replace(reference, plain)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_line_is_found_in_a_page_and_another_servers_is_not_taken_for_it() {
        let check = |page: &str, expected| assert_eq!(line_in(page, "https://remote.example.com", &["Z & D", "id"]), expected, "{page}");
        let line = |server: &str, connection: &str| {
            format!("<head><script\n src=\"{server}/help-center/button.js\" data-connection=\"{connection}\" defer></script></head>")
        };
        check(&line("https://remote.example.com", "id"), LineFound::Ours);
        check(&line("https://remote.example.com", "Z &amp; D"), LineFound::Ours);
        check(&line("https://remote.example.com", "another"), LineFound::Another);
        check(&line("https://other.example.com", "id"), LineFound::Another);
        check(&(line("https://other.example.com", "id") + &line("https://remote.example.com", "id")), LineFound::Ours);
        check("<script src=https://remote.example.com/help-center/button.js data-connection=id defer></script>", LineFound::Ours);
        check("<p>https://remote.example.com/help-center/button.js data-connection=\"id\"</p>", LineFound::None);
        check("/help-center/button.js", LineFound::None);
        check(&format!("<!-- {} -->", line("https://remote.example.com", "id")), LineFound::None);
        check(&format!("<!-- old --><!-- -->{}<!-- not ended", line("https://remote.example.com", "id")), LineFound::Ours);
        check("", LineFound::None);
    }

    #[test]
    fn a_field_is_seen_and_not_edited_by_customers() {
        let check = |change: Value, faults: usize| {
            let mut field = json!({"type": "text", "active": true, "visible_in_portal": true, "editable_in_portal": false});
            field.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            assert_eq!(field_faults(&field).len(), faults, "{field}");
        };
        check(json!({}), 0);
        check(json!({"type": "textarea"}), 0);
        check(json!({"type": "checkbox"}), 1);
        check(json!({"active": false}), 1);
        check(json!({"visible_in_portal": false}), 1);
        check(json!({"editable_in_portal": true}), 1);
        check(json!({"editable_in_portal": null, "visible_in_portal": null}), 2);
    }
}
