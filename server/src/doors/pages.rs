//! Pages: functions from a typed context. Handlebars in strict mode, so a name that is missing is an error and not a gap.

use handlebars::Handlebars;
use serde::Serialize;

/// Compiled page templates.
pub struct Pages(Handlebars<'static>);

/// The sidebar page.
#[derive(Clone, Debug, Serialize)]
pub struct Sidebar {
    /// Language of the texts.
    pub locale: String,
    /// `light` or `dark`.
    pub color_scheme: &'static str,
    /// Title for screen readers.
    pub title: String,
    /// Hashed names.
    pub style_url: String,
    /// Hashed names.
    pub script_url: String,
    /// Hashed names.
    pub wasm_url: String,
    /// JSON for the panel, made safe for a script element by [`script_json`].
    pub data: String,
}

/// A page that says one thing.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// What happened.
    pub title: &'static str,
    /// What to do.
    pub detail: String,
}

/// The choice of an issue before a chat.
#[derive(Clone, Debug, Serialize)]
pub struct ChooseIssue {
    /// What can be chosen.
    pub issues: Vec<deskbridge_shared::api::Issue>,
}

impl Pages {
    /// Compiles the templates.
    pub fn new() -> Result<Self, handlebars::TemplateError> {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_template_string("sidebar", include_str!("../../templates/pages/sidebar.hbs"))?;
        registry.register_template_string("message", include_str!("../../templates/pages/message.hbs"))?;
        registry.register_template_string("choose_issue", include_str!("../../templates/pages/choose_issue.hbs"))?;
        Ok(Self(registry))
    }

    /// The sidebar page.
    pub fn sidebar(&self, context: &Sidebar) -> Result<String, handlebars::RenderError> {
        self.0.render("sidebar", context)
    }

    /// A page that says one thing.
    pub fn message(&self, context: &Message) -> Result<String, handlebars::RenderError> {
        self.0.render("message", context)
    }

    /// The choice of an issue.
    pub fn choose_issue(&self, context: &ChooseIssue) -> Result<String, handlebars::RenderError> {
        self.0.render("choose_issue", context)
    }
}

/// JSON that cannot end the script element it stands in.
pub fn script_json(value: &serde_json::Value) -> String {
    value
        .to_string()
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
        let pages = Pages::new().unwrap();
        let data = script_json(&serde_json::json!({"name": "</script><b>&"}));
        assert!(!data.contains('<'));
        assert_eq!(serde_json::from_str::<serde_json::Value>(&data).unwrap()["name"], "</script><b>&");
        let sidebar = pages
            .sidebar(&Sidebar {
                locale: "en".into(),
                color_scheme: "dark",
                title: "<T>".into(),
                style_url: "/assets/a.css".into(),
                script_url: "/assets/a.js".into(),
                wasm_url: "/assets/a.wasm".into(),
                data,
            })
            .unwrap();
        assert!(sidebar.contains("data-scheme=\"dark\"") && sidebar.contains("&lt;T&gt;") && !sidebar.contains("<T>"));
        let message = pages.message(&Message { title: "No", detail: "<i>".into() }).unwrap();
        assert!(message.contains("&lt;i&gt;"));
        let issues = vec![deskbridge_shared::api::Issue { code_name: "vpn".into(), title: "V & N".into() }];
        assert!(pages.choose_issue(&ChooseIssue { issues }).unwrap().contains("?issue=vpn\">V &amp; N"));
    }
}
