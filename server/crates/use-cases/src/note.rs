//! A report as a note on its ticket, and the file that goes with it where the note had to be shortened.

use std::sync::Arc;

use deskbridge_core::session_report::{ExitSurvey, SessionReport};
use deskbridge_core::settings::ReportsSection;
use deskbridge_core::text::shown;
use deskbridge_documents::NoteForm;
use deskbridge_help_desks::{Abilities, Files, Item, NewFile, NewNote, Write};
use deskbridge_reports::{Audience, FittedNote, RenderOptions, ReportTemplates, TemplateFault};
use deskbridge_shared::routes;
use deskbridge_store::DeliveryKey;
use deskbridge_work::WorkError;
use deskbridge_work::delivery::{Delivered, Deliverer, Planned};

use crate::Services;
use crate::connections::Connection;

/// A ticket can be merged into one that was merged itself, and so on.
pub(crate) const MOST_MOVES: usize = 6;
/// A file that could not be taken so often is done without: the fourth attempt is some minutes after the first.
const FILE_ATTEMPTS: i32 = 4;
/// Longest reason a note gives for a missing file.
const MAX_REASON: usize = 200;
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
    /// What it tells.
    pub(crate) content: Content,
}

/// What a note is made of.
#[derive(Clone)]
pub(crate) enum Content {
    Session(Arc<SessionReport>),
    CustomerSurvey(Arc<ExitSurvey>),
    RepresentativeSurvey(Arc<ExitSurvey>),
}

impl Content {
    /// Makes the note, in the help desk's form. Off the runtime's threads: a long report is rendered dozens of times until it fits.
    pub(crate) async fn render(
        &self,
        reports: &Arc<ReportTemplates>,
        options: RenderOptions,
        form: NoteForm,
    ) -> Result<FittedNote, TemplateFault> {
        let (content, reports) = (self.clone(), reports.clone());
        off_the_runtime(move || match &content {
            Self::Session(report) => reports.fit_session_report(report, &options, form),
            Self::CustomerSurvey(survey) => reports.fit_customer_survey(survey, &options, form),
            Self::RepresentativeSurvey(survey) => reports.fit_representative_survey(survey, &options, form),
        })
        .await
    }
}

/// Does what takes long, on a thread that may take its time.
pub(crate) async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Writes a note once, and the file that goes with it: where its ticket was merged or closed, onto the ticket that took its place.
pub(crate) async fn deliver(
    services: &Services,
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    report: &Report<'_>,
) -> Result<String, WorkError> {
    if deliverer.confirmed(report.kind).is_some() {
        return Ok(format!("the {} stands already", report.kind));
    }
    let mut ticket = report.ticket.to_owned();
    for _ in 0..MOST_MOVES {
        ticket = match deliver_to(services, connection, deliverer, report, &ticket).await {
            Err(WorkError::Closed { merged_into: Some(other), .. }) => other,
            Err(WorkError::Closed { ticket: closed, merged_into: None, .. }) if connection.help_desk.abilities().follows_up => {
                follow_up(connection, deliverer, &closed).await?
            }
            other => return other,
        };
    }
    Err(WorkError::Permanent(format!("ticket {} leads to another, and so on, {MOST_MOVES} times", report.ticket)))
}

/// The ticket that goes on from a closed one; made if there is none. One for all sessions of that ticket.
async fn follow_up(connection: &Connection, deliverer: &mut Deliverer<'_>, closed: &str) -> Result<String, WorkError> {
    let marker = format!("{MARKER}/follow-up/{closed}");
    let text = format!("Follow-up of ticket {closed}, which was closed before the record of a remote support session came.");
    let item = Item::FollowUp(&text);
    let found = connection.help_desk.find(&Write { ticket: closed, marker: &marker, item }).await;
    if let Some(ticket) = deliverer.heard().help_desk(found)? {
        return Ok(ticket);
    }
    let kind = format!("follow-up-{closed}");
    let done = deliverer.once(&Planned { kind: &kind, ticket: closed, marker: &marker, item }).await?;
    tracing::info!(connection = connection.name(), closed, ticket = done.remote_id, "a follow-up ticket was made for a session's record");
    Ok(done.remote_id)
}

async fn deliver_to(
    services: &Services,
    connection: &Connection,
    deliverer: &mut Deliverer<'_>,
    report: &Report<'_>,
    ticket: &str,
) -> Result<String, WorkError> {
    let Report { kind, title, audience, ref content, .. } = *report;
    let abilities = connection.help_desk.abilities();
    let Some(form) = abilities.note else {
        return Err(WorkError::Permanent("the help desk takes no notes from a server".into()));
    };
    let marker = marker(&deliverer.key(kind));
    let options = render_options(services, connection, audience, &marker);
    let render = async |file_refused: Option<String>| {
        let options = RenderOptions { file_refused, ..options.clone() };
        content.render(&services.reports, options, form).await.map_err(|fault| WorkError::Permanent(fault.to_string()))
    };
    let fitted = render(None).await?;
    let is_public = audience == Audience::Requester;
    let mut refused = match &fitted.attachment {
        // The file first: the note speaks of it.
        Some(file) if abilities.files == Files::ByThemselves => deliver_file(deliverer, kind, ticket, NewFile { file, is_public }).await?,
        _ => None,
    };
    let gives_up_files = deliverer.attempts() > FILE_ATTEMPTS;
    let told = |done: &Delivered| format!("the {kind} {} ticket {} (note {})", done.how, done.ticket, done.remote_id);
    if refused.is_none() {
        let attachments = if abilities.files == Files::WithNote { fitted.attachment.as_slice() } else { &[] };
        let note = NewNote { title, body: &fitted.body, attachments, gives_up_files, is_public };
        match deliverer.once(&Planned { kind, ticket, marker: &marker, item: Item::Note(&note) }).await {
            Err(WorkError::FileRefused(reason)) => refused = Some(reason),
            done => return done.map(|done| told(&done)),
        }
    }
    // A shortened report is better than none, and says so.
    let reason = refused.unwrap_or_default();
    // What was said is for agents.
    let fitted = render(Some(if is_public { "refused".to_owned() } else { shown(&reason, MAX_REASON) })).await?;
    let note = NewNote { title, body: &fitted.body, attachments: &[], gives_up_files, is_public };
    let done = deliverer.once(&Planned { kind, ticket, marker: &marker, item: Item::Note(&note) }).await?;
    Ok(format!("{}; its file was not taken: {reason}", told(&done)))
}

/// Writes a report's file, where files stand by themselves. The answer says why it was not taken, if it was not.
async fn deliver_file(deliverer: &mut Deliverer<'_>, kind: &str, ticket: &str, file: NewFile<'_>) -> Result<Option<String>, WorkError> {
    let kind = format!("{kind}-file");
    let marker = marker(&deliverer.key(&kind));
    match deliverer.once(&Planned { kind: &kind, ticket, marker: &marker, item: Item::File(file) }).await {
        Ok(_) => Ok(None),
        Err(WorkError::Permanent(reason) | WorkError::FileRefused(reason)) => Ok(Some(reason)),
        // Long enough: the note, and the ticket's other sessions, wait for it.
        Err(WorkError::Passing { what, .. }) if deliverer.attempts() > FILE_ATTEMPTS && !deliverer.is_sent(&kind) => Ok(Some(what)),
        Err(error) => Err(error),
    }
}

/// How reports are told on this connection's tickets, with the marker as the last line.
pub(crate) fn render_options(services: &Services, connection: &Connection, audience: Audience, marker: &str) -> RenderOptions {
    let section = &connection.settings.reports;
    RenderOptions {
        time_zone: connection.time_zone.clone(),
        include_system_chatter: section.include_system_chatter,
        system_categories: section.system_categories.clone(),
        public_system_categories: section.public_system_categories.clone(),
        include_signed_links: section.include_signed_links,
        audience,
        publish_session_notes: section.publish_representative_notes,
        report_page_host: connection.engine.as_ref().and_then(|engine| engine.report_page_host()).map(str::to_owned),
        recordings: Some(format!("{}{}/{}", services.public_url, routes::RECORDINGS, connection.id)),
        file_refused: None,
        takes_files: connection.help_desk.abilities().files != Files::Never,
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
            takes_incidents: false,
            closes_tickets: false,
            follows_up: false,
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
