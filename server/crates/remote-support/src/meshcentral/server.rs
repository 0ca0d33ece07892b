//! A MeshCentral server by one account: one socket for all its connections, what was heard over it, and the files it keeps.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deskbridge_core::rest::GrowingRest;
use deskbridge_core::session_report::{SessionKind, SessionReport};
use deskbridge_http_client::refusals::{Refusals, Resting};
use moka::future::Cache;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, COOKIE, RANGE, SET_COOKIE};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use url::Url;

use super::events::{End, HelpEvent, RelayEvent, Session, sessions};
use super::nodes::{Node, Nodes};
use super::socket::{Socket, Target};
use crate::{EngineFault, Error, LinkId, Machine};

/// The right to read recordings (meshcentral.md, rights).
pub(super) const RECORDINGS: u32 = 512;
/// The list of machines is read again after so long, in case something was not pushed.
const NODES_LIFE: Duration = Duration::from_mins(1);
/// Pages of that list that are read, and how long that may take.
const MOST_PAGES: usize = 500;
const LIST_TIME: Duration = Duration::from_mins(1);
/// Events that are listed in one question: at first, and at most (some 25 MB).
const EVENTS: (usize, usize) = (200, if cfg!(test) { 2_000 } else { 50_000 });
/// How often it is said that a list has more.
const SAY_AGAIN: Duration = Duration::from_hours(1);
/// A session that goes on is remembered so long; its link cannot be older.
const LONGEST_SESSION_MS: i64 = 25 * 3_600_000;
/// Sessions and requests for help that are remembered.
const REMEMBERED: usize = 5_000;
/// How far a recording's begin may be from its session's (some milliseconds were seen).
const RECORDING_TOLERANCE_MS: i64 = 5_000;
/// A web session's cookie is used for so long; MeshCentral's last an hour by default.
const COOKIE_LIFE: Duration = Duration::from_mins(10);
/// After a connection that could not be opened. Shorter than the rests of whoever listens, whose tries shall be some.
const AFTER_FAILURE: GrowingRest = GrowingRest { first: Duration::from_millis(500), longest: Duration::from_secs(30) };
/// Reports of ended sessions do not change.
const REPORT_CACHE: Duration = Duration::from_mins(1);

/// How a server is reached.
#[derive(Clone)]
pub(super) struct ServerSettings {
    pub(super) url: Url,
    pub(super) user: String,
    pub(super) password: SecretString,
    /// Certificates (PEM) that vouch for the server's.
    pub(super) certificates: Option<Vec<u8>>,
}

impl ServerSettings {
    fn is_same(&self, other: &Self) -> bool {
        self.url == other.url
            && self.user == other.user
            && self.password.expose_secret() == other.password.expose_secret()
            && self.certificates == other.certificates
    }

    fn client(&self, has_end: bool) -> Result<reqwest::Client, Error> {
        let fault = |what: &str| Error::new(EngineFault::Denied { reason: what.to_owned() }, format!("meshcentral: {what}"));
        let mut builder = deskbridge_http_client::client().http1_only();
        if !has_end {
            // For the socket, and for recordings, which have no end in sight: each piece has its time.
            builder = builder.timeout(Duration::from_hours(24 * 365)).read_timeout(deskbridge_http_client::TOTAL_TIMEOUT);
        }
        if let Some(certificates) = &self.certificates {
            let read = reqwest::Certificate::from_pem_bundle(certificates).ok().filter(|read| !read.is_empty());
            builder = builder.tls_certs_merge(read.ok_or_else(|| fault("ca_file holds no certificate in PEM form"))?);
        }
        builder.build().map_err(|_| fault("the certificates in ca_file cannot be used"))
    }
}

/// A recording that the server keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recording {
    pub(super) file: String,
    pub(super) size: u64,
}

#[derive(Default)]
struct Memory {
    user_id: String,
    /// How often a connection was tried.
    connections: u32,
    /// How far an event's time was from what the clock should be, ms.
    clock_difference: i64,
    nodes: Nodes,
    nodes_read: Option<Instant>,
    sessions: HashMap<String, Session>,
    /// Ids by begin, to forget the oldest first.
    by_begin: BTreeSet<(i64, String)>,
    help: BTreeMap<(i64, String), HelpEvent>,
}

/// A connection that could not be opened.
struct Failure {
    error: Error,
    at: Instant,
    rest: Duration,
    /// How many there were one after the other.
    times: u32,
}

impl Failure {
    /// What somebody hears who began to wait at that moment. None: they may try.
    fn told(&self, since: Instant) -> Option<Error> {
        let left = self.rest.saturating_sub(self.at.elapsed());
        if left.is_zero() && self.at < since {
            return None;
        }
        let mut error = self.error.clone();
        if let EngineFault::Busy { retry_after } = &mut error.fault {
            *retry_after = left;
        }
        Some(error)
    }
}

/// The server.
pub(super) struct Server {
    pub(super) settings: ServerSettings,
    target: Target,
    files: reqwest::Client,
    /// Locked while a connection is being opened.
    socket: Arc<tokio::sync::Mutex<Option<Arc<Socket>>>>,
    refusals: Refusals,
    failure: Mutex<Option<Failure>>,
    web_refusals: Refusals,
    memory: Mutex<Memory>,
    /// Of which machine it was said when that its list has more than can be asked for; without a name, of those that are gone.
    said_incomplete: Mutex<HashMap<String, Instant>>,
    cookie: tokio::sync::Mutex<Option<(String, Instant)>>,
    pub(super) reports: Cache<String, Arc<SessionReport>>,
    this: Weak<Server>,
}

impl Server {
    pub(super) fn new(settings: ServerSettings) -> Result<Arc<Self>, Error> {
        let target = Target {
            client: settings.client(false)?,
            url: settings.url.clone(),
            user: settings.user.clone(),
            password: settings.password.clone(),
        };
        let files = settings.client(true)?;
        Ok(Arc::new_cyclic(|this| Self {
            target,
            files,
            socket: Arc::default(),
            refusals: Refusals::default(),
            failure: Mutex::default(),
            web_refusals: Refusals::default(),
            memory: Mutex::default(),
            said_incomplete: Mutex::default(),
            cookie: tokio::sync::Mutex::default(),
            reports: Cache::builder().max_capacity(200).time_to_live(REPORT_CACHE).build(),
            settings,
            this: this.clone(),
        }))
    }

    pub(super) fn has_settings(&self, settings: &ServerSettings) -> bool {
        self.settings.is_same(settings)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings were saved anew, or found to be good: the server is tried at once.
    pub(super) fn forget_failures(&self) {
        self.refusals.forget();
        *self.failure() = None;
    }

    /// A person waits for what comes of a try.
    pub(super) fn let_person_try(&self) {
        self.refusals.let_person_try();
        *self.failure() = None;
    }

    fn failure(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open socket, or a new one. One caller tries for all who wait, and for those who come soon after a failure.
    pub(super) async fn socket(&self) -> Result<Arc<Socket>, Error> {
        let since = Instant::now();
        let mut socket = self.socket.clone().lock_owned().await;
        if let Some(open) = socket.as_ref().filter(|socket| socket.is_open()) {
            return Ok(open.clone());
        }
        if let Some(error) = self.failure().as_ref().and_then(|failure| failure.told(since)) {
            return Err(error);
        }
        self.refusals
            .turn()
            .map_err(|resting: Resting| Error::new(EngineFault::Resting { again_in: resting.again_in }, resting.to_string()))?;
        let lost = || Error::new(EngineFault::Unreachable, "the connection to MeshCentral could not be opened; it is tried again");
        let server = self.this.upgrade().ok_or_else(lost)?;
        // Goes on when whoever asked first waits no longer: the others wait for the same.
        let trying = tokio::spawn(async move {
            let opened = server.connect().await;
            *socket = opened.as_ref().ok().cloned();
            opened
        });
        trying.await.unwrap_or_else(|_| Err(lost()))
    }

    async fn connect(&self) -> Result<Arc<Socket>, Error> {
        // What happened meanwhile was not heard.
        {
            let mut memory = self.memory();
            memory.nodes_read = None;
            memory.nodes.forget_sessions();
            memory.nodes.heard_nothing();
            memory.connections += 1;
        }
        let this = self.this.clone();
        let hear = Box::new(move |message: &Value| {
            if let Some(server) = this.upgrade() {
                server.hear(message);
            }
        });
        let opened = Socket::connect(&self.target, hear).await;
        match &opened {
            Ok(open) => {
                self.forget_failures();
                self.memory().user_id.clone_from(&open.greeting.user_id);
            }
            Err(error) if matches!(error.fault, EngineFault::Denied { .. }) => {
                self.refusals.refused(error);
                *self.failure() = None;
            }
            Err(error) => {
                let mut failure = self.failure();
                let times = failure.as_ref().map_or(0, |before| before.times + 1);
                let mut rest = AFTER_FAILURE.after(times);
                if let EngineFault::Busy { retry_after } = error.fault {
                    rest = rest.max(retry_after);
                }
                *failure = Some(Failure { error: error.clone(), at: Instant::now(), rest, times });
            }
        }
        opened
    }

    fn hear(&self, message: &Value) {
        let Some(event) = message.get("event").filter(|_| message.get("action").is_some_and(|action| action == "event")) else { return };
        let mut memory = self.memory();
        memory.nodes.hear(event);
        if let Some(relay) = RelayEvent::read(event, None) {
            memory.take_relay(&relay);
        }
        if let Some(help) = HelpEvent::read(event) {
            memory.take_help(help);
        }
    }

    /// Whether events' times did not differ by so much from what the clock should be when that was last asked.
    pub(super) fn is_new_difference(&self, by: i64, tolerance: i64) -> bool {
        let before = std::mem::replace(&mut self.memory().clock_difference, by);
        (by - before).abs() > tolerance
    }

    /// Our account, like `user//deskbridge`; empty before the first connection.
    pub(super) fn user_id(&self) -> String {
        self.memory().user_id.clone()
    }

    /// Every machine.
    pub(super) async fn machines(&self) -> Result<Vec<Machine>, Error> {
        self.read_nodes(NODES_LIFE).await?;
        Ok(self.memory().nodes.machines())
    }

    /// A machine, as it is known.
    pub(super) async fn node(&self, id: &str) -> Result<Option<Node>, Error> {
        self.read_nodes(NODES_LIFE).await?;
        let known = self.memory().nodes.get(id).cloned();
        if known.is_some() {
            return Ok(known);
        }
        self.read_nodes(Duration::from_secs(2)).await?;
        Ok(self.memory().nodes.get(id).cloned())
    }

    async fn read_nodes(&self, life: Duration) -> Result<(), Error> {
        let socket = self.socket().await?;
        if self.memory().nodes_read.is_some_and(|read| read.elapsed() < life) {
            return Ok(());
        }
        let asked_at = Instant::now();
        let lost = |what: &str| Error::new(EngineFault::Unreachable, format!("MeshCentral's list of machines {what}; it is read again"));
        let pages = timeout(LIST_TIME, self.list_nodes(&socket)).await.unwrap_or_else(|_| Err(lost("takes too long")))?;
        let mut memory = self.memory();
        if !memory.nodes.read(&pages, asked_at) {
            return Err(lost("changed faster than it was read"));
        }
        memory.nodes_read = Some(Instant::now());
        Ok(())
    }

    /// The list of machines: one page, or several where MeshCentral's `maxDeviceView` says how long a page is.
    async fn list_nodes(&self, socket: &Socket) -> Result<Vec<Value>, Error> {
        let is_list = |answer: &Value| answer.get("nodes").is_some();
        if socket.greeting.longest_page.is_none() {
            return Ok(vec![socket.ask_until(json!({"action": "nodes"}), is_list).await?]);
        }
        // By another socket: once it was asked for a page, one is told nothing of the machines on the others (isEventWithinPage in meshuser.js).
        let reader = Socket::connect(&self.target, Box::new(|_| {})).await?;
        let (mut pages, mut read) = (Vec::new(), 0);
        while pages.len() < MOST_PAGES {
            let page = reader.ask_until(json!({"action": "nodes", "skip": read}), is_list).await?;
            let number = |member: &str| page.get(member).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
            let groups = page.get("nodes").and_then(Value::as_object).into_iter().flatten();
            let machines: usize = groups.filter_map(|(_, nodes)| nodes.as_array()).map(Vec::len).sum();
            read += machines;
            let is_last = machines == 0
                || number("limit").is_none_or(|limit| machines < limit)
                || number("totalcount").is_some_and(|total| read >= total);
            pages.push(page);
            if is_last {
                return Ok(pages);
            }
        }
        tracing::warn!(machines = read, "MeshCentral has more machines than are read; the others are not listed. Raise its maxDeviceView");
        Ok(pages)
    }

    /// Events of one kind (`relaylog` or `agentlog`) of all machines or of one, back to `since` (Unix ms), to the first, or until it is
    /// enough; in any order. MeshCentral lists the newest ones; what does not fit into one list is read machine by machine.
    async fn events(
        &self,
        filter: &str,
        node: Option<&str>,
        since: i64,
        is_enough: impl Fn(&[Value]) -> bool + Send + Sync,
    ) -> Result<Vec<Value>, Error> {
        let newest = self.newest_events(filter, node, since, &is_enough).await?;
        let Some(reaches_to) = newest.cut_at else { return Ok(newest.events) };
        if let Some(node) = node {
            self.say_incomplete(filter, Some(node), since, reaches_to);
            return Ok(newest.events);
        }
        let (mut events, mut is_cut) = (newest.events, false);
        let mut listed: HashSet<String> = events.iter().map(identity).collect();
        for machine in self.machines().await? {
            let of_machine = self.newest_events(filter, Some(&machine.id), since, &is_enough).await?;
            if let Some(reaches_to) = of_machine.cut_at {
                is_cut = true;
                self.say_incomplete(filter, Some(&machine.id), since, reaches_to);
            }
            events.extend(of_machine.events.into_iter().filter(|event| listed.insert(identity(event))));
            if is_enough(&events) {
                return Ok(events);
            }
        }
        if !is_cut {
            // Of machines that are gone nothing can be asked for.
            self.say_incomplete(filter, None, since, reaches_to);
        }
        Ok(events)
    }

    /// As many of the newest events as are needed to reach back, in one list.
    async fn newest_events(
        &self,
        filter: &str,
        node: Option<&str>,
        since: i64,
        is_enough: impl Fn(&[Value]) -> bool + Send + Sync,
    ) -> Result<Newest, Error> {
        let socket = self.socket().await?;
        let mut limit = EVENTS.0;
        loop {
            let mut question = json!({"action": "events", "filter": filter, "limit": limit});
            if let Some(node) = node {
                question["nodeid"] = Value::from(node);
            }
            let mut answer = if limit > EVENTS.0 { socket.ask_for_list(question).await? } else { socket.ask(question).await? };
            let Some(Value::Array(mut events)) = answer.get_mut("events").map(Value::take) else {
                return Err(Error::new(EngineFault::Unexpected, "MeshCentral's list of events is not understood"));
            };
            // A machine's own list leaves it out.
            for event in events.iter_mut().filter_map(Value::as_object_mut) {
                if let Some(node) = node {
                    event.entry("nodeid").or_insert_with(|| Value::from(node));
                }
            }
            let oldest = events.iter().filter_map(super::events::moment).min();
            if events.len() < limit || oldest.is_some_and(|oldest| oldest < since) || is_enough(&events) {
                return Ok(Newest { events, cut_at: None });
            }
            if limit >= EVENTS.1 {
                return Ok(Newest { events, cut_at: Some(oldest.unwrap_or(i64::MAX)) });
            }
            limit = (limit * 8).min(EVENTS.1);
        }
    }

    /// Tells people that a list has more than can be asked for. `node`: of that machine; else of those that are gone.
    fn say_incomplete(&self, filter: &str, node: Option<&str>, since: i64, reaches_to: i64) {
        let mut said = self.said_incomplete.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, at| at.elapsed() < SAY_AGAIN);
        let machine = node.unwrap_or_default();
        if said.contains_key(machine) {
            return;
        }
        said.insert(machine.to_owned(), Instant::now());
        let (server, most) = (self.settings.url.as_str(), EVENTS.1);
        let (wanted, reached) = (super::events::written(since), super::events::written(reaches_to));
        if let Some(machine) = node {
            tracing::error!(
                server,
                filter,
                machine,
                wanted,
                reached,
                "a machine has more than {most} events since then: older ones are not read. Look at what it does, and at its events in MeshCentral"
            );
        } else {
            tracing::warn!(
                server,
                filter,
                wanted,
                reached,
                "MeshCentral has more than {most} events since then: they are read machine by machine. Older ones of machines that are gone since \
                 are not read; look for them at My Server > Events"
            );
        }
    }

    /// The sessions that began at or after that moment (Unix ms), of all machines or of one, as far as the account sees them.
    pub(super) async fn sessions_since(&self, node: Option<&str>, since: i64) -> Result<Vec<Session>, Error> {
        self.find_sessions(node, since, |_| false).await
    }

    async fn find_sessions(
        &self,
        node: Option<&str>,
        since: i64,
        is_enough: impl Fn(&[Value]) -> bool + Send + Sync,
    ) -> Result<Vec<Session>, Error> {
        let events = self.events("relaylog", node, since, is_enough).await?;
        let found = sessions(events.iter().filter_map(|event| RelayEvent::read(event, node)).collect());
        let mut memory = self.memory();
        for session in &found {
            memory.remember(session.clone());
        }
        Ok(found.into_iter().filter(|session| session.began_at >= since).collect())
    }

    /// Requests for help at or after that moment (Unix ms).
    pub(super) async fn help_since(&self, since: i64) -> Result<Vec<HelpEvent>, Error> {
        self.find_help(since, |_| false).await
    }

    async fn find_help(&self, since: i64, is_enough: impl Fn(&[Value]) -> bool + Send + Sync) -> Result<Vec<HelpEvent>, Error> {
        let events = self.events("agentlog", None, since, is_enough).await?;
        let found: Vec<HelpEvent> = events.iter().filter_map(HelpEvent::read).filter(|help| help.at >= since).collect();
        let mut memory = self.memory();
        for help in &found {
            memory.take_help(help.clone());
        }
        Ok(found)
    }

    /// A session as it stands now.
    pub(super) async fn session(&self, lsid: &str) -> Result<Option<Session>, Error> {
        let known = self.memory().sessions.get(lsid).cloned();
        match known {
            Some(session) if session.end.as_ref().is_some_and(|end| !end.is_estimated) => Ok(Some(session)),
            Some(session) => {
                let is_it = |found: &Session| found.lsid == lsid;
                let found = self.sessions_since(Some(&session.node), session.began_at).await?.into_iter().find(is_it);
                if found.is_some() {
                    return Ok(found);
                }
                // MeshCentral tells nothing of a machine by its id when that is gone.
                Ok(self.sessions_since(None, session.began_at).await?.into_iter().find(is_it).or(Some(session)))
            }
            None => {
                let since = self.socket().await?.server_now() - 30 * 24 * 3_600_000;
                let begins = |event: &Value| RelayEvent::read(event, None).is_some_and(|event| Session::begun(&event).lsid == lsid);
                let found = self.find_sessions(None, since, |events| events.iter().any(begins)).await?;
                Ok(found.into_iter().find(|found| found.lsid == lsid))
            }
        }
    }

    /// The session that began with this event, as it is remembered.
    pub(super) fn remembered(&self, event: &RelayEvent) -> Option<Session> {
        let memory = self.memory();
        let fits = |session: &&Session| {
            let is_end = session.end.as_ref().zip(event.end.as_ref()).is_some_and(|(one, other)| one == other);
            session.node == event.node && session.relay == event.relay && (session.began_at == event.at || is_end)
        };
        memory.sessions.values().find(fits).cloned()
    }

    /// Sessions that have begun, and of which no end is known.
    pub(super) fn open_sessions(&self) -> Vec<Session> {
        self.memory().sessions.values().filter(|session| session.end.is_none()).cloned().collect()
    }

    /// No end of this session will ever be told: it is taken to have ended then.
    pub(super) fn end(&self, session: &Session, end: End) -> Session {
        let mut memory = self.memory();
        if let Some(known) = memory.sessions.get(&session.lsid).filter(|known| known.end.is_some()) {
            return known.clone();
        }
        let ended = Session { end: Some(end), ..session.clone() };
        memory.remember(ended.clone());
        ended
    }

    /// For how long a session's machine has been off line or unknown. None: it is on line.
    pub(super) fn lost_for(&self, node: &str) -> Option<Duration> {
        self.memory().nodes.lost_for(node)
    }

    /// Whether a connection of this process to the server broke before the present one.
    pub(super) fn has_reconnected(&self) -> bool {
        self.memory().connections > 1
    }

    /// A session as its lsid was given out.
    pub(super) fn known(&self, lsid: &str) -> Option<Session> {
        self.memory().sessions.get(lsid).cloned()
    }

    /// A request for help.
    pub(super) async fn help(&self, id: &str) -> Result<Option<HelpEvent>, Error> {
        let find = |memory: &Memory| memory.help.values().find(|help| help.id == id).cloned();
        if let Some(known) = find(&self.memory()) {
            return Ok(Some(known));
        }
        let since = self.socket().await?.server_now() - 30 * 24 * 3_600_000;
        let is_it = |event: &Value| HelpEvent::read(event).is_some_and(|help| help.id == id);
        Ok(self.find_help(since, |events| events.iter().any(is_it)).await?.into_iter().find(|help| help.id == id))
    }

    /// Makes a link. The answer: where it leads, its id, and when it ends (Unix ms).
    pub(super) async fn make_link(
        &self,
        node: &str,
        guest_name: &str,
        protocols: u32,
        consent: u32,
        minutes: u32,
    ) -> Result<(Url, LinkId, i64), Error> {
        let socket = self.socket().await?;
        if socket.greeting.has_no_links {
            let what = "links to machines are switched off on this MeshCentral server (guestDeviceSharing in its config.json)";
            return Err(Error::new(EngineFault::Refused { message: what.into() }, what));
        }
        let minutes = socket.greeting.longest_link.filter(|longest| *longest > 0).map_or(minutes, |longest| minutes.min(longest));
        let question = json!({"action": "createDeviceShareLink", "nodeid": node, "guestname": guest_name, "p": protocols, "consent": consent, "expire": minutes, "viewOnly": false});
        let answer = socket.ask(question).await?;
        let said = answer.get("result").and_then(Value::as_str).unwrap_or_default();
        if said != "OK" {
            return Err(link_refused(said));
        }
        let text = |member: &str| answer.get(member).and_then(Value::as_str);
        let path = text("url").and_then(|url| Url::parse(url).ok()).zip(text("publicid"));
        let Some((told, id)) = path else { return Err(Error::new(EngineFault::Unexpected, "MeshCentral made a link without an address")) };
        // MeshCentral writes the host its certificate names; browsers reach it as the settings say.
        let mut url = self.settings.url.clone();
        url.set_path(told.path());
        url.set_query(told.query());
        let expires_at = answer.get("expire").and_then(Value::as_i64).unwrap_or_else(|| socket.server_now() + i64::from(minutes) * 60_000);
        let machine_name = self.memory().nodes.get(node).map(|node| node.name.clone()).unwrap_or_default();
        Ok((url, LinkId { machine: node.to_owned(), machine_name, id: id.to_owned() }, expires_at))
    }

    /// Ends a link and its sessions.
    pub(super) async fn end_link(&self, link: &LinkId) -> Result<(), Error> {
        let question = json!({"action": "removeDeviceShare", "nodeid": link.machine, "publicid": link.id});
        let answer = self.socket().await?.ask_until(question, |answer| answer.get("result").is_some()).await?;
        match answer.get("result").and_then(Value::as_str).unwrap_or_default() {
            "OK" | "Invalid device share identifier." => Ok(()),
            said => Err(link_refused(said)),
        }
    }

    /// The recording of an ended session. None: there is none, or not yet, or the account may not read recordings.
    pub(super) async fn recording(&self, session: &Session) -> Result<Option<Recording>, Error> {
        let socket = self.socket().await?;
        if socket.greeting.site_rights & RECORDINGS == 0 {
            return Ok(None);
        }
        let mut limit = EVENTS.0;
        loop {
            let question = json!({"action": "recordings", "limit": limit});
            let answer = if limit > EVENTS.0 { socket.ask_for_list(question).await? } else { socket.ask(question).await? };
            let events = answer.get("events").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            if let Some(found) = events.iter().find_map(|event| recording_of(session, event)) {
                return Ok(Some(found));
            }
            let began = |event: &Value| event.get("startTime").and_then(Value::as_i64);
            let is_far_enough = events.len() < limit
                || events.iter().filter_map(began).min().is_some_and(|oldest| oldest < session.began_at - RECORDING_TOLERANCE_MS);
            if is_far_enough || limit >= EVENTS.1 {
                return Ok(None);
            }
            limit = (limit * 8).min(EVENTS.1);
        }
    }

    /// A file of a recording, or a part of it.
    pub(super) async fn file(&self, recording: &Recording, range: Option<&str>) -> Result<Option<Response>, Error> {
        for is_last in [false, true] {
            let cookie = self.cookie(is_last).await?;
            let mut url = self.settings.url.join("recordings.ashx").map_err(|_| Error::new(EngineFault::Impossible, "no address"))?;
            url.query_pairs_mut().append_pair("file", &recording.file);
            let mut request = self.target.client.get(url).header(COOKIE, cookie);
            if let Some(range) = range {
                request = request.header(RANGE, range);
            }
            let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
            match answer.status() {
                StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => return Ok(Some(answer)),
                StatusCode::NOT_FOUND => return Ok(None),
                // The cookie may have ended.
                StatusCode::UNAUTHORIZED if !is_last => {}
                status => {
                    let message = format!("MeshCentral does not hand out the recording (HTTP {})", status.as_u16());
                    let what = format!("{message}; the account needs the site right “Recordings”");
                    return Err(Error::new(EngineFault::Refused { message }, what));
                }
            }
        }
        Ok(None)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let host = self.settings.url.host_str().unwrap_or_default();
        Error::new(
            EngineFault::Unreachable,
            format!("MeshCentral at {host} cannot be reached ({})", deskbridge_http_client::describe(error)),
        )
    }

    /// The cookie of a web session: recordings are handed out for nothing else.
    async fn cookie(&self, is_new: bool) -> Result<String, Error> {
        let mut kept = self.cookie.lock().await;
        if let Some((cookie, made)) = kept.as_ref().filter(|_| !is_new)
            && made.elapsed() < COOKIE_LIFE
        {
            return Ok(cookie.clone());
        }
        // Not those of the socket, which works by itself.
        self.web_refusals
            .turn()
            .map_err(|resting| Error::new(EngineFault::Refused { message: resting.said.clone() }, resting.to_string()))?;
        let url = self.settings.url.join("login").map_err(|_| Error::new(EngineFault::Impossible, "no address"))?;
        let form = [("action", "login"), ("username", &self.settings.user), ("password", self.settings.password.expose_secret())];
        // The page that follows has a megabyte and is not read.
        let answer = self.files.post(url).form(&form).send().await.map_err(|error| self.unreachable(&error))?;
        if answer.status() != StatusCode::OK {
            let what = format!(
                "MeshCentral opens no web session now (HTTP {}), which its recordings need; it is tried again",
                answer.status().as_u16()
            );
            return Err(Error::new(EngineFault::Unreachable, what));
        }
        let pairs: Vec<&str> =
            answer.headers().get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok()?.split(';').next()).collect();
        let value = pairs.iter().find_map(|pair| pair.strip_prefix("xid="));
        let is_logged_in = value.and_then(|value| STANDARD.decode(value).ok()).and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        if is_logged_in.is_none_or(|session| session.get("userid").is_none()) {
            let what = "MeshCentral opens no web session for these credentials, which its recordings need; check user and password";
            let error = Error::new(EngineFault::Refused { message: "no web session".into() }, what);
            self.web_refusals.refused(&error);
            return Err(error);
        }
        self.web_refusals.forget();
        let cookie = pairs.join("; ");
        *kept = Some((cookie.clone(), Instant::now()));
        Ok(cookie)
    }
}

/// The newest events of a list.
struct Newest {
    events: Vec<Value>,
    /// There are more since the moment that was asked for: before this one (Unix ms).
    cut_at: Option<i64>,
}

/// What an event is known by, whichever list it stands in.
fn identity(event: &Value) -> String {
    let member = |name: &str| event.get(name).unwrap_or(&Value::Null);
    format!("{} {} {} {}", member("nodeid"), member("time"), member("msgid"), member("msgArgs"))
}

/// Content length and range of an answer.
pub(super) fn lengths(answer: &Response) -> (Option<u64>, Option<String>) {
    let header = |name| answer.headers().get(name)?.to_str().ok().map(str::to_owned);
    (header(CONTENT_LENGTH).and_then(|length| length.parse().ok()), header(CONTENT_RANGE))
}

fn link_refused(said: &str) -> Error {
    let what = match said {
        "Access denied" => {
            "MeshCentral refuses the link: in this machine's device group the account needs the rights “Remote Control” and “Guest Sharing”, and \
             none of “No Desktop”, “No Terminal”, “No Files”, “Limited Input” for what is to be opened"
                .to_owned()
        }
        "Invalid node id" => "MeshCentral does not know this machine any more, or its account may not see it".to_owned(),
        other => format!("MeshCentral refuses the link: {}", deskbridge_core::text::shown(other, 100)),
    };
    Error::new(EngineFault::Refused { message: said.to_owned() }, what)
}

/// The recording, if this event tells of that session's.
fn recording_of(session: &Session, event: &Value) -> Option<Recording> {
    let file = event.get("filename")?.as_str()?;
    let began_at = event.get("startTime")?.as_i64()?;
    let stem = file.strip_suffix(".mcrec").or_else(|| file.strip_suffix(".txt"))?;
    // Messages are recorded under a name of their own.
    let id = if session.kind == SessionKind::Chat { "Messenger" } else { session.relay.as_str() };
    let is_its = stem.strip_suffix(id).is_some_and(|rest| rest.ends_with('-'))
        && event.get("nodeid")?.as_str()? == session.node
        && (began_at - session.began_at).abs() <= RECORDING_TOLERANCE_MS
        && event.get("present").is_some();
    is_its.then(|| Recording { file: file.to_owned(), size: event.get("size").and_then(Value::as_u64).unwrap_or_default() })
}

impl Memory {
    fn take_relay(&mut self, event: &RelayEvent) {
        if event.end.is_none() {
            self.remember(Session::begun(event));
        } else if let Some(session) =
            self.sessions.values_mut().filter(|session| session.can_end_by(event)).max_by_key(|session| session.began_at)
        {
            session.end.clone_from(&event.end);
        }
    }

    /// An end that is known is not forgotten.
    fn remember(&mut self, session: Session) {
        self.by_begin.insert((session.began_at, session.lsid.clone()));
        let newest = self.by_begin.last().map_or(0, |(at, _)| *at);
        match self.sessions.entry(session.lsid.clone()) {
            std::collections::hash_map::Entry::Occupied(mut known) => {
                // What was told counts more than what was estimated, and that more than nothing.
                let rank = |session: &Session| session.end.as_ref().map(|end| !end.is_estimated);
                if rank(&session) > rank(known.get()) {
                    known.insert(session);
                }
            }
            std::collections::hash_map::Entry::Vacant(free) => {
                free.insert(session);
            }
        }
        while self.sessions.len() > REMEMBERED || self.by_begin.first().is_some_and(|(at, _)| *at < newest - 40 * LONGEST_SESSION_MS) {
            let Some((_, lsid)) = self.by_begin.pop_first() else { return };
            self.sessions.remove(&lsid);
        }
    }

    fn take_help(&mut self, help: HelpEvent) {
        self.help.insert((help.at, help.id.clone()), help);
        while self.help.len() > REMEMBERED {
            self.help.pop_first();
        }
    }
}

#[cfg(test)]
mod tests;
