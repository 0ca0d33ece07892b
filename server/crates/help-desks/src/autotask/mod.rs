//! Autotask over its REST API (autotask-extension.md a), as one API user of a tenant.
//!
//! Must not retry or remember: each write is one request, but for what a refusal has shown not to be written. What is kept is
//! what the tenant says about itself: its zone, the values of its lists, its people's ids.

mod attachment;
mod client;
mod defaults;
mod error_texts;
mod limits;
mod lookup;
mod metadata;
mod note;
mod query;
mod record_write;
mod rights;
mod section;
mod text;
mod ticket;
mod time_entry;
mod zone;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::clock::Clock;
use deskbridge_core::finding::{Finding, SetupLink};
use deskbridge_core::settings::ConnectionSettings;
use deskbridge_http_client::cached::{FailureLife, Freshness};
use moka::future::Cache;
use secrecy::SecretString;

pub use defaults::{TicketDefaults, TimeDefaults};
pub use section::{AutotaskSection, LabelOrId};
pub use zone::Zone;

use self::client::{Client, Fault};
use self::lookup::Lookup;
use self::metadata::Metadata;
use self::record_write::RecordWrite;
use crate::{
    Abilities, Agent, AgentReference, Files, HelpDesk, HelpDeskError, Item, NotAllowed, Prepared, Surroundings, Ticket, TicketAddress,
    Write, section_of,
};

/// A ticket's number is never another ticket's; this only bounds the memory.
const NUMBERS_KEPT: Duration = Duration::from_hours(1);
const MAX_NUMBERS: u64 = 10_000;

/// What fails at once can be asked for at once; what hangs must not hang one caller after the other.
const FAILURE_LIFE: FailureLife = FailureLife { least: Duration::ZERO, longest: Duration::from_secs(5) };

/// Longest wait for the tenant's zone where only an address is shown.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(10);
/// Pages of a tenant whose zone is not known.
const UNKNOWN_PAGES: &str = "https://ww<#>.autotask.net";
/// The user-defined field of the vendor's guide (seeds/003).
const DEVICE_FIELD: &str = "Device Name";

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
    numbers: LazyLock<Cache<String, i64>>,
    clock: Clock,
}

impl Autotask {
    /// The tenant of a connection.
    pub(crate) fn build(settings: &ConnectionSettings) -> Result<Arc<dyn HelpDesk>, String> {
        let section: AutotaskSection = section_of(settings)?;
        let resolved =
            |key: &str, secret: &deskbridge_core::settings::Secret| secret.resolve().map_err(|error| format!("autotask.{key}: {error}"));
        let tenant = Self::new(AutotaskSettings {
            secret: resolved("secret", &section.secret)?,
            integration_code: resolved("integration_code", &section.integration_code)?,
            target_field: settings.panel.target_field.clone(),
            section,
        });
        Ok(Arc::new(tenant.map_err(|fault| format!("autotask: {fault}"))?))
    }

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
            numbers: LazyLock::new(|| Cache::builder().max_capacity(MAX_NUMBERS).time_to_live(NUMBERS_KEPT).build()),
            clock: Clock::System,
            settings,
        })
    }

    /// The number of the configured note type.
    async fn note_type(&self) -> Result<i64, HelpDeskError> {
        self.choice("noteType", "note_type", &self.settings.section.note_type).await
    }

    /// Who reads a note or a file (autotask-extension.md a.6): 1 all users, customers too; 2 the tenant's own people; in a tenant that has
    /// changed the list, whatever its settings name.
    async fn publish(&self, is_public: bool) -> Result<i64, HelpDeskError> {
        let section = &self.settings.section;
        let (key, given, usual) =
            if is_public { ("publish_public", &section.publish_public, 1) } else { ("publish_internal", &section.publish_internal, 2) };
        match given {
            Some(given) => self.choice("publish", key, given).await,
            None => Ok(usual),
        }
    }

    /// The number that `given`, the setting `key`, names in a list of the notes.
    async fn choice(&self, field: &'static str, key: &'static str, given: &LabelOrId) -> Result<i64, HelpDeskError> {
        let label = match given {
            LabelOrId::Id(id) => return Ok(i64::from(*id)),
            LabelOrId::Label(label) => label,
        };
        if let Ok(id) = label.trim().parse() {
            return Ok(id);
        }
        let find = async |freshness: &Freshness| {
            let fields = self.metadata.of_notes(&self.client, freshness).await.map_err(Fault::of_the_essential)?;
            let list = fields.get(field).ok_or_else(|| {
                HelpDeskError::Refused(format!("Autotask does not describe {field} of its notes to the API user; give {key} as a number"))
            })?;
            list.by_label(label)
        };
        let freshness = Freshness::any();
        match (find(&freshness).await, freshness.once_more()) {
            (Err(HelpDeskError::Refused(_)), Some(new)) => find(&new).await,
            (other, _) => other,
        }
    }

    /// The id a name stands for.
    async fn id_of(&self, name: &str) -> Result<i64, HelpDeskError> {
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
            None => Err(HelpDeskError::NoTicket("an Autotask ticket is named by its id, or by its number like T20260101.0001".into())),
        }
    }
}

fn no_ticket(id: i64) -> HelpDeskError {
    HelpDeskError::NoTicket(format!("there is no ticket {id} in Autotask, or the API user cannot see it"))
}

impl Autotask {
    /// Whoever an administrator paired a browser for, unless Autotask says that they work there no more.
    async fn agent_for(&self, agent: &AgentReference) -> Result<Agent, HelpDeskError> {
        let AgentReference::Device { name, email, .. } = agent else {
            return Err(HelpDeskError::not_allowed(
                NotAllowed::PanelInExtension,
                "Autotask tickets have the panel by way of the browser extension; pair this browser",
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
                    return Err(HelpDeskError::not_allowed(NotAllowed::NotAnAgent, "your resource in Autotask is not active any more"));
                }
                Ok(_) => {}
                Err(Fault::Other(error)) if error.is_of_credentials() || matches!(error, HelpDeskError::Passing { .. }) => {
                    return Err(error);
                }
                // Not every API user may read resources (autotask-extension.md a.2); the pairing stands.
                Err(fault) => tracing::debug!(%fault, "the agent could not be looked for among the resources"),
            }
        }
        Ok(Agent { name: name.clone(), email: email.clone(), locale: None, is_administrator: false })
    }

    /// The address of the tenant's pages, without a slash at the end; else why it is not known.
    async fn pages(&self) -> Result<String, String> {
        match tokio::time::timeout(ADDRESS_PATIENCE, self.zone()).await {
            Ok(Ok(zone)) => {
                let web = zone.web.as_ref().ok_or("the zone does not tell")?;
                Ok(web.as_str().trim_end_matches('/').to_owned())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

/// Its completed tickets take notes (autotask-extension.md a.6).
fn no_follow_ups() -> HelpDeskError {
    HelpDeskError::no_ability("make follow-up tickets")
}

#[async_trait]
impl HelpDesk for Autotask {
    fn name(&self) -> &'static str {
        "autotask"
    }

    fn abilities(&self) -> Abilities {
        let section = &self.settings.section;
        Abilities {
            note: Some(note::FORM),
            page_note: None,
            files: Files::ByThemselves,
            notes_are_public: section.publish_notes_as_public,
            takes_internal_notes: true,
            settles_within: Duration::from_secs(u64::from(section.settle_seconds)),
            guards_repeats: false,
            records_time: section.update_time_entry,
            creates_tickets: section.enable_automatic_ticket_creation,
            takes_incidents: true,
            closes_tickets: false,
            follows_up: false,
        }
    }

    /// As resources.
    fn finds_time_entry_users(&self) -> bool {
        true
    }

    fn is_ticket_name(&self, text: &str) -> bool {
        ticket::Name::read(text).is_some()
    }

    async fn resolve(&self, name: &str) -> Result<String, HelpDeskError> {
        Ok(self.id_of(name).await?.to_string())
    }

    async fn ticket_for(&self, agent: &AgentReference, name: &str) -> Result<(Ticket, Agent), HelpDeskError> {
        self.client.let_person_try();
        let id = self.id_of(name).await?;
        let item = ticket::by_id(&self.client, id).await?;
        let agent = self.agent_for(agent).await?;
        let target = ticket::target(&self.client, &item, self.settings.target_field.as_deref()).await;
        Ok((ticket::read(&item, target), agent))
    }

    async fn is_open(&self, ticket: &str) -> Result<bool, HelpDeskError> {
        Ok(ticket::by_id(&self.client, self.id_of(ticket).await?).await?["completedDate"].is_null())
    }

    async fn prepare<'a>(&'a self, write: &Write<'_>) -> Result<Prepared<'a>, HelpDeskError> {
        match write.item {
            Item::Note(note) => {
                let (ticket, note_type, publish) =
                    (self.id_of(write.ticket).await?, self.note_type().await?, self.publish(note.is_public).await?);
                let ready = note::ready(&self.client, ticket, note, write.marker, note_type, publish).await?;
                Ok(RecordWrite::simple(ready, move |fault| {
                    let error = note::refusal(ticket, fault);
                    if let HelpDeskError::Refused(_) = error {
                        self.metadata.doubt();
                    }
                    error
                }))
            }
            Item::File(file) => {
                let ticket = self.id_of(write.ticket).await?;
                let ready = attachment::ready(&self.client, ticket, file.file, write.marker, self.publish(file.is_public).await?).await?;
                Ok(RecordWrite::simple(ready, move |fault| attachment::refusal(ticket, fault)))
            }
            Item::Time(entry) => {
                let domain = self.settings.section.default_domain.as_deref().or(self.time_defaults.default_domain.as_deref());
                let ticket = self.id_of(write.ticket).await?;
                time_entry::prepare(&self.client, &self.lookup, &self.time_defaults, domain, ticket, entry, write.marker).await
            }
            Item::FollowUp(_) => Err(no_follow_ups()),
            Item::Ticket(new) => {
                let maker = ticket::Maker {
                    client: &self.client,
                    lookup: &self.lookup,
                    metadata: &self.metadata,
                    defaults: &self.ticket_defaults,
                    key_may_set: &self.settings.section.external_key_may_set,
                    now_ms: self.clock.now_ms(),
                };
                maker.prepare(new, write.marker).await
            }
        }
    }

    async fn find(&self, write: &Write<'_>) -> Result<Option<String>, HelpDeskError> {
        let found = match write.item {
            Item::Note(_) => note::find(&self.client, self.id_of(write.ticket).await?, write.marker).await?,
            Item::File(_) => attachment::find(&self.client, self.id_of(write.ticket).await?, write.marker).await?,
            Item::Time(entry) => time_entry::find(&self.client, self.id_of(write.ticket).await?, entry, write.marker).await?,
            Item::Ticket(_) => ticket::find(&self.client, write.marker).await?,
            Item::FollowUp(_) => return Err(no_follow_ups()),
        };
        Ok(found.map(|id| id.to_string()))
    }

    async fn prove_absence(&self, write: &Write<'_>) -> Result<(), HelpDeskError> {
        match write.item {
            Item::Time(_) => time_entry::prove_absence(&self.client, &self.time_defaults, self.id_of(write.ticket).await?).await,
            Item::Note(_) | Item::File(_) | Item::Ticket(_) | Item::FollowUp(_) => Ok(()),
        }
    }

    async fn check(&self, _around: &Surroundings<'_>) -> Vec<Finding> {
        self.check_tenant().await
    }

    /// As the vendor's guide has them (seeds/003, “Create the Bomgar Jump LiveLink” and “Session Key LiveLink”). The angle brackets are
    /// Autotask's variables, so nothing in the query is percent-encoded.
    async fn setup_links(&self, around: &Surroundings<'_>) -> Vec<SetupLink> {
        let Some((base, jump)) = &around.client_scripts else { return Vec::new() };
        let device = around.panel.target_field.as_deref().unwrap_or(DEVICE_FIELD);
        let link = |name: &str, description: &str, query: String| SetupLink {
            title: format!("LiveLink “{name}”, in Autotask: Admin > Automation > AutoForms & LiveLinks > LiveLinks Designer"),
            fields: vec![
                ("LiveLink Name", name.to_owned()),
                ("Label", name.to_owned()),
                ("Description", description.to_owned()),
                ("Active", "checked".to_owned()),
                ("Category", "Service Desk".to_owned()),
                ("LiveLink Application Name", "Bomgar".to_owned()),
                ("Entity", "Ticket".to_owned()),
                ("Base URL", base.to_owned()),
                ("Querystring Values", format!("?type=rep&operation=generate&action={query}&session.custom.external_key=<TICKETID>")),
                ("Configuration", "Ticket Details Window - Service Desk, Ticket Grid - Service Desk: both checked".to_owned()),
            ],
            remark: None,
        };
        let to_machine = format!("{jump}&search_string=<UDF-{device} (ATG_InstalledProduct)>");
        let mut key = link("Bomgar Session Key", "Generate Bomgar Session Key", "generate_session_key".to_owned());
        key.remark = Some(format!(
            "Create the application “Bomgar” first (tab Applications), and publish each link (right-click) to those who may use it.\n\
             Both open the appliance in the agent's own representative console. Where the browser extension is paired with\n\
             {}, its panel on the ticket page does the same, and the two links are not needed.",
            around.public_url
        ));
        vec![link("Bomgar Jump To CI", "Bomgar Jump To CI", to_machine), key]
    }

    /// The deep link of autotask-extension.md c.2.
    async fn ticket_address(&self) -> Option<TicketAddress> {
        let (pages, remark) = match self.pages().await {
            Ok(pages) => (pages, None),
            Err(why) => {
                let remark = format!("the address of the tenant's pages is not known ({why}); put your zone's number in place of <#>");
                (UNKNOWN_PAGES.to_owned(), Some(remark))
            }
        };
        let address = format!("{pages}/Autotask/AutotaskExtend/ExecuteCommand.aspx?Code=OpenTicketDetail&TicketID={{ticket}}");
        Some(TicketAddress { address, remark })
    }
}

#[cfg(test)]
mod tests;
