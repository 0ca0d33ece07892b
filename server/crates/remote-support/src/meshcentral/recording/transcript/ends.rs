//! Keeps beginning and end of a long text.

use std::collections::VecDeque;

/// Of beginning and end each. What stands in a ticket is shorter still, but the file beside it holds all of this: two thousand full lines,
/// more than anybody reads.
const MAX_BYTES: usize = 128 * 1024;

/// Lines in order; of several blank ones, one.
#[derive(Default)]
pub(super) struct Ends {
    beginning: Vec<String>,
    beginning_bytes: usize,
    end: VecDeque<String>,
    end_bytes: usize,
    left_out: usize,
    is_blank: bool,
}

impl Ends {
    /// Whether only blank lines have come.
    pub(super) fn is_empty(&self) -> bool {
        self.beginning.is_empty() && self.end.is_empty()
    }

    pub(super) fn push(&mut self, line: String) {
        if line.is_empty() {
            self.is_blank = !self.is_empty();
            return;
        }
        if std::mem::take(&mut self.is_blank) {
            self.keep(String::new());
        }
        self.keep(line);
    }

    fn keep(&mut self, line: String) {
        let bytes = line.len() + 1;
        if self.end.is_empty() && self.beginning_bytes + bytes <= MAX_BYTES {
            self.beginning_bytes += bytes;
            self.beginning.push(line);
            return;
        }
        self.end_bytes += bytes;
        self.end.push_back(line);
        while self.end_bytes > MAX_BYTES
            && let Some(line) = self.end.pop_front()
        {
            self.end_bytes -= line.len() + 1;
            self.left_out += 1;
        }
    }

    /// The text, and whether something is left out.
    pub(super) fn finish(self) -> (String, bool) {
        let gap = match self.left_out {
            0 => None,
            1 => Some("[1 line is left out here.]".to_owned()),
            lines => Some(format!("[{lines} lines are left out here.]")),
        };
        let is_shortened = gap.is_some();
        let lines: Vec<String> = self.beginning.into_iter().chain(gap).chain(self.end).collect();
        (lines.join("\n"), is_shortened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(lines: impl IntoIterator<Item = String>) -> (String, bool) {
        let mut ends = Ends::default();
        lines.into_iter().for_each(|line| ends.push(line));
        ends.finish()
    }

    #[test]
    fn short_texts_are_whole() {
        let table = [("", ""), ("\n\n", ""), ("a", "a"), ("\n\na\n\n\n\nb\n\n", "a\n\nb")];
        for (lines, expected) in table {
            assert_eq!(finish(lines.split('\n').map(str::to_owned)), (expected.to_owned(), false), "{lines:?}");
        }
    }

    #[test]
    fn long_texts_are_cut_in_the_middle() {
        let line = |number: usize| format!("{number:07}");
        let each = MAX_BYTES / 8;
        let (text, is_shortened) = finish((0..2 * each).map(line));
        assert!(!is_shortened);
        assert_eq!(text.lines().count(), 2 * each);

        for (lines, gap) in [(2 * each + 1, "[1 line is left out here.]"), (3 * each, "[16384 lines are left out here.]")] {
            let (text, is_shortened) = finish((0..lines).map(line));
            assert!(is_shortened);
            let read: Vec<_> = text.lines().collect();
            assert_eq!(read.len(), 2 * each + 1);
            assert_eq!((read[0], read[each - 1]), (&*line(0), &*line(each - 1)));
            assert_eq!(read[each], gap);
            assert_eq!((read[each + 1], read[2 * each]), (&*line(lines - each), &*line(lines - 1)));
        }
    }
}
