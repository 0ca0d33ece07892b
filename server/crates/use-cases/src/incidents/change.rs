//! An incident ended, or is open again: its ticket is told, once for each, in order; and closed where the settings say so.

use deskbridge_core::fault_point;
use deskbridge_core::settings::OnIncidentEnd;
use deskbridge_core::text::shown;
use deskbridge_documents::{Block, Document, Inline, NoteForm, write_with};
use deskbridge_help_desks::{Item, NewNote};
use deskbridge_store::{IncidentChange, LeasedEvent, StoredIncident};
use deskbridge_work::WorkError;
use deskbridge_work::delivery::{Deliverer, Planned};

use crate::connections::Connection;
use crate::note::MOST_MOVES;
use crate::{Services, note};

/// Longest name of a source or id in a note, in characters.
const MAX_NAME: usize = 100;

/// Tells the ticket of everything it does not know yet. The answer says what was done.
pub(super) async fn tell_all(
    services: &Services,
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    event: &LeasedEvent,
    ticket: &str,
) -> Result<Vec<String>, WorkError> {
    let (store, wanted) = (services.store.as_ref(), connection.settings.on_incident_end);
    let mut done = Vec::new();
    for change in store.incident_changes(connection.id, &event.lsid).await? {
        // As it is now: an incident that is open again keeps its ticket open.
        let Some(known) = store.incident(connection.id, &event.lsid).await? else { break };
        let mut ticket = ticket.to_owned();
        if wanted != OnIncidentEnd::Nothing {
            done.push(tell(connection, deliverer, &mut ticket, &known, &change).await?);
        }
        let is_last = !change.is_open && change.number == known.changes;
        if wanted == OnIncidentEnd::Close && is_last && connection.help_desk.abilities().closes_tickets {
            deliverer.confirm_written().await?;
            deliverer.heard().help_desk(connection.help_desk.close(&ticket).await)?;
            done.push(format!("ticket {ticket} is closed"));
        }
        deliverer.confirm_written().await?;
        store.incident_told(connection.id, &event.lsid, change.number).await?;
        fault_point::reach("incident_told");
    }
    Ok(done)
}

/// Writes the note. `ticket` becomes the one it stands on: the one it was merged into.
async fn tell(
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    ticket: &mut String,
    known: &StoredIncident,
    change: &IncidentChange,
) -> Result<String, WorkError> {
    let abilities = connection.help_desk.abilities();
    let Some(form) = abilities.note else { return Ok("the ticket system takes no notes".into()) };
    let kind = format!("{}-{}", if change.is_open { "reopened" } else { "end" }, change.number);
    let marker = note::marker(&deliverer.key(&kind));
    let (title, body) = text(connection, known, change, form, &marker);
    let is_public = abilities.notes_are_public && !abilities.takes_internal_notes;
    let new = NewNote { title, body: &body, attachments: &[], gives_up_files: false, is_public };
    for _ in 0..MOST_MOVES {
        match deliverer.once(&Planned { kind: &kind, ticket, marker: &marker, item: Item::Note(&new) }).await {
            Err(WorkError::Closed { merged_into: Some(other), .. }) => *ticket = other,
            Err(WorkError::Closed { ticket: closed, .. }) => return Ok(format!("ticket {closed} is closed and takes no notes")),
            done => return done.map(|done| format!("the note {kind} {} ticket {}", done.how, done.ticket)),
        }
    }
    Err(WorkError::Permanent(format!("ticket {ticket} leads to another, and so on, {MOST_MOVES} times")))
}

fn text(connection: &Connection, known: &StoredIncident, change: &IncidentChange, form: NoteForm, marker: &str) -> (&'static str, String) {
    let (title, what) = if change.is_open {
        ("Incident is open again", "The incident is open again")
    } else {
        ("Incident ended", "The incident has ended")
    };
    let at = connection.time_zone.local(change.changed_at.div_euclid(1_000)).map_or_else(String::new, |at| format!(": {at}"));
    let source = format!("Source: {}, incident {}", shown(&known.source, MAX_NAME), shown(&known.source_id, MAX_NAME));
    let paragraph = |content| Block::Paragraph(vec![content]);
    let document = Document::new(vec![paragraph(Inline::strong(format!("{what}{at}"))), paragraph(Inline::text(source))]);
    (title, write_with(document, form.format, marker))
}
