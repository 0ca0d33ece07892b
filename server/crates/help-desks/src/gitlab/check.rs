//! What `deskbridge check` asks: that GitLab is there, whose the token is and until when, and that they have what the settings need in the
//! project. Nothing is written.

use deskbridge_core::finding::Finding;
use serde_json::Value;

use super::GitLab;
use super::project::Project;
use crate::HelpDeskError;
use crate::zendesk::NoteVisibility;

/// The role Reporter, as a number.
const REPORTER: u64 = 20;
/// The role Planner, which may do the same with issues.
const PLANNER: u64 = 15;
/// The first version with internal notes.
const OLDEST: u64 = 15;

impl GitLab {
    pub(super) async fn check_rights(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        match self.client.get("user", "the token's user").await {
            Ok(user) => {
                let name = user["username"].as_str().unwrap_or_default();
                findings.push(Finding::good("GitLab login", format!("@{name} at {}", self.section.site())));
            }
            Err(fault) => return vec![Finding::bad("GitLab login", HelpDeskError::from(fault).to_string())],
        }
        findings.extend(self.scope().await);
        findings.extend(self.version().await);
        match self.project().await {
            Ok(project) => {
                findings.extend(self.rights_in_project(&project));
                findings.extend(self.labels(&project).await);
            }
            Err(error) => findings.push(Finding::bad("project", error.to_string())),
        }
        if self.section.webhook_secret.is_some() && self.section.site().starts_with("http:") {
            findings.push(Finding::note("webhook", "GitLab sends the webhook's secret as it is; let it call this server by https"));
        }
        findings
    }

    /// OAuth tokens have no such record.
    async fn scope(&self) -> Option<Finding> {
        const WHAT: &str = "token";
        let token = self.client.get("personal_access_tokens/self", "the token").await.ok()?;
        let scopes: Vec<&str> = token["scopes"].as_array()?.iter().filter_map(Value::as_str).collect();
        if !scopes.contains(&"api") {
            let has = scopes.join(", ");
            return Some(Finding::bad(WHAT, format!("it has the scopes {has}; make one with the scope api")));
        }
        Some(match token["expires_at"].as_str() {
            Some(date) => Finding::good(WHAT, format!("scope api, until {date}; make another one before")),
            None => Finding::good(WHAT, "scope api"),
        })
    }

    async fn version(&self) -> Option<Finding> {
        let told = self.client.get("version", "GitLab's version").await.ok()?;
        let version = told["version"].as_str()?;
        let is_old = version.split('.').next()?.parse::<u64>().is_ok_and(|major| major < OLDEST);
        Some(if is_old {
            Finding::bad("version", format!("{version} has no internal notes; GitLab 15 or later is needed"))
        } else {
            Finding::good("version", version)
        })
    }

    fn rights_in_project(&self, project: &Project) -> Vec<Finding> {
        let told = &project.told;
        let mut findings = vec![Finding::good("project", format!("{} (number {})", project.path, project.id))];
        if told["archived"] == true {
            findings.push(Finding::bad("project", "it is archived and takes no issues; unarchive it, or name another"));
        }
        if told["issues_access_level"] == "disabled" || told["issues_enabled"] == false {
            let advice = "it has no issues: Settings > General > Visibility, project features, permissions > Issues";
            findings.push(Finding::bad("project", advice));
        }
        let level = |access: &str| told["permissions"][access]["access_level"].as_u64();
        let (own, group) = (level("project_access"), level("group_access"));
        findings.push(match own.max(group) {
            Some(level) if level >= REPORTER || level == PLANNER => Finding::good("role", "enough for issues, labels and internal notes"),
            Some(_) => {
                let needs = match self.section.note_visibility {
                    NoteVisibility::Internal => "internal notes, labels and closing",
                    NoteVisibility::Public => "labels and closing",
                };
                Finding::bad("role", format!("the token's user is a guest in the project; {needs} need the role Planner or Reporter"))
            }
            None => Finding::note("role", "GitLab tells no role of the token's user in the project; an administrator needs none"),
        });
        findings
    }

    async fn labels(&self, project: &Project) -> Option<Finding> {
        let wanted: Vec<String> = self.section.labels_set.iter().map(|label| label.trim().to_owned()).collect();
        if wanted.is_empty() {
            return None;
        }
        Some(match self.known.existing(&self.client, project, &wanted).await {
            Ok(existing) => {
                let missing: Vec<&str> = wanted.iter().filter(|label| !existing.contains(*label)).map(String::as_str).collect();
                if missing.is_empty() {
                    Finding::good("labels", wanted.join(", "))
                } else {
                    let told =
                        "the project has no such label; make it under Manage > Labels. Until then issues stand without it and say so";
                    Finding::bad("labels", format!("{}: {told}", missing.join(", ")))
                }
            }
            Err(error) => Finding::bad("labels", error.to_string()),
        })
    }
}
