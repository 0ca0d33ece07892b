//! What `deskbridge check` asks: that Jira is there, that the API user is known and has each permission the settings need, that project, issue
//! type, every field and the closing transition exist. Nothing is written.

use deskbridge_core::finding::Finding;
use deskbridge_core::text::shown;
use serde_json::Value;

use super::Jira;
use super::client::{Fault, Kind};
use super::fields::{self, Form};
use crate::HelpDeskError;

/// Longest name told to people.
const MAX_TOLD: usize = 80;

impl Jira {
    /// Whether the API user has these permissions in the project.
    pub(super) async fn permissions(&self, names: &[&'static str]) -> Result<Vec<(&'static str, bool)>, Fault> {
        let project = self.section.project.trim();
        let key = if super::ticket_name::is_number(project) { "projectId" } else { "projectKey" };
        // Data Center does not know the list, and answers all.
        let path = format!("mypermissions?{key}={}&permissions={}", deskbridge_shared::percent::encode(project), names.join(","));
        let answer = self.client.get(&path, "the API user's permissions").await?;
        Ok(names.iter().map(|name| (*name, answer["permissions"][*name]["havePermission"] == true)).collect())
    }

    pub(super) async fn check_rights(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        match self.client.get("myself", "the API user").await {
            Ok(user) => {
                let kind = match self.client.kind {
                    Kind::Cloud => "Jira Cloud",
                    Kind::DataCenter => "Jira Data Center",
                };
                let name = user["displayName"].as_str().or(user["name"].as_str()).unwrap_or("a user of no told name");
                findings.push(Finding::good("Jira login", format!("{} at {} ({kind})", shown(name, MAX_TOLD), self.site)));
            }
            Err(fault) => return vec![Finding::bad("Jira login", HelpDeskError::from(fault).to_string())],
        }
        match self.client.get(&self.project_path(), "the project").await {
            Ok(project) => {
                let name = project["name"].as_str().unwrap_or_default();
                let key = project["key"].as_str().unwrap_or(&self.section.project);
                findings.push(Finding::good("project", format!("{key} ({})", shown(name, MAX_TOLD))));
            }
            Err(Fault::NotFound { .. } | Fault::Refused { .. }) => {
                findings.push(Finding::bad(
                    "project",
                    format!(
                        "Jira shows the API user no project “{}”: correct jira.project (its key, or its id), or give the API user the permission \
                         Browse Projects. Jira answers the same for both",
                        shown(&self.section.project, MAX_TOLD)
                    ),
                ));
                return findings;
            }
            Err(fault) => {
                findings.push(Finding::bad("project", HelpDeskError::from(fault).to_string()));
                return findings;
            }
        }
        findings.extend(self.check_permissions().await);
        match Form::load(&self.client, self.section.project.trim(), &self.section.issue_type).await {
            Ok(form) if form.is_known() => {
                findings.push(Finding::good("issue type", self.section.issue_type.trim()));
                if form.has("labels") == Some(false) {
                    findings.push(Finding::note(
                        "labels",
                        "new tickets have no labels here, so a ticket whose creation got no answer is found by a search in its text alone",
                    ));
                }
                findings.extend(self.check_fields(&form).await);
            }
            Ok(_) => findings.push(Finding::note(
                "issue type",
                "Jira does not tell the API user the fields of new tickets (permission Create Issues); what is wrong is seen when one is made",
            )),
            Err(fault) => findings.push(Finding::bad("issue type", HelpDeskError::from(fault).to_string())),
        }
        findings.push(self.check_closing().await);
        findings
    }

    async fn check_permissions(&self) -> Vec<Finding> {
        let section = &self.section;
        let needed = [
            ("BROWSE_PROJECTS", "permission Browse Projects", "everything", true),
            ("CREATE_ISSUES", "permission Create Issues", "new tickets", true),
            ("ADD_COMMENTS", "permission Add Comments", "session reports", true),
            ("CREATE_ATTACHMENTS", "permission Create Attachments", "reports that are too long for a comment", section.attach_files),
            ("WORK_ON_ISSUES", "permission Work On Issues", "time spent", section.update_time_spent),
            ("TRANSITION_ISSUES", "permission Transition Issues", "closing tickets", true),
        ];
        let names: Vec<&'static str> = needed.iter().filter(|(.., is_needed)| *is_needed).map(|(name, ..)| *name).collect();
        let permissions = match self.permissions(&names).await {
            Ok(permissions) => permissions,
            Err(fault) => return vec![Finding::bad("permissions", HelpDeskError::from(fault).to_string())],
        };
        let finding = |(name, is_given): (&'static str, bool)| {
            let (_, what, needed_for, _) = needed.iter().find(|(needed, ..)| *needed == name)?;
            Some(if is_given {
                Finding::good(what, format!("given for {}", section.project))
            } else {
                let text = format!(
                    "the API user lacks it in {}; {needed_for} need it: Project settings > Permissions (or Access), for a role of the API user",
                    section.project
                );
                // Only incidents and automatic tickets need these two, and one can do without closing.
                if name == "TRANSITION_ISSUES" { Finding::note(what, text) } else { Finding::bad(what, text) }
            })
        };
        permissions.into_iter().filter_map(finding).collect()
    }

    /// Every field the settings name, and the values that are known before there is an incident.
    async fn check_fields(&self, form: &Form) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut wrong = Vec::new();
        let mut good = Vec::new();
        let defaults =
            self.section.ticket_default_data.as_deref().and_then(|text| super::create::read_defaults(text).ok()).unwrap_or_default();
        let plain = ["title", "subject", "description", "name", "email"];
        let set = defaults.iter().filter(|(name, _)| !plain.iter().any(|plain| plain.eq_ignore_ascii_case(name)));
        for (name, value) in set.chain(self.section.custom_fields_set.iter()) {
            match self.setting(form, name, value).await {
                Ok(Ok(setting)) => good.push(format!("{} ({})", shown(name, MAX_TOLD), setting.id)),
                Ok(Err(why)) => wrong.push(format!("{}: {why}", shown(name, MAX_TOLD))),
                Err(error) => wrong.push(format!("{}: {error}", shown(name, MAX_TOLD))),
            }
        }
        for (name, attribute) in &self.section.custom_fields_mapping {
            if let Some(field) = form.field(name) {
                good.push(format!("{} ({}) from {}", shown(name, MAX_TOLD), field.id, shown(&attribute.to_string(), MAX_TOLD)));
                continue;
            }
            let all = self.all_fields().await;
            let why = match all {
                Ok(all) if fields::found(&all, name).is_some() => "not on the screen for new tickets; put it there, or take it out here",
                Ok(_) => "Jira has no field of this name, or does not show it to the API user",
                Err(_) => "Jira does not tell its fields",
            };
            wrong.push(format!("{}: {why}", shown(name, MAX_TOLD)));
        }
        if !good.is_empty() {
            findings.push(Finding::good("fields", good.join(", ")));
        }
        if !wrong.is_empty() {
            findings.push(Finding::bad("fields", format!("tickets are made without these, and say so: {}", wrong.join("; "))));
        }
        findings
    }

    /// There is no asking for transitions but on a ticket.
    async fn check_closing(&self) -> Finding {
        const WHAT: &str = "closing";
        let newest = format!("{} AND statusCategory != Done ORDER BY created DESC", self.project_clause());
        let issues = match self.search(&newest, &["status"], 1, "the project's newest ticket").await {
            Ok(issues) => issues,
            Err(fault) => return Finding::note(WHAT, HelpDeskError::from(fault).to_string()),
        };
        let Some(key) = issues.first().and_then(|issue| issue["key"].as_str()) else {
            return Finding::note(WHAT, "the project has no open ticket; how one is closed is seen when there is one");
        };
        match self.client.get(&format!("issue/{key}/transitions"), "a ticket's transitions").await {
            Ok(answer) => {
                let transitions = answer["transitions"].as_array().map_or(&[][..], Vec::as_slice);
                match super::close::choice(transitions, self.section.close_transition.as_deref()) {
                    Ok(found) => {
                        let name = |value: &Value| shown(value.as_str().unwrap_or_default(), MAX_TOLD);
                        Finding::good(WHAT, format!("by “{}”, to “{}” (looked at {key})", name(&found["name"]), name(&found["to"]["name"])))
                    }
                    Err(why) => Finding::note(WHAT, format!("{key} cannot be closed: {why}")),
                }
            }
            Err(fault) => Finding::note(WHAT, HelpDeskError::from(fault).to_string()),
        }
    }
}
