//! Whether our comments on a ticket can be found: RT hides comments from whoever lacks the right ShowTicketComments, and does not tell who has
//! it.
//!
//! RT is asked each time, so a restart forgets nothing. What tells of hidden comments: a search for tickets by who updated them looks at
//! hidden transactions too, and the ticket's LastUpdatedBy names the author of a hidden one (both seen with RT 5.0.3). Times are compared
//! here and not in a search, which would read them in the user's time zone.

use serde_json::Value;

use super::client::{Client, items};
use super::{note, number};
use crate::HelpDeskError;

/// In RT's searches, the user who asks.
const US: &str = "'__CurrentUser__'";
/// Transactions of a ticket that are looked at, the newest.
const MOST: usize = 100;
/// Types of the transactions that RT writes when a ticket is made.
const OF_CREATION: [&str; 4] = ["Create", "AddLink", "EmailRecord", "CommentEmailRecord"];

/// What is known of our comments on a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comments {
    /// They are shown: one that is not found is not there.
    Shown,
    /// There are none: we have not written on the ticket, or it is as we made it.
    NoneOfOurs,
    /// There are some, and they are hidden from us.
    Hidden,
    /// Nothing tells which of these.
    Unclear,
}

/// `ticket`: as RT told it just now.
pub(super) async fn on_ticket(client: &Client, ticket: &Value) -> Result<Comments, HelpDeskError> {
    let id = number(ticket, "that was read")?;
    let path = format!("ticket/{id}/history?fields=Type,Created&orderby=id&order=DESC&per_page={MOST}");
    let history = items(&mut client.get(&path, "the ticket's history").await?);
    let is_of = |types: &[&str], transaction: &Value| transaction["Type"].as_str().is_some_and(|kind| types.contains(&kind));
    if history.iter().any(|transaction| is_of(&["Comment"], transaction)) {
        return Ok(Comments::Shown);
    }
    let is_ticket = async |condition: String| {
        let found =
            client.newest("tickets", &format!("EffectiveId = {id} AND {condition}"), "LastUpdated", 1, "who wrote on the ticket").await?;
        Ok::<_, HelpDeskError>(!found.is_empty())
    };
    if !is_ticket(format!("( UpdatedBy = {US} OR LastUpdatedBy = {US} )")).await? {
        return Ok(Comments::NoneOfOurs);
    }
    if is_ticket(format!("Creator = {US}")).await? {
        let newest = history.iter().filter_map(|transaction| transaction["Created"].as_str()).max();
        if history.iter().all(|transaction| is_of(&OF_CREATION, transaction)) && newest >= ticket["LastUpdated"].as_str() {
            return Ok(Comments::NoneOfOurs);
        }
    } else {
        let query = format!("ObjectType = 'RT::Ticket' AND TicketId = {id} AND Creator = {US}");
        if client.newest("transactions", &query, "Type", 1, "what we wrote on the ticket").await?.is_empty() {
            return Ok(Comments::Hidden);
        }
    }
    let queue = note::id_of(&ticket["Queue"]["id"]).and_then(|id| id.parse().ok());
    let are_shown = match queue {
        Some(queue) => in_queue(client, queue).await?,
        None => false,
    };
    Ok(if are_shown { Comments::Shown } else { Comments::Unclear })
}

/// Whether a comment on any ticket of that queue is shown.
pub(super) async fn in_queue(client: &Client, queue: u64) -> Result<bool, HelpDeskError> {
    let query = format!("ObjectType = 'RT::Ticket' AND Type = 'Comment' AND TicketQueue = {queue}");
    Ok(!client.newest("transactions", &query, "Type", 1, "the queue's comments").await?.is_empty())
}

/// The newest ticket of that queue that we wrote on.
pub(super) async fn written_on(client: &Client, queue: u64) -> Result<Option<String>, HelpDeskError> {
    let query = format!("Queue = {queue} AND ( UpdatedBy = {US} OR LastUpdatedBy = {US} )");
    let found = client.newest("tickets", &query, "LastUpdated", 1, "the tickets written on").await?;
    Ok(found.first().and_then(|row| note::id_of(&row["id"])))
}
