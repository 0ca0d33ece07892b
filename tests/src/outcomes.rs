//! What became of a support session's events: read where an administrator reads it, in the log and on the ticket.
//!
//! Must not look into the server's database: its tables are no contract.

use anyhow::{Context, Result, ensure};
use regex::Regex;

use crate::appliance::SessionScript;
use crate::scene::Scene;
use crate::zendesk::Comment;

/// The `kind` of each event that ends in an outcome worth waiting for.
pub const SESSION_END: &str = "session_end";
/// The customer's exit survey.
pub const CUSTOMER_SURVEY: &str = "customer_survey";
/// The representative's exit survey.
pub const REPRESENTATIVE_SURVEY: &str = "representative_survey";

/// How an event ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With what was done.
    Done(String),
    /// As a dead letter, with its reason.
    Dead(String),
}

impl Outcome {
    /// What was done. Fails for a dead letter.
    pub fn done(self) -> Result<String> {
        match self {
            Self::Done(said) => Ok(said),
            Self::Dead(reason) => anyhow::bail!("the event became a dead letter: {reason}"),
        }
    }

    /// The dead letter's reason. Fails for an event that was done.
    pub fn dead(self) -> Result<String> {
        match self {
            Self::Dead(reason) => Ok(reason),
            Self::Done(said) => anyhow::bail!("the event was done: {said}"),
        }
    }
}

impl Scene {
    /// Waits until the first event of that kind of this session has come to its end, within the log's patience.
    pub async fn outcome(&self, lsid: &str, kind: &str) -> Result<Outcome> {
        self.outcome_after(0, lsid, kind).await
    }

    /// The same among the lines behind a mark of the log.
    pub async fn outcome_after(&self, mark: usize, lsid: &str, kind: &str) -> Result<Outcome> {
        let pattern = format!(r#"event\{{.*kind="{kind}" lsid="{lsid}"\}}.*: event (done|is a dead letter) "#);
        let line = self.server.logs().wait_for_after(mark, &pattern).await?;
        parse(&line).with_context(|| format!("a line of another shape: {line}"))
    }

    /// Plays a session that ends, and waits until its end was brought to the ticket; answers its lsid.
    pub async fn play_until_done(&self, script: SessionScript) -> Result<String> {
        let lsid = self.appliance.play(script)?;
        self.outcome(&lsid, SESSION_END).await?.done()?;
        Ok(lsid)
    }

    /// The notes of that session on the ticket, oldest first: those with its marker.
    pub fn notes(&self, ticket: u64, lsid: &str) -> Vec<Comment> {
        let marker = format!("deskbridge/{lsid}/");
        self.zendesk.comments(ticket).into_iter().filter(|comment| comment.plain_body.contains(&marker)).collect()
    }

    /// The one note with the session's report on the ticket; fails when there is none or another.
    pub fn only_report(&self, ticket: u64, lsid: &str) -> Result<Comment> {
        let marker = format!("deskbridge/{lsid}/report/");
        let mut reports = self.zendesk.comments(ticket);
        reports.retain(|comment| comment.plain_body.contains(&marker));
        ensure!(reports.len() == 1, "the report stands {} times on ticket {ticket}", reports.len());
        reports.pop().context("just counted")
    }

    /// Waits until every event was passed on; fails unless each got exactly 200 at its first attempt.
    pub async fn every_event_was_taken_at_once(&self) -> Result<()> {
        self.appliance.outbound_idle().await?;
        for attempt in self.appliance.attempts() {
            ensure!(attempt.outcome == Ok(200), "{} of {}: {:?}", attempt.event, attempt.lsid, attempt.outcome);
        }
        Ok(())
    }
}

fn parse(line: &str) -> Option<Outcome> {
    let parts = Regex::new(r#": event (done|is a dead letter) (?:done|reason)="((?:[^"\\]|\\.)*)""#).ok()?;
    let found = parts.captures(line)?;
    let said = found[2].replace("\\\"", "\"");
    Some(if &found[1] == "done" { Outcome::Done(said) } else { Outcome::Dead(said) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let event = r#"2026-11-22T02:35:00Z  INFO event{id=0 connection="Z" kind="session_end" lsid="e9"}"#;
        assert_eq!(
            parse(&format!(r#"{event}: event done done="written to ticket 1""#)),
            Some(Outcome::Done("written to ticket 1".to_owned()))
        );
        let dead = format!(r#"{event}: event is a dead letter reason="no \"such\" ticket; gave up" attempts=1"#);
        assert_eq!(parse(&dead), Some(Outcome::Dead("no \"such\" ticket; gave up".to_owned())));
        assert_eq!(parse(&format!("{event}: event will be tried again")), None);
    }
}
