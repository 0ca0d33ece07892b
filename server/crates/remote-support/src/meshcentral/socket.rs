//! One WebSocket to a MeshCentral server's `control.ashx`: questions, their answers, and what the server pushes.
//!
//! Facts: meshcentral.md; MeshCentral 1.1.55 `meshuser.js`. The socket opens with wrong credentials, too; the server says so in a message.
//! Unknown and forbidden questions get no answer at all, so each has its time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deskbridge_core::text::shown;
use futures_util::{SinkExt, StreamExt};
use reqwest::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use url::Url;

use crate::{EngineFault, Error};

/// Until the server has said who we are.
const CONNECT_TIME: Duration = Duration::from_secs(15);
/// For an answer.
const ANSWER_TIME: Duration = Duration::from_secs(15);
/// For a long list: MeshCentral reads it from its database, and it may have tens of megabytes.
const LIST_TIME: Duration = Duration::from_mins(3);
/// The server is asked for a sign of life this often.
const PING_EVERY: Duration = Duration::from_secs(20);
/// It is gone when nothing was heard for so long, and no long list is awaited.
pub(super) const SILENCE: Duration = Duration::from_secs(50);
/// A socket that nobody listens to is closed after so long without a question.
const IDLE: Duration = Duration::from_mins(3);
/// Longest message: the list of ten thousand machines has a tenth of that.
const LONGEST_MESSAGE: usize = 64 << 20;
/// Pushed messages that a slow listener may be behind. It reads the list of events again if there are more.
const PUSHED: usize = 4_096;
/// Questions that wait to be sent.
const QUESTIONS: usize = 256;

/// Where to, and who we are.
pub(super) struct Target {
    pub(super) client: reqwest::Client,
    pub(super) url: Url,
    pub(super) user: String,
    pub(super) password: SecretString,
}

/// What the server said of itself and of us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Greeting {
    /// Our account, like `user//deskbridge`.
    pub(super) user_id: String,
    /// Our rights on the whole server.
    pub(super) site_rights: u32,
    /// Our rights by device group.
    pub(super) group_rights: HashMap<String, u32>,
    /// Links to machines are switched off for everybody.
    pub(super) has_no_links: bool,
    /// Longest life of a link, in minutes.
    pub(super) longest_link: Option<u32>,
    /// Machines on one page of their list. None: it has one page.
    pub(super) longest_page: Option<u32>,
    /// The server's clock when it greeted, Unix ms.
    pub(super) server_time: i64,
}

/// Hears every pushed message, in order.
pub(super) type Hear = Box<dyn Fn(&Value) + Send + Sync>;

/// An open socket. It stays open while somebody listens or asks.
pub(super) struct Socket {
    pub(super) greeting: Greeting,
    greeted_at: Instant,
    shared: Arc<Shared>,
    questions: mpsc::Sender<String>,
    closed: watch::Receiver<bool>,
}

struct Shared {
    waiting: Mutex<HashMap<String, Waiting>>,
    pushed: broadcast::Sender<Arc<Value>>,
    last_used: Mutex<Instant>,
    number: AtomicU64,
    is_closing: AtomicBool,
    close: Notify,
    hear: Hear,
}

struct Waiting {
    /// Nothing else is heard while the answer comes in.
    is_long: bool,
    is_answer: fn(&Value) -> bool,
    answer: oneshot::Sender<Value>,
}

type Stream = WebSocketStream<reqwest::Upgraded>;

fn unreachable(url: &Url, reason: &str) -> Error {
    let host = url.host_str().unwrap_or_default();
    let what = format!("MeshCentral at {host} cannot be reached ({reason}); it is tried again. Check url, ca_file and the network");
    Error::new(EngineFault::Unreachable, what)
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member)?.as_str()
}

/// Why the server closed, in its words (meshuser.js, `close`).
fn refused(message: &Value) -> Error {
    let said = text(message, "msg").or_else(|| text(message, "cause")).unwrap_or("no reason");
    let said = shown(said, 60);
    if text(message, "action") == Some("stopped") {
        let what = format!("MeshCentral takes no more connections of this account now ({said}); it is tried again");
        return Error::new(EngineFault::Busy { retry_after: Duration::from_mins(1) }, what);
    }
    let (advice, fault): (_, fn(String) -> EngineFault) = match text(message, "cause").unwrap_or_default() {
        "banned" => ("this server's address is banned for a while after refused log-ins", |_| EngineFault::Busy {
            retry_after: Duration::from_mins(2),
        }),
        "notools" => {
            ("the account has the site right “No tools”, which forbids this; take it away", |reason| EngineFault::Denied { reason })
        }
        "noauth" if said.starts_with("tokenrequired") => {
            ("the account asks for a second factor; make a login token (My Account > Account security > Manage login tokens)", |reason| {
                EngineFault::Denied { reason }
            })
        }
        _ => (
            "check user and password: a login token that has not expired, of an account that is not locked; allowLoginToken must not be off",
            |reason| EngineFault::Denied { reason },
        ),
    };
    Error::new(fault(said.clone()), format!("MeshCentral refuses these credentials ({said}): {advice}"))
}

impl Socket {
    /// Connects and waits until the server has said who we are.
    pub(super) async fn connect(target: &Target, hear: Hear) -> Result<Arc<Self>, Error> {
        let connecting = async {
            let mut stream = open(target).await?;
            let greeting = greeting(&mut stream, target, &hear).await?;
            Ok::<_, Error>((stream, greeting))
        };
        let (stream, greeting) = timeout(CONNECT_TIME, connecting).await.map_err(|_| unreachable(&target.url, "no answer in time"))??;
        let (questions, to_ask) = mpsc::channel(QUESTIONS);
        let (closing, closed) = watch::channel(false);
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            pushed: broadcast::channel(PUSHED).0,
            last_used: Mutex::new(Instant::now()),
            number: AtomicU64::new(0),
            is_closing: AtomicBool::new(false),
            close: Notify::new(),
            hear,
        });
        tokio::spawn({
            let shared = shared.clone();
            async move {
                run(stream, &shared, to_ask).await;
                shared.is_closing.store(true, Ordering::SeqCst);
                // Whoever waits hears that there is no answer.
                shared.waiting().clear();
                closing.send_replace(true);
            }
        });
        Ok(Arc::new(Self { greeting, greeted_at: Instant::now(), shared, questions, closed }))
    }

    /// Whether it is still open.
    pub(super) fn is_open(&self) -> bool {
        !self.shared.is_closing.load(Ordering::SeqCst)
    }

    /// Closes it; the next question opens another one.
    pub(super) fn close(&self) {
        self.shared.is_closing.store(true, Ordering::SeqCst);
        self.shared.close.notify_one();
    }

    /// Returns when it has closed.
    pub(super) async fn closed(&self) {
        let _ = self.closed.clone().wait_for(|closed| *closed).await;
    }

    /// The server's clock, Unix ms.
    pub(super) fn server_now(&self) -> i64 {
        self.greeting.server_time.saturating_add(i64::try_from(self.greeted_at.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    /// What is pushed from now on. While somebody has this, the socket is not closed for want of questions.
    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<Value>> {
        self.shared.pushed.subscribe()
    }

    /// Asks, and waits for the answer that carries the question's id.
    pub(super) async fn ask(&self, question: Value) -> Result<Value, Error> {
        self.ask_until(question, |_| true).await
    }

    /// The same where not every message with the question's id is the answer.
    pub(super) async fn ask_until(&self, question: Value, is_answer: fn(&Value) -> bool) -> Result<Value, Error> {
        self.ask_within(ANSWER_TIME, question, is_answer).await
    }

    /// Asks for a long list.
    pub(super) async fn ask_for_list(&self, question: Value) -> Result<Value, Error> {
        self.ask_within(LIST_TIME, question, |_| true).await
    }

    async fn ask_within(&self, time: Duration, mut question: Value, is_answer: fn(&Value) -> bool) -> Result<Value, Error> {
        let action = text(&question, "action").unwrap_or_default().to_owned();
        let lost = |how: &str| {
            Error::new(EngineFault::Unreachable, format!("MeshCentral did not answer the question “{action}” ({how}); it is asked again"))
        };
        let id = format!("deskbridge-{}", self.shared.number.fetch_add(1, Ordering::Relaxed));
        if let Some(members) = question.as_object_mut() {
            // Some answers repeat the one, some the other.
            members.insert("responseid".into(), Value::from(id.as_str()));
            members.insert("tag".into(), Value::from(id.as_str()));
        }
        let (answer, answered) = oneshot::channel();
        *self.shared.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.shared.waiting().insert(id.clone(), Waiting { is_long: time > ANSWER_TIME, is_answer, answer });
        let asked = async {
            self.questions.send(question.to_string()).await.map_err(|_| lost("the connection broke"))?;
            answered.await.map_err(|_| lost("the connection broke"))
        };
        let answer = timeout(time, asked).await.unwrap_or_else(|_| Err(lost("no answer in time")));
        self.shared.waiting().remove(&id);
        answer
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection is gone when nothing was heard for so long.
    fn longest_silence(&self) -> Duration {
        if self.waiting().values().any(|question| question.is_long) { LIST_TIME } else { SILENCE }
    }

    /// Nobody listens, and nobody has asked for a while.
    fn is_idle(&self) -> bool {
        let last_used = *self.last_used.lock().unwrap_or_else(PoisonError::into_inner);
        self.pushed.receiver_count() == 0 && last_used.elapsed() > IDLE && self.waiting().is_empty()
    }

    fn take(&self, message: Value) {
        let id = text(&message, "responseid").or_else(|| text(&message, "tag"));
        if let Some(id) = id {
            let mut waiting = self.waiting();
            if waiting.get(id).is_some_and(|question| (question.is_answer)(&message))
                && let Some(question) = waiting.remove(id)
            {
                drop(waiting);
                let _ = question.answer.send(message);
            }
            return;
        }
        (self.hear)(&message);
        let _ = self.pushed.send(Arc::new(message));
    }
}

async fn open(target: &Target) -> Result<Stream, Error> {
    let url = target.url.join("control.ashx").map_err(|_| unreachable(&target.url, "no address"))?;
    let key = generate_key();
    let mut auth =
        HeaderValue::from_str(&format!("{},{}", STANDARD.encode(&target.user), STANDARD.encode(target.password.expose_secret())))
            .map_err(|_| unreachable(&target.url, "the credentials fit into no header"))?;
    auth.set_sensitive(true);
    let answer = target
        .client
        .get(url)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .header("x-meshauth", auth)
        .send()
        .await
        .map_err(|error| unreachable(&target.url, deskbridge_http_client::describe(&error)))?;
    let accepts =
        answer.headers().get(reqwest::header::SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| *accept == derive_accept_key(key.as_bytes()));
    if answer.status() != reqwest::StatusCode::SWITCHING_PROTOCOLS || !accepts {
        let what = format!(
            "{} answers, but not as MeshCentral does (HTTP {}). Check url: the server's address, with the path of its domain; a proxy before it must pass WebSockets on",
            target.url.host_str().unwrap_or_default(),
            answer.status().as_u16()
        );
        return Err(Error::new(EngineFault::Unexpected, what));
    }
    let upgraded = answer.upgrade().await.map_err(|error| unreachable(&target.url, deskbridge_http_client::describe(&error)))?;
    let config = WebSocketConfig::default().max_message_size(Some(LONGEST_MESSAGE)).max_frame_size(Some(LONGEST_MESSAGE));
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
}

async fn greeting(stream: &mut Stream, target: &Target, hear: &Hear) -> Result<Greeting, Error> {
    let mut greeting = Greeting::default();
    while let Some(message) = stream.next().await {
        let message = message.map_err(|_| unreachable(&target.url, "the connection broke"))?;
        let Message::Text(message) = message else { continue };
        let Ok(message) = serde_json::from_str::<Value>(&message) else { continue };
        match text(&message, "action") {
            Some("close" | "stopped") => return Err(refused(&message)),
            Some("serverinfo") => {
                let info = message.get("serverinfo").unwrap_or(&Value::Null);
                greeting.server_time = info.get("serverTime").and_then(Value::as_i64).unwrap_or_default();
                greeting.has_no_links = info.get("guestdevicesharing") == Some(&Value::Bool(false));
                greeting.longest_link = number(info, "guestdevicesharingmaxtime");
                greeting.longest_page = number(info, "maxdeviceview");
            }
            Some("userinfo") => {
                let info = message.get("userinfo").unwrap_or(&Value::Null);
                text(info, "_id").unwrap_or_default().clone_into(&mut greeting.user_id);
                greeting.site_rights = number(info, "siteadmin").unwrap_or_default();
                greeting.group_rights = group_rights(info.get("links"));
                if greeting.server_time != 0 && !greeting.user_id.is_empty() {
                    return Ok(greeting);
                }
            }
            _ => hear(&message),
        }
    }
    Err(unreachable(&target.url, "the server closed the connection"))
}

/// A number of 32 bits; all rights are told as 4294967295.
fn number(value: &Value, member: &str) -> Option<u32> {
    value.get(member)?.as_u64().map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

fn group_rights(links: Option<&Value>) -> HashMap<String, u32> {
    let groups = links.and_then(Value::as_object).into_iter().flat_map(Map::iter);
    groups.filter(|(id, _)| id.starts_with("mesh/")).map(|(id, link)| (id.clone(), number(link, "rights").unwrap_or_default())).collect()
}

async fn run(stream: Stream, shared: &Shared, mut questions: mpsc::Receiver<String>) {
    let (mut sink, mut messages) = stream.split();
    let mut ping = interval(PING_EVERY);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard_at = Instant::now();
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(Ok(Message::Text(message))) => {
                    heard_at = Instant::now();
                    let Ok(message) = serde_json::from_str::<Value>(&message) else { continue };
                    if matches!(text(&message, "action"), Some("close" | "stopped")) {
                        tracing::debug!(said = text(&message, "msg"), "MeshCentral closes the connection");
                        return;
                    }
                    shared.take(message);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => heard_at = Instant::now(),
            },
            question = questions.recv() => {
                let Some(question) = question else { return };
                if sink.send(Message::text(question)).await.is_err() {
                    return;
                }
            }
            () = shared.close.notified() => {
                let _ = timeout(Duration::from_secs(1), sink.close()).await;
                return;
            }
            _ = ping.tick() => {
                if heard_at.elapsed() > shared.longest_silence() || shared.is_idle() {
                    let _ = timeout(Duration::from_secs(1), sink.close()).await;
                    return;
                }
                if sink.send(Message::text(r#"{"action":"ping"}"#)).await.is_err() {
                    return;
                }
            }
        }
    }
}
