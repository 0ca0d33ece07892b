//! Reads the verdicts the Rust test harness prints, and sums them up.
//!
//! Must not trust the process's exit code alone: a run of no tests also ends with 0.

use std::fmt;

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed, and checks besides tests that failed.
    pub failed: u64,
    /// Tests marked as ignored, and tests that showed nothing for want of a program.
    pub skipped: u64,
}

impl Counts {
    /// The counts of one line of the form
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
    pub fn of_result_line(line: &str) -> Option<Self> {
        let verdict = line.trim().strip_prefix("test result: ")?;
        let numbers = verdict.strip_prefix("ok. ").or_else(|| verdict.strip_prefix("FAILED. "))?;
        let mut parts = numbers.split("; ");
        let mut next = |label: &str| parts.next()?.strip_suffix(label)?.trim_end().parse::<u64>().ok();
        Some(Self { passed: next("passed")?, failed: next("failed")?, skipped: next("ignored")? })
    }

    /// Adds another test binary's counts.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Of `skipped` tests, which the test harness counts as passed.
    pub fn with_skipped(mut self, skipped: u64) -> Self {
        self.passed = self.passed.saturating_sub(skipped);
        self.skipped += skipped;
        self
    }

    /// Whether the run shows that all is well: something ran, and nothing failed.
    pub fn all_well(self) -> bool {
        self.passed > 0 && self.failed == 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(formatter, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// The name in a line of the form `test store::inbox::twice ... FAILED`.
pub fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.trim_end().strip_suffix(" ... FAILED")
}

/// The name and the reason in a line of the form `skipped test: NAME: REASON`, which a test prints that cannot run here.
pub fn skipped_test(line: &str) -> Option<&str> {
    line.strip_prefix("skipped test: ").map(str::trim_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_read() {
        let check = |line, passed, failed, skipped| {
            let expected = Counts { passed, failed, skipped };
            assert_eq!(Counts::of_result_line(line), Some(expected), "{line}");
        };
        check("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s", 12, 0, 0);
        check("test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 7 filtered out; finished in 61.20s\n", 3, 2, 1);
        check("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", 0, 0, 0);
    }

    #[test]
    fn other_lines_are_not_results() {
        for line in [
            "",
            "running 3 tests",
            "test result: ok.",
            "test result: perhaps. 3 passed; 0 failed; 0 ignored;",
            "test result: ok. many passed; 0 failed; 0 ignored; 0 measured",
            "the test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured",
        ] {
            assert_eq!(Counts::of_result_line(line), None, "{line}");
        }
    }

    #[test]
    fn counts_are_summed_and_printed() {
        let mut sum = Counts::default();
        sum.add(Counts { passed: 2, failed: 0, skipped: 0 });
        assert_eq!(sum.to_string(), "2 passed, 0 failed");
        sum.add(Counts { passed: 1, failed: 1, skipped: 4 });
        assert_eq!(sum.to_string(), "3 passed, 1 failed, 4 skipped");
    }

    #[test]
    fn a_run_of_nothing_is_not_well() {
        assert!(!Counts::default().all_well());
        let one = |failed| Counts { passed: 1, failed, skipped: 0 };
        assert!(one(0).all_well());
        assert!(!one(1).all_well());
    }

    #[test]
    fn tests_that_could_not_run_do_not_count_as_passed() {
        let counts = Counts { passed: 3, failed: 0, skipped: 1 }.with_skipped(2);
        assert_eq!(counts.to_string(), "1 passed, 0 failed, 3 skipped");
        assert!(counts.all_well());
        assert!(!Counts { passed: 2, failed: 0, skipped: 0 }.with_skipped(2).all_well(), "nothing ran");
    }

    #[test]
    fn skipped_tests_are_named() {
        assert_eq!(skipped_test("skipped test: a_session: no npm\n"), Some("a_session: no npm"));
        assert_eq!(skipped_test("test a_session ... ok"), None);
    }

    #[test]
    fn failed_tests_are_named() {
        assert_eq!(failed_test("test store::inbox::twice ... FAILED"), Some("store::inbox::twice"));
        assert_eq!(failed_test("test store::inbox::twice ... ok"), None);
        assert_eq!(failed_test("running 1 test"), None);
    }
}
