//! What `deskbridge check` asks: that the API is there, that the token is known and sees the repository and its issues, and that the labels
//! of the settings exist. Nothing is written.

use deskbridge_core::finding::Finding;
use serde_json::Value;

use super::client::{Answer, Fault};
use super::{GitHub, labels};
use crate::HelpDeskError;

impl GitHub {
    pub(super) async fn check_all(&self) -> Vec<Finding> {
        let mut findings = vec![];
        match self.client.ask("user", "the token's user").await {
            Ok(answer) => findings.push(Finding::good("GitHub token", describe_token(&answer))),
            // A GitHub App's token has no user.
            Err(Fault::NoRight { .. } | Fault::NotFound(_)) => findings.push(Finding::good("GitHub token", "of an app")),
            Err(fault) => return vec![Finding::bad("GitHub token", HelpDeskError::from(fault).to_string())],
        }
        let project = self.section.project.trim();
        let repository = match self.look_up().await {
            Ok(repository) => repository,
            Err(Fault::NotFound(_)) => {
                findings.push(Finding::bad(
                    "repository",
                    format!(
                        "GitHub shows the token no repository {project}: correct github.project, or give the token access to it (fine-grained: \
                         under Repository access; classic: the scope repo). GitHub answers the same for both"
                    ),
                ));
                return findings;
            }
            Err(fault) => {
                findings.push(Finding::bad("repository", HelpDeskError::from(fault).to_string()));
                return findings;
            }
        };
        findings.push(self.describe_repository(&repository));
        let path = format!("repos/{}/issues", self.repository());
        findings.push(match self.client.page(&path, "state=all&per_page=1", "the repository's issues").await {
            Ok(_) => Finding::good("issues", "can be read; writing needs the permission Issues: Read and write, and is not tried here"),
            Err(fault) => {
                let what = HelpDeskError::from(fault);
                Finding::bad("issues", format!("{what}. A fine-grained token needs the repository permission Issues: Read and write"))
            }
        });
        findings.extend(self.check_labels(&repository).await);
        findings
    }

    fn describe_repository(&self, repository: &Value) -> Finding {
        let name = repository["full_name"].as_str().unwrap_or_default();
        let is = |member: &str| repository[member].as_bool();
        if is("archived") == Some(true) {
            return Finding::bad("repository", format!("{name} is archived and takes no issues; name another, or unarchive it"));
        }
        if is("disabled") == Some(true) {
            return Finding::bad("repository", format!("{name} is disabled; name another"));
        }
        if is("has_issues") == Some(false) {
            return Finding::bad("repository", format!("{name} has no issues: turn them on under Settings > General > Features"));
        }
        let project = self.section.project.trim();
        if !name.eq_ignore_ascii_case(project) {
            return Finding::note("repository", format!("{project} is called {name} now; enter that as github.project"));
        }
        let who = if is("private") == Some(false) { "public: everybody reads what stands on its issues" } else { "private" };
        Finding::good("repository", format!("{name}, {who}"))
    }

    async fn check_labels(&self, repository: &Value) -> Vec<Finding> {
        let (fixed, mapped) = (&self.section.labels_set, &self.section.labels_mapping);
        if fixed.is_empty() && mapped.is_empty() {
            return Vec::new();
        }
        let mut findings = Vec::new();
        if repository["permissions"]["push"].as_bool() == Some(false) {
            findings.push(Finding::bad(
                "labels",
                "the token's user has no push access to the repository: GitHub leaves out every label in silence, and the issues' texts name \
                 them. Give the user the role Write",
            ));
        }
        match labels::read(&self.client, &self.repository()).await {
            Ok(known) => {
                let has = |wanted: &&String| known.iter().any(|name| name.to_lowercase() == wanted.trim().to_lowercase());
                let missing: Vec<&str> = fixed.iter().filter(|label| !has(label)).map(|label| label.trim()).collect();
                findings.push(if missing.is_empty() {
                    Finding::good("labels", format!("the repository has {}; those of labels_set are among them", known.len()))
                } else {
                    let missing = missing.join(", ");
                    Finding::bad(
                        "labels",
                        format!("the repository has no label {missing}: make it there, or take it out of github.labels_set"),
                    )
                });
            }
            Err(error) => findings.push(Finding::bad("labels", error.to_string())),
        }
        findings
    }
}

/// Whose it is, and when it ends.
fn describe_token(answer: &Answer) -> String {
    let login = answer.body["login"].as_str().unwrap_or("of no told user");
    let ends = answer.header("github-authentication-token-expiration").map(|ends| format!(", ends {ends}"));
    format!("of {login}{}", ends.unwrap_or_default())
}
