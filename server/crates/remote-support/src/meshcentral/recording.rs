//! Recordings that MeshCentral's relay keeps of its sessions (`recordingEntry` in meshrelay.js, read in version 1.1.55).
//!
//! Two forms: `.mcrec`, blocks of what each side sent ([`transcript()`] reads those of terminals), and `.txt`, the messages of a chat
//! ([`chat()`]). Both come from outside, can end anywhere (the server was killed) and hold whatever the two sides chose to send. Must do no
//! I/O. A recording of [`MAX_BYTES`] takes up to seconds to read, so not on a thread that serves requests.

mod chat;
mod legible;
#[cfg(test)]
mod testing;
mod transcript;

use serde::Deserialize;

pub use chat::{ChatLine, chat};
pub use transcript::transcript;

/// What is read of a recording, and need be fetched of it. Fast typing and the answers to it take 50 kB a minute (full_screen.mcrec): at
/// that rate this is eleven hours.
pub const MAX_BYTES: usize = 32 * 1024 * 1024;

const HEADER_BYTES: usize = 16;
/// The metadata are ten short fields.
const MAX_METADATA_BYTES: usize = 64 * 1024;
const MAGIC: &str = "MeshCentralRelaySession";

/// Why there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// It does not begin as a recording of the relay does.
    #[error("this is not a recording of MeshCentral's relay")]
    NotARecording,
    /// The session was of another kind.
    #[error("this is not the recording of a terminal")]
    NotATerminal,
    /// Keystrokes cannot be told from what the terminal showed.
    #[error("the recording does not tell which side sent what")]
    UnknownSides,
}

/// Who sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The browser or the program of whoever opened the session.
    Technician,
    /// The machine, or the person at it.
    Machine,
}

/// What a recording says about its session. Everything but the protocol is as MeshCentral wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    magic: String,
    /// Account that opened the session.
    #[serde(rename = "userid")]
    pub user_id: Option<String>,
    /// Its name.
    #[serde(rename = "username")]
    pub user_name: Option<String>,
    /// Chosen by the technician's browser.
    #[serde(rename = "sessionid")]
    pub session_id: Option<String>,
    /// The machine.
    #[serde(rename = "nodeid")]
    pub node_id: Option<String>,
    /// Its name.
    #[serde(rename = "devicename")]
    pub device_name: Option<String>,
    /// 1 terminal, 2 desktop, 5 files, 6 PowerShell, 8 and 9 both as the person at the machine; `None` for a chat.
    pub protocol: Option<i64>,
}

impl Metadata {
    fn read(text: &[u8]) -> Result<Self, RecordingError> {
        let metadata: Option<Self> = (text.len() <= MAX_METADATA_BYTES).then(|| serde_json::from_slice(text).ok()).flatten();
        metadata.filter(|metadata| metadata.magic == MAGIC).ok_or(RecordingError::NotARecording)
    }
}

/// A `.mcrec`.
#[derive(Clone, Debug)]
pub struct Recording<'a> {
    /// About its session.
    pub metadata: Metadata,
    /// Unix ms of the server's clock.
    pub started_at: i64,
    blocks: Blocks<'a>,
}

impl<'a> Recording<'a> {
    /// Reads the beginning.
    ///
    /// # Errors
    /// [`RecordingError::NotARecording`].
    pub fn read(file: &'a [u8]) -> Result<Self, RecordingError> {
        let mut rest = file.get(..MAX_BYTES).unwrap_or(file);
        let first = RawBlock::take(&mut rest).filter(|first| first.kind == RawBlock::START).ok_or(RecordingError::NotARecording)?;
        Ok(Self { metadata: Metadata::read(first.body)?, started_at: first.at, blocks: Blocks { rest, is_complete: false } })
    }

    /// What the sides sent, in order.
    pub fn blocks(&self) -> Blocks<'a> {
        self.blocks.clone()
    }
}

/// Something that one side sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Which side.
    pub sender: Sender,
    /// Else it is text: a message about the session, not of it.
    pub is_binary: bool,
    /// Unix ms of the server's clock.
    pub at: i64,
    /// What was sent. The last one of a recording that breaks off may be incomplete.
    pub body: &'a [u8],
}

/// The blocks of a recording.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    rest: &'a [u8],
    is_complete: bool,
}

impl Blocks<'_> {
    /// Whether the end that the server writes was reached. Else the recording breaks off where the blocks end.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        while let Some(block) = RawBlock::take(&mut self.rest) {
            match block.kind {
                RawBlock::DATA => {
                    let sender = if block.flags & RawBlock::FROM_BROWSER == 0 { Sender::Machine } else { Sender::Technician };
                    return Some(Block { sender, is_binary: block.flags & RawBlock::BINARY != 0, at: block.at, body: block.body });
                }
                RawBlock::END => (self.rest, self.is_complete) = (&[], true),
                // 4 is an index of pictures; more kinds may come.
                _ => {}
            }
        }
        None
    }
}

struct RawBlock<'a> {
    kind: u16,
    flags: u16,
    at: i64,
    body: &'a [u8],
}

impl<'a> RawBlock<'a> {
    const START: u16 = 1;
    const DATA: u16 = 2;
    const END: u16 = 3;

    const BINARY: u16 = 1;
    const FROM_BROWSER: u16 = 2;

    /// Big-endian: kind, flags, length (signed), two unused bytes, six of time; then the body.
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let (header, behind) = rest.split_first_chunk::<HEADER_BYTES>()?;
        let [k0, k1, f0, f1, l0, l1, l2, l3, _, _, t0, t1, t2, t3, t4, t5] = *header;
        let length = usize::try_from(i32::from_be_bytes([l0, l1, l2, l3])).ok()?;
        let (body, behind) = behind.split_at(length.min(behind.len()));
        *rest = behind;
        Some(Self {
            kind: u16::from_be_bytes([k0, k1]),
            flags: u16::from_be_bytes([f0, f1]),
            at: i64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]),
            body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{RecordingWriter, SAMPLE};
    use super::*;
    use proptest::prelude::*;

    /// All blocks, and whether the end was reached.
    fn blocks(file: &[u8]) -> Result<(Vec<Block<'_>>, bool), RecordingError> {
        let mut blocks = Recording::read(file)?.blocks();
        let all = blocks.by_ref().collect();
        Ok((all, blocks.is_complete()))
    }

    #[test]
    fn a_real_recording() {
        let recording = Recording::read(SAMPLE).unwrap();
        assert_eq!(recording.started_at, 1_796_006_393_805);
        let Metadata { user_id, user_name, session_id, node_id, device_name, protocol, .. } = recording.metadata;
        assert_eq!(user_id.as_deref(), Some("user//service"));
        assert_eq!(user_name.as_deref(), Some("service"));
        assert_eq!(session_id.as_deref(), Some("93p82pwss8r"));
        assert_eq!(node_id.as_deref(), Some("node//Till3"));
        assert_eq!(device_name.as_deref(), Some("till-3"));
        assert_eq!(protocol, Some(1));

        let (blocks, is_complete) = blocks(SAMPLE).unwrap();
        assert!(is_complete);
        let options = Block {
            sender: Sender::Technician,
            is_binary: false,
            at: 1_796_006_393_808,
            body: br#"{"cols":131,"rows":33,"type":"options"}"#,
        };
        assert_eq!(blocks[0], options);
        let keystroke = Block { sender: Sender::Technician, is_binary: true, at: 1_796_006_395_338, body: b"e" };
        assert!(blocks.contains(&keystroke));
        let echo = Block { sender: Sender::Machine, is_binary: true, at: 1_796_006_395_339, body: b"e" };
        assert!(blocks.contains(&echo));
    }

    #[test]
    fn what_is_no_recording() {
        let metadata = |text: &str| RecordingWriter::raw(1, 0, text.as_bytes());
        let long = format!(r#"{{"magic":"{MAGIC}","username":"{}"}}"#, "a".repeat(MAX_METADATA_BYTES));
        let table = [
            ("nothing", Vec::new()),
            ("a page that asks to sign in", b"<!DOCTYPE html><html>".to_vec()),
            ("half a header", SAMPLE[..HEADER_BYTES - 1].to_vec()),
            ("half of the metadata", SAMPLE[..100].to_vec()),
            ("data first", RecordingWriter::raw(2, 1, b"x")),
            ("metadata as data", [RecordingWriter::raw(2, 0, &RecordingWriter::new().file[HEADER_BYTES..]), SAMPLE.to_vec()].concat()),
            ("other JSON", metadata("{}")),
            ("another program's", metadata(r#"{"magic":"Another","ver":1}"#)),
            ("a list", metadata("[1]")),
            ("metadata without end", metadata(&long)),
            ("a negative length", [&[0, 1, 0, 0, 0xff, 0xff, 0xff, 0xff][..], &SAMPLE[8..]].concat()),
        ];
        for (name, file) in table {
            assert_eq!(blocks(&file).err(), Some(RecordingError::NotARecording), "{name}");
        }
    }

    #[test]
    fn recordings_that_break_off() {
        let start = RecordingWriter::new().file;
        let shown = RecordingWriter::raw(2, 1, b"shown");
        let with_length = |length: i32| {
            let mut block = shown.clone();
            block[4..8].copy_from_slice(&length.to_be_bytes());
            block
        };
        let index = RecordingWriter::raw(4, 0, b"{}");
        let end = RecordingWriter::raw(3, 0, b"MeshCentralMCREC");
        let swallowed = [b"shown", end.as_slice()].concat();
        let table: [(_, Vec<u8>, &[&[u8]], _); 8] = [
            ("complete", [&shown[..], &end].concat(), &[b"shown"], true),
            ("nothing but the start", vec![], &[], false),
            ("no end", shown.clone(), &[b"shown"], false),
            ("within a header", [&shown[..], &shown[..7]].concat(), &[b"shown"], false),
            ("within a body", [&shown[..], &shown[..18]].concat(), &[b"shown", b"sh"], false),
            ("longer than the file", [with_length(i32::MAX), end.clone()].concat(), &[&swallowed], false),
            ("a negative length", [&shown[..], &with_length(-1), &end].concat(), &[b"shown"], false),
            ("with an index, and more behind the end", [&shown[..], &index, &end, &shown].concat(), &[b"shown"], true),
        ];
        for (name, parts, bodies, is_complete) in table {
            let file = [&start[..], &parts].concat();
            let (blocks, complete) = blocks(&file).unwrap();
            let read: Vec<_> = blocks.iter().map(|block| block.body).collect();
            assert_eq!((&*read, complete), (bodies, is_complete), "{name}");
        }
    }

    #[test]
    fn the_part_behind_the_limit_is_not_read() {
        let writer = RecordingWriter::new().shown(&vec![b'a'; MAX_BYTES]).shown(b"b").end();
        let (blocks, is_complete) = blocks(&writer).unwrap();
        assert_eq!((blocks.len(), is_complete), (1, false));
    }

    proptest! {
        #[test]
        fn changed_recordings_never_panic(
            changes in proptest::collection::vec((0..SAMPLE.len(), any::<u8>()), 0..20),
            length in 0..=SAMPLE.len(),
        ) {
            let mut file = SAMPLE.to_vec();
            for (position, byte) in changes {
                file[position] = byte;
            }
            file.truncate(length);
            let _ = (transcript(&file), chat(&file));
            if let Ok((blocks, _)) = blocks(&file) {
                prop_assert!(blocks.len() <= file.len() / HEADER_BYTES);
            }
        }

        #[test]
        fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let start = RecordingWriter::new().file;
            for file in [bytes.clone(), [start, bytes].concat()] {
                let _ = (transcript(&file), chat(&file));
            }
        }
    }
}
