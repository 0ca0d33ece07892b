//! A report as a note on its ticket, and the file that goes with it where the note had to be shortened.

use deskbridge_documents::NoteForm;
use deskbridge_help_desks::{Files, Item, NewNote};
use deskbridge_reports::{FittedNote, RenderOptions, TemplateFault};
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

/// Writes a note once, and the file that goes with it. `render` makes it, in the help desk's form.
pub(crate) async fn deliver(
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    kind: &str,
    ticket: &str,
    title: &str,
    render: impl FnOnce(&RenderOptions, NoteForm) -> Result<FittedNote, TemplateFault>,
) -> Result<String, WorkError> {
    let abilities = connection.help_desk.abilities();
    let Some(form) = abilities.note else {
        return Err(WorkError::Permanent("the help desk takes no notes from a server".into()));
    };
    if deliverer.confirmed(kind).is_some() {
        return Ok(format!("the {kind} stands already"));
    }
    let marker = marker(&deliverer.key(kind));
    let options = render_options(connection, &marker);
    let fitted = render(&options, form).map_err(|fault| WorkError::Permanent(fault.to_string()))?;
    let mut without_file = String::new();
    if abilities.files == Files::ByThemselves
        && let Some(file) = &fitted.attachment
    {
        // The file first: the note speaks of it.
        let kind = format!("{kind}-file");
        let marker = self::marker(&deliverer.key(&kind));
        match deliverer.once(&Planned { kind: &kind, ticket, marker: &marker, item: Item::File(file) }).await {
            // A shortened report is better than none.
            Err(WorkError::Permanent(reason)) => without_file = format!("; its file was not taken: {reason}"),
            other => drop(other?),
        }
    }
    let attachments = if abilities.files == Files::WithNote { fitted.attachment.as_slice() } else { &[] };
    let note = NewNote { title, body: &fitted.body, attachments };
    let done = deliverer.once(&Planned { kind, ticket, marker: &marker, item: Item::Note(&note) }).await?;
    Ok(format!("the {kind} {} ticket {} (note {}){without_file}", done.how, done.ticket, done.remote_id))
}

/// How reports are told on this connection's tickets, with the marker as the last line.
pub(crate) fn render_options(connection: &Connection, marker: &str) -> RenderOptions {
    let section = &connection.settings.reports;
    let abilities = connection.help_desk.abilities();
    RenderOptions {
        time_zone: connection.time_zone.clone(),
        include_system_chatter: section.include_system_chatter,
        system_categories: section.system_categories.clone(),
        include_signed_links: section.include_signed_links,
        is_public: abilities.notes_are_public,
        report_page_host: connection.engine.as_ref().and_then(|engine| engine.report_page_host()).map(str::to_owned),
        last_line: marker.to_owned(),
    }
}
