//! What a terminal showed, as text for a ticket.
//!
//! Made from the machine's output alone, as a terminal draws it: a password typed while the terminal does not echo is only among the
//! keystrokes, and of what the technician's side sent nothing but the terminal's size is read. What a terminal draws invisibly stays
//! invisible, and asterisks in place of a password do not tell how long it is.

mod conceal;
mod ends;
mod password;

use super::legible::{is_invisible, is_legible};
use super::{Block, Recording, RecordingError, Sender};
use avt::observer::{Observation, Observer};
use avt::parser::Function;
use avt::{Line, Operation, Parser, ScreenKind, Terminal};
use conceal::Conceal;
use deskbridge_core::session_report::TerminalTranscript;
use ends::Ends;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Terminal, PowerShell, and both as the person at the machine (meshcore.js).
const TERMINALS: [i64; 4] = [1, 6, 8, 9];
/// A terminal's size where the browser does not tell (meshcore.js).
const USUAL_SIZE: Size = Size { cols: 80, rows: 25 };
/// No browser's window is smaller or larger; a size from outside decides how much memory and work a screen takes.
const COLUMNS: (u16, u16) = (20, 1000);
const ROWS: (u16, u16) = (1, 300);
/// An escape sequence of a few bytes can clear a screen or repeat a character 65,535 times. In characters to draw, each about ten
/// nanoseconds: nearly twice what [`super::MAX_BYTES`] of plain text take.
const MAX_WORK: usize = 100_000_000;
/// Longer lines are broken. Commands and paths are shorter.
const MAX_LINE_BYTES: usize = 16 * 1024;
/// Linux agents type this before the technician can (meshcore.js).
const AGENT_SETUP: &str = " alias ls='ls --color=auto';clear";

const FULL_SCREEN: &str = "[A full-screen program was open here.]";
const BREAKS_OFF: &str = "[The recording breaks off here.]";
const TOO_MUCH: &str = "[What follows is too much to be shown.]";

/// The session as a person at the screen saw it: scrolled-off and cleared lines kept, programs on the alternate screen
/// (such as `vim`) as one line, what was overwritten (a progress bar, `top`) as it was at last.
///
/// # Errors
/// Any [`RecordingError`]. A recording that breaks off is read up to there, and the text says so.
pub fn transcript(file: &[u8]) -> Result<TerminalTranscript, RecordingError> {
    transcript_within(file, MAX_WORK)
}

fn transcript_within(file: &[u8], max_work: usize) -> Result<TerminalTranscript, RecordingError> {
    let recording = Recording::read(file)?;
    if !recording.metadata.protocol.is_some_and(|protocol| TERMINALS.contains(&protocol)) {
        return Err(RecordingError::NotATerminal);
    }
    let mut blocks = recording.blocks();
    // A browser calls itself one by `browser=1` in its address, and speaks first (agent-redir-ws.js). From a program that leaves
    // it out, keystrokes would be taken for output.
    if blocks.clone().next().is_some_and(|first| first.sender == Sender::Machine) {
        return Err(RecordingError::UnknownSides);
    }
    let mut screen = Screen::new(max_work)?;
    for block in blocks.by_ref() {
        match block.sender {
            Sender::Technician => screen.resize(Size::told_by(&block)),
            Sender::Machine if block.is_binary => screen.show(block.body),
            Sender::Machine => {}
        }
    }
    Ok(screen.finish(blocks.is_complete()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Size {
    cols: u16,
    rows: u16,
}

impl Size {
    /// The only thing that is read of what the technician's side sent. Messages are text, keystrokes are binary.
    fn told_by(block: &Block<'_>) -> Option<Self> {
        if block.is_binary { None } else { serde_json::from_slice(block.body).ok() }
    }
}

/// A terminal, and what has scrolled off it.
struct Screen {
    terminal: Terminal,
    parser: Parser,
    conceal: Conceal,
    /// A character of which more is to come.
    incomplete: Vec<u8>,
    lines: Lines,
    /// None: it was not enough, and nothing more is drawn.
    work_left: Option<usize>,
}

impl Screen {
    fn new(max_work: usize) -> Result<Self, RecordingError> {
        let (columns, rows) = (usize::from(USUAL_SIZE.cols), usize::from(USUAL_SIZE.rows));
        Ok(Self {
            // Fails for a size of zero only.
            terminal: Terminal::new(columns, rows).map_err(|_| RecordingError::NotATerminal)?,
            parser: Parser::new(),
            conceal: Conceal::default(),
            incomplete: Vec::new(),
            lines: Lines::default(),
            work_left: Some(max_work),
        })
    }

    fn resize(&mut self, size: Option<Size>) {
        if let Some(size) = size {
            let cols = usize::from(size.cols.clamp(COLUMNS.0, COLUMNS.1));
            let rows = usize::from(size.rows.clamp(ROWS.0, ROWS.1));
            self.apply(Operation::Resize { cols, rows });
        }
    }

    fn show(&mut self, output: &[u8]) {
        let bytes = [std::mem::take(&mut self.incomplete), output.to_vec()].concat();
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(|character| self.read(character));
            let rest = chunk.invalid();
            if chunks.peek().is_none() && std::str::from_utf8(rest).is_err_and(|fault| fault.error_len().is_none()) {
                self.incomplete = rest.to_vec();
            } else if !rest.is_empty() {
                self.read(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    fn read(&mut self, character: char) {
        if is_invisible(character) {
            return; // Else it would take a place on the screen, which no terminal gives it.
        }
        self.conceal.read(character);
        match self.parser.feed(character) {
            Some(Function::Print(_)) if self.conceal.is_on() => self.apply(Operation::Function(Function::Print(' '))),
            Some(function) => self.apply(Operation::Function(function)),
            None => {}
        }
    }

    fn apply(&mut self, operation: Operation) {
        self.work_left = self.work_left.and_then(|left| left.checked_sub(work(&operation, self.terminal.size())));
        if self.work_left.is_none() {
            return;
        }
        let was_primary = self.terminal.active_screen_kind() == ScreenKind::Primary;
        let row = self.terminal.cursor().row;
        self.terminal.execute_with(operation, &mut self.lines);
        if was_primary && self.terminal.active_screen_kind() == ScreenKind::Alternate {
            self.lines.full_screen_before(row);
        }
    }

    fn finish(mut self, is_complete: bool) -> TerminalTranscript {
        self.lines.add_screen(&self.terminal);
        let is_too_much = self.work_left.is_none();
        if is_too_much {
            self.lines.ends.push(TOO_MUCH.to_owned());
        } else if !is_complete {
            self.lines.ends.push(BREAKS_OFF.to_owned());
        }
        let (text, is_shortened) = self.lines.ends.finish();
        TerminalTranscript { text, is_cut: is_shortened || is_too_much || !is_complete }
    }
}

/// How long an operation takes on a screen of this size, in characters to draw. To clear a cell is cheaper, but never free.
fn work(operation: &Operation, (columns, rows): (usize, usize)) -> usize {
    let (row, screen) = (columns / 8 + 1, columns * rows / 8 + 1);
    let Operation::Function(function) = operation else {
        return screen;
    };
    match function {
        Function::Print(_) | Function::Sgr(_) | Function::Cr | Function::Bs => 1,
        Function::Rep(times) => usize::from(*times).max(1),
        Function::Ed(_)
        | Function::Ris
        | Function::Decaln
        | Function::Il(_)
        | Function::Dl(_)
        | Function::Su(_)
        | Function::Sd(_)
        | Function::Decset(_)
        | Function::Decrst(_) => screen,
        _ => row,
    }
}

/// Takes rows of the screen, and makes lines of them.
#[derive(Default)]
struct Lines {
    ends: Ends,
    /// Rows taken, which is the number of the screen's first row.
    taken: usize,
    /// Numbers of rows before which a full-screen program was open.
    full_screen: BTreeSet<usize>,
    /// A line that goes on in the next row.
    pending: String,
}

impl Lines {
    fn full_screen_before(&mut self, row: usize) {
        self.full_screen.insert(self.taken + row);
    }

    fn add_row(&mut self, row: &Line) {
        if self.pending.is_empty() && self.full_screen.first().is_some_and(|before| *before <= self.taken) {
            self.full_screen = self.full_screen.split_off(&(self.taken + 1));
            self.ends.push(FULL_SCREEN.to_owned());
        }
        self.taken += 1;
        // A wide character takes two cells, the second without a width.
        for cell in row.cells().iter().filter(|cell| cell.width() > 0) {
            let is_drawn = cell.pen().foreground().is_none() || cell.pen().foreground() != cell.pen().background();
            self.pending.push(if is_drawn { cell.char() } else { ' ' });
        }
        if !row.is_wrapped() || self.pending.len() > MAX_LINE_BYTES {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let line: String = std::mem::take(&mut self.pending).chars().filter(|character| is_legible(*character)).collect();
        let line = line.trim_end();
        if !(self.ends.is_empty() && line.ends_with(AGENT_SETUP)) {
            self.ends.push(password::without_length(line));
        }
    }

    /// Everything down to the last row with something on it.
    fn add_screen(&mut self, terminal: &Terminal) {
        let rows: Vec<&Line> = terminal.primary_screen().all_lines().collect();
        let used = rows.iter().rposition(|row| row.chars().any(|character| character != ' ')).map_or(0, |last| last + 1);
        rows[..used].iter().for_each(|row| self.add_row(row));
        if !self.pending.is_empty() {
            self.end_line();
        }
        if !std::mem::take(&mut self.full_screen).is_empty() {
            self.ends.push(FULL_SCREEN.to_owned());
        }
    }
}

impl Observer for Lines {
    type Output = ();

    fn before(&mut self, context: &mut Observation<'_>, operation: &Operation) {
        if *operation == Operation::Function(Function::Ris) {
            self.add_screen(context.terminal());
        }
    }

    fn evicted(&mut self, _: &mut Observation<'_>, row: &Line) {
        self.add_row(row);
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

#[cfg(test)]
mod tests;
