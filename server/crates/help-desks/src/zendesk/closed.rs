//! Tickets that take no notes any more: closed ones, and those merged into another. What belongs there goes to the other ticket, or to a
//! follow-up.

use deskbridge_documents::neutralise;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{FIRST_PAGE, OnClosed, TicketCreation, Zendesk, page_of_ticket};
use crate::{HelpDeskError, Prepared, Write};

/// The account puts it on a ticket that it merges into another.
const MERGED: &str = "closed_by_merge";
/// The comments that a merge leaves on both tickets are written together.
const WRITTEN_TOGETHER_SECONDS: i64 = 10 * 60;

impl Zendesk {
    /// The error of a ticket on which nothing can be written, `None` for any other.
    pub(super) async fn unwritable(&self, ticket: &Value) -> Result<Option<HelpDeskError>, HelpDeskError> {
        let id = ticket["id"].as_u64().unwrap_or_default();
        Ok(match ticket["status"].as_str() {
            Some("deleted") => Some(deleted(id)),
            Some("closed") => {
                let merged_into = self.merged_into(ticket).await?.map(|id| id.to_string());
                let what = match self.settings.on_closed {
                    OnClosed::FollowUp => format!("ticket {id} is closed"),
                    OnClosed::DeadLetter => format!(
                        "ticket {id} is closed and takes no notes any more; set the session's external key to a follow-up ticket, or \
                         on_closed = \"follow_up\" to have one made, then retry this event"
                    ),
                };
                Some(HelpDeskError::Closed { ticket: id.to_string(), what, merged_into })
            }
            _ => None,
        })
    }

    /// The ticket that a closed one was merged into. No field names it: only the comments do that the agent who merged them left on both, last on
    /// the one that was closed by it. Nothing else is believed, since the report would stand on a stranger's ticket.
    async fn merged_into(&self, source: &Value) -> Result<Option<u64>, HelpDeskError> {
        let is_merged = source["tags"].as_array().into_iter().flatten().any(|tag| tag.as_str() == Some(MERGED));
        let Some(id) = source["id"].as_u64().filter(|_| is_merged) else { return Ok(None) };
        let of_source = self.newest_comments(id).await?;
        let Some(comment) = of_source.first() else { return Ok(None) };
        let Some(author) = comment["author_id"].as_u64() else { return Ok(None) };
        match self.profile(author).await {
            Ok(profile) if profile.is_agent => {}
            Ok(_) | Err(HelpDeskError::NotAllowed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        for target in tickets_named(comment).into_iter().filter(|target| *target != id).take(3) {
            let answer = self.newest_comments(target).await;
            let of_target = match answer {
                Err(HelpDeskError::NoTicket(_)) => continue,
                other => other?,
            };
            let answers = |other: &Value| {
                other["author_id"] == comment["author_id"]
                    && seconds_apart(other, comment).is_some_and(|seconds| seconds <= WRITTEN_TOGETHER_SECONDS)
                    && tickets_named(other).contains(&id)
            };
            if of_target.iter().any(answers) {
                return Ok(Some(target));
            }
        }
        Ok(None)
    }

    async fn newest_comments(&self, ticket: u64) -> Result<Vec<Value>, HelpDeskError> {
        let answer = self.client.get(&format!("/api/v2/tickets/{ticket}/comments?sort=-created_at&{FIRST_PAGE}")).await?;
        let page = page_of_ticket(answer, &ticket.to_string(), "the ticket's comments")?;
        Ok(page["comments"].as_array().cloned().unwrap_or_default())
    }

    /// A ticket that goes on from the closed one, for the same requester. Its first note is ours, and internal.
    pub(super) async fn prepare_follow_up(&self, write: &Write<'_>, text: &str) -> Result<Prepared<'_>, HelpDeskError> {
        let source = self.ticket_json(write.ticket).await?;
        let author = self.whoami().await?.id;
        let subject = source["subject"].as_str().unwrap_or_default();
        let ticket = json!({
            "via_followup_source_id": source["id"],
            "subject": neutralise(subject),
            "requester_id": source["requester_id"],
            "submitter_id": author,
            "comment": { "body": neutralise(text), "public": false, "author_id": author },
            "external_id": write.marker,
        });
        let request = self.client.create("/api/v2/tickets", write.marker, &json!({ "ticket": ticket })).await?;
        Ok(Box::new(TicketCreation(request)))
    }
}

pub(super) fn deleted(id: u64) -> HelpDeskError {
    HelpDeskError::NoTicket(format!("ticket {id} was deleted"))
}

/// The tickets a comment names, `#123`, in order.
fn tickets_named(comment: &Value) -> Vec<u64> {
    let text = comment["plain_body"].as_str().or_else(|| comment["body"].as_str()).unwrap_or_default();
    let number = |after: &str| {
        let digits = after.find(|character: char| !character.is_ascii_digit()).map_or(after, |end| &after[..end]);
        digits.parse().ok()
    };
    text.split('#').skip(1).filter_map(number).collect()
}

fn seconds_apart(one: &Value, other: &Value) -> Option<i64> {
    let at = |comment: &Value| OffsetDateTime::parse(comment["created_at"].as_str()?, &Rfc3339).ok();
    Some((at(one)? - at(other)?).whole_seconds().abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_named_by_their_number() {
        let check = |text: &str, expected: &[u64]| assert_eq!(tickets_named(&json!({ "plain_body": text })), expected, "{text}");
        check("This request was closed and merged into request #35436 \"VPN #2\".", &[35_436, 2]);
        check("Diese Anfrage wurde geschlossen und mit Anfrage #7 zusammengeführt.", &[7]);
        check("# 7 #x ## #99999999999999999999", &[]);
        check("#1#2", &[1, 2]);
        assert_eq!(tickets_named(&json!({ "body": "see #5" })), [5]);
        assert_eq!(tickets_named(&json!({})), [0; 0]);
    }
}
