//! What a started program prints: kept, searched, and awaited as an event.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use regex::Regex;
use tokio::sync::watch;

/// More than any test prints; a program that runs wild must not fill the memory.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// How long a line may let itself be awaited before the test fails.
const PATIENCE: Duration = Duration::from_mins(2);

/// The output of one program, across its restarts. Clones share it.
#[derive(Clone, Debug)]
pub struct Logs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    text: Mutex<String>,
    copy: Mutex<Option<File>>,
    streams: watch::Sender<Streams>,
}

/// Changes with every line and every stream's end: what waiters wake for.
#[derive(Clone, Copy, Debug, Default)]
struct Streams {
    bytes: usize,
    open: usize,
}

impl Default for Logs {
    fn default() -> Self {
        Self::new()
    }
}

impl Logs {
    /// Empty logs that follow nothing yet.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                text: Mutex::new(String::new()),
                copy: Mutex::new(None),
                streams: watch::Sender::new(Streams::default()),
            }),
        }
    }

    /// From now on, lines are also appended to this file, for people to read.
    pub fn copy_to(&self, file: File) {
        *self.shared.copy.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    /// Keeps what a stream carries until its end. In a thread of its own, so that a test which blocks its runtime does
    /// not block the program behind a full pipe.
    pub fn follow(&self, stream: impl Read + Send + 'static) {
        self.shared.streams.send_modify(|streams| streams.open += 1);
        let logs = self.clone();
        std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            // An unreadable pipe is an ended one.
            while stream.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
                logs.add(&String::from_utf8_lossy(&line));
                line.clear();
            }
            logs.shared.streams.send_modify(|streams| streams.open -= 1);
        });
    }

    fn add(&self, line: &str) {
        if let Some(copy) = &mut *self.shared.copy.lock().unwrap_or_else(PoisonError::into_inner) {
            // A full disk must not end the program that logs.
            copy.write_all(line.as_bytes()).ok();
        }
        let bytes = {
            let mut text = self.lock();
            if text.len() + line.len() <= MOST_BYTES {
                text.push_str(line);
            }
            text.len()
        };
        self.shared.streams.send_modify(|streams| streams.bytes = bytes);
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.shared.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.lock().clone()
    }

    /// Where the text ends now, for [`Logs::wait_for_after`].
    pub fn mark(&self) -> usize {
        self.lock().len()
    }

    /// The lines so far that a regular expression matches.
    pub fn lines_matching(&self, pattern: &str) -> Result<Vec<String>> {
        let pattern = Regex::new(pattern).context("not a regular expression")?;
        let text = self.lock();
        Ok(text.lines().filter(|line| pattern.is_match(line)).map(str::to_owned).collect())
    }

    /// The first line that a regular expression matches, now or within two minutes. Fails at once when the program has ended
    /// without it.
    pub async fn wait_for(&self, pattern: &str) -> Result<String> {
        self.wait_for_after(0, pattern).await
    }

    /// The same among the lines behind a [`Logs::mark`].
    pub async fn wait_for_after(&self, mark: usize, pattern: &str) -> Result<String> {
        let regex = Regex::new(pattern).context("not a regular expression")?;
        let mut streams = self.shared.streams.subscribe();
        let found = tokio::time::timeout(PATIENCE, async {
            let mut searched = mark;
            loop {
                let open = streams.borrow_and_update().open;
                let found = {
                    let text = self.lock();
                    let found = text[searched..].lines().find(|line| regex.is_match(line)).map(str::to_owned);
                    searched = text.len();
                    found
                };
                if found.is_some() || open == 0 || streams.changed().await.is_err() {
                    return found;
                }
            }
        })
        .await;
        match found {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!("the program ended without a line like '{pattern}':\n{}", self.tail()),
            Err(_) => bail!("no line like '{pattern}' within {PATIENCE:?}:\n{}", self.tail()),
        }
    }

    /// The last lines, for a failure's message.
    pub fn tail(&self) -> String {
        const LINES: usize = 60;
        let text = self.lock();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::io::pipe;

    use super::*;

    #[tokio::test]
    async fn a_line_is_awaited_and_kept() {
        let (reader, mut writer) = pipe().unwrap();
        let logs = Logs::new();
        logs.follow(reader);
        let waiting = tokio::spawn({
            let logs = logs.clone();
            async move { logs.wait_for("port=[0-9]+").await }
        });
        writer.write_all(b"starting\nlistening port=41\n").unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), "listening port=41");
        let mark = logs.mark();
        writer.write_all(b"listening port=42\nbroken \xff\n").unwrap();
        assert_eq!(logs.wait_for_after(mark, "port").await.unwrap(), "listening port=42");
        drop(writer);
        assert!(logs.wait_for("broken").await.unwrap().starts_with("broken "));
        assert_eq!(logs.lines_matching("^listening").unwrap().len(), 2);
    }

    #[tokio::test]
    async fn the_programs_end_is_told_from_waiting() {
        let (reader, mut writer) = pipe().unwrap();
        let logs = Logs::new();
        logs.follow(reader);
        writer.write_all(b"the reason\n").unwrap();
        drop(writer);
        let error = logs.wait_for("never").await.unwrap_err().to_string();
        assert!(error.contains("ended") && error.contains("the reason"), "{error}");
    }
}
