//! The messages of a chat's recording.
//!
//! The file is lines of text, and MeshCentral writes messages into them as they are. So whoever chats can write a line break and, after
//! it, what looks like the other side's message; and whoever opens the customer's page with `?browser=1` is recorded as the technician.
//! The file does not show it. What is read here is a record of a talk, no proof.

use super::legible::is_legible;
use super::{MAX_BYTES, Metadata, Sender};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Length of `Mon, 30 Nov 2026 02:39:53 GMT`.
const STAMP_BYTES: usize = 29;

/// A message, or a file that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatLine {
    /// Unix seconds of the server's clock.
    pub at: i64,
    /// Whose.
    pub sender: Sender,
    /// Without control characters but line ends.
    pub text: String,
}

/// The messages of a `.txt`, in order; none where it is something else.
pub fn chat(file: &[u8]) -> Vec<ChatLine> {
    let text = String::from_utf8_lossy(file.get(..MAX_BYTES).unwrap_or(file));
    let mut rows = text.split('\n');
    if Metadata::read(rows.next().unwrap_or_default().trim_end().as_bytes()).is_err() {
        return Vec::new();
    }
    let mut lines: Vec<ChatLine> = Vec::new();
    let mut within_message = false;
    for row in rows {
        if let Some((at, entry)) = stamped(row) {
            let message = entry
                .strip_prefix("--> ")
                .map(|text| (Sender::Technician, text))
                .or_else(|| entry.strip_prefix("<-- ").map(|text| (Sender::Machine, text)));
            // Else start, end, or something that is not of the chat.
            within_message = message.is_some();
            lines.extend(message.map(|(sender, text)| ChatLine { at, sender, text: legible(text) }));
        } else if within_message && let Some(last) = lines.last_mut() {
            last.text.push('\n');
            last.text.push_str(&legible(row));
        }
    }
    for line in &mut lines {
        line.text.truncate(line.text.trim_end().len());
    }
    lines
}

fn stamped(row: &str) -> Option<(i64, &str)> {
    let (stamp, entry) = row.split_at_checked(STAMP_BYTES)?;
    let at = OffsetDateTime::parse(stamp, &Rfc2822).ok()?;
    Some((at.unix_timestamp(), entry.strip_prefix(", ")?))
}

fn legible(text: &str) -> String {
    text.chars().map(|character| if character == '\t' { ' ' } else { character }).filter(|character| is_legible(*character)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "{\"magic\":\"MeshCentralRelaySession\",\"ver\":1,\"sessionid\":\"meshmessenger/node//a/user//b\"}\r\n\
        Mon, 30 Nov 2026 02:39:53 GMT, <<<START>>>\r\n";
    const END: &str = "Mon, 30 Nov 2026 02:41:00 GMT, <<<END>>>\r\n";

    #[test]
    fn messages() {
        let line = |at, sender, text: &str| ChatLine { at, sender, text: text.to_owned() };
        let (ours, theirs) = (Sender::Technician, Sender::Machine);
        let table = [
            ("", vec![]),
            (
                "Mon, 30 Nov 2026 02:40:00 GMT, --> Hello ä 😀\r\nMon, 30 Nov 2026 02:40:01 GMT, <-- Hi <b>, yes\r\n",
                vec![line(1_796_006_400, ours, "Hello ä 😀"), line(1_796_006_401, theirs, "Hi <b>, yes")],
            ),
            (
                "Mon, 30 Nov 2026 02:40:00 GMT, <-- File Transfer, \"log.txt\" (12 bytes)\r\n",
                vec![line(1_796_006_400, theirs, "File Transfer, \"log.txt\" (12 bytes)")],
            ),
            // Several lines; a text that looks like an entry but has no time.
            ("Mon, 30 Nov 2026 02:40:00 GMT, <-- a\r\n\r\n--> b\nc\r\n", vec![line(1_796_006_400, theirs, "a\n\n--> b\nc")]),
            // Neither message nor file: as it came, and no part of the message before it.
            (
                "Mon, 30 Nov 2026 02:40:00 GMT, <-- a\r\nMon, 30 Nov 2026 02:40:01 GMT, {\"x\":\n1}\r\n",
                vec![line(1_796_006_400, theirs, "a")],
            ),
            (
                "Mon, 30 Nov 2026 02:40:00 GMT, <-- gpj\u{202e}.exe\u{7}\t\u{1b}[31mx\r\n",
                vec![line(1_796_006_400, theirs, "gpj.exe [31mx")],
            ),
            ("Mon, 31 Feb 2026 02:40:00 GMT, <-- a\r\nmmmmmmmmmmmmmmmmmmmmmmmmmmmmä, --> b\r\n", vec![]),
        ];
        for (entries, expected) in table {
            assert_eq!(chat(format!("{START}{entries}{END}").as_bytes()), expected, "{entries:?}");
        }
    }

    #[test]
    fn a_chat_that_breaks_off() {
        let entries = format!("{START}Mon, 30 Nov 2026 02:40:00 GMT, --> Hello\r\nMon, 30 Nov 2026 02:40:01 GMT, <-- a\u{e4}");
        let cut = &entries.as_bytes()[..entries.len() - 1];
        let texts: Vec<_> = chat(cut).into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["Hello", "a\u{fffd}"]);
    }

    #[test]
    fn what_is_no_chat() {
        let entry = "Mon, 30 Nov 2026 02:40:00 GMT, --> Hello\r\n";
        for other in ["", entry, "<!DOCTYPE html>\r\n", "{}\r\n"] {
            assert_eq!(chat(format!("{other}{entry}").as_bytes()), [], "{other:?}");
        }
    }
}
