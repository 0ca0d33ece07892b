//! A real Request Tracker 5, from Debian's packages, and a door to it on which things can be made to go wrong.
//!
//! Where it is not installed, [`missing`] says so and its tests are skipped, but not in CI. What stands in it is read from its database, as RT keeps
//! it. A server is shared by all who have one at the same time, each through a door of their own: tickets are apart by their numbers.

mod delivery;
mod door;
mod installed;

use std::net::Ipv4Addr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Row as _, SqlitePool};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use crate::wire::{Fault, Matching, RecordedRequest};
pub use delivery::RequestTrackerDesk;
pub use installed::missing;

use crate::server::loopback_client;
use crate::wire::Line;
use installed::Server;

/// Path of every REST call, for [`Matching::path_prefix`].
pub const REST: &str = "/rt/REST/2.0/";
/// The queue in which the API user has every right they need, and nobody may do more.
pub const QUEUE: &str = "Support";

/// A server and its database, read only.
#[derive(Debug)]
struct Running {
    server: Server,
    database: SqlitePool,
}

/// State that connections and handles share.
#[derive(Debug)]
struct Shared {
    running: Arc<Running>,
    /// Of the server.
    origin: String,
    http: reqwest::Client,
    line: Line,
}

/// A comment or a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The transaction's number.
    pub id: i64,
    /// `Comment` or `Correspond`.
    pub kind: String,
    /// Name of the user it is of.
    pub author: String,
    /// Its subject.
    pub subject: String,
    /// Its text, as it is kept.
    pub content: String,
    /// Type of its text.
    pub content_type: String,
    /// Minutes.
    pub time_taken: i64,
    /// Names, types and contents of its files.
    pub files: Vec<(String, String, Vec<u8>)>,
}

/// A door to a running RT. Clones are handles to the same one; RT ends when the last door to it is dropped.
#[derive(Clone, Debug)]
pub struct RealRequestTracker {
    shared: Arc<Shared>,
    url: String,
    _guard: Arc<DropGuard>,
}

async fn running() -> Result<Arc<Running>> {
    static SHARED: Mutex<Weak<Running>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(running) = shared.upgrade() {
        return Ok(running);
    }
    let server = Server::start().await?;
    let options = SqliteConnectOptions::new().filename(&server.database).read_only(true).busy_timeout(Duration::from_secs(30));
    // Opened when it is used: the pool's connections belong to the runtime of the test that opens them.
    let database = SqlitePoolOptions::new().max_connections(4).connect_lazy_with(options);
    let running = Arc::new(Running { server, database });
    *shared = Arc::downgrade(&running);
    Ok(running)
}

impl RealRequestTracker {
    /// A door of its own to the running RT, which is started if there is none.
    pub async fn start() -> Result<Self> {
        let running = running().await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port on 127.0.0.1")?;
        let url = format!("http://{}/rt/", listener.local_addr()?);
        let stop = CancellationToken::new();
        let origin = running.server.url.strip_suffix("/rt/").context("another path")?.to_owned();
        let shared = Arc::new(Shared { running, origin, http: loopback_client()?, line: Line::until(stop.clone()) });
        let answering = Arc::clone(&shared);
        shared.line.open(listener, move |request| door::answer(Arc::clone(&answering), request));
        Ok(Self { shared, url, _guard: Arc::new(stop.drop_guard()) })
    }

    /// Its address by way of the door: `http://127.0.0.1:PORT/rt/`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its own address, which its pages and browsers use.
    pub fn own_url(&self) -> &str {
        &self.shared.running.server.url
    }

    /// The token of the API user `deskbridge`.
    pub fn token(&self) -> &str {
        &self.shared.running.server.token
    }

    /// The server's `[request_tracker]` for this RT and its API user, as text that more keys may follow.
    pub fn section(&self) -> String {
        format!("[request_tracker]\nurl = \"{}\"\ntoken = \"{}\"\nqueue = \"{QUEUE}\"", self.url, self.token())
    }

    /// What RT logged: warnings and errors.
    pub fn log(&self) -> String {
        self.shared.running.server.logs.tail()
    }

    // What is done in RT

    /// Asks REST 2 as a user: `root` has the password `password`, the others `NAME-pw`.
    pub async fn ask_as(&self, user: &str, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let password = if user == "root" { "password".to_owned() } else { format!("{user}-pw") };
        let mut request = self.shared.http.request(method, format!("{}REST/2.0/{path}", self.own_url())).basic_auth(user, Some(password));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.context("Request Tracker does not answer")?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status}: {text}");
        self.shared.line.changed();
        serde_json::from_str(&text).with_context(|| format!("an answer that is not JSON: {text}"))
    }

    /// A page as a user sees it who has just signed in.
    pub async fn page_as(&self, user: &str, path: &str) -> Result<String> {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        let own = self.own_url();
        let form = [("user", user.to_owned()), ("pass", format!("{user}-pw"))];
        let login = http.post(format!("{own}NoAuth/Login.html")).header("Referer", own).form(&form).send().await?;
        let cookies = login.headers().get_all("set-cookie").iter().filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let answer = http.get(format!("{own}{path}")).header("Cookie", cookies).header("Referer", own).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success() && !text.contains("id=\"login-box\""), "{path}: {status}");
        Ok(text)
    }

    /// Another new ticket of Jane's; answers its number.
    pub async fn add_ticket(&self, queue: &str, subject: &str) -> Result<String> {
        let ticket = json!({ "Queue": queue, "Subject": subject, "Requestor": "jane@example.com", "Content": "Since this morning." });
        let made = self.ask_as("root", Method::POST, "ticket", Some(ticket)).await?;
        made["id"].as_str().map(str::to_owned).context("a ticket without a number")
    }

    /// Changes a ticket; fails unless RT says one of these words for each change.
    pub async fn change_ticket(&self, ticket: &str, change: Value, says: &str) -> Result<()> {
        let said = self.ask_as("root", Method::PUT, &format!("ticket/{ticket}"), Some(change)).await?;
        ensure!(said.to_string().contains(says), "{said}");
        Ok(())
    }

    // What stands in RT

    /// The comments and replies of a ticket, oldest first.
    pub async fn notes(&self, ticket: &str) -> Result<Vec<Note>> {
        let statement = "SELECT t.id, t.Type, u.Name, t.TimeTaken FROM Transactions t JOIN Users u ON u.id = t.Creator \
             WHERE t.ObjectType = 'RT::Ticket' AND t.ObjectId = CAST(? AS INTEGER) AND t.Type IN ('Comment', 'Correspond') ORDER BY t.id";
        let rows = sqlx::query(statement).bind(ticket).fetch_all(&self.shared.running.database).await?;
        let mut notes = Vec::new();
        for row in rows {
            let id: i64 = row.try_get(0)?;
            let parts = "SELECT Parent, Subject, Filename, ContentType, Content, ContentEncoding FROM Attachments WHERE TransactionId = ? ORDER BY id";
            let mut note = Note {
                id,
                kind: row.try_get(1)?,
                author: row.try_get(2)?,
                subject: String::new(),
                content: String::new(),
                content_type: String::new(),
                time_taken: row.try_get(3)?,
                files: Vec::new(),
            };
            for part in sqlx::query(parts).bind(id).fetch_all(&self.shared.running.database).await? {
                let text = |column: usize| part.try_get::<Option<String>, _>(column).map(Option::unwrap_or_default);
                if part.try_get::<i64, _>(0)? == 0 {
                    // A long header is kept as it was folded.
                    note.subject = text(1)?.replace('\n', "");
                }
                let kept: Vec<u8> = part.try_get::<Option<Vec<u8>>, _>(4)?.unwrap_or_default();
                let content = match text(5)?.as_str() {
                    "base64" => STANDARD.decode(kept.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<u8>>())?,
                    "quoted-printable" => quoted_printable(&kept),
                    _ => kept,
                };
                let (name, kind) = (text(2)?, text(3)?);
                if !name.is_empty() {
                    note.files.push((name, kind, content));
                } else if kind.starts_with("text/") && note.content_type.is_empty() {
                    (note.content, note.content_type) = (String::from_utf8(content)?, kind);
                }
            }
            notes.push(note);
        }
        Ok(notes)
    }

    /// Numbers and subjects of all tickets, oldest first.
    pub async fn tickets(&self) -> Result<Vec<(String, String)>> {
        let rows = sqlx::query("SELECT id, Subject FROM Tickets ORDER BY id").fetch_all(&self.shared.running.database).await?;
        rows.iter().map(|row| Ok((row.try_get::<i64, _>(0)?.to_string(), row.try_get(1)?))).collect()
    }

    /// The numbers that a query of RT's database answers in one row.
    async fn counts<const N: usize>(&self, statement: &'static str, values: &[String]) -> Result<[usize; N]> {
        let mut query = sqlx::query(statement);
        for value in values {
            query = query.bind(value);
        }
        let row = query.fetch_one(&self.shared.running.database).await?;
        let mut counts = [0; N];
        for (column, count) in counts.iter_mut().enumerate() {
            *count = usize::try_from(row.try_get::<i64, _>(column)?)?;
        }
        Ok(counts)
    }

    // What goes wrong at the door

    /// The next `times` matching requests fail so. Faults ordered earlier are used up first.
    pub fn fail_next(&self, times: u32, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(Some(times.max(1)), matching, fault);
    }

    /// All matching requests fail so until [`RealRequestTracker::clear_faults`].
    pub fn fail_always(&self, matching: Matching, fault: Fault) {
        self.shared.line.faults().order(None, matching, fault);
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.shared.line.faults().clear();
    }

    /// Requests so far through the door, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.line.journal().all()
    }

    /// How many writes are still to happen later, as faults ordered it.
    pub fn pending_writes(&self) -> usize {
        self.shared.line.pending_writes()
    }

    /// Asks `probe` after every request and every change until it finds something, up to a minute.
    pub async fn wait_until<T>(&self, probe: impl Fn(&Self) -> Option<T>) -> Result<T> {
        self.shared.line.wait_until(|| probe(self)).await
    }
}

/// RFC 2045 6.7, as it is written by those who keep to it.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        rest = match after {
            [b'\n', after @ ..] if *byte == b'=' => after,
            [high, low, after @ ..] if *byte == b'=' => {
                let value = digit(*high).zip(digit(*low)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                decoded.extend(value);
                after
            }
            _ if *byte == b'=' => &[],
            _ => {
                decoded.push(*byte);
                after
            }
        };
    }
    decoded
}

#[cfg(test)]
mod tests {
    #[test]
    fn quoted_printable_is_read() {
        let decoded = super::quoted_printable(b"J=C3=BCrgen =3D vie=\nlen\nDank=");
        assert_eq!(String::from_utf8(decoded).unwrap(), "J\u{fc}rgen = vielen\nDank");
    }
}
