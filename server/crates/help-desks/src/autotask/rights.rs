//! What `deskbridge check` asks of a tenant: that the API user may do what the connection's settings make it do.

use deskbridge_core::finding::Finding;

use super::client::Fault;
use super::metadata::Fields;
use super::query::{Entity, Filter};
use super::section::LabelOrId;
use super::{Autotask, Zone, time_entry};
use crate::HelpDeskError;
use deskbridge_http_client::cached::Freshness;

/// One thing that was looked at.
struct Look {
    /// What, in a word or two.
    what: &'static str,
    /// Whether the connection cannot do without.
    is_needed: bool,
    /// What was found, or what is wrong and what to do.
    found: Result<String, HelpDeskError>,
}

impl Autotask {
    /// Nothing is written: the right to add is believed as far as the tenant tells of it.
    pub(super) async fn check_tenant(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        match self.zone().await {
            Ok(zone) => {
                let name = zone.name.as_deref().unwrap_or("without a name");
                findings.push(Finding::good("Autotask zone", format!("{name} ({})", zone.api)));
            }
            Err(error) => return vec![Finding::bad("Autotask zone", error.to_string())],
        }
        match self.threshold().await {
            Ok((used, threshold)) => {
                findings.push(Finding::good("Autotask login", format!("{used} of {threshold} requests of this hour are used")));
            }
            Err(error) => {
                findings.push(Finding::bad("Autotask login", error.to_string()));
                return findings;
            }
        }
        findings.push(match self.note_type_shown().await {
            Ok(note_type) => Finding::good("note type", note_type),
            Err(error) => Finding::bad("note type", error.to_string()),
        });
        // Where notes are public, there are internal ones too: what representatives wrote is for agents.
        findings.push(self.readers("readers of internal notes", Entity::TicketNotes, false).await);
        findings.push(self.readers("readers of internal files", Entity::TicketAttachments, false).await);
        if self.settings.section.publish_notes_as_public {
            findings.push(self.readers("readers of public notes", Entity::TicketNotes, true).await);
            findings.push(self.readers("readers of public files", Entity::TicketAttachments, true).await);
        }
        for look in self.looks().await {
            findings.push(match look.found {
                Ok(found) => Finding::good(look.what, found),
                Err(error) if look.is_needed => Finding::bad(look.what, error.to_string()),
                Err(error) => Finding::note(look.what, error.to_string()),
            });
        }
        findings
    }

    /// The tenant's zone.
    pub(super) async fn zone(&self) -> Result<std::sync::Arc<Zone>, HelpDeskError> {
        self.client.zone().await
    }

    /// Proves the credentials: the tenant's requests of the last hour, and how many it may make.
    async fn threshold(&self) -> Result<(u64, u64), HelpDeskError> {
        Ok(self.client.threshold().await?)
    }

    /// The note type's number and, where the tenant tells it, its label.
    async fn note_type_shown(&self) -> Result<String, HelpDeskError> {
        let id = self.note_type().await?;
        let fields = self.metadata.of_notes(&self.client, &Freshness::any()).await?;
        let field = fields.get("noteType").ok_or_else(|| HelpDeskError::Refused("Autotask does not describe noteType".into()))?;
        match (field.label_of(id), &self.settings.section.note_type) {
            (Some(label), _) => Ok(format!("{label} ({id})")),
            (None, LabelOrId::Id(_) | LabelOrId::Label(_)) => {
                Err(HelpDeskError::Refused(format!("the tenant has no note type {id}; note_type must be one of {}", field.labels())))
            }
        }
    }

    /// Who reads what is written to `entity`, in the tenant's own words. Its list may be another than usual, and an internal report must not
    /// go to customers; where the settings themselves name the value, they know.
    async fn readers(&self, what: &'static str, entity: Entity, is_public: bool) -> Finding {
        let key = if is_public { "publish_public" } else { "publish_internal" };
        let looked = async {
            let publish = self.publish(is_public).await?;
            let fields = Fields::read(&self.client.describe(entity, "/fields").await?);
            Ok::<_, HelpDeskError>((publish, fields))
        };
        let (publish, fields) = match looked.await {
            Ok(looked) => looked,
            // A report stands without its file.
            Err(error) if entity == Entity::TicketAttachments => return Finding::note(what, error.to_string()),
            Err(error) => return Finding::bad(what, error.to_string()),
        };
        let Some(list) = fields.get("publish").filter(|field| field.list.is_some()) else {
            return Finding::note(what, format!("{publish}; Autotask does not tell what that means in this tenant"));
        };
        let labels = list.labels();
        match list.label_of(publish) {
            None => {
                Finding::bad(what, format!("the tenant's list of readers has no {publish}, it has {labels}; name one of them: {key} = …"))
            }
            Some(label) if !is_public && self.settings.section.publish_internal.is_none() && !says_internal(label) => Finding::bad(
                what,
                format!(
                    "{publish} is “{label}” in this tenant, which does not say internal; it has {labels}. Name the one that only your own \
                     people read: {key} = …"
                ),
            ),
            Some(label) => Finding::good(what, format!("{label} ({publish})")),
        }
    }

    /// Everything else the settings need.
    async fn looks(&self) -> Vec<Look> {
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
            if self.time_defaults.is_non_billable == Some(true) {
                let seen = time_entry::sees_non_billable(&self.client).await;
                let found_one = seen.map_err(Into::into).and_then(|seen| {
                    let missing = format!(
                        "none can be seen. Unless the tenant has none, the API user's security level lacks {}; without it an entry whose \
                         write got no answer is not found again, and becomes a dead letter",
                        time_entry::RIGHT_TO_SEE_NON_BILLABLE
                    );
                    if seen { Ok("may view".to_owned()) } else { Err(HelpDeskError::Refused(missing)) }
                });
                found.push(Look { what: "right: non-billable time entries", is_needed: false, found: found_one });
            }
            found.push(self.right("right: resources", Entity::Resources, None, true).await);
            found.push(self.right("right: roles of resources", Entity::ResourceServiceDeskRoles, None, true).await);
            if let Some(role) = self.time_defaults.role_name.as_deref() {
                let role_found = match self.lookup.role(&self.client, role, &Freshness::any()).await {
                    Ok(Some(id)) => Ok(format!("{role} ({id})")),
                    Ok(None) => Err(HelpDeskError::Refused(format!("Autotask has no active role “{role}”; correct roleName"))),
                    Err(fault) => Err(fault.into()),
                };
                found.push(Look { what: "role", is_needed: true, found: role_found });
            }
        }
        if tickets && let Some(company) = self.ticket_defaults.0.get("companyID").and_then(|given| given.value.as_str()) {
            let said = self.lookup.company(&self.client, company, &Freshness::any()).await;
            found.push(Look { what: "company", is_needed: true, found: said.map(|id| format!("{company} ({id})")).map_err(Into::into) });
        }
        found
    }

    /// A report that is too long for a note stands there shortened all the same, so this is not needed; but then the rest of it stands
    /// nowhere. What may be added is told of another entity than what may be read (autotask-extension.md a.3, a.10).
    async fn files(&self) -> Look {
        let look = self.right("right: files", Entity::AttachmentInfo, Some(Entity::TicketAttachments), false).await;
        let found = look.found.map_err(|error| match error {
            HelpDeskError::Refused(said) => {
                HelpDeskError::Refused(format!("{said}. Without it a long report is shortened, and no file with the whole goes along"))
            }
            other => other,
        });
        Look { found, ..look }
    }

    /// Whether the API user may read an entity, and create records of `creates` as far as the tenant tells. Nothing is written.
    async fn right(&self, what: &'static str, entity: Entity, creates: Option<Entity>, is_needed: bool) -> Look {
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
        Look { what, is_needed, found: said.await.map_err(Into::into) }
    }
}

/// English, and the languages whose word begins in the same way.
fn says_internal(label: &str) -> bool {
    label.to_lowercase().contains("intern")
}
