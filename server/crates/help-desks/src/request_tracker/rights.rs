//! What `deskbridge check` asks: that RT is there, that the API user is known, and that they have each right the settings need. Nothing is
//! written.

use deskbridge_core::finding::Finding;
use serde_json::Value;

use super::client::Fault;
use super::comments::{self, Comments};
use super::{RequestTracker, links, people};
use crate::HelpDeskError;
use crate::zendesk::NoteVisibility;

impl RequestTracker {
    pub(super) async fn check_rights(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        match self.client.get("rt", "RT's version").await {
            Ok(rt) => {
                let version = rt["Version"].as_str().unwrap_or("of no told version");
                findings.push(Finding::good("Request Tracker login", format!("version {version} at {}", self.section.site())));
            }
            Err(fault) => return vec![Finding::bad("Request Tracker login", HelpDeskError::from(fault).to_string())],
        }
        let queue = self.section.queue.trim();
        let path = format!("queue/{}", deskbridge_shared::percent::encode(queue));
        match self.client.get(&path, "the queue").await {
            Ok(found) => findings.extend(self.rights_in_queue(&found).await),
            Err(Fault::NoRight { .. } | Fault::NotFound(_)) => findings.push(Finding::bad(
                "queue",
                format!(
                    "RT shows the API user no queue “{queue}”: correct request_tracker.queue (a name with a slash in it is given as the queue's \
                     number), or give the API user the right SeeQueue for it. RT answers the same for both"
                ),
            )),
            Err(fault) => findings.push(Finding::bad("queue", HelpDeskError::from(fault).to_string())),
        }
        findings.push(self.sees_users().await);
        findings
    }

    async fn rights_in_queue(&self, queue: &Value) -> Vec<Finding> {
        let name = queue["Name"].as_str().unwrap_or_default();
        let mut findings = vec![if queue["Disabled"].as_str() == Some("1") {
            Finding::bad("queue", format!("the queue “{name}” is disabled; enable it, or name another"))
        } else {
            Finding::good("queue", name)
        }];
        if self.section.enable_automatic_ticket_creation {
            findings.push(right("right CreateTicket", links(queue).any(|link| link == "create"), name, "automatic tickets"));
        }
        let Some(number) = queue["id"].as_u64() else { return findings };
        // Of the tickets the API user may see: without ShowTicket there is none.
        let newest = self.client.newest("tickets", &format!("Queue = {number}"), "Subject", 1, "the queue's tickets").await;
        let ticket = match newest {
            Ok(rows) => rows.first().and_then(|row| super::note::id_of(&row["id"])),
            Err(fault) => {
                findings.push(Finding::bad("right ShowTicket", HelpDeskError::from(fault).to_string()));
                return findings;
            }
        };
        let Some(ticket) = ticket else {
            let missing = format!(
                "the API user sees no ticket in “{name}”: the queue has none, or they lack the right ShowTicket. What they may do on tickets \
                 is seen when there is one"
            );
            findings.push(Finding::note("right ShowTicket", missing));
            return findings;
        };
        match self.client.get(&format!("ticket/{ticket}"), "a ticket").await {
            Ok(found) => {
                findings.push(Finding::good("right ShowTicket", format!("looked at ticket {ticket}")));
                let offers = |wanted: &str| links(&found).any(|link| link == wanted);
                findings.push(right("right CommentOnTicket", offers("comment"), name, "session reports"));
                if self.section.note_visibility == NoteVisibility::Public {
                    findings.push(right("right ReplyToTicket", offers("correspond"), name, "reports that requestors read"));
                }
            }
            Err(fault) => findings.push(Finding::bad("right ShowTicket", HelpDeskError::from(fault).to_string())),
        }
        findings.push(self.sees_comments(number, name).await);
        findings
    }

    /// RT does not tell whether somebody has this right.
    async fn sees_comments(&self, queue: u64, name: &str) -> Finding {
        const WHAT: &str = "right ShowTicketComments";
        const NEEDED_FOR: &str = "without it a note whose write got no answer is not found again, and its event is a dead letter";
        let looked = async {
            if comments::in_queue(&self.client, queue).await? {
                return Ok((Comments::Shown, String::new()));
            }
            let Some(ticket) = comments::written_on(&self.client, queue).await? else { return Ok((Comments::NoneOfOurs, String::new())) };
            let found = self.client.get(&format!("ticket/{ticket}"), "a ticket").await?;
            Ok::<_, HelpDeskError>((comments::on_ticket(&self.client, &found).await?, ticket))
        };
        match looked.await {
            Ok((Comments::Shown, _)) => Finding::good(WHAT, "comments are seen"),
            Ok((Comments::Hidden, ticket)) => Finding::bad(
                WHAT,
                format!(
                    "the API user has commented on ticket {ticket} in “{name}” and does not see the comment. Give them the right \
                     ShowTicketComments: {NEEDED_FOR}: Admin > Queues > “{name}” > User Rights > ShowTicketComments"
                ),
            ),
            Ok((Comments::NoneOfOurs | Comments::Unclear, _)) => Finding::note(
                WHAT,
                format!(
                    "the API user sees no comment in “{name}”. Unless it has none, give them the right ShowTicketComments: {NEEDED_FOR}"
                ),
            ),
            Err(error) => Finding::note(WHAT, error.to_string()),
        }
    }

    /// Looks for nobody in particular.
    async fn sees_users(&self) -> Finding {
        const WHAT: &str = "agents";
        match people::agent(&self.client, "nobody@deskbridge.invalid").await {
            Ok(_) | Err(HelpDeskError::NotAllowed { .. }) => Finding::good(WHAT, "are known by their e-mail address"),
            Err(error) => Finding::bad(WHAT, format!("{error}. The API user must be privileged (“Let this user be granted rights”)")),
        }
    }
}

fn right(what: &'static str, is_given: bool, queue: &str, needed_for: &str) -> Finding {
    if is_given {
        return Finding::good(what, format!("given for “{queue}”"));
    }
    let name = what.trim_start_matches("right ");
    Finding::bad(
        what,
        format!("the API user lacks it for “{queue}”; {needed_for} need it: Admin > Queues > “{queue}” > User Rights > {name}"),
    )
}
