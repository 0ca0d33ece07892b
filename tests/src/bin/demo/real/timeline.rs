//! What has happened: each ticket's sessions, with their begin, their end, and when the note stood on the ticket.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use deskbridge_tests::meshcentral::Control;
use deskbridge_tests::server::Deskbridge;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::desk::{Desk, Seen, Ticket};

/// Tickets that are looked at; a person who asks for help more often sees the latest.
const MOST_TICKETS: usize = 12;

/// MeshCentral's numbers of its events that end a terminal, a desktop, a file transfer.
const ENDS: [u64; 3] = [10, 11, 12];

/// Everything seen so far.
#[derive(Default)]
pub struct Timeline {
    tickets: Vec<(Ticket, Vec<Seen>)>,
    /// When a session's note was first seen.
    notes: BTreeMap<String, OffsetDateTime>,
    /// When MeshCentral says that sessions ended; the panel is told the second.
    ends: Vec<OffsetDateTime>,
    /// How many notes a session has.
    counts: BTreeMap<String, usize>,
}

#[expect(clippy::disallowed_methods, reason = "when a person would see it")]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

impl Timeline {
    /// Looks at all of it.
    pub async fn look(&mut self, desk: &Desk, server: &Deskbridge, mesh: &Control) -> Result<()> {
        let ends = mesh.events_so_far().into_iter().filter(|event| event["msgid"].as_u64().is_some_and(|id| ENDS.contains(&id)));
        self.ends = ends.filter_map(|event| OffsetDateTime::parse(event["time"].as_str()?, &Rfc3339).ok()).collect();
        let mut tickets = desk.tickets().await?;
        let surplus = tickets.len().saturating_sub(MOST_TICKETS);
        tickets.drain(1..=surplus);
        let mut seen = Vec::new();
        self.counts.clear();
        for ticket in tickets {
            let sessions = desk.sessions(server, &ticket.number).await?;
            for lsid in desk.reports(&ticket.number).await? {
                self.notes.entry(lsid.clone()).or_insert_with(now);
                *self.counts.entry(lsid).or_default() += 1;
            }
            seen.push((ticket, sessions));
        }
        self.tickets = seen;
        Ok(())
    }

    /// Tickets that came of requests for help.
    pub fn helped(&self) -> impl Iterator<Item = &Ticket> {
        self.tickets.iter().skip(1).map(|(ticket, _)| ticket)
    }

    /// A ticket's sessions.
    pub fn sessions(&self, ticket: &str) -> &[Seen] {
        self.tickets.iter().find(|(known, _)| known.number == ticket).map_or(&[], |(_, sessions)| sessions)
    }

    /// How many notes a session has left.
    pub fn notes(&self, session: &Seen) -> usize {
        self.counts.get(&session.lsid).copied().unwrap_or_default()
    }

    /// From the session's end until its note was seen on the ticket.
    pub fn note_after(&self, session: &Seen) -> Option<Duration> {
        let second = OffsetDateTime::parse(session.ended_at.as_deref()?, &Rfc3339).ok()?;
        let ended = self.ends.iter().find(|end| end.unix_timestamp() == second.unix_timestamp()).unwrap_or(&second);
        Duration::try_from(*self.notes.get(&session.lsid)? - *ended).ok()
    }

    /// For the page, the latest session first.
    pub fn json(&self, desk: &Desk) -> Value {
        let tickets = self.tickets.iter().map(|(ticket, sessions)| {
            let mut sessions: Vec<&Seen> = sessions.iter().collect();
            sessions.sort_by(|one, other| other.started_at.cmp(&one.started_at));
            let sessions: Vec<Value> = sessions
                .into_iter()
                .map(|session| {
                    let has_ended = session.ended_at.is_some();
                    json!({
                        "kind": session.kind,
                        "who": session.representative,
                        "began": session.started_at,
                        "ended": session.ended_at,
                        "live": !has_ended,
                        "notes": self.notes(session),
                        "seconds": self.note_after(session).map(|after| after.as_secs_f64()),
                    })
                })
                .collect();
            json!({"number": ticket.number, "subject": ticket.subject, "page": desk.page(&ticket.number), "sessions": sessions})
        });
        tickets.collect()
    }
}
