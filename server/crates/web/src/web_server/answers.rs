//! Answers on their way out, and the end of HTTP/2 streams whose peer does not take them.
//!
//! A stream's window is its own: TCP goes on while a stream stands still, and only the asking of hyper for the next piece tells that one was taken.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, sleep_until};

use super::activity::Running;

/// One HTTP/2 frame, unless the peer wants larger ones.
const PIECE: usize = 16 * 1024;

tokio::task_local! {
    /// When this HTTP/2 stream's peer was last given a piece that it has not taken; none while we have nothing to give.
    static GIVEN: Cell<Option<Instant>>;
}

/// An answer's body in pieces; the request runs as long as it is there.
pub(super) struct Answer {
    body: Body,
    rest: Bytes,
    running: Running,
}

impl Answer {
    pub(super) fn new(body: Body, running: Running) -> Self {
        Self { body, rest: Bytes::new(), running }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // HTTP/1 has no streams: there the write deadline of the connection is enough.
        let set_given = |at| GIVEN.try_with(|given| given.set(at)).unwrap_or_default();
        if self.rest.is_empty() {
            set_given(None);
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                None => return Poll::Ready(None),
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                Some(Ok(data)) => self.rest = data,
            }
        }
        set_given(Some(Instant::now()));
        self.running.went_on();
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, of_body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// Runs HTTP/2 streams, and ends one, with a RST_STREAM, when its peer takes nothing for so long.
#[derive(Clone, Copy)]
pub(super) struct EndStalled {
    pub(super) after: Duration,
}

impl<Stream: Future<Output: Send> + Send + 'static> Executor<Stream> for EndStalled {
    fn execute(&self, stream: Stream) {
        tokio::spawn(GIVEN.scope(Cell::new(None), until_stalled(stream, self.after)));
    }
}

async fn until_stalled(stream: impl Future, after: Duration) {
    let mut stream = pin!(stream);
    let mut deadline = pin!(sleep_until(Instant::now()));
    std::future::poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(given) = GIVEN.with(Cell::get) else { return Poll::Pending };
        if deadline.deadline() != given + after {
            deadline.as_mut().reset(given + after);
        }
        deadline.as_mut().poll(cx)
    })
    .await;
}
