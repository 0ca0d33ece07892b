//! Host names as people type them, and the one form in which DNS, browsers and signatures have them: ASCII (IDNA, UTS 46). One rule for the
//! server's settings and the extension's. The tables of IDNA are too heavy for the extension, so that step is the caller's: the `url` crate or
//! the browser's own `URL`.

/// Longest part of a name, in characters (RFC 1035 2.3.4).
const LONGEST_LABEL: usize = 63;
/// Longest name, in characters.
const LONGEST: usize = 253;

/// A typed name (or IPv4 address) in lower-case ASCII. `None`: no host can have it, or it has symbols, which Deskbridge does not take. `idna`
/// is asked where letters beyond ASCII are in it.
pub fn to_ascii(typed: &str, idna: impl FnOnce(&str) -> Option<String>) -> Option<String> {
    if typed.chars().any(|character| character.is_ascii() && !is_plain(character)) {
        return None;
    }
    let mut name = if is_international(typed) { idna(typed)? } else { typed.to_ascii_lowercase() };
    // The dot of DNS's root may stand at the end. Browsers leave it there, but not behind an IPv4 address.
    let bare = name.strip_suffix('.').unwrap_or(&name);
    let is_good = bare.len() <= LONGEST && bare.split('.').all(is_label);
    if bare.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit())) {
        name.truncate(bare.len());
    }
    is_good.then_some(name)
}

fn is_label(label: &str) -> bool {
    let is_ascii_label = (1..=LONGEST_LABEL).contains(&label.len()) && label.chars().all(is_plain);
    // Looked at where it is encoded, so that both spellings are taken or refused alike.
    is_ascii_label && label.strip_prefix("xn--").is_none_or(|encoded| has_symbol(encoded) == Some(false))
}

/// Whether one of the characters that stand encoded behind `xn--` is a symbol. `None`: nothing is encoded so.
fn has_symbol(encoded: &str) -> Option<bool> {
    let label = idna::punycode::decode_to_string(encoded).filter(|label| !label.is_ascii())?;
    Some(label.chars().any(is_symbol))
}

/// Whether the name has letters beyond ASCII, typed or encoded: then what is wrong with it is likely to be IDNA's.
pub fn is_international(name: &str) -> bool {
    !name.is_ascii() || name.split('.').any(|label| label.len() >= 4 && label.as_bytes()[..4].eq_ignore_ascii_case(b"xn--"))
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_')
}

/// Punctuation, signs and emoji: UTS 46 lets browsers take most of them, IDNA 2008 does not (RFC 5892 2.6: letters and digits). A few registries
/// sell them all the same; Deskbridge does not take them, as many of them look alike.
fn is_symbol(character: char) -> bool {
    match character {
        // Joiners inside words of Persian and of Indian languages; Catalan's middle dot; marks that are written over letters.
        '\u{200c}' | '\u{200d}' | '\u{b7}' | '\u{20d0}'..='\u{20ff}' => false,
        '\u{80}'..='\u{bf}'
        | '\u{d7}'
        | '\u{f7}'
        | '\u{2000}'..='\u{2bff}'
        | '\u{2e00}'..='\u{2e7f}'
        | '\u{3000}'..='\u{3004}'
        | '\u{3008}'..='\u{3020}'
        | '\u{3030}'..='\u{303f}'
        | '\u{fe00}'..='\u{fe0f}' => !character.is_alphanumeric(),
        '\u{1f000}'..='\u{1fbff}' | '\u{e0000}'.. => true,
        _ => false,
    }
}

/// Names for the tests of every place where one is entered: as typed, and as it is to be used; `None` if it is to be refused.
#[cfg(test)]
pub fn names_for_tests() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    let lines = include_str!("host_names.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(typed, used)| (typed, Some(used.trim()).filter(|used| *used != "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_used_as_the_list_says() {
        for (typed, used) in names_for_tests() {
            assert_eq!(to_ascii(typed, |name| url::Host::parse(name).ok().map(|host| host.to_string())).as_deref(), used, "{typed}");
        }
    }

    #[test]
    fn names_become_what_browsers_write() {
        let idna = |name: &str| url::Host::parse(name).ok().map(|host| host.to_string());
        let check = |typed: &str, expected: Option<&str>| assert_eq!(to_ascii(typed, idna).as_deref(), expected, "{typed}");
        check("Remote.Example.com", Some("remote.example.com"));
        check("10.20.0.15", Some("10.20.0.15"));
        check("intra_net", Some("intra_net"));
        check("hilfe.müller.de", Some("hilfe.xn--mller-kva.de"));
        check("HILFE.MÜLLER.DE", Some("hilfe.xn--mller-kva.de"));
        check("hilfe.mu\u{308}ller.de", Some("hilfe.xn--mller-kva.de"));
        check("hilfe。müller．de", Some("hilfe.xn--mller-kva.de"));
        check("hilfe.XN--MLLER-KVA.de", Some("hilfe.xn--mller-kva.de"));
        check("straße.de", Some("xn--strae-oqa.de"));
        check("помощь.рф", Some("xn--l1adbb7cs.xn--p1ai"));
        check("ヘルプ.jp", Some("xn--udkb1d.jp"));
        check("עזרה.example", Some("xn--8dbd9aza.example"));
        for bad in [
            "",
            ".",
            "hilfe..de",
            "hilfe..müller.de",
            ".müller.de",
            "müller.de..",
            "xn--",
            "xn--.de",
            "xn--zzzzzzzzz-999.de",
            "xn--a.müller.de",
            "😀.de",
            "hilfe😀.müller.de",
            "i❤.de",
            "a™😀.de",
            "1€.de",
            "hilfe müller.de",
            "hilfe\u{a0}müller.de",
            "hilfe.müller.de/x",
            "a@müller.de",
            "müller.de:1",
            "müller%2ede",
            "אa.de",
            "aא.de",
            "a\u{202e}ü.de",
            "ü\u{0}.de",
            &"ü".repeat(70),
            &"a".repeat(64),
            &"a.".repeat(130),
        ] {
            check(bad, None);
        }
    }

    /// Symbols and emoji are refused in both spellings, letters of any script taken in both.
    #[test]
    fn a_name_and_its_encoded_form_are_taken_alike() {
        let check = |typed: &str, good: bool| {
            let encoded = url::Host::parse(typed).unwrap().to_string();
            let expected = good.then(|| encoded.clone());
            // A browser leaves what is encoded as it is.
            let idna = |name: &str| Some(if name.is_ascii() { name.to_ascii_lowercase() } else { encoded.clone() });
            for spelling in [typed, &encoded, &encoded.to_ascii_uppercase()] {
                assert_eq!(to_ascii(spelling, idna), expected, "{typed}: {spelling}");
            }
        };
        for bad in ["😀.de", "hilfe.😀", "i❤.de", "1€.de", "hilfe😀müller.de", "müller😀😀.de", "☃中文.example"] {
            check(bad, false);
        }
        for good in ["müller.de", "помощь.рф", "ヘルプ.jp", "例え.テスト", "col·legi.cat", "הבית.example", "ähnlich-übermäßig.de"]
        {
            check(good, true);
        }
    }
}
