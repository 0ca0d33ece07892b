//! Recordings for tests: a real one, and such as tests write themselves.

/// A terminal session on a real MeshCentral 1.1.55 with a Linux agent, in which `S3cret-pw` was typed at `read -s`. Only the names of
/// machine, account and folder were replaced (in metadata and prompts).
pub(super) const SAMPLE: &[u8] = include_bytes!("../samples/terminal.mcrec");

/// bash, less, vim and top on a real Linux terminal, but without MeshCentral: a script wrote the file as the relay does. `S3cret-pw` was
/// typed at a prompt that shows asterisks, and at `read -s`.
pub(super) const FULL_SCREEN_SAMPLE: &[u8] = include_bytes!("../samples/full_screen.mcrec");

/// Writes a recording as the relay does.
pub(super) struct RecordingWriter {
    pub(super) file: Vec<u8>,
}

impl RecordingWriter {
    /// A terminal's, with nothing in it.
    pub(super) fn new() -> Self {
        Self::of_protocol(1)
    }

    pub(super) fn of_protocol(protocol: i64) -> Self {
        let metadata = format!(r#"{{"magic":"MeshCentralRelaySession","ver":1,"protocol":{protocol}}}"#);
        Self { file: Self::raw(1, 0, metadata.as_bytes()) }
    }

    /// One block.
    pub(super) fn raw(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(body.len()).unwrap();
        let header = [&kind.to_be_bytes()[..], &flags.to_be_bytes(), &length.to_be_bytes(), &1_796_006_393_808_i64.to_be_bytes()];
        [&header.concat(), body].concat()
    }

    /// What a browser sends first: the size of its terminal, and the protocol.
    pub(super) fn opened(self, columns: u16, rows: u16) -> Self {
        self.told(&format!(r#"{{"cols":{columns},"rows":{rows},"type":"options"}}"#)).told("1")
    }

    /// A text from the browser: about the session.
    pub(super) fn told(self, text: &str) -> Self {
        self.add(2, text.as_bytes())
    }

    /// Keystrokes.
    pub(super) fn typed(self, keys: &[u8]) -> Self {
        self.add(3, keys)
    }

    /// What the machine's terminal put out.
    pub(super) fn shown(self, output: &[u8]) -> Self {
        self.add(1, output)
    }

    pub(super) fn add(mut self, flags: u16, body: &[u8]) -> Self {
        self.file.extend(Self::raw(2, flags, body));
        self
    }

    /// The whole file.
    pub(super) fn end(self) -> Vec<u8> {
        [self.file, Self::raw(3, 0, b"MeshCentralMCREC")].concat()
    }
}
