//! Progress of a long command: which step of how many, how long it took, which ones failed.

use std::time::{Duration, Instant};

use anyhow::Result;

/// The steps of one command, announced as they are taken.
pub struct Steps {
    total: usize,
    taken: usize,
    began: Instant,
    failures: Vec<String>,
}

impl Steps {
    /// `total` is how many calls of [`Steps::run`] and [`Steps::run_or_note`] will follow.
    pub fn new(total: usize) -> Self {
        Self { total, taken: 0, began: Instant::now(), failures: Vec::new() }
    }

    /// Takes one step; a failure ends the command.
    pub fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.taken += 1;
        println!("[{}/{}] {name}", self.taken, self.total);
        let began = Instant::now();
        let outcome = step();
        let verdict = if outcome.is_ok() { "done" } else { "FAILED" };
        println!("[{}/{}] {verdict} in {}", self.taken, self.total, seconds(began.elapsed()));
        outcome.map_err(|error| error.context(format!("step '{name}' failed")))
    }

    /// Takes one step; a failure is remembered and the command goes on. `None` when it failed.
    pub fn run_or_note<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        match self.run(name, step) {
            Ok(value) => Some(value),
            Err(error) => {
                eprintln!("{error:#}");
                self.failures.push(name.to_owned());
                None
            }
        }
    }

    /// Counts a step that makes no sense after an earlier failure.
    pub fn skip(&mut self, name: &str, reason: &str) {
        self.taken += 1;
        println!("[{}/{}] {name}: not run, {reason}", self.taken, self.total);
    }

    /// Names of the steps that failed, in order.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Time since the first step.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// "4.2 s", or "3 min 07 s" from a minute on.
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 60 { format!("{:.1} s", duration.as_secs_f64()) } else { format!("{} min {:02} s", whole / 60, whole % 60) }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn durations_read_well() {
        let check = |milliseconds, expected| {
            assert_eq!(seconds(Duration::from_millis(milliseconds)), expected);
        };
        check(0, "0.0 s");
        check(4_240, "4.2 s");
        check(59_900, "59.9 s");
        check(60_000, "1 min 00 s");
        check(187_999, "3 min 07 s");
    }

    #[test]
    fn a_noted_failure_lets_the_rest_run_and_is_named_at_the_end() {
        let mut steps = Steps::new(3);
        assert_eq!(steps.run_or_note("first", || Ok(1)), Some(1));
        assert_eq!(steps.run_or_note::<()>("second", || Err(anyhow!("broken"))), None);
        assert_eq!(steps.run_or_note("third", || Ok(3)), Some(3));
        assert_eq!(steps.failures(), ["second"]);
    }

    #[test]
    fn a_failed_step_names_itself_and_its_cause() {
        let error = Steps::new(1).run::<()>("compile", || Err(anyhow!("no linker"))).unwrap_err();
        assert_eq!(format!("{error:#}"), "step 'compile' failed: no linker");
    }
}
