//! Texts of others, as they are told to people.

/// The beginning of a text from outside, without control characters and such as turn the direction of reading: at most so many characters.
pub fn shown(text: &str, at_most: usize) -> String {
    let turns = |character: char| matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|character| !character.is_control() && !turns(*character)).take(at_most).collect()
}
