//! Closing tickets by a transition of their workflow, and which of them are closed.

use deskbridge_core::text::shown;
use serde_json::{Value, json};

use super::client::{Fault, Kind};
use super::note::of_ticket;
use super::{Jira, ticket_name};
use crate::HelpDeskError;

/// Longest name told to people.
const MAX_TOLD: usize = 60;

fn is_done(status: &Value) -> bool {
    status["statusCategory"]["key"].as_str() == Some("done")
}

/// The transition that closes. `name`: as the settings have it. The error says what to do.
pub(super) fn choice<'a>(transitions: &'a [Value], name: Option<&str>) -> Result<&'a Value, String> {
    let names = || {
        let names: Vec<String> =
            transitions.iter().filter_map(|transition| transition["name"].as_str()).map(|name| shown(name, MAX_TOLD)).collect();
        if names.is_empty() { "none; the API user may lack the permission Transition Issues".to_owned() } else { names.join(", ") }
    };
    if let Some(name) = name.map(str::trim) {
        let has = |text: &Value| text.as_str().is_some_and(|text| text.trim().to_lowercase() == name.to_lowercase());
        let found = transitions.iter().find(|transition| has(&transition["name"]));
        let found = found.or_else(|| transitions.iter().find(|transition| has(&transition["to"]["name"])));
        return found
            .ok_or_else(|| format!("it offers no transition “{}” (jira.close_transition), but: {}", shown(name, MAX_TOLD), names()));
    }
    let done: Vec<&Value> = transitions.iter().filter(|transition| is_done(&transition["to"])).collect();
    match done[..] {
        [only] => Ok(only),
        [] => Err(format!("no transition leads to a status of the category Done; set jira.close_transition to one of: {}", names())),
        _ => Err(format!("several transitions lead to a status of the category Done; set jira.close_transition to one of: {}", names())),
    }
}

impl Jira {
    pub(super) async fn close_ticket(&self, ticket: &str) -> Result<(), HelpDeskError> {
        let issue = self.client.get(&format!("issue/{ticket}?fields=status"), "the ticket").await;
        let issue = issue.map_err(|fault| of_ticket(ticket, fault))?;
        if is_done(&issue["fields"]["status"]) {
            return Ok(());
        }
        let path = format!("issue/{ticket}/transitions");
        let offered = self.client.get(&path, "the ticket's transitions").await.map_err(|fault| of_ticket(ticket, fault))?;
        let offered = offered["transitions"].as_array().map_or(&[][..], Vec::as_slice);
        let transition = choice(offered, self.section.close_transition.as_deref());
        let transition = transition.map_err(|why| HelpDeskError::Refused(format!("the ticket {ticket} cannot be closed: {why}")))?;
        let body = json!({ "transition": { "id": transition["id"] } });
        let closed = self.client.post(&format!("issue/{ticket}/transitions"), body, "the transition that closes the ticket").await;
        closed.map(drop).map_err(|fault| of_ticket(ticket, fault))
    }

    pub(super) async fn closed(&self, tickets: &[String]) -> Result<Vec<String>, HelpDeskError> {
        let tickets: Vec<&String> = tickets.iter().filter(|ticket| ticket_name::is_key(ticket)).collect();
        if tickets.is_empty() {
            return Ok(Vec::new());
        }
        let what = "the tickets' status";
        let answer = match self.client.kind {
            Kind::Cloud => self.client.post("issue/bulkfetch", json!({ "issueIdsOrKeys": tickets, "fields": ["status"] }), what).await,
            // Keys that are gone are left out instead of refused.
            Kind::DataCenter => {
                let keys = tickets.iter().map(|ticket| format!("\"{ticket}\"")).collect::<Vec<_>>().join(", ");
                let body =
                    json!({ "jql": format!("key in ({keys})"), "fields": ["status"], "maxResults": tickets.len(), "validateQuery": false });
                self.client.post("search", body, what).await
            }
        };
        let answer = match answer {
            // Then one by one.
            Err(Fault::NotFound { .. } | Fault::Refused { .. }) => Value::Null,
            other => other?,
        };
        let issues = answer["issues"].as_array().map_or(&[][..], Vec::as_slice);
        let mut closed = Vec::new();
        let mut sees_project = false;
        for ticket in tickets {
            // A search may not know yet what was made just now; a ticket that was moved has another key.
            let is_closed = match issues.iter().find(|issue| issue["key"].as_str() == Some(ticket)) {
                Some(issue) => is_done(&issue["fields"]["status"]),
                None => match self.client.get(&format!("issue/{ticket}?fields=status"), "the ticket").await {
                    Ok(issue) => is_done(&issue["fields"]["status"]),
                    Err(Fault::NotFound { .. }) => {
                        // Else every ticket would count as gone when the API user loses a permission.
                        if !sees_project {
                            self.client.get(&self.project_path(), "the project").await?;
                            sees_project = true;
                        }
                        true
                    }
                    Err(fault) => return Err(fault.into()),
                },
            };
            if is_closed {
                closed.push(ticket.clone());
            }
        }
        Ok(closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_is_chosen_by_its_name_or_because_it_is_the_only_one() {
        let to = |id: &str, name: &str, status: &str, category: &str| json!({ "id": id, "name": name, "to": { "name": status, "statusCategory": { "key": category } } });
        let one = [to("1", "Start", "In Progress", "indeterminate"), to("2", "Resolve", "Resolved", "done")];
        let two = [one[1].clone(), to("3", "Reject", "Rejected", "done")];
        let id =
            |transitions: &[Value], name: Option<&str>| choice(transitions, name).map(|found| found["id"].as_str().unwrap().to_owned());
        assert_eq!(id(&one, None).as_deref(), Ok("2"));
        assert_eq!(id(&one, Some("resolve ")).as_deref(), Ok("2"));
        assert_eq!(id(&two, Some("Rejected")).as_deref(), Ok("3"));
        assert_eq!(id(&one, Some("Start")).as_deref(), Ok("1"));
        for (transitions, name, says) in [
            (&two[..], None, "several transitions"),
            (&one[..1], None, "no transition leads"),
            (&one, Some("Close"), "no transition “Close”"),
            (&[], Some("Close"), "Transition Issues"),
        ] {
            assert!(id(transitions, name).unwrap_err().contains(says), "{name:?}");
        }
    }
}
