//! From the appliance's report to the note on the ticket: Handlebars templates, size limits, harmless placeholders.
//!
//! Templates are functions from a typed context (context.rs). The built-in ones can be replaced by an administrator's
//! files of the same name; each template is tried on every sample before it is used, so that a broken one is told at
//! start or save, not when a session ends. Must not know a ticket system beyond its [`NoteLimit`], must not read a
//! clock, and must not do I/O but for reading the override files in [`ReportTemplates::new`].

mod context;
mod helpers;
mod limits;
mod neutralise;
mod samples;

pub use context::{
    CustomerContext, Entry, FileContext, Link, Moment, NameValue, NoteContext, QuestionContext, RepresentativeContext, SessionContext,
    SurveyContext, SystemSection, Transcript,
};
pub use limits::FittedNote;
pub use neutralise::neutralise;

use deskbridge_core::note::{Attachment, Body, NoteLimit};
use deskbridge_core::session_report::{ExitSurvey, SessionReport};
use deskbridge_core::settings::ReportsSection;
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
    const fn template(self, body: Body) -> (&'static str, &'static str) {
        match (self, body) {
            (Self::Session, Body::Html) => ("session_report.hbs", include_str!("../templates/session_report.hbs")),
            (Self::Session, Body::Text) => ("session_report.txt.hbs", include_str!("../templates/session_report.txt.hbs")),
            (Self::CustomerSurvey, Body::Html) => ("customer_survey.hbs", include_str!("../templates/customer_survey.hbs")),
            (Self::CustomerSurvey, Body::Text) => ("customer_survey.txt.hbs", include_str!("../templates/customer_survey.txt.hbs")),
            (Self::RepresentativeSurvey, Body::Html) => {
                ("representative_survey.hbs", include_str!("../templates/representative_survey.hbs"))
            }
            (Self::RepresentativeSurvey, Body::Text) => {
                ("representative_survey.txt.hbs", include_str!("../templates/representative_survey.txt.hbs"))
            }
        }
    }
}

/// How a report is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderOptions {
    /// Time zone of what people read, minutes east of UTC.
    pub utc_offset_minutes: i32,
    /// Also tell what the appliance itself did, and routine such as window changes.
    pub include_system_chatter: bool,
    /// Words in the names of the system information categories told; empty: all.
    pub system_categories: Vec<String>,
    /// The requester will read it: no links, and nothing representatives said to each other alone.
    pub is_public: bool,
    /// Links to recordings and chat, which open without a login until they expire.
    pub include_signed_links: bool,
    /// The appliance's host, for the link to its report page.
    pub report_page_host: Option<String>,
    /// Part `{{`, see [`neutralise`].
    pub neutralise_placeholders: bool,
}

impl Default for RenderOptions {
    fn default() -> Self {
        let usual = ReportsSection::default();
        Self {
            utc_offset_minutes: usual.utc_offset_minutes,
            include_system_chatter: usual.include_system_chatter,
            system_categories: usual.system_categories,
            is_public: false,
            include_signed_links: usual.include_signed_links,
            report_page_host: None,
            neutralise_placeholders: true,
        }
    }
}

/// A report in both forms, at full length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedNote {
    /// HTML of the few elements help desks accept: h3, h4, p, table, ul, strong, em, br, a.
    pub html: String,
    /// Plain text.
    pub text: String,
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
            for body in [Body::Html, Body::Text] {
                templates.load(report, body)?;
            }
        }
        templates.try_samples()?;
        Ok(templates)
    }

    /// The report of a session, at full length.
    pub fn session_report(&self, session: &SessionReport, options: &RenderOptions) -> Result<RenderedNote, TemplateFault> {
        self.note(Report::Session, &SessionContext::new(session, options, &Shortening::default()), options)
    }

    /// A customer's exit survey, at full length.
    pub fn customer_survey(&self, survey: &ExitSurvey, options: &RenderOptions) -> Result<RenderedNote, TemplateFault> {
        self.note(Report::CustomerSurvey, &SurveyContext::new(survey, options, &Shortening::default()), options)
    }

    /// A representative's exit survey, at full length.
    pub fn representative_survey(&self, survey: &ExitSurvey, options: &RenderOptions) -> Result<RenderedNote, TemplateFault> {
        self.note(Report::RepresentativeSurvey, &SurveyContext::new(survey, options, &Shortening::default()), options)
    }

    /// The report of a session as a ticket system takes it: whole, or shortened with the whole as a file.
    pub fn fit_session_report(
        &self,
        session: &SessionReport,
        options: &RenderOptions,
        limit: NoteLimit,
    ) -> Result<FittedNote, TemplateFault> {
        let entries = SessionContext::entries(session, options);
        let context = |shortening: &Shortening| SessionContext::new(session, options, shortening);
        self.fit(Report::Session, &file_stem(&session.lsid), entries, context, options, limit)
    }

    /// A customer's exit survey as a ticket system takes it.
    pub fn fit_customer_survey(&self, survey: &ExitSurvey, options: &RenderOptions, limit: NoteLimit) -> Result<FittedNote, TemplateFault> {
        let stem = format!("{}-customer-survey", file_stem(&survey.lsid));
        self.fit(Report::CustomerSurvey, &stem, 0, |shortening| SurveyContext::new(survey, options, shortening), options, limit)
    }

    /// A representative's exit survey as a ticket system takes it.
    pub fn fit_representative_survey(
        &self,
        survey: &ExitSurvey,
        options: &RenderOptions,
        limit: NoteLimit,
    ) -> Result<FittedNote, TemplateFault> {
        let stem = format!("{}-representative-survey", file_stem(&survey.lsid));
        self.fit(Report::RepresentativeSurvey, &stem, 0, |shortening| SurveyContext::new(survey, options, shortening), options, limit)
    }

    fn note(&self, report: Report, context: &impl Serialize, options: &RenderOptions) -> Result<RenderedNote, TemplateFault> {
        let render = |body| self.render(report, body, context).map(|text| finish(text, options));
        Ok(RenderedNote { html: render(Body::Html)?, text: render(Body::Text)? })
    }

    fn fit<C: Serialize>(
        &self,
        report: Report,
        file_stem: &str,
        entries: usize,
        context: impl Fn(&Shortening) -> C,
        options: &RenderOptions,
        limit: NoteLimit,
    ) -> Result<FittedNote, TemplateFault> {
        let whole = self.render(report, limit.body, &context(&Shortening::default()))?;
        let body = finish(whole.clone(), options);
        if body.len() <= limit.bytes {
            return Ok(FittedNote { body, attachment: None });
        }
        let attachment = attachment(file_stem, limit.body, whole);
        let render = |shortening: &Shortening| Ok(finish(self.render(report, limit.body, &context(shortening))?, options));
        let body = fit(limit.bytes, entries, &attachment.file_name, render)?.ok_or_else(|| TemplateFault {
            file: self.file(report, limit.body),
            line: None,
            fault: format!("even a session without any entries makes a note of more than {} bytes", limit.bytes),
        })?;
        Ok(FittedNote { body, attachment: Some(attachment) })
    }

    fn registry(&self, body: Body) -> &Handlebars<'static> {
        match body {
            Body::Html => &self.html,
            Body::Text => &self.text,
        }
    }

    fn render(&self, report: Report, body: Body, context: &impl Serialize) -> Result<String, TemplateFault> {
        let rendered = self.registry(body).render(report.template(body).0, context);
        rendered.map(|text| text.trim().to_owned()).map_err(|error| render_fault(self.file(report, body), &error))
    }

    /// What a person calls the template in use.
    fn file(&self, report: Report, body: Body) -> String {
        let name = report.template(body).0;
        let overriding = self.override_dir.as_ref().map(|directory| directory.join(name)).filter(|path| path.is_file());
        overriding.map_or_else(|| format!("{name} (built in)"), |path| path.display().to_string())
    }

    fn load(&mut self, report: Report, body: Body) -> Result<(), TemplateFault> {
        let (name, built_in) = report.template(body);
        let file = self.file(report, body);
        let fault = |fault: String| TemplateFault { file: file.clone(), line: None, fault };
        let path = self.override_dir.as_ref().map(|directory| directory.join(name)).filter(|path| path.is_file());
        let source = match path {
            None => built_in.to_owned(),
            Some(path) => {
                let unreadable = |error: std::io::Error| fault(format!("cannot be read: {error}"));
                if std::fs::metadata(&path).map_err(unreadable)?.len() > MAX_TEMPLATE_BYTES {
                    return Err(fault(format!("is longer than {MAX_TEMPLATE_BYTES} bytes")));
                }
                std::fs::read_to_string(&path).map_err(unreadable)?
            }
        };
        let registry = match body {
            Body::Html => &mut self.html,
            Body::Text => &mut self.text,
        };
        registry.register_template_string(name, source).map_err(|error| parse_fault(file, &error))
    }

    fn try_samples(&self) -> Result<(), TemplateFault> {
        for body in [Body::Html, Body::Text] {
            for context in SessionContext::samples() {
                self.render(Report::Session, body, &context)?;
            }
            for context in SurveyContext::samples() {
                self.render(Report::CustomerSurvey, body, &context)?;
                self.render(Report::RepresentativeSurvey, body, &context)?;
            }
        }
        Ok(())
    }
}

fn finish(body: String, options: &RenderOptions) -> String {
    if options.neutralise_placeholders { neutralise(&body) } else { body }
}

/// The whole report as a file. Nobody expands placeholders in a file, so its text is unchanged.
fn attachment(stem: &str, body: Body, whole: String) -> Attachment {
    match body {
        Body::Text => Attachment { file_name: format!("{stem}.txt"), content_type: "text/plain; charset=utf-8", bytes: whole.into_bytes() },
        Body::Html => {
            // The policy keeps an administrator's template from loading anything when the file is opened.
            let page = format!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                 <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
                 <title>{stem}</title>\n</head>\n<body>\n{whole}\n</body>\n</html>\n"
            );
            Attachment { file_name: format!("{stem}.html"), content_type: "text/html; charset=utf-8", bytes: page.into_bytes() }
        }
    }
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
