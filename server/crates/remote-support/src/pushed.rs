//! What an engine pushes over a connection that we open, and what it keeps for us.

use std::pin::Pin;

use async_trait::async_trait;
use futures_util::Stream;

use crate::Error;

/// Something that happened at the engine. As with every event it is a hint: what counts is read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// What.
    pub what: What,
    /// The session's id, or the help request's.
    pub lsid: String,
    /// The session's external key, if it can be believed.
    pub external_key: Option<String>,
    /// Unix ms of the engine's clock.
    pub at: i64,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// A session began.
    SessionBegan,
    /// A session ended.
    SessionEnded,
    /// Somebody at a machine asked for help.
    HelpRequested,
}

/// What happened up to a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub happened: Vec<Happened>,
    /// Everything before this moment (Unix ms of the engine's clock) has been handed over with this batch.
    pub until: i64,
}

/// Takes what a listener hears.
#[async_trait]
pub trait TakeBatch: Send + Sync {
    /// Keeps the batch; the next one is read when that is done. `false`: listen no longer.
    async fn take(&self, batch: Batch) -> bool;
}

/// What an engine tells when we sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedIn {
    /// Who we are there, where that is not the name we sign in by: several logins can be one user's, and can be exchanged.
    pub user: Option<String>,
    /// The engine's clock, Unix ms, if it tells.
    pub now: Option<i64>,
}

/// An engine that pushes its events over a connection that we open.
#[async_trait]
pub trait Listener: Send + Sync {
    /// Connects, unless that is done.
    async fn sign_in(&self) -> Result<SignedIn, Error>;
    /// Connects, hands over what happened from `since` on (Unix ms of the engine's clock; none: nothing of before), then what happens.
    /// Ends when nobody takes what is heard, or by an error.
    async fn listen(&self, since: Option<i64>, take: &dyn TakeBatch) -> Result<(), Error>;
}

/// Somebody at a machine asked for help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelpRequest {
    /// The same as in [`Happened::lsid`].
    pub id: String,
    /// The machine's id.
    pub machine_id: String,
    /// Its name.
    pub machine: String,
    /// Who asked.
    pub person: Option<String>,
    /// In their own words.
    pub text: String,
    /// Unix seconds of the engine's clock.
    pub asked_at: i64,
}

/// A recording, or a part of it, as an HTTP answer.
pub struct RecordingBody {
    /// 200, 206 or 416.
    pub status: u16,
    /// Bytes that follow, if that is known.
    pub content_length: Option<u64>,
    /// `Content-Range`.
    pub content_range: Option<String>,
    /// A plain name for the file.
    pub file_name: String,
    /// The bytes.
    pub stream: Pin<Box<dyn Stream<Item = Result<bytes::Bytes, std::io::Error>> + Send>>,
}
