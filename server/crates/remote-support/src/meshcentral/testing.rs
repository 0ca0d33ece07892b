//! A server that greets, lists and pushes as MeshCentral does, for what a real one can hardly be brought to do.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use deskbridge_core::settings::Secret;
use futures_util::{SinkExt, StreamExt};
use secrecy::SecretString;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio_tungstenite::tungstenite::Message;
use url::Url;

use super::engine::MeshCentral;
use super::section::MeshCentralSection;
use super::server::{Server, ServerSettings};
use crate::{Batch, TakeBatch};

/// When tests begin, Unix ms.
pub(super) const NOW: i64 = 1_796_006_400_000;
/// The account we use.
pub(super) const USER: &str = "user//service";
/// The one machine it always has.
pub(super) const NODE: &str = "node//a";

/// The server.
pub(super) struct Fake {
    pub(super) url: Url,
    state: Arc<State>,
}

struct State {
    connections: AtomicUsize,
    /// In place of a greeting.
    refusal: Mutex<Option<Value>>,
    /// Its clock when it greets, Unix ms.
    now: AtomicI64,
    events: Mutex<Vec<Value>>,
    /// Lists of more rows than the first question asks for take so long.
    list_time: Mutex<Duration>,
    asked: Mutex<Vec<Value>>,
    push: broadcast::Sender<Value>,
}

impl Fake {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let state = Arc::new(State {
            connections: AtomicUsize::new(0),
            refusal: Mutex::default(),
            now: AtomicI64::new(NOW),
            events: Mutex::default(),
            list_time: Mutex::default(),
            asked: Mutex::default(),
            push: broadcast::channel(64).0,
        });
        tokio::spawn({
            let state = state.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    state.connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(serve(state.clone(), stream));
                }
            }
        });
        Self { url, state }
    }

    /// The engine's view of it.
    pub(super) fn server(&self) -> Arc<Server> {
        server_at(&self.url)
    }

    /// How often somebody connected.
    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// What it says in place of a greeting from now on.
    pub(super) fn refuse(&self, with: Option<Value>) {
        *self.state.refusal.lock().unwrap() = with;
    }

    /// Its clock, for the next greetings.
    pub(super) fn set_clock(&self, now: i64) {
        self.state.now.store(now, Ordering::SeqCst);
    }

    /// Stores an event without telling anybody.
    pub(super) fn store(&self, event: Value) {
        self.state.events.lock().unwrap().push(event);
    }

    /// Stores an event and pushes it.
    pub(super) fn push(&self, event: &Value) {
        self.store(event.clone());
        self.state.push.send(json!({"action": "event", "event": event})).unwrap();
    }

    /// Lists take so long from now on.
    pub(super) fn take_for_lists(&self, time: Duration) {
        *self.state.list_time.lock().unwrap() = time;
    }

    /// The questions it was asked for events.
    pub(super) fn lists(&self) -> Vec<Value> {
        self.state.asked.lock().unwrap().iter().filter(|question| question["action"] == "events").cloned().collect()
    }
}

/// A server at that address, whatever is there.
pub(super) fn server_at(url: &Url) -> Arc<Server> {
    let settings =
        ServerSettings { url: url.clone(), user: "~t:token".into(), password: SecretString::from("password"), certificates: None };
    Server::new(settings).unwrap()
}

/// An engine that uses a server.
pub(super) fn engine_of(server: &Arc<Server>, change: impl FnOnce(&mut MeshCentralSection)) -> MeshCentral {
    let mut section: MeshCentralSection =
        serde_json::from_value(json!({"url": "https://mesh.example.com/", "user": "~t:token", "password": "env:NONE"})).unwrap();
    section.password = Secret::new("password");
    change(&mut section);
    MeshCentral::with_server(section, server.clone())
}

/// An event's time.
pub(super) fn time(at: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000).unwrap().format(&Rfc3339).unwrap()
}

/// Somebody at a machine asks for help.
pub(super) fn help(node: &str, text: &str, at: i64) -> Value {
    json!({"etype": "node", "action": "agentlog", "nodeid": node, "domain": "", "msgid": 98, "msgArgs": ["anna", text], "time": time(at)})
}

/// Keeps what a listener hands over.
pub(super) struct Taker(pub(super) mpsc::UnboundedSender<Batch>);

#[async_trait]
impl TakeBatch for Taker {
    async fn take(&self, batch: Batch) -> bool {
        self.0.send(batch).is_ok()
    }
}

async fn serve(state: Arc<State>, stream: TcpStream) {
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let text = |value: &Value| Message::text(value.to_string());
    let refusal = state.refusal.lock().unwrap().clone();
    if let Some(refusal) = refusal {
        let _ = socket.send(text(&refusal)).await;
        return;
    }
    let mut pushed = state.push.subscribe();
    let now = state.now.load(Ordering::SeqCst);
    for greeting in [
        json!({"action": "serverinfo", "serverinfo": {"domain": "", "name": "127.0.0.1", "serverTime": now}}),
        json!({"action": "userinfo", "userinfo": {"_id": USER, "name": "service", "links": {"mesh//a": {"rights": 1_572_872}}}}),
    ] {
        if socket.send(text(&greeting)).await.is_err() {
            return;
        }
    }
    loop {
        let answer = tokio::select! {
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Ok(question) = serde_json::from_str::<Value>(message.to_text().unwrap_or_default()) else { continue };
                state.asked.lock().unwrap().push(question.clone());
                let is_long = question["limit"].as_u64().is_some_and(|limit| limit > 200);
                let time = *state.list_time.lock().unwrap();
                if is_long && !time.is_zero() {
                    tokio::time::sleep(time).await;
                }
                let Some(answer) = answer(&state, &question) else { continue };
                answer
            }
            Ok(event) = pushed.recv() => event,
        };
        if socket.send(text(&answer)).await.is_err() {
            return;
        }
    }
}

fn answer(state: &State, question: &Value) -> Option<Value> {
    match question["action"].as_str()? {
        "ping" => Some(json!({"action": "pong"})),
        "nodes" => {
            let node = json!({"type": "node", "mtype": 2, "_id": NODE, "name": "PC-17", "conn": 1, "agct": NOW - 86_400_000});
            Some(json!({"action": "nodes", "responseid": question["responseid"], "nodes": {"mesh//a": [node]}}))
        }
        "events" => {
            let events = state.events.lock().unwrap();
            let fits = |event: &&Value| {
                event["action"] == question["filter"] && (question["nodeid"].is_null() || event["nodeid"] == question["nodeid"])
            };
            let mut found: Vec<&Value> = events.iter().filter(fits).collect();
            found.sort_by(|one, other| other["time"].as_str().cmp(&one["time"].as_str()));
            found.truncate(usize::try_from(question["limit"].as_u64().unwrap_or(u64::MAX)).unwrap());
            let mut found: Vec<Value> = found.into_iter().cloned().collect();
            if !question["nodeid"].is_null() {
                for event in &mut found {
                    let members = event.as_object_mut().unwrap();
                    members.remove("nodeid");
                    members.remove("etype");
                }
            }
            Some(json!({"action": "events", "events": found, "tag": question["tag"]}))
        }
        _ => None,
    }
}
