//! What a connection offers its agents: its own `[connection.panel]` and what the help desk's administrator allows.
//!
//! What one of the two forbids is forbidden; what neither names has the default. Lists come from the help desk where it has one.

use deskbridge_core::settings::{PanelSection, parse_issue};
use deskbridge_shared::api::{Issue, JumpMethod};

use crate::PanelPolicy;

/// What agents may do and choose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedActions {
    /// Allowed Jump methods.
    pub methods: Vec<JumpMethod>,
    /// Jumpoints to choose from.
    pub jumpoints: Vec<String>,
    /// Issues to choose from.
    pub issues: Vec<Issue>,
}

impl AllowedActions {
    /// Combines the two sources.
    pub fn combine(panel: &PanelSection, installation: &PanelPolicy) -> Self {
        let jumpoints =
            if installation.jumpoints.is_empty() { panel.jumpoints.clone().unwrap_or_default() } else { installation.jumpoints.clone() };
        let own_issues = || panel.issues.iter().flatten().filter_map(|line| parse_issue(line)).collect();
        let issues = if installation.issues.is_empty() { own_issues() } else { installation.issues.clone() };
        let allowed = |method: JumpMethod| {
            let switch = match (panel.switch(method), installation.switch(method)) {
                (Some(own), Some(installed)) => own && installed,
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => method == JumpMethod::JumpClient || method.needs_machine(),
            };
            switch && (!method.needs_jumpoint() || !jumpoints.is_empty())
        };
        Self { methods: JumpMethod::ALL.into_iter().filter(|method| allowed(*method)).collect(), jumpoints, issues }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::zendesk::InstallationSettings;

    #[test]
    fn what_one_forbids_is_forbidden() {
        let check = |panel: PanelSection, installation: serde_json::Value, expected: &[JumpMethod]| {
            let allowed = AllowedActions::combine(&panel, &InstallationSettings::read(&installation).panel);
            // The engine has the last word on these.
            let by_default = JumpMethod::ALL.into_iter().filter(|method| method.needs_machine());
            let expected: Vec<_> = expected.iter().copied().chain(by_default).collect();
            assert_eq!(allowed.methods, expected, "{panel:?} {installation}");
        };
        let jumpoint = || Some(vec!["HQ-Net".to_owned()]);
        check(PanelSection::default(), json!({}), &[JumpMethod::JumpClient]);
        check(PanelSection::default(), json!({"allow_jump_client": false, "allow_local_push": true}), &[JumpMethod::LocalPush]);
        check(
            PanelSection { allow_rdp: Some(true), jumpoints: jumpoint(), ..PanelSection::default() },
            json!({}),
            &[JumpMethod::JumpClient, JumpMethod::Rdp],
        );
        check(
            PanelSection { allow_rdp: Some(true), jumpoints: jumpoint(), ..PanelSection::default() },
            json!({"allow_rdp": false}),
            &[JumpMethod::JumpClient],
        );
        check(PanelSection { allow_jump_client: Some(false), ..PanelSection::default() }, json!({"allow_jump_client": true}), &[]);
        // Without a Jumpoint there is nothing to go through.
        check(PanelSection { allow_rdp: Some(true), ..PanelSection::default() }, json!({"allow_rdp": true}), &[JumpMethod::JumpClient]);
        check(
            PanelSection { allow_rdp: Some(true), ..PanelSection::default() },
            json!({"jumpoints": "A\nB"}),
            &[JumpMethod::JumpClient, JumpMethod::Rdp],
        );
    }

    #[test]
    fn each_kind_of_session_with_a_machine_can_be_forbidden() {
        let panel = PanelSection { allow_jump_client: Some(false), allow_terminal: Some(false), ..PanelSection::default() };
        let forbidden = PanelSection { allow_desktop: Some(false), allow_files: Some(false), ..panel.clone() };
        let methods = |panel| AllowedActions::combine(panel, &PanelPolicy::default()).methods;
        assert_eq!(methods(&panel), [JumpMethod::Desktop, JumpMethod::Files]);
        assert_eq!(methods(&forbidden), []);
    }

    #[test]
    fn lists_come_from_the_installation_where_it_has_one() {
        let panel = PanelSection { issues: Some(vec!["own=Own".into()]), jumpoints: Some(vec!["own".into()]), ..PanelSection::default() };
        let own = AllowedActions::combine(&panel, &PanelPolicy::default());
        assert_eq!((own.jumpoints[0].as_str(), own.issues[0].code_name.as_str()), ("own", "own"));
        let installed =
            AllowedActions::combine(&panel, &InstallationSettings::read(&json!({"issues": "theirs=Theirs", "jumpoints": "theirs"})).panel);
        assert_eq!((installed.jumpoints[0].as_str(), installed.issues[0].code_name.as_str()), ("theirs", "theirs"));
    }
}
