//! Signals to processes the harness started, by their id.
//!
//! Must never look a process up by its name: a developer's own browser or server runs on the same machine.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::logs::Logs;

/// What to tell a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C (SIGINT).
    Interrupt,
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
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// Sends a signal to one process; fails when there is no such process any more.
pub fn send(id: u32, signal: Signal) -> Result<()> {
    send_to(&id.to_string(), signal)
}

/// Sends a signal to every process of a group, as a terminal does with Ctrl-C; its id is that of the process it was made for.
pub fn send_to_group(id: u32, signal: Signal) -> Result<()> {
    send_to(&format!("-{id}"), signal)
}

fn send_to(whom: &str, signal: Signal) -> Result<()> {
    // The shell's own `kill`, because the standard library has none and a bare Debian has no other.
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$0\" -- \"$1\"", signal.name(), whom])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot start sh")?;
    ensure!(status.success(), "process {whom} cannot be signalled: it has ended");
    Ok(())
}

/// Runs a program until our end of its standard input closes, whatever we die of; then ends the whole process group. Tells the program's id first.
/// The program's own standard input is the same one: it stays open as long as we do.
const LEASH: &str =
    r#"exec 3<&0; "$0" "$@" <&3 3<&- & echo "leash: $!"; exec >/dev/null 2>&1 3<&-; cat; kill -s KILL $!; wait; kill -s KILL 0"#;

/// The shell that holds a program on the leash, in a process group of its own.
pub fn leashed(program: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", LEASH]).arg(program).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A program that ends with us, and with it everything it started.
#[derive(Debug)]
pub struct Leashed {
    leash: Child,
    logs: Logs,
    program: u32,
}

impl Leashed {
    /// Starts a command of [`leashed`]; its output goes to `logs`.
    pub async fn start(mut command: Command, logs: &Logs) -> Result<Self> {
        let mark = logs.mark();
        let mut leash = command.spawn().context("cannot start sh")?;
        if let Some(output) = leash.stdout.take() {
            logs.follow(output);
        }
        if let Some(errors) = leash.stderr.take() {
            logs.follow(errors);
        }
        let mut leashed = Self { leash, logs: logs.clone(), program: 0 };
        let line = leashed.logs.wait_for_after(mark, "^leash: [0-9]+$").await?;
        leashed.program = line.trim_start_matches("leash: ").parse().with_context(|| line.clone())?;
        Ok(leashed)
    }

    /// The program's own id, for signals.
    pub const fn id(&self) -> u32 {
        self.program
    }
}

impl Drop for Leashed {
    /// Kills the program at once and returns when it is gone.
    fn drop(&mut self) {
        drop(self.leash.stdin.take());
        if let Err(error) = self.leash.wait() {
            eprintln!("cannot wait for a program's end: {error}");
        }
    }
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_leash_ends_the_program_and_what_it_started() {
        // The grandchild holds the pipe open: its end shows that both are gone.
        let mut leash = leashed(Path::new("/bin/sh")).args(["-c", "echo begun; sh -c 'sleep 600' & wait"]).spawn().unwrap();
        let mut output = leash.stdout.take().unwrap();
        let mut shown = String::new();
        while !shown.contains("begun\n") {
            let mut byte = [0];
            output.read_exact(&mut byte).unwrap();
            shown.push(char::from(byte[0]));
        }
        drop(leash.stdin.take());
        output.read_to_end(&mut Vec::new()).unwrap();
        assert!(!leash.wait().unwrap().success(), "the leash itself ends by the signal");
    }

    #[tokio::test]
    async fn a_leashed_program_is_known_by_its_id() {
        let logs = Logs::new();
        let mut command = leashed(Path::new("/bin/sh"));
        command.args(["-c", "echo own $$; sleep 600"]);
        let program = Leashed::start(command, &logs).await.unwrap();
        assert_eq!(logs.wait_for("^own ").await.unwrap(), format!("own {}", program.id()));
        let id = program.id();
        drop(program);
        assert!(send(id, Signal::Continue).is_err(), "it is gone");
    }
}
