//! From a report or an incident to what stands on the ticket: one Handlebars template for each, whose HTML becomes a small
//! document (crate `documents`), which is written as the ticket system wants it, within its limit.
//!
//! Templates are functions from a typed context (context.rs). The built-in ones can be replaced by an administrator's
//! files of the same name; each template is tried on every sample before it is used, so that a broken one is told at
//! start or save, not when a session ends. Must not know a ticket system beyond its [`NoteForm`], must not read a
//! clock, and must not do I/O but for reading the override files in [`ReportTemplates::new`].

mod context;
mod helpers;
mod incident;
mod limits;
mod samples;

pub use context::{
    CustomerContext, Entry, FileContext, Link, Moment, NameValue, NoteContext, QuestionContext, RepresentativeContext, SessionContext,
    SurveyContext, SystemSection, TerminalContext, TrafficContext, Transcript,
};
pub use incident::IncidentContext;
pub use limits::FittedNote;

use deskbridge_core::note::Attachment;
use deskbridge_core::session_report::{ExitSurvey, SessionReport};
use deskbridge_core::settings::ReportsSection;
use deskbridge_core::time_zone::TimeZone;
use deskbridge_documents::parse::{self, Parsed};
use deskbridge_documents::{Format, Guards, NoteForm, guarded, write_with, write_within};
use handlebars::{Handlebars, RenderError, RenderErrorReason, TemplateError};
use limits::{Shortening, file_stem, fit};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Far more than any template needs.
const MAX_TEMPLATE_BYTES: u64 = 256 * 1024;

/// The three reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    Session,
    CustomerSurvey,
    RepresentativeSurvey,
}

impl Report {
    const ALL: [Self; 3] = [Self::Session, Self::CustomerSurvey, Self::RepresentativeSurvey];

    /// File name of the template, and what is built in.
    const fn template(self) -> (&'static str, &'static str) {
        match self {
            Self::Session => ("session_report.hbs", include_str!("../templates/session_report.hbs")),
            Self::CustomerSurvey => ("customer_survey.hbs", include_str!("../templates/customer_survey.hbs")),
            Self::RepresentativeSurvey => ("representative_survey.hbs", include_str!("../templates/representative_survey.hbs")),
        }
    }

    /// File name of an administrator's template for plain text. There is none built in: plain text is written from the same document.
    const fn text_template(self) -> &'static str {
        match self {
            Self::Session => "session_report.txt.hbs",
            Self::CustomerSurvey => "customer_survey.txt.hbs",
            Self::RepresentativeSurvey => "representative_survey.txt.hbs",
        }
    }
}

/// Who reads a note, and what of a report it tells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The help desk's own people, everything.
    Agents,
    /// The requester too: no links, nothing that representatives said to each other or wrote for each other, nothing that a terminal
    /// showed, and nothing of a machine but its name.
    Requester,
    /// The help desk's own people, beside a note for the requester: what that one leaves out.
    AgentsBesideRequester,
}

impl Audience {
    /// Whether they are told what the requester may read, or may not.
    fn reads(self, is_public: bool) -> bool {
        match self {
            Self::Agents => true,
            Self::Requester => is_public,
            Self::AgentsBesideRequester => !is_public,
        }
    }
}

/// A title for the report of a session, one line: with whom it was, or else with which machine, and how long it took.
pub fn session_title(report: &SessionReport) -> String {
    const LONGEST_NAME: usize = 120;
    let mut title = "Remote support".to_owned();
    let customer = report.customer_name().map(|name| (" with ", name));
    if let Some((word, name)) = customer.or_else(|| report.machine.as_deref().map(|name| (" of ", name))) {
        let words: Vec<&str> = name.split_whitespace().collect();
        title.push_str(word);
        title.extend(words.join(" ").chars().take(LONGEST_NAME));
    }
    if let Some(seconds) = report.duration_seconds() {
        title.push_str(", ");
        title.push_str(&context::duration_text(seconds));
    }
    title
}

/// How a report is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// Time zone of what people read.
    pub time_zone: TimeZone,
    /// Also tell what the appliance itself did, and routine such as window changes.
    pub include_system_chatter: bool,
    /// Words in the names of the system information categories told; empty: all.
    pub system_categories: Vec<String>,
    /// The same for the requester. None: as for agents; of a machine that can be anybody's, nothing.
    pub public_system_categories: Option<Vec<String>>,
    /// Who reads it.
    pub audience: Audience,
    /// The requester also reads the session notes.
    pub publish_session_notes: bool,
    /// Links to recordings and chat, which open without a login until they expire.
    pub include_signed_links: bool,
    /// The appliance's host, for the link to its report page.
    pub report_page_host: Option<String>,
    /// Address of ours below which the connection's recordings are, where the engine keeps some that only we give out.
    pub recordings: Option<String>,
    /// Why the help desk did not take the file with the whole report: where the note must be shortened, it says so.
    pub file_refused: Option<String>,
    /// A file can go along with the note, and holds the whole report where the note must be shortened.
    pub takes_files: bool,
    /// A line of ours at the end, by which the note is found again. Empty: none.
    pub last_line: String,
}

impl Default for RenderOptions {
    fn default() -> Self {
        let usual = ReportsSection::default();
        Self {
            time_zone: TimeZone::default(),
            include_system_chatter: usual.include_system_chatter,
            system_categories: usual.system_categories,
            public_system_categories: usual.public_system_categories,
            audience: Audience::Agents,
            publish_session_notes: false,
            include_signed_links: usual.include_signed_links,
            report_page_host: None,
            recordings: None,
            file_refused: None,
            takes_files: true,
            last_line: String::new(),
        }
    }
}

/// A rendered report.
enum Rendered {
    /// From HTML, for any format.
    Html { html: String, parsed: Parsed },
    /// From an administrator's template for plain text.
    Text(String),
}

impl Rendered {
    /// A document has its bounds, too.
    fn is_whole(&self) -> bool {
        match self {
            Self::Html { parsed, .. } => parsed.is_whole,
            Self::Text(_) => true,
        }
    }

    fn write(&self, format: Format, last_line: &str) -> String {
        match (self, format) {
            (Self::Html { parsed, .. }, _) => write_with(parsed.document.clone(), format, last_line),
            (Self::Text(text), _) => guarded(with_last_line(text, last_line), format),
        }
    }

    /// The beginning, where not even the shortest form of the template fits.
    fn write_beginning(&self, form: NoteForm, last_line: &str) -> Option<String> {
        match self {
            Self::Html { parsed, .. } => write_within(&parsed.document, form, last_line).map(|shortened| shortened.text),
            Self::Text(text) => form.limit.longest(text.chars().count(), |characters| {
                let beginning: String = text.chars().take(characters).collect();
                Self::Text(beginning + "…").write(form.format, last_line)
            }),
        }
    }
}

fn with_last_line(text: &str, last_line: &str) -> String {
    if last_line.is_empty() { text.to_owned() } else { format!("{text}\n\n{last_line}") }
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template {file}{}: {fault}. Correct the file, or remove it to use the built-in template", line.map_or(String::new(), |line| format!(", line {line}")))]
pub struct TemplateFault {
    /// Path of the override, or name of the built-in template.
    pub file: String,
    /// From 1, where known.
    pub line: Option<usize>,
    /// What, and what to write instead where that can be said.
    pub fault: String,
}

/// The templates in use.
pub struct ReportTemplates {
    html: Handlebars<'static>,
    text: Handlebars<'static>,
    override_dir: Option<PathBuf>,
}

impl fmt::Debug for ReportTemplates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReportTemplates").field("override_dir", &self.override_dir).finish_non_exhaustive()
    }
}

impl ReportTemplates {
    /// Reads the administrator's templates, if there are any, and tries all on samples. Blocks on the file system.
    ///
    /// # Errors
    /// Names file, line and fault of the first template that cannot be read, parsed or rendered.
    pub fn new(override_dir: Option<&Path>) -> Result<Self, TemplateFault> {
        if let Some(directory) = override_dir.filter(|directory| !directory.is_dir()) {
            return Err(TemplateFault {
                file: directory.display().to_string(),
                line: None,
                fault: "this directory does not exist".to_owned(),
            });
        }
        let override_dir = override_dir.map(Path::to_path_buf);
        let mut templates = Self { html: helpers::html_registry(), text: helpers::text_registry(), override_dir };
        for report in Report::ALL {
            let (name, built_in) = report.template();
            let source = templates.overriding(name)?.unwrap_or_else(|| built_in.to_owned());
            let registered = templates.html.register_template_string(name, source);
            registered.map_err(|error| parse_fault(templates.file(name), &error))?;
            if let Some(source) = templates.overriding(report.text_template())? {
                let registered = templates.text.register_template_string(report.text_template(), source);
                registered.map_err(|error| parse_fault(templates.file(report.text_template()), &error))?;
            }
        }
        let (name, built_in) = incident::TEMPLATE;
        let source = templates.overriding(name)?.unwrap_or_else(|| built_in.to_owned());
        let registered = templates.html.register_template_string(name, source);
        registered.map_err(|error| parse_fault(templates.file(name), &error))?;
        templates.try_samples()?;
        Ok(templates)
    }

    /// The report of a session as a ticket system takes it: whole, or shortened with the whole as a file.
    ///
    /// # Errors
    /// The template cannot be rendered, or not even its beginning fits.
    pub fn fit_session_report(
        &self,
        session: &SessionReport,
        options: &RenderOptions,
        form: NoteForm,
    ) -> Result<FittedNote, TemplateFault> {
        let entries = SessionContext::entries(session, options);
        let context = |shortening: &Shortening| SessionContext::new(session, options, shortening);
        let part = if options.audience == Audience::AgentsBesideRequester { "-internal" } else { "" };
        self.fit(Report::Session, &format!("{}{part}", file_stem(&session.lsid)), entries, context, options, form)
    }

    /// Whether a note for the requester leaves anything out that agents would read.
    pub fn leaves_something_out(session: &SessionReport, options: &RenderOptions) -> bool {
        let options = RenderOptions { audience: Audience::AgentsBesideRequester, ..options.clone() };
        let rest = SessionContext::new(session, &options, &Shortening::default());
        let machine = !rest.customers.is_empty() || !rest.system_information.is_empty();
        let talk = rest.transcript.total > 0 || rest.terminal.is_some() || !rest.notes.is_empty();
        talk || machine || !rest.links.is_empty() || !rest.remarks.is_empty()
    }

    /// A customer's exit survey as a ticket system takes it.
    ///
    /// # Errors
    /// The template cannot be rendered, or not even its beginning fits.
    pub fn fit_customer_survey(&self, survey: &ExitSurvey, options: &RenderOptions, form: NoteForm) -> Result<FittedNote, TemplateFault> {
        let stem = format!("{}-customer-survey", file_stem(&survey.lsid));
        self.fit(Report::CustomerSurvey, &stem, 0, |shortening| SurveyContext::new(survey, options, shortening), options, form)
    }

    /// A representative's exit survey as a ticket system takes it.
    ///
    /// # Errors
    /// The template cannot be rendered, or not even its beginning fits.
    pub fn fit_representative_survey(
        &self,
        survey: &ExitSurvey,
        options: &RenderOptions,
        form: NoteForm,
    ) -> Result<FittedNote, TemplateFault> {
        let stem = format!("{}-representative-survey", file_stem(&survey.lsid));
        self.fit(Report::RepresentativeSurvey, &stem, 0, |shortening| SurveyContext::new(survey, options, shortening), options, form)
    }

    fn fit<C: Serialize>(
        &self,
        report: Report,
        file_stem: &str,
        entries: usize,
        context: impl Fn(&Shortening) -> C,
        options: &RenderOptions,
        form: NoteForm,
    ) -> Result<FittedNote, TemplateFault> {
        let is_text = matches!(form.format, Format::Text(_));
        let render = |shortening: &Shortening| self.render(report, is_text, &context(shortening));
        let last_line = options.last_line.as_str();
        let whole = render(&Shortening::default())?;
        let body = whole.write(form.format, last_line);
        if whole.is_whole() && form.limit.takes(&body) {
            return Ok(FittedNote { body, attachment: None });
        }
        let attachment = attachment(file_stem, &whole, form.format);
        let shortened = |shortening: &Shortening| {
            let rendered = render(shortening)?;
            Ok(rendered.is_whole().then(|| rendered.write(form.format, last_line)))
        };
        let body = match fit(form.limit, entries, &attachment.file_name, shortened)? {
            Some(body) => body,
            None => {
                render(&Shortening::essentials(&attachment.file_name))?.write_beginning(form, last_line).ok_or_else(|| TemplateFault {
                    file: self.file(self.name_in_use(report, is_text)),
                    line: None,
                    fault: format!("not even its beginning fits into {}", form.limit.text()),
                })?
            }
        };
        Ok(FittedNote { body, attachment: Some(attachment) })
    }

    /// `is_text`: for plain text, which an administrator may have a template of their own for.
    fn render(&self, report: Report, is_text: bool, context: &impl Serialize) -> Result<Rendered, TemplateFault> {
        let name = self.name_in_use(report, is_text);
        let registry = if name == report.text_template() { &self.text } else { &self.html };
        let rendered = registry.render(name, context).map_err(|error| render_fault(self.file(name), &error))?;
        if name == report.text_template() {
            Ok(Rendered::Text(rendered.trim().to_owned()))
        } else {
            let parsed = parse::read(&rendered);
            Ok(Rendered::Html { html: rendered, parsed })
        }
    }

    fn name_in_use(&self, report: Report, is_text: bool) -> &'static str {
        let text = report.text_template();
        if is_text && self.text.has_template(text) { text } else { report.template().0 }
    }

    /// The administrator's file of this name, if there is one.
    fn path(&self, name: &str) -> Option<PathBuf> {
        self.override_dir.as_ref().map(|directory| directory.join(name)).filter(|path| path.is_file())
    }

    /// What a person calls the template in use.
    fn file(&self, name: &str) -> String {
        self.path(name).map_or_else(|| format!("{name} (built in)"), |path| path.display().to_string())
    }

    fn overriding(&self, name: &str) -> Result<Option<String>, TemplateFault> {
        let Some(path) = self.path(name) else { return Ok(None) };
        let fault = |fault: String| TemplateFault { file: path.display().to_string(), line: None, fault };
        let unreadable = |error: std::io::Error| fault(format!("cannot be read: {error}"));
        if std::fs::metadata(&path).map_err(unreadable)?.len() > MAX_TEMPLATE_BYTES {
            return Err(fault(format!("is longer than {MAX_TEMPLATE_BYTES} bytes")));
        }
        std::fs::read_to_string(&path).map(Some).map_err(unreadable)
    }

    fn try_samples(&self) -> Result<(), TemplateFault> {
        for is_text in [false, true] {
            for context in SessionContext::samples() {
                self.render(Report::Session, is_text, &context)?;
            }
            for context in SurveyContext::samples() {
                self.render(Report::CustomerSurvey, is_text, &context)?;
                self.render(Report::RepresentativeSurvey, is_text, &context)?;
            }
        }
        for context in IncidentContext::samples() {
            self.render_incident(&context)?;
        }
        Ok(())
    }
}

/// The whole report as a file. Nobody expands placeholders in a file, so its text is unchanged.
fn attachment(stem: &str, whole: &Rendered, format: Format) -> Attachment {
    let html = match whole {
        Rendered::Html { html, parsed } if !(matches!(format, Format::Text(_)) && parsed.is_whole) => html.trim(),
        _ => {
            let text = whole.write(Format::Text(Guards::NONE), "");
            return Attachment { file_name: format!("{stem}.txt"), content_type: "text/plain; charset=utf-8", bytes: text.into_bytes() };
        }
    };
    // The policy keeps an administrator's template from loading anything when the file is opened.
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{stem}</title>\n</head>\n<body>\n{html}\n</body>\n</html>\n"
    );
    Attachment { file_name: format!("{stem}.html"), content_type: "text/html; charset=utf-8", bytes: page.into_bytes() }
}

fn parse_fault(file: String, error: &TemplateError) -> TemplateFault {
    TemplateFault { file, line: error.pos().map(|(line, _)| line), fault: error.reason().to_string() }
}

fn render_fault(file: String, error: &RenderError) -> TemplateFault {
    let fault = match error.reason() {
        RenderErrorReason::MissingVariable(Some(name)) => {
            format!("there is no variable {name:?} here")
        }
        RenderErrorReason::MissingVariable(None) => "a variable used here does not exist".to_owned(),
        RenderErrorReason::HelperNotFound(name) => {
            format!("there is no variable or helper {name:?}")
        }
        reason => reason.to_string(),
    };
    TemplateFault { file, line: error.line_no, fault }
}

#[cfg(test)]
mod tests;
