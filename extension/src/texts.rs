//! The extension's own texts, in each language (`translations/*.json`), and those the panel needs before the server has sent it any. Pure.

use std::collections::BTreeMap;

use deskbridge_shared::panel::texts::{Texts, fill, is_looked_up};
use serde::Deserialize;

use crate::json::read;

macro_rules! words {
    ($($variant:ident = $name:literal,)*) => {
        /// A text of the extension's own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Word {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Word {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in the translation files.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

words! {
    Title = "title",
    Loading = "loading",
    Managed = "managed",
    ServerTitle = "server_title",
    ServerHint = "server_hint",
    ServerAddress = "server_address",
    ServerSave = "server_save",
    PairingTitle = "pairing_title",
    PairingHint = "pairing_hint",
    PairingCode = "pairing_code",
    DeviceName = "device_name",
    Pair = "pair",
    Pairing = "pairing",
    Paired = "paired",
    PairedAs = "paired_as",
    PairedFor = "paired_for",
    PairedElsewhere = "paired_elsewhere",
    Connections = "connections",
    ConnectionsNone = "connections_none",
    Forget = "forget",
    ForgetSure = "forget_sure",
    Forgotten = "forgotten",
    EnrolmentWaits = "enrolment_waits",
    Check = "check",
    Checking = "checking",
    CheckOk = "check_ok",
    CheckSite = "check_site",
    FaultAddressEmpty = "fault_address_empty",
    FaultAddress = "fault_address",
    FaultHttps = "fault_https",
    FaultName = "fault_name",
    FaultCode = "fault_code",
    FaultNoServer = "fault_no_server",
    FaultUnreachable = "fault_unreachable",
    FaultNotDeskbridge = "fault_not_deskbridge",
    FaultNotPaired = "fault_not_paired",
    FaultUnknown = "fault_unknown",
    FaultRevoked = "fault_revoked",
    FaultClock = "fault_clock",
    FaultCodeUnknown = "fault_code_unknown",
    FaultCodeUsed = "fault_code_used",
    FaultCodeExpired = "fault_code_expired",
    FaultCodeLimit = "fault_code_limit",
    FaultServer = "fault_server",
    FaultKey = "fault_key",
    FaultPairedBefore = "fault_paired_before",
    TryAddress = "try_address",
    SitesTitle = "sites_title",
    SitesHint = "sites_hint",
    SitesNone = "sites_none",
    SiteAddOsticket = "site_add_osticket",
    SiteAddHint = "site_add_hint",
    SiteAdd = "site_add",
    SiteAddRequestTracker = "site_add_request_tracker",
    SiteAddAutotask = "site_add_autotask",
    SiteRemove = "site_remove",
    SiteKnown = "site_known",
    SiteAllow = "site_allow",
    SiteDenied = "site_denied",
    SiteUnallowed = "site_unallowed",
    SiteConnection = "site_connection",
    SiteConnectionAuto = "site_connection_auto",
    SiteConnectionNone = "site_connection_none",
    SiteOptions = "site_options",
    SiteLabels = "site_labels",
    SiteTargets = "site_targets",
    SiteMounts = "site_mounts",
    SiteListsHint = "site_lists_hint",
    Autotask = "autotask",
    Osticket = "osticket",
    RequestTracker = "request_tracker",
    GeneralTitle = "general_title",
    Language = "language",
    LanguageAuto = "language_auto",
    LanguageEn = "language_en",
    LanguageDe = "language_de",
    Shortcut = "shortcut",
    ShortcutNone = "shortcut_none",
    ShortcutChange = "shortcut_change",
    Saved = "saved",
    NotSaved = "not_saved",
    PanelOpen = "panel_open",
    PanelShow = "panel_show",
    PanelHide = "panel_hide",
    PanelRefusedTitle = "panel_refused_title",
    PanelRefusedHint = "panel_refused_hint",
    PanelCovered = "panel_covered",
    PanelUnpairedTitle = "panel_unpaired_title",
    PanelUnpairedHint = "panel_unpaired_hint",
    PanelNoConnectionTitle = "panel_no_connection_title",
    PanelNoConnectionHint = "panel_no_connection_hint",
    PanelSettings = "panel_settings",
    PanelSilentTitle = "panel_silent_title",
    PanelSilentHint = "panel_silent_hint",
    PanelTryAgain = "panel_try_again",
    PanelSessionOpen = "panel_session_open",
    PanelReportDue = "panel_report_due",
    PanelKeyGoneTitle = "panel_key_gone_title",
    PanelKeyGoneHint = "panel_key_gone_hint",
}

const ENGLISH: &str = include_str!("../translations/en.json");
const GERMAN: &str = include_str!("../translations/de.json");
const PANEL_ENGLISH: &str = include_str!("../../zendesk-app/translations/en.json");
const PANEL_GERMAN: &str = include_str!("../../zendesk-app/translations/de.json");

/// The texts in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    texts: BTreeMap<String, String>,
    language: &'static str,
}

impl Words {
    /// In the language of that tag (`de-AT`), else in English.
    pub fn of(tag: &str) -> Self {
        let language = language(tag);
        let file = if language == "de" { GERMAN } else { ENGLISH };
        Self { texts: read(file).unwrap_or_default(), language }
    }

    /// `en` or `de`.
    pub const fn language(&self) -> &'static str {
        self.language
    }

    /// The text; its name if it is missing.
    pub fn get(&self, word: Word) -> &str {
        self.texts.get(word.name()).map_or(word.name(), String::as_str)
    }

    /// The text with `{placeholder}` replaced.
    pub fn fill(&self, word: Word, placeholder: &str, value: &str) -> String {
        fill(self.get(word), placeholder, value)
    }
}

/// The panel's texts in the language of that tag, else in English.
pub fn panel_texts(tag: &str) -> Texts {
    #[derive(Default, Deserialize)]
    struct File {
        panel: BTreeMap<String, String>,
    }
    let file = if language(tag) == "de" { PANEL_GERMAN } else { PANEL_ENGLISH };
    let map: File = read(file).unwrap_or_default();
    let mut texts = Texts::read(|name| map.panel.get(name).cloned());
    for (name, text) in map.panel.into_iter().filter(|(name, _)| is_looked_up(name)) {
        texts.add(name, text);
    }
    texts
}

fn language(tag: &str) -> &'static str {
    let primary = tag.split(['-', '_']).next().unwrap_or_default();
    if primary.eq_ignore_ascii_case("de") { "de" } else { "en" }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use deskbridge_shared::panel::texts::Text;

    use super::*;

    fn placeholders(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect()
    }

    #[test]
    fn each_language_has_exactly_the_extensions_texts() {
        let expected: BTreeSet<&str> = Word::ALL.iter().map(|word| word.name()).collect();
        assert_eq!(expected.len(), Word::ALL.len(), "a name is used twice");
        let english = Words::of("en-GB");
        for language in ["en", "de"] {
            let words = Words::of(language);
            assert_eq!(words.texts.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{language}");
            for (name, text) in &words.texts {
                assert!(!text.trim().is_empty(), "{language} {name}");
                assert_eq!(placeholders(text), placeholders(&english.texts[name]), "{language} {name}");
            }
        }
    }

    #[test]
    fn the_language_is_the_tags() {
        for (tag, expected) in [("de", "de"), ("de-AT", "de"), ("DE_ch", "de"), ("en-US", "en"), ("den", "en"), ("fr", "en"), ("", "en")] {
            assert_eq!(Words::of(tag).language(), expected, "{tag}");
        }
    }

    #[test]
    fn the_panel_speaks_before_the_server_does() {
        for (tag, other) in [("en", "de"), ("de", "en")] {
            let texts = panel_texts(tag);
            assert_ne!(texts.get(Text::Retry), Text::Retry.name());
            assert_ne!(texts, panel_texts(other));
        }
    }
}
