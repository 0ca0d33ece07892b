//! The settings form of our app's installation (zendesk.md a.3; seed guide, "Configure the App").

use std::sync::Arc;

use deskbridge_core::settings::parse_issue;
use deskbridge_shared::api::JumpMethod;
use serde_json::Value;

use crate::PanelPolicy;

/// Most lines read of a list.
const MAX_LINES: usize = 200;

/// What the account's administrator filled in. Absent: not in the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallationSettings {
    /// Host name of the appliance's public site.
    pub hostname: Option<String>,
    /// Lists and switches. Lines of the issue list that are no `code=Name` are left out.
    pub panel: Arc<PanelPolicy>,
    /// Lines of the issue list that are no `code=Name`.
    pub unreadable_issues: Vec<String>,
}

impl InstallationSettings {
    /// Reads the `settings` object of an installation.
    pub fn read(settings: &Value) -> Self {
        let lines = |name: &str| -> Vec<String> {
            let text = settings[name].as_str().unwrap_or_default();
            text.lines().map(str::trim).filter(|line| !line.is_empty()).take(MAX_LINES).map(str::to_owned).collect()
        };
        let (issues, unreadable): (Vec<_>, Vec<_>) =
            lines("issues").into_iter().map(|line| parse_issue(&line).ok_or(line)).partition(Result::is_ok);
        let panel = PanelPolicy {
            issues: issues.into_iter().filter_map(Result::ok).collect(),
            jumpoints: lines("jumpoints"),
            // The app has no switches for the others.
            switches: JumpMethod::JUMPS
                .into_iter()
                .filter_map(|method| switch(&settings[format!("allow_{}", method.name()).as_str()]).map(|on| (method, on)))
                .collect(),
        };
        Self {
            hostname: settings["hostname"].as_str().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned),
            panel: Arc::new(panel),
            unreadable_issues: unreadable.into_iter().filter_map(Result::err).collect(),
        }
    }
}

/// A checkbox comes as a boolean or as its text.
fn switch(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(on) => Some(*on),
        Value::String(text) => Some(matches!(text.trim(), "true" | "1" | "on" | "yes")),
        Value::Number(number) => Some(number.as_u64() != Some(0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_seed_guides_form_is_read() {
        let settings = InstallationSettings::read(&json!({
            "name": "Remote Support", "hostname": " support.example.com ",
            "issues": "general_tech=General Technical Issues\r\n\nno equals sign\n vpn = VPN ", "jumpoints": "HQ-Net\nBranch",
            "allow_jump_client": true, "allow_rdp": "false", "allow_shell_jump": null
        }));
        assert_eq!(settings.hostname.as_deref(), Some("support.example.com"));
        assert_eq!(settings.panel.issues.iter().map(|issue| issue.code_name.as_str()).collect::<Vec<_>>(), ["general_tech", "vpn"]);
        assert_eq!(settings.unreadable_issues, ["no equals sign"]);
        assert_eq!(settings.panel.jumpoints, ["HQ-Net", "Branch"]);
        assert_eq!(JumpMethod::JUMPS.map(|method| settings.panel.switch(method)), [Some(true), None, None, Some(false), None]);
    }
}
