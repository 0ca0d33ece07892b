//! A report as a note on its ticket, and the file that goes with it where the note had to be shortened.

use deskbridge_core::settings::ReportsSection;
use deskbridge_documents::NoteForm;
use deskbridge_help_desks::{Abilities, Files, Item, NewFile, NewNote};
use deskbridge_reports::{Audience, FittedNote, RenderOptions, TemplateFault};
use deskbridge_store::DeliveryKey;
use deskbridge_work::WorkError;
use deskbridge_work::delivery::{Deliverer, Planned};

use crate::connections::Connection;

/// The part every marker begins with.
const MARKER: &str = "deskbridge";

/// The text a delivery is found again by.
pub(crate) fn marker(key: &DeliveryKey) -> String {
    format!("{MARKER}/{}/{}/{}", key.lsid, key.kind, key.part)
}

/// Who reads what a customer took part in.
pub(crate) fn audience(abilities: &Abilities) -> Audience {
    if abilities.notes_are_public { Audience::Requester } else { Audience::Agents }
}

/// Who reads what representatives wrote for their colleagues, such as their exit survey. `None`: the help desk shows every note to the
/// requester, who shall not read it.
pub(crate) fn audience_among_agents(abilities: &Abilities, reports: &ReportsSection) -> Option<Audience> {
    match audience(abilities) {
        Audience::Requester if !reports.publish_representative_notes => abilities.takes_internal_notes.then_some(Audience::Agents),
        other => Some(other),
    }
}

/// Whether agents get a note of their own beside one for the requester.
pub(crate) fn is_internal_note_wanted(abilities: &Abilities, reports: &ReportsSection) -> bool {
    reports.internal_note_beside_public && abilities.notes_are_public && abilities.takes_internal_notes
}

/// What the settings ask for and this help desk's notes cannot do, and what then happens.
pub(crate) fn unfulfilled(abilities: &Abilities, reports: &ReportsSection) -> Option<&'static str> {
    match (abilities.notes_are_public, abilities.takes_internal_notes) {
        (false, _) if reports.internal_note_beside_public => {
            Some("reports.internal_note_beside_public does nothing: the notes are internal and hold everything")
        }
        (true, false) if reports.internal_note_beside_public => {
            Some("reports.internal_note_beside_public does nothing: every note of this help desk is public")
        }
        _ => None,
    }
}

/// One note to be written, and the file that goes with it.
pub(crate) struct Report<'a> {
    /// The delivery's kind.
    pub(crate) kind: &'a str,
    /// The ticket's id.
    pub(crate) ticket: &'a str,
    /// One line.
    pub(crate) title: &'a str,
    /// Who reads it.
    pub(crate) audience: Audience,
}

/// Writes a note once, and the file that goes with it. `render` makes it, in the help desk's form.
pub(crate) async fn deliver(
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    report: &Report<'_>,
    render: impl FnOnce(&RenderOptions, NoteForm) -> Result<FittedNote, TemplateFault>,
) -> Result<String, WorkError> {
    let Report { kind, ticket, title, audience } = *report;
    let abilities = connection.help_desk.abilities();
    let Some(form) = abilities.note else {
        return Err(WorkError::Permanent("the help desk takes no notes from a server".into()));
    };
    if deliverer.confirmed(kind).is_some() {
        return Ok(format!("the {kind} stands already"));
    }
    let marker = marker(&deliverer.key(kind));
    let fitted = render(&render_options(connection, audience, &marker), form).map_err(|fault| WorkError::Permanent(fault.to_string()))?;
    let is_public = audience == Audience::Requester;
    let mut without_file = String::new();
    if abilities.files == Files::ByThemselves
        && let Some(file) = &fitted.attachment
    {
        // The file first: the note speaks of it.
        let kind = format!("{kind}-file");
        let marker = self::marker(&deliverer.key(&kind));
        let item = Item::File(NewFile { file, is_public });
        match deliverer.once(&Planned { kind: &kind, ticket, marker: &marker, item }).await {
            // A shortened report is better than none.
            Err(WorkError::Permanent(reason)) => without_file = format!("; its file was not taken: {reason}"),
            other => drop(other?),
        }
    }
    let attachments = if abilities.files == Files::WithNote { fitted.attachment.as_slice() } else { &[] };
    let note = NewNote { title, body: &fitted.body, attachments, is_public };
    let done = deliverer.once(&Planned { kind, ticket, marker: &marker, item: Item::Note(&note) }).await?;
    Ok(format!("the {kind} {} ticket {} (note {}){without_file}", done.how, done.ticket, done.remote_id))
}

/// How reports are told on this connection's tickets, with the marker as the last line.
pub(crate) fn render_options(connection: &Connection, audience: Audience, marker: &str) -> RenderOptions {
    let section = &connection.settings.reports;
    RenderOptions {
        time_zone: connection.time_zone.clone(),
        include_system_chatter: section.include_system_chatter,
        system_categories: section.system_categories.clone(),
        include_signed_links: section.include_signed_links,
        audience,
        publish_session_notes: section.publish_representative_notes,
        report_page_host: connection.engine.as_ref().and_then(|engine| engine.report_page_host()).map(str::to_owned),
        last_line: marker.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn abilities(notes_are_public: bool, takes_internal_notes: bool) -> Abilities {
        Abilities {
            note: None,
            page_note: None,
            files: Files::WithNote,
            notes_are_public,
            takes_internal_notes,
            settles_within: Duration::ZERO,
            guards_repeats: false,
            records_time: false,
            creates_tickets: false,
        }
    }

    /// Help desks whose notes can be either, are always internal, or are always public.
    #[test]
    fn what_agents_alone_shall_read_is_public_nowhere() {
        let (public, internal, always_public) = (abilities(true, true), abilities(false, true), abilities(true, false));
        let quiet = ReportsSection::default();
        let generous = ReportsSection { publish_representative_notes: true, internal_note_beside_public: true, ..quiet.clone() };
        for (abilities, section, expected) in [
            (&internal, &quiet, (Audience::Agents, Some(Audience::Agents), false, false)),
            (&internal, &generous, (Audience::Agents, Some(Audience::Agents), false, true)),
            (&public, &quiet, (Audience::Requester, Some(Audience::Agents), false, false)),
            (&public, &generous, (Audience::Requester, Some(Audience::Requester), true, false)),
            (&always_public, &quiet, (Audience::Requester, None, false, false)),
            (&always_public, &generous, (Audience::Requester, Some(Audience::Requester), false, true)),
        ] {
            let found = (
                audience(abilities),
                audience_among_agents(abilities, section),
                is_internal_note_wanted(abilities, section),
                unfulfilled(abilities, section).is_some(),
            );
            assert_eq!(found, expected, "{abilities:?}");
        }
    }
}
