//! Which characters of a recording reach a reader.

/// Neither a control character nor one that cannot be seen.
pub(super) fn is_legible(character: char) -> bool {
    !character.is_control() && !is_invisible(character)
}

/// A character without a shape of its own, which can hide text or change its order: Unicode's `Bidi_Control` and
/// `Default_Ignorable_Code_Point`, line and paragraph separator, the marks of annotations. (Joined emoji come apart.)
pub(super) fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_seen() {
        let legible = |text: &str| text.chars().filter(|character| is_legible(*character)).collect::<String>();
        for text in ["plain äß€ Иван 太郎 שלום 😀 e\u{301} │ \u{fffd} \u{a0}", ""] {
            assert_eq!(legible(text), text);
        }
        let table = [
            ("gpj\u{202e}.exe", "gpj.exe"),
            ("a\u{2066}b\u{2069}c\u{200e}d\u{61c}e", "abcde"),
            ("rm\u{200b} \u{feff}x\u{ad}y\u{2060}z", "rm xyz"),
            ("\u{1f469}\u{200d}\u{1f4bb}\u{fe0f}", "\u{1f469}\u{1f4bb}"),
            ("\u{e0041}\u{e0042}\u{3164}\u{2028}\u{fff9}", ""),
            ("a\u{0}\u{7}\u{1b}\u{7f}\u{85}\u{9b}\tb", "ab"),
        ];
        for (text, expected) in table {
            assert_eq!(legible(text), expected, "{text:?}");
        }
    }
}
