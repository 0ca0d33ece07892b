//! What `deskbridge check` asks of a tenant: that the API user may do what the connection's settings make it do.

use super::client::Fault;
use super::query::{Entity, Filter};
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
        let fields = self.metadata.of_notes(&self.client).await?;
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
            self.right("right: tickets", Entity::Tickets, tickets, true).await,
            self.right("right: notes", Entity::TicketNotes, true, true).await,
            self.right("right: files", Entity::AttachmentInfo, false, false).await,
            self.right("right: machines", Entity::ConfigurationItems, false, false).await,
        ];
        if time {
            found.push(self.right("right: time entries", Entity::TimeEntries, true, true).await);
            found.push(self.right("right: resources", Entity::Resources, false, true).await);
            found.push(self.right("right: roles of resources", Entity::ResourceServiceDeskRoles, false, true).await);
            if let Some(role) = self.time_defaults.role_name.as_deref() {
                let said = match self.lookup.role(&self.client, role).await {
                    Ok(Some(id)) => Ok(format!("{role} ({id})")),
                    Ok(None) => Err(TicketError::Refused(format!("Autotask has no active role “{role}”; correct roleName"))),
                    Err(fault) => Err(fault.into()),
                };
                found.push(Finding { what: "role", is_needed: true, said });
            }
        }
        if tickets && let Some(company) = self.ticket_defaults.0.get("companyID").and_then(|given| given.value.as_str()) {
            let said = self.lookup.company(&self.client, company).await;
            found.push(Finding { what: "company", is_needed: true, said: said.map(|id| format!("{company} ({id})")).map_err(Into::into) });
        }
        found
    }

    /// Whether the API user may read an entity, and create records of it as far as the tenant tells. Nothing is written.
    async fn right(&self, what: &'static str, entity: Entity, creates: bool, is_needed: bool) -> Finding {
        let said = async {
            self.client.query(entity, &Filter::is("id", 0), &[], 1, "a look at the rights").await?;
            if !creates {
                return Ok("may read".to_owned());
            }
            // Not every tenant's answer has it.
            let may = self.client.describe(entity, "").await.ok();
            let may = may.and_then(|answer| answer["info"]["userAccessForCreate"].as_str().map(str::to_owned));
            if may.as_deref() == Some("None") {
                let said = "its entityInformation says so".to_owned();
                return Err(Fault::NoRight { entity, what: "adding", said });
            }
            Ok("may read and add".to_owned())
        };
        Finding { what, is_needed, said: said.await.map_err(Into::into) }
    }
}
