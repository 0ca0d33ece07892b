//! A peer's TCP stream: a write that makes no progress for long fails, and so does reading more frames than the peer has earned.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutWriter;

use super::activity::Activity;
use super::frames::Frames;

pub(super) struct Stream {
    tcp: Pin<Box<TimeoutWriter<TcpStream>>>,
    frames: Frames,
    /// The last bytes that came.
    tail: [u8; HEAD_END.len()],
    activity: Arc<Activity>,
}

const HEAD_END: &[u8; 4] = b"\r\n\r\n";

impl Stream {
    pub(super) fn new(tcp: TcpStream, unread: Duration, activity: Arc<Activity>) -> Self {
        let mut tcp = TimeoutWriter::new(tcp);
        tcp.set_timeout(Some(unread));
        Self { tcp: Box::pin(tcp), frames: Frames::Preface(0), tail: [0; 4], activity }
    }

    /// The kernel would go on offering what is unread to a peer that was given up.
    fn reset_when_late<T>(&self, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if let Poll::Ready(Err(error)) = &written
            && error.kind() == ErrorKind::TimedOut
        {
            let _ = self.tcp.get_ref().set_zero_linger();
        }
        written
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        ready!(self.tcp.as_mut().poll_read(cx, buffer))?;
        let came = &buffer.filled()[before..];
        if !came.is_empty() {
            let idle_frames = self.frames.count_idle(came);
            for byte in &came[came.len().saturating_sub(HEAD_END.len())..] {
                self.tail.rotate_left(1);
                self.tail[HEAD_END.len() - 1] = *byte;
            }
            if !self.activity.came(self.tail == *HEAD_END, idle_frames) {
                return Poll::Ready(Err(Error::other("too many HTTP/2 frames that ask for nothing")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = self.tcp.as_mut().poll_write(cx, bytes);
        self.reset_when_late(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<Result<usize>> {
        let written = self.tcp.as_mut().poll_write_vectored(cx, slices);
        self.reset_when_late(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.tcp.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.tcp.as_mut().poll_shutdown(cx)
    }
}
