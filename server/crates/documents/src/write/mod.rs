//! The writers, one file for each format, each with its own escaping.
//!
//! A writer takes any [`Document`] and cannot fail. Must not leave anything out: what is too long is shortened before
//! (limits.rs).

pub(crate) mod adf;
mod html;
mod jira_wiki;
mod markdown;
mod text;

use crate::document::Document;
use crate::neutralise::neutralise;
use crate::osticket;

/// How a ticket system wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// HTML of the elements help desks accept, without attributes but `href`: Zendesk, osTicket, Request Tracker.
    Html(Guards),
    /// Plain text for people: headings underlined, lists with `*`, tables as `name: value`.
    Text(Guards),
    /// Markdown.
    Markdown(Flavour),
    /// Jira's wiki markup: Data Center, and Cloud's API version 2.
    JiraWiki,
    /// Atlassian Document Format as JSON text: Jira Cloud's API version 3. As a value: [`crate::adf_value`].
    Adf,
}

/// Whose Markdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// GitHub and GitHub Enterprise Server.
    GitHub,
    /// GitLab.
    GitLab,
}

/// What HTML and plain text are guarded against beyond being text: habits of the ticket system that shows them.
///
/// Each puts U+2060 into text where it applies; osTicket's also writes in words what is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guards {
    /// `{{…}}` is expanded by Zendesk in notes of agents (zendesk.md d.3).
    pub placeholders: bool,
    /// Bare addresses become links (Zendesk, osTicket, Request Tracker) though the document has none there.
    pub addresses: bool,
    /// osTicket decodes entities before it cleans, twice, and loses emoji: see [`crate::osticket`].
    pub osticket: bool,
}

impl Guards {
    /// Text as it is: for files, and where the system does nothing to it.
    pub const NONE: Self = Self { placeholders: false, addresses: false, osticket: false };
    /// What osTicket needs.
    pub const OSTICKET: Self = Self { osticket: true, ..Self::NONE };
    /// Text does nothing, and is the same but for joiners.
    pub const ALL: Self = Self { placeholders: true, addresses: true, osticket: false };
}

/// A line of plain text in which the site finds nothing to link or to replace. Titles are no Markdown, but what the sites look for in rendered
/// text they find there, too.
pub fn guarded_title(text: &str, flavour: Flavour) -> String {
    markdown::parted(text, flavour)
}

/// Plain text, such as a title, guarded against what the system of this format does to it.
pub fn guarded(text: String, format: Format) -> String {
    let (Format::Html(guards) | Format::Text(guards)) = format else { return text };
    let text = if guards.osticket { osticket::keep(&text) } else { text };
    if guards.placeholders { neutralise(&text) } else { text }
}

/// Writes all of it.
pub fn write(document: &Document, format: Format) -> String {
    match format {
        Format::Html(guards) => html::write(document, guards),
        Format::Text(guards) => text::write(document, guards),
        Format::Markdown(flavour) => markdown::write(document, flavour),
        Format::JiraWiki => jira_wiki::write(document),
        Format::Adf => adf::to_value(document).to_string(),
    }
}
