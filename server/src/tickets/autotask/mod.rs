//! Autotask over its REST API (autotask-extension.md a), as one API user of a tenant.
//!
//! Must not retry or remember: each write is one request, but for what a refusal has shown not to be written. What is kept is
//! what the tenant says about itself: its zone, the values of its lists, its people's ids.

mod attachment;
mod client;
mod defaults;
mod limits;
mod lookup;
mod metadata;
mod note;
mod query;
mod remembered;
mod rights;
mod text;
mod ticket;
mod time_entry;
mod words;
mod zone;

use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;
use secrecy::SecretString;

pub use defaults::{Given, TicketDefaults, TimeDefaults};
pub use rights::Finding;
pub use zone::Zone;

use self::client::{Client, Fault};
use self::lookup::Lookup;
use self::metadata::Metadata;
use self::remembered::Freshness;
use super::{Abilities, Agent, AgentReference, Files, NewNote, NewTicket, Ticket, TicketError, TicketSystem, TimeEntry};
use crate::clock::Clock;
use crate::config::{AutotaskSection, LabelOrId};
use crate::reports::{Attachment, Body, NoteLimit};

/// A ticket's number is never another ticket's; this only bounds the memory.
const NUMBERS_KEPT: Duration = Duration::from_hours(1);
const MAX_NUMBERS: u64 = 10_000;

/// Autotask works at a request this long at most (autotask-extension.md a.12).
const SETTLES_WITHIN: Duration = Duration::from_mins(5);

/// What a tenant's connector needs.
pub struct AutotaskSettings {
    /// Its section.
    pub section: AutotaskSection,
    /// The API user's secret.
    pub secret: SecretString,
    /// The tracking identifier.
    pub integration_code: SecretString,
    /// The configuration item's field with the machine's name.
    pub target_field: Option<String>,
}

/// One tenant.
pub struct Autotask {
    settings: AutotaskSettings,
    time_defaults: TimeDefaults,
    ticket_defaults: TicketDefaults,
    client: Client,
    metadata: Metadata,
    lookup: Lookup,
    numbers: Cache<String, i64>,
    clock: Clock,
}

impl Autotask {
    /// A tenant. Nothing is contacted. The error names the setting at fault.
    pub fn new(settings: AutotaskSettings) -> Result<Self, String> {
        let section = &settings.section;
        let expected = |key: &'static str| move |expected: String| format!("{key}: expected {expected}");
        let time_defaults = section.time_entry_default_data.as_deref().map(TimeDefaults::read).transpose();
        let ticket_defaults = section.ticket_default_data.as_deref().map(TicketDefaults::read).transpose();
        Ok(Self {
            time_defaults: time_defaults.map_err(expected("time_entry_default_data"))?.unwrap_or_default(),
            ticket_defaults: ticket_defaults.map_err(expected("ticket_default_data"))?.unwrap_or_default(),
            client: Client::new(&section.username, &settings.secret, &settings.integration_code, section.services_url.as_deref())?,
            metadata: Metadata::new(),
            lookup: Lookup::new(),
            numbers: Cache::builder().max_capacity(MAX_NUMBERS).time_to_live(NUMBERS_KEPT).build(),
            clock: Clock::System,
            settings,
        })
    }

    /// From now on `servers` share the tracking identifier's limit of requests at a time, this one included.
    pub fn share_limits(&self, servers: u32) {
        self.client.share(servers);
    }

    fn publish(&self) -> u8 {
        note::publish(self.settings.section.publish_notes_as_public)
    }

    /// The number of the configured note type.
    async fn note_type(&self) -> Result<i64, TicketError> {
        let label = match &self.settings.section.note_type {
            LabelOrId::Id(id) => return Ok(i64::from(*id)),
            LabelOrId::Label(label) => label,
        };
        if let Ok(id) = label.trim().parse() {
            return Ok(id);
        }
        let freshness = Freshness::any();
        match (self.note_type_of(label, &freshness).await, freshness.once_more()) {
            (Err(TicketError::Refused(_)), Some(new)) => self.note_type_of(label, &new).await,
            (other, _) => other,
        }
    }

    async fn note_type_of(&self, label: &str, freshness: &Freshness) -> Result<i64, TicketError> {
        let fields = self.metadata.of_notes(&self.client, freshness).await.map_err(Fault::of_the_essential)?;
        let field = fields.get("noteType").ok_or_else(|| {
            TicketError::Refused("Autotask does not describe its note types to the API user; give note_type as a number".into())
        })?;
        field.by_label(label)
    }

    /// The id a name stands for.
    async fn id_of(&self, name: &str) -> Result<i64, TicketError> {
        match ticket::Name::read(name) {
            Some(ticket::Name::Id(id)) => Ok(id),
            Some(ticket::Name::Number(number)) => {
                if let Some(id) = self.numbers.get(&number).await {
                    return Ok(id);
                }
                let id = ticket::id_of(&self.client, &number).await?;
                self.numbers.insert(number, id).await;
                Ok(id)
            }
            None => Err(TicketError::NoTicket("an Autotask ticket is named by its id, or by its number like T20260101.0001".into())),
        }
    }
}

fn no_ticket(id: i64) -> TicketError {
    TicketError::NoTicket(format!("there is no ticket {id} in Autotask, or the API user cannot see it"))
}

#[async_trait]
impl TicketSystem for Autotask {
    fn abilities(&self) -> Abilities {
        let section = &self.settings.section;
        Abilities {
            note: Some(NoteLimit { body: Body::Text, bytes: note::DESCRIPTION }),
            files: Files::ByThemselves,
            notes_are_public: section.publish_notes_as_public,
            expands_placeholders: false,
            settles_within: SETTLES_WITHIN,
            records_time: section.update_time_entry,
            creates_tickets: section.enable_automatic_ticket_creation,
        }
    }

    fn is_ticket_name(&self, text: &str) -> bool {
        ticket::Name::read(text).is_some()
    }

    async fn resolve(&self, name: &str) -> Result<String, TicketError> {
        Ok(self.id_of(name).await?.to_string())
    }

    async fn ticket(&self, name: &str) -> Result<Ticket, TicketError> {
        let id = self.id_of(name).await?;
        let item = ticket::by_id(&self.client, id).await?;
        let target = ticket::target(&self.client, &item, self.settings.target_field.as_deref()).await;
        Ok(ticket::read(&item, target))
    }

    /// Whoever an administrator paired a browser for, unless Autotask says that he works there no more.
    async fn agent_for(&self, agent: &AgentReference, _ticket: &Ticket) -> Result<Agent, TicketError> {
        let AgentReference::Device { name, email, .. } = agent else {
            return Err(TicketError::NotAllowed(
                "Autotask tickets have the panel by way of the browser extension; pair this browser".into(),
            ));
        };
        if let Some(email) = email {
            let freshness = Freshness::any();
            let mut found = self.lookup.resource(&self.client, email, &freshness).await;
            if let Ok(Some(resource)) = &found
                && !resource.is_active
                && let Some(new) = freshness.once_more()
            {
                found = self.lookup.resource(&self.client, email, &new).await;
            }
            match found {
                Ok(Some(resource)) if !resource.is_active => {
                    return Err(TicketError::NotAllowed("your resource in Autotask is not active any more".into()));
                }
                Ok(_) => {}
                Err(Fault::Other(error @ (TicketError::Passing { .. } | TicketError::Denied(_)))) => return Err(error),
                // Not every API user may read resources (autotask-extension.md a.2); the pairing stands.
                Err(fault) => tracing::debug!(%fault, "the agent could not be looked for among the resources"),
            }
        }
        Ok(Agent { name: name.clone(), email: email.clone(), locale: None })
    }

    async fn find_note(&self, ticket: &str, marker: &str) -> Result<Option<String>, TicketError> {
        let found = note::find(&self.client, self.id_of(ticket).await?, marker).await?;
        Ok(found.map(|id| id.to_string()))
    }

    async fn append_note(&self, ticket: &str, note: &NewNote<'_>) -> Result<String, TicketError> {
        let note_type = self.note_type().await?;
        let written = note::create(&self.client, self.id_of(ticket).await?, note, note_type, self.publish()).await;
        if let Err(TicketError::Refused(_)) = written {
            self.metadata.doubt();
        }
        Ok(written?.to_string())
    }

    async fn find_file(&self, ticket: &str, marker: &str) -> Result<Option<String>, TicketError> {
        let found = attachment::find(&self.client, self.id_of(ticket).await?, marker).await?;
        Ok(found.map(|id| id.to_string()))
    }

    async fn attach(&self, ticket: &str, file: &Attachment, marker: &str) -> Result<String, TicketError> {
        Ok(attachment::create(&self.client, self.id_of(ticket).await?, file, marker, self.publish()).await?.to_string())
    }

    async fn find_time(&self, ticket: &str, entry: &TimeEntry) -> Result<Option<String>, TicketError> {
        let found = time_entry::find(&self.client, self.id_of(ticket).await?, entry).await?;
        Ok(found.map(|id| id.to_string()))
    }

    async fn record_time(&self, ticket: &str, entry: &TimeEntry) -> Result<String, TicketError> {
        let domain = self.settings.section.default_domain.as_deref().or(self.time_defaults.default_domain.as_deref());
        let id = self.id_of(ticket).await?;
        Ok(time_entry::create(&self.client, &self.lookup, &self.time_defaults, domain, id, entry).await?.to_string())
    }

    async fn find_ticket(&self, marker: &str) -> Result<Option<String>, TicketError> {
        Ok(ticket::find(&self.client, marker).await?.map(|id| id.to_string()))
    }

    async fn create_ticket(&self, new: &NewTicket) -> Result<String, TicketError> {
        let maker = ticket::Maker {
            client: &self.client,
            lookup: &self.lookup,
            metadata: &self.metadata,
            defaults: &self.ticket_defaults,
            key_may_set: &self.settings.section.external_key_may_set,
            now_ms: self.clock.now_ms(),
        };
        Ok(maker.create(new).await?.to_string())
    }
}

#[cfg(test)]
mod tests;
