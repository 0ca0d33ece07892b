//! Runs other programs: says which, lets their output through, bounds their time.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The cargo that runs us, in the repository's root, without standard input.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(Stdio::null());
    command
}

/// Prints the command, runs it with its output passed through, and fails unless it ends with 0.
pub fn run(command: &mut Command) -> Result<()> {
    println!("  $ {}", line(command));
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("'{}' ended with {status}", line(command));
    }
    Ok(())
}

/// A program that cargo has built.
pub fn built(root: &Path, profile: &str, name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    root.join(target).join(profile).join(name)
}

/// Whether a program of this name stands in a directory of PATH.
pub fn on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The command as a person would type it; the program without its directories.
pub fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(command.get_program());
    std::iter::once(name).chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Ends a child and everything it started when its time is over. Dropping it in time calls the deadline off.
pub struct Deadline {
    call_off: Option<Sender<()>>,
    watcher: Option<JoinHandle<bool>>,
}

impl Deadline {
    /// `limit` from now, `child` and its descendants are killed.
    pub fn set(child: &Child, limit: Duration) -> Self {
        let (call_off, called_off) = mpsc::channel();
        let id = child.id();
        let watcher = std::thread::spawn(move || {
            let late = called_off.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if late {
                kill_with_descendants(id);
            }
            late
        });
        Self { call_off: Some(call_off), watcher: Some(watcher) }
    }

    /// Calls the deadline off; true if it had already passed.
    pub fn passed(mut self) -> bool {
        self.stop()
    }

    fn stop(&mut self) -> bool {
        drop(self.call_off.take());
        self.watcher.take().is_some_and(|watcher| watcher.join().unwrap_or(false))
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Kills one process and all its descendants, each by its id.
fn kill_with_descendants(id: u32) {
    let ids = descendants(id, &parents());
    let mut kill = Command::new("sh");
    // The shell's own `kill`: a bare Debian has no other.
    kill.args(["-c", "kill -KILL \"$@\" 2>/dev/null", "sh"]).args(ids.iter().map(u32::to_string));
    if let Err(error) = kill.status() {
        eprintln!("cannot end processes {ids:?}: {error}");
    }
}

/// `id` and everything below it, given each process's parent.
fn descendants(id: u32, parents: &HashMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![id];
    let mut known = HashSet::from([id]);
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|&(&child, &its_parent)| its_parent == parent && known.insert(child)).map(|(&child, _)| child));
        next += 1;
    }
    found
}

/// Each running process's parent, by id (proc(5), /proc/PID/stat).
fn parents() -> HashMap<u32, u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            Some((id, parent_in_stat(&stat)?))
        })
        .collect()
}

/// The second field after the parenthesised name, which may itself hold blanks and parentheses.
fn parent_in_stat(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn commands_are_shown_without_directories() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--workspace"]);
        assert_eq!(line(&command), "cargo test --workspace");
    }

    #[test]
    fn a_failing_command_is_an_error_with_its_line() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3") && error.contains('3'), "{error}");
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(on_path("sh"));
        assert!(!on_path("a-program-that-nobody-has"));
    }

    #[test]
    fn the_parent_is_read_behind_a_hostile_name() {
        assert_eq!(parent_in_stat("71 (a) b (c) S 42 71 71 0 -1"), Some(42));
        assert_eq!(parent_in_stat("broken"), None);
    }

    #[test]
    fn descendants_are_found_at_every_depth() {
        let parents = HashMap::from([(2, 1), (3, 2), (4, 3), (5, 1), (9, 8)]);
        let mut found = descendants(2, &parents);
        found.sort_unstable();
        assert_eq!(found, [2, 3, 4]);
    }

    #[test]
    fn a_deadline_ends_the_child_and_what_it_started() {
        // The grandchild holds the pipe open: its end shows that both are gone.
        let mut child = Command::new("sh").args(["-c", "sh -c 'sleep 600' & wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let deadline = Deadline::set(&child, Duration::from_millis(300));
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        child.wait().unwrap();
        assert!(deadline.passed());
    }

    #[test]
    fn a_deadline_called_off_harms_nobody() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let deadline = Deadline::set(&child, Duration::from_mins(10));
        assert!(!deadline.passed());
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
}
