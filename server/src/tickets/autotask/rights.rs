//! What `deskbridge check` asks of a tenant: that the API user may do what the connection's settings make it do.

use super::client::Fault;
use super::query::{Entity, Filter};
use super::remembered::Freshness;
use super::{Autotask, Zone};
use crate::config::LabelOrId;
use crate::tickets::TicketError;

/// One thing that was looked at.
pub struct Finding {
    /// What, in a word or two.
    pub what: &'static str,
    /// Whether the connection cannot do without.
    pub is_needed: bool,
    /// What was found, or what is wrong and what to do.
    pub said: Result<String, TicketError>,
}

impl Autotask {
    /// The tenant's zone.
    pub async fn zone(&self) -> Result<std::sync::Arc<Zone>, TicketError> {
        self.client.zones().current().await
    }

    /// Proves the credentials: the tenant's requests of the last hour, and how many it may make.
    pub async fn threshold(&self) -> Result<(u64, u64), TicketError> {
        Ok(self.client.threshold().await?)
    }

    /// The note type's number and, where the tenant tells it, its label.
    pub async fn note_type_shown(&self) -> Result<String, TicketError> {
        let id = self.note_type().await?;
        let fields = self.metadata.of_notes(&self.client, &Freshness::any()).await?;
        let field = fields.get("noteType").ok_or_else(|| TicketError::Refused("Autotask does not describe noteType".into()))?;
        match (field.label_of(id), &self.settings.section.note_type) {
            (Some(label), _) => Ok(format!("{label} ({id})")),
            (None, LabelOrId::Id(_) | LabelOrId::Label(_)) => {
                Err(TicketError::Refused(format!("the tenant has no note type {id}; note_type must be one of {}", field.labels())))
            }
        }
    }

    /// Everything else the settings need.
    pub async fn findings(&self) -> Vec<Finding> {
        let section = &self.settings.section;
        let (time, tickets) = (section.update_time_entry, section.enable_automatic_ticket_creation);
        let mut found = vec![
            self.right("right: tickets", Entity::Tickets, tickets.then_some(Entity::Tickets), true).await,
            self.right("right: notes", Entity::TicketNotes, Some(Entity::TicketNotes), true).await,
            self.files().await,
            self.right("right: machines", Entity::ConfigurationItems, None, false).await,
        ];
        if time {
            found.push(self.right("right: time entries", Entity::TimeEntries, Some(Entity::TimeEntries), true).await);
            found.push(self.right("right: resources", Entity::Resources, None, true).await);
            found.push(self.right("right: roles of resources", Entity::ResourceServiceDeskRoles, None, true).await);
            if let Some(role) = self.time_defaults.role_name.as_deref() {
                let said = match self.lookup.role(&self.client, role, &Freshness::any()).await {
                    Ok(Some(id)) => Ok(format!("{role} ({id})")),
                    Ok(None) => Err(TicketError::Refused(format!("Autotask has no active role “{role}”; correct roleName"))),
                    Err(fault) => Err(fault.into()),
                };
                found.push(Finding { what: "role", is_needed: true, said });
            }
        }
        if tickets && let Some(company) = self.ticket_defaults.0.get("companyID").and_then(|given| given.value.as_str()) {
            let said = self.lookup.company(&self.client, company, &Freshness::any()).await;
            found.push(Finding { what: "company", is_needed: true, said: said.map(|id| format!("{company} ({id})")).map_err(Into::into) });
        }
        found
    }

    /// A report that is too long for a note stands there shortened all the same, so this is not needed; but then the rest of it stands
    /// nowhere. What may be added is told of another entity than what may be read (autotask-extension.md a.3, a.10).
    async fn files(&self) -> Finding {
        let found = self.right("right: files", Entity::AttachmentInfo, Some(Entity::TicketAttachments), false).await;
        let said = found.said.map_err(|error| match error {
            TicketError::Refused(said) => {
                TicketError::Refused(format!("{said}. Without it a long report is shortened, and no file with the whole goes along"))
            }
            other => other,
        });
        Finding { said, ..found }
    }

    /// Whether the API user may read an entity, and create records of `creates` as far as the tenant tells. Nothing is written.
    async fn right(&self, what: &'static str, entity: Entity, creates: Option<Entity>, is_needed: bool) -> Finding {
        let said = async {
            self.client.query(entity, &Filter::is("id", 0), &[], 1, "a look at the rights").await?;
            let Some(creates) = creates else { return Ok("may read".to_owned()) };
            // Not every tenant's answer has it.
            let may = self.client.describe(creates, "").await.ok();
            let may = may.and_then(|answer| answer["info"]["userAccessForCreate"].as_str().map(str::to_owned));
            if may.as_deref() == Some("None") {
                let said = "its entityInformation says so".to_owned();
                return Err(Fault::NoRight { entity: creates, what: "adding", said });
            }
            Ok("may read and add".to_owned())
        };
        Finding { what, is_needed, said: said.await.map_err(Into::into) }
    }
}
