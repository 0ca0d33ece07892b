//! Text from a page, made fit to be used. A page is written by strangers: nothing here trusts a length or a character.

use deskbridge_shared::client_script::OPTION_CHARACTERS;

/// Longest e-mail address, in bytes (RFC 5321 4.5.3.1.3).
const LONGEST_EMAIL: usize = 254;
/// Longest subject passed on, in characters.
const LONGEST_SUBJECT: usize = 255;
/// Longest ticket number, in characters: Autotask has 50 (autotask-extension.md a.5), osTicket 20 (osticket.md 2.8).
const LONGEST_NUMBER: usize = 50;
/// What people and help desks write where there is nothing.
const NOTHING: [&str; 4] = ["n/a", "none", "unknown", "null"];

/// Labels of fields which name the customer's machine, as Autotask's and osTicket's translations and their administrators write them
/// (autotask-extension.md c.3); the more telling first. Matched whole, whatever the case, with or without `*` and `:` behind.
pub const TARGET_LABELS: [(&str, &[&str]); 7] = [
    (
        "en",
        &[
            "configuration item",
            "computer name",
            "device name",
            "machine name",
            "host name",
            "hostname",
            "pc name",
            "asset name",
            "computer",
            "device",
            "workstation",
            "asset",
        ],
    ),
    ("de", &["konfigurationselement", "computername", "rechnername", "gerätename", "pc-name", "rechner", "gerät", "arbeitsplatzrechner"]),
    (
        "es",
        &[
            "elemento de configuración",
            "nombre del equipo",
            "nombre de equipo",
            "nombre del dispositivo",
            "equipo",
            "dispositivo",
            "activo",
        ],
    ),
    (
        "fr",
        &[
            "élément de configuration",
            "nom de l'ordinateur",
            "nom de l’ordinateur",
            "nom de l'appareil",
            "nom d'hôte",
            "ordinateur",
            "appareil",
        ],
    ),
    ("it", &["elemento di configurazione", "nome del computer", "nome del dispositivo", "nome computer", "dispositivo"]),
    ("nl", &["configuratie-item", "configuratieitem", "computernaam", "apparaatnaam", "apparaat"]),
    ("pt", &["item de configuração", "nome do computador", "nome do dispositivo", "computador", "dispositivo", "ativo"]),
];

/// One line: white space as single spaces, nothing invisible.
pub fn line(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        let start = out.len();
        if start > 0 {
            out.push(' ');
        }
        let before = out.len();
        out.extend(word.chars().filter(|character| !is_invisible(*character)));
        if out.len() == before {
            out.truncate(start);
        }
    }
    out
}

/// A subject: one line, cut. `None` for nothing.
pub fn subject(text: &str) -> Option<String> {
    let subject: String = line(text).chars().take(LONGEST_SUBJECT).collect();
    (!subject.is_empty()).then_some(subject)
}

/// An internal id: digits alone, from 1 to `greatest`, written in one way only.
pub fn ticket_id(text: &str, greatest: u64) -> Option<String> {
    let id: u64 = text.parse().ok()?;
    (1..=greatest).contains(&id).then(|| id.to_string()).filter(|canonical| canonical == text)
}

/// A ticket number: letters, digits, `.`, `-`, `_`; osTicket's administrators choose its form (osticket.md 0, 2).
pub fn ticket_number(text: &str) -> Option<String> {
    let text = text.trim();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    (is_plain && (1..=LONGEST_NUMBER).contains(&text.len())).then(|| text.to_owned())
}

/// An e-mail address, if the page shows one alone.
pub fn email(found: &[super::Found]) -> Option<String> {
    let [one] = found else { return None };
    let address = line(&one.text);
    let (name, domain) = address.split_once('@')?;
    let fits = !name.is_empty() && domain.contains('.') && !domain.contains('@') && address.len() <= LONGEST_EMAIL;
    (fits && !address.contains(|character: char| character == ' ' || character.is_control())).then_some(address)
}

/// A machine's name as a Jump takes it. `None` for what is none: too long, without a letter or digit, or a help desk's "— Empty —".
pub fn target(text: &str) -> Option<String> {
    let target = line(text);
    let says_something = target.chars().any(char::is_alphanumeric) && !target.starts_with(['—', '–']);
    let is_none = NOTHING.iter().any(|nothing| target.eq_ignore_ascii_case(nothing));
    (says_something && !is_none && target.chars().count() <= OPTION_CHARACTERS).then_some(target)
}

/// A label as it is compared: one line, small letters, without what stands behind it.
pub fn label(text: &str) -> String {
    line(text).to_lowercase().trim_end_matches([':', '*', ' ']).to_owned()
}

/// Whether a [`label`] is the one a pattern means. `*` at either end of a pattern stands for anything; a pattern of less than two letters for nothing.
pub fn label_matches(pattern: &str, label: &str) -> bool {
    let pattern = line(pattern).to_lowercase();
    let pattern = pattern.trim_end_matches([':', ' ']);
    let (start, open_start) = pattern.strip_prefix('*').map_or((pattern, false), |rest| (rest, true));
    let (core, open_end) = start.strip_suffix('*').map_or((start, false), |rest| (rest, true));
    if core.chars().filter(|character| character.is_alphanumeric()).count() < 2 {
        return false;
    }
    match (open_start, open_end) {
        (false, false) => label == core,
        (true, false) => label.ends_with(core),
        (false, true) => label.starts_with(core),
        (true, true) => label.contains(core),
    }
}

/// Control characters, and those that turn or hide text.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_digits_alone() {
        let long = u64::try_from(i64::MAX).expect("positive");
        assert_eq!(ticket_id("9223372036854775807", long).as_deref(), Some("9223372036854775807"));
        for wrong in
            ["", "0", "-1", "+1", "01", "1 ", "1.0", "1e3", "0x1", "١", "9223372036854775808", "99999999999999999999999", "1,2", "1'--"]
        {
            assert_eq!(ticket_id(wrong, long), None, "{wrong}");
        }
        assert_eq!(ticket_id("4294967296", u64::from(u32::MAX)), None);
    }

    #[test]
    fn a_number_is_plain() {
        for number in ["515631", "T20260101.0001", "T20120604.0002.005", "TCK-386841", "HD.43-4182"] {
            assert_eq!(ticket_number(number).as_deref(), Some(number));
        }
        for wrong in ["", " ", "a b", "<b>", "1&a=edit", "ä", &"1".repeat(51)] {
            assert_eq!(ticket_number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_target_is_a_name() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(target(text).as_deref(), expected, "{text}");
        check("  PC-042 \n", Some("PC-042"));
        check("Empfang\u{a0}links (1. OG)", Some("Empfang links (1. OG)"));
        check("PC\u{200b}-0\u{202e}42", Some("PC-042"));
        check("\u{200b} PC \u{200b}", Some("PC"));
        for nothing in ["", " ", "-", "—Empty— ", "— Leer —", "– keine –", "N/A", "none", "***"] {
            check(nothing, None);
        }
        check(&"ü".repeat(255), Some(&"ü".repeat(255)));
        check(&"ü".repeat(256), None);
    }

    #[test]
    fn labels_are_compared_whole() {
        let check =
            |pattern: &str, text: &str, expected: bool| assert_eq!(label_matches(pattern, &label(text)), expected, "{pattern} {text}");
        check("configuration item", "Configuration Item", true);
        check("Configuration Item:", " CONFIGURATION\u{a0}ITEM *", true);
        check("gerät", "Gerät:", true);
        check("asset", "Asset Tag", false);
        check("asset*", "Asset Tag", true);
        check("*name", "PC Name:", true);
        check("*gerät*", "Das Gerät dort", true);
        check("asset*", "My asset", false);
        for too_much in ["", "*", "**", " ", "*a*", ":"] {
            check(too_much, "Description", false);
            check(too_much, "a", false);
        }
    }

    #[test]
    fn default_labels_are_in_their_own_form() {
        for (locale, labels) in TARGET_LABELS {
            for known in labels {
                assert_eq!(label(known), *known, "{locale}");
                assert!(label_matches(known, known), "{locale}: {known}");
            }
        }
    }

    #[test]
    fn a_subject_is_cut_and_clean() {
        assert_eq!(subject("a\u{202e}b\n\tc").as_deref(), Some("ab c"));
        assert_eq!(subject(" \u{200b} "), None);
        assert_eq!(subject(&"ü".repeat(300)).map(|text| text.chars().count()), Some(255));
    }
}
