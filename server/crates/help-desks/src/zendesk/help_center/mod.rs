//! The account's Help Center: which pages may call us, who a customer is, which tickets are theirs.

mod check;
mod section;
mod token;

use std::time::Duration;

use deskbridge_http_client::limiter::{Limiter, Urgency, Window};
use reqwest::Method;
use serde_json::{Value, json};

pub use self::check::{LineFound, PageChecked, PageFault};
pub use self::section::{CustomerProof, HelpCenterSection, Who};
use self::token::PublishedKeys;
pub use self::token::{KeysFault, TokenFault};
use super::client::{Answer, Client};
use super::says_closed;
use crate::HelpDeskError;

/// Longest name of a person or a company that is read.
const MAX_NAME: usize = 255;

/// The Help Center of one account.
pub struct HelpCenter {
    client: Client,
    settings: HelpCenterSection,
    /// The account's own, then those of the settings; as browsers write them.
    origins: Vec<String>,
    keys: PublishedKeys,
    /// The account takes so many updates of tickets; they are its agents' and our notes', too.
    writes: Limiter,
}

/// Updates that fill fields: the account takes 100 a minute at least, from all its integrations together (zendesk.md d.11).
const WRITES: Window = Window { calls: 20, length: Duration::from_mins(1) };

/// A ticket as far as its customers' rights go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomersTicket {
    /// Its id.
    pub id: String,
    /// Takes no more notes.
    pub is_closed: bool,
    requester: Option<u64>,
    participants: Vec<u64>,
    organization: Option<u64>,
    fields: Vec<(u64, String)>,
}

/// A customer as the appliance is told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Customer {
    /// Their name.
    pub name: Option<String>,
    /// Their company's name.
    pub company: Option<String>,
}

impl CustomersTicket {
    fn read(ticket: &Value) -> Option<Self> {
        let numbers = |name: &str| ticket[name].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let text = |row: &Value| Some((row["id"].as_u64()?, row["value"].as_str()?.to_owned()));
        Some(Self {
            id: ticket["id"].as_u64()?.to_string(),
            is_closed: ticket["status"].as_str() == Some("closed"),
            requester: ticket["requester_id"].as_u64(),
            participants: ["collaborator_ids", "email_cc_ids"].into_iter().flat_map(numbers).collect(),
            organization: ticket["organization_id"].as_u64(),
            fields: ticket["custom_fields"].as_array().into_iter().flatten().filter_map(text).collect(),
        })
    }

    /// Their user id.
    pub fn requester(&self) -> Option<u64> {
        self.requester
    }

    /// What stands in a custom field; empty where it has no text.
    pub fn field(&self, id: u64) -> &str {
        self.fields.iter().find(|(field, _)| *field == id).map_or("", |(_, value)| value)
    }
}

impl HelpCenter {
    pub(super) fn new(settings: HelpCenterSection, account_origin: String, client: Client) -> Self {
        let mut origins = vec![account_origin];
        origins.extend(settings.origins());
        Self { client, origins, settings, keys: PublishedKeys::default(), writes: Limiter::of_windows(vec![WRITES]) }
    }

    /// The settings.
    pub fn settings(&self) -> &HelpCenterSection {
        &self.settings
    }

    /// Whose pages may call us: the account's origin first.
    pub fn origins(&self) -> &[String] {
        &self.origins
    }

    /// Whether a customer may prove themself so.
    pub fn takes(&self, proof: CustomerProof) -> bool {
        self.settings.customer_proof.contains(&proof)
    }

    /// The user whose token it is. `now`: Unix seconds.
    ///
    /// # Errors
    /// The account's keys cannot be had; inside, why the token proves nothing.
    pub async fn user_of_token(&self, token: &str, now: i64) -> Result<Result<u64, TokenFault>, KeysFault> {
        self.keys.user_of(&self.client, token, now).await
    }

    /// A ticket. None: there is none, it was deleted, or the API user may not see it.
    pub async fn ticket(&self, id: &str) -> Result<Option<CustomersTicket>, HelpDeskError> {
        let answer = self.client.get(&format!("/api/v2/tickets/{id}")).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        if answer.status == 403 && answer.body.is_object() && !answer.is_refused_everywhere {
            tracing::warn!(ticket = id, "the API user may not read a customer's ticket; give its role access to all tickets");
            return Ok(None);
        }
        let answer = answer.ok("the ticket")?;
        let ticket = &answer["ticket"];
        if ticket["status"].as_str() == Some("deleted") {
            return Ok(None);
        }
        let read = CustomersTicket::read(ticket).ok_or_else(|| HelpDeskError::passing("Zendesk answered without the ticket"))?;
        Ok(Some(read))
    }

    /// Whether the ticket is that user's, as the settings have it.
    pub fn is_of(&self, ticket: &CustomersTicket, user: u64) -> bool {
        let is_participant = self.settings.who == Who::Participants && ticket.participants.contains(&user);
        ticket.requester == Some(user) || is_participant
    }

    /// Name and company of a user with this ticket, as far as the account tells. A chat does not wait for a person who mends that.
    pub async fn customer(&self, user: Option<u64>, ticket: &CustomersTicket) -> Customer {
        let Some(user) = user else { return Customer::default() };
        let user = self.read(&format!("/api/v2/users/{user}"), "the customer").await;
        let user = &user["user"];
        let company = match ticket.organization.or_else(|| user["organization_id"].as_u64()) {
            Some(id) => named(&self.read(&format!("/api/v2/organizations/{id}"), "the customer's organization").await["organization"]),
            None => None,
        };
        Customer { name: named(user), company }
    }

    async fn read(&self, path: &str, what: &str) -> Value {
        let answer = match self.client.get(path).await {
            Ok(answer) => answer.ok(what),
            Err(error) => Err(error),
        };
        answer.unwrap_or_else(|error| {
            tracing::warn!(%error, "a chat starts without a part of the customer's name");
            Value::Null
        })
    }

    /// Writes text into custom fields of a ticket; nothing else of it changes. False: the ticket is closed.
    pub async fn write_fields(&self, ticket: &str, values: &[(u64, String)]) -> Result<bool, HelpDeskError> {
        let fields: Vec<Value> = values.iter().map(|(id, value)| json!({"id": id, "value": value})).collect();
        let body = json!({"ticket": {"custom_fields": fields}});
        let busy = |_| HelpDeskError::passing("too many tickets were opened at once; the next look at it fills its fields");
        let _turn = self.writes.turn(Urgency::Work).await.map_err(busy)?;
        let answer = self.client.change(Method::PUT, &format!("/api/v2/tickets/{ticket}"), &body).await?;
        match answer.ok("the ticket's fields") {
            Ok(answer) => held(&answer, values),
            Err(HelpDeskError::Refused(what)) if says_closed(&what) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Zendesk passes over a field that does not exist, without a word (as we recall it).
fn held(answer: &Value, values: &[(u64, String)]) -> Result<bool, HelpDeskError> {
    let ticket = &answer["ticket"];
    let Some(read) = CustomersTicket::read(ticket).filter(|_| ticket["custom_fields"].is_array()) else { return Ok(true) };
    match values.iter().find(|(id, value)| read.field(*id) != value) {
        Some((id, _)) => Err(HelpDeskError::Refused(format!("Zendesk did not keep the value of ticket field {id}"))),
        None => Ok(true),
    }
}

fn named(thing: &Value) -> Option<String> {
    let name = thing["name"].as_str()?.trim();
    (!name.is_empty()).then(|| name.chars().take(MAX_NAME).collect())
}

/// The account's answer, or what its refusal means.
fn ok(answer: Result<Answer, HelpDeskError>, what: &str) -> Result<Value, HelpDeskError> {
    answer?.ok(what)
}
