//! MeshCentral's own WebSocket, `control.ashx`: what its pages and tools use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

use super::{Account, RealMeshCentral};

/// How long an answer or a pushed event lets itself be awaited.
const PATIENCE: Duration = Duration::from_secs(40);

/// A link to one machine, made by [`Control::share`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Opens in any browser.
    pub url: String,
    /// MeshCentral's `publicid`.
    pub id: String,
    /// The machine, `node//…`.
    pub machine: String,
}

/// One account's connection. Everything MeshCentral sends is kept. Closed when dropped.
#[derive(Debug)]
pub struct Control {
    outgoing: mpsc::UnboundedSender<Value>,
    received: Arc<Received>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Received {
    messages: Mutex<Vec<Value>>,
    state: watch::Sender<State>,
}

/// What waiters wake for.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    messages: usize,
    closed: bool,
}

impl Received {
    fn lock(&self) -> MutexGuard<'_, Vec<Value>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, message: Value) {
        let messages = {
            let mut kept = self.lock();
            kept.push(message);
            kept.len()
        };
        self.state.send_modify(|state| state.messages = messages);
    }
}

impl Control {
    /// Signs in with a password or a login token; fails with MeshCentral's words when it refuses.
    pub async fn connect(mesh: &RealMeshCentral, user: &str, password: &str) -> Result<Self> {
        let mut request = format!("wss://127.0.0.1:{}/control.ashx", mesh.port()).into_client_request()?;
        let credentials = format!("{},{}", BASE64_STANDARD.encode(user), BASE64_STANDARD.encode(password));
        request.headers_mut().insert("x-meshauth", credentials.parse()?);
        let stream = TcpStream::connect(("127.0.0.1", mesh.port())).await.context("MeshCentral takes no connections")?;
        let stream = connector(mesh)?.connect(ServerName::try_from("127.0.0.1")?, stream).await.context("no TLS with MeshCentral")?;
        let (socket, _) = tokio_tungstenite::client_async(request, stream).await.context("no WebSocket with MeshCentral")?;
        let (mut sink, mut stream) = socket.split();
        let received = Arc::new(Received { messages: Mutex::default(), state: watch::Sender::new(State::default()) });
        let (outgoing, mut to_send) = mpsc::unbounded_channel::<Value>();
        let task = tokio::spawn({
            let received = Arc::clone(&received);
            async move {
                loop {
                    tokio::select! {
                        message = stream.next() => match message {
                            Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                                Ok(message) => received.add(message),
                                Err(_) => break,
                            },
                            Some(Ok(_)) => (),
                            Some(Err(_)) | None => break,
                        },
                        message = to_send.recv() => match message {
                            Some(message) => if sink.send(Message::text(message.to_string())).await.is_err() { break },
                            None => break,
                        },
                    }
                }
                received.state.send_modify(|state| state.closed = true);
            }
        });
        let control = Self { outgoing, received, task };
        let first =
            control.message_after(0, "the first answer", |message| message["action"] == "userinfo" || message["action"] == "close").await?;
        ensure!(first["action"] == "userinfo", "MeshCentral refuses {user}: {first}");
        Ok(control)
    }

    /// Sends a message that gets no answer.
    pub fn send(&self, message: Value) -> Result<()> {
        self.outgoing.send(message).ok().context("the connection to MeshCentral is closed")
    }

    /// Sends a request and answers what MeshCentral answers: the first message with the same `responseid` or `tag`, else the first one of the
    /// same `action` with neither.
    pub async fn ask(&self, mut request: Value) -> Result<Value> {
        let id = json!(Uuid::now_v7().simple().to_string());
        request["responseid"] = id.clone();
        request["tag"] = id.clone();
        let action = request["action"].clone();
        let mark = self.mark();
        self.send(request)?;
        let what = format!("the answer to {action}");
        self.message_after(mark, &what, |message| {
            let (own, tag) = (&message["responseid"], &message["tag"]);
            *own == id || *tag == id || (own.is_null() && tag.is_null() && message["action"] == action)
        })
        .await
    }

    /// Where the messages end now, for [`Control::event_after`].
    pub fn mark(&self) -> usize {
        self.received.lock().len()
    }

    /// The first pushed event that fits, among all since the connection was made; waits for it.
    pub async fn event(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        self.event_after(0, what, fits).await
    }

    /// The same behind a [`Control::mark`].
    pub async fn event_after(&self, mark: usize, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let message = self.message_after(mark, what, |message| message["action"] == "event" && fits(&message["event"])).await?;
        Ok(message["event"].clone())
    }

    /// The pushed events so far.
    pub fn events_so_far(&self) -> Vec<Value> {
        self.received.lock().iter().filter(|message| message["action"] == "event").map(|message| message["event"].clone()).collect()
    }

    /// Waits until MeshCentral has closed the connection.
    pub async fn closed(&self) -> Result<()> {
        let mut state = self.received.state.subscribe();
        tokio::time::timeout(PATIENCE, state.wait_for(|state| state.closed)).await.context("the connection stays open")??;
        Ok(())
    }

    /// The stored events this account may see, newest first. `filter` is an action such as `relaylog` or `agentlog`.
    pub async fn stored_events(&self, filter: &str) -> Result<Vec<Value>> {
        list(&self.ask(json!({"action": "events", "filter": filter, "limit": 1000})).await?, "events")
    }

    /// All machines this account may see. Where MeshCentral lists them by pages (`maxDeviceView`), this connection is told no more of the others
    /// than of those on the last page.
    pub async fn machines(&self) -> Result<Vec<Value>> {
        let mut machines = Vec::new();
        loop {
            let answer = self.ask(json!({"action": "nodes", "skip": machines.len()})).await?;
            let groups = answer["nodes"].as_object().with_context(|| format!("no machines: {answer}"))?;
            let before = machines.len();
            machines.extend(groups.values().filter_map(Value::as_array).flatten().cloned());
            let total = answer["totalcount"].as_u64().and_then(|total| usize::try_from(total).ok()).unwrap_or_default();
            if machines.len() >= total || machines.len() == before {
                return Ok(machines);
            }
        }
    }

    /// One machine's own message of [`Control::machines`].
    pub async fn machine(&self, id: &str) -> Result<Value> {
        let machines = self.machines().await?;
        machines.into_iter().find(|machine| machine["_id"] == id).with_context(|| format!("no machine {id}"))
    }

    /// Makes a link. `kinds`: 1 terminal, 2 desktop, 4 files, summed up. No question and no notice at the machine.
    pub async fn share(&self, machine: &str, guest_name: &str, kinds: u8, minutes: u32) -> Result<Link> {
        let request = json!({"action": "createDeviceShareLink", "nodeid": machine, "guestname": guest_name, "p": kinds, "expire": minutes,
            "consent": 0});
        let answer = self.ask(request).await?;
        ensure!(answer["result"] == "OK", "no link: {answer}");
        let text = |name: &str| answer[name].as_str().map(str::to_owned).with_context(|| format!("no {name}: {answer}"));
        Ok(Link { url: text("url")?, id: text("publicid")?, machine: machine.to_owned() })
    }

    /// Ends a link and its sessions.
    pub async fn end_share(&self, link: &Link) -> Result<()> {
        let answer = self.ask(json!({"action": "removeDeviceShare", "nodeid": link.machine, "publicid": link.id})).await?;
        ensure!(answer["removed"].is_object(), "the link was not there: {answer}");
        Ok(())
    }

    /// The links to a machine that MeshCentral knows now.
    pub async fn shares(&self, machine: &str) -> Result<Vec<Value>> {
        list(&self.ask(json!({"action": "deviceShares", "nodeid": machine})).await?, "deviceShares")
    }

    /// The recordings of all sessions, newest first (site right 512).
    pub async fn recordings(&self) -> Result<Vec<Value>> {
        list(&self.ask(json!({"action": "recordings", "limit": 1000})).await?, "events")
    }

    /// What an account may do in a device group (bits); as administrator.
    pub async fn set_group_rights(&self, group: &str, account: Account, rights: u64) -> Result<()> {
        let request = json!({"action": "addmeshuser", "meshid": group, "usernames": [account.user], "meshadmin": rights});
        let answer = self.ask(request).await?;
        ensure!(answer["success"] == 1, "the rights were not set: {answer}");
        Ok(())
    }

    /// What an account may do in all of MeshCentral (bits); as administrator.
    pub async fn set_site_rights(&self, account: Account, rights: u64) -> Result<()> {
        let answer = self.ask(json!({"action": "edituser", "id": format!("user//{}", account.user), "siteadmin": rights})).await?;
        ensure!(answer["result"] == "ok", "the rights were not set: {answer}");
        Ok(())
    }

    /// Runs a line in the agent's console; as administrator. With `eval` it is JavaScript in the agent.
    pub fn agent_console(&self, machine: &str, line: &str) -> Result<()> {
        self.send(json!({"action": "msg", "type": "console", "nodeid": machine, "value": line}))
    }

    async fn message_after(&self, mark: usize, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut state = self.received.state.subscribe();
        let search = async {
            let mut searched = mark;
            loop {
                let closed = state.borrow_and_update().closed;
                let found = {
                    let messages = self.received.lock();
                    let found = messages.get(searched..).and_then(|new| new.iter().find(|message| fits(message))).cloned();
                    searched = messages.len();
                    found
                };
                match found {
                    Some(message) => return Ok(message),
                    None if closed => bail!("MeshCentral closed the connection"),
                    None => state.changed().await?,
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, search).await;
        found.unwrap_or_else(|_| bail!("not within {PATIENCE:?}")).with_context(|| {
            let messages = self.received.lock();
            let last: Vec<String> =
                messages.iter().rev().take(10).rev().map(|message| message.to_string().chars().take(400).collect()).collect();
            format!("waited for {what} in vain; last messages:\n{}", last.join("\n"))
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn list(answer: &Value, name: &str) -> Result<Vec<Value>> {
    answer[name].as_array().cloned().with_context(|| format!("no {name}: {answer}"))
}

fn connector(mesh: &RealMeshCentral) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(mesh.ca_file()).context("no certificate")?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
