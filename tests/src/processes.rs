//! Signals to processes the harness started, by their id.
//!
//! Must never look a process up by its name: a developer's own browser or server runs on the same machine.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What to tell a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// End in order (SIGTERM).
    Terminate,
    /// End at once (SIGKILL).
    Kill,
    /// Stop running, but stay (SIGSTOP).
    Stop,
    /// Run again (SIGCONT).
    Continue,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// Sends a signal to one process; fails when there is no such process any more.
pub fn send(id: u32, signal: Signal) -> Result<()> {
    // The shell's own `kill`, because the standard library has none and a bare Debian has no other.
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\"", signal.name(), &id.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot start sh")?;
    ensure!(status.success(), "process {id} cannot be signalled: it has ended");
    Ok(())
}

/// A program's place beside the running one: tests lie in `target/PROFILE/deps`, programs in `target/PROFILE`.
pub fn program_beside_us(name: &str) -> Result<std::path::PathBuf> {
    let own = std::env::current_exe().context("cannot find the running program")?;
    let mut directory = own.parent().context("the running program has no directory")?;
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(directory);
    }
    let program = directory.join(name);
    ensure!(program.is_file(), "{} is not there: build it first (cargo build --bin {name}, or cargo xtask test)", program.display());
    Ok(program)
}
