//! What is known of the project and its labels. It is looked up once and again where it may have changed, so that a new issue costs one
//! request.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use deskbridge_shared::percent;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::client::{Client, Fault};
use super::section::GitLabSection;
use crate::HelpDeskError;

/// Labels are looked for again after so long …
const LABELS_KEPT: Duration = Duration::from_mins(10);
/// … and, where one is missing, after so long: somebody may have made it.
const MISSING_LABELS_KEPT: Duration = Duration::from_secs(30);
/// Most pages of labels, and of projects of the same name.
const MAX_PAGES: u32 = 100;
const MAX_PROJECT_PAGES: u32 = 5;

/// The project as GitLab tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Project {
    /// Paths with it need no encoded slash, and it stays when the project is renamed.
    pub(super) id: u64,
    /// `group/sub/project`.
    pub(super) path: String,
    /// Its page, without a slash at the end.
    pub(super) web_url: String,
    /// All else, for the check.
    pub(super) told: Value,
}

/// What was looked up.
#[derive(Default)]
pub(super) struct Known {
    project: Mutex<Option<Arc<Project>>>,
    labels: Mutex<Option<(Instant, Arc<HashSet<String>>)>>,
}

impl Known {
    /// The project; looked up where it is not known.
    pub(super) async fn project(&self, client: &Client, section: &GitLabSection) -> Result<Arc<Project>, HelpDeskError> {
        let mut known = self.project.lock().await;
        if let Some(project) = &*known {
            return Ok(project.clone());
        }
        let project = Arc::new(look_up(client, section).await?);
        *known = Some(project.clone());
        Ok(project)
    }

    /// Something of it was not there: the next one asks again.
    pub(super) async fn forget(&self) {
        *self.project.lock().await = None;
        *self.labels.lock().await = None;
    }

    /// Which of these labels the project, or a group above it, has.
    pub(super) async fn existing(&self, client: &Client, project: &Project, wanted: &[String]) -> Result<HashSet<String>, HelpDeskError> {
        if wanted.is_empty() {
            return Ok(HashSet::new());
        }
        let mut known = self.labels.lock().await;
        let has_all = |labels: &HashSet<String>| wanted.iter().all(|label| labels.contains(label));
        let labels = match &*known {
            Some((at, labels)) if at.elapsed() < if has_all(labels) { LABELS_KEPT } else { MISSING_LABELS_KEPT } => labels.clone(),
            _ => {
                let labels = Arc::new(all_labels(client, project).await?);
                *known = Some((Instant::now(), labels.clone()));
                labels
            }
        };
        Ok(wanted.iter().filter(|label| labels.contains(*label)).cloned().collect())
    }
}

async fn all_labels(client: &Client, project: &Project) -> Result<HashSet<String>, HelpDeskError> {
    let mut labels = HashSet::new();
    let path = format!("projects/{}/labels", project.id);
    client
        .find_in_pages(&path, MAX_PAGES, "the project's labels", |page| {
            let before = labels.len();
            labels.extend(page.iter().filter_map(|label| label["name"].as_str().map(str::to_owned)));
            // A page that brings nothing new is the last: what answers may not know pages.
            (labels.len() == before).then_some(())
        })
        .await?;
    Ok(labels)
}

async fn look_up(client: &Client, section: &GitLabSection) -> Result<Project, HelpDeskError> {
    const WHAT: &str = "the project";
    let named = section.project();
    let path = format!("projects/{}", percent::encode(named));
    let found = match client.get(&path, WHAT).await {
        // Renamed.
        Err(Fault::Moved(_, location)) => match client.path_of(&location) {
            Some(path) => client.get(&path, WHAT).await,
            None => Err(HelpDeskError::passing(format!(
                "GitLab answers for the project “{named}” with an address outside gitlab.url; correct gitlab.url and gitlab.project"
            ))
            .into()),
        },
        Err(Fault::NotFound(_)) if section.project_path().is_some() => by_name(client, named).await,
        other => other,
    };
    match found {
        Ok(told) => read(told).ok_or_else(|| HelpDeskError::passing("GitLab told no number of the project")),
        Err(Fault::NotFound(_)) => Err(HelpDeskError::Refused(format!(
            "GitLab shows the token's user no project “{named}”: correct gitlab.project, or give the user a role in it; GitLab answers the same \
             for both. If the project is there, a web server in front of GitLab may decode %2F in addresses (Apache needs \
             AllowEncodedSlashes NoDecode and nocanon): then name the project by its number"
        ))),
        Err(fault) => Err(fault.into()),
    }
}

/// Among the projects of that name: where %2F is decoded on its way, no project is found by its path.
async fn by_name(client: &Client, path: &str) -> Result<Value, Fault> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let query = format!("projects?search={}&membership=true&simple=false", percent::encode(name));
    let is_it = |project: &&Value| project["path_with_namespace"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(path));
    let found = client.find_in_pages(&query, MAX_PROJECT_PAGES, "the project", |page| page.iter().find(is_it).cloned()).await?;
    found.ok_or(Fault::NotFound("the project"))
}

fn read(told: Value) -> Option<Project> {
    let text = |name: &str| told[name].as_str().map(|text| text.trim_end_matches('/').to_owned());
    Some(Project {
        id: told["id"].as_u64()?,
        path: text("path_with_namespace").unwrap_or_default(),
        web_url: text("web_url").unwrap_or_default(),
        told,
    })
}
