//! Pages: functions from a typed context. Handlebars in strict mode, so a name that is missing is an error and not a gap.

use std::collections::BTreeMap;

use anyhow::Context;
use handlebars::Handlebars;
use serde::Serialize;
use serde_json::json;

use super::assets::Assets;
use super::texts::Translations;

/// Compiled page templates.
pub struct Pages {
    templates: Handlebars<'static>,
    sidebars: BTreeMap<(String, ColorScheme), Sidebar>,
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
    /// The connection's name.
    pub connection: &'a str,
    /// The account's origin: who may talk to the page.
    pub account_origin: &'a str,
    /// Zendesk's name for this instance of the app.
    pub app_guid: &'a str,
}

/// A page that says one thing.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// What happened.
    pub title: &'static str,
    /// What to do.
    pub detail: String,
}

/// What to do with a pairing link.
#[derive(Clone, Debug, Serialize)]
struct Pair {
    locale: &'static str,
    title: &'static str,
    steps: [&'static str; 3],
    note: &'static str,
}

/// The first is for everybody else.
const PAIR: [Pair; 2] = [
    Pair {
        locale: "en",
        title: "Pair this browser with Deskbridge",
        steps: [
            "Copy the whole address of this page, with what stands behind #.",
            "Open the options of the Deskbridge extension.",
            "Paste the address under “Pairing” and confirm.",
        ],
        note: "The link works for a short time. If it has expired, ask your administrator for a new one. Do not pass it on.",
    },
    Pair {
        locale: "de",
        title: "Diesen Browser mit Deskbridge koppeln",
        steps: [
            "Kopieren Sie die ganze Adresse dieser Seite, mit dem, was hinter # steht.",
            "Öffnen Sie die Einstellungen der Erweiterung Deskbridge.",
            "Fügen Sie die Adresse unter „Kopplung“ ein und bestätigen Sie.",
        ],
        note: "Der Link gilt nur kurze Zeit. Ist er abgelaufen, bitten Sie Ihren Administrator um einen neuen. Geben Sie ihn nicht weiter.",
    },
];

/// The choice of an issue before a chat.
#[derive(Clone, Debug, Serialize)]
pub struct ChooseIssue {
    /// What can be chosen.
    pub issues: Vec<deskbridge_shared::api::Issue>,
}

impl Pages {
    /// Compiles the templates, and renders what does not change.
    pub fn new(assets: &Assets, translations: &Translations) -> anyhow::Result<Self> {
        let mut templates = Handlebars::new();
        templates.set_strict_mode(true);
        templates.register_template_string("sidebar", include_str!("../templates/pages/sidebar.hbs"))?;
        templates.register_template_string("message", include_str!("../templates/pages/message.hbs"))?;
        templates.register_template_string("choose_issue", include_str!("../templates/pages/choose_issue.hbs"))?;
        templates.register_template_string("pair", include_str!("../templates/pages/pair.hbs"))?;
        let mut sidebars = BTreeMap::new();
        for (locale, _) in translations.all() {
            for color_scheme in [ColorScheme::Light, ColorScheme::Dark] {
                let common = script_json(&json!({"locale": locale, "color_scheme": color_scheme}));
                let frame = SidebarFrame {
                    locale,
                    color_scheme,
                    title: "Deskbridge",
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
        Ok(Self { templates, sidebars })
    }

    /// The sidebar page in a known language.
    pub fn sidebar(&self, locale: &str, color_scheme: ColorScheme, session: &SidebarSession<'_>) -> Option<String> {
        let page = self.sidebars.get(&(locale.to_owned(), color_scheme))?;
        let session = script_json(session);
        // One object with what all sidebars have.
        Some([&page.before, session.strip_prefix('{').unwrap_or_default(), &page.after].concat())
    }

    /// A page that says one thing.
    pub fn message(&self, context: &Message) -> Result<String, handlebars::RenderError> {
        self.templates.render("message", context)
    }

    /// What to do with a pairing link, in that language or in English.
    pub fn pair(&self, locale: &str) -> Result<String, handlebars::RenderError> {
        self.templates.render("pair", PAIR.iter().find(|page| page.locale == locale).unwrap_or(&PAIR[0]))
    }

    /// The choice of an issue.
    pub fn choose_issue(&self, context: &ChooseIssue) -> Result<String, handlebars::RenderError> {
        self.templates.render("choose_issue", context)
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
        let translations = Translations::load().unwrap();
        let assets = Assets::load(&translations);
        let pages = Pages::new(&assets, &translations).unwrap();
        let session = SidebarSession { bearer: "b", connection: "</script><b>&", account_origin: "https://a.example", app_guid: "g" };
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
        let message = pages.message(&Message { title: "No", detail: "<i>".into() }).unwrap();
        assert!(message.contains("&lt;i&gt;"));
        for (locale, lang, word) in [("de", "de", "koppeln"), ("en", "en", "Pair"), ("xx", "en", "Pair")] {
            let page = pages.pair(locale).unwrap();
            assert!(page.contains(&format!("lang=\"{lang}\"")) && page.contains(word), "{page}");
        }
        let issues = vec![deskbridge_shared::api::Issue { code_name: "vpn".into(), title: "V & N".into() }];
        assert!(pages.choose_issue(&ChooseIssue { issues }).unwrap().contains("?issue=vpn\">V &amp; N"));
    }
}
