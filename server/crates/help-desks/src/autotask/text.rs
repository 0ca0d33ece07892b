//! Texts as Autotask's fields take them: bounded, without control characters. What is written stands there literally, HTML too.

/// At most `limit` characters, counted as the longest way a database counts them (UTF-16).
pub(super) fn cut(text: &str, limit: usize) -> String {
    let mut room = limit;
    let fits = |character: &char| {
        let needed = character.len_utf16();
        let fits = needed <= room;
        room = if fits { room - needed } else { 0 };
        fits
    };
    text.chars().take_while(fits).collect()
}

/// One line of at most `limit` characters that ends with the marker, whole.
pub(super) fn title_with(title: &str, marker: &str, limit: usize) -> String {
    let mark = format!(" [{marker}]");
    format!("{}{mark}", cut(&one_line(title), limit.saturating_sub(mark.len())))
}

pub(super) fn one_line(text: &str) -> String {
    text.split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Several lines, parted by line feeds.
pub(super) fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_and_keep_their_marker() {
        assert_eq!(cut("añ🙂b", 3), "añ");
        assert_eq!(cut("añ🙂b", 4), "añ🙂");
        assert_eq!(lines("a\r\nb\tc\u{0}\u{1b}[31m🙂\r"), "a\nb\tc[31m🙂");
        let title = title_with(&format!("Session\r\nof\u{7} {}", "🙂".repeat(300)), "deskbridge/x/report/0", 250);
        assert!(title.starts_with("Session of 🙂") && title.ends_with("🙂 [deskbridge/x/report/0]"), "{title}");
        assert!(title.encode_utf16().count() <= 250);
    }
}
