//! The printed table: what was measured, against what, and whether it is enough.

use std::time::Duration;

/// One line.
pub struct Row {
    /// What was measured.
    pub what: String,
    /// How it came out.
    pub figure: String,
    /// What it is compared with, and how that came out.
    pub peer: String,
    /// Figure by peer.
    pub ratio: String,
    /// What is wanted.
    pub target: String,
    /// Whether it is reached.
    pub verdict: Verdict,
}

/// Whether a target is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Reached,
    /// It is not.
    Missed,
    /// There is none: the line explains another.
    NoTarget,
}

impl Verdict {
    /// Of a target that either holds or not.
    pub const fn of(holds: bool) -> Self {
        if holds { Self::Reached } else { Self::Missed }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Reached => "ok",
            Self::Missed => "MISSED",
            Self::NoTarget => "",
        }
    }
}

impl Row {
    /// A line without peer or target; each can be given afterwards.
    pub fn new(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            figure: figure.into(),
            peer: String::new(),
            ratio: String::new(),
            target: String::new(),
            verdict: Verdict::NoTarget,
        }
    }

    /// Compared with this.
    #[must_use]
    pub fn against(mut self, peer: impl Into<String>, ratio: f64) -> Self {
        self.peer = peer.into();
        self.ratio = format!("{:.0} %", ratio * 100.0);
        self
    }

    /// Wanted is this, and it is reached or not.
    #[must_use]
    pub fn wanted(mut self, target: impl Into<String>, reached: bool) -> Self {
        self.target = target.into();
        self.verdict = Verdict::of(reached);
        self
    }

    fn cells(&self) -> [&str; 6] {
        [&self.what, &self.figure, &self.peer, &self.ratio, &self.target, self.verdict.word()]
    }
}

/// Prints the lines in columns.
pub fn print(rows: &[Row]) {
    let head = ["", "figure", "peer", "ratio", "target", ""];
    let lines: Vec<[&str; 6]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 6] = std::array::from_fn(width);
    for cells in &lines {
        let line: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", line.join("  ").trim_end());
    }
}

/// The middle one; of nothing, zero.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// `12,345 unit/s`.
pub fn rate(per_second: f64, unit: &str) -> String {
    let mut digits = format!("{per_second:.0}");
    let mut end = digits.len();
    while end > 3 {
        end -= 3;
        digits.insert(end, ',');
    }
    format!("{digits} {unit}/s")
}

/// `1.2 ms`.
pub fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}
