//! Pages: functions from a typed context. Handlebars in strict mode, so a name that is missing is an error and not a gap.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use deskbridge_shared::api::Issue;
use handlebars::{Handlebars, RenderError, RenderErrorReason};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::assets::Assets;
use super::texts::{Translations, direction};

/// Compiled page templates.
pub struct Pages {
    templates: Handlebars<'static>,
    translations: Arc<Translations>,
    styles: Vec<String>,
    customize: CustomizeFiles,
    sidebars: BTreeMap<(String, ColorScheme), Sidebar>,
}

/// What the page "Customize Help Center" loads, by its hashed names.
#[derive(Serialize)]
struct CustomizeFiles {
    script: String,
    icon: String,
    /// Where in Zendesk a field's permissions are set.
    field: String,
    /// Where in a theme's code the line goes.
    theme: String,
    /// What the customer then sees.
    customer: String,
}

/// How the account's workspace looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColorScheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// The sidebar page of one language and colour scheme, rendered at the start around the place of a session's data.
struct Sidebar {
    before: String,
    after: String,
}

/// What the sidebar's template is rendered with.
#[derive(Clone, Debug, Serialize)]
struct SidebarFrame<'a> {
    locale: &'a str,
    color_scheme: ColorScheme,
    /// For screen readers.
    title: &'static str,
    /// Where scripts are switched off.
    noscript: &'a str,
    /// Hashed name; so are the next three.
    style_url: String,
    script_url: String,
    wasm_url: String,
    texts_url: String,
    /// JSON for the panel, made safe for a script element by [`script_json`].
    data: String,
}

/// What differs from one opened sidebar to the next.
#[derive(Clone, Debug, Serialize)]
pub struct SidebarSession<'a> {
    /// The session's id, for the page's memory.
    pub bearer: &'a str,
    /// Whose session it is, for [`deskbridge_shared::api::SESSION_OWNER_HEADER`].
    pub owner: &'a str,
    /// The connection's name.
    pub connection: &'a str,
    /// The account's origin: who may talk to the page.
    pub account_origin: &'a str,
    /// Zendesk's name for this instance of the app.
    pub app_guid: &'a str,
}

/// What a page that says one thing says. Its texts are called after it, with `_title` and `_hint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A chat link after its time.
    ChatExpired,
    /// No chat link of ours.
    ChatInvalid,
    /// A chat link while a system behind it is away.
    ChatLater,
    /// A chat link of a ticket that is closed.
    ChatClosed,
    /// Too many chats by one link, or on one ticket.
    ChatTooMany,
    /// A chat from the Help Center after its time.
    ChatOver,
    /// No link of ours to the page "Customize Help Center".
    CustomizeInvalid,
    /// Such a link after its time.
    CustomizeExpired,
    /// Such a link of somebody who is no administrator any more.
    CustomizeNotAdministrator,
    /// That page while the help desk is away.
    CustomizeLater,
    /// No such page.
    NotFound,
    /// A recording's address without a link of the panel's.
    RecordingFromTicket,
    /// A link to a recording after its time.
    RecordingExpired,
    /// No link of ours to that recording.
    RecordingInvalid,
    /// A recording that is not there any more.
    RecordingGone,
    /// A recording while the system that has it is away.
    RecordingLater,
    /// The sidebar outside a ticket, or with a token that opens nothing.
    SidebarOutside,
    /// The sidebar while something behind it is away.
    SidebarUnavailable,
}

impl Message {
    /// What its texts are called.
    const fn name(self) -> &'static str {
        match self {
            Self::ChatExpired => "chat_expired",
            Self::ChatInvalid => "chat_invalid",
            Self::ChatLater => "chat_later",
            Self::ChatClosed => "chat_closed",
            Self::ChatTooMany => "chat_too_many",
            Self::ChatOver => "chat_over",
            Self::CustomizeInvalid => "customize_invalid",
            Self::CustomizeExpired => "customize_expired",
            Self::CustomizeNotAdministrator => "customize_not_administrator",
            Self::CustomizeLater => "customize_later",
            Self::NotFound => "not_found",
            Self::RecordingFromTicket => "recording_from_ticket",
            Self::RecordingExpired => "recording_expired",
            Self::RecordingInvalid => "recording_invalid",
            Self::RecordingGone => "recording_gone",
            Self::RecordingLater => "recording_later",
            Self::SidebarOutside => "sidebar_outside",
            Self::SidebarUnavailable => "sidebar_unavailable",
        }
    }
}

/// A page of our own, in one language.
#[derive(Serialize)]
struct Page<'a, T> {
    locale: &'a str,
    title: &'a str,
    styles: &'a [String],
    #[serde(flatten)]
    content: T,
}

/// What may be loaded by a page of our own: its style.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

impl Pages {
    /// Compiles the templates, and renders what does not change.
    pub fn new(assets: &Assets, translations: Arc<Translations>) -> anyhow::Result<Self> {
        let mut templates = Handlebars::new();
        templates.set_strict_mode(true);
        templates.register_template_string("sidebar", include_str!("../templates/pages/sidebar.hbs"))?;
        templates.register_template_string("message", include_str!("../templates/pages/message.hbs"))?;
        templates.register_template_string("chat", include_str!("../templates/pages/chat.hbs"))?;
        templates.register_template_string("pair", include_str!("../templates/pages/pair.hbs"))?;
        templates.register_template_string("customize", include_str!("../templates/pages/customize.hbs"))?;
        templates.register_template_string("code", include_str!("../templates/pages/code.hbs"))?;
        let mut sidebars = BTreeMap::new();
        for (locale, _) in translations.all() {
            for color_scheme in [ColorScheme::Light, ColorScheme::Dark] {
                let common = script_json(&json!({"locale": locale, "color_scheme": color_scheme}));
                let frame = SidebarFrame {
                    locale,
                    color_scheme,
                    title: "Deskbridge",
                    noscript: translations.page_text(locale, "sidebar_noscript").unwrap_or_default(),
                    style_url: assets.url("panel.css"),
                    script_url: assets.url("panel.js"),
                    wasm_url: assets.url("panel_bg.wasm"),
                    texts_url: assets.texts_url(locale),
                    data: format!("{},{SESSION_PLACE}", common.strip_suffix('}').unwrap_or_default()),
                };
                let page = templates.render("sidebar", &frame)?;
                let (before, after) = page.split_once(SESSION_PLACE).context("the sidebar's template does not hold the panel's data")?;
                sidebars.insert((locale.to_owned(), color_scheme), Sidebar { before: before.to_owned(), after: after.to_owned() });
            }
        }
        // The panel's is not there where the panel was not built.
        let styles = ["panel.css", "pages.css"].map(|name| assets.url(name)).into_iter().filter(|url| !url.is_empty()).collect();
        let customize = CustomizeFiles {
            script: assets.url("pages.js"),
            icon: assets.url("logo.svg"),
            field: assets.url("customize-field.svg"),
            theme: assets.url("customize-theme.svg"),
            customer: assets.url("customize-customer.svg"),
        };
        Ok(Self { templates, translations, styles, customize, sidebars })
    }

    /// The sidebar page in a known language.
    pub fn sidebar(&self, locale: &str, color_scheme: ColorScheme, session: &SidebarSession<'_>) -> Option<String> {
        let page = self.sidebars.get(&(locale.to_owned(), color_scheme))?;
        let session = script_json(session);
        // One object with what all sidebars have.
        Some([&page.before, session.strip_prefix('{').unwrap_or_default(), &page.after].concat())
    }

    /// A page that says one thing, in a known language.
    pub fn message(&self, locale: &str, message: Message) -> Result<String, RenderError> {
        self.message_with_link(locale, message, None)
    }

    /// The same with a link: its address, and what its text is called.
    pub fn message_with_link(&self, locale: &str, message: Message, link: Option<(&str, &str)>) -> Result<String, RenderError> {
        let hint = self.text(locale, &[message.name(), "_hint"].concat())?;
        let link =
            link.map(|(address, name)| Ok::<_, RenderError>(json!({"address": address, "text": self.text(locale, name)?}))).transpose()?;
        self.render("message", locale, &[message.name(), "_title"].concat(), json!({"hint": hint, "link": link}))
    }

    /// What to do with a pairing link, in a known language.
    pub fn pair(&self, locale: &str) -> Result<String, RenderError> {
        let mut steps = Vec::new();
        for name in ["pair_step_1", "pair_step_2", "pair_step_3"] {
            steps.push(self.text(locale, name)?);
        }
        self.render("pair", locale, "pair_title", json!({"steps": steps, "note": self.text(locale, "pair_note")?}))
    }

    /// The page of a chat link, in a known language: a button for each issue, or one if there is nothing to choose.
    pub fn invite(&self, locale: &str, issues: &[Issue]) -> Result<String, RenderError> {
        let (hint, choices) = match issues {
            [only] => ("chat_ready", json!([{"code": only.code_name, "title": self.text(locale, "chat_start")?}])),
            several => ("chat_question", several.iter().map(|issue| json!({"code": issue.code_name, "title": issue.title})).collect()),
        };
        let content = json!({"hint": self.text(locale, hint)?, "choices": choices, "again": false});
        self.render("chat", locale, "chat_title", content)
    }

    /// A chat that was opened before, in a known language. `issue`: the one that the customer had chosen.
    pub fn opened_before(&self, locale: &str, issue: &str) -> Result<String, RenderError> {
        let choices = json!([{"code": issue, "title": self.text(locale, "chat_again")?}]);
        self.render(
            "chat",
            locale,
            "chat_before_title",
            json!({"hint": self.text(locale, "chat_before_hint")?, "choices": choices, "again": true}),
        )
    }

    /// The page "Customize Help Center", in a known language. `content`: what its template names, less the texts and the files.
    pub fn customize(&self, locale: &str, content: &impl Serialize, texts: &Map<String, Value>) -> Result<String, RenderError> {
        let content = json!({"content": content, "t": texts, "files": self.customize, "dir": direction(locale)});
        self.render("customize", locale, "customize_title", content)
    }

    fn render(&self, template: &str, locale: &str, title: &str, content: Value) -> Result<String, RenderError> {
        let page = Page { locale, title: self.text(locale, title)?, styles: &self.styles, content };
        self.templates.render(template, &page)
    }

    /// All texts in a known language.
    pub(crate) fn texts(&self, locale: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.translations.page_texts(locale)
    }

    /// A text in a known language.
    pub(crate) fn text(&self, locale: &str, name: &str) -> Result<&str, RenderError> {
        let missing = || RenderErrorReason::Other(format!("there is no text {name} in {locale}")).into();
        self.translations.page_text(locale, name).ok_or_else(missing)
    }
}

/// What the page "Customize Help Center" may load: our own files. Its form leads to us.
const CUSTOMIZE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; \
                                base-uri 'none'; form-action 'self'";

/// As [`respond`], for the page "Customize Help Center".
pub fn respond_customize(page: Result<String, RenderError>) -> Response {
    let mut response = respond(StatusCode::OK, page);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CUSTOMIZE_POLICY));
    response
}

/// As [`respond`], for a page whose form leads over us to `destination`, an origin.
pub fn respond_with_form(status: StatusCode, page: Result<String, RenderError>, destination: &str) -> Response {
    let mut response = respond(status, page);
    let policy = PAGE_POLICY.replace("form-action 'none'", &format!("form-action 'self' {destination}"));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// A page of our own as an answer, in the language that the request's `Accept-Language` chose.
pub fn respond(status: StatusCode, page: Result<String, RenderError>) -> Response {
    match page {
        Ok(page) => {
            let headers =
                [(header::CACHE_CONTROL, "no-store"), (header::VARY, "Accept-Language"), (header::CONTENT_SECURITY_POLICY, PAGE_POLICY)];
            (status, headers, Html(page)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Where a session's data goes into the sidebar page. JSON writes this character as an escape, so it stands nowhere else.
const SESSION_PLACE: char = '\u{0}';

/// JSON that cannot end the script element it stands in.
fn script_json(value: &impl Serialize) -> String {
    serde_json::to_string(value)
        .unwrap_or_default()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_renders_and_escapes() {
        let translations = Arc::new(Translations::load().unwrap());
        let assets = Assets::load(&translations);
        let pages = Pages::new(&assets, translations.clone()).unwrap();
        let session =
            SidebarSession { bearer: "b", owner: "o", connection: "</script><b>&", account_origin: "https://a.example", app_guid: "g" };
        let page = pages.sidebar("de", ColorScheme::Dark, &session).unwrap();
        assert!(page.contains("lang=\"de\" data-scheme=\"dark\"") && !page.contains("<b>") && !page.contains(SESSION_PLACE), "{page}");
        let (_, data) = page.split_once("id=\"deskbridge\">").unwrap();
        let (data, rest) = data.split_once("</script>").unwrap();
        assert!(rest.contains("</html>"));
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!((&data["connection"], &data["color_scheme"]), (&json!("</script><b>&"), &json!("dark")));
        let (_, texts) = page.split_once("id=\"deskbridge-texts\"").unwrap();
        let (_, texts) = texts.split_once("href=\"").unwrap();
        let (texts, _) = texts.split_once('"').unwrap();
        assert!(texts.contains("/texts-de-"), "{texts}");
        assert_eq!(texts, assets.texts_url("de"));
        assert!(pages.sidebar("xx", ColorScheme::Light, &session).is_none());
        let issues = vec![Issue { code_name: "vpn".into(), title: "V & <i>".into() }];
        for (locale, word) in [("de", "koppeln"), ("en", "Pair")] {
            let page = pages.pair(locale).unwrap();
            assert!(page.contains(&format!("<html lang=\"{locale}\"")) && page.contains(word), "{page}");
            let several = [issues.clone(), vec![Issue { code_name: "mail".into(), title: "Mail".into() }]].concat();
            let page = pages.invite(locale, &several).unwrap();
            assert!(page.contains("value=\"vpn\">V &amp; &lt;i&gt;") && page.contains(&assets.url("pages.css")), "{page}");
            let page = pages.invite(locale, &issues).unwrap();
            assert!(page.contains("value=\"vpn\"") && !page.contains("V &amp;") && !page.contains("again"), "{page}");
            let page = pages.opened_before(locale, "vpn").unwrap();
            assert!(page.contains("value=\"vpn\"") && page.contains("name=\"again\""), "{page}");
        }
        assert!(pages.pair("xx").is_err());
    }

    #[test]
    fn a_message_can_lead_on() {
        let translations = Arc::new(Translations::load().unwrap());
        let pages = Pages::new(&Assets::load(&translations), translations).unwrap();
        let address = "https://example.zendesk.com/agent/tickets/1?a=\"<b>&";
        let page = |link| pages.message_with_link("en", Message::RecordingFromTicket, link).unwrap();
        let with_link = page(Some((address, "recording_ticket")));
        assert!(with_link.contains("/tickets/1?a&#x3D;&quot;&lt;b&gt;&amp;\" rel=\"noreferrer\">Open the ticket</a>"), "{with_link}");
        assert!(!page(None).contains("<a "));
    }

    #[test]
    fn every_message_is_there_in_every_language_and_no_text_is_left_over() {
        let translations = Arc::new(Translations::load().unwrap());
        let pages = Pages::new(&Assets::load(&translations), translations.clone()).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for (locale, _) in translations.all() {
            for message in [
                Message::ChatExpired,
                Message::ChatInvalid,
                Message::ChatLater,
                Message::ChatClosed,
                Message::ChatTooMany,
                Message::ChatOver,
                Message::CustomizeInvalid,
                Message::CustomizeExpired,
                Message::CustomizeNotAdministrator,
                Message::CustomizeLater,
                Message::NotFound,
                Message::RecordingFromTicket,
                Message::RecordingExpired,
                Message::RecordingInvalid,
                Message::RecordingGone,
                Message::RecordingLater,
                Message::SidebarOutside,
                Message::SidebarUnavailable,
            ] {
                let page = pages.message(locale, message).unwrap();
                assert!(page.contains(&format!("<html lang=\"{locale}\"")), "{page}");
                assert!(seen.insert(page.replace(&format!("lang=\"{locale}\""), "")), "{message:?} in {locale} reads like another");
            }
            let english: Vec<_> = translations.page_texts("en").map(|(name, _)| name).collect();
            let own: Vec<_> = translations.page_texts(locale).map(|(name, _)| name).collect();
            assert_eq!(own, english, "{locale}");
            assert!(translations.page_texts(locale).all(|(_, text)| text.as_str().is_some_and(|text| !text.trim().is_empty())), "{locale}");
        }
    }
}
