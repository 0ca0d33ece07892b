//! The labels of the repository. Their list is kept for a while, so that a ticket costs one request.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deskbridge_http_client::cached::{Cached, FailureLife, Freshness, Lifetime};
use tokio::time::Instant;

use super::client::Client;
use super::issue::NOT_TAKEN;
use crate::HelpDeskError;

/// A label that was deleted is noticed after so long.
const KEPT: Duration = Duration::from_mins(10);
/// One that is missing is asked for anew if the list is older than this: somebody may have made it.
const MISSING_AFTER: Duration = Duration::from_secs(30);
/// For so long labels are not sent at all after none of them was taken.
const NOT_SENT: Duration = Duration::from_mins(10);
/// GitHub's largest pages, and so many of them: no repository is known to have more labels.
const PER_PAGE: usize = 100;
const MOST_PAGES: usize = 50;

/// Names, as the repository spells them.
#[derive(Debug, Default)]
pub(super) struct Labels {
    names: Vec<String>,
    /// The token's user may set none.
    are_dropped: bool,
}

impl Labels {
    #[cfg(test)]
    pub(super) fn of(names: Vec<String>) -> Self {
        Self { names, are_dropped: false }
    }

    /// The label of that name, in any case, as GitHub compares them; else why it is not set.
    pub(super) fn known(&self, wanted: &str) -> Result<&str, &'static str> {
        if self.are_dropped {
            return Err(NOT_TAKEN);
        }
        let wanted = wanted.to_lowercase();
        let found = self.names.iter().find(|name| name.to_lowercase() == wanted);
        found.map(String::as_str).ok_or("the repository has no such label")
    }

    fn has_all(&self, wanted: &[String]) -> bool {
        wanted.iter().all(|wanted| self.known(wanted).is_ok())
    }
}

/// What is known of the repository's labels.
pub(super) struct KnownLabels {
    list: Cached<Vec<String>, HelpDeskError>,
    /// Until then none are sent.
    dropped_until: Mutex<Option<Instant>>,
}

impl KnownLabels {
    pub(super) fn new() -> Self {
        Self { list: Cached::new(Lifetime::renewed_after(KEPT), FailureLife::NONE), dropped_until: Mutex::default() }
    }

    /// What is to be known for these labels. `repository`: `owner/name`.
    pub(super) async fn for_wanted(&self, client: &Client, repository: &str, wanted: &[String]) -> Result<Labels, HelpDeskError> {
        let are_dropped = self.dropped_until.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|until| until > Instant::now());
        if wanted.is_empty() || are_dropped {
            return Ok(Labels { names: Vec::new(), are_dropped });
        }
        let get = async |freshness: Freshness| {
            let list = self.list.get(&freshness, || read(client, repository)).await?;
            Ok(Labels { names: list.to_vec(), are_dropped: false })
        };
        let labels = get(Freshness::any()).await?;
        if labels.has_all(wanted) { Ok(labels) } else { get(Freshness::at_most(MISSING_AFTER)).await }
    }

    /// None of an issue's labels was taken: for a while none are sent, and the text says so at once.
    pub(super) fn were_dropped(&self) {
        *self.dropped_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + NOT_SENT);
    }

    /// The list may be wrong.
    pub(super) fn doubt(&self) {
        self.list.doubt();
    }
}

/// The names of all labels.
pub(super) async fn read(client: &Client, repository: &str) -> Result<Vec<String>, HelpDeskError> {
    let (path, mut query) = (format!("repos/{repository}/labels"), format!("per_page={PER_PAGE}"));
    let mut names = Vec::new();
    for _ in 0..MOST_PAGES {
        let page = client.page(&path, &query, "the repository's labels").await?;
        names.extend(page.items.iter().filter_map(|label| label["name"].as_str()).map(str::to_owned));
        match page.next {
            Some(next) => query = next,
            None => break,
        }
    }
    Ok(names)
}
