//! Texts of others, as they are told to people.

/// The beginning of a text from outside, without control characters: at most so many characters.
pub fn shown(text: &str, at_most: usize) -> String {
    text.chars().filter(|character| !character.is_control()).take(at_most).collect()
}
