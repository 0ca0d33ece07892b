//! Reads just enough of what a peer sends to count HTTP/2 frames that ask for nothing: h2 itself refuses floods of resets, headers and small DATA frames,
//! but takes PRIORITY, WINDOW_UPDATE, PING, SETTINGS and unknown frames without end.

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// Where in what a peer sends we are.
pub(super) enum Frames {
    /// So many bytes of HTTP/2's preface came, and nothing else.
    Preface(usize),
    Head {
        head: [u8; HEAD],
        came: usize,
    },
    /// So many bytes of the frame are to come.
    Payload(usize),
    NotHttp2,
}

impl Frames {
    /// How many heads of frames that ask for nothing end in `bytes`.
    pub(super) fn count_idle(&mut self, mut bytes: &[u8]) -> u32 {
        let mut count = 0;
        while !bytes.is_empty() {
            match self {
                Self::NotHttp2 => break,
                Self::Preface(came) => {
                    let length = bytes.len().min(PREFACE.len() - *came);
                    if bytes[..length] != PREFACE[*came..*came + length] {
                        *self = Self::NotHttp2;
                        break;
                    }
                    *came += length;
                    bytes = &bytes[length..];
                    if *came == PREFACE.len() {
                        *self = Self::Payload(0);
                    }
                }
                Self::Payload(0) => *self = Self::Head { head: [0; HEAD], came: 0 },
                Self::Payload(left) => {
                    let length = bytes.len().min(*left);
                    *left -= length;
                    bytes = &bytes[length..];
                }
                Self::Head { head, came } => {
                    let length = bytes.len().min(HEAD - *came);
                    head[*came..*came + length].copy_from_slice(&bytes[..length]);
                    *came += length;
                    bytes = &bytes[length..];
                    if *came == HEAD {
                        count += u32::from(!matches!(head[3], DATA | HEADERS | CONTINUATION));
                        *self = Self::Payload(u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize);
                    }
                }
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_however_the_bytes_come() {
        let mut sent = PREFACE.to_vec();
        sent.extend(b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0"); // SETTINGS
        sent.extend(b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84"); // HEADERS
        sent.extend(b"\0\0\x09\0\0\0\0\0\x01\0\0\0\x02\0\0\0\0\0"); // DATA that looks like a frame
        sent.extend(b"\0\0\0\x04\x01\0\0\0\0"); // SETTINGS, empty
        sent.extend(b"\0\0\x05\x02\0\0\0\0\x05\0\0\0\0\x01"); // PRIORITY
        for portion in [1, 2, 5, 9, 24, sent.len()] {
            let mut frames = Frames::Preface(0);
            let count: u32 = sent.chunks(portion).map(|bytes| frames.count_idle(bytes)).sum();
            assert_eq!(count, 3, "in portions of {portion}");
        }
    }

    #[test]
    fn http1_has_no_frames() {
        let mut frames = Frames::Preface(0);
        let text = [b"P".as_slice(), b"RI * HTTP/1.1\r\n", &[0; 900]];
        assert!(text.iter().all(|bytes| frames.count_idle(bytes) == 0));
    }
}
