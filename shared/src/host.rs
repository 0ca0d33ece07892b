//! Host names as people type them, and the one form in which DNS, browsers and signatures have them: ASCII (IDNA, UTS 46). One rule for the
//! server's settings and the extension's. The tables of IDNA are too heavy for the extension, so that step is the caller's: the `url` crate or
//! the browser's own `URL`.

/// Longest part of a name, in characters (RFC 1035 2.3.4).
const LONGEST_LABEL: usize = 63;
/// Longest name, in characters.
const LONGEST: usize = 253;

/// A typed name (or IPv4 address) in lower-case ASCII. `None`: no host can have it. `idna` is asked where letters beyond ASCII are in it.
pub fn to_ascii(typed: &str, idna: impl FnOnce(&str) -> Option<String>) -> Option<String> {
    if typed.chars().any(|character| character.is_ascii() && !is_plain(character) || is_symbol(character)) {
        return None;
    }
    let name = if is_international(typed) { idna(typed)? } else { typed.to_ascii_lowercase() };
    let is_label = |label: &str| (1..=LONGEST_LABEL).contains(&label.len()) && label != "xn--" && label.chars().all(is_plain);
    (name.len() <= LONGEST && name.split('.').all(is_label)).then_some(name)
}

/// Whether the name has letters beyond ASCII, typed or encoded: then what is wrong with it is likely to be IDNA's.
pub fn is_international(name: &str) -> bool {
    !name.is_ascii() || name.split('.').any(|label| label.len() >= 4 && label.as_bytes()[..4].eq_ignore_ascii_case(b"xn--"))
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '.' | '_')
}

/// Punctuation, signs and emoji: UTS 46 lets browsers take most of them, registries and IDNA 2008 do not (RFC 5892 2.6: letters and digits).
pub fn is_symbol(character: char) -> bool {
    match character {
        // Dots that UTS 46 maps to the plain one; joiners inside words of Persian and of Indian languages; Catalan's middle dot; marks that are
        // written over letters.
        '\u{3002}' | '\u{ff0e}' | '\u{ff61}' | '\u{200c}' | '\u{200d}' | '\u{b7}' | '\u{20d0}'..='\u{20ff}' => false,
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

#[cfg(test)]
mod tests {
    use super::*;

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
            "müller.de.",
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
}
