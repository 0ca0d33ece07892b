//! Texts of one line, as they stand in a header of a note.

/// One line of at most `limit` characters.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    let words = text.split(|character: char| character.is_whitespace() || character.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(limit).collect()
}

/// One line of at most `limit` characters that ends with the marker, whole.
pub(super) fn title_with(title: &str, marker: &str, limit: usize) -> String {
    let mark = format!(" [{marker}]");
    format!("{}{mark}", one_line(title, limit.saturating_sub(mark.len())))
}
