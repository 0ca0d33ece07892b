//! `cargo xtask test`: every check and every test; what CI runs.
//!
//! All steps are taken even when one fails, so that one run shows everything that is wrong. The last line holds the
//! counts: tests that passed and failed, a failed check besides tests counting as one failure.
//!
//! Must not end well when nothing ran.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::counts::{Counts, failed_test, skipped_test};
use crate::steps::{Steps, seconds};
use crate::{commands, extension, setup, wasm};

/// All tests together; a run that takes longer hangs.
const TEST_LIMIT: Duration = Duration::from_mins(45);

/// Rust that compiles to WebAssembly and to nothing else.
const WASM_PACKAGES: [&str; 3] = ["deskbridge-shared", "deskbridge-zendesk-app", "deskbridge-extension"];

/// The wasm shell has no native tests and would only be compiled empty.
const NATIVE_WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "deskbridge-zendesk-app"];

/// How much to run.
#[derive(Args)]
pub struct Options {
    /// Only the tests: no formatting and lint checks, nothing installed
    #[arg(long)]
    fast: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// `cargo xtask test`. Says itself what failed, because its counts must come last.
pub fn run(root: &Path, options: &Options) -> ExitCode {
    let mut steps = Steps::new(if options.fast { 5 } else { 15 });
    if !options.fast {
        steps.run_or_note("Rust target for the panel", setup::wasm_target);
        steps.run_or_note("rustfmt and clippy", setup::lints);
        steps.run_or_note("Browsers and PostgreSQL", setup::debian_packages);
        steps.run_or_note("Request Tracker", setup::request_tracker);
        steps.run_or_note("geckodriver", || setup::geckodriver(root));
        steps.run_or_note("MeshCentral", || setup::meshcentral(root));
        if !steps.failures().is_empty() {
            return close(&steps, &Outcome::default());
        }
    }
    let panel = steps.run_or_note("Panel (WebAssembly)", || wasm::build_panel(root, false));
    let extension = steps.run_or_note("Browser extension", || extension::build(root));
    if !options.fast {
        checks(root, &mut steps);
    }
    let built = steps.run_or_note("Server and tests, compiled", || compile(root));
    let postgres = if panel.and(extension).and(built).is_some() {
        steps.run_or_note("PostgreSQL", || Postgres::start(root))
    } else {
        steps.skip("PostgreSQL", "the build failed");
        None
    };
    let mut outcome = Outcome::default();
    if let Some(postgres) = &postgres {
        steps.run_or_note("Tests", || {
            outcome = tests(root, postgres, options.filter.as_deref())?;
            outcome.verdict()
        });
    } else {
        steps.skip("Tests", "what they need is not there");
    }
    drop(postgres);
    close(&steps, &outcome)
}

fn checks(root: &Path, steps: &mut Steps) {
    steps.run_or_note("Formatting", || commands::run(commands::cargo(root).args(["fmt", "--all", "--check"])));
    steps.run_or_note("Lints", || {
        let mut clippy = commands::cargo(root);
        clippy.arg("clippy").args(NATIVE_WORKSPACE).arg("--all-targets");
        commands::run(clippy.args(["--", "--deny", "warnings"]))
    });
    steps.run_or_note("Lints of the WebAssembly side", || {
        let mut clippy = commands::cargo(root);
        clippy.args(["clippy", "--target", setup::WASM_TARGET]);
        for package in WASM_PACKAGES {
            clippy.args(["--package", package]);
        }
        commands::run(clippy.args(["--", "--deny", "warnings"]))
    });
    steps.run_or_note("Lints of the browser extension and the JavaScript", || extension::lint(root));
}

/// Programs and tests in one go, so that both come from the same set of features. The tests find the server beside
/// themselves, in target/debug.
fn compile(root: &Path) -> Result<()> {
    let mut cargo = commands::cargo(root);
    cargo.arg("build").args(NATIVE_WORKSPACE).args(["--bins", "--tests"]);
    commands::run(&mut cargo)
}

/// What the tests said.
#[derive(Default)]
struct Outcome {
    counts: Counts,
    failed: Vec<String>,
    /// Tests that said they cannot run here, with the reason.
    skipped: Vec<String>,
    /// Why the run as a whole is no good, whatever the counts say.
    complaint: Option<String>,
}

impl Outcome {
    /// All counts, tests that could not run among the skipped ones.
    fn counts(&self) -> Counts {
        self.counts.with_skipped(u64::try_from(self.skipped.len()).unwrap_or(u64::MAX))
    }

    fn verdict(&self) -> Result<()> {
        if let Some(complaint) = &self.complaint {
            bail!("{complaint}");
        }
        ensure!(self.counts.failed == 0, "{} tests failed", self.counts.failed);
        ensure!(self.counts().all_well(), "no test ran");
        Ok(())
    }
}

fn tests(root: &Path, postgres: &Postgres, filter: Option<&str>) -> Result<Outcome> {
    let mut cargo = commands::cargo(root);
    cargo
        .arg("test")
        .args(NATIVE_WORKSPACE)
        .arg("--no-fail-fast")
        .args(filter)
        .env(setup::POSTGRES_VARIABLE, &postgres.url)
        .stdout(Stdio::piped());
    println!("  $ {}", commands::line(&cargo));
    let mut child = cargo.spawn().context("cannot start cargo")?;
    let deadline = commands::Deadline::set(&child, TEST_LIMIT);
    let mut outcome = Outcome::default();
    if let Some(output) = child.stdout.take() {
        read_output(BufReader::new(output), std::io::stdout(), &mut outcome)?;
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if deadline.passed() {
        outcome.complaint = Some(format!("the tests did not end within {}", seconds(TEST_LIMIT)));
    } else if !status.success() && outcome.counts.failed == 0 {
        outcome.complaint = Some(format!("no test failed, but cargo test ended with {status}: a test program died or was not built"));
    }
    Ok(outcome)
}

/// Passes every line on and counts what it says. A test may print anything, so lines need not be UTF-8.
fn read_output(mut output: impl BufRead, mut to: impl Write, outcome: &mut Outcome) -> Result<()> {
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        let text = String::from_utf8_lossy(&line);
        if let Some(counts) = Counts::of_result_line(&text) {
            outcome.counts.add(counts);
        } else if let Some(name) = failed_test(&text) {
            outcome.failed.push(name.to_owned());
        } else if let Some(test) = skipped_test(&text) {
            outcome.skipped.push(test.to_owned());
        }
        line.clear();
    }
    Ok(())
}

fn close(steps: &Steps, outcome: &Outcome) -> ExitCode {
    let counts = closing_counts(steps.failures(), outcome);
    println!();
    for step in steps.failures() {
        println!("failed step: {step}");
    }
    for test in &outcome.skipped {
        println!("skipped test: {test}");
    }
    for name in &outcome.failed {
        println!("failed test: {name}");
    }
    println!("All steps took {}.", seconds(steps.elapsed()));
    println!("{counts}");
    if counts.all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The tests' counts; each failed step adds one failure, unless it is the tests' own and they are counted already.
fn closing_counts(failed_steps: &[String], outcome: &Outcome) -> Counts {
    let mut counts = outcome.counts();
    let counted_already = u64::from(outcome.complaint.is_none() && counts.failed > 0);
    counts.failed += u64::try_from(failed_steps.len()).unwrap_or(u64::MAX) - counted_already;
    counts
}

/// A PostgreSQL server of its own for this run, held by a helper program which ends with us.
struct Postgres {
    url: String,
    holder: Option<(Child, ChildStdin)>,
}

impl Postgres {
    /// Uses the server the environment names, else starts one.
    fn start(root: &Path) -> Result<Self> {
        if let Ok(url) = std::env::var(setup::POSTGRES_VARIABLE) {
            println!("  the one of {}", setup::POSTGRES_VARIABLE);
            return Ok(Self { url, holder: None });
        }
        let mut child = Command::new(commands::built(root, "debug", "test_postgres"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start target/debug/test_postgres")?;
        let input = child.stdin.take().context("the helper has no input")?;
        let output = child.stdout.take().context("the helper has no output")?;
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url)?;
        let url = url.trim().to_owned();
        let holder = Some((child, input));
        ensure!(!url.is_empty(), "PostgreSQL did not start");
        Ok(Self { url, holder })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some((mut child, input)) = self.holder.take() {
            // The end of its input tells the holder to stop the server and to remove its files.
            drop(input);
            if let Err(error) = child.wait() {
                eprintln!("cannot wait for PostgreSQL's end: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of(output: &[u8]) -> (Outcome, Vec<u8>) {
        let mut outcome = Outcome::default();
        let mut shown = Vec::new();
        read_output(output, &mut shown, &mut outcome).unwrap();
        (outcome, shown)
    }

    #[test]
    fn output_is_passed_on_whole_and_counted() {
        let output = b"running 2 tests\ntest a ... ok\ntest b ... FAILED\n\xff not UTF-8\n\
            test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
            test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        let (outcome, shown) = outcome_of(output);
        assert_eq!(shown, output);
        assert_eq!(outcome.failed, ["b"]);
        assert_eq!(outcome.counts.to_string(), "6 passed, 1 failed, 2 skipped");
        assert!(outcome.verdict().is_err());
    }

    #[test]
    fn tests_that_could_not_run_are_counted_apart() {
        let output = b"\nskipped test: a: no npm\ntest a ... ok\ntest b ... ok\n\
            test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        let (outcome, _) = outcome_of(output);
        assert_eq!(outcome.skipped, ["a: no npm"]);
        assert_eq!(closing_counts(&[], &outcome).to_string(), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn a_run_without_tests_fails() {
        let (outcome, _) = outcome_of(b"running 0 tests\n");
        assert_eq!(outcome.verdict().unwrap_err().to_string(), "no test ran");
    }

    #[test]
    fn the_closing_line_counts_failed_steps_once() {
        let check = |steps: &[&str], failed, complaint: Option<&str>, expected: &str| {
            let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
            let outcome =
                Outcome { counts: Counts { passed: 4, failed, skipped: 0 }, complaint: complaint.map(str::to_owned), ..Outcome::default() };
            assert_eq!(closing_counts(&steps, &outcome).to_string(), expected);
        };
        check(&[], 0, None, "4 passed, 0 failed");
        check(&["Formatting"], 0, None, "4 passed, 1 failed");
        check(&["Tests"], 2, None, "4 passed, 2 failed");
        check(&["Lints", "Tests"], 2, None, "4 passed, 3 failed");
        check(&["Tests"], 0, Some("a test program died"), "4 passed, 1 failed");
        check(&["Tests"], 2, Some("did not end"), "4 passed, 3 failed");
    }
}
