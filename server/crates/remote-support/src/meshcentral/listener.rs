//! Hears what the server pushes, after what was missed.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::engine::MeshCentral;
use super::events::{HelpEvent, RelayEvent, Session, moment};
use super::socket::Socket;
use crate::{Batch, EngineFault, Error, Happened, Listener, SignedIn, TakeBatch, What};

/// A quiet server moves the cursor on this often.
const QUIET: Duration = Duration::from_secs(20);
/// An event is pushed some milliseconds after its time; what is older than this has been heard.
const SETTLED_MS: i64 = 3_000;
/// An event whose time is so far from what the clock should be by now tells that the clock was set.
const CLOCK_TOLERANCE_MS: i64 = 60_000;
/// A session that goes on can have begun so long ago.
const LONGEST_SESSION_MS: i64 = 25 * 3_600_000;

impl MeshCentral {
    fn happened(&self, what: What, session: &Session) -> Option<Happened> {
        let name = self.name_of(session)?;
        let at = if what == What::SessionEnded { session.end.as_ref().map_or(session.began_at, |end| end.at) } else { session.began_at };
        Some(Happened { what, lsid: session.lsid.clone(), external_key: Some(name.ticket), at })
    }

    /// Whether anybody wants it is for the account's connections to say, which may be several.
    fn help_requested(help: &HelpEvent) -> Happened {
        Happened { what: What::HelpRequested, lsid: help.id.clone(), external_key: None, at: help.at }
    }

    /// What happened from that moment on, as far as MeshCentral tells it now.
    async fn missed(&self, since: i64) -> Result<Vec<Happened>, Error> {
        let mut happened = Vec::new();
        for session in self.server.sessions_since(None, since - LONGEST_SESSION_MS).await? {
            if self.name_of(&session).is_none() {
                continue;
            }
            if session.began_at >= since {
                happened.extend(self.happened(What::SessionBegan, &session));
            }
            let session = self.with_end(session).await?;
            if session.end.as_ref().is_some_and(|end| end.at >= since) {
                happened.extend(self.happened(What::SessionEnded, &session));
            }
        }
        happened.extend(self.server.help_since(since).await?.iter().map(Self::help_requested));
        happened.sort_by_key(|happened| happened.at);
        Ok(happened)
    }

    /// What a pushed message tells.
    async fn heard(&self, message: &Value) -> Result<Vec<Happened>, Error> {
        let Some(event) = message.get("event") else { return Ok(Vec::new()) };
        if let Some(relay) = RelayEvent::read(event, None) {
            let Some(session) = self.server.remembered(&relay) else { return Ok(Vec::new()) };
            let what = if relay.end.is_some() { What::SessionEnded } else { What::SessionBegan };
            return Ok(self.happened(what, &session).into_iter().collect());
        }
        if let Some(help) = HelpEvent::read(event) {
            return Ok(vec![Self::help_requested(&help)]);
        }
        let is_of_machine = event.get("action").and_then(Value::as_str) == Some("nodeconnect");
        if is_of_machine { self.dead(event.get("nodeid").and_then(Value::as_str)).await } else { Ok(Vec::new()) }
    }

    /// By how much the clock differs from what it should be by now, if that was not so before: a pushed event was stored just now.
    fn clock_was_set(&self, socket: &Socket, message: &Value) -> Option<i64> {
        let by = moment(message.get("event")?)? - socket.server_now();
        // A second server behind the same address may have another clock for good.
        (by.abs() > CLOCK_TOLERANCE_MS && self.server.is_new_difference(by, CLOCK_TOLERANCE_MS)).then_some(by)
    }

    /// Sessions, of one machine or of all, of which no end was told and none will be.
    async fn dead(&self, node: Option<&str>) -> Result<Vec<Happened>, Error> {
        let mut happened = Vec::new();
        let is_its = |session: &Session| node.is_none_or(|node| session.node == node) && self.name_of(session).is_some();
        for session in self.server.open_sessions().into_iter().filter(is_its) {
            let session = self.with_end(session).await?;
            if session.end.is_some() {
                happened.extend(self.happened(What::SessionEnded, &session));
            }
        }
        Ok(happened)
    }
}

#[async_trait]
impl Listener for MeshCentral {
    async fn sign_in(&self) -> Result<SignedIn, Error> {
        let socket = self.server.socket().await?;
        Ok(SignedIn { user: Some(socket.greeting.user_id.clone()), now: Some(socket.server_now()) })
    }

    async fn listen(&self, since: Option<i64>, take: &dyn TakeBatch) -> Result<(), Error> {
        let socket = self.server.socket().await?;
        // Before the lists are read: nothing falls between.
        let mut pushed = socket.listen();
        let mut cursor = since.unwrap_or_else(|| socket.server_now());
        let until = socket.server_now() - SETTLED_MS;
        let happened = self.missed(cursor).await?;
        cursor = cursor.max(until);
        if !take.take(Batch { happened, until: cursor }).await {
            return Ok(());
        }
        let mut quiet = interval(QUIET);
        quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut clock_was_set = None;
            let happened = tokio::select! {
                message = pushed.recv() => match message {
                    Ok(message) => {
                        clock_was_set = self.clock_was_set(&socket, &message);
                        self.heard(&message).await?
                    }
                    // Too much at once: it stands in the lists.
                    Err(RecvError::Lagged(_)) => self.missed(cursor - SETTLED_MS).await?,
                    Err(RecvError::Closed) => break,
                },
                _ = quiet.tick() => self.dead(None).await?,
                () = socket.closed() => break,
            };
            let is_due = !happened.is_empty()
                || pushed.is_empty() && socket.server_now() - cursor > i64::try_from(QUIET.as_millis()).unwrap_or(i64::MAX);
            if let Some(by) = clock_was_set {
                // Whoever connects again learns what the clock says now, and reads from where it was by then.
                socket.close();
                let (seconds, direction) = (by.abs() / 1_000, if by < 0 { "back" } else { "forward" });
                return Err(Error::new(
                    EngineFault::Unreachable,
                    format!(
                        "MeshCentral's clock was set {direction} by about {seconds} s; the connection is opened again. Let it keep its time by NTP"
                    ),
                ));
            }
            if !is_due {
                continue;
            }
            // What waits in the queue was not handed over yet.
            let until = if pushed.is_empty() { socket.server_now() - SETTLED_MS } else { cursor };
            cursor = cursor.max(until);
            if !take.take(Batch { happened, until: cursor }).await {
                return Ok(());
            }
        }
        Err(Error::new(EngineFault::Unreachable, "the connection to MeshCentral broke; it is opened again"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;
    use crate::meshcentral::testing::{Fake, NODE, NOW, Taker, engine_of, help};

    /// What a listener that begins there hands over.
    fn listen(engine: &Arc<MeshCentral>, since: Option<i64>) -> (mpsc::UnboundedReceiver<Batch>, JoinHandle<Result<(), Error>>) {
        let (taker, batches) = mpsc::unbounded_channel();
        let engine = engine.clone();
        (batches, tokio::spawn(async move { engine.listen(since, &Taker(taker)).await }))
    }

    /// What it stores then has a time that is before what was heard.
    #[tokio::test]
    async fn a_clock_that_is_set_is_noticed_by_what_is_pushed() {
        let fake = Fake::start().await;
        let engine = Arc::new(engine_of(&fake.server(), |_| ()));
        for back in [3_600_000, -3_600_000] {
            let (mut batches, task) = listen(&engine, Some(NOW - 60_000));
            batches.recv().await.unwrap();
            let now = engine.sign_in().await.unwrap().now.unwrap();
            fake.push(&help(NODE, "in time", now));
            assert_eq!(batches.recv().await.unwrap().happened.len(), 1);
            fake.set_clock(now - back);
            fake.push(&help(NODE, "set", now - back));
            let error = timeout(Duration::from_secs(30), task).await.expect("it is not noticed").unwrap().unwrap_err();
            assert!(error.what.contains("clock was set"), "{error}");
            // The connection that follows knows better.
            let again = engine.sign_in().await.unwrap().now.unwrap();
            assert!((again - (now - back)).abs() < 60_000, "{again}");
            fake.set_clock(NOW);
            engine.server.socket().await.unwrap().close();
        }
    }

    fn moments(batch: &Batch) -> Vec<(What, i64)> {
        batch.happened.iter().map(|happened| (happened.what, happened.at - NOW)).collect()
    }

    /// The listener is one connection's, and the requests may be another one's.
    #[tokio::test]
    async fn requests_for_help_are_handed_over_whoever_wants_them() {
        let fake = Fake::start().await;
        let engine = Arc::new(engine_of(&fake.server(), |section| section.help_requests = false));
        fake.store(help(NODE, "missed", NOW - 5_000));
        let (mut batches, _task) = listen(&engine, Some(NOW - 60_000));
        assert_eq!(moments(&batches.recv().await.unwrap()), [(What::HelpRequested, -5_000)]);
        fake.push(&help(NODE, "now", NOW + 1));
        assert_eq!(moments(&batches.recv().await.unwrap()), [(What::HelpRequested, 1)]);
    }
}
