//! "Nothing found" is an `<error>` document like any other (beyondtrust.md D.5), in the language of the appliance. Its sentence is known in
//! English only, so it is learnt, from a question whose answer must be empty, when a sentence comes that nobody knows.
//!
//! It must never be taken for one that refuses: what refuses everything would then look like an appliance without sessions, and events would
//! be given up. So nothing is learnt before the appliance has accepted the account and said that it may read reports.

use std::sync::Arc;
use std::time::Duration;

use deskbridge_http_client::cached::{Cached, FailureLife, Freshness, Lifetime};

use super::reporting::Report;
use super::transport::Wanted;
use super::{ApplianceClient, Error};

/// The sentence changes with the appliance's version or language. Another one that is not known is a reason to ask anew, but not more often.
const ASK_AGAIN_AFTER: Duration = Duration::from_mins(10);
/// What keeps us from learning is not tried at every call.
const FAILURE: Duration = Duration::from_secs(10);

/// The sentences of one account and locale, by report. `None`: the appliance answers what is empty without an `<error>`, or in English.
pub(super) struct NothingFound {
    sentences: [Cached<Option<String>, Error>; Report::ALL.len()],
}

impl Default for NothingFound {
    fn default() -> Self {
        let sentence = || Cached::new(Lifetime::FOREVER, FailureLife { least: FAILURE, longest: FAILURE });
        Self { sentences: std::array::from_fn(|_| sentence()) }
    }
}

impl ApplianceClient {
    /// Whether the sentence of an `<error>` says that there is nothing.
    pub(super) async fn says_nothing_found(&self, report: Report, sentence: &str) -> Result<bool, Error> {
        let sentence = comparable(sentence);
        // All reports are known to use the one sentence; where one does not, it is learnt for itself.
        let own = (report != Report::Session).then_some(report);
        for report in [Report::Session].into_iter().chain(own) {
            for freshness in [Freshness::any(), Freshness::at_most(ASK_AGAIN_AFTER)] {
                let learnt = match self.learn(report, &freshness).await {
                    // Not even what cannot be empty is answered: the sentence says something else.
                    Err(Error::Refused { .. }) => return Ok(false),
                    other => other?,
                };
                if learnt.as_deref().is_some_and(|learnt| comparable(learnt) == sentence) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn learn(&self, report: Report, freshness: &Freshness) -> Result<Arc<Option<String>>, Error> {
        self.inner.nothing_found.sentences[report as usize].get(freshness, || self.ask_for_nothing(report)).await
    }

    async fn ask_for_nothing(&self, report: Report) -> Result<Option<String>, Error> {
        if self.api_info().await?.may_report_sessions() == Some(false) {
            return Err(Error::Denied { reason: "it may not read support session reports".to_owned() });
        }
        match self.ask(report, report.of_nothing(), Wanted::Whole).await {
            Err(Error::Refused { message }) => Ok(Some(message)),
            Ok(_) | Err(Error::NoReport) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether it says in English that there is nothing, whatever else is in the sentence.
pub(super) fn says_so_in_english(sentence: &str) -> bool {
    let sentence = comparable(sentence);
    let says = |word: &str| sentence.split(|character: char| !character.is_alphanumeric()).any(|one| one == word);
    sentence.contains("matching your") && ["no", "none", "nothing"].into_iter().any(says)
}

/// The same sentence is written with different spaces and apostrophes.
fn comparable(sentence: &str) -> String {
    let sentence = sentence.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    sentence.replace(['’', '‘', 'ʼ', '′', '´', '`'], "'")
}
