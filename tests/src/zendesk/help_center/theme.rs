//! What an administrator may do to the theme, and how its templates are filled in.
//!
//! Templates are Curlybars, not Handlebars: whatever stands in `{{…}}` must be known on that very page, or the theme is not saved, and what
//! it stands for is escaped. `request` is known on the request page alone, not in `document_head.hbs`.

use anyhow::{Context as _, bail};

use super::super::call::{Outcome, Reply};

/// How the request page shows the details of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Details {
    /// The server writes them, as Copenhagen's does.
    #[default]
    Server,
    /// A script makes them so many milliseconds after the page's `load`, as a React bundle would.
    LateByScript(u64),
    /// The server writes them, and so many milliseconds after the page's `load` a script puts new ones in their place: what was put beside
    /// them is gone.
    ReplacedByScript(u64),
    /// The theme shows none.
    Absent,
}

/// The element around the details.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sidebar {
    /// `section`, folded up on a narrow screen: Copenhagen 4.
    #[default]
    Section,
    /// `aside`, always open: many themes made by hand.
    Aside,
}

/// The theme, and what an administrator wrote into it.
#[derive(Clone, Debug)]
pub struct HelpCenterTheme {
    /// HTML at the end of `<head>` on every page: what is added to `document_head.hbs`. Knows `{{help_center.locale}}`.
    pub head_line: Option<String>,
    /// HTML at the end of the request's details, in `request_page.hbs`; below the conversation when the theme's template has no details.
    /// Knows `{{request.id}}` and `{{help_center.locale}}`.
    pub request_page_snippet: Option<String>,
    /// Light letters on a dark ground, with `color-scheme: dark`.
    pub dark: bool,
    /// Text of a `<meta http-equiv="Content-Security-Policy">` that stands first in `<head>`.
    pub meta_csp: Option<String>,
    /// How the details come.
    pub details: Details,
    /// The element around the details.
    pub sidebar: Sidebar,
    /// Every class has another name, as after an update of the theme.
    pub renamed_classes: bool,
    /// `/hc/requests/{id}` leads to `/hc/{locale}/requests/{id}`; else it is the page itself.
    pub redirects_to_locale: bool,
}

impl Default for HelpCenterTheme {
    fn default() -> Self {
        Self {
            head_line: None,
            request_page_snippet: None,
            dark: false,
            meta_csp: None,
            details: Details::Server,
            sidebar: Sidebar::Section,
            renamed_classes: false,
            redirects_to_locale: true,
        }
    }
}

impl HelpCenterTheme {
    /// As the theme editor does before it saves.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let place = |text: &Option<String>| text.clone().unwrap_or_default();
        fill_in(&place(&self.head_line), &[(LOCALE, "")]).context("document_head.hbs")?;
        fill_in(&place(&self.request_page_snippet), &[(LOCALE, ""), (REQUEST, "")]).context("request_page.hbs")?;
        Ok(())
    }

    /// The name of a class in this theme.
    pub(super) fn class(&self, name: &str) -> String {
        if !self.renamed_classes {
            return name.to_owned();
        }
        let parts = name.split(' ').map(|part| format!("c-{}", part.chars().rev().collect::<String>()));
        parts.collect::<Vec<String>>().join(" ")
    }
}

pub(super) const LOCALE: &str = "help_center.locale";
pub(super) const REQUEST: &str = "request.id";

/// Puts values, escaped, in the place of `{{name}}`.
pub(super) fn fill_in(template: &str, values: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("\"{{\" without \"}}\"")?;
        let Some((_, value)) = values.iter().find(|(known, _)| *known == name.trim()) else {
            bail!("\"{}\" does not exist here", name.trim());
        };
        filled.push_str(before);
        filled.push_str(&escape(value));
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// For text and for attributes in double or single quotes.
pub(super) fn escape(text: &str) -> String {
    super::super::html::escape_text(text).replace('"', "&quot;").replace('\'', "&#39;")
}

const ASSETS: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("assets/style.css")),
    ("renamed.css", "text/css; charset=utf-8", include_str!("assets/renamed.css")),
    ("script.js", "text/javascript; charset=utf-8", include_str!("assets/script.js")),
];

/// `GET /hc/theming_assets/{name}`
pub(super) fn asset(name: &str) -> Outcome {
    let (_, media_type, text) = ASSETS.iter().find(|(known, ..)| *known == name).ok_or_else(Reply::no_endpoint)?;
    Ok(Reply::bytes(media_type, *text).with("cache-control", "no-cache"))
}
