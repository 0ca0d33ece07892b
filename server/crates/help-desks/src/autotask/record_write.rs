//! A new record as a prepared write: one request, and what its answer leads to.

use std::pin::Pin;

use async_trait::async_trait;

use super::client::{Fault, Ready, Sent};
use crate::{Prepared, PreparedWrite, WriteOutcome};

/// What is decided after an answer; deciding may look things up.
pub(super) type Deciding<'a> = Pin<Box<dyn Future<Output = WriteOutcome<'a>> + Send + 'a>>;

type Then<'a> = Box<dyn FnOnce(Result<i64, Fault>) -> Deciding<'a> + Send + 'a>;

/// A record ready to be sent. `then` decides what a created record or a refusal means; what nobody knows needs no decision.
pub(super) struct RecordWrite<'a> {
    ready: Ready<'a>,
    then: Then<'a>,
}

impl<'a> RecordWrite<'a> {
    pub(super) fn boxed(ready: Ready<'a>, then: impl FnOnce(Result<i64, Fault>) -> Deciding<'a> + Send + 'a) -> Prepared<'a> {
        Box::new(Self { ready, then: Box::new(then) })
    }

    /// The same where nothing more is to be asked.
    pub(super) fn simple(ready: Ready<'a>, refused: impl FnOnce(Fault) -> crate::HelpDeskError + Send + 'a) -> Prepared<'a> {
        Self::boxed(ready, move |written| {
            let outcome = match written {
                Ok(id) => WriteOutcome::Written(id.to_string()),
                Err(fault) => WriteOutcome::Refused(refused(fault)),
            };
            Box::pin(std::future::ready(outcome))
        })
    }
}

#[async_trait]
impl<'a> PreparedWrite<'a> for RecordWrite<'a> {
    async fn send(self: Box<Self>) -> WriteOutcome<'a> {
        let Self { ready, then } = *self;
        match ready.send().await {
            Sent::Created(id) => then(Ok(id)).await,
            Sent::Refused(fault) => then(Err(fault)).await,
            Sent::Moved(ready) => WriteOutcome::TryInstead(Box::new(Self { ready, then })),
            Sent::Unknown(error) => WriteOutcome::Unknown { error, repeat_after: None },
        }
    }
}
